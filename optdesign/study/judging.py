"""What is said of how far to trust a plan: the asymptotics, wrong nominal values, and other designs for the money."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from optdesign.study import telling
from optdesign.study.words import (
    EQUAL,
    MONEY,
    counted,
    difference,
    money,
    number,
    percent,
    plural,
    probability,
    sentence,
)

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.study.reading import Study
    from optdesign.study.result import StudyResult

#: Relative error of a variance up to which an order is called good, and up to which care will do.
GOOD, CARE = 0.1, 0.25
NOTHING_NEGLECTED = "Nothing is neglected: the covariance by which the plan is chosen is exact, if the model is true"
SIMULATE = "Check the plan by simulation: optdesign simulate."
#: Units below which the normal approximation to a test statistic is itself in doubt.
FEW = 10


@dataclass(frozen=True)
class Light:
    """A traffic light, in words too: colours alone tell nobody who cannot see them.

    Attributes
    ----------
    colour : str
        "green", "amber" or "red".
    word : str
    text : str
        Why, a sentence.
    """

    colour: str
    word: str
    text: str


def compared_with(result: StudyResult) -> str | None:
    """The order that the one used is compared with: exact where there is one, otherwise another of two terms."""
    used = result.best.order
    better = ["exact", *(["averaged"] if used == "two-term" else ["two-term"])]
    return next((order for order in better if order in result.precision and order != used), None)


def off_by(result: StudyResult, other: str) -> pd.Series[float]:
    """Relative difference of each variance by the order used from that by another order."""
    errors = result.precision.astype(float)
    return (errors[result.best.order] / errors[other]) ** 2 - 1.0


def asymptotics_light(result: StudyResult) -> Light:
    """Whether the asymptotics hold at the plan, for the coefficient of interest or the worst one."""
    best, other = result.best, compared_with(result)
    if not best.model.factors or best.order == "exact":
        return Light("green", "good", f"{NOTHING_NEGLECTED}.")
    if other is None:
        return Light("amber", "take care", f"There is no other order to compare with. {SIMULATE}")
    off = off_by(result, other)
    name = result.coefficient or str(off.abs().fillna(np.inf).idxmax())
    text = (
        f"By the {best.order} order, by which the plan is chosen, the variance of {name} is {difference(off[name])} "
        f"from that by the {other} order."
    )
    return _light(float(abs(off[name])), text, best.rounded.design.units, result.study.unit)


def _light(off: float, text: str, units: float, unit: str) -> Light:
    if not off <= CARE:
        return Light("red", "do not rely on this", f"{text} {SIMULATE}")
    if off > GOOD:
        return Light("amber", "take care", f"{text} {SIMULATE}")
    if units < FEW:
        return Light("amber", "take care", f"{text} But with {counted(units, unit)} a test may not hold its level.")
    return Light("green", "good", text)


def certificate(result: StudyResult) -> str:
    """What is proved, and why, in one sentence."""
    proof = telling.proof_of(result)
    if math.isnan(result.best.certificate.efficiency_bound):
        return proof
    return f"{proof.removesuffix('.')}, because {_reason(result.study)}."


def _reason(study: Study) -> str:
    """The equivalence theorem in words; of crossed designs, convexity."""
    if study.crossed:
        return (
            "in the logarithms of the numbers of units, cells and replicates the loss is convex, and the set that the "
            "money buys, too: the derivative in each number is what budget and bounds set as its price"
        )
    further = f", or on one more {study.unit}," if study.factor else ""
    return (
        f"money spent on any candidate point{further} gains no more than on what the design already uses (the ratio of "
        "sensitivity to price, which budget and bounds set, is nowhere above one, and one on everything in the "
        "design): the equivalence theorem"
    )


def doubts(result: StudyResult) -> str:
    """How much is lost where the nominal values are wrong, and where power is least."""
    rows = result.doubts.to_dict("records")
    worst = min(rows, key=lambda row: float(row["efficiency"]))
    said = [
        f"Each row has one nominal value wrong, all others as believed. The plan keeps at least "
        f"{percent(worst['efficiency'])} efficiency, relative to the best design for the true values; it is least for "
        f"{worst['parameter']} {worst['value']}"
    ]
    if "power" in result.doubts:
        least = min(rows, key=lambda row: float(row["power"]))
        said.append(
            f"What is wrong may matter more to power than to which design is best: it is least, "
            f"{probability(least['power'])}, for {least['parameter']} {least['value']}"
        )
    return sentence(said)


def alternatives(result: StudyResult) -> str:
    """What each other design would reach, and need."""
    frame, currency = result.alternatives, result.study.currency
    said = []
    for row in frame.iloc[1:].to_dict("records"):
        text = f"{row['design']} is {percent(row['efficiency'])} efficient for the same money"
        if (needed := row.get(MONEY)) is not None:
            text += f", and for the plan's precision it would need {money(round(needed), currency)}"
        said.append(text)
    what = f"{plural(result.study.unit)}" if result.study.factor else plural(result.study.observation)
    return sentence([*said, f"Other designs are counted in fractions of {what}, and not held to bounds"])


def saving(result: StudyResult) -> str:
    """What equal allocation would need for the same precision; nothing where it is not dearer, or not known."""
    rows = result.alternatives.to_dict("records")
    needed = next((row.get(MONEY) for row in rows if row["design"] == EQUAL), None)
    if needed is None or round(needed) <= round(result.best.rounded.spend):
        return ""
    return f"For the same precision, {EQUAL} would need {money(round(needed), result.study.currency)}"


def references(result: StudyResult) -> list[str]:
    """The publications that a plan rests on."""
    best = result.best
    found = [
        "Kiefer, J. and Wolfowitz, J. (1960). The equivalence of two extremum problems. Canadian Journal of "
        "Mathematics 12, 363–366.",
        "Atkinson, A. C., Donev, A. N. and Tobias, R. D. (2007). Optimum Experimental Designs, with SAS. Oxford "
        "University Press.",
        "Fedorov, V. V. and Leonov, S. L. (2013). Optimal Design for Nonlinear Response Models. CRC Press.",
    ]
    if best.model.factors:
        found += [
            "Jiang, J., Wand, M. P. and Bhaskaran, A. (2022). Usable and precise asymptotics for generalized linear "
            "mixed model analysis. Journal of the Royal Statistical Society B 84, 55–82.",
            "Maestrini, L., Bhaskaran, A. and Wand, M. P. (2024). Second term improvement to generalized linear mixed "
            "model asymptotics. Biometrika 111, 1077–1084.",
        ]
    return found


def shown(value: object) -> str:
    """A cell of a table of mixed kinds."""
    return number(float(value)) if isinstance(value, (int, float, np.number)) else str(value)
