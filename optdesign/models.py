"""What will be fitted (`MixedModel`) and what is believed today (`NominalValues`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign import formula as formulas
from optdesign.errors import SpecificationError, check_kind, is_number, listed, nearest, values_at
from optdesign.families import Family, Link, check_random_link, family_named, fisher_weight, link_named

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MixedModel:
    """A linear or generalised linear model, with or without random effects.

    Parameters
    ----------
    formula : str
        lme4-style: fixed terms as formulaic reads them, random terms in parentheses, ``y ~ x + (1 + x | g)``.
    family : str
        ``"gaussian"``, ``"bernoulli"``, ``"binomial"``, ``"poisson"``, ``"gamma"``, ``"inverse-gaussian"`` or
        ``"negative-binomial"``.
    link : str, optional
        The canonical link by default (the log link of a negative binomial). Gaussian: identity, log; Bernoulli and
        binomial: logit, probit, cloglog; Poisson: log; gamma: inverse, log; inverse Gaussian: inverse-squared, log;
        negative binomial: log, log-ratio. With random effects only links that give every linear predictor a mean.
    size : number or str, optional
        Trials per observation of a binomial response: a number, or a column of the design. Without it a
        binomial response is Bernoulli. For a negative binomial the known k in its variance μ + μ²/k.
    offset : str, optional
        Column added to the linear predictor with coefficient one, such as the logarithm of an exposure:
        ``offset="log_days"``.

    Raises
    ------
    SpecificationError
        For a formula that cannot be read, an unknown family or a link that does not belong to it.

    Examples
    --------
    >>> model = MixedModel("seizures ~ treat + visit + (1 + visit | patient)", family="poisson")
    >>> model.fixed_names, model.factors
    (('Intercept', 'treat', 'visit'), ('patient',))
    """

    formula: str
    family: str = "gaussian"
    link: str | None = None
    size: float | str | None = None
    offset: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.formula, str) or not isinstance(self.family, str):
            raise SpecificationError(f"formula and family must be text; got {self.formula!r} and {self.family!r}.")
        check_kind("link", self.link, str, type(None), instead="the name of a link")
        check_kind("offset", self.offset, str, type(None), instead="the name of a column")
        _ = self.parsed, self.distribution, self.link_function, self.covariates
        if self.factors:
            check_random_link(self.distribution, self.link_function)
        check_size(self.family, self.size)

    def __getstate__(self) -> dict[str, object]:
        """What was given: everything else is worked out again, for functions of a family cannot be pickled."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @cached_property
    def parsed(self) -> formulas.ParsedFormula:
        """The formula, taken apart."""
        return formulas.parse(self.formula)

    @cached_property
    def distribution(self) -> Family:
        """The response family."""
        return family_named(self.family, self.size)

    @cached_property
    def link_function(self) -> Link:
        """The link."""
        return link_named(self.link or self.distribution.default_link, self.distribution)

    @property
    def is_gaussian(self) -> bool:
        """Whether the response is normal with identity link, so that the information is exact."""
        return self.distribution.name == "gaussian" and self.link_function.name == "identity"

    @property
    def factors(self) -> tuple[str, ...]:
        """Grouping factors of the random terms, in formula order."""
        return tuple(self.parsed.random)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """Names of the fixed terms in coefficient order; a categorical term expands when its levels are known."""
        return formulas.term_names(self.parsed)

    @cached_property
    def covariates(self) -> frozenset[str]:
        """Columns that a design of this model must give a value to."""
        extra = {c for c in (self.size, self.offset) if isinstance(c, str)}
        return formulas.covariates(self.parsed) | extra

    def trials(self, frame: pd.DataFrame) -> Array:
        """Binomial size of each row (one for every other family), shape (rows,)."""
        if isinstance(self.size, str):
            sizes = self._column(self.size, frame, "size")
            if (sizes <= 0).any():
                raise SpecificationError(
                    f"size='{self.size}' must hold positive numbers of trials; got {sizes.min():g}."
                )
            return sizes
        return np.full(len(frame), float(self.size or 1) if self.distribution.name == "binomial" else 1.0)

    def offsets(self, frame: pd.DataFrame) -> Array:
        """Offset of each row, shape (rows,)."""
        return np.zeros(len(frame)) if self.offset is None else self._column(self.offset, frame, "offset")

    def weight(self, eta: Array, frame: pd.DataFrame) -> Array:
        """Conditional Fisher weight at linear predictors `eta` of shape (…, rows), size and offset included."""
        shifted = eta + self.offsets(frame)
        low, high = self.link_function.domain
        outside = ~((low < shifted) & (shifted < high)).reshape(-1, len(frame)).all(axis=0)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise SpecificationError(
                f"link '{self.link_function.name}' needs linear predictors between {low:g} and {high:g}; at "
                f"{values_at(frame, row)} the nominal values give {shifted.reshape(-1, len(frame))[0, row]:g}."
            )
        with np.errstate(over="ignore"):  # an infinite weight is reported with its place by whoever asked
            return fisher_weight(self.distribution, self.link_function, shifted) * self.trials(frame)

    def check_dispersion(self, nominal: NominalValues) -> None:
        """A family without a dispersion parameter has dispersion 1."""
        if not self.distribution.has_dispersion and nominal.dispersion != 1.0:
            raise SpecificationError(
                f"dispersion={nominal.dispersion:g}: a {self.distribution.name} response has no dispersion parameter; "
                "leave it at 1. (Overdispersion is what random effects, or a negative binomial, are for.)"
            )

    @staticmethod
    def _column(name: str, frame: pd.DataFrame, what: str) -> Array:
        if name not in frame:
            raise SpecificationError(
                f"{what}='{name}' is not a column of the design: {listed(frame.columns)}.{nearest(name, frame.columns)}"
            )
        return _finite(f"{what}='{name}'", frame[name])


