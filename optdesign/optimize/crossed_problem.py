"""Crossed designs as a problem in numbers of units and shares of covariate values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.costs import Cost
from optdesign.covariance import AsymptoticCovariance, covariance
from optdesign.criteria import BoundCriterion
from optdesign.designs import Design, DesignSpace, distinct
from optdesign.errors import NotEstimableError, SpecificationError, listed
from optdesign.layouts import Crossed
from optdesign.measures import Measure, names_of
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize.crossed_counts import CountBounds, CountProblem

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Shares = tuple[Array, Array, Array]

#: Relative difference of the parts of the covariance at two sets of numbers below which they count as constant.
HOMOGENEOUS = 1e-6


@dataclass(frozen=True, eq=False)
class Values:
    """Chosen covariate values of rows, of columns, and of cells and observations: a design gives each a share.

    Attributes
    ----------
    frames : three DataFrames
        Distinct values of the covariates of each level; one row without columns where there are none.
    """

    frames: tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of values of each level."""
        first, second, third = (len(frame) for frame in self.frames)
        return first, second, third

    def even(self) -> Shares:
        """Equal shares."""
        first, second, third = (np.full(size, 1.0 / size) for size in self.sizes)
        return first, second, third

    def measure(self, shares: Shares) -> Measure:
        """The product of the three laws."""
        rows, columns, cells = (Measure(f, s) for f, s in zip(self.frames, shares, strict=True))
        return rows * columns * cells


def values_of(space: DesignSpace, layout: Crossed) -> Values:
    """Candidates by level.

    Raises
    ------
    SpecificationError
        Where they are not all combinations of the values of the three levels.
    """
    points = space.candidates.points
    names = names_of(points)
    own = [[c for c in names if space.levels.get(c) == factor] for factor in layout.factors]
    other = [c for c in names if c not in own[0] + own[1]]
    first, second, third = (distinct(points, columns)[0] for columns in (*own, other))
    values = Values((first, second, third))
    if len(points) < np.prod(values.sizes):
        raise SpecificationError(
            f"candidates of a crossed layout must be all combinations of the values of {listed(own[0])} (rows), of "
            f"{listed(own[1])} (columns) and of {listed(other)} (cells and observations): there are {len(points)} of "
            f"{np.prod(values.sizes)}."
        )
    return values


def price_tables(space: DesignSpace, layout: Crossed, cost: Cost) -> Array:
    """Prices of a row, a column, a cell and an observation by their values, shape (4, rows, columns, others)."""
    values, law = values_of(space, layout), space.observed or Measure.grid()
    frame = (values.measure(values.even()) * law).points
    rows, columns = (cost.of_units(factor, frame) for factor in layout.factors)
    each = [rows, columns, np.full(len(frame), cost.cell), cost.of_observations(frame)]
    return np.array([price.reshape(*values.sizes, -1) @ law.weights for price in each])


@dataclass(frozen=True, eq=False)
class Parts:
    """Λ, Λ' and T of the covariance Λ/m + Λ'/m' + T/N at given shares.

    Attributes
    ----------
    matrices : array, shape (S, 3, p, p)
        In each scenario.
    constant : bool
        Whether they are the same at all numbers of units; otherwise they hold at one.
    """

    matrices: Array
    constant: bool


