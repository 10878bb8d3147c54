"""Optimality criteria: functions of the covariance of the estimates, always minimised.

Every elementary criterion is φ(LᵀCovL), with φ the log-determinant, the trace or the largest eigenvalue and L a matrix
of combinations. On the efficiency scale Φ is det^(−1/k), 1/trace or 1/λ_max: concave and homogeneous of degree one in
the masses of a design, so that the ratio of two values of Φ is a ratio of sample sizes, or of money. Compound, Bayesian
and maximin criteria are means or minima of elementary ones, over criteria or over scenarios of nominal values, which
are concave and homogeneous too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from optdesign.covariance import coefficient_index
from optdesign.covariance.transform import Function, gradient_of
from optdesign.errors import NotEstimableError, SpecificationError, check_kind, is_number, listed
from optdesign.goals import Arithmetic, Determinant, Geometric, Goal, Largest, Mean, Trace, Worst
from optdesign.linalg import combined, psd_root
from optdesign.measures import Measure
from optdesign.models import NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Names = tuple[str, ...]
T = TypeVar("T")

#: The usual reason why a coefficient cannot be estimated, and its remedy.
NO_VARIATION = (
    "the candidate points do not vary in the direction it needs. Add candidates at which its column differs from the "
    "other columns, or leave the term out of the model."
)


@dataclass(frozen=True, eq=False)
class Parameters:
    """What a criterion may refer to: the parameters of a model at its nominal values.

    Attributes
    ----------
    names : tuple of str
        Fixed effects, then variance components where a criterion uses them.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    estimate : array, shape (p,)
        Nominal values.
    columns : callable
        Covariate rows to their columns of the fixed effects, shape (rows, p), zero for variance components.
    """

    names: Names
    aliases: Mapping[str, str]
    estimate: Array
    columns: Callable[[pd.DataFrame], Array]

    def at(self, name: str) -> int:
        """Where a parameter stands."""
        return coefficient_index(name, self.names, self.aliases)


@dataclass(frozen=True, eq=False)
class Part:
    """One elementary criterion in one scenario: φ of LᵀCovL, with L = `combinations` of shape (p, k)."""

    goal: Goal
    combinations: Array
    scenario: int = 0

    def block(self, covariance: Array) -> Array:
        """LᵀCovL, from the entries of the covariance that matter."""
        used = np.abs(self.combinations).max(axis=1) > 0
        L = self.combinations[used]
        return np.asarray(L.T @ covariance[..., used, :][..., used] @ L)

    def blocks(self, information: Array, balanced: bool) -> tuple[Array, npt.NDArray[np.bool_]]:
        """LᵀM⁻L of many information matrices, shape (n, p, p) to (n, k, k), and where it exists."""
        return combined(information, self.combinations, balanced)


@dataclass(frozen=True, eq=False)
class BoundCriterion:
    """A criterion tied to the parameters of a model.

    Attributes
    ----------
    parts : tuple of Part
    mean : Geometric, Arithmetic or Worst
        How the parts' losses make one.
    logarithmic : bool
        Whether the criterion's value is a logarithm, such as a log-determinant.
    size : int
        Number of combinations that a logarithmic value adds up.
    names : tuple of str
        Parameter names, length p.
    balanced : bool
        Whether information matrices come in a basis in which they are near the identity, so that their own scale
        says what is not identified.
    """

    parts: tuple[Part, ...]
    mean: Mean
    logarithmic: bool
    size: int
    names: Names
    balanced: bool = False

    @property
    def scenarios(self) -> int:
        """Number of scenarios, S: informations have shape (S, p, p)."""
        return 1 + max(part.scenario for part in self.parts)

    @property
    def cornered(self) -> bool:
        """Whether the loss has corners, which a search rounds off."""
        return isinstance(self.mean, Worst) or any(isinstance(part.goal, Largest) for part in self.parts)

    def losses(self, informations: Array) -> Array:
        """−log Φ of many plans, shape (n, S, p, p) to (n,); ``inf`` where a combination is not estimable."""
        each, fine = [], np.ones(len(informations), dtype=bool)
        for part in self.parts:
            block, exists = part.blocks(informations[:, part.scenario], self.balanced)
            each.append(part.goal.loss(block))
            fine &= exists
        return np.where(fine, self.mean.loss(np.array(each)), np.inf)

    def loss(self, informations: Array) -> float:
        """−log Φ at informations of shape (S, p, p)."""
        return float(self.losses(informations[None])[0])

    def loss_at(self, covariances: Sequence[Array]) -> float:
        """−log Φ at a covariance matrix for each scenario; ``inf`` where a variance that matters is infinite."""
        blocks = [part.block(covariances[part.scenario]) for part in self.parts]
        if not all(np.isfinite(block).all() for block in blocks):
            return float("inf")
        return float(self.mean.loss(np.array([p.goal.loss(b) for p, b in zip(self.parts, blocks, strict=True)])))

    def value_of(self, loss: float) -> float:
        """Criterion value at a loss."""
        return loss * self.size if self.logarithmic else float(np.exp(loss))

    def loss_of(self, value: float) -> float:
        """−log Φ at a criterion value."""
        return value / self.size if self.logarithmic else float(np.log(value))

    def efficiency(self, value: float, best: float) -> float:
        """Φ ratio of two criterion values: the share of the sample that the better design needs."""
        return float(np.exp(self.loss_of(best) - self.loss_of(value)))

    @property
    def used(self) -> Names:
        """The parameters whose estimates matter."""
        return tuple(self.names[i] for i in self._used)

    @property
    def _used(self) -> npt.NDArray[np.intp]:
        return np.flatnonzero(np.max([np.abs(part.combinations).max(axis=1) for part in self.parts], axis=0))

    def in_basis(self, basis: Array) -> BoundCriterion:
        """The criterion for information matrices given as BᵀMB; B, of shape (p, r), spans what they identify."""
        parts = tuple(replace(part, combinations=basis.T @ part.combinations) for part in self.parts)
        return replace(self, parts=parts, balanced=True)

    def at(self, covariances: Sequence[Array], smoothing: float) -> CriterionPoint:
        """The loss with its derivatives, at regular covariance matrices.

        `smoothing` rounds off the corners of a largest eigenvalue or a worst case; others do not depend on it.

        Raises
        ------
        numpy.linalg.LinAlgError
            Where rounding took a variance below zero, next to an information matrix that is singular.
        """
        pulled = tuple(covariances[part.scenario] @ part.combinations for part in self.parts)
        blocks = [part.combinations.T @ V for part, V in zip(self.parts, pulled, strict=True)]
        if not all((np.diagonal(C) > 0).all() for C in blocks):
            raise np.linalg.LinAlgError("a variance is lost in rounding")
        weights = tuple(part.goal.weight(C, smoothing) for part, C in zip(self.parts, blocks, strict=True))
        losses = np.array([p.goal.smooth(C, W, smoothing) for p, C, W in zip(self.parts, blocks, weights, strict=True)])
        return CriterionPoint(self, smoothing, pulled, tuple(blocks), weights, losses)

    def require_estimable(
        self, informations: Array, where: str, why: Callable[[Names], str] = lambda _: NO_VARIATION
    ) -> None:
        """`NotEstimableError` that names the coefficients which no design in reach can estimate, and says why."""
        if np.isfinite(self.loss(informations)):
            return
        single = [Part(Trace(), np.eye(len(self.names))[:, [i]]) for i in self._used]
        missing = tuple(
            name for name, part in zip(self.used, single, strict=True) if not part.blocks(informations, False)[1].all()
        )
        named = missing or self.used
        raise NotEstimableError(f"{listed(named)} cannot be estimated from any {where}: {why(named)}", missing)


@dataclass(frozen=True, eq=False)
class Multipliers:
    """Weights W of the parts' blocks, with tr(WC) = 1, and shares of the parts, summing to one: a gradient.

    For a loss without corners these are its derivatives; at a corner any of a convex set, which a search looks for.
    """

    weights: tuple[Array, ...]
    shares: Array

    def moved(self, change: Multipliers, length: float, blocks: Sequence[Array]) -> Multipliers:
        """A step along a change, weights scaled to blocks where it ends."""
        weights = [W + length * dW for W, dW in zip(self.weights, change.weights, strict=True)]
        scaled = tuple(W / np.sum(W * C) for W, C in zip(weights, blocks, strict=True))
        shares = self.shares + length * change.shares
        return Multipliers(scaled, shares / shares.sum())

    def longest(self, change: Multipliers) -> float:
        """Longest step, at most one, that keeps weights positive definite and shares positive, a hair short of it."""
        least = [np.min(change.shares / self.shares)]
        for W, dW in zip(self.weights, change.weights, strict=True):
            half = np.linalg.inv(np.linalg.cholesky(W))
            least.append(np.linalg.eigvalsh(half @ dW @ half.T)[0])
        return min(1.0, 0.995 / max(-float(min(least)), 1e-300))


@dataclass(frozen=True, eq=False)
class CriterionPoint:
    """The loss of a criterion at some covariances, and its derivatives with respect to the informations.

    Attributes
    ----------
    criterion : BoundCriterion
    smoothing : float
    pulled : tuple of array, shape (p, k)
        V = Cov L of each part.
    blocks, weights : tuples of array, shape (k, k)
        C = LᵀCovL of each part, and W with ∂ℓ/∂C = W and tr(WC) = 1.
    losses : array, shape (parts,)
        Smoothed losses of the parts.
    """

    criterion: BoundCriterion
    smoothing: float
    pulled: tuple[Array, ...]
    blocks: tuple[Array, ...]
    weights: tuple[Array, ...]
    losses: Array

    @property
    def loss(self) -> float:
        """The smoothed loss."""
        return float(self.criterion.mean.smooth(self.losses, self.smoothing))

    @cached_property
    def own(self) -> Multipliers:
        """The smoothed loss's own weights and shares."""
        return Multipliers(self.weights, self.criterion.mean.shares(self.losses, self.smoothing))

    def bound(self, by: Multipliers) -> float:
        """b such that no admissible design has a loss below b − log max zψ, ψ the gradient by some multipliers."""
        parts = zip(self.criterion.parts, self.losses, by.weights, strict=True)
        return float(self.criterion.mean.bound(by.shares, np.array([p.goal.bound(v, W) for p, v, W in parts])))

    def directions(self, by: Multipliers) -> list[Array]:
        """U_s of each scenario, with ∂loss/∂M_s = −U_sU_sᵀ, shape (p, columns)."""
        found: list[list[Array]] = [[] for _ in range(self.criterion.scenarios)]
        for part, V, W, share in zip(self.criterion.parts, self.pulled, by.weights, by.shares, strict=True):
            found[part.scenario].append(np.sqrt(share) * V @ np.linalg.cholesky(W))
        return [columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1) for columns in found]

    def second(self, changes: Sequence[Array], by: Multipliers) -> Array:
        """What the Hessian has beside 2 tr(UᵀdM Cov dM U) and the curvature of M, from dM_s of shape (n, p, p)."""
        total, gains, mu = np.zeros(()), [], self.smoothing
        parts = zip(self.criterion.parts, self.pulled, self.blocks, self.weights, by.weights, by.shares, strict=True)
        for part, V, C, own, W, share in parts:
            moved = V.T @ changes[part.scenario] @ V
            gains.append(np.tensordot(moved, own, 2))
            total = total + share * part.goal.second(moved, C, own, W, mu)
        among = self.criterion.mean.second(self.own.shares, by.shares, mu)
        if among is not None:
            total = total + np.transpose(gains) @ among @ np.array(gains)
        return total

    def step(self, moves: Sequence[Array], by: Multipliers) -> Multipliers:
        """Change of the multipliers as the informations change by `moves`, shape (p, p) each."""
        mu, gains, weights = self.smoothing, [], []
        parts = zip(self.criterion.parts, self.pulled, self.blocks, self.weights, by.weights, strict=True)
        for part, V, C, own, W in parts:
            moved = V.T @ moves[part.scenario] @ V
            gains.append(np.sum(moved * own))
            weights.append(part.goal.step(moved, C, own, W, mu) if isinstance(part.goal, Largest) else own - W)
        mean = self.criterion.mean
        if isinstance(mean, Worst):
            return Multipliers(tuple(weights), mean.step(np.array(gains), self.own.shares, by.shares, mu))
        return Multipliers(tuple(weights), self.own.shares - by.shares)


