"""Where the second term is infinite, and what the other orders give there."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_ndtr, logsumexp

import optdesign as od
from optdesign.covariance.encoded import encode
from optdesign.covariance.nested import information_of
from optdesign.families import FAMILIES, LINKS
from tests.oracles import normal_mean

BERNOULLI = FAMILIES["bernoulli"]
X = od.Measure.grid(x=[-1, 1])


def covariance(formula, link, sigma, order="two-term", beta=(-0.3, 0.4), replicates=10, **more):
    model = od.MixedModel(formula, "bernoulli", link=link)
    design = od.Design(od.Nested("g"), counts={"g": 10}, replicates=replicates, measure=X)
    return od.covariance(model, od.NominalValues(beta, {"g": sigma}), design, order, **more)


def refused(*arguments, **more):
    try:
        covariance(*arguments, **more)
    except od.SpecificationError as error:
        return re.search("second term is infinite .* 'averaged' .* 'exact'", str(error)) is not None
    return False


def log_weight(link, eta):
    if link == "probit":
        return -(eta**2) - np.log(2 * np.pi) - log_ndtr(eta) - log_ndtr(-eta)
    s = np.exp(np.clip(eta, -30.0, 690.0))
    return np.where(eta < -30.0, eta, 2 * eta - s - np.log(-np.expm1(-s)))


@pytest.mark.parametrize("link", ["probit", "cloglog"])
@pytest.mark.parametrize(("shift", "spread"), [(0.7, 0.0), (-0.8, 0.5), (0.9, 2.0), (1.6, 0.5), (-0.8, 0.0)])
def test_rate_at_which_a_weight_vanishes(link, shift, spread):
    """−2 log E w(at + v) over t², by a fine sum over v in logarithms, against the rate of the link."""

    def log_mean(t):
        v = np.linspace(-2, 2, 400_001) * t if spread else np.zeros(1)
        return logsumexp(log_weight(link, shift * t + v) - (v**2 / (2 * spread) if spread else 0.0))

    rate = float(LINKS[link].decay(np.array(shift), np.array(spread)))
    if np.isinf(rate):
        assert -2 * log_mean(50.0) / 50.0**2 > 1e6
    else:
        assert -2 * log_mean(400.0) / 400.0**2 == pytest.approx(rate, rel=0.03, abs=0.03)


@pytest.mark.parametrize("parameters", ["fixed", "all"])
@pytest.mark.parametrize("order", ["two-term"])
def test_random_intercepts(order, parameters):
    """E 1/w ~ ∫ exp{u²(1 − 1/σ²)/2}/|u| du: finite below σ² = 1 for probit, never for cloglog."""
    for variance, infinite in ((0.5, False), (0.9, False), (1.0, True), (1.5, True), (9.0, True)):
        assert refused("y ~ x + (1 | g)", "probit", variance, order, parameters=parameters) == infinite
        assert not refused("y ~ x + (1 | g)", "logit", variance, order, parameters=parameters)
        assert refused("y ~ x + (1 | g)", "cloglog", variance / 50, order, parameters=parameters)
        assert not refused("y ~ x + (1 | g)", "cloglog", 0.0, order)


@pytest.mark.parametrize("variance", [0.3, 0.7, 0.9])
def test_two_terms_are_right_up_to_the_limit(variance):
    u = np.linspace(-36, 36, 100_001)
    density = np.exp(-(u**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    inverse = (density / BERNOULLI.weights["probit"](-0.3 + u)).sum() * (u[1] - u[0])
    found = covariance("y ~ 1 + (1 | g)", "probit", variance, beta=[-0.3])
    assert found.matrix[0, 0] == pytest.approx(variance / 10 + inverse / 100, rel=1e-6)


def test_quadrature_that_has_not_settled_says_so():
    assert covariance("y ~ x + (1 | g)", "probit", 0.9).notes == ()
    assert "has not settled" in covariance("y ~ x + (1 | g)", "probit", 0.99).notes[0]


def test_a_slope_alone_is_seen_from_either_side():
    """Σ_x w(xu): one of x = ±1 keeps a weight of e^{−|u|}, whatever the sign of u."""
    assert not refused("y ~ 1 + (0 + x | g)", "cloglog", 1.0, beta=[-0.3])
    weight = BERNOULLI.weights["cloglog"]
    mean = normal_mean(lambda u: 1 / (weight(np.asarray(-0.3 + u)) + weight(np.asarray(-0.3 - u))), 1.0)
    model = od.MixedModel("y ~ 0 + x + (0 + x | g)", "bernoulli", link="cloglog", offset="e")
    design = od.Design(od.Nested("g"), counts={"g": 10}, replicates=10, measure=od.Measure.grid(x=[-1, 1], e=[-0.3]))
    found = od.covariance(model, od.NominalValues([0.0], {"g": 1.0}), design)
    assert found.matrix[0, 0] == pytest.approx(0.1 + 2 * mean / 100, rel=1e-6)


@pytest.mark.parametrize(
    ("sigma", "infinite"),
    [([[0.4, 0], [0, 0.4]], False), ([[0.6, 0], [0, 0.6]], True), ([[0.8, -0.3], [-0.3, 0.3]], True)],
)
def test_intercept_and_slope(sigma, infinite):
    """Both points are needed: the larger of the variances Σ₀₀ ± 2Σ₀₁ + Σ₁₁ of their predictors must be below one.

    Against the mean of 1/w at each point, which grows without bound as its integral is cut off further out.
    """
    assert refused("y ~ x + (1 + x | g)", "probit", sigma) == infinite
    variance = max(np.array([1, s]) @ sigma @ [1, s] for s in (-1, 1))

    def cut(t):
        u = np.linspace(-t, t, 20_001)
        return (np.exp(-(u**2) / (2 * variance)) / BERNOULLI.weights["probit"](u)).sum() * (u[1] - u[0])

    assert (cut(24.0) > 1.001 * cut(12.0)) == infinite


@pytest.mark.parametrize(("rows", "columns", "infinite"), [(0.9, 0.5, False), (1.2, 0.5, False), (1.7, 0.6, True)])
def test_crossed_weights_are_averaged_over_the_other_factor(rows, columns, infinite):
    """A row's weight, averaged over columns, falls like exp{−u²/(2 + 2σ'²)}: finite where σ² < 1 + σ'²."""
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "bernoulli", link="probit")
    guess = od.NominalValues([-0.3, 0.4], {"s": rows, "i": columns})
    design = od.Design(od.Crossed("s", "i"), counts={"s": 20, "i": 20}, replicates=1, measure=X)
    frame = pd.DataFrame([(s, i, (-1) ** (s + i)) for s in range(6) for i in range(6)], columns=["s", "i", "x"])
    for compute in (
        lambda order: od.covariance(model, guess, design, order),
        lambda order: od.covariance(model, guess, design, order, parameters="all"),
        lambda order: od.covariance_of_frame(model, guess, frame, order),
    ):
        assert np.isfinite(compute("leading").matrix).all()
        if infinite:
            with pytest.raises(od.SpecificationError, match="second term is infinite"):
                compute("two-term")
        else:
            assert np.isfinite(compute("two-term").matrix).all()


