"""``optdesign new``: a study file to begin with."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from optdesign.errors import SpecificationError
from optdesign.study import templates


def new(
    template: Annotated[
        str,
        typer.Argument(
            metavar="TEMPLATE",
            help=f"One of {', '.join(templates.names())}.",
            show_default=False,
            autocompletion=lambda: [(name, templates.heading(name)) for name in templates.names()],
        ),
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The file to write; without it, the template is printed.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the tables of the template as JSON.")] = False,
) -> None:
    """Write a commented study file to begin with; a file that is there is never overwritten."""
    from optdesign.cli.commands import reported

    with reported():
        text = templates.text(template)
        if file is not None:
            _write(file, text)
    if as_json:
        sys.stdout.write(f"{json.dumps(tomllib.loads(text), indent=2, ensure_ascii=False)}\n")
    elif file is None:
        sys.stdout.write(text)
    else:
        said = f"{file} is written. Put your own numbers in it, then run: optdesign check {file}"
        Console(highlight=False).print(Text(said, style="green"), soft_wrap=True)


def _write(file: Path, text: str) -> None:
    try:
        with file.open("x", encoding="utf-8") as fresh:
            fresh.write(text)
    except FileExistsError:
        raise SpecificationError(f"{file}: there is one already, and it stays as it is. Name another file.") from None
    except OSError as error:
        raise SpecificationError(f"{file}: cannot be written ({error.strerror}). Name another file.") from None
