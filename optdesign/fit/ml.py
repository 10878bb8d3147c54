"""Maximum likelihood, by the fitter `glmm`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import ConvergenceError, SpecificationError, listed
from optdesign.fit.result import Solution, singular_notes
from optdesign.fit.rows import FitRows, check_rows, collinear
from optdesign.linalg import vech_pairs
from optdesign.models import MixedModel

Array = npt.NDArray[np.float64]

#: Adaptive quadrature nodes per dimension, by the number of random effects of one factor; more use Laplace.
QUADRATURE_NODES = {1: 25, 2: 9, 3: 5}


def check_family(model: MixedModel, instead: str) -> None:
    """The fitter must cover the family and the link; the message ends with what to do `instead`."""
    fitted = ("bernoulli", "binomial", "poisson")
    if not model.is_gaussian and model.distribution.name not in fitted:
        raise SpecificationError(
            f"family '{model.distribution.name}' with link '{model.link_function.name}' is not fitted here; fits "
            f"are for Gaussian models with identity link and for {listed(fitted)}. {instead}"
        )


@dataclass(frozen=True, eq=False)
class _Call:
    """A model in the fitter's terms: expanded columns under plain names, and what the names stand for."""

    formula: str
    columns: dict[str, Any]
    plain: dict[str, str]
    options: dict[str, Any]
    rows: FitRows


def maximum_likelihood(model: MixedModel, rows: FitRows, response: Array) -> Solution:
    """The maximum likelihood fit; see `optdesign.fit.fit`."""
    call = translated(model, rows)
    result = _fitted(call, response / rows.trials)
    if not result.converged:
        raise ConvergenceError(
            f"the fit of '{model.formula}' to {len(response)} rows did not converge. {_severe(result, call)} Fit a "
            "simpler model, bring more data, or state the nominal values with NominalValues(beta, covariance)."
        )
    if result.aliased.any():
        raise collinear(name for name, gone in zip(rows.names, result.aliased, strict=True) if gone)
    return _collected(model, call, result)


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a fit of one of many data sets came to; all nan where it failed.

    Attributes
    ----------
    beta, standard_errors : arrays, shape (p,)
    components : array
        vech of each estimated covariance of random effects, in the order of the model's factors.
    dispersion : float
    trouble : str
        Why the fit does not count, empty where it does.
    singular : bool
        Whether a variance is estimated as zero, or a correlation as one.
    """

    beta: Array
    standard_errors: Array
    components: Array
    dispersion: float
    trouble: str
    singular: bool


def estimated(model: MixedModel, rows: FitRows, response: Array) -> Estimates:
    """A maximum likelihood fit, without the words that `fit` has for it; one that fails says so in its result."""
    result = _fitted(translated(model, rows), response / rows.trials)
    trouble = _trouble(result)
    if trouble:
        return _nothing(rows, trouble)
    dispersion, covariance = _dispersion_and_covariance(model, result, len(response))
    components = np.concatenate([np.zeros(0), *(np.asarray(vech, dtype=float) for vech in result.varcorr)])
    errors = np.sqrt(np.diag(covariance))
    return Estimates(np.array(result.beta), errors, components, dispersion, "", bool(result.singular))


def _trouble(result: Any) -> str:
    """Why a fit does not count."""
    if result.aliased.any():
        return "collinear columns"
    if not result.converged:
        return "did not converge"
    return "" if (np.diag(result.vcov) >= 0.0).all() else "no standard errors"


def _nothing(rows: FitRows, trouble: str) -> Estimates:
    """The estimates of a fit that failed."""
    beta = np.full(len(rows.names), np.nan)
    components = np.full(sum(len(vech_pairs(len(names))[0]) for names in rows.random_names.values()), np.nan)
    return Estimates(beta, beta, components, np.nan, trouble, False)


def translated(model: MixedModel, rows: FitRows) -> _Call:
    """A model and its rows in the fitter's terms; `SpecificationError` where it does not cover them."""
    fixed = rows.fixed
    check_rows(model, rows)
    columns: dict[str, Any] = {f"x{i}": column for i, column in enumerate(fixed.T)}
    terms = [f"x{i}" for i in range(fixed.shape[1])]
    for i, factor in enumerate(model.factors):
        columns[f"g{i}"] = rows.labels[factor]
        terms.append(f"({' + '.join(_random_terms(model, rows, factor))} | g{i})")
    plain = {f"x{i}": name for i, name in enumerate(rows.names)}
    plain |= {f"g{i}": factor for i, factor in enumerate(model.factors)}
    return _Call(f"y ~ 0 + {' + '.join(terms)}", columns, plain, _options(model, rows), rows)


