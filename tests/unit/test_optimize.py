"""The optimiser's inputs, results and rounding."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import optdesign as od
from optdesign.optimize.profile import budget_line, criterion_surface
from optdesign.optimize.rounding import systematic

MODEL = od.MixedModel("y ~ treat + (1 | patient)", "poisson")
GUESS = od.NominalValues([0.5, -0.3], {"patient": 0.3})
COST = od.Cost({"patient": "900 + 400*treat"}, 40.0)
EFFECT = od.COptimality({"treat": 1.0})


def space(**changes):
    arms = {"candidates": od.Candidates.grid(treat=[0, 1]), "levels": {"treat": "patient"}, "replicates": (2, 12)}
    return od.DesignSpace(od.Nested("patient"), **{**arms, **changes})


def plan(budget=50_000, model=MODEL, guess=GUESS, criterion=EFFECT, cost=COST, order="two-term", **changes):
    return od.optimize(model, guess, space(**changes), criterion, cost, budget, order)


def test_result_states_what_was_asked_and_what_it_costs():
    best = plan()
    assert best.spend == pytest.approx(50_000, abs=0.01)
    assert best.rounded.spend <= 50_000
    assert best.value == pytest.approx(best.covariance.variance({"treat": 1.0}))
    assert 0.95 < best.rounded.efficiency_bound <= 1
    assert best.rounded.efficiency_bound == pytest.approx(best.value / best.rounded.value, abs=1e-6)
    assert "optimal" in repr(best)
    assert "Rounded to whole numbers" in repr(best)
    assert "<table" in best._repr_html_()


def test_exact_design_lists_every_observation():
    exact = plan().rounded
    frame = exact.to_frame()
    assert len(frame) == exact.design.observations
    assert frame["patient"].nunique() == exact.design.units
    sizes = frame.groupby("patient").size()
    assert set(sizes) == {int(g.replicates) for g in exact.design.groups}
    assert frame.groupby("patient")["treat"].nunique().max() == 1


def test_exact_design_of_a_plain_model_lists_its_points():
    best = od.optimize(
        od.MixedModel("y ~ x"),
        od.NominalValues([0.0, 1.0]),
        od.DesignSpace(None, od.Candidates.grid(x=[-1, 0, 1])),
        od.DOptimality(),
        od.Cost(observation=3.0),
        31.0,
    )
    assert best.rounded.to_frame()["x"].value_counts().to_dict() == {-1: 5, 1: 5}
    assert best.rounded.spend == 30.0


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (
            od.InfeasibleBudgetError,
            r"cheapest design within the bounds costs 9,800\.00.*at least 4,800\.00",
            {"budget": 5_000, "counts": {"patient": (10, 400)}},
        ),
        (od.InfeasibleBudgetError, r"buys no design in whole units", {"budget": 1_500}),
        (
            od.InfeasibleBudgetError,
            r"fixed cost 60,000\.00 takes the whole budget",
            {"cost": od.Cost({"patient": 1.0}, 1.0, fixed=60_000.0)},
        ),
        (
            od.NotEstimableError,
            r"'treat' cannot be estimated.*Add candidates",
            {"candidates": od.Candidates.grid(treat=[1])},
        ),
        (od.SpecificationError, r"budget must be a positive finite number; got nan", {"budget": float("nan")}),
        (od.SpecificationError, r"nothing has a price", {"cost": od.Cost()}),
        (
            od.SpecificationError,
            r"the budget does not limit the design",
            {"cost": od.Cost({"patient": 900.0}), "replicates": (2, np.inf)},
        ),
        (od.SpecificationError, r"units names 'clinic'", {"cost": od.Cost({"clinic": 900.0}, 40.0)}),
        (
            od.SpecificationError,
            r"cell prices belong to layouts of two factors",
            {"cost": od.Cost({"patient": 900.0}, 40.0, cell=1.0)},
        ),
        (od.SpecificationError, r"varies within a unit.*levels=", {"levels": {}}),
        (od.SpecificationError, r"order 'two term' is not known.*'two-term'", {"order": "two term"}),
        (od.SpecificationError, r"by order 'exact' for Gaussian models only", {"order": "exact"}),
        (
            od.SpecificationError,
            r"uses 'treat', which the space neither offers",
            {"candidates": od.Candidates.grid(arm=[0, 1]), "levels": {}},
        ),
        (
            od.SpecificationError,
            r"'treatt' is not a coefficient.*'treat'",
            {"criterion": od.COptimality({"treatt": 1.0})},
        ),
        (
            od.SpecificationError,
            r"no design keeps all the bounds",
            {"constraints": [od.Share("treat == 0", at_least=0.6), od.Share("treat == 1", at_least=0.6)]},
        ),
        (od.SpecificationError, r"no nominal covariance", {"guess": od.NominalValues([0.5, -0.3])}),
    ],
)
def test_what_cannot_be_planned_is_said(error, message, changes):
    with pytest.raises(error, match=message):
        _ = plan(**changes).rounded


def test_price_of_the_cheapest_design_is_carried():
    with pytest.raises(od.InfeasibleBudgetError) as caught:
        plan(budget=5_000, counts={"patient": (10, 400)})
    assert caught.value.price == pytest.approx(10 * (900 + 2 * 40))


def test_names_of_inestimable_coefficients_are_carried():
    with pytest.raises(od.NotEstimableError) as caught:
        plan(candidates=od.Candidates.grid(treat=[1]))
    assert caught.value.coefficients == ("treat",)


def test_unknown_method():
    with pytest.raises(od.SpecificationError, match=r"method 'semidefinit' is not known.*'semidefinite'"):
        od.optimize(MODEL, GUESS, space(), EFFECT, COST, 50_000, method="semidefinit")


def test_both_methods_through_the_front_door():
    slow = od.optimize(MODEL, GUESS, space(), EFFECT, COST, 50_000, method="semidefinite")
    assert slow.value == pytest.approx(plan().value, rel=1e-5)


def test_shares_bounds_and_fixed_numbers_are_kept():
    shared = plan(constraints=[od.Share("treat == 0", at_least=0.7)])
    counts = {g.at["treat"]: g.count for g in shared.design.groups}
    assert counts[0] / sum(counts.values()) == pytest.approx(0.7, abs=1e-6)
    rounded = shared.rounded.design
    assert sum(g.count for g in rounded.groups if g.at["treat"] == 0) / rounded.units >= 0.7
    fixed = plan(replicates=3, counts={"patient": (0, 30)})
    assert {g.replicates for g in fixed.rounded.design.groups} == {3}
    assert fixed.rounded.design.units <= 30
    exactly = plan(counts={"patient": 24})
    assert exactly.rounded.design.units == 24


def test_common_replicates_are_common():
    best = plan(common_replicates=True)
    assert len({round(g.replicates, 6) for g in best.design.groups}) == 1
    assert len({g.replicates for g in best.rounded.design.groups}) == 1
    assert any("one-dimensional search" in note for note in best.warnings)


def test_a_point_is_used_at_most_so_often():
    model = od.MixedModel("y ~ day + (1 + day | patient)")
    guess = od.NominalValues([0.0, 1.0], {"patient": [[1.0, 0.1], [0.1, 0.2]]}, 2.0)
    days = od.DesignSpace(od.Nested("patient"), od.Candidates.grid(day=range(6)), replicates=(2, 6), at_most=1)
    best = od.optimize(model, guess, days, od.COptimality({"day": 1.0}), od.Cost({"patient": 30.0}, 5.0), 2_000)
    assert best.rounded.to_frame().groupby("patient")["day"].apply(lambda d: d.duplicated().sum()).max() == 0
    (group,) = best.design.groups
    assert (group.replicates * group.measure.weights).max() <= 1 + 1e-6


def test_leading_order_says_that_replicates_count_for_nothing():
    with pytest.warns(od.AsymptoticRegimeWarning, match=r"order 'leading' gives a variance"):
        best = plan(order="leading")
    assert {g.replicates for g in best.rounded.design.groups} == {2}
    assert any("worth nothing" in note and "fewest replicates allowed (2)" in note for note in best.warnings)


def test_observed_covariates_keep_their_law():
    model = od.MixedModel("y ~ base + treat + (1 | patient)", "poisson")
    guess = od.NominalValues({"Intercept": 0.5, "base": 0.4, "treat": -0.3}, {"patient": 0.3})
    law = od.Measure.grid(base=[-1.0, 0.0, 2.0], weights=[0.2, 0.5, 0.3])
    best = plan(model=model, guess=guess, observed=law, levels={"treat": "patient", "base": "patient"})
    assert best.design.observed is law
    assert "base" not in best.certificate.sensitivities
    assert od.efficiency(model, guess, best.design, EFFECT, best) == pytest.approx(1.0)


def test_merged_candidates_are_noted():
    best = plan(candidates=od.Candidates.from_frame(od.Candidates.grid(treat=[0, 1]).points.loc[[0, 1, 1]]))
    assert "1 duplicate candidate point merged." in best.warnings


def test_efficiency_of_a_design_of_ones_own():
    best = plan()
    mine = od.Design(od.Nested("patient"), [od.Group(21, 4, at={"treat": 0}), od.Group(21, 4, at={"treat": 1})])
    expected = best.value / od.covariance(MODEL, GUESS, mine).variance({"treat": 1.0})
    assert od.efficiency(MODEL, GUESS, mine, EFFECT, best) == pytest.approx(expected, rel=1e-9)


def test_covariates_called_like_a_tables_own_columns():
    model = od.MixedModel("y ~ mass + count + (1 | g)")
    guess = od.NominalValues([0.0, 1.0, 1.0], {"g": 0.5})
    region = od.DesignSpace(
        od.Nested("g"), od.Candidates.grid(mass=[0, 1], count=[0, 1]), levels={"count": "g"}, replicates=(2, 8)
    )
    best = od.optimize(model, guess, region, od.DOptimality(), od.Cost({"g": 5.0}, 1.0), 300.0)
    table = best.certificate.sensitivities
    assert set(table["mass (covariate)"].dropna()) == {0, 1}
    assert table["mass"].sum() > 2
    assert {"count (covariate)", "count"} <= set(best.rounded.design.to_frame())


def test_progress_is_reported():
    seen = []
    od.optimize(
        MODEL, GUESS, space(), EFFECT, COST, 50_000, progress=lambda number, excess: seen.append((number, excess))
    )
    assert seen[0][0] == 0


def test_budget_line_and_surface_peak_at_the_optimum():
    best = plan(common_replicates=True)
    n = best.design.groups[0].replicates
    line = budget_line(best, [2, n, 12])
    assert line["efficiency"].tolist() == [pytest.approx(v) for v in line["efficiency"]]
    assert line["efficiency"].iloc[1] == pytest.approx(1.0, abs=1e-6)
    assert line["efficiency"].max() <= 1 + 1e-6
    surface = criterion_surface(best, [best.design.units, 2 * best.design.units], [n]).frame
    assert surface["efficiency"].tolist() == pytest.approx([1.0, 2.0], rel=1e-6)
    assert surface["spend"].tolist() == pytest.approx([50_000, 100_000], rel=1e-6)


@given(st.lists(st.floats(0.01, 4.0), min_size=1, max_size=7))
def test_systematic_schedules_have_the_expected_mean(expected):
    schedules = systematic(np.array(expected))
    mean = sum(times * share for times, share in schedules)
    np.testing.assert_allclose(mean, expected, atol=1e-6)
    assert sum(share for _, share in schedules) == pytest.approx(1.0)
    for times, _ in schedules:
        assert (np.abs(times - expected) < 1 + 1e-6).all()
        assert abs(times.sum() - sum(expected)) < 1 + 1e-6


@pytest.mark.parametrize("widest", [1, 100])
def test_badly_scaled_columns_are_rounded_all_the_same(widest):
    """Powers up to the sixth of an unscaled covariate: the D-optimum puts 1/7 on each of seven points."""
    powers = " + ".join(f"I(x**{k})" for k in range(2, 7))
    region = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(0, widest, 201)))
    best = od.optimize(
        od.MixedModel(f"y ~ x + {powers}"),
        od.NominalValues([0.0] * 7),
        region,
        od.DOptimality(),
        od.Cost({}, 1.0),
        105.0,
    )
    assert best.design.groups[0].measure.weights == pytest.approx(1 / 7, abs=1e-3)
    assert best.rounded.to_frame()["x"].value_counts().tolist() == [15] * 7


@pytest.mark.parametrize("side", [20, 50])
def test_grid_whose_axes_divide_its_size_is_seen_to_vary(side):
    """Every k-th point of such a grid has the same values of all factors but one."""
    axis = np.linspace(-1, 1, side)
    region = od.DesignSpace(None, od.Candidates.grid(a=axis, b=axis, c=axis)).region.thinned(50)
    assert 40 <= region.n_atoms <= 60
    spread = region.frame[["a", "b", "c"]]
    assert (spread.nunique() >= 10).all()
    assert np.linalg.matrix_rank(np.column_stack([np.ones(len(spread)), spread, spread**2])) == 7


def on_a_line(region=(-1, 1), progress=None, **changes):
    space = od.DesignSpace(None, od.Candidates.region(x=region), replicates=(0, np.inf))
    model, guess = od.MixedModel("y ~ x + I(x**2) + I(x**3)"), od.NominalValues([0.0] * 4)
    cost = od.Cost(observation=1.0)
    return od.optimize(model, guess, space, od.DOptimality(), cost, 100.0, progress=progress, **changes)


def test_an_interrupt_in_a_region_gives_the_best_so_far():
    def impatient(number, excess):
        raise KeyboardInterrupt

    best = on_a_line(progress=impatient)
    assert repr(best.status) == "stopped"
    assert 0.99 < best.certificate.efficiency_bound < 1


def test_a_region_refuses_what_belongs_to_points():
    with pytest.raises(od.SpecificationError, match=r"at_most limits the use of single points"):
        od.DesignSpace(None, od.Candidates.region(x=(0, 1)), at_most=1)
    with pytest.raises(od.SpecificationError, match=r"'semidefinite' takes candidate points"):
        on_a_line(method="semidefinite")


def test_the_table_of_a_region_has_the_curve_between_the_support_points():
    best = on_a_line()
    rows = best.certificate.sensitivities.query("kind == 'observation'")
    assert len(rows) > 100
    assert (rows["mass"] > 0).sum() == 4
    assert rows["ratio"].max() == pytest.approx(1.0, abs=1e-6)
    assert best.rounded.efficiency_bound > 0.999


def test_a_region_refuses_several_factors_and_parts_of_units():
    region = od.Candidates.region(x=(-1, 1), p=[1, 2])
    for layout in (od.Nested("s", "c"), od.Crossed("s", "c")):
        with pytest.raises(od.SpecificationError, match=r"continuous regions are for one grouping factor, or none"):
            od.DesignSpace(layout, region)
    model = od.MixedModel("y ~ x + (1 | s) + (1 | s:p)")
    guess = od.NominalValues([0.0, 0.0], {"s": 0.2, "s:p": 0.1})
    space = od.DesignSpace(od.Nested("s"), region, replicates=(1, 9))
    with pytest.raises(od.SpecificationError, match=r"without parts of its units; the model has 's', 's:p'"):
        od.optimize(model, guess, space, od.DOptimality(), od.Cost({"s": 50.0}, 1.0), 5_000, order="exact")


def test_units_that_are_worth_nothing_are_told():
    """The slope within units of a Gaussian does not depend on how many units there are."""
    model, guess = od.MixedModel("y ~ x + (1 | g)"), od.NominalValues([0.0, 1.0], {"g": 0.5})
    space = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=[-1, 1]))
    with pytest.raises(od.SpecificationError, match=r"units are worth nothing.*counts a lowest value"):
        od.optimize(model, guess, space, od.COptimality({"x": 1.0}), od.Cost({"g": 10.0}, 1.0), 1000.0)


def _lost(*_):
    raise np.linalg.LinAlgError("lost in rounding")


def test_where_the_search_fails_the_reference_method_is_tried_and_said_so(monkeypatch):
    model, guess = od.MixedModel("y ~ dose", family="bernoulli"), od.NominalValues([-1.0, 2.0])
    space = od.DesignSpace(None, od.Candidates.grid(dose=np.linspace(0, 1, 11)))
    asked = model, guess, space, od.DOptimality(), od.Cost(observation=1), 100
    usual = od.optimize(*asked)
    monkeypatch.setattr(sys.modules["optdesign.optimize"].interior, "solve", _lost)
    found = od.optimize(*asked)
    assert found.value == pytest.approx(usual.value, abs=1e-5)
    assert "lost in rounding" in found.warnings[0]
    assert "'semidefinite'" in found.warnings[0]
    assert found.certificate.efficiency_bound >= 0.9999
    with pytest.raises(od.ConvergenceError, match="lost in rounding"):
        od.optimize(model, guess, od.DesignSpace(None, od.Candidates.region(dose=(0, 1))), *asked[3:])
