"""Whole-number plans with proof: how many units on each of S schedules.

Minimise −log Φ(M₀ + Σ_s m_s I_s) over whole m ≥ 0 with ``matrix @ m <= upper`` and ``equal @ m == level``. Everything
rests on one fact: Φ is concave and homogeneous of degree one in the information, so at any plan z

    Φ(m) ≤ Φ(z) (ψ₀ + ψ·m),    ψ_s = ∂log Φ/∂m_s at z,    ψ₀ + ψ·z = 1,

a cut that is linear in m. A mixed-integer linear program over a few cuts finds a plan to start from, whatever the
constraints, and exchanges improve it. A better plan must satisfy every cut at the value reached, and these
inequalities, each sharpened by the multipliers of its linear program, leave few whole plans: they are listed, breadth
first, and the best of them is optimal. Where too many are left, further cuts and mixed-integer programs narrow the
bound instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg import orth
from scipy.optimize import Bounds, LinearConstraint, linprog, milp, minimize

from optdesign.criteria import BoundCriterion
from optdesign.errors import SpecificationError
from optdesign.interrupts import Stoppable
from optdesign.optimize.problem import SMOOTHING

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Relative gain in Φ below which two plans count as equally good, in proofs and in exchanges.
EQUAL = 1e-6
#: How far a constraint may be overstepped, in multiples of its size.
SLACK = 1e-9
#: Relative eigenvalue below which a plan does not see a direction.
BLIND = 1e-10
#: Units taken from one schedule and given to another in one exchange.
EXCHANGES = ((0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2), (3, 4), (4, 3), (4, 5), (5, 4))
#: Exchanges that promise most, of which the exact loss is taken: the first few of them, then all.
FIRST, PROMISING = 30, 2000
#: Cuts at neighbours of the plan found, before plans are listed.
NEIGHBOURS = 80
#: Schedules, of those that a better plan could use, up to which mixed-integer programs are worth their time.
FEW = 100
#: Plans, in part or in whole, that the listing holds at once, and in all, before it gives up.
LISTED, HELD = 50_000, 5_000_000
#: Mixed-integer programs solved where listing gives up, and branches in each.
ROUNDS, BRANCHES = 3, 100
#: Relative differences in price that count as none where the cheapest plan is sought.
ALIKE = 1e-4
#: Demands made of plans, one after the other, before it counts as hopeless to estimate what is needed.
DEMANDS = 50
#: How far from the continuous optimum whole counts are looked for, in units of each schedule.
REACH = 1000.0
#: Every mixed-integer program gives what it has after some seconds, as one branch of thousands of schedules can take
#: hours; and is not presolved, as HiGHS may write to standard output where it undoes that.
UNATTENDED = {"time_limit": 10.0, "presolve": False}
#: Starts of the exchange at random distances from the continuous optimum, and the largest distance of a count.
STARTS, SPREAD = 6, 25.0
#: Working sets that the continuous optimum is sought over.
SETS = 12
#: What stands for an infinite loss in a line search.
FAR = 1e6
#: Schedules that the continuous optimum is sought over at once.
WORKING = 60


@dataclass(frozen=True, eq=False)
class Cut:
    """Φ(m) ≤ height + slope·m for every plan."""

    height: float
    slope: Array


@dataclass(frozen=True, eq=False)
class IntegerProgram:
    """A choice of whole counts.

    Attributes
    ----------
    criterion : BoundCriterion
    information : array, shape (S, K, p, p)
        What one unit on each schedule adds, under each scenario. A basis in which the sums are near the identity
        keeps most digits.
    matrix, upper, equal, level : arrays, shapes (R, S), (R,), (Q, S), (Q,)
        The constraints beside m ≥ 0; they must bound every count that helps.
    constant : array, shape (K, p, p), optional
        Information that is there without any choice.
    """

    criterion: BoundCriterion
    information: Array
    matrix: Array
    upper: Array
    equal: Array
    level: Array
    constant: Array | None = None

    @property
    def size(self) -> int:
        """Number of schedules, S."""
        return len(self.information)

    @cached_property
    def fixed(self) -> Array:
        """Information without any choice, shape (K, p, p)."""
        return np.zeros(self.information.shape[1:]) if self.constant is None else self.constant

    @cached_property
    def rows(self) -> tuple[Array, Array]:
        """All constraints as ``rows @ m <= bounds``, each divided by its size: equalities from both sides."""
        rows = np.vstack([self.matrix, self.equal, -self.equal])
        bounds = np.concatenate([self.upper, self.level, -self.level])
        size = np.maximum(np.abs(rows).max(axis=1, initial=0.0), np.abs(bounds))
        size = np.where(size > 0, size, 1.0)
        return rows / size[:, None], bounds / size

    @cached_property
    def highest(self) -> Array:
        """Most units of each schedule that the constraints allow, shape (S,); inf where they set no limit."""
        return most_of_each(*self.rows, np.full(self.size, np.inf))

    def totals(self, plans: Array) -> Array:
        """Information of plans, (n, S) to (n, K, p, p)."""
        return np.asarray(self.fixed + np.tensordot(plans, self.information, 1))

    def losses(self, plans: Array) -> Array:
        """−log Φ of plans, (n, S) to (n,)."""
        return np.asarray(self.criterion.losses(self.totals(plans)), dtype=float)

    def loss(self, plan: Array) -> float:
        """−log Φ of a plan."""
        return float(self.losses(plan[None])[0])

    def cut(self, plan: Array) -> Cut:
        """The cut at a plan, whole or not, in units of Φ; its slope is Φ times the gains."""
        total = self.totals(plan[None])[0]
        at = self.criterion.at(list(np.linalg.pinv(total, rcond=BLIND, hermitian=True)), SMOOTHING)
        squares = np.array([U @ U.T for U in at.directions(at.own)])
        unit = np.exp(-at.bound(at.own))
        return Cut(unit * float(np.sum(squares * self.fixed)), unit * np.tensordot(self.information, squares, 3))

    def gains(self, plan: Array) -> Array:
        """ψ at a plan, shape (S,)."""
        cut = self.cut(plan)
        return cut.slope / (cut.height + float(cut.slope @ plan))

    def keeps(self, plans: Array) -> npt.NDArray[np.bool_]:
        """Whether plans keep all constraints, (n, S) to (n,)."""
        rows, bounds = self.rows
        return np.asarray((plans >= 0).all(axis=1) & (plans @ rows.T <= bounds + SLACK).all(axis=1))

    def times(self, factor: float) -> IntegerProgram:
        """The program as if all information were multiplied: the logarithm of the factor off every loss.

        The combinations are divided instead: the size of the information says what a plan does not see.
        """
        parts = tuple(replace(p, combinations=p.combinations / np.sqrt(factor)) for p in self.criterion.parts)
        return replace(self, criterion=replace(self.criterion, parts=parts))

    def of(self, kept: Index) -> IntegerProgram:
        """The program with some of its schedules, the others at zero."""
        return replace(self, information=self.information[kept], matrix=self.matrix[:, kept], equal=self.equal[:, kept])

    def requiring(self, rows: Array, bounds: Array) -> IntegerProgram:
        """The program with further rows ``rows @ m <= bounds``."""
        return replace(self, matrix=np.vstack([self.matrix, rows]), upper=np.append(self.upper, bounds))

    def less(self, plan: Array) -> IntegerProgram:
        """The program of what comes on top of a plan."""
        return replace(
            self,
            upper=self.upper - self.matrix @ plan,
            level=self.level - self.equal @ plan,
            constant=self.totals(plan[None])[0],
        )

    def linear(self, slope: Array) -> Any:
        """Continuous counts with the most of ``slope @ m``: scipy's answer to the linear program."""
        return linprog(
            -slope,
            A_ub=self.matrix if len(self.upper) else None,
            b_ub=self.upper if len(self.upper) else None,
            A_eq=self.equal if len(self.level) else None,
            b_eq=self.level if len(self.level) else None,
            method="highs",
        )