def _random_terms(model: MixedModel, rows: FitRows, factor: str) -> list[str]:
    """The fitter's words for a random term: ``1`` and the fixed columns that have a random slope."""
    state = "State the nominal values with NominalValues(beta, covariance) instead."
    if len(model.parsed.random[factor]) > 1:
        raise SpecificationError(
            f"the fitter cannot fit uncorrelated random effects of '{factor}' in '{model.formula}': it estimates every "
            f"covariance, as in (1 + x | {factor}). {state}"
        )
    columns, names = rows.random[factor], rows.random_names[factor]
    if not (columns[:, :1] == 1.0).all():
        raise SpecificationError(
            f"the fitter cannot fit a random term without an intercept, which is that of '{factor}' ({listed(names)}) "
            f"in '{model.formula}'. {state}"
        )
    terms = ["1"]
    for column, name in zip(columns.T[1:], names[1:], strict=True):
        partners = np.flatnonzero((rows.fixed == column[:, None]).all(axis=0))
        if not partners.size:
            raise SpecificationError(
                f"the fitter cannot fit the random slope '{name}' of '{factor}' without a fixed effect of the same "
                f"name: add '{name}' to the fixed part. {state}"
            )
        terms.append(f"x{partners[0]}")
    return terms


def _options(model: MixedModel, rows: FitRows) -> dict[str, Any]:
    binomial = model.distribution.name in ("bernoulli", "binomial")
    options: dict[str, Any] = {
        "family": "binomial" if binomial else model.distribution.name,
        "link": model.link_function.name,
        "reml": False,
        # Tests of terms and their degrees of freedom are not used here, and cost refits.
        "satterthwaite": False,
        "anova_test": "Wald",
    }
    if not model.is_gaussian and len(model.factors) == 1:
        options["nagq"] = QUADRATURE_NODES.get(len(rows.random_names[model.factors[0]]), 1)
    if binomial:
        options["weights"] = rows.trials
    if rows.offset is not None:
        options["offset"] = rows.offset
    return options


def _fitted(call: _Call, response: Array) -> Any:
    """The fitter's result. Its warnings are kept in the result and become notes, so none is shown."""
    import glmm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return glmm.fit({"y": response, **call.columns}, call.formula, **call.options)


def _renamed(message: str, call: _Call) -> str:
    """The fitter's words with the names of the model in place of the plain ones."""
    return re.sub(r"\b[xg]\d+\b", lambda found: f"'{call.plain.get(found[0], found[0])}'", message)


def _severe(result: Any, call: _Call) -> str:
    return " ".join(_renamed(w["message"], call) for w in result.warnings if w["tier"] == "severe")


def _collected(model: MixedModel, call: _Call, result: Any) -> Solution:
    matrices = {
        factor: _matrix(vech, len(call.rows.random_names[factor]))
        for factor, vech in zip(model.factors, result.varcorr, strict=True)
    }
    dispersion, covariance = _dispersion_and_covariance(model, result, len(call.rows.trials))
    beta, notes = np.array(result.beta, dtype=float), _fit_notes(model, call, result, matrices)
    return Solution(beta, covariance, matrices, dispersion, float(result.loglik), notes)


def _dispersion_and_covariance(model: MixedModel, result: Any, rows: int) -> tuple[float, Array]:
    dispersion, covariance = float(result.dispersion), np.array(result.vcov, dtype=float)
    if not model.is_gaussian or model.factors or dispersion == 0.0:
        return dispersion, covariance
    # Least squares divides by the residual degrees of freedom; maximum likelihood by the observations.
    ratio = result.rss / (rows * dispersion)
    return dispersion * ratio, covariance * ratio


def _matrix(vech: Sequence[float], size: int) -> Array:
    """A symmetric matrix from its lower triangle, column by column."""
    matrix = np.zeros((size, size))
    row, column = np.triu_indices(size)
    matrix[row, column] = matrix[column, row] = vech
    matrix.flags.writeable = False
    return matrix


def _fit_notes(model: MixedModel, call: _Call, result: Any, matrices: Mapping[str, Array]) -> tuple[str, ...]:
    notes = [
        _renamed(w["message"], call) for w in result.warnings if w["tier"] == "caution" and w["kind"] != "singular"
    ]
    if model.factors and not model.is_gaussian and call.options.get("nagq", 1) == 1:
        notes.append("The likelihood is the Laplace approximation: variances tend to come out small in small units.")
    for factor, matrix in matrices.items() if result.singular else ():
        notes += singular_notes(factor, matrix / result.dispersion, call.rows.random_names[factor])
    return tuple(notes)
