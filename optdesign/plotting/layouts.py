"""Layouts of two factors: which is best where, and where its variance comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.ticker import StrMethodFormatter

from optdesign.plotting.house import INK, PAPER, SERIES, house, legend, row_labels, swatch

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.compare import Comparison, LayoutMap

Array = npt.NDArray[np.float64]


def layout_map(ax: Axes, layouts: LayoutMap, break_even: pd.DataFrame | None = None) -> Axes:
    """Which layout is best over ratios of prices and of variances, with a break-even curve.

    Parameters
    ----------
    ax : Axes
    layouts : LayoutMap
    break_even : DataFrame, optional
        Columns ``variance ratio`` and ``cost ratio``, a row per root; drawn as a line through them.

    Returns
    -------
    Axes
    """
    row, column = layouts.factors
    house(ax, f"price of {column} / price of {row}", f"variance of {column} / variance of {row}", grid="")
    edges = (_edges(layouts.cost_ratios), _edges(layouts.variance_ratios))
    best = np.asarray(layouts.best)
    shades = ListedColormap([_pale(colour) for colour in SERIES])
    ax.pcolormesh(*edges, best, cmap=shades, vmin=0, vmax=len(SERIES) - 1, edgecolors=PAPER, linewidth=0.8)
    handles = [swatch(_pale(SERIES[at]), layouts.names[at]) for at in np.unique(best)]
    if break_even is not None and len(break_even):
        curve = break_even.sort_values("variance ratio")
        at = (curve["cost ratio"], curve["variance ratio"])
        handles += ax.plot(*at, color=INK, linewidth=1.8, marker="o", markersize=4, label="break-even", zorder=3)
    ax.set(xscale="log", yscale="log")
    ax.minorticks_off()
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    legend(ax, handles)
    return ax


def standard_errors(ax: Axes, comparison: Comparison, coefficient: str) -> Axes:
    """Standard error of a coefficient in each layout, split by the sources of its variance.

    A bar per layout is as long as the standard error, and each part has its share of the variance: variances add up,
    standard errors do not.

    Parameters
    ----------
    ax : Axes
    comparison : Comparison
    coefficient : str

    Returns
    -------
    Axes
    """
    rows = comparison.by_source().reset_index()
    cov = comparison.covariances[comparison.best]
    frame = rows[rows["coefficient"] == cov.names[cov.position(coefficient)]]
    sources = [str(name) for name in frame if str(name).startswith("from ")]
    parts = frame[sources].fillna(0.0).mul(frame["standard error"] / frame["variance"], axis=0).to_numpy(float)
    house(ax, f"standard error of {coefficient}", "", grid="x")
    at, ends = np.arange(len(parts)), np.cumsum(parts, axis=1)
    for part, end, colour in zip(parts.T, ends.T, SERIES, strict=False):
        ax.barh(at, part, left=end - part, height=0.6, color=colour)
    row_labels(ax, frame["layout"].tolist(), "")
    legend(ax, [swatch(colour, name) for name, colour in zip(sources, SERIES, strict=False)])
    return ax


def _edges(values: Array) -> Array:
    """Ends of the cells around values on a logarithmic axis."""
    logs = np.log(values)
    middle = (logs[1:] + logs[:-1]) / 2
    first, last = (2 * logs[0] - middle[0], 2 * logs[-1] - middle[-1]) if len(middle) else (logs[0] - 1, logs[0] + 1)
    return np.asarray(np.exp([first, *middle, last]))


def _pale(colour: str) -> str:
    """A colour mixed with as much white, so that a line on it can be seen."""
    red, green, blue = to_rgb(colour)
    return to_hex((0.5 + 0.5 * red, 0.5 + 0.5 * green, 0.5 + 0.5 * blue))
