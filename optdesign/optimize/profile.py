"""How the criterion changes around an optimum: along the budget line, and over numbers of units and observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.errors import OptDesignError
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


def criterion_surface(best: OptimalDesign, units: Sequence[float], replicates: Sequence[float]) -> pd.DataFrame:
    """The criterion over numbers of units and mean observations per unit, at the optimum's proportions.

    Parameters
    ----------
    best : OptimalDesign
        Of a layout with a grouping factor.
    units, replicates : sequences of float

    Returns
    -------
    DataFrame
        Columns units, replicates, value, efficiency (relative to `best`), spend; a row per combination.
    """
    import pandas as pd

    design, criterion = best.design, best.problem.criterion
    mean = design.observations / design.units
    rows = []
    for n in replicates:
        scaled = design.scaled(1.0, n / mean)
        loss = loss_at(best.problem, scaled)
        fixed, price = best.cost.fixed, (scaled.spend(best.cost) - best.cost.fixed) / design.units
        for m in units:
            value = criterion.value_of(loss + float(np.log(design.units / m)))
            rows.append((float(m), float(n), value, criterion.efficiency(value, best.value), fixed + price * m))
    return pd.DataFrame(rows, columns=["units", "replicates", "value", "efficiency", "spend"])
