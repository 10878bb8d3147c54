"""What a plan says, in sentences: for the terminal, the report and ``plan.json`` alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from optdesign.study.words import (
    at_most_better,
    counted,
    hypothesis,
    joined,
    money,
    number,
    percent,
    probability,
    proof,
    sentence,
    value,
    values,
)

if TYPE_CHECKING:
    from optdesign.designs import Design, Group
    from optdesign.study.result import StudyResult
    from optdesign.study.tables import Test

#: Points of a unit's schedule that a sentence lists, of one covariate or of several; more are left to the table.
MOST_VALUES, MOST_POINTS = 12, 5
#: Relative difference of standard errors, by orders that should agree, above which asymptotics are in doubt: a tenth
#: of the variance.
DOUBTFUL = math.sqrt(1.1) - 1.0
#: Units below which the normal approximation to a test statistic is itself in doubt.
FEW = 10

NEGLECTED = {
    "leading": "what the observations per unit add to the leading term is left out",
    "two-term": "terms of order 1/(m n²) and 1/m² are neglected, in m units of n observations",
    "averaged": "terms of order 1/(m n²) and 1/m² are neglected in part, in m units of n observations",
    "exact": "nothing is neglected, for a Gaussian model with known variance components",
}


# The plan -------------------------------------------------------------------------------------------------------------


def summary(result: StudyResult) -> str:
    """The plan, what it costs, what it buys, what it rests on, and that nothing better exists."""
    from optdesign.study import judging

    best, study = result.best, result.study
    names = (study.unit, study.observation)
    amount = f"{money(best.rounded.spend, '')} of {money(best.budget, study.currency)}"
    return sentence(
        [
            f"{plan(best.rounded.design, *names)}: {totals(best.rounded.design, *names)}, {amount}",
            precision(result, result.coefficient),
            power(result),
            judging.saving(result),
            f"This assumes {_belief(result)}",
            "" if study.crossed else at_most_better(best.rounded.efficiency_bound),
        ]
    )


def size(result: StudyResult) -> tuple[float, str]:
    """Units of the plan, or observations where there are no units, and the word for one."""
    design, study = result.best.rounded.design, result.study
    return (design.units, study.unit) if design.layout else (design.observations, study.observation)


def power(result: StudyResult) -> str:
    """Power of the plan, and how many units the wanted power needs; empty without a test."""
    test = result.study.tables.test
    if test is None or not result.power:
        return ""
    truth = result.nominal_value(test.coefficient)
    reached = (
        f"If the true value is {number(truth)}, {_hypothesis(test)} has a power of "
        f"{probability(result.power[result.best.order])}{_by_order(result)}"
    )
    return sentence([reached, _needed(result, test.power)])


def _needed(result: StudyResult, wanted: float | None) -> str:
    if result.needed is None or wanted is None:
        return ""
    planned, word = size(result)
    more = result.needed.count - planned
    than = f"{number(abs(more))} {'more' if more > 0 else 'fewer'} than planned" if more else "as planned"
    enough = f"{counted(result.needed.count, word)} in the same proportions give {100 * wanted:g} % ({than})"
    return f"{enough}; a test on so few may not hold its level" if result.needed.count < FEW else enough


def _hypothesis(test: Test) -> str:
    return hypothesis(test.coefficient, test.null, test.alternative, test.alpha)


def _belief(result: StudyResult) -> str:
    pilot = result.study.tables.nominal.from_pilot
    source = f"those of the pilot {pilot}" if result.fit is not None else "those stated in the study file"
    return f"that {result.best.model.formula} will be fitted, with effects and variances like {source}"


def plan(design: Design, unit: str, observation: str) -> str:
    """What to do: how many of each kind of unit, with how many observations, where."""
    if design.layout is None:
        where = "".join(_where(g, g.count) for g in design.groups)
        return f"Make {counted(design.observations, observation)}{where}"
    if design.crossing is not None:
        return _meeting(design, unit, observation)
    nouns = [unit, *[""] * (len(design.groups) - 1)]
    return f"Enrol {joined([_group(g, noun, observation) for g, noun in zip(design.groups, nouns, strict=True)])}"


def _group(group: Group, noun: str, observation: str) -> str:
    who = counted(group.count, noun) if noun else number(group.count)
    kind = f" ({values(group.at)})" if group.at else ""
    each = " each" if group.count != 1 else ""
    inner = "".join(f"{counted(many, factor)} of " for factor, many in group.counts.items())
    return f"{who}{kind} with {inner}{counted(group.replicates, observation)}{each}{_where(group, 1.0)}"


def _meeting(design: Design, unit: str, observation: str) -> str:
    """A crossed plan: who meets whom, and how often."""
    (group,), (row, column) = design.groups, design.counts
    rows, columns = design.counts[row], design.counts[column]
    who = f"Enrol {counted(rows, unit)} and {counted(columns, column)}"
    if design.cells == rows * columns:
        met = f"{who}, every {unit} to meet every {column}"
    else:
        share = f"{counted(design.cells / rows, column)} for each {unit}"
        met = f"{who}, {share} and {counted(design.cells / columns, unit)} for each {column}"
    return f"{met}, with {counted(group.replicates, observation)} in each of {counted(group.count, 'cell')}" + _where(
        group, group.count
    )


def _where(group: Group, units: float) -> str:
    points = group.measure.points
    single = points.shape[1] == 1
    if points.shape[1] == 0:
        return ""
    if len(points) > (MOST_VALUES if single else MOST_POINTS):
        return f" at {len(points)} points"
    times = units * group.replicates * group.measure.weights
    parts = [values(dict(zip(points.columns, row, strict=True))) for row in points.itertuples(index=False)]
    if len(parts) == 1:
        return f" at {parts[0]}"
    if np.allclose(times, 1.0):
        return (
            f" ({points.columns[0]} = {', '.join(map(value, points.iloc[:, 0]))})"
            if single
            else f" ({'; '.join(parts)})"
        )
    return f" ({(', ' if single else '; ').join(f'{number(k)} at {p}' for k, p in zip(times, parts, strict=True))})"


def totals(design: Design, unit: str, observation: str) -> str:
    """``78 patients, 384 visits``."""
    nouns = [unit, *list(design.counts)[1:]]
    units = [counted(many, noun) for many, noun in zip(design.counts.values(), nouns, strict=False)]
    return ", ".join([*units, counted(design.observations, observation)])


def precision(result: StudyResult, coefficient: str | None) -> str:
    """The standard error of the coefficient of interest, or of all of them."""
    order = _by_order(result)
    errors = {str(name): number(float(se)) for name, se in result.precision[result.best.order].items()}
    if coefficient is not None:
        return f"The coefficient {coefficient} is then estimated with a standard error of {errors[coefficient]}{order}"
    parts = [f"{se} for {name}" for name, se in errors.items()]
    return f"The standard errors{order} are then {joined(parts)}"


def _by_order(result: StudyResult) -> str:
    """Which order a number is of; without random effects all orders are the same."""
    return f" ({result.best.order} order)" if result.best.model.factors else ""


# What it rests on -----------------------------------------------------------------------------------------------------


def regime(result: StudyResult) -> str:
    """What the orders say about the asymptotics, for the coefficient of interest or the worst one."""
    if not result.best.model.factors:
        return "Without random effects every order of the covariance is the same."
    if "ratio" not in result.precision:
        return "The second term of the asymptotic covariance is infinite under this link: check the plan by simulation."
    ratios = result.precision["ratio"].astype(float)
    name = result.coefficient or str(ratios.fillna(float("inf")).idxmax())
    errors = result.precision.astype(float).to_dict(orient="index")[name]
    return asymptotics({str(column): error for column, error in errors.items()}, name)


def asymptotics(errors: Mapping[str, float], coefficient: str) -> str:
    """What the standard errors of a coefficient by each order say about the asymptotics."""
    first = f"The finite number of observations per unit changes the standard error of {coefficient} by a factor of "
    first += f"{number(errors['ratio'])}, from the leading order, which a calculation that counts only units gives, to "
    first += "the two-term order"
    other = "exact" if "exact" in errors else "averaged"
    if other not in errors:
        return sentence([first])
    apart = abs(errors[other] / errors["two-term"] - 1.0)
    second = f"The {other} order differs from the two-term order by {percent(apart, 1)}"
    if apart <= DOUBTFUL:
        return sentence([first, f"{second}: the asymptotics hold at this size"])
    return sentence([first, f"{second}: the asymptotics are doubtful at this size, so check the plan by simulation"])


def proof_of(result: StudyResult) -> str:
    """What is proved about the plan."""
    best = result.best
    return proof(best.certificate.efficiency_bound, best.rounded.efficiency_bound, _scope(result))


def _scope(result: StudyResult) -> str:
    """Among which crossed designs the proof holds; empty for all designs."""
    from optdesign.optimize.crossed_result import CrossedCertificate

    certificate = result.best.certificate
    return certificate.scope if isinstance(certificate, CrossedCertificate) else ""


def nominal_source(result: StudyResult) -> str:
    """Where the nominal values come from."""
    fit, pilot = result.fit, result.study.tables.nominal.from_pilot
    if fit is None:
        return "The nominal values are stated in the study file."
    sizes = joined([f"{n:,} levels of {f}" for f, n in fit.units.items()] or ["no grouping factor"])
    return (
        f"The nominal values are the maximum likelihood estimates from the pilot data {pilot}: "
        f"{counted(fit.observations, 'observation')}, {sizes}."
    )


def assumptions(result: StudyResult) -> list[str]:
    """What the plan rests on, one sentence each."""
    best = result.best
    model, space = best.model, best.space
    whole = "Every unit gives all its observations: nobody drops out, and nothing is missing."
    said = [
        f"The analysis fits {model.formula} ({model.family}, {model.link_function.name} link) by maximum likelihood.",
        "The nominal values are true. The plan is best for them, and good for values close by.",
        whole if model.factors else "Every observation is made, and they are independent.",
        "Prices are as stated, the same for the first unit and the last.",
        f"The best design is the one with the smallest {best.criterion.label}.",
    ]
    if model.factors:
        said.insert(2, "Random effects are normal, and independent between units.")
        said.insert(3, f"The plan is chosen by standard errors of the {best.order} order: {NEGLECTED[best.order]}.")
    if space.observed is not None:
        seen = joined([str(c) for c in space.observed.points])
        said.append(f"{seen}: observed, not chosen; distributed in the study as stated, in every group alike.")
    test = result.study.tables.test
    if test is not None:
        said.append(
            f"The test is a Wald test: {hypothesis(test.coefficient, test.null, test.alternative, test.alpha)}."
        )
    return said
