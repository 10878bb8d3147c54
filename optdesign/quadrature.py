"""Quadrature rules: expectations over normal random effects and over the laws of covariates."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError

if TYPE_CHECKING:
    from scipy.stats import rv_continuous, rv_discrete

Array = npt.NDArray[np.float64]

#: Nodes per dimension tried in turn until a result settles, by the number of random effects.
LADDER = {0: (1,), 1: (9, 15, 25, 41, 65, 101, 161), 2: (7, 11, 17, 25, 41, 61), 3: (5, 7, 11, 15, 21)}


def ladder(dimension: int) -> tuple[int, ...]:
    """Numbers of nodes per dimension to try in turn; four and more dimensions stop at nine nodes each."""
    return LADDER.get(dimension, (3, 5, 7, 9))


@lru_cache(maxsize=64)
def normal_rule(dimension: int, nodes: int) -> tuple[Array, Array]:
    """Gauss–Hermite product rule for a standard normal vector.

    Parameters
    ----------
    dimension : int
        Length r of the vector; 0 gives the single empty node.
    nodes : int
        Nodes per dimension; the rule is exact for polynomials of degree ``2*nodes - 1`` in each coordinate.

    Returns
    -------
    points : array, shape (nodes**r, r)
    weights : array, shape (nodes**r,)
        Summing to one.

    Examples
    --------
    >>> points, weights = normal_rule(1, 5)
    >>> round(float(weights @ points[:, 0] ** 4), 12)
    3.0
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack([g.ravel() for g in np.meshgrid(*[points] * dimension, indexing="ij")], -1) if dimension else None
    product = np.ones(1)
    for _ in range(dimension):
        product = np.outer(product, weights / weights.sum()).ravel()
    result = grid if grid is not None else np.zeros((1, 0))
    result.flags.writeable = product.flags.writeable = False
    return result, product


def law_rule(law: Any, nodes: int) -> tuple[Array, Array]:
    """Points and weights that stand for a frozen scipy.stats law.

    A discrete law is enumerated (mass below 1e-30 left out). A continuous one gets the Gauss rule of its own
    density: `nodes` points that reproduce its moments up to order ``2*nodes - 1``, computed by the Lanczos
    process on a fine discretisation of the quantile function. The moments of normal, gamma, beta and uniform laws up
    to the sixth come out to 1e-12 relative; a law with a heavy tail loses digits in high moments (lognormal(1): 1e-8
    in the sixth), because mass beyond probability 1e-30 is left out.

    Parameters
    ----------
    law : frozen scipy.stats distribution
    nodes : int

    Raises
    ------
    SpecificationError
        For a law without a finite variance, whose covariance would not exist.
    """
    if not hasattr(law, "dist"):
        raise SpecificationError(
            f"a covariate's law must be a frozen scipy.stats distribution, such as scipy.stats.norm(0, 1); got {law!r}."
        )
    if nodes < 1:
        raise SpecificationError(f"nodes must be at least 1; got {nodes}.")
    if not np.isfinite(law.var()):
        raise SpecificationError(
            f"the law {law.dist.name} has no finite variance, so no covariance exists under it: truncate it."
        )
    return _discrete_rule(law) if hasattr(law.dist, "pmf") else _gauss_rule(law, nodes)


def _discrete_rule(law: rv_discrete) -> tuple[Array, Array]:
    # Quantiles beyond the last representable probability do not exist: ten more standard deviations reach further.
    reach = 10.0 * law.std() + 40.0
    bounds = law.support()
    low, high = max(bounds[0], law.ppf(1e-17) - reach), min(bounds[1], law.ppf(np.nextafter(1.0, 0.0)) + reach)
    if not np.isfinite([low, high]).all() or high - low > 10**6:
        raise SpecificationError(f"the support of the law {law.dist.name} is too wide to enumerate: truncate it.")
    points = np.arange(np.ceil(low), high + 1.0)
    weights = np.asarray(law.pmf(points), dtype=float)
    keep = weights > 1e-30
    return points[keep], weights[keep] / weights[keep].sum()


def _gauss_rule(law: rv_continuous, nodes: int) -> tuple[Array, Array]:
    fine, mass = _discretised(law)
    centre, spread = float(mass @ fine), float(np.sqrt(mass @ (fine - mass @ fine) ** 2))
    alpha, beta = _lanczos((fine - centre) / spread, mass, nodes)
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    return centre + spread * values, vectors[0] ** 2


def _discretised(law: rv_continuous) -> tuple[Array, Array]:
    """Gauss–Legendre panels in the logarithm of the tail probability: tails down to 1e-30 are resolved."""
    panels = np.log(0.5) - np.arange(70.0)
    nodes, weights = np.polynomial.legendre.leggauss(16)
    log_tail = (panels[:, None] - 0.5 + 0.5 * nodes).ravel()
    mass = np.exp(log_tail) * np.tile(0.5 * weights, len(panels))
    tail = np.exp(log_tail)
    points = np.concatenate([law.ppf(tail), law.isf(tail)])
    return points, np.concatenate([mass, mass]) / (2 * mass.sum())


def _lanczos(points: Array, mass: Array, steps: int) -> tuple[Array, Array]:
    """Diagonal and off-diagonal of the Jacobi matrix of a discrete measure, with full reorthogonalisation."""
    basis = np.zeros((steps + 1, len(points)))
    basis[0] = np.sqrt(mass)
    alpha, beta = np.zeros(steps), np.zeros(steps)
    for k in range(steps):
        image = points * basis[k]
        alpha[k] = basis[k] @ image
        for _ in range(2):
            image = image - basis[: k + 1].T @ (basis[: k + 1] @ image)
        beta[k] = np.linalg.norm(image)
        basis[k + 1] = image / beta[k]
    return alpha, beta[:-1]
