"""Assurance: power where the nominal values are uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from optdesign.designs import Design
from optdesign.errors import SpecificationError, is_number
from optdesign.inference.hypotheses import Test
from optdesign.inference.plan import power
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Scenario = NominalValues | tuple[float, NominalValues]


def assurance(
    model: MixedModel,
    scenarios: Sequence[Scenario],
    design: Design | pd.DataFrame,
    test: Test,
    order: str = "two-term",
) -> float:
    """Power averaged over scenarios of the nominal values: the chance of success before the truth is known.

    Parameters
    ----------
    model : MixedModel
    scenarios : sequence of (weight, NominalValues), or of NominalValues
        A prior sample, or a few cases; `Fit.scenarios` draws from the sampling law of a pilot's estimates. Weights are
        taken as shares of their sum, equal where none are given.
    design : Design or DataFrame
    test : WaldTest or JointTest
    order : str
        Order of the covariance: see `covariance`.

    Returns
    -------
    float

    Raises
    ------
    SpecificationError
        For no scenarios, or weights that are not positive.

    Notes
    -----
    More units do not take it to one: it tends to the prior probability of the alternative. A two-sided test counts
    rejections in either direction.

    Examples
    --------
    An effect that is 0.5, or none at all:

    >>> import math
    >>> from optdesign.inference import WaldTest
    >>> model, design = MixedModel("y ~ 1"), Design(None, replicates=100)
    >>> cases = [(0.7, NominalValues([0.5])), (0.3, NominalValues([0.0]))]
    >>> round(assurance(model, cases, design, WaldTest("Intercept", df=math.inf)), 4)
    0.7142
    """
    pairs = [(1.0, each) if isinstance(each, NominalValues) else each for each in scenarios]
    if not pairs or not all(is_number(weight) and weight > 0 for weight, _ in pairs):
        raise SpecificationError(
            "scenarios must be a list of NominalValues, or of pairs (weight, NominalValues) with positive weights; got "
            f"{scenarios!r:.80}."
        )
    total = sum(weight for weight, _ in pairs)
    return sum(weight * power(model, nominal, design, test, order) for weight, nominal in pairs) / total
