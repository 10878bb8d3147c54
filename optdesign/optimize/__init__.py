"""The optimiser: one convex problem, one file per algorithm, one certificate, one result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain, product
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from optdesign.costs import Cost
from optdesign.covariance import check_order
from optdesign.covariance.encoded import check_layout
from optdesign.criteria import Criterion
from optdesign.designs import Design, DesignSpace, Distinct
from optdesign.errors import (
    AsymptoticRegimeWarning,
    ConvergenceError,
    InfeasibleBudgetError,
    SpecificationError,
    check_kind,
    listed,
    nearest,
)
from optdesign.layouts import Crossed
from optdesign.linalg import summed
from optdesign.measures import CandidateRegion, names_of
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import distinct, interior, region
from optdesign.optimize.certificate import Certificate, certify
from optdesign.optimize.choices import NestedChoice, one_factor
from optdesign.optimize.crossed import optimize_crossed
from optdesign.optimize.problem import Problem, centring, check_question, largest_weight, make_problem
from optdesign.optimize.result import Alternative, ExactDesign, OptimalDesign, Status
from optdesign.optimize.rounding import Rounding, alternatives
from optdesign.optimize.scenarios import with_references
from optdesign.optimize.scoring import efficiency_at, loss_at, reported
from optdesign.optimize.tightening import tightened
from optdesign.optimize.whole_units import round_units

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Alternative", "Certificate", "ExactDesign", "OptimalDesign", "Status", "efficiency", "optimize"]

Array = npt.NDArray[np.float64]
Progress = Callable[[int, float], None]
Solved = tuple[Problem, interior.Iterate]
Algorithm = Callable[[Problem, Progress | None], Solved]

#: Masses below this share of what the budget buys are dropped from the continuous optimum: below the first of these
#: that loses nothing, because where information is nearly singular traces may matter.
NEGLIGIBLE = (1e-7, 1e-9, 0.0)
#: Efficiency bound from which a continuous design counts as optimal, and below which the search has failed.
OPTIMAL, ACCEPTABLE = 1.0 - 1e-6, 0.999

#: Number of masses up to which the reference method takes over from a search that failed.
SMALL = 500
#: Fisher weight of an observation below which a search that failed is put down to it.
FAINT = 1e-15


def optimize(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str = "two-term",
    *,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
    already: Design | pd.DataFrame | None = None,
    method: str = "interior-point",
    progress: Progress | None = None,
) -> OptimalDesign:
    """The best design that the budget buys, with proof, and its rounding to whole numbers.

    Minimises the criterion jointly over the number of units of each type and the total observations at every
    candidate point. The problem is convex (Cov⁻¹ is Loewner-concave in both), so the optimum is global and the
    certificate bounds what any other admissible design could gain. Over a continuous region of candidates, points are
    added where the sensitivity peaks until the certificate holds on the region (see `Certificate`). For a crossed
    layout see `optdesign.optimize.crossed.optimize_crossed`.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    space : DesignSpace
    criterion : DOptimality, AOptimality, COptimality, EOptimality, IOptimality, Compound, Bayesian or Maximin
        The last two bring nominal values of their own; `nominal` is what covariances are reported at.
    cost : Cost
    budget : float
        In the currency of `cost`.
    order : str
        Covariance order, see `optdesign.covariance`. Under ``"leading"`` observations are worth nothing to a
        coefficient with a random partner, and the plan sits on the fewest replicates: a warning says so.
    limits : mapping from name to (Cost, amount), optional
        Further budgets, each in a currency of its own: ``{"nurse hours": (Cost(observation=0.5), 300)}``.
    already : Design or DataFrame, optional
        What has been run: its information is there for nothing, and only what is added is chosen and paid for. A
        data frame has a row per observation.
    method : str
        ``"interior-point"``, or ``"semidefinite"``: the same problem as a semidefinite program through cvxpy, a
        slow reference for small problems.
    progress : callable, optional
        Told the round and the relative excess of the best atom outside the working set.

    Returns
    -------
    OptimalDesign
        An interrupt from the keyboard during the search gives the best design so far, with its bound and
        ``status`` stopped.

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
        Where the criterion at the design is more than 10 % from its value by the best order available.

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
    check_question(model, nominal, space, criterion, cost, limits)
    _check_covariates(model, space)
    if isinstance(space.layout, Crossed):
        _check_crossed_extras(already, method)
        return optimize_crossed(model, nominal, space, criterion, cost, budget, order, progress, limits)
    check_order(model, order)
    _check_scope(model, space, order)
    already = None if already is None else _has_run(already, model, space)
    wanted: dict[str, Any] = {
        "criterion": criterion,
        "cost": cost,
        "budget": budget,
        "order": order,
        "limits": limits,
        "already": already,
    }
    asked = partial(optimize, model=model, nominal=nominal, space=space, method=method, **wanted)
    nominal = nominal.referring_to(space.reference)
    build = partial(make_problem, model, nominal, **wanted)
    with threadpool_limits(1, "blas"):  # many small decompositions: several threads would only wait for each other
        problem, notes = _problem(build, space)
        (problem, iterate), instead = _solved(_algorithm(method, space), problem, progress)
        z, design, certificate = _tidied(problem, iterate)
    loss = loss_at(problem, design)
    notes += (*instead, *space.candidates.notes, *_worthless_replicates(problem, iterate.gain, z))
    notes += _regime(problem, design, loss)
    best = OptimalDesign(
        design,
        problem.criterion.value_of(loss),
        design.spend(cost),
        reported(problem, nominal, design),
        _status(certificate, iterate),
        certificate,
        notes,
        iterate.iterations,
        nominal,
        criterion,
        float(budget),
        problem,
        partial(_exact, build, problem, nominal, z, space.common_replicates, certificate),
        asked,
        iterate.stopped,
    )
    _require_converged(best)
    return best


