"""The reference algorithm: the design problem as a semidefinite program, through cvxpy.

The information M_k of a block is the largest matrix with ``[M_k 0; 0 0] ⪯ G_k``, where G_k is the information of an
extended linear model in β and the random coefficients θ_q of every quadrature node; it is linear in the masses. With
S ⪯ (Lᵀ M⁻¹ L)⁻¹, that is M ⪰ L S Lᵀ, the criterion is −log det S or trace S⁻¹. Its size grows with the number of
nodes, so it serves to check small problems.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from optdesign.covariance.nested import NestedInformation, averaged, information_of, two_term
from optdesign.criteria import Part
from optdesign.errors import ConvergenceError, SpecificationError
from optdesign.goals import Determinant, Goal, Trace
from optdesign.optimize.choices import one_factor
from optdesign.optimize.interior import Iterate
from optdesign.optimize.problem import Problem

Array = npt.NDArray[np.float64]

#: Share of what the budget buys that every mass is lifted to before sensitivities are taken.
LIFT = 1e-9
#: Clarabel's defaults leave a trace criterion short of the fifth digit.
TIGHT = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}


def solve(problem: Problem, progress: Callable[[int, float], None] | None = None) -> Iterate:
    """Minimise the loss with a conic solver; SCS takes over where Clarabel fails on a log-determinant."""
    if not one_factor(problem.model, problem.space.layout) or problem.space.candidates.by is not None:
        raise SpecificationError(
            "method 'semidefinite' knows one grouping factor and free candidates: use method='interior-point'."
        )
    import cvxpy as cp

    (part,) = _elementary(problem)
    rows = information_of(problem.rows[0], problem.order)
    y = cp.Variable(len(problem.price), nonneg=True)
    lower = cp.Variable((part.combinations.shape[1],) * 2, PSD=True)
    informations, conditions = _information_conditions(cp, problem, rows, y)
    L = part.combinations
    conditions += [sum(informations) >> L @ lower @ L.T, *_linear(problem, y)]
    program = cp.Problem(_goal(cp, part.goal, lower), conditions)
    _run(cp, program)
    z = np.maximum(np.asarray(y.value), LIFT) * problem.scale
    evaluation = problem.evaluate([rows.whole], z)
    steps = int(program.solver_stats.num_iters or 0)
    if progress is not None:
        progress(steps, 0.0)
    return Iterate(z, evaluation.gain, evaluation.at.bound(evaluation.at.own), steps)


def _elementary(problem: Problem) -> tuple[Part, ...]:
    parts = problem.working.parts
    if len(parts) > 1 or problem.already is not None:
        raise SpecificationError(
            "method 'semidefinite' is a reference for one elementary criterion and designs from nothing: use "
            "method='interior-point'."
        )
    return parts


def _goal(cp: Any, goal: Goal, lower: Any) -> Any:
    """The criterion of (LᵀM⁻¹L)⁻¹ ⪰ S."""
    if isinstance(goal, Determinant):
        return cp.Maximize(cp.log_det(lower))
    return cp.Minimize(cp.tr_inv(lower)) if isinstance(goal, Trace) else cp.Maximize(cp.lambda_min(lower))


def _run(cp: Any, program: Any) -> None:
    """Solve with the most accurate solver that manages; cvxpy's own warnings say no more than its status."""
    for solver, options in ((cp.CLARABEL, TIGHT), (cp.CLARABEL, {}), (cp.SCS, {"eps": 1e-9, "max_iters": 100_000})):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                program.solve(solver=solver, **options)
        except cp.error.SolverError:
            continue
        if program.status == cp.OPTIMAL:
            return
    if program.status != cp.OPTIMAL_INACCURATE:
        raise ConvergenceError(
            f"no conic solver solved the semidefinite program (last status: {program.status}). It is a reference for "
            "small problems: use method='interior-point'."
        )


def _linear(problem: Problem, y: Any) -> list[Any]:
    c = problem.constraints
    conditions = []
    if len(c.upper):
        size = np.maximum(np.abs(c.matrix @ np.diag(problem.scale)).max(axis=1), 1e-300)
        conditions.append(np.diag(1 / size) @ (c.matrix @ np.diag(problem.scale)) @ y <= c.upper / size)
    if len(c.level):
        conditions.append((c.equal @ np.diag(problem.scale)) @ y == c.level)
    return conditions


def _natural_unit(problem: Problem, rows: NestedInformation) -> float:
    """Information on a coefficient that the budget buys when it is spread evenly over all masses.

    Solvers compare gaps with one where the criterion is below one, and would stop digits short of a small variance;
    measured in this unit the information, and with it a trace of variances, is of order one.
    """
    even = problem.scale / len(problem.scale)
    information = rows.whole.at(even[: problem.n_types], even[problem.n_types :]).information
    return float(np.diag(information).mean())


def _information_conditions(cp: Any, problem: Problem, rows: NestedInformation, y: Any) -> tuple[list[Any], list[Any]]:
    """One information matrix per block, in a natural unit, and the conditions that keep it below what masses give."""
    blocks, unit = rows.blocks, _natural_unit(problem, rows)
    p = blocks.X.shape[2]
    informations, conditions = [], []
    for k in range(len(blocks.X)):
        parts = _extended(rows, k)
        size = parts[0][1].shape[0]
        total = sum(problem.scale[i] / unit * y[i] * matrix for i, matrix in parts)
        information = cp.Variable((p, p), symmetric=True)
        embed = np.eye(size)[:, :p]
        conditions.append(total - embed @ information @ embed.T >> 0)
        informations.append(information)
    return informations, conditions


def _extended(rows: NestedInformation, k: int) -> list[tuple[int, Array]]:
    """The extended model's information as (mass, matrix) pairs; parameters β, then θ of every node."""
    blocks = rows.blocks
    p, busy = blocks.X.shape[2], np.flatnonzero(blocks.idle[k] == 0)
    nodes, r = len(blocks.node_weight), len(busy)
    parts = [(int(blocks.unit[k]), blocks.prob[k] * _penalty(rows, k, busy))]
    for i in np.flatnonzero(blocks.share[k] > 0):
        matrix = np.zeros((p + nodes * r,) * 2)
        for q, node in enumerate(blocks.node_weight):
            row = np.zeros(p + nodes * r)
            row[:p] = blocks.X[k, i]
            row[p + q * r : p + (q + 1) * r] = -blocks.Z[k, i, busy]
            matrix += node * blocks.weight[k, q, i] * np.outer(row, row)
        parts.append((rows.n_units + int(blocks.atom[k, i]), blocks.share[k, i] * matrix))
    return parts


def _penalty(rows: NestedInformation, k: int, busy: npt.NDArray[np.intp]) -> Array:
    """What one unit adds: the prior of the random coefficients, or the leading order's unit-level information."""
    blocks = rows.blocks
    p, node, r = blocks.X.shape[2], blocks.node_weight, len(busy)
    matrix = np.zeros((p + len(node) * r,) * 2)
    if rows.rule is two_term:
        precision = np.linalg.inv(blocks.sigma[k][np.ix_(busy, busy)])
        matrix[p:, p:] = np.kron(np.outer(node, node), precision)
    elif rows.rule is averaged:
        matrix[p:, p:] = np.kron(np.diag(node), np.eye(r))
    else:
        matrix[:p, :p] = blocks.absorbed[k].T @ blocks.absorbed[k]
    return matrix
