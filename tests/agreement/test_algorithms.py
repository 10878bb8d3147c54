"""The default algorithm against the semidefinite program, against random designs and against exhaustive search."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optdesign as od
from optdesign.optimize import interior, semidefinite
from optdesign.optimize.problem import make_problem

CRITERIA = [
    od.DOptimality(),
    od.DOptimality(["x"]),
    od.AOptimality(),
    od.AOptimality({"x": 2.0, "Intercept": 0.5}),
    od.COptimality({"x": 1.0, "Intercept": 0.3}),
]
RANDOM = {"(1 | g)": [[0.5]], "(1 + x | g)": [[0.5, 0.1], [0.1, 0.25]]}


def problem(fixed, random, family, order, criterion, points=21, nodes=4, **space):
    model = od.MixedModel(f"y ~ {fixed} + {random}", family)
    guess = od.NominalValues([0.5, -0.3, 0.2][: len(model.fixed_names)], {"g": RANDOM[random]})
    candidates = od.Candidates.grid(x=np.linspace(-1, 1, points))
    bounds = {"replicates": (2, 20), **space}
    built = make_problem(
        model,
        guess,
        od.DesignSpace(od.Nested("g"), candidates, **bounds),
        criterion,
        od.Cost({"g": 5.0}, "1 + 0.3*x"),
        500.0,
        order,
    )
    return replace(built, nodes=nodes)


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
@pytest.mark.parametrize("random", RANDOM)
@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda c: c.label)
def test_both_algorithms_reach_the_same_criterion(order, random, criterion):
    built = problem("x", random, "poisson", order, criterion)
    fast, reference = interior.solve(built), semidefinite.solve(built)
    assert fast.bound == pytest.approx(reference.bound, abs=1e-5)
    assert fast.bound <= reference.bound + 1e-7


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    family=st.sampled_from(["poisson", "bernoulli", "gaussian"]),
    random=st.sampled_from(list(RANDOM)),
    order=st.sampled_from(["two-term", "averaged"]),
    criterion=st.sampled_from(CRITERIA),
    at_most=st.sampled_from([None, 1, 3]),
    replicates=st.sampled_from([(1, np.inf), (3, 8), 4, (2, 2)]),
    counts=st.sampled_from([(0, np.inf), (10, 30), 25]),
)
def test_random_small_problems(family, random, order, criterion, at_most, replicates, counts):
    built = problem(
        "x + I(x**2)",
        random,
        family,
        order,
        criterion,
        points=9,
        at_most=at_most,
        replicates=replicates,
        counts={"g": counts},
    )
    fast, reference = interior.solve(built), semidefinite.solve(built)
    assert np.log(built.most(fast.gain)[0]) < 1e-6
    assert fast.bound == pytest.approx(reference.bound, abs=1e-4)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda c: c.label)
def test_no_random_admissible_design_beats_the_bound(criterion):
    model, guess = (
        od.MixedModel("y ~ x + (1 + x | g)", "poisson"),
        od.NominalValues([0.5, -0.3], {"g": RANDOM["(1 + x | g)"]}),
    )
    points = np.linspace(-1, 1, 11)
    space = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=points), replicates=(2, 20))
    best = od.optimize(model, guess, space, criterion, od.Cost({"g": 5.0}, 1.0), 500.0)
    rng = np.random.default_rng(5)
    for _ in range(40):
        n = rng.uniform(2, 20)
        chosen = rng.choice(points, size=rng.integers(2, 6), replace=False)
        measure = od.Measure.grid(x=chosen, weights=rng.dirichlet(np.ones(len(chosen))))
        mine = od.Design(od.Nested("g"), counts={"g": 500.0 / (5 + n)}, replicates=n, measure=measure)
        assert od.efficiency(model, guess, mine, criterion, best) <= 1 / best.certificate.efficiency_bound + 1e-9


def test_whole_number_plan_against_exhaustive_search():
    """Every plan with at most two schedules on two arms; the plan found is within half a percent of the best."""
    model, guess = od.MixedModel("y ~ t + (1 | c)", "bernoulli"), od.NominalValues([-0.5, 0.6], {"c": 0.4})
    space = od.DesignSpace(od.Nested("c"), od.Candidates.grid(t=[0, 1]), levels={"t": "c"}, replicates=(2, 12))
    cost = od.Cost({"c": "20 + 15*t"}, 3.0)
    best = od.optimize(model, guess, space, od.COptimality({"t": 1.0}), cost, 800.0)
    variance = {}
    for arm, n in itertools.product((0, 1), range(2, 13)):
        design = od.Design(od.Nested("c"), [od.Group(1, n, at={"t": arm})])
        info = od.covariance(model, guess, design).matrix
        variance[arm, n] = info[0, 0] if arm == 0 else _variance_of_arm(model, guess, n)
    values = [
        variance[0, n0] / m0 + variance[1, n1] / m1
        for n0, n1, m0 in itertools.product(range(2, 13), range(2, 13), range(1, 31))
        if (m1 := int((800 - m0 * (20 + 3 * n0)) // (35 + 3 * n1))) >= 1
    ]
    assert best.rounded.value <= min(values) * 1.001
    assert best.rounded.efficiency_bound <= best.value / best.rounded.value + 1e-6


def _variance_of_arm(model, guess, n):
    """Variance of the treated arm's mean linear predictor: what a second arm adds to the variance of the effect."""
    both = od.Design(od.Nested("c"), [od.Group(1, n, at={"t": 1}), od.Group(1e9, n, at={"t": 0})])
    return float(od.covariance(model, guess, both).matrix[1, 1])
