"""The one problem that every algorithm solves: a convex loss of the information under linear constraints on masses.

The masses z are the unit counts m of the T types followed by the total observations μ of the A atoms. The loss
−log Φ(M(z)) is convex, since Φ is concave and M is Loewner-concave in z; everything that may be chosen is a set of
linear constraints on z.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import linprog

from optdesign.costs import Cost
from optdesign.covariance.encoded import EncodedRows, encode, fixed_columns
from optdesign.covariance.information import Augmented, Information, Point, Subset
from optdesign.covariance.nested import information_of
from optdesign.covariance.profiles import design_information, parameters_of, random_effects
from optdesign.criteria import (
    NO_VARIATION,
    BoundCriterion,
    Criterion,
    CriterionPoint,
    Multipliers,
    Parameters,
    check_criterion,
)
from optdesign.designs import Design, DesignSpace
from optdesign.errors import (
    ConvergenceError,
    InfeasibleBudgetError,
    SpecificationError,
    UnknownParameterError,
    check_kind,
    is_number,
)
from optdesign.linalg import SINGULAR, identified
from optdesign.measures import Candidates
from optdesign.models import MixedModel, NominalValues
from optdesign.optimize.choices import SAMPLE, STUDY, Choice, Row, choice_of, one_factor
from optdesign.quadrature import ladder
from optdesign.units import kinds

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Relative change of the information at which the quadrature over random effects counts as settled.
QUADRATURE_TOLERANCE = 1e-7
#: Units or observations below which a design is empty: linear programs allow 1e-7.
EMPTY = 1e-6
#: Name of the constraint that the budget is.
BUDGET = "budget"
#: Smallest rounding-off of a criterion's corners.
SMOOTHING = 1e-9
#: Constraint rows up to which masses with the same column are merged in linear programs.
FEW_ROWS = 60
#: Excess of a bound by the multipliers at hand over the optimum, above which a linear program is solved instead.
PRICED = 5e-7


@dataclass(frozen=True, eq=False)
class LinearConstraints:
    """``matrix @ z <= upper`` and ``equal @ z == level``, with z ≥ 0 understood; one label per row."""

    matrix: sp.csr_array
    upper: Array
    labels: tuple[str, ...]
    equal: sp.csr_array
    level: Array
    equal_labels: tuple[str, ...]

    def with_rows(
        self, kept: npt.NDArray[np.bool_], kept_equal: npt.NDArray[np.bool_] | None = None
    ) -> LinearConstraints:
        """Some of the inequalities, and some of the equalities (all unless given)."""
        equal = np.ones(len(self.level), dtype=bool) if kept_equal is None else kept_equal
        return LinearConstraints(
            self.matrix[kept],
            self.upper[kept],
            tuple(np.array(self.labels, dtype=object)[kept]),
            self.equal[equal],
            self.level[equal],
            tuple(np.array(self.equal_labels, dtype=object)[equal]),
        )

    def restricted(self, index: Index) -> tuple[Array, Array, Array, Array, Index]:
        """Dense rows for some of the masses, the others at zero; rows that then hold anyway are left out.

        Returns matrix, upper, equal, level, as in the attributes, and which inequality rows were kept.
        """
        matrix, equal = self.matrix[:, index].toarray(), self.equal[:, index].toarray()
        binding = (matrix > 0).any(axis=1) | (self.upper < 0)
        return matrix[binding], self.upper[binding], equal, self.level, np.flatnonzero(binding)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss at some masses, with gradient and Hessian on demand.

    Attributes
    ----------
    points : tuple of Point
        Information in each scenario.
    covariances : tuple of array, shape (p, p)
    at : CriterionPoint
        The criterion there.
    """

    points: tuple[Point, ...]
    covariances: tuple[Array, ...]
    at: CriterionPoint

    def smoothed(self, smoothing: float) -> Evaluation:
        """The same masses with corners of the criterion rounded off less, or more."""
        criterion = self.at.criterion
        if not criterion.cornered:
            return self
        return Evaluation(self.points, self.covariances, criterion.at(self.covariances, max(smoothing, SMOOTHING)))

    @property
    def loss(self) -> float:
        """−log Φ, smoothed."""
        return self.at.loss

    @cached_property
    def changes(self) -> list[Array]:
        """∂M/∂z for every mass in each scenario, shape (n, p, p)."""
        return [np.concatenate([point.unit_gradients(), point.atom_gradients()]) for point in self.points]

    @cached_property
    def gain(self) -> Array:
        """ψ = −∂loss/∂z, the sensitivity of every mass, not negative; Σ zψ = 1."""
        return self._gain_by(self.at.own)

    def gain_by(self, multipliers: Multipliers) -> Array:
        """Sensitivities by some multipliers of the criterion's corners."""
        return self.gain if multipliers is self.at.own else self._gain_by(multipliers)

    def _gain_by(self, multipliers: Multipliers) -> Array:
        pairs = zip(self.changes, self.at.directions(multipliers), strict=True)
        return np.asarray(sum(np.tensordot(changes, U @ U.T, 2) for changes, U in pairs))

    def hessian(self, multipliers: Multipliers) -> Array:
        """∂²loss/∂z∂zᵀ, shape (n, n); with the loss's own multipliers exactly, else as a primal–dual step takes it."""
        total = self.at.second(self.changes, multipliers)
        each = zip(self.points, self.covariances, self.changes, self.at.directions(multipliers), strict=True)
        for point, covariance, changes, U in each:
            half = (np.linalg.cholesky(covariance).T @ (changes @ U)).reshape(len(changes), -1)
            total = total + 2.0 * (half @ half.T) + 2.0 * point.curvature(U)
        return total

    def multiplier_step(self, multipliers: Multipliers, dz: Array) -> Multipliers:
        """Change of the multipliers as the masses change."""
        return self.at.step([np.tensordot(dz, changes, 1) for changes in self.changes], multipliers)


