"""From a TOML file to a checked study. All problems of a file are found together, each with its place."""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from optdesign.costs import Cost
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.families import family_named, link_named
from optdesign.formula import ParsedFormula, parse
from optdesign.layouts import Crossed, Layout, Nested
from optdesign.models import MixedModel, NominalValues, check_size
from optdesign.study.tables import Cost as CostTable
from optdesign.study.tables import Model, StudyFile

Keys = tuple[str | int, ...]
Problem = tuple[Keys, str]

_HEADER = re.compile(r"^\s*\[{1,2}([^\[\]]+)\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
_STRING = re.compile(r"""("[^"]*"|'[^']*')""")
_BARE_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*)(?![\w.]|\s*\(|\s*=(?!=))")
_NOT_COLUMNS = frozenset({"and", "or", "not", "in", "True", "False", "None", "if", "else", "is"})


@dataclass(frozen=True, eq=False)
class Study:
    """A study file that has been read and checked.

    Attributes
    ----------
    path : Path
        The file.
    text : str
        What it says, word for word.
    tables : StudyFile
        What it says, table by table: ``study.tables.goal.budget``.

    Examples
    --------
    >>> load_study("studies/epilepsy/study.toml").tables.model.family
    'poisson'
    """

    path: Path
    text: str
    tables: StudyFile

    @property
    def title(self) -> str:
        """The title of the report; by default the name of the study's folder."""
        return self.tables.report.title or self.path.resolve().parent.name

    @cached_property
    def model(self) -> MixedModel:
        """What will be fitted."""
        return MixedModel(**self.tables.model.model_dump())

    @cached_property
    def parsed(self) -> ParsedFormula:
        """The formula, taken apart."""
        return parse(self.tables.model.formula)

    @property
    def factors(self) -> tuple[str, ...]:
        """Grouping factors of the layout, outermost or rows first; none for a model without random terms."""
        layout = self.tables.space.layout
        return layout.factors if layout else self.grouping

    @property
    def grouping(self) -> tuple[str, ...]:
        """Grouping factors of the formula, parts such as ``cluster:period`` left out."""
        return tuple(factor for factor in self.parsed.random if ":" not in factor)

    @property
    def layout(self) -> Layout | None:
        """How the units lie to each other."""
        if self.crossed:
            return Crossed(*self.factors)
        return Nested(*self.factors) if self.factors else None

    @property
    def crossed(self) -> bool:
        """Whether the units of two factors meet."""
        layout = self.tables.space.layout
        return layout is not None and layout.crossed is not None

    @property
    def factor(self) -> str | None:
        """The outermost grouping factor, if any."""
        return self.factors[0] if self.factors else None

    @property
    def pilot(self) -> Path | None:
        """The pilot file; None where nominal values are stated."""
        name = self.tables.nominal.from_pilot
        return None if name is None else self.beside(name)

    @property
    def unit(self) -> str:
        """The word for a unit."""
        return self.tables.report.unit or self.factor or "study"

    @property
    def holder(self) -> str:
        """The word for what observations are counted in: a cell, an innermost unit, or the study."""
        if self.crossed:
            return "cell"
        return self.unit if len(self.factors) < 2 else self.factors[-1]

    def word(self, factor: str) -> str:
        """The word for a unit of a factor."""
        return self.unit if factor == self.factor else factor

    @property
    def observation(self) -> str:
        """The word for an observation."""
        return self.tables.report.observation

    @property
    def currency(self) -> str:
        """The currency, or an empty string."""
        return self.tables.report.currency

    def beside(self, name: str) -> Path:
        """A file named relative to the study file."""
        return self.path.parent / name

    def place(self, *keys: str | int) -> str:
        """Where a key stands, in words: ``study.toml, line 14, [space] replicates``."""
        return place(self.path, self.text, keys)

    def line(self, *keys: str | int) -> int | None:
        """The line of the closest enclosing key that the file spells out; None for a table that is not there."""
        return _line(_lines(self.text), keys)

    def __repr__(self) -> str:
        goal = self.tables.goal
        return f"Study('{self.title}': {self.tables.model.formula}, budget {goal.budget:,g}, from {self.path})"


def load_study(path: str | Path) -> Study:
    """Read and check a study file, without fitting or optimising anything.

    Parameters
    ----------
    path : str or Path
        A TOML file; the CSV files it names are relative to it, and must be there.

    Returns
    -------
    Study

    Raises
    ------
    SpecificationError
        With one line for each problem: the line of the file, the table and key, what was got and what is needed.

    Examples
    --------
    >>> load_study("nowhere.toml")
    Traceback (most recent call last):
    optdesign.errors.SpecificationError: nowhere.toml: there is no such file. Give the path of a study file.
    """
    path = Path(path)
    text = _text(path)
    data = _toml(path, text)
    try:
        tables = StudyFile.model_validate(data)
    except ValidationError as error:
        _complain(path, text, _validation_problems(error.errors(include_url=False), data))
    study = Study(path, text, tables)
    _complain(path, text, list(_contradictions(study)))
    return study


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SpecificationError(f"{path}: there is no such file. Give the path of a study file.") from None
    except UnicodeDecodeError:
        raise SpecificationError(f"{path}: is not a text file in UTF-8. A study file is written in TOML.") from None
    except OSError as error:
        raise SpecificationError(f"{path}: cannot be read ({error.strerror}). Give the path of a study file.") from None


def _toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason, _, at = str(error).rpartition(" (at ")
        where = at.rstrip(")") if reason else "somewhere"
        raise SpecificationError(
            f"{path.name}, {where}: {reason or error}. The file must be TOML: text in quotes, lists in [ ], tables in "
            "{ } on one line, a decimal point in numbers."
        ) from None


def _complain(path: Path, text: str, problems: list[Problem]) -> None:
    """`SpecificationError` with a line for each problem; nothing where there is none."""
    if problems:
        lines = _lines(text)
        problems = sorted(problems, key=lambda problem: _line(lines, problem[0]) or 0)
        raise SpecificationError(
            "\n".join(dict.fromkeys(f"{place(path, text, keys)}: {message}" for keys, message in problems))
        )


# Where things stand ---------------------------------------------------------------------------------------------------


def place(path: Path, text: str, keys: Keys) -> str:
    """A key in words, with the line of the closest enclosing key that the text spells out."""
    line = _line(_lines(text), keys)
    table, *rest = keys or ("",)
    named = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in rest).lstrip(".")
    words = [path.name, *([f"line {line}"] if line else [])]
    return ", ".join(words) + (f", [{table}] {named}".rstrip() if keys else "")


