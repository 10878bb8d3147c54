"""Power against the number of units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, PercentFormatter, StrMethodFormatter

from optdesign.plotting.house import INK, MUTED, ORDER_STYLE, house, legend, line_style, plain

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.simulate import Simulation

#: Ratio of the largest to the smallest number of units above which their axis is logarithmic.
WIDE = 30


def power_curves(
    ax: Axes,
    frame: pd.DataFrame,
    planned: float | None = None,
    wanted: float | None = None,
    *,
    units: str = "units",
    simulated: Mapping[float, Simulation] | None = None,
) -> Axes:
    """Power against the number of units, a line per order of the covariance, and what simulation finds.

    Parameters
    ----------
    ax : Axes
    frame : DataFrame
        Columns ``units``, ``order`` and ``power``.
    planned : float, optional
        Units of the plan; marked.
    wanted : float, optional
        Power that is wanted; marked.
    units : str
        Label of the axis.
    simulated : mapping from number of units to Simulation, optional
        With a test; drawn with their 95 % Monte-Carlo intervals.

    Returns
    -------
    Axes
    """
    house(ax, units, "power")
    handles = []
    for number, (order, rows) in enumerate(frame.dropna(subset="power").groupby("order", sort=False)):
        style = line_style(ORDER_STYLE.get(str(order), number))
        line = rows.sort_values("units")
        handles += ax.plot(line["units"], line["power"], **style, label=plain(str(order)))
        if planned is not None:
            at = float(np.interp(planned, line["units"], line["power"]))
            ax.plot([planned], [at], "o", color=style["color"], markersize=7, zorder=3)
    legend(ax, [*handles, *_simulated(ax, simulated or {}), *_goals(ax, planned, wanted)])
    if frame["units"].max() > WIDE * frame["units"].min():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_ylim(0.0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return ax


def _simulated(ax: Axes, simulations: Mapping[float, Simulation]) -> Iterator[Line2D]:
    found = [(units, each.power) for units, each in simulations.items() if each.power is not None]
    if not found:
        return
    at, rates = zip(*found, strict=True)
    low, high = np.array([rate.interval for rate in rates]).T
    ax.vlines(at, low, high, color=INK, linewidth=1.4, zorder=4)
    style: dict[str, Any] = {"marker": "s", "markersize": 5, "linestyle": "", "color": INK, "zorder": 5}
    yield from ax.plot(at, [rate.value for rate in rates], label="simulated, 95 % interval", **style)


def _goals(ax: Axes, planned: float | None, wanted: float | None) -> Iterator[Line2D]:
    if planned is not None:
        yield ax.axvline(planned, color=INK, linewidth=1.0, label=f"the plan ({planned:,.0f})")
    if wanted is not None:
        label = f"wanted ({100 * wanted:g} %)"
        yield ax.axhline(wanted, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), label=label)
