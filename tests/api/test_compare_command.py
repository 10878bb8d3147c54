"""``optdesign compare`` as a user meets it: output, files, and what it says of wrong input."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from optdesign.cli.commands import app

STUDY = """
[model]
formula = "score ~ treat + (1 | subject) + (1 | item)"
[nominal]
beta = [0.0, 0.5]
covariance = { subject = 0.6, item = 0.35 }
dispersion = 1.1
[space]
layout = { crossed = ["subject", "item"] }
candidates = { grid = { treat = [-0.5, 0.5] } }
levels = { treat = "subject" }
counts = { item = [4, 100] }
[cost]
units = { subject = 12, item = 7 }
observation = 0.85
[goal]
criterion = "c"
budget = 600
[test]
coefficient = "treat"
df = inf
power = 0.7
[compare]
layouts = ["item in subject", "subject in item"]
budgets = [900]
cost_ratios = [0.2, 5]
variance_ratios = [0.5, 2]
break_even = ["item in subject", "subject in item"]
[report]
title = "Teaching"
currency = "EUR"
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.fixture
def study(tmp_path):
    def changed(*replacements):
        text = STUDY
        for old, new in replacements:
            assert old in text, f"{old} is not in the study file"
            text = text.replace(old, new)
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        return tmp_path / "study.toml"

    return changed


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    (folder / "study.toml").write_text(STUDY, encoding="utf-8")
    outcome = invoke("compare", folder / "study.toml", "--out", folder / "out")
    assert outcome.exit_code == 0, outcome.stderr
    return outcome, folder / "out"


def test_prints_a_column_per_layout(written):
    text = " ".join(written[0].stdout.split())
    for words in (
        "Teaching",
        "For 600 EUR: variance of treat (order 'two-term'); best: subject in item",
        "For 900 EUR",
        "efficiency bound",
        "The same in whole numbers, for at most 600 EUR",
        "Standard error of treat, and variance by source",
        "from item",
        "Money for power 0.7",
        "Best layout on the map",
        "Where one overtakes the other",
    ):
        assert words in text


def test_output_fits_80_columns(written):
    lines = [line for line in written[0].stdout.splitlines() if not line.startswith("Tables and figures")]
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert written[0].stderr == ""


def test_tables_and_figures_are_written(written):
    folder = written[1]
    names = ["break-even", "comparison", "map", "needed", "plans", "sources"]
    assert sorted(path.stem for path in folder.glob("*.csv")) == names
    assert sorted(path.name for path in (folder / "figures").glob("*.png")) == ["map.png", "sources-1.png"]
    table = pd.read_csv(folder / "comparison.csv")
    assert table["budget"].tolist() == [600, 600, 900, 900]
    assert (table["efficiency bound"] > 0.999999).all()
    # No bound binds items within subjects: the variance goes with the inverse of the money.
    low, high = table.loc[table["layout"] == "item in subject", "value"]
    assert low / high == pytest.approx(1.5, rel=1e-4)


