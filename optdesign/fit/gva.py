"""Gaussian variational approximation: the parameters that maximise the lower bound of `optdesign.fit.bound`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optdesign.errors import ConvergenceError, SpecificationError, listed
from optdesign.families import log_base
from optdesign.fit.bound import (
    LONGEST,
    MOST_HALVINGS,
    MOST_STEPS,
    ROUNDING,
    Bound,
    BoundAt,
    Cumulants,
    logistic,
    poisson,
)
from optdesign.fit.result import Solution, singular_notes
from optdesign.fit.rows import FitRows, check_rows, collinear
from optdesign.linalg import SINGULAR, inverse_information, summed
from optdesign.models import MixedModel

Array = npt.NDArray[np.float64]

CUMULANTS: dict[tuple[str, str], Cumulants] = {
    ("poisson", "log"): poisson,
    ("bernoulli", "logit"): logistic,
    ("binomial", "logit"): logistic,
}

#: Twice the distance of the bound from its maximum before the last Newton step, which squares it.
SETTLED = 1e-7
#: Part of a column, relative to it, that the columns before it may leave unexplained.
COLLINEAR = 1e-9


def check_variational(model: MixedModel, instead: str) -> None:
    """The approximation must cover the model; the message ends with what to do `instead`."""
    family, link = model.distribution.name, model.link_function.name
    if (family, link) not in CUMULANTS:
        raise SpecificationError(
            f"method 'gva' covers {listed(f'{f} with {g} link' for f, g in CUMULANTS)}; the model is '{family} with "
            f"{link} link'. Fit by method 'ml' where that covers it. {instead}"
        )
    if len(model.factors) != 1:
        raise SpecificationError(
            f"method 'gva' covers one grouping factor; '{model.formula}' has {listed(model.factors)}. Fit by method "
            f"'ml'. {instead}"
        )
    (terms,) = model.parsed.random.values()
    if len(terms) > 1:
        raise SpecificationError(
            f"method 'gva' estimates every covariance of the random effects of '{model.factors[0]}', as in "
            f"(1 + x | {model.factors[0]}); '{model.formula}' leaves some out. {instead}"
        )


def highest(bound: Bound, theta: Array) -> tuple[Array, BoundAt | None]:
    """θ at the maximum of the profile, and the bound there; None where Newton's method does not settle.

    The profile is concave in β alone. Where it is not concave in T too, directions of positive curvature are climbed
    with the sign turned; every step is halved until it climbs.
    """
    here = bound.maximised(theta, bound.start_units)
    for _ in range(MOST_STEPS):
        if here is None:
            break
        values, vectors = np.linalg.eigh(-here.profile_hessian)
        along = vectors.T @ here.gradient
        size = np.maximum(np.abs(values), SINGULAR * np.abs(values).max())
        step, gain = vectors @ (along / size), float((along**2 / size).sum())
        shorter = LONGEST / max(LONGEST, float(np.linalg.norm(step)))
        theta, here = _higher(bound, theta, here, shorter * step, shorter * gain)
        if gain < SETTLED and here is not None:
            return theta, here
    return theta, None


def _higher(bound: Bound, theta: Array, here: BoundAt, step: Array, gain: float) -> tuple[Array, BoundAt | None]:
    """A step in θ, halved until the profile climbs by a tenth of the slope, up to rounding."""
    value = here.by_unit.sum()
    for halvings in range(MOST_HALVINGS):
        size = 0.5**halvings
        there = bound.maximised(theta + size * step, here.psi)
        if there is not None and there.by_unit.sum() >= value + 0.1 * size * gain - ROUNDING * (1.0 + abs(value)):
            return theta + size * step, there
    return theta, None


def variational(model: MixedModel, rows: FitRows, response: Array) -> Solution:
    """The fit that maximises the bound; see `optdesign.fit.fit`."""
    check_rows(model, rows)
    (factor,) = model.factors
    X, R = _scaled(rows.fixed, rows.names)
    Z, S = _scaled(rows.random[factor], rows.random_names[factor])
    bound = _bound_of(model, rows, response, X, Z)
    theta, found = highest(bound, _start(bound))
    if found is None:
        raise ConvergenceError(
            f"the variational fit of '{model.formula}' to {len(response)} rows did not converge: it may "
            "have no maximum, as where covariates tell zeros from ones without exception. Fit a simpler model, bring "
            "more data, or state the nominal values with NominalValues(beta, covariance)."
        )
    beta, T = bound.split(theta)
    root, back = np.linalg.solve(S, T), np.linalg.inv(R)
    sigma = root @ root.T
    covariance, _ = inverse_information(-found.profile_hessian)
    constant = float(log_base(model.distribution, response, rows.trials).sum())
    return Solution(
        back @ beta,
        back @ covariance[: len(beta), : len(beta)] @ back.T,
        {factor: sigma},
        1.0,
        float(found.by_unit.sum()) + constant,
        tuple(singular_notes(factor, sigma, rows.random_names[factor])),
    )


def _scaled(columns: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Columns that are orthogonal and of mean square one, and the triangle that gives back the ones they are for."""
    Q, R = np.linalg.qr(columns)
    lost = np.abs(np.diag(R)) <= COLLINEAR * np.linalg.norm(columns, axis=0)
    if lost.any():
        raise collinear(name for name, gone in zip(names, lost, strict=True) if gone)
    scale = np.sqrt(len(columns))
    return scale * Q, R / scale


def _bound_of(model: MixedModel, rows: FitRows, response: Array, X: Array, Z: Array) -> Bound:
    """The bound, with the rows of a unit together; those that share their covariates are one row, by its total."""
    (factor,) = model.factors
    unit = np.unique(rows.labels[factor], return_inverse=True)[1]
    offset = np.zeros(len(response)) if rows.offset is None else rows.offset
    alike = np.column_stack([unit, rows.fixed, rows.random[factor], offset])
    _, first, row = np.unique(alike, axis=0, return_index=True, return_inverse=True)
    y, trials = (summed(row.ravel(), values, len(first)) for values in (response, rows.trials))
    cumulants = CUMULANTS[model.distribution.name, model.link_function.name]
    return Bound(cumulants, y, trials, offset[first], X[first], Z[first], unit[first])


def _start(bound: Bound) -> Array:
    """β by least squares on the linear predictor of the responses, moved away from its ends; T half the identity."""
    failures = bound.trials - bound.y + 0.5 if bound.cumulants is logistic else bound.trials
    eta = np.log((bound.y + 0.5) / failures) - bound.offset
    T = 0.5 * np.eye(bound.Z.shape[1])[bound.pairs]
    return np.concatenate([np.linalg.lstsq(bound.X, eta)[0], T])
