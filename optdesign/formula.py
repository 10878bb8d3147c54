"""Mixed-model formulas: random terms are split off here, everything else is expanded by formulaic."""

from __future__ import annotations

import ast
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, listed, nearest, values_at

if TYPE_CHECKING:
    import pandas as pd
    from formulaic import Formula, ModelSpec

Array = npt.NDArray[np.float64]


#: What splits a formula; quoted text and names are taken whole, because what is inside them splits nothing.
_SIGN = re.compile(r"""`[^`]*`|'[^']*'|"[^"]*"|[+()\[\]{}]""")
_QUOTED_NAME = re.compile(r"`([^`]+)`")


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
    added to the fixed part with ``+``. Names that are not plain words stand in backquotes.

    Raises
    ------
    SpecificationError
        Where there is no response, brackets do not match, or a random term is not one of a sum.

    Examples
    --------
    >>> parse("y ~ `body mass` + (1 | `patient no`)").random
    {'patient no': ('1',)}
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
    """The pieces of `text` between plus signs that stand outside all brackets and quotes."""
    depth, start = 0, 0
    for sign in _SIGN.finditer(text):
        depth += (sign[0] in "([{") - (sign[0] in ")]}")
        if depth < 0:
            raise SpecificationError(
                f"formula '{formula}': a bracket is closed that was never opened, after "
                f"'{text[: sign.start()].strip()}'. Remove it, or open one before."
            )
        if sign[0] == "+" and depth == 0:
            yield from _piece(text[start : sign.start()])
            start = sign.end()
    if depth:
        raise SpecificationError(f"formula '{formula}': a bracket is not closed.")
    yield from _piece(text[start:])


def _piece(text: str) -> Iterator[str]:
    if text.strip():
        yield text.strip()


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
    if quoted := _QUOTED_NAME.fullmatch(name):
        name = quoted[1]
    elif not name.replace(":", "").replace("_", "").replace(".", "").isalnum():
        raise SpecificationError(
            f"formula '{formula}': '{name}' is not the name of a grouping factor. Give one column, as in "
            "'(1 | clinic)', in backquotes where the name is not one word, as in '(1 | `clinic no`)'."
        )
    random.setdefault(name, []).extend(_uncorrelated(columns) if uncorrelated else [columns.strip()])


def _uncorrelated(columns: str) -> list[str]:
    pieces = [p.strip() for p in columns.split("+")]
    intercept = [] if "0" in pieces else ["1"]
    return intercept + [f"0 + {p}" for p in pieces if p not in "01"]


def _squeezed(name: str) -> str:
    """A name without what makes no difference to a formula: spaces, and the kind of quotes."""
    return re.sub(r"\s+", "", name).replace('"', "'")


class Aliases(Mapping[str, str]):
    """Coefficients by the names that a user may give them.

    These are the names of the columns and of one-column terms, with spaces as the user likes them; only the names of
    terms are listed.

    >>> aliases = Aliases({"log(base / 4)": "log(base / 4)", "trt": "trt[T.b]"}, ("log(base / 4)", "trt[T.b]"))
    >>> aliases["log(base/4)"], aliases["trt"], list(aliases)
    ('log(base / 4)', 'trt[T.b]', ['log(base / 4)', 'trt'])
    """

    def __init__(self, terms: Mapping[str, str], columns: tuple[str, ...]) -> None:
        self._terms = dict(terms)
        self._exact = {**self._terms, **{name: name for name in columns}}
        often = Counter(map(_squeezed, self._exact))
        self._loose = {_squeezed(n): column for n, column in self._exact.items() if often[_squeezed(n)] == 1}

    def __getitem__(self, name: str) -> str:
        return self._exact[name] if name in self._exact else self._loose[_squeezed(name)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def __repr__(self) -> str:
        return repr(self._terms)


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
    def aliases(self) -> Aliases:
        """Term name of every one-column term, in any spacing, mapped to the column's name."""
        names = self.fixed_names
        terms = {str(term): names[at[0]] for term, at in self.fixed.term_indices.items() if len(at) == 1}
        return Aliases(terms, names)

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
    """Names of the columns that the right-hand side needs, grouping factors left out.

    Raises
    ------
    SpecificationError
        Where a part cannot be read, or calls a function that formulas do not have.
    """
    parts = (parsed.fixed, *(term for terms in parsed.random.values() for term in terms))
    return frozenset(name for part in parts for name in _variables(_formula(part)))


def _variables(formula: Any) -> frozenset[str]:
    """Columns that a formula reads; formulaic's own list lacks the arguments of `poly`, `bs`, `center` and `scale`."""
    from formulaic.transforms import TRANSFORMS
    from formulaic.utils.variables import get_required_variables

    python = list(_python_factors(formula))
    for expression in python:
        _check_functions(expression)
    found = {str(v.root) for expression in python for v in get_required_variables(expression)}
    return frozenset(str(name) for name in found | set(formula.required_variables) if name not in TRANSFORMS)


def _python_factors(formula: Any) -> Iterator[str]:
    """Factors that are expressions, not names."""
    from formulaic.parser.types import Factor

    python = Factor.EvalMethod.PYTHON
    return (factor.expr for term in formula for factor in term.factors if factor.eval_method is python)


def _check_functions(expression: str) -> None:
    """A function that is misspelt would else be taken for a column that is missing. Methods are left to be tried."""
    for node in ast.walk(ast.parse(_QUOTED_NAME.sub("_", expression), mode="eval")):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            of_numpy = name.startswith("np.")
            if (of_numpy or "." not in name) and not _is_function(name):
                raise SpecificationError(
                    f"'{expression}' calls the function '{name}', which formulas do not have.{_function_like(name)} "
                    "They have log, exp, poly, bs, cr, center, scale, C and I, among others, and numpy's as 'np.sqrt'."
                )


def _is_function(name: str) -> bool:
    from formulaic.transforms import TRANSFORMS

    if name.startswith("np."):
        return hasattr(np, name.split(".")[1])
    return callable(TRANSFORMS.get(name))


def _function_like(name: str) -> str:
    from formulaic.transforms import TRANSFORMS

    if name.startswith("np."):
        return nearest(name, [f"np.{f}" for f in dir(np)])
    if callable(getattr(np, name, None)):
        return f" Write 'np.{name}', which is numpy's."
    return nearest(name.lower(), [f for f in TRANSFORMS if _is_function(f)])


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
            f"term '{spec.column_names[column]}' is not finite at {values_at(frame, row)}: leave that point out or "
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
            unknown = re.findall(r"\{(.*?)\}", str(mismatch))
            raise SpecificationError(
                f"'{text}' is asked for a level that it does not know: {', '.join(unknown) or mismatch}. Known levels "
                "are those of the data that the nominal values refer to, such as a pilot. Leave it out, or state "
                "nominal values."
            ) from None
        except (FormulaicError, ValueError, TypeError, ArithmeticError) as error:
            raise SpecificationError(f"'{text}' cannot be evaluated: {_plain(error)}") from None


def _plain(error: Exception) -> str:
    """Formulaic's message on one line, without its terminal colours and markers."""
    return " ".join(re.sub("\x1b\\[[0-9;]*m|[⧛⧚]", "", str(error)).split())
