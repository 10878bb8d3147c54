"""Confidence intervals: how wide they will be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from optdesign.designs import Design
from optdesign.inference.hypotheses import Combination, WaldTest, check_between
from optdesign.inference.plan import Plan
from optdesign.inference.rejection import mean_scale
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd


def interval_width(
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    coefficient: str | Combination,
    level: float = 0.95,
    order: str = "two-term",
    df: float | str = "auto",
    expected: bool = False,
) -> float:
    """Full width of the Wald confidence interval of a coefficient or contrast, 2 t_{(1+level)/2} √Var(c′β̂).

    At the true variance, so that its square is the expected squared width; or the width expected, over data whose
    estimated variance has the law of Var(c′β̂) χ²_ν/ν, which is smaller by the factor √(2/ν) Γ((ν + 1)/2)/Γ(ν/2), about
    1 − 1/(4ν).

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design or DataFrame
    coefficient : str or mapping from name to number
    level : float
        Coverage, between 0 and 1.
    order : str
        Order of the covariance, and so the terms neglected: see `covariance`.
    df : str or float
        Degrees of freedom ν, as for `WaldTest`.
    expected : bool
        The mean width over data, rather than that at the true variance.

    Returns
    -------
    float
        On the scale of the linear predictor.

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For a level outside (0, 1), or where no degrees of freedom are left.

    Examples
    --------
    >>> model, guess = MixedModel("y ~ 1"), NominalValues([0.0], dispersion=4.0)
    >>> round(interval_width(model, guess, Design(None, replicates=16), "Intercept"), 4)
    2.1314
    >>> round(interval_width(model, guess, Design(None, replicates=16), "Intercept", expected=True), 4)
    2.0962
    """
    from scipy import stats

    check_between("level", level, 0.0)
    plan = Plan(model, nominal, design, WaldTest(coefficient, df=df), order)
    error = math.sqrt(plan.contrast.covariance[0, 0])
    plan.require_df()
    return 2.0 * float(stats.t.isf((1.0 - level) / 2.0, plan.df)) * error * (mean_scale(plan.df) if expected else 1.0)
