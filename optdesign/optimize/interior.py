"""The default algorithm: a primal–dual interior point on a working set of atoms that the sensitivities extend.

On the working set, Newton steps on the barrier problem converge quadratically; the Hessian of the loss is analytic.
The multipliers then price every other atom; those worth more than their price enter, and the round repeats, from where
the last one stopped and ever more exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
from scipy.optimize import linprog

from optdesign.covariance.information import Subset
from optdesign.criteria import Multipliers
from optdesign.errors import SpecificationError
from optdesign.optimize.problem import Evaluation, Problem

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Barrier gaps, in efficiency: rounds are this exact while the working set grows, and in the end.
GAPS = (1e-2, 1e-4, 5e-8)
#: Residual of a sensitivity against its price, as a multiple of the gap, that counts as none.
CENTRED = 3.0
#: Atoms of a first working set beside those that span the regressors.
FIRST = 12
#: Atoms that enter in one round, at most; all of them are worth this share of what the best one is.
ENTERING, WORTH_ENTERING = 24, 0.05
#: An atom leaves when its mass is below this multiple of how far its sensitivity falls short of its price.
LOSING = 0.1
#: An atom outside the working set enters when it is worth more than its price by this much, relative.
TOLERANCE = 2e-8
#: Share of a point well inside the constraints in the start of a later round, and the largest gap it starts from.
INWARDS, NEAR = 0.02, 0.1
#: Rounds, and Newton steps in each, at most.
ROUNDS, STEPS = 60, 120


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where an algorithm stopped.

    Attributes
    ----------
    z : array, shape (n,)
        Masses.
    gain : array, shape (n,)
        Sensitivities of all masses, at masses near z that are positive wherever derivatives need it.
    bound : float
        b such that no admissible design has a loss below b − log max zψ.
    iterations : int
    multipliers, levels : array or None
        Of the inequalities and of the equalities, where the algorithm has them.
    corners : Multipliers or None
        Of the criterion's corners, where the algorithm has them.
    stopped : bool
        Whether an interrupt from the keyboard ended it.
    limited : bool
        Whether it ended at a limit of its own, before it was done.
    """

    z: Array
    gain: Array
    bound: float
    iterations: int
    multipliers: Array | None = None
    levels: Array | None = None
    corners: Multipliers | None = None
    stopped: bool = False
    limited: bool = False

    def finished(self) -> Iterate:
        """Itself; the interrupt that stopped it goes on, to the search that it is a step of."""
        if self.stopped:
            raise KeyboardInterrupt
        return self


@dataclass(frozen=True, eq=False)
class _Found:
    """The optimum on a working set, to some barrier gap, and the Newton steps it took."""

    atoms: Index
    barrier: _Barrier
    state: _State
    steps: int

    @property
    def z(self) -> Array:
        """Masses of the working set, unit counts first."""
        return self.state.y * self.barrier.scale

    @property
    def multipliers(self) -> Array:
        """Of all inequalities."""
        every = np.zeros(len(self.barrier.problem.constraints.upper))
        every[self.barrier.binding] = self.state.lam / self.barrier.unit
        return every

    @property
    def loss(self) -> float:
        """The loss, its corners as they are."""
        return self.barrier.problem.working.loss_at(self.state.evaluation.covariances)

    def continued(self, gap: float) -> _Found:
        """The same working set to a smaller gap."""
        state, steps = self.barrier.minimise(self.state, gap)
        return replace(self, state=state, steps=self.steps + steps)

    def stopped(self) -> _Found:
        """The same, interrupted."""
        return replace(self, state=replace(self.state, stopped=True))


class NoRoomError(SpecificationError):
    """Some bound holds with equality in every admissible design."""


def solve(problem: Problem, progress: Callable[[int, float], None] | None = None) -> Iterate:
    """Minimise the loss; `progress` is told each round's number and the worst relative excess over price.

    An interrupt from the keyboard ends the search with the best masses so far.
    """
    found, gain = _search(problem, progress or (lambda *_: None))
    state = found.state
    last = found if state.stopped else _sparser(problem, found)
    z = np.zeros(len(gain))
    z[problem.masses(last.atoms)] = last.z
    bound = state.evaluation.at.bound(state.corners)
    return Iterate(z, gain, bound, last.steps, found.multipliers, state.nu, state.corners, state.stopped)


