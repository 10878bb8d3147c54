"""What is timed. Each task takes the number of runs, and gives a row for each of its cases."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import optdesign as od
from benchmarks.timing import Timing, timed
from optdesign.optimize import interior, semidefinite
from optdesign.optimize.problem import Problem, make_problem

ROOT = Path(__file__).resolve().parents[1]
CRITERIA = {"D": od.DOptimality(), "A": od.AOptimality(), "c": od.COptimality({"x": 1.0})}
SIGMA = [[0.5, 0.1], [0.1, 0.25]]
#: Quadrature nodes per random effect of the semidefinite program, squared in all; its time grows steeply with them.
REFERENCE_NODES = {"D": 7, "A": 5, "c": 5}


def _asked(points: int, criterion: str) -> dict[str, Any]:
    """Poisson counts with a random intercept and slope: units at 10, observations at 1, for 1,000."""
    return {
        "model": od.MixedModel("y ~ x + I(x**2) + (1 + x | g)", family="poisson"),
        "nominal": od.NominalValues([0.5, -0.3, 0.2], {"g": SIGMA}),
        "space": od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, points)), replicates=(2, 60)),
        "criterion": CRITERIA[criterion],
        "cost": od.Cost({"g": 10.0}, 1.0),
        "budget": 1000.0,
        "order": "two-term",
    }


def optimiser(runs: int) -> list[Timing]:
    """Default optimiser, from the formula to the certified design, and with rounding to whole numbers."""
    return [each for points in (201, 10_001) for criterion in CRITERIA for each in _optimised(points, criterion, runs)]


def _optimised(points: int, criterion: str, runs: int) -> list[Timing]:
    seconds, best = timed(lambda: od.optimize(**_asked(points, criterion)), runs)
    case = f"{criterion}, {points:,} candidates, {best.problem.nodes**2} nodes"
    whole, exact = timed(lambda: od.optimize(**_asked(points, criterion)).rounded, runs)
    return [
        Timing("optimize", case, seconds, f"efficiency >= {_floored(best.certificate.efficiency_bound)}"),
        Timing("optimize and round", case, whole, f"efficiency >= {_floored(exact.efficiency_bound)}"),
    ]


def search(runs: int) -> list[Timing]:
    """Search and certificate on 49 nodes, up to a million candidates."""
    return [_searched(points, runs if points < 10**6 else 1) for points in (201, 10_001, 1_000_001)]


def _searched(points: int, runs: int) -> Timing:
    problem = replace(make_problem(**_asked(points, "D")), nodes=7)
    seconds, found = timed(lambda: interior.solve(_fresh(problem)), max(runs, 1), lambda: None)
    proven = problem.priced(found.gain, found.multipliers, found.levels) or problem.most(found.gain)
    result = f"efficiency >= {_floored(1.0 / proven[0])}, peak memory {_peak_memory():.1f} GB"
    return Timing("search", f"D, {points:,} candidates, 49 nodes", seconds, result)


def _peak_memory() -> float:
    """Of this process so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _floored(bound: float) -> float:
    return float(np.floor(bound * 1e8) / 1e8)


def reference(runs: int) -> list[Timing]:
    """Semidefinite program on 21 candidates, and the default algorithm on the same problem (minutes)."""
    return [timing for criterion in CRITERIA for timing in _both(criterion, runs)]


def _both(criterion: str, runs: int) -> list[Timing]:
    nodes = REFERENCE_NODES[criterion]
    small, problem = (replace(make_problem(**_asked(21, criterion)), nodes=n) for n in (3, nodes))
    fast, found = timed(lambda: interior.solve(_fresh(problem)), runs)
    slow, proof = timed(lambda: semidefinite.solve(_fresh(problem)), 3, lambda: semidefinite.solve(small))
    case = f"{criterion}, 21 candidates, {nodes**2} nodes"
    gap = np.log(problem.most(found.gain)[0])
    return [
        Timing("interior-point", case, fast, f"efficiency >= {_floored(float(np.exp(-gap)))}"),
        Timing("semidefinite", case, slow, f"criterion difference {_criterion(problem, proof, found):.1e}"),
    ]


def _fresh(problem: Problem) -> Problem:
    """The same problem without what it has computed so far."""
    return replace(problem)


def _criterion(problem: Problem, one: interior.Iterate, other: interior.Iterate) -> float:
    """Difference of two criterion values: of log-determinants, or of the logarithms of traces."""
    return (one.bound - other.bound) * problem.criterion.size


FACTORS = "a + b + c + a:b + a:c + b:c + I(a**2) + I(b**2) + I(c**2)"


def three_factors(runs: int) -> list[Timing]:
    """Quadratic in three factors on 9,261 points, without random effects: in all, and without rounding."""
    case = "D, 3-factor quadratic, 9,261 candidates"
    seconds, best = timed(lambda: od.optimize(**_three_factors()), runs)
    value = -best.value - 10 * np.log(1000.0)
    found = f"log det M {value:.6f}, efficiency >= {_floored(best.certificate.efficiency_bound)}"
    search, answer = timed(lambda: interior.solve(make_problem(**_three_factors())), runs)
    value = -10 * answer.bound - 10 * np.log(1000.0)
    return [
        Timing("optimize", case, seconds, found),
        Timing("interior-point", case, search, f"log det M {value:.6f}"),
    ]


