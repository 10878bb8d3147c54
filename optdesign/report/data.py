"""Everything a report says, as plain dictionaries, lists, numbers and text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from optdesign.report.sketches import Sketch
from optdesign.report.tables import field_sheet
from optdesign.study.result import plain

if TYPE_CHECKING:
    from optdesign.report.document import Document
    from optdesign.study import StudyResult


def everything(result: StudyResult, report: Document) -> dict[str, Any]:
    """The plan, what the page says section by section, and the numbers behind its tables and figures."""
    frames = {
        "sensitivity": result.best.certificate.sensitivities,
        "precision": result.precision.reset_index(),
        "power_curves": result.power_curves,
        "budget_line": result.budget_line,
        "surface": None if result.surface is None else result.surface.frame,
        "robustness": result.doubts,
        "alternatives": result.alternatives,
        "field_sheet": field_sheet(result),
    }
    found = {
        "plan": result.plan_json(),
        "report": {
            "title": report.title,
            "summary": report.summary,
            "warnings": list(report.warnings),
            "sections": [
                {"name": each.name, "title": each.title, "blocks": [_block(block) for block in each.blocks]}
                for each in report.sections
            ],
        },
        "data": {name: None if frame is None else frame.to_dict("records") for name, frame in frames.items()},
    }
    return {key: plain(value) for key, value in found.items()}


def _block(block: Any) -> dict[str, Any]:
    fields = {field.name: getattr(block, field.name) for field in dataclasses.fields(block) if field.name != "draw"}
    return {"kind": "figure" if isinstance(block, Sketch) else type(block).__name__.lower(), **fields}
