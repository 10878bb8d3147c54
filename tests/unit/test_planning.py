"""Counts of any layout, detectable effects, assurance, dropout and unequal sizes."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import optdesign as od

TRIAL = od.MixedModel("y ~ treat + x + (1 | cluster)")


def trial(clusters=20, size=6):
    return od.Design(
        od.Nested("cluster"),
        counts={"cluster": clusters},
        replicates=size,
        measure=od.Measure.grid(treat=[0, 1], x=[0, 1]),
        levels={"treat": "cluster"},
    )


def beliefs(effect=0.5, between=0.1):
    return od.NominalValues([0.0, effect, 0.0], {"cluster": between})


RATING = od.MixedModel("y ~ 1 + (1 | reader) + (1 | case)")
RATES = od.NominalValues([0.4], {"reader": 0.2, "case": 0.5}, dispersion=0.9)


def rated(readers=10, cases=30, **more):
    counts = {"reader": readers, "case": cases}
    return od.Design(od.Crossed("reader", "case"), counts=counts, replicates=1, **more)


def variance(m, m2, cells):
    return 0.2 / m + 0.5 / m2 + 0.9 / cells


def normal_power(value):
    shift, z = 0.4 / math.sqrt(value), stats.norm.isf(0.025)
    return stats.norm.sf(z - shift) + stats.norm.sf(z + shift)


def first(enough, start=1):
    return next(n for n in range(start, 100_000) if enough(n))


Z = od.WaldTest("Intercept", df=math.inf)


@pytest.mark.parametrize(
    ("name", "cells"), [("reader", lambda n: (n, 30, 30 * n)), ("case", lambda n: (10, n, 10 * n))]
)
def test_readers_or_cases_by_hand(name, cells):
    found = od.sample_size(RATING, RATES, rated(), Z, 0.8, name)
    assert found.count == first(lambda n: normal_power(variance(*cells(n))) >= 0.8)
    assert found.design.counts[name] == pytest.approx(found.count)


def test_readers_of_an_incomplete_crossing_keep_their_cases():
    """Each reader sees 6 of the 30 cases."""
    design = rated(crossing="biregular", cells=60)
    found = od.sample_size(RATING, RATES, design, Z, 0.7, "reader")
    assert found.count == first(lambda n: normal_power(variance(n, 30, 6 * n)) >= 0.7)
    assert found.design.crossing.cells == pytest.approx(6 * found.count)


def test_replicates_in_cells_by_hand():
    guess = od.NominalValues([0.4], {"reader": 0.1, "case": 0.1}, dispersion=9.0)
    found = od.sample_size(RATING, guess, rated(10, 12), Z, 0.7, "replicates")
    assert found.count == first(lambda n: normal_power(0.1 / 10 + 0.1 / 12 + 9 / (120 * n)) >= 0.7)


def test_money_for_readers_and_cases_in_proportion():
    """f·10 readers at 30 and f·30 cases at 5, f²·300 ratings at 1, and 100 once."""
    cost = od.Cost({"reader": 30, "case": 5}, observation=1.0, fixed=100)
    found = od.sample_size(RATING, RATES, rated(), Z, 0.8, "budget", cost=cost)
    assert found.design.spend(cost) == pytest.approx(found.count)
    assert found.design.counts["case"] == pytest.approx(3 * found.design.counts["reader"])

    def enough(money):
        f = (-450 + math.sqrt(450**2 + 4 * 300 * (money - 100))) / 600
        return normal_power(variance(10 * f, 30 * f, 300 * f**2)) >= 0.8

    assert found.count == first(enough, 101)


def test_classes_in_a_school_by_hand():
    model = od.MixedModel("y ~ 1 + (1 | school) + (1 | class)")
    guess = od.NominalValues([0.4], {"school": 0.2, "class": 0.5}, dispersion=0.9)
    design = od.Design(od.Nested("school", "class"), counts={"school": 14, "class": 2}, replicates=5)

    def enough(n):
        return normal_power(0.2 / 14 + 0.5 / (14 * n) + 0.9 / (14 * n * 5)) >= 0.8

    found = od.sample_size(model, guess, design, Z, 0.8, "class")
    assert found.count == first(enough)
    assert found.design.counts["class"] == pytest.approx(14 * found.count)
    with pytest.raises(od.SpecificationError, match=r"highest attainable power.*levels of 'school' remains.*'school'"):
        od.sample_size(model, guess, design, Z, 0.99, "class")


def test_unreachable_power_names_the_counts_that_would_reach_it():
    highest = normal_power(0.2 / 10 + 0.5 / 30)
    with pytest.raises(od.SpecificationError, match=rf"{highest:.4f}, because.*'reader' remains.*'reader' or 'case'"):
        od.sample_size(RATING, RATES, rated(), Z, 0.8, "replicates")
    with pytest.raises(od.SpecificationError, match="No count does on its own: see attainable_power"):
        od.sample_size(RATING, RATES, rated(), Z, 0.999, "reader")


def test_attainable_power_by_hand():
    table = od.attainable_power(RATING, RATES, rated(), Z).to_frame().set_index("grows")["power"]
    expected = {
        "(the design)": variance(10, 30, 300),
        "reader": 0.5 / 30,
        "case": 0.2 / 10,
        "replicates": 0.2 / 10 + 0.5 / 30,
        "reader and replicates": 0.5 / 30,
        "case and replicates": 0.2 / 10,
    }
    for grows, value in expected.items():
        assert table[grows] == pytest.approx(normal_power(value), abs=1e-4)
    assert table["reader and case"] == pytest.approx(1.0)


def test_listed_cells_have_no_other_size():
    pairs = pd.DataFrame([(i, j) for i in range(10) for j in range(30)], columns=["reader", "case"])
    with pytest.raises(od.SpecificationError, match="whose cells are listed has no other size"):
        od.sample_size(RATING, RATES, rated(crossing=pairs), Z, 0.8, "reader")


def test_scaled_keeps_the_levels_of_inner_units():
    design = od.Design(
        od.Nested("school", "class"),
        counts={"school": 10, "class": 3},
        replicates=4,
        measure=od.Measure.grid(w=[0, 1]),
        levels={"w": "class"},
    ).scaled(counts={"class": 2.0}, replicates=0.5)
    assert dict(design.levels) == {"w": "class"}
    assert (design.counts["school"], design.counts["class"], design.observations) == (10, 60, 120)


def test_power_of_a_frame_is_that_of_the_design_of_its_shape():
    df = pd.DataFrame([(k, k % 2, x % 2) for k in range(12) for x in range(6)], columns=["cluster", "treat", "x"])
    for test in (od.WaldTest("treat"), od.WaldTest("x")):
        framed, planned = (od.power(TRIAL, beliefs(), d, test) for d in (df, trial(12)))
        assert framed == pytest.approx(planned, rel=1e-7)


def test_power_surface_is_the_power_of_each_design():
    table = od.power_surface(RATING, RATES, rated(), Z, {"reader": [5, 20], "case": [10, 50], "replicates": [1, 2]})
    assert list(table) == ["reader", "case", "replicates", "power"]
    for row in table.itertuples():
        cells = row.reader * row.case * row.replicates
        assert row.power == pytest.approx(normal_power(variance(row.reader, row.case, cells)), rel=1e-9)


def test_detectable_effect_by_hand():
    """df 18, standard error √(4(0.1 + 1/6)/20): the noncentrality with power 0.9, by another root finder."""
    error, critical = math.sqrt(4 * (0.1 + 1 / 6) / 20), stats.t.isf(0.05, 18)
    test = od.WaldTest("treat", null=0.1, alternative="less")
    found = od.minimum_detectable_effect(TRIAL, beliefs(), trial(), test, 0.9)
    assert found < 0
    assert stats.nct.sf(critical, 18, -found / error) == pytest.approx(0.9, abs=1e-8)


def test_detectable_effect_of_a_rate_moves_its_variance():
    """Poisson without random effects: Var = (e^{−β₀} + e^{−β₀−β₁})/(n/2), so that effects up and down differ."""
    model, guess = od.MixedModel("y ~ x", family="poisson"), od.NominalValues([0.0, 0.0])
    design = od.Design(None, replicates=80, measure=od.Measure.grid(x=[0, 1]))
    z = stats.norm.isf(0.05) + stats.norm.isf(0.2)
    found = {}
    for side, sign in (("greater", 1), ("less", -1)):
        found[side] = od.minimum_detectable_effect(model, guess, design, od.WaldTest("x", alternative=side), 0.8)
        assert sign * found[side] == pytest.approx(z * math.sqrt((1 + math.exp(-found[side])) / 40), rel=1e-8)
    assert -found["less"] > found["greater"]


def test_detectable_effects_need_a_test_of_effects():
    test = od.WaldTest("treat", alternative="equivalence", margin=1)
    with pytest.raises(od.SpecificationError, match="shows that there is no effect"):
        od.minimum_detectable_effect(TRIAL, beliefs(), trial(), test)


def test_assurance_of_a_normal_prior():
    """Known variance, θ ~ N(μ, τ²): P(reject) = Φ((μ/σ − z)/√(1 + τ²/σ²)) for a one-sided test."""
    model, design, tau = od.MixedModel("y ~ 1"), od.Design(None, replicates=25), 0.3
    quantiles = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, 0.5, tau)
    test = od.WaldTest("Intercept", alternative="greater", df=math.inf)
    found = od.assurance(model, [od.NominalValues([q]) for q in quantiles[::8]], design, test)
    expected = stats.norm.cdf((0.5 / 0.2 - stats.norm.isf(0.05)) / math.sqrt(1 + (tau / 0.2) ** 2))
    assert found == pytest.approx(expected, abs=2e-3)


def test_assurance_weighs_scenarios():
    cases = [(3.0, beliefs(0.5)), (1.0, beliefs(0.0))]
    test = od.WaldTest("treat")
    found = od.assurance(TRIAL, cases, trial(), test)
    assert found == pytest.approx(0.75 * od.power(TRIAL, beliefs(), trial(), test) + 0.25 * 0.05, rel=1e-9)
    for wrong in ([], [(0.0, beliefs())], [(-1, beliefs())]):
        with pytest.raises(od.SpecificationError, match="positive weights"):
            od.assurance(TRIAL, wrong, trial(), test)


def test_inflation_of_the_published_table():
    """Two-term Poisson sample sizes of 130 and 24: the ratio of the unrounded ones."""
    model = od.MixedModel("y ~ x + (1 + x | unit)", family="poisson")
    guess = od.NominalValues([-1.5, 0.3], {"unit": [[0.5, 0.1], [0.1, 0.25]]})
    design = od.Design(od.Nested("unit"), counts={"unit": 10}, replicates=20, measure=od.Measure.grid(x=[0, 1]))
    leading = (stats.norm.isf(0.05) + stats.norm.isf(0.1)) ** 2 * 0.25 / 0.09
    assert math.ceil(leading) == 24
    assert math.ceil(leading * od.inflation(model, guess, design, "x")) == 130


# Dropout


def longitudinal(patients=40):
    measure = od.Measure.grid(arm=[0, 1], t=range(5))
    shape = {"measure": measure, "levels": {"arm": "patient"}, "replicates": 5}
    return od.Design(od.Nested("patient"), counts={"patient": patients}, **shape)


GROWTH = od.MixedModel("y ~ arm * t + (1 + t | patient)")
GROWN = od.NominalValues([0, 0, 0, 0.3], {"patient": [[0.5, 0.05], [0.05, 0.1]]})


def test_dropout_is_the_information_of_those_who_stay():
    """Per arm: XᵀV⁻¹X of each last time, weighted by its share; the arms' slopes are independent."""
    laws = {"arm == 1": od.WeibullDropout(0.4, 2.0), "arm == 0": od.WeibullDropout(0.2, 0.5)}
    design = od.with_dropout(longitudinal(), "t", laws)
    total = 0.0
    for lost, shape in ((0.4, 2.0), (0.2, 0.5)):
        staying = (1 - lost) ** ((np.arange(5) / 4) ** shape)
        information = np.zeros((2, 2))
        for last, share in enumerate(-np.diff(np.append(staying, 0))):
            Z = np.column_stack([np.ones(last + 1), np.arange(last + 1)])
            V = Z @ np.array([[0.5, 0.05], [0.05, 0.1]]) @ Z.T + np.eye(last + 1)
            information += 20 * share * Z.T @ np.linalg.inv(V) @ Z
        total += np.linalg.inv(information)[1, 1]
    cov = od.covariance(GROWTH, GROWN, design, "exact")
    assert cov.variance({"arm:t": 1.0}) == pytest.approx(total, rel=1e-9)
    assert design.units == pytest.approx(40)


