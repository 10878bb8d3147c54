"""How the units of the grouping factors lie to each other."""

from __future__ import annotations

from dataclasses import dataclass

from optdesign.errors import SpecificationError, listed


@dataclass(frozen=True, init=False)
class Nested:
    """Units of each factor are private to one unit of the factor before it.

    Parameters
    ----------
    *factors : str
        Grouping factors, outermost first.

    Examples
    --------
    >>> Nested("patient")
    Nested('patient')
    """

    factors: tuple[str, ...]

    def __init__(self, *factors: str) -> None:
        if not factors or not all(isinstance(f, str) and f for f in factors) or len(set(factors)) != len(factors):
            raise SpecificationError(f"Nested needs distinct factor names, outermost first; got {listed(factors)}.")
        object.__setattr__(self, "factors", factors)

    def __repr__(self) -> str:
        return f"Nested({', '.join(map(repr, self.factors))})"


@dataclass(frozen=True, init=False)
class Crossed:
    """Units of the second factor are shared by all units of the first: every row may meet every column.

    Parameters
    ----------
    row, column : str
        The two grouping factors; a random term for their cells is written ``(1 | row:column)``.

    Examples
    --------
    >>> Crossed("subject", "item").cell
    'subject:item'
    """

    factors: tuple[str, str]

    def __init__(self, row: str, column: str) -> None:
        if row == column or not all(isinstance(f, str) and f for f in (row, column)):
            raise SpecificationError(f"Crossed needs two distinct factor names; got {listed((row, column))}.")
        object.__setattr__(self, "factors", (row, column))

    @property
    def cell(self) -> str:
        """Name of the factor of cells, one per observed pair of a row and a column."""
        return ":".join(self.factors)

    def __repr__(self) -> str:
        return f"Crossed({', '.join(map(repr, self.factors))})"


Layout = Nested | Crossed
