"""Where one layout overtakes another: over prices of the second factor's units and over their variance.

The price of a row and the covariance of its effects stay; the price of a column is a multiple of the one, the
covariance of its effects a multiple of the other. Where a layout's closed form reproduces the certified optimum at the
corners of what is asked, it stands for it in between; the optimiser is asked everywhere elsewhere.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.compare import closed_forms
from optdesign.compare.closed_forms import Least
from optdesign.compare.layouts import common_order, units_in_all
from optdesign.costs import Cost
from optdesign.covariance import covariance
from optdesign.criteria import COptimality
from optdesign.designs import DesignSpace
from optdesign.errors import AsymptoticRegimeWarning, InfeasibleBudgetError, SpecificationError, is_number, listed
from optdesign.layouts import Crossed
from optdesign.models import NominalValues
from optdesign.optimize import OptimalDesign
from optdesign.optimize.scoring import loss_at

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
#: Loss of a layout, −log Φ, at a ratio of prices and a ratio of variances.
Loss = Callable[[float, float], float]

#: How far a closed form may be from the certified optimum, relative, to stand for it, and two layouts to be as good.
AGREES, AS_GOOD = 1e-4, 1e-4
#: How far, where the design was found by another order than that by which layouts are judged.
BETWEEN_ORDERS = 0.02
#: Difference of two losses below which they are the same: above what certified optima may be short of theirs.
EQUAL = 1e-5
#: Prices tried in search of the first change of sign, per break-even curve.
STEPS = 25


@dataclass(frozen=True, eq=False, repr=False)
class LayoutMap:
    """Which layout is best where.

    Attributes
    ----------
    names : tuple of str
        Layouts, the one first that is preferred where several are as good.
    factors : tuple of str
        The row and the column.
    cost_ratios : array, shape (C,)
        Price of a column over that of a row.
    variance_ratios : array, shape (V,)
        Variance of the first random effect of columns over that of rows.
    losses : array, shape (L, V, C)
        Minus the logarithm of the efficiency scale.
    """

    names: tuple[str, ...]
    factors: tuple[str, str]
    cost_ratios: Array
    variance_ratios: Array
    losses: Array

    @property
    def efficiencies(self) -> Array:
        """Of each layout relative to the best at the same place, shape (L, V, C); zero where the money buys none."""
        return np.asarray(np.exp(self.losses.min(axis=0) - self.losses))

    @property
    def best(self) -> npt.NDArray[np.intp]:
        """Position of the first layout that none betters by more than a ten-thousandth, shape (V, C)."""
        return np.asarray(np.argmax(self.efficiencies > 1.0 - AS_GOOD, axis=0), dtype=np.intp)

    @property
    def shares(self) -> dict[str, float]:
        """On which share of the places each layout is best."""
        return {name: float(np.mean(self.best == at)) for at, name in enumerate(self.names)}

    def to_frame(self) -> pd.DataFrame:
        """A row per place: both ratios, the best layout and the efficiency of each."""
        import pandas as pd

        variance, cost = np.meshgrid(self.variance_ratios, self.cost_ratios, indexing="ij")
        frame = pd.DataFrame({"cost ratio": cost.ravel(), "variance ratio": variance.ravel()})
        frame["best"] = np.array(self.names)[self.best.ravel()]
        return frame.assign(**dict(zip(self.names, self.efficiencies.reshape(len(self.names), -1), strict=True)))

    def __repr__(self) -> str:
        words = ", ".join(f"{name} in {share:.0%}" for name, share in self.shares.items() if share)
        return f"LayoutMap of {self.best.size} places over price and variance of '{self.factors[1]}': best is {words}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def layout_map(
    designs: Mapping[str, OptimalDesign], cost_ratios: Sequence[float], variance_ratios: Sequence[float]
) -> LayoutMap:
    """The best layout at each ratio of prices and each ratio of variances.

    Parameters
    ----------
    designs : mapping from name to OptimalDesign
        As `alternatives` gives them: their question is asked again with other prices and variances.
    cost_ratios : sequence of float
        Price of a unit of the second factor over that of the first, whose price stays.
    variance_ratios : sequence of float
        Variance of the first random effect of the second factor over that of the first, whose covariance stays; a
        covariance matrix is scaled as a whole.

    Returns
    -------
    LayoutMap

    Raises
    ------
    SpecificationError
        For ratios that are not positive, prices of units that are not numbers, or a factor without random effects.
    InfeasibleBudgetError
        Where the money buys none of the layouts at some place.

    Examples
    --------
    A mean: the factor of which more units are wanted is the inner one.

    >>> from optdesign import Cost, Crossed, DesignSpace, MixedModel, alternatives
    >>> designs = alternatives(MixedModel("y ~ 1 + (1 | subject) + (1 | item)"),
    ...                        NominalValues([0.0], {"subject": 0.6, "item": 0.3}, 1.1),
    ...                        DesignSpace(Crossed("subject", "item")), COptimality({"Intercept": 1.0}),
    ...                        Cost({"subject": 10.0, "item": 5.0}, observation=1.0), 2_000.0,
    ...                        layouts=["complete crossing", "item in subject", "subject in item"])
    >>> layout_map(designs, [0.1, 1.0], [0.5]).to_frame()["best"].tolist()
    ['item in subject', 'subject in item']
    """
    costs, variances = _ratios("cost_ratios", cost_ratios), _ratios("variance_ratios", variance_ratios)
    corners = list(itertools.product((costs.min(), costs.max()), (variances.min(), variances.max())))
    losses = [_loss_of(designs, name, corners) for name in designs]
    values = np.array([[[loss(c, v) for c in costs] for v in variances] for loss in losses])
    if np.isinf(values).all(axis=0).any():
        raise InfeasibleBudgetError(
            f"at a price ratio of up to {costs.max():g} the money buys none of the layouts at some places: lower "
            "cost_ratios, or raise the budget."
        )
    return LayoutMap(tuple(designs), factors_of(designs), costs, variances, values)


def break_even(
    designs: Mapping[str, OptimalDesign],
    first: str,
    second: str,
    variance_ratios: Sequence[float],
    between: tuple[float, float] = (0.01, 100.0),
) -> pd.DataFrame:
    """The ratios of prices at which one layout overtakes another.

    Parameters
    ----------
    designs : mapping from name to OptimalDesign
    first, second : str
        Names of two of them.
    variance_ratios : sequence of float
        As for `layout_map`.
    between : (lowest, highest)
        Ratios of prices that are looked at, 25 of them before each root is found.

    Returns
    -------
    DataFrame
        A row per root: `variance ratio`, `cost ratio`, and the layout that is better at `higher` prices. Where there is
        none, one layout is better, or both are as good, at all prices.

    Raises
    ------
    SpecificationError
        As for `layout_map`.

    Examples
    --------
    Of a mean, where variance per price of rows is that of columns:

    >>> from optdesign import Cost, Crossed, DesignSpace, MixedModel, alternatives
    >>> designs = alternatives(MixedModel("y ~ 1 + (1 | subject) + (1 | item)"),
    ...                        NominalValues([0.0], {"subject": 0.6, "item": 0.3}, 1.1),
    ...                        DesignSpace(Crossed("subject", "item")), COptimality({"Intercept": 1.0}),
    ...                        Cost({"subject": 10.0, "item": 5.0}, observation=1.0), 2_000.0,
    ...                        layouts=["item in subject", "subject in item"])
    >>> break_even(designs, "item in subject", "subject in item", [0.25]).round(4).to_dict("records")
    [{'variance ratio': 0.25, 'cost ratio': 0.25, 'higher': 'subject in item'}]
    """
    import pandas as pd

    for name in (first, second):
        if name not in designs:
            raise SpecificationError(f"'{name}' is not one of the designs: {listed(designs)}.")
    variances, ends = _ratios("variance_ratios", variance_ratios), _ratios("between", between)
    corners = list(itertools.product(ends, (variances.min(), variances.max())))
    one, other = (_loss_of(designs, name, corners) for name in (first, second))
    rows = []
    for v in variances:
        for root, rising in _roots(partial(_excess, one, other, v), np.log(ends)):
            higher = second if rising else first
            rows.append({"variance ratio": v, "cost ratio": float(np.exp(root)), "higher": higher})
    return pd.DataFrame(rows, columns=["variance ratio", "cost ratio", "higher"])


def _excess(one: Loss, other: Loss, variance_ratio: float, log_cost_ratio: float) -> float:
    cost_ratio = float(np.exp(log_cost_ratio))
    return one(cost_ratio, variance_ratio) - other(cost_ratio, variance_ratio)


def _roots(excess: Callable[[float], float], ends: Array) -> list[tuple[float, bool]]:
    """Where a function changes its sign by more than rounding, and whether it rises there."""
    from scipy.optimize import brentq

    at = np.linspace(ends[0], ends[1], STEPS)
    with np.errstate(invalid="ignore"):  # where the money buys neither
        values = np.array([excess(y) for y in at])
    told = np.isfinite(values) & (np.abs(values) > EQUAL)  # a root may be one of the points
    at, values = at[told], values[told]
    return [
        (float(brentq(excess, a, b, xtol=1e-10)), bool(high > low))
        for a, b, low, high in zip(at, at[1:], values, values[1:], strict=False)
        if low * high < 0
    ]


def factors_of(designs: Mapping[str, OptimalDesign]) -> tuple[str, str]:
    """The row and the column: the factors of the first layout, in its order."""
    layout = next(iter(designs.values())).space.layout
    if layout is None or len(layout.factors) != 2:
        raise SpecificationError(f"layouts of two factors are needed; got {layout!r}.")
    return layout.factors[0], layout.factors[1]


def _ratios(what: str, values: Sequence[float]) -> Array:
    if not (len(values) and all(is_number(value) and value > 0 for value in values)):
        raise SpecificationError(f"{what} must be positive numbers; got {list(values)}.")
    return np.array(values, dtype=float)


def _loss_of(designs: Mapping[str, OptimalDesign], name: str, corners: Sequence[tuple[float, float]]) -> Loss:
    """Loss of a layout: by its closed form where that is as good as the optimiser at the corners."""
    best, asked = designs[name], _Asked(designs[name], factors_of(designs), common_order(designs))
    optimised = cache(asked.optimised)
    combination = best.criterion.combination if isinstance(best.criterion, COptimality) else None
    if not isinstance(combination, Mapping):
        return optimised
    closed = asked.closed(combination)
    # Designed by another order, the optimum may be short of the closed form's by what the orders differ.
    short = AGREES if best.order == asked.order else BETWEEN_ORDERS
    gaps = np.array([optimised(*corner) - closed(*corner) for corner in corners])
    gaps = gaps[np.isfinite(gaps)]
    if len(gaps) == 0 or (gaps < -AGREES).any() or (gaps > short).any():
        return optimised
    return lambda cost_ratio, variance_ratio: _first_finite(closed, optimised, cost_ratio, variance_ratio)


def _first_finite(closed: Loss, optimised: Loss, cost_ratio: float, variance_ratio: float) -> float:
    loss = closed(cost_ratio, variance_ratio)
    return loss if np.isfinite(loss) else optimised(cost_ratio, variance_ratio)


@dataclass(frozen=True, eq=False)
class _Asked:
    """A layout's question at other ratios of prices and variances."""

    best: OptimalDesign
    factors: tuple[str, str]
    order: str

    def cost(self, ratio: float) -> Cost:
        """Prices with that of a column at a ratio to that of a row."""
        row, column = self.factors
        price = self.best.cost.units.get(row, 0.0)
        if isinstance(price, str) or not price > 0:
            raise SpecificationError(
                f"a ratio of prices needs a positive number as the price of '{row}'; got {price!r}."
            )
        return replace(self.best.cost, units={**self.best.cost.units, column: ratio * price})

    def nominal(self, ratio: float) -> NominalValues:
        """Nominal values with the first variance of columns at a ratio to that of rows."""
        matrices = self.best.nominal.covariance
        missing = [factor for factor in self.factors if factor not in matrices]
        if missing:
            raise SpecificationError(
                f"a ratio of variances needs random effects of both factors; {listed(missing)} has none."
            )
        row, column = (np.atleast_2d(np.asarray(matrices[factor], dtype=float)) for factor in self.factors)
        scaled = column * ratio * row[0, 0] / column[0, 0]
        return replace(self.best.nominal, covariance={**matrices, self.factors[1]: scaled})

    def optimised(self, cost_ratio: float, variance_ratio: float) -> float:
        """Loss of the certified optimum; infinite where the money buys none."""
        changed = {"cost": self.cost(cost_ratio), "nominal": self.nominal(variance_ratio)}
        try:
            with warnings.catch_warnings():  # of each place on the map, they would only drown the others
                warnings.simplefilter("ignore", AsymptoticRegimeWarning)
                there = self.best.again(**changed)
        except InfeasibleBudgetError:
            return np.inf
        return loss_at(replace(there.problem, order=self.order), there.design)

    def closed(self, combination: Mapping[str, float]) -> Loss:
        """Loss by the closed form at the covariate laws of the design; infinite where bounds on numbers would bind."""
        parts, least = cache(partial(self._parts, combination)), _least_of(self.best.space, self.factors)

        def loss(cost_ratio: float, variance_ratio: float) -> float:
            cost = self.cost(cost_ratio)
            prices = [float(cost.units[factor]) for factor in self.factors] + [cost.cell, self._observation_price()]
            found = least(parts(variance_ratio), np.array(prices), self.best.budget - cost.fixed)
            return float(np.log(found.variance)) if self._allows(found.numbers) else np.inf

        return loss

    def _parts(self, combination: Mapping[str, float], variance_ratio: float) -> Array:
        """α, α' and s of the variance α/m + α'/m' + s/N, shape (3,)."""
        design = self.best.design
        found = covariance(self.best.model, self.nominal(variance_ratio), design, self.order)
        at = [found.position(name) for name in combination]
        weights = np.array(list(combination.values()), dtype=float)
        whole = found.variance(combination)
        units = [weights @ (found.terms or {})[factor][np.ix_(at, at)] @ weights for factor in self.factors]
        numbers = np.array([*(design.counts[factor] for factor in self.factors), design.observations])
        parts = np.asarray([*units, whole - sum(units)] * numbers)
        return np.asarray(np.maximum(parts, 0.0))  # what cancels leaves rounding errors of either sign

    def _observation_price(self) -> float:
        """Mean price of an observation."""
        points = self.best.design.points
        return float(points.observations @ self.best.cost.of_observations(points.frame) / points.observations.sum())

    def _allows(self, numbers: Array) -> bool:
        """Whether the space allows (m, m', N)."""
        space, (rows, columns, observations) = self.best.space, numbers
        cells = (
            rows * columns if space.crossing == "complete" and isinstance(space.layout, Crossed) else max(rows, columns)
        )
        inside = [_inside(n, *units_in_all(space, f)) for n, f in zip((rows, columns), self.factors, strict=True)]
        return all(inside) and _inside(observations / cells, *space.replicate_bounds)


def _inside(number: float, low: float, high: float) -> bool:
    return bool(max(low, 1.0) * (1 - 1e-9) <= number <= high * (1 + 1e-9))


def _least_of(space: DesignSpace, factors: tuple[str, str]) -> Callable[[Array, Array, float], Least]:
    """The closed form of a layout."""
    if isinstance(space.layout, Crossed):
        return closed_forms.complete if space.crossing == "complete" else closed_forms.incomplete
    assert space.layout is not None  # it has the two factors
    outer, inner = space.layout.factors
    if space.count_bounds(inner) == (1.0, 1.0):
        return closed_forms.pairs
    return closed_forms.column_in_row if outer == factors[0] else closed_forms.row_in_column
