"""The optimiser: one convex problem, one file per algorithm, one certificate, one result."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from optdesign.costs import Cost
from optdesign.covariance import AsymptoticCovariance, check_order, covariance
from optdesign.covariance.encoded import check_layout
from optdesign.criteria import BoundCriterion, Criterion
from optdesign.designs import Design, DesignSpace, Group
from optdesign.errors import (
    AsymptoticRegimeWarning,
    ConvergenceError,
    InfeasibleBudgetError,
    SpecificationError,
    listed,
    nearest,
)
from optdesign.linalg import summed
from optdesign.measures import Measure, names_of
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import interior
from optdesign.optimize.certificate import Certificate, certify
from optdesign.optimize.problem import Problem, make_problem
from optdesign.optimize.result import ExactDesign, OptimalDesign, Status
from optdesign.optimize.rounding import round_design

__all__ = ["Certificate", "ExactDesign", "OptimalDesign", "Status", "efficiency", "optimize"]

Array = npt.NDArray[np.float64]
Progress = Callable[[int, float], None]
Algorithm = Callable[[Problem, Progress | None], interior.Iterate]

#: Masses below this share of what the budget buys are dropped from the continuous optimum.
NEGLIGIBLE = 1e-7
#: Efficiency bound from which a continuous design counts as optimal, and below which the search has failed.
OPTIMAL, ACCEPTABLE = 1.0 - 1e-6, 0.999


def optimize(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str = "two-term",
    *,
    method: str = "interior-point",
    progress: Progress | None = None,
) -> OptimalDesign:
    """The best design that the budget buys, with proof, and its rounding to whole numbers.

    Minimises the criterion jointly over the number of units of each type and the total observations at every
    candidate point. The problem is convex (Cov⁻¹ is Loewner-concave in both), so the optimum is global and the
    certificate bounds what any other admissible design could gain.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    space : DesignSpace
    criterion : DOptimality, AOptimality or COptimality
    cost : Cost
    budget : float
        In the currency of `cost`.
    order : str
        Covariance order, see `optdesign.covariance`. Under ``"leading"`` observations are worth nothing to a
        coefficient with a random partner, and the plan sits on the fewest replicates: a warning says so.
    method : str
        ``"interior-point"``, or ``"semidefinite"``: the same problem as a semidefinite program through cvxpy, a
        slow reference for small problems.
    progress : callable, optional
        Told the round and the relative excess of the best atom outside the working set.

    Returns
    -------
    OptimalDesign

    Raises
    ------
    SpecificationError
        For parts that do not fit together, or a budget that does not limit the design.
    NotEstimableError
        Where no admissible design estimates what the criterion needs.
    InfeasibleBudgetError
        Where the budget cannot buy the smallest admissible design; carries its price.
    ConvergenceError
        Where the efficiency bound stays below 0.999; carries the best design and its bound.

    Warns
    -----
    AsymptoticRegimeWarning
        Where a standard error of the rounded plan is more than 10 % from the best order available.

    Examples
    --------
    The classical allocation for a mean, n* = √{(c_group/c_obs)(1 − ρ)/ρ}, at ρ = 0.2 and a price ratio of 50:

    >>> from optdesign import Cost, DesignSpace, COptimality, MixedModel, Nested, NominalValues
    >>> best = optimize(MixedModel("y ~ 1 + (1 | clinic)"), NominalValues([0.0], {"clinic": 0.2}, 0.8),
    ...                 DesignSpace(Nested("clinic")), COptimality({"Intercept": 1.0}),
    ...                 Cost(units={"clinic": 50.0}, observation=1.0), budget=10_000)
    >>> round(best.design.groups[0].replicates, 3), best.certificate.efficiency_bound >= 0.999999
    (14.142, True)
    """
    check_order(model, order)
    _check_scope(model, space, order)
    _check_covariates(model, space)
    build = partial(make_problem, model, nominal, criterion=criterion, cost=cost, budget=budget, order=order)
    with threadpool_limits(1, "blas"):  # many small decompositions: several threads would only wait for each other
        problem, notes = _problem(build, space)
        iterate = _solved(_algorithm(method), problem, progress)
        z, design = _tidied(problem, iterate.z)
        certificate = certify(problem, iterate.gain, iterate.loss, z, problem.loss(design))
        rounded = _exact(problem, _rounded(build, problem, z, space.common_replicates), certificate)
    notes += (*space.candidates.notes, *_worthless_replicates(problem, iterate.gain, z))
    notes += _regime(problem, rounded)
    cov = covariance(model, problem.nominal, design, order)
    best = OptimalDesign(
        design,
        _value(problem.criterion, cov),
        design.spend(cost),
        cov,
        _status(certificate),
        certificate,
        rounded,
        notes,
        iterate.iterations,
        model,
        problem.nominal,
        space,
        criterion,
        cost,
        float(budget),
        order,
    )
    _require_converged(best)
    return best


def _require_converged(best: OptimalDesign) -> None:
    bound = best.certificate.efficiency_bound
    if bound < ACCEPTABLE:
        raise ConvergenceError(
            f"the search stopped at an efficiency bound of {bound:.4f}. The best design found and its bound are in "
            "this error's `best` and `bound`. Fewer candidates or rescaled covariates may help.",
            best,
            bound,
        )


def efficiency(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    criterion: Criterion,
    best: OptimalDesign,
    order: str | None = None,
) -> float:
    """Efficiency of a design of one's own, relative to the continuous optimum.

    Φ(design)/Φ(best), on the variance scale: 0.8 means that the optimum reaches the design's precision with 80 % of
    its own budget. A design that costs more than the budget may score above one.

    Parameters
    ----------
    model, nominal, design, criterion
        What is scored.
    best : OptimalDesign
        The result of `optimize`; its order is used unless `order` is given.
    """
    order = order or best.order
    nominal = nominal.referring_to(best.space.region.frame)
    mine = covariance(model, nominal, design, order)
    bound = criterion.bind(mine.names, mine.aliases)
    optimum = covariance(model, nominal, best.design, order)
    return bound.efficiency(_value(bound, mine), _value(bound, optimum))


def _algorithm(method: str) -> Algorithm:
    if method == "interior-point":
        return interior.solve
    if method == "semidefinite":
        from optdesign.optimize import semidefinite

        return semidefinite.solve
    known = ("interior-point", "semidefinite")
    raise SpecificationError(f"method '{method}' is not known.{nearest(method, known)} Methods: {listed(known)}.")


Build = Callable[[DesignSpace], Problem]


def _problem(build: Build, space: DesignSpace) -> tuple[Problem, tuple[str, ...]]:
    """The problem to solve, affordable; with common replicates, at the best number of them, which a note states."""
    problem = build(replace(space, common_replicates=False))
    problem.require_affordable()
    if not space.common_replicates or space.region.n_types == 1:
        return problem, ()
    n = _best_common_replicates(build, problem)
    note = (
        f"All units have n = {n:.6g} observations, found by a one-dimensional search; the certificate holds among "
        "designs with that n."
    )
    return build(_with_replicates(space, n)), (note,)


def _with_replicates(space: DesignSpace, n: float) -> DesignSpace:
    return replace(space, replicates=float(n), common_replicates=False)


def _best_common_replicates(build: Build, problem: Problem) -> float:
    """Search over log n around the numbers that the types would have if they could differ."""
    from scipy.optimize import minimize_scalar

    types, region = problem.n_types, problem.space.region
    z = interior.solve(problem).z
    free = summed(region.type_of_atom, z[types:], types) / z[:types]
    low, high = problem.space.replicate_bounds
    reach = np.log([max(low, free.min() / 4, 1e-9), min(high, free.max() * 4)])

    def loss(log_n: float) -> float:
        return interior.solve(build(_with_replicates(problem.space, np.exp(log_n)))).loss

    return float(np.exp(minimize_scalar(loss, bounds=reach, method="bounded", options={"xatol": 1e-7}).x))


def _rounded(build: Build, problem: Problem, z: Array, common: bool) -> Design:
    """The exact design; with common replicates, the better of the whole numbers on either side."""
    low, high = problem.space.replicate_bounds
    if not common or low < high:
        return round_design(problem, z)
    found: list[tuple[float, Design]] = []
    for n in sorted({np.floor(low), np.ceil(low)} - {0.0}):
        neighbour = build(_with_replicates(problem.space, n))
        try:
            design = round_design(neighbour, interior.solve(neighbour).z)
        except InfeasibleBudgetError:
            continue
        found.append((neighbour.loss(design), design))
    return min(found, key=lambda pair: pair[0])[1] if found else round_design(problem, z)


def _solved(algorithm: Algorithm, problem: Problem, progress: Progress | None) -> interior.Iterate:
    try:
        return algorithm(problem, progress)
    except np.linalg.LinAlgError as error:
        raise ConvergenceError(
            f"the information matrix is too close to singular for the search ({error}). Centre and scale the "
            "covariates, or leave out terms that nearly repeat each other."
        ) from None


def _check_scope(model: MixedModel, space: DesignSpace, order: str) -> None:
    """Information must be concave in the masses, which is known of one grouping factor and these orders."""
    check_layout(model, space.layout)
    if order == "exact" and not model.is_gaussian and model.factors:
        raise SpecificationError(
            f"designs are optimised by order 'exact' for Gaussian models only; a {model.family} model with random "
            "effects has 'leading', 'two-term' and 'averaged'. accuracy(model, guess, design) compares them at a plan."
        )


def _check_covariates(model: MixedModel, space: DesignSpace) -> None:
    """Every covariate of the model must be chosen or observed."""
    given = names_of(space.region.frame)
    missing = sorted(model.covariates - set(given))
    if missing:
        raise SpecificationError(
            f"the model uses {listed(missing)}, which the space neither offers as candidates nor lists as observed; "
            f"it has {listed(given)}.{nearest(missing[0], given)}"
        )


def _tidied(problem: Problem, z: Array) -> tuple[Array, Design]:
    """Masses without the negligible ones, each type's observations kept in all, and the design they make."""
    types, region = problem.n_types, problem.space.region
    share = z / problem.scale
    active = share[:types] > NEGLIGIBLE if problem.space.layout else np.ones(types, dtype=bool)
    kept = (share[types:] > NEGLIGIBLE) & active[region.type_of_atom]
    before = summed(region.type_of_atom, z[types:], types)
    after = summed(region.type_of_atom, z[types:] * kept, types)
    factor = np.where(after > 0, before / np.where(after > 0, after, 1.0), 0.0)
    tidy = np.concatenate([z[:types] * (after > 0), z[types:] * kept * factor[region.type_of_atom]])
    return tidy, _design(problem, tidy)


