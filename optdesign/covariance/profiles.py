"""Information that one unit on a fixed schedule adds, whatever the others do.

Units on fixed schedules are independent, and what happens within one does not depend on how many there are: the
information of a plan is Σ m_k I_k over the schedules, linear in the numbers of units, for every order and every random
structure that lives within the outermost unit. I_k is the Gaussian's XᵀV⁻¹X, averaged information (of the effects of a
unit and of its parts), the two-term or leading information of one factor, or the exact information of one factor
together with its variance components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optdesign.covariance.components import averaged_component_information, check_interior
from optdesign.covariance.deeper_information import deeper_information
from optdesign.covariance.encoded import encode, learnt
from optdesign.covariance.exact import information_by_kind
from optdesign.covariance.gls import component_information
from optdesign.covariance.labelled import LabelledRows, labelled_rows, rows_of_kind
from optdesign.covariance.nested import information_of
from optdesign.covariance.result import component_names
from optdesign.designs import Design, DesignSpace, Region
from optdesign.errors import SpecificationError, listed
from optdesign.linalg import psd_root, summed, vech_pairs
from optdesign.masses import Masses, masses_at, masses_of
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder
from optdesign.units import Labels

Array = npt.NDArray[np.float64]

#: Relative change, from one quadrature rule to the next, at which information counts as settled.
QUADRATURE_TOLERANCE = 1e-8


@dataclass(frozen=True, eq=False)
class ProfileInformation:
    """Information that one unit on each schedule adds.

    Attributes
    ----------
    names : tuple of str
        Parameter names.
    aliases : mapping
        Term name of each one-column term to its coefficient.
    estimate : array, shape (p,)
        The nominal values.
    matrices : array, shape (profiles, p, p)
        In the order in which the schedules first appear.
    """

    names: tuple[str, ...]
    aliases: Mapping[str, str]
    estimate: Array
    matrices: Array


def profile_information(
    model: MixedModel, nominal: NominalValues, space: DesignSpace, order: str, parameters: str = "fixed", seed: int = 0
) -> ProfileInformation:
    """Information that one unit on each schedule of a space of profiles adds.

    Parameters
    ----------
    model : MixedModel
        Random terms of the space's factor and of parts of its units by columns of the profiles, such as
        ``(1 | cluster) + (1 | cluster:period)``.
    nominal : NominalValues
    space : DesignSpace
        With `Candidates.profiles`.
    order : str
        ``"leading"`` and ``"two-term"`` (one factor, or a Gaussian, whose two terms are exact), ``"averaged"``,
        ``"exact"`` (Gaussian; otherwise one factor and ``parameters="all"``).
    parameters : str
        ``"fixed"``: the fixed effects. ``"all"``: then vech Σ of each factor and the dispersion, where there is one;
        for a Gaussian, and for one factor with order averaged or exact.
    seed : int
        Of what is sampled: exact information where outcomes are many.

    Raises
    ------
    SpecificationError
        Where the model has no such information per unit.

    Examples
    --------
    One observation of variance 1 + 1 in each of two periods, correlated ½: the intercept gets 1ᵀV⁻¹1 = 2/3.

    >>> import pandas as pd
    >>> from optdesign import Candidates, Nested
    >>> space = DesignSpace(Nested("g"), Candidates.profiles(pd.DataFrame({"way": [1, 1], "x": [0, 1]}), by="way"))
    >>> one = profile_information(MixedModel("y ~ x + (1 | g)"), NominalValues([0, 0], {"g": 1.0}), space, "exact")
    >>> one.matrices.round(6)
    array([[[0.666667, 0.333333],
            [0.333333, 0.666667]]])
    """
    nominal = nominal.referring_to(space.region.frame)
    units = Units.of_profiles(model, space)
    effects = 0 if model.is_gaussian else random_effects(model, nominal)
    names, aliases, estimate = parameters_of(model, nominal, parameters)
    matrices = settled_information(
        lambda nodes: unit_information(model, nominal, units, order, parameters, nodes, seed), ladder(effects)
    )
    return ProfileInformation(names, aliases, estimate, matrices)


@dataclass(frozen=True, eq=False)
class Units:
    """Outermost units by kind, as masses: of fixed schedules, or of a design.

    Attributes
    ----------
    masses : Masses
    counts, totals : arrays
        Units of each kind, and observations at each atom.
    region : Region
        The same rows, for the orders that one grouping factor alone has.
    types, atoms : arrays
        Units of each type of the region, and observations at each of its atoms.
    """

    masses: Masses
    counts: Array
    totals: Array
    region: Region
    types: Array
    atoms: Array

    @classmethod
    def of_profiles(cls, model: MixedModel, space: DesignSpace) -> Units:
        """One unit on each schedule of a space of profiles."""
        masses = masses_of(space, model.factors)
        one, times = np.ones(masses.n_units), np.full(masses.n_atoms, space.times_each_row)
        return cls(masses, one, times, space.region, one, times)

    @classmethod
    def of_design(cls, model: MixedModel, design: Design) -> Units:
        """The units of a design, those of each group together."""
        masses = masses_at(design, model.factors)
        return cls(masses, np.ones(masses.n_units), np.ones(masses.n_atoms), design.region, *design.masses)

    def counted(self, rows: LabelledRows) -> LabelledRows:
        """Labelled rows of the masses with numbers in place of shares."""
        terms = [replace(t, count=t.count * self.counts[self.masses.unit[t.factor]]) for t in rows.terms]
        return replace(rows, observations=rows.observations * self.totals[self.masses.atom], terms=tuple(terms))

    @property
    def outer(self) -> Labels:
        """Kinds of outermost unit, with their numbers."""
        factor, labels = next(iter(self.masses.points.labels.items()))
        return Labels(labels.level, labels.count * self.counts[self.masses.unit[factor]])


def design_information(
    model: MixedModel, nominal: NominalValues, design: Design, order: str, parameters: str, nodes: int, seed: int = 0
) -> Array:
    """Information of a nested design, shape (p, p), as the sum over its units."""
    units = Units.of_design(model, design)
    return np.asarray(unit_information(model, nominal, units, order, parameters, nodes, seed).sum(axis=0))


def parameters_of(
    model: MixedModel, nominal: NominalValues, parameters: str
) -> tuple[tuple[str, ...], Mapping[str, str], Array]:
    """Names, aliases and nominal values of the parameters, for nominal values with reference data."""
    encoding = learnt(model, nominal)
    names, estimate = encoding.fixed_names, nominal.beta_vector(encoding)
    if parameters == "all":
        for factor in sorted(model.factors, key=lambda factor: ":" in factor):
            own = encoding.random_names(factor)
            names = (*names, *component_names(factor, own))
            estimate = np.append(estimate, nominal.matrix(factor, own)[vech_pairs(len(own))])
        if model.distribution.dispersion_variance is not None:
            names, estimate = (*names, "dispersion"), np.append(estimate, nominal.dispersion)
    return names, encoding.aliases, estimate


def random_effects(model: MixedModel, nominal: NominalValues) -> int:
    """Number of random effects that vary, over all factors."""
    given = [nominal.covariance[factor] for factor in model.factors if factor in nominal.covariance]
    return sum(psd_root(np.asarray(matrix)).shape[1] for matrix in given)


def unit_information(
    model: MixedModel, nominal: NominalValues, units: Units, order: str, parameters: str, nodes: int, seed: int = 0
) -> Array:
    """Information of the units of each kind of outermost unit, shape (kinds, p, p), with some quadrature nodes."""
    rows = labelled_rows(model, nominal, units.masses.points)
    _check(model, rows, order, parameters)
    if order == "exact" and not model.is_gaussian and rows.terms:
        return _by_kind(information_by_kind(model, nominal, units.counted(rows), seed), units.masses)
    found = _fixed(model, nominal, units, rows, order, nodes)
    return _block_diagonal(found, _components(model, nominal, units, rows, nodes)) if parameters == "all" else found


def _check(model: MixedModel, rows: LabelledRows, order: str, parameters: str) -> None:
    several = len(rows.terms) > 1
    averaging = model.is_gaussian or order == "averaged"
    if several and (order == "leading" or not averaging):
        raise SpecificationError(
            f"order '{order}' has no information per unit for random terms of {listed(t.factor for t in rows.terms)}: "
            f"use order='{'exact' if model.is_gaussian else 'averaged'}'."
        )
    if parameters == "fixed" and order == "exact" and not model.is_gaussian and rows.terms:
        raise SpecificationError(
            "exact information of a unit is of fixed effects and variance components together: ask for "
            "parameters='all'."
        )
    if parameters == "all" and rows.terms:
        check_interior(rows)
        if not model.is_gaussian and (several or order not in ("averaged", "exact")):
            raise SpecificationError(
                f"variance components of a {model.family} model have an information per unit with one grouping factor "
                f"and order 'averaged' or 'exact'; got order '{order}' and {listed(model.factors)}."
            )


def _fixed(
    model: MixedModel, nominal: NominalValues, units: Units, rows: LabelledRows, order: str, nodes: int
) -> Array:
    """Information on the fixed effects, by kind of outermost unit."""
    if order == "leading" or (order == "two-term" and not model.is_gaussian):
        encoded = encode(model, nominal, units.region, nodes)
        return information_of(encoded, order).whole.at(units.types, units.atoms).by_type
    return deeper_information(rows, units.masses, nodes).at(units.counts, units.totals).by_type


def settled_information(compute: Callable[[int], Array], rungs: Sequence[int]) -> Array:
    """Information from the first quadrature rule that changes none of it by more than the tolerance, or the last."""
    last = compute(rungs[0])
    for nodes in rungs[1:]:
        finer = compute(nodes)
        size = np.sqrt(np.einsum("...ii->...i", finer))
        if (np.abs(finer - last) <= QUADRATURE_TOLERANCE * size[..., :, None] * size[..., None, :]).all():
            return finer
        last = finer
    return last


def _components(model: MixedModel, nominal: NominalValues, units: Units, rows: LabelledRows, nodes: int) -> Array:
    """Information on vech Σ of every factor and the dispersion, by kind of outermost unit."""
    masses, rows = units.masses, units.counted(rows)
    if model.is_gaussian and rows.terms:
        outer = units.outer
        each = [count * component_information(rows_of_kind(rows, outer, k)) for k, count in enumerate(outer.count)]
        return _by_kind(np.array(each), masses)
    found = np.zeros((masses.n_outer, 0, 0))
    if rows.terms:
        found = _by_kind(averaged_component_information(rows, nodes), masses)
    spread = model.distribution.dispersion_variance
    if spread is None:
        return found
    observations = summed(masses.outer, rows.observations, masses.n_outer)
    return _block_diagonal(found, (observations / spread(nominal.dispersion))[:, None, None])


def _by_kind(each: Array, masses: Masses) -> Array:
    """Sums over the parts that observed covariates make of each kind of outermost unit."""
    total = np.zeros((masses.n_outer, *each.shape[1:]))
    np.add.at(total, next(iter(masses.unit.values())), each)
    return total


def _block_diagonal(first: Array, second: Array) -> Array:
    size = first.shape[1]
    total = np.zeros((len(first), size + second.shape[1], size + second.shape[1]))
    total[:, :size, :size], total[:, size:, size:] = first, second
    return total
