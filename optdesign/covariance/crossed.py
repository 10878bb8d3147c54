"""Crossed random effects: leading and two-term covariance through the two-way projection operator.

Units of a kind k of factor t have random effects u ~ N(0, Σ_t); data determine functions α_t(k, u) of them. With
masses μ(x) of observations at the labelled points x, and w the conditional Fisher weight, their information is

    ϕ⁻¹ Σ_x μ(x) E_{u₁,u₂} w (x_Bᵀβ_B + z₁ᵀα₁(k₁,u₁) + z₂ᵀα₂(k₂,u₂))²  =:  ζᵀFζ,      ζ = (β_B, α₁, α₂),

where x_B are the coefficients that no combination of z₁ and z₂ reproduces and every x = C x_B + z₁G₁(k₁) + z₂G₂(k₂).
What is estimated is y = (β_B, E α_t(k,u), E J(u)α_t(k,u)), with J(u) = D⁺(u⊗I + I⊗u), up to the directions that F does
not see; its noise is F⁺, and the units that were drawn add Σ_t/m_k to the mean and 2D⁺(Σ_t⊗Σ_t)D⁺ᵀ/m_k to the second
moments of kind k. The covariance is that of generalised least squares of y on (C, G₁, G₂) and the variance components:

    two-term   noise F⁺ and units together             leading   units for y's means, F⁺ for β_B only

Where unit-level covariates are saturated or absent this is E_RΣE_Rᵀ/m + E_CΣ'E_Cᵀ/m' + ϕ{Q + L C_B Lᵀ}/N with the Q, L,
C_B of the two-way operator; elsewhere it differs from it by terms of third order. Derived for this package at the
information level [D], checked against likelihood simulation; for one factor it is the nested formula, for a Gaussian
with the same law of x in every unit it is exact [E]. For β_B a term of relative order 1/m remains: see `finite_units`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy.linalg

from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.covariance.result import AsymptoticCovariance, from_information
from optdesign.covariance.second_term import check_second_term
from optdesign.linalg import SINGULAR, psd_root, symmetric, vech_average, vech_covariance
from optdesign.quadrature import normal_rule

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Side:
    """One factor: its kinds of unit and the quadrature nodes of its random effects."""

    term: RandomTerm
    nodes: Array  # (Q, r), in the columns of term.Z
    node_weight: Array  # (Q,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Kinds, nodes, random effects."""
        return len(self.term.count), len(self.node_weight), self.term.Z.shape[1]

    @property
    def size(self) -> int:
        """Length of α, raveled over kinds, nodes and random effects."""
        return int(np.prod(self.shape))


@dataclass(frozen=True, eq=False)
class Operator:
    """F, by blocks; α of a side is raveled over kinds, nodes and random effects."""

    fixed: Array  # (b, b)
    own: tuple[Array, ...]  # per side (kinds·nodes, r, r)
    with_fixed: tuple[Array, ...]  # per side (size, b)
    between: Array  # (size of the first side, size of the second)


@dataclass(frozen=True, eq=False)
class Split:
    """Every column of X as x = C x_B + z₁G₁ + z₂G₂."""

    within: Array  # (rows, b), x_B
    combine: Array  # (b, p), C
    absorbed: tuple[Array, ...]  # per side (kinds·r, p), G
    residual: Array  # (rows, b), x_B minus its projection on functions of the kinds


def sides_of(rows: LabelledRows, nodes: int) -> tuple[Side, ...]:
    """The factors with their quadrature rules, `nodes` per random effect that varies."""
    sides = []
    for term in rows.terms:
        root = psd_root(term.sigma)
        points, weight = normal_rule(root.shape[1], nodes if root.shape[1] else 1)
        sides.append(Side(term, points @ root.T, weight))
    return tuple(sides)


