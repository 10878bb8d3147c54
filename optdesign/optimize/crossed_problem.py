"""Crossed designs as a problem in numbers of units and shares of covariate values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.costs import Cost
from optdesign.covariance import AsymptoticCovariance, covariance
from optdesign.criteria import BoundCriterion
from optdesign.designs import Design, DesignSpace, Share, distinct
from optdesign.errors import InfeasibleBudgetError, NotEstimableError, SpecificationError, listed
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
#: By how much rounding may make shares miss a bound.
ROUNDING = 1e-6


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
class ShareBounds:
    """``lowest <= matrix @ s <= highest`` for the shares s of the values of rows, columns and others, in that order.

    `unity`, shape (levels, shares), adds up the shares of each level.
    """

    unity: Array
    matrix: Array
    lowest: Array
    highest: Array

    def hold(self, shares: Shares) -> bool:
        """Whether shares keep them, but for rounding."""
        value = self.matrix @ np.concatenate(shares)
        return bool(((value >= self.lowest - ROUNDING) & (value <= self.highest + ROUNDING)).all())

    def conditions(self) -> list[dict[str, Any]]:
        """Them, and that the shares of each level add up to one, as sequential quadratic programming takes them."""
        exact = self.lowest == self.highest
        equal = np.vstack([self.unity, self.matrix[exact]])
        level = np.append(np.ones(len(self.unity)), self.lowest[exact])
        above = np.vstack([self.matrix[~exact], -self.matrix[~exact]])
        least = np.append(self.lowest[~exact], -self.highest[~exact])
        found = [{"type": "eq", "fun": lambda s: equal @ s - level, "jac": lambda _: equal}]
        unequal = {"type": "ineq", "fun": lambda s: above @ s - least, "jac": lambda _: above}
        return [*found, unequal] if len(above) else found

    def nearest(self, shares: Shares) -> Shares:
        """The nearest shares that keep them; `SpecificationError` where none do."""
        from scipy.optimize import minimize

        start, ends = np.concatenate(shares), np.cumsum([len(each) for each in shares])[:-1]
        found = minimize(
            lambda s: float((s - start) @ (s - start)),
            start,
            jac=lambda s: 2.0 * (s - start),
            bounds=[(0.0, 1.0)] * len(start),
            constraints=self.conditions(),
            method="SLSQP",
        )
        first, second, third = np.split(np.maximum(found.x, 0.0), ends)
        if not self.hold((first, second, third)):
            raise SpecificationError("no shares keep all the bounds of constraints= at once. Widen one of them.")
        return first, second, third


def share_bounds(space: DesignSpace, values: Values) -> ShareBounds:
    """The bounds on shares, each on the values of one level.

    Raises
    ------
    SpecificationError
        For a condition that depends on covariates of several levels.
    """
    frame = values.measure(values.even()).points
    rows, shares = [], [each for each in space.constraints if isinstance(each, Share)]
    for share in shares:
        holds = share.holds(frame).reshape(values.sizes)
        along = [axis for axis in range(3) if (np.ptp(holds, axis=axis) > 0).any()]
        if len(along) > 1:
            raise SpecificationError(
                f"Share('{share.condition}'): in a crossed layout the condition must be on covariates of rows, of "
                "columns, or of cells and observations, and not on several of these."
            )
        rows.append(np.concatenate([_along(holds, axis, axis in (along or [2])) for axis in range(3)]))
    bounds = np.array([(share.at_least, share.at_most) for share in shares]).reshape(-1, 2)
    unity = np.repeat(np.eye(3), values.sizes, axis=1)
    return ShareBounds(unity, np.array(rows).reshape(len(rows), sum(values.sizes)), *bounds.T)


def _along(table: Array, axis: int, used: bool) -> Array:
    """Values of a table along its one axis of change, or zeros."""
    line = np.moveaxis(table, axis, 0).reshape(table.shape[axis], -1)[:, 0]
    return line if used else np.zeros_like(line)


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
    budgets : tuple of (name, Cost, amount)
        The budget, called ``""``, and further limits, each less its fixed costs.
    """

    model: MixedModel
    nominals: tuple[NominalValues, ...]
    space: DesignSpace
    layout: Crossed
    values: Values
    criterion: BoundCriterion
    budgets: tuple[tuple[str, Cost, float], ...]
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
    def share_bounds(self) -> ShareBounds:
        """Bounds on the shares."""
        return share_bounds(self.space, self.values)

    @cached_property
    def price_tables(self) -> Array:
        """Prices by values as shares of each budget, shape (budgets, 4, rows, columns, others).

        Of a row, a column, a cell and an observation.
        """
        return np.array([price_tables(self.space, self.layout, cost) / amount for _, cost, amount in self.budgets])

    def prices(self, shares: Shares) -> Array:
        """Mean price of a row, a column, a cell and an observation as shares of each budget, shape (budgets, 4)."""
        return np.asarray(np.einsum("bprco,r,c,o->bp", self.price_tables, *shares))

    @property
    def cost(self) -> Cost:
        """What the budget pays for."""
        return self.budgets[0][1]

    def cheapest(self) -> float:
        """Price of the smallest design within the bounds, at equal shares and without fixed costs."""
        return float(self.least_spent()[0]) * self.budgets[0][2]

    def least_spent(self) -> Array:
        """Share of each budget that the smallest design within the bounds takes, at equal shares of the values."""
        counts = self._at_equal_shares
        return np.asarray(counts.payments(counts.numbers(counts.cheapest)).sum(axis=-1))

    @cached_property
    def _at_equal_shares(self) -> CountProblem:
        """Prices and bounds at equal shares; nothing is estimated."""
        return self.counts(self.values.even(), Parts(np.zeros((1, 3, 1, 1)), True))

    @property
    def names(self) -> tuple[str, ...]:
        """What each logarithm of the problem in numbers counts."""
        return (*self.layout.factors, *([] if self.bounds.complete else ["cells"]), "replicates")

    def require_affordable(self) -> None:
        """Every budget must buy the smallest design, and they must limit every number.

        Raises
        ------
        InfeasibleBudgetError
            With the price of the smallest design.
        SpecificationError
            Where something useful costs nothing.
        """
        for (name, _, money), share in zip(self.budgets, self.least_spent(), strict=True):
            if share > 1 + 1e-12:
                price, what = share * money, f"the amount of limits['{name}']" if name else "the budget"
                raise InfeasibleBudgetError(
                    f"after fixed costs {money:,.2f} is left of {what}, and the cheapest design within the bounds "
                    f"costs {price:,.2f}. Raise it by at least {price - money:,.2f}, or lower the bounds on counts, "
                    "cells or replicates.",
                    price,
                )
        highest = self._at_equal_shares.box[1]
        unlimited = [name for name, high in zip(self.names, highest, strict=True) if not np.isfinite(high)]
        if unlimited:
            raise SpecificationError(
                f"nothing limits the number of {listed(unlimited)}: give it a price, or a highest value in counts, "
                "cells or replicates."
            )

    def counts(self, shares: Shares, parts: Parts) -> CountProblem:
        """The problem in numbers at these shares, with as many units as there are kinds of them at least."""
        kinds = np.array([np.count_nonzero(shares[0]), np.count_nonzero(shares[1]), 1, 1])
        low = np.minimum(np.maximum(self.bounds.lowest, kinds), self.bounds.highest)
        bounds = replace(self.bounds, lowest=low)
        return CountProblem(self.criterion, parts.matrices, self.prices(shares), bounds)

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
