"""Optimal fixed schedules and optimal three-level trials: published numbers, through `optimize`."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import nct, t

import optdesign as od
from tests.reference.test_fixed_schedules import NESTED_EXCHANGEABLE, wedge

EFFECT = od.COptimality({"treat": 1.0})


def wedge_space(sequences, periods, replicates, **options):
    frame = wedge(sequences, periods, 0)
    return od.DesignSpace(
        od.Nested("cluster"), od.Candidates.profiles(frame, by="sequence"), replicates=replicates, **options
    )


def best_wedge(sequences, periods, replicates, covariance, clusters=12, **options):
    guess = od.NominalValues([0.0] * (periods + 1), covariance, 1.0)
    return od.optimize(
        od.MixedModel(NESTED_EXCHANGEABLE),
        guess,
        wedge_space(sequences, periods, replicates, **options),
        EFFECT,
        od.Cost(units={"cluster": 1.0}),
        clusters,
        order="exact",
    )


@pytest.mark.parametrize(
    ("replicates", "ends", "inner", "value", "plan", "whole"),
    [
        (1, 0.28261, 0.10870, 0.1270325901, {(3, 2, 1, 1, 2, 3)}, 0.1276651982),
        (10, 0.14286, 0.17857, 0.0276056338, {(2,) * 6}, 0.0276923077),
    ],
)
def test_stepped_wedge_six_sequences(replicates, ends, inner, value, plan, whole):
    best = best_wedge(6, 5, replicates, {"cluster": 0.25, "cluster:period": 0.05})
    weights = [group.count / 12 for group in best.design.groups]
    np.testing.assert_allclose(weights, [ends, *[inner] * 4, ends], atol=6e-6)
    assert best.value == pytest.approx(value, abs=2e-9)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    assert tuple(int(group.count) for group in best.rounded.design.groups) in plan
    assert best.rounded.value == pytest.approx(whole, abs=1e-9)
    assert len(best.rounded.to_frame()) == 12 * 5 * replicates


def test_stepped_wedge_seven_sequences():
    covariance = {"cluster": 0.05 * 0.8 / 0.95, "cluster:period": 0.05 * 0.2 / 0.95}
    best = best_wedge(7, 6, 10, covariance)
    weights = [group.count / 12 for group in best.design.groups]
    np.testing.assert_allclose(weights, [0.21014, *[0.11594] * 5, 0.21014], atol=6e-6)


def test_schedules_keep_bounds_and_prices():
    """Of treated periods a third at least; clusters cost more the earlier they start, and parts and rows cost too."""
    model, guess = (
        od.MixedModel(NESTED_EXCHANGEABLE),
        od.NominalValues([0.0] * 6, {"cluster": 0.3, "cluster:period": 0.1}),
    )
    share = od.Share("treat == 1", at_least=1 / 3)
    space = wedge_space(6, 5, 2, counts={"cluster": (4, 9)}, constraints=[share])
    cost = od.Cost(units={"cluster": "30 - 2*sequence", "cluster:period": 3.0}, observation="1 + treat")
    best = od.optimize(model, guess, space, EFFECT, cost, 600, order="exact")
    for design in (best.design, best.rounded.design):
        rows = design.to_frame()
        assert 4 - 1e-6 <= design.units <= 9 + 1e-6
        assert (rows["observations"] * rows["treat"]).sum() >= design.observations / 3 - 1e-6
        assert design.spend(cost) <= 600 + 1e-4
    assert best.certificate.efficiency_bound >= 1 - 1e-6


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_schedules_of_one_factor_agree_with_free_candidates(family, order):
    """With one point per arm, used so many times, the free problem with fixed replicates is the same."""
    model = od.MixedModel("y ~ treat + (1 | g)", family=family)
    guess = od.NominalValues([0.5, 0.4], {"g": 0.2})
    frame = pd.DataFrame({"treat": np.repeat([0, 1], 20)}).assign(arm=lambda rows: rows["treat"])
    cost = od.Cost(units={"g": "10 + 5*treat"}, observation=1.0)
    profiles = od.DesignSpace(od.Nested("g"), od.Candidates.profiles(frame, by="arm"), levels={"treat": "g"})
    free = od.DesignSpace(od.Nested("g"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "g"}, replicates=20)
    first, second = (od.optimize(model, guess, s, EFFECT, cost, 2000, order=order) for s in (profiles, free))
    assert first.value == pytest.approx(second.value, rel=1e-6)
    assert [g.count for g in first.design.groups] == pytest.approx([g.count for g in second.design.groups], rel=1e-3)


def test_a_variance_component_on_all_schedules():
    """Balanced one-way layout, m(n) = B/(c + n) units: Var σ̂_u² = 2{(σ_u² + σ²/n)² + σ⁴/(n²(n − 1))}/m."""
    variance, residual, price, budget = 0.3, 0.7, 3.0, 1000.0
    n = np.arange(2, 13)
    between, within = (variance + residual / n) ** 2, residual**2 / (n**2 * (n - 1))
    spread = 2 * (between + within) * (price + n) / budget
    listed = od.enumerated_profiles(od.DesignSpace(od.Nested("g"), replicates=(1, 12)))
    best = od.optimize(
        od.MixedModel("y ~ 1 + (1 | g)"),
        od.NominalValues([0.0], {"g": variance}, residual),
        od.DesignSpace(od.Nested("g"), listed),
        od.COptimality({"var(Intercept | g)": 1.0}),
        od.Cost(units={"g": price}, observation=1.0),
        budget,
        order="exact",
    )
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    assert best.value <= spread.min() * (1 + 1e-6)  # mixtures of sizes may do better than the best single size
    assert best.value >= spread.min() * 0.9


THREE_LEVELS = od.MixedModel("y ~ treat + (1 | school) + (1 | class)")
#: Intraclass correlations .1 of schools and .2 of classes; covariates explain half of the variance at every level.
THREE_LEVEL_GUESS = od.NominalValues([0.0, 0.2], {"school": 0.05, "class": 0.1}, 0.35)
THREE_LEVEL_COST = od.Cost(units={"school": "25 + 225*treat", "class": "5 + 45*treat"}, observation=1.0)
THREE_LEVEL_SPACE = od.DesignSpace(
    od.Nested("school", "class"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "school"}
)


@pytest.mark.slow
def test_three_level_trial_with_common_numbers():
    space = replace(THREE_LEVEL_SPACE, common_replicates=True)
    best = od.optimize(THREE_LEVELS, THREE_LEVEL_GUESS, space, EFFECT, THREE_LEVEL_COST, 16032.34, order="exact")
    control, treated = best.design.groups
    assert [control.replicates, treated.replicates] == pytest.approx([7.851082] * 2, abs=1e-5)
    assert control.counts["class"] == pytest.approx(np.sqrt(10), abs=1e-5)
    assert treated.count / best.design.units == pytest.approx(0.280250721, abs=1e-7)
    assert best.rounded.spend <= 16032.34
    frame = best.rounded.to_frame()
    assert frame.groupby("class")["school"].nunique().eq(1).all()
    sizes = frame.groupby(["school", "class"]).size()
    assert set(sizes) == {sizes.iloc[0]}
    assert len(set(sizes.groupby("school").size())) == 1


def test_three_level_trial_in_the_whole_numbers_of_its_power_calculation():
    """n = 8, J = 3, share .28: 97.284 schools give power .8 for d = .2 and cost 16032.34."""
    schools = 97.284
    groups = [
        od.Group(schools * share, 8, at={"treat": arm}, counts={"class": 3}) for arm, share in ((0, 0.72), (1, 0.28))
    ]
    design = od.Design(od.Nested("school", "class"), groups)
    spread = od.covariance(THREE_LEVELS, THREE_LEVEL_GUESS, design, "exact").variance({"treat": 1.0})
    df = schools - 3
    reach, shift = t.ppf(0.975, df), 0.2 / np.sqrt(spread)
    assert 1 - nct.cdf(reach, df, shift) + nct.cdf(-reach, df, shift) == pytest.approx(0.8, abs=1e-5)
    assert design.spend(THREE_LEVEL_COST) == pytest.approx(16032.34, abs=0.1)


def test_three_level_trial_with_free_numbers_splits_by_arm():
    """Each arm at its own n = √{(σ²/σ_c²) c₁} and J: separate square roots, as variances and prices separate."""
    best = od.optimize(
        THREE_LEVELS, THREE_LEVEL_GUESS, THREE_LEVEL_SPACE, EFFECT, THREE_LEVEL_COST, 16032.34, order="exact"
    )
    expected = {0: np.sqrt(0.35 / 0.1 * 5), 1: np.sqrt(0.35 / 0.1 * 50)}
    for group in best.design.groups:
        (arm,) = group.at.values()
        assert group.replicates == pytest.approx(expected[arm], abs=1e-4)
        assert group.counts["class"] == pytest.approx(np.sqrt(0.1 / 0.05 * 5), abs=1e-4)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    assert best.rounded.efficiency_bound > 0.99


@pytest.mark.slow
def test_classes_of_a_bernoulli_trial_keep_their_bounds():
    model = od.MixedModel("y ~ method + x + (1 | school) + (1 | class)", family="bernoulli")
    guess = od.NominalValues([-0.5, 0.5, 0.4], {"school": 0.5, "class": 0.3})
    space = od.DesignSpace(
        od.Nested("school", "class"),
        od.Candidates.grid(method=[0, 1], x=[-1.0, 0.0, 1.0]),
        levels={"method": "class"},
        counts={"school": (5, 60), "class": (1, 4)},
        replicates=(2, 20),
        at_most=8,
        constraints=[od.Share("method == 1", at_least=0.4)],
    )
    cost = od.Cost(units={"school": 50.0, "class": "10 + 20*method"}, observation="1 + method")
    best = od.optimize(model, guess, space, od.DOptimality(), cost, 3000.0, order="averaged")
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    assert best.spend <= 3000.0 + 1e-3
    frame = best.rounded.to_frame()
    classes = frame.groupby(["school", "class"]).agg(n=("x", "size"), method=("method", "first"))
    assert classes["n"].between(2, 20).all()
    assert classes.groupby("school").size().between(1, 4).all()
    assert classes["method"].mean() >= 0.4
    assert frame.groupby(["class", "x"]).size().max() <= 8
    assert best.rounded.spend <= 3000.0
    assert best.rounded.efficiency_bound > 0.97


@pytest.mark.parametrize(
    ("order", "family", "message"),
    [("two-term", "bernoulli", "by order 'averaged'"), ("leading", "gaussian", "by order 'exact'")],
)
def test_orders_without_a_concave_information(order, family, message):
    model = od.MixedModel("y ~ treat + (1 | school) + (1 | class)", family=family)
    with pytest.raises(od.SpecificationError, match=message):
        od.optimize(model, THREE_LEVEL_GUESS, THREE_LEVEL_SPACE, EFFECT, THREE_LEVEL_COST, 1000.0, order=order)


def test_what_only_schedules_have():
    space = od.DesignSpace(od.Nested("cluster"), od.Candidates.grid(treat=[0, 1]), replicates=(2, 5))
    model, guess = od.MixedModel("y ~ treat + (1 | cluster)"), od.NominalValues([0.0, 0.0], {"cluster": 0.3})
    component = od.COptimality({"var(Intercept | cluster)": 1.0})
    with pytest.raises(od.SpecificationError, match="enumerated_profiles"):
        od.optimize(model, guess, space, component, od.Cost(observation=1.0), 100.0)
    parts = od.Cost(units={"cluster:treat": 1.0}, observation=1.0)
    with pytest.raises(od.SpecificationError, match="knows one grouping factor"):
        od.optimize(
            THREE_LEVELS,
            THREE_LEVEL_GUESS,
            THREE_LEVEL_SPACE,
            EFFECT,
            THREE_LEVEL_COST,
            1000.0,
            order="exact",
            method="semidefinite",
        )
    with pytest.raises(od.SpecificationError, match="prices parts of units"):
        od.optimize(model, guess, space, EFFECT, parts, 100.0)
