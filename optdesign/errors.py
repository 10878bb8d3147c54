"""Errors and warnings. Every message says what was wrong, what was got, what is needed and what to do."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    import pandas as pd


class OptDesignError(Exception):
    """Root of every error this package raises on purpose."""


class SpecificationError(OptDesignError, ValueError):
    """What was asked is not well formed: an unknown name, a wrong shape, a value out of range."""


class UnknownParameterError(SpecificationError):
    """A name that none of the parameters at hand has."""


class InfeasibleBudgetError(OptDesignError):
    """The budget cannot buy the smallest admissible design.

    Attributes
    ----------
    price : float
        Price of the cheapest admissible design, in the units of the cost; ``nan`` where none exists.
    """

    def __init__(self, message: str, price: float = float("nan")) -> None:
        super().__init__(message)
        self.price = price


class NotEstimableError(OptDesignError):
    """Some coefficients cannot be estimated from any admissible design.

    Attributes
    ----------
    coefficients : tuple of str
        Their names.
    """

    def __init__(self, message: str, coefficients: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.coefficients = coefficients


class ConvergenceError(OptDesignError):
    """An iteration stopped before its tolerance.

    Attributes
    ----------
    best : object or None
        The best design found, where there is one.
    bound : float
        Its efficiency bound (``nan`` where there is none).
    """

    def __init__(self, message: str, best: object = None, bound: float = float("nan")) -> None:
        super().__init__(message)
        self.best = best
        self.bound = bound


class AsymptoticRegimeWarning(UserWarning):
    """The order used differs by more than 10 % from the best order available at the design."""


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite real number (True and False are not).

    >>> is_number(1.5), is_number(float("nan")), is_number("1")
    (True, False, False)
    """
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def check_kind(what: str, value: object, *kinds: type, instead: str = "") -> None:
    """A value of the wrong kind is named, with the kind that is needed.

    >>> check_kind("layout", "clinic", str)
    """
    if not isinstance(value, kinds):
        needed = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        call = f" Write {value.__name__}(…)." if isinstance(value, type) and issubclass(value, kinds) else ""
        raise SpecificationError(f"{what} must be {instead or needed}; got {value!r:.80}.{call}")


def values_at(frame: pd.DataFrame, row: int) -> dict[str, object]:
    """The values in one row of a table as plain numbers and text, for a message to show.

    >>> import pandas as pd
    >>> values_at(pd.DataFrame({"treat": [0, 1], "arm": ["a", "b"]}), 1)
    {'treat': 1, 'arm': 'b'}
    """
    (record,) = frame.iloc[[row]].to_dict("records")
    return {str(name): value for name, value in record.items()}


def nearest(name: str, known: Iterable[object]) -> str:
    """`` Did you mean 'x'?`` for the closest known name, or an empty string.

    >>> nearest("bugdet", ["budget", "order"])
    " Did you mean 'budget'?"
    """
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1)
    return f" Did you mean '{close[0]}'?" if close else ""


def listed(names: Iterable[object]) -> str:
    """Names in quotes, separated by commas; ``(none)`` where there are none.

    >>> listed(["a", "b"])
    "'a', 'b'"
    """
    return ", ".join(f"'{n}'" for n in names) or "(none)"
