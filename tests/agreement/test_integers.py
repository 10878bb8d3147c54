"""Whole-number plans: published values, and exhaustive search on small problems."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optdesign as od
from optdesign.criteria import Parameters
from optdesign.optimize.integers import (
    EXCHANGES,
    IntegerProgram,
    _Promise,
    approximate,
    cheapest,
    listing,
    relaxed,
    solve,
)


def bound(criterion, size):
    names = tuple(f"b{i}" for i in range(size))
    return criterion.bind([Parameters(names, {}, np.zeros(size), lambda frame: np.zeros((len(frame), size)))])


def program(information, criterion, matrix=(), upper=(), equal=(), level=()):
    size = len(information)
    return IntegerProgram(
        bound(criterion, information.shape[-1]),
        np.asarray(information, dtype=float)[:, None],
        np.reshape(np.asarray(matrix, dtype=float), (-1, size)),
        np.asarray(upper, dtype=float),
        np.reshape(np.asarray(equal, dtype=float), (-1, size)),
        np.asarray(level, dtype=float),
    )


def with_total(information, criterion, total):
    return program(information, criterion, equal=np.ones(len(information)), level=[total])


def wedge(per_cell, periods=5):
    """Information of a cluster that starts treatment after period k, by dense generalised least squares."""
    found = []
    for k in range(periods + 1):
        X = np.column_stack([np.eye(periods), np.arange(periods) >= k])
        V = 0.25 * np.ones((periods, periods)) + (0.05 + 1.0 / per_cell) * np.eye(periods)
        found.append(X.T @ np.linalg.inv(V) @ X)
    return np.array(found)


def quadratic(*axes):
    points = np.array(list(itertools.product(*axes)))
    products = [points[:, i] * points[:, j] for i in range(len(axes)) for j in range(i + 1)]
    F = np.column_stack([np.ones(len(points)), points, *products])
    return F[:, :, None] * F[:, None, :]


def eight_matrices():
    columns = [
        [[1, 0, 0, 0, 0], [0, 3, 0, 0, 0], [0, 0, 1, 0, 0]],
        [[0, 0, 2, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]],
        [[0, 0, 0, 2, 0], [4, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
        [[1, 0, 0, 0, 0], [0, 0, 2, 0, 0], [0, 0, 0, 0, 4]],
        [[1, 0, 2, 0, 0], [0, 3, 0, 1, 2], [0, 0, 1, 2, 0]],
        [[0, 1, 1, 1, 0], [0, 3, 0, 1, 0], [0, 0, 2, 2, 0]],
        [[1, 2, 0, 0, 0], [0, 3, 3, 0, 5], [1, 0, 0, 2, 0]],
        [[1, 0, 3, 0, 1], [0, 3, 2, 0, 0], [1, 0, 0, 2, 0]],
    ]
    A = np.array(columns, dtype=float)
    return np.swapaxes(A, 1, 2) @ A


@pytest.mark.parametrize(
    ("per_cell", "weights", "continuous", "whole", "plans"),
    [
        (1, [0.28261, 0.10870], 0.1270325901, 0.1276651982, [[3, 2, 1, 1, 2, 3]]),
        (10, [0.14286, 0.17857], 0.0276056338, 0.0276923077, [[2, 2, 2, 2, 2, 2]]),
    ],
)
def test_stepped_wedge(per_cell, weights, continuous, whole, plans):
    wanted = with_total(wedge(per_cell), od.COptimality({"b5": 1.0}), 12)
    z = relaxed(wanted)
    assert np.exp(wanted.loss(z)) == pytest.approx(continuous, rel=1e-6)
    assert z / 12 == pytest.approx([weights[0], *[weights[1]] * 4, weights[0]], abs=1e-3)
    plan = solve(wanted)
    assert plan.proven
    assert np.exp(plan.loss) == pytest.approx(whole, abs=5e-11)
    assert np.exp(plan.relaxed) == pytest.approx(continuous, rel=1e-5)
    assert plan.counts.tolist() in plans


def test_twenty_units_on_eight_matrices():
    plan = solve(with_total(eight_matrices(), od.DOptimality(), 20))
    assert plan.proven
    assert plan.counts.tolist() == [0, 0, 5, 1, 0, 1, 6, 7]


def test_nine_runs_of_a_quadratic():
    plan = solve(with_total(quadratic([-1, 0, 1], [-1, 0, 1]), od.DOptimality(), 9))
    assert plan.proven
    assert np.exp(-6 * plan.loss) == pytest.approx(5184, rel=1e-9)


def test_twenty_runs_of_a_quadratic_in_three_factors():
    """log det of the continuous optimum per observation, and the efficiency that others reach: .9779."""
    plan = solve(with_total(quadratic(*[[-1, 0, 1]] * 3), od.DOptimality(), 20))
    assert plan.counts.sum() == 20
    assert np.exp(7.4553959088 / 10 - plan.loss) / 20 >= 0.97789


def test_published_quotas_are_worse_than_the_best_counts():
    """Six sequences at weights (.45, .03, .02, .02, .03, .45), ten units: no apportionment rule is best throughout."""
    wanted = with_total(wedge(1), od.COptimality({"b5": 1.0}), 10)
    plan = solve(wanted)
    rules = np.array([[5, 0, 0, 0, 0, 5], [3, 1, 1, 1, 1, 3]], dtype=float)
    assert plan.proven
    assert plan.loss <= wanted.losses(rules).min() + 1e-12


def exhaustive(wanted, most):
    """Least loss over all whole counts up to `most`."""
    plans = np.array(list(itertools.product(range(most + 1), repeat=wanted.size)), dtype=float)
    plans = plans[wanted.keeps(plans)]
    return wanted.losses(plans).min() if len(plans) else np.inf


CRITERIA = [od.DOptimality(), od.AOptimality(), od.COptimality({"b1": 1.0}), od.EOptimality()]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(CRITERIA), st.booleans())
def test_proven_plans_equal_exhaustive_search(seed, criterion, shared):
    """Random prices and budgets of a few units; with or without half of the units on the first two schedules."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(4, rng.integers(1, 3), 2))
    prices = rng.uniform(1.0, 3.0, 4)
    equal = [[1, 1, -1, -1]] if shared else []
    wanted = program(
        np.swapaxes(rows, 1, 2) @ rows, criterion, prices, [rng.uniform(2.0, 7.0)], equal, [0.0] * len(equal)
    )
    best, plan = exhaustive(wanted, 6), solve(wanted)
    if plan is None:
        assert best == np.inf
        return
    assert plan.bound <= best + 1e-9
    assert plan.proven
    assert plan.loss == pytest.approx(best, abs=1e-5)
    assert plan.relaxed <= best + 1e-9
    assert wanted.keeps(plan.counts[None])[0]