def _check_crossed_extras(already: object, method: str) -> None:
    if already is not None or method != "interior-point":
        raise SpecificationError(
            "already= and method= are for nested and plain designs; a crossed design starts from nothing and has one "
            "method."
        )


def _has_run(already: Design | pd.DataFrame, model: MixedModel, space: DesignSpace) -> Design:
    """What has been run, as a design of the same layout."""
    import pandas as pd

    check_kind("already", already, Design, pd.DataFrame)
    run = already if isinstance(already, Design) else Design.from_frame(already, space.layout, model.covariates)
    if run.layout != space.layout:
        raise SpecificationError(
            f"already= has the layout {run.layout!r}, and the space {space.layout!r}: what is added must have the "
            "layout of what has been run."
        )
    return run


def _require_converged(best: OptimalDesign) -> None:
    bound = best.certificate.efficiency_bound
    if bound < ACCEPTABLE and best.status is not Status.STOPPED:
        raise ConvergenceError(
            f"the search stopped at an efficiency bound of {bound:.4f}. The best design found and its bound are in "
            f"this error's `best` and `bound`. {_remedy(best)}",
            best,
            bound,
        )


def _remedy(best: OptimalDesign) -> str:
    """What may help a search that stopped early."""
    weight = largest_weight(best.model, best.nominal, best.space)
    if weight < FAINT:
        return (
            f"At the nominal values an observation tells next to nothing: its Fisher weight is {weight:.1e} at most, "
            "too little for floating point. Check the nominal values and the units of the covariates."
        )
    return f"{centring(best.model, best.space)}, or try fewer candidates."


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
    check_kind("best", best, OptimalDesign)
    check_question(model, nominal, best.space, criterion, best.cost)
    problem = replace(best.problem, model=model, order=order or best.order)
    nominal = nominal.referring_to(best.space.reference)
    return efficiency_at(problem, best.design, nominal, design, criterion)


