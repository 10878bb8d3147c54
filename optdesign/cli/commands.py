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
from optdesign.cli.compare import compare
from optdesign.cli.new import new
from optdesign.cli.power import power
from optdesign.cli.sample_size import sample_size
from optdesign.cli.show import show
from optdesign.cli.simulate import simulate
from optdesign.errors import ConvergenceError, InfeasibleBudgetError, NotEstimableError, OptDesignError
from optdesign.report import check_folder, write_report
from optdesign.study import Study, load_study, run_study
from optdesign.study.tables import json_schema
from optdesign.study.telling import describe
from optdesign.study.words import money

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
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON instead of tables.")] = False,
) -> None:
    """Find the best design that the budget buys, and write its report."""
    with reported():
        checked = load_study(study)
        if out is not None:
            check_folder(out)  # before a long run, whose report would then be refused
        with progress() as stage:
            result = run_study(checked, stage)
            if out is not None:
                stage("writing the report")
                write_report(result, out)
        if as_json:
            sys.stdout.write(f"{json.dumps(result.plan_json(), indent=2, ensure_ascii=False)}\n")
        else:
            show(result, out)


@app.command()
def check(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files, for editors.")
    ] = False,
) -> None:
    """Check a study file, and say in words what it asks for."""
    if schema:
        sys.stdout.write(f"{json.dumps(json_schema(), indent=2, ensure_ascii=False)}\n")
        return
    if study is None:
        raise typer.BadParameter("name a study file, or ask for the schema with --schema.", param_hint="STUDY.toml")
    with reported():
        _explain(load_study(study))


app.command()(power)
app.command()(new)
app.command("sample-size")(sample_size)
app.command()(compare)
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


def _explain(study: Study) -> None:
    from optdesign.study.running import ask, cheapest_price

    with progress() as stage:
        question = ask(study, stage)
        price = cheapest_price(question)
    console = Console(highlight=False)
    console.print(Text(study.title, style="bold"))
    for sentence in describe(study, question.space):
        console.print(Text(sentence))
    console.print(Text(f"The cheapest design within the bounds costs {money(price, study.currency)}."))
    console.print(Text(f"The study file is in order: 'optdesign run {study.path}' finds the plan.", style="green"))
