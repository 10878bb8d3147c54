"""Where a design puts its observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optdesign.designs import Design, Group
from optdesign.plotting.house import (
    MOST_LINES,
    MOST_ROWS,
    SERIES,
    house,
    legend,
    line_styles,
    plain,
    row_labels,
    values,
)

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


def design_measure(
    ax: Axes, design: Design, *, units: str = "units", replicates: str = "observations per unit"
) -> Axes:
    """Observations per unit at each covariate point, for each kind of unit.

    A stem per point along a numeric covariate; bars by label for several covariates, or categorical ones, or none.

    Parameters
    ----------
    ax : Axes
    design : Design
    units, replicates : str
        Words for units, and label of the axis.

    Returns
    -------
    Axes
    """
    from pandas.api.types import is_numeric_dtype

    points = design.groups[0].measure.points
    one_number = points.shape[1] == 1 and is_numeric_dtype(points.iloc[:, 0])
    if one_number and len(design.groups) <= MOST_LINES:
        house(ax, str(points.columns[0]), replicates)
        _stems(ax, design, units)
    else:
        house(ax, replicates, "", grid="x")
        _bars(ax, design, units)
    return ax


def _stems(ax: Axes, design: Design, units: str) -> None:
    values = np.concatenate([_only(g.measure.points) for g in design.groups])
    step = 0.02 * (float(np.ptp(values)) or 1.0)
    handles = []
    for number, (group, style) in enumerate(zip(design.groups, line_styles(), strict=False)):
        # Stems of one point stand side by side, so that none hides another.
        at = _only(group.measure.points) + step * (number - (len(design.groups) - 1) / 2)
        height = group.replicates * group.measure.weights
        ax.vlines(at, 0.0, height, color=style["color"], linewidth=2)
        handles += ax.plot(at, height, "o", color=style["color"], markersize=7, label=plain(_group_label(group, units)))
    ax.set_ylim(0.0, 1.08 * max(float((g.replicates * g.measure.weights).max()) for g in design.groups))
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.margins(x=0.06)
    legend(ax, handles)


def _only(points: pd.DataFrame) -> Array:
    return points.iloc[:, 0].to_numpy(float)


def _bars(ax: Axes, design: Design, units: str) -> None:
    rows = [
        (number, height, ", ".join(filter(None, (_group_label(group, units), values(point)))))
        for number, group in enumerate(design.groups)
        for point, height in zip(_records(group), group.replicates * group.measure.weights, strict=True)
    ]
    hidden = len(rows) - MOST_ROWS
    rows = rows[:MOST_ROWS]
    colours = [SERIES[number % len(SERIES)] for number, _, _ in rows]
    ax.barh(np.arange(len(rows)), [height for _, height, _ in rows], height=0.6, color=colours)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    row_labels(ax, [label for _, _, label in rows], f"… and {hidden} more" if hidden > 0 else "")


def _records(group: Group) -> list[dict[str, Any]]:
    columns = [str(c) for c in group.measure.points]
    if not columns:
        return [{}]
    return [dict(zip(columns, row, strict=True)) for row in group.measure.points.itertuples(index=False)]


def _group_label(group: Group, units: str) -> str:
    return ", ".join(filter(None, (f"{group.count:.4g} {units}", values(group.at))))
