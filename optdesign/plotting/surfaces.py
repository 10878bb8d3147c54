"""The criterion along the budget, and over the numbers that the budget buys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from optdesign.designs import Design
from optdesign.optimize.profile import Surface
from optdesign.plotting.house import INK, MUTED, SERIES, house, legend, mean_replicates, optimum_style, plain, short

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
    top.set_xlabel(plain(short(label)), color=INK, fontsize=10)
    top.tick_params(colors=INK, color=MUTED, labelsize=9, length=3)
    top.spines["top"].set_color(MUTED)


def criterion_surface(
    ax: Axes,
    surface: Surface,
    budgets: Sequence[float] | None = None,
    *,
    first: str | None = None,
    second: str | None = None,
) -> Axes:
    """Contours of efficiency over two numbers that money buys, with a line of designs that cost each budget.

    Parameters
    ----------
    ax : Axes
    surface : Surface
        From `criterion_surface`: numbers of units upwards and of observations per unit across, or of a crossed layout's
        rows upwards and columns across.
    budgets : sequence of float, optional
        In the currency of the cost; the optimum's own by default, which is drawn strongest.
    first, second : str, optional
        Labels of the axis upwards and of that across.

    Returns
    -------
    Axes
    """
    across = {"replicates": "observations per unit"}.get(surface.second, surface.second)
    house(ax, second or across, first or surface.first, grid="")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    x, y, efficiency = _grid(surface, "efficiency")
    lines = ax.contour(x, y, efficiency, levels=EFFICIENCY_LEVELS, colors=SERIES[0], linewidths=1.0)
    at = _label_places(lines.allsegs, ax)
    ax.clabel(lines, fmt=lambda level: f"{100 * level:.0f} %", fontsize=9, colors=INK, manual=at)
    limits = [_limit(ax, surface, budget) for budget in budgets or [surface.budget]]
    (mark,) = ax.plot([surface.optimum[1]], [surface.optimum[0]], **optimum_style())
    legend(ax, [Line2D([], [], color=SERIES[0], linewidth=1.0, label="efficiency"), *limits, mark])
    return ax


def _limit(ax: Axes, surface: Surface, budget: float) -> Line2D:
    """The designs that cost a budget."""
    own = bool(np.isclose(budget, surface.budget))
    dash: Literal["-"] | tuple[float, Sequence[float]] = "-" if own else (0, (3, 2))
    width = 2.2 if own else 1.4
    ax.contour(
        *_grid(surface, "spend"), levels=[budget], colors=SERIES[1], linewidths=width, linestyles=[dash], zorder=2.5
    )
    label = "the budget" if own else f"{budget:,.0f}"
    return Line2D([], [], color=SERIES[1], linewidth=width, linestyle=dash, label=label)


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


def _grid(surface: Surface, column: str) -> tuple[Array, Array, Array]:
    table = surface.frame.pivot_table(index=surface.first, columns=surface.second, values=column)
    return table.columns.to_numpy(float), table.index.to_numpy(float), table.to_numpy(float)
