"""Pages that are made from others are up to date; commands of the tutorials print what the pages say."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import optdesign as od
from optdesign.cli.commands import app

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
FIRST = ROOT / "docs" / "tutorials" / "first-plan.md"
LOOSE = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def blocks(page, language):
    """Code blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def script(name):
    """A module of the documentation's folder."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_study_file_is_the_one_shown():
    assert blocks(FIRST, "toml") == [FIRST.with_suffix(".toml").read_text(encoding="utf-8")]


@pytest.mark.parametrize("block", blocks(FIRST, "console"))
def test_commands_print_what_the_page_says(block, tmp_path, monkeypatch):
    command, expected = block.split("\n", 1)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    answer = CliRunner(env={"COLUMNS": "80"}).invoke(app, command.removeprefix("$ optdesign ").split())
    assert answer.exit_code == 0
    assert doctest.OutputChecker().check_output(expected, answer.output, LOOSE), answer.output
    assert ("--out" in command) == (tmp_path / "report" / "index.html").exists()


def test_the_report_has_the_headings_that_are_explained(tmp_path):
    report = od.write_report(od.run_study(od.load_study(FIRST.with_suffix(".toml"))), tmp_path / "report")
    headings = re.findall("^## (.*)$", (report / "report.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    table = FIRST.read_text(encoding="utf-8").split("| heading |")[1].split("\n\n")[0]
    explained = re.findall(r"^\| ([A-Z][^|]*) \|", table, flags=re.MULTILINE)
    assert len(explained) > 5
    assert [heading for heading in headings if heading in explained] == explained


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebooks_are_up_to_date(page):
    pytest.importorskip("nbformat")
    notebooks = script("make_notebooks")
    kept = notebooks.notebook_path(page).read_text(encoding="utf-8")
    assert kept == notebooks.notebook(page), "run: python docs/make_notebooks.py"


def test_there_is_a_notebook_for_each_tutorial_and_no_other():
    assert {path.stem for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")} == {page.stem for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_notebooks_run(page):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    path = script("make_notebooks").notebook_path(page)
    nbclient.execute(nbformat.read(path, as_version=4), cwd=path.parent, kernel_name="python3", timeout=300)


def test_the_reference_is_up_to_date():
    reference = script("make_reference")
    assert reference.PAGE.read_text(encoding="utf-8") == reference.reference(), "run: python docs/make_reference.py"


@pytest.mark.parametrize("name", od.__all__)
def test_the_reference_has_every_public_name_and_what_it_is(name):
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert re.search(rf"^### `{name}`\n\n```text\n{name}\b.*\n```\n\n[^#*\n].*[.:]$", text, flags=re.MULTILINE)