@dataclass(frozen=True, eq=False)
class Problem:
    """A design problem in numbers.

    Attributes
    ----------
    model : MixedModel
    nominals : tuple of NominalValues
        One for each scenario; the first one's nominal values are those of reports.
    space : DesignSpace
    choice : Choice
        What the space lets be chosen, in masses.
    order : str
    nodes : int
        Quadrature nodes per random effect.
    criterion : BoundCriterion
    basis : array, shape (p, r)
        B: the search goes on in combinations of the parameters whose information BᵀMB is regular, and near the
        identity; fewer than p where no admissible design identifies all parameters.
    constraints : LinearConstraints
    price : array, shape (n,)
        Price of one unit of each kind and of one observation at each atom.
    money : float
        Budget left after fixed costs.
    scale : array, shape (n,)
        What the budgets buy of each mass alone: the natural size of the variables.
    cost : Cost
    parameters : str
        ``"fixed"``, or ``"all"`` where the criterion names variance components.
    budgets : tuple of (name, Cost, amount)
        The budget and further limits, fixed costs included.
    run : Design or None
        What has been run.
    already : array, shape (S, r, r), or None
        Its information, in the basis.
    complete : bool
        Whether its candidates are all that may be used.
    """

    model: MixedModel
    nominals: tuple[NominalValues, ...]
    space: DesignSpace
    choice: Choice
    order: str
    nodes: int
    criterion: BoundCriterion
    basis: Array
    constraints: LinearConstraints
    price: Array
    money: float
    scale: Array
    cost: Cost
    budgets: tuple[tuple[str, Cost, float], ...]
    parameters: str = "fixed"
    run: Design | None = None
    already: Array | None = None
    complete: bool = True

    @property
    def nominal(self) -> NominalValues:
        """The nominal values of reports."""
        return self.nominals[0]

    @property
    def n_units(self) -> int:
        """Number of masses that count units."""
        return self.informations[0].n_units

    @cached_property
    def type_of_atom(self) -> Index:
        """Type of the units that each atom lies in, shape (A,)."""
        return self.choice.type_of_atom

    @cached_property
    def n_types(self) -> int:
        """Number of types of units that atoms lie in, T."""
        return int(self.type_of_atom.max()) + 1

    @cached_property
    def working(self) -> BoundCriterion:
        """The criterion in the basis."""
        return self.criterion.in_basis(self.basis)

    @cached_property
    def rows(self) -> tuple[EncodedRows, ...]:
        """The model at each scenario's nominal values on the candidate rows, in the basis."""
        each = (encode(self.model, nominal, self.space.region, self.nodes) for nominal in self.nominals)
        return tuple(replace(rows, X=rows.X @ self.basis) for rows in each)

    @cached_property
    def informations(self) -> tuple[Information, ...]:
        """Information as a function of the masses, in each scenario."""
        sources = tuple(
            self.choice.information(self.model, nominal, self.order, self.nodes, self.basis)
            for nominal in self.nominals
        )
        if self.already is None:
            return sources
        return tuple(Augmented(new, old) for new, old in zip(sources, self.already, strict=True))

    def over(self, candidates: Candidates) -> Problem:
        """The same problem over other candidates, not all that may be used; its quadrature and criterion stay."""
        return self.at(candidates)._identified()

    def at(self, candidates: Candidates) -> Problem:
        """The same in the basis at hand, whether these candidates identify all of it or not."""
        space = replace(self.space, candidates=candidates)
        choice = choice_of(space, _cells(self.model, self.budgets), self.parameters)
        constraints, price, money, scale = _in_money(space, choice, self.budgets, self.already is not None)
        return replace(
            self,
            space=space,
            choice=choice,
            constraints=constraints,
            price=price,
            money=money,
            scale=scale,
            complete=False,
        )

    def _identified(self) -> Problem:
        """The same problem in a basis of what its candidates identify; `NotEstimableError` where that is too little."""
        informations = self.even
        self.working.require_estimable(informations, "design over these points")
        basis = identified(informations.sum(axis=0))
        if basis.shape[0] == basis.shape[1]:
            return self
        already = None if self.already is None else basis.T @ self.already @ basis
        return replace(self, basis=self.basis @ basis, already=already)

    def informations_of(self, design: Design) -> Array:
        """Information of a design in each scenario, with what has been run, in the basis, shape (S, r, r)."""
        found = information_at(self.model, self.nominals, design, self.order, self.nodes, self.basis, self.parameters)
        return found if self.already is None else found + self.already

    @cached_property
    def even(self) -> Array:
        """Information of one unit of each kind and one observation at each atom, in each scenario, shape (S, p, p)."""
        return _even(self.informations)

    def loss(self, design: Design) -> float:
        """−log Φ of a design."""
        return self.working.loss(self.informations_of(design))

    @property
    def chosen(self) -> Index:
        """Positions in z of the masses that may be chosen: all but what has been run."""
        return np.concatenate([np.arange(self.choice.n_units), np.arange(self.n_units, len(self.price))])

    def stretched(self, z: Array) -> Array:
        """Admissible masses, the chosen ones multiplied as far as the constraints allow."""
        own, c = np.zeros(len(z)), self.constraints
        own[self.chosen] = z[self.chosen]
        used, room = c.matrix @ own, c.upper - c.matrix @ (z - own)
        fixed = np.abs(c.equal @ own) > EMPTY * (abs(c.equal) @ own)
        limiting = (used > 0) & (room > 0)  # a bound on ratios of masses holds for every multiple
        times = 1.0 if fixed.any() else float((room[limiting] / used[limiting]).min(initial=np.inf))
        return z + max(times - 1.0, 0.0) * own if np.isfinite(times) else z

    def masses(self, atoms: Index) -> Index:
        """Positions in z of all unit counts and of some atoms."""
        return np.concatenate([np.arange(self.n_units), self.n_units + atoms])

    def evaluate(self, subsets: Sequence[Subset], z: Array, smoothing: float = 0.0) -> Evaluation:
        """The loss at masses of a subset in each scenario; `LinAlgError` where the information is singular."""
        points = tuple(subset.at(z[: self.n_units], z[self.n_units :]) for subset in subsets)
        covariances = tuple(_inverse(point.information) for point in points)
        return Evaluation(points, covariances, self.working.at(covariances, max(smoothing, SMOOTHING)))

    def most(self, gain: Array) -> tuple[float, Array]:
        """Linear program: the most of ``gain @ z`` that the constraints allow.

        Returns
        -------
        value : float
        prices : array, shape (n,)
            What the constraints' multipliers charge for each mass; nowhere below `gain`.
        """
        answer = self._linear_program(-gain * self.scale)
        if answer.status != 0:
            raise ConvergenceError(f"the linear program for the certificate failed: {answer.message}")
        c = self.constraints
        prices = -(c.matrix.T @ answer.ineqlin.marginals + c.equal.T @ answer.eqlin.marginals)
        return -float(answer.fun), np.maximum(prices, gain)

    def priced(self, gain: Array, multipliers: Array, levels: Array) -> tuple[float, Array] | None:
        """The same by multipliers at hand, that of the budget raised until no mass is worth more than its price.

        None where a mass without a price would be worth more, or the bound misses the optimum by far.
        """
        c = self.constraints
        prices = c.matrix.T @ multipliers + c.equal.T @ levels
        short = gain - prices > 1e-15 * np.abs(prices)
        if (self.price[short] <= 0).any():
            return None
        raised = float(((gain - prices)[short] / self.price[short]).max(initial=0.0))
        value = float(c.upper @ multipliers + c.level @ levels) + raised * self.money
        return (value, np.maximum(prices + raised * self.price, gain)) if value <= 1.0 + PRICED else None

    @cached_property
    def _alike(self) -> Index:
        """Number of each mass's column in the constraints: masses with equal numbers are interchangeable there."""
        c = self.constraints
        if c.matrix.shape[0] + c.equal.shape[0] > FEW_ROWS:
            return np.arange(len(self.price))
        return kinds(list(sp.vstack([c.matrix, c.equal]).toarray()), len(self.price))[0]

    def _linear_program(self, objective: Array) -> Any:
        """Minimise ``objective @ y`` over admissible masses z = scale * y, one of each kind that is alike."""
        order = np.argsort(objective / self.scale, kind="stable")
        _, first = np.unique(self._alike[order], return_index=True)
        kept = order[first]
        c = self.constraints
        columns = sp.diags_array(self.scale[kept])
        return linprog(
            objective[kept],
            A_ub=c.matrix[:, kept] @ columns if c.matrix.shape[0] else None,
            b_ub=c.upper if c.matrix.shape[0] else None,
            A_eq=c.equal[:, kept] @ columns if c.equal.shape[0] else None,
            b_eq=c.level if c.equal.shape[0] else None,
            method="highs",
        )

    def cheapest(self) -> float:
        """Price of the cheapest masses that keep every constraint but the budget; ``nan`` where none do."""
        c = self.constraints
        keep = np.array([label != BUDGET for label in c.labels])
        answer = replace(self, constraints=c.with_rows(keep))._linear_program(self.price * self.scale)
        return float(answer.fun) if answer.status == 0 else float("nan")

    def require_affordable(self) -> None:
        """The bounds must leave room for a design, within the budget, and the budget must limit it.

        Raises
        ------
        InfeasibleBudgetError
            With the price of the cheapest design that keeps the bounds.
        SpecificationError
            Where the bounds contradict each other, with the fewest that do, or something useful costs nothing.
        """
        price = self.cheapest()
        largest = self._linear_program(-np.ones(len(self.price)))
        bounds = {*self.constraints.labels, *self.constraints.equal_labels} - {BUDGET}
        if np.isnan(price) or not _possible(self, list(bounds)):
            raise SpecificationError(conflict(self))
        if price > self.money * (1 + 1e-12):
            raise InfeasibleBudgetError(
                f"after fixed costs {self.money:,.2f} is left, and the cheapest design within the bounds costs "
                f"{price:,.2f}. Raise the budget by at least {price - self.money:,.2f}, or lower the bounds on counts "
                "or replicates.",
                price,
            )
        if largest.status == 3:
            raise SpecificationError(
                "the budget does not limit the design: something useful costs nothing. Give every unit or observation "
                "a price, or bound replicates and counts from above."
            )


