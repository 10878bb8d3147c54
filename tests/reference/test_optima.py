"""Published optimal designs, and joint optima computed by other means."""

import itertools

import numpy as np
import pandas as pd
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


def cluster_model():
    return od.MixedModel("y ~ t + (1 | c)"), od.NominalValues([0.0, 0.0], {"c": 0.1}, 0.4)


def cluster_trial(common, replicates=(0, np.inf), constraints=()):
    """ICC .2, R² .5 at both levels, 1 per person, 5 per control cluster and 50 per treated one."""
    space = od.DesignSpace(
        od.Nested("c"),
        od.Candidates.grid(t=[0, 1]),
        levels={"t": "c"},
        replicates=replicates,
        common_replicates=common,
        constraints=constraints,
    )
    return od.optimize(
        *cluster_model(),
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


@pytest.mark.parametrize("factors", [2, 3])
def test_mixture_of_the_first_degree(factors):
    """Scheffé's linear mixture: equal weights on the pure blends, log det M = −q log q."""
    names, blends = "abc"[:factors], mixture(factors, steps=6)
    best = plain("y ~ 0 + " + " + ".join(names), blends, od.DOptimality())
    assert sorted(weights(best, *names)) == sorted(map(tuple, np.eye(factors)))
    assert list(weights(best, *names).values()) == pytest.approx([1 / factors] * factors, abs=1e-5)
    assert best.value + factors * np.log(1000) == pytest.approx(factors * np.log(factors), abs=1e-5)


@pytest.mark.parametrize("factors", [2, 3])
def test_mixture_of_the_second_degree(factors):
    """Scheffé's quadratic mixture: equal weights on pure and on half-and-half blends (Kiefer 1961)."""
    names, size = "abc"[:factors], factors * (factors + 1) // 2
    pairs = [f"{a}:{b}" for a, b in itertools.combinations(names, 2)]
    best = plain("y ~ 0 + " + " + ".join([*names, *pairs]), mixture(factors, steps=6), od.DOptimality())
    support = {tuple(sorted(point)) for point in weights(best, *names)}
    assert support == {(0.0,) * (factors - 1) + (1.0,), (0.0,) * (factors - 2) + (0.5, 0.5)}
    assert list(weights(best, *names).values()) == pytest.approx([1 / size] * size, abs=1e-5)
    # The model matrix of the support is triangular, with 1 for pure blends and ¼ for half-and-half ones.
    expected = size * np.log(size) + 2 * (size - factors) * np.log(4)
    assert best.value + size * np.log(1000) == pytest.approx(expected, abs=1e-5)


def mixture(factors, steps):
    """All blends of some factors in steps of 1/steps."""
    grid = itertools.product(range(steps + 1), repeat=factors)
    blends = [dict(zip("abc", np.divide(point, steps), strict=False)) for point in grid if sum(point) == steps]
    return od.Candidates.from_frame(pd.DataFrame(blends))


def test_cubic_support():
    inner = 1 / np.sqrt(5)
    candidates = od.Candidates.grid(x=[*np.linspace(-1, 1, 21), -inner, inner])
    best = plain("y ~ x + I(x**2) + I(x**3)", candidates, od.DOptimality())
    expected = dict.fromkeys([(-1.0,), (-0.4472,), (0.4472,), (1.0,)], 0.25)
    assert weights(best, "x") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("combination", "support", "variance"),
    [
        ({"x": 1.0}, {(-1.0,): 0.5, (1.0,): 0.5}, 1.0),
        ({"I(x ** 2)": 1.0}, {(-1.0,): 0.25, (0.0,): 0.5, (1.0,): 0.25}, 4.0),
        ({"Intercept": 1.0, "x": 2.0, "I(x ** 2)": 4.0}, {(-1.0,): 1 / 7, (0.0,): 3 / 7, (1.0,): 3 / 7}, 49.0),
    ],
    ids=["slope", "curvature", "extrapolation to 2"],
)
def test_quadratic_regression_by_c(combination, support, variance):
    """Elfving: weights and variance from the Lagrange (Chebyshev) coefficients of the functional at −1, 0, 1."""
    best = plain("y ~ x + I(x**2)", od.Candidates.grid(x=np.linspace(-1, 1, 41)), od.COptimality(combination))
    assert weights(best, "x") == pytest.approx(support, abs=2e-4)
    assert best.value * 1000 == pytest.approx(variance, rel=1e-6)


