"""Why power is flat: its limit as counts grow without bound, and what stands in the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from optdesign.designs import Design
from optdesign.errors import check_kind
from optdesign.inference.dials import MANY, dial_names
from optdesign.inference.hypotheses import Test
from optdesign.inference.plan import Plan
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

#: Multiple of each of several numbers that stands for infinity: larger products lose digits.
MANY_EACH = 1e4
#: Share of the present variance that counts as none.
VANISHED = 1e-4


@dataclass(frozen=True)
class Limit:
    """Power as some counts of a design grow without bound, the rest held.

    Attributes
    ----------
    grows : tuple of str
        Factors, ``"replicates"``; none for the design as it is.
    power : float
    df : float
        Degrees of freedom.
    standard_error : float
        Of the tested combination; ``nan`` for a joint test.
    limited_by : str
        The source of most of the variance that is left: a factor, or ``"observation"`` for what varies between
        observations or cells; empty where nothing is left.
    """

    grows: tuple[str, ...]
    power: float
    df: float
    standard_error: float
    limited_by: str

    @property
    def reason(self) -> str:
        """What stands in the way, as a clause."""
        if not self.limited_by:
            return "the degrees of freedom of the other counts remain"
        where = "observations" if self.limited_by == "observation" else f"levels of '{self.limited_by}'"
        return f"the variance between {where} remains"


def limit_plan(plan: Plan, grows: tuple[str, ...]) -> Plan:
    """The plan with the counts named so large that more makes no difference.

    By the two-term order of a Gaussian and the leading one otherwise, with which all orders agree in the limit.
    """
    assert isinstance(plan.design, Design)  # frames have no counts that could be varied
    times = MANY if len(grows) == 1 else MANY_EACH
    counts = dict.fromkeys((name for name in grows if name != "replicates"), times)
    many = plan.design.scaled(counts=counts, replicates=times if "replicates" in grows else 1.0)
    return replace(plan, design=many, order="two-term" if plan.model.is_gaussian else "leading", known=None)


def limit_of(plan: Plan, grows: tuple[str, ...]) -> Limit:
    """Power as the counts named grow without bound."""
    many = limit_plan(plan, grows) if grows else plan
    left = np.linalg.solve(plan.contrast.covariance, many.contrast.covariance)
    shares = many.contrast.shares if np.trace(left) > VANISHED * len(left) else {}
    error = math.sqrt(many.contrast.covariance[0, 0]) if len(left) == 1 else math.nan
    return Limit(grows, many.power, many.df, error, max(shares, key=shares.__getitem__, default=""))


def limits_of(plan: Plan, together: int) -> Iterator[Limit]:
    """Limits as every set of so many counts grows."""
    assert isinstance(plan.design, Design)  # frames have no counts that could be varied
    return (limit_of(plan, grows) for grows in combinations(dial_names(plan.design), together))


@dataclass(frozen=True, eq=False, repr=False)
class AttainablePower:
    """Power of a design, and its limits as counts grow without bound.

    Attributes
    ----------
    limits : tuple of Limit
        The design as it is, then each count, then each pair.
    """

    limits: tuple[Limit, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per limit: which counts grow, power, standard error, degrees of freedom, what the limit is due to."""
        import pandas as pd

        return pd.DataFrame(
            {
                "grows": [" and ".join(each.grows) or "(the design)" for each in self.limits],
                "power": [each.power for each in self.limits],
                "standard error": [each.standard_error for each in self.limits],
                "df": [each.df for each in self.limits],
                "limited by": [each.limited_by for each in self.limits],
            }
        )

    def __repr__(self) -> str:
        return f"Highest attainable power\n{self.to_frame().to_string(index=False, float_format='%.4g')}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False, float_format="{:.4g}".format))


def attainable_power(
    model: MixedModel, nominal: NominalValues, design: Design, test: Test, order: str = "two-term"
) -> AttainablePower:
    """Power as each count of a design, and each pair of them, grows without bound, the rest held.

    What one factor adds to the variance, such as Σ′/m′ of m′ stimuli, no number of units of another removes, so that
    power stays below a limit: with two crossed factors the noncentrality tends to δ/√(c′Σ′c/m′) and the degrees of
    freedom to those of the m′ units.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    test : WaldTest or JointTest
    order : str
        Order of the covariance of the design as it is. Limits are those of every order.

    Returns
    -------
    AttainablePower

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For a crossing whose cells are listed, which has no other size.

    Examples
    --------
    A condition between 16 stimuli (Westfall, Kenny & Judd 2014): no number of participants gives more than 0.3978.

    >>> from optdesign.inference import WaldTest
    >>> from optdesign.layouts import Crossed
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ c + (1 + c | participant) + (1 | stimulus)")
    >>> guess = NominalValues([0, 0.25], {"participant": [[0.2, 0], [0, 0.1]], "stimulus": 0.3}, dispersion=0.4)
    >>> design = Design(Crossed("participant", "stimulus"), counts={"participant": 20, "stimulus": 16}, replicates=1,
    ...                 measure=Measure.grid(c=[-1, 1]), levels={"c": "stimulus"})
    >>> attainable_power(model, guess, design, WaldTest("c")).to_frame().round(4).iloc[:4, [0, 1, 4]]
              grows   power   limited by
    0  (the design)  0.3255     stimulus
    1   participant  0.3978     stimulus
    2      stimulus  0.9180  participant
    3    replicates  0.3409     stimulus
    """
    check_kind("design", design, Design, instead="a Design, whose counts can be varied")
    plan = Plan(model, nominal, design, test, order)
    plan.require_effect()
    return AttainablePower(tuple(limit for together in range(3) for limit in limits_of(plan, together)))