@dataclass(frozen=True, eq=False)
class NominalValues:
    """Parameter values at which a locally optimal design is computed.

    Parameters
    ----------
    beta : mapping or sequence of float
        Fixed effects, on the scale of the linear predictor: by name, or in the order of ``model.fixed_names``.
    covariance : mapping from factor to matrix
        One symmetric positive semi-definite matrix per grouping factor; a number for a random intercept.
    dispersion : float
        ϕ: residual variance of a Gaussian, squared coefficient of variation of a gamma; 1 for Bernoulli, binomial,
        Poisson and negative binomial.
    reference : DataFrame, optional
        The data that categorical levels and data-dependent terms (``poly``, splines) refer to; a fit gives its
        pilot data. Without it they refer to the points of the design or candidates at hand.

    Raises
    ------
    SpecificationError
        For values that are not finite, or a matrix that is not symmetric positive semi-definite (the offending
        eigenvalue is named).

    Examples
    --------
    >>> NominalValues({"Intercept": 1.5, "treat": -0.3}, {"patient": [[0.3]]})
    NominalValues(beta={'Intercept': 1.5, 'treat': -0.3}, covariance={'patient': [[0.3]]}, dispersion=1.0)
    """

    beta: Mapping[str, float] | Sequence[float]
    covariance: Mapping[str, npt.ArrayLike] = field(default_factory=dict)
    dispersion: float = 1.0
    reference: pd.DataFrame | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", named_values(self.beta))
        named = isinstance(self.beta, Mapping)
        values = _finite("beta", list(self.beta.values()) if isinstance(self.beta, Mapping) else self.beta)
        if values.ndim != 1:
            raise SpecificationError(
                f"beta must be a list of numbers or a table of names to numbers; got {self.beta!r}."
            )
        beta = dict(zip(self.beta, values.tolist(), strict=True)) if named else tuple(values.tolist())
        if not isinstance(self.covariance, Mapping):
            raise SpecificationError(
                f"covariance must be a table of grouping factor to matrix, such as {{'patient': [[0.3]]}}; got "
                f"{self.covariance!r}."
            )
        matrices = {factor: _covariance(factor, matrix) for factor, matrix in self.covariance.items()}
        if not (is_number(self.dispersion) and self.dispersion > 0):
            raise SpecificationError(f"dispersion must be a positive finite number; got {self.dispersion!r}.")
        object.__setattr__(self, "beta", MappingProxyType(beta) if isinstance(beta, dict) else beta)
        object.__setattr__(self, "covariance", MappingProxyType(matrices))
        object.__setattr__(self, "dispersion", float(self.dispersion))

    def __repr__(self) -> str:
        beta = dict(self.beta) if isinstance(self.beta, Mapping) else list(self.beta)
        covariance = {factor: np.asarray(matrix).tolist() for factor, matrix in self.covariance.items()}
        return f"NominalValues(beta={beta}, covariance={covariance}, dispersion={self.dispersion})"

    def referring_to(self, frame: pd.DataFrame) -> NominalValues:
        """These values, their levels and bases tied to `frame` unless they are tied already."""
        return self if self.reference is not None else replace(self, reference=frame)

    def beta_vector(self, encoding: formulas.Encoding) -> Array:
        """Coefficients in column order, shape (p,)."""
        names = encoding.fixed_names
        if not isinstance(self.beta, Mapping):
            if len(self.beta) != len(names):
                raise SpecificationError(
                    f"beta has {len(self.beta)} values; the model needs {len(names)}: {listed(names)}."
                )
            return np.array(self.beta)
        given = {encoding.aliases.get(name, name): value for name, value in self.beta.items()}
        if len(given) < len(self.beta):
            raise SpecificationError(f"beta names a coefficient twice, under two spellings: {listed(self.beta)}.")
        for name in given:
            if name not in names:
                raise SpecificationError(
                    f"beta names '{name}', which is not a coefficient of the model: {listed(names)}."
                    f"{nearest(name, names)} (Levels of a categorical covariate are those of the data at hand.)"
                )
        missing = [name for name in names if name not in given]
        if missing:
            raise SpecificationError(f"beta gives no nominal value for {listed(missing)}: add it.")
        return np.array([given[name] for name in names])

    def matrix(self, factor: str, names: Sequence[str]) -> Array:
        """Covariance matrix of the random effects of a factor, checked against its columns, shape (r, r)."""
        if factor not in self.covariance:
            raise SpecificationError(
                f"grouping factor '{factor}' has no nominal covariance: add covariance={{'{factor}': …}}, a "
                f"{len(names)} × {len(names)} matrix for {listed(names)}. Given: {listed(self.covariance)}."
            )
        matrix = np.asarray(self.covariance[factor])
        if matrix.shape[0] != len(names):
            raise SpecificationError(
                f"covariance of '{factor}' is {matrix.shape[0]} × {matrix.shape[0]}; its random effects are "
                f"{listed(names)}, so it must be {len(names)} × {len(names)}."
            )
        return matrix


