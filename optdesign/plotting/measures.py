"""Where a design puts its observations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from optdesign.designs import Design, Group
from optdesign.plotting.house import (
    INK,
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
from optdesign.plotting.parallel import is_of_factors, parallel_sets

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Area of the largest bubble, in square points.
LARGEST_BUBBLE = 900.0


def design_measure(ax: Axes, design: Design, *, units: str = "units", replicates: str | None = None) -> Axes:
    """Where a design puts its observations, for each kind of unit.

    A stem per point along one numeric covariate, a bubble per point over two, and parallel sets for two factors or
    more, ribbons as wide as the numbers of observations; bars by label for all others.

    Parameters
    ----------
    ax : Axes
    design : Design
    units, replicates : str
        Words for units, and label of the axis; "observations per unit" by default.

    Returns
    -------
    Axes
    """
    if design.layout is None:
        units, replicates = "", replicates or "observations"
    replicates = replicates or "observations per unit"
    points = design.groups[0].measure.points
    numeric = [name for name in points if is_quantity(points[name])]
    if len(numeric) == points.shape[1] <= 2 and numeric and len(design.groups) <= MOST_LINES:
        (_stems if len(numeric) == 1 else _bubbles)(ax, design, units, replicates)
    elif is_of_factors(design):
        parallel_sets(ax, design)
    else:
        _bars(ax, design, units, replicates)
    return ax


def is_quantity(values: pd.Series[Any]) -> bool:
    """Whether values are numbers to be placed along an axis, and not a mark of yes and no."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    return is_numeric_dtype(values) and not is_bool_dtype(values)


def _stems(ax: Axes, design: Design, units: str, replicates: str) -> None:
    house(ax, str(design.groups[0].measure.points.columns[0]), replicates)
    step = 0.02 * _range(np.concatenate([_column(g, 0) for g in design.groups]))
    handles = []
    for number, (group, style) in enumerate(zip(design.groups, line_styles(), strict=False)):
        # Stems of one point stand side by side, so that none hides another.
        at = _column(group, 0) + step * (number - (len(design.groups) - 1) / 2)
        height = group.replicates * group.measure.weights
        ax.vlines(at, 0.0, height, color=style["color"], linewidth=2)
        handles += ax.plot(at, height, "o", color=style["color"], markersize=7, label=plain(_group_label(group, units)))
    ax.set_ylim(0.0, 1.08 * max(float((g.replicates * g.measure.weights).max()) for g in design.groups))
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.margins(x=0.06)
    if units:
        legend(ax, handles)


def _bubbles(ax: Axes, design: Design, units: str, replicates: str) -> None:
    first, second = design.groups[0].measure.points.columns
    house(ax, str(first), str(second), grid="both")
    step = 0.035 * _range(np.concatenate([_column(g, 0) for g in design.groups]))
    most = max(float((g.replicates * g.measure.weights).max()) for g in design.groups)
    handles = []
    for number, (group, style) in enumerate(zip(design.groups, line_styles(), strict=False)):
        # Bubbles of one point stand side by side, as stems do.
        x = _column(group, 0) + step * (number - (len(design.groups) - 1) / 2)
        y, times = _column(group, 1), group.replicates * group.measure.weights
        ax.scatter(x, y, s=LARGEST_BUBBLE * times / most, color=style["color"], alpha=0.35, linewidths=1.2)
        ax.scatter(x, y, s=LARGEST_BUBBLE * times / most, facecolors="none", edgecolors=style["color"], linewidths=1.2)
        for a, b, k in zip(x, y, times, strict=True):
            ax.annotate(f"{k:.3g}", (a, b), ha="center", va="center", color=INK, fontsize=9)
        label = ": ".join(filter(None, (_group_label(group, units), replicates)))
        handles += ax.plot([], [], "o", color=style["color"], label=plain(label))
    ax.margins(0.18)
    legend(ax, handles)


def _column(group: Group, at: int) -> Array:
    return group.measure.points.iloc[:, at].to_numpy(float)


def _range(numbers: Array) -> float:
    return float(np.ptp(numbers)) or 1.0


def _bars(ax: Axes, design: Design, units: str, replicates: str) -> None:
    house(ax, replicates, "", grid="x")
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
    return ", ".join(filter(None, (f"{group.count:.4g} {units}" if units else "", values(group.at))))
