"""The rows of a data set that a fit uses, checked and in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign import formula as formulas
from optdesign.errors import NotEstimableError, SpecificationError, listed, nearest
from optdesign.measures import checked_points
from optdesign.models import MixedModel

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


def used_rows(model: MixedModel, data: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Complete rows of the columns that the model uses, text as categories, and a note on rows left out."""
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        raise SpecificationError(
            f"data must be a pandas DataFrame, one row per observation; got {type(data).__name__}."
        )
    used = sorted(_response_columns(model) | model.covariates | grouping_columns(model))
    for name in used:
        if name not in data:
            raise SpecificationError(
                f"'{model.formula}' needs the column '{name}', which the data does not have: {listed(data.columns)}."
                f"{nearest(name, data.columns)}"
            )
    complete = data[used].dropna()
    if complete.empty:
        raise SpecificationError(
            f"the data has {len(data)} rows, none of them with a value in every one of {listed(used)}: a fit needs "
            "complete rows."
        )
    frame = checked_points(complete, "data")
    for name in set(used) & set(frame.select_dtypes("category")):
        frame[name] = frame[name].cat.remove_unused_categories()
    lost = len(data) - len(frame)
    return frame, (f"{lost} of {len(data)} rows of the pilot left out for missing values.",) if lost else ()


def grouping_columns(model: MixedModel) -> frozenset[str]:
    """Columns that name units."""
    return frozenset(column for factor in model.factors for column in factor.split(":"))


def _response_columns(model: MixedModel) -> frozenset[str]:
    """Columns that the left-hand side reads."""
    return formulas.covariates(formulas.ParsedFormula("", f"0 + {model.parsed.response}", {}))


def response_of(model: MixedModel, frame: pd.DataFrame) -> Array:
    """The response, checked against its family, shape (rows,)."""
    columns = _response_columns(model)
    _check_numeric(columns | {c for c in (model.size, model.offset) if isinstance(c, str)}, frame)
    response = formulas.response_column(model.parsed, frame.astype(dict.fromkeys(columns, float)))
    if not model.is_gaussian:
        _check_counts(model, response, model.trials(frame))
    return response


def _check_numeric(columns: Iterable[str], frame: pd.DataFrame) -> None:
    from pandas.api.types import is_numeric_dtype

    for name in columns:
        if not is_numeric_dtype(frame[name]):
            raise SpecificationError(
                f"column '{name}' is text ({frame[name].iloc[0]!r}); a response, size= and offset= must be numbers. "
                "Code a response of two categories as 0 and 1."
            )


def _check_counts(model: MixedModel, response: Array, trials: Array) -> None:
    """Whole numbers, at least zero; at most the number of trials, where there are trials."""
    bounded = model.distribution.name != "poisson"
    highest = trials if bounded else np.full(len(response), np.inf)
    bad = (response < 0) | (response > highest) | (response != np.round(response))
    if bounded:
        bad |= (trials < 1) | (trials != np.round(trials))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        needed = f"between 0 and its number of trials, here {trials[row]:g}" if bounded else "of at least 0"
        raise SpecificationError(
            f"response '{model.parsed.response}' is {response[row]:g}; a {model.family} response is a whole number "
            f"{needed} (wrong in {int(bad.sum())} of {len(bad)} rows). Check the family, size= and the column."
        )


@dataclass(frozen=True, eq=False)
class FitRows:
    """All that a fit needs of its rows but the response, in numbers.

    Attributes
    ----------
    names : tuple of str
        Coefficient names, p of them.
    fixed : array, shape (N, p)
    random_names : mapping from factor to tuple of str
    random : mapping from factor to array, shape (N, r)
        Random-effect columns.
    labels : mapping from factor to list of str
        Unit of each row.
    trials : array, shape (N,)
    offset : array, shape (N,), or None
    """

    names: tuple[str, ...]
    fixed: Array
    random_names: Mapping[str, tuple[str, ...]]
    random: Mapping[str, Array]
    labels: Mapping[str, Sequence[str]]
    trials: Array
    offset: Array | None


def rows_of(model: MixedModel, frame: pd.DataFrame) -> FitRows:
    encoding = formulas.learn(model.parsed, frame)
    return FitRows(
        encoding.fixed_names,
        encoding.fixed_columns(frame),
        {factor: encoding.random_names(factor) for factor in model.factors},
        {factor: encoding.random_columns(factor, frame) for factor in model.factors},
        {factor: _labels(frame, factor) for factor in model.factors},
        model.trials(frame),
        None if model.offset is None else np.asarray(frame[model.offset], dtype=float),
    )


def _labels(frame: pd.DataFrame, factor: str) -> list[str]:
    """Unit of each row; ``a:b`` has a unit for each pair of values seen."""
    return [" : ".join(key) for key in zip(*(frame[column].astype(str) for column in factor.split(":")), strict=True)]


def collinear(names: Iterable[str]) -> NotEstimableError:
    """The error of fixed-effect columns that are combinations of the columns before them."""
    lost = tuple(names)
    return NotEstimableError(
        f"the data cannot estimate {listed(lost)}: in these rows, the column is a combination of the columns "
        "before it. Leave the term out, or state the nominal values.",
        lost,
    )


def check_rows(model: MixedModel, rows: FitRows) -> None:
    """There must be a fixed effect, and units to tell the random effects from."""
    if rows.fixed.shape[1] == 0:
        raise SpecificationError(f"'{model.formula}' has no fixed effect; a fit needs one, such as the intercept 1.")
    for factor in model.factors:
        _check_units(model, factor, rows.labels[factor])


def _check_units(model: MixedModel, factor: str, labels: Sequence[str]) -> None:
    """The variance between units needs several units, and the residual of a Gaussian several observations in them."""
    units = len(set(labels))
    if units == 1:
        raise SpecificationError(
            f"grouping factor '{factor}' has one level in the data ('{labels[0]}'): the variance between levels needs "
            "two at the very least. Leave the random term out, or state the nominal values."
        )
    if model.is_gaussian and units == len(labels):
        raise SpecificationError(
            f"each of the {units} levels of '{factor}' has one observation, so its random effect cannot be told from "
            "the residual: leave the random term out, or bring repeated observations."
        )
