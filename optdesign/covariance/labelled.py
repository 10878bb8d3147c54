"""A model at its nominal values on labelled points: numbers only from here on, for any number of factors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from optdesign.covariance.encoded import checked_weights, fixed_columns
from optdesign.covariance.result import component_names
from optdesign.errors import SpecificationError, listed, nearest
from optdesign.families import Link
from optdesign.formula import Encoding
from optdesign.linalg import psd_root, vech_pairs
from optdesign.models import MixedModel, NominalValues
from optdesign.units import LabelledPoints, Labels, kinds, with_cells

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RandomTerm:
    """Random effects of one factor on labelled points.

    Attributes
    ----------
    factor : str
    names : tuple of str
        Names of the r random effects.
    level : integer array, shape (rows,)
        Kind of unit of each row.
    count : array, shape (kinds,)
        How many units are of each kind.
    Z : array, shape (rows, r)
        Random-effect columns.
    sigma : array, shape (r, r)
        Their covariance, positive semi-definite, perhaps singular.
    """

    factor: str
    names: tuple[str, ...]
    level: Index
    count: Array
    Z: Array
    sigma: Array

    @property
    def component_names(self) -> tuple[str, ...]:
        """Names of the variance components, in the order of vech."""
        return component_names(self.factor, self.names)

    @property
    def components(self) -> Array:
        """vech Σ."""
        return self.sigma[vech_pairs(len(self.sigma))]

    def standardised(self) -> RandomTerm:
        """The same term with effects of unit covariance, as many as the rank of Σ."""
        root = psd_root(self.sigma)
        return replace(self, names=self.names[: root.shape[1]], Z=self.Z @ root, sigma=np.eye(root.shape[1]))


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Design-matrix rows with their observations, random terms and Fisher weight.

    Attributes
    ----------
    names : tuple of str
        Fixed-effect names, p of them.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    X : array, shape (rows, p)
    observations : array, shape (rows,)
        Observations made at each row, over all units.
    beta : array, shape (p,)
        The nominal fixed effects.
    eta : array, shape (rows,)
        Fixed part of the linear predictor, without offset.
    terms : tuple of RandomTerm
        In layout order.
    weight : callable
        Linear predictors of shape (…, rows) to Fisher weights w/ϕ of one observation, offset and size included.
    chosen : integer array, shape (rows,)
        Rows with equal numbers differ only in covariates that are drawn for each observation.
    link : Link
    offset, trials : arrays, shape (rows,), or None
        Offset and binomial size of each row, where the rows come from a design or a data frame.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    X: Array
    observations: Array
    beta: Array
    eta: Array
    terms: tuple[RandomTerm, ...]
    weight: Callable[[Array], Array]
    chosen: Index
    link: Link
    offset: Array | None = None
    trials: Array | None = None

    @property
    def residual_variance(self) -> float:
        """σ² of a Gaussian."""
        return 1.0 / float(self.weight(self.eta)[0])

    def standardised(self) -> LabelledRows:
        """The same model with random effects of unit covariance."""
        return replace(self, terms=tuple(term.standardised() for term in self.terms))


@lru_cache(maxsize=64)
def labelled_rows(model: MixedModel, nominal: NominalValues, points: LabelledPoints) -> LabelledRows:
    """Rows of labelled points under a model at its nominal values."""
    encoding, X = fixed_columns(model, nominal, points.frame)
    points = with_cells(points, model.factors)
    for factor in model.factors:
        if factor not in points.labels:
            raise SpecificationError(
                f"the model has random terms for '{factor}', which the design does not have: {listed(points.labels)}."
                f"{nearest(factor, points.labels)}"
            )
    terms = tuple(_term(encoding, nominal, points, factor) for factor in points.labels if factor in model.factors)
    beta = nominal.beta_vector(encoding)
    return LabelledRows(
        encoding.fixed_names,
        encoding.aliases,
        X,
        points.observations,
        beta,
        X @ beta,
        terms,
        lambda eta: checked_weights(model.weight(eta, points.frame) / nominal.dispersion, points.frame),
        points.chosen,
        model.link_function,
        model.offsets(points.frame),
        model.trials(points.frame),
    )


def _term(encoding: Encoding, nominal: NominalValues, points: LabelledPoints, factor: str) -> RandomTerm:
    labels, names = points.labels[factor], encoding.random_names(factor)
    Z = encoding.random_columns(factor, points.frame)
    return RandomTerm(factor, names, labels.level, labels.count, Z, nominal.matrix(factor, names))


def rows_of_kind(rows: LabelledRows, outer: Labels, kind: int) -> LabelledRows:
    """One unit of a kind of the outermost factor on its own, with the units within it; for constant weights."""
    at = np.flatnonzero(outer.level == kind)
    weight = rows.weight(rows.eta)[at]
    terms = []
    for term in rows.terms:
        level, number = kinds([term.level[at]], len(at))
        count = np.zeros(number)
        count[level] = term.count[term.level[at]] / outer.count[kind]
        terms.append(replace(term, level=level, count=count, Z=term.Z[at]))
    return replace(
        rows,
        X=rows.X[at],
        observations=rows.observations[at] / outer.count[kind],
        eta=rows.eta[at],
        terms=tuple(terms),
        weight=lambda eta: np.broadcast_to(weight, eta.shape),
        chosen=rows.chosen[at],
        offset=None,
        trials=None,
    )


def without_cells(rows: LabelledRows) -> LabelledRows:
    """A Gaussian with a random effect of each cell, as one without it: its cells' means and deviations, exactly.

    Observations of a cell with variance σ² + n σ_c² of n times their mean and σ² of their deviations.
    """
    cells = [term for term in rows.terms if ":" in term.factor]
    if not cells:
        return rows
    (cell,) = cells
    _check_cell_intercept(cell)
    others = tuple(term for term in rows.terms if term is not cell)
    total = np.bincount(cell.level, weights=rows.observations)
    first = np.unique(cell.level, return_index=True)[1]
    share = rows.observations / total[cell.level]

    def mean(values: Array) -> Array:
        result = np.zeros((len(total), values.shape[1]))
        np.add.at(result, cell.level, share[:, None] * values)
        return result

    def both(values: Array) -> Array:
        centre = mean(values)
        return np.concatenate([centre, values - centre[cell.level]])

    precision = rows.weight(rows.eta)
    size = total / cell.count
    weight = np.concatenate([1.0 / (1.0 / precision[first] + size * cell.sigma[0, 0]), precision])
    terms = tuple(
        replace(term, Z=both(term.Z), level=np.concatenate([term.level[first], term.level])) for term in others
    )
    return replace(
        rows,
        X=both(rows.X),
        observations=np.concatenate([total, rows.observations]),
        eta=np.concatenate([rows.eta[first], rows.eta]),
        terms=terms,
        weight=lambda eta: np.broadcast_to(weight, eta.shape),
        chosen=np.concatenate([rows.chosen[first], rows.chosen]),
    )


def _check_cell_intercept(cell: RandomTerm) -> None:
    if cell.Z.shape[1] != 1 or np.ptp(cell.Z) > 0:
        raise SpecificationError(
            f"the effect of cells '{cell.factor}' must be a random intercept, (1 | {cell.factor})."
        )