def _inverse(information: Array) -> Array:
    """Inverse of a regular information matrix, through its Cholesky factor at unit diagonal."""
    diagonal = np.diag(information)
    if not (diagonal > 0).all():
        raise np.linalg.LinAlgError("a coefficient has no information")
    scale = 1.0 / np.sqrt(diagonal)
    half = np.linalg.solve(np.linalg.cholesky(information * np.outer(scale, scale)), np.diag(scale))
    return np.asarray(half.T @ half)


def conflict(problem: Problem) -> str:
    """Which bounds contradict each other: the fewest that do, found by leaving out one after another."""
    c = problem.constraints
    names = list(dict.fromkeys([*c.labels, *c.equal_labels]))
    needed = list(names)
    for name in names:
        rest = [other for other in needed if other != name]
        if not _possible(problem, rest):
            needed = rest
    words = "; ".join(name for name in needed if name != STUDY)
    return f"no design keeps all the bounds at once. These contradict each other: {words}. Widen one of them."


def _possible(problem: Problem, names: Sequence[str]) -> bool:
    """Whether some design that is not empty keeps the named constraints: in its own units, whatever the money."""
    c = problem.constraints
    kept = c.with_rows(np.isin(c.labels, names), np.isin(c.equal_labels, names))
    wanted = np.full(len(problem.price), -1.0)
    if problem.space.layout is not None and problem.choice.n_units:
        wanted[problem.choice.n_units :] = 0.0
    elif problem.space.layout is None:
        wanted[: problem.n_units] = 0.0
    answer = replace(problem, constraints=kept, scale=np.ones(len(wanted)))._linear_program(wanted)
    return bool(answer.status == 3 or (answer.status == 0 and -answer.fun >= EMPTY))


