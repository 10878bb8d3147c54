"""Information of the fixed effects with any number of nested random factors, as a function of the masses.

With standardised random effects u₁, u₂, … (outermost first) of quadrature weights q₁, q₂, …, m_d units of factor d
and the total observation measure μ, the information is a partial minimum over random coefficients, a vector a_d for
every kind of unit and every node of the effects down to its own:

    βᵀMβ = min_a E_q₁[ m₁ a₁ᵀa₁ + E_q₂[ m₂ a₂ᵀa₂ + … + Σ_x μ(x) w(x,u₁,u₂,…)/ϕ (xᵀβ − z₁ᵀa₁ − z₂ᵀa₂ − …)² ] ]

so that M is jointly concave and homogeneous in (m₁, m₂, …, μ). One factor: the averaged information of `nested`. A
Gaussian needs no nodes, and M = XᵀV⁻¹X where all units of a kind see the same law of points [E]. Otherwise a₁ meets the
mean over u₂ of what its units see, as if each held many of the units within it; the information averaged over all
effects at once (`sampled`) is smaller for few inner units per outer one. Derived for this package [D].

Everything is a sum of squares in which each square carries one mass. With Θ the minimiser as a map of β and N the
nuisance information, the square c z_i (xᵀβ − gᵀa)² adds c e eᵀ, e = x − Θᵀg, to ∂M/∂z_i and −c g eᵀ to S_i, and
−½ ∂²tr(UᵀMU)/∂z_i∂z_j = tr (S_iU)ᵀN⁻¹(S_jU).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse.linalg
from scipy import sparse

from optdesign.covariance.information import Point, added
from optdesign.covariance.labelled import LabelledRows
from optdesign.linalg import summed, symmetric
from optdesign.masses import Masses
from optdesign.quadrature import normal_rule

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Where the random coefficients a_d of one factor stand among all of them, and the rows' columns for them.

    Attributes
    ----------
    Z : array, shape (R, r)
        Standardised random-effect columns.
    block : integer array, shape (R,)
        Block of units of the factor that each row belongs to.
    node : integer array, shape (Q,)
        Node of the effects down to this factor, for each joint node of all effects.
    start : int
        Position of the first coefficient; they follow by block, node and column.
    """

    Z: Array
    block: Index
    node: Index
    start: int

    def position(self, rows: slice | Index = slice(None)) -> Index:
        """Positions of the coefficients that each row meets at each joint node, shape (R, Q, r)."""
        nodes, r = int(self.node.max()) + 1, self.Z.shape[1]
        first = (self.block[rows][:, None] * nodes + self.node) * r
        return np.asarray(self.start + first[..., None] + np.arange(r))

    def fitted(self, theta: Array, node: int | slice = slice(None)) -> Array:
        """zᵀa at each row and node, for coefficients as maps of β of shape (n, k): shape (R, Q, k)."""
        nodes, r = int(self.node.max()) + 1, self.Z.shape[1]
        own = theta[self.start :][: (int(self.block.max()) + 1) * nodes * r].reshape(-1, nodes, r, theta.shape[1])
        at = np.atleast_1d(self.node[node])
        return np.asarray(np.einsum("nr,nqrk->nqk", self.Z, own[self.block[:, None], at], optimize=True))


