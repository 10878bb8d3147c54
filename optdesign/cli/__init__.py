"""The command line, ``optdesign run`` and the others.

Exit codes: 0; 1 where the plan cannot be made (unaffordable budget, inestimable coefficient, a pilot that does not
converge); 2 where the input is wrong; 130 after an interruption. This module is all that loads before an interruption
is caught and threads are limited; the commands load next, and numerical libraries only once a study file has passed
its checks.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from optdesign.cli.commands import app as app

__all__ = ["app", "main"]

INTERRUPTED = 130
MESSAGE = "Interrupted: the command was stopped before it was done. Nothing is left half-written."

#: Matrices are small here, a few dozen rows. Several BLAS threads gain nothing on them, and on a busy machine wait for
#: each other at every product, which makes a run many times slower. Whoever has set a number keeps it.
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class Interruption(SystemExit):
    """Ctrl-C, as what nothing in between takes for an error of its own."""

    #: Whether it has come: a compiled library whose import it cuts short raises an error of its own instead.
    seen = False


def main() -> None:
    """Entry point of the command ``optdesign``."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    for name in THREADS:
        os.environ.setdefault(name, "1")  # before numpy is imported, which reads them once
    try:
        from optdesign.cli.commands import app

        app()
    except BaseException as error:
        finished = isinstance(error, SystemExit) and not error.code
        if finished or not Interruption.seen:
            raise
        sys.stderr.write(f"{MESSAGE}\n")
        sys.stderr.flush()
        # At once: a compiled library whose import was cut short may crash while the interpreter winds down.
        os._exit(INTERRUPTED)


def _interrupt(*_: Any) -> NoReturn:
    Interruption.seen = True
    raise Interruption(INTERRUPTED)


def __getattr__(name: str) -> object:
    if name != "app":
        raise AttributeError(f"module 'optdesign.cli' has no attribute '{name}'")
    from optdesign.cli.commands import app

    return app
