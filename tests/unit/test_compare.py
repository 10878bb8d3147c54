"""Designs side by side: what is refused, what is shown."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

import optdesign as od

MODEL = od.MixedModel("y ~ treat + (1 | subject) + (1 | item)")
GUESS = od.NominalValues([0.0, 0.5], {"subject": 0.6, "item": 0.35}, 1.1)
SPACE = od.DesignSpace(
    od.Crossed("subject", "item"),
    od.Candidates.grid(treat=[0, 1]),
    levels={"treat": "subject"},
    counts={"item": (8, 200)},
)
COST = od.Cost({"subject": 12.0, "item": 7.0}, observation=0.85)
EFFECT = od.COptimality({"treat": 1.0})
NESTED = ["item in subject", "subject in item"]


def found(criterion=EFFECT, model=MODEL, guess=GUESS, space=SPACE, cost=COST, budget=2_000.0, layouts=NESTED):
    return od.alternatives(model, guess, space, criterion, cost, budget, layouts=layouts)


@pytest.fixture(scope="module")
def comparison():
    return od.compare(found(), od.WaldTest("treat"), power=0.9)


def test_what_is_shown(comparison):
    frame = comparison.to_frame()
    assert list(frame.index) == NESTED
    assert comparison.best == "subject in item"
    assert frame.loc["subject in item", "efficiency"] == 1.0
    assert frame["cells"].tolist() == frame[["subject", "item"]].max(axis=1).tolist()
    assert (frame["efficiency bound"] > 0.999999).all()
    assert "best: subject in item" in repr(comparison)
    assert "<table" in comparison._repr_html_()


def test_variance_by_source_adds_up(comparison):
    sources = comparison.by_source()
    parts = sources[["from subject", "from item", "from observation"]]
    np.testing.assert_allclose(parts.sum(axis=1), sources["variance"])
    # Both arms meet every item where subjects are within items, and an arm has its own items where not.
    assert sources.loc[("subject in item", "treat"), "from item"] == pytest.approx(0.0, abs=1e-12)
    items = comparison.designs["item in subject"].design.counts["item"]
    assert sources.loc[("item in subject", "treat"), "from item"] == pytest.approx(4 * 0.35 / items)


def test_power_counts_the_degrees_of_freedom_of_each_layout(comparison):
    for name, best in comparison.designs.items():
        df = od.degrees_of_freedom(MODEL, GUESS, best.design, "treat")
        shift = 0.5 / comparison.covariances[name].standard_errors[1]
        critical = stats.t.isf(0.025, df)
        expected = stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)
        assert comparison.powers[name] == pytest.approx(expected, rel=1e-9)


def test_no_power_where_no_degrees_of_freedom_are_left():
    """Two subjects, an arm each."""
    two = od.compare(found(space=replace(SPACE, counts={"subject": 2}), layouts=NESTED[:1]), od.WaldTest("treat"))
    assert np.isnan(two.powers["item in subject"])
    assert "NaN" in repr(two)


def test_money_for_the_same_power(comparison):
    # Without bounds that bind, the variance goes with the inverse of the money.
    limit = od.compare(comparison.designs, od.WaldTest("treat", df=np.inf), power=0.9)
    needed, frame = limit.needed(), comparison.to_frame()
    variance = (0.5 / (1.959963985 + 1.281551566)) ** 2
    expected = 2_000 * frame.loc["item in subject", "value"] / variance
    assert needed.loc["item in subject", "budget"] == pytest.approx(expected, rel=1e-4)
    assert (comparison.needed()["budget"] > needed["budget"]).all()  # fewer degrees of freedom cost money


def test_money_that_no_power_is_bought_with():
    few = od.DesignSpace(
        SPACE.layout, SPACE.candidates, levels=SPACE.levels, counts={"item": (2, 20), "subject": (4, 30)}
    )
    needed = od.compare(found(space=few, budget=600.0), od.WaldTest("treat"), power=0.99).needed()
    assert np.isinf(needed["budget"]).all()


def test_whole_plans(comparison):
    plans = comparison.plans()
    assert (plans[["subject", "item", "cells", "observations"]] % 1 == 0).all(axis=None)
    assert (plans["spend"] <= 2_000).all()


def test_other_order():
    assert (
        od.compare(found(), order="leading").to_frame()["value"].iloc[0]
        < od.compare(found()).to_frame()["value"].iloc[0]
    )


def test_designs_by_different_orders_are_judged_by_two_terms():
    model = od.MixedModel(MODEL.formula, "bernoulli")
    guess = od.NominalValues(GUESS.beta, GUESS.covariance)
    space = od.DesignSpace(SPACE.layout, SPACE.candidates, levels=SPACE.levels, counts={"item": 8})
    pair = found(model=model, guess=guess, space=space, layouts=["complete crossing", "subject in item"])
    assert [best.order for best in pair.values()] == ["two-term", "averaged"]
    comparison = od.compare(pair)
    assert comparison.order == "two-term"
    for name, cov in comparison.covariances.items():
        assert cov.order == "two-term"
        np.testing.assert_allclose(comparison.to_frame().loc[name, "value"], cov.matrix[1, 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": od.MixedModel("z ~ treat + (1 | subject) + (1 | item)")}, "they differ in model"),
        (
            {"guess": od.NominalValues([0.0, 0.5], {"subject": 0.6, "item": 0.3}, 1.1)},
            "they differ in nominal values",
        ),
        ({"criterion": od.DOptimality()}, "they differ in criterion"),
        ({"cost": od.Cost({"subject": 12.0, "item": 8.0}, observation=0.85)}, "they differ in cost"),
        ({"budget": 2_500.0}, r"they differ in budget, 2000\.0 and 2500\.0\."),
    ],
)
def test_different_questions_are_refused(change, words):
    one, other = found(layouts=NESTED[:1]), found(layouts=NESTED[1:], **change)
    with pytest.raises(od.SpecificationError, match=words):
        od.compare({**one, **other})


def test_what_is_no_comparison():
    with pytest.raises(od.SpecificationError, match="got none"):
        od.compare({})
    with pytest.raises(od.SpecificationError, match=r"designs\['mine'\]"):
        od.compare({"mine": 3})
    with pytest.raises(od.SpecificationError, match="'tret' is not a coefficient"):
        od.compare(found(layouts=NESTED[1:]), od.WaldTest("tret"))
    with pytest.raises(od.SpecificationError, match="without a test"):
        od.compare(found(layouts=NESTED[1:])).needed()
    robust = od.Maximin(EFFECT, [GUESS, GUESS])
    with pytest.raises(od.SpecificationError, match="Maximin is relative"):
        od.compare(found(robust, layouts=NESTED[1:]))


def test_layouts_by_name():
    with pytest.raises(
        od.SpecificationError, match=r"'items in subject' is not one of .*Did you mean 'item in subject'"
    ):
        found(layouts=["items in subject"])
    with pytest.raises(od.SpecificationError, match="layouts are compared from a space with the layout Crossed"):
        od.layout_spaces(od.DesignSpace(od.Nested("subject")))
    with pytest.raises(od.InfeasibleBudgetError, match=r"^item in subject: "):
        found(budget=20.0)
    apart = od.DesignSpace(od.Crossed("subject", "item"), counts={"subject": (30, 40), "item": (1, 20)})
    with pytest.raises(od.SpecificationError, match="as many 'subject' as 'item'"):
        od.layout_spaces(apart)


def test_bounds_hold_for_units_in_all():
    space = od.DesignSpace(od.Crossed("subject", "item"), counts={"item": (1, 24), "subject": (2, 300)})
    model = od.MixedModel("y ~ 1 + (1 | subject) + (1 | item)")
    guess = od.NominalValues([0.0], {"subject": 0.6, "item": 0.35}, 1.1)
    designs = od.alternatives(model, guess, space, od.COptimality({"Intercept": 1}), COST, 2_000.0)
    for best in designs.values():
        assert best.design.counts["item"] <= 24 + 1e-6
        assert best.rounded.design.counts["item"] <= 24
