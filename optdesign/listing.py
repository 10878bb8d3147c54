"""Designs written out unit by unit: needed where units differ by more than their covariates."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from optdesign.designs import Design
from optdesign.errors import SpecificationError
from optdesign.incidence import biregular, complete, product_incidence, random_incidence
from optdesign.layouts import Crossed
from optdesign.linalg import summed
from optdesign.units import Crossing, LabelledPoints, Labels, rate_column

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Largest number of positions in which the weights of a law are sought as whole numbers.
MOST_POSITIONS = 64


@dataclass(frozen=True, eq=False)
class Units:
    """Listed units of one factor: their kind, how many units each stands for, and the unit above each."""

    kind: Index
    weight: Array
    above: Index


def listed_points(design: Design, seed: int = 0) -> LabelledPoints:
    """The points of a design with every unit listed on its own.

    A number of units that is not whole is listed as the next larger one, each counted for a little less than one.
    In a crossed layout every observation is listed too: covariates that are set are spread evenly over rows and
    columns in turn, those drawn for each observation are drawn, and an incidence that is not given is made.
    """
    if isinstance(design.layout, Crossed) and design.crossing is not None:
        return crossed_listing(design.points, design.layout, design.crossing, design.cell_size, seed)
    return _nested(design.points)


def _several(kinds: Index, number: Array, weight: Array, above: Index) -> Units:
    """Units of each kind in whole numbers, sharing the weight."""
    copies = np.where(number > 0, np.maximum(np.ceil(number - 1e-9), 1.0), 0.0).astype(np.intp)
    each = weight * number / np.maximum(copies, 1)
    return Units(np.repeat(kinds, copies), np.repeat(each, copies), np.repeat(above, copies))


def _nested(points: LabelledPoints) -> LabelledPoints:
    """Unit by unit from the outermost factor inwards; each innermost unit has its kind's points in full."""
    chain: list[Units] = []
    outer = Labels(np.zeros(len(points.observations), dtype=np.intp), np.ones(1))
    units = Units(np.zeros(1, dtype=np.intp), np.ones(1), np.zeros(1, dtype=np.intp))
    for labels in points.labels.values():
        parent = np.zeros(len(labels.count), dtype=np.intp)
        parent[labels.level] = outer.level
        each = [
            _several(
                inside, labels.count[inside] / outer.count[kind], np.full(len(inside), weight), np.full(len(inside), i)
            )
            for i, (kind, weight) in enumerate(zip(units.kind, units.weight, strict=True))
            for inside in [np.flatnonzero(parent == kind)]
        ]
        units = Units(*(np.concatenate([getattr(u, name) for u in each]) for name in ("kind", "weight", "above")))
        chain, outer = [*chain, units], labels
    rows = [np.flatnonzero(outer.level == kind) for kind in range(len(outer.count))]
    row = np.concatenate([rows[kind] for kind in units.kind])
    unit = np.repeat(np.arange(len(units.kind)), [len(rows[kind]) for kind in units.kind])
    mass = points.observations[row] * (units.weight / outer.count[units.kind])[unit]
    listed: dict[str, Labels] = {}
    for factor, level in reversed(list(zip(points.labels, chain, strict=True))):
        listed[factor] = Labels(unit, level.weight)
        unit = level.above[unit]
    ordered = {factor: listed[factor] for factor in points.labels}
    return LabelledPoints(
        points.frame.iloc[row].reset_index(drop=True), mass, MappingProxyType(ordered), points.chosen[row]
    )


