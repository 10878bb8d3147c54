"""Figures of designs, certificates and power: each draws a result on the axes it is given, and returns them.

Only artists are styled, never matplotlib's global settings, so that the functions mix with anybody's figures. Colours
are those of Okabe and Ito, which stay apart under the usual colour deficiencies; lines differ in dashes as well.
"""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex, to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, PercentFormatter, StrMethodFormatter

from optdesign.designs import Design, Group
from optdesign.errors import SpecificationError
from optdesign.optimize import Certificate

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.compare import Comparison, LayoutMap

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

INK, MUTED, FAINT, PAPER = "#1d2129", "#5a6270", "#d9dde3", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), (0, (8, 2)))
ORDER_STYLE = {"two-term": 0, "leading": 1, "averaged": 2, "exact": 3}

#: Columns of a certificate's sensitivities that are not covariates.
CERTIFICATE_COLUMNS = ("kind", "sensitivity", "price", "ratio", "mass")
#: Lines that one set of axes can tell apart, and rows that one can label.
MOST_LINES, MOST_ROWS = len(SERIES), 14
#: Candidates on a line up to which each is marked: a covariate with few values has nothing between them.
MOST_MARKED = 30
#: Characters across a legend, each entry with seven for its handle.
LEGEND_WIDTH = 66
#: Efficiencies at which contours are drawn, those of interest closer together.
EFFICIENCY_LEVELS = (0.1, 0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)

#: Ratio of the largest to the smallest number of units above which their axis is logarithmic.
WIDE = 30
#: Where along the replicates contours carry their labels: away from the optimum, where the budget's limit crosses.
LABEL_AT = 0.14

#: Settings of the SVG writer can only be had globally; the lock keeps two threads from each other's.
_WRITING = threading.Lock()


