"""Reports: a folder with a page, the plan as data, tables and figures, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from optdesign.report.folder import check_folder, unwritable, write_whole

if TYPE_CHECKING:
    from optdesign.study import StudyResult

__all__ = ["check_folder", "write_report"]


def write_report(result: StudyResult, out: str | Path) -> Path:
    """Write a study's plan as a folder that can be handed on.

    ``index.html`` stands alone (no network, light and dark, prints well); ``plan.json`` is the plan as data;
    ``plan.csv`` has a row per group and point; ``schedule.csv`` a row per observation, units in an order drawn with the
    study's seed, so that it can serve as an allocation list; ``precision.csv``, ``power.csv`` (with a test) and
    ``sensitivity.csv`` are the tables behind the page, ``figures/`` its figures as SVG and PNG.

    Parameters
    ----------
    result : StudyResult
        From `run_study`.
    out : str or Path
        Folder to write. An earlier report there is replaced, in one step and only when the new one is complete.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    SpecificationError
        Where `out` is a file, a folder with anything that is not a report, or cannot be written to.
    """
    folder = check_folder(out)
    try:
        write_whole(folder, lambda fresh: _write_files(result, fresh))
    except OSError as error:
        raise unwritable(folder, error.strerror or str(error)) from error
    return folder


def _write_files(result: StudyResult, folder: Path) -> None:
    from optdesign.report import figures, page, tables  # here, because figures load matplotlib

    plan = json.dumps(result.plan_json(), indent=2, ensure_ascii=False)
    (folder / "plan.json").write_text(f"{plan}\n", encoding="utf-8")
    best = result.best
    best.rounded.design.to_frame().to_csv(folder / "plan.csv", index=False)
    tables.schedule(best.rounded, result.study.tables.report.seed).to_csv(folder / "schedule.csv", index=False)
    result.precision.to_csv(folder / "precision.csv")
    best.certificate.sensitivities.to_csv(folder / "sensitivity.csv", index=False)
    if result.power:
        tables.power_file(result).to_csv(folder / "power.csv", index=False)
    pictures = figures.write(result, folder / "figures")
    (folder / "index.html").write_text(page.render(result, pictures), encoding="utf-8")
