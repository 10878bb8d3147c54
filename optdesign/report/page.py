"""The page of a report: everything it says, handed to the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from optdesign import __version__
from optdesign.report import tables
from optdesign.report.figures import Picture
from optdesign.study import telling, words

if TYPE_CHECKING:
    from optdesign.study import StudyResult


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
        "summary": telling.summary(result),
        "warnings": list(dict.fromkeys((*result.warnings, *best.warnings))),
        "plan": tables.plan(design, *names),
        "money": tables.money(best, *names, study.currency),
        "precision": tables.precision(result),
        "regime": telling.regime(result),
        "power": tables.power(result) if result.power else None,
        "power_text": telling.power(result),
        "certificate": f"{telling.equivalence(result)} {telling.proof_of(result)}",
        "status": best.status.value,
        "nominal_source": telling.nominal_source(result),
        "nominal": [tables.coefficients(result), *tables.components(result)],
        "dispersion": best.nominal.dispersion if best.model.distribution.has_dispersion else None,
        "notes": result.fit.notes if result.fit else (),
        "assumptions": telling.assumptions(result),
        "source": result.study.text,
        "file": result.study.path.name,
        "seed": study.tables.report.seed,
        "versions": result.plan_json()["versions"],
        "number": words.number,
    }
