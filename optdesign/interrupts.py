"""An interrupt from the keyboard ends a search with the best that it has found."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from types import TracebackType


@dataclass
class Stoppable:
    """A block of code that an interrupt from the keyboard ends, without an error where there is something to keep.

    Attributes
    ----------
    kept : sized
        What the block has found so far. While it is empty, the interrupt goes on.
    stopped : bool
        Whether the block was interrupted.

    Examples
    --------
    >>> found = []
    >>> with Stoppable(found) as search:
    ...     found.append(1)
    ...     raise KeyboardInterrupt
    >>> found, search.stopped
    ([1], True)
    """

    kept: Sized
    stopped: bool = False

    def __enter__(self) -> Stoppable:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        self.stopped = kind is KeyboardInterrupt and len(self.kept) > 0
        return self.stopped
