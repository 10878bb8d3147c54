"""Exact Fisher information of a non-Gaussian model with one grouping factor. [E]

Given the random effects, the total of the responses at one covariate point of a unit is sufficient, and

    score of β       E[Σ_x (dμ/dη)(S_x − n_x μ)/(ϕV) x | S]
    score of vech Σ  ½ Dᵀ vec{Σ⁻¹(E[UUᵀ|S] − Σ)Σ⁻¹}

The information of a unit is the mean of the outer products of the score over the totals S: all of them where they are
few (Bernoulli, binomial, and counts up to a negligible tail), a sample otherwise. Expectations given S are taken by
adaptive Gauss–Hermite quadrature, centred at the posterior mode and scaled by its curvature: plain rules lose digits
as soon as a unit has many observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optdesign.covariance.components import check_interior
from optdesign.covariance.labelled import LabelledRows
from optdesign.covariance.result import AsymptoticCovariance, from_information, relative_error, sampling_note
from optdesign.errors import SpecificationError
from optdesign.families import draw_totals, log_base, log_likelihood
from optdesign.linalg import duplication, inverse_information
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import normal_rule

Array = npt.NDArray[np.float64]

#: Totals enumerated in all; beyond that they are sampled.
MOST_OUTCOMES = 200_000
#: Probability of the largest totals that may be left out of an enumeration.
TAIL = 1e-13
#: Draws in a batch, at most, and the relative Monte-Carlo error of every variance at which sampling stops.
BATCH, MOST_DRAWS, TOLERANCE = 10_000, 200_000, 0.005
#: Nodes per random effect tried in turn, by the number of random effects.
NODES = {1: (9, 15, 25, 41), 2: (7, 11, 17), 3: (5, 7, 9)}
#: Entries of the arrays over outcomes, nodes and points worked on at once.
CHUNK = 4_000_000


@dataclass(frozen=True, eq=False)
class Unit:
    """One kind of unit: its covariate points and how often each is observed."""

    count: float
    eta: Array  # (R,), offset included
    X: Array  # (R, p)
    Z: Array  # (R, r)
    trials: Array  # (R,), observations, times binomial sizes
    sigma: Array  # (r, r)


def exact_covariance(
    model: MixedModel, nominal: NominalValues, rows: LabelledRows, parameters: str, seed: int
) -> AsymptoticCovariance:
    """Inverse of the exact Fisher information of (β, vech Σ), one grouping factor; of its β block where asked for.

    Raises
    ------
    SpecificationError
        For numbers of observations at a point of a unit that are not whole, more than three random effects, or a
        covariance on the boundary.
    """
    check_interior(rows)
    units = _units(rows)
    each, error, notes = _information(model, nominal, units, seed)
    (term,) = rows.terms
    names = (*rows.names, *term.component_names)
    estimate = np.concatenate([rows.beta, term.components])
    whole = from_information(each.sum(axis=0), {}, "exact", names, rows.aliases, estimate, notes)
    whole = replace(whole, monte_carlo_error=error)
    return whole if parameters == "all" else _head(whole, len(rows.names))


def information_by_kind(model: MixedModel, nominal: NominalValues, rows: LabelledRows, seed: int) -> Array:
    """Information on (β, vech Σ) from the units of each kind on their own, shape (kinds, p + v, p + v)."""
    check_interior(rows)
    return _information(model, nominal, _units(rows), seed)[0]


def affordable(rows: LabelledRows) -> bool:
    """Whether exact information exists for a design of one grouping factor and is a matter of seconds."""
    try:
        check_interior(rows)
        units = _units(rows)
    except SpecificationError:
        return False
    return sum(len(unit.eta) for unit in units) <= 500 and max(unit.Z.shape[1] for unit in units) <= 2


def _head(found: AsymptoticCovariance, size: int) -> AsymptoticCovariance:
    """The first parameters alone."""
    error = found.monte_carlo_error
    return replace(
        found,
        matrix=found.matrix[:size, :size],
        names=found.names[:size],
        inestimable=tuple(name for name in found.inestimable if name in found.names[:size]),
        estimate=found.estimate[:size],
        monte_carlo_error=None if error is None else error[:size],
        information=None,
    )


def _units(rows: LabelledRows) -> list[Unit]:
    """Each kind of unit, its observations in whole numbers."""
    (term,) = rows.terms
    offset, size = np.asarray(rows.offset), np.asarray(rows.trials)
    if term.Z.shape[1] not in NODES:
        raise SpecificationError(
            f"order 'exact' takes one to three random effects of '{term.factor}'; there are {term.Z.shape[1]}."
        )
    units = []
    for kind, count in enumerate(term.count):
        at = np.flatnonzero(term.level == kind)
        number = rows.observations[at] / count
        whole = np.round(number)
        if (np.abs(number - whole) > 1e-6).any():
            row = int(np.argmax(np.abs(number - whole)))
            raise SpecificationError(
                f"order 'exact' needs whole numbers of observations at every point of a '{term.factor}'; point "
                f"{row + 1} has {number[row]:g}. Choose replicates that the measure's weights divide evenly, or "
                "another order."
            )
        kept = at[whole > 0]
        trials = whole[whole > 0] * size[kept]
        units.append(Unit(count, rows.eta[kept] + offset[kept], rows.X[kept], term.Z[kept], trials, term.sigma))
    return units


def _information(
    model: MixedModel, nominal: NominalValues, units: list[Unit], seed: int
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Information of the units of each kind, relative error of each variance where it is sampled, and notes."""
    totals = [_all_totals(model, unit) for unit in units]
    if all(t is not None for t in totals) and sum(len(t) for t in totals if t is not None) <= MOST_OUTCOMES:
        each = [_enumerated(model, unit, t) for unit, t in zip(units, totals, strict=True) if t is not None]
        return np.array(each), None, ()
    return _sampled(model, nominal, units, np.random.default_rng(seed))