def crossed_covariance(
    rows: LabelledRows, order: str, nodes: int, components: bool = False, loss: Loss | None = None
) -> AsymptoticCovariance:
    """Covariance of the fixed effects, and of the variance components where asked for, by quadrature.

    Parameters
    ----------
    rows : LabelledRows
        With at most two random terms.
    order : str
        ``"leading"`` or ``"two-term"``.
    nodes : int
        Quadrature nodes per random effect; 1 is exact for a Gaussian without components.
    components : bool
        Whether vech Σ of every factor is estimated too.
    loss : callable, optional
        Information on β_B that finite numbers of units cost.
    """
    rows = rows.standardised() if order == "leading" and not components else rows
    sides = sides_of(rows, nodes)
    units = {side.term.factor: _drawn_units(sides, number, components) for number, side in enumerate(sides)}
    return functional_covariance(rows, sides, units, order, components, loss)


def functional_covariance(
    rows: LabelledRows,
    sides: Sequence[Side],
    units: Mapping[str, Array],
    order: str,
    components: bool = False,
    loss: Loss | None = None,
) -> AsymptoticCovariance:
    """Covariance from generalised least squares of y; `units` has the covariance of y's unit part by source."""
    if order != "leading":
        _check_second_terms(rows, sides)
    split = split_columns(rows, sides)
    operator = operator_of(rows, sides, split.within)
    if loss is not None:
        operator = replace(operator, fixed=operator.fixed - loss(rows, sides, split))
    fixed = split.within.shape[1]
    noise, blind = _noise(operator, _functionals(sides, fixed, components))
    if order == "leading":
        still = _still_noise(
            sum(units.values(), np.zeros_like(noise[fixed:, fixed:])), noise[fixed:, fixed:], blind[fixed:]
        )
        noise = scipy.linalg.block_diag(noise[:fixed, :fixed], still)
    parts = {source: _after(fixed, part) for source, part in units.items()} | {"observation": noise}
    information, shares = _regressed(_load(sides, split, components), blind, list(parts.values()))
    estimated = rows.terms if components else ()
    names = (*rows.names, *(name for term in estimated for name in term.component_names))
    estimate = np.concatenate([rows.beta, *(term.components for term in estimated)])
    return from_information(information, dict(zip(parts, shares, strict=True)), order, names, rows.aliases, estimate)


def _check_second_terms(rows: LabelledRows, sides: Sequence[Side]) -> None:
    """Each factor's effects given the others', over which the weight is averaged."""
    for side in sides:
        others = [each.term for each in sides if each is not side]
        spread = np.zeros(len(rows.X)) + sum(np.einsum("ri,ij,rj->r", t.Z, t.sigma, t.Z) for t in others)
        check_second_term(rows.link, side.term.factor, side.term.Z, side.term.sigma, side.term.level, spread)


def _after(size: int, matrix: Array) -> Array:
    """The matrix below and right of a block of zeros."""
    return np.asarray(np.pad(matrix, (size, 0)))


def split_columns(rows: LabelledRows, sides: Sequence[Side]) -> Split:
    """Which coefficients the units absorb: those whose column is a function of the kinds times z.

    A pivoted QR factorisation of what is left of the columns after projection on such functions picks x_B.
    """
    mass = np.sqrt(rows.observations)[:, None]
    functions = [_functions(side.term) for side in sides]
    basis = np.concatenate([np.zeros((len(rows.X), 0)), *functions], axis=1)
    loading = np.linalg.lstsq(mass * basis, mass * rows.X, rcond=SINGULAR)[0]
    left = rows.X - basis @ loading
    scale = np.maximum(np.linalg.norm(mass * rows.X, axis=0), np.finfo(float).tiny)
    _, upper, pivot = scipy.linalg.qr(mass * left / scale, mode="economic", pivoting=True)
    rank = int((np.abs(np.diag(upper)) > np.sqrt(SINGULAR)).sum())
    chosen = pivot[:rank]
    combine = np.linalg.lstsq(mass * left[:, chosen], mass * left, rcond=SINGULAR)[0] if rank else left[:0]
    combine = np.where(np.abs(combine) < np.sqrt(SINGULAR), 0.0, combine)
    combine[:, chosen] = np.eye(rank)
    absorbed = loading - loading[:, chosen] @ combine
    ends = np.cumsum([f.shape[1] for f in functions])[:-1]
    return Split(rows.X[:, chosen], combine, tuple(np.split(absorbed, ends)) if functions else (), left[:, chosen])


