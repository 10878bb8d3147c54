"""What a design buys: power, sample size and interval width of Wald inference on one coefficient."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign import formula as formulas
from optdesign.costs import Cost
from optdesign.covariance import AsymptoticCovariance, coefficient_index, covariance
from optdesign.covariance.encoded import check_layout, encode
from optdesign.covariance.nested import Blocks, pack
from optdesign.designs import Design
from optdesign.errors import NotEstimableError, SpecificationError, listed, nearest
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

ALTERNATIVES = ("two-sided", "greater", "less")

#: Loadings on random-effect columns below this, relative to the columns' sizes, are rounding errors.
NEGLIGIBLE_LOADING = 1e-8

#: Observations per unit, as a multiple of the design's own, that stand for infinitely many.
MANY = 1e6

#: Largest whole number that a sample-size search tries.
LARGEST = 2**50


@dataclass(frozen=True)
class WaldTest:
    """A Wald test of one coefficient.

    Parameters
    ----------
    coefficient : str
        Name of the coefficient, or of its one-column term.
    null : float
        Its value under the null hypothesis, on the scale of the linear predictor.
    alternative : str
        ``"two-sided"``, ``"greater"`` or ``"less"``.
    alpha : float
        Level.
    df : "auto" or float
        Degrees of freedom of the reference t distribution; ``math.inf`` for the normal. ``"auto"`` is
        `degrees_of_freedom`: between-within for Gaussian models, infinite otherwise.

    Raises
    ------
    SpecificationError
        For an unknown alternative, a level outside (0, 1) or degrees of freedom that are not positive.

    Examples
    --------
    >>> WaldTest("treat", alternative="less", alpha=0.025)
    WaldTest(coefficient='treat', null=0.0, alternative='less', alpha=0.025, df='auto')
    """

    coefficient: str
    null: float = 0.0
    alternative: str = "two-sided"
    alpha: float = 0.05
    df: float | str = "auto"

    def __post_init__(self) -> None:
        if self.alternative not in ALTERNATIVES:
            raise SpecificationError(
                f"alternative '{self.alternative}' is not known.{nearest(str(self.alternative), ALTERNATIVES)} Use one "
                f"of {listed(ALTERNATIVES)}."
            )
        if not (_is_number(self.null) and math.isfinite(self.null)):
            raise SpecificationError(f"null must be a finite number; got {self.null!r}.")
        _check_between("alpha", self.alpha, 0.0)
        _check_df(self.df)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _check_between(what: str, value: float, low: float) -> None:
    if not (_is_number(value) and low < value < 1.0):
        raise SpecificationError(f"{what} must be a number between {low:g} and 1; got {value!r}.")


def _check_df(df: float | str) -> None:
    if df != "auto" and not (_is_number(df) and float(df) > 0.0):
        raise SpecificationError(
            f"df must be 'auto', a positive number, or math.inf for the normal distribution; got {df!r}."
        )


def degrees_of_freedom(model: MixedModel, nominal: NominalValues, design: Design, coefficient: str) -> float:
    """Between-within degrees of freedom of the t distribution of a coefficient's Wald statistic.

    Let x be the coefficient's column and z the random-effect columns. Where x is inside every unit a combination of
    z (a random partner, or a covariate that is constant within units with a random intercept), the units absorb it,
    and it is judged by how the units differ: m − p_j, for m units and p_j absorbed coefficients that load on the
    random column j, the least over the j that x loads on. So is one that the data identify only together with such a
    coefficient. All others are judged by the residual: N − Σ_units rank(z) − p_B, for N observations and p_B
    coefficients that are not absorbed; without random effects this is N − p. A response that is not Gaussian has the
    normal limit, ``inf``.

    The rule is exact for balanced designs whose statistic has a t distribution and the usual approximation
    elsewhere.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    coefficient : str

    Returns
    -------
    float

    Raises
    ------
    SpecificationError
        For an unknown coefficient, or a design too small to leave any, with the size needed.

    Examples
    --------
    An arm effect between 20 clusters, and a slope within them:

    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ treat + x + (1 | cluster)")
    >>> guess = NominalValues([0, 0, 0], {"cluster": 0.1})
    >>> design = Design(Nested("cluster"), counts={"cluster": 20}, replicates=5,
    ...                 measure=Measure.grid(treat=[0, 1], x=[0, 1]), levels={"treat": "cluster"})
    >>> degrees_of_freedom(model, guess, design, "treat"), degrees_of_freedom(model, guess, design, "x")
    (18.0, 79.0)
    """
    budget = _df_budget(model, nominal, design, coefficient)
    if budget.left <= 0:
        raise SpecificationError(
            f"no degrees of freedom are left for '{coefficient}': the design has {budget.per_design:g} {budget.what} "
            f"for {budget.spent:g} coefficients. Use more than {budget.spent:g} {budget.what}."
        )
    return budget.left


@dataclass(frozen=True)
class _DfBudget:
    """Degrees of freedom as what the design has, proportional to its counts, less what coefficients use up."""

    per_design: float
    spent: float
    what: str

    @property
    def left(self) -> float:
        return self.per_design - self.spent

    def scaled(self, factor: float) -> float:
        """Degrees of freedom of the design with its counts multiplied."""
        return self.per_design * factor - self.spent


def _df_budget(model: MixedModel, nominal: NominalValues, design: Design, coefficient: str) -> _DfBudget:
    check_layout(model, design.layout)
    rows = encode(model, nominal, design.region, 1)
    at = coefficient_index(coefficient, rows.names, rows.aliases)
    if not model.is_gaussian:
        return _DfBudget(math.inf, 0.0, "observations")
    blocks = pack(rows, np.arange(rows.region.n_atoms), separate=True)
    loads = _loadings(blocks, rows.X, rows.Z)
    absorbed, inherited = loads.any(axis=0), _inherited(blocks, loads, rows.X)
    if inherited[:, at].any():
        return _DfBudget(design.units, float(loads.sum(axis=1)[inherited[:, at]].max()), f"levels of '{rows.factor}'")
    counts, _ = design.masses
    random = float(counts[blocks.unit] * blocks.prob @ (1.0 - blocks.idle).sum(axis=1))
    within = np.linalg.matrix_rank(blocks.X[:, :, ~absorbed].reshape(-1, int((~absorbed).sum())))
    return _DfBudget(design.observations - random, float(within), "observations beyond those that units use up")


def _loadings(blocks: Blocks, X: Array, Z: Array) -> npt.NDArray[np.bool_]:
    """Which random-effect column each absorbed coefficient loads on, in some unit, shape (r, p)."""
    weights = np.abs(blocks.rotation @ blocks.absorbed)
    sizes = np.abs(X).max(axis=0) / np.abs(Z).max(axis=0, initial=np.finfo(float).tiny)[:, None]
    return np.asarray((weights > NEGLIGIBLE_LOADING * sizes).any(axis=0))


def _inherited(blocks: Blocks, loads: npt.NDArray[np.bool_], X: Array) -> npt.NDArray[np.bool_]:
    """Loadings, given on to coefficients whose within-unit information is shared with an absorbed one.

    An absorbed column that also varies within units as x_B c does lets the observations identify only sums
    β_B + cβ; β_B alone then rests on the same differences between units.
    """
    absorbed = loads.any(axis=0)
    within = blocks.X.reshape(-1, X.shape[1])
    shares = np.linalg.lstsq(within[:, ~absorbed], within[:, absorbed])[0]
    linked = np.abs(shares) > NEGLIGIBLE_LOADING * np.abs(shares).max(initial=1.0)
    result = loads.copy()
    result[:, ~absorbed] = (loads[:, absorbed].astype(int) @ linked.T.astype(int)) > 0
    return result


def power(model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest, order: str = "two-term") -> float:
    """Power of a Wald test at the nominal values.

    With δ = (β − β₀)/√Var(β̂), the power of the test against larger values is P(T > t_{1−α}) for a noncentral t
    variable T with noncentrality δ (a normal one with mean δ where the degrees of freedom are infinite); a two-sided
    test adds both tails at 1 − α/2.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
        The effect is the nominal value of the coefficient less ``test.null``.
    design : Design
    test : WaldTest
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
    return power_at(covariance(model, nominal, design, order), model, nominal, design, test)


