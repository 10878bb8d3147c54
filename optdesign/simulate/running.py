"""Replicates in this process, in processes beside it, or on whatever takes tasks."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, Protocol

from optdesign.errors import OptDesignError
from optdesign.simulate.replicates import Experiment, Record, run_batch

#: Replicates of a task.
BATCH = 10
#: Tasks that are handed out before the first comes back.
IN_FLIGHT = 200


class Executor(Protocol):
    """What takes tasks: of `concurrent.futures`, ``distributed.Client`` and others."""

    def submit(self, fn: Any, /, *args: Any) -> Any:
        """A future of the task, with ``result``, ``cancel`` and ``add_done_callback``."""


def completed(
    experiment: Experiment, numbers: Sequence[int], workers: int, executor: Executor | None
) -> Generator[list[Record]]:
    """Batches of replicates as they come."""
    payload = pickle.dumps(experiment, pickle.HIGHEST_PROTOCOL)
    batches = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    if executor is not None:
        yield from _over(executor, payload, batches)
    elif workers == 1:
        yield from (run_batch(payload, batch) for batch in batches)
    else:
        yield from _in_processes(min(workers, max(len(batches), 1)), payload, batches)


def _over(executor: Executor, payload: bytes, batches: Sequence[Sequence[int]]) -> Generator[list[Record]]:
    """Batches by an executor, a limited number at a time; what is left when the caller stops is called off."""
    from queue import SimpleQueue

    finished: SimpleQueue[Any] = SimpleQueue()
    waiting = iter(batches)
    pending: dict[int, Any] = {}

    def submit(number: int) -> None:
        for batch in islice(waiting, number):
            future = executor.submit(run_batch, payload, batch)
            pending[id(future)] = future
            future.add_done_callback(finished.put)

    try:
        submit(IN_FLIGHT)
        for _ in batches:
            future = finished.get()
            del pending[id(future)]
            submit(1)
            yield future.result()
    finally:
        for future in pending.values():
            future.cancel()


def _in_processes(workers: int, payload: bytes, batches: Sequence[Sequence[int]]) -> Generator[list[Record]]:
    import multiprocessing

    # Fresh processes on every system: forking one that has threads may lock up.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, context, initializer=_prepare) as pool:
            yield from _over(pool, payload, batches)
    except BrokenProcessPool:
        raise OptDesignError(
            "a worker process ended before its work was done, by lack of memory or by someone's hand, or because the "
            "script that started it does not guard its own start with: if __name__ == '__main__'. What is in store= "
            "is safe: call again to go on."
        ) from None


def _prepare() -> None:
    """A worker leaves Ctrl-C to the process that started it, and ends when that does."""
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing
    import os

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
