"""Fits of pilot data, as a source of nominal values: one function, one file per method."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from optdesign.errors import SpecificationError, listed, nearest
from optdesign.fit.gva import check_variational, variational
from optdesign.fit.intervals import Intervals
from optdesign.fit.ml import Estimates, check_family, estimated, maximum_likelihood, translated
from optdesign.fit.result import Fit
from optdesign.fit.rows import FitRows, grouping_columns, response_of, rows_of, used_rows
from optdesign.models import MixedModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Estimates", "Fit", "FitRows", "Intervals", "check_family", "estimated", "fit", "translated"]

_METHODS = {"ml": (check_family, maximum_likelihood), "gva": (check_variational, variational)}


def fit(model: MixedModel, data: pd.DataFrame, method: str = "ml") -> Fit:
    """Fit a model to pilot data by maximum likelihood, or by its Gaussian variational approximation.

    Method ``"ml"``: the likelihood of a Gaussian model is exact (and not restricted: the nominal values of an
    asymptotic covariance are maximum likelihood estimates). Otherwise the random effects are integrated out by
    adaptive Gauss–Hermite quadrature about their modes, 25, 9 or 5 nodes per dimension for one, two or three random
    effects of a single grouping factor, and by the Laplace approximation (relative error of order 1/n in n
    observations per unit) for more random effects or factors.

    Method ``"gva"``: the random effects of each unit, given its responses, are taken for normal, with the mean and
    covariance that maximise a lower bound on the log likelihood; so are β and Σ. The bound is in closed form for
    counts and takes quadrature in one dimension for binary responses, whatever the number of random effects. It is
    exact where the conditional law is normal, and its maximum is as efficient as maximum likelihood as units and
    observations per unit grow (Hall, Pham, Wand & Wang 2011, for counts with a random intercept); in few observations
    per unit it is biased, binary responses more than counts.

    Parameters
    ----------
    model : MixedModel
        A random term must have an intercept and covariances between all its effects, and each random slope a fixed
        effect on the same column. The response of a binomial model with a size is the number of successes.
    data : DataFrame
        One row per observation. Rows with a missing value in a column that is used are left out, with a note; text
        is categorical.
    method : str
        ``"ml"``, or ``"gva"`` for Poisson models with log link and Bernoulli or binomial models with logit link that
        have one grouping factor; its random terms need covariances between all effects, and nothing else.

    Returns
    -------
    Fit

    Raises
    ------
    SpecificationError
        For unknown columns, no rows, a response that the family cannot have, a grouping factor with one level, or
        random terms that the fitter does not cover.
    NotEstimableError
        Where fixed-effect columns are collinear in the data.
    ConvergenceError
        Where the search did not settle, with the reason.

    Examples
    --------
    Two units with two observations each: the residual variance is the mean square within units, the variance
    between units what is left of that of their means (divisors are numbers of units, not degrees of freedom).

    >>> import pandas as pd
    >>> data = pd.DataFrame({"y": [1.0, 3.0, 5.0, 7.0], "unit": ["a", "a", "b", "b"]})
    >>> pilot = fit(MixedModel("y ~ 1 + (1 | unit)"), data)
    >>> round(float(pilot.beta[0]), 4), round(pilot.dispersion, 3), pilot.random_covariance["unit"].round(3)
    (4.0, 2.0, array([[3.]]))
    """
    if method not in _METHODS:
        raise SpecificationError(
            f"method '{method}' is not known.{nearest(str(method), _METHODS)} Methods: {listed(_METHODS)}."
        )
    check, solve = _METHODS[method]
    check(model, "State the nominal values with NominalValues(beta, covariance, dispersion).")
    frame, notes = used_rows(model, data)
    response, rows = response_of(model, frame), rows_of(model, frame)
    found = solve(model, rows, response)
    for array in (found.beta, found.covariance_matrix, *found.random_covariance.values()):
        array.flags.writeable = False
    return Fit(
        model,
        rows.names,
        found.beta,
        found.covariance_matrix,
        MappingProxyType(dict(found.random_covariance)),
        found.dispersion,
        found.log_likelihood,
        len(frame),
        MappingProxyType({factor: len(set(labels)) for factor, labels in rows.labels.items()}),
        notes + found.notes,
        frame[sorted(model.covariates | grouping_columns(model))],
        method,
    )
