"""What a design is worth: its covariance as reported, its loss by any order, and its efficiency."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from optdesign.covariance import AsymptoticCovariance, covariance
from optdesign.covariance.profiles import parameters_of
from optdesign.covariance.result import from_information
from optdesign.criteria import Criterion
from optdesign.designs import Design
from optdesign.models import NominalValues
from optdesign.optimize.choices import one_factor
from optdesign.optimize.crossed_problem import CrossedProblem
from optdesign.optimize.problem import Problem, bound_criterion

Asked = Problem | CrossedProblem


def reported(problem: Asked, nominal: NominalValues, design: Design) -> AsymptoticCovariance:
    """Covariance of the estimates of a design at some nominal values, with what has been run.

    By the information that the search maximises where it is known for that alone: with variance components, and for
    non-Gaussian units within units, where `covariance` would sample.
    """
    if not isinstance(problem, Problem):
        return covariance(problem.model, nominal, design, problem.order)
    averaging = problem.order == "averaged" and not problem.model.is_gaussian
    own = problem.parameters == "all" or (averaging and not one_factor(problem.model, design.layout))
    if problem.run is None and not own:
        return covariance(problem.model, nominal, design, problem.order)
    names, aliases, estimate = parameters_of(problem.model, nominal, problem.parameters)
    alone = replace(problem, nominals=(nominal,), already=None, basis=np.eye(len(names))).informations_of
    total = alone(design)[0] + (0.0 if problem.run is None else alone(problem.run)[0])
    return from_information(total, {}, problem.order, names, aliases, estimate)


def loss_at(problem: Asked, design: Design) -> float:
    """−log Φ of a design by the problem's order, from covariances whose quadrature has settled."""
    found = [reported(problem, nominal, design) for nominal in problem.nominals]
    informations = [each.information for each in found if each.information is not None]
    if any(each.inestimable for each in found) and len(informations) == len(found):
        return problem.criterion.loss(np.array(informations))
    return problem.criterion.loss_at([each.matrix for each in found])


def efficiency_at(
    problem: Asked, best: Design, nominal: NominalValues, design: Design, criterion: Criterion | None = None
) -> float:
    """Φ(design)/Φ(best) at other nominal values, or by another criterion."""
    if criterion is not None:
        nominals = tuple(each.referring_to(problem.space.reference) for each in criterion.scenarios or (nominal,))
        problem = replace(problem, nominals=nominals, criterion=bound_criterion(problem.model, nominals, criterion))
    return float(np.exp(loss_at(problem, best) - loss_at(problem, design)))
