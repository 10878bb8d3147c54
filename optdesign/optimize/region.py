"""A continuous design region: points are found where the sensitivity peaks, until none is worth more than its price.

Each round solves the problem on a grid over the region and on the points found so far. From every local maximum of
ψ − price on these, and from every support point, ψ − price is followed uphill over the whole region by comparisons on
ever smaller stencils, all starts at once; the summits are the next round's points, and grid points next to one leave.
Where a unit-level covariate is continuous, a unit type moves as a whole, with its observations: by the envelope
theorem, the derivative of what they are worth is that of the best unit at their place.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from optdesign.costs import Cost
from optdesign.covariance.encoded import encode
from optdesign.covariance.nested import information_of
from optdesign.designs import Region, region_of
from optdesign.errors import NotEstimableError, SpecificationError, listed
from optdesign.layouts import Layout
from optdesign.linalg import summed
from optdesign.measures import SAME_PLACE, CandidateRegion, names_of
from optdesign.optimize import interior
from optdesign.optimize.choices import REPLICATES, one_factor
from optdesign.optimize.interior import GAPS, Iterate
from optdesign.optimize.problem import Evaluation, Problem
from optdesign.units import kinds, stacked

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Solved = tuple[Problem, Iterate]

#: Rounds at most, and the excess of a summit's worth over its price, relative, that ends them.
ROUNDS, TOLERANCE = 20, 4e-7
#: Rounds after which the support need not have come to rest.
PATIENCE = 10
#: Share of an interval to which summits are followed, and how much smaller each stencil is than the one before.
FINE, SHRINK = 1e-7, 0.6
#: Share of the largest mass above which one is in the design, rather than left over by the search.
SUPPORT = 1e-3
#: Share of the grid's spacing within which points count as one.
NEAR = 0.05
#: Share of a first step to the summits that is made, and steps that later ones take into account.
CAUTION, MEMORY = 0.5, 6
#: Unit types, at each combination of listed values, that the grid has at the most.
TYPES = 25
#: Local maxima that are followed uphill, the highest ones.
STARTS = 100


def optimum(problem: Problem, progress: Callable[[int, float], None] | None = None) -> Solved:
    """The optimum by the interior point, over candidate points or over a continuous region, and its problem."""
    if isinstance(problem.space.candidates, CandidateRegion):
        return refined(problem, progress)
    return problem, interior.solve(problem, progress)


def refined(problem: Problem, progress: Callable[[int, float], None] | None = None) -> Solved:
    """The problem over the points that its continuous region needs, and its optimum.

    The bound of the optimum is the best of all rounds, each less the excess that its summits still had. An interrupt
    from the keyboard ends the search.
    """
    if not one_factor(problem.model, problem.space.layout):
        raise SpecificationError(
            "continuous regions are for random effects of one grouping factor, without parts of its units; the model "
            f"has {listed(problem.model.factors)}. Give the points by Candidates.grid."
        )
    region, between = problem.space.candidates, names_of(problem.space.region.types)
    assert isinstance(region, CandidateRegion)  # checked by whoever calls
    problem = problem.over(region.coarser([c for c in between if c in region.intervals], TYPES))
    path, bound = _Path(), -np.inf
    for number in range(ROUNDS):
        found = _Optimum(problem, interior.solve(problem))
        if found.iterate.stopped:
            break
        try:
            points, excess = found.summits()
            if progress is not None:
                progress(number, float(excess.max()))
        except KeyboardInterrupt:
            return problem, replace(found.iterate, stopped=True)
        bound = max(bound, found.bound - np.log1p(max(0.0, float(excess.max()))))
        moving = found.moving(points)
        settled = moving.settled or number >= PATIENCE
        if (excess.max() <= TOLERANCE and settled) or number == ROUNDS - 1:
            break
        path = path.after(moving)
        summits = points.iloc[np.argsort(-excess, kind="stable")]
        problem = problem.over(_with_summits(found.region, stacked([path.next(), *path.anew(), summits]), between))
    return problem, replace(found.iterate, z=found.on_support(), bound=float(bound))


@dataclass(frozen=True, eq=False)
class _Moving:
    """Support points that have a summit each.

    Attributes
    ----------
    region : CandidateRegion
    points : DataFrame
        Where they are; those with one summit between them are one, at their centre of mass.
    places, summits : arrays, shape (points, intervals)
        Where they are, and the summits.
    """

    region: CandidateRegion
    points: pd.DataFrame
    places: Array
    summits: Array

    @property
    def settled(self) -> bool:
        """Whether every point is at its summit."""
        return bool((np.abs(self.places - self.summits) <= SAME_PLACE).all())


@dataclass(frozen=True, eq=False)
class _Path:
    """How the support has moved: Anderson's acceleration of the step from points to summits.

    The step goes in the right direction and too far: moved points change the sensitivity they were moved by.
    """

    history: tuple[_Moving, ...] = ()

    def after(self, moving: _Moving) -> _Path:
        """The path with one more step; begun anew where the support is not where the last step put it."""
        if self.history and moving.places.shape == self.history[-1].places.shape:
            expected = moving.region.places(self.next(), list(moving.region.intervals))
            if (np.abs(moving.places - expected) <= SAME_PLACE).all():
                return _Path((*self.history, moving)[-MEMORY:])
        return _Path((moving,))

    def anew(self) -> list[pd.DataFrame]:
        """Where the support is, if the path begins there: should the next step go too far, the two bracket it."""
        (last, *more) = self.history
        return [] if more else [last.region.moved(last.points, list(last.region.intervals), last.places)]

    def next(self) -> pd.DataFrame:
        """Where the support should be."""
        last = self.history[-1]
        places = np.array([m.places.ravel() for m in self.history])
        steps = np.array([(m.summits - m.places).ravel() for m in self.history])
        mixed = np.linalg.lstsq(np.diff(steps, axis=0).T, steps[-1])[0] @ np.diff(places + CAUTION * steps, axis=0)
        place = np.clip(places[-1] + CAUTION * steps[-1] - mixed, 0.0, 1.0).reshape(last.places.shape)
        return last.region.moved(last.points, list(last.region.intervals), place)


@dataclass(frozen=True, eq=False)
class _Optimum:
    """The optimum on some points of a region, and what other points and other unit types would be worth."""

    problem: Problem
    iterate: Iterate

    @property
    def region(self) -> CandidateRegion:
        candidates = self.problem.space.candidates
        assert isinstance(candidates, CandidateRegion)  # checked by whoever calls
        return candidates

    @property
    def between(self) -> list[str]:
        """Unit-level covariates."""
        return names_of(self.problem.space.region.types)

    @cached_property
    def alone(self) -> tuple[Problem, Iterate] | None:
        """The optimum on the support alone, where that is as good."""
        try:
            alone = self.problem.over(self.region.with_points(self.region.points.iloc[self.support]))
            found = interior.solve(alone)
        except (np.linalg.LinAlgError, SpecificationError, NotEstimableError):
            return None
        return (alone, found) if found.bound <= self.iterate.bound + TOLERANCE else None

    @cached_property
    def tight(self) -> tuple[Problem, Iterate]:
        """The optimum whose masses, multipliers and corners belong together best: on the support, if all types are.

        A support that does not identify all that the region does says nothing of what other points are worth.
        """
        problem = self.problem
        if (
            self.alone is not None
            and self.alone[0].space.region.types.equals(problem.space.region.types)
            and self.alone[0].basis.shape == problem.basis.shape
        ):
            return self.alone
        return problem, self.iterate

    @property
    def bound(self) -> float:
        """Loss below which no design comes, were nothing worth more than its price."""
        return min(self.iterate.bound, self.tight[1].bound)

    @cached_property
    def multipliers(self) -> tuple[Array, Array]:
        _, iterate = self.tight
        assert iterate.multipliers is not None  # the interior point has them
        assert iterate.levels is not None
        return iterate.multipliers, iterate.levels

    @cached_property
    def evaluation(self) -> Evaluation:
        """The loss at the masses."""
        problem, iterate = self.tight
        atoms = np.flatnonzero(iterate.z[problem.n_units :] > 0)
        subsets = [source.restricted(atoms) for source in problem.informations]
        return problem.evaluate(subsets, iterate.z[problem.masses(atoms)], GAPS[-1] / len(atoms))

    @cached_property
    def directions(self) -> list[Array]:
        """U of each scenario, with ∂loss/∂M = −UUᵀ."""
        return self.evaluation.at.directions(self.tight[1].corners or self.evaluation.at.own)

    def on_support(self) -> Array:
        """Masses of the optimum on the support alone, where that is as good; those at hand elsewhere.

        Support that has not come to rest may miss a combination by a hair, which traces elsewhere make estimable.
        """
        problem, z = self.problem, self.iterate.z
        if self.alone is None:
            return z
        types = list(dict.fromkeys(problem.type_of_atom[self.support].tolist()))  # numbered as they appear
        kept = np.concatenate([types, np.arange(problem.n_types, problem.n_units), problem.n_units + self.support])
        z = np.zeros(len(z))
        z[kept] = self.alone[1].z
        return z if np.isfinite(problem.loss(problem.choice.design(z[problem.chosen]))) else self.iterate.z

    def prices_in(self, problem: Problem, replicates: bool = True) -> Array:
        """What the multipliers charge for each mass of a problem with the same constraints.

        Those on the replicates of a type may be left out: they charge nothing for its units and observations together.
        """
        c, (multipliers, levels) = problem.constraints, self.multipliers
        if not replicates:
            multipliers = multipliers * [not label.endswith(REPLICATES) for label in c.labels]
            levels = levels * [not label.endswith(REPLICATES) for label in c.equal_labels]
        return np.asarray(c.matrix.T @ multipliers + c.equal.T @ levels)

    @cached_property
    def excess(self) -> Array:
        """Worth of each atom beyond its price, as a share of the budget's worth."""
        units = self.problem.n_units
        return np.asarray(((self.iterate.gain - self.prices_in(self.problem)) * self.problem.scale)[units:])

    @cached_property
    def support(self) -> Index:
        """Atoms in the design."""
        share = (self.iterate.z / self.problem.scale)[self.problem.n_units :]
        return np.flatnonzero(share > SUPPORT * share.max())

    def excess_at(self, points: pd.DataFrame) -> Array:
        """The same at any points of the unit types at hand."""
        _, first = np.unique(self.problem.type_of_atom, return_index=True)  # these keep the types and their order
        wider = self.problem.at(self.region.with_points(stacked([self.region.points.iloc[first], points])))
        evaluation, gain = self.evaluation, np.zeros(len(first) + len(points))
        for source, point, U in zip(wider.informations, evaluation.points, self.directions, strict=True):
            gain += source.sensitivities(point, U)
        new = wider.n_units + len(first)
        return np.asarray((gain[len(first) :] - self.prices_in(wider)[new:]) * wider.scale[new:])

    def summits(self) -> tuple[pd.DataFrame, Array]:
        """Local maxima over the region of what a point is worth beyond its price, and that excess."""
        starts = self.starts
        points, excess = self.region.points.iloc[starts], self.excess[starts]
        within = [c for c in self.region.intervals if c not in self.between]
        if within:
            points, excess = self._followed(points, within)
        moving = [c for c in self.region.intervals if c in self.between]
        if moving:
            points, excess = self._types_followed(points, excess, self.problem.type_of_atom[starts], moving)
        return points, excess

    @cached_property
    def starts(self) -> Index:
        """The highest atoms without a higher neighbour, and those in the design."""
        first, second = _pairs(self.region, self.region.points, 1.01).T
        beaten = np.zeros(len(self.excess), dtype=bool)
        beaten[first[self.excess[first] < self.excess[second]]] = True
        beaten[second[self.excess[second] < self.excess[first]]] = True
        peaks = np.flatnonzero(~beaten)
        return np.union1d(peaks[np.argsort(-self.excess[peaks])][:STARTS], self.support)

    def _followed(self, points: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, Array]:
        """Points moved uphill within the units."""
        region = self.region

        def excess(places: Array) -> Array:
            repeated = points.iloc[np.repeat(np.arange(len(points)), places.shape[1])]
            moved = region.moved(repeated, columns, places.reshape(-1, len(columns)))
            return self.excess_at(moved).reshape(places.shape[:2])

        places = _uphill(excess, region.places(points, columns), region.spacing(columns))
        found = region.moved(points, columns, places)
        return found, self.excess_at(found)

    def _types_followed(
        self, points: pd.DataFrame, excess: Array, types: Index, columns: list[str]
    ) -> tuple[pd.DataFrame, Array]:
        """Unit types moved uphill with their observations, and the points moved with their types."""
        region, chosen = self.region, np.unique(types)
        at = self.problem.space.region.types.iloc[chosen]
        worth = _TypeWorth.of(self, chosen)

        def beyond(places: Array) -> Array:
            repeated = at.iloc[np.repeat(np.arange(len(at)), places.shape[1])]
            moved = region.moved(repeated, columns, places.reshape(-1, len(columns)))
            return worth.excess(moved, places.shape[1])

        places = _uphill(beyond, region.places(at, columns), region.spacing(columns))
        number = np.searchsorted(chosen, types)
        excess = np.maximum(excess, beyond(places[:, None])[number, 0])
        return region.moved(points, columns, places[number]), excess

    def moving(self, points: pd.DataFrame) -> _Moving:
        """The support on its way to these summits, those of `starts`."""
        region, columns = self.region, list(self.region.intervals)
        own = points.iloc[np.searchsorted(self.starts, self.support)]
        leader, mass = _leaders(region, own), self.iterate.z[self.problem.n_units + self.support]
        first = np.unique(leader)
        share = mass / summed(leader, mass, len(leader))[leader]
        at = region.places(self.region.points.iloc[self.support], columns)
        centre = np.array([summed(leader, share * column, len(leader)) for column in at.T]).T
        return _Moving(region, own.iloc[first], centre[first], region.places(own, columns)[first])


