"""``optdesign simulate`` as a user meets it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optdesign.cli.commands import app

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "epilepsy" / "study.toml"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80", "NO_COLOR": "1"})


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("simulate") / "replicates.jsonl"


@pytest.fixture(scope="module")
def printed(store):
    outcome = invoke("simulate", STUDY, "--replications", "20", "--workers", "1", "--out", store)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome.stdout


def test_prints_failures_power_and_standard_errors(printed):
    text = " ".join(printed.split())
    for words in (
        "The plan, simulated",
        "20 replicates, seed 1",
        "Fits that failed: 0, 0.0 %",
        "Power of the test of 'trt'",
        "two-term",
        "coverage of 95 %",
        "var(Intercept | subject)",
    ):
        assert words in text


def test_output_fits_80_columns(printed):
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80


def test_goes_on_with_its_file_and_prints_json(printed, store):
    outcome = invoke("simulate", STUDY, "--replications", "30", "--workers", "1", "--out", store, "--json")
    found = json.loads(outcome.stdout)
    assert (found["replications"], found["failed"]["count"]) == (30, 0)
    assert found["power"]["by order"]["two-term"] == pytest.approx(0.859, abs=0.001)
    assert len(store.read_text().splitlines()) == 31


def test_a_file_of_another_simulation_is_wrong_input(printed, store):
    outcome = invoke("simulate", STUDY, "--seed", "2", "--workers", "1", "--out", store)
    assert outcome.exit_code == 2
    assert "holds another simulation, which differs in 'seed'" in " ".join(outcome.stderr.split())


@pytest.mark.parametrize(
    "arguments", [("--replications", "1"), ("--workers", "0"), ("--seed", "-1"), ("--replications", "many")]
)
def test_wrong_options_are_wrong_input(arguments):
    assert invoke("simulate", STUDY, *arguments).exit_code == 2


def test_a_scheduler_that_does_not_answer_is_wrong_input():
    pytest.importorskip("distributed")
    outcome = invoke("simulate", STUDY, "--scheduler", "nonsense://nowhere")
    assert outcome.exit_code == 2
    assert "no scheduler answers at 'nonsense://nowhere'" in " ".join(outcome.stderr.split())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_runs_on_a_scheduler(printed, store, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        address = cluster.scheduler_address
        outcome = invoke(
            "simulate", STUDY, "--replications", "20", "--scheduler", address, "--out", tmp_path / "there.jsonl"
        )
    assert outcome.exit_code == 0, outcome.stderr
    there = sorted((tmp_path / "there.jsonl").read_text().splitlines()[1:])
    assert {json.loads(line)["replicate"] for line in there} == set(range(20))
    assert set(there) <= set(store.read_text().splitlines())


@pytest.mark.skipif(os.name != "posix", reason="interruptions are signals")
def test_interruption_prints_what_there_is_and_keeps_it(tmp_path):
    out = tmp_path / "replicates.jsonl"
    arguments = ["--workers", "1", "--replications", "100000", "--out", str(out)]
    process = subprocess.Popen(
        [sys.executable, "-m", "optdesign.cli", "simulate", str(STUDY), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    end = time.monotonic() + 90
    while time.monotonic() < end and (not out.exists() or len(out.read_text().splitlines()) < 21):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    made = len(out.read_text().splitlines()) - 1
    assert process.returncode == 130
    assert f"Interrupted after {made:,} of 100,000 replicates. They are in" in stderr
    assert f"{made:,} replicates of 100,000 asked for" in stdout
