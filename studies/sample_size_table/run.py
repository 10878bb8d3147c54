"""A published table of sample sizes, with simulated power: python studies/sample_size_table/run.py

Writes table.csv, row by row, and power.svg/png beside this file. Replicates are kept in replicates/ as they come, so
that a run that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save

HERE = Path(__file__).parent
MODEL = od.MixedModel("y ~ x + (1 + x | group)", family="poisson")
TEST = od.WaldTest("x", alternative="greater", alpha=0.05)
POWER, OBSERVATIONS, REPLICATIONS = 0.9, 20, 1000
X = od.Measure.grid(x=[0, 1])
#: Colour, marker and side of the label.
ORDERS = {"leading": ("#d55e00", "^", -1), "two-term": ("#0072b2", "o", 1)}
USUAL = (0.5, 0.1, 0.25)
#: Fixed effects, and vech of the covariance of the random effects, of each column of the table.
COLUMNS = (
    *(((intercept, 0.3), USUAL) for intercept in (-1.5, -0.5, 0.5)),
    *(((-1.5, slope), USUAL) for slope in (0.2, 0.4, 0.5)),
    *(((-1.5, 0.3), sigma) for sigma in ((0.5, -0.1, 0.25), (1.0, 0.2, 0.5), (1.0, -0.2, 0.5))),
)
#: Groups and simulated power as published, by column and order.
PUBLISHED = {
    (0, "leading"): (24, 0.370),
    (0, "two-term"): (130, 0.880),
    (1, "leading"): (24, 0.585),
    (1, "two-term"): (63, 0.901),
    (2, "leading"): (24, 0.758),
    (2, "two-term"): (39, 0.898),
}


@dataclass(frozen=True)
class Cell:
    """A cell of the table: its column, and the order that gives the number of groups."""

    column: int
    order: str

    @property
    def nominal(self) -> od.NominalValues:
        """Nominal values of the column."""
        beta, (intercept, both, slope) = COLUMNS[self.column]
        return od.NominalValues(beta, {"group": [[intercept, both], [both, slope]]})

    @staticmethod
    def design(groups: int) -> od.Design:
        """Groups of 20 observations, x drawn for each."""
        return od.Design(od.Nested("group"), counts={"group": groups}, replicates=OBSERVATIONS, observed=X)

    @cached_property
    def groups(self) -> int:
        """Smallest number of groups that has the power by the order."""
        return od.sample_size(
            MODEL, self.nominal, self.design(100), TEST, power=POWER, solve_for="group", order=self.order
        ).count

    def simulation(self, replications: int, workers: int, folder: Path) -> od.Simulation:
        """Replicates of the cell, kept in the folder."""
        store = folder / f"{self.column}-{self.order}.jsonl"
        design = self.design(self.groups)
        return od.simulate(MODEL, self.nominal, design, TEST, replications, seed=1, workers=workers, store=store)

    def row(self, found: od.Simulation) -> dict[str, object]:
        """The cell as a row of results, beside what is published."""
        beta, sigma = COLUMNS[self.column]
        low, high = found.power.interval
        return {
            **dict(zip(("beta0", "beta1", "sigma00", "sigma01", "sigma11"), (*beta, *sigma), strict=True)),
            "order": self.order,
            "groups": self.groups,
            "replicates": found.replications,
            "power": found.power.value,
            "low": low,
            "high": high,
            "failed": found.failed.count,
            "singular": found.boundary.count,
            **{f"power by {order}": found.theory.power[order] for order in ("two-term", "exact")},
            **self.comparison(found),
        }

    def comparison(self, found: od.Simulation) -> dict[str, object]:
        """What is published, with its 95 % interval: whether this lies in it, and how many standard errors apart."""
        if (self.column, self.order) not in PUBLISHED:
            return {}
        groups, power = PUBLISHED[self.column, self.order]
        here, variance = found.power.value, power * (1.0 - power) / REPLICATIONS
        half = 1.96 * math.sqrt(variance)
        return {
            "published groups": groups,
            "published power": power,
            "published low": power - half,
            "published high": power + half,
            "in interval": self.groups == groups and abs(here - power) <= half,
            "apart": (here - power) / math.sqrt(variance + here * (1.0 - here) / found.replications),
        }


def cells() -> list[Cell]:
    """All cells, column by column."""
    return [Cell(column, order) for column in range(len(COLUMNS)) for order in ORDERS]


def label(row: pd.Series) -> str:
    """Values of a column in words."""
    return "β = ({beta0:g}, {beta1:g}), Σ = ({sigma00:g}, {sigma01:g}, {sigma11:g})".format(**row)


def figure(table: pd.DataFrame) -> Figure:
    """Simulated power with its interval for every column of the table, by both orders."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    axes = figure.subplots()
    for order in ORDERS:
        _draw(axes, order, table[table["order"] == order].reset_index(drop=True))
    axes.axvline(100 * POWER, color="0.6", linewidth=1, zorder=0)
    names = table.apply(label, axis=1).unique()
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(15, 102), xlabel="Simulated power in %, with 95 % intervals")
    axes.invert_yaxis()
    handles, texts = axes.get_legend_handles_labels()
    first = dict(zip(texts, handles, strict=True))
    axes.legend(first.values(), first, frameon=False, loc="lower center", bbox_to_anchor=(0.62, 0.0))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _draw(axes: Axes, order: str, rows: pd.DataFrame) -> None:
    """The cells of an order: simulated, exact and published power in per cent, and the number of groups."""
    colour, marker, side = ORDERS[order]
    place, power = rows.index + 0.12 * side, 100 * rows["power"]
    error = [power - 100 * rows["low"], 100 * rows["high"] - power]
    axes.errorbar(power, place, xerr=error, fmt=marker, color=colour, label=f"m by {order}", markersize=5)
    axes.plot(100 * rows["power by exact"], place, "|", color="black", markersize=11, label="exact information")
    axes.plot(100 * rows["published power"], place, "D", color="black", mfc="none", ms=8, label="published")
    for at, percent, number in zip(place, power, rows["groups"], strict=True):
        where = {"xytext": (28 * side, 0), "ha": "left" if side > 0 else "right", "va": "center"}
        axes.annotate(f"m = {number}", (percent, at), textcoords="offset points", **where)


def main() -> None:
    """The table and its figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument("--out", type=Path, default=HERE)
    asked = parser.parse_args()
    folder = asked.out / "replicates"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for cell in cells():
        rows.append(cell.row(cell.simulation(asked.replications, asked.workers, folder)))
        pd.DataFrame(rows).round(4).to_csv(asked.out / "table.csv", index=False)
    save(figure(pd.read_csv(asked.out / "table.csv")), asked.out / "power")


if __name__ == "__main__":
    main()
