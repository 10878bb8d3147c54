"""Write the reference, from the docstrings of all public names: ``python docs/make_reference.py``."""

import functools
import importlib
import inspect
from pathlib import Path

import optdesign

HERE = Path(__file__).parent
PAGE = HERE / "reference.md"
INTRODUCTION = """\
# Reference

Every public name, with what it is. Parameters, results, formulas, errors and an example are in its docstring:
`help(optdesign.optimize)`. Figures are in the [gallery](gallery.md), keys of study files on
[their page](study-file.md), and commands say what they do with `optdesign --help`. This page is written by
`docs/make_reference.py`.
"""


def reference() -> str:
    """The whole page: a section for each module."""
    homes = sorted({home_of(name) for name in optdesign.__all__})
    return "\n".join([INTRODUCTION, *(section(home) for home in homes)])


def home_of(name: str) -> str:
    """The module that a public name is imported from."""
    return f"optdesign.{optdesign._HOME_OF[name]}"


def section(home: str) -> str:
    """What a module is for, and its public names."""
    module = importlib.import_module(home)
    source = Path(module.__file__).relative_to(Path(optdesign.__file__).parents[1])
    names = [name for name in optdesign.__all__ if home_of(name) == home]
    head = f"## [`{home}`](../{source.as_posix()})\n\n{summary(module)}\n"
    return "\n".join([head, *(entry(name, getattr(optdesign, name)) for name in names)])


def entry(name: str, thing: object) -> str:
    """A name, how it is called and the first paragraph of its docstring; of a class, its members too."""
    lines = [f"### `{name}`\n\n```text\n{called(name, thing)}\n```\n\n{summary(thing)}\n"]
    if inspect.isclass(thing):
        lines += [f"* `{called(member, part)}`: {summary(part)}" for member, part in members(thing)] + [""]
    return "\n".join(lines).replace("\n\n\n", "\n\n")


def members(kind: type) -> list[tuple[str, object]]:
    """Public methods and properties that a class has of its own."""
    kinds = (classmethod, staticmethod, property, functools.cached_property)
    own = [(name, inspect.getattr_static(kind, name)) for name in vars(kind) if not name.startswith("_")]
    return [
        (name, part) for name, part in own if (inspect.isfunction(part) or isinstance(part, kinds)) and part.__doc__
    ]


def called(name: str, thing: object) -> str:
    """A name with its parameters and their defaults; types are in the docstrings."""
    function = getattr(thing, "__func__", thing)
    if not callable(function) or (inspect.isclass(thing) and issubclass(thing, BaseException | Warning)):
        return name
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name not in ("self", "cls")]
    shown = signature.replace(parameters=parameters, return_annotation=signature.empty)
    return f"{name}{shown}".replace("<factory>", "...")


def summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