def test_an_earlier_comparison_is_replaced_and_nothing_else(written, tmp_path):
    folder = written[1]
    study = folder.parent / "study.toml"
    assert invoke("compare", study, "--out", folder).exit_code == 0
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    outcome = invoke("compare", study, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "holds no comparison" in outcome.stderr


def test_json_is_the_comparison_and_nothing_else(study):
    outcome = invoke(
        "compare",
        study(
            ("cost_ratios = [0.2, 5]\nvariance_ratios = [0.5, 2]\n", ""),
            ('break_even = ["item in subject", "subject in item"]\n', ""),
        ),
        "--json",
    )
    found = json.loads(outcome.stdout)
    assert {"title", "criterion", "order", "best", "comparison", "sources", "plans", "needed", "notes", "study"} <= set(
        found
    )
    assert found["best"] == {"600": "subject in item", "900": "subject in item"}
    assert [row["layout"] for row in found["comparison"]] == ["item in subject", "subject in item"] * 2
    assert "map" not in found


@pytest.mark.parametrize(
    ("replacement", "words"),
    [
        (
            ('crossed = ["subject", "item"]', 'nested = ["subject", "item"]'),
            "line 23, [compare]: compares the layouts of two",
        ),
        (
            ('crossed = ["subject", "item"]', 'crossed = ["subject", "itme"]'),
            "[space] layout: lacks 'item', a grouping factor",
        ),
        (('crossed = ["subject", "item"]', 'crossed = ["subject"]'), "line 9, [space] layout"),
        (('crossed = ["subject", "item"]', 'crossed = ["subject", "subject"]'), "names a factor twice"),
        (('crossed = ["subject", "item"]', 'crossed = ["subject", "item"], nested = ["item"]'), "give either nested"),
        (
            ('layout = { crossed = ["subject", "item"] }', ""),
            "[space] layout: the formula has several grouping factors",
        ),
        (("levels = {", "at_most = 3\nlevels = {"), "line 11, [space] at_most: belongs to a nested layout"),
        (("levels = {", "cells = 30\nlevels = {"), "line 11, [space] cells: belongs to crossing = 'biregular'"),
        (("levels = {", 'crossing = "balanced"\nlevels = {'), "[space] crossing: got 'balanced', needed 'complete'"),
        (("subject = 12", "person = 12"), "[cost] units.person: 'person' is not a grouping factor"),
        (('"subject in item"]\nbudgets', '"subject in itme"]\nbudgets'), "[compare] layouts: layout 'subject in itme'"),
        (("budgets = [900]", "budgets = [-900]"), "line 25, [compare] budgets[1]: got -900"),
        (("variance_ratios = [0.5, 2]\n", ""), "[compare]: a map takes both cost_ratios"),
        (("cost_ratios = [0.2, 5]\nvariance_ratios = [0.5, 2]\n", ""), "break_even is looked for on the map"),
        (
            ('break_even = ["item in subject"', 'break_even = ["complete crossing"'),
            "[compare] break_even: 'complete crossing'",
        ),
        (("budgets =", "bugdets ="), "unknown key 'bugdets'. Did you mean 'budgets'?"),
    ],
)
def test_wrong_input(study, replacement, words):
    path = study(replacement)
    outcome = invoke("compare", path, "--out", path.parent / "out")
    assert outcome.exit_code == 2, outcome.stdout
    assert words in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert sorted(p.name for p in path.parent.iterdir()) == ["study.toml"]


def test_a_study_of_one_factor(study):
    path = study(
        (" + (1 | item)", ""),
        (", item = 0.35", ""),
        ('layout = { crossed = ["subject", "item"] }\n', ""),
        ("counts = { item = [4, 100] }\n", ""),
        (", item = 7", ""),
        ("[compare]", "[report]"),
        (STUDY[STUDY.index("layouts =") :], 'title = "One"\n'),
    )
    outcome = invoke("compare", path)
    assert outcome.exit_code == 2
    assert "layout = { crossed = ['row', 'column'] }" in outcome.stderr


def test_a_budget_that_buys_nothing(study):
    outcome = invoke("compare", study(("budget = 600", "budget = 20")))
    assert outcome.exit_code == 1
    assert "[goal] budget: item in subject: after fixed costs" in outcome.stderr


def test_limits_hold_in_every_layout(study):
    path = study(
        ("[test]", "limits = { hours = { amount = 60, observation = 1 } }\n[test]"),
        (STUDY[STUDY.index("budgets =") : STUDY.index("[report]")], ""),
    )
    found = json.loads(invoke("compare", path, "--json").stdout)
    assert [round(row["observations"]) for row in found["comparison"]] == [60, 60]


def test_run_of_a_crossed_study_fits_80_columns(study):
    outcome = invoke("run", study())
    assert outcome.exit_code == 0, outcome.stderr
    assert "subjects" in outcome.stdout
    assert "cells" in outcome.stdout
    assert max(len(line.rstrip()) for line in outcome.stdout.splitlines()) <= 80
