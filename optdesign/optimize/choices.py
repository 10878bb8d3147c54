"""What a space lets be chosen, in masses: prices, constraints, information, and the design that masses make.

In a nested layout the masses are the counts of every factor's kinds of unit, outermost first, and the observations at
each candidate; without a layout, observations alone, of one study. With fixed schedules they are the numbers of units
on each schedule, and information is linear in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from optdesign.costs import Cost
from optdesign.covariance.deeper_information import deeper_information
from optdesign.covariance.encoded import encode
from optdesign.covariance.information import Information, PlainInformation
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.nested import mass_information
from optdesign.covariance.profiles import Units, unit_information
from optdesign.designs import Design, DesignSpace, Distinct, Group, Region, Share
from optdesign.errors import SpecificationError
from optdesign.layouts import Layout
from optdesign.linalg import psd_root, summed
from optdesign.masses import Masses, design_of, masses_of
from optdesign.measures import Measure, beside
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
#: Label, coefficients of the masses (one or more rows), lowest and highest.
Row = tuple[str, sp.csr_array, float, float]

#: Most atoms of each type that are looked at to settle the quadrature.
SAMPLE = 50
#: How labels of bounds on observations per unit end.
REPLICATES = "(replicates)"
#: Name of the constraint that there is one study, where there is no layout.
STUDY = "study"


class Choice(Protocol):
    """What may be chosen, in masses: U counts of units, then A atoms."""

    @property
    def n_units(self) -> int:
        """Number of masses that count units, U."""

    @property
    def type_of_atom(self) -> Index:
        """Which atoms lie in the same units, shape (A,)."""

    def prices(self, cost: Cost) -> Array:
        """Price of one of each mass, shape (U + A,)."""

    def rows(self) -> Iterator[Row]:
        """The bounds on masses beside the budgets; labels say them in words."""

    def shared(self, among: Array) -> tuple[Array, Array]:
        """For how much of each mass a condition holds, and of how much: units where it is constant within them."""

    def over_observations(self, values: Array) -> Array:
        """Coefficients of the masses in the sum of a quantity over observations, shape (U + A,)."""

    def over_units(self, values: Array, what: str, of: str = "units", /) -> Array:
        """Coefficients of the masses in the sum over units of a factor, the outermost by default, shape (U + A,)."""

    def information(
        self, model: MixedModel, nominal: NominalValues, order: str, nodes: int, basis: Array
    ) -> Information:
        """Information as a function of the masses, as BᵀMB for a basis B."""

    def sample(self) -> Choice:
        """The same with fewer atoms, enough to see how many quadrature nodes the information needs."""

    def tidied(self, z: Array, kept: npt.NDArray[np.bool_]) -> Array:
        """Masses without some of them; what lies within each unit is kept in all."""

    def design(self, z: Array) -> Design:
        """The design that masses make."""

    def frame(self) -> pd.DataFrame:
        """Covariates of each mass, and whether it is a unit or an observation (``kind``)."""


def choice_of(space: DesignSpace, cells: tuple[str, ...] = (), parameters: str = "fixed") -> Choice:
    """What a space lets be chosen.

    Parameters
    ----------
    space : DesignSpace
    cells : tuple of str
        Parts of units, such as ``"cluster:period"``, that the model or a cost names.
    parameters : str
        ``"fixed"`` or ``"all"``, which only fixed schedules have information on.
    """
    if space.layout is None:
        return StudyChoice(space, space.region)
    if space.candidates.by is not None:
        return ProfileChoice(space, cells, parameters)
    return NestedChoice(space, cells, space.region)


@dataclass(frozen=True, eq=False)
class StudyChoice:
    """Observations at every candidate, of one study without units."""

    space: DesignSpace
    region: Region

    @property
    def n_units(self) -> int:
        """One: the study."""
        return 1

    @property
    def type_of_atom(self) -> Index:
        """All atoms lie in the study."""
        return self.region.type_of_atom

    def prices(self, cost: Cost) -> Array:
        """Price of an observation at each candidate; the study itself is free."""
        return np.append(0.0, self.region.atom_mean(cost.of_observations(self.region.frame)))

    def rows(self) -> Iterator[Row]:
        """One study, bounds on its observations, and shares of them."""
        atoms = 1 + np.arange(self.region.n_atoms)
        yield STUDY, sp.csr_array(np.eye(1, 1 + len(atoms))), 1.0, 1.0
        study = np.zeros(len(atoms), dtype=np.intp)
        what = f"observations in all {REPLICATES}"
        yield from number_within(what, atoms, study, 1 + len(atoms), self.space.replicate_bounds)
        yield from uses_within(atoms, study, 1 + len(atoms), self.space.at_most)
        yield from constraint_rows(self, self.space)

    def shared(self, among: Array) -> tuple[Array, Array]:
        """For how much of each mass a condition holds, and of how much."""
        return self.over_observations(among), self.over_observations(np.ones(len(among)))

    def over_observations(self, values: Array) -> Array:
        """Coefficients of the masses in the sum of a quantity over observations."""
        return np.append(0.0, self.region.atom_mean(values))

    def over_units(self, values: Array, what: str, _of: str = "units", /) -> Array:
        """The study is the only unit."""
        return np.append(self.region.type_mean(values, what), np.zeros(self.region.n_atoms))

    def information(
        self, model: MixedModel, nominal: NominalValues, order: str, nodes: int, basis: Array
    ) -> Information:
        """Information as a function of the masses."""
        return _encoded(model, nominal, self.region, order, nodes, basis)

    def sample(self) -> StudyChoice:
        """The same with fewer candidates."""
        return replace(self, region=self.region.thinned(SAMPLE))

    def tidied(self, z: Array, kept: npt.NDArray[np.bool_]) -> Array:
        """Masses without some of them, the observations kept in all."""
        return np.append(z[0], rescaled(z[1:], kept[1:], self.type_of_atom))

    def design(self, z: Array) -> Design:
        """The design that masses make."""
        used = z[1:] > 0
        law = Measure.from_frame(self.space.candidates.points[used], z[1:][used])
        return Design(None, [Group(float(z[0]), float(z[1:].sum() / z[0]), law)], observed=self.space.observed)

    def frame(self) -> pd.DataFrame:
        """Covariates of each mass, and its kind."""
        return mass_frame({"unit": self.region.types}, self.space.candidates.points)


@dataclass(frozen=True, eq=False)
class NestedChoice:
    """Counts of every factor's kinds of unit, and observations at every candidate."""

    space: DesignSpace
    cells: tuple[str, ...]
    region: Region

    @cached_property
    def masses(self) -> Masses:
        """What each row of the space takes its share of."""
        return masses_of(self.space, self.cells)

    @property
    def factors(self) -> tuple[str, ...]:
        """Factors of the layout, outermost first."""
        assert self.space.layout is not None  # else it is a `StudyChoice`
        return self.space.layout.factors

    @property
    def n_units(self) -> int:
        """Number of masses that count units."""
        return self.masses.n_units

    @property
    def type_of_atom(self) -> Index:
        """Kind of innermost unit of each atom."""
        return self.masses.kind_of_atom(self.factors[-1]) - self.masses.start[self.factors[-1]]

    @cached_property
    def chain(self) -> list[tuple[Index, Index]]:
        """Positions of the parts of units, and of the unit of each: inner factors in turn, then atoms."""
        found, atoms = [], self.masses.n_atoms
        for outer, inner in zip(self.factors, self.factors[1:], strict=False):
            above = self.masses.kind_of_atom(outer)
            own, first = np.unique(self.masses.kind_of_atom(inner), return_index=True)
            found.append((own, above[first]))
        return [*found, (self.n_units + np.arange(atoms), self.masses.kind_of_atom(self.factors[-1]))]

    def prices(self, cost: Cost) -> Array:
        """Price of one of each mass."""
        observation = cost.of_observations(self.space.region.frame)
        return np.concatenate([self.masses.unit_prices(cost), self.space.region.atom_mean(observation)])

    def rows(self) -> Iterator[Row]:
        """Bounds on numbers of units, of units within units, of observations, and on shares."""
        size = self.n_units + self.masses.n_atoms
        everyone = np.zeros(size)
        everyone[np.unique(self.masses.unit[self.factors[0]])] = 1.0
        yield from total_units(self.factors[0], everyone, self.space)
        for (outer, inner), (parts, units) in zip(
            zip(self.factors, self.factors[1:], strict=False), self.chain, strict=False
        ):
            label = f"levels of '{inner}' within one of '{outer}' (counts)"
            yield from number_within(label, parts, units, size, self.space.count_bounds(inner))
        what = f"observations per unit {REPLICATES}"
        yield from number_within(what, *self.chain[-1], size, self.space.replicate_bounds)
        yield from uses_within(*self.chain[-1], size, self.space.at_most)
        yield from constraint_rows(self, self.space)

    def shared(self, among: Array) -> tuple[Array, Array]:
        """For how much of each mass a condition holds, and of how much: units where it is constant within them."""
        atoms = np.zeros(self.masses.n_atoms)
        for factor in self.factors:
            try:
                holds = self.masses.unit_mean(factor, among, "a share")
            except SpecificationError:
                continue
            every = self.masses.unit_mean(factor, np.ones(len(among)), "a share")
            return np.concatenate([holds, atoms]), np.concatenate([every, atoms])
        return self.over_observations(among), self.over_observations(np.ones(len(among)))

    def over_observations(self, values: Array) -> Array:
        """Coefficients of the masses in the sum of a quantity over observations."""
        return np.concatenate([np.zeros(self.n_units), self.space.region.atom_mean(values)])

    def over_units(self, values: Array, what: str, of: str = "units", /) -> Array:
        """Coefficients of the masses in the sum of a quantity over units of a factor, the outermost by default."""
        factor = self.factors[0] if of == "units" else of
        return np.concatenate([self.masses.unit_mean(factor, values, what), np.zeros(self.masses.n_atoms)])

    def information(
        self, model: MixedModel, nominal: NominalValues, order: str, nodes: int, basis: Array
    ) -> Information:
        """Information as a function of the masses."""
        if one_factor(model, self.space.layout):
            return _encoded(model, nominal, self.region, order, nodes, basis)
        rows = labelled_rows(model, nominal, self.masses.points)
        return deeper_information(replace(rows, X=rows.X @ basis), self.masses, nodes)

    def sample(self) -> NestedChoice:
        """The same with fewer candidates; all of them where there are units within units."""
        several = len(self.factors) > 1 or self.cells
        return self if several else replace(self, region=self.region.thinned(SAMPLE))

    def tidied(self, z: Array, kept: npt.NDArray[np.bool_]) -> Array:
        """Masses without some of them, without units that hold nothing, and without what lies in no unit."""
        z, kept = z.copy(), kept.copy()
        for parts, units in reversed(self.chain):
            kept[units] &= np.bincount(units, weights=kept[parts], minlength=len(z))[units] > 0
        z[: self.n_units] *= kept[: self.n_units]
        for parts, units in self.chain:
            kept[parts] &= kept[units]
            z[parts] = rescaled(z[parts], kept[parts], units)
        return z

    def design(self, z: Array) -> Design:
        """The design that masses make."""
        return design_of(self.space, self.masses, z[: self.n_units], z[self.n_units :])

    def frame(self) -> pd.DataFrame:
        """Covariates of each mass, and its kind."""
        points = self.space.candidates.points
        kinds = {}
        for depth, factor in enumerate(self.factors, start=1):
            own = [c for c in points if self.space.levels.get(str(c)) in self.factors[:depth]]
            first = np.unique(self.masses.kind_of_atom(factor), return_index=True)[1]
            kinds["unit" if len(self.factors) == 1 else f"unit of '{factor}'"] = points[own].iloc[first]
        return mass_frame(kinds, points)


