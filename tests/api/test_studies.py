"""The studies that ship: each runs from its file to a certified plan within its budget."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import optdesign as od

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*/study.toml"))
KEYS = {"groups", "spend", "standard_errors", "power", "efficiency", "warnings", "versions", "seed", "study"}


@pytest.fixture(scope="module", params=STUDIES, ids=lambda p: p.parent.name)
def result(request):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return od.run_study(od.load_study(request.param))


def test_there_are_three_studies():
    assert [p.parent.name for p in STUDIES] == ["dose-response", "epilepsy", "sleep"]


def test_optimum_is_certified(result):
    assert result.best.certificate.efficiency_bound >= 0.999999


def test_plan_is_within_the_budget_and_close_to_the_optimum(result):
    rounded = result.best.rounded
    assert rounded.spend <= result.best.budget * (1 + 1e-12)
    assert result.plan_json()["spend"] <= result.best.budget
    assert rounded.spend > 0.98 * result.best.budget
    assert rounded.efficiency_bound > 0.97


def test_plan_is_in_whole_numbers_within_the_bounds(result):
    space = result.best.space
    low, high = space.replicate_bounds
    for group in result.best.rounded.design.groups:
        times = group.replicates * group.measure.weights
        np.testing.assert_allclose([group.count, *times], np.round([group.count, *times]), atol=1e-9)
        assert low <= group.replicates <= high
        assert space.at_most is None or times.max() <= space.at_most + 1e-9


def test_precision_has_every_order_and_the_ratio(result):
    further = "exact" if result.best.model.is_gaussian else "averaged"
    assert list(result.precision) == ["leading", "two-term", further, "ratio"]
    np.testing.assert_allclose(result.precision["ratio"], result.precision["two-term"] / result.precision["leading"])
    assert (result.precision["ratio"] >= 1.0).all()


def test_power_is_reached_and_needed_units_are_consistent(result):
    wanted = result.study.tables.test.power
    assert result.power["two-term"] >= wanted
    assert result.needed.power >= wanted
    assert result.needed.count <= result.best.rounded.design.units
    assert result.warnings == ()


def test_power_curves_pass_through_the_plan(result):
    curves = result.power_curves.set_index(["order", "units"])["power"]
    for order, power in result.power.items():
        assert curves[order, result.best.rounded.design.units] == pytest.approx(power, abs=1e-12)


def test_surroundings_are_never_above_the_optimum(result):
    assert result.budget_line["efficiency"].max() <= 1 + 1e-6
    surface = result.surface.frame
    affordable = surface["spend"] <= result.best.budget
    assert affordable.any()
    assert surface.loc[affordable, "efficiency"].max() <= 1 + 1e-6
    assert result.budget_line["efficiency"].max() > 0.9


def test_plan_json_has_its_keys_and_is_json(result):
    plan = result.plan_json()
    assert set(plan) >= KEYS
    assert json.loads(json.dumps(plan, allow_nan=False)) == plan
    assert plan["efficiency"]["continuous"] >= 0.999999
    assert set(plan["standard_errors"]) == set(plan["power"]) == set(result.precision) - {"ratio"}
    assert sum(g["units"] for g in plan["groups"]) == plan["units"]
    assert all(isinstance(p["times"], int) for g in plan["groups"] for p in g["points"])


def test_result_prints_what_matters(result):
    shown = repr(result)
    assert result.study.title in shown
    assert "power, order 'two-term'" in shown
    assert "the continuous optimum is at least 99.9999 % efficient" in shown


def test_study_prints_what_it_is_about(result):
    assert result.study.tables.model.formula in repr(result.study)


def test_the_same_study_gives_the_same_plan():
    study = od.load_study(STUDIES[-1])
    assert od.run_study(study).plan_json() == od.run_study(study).plan_json()


def test_stages_are_told():
    stages = []
    od.run_study(od.load_study(STUDIES[-1]), stages.append)
    assert stages[0] == "fitting sleepstudy.csv"
    assert "finding the best design" in stages