def _algorithm(method: str, space: DesignSpace) -> Algorithm:
    limited = any(isinstance(each, Distinct) for each in space.constraints)
    if method == "interior-point":
        return distinct.optimum if limited else region.optimum
    if method == "semidefinite" and limited:
        raise SpecificationError("method 'semidefinite' takes linear constraints only: leave Distinct out.")
    if method == "semidefinite" and isinstance(space.candidates, CandidateRegion):
        raise SpecificationError(
            "method 'semidefinite' takes candidate points, such as od.Candidates.grid(x=…), not a continuous region."
        )
    if method == "semidefinite":
        from optdesign.optimize import semidefinite

        return lambda problem, progress: (problem, semidefinite.solve(problem, progress))
    known = ("interior-point", "semidefinite")
    raise SpecificationError(f"method '{method}' is not known.{nearest(method, known)} Methods: {listed(known)}.")


Build = Callable[[DesignSpace], Problem]


def _problem(build: Build, space: DesignSpace) -> tuple[Problem, tuple[str, ...]]:
    """The problem to solve, affordable; with common replicates, at the best number of them, which a note states."""
    problem = build(replace(space, common_replicates=False))
    problem.require_affordable()
    if not space.common_replicates or problem.n_types == 1:
        return with_references(problem), ()
    numbers = _best_common_numbers(lambda space: with_references(build(space)), problem)
    inner = space.layout.factors[1:] if space.layout else ()
    also = "".join(f", and {number:.6g} units of '{f}'" for f, number in zip(inner, numbers[1:], strict=True))
    search = "a one-dimensional search" if len(numbers) == 1 else f"a search in {len(numbers)} dimensions"
    note = (
        f"All units have n = {numbers[0]:.6g} observations{also}, found by {search}; the certificate holds among "
        "designs with that n."
    )
    return with_references(build(_with_numbers(space, numbers))), (note,)


def _with_numbers(space: DesignSpace, numbers: Sequence[float] | Array) -> DesignSpace:
    """The space with one number of observations per innermost unit, then of units of each inner factor per unit."""
    inner = space.layout.factors[1:] if space.layout else ()
    counts = {**space.counts, **{f: float(n) for f, n in zip(inner, numbers[1:], strict=True)}}
    return replace(space, replicates=float(numbers[0]), counts=counts, common_replicates=False)


def _best_common_numbers(build: Build, problem: Problem) -> Array:
    """Search over the logarithms of the numbers around those that the types would have if they could differ."""
    from scipy.optimize import minimize, minimize_scalar

    free, space = _free_numbers(problem), problem.space
    inner = space.layout.factors[1:] if space.layout else ()
    low, high = np.array([space.replicate_bounds, *(space.count_bounds(factor) for factor in inner)]).T
    reach = np.log([np.maximum(np.maximum(low, free.min(axis=1) / 4), 1e-9), np.minimum(high, free.max(axis=1) * 4)])

    def loss(logs: Array) -> float:
        return interior.solve(build(_with_numbers(space, np.exp(np.atleast_1d(logs))))).finished().bound

    if len(free) == 1:
        found = minimize_scalar(loss, bounds=reach[:, 0], method="bounded", options={"xatol": 1e-7})
        return np.asarray(np.exp(np.atleast_1d(found.x)))
    start = np.log(np.sqrt(free.min(axis=1) * free.max(axis=1)))
    options = {"xatol": 1e-6, "fatol": 1e-11}
    found = minimize(loss, start, method="Nelder-Mead", bounds=list(reach.T), options=options)
    return np.asarray(np.exp(found.x))


def _free_numbers(problem: Problem) -> Array:
    """Observations per innermost unit, then units of each inner factor per unit: smallest and largest, (numbers, 2)."""
    z, choice = interior.solve(problem).finished().z, problem.choice
    own = z[problem.chosen]
    assert isinstance(choice, NestedChoice)  # common numbers are of several types
    found = []
    for parts, units in [choice.chain[-1], *choice.chain[:-1]]:
        each = summed(units, own[parts], choice.n_units)[np.unique(units)] / own[np.unique(units)]
        found.append((each.min(), each.max()))
    return np.array(found)


