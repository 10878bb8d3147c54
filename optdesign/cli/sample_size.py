"""``optdesign sample-size``: what the power wanted would take, in each count and in money."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from optdesign.cli.power import Wanted
from optdesign.study import load_study

if TYPE_CHECKING:
    from optdesign.study import StudyResult
    from optdesign.study.strength import Size


def sample_size(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)],
    wanted: Wanted = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON instead of a table.")] = False,
) -> None:
    """Smallest numbers of units, of observations in each, and the least money that give the study's test its power.

    Each holds all else as in the study's best plan, whose proportions are kept.
    """
    from optdesign.cli.commands import progress, reported

    with reported():
        checked = load_study(study)
        with progress() as stage:
            from optdesign.study.strength import sizes_of

            result, power, sizes = sizes_of(checked, wanted, stage)
        if as_json:
            answer = {"power": power, "sizes": [asdict(each) for each in sizes]}
            sys.stdout.write(f"{json.dumps(answer, indent=2, ensure_ascii=False)}\n")
        else:
            _show(result, power, sizes)


def _show(result: StudyResult, power: float, sizes: tuple[Size, ...]) -> None:
    from optdesign.cli.show import numbers_table
    from optdesign.report.tables import Table
    from optdesign.study import words

    console, study = Console(highlight=False), result.study
    table = study.tables.test
    assert table is not None  # sizes_of asks for a test
    tested = words.hypothesis(table.coefficient, table.null, table.alternative, table.alpha)
    console.print(
        Text(f"Numbers that give {tested} power {power:g},\nall else in the plan's proportions", style="bold")
    )
    rows = [
        [each.solve_for, f"{each.count:,}", f"{each.power:.4f}", words.money(each.spend or 0.0, study.currency)]
        for each in sizes
        if each.count is not None
    ]
    console.print(numbers_table(Table("", ["Solved for", "Number", "Power", "Cost"], rows)))
    for each in sizes:
        if each.reason:
            console.print(Text(f"\n{each.solve_for}: {each.reason}"))
