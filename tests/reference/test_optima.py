"""Published optimal designs, and joint optima computed by other means."""

import numpy as np
import pytest

import optdesign as od

LOOSE = {"replicates": (0, np.inf)}


def plain(formula, candidates, criterion, family="gaussian", beta=None, order="two-term"):
    """Optimal design of a model without random terms for one observation's worth of money."""
    model = od.MixedModel(formula, family)
    guess = od.NominalValues([0.0] * len(model.fixed_names) if beta is None else beta)
    space = od.DesignSpace(None, candidates, **LOOSE)
    return od.optimize(model, guess, space, criterion, od.Cost(observation=1.0), 1000.0, order)


def weights(best, *names):
    (group,) = best.design.groups
    points = group.measure.points
    return {
        tuple(round(float(v), 4) for v in row): w
        for row, w in zip(points[list(names)].to_numpy(), group.measure.weights, strict=True)
    }


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [(od.DOptimality(), {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}), (od.AOptimality(), {-1: 0.25, 0: 0.5, 1: 0.25})],
)
def test_quadratic_regression_on_an_interval(criterion, expected):
    best = plain("y ~ x + I(x**2)", od.Candidates.grid(x=np.linspace(-1, 1, 101)), criterion)
    found = weights(best, "x")
    assert found == pytest.approx({(x,): w for x, w in expected.items()}, abs=2e-4)
    assert best.certificate.efficiency_bound >= 0.999999


def test_trace_of_the_a_optimum():
    best = plain("y ~ x + I(x**2)", od.Candidates.grid(x=[-1, 0, 1]), od.AOptimality())
    assert best.value * 1000 == pytest.approx(8.0, rel=1e-6)


def test_cubic_regression():
    inner = 1 / np.sqrt(5)
    best = plain("y ~ x + I(x**2) + I(x**3)", od.Candidates.grid(x=[-1, -inner, -0.2, 0.1, inner, 1]), od.DOptimality())
    assert sorted(weights(best, "x").values()) == pytest.approx([0.25] * 4, abs=1e-4)


def test_full_quadratic_on_nine_points():
    best = plain("y ~ a*b + I(a**2) + I(b**2)", od.Candidates.grid(a=[-1, 0, 1], b=[-1, 0, 1]), od.DOptimality())
    found = weights(best, "a", "b")
    assert [found[1, 1], found[1, 0], found[0, 0]] == pytest.approx([0.14579, 0.08016, 0.09619], abs=2e-5)
    assert np.exp(-best.value / 6) / 1000 == pytest.approx(0.4745938, rel=1e-6)


def test_three_factor_quadratic_on_9261_points():
    axis = np.linspace(-1, 1, 21)
    formula = "y ~ a + b + c + a:b + a:c + b:c + I(a**2) + I(b**2) + I(c**2)"
    best = plain(formula, od.Candidates.grid(a=axis, b=axis, c=axis), od.DOptimality())
    assert -best.value - 10 * np.log(1000) == pytest.approx(-7.4553959088, abs=2e-6)
    assert best.certificate.efficiency_bound >= 0.999999
    assert len(best.design.groups[0].measure.points) <= 27


def test_logistic_two_point_design():
    points = [*np.linspace(-3, 3, 61), -1.5434, 1.5434]
    best = plain("y ~ x", od.Candidates.grid(x=points), od.DOptimality(), "bernoulli", [0.0, 1.0])
    assert weights(best, "x") == pytest.approx({(-1.5434,): 0.5, (1.5434,): 0.5}, abs=1e-3)


def joint(criterion, cost):
    model, guess = od.MixedModel("y ~ x + (1 | g)", "bernoulli"), od.NominalValues([-0.5, 1.2], {"g": 0.7})
    space = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, 11)), **LOOSE)
    return od.optimize(model, guess, space, criterion, cost, 200.0)


def test_joint_d_optimum_of_a_logistic_model():
    best = joint(od.DOptimality(), od.Cost({"g": 5.0}, 1.0))
    (group,) = best.design.groups
    assert best.value == pytest.approx(-5.2828, abs=5e-5)
    assert (group.count, group.replicates) == pytest.approx((11.6472, 12.1714), abs=5e-4)
    assert sorted(group.measure.points["x"]) == [-1, 1]


def test_joint_a_optimum_with_prices_that_grow_with_x():
    best = joint(od.AOptimality(), od.Cost({"g": 5.0}, "1 + 0.5*x"))
    (group,) = best.design.groups
    assert best.value == pytest.approx(0.1403132, rel=1e-5)
    assert (group.count, group.replicates) == pytest.approx((14.1263, 11.2021), abs=2e-3)


@pytest.mark.parametrize(("icc", "ratio", "expected"), [(0.05, 10, 13.7840), (0.2, 50, 14.1421)])
def test_classical_number_of_replicates(icc, ratio, expected):
    """n* = √{(1 − ρ)/ρ · c_cluster/c_person}."""
    best = od.optimize(
        od.MixedModel("y ~ 1 + (1 | c)"),
        od.NominalValues([0.0], {"c": icc}, 1 - icc),
        od.DesignSpace(od.Nested("c"), **LOOSE),
        od.COptimality({"Intercept": 1.0}),
        od.Cost({"c": float(ratio)}, 1.0),
        1e4,
    )
    assert best.design.groups[0].replicates == pytest.approx(expected, abs=2e-3)


def cluster_trial(common):
    """ICC .2, R² .5 at both levels, 1 per person, 5 per control cluster and 50 per treated one."""
    space = od.DesignSpace(
        od.Nested("c"), od.Candidates.grid(t=[0, 1]), levels={"t": "c"}, common_replicates=common, **LOOSE
    )
    return od.optimize(
        od.MixedModel("y ~ t + (1 | c)"),
        od.NominalValues([0.0, 0.0], {"c": 0.1}, 0.4),
        space,
        od.COptimality({"t": 1.0}),
        od.Cost({"c": "5 + 45*t"}, 1.0),
        1701.947,
    )


def test_cluster_trial_with_common_size():
    control, treated = cluster_trial(common=True).design.groups
    assert control.replicates == pytest.approx(8.87857199, abs=2e-4)
    assert treated.count / (control.count + treated.count) == pytest.approx(0.32682800, abs=2e-6)


def test_cluster_trial_with_sizes_by_arm():
    control, treated = cluster_trial(common=False).design.groups
    assert (control.replicates, treated.replicates) == pytest.approx((4.47214, 14.14214), abs=1e-3)
    assert treated.count / (control.count + treated.count) == pytest.approx(0.24025, abs=1e-5)


def test_variance_that_the_literature_gives_for_common_size():
    """6.43 % less variance at sizes by arm: the common optimum's variance is 1.0643 times as large."""
    assert cluster_trial(common=True).value / cluster_trial(common=False).value == pytest.approx(1.0643, abs=1e-4)
