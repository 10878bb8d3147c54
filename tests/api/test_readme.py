"""The README's commands are the ones that are checked, and the pages refer to what is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = PAGES[0].read_text(encoding="utf-8")
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
LARGEST_IMAGE = 150_000


def commands():
    """One-line commands of the README that install something."""
    blocks = re.findall(r"```bash\n(.*?)\n```", README, flags=re.DOTALL)
    return [block for block in blocks if "pip install" in block]


def targets(page):
    """Files a page links to."""
    found = LINK.findall(page.read_text(encoding="utf-8"))
    return [page.parent / target for target in found if not target.startswith(("http", "mailto:"))]


def test_readme_has_one_command_for_the_job_and_one_for_the_tests():
    assert len(commands()) == 2
    job, tests = commands()
    assert "optdesign run studies/epilepsy/study.toml" in job
    assert "-m pytest" in tests


@pytest.mark.skipif(not (ROOT / ".ci" / "run").exists(), reason="a source distribution has no .ci")
@pytest.mark.parametrize("command", commands())
def test_commands_of_the_readme_stand_verbatim_in_the_integration_script(command):
    assert "\n" not in command
    assert f"( {command} )\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert [str(target) for target in targets(page) if not target.exists()] == []


def anchor(heading):
    """The anchor that a heading has on the usual hosts."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_sections_lead_to_a_heading(page):
    for target, section in re.findall(r"\]\(([^)#]*)#([^)]*)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            there = (page.parent / target if target else page).read_text(encoding="utf-8")
            assert section in {anchor(heading) for heading in re.findall("^#+ (.*)$", there, flags=re.MULTILINE)}


def test_index_links_every_page():
    index = ROOT / "docs" / "index.md"
    linked = {target.resolve() for target in targets(index)}
    assert set((ROOT / "docs").rglob("*.md")) - {index} <= linked


def test_images_are_small_and_used():
    images = sorted((ROOT / "docs" / "images").iterdir())
    used = {target.resolve() for page in PAGES for target in targets(page)}
    assert images
    for image in images:
        assert image.stat().st_size < LARGEST_IMAGE
        assert image in used


def test_readme_names_both_names_and_the_licence():
    assert "optdesign-mixed" in README
    assert "BSD 3-Clause" in README
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").startswith("BSD 3-Clause License")
