"""The tables of a report: for the page as text that is ready to show, for files as data frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from optdesign.costs import Cost
from optdesign.designs import Design, Group
from optdesign.measures import beside
from optdesign.optimize import ExactDesign, OptimalDesign
from optdesign.study import judging, telling, words

if TYPE_CHECKING:
    import pandas as pd

    from optdesign.study import StudyResult


#: Rows of the field sheet that a page shows, and what a narrow column calls the money for the plan's precision.
MOST_SHEET_ROWS, NEEDS = 12, "needs for this precision"


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names its row, the others are numbers unless `text` says how many are not."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: int = 1
    total: bool = False


def plan(design: Design, unit: str, observation: str) -> Table:
    """A row per group and point: how many units, and what one of them does there."""
    sizes = [name.capitalize() for name in _size_names(design, unit, observation)]
    rows = [row for number, group in enumerate(design.groups, start=1) for row in _group_rows(number, group, design)]
    rows.append(["All", "", words.number(design.units), *[""] * len(sizes), words.number(design.observations)])
    header = ["Group", "Covariates", *sizes, "At this point", f"{words.plural(observation)} in all".capitalize()]
    if design.layout is None:
        header, rows = [*header[:2], header[-1]], [[*row[:2], row[-1]] for row in rows]
    elif all(group.measure.points.shape[1] == 0 for group in design.groups):
        header, rows = [*header[:-2], header[-1]], [[*row[:-2], row[-1]] for row in rows]
    return Table("The plan, group by group", header, rows, text=2, total=True)


def _size_names(design: Design, unit: str, observation: str) -> list[str]:
    """What the sizes of a group count."""
    nouns, observations = [unit, *list(design.counts)[1:]], words.plural(observation)
    if design.crossing is not None:
        return [*map(words.plural, nouns), "cells", f"{observations} per cell"]
    inner = [f"{words.plural(noun)} per {outer}" for outer, noun in pairwise(nouns)]
    return [words.plural(unit), *inner, f"{observations} per {nouns[-1]}"]


def _sizes(design: Design, group: Group) -> list[float]:
    """Units of a group, factor by factor, cells where these are crossed, and observations in each of the last."""
    units = [*design.counts.values(), group.count] if design.crossing else [group.count, *group.counts.values()]
    return [*units, group.replicates]


def _group_rows(number: int, group: Group, design: Design) -> list[list[str]]:
    columns = group.measure.points.columns
    times = group.replicates * group.measure.weights
    rows: list[list[str]] = []
    for point, here in zip(group.measure.points.itertuples(index=False), times, strict=True):
        where = words.values({**group.at, **dict(zip(columns, point, strict=True))})
        # Said once for each group, because it is true of the group and not of the point.
        size = [words.number(many) if not rows else "" for many in _sizes(design, group)]
        total = words.number(group.observations / group.replicates * here)
        rows.append([f"{number}", where or "–", *size, words.number(here), total])
    return rows


def money(best: OptimalDesign, unit: str, observation: str, currency: str) -> Table:
    """What each group costs, by units, by cells where these have a price, and by observations, against the budget."""
    cost, plan = best.cost, best.rounded.design
    sources = _sources(cost, plan, unit, observation)
    blank = [""] * len(sources)
    rows: list[list[str]] = []
    for number, alone in enumerate(_alone(plan), start=1):
        paid = [alone.spend(price) for price in sources.values()]
        who = f"Group {number}: {telling.totals(alone, unit, observation)}"
        rows.append([who, *(words.money(v, "") for v in (*paid, sum(paid)))])
    for what, amount in (("Fixed", cost.fixed), ("Total", best.rounded.spend), ("Budget", best.budget)):
        if amount or what != "Fixed":
            rows.append([what, *blank, words.money(amount, "")])
    rows.append(["Left over", *blank, words.money(max(0.0, round(best.budget - best.rounded.spend, 2)), "")])
    header = ["", *(words.plural(name).capitalize() for name in sources), "Total"]
    return Table(f"Money{f', in {currency}' if currency else ''}", header, rows, total=True)


def money_of(result: StudyResult) -> Table:
    """What the plan costs."""
    study = result.study
    return money(result.best, study.unit, study.observation, study.currency)


def _alone(plan: Design) -> list[Design]:
    """Each group of a plan as a design of its own; a crossed plan is one group."""
    if plan.crossing is not None:
        return [plan]
    return [Design(plan.layout, [group], observed=plan.observed, levels=plan.levels) for group in plan.groups]


def _sources(cost: Cost, plan: Design, unit: str, observation: str) -> dict[str, Cost]:
    """What is paid for, each with its prices alone."""
    nouns = [unit, *list(plan.counts)[1:]]
    units = {
        noun: Cost({f: price for f, price in cost.units.items() if f.split(":")[0] == factor})
        for noun, factor in zip(nouns, plan.counts, strict=False)
    }
    cells = {"cell": Cost(cell=cost.cell)} if cost.cell else {}
    return {**units, **cells, observation: Cost(observation=cost.observation)}


def precision(result: StudyResult) -> Table:
    """Standard errors by order, and their ratio; without random effects one column, because all orders are the same."""
    if not result.best.model.factors:
        header, frame = ["Coefficient", "Standard error"], result.precision[[result.best.order]]
        return Table("Standard errors at the plan", header, _numbers(frame))
    frame = result.precision
    header = ["two-term / leading" if c == "ratio" else str(c) for c in frame]
    caption = "Standard errors at the plan, by order of the covariance"
    return Table(caption, ["Coefficient", *header], _numbers(frame))


def checked_precision(result: StudyResult) -> Table:
    """The same, and how far each variance by the order used is from that by another."""
    table, other = precision(result), judging.compared_with(result)
    if other is None or not result.best.model.factors:
        return table
    header = [*table.header, f"variance, {result.best.order} against {other}"]
    off = map(words.difference, judging.off_by(result, other))
    return replace(table, header=header, rows=[[*row, each] for row, each in zip(table.rows, off, strict=True)])


def _numbers(frame: pd.DataFrame) -> list[list[str]]:
    return [
        [str(name), *(words.number(float(v)) for v in row)]
        for name, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]


def power(result: StudyResult) -> Table:
    """Power at the plan by each order; once without random effects."""
    if not result.best.model.factors:
        return Table("Power of the plan", ["Power"], [[words.probability(result.power[result.best.order])]])
    rows = [[order, words.probability(value)] for order, value in result.power.items()]
    return Table("Power of the plan", ["Order", "Power"], rows)


def coefficients(result: StudyResult) -> Table:
    """Nominal coefficients, with the standard errors of the pilot where there was one."""
    if result.fit is not None:
        header = ["Coefficient", "Estimate", "Standard error"]
        return Table("Fixed effects, as fitted to the pilot data", header, _numbers(result.fit.to_frame()))
    encoding = result.encoding
    values = result.best.nominal.beta_vector(encoding)
    rows = [[n, words.number(float(v))] for n, v in zip(encoding.fixed_names, values, strict=True)]
    return Table("Fixed effects, as stated in the study file", ["Coefficient", "Value"], rows)


def components(result: StudyResult) -> list[Table]:
    """A table per grouping factor: variances, standard deviations and covariances of its random effects."""
    best, tables = result.best, []
    for factor in best.model.factors:
        names = result.encoding.random_names(factor)
        matrix = best.nominal.matrix(factor, names)
        rows = [
            [name, words.number(float(np.sqrt(matrix[i, i]))), *(words.number(float(v)) for v in matrix[i])]
            for i, name in enumerate(names)
        ]
        columns = ["Variance"] if len(names) == 1 else [f"Covariance with {name}" for name in names]
        header = ["Random effect", "Standard deviation", *columns]
        tables.append(Table(f"Random effects of {factor}", header, rows))
    return tables


def doubts(result: StudyResult) -> Table:
    """What the plan is worth under other nominal values."""
    what = "× times as believed, se standard errors of the pilot" if result.fit else "× times as believed"
    caption = f"The plan under other nominal values ({what}{_of(result, '; ')})"
    return _mixed(caption, result.doubts, text=2)


def alternatives(result: StudyResult) -> Table:
    """The plan beside others for the same money."""
    frame = result.alternatives.drop(columns="spend").rename(columns={"units": words.plural(result.study.unit)})
    frame = frame.rename(columns={"observations": words.plural(result.study.observation)})
    currency = result.study.currency
    caption = f"Designs for the same money{f', in {currency}' if currency else ''}{_of(result, ' (', ')')}"
    return _mixed(caption, frame.rename(columns={words.MONEY: NEEDS}), text=1)


def _of(result: StudyResult, before: str, after: str = "") -> str:
    return "" if result.coefficient is None else f"{before}standard errors of {result.coefficient}{after}"


def _mixed(caption: str, frame: pd.DataFrame, text: int) -> Table:
    """A table of a data frame whose columns are shares, money, numbers and text."""
    form: dict[str, Callable[[Any], str]] = {
        "efficiency": words.percent,
        "power": words.probability,
        NEEDS: _whole,
    }
    columns = [[form.get(str(c), judging.shown)(value) for value in frame[c]] for c in frame]
    header = [str(name)[:1].upper() + str(name)[1:] for name in frame]
    return Table(caption, header, list(zip(*columns, strict=True)), text=text)


def _whole(amount: float) -> str:
    return words.money(round(amount), "")


def first_rows(result: StudyResult, sheet: pd.DataFrame, who: str) -> Table:
    """The beginning of a field sheet."""
    shown = sheet.head(MOST_SHEET_ROWS).rename(columns={"observations": words.plural(result.study.observation)})
    more = f", the first {len(shown)} of {len(sheet):,}" if len(sheet) > len(shown) else ""
    rows = [[str(value) for value in row] for row in shown.to_numpy(dtype=object)]
    return Table(f"Field sheet, a row per {who}{more}", [str(c) for c in shown], rows, text=sheet.shape[1])


# Files


def field_sheet(result: StudyResult) -> pd.DataFrame:
    """A row per unit in the order drawn: what is constant in every unit, how many observations, and where.

    Without grouping factor it is the schedule itself, a row per observation.
    """
    import pandas as pd

    plan = result.best.rounded
    rows = beside(schedule(plan, result.study.tables.report.seed), ("observations", "at"))
    if plan.design.layout is None:
        return rows
    factor, *inner = plan.design.layout.factors
    told = [str(name) for name in rows if name not in (factor, "group")]
    constant = rows.groupby(factor)[told].nunique().max() == 1
    between = [name for name in told if constant[name] and name not in inner]
    within = [name for name in told if name not in between]
    sheet: list[dict[str, Any]] = []
    for unit, own in rows.groupby(factor, sort=False):
        set_here: dict[str, Any] = {name: own[name].iloc[0] for name in between}
        where = {"at": _places(own[within])} if within else {}
        sheet.append({factor: unit, **set_here, "observations": len(own), **where})
    return pd.DataFrame(sheet)


def _places(rows: pd.DataFrame) -> str:
    """The points of one unit in order, with their times."""
    names = [str(name) for name in rows]
    times: Counter[tuple[Any, ...]] = Counter(rows.itertuples(index=False, name=None))
    points: list[dict[str, Any]] = []
    for at, k in times.items():
        here: dict[str, Any] = dict(zip(names, at, strict=True))
        points.append({"at": here, "times": k})
    return words.schedule(points)


def schedule(plan: ExactDesign, seed: int) -> pd.DataFrame:
    """A row per observation, units in random order, so that it can serve as an allocation list.

    Without grouping factor it is the observations that are put in random order, in a column ``run``.
    """
    frame = plan.to_frame()
    rng = np.random.default_rng(seed)
    if plan.design.layout is None:
        shuffled = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
        shuffled.insert(0, "run", np.arange(1, len(frame) + 1))
        return shuffled
    factors = list(plan.design.layout.factors)
    for factor in factors:
        labels, unit = np.unique(frame[factor].to_numpy(), return_inverse=True)
        frame = frame.assign(**{factor: (rng.permutation(len(labels)) + 1)[unit]})
    return frame.sort_values(factors, kind="stable", ignore_index=True)


def power_file(result: StudyResult) -> pd.DataFrame:
    """Power along the numbers of units, the plan's own number among them."""
    import pandas as pd

    design = result.best.rounded.design
    size = design.units if design.layout else design.observations
    at_plan = pd.DataFrame([(size, o, p) for o, p in result.power.items()], columns=["units", "order", "power"])
    parts = [at_plan] if result.power_curves is None else [at_plan, result.power_curves]
    return pd.concat(parts).drop_duplicates(["units", "order"]).sort_values(["order", "units"], ignore_index=True)
