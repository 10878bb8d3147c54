"""A test at a design: its power, and what power is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance import AsymptoticCovariance, covariance, covariance_of_frame
from optdesign.designs import Design
from optdesign.errors import NotEstimableError, SpecificationError, listed
from optdesign.inference.freedom import Freedom
from optdesign.inference.hypotheses import Combination, JointTest, Test, WaldTest, check_between, combination_text
from optdesign.layouts import Crossed
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


def covariance_at(
    model: MixedModel, nominal: NominalValues, design: Design | pd.DataFrame, order: str
) -> AsymptoticCovariance:
    """Covariance of the fixed effects at a design, or for the shape of a data frame."""
    if isinstance(design, Design):
        return covariance(model, nominal, design, order)
    return covariance_of_frame(model, nominal, design, order)


def columns_of(found: AsymptoticCovariance, combinations: Sequence[Combination]) -> Array:
    """Combinations of the coefficients as rows, shape (q, p)."""
    rows = np.zeros((len(combinations), len(found.names)))
    for row, combination in zip(rows, combinations, strict=True):
        for name, weight in combination.items():
            row[found.position(name)] += weight
    return rows


def covariance_of(found: AsymptoticCovariance, combinations: Sequence[Combination]) -> Array:
    """Covariance of combinations of the estimates, shape (q, q).

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate one of them.
    """
    rows = columns_of(found, combinations)
    used = (rows != 0.0).any(axis=0)
    matrix = rows[:, used] @ found.matrix[np.ix_(used, used)] @ rows[:, used].T
    for combination, variance in zip(combinations, np.diag(matrix), strict=True):
        if not math.isfinite(variance):
            raise NotEstimableError(
                f"the design cannot estimate '{combination_text(combination)}' (inestimable: "
                f"{listed(found.inestimable)}): at its points, the column is a combination of others. Add points that "
                "set them apart, or leave a term out.",
                found.inestimable,
            )
    return np.asarray(matrix)


@dataclass(frozen=True, eq=False)
class Contrast:
    """Tested combinations: nominal less null values, shape (q,), and the covariance of their estimates, (q, q).

    `shares` are the parts of the covariance by source, as shares of it that sum to one; empty where an order has none.
    """

    difference: Array
    covariance: Array
    shares: Mapping[str, float]

    def times(self, factor: float) -> Contrast:
        """The same with the covariance multiplied."""
        return replace(self, covariance=self.covariance * factor)


def contrast_of(found: AsymptoticCovariance, test: Test) -> Contrast:
    """What a test is about, from the covariance of all fixed effects."""
    rows, matrix = columns_of(found, test.combinations), covariance_of(found, test.combinations)
    precision = np.linalg.pinv(matrix, hermitian=True) / len(matrix)
    terms = found.terms or {}
    shares = {source: float(np.sum(precision * (rows @ part @ rows.T))) for source, part in terms.items()}
    return Contrast(rows @ found.estimate - test.nulls, matrix, shares)


@dataclass(frozen=True, eq=False)
class Plan:
    """A test at a design and nominal values.

    `known` are the contrast's values and covariance, where they follow from those of another design.
    """

    model: MixedModel
    nominal: NominalValues
    design: Design | pd.DataFrame
    test: Test
    order: str
    known: Contrast | None = None

    @cached_property
    def contrast(self) -> Contrast:
        """What is tested."""
        if self.known is not None:
            return self.known
        found = covariance_at(self.model, self.nominal, self.design, self.order)
        return contrast_of(found, self.test)

    @property
    def difference(self) -> Array:
        """Nominal values of the tested combinations less their null values, shape (q,)."""
        return self.contrast.difference

    @cached_property
    def freedom(self) -> Freedom:
        """Where the degrees of freedom come from."""
        return Freedom(self.model, self.nominal, self.design)

    @cached_property
    def df(self) -> float:
        """Degrees of freedom; zero or less where none are left."""
        return self.freedom.left(self.test.combinations, self.test.df)

    @cached_property
    def power(self) -> float:
        """Power; ``nan`` where no degrees of freedom are left."""
        return self.test.rejection(self.difference, self.contrast.covariance, self.df)

    def scaled(self, counts: float | Mapping[str, float] = 1.0, replicates: float = 1.0) -> Plan:
        """The plan at its design with counts and replicates multiplied: see `Design.scaled`."""
        assert isinstance(self.design, Design)  # frames have no counts that could be varied
        design = self.design.scaled(counts, replicates)
        if isinstance(self.design.layout, Crossed) or isinstance(counts, Mapping):
            return replace(self, design=design, known=None)
        if self.design.layout is not None and replicates != 1.0:
            return replace(self, design=design, known=None)
        # A covariance of any order is inversely proportional to the number of outermost units, of any sizes.
        return replace(self, design=design, known=self.contrast.times(1.0 / (counts * replicates)))

    def require_df(self) -> None:
        """Raise where the design leaves the test no degrees of freedom."""
        if self.df <= 0:
            raise SpecificationError(self.freedom.shortage(self.test.combinations, self.test.df))

    def require_effect(self) -> None:
        """An effect that is zero, or outside what the test can show, is never found with more than the test's level."""
        if self.test.room(self.difference) > 0:
            return
        test, label = self.test, self.test.label
        highest = f"the highest attainable power is {test.alpha:g}, the level of the test."
        if isinstance(test, JointTest):
            raise SpecificationError(
                f"the nominal values of '{label}' are the null values themselves: {highest} Change the nominal values "
                "or null=."
            )
        value = self.difference[0] + test.null
        raise SpecificationError(
            f"the nominal value of '{label}', {value:g}, {_whereabouts(test, self.difference)} "
            f"(null {test.null:g}): {highest} Change the nominal value, null=, margin= or alternative=."
        )


