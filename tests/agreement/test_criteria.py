"""Criteria: derivatives against differences, optima against semidefinite programs, brute force and other searches."""

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import optdesign as od
from optdesign.optimize.problem import make_problem

GUESS = od.NominalValues([0.4, -0.6, 0.3], {"g": [[0.5, 0.1], [0.1, 0.3]]})
OTHER = od.NominalValues([-0.8, 0.5, 0.1], {"g": [[0.2, 0.0], [0.0, 0.6]]})
MODEL = od.MixedModel("y ~ x + I(x**2) + (1 + x | g)", "poisson")
SPACE = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, 11)), replicates=(2, 30))
COST = od.Cost({"g": 5.0}, 1.0)
OVER = od.Measure.grid(x=[-1.0, -0.5, 0.0, 0.5, 1.0])
SCENARIOS = [(0.3, GUESS), (0.7, OTHER)]
CRITERIA = {
    "D": od.DOptimality(),
    "A": od.AOptimality({"x": 1.0, "I(x ** 2)": 3.0}),
    "L": od.AOptimality(np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]])),
    "c": od.COptimality({"x": 1.0, "Intercept": 0.2}),
    "function": od.COptimality("exp(x)/Intercept"),
    "E": od.EOptimality(),
    "I": od.IOptimality(OVER),
    "compound": od.Compound([(1.0, od.DOptimality()), (2.0, od.COptimality({"x": 1.0})), (1.0, od.EOptimality())]),
    "Bayesian D": od.Bayesian(od.DOptimality(), SCENARIOS),
    "Bayesian A": od.Bayesian(od.AOptimality(), SCENARIOS),
    "Bayesian E": od.Bayesian(od.EOptimality(), SCENARIOS),
    "maximin": od.Maximin(od.DOptimality(), [GUESS, OTHER]),
}


def problem(criterion, model=MODEL, guess=GUESS, space=SPACE, order="two-term", budget=300.0):
    guess = guess.referring_to(space.region.frame)
    return make_problem(model, guess, space, criterion, COST, budget, order)


@pytest.mark.parametrize("smoothing", [1e-1, 1e-3])
@pytest.mark.parametrize("name", CRITERIA)
def test_gradient_and_hessian_are_those_of_the_loss(name, smoothing):
    built = problem(CRITERIA[name])
    whole = [source.whole for source in built.informations]
    z = np.random.default_rng(1).uniform(0.5, 1.5, size=len(built.price)) * 10
    at = built.evaluate(whole, z, smoothing)
    step, hessian = 1e-5 * z, at.hessian(at.at.own)
    for i in (0, 3, 7):
        move = step * (np.arange(len(z)) == i)
        up, down = (built.evaluate(whole, z + s * move, smoothing) for s in (1, -1))
        slope = (up.loss - down.loss) / (2 * move[i])
        assert -at.gain[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)
        curve = -(up.gain - down.gain) / (2 * move[i])
        np.testing.assert_allclose(hessian[i], curve, rtol=2e-4, atol=2e-6 * np.abs(hessian).max())
    assert float(at.gain @ z) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.filterwarnings("ignore::optdesign.AsymptoticRegimeWarning")
@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("name", CRITERIA)
def test_every_criterion_is_certified_and_beats_random_designs(name, order):
    best = od.optimize(MODEL, GUESS, SPACE, CRITERIA[name], COST, 300.0, order)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    built, rng = best.problem, np.random.default_rng(2)
    for _ in range(200):
        share = rng.dirichlet(np.full(11, 0.3))
        n = rng.uniform(2, 30)
        z = np.concatenate([[1.0], n * share])
        z *= built.money / (built.price @ z)
        at = built.evaluate([source.whole for source in built.informations], z + 1e-9)
        assert built.working.loss_at(at.covariances) >= best.certificate.upper_bound_loss - 1e-6


def plain_problem(seed, criterion):
    """A random linear model on random points, as a space and its regressors."""
    import pandas as pd

    rng = np.random.default_rng(seed)
    points, p = int(rng.integers(5, 14)), int(rng.integers(2, 5))
    X = rng.normal(size=(points, p)) * rng.uniform(0.5, 2, size=p)
    frame = pd.DataFrame(X, columns=[f"v{i}" for i in range(p)])
    price = rng.uniform(0.5, 2.0, size=points)
    model = od.MixedModel("y ~ 0 + " + " + ".join(frame))
    space = od.DesignSpace(None, od.Candidates.from_frame(frame.assign(price=price)))
    found = od.optimize(
        model, od.NominalValues([0.0] * p), space, criterion(p), od.Cost(observation="price"), 1.0 * price.sum()
    )
    return found, X, price


def semidefinite(X, price, goal):
    w = cp.Variable(len(X), nonneg=True)
    M = X.T @ cp.diag(w) @ X
    program = cp.Problem(goal(M), [price @ w <= price.sum()])
    program.solve(solver=cp.SCS, eps=1e-9, max_iters=200_000)
    return float(program.value)