@pytest.mark.parametrize(("school", "class_", "infinite"), [(0.4, 0.5, False), (0.6, 0.5, True)])
def test_nested_factors_add_up(school, class_, infinite):
    model = od.MixedModel("y ~ x + (1 | school) + (1 | class)", "bernoulli", link="probit")
    guess = od.NominalValues([-0.3, 0.4], {"school": school, "class": class_})
    design = od.Design(od.Nested("school", "class"), counts={"school": 9, "class": 3}, replicates=8, measure=X)
    if infinite:
        with pytest.raises(od.SpecificationError, match="second term is infinite"):
            od.covariance(model, guess, design)
    else:
        assert np.isfinite(od.covariance(model, guess, design).matrix).all()


def test_the_search_asks_the_same_question():
    """Where its information is made, before any design is evaluated."""
    region = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=[-1, 0, 1])).region
    rows = encode(
        od.MixedModel("y ~ x + (1 | g)", "bernoulli", link="probit"), od.NominalValues([0, 1], {"g": 2}), region, 9
    )
    with pytest.raises(od.SpecificationError, match="second term is infinite"):
        information_of(rows, "two-term")


@pytest.mark.parametrize(("link", "variance"), [("cloglog", 0.6), ("cloglog", 9.0), ("probit", 4.0), ("probit", 9.0)])
def test_leading_order_where_weights_underflow(link, variance):
    """C_B = 1/E S(U) with S = w₊w₋/(w₊ + w₋) for x = ±1 and a random intercept; nodes without weight add nothing."""
    weight = BERNOULLI.weights[link]

    def harmonic(u):
        plus, minus = weight(np.asarray(0.1 + u)), weight(np.asarray(-0.7 + u))
        return 2 * plus * minus / np.maximum(plus + minus, 1e-300)

    found = covariance("y ~ x + (1 | g)", link, variance, "leading")
    assert found.matrix[0, 0] == pytest.approx(variance / 10, rel=1e-12)
    settled = not found.notes
    within = 1 / (100 * normal_mean(harmonic, variance))
    assert found.matrix[1, 1] == pytest.approx(within, rel=1e-6 if settled else 1e-3)
    assert settled == ((link, variance) != ("cloglog", 9.0))
    assert np.isfinite(covariance("y ~ x + (1 | g)", link, variance, "averaged").matrix).all()


def test_accuracy_compares_what_exists():
    model = od.MixedModel("y ~ x + (1 | g)", "bernoulli", link="cloglog")
    design = od.Design(od.Nested("g"), counts={"g": 10}, replicates=4, measure=X)
    guess = od.NominalValues([-0.3, 0.4], {"g": 0.5})
    found = od.accuracy(model, guess, design, "averaged")
    assert list(found.covariances) == ["leading", "averaged", "exact"]
    assert (np.abs(found.ratios("averaged") - 1) < 0.1).all()
    with pytest.raises(od.SpecificationError, match="second term is infinite"):
        od.accuracy(model, guess, design)