@dataclass(frozen=True, eq=False)
class IntegerPlan:
    """The best whole counts found, and what the best possible could reach.

    Attributes
    ----------
    counts : array, shape (S,)
    loss : float
        −log Φ.
    bound : float
        −log Φ below which no whole counts that keep the constraints can come.
    relaxed : float
        −log Φ below which no counts, whole or not, can come.
    stopped : bool
        Whether an interrupt from the keyboard ended the search.
    """

    counts: Array
    loss: float
    bound: float
    relaxed: float
    stopped: bool = False

    @property
    def proven(self) -> bool:
        """Whether no whole counts are better by more than one part in a million."""
        return self.loss - self.bound <= 2 * EQUAL


def solve(program: IntegerProgram, near: Array | None = None) -> IntegerPlan | None:
    """The best whole counts, with a bound; None where no whole counts keep the constraints and estimate what is needed.

    Small problems end with a proof: up to some ten schedules and twenty units in a few tenths of a second (the six
    sequences of a stepped wedge with twelve clusters, nine points with nine runs, eight with twenty), more where
    prices or bounds separate the schedules. Larger ones end with the better of exchange and of a few mixed-integer
    programs, and the bound that these prove. An interrupt from the keyboard ends the search with the best so far.

    Parameters
    ----------
    program : IntegerProgram
    near : array, shape (S,), optional
        Counts to start the continuous optimum from, where some good ones are known.

    Examples
    --------
    Two kinds of unit that teach different coefficients, the second at twice the price:

    >>> from optdesign.criteria import DOptimality, Parameters
    >>> parts = np.array([[[[1.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 1.0]]]])
    >>> names = Parameters(("a", "b"), {}, np.zeros(2), lambda frame: np.zeros((len(frame), 2)))
    >>> criterion = DOptimality().bind([names])
    >>> nothing = np.zeros((0, 2)), np.zeros(0)
    >>> plan = solve(IntegerProgram(criterion, parts, np.array([[1.0, 2.0]]), np.array([9.0]), *nothing))
    >>> plan.counts.tolist(), plan.proven
    ([5.0, 2.0], True)
    """
    centre = relaxed(program, near)
    if centre is None:
        return None
    origin = program.loss(centre)
    scaled = program.times(float(np.exp(origin)))
    found = start(scaled, centre)
    if found is None:
        return None
    scaled, plan = found
    cut = scaled.cut(centre)
    below = -float(np.log(_highest(program, cut)))
    kept = [(plan, below)]
    with Stoppable(kept) as search:
        kept.append((exchange(scaled, plan), below))
        if scaled.loss(kept[-1][0]) - below > EQUAL:  # a plan as good as any counts at all needs no further proof
            kept.append(_proved(scaled, cut, centre, kept[-1][0]))
    plan, bound = kept[-1]
    loss = program.loss(plan)
    return IntegerPlan(plan, loss, min(loss, origin + max(bound, below)), min(loss, origin + below), search.stopped)