@dataclass(frozen=True, eq=False)
class CrossedProblem:
    """What was asked, tied together.

    Attributes
    ----------
    nominals : tuple of NominalValues
        Of each scenario of the criterion.
    money : float
        The budget less fixed costs.
    """

    model: MixedModel
    nominals: tuple[NominalValues, ...]
    space: DesignSpace
    layout: Crossed
    values: Values
    criterion: BoundCriterion
    cost: Cost
    money: float
    order: str

    @property
    def bounds(self) -> CountBounds:
        """Bounds on (m, m', K, n): one of each at least."""
        ends = [self.space.count_bounds(factor) for factor in self.layout.factors]
        low, high = np.array([*ends, self.space.cell_bounds, self.space.replicate_bounds]).T
        return CountBounds(np.maximum(low, 1.0), high, self.space.crossing == "complete")

    def design(self, shares: Shares, numbers: Array) -> Design:
        """The design with these shares and (m, m', K, n)."""
        rows, columns, cells, replicates = np.maximum(numbers, self.bounds.lowest).tolist()
        biregular = self.space.crossing == "biregular"
        return Design(
            self.layout,
            counts=dict(zip(self.layout.factors, (rows, columns), strict=True)),
            replicates=replicates,
            measure=self.values.measure(shares),
            levels=self.space.levels,
            observed=self.space.observed,
            crossing=self.space.crossing,
            cells=min(max(cells, rows, columns), rows * columns) if biregular else None,
        )

    def covariances(self, shares: Shares, numbers: Array, order: str) -> list[AsymptoticCovariance]:
        """Covariance of the fixed effects in each scenario."""
        design = self.design(shares, numbers)
        return [covariance(self.model, nominal, design, order) for nominal in self.nominals]

    def loss(self, shares: Shares, numbers: Array) -> float:
        """−log Φ of a design; ``inf`` where it does not estimate what the criterion needs."""
        return self.criterion.loss_at([found.matrix for found in self.covariances(shares, numbers, self.order)])

    @cached_property
    def price_tables(self) -> Array:
        """Prices of a row, a column, a cell and an observation by their values, shape (4, rows, columns, others)."""
        return price_tables(self.space, self.layout, self.cost)

    def prices(self, shares: Shares) -> Array:
        """Mean price of a row, a column, a cell and an observation, shape (4,)."""
        return np.asarray(np.einsum("prco,r,c,o->p", self.price_tables, *shares))

    def cheapest(self) -> float:
        """Price of the smallest design within the bounds, at equal shares and without fixed costs."""
        none = Parts(np.zeros((1, 3, 1, 1)), True)
        counts = self.counts(self.values.even(), none)
        return float(counts.payments(counts.numbers(counts.cheapest)).sum()) * self.money

    def counts(self, shares: Shares, parts: Parts) -> CountProblem:
        """The problem in numbers at these shares, with as many units as there are kinds of them at least."""
        kinds = np.array([np.count_nonzero(shares[0]), np.count_nonzero(shares[1]), 1, 1])
        low = np.minimum(np.maximum(self.bounds.lowest, kinds), self.bounds.highest)
        bounds = replace(self.bounds, lowest=low)
        return CountProblem(self.criterion, parts.matrices, self.prices(shares) / self.money, bounds)

    @cached_property
    def references(self) -> tuple[Array, Array]:
        """Two sets of numbers, unlike in every respect that the bounds leave open."""
        low, high = (float(np.clip(n, self.bounds.lowest[3], self.bounds.highest[3])) for n in (1.0, 3.0))
        return np.array([40.0, 40.0, 1600.0, low]), np.array([20.0, 90.0, 1800.0, high])

    def parts(self, shares: Shares, order: str) -> Parts:
        """Parts of the covariance, and whether they are constant.

        Raises
        ------
        NotEstimableError
            Where a coefficient is not estimable at these shares.
        """
        here, there = (self.parts_at(shares, numbers, order) for numbers in self.references)
        scale = np.sqrt(np.diagonal(here.sum(axis=1), axis1=1, axis2=2))
        close = np.abs(here - there) <= HOMOGENEOUS * (scale[:, :, None] * scale[:, None, :])[:, None]
        return Parts(here, bool(close.all()))

    def parts_at(self, shares: Shares, numbers: Array, order: str) -> Array:
        """Λ, Λ' and T of each scenario at one set of numbers, shape (S, 3, p, p)."""
        return np.stack([self._parts(found, numbers) for found in self.covariances(shares, numbers, order)])

    def _parts(self, found: AsymptoticCovariance, numbers: Array) -> Array:
        if found.inestimable or found.terms is None:
            raise NotEstimableError(
                f"{listed(found.inestimable)} cannot be estimated from the candidates: they do not vary in the "
                "direction it needs. Add values at which its column differs from the other columns, or leave it out.",
                found.inestimable,
            )
        none = np.zeros_like(found.matrix)
        rows, columns = (found.terms.get(factor, none) for factor in self.layout.factors)
        others = found.matrix - rows - columns
        return np.stack([rows * numbers[0], columns * numbers[1], others * numbers[2] * numbers[3]])
