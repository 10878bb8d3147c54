"""A family of laws of the covariates, such as normal laws of any mean and spread: the best law and the best design.

The criterion is not convex in the parameters of a law. They are searched, on a grid and then locally; given the law,
the rest of the design is the convex problem that `optimize` solves with proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from optdesign.costs import Cost
from optdesign.criteria import BoundCriterion, Criterion
from optdesign.designs import DesignSpace
from optdesign.errors import InfeasibleBudgetError, NotEstimableError, SpecificationError, check_kind, is_number
from optdesign.interrupts import Stoppable
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize import OptimalDesign, Status, optimize
from optdesign.optimize.problem import check_question, make_problem
from optdesign.optimize.region import optimum
from optdesign.optimize.scenarios import with_references

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Values of each parameter in the grid, by the number of parameters; four for more than three.
VALUES = {1: 41, 2: 11, 3: 6}
#: Laws of the grid from which the local search starts, the best ones.
STARTS = 2
#: Where the local search ends: share of a parameter's range, and change of the loss.
FINE, FLAT = 1e-4, 1e-8


@dataclass(frozen=True, eq=False)
class OptimalLaw:
    """The best law of a family, and the best design under it.

    Attributes
    ----------
    parameters : mapping from name to float
        Those of the law.
    best : OptimalDesign
        Its certificate holds given the law.
    searched : DataFrame
        A row for each law that was looked at: its parameters and the criterion's ``value``, infinite where no
        admissible design is estimable or affordable.
    """

    parameters: Mapping[str, float]
    best: OptimalDesign
    searched: pd.DataFrame

    def __repr__(self) -> str:
        return f"OptimalLaw({_words(self.parameters)})\n{self.best!r}"


def optimize_law(
    model: MixedModel,
    nominal: NominalValues,
    space: Callable[..., DesignSpace],
    bounds: Mapping[str, tuple[float, float]],
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str = "two-term",
) -> OptimalLaw:
    """The best law of a parametric family, with the best numbers of units and observations under it.

    Parameters
    ----------
    model, nominal, criterion, cost, budget, order
        As in `optimize`. Levels and data-dependent terms refer to the law in the middle of the bounds, unless the
        nominal values have reference data.
    space : callable
        The design space for given parameters, as keyword arguments: the law is its ``observed`` measure.
    bounds : mapping from parameter to (lowest, highest)

    Returns
    -------
    OptimalLaw
        One parameter is searched on 41 even values, two on 11 × 11, three on 6 × 6 × 6, bounds included; then locally
        (Nelder and Mead) from the best two. That is no proof over the family: a note says so. An interrupt from the
        keyboard ends the search with the best law so far.

    Raises
    ------
    SpecificationError
        For bounds that are none, and what `optimize` refuses.
    NotEstimableError, InfeasibleBudgetError
        Where that is so for every law of the grid.

    Examples
    --------
    Which share of visits to treat, when treating costs more; (√10 − 2)/3 by calculus:

    >>> from optdesign import Cost, COptimality, DesignSpace, Measure, MixedModel, Nested, NominalValues
    >>> def trial(share):
    ...     law = Measure.grid(treat=[0, 1], weights=[1 - share, share])
    ...     return DesignSpace(Nested("patient"), observed=law, replicates=(2, 10))
    >>> found = optimize_law(MixedModel("y ~ treat + (1 | patient)"), NominalValues([0.0, 0.0], {"patient": 0.5}),
    ...                      trial, {"share": (0.05, 0.95)}, COptimality({"treat": 1.0}),
    ...                      Cost({"patient": 10.0}, "1 + 3*treat"), budget=1_000)
    >>> round(found.parameters["share"], 3)
    0.387
    """
    low, high = _checked(bounds).T

    def space_of(parameters: Mapping[str, float]) -> DesignSpace:
        made = space(**parameters)
        check_question(model, nominal, made, criterion, cost)
        return made

    def law(place: Array) -> dict[str, float]:
        return dict(zip(bounds, ((1.0 - place) * low + place * high).tolist(), strict=True))

    middle = space_of(law(np.full(len(bounds), 0.5)))
    if middle.common_replicates:
        raise SpecificationError("common_replicates is not searched together with a law: set replicates to a number.")
    nominal = nominal.referring_to(middle.reference)
    seen: list[tuple[dict[str, float], float]] = []

    def loss(place: Array) -> float:
        parameters = law(place)
        seen.append((parameters, _loss(model, nominal, space_of(parameters), criterion, cost, budget, order)))
        return seen[-1][1]

    with threadpool_limits(1, "blas"), Stoppable(seen) as search:
        _search(loss, len(bounds))
    parameters, _ = min(seen, key=lambda pair: pair[1])
    best = optimize(model, nominal, space_of(parameters), criterion, cost, budget, order)
    how = "looked at before the search was stopped" if search.stopped else "a grid and a local search from its best"
    note = (
        f"The law has {_words(parameters)}: the best of {len(seen)} laws of its family, {how}. The certificate holds "
        "among designs with that law."
    )
    stopped = search.stopped or best.interrupted
    status = Status.STOPPED if stopped else best.status
    best = replace(best, warnings=(note, *best.warnings), status=status, interrupted=stopped)
    return OptimalLaw(MappingProxyType(parameters), best, _frame(seen, best.problem.criterion))


def _checked(bounds: Mapping[str, tuple[float, float]]) -> Array:
    """Lowest and highest value of each parameter, shape (parameters, 2)."""
    check_kind(
        "bounds", bounds, Mapping, instead="a table of parameter to (lowest, highest), such as {'share': (0, 1)}"
    )
    for name, pair in bounds.items():
        if not (isinstance(pair, tuple | list) and len(pair) == 2 and all(map(is_number, pair)) and pair[0] < pair[1]):
            raise SpecificationError(
                f"bounds of '{name}' must be a pair (lowest, highest) with lowest < highest; got {pair!r}."
            )
    if not bounds:
        raise SpecificationError("a family of laws needs bounds for one parameter at least; use optimize for one law.")
    return np.array(list(bounds.values()), dtype=float)


def _loss(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str,
) -> float:
    """The least loss that a law allows; infinite where the budget buys no design under it that estimates enough."""
    try:
        problem = make_problem(model, nominal, space, criterion, cost, budget, order)
        problem.require_affordable()
        return optimum(with_references(problem))[1].finished().bound
    except (NotEstimableError, InfeasibleBudgetError, np.linalg.LinAlgError):
        return np.inf


def _search(loss: Callable[[Array], float], size: int) -> None:
    """Look at a grid of places from 0 to 1, and follow the loss down from the best of them."""
    line = np.linspace(0.0, 1.0, VALUES.get(size, 4))
    grid = np.stack(np.meshgrid(*[line] * size, indexing="ij"), axis=-1).reshape(-1, size)
    losses = np.array([loss(place) for place in grid])
    best = np.argsort(losses, kind="stable")[:STARTS]
    for start in grid[best[np.isfinite(losses[best])]]:
        # Towards the inside, so that the first simplex is one.
        simplex = np.vstack([start, start + np.diag(np.where(start < 0.5, 0.5, -0.5) * line[1])])
        minimize(
            loss,
            start,
            method="Nelder-Mead",
            bounds=[(0.0, 1.0)] * size,
            options={"initial_simplex": simplex, "xatol": FINE, "fatol": FLAT},
        )


def _frame(seen: list[tuple[dict[str, float], float]], criterion: BoundCriterion) -> pd.DataFrame:
    import pandas as pd

    values = [criterion.value_of(loss) for _, loss in seen]
    return pd.DataFrame([parameters for parameters, _ in seen]).assign(value=values)


def _words(parameters: Mapping[str, float]) -> str:
    return ", ".join(f"{name} = {value:.6g}" for name, value in parameters.items())
