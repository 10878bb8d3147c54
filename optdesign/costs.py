"""What units and observations cost, as numbers or as expressions in the covariates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, is_number, listed, values_at

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Price = float | str


@dataclass(frozen=True)
class Cost:
    """Prices of a design, all in one currency.

    Parameters
    ----------
    units : mapping from factor to price
        Price of one unit of each grouping factor: a number, or an expression in unit-level covariates such as
        ``"900 + 400*treat"`` or ``"900 + 400*(arm == 'active')"``.
    observation : number or expression
        Price of one observation; the expression may use any covariate.
    cell : number
        Price of one pair of units of two factors that meet: an observed cell of a crossed layout, an innermost unit of
        a nested one of two factors or more.
    fixed : number
        Price of having the study at all.

    Examples
    --------
    >>> Cost(units={"patient": "900 + 400*treat"}, observation=40.0)
    Cost(units={'patient': '900 + 400*treat'}, observation=40.0, cell=0.0, fixed=0.0)
    """

    units: Mapping[str, Price] = field(default_factory=dict)
    observation: Price = 0.0
    cell: float = 0.0
    fixed: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.units, Mapping):
            raise SpecificationError(f"cost: units must be a table of factor to price; got {self.units!r}.")
        prices = {**{f"units['{k}']": v for k, v in self.units.items()}, "observation": self.observation}
        numbers = {name: price for name, price in prices.items() if not isinstance(price, str)}
        for name, price in {**numbers, "cell": self.cell, "fixed": self.fixed}.items():
            if not (is_number(price) and price >= 0):
                raise SpecificationError(f"cost: {name} must be a finite number, not negative; got {price!r}.")
        object.__setattr__(self, "units", MappingProxyType(dict(self.units)))

    def __repr__(self) -> str:
        return (
            f"Cost(units={dict(self.units)}, observation={self.observation!r}, cell={self.cell!r}, "
            f"fixed={self.fixed!r})"
        )

    def of_units(self, factor: str, frame: pd.DataFrame) -> Array:
        """Price of one unit of `factor` at each row of covariates, shape (rows,)."""
        return _prices(self.units.get(factor, 0.0), frame, f"units['{factor}']")

    def of_observations(self, frame: pd.DataFrame) -> Array:
        """Price of one observation at each row of covariates, shape (rows,)."""
        return _prices(self.observation, frame, "observation")


def evaluate(expression: str, frame: pd.DataFrame, what: str) -> Array:
    """Value of an expression in the columns of `frame`, shape (rows,).

    Raises
    ------
    SpecificationError
        Where the expression cannot be read or names an unknown column.
    """
    try:
        with np.errstate(all="ignore"):  # a value that is not finite is reported with its place by whoever asked
            plain = frame.astype(dict.fromkeys(frame.select_dtypes("category"), object))
            value: Any = plain.eval(expression, engine="python")
        if np.ndim(value) > 1:  # pandas reads an assignment, and gives back the whole table
            raise SpecificationError("'=' gives a column a value; '==' asks whether two are equal")
        return np.broadcast_to(np.asarray(value, dtype=float), (len(frame),))
    except Exception as error:  # pandas raises many kinds here, none of them ours
        raise SpecificationError(
            f"{what}: the expression '{expression}' cannot be evaluated ({error}). It may use the columns "
            f"{listed(frame.columns)}, as in '900 + 400*treat'."
        ) from None


def holds(condition: str, frame: pd.DataFrame, what: str) -> Array:
    """One where a condition in the columns of `frame` holds, zero elsewhere, shape (rows,).

    Raises
    ------
    SpecificationError
        Where it cannot be read, or is no statement that holds or does not.
    """
    values = evaluate(condition, frame, what)
    if not np.isin(values, (0.0, 1.0)).all():
        raise SpecificationError(
            f"{what}: '{condition}' is not a statement that holds or does not: write a comparison, such as "
            "'treat == 0'."
        )
    return values


def _prices(price: Price, frame: pd.DataFrame, what: str) -> Array:
    values = evaluate(price, frame, f"cost: {what}") if isinstance(price, str) else np.full(len(frame), float(price))
    if not (np.isfinite(values).all() and (values >= 0).all()):
        row = int(np.flatnonzero(~(np.isfinite(values) & (values >= 0)))[0])
        raise SpecificationError(
            f"cost: {what} = '{price}' is {values[row]} at {values_at(frame, row)}; a price is finite and not negative."
        )
    return values
