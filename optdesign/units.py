"""Covariate points of a layout with any number of factors, and the kinds of unit that each point belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, is_number, listed
from optdesign.incidence import connected_parts
from optdesign.layouts import Crossed
from optdesign.linalg import summed
from optdesign.measures import Measure, names_of

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Share of units, or of observations, that counts as rounding.
TINY_SHARE = 1e-9


@dataclass(frozen=True, eq=False)
class Labels:
    """Kinds of unit of one factor: units of a kind share every covariate of their level.

    Attributes
    ----------
    level : integer array, shape (rows,)
        The kind of unit that each point is observed in.
    count : array, shape (kinds,)
        How many units are of each kind; all ones where every unit is listed on its own.
    """

    level: Index
    count: Array


@dataclass(frozen=True, eq=False)
class LabelledPoints:
    """Distinct covariate points, the observations made at each, and the kind of unit of every factor there.

    Every unit of a kind sees the same law of points, in numbers ``observations / count`` of its kind.

    Attributes
    ----------
    frame : DataFrame
        All covariates, one row per point.
    observations : array, shape (rows,)
        Observations made at each point, over all units.
    labels : mapping from factor to Labels
        In layout order; a cell of two crossed factors is called ``"row:column"``.
    chosen : integer array, shape (rows,)
        Points with equal numbers differ only in covariates that are drawn for each observation, not set.
    """

    frame: pd.DataFrame
    observations: Array
    labels: Mapping[str, Labels]
    chosen: Index


@dataclass(frozen=True, eq=False)
class NestedGroup:
    """Outermost units of one group: how many units of each factor they hold, and the law of all their covariates.

    `shares` are the shares of each inner factor's units that the law's points stand for.
    """

    law: Measure
    counts: Mapping[str, float]
    observations: float
    shares: Mapping[str, Array]


def kinds(columns: Sequence[Index | pd.Series], rows: int) -> tuple[Index, int]:
    """Number the distinct combinations of some columns in order of appearance, shape (rows,), and say how many."""
    import pandas as pd

    if not columns:
        return np.zeros(rows, dtype=np.intp), 1
    table = pd.DataFrame({i: np.asarray(column) for i, column in enumerate(columns)})
    codes = table.groupby(list(table), sort=False, observed=True).ngroup().to_numpy().astype(np.intp)
    return codes, int(codes.max()) + 1


def nested_points(
    factors: Sequence[str], groups: Sequence[NestedGroup], levels: Mapping[str, str], drawn: frozenset[str]
) -> LabelledPoints:
    """Points of a nested layout; a kind of unit has its own group and its own values of all covariates above it."""
    frame = stacked([group.law.points for group in groups])
    sizes = [len(group.law.points) for group in groups]
    group = np.repeat(np.arange(len(groups)), sizes)
    share = np.concatenate([g.law.weights for g in groups])
    labels = {}
    for depth, factor in enumerate(factors):
        own = [c for c in names_of(frame) if levels.get(c) in factors[: depth + 1]]
        level, number = kinds([group, *(frame[c] for c in own)], len(frame))
        units = np.array([float(g.counts[factor]) for g in groups])
        own_share = np.concatenate([g.shares.get(factor, g.law.weights) for g in groups])
        labels[factor] = Labels(level, summed(level, own_share * units[group], number))
    observations = share * np.array([g.observations for g in groups])[group]
    chosen, _ = kinds([group, *(frame[c] for c in names_of(frame) if c not in drawn)], len(frame))
    return LabelledPoints(frame, observations, MappingProxyType(labels), chosen)


def with_cells(points: LabelledPoints, factors: Iterable[str]) -> LabelledPoints:
    """The points with the units of factors such as ``"cluster:period"`` added.

    They are the parts of the innermost unit, a cluster, in which a covariate that is set, the period, has one value.

    Raises
    ------
    SpecificationError
        For a covariate that is drawn, and for parts that do not lie within those of the factor before.
    """
    labels = dict(points.labels)
    plain = [factor for factor in labels if ":" not in factor]
    for factor in factors:
        first, *columns = factor.split(":")
        if factor in labels or not plain or first != plain[-1] or not set(columns) <= set(points.frame):
            continue
        above = labels[list(labels)[-1]]
        level, number = kinds([labels[first].level, *(points.frame[c] for c in columns)], len(points.frame))
        set_rows = [labels[first].level, points.chosen]
        drawn = kinds([*set_rows, level], len(level))[1] > kinds(set_rows, len(level))[1]
        if drawn or kinds([level, above.level], len(level))[1] > number:
            raise SpecificationError(
                f"the units of '{factor}' must be parts of those of '{list(labels)[-1]}', by covariates that are set, "
                "not drawn."
            )
        count = np.zeros(number)
        count[level] = labels[first].count[labels[first].level]
        labels[factor] = Labels(level, count)
    return LabelledPoints(points.frame, points.observations, MappingProxyType(labels), points.chosen)


@dataclass(frozen=True, eq=False)
class Crossing:
    """Which cells of a crossed layout are observed.

    Attributes
    ----------
    kind : str
        ``"complete"``, ``"biregular"``, ``"random"``, ``"product"`` (of inclusion rates) or ``"pairs"``.
    cells : float
        Number of observed cells.
    rates : mapping from factor to array
        Inclusion rates, in equal shares of the units: a cell is observed with the product of its row's and its
        column's rate. Empty where cells are spread evenly.
    pairs : DataFrame, optional
        The observed cells, where they are given: codes of the two factors' units.
    """

    kind: str
    cells: float
    rates: Mapping[str, Array]
    pairs: pd.DataFrame | None = None

    @property
    def parts(self) -> int:
        """Connected parts of the cells, where they are given; other crossings count as one."""
        return 1 if self.pairs is None else connected_parts(*self.pairs.to_numpy(dtype=np.intp).T)


def crossing_of(
    layout: Crossed,
    counts: Mapping[str, float],
    given: str | Mapping[str, npt.ArrayLike] | pd.DataFrame,
    cells: float | None,
) -> Crossing:
    """Read which cells are observed; see `optdesign.designs.Design`."""
    most = float(np.prod([counts[factor] for factor in layout.factors]))
    if isinstance(given, str):
        return _even_crossing(layout, counts, given, cells, most)
    if cells is not None:
        raise SpecificationError("cells= belongs to crossing='biregular' or 'random'; here the crossing says it.")
    if isinstance(given, Mapping):
        rates = {factor: _rates(factor, given[factor]) for factor in _exactly(layout, given, "inclusion rates")}
        return Crossing("product", most * float(np.prod([r.mean() for r in rates.values()])), rates)
    return _given_pairs(layout, counts, given)


def _even_crossing(
    layout: Crossed, counts: Mapping[str, float], kind: str, cells: float | None, most: float
) -> Crossing:
    if kind == "complete" and cells is None:
        return Crossing(kind, most, {})
    if kind not in ("biregular", "random"):
        raise SpecificationError(
            f"crossing={kind!r} with cells={cells}: a crossing is 'complete' (all cells, no cells=), 'biregular' or "
            "'random' with cells=, a mapping of inclusion rates, or a frame of pairs."
        )
    fewest = max(counts[factor] for factor in layout.factors)
    if not (is_number(cells) and fewest <= cells <= most):
        raise SpecificationError(
            f"crossing='{kind}' needs cells=, the number of observed cells, between {fewest:g} (one for every unit) "
            f"and {most:g} (all); got {cells!r}."
        )
    return Crossing(kind, float(cells), {})


def _exactly(layout: Crossed, given: Iterable[str], what: str) -> tuple[str, str]:
    if set(given) != set(layout.factors):
        raise SpecificationError(f"crossing: {what} are needed for {listed(layout.factors)}; got {listed(given)}.")
    return layout.factors


def _rates(factor: str, given: npt.ArrayLike) -> Array:
    rates = np.atleast_1d(np.asarray(given, dtype=float))
    if rates.ndim != 1 or not (np.isfinite(rates).all() and (rates > 0).all() and (rates <= 1).all()):
        raise SpecificationError(f"crossing: inclusion rates of '{factor}' must lie in (0, 1]; got {given!r}.")
    return rates


def _given_pairs(layout: Crossed, counts: Mapping[str, float], given: pd.DataFrame) -> Crossing:
    """A frame of observed cells: every unit must be in one of them."""
    import pandas as pd

    pairs, rates = pd.DataFrame(index=range(len(given))), {}
    if given.duplicated(list(_exactly(layout, map(str, given.columns), "columns of pairs"))).any():
        raise SpecificationError("crossing: a cell is listed twice; replicates= says how often each is observed.")
    for factor, other in zip(layout.factors, reversed(layout.factors), strict=True):
        codes, units = pd.factorize(given[factor])
        pairs[factor] = codes
        if len(units) != counts[factor]:
            raise SpecificationError(
                f"crossing: counts say {counts[factor]:g} units of '{factor}', the pairs hold {len(units)}; a unit in "
                f"no cell gives no information: leave it out of counts.{_unused(given[factor])}"
            )
        rates[factor] = np.bincount(codes) / counts[other]
    uneven = {factor: rate for factor, rate in rates.items() if np.ptp(rate) > 0}
    return Crossing("pairs", float(len(given)), rates if uneven else {}, pairs)


def _unused(column: pd.Series) -> str:
    import pandas as pd

    if not isinstance(column.dtype, pd.CategoricalDtype):
        return ""
    empty = [c for c in column.cat.categories if c not in set(column)]
    return f" Without a cell: {listed(map(str, empty))}." if empty else ""


def crossed_points(
    layout: Crossed,
    law: Measure,
    counts: Mapping[str, float],
    replicates: float,
    crossing: Crossing,
    levels: Mapping[str, str],
    drawn: frozenset[str],
) -> LabelledPoints:
    """Points of a crossed layout: kinds of row and of column, and the law of the other covariates in their cells."""
    law, level_of, density = _with_rates(law, crossing, levels)
    frame, rows = law.points, len(law.points)
    labels = {}
    for factor in layout.factors:
        level, number = kinds([frame[c] for c in names_of(frame) if level_of.get(c) == factor], rows)
        labels[factor] = Labels(level, counts[factor] * summed(level, law.weights, number))
    if crossing.kind == "complete":
        _check_crossed(layout, law, labels, counts)
    share = law.weights * density
    share = share / share.sum()
    per_cell = [frame[c] for c in names_of(frame) if c in level_of or replicates <= 1]
    level, number = kinds(per_cell, rows)
    labels[layout.cell] = Labels(level, crossing.cells * summed(level, share, number))
    chosen, _ = kinds([frame[c] for c in names_of(frame) if c not in drawn], rows)
    return LabelledPoints(frame, crossing.cells * replicates * share, MappingProxyType(labels), chosen)


def _with_rates(
    law: Measure, crossing: Crossing, levels: Mapping[str, str]
) -> tuple[Measure, Mapping[str, str], Array]:
    """The law with a column of inclusion rates for each factor that has them, its levels, and the cells' density."""
    if not crossing.rates:
        return law, levels, np.ones(len(law.points))
    names = {factor: rate_column(factor) for factor in crossing.rates}
    for factor, rates in crossing.rates.items():
        law = law * Measure.from_frame(_column(names[factor], rates))
    density = np.prod([law.points[name].to_numpy(dtype=float) for name in names.values()], axis=0)
    return law, {**levels, **{name: factor for factor, name in names.items()}}, np.asarray(density)


