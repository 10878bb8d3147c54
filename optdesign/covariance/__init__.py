"""Asymptotic covariance of maximum likelihood estimators: one function, one file per theory behind it."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from optdesign.covariance.all_parameters import all_parameters
from optdesign.covariance.encoded import EncodedRows, check_layout, encode, random_dimension
from optdesign.covariance.exact import exact_covariance
from optdesign.covariance.frame import frame_covariance, layout_of, shape_of
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.multilevel import multilevel_covariance
from optdesign.covariance.nested import InformationPoint, information_of
from optdesign.covariance.result import AsymptoticCovariance, coefficient_index, from_information, settled
from optdesign.designs import Design
from optdesign.errors import SpecificationError, check_kind, listed, nearest
from optdesign.layouts import Crossed, Layout
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ORDERS",
    "AsymptoticCovariance",
    "check_order",
    "coefficient_index",
    "covariance",
    "covariance_of_frame",
    "existing_covariances",
]

ORDERS = ("leading", "two-term", "refined", "averaged", "exact")

_WITHOUT = {
    ("nested", "refined"): "it corrects for the estimation of crossed random effects",
    ("deeper", "refined"): "it corrects for the estimation of crossed random effects",
    ("deeper", "exact"): "the likelihood of an outermost unit is an integral over all the units within it",
    ("crossed", "exact"): "the likelihood of a crossed design is one integral over all its rows and columns",
}


def theory_of(model: MixedModel, layout: Layout | None) -> str:
    """``"nested"`` (one factor or none), ``"deeper"`` (several nested factors) or ``"crossed"``."""
    if isinstance(layout, Crossed):
        return "crossed"
    return "deeper" if len(model.factors) > 1 or (layout is not None and len(layout.factors) > 1) else "nested"


def check_order(model: MixedModel, order: str, layout: Layout | None = None) -> None:
    """The order must exist, and have a theory for the model in the layout."""
    if order not in ORDERS:
        raise SpecificationError(
            f"order '{order}' is not known.{nearest(str(order), ORDERS)} Orders: {listed(ORDERS)}."
        )
    theory = theory_of(model, layout)
    missing = {name: why for (where, name), why in _WITHOUT.items() if where == theory}
    if model.is_gaussian:
        missing = {"refined": "a Gaussian's two-term order corrects for that already"}
    if order in missing:
        kind = "Gaussian" if model.is_gaussian else model.family
        raise SpecificationError(
            f"order '{order}' does not exist for a {kind} model here: {missing[order]}. It has "
            f"{listed(name for name in ORDERS if name not in missing)}."
        )


def covariance(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    order: str = "two-term",
    parameters: str = "fixed",
    reml: bool = False,
    seed: int = 0,
) -> AsymptoticCovariance:
    """Asymptotic covariance of the maximum likelihood estimator of the fixed effects.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    order : str
        ``"leading"``: terms of order 1/m for coefficients with a random partner or at unit level, 1/N for the others.
        ``"two-term"``: Σ/m + ϕK/N and its crossed and deeper nested counterparts, which neglects terms of order
        1/(mn²) and 1/m². In a crossed Gaussian layout it has N − edf in place of N for covariates that are drawn for
        each observation. ``"refined"``: for crossed random intercepts of a non-Gaussian, the two-term order with a
        heuristic correction of relative order 1/m for coefficients that no random effect touches. ``"averaged"``:
        the inverse of the expected conditional information, of the same order as two terms; closer for a random
        intercept where units are small, random effects large or events rare, but too small there for a random slope.
        By sampling, with its Monte-Carlo error, where two factors are random. ``"exact"``: (XᵀV⁻¹X)⁻¹ for Gaussian
        models, the inverse Fisher information of one grouping factor otherwise. All agree as n grows, and without
        random effects.
    parameters : str
        ``"fixed"``: the fixed effects. ``"all"``: then vech Σ of each factor and the dispersion, where there is one.
        Two terms of several kinds of unit of one factor add up the published formula's informations under ``"fixed"``,
        and under ``"all"`` are joint generalised least squares of β and the Σ that the kinds share, nearer to exact
        where the second term is large.
    reml : bool
        Variance components of a Gaussian by restricted maximum likelihood (orders two-term and exact).
    seed : int
        Of whatever is sampled: random effects of the averaged order, incidences and covariates drawn.

    Returns
    -------
    AsymptoticCovariance
        Quadrature over the random effects is refined until every variance settles to 1e-8 relative, or the
        largest rule is reached; sampling of averaged information until its error is 0.2 % of every variance, or
        2,000 draws, and of exact information until 0.5 %, or 200,000 units. A note says where the last is far from
        settled, or the error aimed at was missed.

    Raises
    ------
    SpecificationError
        For an unknown order, one that the model has no theory for, a second term that is infinite (probit and cloglog
        links), or nominal values that do not fit the model.

    Notes
    -----
    Formulas and their status are in the modules of this package: `nested` (one factor), `deeper`, `crossed`, `gls`
    (Gaussian), `sampled` (averaged by sampling), `components` (variance components) and `exact`.

    Examples
    --------
    Two observations in each of ten units: the variance of the mean is σ_u²/10 + σ²/20.

    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([0.0], {"unit": 0.5}, dispersion=2.0)
    >>> covariance(model, guess, Design(Nested("unit"), counts={"unit": 10}, replicates=2)).matrix
    array([[0.15]])
    """
    _check_kinds(model, nominal, seed)
    check_kind("design", design, Design)
    check_order(model, order, design.layout)
    _check_request(model, parameters, reml, order)
    theory = theory_of(model, design.layout)
    if theory == "nested":
        check_layout(model, design.layout)
    if parameters == "all":
        fixed = partial(covariance, model, nominal, design, order, seed=seed)
        return all_parameters(model, nominal, design, theory, order, reml, seed, fixed)
    if theory != "nested":
        return multilevel_covariance(model, nominal, design, order, seed)
    if order == "exact" and not model.is_gaussian and model.factors:
        return exact_covariance(model, nominal, labelled_rows(model, nominal, design.points), "fixed", seed)
    rungs = ladder(random_dimension(model, nominal))
    return settled(lambda nodes: _covariance_with(model, nominal, design, order, nodes), rungs)


def existing_covariances(
    model: MixedModel, nominal: NominalValues, design: Design, orders: Sequence[str], seed: int = 0
) -> dict[str, AsymptoticCovariance]:
    """Covariance of the fixed effects by each of some orders, those left out that do not exist for the model here."""
    found = {}
    for order in orders:
        with suppress(SpecificationError):
            found[order] = covariance(model, nominal, design, order, seed=seed)
    return found


def covariance_of_frame(
    model: MixedModel, nominal: NominalValues, df: pd.DataFrame, order: str = "two-term", seed: int = 0
) -> AsymptoticCovariance:
    """Covariance of the fixed effects that a data set of the shape of `df` would give, whatever its incidence.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    df : DataFrame
        One row per observation: covariates and grouping factors; a response is not needed. Factors are found to be
        nested or crossed from the rows. Groups may be of any size, and any cells of two crossed factors observed.
    order : str
        As for `covariance`. Leading, two-term and refined see units through their covariates and, in classes, their
        sizes and means of the other covariates; exact and averaged list every unit.
    seed : int
        Of what is sampled.

    Returns
    -------
    AsymptoticCovariance
        With a note where a crossed incidence is not connected.

    Raises
    ------
    SpecificationError
        For missing columns or values, an order that has no theory here, or factors that are neither nested nor two
        crossed ones.

    Examples
    --------
    >>> import pandas as pd
    >>> df = pd.DataFrame({"unit": [1, 1, 2, 2, 2, 2]})
    >>> guess = NominalValues([0.0], {"unit": 0.5}, dispersion=2.0)
    >>> covariance_of_frame(MixedModel("y ~ 1 + (1 | unit)"), guess, df, "exact").matrix
    array([[0.6]])
    """
    import pandas as pd

    _check_kinds(model, nominal, seed)
    check_kind("df", df, pd.DataFrame)
    if not df.columns.is_unique:
        raise SpecificationError(
            f"the data have columns of the same name: {listed(df.columns[df.columns.duplicated()])}."
        )
    shape = shape_of(model, df)
    check_order(model, order, layout_of(shape))
    return frame_covariance(model, nominal, shape, order, seed)


def _check_kinds(model: MixedModel, nominal: NominalValues, seed: int) -> None:
    check_kind("model", model, MixedModel)
    check_kind("nominal", nominal, NominalValues)
    if not (isinstance(seed, numbers.Integral) and seed >= 0):
        raise SpecificationError(f"seed must be a whole number of at least 0; got {seed!r}.")


def _check_request(model: MixedModel, parameters: str, reml: bool, order: str) -> None:
    if parameters not in ("fixed", "all"):
        raise SpecificationError(f"parameters must be 'fixed' or 'all'; got {parameters!r}.")
    if reml and not (model.is_gaussian and parameters == "all" and order in ("two-term", "exact")):
        raise SpecificationError(
            "reml=True concerns the variance components of a Gaussian model: it needs parameters='all' and order "
            f"'two-term' or 'exact'; got parameters='{parameters}', order '{order}' and a {model.family} model."
        )


def _covariance_with(
    model: MixedModel, nominal: NominalValues, design: Design, order: str, nodes: int
) -> AsymptoticCovariance:
    rows = encode(model, nominal, design.region, nodes)
    return _assembled(rows, information_of(rows, order).whole.at(*design.masses), order, design)


def _assembled(rows: EncodedRows, point: InformationPoint, order: str, design: Design) -> AsymptoticCovariance:
    units, observations = point.parts(*design.masses)
    parts = {"observation": observations} if rows.factor is None else {rows.factor: units, "observation": observations}
    return from_information(point.information, parts, order, rows.names, rows.aliases, rows.beta)
