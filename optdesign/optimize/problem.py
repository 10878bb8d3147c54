"""The one problem that every algorithm solves: a convex loss of the information under linear constraints on masses.

The masses z are the unit counts m of the T types followed by the total observations μ of the A atoms. The loss
−log Φ(M(z)) is convex, since Φ is concave and M is Loewner-concave in z; everything that may be chosen is a set of
linear constraints on z.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.optimize import linprog

from optdesign.costs import Cost
from optdesign.covariance.encoded import EncodedRows, encode, random_dimension
from optdesign.covariance.nested import AtomSubset, InformationPoint, NestedInformation, information_of
from optdesign.criteria import BoundCriterion, Criterion
from optdesign.designs import Design, DesignSpace
from optdesign.errors import ConvergenceError, InfeasibleBudgetError, SpecificationError, is_number
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

#: Relative change of the information at which the quadrature over random effects counts as settled.
QUADRATURE_TOLERANCE = 1e-7
#: Most atoms of each type that are looked at to settle the quadrature.
SAMPLE = 50


@dataclass(frozen=True, eq=False)
class LinearConstraints:
    """``matrix @ z <= upper`` and ``equal @ z == level``, with z ≥ 0 understood; one label per row."""

    matrix: sp.csr_array
    upper: Array
    labels: tuple[str, ...]
    equal: sp.csr_array
    level: Array
    equal_labels: tuple[str, ...]

    def restricted(self, index: Index) -> tuple[Array, Array, Array, Array, Index]:
        """Dense rows for some of the masses, the others at zero; rows that then hold anyway are left out.

        Returns matrix, upper, equal, level, as in the attributes, and which inequality rows were kept.
        """
        matrix, equal = self.matrix[:, index].toarray(), self.equal[:, index].toarray()
        binding = (matrix > 0).any(axis=1)
        return matrix[binding], self.upper[binding], equal, self.level, np.flatnonzero(binding)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss at some masses, with gradient and Hessian on demand."""

    point: InformationPoint
    criterion: BoundCriterion
    covariance: Array

    @cached_property
    def loss(self) -> float:
        """−log Φ."""
        return self.criterion.loss_of(self.criterion.value_at(self.covariance))

    @cached_property
    def direction(self) -> Array:
        """U with ∂loss/∂M = −UUᵀ."""
        return self.criterion.root(self.covariance)

    @cached_property
    def changes(self) -> Array:
        """∂M/∂z for every mass, shape (n, p, p)."""
        return np.concatenate([self.point.unit_gradients(), self.point.atom_gradients()])

    @cached_property
    def gain(self) -> Array:
        """ψ = −∂loss/∂z, the sensitivity of every mass, not negative; Σ zψ = 1."""
        U = self.direction
        return np.asarray(np.einsum("ik,nij,jk->n", U, self.changes, U, optimize=True))

    @cached_property
    def hessian(self) -> Array:
        """∂²loss/∂z∂zᵀ, shape (n, n), positive semi-definite."""
        U, n = self.direction, len(self.changes)
        pulled = self.changes @ U
        half = (np.linalg.cholesky(self.covariance).T @ pulled).reshape(n, -1)
        second = 2.0 * (half @ half.T) + 2.0 * self.point.curvature(U)
        return np.asarray(second - self.criterion.correction(U.T @ pulled))


