"""Costs count units as each layout uses them: prices of designs and of whole plans against lists of units."""

import numpy as np
import pytest

import optdesign as od

SUBJECT, ITEM, CELL, OBSERVATION, FIXED = 12.0, 7.0, 0.6, 0.85, 100.0
COST = od.Cost({"subject": SUBJECT, "item": ITEM}, OBSERVATION, CELL, FIXED)
MODEL = od.MixedModel("y ~ 1 + (1 | subject) + (1 | item)")
GUESS = od.NominalValues([0.3], {"subject": 0.6, "item": 0.35}, dispersion=4.0)
CROSSED = od.Crossed("subject", "item")
SPACES = {
    "complete": od.DesignSpace(CROSSED),
    "incomplete": od.DesignSpace(CROSSED, crossing="biregular"),
    "items in subjects": od.DesignSpace(od.Nested("subject", "item"), counts={"item": (1, np.inf)}),
    "subjects in items": od.DesignSpace(od.Nested("item", "subject"), counts={"subject": (1, np.inf)}),
    "one item of its own for every subject": od.DesignSpace(od.Nested("subject", "item"), counts={"item": 1}),
}


def listed_price(frame):
    """Price of a list of observations: distinct labels of subjects, of items and of pairs of them."""
    subjects, items = frame["subject"].nunique(), frame["item"].nunique()
    pairs = len(frame[["subject", "item"]].drop_duplicates())
    return FIXED + SUBJECT * subjects + ITEM * items + CELL * pairs + OBSERVATION * len(frame)


@pytest.mark.parametrize(
    ("layout", "more", "units"),
    [
        (CROSSED, {"counts": {"subject": 10, "item": 8}}, (10, 8, 80)),
        (CROSSED, {"counts": {"subject": 10, "item": 8}, "crossing": "biregular", "cells": 40}, (10, 8, 40)),
        (od.Nested("subject", "item"), {"counts": {"subject": 10, "item": 8}}, (10, 80, 80)),
        (od.Nested("item", "subject"), {"counts": {"item": 8, "subject": 10}}, (80, 8, 80)),
        (od.Nested("subject", "item"), {"counts": {"subject": 10, "item": 1}}, (10, 10, 10)),
    ],
)
def test_price_of_a_design_by_hand(layout, more, units):
    subjects, items, pairs = units
    design = od.Design(layout, replicates=3, **more)
    by_hand = FIXED + SUBJECT * subjects + ITEM * items + CELL * pairs + OBSERVATION * 3 * pairs
    assert design.spend(COST) == pytest.approx(by_hand)
    assert (design.counts["subject"], design.counts["item"], design.cells) == units


@pytest.mark.parametrize("name", SPACES)
def test_optimum_spends_the_budget_and_its_whole_plan_costs_what_its_list_of_units_does(name):
    best = od.optimize(MODEL, GUESS, SPACES[name], od.COptimality({"Intercept": 1}), COST, 3000.0)
    assert best.spend == pytest.approx(3000.0, abs=0.01)
    subjects, items = (best.design.counts[factor] for factor in ("subject", "item"))
    by_hand = SUBJECT * subjects + ITEM * items + CELL * best.design.cells + OBSERVATION * best.design.observations
    assert by_hand == pytest.approx(2900.0, abs=0.01)
    assert best.rounded.spend == pytest.approx(listed_price(best.rounded.to_frame()))
    assert best.rounded.spend <= 3000.0


@pytest.mark.parametrize("layout", [CROSSED, od.Nested("subject", "item"), od.Nested("item", "subject")])
def test_prices_that_depend_on_covariates_of_either_factor(layout):
    cost = od.Cost({"subject": "12 + 20*treat", "item": "7 + 5*hard"}, OBSERVATION, CELL)
    design = od.Design(
        layout,
        counts={"subject": 10, "item": 8},
        replicates=1,
        measure=od.Measure.grid(treat=[0, 1], hard=[0, 1]),
        levels={"treat": "subject", "hard": "item"},
    )
    assert design.spend(cost) == pytest.approx(
        22 * design.counts["subject"] + 9.5 * design.counts["item"] + (CELL + OBSERVATION) * 80
    )


@pytest.mark.parametrize("name", ["items in subjects", "subjects in items"])
def test_total_of_inner_units_can_be_bounded(name):
    inner = SPACES[name].layout.factors[1]
    space = od.DesignSpace(SPACES[name].layout, counts={inner: (1, np.inf)}, constraints=[od.Total("1", 30, 30, inner)])
    best = od.optimize(MODEL, GUESS, space, od.COptimality({"Intercept": 1}), COST, 3000.0)
    assert best.design.counts[inner] == pytest.approx(30)
    assert best.rounded.design.counts[inner] == 30


def test_total_of_an_unknown_factor_is_refused():
    with pytest.raises(od.SpecificationError, match=r"one of the factors 'subject', 'item'\. Did you mean 'item'"):
        od.DesignSpace(od.Nested("subject", "item"), constraints=[od.Total("1", at_most=3, of="itme")])
