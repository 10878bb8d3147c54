"""What is given up for what: precision for money, one criterion for another, the optimum here for a plan elsewhere."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from optdesign import formula as formulas
from optdesign.costs import Cost
from optdesign.criteria import Bayesian, Compound, Criterion, Elementary, Maximin
from optdesign.designs import Design, DesignSpace
from optdesign.errors import AsymptoticRegimeWarning, SpecificationError, check_kind, is_number, listed, nearest
from optdesign.interrupts import Stoppable
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import ExactDesign, OptimalDesign, efficiency, optimize

if TYPE_CHECKING:
    import pandas as pd

Limits = Mapping[str, tuple[Cost, float]]


@dataclass(frozen=True, eq=False)
class Frontier:
    """The best designs for several budgets.

    Attributes
    ----------
    designs : tuple of OptimalDesign
        In the order of the budgets, each with its certificate.
    notes : tuple of str
        What a reader must know.
    """

    designs: tuple[OptimalDesign, ...]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A row per budget: what is spent, units (where there are any), observations, criterion value and bound."""
        import pandas as pd

        rows = []
        for best in self.designs:
            units = {"units": best.design.units} if best.design.layout else {}
            sizes = {**units, "observations": best.design.observations}
            proof = {"value": best.value, "efficiency bound": best.certificate.efficiency_bound}
            rows.append({"budget": best.budget, "spend": best.spend, **sizes, **proof})
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        (label,) = {best.criterion.label for best in self.designs}
        table = self.to_frame().to_string(index=False)
        return f"Frontier of {len(self.designs)} budgets: {label}\n{table}{_noted(self.notes)}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def frontier(best: OptimalDesign, budgets: Sequence[float]) -> Frontier:
    """The cost-precision frontier: the best design for each of several budgets.

    Parameters
    ----------
    best : OptimalDesign
        Its question is asked again for every budget.
    budgets : sequence of float
        In the currency of the cost.

    Returns
    -------
    Frontier
        An interrupt from the keyboard keeps the designs that are finished; a note says so.

    Raises
    ------
    InfeasibleBudgetError
        Where a budget cannot buy the smallest admissible design.

    Notes
    -----
    Where no bound on counts binds, a criterion on the variance scale is inversely proportional to the money beyond the
    fixed cost. Each design carries the warnings of its own in ``warnings``; none is raised here.

    Examples
    --------
    >>> from optdesign import COptimality, Nested
    >>> best = optimize(MixedModel("y ~ 1 + (1 | clinic)"), NominalValues([0.0], {"clinic": 0.2}, 0.8),
    ...                 DesignSpace(Nested("clinic")), COptimality({"Intercept": 1.0}),
    ...                 Cost(units={"clinic": 50.0}, observation=1.0), budget=10_000)
    >>> frontier(best, [5_000, 10_000, 20_000]).to_frame()["value"].round(6).tolist()
    [0.003291, 0.001646, 0.000823]
    """
    check_kind("best", best, OptimalDesign)
    check_kind("budgets", budgets, Iterable, instead="a list of amounts, such as [5_000, 10_000]")
    budgets = list(budgets)
    if not budgets:
        raise SpecificationError("frontier needs at least one budget; got none.")
    designs: list[OptimalDesign] = []
    with Stoppable(designs):
        designs.extend(_quietly(partial(best.again, budget=budget)) for budget in budgets)
    return Frontier(tuple(designs), _cut_short(len(designs), len(budgets)))


def _cut_short(finished: int, wanted: int) -> tuple[str, ...]:
    """A note, where an interrupt ended a series."""
    return (f"Interrupted: {finished} of {wanted} designs were finished.",) if finished < wanted else ()


def _noted(notes: tuple[str, ...]) -> str:
    """Notes below a table."""
    return "".join(f"\nNote: {note}" for note in notes)


