"""What a report says, in which order: one document that becomes a page, Markdown and JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from optdesign.report import tables
from optdesign.report.sketches import Sketch, sketches
from optdesign.report.tables import Table
from optdesign.study import judging, telling, words
from optdesign.study.judging import Light

if TYPE_CHECKING:
    from optdesign.study import StudyResult


@dataclass(frozen=True)
class Paragraph:
    """Text."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Code:
    """A file, as it is."""

    text: str
    label: str


Block = Paragraph | Items | Code | Light | Table | Sketch


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; `short` is for a list of contents."""

    name: str
    title: str
    short: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """A report."""

    title: str
    summary: str
    warnings: Sequence[str]
    sections: Sequence[Section]

    @property
    def figures(self) -> list[Sketch]:
        """All figures."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Sketch)]

    @property
    def tables(self) -> list[Table]:
        """All tables."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Table)]


def document(result: StudyResult) -> Document:
    """The report of a result; sections that there is nothing for are left out."""
    pictures = {sketch.name: sketch for sketch in sketches(result)}
    sections = [
        Section("plan", "The plan", "Plan", _plan(result, pictures)),
        Section("sheet", "Field sheet", "Field sheet", _sheet(result)),
        Section("money", "Money", "Money", [tables.money_of(result)]),
        Section("precision", "Precision", "Precision", _precision(result)),
        Section("power", "Power", "Power", _power(result, pictures)),
        Section("proof", "Proof that nothing better exists", "Proof", _proof(result, pictures)),
        Section("doubts", "If the nominal values are wrong", "Robustness", _doubts(result, pictures)),
        Section("around", "Other designs for the money", "Alternatives", _alternatives(result, pictures)),
        Section("nominal", "Nominal values", "Nominal values", _nominal(result)),
        Section("assumptions", "Assumptions", "Assumptions", [Items(telling.assumptions(result))]),
        Section("reproduce", "To reproduce this", "Reproduce", _reproduce(result)),
        Section("references", "References", "References", [Items(judging.references(result))]),
    ]
    warnings = list(dict.fromkeys((*result.warnings, *result.best.warnings)))
    used = [section for section in sections if section.blocks]
    return Document(result.study.title, telling.summary(result), warnings, used)


Pictures = Mapping[str, Sketch]


def _drawn(pictures: Pictures, *names: str) -> list[Sketch]:
    return [pictures[name] for name in names if name in pictures]


def _plan(result: StudyResult, pictures: Pictures) -> list[Block]:
    study = result.study
    return [
        tables.plan(result.best.rounded.design, study.unit, study.observation),
        *_drawn(pictures, "design"),
    ]


def _sheet(result: StudyResult) -> list[Block]:
    sheet, seed = tables.field_sheet(result), result.study.tables.report.seed
    who = result.study.unit if result.study.factor else result.study.observation
    return [
        Paragraph(
            f"Who gets what, in the order of enrolment: the order was drawn at random with the seed {seed}. The file "
            f"field-sheet.csv has a row per {who}, schedule.csv a row per {result.study.observation}."
        ),
        tables.first_rows(result, sheet, who),
    ]


def _precision(result: StudyResult) -> list[Block]:
    return [
        judging.asymptotics_light(result),
        tables.checked_precision(result),
        Paragraph(telling.regime(result)),
    ]


def _power(result: StudyResult, pictures: Pictures) -> list[Block]:
    if not result.power:
        return []
    return [Paragraph(telling.power(result)), tables.power(result), *_drawn(pictures, "power")]


def _proof(result: StudyResult, pictures: Pictures) -> list[Block]:
    return [
        Paragraph(judging.certificate(result)),
        *_drawn(pictures, "sensitivity"),
        Paragraph(f"Status: {result.best.status.value}. The numbers are in sensitivity.csv."),
    ]


def _doubts(result: StudyResult, pictures: Pictures) -> list[Block]:
    if result.doubts.empty:
        return []
    return [Paragraph(judging.doubts(result)), tables.doubts(result), *_drawn(pictures, "robustness")]


def _alternatives(result: StudyResult, pictures: Pictures) -> list[Block]:
    beside: list[Block] = []
    if len(result.alternatives) > 1:
        beside = [Paragraph(judging.alternatives(result)), tables.alternatives(result)]
    return [*beside, *_drawn(pictures, "budget-line", "surface")]


def _nominal(result: StudyResult) -> list[Block]:
    best, source = result.best, result.study.tables.nominal.source
    blocks: list[Block] = [Paragraph(telling.nominal_source(result))]
    if source:
        blocks.append(Paragraph(f"Source: {source}"))
    blocks += [tables.coefficients(result), *tables.components(result)]
    if best.model.distribution.has_dispersion:
        blocks.append(Paragraph(f"Residual variance: {words.number(best.nominal.dispersion)}."))
    notes = result.fit.notes if result.fit else ()
    return [*blocks, *([Items(notes)] if notes else [])]


def _reproduce(result: StudyResult) -> list[Block]:
    versions = ", ".join(f"{name} {number}" for name, number in result.plan_json()["versions"].items())
    file, seed = result.study.path.name or "study.toml", result.study.tables.report.seed
    return [
        Paragraph(
            f"Run 'optdesign run {file}' with the study file below and {versions}. Random numbers come from the seed "
            f"{seed}."
        ),
        Code(result.study.text, "Study file"),
    ]
