"""Designs of one question side by side at the same money, and what each would need to do as well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from optdesign.cheapest import cheapest
from optdesign.compare.layouts import alternatives, common_order, layout_spaces
from optdesign.compare.overtaking import LayoutMap, break_even, layout_map
from optdesign.covariance import AsymptoticCovariance
from optdesign.criteria import COptimality, Maximin
from optdesign.errors import SpecificationError, check_kind
from optdesign.inference import Plan, WaldTest
from optdesign.optimize import ExactDesign, OptimalDesign
from optdesign.optimize.scoring import Asked, loss_at, reported

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "LayoutMap", "alternatives", "break_even", "compare", "layout_map", "layout_spaces"]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Optimal designs of one question in several layouts, judged by one order of the covariance.

    Attributes
    ----------
    designs : mapping from name to OptimalDesign
        Each with its certificate.
    order : str
        Order of the covariance by which all are judged.
    test : WaldTest or None
    target : float
        The power at which money is compared.
    """

    designs: Mapping[str, OptimalDesign]
    order: str
    test: WaldTest | None
    target: float

    @cached_property
    def _problems(self) -> Mapping[str, Asked]:
        """Each design's problem, by the order that judges."""
        return {name: replace(best.problem, order=self.order) for name, best in self.designs.items()}

    @cached_property
    def covariances(self) -> Mapping[str, AsymptoticCovariance]:
        """Covariance of the fixed effects at each design."""
        return {name: reported(self._problems[name], best.nominal, best.design) for name, best in self.designs.items()}

    @cached_property
    def losses(self) -> Mapping[str, float]:
        """Minus the logarithm of the efficiency scale at each design; smaller is better."""
        return {name: loss_at(self._problems[name], best.design) for name, best in self.designs.items()}

    @property
    def best(self) -> str:
        """Name of the design with the best value."""
        return min(self.losses, key=lambda name: self.losses[name])

    @cached_property
    def powers(self) -> Mapping[str, float]:
        """Power of the test at each design, nan where it leaves no degrees of freedom; empty without a test."""
        if self.test is None:
            return {}
        return {
            name: Plan(best.model, best.nominal, best.design, self.test, self.order).power
            for name, best in self.designs.items()
        }

    def to_frame(self) -> pd.DataFrame:
        """A row per design: what it holds, what it costs, its value, what proves it, and what it is worth.

        Numbers of units, of cells (pairs of units of two factors that meet), of observations and of replicates per cell
        are those of the continuous optimum. The efficiency is relative to the best of the designs, the efficiency bound
        to all designs of the same layout, by the order that the design was found by.
        """
        import pandas as pd

        return pd.DataFrame([self._row(name) for name in self.designs], index=self._index)

    @property
    def _index(self) -> pd.Index:
        import pandas as pd

        return pd.Index(list(self.designs), name="layout")

    def _row(self, name: str) -> dict[str, object]:
        best, loss = self.designs[name], self.losses[name]
        powers = {"power": self.powers[name]} if self.powers else {}
        return {
            **_sizes(best),
            "spend": best.spend,
            "value": best.problem.criterion.value_of(loss),
            "efficiency": float(np.exp(self.losses[self.best] - loss)),
            "found by": best.order,
            "efficiency bound": best.certificate.efficiency_bound,
            **powers,
        }

    def by_source(self) -> pd.DataFrame:
        """A row per design and coefficient: variance, standard error, and the variance from each source.

        Sources are the random effects of each factor (what more observations of the same units cannot remove) and of
        cells, where the model has them, and the observations.
        """
        import pandas as pd

        return pd.concat({name: cov.to_frame() for name, cov in self.covariances.items()}, names=["layout"])

    @cached_property
    def cheapest(self) -> Mapping[str, OptimalDesign | None]:
        """The cheapest design of each layout that has the power wanted; None where no money reaches it.

        Each is the best for the tested coefficient, whatever the criterion of the comparison, by the order that the
        layout's design was found by.

        Raises
        ------
        SpecificationError
            Without a test.
        """
        if self.test is None:
            raise SpecificationError(
                "there is no power to be reached without a test: compare(designs, test=WaldTest(…))."
            )
        return {name: _cheapest(best, self.test, self.target) for name, best in self.designs.items()}

    def needed(self) -> pd.DataFrame:
        """A row per layout: the least money that reaches the power wanted, infinite where none does; what it buys."""
        import pandas as pd

        rows = [{"budget": math.inf} if best is None else _bought(best) for best in self.cheapest.values()]
        return pd.DataFrame(rows, index=self._index)

    def plans(self) -> pd.DataFrame:
        """A row per design rounded to whole numbers: what it holds and costs, its value, its bound among such plans.

        The value is by the order that the design was found by.
        """
        import pandas as pd

        plans = [best.rounded for best in self.designs.values()]
        rows = [
            {**_sizes(plan), "spend": plan.spend, "value": plan.value, "efficiency bound": plan.whole_bound}
            for plan in plans
        ]
        return pd.DataFrame(rows, index=self._index)

    def __repr__(self) -> str:
        label, budget = self.designs[self.best].criterion.label, self.designs[self.best].budget
        head = f"Comparison for {budget:,.2f}: {label} (order '{self.order}'); best: {self.best}"
        notes = [f"{name}: {note}" for name, best in self.designs.items() for note in best.warnings]
        table = self.to_frame().drop(columns=["found by"]).to_string(float_format="%.6g")
        return "\n".join([head, table, *notes])

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.6g}".format))