@dataclass(frozen=True, eq=False)
class Problem:
    """A design problem in numbers.

    Attributes
    ----------
    model, nominal : MixedModel, NominalValues
    space : DesignSpace
    order : str
    nodes : int
        Quadrature nodes per random effect.
    criterion : BoundCriterion
    constraints : LinearConstraints
    price : array, shape (T + A,)
        Price of one unit of each type and one observation at each atom.
    money : float
        Budget left after fixed costs.
    cost : Cost
    """

    model: MixedModel
    nominal: NominalValues
    space: DesignSpace
    order: str
    nodes: int
    criterion: BoundCriterion
    constraints: LinearConstraints
    price: Array
    money: float
    cost: Cost

    @property
    def n_types(self) -> int:
        """Number of unit types, T."""
        return self.space.region.n_types

    @cached_property
    def rows(self) -> EncodedRows:
        """The model at its nominal values on the candidate rows."""
        return encode(self.model, self.nominal, self.space.region, self.nodes)

    def of_groups(self, design: Design) -> Array:
        """Information of each group of a design on its own, shape (groups, p, p)."""
        rows = encode(self.model, self.nominal, design.region, self.nodes)
        return information_of(rows, self.order).whole.at(*design.masses).by_type

    def loss(self, design: Design) -> float:
        """−log Φ of a design."""
        return self.criterion.loss(self.of_groups(design).sum(axis=0))

    @cached_property
    def information(self) -> NestedInformation:
        """Information as a function of the masses."""
        return information_of(self.rows, self.order)

    @cached_property
    def scale(self) -> Array:
        """What the budget buys of each mass alone: the natural size of the variables."""
        dear = max(float(self.price.max()), np.finfo(float).tiny)
        return self.money / np.where(self.price > 0, self.price, dear)

    def masses(self, atoms: Index) -> Index:
        """Positions in z of all unit counts and of some atoms."""
        return np.concatenate([np.arange(self.n_types), self.n_types + atoms])

    def evaluate(self, subset: AtomSubset, z: Array) -> Evaluation:
        """The loss at masses of a subset; `LinAlgError` where the information is singular."""
        point = subset.at(z[: self.n_types], z[self.n_types :])
        scale = 1.0 / np.sqrt(np.diag(point.information))
        root = np.linalg.cholesky(point.information * np.outer(scale, scale))
        half = np.linalg.solve(root, np.diag(scale))
        return Evaluation(point, self.criterion, half.T @ half)

    def most(self, gain: Array) -> tuple[float, Array, Array]:
        """Linear program: the most of ``gain @ z`` that the constraints allow.

        Returns
        -------
        value : float
        z : array, shape (T + A,)
        prices : array, shape (T + A,)
            What the constraints' multipliers charge for each mass; nowhere below `gain`.
        """
        answer = self._linear_program(-gain * self.scale)
        if answer.status != 0:
            raise ConvergenceError(f"the linear program for the certificate failed: {answer.message}")
        return -float(answer.fun), answer.x * self.scale, gain + answer.lower.marginals / self.scale

    def _linear_program(self, objective: Array) -> Any:
        """Minimise ``objective @ y`` over admissible masses z = scale * y."""
        c = self.constraints
        columns = sp.diags_array(self.scale)
        return linprog(
            objective,
            A_ub=c.matrix @ columns if c.matrix.shape[0] else None,
            b_ub=c.upper if c.matrix.shape[0] else None,
            A_eq=c.equal @ columns if c.equal.shape[0] else None,
            b_eq=c.level if c.equal.shape[0] else None,
            method="highs",
        )

    def interior(self, index: Index) -> Array | None:
        """Masses well inside the constraints, others than `index` at zero; None where there is no interior."""
        matrix, upper, equal, level, _ = self.constraints.restricted(index)
        scale = self.scale[index]
        slack = np.maximum(np.abs(matrix * scale).max(axis=1, initial=0.0), np.abs(upper))
        A_ub = np.block([[matrix * scale, slack[:, None]], [-np.eye(len(index)), np.ones((len(index), 1))]])
        answer = linprog(
            np.append(np.zeros(len(index)), -1.0),
            A_ub=A_ub,
            b_ub=np.append(upper, np.zeros(len(index))),
            A_eq=np.hstack([equal * scale, np.zeros((len(equal), 1))]) if len(equal) else None,
            b_eq=level if len(equal) else None,
            bounds=[(0, None)] * len(index) + [(None, 1.0)],
            method="highs",
        )
        return None if answer.status != 0 or answer.x[-1] <= 1e-13 else answer.x[:-1] * scale

    def cheapest(self) -> float:
        """Price of the cheapest masses that keep every constraint but the budget; ``nan`` where none do."""
        c = self.constraints
        keep = np.array([label != "budget" for label in c.labels])
        answer = linprog(
            self.price,
            A_ub=c.matrix[keep] if keep.any() else None,
            b_ub=c.upper[keep] if keep.any() else None,
            A_eq=c.equal if c.equal.shape[0] else None,
            b_eq=c.level if c.equal.shape[0] else None,
            method="highs",
        )
        return float(answer.fun) if answer.status == 0 else float("nan")

    def require_affordable(self) -> None:
        """The bounds must leave room for a design, within the budget, and the budget must limit it.

        Raises
        ------
        InfeasibleBudgetError
            With the price of the cheapest design that keeps the bounds.
        SpecificationError
            Where the bounds contradict each other, or something useful costs nothing.
        """
        price = self.cheapest()
        largest = self._linear_program(-np.ones(len(self.price)))
        if np.isnan(price) or (largest.status == 0 and -largest.fun < 1e-9):
            raise SpecificationError(
                "no design keeps all the bounds at once: counts, replicates, at_most and constraints contradict each "
                "other. Widen one of them."
            )
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