def _functions(term: RandomTerm) -> Array:
    """z times the indicator of each kind, shape (rows, kinds·r)."""
    indicator = np.eye(len(term.count))[term.level]
    return np.asarray((indicator[:, :, None] * term.Z[:, None, :]).reshape(len(term.level), -1))


def operator_of(rows: LabelledRows, sides: Sequence[Side], within: Array) -> Operator:
    """F, accumulated over the points and the nodes of both sides."""
    first, second = pair_of(rows, sides)
    weight = node_weights(rows, first, second)
    mean = weight.sum(axis=(1, 2))
    marginal = (weight.sum(axis=2), weight.sum(axis=1))
    pair = zip((first, second), marginal, strict=True)
    own, with_fixed = zip(*(_side_blocks(side, each, within) for side, each in pair), strict=True)
    return Operator(within.T @ (mean[:, None] * within), own, with_fixed, _between(weight, first, second))


def node_weights(rows: LabelledRows, first: Side, second: Side) -> Array:
    """μ ω₁ ω₂ w/ϕ at every point and pair of nodes, shape (rows, Q₁, Q₂)."""
    shift = first.term.Z @ first.nodes.T
    other = second.term.Z @ second.nodes.T
    eta = rows.eta[:, None, None] + shift[:, :, None] + other[:, None, :]
    weight = np.moveaxis(rows.weight(np.moveaxis(eta, 0, -1)), -1, 0)
    probability = np.outer(first.node_weight, second.node_weight)
    return np.asarray(weight * probability * rows.observations[:, None, None])


def pair_of(rows: LabelledRows, sides: Sequence[Side]) -> tuple[Side, Side]:
    """Two sides, those that are missing without random effects."""
    size = len(rows.X)
    empty = RandomTerm("", (), np.zeros(size, dtype=np.intp), np.ones(1), np.zeros((size, 0)), np.zeros((0, 0)))
    nothing = Side(empty, np.zeros((1, 0)), np.ones(1))
    first, second = [*sides, nothing, nothing][:2]
    return first, second


def _side_blocks(side: Side, weight: Array, within: Array) -> tuple[Array, Array]:
    """Blocks of F on one side's own functions, and of these with β_B; `weight` has shape (rows, Q)."""
    kinds, nodes, r = side.shape
    z = side.term.Z
    outer = (z[:, :, None] * np.concatenate([z, within], axis=1)[:, None, :]).reshape(len(z), -1)
    total = np.zeros((kinds, nodes, outer.shape[1]))
    for kind in range(kinds):
        at = np.flatnonzero(side.term.level == kind)
        total[kind] = weight[at].T @ outer[at]
    total = total.reshape(kinds * nodes, r, r + within.shape[1])
    return total[:, :, :r], total[:, :, r:].reshape(side.size, within.shape[1])


def _between(weight: Array, first: Side, second: Side) -> Array:
    """Block of F between the functions of the two sides."""
    shape = (*first.shape, *second.shape)
    total = np.zeros((shape[0], shape[3], shape[1], shape[4], shape[2], shape[5]))
    outer = first.term.Z[:, :, None] * second.term.Z[:, None, :]
    each = weight[:, :, :, None, None] * outer[:, None, None]
    np.add.at(total, (first.term.level, second.term.level), each)
    return np.asarray(total.transpose(0, 2, 4, 1, 3, 5).reshape(first.size, second.size))


