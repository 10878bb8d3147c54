"""`AsymptoticCovariance`: what every theory returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance.transform import Function, Transformed, transformed
from optdesign.errors import UnknownParameterError, listed, nearest
from optdesign.linalg import combined, inverse_information, vech_pairs

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


#: Relative change of every variance, from one quadrature rule to the next larger one, at which it counts as settled.
QUADRATURE_TOLERANCE = 1e-8
#: Change from the largest rule but one to the largest that is worth a note.
UNSETTLED = 1e-4


@dataclass(frozen=True, eq=False)
class AsymptoticCovariance:
    """Covariance matrix of the maximum likelihood estimator.

    Attributes
    ----------
    matrix : array, shape (p, p)
        Covariances: of the fixed effects in squared units of the linear predictor, then, where asked for, of the
        variance components and the dispersion. A parameter that the design cannot estimate has variance ``inf``
        and covariances ``nan``.
    names : tuple of str
        Parameter names.
    order : str
        The approximation used.
    terms : mapping from source to matrix, or None
        Additive parts: each grouping factor's (what more observations per unit cannot remove) and
        ``"observation"``. None where some parameter is not estimable, or the order has no such parts.
    inestimable : tuple of str
        Parameters that the design cannot estimate.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    estimate : array, shape (p,)
        The nominal values, in the order of `names`.
    monte_carlo_error : array, shape (p,), or None
        Standard error of each variance, relative to it, where the information was averaged by sampling; nan where the
        variance is infinite.
    notes : tuple of str
        What a reader of the numbers should know.
    information : array, shape (p, p), or None
        What the matrix inverts, where that is known: combinations may be estimable whose parameters are not.
    """

    matrix: Array
    names: tuple[str, ...]
    order: str
    terms: Mapping[str, Array] | None
    inestimable: tuple[str, ...]
    aliases: Mapping[str, str]
    estimate: Array = field(default_factory=lambda: np.zeros(0))
    monte_carlo_error: Array | None = None
    notes: tuple[str, ...] = ()
    information: Array | None = None

    @property
    def standard_errors(self) -> Array:
        """Square roots of the variances, shape (p,)."""
        return np.sqrt(np.diag(self.matrix))

    def position(self, name: str) -> int:
        """Index of a parameter, called by its name or the name of its one-column term."""
        return coefficient_index(name, self.names, self.aliases)

    def variance(self, combination: Mapping[str, float]) -> float:
        """Variance c′ Cov c of a linear combination of parameters; ``inf`` where the design cannot estimate it.

        Differences may be estimable where the parameters are not:

        >>> cov = from_information(np.array([[1.0, -1.0], [-1.0, 1.0]]), {}, "leading", ("a", "b"), {}, np.zeros(2))
        >>> cov.variance({"a": 1.0}), round(cov.variance({"a": 1.0, "b": -1.0}), 9)
        (inf, 1.0)
        """
        weights = np.zeros(len(self.names))
        np.add.at(weights, [self.position(name) for name in combination], list(combination.values()))
        if self.information is not None and self.inestimable:
            found, exists = combined(self.information[None], weights[:, None])
            return float(found[0, 0, 0]) if exists[0] else float("inf")
        used = np.flatnonzero(weights)
        return float(weights[used] @ self.matrix[np.ix_(used, used)] @ weights[used])

    def of(self, function: Function | str, simulate: int = 0, seed: int = 0) -> Transformed:
        """A smooth function of the parameters, with the covariance of its estimator by the delta method.

        Parameters
        ----------
        function : callable or str
            Of a mapping from parameter name to value, returning a number or several; or an expression in the names,
            such as ``"exp(treat)"``, with names that are not identifiers in backticks.
        simulate : int
            Draws from the estimator's normal law with which to check the first-order variance; none by default.
        seed : int
            Of the draws.

        Returns
        -------
        Transformed

        Raises
        ------
        SpecificationError
            For a name that is not a parameter, or a function that is not finite at the nominal values.
        NotEstimableError
            Where the function uses a parameter that the design cannot estimate.

        Examples
        --------
        With x̄ ~ N(log θ, 1/n), exp(x̄) has asymptotic variance θ²/n and exact variance θ²{exp(2/n) − exp(1/n)}:

        >>> mean = AsymptoticCovariance(np.array([[0.1]]), ("mean",), "exact", None, (), {}, np.log([2.0]))
        >>> mean.of("exp(mean)").covariance.round(6), float(4 * (np.exp(0.2) - np.exp(0.1)).round(6))
        (array([[0.4]]), 0.464928)
        """
        return transformed(function, self.names, self.aliases, self.estimate, self.matrix, simulate, seed)

    def to_frame(self) -> pd.DataFrame:
        """One row per parameter: variance, standard error, and the variance by source."""
        import pandas as pd

        parts = {} if self.terms is None else {f"from {k}": np.diag(v) for k, v in self.terms.items()}
        columns = {"variance": np.diag(self.matrix), "standard error": self.standard_errors, **parts}
        if self.monte_carlo_error is not None:
            columns["Monte-Carlo error"] = self.monte_carlo_error
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def __repr__(self) -> str:
        table = self.to_frame().to_string(float_format="%.6g")
        return "\n".join([f"Covariance of the estimates, order '{self.order}'", table, *self.notes])

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.6g}".format))


def coefficient_index(name: str, names: tuple[str, ...], aliases: Mapping[str, str]) -> int:
    """Where a coefficient stands; `SpecificationError` suggests the nearest name."""
    full = aliases.get(name, name)
    if full not in names:
        known = [*names, *aliases]
        raise UnknownParameterError(
            f"'{name}' is not a coefficient of the model: {listed(names)}.{nearest(name, known)}"
        )
    return names.index(full)


def component_names(factor: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the variance components of a factor, in the order of vech.

    >>> component_names("patient", ("Intercept", "visit"))
    ('var(Intercept | patient)', 'cov(Intercept, visit | patient)', 'var(visit | patient)')
    """
    rows, columns = vech_pairs(len(names))
    return tuple(
        f"var({names[i]} | {factor})" if i == j else f"cov({names[j]}, {names[i]} | {factor})"
        for i, j in zip(rows, columns, strict=True)
    )


