"""Study files: one TOML file in, a plan with its proof out.

Reading and validating a file is light; running it loads the numerical libraries.
"""

from __future__ import annotations

from collections.abc import Callable

from optdesign.study.reading import Study, load_study
from optdesign.study.result import StudyResult

__all__ = ["Study", "StudyResult", "load_study", "run_study"]


def run_study(study: Study, progress: Callable[[str], None] | None = None) -> StudyResult:
    """Fit the pilot, find the best design that the budget buys, and work out what it can show.

    Parameters
    ----------
    study : Study
        From `load_study`.
    progress : callable, optional
        Told each stage in words as it begins.

    Returns
    -------
    StudyResult

    Raises
    ------
    SpecificationError
        For parts of the study that do not fit together; the message names the place in the file.
    InfeasibleBudgetError
        Where the budget cannot buy the smallest admissible design; carries its price.
    NotEstimableError
        Where no admissible design estimates what the criterion needs.
    ConvergenceError
        Where the fit of the pilot or the search for the design does not settle.

    Examples
    --------
    >>> result = run_study(load_study("studies/epilepsy/study.toml"))
    >>> result.best.certificate.efficiency_bound >= 0.999999
    True
    """
    from optdesign.study import running

    return running.run(study, progress or (lambda _: None))