def rate_column(factor: str) -> str:
    """Column of a crossing's points with the inclusion rates of a factor's units."""
    return f"inclusion rate of {factor}"


def _column(name: str, values: Array) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({name: values})


def _check_crossed(layout: Crossed, law: Measure, labels: Mapping[str, Labels], counts: Mapping[str, float]) -> None:
    """In a complete crossing every kind of row meets every kind of column, in proportion."""
    row, column = (labels[factor] for factor in layout.factors)
    both, number = kinds([row.level, column.level], len(law.points))
    joint = summed(both, law.weights, number)[both]
    product = row.count[row.level] * column.count[column.level]
    product = product / (counts[layout.factors[0]] * counts[layout.factors[1]])
    if number < len(row.count) * len(column.count) or np.abs(joint - product).max() > TINY_SHARE:
        raise SpecificationError(
            f"every {layout.factors[0]} meets every {layout.factors[1]} in a complete crossing, so covariates of the "
            "one are independent of those of the other; the measure's weights are not a product of the two laws. "
            f"Declare a covariate of both at levels={{'covariate': '{layout.cell}'}}."
        )


def stacked(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Frames one under the other; categories of a column are united."""
    import pandas as pd

    joined = pd.concat(frames, ignore_index=True)
    for name in joined:
        if not pd.api.types.is_numeric_dtype(joined[name]):
            dtypes = [f[name].dtype for f in frames]
            levels = {v for d in dtypes if isinstance(d, pd.CategoricalDtype) for v in d.categories}
            joined[name] = pd.Categorical(joined[name], categories=sorted(levels | set(joined[name]), key=str))
    return joined


def without_units(law: Measure, observations: float, drawn: frozenset[str]) -> LabelledPoints:
    """Points of a design that has no units."""
    frame = law.points
    chosen, _ = kinds([frame[c] for c in names_of(frame) if c not in drawn], len(frame))
    return LabelledPoints(frame, observations * law.weights, MappingProxyType({}), chosen)
