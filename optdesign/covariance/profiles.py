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
from optdesign.covariance.encoded import encode
from optdesign.covariance.exact import information_by_kind
from optdesign.covariance.gls import component_information
from optdesign.covariance.labelled import LabelledRows, labelled_rows, rows_of_kind
from optdesign.covariance.nested import information_of
from optdesign.designs import DesignSpace
from optdesign.errors import SpecificationError, listed
from optdesign.linalg import summed
from optdesign.masses import Masses, masses_of
from optdesign.models import MixedModel, NominalValues
from optdesign.quadrature import ladder

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
    masses = masses_of(space, model.factors)
    rows = _of_units(labelled_rows(model, nominal, masses.points), space.times_each_row)
    _check(model, rows, order, parameters)
    names, estimate = rows.names, rows.beta
    if order == "exact" and not model.is_gaussian and rows.terms:
        (term,) = rows.terms
        found = _by_profile(information_by_kind(model, nominal, rows, seed), masses)
        names, estimate = (*names, *term.component_names), np.concatenate([estimate, term.components])
    else:
        found = _fixed(model, nominal, space, masses, rows, order)
        if parameters == "all":
            names = (*names, *(name for term in rows.terms for name in term.component_names))
            estimate = np.concatenate([estimate, *(term.components for term in rows.terms)])
            found = _block_diagonal(found, _components(model, nominal, masses, rows))
    if parameters == "all" and model.distribution.dispersion_variance is not None:
        names, estimate = (*names, "dispersion"), np.append(estimate, nominal.dispersion)
    return ProfileInformation(names, rows.aliases, estimate, found)


def _of_units(rows: LabelledRows, times: float) -> LabelledRows:
    return replace(rows, observations=times * rows.observations)


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
    model: MixedModel, nominal: NominalValues, space: DesignSpace, masses: Masses, rows: LabelledRows, order: str
) -> Array:
    """Information on the fixed effects, by profile."""
    ones = np.ones(masses.n_units), np.ones(masses.n_atoms)
    effects = 0 if model.is_gaussian else sum(len(term.standardised().sigma) for term in rows.terms)
    if order == "leading" or (order == "two-term" and not model.is_gaussian):
        totals = space.times_each_row * ones[1]

        def compute(nodes: int) -> Array:
            encoded = encode(model, nominal, space.region, nodes)
            return information_of(encoded, order).whole.at(ones[0], totals).by_type

        return settled_information(compute, ladder(effects))
    return settled_information(lambda nodes: deeper_information(rows, masses, nodes).at(*ones).by_type, ladder(effects))


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


def _components(model: MixedModel, nominal: NominalValues, masses: Masses, rows: LabelledRows) -> Array:
    """Information on vech Σ of every factor and the dispersion, by profile."""
    if model.is_gaussian and rows.terms:
        outer = masses.points.labels[next(iter(masses.points.labels))]
        each = [count * component_information(rows_of_kind(rows, outer, k)) for k, count in enumerate(outer.count)]
        return _by_profile(np.array(each), masses)
    observations = summed(masses.outer, rows.observations, masses.n_units)
    found = np.zeros((masses.n_units, 0, 0))
    if rows.terms:
        (term,) = rows.terms
        rungs = ladder(len(term.standardised().sigma))
        found = _by_profile(settled_information(lambda n: averaged_component_information(rows, n), rungs), masses)
    spread = model.distribution.dispersion_variance
    if spread is None:
        return found
    return _block_diagonal(found, (observations / spread(nominal.dispersion))[:, None, None])


def _by_profile(each: Array, masses: Masses) -> Array:
    """Sums over the kinds of outermost unit that each profile's observed covariates make of it."""
    unit = masses.unit[next(iter(masses.unit))]
    total = np.zeros((masses.n_units, *each.shape[1:]))
    np.add.at(total, unit, each)
    return total


def _block_diagonal(first: Array, second: Array) -> Array:
    size = first.shape[1]
    total = np.zeros((len(first), size + second.shape[1], size + second.shape[1]))
    total[:, :size, :size], total[:, size:, size:] = first, second
    return total
