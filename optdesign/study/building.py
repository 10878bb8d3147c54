"""From a checked study to the objects it describes; every error gets its place in the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from optdesign.costs import Cost
from optdesign.criteria import (
    AOptimality,
    Compound,
    COptimality,
    Criterion,
    DOptimality,
    Elementary,
    EOptimality,
    IOptimality,
)
from optdesign.designs import Constraint, Design, DesignSpace, Distinct, Share, Total
from optdesign.errors import OptDesignError, SpecificationError, listed
from optdesign.inference import WaldTest
from optdesign.measures import Candidates, Measure
from optdesign.study.reading import Study
from optdesign.study.tables import Candidates as CandidatesTable
from optdesign.study.tables import Constraint as ConstraintTable
from optdesign.study.tables import Observed as ObservedTable
from optdesign.study.tables import Options, Span


@contextmanager
def placed(study: Study, *keys: str) -> Iterator[None]:
    """Errors raised inside begin with the place of a key."""
    try:
        yield
    except OptDesignError as error:
        error.args = (f"{study.place(*keys)}: {error}",)
        raise


def read_frame(study: Study, name: str) -> pd.DataFrame:
    """A CSV file beside the study file."""
    try:
        frame = pd.read_csv(study.beside(name))
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        reason = " ".join(str(error).split())
        raise SpecificationError(f"'{name}' cannot be read as a CSV file with a line of names ({reason}).") from None
    if frame.empty:
        raise SpecificationError(f"'{name}' is empty: it needs a line of column names and at least one row.")
    return frame


def space_of(study: Study) -> DesignSpace:
    """What may be chosen."""
    table = study.tables.space
    with placed(study, "space", "candidates"):
        candidates = _candidates(study, table.candidates)
    with placed(study, "space", "observed"):
        observed = None if table.observed is None else _observed(study, table.observed)
    with placed(study, "space"):
        return DesignSpace(
            study.layout,
            candidates,
            observed=observed,
            levels=table.levels,
            counts=table.counts,
            replicates=(1.0, np.inf) if table.replicates is None else table.replicates,
            common_replicates=table.common_replicates,
            at_most=table.at_most,
            constraints=[_constraint(each) for each in table.constraints],
            crossing=table.crossing,
            cells=table.cells,
        )


def _constraint(table: ConstraintTable) -> Constraint:
    if table.condition is not None:
        return Share(table.condition, **table.bounds)
    if table.distinct is not None:
        return Distinct(table.distinct, int(table.bounds["at_most"]))
    return Total(table.total or "", **table.bounds, of=table.of)


def _candidates(study: Study, table: CandidatesTable | None) -> Candidates:
    if table is None:
        return Candidates.grid()
    if table.from_frame is None:
        return Candidates.grid(**_values(table.grid or {}))
    frame = read_frame(study, table.from_frame)
    return Candidates.from_frame(frame[list(table.columns or frame.columns)])


def _values(grid: Mapping[str, Sequence[Any] | Span]) -> dict[str, list[Any]]:
    return {
        name: np.linspace(given.start, given.stop, given.num).tolist() if isinstance(given, Span) else list(given)
        for name, given in grid.items()
    }


def _observed(study: Study, table: ObservedTable) -> Measure:
    if table.from_frame is None:
        return Measure.grid(weights=table.weights, **_values(table.grid or {}))
    frame = read_frame(study, table.from_frame)
    aside = [name for name in (table.by, table.weights) if isinstance(name, str)]
    columns = list(table.columns or frame.columns.drop(aside))
    if table.by is not None:
        frame = _row_per_unit(frame, table.by, [*columns, *aside[1:]])
    weights = table.weights if isinstance(table.weights, str) else None
    return Measure.from_frame(frame[[*columns, *([weights] if weights else [])]], weights)


def _row_per_unit(frame: pd.DataFrame, by: str, columns: list[str]) -> pd.DataFrame:
    """The first row of each unit, once it is sure that the others say the same."""
    varies = frame.groupby(by)[columns].nunique(dropna=False).max() > 1
    if varies.any():
        raise SpecificationError(
            f"{listed(varies.index[varies])} varies within '{by}', so that no one row stands for a unit: leave by = "
            f"'{by}' out to take every row as it is, or name columns that are constant within '{by}'."
        )
    return frame.drop_duplicates(by)


def cost_of(study: Study) -> Cost:
    """What units and observations cost."""
    return Cost(**study.tables.cost.model_dump())


def limits_of(study: Study) -> dict[str, tuple[Cost, float]]:
    """Further budgets."""
    limits = {}
    for name, table in study.tables.goal.limits.items():
        with placed(study, "goal", "limits", name):
            limits[name] = (Cost(**table.model_dump(exclude={"amount"})), table.amount)
    return limits


def already_of(study: Study) -> Design | None:
    """What has been run, if anything."""
    name = study.tables.goal.already
    if name is None:
        return None
    with placed(study, "goal", "already"):
        return Design.from_frame(read_frame(study, name), study.layout, study.model.covariates)


def pilot_of(study: Study) -> Design | None:
    """The pilot's own design, if there was a pilot with at most one grouping factor."""
    name = study.tables.nominal.from_pilot
    if name is None or len(study.factors) > 1:
        return None
    with placed(study, "nominal", "from_pilot"):
        return Design.from_frame(read_frame(study, name), study.layout, study.model.covariates)


def criterion_of(study: Study, space: DesignSpace) -> Criterion:
    """What is minimised; 'c' alone is the variance of the tested coefficient."""
    table = study.tables.goal.stated
    with placed(study, "goal", "criterion"):
        if table.criteria is None:
            return _elementary(study, space, table.kind, table)
        return Compound([(each.weight, _elementary(study, space, each.kind, each)) for each in table.criteria])


def _elementary(study: Study, space: DesignSpace, kind: str, table: Options) -> Elementary:
    tested = {study.tables.test.coefficient: 1.0} if study.tables.test else {}
    made: dict[str, Callable[[], Elementary]] = {
        "D": lambda: DOptimality(table.of),
        "A": lambda: AOptimality(table.weights),
        "c": lambda: COptimality(table.combination or tested),
        "E": lambda: EOptimality(table.of),
        "I": lambda: IOptimality(_law(space) if table.over is None else _observed(study, table.over)),
    }
    return made[kind]()


def _law(space: DesignSpace) -> Measure:
    """Candidate points in equal shares, at the observed law."""
    points = Measure.from_frame(space.candidates.points)
    return points if space.observed is None else points * space.observed


def test_of(study: Study) -> WaldTest | None:
    """The test that the study is planned for, if any."""
    table = study.tables.test
    return None if table is None else WaldTest(**table.model_dump(exclude={"power"}))