def test_counts_that_the_constraints_leave_no_choice_over():
    information = quadratic([-1, 0, 1])
    plan = solve(program(information, od.DOptimality(), equal=np.eye(3), level=[1, 1, 1]))
    assert plan.counts.tolist() == [1, 1, 1]
    assert plan.proven


def test_no_plan_in_whole_numbers():
    information = quadratic([-1, 0, 1])
    odd = program(information, od.DOptimality(), np.ones(3), [9], [[2, -2, 2]], [1])
    assert solve(odd) is None
    assert approximate(odd) is None
    assert solve(with_total(information, od.DOptimality(), 2)) is None


def test_every_direction_is_covered_from_the_start():
    """Three schedules that see one coefficient each, money for exactly one of each."""
    information = np.array([np.diag(row) for row in np.eye(3)])
    plan = solve(program(information, od.DOptimality(), [1, 5, 10], [16]))
    assert plan.counts.tolist() == [1, 1, 1]


def test_information_that_is_there_already_counts():
    parts = np.array([np.diag([1.0, 0.0]), np.diag([0.0, 1.0])])
    wanted = with_total(parts, od.DOptimality(), 4)
    started = IntegerProgram(
        wanted.criterion, wanted.information, wanted.matrix, wanted.upper, wanted.equal, wanted.level,
        np.diag([3.0, 0.0])[None],
    )  # fmt: skip
    assert solve(wanted).counts.tolist() == [2, 2]
    plan = solve(started)
    assert plan.counts.sum() == 4
    assert np.exp(-2 * plan.loss) == pytest.approx(12.0)
    assert plan.proven


def test_counts_without_limit_are_refused():
    with pytest.raises(od.SpecificationError, match="without limit"):
        solve(program(quadratic([-1, 0, 1]), od.DOptimality(), [1, 1, 0], [9]))


