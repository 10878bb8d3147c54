"""Layouts against each other: closed forms against the optimiser and brute force, maps and break-even curves."""

import numpy as np
import pytest

import optdesign as od
from optdesign.compare import closed_forms

MEAN = od.MixedModel("y ~ 1 + (1 | subject) + (1 | item)")
SPACE = od.DesignSpace(od.Crossed("subject", "item"))
CLOSED = {
    "complete crossing": closed_forms.complete,
    "incomplete crossing": closed_forms.incomplete,
    "item in subject": closed_forms.column_in_row,
    "subject in item": closed_forms.row_in_column,
    "repeated measures": closed_forms.pairs,
}


def mean_of(parts, prices, money=2_000.0, layouts=None):
    subject, item, residual = parts
    guess = od.NominalValues([0.4], {"subject": subject, "item": item}, residual)
    cost = od.Cost({"subject": prices[0], "item": prices[1]}, prices[3], prices[2])
    return od.alternatives(MEAN, guess, SPACE, od.COptimality({"Intercept": 1}), cost, money, layouts=layouts)


@pytest.mark.parametrize("seed", range(5))
def test_closed_forms_are_the_certified_optima(seed):
    rng = np.random.default_rng(seed)
    parts = np.exp(rng.uniform(-2, 1, 3))
    prices = np.exp(rng.uniform([-1, -1, -3, -3], [2.5, 2.5, 0, 0]))
    for name, best in mean_of(parts, prices).items():
        least = CLOSED[name](parts, prices, 2_000.0)
        assert best.value == pytest.approx(least.variance, rel=1e-7), name
        assert best.certificate.efficiency_bound > 0.999999
        numbers = [best.design.counts["subject"], best.design.counts["item"], best.design.observations]
        np.testing.assert_allclose(numbers, least.numbers, rtol=1e-3)


@pytest.mark.parametrize("name", CLOSED)
def test_no_numbers_on_a_fine_grid_are_better(name):
    parts, prices, money = np.array([0.6, 0.35, 1.1]), np.array([12.0, 7.0, 0.6, 0.25]), 2_000.0
    m, columns, n = np.meshgrid(np.geomspace(2, 160, 400), np.geomspace(2, 280, 400), [1.0, 1.5, 2, 3, 4, 6, 9, 14])
    cells = {
        "complete crossing": m * columns,
        "incomplete crossing": np.maximum(m, columns),
        "item in subject": np.where(m <= columns, columns, np.inf),
        "subject in item": np.where(columns <= m, m, np.inf),
        "repeated measures": m,
    }[name]
    columns = m if name == "repeated measures" else columns
    price = prices[0] * m + prices[1] * columns + cells * (prices[2] + prices[3] * n)
    variance = parts[0] / m + parts[1] / columns + parts[2] / (cells * n)
    least = CLOSED[name](parts, prices, money)
    best = variance[price <= money].min()
    assert least.variance <= best * (1 + 1e-12)
    assert best == pytest.approx(least.variance, rel=0.02)


def test_a_mean_wants_no_complete_crossing():
    # Every incomplete crossing reaches what the better nested layout does, and complete crossing is one of them.
    values = {name: best.value for name, best in mean_of([0.6, 0.35, 1.1], [12.0, 3.0, 0.0, 0.85]).items()}
    assert values["incomplete crossing"] == pytest.approx(
        min(values["item in subject"], values["subject in item"]), rel=1e-6
    )
    assert values["complete crossing"] > 1.5 * values["incomplete crossing"]
    assert values["repeated measures"] >= values["item in subject"]


def test_nesting_is_overtaken_where_variance_per_price_is_equal():
    designs = mean_of([0.6, 0.35, 1.1], [12.0, 7.0, 0.0, 0.85], layouts=["item in subject", "subject in item"])
    curve = od.break_even(designs, "item in subject", "subject in item", [0.05, 0.5, 1.0, 4.0])
    np.testing.assert_allclose(curve["cost ratio"], [0.05, 0.5, 1.0, 4.0], rtol=1e-6)
    assert set(curve["higher"]) == {"subject in item"}
    places = od.layout_map(designs, [0.04, 1.0, 20.0], [0.05, 0.5, 4.0])
    # Rows are ratios of variances, columns of prices: items are inner units where they are cheap for their variance.
    np.testing.assert_array_equal(places.best, [[0, 1, 1], [0, 1, 1], [0, 0, 1]])


