"""What is tested: one combination of the coefficients, or several together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, is_number, listed, nearest
from optdesign.inference.rejection import equivalence_rejection, joint_rejection, one_sided_rejection

Array = npt.NDArray[np.float64]
Combination = Mapping[str, float]

ALTERNATIVES = ("two-sided", "greater", "less", "equivalence")
#: Degrees of freedom that are worked out: see `degrees_of_freedom`.
RULES = ("auto", "between-within", "satterthwaite")


@dataclass(frozen=True)
class WaldTest:
    """A Wald test of one coefficient, or of one linear combination of the coefficients.

    Parameters
    ----------
    coefficient : str or mapping from name to number
        Name of the coefficient, or of its one-column term; or a contrast, such as ``{"dose2": 1, "dose1": -1}``.
    null : float
        Its value under the null hypothesis, on the scale of the linear predictor.
    alternative : str
        ``"two-sided"``, ``"greater"``, ``"less"`` or ``"equivalence"``.
    alpha : float
        Level; of each of the two one-sided tests of equivalence.
    df : str or float
        Degrees of freedom of the reference t distribution; ``math.inf`` for the normal. ``"auto"``,
        ``"between-within"`` and ``"satterthwaite"`` are worked out from the design: see `degrees_of_freedom`.
    margin : float
        What is shown with d = value − null: ``"greater"`` d > −margin and ``"less"`` d < margin, which are tests of
        non-inferiority where the margin is positive; ``"equivalence"`` −margin < d < margin.

    Raises
    ------
    SpecificationError
        For an unknown alternative, a level outside (0, 1), degrees of freedom that are not positive, or a margin that
        does not go with the alternative.

    Examples
    --------
    >>> WaldTest("treat", alternative="less", alpha=0.025)
    WaldTest(coefficient='treat', null=0.0, alternative='less', alpha=0.025, df='auto', margin=0.0)
    """

    coefficient: str | Combination
    null: float = 0.0
    alternative: str = "two-sided"
    alpha: float = 0.05
    df: float | str = "auto"
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.alternative not in ALTERNATIVES:
            raise SpecificationError(
                f"alternative '{self.alternative}' is not known.{nearest(str(self.alternative), ALTERNATIVES)} Use one "
                f"of {listed(ALTERNATIVES)}."
            )
        if not is_number(self.null):
            raise SpecificationError(f"null must be a finite number; got {self.null!r}.")
        _ = _combination(self.coefficient)
        check_between("alpha", self.alpha, 0.0)
        check_df(self.df)
        self._check_margin()

    def _check_margin(self) -> None:
        if not (is_number(self.margin) and self.margin >= 0.0):
            raise SpecificationError(f"margin must be a finite number of at least 0; got {self.margin!r}.")
        if self.alternative == "two-sided" and self.margin > 0.0:
            raise SpecificationError(
                f"margin={self.margin:g} has no meaning in a two-sided test: use alternative='equivalence' to show "
                "that the value lies within the margin, 'greater' or 'less' for non-inferiority."
            )
        if self.alternative == "equivalence" and self.margin == 0.0:
            raise SpecificationError(
                "alternative='equivalence' needs margin=, the largest difference from the null value that counts as "
                "none."
            )

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """The one combination."""
        return (_combination(self.coefficient),)

    @property
    def nulls(self) -> Array:
        """Its null value, shape (1,)."""
        return np.array([self.null])

    @property
    def label(self) -> str:
        """The combination as text: ``treat``, or ``1 * dose2 - 1 * dose1``."""
        return combination_text(self.combinations[0])

    def rejection(self, difference: Array, covariance: Array, df: float) -> float:
        """Probability that the test rejects its null hypothesis.

        Parameters
        ----------
        difference : array, shape (1,)
            True value less the null value.
        covariance : array, shape (1, 1)
            Of the estimate.
        df : float
            Degrees of freedom; ``inf`` for the normal distribution. ``nan`` is returned where none are left.
        """
        if df <= 0:
            return math.nan
        error = math.sqrt(covariance[0, 0])
        if self.alternative == "equivalence":
            return equivalence_rejection(float(difference[0]) / error, self.margin / error, self.alpha, df)
        return sum(one_sided_rejection(float(each[0]) / error, self._level, df) for each in self._distances(difference))

    def rejects(self, difference: Array, error: Array, df: float) -> npt.NDArray[np.bool_]:
        """Whether the test rejects its null hypothesis, for each of some estimates.

        Parameters
        ----------
        difference : array
            Estimates less the null value.
        error : array
            Their standard errors.
        df : float
            Degrees of freedom; ``inf`` for the normal distribution.
        """
        from scipy import stats

        critical = stats.t.isf(self._level, df)
        beyond = np.array([each / error > critical for each in self._distances(difference)])
        return np.asarray(beyond.all(axis=0) if self.alternative == "equivalence" else beyond.any(axis=0))

    @property
    def _level(self) -> float:
        """Level of each one-sided test that the test is made of."""
        return self.alpha / (2 if self.alternative == "two-sided" else 1)

    def _distances(self, difference: Array) -> list[Array]:
        """What each one-sided test shows to be positive: how far values lie above its bound, or below it."""
        up, down = self.margin + difference, self.margin - difference
        return {"greater": [up], "less": [down]}.get(self.alternative, [up, down])

    def room(self, difference: Array) -> float:
        """How far the true value lies inside what the test can show; not positive where it has no more than its level.

        Parameters
        ----------
        difference : array, shape (1,)
            True value less the null value.
        """
        shift = float(difference[0])
        away = {"two-sided": abs(shift), "greater": self.margin + shift, "less": self.margin - shift}
        return away.get(self.alternative, self.margin - abs(shift))


@dataclass(frozen=True)
class JointTest:
    """A joint Wald test of several coefficients, or linear combinations of coefficients.

    With d the differences from the null values and S their covariance, dᵀS⁻¹d is compared with q F_{q,ν}, or with
    χ²_q where the degrees of freedom ν are infinite.

    Parameters
    ----------
    coefficients : sequence of str, or of mappings from name to number
        q names, or contrasts, none of which is a combination of the others.
    null : sequence of float, optional
        Their values under the null hypothesis; all zero by default.
    alpha : float
        Level.
    df : str or float
        Denominator degrees of freedom ν, as for `WaldTest`.

    Raises
    ------
    SpecificationError
        For no coefficients, null values that are not as many, a level outside (0, 1), or degrees of freedom that are
        not positive.

    Examples
    --------
    >>> JointTest(["dose1", "dose2"]).label
    'dose1, dose2'
    """

    coefficients: Sequence[str | Combination]
    null: Sequence[float] | None = None
    alpha: float = 0.05
    df: float | str = "auto"

    def __post_init__(self) -> None:
        if isinstance(self.coefficients, str | Mapping) or not self.coefficients:
            raise SpecificationError(
                f"coefficients must be a list of names or contrasts, at least one; got {self.coefficients!r}."
            )
        _ = self.combinations
        nulls = self.nulls
        if nulls.shape != (len(self.coefficients),) or not np.isfinite(nulls).all():
            raise SpecificationError(
                f"null must hold a finite number for each of the {len(self.coefficients)} coefficients; got "
                f"{self.null!r}."
            )
        check_between("alpha", self.alpha, 0.0)
        check_df(self.df)

    @property
    def combinations(self) -> tuple[Combination, ...]:
        """The combinations, q of them."""
        return tuple(_combination(each) for each in self.coefficients)

    @property
    def nulls(self) -> Array:
        """Their null values, shape (q,)."""
        return np.zeros(len(self.coefficients)) if self.null is None else np.asarray(self.null, dtype=float)

    @property
    def label(self) -> str:
        """The combinations as text."""
        return ", ".join(map(combination_text, self.combinations))

    def rejection(self, difference: Array, covariance: Array, df: float) -> float:
        """Probability that the test rejects its null hypothesis.

        Parameters
        ----------
        difference : array, shape (q,)
            True values less the null values.
        covariance : array, shape (q, q)
            Of their estimates.
        df : float
            Denominator degrees of freedom; ``inf`` for the chi-squared distribution. ``nan`` is returned where none
            are left.
        """
        if np.linalg.matrix_rank(covariance, hermitian=True) < len(difference):
            raise SpecificationError(
                f"some of {self.label} are combinations of the others, so that they cannot be tested jointly: leave "
                "those out."
            )
        if df <= 0:
            return math.nan
        noncentrality = float(difference @ np.linalg.solve(covariance, difference))
        return joint_rejection(noncentrality, len(difference), self.alpha, df)

    def room(self, difference: Array) -> float:
        """How far the true values are from the null values: zero where the power is the level."""
        return float(np.abs(difference).max())


Test = WaldTest | JointTest


def _combination(given: str | Combination) -> Combination:
    if isinstance(given, str):
        return {given: 1.0}
    fine = isinstance(given, Mapping) and all(isinstance(k, str) and is_number(v) for k, v in given.items())
    if not fine or not any(given.values()):
        raise SpecificationError(
            f"a coefficient is a name, or a table of names to numbers that are not all zero, such as {{'a': 1, 'b': "
            f"-1}}; got {given!r}."
        )
    return {name: float(weight) for name, weight in given.items()}


def combination_text(combination: Combination) -> str:
    """A combination as text.

    >>> combination_text({"treat": 1.0}), combination_text({"a": 1.0, "b": -0.5})
    ('treat', '1 * a - 0.5 * b')
    """
    if list(combination.values()) == [1.0]:
        return next(iter(combination))
    text = " ".join(f"{'-' if weight < 0 else '+'} {abs(weight):g} * {name}" for name, weight in combination.items())
    return text.removeprefix("+ ")


def check_between(what: str, value: Any, low: float) -> None:
    """A probability in the open interval from `low` to 1."""
    if not (is_number(value) and low < value < 1.0):
        raise SpecificationError(f"{what} must be a number between {low:g} and 1; got {value!r}.")


def check_df(df: float | str) -> None:
    """Degrees of freedom that are given, or a rule that works them out."""
    if df not in RULES and not (df == math.inf or (is_number(df) and float(df) > 0.0)):
        raise SpecificationError(
            f"df must be 'auto', a positive number, or math.inf for the normal distribution; or one of "
            f"{listed(RULES[1:])}; got {df!r}."
        )
