"""The templates: each is a study that can be checked and run as it is, and none overwrites a file."""

import json

import pytest
from typer.testing import CliRunner

import optdesign as od
from optdesign.cli.commands import app
from optdesign.study import templates


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.fixture(params=templates.names())
def written(request, tmp_path):
    path = tmp_path / "study.toml"
    outcome = invoke("new", request.param, path)
    assert outcome.exit_code == 0, outcome.stderr
    return path


def test_every_template_passes_check(written):
    outcome = invoke("check", written)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "is in order" in " ".join(outcome.stdout.split())


def test_every_template_runs_and_reaches_the_power_that_it_wants(written):
    outcome = invoke("run", written, "--json")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    plan = json.loads(outcome.stdout)
    assert plan["warnings"] == []
    assert 0.8 <= plan["power"]["two-term"] < 0.99
    assert plan["efficiency"]["continuous"] >= 0.999999
    assert plan["spend"] <= plan["study"]["goal"]["budget"]


def test_every_template_says_what_each_table_is_for(written):
    for table in written.read_text(encoding="utf-8").split("\n[")[1:4]:
        assert "\n# " in table


def test_a_template_is_printed_where_no_file_is_named():
    outcome = invoke("new", "longitudinal")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout == templates.text("longitudinal")


def test_a_template_as_json():
    tables = json.loads(invoke("new", "subjects-items", "--json").stdout)
    assert tables["space"]["layout"] == {"crossed": ["subject", "item"]}


def test_the_designs_are_those_of_the_closed_forms(tmp_path):
    # People per cluster at fixed shares: sqrt((1 - icc) / icc * price of a cluster / price of a person), by arm.
    invoke("new", "cluster-trial", tmp_path / "study.toml")
    groups = od.run_study(od.load_study(tmp_path / "study.toml")).best.design.groups
    sizes = {group.at["arm"]: group.replicates for group in groups}
    assert sizes == pytest.approx({"control": (19 * 25) ** 0.5, "treated": (19 * 40) ** 0.5}, rel=1e-3)


def test_a_file_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "study.toml").write_text("mine", encoding="utf-8")
    outcome = invoke("new", "cluster-trial", tmp_path / "study.toml")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "there is one already" in outcome.stderr
    assert (tmp_path / "study.toml").read_text(encoding="utf-8") == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    outcome = invoke("new", "cluster-trial", tmp_path / "none" / "study.toml")
    assert outcome.exit_code == 2
    assert "cannot be written (No such file or directory)" in outcome.stderr


def test_an_unknown_template_names_the_nearest(tmp_path):
    outcome = invoke("new", "reader-cases", tmp_path / "study.toml")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "Did you mean 'readers-cases'?" in outcome.stderr
    assert list(tmp_path.iterdir()) == []
