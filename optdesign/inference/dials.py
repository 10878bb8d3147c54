"""What a sample size may be: a design's counts, replicates and money, each varied with the rest held."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optdesign.costs import Cost
from optdesign.designs import Design
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.layouts import Crossed

#: Multiple of a design's number that stands for infinity.
MANY = 1e6
#: Largest whole number that a sample-size search tries.
LARGEST = 2**50


@dataclass(frozen=True, eq=False)
class Dial:
    """One number of a design.

    Attributes
    ----------
    name : str
        A factor, ``"replicates"`` or ``"budget"``.
    lowest, highest : int
        Whole numbers that are tried.
    scaling : callable
        From a value of the number to the arguments of `Design.scaled` that give the design it.
    """

    name: str
    lowest: int
    highest: int
    scaling: Callable[[float], Mapping[str, Any]]


def dial_names(design: Design) -> tuple[str, ...]:
    """Numbers of a design that may be varied."""
    return (*(design.layout.factors if design.layout else ()), "replicates")


def dial_of(design: Design, name: str, cost: Cost | None = None) -> Dial:
    """The dial of a name.

    Raises
    ------
    SpecificationError
        For an unknown name, or a budget without prices.
    """
    known = [*dial_names(design), "budget"]
    if name not in known:
        raise SpecificationError(
            f"solve_for='{name}' is not known.{nearest(str(name), known)} Solve for one of {listed(known)}."
        )
    if name == "budget":
        return _budget(design, cost)
    now = size_of(design, name)
    if name == "replicates":
        highest = LARGEST if design.layout is None else math.ceil(MANY * now)
        return Dial(name, 1, highest, lambda n: {"replicates": n / now})
    if not isinstance(design.layout, Crossed) and name == dial_names(design)[0]:
        return Dial(name, 1, LARGEST, lambda n: {"counts": n / now})
    return Dial(name, _lowest(design, name), math.ceil(MANY * now), lambda n: {"counts": {name: n / now}})


def size_of(design: Design, name: str) -> float:
    """The present value of a count: units in all of an outermost or crossed factor, units of an inner factor per unit
    of the factor before it on average, and replicates per innermost unit or observed cell, on average."""
    if name == "replicates":
        return design.observations / _holders(design)
    factors = dial_names(design)
    at = factors.index(name)
    inner = at > 0 and not isinstance(design.layout, Crossed)
    return design.counts[name] / (design.counts[factors[at - 1]] if inner else 1.0)


def _holders(design: Design) -> float:
    """What observations are counted in: cells, innermost units, or nothing."""
    if design.crossing is not None:
        return design.crossing.cells
    return design.counts[design.layout.factors[-1]] if design.layout else 1.0


def _lowest(design: Design, name: str) -> int:
    """Fewest units at which each unit of the other crossed factor is still in a cell."""
    if design.crossing is None:
        return 1
    return math.ceil(design.counts[name] * max(design.counts.values()) / design.crossing.cells - 1e-9)


def _budget(design: Design, cost: Cost | None) -> Dial:
    """Money spent on more units: of a crossed design on rows and columns alike, whose cells grow with the square."""
    if cost is None:
        raise SpecificationError("solve_for='budget' needs cost=, the prices of units and observations: Cost(…).")
    variable = design.spend(cost) - cost.fixed
    if variable <= 0:
        raise SpecificationError(
            f"{cost!r} prices no unit and no observation of the design, so no budget limits it: give units= or "
            "observation= a price."
        )
    square = 0.0
    if isinstance(design.layout, Crossed):
        square = max(0.0, (design.scaled(counts=2.0).spend(cost) - cost.fixed - 2.0 * variable) / 2.0)
    part, linear = "counts" if design.layout else "replicates", variable - square

    def scaling(money: float) -> dict[str, float]:
        left = money - cost.fixed
        return {part: 2.0 * left / (linear + math.sqrt(linear**2 + 4.0 * square * left))}

    return Dial("budget", math.floor(cost.fixed) + 1, LARGEST, scaling)
