"""The report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from optdesign import __version__
from optdesign.report.document import Block, Code, Items
from optdesign.report.sketches import Sketch
from optdesign.report.tables import Table
from optdesign.study.judging import Light

if TYPE_CHECKING:
    from optdesign.report.document import Document


def render(report: Document) -> str:
    """The report as Markdown, figures by reference; nothing that came from the user is read as markup."""
    parts = [f"# {escape(report.title)}", escape(report.summary)]
    if report.warnings:
        parts += ["## Read this first", _items(report.warnings)]
    for section in report.sections:
        parts += [f"## {section.title}", *(text for block in section.blocks for text in _texts(block))]
    return "\n\n".join([*parts, f"Made by optdesign {__version__}."]) + "\n"


def escape(text: str) -> str:
    """Text that Markdown and the HTML within it show as it is.

    >>> print(escape("<b> a_b | *c* [d](e)"))
    &lt;b&gt; a\\_b \\| \\*c\\* \\[d\\](e)
    """
    one_line = " ".join(text.split())
    marked = re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", one_line.replace("&", "&amp;"))
    return marked.replace("<", "&lt;").replace(">", "&gt;")


def _texts(block: Block) -> Iterator[str]:
    match block:
        case Table():
            yield f"*{escape(block.caption)}*"
            yield _table(block)
        case Sketch():
            yield f"![{escape(block.description)}](figures/{block.name}.svg)"
            yield f"*{escape(block.caption)}*"
        case Light():
            yield f"**Asymptotics: {block.word}.** {escape(block.text)}"
        case Items():
            yield _items(block.lines)
        case Code():
            yield "\n".join(f"    {line}" for line in block.text.rstrip().splitlines())
        case _:
            yield escape(block.text)


def _items(lines: Sequence[str]) -> str:
    return "\n".join(f"* {escape(line)}" for line in lines)


def _table(table: Table) -> str:
    rule = [":--" if at < table.text else "--:" for at in range(len(table.header))]
    rows = [[escape(cell) for cell in row] for row in (table.header, *table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (rows[0], rule, *rows[1:]))
