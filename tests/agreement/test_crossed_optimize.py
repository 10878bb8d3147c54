"""The optimiser of crossed designs against geometric programs, exhaustive search and the optimiser of nested ones."""

import itertools

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optdesign as od
from optdesign.criteria import Parameters
from optdesign.optimize.crossed_counts import CountBounds, CountProblem, solve_counts
from optdesign.optimize.crossed_integers import whole_designs

NAMES = ("a", "b", "c")
CRITERIA = (od.COptimality({"a": 1.0, "b": -0.5}), od.AOptimality(), od.DOptimality(), od.DOptimality(["a", "c"]))
CORNERED = (od.EOptimality(), od.Compound([(1, od.DOptimality()), (2, od.EOptimality(["a", "b"]))]))


def random_problem(seed, criterion, complete, money=400.0):
    """Random positive semi-definite parts, not all of full rank, prices and bounds."""
    rng = np.random.default_rng(seed)
    roots = [rng.normal(size=(3, rank)) for rank in (rng.integers(1, 4), rng.integers(1, 4), 3)]
    prices = np.array([rng.uniform(1, 9), rng.uniform(1, 9), rng.choice([0.0, 0.7]), rng.uniform(0.1, 1.5)])
    low = np.array([rng.integers(1, 4), rng.integers(1, 4), 1, 1], dtype=float)
    high = np.array([rng.choice([30.0, np.inf]), np.inf, np.inf, rng.choice([3.0, np.inf])])
    parts = np.array([root @ root.T for root in roots])
    bound = criterion.bind([Parameters(NAMES, {}, np.zeros(3), lambda frame: frame.to_numpy())])
    return CountProblem(bound, parts[None], prices[None] / money, CountBounds(low, high, complete))


def geometric_optimum(problem):
    """The same c- or A-problem as a disciplined geometric program."""
    numbers = [cp.Variable(pos=True) for _ in range(4)]
    m, columns, cells, n = numbers
    L = problem.criterion.parts[0].combinations
    over = (m, columns, cells * n)
    value = sum(float(np.trace(L.T @ p @ L)) / v for p, v in zip(problem.parts[0], over, strict=True))
    paid = [(m, 0), (columns, 1), (cells, 2), (cells * n, 3)]
    limits = [sum(float(problem.prices[0, i]) * v for v, i in paid if problem.prices[0, i] > 0) <= 1]
    ends = zip(numbers, problem.bounds.lowest, problem.bounds.highest, strict=True)
    for v, low, high in ends:
        limits += [v >= low, *([v <= high] if np.isfinite(high) else [])]
    complete = problem.bounds.complete
    limits += [cells == m * columns] if complete else [m <= cells, columns <= cells, cells <= m * columns]
    program = cp.Problem(cp.Minimize(value), limits)
    program.solve(gp=True, solver="CLARABEL")
    return float(np.log(program.value))


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_counts_against_a_geometric_program(seed, complete):
    problem = random_problem(seed, CRITERIA[seed % 2], complete)
    optimum = solve_counts(problem)
    reference = geometric_optimum(problem)
    assert problem.loss(optimum.y) == pytest.approx(reference, abs=1e-6)
    assert optimum.bound <= reference + 1e-6
    assert problem.loss(optimum.y) - optimum.bound <= 1e-6


@given(st.integers(0, 10_000), st.sampled_from(CRITERIA + CORNERED), st.booleans())
@settings(max_examples=60)
def test_no_affordable_numbers_beat_the_bound(seed, criterion, complete):
    problem = random_problem(seed, criterion, complete)
    optimum = solve_counts(problem)
    rng = np.random.default_rng(seed + 1)
    low, high = problem.box
    near = optimum.y + rng.normal(scale=0.1, size=(300, len(low)))
    points = np.concatenate([rng.uniform(low, high, size=(300, len(low))), near])
    numbers = np.exp(np.clip(points, low, high) @ problem.bounds.basis.T)
    fits = problem.bounds.hold(numbers) & (problem.spent(numbers) <= 1)
    assert (problem.losses(numbers[fits]) >= optimum.bound - 1e-12).all()
    assert problem.loss(optimum.y) - optimum.bound <= 1e-6
    assert problem.log_spends(optimum.y).max() <= 1e-12


