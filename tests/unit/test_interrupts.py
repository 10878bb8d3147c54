"""Ctrl-C, at some moment of every search: what was found by then is kept, and says so."""

import sys

import numpy as np
import pytest

import optdesign as od
from optdesign.interrupts import Stoppable
from optdesign.optimize import integers

LINE = od.MixedModel("y ~ x + (1 | g)")
GUESS = od.NominalValues([0.0, 1.0], {"g": 0.5}, 1.0)
COST = od.Cost({"g": 5.0}, observation=1.0)
SLOPE = od.COptimality({"x": 1.0})


def on_a_line(**changes):
    return od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, 7)), replicates=(2, 20), **changes)


def after(number, function=lambda *_, **__: None):
    """A function that is interrupted when it is called once more than some number of times."""
    calls = []

    def called(*args, **kwargs):
        calls.append(args)
        if len(calls) > number:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    return called


def optimum(**changes):
    asked = {"space": on_a_line(), "criterion": SLOPE, "cost": COST, "budget": 200.0, **changes}
    return od.optimize(LINE, GUESS, **asked)


def test_an_interrupt_goes_on_where_there_is_nothing_to_keep():
    with pytest.raises(KeyboardInterrupt), Stoppable([]):
        raise KeyboardInterrupt


def test_other_errors_go_on():
    with pytest.raises(ValueError, match="mine"), Stoppable([1]):
        raise ValueError("mine")


def test_distinct_keeps_the_best_design_and_a_true_bound():
    model, guess = od.MixedModel("y ~ x + I(x**2)", "poisson"), od.NominalValues([0.2, 0.8, -0.4])
    space = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-2, 2, 9)), constraints=[od.Distinct("x", at_most=3)])
    ask = {"criterion": od.AOptimality(), "cost": od.Cost(observation="1 + x**2"), "budget": 100.0}
    stopped = od.optimize(model, guess, space, progress=after(0), **ask)
    best = od.optimize(model, guess, space, **ask)
    assert stopped.interrupted
    assert stopped.status.name == "STOPPED"
    assert stopped.value * stopped.certificate.efficiency_bound <= best.value * (1 + 1e-9)


def test_crossed_designs_keep_the_best_shares():
    space = od.DesignSpace(
        od.Crossed("reader", "image"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "reader"}, replicates=1
    )
    model = od.MixedModel("y ~ treat + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0, 0.5], {"reader": 0.6, "image": 0.35}, 1.1)
    cost = od.Cost({"reader": "12 + 40*treat", "image": 7.0}, observation=0.5)
    losses = []

    def impatient(number, loss):
        losses.append(loss)
        if number == 6:
            raise KeyboardInterrupt

    criterion = od.COptimality({"treat": 1.0})
    best = od.optimize(model, guess, space, criterion, cost, 2000.0, progress=impatient)
    assert best.status.name == "STOPPED"
    assert "before the search was stopped" in best.certificate.scope
    assert np.log(best.value) == pytest.approx(min(losses), abs=1e-6)


def test_laws_keep_the_best_one_looked_at():
    def trial(share):
        return od.DesignSpace(
            od.Nested("g"), observed=od.Measure.grid(x=[0, 1], weights=[1 - share, share]), replicates=(2, 20)
        )

    # The first space is the one in the middle; then come the laws with shares .1, .12, .14, ...
    seen = iter(range(6))

    def interrupted(share):
        if next(seen, None) is None and not done:
            done.append(share)
            raise KeyboardInterrupt
        return trial(share)

    done = []
    found = od.optimize_law(LINE, GUESS, interrupted, {"share": (0.1, 0.9)}, SLOPE, COST, 1_000.0)
    assert found.parameters["share"] == pytest.approx(0.18)
    assert found.best.status.name == "STOPPED"
    assert "the best of 5 laws" in found.best.warnings[0]


def test_cheapest_keeps_the_cheapest_that_reaches_the_goal(monkeypatch):
    module = sys.modules[od.cheapest.__module__]
    ask = {"space": on_a_line(), "criterion": SLOPE, "cost": COST, "value": 0.01}
    least = od.cheapest(LINE, GUESS, **ask)
    monkeypatch.setattr(module, "optimize", after(3, od.optimize))
    stopped = od.cheapest(LINE, GUESS, **ask)
    assert stopped.status.name == "STOPPED"
    assert stopped.value <= 0.01 * (1 + 1e-9)
    assert stopped.budget >= least.budget * (1 - 1e-6)
    assert "a cheaper one may, too" in stopped.warnings[-1]
    monkeypatch.setattr(module, "optimize", after(0, od.optimize))
    with pytest.raises(KeyboardInterrupt):
        od.cheapest(LINE, GUESS, **ask)


def test_a_frontier_keeps_finished_designs(monkeypatch):
    best = optimum()
    monkeypatch.setattr("optdesign.tradeoffs._quietly", after(2, lambda solve: solve()))
    found = od.frontier(best, [100.0, 200.0, 400.0])
    assert [each.budget for each in found.designs] == [100.0, 200.0]
    assert "Interrupted: 2 of 3" in repr(found)


def test_a_pareto_set_keeps_its_ends_and_finished_points(monkeypatch):
    monkeypatch.setattr("optdesign.tradeoffs._quietly", after(3, lambda solve: solve()))
    found = od.pareto(LINE, GUESS, on_a_line(), SLOPE, od.DOptimality(), COST, 200.0, points=5)
    assert found.weights == (0.0, 0.25, 1.0)
    assert found.efficiencies[0, 0] == pytest.approx(1.0)
    assert found.efficiencies[-1, 1] == pytest.approx(1.0)
    assert "Interrupted: 3 of 5" in repr(found)


def test_rounding_keeps_the_best_plan_with_its_bound(monkeypatch):
    best = optimum(budget=123.0)
    monkeypatch.setattr(integers, "_proved", after(0))
    plan = best.rounded
    assert plan.stopped
    assert plan.status.startswith("stopped early: efficiency among whole numbers")
    assert plan.spend <= 123.0
    assert 0.9 < plan.efficiency_bound <= plan.whole_bound < 1
