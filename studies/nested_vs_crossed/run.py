"""Compare the layouts of both pilots, and write tables and figures beside this file."""

from __future__ import annotations

from pathlib import Path

from optdesign.report.comparison import write_comparison
from optdesign.study import load_study
from optdesign.study.comparing import compare_study

HERE = Path(__file__).parent
STUDIES = ("penicillin", "verbagg")


def main() -> None:
    """Fit, compare, write."""
    for name in STUDIES:
        found = compare_study(load_study(HERE / f"{name}.toml"))
        write_comparison(found, HERE / name)
        print(found, end="\n\n")


if __name__ == "__main__":
    main()
