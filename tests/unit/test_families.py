"""Families, links and conditional Fisher weights."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import optdesign as od
from optdesign.errors import SpecificationError
from optdesign.families import FAMILIES, LINKS, Family, Link, family_named, fisher_weight, link_named

CANONICAL = sorted(FAMILIES)


ALL_FAMILIES = {**FAMILIES, "negative-binomial": family_named("negative-binomial", 1.7)}
PAIRS = [(family, link) for family in ALL_FAMILIES.values() for link in family.links.values()]
NAMES = [f"{family.name}-{link.name}" for family, link in PAIRS]


def inside(link, eta):
    """The predictor moved into the link's domain."""
    low, _ = link.domain
    return eta if link.everywhere else (abs(eta) + 0.05 if low == 0.0 else -abs(eta) - 0.05)


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=NAMES)
@given(eta=st.floats(-4, 1.5))
def test_weight_is_slope_squared_over_variance(family, link, eta):
    """(dμ/dη)²/V(μ), which is b''(η) for a canonical link in its usual scale."""
    at = np.array([inside(link, eta)])
    expected = link.slope(at) ** 2 / family.variance(link.mean(at))
    np.testing.assert_allclose(fisher_weight(family, link, at), expected, rtol=1e-6)


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=NAMES)
@given(eta=st.floats(-600, 600))
def test_weight_is_finite_and_not_negative_far_out(family, link, eta):
    """No overflow, no cancellation to a negative number or to nan, wherever the weight itself can be represented."""
    at = np.array([inside(link, eta if link.name != "log" else eta / 2)])
    assert 0.0 <= fisher_weight(family, link, at)[0] < np.inf


def log_density(family, link, y, eta):
    """Log density up to terms free of η, from the families' textbook forms."""
    mu = link.mean(np.asarray(eta))
    k = 1.7
    return {
        "gaussian": lambda: -0.5 * (y - mu) ** 2,
        "bernoulli": lambda: y * np.log(mu) + (1 - y) * np.log1p(-mu),
        "binomial": lambda: y * np.log(mu) + (1 - y) * np.log1p(-mu),
        "poisson": lambda: y * np.log(mu) - mu,
        "gamma": lambda: -y / mu - np.log(mu),
        "inverse-gaussian": lambda: -y / (2 * mu**2) + 1 / mu,
        "negative-binomial": lambda: y * np.log(mu) - (y + k) * np.log(mu + k),
    }[family.name]()


@pytest.mark.parametrize(("family", "link"), PAIRS, ids=NAMES)
def test_weight_is_minus_the_expected_curvature_of_the_log_density(family, link):
    """The log density is linear in y, so its expected curvature is the curvature at y = μ. Dispersion 1."""
    eta, h = inside(link, 0.7), 1e-4
    y = float(link.mean(np.array(eta)))
    near = [float(log_density(family, link, y, eta + step)) for step in (-h, 0.0, h)]
    curvature = -(near[0] - 2 * near[1] + near[2]) / h**2
    assert float(fisher_weight(family, link, np.array([eta]))[0]) == pytest.approx(curvature, rel=1e-5)


@pytest.mark.parametrize("name", sorted(LINKS))
@given(eta=st.floats(-10, 10))
def test_slope_is_the_derivative_of_the_mean(name, eta):
    link, h = LINKS[name], 1e-6
    eta = inside(link, eta)
    difference = (link.mean(np.array([eta + h])) - link.mean(np.array([eta - h]))) / (2 * h)
    np.testing.assert_allclose(link.slope(np.array([eta])), difference, rtol=1e-5, atol=1e-9)


@given(eta=st.floats(-700, 700))
def test_logistic_weight_is_even_and_keeps_its_digits_in_the_tails(eta):
    family, link = FAMILIES["bernoulli"], LINKS["logit"]
    ours = fisher_weight(family, link, np.array([eta, -eta]))
    assert ours[0] == ours[1]
    np.testing.assert_allclose(np.log(ours[0]), -abs(eta) - 2 * np.log1p(np.exp(-abs(eta))), rtol=1e-12)


def test_logistic_weight_does_not_overflow():
    np.testing.assert_array_equal(
        fisher_weight(FAMILIES["bernoulli"], LINKS["logit"], np.array([-1e6, 0.0, 1e6])), [0.0, 0.25, 0.0]
    )


