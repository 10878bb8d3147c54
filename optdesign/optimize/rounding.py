"""From a continuous optimum to whole numbers.

Units come in schedules: a unit type with a whole number of observations at each of its points. A unit on schedule s
adds its own information I_s, whatever the others do, so an exact design is a whole number m_s of units on each of a
pool of schedules, with information Σ m_s I_s. The pool starts from roundings of the continuous optimum and grows by
the neighbours of the schedules in use; m_s is improved by exchanges until none helps. A plan with one schedule per
unit type is preferred where mixing schedules gains next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import EncodedRows
from optdesign.covariance.nested import information_of
from optdesign.criteria import BoundCriterion
from optdesign.designs import Design, Group, Region
from optdesign.errors import InfeasibleBudgetError
from optdesign.linalg import whitening
from optdesign.measures import Measure
from optdesign.optimize.problem import SMOOTHING, Problem

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: A plan with one schedule per type is preferred while it keeps this share of the efficiency of a mixed one.
SIMPLER = 0.999
#: Rounds in which neighbours of the schedules in use join the pool.
ROUNDS = 3
#: Least gain in the loss for which an exchange is made: less is rounding.
WORTHWHILE = 1e-9
#: Atoms of a unit type, the most used ones, that a schedule's neighbours may move to.
NEARBY = 12
#: Units taken from one schedule and given to another in one exchange.
EXCHANGES = ((0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 3), (3, 2), (3, 4), (4, 3), (5, 4), (4, 5))


@dataclass(frozen=True)
class Schedule:
    """A unit type and how often a unit of it uses each atom, as sorted (atom, times) pairs."""

    unit_type: int
    uses: tuple[tuple[int, int], ...]

    @property
    def observations(self) -> int:
        """Observations per unit."""
        return sum(times for _, times in self.uses)

    def changed(self, *changes: tuple[int, int]) -> Schedule:
        """The schedule with some uses added or taken away."""
        uses = dict(self.uses)
        for atom, change in changes:
            uses[atom] = uses.get(atom, 0) + change
        return Schedule(self.unit_type, tuple(sorted((a, k) for a, k in uses.items() if k)))


@dataclass(frozen=True, eq=False)
class Pool:
    """Schedules with what each unit on them adds to the information and to the constraints.

    Information is kept in a basis in which the plan's is near the identity, so that comparing plans loses no digits.
    """

    problem: Problem
    schedules: tuple[Schedule, ...]
    basis: Array  # (p, p)
    criterion: BoundCriterion  # in that basis
    information: Array  # (schedules, scenarios, p, p), in that basis
    already: Array  # (scenarios, p, p), in that basis
    use: Array  # (rows, S)
    room: Array  # (rows,)
    exact: Array  # (equalities, S)
    level: Array  # (equalities,)

    def excess(self, counts: Array) -> Array:
        """How far plans, shape (…, S), overstep the constraints, in multiples of each constraint's size."""
        over = np.maximum(counts @ self.use.T - self.room, 0.0) / self._size(self.use, self.room)
        off = np.abs(counts @ self.exact.T - self.level) / self._size(self.exact, self.level)
        return np.asarray(over.sum(axis=-1) + off.sum(axis=-1))

    @staticmethod
    def _size(rows: Array, bound: Array) -> Array:
        return np.asarray(np.maximum(np.abs(bound), np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-300)))

    def score(self, counts: Array) -> tuple[float, float]:
        """Overstepping first, then the loss."""
        excess = float(self.excess(counts))
        return (excess if excess > 1e-9 else 0.0, self.criterion.loss(self.total(counts)))

    def total(self, counts: Array) -> Array:
        """Information of a plan in each scenario."""
        return np.asarray(np.tensordot(counts, self.information, 1) + self.already)

    def of(self, keep: Iterable[int]) -> Pool:
        """The pool with some of its schedules."""
        index = list(keep)
        return Pool(
            self.problem,
            tuple(self.schedules[i] for i in index),
            self.basis,
            self.criterion,
            self.information[index],
            self.already,
            self.use[:, index],
            self.room,
            self.exact[:, index],
            self.level,
        )


