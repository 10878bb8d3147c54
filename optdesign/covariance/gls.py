"""Generalised least squares in any layout: exact for a Gaussian, and conditional on the random effects otherwise.

With a random coefficient vector per unit the information on β is a partial minimum,

    βᵀMβ = min_a  Σ_x μ(x) w/ϕ (xᵀβ − Σ_t z_tᵀa_t)²  +  Σ_t Σ_units a_tᵀΣ_t⁻¹a_t      (M = XᵀV⁻¹X for a Gaussian [E])

It is convex and symmetric under exchange of units of one kind that see the same law of points, so that one vector per
kind, counted as often as there are units, gives the same minimum: designs need as many unknowns as kinds, data frames
as many as units. M is returned as the sum of squares at the minimum, which cancels nowhere; an error in a of size ε
costs ε².

Variance components: I_ij = ½ tr(V⁻¹V̇_iV⁻¹V̇_j) for maximum likelihood, with P = V⁻¹ − V⁻¹X(XᵀV⁻¹X)⁻¹XᵀV⁻¹ in place
of V⁻¹ for restricted maximum likelihood, from the blocks of ZᵀV⁻¹Z; fixed effects and components are orthogonal [E].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse.linalg
from scipy import sparse

from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.covariance.result import AsymptoticCovariance, from_information
from optdesign.errors import SpecificationError
from optdesign.linalg import duplication, generalised_inverse, symmetric

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Unknowns beside those of the largest factor that are solved for as a dense matrix.
MOST_DENSE = 6000
#: Random effects whose variance components are worked out exactly.
MOST_EFFECTS = 3000


@dataclass(frozen=True, eq=False)
class Information:
    """Information on the fixed effects, in all and by source."""

    total: Array
    parts: Mapping[str, Array]


def information(rows: LabelledRows, weight: Array) -> Information:
    """M of the module's formula, at given Fisher weights.

    Parameters
    ----------
    rows : LabelledRows
    weight : array, shape (rows,)
        w/ϕ of one observation at each row; 1/σ² for a Gaussian.
    """
    mass = rows.observations * weight
    effects, counts = _effects_and_counts(rows)
    solutions = solver(effects, counts, mass)(rows.X)
    residual, parts = rows.X, {}
    for term, z, count, solution in zip(rows.terms, effects, counts, solutions, strict=True):
        residual = residual - z @ solution
        parts[term.factor] = symmetric(solution.T @ (count[:, None] * solution))
    parts["observation"] = symmetric(residual.T @ (mass[:, None] * residual))
    return Information(np.sum(list(parts.values()), axis=0), parts)


def _effects_and_counts(rows: LabelledRows) -> tuple[list[sparse.csr_array], list[Array]]:
    """Standardised random-effect columns of every term, and how many units each column stands for."""
    effects = [_effects(term) for term in rows.terms]
    pairs = zip(rows.terms, effects, strict=True)
    return effects, [np.repeat(term.count, z.shape[1] // len(term.count)) for term, z in pairs]


def _effects(term: RandomTerm) -> sparse.csr_array:
    """Standardised random-effect columns of every unit, shape (rows, units·rank)."""
    return _by_unit(term.level, len(term.count), term.standardised().Z)


def _by_unit(level: Index, units: int, columns: Array) -> sparse.csr_array:
    """Columns of their own for every unit, shape (rows, units·r)."""
    rows, rank = columns.shape
    index = (level[:, None] * rank + np.arange(rank)).ravel()
    start = np.arange(0, rows * rank + 1, max(rank, 1)) if rank else np.zeros(rows + 1, dtype=int)
    return sparse.csr_array((columns.ravel(), index, start), shape=(rows, units * rank))


def solver(effects: Sequence[sparse.csr_array], counts: Sequence[Array], mass: Array) -> Callable[[Array], list[Array]]:
    """The map from columns f to the a that minimises Σ mass (f − Σ z a)² + Σ count a², one array per term.

    The term with most unknowns is eliminated block by block, for its units share no observation; the rest is dense, or
    sparse where it is large.
    """
    if not effects:
        return lambda _: []
    largest = int(np.argmax([z.shape[1] for z in effects]))
    order = [largest, *(i for i in range(len(effects)) if i != largest)]
    first, rest = effects[largest], sparse.hstack([sparse.csr_array((len(mass), 0)), *(effects[i] for i in order[1:])])
    weighted = first.multiply(mass[:, None]).tocsr()
    own = scipy.sparse.linalg.splu((first.T @ weighted + sparse.diags_array(counts[largest])).tocsc())
    other = sparse.csr_array(rest).multiply(mass[:, None]).tocsr()
    coupling = (weighted.T @ rest).tocsc()
    penalty = np.concatenate([np.zeros(0), *(counts[i] for i in order[1:])])
    left = _remaining(rest.T @ other + sparse.diags_array(penalty), coupling, own)
    ends = np.cumsum([effects[i].shape[1] for i in order[1:]])[:-1]

    def solve(columns: Array) -> list[Array]:
        lead, behind = weighted.T @ columns, other.T @ columns
        tail = left(behind - coupling.T @ own.solve(lead))
        head = own.solve(lead - coupling @ tail)
        pieces = [head, *(np.split(tail, ends) if len(order) > 1 else [])]
        return [pieces[order.index(i)] for i in range(len(effects))]

    return solve


def _remaining(matrix: sparse.csr_array, coupling: sparse.csc_array, own: Any) -> Callable[[Array], Array]:
    """Solver for what is left after elimination of the largest term."""
    if matrix.shape[0] == 0:
        return lambda columns: columns
    if matrix.shape[0] > MOST_DENSE:
        raise SpecificationError(
            f"{matrix.shape[0]} random effects beside those of the largest factor are too many for an exact answer "
            f"(at most {MOST_DENSE}): use order 'two-term', which needs only counts and moments."
        )
    dense = matrix.toarray()
    for start in range(0, dense.shape[1], 256):
        columns = coupling[:, start : start + 256].toarray()
        dense[:, start : start + 256] -= coupling.T @ own.solve(columns)
    factor = scipy.linalg.cho_factor(symmetric(dense), lower=True, overwrite_a=True)
    return lambda columns: np.asarray(scipy.linalg.cho_solve(factor, columns))


def gls_covariance(rows: LabelledRows, order: str) -> AsymptoticCovariance:
    """Covariance of the fixed effects of a Gaussian model: the inverse of XᵀV⁻¹X."""
    found = information(rows, rows.weight(rows.eta))
    return from_information(found.total, found.parts, order, rows.names, rows.aliases, rows.beta)


def component_covariance(rows: LabelledRows, order: str, reml: bool) -> AsymptoticCovariance:
    """Covariance of the variance components and the residual variance of a Gaussian, every unit listed on its own.

    Raises
    ------
    SpecificationError
        For more than 3,000 random effects, or a number of units that is not whole.
    """
    _check_listed(rows)
    matrix = component_information(rows, reml)
    names = [name for term in rows.terms for name in term.component_names]
    estimate = np.concatenate([*(term.components for term in rows.terms), [rows.residual_variance]])
    return from_information(matrix, {}, order, (*names, "dispersion"), {}, estimate)


def _check_listed(rows: LabelledRows) -> None:
    effects = sum(len(term.count) * term.Z.shape[1] for term in rows.terms)
    if effects > MOST_EFFECTS:
        raise SpecificationError(
            f"variance components are worked out exactly for at most {MOST_EFFECTS} random effects; there are "
            f"{effects}: use order 'two-term'."
        )
    for term in rows.terms:
        if (np.abs(term.count - 1.0) > 1e-9).any():
            raise SpecificationError(
                f"exact variance components need a whole number of units of every kind of '{term.factor}'."
            )


def component_information(rows: LabelledRows, reml: bool = False) -> Array:
    """½ tr(V⁻¹V̇_iV⁻¹V̇_j) over vech Σ of every term and σ², or with P for V⁻¹.

    With A = ZᵀZ/σ² and H = (I + GA)⁻¹, V⁻¹Z = ZH/σ², so that ZᵀV⁻¹Z = AH, ZᵀV⁻²Z = HᵀAH/σ² and, for N observations
    and q random effects, tr V⁻² = (N − q + tr H²)/σ⁴: nothing cancels, and nothing has a row per observation.

    Where a level stands for several units the effects are the units' means, of covariance Σ/count: what the units
    differ by is not in it (see `strata`).
    """
    precision = 1.0 / rows.residual_variance
    Z = unit_columns(rows.terms, len(rows.X))
    G = scipy.linalg.block_diag(np.zeros((0, 0)), *(np.kron(np.eye(len(t.count)), t.sigma) for t in rows.terms))
    moment = precision * (Z.T @ Z.multiply(rows.observations[:, None])).toarray()
    inverse = np.linalg.inv(np.eye(len(G)) + G @ moment)
    between = moment @ inverse
    square = precision * inverse.T @ between
    trace = precision**2 * float(rows.observations.sum() - len(G) + np.sum(inverse * inverse.T))
    if reml:
        between, square, trace = _projected(rows, Z, (between, square, trace))
    return _traces(rows.terms, between, square, trace)


def unit_columns(terms: Sequence[RandomTerm], rows: int) -> sparse.csr_array:
    """Random-effect columns of every level, of effects with covariance Σ each, shape (rows, Σ levels·r)."""
    scaled = [(term, term.Z / np.sqrt(term.count[term.level])[:, None]) for term in terms]
    columns = [_by_unit(term.level, len(term.count), z) for term, z in scaled]
    return sparse.csr_array(sparse.hstack([sparse.csr_array((rows, 0)), *columns]))


def _projected(
    rows: LabelledRows, Z: sparse.csr_array, plain: tuple[Array, Array, float]
) -> tuple[Array, Array, float]:
    """ZᵀPZ, ZᵀP²Z and tr P² from the same with V⁻¹; P depends on the space that X spans, whatever its rank."""
    between, square, trace = plain
    mass = rows.observations[:, None]
    whitened = whitener(rows)
    first = whitened(rows.X)
    second = whitened(first)
    covariance = generalised_inverse(information(rows, rows.weight(rows.eta)).total)
    once, twice = Z.T @ (mass * first), Z.T @ (mass * second)
    inner, cubic = covariance @ (first.T @ (mass * first)), covariance @ (first.T @ (mass * second))
    cross = twice @ covariance @ once.T
    between = between - once @ covariance @ once.T
    square = square - cross - cross.T + once @ inner @ covariance @ once.T
    return between, square, float(trace - 2.0 * np.trace(cubic) + np.trace(inner @ inner))


def whitener(rows: LabelledRows) -> Callable[[Array], Array]:
    """V⁻¹ times columns that all units of a level share: their weighted residuals from the random effects."""
    weight = rows.weight(rows.eta)
    effects, counts = _effects_and_counts(rows)
    solve = solver(effects, counts, rows.observations * weight)

    def whitened(columns: Array) -> Array:
        fitted = np.sum([z @ each for z, each in zip(effects, solve(columns), strict=True)], axis=0)
        return np.asarray(weight[:, None] * (columns - fitted))

    return whitened


def _traces(terms: Sequence[RandomTerm], between: Array, square: Array, trace: float) -> Array:
    ends = np.cumsum([0, *(len(t.count) * t.Z.shape[1] for t in terms)])
    maps = [duplication(t.Z.shape[1]) for t in terms]
    rows = []
    for i, (left, term) in enumerate(zip(maps, terms, strict=True)):
        row = []
        for j, (right, other) in enumerate(zip(maps, terms, strict=True)):
            shape = (len(term.count), term.Z.shape[1], len(other.count), other.Z.shape[1])
            block = between[ends[i] : ends[i + 1], ends[j] : ends[j + 1]].reshape(shape)
            pair = np.einsum("satb,sctd->acbd", block, block, optimize=True)
            row.append(left.T @ pair.reshape(left.shape[0], right.shape[0]) @ right)
        own = square[ends[i] : ends[i + 1], ends[i] : ends[i + 1]].reshape((len(term.count), term.Z.shape[1]) * 2)
        row.append(left.T @ np.einsum("sasb->ab", own).reshape(-1, 1))
        rows.append(row)
    last = [row[-1].T for row in rows] + [np.array([[trace]])]
    return symmetric(0.5 * np.block([*rows, last]))