def from_information(
    information: Array,
    parts: Mapping[str, Array],
    order: str,
    names: tuple[str, ...],
    aliases: Mapping[str, str],
    estimate: Array,
    notes: tuple[str, ...] = (),
) -> AsymptoticCovariance:
    """Inverse of an information matrix, taken apart by source.

    Parameters
    ----------
    information : array, shape (p, p)
    parts : mapping from source to array, shape (p, p)
        Summing to the information; empty where there is no such sum.
    """
    matrix, estimable = inverse_information(information)
    missing = tuple(name for name, fine in zip(names, estimable, strict=True) if not fine)
    terms = None
    if parts and not missing:
        terms = MappingProxyType({source: matrix @ part @ matrix for source, part in parts.items()})
    matrix.flags.writeable = False
    return AsymptoticCovariance(
        matrix, names, order, terms, missing, aliases, estimate, notes=notes, information=information
    )


def relative_error(error: Array, covariance: Array) -> Array:
    """Standard errors of variances relative to them, nan where a variance is infinite, shape (p,)."""
    variance = np.diag(covariance)
    return np.where(np.isfinite(variance), error / variance, np.nan)


def sampling_note(made: str, error: Array, tolerance: float) -> str:
    """What was sampled, the largest Monte-Carlo error, and whether it is the one aimed at."""
    if np.isnan(error).all():
        return f"{made}; no variance is finite."
    worst = float(np.nanmax(error))
    missed = "" if worst < tolerance else f", where {tolerance:.2%} was aimed at: the draws allowed do not reach it"
    return f"{made}; Monte-Carlo error {worst:.2%} of a variance at most{missed}."


def settled(compute: Callable[[int], AsymptoticCovariance], rungs: Sequence[int]) -> AsymptoticCovariance:
    """The result of the first quadrature rule that changes no variance by more than the tolerance, or of the last.

    The last one has a note where it is far from settled.
    """
    last, change = compute(rungs[0]), 0.0
    for nodes in rungs[1:]:
        finer = compute(nodes)
        change, last = _change(last, finer), finer
        if change <= QUADRATURE_TOLERANCE:
            return finer
    if change <= UNSETTLED:
        return last
    note = (
        f"Quadrature over the random effects has not settled: the largest rule, of {rungs[-1]} nodes in each "
        f"dimension, changes a variance by {change:.1%}."
    )
    return replace(last, notes=(*last.notes, note))


def _change(coarse: AsymptoticCovariance, fine: AsymptoticCovariance) -> float:
    """Largest relative change of a variance; infinite ones that stay so have none."""
    old, new = np.diag(coarse.matrix), np.diag(fine.matrix)
    moved = old != new
    return float(np.abs(old[moved] / new[moved] - 1.0).max(initial=0.0))
