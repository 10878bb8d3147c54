"""A plan in plain language: sentences that state what to do, what it buys and what was assumed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optdesign.designs import Design, Group
from optdesign.study.words import counted, money, plural

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["counted", "money", "plural"]

#: Points of a unit's schedule that a sentence lists; more are left to the table.
MOST_POINTS = 5
#: Relative difference of standard errors, by orders that should agree, above which asymptotics are in doubt: a tenth
#: of the variance.
DOUBTFUL = math.sqrt(1.1) - 1.0
#: Probability above which a power is called just that.
CERTAIN = 0.999

NEGLECTED = {
    "leading": "what the observations per unit add to the leading term is left out",
    "two-term": "terms of order 1/(m n²) and 1/m² are neglected, in m units of n observations",
    "averaged": "terms of order 1/(m n²) and 1/m² are neglected in part, in m units of n observations",
    "exact": "nothing is neglected, for a Gaussian model with known variance components",
}


# Words and numbers


def number(value: float) -> str:
    """Three significant digits, whole numbers in full.

    >>> [number(v) for v in (78.0, 99960, 0.13, 12.345, 12345.6, 0.00001234)]
    ['78', '99,960', '0.130', '12.3', '12,346', '1.23e-05']
    """
    if not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "minus infinity"}.get(value, "not known")
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if abs(value) >= 1e-4 else f"{value:.3g}"


def percent(share: float, digits: int = 0) -> str:
    """A share as a percentage.

    >>> percent(0.7243), percent(0.9991, 1)
    ('72 %', '99.9 %')
    """
    return f"{100 * share:.{digits}f} %"


def probability(value: float) -> str:
    """A power as a percentage; one that is as good as certain is not called certain.

    >>> probability(0.7243), probability(0.99999)
    ('72.4 %', '> 99.9 %')
    """
    return f"> {percent(CERTAIN, 1)}" if value > CERTAIN else percent(value, 1)


def at_least(share: float, digits: int) -> str:
    """A share as a percentage, rounded down: what is proved, not more.

    >>> at_least(0.99999999, 4)
    '99.9999 %'
    """
    return percent(math.floor(share * 10 ** (digits + 2)) / 10 ** (digits + 2), digits)


def joined(parts: Sequence[str]) -> str:
    """Parts of a sentence, with commas and an *and*.

    >>> joined(["a", "b", "c"]), joined(["a"])
    ('a, b and c', 'a')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def value(given: Any) -> str:
    """A covariate value as a person would write it."""
    return f"{given:.6g}" if isinstance(given, (int, float, np.number)) else str(given)


def values(at: Mapping[str, Any]) -> str:
    """``trt = placebo, dose = 0.5``."""
    return ", ".join(f"{name} = {value(v)}" for name, v in at.items())


# The plan


def plan(design: Design, unit: str, observation: str) -> str:
    """What to do: how many of each kind of unit, with how many observations, where."""
    if design.layout is None:
        where = "".join(_where(g, g.count) for g in design.groups)
        return f"Make {counted(design.observations, observation)}{where}"
    nouns = [unit, *[""] * (len(design.groups) - 1)]
    return f"Enrol {joined([_group(g, noun, observation) for g, noun in zip(design.groups, nouns, strict=True)])}"


def _group(group: Group, noun: str, observation: str) -> str:
    who = counted(group.count, noun) if noun else number(group.count)
    kind = f" ({values(group.at)})" if group.at else ""
    each = " each" if group.count != 1 else ""
    return f"{who}{kind} with {counted(group.replicates, observation)}{each}{_where(group, 1.0)}"


def _where(group: Group, units: float) -> str:
    points = group.measure.points
    if points.shape[1] == 0:
        return ""
    if len(points) > MOST_POINTS:
        return f" at {len(points)} points"
    times = units * group.replicates * group.measure.weights
    parts = [values(dict(zip(points.columns, row, strict=True))) for row in points.itertuples(index=False)]
    if len(parts) == 1:
        return f" at {parts[0]}"
    if np.allclose(times, 1.0):
        return f" ({'; '.join(parts)})"
    return f" ({', '.join(f'{number(k)} at {p}' for k, p in zip(times, parts, strict=True))})"


def totals(design: Design, unit: str, observation: str) -> str:
    """``78 patients, 384 visits``."""
    observations = counted(design.observations, observation)
    return f"{counted(design.units, unit)}, {observations}" if design.layout else observations


# What it buys


def precision(frame: pd.DataFrame, order: str, coefficient: str | None) -> str:
    """The standard error of the coefficient of interest, or of all of them."""
    errors = {str(name): number(float(se)) for name, se in frame[order].items()}
    if coefficient is not None:
        error = errors[coefficient]
        return f"The coefficient {coefficient} is then estimated with a standard error of {error} ({order} order)"
    parts = [f"{se} for {name}" for name, se in errors.items()]
    return f"The standard errors ({order} order) are then {joined(parts)}"


def regime(errors: Mapping[str, float], coefficient: str) -> str:
    """What the standard errors of a coefficient by each order say about the asymptotics."""
    first = f"The finite number of observations per unit changes the standard error of {coefficient} by a factor of "
    first += f"{number(errors['ratio'])}, from the leading order, which a calculation that counts only units gives, to "
    first += "the two-term order"
    other = "exact" if "exact" in errors else "averaged"
    if other not in errors:
        return sentence([first])
    apart = abs(errors[other] / errors["two-term"] - 1.0)
    second = f"The {other} order differs from the two-term order by {percent(apart, 1)}"
    if apart <= DOUBTFUL:
        return sentence([first, f"{second}: the asymptotics hold at this size"])
    return sentence([first, f"{second}: the asymptotics are doubtful at this size, so check the plan by simulation"])


def certificate(bound: float, rounded: float, unit: str) -> str:
    """The equivalence theorem in one sentence, for the optimum and for the plan in whole numbers."""
    return (
        f"Money spent on any candidate point, or on one more {unit}, gains no more than the same money spent on what "
        "the design already uses: the ratio of sensitivity to price, which budget and bounds set, is nowhere above "
        "one, and one on everything in the design. By the equivalence theorem the continuous optimum is therefore at "
        f"least {at_least(bound, 4)} efficient among all admissible designs, and the plan in whole numbers at least "
        f"{at_least(rounded, 2)}."
    )


def at_most_better(efficiency_bound: float) -> str:
    """How much better any other design could be, rounded up.

    >>> at_most_better(0.9991)
    'No design within the bounds and the budget could be more than 0.1 % more efficient.'
    """
    gain = math.ceil(1000 * (1.0 / efficiency_bound - 1.0) - 1e-6) / 10
    return f"No design within the bounds and the budget could be more than {max(gain, 0.1):.1f} % more efficient."


def hypothesis(coefficient: str, null: float, alternative: str, alpha: float) -> str:
    """The test in words.

    >>> hypothesis("trt", 0, "less", 0.025)
    'the one-sided test of trt = 0 (against less) at level 2.5 %'
    """
    sides, against = ("two-sided", "") if alternative == "two-sided" else ("one-sided", f" (against {alternative})")
    return f"the {sides} test of {coefficient} = {value(null)}{against} at level {100 * alpha:g} %"


def sentence(parts: Iterable[str]) -> str:
    """Parts as sentences of one paragraph, each ended and begun as one."""
    full = [part.strip() for part in parts if part.strip()]
    return " ".join(f"{p[0].upper()}{p[1:]}{'' if p.endswith(('.', '!', '?')) else '.'}" for p in full)