@dataclass(frozen=True, eq=False)
class DeeperInformation:
    """The information function: the squares of the module's formula and the mass of each.

    Masses are one vector: the counts of every factor's kinds of unit, outermost factor first, then the total
    observations of the atoms.

    Attributes
    ----------
    X : array, shape (R, p)
    terms : tuple of Coefficients
    weight : array, shape (R, Q)
        w/ϕ times the node's weight and the row's share of its atom.
    atom : integer array, shape (R,)
    penalty : array, shape (n,)
        Share of its mass that the square of each random coefficient carries.
    unit : integer array, shape (n,)
        Position, among the counts, of that mass.
    outer : tuple of integer arrays, shapes (R,) and (n,)
        Kind of outermost unit of each row and of each random coefficient.
    n_units, n_atoms : int
        Numbers of counts and of atoms.
    n_outer : int
        Number of kinds of outermost unit.
    """

    X: Array
    terms: tuple[Coefficients, ...]
    weight: Array
    atom: Index
    penalty: Array
    unit: Index
    outer: tuple[Index, Index]
    n_units: int
    n_atoms: int
    n_outer: int

    @property
    def regressors(self) -> tuple[Array, Index]:
        """Columns of fixed and random effects at each row, and the atom of each."""
        return np.hstack([self.X, *(term.Z for term in self.terms)]), self.atom

    @property
    def whole(self) -> DeeperInformation:
        """The function on all atoms."""
        return self

    def restricted(self, atoms: Index) -> DeeperInformation:
        """The same function on some atoms only, the others held at zero."""
        position = np.full(self.n_atoms, -1)
        position[atoms] = np.arange(len(atoms))
        kept = np.flatnonzero(position[self.atom] >= 0)
        terms = tuple(replace(term, Z=term.Z[kept], block=term.block[kept]) for term in self.terms)
        outer = (self.outer[0][kept], self.outer[1])
        atom, weight = position[self.atom[kept]], self.weight[kept]
        return replace(self, X=self.X[kept], terms=terms, weight=weight, atom=atom, outer=outer, n_atoms=len(atoms))

    @cached_property
    def loading(self) -> sparse.csr_array:
        """The vectors g of the observations' squares, shape (R Q, n)."""
        rows, nodes = self.weight.shape
        columns = np.concatenate([np.zeros((rows, nodes, 0), dtype=np.intp), *(t.position() for t in self.terms)], 2)
        values = np.concatenate([np.zeros((rows, 0)), *(term.Z for term in self.terms)], axis=1)
        values = np.broadcast_to(values[:, None], columns.shape)
        start = np.arange(rows * nodes + 1) * columns.shape[2]
        return sparse.csr_array((values.ravel(), columns.ravel(), start), shape=(rows * nodes, len(self.penalty)))

    def at(self, counts: Array, totals: Array) -> DeeperPoint:
        """Value and derivatives at the masses; all must be positive."""
        mass = self.weight * totals[self.atom][:, None]
        weighted = self.loading.multiply(mass.ravel()[:, None]).tocsr()
        nuisance = (self.loading.T @ weighted + sparse.diags_array(self.penalty * counts[self.unit])).tocsc()
        score = weighted.T @ np.repeat(self.X, self.weight.shape[1], axis=0)
        solver = scipy.sparse.linalg.splu(nuisance) if len(self.penalty) else None
        return DeeperPoint(self, counts, totals, solver, solver.solve(score) if solver else score)

    def residuals(self, theta: Array, direction: Array, node: int | slice = slice(None)) -> Array:
        """Uᵀ(x − Θᵀg) at each row and node, shape (R, Q, k)."""
        pulled = theta @ direction
        result = np.asarray((self.X @ direction)[:, None])
        for term in self.terms:
            result = result - term.fitted(pulled, node)
        return result

    def sensitivities(self, point: Point, direction: Array) -> Array:
        """ψ of every atom, Σ c ‖Uᵀe‖², from the random coefficients Θ found on a subset, shape (A,)."""
        assert isinstance(point, DeeperPoint)  # a point of this function's own subset
        total = np.zeros(len(self.X))
        for node, weight in enumerate(self.weight.T):
            total += weight * (self.residuals(point.theta, direction, node)[:, 0] ** 2).sum(axis=1)
        return summed(self.atom, total, self.n_atoms)


@dataclass(frozen=True, eq=False)
class DeeperPoint:
    """The information matrix at given masses, and its derivatives."""

    form: DeeperInformation
    counts: Array
    totals: Array
    solver: Any
    theta: Array  # (n, p), random coefficients as maps of β

    @cached_property
    def _residuals(self) -> Array:
        return self.form.residuals(self.theta, np.eye(self.form.X.shape[1]))

    @cached_property
    def _row_squares(self) -> Array:
        """Σ_q c e eᵀ of each row, shape (R, p, p)."""
        weighted = self.form.weight[..., None] * self._residuals
        return np.asarray(np.swapaxes(weighted, 1, 2) @ self._residuals)

    @cached_property
    def information(self) -> Array:
        """M, shape (p, p)."""
        return symmetric(sum(self.parts(self.counts, self.totals), np.zeros((1, 1))))

    @cached_property
    def by_type(self) -> Array:
        """Information of each kind of outermost unit on its own, shape (kinds, p, p)."""
        form = self.form
        rows = self.totals[form.atom][:, None, None] * self._row_squares
        units = np.sqrt(form.penalty * self.counts[form.unit])[:, None] * self.theta
        return added(rows, form.outer[0], form.n_outer) + _squares(units, form.outer[1], form.n_outer)

    def unit_gradients(self) -> Array:
        """∂M/∂m for the count of each kind of unit, shape (T, p, p)."""
        form = self.form
        return _squares(np.sqrt(form.penalty)[:, None] * self.theta, form.unit, form.n_units)

    def atom_gradients(self) -> Array:
        """∂M/∂μ for each atom, shape (A, p, p)."""
        return added(self._row_squares, self.form.atom, self.form.n_atoms)

    def parts(self, counts: Array, totals: Array) -> tuple[Array, Array]:
        """Σ m ∂M/∂m over kinds of unit and Σ μ ∂M/∂μ over atoms, shape (p, p) each."""
        return np.tensordot(counts, self.unit_gradients(), 1), np.tensordot(totals, self.atom_gradients(), 1)

    def curvature(self, direction: Array) -> Array:
        """−½ ∂²tr(UᵀMU)/∂z∂zᵀ over the masses (counts, then atoms), positive semi-definite."""
        size = self.form.n_units + self.form.n_atoms
        total = np.zeros((size, size))
        if self.solver is None:
            return total
        residuals, pulled = self.form.residuals(self.theta, direction), self.theta @ direction
        for column in range(direction.shape[1]):
            score = self._scores(residuals[..., column], pulled[:, column])
            total += score.T @ self.solver.solve(score)
        return symmetric(total)

    def _scores(self, residual: Array, pulled: Array) -> Array:
        """S_i of every mass along one direction, shape (n, T + A)."""
        form = self.form
        own, every = np.arange(len(pulled)), np.arange(form.weight.size)
        units = sparse.csr_array((-form.penalty * pulled, (own, form.unit)), shape=(len(own), form.n_units))
        square = (form.weight * residual).ravel()
        atom = np.repeat(form.atom, form.weight.shape[1])
        atoms = form.loading.T @ sparse.csr_array((square, (every, atom)), shape=(len(every), form.n_atoms))
        return np.asarray(sparse.hstack([units, atoms]).toarray())