def crossed_listing(
    points: LabelledPoints, layout: Crossed, crossing: Crossing, cell_size: float, seed: int
) -> LabelledPoints:
    """Every observation of every observed cell; see `listed_points`."""
    rng = np.random.default_rng(seed)
    first, second = (_mixed(points.labels[factor]) for factor in layout.factors)
    pairs = _incidence(crossing, layout, first, second, points, seed)
    replicates = int(np.ceil(cell_size - 1e-9))
    share = cell_size / replicates
    cell = np.repeat(np.arange(len(pairs)), replicates)
    i, j = pairs[cell].T
    turn = i + j + np.tile(np.arange(replicates), len(pairs))
    row = np.empty(len(cell), dtype=np.intp)
    kinds = np.stack([first.kind[i], second.kind[j]], axis=1)
    for kind in np.unique(kinds, axis=0):
        at = np.flatnonzero((kinds == kind).all(axis=1))
        inside = [points.labels[f].level == k for f, k in zip(layout.factors, kind, strict=True)]
        row[at] = _spread(points, np.flatnonzero(inside[0] & inside[1]), turn[at], rng)
    weights = first.weight[i] * second.weight[j]
    labels = {layout.factors[0]: Labels(i, first.weight), layout.factors[1]: Labels(j, second.weight)}
    labels[layout.cell] = Labels(cell, weights[::replicates])
    frame = points.frame.iloc[row].reset_index(drop=True)
    return LabelledPoints(frame, weights * share, MappingProxyType(labels), points.chosen[row])


def _mixed(labels: Labels) -> Units:
    """Units of all kinds in an order that mixes the kinds evenly."""
    units = _several(
        np.arange(len(labels.count)), labels.count, np.ones(len(labels.count)), np.arange(len(labels.count))
    )
    number = np.bincount(units.kind)
    rank = np.arange(len(units.kind)) - np.repeat(np.cumsum(number) - number, number)
    order = np.argsort((rank + 0.5) / number[units.kind], kind="stable")
    return Units(units.kind[order], units.weight[order], units.above[order])


def _incidence(
    crossing: Crossing, layout: Crossed, first: Units, second: Units, points: LabelledPoints, seed: int
) -> Index:
    """The observed cells, made where they are not given."""
    rows, columns = len(first.kind), len(second.kind)
    if crossing.pairs is not None:
        return crossing.pairs.to_numpy(dtype=np.intp)
    if crossing.kind == "complete":
        return complete(rows, columns)
    if crossing.kind == "product":
        rates = [points.frame[rate_column(f)].to_numpy(dtype=float) for f in layout.factors]
        levels = [points.labels[f].level for f in layout.factors]
        each = [_first(rate, level)[u.kind] for rate, level, u in zip(rates, levels, (first, second), strict=True)]
        return product_incidence(each[0], each[1], seed)
    whole = [float(n).is_integer() for n in (crossing.cells, first.weight.sum(), second.weight.sum())]
    if not all(whole):
        raise SpecificationError(
            f"an incomplete crossing is written out in whole numbers; got {crossing.cells:g} cells of "
            f"{first.weight.sum():g} × {second.weight.sum():g} units."
        )
    make = biregular if crossing.kind == "biregular" else random_incidence
    return make(rows, columns, int(crossing.cells), seed)


def _first(values: Array, level: Index) -> Array:
    """Value of each kind of unit."""
    result = np.zeros(int(level.max()) + 1)
    result[level] = values
    return result


def _spread(points: LabelledPoints, rows: Index, turn: Index, rng: np.random.Generator) -> Index:
    """A point for each observation: what is set in turn, in proportion to its weight, what is drawn by lot."""
    chosen, position = np.unique(points.chosen[rows], return_inverse=True)
    mass = points.observations[rows] / points.observations[rows].sum()
    weight = summed(position, mass, len(chosen))
    total = _positions(weight, len(turn))
    picked = np.searchsorted(np.cumsum(weight) - 1e-9, (turn % total + 0.5) / total)
    result = np.empty(len(turn), dtype=np.intp)
    for number in range(len(chosen)):
        at, inside = np.flatnonzero(picked == number), np.flatnonzero(position == number)
        result[at] = rows[rng.choice(inside, size=len(at), p=mass[inside] / weight[number])]
    return result


def _positions(weight: Array, observations: int) -> int:
    """Fewest positions in which every weight is a whole number; the number of observations where there are none."""
    for total in range(1, MOST_POSITIONS + 1):
        if np.abs(weight * total - np.round(weight * total)).max() < 1e-9:
            return total
    return max(observations, 1)