def named_values(beta: Any) -> Any:
    """A pandas Series as a table where its index has names, which its order need not follow; all else as it is."""
    if not hasattr(beta, "to_dict"):
        return beta
    values = beta.to_dict()
    return values if any(isinstance(name, str) for name in values) else list(values.values())


def check_size(family: str, size: float | str | None) -> None:
    """A size belongs to two families, and is a number of trials in one of them."""
    if size is not None and family.lower() not in ("binomial", "negative-binomial"):
        raise SpecificationError(
            f"size= belongs to the binomial and negative binomial families, 'binomial' and 'negative-binomial'; the "
            f"family is '{family}'. Leave it out."
        )
    trials = size is not None and not isinstance(size, str) and family.lower() == "binomial"
    if trials and not _is_count(size):
        raise SpecificationError(f"size={size}: the number of trials is a whole number of at least 1.")


def _is_count(value: object) -> bool:
    return is_number(value) and value >= 1 and value % 1 == 0


def _finite(what: str, values: npt.ArrayLike) -> Array:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise SpecificationError(f"{what} must be made of numbers; got {values!r}.") from None
    if not np.isfinite(array).all():
        raise SpecificationError(f"{what} must be finite; got {array.tolist()}.")
    return array


def _covariance(factor: str, value: npt.ArrayLike) -> Array:
    matrix = np.atleast_2d(_finite(f"covariance of '{factor}'", value)).copy()
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise SpecificationError(f"covariance of '{factor}' must be a square matrix; got shape {matrix.shape}.")
    size = float(np.abs(matrix).max(initial=0.0))
    if np.abs(matrix - matrix.T).max(initial=0.0) > 1e-10 * size:
        raise SpecificationError(f"covariance of '{factor}' is not symmetric: {matrix.tolist()}.")
    smallest = float(np.linalg.eigvalsh(matrix).min())
    if smallest < -1e-10 * size:
        raise SpecificationError(
            f"covariance of '{factor}' is not positive semi-definite: it has the eigenvalue {smallest:.6g}. "
            "Variances go on the diagonal; a covariance may not exceed the product of the standard deviations."
        )
    matrix.flags.writeable = False
    return matrix