def _design(problem: Problem, z: Array) -> Design:
    space, region, types = problem.space, problem.space.region, problem.n_types
    within = space.candidates.points.drop(columns=list(region.types))
    groups = []
    for t in np.flatnonzero(z[:types] > 0):
        atoms = np.flatnonzero((region.type_of_atom == t) & (z[types:] > 0))
        totals = z[types + atoms]
        at = region.type_values(int(t))
        groups.append(
            Group(float(z[t]), float(totals.sum() / z[t]), Measure.from_frame(within.iloc[atoms], totals), at)
        )
    return Design(space.layout, groups, observed=space.observed, levels=space.observed_levels)


def _value(bound: BoundCriterion, cov: AsymptoticCovariance) -> float:
    """Criterion value from a covariance matrix, or ``inf``."""
    used = np.abs(bound.combinations).max(axis=1) > 0
    if cov.inestimable and any(n in cov.inestimable for n, u in zip(cov.names, used, strict=True) if u):
        return float("inf")
    return bound.value_at(cov.matrix)


def _exact(problem: Problem, design: Design, certificate: Certificate) -> ExactDesign:
    cov = covariance(problem.model, problem.nominal, design, problem.order)
    reached = float(np.exp(certificate.upper_bound_loss - problem.loss(design)))
    return ExactDesign(design, _value(problem.criterion, cov), design.spend(problem.cost), cov, min(1.0, reached))


