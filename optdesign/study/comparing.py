"""The layouts of two factors side by side, as a study file asks for them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optdesign.compare import Comparison, LayoutMap, alternatives, break_even, compare, layout_map
from optdesign.compare.layouts import named_spaces
from optdesign.errors import AsymptoticRegimeWarning, SpecificationError
from optdesign.study.building import placed
from optdesign.study.reading import Study
from optdesign.study.result import coefficient_of_interest, plain, versions
from optdesign.study.running import Question, ask, explained
from optdesign.study.words import money

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.fit import Fit
    from optdesign.optimize import OptimalDesign

#: Power at which layouts' money is compared where the study wants none.
USUAL = 0.8


@dataclass(frozen=True, eq=False, repr=False)
class StudyComparison:
    """The layouts of a study at each of its budgets, and where each of them is best.

    Attributes
    ----------
    study : Study
    fit : Fit or None
        The fit of the pilot; None where nominal values were stated.
    comparisons : mapping from budget to Comparison
        That of ``[goal]`` first.
    layouts : LayoutMap or None
        Which layout is best over prices and variances, at the budget of ``[goal]``; None where no map is asked for.
    break_even : DataFrame or None
        Prices at which one of two layouts overtakes the other, a row per root.
    """

    study: Study
    fit: Fit | None
    comparisons: Mapping[float, Comparison]
    layouts: LayoutMap | None
    break_even: pd.DataFrame | None

    @property
    def first(self) -> Comparison:
        """At the budget of ``[goal]``."""
        return next(iter(self.comparisons.values()))

    @property
    def coefficients(self) -> tuple[str, ...]:
        """The coefficient that is tested, or that alone the criterion is about; all of them where there is none."""
        best = self.first.designs[self.first.best]
        name = coefficient_of_interest(best, self.study.tables.test)
        return best.covariance.names if name is None else (name,)

    @cached_property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """Every table by its name, with a column of budgets where these differ.

        ``comparison`` (see `Comparison.to_frame`), ``sources`` (`by_source`), ``plans`` (in whole numbers), ``needed``
        (with a test), ``map`` and ``break-even`` (where asked for).
        """
        found = {
            "comparison": self._stacked(Comparison.to_frame),
            "sources": self._stacked(Comparison.by_source),
            "plans": self._stacked(Comparison.plans),
        }
        if self.first.test is not None:
            found["needed"] = self.first.needed().reset_index()
        if self.layouts is not None:
            found["map"] = self.layouts.to_frame()
        return found if self.break_even is None else {**found, "break-even": self.break_even}

    def to_frame(self) -> pd.DataFrame:
        """A row per budget and layout: see `Comparison.to_frame`."""
        return self.tables["comparison"].set_index(["budget", "layout"])

    def _stacked(self, table: Callable[[Comparison], pd.DataFrame]) -> pd.DataFrame:
        import pandas as pd

        frames = {budget: table(found) for budget, found in self.comparisons.items()}
        return pd.concat(frames, names=["budget"]).reset_index()

    def to_json(self) -> dict[str, Any]:
        """As plain dictionaries, lists, numbers and text; the same for every run of the same study."""
        answer = {
            "title": self.study.title,
            "criterion": self.first.designs[self.first.best].criterion.label,
            "order": self.first.order,
            "best": {f"{budget:g}": found.best for budget, found in self.comparisons.items()},
            **{name.replace("-", "_"): table.to_dict("records") for name, table in self.tables.items()},
            "notes": {name: list(best.warnings) for name, best in self.first.designs.items() if best.warnings},
            "versions": versions(),
            "study": self.study.tables.model_dump(mode="python", exclude_unset=True),
        }
        return {key: plain(value) for key, value in answer.items()}

    def __repr__(self) -> str:
        further = [repr(self.layouts)] if self.layouts is not None else []
        if self.break_even is not None:
            further.append(f"Where one overtakes the other:\n{self.break_even.to_string(index=False)}")
        return "\n\n".join([f"Layouts of '{self.study.title}'", *map(repr, self.comparisons.values()), *further])

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.6g}".format))


def compare_study(study: Study, progress: Callable[[str], None] | None = None) -> StudyComparison:
    """Find the best design of each layout of a study's two factors, at each of its budgets.

    Parameters
    ----------
    study : Study
        From `load_study`, with ``[space] layout = { crossed = [row, column] }``; its table ``[compare]`` may name
        layouts, further budgets, and the ratios of a map.
    progress : callable, optional
        Told each stage in words as it begins.

    Returns
    -------
    StudyComparison

    Raises
    ------
    SpecificationError
        For a study of other than two crossed factors, or parts that do not fit together; the message names the place
        in the file.
    NotEstimableError, InfeasibleBudgetError, ConvergenceError
        As for `alternatives`.

    Examples
    --------
    >>> from optdesign.study import load_study
    >>> compare_study(load_study("studies/sleep/study.toml"))
    Traceback (most recent call last):
    optdesign.errors.SpecificationError: study.toml, line ..., [space] layout: layouts are compared of two factors ...
    """
    if not study.crossed:
        raise SpecificationError(
            f"{study.place('space', 'layout')}: layouts are compared of two factors whose units could meet: state "
            "layout = { crossed = ['row', 'column'] }."
        )
    stage = progress or (lambda _: None)
    with warnings.catch_warnings():  # they are notes of the designs, too
        warnings.simplefilter("ignore", AsymptoticRegimeWarning)
        return _compared(study, stage)


def _compared(study: Study, stage: Callable[[str], None]) -> StudyComparison:
    question, table, test = ask(study, stage), study.tables.compare, study.tables.test
    with placed(study, "compare", "layouts"):
        chosen = list(named_spaces(question.space, table.layouts))
    power = (test.power if test else None) or USUAL
    comparisons = {}
    for budget in dict.fromkeys([study.tables.goal.budget, *(table.budgets or ())]):
        stage(f"finding the best design of each layout for {money(budget, study.currency)}")
        comparisons[budget] = compare(_designs(question, budget, chosen), question.test, power)
    designs = next(iter(comparisons.values())).designs
    return StudyComparison(study, question.fit, comparisons, *_overtaking(study, designs, stage))


def _designs(question: Question, budget: float, layouts: list[str]) -> dict[str, OptimalDesign]:
    """The best design of each layout; errors with their place in the file."""
    with explained(question):
        return alternatives(**{**question.parts, "budget": budget}, layouts=layouts)


def _overtaking(
    study: Study, designs: Mapping[str, OptimalDesign], stage: Callable[[str], None]
) -> tuple[LayoutMap | None, pd.DataFrame | None]:
    """The map and the break-even curve that are asked for."""
    table = study.tables.compare
    if table.cost_ratios is None or table.variance_ratios is None:
        return None, None
    stage("drawing the map of layouts")
    with placed(study, "compare", "cost_ratios"):
        found = layout_map(designs, table.cost_ratios, table.variance_ratios)
    if table.break_even is None:
        return found, None
    stage("looking for break-even prices")
    ends = (min(table.cost_ratios), max(table.cost_ratios))
    with placed(study, "compare", "break_even"):
        return found, break_even(designs, *table.break_even, table.variance_ratios, ends)
