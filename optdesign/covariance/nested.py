"""Information of the fixed effects in models with at most one grouping factor.

For one kind of unit, with m units and total observation measure μ, write H(u) = ϕ⁻¹ Σ_x μ(x) w(x,u) (x,z)(x,z)ᵀ,
with blocks H_xx, H_xz, H_zz, for the fixed-effect row x and random-effect row z. The information of β is a partial
minimum over random coefficients θ_q, one vector per quadrature node u_q of weight w_q:

    two-term   βᵀMβ = min_θ  m θ̄ᵀΣ⁻¹θ̄               + Σ_q w_q Σ_x μ w(x,u_q)/ϕ (xᵀβ − zᵀθ_q)²,   θ̄ = Σ_q w_q θ_q
    averaged   βᵀMβ = min_θ  m Σ_q w_q θ_qᵀΣ⁻¹θ_q     + the same sum

so that M is jointly concave and homogeneous in (m, μ), whatever columns x and z share. Solved,

    two-term   M = E S + Lᵀ(Σ/m + A)⁻¹L,   S = H_xx − H_xz H_zz⁻¹ H_zx,  L = E H_zz⁻¹H_zx,  A = E H_zz⁻¹
    averaged   M = E{H_xx − H_xz (H_zz + mΣ⁻¹)⁻¹ H_zx}
    leading    M = m GᵀΣ⁻¹G + E S_B,  for the coefficients with x = zG (a random partner or unit level) and the rest

Where x = (z, x_B), the inverse of the two-term M is Σ/m + ϕK/(mn). Kinds of unit add. Two terms and leading:
published for one kind of unit (Jiang, Wand & Bhaskaran 2022; Maestrini, Bhaskaran & Wand 2024); the second term's
formula, averaged information and the partial-minimum form were derived for this package. The Gaussian averaged
information is exact when every unit of a kind has the same Σ_j (x,z)(x,z)ᵀ.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
import scipy.linalg

from optdesign.covariance.encoded import EncodedRows
from optdesign.covariance.information import Information, PlainInformation, Point, added
from optdesign.covariance.second_term import check_second_term
from optdesign.linalg import SINGULAR, range_basis, symmetric

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Blocks:
    """Rows packed by block, K blocks of at most P rows; shorter blocks are padded with rows of no share.

    Random-effect columns are rotated so that the first ones span the block's own row space; the others are zero
    and `idle` marks them.
    """

    X: Array  # (K, P, p)
    Z: Array  # (K, P, r)
    weight: Array  # (K, Q, P), w(x,u_q)/ϕ
    share: Array  # (K, P), includes the block's share of units
    atom: Index  # (K, P)
    unit: Index  # (K,)
    prob: Array  # (K,)
    sigma: Array  # (K, r, r)
    idle: Array  # (K, r)
    rotation: Array  # (K, r, r)
    absorbed: Array  # (K, r, p): G, the coefficients' columns as combinations of Z; used by the leading order
    node_weight: Array  # (Q,)


@dataclass(frozen=True, eq=False)
class Solution:
    """The minimiser of the quadratic form above, as arrays that give M and its derivatives.

    Attributes
    ----------
    information : array, shape (K, p, p)
    theta : array, shape (K, Q, r, p)
        θ_q as a linear map of β.
    inverse : array, shape (K, Q, r, r)
        Inverse of the node's own block of the nuisance information.
    coupling : array, shape (K, r, r)
        What the penalty on the mean couples: (Σ/m + A)⁻¹, or zero.
    unit_root : array, shape (K, j, p)
        Y with ∂M/∂m = YᵀY.
    unit_slope : array, shape (K, Q or 1, r, p)
        Derivative in m of the nuisance score, as a linear map of β.
    """

    information: Array
    theta: Array
    inverse: Array
    coupling: Array
    unit_root: Array
    unit_slope: Array


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of a block's rows at each node, with the rows they come from.

    Attributes
    ----------
    zx, zz : arrays, shapes (K, Q, r, p), (K, Q, r, r)
        H_zx and H_zz, idle random effects with a one on the diagonal per unit.
    units : array, shape (K,)
    observations : array, shape (K, P)
    """

    zx: Array
    zz: Array
    units: Array
    observations: Array