def approximate(program: IntegerProgram, near: Array | None = None) -> Array | None:
    """Good whole counts without proof, by exchange from those nearest to the continuous optimum; None as in `solve`."""
    centre = relaxed(program, near)
    found = None if centre is None else start(program, centre)
    return None if found is None else exchange(*found)


def cheapest(program: IntegerProgram, price: Array, most: float) -> float:
    """Least price up to `most`, of the plans found that keep the constraints and estimate what is needed; else inf.

    Of all schedules, or where none are found, of those that the continuous optimum for that price uses.
    """
    priced = program.requiring(price[None], np.array([most]))
    centre = relaxed(priced)
    for kept in () if centre is None else (np.arange(program.size), _used(centre)):
        found = _estimating(priced.of(kept), partial(_least, price=price[kept]))
        if found is not None:
            return float(price[kept] @ found[1])
    return float("inf")


def _used(counts: Array) -> Index:
    """The schedules on which counts are above zero."""
    return np.flatnonzero(counts > SLACK * counts.max(initial=0.0))


def _highest(program: IntegerProgram, cut: Cut) -> float:
    """The most that any counts, whole or not, can reach under a cut."""
    return cut.height - float(program.linear(cut.slope).fun)


def most_of_each(rows: Array, bounds: Array, highest: Array) -> Array:
    """Upper bounds on whole counts 0 ≤ m ≤ highest with ``rows @ m <= bounds``, each row taken by itself, in turn.

    >>> most_of_each(np.array([[2.0, 3.0], [1.0, -2.0]]), np.array([7.0, 0.0]), np.full(2, np.inf))
    array([3., 2.])
    """
    positive, negative = rows > 0, np.minimum(rows, 0.0)
    divisor = np.where(positive, rows, 1.0)
    while True:
        with np.errstate(invalid="ignore"):
            least = np.where(negative < 0, negative * highest, 0.0).sum(axis=1)
        limit = np.where(positive, (bounds - least + SLACK)[:, None] / divisor, np.inf).min(axis=0, initial=np.inf)
        lower: Array = np.maximum(np.floor(np.minimum(limit, highest)), 0.0)
        if (lower >= highest).all():
            return lower
        highest = lower