def _functionals(sides: Sequence[Side], fixed: int, components: bool) -> list[Array]:
    """What is estimated, y = Tζ: the columns of T on β_B, then on each side's functions, rows in the order of y."""
    blocks = [np.eye(fixed), *(_of_side(side, components) for side in sides)]
    return np.split(scipy.linalg.block_diag(*blocks), np.cumsum([b.shape[1] for b in blocks])[:-1], axis=1)


def _of_side(side: Side, components: bool) -> Array:
    """E α and, with components, E J(u)α of every kind, as rows on α."""
    kinds, _, r = side.shape
    maps = [np.broadcast_to(np.eye(r), (len(side.nodes), r, r))]
    if components:
        average, one = vech_average(r), np.eye(r)
        maps.append(np.array([average @ (np.kron(u[:, None], one) + np.kron(one, u[:, None])) for u in side.nodes]))
    each = np.concatenate(maps, axis=1) * side.node_weight[:, None, None]
    return np.asarray(np.kron(np.eye(kinds), np.moveaxis(each, 0, 1).reshape(each.shape[1], len(side.nodes) * r)))


def _drawn_units(sides: Sequence[Side], number: int, components: bool) -> Array:
    """Covariance that the drawn units of one side add to the part of y that belongs to units."""
    blocks = [_of_units(side, components) * (at == number) for at, side in enumerate(sides)]
    return np.asarray(scipy.linalg.block_diag(*blocks), dtype=float)


def _of_units(side: Side, components: bool) -> Array:
    one = side.term.sigma
    if components:
        one = scipy.linalg.block_diag(one, vech_covariance(one))
    return np.asarray(np.kron(np.diag(1.0 / side.term.count), one))


