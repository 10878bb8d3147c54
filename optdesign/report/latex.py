"""The tables of a report for LaTeX, with the package booktabs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optdesign.report.tables import Table

if TYPE_CHECKING:
    from optdesign.report.document import Document

#: What LaTeX reads as anything but itself.
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "×": r"$\times$",
    "–": "--",
    "−": "$-$",
}


def render(report: Document) -> str:
    """Every table of the report, to be read with \\input; needs ``\\usepackage{booktabs}``."""
    return "\n".join(_table(table) for table in report.tables)


def escape(text: str) -> str:
    """Text that LaTeX shows as it is.

    >>> print(escape("50 % of a_b"))
    50 \\% of a\\_b
    """
    return "".join(SPECIAL.get(mark, mark) for mark in text)


def _table(table: Table) -> str:
    kinds = "".join("l" if at < table.text else "r" for at in range(len(table.header)))
    head, *rows = [" & ".join(map(escape, row)) + r" \\" for row in (table.header, *table.rows)]
    body = "\n".join(rows)
    return (
        f"\\begin{{table}}\n\\caption{{{escape(table.caption)}}}\n\\begin{{tabular}}{{{kinds}}}\n\\toprule\n"
        f"{head}\n\\midrule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )
