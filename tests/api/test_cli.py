"""The commands as a user meets them: output, exit codes, what is written, how long it takes to say no."""

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import optdesign.cli.commands
from optdesign.cli import MESSAGE
from optdesign.cli.commands import app

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "studies" / "epilepsy" / "study.toml"


def invoke(*arguments, **environment):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "80", "NO_COLOR": "1", **environment})


def command(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "optdesign.cli", *(str(a) for a in arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80", **environment},
    )


@pytest.fixture(scope="module")
def printed():
    outcome = invoke("run", STUDY)
    assert outcome.exit_code == 0, outcome.stderr
    return outcome


def test_run_prints_plan_precision_power_and_proof(printed):
    for words in (
        "The plan, for 149,980 EUR of 150,000 EUR",
        "trt = placebo",
        "visits each",
        "Standard errors at the plan, by order of the covariance",
        "two-term / leading",
        "Power of the two-sided test of trt = 0",
        "Enrol",
        "99.9999 % efficient",
        "add: --out DIR",
    ):
        assert words in " ".join(printed.stdout.split())


def test_output_fits_80_columns(printed):
    assert max(len(line.rstrip()) for line in printed.stdout.splitlines()) <= 80


def test_nothing_but_the_result_is_printed(printed):
    assert printed.stderr == ""
    assert "\x1b" not in printed.stdout


def test_run_writes_the_report_and_says_where(tmp_path):
    outcome = invoke("run", STUDY, "--out", tmp_path / "report")
    assert outcome.exit_code == 0, outcome.stderr
    assert str(tmp_path / "report" / "index.html") in outcome.stdout
    plan = json.loads((tmp_path / "report" / "plan.json").read_text(encoding="utf-8"))
    assert plan["seed"] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_json_is_the_plan_and_nothing_else(tmp_path):
    outcome = invoke("run", STUDY, "--json")
    plan = json.loads(outcome.stdout)
    assert {
        "groups",
        "spend",
        "standard_errors",
        "power",
        "efficiency",
        "warnings",
        "versions",
        "seed",
        "study",
    } <= set(plan)
    assert plan["study"]["goal"]["budget"] == 150_000


def test_check_explains_the_study_without_looking_for_a_design(monkeypatch):
    monkeypatch.setattr("optdesign.study.running.optimize", None)
    outcome = invoke("check", STUDY)
    assert outcome.exit_code == 0, outcome.stderr
    said = " ".join(outcome.stdout.split())
    for words in (
        "Fitted will be y ~ log(base/4) + trt + (1 | subject), a poisson response with log link.",
        "Nominal values are fitted from epil.csv.",
        "Chosen per patient is trt: placebo, progabide.",
        "Chosen is the number of visits per patient, 2 to 8.",
        "Observed, not chosen, is base",
        "One patient costs 900 + 400*(trt == 'progabide') EUR.",
        "Wanted is the c-optimal design, of the smallest variance of a combination of coefficients: trt.",
        "It is planned for the two-sided test of trt = 0 at level 5 %, with a power of 80 %.",
        "No design within the bounds costs less than 20,400 EUR.",
    ):
        assert words in said


def test_check_names_the_line_of_each_thing_it_says():
    answer = json.loads(invoke("check", STUDY, "--json").stdout)
    assert answer["title"] == "Progabide for epilepsy: patients and visits"
    assert answer["cheapest"] == pytest.approx(20_400)
    lines = STUDY.read_text(encoding="utf-8").splitlines()
    line_of = {".".join(map(str, each["key"])): each["line"] for each in answer["asks"]}
    for key, starts in {
        "model.formula": "formula =",
        "space.counts.subject": "counts =",
        "space.candidates.grid.trt": "grid =",
        "space.observed": "[space.observed]",
        "cost.units.subject": "units =",
        "goal.budget": "budget =",
    }.items():
        assert lines[line_of[key] - 1].startswith(starts)
    assert line_of["goal.order"] is None


def test_check_states_no_price_where_nothing_bounds_designs_from_below(tmp_path):
    text = STUDY.read_text(encoding="utf-8")
    assert "counts = { subject = [20, 400] }" in text
    (tmp_path / "epil.csv").write_bytes(STUDY.with_name("epil.csv").read_bytes())
    (tmp_path / "study.toml").write_text(text.replace("counts = { subject = [20, 400] }", ""), encoding="utf-8")
    outcome = invoke("check", tmp_path / "study.toml")
    assert outcome.exit_code == 0, outcome.stderr
    assert "costs less than" not in outcome.stdout


def test_check_of_an_unaffordable_study_is_exit_code_1(tmp_path):
    text = STUDY.read_text(encoding="utf-8").replace("150_000", "10_000")
    (tmp_path / "epil.csv").write_bytes(STUDY.with_name("epil.csv").read_bytes())
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    outcome = invoke("check", tmp_path / "study.toml")
    assert (outcome.exit_code, outcome.stdout) == (1, "")
    assert "20,400.00" in outcome.stderr


def test_check_needs_a_file_or_schema():
    outcome = invoke("check")
    assert outcome.exit_code == 2
    assert "--schema" in outcome.stderr


def test_schema_is_json():
    assert json.loads(invoke("check", "--schema").stdout)["title"] == "optdesign study file"


@pytest.mark.parametrize(
    ("line", "offered"),
    [("optdesign sam", ["sample-size"]), ("optdesign new r", ["readers-cases"]), ("optdesign check --js", ["--json"])],
)
def test_the_shell_completes_commands_templates_and_options(line, offered):
    program = "import sys; sys.argv = ['optdesign']; from optdesign.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "_OPTDESIGN_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        },
    )
    assert done.stdout.split() == offered, done.stderr


