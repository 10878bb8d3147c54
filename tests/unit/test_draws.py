"""Data drawn from a model: covariates by level, random effects and responses by their laws."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od

OBSERVED = od.Measure.from_frame(pd.DataFrame({"age": [20, 30, 40, 40], "mood": [0, 1, 0, 1]}))


def nested(counts=2000, **more):
    return od.Design(
        od.Nested("patient"),
        counts={"patient": counts},
        replicates=4,
        measure=od.Measure.grid(treat=[0, 1], visit=[0, 1]),
        levels={"treat": "patient", "age": "patient"},
        observed=OBSERVED,
        **more,
    )


def test_set_covariates_are_exact_and_observed_ones_follow_their_law_by_level():
    model = od.MixedModel("y ~ treat + visit + age + mood + (1 | patient)")
    guess = od.NominalValues([0, 0, 0, 0, 0], {"patient": 1.0})
    frame = od.draw_data(model, guess, nested(), seed=1)
    assert (frame.groupby(["treat", "visit"]).size() == 2000).all()
    assert frame.groupby("patient").age.nunique().max() == 1
    ages = frame.groupby("patient").age.first()
    shares = ages.value_counts(normalize=True)
    assert shares[40] == pytest.approx(0.5, abs=0.04)
    assert shares[20] == pytest.approx(0.25, abs=0.04)
    # Given the age of the patient, the mood of each visit is drawn on its own.
    assert frame.groupby("age").mood.mean().to_dict() == pytest.approx({20: 0.0, 30: 1.0, 40: 0.5}, abs=0.03)
    assert frame[frame.age == 40].groupby("patient").mood.nunique().max() == 2


def test_random_effects_and_residuals_have_their_variances():
    model = od.MixedModel("y ~ visit + (1 + visit | patient)")
    guess = od.NominalValues([2.0, -1.0], {"patient": [[1.0, 0.5], [0.5, 2.0]]}, dispersion=0.25)
    design = od.Design(
        od.Nested("patient"), counts={"patient": 4000}, replicates=4, measure=od.Measure.grid(visit=[0, 1])
    )
    frame = od.draw_data(model, guess, design, seed=2)
    before, after = (frame[frame.visit == v].groupby("patient").y.mean() for v in (0, 1))
    effects = np.stack([before, after - before])
    assert effects.mean(axis=1) == pytest.approx([2.0, -1.0], abs=0.1)
    noise = 0.25 * np.array([[0.5, -0.5], [-0.5, 1.0]])
    assert np.cov(effects) == pytest.approx(np.array([[1.0, 0.5], [0.5, 2.0]]) + noise, abs=0.15)
    assert frame.groupby(["patient", "visit"]).y.var().mean() == pytest.approx(0.25, rel=0.05)


@pytest.mark.parametrize(
    ("family", "options", "mean", "variance"),
    [
        ("bernoulli", {}, 0.5, 0.25),
        ("binomial", {"size": 8}, 4.0, 2.0),
        ("poisson", {}, 1.0, 1.0),
        ("gamma", {"link": "log"}, 1.0, 0.5),
        ("inverse-gaussian", {"link": "log"}, 1.0, 0.5),
        ("negative-binomial", {"size": 2}, 1.0, 1.5),
        ("gaussian", {"link": "log"}, 1.0, 0.5),
    ],
)
def test_responses_have_the_moments_of_their_family(family, options, mean, variance):
    dispersion = 0.5 if family in ("gamma", "inverse-gaussian", "gaussian") else 1.0
    guess = od.NominalValues([0.0], dispersion=dispersion)
    y = od.draw_data(od.MixedModel("y ~ 1", family, **options), guess, od.Design(None, replicates=40_000), seed=3).y
    assert (y.mean(), y.var()) == pytest.approx((mean, variance), rel=0.05)


def test_offsets_and_sizes_may_be_columns():
    model = od.MixedModel("y ~ 1", "binomial", size="trials", offset="shift")
    design = od.Design(None, replicates=4000, measure=od.Measure.grid(trials=[10], shift=[0.0, 2.0]))
    means = od.draw_data(model, od.NominalValues([-1.0]), design, seed=1).groupby("shift").y.mean() / 10
    assert means.to_dict() == pytest.approx({0.0: 0.2689, 2.0: 0.7311}, abs=0.01)


def test_rows_and_columns_have_covariates_of_their_own():
    design = od.Design(
        od.Crossed("s", "i"),
        counts={"s": 50, "i": 40},
        replicates=1,
        levels={"u": "s", "v": "i", "w": "s:i"},
        observed=od.Measure.grid(u=[1, 2], v=[3, 4], w=[5, 6]),
    )
    model = od.MixedModel("y ~ u + v + w + (1 | s) + (1 | i)", "bernoulli")
    frame = od.draw_data(model, od.NominalValues([0, 0, 0, 0], {"s": 0.0, "i": 0.0}), design, seed=4)
    assert frame.groupby("s").u.nunique().max() == 1
    assert frame.groupby("i").v.nunique().max() == 1
    assert frame.groupby("s").w.nunique().min() == 2
    assert abs(np.corrcoef(frame.u, frame.w)[0, 1]) < 0.1


def test_laws_that_tie_rows_to_columns_are_refused():
    law = od.Measure.from_frame(pd.DataFrame({"u": [0, 1], "v": [0, 1]}))
    pairs = pd.DataFrame({"s": [0, 0, 1], "i": [0, 1, 1]})
    design = od.Design(
        od.Crossed("s", "i"),
        counts={"s": 2, "i": 2},
        replicates=1,
        levels={"u": "s", "v": "i"},
        observed=law,
        crossing=pairs,
    )
    model = od.MixedModel("y ~ u + v + (1 | s) + (1 | i)", "bernoulli")
    with pytest.raises(od.SpecificationError, match="must be independent of each other"):
        od.draw_data(model, od.NominalValues([0, 0, 0], {"s": 1.0, "i": 1.0}), design, seed=1)


def test_parts_of_units_have_effects_of_their_own():
    model = od.MixedModel("y ~ 1 + (1 | cluster) + (1 | cluster:period)")
    guess = od.NominalValues([0.0], {"cluster": 0.0, "cluster:period": 4.0}, dispersion=1e-6)
    design = od.Design(
        od.Nested("cluster"), counts={"cluster": 300}, replicates=4, measure=od.Measure.grid(period=[0, 1])
    )
    frame = od.draw_data(model, guess, design, seed=5)
    parts = frame.groupby(["cluster", "period"]).y
    assert parts.std().max() < 0.01
    assert parts.mean().var() == pytest.approx(4.0, rel=0.2)


def test_levels_and_bases_are_those_of_the_nominal_values():
    reference = pd.DataFrame({"dose": [0.0, 1.0, 2.0, 10.0], "arm": ["b", "a", "c", "a"]})
    guess = od.NominalValues({"Intercept": 0, "center(dose)": 1.0, "arm[T.b]": 100, "arm[T.c]": 0}, {}, 1e-8, reference)
    design = od.Design(None, replicates=2, measure=od.Measure.grid(dose=[0.0, 1.0], arm=["b"]))
    frame = od.draw_data(od.MixedModel("y ~ center(dose) + arm"), guess, design, seed=1)
    assert frame.y.tolist() == pytest.approx([100 - 3.25, 101 - 3.25], abs=0.01)


@pytest.mark.parametrize(
    ("formula", "beta", "message"),
    [
        ("np.log(y) ~ 1", [0.0], "Give what is drawn a name of its own"),
        ("y ~ 1 + (1 | ward)", [0.0], "has no 'ward' that is set"),
        ("y ~ 1", [80.0], "mean 5.54e\\+34: check the random effects"),
    ],
)
def test_what_cannot_be_drawn(formula, beta, message):
    design = od.Design(od.Nested("unit"), counts={"unit": 2}, replicates=2)
    with pytest.raises(od.SpecificationError, match=message):
        od.draw_data(od.MixedModel(formula, "poisson"), od.NominalValues(beta, {"ward": 1.0}), design, seed=1)