def compare(
    designs: Mapping[str, OptimalDesign], test: WaldTest | None = None, power: float = 0.8, order: str | None = None
) -> Comparison:
    """Optimal designs of one question side by side, such as the same units nested and crossed.

    Parameters
    ----------
    designs : mapping from name to OptimalDesign
        Of the same model, nominal values, criterion, prices and budget, as `alternatives` gives them.
    test : WaldTest, optional
        Adds the power of each design, ``nan`` where it leaves the test no degrees of freedom.
    power : float
        At which the designs' money is compared (`Comparison.needed`).
    order : str, optional
        Order of the covariance that judges all; by default theirs, and ``"two-term"`` where they differ.

    Returns
    -------
    Comparison

    Raises
    ------
    SpecificationError
        For designs that do not answer one question, and for `Maximin`, whose value is relative to a layout's own best.

    Examples
    --------
    Two arms of subjects, who answer items: where items are shared, the arms meet the same ones.

    >>> from optdesign import Candidates, COptimality, Cost, Crossed, DesignSpace, MixedModel, NominalValues
    >>> found = alternatives(
    ...     MixedModel("y ~ treat + (1 | subject) + (1 | item)"),
    ...     NominalValues([0.0, 0.5], {"subject": 0.6, "item": 0.35}, 1.1),
    ...     DesignSpace(Crossed("subject", "item"), Candidates.grid(treat=[0, 1]), levels={"treat": "subject"},
    ...                 counts={"item": (8, 200)}),
    ...     COptimality({"treat": 1.0}), Cost({"subject": 12.0, "item": 7.0}, observation=0.85), 2_000.0,
    ...     layouts=["complete crossing", "item in subject"])
    >>> frame = compare(found, WaldTest("treat")).to_frame()
    >>> frame["efficiency"].round(3).to_dict(), frame["power"].round(3).tolist()
    ({'complete crossing': 1.0, 'item in subject': 0.524}, [0.835, 0.563])
    """
    if not (isinstance(designs, Mapping) and designs):
        raise SpecificationError("compare takes a table of name to OptimalDesign; got none.")
    for name, best in designs.items():
        check_kind(f"designs['{name}']", best, OptimalDesign)
    _check_one_question(designs)
    found = Comparison(MappingProxyType(dict(designs)), order or common_order(designs), test, power)
    if test is not None:
        found.covariances[found.best].variance(test.combinations[0])  # names coefficients, or raises
    return found


def _check_one_question(designs: Mapping[str, OptimalDesign]) -> None:
    """All must share model, nominal values, criterion, prices and budget."""
    (first, one), *others = designs.items()
    for name, other in others:
        mine, theirs = _question(one), _question(other)
        different = [f"{what}, {mine[what]} and {theirs[what]}" for what in mine if mine[what] != theirs[what]]
        if different:
            raise SpecificationError(
                f"'{first}' and '{name}' answer different questions: they differ in {'; in '.join(different)}. Ask for "
                "both with the same."
            )
    if isinstance(one.criterion, Maximin):
        raise SpecificationError(
            "Maximin is relative to the best design of each layout, so that its values cannot be compared: use "
            "Bayesian, or the criterion in one of the scenarios."
        )


def _question(best: OptimalDesign) -> dict[str, object]:
    """What was asked, but the layout; printed forms stand for what has no equality."""
    return {
        "model": repr(best.model),
        "nominal values": repr(best.nominal),
        "criterion": best.criterion,
        "cost": best.cost,
        "budget": best.budget,
        "limits": dict(best.limits),
    }


def _sizes(best: OptimalDesign | ExactDesign) -> dict[str, float]:
    """Units of each factor, cells, observations, and observations per innermost unit or cell."""
    design = best.design
    innermost = design.cells or design.units
    cells = {"cells": design.cells} if design.cells else {}
    return {
        **design.counts,
        **cells,
        "observations": design.observations,
        "replicates": design.observations / innermost,
    }


def _cheapest(best: OptimalDesign, test: WaldTest, power: float) -> OptimalDesign | None:
    """The cheapest design of the same layout that has a power; None where no money reaches it."""
    criterion = COptimality(test.combinations[0])
    asked = (best.model, best.nominal, best.space, criterion, best.cost)
    with suppress(SpecificationError):
        return cheapest(*asked, test=test, power=power, order=best.order, limits=best.limits)
    return None


def _bought(best: OptimalDesign) -> dict[str, float]:
    """Money and what it buys."""
    return {"budget": best.budget, **_sizes(best)}
