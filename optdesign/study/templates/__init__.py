"""Study files to begin with: one TOML file each, whose comments say what to put in its place."""

from __future__ import annotations

from importlib import resources

from optdesign.errors import SpecificationError, listed, nearest


def names() -> tuple[str, ...]:
    """The names of the templates.

    >>> names()
    ('cluster-trial', 'dose-response', 'longitudinal', 'readers-cases', 'subjects-items')
    """
    files = (file.name for file in resources.files(__name__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml")))


def text(name: str) -> str:
    """A template, word for word.

    Raises
    ------
    SpecificationError
        For a name that is none; the message names the nearest.

    Examples
    --------
    >>> text("cluster-trial").splitlines()[0]
    '# A cluster trial: whole clusters are given one of two arms.'
    >>> text("cluster")
    Traceback (most recent call last):
    optdesign.errors.SpecificationError: there is no template 'cluster'. Did you mean 'cluster-trial'? Known: ...
    """
    if name not in names():
        raise SpecificationError(f"there is no template '{name}'.{nearest(name, names())} Known: {listed(names())}.")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")


def heading(name: str) -> str:
    """What a template is about: its first line.

    >>> heading("dose-response")
    'Dose and response in clinics: which doses, and how many patients at each.'
    """
    return text(name).splitlines()[0].removeprefix("# ")