def check_question(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
) -> None:
    """Kinds of the parts of a question, before anything is made of them."""
    check_kind("model", model, MixedModel)
    check_kind("nominal", nominal, NominalValues)
    check_kind("space", space, DesignSpace)
    check_criterion(criterion)
    check_kind("cost", cost, Cost, instead="a Cost, such as Cost(units={'clinic': 50}, observation=1)")
    wanted = "a table of name to (Cost, amount), such as {'hours': (Cost(observation=0.5), 300)}"
    check_kind("limits", limits, Mapping, type(None), instead=wanted)
    for name, limit in (limits or {}).items():
        pair = limit if isinstance(limit, tuple | list) and len(limit) == 2 else (None, None)
        if not (isinstance(pair[0], Cost) and is_number(pair[1]) and pair[1] > 0):
            raise SpecificationError(
                f"limits['{name}'] must be a pair of a Cost and an amount, a positive finite number; got {limit!r:.80}."
            )


def make_problem(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str,
    limits: Mapping[str, tuple[Cost, float]] | None = None,
    already: Design | None = None,
) -> Problem:
    """The design problem in numbers, with as many quadrature nodes as its information needs."""
    further = [(f"at most {limit[1]:,g} of {name} (limits)", *limit) for name, limit in (limits or {}).items()]
    budgets = ((BUDGET, cost, budget), *further)
    nominals = tuple(each.referring_to(space.reference) for each in criterion.scenarios or (nominal,))
    bound = bound_criterion(model, nominals, criterion)
    parameters = parameters_of_criterion(model, nominals[0], bound)
    _check_components(space, parameters)
    choice = choice_of(space, _cells(model, budgets), parameters)
    in_money = _in_money(space, choice, budgets, already is not None)
    whole = np.eye(len(bound.names))
    nodes, informations = _settled_nodes(model, nominals, choice, order, whole)
    if already is not None:
        informations = informations + information_at(model, nominals, already, order, nodes, whole, parameters)
    basis = identified(informations.sum(axis=0))
    if basis.shape[1] < len(whole):  # a sample of the candidates may miss what only a few of them identify
        informations = informations + _even(choice.information(model, each, order, nodes, whole) for each in nominals)
        basis = identified(informations.sum(axis=0))
    bound.require_estimable(informations, "admissible design", partial(_why_not, model, nominals[0], space))
    if one_factor(model, space.layout) and parameters == "fixed" and basis.shape[1] == len(whole):
        basis = _basis(encode(model, nominals[0], space.region.thinned(SAMPLE), 1))
    run = None if already is None else information_at(model, nominals, already, order, nodes, basis, parameters)
    return Problem(
        model, nominals, space, choice, order, nodes, bound, basis, *in_money, cost, budgets, parameters, already, run
    )


