"""Whole numbers of units on fixed schedules, and of units that hold units.

A unit of the outermost factor adds its own information, whatever the others do; on a fixed schedule there is no more to
choose. A unit that holds units is described by relative numbers, of the parts of each kind in one unit of the
kind that holds them: whole at every level. Relative numbers start from roundings of the continuous optimum;
those one more or one less join where they promise most. Either way an integer program chooses the counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, product

import numpy as np
import numpy.typing as npt

from optdesign.covariance.profiles import Units, unit_information
from optdesign.designs import Design
from optdesign.optimize.choices import NestedChoice, ProfileChoice, one_factor
from optdesign.optimize.integers import approximate
from optdesign.optimize.problem import Problem
from optdesign.optimize.rounding import SCHEDULES, Pool, Rounding, Schedule, pool_of, round_design, solved, systematic

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Combinations of the roundings of parts, of one unit.
MOST_COMBINATIONS = 16
#: Rounds in which numbers one more or one less join, and how many of them.
ROUNDS, ENTERING = 4, 12


def round_units(problem: Problem, z: Array) -> Rounding:
    """The best exact design found from continuous masses, whatever the space.

    Raises
    ------
    InfeasibleBudgetError
        Where the budget buys no design in whole numbers that estimates what the criterion needs.
    """
    choice = problem.choice
    if isinstance(choice, ProfileChoice):
        return round_profiles(problem, choice, z)
    if isinstance(choice, NestedChoice) and not one_factor(problem.model, problem.space.layout):
        return round_nested(problem, choice, z)
    return round_design(problem, z)


def round_profiles(problem: Problem, choice: ProfileChoice, z: Array) -> Rounding:
    """Whole numbers of units on fixed schedules."""
    plain = z[problem.n_units :]
    kept = np.argsort(-plain, kind="stable")[:SCHEDULES]
    sources = [
        source.whole.at(np.ones(problem.n_units), plain).atom_gradients()[kept] for source in problem.informations
    ]
    columns = np.zeros((len(kept), len(z)))
    columns[np.arange(len(kept)), problem.n_units + kept] = 1.0
    schedules = [Schedule(int(number), ()) for number in kept]
    pool = pool_of(problem, schedules, columns, np.zeros(len(z)), np.stack(sources, axis=1))
    plan = solved(pool, plain[kept])

    def build(counts: Array) -> Design:
        whole = np.zeros(len(plain))
        whole[kept] = counts
        return choice.design(whole)

    bound = plan.bound if len(kept) == len(plain) else -np.inf
    return Rounding(pool, build(plan.counts), bound, build, plan.stopped)


def round_nested(problem: Problem, choice: NestedChoice, z: Array) -> Rounding:
    """Whole numbers at every level of units that hold units."""
    own = np.concatenate([np.arange(choice.n_units), np.arange(problem.n_units, len(z))])
    starts = list(_starts(choice, z[own]))
    starts = [start for start in starts if _keeps_bounds(choice, start[0])] or starts
    numbers, near = np.array([number for number, _ in starts]), np.array([count for _, count in starts])
    pool, best = _pool(problem, choice, own, numbers), np.inf
    for _ in range(ROUNDS):
        counts = approximate(pool.program, near)
        fresh = _promising(problem, choice, own, pool, numbers, counts)
        if not len(fresh) or (counts is not None and pool.program.loss(counts) >= best - 1e-9):
            break
        best = np.inf if counts is None else pool.program.loss(counts)
        numbers, near = np.concatenate([numbers, fresh]), np.append(near, np.zeros(len(fresh)))
        pool = _pool(problem, choice, own, numbers, pool.basis)
    plan = solved(pool, near)

    def build(counts: Array) -> Design:
        used = np.flatnonzero(counts)
        return _joined(choice, list(numbers[used]), [float(round(m)) for m in counts[used]])

    return Rounding(pool, build(plan.counts), -np.inf, build, plan.stopped)


def masses_of_unit(choice: NestedChoice, numbers: Array) -> Array:
    """Masses of one outermost unit from its relative numbers, shape (n,)."""
    masses = numbers.copy()
    for parts, units in choice.chain:
        masses[parts] = numbers[parts] * masses[units]
    return masses


def _starts(choice: NestedChoice, z: Array) -> Iterator[tuple[Array, float]]:
    """Relative numbers near the optimum, each with the units on each that share out its masses."""
    outer = np.unique(choice.masses.unit[choice.factors[0]])
    for unit in outer[z[outer] > 0]:
        for numbers, share in islice(_roundings(choice, z, 0, int(unit)), MOST_COMBINATIONS):
            yield numbers + np.eye(1, len(z), unit)[0], float(z[unit] * share)


def _roundings(choice: NestedChoice, z: Array, level: int, unit: int) -> Iterator[tuple[Array, float]]:
    """Whole relative numbers of what lies within one unit, with the share of units that has them."""
    if level == len(choice.chain):
        yield np.zeros(len(z)), 1.0
        return
    parts, units = choice.chain[level]
    mine = parts[(units == unit) & (z[parts] > 0)]
    for times, share in systematic(z[mine] / z[unit]):
        if times.any():
            inner = (list(_roundings(choice, z, level + 1, int(part))) for part in mine[times > 0])
            for each in islice(product(*inner), MOST_COMBINATIONS):
                numbers = np.sum([one for one, _ in each], axis=0)
                numbers[mine] = times
                yield numbers, share * float(np.prod([s for _, s in each]))


def _pool(problem: Problem, choice: NestedChoice, own: Index, numbers: Array, basis: Array | None = None) -> Pool:
    """A pool of units with these relative numbers."""
    columns = np.zeros((len(numbers), len(problem.price)))
    columns[:, own] = [masses_of_unit(choice, each) for each in numbers]
    design = _joined(choice, list(numbers), [1.0] * len(numbers))
    units = Units.of_design(problem.model, design)
    found = []
    for nominal in problem.nominals:
        each = unit_information(problem.model, nominal, units, problem.order, problem.parameters, problem.nodes)
        found.append(each.reshape(len(numbers), -1, *each.shape[1:]).sum(axis=1))
    schedules = [Schedule(i, ()) for i in range(len(numbers))]
    return pool_of(problem, schedules, columns, np.zeros(len(problem.price)), np.stack(found, axis=1), basis)


def _joined(choice: NestedChoice, numbers: list[Array], counts: list[float]) -> Design:
    """A design with a group of each number of units."""
    each = [choice.design(masses_of_unit(choice, number)) for number in numbers]
    groups = [replace(design.groups[0], count=count) for design, count in zip(each, counts, strict=True)]
    return Design(choice.space.layout, groups, observed=choice.space.observed, levels=each[0].levels)


def _promising(
    problem: Problem, choice: NestedChoice, own: Index, pool: Pool, numbers: Array, counts: Array | None
) -> Array:
    """Relative numbers one more or one less than those in use, the ones that add most for their price."""
    known = {tuple(each) for each in numbers}
    used = numbers if counts is None else numbers[counts > 0]
    fresh = [n for each in used for n in _neighbours(choice, each) if tuple(n) not in known]
    fresh = [np.array(n) for n in dict.fromkeys(map(tuple, fresh))]
    if not fresh or counts is None:
        return np.array(fresh[:ENTERING])
    both = _pool(problem, choice, own, np.concatenate([numbers, fresh]), pool.basis)
    gains = both.program.gains(np.append(counts, np.zeros(len(fresh))))
    worth = (gains / np.maximum(both.use[0], 1e-300))[len(numbers) :]
    return np.array(fresh)[np.argsort(-worth, kind="stable")[:ENTERING]]


def _neighbours(choice: NestedChoice, numbers: Array) -> Iterator[Array]:
    """One part more, or one fewer, in every unit that holds it."""
    for parts, units in choice.chain:
        for part in parts[numbers[parts] > 0]:
            held = numbers[parts[units == units[parts == part][0]]].sum()
            for change in (1.0, -1.0):
                fresh = numbers + change * np.eye(1, len(numbers), part)[0]
                if held + change > 0 and _keeps_bounds(choice, fresh):
                    yield fresh


def _keeps_bounds(choice: NestedChoice, numbers: Array) -> bool:
    """Whether every unit, not only their mean, keeps the bounds on what it holds."""
    space = choice.space
    bounds = [*(space.count_bounds(factor) for factor in choice.factors[1:]), space.replicate_bounds]
    for (parts, units), (low, high) in zip(choice.chain, bounds, strict=True):
        held = np.bincount(units, weights=numbers[parts])
        held = held[held > 0]
        if (held < low).any() or (held > high).any():
            return False
    return space.at_most is None or bool((numbers[choice.n_units :] <= space.at_most).all())
