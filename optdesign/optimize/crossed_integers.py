"""Whole numbers of rows, columns, cells and replicates: enumeration of all that can be better than a level.

The tangents that prove the continuous bound also box in every affordable design with a loss of at most a level. The
level is raised until the best whole design inside its box reaches it: none outside can be better. Along the budget the
last number is the largest affordable one, as no loss grows with it: of columns in a complete crossing, of replicates
elsewhere.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optdesign.optimize.crossed_counts import CountOptimum, CountProblem, level_box

Array = npt.NDArray[np.float64]

#: First level of loss above the continuous optimum, times the smaller number of units, and by how much it is raised.
FIRST_LEVEL, RAISE = 0.05, 4.0
#: Added to the box on each side, in logarithms: more than the tolerance of the linear programs.
MARGIN = 1e-5
#: Whole designs looked at in one box, at most.
MOST_WHOLE = 4_000_000


def whole_designs(problem: CountProblem, optimum: CountOptimum, wanted: int = 1) -> tuple[Array, bool]:
    """At least so many whole (m, m', K, n) in order of loss, if the money buys them; and whether the first is the best.

    Ties go to fewer replicates. Empty where the money buys none.
    """
    best, tangents, centre = problem.loss(optimum.y), optimum.tangents, problem.numbers(optimum.y)
    level = FIRST_LEVEL / float(centre[:2].min())
    width = problem.box[1] - problem.box[0]
    while True:
        low, high, tangents = level_box(problem, tangents, best + level)
        numbers, everything = whole_numbers(problem, np.exp(low - MARGIN), np.exp(high + MARGIN), centre)
        losses = problem.losses(numbers)
        order = np.lexsort((numbers[:, 3], np.round(losses, 12)))
        reached = bool(len(numbers)) and losses[order[0]] <= best + level
        if (reached and len(numbers) >= wanted) or not everything or (high - low >= width - 1e-9).all():
            return numbers[order], everything
        level *= RAISE


def whole_numbers(problem: CountProblem, low: Array, high: Array, centre: Array) -> tuple[Array, bool]:
    """Admissible whole (m, m', K, n) that the money buys, within a box of the free numbers; and whether these are all.

    Where there are too many, those around a centre. The last number is the largest affordable one, perhaps outside the
    box: such designs are as good a find.
    """
    make = _complete if problem.bounds.complete else _biregular
    numbers, everything = make(problem, np.ceil(low), np.floor(high), centre)
    fits = problem.bounds.hold(numbers) & (problem.spent(np.maximum(numbers, 1.0)) <= 1 + 1e-12)
    return numbers[fits], everything


def _grid(low: Array, high: Array, centre: Array) -> tuple[list[Array], bool]:
    """All combinations of whole numbers between bounds, flat; of those around the centre where there are too many."""
    everything = bool(np.prod(np.maximum(high - low + 1, 0)) <= MOST_WHOLE)
    reach = np.inf if everything else np.floor(MOST_WHOLE ** (1 / len(low)) / 2)
    low, high = np.maximum(low, np.floor(centre) - reach), np.minimum(high, np.ceil(centre) + reach)
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    return [axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], everything


def _largest(money: Array, price: Array, highest: float) -> Array:
    """Largest whole number of something that what is left of each budget buys, from shape (budgets, n) to (n,)."""
    bought = np.floor(money / np.where(price > 0, price, 1.0) * (1 + 1e-12))
    return np.asarray(np.minimum(np.where(price > 0, bought, np.inf).min(axis=0), np.floor(highest)))


def _complete(problem: CountProblem, low: Array, high: Array, centre: Array) -> tuple[Array, bool]:
    (rows, replicates), everything = _grid(low[[0, 2]], high[[0, 2]], centre[[0, 3]])
    row, column, cell, observation = problem.prices.T[:, :, None]
    each = column + (cell + observation * replicates) * rows
    columns = _largest(1.0 - row * rows, each, problem.bounds.highest[1])
    return np.stack([rows, columns, rows * columns, replicates], axis=1), everything


def _biregular(problem: CountProblem, low: Array, high: Array, centre: Array) -> tuple[Array, bool]:
    """Cells are multiples of both numbers of units: as many in every row, and as many in every column."""
    (rows, columns), everything = _grid(low[:2], high[:2], centre[:2])
    step = np.lcm(rows.astype(np.int64), columns.astype(np.int64)).astype(float)
    first, last = np.ceil(low[2] / step), np.floor(np.minimum(high[2], rows * columns) / step)
    times = np.maximum(last - first + 1, 0).astype(np.intp)
    at = np.repeat(np.arange(len(rows)), times)
    rank = np.arange(len(at)) - np.repeat(np.cumsum(times) - times, times)
    rows, columns, cells = rows[at], columns[at], (first[at] + rank) * step[at]
    row, column, cell, observation = problem.prices.T[:, :, None]
    left = 1.0 - row * rows - column * columns - cell * cells
    replicates = _largest(left, observation * cells, problem.bounds.highest[3])
    return np.stack([rows, columns, cells, replicates], axis=1), everything