def _why_not(model: MixedModel, nominal: NominalValues, space: DesignSpace, missing: Sequence[str]) -> str:
    """Why no candidates identify some parameters: the schedules, the floating point, or the points themselves."""
    encoding, X = fixed_columns(model, nominal, space.region.frame)
    if not set(missing) <= set(encoding.fixed_names):
        longest = space.candidates.points.groupby(space.candidates.by).size().max()
        most = float(longest * space.times_each_row)
        return (
            f"units of at most {most:g} observation{'s' * (most > 1)}, all that the schedules have, cannot tell the "
            "variance components apart. Offer schedules with more observations in a unit."
        )
    if (spread := _spread(X)) and spread**2 < SINGULAR:
        return (
            "columns of the model vary, but are so nearly combinations of each other that they cannot be told apart in "
            f"floating point. {centring(model, space)}, or leave out terms that nearly repeat each other."
        )
    return NO_VARIATION


def _spread(X: Array) -> float:
    """Smallest singular value of the columns, at unit lengths, relative to the largest; 0 where it is rounding."""
    lengths = np.linalg.norm(X, axis=0)
    values = np.linalg.svd(X / np.where(lengths > 0, lengths, 1.0), compute_uv=False)
    rounding = np.finfo(float).eps * max(X.shape)
    return float(values[-1] / values[0]) if len(X) >= X.shape[1] and values[-1] > rounding * values[0] else 0.0


