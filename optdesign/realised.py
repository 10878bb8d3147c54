"""Designs in whole numbers, observation by observation: what is set at each, and the units it is made on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.designs import Design
from optdesign.errors import SpecificationError
from optdesign.layouts import Crossed
from optdesign.listing import crossed_listing
from optdesign.units import Crossing, LabelledPoints, Labels

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: What a sum of shares may fall short of a whole number by rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Realised:
    """A design in whole numbers.

    Attributes
    ----------
    points : DataFrame
        Distinct values of the covariates that are set.
    point : integer array, shape (N,)
        The point at which each observation is made.
    units : mapping from factor to integer array, shape (N,)
        The unit of each factor of the layout that it is made on.
    """

    points: pd.DataFrame
    point: Index
    units: Mapping[str, Index]


def realised(design: Design, seed: int = 0) -> Realised:
    """A design as exactly as whole numbers allow: every number is the expected one, rounded up or down.

    In a nested layout kinds of unit, the units within a unit and its observations at each point are dealt out by
    systematic sampling, so that their totals over units are the expected ones too. In a crossed layout what is set is
    spread evenly over rows and columns.

    Parameters
    ----------
    design : Design
    seed : int
        Of an incidence that the design does not give.

    Raises
    ------
    SpecificationError
        For a design that rounds to no observation.

    Examples
    --------
    Five observations at two points with equal weights, in each of four units:

    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> design = Design(Nested("unit"), counts={"unit": 4}, replicates=5, measure=Measure.grid(x=[0, 1]))
    >>> found = realised(design)
    >>> [np.bincount(found.point[found.units["unit"] == i]).tolist() for i in range(4)]
    [[2, 3], [2, 3], [3, 2], [3, 2]]
    """
    points = design.points_set
    if isinstance(design.layout, Crossed) and design.crossing is not None:
        point, units = _crossed(points, design.layout, design.crossing, design.cell_size, seed)
    else:
        row, units = _nested(points)
        point = points.chosen[row]
    if not len(point):
        raise SpecificationError(
            f"the design has {design.observations:g} observations on {design.units:g} units, which rounds to none: "
            "raise its counts or replicates."
        )
    first = np.unique(points.chosen, return_index=True)[1]
    return Realised(points.frame.iloc[first].reset_index(drop=True), point, MappingProxyType(units))


def dealt(expected: Array, kind: Index) -> Array:
    """How many of each thing every unit has, by systematic sampling.

    Parameters
    ----------
    expected : array, shape (kinds, things)
        Expected numbers for a unit of each kind.
    kind : integer array, shape (units,)

    Returns
    -------
    integer array, shape (units, things)
        ⌊c_j + u⌋ − ⌊c_{j−1} + u⌋ with c the cumulative expected numbers and u evenly spread over the units of a kind.
    """
    number = np.bincount(kind, minlength=len(expected))
    order = np.argsort(kind, kind="stable")
    rank = np.empty(len(kind))
    rank[order] = np.arange(len(kind)) - np.repeat(np.cumsum(number) - number, number)
    offset = (rank + 0.5) / number[kind]
    upto = np.floor(np.cumsum(expected, axis=1)[kind] + offset[:, None] + ROUNDING)
    return np.asarray(np.diff(upto, axis=1, prepend=0.0), dtype=np.intp)


def _nested(points: LabelledPoints) -> tuple[Index, dict[str, Index]]:
    """Rows of the points and units of each factor, from the study as a whole inwards."""
    outer = Labels(np.zeros(len(points.observations), dtype=np.intp), np.ones(1))
    kind = np.zeros(1, dtype=np.intp)
    parents: list[Index] = []
    own = Labels(np.arange(len(points.observations)), points.observations)
    for labels in (*points.labels.values(), own):
        parent, kind = _children(dealt(_expected(outer, labels), kind))
        parents, outer = [*parents, parent], labels
    unit, units = parents[-1], {}
    for factor, parent in zip(reversed(list(points.labels)), reversed(parents[:-1]), strict=True):
        units[factor], unit = unit, parent[unit]
    return kind, {factor: units[factor] for factor in points.labels}


def _expected(outer: Labels, inner: Labels) -> Array:
    """How many inner units of each kind a unit of each outer kind has, shape (outer kinds, inner kinds)."""
    expected = np.zeros((len(outer.count), len(inner.count)))
    expected[outer.level, inner.level] = inner.count[inner.level] / outer.count[outer.level]
    return expected


def _children(times: Array) -> tuple[Index, Index]:
    """The unit that each of the things dealt out belongs to, and its kind."""
    unit, kind = np.nonzero(times)
    number = np.asarray(times[unit, kind], dtype=np.intp)
    return np.repeat(unit, number), np.repeat(kind, number)


def _crossed(
    points: LabelledPoints, layout: Crossed, crossing: Crossing, cell_size: float, seed: int
) -> tuple[Index, dict[str, Index]]:
    """Points and units of the observations of every observed cell."""
    whole = {f: replace(points.labels[f], count=_whole(points.labels[f].count)) for f in layout.factors}
    labels = MappingProxyType({**points.labels, **whole})
    listed = crossed_listing(replace(points, labels=labels), layout, crossing, cell_size, seed)
    cell = listed.labels[layout.cell].level
    cells = int(cell.max()) + 1
    turn = np.arange(len(cell)) % (len(cell) // cells)
    kept = turn < dealt(np.array([[cell_size]]), np.zeros(cells, dtype=np.intp))[cell, 0]
    return listed.chosen[kept], {factor: listed.labels[factor].level[kept] for factor in layout.factors}


def _whole(count: Array) -> Array:
    """Numbers of units in whole numbers with the same total, rounded."""
    return np.asarray(dealt(count[None, :], np.zeros(1, dtype=np.intp))[0], dtype=float)