def _all_totals(model: MixedModel, unit: Unit) -> Array | None:
    """Every vector of totals, shape (outcomes, R); None where they are not few."""
    if model.distribution.name in ("bernoulli", "binomial"):
        most = unit.trials
    elif model.distribution.name == "poisson":
        most = _largest_totals(unit)
    else:
        return None
    if np.prod(most + 1.0) > MOST_OUTCOMES:
        return None
    axes = np.meshgrid(*[np.arange(int(n) + 1.0) for n in most], indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def _largest_totals(unit: Unit) -> Array:
    """Totals beyond which every Poisson margin has less than a negligible probability."""
    from scipy.special import gammainc

    spread = np.sqrt(np.einsum("ri,ij,rj->r", unit.Z, unit.sigma, unit.Z))
    points, weight = normal_rule(1, 61)
    mean = unit.trials[:, None] * np.exp(unit.eta[:, None] + spread[:, None] * points[:, 0])
    most = np.ones(len(mean))
    while (tail := gammainc(most[:, None] + 1.0, mean) @ weight > TAIL).any() and most.max() < MOST_OUTCOMES:
        most = np.where(tail, np.ceil(1.3 * most + 1.0), most)
    return most


def _enumerated(model: MixedModel, unit: Unit, totals: Array) -> Array:
    """Information of one kind of unit by enumeration, with as many nodes as it takes."""
    last = None
    for nodes in NODES[unit.Z.shape[1]]:
        information = np.zeros((1, 1))
        for some in _chunks(totals, unit, nodes):
            score, log_marginal = _scores(model, unit, some, nodes, 1.0)
            probability = np.exp(log_marginal + log_base(model.distribution, some, unit.trials).sum(axis=1))
            information = information + (probability[:, None] * score).T @ score
        settled = last is not None and np.allclose(np.diag(last), np.diag(information), rtol=1e-8, atol=0.0)
        if settled:
            break
        last = information
    return unit.count * information


def _chunks(totals: Array, unit: Unit, nodes: int) -> Iterator[Array]:
    step = max(1, CHUNK // (len(unit.eta) * nodes ** unit.Z.shape[1]))
    return (totals[start : start + step] for start in range(0, len(totals), step))


def _sampled(
    model: MixedModel, nominal: NominalValues, units: list[Unit], rng: np.random.Generator
) -> tuple[Array, Array, tuple[str, ...]]:
    """Information from drawn totals, the same number of units of every kind."""
    scores: list[list[Array]] = [[] for _ in units]
    nodes = NODES[units[0].Z.shape[1]][1]
    share = max(BATCH // len(units), 50)
    for _ in range(MOST_DRAWS // (share * len(units))):
        for unit, drawn in zip(units, scores, strict=True):
            totals = _drawn_totals(model, nominal, unit, share, rng)
            parts = [_scores(model, unit, some, nodes, nominal.dispersion)[0] for some in _chunks(totals, unit, nodes)]
            drawn.append(np.concatenate(parts))
        information, error = _mean_information(units, scores)
        if not (error >= TOLERANCE).any():
            break
    draws = sum(len(s) for drawn in scores for s in drawn)
    return information, error, (sampling_note(f"Exact information from {draws:,} sampled units", error, TOLERANCE),)


def _mean_information(units: list[Unit], scores: list[list[Array]]) -> tuple[Array, Array]:
    """Count × mean outer product of each kind, and the relative error of each variance, nan where that is infinite."""
    joined = [np.concatenate(drawn) for drawn in scores]
    information = np.array([u.count * s.T @ s / len(s) for u, s in zip(units, joined, strict=True)])
    covariance, _ = inverse_information(information.sum(axis=0))
    finite = np.nan_to_num(covariance, posinf=0.0)
    spread = np.zeros(len(covariance))
    for unit, score in zip(units, joined, strict=True):
        moved = (score @ finite) ** 2
        spread += unit.count**2 * moved.var(axis=0) / len(score)
    return information, relative_error(np.sqrt(spread), covariance)


def _drawn_totals(
    model: MixedModel, nominal: NominalValues, unit: Unit, number: int, rng: np.random.Generator
) -> Array:
    """Totals of units drawn from the model, shape (number, R)."""
    effects = rng.multivariate_normal(np.zeros(len(unit.sigma)), unit.sigma, size=number, method="cholesky")
    mean = model.link_function.mean(unit.eta + effects @ unit.Z.T)
    return draw_totals(model.distribution, mean, unit.trials, nominal.dispersion, rng)


def _scores(model: MixedModel, unit: Unit, totals: Array, nodes: int, dispersion: float) -> tuple[Array, Array]:
    """Score of (β, vech Σ) at each vector of totals, and the log marginal likelihood up to its base measure.

    Parameters
    ----------
    totals : array, shape (O, R)

    Returns
    -------
    score : array, shape (O, p + v)
    log_marginal : array, shape (O,)
    """
    root = np.asarray(np.linalg.cholesky(unit.sigma), dtype=float)
    load = unit.Z @ root
    mode, scale = _modes(model, unit, load, totals, dispersion)
    points, weight = normal_rule(load.shape[1], nodes)
    effects = mode[:, None] + points @ np.swapaxes(scale, 1, 2)
    eta = unit.eta + effects @ load.T
    log_joint = log_likelihood(model.distribution, model.link_function, eta, totals[:, None], unit.trials)
    log_joint = log_joint.sum(axis=2) / dispersion - 0.5 * (effects**2).sum(axis=2)
    log_joint += np.log(weight) + 0.5 * (points**2).sum(axis=1)
    peak = log_joint.max(axis=1)
    posterior = np.exp(log_joint - peak[:, None])
    total = posterior.sum(axis=1)
    posterior /= total[:, None]
    slope = _slopes(model, eta, totals[:, None], unit.trials) / dispersion
    fixed = np.einsum("oq,oqr,rp->op", posterior, slope, unit.X, optimize=True)
    log_marginal = peak + np.log(total) + np.linalg.slogdet(scale)[1]
    return np.concatenate([fixed, _component_scores(root, effects, posterior)], axis=1), log_marginal


def _component_scores(root: Array, effects: Array, posterior: Array) -> Array:
    """½ Dᵀ vec{Σ⁻¹(E[UUᵀ|S] − Σ)Σ⁻¹}, with U = root e."""
    r = len(root)
    second = np.einsum("oq,oqi,oqj->oij", posterior, effects, effects, optimize=True) - np.eye(r)
    back = np.linalg.inv(root)
    inner = back.T @ second @ back
    return np.asarray(0.5 * inner.reshape(len(inner), r * r) @ duplication(r))


def _slopes(model: MixedModel, eta: Array, totals: Array, trials: Array) -> Array:
    """(dμ/dη)(S − nμ)/V(μ)."""
    family, link = model.distribution, model.link_function
    gap = totals - trials * link.mean(eta)
    if link.name == family.canonical and link.everywhere:
        return np.asarray(gap)
    slope = link.slope(eta)
    ratio = np.divide(family.weights[link.name](eta), slope, out=np.zeros_like(slope), where=slope > 0)
    return np.asarray(ratio * gap)


def _modes(model: MixedModel, unit: Unit, load: Array, totals: Array, dispersion: float) -> tuple[Array, Array]:
    """Posterior modes of the standardised effects by Fisher scoring with short steps, and roots of their covariance."""
    mode = np.zeros((len(totals), load.shape[1]))
    weight_of: Callable[[Array], Array] = model.distribution.weights[model.link_function.name]
    for _ in range(60):
        eta = unit.eta + mode @ load.T
        gradient = _slopes(model, eta, totals, unit.trials) / dispersion @ load - mode
        precision = np.einsum("or,ri,rj->oij", weight_of(eta) * unit.trials / dispersion, load, load, optimize=True)
        precision += np.eye(load.shape[1])
        step = np.linalg.solve(precision, gradient[..., None])[..., 0]
        length = np.linalg.norm(step, axis=1, keepdims=True)
        mode = mode + step * np.minimum(1.0, 1.0 / np.maximum(length, 1e-300))
        if length.max() < 1e-8:
            break
    return mode, np.swapaxes(np.linalg.inv(np.linalg.cholesky(precision)), 1, 2)
