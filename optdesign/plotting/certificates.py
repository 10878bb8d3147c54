"""The equivalence theorem as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

from optdesign.optimize import Certificate
from optdesign.plotting.house import (
    FAINT,
    INK,
    MOST_LINES,
    MOST_ROWS,
    PAPER,
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

#: Columns of a certificate's sensitivities that are not covariates.
_COLUMNS = ("kind", "sensitivity", "price", "ratio", "mass")
#: Candidates on a line up to which each is marked: a covariate with few values has nothing between them.
_MOST_MARKED = 30


def sensitivity(ax: Axes, certificate: Certificate) -> Axes:
    """Ratio of sensitivity to price at every candidate: nowhere above one, and one on the support.

    A line per unit type against the numeric within-unit covariate, with the ratio of the units themselves in a strip at
    the right; where there is no such covariate, or too many lines, a dot per candidate by its label (the largest
    ratios, if they are many).

    Parameters
    ----------
    ax : Axes
    certificate : Certificate

    Returns
    -------
    Axes
    """
    candidates = _candidates(certificate.sensitivities)
    lines = _lines(candidates)
    if lines is None:
        _ratio_dots(ax, candidates)
    else:
        _ratio_lines(ax, candidates, lines)
    return ax


@dataclass(frozen=True, eq=False)
class _Candidates:
    """A certificate's rows for observations and for units, and the covariates that tell them apart."""

    points: pd.DataFrame
    units: pd.DataFrame
    within: list[str]
    between: list[str]

    def labels(self, frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
        return [values(dict(zip(columns, row, strict=True))) for row in frame[list(columns)].itertuples(index=False)]


def _candidates(frame: pd.DataFrame) -> _Candidates:
    points = frame[frame["kind"] == "observation"]
    units = frame[(frame["kind"] != "observation") & ((frame["price"] > 0) | (frame["sensitivity"] > 0))]
    covariates = [str(c) for c in frame if c not in _COLUMNS]
    # A covariate that is observed stands at one value in every row, and says nothing.
    varying = [c for c in covariates if _distinct(points, c) > 1]
    between = [c for c in varying if len(units) and units[c].notna().all()]
    return _Candidates(points, units, [c for c in varying if c not in between], between)


def _distinct(frame: pd.DataFrame, column: str) -> int:
    return len(frame[column].unique())


def _lines(candidates: _Candidates) -> tuple[str, dict[str, pd.DataFrame]] | None:
    """The covariate to draw against and the rows of each line, where that makes few and long enough lines."""
    from pandas.api.types import is_numeric_dtype

    points = candidates.points
    numeric = [c for c in candidates.within if is_numeric_dtype(points[c]) and _distinct(points, c) > 2]
    if not numeric:
        return None
    x = max(numeric, key=lambda c: _distinct(points, c))
    rest = [c for c in (*candidates.between, *candidates.within) if c != x]
    label = np.array(candidates.labels(points, rest), dtype=object)
    names = list(dict.fromkeys(label))
    return (x, {n: points[label == n].sort_values(x) for n in names}) if len(names) <= MOST_LINES else None


def _ratio_lines(ax: Axes, candidates: _Candidates, drawn: tuple[str, dict[str, pd.DataFrame]]) -> None:
    x, lines = drawn
    house(ax, x, "sensitivity / price")
    handles = []
    for (name, rows), style in zip(lines.items(), line_styles(), strict=False):
        style["marker"] = "o" if len(rows) <= _MOST_MARKED else ""
        handles += ax.plot(
            rows[x], rows["ratio"], **style, markersize=4, markerfacecolor=PAPER, label=plain(name or "an observation")
        )
        support = rows[rows["mass"] > 0]
        ax.plot(support[x], support["ratio"], "o", color=style["color"], markersize=7, clip_on=False, zorder=3)
    handles += [Line2D([], [], marker="o", linestyle="", color=INK, markersize=7, label="in the design"), _bound(ax)]
    _unit_strip(ax, candidates, list(lines))
    ax.set_ylim(0.0, max(1.05, 1.05 * float(candidates.points["ratio"].max())))
    legend(ax, handles)


def _unit_strip(ax: Axes, candidates: _Candidates, names: list[str]) -> None:
    """The ratios of the units themselves, beyond the range of the covariate."""
    if candidates.units.empty:
        return
    low, high = ax.get_xlim()
    at, edge = high + 0.06 * (high - low), high + 0.01 * (high - low)
    colour = dict(zip(names, SERIES, strict=False))
    for name, (_, row) in zip(
        candidates.labels(candidates.units, candidates.between), candidates.units.iterrows(), strict=True
    ):
        face = colour.get(name, INK) if row["mass"] > 0 else PAPER
        ax.plot([at], [row["ratio"]], "D", color=colour.get(name, INK), markerfacecolor=face, markersize=6, zorder=3)
    ticks = [t for t in ax.get_xticks() if low <= t <= high]
    labels = [*(f"{t:g}" for t in ticks), "unit"]
    ax.axvline(edge, color=FAINT, linewidth=0.8)
    ax.set_xlim(low, high + 0.11 * (high - low))
    ax.xaxis.set_major_locator(FixedLocator([*ticks, at]))
    ax.set_xticklabels(labels)


def _ratio_dots(ax: Axes, candidates: _Candidates) -> None:
    import pandas as pd

    rows = pd.concat([candidates.units, candidates.points], ignore_index=True)
    told = [
        {c: row[c] for c in (*candidates.between, *candidates.within) if row[c] == row[c]} for _, row in rows.iterrows()
    ]
    rows = rows.assign(
        text=[", ".join(filter(None, pair)) for pair in zip(rows["kind"], map(values, told), strict=True)]
    )
    if len(rows) > MOST_ROWS:
        rows = rows.sort_values(["mass", "ratio"], ascending=False, kind="stable")
        rows = pd.concat([rows[rows["mass"] > 0], rows[rows["mass"] <= 0].sort_values("ratio", ascending=False)])
    shown, hidden = rows.iloc[:MOST_ROWS], len(rows) - MOST_ROWS
    house(ax, "sensitivity / price", "", grid="x")
    used = (shown["mass"] > 0).to_numpy()
    at = np.arange(len(shown))
    ax.hlines(at, 0.0, shown["ratio"], color=FAINT, linewidth=2)
    (unused,) = ax.plot(shown["ratio"][~used], at[~used], "o", color=SERIES[0], markerfacecolor=PAPER, markersize=7)
    (support,) = ax.plot(shown["ratio"][used], at[used], "o", color=SERIES[0], markersize=7)
    support.set_label("in the design")
    unused.set_label("a candidate only")
    row_labels(ax, list(shown["text"]), f"… and {hidden} more, none of them higher" if hidden > 0 else "")
    ax.set_xlim(0.0, max(1.08, 1.08 * float(shown["ratio"].max())))
    legend(ax, [support, *([unused] if not used.all() else []), _bound(ax, vertical=True)])


def _bound(ax: Axes, vertical: bool = False) -> Line2D:
    draw = ax.axvline if vertical else ax.axhline
    return draw(1.0, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1, label="bound")
