"""What a nested space lets be chosen, in masses: prices, constraints, information, and the design that masses make.

Two spaces have masses of their own kind. In a layout of several factors, or with parts of units in the model, these are
the counts of every factor's kinds of unit and the observations at each candidate. With fixed schedules they are the
numbers of units on each schedule, and information is linear in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from optdesign.costs import Cost
from optdesign.covariance.deeper_information import DeeperInformation, deeper_information
from optdesign.covariance.information import PlainInformation
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.profiles import profile_information
from optdesign.designs import Design, DesignSpace, Group
from optdesign.errors import SpecificationError
from optdesign.linalg import psd_root, summed
from optdesign.masses import Masses, design_of, masses_of
from optdesign.measures import Measure
from optdesign.models import MixedModel, NominalValues

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
#: Label, coefficients of the masses (one or more rows), lowest and highest.
Row = tuple[str, sp.csr_array, float, float]


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """Counts of every factor's kinds of unit, and observations at every candidate."""

    space: DesignSpace
    cells: tuple[str, ...]

    @cached_property
    def masses(self) -> Masses:
        """What each row of the space takes its share of."""
        return masses_of(self.space, self.cells)

    @property
    def n_units(self) -> int:
        """Number of masses that count units."""
        return self.masses.n_units

    @property
    def n_atoms(self) -> int:
        """Number of candidates."""
        return self.masses.n_atoms

    def prices(self, cost: Cost) -> Array:
        """Price of one of each mass."""
        observation = cost.of_observations(self.space.region.frame)
        return np.concatenate([self.masses.unit_prices(cost), self.space.region.atom_mean(observation)])

    def information(self, model: MixedModel, nominal: NominalValues, nodes: int) -> DeeperInformation:
        """Information as a function of the masses."""
        return deeper_information(labelled_rows(model, nominal, self.masses.points), self.masses, nodes)

    def design(self, z: Array) -> Design:
        """The design that masses make."""
        return design_of(self.space, self.masses, z[: self.n_units], z[self.n_units :])

    def rows(self) -> Iterator[Row]:
        """Bounds on numbers of units, of units within units, of observations, and on shares."""
        assert self.space.layout is not None
        first, *inner = self.space.layout.factors
        types = np.zeros((1, self.n_units + self.n_atoms))
        types[0, np.unique(self.masses.unit[first])] = 1.0
        low, high = self.space.count_bounds(first)
        yield f"number of units of '{first}'", sp.csr_array(types), low or -np.inf, high
        above = first
        for factor in inner:
            parent = _first(self.masses.kind_of_row(above), self.masses.kind_of_row(factor), self.n_units)
            kinds = np.unique(self.masses.unit[factor])
            yield from self._within(
                f"units of '{factor}' within one of '{above}'",
                parent[kinds],
                kinds,
                self.space.count_bounds(factor),
            )
            above = factor
        atoms = self.n_units + np.arange(self.n_atoms)
        kind = self.masses.kind_of_atom(above)
        yield from self._within("replicates", kind, atoms, self.space.replicate_bounds)
        if self.space.at_most is not None:
            most = self._combination(kind, atoms, float(self.space.at_most), np.arange(self.n_atoms))
            yield "uses of a point within a unit", most, -np.inf, 0.0
        yield from self._shares()

    def _within(self, label: str, parent: Index, part: Index, bounds: tuple[float, float]) -> Iterator[Row]:
        """Parts of each unit: Σ parts − number × units, not below zero at the lowest number, nor above at the highest."""
        low, high = bounds
        row = np.unique(parent, return_inverse=True)[1]
        if low == high:
            yield label, self._combination(parent, part, low, row), 0.0, 0.0
            return
        if low > 0:
            yield f"{label}, fewest", self._combination(parent, part, low, row), 0.0, np.inf
        if np.isfinite(high):
            yield f"{label}, most", self._combination(parent, part, high, row), -np.inf, 0.0

    def _combination(self, parent: Index, part: Index, number: float, row: Index) -> sp.csr_array:
        """Σ of the parts less a number times their unit, in each row."""
        first = np.unique(row, return_index=True)[1]
        index = np.concatenate([row, row[first]])
        column = np.concatenate([part, parent[first]])
        value = np.concatenate([np.ones(len(part)), np.full(len(first), -number)])
        return sp.csr_array((value, (index, column)), shape=(len(first), self.n_units + self.n_atoms))

    def _shares(self) -> Iterator[Row]:
        for share in self.space.constraints:
            among = share.holds(self.space.region.frame)
            holds, every = self._bearers(among, share.condition)
            yield from share_rows(f"share of '{share.condition}'", holds, every, share.at_least, share.at_most)

    def _bearers(self, among: Array, condition: str) -> tuple[Array, Array]:
        """How much of each mass a condition holds for, and of each mass it is a share of: units where it is constant."""
        observations = np.zeros(self.n_atoms)
        assert self.space.layout is not None
        for factor in self.space.layout.factors:
            try:
                holds = self.masses.unit_mean(factor, among, condition)
            except SpecificationError:
                continue
            every = self.masses.unit_mean(factor, np.ones(len(among)), condition)
            return np.concatenate([holds, observations]), np.concatenate([every, observations])
        nothing = np.zeros(self.n_units)
        atoms = self.space.region.atom_mean(among)
        return np.concatenate([nothing, atoms]), np.concatenate([nothing, np.ones(self.n_atoms)])


