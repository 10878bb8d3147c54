"""Small dense linear algebra: square roots, ranks and inverses that say when they are singular."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

#: Relative eigenvalue, of a matrix scaled to a unit diagonal, below which a direction counts as not identified.
SINGULAR = 1e-11


def symmetric(matrix: Array) -> Array:
    """The symmetric part, over the last two axes."""
    return np.asarray(0.5 * (matrix + np.swapaxes(matrix, -1, -2)))


def summed(index: npt.NDArray[np.intp], values: Array, size: int) -> Array:
    """Values added up by index, shape (size,)."""
    return np.asarray(np.bincount(index, weights=values, minlength=size), dtype=float)


def psd_root(matrix: Array) -> Array:
    """A factor F with F Fᵀ = matrix and as many columns as the rank of a positive semi-definite matrix.

    >>> psd_root(np.diag([4.0, 0.0])).shape
    (2, 1)
    """
    values, vectors = np.linalg.eigh(matrix)
    keep = values > SINGULAR * max(float(values.max(initial=0.0)), np.finfo(float).tiny)
    return np.asarray(vectors[:, keep] * np.sqrt(values[keep]))


def range_basis(rows: Array) -> Array:
    """Square orthogonal matrix whose first columns span the row space of `rows` and the rest its complement.

    Returns
    -------
    array, shape (r, r)
        With the rank as the number of columns whose image under `rows` is not zero; columns are ordered by it.
    """
    if rows.shape[1] == 0:
        return np.zeros((0, 0))
    _, _, transposed = np.linalg.svd(rows, full_matrices=True)
    return np.asarray(transposed.T)


def unit_diagonal(matrix: Array) -> tuple[Array, Array]:
    """The matrix scaled to a unit diagonal, and the scale s (zero where the diagonal is): scaled = s matrix s."""
    diagonal = np.diag(matrix)
    positive = diagonal > 0
    scale = np.where(positive, 1.0 / np.sqrt(np.where(positive, diagonal, 1.0)), 0.0)
    return matrix * np.outer(scale, scale), scale


def generalised_inverse(matrix: Array) -> Array:
    """A symmetric generalised inverse of a positive semi-definite matrix, singular directions judged as elsewhere."""
    scaled, scale = unit_diagonal(matrix)
    return np.asarray(np.linalg.pinv(scaled, SINGULAR, hermitian=True) * np.outer(scale, scale))


def inverse_information(information: Array) -> tuple[Array, Array]:
    """Covariance from an information matrix, with the coefficients it does not identify.

    The matrix is scaled to a unit diagonal first, so that units of measurement do not decide what is singular.
    A combination is estimable when it lies in the range of the information matrix.

    Returns
    -------
    covariance : array, shape (p, p)
        The inverse; where a coefficient is not estimable its variance is ``inf`` and its covariances ``nan``.
    estimable : boolean array, shape (p,)
    """
    scaled, scale = unit_diagonal(information)
    values, vectors = np.linalg.eigh(scaled)
    kept = values > SINGULAR
    identified = vectors[:, kept]
    covariance = (identified / values[kept]) @ identified.T * np.outer(scale, scale)
    estimable = (np.linalg.norm(vectors[:, ~kept], axis=1) < 1e-6) & (scale > 0)
    covariance[~estimable, :] = np.nan
    covariance[:, ~estimable] = np.nan
    covariance[~estimable, ~estimable] = np.inf
    return symmetric(covariance), estimable


def combined(information: Array, combinations: Array, balanced: bool = False) -> tuple[Array, npt.NDArray[np.bool_]]:
    """LᵀM⁻L of many information matrices, shape (n, p, p) to (n, k, k), and where it exists, shape (n,).

    A combination is estimable when it lies in the range of the information matrix, scaled to a unit diagonal unless the
    matrices are `balanced` already. Where one is not, the identity stands in.

    >>> combined(np.array([[[1.0, -1.0], [-1.0, 1.0]]]), np.array([[1.0], [-1.0]]))[0].round(9)
    array([[[1.]]])
    """
    diagonal = np.diagonal(information, axis1=1, axis2=2)
    usable = (diagonal > 0) & ~np.bool_(balanced)
    scale = np.where(usable, 1.0 / np.sqrt(np.where(usable, diagonal, 1.0)), float(balanced))
    spectrum, vectors = np.linalg.eigh(information * scale[:, :, None] * scale[:, None, :])
    kept = spectrum > SINGULAR
    loads = np.swapaxes(vectors, 1, 2) @ (combinations * scale[:, :, None])
    lost = np.linalg.norm(loads * ~kept[:, :, None], axis=1) > 1e-6 * np.linalg.norm(loads, axis=1)
    unseen = ((scale == 0)[:, :, None] & (combinations != 0)).any(axis=(1, 2))
    found = np.swapaxes(loads, 1, 2) @ (loads * (kept / np.where(kept, spectrum, 1.0))[:, :, None])
    exists = ~(lost.any(axis=1) | unseen)
    found[~exists] = np.eye(combinations.shape[1])
    return found, exists


def whitening(information: Array) -> Array:
    """A regular B with BᵀMB near the identity, or zero in directions that M says nothing about."""
    scaled, scale = unit_diagonal(information)
    values, vectors = np.linalg.eigh(scaled)
    return np.asarray(
        np.where(scale > 0, scale, 1.0)[:, None] * vectors / np.sqrt(np.where(values > SINGULAR, values, 1.0))
    )


def identified(information: Array) -> Array:
    """B of shape (p, r) and full rank, with BᵀMB regular for M of rank r: the identity where M is regular.

    >>> identified(np.diag([4.0, 0.0]))
    array([[0.5],
           [0. ]])
    """
    scaled, scale = unit_diagonal(information)
    values, vectors = np.linalg.eigh(scaled)
    kept = values > SINGULAR
    if kept.all():
        return np.eye(len(information))
    return np.asarray(scale[:, None] * vectors[:, kept] / np.sqrt(values[kept]))


def vech_pairs(size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows and columns of the lower triangle, column by column: the order of vech.

    >>> [pair.tolist() for pair in vech_pairs(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    columns, rows = np.triu_indices(size)
    return rows.astype(np.intp), columns.astype(np.intp)


def duplication(size: int) -> Array:
    """Duplication matrix D with D vech(S) = vec(S) for symmetric S, shape (size², size(size+1)/2)."""
    rows, columns = vech_pairs(size)
    matrix = np.zeros((size * size, len(rows)))
    matrix[rows * size + columns, np.arange(len(rows))] = 1.0
    matrix[columns * size + rows, np.arange(len(rows))] = 1.0
    return matrix


def vech_average(size: int) -> Array:
    """Moore–Penrose inverse D⁺ of the duplication matrix: D⁺ vec(A) = vech of the symmetric part of A."""
    matrix = duplication(size)
    return np.asarray((matrix / matrix.sum(axis=0)).T)


def vech_covariance(covariance: Array) -> Array:
    """2 D⁺(S⊗S)D⁺ᵀ: covariance of vech(uuᵀ) for a normal vector u of mean zero and covariance S.

    >>> vech_covariance(np.array([[3.0]]))
    array([[18.]])
    """
    average = vech_average(len(covariance))
    return np.asarray(2.0 * average @ np.kron(covariance, covariance) @ average.T)
