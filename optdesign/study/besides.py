"""The plan beside what would be done without looking for a best design, for the same money."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pandas as pd

from optdesign.designs import Design, DesignSpace, Group
from optdesign.errors import OptDesignError
from optdesign.inference import WaldTest, power
from optdesign.measures import Measure, names_of
from optdesign.optimize.scoring import efficiency_at, reported
from optdesign.study.words import EQUAL, MONEY, PILOT, PLAN

if TYPE_CHECKING:
    from optdesign.optimize import OptimalDesign


def alternatives(
    best: OptimalDesign, space: DesignSpace, pilot: Design | None, coefficient: str | None, test: WaldTest | None
) -> pd.DataFrame:
    """A row per design: units, observations, spend; efficiency, standard error, power; money for the plan's precision.

    Other designs than the plan are scaled to the budget, in fractions of units, and not held to bounds. Their
    efficiency is relative to the continuous optimum. The space is that of the question: the optimum's own may have been
    narrowed to the values that are used.
    """
    plan = best.rounded.design
    rows = []
    for name, design in [(PLAN, plan), *_others(best, space, pilot)]:
        with suppress(OptDesignError):
            rows.append({"design": name, **_row(best, design, coefficient, test)})
    frame = pd.DataFrame(rows)
    if best.already is None:
        # The variance is inversely proportional to the units.
        paid = frame["spend"] - best.cost.fixed
        needed = paid * frame["efficiency"].iloc[0] / frame["efficiency"]
        frame[MONEY] = needed + best.cost.fixed
    return frame


def _row(best: OptimalDesign, design: Design, coefficient: str | None, test: WaldTest | None) -> dict[str, object]:
    row: dict[str, object] = {"units": design.units} if design.layout else {}
    row |= {"observations": design.observations, "spend": design.spend(best.cost)}
    row["efficiency"] = efficiency_at(best.problem, best.design, best.nominal, design)
    if coefficient is not None:
        cov = reported(best.problem, best.nominal, design)
        row["standard error"] = float(cov.standard_errors[cov.position(coefficient)])
    if test is not None:
        row["power"] = power(best.model, best.nominal, design, test, best.order)
    return row


def _others(best: OptimalDesign, space: DesignSpace, pilot: Design | None) -> Iterator[tuple[str, Design]]:
    if space.layout is not None and len(space.layout.factors) > 1:
        return  # there is no one obvious number of units within units
    yield EQUAL, _for_the_money(best, equal_allocation(space, best.rounded.design))
    if pilot is not None:
        with suppress(OptDesignError):  # its points may lack what prices ask for
            yield PILOT, _for_the_money(best, pilot)


def equal_allocation(space: DesignSpace, plan: Design) -> Design:
    """As many units of each kind, each with the plan's mean number of observations, evenly over all candidates."""
    points = space.candidates.points
    if space.layout is None:
        return Design(None, [Group(1.0, plan.observations, Measure.from_frame(points))], observed=space.observed)
    between = [name for name in names_of(points) if name in space.levels]
    within = [name for name in names_of(points) if name not in space.levels]
    kinds = points.groupby(between, sort=False) if between else [((), points)]
    mean = plan.observations / plan.units
    groups = [
        Group(
            1.0,
            mean,
            Measure.from_frame(rows[within]) if within else Measure.grid(),
            dict(zip(between, rows[between].iloc[0], strict=True)),
        )
        for _, rows in kinds
    ]
    return Design(space.layout, groups, observed=space.observed, levels=space.observed_levels)


def _for_the_money(best: OptimalDesign, design: Design) -> Design:
    """As many of the design's units as the budget buys; observations, where there are no units."""
    fixed = best.cost.fixed
    share = (best.budget - fixed) / (design.spend(best.cost) - fixed)
    return design.scaled(counts=share) if design.layout else design.scaled(replicates=share)
