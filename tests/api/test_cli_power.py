"""``optdesign power`` and ``optdesign sample-size``: what they say, and when they refuse."""

import json
import math
from pathlib import Path

import pytest
from scipy import stats
from typer.testing import CliRunner

from optdesign.cli.commands import app

SLEEP = Path(__file__).parents[2] / "studies" / "sleep" / "study.toml"
TRIAL = """
[model]
formula = "y ~ treat + (1 | clinic)"

[nominal]
beta = [0.0, 0.5]
covariance = { clinic = [[0.2]] }

[space]
levels = { treat = "clinic" }
counts = { clinic = [4, 100] }
replicates = 10

[space.candidates]
grid = { treat = [0, 1] }

[cost]
units = { clinic = 900 }
observation = 10

[goal]
criterion = { kind = "c", combination = { treat = 1.0 } }
budget = 30_000
"""
TEST = """
[test]
coefficient = "treat"
df = inf
"""


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.fixture
def trial(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TRIAL + TEST, encoding="utf-8")
    return path


def test_power_at_the_plan_by_hand(trial):
    """30 clinics of 10: variance 4 · 0.3/30; with infinitely many patients 4 · 0.2/30."""
    answer = json.loads(invoke("power", trial, "--json").stdout)
    z, error = stats.norm.isf(0.025), math.sqrt(4 * 0.3 / 30)
    expected = stats.norm.sf(z - 0.5 / error) + stats.norm.sf(z + 0.5 / error)
    assert answer["power"]["two-term"] == pytest.approx(expected, rel=1e-6)
    assert answer["detectable"]["power"] == 0.8
    assert answer["detectable"]["difference"] == pytest.approx((z + stats.norm.isf(0.2)) * error, rel=1e-3)
    (more,) = [row for row in answer["attainable"] if row["grows"] == "replicates"]
    error = math.sqrt(4 * 0.2 / 30)
    expected = stats.norm.sf(z - 0.5 / error) + stats.norm.sf(z + 0.5 / error)
    assert more["power"] == pytest.approx(expected, rel=1e-5)
    assert (more["limited by"], more["df"]) == ("clinic", "inf")


def test_sample_sizes_by_hand(trial):
    answer = json.loads(invoke("sample-size", trial, "--power", "0.9", "--json").stdout)
    sizes = {each["solve_for"]: each for each in answer["sizes"]}
    needed = 4 * 0.3 * (stats.norm.isf(0.025) + stats.norm.isf(0.1)) ** 2 / 0.25
    assert sizes["clinic"]["count"] == math.ceil(needed)
    assert sizes["budget"]["count"] == math.ceil(1000 * needed)
    assert sizes["replicates"]["count"] is None
    assert "highest attainable power" in sizes["replicates"]["reason"]


def test_tables(trial):
    shown = invoke("power", trial)
    assert shown.exit_code == 0, shown.stderr
    for words in ("Power of the two-sided test of treat = 0", "smallest difference", "Limited by", "clinic"):
        assert words in shown.stdout
    shown = invoke("sample-size", trial, "--power", "0.9")
    assert shown.exit_code == 0, shown.stderr
    for words in ("Solved for", "budget", "replicates: power 0.9 for 'treat' cannot be reached"):
        assert words in shown.stdout


def test_the_study_says_which_power_is_wanted():
    assert json.loads(invoke("sample-size", SLEEP, "--json").stdout)["power"] == 0.9


@pytest.mark.parametrize("name", ["power", "sample-size"])
def test_a_study_without_a_test(name, tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(TRIAL, encoding="utf-8")
    outcome = invoke(name, path)
    assert outcome.exit_code == 2
    assert "study.toml: power is that of a test" in " ".join(outcome.stderr.split())
    assert "add a table [test]" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize("name", ["power", "sample-size"])
def test_a_power_that_is_none(name, trial):
    outcome = invoke(name, trial, "--power", "80")
    assert outcome.exit_code == 2
    assert "power must be a number between 0.05 and 1; got 80" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize("name", ["power", "sample-size"])
def test_an_effect_that_is_none(name, trial):
    trial.write_text(trial.read_text(encoding="utf-8").replace("[0.0, 0.5]", "[0.0, 0.0]"), encoding="utf-8")
    outcome = invoke(name, trial)
    assert outcome.exit_code == 2
    assert "the highest attainable power is 0.05, the level of the test" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize("name", ["power", "sample-size"])
def test_a_plan_that_cannot_be_paid(name, trial):
    trial.write_text(trial.read_text(encoding="utf-8").replace("30_000", "300"), encoding="utf-8")
    outcome = invoke(name, trial)
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "budget" in outcome.stderr
