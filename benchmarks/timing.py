"""Timing of one task, the machine it ran on, and the file both are kept in."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

COLUMNS = ("task", "case", "runs", "median_s", "min_s", "max_s", "result")
PACKAGES = ("numpy", "scipy", "cvxpy", "scs", "clarabel", "pandas", "glmm")


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of the runs of one task, and what it found."""

    task: str
    case: str
    seconds: tuple[float, ...]
    result: str = ""

    @property
    def median(self) -> float:
        """Median of the runs."""
        return statistics.median(self.seconds)

    def cells(self) -> list[str]:
        """The row of the table, in the order of `COLUMNS`."""
        spread = (self.median, min(self.seconds), max(self.seconds))
        return [self.task, self.case, str(len(self.seconds)), *(f"{s:.4g}" for s in spread), self.result]


def timed(
    work: Callable[[], Any], runs: int, warm_up: Callable[[], Any] | None = None
) -> tuple[tuple[float, ...], Any]:
    """Seconds of each run after a warm-up (of the same work unless another is given), and the last answer."""
    (warm_up or work)()
    seconds, answer = [], None
    for _ in range(runs):
        start = time.perf_counter()
        answer = work()
        seconds.append(time.perf_counter() - start)
    return tuple(seconds), answer


def machine() -> dict[str, str]:
    """Processor, system, versions and settings that matter for times."""
    import optdesign

    versions = [f"optdesign {optdesign.__version__}", *filter(None, map(_version, PACKAGES))]
    return {
        "processor": f"{_processor()}, {os.cpu_count()} logical cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(versions),
        "OPENBLAS_NUM_THREADS": os.environ["OPENBLAS_NUM_THREADS"],
        "date": time.strftime("%Y-%m-%d"),
    }


def _version(package: str) -> str | None:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def write(timings: Sequence[Timing], path: Path) -> None:
    """CSV with the machine in comment lines on top: ``pandas.read_csv(path, comment="#")`` reads the table."""
    with path.open("w", encoding="utf-8", newline="") as file:
        file.writelines(f"# {key}: {value}\n" for key, value in machine().items())
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(timing.cells() for timing in timings)