def _load(sides: Sequence[Side], split: Split, components: bool) -> Array:
    """Mean of y as a linear function of β and the variance components."""
    p, rows = split.combine.shape[1], [split.combine]
    sizes = [len(side.term.sigma) * (len(side.term.sigma) + 1) // 2 for side in sides] if components else []
    for number, (side, absorbed) in enumerate(zip(sides, split.absorbed, strict=True)):
        kinds, _, r = side.shape
        columns = [absorbed.reshape(kinds, r, p)]
        if components:
            columns[0] = np.concatenate([columns[0], np.zeros((kinds, r, sum(sizes)))], axis=2)
            own = np.zeros((kinds, sizes[number], p + sum(sizes)))
            own[:, :, p + sum(sizes[:number]) :][:, :, : sizes[number]] = np.eye(sizes[number])
            columns.append(own)
        rows.append(np.concatenate(columns, axis=1).reshape(-1, p + sum(sizes)))
    rows[0] = np.concatenate([rows[0], np.zeros((len(rows[0]), sum(sizes)))], axis=1)
    return np.concatenate(rows)


def _noise(operator: Operator, estimated: list[Array]) -> tuple[Array, Array]:
    """T F⁻ Tᵀ for a generalised inverse of F, and a basis of T(null space of F), which the data cannot see.

    The first side is eliminated block by block; what is left is scaled and inverted by its eigenvalues.
    """
    fixed, first, second = (*estimated, *[estimated[0][:, :0]] * (3 - len(estimated)))[:3]
    inverse, hidden = block_inverses(operator.own[0], operator.own[0])
    coupling = np.concatenate([operator.with_fixed[0], operator.between], axis=1)
    pulled = blocks_times(inverse, coupling)
    rest = np.block(
        [[operator.fixed, operator.with_fixed[1].T], [operator.with_fixed[1], block_diagonal(operator.own[1])]]
    )
    (reduced,), (null,) = block_inverses(symmetric(rest - coupling.T @ pulled)[None], rest[None])
    target = np.concatenate([fixed, second], axis=1) - first @ pulled
    noise = first @ blocks_times(inverse, first.T) + target @ reduced @ target.T
    return symmetric(noise), np.concatenate([target @ null, _hidden_images(first, hidden)], axis=1)


def block_inverses(blocks: Array, sizes: Array) -> tuple[Array, Array]:
    """Generalised inverses of symmetric blocks, and vectors that span their null spaces, zero where there is none.

    What is null is judged against the diagonal of `sizes`: the blocks before elimination took something away.
    """
    scale = np.sqrt(np.diagonal(sizes, axis1=1, axis2=2))
    scale = np.where(scale > 0, 1.0 / np.where(scale > 0, scale, 1.0), 0.0)
    values, vectors = np.linalg.eigh(blocks * scale[:, :, None] * scale[:, None, :])
    kept = values > SINGULAR
    inner = (vectors * np.where(kept, 1.0 / np.where(kept, values, 1.0), 0.0)[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    own = np.where(scale > 0, scale, 1.0)[:, :, None]
    return inner * scale[:, :, None] * scale[:, None, :], own * vectors * ~kept[:, None, :]


def blocks_times(blocks: Array, matrix: Array) -> Array:
    """A block-diagonal matrix times a dense one."""
    split = matrix.reshape(len(blocks), blocks.shape[1], matrix.shape[1])
    return np.asarray((blocks @ split).reshape(matrix.shape))


def block_diagonal(blocks: Array) -> Array:
    """Blocks of equal size as one matrix."""
    count, r, _ = blocks.shape
    matrix = np.zeros((count, r, count, r))
    matrix[np.arange(count), :, np.arange(count), :] = blocks
    return np.asarray(matrix.reshape(count * r, count * r))


def _hidden_images(functional: Array, hidden: Array) -> Array:
    """T of the null vectors of each block, shape (rows of y, number of them)."""
    count, r, _ = hidden.shape
    block, vector = np.nonzero(np.abs(hidden).any(axis=1))
    columns = functional.reshape(len(functional), count, r)[:, block]
    return np.asarray(np.einsum("ybi,bi->yb", columns, hidden[block, :, vector]))


def _still_noise(units: Array, noise: Array, blind: Array) -> Array:
    """The noise of those seen directions of the units' part of y that drawn units leave without variance.

    Kinds within one outer unit share its effects: their contrasts have no variance from it, and are known up to noise.
    """
    scale = np.sqrt(np.where(np.diag(units) > 0, np.diag(units), np.diag(noise)))
    scale = np.where(scale > 0, scale, 1.0)[:, None]
    basis = _complement(blind / scale)
    seen = basis / scale
    values, vectors = np.linalg.eigh(symmetric(seen.T @ units @ seen))
    still = vectors[:, values <= SINGULAR * values.max(initial=0.0)]
    back = scale * (basis @ still) @ (seen @ still).T
    return symmetric(back @ noise @ back.T)


def _regressed(load: Array, blind: Array, parts: list[Array]) -> tuple[Array, list[Array]]:
    """Information of generalised least squares of y on `load`, its directions in `blind` left out, and its parts."""
    total = np.sum(parts, axis=0)
    scale = np.sqrt(np.diag(total))
    scale = np.where(scale > 0, scale, 1.0)[:, None]
    seen = _complement(blind / scale) / scale
    design = seen.T @ load
    root = scipy.linalg.cholesky(symmetric(seen.T @ total @ seen), lower=True)
    weights = seen @ scipy.linalg.solve_triangular(
        root, scipy.linalg.solve_triangular(root, design, lower=True), lower=True, trans="T"
    )
    shares = [weights.T @ part @ weights for part in parts]
    return symmetric(np.sum(shares, axis=0)), shares


def _complement(vectors: Array) -> Array:
    """Orthonormal basis of what is orthogonal to some vectors."""
    lengths = np.linalg.norm(vectors, axis=0)
    unit = vectors[:, lengths > 0] / lengths[lengths > 0]
    basis, values, _ = np.linalg.svd(unit, full_matrices=True)
    return np.asarray(basis[:, int((values > np.sqrt(SINGULAR)).sum()) :])


#: Information on β_B that finite numbers of units cost, shape (b, b).
Loss = Callable[[LabelledRows, Sequence[Side], Split], Array]
