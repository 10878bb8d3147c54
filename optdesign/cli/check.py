"""``optdesign check``: is a study file in order, and what does it ask for?"""

from __future__ import annotations

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdesign.study import Study, load_study
from optdesign.study.words import money

if TYPE_CHECKING:
    from optdesign.study.explaining import Told


def check(
    study: Annotated[
        Path | None, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of study files, for editors.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what it asks for as JSON instead of a table.")] = False,
) -> None:
    """Check a study file, and say in words what it asks for, line by line."""
    from optdesign.cli.commands import progress, reported
    from optdesign.study.tables import json_schema

    if schema:
        sys.stdout.write(f"{json.dumps(json_schema(), indent=2, ensure_ascii=False)}\n")
        return
    if study is None:
        raise typer.BadParameter("name a study file, or ask for the schema with --schema.", param_hint="STUDY.toml")
    with reported():
        checked = load_study(study)
        with progress() as stage:
            from optdesign.study.explaining import explanation
            from optdesign.study.running import ask, cheapest_price

            question = ask(checked, stage)
            price = cheapest_price(question)
            told = explanation(checked, question.space)
    if as_json:
        sys.stdout.write(f"{json.dumps(_answer(checked, told, price), indent=2, ensure_ascii=False)}\n")
    else:
        _show(checked, told, price)


def _answer(study: Study, told: list[Told], price: float) -> dict[str, object]:
    asks = [{"line": each.line, "key": list(each.keys), "asks": each.sentence} for each in told]
    return {"title": study.title, "asks": asks, "cheapest": price}


def _show(study: Study, told: list[Told], price: float) -> None:
    console = Console(highlight=False)
    console.print(Text(study.title, style="bold"))
    console.print(_table(told), Text())
    if price > 0:  # without a bound from below, plans may be as small as one likes
        console.print(Text(f"No design within the bounds costs less than {money(price, study.currency)}."))
    console.print(Text(f"The study file is in order: 'optdesign run {study.path}' finds the plan.", style="green"))


def _table(told: list[Told]) -> Table:
    """A row per sentence; the name of its table before the first of them."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, overflow="fold")
    for name, sentences in groupby(told, key=lambda each: f"[{each.keys[0]}]"):
        for at, each in enumerate(sentences):
            table.add_row(Text("" if at else name, style="bold"), Text(str(each.line or "")), Text(each.sentence))
    return table
