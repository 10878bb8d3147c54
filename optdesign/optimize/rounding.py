"""From a continuous optimum to whole numbers.

Units come in schedules: a unit type with a whole number of observations at each of its points. A unit on schedule s
adds its own information I_s, whatever the others do, so an exact design is a whole number m_s of units on each of a
pool of schedules, with information Σ m_s I_s: an integer program. Where the schedules are few, the pool has them all,
and what the program proves holds for every plan in whole numbers. Otherwise it starts from roundings of the continuous
optimum and grows by the neighbours of the schedules in use. A plan with one schedule per unit type is preferred where
mixing schedules gains next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import EncodedRows
from optdesign.covariance.nested import information_of
from optdesign.criteria import BoundCriterion
from optdesign.designs import Design, Group, Region
from optdesign.errors import InfeasibleBudgetError
from optdesign.interrupts import Stoppable
from optdesign.linalg import whitening
from optdesign.measures import Measure
from optdesign.optimize.integers import IntegerPlan, IntegerProgram, approximate, cheapest, exchange, listing, solve
from optdesign.optimize.problem import BUDGET, Problem

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: A plan with one schedule per type is preferred while it keeps this share of the efficiency of a mixed one.
SIMPLER = 0.999
#: Rounds in which neighbours of the schedules in use join the pool.
ROUNDS = 3
#: Least gain in the loss for which the pool grows further.
WORTHWHILE = 1e-9
#: Atoms of a unit type, the most used ones, that a schedule's neighbours may move to.
NEARBY = 12
#: Neighbours that join the pool in each round.
PROMISING = 12
#: Weight in a pool's basis of what its own schedules may not see at all, as they meet no direction but their own.
UNSEEN = 1e-6
#: Schedules up to which every one of them is looked at.
SCHEDULES = 1500
#: Shares of the money that alternative plans may spend.
SHARES = (1.0, 0.98, 0.95, 0.9)
#: How often the budget plans may cost that are looked for where it buys none.
MOST_TIMES = 8.0


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

    @cached_property
    def program(self) -> IntegerProgram:
        """The choice of how many units are on each schedule."""
        return IntegerProgram(
            self.criterion, self.information, self.use, self.room, self.exact, self.level, self.already
        )

    def of(self, keep: Iterable[int]) -> Pool:
        """The pool with some of its schedules."""
        index = list(keep)
        return replace(
            self,
            schedules=tuple(self.schedules[i] for i in index),
            information=self.information[index],
            use=self.use[:, index],
            exact=self.exact[:, index],
        )

    def within(self, money: float) -> Pool:
        """The pool with another budget."""
        return replace(self, room=np.append(self.room[0] - self.problem.money + money, self.room[1:]))


@dataclass(frozen=True, eq=False)
class Rounding:
    """A plan in whole numbers, with what no plan in whole numbers can better.

    Attributes
    ----------
    pool : Pool
        The schedules that were looked at.
    design : Design
    bound : float
        −log Φ below which no plan in whole numbers can come; −inf where not every schedule, or not every point, was
        looked at.
    build : callable
        From counts on the pool's schedules to a design.
    stopped : bool
        Whether an interrupt from the keyboard ended the search.
    """

    pool: Pool
    design: Design
    bound: float
    build: Callable[[Array], Design]
    stopped: bool


def round_design(problem: Problem, z: Array) -> Rounding:
    """The best exact design that is found from continuous masses `z`, over every schedule where they are few.

    Raises
    ------
    InfeasibleBudgetError
        Where the constraints leave no design in whole numbers that estimates what the criterion needs.
    """
    every = every_schedule(problem)
    near = _schedules(problem, z)
    close = make_pool(problem, list(near))
    pool = _around(close) if every is None else make_pool(problem, every, close.basis)
    build = partial(_as_design, problem, pool)
    plan = solved(pool, np.array([near.get(s, 0.0) for s in pool.schedules]))
    designs = [build(plan.counts)]
    with Stoppable(designs) as search:
        if plan.stopped:
            raise KeyboardInterrupt
        designs.append(_preferred(pool, plan.counts, build))
    bound = plan.bound if every is not None and problem.complete else -np.inf
    return Rounding(pool, designs[-1], bound, build, search.stopped)


def solved(pool: Pool, near: Array) -> IntegerPlan:
    """The best counts on a pool's schedules, from those near the continuous optimum, and their bound.

    Raises
    ------
    InfeasibleBudgetError
        Where no whole counts keep the constraints and estimate what the criterion needs.
    """
    plan = solve(pool.program, near)
    if plan is None:
        raise _nothing_found(pool)
    return plan


def alternatives(rounding: Rounding) -> list[tuple[str, Design]]:
    """Plans for somewhat less money than there is, with schedules mixed and with one schedule per type."""
    problem, found = rounding.pool.problem, []
    for share in SHARES:
        part = rounding.pool.within(share * problem.money)
        counts = approximate(part.program)
        if counts is None:
            continue
        found.append(("mixed schedules", rounding.build(counts)))
        simple = _one_schedule_each(part, counts)
        if simple is not None:
            found.append(("one schedule per type", rounding.build(simple)))
    return found


def _preferred(pool: Pool, counts: Array, build: Callable[[Array], Design]) -> Design:
    """The plan with one schedule per type, where it keeps nearly all of the efficiency of a mixed one."""
    mixed, simple = build(counts), _one_schedule_each(pool, counts)
    if simple is None or pool.program.loss(simple) > pool.program.loss(counts) - np.log(SIMPLER):
        return mixed
    plain = build(simple)
    # With one schedule each, a coefficient may lose what told it apart from the random effects.
    return plain if pool.problem.loss(plain) <= pool.problem.loss(mixed) - np.log(SIMPLER) else mixed


def _nothing_found(pool: Pool) -> InfeasibleBudgetError:
    """Why there is no plan: the budget, if a larger one would do, and otherwise the other constraints."""
    free = replace(pool, use=pool.use[1:], room=pool.room[1:])
    money = pool.problem.money
    needed = cheapest(free.program, pool.use[0], MOST_TIMES * money)
    if np.isfinite(needed):
        return InfeasibleBudgetError(
            f"the budget leaves {money:,.2f}, which buys no design in whole units and observations that keeps the "
            f"bounds and estimates what the criterion needs; the cheapest one found costs {needed:,.2f}. Raise the "
            "budget, or lower the bounds on counts and replicates.",
            needed,
        )
    return InfeasibleBudgetError(
        "no design in whole units and observations was found that keeps every bound and estimates what the criterion "
        f"needs. In its way: {'; '.join(_in_the_way(pool))}. Widen one of them."
    )


def _in_the_way(pool: Pool) -> list[str]:
    """The bounds any one of which could be left out for a plan to be found; all of them where there is none such."""
    c, money = pool.problem.constraints, pool.problem.money
    labels, equal = np.array(c.labels), np.array(c.equal_labels)
    names = [name for name in dict.fromkeys([*c.labels, *c.equal_labels]) if name != BUDGET]

    def suffices(name: str) -> bool:
        kept, exact = (labels != name) & (labels != BUDGET), equal != name
        freed = replace(
            pool, use=pool.use[kept], room=pool.room[kept], exact=pool.exact[exact], level=pool.level[exact]
        )
        return bool(np.isfinite(cheapest(freed.program, pool.use[0], MOST_TIMES * money)))

    return list(filter(suffices, names)) or [f"the {money:,.2f} that the budget leaves", *names]


def every_schedule(problem: Problem) -> list[Schedule] | None:
    """Every schedule that the budget could buy a unit of; None where they are too many to look at."""
    region = problem.space.region
    found: list[Schedule] = []
    for t in range(problem.n_types) if problem.space.layout else ():
        atoms = np.flatnonzero(region.type_of_atom == t)
        low, high, most = _use_bounds(problem, t, atoms)
        if _number(high, most, len(atoms)) + len(found) > SCHEDULES:
            return None
        rows = np.array([np.ones(len(atoms)), -np.ones(len(atoms))])
        listed = listing(rows, np.array([high, -low]), np.full(len(atoms), most), np.arange(len(atoms)))
        uses = np.zeros((0, len(atoms))) if listed is None else listed
        found += [Schedule(t, tuple((int(a), int(k)) for a, k in zip(atoms, row, strict=True) if k)) for row in uses]
    if problem.space.layout is None and region.n_atoms <= SCHEDULES:
        return [Schedule(0, ((a, 1),)) for a in range(region.n_atoms)]
    return found or None


def _use_bounds(problem: Problem, unit_type: int, atoms: Index) -> tuple[float, float, float]:
    """Fewest and most observations of a unit, and most at one point, as bounds and the budget have it."""
    low, high = problem.space.replicate_bounds
    left, least = problem.money - problem.price[unit_type], problem.price[problem.n_units + atoms].min()
    bought = np.floor(left / least + 1e-9) if least > 0 else np.inf
    high = min(np.floor(high + 1e-9), bought)
    return max(1.0, np.ceil(low - 1e-9)), high, min(problem.space.at_most or np.inf, high)


def _number(high: float, most: float, atoms: int) -> float:
    """Number of schedules of a type with at most `high` observations, at most `most` at each point."""
    if high < 1:
        return 0.0
    if high > SCHEDULES:
        return np.inf
    ways = np.zeros(int(high) + 1)
    ways[0] = 1.0
    for _ in range(atoms):
        ways = np.convolve(ways, np.ones(int(most) + 1))[: int(high) + 1]
        if ways.sum() > SCHEDULES:
            return np.inf
    return float(ways.sum())


def _around(pool: Pool) -> Pool:
    """A pool of schedules that round the continuous optimum, with their most promising neighbours."""
    best = np.inf
    for _ in range(ROUNDS):
        counts = approximate(pool.program)
        grown = _grown(pool, counts)
        if grown is None or (counts is not None and pool.program.loss(counts) >= best - WORTHWHILE):
            break
        best = np.inf if counts is None else pool.program.loss(counts)
        pool = grown
    return pool


def _schedules(problem: Problem, z: Array) -> dict[Schedule, float]:
    """Schedules near the continuous optimum, and the number of units on each that share out its masses."""
    types, units = problem.n_types, problem.n_units
    region = problem.space.region
    if problem.space.layout is None:
        used = np.flatnonzero(z[units:] > 1e-9 * z[units:].max())
        return {Schedule(0, ((int(a), 1),)): float(z[units + a]) for a in used}
    found: dict[Schedule, float] = {}
    for t in np.flatnonzero(z[:types] > 0):
        atoms = np.flatnonzero((region.type_of_atom == t) & (z[units:] > 0))
        for uses, share in systematic(z[units + atoms] / z[t]):
            kept = tuple((int(a), int(k)) for a, k in zip(atoms, uses, strict=True) if k)
            if kept:
                schedule = Schedule(int(t), kept)
                found[schedule] = found.get(schedule, 0.0) + float(z[t] * share)
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
        own, rest = information.sum(axis=(0, 1)) + already.sum(axis=0), problem.even.sum(axis=0)
        basis = whitening(own + UNSEEN * rest)
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


def _grown(pool: Pool, counts: Array | None) -> Pool | None:
    """The pool with the most promising neighbours of the schedules in use; None where there are none."""
    used = [s for i, s in enumerate(pool.schedules) if counts is None or counts[i] > 0]
    fresh = sorted(
        {n for s in used for n in _neighbours(pool, s)} - set(pool.schedules), key=lambda s: (s.unit_type, s.uses)
    )
    if not fresh:
        return None
    both = make_pool(pool.problem, [*pool.schedules, *fresh], pool.basis)
    if counts is None:
        return both
    old = len(pool.schedules)
    gains = both.program.gains(np.append(counts, np.zeros(len(fresh))))[old:]
    promising = np.argsort(-gains / np.maximum(both.use[0, old:], 1e-300), kind="stable")[:PROMISING]
    return both.of([*range(old), *(old + promising)])


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


def _one_schedule_each(pool: Pool, counts: Array) -> Array | None:
    """The best plan found with one schedule per unit type, of those in use; None where none is admissible.

    Starts from the commonest schedule of each type and changes one type's schedule at a time.
    """
    if pool.problem.space.layout is None:
        return None
    used = np.flatnonzero(counts)
    types = [pool.schedules[i].unit_type for i in used]
    choices = [sorted(used[np.equal(types, t)], key=lambda i: -counts[i]) for t in sorted(set(types))]
    chosen = [choice[0] for choice in choices]
    best = _with_schedules(pool, chosen, [])
    for position, choice in enumerate(choices):
        for i in choice[1:]:
            changed = [*chosen[:position], i, *chosen[position + 1 :]]
            # The same numbers on the changed schedules, or one unit fewer on a dearer one, are a good start.
            starts = [] if best is None else [best[chosen], best[chosen] - np.eye(1, len(chosen), position)[0]]
            trial = _with_schedules(pool, changed, starts)
            if trial is not None and (best is None or pool.program.loss(trial) < pool.program.loss(best)):
                best, chosen = trial, changed
    return best


def _with_schedules(pool: Pool, chosen: list[int], starts: list[Array]) -> Array | None:
    """Counts on the chosen schedules alone, by exchange from the first start that will do, if any does."""
    part = pool.of(chosen).program
    near = next((m for m in starts if part.keeps(m[None])[0] and np.isfinite(part.loss(m))), None)
    found = approximate(part) if near is None else exchange(part, near)
    if found is None:
        return None
    plan = np.zeros(len(pool.schedules))
    plan[chosen] = found
    return plan


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