def _line(lines: Mapping[Keys, int], keys: Keys) -> int | None:
    return next((lines[keys[:end]] for end in range(len(keys), 0, -1) if keys[:end] in lines), None)


def _lines(text: str) -> dict[Keys, int]:
    """Line of every table header and key. Keys inside an inline table share the line of the key before it."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            if line.lstrip().startswith("[["):
                table = (*table, sum(1 for keys in lines if keys[:-1] == table and isinstance(keys[-1], int)))
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _parts(dotted: str) -> Keys:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


# What pydantic found, in our words ------------------------------------------------------------------------------------


def _validation_problems(errors: list[ErrorDetails], data: Mapping[str, Any]) -> list[Problem]:
    """One problem for each place. Of a value that fits none of several forms, only the closest form is named."""
    found: dict[Keys, ErrorDetails] = {}
    for error in errors:
        keys = _path(error, data)
        if keys not in found or error["type"] == "value_error":
            found[keys] = error
    deepest = [keys for keys in found if not any(keys == other[: len(keys)] and keys != other for other in found)]
    return [(keys, _message(keys, found[keys])) for keys in deepest]


def _path(error: ErrorDetails, data: Any) -> Keys:
    """The error's place in the data: its location without the names of the forms that were tried."""
    keys: list[str | int] = []
    for part in error["loc"]:
        inside = isinstance(data, (dict, list)) and part in (data if isinstance(data, dict) else range(len(data)))
        if inside:
            keys.append(part)
            data = data[part]
    return (*keys, error["loc"][-1]) if error["type"] == "missing" else tuple(keys)