def power_at(
    cov: AsymptoticCovariance, model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest
) -> float:
    """Power of a Wald test where the covariance of the design is at hand; see `power`, which works it out.

    Parameters
    ----------
    cov : AsymptoticCovariance
        Of the fixed effects at the design.
    model : MixedModel
    nominal : NominalValues
    design : Design
    test : WaldTest

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
    >>> cov = covariance(model, guess, design, "exact")
    >>> round(power_at(cov, model, guess, design, WaldTest("Intercept", df=math.inf)), 4)
    0.994
    """
    df = degrees_of_freedom(model, nominal, design, test.coefficient) if test.df == "auto" else float(test.df)
    shift = _effect(model, nominal, design, test, cov) / math.sqrt(_variance(cov, test.coefficient))
    return _tail_power(test, shift, df)


def _effect(
    model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest, cov: AsymptoticCovariance
) -> float:
    """Nominal value of the coefficient less its null value."""
    frame = design.region.frame if nominal.reference is None else nominal.reference
    beta = nominal.beta_vector(formulas.learn(model.parsed, frame))
    return float(beta[cov.position(test.coefficient)] - test.null)


def _tail_power(test: WaldTest, shift: float, df: float) -> float:
    """Probability that a statistic with noncentrality `shift` is beyond the test's critical value.

    ``nan`` where no degrees of freedom are left, so that no target counts as reached.
    """
    if df <= 0:
        return math.nan
    level = test.alpha / (2 if test.alternative == "two-sided" else 1)
    tails = _normal_tails(level, shift) if math.isinf(df) else _t_tails(level, shift, df)
    return float({"greater": tails[0], "less": tails[1], "two-sided": sum(tails)}[test.alternative])