@dataclass(frozen=True, eq=False)
class ProfileChoice:
    """Numbers of units on each fixed schedule: every schedule is an atom."""

    space: DesignSpace
    cells: tuple[str, ...]
    parameters: str

    @cached_property
    def masses(self) -> Masses:
        """The rows of the schedules, which fix the observations of each unit."""
        return masses_of(self.space, self.cells)

    @property
    def factor(self) -> str:
        """The factor whose units follow the schedules."""
        assert self.space.layout is not None  # profiles need one
        return self.space.layout.factors[0]

    @property
    def n_units(self) -> int:
        """None beside the schedules."""
        return 0

    @property
    def type_of_atom(self) -> Index:
        """No schedule has to stay."""
        return np.zeros(self.masses.n_units, dtype=np.intp)

    @cached_property
    def schedule(self) -> Index:
        """Schedule of each row of the profiles, shape (rows,)."""
        return self.masses.kind_of_atom(self.factor)

    def prices(self, cost: Cost) -> Array:
        """Price of a unit on each schedule, with its parts and observations."""
        observation = self.space.region.atom_mean(cost.of_observations(self.space.region.frame))
        return self.masses.unit_prices(cost) + self._within_unit(observation)

    def _within_unit(self, values: Array) -> Array:
        """Sum over the observations of a unit on each schedule."""
        return self.space.times_each_row * summed(self.schedule, values, self.masses.n_units)

    def rows(self) -> Iterator[Row]:
        """Bounds on the number of units, and on shares of units or of observations."""
        yield from total_units(self.factor, np.ones(self.masses.n_units), self.space)
        yield from constraint_rows(self, self.space)

    def shared(self, among: Array) -> tuple[Array, Array]:
        """For how much of each mass a condition holds, and of how much: units where it is constant within them."""
        try:
            return self.over_units(among, "a share"), np.ones(self.masses.n_units)
        except SpecificationError:
            return self.over_observations(among), self.over_observations(np.ones(len(among)))

    def over_observations(self, values: Array) -> Array:
        """Sum of a quantity over the observations of a unit on each schedule."""
        return self._within_unit(self.space.region.atom_mean(values))

    def over_units(self, values: Array, what: str, _of: str = "units", /) -> Array:
        """Value of a quantity in a unit on each schedule."""
        return self.masses.unit_mean(self.factor, values, what)

    def information(
        self, model: MixedModel, nominal: NominalValues, order: str, nodes: int, basis: Array
    ) -> Information:
        """Information as a function of the numbers of units, linear in them."""
        units = Units.of_profiles(model, self.space)
        each = unit_information(model, nominal, units, order, self.parameters, nodes)
        roots = [psd_root(matrix).T for matrix in each]
        atom = np.repeat(np.arange(len(roots)), [len(root) for root in roots])
        return PlainInformation(np.concatenate(roots) @ basis, atom, 0, len(roots))

    def sample(self) -> ProfileChoice:
        """All schedules."""
        return self

    def tidied(self, z: Array, kept: npt.NDArray[np.bool_]) -> Array:
        """Numbers without some of them, all units kept."""
        return rescaled(z, kept, self.type_of_atom)

    def design(self, z: Array) -> Design:
        """The design with these numbers of units."""
        region, times = self.space.region, self.space.times_each_row
        within = self.space.candidates.points.drop(columns=list(region.types))
        groups = []
        for number in np.flatnonzero(z > 0):
            rows = within.iloc[np.flatnonzero(self.schedule == number)]
            at = region.type_values(int(number))
            groups.append(Group(float(z[number]), times * len(rows), Measure.from_frame(rows), at))
        return Design(self.space.layout, groups, observed=self.space.observed, levels=self.space.observed_levels)

    def frame(self) -> pd.DataFrame:
        """The schedule that each mass counts."""
        return beside(self.space.region.types, ["kind"]).assign(kind="unit")