def _message(keys: Keys, error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        known = list(_table_at(keys[:-1]).model_fields)
        what = "table" if len(keys) == 1 else "key"
        return f"unknown {what} '{keys[-1]}'.{nearest(str(keys[-1]), known)} Known here: {listed(known)}."
    if error["type"] == "missing":
        return f"is missing: add {_needed(keys)}."
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"got {error['input']!r}, needed {_needed(keys)}."


def _table_at(keys: Keys) -> type[BaseModel]:
    """The table of the schema that the keys lead to."""
    table: type[BaseModel] = StudyFile
    for key in keys:
        if key in table.model_fields:
            table = next(_tables_in(table.model_fields[str(key)].annotation), table)
    return table


def _tables_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables_in(inner)


def _needed(keys: Keys) -> str:
    """Description of the innermost described key."""
    for end in range(len(keys), 0, -1):
        fields = _table_at(keys[: end - 1]).model_fields
        if keys[end - 1] in fields:
            return str(fields[str(keys[end - 1])].description)
    return "a value that the key accepts"


# Parts that contradict each other -------------------------------------------------------------------------------------


def _contradictions(study: Study) -> Iterator[Problem]:
    """What is wrong although every key on its own is fine; cheap checks only."""
    tables = study.tables
    if broken := list(_model_problems(tables.model)):
        yield from broken
        return
    files = _Files(study)
    yield from files.problems
    yield from _nominal_problems(study, files.pilot)
    yield from _column_problems(study, files)
    yield from _layout_problems(study)
    yield from _misplaced(study)
    yield from _factor_problems(study)
    yield from _unbuildable(Cost, "cost", tables.cost.model_dump())
    if not any((tables.cost.observation, *tables.cost.units.values())):
        yield ("cost",), "nothing has a price, so that no budget limits the design: give units or observation one."


def _model_problems(model: Model) -> Iterator[Problem]:
    """What can be told without expanding the formula, which takes heavier libraries."""
    checks: dict[str, Callable[[], object]] = {
        "formula": lambda: parse(model.formula),
        "family": lambda: family_named(model.family, model.size),
        "size": lambda: check_size(model.family, model.size),
        "link": lambda: model.link and link_named(model.link, family_named(model.family, model.size)),
    }
    for key, check in checks.items():
        try:
            check()
        except SpecificationError as error:
            yield ("model", key), str(error)
            return


def _unbuildable(kind: type, table: str, keywords: Mapping[str, Any]) -> Iterator[Problem]:
    """The first keyword with which an object cannot be made, taking one after the other."""
    given: dict[str, Any] = {}
    for key, value in keywords.items():
        given[key] = value
        try:
            kind(**given)
        except SpecificationError as error:
            yield (table, key), str(error)
            return


class _Files:
    """Column names of the CSV files that a study names; None where there is no file or it cannot be used."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.problems: list[Problem] = []
        space = study.tables.space
        self.pilot = self._header(("nominal", "from_pilot"), study.tables.nominal.from_pilot)
        self.candidates = self._covariates("candidates", space.candidates)
        self.observed = self._covariates("observed", space.observed)
        self._header(("goal", "already"), study.tables.goal.already)

    def _header(self, keys: Keys, name: str | None) -> list[str] | None:
        if name is None:
            return None
        try:
            return header(self.study.beside(name))
        except SpecificationError as error:
            self.problems.append((keys, str(error)))
            return None

    def _covariates(self, key: str, table: Any) -> list[str] | None:
        """Covariates that candidates or observed give; None where that cannot be told."""
        if table is None:
            return []
        if table.grid is not None:
            return list(table.grid)
        columns = self._header(("space", key, "from_frame"), table.from_frame)
        if columns is None:
            return None
        for used in ("columns", "by", "weights"):
            named = getattr(table, used, None) or ()
            for name in (named,) if isinstance(named, str) else named:
                if name not in columns:
                    self.problems.append((("space", key, used), _no_column(name, columns, table.from_frame)))
        aside = {getattr(table, "by", None), getattr(table, "weights", None)}
        return list(table.columns) if table.columns else [c for c in columns if c not in aside]


def header(path: Path) -> list[str]:
    """Column names of a CSV file that has at least one row under them."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for _, row in zip(range(2), (r for r in csv.reader(file) if r), strict=False)]
    except FileNotFoundError:
        raise SpecificationError(f"there is no file '{path}'. Paths are relative to the study file.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SpecificationError(f"'{path}' cannot be read as CSV text in UTF-8 ({error}).") from None
    if len(rows) < 2:
        raise SpecificationError(f"'{path}' is empty: it needs a line of column names and at least one row.")
    return rows[0]


def _no_column(name: str, columns: list[str], where: str) -> str:
    return f"'{name}' is not a column of '{where}': {listed(columns)}.{nearest(name, columns)}"


def _nominal_problems(study: Study, pilot: list[str] | None) -> Iterator[Problem]:
    nominal, factors = study.tables.nominal, tuple(study.parsed.random)
    if nominal.from_pilot is not None:
        needed = {column for factor in factors for column in factor.split(":")}
        needed |= set(_names(study.tables.model.formula))
        for name in sorted(needed - set(pilot)) if pilot else ():
            yield ("model", "formula"), _no_column(name, pilot or [], nominal.from_pilot)
        return
    yield from _unbuildable(NominalValues, "nominal", nominal.model_dump(exclude={"from_pilot", "source"}))
    for factor in factors:
        if factor not in nominal.covariance:
            yield (
                ("nominal", "covariance"),
                f"grouping factor '{factor}' has no nominal covariance: add covariance = {{ {factor} = … }}.",
            )
    for factor in nominal.covariance:
        if factor not in factors:
            yield (
                ("nominal", "covariance", factor),
                f"'{factor}' is not a grouping factor of the formula: {listed(factors)}.{nearest(factor, factors)}",
            )


def _names(expression: str) -> list[str]:
    """Column names that an expression uses for certain: no functions, attributes, keyword arguments or text."""
    quoted = re.findall(r"`([^`]+)`", expression)
    plain = re.sub(r"`[^`]+`", " ", _STRING.sub(" ", expression))
    return [*quoted, *(name for name in _BARE_NAME.findall(plain) if name not in _NOT_COLUMNS)]


def _column_problems(study: Study, files: _Files) -> Iterator[Problem]:
    """Every column that is used must be chosen or observed, and not both."""
    if files.candidates is None or files.observed is None:
        return
    known = [*files.candidates, *files.observed]
    both = sorted(set(files.candidates) & set(files.observed))
    if both:
        yield ("space", "observed"), f"{listed(both)} cannot be both chosen and observed: leave it out of one."
    for keys, name in _uses(study):
        if name not in known and not (keys == ("model", "formula") and _is_reported(name, files.pilot)):
            yield (
                keys,
                f"uses the column '{name}', which [space] neither offers as candidates nor lists as observed; it has "
                f"{listed(known)}.{nearest(name, known)}",
            )


def _is_reported(name: str, pilot: list[str] | None) -> bool:
    """Whether the pilot lacks the column too, which is said already."""
    return bool(pilot) and name not in (pilot or ())


def _uses(study: Study) -> Iterator[tuple[Keys, str]]:
    """Every use of a covariate: the key that uses it, and its name."""
    tables, parsed = study.tables, study.parsed
    random = [name for terms in parsed.random.values() for term in terms for name in _names(term)]
    yield from ((("model", "formula"), name) for name in dict.fromkeys([*_names(parsed.fixed), *random]))
    for key in ("size", "offset"):
        if isinstance(getattr(tables.model, key), str):
            yield ("model", key), getattr(tables.model, key)
    yield from ((("space", "levels", name), name) for name in tables.space.levels)
    for at, constraint in enumerate(tables.space.constraints):
        text = constraint.condition or constraint.total or constraint.distinct or ""
        yield from ((("space", "constraints", at), name) for name in _names(text))
    for where, cost in _costs(study).items():
        prices: dict[Keys, str | float] = {("units", factor): price for factor, price in cost.units.items()}
        prices["observation",] = cost.observation
        for keys, price in prices.items():
            yield from (((*where, *keys), name) for name in (_names(price) if isinstance(price, str) else ()))


def _costs(study: Study) -> dict[Keys, CostTable]:
    """Every table of prices, and where it stands."""
    limits: dict[Keys, CostTable] = {("goal", "limits", name): at for name, at in study.tables.goal.limits.items()}
    return {("cost",): study.tables.cost, **limits}


#: Keys of a study that have no place beside some layouts.
CROSSED_ONLY = (("space", "crossing"), ("space", "cells"))
NESTED_ONLY = (
    ("space", "common_replicates"),
    ("space", "at_most"),
    ("goal", "already"),
)


def _layout_problems(study: Study) -> Iterator[Problem]:
    """Several factors need a layout, and one that has them all."""
    tables, grouping = study.tables, study.grouping
    if tables.space.layout is None and len(grouping) > 1:
        quoted = ", ".join(f"'{factor}'" for factor in grouping)
        yield (
            ("space", "layout"),
            f"the formula has several grouping factors: say how their units lie, layout = {{ nested = [{quoted}] }}, "
            f"outermost first, or {{ crossed = [{quoted}] }}.",
        )
    for factor in grouping:
        if factor not in study.factors:
            known = study.factors
            yield (
                ("space", "layout"),
                f"lacks '{factor}', a grouping factor of the formula; it has {listed(known)}.{nearest(factor, known)}",
            )


def _misplaced(study: Study) -> Iterator[Problem]:
    """Keys that have no place beside the layout."""
    tables = study.tables
    for keys in NESTED_ONLY if study.crossed else CROSSED_ONLY:
        if keys[1] in getattr(tables, keys[0]).model_fields_set:
            other = "a nested layout" if study.crossed else "layout = { crossed = ['row', 'column'] }"
            yield keys, f"belongs to {other}: leave it out."
    if tables.space.cells is not None and study.crossed and tables.space.crossing == "complete":
        yield ("space", "cells"), "belongs to crossing = 'biregular': a complete crossing observes all cells."
    if "compare" in tables.model_fields_set and not study.crossed:
        yield (
            ("compare",),
            "compares the layouts of two factors: state [space] layout = { crossed = ['row', 'column'] }.",
        )


def _factor_problems(study: Study) -> Iterator[Problem]:
    """Every factor that is named must be one of the layout, or a part of its units."""
    tables, factors = study.tables, list(dict.fromkeys([*study.factors, *study.parsed.random]))
    cell = {":".join(study.factors)} if study.crossed else set()
    named: list[tuple[Keys, str]] = [
        (("space", "levels", covariate), f) for covariate, f in tables.space.levels.items() if f not in cell
    ]
    named += [(("space", "counts", factor), factor) for factor in tables.space.counts]
    for where, cost in _costs(study).items():
        named += [((*where, "units", factor), factor) for factor in cost.units]
    for at, constraint in enumerate(tables.space.constraints):
        if constraint.of not in ("observations", "units"):
            named.append((("space", "constraints", at, "of"), constraint.of))
    for keys, factor in named:
        if factor not in factors:
            yield keys, f"'{factor}' is not a grouping factor: {listed(factors)}.{nearest(factor, factors)}"
