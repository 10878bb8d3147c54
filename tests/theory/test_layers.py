"""Imports point down the floors of the architecture only, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "optdesign"
FLOORS = {
    7: ("cli", "app"),
    6: ("study", "report", "plotting"),
    5: ("cheapest", "compare", "inference", "simulate", "tradeoffs"),
    4: ("draws", "optimize", "fit"),
    3: ("criteria", "goals"),
    2: ("covariance",),
    1: (
        "models",
        "designs",
        "units",
        "listing",
        "realised",
        "incidence",
        "layouts",
        "measures",
        "costs",
        "formula",
        "masses",
        "schedules",
    ),
    0: ("families", "quadrature", "linalg", "errors", "interrupts"),
}
FLOOR_OF = {name: floor for floor, names in FLOORS.items() for name in names}
HOMES = {
    "matplotlib": lambda module: FLOOR_OF[module] >= 6,
    "cvxpy": lambda module: module == "optimize",
    "glmm": lambda module: module == "fit",
}


def package_files():
    """Every module but the package's own table of lazy names and ``python -m optdesign``."""
    return [path for path in sorted(ROOT.rglob("*.py")) if path.parent != ROOT or not path.name.startswith("__")]


def module_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(tree, path):
    """(line, dotted name) of every import in a file, those inside functions included; relative ones made absolute."""
    package = ["optdesign", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def broken_rules(tree, path):
    """A sentence for each import that breaks a rule."""
    here = module_of(path)
    for line, name in imported(tree, path):
        top, _, rest = name.partition(".")
        where = f"{path.relative_to(ROOT.parent)}:{line} imports {name}"
        target = rest.partition(".")[0]
        if top == "optdesign" and target in FLOOR_OF and FLOOR_OF[target] > FLOOR_OF[here]:
            yield f"{where}: floor {FLOOR_OF[here]} may not know floor {FLOOR_OF[target]}"
        elif top == "optdesign" and target not in FLOOR_OF and target != "__version__":
            yield f"{where}: import from the module that defines it, so that its floor can be seen"
        elif top in HOMES and not HOMES[top](here):
            yield f"{where}: {top} has no place in '{here}'"


@pytest.mark.parametrize("path", package_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    assert module_of(path) in FLOOR_OF, f"{path} is on no floor: add it to the table"
    assert list(broken_rules(ast.parse(path.read_text(encoding="utf-8")), path)) == []


@pytest.mark.parametrize(
    ("module", "code", "complaint"),
    [
        ("models.py", "from optdesign.covariance import covariance", "floor 1 may not know floor 2"),
        ("models.py", "def f():\n    import optdesign.optimize.interior", "floor 1 may not know floor 4"),
        ("linalg.py", "from . import models", "floor 0 may not know floor 1"),
        ("covariance/nested.py", "from ..criteria import DOptimality", "floor 2 may not know floor 3"),
        ("designs.py", "from optdesign import Measure", "import from the module that defines it"),
        ("inference.py", "import matplotlib.pyplot as plt", "matplotlib has no place in 'inference'"),
        ("criteria.py", "def f():\n    import cvxpy", "cvxpy has no place in 'criteria'"),
        ("simulate.py", "from glmm import Model", "glmm has no place in 'simulate'"),
    ],
)
def test_breaking_a_rule_is_seen(module, code, complaint):
    (message,) = broken_rules(ast.parse(code), ROOT / module)
    assert complaint in message


@pytest.mark.parametrize(
    ("module", "code"),
    [
        ("optimize/interior.py", "import cvxpy"),
        ("fit/ml.py", "import glmm"),
        ("report/figures.py", "import matplotlib.pyplot"),
        ("cli.py", "from optdesign.study import load_study"),
        ("covariance/nested.py", "from .encoded import EncodedRows"),
        ("designs.py", "from optdesign.measures import Measure"),
    ],
)
def test_keeping_the_rules_is_not_complained_about(module, code):
    assert list(broken_rules(ast.parse(code), ROOT / module)) == []
