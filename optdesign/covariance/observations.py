"""The covariance matrix of the observations themselves, V = ZGZᵀ + R, written out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import checked_weights, fixed_columns
from optdesign.errors import SpecificationError, check_kind, listed
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Observations of which a matrix with all pairs is still worth writing out.
MOST_OBSERVATIONS = 3000


@dataclass(frozen=True, eq=False, repr=False)
class ObservationCovariance:
    """Covariances of observations.

    Attributes
    ----------
    matrix : array, shape (N, N)
        In squared units of the linear predictor.
    factors : tuple of str
        Grouping factors that make observations correlated.
    """

    matrix: Array
    factors: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """A row and a column per observation."""
        import pandas as pd

        return pd.DataFrame(self.matrix)

    def __repr__(self) -> str:
        filled = int(np.count_nonzero(self.matrix))
        by = f", correlated by {listed(self.factors)}" if self.factors else ""
        return f"ObservationCovariance of {len(self.matrix)} observations{by}: {filled:,} entries not zero"


def observation_covariance(model: MixedModel, nominal: NominalValues, df: pd.DataFrame) -> ObservationCovariance:
    """V = ZGZᵀ + R for the rows of a data frame.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    df : DataFrame
        A row per observation with covariates and grouping factors, such as ``best.rounded.to_frame()``.

    Returns
    -------
    ObservationCovariance

    Raises
    ------
    SpecificationError
        For a grouping factor that the data do not have, or more than 3,000 rows.

    Notes
    -----
    Exact for a Gaussian. Otherwise V is that of the working response where every random effect is zero: R is diagonal
    with the inverse Fisher weights, so that terms of second order in the random effects are neglected.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"clinic": ["a", "a", "b"]})
    >>> guess = NominalValues([0.0], {"clinic": 0.5}, dispersion=2.0)
    >>> observation_covariance(MixedModel("y ~ 1 + (1 | clinic)"), guess, df).matrix
    array([[2.5, 0.5, 0. ],
           [0.5, 2.5, 0. ],
           [0. , 0. , 2.5]])
    """
    import pandas as pd

    check_kind("df", df, pd.DataFrame)
    if len(df) > MOST_OBSERVATIONS:
        raise SpecificationError(
            f"V of {len(df):,} observations has too many entries to write out; give {MOST_OBSERVATIONS:,} rows at most."
        )
    encoding, X = fixed_columns(model, nominal, df)
    eta = X @ nominal.beta_vector(encoding)
    matrix = np.diag(nominal.dispersion / checked_weights(model.weight(eta, df), df))
    for factor in model.factors:
        Z = encoding.random_columns(factor, df)
        unit = _unit(df, factor.split(":"))
        G = nominal.matrix(factor, encoding.random_names(factor))
        matrix = matrix + np.where(unit[:, None] == unit, Z @ G @ Z.T, 0.0)
    matrix.flags.writeable = False
    return ObservationCovariance(matrix, model.factors)


def _unit(df: pd.DataFrame, names: Sequence[str]) -> npt.NDArray[np.intp]:
    """Number of the unit of each row; of a cell where there are two names."""
    missing = [name for name in names if name not in df]
    if missing:
        raise SpecificationError(f"the data have no column {listed(missing)}; they have {listed(df.columns)}.")
    return np.asarray(df.groupby(list(names), sort=False).ngroup())
