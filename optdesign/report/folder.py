"""The folder of a report: whether it may be written, and the step that puts a whole report in its place."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from optdesign.errors import SpecificationError, listed


@dataclass(frozen=True)
class Kind:
    """What is written to a folder. One that holds anything else is somebody's own, and is not replaced.

    Attributes
    ----------
    name : str
        The word for it.
    always, further : frozenset of str
        What it has for certain, and what it may have.
    """

    name: str
    always: frozenset[str]
    further: frozenset[str]


REPORT = Kind(
    "report",
    frozenset({"index.html", "plan.json"}),
    frozenset(
        {
            "report.md",
            "report.json",
            "report.pdf",
            "tables.tex",
            "plan.csv",
            "field-sheet.csv",
            "schedule.csv",
            "precision.csv",
            "power.csv",
            "sensitivity.csv",
            "robustness.csv",
            "alternatives.csv",
            "figures",
        }
    ),
)
COMPARISON = Kind(
    "comparison",
    frozenset({"comparison.json", "comparison.csv"}),
    frozenset({"sources.csv", "plans.csv", "needed.csv", "map.csv", "break-even.csv", "figures"}),
)
#: What file managers leave behind.
IGNORED = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


def check_folder(out: str | Path, kind: Kind = REPORT) -> Path:
    """The folder that a report, or a comparison, would be written to, once it is sure that nothing there would be lost.

    Parameters
    ----------
    out : str or Path
    kind : Kind

    Returns
    -------
    Path
        Absolute.

    Raises
    ------
    SpecificationError
        Where `out` is a file, a folder with anything that is not of its kind, or cannot be written to.

    Examples
    --------
    >>> check_folder("pyproject.toml")
    Traceback (most recent call last):
    optdesign.errors.SpecificationError: ...pyproject.toml is a file; a report needs a folder of its own. Choose ...
    """
    folder = Path(out).resolve()
    try:
        if folder.exists():
            _check_replaceable(folder, kind)
        beside = existing(folder)
    except OSError as error:
        raise unwritable(folder, error.strerror or str(error)) from None
    if not (beside.is_dir() and os.access(beside, os.W_OK)):
        raise unwritable(folder, f"{beside} is {'read-only' if beside.is_dir() else 'a file'}")
    return folder


def unwritable(folder: Path, reason: str) -> SpecificationError:
    """The error about a folder that cannot be written."""
    return SpecificationError(
        f"the results cannot be written to {folder}: {reason}. Choose a folder that you may write to."
    )


def existing(folder: Path) -> Path:
    """The closest thing above a folder that is there."""
    return next((parent for parent in folder.parents if parent.exists()), folder)


def _check_replaceable(folder: Path, kind: Kind) -> None:
    if not folder.is_dir():
        raise SpecificationError(f"{folder} is a file; a {kind.name} needs a folder of its own. Choose another name.")
    found = {entry.name for entry in folder.iterdir()} - IGNORED
    if not found:
        return
    if not kind.always <= found:
        raise SpecificationError(
            f"{folder} is not empty and holds no {kind.name}, so it is left alone. Choose a new folder, or empty this "
            "one."
        )
    foreign = sorted(found - kind.always - kind.further)
    if foreign:
        raise SpecificationError(
            f"{folder} holds a {kind.name} and also {listed(foreign)}, which replacing the {kind.name} would delete. "
            "Move them away, or choose another folder."
        )


def write_whole(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder beside its place, and move it there in one step."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=existing(folder)) as work:
        fresh = Path(work, "report")
        fresh.mkdir()
        write(fresh)
        _move(fresh, folder, Path(work, "replaced"))


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