class Criterion(Protocol):
    """What an optimality criterion offers."""

    @property
    def scenarios(self) -> tuple[NominalValues, ...]:
        """Nominal values at which it is evaluated; none where it takes those at hand."""

    def bind(self, parameters: Sequence[Parameters]) -> BoundCriterion:
        """The criterion for a model with these parameters, an entry for each scenario."""

    @property
    def label(self) -> str:
        """The criterion in words."""


class Elementary:
    """A criterion of one covariance matrix: φ(LᵀCovL)."""

    @property
    def scenarios(self) -> tuple[NominalValues, ...]:
        """None: the nominal values at hand."""
        return ()

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """The criterion in words."""
        raise NotImplementedError

    def bind(self, parameters: Sequence[Parameters]) -> BoundCriterion:
        """The criterion for a model with these parameters."""
        part = self.part(parameters[0], 0)
        return BoundCriterion((part,), Geometric((1.0,)), *_scale(part), parameters[0].names)


def _scale(part: Part) -> tuple[bool, int]:
    """Whether the value of an elementary criterion is a logarithm, and how many combinations it adds up."""
    determinant = isinstance(part.goal, Determinant)
    return determinant, part.combinations.shape[1] if determinant else 1


@dataclass(frozen=True)
class DOptimality(Elementary):
    """Log-determinant of the covariance of all coefficients, or of some (D_s).

    Parameters
    ----------
    of : sequence of str, optional
        Coefficients, or names of one-column terms; all by default.

    Examples
    --------
    >>> DOptimality(["treat"]).label
    'log determinant of the covariance of treat'
    """

    of: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_names(type(self).__name__, self.of)

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        return Part(Determinant(), _chosen("DOptimality", self.of, parameters), scenario)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return "log determinant of the covariance of " + _named(self.of)