def _status(certificate: Certificate) -> Status:
    return Status.OPTIMAL if certificate.efficiency_bound >= OPTIMAL else Status.TO_TOLERANCE


def _worthless_replicates(problem: Problem, gain: Array, z: Array) -> tuple[str, ...]:
    """Under the leading order: say that observations count for nothing, rather than return the bound silently."""
    types = problem.n_types
    if problem.order != "leading" or float(gain[types:] @ z[types:]) > 1e-6:
        return ()
    low = problem.space.replicate_bounds[0]
    return (
        "Under the leading order, observations beyond the first ones are worth nothing to this criterion, because its "
        f"coefficients vary between units: the plan sits on the fewest replicates allowed ({low:g}). Use order "
        "'two-term' to choose the number of replicates.",
    )


def _regime(problem: Problem, rounded: ExactDesign) -> tuple[str, ...]:
    """Warn where the order used is more than 10 % from the best order available, at the rounded plan."""
    model, bound, order = problem.model, problem.criterion, problem.order
    orders = ["exact"] if model.is_gaussian else ["two-term", "averaged"]
    values = {o: _value(bound, covariance(model, problem.nominal, rounded.design, o)) for o in orders}
    best = max(values, key=lambda o: bound.loss_of(values[o]))
    ratio = bound.efficiency(values[best], rounded.value)
    if not np.isfinite(ratio) or 1 / 1.1 <= ratio <= 1.1:
        return ()
    text = (
        f"at the plan, the order '{order}' gives a variance {ratio:.2f} times that of the order '{best}', the best "
        f"available: use order='{best}', or plan with larger groups."
    )
    warnings.warn(text, AsymptoticRegimeWarning, stacklevel=3)
    return (f"Asymptotics: {text}",)
