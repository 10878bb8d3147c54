"""Degrees of freedom of t statistics of a Gaussian model, by Satterthwaite's approximation.

The variance of an estimated combination c′β̂ is a function of the variance components θ (vech Σ of every term, σ²),

    f(θ) = c′(XᵀV⁻¹X)⁻¹c,    ∂f/∂θ_i = c′(XᵀV⁻¹X)⁻¹ XᵀV⁻¹V̇_iV⁻¹X (XᵀV⁻¹X)⁻¹c,

and f(θ̂) has about the law of f χ²_ν/ν with the variance that θ̂ gives it,

    ν = 2f² / (gᵀ Cov(θ̂) g),    g = ∂f/∂θ,

Cov(θ̂) the inverse of the information of restricted maximum likelihood. Where f is a combination of independent mean
squares, Σ a_s λ_s on ν_s degrees of freedom each, this is (Σ a_s λ_s)²/Σ (a_s λ_s)²/ν_s; where it is one, ν is its ν_s
and the t distribution exact. [E for these; an approximation elsewhere]
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from optdesign.covariance.gls import information, unit_columns, whitener
from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.covariance.strata import strata_information
from optdesign.linalg import duplication, generalised_inverse, unit_diagonal

Array = npt.NDArray[np.float64]

#: Relative eigenvalue of the components' information, scaled to a unit diagonal, that counts as rounding.
COMPONENTS_SINGULAR = 1e-9


def satterthwaite(rows: LabelledRows, combinations: Array, crossed: bool) -> Array:
    """Degrees of freedom ν of each of some estimable combinations of the coefficients, shape (q,).

    Parameters
    ----------
    rows : LabelledRows
        Of a Gaussian model; kinds of unit, or every unit on its own.
    combinations : array, shape (q, p)
    crossed : bool
        Whether two factors are crossed.

    Returns
    -------
    array, shape (q,)
        Zero where the design leaves no information on the variance: too few units, or too few observations.
    """
    inverse = generalised_inverse(information(rows, rows.weight(rows.eta)).total)
    loads = combinations @ inverse
    variances = np.einsum("qp,qp->q", loads, combinations)
    gradients = _gradients(rows, whitener(rows)(rows.X) @ loads.T)
    plain, restricted = (strata_information(rows, crossed, reml) for reml in (False, True))
    spread, known = _spread(plain, restricted, gradients)
    return np.where(known, 2.0 * variances**2 / np.where(known, spread, 1.0), 0.0)


def _spread(plain: Array, restricted: Array, gradients: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Variances gᵀ Cov(θ̂) g, and which are known: where g is a combination of what the data tell apart.

    What restriction leaves is judged against the information before it, of which it takes away all where a component
    rests on as many units as there are coefficients.
    """
    scale = unit_diagonal(plain)[1]
    values, vectors = np.linalg.eigh(restricted * np.outer(scale, scale))
    kept = values > COMPONENTS_SINGULAR
    parts = (gradients * scale) @ vectors
    size = np.sqrt(COMPONENTS_SINGULAR) * np.linalg.norm(parts, axis=1)
    seen = (np.abs(parts[:, ~kept]).max(axis=1, initial=0.0) <= size) & (gradients[:, scale == 0.0] == 0.0).all(axis=1)
    spread = np.asarray((parts[:, kept] ** 2 / values[kept]).sum(axis=1))
    return spread, seen & (spread > 0.0)


def _gradients(rows: LabelledRows, columns: Array) -> Array:
    """∂f/∂θ of each combination, from v = V⁻¹X(XᵀV⁻¹X)⁻¹c as columns: vᵀV̇_iv, shape (q, v)."""
    ends = np.cumsum([0, *(len(term.count) * term.Z.shape[1] for term in rows.terms)])
    loads = unit_columns(rows.terms, len(rows.X)).T @ (rows.observations[:, None] * columns)
    blocks = [_of_term(term, loads[a:b]) for term, (a, b) in zip(rows.terms, pairwise(ends), strict=True)]
    residual = (rows.observations[:, None] * columns**2).sum(axis=0)
    return np.concatenate([*blocks, residual[:, None]], axis=1)


def _of_term(term: RandomTerm, load: Array) -> Array:
    """Σ_units (z′v)(z′v)ᵀ against each component, shape (q, r(r + 1)/2)."""
    rank = term.Z.shape[1]
    each = load.reshape(len(term.count), rank, -1)
    squares = np.einsum("kaq,kbq->qab", each, each)
    return np.asarray(squares.reshape(len(squares), -1) @ duplication(rank))
