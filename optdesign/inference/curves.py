"""Power against counts: curves, and surfaces over two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optdesign.designs import Design
from optdesign.errors import SpecificationError, is_number
from optdesign.inference.hypotheses import Test
from optdesign.inference.plan import Plan
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd


def power_curve(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: Test,
    counts: Sequence[float],
    orders: Sequence[str],
) -> pd.DataFrame:
    """Power against the number of units, of the design's proportions and sizes, by each order.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    test : WaldTest or JointTest
    counts : sequence of float
        Numbers of units in all; of observations in all where there is no layout.
    orders : sequence of str
        Orders of the covariance.

    Returns
    -------
    DataFrame
        Columns ``units``, ``order`` and ``power``; power is ``nan`` where no degrees of freedom are left.

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For an unknown order, or counts that are not positive.

    Examples
    --------
    >>> import math
    >>> from optdesign.inference import WaldTest
    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([1.0], {"unit": 0.25}, dispersion=1.0)
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=4)
    >>> power_curve(model, guess, design, WaldTest("Intercept", df=math.inf), [5, 10], ["two-term"]).round(4)
       units     order   power
    0      5  two-term  0.8854
    1     10  two-term  0.9940
    """
    import pandas as pd

    _check_counts(counts)
    size = design.units if design.layout else design.observations
    plans = {order: Plan(model, nominal, design, test, order) for order in orders}
    rows = [(count, order, plan.scaled(count / size).power) for order, plan in plans.items() for count in counts]
    return pd.DataFrame(rows, columns=["units", "order", "power"])


def _check_counts(counts: Sequence[float]) -> None:
    if not all(is_number(count) and count > 0 for count in counts):
        raise SpecificationError(f"counts must be positive numbers; got {list(counts)}.")
