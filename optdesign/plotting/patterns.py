"""Which observations are correlated, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from optdesign.covariance.observations import ObservationCovariance
from optdesign.errors import SpecificationError
from optdesign.plotting.house import (
    DIVERGING,
    INK,
    MUTED,
    PAPER,
    SEQUENTIAL,
    SERIES,
    colour_bar,
    house,
    legend,
    plain,
    swatch,
)

Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


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
    legend(ax, _factor_swatches(codes), y=1.08)
    return ax


def observation_covariance(ax: Axes, found: ObservationCovariance, unit: str = "") -> Axes:
    """Heatmap of V = ZGZᵀ + R: how much observations vary, and vary together; what is not correlated is left white.

    Parameters
    ----------
    ax : Axes
    found : ObservationCovariance
        Of `observation_covariance`, in the order in which observations are drawn.
    unit : str
        Of a covariance, such as "ms²".

    Returns
    -------
    Axes
        A bar beside it says which colour is which covariance.
    """
    most = float(np.abs(found.matrix).max())
    shades, least = (DIVERGING, -most) if (found.matrix < 0).any() else (SEQUENTIAL, 0.0)
    image = ax.imshow(found.matrix, cmap=shades, vmin=least, vmax=most, interpolation="nearest")
    house(ax, "observation", "observation", grid="")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
    colour_bar(ax, image, f"covariance, in {unit}" if unit else "covariance")
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
    part.suptitle(plain(name), x=0.01, ha="left", color=INK, fontsize=11, weight="bold")
    of_v, of_z, of_factor = part.subplots(1, 3)
    titles = {
        of_v: f"V = ZGZᵀ + R: {_correlations(of_v, codes)} not zero",
        of_z: f"Z: {_indicators(of_z, codes)} not zero",
        of_factor: f"LLᵀ = ZᵀZ + I: {_cholesky(of_factor, codes)}",
    }
    for ax, title in titles.items():
        ax.set_title(title, fontsize=9, color=MUTED, loc="left")
    handles = [*_factor_swatches(codes), swatch(MUTED, "not zero in ZᵀZ"), swatch(SERIES[3], "filled in")]
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
    house(ax, "observation", "observation", grid="")
    return f"{int((image >= 0).sum()):,} of {image.size:,}"


def _indicators(ax: Axes, codes: Mapping[str, Index]) -> str:
    """Draw Z; how many of its entries are not zero."""
    Z, factor = _unit_columns(codes)
    _pattern(ax, np.where(Z, factor, -1), SERIES[: len(codes)])
    house(ax, "unit", "observation", grid="")
    return f"{int(Z.sum()):,} of {Z.size:,}"


def _cholesky(ax: Axes, codes: Mapping[str, Index]) -> str:
    """Draw the Cholesky factor of ZᵀZ + I; how many entries of its triangle are not zero, and how many filled in."""
    Z, _ = _unit_columns(codes)
    start = np.tril(Z.T.astype(int) @ Z > 0)
    filled = _eliminated(start)
    _pattern(ax, np.where(start, 0, np.where(filled, 1, -1)), (MUTED, SERIES[3]))
    house(ax, "unit", "unit", grid="")
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
    return [*(swatch(colour, f"same {f}") for f, colour in zip(codes, SERIES, strict=False)), swatch(INK, "itself")]
