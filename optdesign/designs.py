"""One choice (`Design`), and what may be chosen (`DesignSpace`)."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.costs import Cost, evaluate, holds
from optdesign.errors import SpecificationError, check_kind, is_number, listed, nearest, values_at
from optdesign.layouts import Crossed, Layout, Nested
from optdesign.linalg import summed
from optdesign.measures import CandidateRegion, Candidates, Measure, beside, grid_frame, names_of
from optdesign.units import (
    Crossing,
    LabelledPoints,
    Labels,
    NestedGroup,
    crossed_points,
    crossing_of,
    kinds,
    nested_points,
    stacked,
    with_cells,
    without_units,
)

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Bounds = tuple[float, float]

#: Columns of a design's table beside its covariates.
RESERVED = ("group", "count", "replicates", "share", "observations")
#: Fraction whose multiples are spread most evenly.
GOLDEN = 0.5 * (5.0**0.5 - 1.0)


@dataclass(frozen=True, eq=False)
class Region:
    """Covariate rows of a design or design space, and the masses each row takes its share of.

    The masses are the counts m of the T unit types and the total observations μ at the A atoms. A block is a unit
    type at one value of its observed unit-level covariates; it holds ``prob`` of the units of its type and, of
    every atom, ``prob * share`` observations at each of its rows.

    Attributes
    ----------
    frame : DataFrame
        All covariates, one row per point of each block.
    block, atom : integer arrays, shape (rows,)
        The block a row belongs to, and the atom whose observations it shares.
    share : array, shape (rows,)
        Share of the atom's observations, within the block, that fall on the row.
    unit : integer array, shape (K,)
        Unit type of each block.
    prob : array, shape (K,)
        Share of the type's units that are in the block.
    types : DataFrame
        Unit-level chosen covariates of each type, T rows.
    """

    frame: pd.DataFrame
    block: Index
    atom: Index
    share: Array
    unit: Index
    prob: Array
    types: pd.DataFrame

    @property
    def n_types(self) -> int:
        """Number of unit types, T."""
        return len(self.types)

    @cached_property
    def n_atoms(self) -> int:
        """Number of atoms, A."""
        return int(self.atom.max()) + 1

    @cached_property
    def type_of_atom(self) -> Index:
        """Unit type of each atom, shape (A,)."""
        types = np.zeros(self.n_atoms, dtype=np.intp)
        types[self.atom] = self.unit[self.block]
        return types

    def type_values(self, unit_type: int) -> dict[str, Any]:
        """Unit-level chosen covariates of one type."""
        return {str(name): value for name, value in self.types.iloc[unit_type].items()}

    @cached_property
    def row_weight(self) -> Array:
        """Share of its atom's observations that fall on each row, over all blocks, shape (rows,)."""
        return self.prob[self.block] * self.share

    def atom_mean(self, values: Array) -> Array:
        """Mean of a row-wise quantity over the rows of each atom, shape (A,)."""
        return summed(self.atom, values * self.row_weight, self.n_atoms)

    def type_mean(self, values: Array, what: str) -> Array:
        """Mean over units of a quantity that is constant within a unit, shape (T,).

        Raises
        ------
        SpecificationError
            Where the quantity varies within a unit.
        """
        low, high = np.full(len(self.prob), np.inf), np.full(len(self.prob), -np.inf)
        np.minimum.at(low, self.block, values)
        np.maximum.at(high, self.block, values)
        if (high - low > 1e-9 * np.maximum(1.0, np.abs(high))).any():
            raise SpecificationError(varies_within(what))
        return summed(self.unit, self.prob * low, self.n_types)

    def thinned(self, most: int) -> Region:
        """About `most` atoms of each type, evenly spread; enough to look at, not to optimise over.

        Multiples of the golden ratio choose them: every k-th atom of a grid may have the same value on an axis.
        """
        rank = np.empty(self.n_atoms, dtype=np.intp)
        order = np.argsort(self.type_of_atom, kind="stable")
        size = np.bincount(self.type_of_atom, minlength=self.n_types)
        rank[order] = np.arange(self.n_atoms) - np.repeat(np.cumsum(size) - size, size)
        kept = rank * GOLDEN % 1.0 < (most / size)[self.type_of_atom]
        rows = np.flatnonzero(kept[self.atom])
        atom = (np.cumsum(kept) - 1)[self.atom[rows]]
        frame = self.frame.iloc[rows].reset_index(drop=True)
        return Region(frame, self.block[rows], atom, self.share[rows], self.unit, self.prob, self.types)


