"""Averaged information by sampling, for non-Gaussian models with two random factors or more.

The random effects of all units are drawn, w is the conditional Fisher weight there, and the information is that of
generalised least squares at these weights, averaged over draws: the same order as two terms, and it sees what they
neglect, that finite numbers of units have their coefficients estimated [D]. Draws come in pairs U, −U.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optdesign.covariance.gls import information
from optdesign.covariance.labelled import LabelledRows
from optdesign.covariance.result import AsymptoticCovariance, from_information, relative_error, sampling_note
from optdesign.linalg import inverse_information, psd_root

Array = npt.NDArray[np.float64]

#: Relative Monte-Carlo error of every variance at which sampling stops.
TOLERANCE = 0.002
#: Pairs of draws between two looks at the error, and at most.
BATCH, MOST_PAIRS = 10, 1000


def sampled_covariance(rows: LabelledRows, seed: int) -> AsymptoticCovariance:
    """Covariance of the fixed effects; every unit must be listed on its own.

    Returns
    -------
    AsymptoticCovariance
        ``monte_carlo_error`` is the standard error of each variance relative to it, by the delta method.
    """
    pairs: list[Array] = []
    for pair in _pairs(rows, np.random.default_rng(seed)):
        pairs.append(pair)
        if len(pairs) % BATCH == 0 and not (_error(pairs) >= TOLERANCE).any():
            break
    total = np.mean(pairs, axis=0)
    found = from_information(total.sum(axis=0), _parts(rows, total), "averaged", rows.names, rows.aliases, rows.beta)
    error = _error(pairs)
    error.flags.writeable = False
    made = f"Averaged over {2 * len(pairs):,} draws of the random effects"
    return replace(found, monte_carlo_error=error, notes=(sampling_note(made, error, TOLERANCE),))


def _pairs(rows: LabelledRows, rng: np.random.Generator) -> Iterator[Array]:
    """Information by source at U and −U, their mean, shape (sources, p, p)."""
    for _ in range(MOST_PAIRS):
        shift = np.zeros(len(rows.X))
        for term in rows.terms:
            root = psd_root(term.sigma)
            effects = rng.standard_normal((len(term.count), root.shape[1])) @ root.T
            shift += np.einsum("ij,ij->i", term.Z, effects[term.level])
        each = [information(rows, rows.weight(rows.eta + sign * shift)).parts for sign in (1.0, -1.0)]
        yield np.mean([list(parts.values()) for parts in each], axis=0)


def _parts(rows: LabelledRows, total: Array) -> dict[str, Array]:
    names = [*(term.factor for term in rows.terms), "observation"]
    return dict(zip(names, total, strict=True))


def _error(pairs: list[Array]) -> Array:
    """Relative standard error of each variance, shape (p,); nan where the variance is infinite."""
    each = np.sum(pairs, axis=1)
    covariance, _ = inverse_information(each.mean(axis=0))
    finite = np.nan_to_num(covariance, posinf=0.0)
    moved = np.einsum("ki,sij,jk->sk", finite, each, finite)
    return relative_error(moved.std(axis=0, ddof=1) / np.sqrt(len(each)), covariance)
