"""Write a notebook for each tutorial, with the code and results of its page: ``python docs/make_notebooks.py``."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
PAGES = sorted((HERE / "tutorials").glob("*.md"))

#: Paths in the tutorials start at the root of a clone.
AT_ROOT = """\
import os
from pathlib import Path

here = Path.cwd()
os.chdir(next(folder for folder in (here, *here.parents) if (folder / "studies").is_dir()))"""


def notebook_path(page: Path) -> Path:
    """Where the notebook of a page is kept."""
    return HERE / "notebooks" / f"{page.stem}.ipynb"


def notebook(page: Path) -> str:
    """A page as a notebook, in JSON."""
    from nbformat import v4, validate, writes

    cells = [v4.new_code_cell(AT_ROOT)]
    for part in re.split(r"^(```python\n.*?^```\n)", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE):
        if part.startswith("```python\n"):
            cells += [v4.new_code_cell(code, outputs=shown(result)) for code, result in examples(part)]
        else:
            cells.append(v4.new_markdown_cell(from_notebook(part.strip())))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"  # otherwise drawn at random
    whole = v4.new_notebook(cells=[cells[1], cells[0], *cells[2:]], metadata={"language_info": {"name": "python"}})
    validate(whole)
    return f"{writes(whole)}\n"


def examples(block: str) -> Iterator[tuple[str, str]]:
    """Code and what it shows: a cell ends where an example has a result."""
    sources = []
    for example in doctest.DocTestParser().get_examples(block):
        sources.append(example.source)
        if example.want:
            yield "".join(sources).rstrip(), example.want
            sources = []
    if sources:
        yield "".join(sources).rstrip(), ""


def shown(result: str) -> list[object]:
    """The output of a cell; the tests of the page vouch for it."""
    from nbformat import v4

    return [v4.new_output("stream", text=result)] if result else []


def from_notebook(text: str) -> str:
    """Prose whose links to neighbours of the page lead there from the folder of notebooks."""
    return re.sub(r"\]\((?=[^)/#]+\))", "](../tutorials/", text)


if __name__ == "__main__":
    for tutorial in PAGES:
        notebook_path(tutorial).write_text(notebook(tutorial), encoding="utf-8")