def test_dropout_of_inner_units_is_that_of_listed_patients():
    """Patients in clinics, a quarter seen up to each of four times: the frame with every patient in it."""
    model = od.MixedModel("y ~ arm * t + (1 | clinic) + (1 + t | patient)")
    guess = od.NominalValues([0, 0, 0, 0.3], {"clinic": 0.3, "patient": [[0.5, 0.05], [0.05, 0.1]]})
    design = od.Design(
        od.Nested("clinic", "patient"),
        counts={"clinic": 6, "patient": 8},
        replicates=4,
        measure=od.Measure.grid(arm=[0, 1], t=range(4)),
        levels={"arm": "clinic"},
    )
    dropped = od.with_dropout(design, "t", lambda s: 1 - 0.75 * s)
    rows = [(k, f"{k}.{i}", k % 2, t) for k in range(6) for i in range(8) for t in range(i % 4 + 1)]
    df = pd.DataFrame(rows, columns=["clinic", "patient", "arm", "t"])
    exact = od.covariance_of_frame(model, guess, df, "exact").matrix
    np.testing.assert_allclose(od.covariance(model, guess, dropped, "exact").matrix, exact, rtol=1e-9, atol=1e-12)
    expected = od.degrees_of_freedom(model, guess, df, "arm:t")
    assert od.degrees_of_freedom(model, guess, dropped, "arm:t") == pytest.approx(expected, rel=1e-7)


