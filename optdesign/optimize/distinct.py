"""At most so many distinct values of a covariate: branch and bound over which values may be used.

A node forces some values and excludes others. Its relaxation lets every value that is not excluded be used: the
convex problem over fewer candidates, with a bound of its own. The values with most mass, as many as may be used, make
a design; where a relaxation promises more, the largest value that is not forced yet is excluded in one child and forced
in another. The nodes that are still open in the end bound what the search may have missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optdesign.designs import Distinct
from optdesign.errors import NotEstimableError, SpecificationError
from optdesign.interrupts import Stoppable
from optdesign.linalg import summed
from optdesign.optimize import interior
from optdesign.optimize.certificate import most_of
from optdesign.optimize.interior import Iterate
from optdesign.optimize.problem import Problem

Index = npt.NDArray[np.intp]
#: Which limit, and which of its values.
Item = tuple[int, int]
Items = frozenset[Item]

#: Nodes that are looked into, at most.
NODES = 100
#: Gain in the loss for which a node is looked into.
WORTHWHILE = 2e-7


def optimum(problem: Problem, progress: Callable[[int, float], None] | None = None) -> tuple[Problem, Iterate]:
    """The best design with few enough distinct values, its problem over these alone, and a bound over all values.

    `progress` is told each node's number and how much better than the best design so far it may be, relative. An
    interrupt from the keyboard ends the search, once there is a design.

    Raises
    ------
    SpecificationError
        Where so few values do not keep the other bounds, or do not estimate what is needed.
    """
    tree = _Tree(problem, tuple(each for each in problem.space.constraints if isinstance(each, Distinct)))
    opened, unsolved = tree.solved(frozenset(), frozenset()), np.inf
    closed: list[_Node] = []
    with Stoppable(closed) as search:
        for number in range(NODES if opened else 0):
            node = opened[-1]  # open until its children are
            closed += tree.closed(node)
            promise = min((found.reach for found in closed), default=np.inf) - node.reach
            children, failed = tree.children(node) if promise > WORTHWHILE else ([], False)
            opened, unsolved = [*opened[:-1], *children], min(unsolved, node.reach if failed else np.inf)
            if progress is not None:
                progress(number, promise)
            if not opened:
                break
    if not closed:
        words = " and ".join(each.words for each in tree.limits)
        raise SpecificationError(
            f"no design was found such that {words}: so few do not keep the other bounds, or do not estimate what the "
            "criterion needs. Allow more of them."
        )
    best = min(closed, key=lambda found: found.reach)
    missed = max(0.0, best.reach - min([unsolved, *(node.reach for node in opened)]))
    return best.problem, replace(
        best.iterate, bound=best.iterate.bound - missed, stopped=search.stopped, limited=missed > WORTHWHILE
    )


@dataclass(frozen=True, eq=False)
class _Node:
    """A relaxation: the optimum over the values that are not excluded.

    Attributes
    ----------
    reach : float
        −log Φ below which no design of the node can come.
    """

    forced: Items
    excluded: Items
    problem: Problem
    iterate: Iterate

    @cached_property
    def reach(self) -> float:
        return self.iterate.bound - float(np.log(most_of(self.problem, self.iterate)[0]))


@dataclass(frozen=True, eq=False)
class _Tree:
    """The whole problem, and how many values each limit allows."""

    problem: Problem
    limits: tuple[Distinct, ...]

    @cached_property
    def codes(self) -> list[Index]:
        """Number of each candidate point's value, for each limit."""
        points = self.problem.space.candidates.points
        return [np.unique(points[each.column], return_inverse=True)[1] for each in self.limits]

    @cached_property
    def values(self) -> list[Items]:
        """All values of each limit."""
        return [frozenset((k, int(v)) for v in np.unique(codes)) for k, codes in enumerate(self.codes)]

    @cached_property
    def items(self) -> Items:
        """All values of all limits."""
        return frozenset().union(*self.values)

    def kept(self, excluded: Items) -> npt.NDArray[np.bool_]:
        """Which candidate points have no excluded value."""
        gone = [np.isin(codes, [v for at, v in excluded if at == k]) for k, codes in enumerate(self.codes)]
        return np.asarray(~np.any(gone, axis=0))

    def solved(self, forced: Items, excluded: Items) -> list[_Node]:
        """The relaxation; none where it keeps no design. A limit whose values are all forced excludes the others.

        Raises
        ------
        numpy.linalg.LinAlgError
            Where rounding kept the relaxation from being solved.
        """
        for limit, values in zip(self.limits, self.values, strict=True):
            if len(forced & values) == limit.at_most:
                excluded |= values - forced
        candidates = self.problem.space.candidates
        points = candidates.points[self.kept(excluded)].reset_index(drop=True)
        try:
            problem = self.problem.over(replace(candidates, points=points))
            return [_Node(forced, excluded, problem, interior.solve(problem).finished())]
        except (SpecificationError, NotEstimableError):
            return []

    def closed(self, node: _Node) -> list[_Node]:
        """The best design on the forced values and the largest others; none where they keep no design."""
        chosen = node.forced
        for limit, values in zip(self.limits, self.values, strict=True):
            chosen |= frozenset(self.largest(node, values - node.forced)[: limit.at_most - len(node.forced & values)])
        return self.attempted(chosen, self.items - chosen)[0]

    def attempted(self, forced: Items, excluded: Items) -> tuple[list[_Node], bool]:
        """The relaxation, none where it keeps no design or could not be solved, and whether it could not be solved."""
        try:
            return self.solved(forced, excluded), False
        except np.linalg.LinAlgError:
            return [], True

    def children(self, node: _Node) -> tuple[list[_Node], bool]:
        """The node without its largest value that is not forced, then with that value forced; whether one failed."""
        free = self.largest(node, self.items - node.forced)
        if not free:
            return [], False
        item = frozenset(free[:1])
        without, first = self.attempted(node.forced, node.excluded | item)
        forced, second = self.attempted(node.forced | item, node.excluded)
        return without + forced, first or second

    def largest(self, node: _Node, items: Items) -> list[Item]:
        """Values that are used, by the share of the budget at each, the largest first."""
        share = (node.iterate.z / node.problem.scale)[node.problem.n_units :]
        kept = self.kept(node.excluded)
        totals = [
            summed(codes[kept], share, len(values)) for codes, values in zip(self.codes, self.values, strict=True)
        ]
        return sorted(items - node.excluded, key=lambda item: -totals[item[0]][item[1]])