#: Rows worked on at once where sensitivities of all atoms are taken: few enough to stay in the processor's cache.
CHUNK = 2048

Rule = Callable[[Moments, Blocks], Solution]
#: Smallest eigenvalue of a node's H_zz, scaled to a unit diagonal, that leaves the normal equations enough digits.
WELL_CONDITIONED = 1e-5


def two_term(moments: Moments, blocks: Blocks) -> Solution:
    """Two-term rule: the penalty is on the mean of the random coefficients over nodes."""
    inverse, free, rest = _by_node(moments, blocks, np.zeros(len(moments.units)))
    node = blocks.node_weight
    mean = np.einsum("q,kqrp->krp", node, free)
    spread = np.einsum("q,kqrs->krs", node, inverse)
    m = moments.units[:, None, None]
    coupling = _inverses(blocks.sigma / m + spread)
    pulled = coupling @ mean
    information = np.einsum("q,kqij->kij", node, rest) + np.swapaxes(mean, 1, 2) @ pulled
    root = np.swapaxes(_roots(blocks.sigma), 1, 2) @ pulled / m
    theta = free - inverse @ pulled[:, None]
    return Solution(information, theta, inverse, coupling, root, pulled[:, None] / m[:, None])


def averaged(moments: Moments, blocks: Blocks) -> Solution:
    """Averaged-information rule, for standardised random effects: the penalty is on each node's coefficients."""
    node = blocks.node_weight
    inverse, theta, rest = _by_node(moments, blocks, moments.units)
    k, q, r, p = theta.shape
    root = (np.sqrt(node)[:, None, None] * theta).reshape(k, q * r, p)
    information = np.einsum("q,kqij->kij", node, rest)
    return Solution(information, theta, inverse, np.zeros((k, r, r)), root, theta)


def leading(moments: Moments, blocks: Blocks) -> Solution:
    """Leading-term rule, for standardised random effects: unit-level part linear in m, the rest as for many units."""
    inverse, free, rest = _by_node(moments, blocks, np.zeros(len(moments.units)))
    absorbed = blocks.absorbed
    between = moments.units[:, None, None] * (np.swapaxes(absorbed, 1, 2) @ absorbed)
    k, _, r, p = free.shape
    information = between + np.einsum("q,kqij->kij", blocks.node_weight, rest)
    return Solution(information, free, inverse, np.zeros((k, r, r)), absorbed, np.zeros((k, 1, r, p)))


def _by_node(moments: Moments, blocks: Blocks, penalty: Array) -> tuple[Array, Array, Array]:
    """F = (H_zz + λI)⁻¹, θ = F H_zx and H_xx − H_xz F H_zx at every node, for a penalty λ per block.

    The last is taken as Σ_x μ w/ϕ (x − θᵀz)(x − θᵀz)ᵀ + λθᵀθ, which cancels nowhere.

    At nodes far out the weights of two rows may differ by many orders of magnitude; there the normal equations have
    no digits left, and a QR factorisation of the weighted rows takes their place.
    """
    zz = moments.zz + penalty[:, None, None, None] * np.eye(moments.zz.shape[-1])
    scale = 1.0 / np.sqrt(np.diagonal(zz, axis1=2, axis2=3))
    scaled = zz * scale[..., :, None] * scale[..., None, :]
    poor = np.linalg.eigvalsh(scaled).min(axis=-1, initial=1.0) < WELL_CONDITIONED
    scaled[poor] = np.eye(scaled.shape[-1])
    inverse = _inverses(scaled) * scale[..., :, None] * scale[..., None, :]
    theta = inverse @ moments.zx
    if poor.any():
        inverse[poor], theta[poor] = _by_rows(moments, blocks, penalty, poor)
    residual = blocks.X[:, None] - blocks.Z[:, None] @ theta
    weight = (blocks.weight * moments.observations[:, None])[..., None]
    rest = np.swapaxes(residual, 2, 3) @ (weight * residual)
    return inverse, theta, rest + penalty[:, None, None, None] * (np.swapaxes(theta, 2, 3) @ theta)


