"""Asymptotic covariance of maximum likelihood estimators: one function, one file per theory behind it."""

from __future__ import annotations

import numpy as np

from optdesign.covariance.encoded import EncodedRows, check_layout, encode, random_dimension
from optdesign.covariance.nested import InformationPoint, information_of
from optdesign.covariance.result import AsymptoticCovariance, coefficient_index, from_information
from optdesign.designs import Design
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

__all__ = ["ORDERS", "AsymptoticCovariance", "check_order", "coefficient_index", "covariance"]

ORDERS = ("leading", "two-term", "averaged", "exact")

#: Relative change of every variance, from one quadrature rule to the next larger one, at which it counts as settled.
QUADRATURE_TOLERANCE = 1e-8


def check_order(model: MixedModel, order: str) -> None:
    """The order must exist, and be defined for the model."""
    if order not in ORDERS:
        raise SpecificationError(f"order '{order}' is not known.{nearest(order, ORDERS)} Orders: {listed(ORDERS)}.")
    if order == "exact" and not model.is_gaussian and model.factors:
        raise SpecificationError(
            f"order 'exact' is defined for Gaussian models; a {model.family} model with random effects has "
            f"{listed(ORDERS[:3])}."
        )


def covariance(
    model: MixedModel, nominal: NominalValues, design: Design, order: str = "two-term"
) -> AsymptoticCovariance:
    """Asymptotic covariance of the maximum likelihood estimator of the fixed effects.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    order : str
        ``"leading"``: terms of order 1/m for coefficients with a random partner or at unit level, 1/(mn) for the
        others. ``"two-term"``: Σ/m + ϕK/(mn), which neglects terms of order 1/(mn²) and 1/m². ``"averaged"``: the
        inverse of the expected conditional information, of the same order; closer for a random intercept where units
        are small, random effects large or events rare, but too small there for a random slope. ``"exact"``:
        (XᵀV⁻¹X)⁻¹, for Gaussian models. All agree as n grows, and without random effects.

    Returns
    -------
    AsymptoticCovariance
        Quadrature over the random effects is refined until every variance settles to 1e-8 relative, or the
        largest rule is reached.

    Raises
    ------
    SpecificationError
        For an unknown order, one that the model has no theory for, or nominal values that do not fit the model.

    Notes
    -----
    Formulas and their status are in `optdesign.covariance.nested`.

    Examples
    --------
    Two observations in each of ten units: the variance of the mean is σ_u²/10 + σ²/20.

    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([0.0], {"unit": 0.5}, dispersion=2.0)
    >>> covariance(model, guess, Design(Nested("unit"), counts={"unit": 10}, replicates=2)).matrix
    array([[0.15]])
    """
    check_order(model, order)
    check_layout(model, design.layout)
    rungs = ladder(random_dimension(model, nominal))
    last = _covariance_with(model, nominal, design, order, rungs[0])
    for nodes in rungs[1:]:
        finer = _covariance_with(model, nominal, design, order, nodes)
        if _agree(last, finer):
            return finer
        last = finer
    return last


def _covariance_with(
    model: MixedModel, nominal: NominalValues, design: Design, order: str, nodes: int
) -> AsymptoticCovariance:
    rows = encode(model, nominal, design.region, nodes)
    return _assembled(rows, information_of(rows, order).whole.at(*design.masses), order, design)


def _agree(coarse: AsymptoticCovariance, fine: AsymptoticCovariance) -> bool:
    old, new = np.diag(coarse.matrix), np.diag(fine.matrix)
    return bool(np.allclose(old, new, rtol=QUADRATURE_TOLERANCE, atol=0.0))


def _assembled(rows: EncodedRows, point: InformationPoint, order: str, design: Design) -> AsymptoticCovariance:
    counts, totals = design.masses
    parts = {"observation": np.tensordot(totals, point.atom_gradients(), 1)}
    if rows.factor is not None:
        parts = {rows.factor: np.tensordot(counts, point.unit_gradients(), 1), **parts}
    return from_information(point.information, parts, order, rows.names, rows.aliases, rows.beta)
