"""Nested design spaces as labelled points whose counts and observations are shares of masses.

The masses are the counts of every factor's kinds of unit, outermost factor first, and the total observations of the
atoms. A kind is a combination of chosen covariates of its own factor and of those above it; an atom is a candidate.
Covariates that are observed, not chosen, split each mass in fixed shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from optdesign.costs import Cost
from optdesign.designs import Design, DesignSpace, Group, varies_within
from optdesign.errors import SpecificationError
from optdesign.linalg import summed
from optdesign.measures import Measure, names_of
from optdesign.units import LabelledPoints, Labels, kinds, with_cells

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Masses:
    """Labelled points, and the masses that their counts and observations are shares of.

    Attributes
    ----------
    points : LabelledPoints
        Counts are shares of a unit count, observations shares of an atom's.
    unit : mapping from factor to integer array, shape (kinds,)
        Position, among the unit counts, of the mass that each kind's count is a share of.
    atom : integer array, shape (rows,)
        The atom that each row's observations are a share of.
    start : mapping from factor of the layout to int
        Position of its first unit count.
    n_units : int
        Number of unit counts, over all factors.
    """

    points: LabelledPoints
    unit: Mapping[str, Index]
    atom: Index
    start: Mapping[str, int]
    n_units: int

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return int(self.atom.max()) + 1

    def kind_of_row(self, factor: str) -> Index:
        """Position, among the unit counts, of each row's kind of unit, shape (rows,)."""
        return np.asarray(self.unit[factor][self.points.labels[factor].level])

    def kind_of_atom(self, factor: str) -> Index:
        """Position, among the unit counts, of each atom's kind of unit, shape (A,)."""
        return _first(self.kind_of_row(factor), self.atom, self.n_atoms)

    @property
    def outer(self) -> Index:
        """Kind of outermost unit of each row, shape (rows,)."""
        return self.kind_of_row(next(iter(self.points.labels)))

    @property
    def n_outer(self) -> int:
        """Number of kinds of outermost unit."""
        return int(self.outer.max()) + 1

    def unit_prices(self, cost: Cost) -> Array:
        """Price of one unit of each kind, those of its parts such as ``"cluster:period"`` included, shape (T,)."""
        total = np.zeros(self.n_units)
        for factor in self.points.labels:
            each = cost.of_units(factor, self.points.frame)
            total += self.unit_mean(factor, each, f"cost: units['{factor}']")
        if len(self.start) > 1:  # an innermost unit and the one it lies in meet in a cell
            total += self.unit_mean(list(self.start)[-1], np.full(len(self.atom), cost.cell), "cost: cell")
        return total

    def unit_mean(self, factor: str, values: Array, what: str) -> Array:
        """Sum, over the units that one of each kind stands for, of a quantity constant within a unit, shape (T,).

        Raises
        ------
        SpecificationError
            Where the quantity varies within a unit.
        """
        labels = self.points.labels[factor]
        low, high = np.full(len(labels.count), np.inf), np.full(len(labels.count), -np.inf)
        np.minimum.at(low, labels.level, values)
        np.maximum.at(high, labels.level, values)
        if (high - low > 1e-9 * np.maximum(1.0, np.abs(high))).any():
            raise SpecificationError(varies_within(what))
        return summed(self.unit[factor], labels.count * low, self.n_units)


def design_of(space: DesignSpace, masses: Masses, counts: Array, totals: Array) -> Design:
    """The design of a nested space that some masses make.

    Parameters
    ----------
    counts : array, shape (U,)
        Of every factor's kinds of unit.
    totals : array, shape (A,)
        Observations at each atom; atoms whose units are not there are left out.
    """
    assert space.layout is not None  # masses count units
    first, *inner = space.layout.factors
    points = space.candidates.points
    kind = {factor: masses.kind_of_atom(factor) for factor in space.layout.factors}
    used = (totals > 0) & np.all([counts[k] > 0 for k in kind.values()], axis=0)
    chosen = {c: f for c, f in space.levels.items() if c in points}
    outer = [c for c, f in chosen.items() if f == first]
    groups = []
    for unit_type in np.unique(kind[first][used]):
        at = np.flatnonzero(used & (kind[first] == unit_type))
        within = points.iloc[at]
        measure = Measure.from_frame(within.drop(columns=outer), totals[at])
        units, number, laws = float(counts[unit_type]), float(counts[unit_type]), {}
        per_unit: dict[str, float] = {}
        for depth, factor in enumerate(inner, start=1):
            each, where = np.unique(kind[factor][at], return_index=True)
            per_unit[factor] = float(counts[each].sum()) / units
            units = float(counts[each].sum())
            names = [c for c, f in chosen.items() if f in inner[:depth]]
            if names:
                laws[factor] = Measure.from_frame(within[names].iloc[where], counts[each])
        values = {str(name): value for name, value in within[outer].iloc[0].items()}
        groups.append(Group(number, float(totals[at].sum()) / units, measure, values, per_unit, laws))
    levels = {c: f for c, f in space.levels.items() if c not in outer}
    return Design(space.layout, groups, observed=space.observed, levels=levels)


def masses_of(space: DesignSpace, cells: Iterable[str] = ()) -> Masses:
    """The masses of a nested design space.

    Parameters
    ----------
    space : DesignSpace
    cells : iterable of str
        Factors such as ``"cluster:period"`` that model or cost name beside those of the layout; others are left out.
    """
    region, factors = space.region, space.layout.factors if space.layout else ()
    frame, share = region.frame, region.row_weight
    chosen_names = names_of(space.candidates.points)
    labels: dict[str, Labels] = {}
    unit: dict[str, Index] = {}
    start: dict[str, int] = {}
    total = 0
    for depth, factor in enumerate(factors):
        own = [c for c in names_of(frame) if space.levels.get(c) in factors[: depth + 1]]
        kind, number = kinds([frame[c] for c in own if c in chosen_names], len(frame))
        level, blocks = kinds([kind, *(frame[c] for c in own if c not in chosen_names)], len(frame))
        kind_of_block = _first(kind, level, blocks)
        atoms = np.bincount(_first(kind, region.atom, region.n_atoms), minlength=number)
        labels[factor] = Labels(level, summed(level, share, blocks) / atoms[kind_of_block])
        unit[factor], start[factor] = total + kind_of_block, total
        total += number
    drawn = [c for c in names_of(frame) if c not in chosen_names and c not in space.levels]
    chosen, _ = kinds([frame[c] for c in names_of(frame) if c not in drawn], len(frame))
    points = with_cells(LabelledPoints(frame, share, MappingProxyType(labels), chosen), cells)
    for factor in (f for f in points.labels if f not in unit):
        parts = points.labels[factor]
        inner = factor.split(":")[0]
        unit[factor] = unit[inner][_first(labels[inner].level, parts.level, len(parts.count))]
    return Masses(points, MappingProxyType(unit), region.atom, MappingProxyType(start), total)


def masses_at(design: Design, cells: Iterable[str] = ()) -> Masses:
    """The masses of a nested design, all of them one: each kind of unit and each point is a mass of its own."""
    points = with_cells(design.points, cells)
    unit, start, total = {}, {}, 0
    for factor, labels in points.labels.items():
        unit[factor], start[factor] = total + np.arange(len(labels.count)), total
        total += len(labels.count)
    return Masses(points, MappingProxyType(unit), np.arange(len(points.observations)), MappingProxyType(start), total)


def _first(values: Index, index: Index, size: int) -> Index:
    """Value of each index, which all its rows share."""
    result = np.zeros(size, dtype=np.intp)
    result[index] = values
    return result
