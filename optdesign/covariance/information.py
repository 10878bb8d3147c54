"""What the optimiser asks of a theory: information as a function of the masses, and its derivatives.

The masses z are the counts of U kinds of unit, then the total observations at A atoms. Every source here gives an
information matrix M(z) that is Loewner-concave and homogeneous of degree one in z, so that Σ z ∂M/∂z = M.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from optdesign.linalg import summed

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


class Point(Protocol):
    """The information matrix at given masses, and its derivatives."""

    @property
    def information(self) -> Array:
        """M, shape (p, p)."""

    def unit_gradients(self) -> Array:
        """∂M/∂m for each kind of unit, shape (U, p, p)."""

    def atom_gradients(self) -> Array:
        """∂M/∂μ for each atom, shape (A, p, p)."""

    def curvature(self, direction: Array) -> Array:
        """−½ ∂²tr(UᵀMU)/∂z∂zᵀ, shape (U + A, U + A), positive semi-definite."""


class Subset(Protocol):
    """The information function on some of the atoms."""

    def at(self, counts: Array, totals: Array) -> Point:
        """Value and derivatives at the masses; all must be positive."""


class Information(Protocol):
    """Information on the parameters as a function of the masses."""

    @property
    def n_units(self) -> int:
        """Number of kinds of unit, U."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms, A."""

    @property
    def regressors(self) -> tuple[Array, Index]:
        """Rows whose span says what can be estimated, shape (rows, d), and the atom of each."""

    @property
    def whole(self) -> Subset:
        """The function on all atoms."""

    def restricted(self, atoms: Index) -> Subset:
        """The same function on some atoms only, the others held at zero."""

    def sensitivities(self, point: Point, direction: Array) -> Array:
        """tr(Uᵀ ∂M/∂μ U) of every atom, from a point on a subset, shape (A,)."""


@dataclass(frozen=True, eq=False)
class PlainInformation:
    """Information that is linear in the masses: M = Σ_atoms μ Σ_rows rrᵀ, without random effects to learn.

    Observations of a linear or generalised linear model have a row √w x; schedules of whole units a root of what a
    unit on them adds.

    Attributes
    ----------
    roots : array, shape (rows, p)
    atom : integer array, shape (rows,)
    n_units, n_atoms : int
        Kinds of unit, which add nothing by themselves, and atoms.
    """

    roots: Array
    atom: Index
    n_units: int
    n_atoms: int

    @property
    def regressors(self) -> tuple[Array, Index]:
        """The rows themselves."""
        return self.roots, self.atom

    @cached_property
    def whole(self) -> PlainSubset:
        """The function on all atoms."""
        return PlainSubset(self, self.roots, self.atom, self.n_atoms)

    def restricted(self, atoms: Index) -> PlainSubset:
        """The same function on some atoms only."""
        position = np.full(self.n_atoms, -1)
        position[atoms] = np.arange(len(atoms))
        kept = np.flatnonzero(position[self.atom] >= 0)
        return PlainSubset(self, self.roots[kept], position[self.atom[kept]], len(atoms))

    def sensitivities(self, point: Point, direction: Array) -> Array:
        """‖rU‖², summed over the rows of each atom."""
        pulled = self.roots @ direction
        return summed(self.atom, np.einsum("ik,ik->i", pulled, pulled), self.n_atoms)


@dataclass(frozen=True, eq=False)
class PlainSubset:
    """Some rows of a `PlainInformation`, their atoms renumbered."""

    source: PlainInformation
    roots: Array
    atom: Index
    n_atoms: int

    @cached_property
    def each(self) -> Array:
        """Information of one observation at each atom, shape (A, p, p)."""
        return added(self.roots[:, :, None] * self.roots[:, None, :], self.atom, self.n_atoms)

    def at(self, counts: Array, totals: Array) -> PlainPoint:
        """Value and derivatives at the masses."""
        return PlainPoint(self, self.roots.T @ (totals[self.atom, None] * self.roots))


@dataclass(frozen=True, eq=False)
class PlainPoint:
    """The information matrix at given masses; it is linear in them."""

    subset: PlainSubset
    information: Array

    def unit_gradients(self) -> Array:
        """Zero: units add nothing by themselves."""
        return np.zeros((self.subset.source.n_units, *self.information.shape))

    def atom_gradients(self) -> Array:
        """∂M/∂μ for each atom, shape (A, p, p)."""
        return self.subset.each

    def curvature(self, direction: Array) -> Array:
        """Zero."""
        size = self.subset.source.n_units + self.subset.n_atoms
        return np.zeros((size, size))


@dataclass(frozen=True, eq=False)
class Augmented:
    """Another information with what has been run already: a last kind of unit, of which there is exactly one."""

    new: Information
    already: Array

    @property
    def n_units(self) -> int:
        """Kinds of new unit, and what has been run."""
        return self.new.n_units + 1

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.new.n_atoms

    @property
    def regressors(self) -> tuple[Array, Index]:
        """Rows of the new observations."""
        return self.new.regressors

    @property
    def whole(self) -> AugmentedSubset:
        """The function on all atoms."""
        return AugmentedSubset(self.new.whole, self.already)

    def restricted(self, atoms: Index) -> AugmentedSubset:
        """The same function on some atoms only."""
        return AugmentedSubset(self.new.restricted(atoms), self.already)

    def sensitivities(self, point: Point, direction: Array) -> Array:
        """Those of the new observations."""
        assert isinstance(point, AugmentedPoint)  # a point of this function's own subset
        return self.new.sensitivities(point.new, direction)


@dataclass(frozen=True, eq=False)
class AugmentedSubset:
    """An `Augmented` information on some of the atoms."""

    new: Subset
    already: Array

    def at(self, counts: Array, totals: Array) -> AugmentedPoint:
        """Value and derivatives at the masses."""
        return AugmentedPoint(self.new.at(counts[:-1], totals), self.already, float(counts[-1]))


@dataclass(frozen=True, eq=False)
class AugmentedPoint:
    """Information of new observations, and of what has been run."""

    new: Point
    already: Array
    times: float

    @property
    def information(self) -> Array:
        """M, shape (p, p)."""
        return self.new.information + self.times * self.already

    def unit_gradients(self) -> Array:
        """∂M/∂m for each kind of unit, what has been run last."""
        return np.concatenate([self.new.unit_gradients(), self.already[None]])

    def atom_gradients(self) -> Array:
        """∂M/∂μ for each atom."""
        return self.new.atom_gradients()

    def curvature(self, direction: Array) -> Array:
        """That of the new observations: what has been run enters linearly."""
        units = len(self.new.unit_gradients())
        return np.insert(np.insert(self.new.curvature(direction), units, 0.0, axis=0), units, 0.0, axis=1)


def added(values: Array, index: Index, size: int) -> Array:
    """Values summed by index along the first axis, shape (size, …)."""
    total = np.zeros((size, *values.shape[1:]))
    np.add.at(total, index, values)
    return total
