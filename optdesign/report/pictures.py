"""Figures as files, and inline in a page whose colours they take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from optdesign import plotting
from optdesign.report.sketches import Sketch

#: Colours of a figure, and the page's names for them, which change with light and dark.
THEME = {
    plotting.INK: "var(--ink)",
    plotting.MUTED: "var(--muted)",
    plotting.FAINT: "var(--rule)",
    plotting.PAPER: "var(--paper)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(plotting.SERIES, start=1)},
}


def write(figures: Sequence[Sketch], folder: Path) -> dict[str, Markup]:
    """Every figure as SVG and PNG in `folder`, and inline by name."""
    folder.mkdir()
    pictures = {}
    for sketch in figures:
        figure, ax = plotting.new_axes()
        sketch.draw(ax)
        svg, _ = plotting.save(figure, folder / sketch.name)
        pictures[sketch.name] = inline(svg.read_text(encoding="utf-8"), sketch.name, sketch.description)
    return pictures


def inline(svg: str, name: str, description: str) -> Markup:
    """A file's SVG as an element of a page: no prologue, ids of its own, the page's colours, and a description."""
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(rf"(?<=: )({'|'.join(THEME)})\b", lambda found: THEME[found.group()], body)
    body = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", body)
    return Markup(body.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1))