def _search(problem: Problem, progress: Callable[[int, float], None]) -> tuple[_Found, Array]:
    """Rounds of a growing working set, each exactness until no atom outside is worth its price by more than it."""
    found, level, least = _solve_on(problem, _first_atoms(problem), GAPS[0]), 0, np.inf
    gain = _all_gains(problem, found)
    for number in range(ROUNDS):
        worth = _worth_outside(problem, found, gain)
        excess = float(worth.max(initial=0.0))
        try:
            progress(number, excess)
            if found.state.stopped or (excess <= TOLERANCE and level == len(GAPS) - 1):
                break
            # Without progress, atoms that left would only come back: keep them, and be more exact.
            stalled, least = excess > 0.5 * least, min(least, excess)
            level = min(level + (stalled or excess <= GAPS[level]), len(GAPS) - 1)
            if excess <= TOLERANCE:
                found = found.continued(GAPS[level])
            else:
                atoms = np.union1d(found.atoms if stalled else _still_useful(problem, found), _peaks(worth))
                found = _solve_on(problem, atoms, GAPS[level], found, min(NEAR, 10.0 * max(excess, found.state.gap)))
        except KeyboardInterrupt:
            found = found.stopped()
        gain = _all_gains(problem, found)
        if found.state.stopped:
            break
    return found, gain


def _worth_outside(problem: Problem, found: _Found, gain: Array) -> Array:
    """What each atom outside the working set is worth beyond its price, as a share of the budget's worth."""
    c, units = problem.constraints, problem.n_units
    prices = c.matrix.T @ found.multipliers + c.equal.T @ found.state.nu
    worth = np.asarray((gain - prices) * problem.scale)[units:]
    worth[found.atoms] = -np.inf
    return worth


def _sparser(problem: Problem, found: _Found) -> _Found:
    """The same optimum on fewer atoms, where there is one.

    A flat peak spreads mass over neighbours that one point can carry; a criterion that is indifferent to the points
    spreads it over all of them.
    """
    share, most = _shares(problem, found.atoms, found.z)
    p = problem.basis.shape[1]
    choices = [found.atoms[share >= threshold * most] for threshold in (0.1, 0.01)]
    if len(choices[0]) > problem.n_types * p * (p + 1) // 2:  # more than any optimum needs
        choices.insert(0, np.intersect1d(_spanning_atoms(problem), found.atoms))
    for kept in filter(len, choices):
        if len(kept) == len(found.atoms):
            return found
        try:
            fewer = _solve_on(problem, kept, GAPS[-1], found, GAPS[0])
        except (np.linalg.LinAlgError, SpecificationError):
            continue
        if fewer.loss <= found.loss + 1e-7:
            return fewer
    return found


def _all_gains(problem: Problem, found: _Found) -> Array:
    evaluation, corners = found.state.evaluation, found.state.corners
    directions, total = evaluation.at.directions(corners), np.zeros(problem.informations[0].n_atoms)
    for source, point, U in zip(problem.informations, evaluation.points, directions, strict=True):
        total += source.sensitivities(point, U)
    return np.concatenate([found.state.gain[: problem.n_units], total])


def _first_atoms(problem: Problem) -> Index:
    """Atoms that span each type's regressors, and a regular sample of the rest."""
    atoms = problem.informations[0].n_atoms
    if atoms <= 2 * FIRST:
        return np.arange(atoms)
    return np.union1d(np.linspace(0, atoms - 1, FIRST).astype(np.intp), _spanning_atoms(problem))


def _spanning_atoms(problem: Problem) -> Index:
    """Atoms that span each type's regressors, by pivoted QR factorisation: far apart, as few as the rank."""
    regressors, atom = problem.informations[0].regressors
    type_of_row = problem.type_of_atom[atom]
    chosen = []
    for t in range(problem.n_types):
        mine = np.flatnonzero(type_of_row == t)
        size = np.linalg.norm(regressors[mine], axis=0)
        upper, pivot = scipy.linalg.qr((regressors[mine] / np.where(size > 0, size, 1.0)).T, mode="r", pivoting=True)
        chosen.append(atom[mine[pivot[: upper.shape[0]]]])
    return np.unique(np.concatenate(chosen))


