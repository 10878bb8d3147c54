"""Crossed and deeper nested designs: what they hold, what they cost, what is refused."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od

MODEL = od.MixedModel("y ~ arm + (1 | s) + (1 | i)", "bernoulli")
GUESS = od.NominalValues([0.2, 0.5], {"s": 0.6, "i": 0.35})
ARMS = {"measure": od.Measure.grid(arm=[0, 1]), "levels": {"arm": "s"}}


def crossed(**more):
    return od.Design(od.Crossed("s", "i"), **{"counts": {"s": 8, "i": 5}, "replicates": 2, **ARMS, **more})


def test_price_of_rows_columns_cells_and_observations():
    cost = od.Cost({"s": "10 + 4*arm", "i": 3}, observation=0.5, cell=2.0, fixed=100.0)
    assert crossed().spend(cost) == pytest.approx(100 + 8 * 12 + 5 * 3 + 40 * 2 + 80 * 0.5)
    assert crossed(crossing="biregular", cells=20 * 2).spend(cost) == crossed().spend(cost)


def test_price_of_nested_units_counts_all_of_them():
    design = od.Design(od.Nested("school", "class"), counts={"school": 20, "class": 3}, replicates=10)
    assert dict(design.counts) == {"school": 20, "class": 60}
    assert design.observations == 600
    assert design.spend(od.Cost({"school": 100, "class": 10}, observation=1)) == 20 * 100 + 60 * 10 + 600


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"counts": {"s": 8}}, r"counts must give the number of units of 's', 'i'"),
        ({"crossing": "biregular"}, "needs cells=, the number of observed cells, between 8 .* and 40"),
        ({"crossing": "biregular", "cells": 7}, "got 7"),
        ({"crossing": "half"}, "a crossing is 'complete'"),
        ({"crossing": {"s": [0.5]}}, "inclusion rates are needed for 's', 'i'; got 's'"),
        ({"crossing": {"s": [0.5], "i": [1.5]}}, r"inclusion rates of 'i' must lie in \(0, 1\]"),
        ({"crossing": pd.DataFrame({"s": [1, 1], "i": [1, 1]})}, "a cell is listed twice"),
        ({"crossing": pd.DataFrame({"s": range(8), "i": [0, 1, 2, 3] * 2})}, "5 units of 'i', the pairs hold 4"),
        ({"levels": {"arm": "room"}}, "levels puts 'arm' at 'room', which is not a factor"),
    ],
)
def test_crossings_that_are_none(change, words):
    with pytest.raises(od.SpecificationError, match=words):
        crossed(**change)


def test_row_without_a_cell_is_named():
    rows = pd.Categorical(["a", "b"], categories=["a", "b", "c"])
    with pytest.raises(od.SpecificationError, match=r"3 units of 's', the pairs hold 2.*Without a cell: 'c'"):
        crossed(counts={"s": 3, "i": 1}, crossing=pd.DataFrame({"s": rows, "i": [0, 0]}))


def test_covariates_of_rows_and_columns_are_independent_in_a_complete_crossing():
    joint = od.Measure.from_frame(pd.DataFrame({"arm": [0, 1], "kind": [0, 1]}))
    design = crossed(measure=joint, levels={"arm": "s", "kind": "i"})
    with pytest.raises(od.SpecificationError, match=r"every s meets every i.*levels=\{'covariate': 's:i'\}"):
        od.covariance(MODEL, GUESS, design)


@pytest.mark.parametrize(
    ("model", "order", "words"),
    [
        (
            MODEL,
            "exact",
            "'exact' does not exist for a bernoulli model here: the likelihood of a crossed design is one integral",
        ),
        (
            od.MixedModel("y ~ arm + (1 | s) + (1 | i)"),
            "refined",
            "a Gaussian's two-term order corrects for that already",
        ),
        (od.MixedModel("y ~ arm + (1 | s) + (1 | i) + (1 | s:i)", "bernoulli"), "two-term", "effects of cells"),
        (od.MixedModel("y ~ arm + (1 + arm | s) + (1 | i)", "bernoulli"), "refined", "defined for random intercepts"),
    ],
)
def test_orders_without_a_theory_say_why(model, order, words):
    guess = od.NominalValues([0.2, 0.5], {"s": np.eye(2) if "1 + arm" in model.formula else 0.6, "i": 0.35, "s:i": 0.1})
    with pytest.raises(od.SpecificationError, match=words):
        od.covariance(model, guess, crossed(), order)


def test_factor_that_the_layout_does_not_have():
    model = od.MixedModel("y ~ arm + (1 | s) + (1 | rater)", "bernoulli")
    with pytest.raises(od.SpecificationError, match="random terms for 'rater', which the design does not have"):
        od.covariance(model, od.NominalValues([0, 0], {"s": 1, "rater": 1}), crossed())


def test_coefficient_without_variation_is_named():
    cov = od.covariance(MODEL, GUESS, crossed(measure=od.Measure.grid(arm=[1])))
    assert "arm" in cov.inestimable
    assert cov.matrix[1, 1] == np.inf


def test_treatment_of_rows_with_a_random_slope_is_estimable():
    """The treatment is constant within a row, so that its slope and intercept cannot be told apart within one."""
    model = od.MixedModel("y ~ arm + (1 + arm | s) + (1 | i)", "bernoulli")
    guess = od.NominalValues([0.2, 0.5], {"s": [[0.6, 0.1], [0.1, 0.3]], "i": 0.35})
    for order in ("leading", "two-term"):
        cov = od.covariance(model, guess, crossed(), order)
        # Rows of arm 1 vary by .6 + 2(.1) + .3 = 1.1, those of arm 0 by .6; four of each.
        assert cov.inestimable == ()
        assert cov.terms["s"][1, 1] == pytest.approx((0.6 + 1.1) / 4, rel=1e-6)


def test_optimiser_says_what_it_does_not_do():
    space = od.DesignSpace(od.Nested("s", "i"), od.Candidates.grid(arm=[0, 1]), levels={"arm": "s"})
    with pytest.raises(od.SpecificationError, match="units within units, designs are optimised by order"):
        od.optimize(MODEL, GUESS, space, od.DOptimality(), od.Cost({"s": 1, "i": 1}, 1), 100)


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
@pytest.mark.parametrize("variance", [0.01, 10.0])
@pytest.mark.parametrize("intercept", [-8.0, 8.0])
@pytest.mark.parametrize(("units", "replicates"), [(10, 1), (10**9, 1), (10, 10**6), (10**9, 10**6)])
def test_extremes_stay_finite(family, variance, intercept, units, replicates):
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", family)
    guess = od.NominalValues([intercept, 0.5], {"s": variance, "i": variance / 2})
    counts = {"s": units, "i": units}
    design = od.Design(od.Crossed("s", "i"), counts=counts, replicates=replicates, measure=od.Measure.grid(x=[0, 1]))
    lead, two = (np.diag(od.covariance(model, guess, design, order).matrix) for order in ("leading", "two-term"))
    assert np.isfinite(two).all()
    assert (two > 0).all()
    assert lead[0] <= two[0] * (1 + 1e-9)


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
def test_cells_that_are_not_connected_are_noted(order):
    """Two blocks of rows and columns: nothing is inestimable, and the reader should know."""
    pairs = pd.DataFrame({"s": [0, 0, 1, 1, 2, 2], "i": [0, 1, 0, 1, 2, 3]})
    apart = od.covariance(MODEL, GUESS, crossed(counts={"s": 3, "i": 4}, crossing=pairs, levels={}), order)
    assert apart.inestimable == ()
    assert apart.notes[-1] == "The incidence of 's', 'i' falls into 2 unconnected parts."
    joined = pd.concat([pairs, pd.DataFrame({"s": [1], "i": [2]})])
    together = od.covariance(MODEL, GUESS, crossed(counts={"s": 3, "i": 4}, crossing=joined, levels={}), order)
    assert not any("unconnected" in note for note in together.notes)
