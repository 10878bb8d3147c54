"""The page as PDF, by a browser that is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from optdesign.errors import OptDesignError, SpecificationError, listed

#: Browsers that print from the command line, by the names they go by.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "microsoft-edge")
#: Seconds after which a browser is not waited for.
PATIENCE = 120


def browser() -> str | None:
    """Path of the first browser that is there."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def check_browser() -> str:
    """Path of a browser; `SpecificationError` where there is none."""
    found = browser()
    if found is None:
        raise SpecificationError(
            f"a PDF is printed by a browser, and none of {listed(BROWSERS)} is on the path: install one, or leave the "
            "PDF out and print index.html."
        )
    return found


def write_pdf(page: Path, pdf: Path) -> None:
    """Print a page.

    Raises
    ------
    SpecificationError
        Where there is no browser.
    OptDesignError
        Where the browser writes nothing.
    """
    with tempfile.TemporaryDirectory() as profile:
        command = [
            check_browser(),
            *headless_options(profile),
            "--no-pdf-header-footer",
            f"--print-to-pdf={pdf}",
            page.as_uri(),
        ]
        try:
            subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            raise OptDesignError(
                f"{command[0]} did not print within {PATIENCE} s: print {page.name} by hand."
            ) from None
    if not pdf.exists():
        raise OptDesignError(f"{command[0]} printed nothing: print {page.name} by hand.")


def headless_options(profile: str) -> list[str]:
    """Options under which a browser shows nothing and keeps nothing; root has no sandbox."""
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return ["--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}", *["--no-sandbox"] * root]