@dataclass(frozen=True, eq=False)
class _TypeWorth:
    """What units would be worth at other unit-level values, their observations as they are in the optimum.

    Attributes
    ----------
    optimum : _Optimum
    points : DataFrame
        Their observations' points.
    number : integer array, shape (rows,)
        Which of the unit types each row belongs to, numbered from zero.
    counts, totals : arrays, shapes (types,), (rows,)
        Masses.
    other : array, shape (types,)
        What constraints beside the budgets charge for these masses; taken as the same everywhere.
    """

    optimum: _Optimum
    points: pd.DataFrame
    number: Index
    counts: Array
    totals: Array
    other: Array

    @classmethod
    def of(cls, optimum: _Optimum, types: Index) -> _TypeWorth:
        """Some unit types of an optimum."""
        problem, z = optimum.problem, optimum.iterate.z
        totals = z[problem.n_units :]
        atoms = np.flatnonzero((totals > 0) & np.isin(problem.type_of_atom, types))
        number = np.searchsorted(types, problem.type_of_atom[atoms])
        points = problem.space.candidates.points.iloc[atoms].drop(columns=optimum.between)
        charged = optimum.prices_in(problem, replicates=False) * z
        whole = charged[types] + summed(number, charged[problem.n_units + atoms], len(types))
        bare = cls(optimum, points, number, z[types], totals[atoms], np.zeros(len(types)))
        at = problem.space.region.types.iloc[types]
        return replace(bare, other=whole - bare._budgets(*bare._region(at, 1), 1)[:, 0])

    def excess(self, at: pd.DataFrame, times: int) -> Array:
        """Worth beyond price, relative, of each type at `times` places: (types * times) rows to (types, times)."""
        region, masses = self._region(at, times)
        problem, total = self.optimum.problem, np.zeros(len(at))
        for nominal, U in zip(problem.nominals, self.optimum.directions, strict=True):
            rows = encode(problem.model, nominal, region, problem.nodes)
            rows = replace(rows, X=rows.X @ problem.basis)
            point = information_of(rows, problem.order).whole.at(masses[: len(at)], masses[len(at) :])
            total += np.tensordot(point.by_type, U @ U.T, 2)
        price = self._budgets(region, masses, times) + self.other[:, None]
        return np.asarray(total.reshape(-1, times) / price - 1.0)

    def _region(self, at: pd.DataFrame, times: int) -> tuple[Region, Array]:
        """Covariate rows of the types at other values, and their masses."""
        space = self.optimum.problem.space
        row = np.repeat(np.arange(len(self.points)), times)
        kind = self.number[row] * times + np.tile(np.arange(times), len(self.points))
        points = self.points.iloc[row].reset_index(drop=True)
        for name in at:
            points[name] = at[name].iloc[kind].array
        types = at.reset_index(drop=True)
        masses = np.concatenate([np.repeat(self.counts, times), self.totals[row]])
        return region_of(points, kind, types, space.observed, space.observed_levels), masses

    def _budgets(self, region: Region, masses: Array, times: int) -> Array:
        """What the budgets' multipliers charge for the masses of each type, shape (types, times)."""
        problem, size = self.optimum.problem, region.n_types
        multipliers, _ = self.optimum.multipliers
        price = np.zeros(len(masses))
        for (_, cost, _), multiplier in zip(problem.budgets, multipliers, strict=False):  # budgets are the first rows
            price += multiplier * _prices(problem.space.layout, region, cost)
        charged = price * masses
        return (charged[:size] + summed(region.type_of_atom, charged[size:], size)).reshape(-1, times)


