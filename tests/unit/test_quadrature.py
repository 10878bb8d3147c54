"""Rules for normal random effects and for the laws of covariates."""

import math

import numpy as np
import pytest
import scipy.stats as st
from scipy.special import factorial2

from optdesign.errors import SpecificationError
from optdesign.quadrature import ladder, law_rule, normal_rule


@pytest.mark.parametrize("nodes", [3, 9, 25, 61, 161])
def test_normal_moments(nodes):
    points, weights = normal_rule(1, nodes)
    assert weights.sum() == pytest.approx(1, rel=1e-13)
    for k in range(1, min(nodes, 10)):
        assert weights @ points[:, 0] ** (2 * k) == pytest.approx(factorial2(2 * k - 1), rel=1e-11)
        assert weights @ points[:, 0] ** (2 * k - 1) == pytest.approx(0, abs=1e-9 * factorial2(2 * k - 1))


def test_product_rule_has_independent_coordinates():
    points, weights = normal_rule(3, 5)
    assert points.shape == (125, 3)
    np.testing.assert_allclose((points * weights[:, None]).T @ points, np.eye(3), atol=1e-12)
    assert weights @ (points[:, 0] ** 2 * points[:, 1] ** 4) == pytest.approx(3)


def test_no_random_effect_is_one_empty_node():
    points, weights = normal_rule(0, 1)
    assert points.shape == (1, 0)
    np.testing.assert_array_equal(weights, [1])


@pytest.mark.parametrize("dimension", [0, 1, 2, 3])
def test_cached_rules_cannot_be_changed(dimension):
    for array in normal_rule(dimension, 3):
        assert not array.flags.writeable


@pytest.mark.parametrize("dimension", range(6))
def test_ladder_climbs(dimension):
    rungs = ladder(dimension)
    assert list(rungs) == sorted(set(rungs))


def rising(a, k):
    return math.prod(a + i for i in range(k))


NORMAL = (1, 0, 1, 0, 3, 0, 15)
LAWS = {
    "gamma": (st.gamma(7), lambda k: rising(7, k)),
    "gamma below one": (st.gamma(0.5, scale=2), lambda k: 2**k * rising(0.5, k)),
    "exponential": (st.expon(scale=3), lambda k: 3**k * math.factorial(k)),
    "standard normal": (st.norm(), lambda k: NORMAL[k]),
    "normal": (st.norm(1, 2), lambda k: sum(math.comb(k, j) * 2**j * NORMAL[j] for j in range(k + 1))),
    "beta": (st.beta(2, 5), lambda k: rising(2, k) / rising(7, k)),
    "arcsine": (st.beta(0.5, 0.5), lambda k: rising(0.5, k) / rising(1, k)),
    "uniform": (st.uniform(-1, 2), lambda k: 0 if k % 2 else 1 / (k + 1)),
    "lognormal": (st.lognorm(0.5), lambda k: math.exp(k * k / 8)),
    "Bernoulli": (st.bernoulli(0.3), lambda k: 0.3),
    "binomial": (st.binom(6, 0.4), lambda k: sum(math.comb(6, j) * 0.4**j * 0.6 ** (6 - j) * j**k for j in range(7))),
    "Poisson": (st.poisson(3), lambda k: [3, 12, 57, 309, 1866, 12351][k - 1]),
    "rare Poisson": (st.poisson(0.1), lambda k: [0.1, 0.11, 0.131, 0.1761, 0.27601, 0.506651][k - 1]),
}


@pytest.mark.parametrize("name", LAWS)
def test_moments_of_laws(name):
    law, moment = LAWS[name]
    points, weights = law_rule(law, 20)
    assert weights.sum() == pytest.approx(1, rel=1e-13)
    assert (weights > 0).all()
    for k in range(1, 7):
        scale = weights @ np.abs(points) ** k
        assert weights @ points**k == pytest.approx(moment(k), abs=1e-12 * scale), k


@pytest.mark.parametrize("mean", [0.5, 3.0, 30.0, 200.0])
def test_poisson_laws_are_enumerated(mean):
    points, weights = law_rule(st.poisson(mean), 20)
    np.testing.assert_array_equal(np.diff(points), 1)
    assert weights @ np.exp(0.3 * points) == pytest.approx(np.exp(mean * math.expm1(0.3)), rel=1e-9)


@pytest.mark.parametrize("law", [st.randint(2, 6), st.geom(0.4), st.nbinom(3, 0.4), st.bernoulli(1.0)])
def test_discrete_laws_are_enumerated(law):
    points, weights = law_rule(law, 5)
    assert weights @ points == pytest.approx(law.mean(), rel=1e-12)
    assert weights @ (points - law.mean()) ** 2 == pytest.approx(law.var(), rel=1e-11, abs=1e-15)


def test_expectations_of_analytic_functions_converge():
    """E exp(tX) for X ~ Gamma(3, 1/5) is (1 − t/5)⁻³."""
    points, weights = law_rule(st.gamma(3, scale=0.2), 20)
    assert weights @ np.exp(0.8 * points) == pytest.approx((1 - 0.16) ** -3, rel=1e-12)


@pytest.mark.parametrize("law", [st.cauchy(), st.t(2), st.pareto(1.5)])
def test_law_without_a_variance_is_refused(law):
    with pytest.raises(SpecificationError, match=rf"law {law.dist.name} has no finite variance.*truncate it"):
        law_rule(law, 20)


@pytest.mark.parametrize("law", [st.norm, 3, "norm(0, 1)", None])
def test_something_that_is_no_law_is_refused(law):
    with pytest.raises(SpecificationError, match=r"frozen scipy\.stats distribution.*got"):
        law_rule(law, 20)


def test_support_too_wide_to_enumerate():
    with pytest.raises(SpecificationError, match="law randint is too wide to enumerate: truncate it"):
        law_rule(st.randint(0, 10**8), 20)


@pytest.mark.parametrize("nodes", [0, -3])
def test_number_of_nodes_must_be_positive(nodes):
    with pytest.raises(SpecificationError, match=f"nodes.*{nodes}"):
        law_rule(st.norm(), nodes)
