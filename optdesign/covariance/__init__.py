"""Asymptotic covariance of maximum likelihood estimators: one function, one file per theory behind it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import EncodedRows, check_layout, encode, random_dimension
from optdesign.covariance.nested import InformationPoint, information_of
from optdesign.designs import Design
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.linalg import inverse_information
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

ORDERS = ("leading", "two-term", "averaged", "exact")

#: Relative change of every variance, from one quadrature rule to the next larger one, at which it counts as settled.
QUADRATURE_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class AsymptoticCovariance:
    """Covariance matrix of the maximum likelihood estimator of the fixed effects.

    Attributes
    ----------
    matrix : array, shape (p, p)
        Covariances, in squared units of the linear predictor. A coefficient that the design cannot estimate has
        variance ``inf`` and covariances ``nan``.
    names : tuple of str
        Coefficient names.
    order : str
        The approximation used.
    terms : mapping from source to matrix, or None
        Additive parts: the grouping factor's (what more observations per unit cannot remove) and
        ``"observation"``. None where some coefficient is not estimable.
    inestimable : tuple of str
        Coefficients that the design cannot estimate.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    """

    matrix: Array
    names: tuple[str, ...]
    order: str
    terms: Mapping[str, Array] | None
    inestimable: tuple[str, ...]
    aliases: Mapping[str, str]

    @property
    def standard_errors(self) -> Array:
        """Square roots of the variances, shape (p,)."""
        return np.sqrt(np.diag(self.matrix))

    def position(self, name: str) -> int:
        """Index of a coefficient, called by its name or the name of its one-column term."""
        return coefficient_index(name, self.names, self.aliases)

    def variance(self, combination: Mapping[str, float]) -> float:
        """Variance c′ Cov c of a linear combination of coefficients."""
        at = [self.position(name) for name in combination]
        weights = np.array(list(combination.values()), dtype=float)
        return float(weights @ self.matrix[np.ix_(at, at)] @ weights)

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: variance, standard error, and the variance by source."""
        import pandas as pd

        parts = {} if self.terms is None else {f"from {k}": np.diag(v) for k, v in self.terms.items()}
        columns = {"variance": np.diag(self.matrix), "standard error": self.standard_errors, **parts}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def __repr__(self) -> str:
        return (
            f"Covariance of the fixed effects, order '{self.order}'\n{self.to_frame().to_string(float_format='%.6g')}"
        )

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.6g}".format))


def coefficient_index(name: str, names: tuple[str, ...], aliases: Mapping[str, str]) -> int:
    """Where a coefficient stands; `SpecificationError` suggests the nearest name."""
    full = aliases.get(name, name)
    if full not in names:
        known = [*names, *aliases]
        raise SpecificationError(f"'{name}' is not a coefficient of the model: {listed(names)}.{nearest(name, known)}")
    return names.index(full)


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
    matrix, estimable = inverse_information(point.information)
    missing = tuple(name for name, fine in zip(rows.names, estimable, strict=True) if not fine)
    counts, totals = design.masses
    terms = None
    if not missing:
        parts = {"observation": np.tensordot(totals, point.atom_gradients(), 1)}
        if rows.factor is not None:
            parts = {rows.factor: np.tensordot(counts, point.unit_gradients(), 1), **parts}
        terms = MappingProxyType({name: matrix @ part @ matrix for name, part in parts.items()})
    matrix.flags.writeable = False
    return AsymptoticCovariance(matrix, rows.names, order, terms, missing, rows.aliases)