def relaxed(program: IntegerProgram, near: Array | None = None) -> Array | None:
    """Counts, whole or not, near the least loss; None where none keep the constraints or estimate what is needed.

    Sequential quadratic programming over a working set of schedules, which those with the largest reduced gains join
    until the linear program over all of them says that no more than a millionth is left.

    Raises
    ------
    SpecificationError
        Where the constraints leave some count without limit.
    """
    if not np.isfinite(program.highest).all():
        raise SpecificationError(
            "the constraints leave the number of units on some schedule without limit: bound it, or give it a price."
        )
    z = _middle(program) if near is None or not np.isfinite(program.loss(near)) else near
    if z is None or not np.isfinite(program.loss(z)):
        return None
    for _ in range(SETS):
        gains = program.gains(z)
        answer = program.linear(gains)
        if -answer.fun <= float(gains @ z) + EQUAL:
            break
        better = _least_loss(program, _working(program, answer, z), z)
        if program.loss(better) >= program.loss(z) - EQUAL / 10:
            break
        z = better
    return z


def _middle(program: IntegerProgram) -> Array | None:
    """Counts that keep the constraints with as many schedules as possible well above zero; None where none do.

    Each count is a lifted part, the sum of which is maximised, and an unlimited rest.
    """
    size, share = np.maximum(program.highest, SLACK), 0.5 / program.size
    answer = linprog(
        np.repeat([-1.0, 0.0], program.size),
        A_ub=np.tile(program.matrix * size, 2) if len(program.upper) else None,
        b_ub=program.upper if len(program.upper) else None,
        A_eq=np.tile(program.equal * size, 2) if len(program.level) else None,
        b_eq=program.level if len(program.level) else None,
        bounds=[(0.0, share)] * program.size + [(0.0, None)] * program.size,
        method="highs",
    )
    return None if answer.status != 0 else size * answer.x.reshape(2, -1).sum(axis=0)


