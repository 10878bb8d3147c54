"""What finite numbers of units cost the coefficients that no random effect touches, in crossed layouts.

The two-term formula takes the units' coefficients as functions that are known; estimating them uses up degrees of
freedom. Both losses below are of relative order 1/m + 1/m' and are subtracted from the information on β_B.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optdesign.covariance.crossed import (
    Operator,
    Side,
    Split,
    block_diagonal,
    block_inverses,
    blocks_times,
    node_weights,
    operator_of,
    pair_of,
)
from optdesign.covariance.labelled import LabelledRows
from optdesign.errors import SpecificationError
from optdesign.linalg import summed, symmetric

Array = npt.NDArray[np.float64]


def degrees_of_freedom_loss(rows: LabelledRows, sides: Sequence[Side], split: Split, squares: float) -> Array:
    """Information that a Gaussian's random effects take from covariates drawn for each observation, shape (b, b).

    (edf/N) Σ_x μ(x) σ⁻² Cov(r | chosen covariates), r the residual of x_B from z: only what is drawn is ever
    confounded with units; a covariate that is set is spread evenly over them and loses nothing. [D]

    Parameters
    ----------
    squares : float
        Sum over cells of the square of their number of observations.
    """
    share = effective_df(rows, sides, split, squares) / rows.observations.sum()
    weight = rows.observations * rows.weight(rows.eta)
    total = summed(rows.chosen, weight, int(rows.chosen.max()) + 1)
    mean = np.zeros((len(total), split.residual.shape[1]))
    np.add.at(mean, rows.chosen, weight[:, None] * split.residual)
    drawn = split.residual - (mean / total[:, None])[rows.chosen]
    return np.asarray(share * drawn.T @ (weight[:, None] * drawn))


def effective_df(rows: LabelledRows, sides: Sequence[Side], split: Split, squares: float) -> float:
    """Effective degrees of freedom of the random effects and of the coefficients they absorb.

    edf = d_A + Σ_t (m_t − 1) tr{(Ω_t + σ²/n_t Σ_t⁻¹)⁻¹ Ω_t}, Ω_t = E zzᵀ and n_t the observations per unit, written
    without inverses. Exact in σ² E tr(P) for random intercepts in a complete crossing; for random intercepts in an
    incomplete one the singular values of the incidence are all taken to be their root mean square.
    """
    total = float(rows.observations.sum())
    variance = rows.residual_variance
    absorbed = float(split.combine.shape[1] - split.combine.shape[0])
    units = [float(side.term.count.sum()) for side in sides]
    shrunk = [_shrinkage(rows, side, variance * m / total) for side, m in zip(sides, units, strict=True)]
    if len(sides) == 2 and all(_is_intercept(side) for side in sides):
        return absorbed + _intercepts_df(units, [total / m for m in units], [s[0] for s in shrunk], squares)
    return absorbed + sum((m - 1.0) * float(s.sum()) for m, s in zip(units, shrunk, strict=True))


def _shrinkage(rows: LabelledRows, side: Side, noise: float) -> Array:
    """Eigenvalues of (Ω + noise Σ⁻¹)⁻¹Ω, shape (rank of Σ,)."""
    Z = side.term.standardised().Z
    moment = Z.T @ (rows.observations[:, None] * Z) / rows.observations.sum()
    values = np.maximum(np.linalg.eigvalsh(moment), 0.0)
    return np.asarray(values / (values + noise))


def _is_intercept(side: Side) -> bool:
    return side.shape[2] == 1 and np.ptp(side.term.Z) == 0.0 and side.term.sigma[0, 0] > 0.0


def _intercepts_df(units: list[float], sizes: list[float], shrunk: list[float], squares: float) -> float:
    """Sum over singular values s of 2 − {λ₁(k₂ + λ₂) + λ₂(k₁ + λ₁)}/{(k₁ + λ₁)(k₂ + λ₂) − s²}, and the units left over.

    In f_t = k_t/(k_t + λ_t) and q = s²/(k₁k₂) the summand is (f₁ + f₂ − 2 f₁f₂q)/(1 − f₁f₂q).
    """
    fewest = min(units)
    excess = max(squares - sizes[0] * sizes[1], 0.0) / max(fewest - 1.0, 1.0)
    product = shrunk[0] * shrunk[1] * min(excess / (sizes[0] * sizes[1]), 1.0)
    each = (sum(shrunk) - 2.0 * product) / (1.0 - product)
    return (fewest - 1.0) * each + sum((m - fewest) * f for m, f in zip(units, shrunk, strict=True))


def curvature_loss(rows: LabelledRows, sides: Sequence[Side], split: Split, replicates: float) -> Array:
    """Leverage of the units' estimates, less prior gain, plus cross-information with the variances, shape (b, b). [H]

    With r = x_B − a(U) − b(V) the residual from the two-way projection, per side

        Σ_units E[E{(Σ_j w_j r_j)²|U} / {E(Σ_j w_j|U) + 1/σ²}] − m Var a(U)/σ² + m (E 2U a)²/(2σ⁴)

    with the inner sum over a cell's replicates. For random intercepts; a heuristic that matched every simulated
    complete crossing of one replicate within its error.

    Parameters
    ----------
    replicates : float
        Observations per observed cell.
    """
    _check_intercepts(sides)
    pair = pair_of(rows, sides)
    operator = operator_of(rows, sides, split.within)
    first, second = (p.reshape(*side.shape[:2], -1) for p, side in zip(_projections(operator), pair, strict=True))
    weight = node_weights(rows, *pair)
    probability = np.outer(pair[0].node_weight, pair[1].node_weight)
    residual = split.within[:, None, None] - first[pair[0].term.level][:, :, None] - second[pair[1].term.level][:, None]
    score = (weight / (rows.observations[:, None, None] * probability))[..., None] * residual
    pull = (
        1.0 / _precision(pair[0], weight.sum(axis=2))[:, :, None]
        + 1.0 / _precision(pair[1], weight.sum(axis=1))[:, None]
    )
    loss = np.einsum("rql,rqli,rqlj->ij", rows.observations[:, None, None] * probability * pull, score, score)
    if replicates > 1:
        loss += (replicates - 1.0) * _between_cells(rows, pair, score, pull * probability)
    return np.asarray(loss - sum(_gain(s, a) for s, a in zip(pair, (first, second), strict=True) if s.size))


def _check_intercepts(sides: Sequence[Side]) -> None:
    for side in sides:
        if not _is_intercept(side):
            raise SpecificationError(
                f"order 'refined' is defined for random intercepts of positive variance; '{side.term.factor}' has "
                f"random {', '.join(side.term.names)}. Use 'two-term' or 'averaged'."
            )


def _projections(operator: Operator) -> tuple[Array, Array]:
    """Functions a and b of both sides that are nearest to x_B, by elimination of the first side."""
    inverse, _ = block_inverses(operator.own[0], operator.own[0])
    pulled = blocks_times(inverse, operator.between)
    rest = block_diagonal(operator.own[1])
    (reduced,), _ = block_inverses(symmetric(rest - operator.between.T @ pulled)[None], rest[None])
    second = reduced @ (operator.with_fixed[1] - pulled.T @ operator.with_fixed[0])
    return blocks_times(inverse, operator.with_fixed[0] - operator.between @ second), second


def _precision(side: Side, weight: Array) -> Array:
    """Information on a unit's intercept plus its prior precision, at every row and node; infinite without effects."""
    if not side.size:
        return np.full(weight.shape, np.inf)
    total = np.zeros(side.shape[:2])
    np.add.at(total, side.term.level, weight)
    precision = total / np.outer(side.term.count, side.node_weight) + 1.0 / side.term.sigma[0, 0]
    return np.asarray(precision[side.term.level])