def make_problem(
    model: MixedModel,
    nominal: NominalValues,
    space: DesignSpace,
    criterion: Criterion,
    cost: Cost,
    budget: float,
    order: str,
) -> Problem:
    """The design problem in numbers, with as many quadrature nodes as its information needs."""
    if not (is_number(budget) and budget > 0):
        raise SpecificationError(f"budget must be a positive finite number; got {budget!r}.")
    _check_cost(cost, space)
    money = float(budget) - cost.fixed
    if money <= 0:
        raise InfeasibleBudgetError(
            f"the fixed cost {cost.fixed:,.2f} takes the whole budget {budget:,.2f}: raise the budget.", cost.fixed
        )
    price = prices(space, cost)
    if not price.any():
        raise SpecificationError(
            "nothing has a price, so the budget limits nothing: give units or observations a price in the cost."
        )
    nominal = nominal.referring_to(space.region.frame)
    nodes, rows, information = _settled_nodes(model, nominal, space, order)
    bound = criterion.bind(rows.names, rows.aliases)
    bound.require_estimable(information, "admissible design")
    return Problem(model, nominal, space, order, nodes, bound, _constraints(space, price, money), price, money, cost)


def _settled_nodes(
    model: MixedModel, nominal: NominalValues, space: DesignSpace, order: str
) -> tuple[int, EncodedRows, Array]:
    """Fewest nodes at which the information of an even spread over the candidates has settled, rows, information."""
    sample = space.region.thinned(SAMPLE)
    masses = np.ones(sample.n_types), np.ones(sample.n_atoms)
    last = np.zeros((0, 0))
    for nodes in ladder(random_dimension(model, nominal)):
        rows = encode(model, nominal, sample, nodes)
        information = information_of(rows, order).whole.at(*masses).information
        size = np.sqrt(np.outer(np.diag(information), np.diag(information)))
        if last.size and (np.abs(information - last) <= QUADRATURE_TOLERANCE * size).all():
            break
        last = information
    return nodes, rows, information


def _check_cost(cost: Cost, space: DesignSpace) -> None:
    factors = space.layout.factors if space.layout else ()
    for factor in cost.units:
        if factor not in factors:
            raise SpecificationError(f"cost: units names '{factor}', which is not a factor of the layout {factors}.")
    if cost.cell:
        raise SpecificationError("cost: cell prices belong to crossed layouts; set cell=0 here.")


def prices(space: DesignSpace, cost: Cost) -> Array:
    """Price of a unit of each type and of an observation at each atom, shape (T + A,)."""
    region = space.region
    per_unit = np.zeros(region.n_types)
    for factor in space.layout.factors if space.layout else ():
        per_unit += region.type_mean(cost.of_units(factor, region.frame), f"cost: units['{factor}']")
    return np.concatenate([per_unit, region.atom_mean(cost.of_observations(region.frame))])


Row = tuple[str, sp.csr_array, float, float]


