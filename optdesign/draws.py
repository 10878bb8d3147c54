"""Data drawn from a model at its nominal values, on a design in whole numbers.

Covariates that are set are realised as exactly as whole numbers allow; those observed are drawn from their law, level
by level: once for every unit of their factor, given what was drawn for the units that it lies in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import fixed_columns
from optdesign.designs import Design
from optdesign.errors import SpecificationError, check_kind, listed, nearest
from optdesign.families import draw_totals
from optdesign.layouts import Crossed
from optdesign.linalg import psd_root
from optdesign.measures import Measure, beside, names_of
from optdesign.models import MixedModel, NominalValues
from optdesign.realised import Realised, realised
from optdesign.units import kinds

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Largest mean that counts are drawn at.
LARGEST_MEAN = 1e15


@dataclass(frozen=True, eq=False)
class Stage:
    """Values of the observed covariates of one level, given those of the levels before it.

    What was drawn so far is a class of rows of the law: those that share its values.

    Attributes
    ----------
    unit : integer array, shape (N,)
        The unit of this level that each observation belongs to.
    first : integer array, shape (units,)
        One observation of each unit.
    group : integer array, shape (classes,)
        Which rows of the law may be drawn, by class so far: all where it does not matter.
    order : integer array, shape (L,)
        Rows of the law, group by group.
    start, stop : integer arrays, shape (groups,)
        Where each group begins and ends in that order.
    upto : array, shape (L + 1,)
        Cumulative weights in that order, from zero.
    line : integer array, shape (classes,)
        Line of `joint` of each class so far.
    joint : integer array, shape (lines, L)
        Class after a row has been drawn; one line where the row alone decides it.
    """

    unit: Index
    first: Index
    group: Index
    order: Index
    start: Index
    stop: Index
    upto: Array
    line: Index
    joint: Index

    def drawn(self, so_far: Index, rng: np.random.Generator) -> Index:
        """Class of each observation after this level has been drawn, shape (N,)."""
        group = self.group[so_far[self.first]]
        low, high = self.upto[self.start[group]], self.upto[self.stop[group]]
        at = np.searchsorted(self.upto, low + (high - low) * rng.random(len(group)), side="right") - 1
        row = self.order[np.clip(at, self.start[group], self.stop[group] - 1)]
        return self.joint[self.line[so_far], row[self.unit]]


@dataclass(frozen=True, eq=False)
class Effects:
    """Random effects of one factor: their columns at every point, shape (P, r), a root of their covariance, (r, s)."""

    factor: str
    names: tuple[str, ...]
    Z: Array
    root: Array
    unit: Index  # (N,)

    def drawn(self, row: Index, rng: np.random.Generator) -> Array:
        """What they add to the linear predictors, shape (N,)."""
        effects = rng.standard_normal((int(self.unit.max()) + 1, self.root.shape[1])) @ self.root.T
        return np.asarray(np.einsum("ij,ij->i", self.Z[row], effects[self.unit]))


@dataclass(frozen=True, eq=False)
class DataLaw:
    """The law of the data that a design will give.

    Attributes
    ----------
    model : MixedModel
    names : tuple of str
        Fixed-effect names, p of them.
    beta : array, shape (p,)
    dispersion : float
    points : DataFrame
        Every value that all covariates may take together, P rows.
    X : array, shape (P, p)
    offset, trials : arrays, shape (P,)
    base : integer array, shape (N,)
        The first of the points that an observation may be made at.
    stages : tuple of Stage
        The levels of the observed covariates.
    effects : tuple of Effects
        A random term for each factor of the model.
    units : mapping from factor to integer array, shape (N,)
        Units of the layout.
    """

    model: MixedModel
    names: tuple[str, ...]
    beta: Array
    dispersion: float
    points: pd.DataFrame
    X: Array
    offset: Array
    trials: Array
    base: Index
    stages: tuple[Stage, ...]
    effects: tuple[Effects, ...]
    units: Mapping[str, Index]

    def draw(self, rng: np.random.Generator) -> tuple[Index, Array]:
        """A data set: the point at which each observation is made, and the responses, both of shape (N,)."""
        seen = np.zeros(len(self.base), dtype=np.intp)
        for stage in self.stages:
            seen = stage.drawn(seen, rng)
        row = self.base + seen
        eta = self.X[row] @ self.beta + self.offset[row]
        for effects in self.effects:
            eta = eta + effects.drawn(row, rng)
        return row, self._responses(eta, self.trials[row], rng)

    def _responses(self, eta: Array, trials: Array, rng: np.random.Generator) -> Array:
        with np.errstate(over="ignore"):
            mean = self.model.link_function.mean(eta)
        if not np.abs(mean).max() < LARGEST_MEAN:
            raise SpecificationError(
                f"the nominal values draw a response with the mean {mean.max():.3g}: check the random effects' "
                "variances, and the units of the covariates."
            )
        return draw_totals(self.model.distribution, mean, trials, self.dispersion, rng)

    def frame(self, row: Index, response: Array) -> pd.DataFrame:
        """A data set as a table: units from one on, covariates, response."""
        table = beside(self.points.iloc[row].reset_index(drop=True), self.units)
        for place, (factor, unit) in enumerate(self.units.items()):
            table.insert(place, factor, 1 + unit)
        return table.assign(**{self.model.parsed.response: response})


def draw_data(
    model: MixedModel, nominal: NominalValues, design: Design, seed: int | np.random.Generator
) -> pd.DataFrame:
    """One data set drawn from a model at its nominal values, on a design.

    Numbers of units and of observations are those of the design, rounded where they are not whole. Covariates that
    are set are realised as exactly as whole numbers allow, those observed are drawn from their law: once per unit,
    per cell or per observation.

    Parameters
    ----------
    model : MixedModel
        Its response must be a column, not a function of one.
    nominal : NominalValues
    design : Design
    seed : int or numpy Generator

    Returns
    -------
    DataFrame
        A row per observation: labels of its units, covariates, and the response under its own name.

    Raises
    ------
    SpecificationError
        For nominal values or a design that do not fit the model, or a response whose mean overflows.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("seizures ~ visit + (1 | patient)", family="poisson")
    >>> guess = NominalValues([1.0, -0.1], {"patient": 0.3})
    >>> design = Design(Nested("patient"), counts={"patient": 2}, replicates=2, measure=Measure.grid(visit=[0, 1]))
    >>> draw_data(model, guess, design, seed=1)
       patient  visit  seizures
    0        1      0       3.0
    1        1      1       3.0
    2        2      0       6.0
    3        2      1       3.0
    """
    if not model.parsed.response.isidentifier():
        raise SpecificationError(
            f"data are drawn for a response that is a column; that of '{model.formula}' is "
            f"'{model.parsed.response}'. Give what is drawn a name of its own."
        )
    law = data_law(model, nominal, design)
    return law.frame(*law.draw(np.random.default_rng(seed)))


def data_law(model: MixedModel, nominal: NominalValues, design: Design, seed: int = 0) -> DataLaw:
    """The law of the data of a design; `seed` is that of an incidence which the design does not give."""
    check_kind("model", model, MixedModel)
    check_kind("nominal", nominal, NominalValues)
    check_kind("design", design, Design)
    found, law = realised(design, seed), design.observed or Measure.grid()
    points = found.points.merge(law.points, how="cross")
    encoding, X = fixed_columns(model, nominal.referring_to(design.points.frame), points)
    effects = []
    for factor in model.factors:
        names = encoding.random_names(factor)
        root = psd_root(nominal.matrix(factor, names))
        unit = _units(factor, found)
        effects.append(Effects(factor, names, encoding.random_columns(factor, points), root, unit))
    return DataLaw(
        model,
        encoding.fixed_names,
        nominal.beta_vector(encoding),
        nominal.dispersion,
        points,
        X,
        model.offsets(points),
        model.trials(points),
        found.point * len(law.points),
        _stages(design, found, law),
        tuple(effects),
        dict(found.units),
    )


def _units(factor: str, found: Realised) -> Index:
    """Unit of a model's factor of each observation; ``a:b`` has one for each pair of values, of units or points."""
    columns = []
    for part in factor.split(":"):
        if part not in found.units and part not in found.points:
            known = [*found.units, *names_of(found.points)]
            raise SpecificationError(
                f"the model has random terms for '{factor}', and the design has no '{part}' that is set: it has "
                f"{listed(known)}.{nearest(part, known)}"
            )
        columns.append(found.units[part] if part in found.units else found.points[part].iloc[found.point])
    return kinds(columns, len(found.point))[0]