def variance_needed(model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest, power: float) -> float:
    """Largest variance of the coefficient's estimate at which a test has the power wanted.

    (β − β₀)²/δ², with δ the noncentrality that gives the power at the degrees of freedom that the design leaves; zero
    where it leaves none.

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
    _check_between("power", power, test.alpha)
    plan = _Plan(model, nominal, design, test, "leading")
    _check_direction(plan)
    df = plan.df.left if test.df == "auto" else float(test.df)
    return (plan.effect / _noncentrality(test, power, df)) ** 2 if df > 0 else 0.0


def _noncentrality(test: WaldTest, power: float, df: float) -> float:
    """Size of the noncentrality at which the test has the power wanted."""
    from scipy.optimize import brentq

    sign = -1.0 if test.alternative == "less" else 1.0

    def excess(size: float) -> float:
        return _tail_power(test, sign * size, df) - power

    high = 1.0
    while excess(high) < 0:
        high *= 2.0
    return float(brentq(excess, 0.0, high, xtol=1e-12, rtol=1e-14))


def _normal_tails(level: float, shift: float) -> tuple[float, float]:
    """Probability of the upper and of the lower tail; by functions that load much faster than `scipy.stats`."""
    from scipy.special import ndtr, ndtri

    critical = -ndtri(level)
    return float(ndtr(shift - critical)), float(ndtr(-shift - critical))


def _t_tails(level: float, shift: float, df: float) -> tuple[float, float]:
    from scipy import stats

    critical = stats.t.isf(level, df)
    # The upper tail of the mirrored law, because scipy's lower tail is nan for large noncentralities.
    return float(stats.nct.sf(critical, df, shift)), float(stats.nct.sf(critical, df, -shift))


@dataclass(frozen=True, eq=False)
class _Plan:
    """The power of a test at multiples of a design."""

    model: MixedModel
    nominal: NominalValues
    design: Design
    test: WaldTest
    order: str

    @cached_property
    def base(self) -> AsymptoticCovariance:
        return covariance(self.model, self.nominal, self.design, self.order)

    @cached_property
    def effect(self) -> float:
        """Nominal value of the coefficient less its null value."""
        return _effect(self.model, self.nominal, self.design, self.test, self.base)

    @cached_property
    def df(self) -> _DfBudget:
        if self.test.df == "auto":
            return _df_budget(self.model, self.nominal, self.design, self.test.coefficient)
        return _DfBudget(math.inf, 0.0, "")

    def at_counts(self, factor: float) -> float:
        """Power with every count multiplied: a covariance of any order is divided by the same factor."""
        df = self.df.scaled(factor) if self.test.df == "auto" else float(self.test.df)
        return _tail_power(self.test, self.effect * math.sqrt(factor / _variance(self.base, self.test.coefficient)), df)

    def at_replicates(self, factor: float) -> float:
        """Power with every number of replicates multiplied."""
        return replace(self, design=self.design.scaled(replicates=factor)).at_counts(1.0)

    def with_many_replicates(self) -> float:
        """Limit of the power in the number of replicates: what units absorb has the leading order's variance."""
        return power(self.model, self.nominal, self.design.scaled(replicates=MANY), self.test, "leading")


