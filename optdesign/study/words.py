"""What a study asks for, in plain language, and the words that plans are told in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optdesign.designs import DesignSpace
    from optdesign.study.reading import Study


def plural(word: str) -> str:
    """The plural of an English noun, by the regular rules.

    >>> plural("patient"), plural("study"), plural("branch")
    ('patients', 'studies', 'branches')
    """
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def counted(number: float, word: str) -> str:
    """A number with its noun.

    >>> counted(1, "visit"), counted(2.5, "visit")
    ('1 visit', '2.5 visits')
    """
    return f"{number:,.6g} {word if number == 1 else plural(word)}"


def money(amount: float, currency: str) -> str:
    """An amount with its currency; cents only where there are any."""
    digits = 0 if abs(amount - round(amount)) < 0.005 else 2
    return f"{amount:,.{digits}f} {currency}".strip()


def values(at: Mapping[str, Any]) -> str:
    """Covariate values in a row.

    >>> values({"arm": "a", "dose": 0.25})
    'arm a, dose 0.25'
    """
    return ", ".join(f"{name} {_short(value)}" for name, value in at.items())


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def schedule(points: list[dict[str, Any]]) -> str:
    """Points of a unit with their times; one covariate is named once.

    >>> schedule([{"at": {"day": 0}, "times": 1.0}, {"at": {"day": 9}, "times": 2.0}])
    'day 0, 9 ×2'
    """
    if not points or not points[0]["at"]:
        return ""
    names = list(points[0]["at"])
    lead = f"{names[0]} " if len(names) == 1 else ""
    texts = [_short(p["at"][names[0]]) if lead else f"({values(p['at'])})" for p in points]
    times = ["" if p["times"] == 1 else f" ×{p['times']:.4g}" for p in points]
    return lead + ", ".join(f"{text}{many}" for text, many in zip(texts, times, strict=True))


def describe(study: Study, space: DesignSpace) -> Iterator[str]:
    """What a study asks for, in sentences."""
    tables = study.tables
    link = study.model.link_function.name
    yield f"Fitted will be {study.model.formula}, a {study.model.family} response with {link} link."
    source = tables.nominal.from_pilot
    yield "Nominal values are " + (f"fitted from {source}." if source else "stated in the study file.")
    yield from _choices(study, space)
    goal = tables.goal
    kind = goal.criterion if isinstance(goal.criterion, str) else goal.criterion.kind
    yield (
        f"Wanted is the {kind}-optimal design that {money(goal.budget, study.currency)} buys, by the {goal.order} "
        "covariance."
    )
    if tables.test is not None:
        aim = f" with power {tables.test.power:g}" if tables.test.power else ""
        yield f"It will test {tables.test.coefficient} ({tables.test.alternative}, level {tables.test.alpha:g}){aim}."


def _choices(study: Study, space: DesignSpace) -> Iterator[str]:
    points = space.candidates.points
    for name in points:
        level = f"per {study.unit}" if name in space.levels else f"per {study.observation}"
        distinct = list(dict.fromkeys(points[name].tolist()))
        shown = ", ".join(_short(v) for v in distinct) if len(distinct) <= 8 else f"{len(distinct)} values"
        between = "" if len(distinct) <= 8 else f" from {_short(min(distinct))} to {_short(max(distinct))}"
        yield f"Chosen {level} is {name}: {shown}{between}."
    if study.factor is not None:
        yield f"Chosen is the number of {plural(study.unit)}, {_range(space.count_bounds(study.factor))}."
    per = f" per {study.unit}" if study.factor else ""
    yield f"Chosen is the number of {plural(study.observation)}{per}, {_range(space.replicate_bounds)}."
    if space.observed is not None:
        names = ", ".join(map(str, space.observed.points))
        yield f"Observed, not chosen, is {names}, with {len(space.observed.points)} different values in its law."
    for share in space.constraints:
        yield f"The share with {share.condition} is between {share.at_least:g} and {share.at_most:g}."


def _range(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if low == high:
        return f"fixed at {low:g}"
    return f"{low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"


def proof(continuous: float, rounded: float) -> str:
    """What is proved about a plan, in a sentence; bounds are rounded down.

    >>> print(proof(0.99999999, 0.9976))
    Among all designs within the bounds and the budget, the continuous optimum is at least 99.9999 % efficient, and the
    plan in whole numbers at least 99.76 %.
    """
    optimum, plan = (math.floor(bound * 10**digits + 1e-9) for bound, digits in ((continuous, 6), (rounded, 4)))
    return (
        f"Among all designs within the bounds and the budget, the continuous optimum is at least {optimum / 1e4:.4f} % "
        f"efficient, and the plan in whole numbers at least {plan / 100:.2f} %."
    )
