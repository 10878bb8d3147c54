"""Coverage of Wald intervals from fitted data, by order: python studies/coverage/run.py

Every replicate draws data, fits them by maximum likelihood, and asks the fit for its 95 % intervals by the leading term
and by two terms. Replicates are written to replicates.csv beside this file as they come, and those that it holds are
not made again; coverage.csv and coverage.svg/png say how often the intervals hold the truth.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save
from optdesign.simulate import Rate

HERE = Path(__file__).parent
FORMULA = "y ~ x + w + (1 + x | g)"
MODEL = od.MixedModel(FORMULA, "poisson")
#: The same likelihood, of totals of the counts that share their covariates: quicker to fit.
OF_TOTALS = od.MixedModel(FORMULA, "poisson", offset="log_number")
TRUTH = od.NominalValues({"Intercept": -0.5, "x": 0.3, "w": 0.2}, {"g": [[0.5, 0.1], [0.1, 0.25]]})
SIZE = 20
#: Replicates by the number of groups.
REPLICATES = {20: 1000, 50: 1000, 100: 800, 200: 400, 500: 300}
#: The rate at which the variance of each coefficient falls.
RATES = {"x": "1/m", "w": "1/(mn)"}
ORDERS = {"leading": ("#d55e00", "^"), "two-term": ("#0072b2", "o")}
ENDS = tuple(itertools.product(RATES, ORDERS, ("lower", "upper")))


def design(groups: int) -> od.Design:
    """Both covariates at 0 and 1 within every group, five observations at each of the four points."""
    return od.Design(od.Nested("g"), counts={"g": groups}, replicates=SIZE, measure=od.Measure.grid(x=[0, 1], w=[0, 1]))


def totals(data: pd.DataFrame) -> pd.DataFrame:
    """Totals of the counts at each point of a group, and the logarithm of how many they are."""
    found = data.groupby(["g", "x", "w"], as_index=False)["y"].agg(y="sum", number="count")
    return found.assign(log_number=np.log(found["number"]))


def replicate(groups: int, number: int) -> list[float]:
    """Ends of the interval of each coefficient by each order, as `ENDS` lists them; nan where the fit fails."""
    stream = np.random.default_rng(np.random.SeedSequence(groups, spawn_key=(number,)))
    try:
        fit = od.fit(OF_TOTALS, totals(od.draw_data(MODEL, TRUTH, design(groups), stream)))
    except od.ConvergenceError:
        return [np.nan] * len(ENDS)
    found = {order: fit.intervals(order).to_frame() for order in ORDERS}
    return [float(found[order].loc[name, end]) for name, order, end in ENDS]


def missing(path: Path) -> Iterator[tuple[int, int]]:
    """Groups and numbers of the replicates that a file does not hold, all numbers of groups in step."""
    stored = pd.read_csv(path)[["m", "replicate"]].itertuples(index=False) if path.exists() else ()
    done = {tuple(row) for row in stored}
    every = [(groups, number) for groups, most in REPLICATES.items() for number in range(most)]
    yield from sorted(set(every) - done, key=lambda case: (case[1] / REPLICATES[case[0]], case[0]))


def make(path: Path) -> None:
    """Make what is missing, one line each."""
    for groups, number in missing(path):
        row = pd.DataFrame(
            [[groups, number, *replicate(groups, number)]], columns=["m", "replicate", *map(" ".join, ENDS)]
        )
        row.round(5).to_csv(path, mode="a", header=not path.exists(), index=False, lineterminator="\n")


def coverage(replicates: pd.DataFrame) -> pd.DataFrame:
    """Coverage of each coefficient by each order; a fit that fails covers nothing."""
    rows = []
    for (groups, part), name, order in itertools.product(replicates.groupby("m"), RATES, ORDERS):
        lower, upper = part[f"{name} {order} lower"], part[f"{name} {order} upper"]
        rate = Rate(int(((lower <= TRUTH.beta[name]) & (TRUTH.beta[name] <= upper)).sum()), len(part))
        low, high = rate.interval
        sizes = {"m": groups, "replicates": len(part), "failed": int(lower.isna().sum())}
        shares = {"coverage": rate.value, "low": low, "high": high, "mean width": (upper - lower).mean()}
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
    """Make the replicates, count, draw."""
    make(HERE / "replicates.csv")
    table = coverage(pd.read_csv(HERE / "replicates.csv"))
    table.round(4).to_csv(HERE / "coverage.csv", index=False, lineterminator="\n")
    save(draw(table), HERE / "coverage")
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
