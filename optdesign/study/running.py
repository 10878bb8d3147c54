"""The steps from a study to its result."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from optdesign import formula as formulas
from optdesign.covariance import AsymptoticCovariance, coefficient_index
from optdesign.errors import (
    AsymptoticRegimeWarning,
    InfeasibleBudgetError,
    NotEstimableError,
    OptDesignError,
    SpecificationError,
    listed,
)
from optdesign.fit import Fit, fit
from optdesign.inference import SampleSize, WaldTest, power, power_curve, sample_size, smallest_count
from optdesign.models import NominalValues
from optdesign.optimize import OptimalDesign, optimize
from optdesign.optimize.crossed import crossed_problem
from optdesign.optimize.crossed_problem import CrossedProblem
from optdesign.optimize.problem import Problem, bound_criterion, make_problem
from optdesign.optimize.profile import Surface, budget_line, criterion_surface
from optdesign.optimize.scoring import reported
from optdesign.study.besides import alternatives
from optdesign.study.building import (
    already_of,
    cost_of,
    criterion_of,
    limits_of,
    pilot_of,
    placed,
    read_frame,
    space_of,
    test_of,
)
from optdesign.study.doubting import doubts
from optdesign.study.reading import Study
from optdesign.study.result import StudyResult, coefficient_of_interest
from optdesign.study.words import money, plural

if TYPE_CHECKING:
    from optdesign.costs import Cost
    from optdesign.criteria import Criterion
    from optdesign.designs import Design, DesignSpace

logger = logging.getLogger(__name__)

#: Points of each power curve, of each side of the surface, and of the budget line (an optimisation each).
CURVE, SIDE, LINE = 41, 25, 7


@dataclass(frozen=True, eq=False)
class Question:
    """A study as the objects that `optimize` takes."""

    study: Study
    fit: Fit | None
    nominal: NominalValues
    space: DesignSpace
    criterion: Criterion
    cost: Cost
    test: WaldTest | None
    limits: dict[str, tuple[Cost, float]]
    already: Design | None

    @property
    def encoding(self) -> formulas.Encoding:
        """How the model's terms become columns: the levels are the pilot's, or those that the study offers."""
        region = self.space.region.frame
        return formulas.learn(
            self.study.model.parsed, region if self.nominal.reference is None else self.nominal.reference
        )

    @property
    def parts(self) -> dict[str, Any]:
        """Arguments of `optimize`, of `make_problem`, and of `crossed_problem`."""
        goal = self.study.tables.goal
        further = {"limits": self.limits, "already": self.already}
        return {
            "model": self.study.model,
            "nominal": self.nominal,
            "space": self.space,
            "criterion": self.criterion,
            "cost": self.cost,
            "budget": goal.budget,
            "order": goal.order,
            **{name: given for name, given in further.items() if given},
        }


def run(study: Study, progress: Callable[[str], None]) -> StudyResult:
    """The result of a study. Python warnings become entries of its `warnings`."""
    start = time.perf_counter()
    with _collected() as regime:
        question = ask(study, progress)
        best = planned(question, progress)
        progress("working out what the plan can show")
        found = _covariances(best)
        precision = _precision(found)
        tested = _Tested.of(question, best, list(found))
        progress("looking around the optimum")
        line, surface = _around(best)
    progress("asking what if the nominal values are wrong")
    coefficient = coefficient_of_interest(best, study.tables.test)
    unsure = doubts(best, question.fit, question.encoding, coefficient, question.test)
    others = alternatives(best, question.space, pilot_of(study), coefficient, question.test)
    notes = [*best.warnings, *(question.fit.notes if question.fit else ()), *_unspent(question, best)]
    # Most regime warnings are in best.warnings already, word for word.
    notes += [text for text in regime if not any(text in note for note in notes)]
    return StudyResult(
        study,
        question.fit,
        best,
        precision,
        tested.power,
        tested.curves,
        tested.needed,
        line,
        surface,
        unsure,
        others,
        tuple(dict.fromkeys([*notes, *tested.notes])),
        time.perf_counter() - start,
    )


def planned(question: Question, progress: Callable[[str], None]) -> OptimalDesign:
    """The best design of a study, its errors with their place in the file; `KeyboardInterrupt` after Ctrl-C."""
    progress("finding the best design")
    with explained(question):
        return optimize(**question.parts).finished()  # a study is done as a whole, or not at all


def _unspent(question: Question, best: OptimalDesign) -> Iterator[str]:
    """A note where it is the bounds that limit the design, and not the budget."""
    left = best.budget - best.spend
    if left > 0.001 * best.budget:
        currency = question.study.currency
        yield (
            f"The bounds leave {money(round(left), currency)} of {money(best.budget, currency)} unspent: raise the "
            "highest counts or replicates to use it, or lower the budget."
        )


@contextmanager
def _collected() -> Iterator[list[str]]:
    """Texts of the regime warnings raised inside; other warnings go to the log."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    for warning in caught:
        if issubclass(warning.category, AsymptoticRegimeWarning):
            texts.append(str(warning.message))
        else:
            logger.debug("%s: %s", warning.category.__name__, warning.message)