def _by_rows(moments: Moments, blocks: Blocks, penalty: Array, nodes: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """F and θ at some nodes, from their weighted rows, heaviest first."""
    k, q = np.nonzero(nodes)
    prior = np.sqrt(blocks.idle * moments.units[:, None] + penalty[:, None])[k]
    root = np.sqrt(blocks.weight[k, q] * moments.observations[k])
    X = np.concatenate([root[..., None] * blocks.X[k], np.zeros((len(k), prior.shape[1], blocks.X.shape[2]))], axis=1)
    Z = np.concatenate([root[..., None] * blocks.Z[k], prior[..., None] * np.eye(prior.shape[1])], axis=1)
    order = np.argsort(-np.abs(Z).max(axis=2), axis=1)[..., None]
    X, Z = np.take_along_axis(X, order, axis=1), np.take_along_axis(Z, order, axis=1)
    orthogonal, upper = np.linalg.qr(Z)
    back = _inverses(upper)
    return back @ np.swapaxes(back, 1, 2), back @ (np.swapaxes(orthogonal, 1, 2) @ X)


def _inverses(matrices: Array) -> Array:
    return np.asarray(np.linalg.inv(matrices), dtype=float)


def _roots(matrices: Array) -> Array:
    values, vectors = np.linalg.eigh(matrices)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :])


RULES: dict[str, Rule] = {"leading": leading, "two-term": two_term, "averaged": averaged, "exact": averaged}


@dataclass(frozen=True, eq=False)
class NestedInformation:
    """Information of the fixed effects as a function of the masses (m, μ).

    Parameters
    ----------
    rows : EncodedRows
        In original or (for the averaged and leading rules) standardised random effects: see `information_of`.
    rule : callable
        One of `two_term`, `averaged`, `leading`.
    """

    rows: EncodedRows
    rule: Rule

    @property
    def n_units(self) -> int:
        """Number of unit types, T."""
        return self.rows.region.n_types

    @property
    def n_atoms(self) -> int:
        """Number of atoms, A."""
        return self.rows.region.n_atoms

    @property
    def regressors(self) -> tuple[Array, Index]:
        """Columns of fixed and random effects at each row."""
        return np.hstack([self.rows.X, self.rows.Z]), self.rows.region.atom

    @cached_property
    def blocks(self) -> Blocks:
        """The rows, packed."""
        return pack(self.rows, np.arange(self.rows.region.n_atoms), self.rule is leading)

    def restricted(self, atoms: Index) -> AtomSubset:
        """The same function on some atoms only, the others held at zero."""
        return AtomSubset(pack(self.rows, atoms, self.rule is leading), self.rule, len(atoms), self.rows.region.n_types)

    @cached_property
    def whole(self) -> AtomSubset:
        """The function on all atoms."""
        region = self.rows.region
        return AtomSubset(self.blocks, self.rule, region.n_atoms, region.n_types)

    def sensitivities(self, point: Point, direction: Array) -> Array:
        """ψ of every atom, from the random coefficients θ found on a subset.

        ψ(x) = ϕ⁻¹ Σ_q w_q w(x,u_q) ‖Uᵀ(x − θ_qᵀz)‖², averaged over the rows of the atom.
        """
        assert isinstance(point, InformationPoint)  # a point of this function's own subset
        rows, region = self.rows, self.rows.region
        pulled = point.theta @ direction
        direct, values = rows.X @ direction, np.zeros(len(rows.X))
        for block, own in enumerate(rows_by_block(region.block, len(region.prob))):
            for start in range(0, len(own), CHUNK):
                some = own[start : start + CHUNK]
                square = np.zeros((len(some), len(rows.node_weight)))
                for column in range(direction.shape[1]):
                    residual = direct[some, column, None] - rows.Z[some] @ pulled[block, :, :, column].T
                    square += residual * residual
                values[some] = np.einsum("iq,qi->i", square * rows.node_weight, rows.weight[:, some])
        return region.atom_mean(values)


