"""The command line: ``optdesign run`` and ``optdesign check``.

Exit codes: 0; 1 where the plan cannot be made (unaffordable budget, inestimable coefficient, a pilot that does not
converge); 2 where the input is wrong; 130 after an interruption. Numerical libraries load only once a study file has
passed its checks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdesign.errors import ConvergenceError, InfeasibleBudgetError, NotEstimableError, OptDesignError
from optdesign.study import Study, StudyResult, load_study, run_study
from optdesign.study.tables import json_schema
from optdesign.study.words import describe, money, plural, proof, schedule, values

if TYPE_CHECKING:
    import pandas as pd

#: The plan cannot be made, however well the input is written.
NO_PLAN = (InfeasibleBudgetError, NotEstimableError, ConvergenceError)
INTERRUPTED = 130

app = typer.Typer(
    help="Optimal, certified designs of studies with random effects, from a study file.",
    add_completion=False,
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
        with progress() as stage:
            result = run_study(load_study(study), stage)
            if out is not None:
                stage("writing the report")
                _write(result, out)
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


@contextmanager
def reported() -> Iterator[None]:
    """Errors that a user can put right become a message on stderr and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        _say("Interrupted: the command was stopped before it was done, and no report was written.")
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
    with console.status("reading the study file") as status:
        yield lambda text: status.update(Text(f"{text} …"))


def _write(result: StudyResult, out: Path) -> None:
    from optdesign.report import write_report

    write_report(result, out)


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


# The result -----------------------------------------------------------------------------------------------------------


def show(result: StudyResult, out: Path | None) -> None:
    """Print a plan: tables, then sentences."""
    from optdesign.report.page import summary

    console = Console(highlight=False)
    best = result.best
    for title, table in tables(result).items():
        console.print(Text(title, style="bold"))
        console.print(table, Text())
    bounds = best.certificate.efficiency_bound, best.rounded.efficiency_bound
    for sentence in (summary(result), proof(*bounds)):
        console.print(Text(f"{sentence}\n"))
    for warning in result.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    where = f"The report is {out / 'index.html'}." if out else "For a report with figures, add: --out DIR"
    console.print(Text(where, style="green"), soft_wrap=True)


def tables(result: StudyResult) -> dict[str, Table]:
    """The tables of a plan by their titles."""
    study, spend = result.study, result.best.rounded.spend
    amount = f"{money(spend, study.currency)} of {money(result.best.budget, study.currency)}"
    found = {
        f"{study.title}\nThe plan, for {amount}": plan_table(result),
        "Standard errors by order of the covariance": precision_table(result.precision),
    }
    if (test := study.tables.test) is not None:
        title = f"Power of the {test.alternative} test of {test.coefficient} = {test.null:g} at level {test.alpha:g}"
        found[title] = power_table(result)
    return found


def _table() -> Table:
    return Table(show_edge=False, pad_edge=False)


def plan_table(result: StudyResult) -> Table:
    """A row for each group of units."""
    study = result.study
    table = _table()
    groups = result.plan_json()["groups"]
    several = any(group["at"] for group in groups)
    nested = study.factor is not None
    table.add_column("group")
    if several:
        table.add_column(study.unit)
    for name in [plural(study.unit), f"{plural(study.observation)} each"] if nested else [plural(study.observation)]:
        table.add_column(name, justify="right")
    if any(schedule(group["points"]) for group in groups):
        table.add_column("at")
    for number, group in enumerate(groups, start=1):
        table.add_row(*_cells(number, group, several, nested)[: len(table.columns)])
    return table


def _cells(number: int, group: dict[str, Any], several: bool, nested: bool) -> list[Text]:
    kind = [values(group["at"])] if several else []
    sizes = [group["units"], group["replicates"]] if nested else [group["replicates"]]
    cells = [str(number), *kind, *(f"{size:,}" for size in sizes), schedule(group["points"])]
    return [Text(cell) for cell in cells]


def precision_table(precision: pd.DataFrame) -> Table:
    """Standard errors by order, and what the second term adds."""
    table = _table()
    table.add_column("coefficient")
    for name in precision:
        table.add_column("two-term / leading" if name == "ratio" else str(name), justify="right")
    for name, row in zip(precision.index, precision.to_numpy(), strict=True):
        table.add_row(Text(str(name)), *(f"{value:.4g}" for value in row))
    return table


def power_table(result: StudyResult) -> Table:
    """Power by order."""
    table = _table()
    for order in result.power:
        table.add_column(order, justify="right")
    table.add_row(*(f"{value:.4f}" for value in result.power.values()))
    return table


def main() -> None:
    """Entry point of the command ``optdesign``."""
    app()


if __name__ == "__main__":
    main()
