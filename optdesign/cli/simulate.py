"""``optdesign simulate``: is the plan of a study what the theory says?"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from optdesign.cli import INTERRUPTED
from optdesign.errors import SpecificationError
from optdesign.study import Study, load_study
from optdesign.study.result import plain

if TYPE_CHECKING:
    from optdesign.simulate import Progress, Simulation
    from optdesign.simulate.running import Executor


def simulate(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)],
    replications: Annotated[int, typer.Option(min=2, help="Data sets drawn and fitted.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers; results depend on nothing else.")] = 1,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes on this machine.", show_default="as many as it has cores")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File of the replicates as they come; the same command goes on with it."),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Dask scheduler that takes the work, as tcp://host:8786.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON instead of tables.")] = False,
) -> None:
    """Simulate the plan in whole numbers: draw data, fit them again, and compare with the theory."""
    from optdesign.cli.commands import progress, reported

    with reported():
        checked = load_study(study)
        with progress() as stage:
            plan = _plan(checked, stage)
        with _executor(scheduler) as executor, _bar() as watch, _interruptible():
            found = _simulated(
                plan, replications, seed, workers or os.cpu_count() or 1, executor=executor, store=out, progress=watch
            )
    if as_json:
        sys.stdout.write(f"{json.dumps(plain(found.to_json()), indent=2, ensure_ascii=False)}\n")
    else:
        _show(checked.title, found)
    if found.replications < found.asked:
        sys.stderr.write(f"Interrupted after {found.replications:,} of {found.asked:,} replicates.{_kept(out)}\n")
        raise typer.Exit(INTERRUPTED)


def _plan(study: Study, stage: Callable[[str], None]) -> dict[str, Any]:
    """The plan of a study in whole numbers, as arguments of `simulate`."""
    from optdesign.study.running import ask, explained, planned

    question = ask(study, stage)
    if question.already is not None:
        raise SpecificationError(
            f"{study.place('goal', 'already')}: what has been run is no longer random, and the plan is an addition to "
            "it. Leave already out, or simulate in Python by simulate(model, nominal, design)."
        )
    best = planned(question, stage)
    with explained(question):
        design = best.rounded.design
    return {"model": study.model, "nominal": best.nominal, "design": design, "test": question.test}


def _simulated(plan: dict[str, Any], replications: int, seed: int, workers: int, **where: Any) -> Simulation:
    from optdesign.simulate import simulate

    return simulate(**plan, replications=replications, seed=seed, workers=workers, **where)


@contextmanager
def _executor(address: str | None) -> Iterator[Executor | None]:
    """A client of the scheduler at an address; None without one."""
    with nullcontext() if address is None else closing(_client(address)) as executor:
        yield executor


def _client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError:
        raise SpecificationError(
            "--scheduler needs Dask, which is not installed: pip install 'optdesign-mixed[distributed]'."
        ) from None
    try:
        return Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise SpecificationError(
            f"--scheduler: no scheduler answers at '{address}' ({error}). Start one with 'dask scheduler', and workers "
            "that have this package installed with 'dask worker ADDRESS'."
        ) from None


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    """A bar with the time left on stderr, where someone is watching."""
    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("simulating", total=None)
        yield lambda now: bar.update(task, total=now.of, completed=now.done)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stops the simulation, which gives back what it has."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _show(title: str, found: Simulation) -> None:
    console = Console(highlight=False)
    console.print(Text(f"{title}\nThe plan, simulated", style="bold"))
    for frame in found.texts():
        # Narrower than the tables of a plan: intervals fold, and no column is cut off.
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column(str(frame.index.name), overflow="fold")
        for name in frame:
            table.add_column(str(name), justify="right")
        for label, row in zip(frame.index, frame.itertuples(index=False), strict=True):
            table.add_row(str(label), *map(str, row))
        console.print(table, Text())
    for sentence in found.summary():
        console.print(Text(sentence))


def _kept(out: Path | None) -> str:
    return " With --out FILE they are kept." if out is None else f" They are in {out}: the same command goes on."