@dataclass(frozen=True)
class EOptimality(Elementary):
    """Largest eigenvalue of the covariance: the variance of the worst combination of unit length.

    Parameters
    ----------
    of : sequence of str, optional
        Coefficients that combine; all by default. Their units of measurement matter.

    Examples
    --------
    >>> EOptimality().label
    'largest eigenvalue of the covariance of all coefficients'
    """

    of: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_names(type(self).__name__, self.of)

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        return Part(Largest(), _chosen("EOptimality", self.of, parameters), scenario)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return "largest eigenvalue of the covariance of " + _named(self.of)


def _check_names(what: str, of: object) -> None:
    named = isinstance(of, Iterable) and not isinstance(of, str) and all(isinstance(name, str) for name in of)
    if of is not None and not named:
        raise SpecificationError(f"{what}: of= needs a list of coefficients, such as ['treat']; got {of!r}.")


def _chosen(what: str, of: Sequence[str] | None, parameters: Parameters) -> Array:
    chosen = list(parameters.names) if of is None else list(of)
    if not chosen or len(set(chosen)) < len(chosen):
        raise SpecificationError(f"{what}: of= needs distinct coefficients; got {listed(chosen)}.")
    return np.eye(len(parameters.names))[:, [parameters.at(name) for name in chosen]]