def test_curvature_by_d_s_is_curvature_by_c():
    """D_s for the highest coefficient of a quadratic: (¼, ½, ¼), as by c."""
    best = plain("y ~ x + I(x**2)", od.Candidates.grid(x=np.linspace(-1, 1, 41)), od.DOptimality(of=["I(x ** 2)"]))
    assert weights(best, "x") == pytest.approx({(-1.0,): 0.25, (0.0,): 0.5, (1.0,): 0.25}, abs=2e-4)


def test_cluster_trial_of_given_size():
    """n = 20: share treated .374066696."""
    control, treated = cluster_trial(True, replicates=20).design.groups
    assert treated.count / (control.count + treated.count) == pytest.approx(0.374066696, abs=2e-6)


def test_cluster_trial_of_given_share():
    """Half treated: n = √110."""
    half = cluster_trial(True, constraints=[od.Share("t == 1", at_least=0.5, at_most=0.5)])
    assert half.design.groups[0].replicates == pytest.approx(np.sqrt(110), rel=2e-5)


@pytest.mark.parametrize(
    ("size", "share", "expected"), [(20, 0.37, 0.8790305), (10, 0.5, 0.8975086), (20, 0.5, 0.8266527)]
)
def test_published_relative_efficiencies_of_cluster_trials(size, share, expected):
    """They are printed for rounded plans, relative to n = 9 and share .33; costs are those of clusters and persons."""
    best, model = cluster_trial(common=True), cluster_model()

    def scored(n, p):
        arms = [od.Group(units, n, od.Measure.grid(), {"t": t}) for t, units in ((0, 1 - p), (1, p))]
        return at_budget(od.Design(od.Nested("c"), arms), model, best)

    assert scored(size, share) / scored(9, 0.33) == pytest.approx(expected, abs=6e-8)
    assert scored(9, 0.33) < 1


def at_budget(design, model, best):
    """Efficiency of a design, enlarged until it spends what the optimum spends."""
    enlarged = design.scaled(counts=best.spend / design.spend(best.cost))
    return od.efficiency(*model, enlarged, best.criterion, best)


def multisite_model():
    """ICC .2, variance of the effect .02, R² .5 within and between sites; treatment is coded ±½."""
    return od.MixedModel("y ~ t + (1 + t | s)"), od.NominalValues([0.0, 0.0], {"s": np.diag([0.2, 0.01])}, 0.4)


def multisite(**space):
    """10 per site, 1 per person, 10 per treated one."""
    candidates = od.Candidates.grid(t=[-0.5, 0.5])
    return od.optimize(
        *multisite_model(),
        od.DesignSpace(od.Nested("s"), candidates, **{**LOOSE, **space}),
        od.COptimality({"t": 1.0}),
        od.Cost({"s": 10.0}, "1 + 9*(t > 0)"),
        1e4,
    )


def test_multisite_trial():
    """p = 1/(1 + √10), n = √{(c_site/c_person) σ²/(p(1 − p) ω)}, c_person = 1 + 9p, for the least variance."""
    best = multisite()
    share = 1 / (1 + np.sqrt(10))
    assert weights(best, "t")[0.5,] == pytest.approx(share, abs=2e-6)
    size = np.sqrt(10 * 0.4 / (share * (1 - share) * 0.01 * (1 + 9 * share)))
    assert best.design.groups[0].replicates == pytest.approx(size, rel=1e-4)


@pytest.mark.parametrize(("size", "share", "expected"), [(15, 0.5, 0.8071131), (5, 0.33, 0.7847609)])
def test_published_relative_efficiencies_of_multisite_trials(size, share, expected):
    """They are printed for rounded plans, relative to n = 23 and share .24."""
    best, model = multisite(), multisite_model()

    def scored(n, p):
        measure = od.Measure.grid(t=[-0.5, 0.5], weights=[1 - p, p])
        return at_budget(od.Design(od.Nested("s"), counts={"s": 1}, replicates=n, measure=measure), model, best)

    assert scored(size, share) / scored(23, 0.24) == pytest.approx(expected, abs=6e-8)


def test_published_multisite_allocation_is_near_the_least_variance():
    """n = 23.498177, p = .240233: sites smaller than the least variance asks for, at a small loss."""
    measure = od.Measure.grid(t=[-0.5, 0.5], weights=[1 - 0.240233, 0.240233])
    plan = od.Design(od.Nested("s"), counts={"s": 1}, replicates=23.498177, measure=measure)
    assert 0.99 < at_budget(plan, multisite_model(), multisite()) < 1
