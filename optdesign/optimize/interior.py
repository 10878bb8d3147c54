"""The default algorithm: a primal–dual interior point on a working set of atoms that the sensitivities extend.

On the working set, Newton steps on the barrier problem converge quadratically; the Hessian of the loss is analytic.
The multipliers then price every other atom; those worth more than their price enter, and the round repeats.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg

from optdesign.covariance.nested import AtomSubset
from optdesign.errors import SpecificationError
from optdesign.optimize.problem import Evaluation, Problem

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Barrier gap, in efficiency, at which the iteration stops.
GAP = 5e-8
#: Residual of a sensitivity against its price, relative to the price of the budget, that counts as none.
CENTRED = 3e-7
#: Problems with at most this many atoms are solved whole.
WHOLE = 64
#: An atom outside the working set enters when it is worth more than its price by this much, relative.
TOLERANCE = 2e-8


@dataclass(frozen=True, eq=False)
class Iterate:
    """Where an algorithm stopped.

    Attributes
    ----------
    z : array, shape (T + A,)
        Masses.
    gain : array, shape (T + A,)
        Sensitivities of all masses, at masses near z that are positive wherever derivatives need it.
    loss : float
        The loss at those masses.
    iterations : int
    """

    z: Array
    gain: Array
    loss: float
    iterations: int


def solve(problem: Problem, progress: Callable[[int, float], None] | None = None) -> Iterate:
    """Minimise the loss; `progress` is told each round's number and the worst relative excess over price."""
    atoms = _first_atoms(problem)
    iterations = 0
    for round_number in range(60):
        found = _solve_on(problem, atoms)
        iterations += found.steps
        gain = _all_gains(problem, found.evaluation)
        excess = gain[problem.n_types :] - found.prices[problem.n_types :]
        worth = excess * problem.scale[problem.n_types :]
        worth[atoms] = -np.inf
        if progress is not None:
            progress(round_number, float(worth.max(initial=0.0)))
        if worth.max(initial=0.0) <= TOLERANCE:
            break
        atoms = np.union1d(_still_useful(problem, atoms, found.z), _peaks(worth))
    sparse = _sparser(problem, found)
    z = np.zeros(len(gain))
    z[problem.masses(sparse.atoms)] = sparse.z
    return Iterate(z, gain, found.evaluation.loss, iterations + (sparse.steps if sparse is not found else 0))


@dataclass(frozen=True, eq=False)
class _Found:
    """The optimum on a working set: its atoms, masses, prices of all masses, and Newton steps."""

    atoms: Index
    z: Array
    evaluation: Evaluation
    prices: Array
    steps: int


def _sparser(problem: Problem, found: _Found) -> _Found:
    """The same optimum on fewer atoms, where there is one.

    A flat peak spreads mass over neighbours that one point can carry; a criterion that is indifferent to the points
    spreads it over all of them.
    """
    share, most = _shares(problem, found.atoms, found.z)
    p = problem.rows.X.shape[1]
    choices = [found.atoms[share >= threshold * most] for threshold in (0.1, 0.01)]
    if len(choices[0]) > problem.n_types * p * (p + 1) // 2:  # more than any optimum needs
        choices.insert(0, np.intersect1d(_spanning_atoms(problem), found.atoms))
    for kept in choices:
        if len(kept) == len(found.atoms):
            return found
        try:
            fewer = _solve_on(problem, kept)
        except (np.linalg.LinAlgError, SpecificationError):
            continue
        if fewer.evaluation.loss <= found.evaluation.loss + 1e-7:
            return fewer
    return found


def _all_gains(problem: Problem, evaluation: Evaluation) -> Array:
    atoms = problem.information.sensitivities(evaluation.point.theta, evaluation.direction)
    return np.concatenate([evaluation.gain[: problem.n_types], atoms])


