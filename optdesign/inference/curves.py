"""Power against counts: curves, and surfaces over two of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING

from optdesign.designs import Design
from optdesign.errors import SpecificationError, is_number
from optdesign.inference.dials import dial_of, size_of
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


def power_surface(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: Test,
    counts: Mapping[str, Sequence[float]],
    order: str = "two-term",
) -> pd.DataFrame:
    """Power over every combination of several counts, all else of the design held.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    test : WaldTest or JointTest
    counts : mapping from name to sequence of float
        Values of each count, a grouping factor or ``"replicates"``: what `sample_size` solves for.
    order : str
        Order of the covariance: see `covariance`.

    Returns
    -------
    DataFrame
        A column for each count, then ``power``, which is ``nan`` where no degrees of freedom are left.

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate what is tested.
    SpecificationError
        For an unknown count, or one that is not positive.

    Examples
    --------
    >>> from optdesign.inference import WaldTest
    >>> from optdesign.layouts import Crossed
    >>> model = MixedModel("y ~ 1 + (1 | subject) + (1 | item)")
    >>> guess = NominalValues([0.5], {"subject": 0.5, "item": 0.3}, dispersion=1.0)
    >>> design = Design(Crossed("subject", "item"), counts={"subject": 20, "item": 10}, replicates=1)
    >>> table = power_surface(model, guess, design, WaldTest("Intercept"), {"subject": [20, 40], "item": [10, 40]})
    >>> table.round(3)
       subject  item  power
    0       20    10  0.492
    1       20    40  0.750
    2       40    10  0.602
    3       40    40  0.930
    """
    import pandas as pd

    for name, values in counts.items():
        dial_of(design, name)
        _check_counts(values)
    plan = Plan(model, nominal, design, test, order)
    now = {name: size_of(design, name) for name in counts}
    rows = []
    for values in product(*counts.values()):
        times = {name: value / now[name] for name, value in zip(counts, values, strict=True)}
        replicates = times.pop("replicates", 1.0)
        rows.append((*values, plan.scaled(times, replicates).power))
    return pd.DataFrame(rows, columns=[*counts, "power"])


def _check_counts(counts: Sequence[float]) -> None:
    if not all(is_number(count) and count > 0 for count in counts):
        raise SpecificationError(f"counts must be positive numbers; got {list(counts)}.")
