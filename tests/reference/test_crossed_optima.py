"""Optimal crossed designs: reference values, closed forms and the gain of incomplete crossing."""

import itertools

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.criteria import Parameters
from optdesign.optimize.crossed_counts import CountBounds, CountProblem, solve_counts
from optdesign.optimize.result import Status

MOMENTS = np.array([[1, 0.5, 0.3], [0.5, 1.69, 1.014], [0.3, 1.014, 1.2484]])
ROWS, COLUMNS, NOISE = [[0.6, 0.15], [0.15, 0.4]], [[0.35, -0.08], [-0.08, 0.25]], 1.1
NAMES = ("Intercept", "x", "z")
LAYOUT = od.Crossed("row", "column")
MODEL = od.MixedModel("y ~ x + z + (1 + x | row) + (1 + x | column)")
GUESS = od.NominalValues([0.0, 0.0, 0.0], {"row": ROWS, "column": COLUMNS}, NOISE)
COST = od.Cost(units={"row": 12.0, "column": 7.0}, cell=0.6, observation=0.25)
MEAN = od.COptimality({"Intercept": 1.0})
WEIGHTED = od.AOptimality({"Intercept": 1.0, "x": 1.0, "z": 200.0})
#: Order 'averaged' of a Gaussian is two terms without the correction for degrees of freedom.
PLAIN = "averaged"


def law():
    """Four equally likely points with the moments asked for."""
    mean = MOMENTS[0, 1:]
    root = np.linalg.cholesky(MOMENTS[1:, 1:] - np.outer(mean, mean))
    corners = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]])
    return od.Measure.from_frame(pd.DataFrame(mean + corners @ root.T, columns=["x", "z"]))


def best_of(criterion, order=PLAIN, cost=COST, **space):
    return od.optimize(MODEL, GUESS, od.DesignSpace(LAYOUT, observed=law(), **space), criterion, cost, 2000.0, order)


def parts(leading=False):
    rows, columns = np.zeros((2, 3, 3))
    rows[:2, :2], columns[:2, :2] = ROWS, COLUMNS
    return np.array([rows, columns, NOISE * np.linalg.inv(MOMENTS) * (not leading)])


def closed_form(alpha, beta, s, n, prices, budget=2000.0):
    """m, m' and the optimum of alpha/m + beta/m' + s/(m m' n) for fixed n."""
    row, column, cell, observation = prices
    C = cell + observation * n
    a, b = alpha + s * column / (n * budget), beta + s * row / (n * budget)
    root = np.sqrt(budget * C + row * column)
    m = budget / (row + np.sqrt(b / a) * root)
    return (
        m,
        budget / (column + np.sqrt(a / b) * root),
        (a * row + b * column + 2 * np.sqrt(a * b) * root + s * C / n) / budget,
    )


@pytest.mark.parametrize(
    ("criterion", "order", "replicates", "value", "numbers", "whole", "whole_numbers"),
    [
        (MEAN, "leading", (1, 1), 0.024180619339, (45.18817598, 32.10181693), 0.0242424242, (44, 33, 1)),
        (MEAN, PLAIN, (1, 9), 0.025070054696, (44.95163619, 32.30737010), 0.0251306240, (43, 34, 1)),
        (od.AOptimality(), PLAIN, (1, np.inf), 0.043834969988, (44.27350096, 32.90693518), 0.0439072237, (43, 34, 1)),
        (od.AOptimality(), PLAIN, 3, 0.050423759166, (37.69065022, 26.73891875), None, None),
        (WEIGHTED, PLAIN, (1, np.inf), 0.1384037326, (26.131, 21.109), 0.1389729387, (24, 21, 10)),
    ],
)  # fmt: skip
def test_table_of_optima(criterion, order, replicates, value, numbers, whole, whole_numbers):
    best = best_of(criterion, order, replicates=replicates)
    assert best.value == pytest.approx(value, rel=1e-9)
    assert tuple(best.design.counts.values()) == pytest.approx(numbers, rel=5e-5)
    assert best.certificate.efficiency_bound >= 0.999999
    assert best.status is Status.OPTIMAL
    assert best.rounded.proven
    if whole is not None:
        assert best.rounded.value == pytest.approx(whole, rel=1e-8)
        assert (*best.rounded.design.counts.values(), best.rounded.design.cell_size) == whole_numbers


@pytest.mark.parametrize("n", [1, 3, 8])
@pytest.mark.parametrize("combination", [(1.0, 0.0, 0.0), (0.0, 1.0, 0.5), (1.0, -1.0, 2.0)])
def test_closed_form_for_fixed_replicates(n, combination):
    c = np.array(combination)
    alpha, beta, s = (c @ part @ c for part in parts())
    m, columns, value = closed_form(alpha, beta, s, n, (12, 7, 0.6, 0.25))
    best = best_of(od.COptimality(dict(zip(NAMES, combination, strict=True))), replicates=n)
    assert best.value == pytest.approx(value, rel=1e-12)
    assert tuple(best.design.counts.values()) == pytest.approx((m, columns), rel=1e-5)