def brute_force(problem, most=70):
    """Least loss over all whole numbers, one by one."""
    best = np.inf
    for m, columns, n in itertools.product(range(1, most), range(1, most), range(1, 30)):
        steps = (
            [m * columns] if problem.bounds.complete else range(np.lcm(m, columns), m * columns + 1, np.lcm(m, columns))
        )
        rows = np.array([[m, columns, k, n] for k in steps], dtype=float)
        low, high = problem.bounds.lowest, problem.bounds.highest
        price = rows[:, 0] * problem.prices[0, 0] + rows[:, 1] * problem.prices[0, 1]
        price += rows[:, 2] * problem.prices[0, 2] + rows[:, 2] * n * problem.prices[0, 3]
        rows = rows[(price <= 1) & (rows >= low).all(axis=1) & (rows <= high).all(axis=1)]
        if len(rows):
            best = min(best, problem.losses(rows).min())
    return best


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_whole_numbers_against_exhaustive_search(seed, complete):
    problem = random_problem(seed + 20, CRITERIA[seed], complete, money=90.0)
    numbers, proven = whole_designs(problem, solve_counts(problem))
    assert proven
    assert problem.losses(numbers[:1])[0] == pytest.approx(brute_force(problem), abs=1e-9)


def test_losses_are_convex_in_logarithms():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(3, 4, 4)) * np.array([1.0, 0.3, 2.0])[:, None, None]
    parts = roots @ np.swapaxes(roots, 1, 2)
    losses = {
        "E": lambda cov: np.log(np.linalg.eigvalsh(cov)[:, -1]),
        "D": lambda cov: np.linalg.slogdet(cov)[1],
        "D_s": lambda cov: np.linalg.slogdet(cov[:, :2, :2])[1],
        "A": lambda cov: np.log(np.trace(cov, axis1=1, axis2=2)),
    }
    here, there = rng.uniform(-4, 4, size=(2, 5000, 3))
    for loss in losses.values():
        ends = [loss(np.tensordot(np.exp(y), parts, 1)) for y in (here, there, (here + there) / 2)]
        assert (ends[2] <= (ends[0] + ends[1]) / 2 + 1e-10).all()


def test_without_column_effects_the_nested_optimum():
    """Columns that are free and alike are replicates: the classical allocation of observations to groups."""
    cost = od.Cost(units={"clinic": 50.0}, observation=1.0)
    model = od.MixedModel("y ~ 1 + (1 | clinic)")
    guess = od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
    criterion = od.COptimality({"Intercept": 1.0})
    nested = od.optimize(model, guess, od.DesignSpace(od.Nested("clinic")), criterion, cost, 10_000.0)
    space = od.DesignSpace(od.Crossed("clinic", "rater"), replicates=1)
    crossed = od.optimize(model, guess, space, criterion, cost, 10_000.0)
    assert crossed.value == pytest.approx(nested.value, rel=1e-6)
    assert crossed.design.counts["clinic"] == pytest.approx(nested.design.units, rel=1e-4)
    assert crossed.design.counts["rater"] == pytest.approx(np.sqrt(200.0), rel=1e-4)


def treated(**changes):
    model = od.MixedModel("y ~ g + (1 | row) + (1 | column)")
    guess = od.NominalValues([0.0, 0.0], {"row": 0.6, "column": 0.35}, 1.1)
    cost = od.Cost(units={"row": "12 + 20*g", "column": 7.0}, cell=0.6, observation=0.25)
    space = od.DesignSpace(
        od.Crossed("row", "column"),
        od.Candidates.grid(g=[0, 1]),
        levels={"g": "row"},
        **{"replicates": (1, 6), **changes},
    )
    return od.optimize(model, guess, space, od.COptimality({"g": 1.0}), cost, 2000.0)


