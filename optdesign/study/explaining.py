"""What a study file asks for, in sentences that follow the file line by line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optdesign.study.reading import Keys
from optdesign.study.telling import NEGLECTED
from optdesign.study.words import hypothesis, joined, money, percent, plural, value, values

if TYPE_CHECKING:
    from optdesign.designs import DesignSpace
    from optdesign.study.reading import Study
    from optdesign.study.tables import Criterion

#: Values of a covariate that a sentence lists; of more it gives the ends.
MOST = 8

SMALLEST = {
    "D": "volume of the confidence ellipsoid of the coefficients",
    "A": "sum of the variances of the coefficients",
    "c": "variance of a combination of coefficients",
    "E": "variance in the direction that is estimated worst",
    "I": "mean variance of predictions",
    "compound": "weighted mean of the logarithms of its criteria",
}

Said = tuple[Keys, str]


@dataclass(frozen=True)
class Told:
    """What one key asks for.

    Attributes
    ----------
    keys : tuple of str or int
        The table, and the key within it.
    sentence : str
        What it asks for.
    line : int or None
        The line where the file says so; None for a default.
    """

    keys: Keys
    sentence: str
    line: int | None


def explanation(study: Study, space: DesignSpace) -> list[Told]:
    """What a study asks for, table by table in the order of the lines; defaults come last in each.

    Examples
    --------
    >>> from optdesign.study import load_study
    >>> from optdesign.study.building import space_of
    >>> study = load_study("studies/sleep/study.toml")
    >>> for told in explanation(study, space_of(study))[:2]:
    ...     print(told.line, told.sentence)
    6 Fitted will be Reaction ~ Days + (1 + Days | Subject), a gaussian response with identity link.
    9 Nominal values are fitted from sleepstudy.csv.
    """
    told = [Told(keys, sentence, _stated(study, keys)) for keys, sentence in _told(study, space)]
    return sorted(told, key=lambda each: (study.line(each.keys[0]) or math.inf, each.line or math.inf))


def _stated(study: Study, keys: Keys) -> int | None:
    """The line that states a key, or the inline table that holds it; that of the header is of no key within."""
    line = study.line(*keys)
    return None if len(keys) > 1 and line == study.line(keys[0]) else line


def _told(study: Study, space: DesignSpace) -> Iterator[Said]:
    yield from _model(study)
    yield from _nominal(study)
    yield from _covariates(study, space)
    yield from _numbers(study, space)
    yield from _bounds(study, space)
    yield from _costs(study)
    yield from _goal(study)
    yield from _test(study)
    yield from _compare(study)
    yield from _report(study)


def _model(study: Study) -> Iterator[Said]:
    model, table = study.model, study.tables.model
    link = f"a {model.family} response with {model.link_function.name} link"
    yield ("model", "formula"), f"Fitted will be {model.formula}, {link}."
    if table.size is not None:
        what = "k of the negative binomial" if table.family == "negative-binomial" else "number of trials"
        yield ("model", "size"), f"The {what} of an observation is {value(table.size)}."
    if table.offset is not None:
        yield ("model", "offset"), f"{table.offset} is added to the linear predictor."


def _nominal(study: Study) -> Iterator[Said]:
    table = study.tables.nominal
    if table.source is not None:
        yield ("nominal", "source"), f"The source of the values is {table.source}."
    if table.from_pilot is not None:
        yield ("nominal", "from_pilot"), f"Nominal values are fitted from {table.from_pilot}."
        return
    beta = table.beta or ()
    shown = values(beta) if isinstance(beta, dict) else f"{joined([*map(value, beta)])}, in the order of the model"
    yield ("nominal", "beta"), f"Nominal values are stated: {shown}."
    for factor, given in table.covariance.items():
        rows = f"covariance {[list(row) for row in given]}" if isinstance(given, tuple) else f"variance {value(given)}"
        yield ("nominal", "covariance", factor), f"The random effects of {plural(study.word(factor))} have {rows}."
    if study.model.family == "gaussian":
        yield ("nominal", "dispersion"), f"The residual variance is {value(table.dispersion)}."


def _covariates(study: Study, space: DesignSpace) -> Iterator[Said]:
    """What is chosen, and what is observed."""
    points, table = space.candidates.points, study.tables.space.candidates
    source = "grid" if table is None or table.from_frame is None else "from_frame"
    for name in points:
        factor = space.levels.get(str(name))
        level = f"per {study.word(factor) if factor else study.observation}"
        sentence = f"Chosen {level} is {name}: {_listed(points[name].tolist())}."
        yield ("space", "candidates", source, str(name)), sentence
    if space.observed is not None:
        names = ", ".join(map(str, space.observed.points))
        law = f"with {len(space.observed.points)} different values in its law"
        yield ("space", "observed"), f"Observed, not chosen, is {names}, {law}."


def _listed(given: list[object]) -> str:
    distinct = list(dict.fromkeys(given))
    if len(distinct) <= MOST:
        return ", ".join(map(value, distinct))
    return f"{len(distinct)} values from {value(min(distinct))} to {value(max(distinct))}"  # type: ignore[type-var]


def _numbers(study: Study, space: DesignSpace) -> Iterator[Said]:
    """Units of each factor, cells where these are chosen too, and observations."""
    above = [None, *(study.word(factor) for factor in study.factors)]
    for factor, outer in zip(study.factors, above, strict=False):
        per = f" per {outer}" if outer and not study.crossed else ""
        number = f"Chosen is the number of {plural(study.word(factor))}{per}, {_range(space.count_bounds(factor))}."
        yield ("space", "counts", factor), number
    if space.crossing == "biregular":
        met = f"Chosen is which {study.holder}s are observed, as many in every row and column: {_cells(space)}."
        yield ("space", "crossing"), met
    elif study.crossed:
        yield ("space", "layout"), f"Every {study.unit} meets every {study.factors[1]}."
    per = f" per {study.holder}" if study.factor else ""
    each = f"Chosen is the number of {plural(study.observation)}{per}, {_range(space.replicate_bounds)}."
    yield ("space", "replicates"), each


def _cells(space: DesignSpace) -> str:
    return "as many as are best" if space.cells is None else _range(space.cell_bounds)


def _range(bounds: tuple[float, float]) -> str:
    low, high = bounds
    if low == high:
        return f"fixed at {low:g}"
    return f"{low:g} to {high:g}" if high < float("inf") else f"at least {low:g}"


def _bounds(study: Study, space: DesignSpace) -> Iterator[Said]:
    """What else an admissible design must do."""
    if space.common_replicates:
        same = f"All {plural(study.unit)} have the same number of {plural(study.observation)}."
        yield ("space", "common_replicates"), same
    if space.at_most is not None:
        times = "once" if space.at_most == 1 else f"{space.at_most} times"
        yield ("space", "at_most"), f"No point is used more than {times} in a {study.holder}."
    for at, constraint in enumerate(space.constraints):
        words = constraint.words
        yield ("space", "constraints", at), f"{words[0].upper()}{words[1:]}."


def _costs(study: Study) -> Iterator[Said]:
    cost = study.tables.cost
    for factor, price in cost.units.items():
        yield ("cost", "units", factor), f"One {study.word(factor)} costs {_price(price, study)}."
    nouns = {"observation": f"One {study.observation}", "cell": "One cell", "fixed": "To have the study at all"}
    for key, noun in nouns.items():
        if price := getattr(cost, key):
            yield ("cost", key), f"{noun} costs {_price(price, study)}."


def _price(price: float | str, study: Study) -> str:
    return f"{price} {study.currency}".rstrip() if isinstance(price, str) else money(price, study.currency)


def _goal(study: Study) -> Iterator[Said]:
    goal = study.tables.goal
    kind = goal.stated.kind
    wanted = "best design by a compound criterion" if kind == "compound" else f"{kind}-optimal design"
    smallest = f"{SMALLEST[kind]}{_about(study, goal.stated)}"
    yield ("goal", "criterion"), f"Wanted is the {wanted}, of the smallest {smallest}."
    yield ("goal", "budget"), f"There are {money(goal.budget, study.currency)} to spend."
    if study.factors:
        order = f"Precision is that of the {goal.order} covariance: {NEGLECTED[goal.order]}."
        yield ("goal", "order"), order
    for name, limit in goal.limits.items():
        yield ("goal", "limits", name), f"There are {limit.amount:,g} of {name}."
    if goal.already is not None:
        run = f"The observations of {goal.already} have been run: they count, and cost nothing."
        yield ("goal", "already"), run


def _about(study: Study, criterion: Criterion) -> str:
    """Which coefficients a criterion is about, where it says so."""
    tested = {study.tables.test.coefficient: 1.0} if study.tables.test and criterion.kind == "c" else {}
    names = criterion.of or criterion.weights or criterion.combination or tested
    return f": {joined([*names])}" if names else ""


def _test(study: Study) -> Iterator[Said]:
    table = study.tables.test
    if table is not None:
        aim = f", with a power of {percent(table.power)}" if table.power else ""
        tested = hypothesis(table.coefficient, table.null, table.alternative, table.alpha)
        yield ("test", "coefficient"), f"It is planned for {tested}{aim}."


def _compare(study: Study) -> Iterator[Said]:
    if "compare" in study.tables.model_fields_set:
        table = study.tables.compare
        layouts = joined(table.layouts) if table.layouts else "all layouts"
        budgets = joined([money(each, study.currency) for each in (study.tables.goal.budget, *(table.budgets or ()))])
        yield ("compare",), f"'optdesign compare' shows {layouts} for {budgets}."
        if table.cost_ratios is not None:
            yield ("compare", "cost_ratios"), "It maps which is best over ratios of prices and of variances."


def _report(study: Study) -> Iterator[Said]:
    if "report" in study.tables.model_fields_set:
        nouns = f"A unit is called {study.unit}, an observation {study.observation}"
        yield ("report",), f"{nouns}; everything random has the seed {study.tables.report.seed}."
