"""What each command does: messages and exit codes included."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from optdesign.cli import INTERRUPTED, MESSAGE
from optdesign.cli.check import check
from optdesign.cli.compare import compare
from optdesign.cli.new import new
from optdesign.cli.power import power
from optdesign.cli.sample_size import sample_size
from optdesign.cli.show import show
from optdesign.cli.simulate import simulate
from optdesign.errors import ConvergenceError, InfeasibleBudgetError, NotEstimableError, OptDesignError
from optdesign.report import check_folder, check_formats, write_report
from optdesign.study import load_study, run_study

#: The plan cannot be made, however well the input is written.
NO_PLAN = (InfeasibleBudgetError, NotEstimableError, ConvergenceError)

app = typer.Typer(
    help="Optimal, certified designs of studies with random effects, from a study file.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)]


@app.command()
def run(
    study: StudyPath,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the report; without it, tables only.")
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT", help="Also write the report as 'latex' or 'pdf'; repeatable.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON instead of tables.")] = False,
) -> None:
    """Find the best design that the budget buys, and write its report."""
    with reported():
        checked = load_study(study)
        if out is not None:
            check_folder(out)  # before a long run, whose report would then be refused
            check_formats(also or ())
        with progress() as stage:
            result = run_study(checked, stage)
            if out is not None:
                stage("writing the report")
                write_report(result, out, also or ())
        if as_json:
            sys.stdout.write(f"{json.dumps(result.plan_json(), indent=2, ensure_ascii=False)}\n")
        else:
            show(result, out)


app.command()(check)
app.command()(compare)
app.command()(new)
app.command()(power)
app.command("sample-size")(sample_size)
app.command()(simulate)


@contextmanager
def reported() -> Iterator[None]:
    """Errors that a user can put right become a message on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"{MESSAGE}\n")
        raise typer.Exit(INTERRUPTED) from None
    except OptDesignError as error:
        _say(str(error))
        raise typer.Exit(1 if isinstance(error, NO_PLAN) else 2) from None


def _say(message: str) -> None:
    """One message on stderr; its text is never read as markup, and lines are left for the terminal to wrap."""
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Says on stderr what is going on, where someone is watching."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("starting …") as status:
        yield lambda text: status.update(Text(f"{text} …"))
