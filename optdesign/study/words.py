"""Words and numbers that plans are told in; light, so that terminal, report and ``plan.json`` all speak alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

#: Probability above which a power is called just that.
CERTAIN = 0.999
#: What the designs of a comparison are called, and the column with what each would need to be as good.
PLAN, EQUAL, PILOT = "this plan", "equal allocation", "the pilot's design"
MONEY = "money for the precision of the plan"


def plural(word: str) -> str:
    """The plural of an English noun, by the regular rules.

    >>> plural("patient"), plural("study"), plural("branch")
    ('patients', 'studies', 'branches')
    """
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"


def counted(amount: float, word: str) -> str:
    """A number with its noun.

    >>> counted(1, "visit"), counted(2.5, "visit"), counted(1234567, "visit")
    ('1 visit', '2.5 visits', '1,234,567 visits')
    """
    shown = f"{amount:,.0f}" if abs(amount) >= 1e5 else f"{amount:,.6g}"
    return f"{shown} {word if shown == '1' else plural(word)}"


def money(amount: float, currency: str) -> str:
    """An amount with its currency; cents only where there are any.

    >>> money(1500, "EUR"), money(0.5, "EUR"), money(-1e-9, "EUR")
    ('1,500 EUR', '0.50 EUR', '0 EUR')
    """
    cents = round(amount, 2) + 0.0  # no minus sign on nothing
    return f"{cents:,.{0 if cents == round(cents) else 2}f} {currency}".strip()


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


def difference(share: float) -> str:
    """A relative difference as a percentage with its sign; no minus sign on nothing.

    >>> difference(0.0123), difference(-1e-6)
    ('+1.2 %', '+0.0 %')
    """
    return f"{round(100 * share, 1) + 0.0:+.1f} %"


def probability(value: float) -> str:
    """A power as a percentage; one that is as good as certain is not called certain.

    >>> probability(0.7243), probability(0.99999)
    ('72.4 %', '> 99.9 %')
    """
    return f"> {percent(CERTAIN, 1)}" if value > CERTAIN else percent(value, 1)


def at_least(share: float, digits: int) -> str:
    """A share as a percentage, rounded down: what is proved, not more.

    >>> at_least(0.99999999, 4), at_least(0.98, 2)
    ('99.9999 %', '98.00 %')
    """
    return percent(math.floor(share * 10 ** (digits + 2) + 1e-9) / 10 ** (digits + 2), digits)


def joined(parts: Sequence[str]) -> str:
    """Parts of a sentence, with commas and an *and*.

    >>> joined(["a", "b", "c"]), joined(["a"])
    ('a, b and c', 'a')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def value(given: Any) -> str:
    """A covariate value as a person would write it.

    >>> value(0.25), value(20240101), value(True), value("placebo")
    ('0.25', '20240101', 'True', 'placebo')
    """
    return f"{given:.6g}" if isinstance(given, (float, np.floating)) else str(given)


def values(at: Mapping[str, Any]) -> str:
    """``trt = placebo, dose = 0.5``."""
    return ", ".join(f"{name} = {value(v)}" for name, v in at.items())


def schedule(points: Sequence[Mapping[str, Any]]) -> str:
    """Points of a unit with their times; one covariate is named once.

    >>> schedule([{"at": {"day": 0}, "times": 1.0}, {"at": {"day": 9}, "times": 2.0}])
    'day = 0, 9 ×2'
    """
    if not points or not points[0]["at"]:
        return ""
    names = list(points[0]["at"])
    lead = f"{names[0]} = " if len(names) == 1 else ""
    texts = [value(p["at"][names[0]]) if lead else f"({values(p['at'])})" for p in points]
    times = ["" if p["times"] == 1 else f" ×{number(p['times'])}" for p in points]
    return lead + ", ".join(f"{text}{many}" for text, many in zip(texts, times, strict=True))


def hypothesis(coefficient: str, null: float, alternative: str, alpha: float) -> str:
    """The test in words.

    >>> hypothesis("trt", 0, "less", 0.025)
    'the one-sided test of trt = 0 (against trt < 0) at level 2.5 %'
    """
    sign = {"less": "<", "greater": ">"}.get(alternative)
    sides, against = ("one-sided", f" (against {coefficient} {sign} {value(null)})") if sign else ("two-sided", "")
    return f"the {sides} test of {coefficient} = {value(null)}{against} at level {100 * alpha:g} %"


def proof(continuous: float, rounded: float, scope: str = "") -> str:
    """What is proved about a plan, in a sentence; bounds are rounded down, and of a crossed plan have a scope.

    >>> print(proof(0.99999999, 0.9976))
    Among all designs within the bounds and the budget, the continuous optimum is at least 99.9999 % efficient, and the
    plan in whole numbers at least 99.76 %.
    >>> proof(math.nan, math.nan, "no bound is known for order 'refined' here")
    "No bound is known for order 'refined' here."
    """
    if math.isnan(continuous):
        return sentence([scope])
    reached = f"{at_least(continuous, 4)} efficient, and the plan in whole numbers at least {at_least(rounded, 2)}"
    if scope:
        return f"The continuous optimum is at least {reached}: {scope}."
    return f"Among all designs within the bounds and the budget, the continuous optimum is at least {reached}."


def at_most_better(efficiency_bound: float) -> str:
    """How much better any other design could be, rounded up.

    >>> at_most_better(0.9991)
    'No design within the bounds and the budget could be more than 0.1 % more efficient.'
    """
    gain = math.ceil(1000 * (1.0 / efficiency_bound - 1.0) - 1e-6) / 10
    return f"No design within the bounds and the budget could be more than {max(gain, 0.1):.1f} % more efficient."


def sentence(parts: Iterable[str]) -> str:
    """Parts as sentences of one paragraph, each ended and begun as one."""
    full = [part.strip() for part in parts if part.strip()]
    return " ".join(f"{p[0].upper()}{p[1:]}{'' if p.endswith(('.', '!', '?')) else '.'}" for p in full)