def centring(model: MixedModel, space: DesignSpace) -> str:
    """Advice to centre the covariates whose values are far from zero for how much they vary, where there are any."""
    numeric = space.region.frame[sorted(model.covariates)].select_dtypes("number")
    ends = {name: (column.min(), column.max()) for name, column in numeric.items()}
    far = [f"'{name}' (from {a:g} to {b:g})" for name, (a, b) in ends.items() if min(abs(a), abs(b)) > b - a > 0]
    return f"Centre and rescale {' and '.join(far) or 'the covariates'}"


def largest_weight(model: MixedModel, nominal: NominalValues, space: DesignSpace) -> float:
    """The largest Fisher weight of an observation at the candidates, random effects left out."""
    frame = space.region.frame
    encoding, X = fixed_columns(model, nominal, frame)
    return float(model.weight(X @ nominal.beta_vector(encoding), frame).max() / nominal.dispersion)


def _in_money(
    space: DesignSpace, choice: Choice, budgets: Sequence[tuple[str, Cost, float]], run: bool
) -> tuple[LinearConstraints, Array, float, Array]:
    """The constraints, the price of every mass, the money left after fixed costs, and the scale of every mass."""
    rows = []
    for name, cost, amount in budgets:
        money, price = _priced(space, choice, cost, amount)
        rows.append((name, price, money))
    _, price, money = rows[0]
    return _constraints(choice, rows, run), _beside_run(choice, price, run), money, _scale(choice, rows, run)


def parameters_of_criterion(model: MixedModel, nominal: NominalValues, bound: BoundCriterion) -> str:
    """``"all"`` where the criterion is of variance components or the dispersion, else ``"fixed"``."""
    return "fixed" if bound.names == parameters_of(model, nominal, "fixed")[0] else "all"