@pytest.mark.parametrize("arguments", [("rum", STUDY), ("run",), ("run", STUDY, "--outt", "x")])
def test_wrong_usage_is_exit_code_2(arguments):
    assert invoke(*arguments).exit_code == 2


def test_text_of_the_study_is_never_markup(tmp_path):
    text = STUDY.read_text(encoding="utf-8").replace("Progabide for", "[bold red]Progabide[/] for")
    (tmp_path / "epil.csv").write_bytes(STUDY.with_name("epil.csv").read_bytes())
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    assert "[bold red]Progabide[/] for epilepsy" in invoke("run", tmp_path / "study.toml").stdout
    (tmp_path / "study.toml").write_text(text.replace("poisson", "[/nope]"), encoding="utf-8")
    assert "[/nope]" in invoke("run", tmp_path / "study.toml").stderr


@pytest.mark.parametrize("where", ["optdesign.cli.commands.run_study", "optdesign.report.page.render"])
def test_interruption_leaves_nothing_behind(tmp_path, monkeypatch, where):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    outcome = invoke("run", STUDY, "--out", tmp_path / "report")
    assert outcome.exit_code == 130
    assert "Interrupted" in outcome.stderr
    assert list(tmp_path.iterdir()) == []


#: Runs a study, and stops itself after 50 ms of processor time in the stage it is told: a clock would be early on a
#: busy machine, and late on a fast one, which has written the report by then. Again 300 ms later, as a user would press
#: again: a library that is being imported may swallow the first.
INTERRUPTED_RUN = """
import contextlib, os, signal
from optdesign.cli import commands, main
signal.signal(signal.SIGPROF, lambda *_: signal.raise_signal(signal.SIGINT))
def stage(text):
    if text.startswith(os.environ["STAGE"]):
        signal.setitimer(signal.ITIMER_PROF, 0.05, 0.3)
commands.progress = lambda: contextlib.nullcontext(stage)
main()
"""


