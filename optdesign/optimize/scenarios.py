"""Scenarios of nominal values: the best that each allows, which a maximin criterion compares with."""

from __future__ import annotations

from dataclasses import replace

from optdesign.goals import Geometric, Worst
from optdesign.optimize.problem import Problem
from optdesign.optimize.region import optimum


def with_references(problem: Problem) -> Problem:
    """The problem with the least loss that each scenario allows on its own, where its criterion needs them."""
    if not isinstance(problem.criterion.mean, Worst):
        return problem
    references = tuple(optimum(_alone(problem, number))[1].finished().bound for number in range(len(problem.nominals)))
    return replace(problem, criterion=replace(problem.criterion, mean=Worst(references)))


def _alone(problem: Problem, number: int) -> Problem:
    """The problem in one of its scenarios."""
    part = replace(problem.criterion.parts[number], scenario=0)
    criterion = replace(problem.criterion, parts=(part,), mean=Geometric((1.0,)))
    return replace(
        problem,
        nominals=(problem.nominals[number],),
        criterion=criterion,
        already=None if problem.already is None else problem.already[[number]],
    )