def _priced(space: DesignSpace, choice: Choice, cost: Cost, budget: float) -> tuple[float, Array]:
    """Money left after fixed costs, and the price of every mass."""
    if not (is_number(budget) and budget > 0):
        raise SpecificationError(f"budget must be a positive finite number; got {budget!r}.")
    _check_cost(cost, space)
    money = float(budget) - cost.fixed
    if money <= 0:
        raise InfeasibleBudgetError(
            f"the fixed cost {cost.fixed:,.2f} takes the whole budget {budget:,.2f}: raise the budget.", cost.fixed
        )
    price = choice.prices(cost)
    if not price.any():
        raise SpecificationError(
            "nothing has a price, so the budget limits nothing: give units or observations a price in the cost."
        )
    return money, price


def _basis(rows: EncodedRows) -> Array:
    """Combinations of the coefficients whose columns are orthonormal over a sample of the candidates.

    With random effects the coefficients stay as they are: combining them would mix rows of very different weights.
    """
    size = rows.X.shape[1]
    if rows.sigma.any() or len(rows.X) < size:
        return np.eye(size)
    upper = np.linalg.qr(rows.X, mode="r")
    regular = np.abs(np.diag(upper)) > np.sqrt(SINGULAR) * np.linalg.norm(upper, axis=0)
    return np.asarray(np.linalg.inv(upper)) if regular.all() else np.eye(size)


def bound_criterion(model: MixedModel, nominals: Sequence[NominalValues], criterion: Criterion) -> BoundCriterion:
    """The criterion for a model at the nominal values of each scenario, all with reference data.

    Of the fixed effects, and of the variance components and the dispersion only where it refers to one of them.
    """
    try:
        return criterion.bind([_parameters(model, nominal, "fixed") for nominal in nominals])
    except UnknownParameterError:
        return criterion.bind([_parameters(model, nominal, "all") for nominal in nominals])


def _parameters(model: MixedModel, nominal: NominalValues, needed: str) -> Parameters:
    names, aliases, estimate = parameters_of(model, nominal, needed)
    return Parameters(names, aliases, estimate, partial(_columns, model, nominal, len(names)))


def _columns(model: MixedModel, nominal: NominalValues, size: int, frame: pd.DataFrame) -> Array:
    columns = fixed_columns(model, nominal, frame)[1]
    return np.pad(columns, ((0, 0), (0, size - columns.shape[1])))


def information_at(
    model: MixedModel,
    nominals: Sequence[NominalValues],
    design: Design,
    order: str,
    nodes: int,
    basis: Array,
    parameters: str = "fixed",
) -> Array:
    """Information of a design in each scenario, as BᵀMB, shape (S, p, p)."""
    found = []
    for nominal in nominals:
        if parameters == "all" or not one_factor(model, design.layout):
            found.append(basis.T @ design_information(model, nominal, design, order, parameters, nodes) @ basis)
            continue
        rows = encode(model, nominal, design.region, nodes)
        rows = replace(rows, X=rows.X @ basis)
        found.append(information_of(rows, order).whole.at(*design.masses).information)
    return np.array(found)


def _beside_run(choice: Choice, values: Array, run: bool, own: float = 0.0) -> Array:
    """A value for every mass, with one for what has been run after the counts of units."""
    return np.insert(values, choice.n_units, own) if run else values


def _scale(choice: Choice, budgets: Sequence[tuple[str, Array, float]], run: bool) -> Array:
    """What the budgets buy of each mass alone."""
    reach = np.full(len(budgets[0][1]), np.inf)
    for _, price, money in budgets:
        dear = max(float(price.max()), np.finfo(float).tiny)
        reach = np.minimum(reach, money / np.where(price > 0, price, dear))
    return _beside_run(choice, reach, run, 1.0)


