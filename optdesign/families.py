"""Response families, their links, and the conditional Fisher weight that every information matrix is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from optdesign.errors import SpecificationError, is_number, listed, nearest

Array = npt.NDArray[np.float64]
Function = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
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
    domain : (float, float)
        Linear predictors, ends excluded, that have a mean.
    decay : callable or None
        Rate q(a, s²) at which the Fisher weight vanishes, with E w(at + v) = exp{−q t²/2 + o(t²)} for v ~ N(0, s²) and
        t → ∞; None where it is zero, for weights that vanish exponentially or not at all.
    """

    name: str
    mean: Function
    slope: Function
    domain: tuple[float, float] = (-np.inf, np.inf)
    decay: Callable[[Array, Array], Array] | None = None

    @property
    def everywhere(self) -> bool:
        """Whether every linear predictor has a mean."""
        return self.domain == (-np.inf, np.inf)


@dataclass(frozen=True, eq=False)
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
    weights : mapping from link name to callable
        Conditional Fisher weight (dμ/dη)²/V(μ) under each link it may have, the default link first; written so that
        none overflows or cancels.
    dispersion_variance : callable or None
        v(ϕ), N times the variance of the maximum likelihood estimator of the dispersion, 1/{2d'(ϕ)/ϕ + d''(ϕ)} in
        the density exp{[yθ − b(θ) + c(y)]/ϕ − d(ϕ)}h(y); None where the dispersion is 1.
    links : mapping from name to Link
        The links named in `weights`.
    size : float
        The known k of a negative binomial; infinite for every other family.
    """

    name: str
    canonical: str
    variance: Function
    weights: Mapping[str, Function]
    links: Mapping[str, Link]
    dispersion_variance: Callable[[float], float] | None = None
    size: float = np.inf

    @property
    def default_link(self) -> str:
        """The link a model has unless another is named."""
        return next(iter(self.weights))

    @property
    def has_dispersion(self) -> bool:
        """Whether the dispersion ϕ is a free parameter (otherwise it is 1)."""
        return self.dispersion_variance is not None


def _logistic(eta: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * eta)))


def _logistic_weight(eta: Array) -> Array:
    small = np.exp(-np.abs(eta))
    return np.asarray(small / (1.0 + small) ** 2)


def _normal_density(eta: Array) -> Array:
    return np.asarray(np.exp(-0.5 * eta**2) / np.sqrt(2.0 * np.pi))


def _normal_mean(eta: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(ndtr(eta))


def _probit_weight(eta: Array) -> Array:
    """φ²/{Φ(1 − Φ)}, in logarithms; it is below the smallest number from 39 on."""
    from scipy.special import log_ndtr

    far = np.minimum(np.abs(eta), 100.0)
    return np.asarray(np.exp(-(far**2) - np.log(2.0 * np.pi) - log_ndtr(far) - log_ndtr(-far)))


def _probit_decay(shift: Array, spread: Array) -> Array:
    """The weight is |η|φ(η) far out."""
    return np.asarray(shift**2 / (1.0 + spread))


def _cloglog_decay(shift: Array, spread: Array) -> Array:
    """Far to the right the weight is exp(−e^η), and v must bring η back from there; to the left it is e^η."""
    square = np.maximum(shift, 0.0) ** 2
    return np.asarray(np.divide(square, spread, out=np.where(square > 0, np.inf, 0.0), where=spread > 0))


def _cloglog_slope(eta: Array) -> Array:
    return np.asarray(np.exp(eta - _exp(eta)))


def _cloglog_weight(eta: Array) -> Array:
    """s² e^{−s}/(1 − e^{−s}) with s = e^η, which is s where s is small."""
    s = np.maximum(_exp(eta), np.finfo(float).tiny)
    return np.asarray(np.exp(2.0 * np.log(s) - s - np.log(-np.expm1(-s))))


def _exp(eta: Array) -> Array:
    """The exponential, at most 1e300: beyond it only the sign of what follows matters."""
    return np.asarray(np.exp(np.minimum(eta, 690.0)))


LINKS = {
    link.name: link
    for link in (
        Link("identity", lambda eta: eta, np.ones_like),
        Link("log", np.exp, np.exp),
        Link("logit", _logistic, _logistic_weight),
        Link("probit", _normal_mean, _normal_density, decay=_probit_decay),
        Link("cloglog", lambda eta: np.asarray(-np.expm1(-_exp(eta))), _cloglog_slope, decay=_cloglog_decay),
        Link("inverse", lambda eta: 1.0 / eta, lambda eta: -1.0 / eta**2, (0.0, np.inf)),
        Link("inverse-squared", lambda eta: eta**-0.5, lambda eta: -0.5 * eta**-1.5, (0.0, np.inf)),
    )
}


def _negative_binomial_link(size: float) -> Link:
    """η = log{μ/(μ + k)}, canonical for the negative binomial of size k."""

    def mean(eta: Array) -> Array:
        return np.asarray(-size * np.exp(eta) / np.expm1(eta))

    def slope(eta: Array) -> Array:
        return np.asarray(size * np.exp(eta) / np.expm1(eta) ** 2)

    return Link("log-ratio", mean, slope, (-np.inf, 0.0))


def _gamma_dispersion_variance(dispersion: float) -> float:
    """ϕ⁴/{trigamma(1/ϕ) − ϕ}; the difference by its asymptotic series where it would cancel."""
    from scipy.special import polygamma

    if dispersion > 0.05:
        return float(dispersion**4 / (polygamma(1, 1.0 / dispersion) - dispersion))
    square = dispersion**2
    series = 0.5 + dispersion * (1.0 / 6.0 - square * (1.0 / 30.0 - square * (1.0 / 42.0 - square / 30.0)))
    return float(square / series)


def _family(
    name: str,
    canonical: str,
    variance: Function,
    weights: Mapping[str, Function],
    dispersion_variance: Callable[[float], float] | None = None,
) -> Family:
    return Family(name, canonical, variance, weights, {n: LINKS[n] for n in weights}, dispersion_variance)


def _binary(name: str) -> Family:
    weights = {"logit": _logistic_weight, "probit": _probit_weight, "cloglog": _cloglog_weight}
    return _family(name, "logit", lambda mu: mu * (1.0 - mu), weights)


FAMILIES = {
    family.name: family
    for family in (
        _family(
            "gaussian",
            "identity",
            np.ones_like,
            {"identity": np.ones_like, "log": lambda eta: np.exp(2.0 * eta)},
            lambda dispersion: 2.0 * dispersion**2,
        ),
        _binary("bernoulli"),
        _binary("binomial"),
        _family("poisson", "log", lambda mu: mu, {"log": np.exp}),
        _family(
            "gamma",
            "inverse",
            lambda mu: mu**2,
            {"inverse": lambda eta: eta**-2.0, "log": np.ones_like},
            _gamma_dispersion_variance,
        ),
        _family(
            "inverse-gaussian",
            "inverse-squared",
            lambda mu: mu**3,
            {"inverse-squared": lambda eta: 0.25 * eta**-1.5, "log": lambda eta: np.exp(-eta)},
            lambda dispersion: 2.0 * dispersion**2,
        ),
    )
}

FAMILY_NAMES = (*FAMILIES, "negative-binomial")


@lru_cache(maxsize=64)
def negative_binomial(size: float) -> Family:
    """The negative binomial family of known size k: variance μ + μ²/k, log link by default."""
    link = _negative_binomial_link(size)

    def log_weight(eta: Array) -> Array:
        return np.asarray(1.0 / (np.exp(np.minimum(-eta, 690.0)) + 1.0 / size))

    weights = {"log": log_weight, link.name: link.slope}
    return Family(
        "negative-binomial",
        link.name,
        lambda mu: mu + mu**2 / size,
        weights,
        {"log": LINKS["log"], link.name: link},
        size=size,
    )


def family_named(name: str, size: object = None) -> Family:
    """The family called `name`; `SpecificationError` names the known ones.

    Parameters
    ----------
    name : str
        In any case.
    size : positive number
        Of a negative binomial; not used by the others.
    """
    if name.lower() == "negative-binomial":
        if not (is_number(size) and size > 0):
            raise SpecificationError(
                f"family 'negative-binomial' needs size=, the known k in its variance μ + μ²/k, a positive number; got "
                f"{size!r}."
            )
        return negative_binomial(float(size))
    try:
        return FAMILIES[name.lower()]
    except KeyError:
        raise SpecificationError(
            f"family '{name}' is not known.{nearest(name, FAMILY_NAMES)} Known families: {listed(FAMILY_NAMES)}."
        ) from None


def link_named(name: str, family: Family) -> Link:
    """The link called `name`, checked against `family`; `SpecificationError` where the pair has no theory here."""
    if name not in family.links:
        raise SpecificationError(
            f"link '{name}' is not available for the {family.name} family: use {listed(family.links)}."
            f"{nearest(name, family.links)}"
        )
    return family.links[name]


def check_random_link(family: Family, link: Link) -> None:
    """With normal random effects every linear predictor occurs, so every one must have a mean."""
    if not link.everywhere:
        fit = [name for name, other in family.links.items() if other.everywhere]
        raise SpecificationError(
            f"link '{link.name}' has a mean for linear predictors between {link.domain[0]:g} and {link.domain[1]:g} "
            "only; a normal random effect leaves that range and the expectations over it diverge. With random effects "
            f"the {family.name} family takes link={' or '.join(map(repr, fit))}."
        )


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
        b''(η) for the canonical link, in its usual scale.

    Examples
    --------
    >>> fisher_weight(FAMILIES["bernoulli"], LINKS["logit"], np.array([0.0, 800.0]))
    array([0.25, 0.  ])
    """
    return family.weights[link.name](eta)


def _binary_logs(link: str, eta: Array) -> tuple[Array, Array]:
    """log μ and log(1 − μ), neither by subtraction."""
    from scipy.special import log_expit, log_ndtr

    if link == "cloglog":
        s = np.maximum(_exp(eta), np.finfo(float).tiny)
        return np.log(-np.expm1(-s)), -s
    log = log_expit if link == "logit" else log_ndtr
    return log(eta), log(-eta)


def log_likelihood(family: Family, link: Link, eta: Array, total: Array, number: Array) -> Array:
    """ϕ times the log likelihood of a total of responses that share a linear predictor, up to terms free of η.

    Parameters
    ----------
    eta : array
        Linear predictor.
    total, number : arrays that broadcast with it
        Sum of the responses, and how many they are (trials of a binomial).
    """
    if family.name in ("bernoulli", "binomial"):
        success, failure = _binary_logs(link.name, eta)
        return np.asarray(total * success + (number - total) * failure)
    mean = link.mean(eta)
    if family.name == "poisson":
        return np.asarray(total * eta - number * mean)
    if family.name == "gamma":
        return np.asarray(-total / mean - number * np.log(mean))
    if family.name == "inverse-gaussian":
        return np.asarray(number / mean - 0.5 * total / mean**2)
    if family.name == "gaussian":
        return np.asarray(total * mean - 0.5 * number * mean**2)
    size = _finite_size(family)
    return np.asarray(total * np.log(mean / (mean + size)) - number * size * np.log1p(mean / size))


def _finite_size(family: Family) -> float:
    """The size of a negative binomial, the last of the families whose law is known here."""
    if not np.isfinite(family.size):
        raise SpecificationError(
            f"the {family.name} family has moments here, but no law to draw from or to sum over: use "
            "order='two-term' or order='averaged', and draw its data with software of your own."
        )
    return family.size


def log_base(family: Family, total: Array, number: Array) -> Array:
    """The terms free of η that `log_likelihood` leaves out, for binary and Poisson totals."""
    from scipy.special import gammaln

    if family.name == "poisson":
        return np.asarray(total * np.log(number) - gammaln(total + 1.0))
    return np.asarray(gammaln(number + 1.0) - gammaln(total + 1.0) - gammaln(number - total + 1.0))


def draw_totals(family: Family, mean: Array, number: Array, dispersion: float, rng: np.random.Generator) -> Array:
    """Totals of `number` independent responses of a given mean: every family is closed under sums."""
    number = np.broadcast_to(number, mean.shape)
    if family.name in ("bernoulli", "binomial"):
        return np.asarray(rng.binomial(number.astype(np.int64), mean), dtype=float)
    if family.name == "poisson":
        return np.asarray(rng.poisson(number * mean), dtype=float)
    if family.name == "gamma":
        return rng.gamma(number / dispersion, dispersion * mean)
    if family.name == "inverse-gaussian":
        return rng.wald(number * mean, number**2 / dispersion)
    if family.name == "gaussian":
        return rng.normal(number * mean, np.sqrt(number * dispersion))
    size = _finite_size(family)
    return np.asarray(rng.negative_binomial(number * size, size / (size + mean)), dtype=float)