def test_dropout_loses_power():
    test = od.WaldTest("arm:t", df=math.inf)
    powers = [
        od.power(GROWTH, GROWN, od.with_dropout(longitudinal(), "t", od.WeibullDropout(lost)), test)
        for lost in (0.0, 0.2, 0.5)
    ]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] == pytest.approx(od.power(GROWTH, GROWN, longitudinal(), test), rel=1e-9)


@pytest.mark.parametrize(
    ("time", "law", "message"),
    [
        ("week", od.WeibullDropout(0.2), "time 'week' is not a covariate that varies within units"),
        ("arm", od.WeibullDropout(0.2), "time 'arm' is not a covariate that varies"),
        ("t", lambda s: 0.9 - 0.2 * s, "must begin at 1 and fall"),
        ("t", {"arm == 1": od.WeibullDropout(0.2)}, "0 of the conditions 'arm == 1' hold for the group at"),
    ],
)
def test_wrong_dropout(time, law, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.with_dropout(longitudinal(), time, law)
    for wrong in ({"lost": 1.0}, {"lost": 0.2, "shape": 0}):
        with pytest.raises(od.SpecificationError, match="must be a"):
            od.WeibullDropout(**wrong)


# Unequal sizes


def test_unequal_sizes_are_the_mean_information_over_a_gamma_law():
    """1/Var of a mean is m E{n/(1 + nσ_u²)}: the integral over the gamma density, by another rule."""
    model, guess = od.MixedModel("y ~ 1 + (1 | g)"), od.NominalValues([0.0], {"g": 0.1})
    design = od.Design(od.Nested("g"), counts={"g": 40}, replicates=12)
    for cv in (0.2, 0.5, 0.8):
        law = stats.gamma(1 / cv**2, scale=12 * cv**2)
        mean = law.expect(lambda n: n / (1 + 0.1 * n))
        found = od.covariance(model, guess, od.with_unequal_sizes(design, cv), "exact").matrix[0, 0]
        assert found == pytest.approx(1 / (40 * mean), rel=2e-4)


def test_small_variation_costs_what_the_published_approximation_says():
    """Relative efficiency 1 − CV² ρ(1 − ρ), ρ = nσ_u²/(nσ_u² + σ²)."""
    cv, share = 0.1, 12 * 0.1 / (12 * 0.1 + 1)
    plain, unequal = trial(20, 12), od.with_unequal_sizes(trial(20, 12), cv)
    variances = [od.covariance(TRIAL, beliefs(), d, "exact").variance({"treat": 1.0}) for d in (plain, unequal)]
    assert variances[0] / variances[1] == pytest.approx(1 - cv**2 * share * (1 - share), abs=2e-5)


def test_unequal_sizes_of_inner_units():
    """Schools of classes: a class of size n has information n/(1 + nσ_c²) on its school's mean."""
    model = od.MixedModel("y ~ 1 + (1 | school) + (1 | class)")
    guess = od.NominalValues([0.0], {"school": 0.2, "class": 0.1})
    design = od.Design(od.Nested("school", "class"), counts={"school": 9, "class": 4}, replicates=15)
    law = stats.gamma(1 / 0.16, scale=15 * 0.16)
    school = 4 * law.expect(lambda n: n / (1 + 0.1 * n))
    unequal = od.with_unequal_sizes(design, 0.4)
    found = od.covariance(model, guess, unequal, "exact").matrix[0, 0]
    assert found == pytest.approx((0.2 + 1 / school) / 9, rel=1e-5)
    assert unequal.observations == pytest.approx(design.observations)


def test_wrong_unequal_sizes():
    with pytest.raises(od.SpecificationError, match="cv must be a positive number"):
        od.with_unequal_sizes(trial(), 0.0)
    with pytest.raises(od.SpecificationError, match="units of a nested layout"):
        od.with_unequal_sizes(rated(), 0.3)
    twice = od.Design(od.Nested("school", "class"), counts={"school": 9, "class": 4}, replicates=15)
    with pytest.raises(od.SpecificationError, match="have a law of their own already"):
        od.with_unequal_sizes(od.with_unequal_sizes(twice, 0.3), 0.3)