def _named(of: Sequence[str] | None) -> str:
    return "all coefficients" if of is None else ", ".join(of)


@dataclass(frozen=True)
class AOptimality(Elementary):
    """Sum of the variances of the coefficients, each with a weight: trace(W Cov).

    Parameters
    ----------
    weights : mapping from coefficient to weight, or matrix, optional
        Weights not negative; coefficients left out have weight zero. A positive semi-definite matrix W over all
        coefficients gives the L-criterion. One for every coefficient by default.

    Examples
    --------
    >>> AOptimality({"treat": 1.0, "visit": 2.0}).label
    'sum of the variances of 1 × treat, 2 × visit'
    """

    weights: Mapping[str, float] | npt.ArrayLike | None = None

    def __post_init__(self) -> None:
        if isinstance(self.weights, Mapping):
            _check_numbers("AOptimality: weights", self.weights, lowest=0.0)
            object.__setattr__(self, "weights", MappingProxyType(dict(self.weights)))
        elif self.weights is not None:
            _weight_matrix(self.weights)

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        identity = np.eye(len(parameters.names))
        if self.weights is None:
            return Part(Trace(), identity, scenario)
        if not isinstance(self.weights, Mapping):
            return Part(Trace(), _root_of_weights(_weight_matrix(self.weights), parameters.names), scenario)
        used = {name: weight for name, weight in self.weights.items() if weight > 0}
        at = [parameters.at(name) for name in used]
        return Part(Trace(), identity[:, at] * np.sqrt(list(used.values())), scenario)

    @property
    def label(self) -> str:
        """The criterion in words."""
        if self.weights is None:
            return "sum of the variances of all coefficients"
        if not isinstance(self.weights, Mapping):
            return "weighted trace of the covariance of all coefficients"
        return "sum of the variances of " + ", ".join(f"{w:g} × {n}" for n, w in self.weights.items())


