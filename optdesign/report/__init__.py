"""Reports: a folder with a page, the plan as data, tables and figures, written whole or not at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from optdesign.errors import SpecificationError, listed
from optdesign.report import figures, page, tables

if TYPE_CHECKING:
    from optdesign.study import StudyResult

__all__ = ["write_report"]

#: What a report may hold. A folder with anything else is somebody's own, and is not replaced.
CONTENTS = frozenset(
    {
        "index.html",
        "plan.json",
        "plan.csv",
        "schedule.csv",
        "precision.csv",
        "power.csv",
        "sensitivity.csv",
        "figures",
    }
)
#: What file managers leave behind.
IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


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
    folder = Path(out).resolve()
    _check_replaceable(folder)
    try:
        _write_whole(result, folder)
    except OSError as error:
        raise SpecificationError(
            f"the report cannot be written to {folder}: {error.strerror or error}. Choose a folder that "
            "you may write to."
        ) from error
    return folder


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SpecificationError(f"{folder} is a file; a report needs a folder of its own. Choose another name.")
    found = {entry.name for entry in folder.iterdir()} - IGNORED
    if not found:
        return
    if not {"index.html", "plan.json"} <= found:
        raise SpecificationError(
            f"{folder} is not empty and holds no report, so it is left alone. Choose a new folder, or empty this one."
        )
    foreign = sorted(found - CONTENTS)
    if foreign:
        raise SpecificationError(
            f"{folder} holds a report and also {listed(foreign)}, which replacing the report would delete. Move them "
            "away, or choose another folder."
        )


def _write_whole(result: StudyResult, folder: Path) -> None:
    """Build the report beside its place, and move it there in one step."""
    beside = next(parent for parent in folder.parents if parent.is_dir())
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=beside) as work:
        fresh = Path(work, "report")
        fresh.mkdir()
        _write_files(result, fresh)
        _move(fresh, folder, Path(work, "replaced"))


def _write_files(result: StudyResult, folder: Path) -> None:
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


def _move(fresh: Path, folder: Path, aside: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        if folder.exists():
            folder.rename(aside)
        fresh.rename(folder)
    except BaseException:
        # An interruption between the two steps must not cost the report that was there.
        if aside.exists() and not folder.exists():
            aside.rename(folder)
        raise