@dataclass(frozen=True, eq=False)
class ProfileChoice:
    """Numbers of units on each fixed schedule."""

    space: DesignSpace
    cells: tuple[str, ...]

    @cached_property
    def masses(self) -> Masses:
        """The rows of the schedules, as if their observations could be chosen."""
        return masses_of(self.space, self.cells)

    @property
    def n_units(self) -> int:
        """None: units are observations of schedules."""
        return 0

    @property
    def n_atoms(self) -> int:
        """Number of schedules."""
        return self.masses.n_units

    @cached_property
    def schedule(self) -> Index:
        """Schedule of each row of the profiles, shape (rows,)."""
        assert self.space.layout is not None
        return self.masses.kind_of_atom(self.space.layout.factors[0])

    def prices(self, cost: Cost) -> Array:
        """Price of a unit on each schedule, with its parts and observations."""
        observation = self.space.region.atom_mean(cost.of_observations(self.space.region.frame))
        return self.masses.unit_prices(cost) + self._per_unit(observation)

    def _per_unit(self, values: Array) -> Array:
        """Sum over the observations of a unit on each schedule."""
        return self.space.times_each_row * summed(self.schedule, values, self.n_atoms)

    def information(self, model: MixedModel, nominal: NominalValues, order: str) -> PlainInformation:
        """Information as a function of the numbers of units, which is linear in them."""
        roots = [psd_root(each).T for each in profile_information(model, nominal, self.space, order).matrices]
        atom = np.repeat(np.arange(self.n_atoms), [len(root) for root in roots])
        return PlainInformation(np.concatenate(roots), atom, 0, self.n_atoms)

    def design(self, z: Array) -> Design:
        """The design with these numbers of units."""
        types = list(self.space.region.types)
        within = self.space.candidates.points.drop(columns=types)
        groups = []
        for number in np.flatnonzero(z > 0):
            rows = within.iloc[np.flatnonzero(self.schedule == number)]
            replicates = self.space.times_each_row * len(rows)
            groups.append(
                Group(float(z[number]), replicates, Measure.from_frame(rows), self.space.region.type_values(int(number)))
            )
        return Design(self.space.layout, groups, observed=self.space.observed, levels=self.space.observed_levels)

    def rows(self) -> Iterator[Row]:
        """Bounds on the number of units, and on shares of units or of observations."""
        assert self.space.layout is not None
        factor = self.space.layout.factors[0]
        low, high = self.space.count_bounds(factor)
        yield f"number of units of '{factor}'", sp.csr_array(np.ones((1, self.n_atoms))), low or -np.inf, high
        for share in self.space.constraints:
            among = share.holds(self.space.region.frame)
            try:
                holds, every = self.masses.unit_mean(factor, among, share.condition), np.ones(self.n_atoms)
            except SpecificationError:
                holds = self._per_unit(self.space.region.atom_mean(among))
                every = self._per_unit(np.ones(len(self.schedule)))
            yield from share_rows(f"share of '{share.condition}'", holds, every, share.at_least, share.at_most)


def share_rows(name: str, holds: Array, every: Array, at_least: float, at_most: float) -> Iterator[Row]:
    """Bounds on a share: Σ holds z between two multiples of Σ every z."""
    if at_least == at_most:
        yield name, sp.csr_array((holds - at_least * every)[None, :]), 0.0, 0.0
        return
    if at_least > 0:
        yield name, sp.csr_array((holds - at_least * every)[None, :]), 0.0, np.inf
    if at_most < 1:
        yield name, sp.csr_array((holds - at_most * every)[None, :]), -np.inf, 0.0


def _first(values: Index, index: Index, size: int) -> Index:
    """Value of each index, which all its rows share; zero for those without a row."""
    result = np.zeros(size, dtype=np.intp)
    result[index] = values
    return result
