"""What the test of a study can show at its plan, and what the power wanted would take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optdesign.errors import SpecificationError
from optdesign.inference import (
    AttainablePower,
    Plan,
    WaldTest,
    attainable_power,
    minimum_detectable_effect,
    sample_size,
)
from optdesign.inference.dials import dial_names
from optdesign.inference.hypotheses import check_between
from optdesign.study.building import test_of
from optdesign.study.reading import Study
from optdesign.study.result import StudyResult, plain
from optdesign.study.running import run

#: Power that answers refer to where neither the study nor its reader wants one.
USUAL = 0.8


@dataclass(frozen=True, eq=False)
class Strength:
    """What a test shows at the plan of a study.

    Attributes
    ----------
    result : StudyResult
        With the power at the plan by each order.
    power : float
        Power that the detectable difference refers to.
    detectable : float
        Smallest difference from the null value that the plan shows with it.
    attainable : AttainablePower
        Power of the plan, and its limits as counts grow.
    """

    result: StudyResult
    power: float
    detectable: float
    attainable: AttainablePower

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries, lists, numbers and text."""
        answer = {
            "power": dict(self.result.power),
            "detectable": {"power": self.power, "difference": self.detectable},
            "attainable": self.attainable.to_frame().to_dict("records"),
        }
        return {key: plain(value) for key, value in answer.items()}


@dataclass(frozen=True)
class Size:
    """A number that gives the power wanted, all else as planned; or why none does.

    Attributes
    ----------
    solve_for : str
        A grouping factor, ``"replicates"`` or ``"budget"``.
    count : int or None
    power : float or None
        Power there.
    spend : float or None
        What the design of that size costs.
    reason : str
        Why no number does; empty where one does.
    """

    solve_for: str
    count: int | None
    power: float | None
    spend: float | None
    reason: str = ""


def strength_of(study: Study, power: float | None, progress: Callable[[str], None]) -> Strength:
    """Run a study, and say what its test can show.

    Raises
    ------
    SpecificationError
        For a study without a test; and as for `run_study`.
    """
    test, wanted, result = _tested(study, power, progress)
    at = (result.best.model, result.best.nominal, result.best.rounded.design, test)
    order = result.best.order
    return Strength(result, wanted, minimum_detectable_effect(*at, wanted, order), attainable_power(*at, order))


def sizes_of(
    study: Study, power: float | None, progress: Callable[[str], None]
) -> tuple[StudyResult, float, tuple[Size, ...]]:
    """Run a study, and find each number of its plan at which the test has its power, all else as planned.

    Returns
    -------
    StudyResult, power wanted, sizes
        One size for each count, for replicates, and for the budget.

    Raises
    ------
    SpecificationError
        For a study without a test; and as for `run_study`.
    """
    test, wanted, result = _tested(study, power, progress)
    progress("solving for each count")
    names = [*dial_names(result.best.rounded.design), "budget"]
    return result, wanted, tuple(_size(result, test, wanted, name) for name in names)


def _tested(study: Study, power: float | None, progress: Callable[[str], None]) -> tuple[WaldTest, float, StudyResult]:
    """The test, the power wanted, and the plan."""
    test, table = test_of(study), study.tables.test
    if test is None or table is None:
        raise SpecificationError(
            f"{study.path.name}: power is that of a test, and the study has none: add a table [test] with "
            'coefficient = "…", the name of a coefficient.'
        )
    wanted = next(each for each in (power, table.power, USUAL) if each is not None)
    check_between("power", wanted, test.alpha)
    result = run(study, progress)
    best = result.best
    Plan(best.model, best.nominal, best.rounded.design, test, best.order).require_effect()
    return test, wanted, result


def _size(result: StudyResult, test: WaldTest, wanted: float, name: str) -> Size:
    best = result.best
    try:
        found = sample_size(best.model, best.nominal, best.rounded.design, test, wanted, name, best.order, best.cost)
    except SpecificationError as error:
        return Size(name, None, None, None, str(error))
    return Size(name, found.count, found.power, found.design.spend(best.cost))