def _encoded(
    model: MixedModel, nominal: NominalValues, region: Region, order: str, nodes: int, basis: Array
) -> Information:
    rows = encode(model, nominal, region, nodes)
    return mass_information(replace(rows, X=rows.X @ basis), order)


def one_factor(model: MixedModel, layout: Layout | None) -> bool:
    """Whether model and layout have one factor at most, and no parts of its units."""
    plain = not any(":" in factor for factor in model.factors)
    return plain and len(model.factors) <= 1 and (layout is None or len(layout.factors) == 1)


def number_within(label: str, parts: Index, units: Index, size: int, bounds: tuple[float, float]) -> Iterator[Row]:
    """Σ parts − number × units of each kind: not below zero at the lowest number, not above it at the highest."""
    low, high = bounds
    kinds, row = np.unique(units, return_inverse=True)

    def combined(number: float) -> sp.csr_array:
        index, column = np.concatenate([row, np.arange(len(kinds))]), np.concatenate([parts, kinds])
        value = np.concatenate([np.ones(len(parts)), np.full(len(kinds), -number)])
        return sp.csr_array((value, (index, column)), shape=(len(kinds), size))

    if low == high:
        yield f"exactly {low:,g} {label}", combined(low), 0.0, 0.0
        return
    if low > 0:
        yield f"at least {low:,g} {label}", combined(low), 0.0, np.inf
    if np.isfinite(high):
        yield f"at most {high:,g} {label}", combined(high), -np.inf, 0.0


