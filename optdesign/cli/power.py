"""``optdesign power``: what the test of a study can show at its plan."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from optdesign.study import load_study

if TYPE_CHECKING:
    from optdesign.report.tables import Table as Texts
    from optdesign.study.strength import Strength

Wanted = Annotated[
    float | None,
    typer.Option("--power", metavar="P", help="The power wanted; that of the study by default, 0.8 where it has none."),
]


def power(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="The study file.", show_default=False)],
    wanted: Wanted = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON instead of tables.")] = False,
) -> None:
    """Power of the study's test at its best plan, the effect it can show, and what limits its power."""
    from optdesign.cli.commands import progress, reported

    with reported():
        checked = load_study(study)
        with progress() as stage:
            from optdesign.study.strength import strength_of

            found = strength_of(checked, wanted, stage)
        if as_json:
            sys.stdout.write(f"{json.dumps(found.to_json(), indent=2, ensure_ascii=False)}\n")
        else:
            _show(found)


def _show(found: Strength) -> None:
    from optdesign.cli.show import numbers_table
    from optdesign.report import tables as texts
    from optdesign.study import words

    console, table = Console(highlight=False), found.result.study.tables.test
    assert table is not None  # strength_of asks for a test
    tested = words.hypothesis(table.coefficient, table.null, table.alternative, table.alpha)
    console.print(Text(f"Power of {tested}, at the plan", style="bold"))
    console.print(numbers_table(texts.power(found.result)), Text())
    console.print(
        Text(
            f"The smallest difference from {words.value(table.null)} that the plan shows with power {found.power:g}: "
            f"{words.number(found.detectable)}.\n"
        )
    )
    console.print(Text("Highest attainable power, as counts grow without bound", style="bold"))
    console.print(numbers_table(_limits(found)))


def _limits(found: Strength) -> Texts:
    from optdesign.report.tables import Table
    from optdesign.study import words

    rows = [
        [" and ".join(each.grows) or "the plan", words.probability(each.power), each.limited_by]
        for each in found.attainable.limits
    ]
    return Table("", ["Grows", "Power", "Limited by"], rows)