def _quietly(solve: Callable[[], OptimalDesign]) -> OptimalDesign:
    """A finished design whose warnings on asymptotics are left in its `warnings`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsymptoticRegimeWarning)
        return solve().finished()


@dataclass(frozen=True, eq=False)
class Pareto:
    """Designs of which none is better than another by both of two criteria.

    Attributes
    ----------
    first, second : Criterion
    weights : tuple of float
        Weight of the second criterion at each point.
    designs : tuple of OptimalDesign
        Each certified as the optimum of its compound criterion.
    efficiencies : array, shape (points, 2)
        By each criterion, relative to its own optimum.
    notes : tuple of str
        What a reader must know.
    """

    first: Elementary
    second: Elementary
    weights: tuple[float, ...]
    designs: tuple[OptimalDesign, ...]
    efficiencies: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """A row per point: weight of the second criterion, efficiencies by the first and the second, and the bound."""
        import pandas as pd

        return pd.DataFrame(
            {
                "weight": self.weights,
                "first": self.efficiencies[:, 0],
                "second": self.efficiencies[:, 1],
                "efficiency bound": [best.certificate.efficiency_bound for best in self.designs],
            }
        )

    def __repr__(self) -> str:
        names = f"first: {self.first.label}\n  second: {self.second.label}"
        return f"Pareto set of\n  {names}\n{self.to_frame()}{_noted(self.notes)}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def pareto(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    first: Elementary,
    second: Elementary,
    cost: Cost,
    budget: float,
    points: int = 11,
    order: str = "two-term",
    *,
    limits: Limits | None = None,
    already: Design | pd.DataFrame | None = None,
) -> Pareto:
    """The Pareto set of two criteria, from the optimum of the one to the optimum of the other.

    The points maximise (1 − w) log Φ₁ + w log Φ₂ for evenly spaced w. Both are concave in the masses, so every point
    of the Pareto set is such a maximum, and each is certified.

    Parameters
    ----------
    model, nominal, space, cost, budget, order, limits, already
        As for `optimize`.
    first, second : elementary criteria
        D-, A-, C-, E- or I-optimality.
    points : int
        Number of points, both ends included; at least 2.

    Returns
    -------
    Pareto
        An interrupt from the keyboard keeps the points that are finished, both ends first; a note says so.

    Raises
    ------
    SpecificationError
        For criteria that are not elementary, or fewer than two points.

    Examples
    --------
    The mean and the slope of a line, for which the same design is best:

    >>> from optdesign import Candidates, COptimality
    >>> found = pareto(MixedModel("y ~ x"), NominalValues([0.0, 0.0]), DesignSpace(None, Candidates.grid(x=[-1, 0, 1])),
    ...                COptimality({"Intercept": 1}), COptimality({"x": 1}), Cost(observation=1.0), 100, points=3)
    >>> found.efficiencies[1].round(4).tolist()
    [1.0, 1.0]
    """
    if not (isinstance(first, Elementary) and isinstance(second, Elementary)):
        raise SpecificationError(f"pareto takes two elementary criteria; got {first!r} and {second!r}.")
    if not (is_number(points) and points >= 2 and points % 1 == 0):
        raise SpecificationError(f"points must be a whole number of at least 2; got {points!r}.")
    weights = np.linspace(0.0, 1.0, int(points)).tolist()
    ask = partial(
        optimize, model, nominal, space, cost=cost, budget=budget, order=order, limits=limits, already=already
    )
    ends = [(each, _quietly(partial(ask, criterion=each))) for each in (first, second)]
    found = [(0.0, ends[0][1]), (1.0, ends[1][1])]
    with Stoppable(found):
        found.extend((w, _quietly(partial(ask, criterion=_between(first, second, w)))) for w in weights[1:-1])
    found.sort(key=lambda pair: pair[0])
    kept, designs = zip(*found, strict=True)
    efficiencies = np.array([[efficiency(model, nominal, best.design, *end) for end in ends] for best in designs])
    efficiencies.flags.writeable = False
    return Pareto(first, second, kept, designs, efficiencies, _cut_short(len(kept), len(weights)))


def _between(first: Elementary, second: Elementary, weight: float) -> Criterion:
    return Compound([(1.0 - weight, first), (weight, second)])


@dataclass(frozen=True, eq=False)
class Robustness:
    """Efficiency of a plan under nominal values other than its own.

    Attributes
    ----------
    rows : tuple of dict
        What each scenario is, the plan's efficiency there, and the bound of the optimum that it is relative to.
    """

    rows: tuple[Mapping[str, object], ...]

    @property
    def worst(self) -> float:
        """The smallest efficiency."""
        return float(self.to_frame()["efficiency"].min())

    def to_frame(self) -> pd.DataFrame:
        """A row per scenario: its number, or parameter and nominal value; efficiency, and the optimum's bound."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def __repr__(self) -> str:
        return f"Robustness: efficiency at least {self.worst:.4f}\n{self.to_frame().to_string(index=False)}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False))


