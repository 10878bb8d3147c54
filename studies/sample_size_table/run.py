"""A published table of sample sizes, with simulated power: python studies/sample_size_table/run.py

Writes table.csv and power.svg/png beside this file. Simulations are kept in replicates/ as they come, so that a run
that is cut off goes on where it was.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import optdesign as od
from optdesign.plotting import save
from optdesign.simulate.result import Rate

HERE = Path(__file__).parent
MODEL = od.MixedModel("y ~ x + (1 + x | group)", family="poisson")
TEST = od.WaldTest("x", alternative="greater", alpha=0.05)
POWER, OBSERVATIONS, REPLICATIONS = 0.9, 20, 1000
ORDERS = {"leading": ("#d55e00", "^"), "two-term": ("#0072b2", "o")}
X = od.Measure.grid(x=[0, 1])


@dataclass(frozen=True)
class Column:
    """A column of the table: fixed effects, and vech of the covariance of the random effects."""

    beta: tuple[float, float]
    sigma: tuple[float, float, float]

    @property
    def nominal(self) -> od.NominalValues:
        """The values as the package takes them."""
        intercept, both, slope = self.sigma
        return od.NominalValues(self.beta, {"group": [[intercept, both], [both, slope]]})

    @property
    def label(self) -> str:
        """The values in words."""
        return f"β = ({self.beta[0]:g}, {self.beta[1]:g}), Σ = ({', '.join(f'{s:g}' for s in self.sigma)})"


USUAL = (0.5, 0.1, 0.25)
COLUMNS = (
    *(Column((intercept, 0.3), USUAL) for intercept in (-1.5, -0.5, 0.5)),
    *(Column((-1.5, slope), USUAL) for slope in (0.2, 0.4, 0.5)),
    *(Column((-1.5, 0.3), sigma) for sigma in ((0.5, -0.1, 0.25), (1.0, 0.2, 0.5), (1.0, -0.2, 0.5))),
)
#: Groups and simulated power in percent as published, by column and order.
PUBLISHED = {
    (COLUMNS[0], "leading"): (24, 37.0),
    (COLUMNS[0], "two-term"): (130, 88.0),
    (COLUMNS[1], "leading"): (24, 58.5),
    (COLUMNS[1], "two-term"): (63, 90.1),
    (COLUMNS[2], "leading"): (24, 75.8),
    (COLUMNS[2], "two-term"): (39, 89.8),
}


def groups_needed(column: Column, order: str) -> int:
    """Smallest number of groups with the power wanted."""
    design = design_of(100)
    return od.sample_size(MODEL, column.nominal, design, TEST, power=POWER, solve_for="group", order=order).count


def design_of(groups: int, drawn: bool = False) -> od.Design:
    """Groups of 20, with ten observations at 0 and at 1 each, or with as many as chance has it."""
    law = {"observed": X} if drawn else {"measure": X}
    return od.Design(od.Nested("group"), counts={"group": groups}, replicates=OBSERVATIONS, **law)


def simulated(column: Column, groups: int, drawn: bool, workers: int, folder: Path) -> od.Simulation:
    """One cell of the table by simulation."""
    name = f"{'drawn' if drawn else 'set'} {COLUMNS.index(column)} {groups}.jsonl"
    design = design_of(groups, drawn)
    return od.simulate(MODEL, column.nominal, design, TEST, REPLICATIONS, seed=1, workers=workers, store=folder / name)


def rows(workers: int, folder: Path) -> Iterator[dict[str, object]]:
    """A row for each column and order, x drawn; with x set too, where there is a published row to tell them apart."""
    for column in COLUMNS:
        for order in ORDERS:
            groups = groups_needed(column, order)
            published = PUBLISHED.get((column, order))
            for drawn in (True, False) if published else (True,):
                yield _row(column, order, groups, drawn, simulated(column, groups, drawn, workers, folder), published)


def _row(
    column: Column,
    order: str,
    groups: int,
    drawn: bool,
    found: od.Simulation,
    published: tuple[int, float] | None,
) -> dict[str, object]:
    assert found.power is not None  # there is a test
    low, high = found.power.interval
    return {
        "values": column.label,
        "order": order,
        "groups": groups,
        "x": "drawn" if drawn else "set",
        "power": 100 * found.power.value,
        "low": 100 * low,
        "high": 100 * high,
        "failed": found.failed.count,
        "singular": found.boundary.count,
        "exact": 100 * found.theory.power["exact"] if "exact" in found.theory.power else None,
        **_compared(groups, found.power, published),
    }


def _compared(groups: int, power: Rate, published: tuple[int, float] | None) -> dict[str, object]:
    """What is published, its 95 % interval, and whether the simulated power lies in it."""
    if published is None:
        return {}
    number, percent = published
    half = 196.0 * (percent / 100 * (1 - percent / 100) / REPLICATIONS) ** 0.5
    return {
        "published groups": number,
        "published power": percent,
        "published low": round(percent - half, 1),
        "published high": round(percent + half, 1),
        "agrees": groups == number and abs(100 * power.value - percent) <= half,
    }


def figure(table: pd.DataFrame) -> Figure:
    """Simulated power with its interval for every column of the table, by both orders."""
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    here = table[table["x"] == "drawn"]
    for order, (colour, marker) in ORDERS.items():
        part = here[here["order"] == order].reset_index(drop=True)
        error = [part["power"] - part["low"], part["high"] - part["power"]]
        axes.errorbar(part["power"], part.index, xerr=error, fmt=marker, color=colour, label=order, markersize=5)
        for place, (power, groups) in enumerate(zip(part["power"], part["groups"], strict=True)):
            axes.annotate(f"{groups}", (power, place), (0, 6), textcoords="offset points", ha="center", fontsize=8)
    axes.axvline(100 * POWER, color="0.6", linewidth=1, zorder=0)
    axes.set_yticks(range(len(COLUMNS)), [column.label for column in COLUMNS], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("Simulated power, % (95 % interval), with the number of groups that the order asks for")
    axes.legend(title="order", frameon=False, loc="lower left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def main() -> None:
    """The table and its figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    folder = HERE / "replicates"
    folder.mkdir(exist_ok=True)
    table = pd.DataFrame(rows(parser.parse_args().workers, folder))
    table.round(2).to_csv(HERE / "table.csv", index=False)
    save(figure(table), HERE / "power")


if __name__ == "__main__":
    main()