def determinant(row, column, observation):
    """Determinant of the covariance by its coefficients on (1/m)^a (1/m')^b (1/N)^c: mixed discriminants."""
    table = {(2, 0, 1): 0.373828125, (1, 1, 1): 0.5396875, (1, 0, 2): 1.8722439236, (0, 2, 1): 0.139390625,
             (0, 1, 2): 0.9092068142, (0, 0, 3): 1.4442274306}  # fmt: skip
    return sum(c * row**i * column**j * observation**k for (i, j, k), c in table.items())


def test_determinant_is_a_posynomial_of_mixed_discriminants():
    problem = counts_problem(od.DOptimality(), (12, 7, 0.6, 0.25))
    for m, columns, n in [(3.0, 50.0, 2.0), (40.0, 4.0, 1.0), (11.0, 13.0, 7.0)]:
        found = problem.losses(np.array([[m, columns, m * columns, n]]))[0]
        expected = determinant(1 / m, 1 / columns, 1 / (m * columns * n))
        assert np.exp(3 * found) == pytest.approx(expected, rel=1e-9)


def bound(criterion):
    return criterion.bind([Parameters(NAMES, {}, np.zeros(3), lambda frame: frame.to_numpy())])


def counts_problem(criterion, prices, complete=True):
    bounds = CountBounds(np.ones(4), np.full(4, np.inf), complete)
    return CountProblem(bound(criterion), parts()[None], np.array(prices)[None] / 2000.0, bounds)


@pytest.mark.parametrize("complete", [True, False])
def test_determinant_against_a_geometric_program(complete):
    import cvxpy as cp

    m, columns, cells, n = (cp.Variable(pos=True) for _ in range(4))
    prices = (12, 7, 0.6, 0.25)
    objective = determinant(1 / m, 1 / columns, 1 / (cells * n))
    limits = [prices[0] * m + prices[1] * columns + prices[2] * cells + prices[3] * cells * n <= 2000, n >= 1]
    limits += [cells == m * columns] if complete else [m <= cells, columns <= cells, cells <= m * columns]
    program = cp.Problem(cp.Minimize(objective), limits)
    program.solve(gp=True, solver="CLARABEL")
    problem = counts_problem(od.DOptimality(), prices, complete)
    optimum = solve_counts(problem)
    assert np.exp(3 * problem.loss(optimum.y)) == pytest.approx(program.value, rel=1e-6)
    assert problem.loss(optimum.y) - optimum.bound <= 1e-6


@pytest.mark.parametrize(
    "criterion", [od.COptimality({"Intercept": 1.0}), od.AOptimality(), WEIGHTED, od.DOptimality()]
)
def test_whole_optimum_against_exhaustive_search(criterion):
    best = best_of(criterion)
    values = {}
    for m, n in itertools.product(range(1, 167), range(1, 40)):
        columns = int((2000 - 12 * m) / (7 + (0.6 + 0.25 * n) * m) + 1e-9)
        if columns >= 1:
            L, R, T = parts()
            goal = bound(criterion)
            values[m, columns, n] = goal.value_of(goal.loss_at([L / m + R / columns + T / (m * columns * n)]))
    assert best.rounded.value == pytest.approx(min(values.values()), rel=1e-9)
    assert best.rounded.proven


@pytest.mark.filterwarnings("ignore:at the plan")
@pytest.mark.parametrize(
    ("criterion", "observation", "value", "ratio"),
    [
        (od.COptimality({"Intercept": 1.0}), 0.85, 0.0140241397, 1.79),
        (od.COptimality({"Intercept": 1.0}), 3.0, 0.0193224479, 2.23),
        (od.AOptimality(), 0.85, None, 1.58),
        (od.AOptimality(), 3.0, None, 1.84),
    ],
)
def test_incomplete_crossing_wastes_less(criterion, observation, value, ratio):
    cost = od.Cost(units={"row": 12.0, "column": 7.0}, observation=observation)
    complete = best_of(criterion, cost=cost, replicates=1)
    incomplete = best_of(criterion, cost=cost, crossing="biregular")
    assert complete.value / incomplete.value == pytest.approx(ratio, abs=0.006)
    if value is not None:
        assert incomplete.value == pytest.approx(value, rel=1e-8)
    assert incomplete.certificate.efficiency_bound >= 0.999999


@pytest.mark.parametrize("observation", [0.85, 3.0])
def test_closed_form_of_incomplete_crossing(observation):
    alpha, beta, s = 0.6, 0.35, NOISE * np.linalg.inv(MOMENTS)[0, 0]
    cost = od.Cost(units={"row": 12.0, "column": 7.0}, observation=observation)
    best = best_of(od.COptimality({"Intercept": 1.0}), cost=cost, crossing="biregular")
    roots = np.sqrt([alpha * 12, beta * 7, s * observation])
    assert best.value == pytest.approx(roots.sum() ** 2 / 2000, rel=1e-10)
    share = roots / roots.sum() * 2000
    assert tuple(best.design.counts.values()) == pytest.approx((share[0] / 12, share[1] / 7), rel=1e-4)
    assert best.design.observations == pytest.approx(share[2] / observation, rel=1e-4)
