"""The figures of a report: which there are, in files, and inline in a page whose colours they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from optdesign import plotting
from optdesign.study import telling, words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from optdesign.study import StudyResult

#: Colours of a figure, and the page's names for them, which change with light and dark.
THEME = {
    plotting.INK: "var(--ink)",
    plotting.MUTED: "var(--muted)",
    plotting.FAINT: "var(--rule)",
    plotting.PAPER: "var(--paper)",
    **{colour: f"var(--series-{i})" for i, colour in enumerate(plotting.SERIES, start=1)},
}


@dataclass(frozen=True)
class Sketch:
    """A figure to be drawn: file name, caption, what it shows to those who do not see it, and how."""

    name: str
    caption: str
    description: str
    draw: Callable[[Axes], Axes]


@dataclass(frozen=True)
class Picture:
    """A figure as it stands in the page."""

    caption: str
    svg: Markup


def write(result: StudyResult, folder: Path) -> dict[str, Picture]:
    """Every figure there is data for, as SVG and PNG in `folder`, and inline by name."""
    folder.mkdir()
    pictures = {}
    for sketch in sketches(result):
        figure, ax = plotting.new_axes()
        sketch.draw(ax)
        svg, _ = plotting.save(figure, folder / sketch.name)
        text = svg.read_text(encoding="utf-8")
        pictures[sketch.name] = Picture(sketch.caption, inline(text, sketch.name, sketch.description))
    return pictures


def sketches(result: StudyResult) -> list[Sketch]:
    """The figures that the result has data for."""
    return [_plan(result), _certificate(result), *_budget_line(result), *_surface(result), *_power(result)]


def _plan(result: StudyResult) -> Sketch:
    design, study = result.best.rounded.design, result.study
    caption = f"{words.plural(study.observation)} of one {study.unit} of each group, by covariate point."
    return Sketch(
        "design",
        caption[0].upper() + caption[1:],
        telling.plan(design, study.unit, study.observation),
        lambda ax: plotting.design_measure(ax, design, **_axes_labels(result)),
    )


def _certificate(result: StudyResult) -> Sketch:
    certificate = result.best.certificate
    used = int((certificate.sensitivities["mass"] > 0).sum())
    return Sketch(
        "sensitivity",
        "The proof: the ratio of sensitivity to price is nowhere above the bound, and on it wherever the design is.",
        f"Ratio of sensitivity to price at {len(certificate.sensitivities)} candidates. The largest is "
        f"{certificate.worst_ratio:.6f}; it is reached at the {used} that the design uses.",
        lambda ax: plotting.sensitivity(ax, certificate),
    )


def _axes_labels(result: StudyResult) -> dict[str, str]:
    study = result.study
    return {
        "units": words.plural(study.unit),
        "replicates": f"{words.plural(study.observation)} per {study.unit}",
    }


def _budget_line(result: StudyResult) -> list[Sketch]:
    frame, labels = result.budget_line, _axes_labels(result)
    if frame is None or len(frame) < 2:
        return []
    optimum = result.best.design
    sizes = {round(group.replicates, 3) for group in optimum.groups}
    differ = " The optimum gives its groups different numbers, and stands at their mean." if len(sizes) > 1 else ""
    return [
        Sketch(
            "budget-line",
            f"All of these cost the same: the best design with each number of {labels['replicates']}. Along the top, "
            f"the {labels['units']} that the budget then buys.{differ}",
            f"Efficiency against {labels['replicates']}: highest near "
            f"{words.number(optimum.observations / optimum.units)}, {words.percent(frame['efficiency'].iloc[0])} at "
            f"{words.number(frame['replicates'].iloc[0])} and {words.percent(frame['efficiency'].iloc[-1])} at "
            f"{words.number(frame['replicates'].iloc[-1])}.",
            lambda ax: plotting.budget_line(ax, frame, optimum, **labels),
        )
    ]


def _surface(result: StudyResult) -> list[Sketch]:
    surface, labels, best = result.surface, _axes_labels(result), result.best
    if surface is None:
        return []
    frame = surface.frame
    affordable = frame[frame["spend"] <= best.budget]
    held_back = bool((affordable["efficiency"] > 1.0 + 1e-6).any())
    remark = (
        "Where the line passes through more than 100 %, the optimum's proportions would break a bound of the study."
        if held_back
        else "The line touches the contour of 100 % at the optimum: better designs cost more."
    )
    return [
        Sketch(
            "surface",
            f"Efficiency over the numbers of {labels['units']} and of {labels['replicates']}, in the optimum's "
            f"proportions, and the line of designs that cost the whole budget. {remark}",
            f"Contours of efficiency. The optimum is {words.number(best.design.units)} {labels['units']} with "
            f"{words.number(best.design.observations / best.design.units)} {labels['replicates']} on average.",
            lambda ax: plotting.criterion_surface(ax, surface, first=labels["units"], second=labels["replicates"]),
        )
    ]


def _power(result: StudyResult) -> list[Sketch]:
    frame, test = result.power_curves, result.study.tables.test
    if frame is None or test is None:
        return []
    planned, word = telling.size(result)
    unit = words.plural(word)
    at_plan = words.joined([f"{words.probability(p)} by the order {order}" for order, p in result.power.items()])
    return [
        Sketch(
            "power",
            f"Power against the number of {unit}, in the plan's proportions. The gap between the orders is what a "
            "calculation misses that leaves the observations per unit out.",
            f"Power rises with the number of {unit}. At the plan's {words.number(planned)} it is {at_plan}.",
            lambda ax: plotting.power_curves(ax, frame, planned, test.power, units=unit),
        )
    ]


def inline(svg: str, name: str, description: str) -> Markup:
    """A file's SVG as an element of a page: no prologue, ids of its own, the page's colours, and a description."""
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'href="#', f'href="#{name}-', body)
    body = re.sub(r"url\(#", f"url(#{name}-", body)
    body = re.sub(rf"(?<=: )({'|'.join(THEME)})\b", lambda found: THEME[found.group()], body)
    body = re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"', r"<svg \1", body)
    return Markup(body.replace("<svg ", f'<svg role="img" aria-label="{escape(description)}" ', 1))
