"""Optimal designs on continuous regions: published ones, and those of very fine grids."""

import numpy as np
import pytest

import optdesign as od

QUADRATIC, CUBIC = "y ~ x + I(x**2)", "y ~ x + I(x**2) + I(x**3)"
QUINTIC = f"{CUBIC} + I(x**4) + I(x**5)"
INNER, OUTER = np.sqrt((7 - 2 * np.sqrt(7)) / 21), np.sqrt((7 + 2 * np.sqrt(7)) / 21)
SLOPES = {"g": [[0.3, 0.05], [0.05, 0.2]]}


def plain(formula, region, criterion, family="gaussian", beta=None, cost=None):
    """Optimal design of a model without random terms."""
    model = od.MixedModel(formula, family)
    guess = od.NominalValues([0.0] * len(model.fixed_names) if beta is None else beta)
    space = od.DesignSpace(None, region, replicates=(0, np.inf))
    return od.optimize(model, guess, space, criterion, cost or od.Cost(observation=1.0), 1000.0)


def support(best, name="x"):
    (group,) = best.design.groups
    order = np.argsort(group.measure.points[name].to_numpy(), kind="stable")
    return group.measure.points[name].to_numpy()[order], group.measure.weights[order]


@pytest.mark.parametrize(
    ("formula", "criterion", "points", "weights"),
    [
        (QUADRATIC, od.DOptimality(), [-1, 0, 1], [1 / 3] * 3),
        (CUBIC, od.DOptimality(), [-1, -np.sqrt(1 / 5), np.sqrt(1 / 5), 1], [1 / 4] * 4),
        # Zeros of (1 − x²)P₅′(x), P₅ the Legendre polynomial: Guest (1958).
        (QUINTIC, od.DOptimality(), [-1, -OUTER, -INNER, INNER, OUTER, 1], [1 / 6] * 6),
        # Chebyshev points: the highest coefficient (Studden 1968), and E-optimality (Pukelsheim & Studden 1993).
        (CUBIC, od.COptimality({"I(x ** 3)": 1.0}), [-1, -0.5, 0.5, 1], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
        (QUADRATIC, od.EOptimality(), [-1, 0, 1], [0.2, 0.6, 0.2]),
        (CUBIC, od.EOptimality(), [-1, -0.5, 0.5, 1], [0.126667, 0.373333, 0.373333, 0.126667]),
    ],
)
def test_polynomial_regression(formula, criterion, points, weights):
    best = plain(formula, od.Candidates.region(x=(-1, 1)), criterion)
    found, shares = support(best)
    assert found == pytest.approx(points, abs=4e-6)
    assert shares == pytest.approx(weights, abs=1e-5)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


@pytest.mark.parametrize(
    ("family", "beta", "region", "points"),
    [
        # u tanh(u/2) = 1; one and two units of exp(η/2) below the mean's largest value (Poisson).
        ("bernoulli", [0.0, 1.0], (-10, 10.3), [-1.5434046, 1.5434046]),
        ("bernoulli", [-1.0, 2.0], (-3, 5), [(1 - 1.5434046) / 2, (1 + 1.5434046) / 2]),
        ("poisson", [0.0, -1.0], (0, 10), [0.0, 2.0]),
        ("poisson", [0.4, -1.7], (0, 9.9), [0.0, 2 / 1.7]),
    ],
)
def test_two_points_of_a_dose_response_curve(family, beta, region, points):
    best = plain("y ~ x", od.Candidates.region(x=region), od.DOptimality(), family, beta)
    found, shares = support(best)
    assert found == pytest.approx(points, abs=2e-6 * (region[1] - region[0]))
    assert shares == pytest.approx([0.5, 0.5], abs=1e-5)


def test_exponential_decay_by_its_first_order_terms():
    """y = a exp(−bx): the D-optimal points are 0 and 1/b (Box & Lucas 1959)."""
    best = plain("y ~ 0 + exp(-0.7*x) + I(x*exp(-0.7*x))", od.Candidates.region(x=(0, 8)), od.DOptimality())
    assert support(best)[0] == pytest.approx([0, 1 / 0.7], abs=2e-5)


def test_michaelis_menten_by_its_first_order_terms():
    """y = Vx/(K + x) on [0, b]: the D-optimal points are b and bK/(2K + b)."""
    k, b = 1.3, 7.0
    region = od.Candidates.region(x=(0, b))
    best = plain(f"y ~ 0 + I(x/({k}+x)) + I(x/({k}+x)**2)", region, od.DOptimality())
    assert support(best)[0] == pytest.approx([b * k / (2 * k + b), b], abs=1e-5)


def test_quadratic_on_a_square():
    region = od.Candidates.region(a=(-1, 1), b=(-1, 1))
    best = plain("y ~ a*b + I(a**2) + I(b**2)", region, od.DOptimality())
    (group,) = best.design.groups
    shares = np.sort(group.measure.weights)
    assert shares == pytest.approx([0.0802] * 4 + [0.0962] + [0.1458] * 4, abs=1e-4)
    assert set(np.unique(group.measure.points.to_numpy())) == {-1.0, 0.0, 1.0}


def test_prices_that_depend_on_the_point_move_it():
    """y = βx at a price of 2 + x⁴: information x²/(2 + x⁴) for the money is largest at x⁴ = 2."""
    region = od.Candidates.region(x=(0, 3))
    best = plain("y ~ 0 + x", region, od.DOptimality(), cost=od.Cost(observation="2 + x**4"))
    assert support(best)[0] == pytest.approx([2**0.25], abs=1e-5)


def variance_function(formula, best):
    """Sensitivity over a dense grid of its own, from the information of the design and nothing else."""
    (group,) = best.design.groups
    matrix = {CUBIC: lambda x: x[:, None] ** np.arange(4)}[formula]
    x = np.linspace(-1, 1, 20_001)
    X = matrix(group.measure.points["x"].to_numpy())
    information = X.T @ (group.measure.weights[:, None] * X)
    rows = matrix(x)
    return np.einsum("ij,ij->i", rows @ np.linalg.inv(information), rows) / 4


def test_sensitivity_is_nowhere_above_the_certificate():
    best = plain(CUBIC, od.Candidates.region(x=(-1, 1)), od.DOptimality())
    highest = variance_function(CUBIC, best).max()
    assert highest <= 1 / best.certificate.efficiency_bound + 1e-12
    assert highest <= 1 + 1e-6


def mixed(candidates, order="two-term", family="poisson", **space):
    model = od.MixedModel("y ~ x + I(x**2) + (1 + x | g)", family)
    guess = od.NominalValues([0.5, 0.6, -0.4], SLOPES)
    where = od.DesignSpace(od.Nested("g"), candidates, replicates=(1, 50), **space)
    return od.optimize(model, guess, where, od.DOptimality(), od.Cost({"g": 50.0}, "5 + x"), 10_000, order)


@pytest.mark.parametrize("order", ["two-term", "averaged"])
def test_two_random_effects_agree_with_a_very_fine_grid(order):
    best = mixed(od.Candidates.region(x=(-1, 1.3)), order)
    fine = mixed(od.Candidates.grid(x=np.linspace(-1, 1.3, 10_001)), order)
    ratio = best.problem.criterion.efficiency(best.value, fine.value)
    assert ratio == pytest.approx(1.0, abs=1e-6)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_unit_level_covariates_find_their_values():
    """Cubic regression on unit means, all of equal price: the points of the cubic, on [0, 5]."""
    model = od.MixedModel("y ~ z + I(z**2) + I(z**3) + x + (1 | g)")
    region = od.Candidates.region(x=(-1, 1), z=(0, 5))
    space = od.DesignSpace(od.Nested("g"), region, levels={"z": "g"}, replicates=(1, 50))
    guess = od.NominalValues([0.0] * 5, {"g": 0.3})
    best = od.optimize(model, guess, space, od.DOptimality(), od.Cost({"g": 50.0}, 5.0), 10_000)
    at = sorted(g.at["z"] for g in best.design.groups)
    assert at == pytest.approx([0, 2.5 - 2.5 / np.sqrt(5), 2.5 + 2.5 / np.sqrt(5), 5], abs=1e-4)
    assert [g.count for g in best.design.groups] == pytest.approx([best.design.units / 4] * 4, rel=1e-4)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_dear_units_agree_with_a_fine_grid_of_types():
    model = od.MixedModel("y ~ z + I(z**2) + (1 | g)", "poisson")
    guess, cost = od.NominalValues([1.0, -0.3, -0.1], {"g": 0.3}), od.Cost({"g": "50 + 10*z"}, 5.0)

    def best_on(candidates):
        space = od.DesignSpace(od.Nested("g"), candidates, levels={"z": "g"}, replicates=(1, 50))
        return od.optimize(model, guess, space, od.DOptimality(), cost, 10_000)

    best = best_on(od.Candidates.region(z=(0, 5)))
    fine = best_on(od.Candidates.grid(z=np.linspace(0, 5, 501)))
    ratio = best.problem.criterion.efficiency(best.value, fine.value)
    assert 1 - 1e-6 <= ratio <= (1 + 1e-6) / fine.certificate.efficiency_bound
    assert len(best.design.groups) == 3
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_bases_refer_to_the_region_and_not_to_the_points_found():
    """A D-optimum does not depend on the basis of the polynomials; poly() in a region has one basis throughout."""
    region = od.Candidates.region(x=(-1, 1))
    best = plain("y ~ poly(x, 3)", region, od.DOptimality(), beta=[0.0] * 4)
    assert support(best)[0] == pytest.approx([-1, -np.sqrt(1 / 5), np.sqrt(1 / 5), 1], abs=4e-6)
    model, guess = od.MixedModel("y ~ poly(x, 3)"), od.NominalValues([0.0] * 4)
    assert od.efficiency(model, guess, best.design, od.DOptimality(), best) == pytest.approx(1.0, abs=1e-9)


def test_listed_values_and_shares_stay_with_a_region():
    region = od.Candidates.region(x=(-1, 1), arm=["a", "b"])
    space = od.DesignSpace(None, region, replicates=(0, np.inf), constraints=[od.Share("arm == 'b'", at_least=0.7)])
    model = od.MixedModel("y ~ arm + x + I(x**2) + I(x**3)")
    best = od.optimize(model, od.NominalValues([0.0] * 5), space, od.DOptimality(), od.Cost(observation=1.0), 1000.0)
    (group,) = best.design.groups
    assert group.measure.weights[group.measure.points["arm"] == "b"].sum() == pytest.approx(0.7, abs=1e-6)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    fine = od.Candidates.grid(x=np.linspace(-1, 1, 2001), arm=["a", "b"])
    finer = od.DesignSpace(None, fine, replicates=(0, np.inf), constraints=space.constraints)
    other = od.optimize(model, od.NominalValues([0.0] * 5), finer, od.DOptimality(), od.Cost(observation=1.0), 1000.0)
    assert best.problem.criterion.efficiency(best.value, other.value) == pytest.approx(1.0, abs=1e-6)


def test_average_over_scenarios_agrees_with_a_very_fine_grid():
    criterion = od.Bayesian(od.DOptimality(), scenarios=[(0.5, od.NominalValues([0.0, b])) for b in (0.8, 1.6)])
    best, fine = (
        plain("y ~ x", candidates, criterion, "bernoulli", [0.0, 1.0])
        for candidates in (od.Candidates.region(x=(-5, 5)), od.Candidates.grid(x=np.linspace(-5, 5, 10_001)))
    )
    assert best.problem.criterion.efficiency(best.value, fine.value) == pytest.approx(1.0, abs=1e-6)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_limits_and_what_has_been_run_count_in_a_region():
    """A budget of time that charges for x, and observations at x = 1 that are there for nothing."""
    model, guess = od.MixedModel("y ~ x + I(x**2)"), od.NominalValues([0.0] * 3)
    run = od.Design(None, replicates=40, measure=od.Measure.grid(x=[1.0]))

    def best_on(candidates):
        space = od.DesignSpace(None, candidates, replicates=(0, np.inf))
        time = {"hours": (od.Cost(observation="1 + 2*x"), 150.0)}
        return od.optimize(
            model, guess, space, od.DOptimality(), od.Cost(observation=1.0), 100.0, limits=time, already=run
        )

    best, fine = best_on(od.Candidates.region(x=(0, 1.1))), best_on(od.Candidates.grid(x=np.linspace(0, 1.1, 11_001)))
    assert best.problem.criterion.efficiency(best.value, fine.value) == pytest.approx(1.0, abs=1e-6)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_common_replicates_in_a_region():
    model = od.MixedModel("y ~ z + I(z**2) + I(z**3) + (1 | g)")
    space = od.DesignSpace(
        od.Nested("g"),
        od.Candidates.region(z=(-1, 1)),
        levels={"z": "g"},
        replicates=(1, 50),
        common_replicates=True,
    )
    guess = od.NominalValues([0.0] * 4, {"g": 0.5})
    best = od.optimize(model, guess, space, od.DOptimality(), od.Cost({"g": 50.0}, 1.0), 10_000)
    assert sorted(g.at["z"] for g in best.design.groups) == pytest.approx(
        [-1, -np.sqrt(0.2), np.sqrt(0.2), 1], abs=1e-4
    )
    # n* = √{(50/1)(1/0.5)} = 10 for every unit
    assert [g.replicates for g in best.design.groups] == pytest.approx([10.0] * 4, rel=1e-3)


def test_worst_case_over_scenarios_on_a_region():
    scenarios = [od.NominalValues([0.0, slope]) for slope in (0.8, 1.6)]
    criterion = od.Maximin(od.DOptimality(), scenarios=scenarios)
    best, fine = (
        plain("y ~ x", candidates, criterion, "bernoulli", [0.0, 1.0])
        for candidates in (od.Candidates.region(x=(-5, 5)), od.Candidates.grid(x=np.linspace(-5, 5, 2001)))
    )
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    # The references of the grid are those of its own points: the smallest efficiencies differ by that much.
    assert best.value == pytest.approx(fine.value, abs=1e-5)