@dataclass(frozen=True, eq=False)
class Group:
    """Units that share their size, their unit-level covariates and their within-unit measure.

    Parameters
    ----------
    count : float
        Number of units; need not be whole in an approximate design.
    replicates : float
        Observations per unit.
    measure : Measure, optional
        Law of the covariates that vary within a unit; none by default.
    at : mapping
        Values of the unit-level covariates.
    counts : mapping from factor to number
        In a nested layout of several factors, units of each inner factor per unit of the factor before it;
        replicates are then per innermost unit, on average.
    laws : mapping from inner factor to Measure
        Law of the factor's chosen covariates, and of those above it within the group, over its units; that over
        observations, which `measure` gives, by default. The two differ where units of some kinds hold more
        observations than others.
    """

    count: float
    replicates: float
    measure: Measure = field(default_factory=Measure.grid)
    at: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)
    laws: Mapping[str, Measure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        inner = {f"counts['{factor}']": number for factor, number in self.counts.items()}
        for name, value in {"count": self.count, "replicates": self.replicates, **inner}.items():
            if not (is_number(value) and value > 0):
                raise SpecificationError(f"{name} of a group must be a positive finite number; got {value!r}.")
        check_kind("measure of a group", self.measure, Measure, instead="a Measure, such as Measure.grid(x=[0, 1])")
        check_kind("at", self.at, Mapping, instead="a table of covariate to value, such as {'arm': 1}")
        shared = set(self.at) & set(self.measure.points)
        if shared:
            raise SpecificationError(f"{listed(shared)} are given both within and between units of one group.")
        object.__setattr__(self, "at", MappingProxyType(dict(self.at)))
        for factor, law in self.laws.items():
            if factor not in self.counts or not set(law.points) <= set(self.measure.points):
                raise SpecificationError(
                    f"laws['{factor}'] must be a law of covariates of the measure, {listed(self.measure.points)}, over "
                    f"units of one of {listed(self.counts)}."
                )
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        object.__setattr__(self, "laws", MappingProxyType(dict(self.laws)))

    def unit_shares(self, factor: str) -> Array:
        """Share of the units of an inner factor that each point of the measure stands for, shape (points,)."""
        law, weights = self.laws.get(factor), self.measure.weights
        if law is None:
            return weights
        names = names_of(law.points)
        kind, number = kinds([self.measure.points[c] for c in names], len(weights))
        first = self.measure.points.iloc[np.unique(kind, return_index=True)[1]]
        shares = first[names].merge(law.points.assign(share=law.weights), how="left", on=names)["share"].to_numpy()
        if len(law.weights) != number or np.isnan(shares).any():
            raise SpecificationError(
                f"laws['{factor}'] must give a share to each of the {number} combinations of {listed(names)} in the "
                f"measure, and to no other; it has {len(law.weights)}."
            )
        return np.asarray(shares[kind] * weights / summed(kind, weights, number)[kind])

    @property
    def law(self) -> Measure:
        """Law of all covariates, those of the unit included."""
        return Measure(self.measure.points.assign(**self.at), self.measure.weights) if self.at else self.measure

    @property
    def observations(self) -> float:
        """Number of observations in all."""
        return float(self.count * np.prod(list(self.counts.values())) * self.replicates)


@dataclass(frozen=True, eq=False, init=False)
class Design:
    """One choice of how many units of each kind, how many observations in each, and where.

    Parameters
    ----------
    layout : Nested, Crossed or None
        None for a model without random terms.
    groups : sequence of Group
        The kinds of unit; or, instead, the shorthand that follows.
    counts : mapping from factor to number of units
        In a nested layout units of each inner factor per unit of the factor before it, in a crossed one totals.
    replicates : float
        Observations per unit: per innermost unit of a nested layout, per observed cell of a crossed one, in all
        where there is no layout.
    measure : Measure
        Law of all covariates: weights of unit-level ones are shares of units, all others shares of a unit's
        observations.
    levels : mapping from covariate to factor
        The unit-level covariates; in a crossed layout ``"row:column"`` is the level of a cell.
    observed : Measure, optional
        Law of covariates that are drawn, not set: the same in every group. Those named in `levels` are constant
        within a unit.
    crossing : str, mapping or DataFrame
        Which cells of a crossed layout are observed. ``"complete"``: all. ``"biregular"``: `cells` of them, as many
        in every row and as many in every column. ``"random"``: `cells` of them at random. A mapping from factor to
        inclusion rates (one per unit, or their values in equal shares): each cell with the product of its row's and
        its column's rate. A frame with a row per observed cell and the two factors as columns: exactly those.
    cells : float, optional
        Number of observed cells, for ``"biregular"`` and ``"random"``.

    Examples
    --------
    >>> from optdesign.layouts import Crossed, Nested
    >>> design = Design(Nested("patient"), counts={"patient": 60}, replicates=8,
    ...                 measure=Measure.grid(treat=[0, 1], visit=range(4)), levels={"treat": "patient"})
    >>> [(g.count, g.at["treat"]) for g in design.groups] == [(30.0, 0), (30.0, 1)]
    True
    >>> Design(Crossed("reader", "image"), counts={"reader": 5, "image": 40}, replicates=1).observations
    200.0
    """

    layout: Layout | None
    groups: tuple[Group, ...]
    observed: Measure | None
    levels: Mapping[str, str]
    counts: Mapping[str, float]
    crossing: Crossing | None

    def __init__(
        self,
        layout: Layout | None,
        groups: Sequence[Group] | None = None,
        *,
        counts: Mapping[str, float] | None = None,
        replicates: float | None = None,
        measure: Measure | None = None,
        levels: Mapping[str, str] | None = None,
        observed: Measure | None = None,
        crossing: str | Mapping[str, npt.ArrayLike] | pd.DataFrame = "complete",
        cells: float | None = None,
    ) -> None:
        _check_tables(layout, counts, levels, {"measure": measure, "observed": observed}, none=(type(None),))
        _check_groups(groups, counts)
        levels = dict(levels or {})
        if groups is None:
            groups = _shorthand_groups(layout, counts or {}, replicates, measure or Measure.grid(), levels, observed)
        elif any(given is not None for given in (counts, replicates, measure)):
            raise SpecificationError("a design takes groups, or counts, replicates and measure; not both.")
        elif isinstance(layout, Crossed):
            raise SpecificationError(
                "a crossed design takes counts, replicates and measure; groups have no place in it."
            )
        if not groups:
            raise SpecificationError("a design needs at least one group.")
        realised = None
        if isinstance(layout, Crossed):
            realised = crossing_of(layout, counts or {}, crossing, cells)
            groups = [replace(groups[0], count=realised.cells)]
        elif not (isinstance(crossing, str) and crossing == "complete" and cells is None):
            raise SpecificationError(f"crossing= and cells= belong to a crossed layout; the layout is {layout!r}.")
        object.__setattr__(self, "layout", layout)
        object.__setattr__(self, "groups", tuple(groups))
        object.__setattr__(self, "observed", observed)
        object.__setattr__(self, "crossing", realised)
        object.__setattr__(self, "counts", MappingProxyType(self._totals(counts or {})))
        self._check_columns()
        left = {c: f for c, f in levels.items() if c not in self.groups[0].at}
        check_levels(left, layout, self._columns)
        object.__setattr__(self, "levels", MappingProxyType(left))

    @classmethod
    def from_frame(cls, df: pd.DataFrame, layout: Layout | None, covariates: Iterable[str]) -> Design:
        """The design of a data set with at most one grouping factor, a row per observation; equal units are merged."""
        chosen = sorted(covariates)
        missing = [name for name in [*chosen, *(layout.factors if layout else ())] if name not in df]
        if missing:
            raise SpecificationError(f"the data have no column {listed(missing)}: they have {listed(names_of(df))}.")
        if layout is None:
            return cls(None, [Group(1.0, len(df), Measure.from_frame(df[chosen]))])
        units = [frame[chosen].sort_values(chosen) for _, frame in df.groupby(layout.factors[0], observed=True)]
        alike: dict[tuple[Any, ...], list[pd.DataFrame]] = {}
        for unit in units:
            alike.setdefault(tuple(unit.itertuples(index=False, name=None)), []).append(unit)
        groups = [Group(len(same), len(same[0]), Measure.from_frame(same[0])) for same in alike.values()]
        return cls(layout, groups)

    def _totals(self, counts: Mapping[str, float]) -> dict[str, float]:
        """Units of every factor in all."""
        if isinstance(self.layout, Crossed):
            return {factor: float(counts[factor]) for factor in self.layout.factors}
        if self.layout is None:
            return {}
        return {f: sum(_units_of(g, self.layout)[f] for g in self.groups) for f in self.layout.factors}

    @property
    def _columns(self) -> list[str]:
        """Covariates that vary within a group's units."""
        return names_of(self.groups[0].measure.points) + (names_of(self.observed.points) if self.observed else [])

    @property
    def observed_levels(self) -> dict[str, str]:
        """The observed covariates that are constant within a unit."""
        return {c: f for c, f in self.levels.items() if self.observed is not None and c in self.observed.points}

    def _check_columns(self) -> None:
        columns = [frozenset(names_of(g.measure.points)) | frozenset(g.at) for g in self.groups]
        shared = columns[0] & frozenset(names_of(self.observed.points) if self.observed else ())
        if shared:
            raise SpecificationError(f"{listed(sorted(shared))} cannot be both chosen and observed.")
        if len(set(columns)) > 1:
            odd = sorted(frozenset.union(*columns) - frozenset.intersection(*columns))
            raise SpecificationError(f"every group must give every covariate; {listed(odd)} are missing from some.")

    @property
    def units(self) -> float:
        """Number of units of the outermost factor."""
        return float(self.counts[self.layout.factors[0]] if self.layout else self.groups[0].count)

    @property
    def observations(self) -> float:
        """Number of observations in all."""
        return float(sum(g.observations for g in self.groups))

    @property
    def cells(self) -> float:
        """Number of pairs of units that meet: observed cells, or innermost units within others; none of one factor."""
        if self.crossing is not None:
            return self.crossing.cells
        return self.counts[self.layout.factors[-1]] if self.layout and len(self.layout.factors) > 1 else 0.0

    @property
    def cell_size(self) -> float:
        """Observations per observed cell of a crossed layout."""
        return self.groups[0].replicates

    @cached_property
    def points(self) -> LabelledPoints:
        """The design's distinct covariate points, with the kinds of unit of every factor."""
        return self._points_with(self.observed or Measure.grid())

    @cached_property
    def points_set(self) -> LabelledPoints:
        """The same by the covariates that are set alone, those observed left out."""
        return self._points_with(Measure.grid())

    def _points_with(self, law: Measure) -> LabelledPoints:
        drawn = frozenset(c for c in names_of(law.points) if c not in self.levels)
        if self.layout is None:
            return without_units(self.groups[0].law * law, self.observations, drawn)
        if isinstance(self.layout, Crossed):
            assert self.crossing is not None  # __init__ sets it for every crossed layout
            joint, replicates = self.groups[0].law * law, self.groups[0].replicates
            return crossed_points(self.layout, joint, self.counts, replicates, self.crossing, self.levels, drawn)
        outer = dict.fromkeys(self.groups[0].at, self.layout.factors[0])
        inner = self.layout.factors[1:]
        groups = [
            NestedGroup(
                g.law * law,
                _units_of(g, self.layout),
                g.observations,
                {factor: np.outer(g.unit_shares(factor), law.weights).ravel() for factor in inner},
            )
            for g in self.groups
        ]
        return nested_points(self.layout.factors, groups, {**self.levels, **outer}, drawn)

    @cached_property
    def region(self) -> Region:
        """The design's covariate rows: each group is a type, each of its points an atom."""
        groups = tuple((g.measure, tuple(g.at.items())) for g in self.groups)
        return _region_of(groups, self.observed, tuple(self.observed_levels.items()))

    @cached_property
    def masses(self) -> tuple[Array, Array]:
        """Units of each type, shape (T,), and total observations at each atom, shape (A,)."""
        counts = np.array([float(g.count) for g in self.groups])
        totals = np.concatenate([g.count * g.replicates * g.measure.weights for g in self.groups])
        return counts, totals

    def spend(self, cost: Cost) -> float:
        """Price of the design."""
        points = with_cells(self.points, cost.units)
        units = 0.0
        for factor in points.labels:
            prices = cost.of_units(factor, points.frame)
            units += _total(points.labels[factor], prices, f"cost: units['{factor}']")
        observations = points.observations @ cost.of_observations(points.frame)
        # A millionth of the currency: rounding of the sum must not look like overspending.
        return round(float(cost.fixed + units + cost.cell * self.cells + observations), 6)

    def scaled(self, counts: float | Mapping[str, float] = 1.0, replicates: float = 1.0) -> Design:
        """The same design with counts and numbers of replicates multiplied.

        Parameters
        ----------
        counts : float or mapping from factor to number
            Multiple of the number of outermost units (of rows and of columns, in a crossed layout), or one for each
            factor named. An incomplete crossing keeps its share of observed cells.
        replicates : float
            Multiple of every number of replicates.
        """
        outer = self.layout.factors[: 2 if isinstance(self.layout, Crossed) else 1] if self.layout else ()
        by = dict(counts) if isinstance(counts, Mapping) else dict.fromkeys(outer, counts)
        if isinstance(self.layout, Crossed):
            return self._crossed(self.layout, by, replicates)
        first = by.get(outer[0], 1.0) if outer else (1.0 if isinstance(counts, Mapping) else counts)
        groups = [
            replace(
                g,
                count=g.count * first,
                replicates=g.replicates * replicates,
                counts={factor: number * by.get(factor, 1.0) for factor, number in g.counts.items()},
            )
            for g in self.groups
        ]
        return Design(self.layout, groups, observed=self.observed, levels=self.levels)

    def _crossed(self, layout: Crossed, by: Mapping[str, float], replicates: float) -> Design:
        crossing, (group,) = self.crossing, self.groups
        assert crossing is not None  # __init__ sets it for every crossed layout
        if crossing.kind == "pairs":
            raise SpecificationError(
                "a crossing whose cells are listed has no other size: give crossing='complete', 'biregular' or "
                "'random', or inclusion rates, to vary the number of units."
            )
        even = crossing.kind in ("biregular", "random")
        cells = crossing.cells * float(np.prod([by.get(factor, 1.0) for factor in layout.factors]))
        return Design(
            layout,
            counts={factor: number * by.get(factor, 1.0) for factor, number in self.counts.items()},
            replicates=group.replicates * replicates,
            measure=group.measure,
            levels=self.levels,
            observed=self.observed,
            crossing=crossing.rates if crossing.kind == "product" else crossing.kind,
            cells=cells if even else None,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per group and point: group, unit-level values, count, replicates, covariates, share, total."""
        import pandas as pd

        pieces = [
            beside(g.measure.points.assign(**g.at), RESERVED).assign(
                group=i + 1,
                count=g.count,
                replicates=g.replicates,
                **{f"{factor} per unit": number for factor, number in g.counts.items()},
                share=g.measure.weights,
                observations=g.count * g.replicates * g.measure.weights,
            )
            for i, g in enumerate(self.groups)
        ]
        frame = pd.concat(pieces, ignore_index=True)
        last = ["share", "observations"]
        unit_level = [f"{c} (covariate)" if c in RESERVED else c for c in self.groups[0].at]
        inner = [f"{factor} per unit" for factor in self.groups[0].counts]
        first = ["group", *unit_level, "count", *inner, "replicates"]
        return frame[first + [c for c in frame if c not in first + last] + last]

    def __repr__(self) -> str:
        what = f"{self.layout!r}, " if self.layout else ""
        several = len(self.counts) > 1
        units = ", ".join(f"{n:g} of '{f}'" for f, n in self.counts.items()) if several else f"{self.units:g} units"
        return (
            f"Design({what}{units}, {self.observations:g} observations)\n"
            f"{self.to_frame().to_string(index=False, max_rows=16)}"
        )

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False, max_rows=16))


@lru_cache(maxsize=64)
def _region_of(
    groups: tuple[tuple[Measure, tuple[tuple[str, Any], ...]], ...],
    observed: Measure | None,
    levels: tuple[tuple[str, str], ...],
) -> Region:
    """Covariate rows of groups: designs that differ in counts and replicates only share them."""
    import pandas as pd

    points = stacked([measure.points.assign(**dict(at)) for measure, at in groups])
    types = pd.DataFrame([dict(at) for _, at in groups], index=range(len(groups)))
    group = np.repeat(np.arange(len(groups)), [len(measure.points) for measure, _ in groups])
    return region_of(points, group, types, observed, dict(levels))


def _check_tables(
    layout: object, counts: object, levels: object, laws: Mapping[str, object], none: tuple[type, ...] = ()
) -> None:
    """Kinds of what designs and design spaces have in common; `none` where their tables may be left out as None."""
    wanted = "Nested('factor'), Crossed('row', 'column') or None"
    check_kind("layout", layout, Nested, Crossed, type(None), instead=wanted)
    check_kind("counts", counts, Mapping, *none, instead="a table of factor to number, such as {'clinic': 40}")
    check_kind("levels", levels, Mapping, *none, instead="a table of covariate to factor, such as {'arm': 'clinic'}")
    for name, law in laws.items():
        check_kind(name, law, Measure, type(None), instead="a Measure, such as Measure.grid(x=[0, 1])")


def _check_groups(groups: Sequence[Group] | None, counts: Mapping[str, float] | None) -> None:
    check_kind("groups", groups, Sequence, type(None), instead="a list of Group")
    for group in groups or ():
        check_kind("each of the groups", group, Group)
    for factor, number in (counts or {}).items():
        if not (is_number(number) and number > 0):
            raise SpecificationError(f"counts['{factor}'] must be a positive finite number; got {number!r}.")


def _shorthand_groups(
    layout: Layout | None,
    counts: Mapping[str, float],
    replicates: float | None,
    measure: Measure,
    levels: Mapping[str, str],
    observed: Measure | None,
) -> list[Group]:
    if replicates is None:
        raise SpecificationError("a design without groups needs replicates=, the number of observations per unit.")
    drawn = names_of(observed.points) if observed else []
    check_levels(levels, layout, names_of(measure.points) + drawn)
    if layout is None:
        if counts:
            raise SpecificationError("counts need a layout: Design(layout=Nested('factor'), …).")
        return [Group(1.0, replicates, measure)]
    if set(counts) != set(layout.factors):
        raise SpecificationError(
            f"counts must give the number of units of {listed(layout.factors)}; got {dict(counts)}."
        )
    outer, *inner = layout.factors
    if isinstance(layout, Crossed):
        return [Group(1.0, replicates, measure)]
    chosen = [c for c, f in levels.items() if f == outer and c not in drawn]
    within = {factor: counts[factor] for factor in inner}
    return [Group(counts[outer] * share, replicates, m, at, within) for at, share, m in _by_unit(measure, chosen)]


def _units_of(group: Group, layout: Layout) -> dict[str, float]:
    """Units of every factor of a nested layout in one group."""
    if set(group.counts) != set(layout.factors[1:]):
        raise SpecificationError(
            f"a group of {layout!r} needs counts of {listed(layout.factors[1:])} per unit of the factor before it; "
            f"got {dict(group.counts)}."
        )
    numbers = np.cumprod([group.count, *(group.counts[factor] for factor in layout.factors[1:])])
    return dict(zip(layout.factors, numbers.tolist(), strict=True))


def _total(labels: Labels, values: Array, what: str) -> float:
    """Sum over units of a quantity that is constant within a unit."""
    low, high = np.full(len(labels.count), np.inf), np.full(len(labels.count), -np.inf)
    np.minimum.at(low, labels.level, values)
    np.maximum.at(high, labels.level, values)
    if (high - low > 1e-9 * np.maximum(1.0, np.abs(high))).any():
        raise SpecificationError(varies_within(what))
    return float(labels.count @ low)


def varies_within(what: str) -> str:
    """What to say of a unit-level quantity that is not constant within units."""
    return (
        f"{what} varies within a unit. Use only covariates that are constant within one, and declare them "
        "in levels={'covariate': 'factor'}."
    )


def check_levels(levels: Mapping[str, str], layout: Layout | None, columns: Sequence[str]) -> None:
    """Every level names a known covariate and a factor of the layout."""
    factors = [*layout.factors, *([layout.cell] if isinstance(layout, Crossed) else [])] if layout else []
    for name, factor in levels.items():
        if name not in columns:
            raise SpecificationError(
                f"levels names '{name}', which is not a covariate: {listed(columns)}.{nearest(name, columns)}"
            )
        if factor not in factors:
            raise SpecificationError(
                f"levels puts '{name}' at '{factor}', which is not a factor of the layout: {listed(factors)}."
                f"{nearest(factor, factors)}"
            )


def _by_unit(measure: Measure, unit_level: list[str]) -> list[tuple[dict[str, Any], float, Measure]]:
    """A joint law as unit-level values, their share of units, and the law within such a unit."""
    if not unit_level:
        return [({}, 1.0, measure)]
    within = [c for c in names_of(measure.points) if c not in unit_level]
    result = []
    for values, rows in measure.points.groupby(unit_level, sort=False, observed=True).indices.items():
        weights = measure.weights[rows]
        key = values if isinstance(values, tuple) else (values,)
        law = Measure.from_frame(measure.points[within].iloc[rows], weights)
        result.append((dict(zip(unit_level, key, strict=True)), float(weights.sum()), law))
    return result


@dataclass(frozen=True)
class Share:
    """A bound on the share of units, or of observations, at which a condition holds.

    The share is of units where the condition is constant within a unit, of observations elsewhere.

    Parameters
    ----------
    condition : str
        Expression in the candidate columns, such as ``"treat == 0"``.
    at_least, at_most : float
        Bounds between 0 and 1.
    """

    condition: str
    at_least: float = 0.0
    at_most: float = 1.0

    def __post_init__(self) -> None:
        numbers = is_number(self.at_least) and is_number(self.at_most)
        if not numbers or not 0.0 <= self.at_least <= self.at_most <= 1.0:
            raise SpecificationError(
                f"Share('{self.condition}'): bounds must satisfy 0 ≤ at_least ≤ at_most ≤ 1; got {self.at_least} "
                f"and {self.at_most}."
            )

    @property
    def words(self) -> str:
        """The bound as a clause."""
        return f"the share with {self.condition} is between {self.at_least:g} and {self.at_most:g}"

    def holds(self, frame: pd.DataFrame) -> Array:
        """One where the condition holds, zero elsewhere, shape (rows,)."""
        return holds(self.condition, frame, "constraint")


@dataclass(frozen=True)
class Total:
    """A bound on a total over units or over observations.

    Parameters
    ----------
    expression : str
        Expression in the candidate columns: a condition such as ``"dose > 5"`` counts, an amount such as ``"dose"``
        adds up. Over units it must be constant within a unit.
    at_least, at_most : float
        Bounds, at least one of them finite.
    of : str
        ``"observations"``, ``"units"`` of the outermost factor, or the name of a factor.

    Examples
    --------
    At most 200 observations at a dose above 5:

    >>> Total("dose > 5", at_most=200)
    Total(expression='dose > 5', at_least=-inf, at_most=200, of='observations')
    """

    expression: str
    at_least: float = -np.inf
    at_most: float = np.inf
    of: str = "observations"

    def __post_init__(self) -> None:
        bounds = (self.at_least, self.at_most)
        finite = [is_number(bound) or bound == end for bound, end in zip(bounds, (-np.inf, np.inf), strict=True)]
        if not all(finite) or not self.at_least <= self.at_most or np.isinf(bounds).all():
            raise SpecificationError(
                f"Total('{self.expression}'): bounds must satisfy at_least ≤ at_most, one of them finite; got "
                f"{self.at_least} and {self.at_most}."
            )
        if not isinstance(self.of, str):
            raise SpecificationError(
                f"Total('{self.expression}'): of must be 'observations', 'units' or the name of a factor; got "
                f"{self.of!r}."
            )

    @property
    def words(self) -> str:
        """The bound as a clause."""
        return f"the total of {self.expression} over {self.of} is between {self.at_least:g} and {self.at_most:g}"

    def values(self, frame: pd.DataFrame) -> Array:
        """What a unit or an observation at each row adds to the total, shape (rows,)."""
        values = evaluate(self.expression, frame, "constraint")
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise SpecificationError(
                f"constraint: '{self.expression}' is {values[row]} at {values_at(frame, row)}; a total needs finite "
                "numbers."
            )
        return values


@dataclass(frozen=True)
class Distinct:
    """A bound on how many distinct values of a covariate a design uses.

    Not linear in what is chosen: the optimiser branches over which values are used, and says how far its answer may
    be from the best.

    Parameters
    ----------
    column : str
        Candidate column.
    at_most : int
        Values, at least one.

    Examples
    --------
    >>> Distinct("dose", at_most=3)
    Distinct(column='dose', at_most=3)
    """

    column: str
    at_most: int

    def __post_init__(self) -> None:
        if not (is_number(self.at_most) and self.at_most >= 1 and self.at_most % 1 == 0):
            raise SpecificationError(
                f"Distinct('{self.column}'): at_most must be a whole number of at least 1; got {self.at_most!r}."
            )

    @property
    def words(self) -> str:
        """The bound as a clause."""
        return f"at most {self.at_most} distinct values of '{self.column}' are used"


Constraint = Share | Total | Distinct


@dataclass(frozen=True, eq=False)
class DesignSpace:
    """What may be chosen.

    Parameters
    ----------
    layout : Nested, Crossed or None
        None for a model without random terms.
    candidates : Candidates, optional
        Points that may be used, or a continuous region of them; without any, only the numbers of units and
        observations are chosen. With `Candidates.profiles` each unit follows one of the schedules, and only their
        numbers of units are chosen.
    observed : Measure, optional
        Law of covariates that are observed, not chosen: kept as it is, independent of what is chosen.
    levels : mapping from covariate to factor
        Covariates, chosen or observed, that are constant within a unit.
    counts : mapping from factor to (lowest, highest) or a fixed number
        Number of units of each factor in all; unbounded by default.
    replicates : (lowest, highest) or a fixed number
        Observations per unit; per observed cell of a crossed layout, at least one. With profiles a fixed number, by
        which every row of a schedule is repeated; once by default.
    common_replicates : bool
        Whether all unit types must have the same number of observations.
    at_most : int, optional
        How often one point may be used within a unit; None for no limit.
    constraints : sequence of Share, Total and Distinct
    crossing : str
        Of a crossed layout. ``"complete"``: every row meets every column. ``"biregular"``: the number of observed
        cells is chosen too, as many in every row and as many in every column.
    cells : (lowest, highest) or a fixed number, optional
        Number of observed cells of a biregular crossing; between the larger number of units and their product anyway.

    Notes
    -----
    In a crossed layout the law of row-level covariates, that of column-level ones and that of all others are chosen
    independently of each other: candidates must be all combinations of the values that the three may take.

    Raises
    ------
    SpecificationError
        For unknown names, bounds out of order, or a covariate both chosen and observed.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> space = DesignSpace(Nested("patient"), Candidates.grid(treat=[0, 1], visit=range(9)),
    ...                     levels={"treat": "patient"}, counts={"patient": (10, 400)}, replicates=(2, 12))
    >>> space.region.n_types, space.region.n_atoms
    (2, 18)
    """

    layout: Layout | None
    candidates: Candidates = field(default_factory=Candidates.grid)
    observed: Measure | None = None
    levels: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Bounds | float] = field(default_factory=dict)
    replicates: Bounds | float = (1.0, np.inf)
    common_replicates: bool = False
    at_most: int | None = None
    constraints: Sequence[Constraint] = ()
    crossing: str = "complete"
    cells: Bounds | float | None = None

    def __post_init__(self) -> None:
        _check_tables(self.layout, self.counts, self.levels, {"observed": self.observed})
        check_kind("candidates", self.candidates, Candidates, instead="Candidates, such as Candidates.grid(x=[0, 1])")
        check_kind("constraints", self.constraints, Sequence, instead="a list of Share, Total and Distinct")
        chosen = names_of(self.candidates.points)
        observed = names_of(self.observed.points) if self.observed else []
        if set(chosen) & set(observed):
            raise SpecificationError(f"{listed(set(chosen) & set(observed))} cannot be both chosen and observed.")
        check_levels(self.levels, self.layout, chosen + observed)
        self._check_profiles()
        factors = self.layout.factors if self.layout else ()
        for factor in self.counts:
            if factor not in factors:
                raise SpecificationError(
                    f"counts names '{factor}'; the factors are {listed(factors)}.{nearest(factor, factors)}"
                )
        if self.at_most is not None and not (is_number(self.at_most) and self.at_most >= 1 and self.at_most % 1 == 0):
            raise SpecificationError(f"at_most must be a whole number of at least 1, or None; got {self.at_most!r}.")
        if isinstance(self.candidates, CandidateRegion) and len(factors) > 1:
            raise SpecificationError(
                f"continuous regions are for one grouping factor, or none; the layout is {self.layout!r}. Give the "
                "points by Candidates.grid."
            )
        if self.at_most is not None and isinstance(self.candidates, CandidateRegion):
            raise SpecificationError(
                "at_most limits the use of single points, and a continuous region has points as near to each other as "
                "one likes: leave it out, or give the points by Candidates.grid."
            )
        for constraint in self.constraints:
            if not isinstance(constraint, Constraint):
                raise SpecificationError(
                    f"constraints must be a list of Share, Total and Distinct; got {constraint!r}."
                )
            if isinstance(constraint, Distinct):
                self._check_distinct(constraint)
            if isinstance(constraint, Total):
                self._check_total(constraint)
        _ = self.replicate_bounds, [self.count_bounds(f) for f in factors]
        self._check_crossing()
        own = {self.candidates.by: factors[0]} if self.candidates.by is not None else {}
        object.__setattr__(self, "levels", MappingProxyType({**self.levels, **own}))
        object.__setattr__(self, "counts", MappingProxyType(dict(self.counts)))
        object.__setattr__(self, "constraints", tuple(self.constraints))

    def _check_total(self, total: Total) -> None:
        factors = self.layout.factors if self.layout else ()
        if self.layout is None and total.of == "units":
            raise SpecificationError(f"{total!r} counts units, of which a space without a layout has none.")
        if total.of not in ("observations", "units", *factors):
            raise SpecificationError(
                f"{total!r}: of must be 'observations', 'units' or one of the factors {listed(factors)}."
                f"{nearest(total.of, factors)}"
            )

    def _check_distinct(self, limit: Distinct) -> None:
        candidates = self.candidates
        if type(candidates) is not Candidates or candidates.by is not None:
            raise SpecificationError(
                f"{limit!r} picks among single points, of a grid or a frame: neither a continuous region nor fixed "
                "schedules. Give the points by Candidates.grid."
            )
        if limit.column not in candidates.points:
            known = names_of(candidates.points)
            raise SpecificationError(
                f"{limit!r} names no candidate column.{nearest(limit.column, known)} Columns: {listed(known)}."
            )

    def _check_crossing(self) -> None:
        """What belongs to crossed layouts only, what has no place in them, and bounds on cells."""
        kinds = ("complete", "biregular")
        if self.crossing not in kinds:
            raise SpecificationError(
                f"crossing must be one of {listed(kinds)}; got {self.crossing!r}.{nearest(str(self.crossing), kinds)}"
            )
        if not isinstance(self.layout, Crossed):
            if self.crossing != "complete" or self.cells is not None:
                raise SpecificationError(f"crossing= and cells= belong to a crossed layout; it is {self.layout!r}.")
            return
        if self.common_replicates or self.at_most is not None:
            raise SpecificationError(
                "common_replicates and at_most have no meaning in a crossed layout: leave them out."
            )
        other = [each for each in self.constraints if not isinstance(each, Share)]
        if other:
            raise SpecificationError(
                f"a crossed layout takes bounds on shares, counts, cells and replicates only; got {other[0]!r}."
            )
        if self.crossing == "complete" and self.cells is not None:
            raise SpecificationError("cells= belongs to crossing='biregular': a complete crossing observes all cells.")
        self._check_cells(self.layout)

    def _check_cells(self, layout: Crossed) -> None:
        counts = [self.count_bounds(factor) for factor in layout.factors]
        fewest, most = max(low for low, _ in counts), float(np.prod([high for _, high in counts]))
        low, high = self.cell_bounds
        if self.replicate_bounds[1] < 1 or any(high < 1 for _, high in counts):
            raise SpecificationError(
                "a crossed design has one unit of each factor, and one observation in a cell, at least: raise the "
                "highest counts or replicates."
            )
        if low > most or high < fewest:
            raise SpecificationError(
                f"cells must allow a number between {fewest:g}, one for every unit of the larger factor, and {most:g}, "
                f"all; got ({low:g}, {high:g})."
            )

    @cached_property
    def cell_bounds(self) -> Bounds:
        """Fewest and most observed cells of a crossed layout."""
        return (1.0, np.inf) if self.cells is None else _bounds(self.cells, "cells")

    def _check_profiles(self) -> None:
        """Profiles are schedules of the units of one factor, and fix all that happens within a unit."""
        by = self.candidates.by
        if by is None:
            return
        if self.layout is None or isinstance(self.layout, Crossed) or len(self.layout.factors) > 1:
            raise SpecificationError(
                f"profiles are schedules of the units of one factor, Nested('factor'); the layout is {self.layout!r}. "
                "Parts of a unit are in the model alone, as in (1 | cluster:period)."
            )
        if self.at_most is not None or self.common_replicates:
            raise SpecificationError(
                "profiles fix what happens within a unit: leave out at_most and common_replicates."
            )
        own = [c for c in names_of(self.candidates.points) if c in self.levels and c != by]
        if len(distinct(self.candidates.points, [by, *own])[0]) > self.candidates.points[by].nunique():
            raise SpecificationError(f"{listed(own)} must be constant within each profile, by the levels given.")
        _ = self.times_each_row

    @property
    def times_each_row(self) -> float:
        """How often every row of a profile is observed in a unit."""
        if self.replicates == (1.0, np.inf):
            return 1.0
        low, high = self.replicate_bounds
        if low != high:
            raise SpecificationError(
                f"with profiles, replicates is how often each row is observed, one number; got {self.replicates!r}."
            )
        return low

    @cached_property
    def replicate_bounds(self) -> Bounds:
        """Fewest and most observations per unit (in all, where there is no layout)."""
        return _bounds(self.replicates, "replicates")

    def count_bounds(self, factor: str) -> Bounds:
        """Fewest and most units of a factor."""
        return _bounds(self.counts.get(factor, (0.0, np.inf)), f"counts['{factor}']")

    @cached_property
    def region(self) -> Region:
        """The space's covariate rows: a type per combination of chosen unit-level values, an atom per candidate."""
        points = self.candidates.points
        types, type_of_atom = distinct(points, [c for c in names_of(points) if c in self.levels])
        return region_of(points, type_of_atom, types, self.observed, self.observed_levels)

    @cached_property
    def reference(self) -> pd.DataFrame:
        """Covariate rows that levels and data-dependent terms refer to: all, or those of a continuous region's grid."""
        if not isinstance(self.candidates, CandidateRegion):
            return self.region.frame
        return replace(self, candidates=Candidates(self.candidates.reference)).region.frame

    @property
    def observed_levels(self) -> dict[str, str]:
        """The observed covariates that are constant within a unit."""
        return {c: f for c, f in self.levels.items() if self.observed is not None and c in self.observed.points}


def region_of(
    points: pd.DataFrame, type_of_atom: Index, types: pd.DataFrame, observed: Measure | None, levels: Mapping[str, str]
) -> Region:
    """Every chosen point at every observed value; a block per type and unit-level observed value."""
    law = observed or Measure.grid()
    value, prob, share = _unit_law(law, list(levels))
    atom = np.repeat(np.arange(len(points)), len(law.points))
    seen = np.tile(np.arange(len(law.points)), len(points))
    frame = points.iloc[atom].reset_index(drop=True)
    for name in law.points:
        frame[name] = law.points[name].iloc[seen].reset_index(drop=True)
    block = type_of_atom[atom] * len(prob) + value[seen]
    unit = np.repeat(np.arange(len(types)), len(prob))
    return Region(frame, block, atom, share[seen], unit, np.tile(prob, len(types)), types)


def _bounds(given: Bounds | float, what: str) -> Bounds:
    pair = given if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2 or not all(isinstance(v, numbers.Real) and not isinstance(v, bool) for v in pair):
        raise SpecificationError(f"{what} must be a number or a pair (lowest, highest); got {given!r}.")
    low, high = map(float, pair)
    if not 0.0 <= low <= high:
        raise SpecificationError(f"{what} must satisfy 0 ≤ lowest ≤ highest; got ({low:g}, {high:g}).")
    if high == 0.0:
        raise SpecificationError(f"{what} allows none at all: raise its highest value above 0.")
    return low, high


def distinct(points: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, Index]:
    """Distinct rows of some columns in order of appearance, and which of them each row is."""
    if not columns:
        return grid_frame({}), np.zeros(len(points), dtype=np.intp)
    group = points.groupby(columns, sort=False, observed=True).ngroup().to_numpy().astype(np.intp)
    _, first = np.unique(group, return_index=True)
    return points[columns].iloc[first].reset_index(drop=True), group


def _unit_law(observed: Measure, unit_level: list[str]) -> tuple[Index, Array, Array]:
    """Which unit-level value each row has, the shares of those values, and each row's share within its value."""
    _, value = distinct(observed.points, unit_level)
    prob = summed(value, observed.weights, int(value.max()) + 1)
    return value, prob, observed.weights / prob[value]
