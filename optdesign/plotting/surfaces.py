"""The criterion along the budget, and over the numbers that the budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from optdesign.designs import Design
from optdesign.plotting.house import INK, MUTED, SERIES, house, legend, mean_replicates, optimum_style, plain

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Efficiencies at which contours are drawn, those of interest closer together.
EFFICIENCY_LEVELS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)


#: Where along the replicates contours carry their labels: away from the optimum, where the budget's limit crosses.
LABEL_AT = 0.14


def budget_line(
    ax: Axes,
    frame: pd.DataFrame,
    optimum: Design,
    *,
    units: str = "units",
    replicates: str = "observations per unit",
) -> Axes:
    """Efficiency of the best design with each number of observations per unit, all for the same money.

    The numbers of units that the budget then buys stand along the top.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        Columns ``replicates``, ``units`` and ``efficiency``.
    optimum : Design
        Marked at its mean number of observations per unit.
    units, replicates : str
        Labels of the axes.

    Returns
    -------
    Axes
    """
    rows = frame[np.isfinite(frame["efficiency"])].sort_values("replicates")
    house(ax, replicates, "efficiency")
    ax.plot(rows["replicates"], rows["efficiency"], marker="o", markersize=4, color=SERIES[0])
    (mark,) = ax.plot([mean_replicates(optimum)], [1.0], **optimum_style())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    ax.set_ylim(None, 1.0 + 0.06 * (1.0 - min(float(rows["efficiency"].min()), 0.98)))
    _unit_axis(ax, rows["replicates"].to_numpy(float), rows["units"].to_numpy(float), units)
    legend(ax, [mark], y=1.16)
    return ax


def _unit_axis(ax: Axes, replicates: Array, units: Array, label: str) -> None:
    """Whole numbers of replicates below, and the units that go with them above."""
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    low, high = ax.get_xlim()
    ticks = [t for t in ax.get_xticks() if low <= t <= high and replicates[0] <= t <= replicates[-1]]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    top = ax.secondary_xaxis("top")
    top.set_xticks(ticks, [f"{n:,.0f}" for n in np.interp(ticks, replicates, units)])
    top.set_xlabel(plain(label), color=INK, fontsize=10)
    top.tick_params(colors=INK, color=MUTED, labelsize=9, length=3)
    top.spines["top"].set_color(MUTED)


def criterion_surface(
    ax: Axes,
    frame: pd.DataFrame,
    budget: float,
    optimum: Design,
    *,
    units: str = "units",
    replicates: str = "observations per unit",
) -> Axes:
    """Contours of efficiency over the numbers of units and of observations per unit, with the budget's limit.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        A grid: columns ``units``, ``replicates``, ``efficiency`` and ``spend``.
    budget : float
        The limit is drawn where `spend` equals it.
    optimum : Design
    units, replicates : str
        Labels of the axes.

    Returns
    -------
    Axes
    """
    house(ax, replicates, units, grid="")
    n, m, efficiency = _grid(frame, "efficiency")
    lines = ax.contour(n, m, efficiency, levels=EFFICIENCY_LEVELS, colors=SERIES[0], linewidths=1.0)
    at = _label_places(lines.allsegs, ax)
    ax.clabel(lines, fmt=lambda level: f"{100 * level:.0f} %", fontsize=9, colors=INK, manual=at)
    ax.contour(n, m, _grid(frame, "spend")[2], levels=[budget], colors=SERIES[1], linewidths=2.2)
    (mark,) = ax.plot([mean_replicates(optimum)], [optimum.units], **optimum_style())
    contour = Line2D([], [], color=SERIES[0], linewidth=1.0, label="efficiency")
    limit = Line2D([], [], color=SERIES[1], linewidth=2.2, label="the budget")
    legend(ax, [contour, limit, mark])
    return ax


def _label_places(contours: Sequence[Sequence[Array]], ax: Axes) -> list[tuple[float, float]]:
    """A point of each contour towards the left, and none so near an edge that its label would be cut."""
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    places = []
    for line in (np.vstack(pieces) for pieces in contours if sum(map(len, pieces))):
        across, up = (line[:, 0] - left) / (right - left), (line[:, 1] - low) / (high - low)
        inside = line[(across > 0.08) & (across < 0.92) & (up > 0.06) & (up < 0.92)]
        if len(inside):
            places.append(tuple(inside[np.abs(inside[:, 0] - left - LABEL_AT * (right - left)).argmin()].tolist()))
    return places


def _grid(frame: pd.DataFrame, column: str) -> tuple[Array, Array, Array]:
    table = frame.pivot_table(index="units", columns="replicates", values=column)
    return table.columns.to_numpy(float), table.index.to_numpy(float), table.to_numpy(float)
