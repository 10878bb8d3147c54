"""``optdesign compare``: the layouts of a study's two factors side by side, for the same money."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from optdesign.study import load_study

if TYPE_CHECKING:
    from optdesign.report.tables import Table as Texts
    from optdesign.study.comparing import StudyComparison


def compare(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for tables as CSV and figures; without it, tables only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON instead of tables.")] = False,
) -> None:
    """Nested or crossed: compare the best design of each layout of two factors, for the same money."""
    from optdesign.cli.commands import progress, reported
    from optdesign.report.folder import COMPARISON, check_folder

    with reported():
        checked = load_study(study)
        if out is not None:
            check_folder(out, COMPARISON)  # before a long run, whose results would then be refused
        with progress() as stage:
            from optdesign.report.comparison import write_comparison
            from optdesign.study.comparing import compare_study

            found = compare_study(checked, stage)
            stage("finding plans in whole numbers")
            _ = found.tables
            if out is not None:
                stage("writing the comparison")
                write_comparison(found, out)
        if as_json:
            sys.stdout.write(f"{json.dumps(found.to_json(), indent=2, ensure_ascii=False)}\n")
        else:
            _show(found, out)


def _show(found: StudyComparison, out: Path | None) -> None:
    from optdesign.report.comparison import texts

    console = Console(highlight=False)
    console.print(Text(found.study.title, style="bold"))
    for table in texts(found):
        console.print(Text(table.caption, style="bold"))
        console.print(_table(table), Text())
    for name, best in found.first.designs.items():
        for note in best.warnings:
            console.print(Text.assemble(("note: ", "bold yellow"), f"{name}: {note}"))
    where = f"Tables and figures are in {out}." if out else "For tables as CSV and figures, add: --out DIR"
    console.print(Text(where, style="green"), soft_wrap=True)


def _table(texts: Texts) -> Table:
    """A column per layout, whose name folds, and a row per quantity."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for at, name in enumerate(texts.header):
        table.add_column(name, justify="left" if at < texts.text else "right", no_wrap=at < texts.text)
    for row in texts.rows:
        table.add_row(*map(Text, row))
    return table
