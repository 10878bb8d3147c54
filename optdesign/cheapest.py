"""The dual problem: the least money that reaches a precision or a power."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from optdesign.costs import Cost
from optdesign.criteria import COptimality, Criterion, Maximin
from optdesign.designs import Design, DesignSpace
from optdesign.errors import (
    AsymptoticRegimeWarning,
    ConvergenceError,
    InfeasibleBudgetError,
    SpecificationError,
    is_number,
)
from optdesign.inference import WaldTest, variance_needed
from optdesign.inference import power as power_of
from optdesign.interrupts import Stoppable
from optdesign.layouts import Crossed
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import ExactDesign, OptimalDesign, Status, optimize
from optdesign.optimize.choices import choice_of
from optdesign.optimize.crossed_problem import price_tables
from optdesign.optimize.problem import check_question

if TYPE_CHECKING:
    import pandas as pd

#: Share of the money by which the answer exceeds the root found, so that the goal is reached.
ABOVE = 1e-7
#: Shares of the money that are taken off until the certificate rules out that the rest is enough.
SHORT = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
#: Largest step in log money, and the largest multiple of the first money that is tried.
STEP, FARTHEST = 3.0, 1e4
#: Budgets tried for a plan in whole numbers that reaches the goal, each more than the last by this share at least.
PLANS, MORE = 20, 1e-3
#: Excess that stands for a design that does not estimate what the criterion needs.
HOPELESS = 20.0


def cheapest(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    *,
    value: float | None = None,
    test: WaldTest | None = None,
    power: float | None = None,
    order: str = "two-term",
    limits: Mapping[str, tuple[Cost, float]] | None = None,
    already: Design | pd.DataFrame | None = None,
) -> OptimalDesign:
    """The cheapest design that reaches a precision or a power.

    The best value of the criterion falls with the budget, so the least budget is a root in one variable; its lower
    bound comes from the certificate at a budget a hair below.

    Parameters
    ----------
    model, nominal, space, criterion, cost
        As for `optimize`.
    value : float, optional
        Criterion value to be reached: of `COptimality`, the square of a standard error.
    test : WaldTest, optional
    power : float, optional
        Power to be reached by a test, instead of a value; the criterion is then `COptimality` of its coefficient.
        Degrees of freedom are those of the design, which need not be whole; designs are the best for the variance.
    order, limits, already
        As for `optimize`.

    Returns
    -------
    OptimalDesign
        With the least budget as `budget`, and a note that says below which price no admissible design gets there. With
        ``common_replicates`` both hold among designs with the number of replicates found. Its ``rounded`` is the plan
        in whole numbers of a budget somewhat larger, as far as needed to reach the goal and possible. An interrupt
        from the keyboard gives the cheapest design found by then that reaches the goal, with ``status`` stopped.

    Raises
    ------
    SpecificationError
        For a goal that is not one, or one that no money reaches within the bounds, with the best there is.
    NotEstimableError
        Where no admissible design estimates what the criterion needs.

    Examples
    --------
    A mean with standard error 0.1, where a clinic costs 50 and an observation 1:

    >>> from optdesign import COptimality, Nested
    >>> best = cheapest(MixedModel("y ~ 1 + (1 | clinic)"), NominalValues([0.0], {"clinic": 0.2}, 0.8),
    ...                 DesignSpace(Nested("clinic")), COptimality({"Intercept": 1.0}),
    ...                 Cost(units={"clinic": 50.0}, observation=1.0), value=0.1**2)
    >>> round(best.budget, 2), round(best.value, 6)
    (1645.69, 0.01)
    """
    check_question(model, nominal, space, criterion, cost, limits)
    goal = _goal(model, criterion, value, test, power, already)
    asked: list[OptimalDesign] = []

    @cache
    def ask(budget: float) -> OptimalDesign:
        best = optimize(
            model, nominal, space, criterion, cost, budget, order=order, limits=limits, already=already
        ).finished()
        asked.append(best)
        return best

    search = _Search(ask, goal, cost.fixed, _first_money(space, cost))
    with warnings.catch_warnings(), Stoppable(asked) as run:
        # Designs on the way to the answer need no warnings of their own.
        warnings.simplefilter("ignore", AsymptoticRegimeWarning)
        budget = search.least()
        proved = search.proved(budget)
    if run.stopped:
        return search.stopped(asked)
    best = ask(budget)
    # Rounded down: what is proved, not more.
    note = f"No admissible design that costs less than {np.floor(100.0 * proved) / 100.0:,.2f} reaches {goal.words}."
    return replace(best, warnings=(*best.warnings, note), rounding=partial(search.whole, best))


def _first_money(space: DesignSpace, cost: Cost) -> float:
    """Some money to begin with: a hundred times the dearest single thing."""
    if isinstance(space.layout, Crossed):
        dearest = price_tables(space, space.layout, cost).max()
    else:
        parts = tuple(factor for factor in cost.units if ":" in factor)
        dearest = choice_of(space, parts).prices(cost).max()
    return 100.0 * float(dearest) or 1.0


@dataclass(frozen=True)
class _Value:
    """A criterion value to be reached."""

    value: float

    @property
    def words(self) -> str:
        return f"the value {self.value:.6g}"

    def needed(self, best: OptimalDesign) -> float:
        """Criterion value that a design must reach."""
        if not best.problem.criterion.logarithmic and self.value <= 0:
            raise SpecificationError(f"value={self.value:g} is out of reach: the {best.criterion.label} is positive.")
        return self.value

    def attained(self, best: OptimalDesign) -> str:
        return f"the value {best.value:.6g}"

    def at_best(self) -> _Value:
        """What the luckiest design must reach."""
        return self


@dataclass(frozen=True)
class _Power:
    """A power to be reached."""

    test: WaldTest
    power: float

    @property
    def words(self) -> str:
        return f"power {self.power:g} for '{self.test.label}'"

    def needed(self, best: OptimalDesign) -> float:
        """Variance that a design must reach, with the degrees of freedom that it leaves."""
        variance = variance_needed(best.model, best.nominal, best.design, self.test, self.power)
        return max(variance, float(np.finfo(float).tiny))

    def attained(self, best: OptimalDesign) -> str:
        return f"power {power_of(best.model, best.nominal, best.design, self.test, best.order):.4f}"

    def at_best(self) -> _Power:
        """What the luckiest design must reach: the normal limit, where degrees of freedom depend on the design."""
        return replace(self, test=replace(self.test, df=np.inf)) if isinstance(self.test.df, str) else self


def _goal(
    model: MixedModel,
    criterion: Criterion,
    value: float | None,
    test: WaldTest | None,
    power: float | None,
    already: object,
) -> _Value | _Power:
    if isinstance(criterion, Maximin):
        raise SpecificationError(
            "Maximin compares each scenario with the best for the same money, so its value does not say what a design "
            "is worth: use Bayesian, or the criterion in one of the scenarios."
        )
    if is_number(value) and test is None and power is None:
        return _Value(float(value))
    if value is not None or test is None or power is None:
        raise SpecificationError(
            f"cheapest needs one goal: value=, a finite number, or test= and power= together; got value={value!r}, "
            f"test={test!r}, power={power!r}."
        )
    if criterion != COptimality(test.combinations[0]):
        raise SpecificationError(
            f"a power is about the variance of '{test.label}': use criterion=COptimality("
            f"{test.combinations[0]!r}), or state a value of the criterion."
        )
    if already is not None and model.is_gaussian and isinstance(test.df, str):
        raise SpecificationError(
            "the degrees of freedom that new and old observations leave together are not worked out: state them, "
            "WaldTest(df=…)."
        )
    return _Power(test, power)


@dataclass(frozen=True, eq=False)
class _Search:
    """The least budget at which the best design reaches a goal.

    Money is what is spent beyond the fixed cost; an excess is the log of the loss reached over that needed, which
    falls with money, by as much as log money grows where no bound on counts binds.
    """

    ask: Callable[[float], OptimalDesign]
    goal: _Value | _Power
    fixed: float
    first: float

    def at(self, money: float) -> tuple[OptimalDesign, float]:
        """The best design for some money, and its excess."""
        best = self.ask(self.fixed + money)
        bound = best.problem.criterion
        return best, bound.loss_of(best.value) - bound.loss_of(self.goal.needed(best))

    def excess(self, money: float) -> float:
        """The excess, at most `HOPELESS`: next to the cheapest admissible design the criterion may not be estimable."""
        try:
            return min(self.at(money)[1], HOPELESS)
        except ConvergenceError:
            return HOPELESS

    def least(self) -> float:
        """The least budget, fixed cost included."""
        low, high = self._bracket()
        if low == high:
            return self.fixed + high
        root = brentq(self.excess, low, high, xtol=1e-9 * low)
        return self.fixed + float(root) * (1.0 + ABOVE)

    def stopped(self, asked: list[OptimalDesign]) -> OptimalDesign:
        """The cheapest of some designs that reaches the goal; where none does, the interrupt goes on."""
        reaching = [best for best in asked if self.at(best.budget - self.fixed)[1] <= 0]
        if not reaching:
            raise KeyboardInterrupt
        best = min(reaching, key=lambda best: best.budget)
        note = f"The search was stopped: this design reaches {self.goal.words}, but a cheaper one may, too."
        kept = replace(best, status=Status.STOPPED, warnings=(*best.warnings, note), interrupted=True)
        return replace(kept, rounding=partial(self.whole, kept))

    def whole(self, best: OptimalDesign) -> ExactDesign:
        """The plan in whole numbers for the least money tried, from the least budget on, that reaches the goal.

        That for the least budget, where none does: the bounds may leave no such plan.
        """
        bound, money = best.problem.criterion, best.budget - self.fixed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AsymptoticRegimeWarning)
            for _ in range(PLANS):
                try:
                    plan = self.ask(self.fixed + money).rounded
                except InfeasibleBudgetError as error:
                    if not np.isfinite(error.price):
                        raise
                    money = max(error.price, money * (1.0 + MORE))
                    continue
                needed = self.goal.needed(replace(best, design=plan.design))
                excess = bound.loss_of(plan.value) - bound.loss_of(needed)
                if excess <= 0:
                    return plan
                money *= float(np.exp(np.clip(excess, MORE, STEP)))
        return self.ask(best.budget).rounded

    def _bracket(self) -> tuple[float, float]:
        """Money that is too little and money that is enough; equal where the cheapest admissible design is enough."""
        best = self._start()
        money = best.budget - self.fixed
        if self.at(money)[1] > 0:
            return self._rise(money)
        return self._fall(money, best.problem.cheapest() * (1.0 + ABOVE))

    def _start(self) -> OptimalDesign:
        """An admissible design to begin with."""
        try:
            return self.ask(self.fixed + self.first)
        except InfeasibleBudgetError as error:
            if not np.isfinite(error.price):
                raise
            return self.ask(self.fixed + 2.0 * error.price)

    def _rise(self, money: float) -> tuple[float, float]:
        best, excess = self.at(money)
        low, step = money, max(excess, ABOVE)
        while excess > 0:
            self._require_hope(best)
            low, money = money, money * float(np.exp(min(step, STEP)))
            best, excess = self.at(money)
            step = max(excess, 2.0 * step)
        return low, money

    def _fall(self, money: float, floor: float) -> tuple[float, float]:
        excess = self.excess(money)
        high, step = money, max(-excess, ABOVE)
        while excess <= 0 and money > floor:
            high, money = money, max(floor, money * float(np.exp(-min(step, STEP))))
            excess = self.excess(money)
            step = max(-excess, 2.0 * step)
        return (money, money) if excess <= 0 else (money, high)

    def _require_hope(self, best: OptimalDesign) -> None:
        """Where money is left over, or very much of it was not enough, no more of it will do."""
        left = best.spend < 0.99 * best.budget
        if left or best.budget - self.fixed > FARTHEST * self.first:
            raise SpecificationError(
                f"{self.goal.words} cannot be reached within the bounds: the best attainable is "
                f"{self.goal.attained(best)}, for {best.spend:,.0f}{'' if left else ', and more money hardly helps'}. "
                "Widen the bounds on counts, replicates or limits, or ask for less."
            )

    def proved(self, budget: float) -> float:
        """The largest price found, near the least budget, at which a certificate rules out that any design does it."""
        sure = replace(self, goal=self.goal.at_best())
        least = budget if sure.goal == self.goal else sure.least()
        for share in SHORT:
            price = self.fixed + (least - self.fixed) * (1.0 - share)
            if sure._ruled_out(price):
                return price
        return self.fixed

    def _ruled_out(self, price: float) -> bool:
        try:
            best = self.ask(price)
        except InfeasibleBudgetError:
            return True
        return best.certificate.upper_bound_loss > best.problem.criterion.loss_of(self.goal.needed(best))
