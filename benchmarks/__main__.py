"""Run the benchmarks, print a table, and write it with a description of the machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import growth, tasks
from benchmarks.timing import COLUMNS, Timing, machine, write

#: Tables by what is asked for.
RESULTS = {name: Path(__file__).with_name(f"{name}.csv") for name in ("results", "growth")}
#: Columns of text where no terminal sets them.
WIDE = 170


def main() -> None:
    """Entry point of ``python -m benchmarks``."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=tuple(RESULTS), default="results", help="table to make")
    parser.add_argument("--quick", action="store_true", help="leave out the conic solvers, which take minutes")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each task (at least 3)")
    parser.add_argument("--out", type=Path, help="CSV file to write; growth has a PNG beside it")
    options = parser.parse_args()
    runs, out = max(3, options.runs), options.out or RESULTS[options.what]
    chosen = growth.ALL if options.what == "growth" else tasks.QUICK if options.quick else tasks.ALL
    timings: list[Timing] = []
    with Console(stderr=True).status("starting") as status:
        for task in chosen:
            status.update(str(task.__doc__).splitlines()[0])
            timings += task(runs)
    write(timings, out)
    if options.what == "growth":
        growth.draw(out, out.with_suffix(".png"))
    show(timings)


def show(timings: list[Timing]) -> None:
    """Print the machine and the table."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    for key, value in machine().items():
        console.print(f"{key}: {value}")
    table = Table(show_edge=False, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="right" if name.endswith("_s") or name == "runs" else "left")
    for timing in timings:
        table.add_row(*timing.cells())
    console.print(table)


if __name__ == "__main__":
    main()
