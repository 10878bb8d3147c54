"""A comparison of layouts: its tables as text, and the folder with its tables as CSV and its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optdesign.report.folder import COMPARISON, check_folder, unwritable, write_whole
from optdesign.report.tables import Table
from optdesign.study import words

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.study.comparing import StudyComparison


def write_comparison(found: StudyComparison, out: str | Path) -> Path:
    """Write a comparison as a folder: ``comparison.json``, its tables as CSV, and figures as SVG and PNG.

    Parameters
    ----------
    found : StudyComparison
        From `compare_study`.
    out : str or Path
        Folder to write. An earlier comparison there is replaced, in one step and only when the new one is complete.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SpecificationError
        Where `out` is a file, a folder with anything that is not a comparison, or cannot be written to.
    """
    folder = check_folder(out, COMPARISON)
    try:
        write_whole(folder, lambda fresh: _write_files(found, fresh))
    except OSError as error:
        raise unwritable(folder, error.strerror or str(error)) from error
    return folder


def _write_files(found: StudyComparison, folder: Path) -> None:
    text = json.dumps(found.to_json(), indent=2, ensure_ascii=False)
    (folder / "comparison.json").write_text(f"{text}\n", encoding="utf-8")
    for name, table in found.tables.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    figures = folder / "figures"
    figures.mkdir()
    _draw(found, figures)


def _draw(found: StudyComparison, folder: Path) -> None:
    from optdesign import plotting  # here, because it loads matplotlib

    for number, coefficient in enumerate(found.coefficients, start=1):
        figure, ax = plotting.new_axes(6.4, 3.0)
        plotting.standard_errors(ax, found.first, coefficient)
        plotting.save(figure, folder / f"sources-{number}")
    if found.layouts is not None:
        figure, ax = plotting.new_axes(5.4, 4.4)
        plotting.layout_map(ax, found.layouts, found.break_even)
        plotting.save(figure, folder / "map")


# The tables in words --------------------------------------------------------------------------------------------------


def texts(found: StudyComparison) -> Iterator[Table]:
    """Tables that are ready to show: a column per layout."""
    for budget, comparison in found.comparisons.items():
        amount = words.money(budget, found.study.currency)
        label = comparison.designs[comparison.best].criterion.label
        caption = f"For {amount}: {label} (order '{comparison.order}'); best: {comparison.best}"
        yield _by_layout(caption, comparison.to_frame().drop(columns="found by"))
        yield _by_layout(f"The same in whole numbers, for at most {amount}", comparison.plans())
    yield from _errors(found)
    if found.first.test is not None:
        yield _by_layout(f"Money for power {found.first.target:g}, and what it buys", found.first.needed())
    yield from _overtaking(found)


def _errors(found: StudyComparison) -> Iterator[Table]:
    sources = found.first.by_source().reset_index()
    for coefficient in found.coefficients:
        own = sources[sources["coefficient"] == coefficient].set_index("layout").drop(columns="coefficient")
        yield _by_layout(f"Standard error of {coefficient}, and variance by source", own)


def _overtaking(found: StudyComparison) -> Iterator[Table]:
    if found.layouts is not None:
        rows = [[name, words.percent(share)] for name, share in found.layouts.shares.items()]
        yield Table("Best layout on the map of prices and variances", ["layout", "places"], rows)
    if found.break_even is not None:
        rows = [[_text(value) for value in row] for row in found.break_even.to_numpy()]
        yield Table("Where one overtakes the other", [*found.break_even.columns], rows)


def _by_layout(caption: str, frame: pd.DataFrame) -> Table:
    """A row per quantity, a column per layout."""
    rows = [[str(name), *map(_text, column)] for name, column in frame.items()]
    return Table(caption, ["", *map(str, frame.index)], rows)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else words.number(float(value))
