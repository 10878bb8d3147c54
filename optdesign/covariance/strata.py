"""Information on the variance components of a Gaussian design from its kinds of unit, in any number of units. [E]

Units of a kind see the same law of points, so that V splits into strata. The first is what all units of a kind share,
their means, and holds every column of X. Then, for each factor and each kind of its units, come the ways in which
those units differ within a unit of every coarser factor: each obeys the model of one unit on its own, with the effects
of its factor and of those within it. A kind of `count` units has

    multiplicity = count − 1 − Σ multiplicities of the coarser kinds that it lies in,

(m − 1 rows, m′ − 1 columns and (m − 1)(m′ − 1) cells of a crossing; the same for nested kinds), and what is left of the
observations is residual. Restricted maximum likelihood projects on the complement of X in the first stratum only, so
that

    I = ½ tr(PV̇_iPV̇_j) in the first + Σ multiplicity · ½ tr(V⁻¹V̇_iV⁻¹V̇_j) in the others,

whose cost does not grow with the numbers of units, which need not be whole. With every unit listed on its own all
multiplicities are zero and the first stratum is everything. Exact where every unit sees its law of points exactly.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from optdesign.covariance.gls import component_information
from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.units import kinds

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


def strata_information(rows: LabelledRows, crossed: bool, reml: bool = True) -> Array:
    """Information on vech Σ of every term and σ², shape (v, v).

    Parameters
    ----------
    rows : LabelledRows
        Of a Gaussian model; terms outermost first.
    crossed : bool
        Whether two factors are crossed, so that neither lies within the other.
    reml : bool
        By restricted maximum likelihood; by maximum likelihood otherwise.
    """
    total = component_information(rows, reml)
    above = np.zeros((len(rows.terms), len(rows.X)))
    for number, term in enumerate(rows.terms):
        coarser = [i for i in range(number) if not crossed or rows.terms[i].factor in term.factor.split(":")]
        above[number] = term.count[term.level] - 1.0 - above[coarser].sum(axis=0)
        inner = [t for t in rows.terms[number:] if t is term or not crossed or term.factor in t.factor.split(":")]
        for kind in range(len(term.count)):
            at = np.flatnonzero(term.level == kind)
            multiplicity = above[number, at[0]]
            if multiplicity:
                total += multiplicity * _one_unit(rows, term, kind, inner)
    return total


def _one_unit(rows: LabelledRows, term: RandomTerm, kind: int, inner: list[RandomTerm]) -> Array:
    """Maximum likelihood information from one unit, in the places of all components.

    The unit's observations are counted in the first stratum already, so that it has as many as none here.
    """
    at, count = np.flatnonzero(term.level == kind), term.count[kind]
    weight = rows.weight(rows.eta)[at]
    unit = replace(
        rows,
        X=rows.X[at],
        observations=rows.observations[at] / count,
        eta=rows.eta[at],
        terms=tuple(_inside(each, at, count) for each in inner),
        weight=lambda eta: np.broadcast_to(weight, eta.shape),
    )
    own = component_information(unit)
    own[-1, -1] -= 0.5 * unit.observations.sum() / rows.residual_variance**2
    places = _places(rows.terms, inner)
    full = np.zeros((sum(len(t.components) for t in rows.terms) + 1,) * 2)
    full[np.ix_(places, places)] = own
    return full


def _inside(term: RandomTerm, at: Index, count: float) -> RandomTerm:
    """The part of a term that lies within one of `count` units, whose rows are `at`."""
    level, number = kinds([term.level[at]], len(at))
    counts = np.zeros(number)
    counts[level] = term.count[term.level[at]] / count
    return replace(term, level=level, count=counts, Z=term.Z[at])


def _places(terms: tuple[RandomTerm, ...], some: list[RandomTerm]) -> Index:
    """Positions of the components of some terms, and of σ², among those of all."""
    names = [name for term in terms for name in term.component_names]
    return np.array([*(names.index(name) for term in some for name in term.component_names), len(names)])