def test_equalities_that_say_nothing_or_the_same_twice_do_not_stop_the_search():
    information = quadratic([-1, 0, 1], [-1, 0, 1])
    plain = with_total(information, od.DOptimality(), 9.0)
    ones, none = np.ones(9), np.zeros(9)
    odd = program(information, od.DOptimality(), equal=[ones, none, 2 * ones], level=[9.0, 0.0, 18.0])
    assert odd.loss(relaxed(odd)) == pytest.approx(plain.loss(relaxed(plain)), abs=1e-9)
    assert odd.loss(relaxed(odd)) < odd.loss(ones) - 0.01


@pytest.mark.parametrize(
    ("axes", "criterion", "fewest"),
    [(2 * [np.linspace(-1, 1, 7)], od.DOptimality(), 6), ([np.linspace(-1, 1, 41)], od.COptimality("b2"), 3)],
)
def test_fewest_runs_that_estimate_what_is_needed(axes, criterion, fewest):
    """Six coefficients of two factors need six runs, and the curvature in one factor three."""
    information = quadratic(*axes)
    size = len(information)
    free = program(information, criterion, matrix=np.ones(size), upper=[12.0])
    assert cheapest(free, np.ones(size), 12.0) == fewest
    assert approximate(replace(free, upper=np.array([fewest - 1.0]))) is None
    plan = approximate(replace(free, upper=np.array([float(fewest)])))
    assert plan.sum() == fewest
    assert np.isfinite(free.loss(plan))


def test_twenty_runs_are_found_among_thousands_of_points():
    axis = np.linspace(-1, 1, 21)
    grid = od.Candidates.grid(a=axis, b=axis, c=axis)
    model = od.MixedModel("y ~ a + b + c + a:b + a:c + b:c + I(a**2) + I(b**2) + I(c**2)")
    space = od.DesignSpace(None, grid)
    best = od.optimize(model, od.NominalValues(np.zeros(10)), space, od.DOptimality(), od.Cost(observation=1), 20)
    assert best.rounded.efficiency_bound >= 0.9779 - 1e-6
    assert sum(group.count * group.replicates for group in best.rounded.design.groups) == 20


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "criterion",
    [
        od.DOptimality(),
        od.AOptimality(),
        od.COptimality({"b1": 1.0, "b2": -1.0}),
        od.EOptimality(),
        od.Compound([(0.4, od.DOptimality()), (0.6, od.COptimality({"b0": 1.0}))]),
    ],
)
def test_no_exchange_gains_more_than_it_promises(criterion, seed):
    random = np.random.default_rng(seed)
    roots = random.normal(size=(7, 3, 1 + seed % 2))
    problem = with_total(roots @ roots.swapaxes(1, 2), criterion, 12)
    plan = random.permutation([0.0, 1.0, 2.0, 3.0, 5.0, 0.0, 1.0])
    promise = _Promise.at(problem, plan)
    gained, promised = [], []
    for give, take in EXCHANGES:
        most = promise.of(give, take, np.arange(len(promise.used)), np.arange(7))
        for (i, j), value in np.ndenumerate(most):
            moved = plan - give * np.eye(7)[promise.used[i]] + take * np.eye(7)[j]
            if np.isfinite(value) and (moved >= 0).all():
                gained.append(problem.loss(plan) - problem.loss(moved))
                promised.append(value)
    assert len(gained) > 100
    assert (np.array(gained) <= np.array(promised) + 1e-7).all()
    assert (np.array(promised) < np.array(gained) + 0.05).any()  # and some promises are nearly kept


@pytest.mark.parametrize("total", [1e6, 1e8, 1e10, 1e12])
def test_millions_of_units_end_with_a_proof(total):
    """Two arms at prices 1 and 4: the variance 1/a + 1/b is least at a = 2 b, (1 + 2)²/total."""
    parts = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    found = solve(program(parts, od.COptimality({"b0": 1.0, "b1": -1.0}), [[1.0, 4.0]], [total + 0.5]))
    assert found.proven
    assert np.exp(found.loss) == pytest.approx(9.0 / total, rel=3e-6)
    assert np.exp(found.bound) <= 9.0 / total * (1 + 1e-7)  # linear programs are solved to that
    assert (found.counts % 1 == 0).all()
    assert found.counts @ [1.0, 4.0] <= total + 0.5


def test_a_listing_gives_up_before_it_writes_out_a_billion_counts():
    assert listing(np.array([[1.0, 1.0]]), np.array([1e12]), np.array([1e12, 1e12]), np.array([0, 1])) is None
