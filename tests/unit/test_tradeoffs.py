"""Frontiers, Pareto sets and robustness."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od

MEAN = od.MixedModel("y ~ 1 + (1 | clinic)")
GUESS = od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
COST = od.Cost({"clinic": 50.0}, observation=1.0)


def plan(**changes):
    asked = {"space": od.DesignSpace(od.Nested("clinic")), "criterion": od.COptimality({"Intercept": 1.0})}
    return od.optimize(MEAN, GUESS, cost=COST, budget=10_000, **{**asked, **changes})


def variance(n, between, within=0.8):
    """Variance times money of the mean of units of n observations."""
    return (between + within / n) * (50 + n)


def test_frontier_is_inverse_in_money():
    found = od.frontier(plan(), [2_000, 10_000, 50_000])
    table = found.to_frame()
    expected = variance(np.sqrt(50 * 0.8 / 0.2), 0.2)
    np.testing.assert_allclose(table["value"] * table["budget"], expected, rtol=1e-6)
    assert (table["efficiency bound"] >= 1 - 1e-6).all()
    assert [best.budget for best in found.designs] == [2_000, 10_000, 50_000]
    assert "variance of Intercept" in repr(found)
    assert "<table" in found._repr_html_()


def test_frontier_keeps_everything_else_of_the_question():
    limits = {"hours": (od.Cost({"clinic": 2.0}), 100.0)}
    best = plan(limits=limits, space=od.DesignSpace(od.Nested("clinic"), replicates=(2, 40)), order="exact")
    (again,) = od.frontier(best, [20_000]).designs
    assert again.order == "exact"
    assert again.design.units <= 50 + 1e-4
    assert again.space.replicate_bounds == (2, 40)


def test_frontier_and_robustness_of_a_crossed_design():
    # By scan: variance τ/m + τ'/m' + σ²/(m m') of the mean, one reading per cell, along the budget.
    model, guess = (
        od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)"),
        od.NominalValues([0.0], {"reader": 0.6, "image": 0.35}, 1.1),
    )
    cost = od.Cost({"reader": 12.0, "image": 7.0}, observation=0.85)
    space = od.DesignSpace(od.Crossed("reader", "image"), replicates=1)
    best = od.optimize(model, guess, space, od.COptimality({"Intercept": 1.0}), cost, 2_000)
    m = np.linspace(2, 150, 200_001)

    def least(budget, tau):
        columns = (budget - 12 * m) / (7 + 0.85 * m)
        value = np.where(columns >= 1, tau / m + 0.35 / columns + 1.1 / (m * columns), np.inf)
        return value.min(), value.argmin(), columns

    (again,) = od.frontier(best, [1_000]).designs
    assert again.value == pytest.approx(least(1_000, 0.6)[0], rel=1e-5)
    _, at, columns = least(2_000, 0.6)
    here = 1.2 / m[at] + 0.35 / columns[at] + 1.1 / (m[at] * columns[at])
    assert od.robustness(best, {"reader": [2.0]}).worst == pytest.approx(least(2_000, 1.2)[0] / here, rel=1e-4)


def test_frontier_needs_budgets():
    with pytest.raises(od.SpecificationError, match="at least one budget"):
        od.frontier(plan(), [])


QUADRATIC = od.MixedModel("y ~ x + I(x**2)")
LINE = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-1, 1, 41)))


def test_pareto_set_of_two_criteria_of_a_quadratic():
    zero = od.NominalValues([0.0, 0.0, 0.0])
    curve = od.COptimality({"I(x ** 2)": 1.0})
    found = od.pareto(QUADRATIC, zero, LINE, od.DOptimality(), curve, od.Cost(observation=1.0), 100, points=5)
    table = found.to_frame()
    # The ends are known: thirds for D, (1/4, 1/2, 1/4) for the curvature; by symmetry (w, 1 − 2w, w) in between, with
    # det M = 4w²(1 − 2w) and Var = 1/(2w(1 − 2w)).
    w = np.linspace(0.2, 0.4, 200_001)
    d, c = np.log(4 * w**2 * (1 - 2 * w)) / 3, np.log(2 * w * (1 - 2 * w))
    for weight, first, second in table[["weight", "first", "second"]].itertuples(index=False):
        at = np.argmax((1 - weight) * d + weight * c)
        assert first == pytest.approx(np.exp(d[at] - d.max()), abs=1e-5)
        assert second == pytest.approx(np.exp(c[at] - c.max()), abs=1e-5)
    assert (table["efficiency bound"] >= 1 - 1e-6).all()
    assert (np.diff(table["first"]) < 0).all()
    assert (np.diff(table["second"]) > 0).all()
    assert "first: log determinant" in repr(found)
    assert "<table" in found._repr_html_()


def test_an_end_that_does_not_estimate_the_other_criterion_has_efficiency_zero():
    line, zero = od.MixedModel("y ~ x"), od.NominalValues([0.0, 0.0])
    points = od.DesignSpace(None, od.Candidates.grid(x=[0, 1]))
    at_zero = od.COptimality({"Intercept": 1.0})
    found = od.pareto(line, zero, points, at_zero, od.DOptimality(), od.Cost(observation=1.0), 10.0, points=2)
    assert found.efficiencies[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first": od.Compound([(1, od.DOptimality())])}, "two elementary criteria"),
        ({"points": 1}, "at least 2"),
        ({"points": 2.5}, "at least 2"),
    ],
)
def test_wrong_pareto_questions(changes, message):
    asked = {"first": od.DOptimality(), "second": od.AOptimality(), **changes}
    with pytest.raises(od.SpecificationError, match=message):
        od.pareto(QUADRATIC, od.NominalValues([0, 0, 0]), LINE, cost=od.Cost(observation=1.0), budget=100, **asked)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_robustness_along_a_variance(factor):
    n, there = np.sqrt(50 * 0.8 / 0.2), np.sqrt(50 * 0.8 / (0.2 * factor))
    found = od.robustness(plan(), {"clinic": [factor]}).to_frame()
    assert found.loc[0, "parameter"] == "clinic"
    assert found.loc[0, "nominal"] == factor
    expected = variance(there, 0.2 * factor) / variance(n, 0.2 * factor)
    assert found.loc[0, "efficiency"] == pytest.approx(expected, rel=1e-6)


def test_robustness_along_the_dispersion_and_of_another_plan():
    mine = od.Design(od.Nested("clinic"), counts={"clinic": 100}, replicates=50)
    found = od.robustness(plan(), {"dispersion": [0.8, 3.2]}, mine)
    expected = [variance(np.sqrt(50 * s / 0.2), 0.2, s) / variance(50, 0.2, s) for s in (0.8, 3.2)]
    np.testing.assert_allclose(found.to_frame()["efficiency"], expected, rtol=1e-6)
    assert found.worst == pytest.approx(min(expected), rel=1e-6)
    exact = od.robustness(plan(), [GUESS], plan().rounded)
    assert 0.99 < exact.worst <= 1.0
    assert "efficiency at least" in repr(exact)
    assert "<table" in exact._repr_html_()


def test_robustness_along_a_coefficient_of_a_logistic_curve():
    model, points = od.MixedModel("y ~ x", family="bernoulli"), od.Candidates.grid(x=np.linspace(-2, 2, 401))
    space = od.DesignSpace(None, points)
    best = od.optimize(model, od.NominalValues([0.0, 1.0]), space, od.DOptimality(), od.Cost(observation=1.0), 100)
    found = od.robustness(best, {"x": [1.0, 2.0]}).to_frame()

    def root_determinant(x, shares, slope):
        weight = shares / (2 + 2 * np.cosh(slope * x))
        return np.sqrt(weight.sum() * (weight * x**2).sum() - (weight * x).sum() ** 2)

    law = best.design.groups[0].measure
    there = [root_determinant(np.array([-x, x]), np.full(2, 0.5), 2.0) for x in np.linspace(0, 2, 201)]
    expected = root_determinant(law.points["x"].to_numpy(), law.weights, 2.0) / max(there)
    np.testing.assert_allclose(found["efficiency"], [1.0, expected], rtol=1e-4)


def test_robustness_of_a_bayesian_design_is_by_the_criterion_it_averages():
    scenarios = [(0.5, od.NominalValues([0.0], {"clinic": tau}, 0.8)) for tau in (0.05, 0.8)]
    mean = od.COptimality({"Intercept": 1.0})
    local, averaged, worst = (
        od.robustness(plan(criterion=criterion), scenarios)
        for criterion in (mean, od.Bayesian(mean, scenarios), od.Maximin(mean, scenarios))
    )
    assert local.worst < worst.worst
    assert averaged.worst <= worst.worst + 1e-9
    # At the maximin the two efficiencies are equal.
    a, b = worst.to_frame()["efficiency"]
    assert a == pytest.approx(b, rel=1e-5)
    n = np.linspace(5, 40, 200_001)
    least = [variance(np.sqrt(50 * 0.8 / tau), tau) / variance(n, tau) for tau in (0.05, 0.8)]
    assert worst.worst == pytest.approx(np.minimum(*least).max(), rel=1e-5)


@pytest.mark.parametrize(
    ("scenarios", "message"),
    [
        ([], "at least one scenario"),
        ({"Intercpt": [1.0]}, r"'Intercpt' is not a parameter.*Did you mean 'Intercept'"),
        ({"Intercept": ["big"]}, "must be a number; got 'big'"),
    ],
)
def test_wrong_scenarios(scenarios, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.robustness(plan(), scenarios)


# Scenarios of a pilot -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pilot():
    rng = np.random.default_rng(1)
    unit = np.repeat(np.arange(60), 8)
    x = np.tile([0.0, 1.0], 240)
    effects = rng.multivariate_normal([0, 0], [[1.0, 0.3], [0.3, 0.5]], 60)[unit]
    y = 1 + 2 * x + effects[:, 0] + effects[:, 1] * x + rng.normal(size=480)
    return od.fit(od.MixedModel("y ~ x + (1 + x | unit)"), pd.DataFrame({"y": y, "x": x, "unit": unit}))


def test_scenarios_follow_the_sampling_law_of_the_pilot(pilot):
    drawn = pilot.scenarios(4_000, seed=2)
    assert {weight for weight, _ in drawn} == {1 / 4_000}
    beta = np.array([list(nominal.beta.values()) for _, nominal in drawn])
    np.testing.assert_allclose(beta.mean(axis=0), pilot.beta, atol=4 * pilot.standard_errors.max() / 60)
    np.testing.assert_allclose(np.cov(beta.T), pilot.covariance_matrix, rtol=0.15, atol=1e-3)
    # Variance components, to first order: the asymptotic covariance by another route, exact maximum likelihood.
    design = od.Design(od.Nested("unit"), counts={"unit": 60}, replicates=8, measure=od.Measure.grid(x=[0.0, 1.0]))
    law = od.covariance(pilot.model, pilot.nominal_values(), design, order="exact", parameters="all")
    matrices = np.array([nominal.covariance["unit"] for _, nominal in drawn])
    found = np.column_stack([matrices[:, 0, 0], matrices[:, 1, 0], matrices[:, 1, 1]])
    spread = np.sqrt(np.diag(law.matrix)[2:])
    np.testing.assert_allclose(found.std(axis=0), spread[:3], rtol=0.25)
    np.testing.assert_allclose(np.std([n.dispersion for _, n in drawn]), spread[3], rtol=0.1)
    assert all(np.linalg.eigvalsh(matrix).min() > 0 for matrix in matrices)


def test_scenarios_are_the_same_for_the_same_seed(pilot):
    first, again, other = (pilot.scenarios(3, seed=seed) for seed in (5, 5, 6))
    assert [n.beta for _, n in first] == [n.beta for _, n in again]
    assert [n.beta for _, n in first] != [n.beta for _, n in other]


def test_scenarios_of_a_plain_model():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "x": [0, 1, 2, 3]})
    ((weight, nominal),) = od.fit(od.MixedModel("y ~ x"), data).scenarios(1)
    assert weight == 1.0
    assert nominal.dispersion > 0
    assert dict(nominal.covariance) == {}


def test_scenarios_make_a_bayesian_criterion(pilot):
    space = od.DesignSpace(od.Nested("unit"), od.Candidates.grid(x=[0, 1]), replicates=(2, 20))
    averaged = od.Bayesian(od.COptimality({"x": 1.0}), pilot.scenarios(8, seed=3))
    best = od.optimize(pilot.model, pilot.nominal_values(), space, averaged, od.Cost({"unit": 50}, 5), 10_000)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_scenarios_that_have_no_law():
    flat = pd.DataFrame({"y": np.tile([1.0, -1.0, 2.0, -2.0], 6), "unit": np.repeat(np.arange(6), 4)})
    with pytest.raises(od.SpecificationError, match=r"singular covariance of 'unit'"):
        od.fit(od.MixedModel("y ~ 1 + (1 | unit)"), flat).scenarios(2)
    rng = np.random.default_rng(0)
    crossed = pd.DataFrame({"a": np.repeat(np.arange(8), 16), "b": np.tile(np.repeat(np.arange(8), 2), 8)})
    crossed["y"] = rng.normal(size=8)[crossed.a] + rng.normal(size=8)[crossed.b] + rng.normal(size=128)
    with pytest.raises(od.SpecificationError, match="one grouping factor or none"):
        od.fit(od.MixedModel("y ~ 1 + (1 | a) + (1 | b)"), crossed).scenarios(2)


def test_number_of_scenarios_is_a_whole_number(pilot):
    with pytest.raises(od.SpecificationError, match="whole number of at least 1; got 0"):
        pilot.scenarios(0)
