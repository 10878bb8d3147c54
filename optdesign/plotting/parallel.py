"""Parallel sets: how the observations of a design divide over the values of several factors."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from optdesign.designs import Design
from optdesign.plotting.house import INK, MUTED, SERIES, house, plain, short

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Values of one factor that a column of blocks can label, gap between blocks as a share of the total, width of a block.
MOST_LEVELS, GAP, BLOCK = 6, 0.08, 0.05


def is_of_factors(design: Design) -> bool:
    """Whether a design is told by two factors or more, each of few values."""
    laws = [group.law.points for group in design.groups]
    levels = [{value for law in laws for value in law[name]} for name in laws[0]]
    return len(levels) > 1 and all(len(values) <= MOST_LEVELS for values in levels)


def parallel_sets(ax: Axes, design: Design) -> None:
    """A column of blocks per factor, and ribbons between as wide as the observations; colours follow the first."""
    flows = _flows(design)
    factors = [str(name) for name in flows if name != "observations"]
    columns = [_Column.of(flows, name, at) for at, name in enumerate(factors)]
    colours = dict(zip(columns[0].levels, SERIES, strict=False))
    for left, right in itertools.pairwise(columns):
        _ribbons(ax, flows, left, right, [colours[value] for value in flows[factors[0]]])
    for column in columns:
        _blocks(ax, column)
    house(ax, "", "observations in all, by factor", grid="")
    ax.set_xticks(range(len(factors)), [plain(name) for name in factors])
    ax.set_yticks([])
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.tick_params(axis="x", length=0)
    ax.set_xlim(-0.12, len(factors) - 0.55)


def _flows(design: Design) -> pd.DataFrame:
    """Observations of each combination of values, in an order that keeps those of the first factor together."""
    import pandas as pd

    laws = [group.law for group in design.groups]
    parts = [
        law.points.assign(observations=group.observations * law.weights)
        for group, law in zip(design.groups, laws, strict=True)
    ]
    names = [*design.groups[0].at, *(name for name in laws[0].points if name not in design.groups[0].at)]
    return pd.concat(parts).groupby(names, sort=True)[["observations"]].sum().reset_index()


@dataclass(frozen=True, eq=False)
class _Column:
    """One factor: where its blocks begin and how high they are."""

    name: str
    at: float
    levels: Sequence[object]
    start: Mapping[object, float]
    height: Mapping[object, float]

    @classmethod
    def of(cls, flows: pd.DataFrame, name: str, at: float) -> _Column:
        """Blocks from below, a gap between."""
        height = flows.groupby(name, sort=True)["observations"].sum()
        below = np.concatenate([[0.0], np.cumsum(height.to_numpy() + GAP * float(height.sum()))[:-1]])
        levels = list(height.index)
        return cls(name, at, levels, dict(zip(levels, below, strict=True)), height.to_dict())


def _ribbons(ax: Axes, flows: pd.DataFrame, left: _Column, right: _Column, colours: Sequence[str]) -> None:
    used = [dict(column.start) for column in (left, right)]
    x0, x1 = left.at + BLOCK, right.at
    middle = 0.5 * (x0 + x1)
    for row, colour in zip(flows.to_dict("records"), colours, strict=True):
        size = row["observations"]
        y0, y1 = used[0][row[left.name]], used[1][row[right.name]]
        used[0][row[left.name]] += size
        used[1][row[right.name]] += size
        lower = [(x0, y0), (middle, y0), (middle, y1), (x1, y1)]
        upper = [(x1, y1 + size), (middle, y1 + size), (middle, y0 + size), (x0, y0 + size)]
        curve = [Path.CURVE4] * 3
        path = Path([*lower, *upper, (x0, y0)], [Path.MOVETO, *curve, Path.LINETO, *curve, Path.CLOSEPOLY])
        ax.add_patch(PathPatch(path, facecolor=colour, alpha=0.45, linewidth=0.0))


def _blocks(ax: Axes, column: _Column) -> None:
    for value in column.levels:
        low, height = column.start[value], column.height[value]
        ax.bar(column.at, height, BLOCK, low, align="edge", color=MUTED)
        text = plain(f"{short(str(value), 18)}: {height:.4g}")
        ax.text(column.at + 1.5 * BLOCK, low + 0.5 * height, text, va="center", color=INK, fontsize=9)