def deeper_information(rows: LabelledRows, masses: Masses, nodes: int) -> DeeperInformation:
    """The information function on labelled rows whose counts and observations are shares of masses.

    Parameters
    ----------
    rows : LabelledRows
    masses : Masses
        The mass that each count and each row's observations take their share of.
    nodes : int
        Quadrature nodes per random effect; 1 for a Gaussian.
    """
    rows = rows.standardised()
    rules = [normal_rule(term.Z.shape[1], nodes if term.Z.shape[1] else 1) for term in rows.terms]
    sizes = [len(weight) for _, weight in rules]
    joint = np.stack([g.ravel() for g in np.indices(sizes)], axis=1) if sizes else np.zeros((1, 0), dtype=np.intp)
    prefixes = _prefixes(joint, sizes)
    eta = np.broadcast_to(rows.eta, (len(joint), len(rows.eta)))
    probability = np.ones(len(joint))
    for depth, (term, (points, weight)) in enumerate(zip(rows.terms, rules, strict=True)):
        eta = eta + points[joint[:, depth]] @ term.Z.T
        probability = probability * weight[joint[:, depth]]
    terms, penalty, unit, outer = [], [np.zeros(0)], [np.zeros(0, dtype=np.intp)], [np.zeros(0, dtype=np.intp)]
    start = 0
    for term, node in zip(rows.terms, prefixes, strict=True):
        terms.append(Coefficients(term.Z, term.level, node, start))
        share = np.bincount(node, weights=probability)
        every = np.repeat(np.outer(term.count, share).ravel(), term.Z.shape[1])
        repeat = len(share) * term.Z.shape[1]
        penalty.append(every)
        unit.append(np.repeat(masses.unit[term.factor], repeat))
        outer.append(np.repeat(_outer_kind(term.level, masses.outer, len(term.count)), repeat))
        start += len(every)
    return DeeperInformation(
        rows.X,
        tuple(terms),
        rows.weight(eta).T * np.outer(rows.observations, probability),
        masses.atom,
        np.concatenate(penalty),
        np.concatenate(unit),
        (masses.outer, np.concatenate(outer)),
        masses.n_units,
        masses.n_atoms,
        masses.n_outer,
    )


def _prefixes(joint: Index, sizes: Sequence[int]) -> list[Index]:
    """For each factor, the node of the effects down to its own at each joint node."""
    return [
        np.asarray(np.ravel_multi_index(tuple(joint[:, : depth + 1].T), tuple(sizes[: depth + 1])), dtype=np.intp)
        for depth in range(len(sizes))
    ]


def _outer_kind(level: Index, outer: Index, blocks: int) -> Index:
    """Kind of outermost unit of each block of units."""
    kind = np.zeros(blocks, dtype=np.intp)
    kind[level] = outer
    return kind


def _squares(rows: Array, index: Index, size: int) -> Array:
    """Σ r rᵀ over the rows of each index, shape (size, p, p)."""
    return added(rows[:, :, None] * rows[:, None, :], index, size)
