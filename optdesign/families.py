"""Response families, their links, and the conditional Fisher weight that every information matrix is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, listed, nearest

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Link:
    """A link function, through its inverse.

    Attributes
    ----------
    name : str
        The link's usual name.
    mean : callable
        Inverse link, linear predictor to mean.
    slope : callable
        Derivative of the mean with respect to the linear predictor.
    """

    name: str
    mean: Callable[[Array], Array]
    slope: Callable[[Array], Array]


@dataclass(frozen=True)
class Family:
    """A response distribution of the exponential family.

    Attributes
    ----------
    name : str
        Its name.
    canonical : str
        Name of the canonical link.
    variance : callable
        Variance function V(μ): the variance of one response is ϕ V(μ).
    canonical_weight : callable
        b''(η), the conditional Fisher weight under the canonical link, written so that it neither overflows nor
        cancels.
    has_dispersion : bool
        Whether the dispersion ϕ is a free parameter (otherwise it is 1).
    """

    name: str
    canonical: str
    variance: Callable[[Array], Array]
    canonical_weight: Callable[[Array], Array]
    has_dispersion: bool = False


def _logistic(eta: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * eta)))


def _logistic_weight(eta: Array) -> Array:
    small = np.exp(-np.abs(eta))
    return np.asarray(small / (1.0 + small) ** 2)


LINKS = {
    link.name: link
    for link in (
        Link("identity", lambda eta: eta, np.ones_like),
        Link("log", np.exp, np.exp),
        Link("logit", _logistic, _logistic_weight),
    )
}

FAMILIES = {
    family.name: family
    for family in (
        Family("gaussian", "identity", np.ones_like, np.ones_like, has_dispersion=True),
        Family("bernoulli", "logit", lambda mu: mu * (1.0 - mu), _logistic_weight),
        Family("binomial", "logit", lambda mu: mu * (1.0 - mu), _logistic_weight),
        Family("poisson", "log", lambda mu: mu, np.exp),
    )
}


def family_named(name: str) -> Family:
    """The family called `name`; `SpecificationError` names the known ones."""
    try:
        return FAMILIES[name.lower()]
    except KeyError:
        raise SpecificationError(
            f"family '{name}' is not known.{nearest(name, FAMILIES)} Known families: {listed(FAMILIES)}."
        ) from None


def link_named(name: str, family: Family) -> Link:
    """The link called `name`, checked against `family`; `SpecificationError` where the pair has no theory here."""
    if name != family.canonical:
        raise SpecificationError(
            f"link '{name}' is not available for the {family.name} family: use its canonical link '{family.canonical}'."
        )
    return LINKS[name]


def fisher_weight(family: Family, link: Link, eta: Array) -> Array:
    """Conditional Fisher weight (dμ/dη)²/V(μ) of one observation, before division by the dispersion.

    Parameters
    ----------
    family, link : Family, Link
        The response distribution.
    eta : array of any shape
        Linear predictor.

    Returns
    -------
    array of the same shape
        b''(η) for the canonical link.

    Examples
    --------
    >>> fisher_weight(FAMILIES["bernoulli"], LINKS["logit"], np.array([0.0, 800.0]))
    array([0.25, 0.  ])
    """
    if link.name == family.canonical:
        return family.canonical_weight(eta)
    return np.asarray(link.slope(eta) ** 2 / family.variance(link.mean(eta)))