def test_treated_rows_that_cost_more_against_direct_search():
    """Var = (σ_u²/m + σ²/N)/{s(1 − s)} for a share s treated, written out and minimised independently."""
    from scipy.optimize import minimize

    def variance(y):
        s, (columns, n) = 1 / (1 + np.exp(-y[0])), np.exp(y[1:])
        m = (2000 - 7 * columns) / (12 + 20 * s + (0.6 + 0.25 * n) * columns)
        return (0.6 / m + 1.1 / (m * columns * n)) / (s * (1 - s))

    bounds = [(-3, 3), (np.log(2), np.log(30)), (0, np.log(6))]
    starts = itertools.product([-1, 1], [1, 2.5], [0.2, 1.5])
    reference = min(minimize(variance, y, bounds=bounds, tol=1e-12).fun for y in starts)
    best = treated(counts={"column": (2, np.inf)})
    assert best.value == pytest.approx(reference, rel=1e-6)
    assert "exhaustive grid" in best.certificate.scope
    frame = best.rounded.to_frame()
    kinds = frame.groupby("row")["g"].first().value_counts()
    whole = (0.6 + 1.1 / (frame.groupby("row").size().iloc[0])) * (1 / kinds[0] + 1 / kinds[1])
    assert best.rounded.value == pytest.approx(whole, rel=1e-9)
    assert best.rounded.spend <= 2000.0


def test_correction_for_degrees_of_freedom_stays_above_its_bound():
    model = od.MixedModel("y ~ x + (1 | row) + (1 | column)")
    guess = od.NominalValues([0.0, 0.0], {"row": 0.6, "column": 0.35}, 1.1)
    space = od.DesignSpace(od.Crossed("row", "column"), observed=od.Measure.grid(x=[-1, 1]))
    cost = od.Cost(units={"row": 12.0, "column": 7.0}, cell=0.6, observation=0.25)
    best = od.optimize(model, guess, space, od.AOptimality({"x": 1.0, "Intercept": 0.01}), cost, 500.0)
    assert best.status.name == "LOCAL"
    bound = best.value * best.certificate.efficiency_bound
    rng = np.random.default_rng(3)
    for _ in range(40):
        m, n = rng.uniform(2, 20), rng.uniform(1, 40)
        columns = (500 - 12 * m) / (7 + (0.6 + 0.25 * n) * m)
        if columns >= 1:
            design = od.Design(
                space.layout, counts={"row": m, "column": columns}, replicates=n, observed=space.observed
            )
            cov = od.covariance(model, guess, design).matrix
            assert 0.01 * cov[0, 0] + cov[1, 1] >= max(bound, best.value * (1 - 1e-6))


def test_two_free_shares_against_random_plans():
    model = od.MixedModel("y ~ g + x + (1 | row) + (1 | column)")
    guess = od.NominalValues([0.0] * 3, {"row": 0.6, "column": 0.35}, 1.1)
    cost = od.Cost(units={"row": "12 + 20*g", "column": 7.0}, observation="0.5 + 0.5*(x == 1)")
    candidates = od.Candidates.grid(g=[0, 1], x=[0, 1])
    space = od.DesignSpace(od.Crossed("row", "column"), candidates, levels={"g": "row"})
    best = od.optimize(model, guess, space, od.DOptimality(), cost, 800.0)
    rng = np.random.default_rng(5)
    for _ in range(60):
        s, t, columns, n = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(3, 20), rng.uniform(1, 5)
        m = (800 - 7 * columns) / (12 + 20 * s + (0.5 + 0.5 * t) * columns * n)
        weights = np.outer([1 - s, s], [1 - t, t]).ravel()
        measure = od.Measure(candidates.points, weights)
        counts = {"row": m, "column": columns}
        design = od.Design(space.layout, counts=counts, replicates=n, measure=measure, levels={"g": "row"})
        assert design.spend(cost) == pytest.approx(800.0)
        assert np.linalg.slogdet(od.covariance(model, guess, design).matrix)[1] >= best.value - 1e-6
    assert best.rounded.spend <= 800.0
    assert best.rounded.value >= best.value
