"""`Simulation`: what repeated data and fits say, beside what the theory does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.covariance import AsymptoticCovariance, coefficient_index
from optdesign.inference import WaldTest

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

#: Normal quantile of every Monte-Carlo interval, at 95 %.
QUANTILE = 1.959963984540054


@dataclass(frozen=True, repr=False)
class Rate:
    """A share of replicates, with its 95 % Monte-Carlo interval (Wilson's).

    Examples
    --------
    >>> Rate(370, 1000)
    37.0 % (34.1–40.0)
    """

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share; nan of none."""
        return self.count / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Lowest and highest share that the replicates are in line with."""
        if not self.of:
            return math.nan, math.nan
        squared = QUANTILE**2 / self.of
        centre = (self.value + squared / 2.0) / (1.0 + squared)
        half = math.sqrt(squared * self.value * (1.0 - self.value) + squared**2 / 4.0) / (1.0 + squared)
        return max(centre - half, 0.0), min(centre + half, 1.0)

    def to_json(self) -> dict[str, float]:
        """Count, share and interval."""
        low, high = self.interval
        return {"count": self.count, "share": self.value, "low": low, "high": high}

    def __repr__(self) -> str:
        if not self.of:
            return "none"
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


@dataclass(frozen=True, eq=False)
class Theory:
    """What a simulation is compared with.

    Attributes
    ----------
    covariances : mapping from order to AsymptoticCovariance
        By every order that exists for the design, exact information where it is affordable.
    df : array, shape (p,)
        Degrees of freedom of each coefficient's intervals; infinite for the normal, zero or less where none are left.
    test_df : float
        Degrees of freedom of the test.
    power : mapping from order to float
        Power of the test; empty without one.
    """

    covariances: Mapping[str, AsymptoticCovariance]
    df: Array
    test_df: float
    power: Mapping[str, float]


@dataclass(frozen=True, eq=False, repr=False)
class Simulation:
    """Estimates from repeated data, and what they say of bias, standard errors, power and coverage.

    A fit fails that does not converge, has collinear columns or no standard errors. It counts, in every rate, as one
    that neither rejects nor covers; moments are those of the other fits. Singular fits, with a variance estimated as
    zero or a correlation as one, count like any other.

    Attributes
    ----------
    names : tuple of str
        Coefficient names, p of them.
    beta : array, shape (p,)
        The nominal values, which are the truth here.
    estimates, standard_errors : arrays, shape (R, p)
        One row per replicate, in the order of their numbers; nan where a fit failed.
    component_names : tuple of str
        Variance components, v of them.
    components : array, shape (v,)
        Their nominal values.
    component_estimates : array, shape (R, v)
    trouble : tuple of str
        Why each fit failed; empty for those that did not.
    singular : boolean array, shape (R,)
    asked : int
        Replicates asked for; more than there are after an interruption.
    seed : int
    theory : Theory
    test : WaldTest, optional
    level : float
        Nominal coverage of the intervals.
    """

    names: tuple[str, ...]
    beta: Array
    estimates: Array
    standard_errors: Array
    component_names: tuple[str, ...]
    components: Array
    component_estimates: Array
    trouble: tuple[str, ...]
    singular: Flags
    asked: int
    seed: int
    theory: Theory
    test: WaldTest | None
    level: float

    @property
    def replications(self) -> int:
        """Replicates that there are."""
        return len(self.trouble)

    @cached_property
    def fine(self) -> Flags:
        """Which fits did not fail, shape (R,)."""
        return np.array([not why for why in self.trouble], dtype=bool)

    @property
    def failed(self) -> Rate:
        """Share of the fits that failed."""
        return Rate(int((~self.fine).sum()), self.replications)

    @property
    def boundary(self) -> Rate:
        """Share of the fits that are singular, of all."""
        return Rate(int((self.singular & self.fine).sum()), self.replications)

    @property
    def covariance(self) -> Array:
        """Empirical covariance of the estimates, shape (p, p)."""
        errors = self._errors - self._errors.mean(axis=0)
        return np.asarray(errors.T @ errors / max(len(errors) - 1, 1))

    @property
    def bias(self) -> Array:
        """Mean estimate less the truth, shape (p,)."""
        return np.asarray(self._errors.mean(axis=0))

    @property
    def bias_interval(self) -> tuple[Array, Array]:
        """95 % Monte-Carlo interval of the bias."""
        half = QUANTILE * self.empirical_errors / np.sqrt(len(self._errors))
        return self.bias - half, self.bias + half

    @property
    def empirical_errors(self) -> Array:
        """Standard deviations of the estimates, shape (p,)."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def empirical_interval(self) -> tuple[Array, Array]:
        """95 % Monte-Carlo interval of the standard deviations: Var(s²) ≈ {E(b − Eb)⁴ − s⁴}/R, by the delta method."""
        centred, variance = self._errors - self._errors.mean(axis=0), np.diag(self.covariance)
        spread = np.sqrt(np.maximum((centred**4).mean(axis=0) - variance**2, 0.0) / len(centred))
        half = QUANTILE * spread / (2.0 * np.maximum(self.empirical_errors, np.finfo(float).tiny))
        return self.empirical_errors - half, self.empirical_errors + half

    def coverage(self, coefficient: str) -> Rate:
        """Share of the Wald intervals, estimate ± t_{(1+level)/2} standard errors, that hold the truth.

        Of no replicate where no degrees of freedom are left, so that there is no interval.
        """
        from scipy import stats

        at = self._position(coefficient)
        if self.theory.df[at] <= 0:
            return Rate(0, 0)
        reach = stats.t.ppf(0.5 + 0.5 * self.level, self.theory.df[at]) * self.standard_errors[self.fine, at]
        return Rate(int((np.abs(self._errors[:, at]) <= reach).sum()), self.replications)

    @property
    def power(self) -> Rate | None:
        """Share of the replicates in which the test rejects; None without a test."""
        if self.test is None:
            return None
        at = self._position(self.test.label)
        difference = self.estimates[self.fine, at] - self.test.null
        rejected = self.test.rejects(difference, self.standard_errors[self.fine, at], self.theory.test_df)
        return Rate(int(rejected.sum()), self.replications)

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: bias, standard errors by simulation and by theory, coverage; intervals beside."""
        import pandas as pd

        covered = [self.coverage(name) for name in self.names]
        columns = {
            "true": self.beta,
            "bias": self.bias,
            **_ends("bias", self.bias_interval),
            "se": self.empirical_errors,
            **_ends("se", self.empirical_interval),
            "mean estimated se": self.standard_errors[self.fine].mean(axis=0),
            **{f"se, {order}": cov.standard_errors for order, cov in self.theory.covariances.items()},
            "coverage": [rate.value for rate in covered],
            **_ends("coverage", tuple(np.array([rate.interval for rate in covered]).T)),
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def components_frame(self) -> pd.DataFrame:
        """One row per variance component: truth, mean estimate, and standard deviation of the estimates."""
        import pandas as pd

        found = self.component_estimates[self.fine]
        columns = {"true": self.components, "mean": found.mean(axis=0), "se": found.std(axis=0, ddof=1)}
        return pd.DataFrame(columns, index=pd.Index(self.component_names, name="component"))

    @property
    def _errors(self) -> Array:
        """Estimates of the fits that did not fail, less the truth, shape (fine, p)."""
        return np.asarray(self.estimates[self.fine] - self.beta)

    def _position(self, coefficient: str) -> int:
        return coefficient_index(coefficient, self.names, next(iter(self.theory.covariances.values())).aliases)

    def summary(self) -> list[str]:
        """What was done and how many fits failed, why, and the power, a sentence a line."""
        missing = f" of {self.asked:,} asked for" if self.replications < self.asked else ""
        lines = [f"{self.replications:,} replicates{missing}, seed {self.seed}; 95 % Monte-Carlo intervals."]
        reasons = sorted({why for why in self.trouble if why})
        why = f" ({'; '.join(f'{reason}: {self.trouble.count(reason):,}' for reason in reasons)})" if reasons else ""
        lines.append(f"Fits that failed: {self.failed.count:,}, {self.failed}{why}; they neither reject nor cover.")
        if self.component_names:
            lines.append(f"Singular fits: {self.boundary.count:,}, {self.boundary}.")
        if self.power is not None and self.test is not None:
            theory = [f"{100 * value:.1f} % by order '{order}'" for order, value in self.theory.power.items()]
            power = f"Power of the test of '{self.test.coefficient}': {self.power}"
            lines.append(f"{', '.join([power, *theory])}.")
        return lines

    def to_json(self) -> dict[str, Any]:
        """Everything that is printed, as plain dictionaries and numbers."""
        tables = {"coefficients": self.to_frame(), "components": self.components_frame()}
        return {
            "replications": self.replications,
            "asked": self.asked,
            "seed": self.seed,
            "failed": self.failed.to_json(),
            "singular": self.boundary.to_json(),
            "power": None if self.power is None else {**self.power.to_json(), "by order": dict(self.theory.power)},
            **{name: frame.to_dict("index") for name, frame in tables.items()},
        }

    def texts(self) -> list[pd.DataFrame]:
        """The tables that are printed, intervals in brackets; narrow enough for a terminal."""
        import pandas as pd

        names = pd.Index(self.names, name="coefficient")
        errors = self.standard_errors[self.fine].mean(axis=0)
        first = {
            "true": [f"{b:.4g}" for b in self.beta],
            "bias": _bracketed(self.bias, self.bias_interval, "+.2g", " to "),
            f"coverage of {100 * self.level:g} %": [repr(self.coverage(name)) for name in self.names],
        }
        second = {
            "se": _bracketed(self.empirical_errors, self.empirical_interval, ".3g", "–"),
            "estimated": [f"{error:.4g}" for error in errors],
            **{order: [f"{s:.4g}" for s in cov.standard_errors] for order, cov in self.theory.covariances.items()},
        }
        tables = [pd.DataFrame(first, index=names), pd.DataFrame(second, index=names)]
        return [*tables, *([self.components_frame().map("{:.4g}".format)] if self.component_names else [])]

    def __repr__(self) -> str:
        return "\n".join(["Simulation", *self.summary(), *(table.to_string() for table in self.texts())])

    def _repr_html_(self) -> str:
        return f"<p>{' '.join(self.summary())}</p>{''.join(table.to_html() for table in self.texts())}"


def _bracketed(values: Array, interval: tuple[Array, Array], form: str, to: str) -> list[str]:
    """Numbers with their intervals."""
    rows = zip(values, *interval, strict=True)
    return [f"{value:{form}} ({low:{form}}{to}{high:{form}})" for value, low, high in rows]


def _ends(name: str, interval: tuple[Array, ...]) -> dict[str, Array]:
    """Columns of an interval."""
    low, high = interval
    return {f"{name} low": low, f"{name} high": high}