def new_axes(width: float = 5.4, height: float = 3.5) -> tuple[Figure, Axes]:
    """A figure that belongs to no window and no session, and its axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor=PAPER)
    return figure, figure.subplots()


def save(figure: Figure, path: str | Path, dpi: int = 144) -> tuple[Path, Path]:
    """Write a figure as SVG and as PNG, the same bytes for the same figure.

    Parameters
    ----------
    figure : Figure
    path : str or Path
        Without a suffix.
    dpi : int
        Of the PNG.

    Returns
    -------
    tuple of Path
        The SVG, whose text is text, and the PNG.
    """
    svg, png = Path(f"{path}.svg"), Path(f"{path}.png")
    anonymous = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with (
        _WRITING,
        matplotlib.rc_context({"svg.hashsalt": "optdesign", "svg.fonttype": "none"}),
        warnings.catch_warnings(),
    ):
        # A name in a script that the font lacks is still text in the SVG.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(svg, format="svg", metadata=anonymous)
        figure.set_layout_engine("none")  # the layout is found once, and serves both
        figure.savefig(png, format="png", dpi=dpi, metadata={"Software": None})
    return svg, png


# The equivalence theorem


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
        return [_values(dict(zip(columns, row, strict=True))) for row in frame[list(columns)].itertuples(index=False)]


def _candidates(frame: pd.DataFrame) -> _Candidates:
    points = frame[frame["kind"] == "observation"]
    units = frame[(frame["kind"] != "observation") & ((frame["price"] > 0) | (frame["sensitivity"] > 0))]
    covariates = [str(c) for c in frame if c not in CERTIFICATE_COLUMNS]
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
    _house(ax, x, "sensitivity / price")
    handles = []
    for (name, rows), style in zip(lines.items(), _styles(), strict=False):
        style["marker"] = "o" if len(rows) <= MOST_MARKED else ""
        handles += ax.plot(
            rows[x], rows["ratio"], **style, markersize=4, markerfacecolor=PAPER, label=_plain(name or "an observation")
        )
        support = rows[rows["mass"] > 0]
        ax.plot(support[x], support["ratio"], "o", color=style["color"], markersize=7, clip_on=False, zorder=3)
    handles += [Line2D([], [], marker="o", linestyle="", color=INK, markersize=7, label="in the design"), _bound(ax)]
    _unit_strip(ax, candidates, list(lines))
    ax.set_ylim(0.0, max(1.05, 1.05 * float(candidates.points["ratio"].max())))
    _legend(ax, handles)


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
        text=[", ".join(filter(None, pair)) for pair in zip(rows["kind"], map(_values, told), strict=True)]
    )
    if len(rows) > MOST_ROWS:
        rows = rows.sort_values(["mass", "ratio"], ascending=False, kind="stable")
        rows = pd.concat([rows[rows["mass"] > 0], rows[rows["mass"] <= 0].sort_values("ratio", ascending=False)])
    shown, hidden = rows.iloc[:MOST_ROWS], len(rows) - MOST_ROWS
    _house(ax, "sensitivity / price", "", grid="x")
    used = (shown["mass"] > 0).to_numpy()
    at = np.arange(len(shown))
    ax.hlines(at, 0.0, shown["ratio"], color=FAINT, linewidth=2)
    (unused,) = ax.plot(shown["ratio"][~used], at[~used], "o", color=SERIES[0], markerfacecolor=PAPER, markersize=7)
    (support,) = ax.plot(shown["ratio"][used], at[used], "o", color=SERIES[0], markersize=7)
    support.set_label("in the design")
    unused.set_label("a candidate only")
    _row_labels(ax, list(shown["text"]), f"… and {hidden} more, none of them higher" if hidden > 0 else "")
    ax.set_xlim(0.0, max(1.08, 1.08 * float(shown["ratio"].max())))
    _legend(ax, [support, *([unused] if not used.all() else []), _bound(ax, vertical=True)])


def _bound(ax: Axes, vertical: bool = False) -> Line2D:
    draw = ax.axvline if vertical else ax.axhline
    return draw(1.0, color=INK, linewidth=1.0, linestyle=(0, (2, 2)), zorder=1, label="bound")


# Along the budget


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
    _house(ax, replicates, "efficiency")
    ax.plot(rows["replicates"], rows["efficiency"], marker="o", markersize=4, color=SERIES[0])
    (mark,) = ax.plot([_mean_replicates(optimum)], [1.0], **_optimum_style())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    ax.set_ylim(None, 1.0 + 0.06 * (1.0 - min(float(rows["efficiency"].min()), 0.98)))
    _unit_axis(ax, rows["replicates"].to_numpy(float), rows["units"].to_numpy(float), units)
    _legend(ax, [mark], y=1.16)
    return ax


def _unit_axis(ax: Axes, replicates: Array, units: Array, label: str) -> None:
    """Whole numbers of replicates below, and the units that go with them above."""
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    low, high = ax.get_xlim()
    ticks = [t for t in ax.get_xticks() if low <= t <= high and replicates[0] <= t <= replicates[-1]]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    top = ax.secondary_xaxis("top")
    top.set_xticks(ticks, [f"{n:,.0f}" for n in np.interp(ticks, replicates, units)])
    top.set_xlabel(_plain(label), color=INK, fontsize=10)
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
    _house(ax, replicates, units, grid="")
    n, m, efficiency = _grid(frame, "efficiency")
    lines = ax.contour(n, m, efficiency, levels=EFFICIENCY_LEVELS, colors=SERIES[0], linewidths=1.0)
    at = _label_places(lines.allsegs, ax)
    ax.clabel(lines, fmt=lambda level: f"{100 * level:.0f} %", fontsize=9, colors=INK, manual=at)
    ax.contour(n, m, _grid(frame, "spend")[2], levels=[budget], colors=SERIES[1], linewidths=2.2)
    (mark,) = ax.plot([_mean_replicates(optimum)], [optimum.units], **_optimum_style())
    contour = Line2D([], [], color=SERIES[0], linewidth=1.0, label="efficiency")
    limit = Line2D([], [], color=SERIES[1], linewidth=2.2, label="the budget")
    _legend(ax, [contour, limit, mark])
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


# Power


def power_curves(
    ax: Axes,
    frame: pd.DataFrame,
    planned: float | None = None,
    wanted: float | None = None,
    *,
    units: str = "units",
) -> Axes:
    """Power against the number of units, a line per order of the covariance.

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

    Returns
    -------
    Axes
    """
    _house(ax, units, "power")
    handles = []
    for number, (order, rows) in enumerate(frame.dropna(subset="power").groupby("order", sort=False)):
        style = _style(ORDER_STYLE.get(str(order), number))
        line = rows.sort_values("units")
        handles += ax.plot(line["units"], line["power"], **style, label=_plain(str(order)))
        if planned is not None:
            at = float(np.interp(planned, line["units"], line["power"]))
            ax.plot([planned], [at], "o", color=style["color"], markersize=7, zorder=3)
    _legend(ax, [*handles, *_goals(ax, planned, wanted)])
    if frame["units"].max() > WIDE * frame["units"].min():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.minorticks_off()
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    ax.set_ylim(0.0, 1.02)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=" %"))
    return ax


def _goals(ax: Axes, planned: float | None, wanted: float | None) -> Iterator[Line2D]:
    if planned is not None:
        yield ax.axvline(planned, color=INK, linewidth=1.0, label=f"the plan ({planned:,.0f})")
    if wanted is not None:
        label = f"wanted ({100 * wanted:g} %)"
        yield ax.axhline(wanted, color=MUTED, linewidth=1.0, linestyle=(0, (2, 2)), label=label)


# Layouts of two factors


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
    _house(ax, f"price of {column} / price of {row}", f"variance of {column} / variance of {row}", grid="")
    edges = (_edges(layouts.cost_ratios), _edges(layouts.variance_ratios))
    best = np.asarray(layouts.best)
    shades = ListedColormap([_pale(colour) for colour in SERIES])
    ax.pcolormesh(*edges, best, cmap=shades, vmin=0, vmax=len(SERIES) - 1, edgecolors=PAPER, linewidth=0.8)
    handles = [_swatch(_pale(SERIES[at]), layouts.names[at]) for at in np.unique(best)]
    if break_even is not None and len(break_even):
        curve = break_even.sort_values("variance ratio")
        at = (curve["cost ratio"], curve["variance ratio"])
        handles += ax.plot(*at, color=INK, linewidth=1.8, marker="o", markersize=4, label="break-even", zorder=3)
    ax.set(xscale="log", yscale="log")
    ax.minorticks_off()
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    _legend(ax, handles)
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
    _house(ax, f"standard error of {coefficient}", "", grid="x")
    at, ends = np.arange(len(parts)), np.cumsum(parts, axis=1)
    for part, end, colour in zip(parts.T, ends.T, SERIES, strict=False):
        ax.barh(at, part, left=end - part, height=0.6, color=colour)
    _row_labels(ax, frame["layout"].tolist(), "")
    _legend(ax, [_swatch(colour, name) for name, colour in zip(sources, SERIES, strict=False)])
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


# Designs


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
        _house(ax, str(points.columns[0]), replicates)
        _stems(ax, design, units)
    else:
        _house(ax, replicates, "", grid="x")
        _bars(ax, design, units)
    return ax


def covariance_pattern(ax: Axes, units: Mapping[str, npt.ArrayLike]) -> Axes:
    """Pattern of V = ZGZᵀ + R: which observations are correlated, and through which factor.

    Nested units give blocks along the diagonal, so that the information of one can be worked out alone; crossed ones
    correlate every observation with those of its row and of its column.

    Parameters
    ----------
    ax : Axes
    units : mapping from factor to sequence
        The unit of each observation, in the order in which observations are drawn; the outermost factor first.

    Returns
    -------
    Axes
        The title says how many entries are not zero.
    """
    codes = _unit_codes(units)
    filled = _correlations(ax, codes)
    ax.set_title(f"{filled} entries not zero", fontsize=9, color=MUTED, loc="left")
    _legend(ax, _factor_swatches(codes), y=1.08)
    return ax


def layout_patterns(layouts: Mapping[str, Mapping[str, npt.ArrayLike]]) -> Figure:
    """What makes a crossed layout harder than a nested one: where V, Z and a Cholesky factor are not zero.

    A line of panels per layout: V = ZGZᵀ + R, the indicators Z of the units, and the Cholesky factor of ZᵀZ + I, which
    is what solving with V takes. Nested units give blocks in V, and a factor as sparse as ZᵀZ. Crossed ones link all
    observations, and the factor fills in: units of the second factor that share a unit of the first meet in it.

    Parameters
    ----------
    layouts : mapping from title to (mapping from factor to sequence)
        The unit of each observation, by a label that no other unit of the factor has. Columns of Z go from the factor
        with most units to that with fewest, an order without fill-in where factors are nested.

    Returns
    -------
    Figure
        The title of each panel says how many entries are not zero.
    """
    figure = Figure(figsize=(9.6, 4.0 * len(layouts)), layout="constrained", facecolor=PAPER)
    parts = figure.subfigures(len(layouts), 1, squeeze=False)[:, 0]
    for part, (name, units) in zip(parts, layouts.items(), strict=True):
        _layout_panels(part, name, _unit_codes(units))
    return figure


def _layout_panels(part: SubFigure, name: str, codes: Mapping[str, Index]) -> None:
    part.suptitle(_plain(name), x=0.01, ha="left", color=INK, fontsize=11, weight="bold")
    of_v, of_z, of_factor = part.subplots(1, 3)
    titles = {
        of_v: f"V = ZGZᵀ + R: {_correlations(of_v, codes)} not zero",
        of_z: f"Z: {_indicators(of_z, codes)} not zero",
        of_factor: f"LLᵀ = ZᵀZ + I: {_cholesky(of_factor, codes)}",
    }
    for ax, title in titles.items():
        ax.set_title(title, fontsize=9, color=MUTED, loc="left")
    handles = [*_factor_swatches(codes), _swatch(MUTED, "not zero in ZᵀZ"), _swatch(SERIES[3], "filled in")]
    part.legend(
        handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=9, labelcolor=INK
    )


def _unit_codes(units: Mapping[str, npt.ArrayLike]) -> dict[str, Index]:
    if not isinstance(units, Mapping) or any(np.ndim(np.asarray(labels)) != 1 for labels in units.values()):
        raise SpecificationError(
            f"units must be a table of factor to the unit of each observation, such as {{'clinic': [1, 1, 2]}}; got "
            f"{units!r:.80}."
        )
    sizes = {len(np.asarray(labels)) for labels in units.values()}
    if len(sizes) != 1 or sizes == {0}:
        raise SpecificationError(f"every factor needs one unit per observation; got {_lengths(units)}.")
    return {factor: np.unique(np.asarray(labels), return_inverse=True)[1] for factor, labels in units.items()}


def _lengths(units: Mapping[str, npt.ArrayLike]) -> str:
    return ", ".join(f"{len(np.asarray(labels))} for '{factor}'" for factor, labels in units.items()) or "no factor"


def _unit_columns(codes: Mapping[str, Index]) -> tuple[Mask, Index]:
    """Z, and the number of each column's factor."""
    order = sorted(enumerate(codes.values()), key=lambda numbered: -int(numbered[1].max()))
    blocks = [code[:, None] == np.arange(code.max() + 1) for _, code in order]
    return np.hstack(blocks), np.repeat([number for number, _ in order], [block.shape[1] for block in blocks])


