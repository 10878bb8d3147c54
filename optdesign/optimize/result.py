"""What comes back: an optimal design with its proof, and the exact design made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from optdesign.costs import Cost
from optdesign.covariance import AsymptoticCovariance
from optdesign.criteria import Criterion
from optdesign.designs import Design, DesignSpace
from optdesign.errors import InfeasibleBudgetError
from optdesign.listing import listed_points
from optdesign.measures import beside
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize.certificate import Certificate, floored
from optdesign.optimize.crossed_problem import CrossedProblem
from optdesign.optimize.problem import Problem

if TYPE_CHECKING:
    import pandas as pd


#: Bound among whole numbers from which a plan counts as the best of them.
PROVEN = 1.0 - 5e-6


class Status(Enum):
    """How far the optimisation got; the value says it in words."""

    OPTIMAL = "optimal: no admissible design is better by more than one part in a million"
    TO_TOLERANCE = "optimal to the tolerance that its efficiency bound states"
    LOCAL = "locally optimal: its certificate says among which designs no better one exists"
    STOPPED = "stopped early; its efficiency bound states how far it came"

    def __repr__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another plan in whole numbers: what kind it is, what it costs and what it reaches."""

    kind: str
    design: Design
    spend: float
    value: float
    efficiency_bound: float


@dataclass(frozen=True, eq=False)
class ExactDesign:
    """A design in whole numbers, ready to be run.

    Attributes
    ----------
    design : Design
        Whole counts, and whole numbers of observations at every point.
    value : float
        Criterion value.
    spend : float
        What it costs, fixed cost included.
    covariance : AsymptoticCovariance
    efficiency_bound : float
        No admissible design, whole or not, needs less than this share of its sample for the same precision.
    whole_bound : float
        The same among plans in whole numbers: higher where every schedule of a unit could be looked at, and within
        some millionths of one where the plan is proven the best.
    stopped : bool
        Whether an interrupt from the keyboard ended the search.
    """

    design: Design
    value: float
    spend: float
    covariance: AsymptoticCovariance
    efficiency_bound: float
    whole_bound: float
    others: Callable[[], list[Alternative]]
    stopped: bool

    @property
    def status(self) -> str:
        """How the plan compares with all plans in whole numbers."""
        if self.whole_bound >= PROVEN:
            return "optimal among whole numbers"
        reached = f"efficiency among whole numbers ≥ {floored(self.whole_bound, 4)}"
        return f"stopped early: {reached}" if self.stopped else reached

    @cached_property
    def alternatives(self) -> pd.DataFrame:
        """What is given up for a lower spend: the plans in whole numbers that no other found betters for less money.

        A row per plan, the dearest first: its `kind` ("the plan", "mixed schedules", "one schedule per type"), `spend`,
        `value`, `efficiency_bound` and the `design` itself. Worked out at first use; empty for crossed designs.
        """
        import pandas as pd

        names = [field.name for field in fields(Alternative)]
        return pd.DataFrame([vars(other) for other in self.others()], columns=names)

    def to_frame(self) -> pd.DataFrame:
        """One row per observation: the unit's label, its unit-level values, and the covariate values to use."""
        import pandas as pd

        if self.design.layout is not None and len(self.design.layout.factors) > 1:
            return self._of_units_within_units()
        factor = self.design.layout.factors[0] if self.design.layout else None
        own = [c for c in (factor, "group") if c is not None]
        pieces = []
        last = 0
        for number, group in enumerate(self.design.groups, start=1):
            times = np.rint(group.replicates * group.measure.weights).astype(int)
            schedule = group.measure.points.loc[np.repeat(np.arange(len(times)), times)].reset_index(drop=True)
            count = round(group.count)
            piece = beside(pd.concat([schedule] * count, ignore_index=True).assign(**group.at), own)
            piece.insert(0, "group", number)
            if factor is not None:
                piece.insert(0, factor, last + 1 + np.repeat(np.arange(count), len(schedule)))
            pieces.append(piece)
            last += count
        frame = pd.concat(pieces, ignore_index=True)
        first = [*own, *(f"{c} (covariate)" if c in own else c for c in self.design.groups[0].at)]
        return frame[first + [c for c in frame if c not in first]]

    def _of_units_within_units(self) -> pd.DataFrame:
        listed = listed_points(self.design)
        times = np.repeat(np.arange(len(listed.frame)), np.rint(listed.observations).astype(int))
        frame = beside(listed.frame.iloc[times].reset_index(drop=True), listed.labels)
        for place, (factor, labels) in enumerate(listed.labels.items()):
            frame.insert(place, factor, 1 + labels.level[times])
        return frame

    def __repr__(self) -> str:
        return (
            f"ExactDesign: spend {self.spend:,.2f}, value {self.value:.6g}, "
            f"efficiency ≥ {floored(self.efficiency_bound, 4)}, {self.status}\n{self.design!r}"
        )

    def _repr_html_(self) -> str:
        return self.design._repr_html_()


