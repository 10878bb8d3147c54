"""Fixed effects, variance components and dispersion together: which theory answers which order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from optdesign.covariance.components import (
    averaged_components,
    beside,
    check_interior,
    gaussian_components,
    identified_by_units,
    residual_freedom,
    with_dispersion,
)
from optdesign.covariance.exact import exact_covariance
from optdesign.covariance.gls import component_covariance
from optdesign.covariance.labelled import LabelledRows, labelled_rows
from optdesign.covariance.multilevel import by_operator, rungs
from optdesign.covariance.result import AsymptoticCovariance, from_information, settled
from optdesign.designs import Design
from optdesign.errors import SpecificationError
from optdesign.listing import listed_points
from optdesign.models import MixedModel, NominalValues


def all_parameters(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    theory: str,
    order: str,
    reml: bool,
    seed: int,
    fixed: Callable[[], AsymptoticCovariance],
) -> AsymptoticCovariance:
    """Covariance of (β, vech Σ of every factor, ϕ).

    Parameters
    ----------
    theory : str
        ``"nested"``, ``"deeper"`` or ``"crossed"``.
    fixed : callable
        Gives the covariance of the fixed effects alone, for orders in which the components are independent of it.
    """
    rows = labelled_rows(model, nominal, design.points)
    check_interior(rows)
    if model.is_gaussian and rows.terms and not _operates(rows, theory, order, reml):
        return beside(fixed(), _gaussian(model, nominal, design, rows, theory, order, reml, seed))
    if order == "exact" and rows.terms:
        return exact_covariance(model, nominal, rows, "all", seed)
    if not rows.terms:
        found = fixed()
    elif theory == "nested" and order == "averaged":
        found = beside(fixed(), _averaged(model, rows))
    else:
        _check(theory, order)
        found = by_operator(model, rows, order, design.cell_size, components=True)
    spread = model.distribution.dispersion_variance
    if spread is None:
        return found
    lost = int(np.linalg.matrix_rank(rows.X)) if reml else 0
    return with_dispersion(found, nominal.dispersion, spread(nominal.dispersion) / _left(design.observations, lost))


def _operates(rows: LabelledRows, theory: str, order: str, reml: bool) -> bool:
    """Whether the two-way operator has the components of a Gaussian: where no closed form has, and it can."""
    if reml or theory == "deeper" or order not in ("leading", "two-term"):
        return False
    cells = any(":" in term.factor for term in rows.terms)
    return (theory == "nested" and order == "two-term") or not (cells or identified_by_units(rows))


def _left(observations: float, lost: int) -> float:
    """Observations less the degrees of freedom that restricted maximum likelihood takes off."""
    if observations <= lost:
        raise SpecificationError(
            f"reml=True leaves no degree of freedom for the dispersion: {observations:g} observations, {lost} "
            "fixed effects. Make more observations."
        )
    return observations - lost


def _gaussian(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    rows: LabelledRows,
    theory: str,
    order: str,
    reml: bool,
    seed: int,
) -> AsymptoticCovariance:
    """Variance components of a Gaussian, independent of its fixed effects."""
    closed = order == "leading" or (theory != "deeper" and order == "two-term" and residual_freedom(rows) > 0)
    if closed and identified_by_units(rows):
        return gaussian_components(rows, order, reml)
    return component_covariance(labelled_rows(model, nominal, listed_points(design, seed)), order, reml)


def _averaged(model: MixedModel, rows: LabelledRows) -> AsymptoticCovariance:
    """Variance components of one factor from averaged information."""
    (term,) = rows.terms

    def compute(nodes: int) -> AsymptoticCovariance:
        information = averaged_components(rows, nodes)
        return from_information(information, {}, "averaged", term.component_names, {}, term.components)

    return settled(compute, rungs(model, rows))


def _check(theory: str, order: str) -> None:
    if theory == "deeper" or order not in ("leading", "two-term"):
        where = "several nested factors" if theory == "deeper" else "crossed factors"
        orders = "no order" if theory == "deeper" else "orders 'leading' and 'two-term'"
        raise SpecificationError(
            f"variance components of a non-Gaussian model with {where} have {orders} here: ask for parameters='fixed'"
            + ("." if theory == "deeper" else ", or for one of these orders.")
        )
