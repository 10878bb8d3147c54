"""Optimal crossed designs: numbers of units with proof, shares of covariate values around them, whole numbers."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from optdesign.costs import Cost
from optdesign.covariance import check_order, covariance
from optdesign.criteria import Criterion
from optdesign.designs import DesignSpace
from optdesign.errors import AsymptoticRegimeWarning, InfeasibleBudgetError, SpecificationError, is_number, listed
from optdesign.goals import Geometric, Worst
from optdesign.interrupts import Stoppable
from optdesign.layouts import Crossed
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize.crossed_counts import CountOptimum, CountProblem, minimised, solve_counts
from optdesign.optimize.crossed_integers import whole_designs
from optdesign.optimize.crossed_problem import CrossedProblem, Parts, Shares, values_of
from optdesign.optimize.crossed_result import CrossedCertificate, CrossedExactDesign, whole_shares
from optdesign.optimize.crossed_shares import SharesOptimum, best_shares
from optdesign.optimize.problem import bound_criterion, parameters_of_criterion
from optdesign.optimize.result import OptimalDesign, Status

Array = npt.NDArray[np.float64]
Progress = Callable[[int, float], None]

#: Efficiency bound from which a continuous design counts as optimal.
OPTIMAL = 1.0 - 1e-6
#: Whole designs near the best that are looked at with the covariance itself, where parts or shares change with them.
LOOKED_AT = 20
#: How many whole designs are listed for that, as not all are affordable once the kinds of unit are whole, too.
WANTED = 300
#: Step of central differences in the logarithms of numbers.
STEP = 1e-4


@dataclass(frozen=True, eq=False)
class _Found:
    """A continuous optimum: shares, numbers, and the problem in numbers that proves or approximates it."""

    shares: SharesOptimum
    numbers: Array
    counts: CountProblem
    optimum: CountOptimum
    constant: bool
    bounded: bool

    @property
    def stopped(self) -> bool:
        """Whether an interrupt from the keyboard ended the search."""
        return self.shares.stopped or self.optimum.stopped


def optimize_crossed(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str = "two-term",
    progress: Progress | None = None,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
) -> OptimalDesign:
    """The best crossed design that the budget buys: numbers of rows, columns, cells and replicates, and shares.

    Minimises the criterion of Λ/m + Λ'/m' + T/N subject to c_r m + c_c m' + c_cell K + c_o K n ≤ each budget, with all
    K = m m' cells or, in a biregular crossing, any number between max(m, m') and m m' of them. Convex in logarithms.

    Parameters
    ----------
    model, nominal, space, criterion, cost, budget
        As for `optdesign.optimize`; the layout of the space is crossed.
    order : str
        ``"leading"``, ``"two-term"``, ``"refined"``, and ``"averaged"`` and ``"exact"`` of a Gaussian.
    progress : callable, optional
        Told how many sets of shares were tried, and the loss at the last.
    limits : mapping from name to (Cost, amount), optional
        Further budgets, as for `optdesign.optimize`.

    Returns
    -------
    OptimalDesign
        With a `CrossedCertificate`, whose `scope` says among which designs the bound holds, and a
        `CrossedExactDesign`, whose `incidence` lists the observed cells.

    Raises
    ------
    SpecificationError
        For parts that do not fit together, or where nothing limits a number.
    NotEstimableError
        Where a coefficient is not estimable.
    InfeasibleBudgetError
        Where the budget cannot buy the smallest admissible design; carries its price.

    Notes
    -----
    Where the parts change with the numbers of units (a Gaussian's correction for degrees of freedom, orders refined and
    exact with drawn covariates, unit-level covariates of more values than coefficients) numbers are found by direct
    search from the optimum at fixed parts, with no proof; a Gaussian's two terms without that correction still bound
    what any numbers could reach, as it only takes information away.

    Examples
    --------
    Readers at 12 each, images at 7, and 0.85 per reading; all read all, or not:

    >>> import optdesign as od
    >>> model = od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)")
    >>> guess = od.NominalValues([0.0], {"reader": 0.6, "image": 0.35}, dispersion=1.1)
    >>> cost = od.Cost(units={"reader": 12.0, "image": 7.0}, observation=0.85)
    >>> value = {}
    >>> for crossing in ("complete", "biregular"):
    ...     space = od.DesignSpace(od.Crossed("reader", "image"), crossing=crossing)
    ...     best = optimize_crossed(model, guess, space, od.COptimality({"Intercept": 1.0}), cost, 2000.0)
    ...     value[crossing] = best.value
    >>> round(value["complete"] / value["biregular"], 2), best.certificate.efficiency_bound > 0.999999
    (1.83, True)
    >>> best.rounded.design.counts, len(best.rounded.incidence)
    (mappingproxy({'reader': 86.0, 'image': 86.0}), 430)
    """
    asked = partial(
        optimize_crossed,
        model=model,
        nominal=nominal,
        space=space,
        criterion=criterion,
        cost=cost,
        budget=budget,
        order=order,
        limits=limits,
    )
    problem = crossed_problem(model, nominal, space, criterion, cost, budget, order, limits)
    nominal = nominal.referring_to(space.region.frame)
    with threadpool_limits(1, "blas"):  # many small decompositions: several threads would only wait for each other
        problem = _with_references(problem)
        found = _continuous(problem, progress)
        design = problem.design(found.shares.shares, found.numbers)
        loss = problem.loss(found.shares.shares, found.numbers)
        certificate = _certificate(problem, found, loss)
    notes = (*space.candidates.notes, *_worthless_replicates(problem, found), *_single_cells(problem, found))
    return OptimalDesign(
        design,
        problem.criterion.value_of(loss),
        design.spend(cost),
        covariance(model, nominal, design, order),
        _status(found, certificate),
        certificate,
        notes + _regime(problem, found, loss),
        found.optimum.rounds + found.shares.tried,
        nominal,
        criterion,
        float(budget),
        problem,
        partial(_whole, problem, nominal, found, certificate),
        asked,
        found.stopped,
    )


def crossed_problem(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
) -> CrossedProblem:
    """What was asked, checked."""
    layout = space.layout
    if not isinstance(layout, Crossed):
        raise SpecificationError(f"a crossed design needs the layout Crossed(row, column); got {layout!r}.")
    check_order(model, order, layout)
    if order == "averaged" and not model.is_gaussian:
        raise SpecificationError(
            "order 'averaged' of two crossed factors is sampled, too rough to optimise by: use 'two-term', and "
            "accuracy(model, guess, design) to compare the orders at the plan."
        )
    budgets = tuple(_less_fixed(name, *given) for name, given in {"": (cost, budget), **(limits or {})}.items())
    nominals = tuple(each.referring_to(space.region.frame) for each in criterion.scenarios or (nominal,))
    bound = bound_criterion(model, nominals, criterion)
    if parameters_of_criterion(model, nominals[0], bound) == "all":
        raise SpecificationError(
            f"the {criterion.label} is about variance components, and crossed designs are optimised for fixed effects "
            "only. At a given design covariance(…, parameters='all') says how well components are estimated."
        )
    problem = CrossedProblem(model, nominals, space, layout, values_of(space, layout), bound, budgets, order)
    for _, each, _ in budgets:  # prices must be constant within units
        problem.design(problem.values.even(), problem.references[0]).spend(each)
    return problem


def _less_fixed(name: str, cost: Cost, amount: float) -> tuple[str, Cost, float]:
    """A budget less its fixed costs."""
    if not (is_number(amount) and amount > cost.fixed):
        what = f"the amount of limits['{name}']" if name else "the budget"
        raise InfeasibleBudgetError(
            f"{what}, {amount!r}, must be more than its fixed cost {cost.fixed:,.2f}.", cost.fixed
        )
    return name, cost, float(amount) - cost.fixed


def _with_references(problem: CrossedProblem) -> CrossedProblem:
    """The problem with the least loss that each scenario allows on its own, where its criterion needs them."""
    if not isinstance(problem.criterion.mean, Worst):
        return problem
    references = []
    for part, nominal in zip(problem.criterion.parts, problem.nominals, strict=True):
        criterion = replace(problem.criterion, parts=(replace(part, scenario=0),), mean=Geometric((1.0,)))
        alone = replace(problem, nominals=(nominal,), criterion=criterion)
        found = _continuous(alone, None)
        if found.stopped:
            raise KeyboardInterrupt
        references.append(alone.loss(found.shares.shares, found.numbers))
    return replace(problem, criterion=replace(problem.criterion, mean=Worst(tuple(references))))


def _continuous(problem: CrossedProblem, progress: Progress | None) -> _Found:
    """Shares and numbers; where parts change with the numbers, from the optimum at the parts of an order like it."""
    even, order = problem.values.even(), problem.order
    own = problem.parts(even, order)
    start = order if own.constant else "averaged" if problem.model.is_gaussian else "two-term"
    problem.require_affordable()
    shares = best_shares(problem, start, progress)
    own = problem.parts(shares.shares, order)
    parts = own if own.constant else problem.parts(shares.shares, start)
    counts = problem.counts(shares.shares, parts)
    optimum = solve_counts(counts)
    numbers = _spread_out(problem, counts.numbers(optimum.y))
    constant = own.constant
    if (
        not (constant or shares.stopped or optimum.stopped) and order != "exact"
    ):  # an exact covariance jumps where another unit is begun
        numbers = _spread_out(problem, counts.numbers(_searched(problem, shares.shares, counts, optimum.y)))
    less_taken = problem.model.is_gaussian and order == "two-term" and parts.constant
    return _Found(shares, numbers, counts, optimum, constant, constant or less_taken)


def _spread_out(problem: CrossedProblem, numbers: Array) -> Array:
    """The same number of observations in as many cells as there may be, where cells cost nothing of their own."""
    if problem.bounds.complete or any(cost.cell > 0 for _, cost, _ in problem.budgets):
        return numbers
    rows, columns, cells, replicates = numbers
    low, high = problem.bounds.lowest, problem.bounds.highest
    more = max(cells, min(cells * replicates / low[3], rows * columns, high[2]))
    return np.array([rows, columns, more, cells * replicates / more])


def _searched(problem: CrossedProblem, shares: Shares, counts: CountProblem, start: Array) -> Array:
    """Numbers by direct search with the covariance itself: central differences of it, from a start."""
    steps = STEP * np.eye(len(start))

    def loss(y: Array) -> float:
        return problem.loss(shares, counts.numbers(y))

    def gradient(y: Array) -> Array:
        return np.array([(loss(y + step) - loss(y - step)) / (2 * STEP) for step in steps])

    found = minimised(loss, gradient, start, problem.bounds, counts, tolerance=1e-9)
    return min(start, counts.affordable(found), key=loss)


def _certificate(problem: CrossedProblem, found: _Found, loss: float) -> CrossedCertificate:
    import pandas as pd

    gain, price = -found.counts.gradient(found.optimum.y), found.optimum.price
    ratio = np.where((gain <= 1e-12) & (price <= 1e-12), 1.0, gain / np.maximum(price, 1e-12))
    mass = found.numbers[[0, 1, 3] if problem.bounds.complete else [0, 1, 2, 3]]
    frame = pd.DataFrame({"kind": problem.names, "sensitivity": gain, "price": price, "ratio": ratio, "mass": mass})
    bound = found.optimum.bound if found.bounded else np.nan
    reached = np.exp(bound - loss)
    return CrossedCertificate(float(np.minimum(1.0, reached)), frame, bound, _scope(problem, found))


def _scope(problem: CrossedProblem, found: _Found) -> str:
    """What the bound covers, in words."""
    at = " at these shares" if found.shares.scope else ""
    if found.constant:
        text = f"among all numbers of units, cells and replicates{at}"
    elif found.bounded:
        text = (
            f"against any numbers{at} without the correction for degrees of freedom; with it, the numbers are a local "
            "optimum"
        )
    else:
        text = f"no bound is known for order '{problem.order}' here; the numbers are a local optimum, or near one"
    return "; ".join(filter(None, [text, found.shares.scope]))


def _status(found: _Found, certificate: CrossedCertificate) -> Status:
    if found.stopped:
        return Status.STOPPED
    if not found.constant or found.shares.scope:
        return Status.LOCAL
    return Status.OPTIMAL if certificate.efficiency_bound >= OPTIMAL else Status.TO_TOLERANCE


def _whole(
    problem: CrossedProblem, nominal: NominalValues, found: _Found, certificate: CrossedCertificate
) -> CrossedExactDesign:
    """The best whole numbers; those of values too, where there are several."""
    shares, counts, optimum = found.shares.shares, found.counts, found.optimum
    exhaustive = found.constant and not found.shares.scope
    if not found.constant:
        counts = problem.counts(shares, Parts(problem.parts_at(shares, found.numbers, problem.order), False))
        optimum = solve_counts(counts)
    numbers, proven = whole_designs(counts, optimum, 1 if exhaustive else WANTED)
    plans = ((_in_whole(shares, row), row) for row in numbers)
    bought = (plan for plan in plans if problem.share_bounds.hold(plan[0]) and _affordable(problem, *plan))
    looked_at: list[tuple[float, tuple[Shares, Array]]] = []
    with Stoppable(looked_at) as search:
        looked_at.extend(
            (problem.loss(*plan), plan) for plan in itertools.islice(bought, 1 if exhaustive else LOOKED_AT)
        )
    if looked_at:
        _, best = min(looked_at, key=lambda pair: pair[0])
        return _exact(problem, nominal, best, certificate.upper_bound_loss, exhaustive and proven, search.stopped)
    raise InfeasibleBudgetError(
        "no design in whole numbers within the bounds and the budget was found, though there is one in fractions of "
        "units. Raise the budget, or widen the bounds on counts, replicates or shares."
    )


def _in_whole(shares: Shares, numbers: Array) -> Shares:
    """Shares that are whole numbers of rows, of columns and of observations."""
    totals = (numbers[0], numbers[1], numbers[2] * numbers[3])
    rows, columns, others = (whole_shares(s, total) for s, total in zip(shares, totals, strict=True))
    return rows, columns, others


def _affordable(problem: CrossedProblem, shares: Shares, numbers: Array) -> bool:
    counts = CountProblem(problem.criterion, np.zeros((1, 3, 1, 1)), problem.prices(shares), problem.bounds)
    return bool(counts.spent(numbers) <= 1 + 1e-12)


def _exact(
    problem: CrossedProblem,
    nominal: NominalValues,
    plan: tuple[Shares, Array],
    upper_bound_loss: float,
    proven: bool,
    stopped: bool,
) -> CrossedExactDesign:
    design, loss = problem.design(*plan), problem.loss(*plan)
    cov = covariance(problem.model, nominal, design, problem.order)
    reached = float(np.minimum(1.0, np.exp(upper_bound_loss - loss)))
    whole = 1.0 if proven else reached
    value, spend = problem.criterion.value_of(loss), design.spend(problem.cost)
    return CrossedExactDesign(design, value, spend, cov, reached, whole, list, stopped, proven)


def _worthless_replicates(problem: CrossedProblem, found: _Found) -> tuple[str, ...]:
    """Under the leading order: say that observations count for nothing."""
    if found.counts.slope(found.optimum.y)[1][2] > 1e-9:
        return ()
    return (
        f"Under order '{problem.order}', observations beyond the first of a cell are worth nothing to this criterion: "
        "the plan sits on the fewest allowed. Use order 'two-term' to choose their number.",
    )


def _single_cells(problem: CrossedProblem, found: _Found) -> tuple[str, ...]:
    """Say where units of a factor meet one unit of the other only."""
    *units, cells, _ = found.numbers
    alone = [factor for factor, count in zip(problem.layout.factors, units, strict=True) if cells < 1.5 * count]
    if not alone:
        return ()
    return (
        f"Units of {listed(alone)} are in one cell each, so that their effects and those of the units they meet cannot "
        "be told apart, nor their variances estimated: raise the lowest counts or cells to have them crossed.",
    )


def _regime(problem: CrossedProblem, found: _Found, loss: float) -> tuple[str, ...]:
    """Warn where the order used is more than 10 % from two terms, at the design."""
    ratio = float(np.exp(loss - replace(problem, order="two-term").loss(found.shares.shares, found.numbers)))
    if not np.isfinite(ratio) or 1 / 1.1 <= ratio <= 1.1:
        return ()
    text = (
        f"at the plan, the order '{problem.order}' gives a variance {ratio:.2f} times that of the order 'two-term': "
        "use that, or plan with more units and observations."
    )
    warnings.warn(text, AsymptoticRegimeWarning, stacklevel=4)
    return (f"Asymptotics: {text}",)