def round_design(problem: Problem, z: Array) -> Design:
    """The best exact design that rounding and exchange find from continuous masses `z`.

    Raises
    ------
    InfeasibleBudgetError
        Where the budget buys no design in whole numbers that estimates what the criterion needs.
    """
    starts = _schedules(problem, z)
    pool = make_pool(problem, list(starts))
    counts = exchange(pool, np.array(list(starts.values())))
    for _ in range(ROUNDS):
        grown = _grown(pool, counts)
        if grown is None:
            break
        more = exchange(grown, np.append(counts, np.zeros(len(grown.schedules) - len(counts))))
        better = grown.score(more) < (pool.score(counts)[0], pool.score(counts)[1] - 1e-9)
        pool, counts = grown, more
        if not better:
            break
    require_found(problem, pool, counts)
    mixed = _as_design(problem, pool, counts)
    simple = _one_schedule_each(pool, counts) if problem.space.layout else None
    if simple is None or simple[1] > pool.score(counts)[1] - np.log(SIMPLER):
        return mixed
    plain = _as_design(problem, pool, simple[0])
    # With one schedule each, a coefficient may lose what told it apart from the random effects.
    return plain if problem.loss(plain) <= problem.loss(mixed) - np.log(SIMPLER) else mixed


def require_found(problem: Problem, pool: Pool, counts: Array) -> None:
    excess, loss = pool.score(counts)
    if excess == 0.0 and np.isfinite(loss):
        return
    needed = problem.money + max(0.0, float(pool.use[0] @ counts - pool.room[0]))
    raise InfeasibleBudgetError(
        f"the budget leaves {problem.money:,.2f}, which buys no design in whole units and observations that keeps the "
        f"bounds and estimates what the criterion needs; the nearest found costs {needed:,.2f}. Raise the budget, or "
        "lower the bounds on counts and replicates.",
        needed,
    )


def _schedules(problem: Problem, z: Array) -> dict[Schedule, float]:
    """Schedules near the continuous optimum, each with the number of units it starts with."""
    types, units = problem.n_types, problem.n_units
    region = problem.space.region
    found: dict[Schedule, float] = {}
    if problem.space.layout is None:
        return {
            Schedule(0, ((int(a), 1),)): np.floor(z[units + a])
            for a in np.flatnonzero(z[units:] > 1e-9 * z[units:].max())
        }
    for t in np.flatnonzero(z[:types] > 0):
        atoms = np.flatnonzero((region.type_of_atom == t) & (z[units:] > 0))
        for uses, share in systematic(z[units + atoms] / z[t]):
            kept = tuple((int(a), int(k)) for a, k in zip(atoms, uses, strict=True) if k)
            if kept:
                schedule = Schedule(int(t), kept)
                found[schedule] = found.get(schedule, 0.0) + np.floor(z[t] * share)
        mine = [s for s in found if s.unit_type == t]
        if mine and not any(found[s] for s in mine):  # a type in use starts with a unit, or nothing may be estimable
            found[mine[0]] = max(1.0, np.floor(z[t]))
    return found


def systematic(expected: Array) -> list[tuple[Index, float]]:
    """Whole-number schedules whose mixture has the expected number of uses at each point exactly.

    Systematic sampling: with c the cumulative sum, times = ⌊c_i + u⌋ − ⌊c_{i−1} + u⌋ for u uniform on (0, 1). Every
    schedule uses each point the expected number of times rounded down or up, and so does the total.

    Returns
    -------
    list of (times, share of units)

    Examples
    --------
    >>> [(times.tolist(), round(share, 6)) for times, share in systematic(np.array([1.0, 0.25, 1.0]))]
    [([1, 0, 1], 0.75), ([1, 1, 1], 0.25)]
    """
    cumulative = np.concatenate([[0.0], np.cumsum(expected)])
    fraction = np.mod(-cumulative, 1.0)
    cuts = np.unique(np.round(np.concatenate([[0.0, 1.0], fraction]), 9))
    middle, width = 0.5 * (cuts[1:] + cuts[:-1]), np.diff(cuts)
    return [
        (np.diff(np.floor(cumulative + u)).astype(int), float(share)) for u, share in zip(middle, width, strict=True)
    ]


def make_pool(problem: Problem, schedules: list[Schedule], basis: Array | None = None) -> Pool:
    """A pool with the information of one unit on each schedule; its basis is that of its own sum, unless given."""
    information = np.stack([_information_of(problem, rows, schedules) for rows in problem.rows], axis=1)
    columns = np.array([_masses_of(problem, s) for s in schedules])
    constant = np.zeros(len(problem.price))
    if problem.space.layout is None:
        constant[0] = 1.0
    return pool_of(problem, schedules, columns, constant, information, basis)