@pytest.mark.parametrize("stage", ["fitting", "finding", "working out", "looking around", "writing"])
def test_ctrl_c_is_one_line_whenever_it_comes(tmp_path, stage):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_RUN, "run", str(STUDY), "--out", str(tmp_path / "report")],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "STAGE": stage},
    )
    assert (done.returncode, done.stderr) == (130, f"{MESSAGE}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr("optdesign.cli.commands.run_study", None)
    (tmp_path / "thesis.txt").write_text("all of it", encoding="utf-8")
    outcome = invoke("run", STUDY, "--out", tmp_path)
    assert outcome.exit_code == 2
    assert "is not empty and holds no report" in outcome.stderr


@pytest.mark.parametrize(("given", "used"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_one_thread_unless_asked_for_more(given, used):
    program = """
import os, sys
from optdesign.cli import main
assert "numpy" not in sys.modules
sys.argv = ["optdesign", "--help"]
try:
    main()
except SystemExit:
    print("THREADS", os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"])
"""
    plain = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        env={**plain, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **given},
    )
    assert f"THREADS {used} 1" in done.stdout, done.stderr


def test_long_names_are_shown_in_full(tmp_path):
    term = "C(treatment_of_the_patient, contr.treatment('placebo'))"
    text = f"""
[model]
formula = "y ~ {term}"
[nominal]
beta = [0.0, 0.3, 0.6]
[space.candidates]
grid = {{ treatment_of_the_patient = ["placebo", "low", "high"] }}
[cost]
observation = 1
[goal]
criterion = "D"
budget = 90
"""
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    outcome = invoke("run", tmp_path / "study.toml")
    assert outcome.exit_code == 0, outcome.stderr
    assert "…" not in outcome.stdout
    assert "two-term" not in outcome.stdout


def test_interruption_keeps_an_earlier_report(tmp_path, monkeypatch):
    assert invoke("run", STUDY, "--out", tmp_path / "report").exit_code == 0
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("optdesign.report.page.render", interrupted)
    assert invoke("run", STUDY, "--out", tmp_path / "report").exit_code == 130
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_colour_only_where_it_is_wanted(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = command("check", STUDY.with_name("none.toml"), FORCE_COLOR="1")
    assert "\x1b[" in coloured.stderr
    plain = command("check", STUDY.with_name("none.toml"), FORCE_COLOR="1", NO_COLOR="1")
    assert not re.search("\x1b\\[[0-9;]*3[0-9]", plain.stderr)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("check", STUDY), ("run", STUDY)])
def test_no_color_is_respected_by_every_output(arguments):
    """Codes of colours are 30 to 38 and 90 to 97; bold and dim are no colours."""
    done = command(*arguments, FORCE_COLOR="1", NO_COLOR="1")
    assert done.returncode == 0, done.stderr
    assert not re.search("\x1b\\[(?:[0-9]+;)*(?:3[0-8]|9[0-7])[;m]", done.stdout + done.stderr)


COMMANDS = ("check", "run", "power", "sample-size", "compare", "simulate", "new")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json(name):
    assert "--json" in invoke(name, "--help").stdout


def test_there_are_no_other_commands():
    assert {each.name or each.callback.__name__ for each in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("name", ["check", "run", "power", "sample-size", "simulate"])
def test_every_long_command_says_what_it_does(name, monkeypatch):
    stages = []
    monkeypatch.setattr(optdesign.cli.commands, "progress", lambda: contextlib.nullcontext(stages.append))
    few = ("--replications", "2", "--workers", "1") if name == "simulate" else ()
    outcome = invoke(name, STUDY, "--json", *few)
    assert outcome.exit_code == 0, outcome.stderr
    json.loads(outcome.stdout)
    assert "fitting epil.csv" in stages
    assert name == "check" or "finding the best design" in stages


def test_progress_is_seen_where_someone_is_watching_and_stays_off_the_output():
    done = command("check", STUDY, "--json", FORCE_COLOR="1")
    assert "starting" in done.stderr
    assert json.loads(done.stdout)["cheapest"] > 0


def test_a_process_exits_as_the_commands_do(tmp_path):
    good = command("check", STUDY)
    assert (good.returncode, good.stderr) == (0, "")
    bad = command("run", tmp_path / "none.toml", "--out", tmp_path / "report")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("error: ")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("code", "arguments"),
    [(0, ("--help",)), (0, ("run", "--help")), (2, ("run", "{wrong}")), (2, ("check", "{wrong}"))],
)
def test_help_and_refusal_load_no_numerical_library(tmp_path, code, arguments):
    wrong = tmp_path / "study.toml"
    wrong.write_text(STUDY.read_text(encoding="utf-8").replace("budget =", "bugdet ="), encoding="utf-8")
    program = f"""
import sys
from optdesign.cli import main
sys.argv = ["optdesign", *{[a.format(wrong=wrong) for a in arguments]!r}]
try:
    main()
except SystemExit as end:
    heavy = ("pandas", "formulaic", "scipy", "cvxpy", "matplotlib", "glmm")
    print("LOADED", end.code, [m for m in heavy if m in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
    )
    assert f"LOADED {code} []" in done.stdout, done.stdout + done.stderr


def test_progress_is_for_people_watching(monkeypatch):
    with optdesign.cli.commands.progress() as stage:
        stage("this goes nowhere, because nobody is watching")


def test_the_package_runs_as_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "optdesign", "--help"],
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"},
    )
    assert found.returncode == 0
    assert "simulate" in found.stdout