def robustness(
    best: OptimalDesign,
    scenarios: Sequence[NominalValues | tuple[float, NominalValues]] | Mapping[str, Sequence[float]],
    plan: Design | ExactDesign | None = None,
) -> Robustness:
    """Efficiency of a plan under other nominal values, relative to the best design there.

    Parameters
    ----------
    best : OptimalDesign
        The question; also the plan, unless another is given.
    scenarios : sequence of NominalValues, or mapping from parameter to values
        As `Fit.scenarios` gives them, with or without weights; or a profile: one parameter takes the values given, all
        others staying at their nominal values. Parameters are coefficients, ``"dispersion"``, and grouping factors,
        whose covariance matrix is multiplied by the values.
    plan : Design or ExactDesign, optional

    Returns
    -------
    Robustness

    Raises
    ------
    SpecificationError
        For an unknown parameter, or no scenarios.

    Notes
    -----
    The criterion is that of `best`; of a Bayesian or maximin criterion, the one that it averages or compares.

    Examples
    --------
    The allocation for an intra-class correlation of 0.2, were the variance between clinics a quarter, or fourfold:

    >>> from optdesign import COptimality, Nested
    >>> best = optimize(MixedModel("y ~ 1 + (1 | clinic)"), NominalValues([0.0], {"clinic": 0.2}, 0.8),
    ...                 DesignSpace(Nested("clinic")), COptimality({"Intercept": 1.0}),
    ...                 Cost(units={"clinic": 50.0}, observation=1.0), budget=10_000)
    >>> robustness(best, {"clinic": [0.25, 1.0, 4.0]}).to_frame()["efficiency"].round(3).tolist()
    [0.897, 1.0, 0.949]
    """
    check_kind("best", best, OptimalDesign)
    check_kind("plan", plan, Design, ExactDesign, type(None))
    cases = list(_profiles(best, scenarios) if isinstance(scenarios, Mapping) else _listed(scenarios))
    if not cases:
        raise SpecificationError("robustness needs at least one scenario; got none.")
    criterion = best.criterion.criterion if isinstance(best.criterion, Bayesian | Maximin) else best.criterion
    design = best.design if plan is None else plan.design if isinstance(plan, ExactDesign) else plan
    rows = []
    for what, nominal in cases:
        there = _quietly(partial(best.again, nominal=nominal, criterion=criterion))
        reached = efficiency(best.model, nominal, design, criterion, there)
        rows.append({**what, "efficiency": reached, "efficiency bound": there.certificate.efficiency_bound})
    return Robustness(tuple(rows))


Case = tuple[dict[str, object], NominalValues]


def _listed(scenarios: Sequence[NominalValues | tuple[float, NominalValues]]) -> Iterator[Case]:
    check_kind("scenarios", scenarios, Iterable, instead="a list of NominalValues, or a table of parameter to values")
    for number, each in enumerate(scenarios, start=1):
        nominal = each[1] if isinstance(each, tuple) and len(each) == 2 else each
        check_kind(
            f"scenario {number}", nominal, NominalValues, instead="NominalValues, or a pair of a weight and them"
        )
        yield {"scenario": number}, nominal


def _profiles(best: OptimalDesign, profiles: Mapping[str, Sequence[float]]) -> Iterator[Case]:
    for name, values in profiles.items():
        check_kind(f"scenarios['{name}']", values, Iterable, instead="a list of nominal values, such as [0.5, 2.0]")
        for value in values:
            if not is_number(value):
                raise SpecificationError(f"robustness: a nominal value of '{name}' must be a number; got {value!r}.")
            yield {"parameter": name, "nominal": value}, _changed(best, name, float(value))


def _changed(best: OptimalDesign, name: str, value: float) -> NominalValues:
    """Nominal values with one parameter changed."""
    nominal = best.nominal
    if name == "dispersion":
        return replace(nominal, dispersion=value)
    if name in nominal.covariance:
        matrices = {**nominal.covariance, name: value * np.asarray(nominal.covariance[name])}
        return replace(nominal, covariance=matrices)
    assert nominal.reference is not None  # an optimal design's nominal values refer to its candidates, or to a pilot
    encoding = formulas.learn(best.model.parsed, nominal.reference)
    full = encoding.aliases.get(name, name)
    if full not in encoding.fixed_names:
        known = [*encoding.fixed_names, *nominal.covariance, "dispersion"]
        raise SpecificationError(
            f"robustness: '{name}' is not a parameter with a nominal value: {listed(known)}.{nearest(name, known)}"
        )
    beta = dict(zip(encoding.fixed_names, nominal.beta_vector(encoding).tolist(), strict=True))
    return replace(nominal, beta={**beta, full: value})