def _correlations(ax: Axes, codes: Mapping[str, Index]) -> str:
    """Draw V; how many of its entries are not zero."""
    size = len(next(iter(codes.values())))
    image = np.full((size, size), -1)
    for number, code in enumerate(codes.values()):
        image[code[:, None] == code] = number
    image[np.diag_indices(size)] = len(codes)
    _pattern(ax, image, (*SERIES[: len(codes)], INK))
    _house(ax, "observation", "observation", grid="")
    return f"{int((image >= 0).sum()):,} of {image.size:,}"


def _indicators(ax: Axes, codes: Mapping[str, Index]) -> str:
    """Draw Z; how many of its entries are not zero."""
    Z, factor = _unit_columns(codes)
    _pattern(ax, np.where(Z, factor, -1), SERIES[: len(codes)])
    _house(ax, "unit", "observation", grid="")
    return f"{int(Z.sum()):,} of {Z.size:,}"


def _cholesky(ax: Axes, codes: Mapping[str, Index]) -> str:
    """Draw the Cholesky factor of ZᵀZ + I; how many entries of its triangle are not zero, and how many filled in."""
    Z, _ = _unit_columns(codes)
    start = np.tril(Z.T.astype(int) @ Z > 0)
    filled = _eliminated(start)
    _pattern(ax, np.where(start, 0, np.where(filled, 1, -1)), (MUTED, SERIES[3]))
    _house(ax, "unit", "unit", grid="")
    triangle = len(Z.T) * (len(Z.T) + 1) // 2
    return f"{int(filled.sum()):,} of {triangle:,}, {int((filled & ~start).sum()):,} filled in"


