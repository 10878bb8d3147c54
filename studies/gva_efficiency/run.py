"""Efficiency of the Gaussian variational approximation: python studies/gva_efficiency/run.py

Every replicate draws data and fits them twice, by maximum likelihood and by the variational approximation. Estimates
are written to replicates.csv beside this file as they come, and those that it holds are not made again;
efficiency.csv and efficiency.svg/png compare the variances of both with each other and with the two-term asymptotic
variance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save

Array = npt.NDArray[np.float64]

HERE = Path(__file__).parent
FORMULA = "y ~ x + w + (1 + x | g)"
TRUTH = od.NominalValues([-0.5, 0.3, 0.2], {"g": [[0.5, 0.1], [0.1, 0.25]]})
FAMILIES = {"poisson": "#0072b2", "bernoulli": "#d55e00"}
#: The same likelihoods, of totals of the responses that share their covariates: quicker to fit.
OF_TOTALS = {
    "poisson": od.MixedModel(FORMULA, "poisson", offset="log_number"),
    "bernoulli": od.MixedModel(FORMULA, "binomial", size="number"),
}
#: Groups, and observations in each.
SIZES = ((40, 4), (40, 20), (100, 20), (40, 80))
REPLICATES, RESAMPLES = 500, 2000
METHODS = ("ml", "gva")
CASE = ("family", "m", "n", "replicate")


def design(groups: int, size: int) -> od.Design:
    """Both covariates at 0 and 1 within every group, equally often."""
    return od.Design(od.Nested("g"), counts={"g": groups}, replicates=size, measure=od.Measure.grid(x=[0, 1], w=[0, 1]))


def totals(data: pd.DataFrame) -> pd.DataFrame:
    """Totals of the responses at each point of a group, and how many they are."""
    found = data.groupby(["g", "x", "w"], as_index=False)["y"].agg(y="sum", number="count")
    return found.assign(log_number=np.log(found["number"]))


def estimates(family: str, groups: int, size: int, replicate: int) -> Array:
    """(β, vech Σ) of one data set by each method, shape (2, 6); nan where a fit fails."""
    model = od.MixedModel(FORMULA, family)
    stream = np.random.default_rng(np.random.SeedSequence(1000 * groups + size, spawn_key=(replicate,)))
    data = totals(od.draw_data(model, TRUTH, design(groups, size), stream))
    return np.array([_estimate(OF_TOTALS[family], data, method) for method in METHODS])


def _estimate(model: od.MixedModel, data: pd.DataFrame, method: str) -> Array:
    try:
        fit = od.fit(model, data, method)
    except od.ConvergenceError:
        return np.full(6, np.nan)
    return np.concatenate([fit.beta, fit.random_covariance["g"][[0, 1, 1], [0, 0, 1]]])


def missing(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """Family, groups, size and number of the replicates that a file does not hold, all cases in step."""
    stored = pd.read_csv(path)[list(CASE)].itertuples(index=False) if path.exists() else ()
    done = {tuple(row) for row in stored}
    for number, (groups, size), family in itertools.product(range(REPLICATES), SIZES, FAMILIES):
        if (family, groups, size, number) not in done:
            yield family, groups, size, number


def make(path: Path) -> None:
    """Make what is missing, one line each."""
    columns = [*CASE, *(f"{method} {k}" for method in METHODS for k in range(6))]
    for case in missing(path):
        row = pd.DataFrame([[*case, *estimates(*case).ravel()]], columns=columns)
        row.round(6).to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\n")


def compared(family: str, groups: int, size: int, replicates: pd.DataFrame) -> pd.DataFrame:
    """Means and variances of each parameter by each method, over the replicates in which both fits succeed."""
    theory = od.covariance(od.MixedModel(FORMULA, family), TRUTH, design(groups, size), parameters="all")
    both = np.stack([replicates[[f"{method} {k}" for k in range(6)]] for method in METHODS])
    failed = np.isnan(both[:, :, 0]).sum(axis=1)
    ml, gva = both[:, ~np.isnan(both).any(axis=(0, 2))]
    low, high = _interval(ml, gva)
    return pd.DataFrame(
        {
            "family": family,
            "m": groups,
            "n": size,
            "parameter": theory.names,
            "replicates": len(replicates),
            "ml failed": failed[0],
            "gva failed": failed[1],
            "true": theory.estimate,
            "ml mean": ml.mean(axis=0),
            "gva mean": gva.mean(axis=0),
            "variance ratio": gva.var(axis=0) / ml.var(axis=0),
            "low": low,
            "high": high,
            "ml / two-term": ml.var(axis=0, ddof=1) / np.diag(theory.matrix),
            "gva / two-term": gva.var(axis=0, ddof=1) / np.diag(theory.matrix),
            "difference": np.sqrt(((gva - ml) ** 2).mean(axis=0) / ml.var(axis=0)),
        }
    )


def _interval(ml: Array, gva: Array) -> tuple[Array, Array]:
    """95 % bootstrap interval of the ratio of variances, replicates resampled in pairs."""
    picked = np.random.default_rng(1).integers(len(ml), size=(RESAMPLES, len(ml)))
    ratios = [gva[rows].var(axis=0) / ml[rows].var(axis=0) for rows in picked]
    low, high = np.quantile(ratios, [0.025, 0.975], axis=0)
    return low, high


def draw(table: pd.DataFrame) -> Figure:
    """A column per size: variances over those of maximum likelihood, with bootstrap intervals, and over two terms."""
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    axes = figure.subplots(2, len(SIZES), sharey="row", sharex=True)
    for (above, below), (groups, size) in zip(axes.T, SIZES, strict=True):
        own = table[(table["m"] == groups) & (table["n"] == size)]
        above.set_title(f"{groups} groups of {size}", fontsize=10)
        noise = 1.96 * np.sqrt(2 / own["replicates"].min())
        below.axhspan(1 - noise, 1 + noise, color="#eef1f4", zorder=0)
        below.set_yscale("log")
        for ax in (above, below):
            _marks(ax, own, "variance ratio" if ax is above else "gva / two-term", bars=ax is above)
    axes[0, 0].set_ylabel("variance, variational /\nmaximum likelihood")
    axes[1, 0].set_ylabel("variance, variational /\ntwo-term asymptotic")
    axes[1, 0].set_yticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axes[1, 0].minorticks_off()
    axes[0, 0].legend(frameon=False)
    return figure


def _marks(ax: Axes, table: pd.DataFrame, column: str, bars: bool) -> None:
    """A mark for each parameter and family."""
    names = ["β₀", "β x", "β w", "Σ₀₀", "Σ₁₀", "Σ₁₁"]
    ax.axhline(1.0, color="#8a93a0", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    for shift, (family, colour) in zip((-0.12, 0.12), FAMILIES.items(), strict=True):
        part = table[table["family"] == family]
        reach = np.array([part[column] - part["low"], part["high"] - part[column]]) if bars else None
        look = {"color": colour, "label": family, "fmt": "o", "markersize": 4, "capsize": 2, "linewidth": 1.0}
        ax.errorbar(np.arange(len(part)) + shift, part[column], yerr=reach, **look)
    ax.set_xticks(range(len(names)), names, fontsize=8)
    ax.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Make the replicates, compare, draw."""
    make(HERE / "replicates.csv")
    replicates = pd.read_csv(HERE / "replicates.csv")
    table = pd.concat(compared(*case, part) for case, part in replicates.groupby(["family", "m", "n"], sort=False))
    table.round(4).to_csv(HERE / "efficiency.csv", index=False, lineterminator="\n")
    save(draw(table), HERE / "efficiency")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