def rows_by_block(block: Index, count: int) -> list[Index]:
    """Rows of each block."""
    order = np.argsort(block, kind="stable")
    return np.split(order, np.cumsum(np.bincount(block, minlength=count))[:-1])


def pack(rows: EncodedRows, atoms: Index, separate: bool) -> Blocks:
    """Rows of the chosen atoms, by block; `separate` splits coefficients by level for the leading order."""
    region = rows.region
    position = np.full(region.n_atoms, -1)
    position[atoms] = np.arange(len(atoms))
    kept = np.flatnonzero(position[region.atom] >= 0)
    table, real = _padded_index(region.block[kept], len(region.prob))
    index = kept[table]
    Z, rotation, idle = _rotated(rows.Z[index] * real[:, :, None])
    X, absorbed = rows.X[index], np.zeros((len(Z), Z.shape[2], rows.X.shape[1]))
    if separate:
        X, absorbed = _separated(X, Z, real)
    busy = 1.0 - idle
    sigma = np.swapaxes(rotation, 1, 2) @ rows.sigma @ rotation * busy[:, :, None] * busy[:, None, :]
    return Blocks(
        X,
        Z,
        np.moveaxis(rows.weight[:, index], 0, 1),
        region.row_weight[index] * real,
        position[region.atom[index]],
        region.unit,
        region.prob,
        sigma,
        idle,
        rotation,
        absorbed,
        rows.node_weight,
    )


def _padded_index(block: Index, count: int) -> tuple[Index, npt.NDArray[np.bool_]]:
    """Rows of each block, side by side, shape (K, P), with a mask of the real ones."""
    order = np.argsort(block, kind="stable")
    size = np.bincount(block, minlength=count)
    start = np.cumsum(size) - size
    column = np.arange(max(int(size.max()), 1))
    real = column < size[:, None]
    return order[np.where(real, start[:, None] + column, 0)], real


def _rotated(Z: Array) -> tuple[Array, Array, Array]:
    """Random-effect columns rotated to each block's own row space, the rotation, and which columns are idle.

    A block of full rank is left as it is: rotation would mix rows whose weights differ by orders of magnitude.
    """
    rotation = np.array([range_basis(z) for z in Z]).reshape(len(Z), Z.shape[2], Z.shape[2])
    turned = Z @ rotation
    norm = np.linalg.norm(turned, axis=1)
    idle = norm <= np.sqrt(SINGULAR) * norm.max(axis=1, keepdims=True, initial=0.0)
    whole = ~idle.any(axis=1)
    rotation[whole], turned[whole] = np.eye(Z.shape[2]), Z[whole]
    return turned * ~idle[:, None, :], rotation, idle.astype(float)