def _between_cells(rows: LabelledRows, pair: Sequence[Side], score: Array, weight: Array) -> Array:
    """Σ over kinds of cell of mass × (mean score)(mean score)ᵀ, for the replicates of a cell share U and V."""
    cell = pair[0].term.level * len(pair[1].term.count) + pair[1].term.level
    total = np.zeros((score.shape[-1],) * 2)
    for number in np.unique(cell):
        at = np.flatnonzero(cell == number)
        mass = rows.observations[at]
        mean = np.tensordot(mass / mass.sum(), score[at], 1)
        total += mass.sum() * np.einsum("ql,qli,qlj->ij", weight[at[0]], mean, mean)
    return total


def _gain(side: Side, projection: Array) -> Array:
    """Prior gain less cross-information of one side."""
    variance, count = side.term.sigma[0, 0], side.term.count
    mean = np.einsum("q,kqb->kb", side.node_weight, projection)
    spread = np.einsum("k,q,kqi,kqj->ij", count, side.node_weight, *[projection - mean[:, None]] * 2)
    slope = np.einsum("k,q,kqb->b", count / count.sum(), 2.0 * side.node_weight * side.nodes[:, 0], projection)
    return np.asarray(spread / variance - count.sum() * np.outer(slope, slope) / (2.0 * variance**2))