def uses_within(atoms: Index, units: Index, size: int, at_most: int | None) -> Iterator[Row]:
    """Observations at each atom, at most so many in each of its units."""
    if at_most is not None:
        row = np.arange(len(atoms))
        value = np.concatenate([np.ones(len(atoms)), np.full(len(atoms), -float(at_most))])
        place = (np.concatenate([row, row]), np.concatenate([atoms, units]))
        label = f"no point more than {at_most} times within a unit (at_most)"
        yield label, sp.csr_array((value, place), shape=(len(atoms), size)), -np.inf, 0.0


def total_units(factor: str, everyone: Array, space: DesignSpace) -> Iterator[Row]:
    """Bounds on the number of units of the outermost factor; a lowest of zero is none beyond z ≥ 0."""
    low, high = space.count_bounds(factor)
    yield from bounded(f"levels of '{factor}' (counts)", everyone, low or -np.inf, high)


def bounded(what: str, coefficients: Array, low: float, high: float) -> Iterator[Row]:
    """A row for each bound on a sum, which the label names; one for both where they are equal."""
    row = sp.csr_array(coefficients[None, :])
    if low == high:
        yield f"exactly {low:,g} {what}", row, low, high
        return
    if np.isfinite(low):
        yield f"at least {low:,g} {what}", row, low, np.inf
    if np.isfinite(high):
        yield f"at most {high:,g} {what}", row, -np.inf, high


