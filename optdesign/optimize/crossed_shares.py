"""Shares of covariate values in a crossed design, chosen together with the numbers of units.

At given shares the best numbers are known with proof; the loss they reach, as a function of the shares, is minimised
here. It need not be convex. One or two shares are searched on a grid first, from whose best point, as from equal shares
elsewhere, sequential quadratic programming goes down.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optdesign.errors import NotEstimableError
from optdesign.interrupts import Stoppable
from optdesign.optimize.crossed_counts import descended
from optdesign.optimize.crossed_problem import CrossedProblem, Parts, Shares

Array = npt.NDArray[np.float64]
Progress = Callable[[int, float], None]

#: Steps of the grid over one and over two free shares.
STEPS = {1: 0.05, 2: 0.1}
#: Smallest share of a value that is searched over, and the step of the central differences.
SMALLEST, STEP = 1e-3, 5e-4
#: Share below which a value is left out.
NEGLIGIBLE = 2e-3


@dataclass(frozen=True, eq=False)
class SharesOptimum:
    """Best shares found, how they were found in words, how many were tried, and whether an interrupt ended that."""

    shares: Shares
    scope: str
    tried: int
    stopped: bool = False


class _Profile:
    """Loss at the best numbers for given shares; remembers what it was asked, and the answers."""

    def __init__(self, problem: CrossedProblem, order: str, progress: Progress | None) -> None:
        self.problem, self.order, self.progress = problem, order, progress
        self.seen: list[tuple[Shares, float]] = []

    def __call__(self, shares: Shares) -> float:
        loss = self._loss(shares)
        self.seen.append((shares, loss))
        if self.progress:
            self.progress(len(self.seen), loss)
        return loss

    def _loss(self, shares: Shares) -> float:
        try:
            matrices = self.problem.parts_at(shares, self.problem.references[0], self.order)
        except NotEstimableError:
            return np.inf
        counts = self.problem.counts(shares, Parts(matrices, True))
        return counts.loss(descended(counts))

    def best(self) -> Shares:
        """The best admissible shares asked for."""
        hold = self.problem.share_bounds.hold
        return min((each for each in self.seen if hold(each[0])), key=lambda each: each[1])[0]


def best_shares(problem: CrossedProblem, order: str, progress: Progress | None) -> SharesOptimum:
    """Shares at which the best numbers are best."""
    start, free = problem.values.even(), sum(problem.values.sizes) - 3
    if not free:
        return SharesOptimum(start, "", 0)
    bounds, profile = problem.share_bounds, _Profile(problem, order, progress)
    start = start if bounds.hold(start) else bounds.nearest(start)
    scope = "the shares of the covariates are a local optimum, searched from equal shares"
    if free in STEPS:
        scope = (
            f"the shares of the covariates are the best of an exhaustive grid of step {STEPS[free]:g}, refined locally"
        )
    with Stoppable(profile.seen) as search:
        if free in STEPS:
            start = min(start, *filter(bounds.hold, _grid(problem, STEPS[free])), key=profile)
        return SharesOptimum(_refined(problem, profile, start), scope, len(profile.seen))
    scope = "the shares of the covariates are the best of those looked at before the search was stopped"
    return SharesOptimum(profile.best(), scope, len(profile.seen), search.stopped)


def _grid(problem: CrossedProblem, step: float) -> list[Shares]:
    """All shares that are positive multiples of the step."""
    axes = [_simplex(size, round(1 / step)) for size in problem.values.sizes]
    return [(a, b, c) for a, b, c in itertools.product(*axes)]


def _simplex(size: int, steps: int) -> list[Array]:
    inner = itertools.product(range(1, steps), repeat=size - 1)
    return [np.array([*point, steps - sum(point)]) / steps for point in inner if sum(point) < steps]


def _refined(problem: CrossedProblem, profile: _Profile, start: Shares) -> Shares:
    """Sequential quadratic programming over all shares, with central differences."""
    from scipy.optimize import minimize

    ends = np.cumsum(problem.values.sizes)[:-1]

    def split(flat: Array) -> Shares:
        first, second, third = (np.abs(block) / np.abs(block).sum() for block in np.split(flat, ends))
        return first, second, third

    def loss(flat: Array) -> float:
        return profile(split(flat))

    def gradient(flat: Array) -> Array:
        steps = STEP * np.eye(len(flat)) * free[:, None]
        return np.array([(loss(flat + h) - loss(flat - h)) / (2 * STEP) if h.any() else 0.0 for h in steps])

    sizes = problem.values.sizes
    free = np.repeat(np.array(sizes) > 1, sizes)
    found = minimize(
        loss,
        np.concatenate(start),
        jac=gradient,
        bounds=[(SMALLEST, 1.0)] * len(free),
        constraints=problem.share_bounds.conditions(),
        method="SLSQP",
        options={"ftol": 1e-9, "maxiter": 60},
    )
    kept = split(np.where(found.x > NEGLIGIBLE, found.x, 0.0))
    return min(filter(problem.share_bounds.hold, (kept, split(found.x), start)), key=profile)