def _weight_matrix(given: npt.ArrayLike) -> Array:
    try:
        return np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise SpecificationError(
            f"AOptimality: weights are a table such as {{'treat': 1.0}}, or a matrix of numbers; got {given!r:.80}."
        ) from None


def _root_of_weights(weights: Array, names: Names) -> Array:
    size = len(names)
    symmetric = weights.shape == (size, size) and np.allclose(weights, weights.T)
    if not symmetric or not np.isfinite(weights).all() or np.linalg.eigvalsh(weights).min() < -1e-10:
        raise SpecificationError(
            f"AOptimality: a weight matrix must be symmetric, positive semi-definite and of shape {(size, size)} for "
            f"{listed(names)}; got {weights.tolist()}."
        )
    root = psd_root(weights)
    if not root.size:
        raise SpecificationError("AOptimality: the weight matrix is zero: nothing would be minimised.")
    return root


@dataclass(frozen=True)
class COptimality(Elementary):
    """Variance of one linear combination of parameters, c′ Cov c, or of a smooth function of them.

    Parameters
    ----------
    combination : mapping from parameter to number, expression or callable
        An expression such as ``"exp(treat)"`` or a callable of a mapping from name to value is a function of the
        parameters, and c its gradient at the nominal values (delta method). Variance components are called as
        ``covariance(…, parameters="all")`` names them, in backticks within an expression.

    Examples
    --------
    >>> COptimality({"treat": 1, "visit": 2}).label
    'variance of treat + 2 × visit'
    """

    combination: Mapping[str, float] | str | Function

    def __post_init__(self) -> None:
        if isinstance(self.combination, Mapping):
            _check_numbers("COptimality: the combination", self.combination, lowest=-np.inf)
            object.__setattr__(self, "combination", MappingProxyType(dict(self.combination)))
        elif not (isinstance(self.combination, str) or callable(self.combination)):
            raise SpecificationError(
                f"COptimality: the combination is a table such as {{'treat': 1}}, an expression or a function of the "
                f"parameters; got {self.combination!r}."
            )

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        if not isinstance(self.combination, Mapping):
            vector = gradient_of(self.combination, parameters.names, parameters.aliases, parameters.estimate)
            return Part(Trace(), vector.T, scenario)
        column = np.zeros((len(parameters.names), 1))
        for name, value in self.combination.items():
            column[parameters.at(name), 0] += value
        return Part(Trace(), column, scenario)

    @property
    def label(self) -> str:
        """The criterion in words."""
        if isinstance(self.combination, Mapping):
            return "variance of " + " + ".join(n if v == 1 else f"{v:g} × {n}" for n, v in self.combination.items())
        return (
            f"variance of {self.combination if isinstance(self.combination, str) else 'a function of the parameters'}"
        )


