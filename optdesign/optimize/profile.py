"""How the criterion changes around an optimum: along the budget line, and over numbers of units and observations."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.designs import Design
from optdesign.errors import OptDesignError, SpecificationError
from optdesign.layouts import Crossed, Nested
from optdesign.optimize import interior
from optdesign.optimize.problem import make_problem
from optdesign.optimize.result import OptimalDesign
from optdesign.optimize.scoring import loss_at

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


def budget_line(best: OptimalDesign, replicates: Sequence[float]) -> pd.DataFrame:
    """The best design that the budget buys with the same number of observations in every unit.

    Parameters
    ----------
    best : OptimalDesign
    replicates : sequence of float
        Numbers of observations per unit; those that no admissible design has are left out.

    Returns
    -------
    DataFrame
        Columns replicates, units, value (of the criterion), efficiency (relative to `best`).
    """
    import pandas as pd

    rows = []
    for n in replicates:
        space = replace(best.space, replicates=float(n), common_replicates=False)
        try:
            problem = make_problem(
                best.model,
                best.nominal,
                space,
                best.criterion,
                best.cost,
                best.budget,
                best.order,
                best.limits,
                best.already,
            )
            problem = replace(problem, criterion=best.problem.criterion)
            problem.require_affordable()
            found = interior.solve(problem)
        except OptDesignError:
            continue
        value = problem.criterion.value_of(found.bound)
        efficiency = problem.criterion.efficiency(value, best.value)
        rows.append((float(n), problem.choice.design(found.z[problem.chosen]).units, value, efficiency))
    return pd.DataFrame(rows, columns=["replicates", "units", "value", "efficiency"])


@dataclass(frozen=True, eq=False, repr=False)
class Surface:
    """The criterion over two numbers that the budget buys.

    Attributes
    ----------
    first, second : str
        Columns of `frame`: "units" and "replicates" of one grouping factor, both factors of a crossed layout.
    frame : DataFrame
        A row per combination: both numbers, `value` of the criterion, `efficiency` relative to the optimum, `spend`.
    optimum : tuple of float
        Both numbers at the optimum.
    budget : float
    """

    first: str
    second: str
    frame: pd.DataFrame
    optimum: tuple[float, float]
    budget: float

    def to_frame(self) -> pd.DataFrame:
        """A row per combination."""
        return self.frame

    def __repr__(self) -> str:
        at = ", ".join(
            f"{number:.4g} {name}" for number, name in zip(self.optimum, (self.first, self.second), strict=True)
        )
        return f"Surface over {self.first} and {self.second}, optimum at {at}\n{self.frame.to_string(max_rows=10)}"

    def _repr_html_(self) -> str:
        return str(self.frame.to_html(index=False, max_rows=10))


def criterion_surface(best: OptimalDesign, first: Sequence[float], second: Sequence[float]) -> Surface:
    """The criterion over two numbers, at the optimum's proportions of everything else.

    Parameters
    ----------
    best : OptimalDesign
        Of one grouping factor, or completely crossed.
    first, second : sequences of float
        Numbers of units, and mean numbers of observations per unit; of a crossed layout numbers of units of either
        factor, at the optimum's number of observations per cell.

    Returns
    -------
    Surface

    Raises
    ------
    SpecificationError
        For a design without units, of units within units, or of an incomplete crossing.

    Examples
    --------
    Half the units have half the efficiency, whatever their size:

    >>> from optdesign import COptimality, Cost, DesignSpace, MixedModel, Nested, NominalValues, optimize
    >>> best = optimize(MixedModel("y ~ 1 + (1 | clinic)"), NominalValues([0.0], {"clinic": 0.2}, 0.8),
    ...                 DesignSpace(Nested("clinic")), COptimality({"Intercept": 1.0}),
    ...                 Cost(units={"clinic": 50.0}, observation=1.0), budget=10_000)
    >>> m, n = best.design.units, best.design.observations / best.design.units
    >>> criterion_surface(best, [m / 2, m], [n]).frame["efficiency"].round(6).tolist()
    [0.5, 1.0]
    """
    import pandas as pd

    design, criterion = best.design, best.problem.criterion
    if _is_crossed(best):
        names, optimum = tuple(design.counts), tuple(design.counts.values())
        rows = _crossed_rows(best, first, second)
    else:
        names, optimum = ("units", "replicates"), (design.units, design.observations / design.units)
        rows = _nested_rows(best, first, second)
    values = [(a, b, criterion.value_of(loss), spend) for a, b, loss, spend in rows]
    frame = pd.DataFrame(values, columns=[*names, "value", "spend"])
    frame["efficiency"] = [criterion.efficiency(value, best.value) for value in frame["value"]]
    return Surface(names[0], names[1], frame, (optimum[0], optimum[1]), best.budget)


def _is_crossed(best: OptimalDesign) -> bool:
    """Whether the numbers are those of two crossed factors; `SpecificationError` where there is no pair of numbers."""
    layout = best.design.layout
    if isinstance(layout, Crossed) and best.space.crossing == "complete":
        return True
    if isinstance(layout, Nested) and len(layout.factors) == 1:
        return False
    raise SpecificationError(
        f"a surface needs one grouping factor, or two that are completely crossed; the layout is {layout!r}."
    )


#: Both numbers, the loss there, and the spend.
Place = tuple[float, float, float, float]


def _nested_rows(best: OptimalDesign, units: Sequence[float], replicates: Sequence[float]) -> Iterator[Place]:
    """The covariance is inversely proportional to the units, so that each number of replicates is worked out once."""
    design = best.design
    mean = design.observations / design.units
    for n in replicates:
        scaled = design.scaled(1.0, n / mean)
        loss = loss_at(best.problem, scaled)
        fixed, price = best.cost.fixed, (scaled.spend(best.cost) - best.cost.fixed) / design.units
        for m in units:
            yield float(m), float(n), loss + float(np.log(design.units / m)), fixed + price * m


def _crossed_rows(best: OptimalDesign, rows: Sequence[float], columns: Sequence[float]) -> Iterator[Place]:
    design = best.design
    for counts in itertools.product(rows, columns):
        other = Design(
            design.layout,
            counts=dict(zip(design.counts, counts, strict=True)),
            replicates=design.cell_size,
            measure=design.groups[0].law,
            levels=design.levels,
            observed=design.observed,
        )
        yield float(counts[0]), float(counts[1]), loss_at(best.problem, other), other.spend(best.cost)