def _eliminated(lower: Mask) -> Mask:
    """Pattern of the Cholesky factor of a matrix with this pattern in its lower triangle."""
    filled = lower.copy()
    for column in range(len(filled)):
        below = column + 1 + np.flatnonzero(filled[column + 1 :, column])
        filled[np.ix_(below, below)] = True
    return np.tril(filled)


def _pattern(ax: Axes, image: Index, colours: Sequence[str]) -> None:
    """Entries by the number of their colour; those of -1 are left white."""
    shades = ListedColormap([PAPER, *colours])
    ax.imshow(image, cmap=shades, vmin=-1, vmax=len(colours) - 1, interpolation="nearest", aspect="auto")
    ax.set_box_aspect(1)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))


def _factor_swatches(codes: Mapping[str, Index]) -> list[Line2D]:
    return [*(_swatch(colour, f"same {f}") for f, colour in zip(codes, SERIES, strict=False)), _swatch(INK, "itself")]


def _swatch(colour: str, label: str) -> Line2D:
    return Line2D([], [], marker="s", linestyle="", color=colour, label=_plain(label))


def _stems(ax: Axes, design: Design, units: str) -> None:
    values = np.concatenate([_only(g.measure.points) for g in design.groups])
    step = 0.02 * (float(np.ptp(values)) or 1.0)
    handles = []
    for number, (group, style) in enumerate(zip(design.groups, _styles(), strict=False)):
        # Stems of one point stand side by side, so that none hides another.
        at = _only(group.measure.points) + step * (number - (len(design.groups) - 1) / 2)
        height = group.replicates * group.measure.weights
        ax.vlines(at, 0.0, height, color=style["color"], linewidth=2)
        handles += ax.plot(
            at, height, "o", color=style["color"], markersize=7, label=_plain(_group_label(group, units))
        )
    ax.set_ylim(0.0, 1.08 * max(float((g.replicates * g.measure.weights).max()) for g in design.groups))
    ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.margins(x=0.06)
    _legend(ax, handles)