def _uphill(value: Callable[[Array], Array], places: Array, step: Array) -> Array:
    """Places from 0 to 1, shape (S, d), moved to the best of a stencil around each that shrinks at every comparison.

    `value` takes places of shape (S, K, d) to (S, K).
    """
    stencil = np.array(sorted(itertools.product((0.0, -1.0, 1.0), repeat=places.shape[1]), key=np.linalg.norm))
    while step.max() > FINE:
        step = step * SHRINK
        trial = np.clip(places[:, None] + step * stencil, 0.0, 1.0)
        places = trial[np.arange(len(places)), np.argmax(value(trial), axis=1)]
    return places


def _pairs(region: CandidateRegion, points: pd.DataFrame, reach: float) -> Index:
    """Pairs of rows that agree in everything listed and are within `reach` spacings in every interval, in order."""
    intervals = [c for c in names_of(points) if c in region.intervals]
    listed, _ = kinds([points[c] for c in points if c not in intervals], len(points))
    places = region.places(points, intervals) / region.spacing(intervals)
    tree = cKDTree(np.column_stack([places, listed * (2.0 * reach + 1.0)]))
    pairs = np.sort(tree.query_pairs(reach, p=np.inf, output_type="ndarray").reshape(-1, 2), axis=1)
    return np.asarray(pairs[np.lexsort(pairs.T[::-1])])