def pool_of(
    problem: Problem,
    schedules: Sequence[Schedule],
    columns: Array,
    constant: Array,
    information: Array,
    basis: Array | None = None,
) -> Pool:
    """A pool of schedules with the masses, shape (S, n), and the information that one unit on each adds.

    `constant` are masses that are there whatever the plan.
    """
    already = np.zeros(information.shape[1:]) if problem.already is None else problem.already
    if basis is None:
        basis = whitening(information.sum(axis=(0, 1)) + already.sum(axis=0))
    constraints = problem.constraints
    if problem.already is not None:
        constant = constant + np.eye(1, len(constant), problem.choice.n_units)[0]
    return Pool(
        problem,
        tuple(schedules),
        basis,
        problem.working.in_basis(basis),
        basis.T @ information @ basis,
        basis.T @ already @ basis,
        constraints.matrix @ columns.T,
        constraints.upper - constraints.matrix @ constant,
        constraints.equal @ columns.T,
        constraints.level - constraints.equal @ constant,
    )


def _masses_of(problem: Problem, schedule: Schedule) -> Array:
    masses = np.zeros(len(problem.price))
    if problem.space.layout is not None:
        masses[schedule.unit_type] = 1.0
    for atom, times in schedule.uses:
        masses[problem.n_units + atom] = times
    return masses


def _information_of(problem: Problem, rows: EncodedRows, schedules: list[Schedule]) -> Array:
    """Information of one unit on each schedule, shape (schedules, p, p): each is a unit type of its own."""
    region = problem.space.region
    owner = np.repeat(np.arange(len(schedules)), [len(s.uses) for s in schedules])
    atom = np.array([a for s in schedules for a, _ in s.uses])
    times = np.array([k for s in schedules for _, k in s.uses], dtype=float)
    order = np.argsort(region.atom, kind="stable")
    size = np.bincount(region.atom, minlength=region.n_atoms)
    start = np.cumsum(size) - size
    new_atom = np.repeat(np.arange(len(atom)), size[atom])
    offset = np.arange(len(new_atom)) - np.repeat(np.cumsum(size[atom]) - size[atom], size[atom])
    index = order[start[atom][new_atom] + offset]
    values = len(region.prob) // region.n_types
    unit = np.repeat(np.arange(len(schedules)), values)
    prob = np.concatenate([region.prob[s.unit_type * values : (s.unit_type + 1) * values] for s in schedules])
    block = owner[new_atom] * values + region.block[index] % values
    types = region.types.iloc[[s.unit_type for s in schedules]]
    expanded = replace(
        rows,
        X=rows.X[index],
        Z=rows.Z[index],
        weight=rows.weight[:, index],
        region=Region(region.frame, block, new_atom, region.share[index], unit, prob, types),
    )
    return information_of(expanded, problem.order).whole.at(np.ones(len(schedules)), times).by_type


def _group(problem: Problem, schedule: Schedule, count: float) -> Group:
    points, types = problem.space.candidates.points, problem.space.region.types
    within = points.drop(columns=list(types)).iloc[[a for a, _ in schedule.uses]]
    times = np.array([k for _, k in schedule.uses], dtype=float)
    at = problem.space.region.type_values(schedule.unit_type)
    return Group(count, schedule.observations, Measure.from_frame(within, times), at)


def exchange(pool: Pool, counts: Array) -> Array:
    """Improve a plan by moving units between schedules, the best move of all pairs each time, until none helps."""
    size = len(pool.schedules)
    moves = [
        (give, take, i, j)
        for give, take in EXCHANGES
        for i in range(size)
        for j in range(size)
        if i != j or give == 0 or take == 0
    ]
    change = np.zeros((len(moves), size))
    for row, (give, take, i, j) in enumerate(moves):
        change[row, i] -= give
        change[row, j] += take
    change = np.unique(change, axis=0)
    shift = np.tensordot(change, pool.information, 1)
    score = pool.score(counts)
    while True:
        best = _best_move(pool, counts, change, shift, score)
        if best is None:
            return counts
        counts, score = best


def _best_move(
    pool: Pool, counts: Array, change: Array, shift: Array, score: tuple[float, float]
) -> tuple[Array, tuple[float, float]] | None:
    """The plan after the most useful admissible move, with its score; None where no move improves it."""
    trial = counts + change
    excess = np.where(trial.min(axis=1) < 0, np.inf, pool.excess(trial))
    excess = np.where(excess <= 1e-9, 0.0, excess)
    if score[0] > 0:
        row = int(np.argmin(excess))
        return (trial[row], pool.score(trial[row])) if excess[row] < score[0] - 1e-12 else None
    fine = np.flatnonzero(excess == 0)
    losses = pool.criterion.losses(pool.total(counts) + shift[fine])
    best = losses.min(initial=np.inf)
    if best == np.inf or best >= score[1] - WORTHWHILE:
        return None
    row = int(fine[np.argmin(losses)])
    return trial[row], pool.score(trial[row])