SLOPE = od.MixedModel("y ~ treat + (1 | subject) + (1 + treat | item)")
ARMS = od.DesignSpace(
    od.Crossed("subject", "item"),
    od.Candidates.grid(treat=[-1, 1]),
    levels={"treat": "subject"},
    counts={"item": (4, 1e4)},
)


@pytest.fixture(scope="module")
def arms():
    guess = od.NominalValues([0.0, 0.5], {"subject": 0.6, "item": [[0.05, 0.0], [0.0, 0.2]]}, 1.1)
    cost = od.Cost({"subject": 12.0, "item": 7.0}, observation=0.85)
    return od.alternatives(
        SLOPE,
        guess,
        ARMS,
        od.COptimality({"treat": 1}),
        cost,
        2_000.0,
        layouts=["complete crossing", "item in subject"],
    )


def asked(arms, name, cost_ratio, variance_ratio):
    item = np.array([[0.05, 0.0], [0.0, 0.2]]) * variance_ratio * 0.6 / 0.05
    guess = od.NominalValues([0.0, 0.5], {"subject": 0.6, "item": item}, 1.1)
    return arms[name].again(nominal=guess, cost=od.Cost({"subject": 12.0, "item": 12.0 * cost_ratio}, observation=0.85))


def test_map_and_curve_against_the_optimiser_between_the_corners(arms):
    places = od.layout_map(arms, [0.05, 0.4, 4.0], [0.02, 0.1, 0.3])
    for at, name in enumerate(places.names):
        there = asked(arms, name, 0.4, 0.1)
        assert np.exp(places.losses[at, 1, 1]) == pytest.approx(there.value, rel=2e-4)
    curve = od.break_even(arms, *places.names, [0.1], between=(0.005, 50.0))
    for ratio in curve["cost ratio"]:
        one, other = (asked(arms, name, ratio, 0.1).value for name in places.names)
        assert one == pytest.approx(other, rel=5e-4)


def test_places_where_the_money_buys_nothing_are_refused(arms):
    with pytest.raises(od.InfeasibleBudgetError, match="the money buys none of the layouts"):
        od.layout_map(arms, [60.0], [0.1])  # four items at 720 each


def test_what_is_shown_of_a_map(arms):
    places = od.layout_map(arms, [0.4], [0.1])
    frame = places.to_frame()
    assert list(frame.columns) == ["cost ratio", "variance ratio", "best", *arms]
    assert frame[list(arms)].max(axis=1).item() == 1.0
    assert "1 places over price and variance of 'item'" in repr(places)
    assert "<table" in places._repr_html_()


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        (([0.0], [1.0]), r"cost_ratios must be positive numbers; got \[0.0\]"),
        (([1.0], []), "variance_ratios must be positive numbers"),
    ],
)
def test_ratios_that_are_none(arms, ratios, words):
    with pytest.raises(od.SpecificationError, match=words):
        od.layout_map(arms, *ratios)


def test_what_has_no_ratio(arms):
    with pytest.raises(od.SpecificationError, match="'both' is not one of the designs"):
        od.break_even(arms, "both", "item in subject", [1.0])
    priced = od.Cost({"subject": "12 + treat", "item": 7.0}, observation=0.85)
    with pytest.raises(od.SpecificationError, match=r"a positive number as the price of 'subject'; got '12 \+ treat'"):
        od.layout_map({"one": arms["item in subject"].again(cost=priced)}, [1.0], [1.0])
    model = od.MixedModel("y ~ treat + (1 | subject)")
    guess = od.NominalValues([0.0, 0.5], {"subject": 0.6}, 1.1)
    one = od.alternatives(
        model, guess, ARMS, od.COptimality({"treat": 1}), od.Cost({"subject": 12, "item": 7}, 1.0), 2_000.0,
        layouts=["item in subject"],
    )  # fmt: skip
    with pytest.raises(od.SpecificationError, match="'item' has none"):
        od.layout_map(one, [1.0], [1.0])
    space = od.DesignSpace(od.Nested("subject"), ARMS.candidates, levels=ARMS.levels)
    plain = od.optimize(model, guess, space, od.COptimality({"treat": 1}), od.Cost({"subject": 12}, 1.0), 2_000.0)
    with pytest.raises(od.SpecificationError, match=r"layouts of two factors are needed; got Nested\('subject'\)"):
        od.layout_map({"one": plain}, [1.0], [1.0])