def _settled_nodes(
    model: MixedModel, nominals: Sequence[NominalValues], choice: Choice, order: str, basis: Array
) -> tuple[int, Array]:
    """Fewest nodes at which the information of an even spread over the candidates has settled, and the information."""
    sample, last = choice.sample(), np.zeros((0, 0, 0))
    effects = 0 if model.is_gaussian else max(random_effects(model, nominal) for nominal in nominals)
    for nodes in ladder(effects):
        information = _even(sample.information(model, nominal, order, nodes, basis) for nominal in nominals)
        diagonal = np.diagonal(information, axis1=1, axis2=2)
        size = np.sqrt(diagonal[:, :, None] * diagonal[:, None, :])
        if last.size and (np.abs(information - last) <= QUADRATURE_TOLERANCE * size).all():
            break
        last = information
    return nodes, information


def _even(sources: Iterable[Information]) -> Array:
    """Information of one unit of each kind and one observation at each atom, in each scenario, shape (S, p, p)."""
    return np.array([each.whole.at(np.ones(each.n_units), np.ones(each.n_atoms)).information for each in sources])


def _cells(model: MixedModel, budgets: Sequence[tuple[str, Cost, float]]) -> tuple[str, ...]:
    """Parts of units that the model or a price names."""
    factors = dict.fromkeys([*model.factors, *(factor for _, cost, _ in budgets for factor in cost.units)])
    return tuple(factor for factor in factors if ":" in factor)


def _check_components(space: DesignSpace, parameters: str) -> None:
    if parameters == "all" and space.candidates.by is None:
        raise SpecificationError(
            "criteria of variance components need each unit's own law of observations, which is known on fixed "
            "schedules: use Candidates.profiles, or enumerated_profiles(space) for all schedules of a small space."
        )


def _check_cost(cost: Cost, space: DesignSpace) -> None:
    factors = space.layout.factors if space.layout else ()
    for factor in cost.units:
        part = bool(factors) and factor.split(":")[0] == factors[-1]
        if factor not in factors and not part:
            raise SpecificationError(f"cost: units names '{factor}', which is not a factor of the layout {factors}.")
        if factor not in factors and space.candidates.by is None:
            raise SpecificationError(
                f"cost: units['{factor}'] prices parts of units, of which only fixed schedules say how many there are: "
                "use Candidates.profiles, or put the price on observations."
            )
    if cost.cell and len(factors) < 2:
        raise SpecificationError("cost: cell prices belong to layouts of two factors; set cell=0 here.")


def _constraints(choice: Choice, budgets: Sequence[tuple[str, Array, float]], run: bool) -> LinearConstraints:
    """All rows, as label, coefficients, lowest and highest; equal bounds become equalities."""
    rows: list[Row] = [(name, sp.csr_array(price[None, :]), -np.inf, money) for name, price, money in budgets]
    rows += choice.rows()
    if run:
        units, size = choice.n_units, rows[0][1].shape[1]
        rows = [(name, _widened(units, row), low, high) for name, row, low, high in rows]
        rows.append(("what has been run", sp.csr_array(np.eye(1, 1 + size, units)), 1.0, 1.0))
    upper = [(name, row, high) for name, row, low, high in rows if np.isfinite(high) and low != high]
    upper += [(name, -row, -low) for name, row, low, high in rows if np.isfinite(low) and low != high]
    exact = [(name, row, low) for name, row, low, high in rows if low == high]
    width = rows[0][1].shape[1]
    return LinearConstraints(*_stack(upper, width), *_stack(exact, width))


def _widened(units: int, row: sp.csr_array) -> sp.csr_array:
    """Rows with an empty column for what has been run, after the counts of units."""
    return sp.csr_array(sp.hstack([row[:, :units], sp.csr_array((row.shape[0], 1)), row[:, units:]]))


def _stack(rows: list[tuple[str, sp.csr_array, float]], width: int) -> tuple[sp.csr_array, Array, tuple[str, ...]]:
    matrix = sp.csr_array(sp.vstack([row for _, row, _ in rows])) if rows else sp.csr_array((0, width))
    bounds = np.concatenate([np.full(row.shape[0], bound) for _, row, bound in rows]) if rows else np.zeros(0)
    return matrix, bounds, tuple(name for name, row, _ in rows for _ in range(row.shape[0]))
