"""Study files of two grouping factors, crossed or nested: what they ask for, and how their plans are told."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.report import tables
from optdesign.study import judging, telling
from optdesign.study.building import space_of
from optdesign.study.explaining import explanation
from optdesign.study.running import ask, cheapest_price

HEAD = """
[model]
formula = "score ~ treat + (1 | subject) + (1 + treat | item)"
[nominal]
beta = [0.0, 0.5]
covariance = { subject = 0.6, item = [[0.35, 0.0], [0.0, 0.05]] }
dispersion = 1.1
"""
TAIL = """
[cost]
units = { subject = 12, item = 7 }
observation = 0.85
cell = 0.1
[goal]
criterion = { kind = "c", combination = { treat = 1.0 } }
budget = 2000
"""
CROSSED = """
[space]
layout = { crossed = ["subject", "item"] }
crossing = "biregular"
candidates = { grid = { treat = [-0.5, 0.5] } }
levels = { treat = "subject" }
counts = { item = [4, 1000] }
replicates = 1
"""
NESTED = """
[space]
layout = { nested = ["subject", "item"] }
candidates = { grid = { treat = [-0.5, 0.5] } }
levels = { treat = "subject" }
counts = { item = [2, 8] }
constraints = [ { total = "1", at_most = 120, of = "item" } ]
"""


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    def loaded(text):
        path = tmp_path_factory.mktemp("study") / "study.toml"
        path.write_text(text, encoding="utf-8")
        return od.load_study(path)

    return loaded


@pytest.fixture(scope="module")
def crossed(load):
    return od.run_study(load(HEAD + CROSSED + TAIL))


@pytest.fixture(scope="module")
def nested(load):
    return od.run_study(load(HEAD + NESTED + TAIL))


def test_crossed_space_is_what_it_would_be_in_python(load):
    space = space_of(load(HEAD + CROSSED.replace("counts", "cells = [20, 900]\ncounts") + TAIL))
    assert space.layout == od.Crossed("subject", "item")
    assert (space.crossing, space.cell_bounds) == ("biregular", (20, 900))
    assert space.count_bounds("item") == (4, 1000)


def test_a_crossed_study_is_what_it_would_be_in_python(crossed):
    best = od.optimize(
        od.MixedModel("score ~ treat + (1 | subject) + (1 + treat | item)"),
        od.NominalValues([0.0, 0.5], {"subject": 0.6, "item": [[0.35, 0.0], [0.0, 0.05]]}, 1.1),
        od.DesignSpace(
            od.Crossed("subject", "item"),
            od.Candidates.grid(treat=[-0.5, 0.5]),
            levels={"treat": "subject"},
            counts={"item": (4, 1000)},
            replicates=1,
            crossing="biregular",
        ),
        od.COptimality({"treat": 1.0}),
        od.Cost({"subject": 12.0, "item": 7.0}, observation=0.85, cell=0.1),
        2_000,
    )
    assert crossed.best.value == best.value
    assert crossed.best.rounded.spend == best.rounded.spend


def test_a_crossed_plan_as_data(crossed):
    plan, design = crossed.plan_json(), crossed.best.rounded.design
    (group,) = plan["groups"]
    assert group["counts"] == plan["counts"] == {"subject": plan["units"], "item": design.counts["item"]}
    assert group["cells"] == plan["observations"] == sum(point["times"] for point in group["points"])
    assert (crossed.budget_line, crossed.surface, crossed.power_curves) == (None, None, None)


def test_a_crossed_plan_in_words(crossed):
    counts, cells = crossed.best.rounded.design.counts, crossed.best.rounded.design.cells
    said = telling.summary(crossed)
    assert f"Enrol {counts['subject']:g} subjects and {counts['item']:g} items" in said
    assert f"{cells / counts['subject']:g} items for each subject" in said
    assert f"{cells:g} cells" in said
    assert "among all numbers of units, cells and replicates" in telling.proof_of(crossed)
    assert "price" in judging.certificate(crossed)


def test_a_complete_crossing_in_words():
    design = od.Design(od.Crossed("subject", "item"), counts={"subject": 30, "item": 8}, replicates=2)
    assert telling.plan(design, "person", "answer") == (
        "Enrol 30 persons and 8 items, every person to meet every item, with 2 answers in each of 240 cells"
    )
    assert telling.totals(design, "person", "answer") == "30 persons, 8 items, 480 answers"


def test_schedule_of_a_crossed_plan_keeps_who_meets_whom(crossed):
    plan = crossed.best.rounded
    frame = tables.schedule(plan, 3)
    assert frame.groupby("subject").size().to_numpy() == pytest.approx(
        plan.design.cells / plan.design.counts["subject"]
    )
    assert not frame.duplicated(["subject", "item"]).any()
    assert frame.groupby("subject")["treat"].std().max() == 0.0
    assert frame["item"].nunique() == plan.design.counts["item"]


def test_two_nested_factors_in_words(nested):
    design = nested.best.rounded.design
    said = telling.summary(nested)
    assert f"{design.counts['subject']:g} subjects, {design.counts['item']:g} items" in said
    assert design.counts["item"] <= 120
    assert " items of " in said
    groups = nested.plan_json()["groups"]
    assert sum(group["units"] * group["counts"]["item"] for group in groups) == design.counts["item"]


@pytest.mark.parametrize("name", ["crossed", "nested"])
def test_money_adds_up_by_source(name, request):
    result = request.getfixturevalue(name)
    table = tables.money(result.best, "subject", "observation", "")
    assert table.header == ["", "Subjects", "Items", "Cells", "Observations", "Total"]
    groups = [[float(v.replace(",", "")) for v in row[1:]] for row in table.rows if row[0].startswith("Group")]
    np.testing.assert_allclose([sum(row[:-1]) for row in groups], [row[-1] for row in groups], atol=0.03)
    assert sum(row[-1] for row in groups) == pytest.approx(result.best.rounded.spend, abs=0.03)


def test_plan_table_has_a_column_per_size(crossed, nested):
    assert tables.plan(crossed.best.rounded.design, "subject", "answer").header[2:6] == [
        "Subjects",
        "Items",
        "Cells",
        "Answers per cell",
    ]
    assert tables.plan(nested.best.rounded.design, "subject", "answer").header[2:5] == [
        "Subjects",
        "Items per subject",
        "Answers per item",
    ]


def test_reports_are_written(crossed, nested, tmp_path):
    for name, result in {"crossed": crossed, "nested": nested}.items():
        folder = od.write_report(result, tmp_path / name)
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert "items" in page
        assert 'href="#around"' not in page
        assert len(pd.read_csv(folder / "schedule.csv")) == result.best.rounded.design.observations


def test_check_says_what_is_chosen(load):
    question = ask(load(HEAD + CROSSED + TAIL), lambda _: None)
    said = " ".join(told.sentence for told in explanation(question.study, question.space))
    for words in (
        "Chosen per subject is treat",
        "number of items, 4 to 1000",
        "cells are observed",
        "per cell, fixed at 1",
    ):
        assert words in said
    # A subject in either arm, and a cell for each of the fewest items.
    assert cheapest_price(question) == pytest.approx(2 * 12 + 4 * 7 + 4 * 0.95)


def test_check_of_nested_factors(load):
    question = ask(load(HEAD + NESTED + TAIL), lambda _: None)
    said = " ".join(told.sentence for told in explanation(question.study, question.space))
    assert "number of items per subject, 2 to 8" in said
    assert "number of observations per item, at least 1" in said


def test_parts_of_units_are_no_factor_of_the_layout(load):
    text = HEAD.replace("(1 + treat | item)", "(1 | subject:item)").replace(
        "item = [[0.35, 0.0], [0.0, 0.05]]", '"subject:item" = 0.3'
    )
    study = load(
        text
        + CROSSED.split("layout")[0]
        + "candidates = { grid = { treat = [0, 1] } }"
        + TAIL.replace(", item = 7", "")
    )
    assert study.layout == od.Nested("subject")


def test_power_below_the_one_wanted_is_noted(load):
    test = '[test]\ncoefficient = "treat"\ndf = inf\npower = 0.99\n'
    result = od.run_study(load(HEAD + CROSSED + TAIL + test))
    assert result.needed is None
    assert any("below the 0.99 wanted" in note for note in result.warnings)
