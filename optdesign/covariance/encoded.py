"""A model at its nominal values on the covariate rows of a design or design space: numbers only from here on."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign import formula as formulas
from optdesign.designs import Region
from optdesign.errors import SpecificationError, listed, nearest, values_at
from optdesign.families import Link
from optdesign.layouts import Layout
from optdesign.linalg import psd_root
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import normal_rule

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Least Fisher weight, and one over the most. A node far out at which every weight underflows has no say in the
#: information, but its share of the normal equations must not be 0/0; products with the weights of the outermost nodes
#: stay above the smallest number, and below the largest.
LEAST = 1e-150
#: Weights worked out at once: more would need several times the memory that they take in the end.
MOST_AT_ONCE = 10**7


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Design-matrix rows, and their Fisher weight at each quadrature node of the random effects.

    Attributes
    ----------
    names : tuple of str
        Fixed-effect names, p of them.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    beta : array, shape (p,)
        The nominal fixed effects.
    factor : str or None
        The grouping factor.
    X : array, shape (rows, p)
    Z : array, shape (rows, r)
        Random-effect columns.
    sigma : array, shape (r, r)
        Covariance of the random effects.
    weight : array, shape (Q, rows)
        w(x, u_q)/ϕ.
    node_weight : array, shape (Q,)
    region : Region
        Which masses each row takes its share of.
    link : Link
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    beta: Array
    factor: str | None
    X: Array
    Z: Array
    sigma: Array
    weight: Array
    node_weight: Array
    region: Region
    link: Link

    def standardised(self) -> EncodedRows:
        """The same model with random effects of unit covariance, as many as the rank of Σ."""
        root = psd_root(self.sigma)
        return replace(self, Z=self.Z @ root, sigma=np.eye(root.shape[1]))


def check_layout(model: MixedModel, layout: Layout | None) -> None:
    """The layout must have the model's grouping factors, one at most."""
    given = layout.factors if layout else ()
    if max(len(given), len(model.factors)) > 1:
        raise SpecificationError(
            "designs are optimised for one grouping factor, Nested('factor'), and for none; degrees of freedom are "
            f"counted for these too. The layout is {layout!r}, and the model has random terms for "
            f"{listed(model.factors)}. covariance(model, guess, design) takes several factors."
        )
    for factor in model.factors:
        if factor not in given:
            raise SpecificationError(
                f"the model has random terms for '{factor}', which the layout does not have: {listed(given)}."
                f"{nearest(factor, given)} Use layout=Nested('{factor}')."
            )


def encode(model: MixedModel, nominal: NominalValues, region: Region, nodes: int) -> EncodedRows:
    """Rows of `region` under the model at its nominal values, with `nodes` quadrature nodes per random effect.

    Regions of equal content, such as those of designs with other counts, share one result.
    """
    return _encoded(model, nominal, _shared(region), nodes)


@dataclass(frozen=True)
class _Content:
    """A region that equals every region of the same content."""

    content: bytes
    region: Region = field(compare=False)


@lru_cache(maxsize=64)
def _shared(region: Region) -> Region:
    # Field by field: what the region has computed so far is no part of what it is.
    content = [getattr(region, part.name) for part in fields(region)]
    return _first_of(_Content(pickle.dumps(content, pickle.HIGHEST_PROTOCOL), region))


@lru_cache(maxsize=64)
def _first_of(known: _Content) -> Region:
    return known.region


@lru_cache(maxsize=64)
def _encoded(model: MixedModel, nominal: NominalValues, region: Region, nodes: int) -> EncodedRows:
    encoding, X, Z, sigma = _columns(model, nominal, region)
    root = psd_root(sigma)
    points, node_weight = normal_rule(root.shape[1], nodes if root.shape[1] else 1)
    beta = nominal.beta_vector(encoding)
    weight, effects, centre = np.empty((len(points), len(X))), (Z @ root).T, X @ beta
    for some in np.array_split(np.arange(len(points)), max(1, weight.size // MOST_AT_ONCE)):
        each = model.weight(centre + points[some] @ effects, region.frame)
        weight[some] = checked_weights(each / nominal.dispersion, region.frame)
    factor = model.factors[0] if model.factors else None
    return EncodedRows(
        encoding.fixed_names,
        encoding.aliases,
        beta,
        factor,
        X,
        Z,
        sigma,
        weight,
        node_weight,
        region,
        model.link_function,
    )


@lru_cache(maxsize=64)
def _columns(
    model: MixedModel, nominal: NominalValues, region: Region
) -> tuple[formulas.Encoding, Array, Array, Array]:
    encoding, X = fixed_columns(model, nominal, region.frame)
    if not model.factors:
        return encoding, X, np.zeros((len(X), 0)), np.zeros((0, 0))
    (factor,) = model.factors
    Z = encoding.random_columns(factor, region.frame)
    return encoding, X, Z, nominal.matrix(factor, encoding.random_names(factor))


def fixed_columns(model: MixedModel, nominal: NominalValues, frame: pd.DataFrame) -> tuple[formulas.Encoding, Array]:
    """The model's encoding, learnt from the reference data or from `frame` itself, and its columns there, (rows, p)."""
    model.check_dispersion(nominal)
    encoding = formulas.learn(model.parsed, frame) if nominal.reference is None else learnt(model, nominal)
    X = encoding.fixed_columns(frame)
    if X.shape[1] == 0:
        raise SpecificationError(f"'{model.formula}' has no fixed effects: there is nothing to plan for. Add a term.")
    return encoding, X


@lru_cache(maxsize=64)
def learnt(model: MixedModel, nominal: NominalValues) -> formulas.Encoding:
    """The model's encoding by the reference data of its nominal values."""
    assert nominal.reference is not None  # else there is nothing to learn from
    return formulas.learn(model.parsed, nominal.reference)


def checked_weights(weight: Array, frame: pd.DataFrame) -> Array:
    """Fisher weights of shape (…, rows), from 1e-150 to 1e150; `SpecificationError` names a point that has more."""
    bad = ~(weight < 1.0 / LEAST).reshape(-1, len(frame)).all(axis=0)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SpecificationError(
            f"the response's mean overflows at {values_at(frame, row)}: check the nominal "
            "values, variances of random effects among them, and the units of the covariates."
        )
    return np.maximum(weight, LEAST)


@lru_cache(maxsize=64)
def random_dimension(model: MixedModel, nominal: NominalValues) -> int:
    """Number of random effects that vary, which sets the dimension of the quadrature; 0 for a Gaussian."""
    if model.is_gaussian or not model.factors:
        return 0
    matrix = nominal.covariance.get(model.factors[0])
    return 0 if matrix is None else psd_root(np.asarray(matrix)).shape[1]
