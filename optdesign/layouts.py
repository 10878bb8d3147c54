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
        if not factors or len(set(factors)) != len(factors) or not all(isinstance(f, str) and f for f in factors):
            raise SpecificationError(f"Nested needs distinct factor names, outermost first; got {listed(factors)}.")
        object.__setattr__(self, "factors", factors)

    def __repr__(self) -> str:
        return f"Nested({', '.join(map(repr, self.factors))})"


Layout = Nested