def _constraints(space: DesignSpace, price: Array, money: float) -> LinearConstraints:
    """All rows, as label, coefficients, lowest and highest; equal bounds become equalities."""
    rows: list[Row] = [("budget", sp.csr_array(price[None, :]), -np.inf, money)]
    rows += [*_count_rows(space), *_replicate_rows(space), *_at_most_rows(space), *_share_rows(space)]
    upper = [
        (f"{name}, highest" * (name != "budget") or name, row, high)
        for name, row, low, high in rows
        if np.isfinite(high) and low != high
    ]
    upper += [(f"{name}, lowest", -row, -low) for name, row, low, high in rows if np.isfinite(low) and low != high]
    exact = [(name, row, low) for name, row, low, high in rows if low == high]
    return LinearConstraints(*_stack(upper, len(price)), *_stack(exact, len(price)))


def _stack(rows: list[tuple[str, sp.csr_array, float]], width: int) -> tuple[sp.csr_array, Array, tuple[str, ...]]:
    matrix = sp.csr_array(sp.vstack([row for _, row, _ in rows])) if rows else sp.csr_array((0, width))
    bounds = np.concatenate([np.full(row.shape[0], bound) for _, row, bound in rows]) if rows else np.zeros(0)
    return matrix, bounds, tuple(name for name, row, _ in rows for _ in range(row.shape[0]))


def _size(space: DesignSpace) -> tuple[int, int]:
    return space.region.n_types, space.region.n_atoms


def _count_rows(space: DesignSpace) -> Iterator[Row]:
    types, atoms = _size(space)
    everyone = sp.csr_array(np.concatenate([np.ones(types), np.zeros(atoms)])[None, :])
    if space.layout is None:
        yield "study", everyone, 1.0, 1.0
        return
    factor = space.layout.factors[0]
    yield f"number of units of '{factor}'", everyone, *_positive(space.count_bounds(factor))


def _positive(bounds: tuple[float, float]) -> tuple[float, float]:
    """A lowest count of zero is no constraint beyond z ≥ 0."""
    return (bounds[0] or -np.inf, bounds[1])


def _replicate_rows(space: DesignSpace) -> Iterator[Row]:
    """Σμ − n m within each type: not below zero at the lowest n, not above it at the highest."""
    types, _ = _size(space)
    place = (space.region.type_of_atom, np.arange(space.region.n_atoms))
    within = sp.csr_array((np.ones(space.region.n_atoms), place), shape=(types, space.region.n_atoms))
    low, high = space.replicate_bounds
    if low == high:
        yield "replicates", sp.csr_array(sp.hstack([-low * sp.eye_array(types), within])), 0.0, 0.0
        return
    if low > 0:
        yield "replicates, fewest", sp.csr_array(sp.hstack([-low * sp.eye_array(types), within])), 0.0, np.inf
    if np.isfinite(high):
        yield "replicates, most", sp.csr_array(sp.hstack([-high * sp.eye_array(types), within])), -np.inf, 0.0


def _at_most_rows(space: DesignSpace) -> Iterator[Row]:
    if space.at_most is None:
        return
    atoms = space.region.n_atoms
    types = sp.csr_array(
        (np.full(atoms, -float(space.at_most)), (np.arange(atoms), space.region.type_of_atom)),
        shape=(atoms, space.region.n_types),
    )
    yield "uses of a point within a unit", sp.csr_array(sp.hstack([types, sp.eye_array(atoms)])), -np.inf, 0.0


def _share_rows(space: DesignSpace) -> Iterator[Row]:
    types, atoms = _size(space)
    for share in space.constraints:
        among = share.holds(space.region.frame)
        try:
            of_type = space.region.type_mean(among, share.condition) if space.layout else None
        except SpecificationError:
            of_type = None
        holds = np.zeros(types + atoms)
        every = np.zeros(types + atoms)
        if of_type is not None:
            holds[:types], every[:types] = of_type, 1.0
        else:
            holds[types:], every[types:] = space.region.atom_mean(among), 1.0
        name = f"share of '{share.condition}'"
        if share.at_least > 0 or share.at_least == share.at_most:
            row = sp.csr_array((holds - share.at_least * every)[None, :])
            yield name, row, 0.0, 0.0 if share.at_least == share.at_most else np.inf
        if share.at_most < 1 and share.at_least < share.at_most:
            yield name, sp.csr_array((holds - share.at_most * every)[None, :]), -np.inf, 0.0
