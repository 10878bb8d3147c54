"""Which rows meet which columns: incidences of crossed layouts, written out cell by cell."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Random rearrangements that a biregular incidence is chosen from.
TRIES = 8


def biregular(rows: int, columns: int, cells: int, seed: int = 0) -> Index:
    """Cells of an incidence with equally many in every row and equally many in every column, shape (cells, 2).

    A cyclic incidence and some random rearrangements of it are compared; the one with the smallest singular value
    after the constant is kept, which is connected where that is possible and spreads concurrences most evenly.

    Examples
    --------
    >>> pairs = biregular(6, 4, 12)
    >>> np.bincount(pairs[:, 0]).tolist(), np.bincount(pairs[:, 1]).tolist()
    ([2, 2, 2, 2, 2, 2], [3, 3, 3, 3])
    """
    if cells % rows or cells % columns or not max(rows, columns) <= cells <= rows * columns:
        step = math.lcm(rows, columns)
        below = min(max(cells // step, 1) * step, rows * columns)
        raise SpecificationError(
            f"{cells} cells cannot be spread evenly over {rows} rows and {columns} columns: their number must be a "
            f"multiple of both, at most {rows * columns}, such as {below} or {min(below + step, rows * columns)}."
        )
    start = _cyclic(rows, columns, cells // rows)
    rng = np.random.default_rng(seed)
    tries = [start, *(_rearranged(start, rng) for _ in range(TRIES if cells < rows * columns else 0))]
    return min(tries, key=lambda pairs: round(_second_singular_value(pairs, rows, columns), 9))


def _cyclic(rows: int, columns: int, per_row: int) -> Index:
    """Slot t of row i meets column t·rows + i, moved on by one whenever it would come back to where it was."""
    slot, row = np.divmod(np.arange(rows * per_row), rows)
    common = math.gcd(rows, columns)
    column = (slot * rows + row + slot * common // columns) % columns
    return np.stack([row, column], axis=1)


def _rearranged(pairs: Index, rng: np.random.Generator) -> Index:
    """The same numbers per row and column after many random exchanges of two cells' columns."""
    pairs = pairs.copy()
    present = {(int(i), int(j)) for i, j in pairs}
    for a, b in rng.integers(len(pairs), size=(10 * len(pairs), 2)):
        (row, column), (other, its) = pairs[a].tolist(), pairs[b].tolist()
        if (row, its) not in present and (other, column) not in present:
            present -= {(row, column), (other, its)}
            present |= {(row, its), (other, column)}
            pairs[a, 1], pairs[b, 1] = its, column
    return pairs


def _second_singular_value(pairs: Index, rows: int, columns: int) -> float:
    matrix = np.zeros((rows, columns))
    matrix[pairs[:, 0], pairs[:, 1]] = 1.0
    return float(np.linalg.svd(matrix - len(pairs) / (rows * columns), compute_uv=False)[0])


def complete(rows: int, columns: int) -> Index:
    """All cells."""
    return np.stack(np.divmod(np.arange(rows * columns), columns), axis=1)


def random_incidence(rows: int, columns: int, cells: int, seed: int = 0) -> Index:
    """Cells at random, one in every row and every column at least, shape (cells, 2)."""
    rng = np.random.default_rng(seed)
    most = max(rows, columns)
    diagonal = np.stack([rng.permutation(most) % rows, rng.permutation(most) % columns], axis=1)
    taken = diagonal[:, 0] * columns + diagonal[:, 1]
    others = rng.permutation(np.setdiff1d(np.arange(rows * columns), taken))[: cells - most]
    return np.stack(np.divmod(np.concatenate([taken, others]), columns), axis=1)


def product_incidence(row_rates: Array, column_rates: Array, seed: int = 0) -> Index:
    """Each cell with the product of its row's and its column's rate, independently."""
    rng = np.random.default_rng(seed)
    return np.argwhere(rng.random((len(row_rates), len(column_rates))) < np.outer(row_rates, column_rates))


def connected_parts(row: Index, column: Index) -> int:
    """Connected parts of an incidence.

    >>> connected_parts(np.array([0, 0, 1]), np.array([0, 1, 2]))
    2
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, columns = int(row.max()) + 1, int(column.max()) + 1
    graph = coo_array((np.ones(len(row)), (row, rows + column)), shape=(rows + columns,) * 2)
    return int(connected_components(graph, directed=False)[0])