def _first_atoms(problem: Problem) -> Index:
    """All atoms, or rows that span each type's regressors and a regular sample of the rest."""
    atoms = problem.space.region.n_atoms
    if atoms <= WHOLE:
        return np.arange(atoms)
    return np.union1d(np.arange(0, atoms, max(1, atoms // (WHOLE // 2))), _spanning_atoms(problem))


def _spanning_atoms(problem: Problem) -> Index:
    """Atoms that span each type's regressors, by pivoted QR factorisation: far apart, as few as the rank."""
    region, rows = problem.space.region, problem.rows
    first_row = np.zeros(region.n_atoms, dtype=np.intp)
    first_row[region.atom[::-1]] = np.arange(len(region.atom))[::-1]
    regressors = np.hstack([rows.X, rows.Z])[first_row]
    chosen = []
    for t in range(region.n_types):
        mine = np.flatnonzero(region.type_of_atom == t)
        size = np.linalg.norm(regressors[mine], axis=0)
        upper, pivot = scipy.linalg.qr((regressors[mine] / np.where(size > 0, size, 1.0)).T, mode="r", pivoting=True)
        chosen.append(mine[pivot[: upper.shape[0]]])
    return np.unique(np.concatenate(chosen))


def _peaks(worth: Array) -> Index:
    """Atoms worth more than their price: the best of each stretch of candidates, and the best of all."""
    stretches = np.array_split(np.arange(len(worth)), min(64, len(worth)))
    best = np.array([stretch[np.argmax(worth[stretch])] for stretch in stretches])
    top = np.argpartition(-worth, min(16, len(worth) - 1))[:16]
    chosen = np.union1d(best, top)
    return np.asarray(chosen[worth[chosen] > 0])


def _still_useful(problem: Problem, atoms: Index, z: Array) -> Index:
    """The working set without atoms of no mass, but never so small that a type loses all of its own."""
    share, most = _shares(problem, atoms, z)
    return atoms[(share > 1e-7) | (share >= 0.1 * most)]


def _shares(problem: Problem, atoms: Index, z: Array) -> tuple[Array, Array]:
    """Share of the budget on each atom, and the largest share on any atom of the same type."""
    share = z[problem.n_types :] / problem.scale[problem.n_types + atoms]
    types = problem.space.region.type_of_atom[atoms]
    best = np.zeros(problem.n_types)
    np.maximum.at(best, types, share)
    return share, best[types]


def _solve_on(problem: Problem, atoms: Index) -> _Found:
    index = problem.masses(atoms)
    start = problem.interior(index)
    if start is None:
        raise SpecificationError("the constraints leave no room: some bound holds with equality everywhere. Widen it.")
    subset = problem.information.restricted(atoms)
    barrier = _Barrier(problem, subset, index)
    y, lam, nu, evaluation, steps = barrier.minimise(start / problem.scale[index])
    c = problem.constraints
    multipliers = np.zeros(len(c.upper))
    multipliers[barrier.binding] = lam
    prices = c.matrix.T @ multipliers + c.equal.T @ nu
    return _Found(atoms, y * problem.scale[index], evaluation, prices, steps)


class _Barrier:
    """Primal–dual Newton iteration for min loss(y) subject to A y ≤ b, E y = e, y ≥ 0, from the inside."""

    def __init__(self, problem: Problem, subset: AtomSubset, index: Index) -> None:
        self.problem, self.subset, self.scale = problem, subset, problem.scale[index]
        matrix, upper, equal, level, self.binding = problem.constraints.restricted(index)
        self.unit = np.abs(matrix * self.scale).max(axis=1, initial=0.0)
        self.A = matrix * self.scale / self.unit[:, None]
        self.b = upper / self.unit
        self.E, self.e = equal * self.scale, level

    def evaluate(self, y: Array) -> Evaluation:
        return self.problem.evaluate(self.subset, y * self.scale)

    def minimise(self, y: Array) -> tuple[Array, Array, Array, Evaluation, int]:
        n, q = len(y), len(self.b)
        slack = self.b - self.A @ y
        evaluation = self.evaluate(y)
        mu = 1.0 / (n + q)
        lam, sig, nu = mu / slack, mu / y, np.zeros(len(self.e))
        off_centre = 0
        for step in range(120):
            gap = float(y @ sig + slack @ lam)
            gradient = -evaluation.gain * self.scale
            residual = gradient + self.A.T @ lam + self.E.T @ nu - sig
            error = float(np.abs(residual).max())
            if gap < GAP and (error < CENTRED or gap < 1e-2 * GAP):
                return y, lam / self.unit, nu, evaluation, step
            # Where the information is nearly singular the sensitivities of tiny masses move fast: centre first.
            off_centre = off_centre + 1 if error > max(30.0 * gap, CENTRED) else 0
            mu = (0.1 if not off_centre else 0.5 if off_centre % 4 == 0 else 1.0) * gap / (n + q)
            dy, nu_new = self._direction(evaluation, gradient, y, slack, lam, sig, nu, mu)
            ds = -self.A @ dy
            dlam = mu / slack - lam - lam / slack * ds
            dsig = mu / y - sig - sig / y * dy
            primal = self._line_search(evaluation, y, slack, dy, ds, mu)
            if primal is None:
                return y, lam / self.unit, nu, evaluation, step
            length, evaluation = primal
            dual = min(_longest(lam, dlam), _longest(sig, dsig))
            y, slack = y + length * dy, slack + length * ds
            lam, sig, nu = lam + dual * dlam, sig + dual * dsig, nu + dual * (nu_new - nu)
        return y, lam / self.unit, nu, evaluation, step

    def _direction(
        self,
        evaluation: Evaluation,
        gradient: Array,
        y: Array,
        slack: Array,
        lam: Array,
        sig: Array,
        nu: Array,
        mu: float,
    ) -> tuple[Array, Array]:
        """Newton step in y, and the new multipliers of the equalities."""
        hessian = evaluation.hessian * np.outer(self.scale, self.scale)
        # Scaled by y, the system stays well conditioned while masses tend to zero.
        system = hessian * np.outer(y, y) + np.diag(sig * y) + (self.A * y).T @ (self.A * y * (lam / slack)[:, None])
        right = -(gradient * y + (self.A * y).T @ (mu / slack) - mu)
        factor = _factor(system)
        if not len(self.e):
            return scipy.linalg.cho_solve(factor, right) * y, nu
        E = self.E * y
        answered = scipy.linalg.cho_solve(factor, E.T)
        free = scipy.linalg.cho_solve(factor, right)
        nu_new = np.linalg.solve(E @ answered, E @ free - (self.e - self.E @ y))
        return (free - answered @ nu_new) * y, nu_new

    def _line_search(
        self, now: Evaluation, y: Array, slack: Array, dy: Array, ds: Array, mu: float
    ) -> tuple[float, Evaluation] | None:
        """Longest halved step that lowers the barrier function; None where rounding leaves none."""
        length = min(1.0, _longest(y, dy), _longest(slack, ds))
        barrier = now.loss - mu * (np.log(y).sum() + np.log(slack).sum())
        for _ in range(40):
            trial_y, trial_slack = y + length * dy, slack + length * ds
            try:
                trial = self.evaluate(trial_y)
                value = trial.loss - mu * (np.log(trial_y).sum() + np.log(trial_slack).sum())
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