def _stages(design: Design, found: Realised, law: Measure) -> tuple[Stage, ...]:
    """A stage for each level that has observed covariates, those of single observations last."""
    levels = design.observed_levels
    stages: list[Stage] = []
    so_far, done = np.zeros(len(law.points), dtype=np.intp), np.zeros(len(found.point), dtype=np.intp)
    for factor, unit in _levels(design, found).items():
        own = [c for c in names_of(law.points) if levels.get(c) == factor]
        if own or factor is None:
            stage, so_far = _stage(unit, done, so_far, kinds([law.points[c] for c in own], len(so_far))[0], law.weights)
            stages.append(stage)
            done = kinds([done, unit], len(done))[0]
    return tuple(stages) if design.observed else ()


def _levels(design: Design, found: Realised) -> dict[str | None, Index]:
    """Unit of each observation by level, those of single observations under None."""
    levels: dict[str | None, Index] = {f: kinds([unit], len(unit))[0] for f, unit in found.units.items()}
    if isinstance(design.layout, Crossed):
        levels[design.layout.cell] = _units(design.layout.cell, found)
    return {**levels, None: np.arange(len(found.point))}


def _stage(unit: Index, done: Index, so_far: Index, own: Index, weights: Array) -> tuple[Stage, Index]:
    """How to draw the values `own` of each row of the law, and the classes of rows afterwards.

    A unit that lies in one unit of every level before it has its values drawn given theirs; others, such as columns
    that meet many rows, have them drawn independently.
    """
    first = np.unique(unit, return_index=True)[1]
    within = kinds([unit, done], len(unit))[1] == len(first)
    every = np.arange(int(so_far.max()) + 1)
    group, line = (every, 0 * every) if within else (0 * every, every)
    order = np.argsort(group[so_far], kind="stable")
    stop = np.cumsum(np.bincount(group[so_far]))
    start = np.concatenate([[0], stop[:-1]])
    after, _ = kinds([so_far, own], len(own))
    joint = after[None, :] if within else _combinations(so_far, own, after)
    upto = np.concatenate([[0.0], np.cumsum(weights[order])])
    return Stage(unit, first, group, order, start, stop, upto, line, joint), after


def _combinations(so_far: Index, own: Index, after: Index) -> Index:
    """Class of every class so far with every row of the law, shape (classes, L)."""
    joint = np.full((int(so_far.max()) + 1, int(own.max()) + 1), -1, dtype=np.intp)
    joint[so_far, own] = after
    if (joint < 0).any():
        raise SpecificationError(
            "observed covariates of rows and of columns must be independent of each other, for every row may meet "
            "every column; their law leaves combinations out. Give a covariate of both the level of the cell."
        )
    return joint[:, own]
