"""Fixed effects in layouts of two factors or more: which theory answers which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from optdesign.covariance.crossed import Loss, crossed_covariance
from optdesign.covariance.deeper import deeper_covariance
from optdesign.covariance.finite_units import curvature_loss, degrees_of_freedom_loss
from optdesign.covariance.gls import gls_covariance
from optdesign.covariance.labelled import LabelledRows, labelled_rows, without_cells
from optdesign.covariance.result import AsymptoticCovariance, settled
from optdesign.covariance.sampled import sampled_covariance
from optdesign.designs import Design
from optdesign.errors import SpecificationError, listed
from optdesign.layouts import Crossed
from optdesign.linalg import psd_root
from optdesign.listing import listed_points
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

#: Unknowns of the larger side of the two-way operator up to which quadrature rules are refined.
MOST_UNKNOWNS = 2500


def multilevel_covariance(
    model: MixedModel, nominal: NominalValues, design: Design, order: str, seed: int
) -> AsymptoticCovariance:
    """Covariance of the fixed effects of a crossed or deeper nested design."""
    found = _of_design(model, nominal, design, order, seed)
    if design.crossing is None or design.layout is None:
        return found
    return replace(found, notes=(*found.notes, *connection_notes(design.layout.factors, design.crossing.parts)))


def connection_notes(factors: Sequence[str], parts: int) -> tuple[str, ...]:
    """A note where a crossed incidence is not connected."""
    return (f"The incidence of {listed(factors)} falls into {parts} unconnected parts.",) if parts > 1 else ()


def _of_design(
    model: MixedModel, nominal: NominalValues, design: Design, order: str, seed: int
) -> AsymptoticCovariance:
    if order == "exact" or (order == "averaged" and model.is_gaussian):
        by_kind = order == "averaged" or uniform(design)
        points = design.points if by_kind else listed_points(design, seed)
        return gls_covariance(labelled_rows(model, nominal, points), order)
    if order == "averaged":
        return sampled_covariance(labelled_rows(model, nominal, listed_points(design, seed)), seed)
    rows = labelled_rows(model, nominal, design.points)
    return of_kinds(model, rows, order, design.cell_size, isinstance(design.layout, Crossed))


def of_kinds(
    model: MixedModel, rows: LabelledRows, order: str, cell_size: float, crossed: bool
) -> AsymptoticCovariance:
    """Leading, two-term or refined covariance, which need no more of the units than their kinds."""
    if crossed or len(rows.terms) < 2:
        return by_operator(model, rows, order, cell_size)
    return settled(lambda nodes: deeper_covariance(rows, order, nodes), rungs(model, rows, chained=True))


def uniform(design: Design) -> bool:
    """Whether all units of a kind see the same law of points, so that exact information needs only the kinds."""
    if not isinstance(design.layout, Crossed):
        return True
    drawn = len(np.unique(design.points.chosen)) < len(design.points.chosen)
    return not drawn and design.crossing is not None and design.crossing.kind == "complete"


def by_operator(
    model: MixedModel, rows: LabelledRows, order: str, cell_size: float, components: bool = False
) -> AsymptoticCovariance:
    """Leading, two-term or refined covariance through the two-way operator.

    Parameters
    ----------
    cell_size : float
        Observations per cell, averaged over observations.
    """
    loss: Loss | None = None
    if model.is_gaussian:
        squares = cell_size * float(rows.observations.sum())
        rows = without_cells(rows)
        loss = partial(degrees_of_freedom_loss, squares=squares) if order == "two-term" else None
    elif order == "refined":
        loss = partial(curvature_loss, replicates=cell_size)
    _check_two(rows)
    theory = "two-term" if order == "refined" else order
    sizes = rungs(model, rows, components)
    found = settled(lambda nodes: crossed_covariance(rows, theory, nodes, components, loss), sizes)
    return replace(found, order=order)


def _check_two(rows: LabelledRows) -> None:
    if len(rows.terms) > 2:
        raise SpecificationError(
            f"random terms for {', '.join(term.factor for term in rows.terms)}: effects of cells are in the theory for "
            "Gaussian models and order 'averaged' only. Leave the term of the cells out, or use order='averaged'."
        )


def rungs(model: MixedModel, rows: LabelledRows, components: bool = False, chained: bool = False) -> tuple[int, ...]:
    """Sizes of quadrature rules to try: none larger than leaves a manageable number of unknowns."""
    if model.is_gaussian and not components:
        return (1,)
    ranks = [psd_root(term.sigma).shape[1] for term in rows.terms]
    if chained:
        ranks = [sum(ranks)]
    sizes = ladder(max(ranks, default=0))
    widest = max((len(t.count) * t.Z.shape[1] for t in rows.terms), default=1)
    if max(ranks, default=0) == 1:
        sizes = sizes[1:]  # the smallest rule never settles what the next one would
    fit = tuple(nodes for nodes in sizes if widest * nodes ** max(ranks, default=0) <= MOST_UNKNOWNS)
    return fit or sizes[:1]