def _variance(cov: AsymptoticCovariance, coefficient: str) -> float:
    variance = cov.variance({coefficient: 1.0})
    if not math.isfinite(variance):
        raise NotEstimableError(
            f"the design cannot estimate '{coefficient}' (inestimable: {listed(cov.inestimable)}): at its points, the "
            "column is a combination of others. Add points that set them apart, or leave a term out.",
            cov.inestimable,
        )
    return variance


@dataclass(frozen=True, eq=False, repr=False)
class SampleSize:
    """The smallest number that gives a test its power.

    Attributes
    ----------
    count : int
        Units in all, observations per unit on average (in all, without a layout), or currency units: see `solve_for`.
    power : float
        Power there; at least the power asked for.
    order : str
        Order of the covariance used.
    solve_for : str
        A grouping factor, ``"replicates"`` or ``"budget"``.
    design : Design
        The design scaled to it. Its proportions are kept, so its counts need not be whole.
    """

    count: int
    power: float
    order: str
    solve_for: str
    design: Design

    def __repr__(self) -> str:
        what = self.solve_for if self.solve_for in ("replicates", "budget") else f"levels of '{self.solve_for}'"
        return f"SampleSize({what}: {self.count}, power {self.power:.4f}, order '{self.order}')"


@dataclass(frozen=True, eq=False)
class _Search:
    """A whole number to be found, and the multiple of the design that it stands for."""

    lowest: int
    highest: int
    multiple: Callable[[int], float]
    power: Callable[[float], float]
    design: Callable[[float], Design]


def smallest_count(model: MixedModel, nominal: NominalValues, design: Design, test: WaldTest) -> int:
    """Smallest whole number of units that leaves a test degrees of freedom; of observations, without a layout.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
        Gives the proportions, as for `sample_size`.
    test : WaldTest

    Returns
    -------
    int

    Raises
    ------
    SpecificationError
        For an unknown coefficient.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> model, guess = MixedModel("y ~ 1 + (1 | unit)"), NominalValues([1.0], {"unit": 0.25})
    >>> smallest_count(model, guess, Design(Nested("unit"), counts={"unit": 9}, replicates=4), WaldTest("Intercept"))
    2
    """
    df = _Plan(model, nominal, design, test, "leading").df
    size = design.units if design.layout else design.observations
    return math.floor(size * df.spent / df.per_design) + 1


