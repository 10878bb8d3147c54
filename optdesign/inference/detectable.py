"""The smallest effect that a design can show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from optdesign.designs import Design
from optdesign.errors import SpecificationError
from optdesign.inference.hypotheses import WaldTest, check_between
from optdesign.inference.plan import Plan, columns_of, covariance_at
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

#: Standard errors at most by which the smallest effect may differ from the null value.
FARTHEST = 1e3


def minimum_detectable_effect(
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    test: WaldTest,
    power: float = 0.8,
    order: str = "two-term",
) -> float:
    """Smallest difference from the null value that a test shows with the power wanted.

    The coefficients move from their nominal values along the tested combination c, all others staying, and with them
    the variance of a response that is not Gaussian: the root in d of power(β + c (null + d − c′β)/c′c) = power.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
        Its value of the tested combination does not matter.
    design : Design or DataFrame
    test : WaldTest
        Two-sided, or one-sided.
    power : float
        Between the level of the test and 1.
    order : str
        Order of the covariance: see `covariance`.

    Returns
    -------
    float
        Negative for the alternative ``"less"``; measured from ``test.null``, a margin included.

    Raises
    ------
    SpecificationError
        For a test of equivalence, which shows the absence of an effect, or a design that leaves no degrees of freedom.
    NotEstimableError
        Where the design cannot estimate the combination.

    Examples
    --------
    (1.96 + 0.84) standard errors of √(0.5/10):

    >>> import math
    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([0.0], {"unit": 0.25}, dispersion=1.0)
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=4)
    >>> round(minimum_detectable_effect(model, guess, design, WaldTest("Intercept", df=math.inf)), 4)
    0.6265
    """
    from scipy.optimize import brentq

    check_between("power", power, test.alpha)
    if test.alternative == "equivalence":
        raise SpecificationError(
            "a test of equivalence shows that there is no effect, so that none is the smallest it detects: use "
            "'two-sided', 'greater' or 'less'."
        )
    sign = -1.0 if test.alternative == "less" else 1.0
    found = covariance_at(model, nominal, design, order)
    (c,) = columns_of(found, test.combinations)
    start = Plan(model, nominal, design, test, order)
    start.require_df()
    error = float(np.sqrt(start.contrast.covariance[0, 0]))

    def excess(size: float) -> float:
        moved = found.estimate + c * (test.null + sign * size - c @ found.estimate) / (c @ c)
        values = dict(zip(found.names, moved.tolist(), strict=True))
        return replace(start, nominal=replace(nominal, beta=values)).power - power

    low, high = -test.margin, error - test.margin
    while excess(high) < 0:
        low, high = high, high + 2.0 * (high - low)
        if high > FARTHEST * error:
            raise SpecificationError(
                f"no difference of '{test.label}' up to {high:g} is shown with power {power:g}: its variance grows "
                "with it as fast. Use more units, or observations in each."
            )
    return sign * float(brentq(excess, low, high, xtol=1e-10 * error))
