"""Precision: what it costs, and how coefficients share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from optdesign.covariance import AsymptoticCovariance
from optdesign.errors import NotEstimableError, SpecificationError, check_kind, is_number
from optdesign.plotting.house import FAINT, MOST_LINES, house, legend, line_styles, plain
from optdesign.tradeoffs import Frontier


def frontier(ax: Axes, found: Frontier, coefficients: Sequence[str] | None = None, *, currency: str = "") -> Axes:
    """Cost-precision frontier: standard errors of the best design for each budget, on logarithmic axes.

    A straight line of slope −1/2 is the law of the square root; it bends where bounds on counts or fixed costs bind.

    Parameters
    ----------
    ax : Axes
    found : Frontier
    coefficients : sequence of str, optional
        At most six; by default the first six that the criterion depends on.
    currency : str
        Of the budgets.

    Returns
    -------
    Axes
    """
    first = found.designs[0]
    names = list(coefficients or first.problem.criterion.used)[:MOST_LINES]
    budgets = [best.budget for best in found.designs]
    house(ax, f"budget, in {currency}" if currency else "budget", "standard error", grid="both")
    handles = []
    for name, style in zip(names, line_styles(), strict=False):
        at = first.covariance.position(name)
        errors = [float(best.covariance.standard_errors[at]) for best in found.designs]
        handles += ax.plot(budgets, errors, marker="o", markersize=4, label=plain(name), **style)
    ax.set(xscale="log", yscale="log")
    for axis, form, subs in ((ax.xaxis, "{x:,.0f}", (1, 2, 5)), (ax.yaxis, "{x:.3g}", (1, 1.5, 2, 3, 5, 7))):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter(form))
    _few_ticks(ax)
    legend(ax, handles)
    return ax


def _few_ticks(ax: Axes) -> None:
    """The ends too, where a range is so short that fewer than two round numbers are in it."""
    for axis, (low, high) in ((ax.xaxis, ax.get_xlim()), (ax.yaxis, ax.get_ylim())):
        if sum(low <= tick <= high for tick in axis.get_majorticklocs()) < 2:
            axis.set_major_locator(FixedLocator([float(f"{v:.2g}") for v in np.geomspace(low, high, 5)[1:-1]]))


def confidence_ellipses(
    ax: Axes, covariances: Mapping[str, AsymptoticCovariance], first: str, second: str, level: float = 0.95
) -> Axes:
    """Joint confidence regions of two parameters, around their nominal values: {b : (b − β)ᵀ Cov⁻¹ (b − β) ≤ χ²₂}.

    Parameters
    ----------
    ax : Axes
    covariances : mapping from label to AsymptoticCovariance
        Of several designs, or by several orders; at most six.
    first, second : str
        The parameters across and upwards.
    level : float
        Confidence level, between 0 and 1.

    Returns
    -------
    Axes

    Raises
    ------
    NotEstimableError
        Where a design does not estimate them.
    """
    check_kind("covariances", covariances, Mapping, instead="a table of label to AsymptoticCovariance")
    if not (is_number(level) and 0.0 < level < 1.0 and 0 < len(covariances) <= MOST_LINES):
        raise SpecificationError(
            f"confidence ellipses take a level between 0 and 1 and one to {MOST_LINES} covariances; got {level!r} and "
            f"{len(covariances)}."
        )
    house(ax, first, second, grid="both")
    handles = []
    for (label, found), style in zip(covariances.items(), line_styles(), strict=False):
        centre, outline = _outline(found, first, second, level)
        handles += ax.plot(*outline, label=plain(label), **style)
        ax.plot(*centre, "+", color=style["color"], markersize=9)
    for axis, zero in ((ax.get_xlim(), ax.axvline), (ax.get_ylim(), ax.axhline)):
        if axis[0] < 0.0 < axis[1]:
            zero(0.0, color=FAINT, linewidth=1.2, zorder=0.5)
    legend(ax, handles)
    return ax


def _outline(
    found: AsymptoticCovariance, first: str, second: str, level: float
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Centre and boundary; the squared radius is the χ² quantile of two degrees of freedom, −2 log(1 − level)."""
    at = [found.position(first), found.position(second)]
    matrix, centre = found.matrix[np.ix_(at, at)], found.estimate[at]
    if not np.isfinite(matrix).all():
        raise NotEstimableError(
            f"'{first}' and '{second}' have no joint region: the design does not estimate both.", found.inestimable
        )
    angle = np.linspace(0.0, 2.0 * np.pi, 181)
    values, vectors = np.linalg.eigh(matrix)
    radius = np.sqrt(-2.0 * np.log1p(-level) * np.maximum(values, 0.0))
    return centre, centre[:, None] + vectors @ (radius[:, None] * np.stack([np.cos(angle), np.sin(angle)]))