def _check_numbers(what: str, numbers: Mapping[str, float], lowest: float) -> None:
    fine = all(is_number(v) and v >= lowest for v in numbers.values())
    if not fine or not any(v != 0 for v in numbers.values()):
        raise SpecificationError(
            f"{what} must be finite{', not negative' if lowest == 0 else ''} and not all zero; got {dict(numbers)}."
        )


@dataclass(frozen=True)
class IOptimality(Elementary):
    """Variance of the predicted linear predictor, averaged over a region: E x(s)ᵀ Cov x(s).

    Parameters
    ----------
    over : Measure
        Law of all covariates of the model over the region of interest.

    Examples
    --------
    >>> IOptimality(Measure.grid(x=[-1, 0, 1])).label
    'mean prediction variance over 3 points'
    """

    over: Measure

    def __post_init__(self) -> None:
        if not isinstance(self.over, Measure):
            raise SpecificationError("IOptimality: over= must be a Measure, such as Measure.grid(x=[0, 1]).")

    def part(self, parameters: Parameters, scenario: int) -> Part:
        """The criterion in one scenario."""
        X = parameters.columns(self.over.points)
        return Part(Trace(), psd_root(X.T @ (self.over.weights[:, None] * X)), scenario)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return f"mean prediction variance over {len(self.over.points)} points"


