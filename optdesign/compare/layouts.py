"""One question asked in every layout of two factors: who shares a unit of the second one, and who does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from optdesign.costs import Cost
from optdesign.criteria import Criterion
from optdesign.designs import DesignSpace, Total
from optdesign.errors import OptDesignError, SpecificationError, listed, nearest
from optdesign.layouts import Crossed, Nested
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import OptimalDesign, optimize


def alternatives(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str = "two-term",
    layouts: Sequence[str] | None = None,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
) -> dict[str, OptimalDesign]:
    """The best design of each layout for the same money, with the same variance components, for `compare`.

    Parameters
    ----------
    model, nominal, criterion, cost, budget, limits
        As for `optimize`. Units are paid for as each layout uses them: m subjects who answer m' items each buy m' items
        where all answer the same, and m m' where items are private.
    space : DesignSpace
        What may be chosen, in a crossed layout; counts are bounds on units in all, whatever the layout.
    order : str
        As for `optimize`. Units within units of a non-Gaussian model are designed by order ``"averaged"``, as
        there is no proof by any other; `compare` then judges all designs by one order.
    layouts : sequence of str, optional
        Some of the names of `layout_spaces`; all of them by default.

    Returns
    -------
    dict from the name of a layout to OptimalDesign

    Raises
    ------
    SpecificationError
        For an unknown layout, or parts that do not fit together, with the layout.
    NotEstimableError, InfeasibleBudgetError, ConvergenceError
        As for `optimize`, with the layout: leave it out of `layouts` to compare the others.

    Examples
    --------
    The mean of subjects and items, where items are cheap; all subjects could answer the same:

    >>> from optdesign import COptimality
    >>> found = alternatives(MixedModel("y ~ 1 + (1 | subject) + (1 | item)"),
    ...                      NominalValues([0.0], {"subject": 0.6, "item": 0.35}, 1.1),
    ...                      DesignSpace(Crossed("subject", "item")), COptimality({"Intercept": 1.0}),
    ...                      Cost({"subject": 12.0, "item": 2.0}, observation=0.85), 2_000.0)
    >>> {name: round(best.value, 4) for name, best in found.items()}  # doctest: +NORMALIZE_WHITESPACE
    {'complete crossing': 0.0237, 'incomplete crossing': 0.0101, 'item in subject': 0.0101,
     'subject in item': 0.0106, 'repeated measures': 0.0106}
    """
    found = {}
    for name, own_space in named_spaces(space, layouts).items():
        own = "averaged" if isinstance(own_space.layout, Nested) and not model.is_gaussian else order
        try:
            found[name] = optimize(model, nominal, own_space, criterion, cost, budget, own, limits=limits)
        except OptDesignError as error:
            error.args = (f"{name}: {error}",)
            raise
    return found


def named_spaces(space: DesignSpace, layouts: Sequence[str] | None) -> dict[str, DesignSpace]:
    """Some of the layouts' spaces, by name; all of them for None."""
    spaces = layout_spaces(space)
    for name in layouts or ():
        if name not in spaces:
            raise SpecificationError(f"layout '{name}' is not one of {listed(spaces)}.{nearest(str(name), spaces)}")
    return {name: spaces[name] for name in layouts or spaces}


def layout_spaces(space: DesignSpace) -> dict[str, DesignSpace]:
    """What may be chosen in each layout of the two factors of a crossed space, a row and a column, by name.

    * ``complete crossing``: every row meets every column.
    * ``incomplete crossing``: as many columns in every row, and as many rows in every column, as is best.
    * ``column in row`` (with the names of the factors): every row has columns of its own.
    * ``row in column``: every column has rows of its own.
    * ``repeated measures``: every row meets one column, its own, time and again; both vary between the pairs.

    The bounds on counts hold for units in all.

    Raises
    ------
    SpecificationError
        Where the layout of the space is not crossed.

    Examples
    --------
    >>> spaces = layout_spaces(DesignSpace(Crossed("subject", "item"), counts={"item": (1, 24)}))
    >>> spaces["item in subject"].layout, spaces["item in subject"].constraints
    (Nested('subject', 'item'), (Total(expression='1', at_least=1.0, at_most=24.0, of='item'),))
    """
    if not isinstance(space.layout, Crossed):
        raise SpecificationError(
            f"layouts are compared from a space with the layout Crossed(row, column); got {space.layout!r}."
        )
    row, column = space.layout.factors
    return {
        "complete crossing": replace(space, crossing="complete", cells=None),
        "incomplete crossing": replace(space, crossing="biregular"),
        f"{column} in {row}": _nested(space, row, column),
        f"{row} in {column}": _nested(space, column, row),
        "repeated measures": _pairs(space, row, column),
    }


def _nested(space: DesignSpace, outer: str, inner: str) -> DesignSpace:
    """Units of one factor private to those of another; those in all are bounded by a total."""
    low, high = space.count_bounds(inner)
    total = Total("1", low or -np.inf, high, inner) if low > 0 or np.isfinite(high) else None
    return replace(
        space,
        layout=Nested(outer, inner),
        crossing="complete",
        cells=None,
        counts={outer: _one_at_least(space, outer), inner: (1.0, np.inf)},
        constraints=[*space.constraints, *([total] if total else [])],
    )


def _one_at_least(space: DesignSpace, factor: str) -> tuple[float, float]:
    """Bounds on the units of a factor, of which a crossed design has one at least."""
    low, high = space.count_bounds(factor)
    return max(low, 1.0), high


def _pairs(space: DesignSpace, row: str, column: str) -> DesignSpace:
    """One unit of each factor at a time, whose covariates are those of the pair."""
    (low, high), (lowest, highest) = _one_at_least(space, row), _one_at_least(space, column)
    bounds = (max(low, lowest), min(high, highest))
    if bounds[0] > bounds[1]:
        raise SpecificationError(
            f"repeated measures have as many '{row}' as '{column}', which the bounds on counts do not allow."
        )
    levels = dict.fromkeys(space.levels, row)
    return replace(
        space,
        layout=Nested(row, column),
        crossing="complete",
        cells=None,
        levels=levels,
        counts={row: bounds, column: 1.0},
    )


def units_in_all(space: DesignSpace, factor: str) -> tuple[float, float]:
    """Fewest and most units of a factor in all, as `layout_spaces` bounds them."""
    if not isinstance(space.layout, Nested) or factor == space.layout.factors[0]:
        return space.count_bounds(factor)
    if space.count_bounds(factor) == (1.0, 1.0):
        return space.count_bounds(space.layout.factors[0])
    totals = [each for each in space.constraints if isinstance(each, Total) and each.of == factor]
    return (totals[0].at_least, totals[0].at_most) if totals else (1.0, np.inf)


def common_order(designs: Mapping[str, OptimalDesign]) -> str:
    """The order by which designs were found, and two terms where they differ."""
    orders = {best.order for best in designs.values()}
    return orders.pop() if len(orders) == 1 else "two-term"
