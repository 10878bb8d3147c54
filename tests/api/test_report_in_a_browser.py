"""The page in a real browser, headless: figures are seen in light, in dark and on a phone; nothing is run."""

import html
import json
import re
import subprocess

import numpy as np
import pytest
from matplotlib.image import imread

import optdesign as od
from optdesign.report.printing import browser, headless_options

pytestmark = pytest.mark.skipif(browser() is None, reason="no browser is there")

#: A study whose every name is an attempt to be run.
STUDY = """
[model]
formula = "y ~ `<script>` + `a&b` + (1 | clinic)"
family = "poisson"
[nominal]
source = "<script>console.error('source')</script>"
beta = [1.0, -0.4, 0.1]
covariance = { clinic = 0.3 }
[space]
levels = { "<script>" = "clinic" }
replicates = [2, 6]
[space.candidates]
grid = { "<script>" = ["</svg><script>console.error('value')</script>", "b"], "a&b" = [0, 1, 2] }
[cost]
units = { clinic = 300 }
observation = 20
[goal]
criterion = "D"
budget = 9000
[test]
coefficient = "a&b"
power = 0.8
[report]
title = "</title><script>console.error('title')</script>"
unit = "<img src=x onerror=console.error('unit')>"
observation = "count"
currency = "<script>"
"""
FIGURES = 6
#: A frame as wide as a screen around the page, because windows have a least width; and where figures are in it.
PROBE = """<!DOCTYPE html><body style="margin: 0"><iframe style="border: 0; display: block" width={width} height=9000
srcdoc="{page}"></iframe><script>
document.querySelector("iframe").onload = event => {{
  const page = event.target.contentDocument, figures = [...page.querySelectorAll("svg")];
  const sides = b => [b.left, b.top, b.right, b.bottom].map(Math.round);
  const box = e => sides(e.getBoundingClientRect());
  document.body.dataset.probe = JSON.stringify({{
    figures: figures.map(box), unnamed: figures.filter(e => !e.getAttribute("aria-label")).length,
    scripts: page.scripts.length, images: page.images.length, wide: page.documentElement.scrollWidth,
  }});
}};
</script></body>"""
DARK = "--blink-settings=preferredColorScheme=0"


def run(page, folder, *options):
    """What a browser says on the way, and what it prints."""
    command = [browser(), *headless_options(str(folder / "profile")), "--hide-scrollbars", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, encoding="utf-8")
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    path = folder / "study.toml"
    path.write_text(STUDY, encoding="utf-8")
    return od.write_report(od.run_study(od.load_study(path)), folder / "report", also=["pdf"])


def probed(report, folder, width):
    page = folder / "probe.html"
    text = (report / "index.html").read_text(encoding="utf-8")
    page.write_text(PROBE.format(width=width, page=html.escape(text)), encoding="utf-8")
    dom, _ = run(page, folder, "--window-size=1000,9000", "--dump-dom")
    (found,) = re.findall(r'data-probe="([^"]*)"', dom)
    return json.loads(html.unescape(found))


@pytest.mark.parametrize("width", [1000, 390])
def test_every_figure_is_there_and_the_page_does_not_scroll_sideways(report, tmp_path, width):
    found = probed(report, tmp_path, width)
    assert len(found["figures"]) == FIGURES
    for left, top, right, bottom in found["figures"]:
        assert right - left > 0.6 * min(width, 576)
        assert bottom - top > 0.5 * (right - left)
        assert left >= 0
        assert right <= width
    assert found["wide"] <= width
    assert found["unnamed"] == 0


def test_nothing_the_user_wrote_is_run_or_loaded(report, tmp_path):
    found = probed(report, tmp_path, 1000)
    assert (found["scripts"], found["images"]) == (0, 0)
    _, said = run(report / "index.html", tmp_path, "--enable-logging=stderr", "--dump-dom")
    assert "CONSOLE" not in said
    control = tmp_path / "control.html"
    control.write_text("<script>console.error('heard')</script>", encoding="utf-8")
    assert "heard" in run(control, tmp_path, "--enable-logging=stderr", "--dump-dom")[1]


@pytest.mark.parametrize(("scheme", "paper"), [([], (255, 255, 255)), ([DARK], (20, 23, 28))])
def test_figures_are_drawn_in_light_and_in_dark(report, tmp_path, scheme, paper):
    boxes = probed(report, tmp_path, 1000)["figures"]
    picture = tmp_path / "page.png"
    run(report / "index.html", tmp_path, *scheme, "--window-size=1000,9000", f"--screenshot={picture}")
    pixels = np.rint(255 * imread(picture)[..., :3])
    assert tuple(pixels[5, 5]) == paper
    for left, top, right, bottom in boxes:
        inked = np.abs(pixels[top:bottom, left:right] - paper).max(axis=-1) > 60
        assert 0.005 < inked.mean() < 0.5


def test_the_pdf_has_pages(report):
    content = (report / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", content)) >= 4
