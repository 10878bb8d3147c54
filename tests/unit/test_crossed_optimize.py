"""Crossed design spaces and the optimiser's answers: what is returned, what is refused and how."""

import itertools

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.optimize import crossed
from optdesign.optimize.crossed_result import whole_shares
from optdesign.optimize.result import Status

LAYOUT = od.Crossed("reader", "image")
MODEL = od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)")
GUESS = od.NominalValues([0.0], {"reader": 0.6, "image": 0.35}, 1.1)
COST = od.Cost(units={"reader": 12.0, "image": 7.0}, cell=0.6, observation=0.25)
MEAN = od.COptimality({"Intercept": 1.0})


def best_of(cost=COST, budget=2000.0, criterion=MEAN, order="two-term", model=MODEL, guess=GUESS, **space):
    return od.optimize(model, guess, od.DesignSpace(LAYOUT, **space), criterion, cost, budget, order)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"crossing": "biregualr"}, "Did you mean 'biregular'"),
        ({"cells": 30}, "belongs to crossing='biregular'"),
        ({"crossing": "biregular", "cells": (1, 9), "counts": {"reader": (10, 20)}}, "between 10, .* got \\(1, 9\\)"),
        ({"crossing": "biregular", "cells": 500, "counts": {"reader": 10, "image": 20}}, "and 200, all"),
        ({"replicates": (0, 0.5)}, "one observation in a cell, at least"),
        ({"counts": {"image": 0.5}}, "one unit of each factor"),
        ({"counts": {"raeder": 3}}, "Did you mean 'reader'"),
        ({"common_replicates": True}, "no meaning in a crossed layout"),
        ({"at_most": 2}, "no meaning in a crossed layout"),
        ({"constraints": [od.Total("x", at_most=9)], "candidates": od.Candidates.grid(x=[0, 1])}, "bounds on shares"),
        ({"levels": {"x": "read"}, "candidates": od.Candidates.grid(x=[0, 1])}, "Did you mean 'reader'"),
    ],
)
def test_contradictory_spaces_are_refused(space, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.DesignSpace(LAYOUT, **space)


@pytest.mark.parametrize("extra", [{"crossing": "biregular"}, {"cells": 10}])
def test_crossings_belong_to_crossed_layouts(extra):
    with pytest.raises(od.SpecificationError, match="belong to a crossed layout"):
        od.DesignSpace(od.Nested("clinic"), **extra)


def test_a_budget_too_small_names_the_price_of_the_cheapest():
    with pytest.raises(od.InfeasibleBudgetError, match=r"costs 4,410\.00\. Raise it by at least 3,410\.00") as error:
        best_of(budget=1000.0, counts={"reader": (100, 200), "image": (30, 90)}, replicates=(2, 4), cost=od.Cost(
            units={"reader": 12.0, "image": 7.0}, cell=0.5, observation=0.25))  # fmt: skip
    assert error.value.price == pytest.approx(100 * 12 + 30 * 7 + 3000 * (0.5 + 0.5))


def test_a_budget_too_small_for_the_cells_asked_for():
    with pytest.raises(od.InfeasibleBudgetError) as error:
        best_of(budget=200.0, crossing="biregular", cells=(100, 400), cost=od.Cost(
            units={"reader": 12.0, "image": 7.0}, observation=1.0))  # fmt: skip
    m, columns = np.sqrt(100 * 7 / 12), np.sqrt(100 * 12 / 7)
    assert error.value.price == pytest.approx(12 * m + 7 * columns + 100, rel=1e-6)


def test_the_fixed_cost_must_leave_something():
    with pytest.raises(od.InfeasibleBudgetError, match=r"more than its fixed cost 3,000\.00"):
        best_of(cost=od.Cost(units={"reader": 1.0, "image": 1.0}, fixed=3000.0))


def test_a_number_that_nothing_limits_is_named():
    with pytest.raises(od.SpecificationError, match="nothing limits the number of 'replicates'"):
        best_of(cost=od.Cost(units={"reader": 12.0, "image": 7.0}, cell=1.0))
    with pytest.raises(od.SpecificationError, match="nothing limits the number of 'image'"):
        best_of(cost=od.Cost(units={"reader": 12.0}), replicates=1)


def test_candidates_must_be_all_combinations():
    model = od.MixedModel("y ~ g + x + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0] * 3, {"reader": 0.6, "image": 0.35}, 1.1)
    points = od.Candidates.from_frame(pd.DataFrame({"g": [0, 0, 1], "x": [0, 1, 1]}))
    with pytest.raises(od.SpecificationError, match=r"all combinations .* there are 3 of 4"):
        best_of(model=model, guess=guess, candidates=points, levels={"g": "reader"})


def test_prices_must_be_constant_within_units():
    model = od.MixedModel("y ~ x + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0] * 2, {"reader": 0.6, "image": 0.35}, 1.1)
    cost = od.Cost(units={"reader": "1 + x", "image": 1.0}, observation=1.0)
    with pytest.raises(od.SpecificationError, match=r"units\['reader'\] varies within a unit"):
        best_of(model=model, guess=guess, cost=cost, candidates=od.Candidates.grid(x=[0, 1]))


def test_coefficients_that_no_candidates_estimate_are_named():
    model = od.MixedModel("y ~ x + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0] * 2, {"reader": 0.6, "image": 0.35}, 1.1)
    with pytest.raises(od.NotEstimableError, match="'x'"):
        best_of(model=model, guess=guess, candidates=od.Candidates.grid(x=[1]))


def test_sampled_orders_and_other_layouts_are_refused():
    model = od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)", family="binomial")
    guess = od.NominalValues([0.0], {"reader": 0.6, "image": 0.35})
    with pytest.raises(od.SpecificationError, match="use 'two-term'"):
        best_of(model=model, guess=guess, order="averaged")
    with pytest.raises(od.SpecificationError, match="needs the layout Crossed"):
        crossed.optimize_crossed(MODEL, GUESS, od.DesignSpace(od.Nested("reader")), MEAN, COST, 100.0)


def test_the_table_of_who_meets_whom_is_even():
    best = best_of(crossing="biregular", cost=od.Cost(units={"reader": 12.0, "image": 7.0}, observation=0.85))
    design, table, frame = best.rounded.design, best.rounded.incidence, best.rounded.to_frame()
    assert list(table) == ["reader", "image"]
    assert not table.duplicated().any()
    for factor in LAYOUT.factors:
        sizes = table.groupby(factor).size()
        assert sizes.min() == sizes.max()
        assert len(sizes) == design.counts[factor]
    assert len(table) * design.cell_size == len(frame) == design.observations
    assert best.rounded.spend <= 2000.0


def test_a_row_per_observation_with_whole_kinds():
    model = od.MixedModel("y ~ g + x + h + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0] * 4, {"reader": 0.6, "image": 0.35}, 1.1)
    best = best_of(
        model=model,
        guess=guess,
        criterion=od.AOptimality(),
        candidates=od.Candidates.grid(g=[0, 1], x=[-1, 1]),
        observed=od.Measure.grid(h=[0, 1]),
        levels={"g": "reader", "h": "image"},
        budget=600.0,
    )
    frame, design = best.rounded.to_frame(), best.rounded.design
    assert list(frame) == ["reader", "image", "g", "x"]
    assert frame.groupby("reader")["g"].nunique().max() == 1
    treated = frame.groupby("reader")["g"].first().mean()
    weights = design.groups[0].measure.to_frame()
    assert treated == pytest.approx(weights.loc[weights.g == 1, "weight"].sum())
    assert best.rounded.spend == design.spend(COST)
    assert best.rounded.spend <= 600.0
    assert best.status is Status.LOCAL
    assert not best.rounded.proven


def test_what_is_printed_says_what_is_proved():
    best = best_of()
    assert "status optimal" in repr(best)
    assert repr(best.certificate).endswith("among all numbers of units, cells and replicates")
    assert list(best.certificate.sensitivities["kind"]) == ["reader", "image", "replicates"]
    assert best.certificate.worst_ratio <= 1 + 1e-6
    assert "ExactDesign: spend" in repr(best.rounded)
    assert od.efficiency(MODEL, GUESS, best.rounded.design, MEAN, best) == pytest.approx(
        best.rounded.efficiency_bound, rel=1e-6
    )


def test_fixed_numbers_are_kept():
    best = best_of(counts={"reader": 20, "image": (5, 30)}, replicates=2)
    assert best.design.counts["reader"] == pytest.approx(20)
    assert best.design.cell_size == pytest.approx(2)
    assert best.rounded.design.counts == {"reader": 20, "image": 30}
    assert best.rounded.proven


def test_worthless_replicates_and_single_cells_are_said():
    with pytest.warns(od.AsymptoticRegimeWarning, match="two-term"):
        best = best_of(order="leading", cost=od.Cost(units={"reader": 12.0, "image": 7.0}, observation=0.85),
                       crossing="biregular")  # fmt: skip
    text = " ".join(best.warnings)
    assert "worth nothing" in text
    assert "in one cell each" in text


def test_progress_is_told():
    model = od.MixedModel("y ~ g + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0.0] * 2, {"reader": 0.6, "image": 0.35}, 1.1)
    space = od.DesignSpace(LAYOUT, od.Candidates.grid(g=[0, 1]), levels={"g": "reader"}, counts={"image": (3, 20)})
    seen = []
    od.optimize(model, guess, space, od.COptimality({"g": 1}), COST, 500.0, progress=lambda *told: seen.append(told))
    assert [number for number, _ in seen] == list(range(1, len(seen) + 1))
    assert len(seen) >= 19


def test_whole_shares_keep_every_kind():
    assert (whole_shares(np.array([0.98, 0.01, 0.01, 0.0]), 10) * 10).tolist() == [8, 1, 1, 0]
    assert (whole_shares(np.full(3, 1 / 3), 10) * 10).sum() == pytest.approx(10)


def scenarios():
    return [od.NominalValues([0.0], {"reader": a, "image": b}, c) for a, b, c in [(0.6, 0.35, 1.1), (0.05, 1.5, 3.0)]]


def test_scenarios_are_averaged():
    """Mean of two variances: the variance at mean variance components, as it is linear in them."""
    mean = best_of(criterion=od.Bayesian(MEAN, [(0.5, each) for each in scenarios()]))
    one = best_of(guess=od.NominalValues([0.0], {"reader": 0.325, "image": 0.925}, 2.05))
    assert mean.value == pytest.approx(one.value, rel=1e-9)
    assert mean.design.counts == pytest.approx(one.design.counts, rel=1e-4)
    assert mean.rounded.design.counts == one.rounded.design.counts


def test_the_worst_scenario_is_made_as_good_as_it_can_be():
    best = best_of(criterion=od.Maximin(MEAN, scenarios()))
    alone = [best_of(guess=each) for each in scenarios()]
    losses = [od.efficiency(MODEL, each, best.design, MEAN, own) for each, own in zip(scenarios(), alone, strict=True)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert best.value == pytest.approx(1 / min(losses), rel=1e-6)
    assert best.certificate.efficiency_bound >= 0.999999
    assert best.rounded.proven


@pytest.mark.parametrize(
    "extra",
    [{"already": od.Design(LAYOUT, counts={"reader": 3, "image": 4}, replicates=2)}, {"method": "semidefinite"}],
)
def test_what_only_nested_designs_have_is_refused(extra):
    with pytest.raises(od.SpecificationError, match="are for nested and plain designs"):
        od.optimize(MODEL, GUESS, od.DesignSpace(LAYOUT), MEAN, COST, 500.0, **extra)


def test_covariates_that_are_not_there_are_named():
    with pytest.raises(od.SpecificationError, match="the model uses 'dose'"):
        best_of(model=od.MixedModel("y ~ dose + (1 | reader) + (1 | image)"))


def test_every_kind_of_unit_is_there_even_where_more_units_do_not_help():
    """Without random effects of readers only their observations count: the fewest readers, one of each kind."""
    model = od.MixedModel("y ~ g + (1 | image)")
    guess = od.NominalValues([0.0, 0.0], {"image": 0.35}, 1.1)
    space = od.DesignSpace(LAYOUT, od.Candidates.grid(g=[0, 1]), levels={"g": "reader"})
    best = od.optimize(model, guess, space, od.COptimality({"g": 1}), COST, 500.0)
    frame = best.rounded.to_frame()
    assert frame.groupby("g")["reader"].nunique().to_dict() == {0: 1, 1: 1}
    assert best.rounded.value == pytest.approx(1.1 * 4 / len(frame), rel=1e-9)


TREATED = od.MixedModel("y ~ treat + (1 | reader) + (1 | image)")
TREATED_GUESS = od.NominalValues([0.0, 0.5], {"reader": 0.6, "image": 0.35}, 1.1)
DEARER = od.Cost(units={"reader": "12 + 20 * treat", "image": 7.0}, cell=0.6, observation=0.25)


def treated(constraints, candidates=None, cost=DEARER, **space):
    found = candidates or od.Candidates.grid(treat=[0, 1])
    return best_of(
        cost,
        3000.0,
        od.COptimality({"treat": 1.0}),
        model=TREATED,
        guess=TREATED_GUESS,
        candidates=found,
        levels={"treat": "reader"},
        constraints=constraints,
        **space,
    )


def share_of_controls(design):
    (group,) = design.groups
    frame = group.measure.points.assign(w=group.measure.weights)
    return frame.loc[frame["treat"] == 0, "w"].sum()


def test_a_bound_on_shares_that_binds_is_met_and_costs_precision():
    free, half = treated([]), treated([od.Share("treat == 0", at_most=0.5)])
    assert share_of_controls(free.design) > 0.55
    assert share_of_controls(half.design) == pytest.approx(0.5, abs=1e-6)
    assert half.value > free.value
    m, images, n = half.design.counts["reader"], half.design.counts["image"], half.design.groups[0].replicates
    # Readers in two arms of equal size, each seeing all images: images cancel, and so does all that arms share.
    assert half.value == pytest.approx(4 * 0.6 / m + 4 * 1.1 / (m * images * n), rel=1e-6)
    assert 22 * m + 7 * images + (0.6 + 0.25 * n) * m * images == pytest.approx(3000, rel=1e-6)


def test_whole_plans_keep_the_bounds_on_shares():
    best = treated([od.Share("treat == 0", 0.5, 0.5)], counts={"image": (3, 30)})
    rounded = best.rounded
    assert share_of_controls(rounded.design) == pytest.approx(0.5, abs=1e-9)
    assert rounded.design.counts["reader"] % 2 == 0


@pytest.mark.parametrize(
    ("constraints", "message"),
    [
        ([od.Share("treat == z", at_most=0.5)], "and not on several of these"),
        ([od.Share("treat == 0", at_least=0.6), od.Share("treat == 1", at_least=0.6)], "at once"),
    ],
)
def test_shares_that_cannot_be_bounded(constraints, message):
    with pytest.raises(od.SpecificationError, match=message):
        treated(constraints, od.Candidates.grid(treat=[0, 1], z=[0, 1]))


HOURS = od.Cost(units={"reader": 1.0}, cell=0.5)


@pytest.mark.parametrize("crossing", ["complete", "biregular"])
def test_two_budgets_are_kept_and_no_numbers_on_a_fine_grid_are_better(crossing):
    both = od.optimize(
        MODEL, GUESS, od.DesignSpace(LAYOUT, crossing=crossing), MEAN, COST, 2000.0, limits={"hours": (HOURS, 120.0)}
    )
    one = best_of(crossing=crossing)
    hours = both.design.spend(HOURS)
    assert both.spend == pytest.approx(2000.0, rel=1e-6)
    assert hours == pytest.approx(120.0, rel=1e-6)
    assert one.design.spend(HOURS) > 130
    assert both.value > one.value
    assert both.certificate.efficiency_bound >= 1 - 1e-6
    axis = np.geomspace(2, 120, 90)
    m, images, cells = np.meshgrid(axis, axis, axis, indexing="ij")
    cells = m * images if crossing == "complete" else cells
    n = ((2000.0 - 12 * m - 7 * images) / cells - 0.6) / 0.25
    fits = (n >= 1) & (m + 0.5 * cells <= 120) & (np.maximum(m, images) <= cells) & (cells <= m * images)
    values = (0.6 / m + 0.35 / images + 1.1 / (cells * n))[fits]
    assert both.value * both.certificate.efficiency_bound <= values.min()
    assert both.value == pytest.approx(values.min(), rel=0.02)


def test_whole_numbers_keep_every_budget_and_none_is_better():
    best = od.optimize(MODEL, GUESS, od.DesignSpace(LAYOUT), MEAN, COST, 800.0, limits={"hours": (HOURS, 60.0)})
    found = best.rounded
    values = [
        0.6 / m + 0.35 / images + 1.1 / (m * images * n)
        for m, images, n in itertools.product(range(1, 60), range(1, 60), range(1, 40))
        if 12 * m + 7 * images + (0.6 + 0.25 * n) * m * images <= 800 and m + 0.5 * m * images <= 60
    ]
    assert found.proven
    assert found.value == pytest.approx(min(values), rel=1e-9)
    assert found.design.spend(HOURS) <= 60


def test_a_limit_that_buys_nothing_is_named():
    with pytest.raises(
        od.InfeasibleBudgetError, match=r"1\.00 is left of the amount of limits\['hours'\].*costs 1\.50"
    ):
        od.optimize(MODEL, GUESS, od.DesignSpace(LAYOUT), MEAN, COST, 800.0, limits={"hours": (HOURS, 1.0)})