def ask(study: Study, progress: Callable[[str], None]) -> Question:
    """The study's parts, with the pilot fitted."""
    pilot, table = None, study.tables.nominal
    with placed(study, "model", "formula"):
        model = study.model
    if table.from_pilot is not None:
        progress(f"fitting {table.from_pilot}")
        with placed(study, "nominal", "from_pilot"):
            pilot = fit(model, read_frame(study, table.from_pilot))
            nominal = pilot.nominal_values()
    else:
        nominal = NominalValues(table.beta or (), table.covariance, table.dispersion)
    space = space_of(study)
    question = Question(
        study,
        pilot,
        nominal,
        space,
        criterion_of(study, space),
        cost_of(study),
        test_of(study),
        limits_of(study),
        already_of(study),
    )
    _check_names(question)
    return question


def _check_names(question: Question) -> None:
    """Coefficients and nominal values must belong to the model; here, because their place is known here."""
    study, model = question.study, question.study.model
    region = question.space.region.frame
    nominal = question.nominal.referring_to(region)
    with placed(study, "model", "formula"):
        encoding = formulas.learn(model.parsed, region if nominal.reference is None else nominal.reference)
    with placed(study, "space", "candidates"):
        encoding.fixed_columns(region)
    with placed(study, "nominal", "beta"):
        nominal.beta_vector(encoding)
    for factor in model.factors:
        with placed(study, "nominal", "covariance", factor):
            nominal.matrix(factor, encoding.random_names(factor))
    with placed(study, "goal", "criterion"):
        bound_criterion(model, [nominal], question.criterion)
    with placed(study, "test", "coefficient"):
        if question.test is not None:
            for name in question.test.combinations[0]:
                coefficient_index(name, encoding.fixed_names, encoding.aliases)


def cheapest_price(question: Question) -> float:
    """Least price within the bounds, fixed cost included, of units whole or not; checks all that needs no search."""
    with explained(question):
        make: Callable[..., Problem | CrossedProblem] = crossed_problem if question.study.crossed else make_problem
        problem = make(**question.parts)
        problem.require_affordable()
    return problem.cheapest() + question.cost.fixed


@contextmanager
def explained(question: Question) -> Iterator[None]:
    """Errors raised inside name the place in the file where the remedy goes."""
    study = question.study
    try:
        yield
    except InfeasibleBudgetError as error:
        error.args = (f"{study.place('goal', 'budget')}: {error}",)
        raise
    except NotEstimableError as error:
        error.args = (f"{study.place('space', 'candidates')}: {error}{_missing_candidates(question)}",)
        raise
    except OptDesignError as error:
        error.args = (f"{study.path.name}: {error}",)
        raise


def _missing_candidates(question: Question) -> str:
    """Covariates of the model that the candidates offer at one value only, and the values that the pilot has."""
    points = question.space.candidates.points
    sentences = []
    for name in points.columns.intersection(sorted(question.study.model.covariates)):
        offered = set(points[name].tolist())
        if len(offered) == 1:
            value = offered.pop()
            sentences.append(f" The candidates have '{name}' at {value!r} only.{_others(question, name, value)}")
    return "".join(sentences)


def _others(question: Question, name: str, value: object) -> str:
    if question.fit is None or name not in question.fit.data:
        return f" Add points with another value of '{name}'."
    seen = [v for v in question.fit.data[name].unique() if v != value]
    return f" Missing, and seen in the pilot: {listed(seen[:6])}." if seen else ""


def _covariances(best: OptimalDesign) -> dict[str, AsymptoticCovariance]:
    """Covariances of the plan, what has been run included, by every order that has a finite answer here."""
    further = ["exact"] if best.model.is_gaussian else ["averaged"]
    problems = [
        replace(best.problem, order=order) for order in dict.fromkeys(["leading", "two-term", *further, best.order])
    ]
    found = {}
    for problem in problems:
        with suppress(SpecificationError):  # an order that has no finite answer here
            found[problem.order] = reported(problem, best.nominal, best.rounded.design)
    return found


