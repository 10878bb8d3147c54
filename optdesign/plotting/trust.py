"""How far to trust a plan: the accuracy of an order, and efficiency under wrong nominal values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from optdesign.covariance.accuracy import WARN_AT, AccuracyMap
from optdesign.plotting.house import DIVERGING, INK, MOST_ROWS, MUTED, SERIES, colour_bar, house, legend, row_labels
from optdesign.tradeoffs import Robustness

if TYPE_CHECKING:
    import pandas as pd

#: Relative error of a variance at which the colours of a map end.
STRONGEST = 0.5


def accuracy_map(ax: Axes, found: AccuracyMap, *, replicates: str = "observations per unit") -> Axes:
    """Relative error of an order's variance over sizes and variances; in bold where it is not to be trusted.

    Parameters
    ----------
    ax : Axes
    found : AccuracyMap
    replicates : str
        Label of the axis.

    Returns
    -------
    Axes
    """
    off = found.ratios - 1.0
    image = ax.imshow(off, cmap=DIVERGING, vmin=-STRONGEST, vmax=STRONGEST, origin="lower", aspect="auto")
    for (row, column), value in np.ndenumerate(off):
        weight = "bold" if abs(value) > WARN_AT else "normal"
        ax.text(column, row, f"{100 * value:+.0f}", ha="center", va="center", color=INK, fontsize=9, weight=weight)
    house(ax, replicates, "multiple of the nominal variances", grid="")
    ax.set_xticks(range(len(found.replicates)), [f"{n:g}" for n in found.replicates])
    ax.set_yticks(range(len(found.multiples)), [f"{k:g}" for k in found.multiples])
    title = f"order {found.order} against {found.best}, in %; bold beyond {100 * WARN_AT:g} %"
    ax.set_title(title, fontsize=9, color=MUTED, loc="left")
    bar = colour_bar(ax, image, f"error of the variance of {found.coefficient}")
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return ax


def robustness_profile(ax: Axes, found: Robustness, *, label: str | None = None) -> Axes:
    """Efficiency of a plan under other nominal values than its own, relative to the best design there.

    A line along the values of one parameter; a dot per case for several parameters, or for scenarios, the worst
    first where they are many.

    Parameters
    ----------
    ax : Axes
    found : Robustness
    label : str, optional
        Of the axis of one parameter.

    Returns
    -------
    Axes
    """
    from pandas.api.types import is_numeric_dtype

    frame = found.to_frame()
    profile = "parameter" in frame and is_numeric_dtype(frame["nominal"])
    if profile and len(set(frame["parameter"])) == 1 and len(frame) > 1:
        _profile_line(ax, frame.sort_values("nominal"), label)
    else:
        _case_dots(ax, frame)
    return ax


def _profile_line(ax: Axes, rows: pd.DataFrame, label: str | None) -> None:
    house(ax, label or f"nominal value of {rows['parameter'].iloc[0]}", "efficiency of the plan")
    nominal = rows["nominal"].to_numpy(float)
    ax.plot(nominal, rows["efficiency"], marker="o", markersize=4, color=SERIES[0], linewidth=1.8)
    if nominal[0] > 0 and nominal[-1] >= 8 * nominal[0]:
        ax.set_xscale("log")
        ax.set_xticks(nominal, [f"{v:g}" for v in nominal], minor=False)
        ax.minorticks_off()
    ax.set_ylim(_lowest(rows), 1.01)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))


def _case_dots(ax: Axes, frame: pd.DataFrame) -> None:
    hidden = len(frame) - MOST_ROWS
    shown = frame.nsmallest(MOST_ROWS, "efficiency", keep="first") if hidden > 0 else frame
    house(ax, "efficiency of the plan", "", grid="x")
    at = np.arange(len(shown))
    ax.hlines(at, shown["efficiency"], 1.0, color=SERIES[0], linewidth=2, alpha=0.4)
    (dots,) = ax.plot(shown["efficiency"], at, "o", color=SERIES[0], markersize=7, label="the plan")
    best = ax.axvline(1.0, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), label="the best design there")
    row_labels(ax, [_case(row) for row in shown.to_dict("records")], f"… and {hidden} more" if hidden > 0 else "")
    ax.set_xlim(_lowest(shown), 1.005)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    legend(ax, [dots, best])


def _lowest(frame: pd.DataFrame) -> float:
    """Where the axis of efficiencies begins: nine tenths, or below the smallest."""
    return min(0.9, float(frame["efficiency"].min()) - 0.04)


def _case(row: Mapping[Hashable, Any]) -> str:
    if "scenario" in row:
        return f"scenario {row['scenario']}"
    nominal = row["nominal"]
    return f"{row['parameter']}: {nominal if isinstance(nominal, str) else f'{nominal:.3g}'}"
