"""Numbers of rows, columns, cells and replicates of a crossed design: a convex problem in their logarithms.

At given laws of the covariates the covariance is Λ/m + Λ'/m' + T/N, three positive semi-definite parts over numbers of
units, with N = K n observations in K cells. In y, the logarithms of (m, m', n) where all m m' cells are observed and of
(m, m', K, n) elsewhere, a variance and a determinant are sums of exponentials with coefficients that are not negative
(those of a determinant are mixed discriminants), and a largest eigenvalue is the supremum of variances: every loss
−log Φ is convex. So is the logarithm of the price; bounds on numbers, and max(m, m') ≤ K ≤ m m', are linear. It is a
geometric program, solved by sequential quadratic programming and proved by a linear program over tangents.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optdesign.criteria import BoundCriterion
from optdesign.interrupts import Stoppable

Array = npt.NDArray[np.float64]
Function = Callable[[Array], float]
Gradient = Callable[[Array], Array]

#: Exponents of (m, m', K, n) in what divides each part of the covariance, and in what each price is paid for.
SOURCES = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])
PRICED = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]])
#: Logarithms of (m, m', K, n) from those of (m, m', n) in a complete crossing.
COMPLETE = np.array([[1.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
#: How far corners of a largest eigenvalue or a worst case are rounded off.
SMOOTHING = 1e-9
#: Largest gap between loss and bound at which the proof stops, and most rounds until then.
GAP, ROUNDS = 1e-8, 80


@dataclass(frozen=True, eq=False)
class CountBounds:
    """What numbers are admissible: bounds on (m, m', K, n), and whether every cell must be observed.

    Attributes
    ----------
    lowest, highest : arrays, shape (4,)
    complete : bool
    """

    lowest: Array
    highest: Array
    complete: bool

    @property
    def basis(self) -> Array:
        """Logarithms of (m, m', K, n) as linear functions of y, shape (4, d)."""
        return COMPLETE if self.complete else np.eye(4)

    @cached_property
    def limits(self) -> tuple[Array, Array]:
        """Matrix and right side of the linear inequalities on y."""
        ends = [(np.eye(4), np.log(self.highest)), (-np.eye(4), -np.log(self.lowest))]
        if not self.complete:
            ends.append((np.array([[1.0, 0, -1, 0], [0, 1, -1, 0], [-1, -1, 1, 0]]), np.zeros(3)))
        matrix = np.concatenate([m for m, _ in ends]) @ self.basis
        upper = np.concatenate([u for _, u in ends])
        return matrix[np.isfinite(upper)], upper[np.isfinite(upper)]

    def hold(self, numbers: Array) -> npt.NDArray[np.bool_]:
        """Whether rows of (m, m', K, n) are within them."""
        m, columns, cells, _ = numbers.T
        inside = ((numbers >= self.lowest) & (numbers <= self.highest)).all(axis=1)
        return np.asarray(inside & (np.maximum(m, columns) <= cells) & (cells <= m * columns))


@dataclass(frozen=True, eq=False)
class CountProblem:
    """Minimise the loss over numbers of units, within bounds and budgets.

    Attributes
    ----------
    criterion : BoundCriterion
    parts : array, shape (S, 3, p, p)
        Λ, Λ' and T in each scenario.
    prices : array, shape (budgets, 4)
        Of a row, a column, a cell and an observation, as shares of each budget.
    bounds : CountBounds
    """

    criterion: BoundCriterion
    parts: Array
    prices: Array
    bounds: CountBounds

    def numbers(self, y: Array) -> Array:
        """(m, m', K, n) at y."""
        return np.asarray(np.exp(self.bounds.basis @ y))

    def losses(self, numbers: Array) -> Array:
        """−log Φ at rows of (m, m', K, n)."""
        weights = np.exp(-np.log(numbers) @ SOURCES.T)
        return self.criterion.losses(np.linalg.inv(np.einsum("ni,sijk->nsjk", weights, self.parts)))

    def loss(self, y: Array) -> float:
        """−log Φ at y."""
        return float(self.losses(self.numbers(y)[None])[0])

    def slope(self, y: Array) -> tuple[float, Array]:
        """A lower bound on the loss at y, and minus its derivatives in the logarithms of m, m' and N.

        The derivatives are shares of the variance that sum to one. The bound is the loss itself where it is smooth; at
        corners it is what a weighted trace below it proves, convex in logarithms, too.
        """
        scaled = np.exp(-SOURCES @ self.bounds.basis @ y)[:, None, None] * self.parts
        covariances = scaled.sum(axis=1)
        point = self.criterion.at(list(covariances), SMOOTHING)
        roots = [np.linalg.solve(cov, root) for cov, root in zip(covariances, point.directions(point.own), strict=True)]
        shares = [np.einsum("ik,sij,jk->s", root, each, root) for root, each in zip(roots, scaled, strict=True)]
        return point.bound(point.own), np.sum(shares, axis=0)

    def gradient(self, y: Array) -> Array:
        """Gradient of the loss."""
        return np.asarray(-self.slope(y)[1] @ SOURCES @ self.bounds.basis)

    def payments(self, numbers: Array) -> Array:
        """Shares of each budget paid for rows, columns, cells and observations, (…, 4) to (…, budgets, 4)."""
        return np.asarray(self.prices * np.exp(np.log(numbers) @ PRICED.T)[..., None, :])

    def spent(self, numbers: Array) -> Array:
        """Largest share of a budget that is spent, (…, 4) to (…)."""
        return np.asarray(self.payments(numbers).sum(axis=-1).max(axis=-1))

    def log_spends(self, y: Array) -> Array:
        """Logarithm of the share that is spent of each budget."""
        return np.asarray(np.log(self.payments(self.numbers(y)).sum(axis=-1)))

    def log_spends_gradient(self, y: Array) -> Array:
        """Gradient of the logarithm of each spend, shape (budgets, d)."""
        paid = self.payments(self.numbers(y))
        return np.asarray(paid / paid.sum(axis=-1, keepdims=True) @ PRICED @ self.bounds.basis)

    @cached_property
    def box(self) -> tuple[Array, Array]:
        """Lowest admissible and highest affordable y; ``inf`` where nothing limits a number."""
        matrix, upper = self.bounds.limits
        paid = self.prices > 0
        affordable = np.concatenate([matrix, PRICED[np.nonzero(paid)[1]] @ self.bounds.basis])
        right = np.concatenate([upper, -np.log(self.prices[paid])])
        directions = np.eye(matrix.shape[1])
        low = np.array([-_highest(-d, matrix, upper) for d in directions])
        high = np.array([_highest(d, affordable, right) for d in directions])
        return low, np.maximum(low, high)

    @cached_property
    def cheapest(self) -> Array:
        """The admissible y of lowest price, whatever the money; where it may matter which, by all budgets together."""
        low, high = self.bounds.lowest, self.bounds.highest
        if self.bounds.complete:
            return np.log(low[[0, 1, 3]])
        cells = low[:3].max()
        start = np.log([min(high[0], cells), min(high[1], cells), cells, low[3]])
        whole = replace(self, prices=self.prices.sum(axis=0, keepdims=True))
        return minimised(
            lambda y: float(whole.log_spends(y)[0]), lambda y: whole.log_spends_gradient(y)[0], start, self.bounds
        )

    def affordable(self, y: Array) -> Array:
        """The point nearest to y that the money buys, on the line to the cheapest one."""
        from scipy.optimize import brentq

        def excess(step: float) -> float:
            return float(self.log_spends(self.cheapest + step * (y - self.cheapest)).max())

        if excess(1.0) <= 0:
            return y
        step = float(brentq(excess, 0.0, 1.0, xtol=1e-15)) if excess(0.0) < 0 else 0.0
        return np.asarray(self.cheapest + step * (y - self.cheapest))


def _highest(direction: Array, matrix: Array, upper: Array) -> float:
    from scipy.optimize import linprog

    found = linprog(-direction, A_ub=matrix, b_ub=upper, bounds=(None, None))
    return float(-found.fun) if found.status == 0 else np.inf


def minimised(
    loss: Function,
    gradient: Gradient,
    start: Array,
    bounds: CountBounds,
    within: CountProblem | None = None,
    tolerance: float = 1e-16,
) -> Array:
    """Minimum of a smooth function of y by sequential quadratic programming, within the money of a problem if given."""
    from scipy.optimize import minimize

    matrix, upper = bounds.limits
    limits = [{"type": "ineq", "fun": lambda y: upper - matrix @ y, "jac": lambda _: -matrix}]
    if within is not None:
        spend, slope = within.log_spends, within.log_spends_gradient
        limits.append({"type": "ineq", "fun": lambda y: -spend(y), "jac": lambda y: -slope(y)})
    options = {"ftol": tolerance, "maxiter": 300}
    found = minimize(loss, start, jac=gradient, constraints=limits, method="SLSQP", options=options)
    return np.asarray(found.x if np.isfinite(found.x).all() else start)


@dataclass(frozen=True, eq=False)
class Tangents:
    """Linear functions of y below the loss, and below the logarithm of a spend: rows (value at zero, slope)."""

    loss: Array  # (k, 1 + d)
    spend: Array  # (k, 1 + d)

    def beside(self, problem: CountProblem, y: Array) -> Tangents:
        """With those at one more point."""
        bound, shares = problem.slope(y)
        loss = _tangents(np.array([bound]), (-shares @ SOURCES @ problem.bounds.basis)[None], y)
        spend = _tangents(problem.log_spends(y), problem.log_spends_gradient(y), y)
        return Tangents(np.vstack([self.loss, loss]), np.vstack([self.spend, spend]))


def _tangents(values: Array, slopes: Array, y: Array) -> Array:
    return np.column_stack([values - slopes @ y, slopes])


@dataclass(frozen=True, eq=False)
class CountOptimum:
    """Best numbers with the proof that no others are better.

    Attributes
    ----------
    y : array, shape (d,)
    bound : float
        Loss below which no admissible y can come.
    price : array, shape (d,)
        What budget and bounds ask of each logarithm for its share of the loss, by the multipliers of the proof.
    tangents : Tangents
        What proves the bound.
    rounds : int
    stopped : bool
        Whether an interrupt from the keyboard ended the search.
    """

    y: Array
    bound: float
    price: Array
    tangents: Tangents
    rounds: int
    stopped: bool


def descended(problem: CountProblem) -> Array:
    """The optimum by sequential quadratic programming, not yet proved."""
    found = minimised(problem.loss, problem.gradient, _centre(problem), problem.bounds, problem)
    return min(problem.cheapest, problem.affordable(found), key=problem.loss)


def solve_counts(problem: CountProblem) -> CountOptimum:
    """The global optimum over numbers, by sequential quadratic programming and tangents until the gap closes."""
    y = descended(problem)
    empty = np.zeros((0, len(y) + 1))
    tangents, best, price = Tangents(empty, empty), -np.inf, np.zeros(len(y))
    new, rounds = y, 0
    with Stoppable(y) as search:
        for rounds in range(1, ROUNDS + 1):
            tangents = tangents.beside(problem, y if rounds == 1 else 0.5 * (y + new)).beside(problem, new)
            bound, new, asked = _bounded(problem, tangents)
            if bound > best:
                best, price = bound, asked
            y = min(y, problem.affordable(new), problem.affordable(0.5 * (y + new)), key=problem.loss)
            if problem.loss(y) - best <= GAP:
                break
    return CountOptimum(y, min(best, problem.loss(y)), price, tangents, rounds, search.stopped)


def _centre(problem: CountProblem) -> Array:
    """A start inside the bounds: halfway, in logarithms, to the highest of everything, as far as the money goes."""
    _, high = problem.box
    y = problem.cheapest
    target = np.where(np.isfinite(high), high, y)
    return problem.affordable(0.5 * (y + target)) if problem.bounds.complete else y


def _program(problem: CountProblem, tangents: Tangents) -> tuple[Array, Array]:
    """Inequalities on (y, t): tangents of the loss below t, of the spend below zero, bounds on numbers."""
    matrix, upper = problem.bounds.limits
    rows = np.concatenate([tangents.loss[:, 1:], tangents.spend[:, 1:], matrix])
    above = np.zeros((len(rows), 1))
    above[: len(tangents.loss)] = -1.0
    return np.hstack([rows, above]), np.concatenate([-tangents.loss[:, 0], -tangents.spend[:, 0], upper])


def _bounded(problem: CountProblem, tangents: Tangents) -> tuple[float, Array, Array]:
    """Lower bound on the loss from multipliers of the linear program, its solution, and the price of each logarithm.

    Any multipliers λ of the loss's tangents that sum to one, and others that are not negative, prove
    loss(y) ≥ constant + r·y, with r the residual of stationarity; over the box this is a number.
    """
    from scipy.optimize import linprog

    low, high = problem.box
    rows, right = _program(problem, tangents)
    limits = [*zip(low, high, strict=True), (None, None)]
    found = linprog(np.append(np.zeros(len(low)), 1.0), A_ub=rows, b_ub=right, bounds=limits, method="highs")
    if found.status != 0:
        return -np.inf, problem.cheapest, np.zeros(len(low))
    multipliers = np.maximum(-found.ineqlin.marginals, 0.0)
    multipliers /= multipliers[: len(tangents.loss)].sum()
    residual = multipliers @ rows[:, :-1]
    bound = float(np.minimum(residual * low, residual * high).sum() - multipliers @ right)
    price = multipliers[len(tangents.loss) :] @ rows[len(tangents.loss) :, :-1]
    return bound, found.x[:-1], price - np.minimum(residual, 0.0)


def level_box(
    problem: CountProblem, tangents: Tangents, level: float, rounds: int = 3
) -> tuple[Array, Array, Tangents]:
    """A box around all affordable y with a loss of at most `level`, and the tangents that show it."""
    size = len(problem.cheapest)
    for _ in range(rounds):
        ends = [_furthest(problem, tangents, level, direction) for direction in (*np.eye(size), *-np.eye(size))]
        for end in ends:
            tangents = tangents.beside(problem, end)
    corners = np.array(ends)
    return corners.min(axis=0), corners.max(axis=0), tangents


def _furthest(problem: CountProblem, tangents: Tangents, level: float, direction: Array) -> Array:
    from scipy.optimize import linprog

    low, high = problem.box
    rows, right = _program(problem, tangents)
    limits = [*zip(low, high, strict=True), (level, level)]
    found = linprog(np.append(-direction, 0.0), A_ub=rows, b_ub=right, bounds=limits, method="highs")
    return np.asarray(found.x[:-1] if found.status == 0 else np.where(direction > 0, high, low))