def _leaders(region: CandidateRegion, points: pd.DataFrame) -> Index:
    """For each row the first row that it counts as one with, itself where there is none."""
    leader = np.arange(len(points))
    for first, second in _pairs(region, points, NEAR):
        if leader[first] == first and leader[second] == second:
            leader[second] = first
    return leader


def _with_summits(region: CandidateRegion, summits: pd.DataFrame, between: list[str]) -> CandidateRegion:
    """Summits, the grid within units of their types, and the grid; of points that count as one, the first."""
    pieces = [summits, region.lattice]
    if any(c in region.intervals for c in between):
        types = summits[between].iloc[_leaders(region, summits[between])]
        summits = summits.assign(**{c: types[c].array for c in between})
        within = region.lattice.drop(columns=between).drop_duplicates()
        pieces = [summits, types.drop_duplicates().merge(within, how="cross")[list(summits)], region.lattice]
    points = stacked(pieces)
    kept = np.flatnonzero(_leaders(region, points) == np.arange(len(points)))
    return region.with_points(points.iloc[kept].reset_index(drop=True))


def _prices(layout: Layout | None, region: Region, cost: Cost) -> Array:
    """Price of a unit of each type and of an observation at each atom, at most one grouping factor, shape (T + A,)."""
    per_unit = np.zeros(region.n_types)
    for factor in layout.factors if layout else ():
        per_unit += region.type_mean(cost.of_units(factor, region.frame), f"cost: units['{factor}']")
    return np.concatenate([per_unit, region.atom_mean(cost.of_observations(region.frame))])
