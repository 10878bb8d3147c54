"""Map the accuracy of every order for the effect of an arm of clusters: python studies/accuracy/map.py

Writes ratios.csv and ratios.svg/png beside this file: variance of the effect by each order relative to exact Fisher
information, over the variance of the random intercept, the number of observations per cluster and the baseline.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save

HERE = Path(__file__).parent
FAMILIES = {"bernoulli": (-3.0, -1.5, 0.0), "poisson": (-1.5, 0.0, 1.5)}
VARIANCES, SIZES = (0.25, 0.5, 1.0, 2.0), (2, 5, 10, 20, 40)
ORDERS = {"leading": "#d55e00", "two-term": "#0072b2", "averaged": "#009e73"}


def ratios(family: str, baseline: float, variance: float, size: int) -> dict[str, float]:
    """Variance of the effect by each order, relative to exact."""
    arms = od.Measure.grid(arm=[0, 1])
    design = od.Design(od.Nested("g"), counts={"g": 2}, replicates=size, measure=arms, levels={"arm": "g"})
    model, guess = od.MixedModel("y ~ arm + (1 | g)", family), od.NominalValues([baseline, 0.6], {"g": variance})
    exact = od.covariance(model, guess, design, "exact").matrix[1, 1]
    found = {order: od.covariance(model, guess, design, order).matrix[1, 1] / exact for order in ORDERS}
    return {"family": family, "baseline": baseline, "variance": variance, "size": size, **found}


def draw(table: pd.DataFrame) -> Figure:
    """A panel per family and baseline; a line per order and variance."""
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for ax, ((family, baseline), part) in zip(axes.flat, table.groupby(["family", "baseline"]), strict=True):
        ax.axhspan(0.9, 1.1, color="#eef1f4", zorder=0)
        for (order, colour), (variance, line) in itertools.product(ORDERS.items(), part.groupby("variance")):
            ax.plot(line["size"], line[order], color=colour, linewidth=0.8 + float(variance), alpha=0.85)
        ax.set(title=f"{family}, intercept {baseline:g}", xscale="log", yscale="log", ylim=(0.15, 3.0))
        ax.set_xticks(SIZES, [str(n) for n in SIZES], minor=False)
        ax.set_yticks([0.2, 0.5, 0.9, 1.1, 2.0], ["0.2", "0.5", "0.9", "1.1", "2"])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("observations per cluster", fontsize=10)
    figure.supylabel("variance of the effect / exact", fontsize=10)
    for order, colour in ORDERS.items():
        axes[0, 0].plot([], [], color=colour, label=order)
    widths = f"thicker: larger variance of the random intercept ({', '.join(f'{v:g}' for v in VARIANCES)})"
    figure.legend(loc="outside upper center", ncols=3, frameon=False, title=widths, title_fontsize=9)
    return figure


def main() -> None:
    """Compute, write, draw."""
    cases = [
        (family, baseline, variance, size)
        for family, baselines in FAMILIES.items()
        for baseline, variance, size in itertools.product(baselines, VARIANCES, SIZES)
    ]
    table = pd.DataFrame([ratios(*case) for case in cases])
    table.round(4).to_csv(HERE / "ratios.csv", index=False, lineterminator="\n")
    save(draw(table), HERE / "ratios")
    worst = np.abs(table[list(ORDERS)] - 1.0).max()
    print(worst.round(3).to_string())


if __name__ == "__main__":
    main()
