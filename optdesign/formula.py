"""Mixed-model formulas: random terms are split off here, everything else is expanded by formulaic."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, listed, nearest

if TYPE_CHECKING:
    import pandas as pd
    from formulaic import Formula, ModelSpec

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ParsedFormula:
    """A formula taken apart: response, fixed part, and the random parts of each grouping factor in turn.

    Examples
    --------
    >>> parse("y ~ x + (1 + x | g)")
    ParsedFormula(response='y', fixed='x', random={'g': ('1 + x',)})
    """

    response: str
    fixed: str
    random: Mapping[str, tuple[str, ...]]


def parse(formula: str) -> ParsedFormula:
    """Split an lme4-style formula.

    Random terms are written ``(columns | factor)``, or ``(columns || factor)`` for uncorrelated effects, and are
    added to the fixed part with ``+``.

    Raises
    ------
    SpecificationError
        Where there is no response, brackets do not close, or a random term is not one of a sum.
    """
    response, tilde, right = formula.partition("~")
    if not tilde or not response.strip():
        raise SpecificationError(f"formula '{formula}' has no response: write 'response ~ terms + (columns | factor)'.")
    fixed: list[str] = []
    random: dict[str, list[str]] = {}
    for summand in _summands(right, formula):
        if _bar(summand) is None:
            fixed.append(summand)
        else:
            _add_random(random, summand, formula)
    return ParsedFormula(
        response.strip(), " + ".join(fixed) or "1", {factor: tuple(terms) for factor, terms in random.items()}
    )


def _summands(text: str, formula: str) -> Iterator[str]:
    """The pieces of `text` between plus signs that stand outside all brackets."""
    depth, piece = 0, ""
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "+" and depth == 0:
            if piece.strip():
                yield piece.strip()
            piece = ""
        else:
            piece += character
    if depth:
        raise SpecificationError(f"formula '{formula}': a bracket is not closed.")
    if piece.strip():
        yield piece.strip()


def _bar(summand: str) -> int | None:
    """Where the bar of a random term ``( … | … )`` stands, or None."""
    at = summand.find("|")
    return at if at >= 0 else None


def _add_random(random: dict[str, list[str]], summand: str, formula: str) -> None:
    columns, _, factor = summand.strip("() ").partition("|")
    if not summand.startswith("(") or not summand.endswith(")") or not factor.strip("| ") or not columns.strip():
        raise SpecificationError(
            f"formula '{formula}': random term '{summand}' is not understood. Write it in parentheses and add it "
            "with '+', as in 'y ~ x + (1 + x | g)'."
        )
    uncorrelated, name = factor.startswith("|"), factor.strip("| ")
    if not name.replace(":", "").replace("_", "").replace(".", "").isalnum():
        raise SpecificationError(
            f"formula '{formula}': '{name}' is not the name of a grouping factor. Give one column, as in "
            "'(1 | clinic)'."
        )
    random.setdefault(name, []).extend(_uncorrelated(columns) if uncorrelated else [columns.strip()])


def _uncorrelated(columns: str) -> list[str]:
    pieces = [p.strip() for p in columns.split("+")]
    intercept = [] if "0" in pieces else ["1"]
    return intercept + [f"0 + {p}" for p in pieces if p not in "01"]


@dataclass(frozen=True, eq=False)
class Encoding:
    """How a model's terms become columns: learned once from a reference frame, then applied to any frame.

    The levels of categorical covariates and the basis of data-dependent transforms (``poly``, ``bs``, ``center``)
    are those of the reference frame.

    Attributes
    ----------
    fixed : formulaic ModelSpec
    random : mapping from factor to formulaic ModelSpecs
    """

    fixed: ModelSpec
    random: Mapping[str, tuple[ModelSpec, ...]]

    @cached_property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed-effect columns, as formulaic writes them."""
        return tuple(self.fixed.column_names)

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Term name of every one-column term, mapped to the column's name."""
        names = self.fixed_names
        return {str(term): names[at[0]] for term, at in self.fixed.term_indices.items() if len(at) == 1}

    def random_names(self, factor: str) -> tuple[str, ...]:
        """Names of the random-effect columns of a grouping factor."""
        return tuple(name for spec in self.random[factor] for name in spec.column_names)

    def fixed_columns(self, frame: pd.DataFrame) -> Array:
        """Fixed-effect columns of a frame, shape (rows, p)."""
        return _columns(self.fixed, frame)

    def random_columns(self, factor: str, frame: pd.DataFrame) -> Array:
        """Random-effect columns of a grouping factor, shape (rows, r)."""
        return np.hstack([_columns(spec, frame) for spec in self.random[factor]])


