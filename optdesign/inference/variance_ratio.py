"""What an approximation of higher order adds to a sample size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optdesign.designs import Design
from optdesign.inference.hypotheses import Combination, WaldTest
from optdesign.inference.plan import Plan
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd


def inflation(
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    coefficient: str | Combination,
    order: str = "two-term",
    relative_to: str = "leading",
) -> float:
    """Variance of an estimate by one order, relative to another: the factor by which the number of units grows.

    With outermost nested units of given sizes every order's variance is proportional to 1/m, so that a sample size by
    the other order, multiplied by this factor, has the same power at the same degrees of freedom; for a coefficient
    with a random partner 1 + ϕK_kk/(nΣ_kk).

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design or DataFrame
    coefficient : str or mapping from name to number
        A coefficient or a contrast.
    order, relative_to : str
        Orders of the covariance: see `covariance`.

    Returns
    -------
    float

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For an order that does not exist for the model.

    Examples
    --------
    (0.25 + 1/4)/0.25:

    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([0.0], {"unit": 0.25}, dispersion=1.0)
    >>> round(inflation(model, guess, Design(Nested("unit"), counts={"unit": 10}, replicates=4), "Intercept"), 9)
    2.0
    """
    test = WaldTest(coefficient)
    first, second = (Plan(model, nominal, design, test, each).contrast.covariance for each in (order, relative_to))
    return float(first[0, 0] / second[0, 0])