def _peaks(worth: Array) -> Index:
    """Atoms worth more than their price: the best of each stretch of candidates, and the best of all."""
    stretches = np.array_split(np.arange(len(worth)), min(ENTERING, len(worth)))
    best = np.array([stretch[np.argmax(worth[stretch])] for stretch in stretches])
    top = np.argpartition(-worth, min(ENTERING // 4, len(worth) - 1))[: ENTERING // 4]
    chosen = np.union1d(best, top)
    least = max(0.0, WORTH_ENTERING * float(worth.max(initial=0.0)))
    return np.asarray(chosen[(worth[chosen] > 0) & (worth[chosen] >= least)])


def _still_useful(problem: Problem, found: _Found) -> Index:
    """The working set without atoms that lose more than they hold, but never so small that a type loses all its own."""
    share, most = _shares(problem, found.atoms, found.z)
    state, units = found.state, problem.n_units
    return found.atoms[(state.y[units:] > LOSING * state.sig[units:]) | (share >= 0.1 * most)]


def _shares(problem: Problem, atoms: Index, z: Array) -> tuple[Array, Array]:
    """Share of the budget on each atom, and the largest share on any atom of the same type."""
    share = z[problem.n_units :] / problem.scale[problem.n_units + atoms]
    types = problem.type_of_atom[atoms]
    best = np.zeros(problem.n_types)
    np.maximum.at(best, types, share)
    return share, best[types]


def _solve_on(problem: Problem, atoms: Index, gap: float, last: _Found | None = None, start: float = 1.0) -> _Found:
    """The optimum on a working set to a barrier gap, from inside the constraints or from the last one and its gap."""
    subsets = [source.restricted(atoms) for source in problem.informations]
    barrier = _Barrier.of(problem, subsets, problem.masses(atoms))
    state, steps = barrier.minimise(barrier.start(last, start), gap)
    return _Found(atoms, barrier, state, steps + (0 if last is None else last.steps))


@dataclass(frozen=True, eq=False)
class _State:
    """Masses in units of their scale, what the constraints leave, the loss, and multipliers of all there is."""

    y: Array
    slack: Array
    lam: Array
    sig: Array
    nu: Array
    evaluation: Evaluation
    corners: Multipliers
    stopped: bool = False

    @cached_property
    def gain(self) -> Array:
        """Sensitivities by the corners' multipliers."""
        return self.evaluation.gain_by(self.corners)

    @property
    def gap(self) -> float:
        """Barrier gap."""
        return float(self.y @ self.sig + self.slack @ self.lam)


@dataclass(frozen=True, eq=False)
class _Barrier:
    """Primal–dual Newton iteration for min loss(y) subject to A y ≤ b, E y = e, y ≥ 0, from the inside."""

    problem: Problem
    subsets: Sequence[Subset]
    index: Index
    scale: Array
    binding: Index
    unit: Array
    A: Array
    b: Array
    E: Array
    e: Array

    @classmethod
    def of(cls, problem: Problem, subsets: Sequence[Subset], index: Index) -> _Barrier:
        """The problem on some masses, every row in multiples of its largest entry."""
        matrix, upper, equal, level, binding = problem.constraints.restricted(index)
        scale = problem.scale[index]
        unit = np.abs(matrix * scale).max(axis=1, initial=0.0)
        A = matrix * scale / unit[:, None]
        return cls(problem, subsets, index, scale, binding, unit, A, upper / unit, equal * scale, level)

    def evaluate(self, y: Array, smoothing: float) -> Evaluation:
        return self.problem.evaluate(self.subsets, y * self.scale, smoothing)

    def centre(self) -> Array:
        """A point well inside the constraints; `SpecificationError` where there is none."""
        n, slack = len(self.index), np.maximum(np.abs(self.b), 1.0)
        answer = linprog(
            np.append(np.zeros(n), -1.0),
            A_ub=np.block([[self.A, slack[:, None]], [-np.eye(n), np.ones((n, 1))]]),
            b_ub=np.append(self.b, np.zeros(n)),
            A_eq=np.hstack([self.E, np.zeros((len(self.e), 1))]) if len(self.e) else None,
            b_eq=self.e if len(self.e) else None,
            bounds=[(0, None)] * n + [(None, 1.0)],
            method="highs",
        )
        if answer.status != 0 or answer.x[-1] <= 1e-13 or answer.x[:-1].min(initial=1.0) <= 0:
            raise NoRoomError("the constraints leave no room: some bound holds with equality everywhere. Widen it.")
        return np.asarray(answer.x[:-1])

    def start(self, last: _Found | None, gap: float) -> _State:
        """The last optimum moved a little inwards, or a point well inside, on the central path's scale at a gap."""
        y, nu = self.centre(), np.zeros(len(self.e))
        if last is not None:
            before = np.zeros(len(self.problem.scale))
            before[self.problem.masses(last.atoms)] = last.z
            near = (1.0 - INWARDS) * before[self.index] / self.scale + INWARDS * y
            if (self.A @ near < self.b).all():
                y, nu = near, last.state.nu
        mu, slack = gap / (len(y) + len(self.b)), self.b - self.A @ y
        evaluation = self.evaluate(y, mu)
        return _State(y, slack, mu / slack, mu / y, nu, evaluation, evaluation.at.own)

    def minimise(self, state: _State, target: float) -> tuple[_State, int]:
        """Newton steps until the barrier gap, and what the multipliers prove, are below the target."""
        size, off_centre = len(state.y) + len(self.b), 0
        for step in range(STEPS):
            if state.gap < target and (self.proven(state) < CENTRED * target or state.gap < 1e-2 * target):
                return state, step
            # Where the information is nearly singular the sensitivities of tiny masses move fast: centre first.
            off_centre = off_centre + 1 if self.residual(state) > max(30.0 * state.gap, CENTRED * target) else 0
            mu = (0.1 if not off_centre else 0.5 if off_centre % 4 == 0 else 1.0) * state.gap / size
            try:
                after = self.step(state, mu)
            except KeyboardInterrupt:
                return replace(state, stopped=True), step
            if after is None:
                return state, step
            state = after
        return state, STEPS

    def proven(self, state: _State) -> float:
        """Share by which any masses here may be better, with the budget's multiplier raised to cover every gain."""
        prices, gain = self.A.T @ state.lam + self.E.T @ state.nu, state.gain * self.scale
        short = np.maximum(gain - prices, 0.0)
        raised = float(np.divide(short, self.A[0], out=np.where(short > 0, np.inf, 0.0), where=self.A[0] > 0).max())
        return float(self.b @ state.lam + self.e @ state.nu + raised * self.b[0] - 1.0)

    def residual(self, state: _State) -> float:
        """Largest difference of a sensitivity from its price."""
        prices = self.A.T @ state.lam + self.E.T @ state.nu - state.sig
        return float(np.abs(prices - state.gain * self.scale).max())

    def step(self, state: _State, mu: float) -> _State | None:
        """One Newton step towards the central path at μ; None where rounding leaves none."""
        state = replace(state, evaluation=state.evaluation.smoothed(mu))
        dy, nu = self._direction(state, mu)
        ds = -self.A @ dy
        dlam = mu / state.slack - state.lam - state.lam / state.slack * ds
        dsig = mu / state.y - state.sig - state.sig / state.y * dy
        found = self._line_search(state, dy, ds, mu)
        if found is None:
            return None
        length, evaluation = found
        dual = min(_longest(state.lam, dlam), _longest(state.sig, dsig))
        corners = evaluation.at.own
        if evaluation.at.criterion.cornered:
            change = state.evaluation.multiplier_step(state.corners, length * dy * self.scale)
            dual = min(dual, state.corners.longest(change))
            corners = state.corners.moved(change, dual, evaluation.at.blocks)
        return _State(
            state.y + length * dy,
            state.slack + length * ds,
            state.lam + dual * dlam,
            state.sig + dual * dsig,
            state.nu + dual * (nu - state.nu),
            evaluation,
            corners,
        )

    def _direction(self, state: _State, mu: float) -> tuple[Array, Array]:
        """Newton step in y, and the new multipliers of the equalities."""
        y, evaluation = state.y, state.evaluation
        # Scaled by y, the system stays well conditioned while masses tend to zero.
        size, A = self.scale * y, self.A * y
        system = evaluation.hessian(state.corners) * np.outer(size, size) + (A.T * (state.lam / state.slack)) @ A
        system[np.diag_indices(len(y))] += state.sig * y
        right = evaluation.gain * size - A.T @ (mu / state.slack) + mu
        factor = _factor(system)
        if not len(self.e):
            return scipy.linalg.cho_solve(factor, right) * y, state.nu
        E = self.E * y
        answered = scipy.linalg.cho_solve(factor, np.column_stack([E.T, right]))
        nu = np.linalg.lstsq(E @ answered[:, :-1], E @ answered[:, -1] - (self.e - self.E @ y))[0]
        return (answered[:, -1] - answered[:, :-1] @ nu) * y, nu

    def _line_search(self, state: _State, dy: Array, ds: Array, mu: float) -> tuple[float, Evaluation] | None:
        """Longest halved step that lowers the barrier function; None where rounding leaves none."""
        length = min(1.0, _longest(state.y, dy), _longest(state.slack, ds))
        barrier = state.evaluation.loss - mu * (np.log(state.y).sum() + np.log(state.slack).sum())
        for _ in range(40):
            y, slack = state.y + length * dy, state.slack + length * ds
            try:
                trial = self.evaluate(y, mu)
                value = trial.loss - mu * (np.log(y).sum() + np.log(slack).sum())
            except np.linalg.LinAlgError:
                value = np.inf
            if value <= barrier + 1e-12 * max(1.0, abs(barrier)):
                return length, trial
            length *= 0.5
        return None


def _factor(system: Array) -> Any:
    """Cholesky factor; where rounding leaves the system short of definite, a little is added to the step's metric.

    That changes the path of the iteration, never the information or the loss.
    """
    size = float(np.diag(system).max())
    for extra in 10.0 ** np.arange(-16.0, 0.0):
        try:
            return scipy.linalg.cho_factor(system + extra * size * np.eye(len(system)))
        except np.linalg.LinAlgError:
            continue
    raise np.linalg.LinAlgError("the Newton system is not positive definite")


def _longest(value: Array, change: Array) -> float:
    """Longest step that keeps `value` positive, a hair short of the boundary, at most one."""
    falling = change < 0
    return min(1.0, float((-0.995 * value[falling] / change[falling]).min(initial=1.0)))
