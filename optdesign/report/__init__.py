"""Reports: a folder with a page, the plan as data, tables and figures, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optdesign.errors import SpecificationError, listed, nearest
from optdesign.report.folder import check_folder, unwritable, write_whole
from optdesign.report.printing import check_browser, write_pdf

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.study import StudyResult

__all__ = ["check_folder", "check_formats", "write_report"]

#: What is written on request only.
FORMATS = ("latex", "pdf")


def write_report(result: StudyResult, out: str | Path, also: Sequence[str] = ()) -> Path:
    """Write a study's plan as a folder that can be handed on.

    ``index.html`` stands alone (no network, light and dark, prints well), ``report.md`` says the same as Markdown and
    ``report.json`` as data, with the numbers behind every table and figure; ``plan.json`` is the plan alone.
    ``field-sheet.csv`` has a row per unit in an order drawn with the study's seed, to serve as an allocation list, and
    ``schedule.csv`` a row per observation in that order. ``plan.csv`` has a row per group and point;
    ``precision.csv``, ``power.csv`` (with a test), ``sensitivity.csv``, ``robustness.csv`` and ``alternatives.csv`` are
    the tables behind the page, ``figures/`` its figures as SVG and PNG.

    Parameters
    ----------
    result : StudyResult
        From `run_study`.
    out : str or Path
        Folder to write. An earlier report there is replaced, in one step and only when the new one is complete.
    also : sequence of str
        "latex" for ``tables.tex``, "pdf" for ``report.pdf``, which a browser prints that must be there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SpecificationError
        Where `out` is a file, a folder with anything that is not a report, or cannot be written to; for an unknown
        format, and for a PDF where there is no browser.
    """
    folder = check_folder(out)
    check_formats(also)
    try:
        write_whole(folder, lambda fresh: _write_files(result, fresh, also))
    except OSError as error:
        raise unwritable(folder, error.strerror or str(error)) from error
    return folder


def check_formats(also: Sequence[str]) -> None:
    """What is asked for must be known, and a PDF have a browser to print it.

    >>> check_formats(["latexx"])
    Traceback (most recent call last):
    optdesign.errors.SpecificationError: a report can also be written as 'latex', 'pdf'; got 'latexx'. Did you mean ...
    """
    for each in [also] if isinstance(also, str) else also:
        if each not in FORMATS:
            raise SpecificationError(
                f"a report can also be written as {listed(FORMATS)}; got '{each}'.{nearest(str(each), FORMATS)}"
            )
    if "pdf" in also:
        check_browser()


def _write_files(result: StudyResult, folder: Path, also: Sequence[str]) -> None:
    # Here, because figures load matplotlib.
    from optdesign.report import data, latex, markdown, page, pictures, tables
    from optdesign.report.document import document

    report = document(result)
    _write_json(folder / "plan.json", result.plan_json())
    _write_json(folder / "report.json", data.everything(result, report))
    for name, frame in _frames(result).items():
        frame.to_csv(folder / f"{name}.csv", index=False)
    if result.power:
        tables.power_file(result).to_csv(folder / "power.csv", index=False)
    drawn = pictures.write(report.figures, folder / "figures")
    texts = {"index.html": page.render(report, drawn), "report.md": markdown.render(report)}
    if "latex" in also:
        texts["tables.tex"] = latex.render(report)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    if "pdf" in also:
        write_pdf(folder / "index.html", folder / "report.pdf")


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(f"{json.dumps(content, indent=2, ensure_ascii=False)}\n", encoding="utf-8")


def _frames(result: StudyResult) -> dict[str, pd.DataFrame]:
    """The tables that every report has as files."""
    from optdesign.report import tables

    plan = result.best.rounded
    return {
        "plan": plan.design.to_frame(),
        "field-sheet": tables.field_sheet(result),
        "schedule": tables.schedule(plan, result.study.tables.report.seed),
        "precision": result.precision.reset_index(),
        "sensitivity": result.best.certificate.sensitivities,
        "robustness": result.doubts,
        "alternatives": result.alternatives,
    }
