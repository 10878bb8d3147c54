"""`covariance_of_frame`: the covariance that a data set of a given shape would give, any incidence.

A data frame becomes kinds of unit: units of a factor with the same covariates of their level and about the same
number of observations. Kinds, their counts, and the law of the other covariates within each pair of kinds are all
that the asymptotic orders need, so that they cost one pass over the rows. Exact and averaged orders list every unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance.crossed import sides_of
from optdesign.covariance.exact import exact_covariance
from optdesign.covariance.gls import gls_covariance, information
from optdesign.covariance.labelled import LabelledRows, labelled_rows
from optdesign.covariance.multilevel import connection_notes, of_kinds, rungs
from optdesign.covariance.result import AsymptoticCovariance, from_information, settled
from optdesign.covariance.sampled import sampled_covariance
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.incidence import connected_parts
from optdesign.layouts import Crossed, Layout, Nested
from optdesign.linalg import summed
from optdesign.models import MixedModel, NominalValues
from optdesign.units import LabelledPoints, Labels, kinds

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Kinds of unit of a factor that are kept apart: where random effects need quadrature, and where they do not.
MOST_KINDS, MOST_GAUSSIAN_KINDS = 150, 300
#: Classes of the logarithm of a unit's size, and of its mean of each covariate that varies within it, tried in turn.
CLASSES = (10**6, 24, 12, 8, 5, 3, 1)


@dataclass(frozen=True, eq=False)
class Shape:
    """A data frame's distinct rows of covariates and units, and how its factors lie to each other.

    Attributes
    ----------
    frame : DataFrame
        Distinct rows.
    observations : array, shape (rows,)
    codes : mapping from factor to integer array, shape (rows,)
        Unit of each row; cells of two factors are called ``"row:column"``.
    nested : bool
        Whether each unit of a factor lies in one unit of the factor before it; factors are outermost first.
    components : int
        Connected parts of a crossed incidence.
    """

    frame: pd.DataFrame
    observations: Array
    codes: dict[str, Index]
    nested: bool
    components: int


def frame_covariance(
    model: MixedModel, nominal: NominalValues, shape: Shape, order: str, seed: int
) -> AsymptoticCovariance:
    """Covariance of the fixed effects for the shape of a data frame; see `optdesign.covariance.covariance_of_frame`."""
    found = _of_shape(model, nominal, shape, order, seed)
    return replace(found, notes=(*found.notes, *connection_notes(list(shape.codes)[:2], shape.components)))


def layout_of(shape: Shape) -> Layout | None:
    """How the factors of a data frame lie to each other."""
    plain = [factor for factor in shape.codes if ":" not in factor]
    if not plain:
        return None
    return Nested(*plain) if shape.nested else Crossed(*plain)


def _of_shape(model: MixedModel, nominal: NominalValues, shape: Shape, order: str, seed: int) -> AsymptoticCovariance:
    if order in ("exact", "averaged"):
        rows = labelled_rows(model, nominal, listed_units(shape))
        if model.is_gaussian:
            return gls_covariance(rows, order)
        if len(rows.terms) > 1:
            return sampled_covariance(rows, seed)
        return exact_covariance(model, nominal, rows, "fixed", seed) if order == "exact" else _by_nodes(model, rows)
    most = MOST_GAUSSIAN_KINDS if model.is_gaussian else MOST_KINDS
    few = len(shape.codes) == 1 and max(int(c.max()) for c in shape.codes.values()) < most
    rows = labelled_rows(model, nominal, listed_units(shape) if few else pooled_units(shape, most))
    return of_kinds(model, rows, order, _cell_size(shape), crossed=not shape.nested)


def _cell_size(shape: Shape) -> float:
    """Observations per cell, averaged over observations."""
    units = [codes for factor, codes in shape.codes.items() if ":" not in factor]
    cell, number = kinds(units, len(shape.frame))
    return float((summed(cell, shape.observations, number) ** 2).sum() / shape.observations.sum())


def _by_nodes(model: MixedModel, rows: LabelledRows) -> AsymptoticCovariance:
    """Averaged information of one factor by quadrature: units of all kinds have the same law of random effects."""

    def compute(nodes: int) -> AsymptoticCovariance:
        shifts, weights = np.zeros((1, len(rows.X))), np.ones(1)
        for side in sides_of(rows, nodes):
            shifts, weights = side.nodes @ side.term.Z.T, side.node_weight
        each = [information(rows, rows.weight(rows.eta + shift)) for shift in shifts]
        parts = {source: np.tensordot(weights, [e.parts[source] for e in each], 1) for source in each[0].parts}
        total = np.sum(list(parts.values()), axis=0)
        return from_information(total, parts, "averaged", rows.names, rows.aliases, rows.beta)

    return settled(compute, rungs(model, rows))


def shape_of(model: MixedModel, df: pd.DataFrame) -> Shape:
    """Read a data frame: its distinct rows, its units, and whether factors are nested or crossed.

    Raises
    ------
    SpecificationError
        For columns that are not there, values that are missing, and factors that are neither nested nor two crossed.
    """
    cells = [f for f in model.factors if ":" in f]
    plain = [f for f in model.factors if ":" not in f]
    plain += [name for cell in cells for name in cell.split(":") if name not in plain]
    columns = [*sorted(model.covariates), *(f for f in plain if f not in model.covariates)]
    _check_columns(df, columns)
    coded = {name: _coded(df[name]) for name in columns}
    point, first = _distinct([codes for codes, _ in coded.values()], [n for _, n in coded.values()], len(df))
    observations = np.bincount(point).astype(float)
    frame = df[columns].iloc[first].reset_index(drop=True)
    units = {f: coded[f][0][first] for f in plain}
    order, nested = _arranged(units)
    units = {f: units[f] for f in order}
    for cell in cells:
        units[cell] = kinds([units[name] for name in cell.split(":")], len(frame))[0]
    parts = 1 if nested or len(order) != 2 else connected_parts(*(units[f] for f in order))
    return Shape(frame, observations, units, nested, parts)


def _check_columns(df: pd.DataFrame, columns: Sequence[str]) -> None:
    for name in columns:
        if name not in df:
            raise SpecificationError(
                f"the data have no column '{name}': {listed(map(str, df.columns))}."
                f"{nearest(name, [str(c) for c in df.columns])}"
            )
        if df[name].isna().any():
            row = int(np.flatnonzero(df[name].isna())[0])
            raise SpecificationError(
                f"column '{name}' has no value in row {row + 1} ({int(df[name].isna().sum())} rows in all): leave "
                "these rows out, or fill them in."
            )
    if len(df) == 0:
        raise SpecificationError("the data have no rows.")


def _coded(column: pd.Series) -> tuple[Index, int]:
    """Numbers for the distinct values of a column, and how many there are."""
    import pandas as pd

    codes, values = pd.factorize(column)
    return codes.astype(np.intp), len(values)


def _distinct(columns: Sequence[Index], sizes: Sequence[int], rows: int) -> tuple[Index, Index]:
    """Which distinct combination each row is, and the first row of each."""
    import pandas as pd

    key = np.zeros(rows, dtype=np.int64)
    size = 1
    for codes, number in zip(columns, sizes, strict=True):
        if size * number > 2**62:
            key, values = pd.factorize(key)
            key, size = key.astype(np.int64), len(values)
        key, size = key * number + codes, size * number
    point, _ = pd.factorize(key)
    first = np.full(int(point.max()) + 1, rows, dtype=np.intp)
    first[point[::-1]] = np.arange(rows - 1, -1, -1)
    return point.astype(np.intp), first


def _arranged(units: dict[str, Index]) -> tuple[list[str], bool]:
    """Factors from the one with fewest units on if each is nested in the one before, in the order given otherwise."""
    order = sorted(units, key=lambda factor: int(units[factor].max()))
    if all(_constant_within(units[outer], units[inner]) for outer, inner in pairwise(order)):
        return order, True
    if len(units) > 2:
        raise SpecificationError(
            f"the factors {listed(units)} are neither nested in one another nor two crossed factors; covariances are "
            "defined for these. Leave a factor out."
        )
    return list(units), False


def _constant_within(values: Array | Index, unit: Index) -> bool:
    """Whether a column has one value in every unit."""
    first = np.zeros(int(unit.max()) + 1, dtype=values.dtype)
    first[unit] = values
    return bool((first[unit] == values).all())


def listed_units(shape: Shape) -> LabelledPoints:
    """Every unit on its own."""
    labels = {f: Labels(codes, np.ones(int(codes.max()) + 1)) for f, codes in shape.codes.items()}
    rows = len(shape.frame)
    return LabelledPoints(shape.frame, shape.observations, MappingProxyType(labels), np.arange(rows))


def pooled_units(shape: Shape, most: int) -> LabelledPoints:
    """Units of a kind together, with the law of all covariates within their kind."""
    labels: dict[str, Labels] = {}
    level: dict[str, Index] = {}
    above: list[Index] = []
    for factor, unit in shape.codes.items():
        if ":" in factor:
            continue
        kind = _kind_of_unit(shape, factor, unit, above, most)
        level[factor] = kind[unit]
        labels[factor] = Labels(level[factor], np.bincount(kind).astype(float))
        above = [*above, level[factor]] if shape.nested else above
    point, _ = kinds(
        [*level.values(), *(shape.frame[c] for c in shape.frame if c not in shape.codes)], len(shape.frame)
    )
    first = np.unique(point, return_index=True)[1]
    total = summed(point, shape.observations, len(first))
    chosen, _ = kinds([codes[first] for codes in level.values()], len(first))
    merged = {f: Labels(each.level[first], each.count) for f, each in labels.items()}
    for factor in (f for f in shape.codes if ":" in f):
        merged[factor] = _pooled_cells(shape.codes[factor], point, len(first))
    frame = shape.frame.iloc[first].reset_index(drop=True)
    return LabelledPoints(frame, total, MappingProxyType(merged), chosen)


def _pooled_cells(cell: Index, point: Index, points: int) -> Labels:
    """Cells of a pooled frame: as many as hold each point, each point a kind of its own."""
    pairs = np.unique(np.stack([point, cell]), axis=1)[0]
    return Labels(np.arange(points), np.bincount(pairs, minlength=points).astype(float))


def _kind_of_unit(shape: Shape, factor: str, unit: Index, above: list[Index], most: int) -> Index:
    """Kind of each unit: its covariates, the kinds of the units it lies in, and in classes its size and its means."""
    number = int(unit.max()) + 1
    size = summed(unit, shape.observations, number)
    first = np.full(number, len(unit), dtype=np.intp)
    np.minimum.at(first, unit, np.arange(len(unit)))
    columns = {c: _coded(shape.frame[c])[0] for c in map(str, shape.frame) if c not in shape.codes}
    own = [codes[first] for codes in columns.values() if _constant_within(codes, unit)]
    varying = [shape.frame[c] for c, codes in columns.items() if not _constant_within(codes, unit)]
    means = [summed(unit, shape.observations * _values(c), number) / size for c in varying]
    for classes in CLASSES:
        about = [_classes(np.log(size), classes), *(_classes(mean, classes) for mean in means)]
        kind, count = kinds([*own, *(a[first] for a in above), *about], number)
        if count <= most:
            return kind
    raise SpecificationError(
        f"units of '{factor}' are of {count} kinds by the covariates that are constant within them; at most "
        f"{most} are kept apart. Round these covariates, or use order='exact' (Gaussian) or 'averaged'."
    )


def _values(column: pd.Series) -> Array:
    """Numbers of a column; the codes of its levels for a categorical one."""
    import pandas as pd

    return np.asarray(column if pd.api.types.is_numeric_dtype(column) else _coded(column)[0], dtype=float)


def _classes(values: Array, classes: int) -> Index:
    """Values rounded to a number of evenly spaced classes."""
    low, high = values.min(), values.max()
    return np.asarray(np.round((values - low) / max(high - low, 1e-12) * (classes - 1)), dtype=np.intp)
