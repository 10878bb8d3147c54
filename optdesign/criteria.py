"""Optimality criteria: functions of the covariance of the fixed effects, always minimised.

Every criterion here is φ(Lᵀ Cov L), with φ the log-determinant or the trace and L a matrix of combinations. On the
efficiency scale Φ is det^(−1/k) or 1/trace, concave and homogeneous of degree one in the masses of a design, so
that the ratio of two values of Φ is a ratio of sample sizes, or of money.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from optdesign.covariance import coefficient_index
from optdesign.errors import NotEstimableError, SpecificationError, is_number, listed
from optdesign.linalg import SINGULAR

Array = npt.NDArray[np.float64]
Names = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class BoundCriterion:
    """A criterion tied to the coefficients of a model.

    Attributes
    ----------
    combinations : array, shape (p, k)
        L; its columns are the combinations of coefficients that matter.
    determinant : bool
        Whether φ is the log-determinant; the trace otherwise.
    names : tuple of str
        Coefficient names, length p.
    balanced : bool
        Whether information matrices come in a basis in which they are near the identity, so that their own scale
        says what is not identified.
    """

    combinations: Array
    determinant: bool
    names: Names
    balanced: bool = False

    @property
    def size(self) -> int:
        """Number of combinations, k."""
        return int(self.combinations.shape[1])

    def value(self, information: Array) -> float:
        """Criterion value at an information matrix; ``inf`` where a combination is not estimable."""
        return float(self.values(information[None])[0])

    def values(self, information: Array) -> Array:
        """Criterion values at many information matrices, shape (n, p, p) to (n,).

        A combination is estimable when it lies in the range of the information matrix, scaled to a unit diagonal.
        """
        diagonal = np.diagonal(information, axis1=1, axis2=2)
        usable = (diagonal > 0) & ~self.balanced
        scale = np.where(usable, 1.0 / np.sqrt(np.where(usable, diagonal, 1.0)), float(self.balanced))
        spectrum, vectors = np.linalg.eigh(information * scale[:, :, None] * scale[:, None, :])
        kept = spectrum > SINGULAR
        loads = np.swapaxes(vectors, 1, 2) @ (self.combinations * scale[:, :, None])
        lost = np.linalg.norm(loads * ~kept[:, :, None], axis=1) > 1e-6 * np.linalg.norm(loads, axis=1)
        unseen = ((scale == 0)[:, :, None] & (self.combinations != 0)).any(axis=(1, 2))
        block = np.swapaxes(loads, 1, 2) @ (loads * (kept / np.where(kept, spectrum, 1.0))[:, :, None])
        block[lost.any(axis=1) | unseen] = np.eye(self.size)
        found = np.linalg.slogdet(block)[1] if self.determinant else np.trace(block, axis1=1, axis2=2)
        return np.where(lost.any(axis=1) | unseen, np.inf, found)

    def value_at(self, covariance: Array) -> float:
        """Criterion value at a covariance matrix whose every entry that matters is finite."""
        used = np.abs(self.combinations).max(axis=1) > 0
        L = self.combinations[used]
        block = L.T @ covariance[np.ix_(used, used)] @ L
        return float(np.linalg.slogdet(block)[1] if self.determinant else np.trace(block))

    def loss(self, information: Array) -> float:
        """−log Φ: log-determinant per combination, or log trace."""
        return self.loss_of(self.value(information))

    def loss_of(self, value: float) -> float:
        """−log Φ at a criterion value."""
        return value / self.size if self.determinant else float(np.log(value))

    def losses(self, information: Array) -> Array:
        """−log Φ at many information matrices, shape (n, p, p) to (n,)."""
        values = self.values(information)
        return values / self.size if self.determinant else np.log(values)

    def in_basis(self, basis: Array) -> BoundCriterion:
        """The criterion for information matrices given as BᵀMB, with B of shape (p, p) and regular."""
        return replace(self, combinations=basis.T @ self.combinations, balanced=True)

    def efficiency(self, value: float, best: float) -> float:
        """Φ ratio of two criterion values: the share of the sample that the better design needs."""
        return float(np.exp(self.loss_of(best) - self.loss_of(value)))

    def root(self, covariance: Array) -> Array:
        """U, shape (p, k), with gradient −UUᵀ of the loss with respect to the information matrix."""
        pulled = covariance @ self.combinations
        block = self.combinations.T @ pulled
        if self.determinant:
            inverse_root = np.linalg.inv(np.linalg.cholesky(block)).T
            return np.asarray(pulled @ inverse_root / np.sqrt(self.size))
        return np.asarray(pulled / np.sqrt(np.trace(block)))

    def correction(self, changes: Array) -> Array:
        """What the logarithm takes off the Hessian, from UᵀdM_iU of each mass, shape (n, k, k)."""
        if self.determinant:
            flat = changes.reshape(len(changes), -1)
            return np.asarray(self.size * flat @ flat.T)
        traces = np.trace(changes, axis1=1, axis2=2)
        return np.outer(traces, traces)

    def require_estimable(self, information: Array, where: str) -> None:
        """`NotEstimableError` that names the coefficients which no design in reach can estimate."""
        if np.isfinite(self.value(information)):
            return
        used = np.flatnonzero(np.abs(self.combinations).max(axis=1) > 0)
        single = [BoundCriterion(np.eye(len(self.names))[:, [i]], False, self.names) for i in used]
        missing = tuple(c.names[i] for i, c in zip(used, single, strict=True) if not np.isfinite(c.value(information)))
        raise NotEstimableError(
            f"{listed(missing or [self.names[i] for i in used])} cannot be estimated from any {where}: the candidate "
            "points do not vary in the direction it needs. Add candidates at which its column differs from the "
            "other columns, or leave the term out of the model.",
            missing,
        )


class Criterion(Protocol):
    """What an optimality criterion offers."""

    def bind(self, names: Names, aliases: Mapping[str, str]) -> BoundCriterion:
        """The criterion for a model with these coefficients."""

    @property
    def label(self) -> str:
        """The criterion in words."""


@dataclass(frozen=True)
class DOptimality:
    """Log-determinant of the covariance of all coefficients, or of some (D_s).

    Parameters
    ----------
    of : sequence of str, optional
        Coefficients, or names of one-column terms; all by default.

    Examples
    --------
    >>> round(DOptimality().bind(("a", "b"), {}).value(np.diag([2.0, 4.0])), 6)
    -2.079442
    """

    of: Sequence[str] | None = None

    def bind(self, names: Names, aliases: Mapping[str, str]) -> BoundCriterion:
        """The criterion for a model with these coefficients."""
        chosen = list(names) if self.of is None else list(self.of)
        if not chosen or len(set(chosen)) < len(chosen):
            raise SpecificationError(f"DOptimality: of= needs distinct coefficients; got {listed(chosen)}.")
        at = [coefficient_index(name, names, aliases) for name in chosen]
        return BoundCriterion(np.eye(len(names))[:, at], True, names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return "log determinant of the covariance of " + ("all coefficients" if self.of is None else ", ".join(self.of))


@dataclass(frozen=True)
class AOptimality:
    """Sum of the variances of the coefficients, each with a weight: trace(W Cov).

    Parameters
    ----------
    weights : mapping from coefficient to weight, optional
        Weights not negative; coefficients left out have weight zero. One for every coefficient by default.
    """

    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if self.weights is not None:
            _check_numbers("AOptimality: weights", self.weights, lowest=0.0)
            object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))

    def bind(self, names: Names, aliases: Mapping[str, str]) -> BoundCriterion:
        """The criterion for a model with these coefficients."""
        if self.weights is None:
            return BoundCriterion(np.eye(len(names)), False, names)
        used = {name: weight for name, weight in self.weights.items() if weight > 0}
        at = [coefficient_index(name, names, aliases) for name in used]
        return BoundCriterion(np.eye(len(names))[:, at] * np.sqrt(list(used.values())), False, names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return "sum of the variances of " + (
            "all coefficients" if self.weights is None else ", ".join(f"{w:g} × {n}" for n, w in self.weights.items())
        )


@dataclass(frozen=True)
class COptimality:
    """Variance of one linear combination of coefficients, c′ Cov c.

    Parameters
    ----------
    combination : mapping from coefficient to number

    Examples
    --------
    >>> COptimality({"b": 2.0}).bind(("a", "b"), {}).value(np.diag([2.0, 4.0]))
    1.0
    """

    combination: Mapping[str, float]

    def __post_init__(self) -> None:
        _check_numbers("COptimality: the combination", self.combination, lowest=-np.inf)
        object.__setattr__(self, "combination", MappingProxyType(dict(self.combination)))

    def bind(self, names: Names, aliases: Mapping[str, str]) -> BoundCriterion:
        """The criterion for a model with these coefficients."""
        vector = np.zeros((len(names), 1))
        for name, value in self.combination.items():
            vector[coefficient_index(name, names, aliases), 0] += value
        return BoundCriterion(vector, False, names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        combination = " + ".join(n if v == 1 else f"{v:g} × {n}" for n, v in self.combination.items())
        return f"variance of {combination}"


def _check_numbers(what: str, numbers: Mapping[str, float], lowest: float) -> None:
    fine = all(is_number(v) and v >= lowest for v in numbers.values())
    if not fine or not any(v != 0 for v in numbers.values()):
        raise SpecificationError(
            f"{what} must be finite{', not negative' if lowest == 0 else ''} and not all zero; got {dict(numbers)}."
        )
