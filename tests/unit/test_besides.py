"""The plan beside equal allocation and the pilot's design, against efficiencies worked out by hand."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.study.besides import alternatives, equal_allocation

LINE = od.MixedModel("y ~ x")
FLAT = od.NominalValues([0.0, 0.0])
SLOPE = od.COptimality({"x": 1.0})
PER_OBSERVATION = od.Cost(observation=1.0)


def best_of(space, cost=PER_OBSERVATION, budget=60.0, **more):
    return od.optimize(LINE, FLAT, space, SLOPE, cost, budget, **more)


def test_equal_allocation_of_a_line_is_as_efficient_as_its_variance():
    """The slope's precision is proportional to the variance of x: 1 at the ends, 1/2 over −1, −½, 0, ½ and 1."""
    space = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-1, 1, 5)))
    pilot = od.Design(None, [od.Group(1, 10, od.Measure.grid(x=[-1, 1], weights=[0.2, 0.8]))])
    frame = alternatives(best_of(space), space, pilot, "x", None).set_index("design")
    assert frame["efficiency"].tolist() == pytest.approx([1.0, 0.5, 0.64])
    assert frame["observations"].tolist() == pytest.approx([60] * 3)
    assert frame["standard error"].tolist() == pytest.approx((1 / np.sqrt([60, 30, 38.4])).tolist())
    assert frame["money for the precision of the plan"].tolist() == pytest.approx([60, 120, 60 / 0.64])


def test_fixed_costs_are_paid_once():
    space = od.DesignSpace(None, od.Candidates.grid(x=[-1.0, 0.0, 1.0]))
    frame = alternatives(best_of(space, od.Cost(observation=1.0, fixed=40.0), 100.0), space, None, "x", None)
    assert frame["efficiency"].tolist() == pytest.approx([1.0, 2 / 3])
    assert frame["money for the precision of the plan"].tolist() == pytest.approx([100, 130])


def test_equal_allocation_uses_every_candidate_whatever_the_constraints():
    space = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-1, 1, 5)), constraints=[od.Distinct("x", 2)])
    design = equal_allocation(space, best_of(space).rounded.design)
    assert sorted(design.groups[0].measure.points["x"]) == [-1, -0.5, 0, 0.5, 1]
    frame = alternatives(best_of(space), space, None, "x", None)
    assert frame["efficiency"].tolist() == pytest.approx([1.0, 0.5])


def test_no_money_is_named_where_some_observations_have_been_made():
    space = od.DesignSpace(None, od.Candidates.grid(x=[-1.0, 1.0]))
    best = best_of(space, already=pd.DataFrame({"x": [-1.0, 1.0]}))
    assert "money for the precision of the plan" not in alternatives(best, space, None, "x", None)


def test_equal_allocation_of_units_is_equal_in_kinds_and_size():
    space = od.DesignSpace(
        od.Nested("g"), od.Candidates.grid(arm=["a", "b", "c"], x=[0, 1]), levels={"arm": "g"}, replicates=(2, 6)
    )
    plan = od.Design(od.Nested("g"), [od.Group(9, 4, od.Measure.grid(x=[0]), {"arm": "a"})])
    design = equal_allocation(space, plan)
    assert [(g.count, g.replicates, dict(g.at)) for g in design.groups] == [(1, 4, {"arm": arm}) for arm in "abc"]
    assert all(g.measure.weights.tolist() == [0.5, 0.5] for g in design.groups)
