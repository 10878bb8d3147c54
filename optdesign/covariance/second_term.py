"""Whether the second term exists: it is an expectation of 1/w over normal random effects, which may be infinite.

Along standardised random effects u = t d, |d| = 1, the linear predictor of a row with effects z moves by a t with
a = zᵀΣ^½d, and its weight, averaged over the effects of the other factor, falls like exp(−q t²/2) with a rate q that
the link gives (`Link.decay`). The density of u falls like exp(−t²/2). So rows with q < 1 keep E H_zz⁻¹ finite along d
where they span what the unit's random-effect rows span, and 1/w outgrows the density where they do not. With every
other link the weight falls exponentially at most, and the expectation is finite always.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError
from optdesign.families import Link
from optdesign.linalg import psd_root

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Directions d looked at, beside those of the rows themselves, of which as many are taken at most.
DIRECTIONS, OWN = 2000, 200


def check_second_term(link: Link, factor: str, Z: Array, sigma: Array, kind: Index, spread: Array) -> None:
    """Refuse random effects of one factor under which the second term is infinite.

    Parameters
    ----------
    link : Link
    factor : str
    Z : array, shape (rows, r)
        Random-effect columns.
    sigma : array, shape (r, r)
    kind : integer array, shape (rows,)
        Kind of unit of each row.
    spread : array, shape (rows,)
        Variance of the linear predictor given the factor's own effects.

    Raises
    ------
    SpecificationError
        Naming the link, the factor and the orders that are finite.
    """
    if link.decay is None:
        return
    standard = Z @ psd_root(sigma)
    directions = _directions(standard)
    for number in np.unique(kind):
        at = kind == number
        kept = link.decay(standard[at] @ directions.T, spread[at, None]) < 1.0
        masks = np.unique(kept, axis=1).T
        if (np.linalg.matrix_rank(masks[:, :, None] * Z[at]) < np.linalg.matrix_rank(Z[at])).any():
            raise SpecificationError(
                f"the second term is infinite for link '{link.name}' with these random effects of '{factor}': it is "
                "an expectation of 1/w over them, and the weight w vanishes faster than their density. Order "
                "'averaged' is finite, and so is 'exact' where it exists; smaller variances may help under 'probit'."
            )


def _directions(standard: Array) -> Array:
    """Unit vectors of both signs, shape (directions, rank): those of some rows, and a fixed dense set."""
    rank = standard.shape[1]
    own = np.unique(standard, axis=0)
    own = own[:: len(own) // OWN + 1]
    every = np.concatenate([own, np.random.default_rng(0).standard_normal((DIRECTIONS if rank > 1 else 1, rank))])
    length = np.linalg.norm(every, axis=1, keepdims=True)
    unit = every[length[:, 0] > 0] / length[length[:, 0] > 0]
    return np.concatenate([unit, -unit])
