"""How time grows with the number of candidates, quadrature nodes, coefficients and group types, and the picture of it.

A row's task is ``what grows: the model`` and its case the size; the picture has a panel per thing that grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

import optdesign as od
from benchmarks.timing import Timing, timed
from optdesign.optimize import interior
from optdesign.optimize.problem import make_problem

Asked = dict[str, Any]

SIGMA = [[0.5, 0.1], [0.1, 0.25]]
LINES = (201, 1_001, 10_001, 100_001, 1_000_001)
CUBES = (11, 21, 46, 100)
NODES = (3, 5, 7, 11, 17, 25)
COEFFICIENTS = (2, 4, 8, 16, 32)
TYPES = (2, 8, 32, 128)
COLOURS = ("#0072b2", "#d55e00")


def candidates_of_a_mixed_model(runs: int) -> list[Timing]:
    """Candidates on a line: counts with a random intercept and slope, three coefficients, D."""
    return _optimised("candidates: Poisson, random intercept and slope", LINES, _counts, runs)


def candidates_of_a_linear_model(runs: int) -> list[Timing]:
    """Candidates in a cube: quadratic in three factors, ten coefficients, D."""
    sizes = [side**3 for side in CUBES]
    return _optimised("candidates: linear, quadratic in three factors", sizes, _cube, runs)


def nodes(runs: int) -> list[Timing]:
    """Quadrature nodes in all: the search alone, since a plan chooses its own number."""
    problem = make_problem(**_counts(201))

    def solved(per_effect: int) -> Callable[[], object]:
        return lambda: interior.solve(replace(problem, nodes=per_effect))

    task = "quadrature nodes: Poisson, random intercept and slope"
    return [Timing(task, str(n**2), timed(solved(n), runs)[0]) for n in NODES]


def coefficients(runs: int) -> list[Timing]:
    """Coefficients: binary responses with a random intercept, as many factors less one, 2,000 candidates, D."""
    return _optimised("coefficients: Bernoulli, random intercept", COEFFICIENTS, _factors, runs)


def group_types(runs: int) -> list[Timing]:
    """Group types: doses given to whole units, 11 points within each, counts with a random intercept, D."""
    return _optimised("group types: Poisson, random intercept", TYPES, _doses, runs)


ALL = (candidates_of_a_mixed_model, candidates_of_a_linear_model, nodes, coefficients, group_types)


def _optimised(task: str, sizes: Iterable[int], asked: Callable[[int], Asked], runs: int) -> list[Timing]:
    """`optimize` at each size, warmed up by the smallest."""
    smallest, *_ = sizes = tuple(sizes)
    return [_timing(task, size, asked(size), asked(smallest), runs) for size in sizes]


def _timing(task: str, size: int, asked: Asked, warm_up: Asked, runs: int) -> Timing:
    seconds, best = timed(lambda: od.optimize(**asked), runs, lambda: od.optimize(**warm_up))
    bound = np.floor(best.certificate.efficiency_bound * 1e8) / 1e8
    return Timing(task, str(size), seconds, f"efficiency >= {bound}")


def _asked(model: od.MixedModel, nominal: od.NominalValues, space: od.DesignSpace, cost: od.Cost) -> Asked:
    return {
        "model": model,
        "nominal": nominal,
        "space": space,
        "criterion": od.DOptimality(),
        "cost": cost,
        "budget": 1000.0,
        "order": "two-term",
    }


def _counts(points: int) -> Asked:
    model = od.MixedModel("y ~ x + I(x**2) + (1 + x | g)", "poisson")
    candidates = od.Candidates.grid(x=np.linspace(-1, 1, points))
    space = od.DesignSpace(od.Nested("g"), candidates, replicates=(2, 60))
    return _asked(model, od.NominalValues([0.5, -0.3, 0.2], {"g": SIGMA}), space, od.Cost({"g": 10.0}, 1.0))


def _cube(points: int) -> Asked:
    axis = np.linspace(-1, 1, round(points ** (1 / 3)))
    model = od.MixedModel("y ~ (a + b + c)**2 + I(a**2) + I(b**2) + I(c**2)")
    space = od.DesignSpace(None, od.Candidates.grid(a=axis, b=axis, c=axis))
    return _asked(model, od.NominalValues([0.0] * 10), space, od.Cost(observation=1.0))


def _factors(size: int) -> Asked:
    names = [f"x{i}" for i in range(1, size)]
    points = np.random.default_rng(1).uniform(-1, 1, (2_000, size - 1))
    model = od.MixedModel(f"y ~ {' + '.join(names)} + (1 | g)", "bernoulli")
    candidates = od.Candidates.from_frame(pd.DataFrame(points, columns=names))
    space = od.DesignSpace(od.Nested("g"), candidates, replicates=(2, 60))
    return _asked(model, od.NominalValues([-0.5] + [0.2] * (size - 1), {"g": 0.5}), space, od.Cost({"g": 10.0}, 1.0))


def _doses(types: int) -> Asked:
    model = od.MixedModel("y ~ dose + x + dose:x + (1 | g)", "poisson")
    candidates = od.Candidates.grid(dose=np.linspace(0, 1, types), x=np.linspace(-1, 1, 11))
    space = od.DesignSpace(od.Nested("g"), candidates, levels={"dose": "g"}, replicates=(2, 60))
    return _asked(model, od.NominalValues([0.5, -0.3, 0.2, 0.1], {"g": 0.5}), space, od.Cost({"g": 10.0}, 1.0))


def draw(table: Path, picture: Path) -> None:
    """The picture of a table of growth."""
    rows = pd.read_csv(table, comment="#")
    grows, model = (rows["task"].str.split(": ").str[part] for part in (0, 1))
    panels = list(rows.groupby(grows, sort=False))
    figure = Figure(figsize=(3.2 * len(panels), 3.4), layout="constrained")
    for ax, (name, part) in zip(np.atleast_1d(figure.subplots(1, len(panels), sharey=True)), panels, strict=True):
        for colour, (label, line) in zip(COLOURS, part.groupby(model, sort=False), strict=False):
            _line(ax, line, label, colour)
        ax.set(xscale="log", yscale="log", xlabel=name)
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=7, loc="upper left")
    figure.axes[0].set_ylabel("seconds (dashed: in proportion to size)")
    figure.savefig(picture, dpi=150)


def _line(ax: Axes, line: pd.DataFrame, label: str, colour: str) -> None:
    """Medians, the spread of the runs, and growth in proportion from the last size back."""
    size, median = line["case"].astype(float), line["median_s"]
    spread = [median - line["min_s"], line["max_s"] - median]
    ax.errorbar(size, median, yerr=spread, color=colour, marker="o", markersize=4, linewidth=1.4, label=label)
    ax.plot(size, median.iloc[-1] * size / size.iloc[-1], color=colour, linewidth=0.8, linestyle="--")