GOALS = {
    "D": (lambda p: od.DOptimality(), lambda M: cp.Maximize(cp.log_det(M)), lambda v: -v),
    "A": (lambda p: od.AOptimality(), lambda M: cp.Minimize(cp.tr_inv(M)), lambda v: v),
    "c": (
        lambda p: od.COptimality({f"v{i}": float(i + 1) for i in range(p)}),
        lambda M: cp.Minimize(cp.matrix_frac(np.arange(1.0, M.shape[0] + 1), M)),
        lambda v: v,
    ),
    "E": (lambda p: od.EOptimality(), lambda M: cp.Maximize(cp.lambda_min(M)), lambda v: 1 / v),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GOALS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.integers(0, 10**6))
def test_random_linear_models_against_a_semidefinite_program(name, seed):
    criterion, goal, value_of = GOALS[name]
    best, X, price = plain_problem(seed, criterion)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    expected = value_of(semidefinite(X, price, goal))
    scale = 1.0 if name == "D" else abs(expected)
    assert abs(best.value - expected) <= 1e-4 * max(scale, 1e-12)


@pytest.mark.parametrize("name", ["D", "A", "c", "E"])
def test_no_brute_force_design_beats_the_bound(name):
    best, X, price = plain_problem(5, GOALS[name][0])
    rng = np.random.default_rng(0)
    for _ in range(3000):
        w = rng.dirichlet(np.full(len(X), 0.2))
        w *= price.sum() / (price @ w)
        M = X.T @ (w[:, None] * X)
        if np.linalg.eigvalsh(M)[0] < 1e-8:
            continue
        assert best.problem.criterion.loss(M[None]) >= best.certificate.upper_bound_loss - 1e-9


def test_bayesian_criterion_with_one_scenario_is_the_plain_one():
    plain = od.optimize(MODEL, GUESS, SPACE, od.AOptimality(), COST, 300.0)
    bayesian = od.optimize(MODEL, OTHER, SPACE, od.Bayesian(od.AOptimality(), [(2.0, GUESS)]), COST, 300.0)
    assert bayesian.value == pytest.approx(plain.value, rel=1e-7)


def test_maximin_equalises_the_efficiencies_of_two_scenarios():
    best = od.optimize(MODEL, GUESS, SPACE, od.Maximin(od.DOptimality(), [GUESS, OTHER]), COST, 300.0)
    alone = [od.optimize(MODEL, guess, SPACE, od.DOptimality(), COST, 300.0) for guess in (GUESS, OTHER)]
    reached = [
        od.efficiency(MODEL, guess, best.design, od.DOptimality(), optimum)
        for guess, optimum in zip((GUESS, OTHER), alone, strict=True)
    ]
    assert min(reached) == pytest.approx(1 / best.value, rel=1e-6)
    assert reached[0] == pytest.approx(reached[1], rel=1e-5)
    crossed = od.efficiency(MODEL, OTHER, alone[0].design, od.DOptimality(), alone[1])
    assert min(reached) > crossed


def test_compound_criterion_lies_between_its_parts():
    d, c = od.DOptimality(), od.COptimality({"x": 1.0})
    ends = [od.optimize(MODEL, GUESS, SPACE, each, COST, 300.0) for each in (d, c)]
    last = -1.0
    for weight in (0.1, 0.5, 0.9):
        mixed = od.optimize(MODEL, GUESS, SPACE, od.Compound([(1 - weight, d), (weight, c)]), COST, 300.0)
        reached = od.efficiency(MODEL, GUESS, mixed.design, c, ends[1])
        assert last < reached <= 1 + 1e-9
        last = reached


def test_i_optimality_is_the_mean_of_prediction_variances():
    best = od.optimize(MODEL, GUESS, SPACE, od.IOptimality(OVER), COST, 300.0)
    x = OVER.points["x"].to_numpy()
    X = np.stack([np.ones(5), x, x**2], axis=1)
    expected = np.mean(np.einsum("ij,jk,ik->i", X, best.covariance.matrix, X))
    assert best.value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: od.AOptimality([[1.0, 2.0], [2.0, 1.0]]), None),
        (lambda: od.COptimality(3), r"table such as"),
        (lambda: od.IOptimality([1, 2]), r"over= must be a Measure"),
        (lambda: od.Compound([od.DOptimality()]), r"Compound takes a list of pairs"),
        (lambda: od.Compound([]), r"Compound takes a list of pairs"),
        (lambda: od.Bayesian(od.Compound([(1, od.DOptimality())]), SCENARIOS), r"takes an elementary criterion"),
        (lambda: od.Bayesian(od.DOptimality(), [(-1.0, GUESS)]), r"positive weight and nominal values"),
        (lambda: od.Maximin(od.DOptimality(), [1.0]), r"nominal values"),
    ],
)
def test_wrong_criteria_are_told(make, message):
    if message is None:
        with pytest.raises(od.SpecificationError, match="positive semi-definite"):
            od.optimize(MODEL, GUESS, SPACE, make(), COST, 300.0)
        return
    with pytest.raises(od.SpecificationError, match=message):
        make()
