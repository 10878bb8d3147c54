"""Coverage of Wald intervals from fitted data, by order: python studies/coverage/run.py

Writes coverage.csv and coverage.svg/png beside this file. Every replicate draws data, fits them by maximum likelihood,
and asks the fit for its 95 % intervals by the leading term and by two terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save
from optdesign.simulate import Rate

HERE = Path(__file__).parent
MODEL = od.MixedModel("y ~ x + w + (1 + x | g)", "poisson")
TRUTH = od.NominalValues({"Intercept": -0.5, "x": 0.3, "w": 0.2}, {"g": [[0.5, 0.1], [0.1, 0.25]]})
SIZE = 20
#: Replicates by the number of groups.
REPLICATES = {20: 800, 50: 800, 100: 800, 200: 400, 500: 400}
#: The rate at which the variance of each coefficient falls.
RATES = {"x": "1/m", "w": "1/(mn)"}
ORDERS = {"leading": ("#d55e00", "^"), "two-term": ("#0072b2", "o")}


def design(groups: int) -> od.Design:
    """Both covariates at 0 and 1 within every group, five observations at each of the four points."""
    return od.Design(od.Nested("g"), counts={"g": groups}, replicates=SIZE, measure=od.Measure.grid(x=[0, 1], w=[0, 1]))


def covered(groups: int, replicate: int) -> Iterator[tuple[str, str, bool, float]]:
    """Order, coefficient, whether the interval holds the truth, and the standard error; none where a fit fails."""
    stream = np.random.default_rng(np.random.SeedSequence(groups, spawn_key=(replicate,)))
    try:
        fit = od.fit(MODEL, od.draw_data(MODEL, TRUTH, design(groups), stream))
    except od.ConvergenceError:
        return
    for order in ORDERS:
        found = fit.intervals(order).to_frame()
        for name in RATES:
            lower, upper, error = found.loc[name, ["lower", "upper", "standard error"]]
            yield order, name, bool(lower <= TRUTH.beta[name] <= upper), float(error)


def rows_of(groups: int, replicates: int) -> pd.DataFrame:
    """Coverage of each coefficient by each order; a fit that fails covers nothing."""
    each = [found for replicate in range(replicates) for found in covered(groups, replicate)]
    table = pd.DataFrame(each, columns=["order", "coefficient", "covered", "error"])
    rows = []
    for (order, name), part in table.groupby(["order", "coefficient"], sort=False):
        rate = Rate(int(part["covered"].sum()), replicates)
        low, high = rate.interval
        sizes = {"m": groups, "replicates": replicates, "failed": replicates - len(part)}
        shares = {"coverage": rate.value, "low": low, "high": high, "mean standard error": part["error"].mean()}
        rows.append({"coefficient": name, "order": order, **sizes, **shares})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """A panel per coefficient; coverage by the number of groups, with Monte-Carlo intervals."""
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    for ax, (name, rate) in zip(figure.subplots(1, len(RATES), sharey=True), RATES.items(), strict=True):
        ax.axhline(95, color="#8a93a0", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
        for shift, (order, (colour, marker)) in zip((0.97, 1.03), ORDERS.items(), strict=True):
            part = table[(table["coefficient"] == name) & (table["order"] == order)]
            bars = 100 * np.array([part["coverage"] - part["low"], part["high"] - part["coverage"]])
            look = {"color": colour, "marker": marker, "label": order, "linewidth": 1.0, "markersize": 5, "capsize": 2}
            ax.errorbar(shift * part["m"], 100 * part["coverage"], yerr=bars, **look)
        ax.set(xscale="log", xlabel="groups m", title=f"{name}: variance of order {rate}")
        ax.set_xticks(list(REPLICATES), [str(m) for m in REPLICATES])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("coverage, %")
    figure.axes[1].legend(frameon=False, loc="lower right")
    return figure


def main() -> None:
    """Compute, write as results come, draw."""
    tables: list[pd.DataFrame] = []
    for groups, replicates in REPLICATES.items():
        tables.append(rows_of(groups, replicates))
        table = pd.concat(tables)
        table.round(4).to_csv(HERE / "coverage.csv", index=False, lineterminator="\n")
    save(draw(table), HERE / "coverage")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