def test_weight_keeps_the_shape_of_the_predictor():
    assert fisher_weight(FAMILIES["poisson"], LINKS["log"], np.zeros((3, 4))).shape == (3, 4)


def test_which_families_have_a_dispersion():
    assert [n for n in ALL_FAMILIES if ALL_FAMILIES[n].has_dispersion] == ["gaussian", "gamma", "inverse-gaussian"]


@pytest.mark.parametrize("dispersion", [1e-6, 0.01, 0.049, 0.051, 0.3, 2.0, 40.0])
def test_variance_of_the_gamma_dispersion(dispersion):
    """1/{2d'/ϕ + d''} with d = log Γ(1/ϕ) + log(ϕ)/ϕ, from sums of 1/(1/ϕ + k)² in extended precision."""
    shape = 1.0 / dispersion
    terms = shape + np.arange(200_000, dtype=np.longdouble)
    end = shape + np.longdouble(200_000)
    trigamma = np.sum(1 / terms**2) + 1 / end + 1 / (2 * end**2) + 1 / (6 * end**3)
    expected = np.longdouble(dispersion) ** 4 / (trigamma - np.longdouble(dispersion))
    assert FAMILIES["gamma"].dispersion_variance(dispersion) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["gaussian", "inverse-gaussian"])
def test_variance_of_the_other_dispersions(name):
    assert FAMILIES[name].dispersion_variance(0.3) == pytest.approx(0.18)


def test_names_are_read_in_any_case():
    assert family_named("Poisson") is FAMILIES["poisson"]


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(SpecificationError, match=r"family 'poison'.*Did you mean 'poisson'\?.*'gaussian'.*'bernoulli'"):
        family_named("poison")


def test_link_without_a_theory_names_the_one_to_use():
    with pytest.raises(SpecificationError, match=r"link 'identity'.*poisson family: use 'log'"):
        link_named("identity", FAMILIES["poisson"])


def test_families_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FAMILIES["poisson"].name = "other"


@pytest.fixture
def two_choice(monkeypatch):
    """A forced choice between two, half of the guesses right: a family that is not among those known."""

    def mean(eta):
        return 0.5 + 0.5 * LINKS["logit"].mean(eta)

    def slope(eta):
        return 0.5 * LINKS["logit"].slope(eta)

    def variance(mu):
        return mu * (1 - mu)

    def weight(eta):
        return slope(eta) ** 2 / variance(mean(eta))

    family = Family(
        "two-choice", "guessing", variance, {"guessing": weight}, {"guessing": Link("guessing", mean, slope)}
    )
    monkeypatch.setitem(FAMILIES, "two-choice", family)
    return od.MixedModel("correct ~ x", family="two-choice")


def test_a_family_of_ones_own_is_planned_for(two_choice):
    """The D-optimal design of two parameters has two points of equal weight, at the maximum of w(a)w(b)(a − b)²."""

    def weight(eta):
        hit = 0.5 + 0.5 / (1 + np.exp(-eta))
        return 0.25 * (np.exp(-eta) / (1 + np.exp(-eta)) ** 2) ** 2 / (hit * (1 - hit))

    def loss(points):
        a, b = points
        return -np.log(weight(a) * weight(b) * (a - b) ** 2)

    expected = np.sort(minimize(loss, [-1.0, 2.0], tol=1e-10).x)
    space = od.DesignSpace(None, od.Candidates.region(x=(-4, 6)))
    best = od.optimize(two_choice, od.NominalValues([0, 1]), space, od.DOptimality(), od.Cost(observation=1), 100)
    np.testing.assert_allclose(best.design.groups[0].measure.points["x"], expected, atol=1e-3)


def test_a_family_without_a_law_is_not_taken_for_a_negative_binomial(two_choice):
    random = od.MixedModel("correct ~ x + (1 | observer)", family="two-choice")
    guess = od.NominalValues([0, 1], {"observer": 0.3})
    design = od.Design(
        od.Nested("observer"), counts={"observer": 40}, replicates=4, measure=od.Measure.grid(x=[0.0, 2.0])
    )
    with pytest.raises(SpecificationError, match="no law to draw from"):
        od.covariance(random, guess, design, order="exact")
    with pytest.raises(SpecificationError, match="no law to draw from"):
        od.draw_data(random, guess, design, seed=1)
    assert "exact" not in od.accuracy(random, guess, design).to_frame()