def _separated(X: Array, Z: Array, real: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Split x into zG, for the coefficients that the units absorb, and x_B C, for a basis of the others.

    A combination δ is absorbed when xδ is a combination of z within every block. A pivoted QR factorisation of
    the columns' residuals from z picks x_B; each remaining column is x_B c + z g.
    """
    X = X * real[:, :, None]
    loading = np.array([np.linalg.lstsq(z, x, rcond=SINGULAR)[0] for z, x in zip(Z, X, strict=True)])
    loading = loading.reshape(len(X), Z.shape[2], X.shape[2])
    residual = (X - Z @ loading).reshape(-1, X.shape[2])
    scale = np.maximum(np.linalg.norm(X.reshape(residual.shape), axis=0), np.finfo(float).tiny)
    _, upper, pivot = scipy.linalg.qr(residual / scale, mode="economic", pivoting=True)
    rank = int((np.abs(np.diag(upper)) > np.sqrt(SINGULAR)).sum())
    within = pivot[:rank]
    combine = np.linalg.lstsq(residual[:, within], residual, rcond=SINGULAR)[0] if rank else np.zeros((0, X.shape[2]))
    combine = np.where(np.abs(combine) < np.sqrt(SINGULAR), 0.0, combine)
    absorbed = loading - loading[:, :, within] @ combine
    absorbed[:, :, within] = 0.0
    return X[:, :, within] @ combine, absorbed


@dataclass(frozen=True, eq=False)
class AtomSubset:
    """The information function on a set of atoms.

    Masses are one vector: the T unit counts, then the total observations of the atoms.
    """

    blocks: Blocks
    rule: Rule
    n_atoms: int
    n_types: int

    def at(self, counts: Array, totals: Array) -> InformationPoint:
        """Value and derivatives at the masses; all must be positive."""
        blocks = self.blocks
        observations = totals[blocks.atom] * blocks.share
        units = counts[blocks.unit] * blocks.prob
        return InformationPoint(self, self.rule(self._moments(units, observations), blocks))

    def _moments(self, units: Array, observations: Array) -> Moments:
        blocks = self.blocks
        k, p, r = len(blocks.X), blocks.X.shape[2], blocks.Z.shape[2]
        rows = np.concatenate([blocks.X, blocks.Z], axis=2)
        outer = (blocks.Z[:, :, :, None] * rows[:, :, None, :]).reshape(k, rows.shape[1], r * (p + r))
        moment = ((blocks.weight * observations[:, None, :]) @ outer).reshape(k, len(blocks.node_weight), r, p + r)
        idle = blocks.idle[:, None, :, None] * np.eye(r) * units[:, None, None, None]
        return Moments(moment[..., :p], moment[..., p:] + idle, units, observations)


@dataclass(frozen=True, eq=False)
class InformationPoint:
    """The information matrix at given masses, and its derivatives."""

    subset: AtomSubset
    solution: Solution

    @cached_property
    def information(self) -> Array:
        """M, summed over blocks, shape (p, p)."""
        return symmetric(self.solution.information.sum(axis=0))

    @property
    def by_type(self) -> Array:
        """Information of each unit type on its own, shape (T, p, p)."""
        return added(self.solution.information, self.subset.blocks.unit, self.subset.n_types)

    @property
    def theta(self) -> Array:
        """θ_q as maps of β in the unrotated columns of Z, shape (K, Q, r, p); under the leading order with G added."""
        blocks = self.subset.blocks
        return np.asarray(blocks.rotation[:, None] @ (self.solution.theta + blocks.absorbed[:, None]))

    def unit_gradients(self) -> Array:
        """∂M/∂m for each unit type, shape (T, p, p)."""
        root, blocks = self.solution.unit_root, self.subset.blocks
        each = blocks.prob[:, None, None] * (np.swapaxes(root, 1, 2) @ root)
        return added(each, blocks.unit, self.subset.n_types)

    def atom_gradients(self) -> Array:
        """∂M/∂μ for each atom, shape (A, p, p)."""
        residual, blocks = self._residuals(np.eye(self.information.shape[0])), self.subset.blocks
        weight = blocks.weight * blocks.node_weight[:, None] * blocks.share[:, None, :]
        weighted = np.moveaxis(weight[..., None] * residual, 1, 3)
        each = weighted @ np.moveaxis(residual, 1, 2)
        return added(each.reshape(-1, *each.shape[2:]), blocks.atom.ravel(), self.subset.n_atoms)

    def parts(self, counts: Array, totals: Array) -> tuple[Array, Array]:
        """Σ m ∂M/∂m over unit types and Σ μ ∂M/∂μ over atoms, shape (p, p) each: M in two, at the point's masses."""
        residual, blocks = self._residuals(np.eye(self.information.shape[0])), self.subset.blocks
        observations = (totals[blocks.atom] * blocks.share)[:, None, :]
        weight = blocks.weight * blocks.node_weight[:, None] * observations
        weighted = (weight[..., None] * residual).reshape(-1, residual.shape[3])
        return np.tensordot(counts, self.unit_gradients(), 1), weighted.T @ residual.reshape(weighted.shape)

    def _residuals(self, direction: Array) -> Array:
        """Uᵀ(x − θ_qᵀz) at each block, node and row, shape (K, Q, P, k)."""
        blocks = self.subset.blocks
        return np.asarray((blocks.X @ direction)[:, None] - blocks.Z[:, None] @ (self.solution.theta @ direction))

    def curvature(self, direction: Array) -> Array:
        """−½ ∂²tr(UᵀMU)/∂z∂zᵀ over the masses (types, then atoms), shape (T + A, T + A), positive semi-definite."""
        blocks, solution = self.subset.blocks, self.solution
        residual = self._residuals(direction) * (blocks.weight * blocks.share[:, None, :])[..., None]
        node = blocks.node_weight[:, None, None]
        moved = blocks.Z[:, None] @ solution.inverse  # F z, shape (K, Q, P, r)
        unit = -blocks.prob[:, None, None, None] * (solution.unit_slope @ direction)
        answered = solution.inverse @ unit
        # Scores are w z ⊗ Uᵀ(x − θz) for atoms: their products are products of inner products.
        among = _over_nodes((moved @ _turned(blocks.Z[:, None])) * (residual @ _turned(residual)) * node)
        across = _over_nodes(np.sum((blocks.Z[:, None] @ answered) * residual, axis=3)[..., None] * node)
        own = _over_nodes(np.sum(answered * unit, axis=(2, 3))[..., None, None] * node)
        each = np.block([[own, _turned(across)], [across, among]])
        mean = np.moveaxis(moved, 1, 3) @ np.moveaxis(residual * node, 1, 2)
        mean = np.concatenate([_over_nodes(answered * node)[:, None], mean], axis=1)
        coupled = solution.coupling[:, None] @ mean
        flat = (*mean.shape[:2], -1)
        return self._scattered(each - mean.reshape(flat) @ _turned(coupled.reshape(flat)))

    def _scattered(self, each: Array) -> Array:
        blocks, types = self.subset.blocks, self.subset.n_types
        index = np.concatenate([blocks.unit[:, None], types + blocks.atom], axis=1)
        total = np.zeros((types + self.subset.n_atoms,) * 2)
        np.add.at(total, (index[:, :, None], index[:, None, :]), each)
        return total


def _turned(values: Array) -> Array:
    return np.swapaxes(values, -1, -2)


def _over_nodes(values: Array) -> Array:
    """Sum over the nodes, the second axis."""
    return np.asarray(values.sum(axis=1))


@lru_cache(maxsize=8)
def information_of(rows: EncodedRows, order: str) -> NestedInformation:
    """The information function of an order; averaged, exact and leading use standardised random effects.

    Raises
    ------
    SpecificationError
        For two terms, where the second is infinite.
    """
    if order == "two-term" and rows.factor is not None:
        check_second_term(rows.link, rows.factor, rows.Z, rows.sigma, rows.region.block, np.zeros(len(rows.Z)))
    return NestedInformation(rows if order == "two-term" else rows.standardised(), RULES[order])


def mass_information(rows: EncodedRows, order: str) -> Information:
    """The information as a function of the masses, in its simplest form: linear where no random effect varies."""
    if rows.sigma.any():
        return information_of(rows, order)
    region = rows.region
    roots = np.sqrt(rows.weight[0] * region.row_weight)[:, None] * rows.X
    return PlainInformation(roots, region.atom, region.n_types, region.n_atoms)
