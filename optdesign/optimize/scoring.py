"""What a design is worth: its covariance as reported, its loss by any order, and its efficiency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optdesign.covariance import AsymptoticCovariance, covariance
from optdesign.covariance.result import from_information
from optdesign.criteria import Criterion
from optdesign.designs import Design
from optdesign.models import NominalValues
from optdesign.optimize.problem import Problem, bound_criterion


def reported(problem: Problem, nominal: NominalValues, design: Design) -> AsymptoticCovariance:
    """Covariance of the fixed effects of a design at some nominal values, with what has been run."""
    found = covariance(problem.model, nominal, design, problem.order)
    if problem.run is None:
        return found
    alone = replace(problem, nominals=(nominal,), already=None, basis=np.eye(len(found.names))).informations_of
    total = (alone(design) + alone(problem.run))[0]
    return from_information(total, {}, problem.order, found.names, found.aliases, found.estimate)


def loss_at(problem: Problem, design: Design) -> float:
    """−log Φ of a design by the problem's order, from covariances whose quadrature has settled."""
    covariances = [reported(problem, nominal, design).matrix for nominal in problem.nominals]
    return problem.criterion.loss_at(covariances)


def efficiency_at(
    problem: Problem, best: Design, nominal: NominalValues, design: Design, criterion: Criterion | None = None
) -> float:
    """Φ(design)/Φ(best) at other nominal values, or by another criterion."""
    if criterion is not None:
        nominals = tuple(each.referring_to(problem.space.region.frame) for each in criterion.scenarios or (nominal,))
        problem = replace(problem, nominals=nominals, criterion=bound_criterion(problem.model, nominals, criterion))
    return float(np.exp(loss_at(problem, best) - loss_at(problem, design)))