def sample_size(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: WaldTest,
    power: float,
    solve_for: str,
    order: str = "two-term",
    cost: Cost | None = None,
) -> SampleSize:
    """Smallest whole number of units, replicates or currency units at which a test has the power wanted.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
        Gives the proportions, which are kept: of units of each kind, of replicates between kinds of unit, and within
        units.
    test : WaldTest
    power : float
        Between the level of the test and 1.
    solve_for : str
        The grouping factor: its units in all, of the design's sizes. ``"replicates"``: observations per unit on
        average, for the design's units; observations in all where there is no layout. ``"budget"``: money, in whole
        currency units, spent on more units of the design's sizes; the fixed cost counts once.
    order : str
        Order of the covariance: see `covariance`. For the leading term this is the textbook
        m = ⌈(z_{1−α} + z_{power})² Σ_kk/β_k²⌉ of a one-sided test on a coefficient with a random partner; with two
        terms, Σ_kk + ϕK_kk/n takes the place of Σ_kk.
    cost : Cost, optional
        Needed to solve for the budget.

    Returns
    -------
    SampleSize

    Raises
    ------
    SpecificationError
        Where no number gives the power, with the highest power attainable and what limits it.
    NotEstimableError
        Where the design cannot estimate the coefficient.

    Notes
    -----
    Published for the two-term covariance by Maestrini, Bhaskaran & Wand (2024). A covariance of any order is
    inversely proportional to the counts, so that one serves every number of units.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ x + (1 + x | unit)", family="poisson")
    >>> guess = NominalValues([-1.5, 0.3], {"unit": [[0.5, 0.1], [0.1, 0.25]]})
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=20, measure=Measure.grid(x=[0, 1]))
    >>> test = WaldTest("x", alternative="greater")
    >>> sample_size(model, guess, design, test, power=0.9, solve_for="unit")
    SampleSize(levels of 'unit': 130, power 0.9013, order 'two-term')
    """
    _check_between("power", power, test.alpha)
    plan = _Plan(model, nominal, design, test, order)
    search = _search(plan, solve_for, cost)
    _check_direction(plan)
    count = _smallest(lambda n: search.power(search.multiple(n)) >= power, search.lowest, search.highest)
    if count is None:
        raise _unreachable(plan, power, solve_for, search.highest)
    factor = search.multiple(count)
    return SampleSize(count, search.power(factor), order, solve_for, search.design(factor))


def _search(plan: _Plan, solve_for: str, cost: Cost | None) -> _Search:
    design = plan.design
    factors = design.layout.factors if design.layout else ()
    if solve_for == "budget":
        return _budget_search(plan, cost)
    if solve_for == "replicates":
        mean = design.observations / (design.units if factors else 1.0)
        at = plan.at_replicates if factors else plan.at_counts
        return _Search(1, int(MANY * mean) + 1, lambda n: n / mean, at, lambda f: design.scaled(replicates=f))
    if solve_for not in factors:
        known = [*factors, "replicates", "budget"]
        raise SpecificationError(
            f"solve_for='{solve_for}' is not known.{nearest(str(solve_for), known)} Solve for one of {listed(known)}."
        )
    units = design.units
    return _Search(1, LARGEST, lambda n: n / units, plan.at_counts, lambda f: design.scaled(counts=f))


def _budget_search(plan: _Plan, cost: Cost | None) -> _Search:
    if cost is None:
        raise SpecificationError("solve_for='budget' needs cost=, the prices of units and observations: Cost(…).")
    variable = plan.design.spend(cost) - cost.fixed
    if variable <= 0:
        raise SpecificationError(
            f"{cost!r} prices no unit and no observation of the design, so no budget limits it: give units= or "
            "observation= a price."
        )
    lowest = math.floor(cost.fixed) + 1
    part = "counts" if plan.design.layout else "replicates"
    return _Search(
        lowest,
        LARGEST,
        lambda money: (money - cost.fixed) / variable,
        plan.at_counts,
        lambda f: plan.design.scaled(**{part: f}),
    )


def _check_direction(plan: _Plan) -> None:
    """An effect that is zero, or opposite to the alternative, is never found with more than the test's level."""
    test, effect = plan.test, plan.effect
    wanted = {"two-sided": abs(effect), "greater": effect, "less": -effect}[test.alternative]
    if wanted > 0:
        return
    what = "is the null value itself" if effect == 0 else f"lies opposite to the alternative '{test.alternative}'"
    raise SpecificationError(
        f"the nominal value of '{test.coefficient}', {effect + test.null:g}, {what} (null {test.null:g}): the highest "
        f"attainable power is {test.alpha:g}, the level of the test. Change the nominal value, null= or alternative=."
    )