def constraint_rows(choice: Choice, space: DesignSpace) -> Iterator[Row]:
    """Bounds on shares and totals; how many distinct values are used is no linear constraint."""
    for each in space.constraints:
        if isinstance(each, Distinct):
            continue
        if isinstance(each, Share):
            yield from share_rows(each, *choice.shared(each.holds(space.region.frame)))
            continue
        values = each.values(space.region.frame)
        if each.of == "observations":
            coefficients = choice.over_observations(values)
        else:
            coefficients = choice.over_units(values, f"constraint: '{each.expression}'", each.of)
        what = f"in the total of {each.expression} over {each.of} (constraints)"
        yield from bounded(what, coefficients, each.at_least, each.at_most)


def share_rows(share: Share, holds: Array, every: Array) -> Iterator[Row]:
    """Bounds on a share: Σ holds z between two multiples of Σ every z."""
    low, high = (sp.csr_array((holds - bound * every)[None, :]) for bound in (share.at_least, share.at_most))
    what = f"with {share.condition} (constraints)"
    if share.at_least == share.at_most:
        yield f"a share of exactly {share.at_least:g} {what}", low, 0.0, 0.0
        return
    if share.at_least > 0:
        yield f"a share of at least {share.at_least:g} {what}", low, 0.0, np.inf
    if share.at_most < 1:
        yield f"a share of at most {share.at_most:g} {what}", high, -np.inf, 0.0


def rescaled(values: Array, kept: npt.NDArray[np.bool_], group: Index) -> Array:
    """Values without those that are not kept, the others raised so that each group keeps its sum."""
    size = int(group.max()) + 1
    before, after = summed(group, values, size), summed(group, values * kept, size)
    factor = np.where(after > 0, before / np.where(after > 0, after, 1.0), 0.0)
    return np.asarray(values * kept * factor[group])


def mass_frame(units: dict[str, pd.DataFrame], points: pd.DataFrame) -> pd.DataFrame:
    """Covariates of all kinds of unit and of all points, with a column ``kind``."""
    import pandas as pd

    kind = np.repeat([*units, "observation"], [*(len(each) for each in units.values()), len(points)])
    return beside(pd.concat([*units.values(), points], ignore_index=True), ["kind"]).assign(kind=kind)
