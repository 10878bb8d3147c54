"""Replicates in a file: JSON lines, a header first, so that a simulation that is cut off goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from optdesign.errors import SpecificationError, listed
from optdesign.simulate.replicates import Record

#: First key of the header.
MARK = "optdesign simulation"


def opened(path: Path, header: Record) -> list[Record]:
    """The replicates that a file holds; it is made where there is none, and a last line cut short is taken off.

    Raises
    ------
    SpecificationError
        For a file that is of another simulation, or of something else, or cannot be written.
    """
    try:
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]
        if not whole and (not text or MARK.encode() in text):
            path.write_text(_line({MARK: 1, **header}), encoding="utf-8")
            return []
        first, *records = _read(path, whole)
        _check(path, first, header)
        if len(whole) < len(text):
            with path.open("r+b") as file:
                file.truncate(len(whole))
    except OSError as error:
        raise SpecificationError(f"store '{path}' cannot be used: {error.strerror}. Name a file in a folder.") from None
    return records


def append(path: Path, records: Iterable[Record]) -> None:
    """Write replicates at the end; they are safe when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(map(_line, records)))


def _line(record: Record) -> str:
    return f"{json.dumps(record)}\n"


def _read(path: Path, text: bytes) -> list[Record]:
    try:
        lines = [json.loads(line) for line in text.decode("utf-8").splitlines()]
    except ValueError:
        lines = [None]
    if not lines or not isinstance(lines[0], dict) or MARK not in lines[0]:
        raise SpecificationError(
            f"store '{path}' holds something other than a simulation: it is left as it is. Name another file."
        )
    return lines


def _check(path: Path, found: Record, header: Record) -> None:
    other = [key for key, value in header.items() if found.get(key) != value]
    if other:
        key = other[0]
        raise SpecificationError(
            f"store '{path}' holds another simulation, which differs in {listed(other)} ({key}: {found.get(key)!r} in "
            f"the file, {header[key]!r} now). Name another file, or ask for the same simulation to go on with it."
        )