def _rounded(build: Build, problem: Problem, z: Array, common: bool) -> Rounding:
    """The exact design; with common replicates, the better of the whole numbers on either side."""
    space = problem.space
    inner = space.layout.factors[1:] if space.layout else ()
    bounds = [space.replicate_bounds, *(space.count_bounds(factor) for factor in inner)]
    if not common or any(low < high for low, high in bounds):
        return round_units(problem, z)
    found: list[tuple[float, Rounding]] = []
    for numbers in product(*(sorted({np.floor(n), np.ceil(n)} - {0.0}) for n, _ in bounds)):
        neighbour = with_references(build(_with_numbers(space, numbers)))
        try:
            rounding = round_units(neighbour, interior.solve(neighbour).finished().z)
        except InfeasibleBudgetError:
            continue
        found.append((neighbour.loss(rounding.design), replace(rounding, bound=-np.inf)))
        if rounding.stopped:
            break
    return min(found, key=lambda pair: pair[0])[1] if found else round_units(problem, z)


def _solved(algorithm: Algorithm, problem: Problem, progress: Progress | None) -> tuple[Solved, tuple[str, ...]]:
    """The optimum, by the reference method where rounding ends the search and the problem is small, as a note says."""
    try:
        try:
            return algorithm(problem, progress), ()
        except interior.NoRoomError:
            return algorithm(tightened(problem), progress), ()
    except np.linalg.LinAlgError as error:
        note = f"The interior point did not get through ({error}); the design is by method 'semidefinite'."
        return _by_reference(problem, error), (note,)


def _by_reference(problem: Problem, error: np.linalg.LinAlgError) -> Solved:
    """The optimum of a small problem as a semidefinite program, after the search ended with an error."""
    try:
        if len(problem.price) > SMALL:
            raise error
        problem, iterate = _algorithm("semidefinite", problem.space)(problem, None)
        if _certified(problem, iterate, iterate.z)[2].efficiency_bound < ACCEPTABLE:
            raise error
        return problem, iterate
    except (SpecificationError, ConvergenceError, np.linalg.LinAlgError):
        raise ConvergenceError(
            f"the information matrix is too close to singular for the search ({error}). "
            f"{centring(problem.model, problem.space)}, or leave out terms that nearly repeat each other."
        ) from None


def _check_scope(model: MixedModel, space: DesignSpace, order: str) -> None:
    """Information must be concave in the masses, which is known of nested factors and these orders."""
    if isinstance(space.layout, Crossed) or one_factor(model, space.layout):
        check_layout(model, space.layout)
    elif order == "leading" or not (model.is_gaussian or order == "averaged"):
        raise SpecificationError(
            f"with units within units, designs are optimised by order '{'exact' if model.is_gaussian else 'averaged'}' "
            f"for a {model.family} model; got '{order}'."
        )
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


def _tidied(problem: Problem, iterate: interior.Iterate) -> tuple[Array, Design, Certificate]:
    """Masses without the negligible ones, the design they make, and its certificate.

    Fewer are dropped only where that makes the design optimal: a search that stopped early is no reason to keep traces.
    """
    tried = (_certified(problem, iterate, _without(problem, iterate.z, share)) for share in NEGLIGIBLE)
    first = next(tried)
    return next((each for each in chain([first], tried) if each[2].efficiency_bound >= OPTIMAL), first)


def _certified(problem: Problem, iterate: interior.Iterate, z: Array) -> tuple[Array, Design, Certificate]:
    """Masses, the design they make, and its certificate."""
    design = problem.choice.design(z[problem.chosen])
    return z, design, certify(problem, replace(iterate, z=z), problem.loss(design))