def learn(parsed: ParsedFormula, frame: pd.DataFrame) -> Encoding:
    """The encoding of a formula whose levels and bases are those of `frame`."""
    return Encoding(
        _spec(parsed.fixed, frame),
        {factor: tuple(_spec(term, frame) for term in terms) for factor, terms in parsed.random.items()},
    )


def covariates(parsed: ParsedFormula) -> frozenset[str]:
    """Names of the columns that the right-hand side needs, grouping factors left out."""
    parts = (parsed.fixed, *(term for terms in parsed.random.values() for term in terms))
    return frozenset(name for part in parts for name in _variables(_formula(part)))


def _variables(formula: Any) -> frozenset[str]:
    """Columns that a formula reads; formulaic's own list lacks the arguments of `poly`, `bs`, `center` and `scale`."""
    from formulaic.parser.types import Factor
    from formulaic.transforms import TRANSFORMS
    from formulaic.utils.variables import get_required_variables

    python = Factor.EvalMethod.PYTHON
    factors = [factor for term in formula for factor in term.factors]
    found = {v.root for f in factors if f.eval_method is python for v in get_required_variables(f.expr)}
    return frozenset(str(name) for name in found | set(formula.required_variables) if name not in TRANSFORMS)


def response_column(parsed: ParsedFormula, frame: pd.DataFrame) -> Array:
    """The response, with any transform written in the formula applied."""
    return _columns(_spec(f"0 + {parsed.response}", frame), frame)[:, 0]


def term_names(parsed: ParsedFormula) -> tuple[str, ...]:
    """Names of the fixed terms, in column order; a categorical term stands for several coefficients."""
    return tuple("Intercept" if str(term) == "1" else str(term) for term in _formula(parsed.fixed))


def _formula(text: str) -> Formula:
    from formulaic import Formula
    from formulaic.errors import FormulaicError

    try:
        return Formula(text)
    except FormulaicError as error:
        raise SpecificationError(f"'{text}' is not a formula that can be read: {_plain(error)}") from None


def _spec(text: str, frame: pd.DataFrame) -> ModelSpec:
    formula = _formula(text)
    _check_columns(text, sorted(_variables(formula)), frame)
    return _materialise(text, formula, frame).model_spec


def _columns(spec: ModelSpec, frame: pd.DataFrame) -> Array:
    _check_columns(str(spec.formula), sorted(str(v) for v in spec.required_variables), frame)
    columns = np.asarray(_materialise(str(spec.formula), spec, frame), dtype=float)
    bad = ~np.isfinite(columns)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise SpecificationError(
            f"term '{spec.column_names[column]}' is not finite at {dict(frame.iloc[row])}: leave that point out or "
            "change the term."
        )
    return columns


def _check_columns(text: str, needed: list[str], frame: pd.DataFrame) -> None:
    for name in needed:
        if name not in frame:
            raise SpecificationError(
                f"formula '{text}' uses the column '{name}', which is not among the columns given: "
                f"{listed(frame.columns)}.{nearest(name, frame.columns)}"
            )
        if frame[name].isna().any():
            raise SpecificationError(f"column '{name}' has missing values, which no design can contain: remove them.")


def _materialise(text: str, source: Any, frame: pd.DataFrame) -> Any:
    """Model matrix of `frame`; formulaic's own complaints become ours."""
    from formulaic.errors import DataMismatchWarning, FormulaicError

    with warnings.catch_warnings():
        warnings.simplefilter("error", DataMismatchWarning)
        warnings.filterwarnings("ignore", "divide by zero|invalid value", RuntimeWarning)
        try:
            return source.get_model_matrix(frame, na_action="ignore")
        except DataMismatchWarning as mismatch:
            raise SpecificationError(
                f"'{text}': {mismatch} Known levels are those of the data that the nominal values refer to."
            ) from None
        except (FormulaicError, ValueError, TypeError, ArithmeticError) as error:
            raise SpecificationError(f"'{text}' cannot be evaluated: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    """Formulaic's message on one line, without its terminal colours and markers."""
    return " ".join(re.sub("\x1b\\[[0-9;]*m|[⧛⧚]", "", str(error)).split())
