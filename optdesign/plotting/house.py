"""The house style: colours, dashes, legends and labels that all figures share, and the files they are written to.

Only artists are styled, never matplotlib's global settings, so that the functions mix with anybody's figures. Colours
are those of Okabe and Ito, which stay apart under the usual colour deficiencies; lines differ in dashes as well.
"""

from __future__ import annotations

import itertools
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from optdesign.designs import Design

INK, MUTED, FAINT, PAPER = "#1d2129", "#5a6270", "#d9dde3", "#ffffff"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), (0, (8, 2)))
ORDER_STYLE = {"two-term": 0, "leading": 1, "averaged": 2, "exact": 3}

#: Vermilion below the middle, which is white for there is an odd number of them, and blue above.
DIVERGING = LinearSegmentedColormap.from_list("house", [SERIES[1], PAPER, SERIES[0]], N=257)
SEQUENTIAL = LinearSegmentedColormap.from_list("house", [PAPER, SERIES[0]])
#: Lines that one set of axes can tell apart, and rows that one can label.
MOST_LINES, MOST_ROWS = len(SERIES), 14
#: Characters across a legend, each entry with seven for its handle.
LEGEND_WIDTH = 66


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


def house(ax: Axes, x: str, y: str, grid: Literal["", "x", "y", "both"] = "y") -> None:
    """Labels, and as little else as tells the numbers."""
    ax.set_xlabel(plain(short(x)), color=INK, fontsize=10)
    ax.set_ylabel(plain(short(y)), color=INK, fontsize=10)
    ax.set_facecolor(PAPER)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(MUTED)
    ax.tick_params(colors=INK, color=MUTED, labelsize=9, length=3)
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, axis=grid, color=FAINT, linewidth=0.6)


def legend(ax: Axes, handles: Sequence[Line2D], y: float = 1.0) -> None:
    """Above the axes, where it hides nothing."""
    for handle in handles:
        handle.set_label(short(str(handle.get_label()), LEGEND_WIDTH - 10))
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


def colour_bar(ax: Axes, drawn: ScalarMappable, label: str) -> Colorbar:
    """The scale of a heatmap, beside it."""
    bar = ax.figure.colorbar(drawn, ax=ax, shrink=0.85, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(plain(short(label)), color=INK, fontsize=10)
    bar.ax.tick_params(colors=INK, color=MUTED, labelsize=9, length=3)
    return bar


def swatch(colour: str, label: str) -> Line2D:
    """A square for a legend."""
    return Line2D([], [], marker="s", linestyle="", color=colour, label=plain(label))


def row_labels(ax: Axes, labels: Sequence[str], note: str) -> None:
    """Labels of rows from the top down, and a note on what does not fit."""
    ax.set_yticks(np.arange(len(labels)), [plain(short(label)) for label in labels])
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    if note:
        ax.text(0.0, -0.22, note, transform=ax.transAxes, color=MUTED, fontsize=9, va="top")


def optimum_style() -> dict[str, Any]:
    return {"marker": "*", "markersize": 15, "linestyle": "", "color": SERIES[1], "zorder": 4, "label": "optimum"}


def line_style(number: int) -> dict[str, Any]:
    return {"color": SERIES[number % len(SERIES)], "linestyle": DASHES[number % len(DASHES)], "linewidth": 1.8}


def line_styles() -> Iterator[dict[str, Any]]:
    return (line_style(number) for number in itertools.count())


def mean_replicates(design: Design) -> float:
    return design.observations / design.units


def values(at: Mapping[str, Any]) -> str:
    """``dose = 0.5, arm = active``."""
    return ", ".join(f"{name} = {f'{v:g}' if isinstance(v, (int, float, np.number)) else v}" for name, v in at.items())


def short(text: str, most: int = 42) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def plain(text: str) -> str:
    """Text that matplotlib shows as it is: a dollar starts no formula, an underscore hides nothing from a legend."""
    escaped = text.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
