"""Sample size: the smallest number at which a test has its power."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from optdesign.costs import Cost
from optdesign.designs import Design
from optdesign.errors import SpecificationError, check_kind, listed
from optdesign.inference.attainable import limit_of, limit_plan, limits_of
from optdesign.inference.dials import LARGEST, Dial, dial_names, dial_of
from optdesign.inference.hypotheses import Test, check_between
from optdesign.inference.plan import Plan
from optdesign.models import MixedModel, NominalValues


@dataclass(frozen=True, eq=False, repr=False)
class SampleSize:
    """The smallest number that gives a test its power.

    Attributes
    ----------
    count : int
        Units in all of the outermost factor or of a crossed one, units of an inner nested factor per unit of the factor
        before it, observations per innermost unit or observed cell (in all, without a layout), or currency units: see
        `solve_for`.
    power : float
        Power there; at least the power asked for.
    order : str
        Order of the covariance used.
    solve_for : str
        A grouping factor, ``"replicates"`` or ``"budget"``.
    design : Design
        The design scaled to it. Its proportions are kept, so its other counts need not be whole.
    """

    count: int
    power: float
    order: str
    solve_for: str
    design: Design

    def __repr__(self) -> str:
        what = self.solve_for if self.solve_for in ("replicates", "budget") else f"levels of '{self.solve_for}'"
        return f"SampleSize({what}: {self.count}, power {self.power:.4f}, order '{self.order}')"


def smallest_count(model: MixedModel, nominal: NominalValues, design: Design, test: Test) -> int:
    """Smallest number of outermost units (of observations, without a layout) that leaves a test degrees of freedom.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
        Gives the proportions, as for `sample_size`.
    test : WaldTest or JointTest

    Returns
    -------
    int

    Raises
    ------
    SpecificationError
        For an unknown coefficient.

    Examples
    --------
    >>> from optdesign.inference import WaldTest
    >>> from optdesign.layouts import Nested
    >>> model, guess = MixedModel("y ~ 1 + (1 | unit)"), NominalValues([1.0], {"unit": 0.25})
    >>> smallest_count(model, guess, Design(Nested("unit"), counts={"unit": 9}, replicates=4), WaldTest("Intercept"))
    2
    """
    plan = Plan(model, nominal, design, test, "leading")
    dial = dial_of(design, dial_names(design)[0])
    return _smallest(lambda n: plan.scaled(**dial.scaling(n)).df > 0, dial) or dial.highest


def sample_size(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: Test,
    power: float,
    solve_for: str,
    order: str = "two-term",
    cost: Cost | None = None,
) -> SampleSize:
    """Smallest whole number of units, replicates or currency units at which a test has the power wanted.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
        Gives the proportions, which are kept: of units of each kind, of replicates between kinds of unit, and within
        units. All that is not solved for is held.
    test : WaldTest or JointTest
    power : float
        Between the level of the test and 1.
    solve_for : str
        A grouping factor: units in all of the outermost factor, of the design's sizes, or of a row or column factor, of
        which an incomplete crossing keeps its share of observed cells; units of an inner nested factor per unit of the
        factor before it, on average. ``"replicates"``: observations per innermost unit or observed cell, on average;
        observations in all where there is no layout. ``"budget"``: money, in whole currency units, spent on more
        outermost units of the design's sizes, or on rows and columns in the design's ratio; the fixed cost counts once.
    order : str
        Order of the covariance: see `covariance`. For the leading term this is the textbook
        m = ⌈(z_{1−α} + z_{power})² Σ_kk/β_k²⌉ of a one-sided test on a coefficient with a random partner; with two
        terms, Σ_kk + ϕK_kk/n takes the place of Σ_kk.
    cost : Cost, optional
        Needed to solve for the budget.

    Returns
    -------
    SampleSize

    Raises
    ------
    SpecificationError
        Where no number gives the power, with the highest power attainable and what limits it: see `attainable_power`.
    NotEstimableError
        Where the design cannot estimate the coefficient.

    Notes
    -----
    Published for the two-term covariance by Maestrini, Bhaskaran & Wand (2024). A covariance of any order is
    inversely proportional to the number of outermost nested units, so that one serves every number of them.

    Examples
    --------
    >>> from optdesign.inference import WaldTest
    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ x + (1 + x | unit)", family="poisson")
    >>> guess = NominalValues([-1.5, 0.3], {"unit": [[0.5, 0.1], [0.1, 0.25]]})
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=20, measure=Measure.grid(x=[0, 1]))
    >>> test = WaldTest("x", alternative="greater")
    >>> sample_size(model, guess, design, test, power=0.9, solve_for="unit")
    SampleSize(levels of 'unit': 130, power 0.9013, order 'two-term')
    """
    check_kind("design", design, Design, instead="a Design, whose counts can be varied")
    check_between("power", power, test.alpha)
    plan = Plan(model, nominal, design, test, order)
    dial = dial_of(design, solve_for, cost)
    plan.require_effect()
    bounded = dial.highest < LARGEST
    if bounded and not limit_of(plan, (solve_for,)).power >= power:
        raise _out_of_reach(plan, power, dial)
    count = _smallest(lambda n: plan.scaled(**dial.scaling(n)).power >= power, dial)
    if count is None:
        raise _out_of_reach(plan, power, dial)
    found = plan.scaled(**dial.scaling(count))
    assert isinstance(found.design, Design)  # as is the one that was scaled
    return SampleSize(count, found.power, order, solve_for, found.design)


def _smallest(enough: Callable[[int], bool], dial: Dial) -> int | None:
    """Smallest whole number that is enough, by doubling and bisection; None where the highest is not."""
    lowest, step = dial.lowest, 1
    high = lowest
    while not enough(high):
        if high >= dial.highest:
            return None
        lowest, high, step = high + 1, min(high + step, dial.highest), 2 * step
    while lowest < high:
        middle = (lowest + high) // 2
        lowest, high = (lowest, middle) if enough(middle) else (middle + 1, high)
    return high


def _out_of_reach(plan: Plan, power: float, dial: Dial) -> SpecificationError:
    """What stands in the way, and which numbers would do."""
    goal = f"power {power:g} for '{plan.test.label}'"
    if dial.highest >= LARGEST:
        return SpecificationError(
            f"{goal} needs more than {dial.highest:.0e} of '{dial.name}': check the effect, "
            f"{listed(plan.difference)}, and the units of the covariates."
        )
    limit_plan(plan, (dial.name,)).require_df()
    limit = limit_of(plan, (dial.name,))
    return SpecificationError(
        f"{goal} cannot be reached by more of '{dial.name}' alone: the highest attainable power, with any number of "
        f"them, is {limit.power:.4f}, because {limit.reason}.{_remedy(plan, power)}"
    )


def _remedy(plan: Plan, power: float) -> str:
    """The counts that reach the power on their own."""
    reach = [limit.grows[0] for limit in limits_of(plan, 1) if limit.power >= power]
    if not reach:
        return " No count does on its own: see attainable_power for pairs of them."
    return f" Use more units: solve_for={' or '.join(repr(name) for name in reach)}."
