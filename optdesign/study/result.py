"""What a study comes to: the plan, its proof, and what it can show."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from optdesign import formula as formulas
from optdesign.study import telling
from optdesign.study.reading import Study

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.designs import Design, Group
    from optdesign.fit import Fit
    from optdesign.inference import SampleSize
    from optdesign.optimize import OptimalDesign
    from optdesign.optimize.profile import Surface
    from optdesign.study.tables import Test

#: Libraries whose version may change a digit of a plan.
LIBRARIES = ("numpy", "scipy", "pandas", "formulaic", "glmm", "cvxpy")


@dataclass(frozen=True, eq=False)
class StudyResult:
    """The plan that a study file comes to.

    Attributes
    ----------
    study : Study
    fit : Fit or None
        The fit of the pilot; None where nominal values were stated.
    best : OptimalDesign
        The certified optimum; the plan itself is ``best.rounded``.
    precision : DataFrame
        Standard errors of the plan, a row per coefficient and a column per order, and ``ratio``, two-term over
        leading.
    power : mapping from order to float
        Power of the test at the plan; empty without a test.
    power_curves : DataFrame or None
        Columns ``units``, ``order``, ``power``, at the plan's proportions.
    needed : SampleSize or None
        Units that give the power wanted, at the plan's proportions.
    budget_line : DataFrame or None
        Columns ``replicates``, ``units``, ``value``, ``efficiency``: the best design with the same number of
        observations in every unit. None without a layout.
    surface : Surface or None
        The criterion over numbers of units and observations per unit. None without a layout.
    doubts : DataFrame
        What the plan is worth under other nominal values: a row per case.
    alternatives : DataFrame
        The plan beside equal allocation and the pilot's design, for the same money.
    warnings : tuple of str
    seconds : float
        How long it took.
    """

    study: Study
    fit: Fit | None
    best: OptimalDesign
    precision: pd.DataFrame
    power: Mapping[str, float]
    power_curves: pd.DataFrame | None
    needed: SampleSize | None
    budget_line: pd.DataFrame | None
    surface: Surface | None
    doubts: pd.DataFrame
    alternatives: pd.DataFrame
    warnings: tuple[str, ...]
    seconds: float

    @cached_property
    def encoding(self) -> formulas.Encoding:
        """How the model's terms become columns: the levels are the pilot's, or those that the study offers."""
        best = self.best
        frame = best.space.region.frame if best.nominal.reference is None else best.nominal.reference
        return formulas.learn(best.model.parsed, frame)

    @property
    def coefficient(self) -> str | None:
        """The coefficient that is tested, or the only one that the criterion is about."""
        return coefficient_of_interest(self.best, self.study.tables.test)

    def nominal_value(self, coefficient: str) -> float:
        """Nominal value of a coefficient, by its name or that of its term."""
        at = self.encoding.fixed_names.index(self.encoding.aliases.get(coefficient, coefficient))
        return float(self.best.nominal.beta_vector(self.encoding)[at])

    def plan_json(self) -> dict[str, Any]:
        """The plan as plain dictionaries, lists, numbers and text; the same for every run of the same study."""
        best, tables = self.best, self.study.tables
        orders = [str(name) for name in self.precision if name != "ratio"]
        plan = {
            "title": self.study.title,
            "summary": f"{telling.summary(self)} {telling.proof_of(self)}",
            "groups": groups_of(best.rounded.design),
            "units": _units(best.rounded.design),
            "counts": dict(best.rounded.design.counts),
            "observations": best.rounded.design.observations,
            "spend": best.rounded.spend,
            "budget": best.budget,
            "currency": self.study.currency,
            "criterion": best.criterion.label,
            "order": best.order,
            "value": {"continuous": best.value, "rounded": best.rounded.value},
            "standard_errors": {order: self.precision[order].to_dict() for order in orders},
            "power": dict(self.power),
            "needed": None if self.needed is None else {"count": self.needed.count, "power": self.needed.power},
            "efficiency": {
                "continuous": best.certificate.efficiency_bound,
                "rounded": best.rounded.efficiency_bound,
            },
            "continuous": groups_of(best.design),
            "warnings": list(self.warnings),
            "versions": versions(),
            "seed": tables.report.seed,
            "study": tables.model_dump(mode="python", exclude_unset=True),
        }
        return {key: plain(value) for key, value in plan.items()}

    def __repr__(self) -> str:
        power = "".join(f"\npower, order '{order}': {value:.4f}" for order, value in self.power.items())
        notes = "".join(f"\nNote: {warning}" for warning in self.warnings)
        return (
            f"StudyResult '{self.study.title}': spend {self.best.rounded.spend:,.2f} of {self.best.budget:,.2f}\n"
            f"{self.best.rounded.design!r}\n\n"
            f"Standard errors\n{self.precision.to_string(float_format='%.6g')}{power}\n"
            f"{telling.proof_of(self)}{notes}"
        )


def coefficient_of_interest(best: OptimalDesign, test: Test | None) -> str | None:
    """The coefficient that is tested, or the only one that the criterion is about."""
    from optdesign.criteria import COptimality

    if test is not None:
        name = test.coefficient
    elif isinstance(best.criterion, COptimality) and isinstance(best.criterion.combination, Mapping):
        name, *others = best.criterion.combination
        if others:
            return None
    else:
        return None
    return best.covariance.names[best.covariance.position(name)]


def groups_of(design: Design) -> list[dict[str, Any]]:
    """A dictionary for each group: unit-level values, units, observations per unit, points and their times.

    Of two nested factors, with units of the inner one per unit and observations per inner unit; of two crossed ones,
    with units of either, cells, observations per cell, and the times of a point in all.
    """
    return [
        {"at": dict(g.at), **_numbers(design, g), "replicates": g.replicates, "points": _points(design, g)}
        for g in design.groups
    ]


def _numbers(design: Design, group: Group) -> dict[str, Any]:
    if design.crossing is not None:
        return {"counts": dict(design.counts), "cells": group.count}
    return {"units": group.count, **({"counts": dict(group.counts)} if group.counts else {})}


def _points(design: Design, group: Group) -> list[dict[str, Any]]:
    times = (group.observations if design.crossing else group.replicates) * group.measure.weights
    rows = group.measure.points.to_dict("records")
    return [{"at": row, "times": float(many)} for row, many in zip(rows, times, strict=True)]


def _units(design: Design) -> float | None:
    return design.units if design.layout else None


def versions() -> dict[str, str]:
    """Of this package, of Python, and of the libraries that may change a digit."""
    from optdesign import __version__

    found = {"optdesign": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def plain(value: Any) -> Any:
    """As JSON has it: numbers that are whole but for rounding errors without a point, and no infinities."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return round(value) if abs(value - round(value)) < 1e-12 * max(abs(value), 1e3) else value
    return value
