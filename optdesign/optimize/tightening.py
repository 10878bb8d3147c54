"""Bounds that leave no room: those that hold with equality in every admissible design, and masses that are zero.

Two shares of at least a half are both a half; a total of at most zero forbids its points; a budget that just buys the
smallest design is spent. An interior point has nothing to move in there. One linear program finds what is so
everywhere: over (z, α) with α ≥ 1, constraints A z + t ≤ α b and z ≥ u, it makes as many of the slacks t and u as
possible one. In the homogeneous form any slack that can be positive can be one, and all at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.linalg
import scipy.sparse as sp
from scipy.optimize import linprog

from optdesign.optimize.problem import LinearConstraints, Problem

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Largest multiple of the constraints that is looked at, and slack below which one counts as zero there: room for less
#: than a millionth is none to a linear program.
WIDEST, NONE = 1e4, 1e-2
#: Relative size below which a row is a combination of others.
REPEATED = 1e-5
#: Factor on a budget that is spent by every admissible design.
LEFT = 1.0 + 1e-6


def tightened(problem: Problem) -> Problem:
    """The same problem without the points that no admissible design uses, its implied equalities stated as such."""
    equal, zero = _everywhere(problem)
    points = problem.space.candidates.points
    unused = zero[problem.n_units :] | zero[problem.type_of_atom]
    if unused.any() and not unused.all():
        candidates = replace(problem.space.candidates, points=points[~unused].reset_index(drop=True))
        problem = replace(problem.over(candidates), complete=problem.complete)
        equal, _ = _everywhere(problem)
    spent, equal[0] = equal[0], False  # the budget stays the first inequality
    constraints = _with_equalities(problem.constraints, equal)
    if spent:  # the other equalities fix the price: what is left over here cannot be used
        constraints = replace(
            constraints, upper=constraints.upper * np.where(np.arange(len(constraints.upper)), 1.0, LEFT)
        )
    return replace(problem, constraints=constraints)


def _everywhere(problem: Problem) -> tuple[Mask, Mask]:
    """Which inequalities hold with equality, and which masses are zero, in every admissible design."""
    c, n = problem.constraints, len(problem.price)
    rows = c.matrix @ sp.diags_array(problem.scale)
    exact = c.equal @ sp.diags_array(problem.scale)
    size, count = np.maximum(np.abs(c.upper), 1.0), len(c.upper)
    none = sp.csr_array((len(c.level), count + n))
    above = [rows, sp.diags_array(size), sp.csr_array((count, n)), sp.csr_array(-c.upper[:, None])]
    inside = [-sp.eye_array(n), sp.csr_array((n, count)), sp.eye_array(n), sp.csr_array((n, 1))]
    answer: Any = linprog(
        np.concatenate([np.zeros(n), -np.ones(count + n), [0.0]]),
        A_ub=sp.vstack([sp.hstack(above), sp.hstack(inside)]).tocsr(),
        b_ub=np.zeros(count + n),
        A_eq=sp.hstack([exact, none, sp.csr_array(-c.level[:, None])]).tocsr() if len(c.level) else None,
        b_eq=np.zeros(len(c.level)) if len(c.level) else None,
        bounds=[(0, None)] * n + [(0, 1)] * (count + n) + [(1, WIDEST)],
        method="highs",
    )
    if answer.status != 0:
        return np.zeros(count, dtype=bool), np.zeros(n, dtype=bool)
    slack = answer.x[n:-1] < NONE
    return slack[:count], slack[count:]


def _with_equalities(c: LinearConstraints, implied: Mask) -> LinearConstraints:
    """Some inequalities as equalities, without rows that the others already say."""
    equal, level = sp.vstack([c.equal, c.matrix[implied]]), np.append(c.level, c.upper[implied])
    labels = (*c.equal_labels, *(label for label, own in zip(c.labels, implied, strict=True) if own))
    both = np.column_stack([equal.toarray(), level])
    length = np.linalg.norm(both, axis=1, keepdims=True)
    upper, order = scipy.linalg.qr((both / np.where(length > 0, length, 1.0)).T, mode="r", pivoting=True)
    kept = np.sort(order[: int(np.sum(np.abs(np.diag(upper)) > REPEATED))])
    rest = c.with_rows(~implied)
    return replace(
        rest, equal=sp.csr_array(equal.tocsr()[kept]), level=level[kept], equal_labels=tuple(labels[i] for i in kept)
    )