def _working(program: IntegerProgram, answer: Any, z: Array) -> Index:
    """The schedules in use, at most half of the working set, and those that the linear program charges least for."""
    charge = np.where(answer.x > 0, -2.0, answer.lower.marginals * np.maximum(program.highest, SLACK))
    used = np.argsort(-z, kind="stable")[: WORKING // 2]
    charge[used] = np.where(z[used] > SLACK * z.max(), -1.0, charge[used])
    return np.sort(np.argsort(charge, kind="stable")[:WORKING])


def _least_loss(program: IntegerProgram, working: Index, z: Array) -> Array:
    """Counts of least loss on a working set, from those of `z`; `z` itself where the search ends outside."""
    part, size = program.of(working), np.maximum(program.highest[working], SLACK)
    rows, edge = part.rows[0] * size, part.rows[1]
    free, first = len(part.upper), z[working] / size
    # Equalities that say nothing here, or the same twice, stop the search: an orthonormal basis says each once.
    exact = orth(np.vstack([rows[free : free + len(part.level)], np.zeros(len(working))]).T, rcond=SLACK).T

    def loss(x: Array) -> tuple[float, Array]:
        try:
            found = part.loss(x * size), -part.gains(x * size) * size
        except np.linalg.LinAlgError:
            found = np.inf, size
        return found if np.isfinite(found[0]) else (FAR, np.zeros(len(x)))

    conditions: list[dict[str, Any]] = [
        {"type": "ineq", "fun": lambda x: edge[:free] - rows[:free] @ x, "jac": lambda _: -rows[:free]}
    ] * (free > 0)
    conditions += [{"type": "eq", "fun": lambda x: exact @ (x - first), "jac": lambda _: exact}] * (len(exact) > 0)
    answer = minimize(
        loss,
        first,
        jac=True,
        bounds=[(0.0, None)] * len(working),
        constraints=conditions,
        method="SLSQP",
        options={"maxiter": 200, "ftol": 1e-10},
    )
    found = np.zeros(program.size)
    found[working] = np.maximum(answer.x, 0.0) * size
    inside = bool((rows @ answer.x <= edge + 1e-7).all())
    return found if inside and program.loss(found) < program.loss(z) else z


def start(program: IntegerProgram, centre: Array) -> tuple[IntegerProgram, Array] | None:
    """The nearest whole counts that keep the constraints and estimate what is needed; None where there are none.

    The program comes back with the demands that every such plan satisfies.
    """
    return _estimating(program, partial(_nearest, centre=centre))


def _estimating(
    program: IntegerProgram, propose: Callable[[IntegerProgram], Array | None]
) -> tuple[IntegerProgram, Array] | None:
    """The first proposal that estimates what is needed, and the program with demands that lead there.

    A plan that misses the subspace W of what is to be estimated is excluded by the demand Σ_s m_s rank(WᵀI_sW) ≥ dim W,
    which every plan of finite loss satisfies. The empty plan makes the first of these demands.
    """
    plan: Array | None = np.zeros(program.size)
    for _ in range(DEMANDS):
        if plan is None or np.isfinite(program.loss(plan)):
            break
        program = program.requiring(*_demands(program, plan))
        plan = propose(program)
    return None if plan is None or not np.isfinite(program.loss(plan)) else (program, plan)


def _nearest(program: IntegerProgram, centre: Array) -> Array | None:
    """Whole counts that keep the constraints, near some counts: on the schedules those use if possible, else on any."""
    for kept in (_used(centre), np.arange(program.size)):
        found = _closest(program.of(kept), centre[kept])
        if found is not None:
            plan = np.zeros(program.size)
            plan[kept] = found
            return plan
    return None


def _closest(program: IntegerProgram, centre: Array) -> Array | None:
    """Whole counts that keep the constraints, with the least sum of distances from some counts, within `REACH` of them.

    Counts are solved for less the lowest in reach: of millions, the tolerance of the solver is more than a unit.
    """
    base = np.maximum(np.floor(centre) - REACH, 0.0)
    near = program.less(base)
    rows, bounds = near.rows
    one, none = sp.eye_array(program.size), np.zeros((len(rows), program.size))
    answer = milp(
        np.repeat([0.0, 1.0], program.size),
        constraints=[
            LinearConstraint(np.hstack([rows, none]), -np.inf, bounds),
            LinearConstraint(sp.hstack([one, -one], format="csc"), -np.inf, centre - base),
            LinearConstraint(sp.hstack([one, one], format="csc"), centre - base, np.inf),
        ],
        integrality=np.repeat([1, 0], program.size),
        bounds=Bounds(0.0, np.append(np.minimum(program.highest - base, 2.0 * REACH), np.full(program.size, np.inf))),
        options={"mip_rel_gap": 0.01, "node_limit": 10 * BRANCHES, **UNATTENDED},
    )
    return None if answer.x is None else _whole(program, base + answer.x[: program.size])


def _least(program: IntegerProgram, price: Array) -> Array | None:
    """Whole counts of least price, up to one in ten thousand, that keep the constraints.

    Of many that cost the same, the first of a list may all teach the same: prices are varied by chance, and of two
    units on one schedule the second is the dearer one.
    """
    rows, bounds = program.rows
    varied = 1.0 + ALIKE * np.append(np.random.default_rng(0).random(program.size), np.ones(program.size))
    answer = milp(
        np.tile(price, 2) * varied,
        constraints=LinearConstraint(np.tile(rows, 2), -np.inf, bounds),
        integrality=np.ones(2 * program.size),
        bounds=Bounds(0.0, np.append(np.minimum(program.highest, 1.0), program.highest)),
        options={"mip_rel_gap": ALIKE / 10, "node_limit": 10 * BRANCHES, **UNATTENDED},
    )
    return None if answer.x is None else _whole(program, answer.x.reshape(2, -1).sum(axis=0))


def _whole(program: IntegerProgram, counts: Array) -> Array | None:
    """The counts of a mixed-integer program's answer as whole numbers, where these keep the constraints."""
    plan = np.round(counts)
    return plan if program.keeps(plan[None])[0] else None


def _demands(program: IntegerProgram, plan: Array) -> tuple[Array, Array]:
    """What every plan of finite loss satisfies and this one does not: rows and bounds, one for each scenario it fails.

    W is what the plan does not see of the combinations L that the criterion needs: the projection of L on the null
    space of the plan's information, which no plan may leave dark in any direction.
    """
    rows, bounds = [], []
    for k, total in enumerate(program.totals(plan[None])[0]):
        values, vectors = np.linalg.eigh(total)
        dark = vectors[:, values <= BLIND * values.max(initial=0.0)]
        needed = np.hstack([part.combinations for part in program.criterion.parts if part.scenario == k])
        missed = dark @ orth(dark.T @ (needed / np.linalg.norm(needed, axis=0)), rcond=np.sqrt(BLIND))
        if missed.shape[1]:
            seen = np.linalg.eigvalsh(missed.T @ program.information[:, k] @ missed)
            rows.append(-(seen > BLIND * seen.max(initial=0.0)).sum(axis=1).astype(float))
            bounds.append(-float(missed.shape[1]))
    return np.array(rows).reshape(-1, program.size), np.array(bounds)


def _best_by_cuts(program: IntegerProgram, cuts: list[Cut]) -> tuple[Array | None, float]:
    """Whole counts with the largest least cut, and the most that any whole counts can reach under the cuts.

    No counts, and −inf, where none keep the constraints.
    """
    rows, bounds = program.rows
    slopes = np.array([cut.slope for cut in cuts])
    conditions = [
        LinearConstraint(np.column_stack([rows, np.zeros(len(rows))]), -np.inf, bounds),
        LinearConstraint(np.column_stack([-slopes, np.ones(len(cuts))]), -np.inf, np.array([c.height for c in cuts])),
    ]
    answer = milp(
        np.append(np.zeros(program.size), -1.0),
        constraints=conditions,
        integrality=np.append(np.ones(program.size), 0),
        bounds=Bounds(0.0, np.append(program.highest, np.inf)),
        options={"mip_rel_gap": EQUAL / 10, "node_limit": BRANCHES, **UNATTENDED},
    )
    if answer.status == 2:
        return None, -np.inf
    upper = float("inf") if answer.mip_dual_bound is None else -float(answer.mip_dual_bound)
    return None if answer.x is None else _whole(program, answer.x[: program.size]), upper


def exchange(program: IntegerProgram, plan: Array) -> Array:
    """Improve a plan by moving units between schedules until no promising exchange of one pair helps."""
    while True:
        better = _better(program, plan)
        if better is None:
            return plan
        plan = better


def _better(program: IntegerProgram, plan: Array) -> Array | None:
    """A better plan one exchange away: the best of the first few that promise most, else the best of all."""
    loss, trials = program.loss(plan), _promising(program, plan, EQUAL / 10)
    for part in (trials[:FIRST], trials[FIRST:]):
        losses = program.losses(part)
        best = int(np.argmin(np.append(losses, loss - EQUAL / 10)))
        if best < len(part):
            return np.asarray(part[best])
    return None


def _promising(program: IntegerProgram, plan: Array, least: float) -> Array:
    """Plans one exchange away that keep the constraints and promise most: each a gain in log Φ above the least."""
    rows = program.rows[0]
    room, promise = program.rows[1] - rows @ plan + SLACK, _Promise.at(program, plan)
    used = promise.used
    found = [np.zeros((0, 4))]
    for number, (give, take) in enumerate(EXCHANGES):
        givers = np.flatnonzero(plan[used] >= give) if give else np.zeros(1, dtype=int)
        takers = np.arange(program.size) if take else np.zeros(1, dtype=int)
        most = promise.of(give, take, givers, takers)
        i, j = np.nonzero(most > least)
        order = np.argsort(-most[i, j], kind="stable")[: 4 * PROMISING]
        i, j = i[order], j[order]
        a, b = used[givers[i]], takers[j]
        fits = (take * rows[:, b] - give * rows[:, a] <= room[:, None]).all(axis=0)
        found.append(np.column_stack([most[i, j], np.full(len(a), number), a, b])[fits])
    moves = np.concatenate(found)
    moves = moves[np.argsort(-moves[:, 0], kind="stable")[:PROMISING]]
    return _moved(plan, moves)


@dataclass(frozen=True, eq=False)
class _Promise:
    """The most that exchanges at a plan can gain in log Φ.

    With C the covariance at the plan, UUᵀ minus the derivative of the loss, and D the change of the information,

        log Φ(M + D) − log Φ(M) ≤ tr(UᵀDU) − X ω(√Y)/Y,    X = tr(UᵀDCDU),    Y = tr(CDCD),    ω(t) = t − log(1 + t):

    the loss is at least −Σ w log(1 + λ), over the eigenvalues λ of D relative to M and the shares w that U gives them,
    and λ − log(1 + λ) ≥ ω(|λ|) ≥ λ² ω(Λ)/Λ² for all |λ| ≤ Λ.

    Attributes
    ----------
    gains : array, shape (S,)
        tr(UᵀIU) for one unit on each schedule.
    used : array
        The schedules in use, and the first one.
    own, others : arrays, shapes (2, S) and (2, used, S)
        X and Y of one unit on each schedule, and between the schedules in use and all others.
    """

    gains: Array
    used: Index
    own: Array
    others: Array

    @classmethod
    def at(cls, program: IntegerProgram, plan: Array) -> _Promise:
        """At a plan of finite loss."""
        used = np.union1d([0], np.flatnonzero(plan))  # the first one stands for none, where no unit is given
        covariances = np.linalg.pinv(program.totals(plan[None])[0], rcond=BLIND, hermitian=True)
        point = program.criterion.at(list(covariances), SMOOTHING)
        own, others = np.zeros((2, program.size)), np.zeros((2, len(used), program.size))
        for k, (C, U) in enumerate(zip(covariances, point.directions(point.own), strict=True)):
            root = _root(C)
            seen = root.T @ program.information[:, k]
            for kind, side in enumerate((U, root)):
                each = (seen @ side).reshape(program.size, -1)
                own[kind] += np.einsum("si,si->s", each, each)
                others[kind] += each[used] @ each.T
        return cls(program.gains(plan), used, own, others)

    def of(self, give: int, take: int, givers: Index, takers: Index) -> Array:
        """The most that exchanges gain, shape (givers, takers); givers are positions among the schedules in use.

        −∞ for those that gain nothing to first order.
        """
        given = self.used[givers]
        gain = take * self.gains[takers] - give * self.gains[given][:, None]
        squares = take**2 * self.own[:, None, takers] + give**2 * self.own[:, given, None]
        X, Y = np.maximum(squares - 2.0 * give * take * self.others[:, givers][..., takers], 0.0)
        size = np.sqrt(Y)
        return np.where(gain > 0, gain - X * (size - np.log1p(size)) / np.where(Y > 0, Y, 1.0), -np.inf)


def _root(matrix: Array) -> Array:
    """R with RRᵀ the matrix, positive semi-definite."""
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _moved(plan: Array, moves: Array) -> Array:
    """Plans after moves (worth, number of the exchange, giver, taker)."""
    trials = np.repeat(plan[None], len(moves), axis=0)
    give, take = np.array(EXCHANGES)[moves[:, 1].astype(int)].T
    at = np.arange(len(moves))
    np.add.at(trials, (at, moves[:, 2].astype(int)), -give)
    np.add.at(trials, (at, moves[:, 3].astype(int)), take)
    return trials


def _proved(program: IntegerProgram, cut: Cut, centre: Array, plan: Array) -> tuple[Array, float]:
    """The best plan found from `plan` on, and the least loss that whole counts can have."""
    cuts = [cut, program.cut(plan)]
    loss = program.loss(plan)
    highest = most_of_each(*_with(program, *_better_than(program, cuts, loss)), program.highest)
    kept = np.flatnonzero((highest > 0) | (plan > 0))
    small, own = program.of(kept), plan[kept]
    cuts = [Cut(c.height, c.slope[kept]) for c in cuts] + _cuts_near(small, own)
    whole, bound = _listed(small, cuts, own) or _after_more_starts(small, cuts, own, centre[kept])
    best = np.zeros(program.size)
    best[kept] = whole
    return best, bound


def _with(program: IntegerProgram, rows: Array, bounds: Array) -> tuple[Array, Array]:
    """The program's rows and further ones."""
    return np.vstack([program.rows[0], rows]), np.append(program.rows[1], bounds)


def _better_than(program: IntegerProgram, cuts: list[Cut], loss: float) -> tuple[Array, Array]:
    """Rows ``rows @ m <= bounds`` that every plan satisfies which is better than a loss by more than `EQUAL`.

    A cut alone says height + slope·m ≥ Φ. The multipliers of its linear program turn the slope into reduced gains,
    which leave next to no room to schedules that the optimum does not use.
    """
    value = float(np.exp(EQUAL - loss))
    found = []
    for cut in cuts:
        answer = program.linear(cut.slope)
        reduced = answer.lower.marginals
        priced = -float(answer.ineqlin.marginals @ program.upper) - float(answer.eqlin.marginals @ program.level)
        size = max(float(np.abs(reduced).max(initial=0.0)), 1e-12)
        found.append((reduced / size, (cut.height + priced - value) / size))
    return np.array([r for r, _ in found]), np.array([b for _, b in found])


def _cuts_near(program: IntegerProgram, plan: Array) -> list[Cut]:
    """Cuts half way from a plan to the best plans one exchange away."""
    trials = _promising(program, plan, -np.inf)
    best = np.argsort(program.losses(trials), kind="stable")[:NEIGHBOURS]
    return [program.cut(0.5 * (trial + plan)) for trial in trials[best]]


def _listed(program: IntegerProgram, cuts: list[Cut], plan: Array) -> tuple[Array, float] | None:
    """The best plan and the bound by listing all that could be better; None where they are too many."""
    loss = program.loss(plan)
    rows, bounds = _better_than(program, cuts, loss)
    plans = listing(*_with(program, rows, bounds), program.highest, np.argsort(-rows.mean(axis=0), kind="stable"))
    if plans is None:
        return None
    losses = np.append(program.losses(plans), loss)
    best = int(np.argmin(losses))
    return np.vstack([plans, plan])[best], min(float(losses[best]), loss - EQUAL)


def listing(rows: Array, bounds: Array, highest: Array, order: Index) -> Array | None:
    """All whole counts 0 ≤ m ≤ highest with ``rows @ m <= bounds``, schedule by schedule; None for too many.

    >>> listing(np.array([[1.0, 1.0], [-1.0, -1.0]]), np.array([2.0, -2.0]), np.array([2.0, 2.0]), np.array([1, 0]))
    array([[2., 0.],
           [1., 1.],
           [0., 2.]])
    """
    highest = most_of_each(rows, bounds, highest)
    least = np.minimum(rows, 0.0) * highest
    rest, spent = least.sum(axis=1), np.zeros((1, len(rows)))
    steps: list[tuple[Index, Array]] = []
    held = 0.0
    for s in order:
        new = len(spent) * (highest[s] + 1.0)
        held += new
        if new > LISTED or held > HELD:
            return None
        times = np.arange(highest[s] + 1.0)
        rest = rest - least[:, s]
        spent = (spent[:, None] + times[:, None] * rows[:, s]).reshape(-1, len(rows))
        kept = np.flatnonzero((spent + rest <= bounds + SLACK).all(axis=1))
        steps.append((kept // len(times), times[kept % len(times)]))
        spent = spent[kept]
    return _traced(steps, order, len(spent))


def _traced(steps: list[tuple[Index, Array]], order: Index, found: int) -> Array:
    """The plans at the end of a listing, from each step's counts and the plans of the step before that they extend."""
    plans, at = np.zeros((found, len(order))), np.arange(found)
    for s, (parents, times) in zip(order[::-1], steps[::-1], strict=True):
        plans[:, s], at = times[at], parents[at]
    return plans


def _after_more_starts(program: IntegerProgram, cuts: list[Cut], plan: Array, centre: Array) -> tuple[Array, float]:
    """The best plan and the bound from more starts on: they are listed again where one of them was better."""
    better = _more_starts(program, plan, centre)
    listed = _listed(program, cuts, better) if program.loss(better) < program.loss(plan) - EQUAL else None
    return listed or _narrowed(program, cuts, better)


def _more_starts(program: IntegerProgram, plan: Array, centre: Array) -> Array:
    """The best of a plan and of exchanges from whole counts around the continuous optimum."""
    draws = np.random.default_rng(0).uniform(0.0, 2.0, (STARTS, program.size))
    places = centre + np.clip((draws - 1.0) * centre, -SPREAD, SPREAD)
    starts = [near for place in places if (near := _nearest(program, place)) is not None]
    return min([plan, *(_improved(program, near, plan) for near in starts)], key=program.loss)


def _narrowed(program: IntegerProgram, cuts: list[Cut], plan: Array) -> tuple[Array, float]:
    """The best plan and the bound after some mixed-integer programs, each with the cuts of those before it."""
    upper, cuts = _highest(program, cuts[0]), [*cuts, program.cut(plan)]
    for _ in range(ROUNDS if program.size <= FEW else 0):
        found, most = _best_by_cuts(program, cuts)
        upper = min(upper, most)
        if found is None or -np.log(upper) >= program.loss(plan) - EQUAL:
            break
        better = _improved(program, found, plan)
        plan = min(plan, better, key=program.loss)
        cuts.append(program.cut(0.5 * (found + plan)))
    return plan, -float(np.log(upper)) if upper > 0 else program.loss(plan)


def _improved(program: IntegerProgram, plan: Array, otherwise: Array) -> Array:
    """A plan after exchanges, or another where it does not estimate what is needed."""
    return exchange(program, plan) if np.isfinite(program.loss(plan)) else otherwise
