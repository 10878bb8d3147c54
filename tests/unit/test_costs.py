"""Prices as numbers and as expressions in the covariates."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from optdesign import Candidates, Cost, Share, Total
from optdesign.costs import evaluate
from optdesign.errors import SpecificationError

FRAME = pd.DataFrame({"treat": [0, 1, 1], "dose": [0.5, 1.0, 2.0], "arm": pd.Categorical(["a", "b", "b"])})


@pytest.mark.parametrize(
    ("price", "values"),
    [
        (40, [40, 40, 40]),
        ("40", [40, 40, 40]),
        ("900 + 400*treat", [900, 1300, 1300]),
        ("900 + 400*(arm == 'b')", [900, 1300, 1300]),
        ("dose**2", [0.25, 1, 4]),
        ("10*(treat == 0) + 20*(dose > 1.5)", [10, 0, 20]),
        ("exp(dose)", np.exp([0.5, 1, 2])),
    ],
)
def test_prices(price, values):
    np.testing.assert_allclose(Cost(units={"g": price}).of_units("g", FRAME), values)
    np.testing.assert_allclose(Cost(observation=price).of_observations(FRAME), values)


def test_a_factor_without_a_price_is_free():
    np.testing.assert_array_equal(Cost(observation=3.0).of_units("g", FRAME), [0, 0, 0])


@pytest.mark.parametrize("bad", [-1, np.nan, np.inf, None, [1.0]])
@pytest.mark.parametrize("place", ["observation", "cell", "fixed", "units['g']"])
def test_a_price_is_finite_and_not_negative(bad, place):
    keywords = {"units": {"g": bad}} if place.startswith("units") else {place: bad}
    with pytest.raises(SpecificationError, match=r"cost: .* must be a finite number, not negative; got") as error:
        Cost(**keywords)
    assert place in str(error.value)


@pytest.mark.parametrize("place", ["cell", "fixed"])
def test_what_no_covariate_changes_is_a_number(place):
    with pytest.raises(SpecificationError, match=f"cost: {place} must be a finite number, not negative; got '3'"):
        Cost(**{place: "3"})


def test_units_are_a_table_by_factor():
    with pytest.raises(SpecificationError, match="units"):
        Cost(units=900)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("900 + 400*tret", "tret"),
        ("900 +", "invalid syntax"),
        ("import os", ""),
        ("", ""),
        ("treat = 1", "'==' asks whether two are equal"),
        ("arm", "could not convert"),
    ],
)
def test_expression_that_cannot_be_evaluated_says_which_columns_there_are(expression, reason):
    with pytest.raises(
        SpecificationError, match=rf"cost: units\['g'\]: the expression .*{reason}.*'treat', 'dose', 'arm'"
    ):
        Cost(units={"g": expression}).of_units("g", FRAME)


def test_expressions_cannot_call_the_system():
    with pytest.raises(SpecificationError, match="cannot be evaluated"):
        Cost(observation="__import__('os').getcwd()").of_observations(FRAME)


@pytest.mark.parametrize(("expression", "value"), [("-900*treat", r"-900\.0"), ("1/treat", "inf")])
def test_expression_whose_value_is_no_price_says_where(expression, value):
    with pytest.raises(
        SpecificationError, match=rf"cost: observation = .* is {value} at .*'treat'.*finite and not negative"
    ):
        Cost(observation=expression).of_observations(FRAME)


def test_values_of_a_row_are_shown_as_plain_numbers_and_text():
    with pytest.raises(SpecificationError, match=r"at \{'treat': 1, 'dose': 1\.0, 'arm': 'b'\}"):
        Cost(observation="-treat").of_observations(FRAME)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Share("treat = 0", at_least=0.5).holds(FRAME),
        lambda: Total("treat = 0", at_most=5).values(FRAME),
        lambda: Candidates.from_frame(FRAME).where("treat = 0"),
    ],
)
def test_an_assignment_is_no_condition(ask):
    with pytest.raises(SpecificationError, match=r"'treat = 0' cannot be evaluated .*'==' asks"):
        ask()


def test_conditions_are_zero_or_one():
    np.testing.assert_array_equal(evaluate("dose > 0.7", FRAME, "constraint"), [0, 1, 1])


def test_a_cost_cannot_be_changed():
    start = {"g": 1.0}
    cost = Cost(units=start)
    start["g"] = 9.0
    assert cost.units["g"] == 1.0
    with pytest.raises(TypeError):
        cost.units["g"] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        cost.fixed = 1.0


def test_repr_reads_like_the_call():
    text = "Cost(units={'g': '900 + 400*treat'}, observation=40.0, cell=0.0, fixed=5)"
    assert repr(Cost(units={"g": "900 + 400*treat"}, observation=40.0, fixed=5)) == text
    assert repr(eval(text)) == text