def _only(points: pd.DataFrame) -> Array:
    return points.iloc[:, 0].to_numpy(float)


def _bars(ax: Axes, design: Design, units: str) -> None:
    rows = [
        (number, height, ", ".join(filter(None, (_group_label(group, units), _values(point)))))
        for number, group in enumerate(design.groups)
        for point, height in zip(_records(group), group.replicates * group.measure.weights, strict=True)
    ]
    hidden = len(rows) - MOST_ROWS
    rows = rows[:MOST_ROWS]
    colours = [SERIES[number % len(SERIES)] for number, _, _ in rows]
    ax.barh(np.arange(len(rows)), [height for _, height, _ in rows], height=0.6, color=colours)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    _row_labels(ax, [label for _, _, label in rows], f"… and {hidden} more" if hidden > 0 else "")


def _records(group: Group) -> list[dict[str, Any]]:
    columns = [str(c) for c in group.measure.points]
    if not columns:
        return [{}]
    return [dict(zip(columns, row, strict=True)) for row in group.measure.points.itertuples(index=False)]


def _group_label(group: Group, units: str) -> str:
    return ", ".join(filter(None, (f"{group.count:.4g} {units}", _values(group.at))))


# House style


def _house(ax: Axes, x: str, y: str, grid: str = "y") -> None:
    ax.set_xlabel(_plain(x), color=INK, fontsize=10)
    ax.set_ylabel(_plain(y), color=INK, fontsize=10)
    ax.set_facecolor(PAPER)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=INK, color=MUTED, labelsize=9, length=3)
    ax.set_axisbelow(True)
    if grid == "x":
        ax.xaxis.grid(True, color=FAINT, linewidth=0.6)
    elif grid == "y":
        ax.yaxis.grid(True, color=FAINT, linewidth=0.6)


def _legend(ax: Axes, handles: Sequence[Line2D], y: float = 1.0) -> None:
    """Above the axes, where it hides nothing."""
    longest = max(len(str(h.get_label())) for h in handles)
    ax.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.0, y),
        ncols=max(1, min(LEGEND_WIDTH // (longest + 7), len(handles))),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        borderaxespad=0.4,
        handlelength=2.2,
        columnspacing=1.4,
    )


def _row_labels(ax: Axes, labels: Sequence[str], note: str) -> None:
    """Labels of rows from the top down, and a note on what does not fit."""
    ax.set_yticks(np.arange(len(labels)), [_plain(_short(label)) for label in labels])
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    if note:
        ax.text(0.0, -0.22, note, transform=ax.transAxes, color=MUTED, fontsize=9, va="top")


def _optimum_style() -> dict[str, Any]:
    return {"marker": "*", "markersize": 15, "linestyle": "", "color": SERIES[1], "zorder": 4, "label": "optimum"}


def _style(number: int) -> dict[str, Any]:
    return {"color": SERIES[number % len(SERIES)], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.8}


def _styles() -> Iterator[dict[str, Any]]:
    return (_style(number) for number in itertools.count())


def _mean_replicates(design: Design) -> float:
    return design.observations / design.units


def _values(at: Mapping[str, Any]) -> str:
    """``dose = 0.5, arm = active``."""
    return ", ".join(f"{name} = {f'{v:g}' if isinstance(v, (int, float, np.number)) else v}" for name, v in at.items())


def _short(text: str, most: int = 42) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar starts no formula, an underscore hides nothing from a legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
