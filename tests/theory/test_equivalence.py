"""The equivalence theorem and the invariances of optimal designs."""

import numpy as np
import pytest

import optdesign as od
from optdesign.optimize.certificate import certify
from optdesign.optimize.interior import Iterate
from optdesign.optimize.problem import make_problem

MODEL = od.MixedModel("y ~ x + I(x**2) + (1 + x | g)", "poisson")
GUESS = od.NominalValues([0.5, -0.3, 0.2], {"g": [[0.5, 0.1], [0.1, 0.25]]})
COST = od.Cost({"g": 5.0}, 1.0)


def space(points=41, **bounds):
    return od.DesignSpace(
        od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, points)), **{"replicates": (0, np.inf), **bounds}
    )


def optimum(criterion, order="two-term", model=MODEL, guess=GUESS, budget=500.0, **bounds):
    return od.optimize(model, guess, space(**bounds), criterion, COST, budget, order)


@pytest.mark.filterwarnings("ignore::optdesign.AsymptoticRegimeWarning")
@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
@pytest.mark.parametrize(
    "criterion", [od.DOptimality(), od.AOptimality(), od.COptimality({"x": 1.0})], ids=lambda c: c.label
)
@pytest.mark.parametrize("bounds", [{}, {"replicates": (3, 6)}, {"at_most": 1}, {"counts": {"g": (10, 25)}}], ids=str)
def test_ratio_is_at_most_one_and_one_on_the_support(order, criterion, bounds):
    bounds = {"replicates": (2, 20), **bounds} if order == "leading" else bounds
    best = optimum(criterion, order, **bounds)
    table = best.certificate.sensitivities
    mass = table["mass"] / table["mass"].sum()
    assert best.certificate.efficiency_bound >= 0.999999
    assert table["ratio"].max() <= 1 + 1e-6
    assert table["ratio"][mass > 1e-3].min() >= 1 - 1e-4


def test_bound_is_far_from_one_off_the_optimum():
    built = make_problem(MODEL, GUESS, space(), od.DOptimality(), COST, 500.0, "two-term")
    z = np.concatenate([[20.0], np.full(41, (500 - 100) / 41)])
    evaluation = built.evaluate([source.whole for source in built.informations], z)
    certificate = certify(
        built, Iterate(z, evaluation.gain, evaluation.at.bound(evaluation.at.own), 0), evaluation.loss
    )
    best = optimum(od.DOptimality())
    efficiency = np.exp(best.value / 3 - evaluation.loss)
    assert certificate.efficiency_bound < 0.8
    assert certificate.efficiency_bound <= efficiency + 1e-9
    assert certificate.worst_ratio == pytest.approx(1.0, abs=1e-9)


def test_classical_form_of_the_bound_under_a_budget_alone():
    """τ / max{Bψ_m/c_g, max Bψ(x)/c(x)}, with sensitivities scaled so that τ = 1."""
    built = make_problem(MODEL, GUESS, space(), od.AOptimality(), COST, 500.0, "averaged")
    z = np.concatenate([[30.0], np.full(41, (500 - 150) / 41)])
    gain = built.evaluate([source.whole for source in built.informations], z).gain
    assert float(gain @ z) == pytest.approx(1.0, rel=1e-10)
    assert built.most(gain)[0] == pytest.approx(500 * np.max(gain / built.price), rel=1e-9)


@pytest.mark.parametrize("criterion", [od.DOptimality(), od.AOptimality()], ids=lambda c: c.label)
def test_variance_falls_as_money_grows(criterion):
    once, twice = optimum(criterion), optimum(criterion, budget=1000.0)
    ratio = (
        np.exp((once.value - twice.value) / 3) if isinstance(criterion, od.DOptimality) else once.value / twice.value
    )
    assert ratio == pytest.approx(2.0, rel=1e-6)


def test_d_optimum_ignores_reparametrisation():
    """Shifting and scaling x changes log det by a constant and leaves the design."""
    model = od.MixedModel("y ~ x + (1 + x | g)", "bernoulli")
    guess = od.NominalValues([0.5, -0.3], {"g": [[0.5, 0.1], [0.1, 0.25]]})
    # z = 3 + 2x: x = (z − 3)/2, so β and U transform by the same matrix.
    A = np.array([[1.0, -1.5], [0.0, 0.5]])
    shifted = od.NominalValues(A @ [0.5, -0.3], {"g": A @ np.array([[0.5, 0.1], [0.1, 0.25]]) @ A.T})
    z_space = od.DesignSpace(
        od.Nested("g"), od.Candidates.grid(x=3 + 2 * np.linspace(-1, 1, 41)), replicates=(0, np.inf)
    )
    plain = optimum(od.DOptimality(), model=model, guess=guess)
    moved = od.optimize(model, shifted, z_space, od.DOptimality(), COST, 500.0)
    assert moved.value - plain.value == pytest.approx(2 * np.log(0.5), abs=1e-6)
    assert moved.design.groups[0].replicates == pytest.approx(plain.design.groups[0].replicates, rel=1e-2)


@pytest.mark.parametrize("order", ["two-term", "averaged"])
def test_small_random_effects_give_the_classical_design(order):
    """Σ → 0: the design measure of the GLM, with all money on observations."""
    tiny = od.NominalValues([0.5, -0.3, 0.2], {"g": 1e-9 * np.eye(2)})
    mixed = optimum(od.DOptimality(), order, guess=tiny, replicates=(2, 200))
    glm = od.optimize(
        od.MixedModel("y ~ x + I(x**2)", "poisson"),
        od.NominalValues([0.5, -0.3, 0.2]),
        od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-1, 1, 41))),
        od.DOptimality(),
        od.Cost({}, 1.0),
        500.0,
    )
    support = [b.design.groups[0].measure.to_frame().set_index("x")["weight"] for b in (mixed, glm)]
    assert mixed.design.groups[0].replicates == pytest.approx(200, rel=1e-3)
    assert support[0].to_dict() == pytest.approx(support[1].to_dict(), abs=2e-3)


def test_c_optimal_measure_does_not_depend_on_prices():
    """With uniform cost the c- and A-criteria separate: n* = √{(c_g/c_o)·(ϕ c'Kc)/(c_A'Σc_A)}."""
    criterion = od.COptimality({"x": 1.0})
    cheap = optimum(criterion)
    dear = od.optimize(MODEL, GUESS, space(), criterion, od.Cost({"g": 20.0}, 1.0), 500.0)
    assert dear.design.groups[0].replicates == pytest.approx(2 * cheap.design.groups[0].replicates, rel=1e-3)
    at = [
        dict(zip(b.design.groups[0].measure.points["x"], b.design.groups[0].measure.weights, strict=True))
        for b in (cheap, dear)
    ]
    assert at[0] == pytest.approx(at[1], abs=1e-3)


def test_more_room_never_hurts():
    narrow = optimum(od.AOptimality(), replicates=(4, 6))
    wide = optimum(od.AOptimality(), replicates=(2, 12))
    assert wide.value <= narrow.value * (1 + 1e-7)
