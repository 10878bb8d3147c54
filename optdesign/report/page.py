"""The page of a report: everything it says, handed to the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from optdesign import __version__
from optdesign.criteria import COptimality
from optdesign.report import figures, tables, words
from optdesign.report.figures import Picture

if TYPE_CHECKING:
    from optdesign.study import StudyResult
    from optdesign.study.tables import Test


#: Units below which the normal approximation to a test statistic is itself in doubt.
FEW = 10


def render(result: StudyResult, pictures: Mapping[str, Picture]) -> str:
    """The page as HTML; whatever came from the user is escaped by the template."""
    environment = Environment(
        loader=PackageLoader("optdesign.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("index.html.j2")
    return template.render(version=__version__, pictures=pictures, **_contents(result))


def _contents(result: StudyResult) -> dict[str, Any]:
    best, study = result.best, result.study
    design, names = best.rounded.design, (study.unit, study.observation)
    return {
        "title": study.title,
        "summary": summary(result),
        "warnings": list(dict.fromkeys((*result.warnings, *best.warnings))),
        "plan": tables.plan(design, *names),
        "money": tables.money(best, *names, study.currency),
        "precision": tables.precision(result.precision),
        "regime": regime(result),
        "power": tables.power(result) if result.power else None,
        "power_text": power(result),
        "certificate": words.certificate(best.certificate.efficiency_bound, best.rounded.efficiency_bound, study.unit),
        "status": best.status.value,
        "nominal_source": nominal_source(result),
        "nominal": [tables.coefficients(result), *tables.components(best)],
        "dispersion": best.nominal.dispersion if best.model.distribution.has_dispersion else None,
        "notes": result.fit.notes if result.fit else (),
        "assumptions": assumptions(result),
        "source": result.study.text,
        "file": result.study.path.name,
        "seed": study.tables.report.seed,
        "versions": result.plan_json()["versions"],
        "number": words.number,
    }


def coefficient_of_interest(result: StudyResult) -> str | None:
    """The coefficient that is tested, or the only one that the criterion is about."""
    best, test = result.best, result.study.tables.test
    if test is not None:
        name = test.coefficient
    elif isinstance(best.criterion, COptimality) and len(best.criterion.combination) == 1:
        (name,) = best.criterion.combination
    else:
        return None
    return best.covariance.names[best.covariance.position(name)]


def summary(result: StudyResult) -> str:
    """The plan, what it costs, what it buys, what it rests on, and that nothing better exists."""
    best, study = result.best, result.study
    plan = best.rounded
    amount = f"{words.money(plan.spend, '')} of {words.money(best.budget, study.currency)}"
    size = words.totals(plan.design, study.unit, study.observation)
    return words.sentence(
        [
            f"{words.plan(plan.design, study.unit, study.observation)}: {size}, {amount}",
            words.precision(result.precision, best.order, coefficient_of_interest(result)),
            power(result),
            f"This assumes {_belief(result)}",
            words.at_most_better(plan.efficiency_bound),
        ]
    )


def power(result: StudyResult) -> str:
    """Power of the plan, and how many units the wanted power needs; empty without a test."""
    test, order = result.study.tables.test, result.best.order
    if test is None or not result.power:
        return ""
    truth = tables.nominal_value(result.best, test.coefficient)
    reached = (
        f"If the true value is {words.number(truth)}, {_hypothesis(test)} has a power of "
        f"{words.probability(result.power[order])} ({order} order)"
    )
    return words.sentence([reached, _needed(result, test.power)])


def _needed(result: StudyResult, wanted: float | None) -> str:
    if result.needed is None or wanted is None:
        return ""
    planned, word = figures.size(result)
    more = result.needed.count - planned
    than = f"{words.number(abs(more))} {'more' if more > 0 else 'fewer'} than planned" if more else "as planned"
    enough = f"{words.counted(result.needed.count, word)} in the same proportions give {100 * wanted:g} % ({than})"
    return f"{enough}; a test on so few may not hold its level" if result.needed.count < FEW else enough


def _hypothesis(test: Test) -> str:
    return words.hypothesis(test.coefficient, test.null, test.alternative, test.alpha)


def regime(result: StudyResult) -> str:
    """What the orders say about the asymptotics, for the coefficient of interest or the worst one."""
    ratios = result.precision["ratio"].astype(float)
    name = coefficient_of_interest(result) or str(ratios.fillna(float("inf")).idxmax())
    errors = result.precision.astype(float).to_dict(orient="index")[name]
    return words.regime({str(column): error for column, error in errors.items()}, name)


def nominal_source(result: StudyResult) -> str:
    """Where the nominal values come from."""
    fit, pilot = result.fit, result.study.tables.nominal.from_pilot
    if fit is None:
        return "The nominal values are stated in the study file."
    sizes = words.joined([f"{n:,} levels of {f}" for f, n in fit.units.items()] or ["no grouping factor"])
    return (
        f"The nominal values are the maximum likelihood estimates from the pilot data {pilot}: "
        f"{words.counted(fit.observations, 'observation')}, {sizes}."
    )


def _belief(result: StudyResult) -> str:
    pilot = result.study.tables.nominal.from_pilot
    source = f"those of the pilot {pilot}" if result.fit is not None else "those stated in the study file"
    return f"that {result.best.model.formula} will be fitted, with effects and variances like {source}"


def assumptions(result: StudyResult) -> list[str]:
    """What the plan rests on, one sentence each."""
    best = result.best
    model, space = best.model, best.space
    said = [
        f"The analysis fits {model.formula} ({model.family}, {model.link_function.name} link) by maximum likelihood.",
        "The nominal values are true. The plan is best for them, and good for values close by.",
        f"The plan is chosen by standard errors of the {best.order} order: {words.NEGLECTED[best.order]}.",
        "Every unit gives all its observations: nobody drops out, and nothing is missing.",
        "Prices are as stated, the same for the first unit and the last.",
        f"The best design is the one with the smallest {best.criterion.label}.",
    ]
    if model.factors:
        said.insert(2, "Random effects are normal, and independent between units.")
    if space.observed is not None:
        seen = words.joined([str(c) for c in space.observed.points])
        said.append(f"{seen}: observed, not chosen; distributed in the study as stated, in every group alike.")
    test = result.study.tables.test
    if test is not None:
        said.append(
            f"The test is a Wald test: {words.hypothesis(test.coefficient, test.null, test.alternative, test.alpha)}."
        )
    return said