def _whereabouts(test: WaldTest, difference: Array) -> str:
    if test.margin > 0.0:
        return f"lies outside the margin of {test.margin:g}, as far as the alternative '{test.alternative}' goes"
    if difference[0] == 0.0:
        return "is the null value itself"
    return f"lies opposite to the alternative '{test.alternative}'"


def power(
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    test: Test,
    order: str = "two-term",
) -> float:
    """Power of a Wald test at the nominal values.

    With δ = (c′β − null)/√Var(c′β̂), the power of the test against larger values is P(T > t_{1−α}) for a noncentral t
    variable T with noncentrality δ (a normal one with mean δ where the degrees of freedom are infinite); a two-sided
    test adds both tails at 1 − α/2. A margin is added to the side it is on. Equivalence is the probability that both
    one-sided tests reject, exactly, by Owen's function. A joint test of q combinations has P(F > F_{1−α}) for a
    noncentral F variable on q and ν degrees of freedom with noncentrality dᵀS⁻¹d.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
        The effect is the nominal value of the combination less ``test.null``.
    design : Design or DataFrame
        A data frame gives the shape of a data set, one row per observation, with any incidence of its factors.
    test : WaldTest or JointTest
    order : str
        Order of the covariance, and so the terms neglected: see `covariance`.

    Returns
    -------
    float

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        Where no degrees of freedom are left.

    Examples
    --------
    Effect 1, standard error √(0.5/10): the two-sided normal test at 5 %.

    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([1.0], {"unit": 0.25}, dispersion=1.0)
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=4)
    >>> round(power(model, guess, design, WaldTest("Intercept", df=math.inf)), 4)
    0.994
    """
    return power_at(covariance_at(model, nominal, design, order), model, nominal, design, test)


def power_at(
    found: AsymptoticCovariance,
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    test: Test,
) -> float:
    """Power of a Wald test where the covariance at the design is at hand; see `power`, which works it out.

    Parameters
    ----------
    found : AsymptoticCovariance
        Of the fixed effects, by any order.
    model : MixedModel
    nominal : NominalValues
    design : Design or DataFrame
    test : WaldTest or JointTest

    Returns
    -------
    float

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        Where no degrees of freedom are left.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> model, guess = MixedModel("y ~ 1 + (1 | unit)"), NominalValues([1.0], {"unit": 0.25}, dispersion=1.0)
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=4)
    >>> found = covariance(model, guess, design, "exact")
    >>> round(power_at(found, model, guess, design, WaldTest("Intercept", df=math.inf)), 4)
    0.994
    """
    plan = Plan(model, nominal, design, test, found.order, contrast_of(found, test))
    plan.require_df()
    return plan.power


def variance_needed(model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest, power: float) -> float:
    """Largest variance of the tested combination's estimate at which a test has the power wanted.

    For a one- or two-sided test (c′β − null)²/δ², with δ the noncentrality that gives the power at the degrees of
    freedom that the design leaves; zero where it leaves none.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
        Gives the degrees of freedom, unless the test states them.
    test : WaldTest
    power : float
        Between the level of the test and 1.

    Returns
    -------
    float

    Raises
    ------
    SpecificationError
        For a power out of range, or an effect of zero or opposite to the alternative.

    Examples
    --------
    An effect of 1 needs the standard error 1/(1.96 + 0.84) for power 0.8:

    >>> model, guess = MixedModel("y ~ 1"), NominalValues([1.0])
    >>> round(variance_needed(model, guess, Design(None, replicates=9), WaldTest("Intercept", df=math.inf), 0.8), 5)
    0.12741
    """
    from scipy.optimize import brentq

    check_between("power", power, test.alpha)
    plan = Plan(model, nominal, design, test, "leading")
    plan.require_effect()
    if plan.df <= 0:
        return 0.0

    def excess(precision: float) -> float:
        variance = np.array([[(room / precision) ** 2]])
        return test.rejection(plan.difference, variance, plan.df) - power

    room, high = test.room(plan.difference), 1.0
    while excess(high) < 0:
        high *= 2.0
    return float((room / brentq(excess, 1e-9, high, xtol=1e-12, rtol=1e-14)) ** 2)