def _without(problem: Problem, z: Array, share: float) -> Array:
    """Masses without those below a share, what lies within each unit kept in all, and their money spent on the rest."""
    own = problem.chosen
    tidy = z.copy()
    tidy[own] = problem.choice.tidied(z[own], (z / problem.scale)[own] > share)
    if problem.choice.n_units and not tidy[: problem.choice.n_units].any():
        raise SpecificationError(
            "units are worth nothing to this criterion, so that ever more observations in ever fewer units are better: "
            "give counts a lowest value, or replicates a highest one."
        )
    return problem.stretched(tidy)


def _exact(
    build: Build,
    problem: Problem,
    nominal: NominalValues,
    z: Array,
    common: bool,
    certificate: Certificate,
) -> ExactDesign:
    with threadpool_limits(1, "blas"):
        rounding = _rounded(build, problem, z, common)
    design, reach = rounding.design, certificate.upper_bound_loss
    loss = problem.loss(design)
    whole = min(1.0, float(np.exp(max(reach, rounding.bound) - loss)))
    value, cov = problem.criterion.value_of(loss_at(problem, design)), reported(problem, nominal, design)
    reached = min(1.0, float(np.exp(reach - loss)))
    table = partial(_alternatives, rounding, reach)
    return ExactDesign(design, value, design.spend(problem.cost), cov, reached, whole, table, rounding.stopped)


def _alternatives(rounding: Rounding, reach: float) -> list[Alternative]:
    """The plans that no other of them betters for as little money, the dearest first."""
    problem, found = rounding.pool.problem, []
    with threadpool_limits(1, "blas"):
        plans = [("the plan", rounding.design), *alternatives(rounding)]
    for kind, design in plans:
        loss = problem.loss(design)
        value, bound = problem.criterion.value_of(loss_at(problem, design)), min(1.0, float(np.exp(reach - loss)))
        found.append(Alternative(kind, design, design.spend(problem.cost), value, bound))
    found.sort(key=lambda a: (-a.efficiency_bound, a.spend))
    return [a for i, a in enumerate(found) if all(a.spend < b.spend - 1e-9 for b in found[:i])]


def _status(certificate: Certificate, iterate: interior.Iterate) -> Status:
    if iterate.stopped or iterate.limited:
        return Status.STOPPED
    return Status.OPTIMAL if certificate.efficiency_bound >= OPTIMAL else Status.TO_TOLERANCE


def _worthless_replicates(problem: Problem, gain: Array, z: Array) -> tuple[str, ...]:
    """Under the leading order: say that observations count for nothing, rather than return the bound silently."""
    units = problem.n_units
    if problem.order != "leading" or float(gain[units:] @ z[units:]) > 1e-6:
        return ()
    low = problem.space.replicate_bounds[0]
    return (
        "Under the leading order, observations beyond the first ones are worth nothing to this criterion, because its "
        f"coefficients vary between units: the plan sits on the fewest replicates allowed ({low:g}). Use order "
        "'two-term' to choose the number of replicates.",
    )


def _regime(problem: Problem, design: Design, loss: float) -> tuple[str, ...]:
    """Warn where the order used, which gives `loss`, is more than 10 % from the best order available at the design."""
    losses = {problem.order: loss}
    others = ["exact"] if problem.model.is_gaussian else ["two-term", "averaged"]
    for order in [order for order in others if order != problem.order]:
        with suppress(SpecificationError):  # an order that has no finite answer here is no better
            losses[order] = loss_at(replace(problem, order=order), design)
    best = max(losses, key=lambda order: losses[order])
    ratio = float(np.exp(losses[problem.order] - losses[best]))
    if not np.isfinite(ratio) or 1 / 1.1 <= ratio <= 1.1:
        return ()
    text = (
        f"at the plan, the order '{problem.order}' gives a variance {ratio:.2f} times that of the order '{best}', the "
        f"best available: use order='{best}', or plan with larger groups."
    )
    warnings.warn(text, AsymptoticRegimeWarning, stacklevel=3)
    return (f"Asymptotics: {text}",)