def _grown(pool: Pool, counts: Array) -> Pool | None:
    """The pool with the most promising neighbours of the schedules in use; None where there are none."""
    problem = pool.problem
    used = [s for s, m in zip(pool.schedules, counts, strict=True) if m > 0]
    fresh = sorted(
        {n for s in used for n in _neighbours(pool, s)} - set(pool.schedules), key=lambda s: (s.unit_type, s.uses)
    )
    if not fresh:
        return None
    candidates = make_pool(problem, fresh, pool.basis)
    total = pool.total(counts)
    if not np.isfinite(pool.criterion.loss(total)):
        promising = np.arange(len(fresh))[:24]
    else:
        at = pool.criterion.at(list(np.linalg.pinv(total, hermitian=True).astype(float)), SMOOTHING)
        gains = [np.tensordot(candidates.information[:, s], U @ U.T, 2) for s, U in enumerate(at.directions(at.own))]
        worth = np.sum(gains, axis=0) / np.maximum(candidates.use[0], 1e-300)
        promising = np.argsort(-worth, kind="stable")[:12]
    both = [*pool.schedules, *(fresh[i] for i in promising)]
    return make_pool(problem, both, pool.basis)


def _neighbours(pool: Pool, schedule: Schedule) -> Iterable[Schedule]:
    """Schedules one use away: one more, one fewer, or one moved to another atom that is in use in the type."""
    if pool.problem.space.layout is None:
        return
    low, high = pool.problem.space.replicate_bounds
    most = pool.problem.space.at_most or np.inf
    uses = dict(schedule.uses)
    common = Counter(a for s in pool.schedules if s.unit_type == schedule.unit_type for a, _ in s.uses)
    atoms = sorted({*uses, *(a for a, _ in common.most_common(NEARBY))})
    n = schedule.observations
    room = [a for a in atoms if uses.get(a, 0) < most]
    yield from (schedule.changed((a, 1)) for a in room if n + 1 <= high)
    yield from (schedule.changed((a, -1)) for a in uses if n - 1 >= max(low, 1))
    yield from (schedule.changed((a, -1), (b, 1)) for a in uses for b in room if a != b)


def _one_schedule_each(pool: Pool, counts: Array) -> tuple[Array, float] | None:
    """The best plan found with one schedule per unit type, and its loss; None where none is admissible.

    Starts from the commonest schedule of each type in use and changes one type's schedule at a time.
    """
    types = sorted({s.unit_type for s, m in zip(pool.schedules, counts, strict=True) if m > 0})
    choices = [[i for i, s in enumerate(pool.schedules) if s.unit_type == t] for t in types]
    chosen = [max(choice, key=lambda i: counts[i]) for choice in choices]
    totals = [counts[choice].sum() for choice in choices]
    best, plan = _with_schedules(pool, chosen, totals)
    for _ in range(2):
        before = best
        for position, choice in enumerate(choices):
            for i in choice:
                trial = [*chosen[:position], i, *chosen[position + 1 :]]
                score, trial_plan = _with_schedules(pool, trial, totals)
                if score < best:
                    best, plan, chosen = score, trial_plan, trial
        if best == before:
            break
    return (plan, best[1]) if best[0] == 0.0 else None


def _with_schedules(pool: Pool, chosen: list[int], totals: list[float]) -> tuple[tuple[float, float], Array]:
    part = pool.of(chosen)
    counts = exchange(part, np.array(totals, dtype=float))
    plan = np.zeros(len(pool.schedules))
    plan[chosen] = counts
    return part.score(counts), plan


def _as_design(problem: Problem, pool: Pool, counts: Array) -> Design:
    kept = [(s, round(m)) for s, m in zip(pool.schedules, counts, strict=True) if m > 0]
    if problem.space.layout is None:
        uses = tuple(sorted((s.uses[0][0], m) for s, m in kept))
        groups = [_group(problem, Schedule(0, uses), 1)]
    else:
        kept.sort(key=lambda pair: (pair[0].unit_type, pair[0].uses))
        groups = [_group(problem, s, m) for s, m in kept]
    space = problem.space
    return Design(space.layout, groups, observed=space.observed, levels=space.observed_levels)