def _three_factors() -> dict[str, Any]:
    axis = np.linspace(-1, 1, 21)
    return {
        "model": od.MixedModel(f"y ~ {FACTORS}"),
        "nominal": od.NominalValues([0.0] * 10),
        "space": od.DesignSpace(None, od.Candidates.grid(a=axis, b=axis, c=axis)),
        "criterion": od.DOptimality(),
        "cost": od.Cost(observation=1.0),
        "budget": 1000.0,
        "order": "two-term",
    }


def three_factors_against_cvxpy(runs: int) -> list[Timing]:
    """Quadratic in three factors on 9,261 points, and the log-determinant over the weights given to cvxpy."""
    ours, search = three_factors(runs)
    seconds, value = timed(_three_factors_by_cvxpy, max(3, runs // 2))
    theirs = Timing("cvxpy, SCS", ours.case, seconds)
    ratios = f"{theirs.median / ours.median:.2f} x optimize, {theirs.median / search.median:.2f} x interior-point"
    return [ours, search, replace(theirs, result=f"log det M {value:.6f}, {ratios}")]


def _three_factors_by_cvxpy() -> float:
    """The value at the weights found, scaled to sum to one; solver and tolerance are cvxpy's usual ones."""
    import cvxpy as cp

    axis = np.linspace(-1, 1, 21)
    a, b, c = (v.ravel() for v in np.meshgrid(axis, axis, axis, indexing="ij"))
    X = np.column_stack([np.ones_like(a), a, b, c, a * b, a * c, b * c, a**2, b**2, c**2])
    products = (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)
    weights = cp.Variable(len(X), nonneg=True)
    information = cp.reshape(products.T @ weights, (10, 10), order="C")
    cp.Problem(cp.Maximize(cp.log_det(information)), [cp.sum(weights) == 1]).solve(solver=cp.SCS)
    w = np.maximum(np.asarray(weights.value), 0.0)
    return float(np.linalg.slogdet(X.T @ (X * (w / w.sum())[:, None]))[1])


def whole_numbers(runs: int) -> list[Timing]:
    """Plans in whole numbers with their proofs: stepped wedges of twelve clusters, and exact designs of a few runs."""
    asked = {
        "stepped wedge, 12 clusters, 1 per cell": _wedge(1),
        "stepped wedge, 12 clusters, 10 per cell": _wedge(10),
        "D, 2-factor quadratic, 9 runs": _runs("(a + b)**2 + I(a**2) + I(b**2)", 2, 9),
        "D, 3-factor quadratic, 20 runs": _runs(FACTORS, 3, 20),
    }
    return [_whole(case, each, runs) for case, each in asked.items()]


def _whole(case: str, asked: dict[str, Any], runs: int) -> Timing:
    both, plan = timed(lambda: od.optimize(**asked).rounded, runs)
    alone, _ = timed(lambda: od.optimize(**asked), runs)
    bounds = f"efficiency >= {plan.efficiency_bound:.5f}, of whole plans >= {_floored(plan.whole_bound)}"
    return Timing("whole numbers", case, both, f"value {plan.value:.10g}, {bounds}, {np.median(alone):.3f} s without")


def _wedge(per_cell: int) -> dict[str, Any]:
    """Six sequences of five periods, cluster and cluster-period variances .25 and .05."""
    rows = [(k, t, int(t > k)) for k in range(6) for t in range(1, 6)]
    profiles = od.Candidates.profiles(pd.DataFrame(rows, columns=["sequence", "period", "treat"]), by="sequence")
    return {
        "model": od.MixedModel("y ~ treat + C(period) + (1 | cluster) + (1 | cluster:period)"),
        "nominal": od.NominalValues([0.0] * 6, {"cluster": 0.25, "cluster:period": 0.05}, 1.0),
        "space": od.DesignSpace(od.Nested("cluster"), profiles, replicates=per_cell),
        "criterion": od.COptimality({"treat": 1.0}),
        "cost": od.Cost({"cluster": 1.0}),
        "budget": 12.0,
        "order": "exact",
    }


def _runs(terms: str, factors: int, runs: int) -> dict[str, Any]:
    """Exact designs of a linear model on three levels of each factor."""
    size = 1 + 2 * factors + factors * (factors - 1) // 2
    return {
        "model": od.MixedModel(f"y ~ {terms}"),
        "nominal": od.NominalValues([0.0] * size),
        "space": od.DesignSpace(None, od.Candidates.grid(**{name: [-1, 0, 1] for name in "abc"[:factors]})),
        "criterion": od.DOptimality(),
        "cost": od.Cost(observation=1.0),
        "budget": float(runs),
    }


def covariances(runs: int) -> list[Timing]:
    """Two-term covariance, with one and with two random effects: all new, with other counts, and the same again."""
    cases = {"scalar U": ("(1 | g)", 0.5), "two-dimensional U": ("(1 + x | g)", SIGMA)}
    return [
        timing
        for name, case in cases.items()
        for points in (21, 64)
        for timing in _covariance(name, *case, points, runs)
    ]


def _covariance(name: str, random: str, sigma: Any, points: int, runs: int) -> list[Timing]:
    def measure() -> od.Measure:
        return od.Measure.grid(x=np.linspace(-1, 1, points))

    def believed() -> tuple[od.MixedModel, od.NominalValues]:
        return od.MixedModel(f"y ~ x + {random}", "poisson"), od.NominalValues([0.5, -0.3], {"g": sigma})

    def design(units: int, law: od.Measure) -> od.Design:
        return od.Design(od.Nested("g"), counts={"g": units}, replicates=20, measure=law)

    same, law, times = believed(), measure(), 4 * runs
    others = iter([design(units, law) for units in range(61, 62 + times)])
    once = design(60, law)
    first, _ = timed(lambda: od.covariance(*believed(), design(60, measure())), times)
    counts, _ = timed(lambda: od.covariance(*same, next(others)), times)
    again, cov = timed(lambda: od.covariance(*same, once), times)
    errors = "standard errors " + ", ".join(f"{e:.6f}" for e in cov.standard_errors)
    case = f"{name}, {points} points"
    return [
        Timing("covariance, first call", case, first, errors),
        Timing("covariance, other counts", case, counts),
        Timing("covariance, repeated", case, again, errors),
    ]


def layouts(runs: int) -> list[Timing]:
    """Covariances of crossed designs, exact information, and the shape of a log of ten million rows."""
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "bernoulli")
    guess = od.NominalValues([-0.5, 1.0], {"s": 0.8, "i": 0.5})
    measure = od.Measure.grid(x=[-1, 0, 1])
    designs = iter(_crossed(units, measure) for units in range(40, 41 + 4 * runs))
    crossed, _ = timed(lambda: od.covariance(model, guess, next(designs)), 4 * runs)
    one = od.MixedModel("y ~ arm + (1 | g)", "bernoulli")
    believed = od.NominalValues([-1.5, 0.6], {"g": 0.5})
    arms = {"measure": od.Measure.grid(arm=[0, 1]), "levels": {"arm": "g"}}
    exact, _ = timed(
        lambda: od.covariance(
            one, believed, od.Design(od.Nested("g"), counts={"g": 40}, replicates=20, **arms), "exact"
        ),
        runs,
    )
    log, linear = _log(10_000_000), od.MixedModel("y ~ arm + x + (1 | user) + (1 | item)")
    frame, _ = timed(
        lambda: od.covariance_of_frame(linear, od.NominalValues([0, 0, 0], {"user": 0.1, "item": 0.2}), log), 1
    )
    return [
        Timing("covariance, crossed", "logistic, random intercepts, other counts", crossed),
        Timing("covariance, exact", "two arms of binary clusters of 20", exact),
        Timing("covariance of a frame", "10,000,000 rows, two crossed factors", frame),
    ]


def _crossed(units: int, measure: od.Measure) -> od.Design:
    return od.Design(od.Crossed("s", "i"), counts={"s": units, "i": 40}, replicates=1, measure=measure)


def _log(rows: int) -> pd.DataFrame:
    """A log of users and items whose activities have heavy tails."""
    rng = np.random.default_rng(1)
    user, item = rng.zipf(1.3, rows) % 1_000_000, (rng.pareto(1.2, rows) * 50).astype(int) % 100_000
    return pd.DataFrame({"user": user, "item": item, "arm": user * 2654435761 % 97 % 2, "x": rng.integers(0, 5, rows)})


def cold_starts(runs: int) -> list[Timing]:
    """Fresh interpreters: the bare one, the import, the command's help, and each study to its report."""
    cases = {
        "python, nothing imported": ["-c", "pass"],
        "import optdesign": ["-c", "import optdesign"],
        "optdesign --help": ["-m", "optdesign.cli", "--help"],
    }
    rows = [
        Timing("cold start", case, timed(lambda a=arguments: _python(a), runs)[0]) for case, arguments in cases.items()
    ]
    with tempfile.TemporaryDirectory() as folder:
        for study in sorted((ROOT / "studies").glob("*/study.toml")):
            out = str(Path(folder, study.parent.name))
            arguments = ["-m", "optdesign.cli", "run", str(study), "--out", out]
            seconds, _ = timed(lambda a=arguments: _python(a), runs)
            rows.append(Timing("cold start", f"optdesign run studies/{study.parent.name} --out", seconds))
    return rows


def _python(arguments: list[str]) -> None:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": path})


ALL = (search, cold_starts, covariances, layouts, optimiser, whole_numbers, three_factors_against_cvxpy, reference)
QUICK = (search, cold_starts, covariances, layouts, optimiser, whole_numbers, three_factors)