def _precision(found: Mapping[str, AsymptoticCovariance]) -> pd.DataFrame:
    """Standard errors of the plan by order, and the ratio of the two-term to the leading ones where both exist."""
    frame = pd.DataFrame(
        {order: cov.standard_errors for order, cov in found.items()},
        index=pd.Index(found["leading"].names, name="coefficient"),
    )
    return frame.assign(ratio=frame["two-term"] / frame["leading"]) if "two-term" in frame else frame


@dataclass(frozen=True, eq=False)
class _Tested:
    """What a test can show at the plan."""

    power: dict[str, float]
    curves: pd.DataFrame | None
    needed: SampleSize | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, question: Question, best: OptimalDesign, orders: list[str]) -> _Tested:
        """Nothing, without a test."""
        test, design = question.test, best.rounded.design
        if test is None:
            return cls({}, None, None, ())
        at = (best.model, best.nominal, design, test)
        with placed(question.study, "test"):
            powers = {order: power(*at, order) for order in orders}
        wanted = question.study.tables.test.power if question.study.tables.test else None
        if len(design.counts) > 1:  # each of its counts may grow, and what that gives is another question
            return cls(powers, None, None, tuple(f"{short}." for short in _short(powers[best.order], wanted)))
        needed, notes = _needed(question, best, powers[best.order], wanted)
        curves = power_curve(*at, _counts(best, test, needed), orders)
        return cls(powers, curves, needed, notes)


def _short(reached: float, wanted: float | None) -> Iterator[str]:
    """A note where the plan has less than the power wanted."""
    if wanted is not None and reached < wanted:
        yield f"The power at the plan is {reached:.3f}, below the {wanted:g} wanted"


def _needed(
    question: Question, best: OptimalDesign, reached: float, wanted: float | None
) -> tuple[SampleSize | None, tuple[str, ...]]:
    """Units for the power wanted, and a note where the plan has less."""
    if wanted is None or question.test is None:
        return None, ()
    solve_for = question.study.factor or "replicates"
    try:
        needed = sample_size(
            best.model, best.nominal, best.rounded.design, question.test, wanted, solve_for, best.order
        )
    except SpecificationError as error:
        return None, tuple(f"{short}, and no number of units reaches it: {error}" for short in _short(reached, wanted))
    return needed, tuple(f"{short}. {_remedy(question, needed)}" for short in _short(reached, wanted))


def _remedy(question: Question, needed: SampleSize) -> str:
    """What would reach the power wanted."""
    study = question.study
    what = plural(study.unit if study.factor else study.observation)
    price = money(round(needed.design.spend(question.cost)), study.currency)
    return f"{needed.count:,} {what} in the plan's proportions reach it, for about {price}."


def _counts(best: OptimalDesign, test: WaldTest, needed: SampleSize | None) -> list[float]:
    """Numbers of units for the power curves: from where power rises to beyond the plan and what is needed.

    They grow by a constant factor, so that the rise has its points wherever it is.
    """
    design = best.rounded.design
    size = design.units if design.layout else design.observations
    wanted = needed.count if needed else size
    lowest = smallest_count(best.model, best.nominal, design, test)
    low, high = max(float(lowest), min(0.2 * size, 0.5 * wanted)), 1.5 * max(size, wanted, lowest)
    counts = np.union1d(np.geomspace(low, high, CURVE).round(), [size, wanted])
    return [float(count) for count in counts if count >= lowest]


def _around(best: OptimalDesign) -> tuple[pd.DataFrame | None, Surface | None]:
    """The budget line and the criterion's surface; of one factor, and no surface around what has been run."""
    design = best.design
    if len(design.counts) != 1:
        return None, None
    mean = design.observations / design.units
    low, high = best.space.replicate_bounds
    first, last = max(1.0, np.ceil(low)), max(1.0, min(np.floor(high), np.ceil(3.0 * mean) + 2.0))
    line = budget_line(best, np.unique(np.linspace(first, last, LINE).round()).tolist())
    low, high = _admissible(best, mean)
    if high < 1.05 * low or best.already is not None:
        return line, None
    units = np.linspace(0.5, 1.5, SIDE) * design.units
    return line, criterion_surface(best, units.tolist(), np.linspace(low, high, SIDE).tolist())


def _admissible(best: OptimalDesign, mean: float) -> tuple[float, float]:
    """Observations per unit, around the optimum's mean, at which its proportions keep the bounds in every group."""
    groups = best.design.groups
    low, high = best.space.replicate_bounds
    most = best.space.at_most or np.inf
    fewer = max(low / g.replicates for g in groups)
    more = min(min(high, most / float(g.measure.weights.max())) / g.replicates for g in groups)
    return max(1.0, mean * max(0.4, fewer)), mean * min(2.0, more)
