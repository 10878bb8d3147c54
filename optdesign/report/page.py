"""The page of a report: its document, handed to the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from optdesign import __version__

if TYPE_CHECKING:
    from optdesign.report.document import Document


def render(report: Document, pictures: Mapping[str, Markup]) -> str:
    """The page as HTML; whatever came from the user is escaped by the template."""
    environment = Environment(
        loader=PackageLoader("optdesign.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["of_kind"] = lambda block, name: type(block).__name__ == name
    template = environment.get_template("index.html.j2")
    return template.render(version=__version__, pictures=pictures, report=report)
