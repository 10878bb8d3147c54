"""Random effects of nested factors, one within another: leading and two-term covariance.

A unit of the innermost factor has random coefficients U = (U₁, …, U_D), one vector per factor above and including it,
and its n observations determine z₁ᵀU₁ + … + z_DᵀU_D as those of a single factor would. With H(U) the unit's conditional
information on ζ = (x_B, z₁, …, z_D), the coefficients of innermost units are known up to noise of covariance
ϕ E H(U)⁻¹/n, and average over units that share the effects of the factors above them. Hence

    Cov(β̂) ≈ Σ_d E_d Σ_d E_dᵀ/m_d + ϕ K/N,       K as for one factor, with z = (z₁, …, z_D) and Σ = diag(Σ₁, …, Σ_D)

where m_d counts the units of factor d in all; the leading covariance keeps Σ_d/m_d for the coefficients that units
absorb and ϕC_B/N for the others. The noise of one innermost unit meets only that unit's coefficients, so that the
argument of one factor holds unit by unit however few units the next factor has; it needs n large. Derived for this
package [D]; exact for a Gaussian with the same law of x in every unit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import scipy.linalg

from optdesign.covariance.crossed import functional_covariance, sides_of
from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.covariance.result import AsymptoticCovariance

Array = npt.NDArray[np.float64]


def deeper_covariance(rows: LabelledRows, order: str, nodes: int) -> AsymptoticCovariance:
    """Covariance of the fixed effects of a model whose random terms are nested, outermost first.

    Parameters
    ----------
    rows : LabelledRows
    order : str
        ``"leading"`` or ``"two-term"``.
    nodes : int
        Quadrature nodes per random effect.
    """
    rows = rows.standardised() if order == "leading" else rows
    whole = _chained(rows.terms)
    units = {}
    for number, term in enumerate(rows.terms):
        units[term.factor] = _shared(whole, term, sum(t.Z.shape[1] for t in rows.terms[:number]))
    sides = sides_of(replace(rows, terms=(whole,)), nodes)
    return functional_covariance(rows, sides, units, order)


def _chained(terms: tuple[RandomTerm, ...]) -> RandomTerm:
    """All random effects of an innermost unit as one term."""
    inner = terms[-1]
    sigma = scipy.linalg.block_diag(*(term.sigma for term in terms))
    names = tuple(name for term in terms for name in term.names)
    return replace(inner, names=names, Z=np.concatenate([term.Z for term in terms], axis=1), sigma=sigma)


def _shared(whole: RandomTerm, term: RandomTerm, start: int) -> Array:
    """Covariance of the kinds' mean coefficients that one factor's units add, shared within its units."""
    kinds, r = len(whole.count), whole.Z.shape[1]
    outer = np.zeros(kinds, dtype=np.intp)
    outer[whole.level] = term.level
    same = (outer[:, None] == outer) / term.count[outer]
    block = np.zeros((r, r))
    stop = start + term.Z.shape[1]
    block[start:stop, start:stop] = term.sigma
    return np.asarray(np.kron(same, block))