def _smallest(enough: Callable[[int], bool], lowest: int, highest: int) -> int | None:
    """Smallest whole number that is enough, by doubling and bisection; None where the highest is not."""
    high, step = lowest, 1
    while not enough(high):
        if high >= highest:
            return None
        lowest, high, step = high + 1, min(high + step, highest), 2 * step
    while lowest < high:
        middle = (lowest + high) // 2
        lowest, high = (lowest, middle) if enough(middle) else (middle + 1, high)
    return high


def _unreachable(plan: _Plan, power: float, solve_for: str, highest: int) -> SpecificationError:
    goal = f"power {power:g} for '{plan.test.coefficient}'"
    if solve_for == "replicates" and plan.design.layout is not None:
        factor = plan.design.layout.factors[0]
        return SpecificationError(
            f"{goal} cannot be reached with {plan.design.units:g} levels of '{factor}': the highest attainable power, "
            f"with any number of replicates, is {plan.with_many_replicates():.4f}, because the variance between levels "
            f"of '{factor}' remains. Use more of them: solve_for='{factor}'."
        )
    return SpecificationError(
        f"{goal} needs more than {highest:.0e} of '{solve_for}': check the effect, {plan.effect:g}, and the units of "
        "the covariates."
    )


def interval_width(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    coefficient: str,
    level: float = 0.95,
    order: str = "two-term",
    df: float | str = "auto",
) -> float:
    """Full width of the Wald confidence interval of a coefficient, 2 t_{(1+level)/2} √Var(β̂).

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    coefficient : str
    level : float
        Coverage, between 0 and 1.
    order : str
        Order of the covariance, and so the terms neglected: see `covariance`.
    df : "auto" or float
        Degrees of freedom, as for `WaldTest`.

    Returns
    -------
    float
        On the scale of the linear predictor.

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For a level outside (0, 1), or where no degrees of freedom are left.

    Examples
    --------
    >>> model, guess = MixedModel("y ~ 1"), NominalValues([0.0], dispersion=4.0)
    >>> round(interval_width(model, guess, Design(None, replicates=16), "Intercept"), 4)
    2.1314
    """
    from scipy import stats

    _check_between("level", level, 0.0)
    _check_df(df)
    variance = _variance(covariance(model, nominal, design, order), coefficient)
    left = degrees_of_freedom(model, nominal, design, coefficient) if df == "auto" else float(df)
    return 2.0 * float(stats.t.isf((1.0 - level) / 2.0, left)) * math.sqrt(variance)


def power_curve(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: WaldTest,
    counts: Sequence[float],
    orders: Sequence[str],
) -> pd.DataFrame:
    """Power against the number of units, of the design's proportions and sizes, by each order.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    test : WaldTest
    counts : sequence of float
        Numbers of units in all; of observations in all where there is no layout.
    orders : sequence of str
        Orders of the covariance.

    Returns
    -------
    DataFrame
        Columns ``units``, ``order`` and ``power``; power is ``nan`` where no degrees of freedom are left.

    Raises
    ------
    NotEstimableError
        Where the design cannot estimate the coefficient.
    SpecificationError
        For an unknown order, or counts that are not positive.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> model = MixedModel("y ~ 1 + (1 | unit)")
    >>> guess = NominalValues([1.0], {"unit": 0.25}, dispersion=1.0)
    >>> design = Design(Nested("unit"), counts={"unit": 10}, replicates=4)
    >>> power_curve(model, guess, design, WaldTest("Intercept", df=math.inf), [5, 10], ["two-term"]).round(4)
       units     order   power
    0      5  two-term  0.8854
    1     10  two-term  0.9940
    """
    import pandas as pd

    if not all(_is_number(count) and count > 0 for count in counts):
        raise SpecificationError(f"counts must be positive numbers; got {list(counts)}.")
    size = design.units if design.layout else design.observations
    plans = {order: _Plan(model, nominal, design, test, order) for order in orders}
    rows = [(count, order, plan.at_counts(count / size)) for order, plan in plans.items() for count in counts]
    return pd.DataFrame(rows, columns=["units", "order", "power"])
