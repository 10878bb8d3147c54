"""A plan on the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdesign.study import Study, StudyResult, judging, telling
from optdesign.study.words import hypothesis, money, plural, schedule, values

if TYPE_CHECKING:
    from optdesign.report.tables import Table as Texts


def show(result: StudyResult, out: Path | None) -> None:
    """Print a plan: tables, then sentences."""
    console = Console(highlight=False)
    for title, table in tables(result).items():
        console.print(Text(title, style="bold"))
        console.print(table, Text())
    light = judging.asymptotics_light(result)
    for text in (telling.summary(result), f"Asymptotics: {light.word}. {light.text}", telling.proof_of(result)):
        console.print(Text(f"{text}\n"))
    for warning in result.warnings:
        console.print(Text.assemble(("warning: ", "bold yellow"), warning))
    where = f"The report is {out / 'index.html'}." if out else "For a report with figures, add: --out DIR"
    console.print(Text(where, style="green"), soft_wrap=True)


def tables(result: StudyResult) -> dict[str, Table]:
    """The tables of a plan by their titles."""
    from optdesign.report import tables as texts

    study, spend = result.study, result.best.rounded.spend
    amount = f"{money(spend, study.currency)} of {money(result.best.budget, study.currency)}"
    precision = texts.precision(result)
    found = {
        f"{study.title}\nThe plan, for {amount}": plan_table(result),
        precision.caption: numbers_table(precision),
    }
    if (test := study.tables.test) is not None:
        tested = hypothesis(test.coefficient, test.null, test.alternative, test.alpha)
        found[f"Power of {tested}"] = numbers_table(texts.power(result))
    return found


def _table() -> Table:
    return Table(show_edge=False, pad_edge=False)


def plan_table(result: StudyResult) -> Table:
    """A row for each group of units."""
    study = result.study
    table = _table()
    groups = result.plan_json()["groups"]
    several = any(group["at"] for group in groups)
    table.add_column("group")
    if several:
        table.add_column(study.unit)
    for name in _size_names(study):
        table.add_column(name, justify="right")
    if any(schedule(group["points"]) for group in groups):
        table.add_column("at", overflow="fold")
    for number, group in enumerate(groups, start=1):
        sizes = [f"{size:,.6g}" if isinstance(size, float) else f"{size:,}" for size in _sizes(group, study)]
        kind = [values(group["at"])] if several else []
        cells = [str(number), *kind, *sizes, schedule(group["points"])]
        table.add_row(*map(Text, cells[: len(table.columns)]))
    return table


def _size_names(study: Study) -> list[str]:
    """What the sizes of a group count."""
    nouns, observations = [plural(study.word(factor)) for factor in study.factors], plural(study.observation)
    if not nouns:
        return [observations]
    if study.crossed:
        return [*nouns, "cells", f"{observations} each"]
    return [nouns[0], *(f"{noun} each" for noun in [*nouns[1:], observations])]


def _sizes(group: dict[str, Any], study: Study) -> list[float]:
    """Units of a group, factor by factor, cells where these are crossed, and observations in each of the last."""
    outer = [group["units"]] if study.factors and not study.crossed else []
    cells = [group["cells"]] if study.crossed else []
    return [*outer, *group.get("counts", {}).values(), *cells, group["replicates"]]


def numbers_table(texts: Texts) -> Table:
    """A table of the report: a row begins with its name, which is shown in full, and goes on with numbers."""
    table = _table()
    for at, name in enumerate(texts.header):
        table.add_column(name, justify="left" if at < texts.text else "right", overflow="fold", no_wrap=at > 0)
    for row in texts.rows:
        table.add_row(*map(Text, row))
    return table
