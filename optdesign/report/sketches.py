"""The figures of a report: which there are, what they show, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optdesign import plotting
from optdesign.study import telling, words
from optdesign.tradeoffs import Robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from optdesign.study import StudyResult


@dataclass(frozen=True)
class Sketch:
    """A figure to be drawn: file name, caption, what it shows to those who do not see it, and how."""

    name: str
    caption: str
    description: str
    draw: Callable[[Axes], Axes]


def sketches(result: StudyResult) -> list[Sketch]:
    """The figures that the result has data for."""
    always = [_plan(result), _certificate(result)]
    return [*always, *_robustness(result), *_budget_line(result), *_surface(result), *_power(result)]


def _plan(result: StudyResult) -> Sketch:
    design, study = result.best.rounded.design, result.study
    caption = f"{words.plural(study.observation)} of one {study.holder} of each group, by covariate point."
    return Sketch(
        "design",
        caption[0].upper() + caption[1:],
        telling.plan(design, study.unit, study.observation),
        lambda ax: plotting.design_measure(ax, design, **_axes_labels(result)),
    )


def _certificate(result: StudyResult) -> Sketch:
    certificate = result.best.certificate
    subject = "number is within its bounds" if result.study.crossed else "design is"
    used = int((certificate.sensitivities["mass"] > 0).sum())
    return Sketch(
        "sensitivity",
        f"The proof: the ratio of sensitivity to price is nowhere above the bound, and on it wherever the {subject}.",
        f"Ratio of sensitivity to price at {len(certificate.sensitivities)} candidates. The largest is "
        f"{certificate.worst_ratio:.6f}; it is reached at the {used} that the design uses.",
        lambda ax: plotting.sensitivity(ax, certificate),
    )


def _axes_labels(result: StudyResult) -> dict[str, str]:
    study = result.study
    return {
        "units": words.plural("cell" if study.crossed else study.unit),
        "replicates": f"{words.plural(study.observation)} per {study.holder}",
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


def _robustness(result: StudyResult) -> list[Sketch]:
    frame = result.doubts
    if frame.empty:
        return []
    columns = ("parameter", "nominal", "efficiency")
    rows = zip(frame["parameter"], frame["value"], frame["efficiency"], strict=True)
    found = Robustness(tuple(dict(zip(columns, row, strict=True)) for row in rows))
    return [
        Sketch(
            "robustness",
            "Efficiency of the plan where one nominal value is wrong, relative to the best design for the true values: "
            "the shorter the line, the less is lost.",
            f"Efficiency in {len(frame)} cases, the smallest {words.percent(found.worst)} and the largest "
            f"{words.percent(float(frame['efficiency'].max()))}.",
            lambda ax: plotting.robustness_profile(ax, found),
        )
    ]