@dataclass(frozen=True, eq=False)
class OptimalDesign:
    """The best continuous design that the budget buys, its proof, and the exact design made from it.

    Attributes
    ----------
    design : Design
        Counts and totals need not be whole.
    value : float
        Criterion value.
    spend : float
        What it costs, fixed cost included.
    covariance : AsymptoticCovariance
    status : Status
    certificate : Certificate
    warnings : tuple of str
        What a reader of the plan must know.
    iterations : int
        Newton steps, or solver iterations.
    nominal : NominalValues
        At which covariances are reported; they refer to the candidates, where they had no reference data of their own.
    criterion : Criterion
    budget : float
    problem : Problem or CrossedProblem
        What was asked, in numbers.
    interrupted : bool
        Whether Ctrl-C ended the search.
    """

    design: Design
    value: float
    spend: float
    covariance: AsymptoticCovariance
    status: Status
    certificate: Certificate
    warnings: tuple[str, ...]
    iterations: int
    nominal: NominalValues
    criterion: Criterion
    budget: float
    problem: Problem | CrossedProblem
    rounding: Callable[[], ExactDesign]
    asked: partial[OptimalDesign]
    interrupted: bool = False

    @cached_property
    def rounded(self) -> ExactDesign:
        """The exact design made from it, worked out at first use; after Ctrl-C, the best one found by then.

        Raises
        ------
        InfeasibleBudgetError
            Where the budget buys no design in whole numbers that estimates what the criterion needs.
        """
        return self.rounding()

    def finished(self) -> OptimalDesign:
        """Itself; the interrupt that stopped it goes on, to the search that it is a step of."""
        if self.interrupted:
            raise KeyboardInterrupt
        return self

    def again(self, **changes: Any) -> OptimalDesign:
        """The best design for the same question with some of its parts changed: keywords of `optimize`."""
        return self.asked(**changes)

    @property
    def model(self) -> MixedModel:
        """What will be fitted."""
        return self.problem.model

    @property
    def space(self) -> DesignSpace:
        """What could be chosen."""
        return self.problem.space

    @property
    def cost(self) -> Cost:
        """What it costs."""
        return self.problem.cost

    @property
    def limits(self) -> Mapping[str, tuple[Cost, float]]:
        """Further budgets."""
        return self.asked.keywords.get("limits") or {}

    @property
    def already(self) -> Design | None:
        """What had been run."""
        return self.asked.keywords.get("already")

    @property
    def order(self) -> str:
        """Order of the covariance."""
        return self.problem.order

    def __repr__(self) -> str:
        notes = "".join(f"\nNote: {w}" for w in self.warnings)
        return (
            f"OptimalDesign for the {self.criterion.label} (order '{self.order}')\n"
            f"status {self.status!r}, value {self.value:.6g}, spend {self.spend:,.2f} of {self.budget:,.2f}, "
            f"efficiency ≥ {floored(self.certificate.efficiency_bound, 8)}\n{self.design!r}\n\n"
            f"{self._rounded_text()}{notes}"
        )

    def _rounded_text(self) -> str:
        try:
            return f"Rounded to whole numbers:\n{self.rounded!r}"
        except InfeasibleBudgetError as error:
            return f"Not rounded to whole numbers: {error}"

    def _repr_html_(self) -> str:
        return self.design._repr_html_() + self.rounded._repr_html_()
