"""Least variances of layouts of two factors in closed form, where the variance is α/m + α'/m' + s/N.

Units of a nested layout come in a chain, m ≤ m' ≤ N: at most as many of the outer factor as of the inner one, and of
those as observations. Minimising Σ aᵢ/xᵢ with Σ cᵢxᵢ = B and x₁ ≤ x₂ ≤ … gives (Σ √(A C))²/B over blocks whose terms
share one number, A and C being sums of a and c in a block: terms are pooled, as in isotonic regression, until A/C rises
along the chain. Repeated measures pool the two factors from the start. An incomplete crossing needs as many cells as
there are units of either factor, so that it is the better of the two chains. In a complete crossing the numbers are in
closed form for given replicates, over which one search is left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Most replicates of a cell that are looked at.
MOST_REPLICATES = 1e4


@dataclass(frozen=True, eq=False)
class Least:
    """The least variance, and the numbers of rows, of columns and of observations that reach it, shape (3,)."""

    variance: float
    numbers: Array


def chained(parts: Array, prices: Array, money: float) -> Least:
    """The least Σ parts/x with prices·x = money and x not falling; exact.

    >>> chained(np.array([0.6, 0.35, 1.1]), np.array([12.0, 2.0, 0.85]), 2_000.0).numbers.round(2)
    array([ 99.67, 186.47, 507.07])
    """
    blocks: list[tuple[float, float, int]] = []
    for part, price in zip(parts.tolist(), prices.tolist(), strict=True):
        block = (part, price, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            last = blocks.pop()
            block = (last[0] + block[0], last[1] + block[1], last[2] + block[2])
        blocks.append(block)
    total, price, size = np.array(blocks).T
    root = np.sqrt(total * price).sum()
    return Least(float(root**2 / money), np.repeat(money * np.sqrt(total / price) / root, size.astype(int)))


def complete(parts: Array, prices: Array, money: float) -> Least:
    """Every row meets every column: prices of a row, a column, a cell and an observation."""
    from scipy.optimize import minimize_scalar

    def least(log_replicates: float) -> Least:
        return _complete_with(parts, prices, money, float(np.exp(log_replicates)))

    top = float(np.log(MOST_REPLICATES))
    found = minimize_scalar(lambda y: least(y).variance, bounds=(0.0, top), method="bounded", options={"xatol": 1e-8})
    return min(least(0.0), least(found.x), key=lambda each: each.variance)


def _complete_with(parts: Array, prices: Array, money: float, n: float) -> Least:
    """With n observations in every cell: AM-GM on the budget, (1/m − c/B)(1/m' − c'/B) = (BC + cc')/B²."""
    (a, b, s), (row, column, cell, observation) = parts, prices
    each = cell + observation * n
    a, b = a + s * column / (n * money), b + s * row / (n * money)
    root = np.sqrt(money * each + row * column)
    m = money / (row + np.sqrt(b / a) * root) if a > 0 else 0.0
    columns = money / (column + np.sqrt(a / b) * root) if b > 0 else 0.0
    variance = (a * row + b * column + 2.0 * np.sqrt(a * b) * root + s * each / n) / money
    return Least(float(variance), np.array([m, columns, m * columns * n]))


def row_in_column(parts: Array, prices: Array, money: float) -> Least:
    """Every column has rows of its own."""
    least = column_in_row(parts[[1, 0, 2]], prices[[1, 0, 2, 3]], money)
    return Least(least.variance, least.numbers[[1, 0, 2]])


def column_in_row(parts: Array, prices: Array, money: float) -> Least:
    """Every row has columns of its own, each of which is a cell."""
    row, column, cell, observation = prices
    return chained(parts, np.array([row, column + cell, observation]), money)


def incomplete(parts: Array, prices: Array, money: float) -> Least:
    """Any number of cells between that of the units of either factor and their product."""
    return min((f(parts, prices, money) for f in (column_in_row, row_in_column)), key=lambda each: each.variance)


def pairs(parts: Array, prices: Array, money: float) -> Least:
    """A row meets one column, its own."""
    least = chained(np.array([parts[:2].sum(), parts[2]]), np.array([prices[:3].sum(), prices[3]]), money)
    return Least(least.variance, least.numbers[[0, 0, 1]])