@dataclass(frozen=True)
class Compound:
    """A weighted geometric mean of efficiencies: Σ w (−log Φ) over several criteria, weights summing to one.

    Parameters
    ----------
    criteria : sequence of (weight, criterion)
        Elementary criteria with positive weights; scaled to sum to one.

    Examples
    --------
    >>> Compound([(1, DOptimality()), (3, COptimality({"treat": 1}))]).label
    '0.25 × log determinant of the covariance of all coefficients, 0.75 × variance of treat (mean log efficiency)'
    """

    criteria: Sequence[tuple[float, Elementary]]

    def __post_init__(self) -> None:
        object.__setattr__(self, "criteria", _weighted("Compound", self.criteria, Elementary, "elementary criteria"))

    @property
    def scenarios(self) -> tuple[NominalValues, ...]:
        """None: the nominal values at hand."""
        return ()

    def bind(self, parameters: Sequence[Parameters]) -> BoundCriterion:
        """The criterion for a model with these parameters."""
        parts = tuple(criterion.part(parameters[0], 0) for _, criterion in self.criteria)
        mean = Geometric(tuple(weight for weight, _ in self.criteria))
        return BoundCriterion(parts, mean, True, 1, parameters[0].names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return ", ".join(f"{w:.3g} × {c.label}" for w, c in self.criteria) + " (mean log efficiency)"


@dataclass(frozen=True)
class Bayesian:
    """A criterion averaged over scenarios of nominal values: E φ, so that no single guess has to be right.

    Parameters
    ----------
    criterion : elementary criterion
    scenarios : sequence of NominalValues, or of (weight, NominalValues)
        Weights, equal unless given, are scaled to sum to one.

    Examples
    --------
    >>> guesses = [(0.5, NominalValues([0.0, effect])) for effect in (0.2, 0.8)]
    >>> Bayesian(COptimality({"treat": 1}), guesses).label
    'variance of treat, averaged over 2 scenarios'
    """

    criterion: Elementary
    weighted: Sequence[tuple[float, NominalValues]]

    def __init__(self, criterion: Elementary, scenarios: Sequence[NominalValues | tuple[float, NominalValues]]) -> None:
        object.__setattr__(self, "criterion", _elementary("Bayesian", criterion))
        object.__setattr__(self, "weighted", _weighted("Bayesian", _evenly(scenarios), NominalValues, "nominal values"))

    @property
    def scenarios(self) -> tuple[NominalValues, ...]:
        """Nominal values of the scenarios."""
        return tuple(nominal for _, nominal in self.weighted)

    def bind(self, parameters: Sequence[Parameters]) -> BoundCriterion:
        """The criterion for a model with these parameters, an entry for each scenario."""
        parts = tuple(self.criterion.part(each, number) for number, each in enumerate(parameters))
        weights = tuple(weight for weight, _ in self.weighted)
        logarithmic, size = _scale(parts[0])
        mean = Geometric(weights) if logarithmic else Arithmetic(weights)
        return BoundCriterion(parts, mean, logarithmic, size, parameters[0].names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return f"{self.criterion.label}, averaged over {len(self.weighted)} scenarios"


@dataclass(frozen=True)
class Maximin:
    """The smallest efficiency over scenarios of nominal values, each relative to the best design for it.

    Its value is the largest ratio of a scenario's criterion to the least that the same budget reaches there.

    Parameters
    ----------
    criterion : elementary criterion
    scenarios : sequence of NominalValues, or of (weight, NominalValues)
        Weights do not matter to a minimum and are left aside.

    Examples
    --------
    >>> Maximin(DOptimality(), [NominalValues([0.0]), NominalValues([2.0])]).label
    'inverse of the smallest efficiency of 2 scenarios, by the log determinant of the covariance of all coefficients'
    """

    criterion: Elementary
    scenarios: tuple[NominalValues, ...]

    def __init__(self, criterion: Elementary, scenarios: Sequence[NominalValues | tuple[float, NominalValues]]) -> None:
        weighted = _weighted("Maximin", _evenly(scenarios), NominalValues, "nominal values")
        object.__setattr__(self, "criterion", _elementary("Maximin", criterion))
        object.__setattr__(self, "scenarios", tuple(nominal for _, nominal in weighted))

    def bind(self, parameters: Sequence[Parameters]) -> BoundCriterion:
        """The criterion for a model with these parameters, before the scenarios' own optima are known."""
        parts = tuple(self.criterion.part(each, number) for number, each in enumerate(parameters))
        return BoundCriterion(parts, Worst((0.0,) * len(parts)), False, 1, parameters[0].names)

    @property
    def label(self) -> str:
        """The criterion in words."""
        return f"inverse of the smallest efficiency of {len(self.scenarios)} scenarios, by the {self.criterion.label}"


def check_criterion(criterion: object) -> None:
    """A criterion is one of this module's, and not the class of one."""
    check_kind(
        "criterion",
        criterion,
        Elementary,
        Compound,
        Bayesian,
        Maximin,
        instead="an optimality criterion, such as DOptimality() or COptimality({'treat': 1})",
    )


def _evenly(scenarios: Sequence[NominalValues | tuple[float, NominalValues]]) -> list[tuple[float, NominalValues]]:
    """Scenarios with equal weights where none are given."""
    return [(1.0, each) if isinstance(each, NominalValues) else each for each in scenarios]


def _elementary(what: str, criterion: object) -> Elementary:
    if not isinstance(criterion, Elementary):
        raise SpecificationError(
            f"{what} takes an elementary criterion (D, A, C, E or I-optimality); got {criterion!r}."
        )
    return criterion


def _weighted(what: str, given: Sequence[tuple[float, T]], kind: type[T], name: str) -> tuple[tuple[float, T], ...]:
    pairs = [pair if isinstance(pair, tuple) and len(pair) == 2 else (None, None) for pair in given]
    if not pairs or not all(is_number(weight) and weight > 0 and isinstance(each, kind) for weight, each in pairs):
        raise SpecificationError(
            f"{what} takes a list of pairs of a positive weight and {name}, such as [(0.5, first), (0.5, second)]; "
            f"got {given!r}."
        )
    total = sum(weight for weight, _ in pairs)
    return tuple((float(weight / total), each) for weight, each in pairs)
