"""Finite, positive definite and silent at the ends of what a study could be."""

from itertools import product

import numpy as np
import pytest

from optdesign import Design, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from optdesign.errors import SpecificationError
from tests.oracles import normal_mean

POINTS = Measure.grid(x=[0, 1], a=[0, 1])


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
@pytest.mark.parametrize("family", ["bernoulli", "poisson", "gaussian"])
@pytest.mark.parametrize(
    ("formula", "size"), [("y ~ x + (1 | g)", 1), ("y ~ a + (1 | g)", 1), ("y ~ x + (1 + x | g)", 2)]
)
def test_extreme_values_are_finite(formula, size, family, order):
    variances = (1e-6, 10.0)
    for variance, intercept, m, n in product(variances, (-8, 8), (2, 1e9), (1, 1e6)):
        guess = NominalValues([intercept, 0.5], {"g": variance * (0.7 * np.eye(size) + 0.3)})
        design = Design(Nested("g"), counts={"g": m}, replicates=n, measure=POINTS, levels={"a": "g"})
        cov = covariance(MixedModel(formula, family), guess, design, order=order)
        at = (variance, intercept, m, n)
        assert cov.inestimable == (), at
        assert np.isfinite(cov.matrix).all(), at
        correlation = cov.matrix / np.outer(cov.standard_errors, cov.standard_errors)
        assert np.linalg.eigvalsh(correlation).min() > 0, at


@pytest.mark.parametrize(
    ("family", "link"),
    [
        ("bernoulli", "probit"),
        ("bernoulli", "cloglog"),
        ("gamma", "log"),
        ("inverse-gaussian", "log"),
        ("negative-binomial", "log"),
    ],
)
@pytest.mark.parametrize(("formula", "size"), [("y ~ x + (1 | g)", 1), ("y ~ x + (1 + x | g)", 2)])
def test_extreme_values_of_other_families_and_links(formula, size, family, link):
    """Finite in every order but two terms, which are finite or refused as infinite."""
    model = MixedModel(formula, family, link=link, size=3.0 if family == "negative-binomial" else None)
    for variance, intercept, n in product((1e-6, 10.0), (-8, 8), (1, 1e6)):
        guess = NominalValues([intercept, 0.5], {"g": variance * (0.7 * np.eye(size) + 0.3)})
        design = Design(Nested("g"), counts={"g": 1e9}, replicates=n, measure=POINTS)
        for order in ("leading", "averaged"):
            assert np.isfinite(covariance(model, guess, design, order=order).matrix).all()
        if (link, variance) in (("probit", 10.0), ("cloglog", 10.0), ("cloglog", 1e-6)):
            with pytest.raises(SpecificationError, match="second term is infinite"):
                covariance(model, guess, design)
        else:
            assert np.isfinite(covariance(model, guess, design).matrix).all()


@pytest.mark.parametrize("n", [4, 1e4])
@pytest.mark.parametrize("variance", [0.5, 2.0, 4.0, 10.0])
@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_second_term_of_a_random_slope_keeps_its_digits(family, variance, n):
    """x ∈ {0, 1}: K = 2[a, −a; −a, a + b] with a = E 1/w at x = 0 and b = E 1/w at x = 1, both known in closed form."""
    sigma = variance * np.array([[1.0, 0.3], [0.3, 1.0]])
    inverse_weight = {
        "poisson": lambda mean, v: np.exp(-mean + v / 2),
        "bernoulli": lambda mean, v: 2 + 2 * np.exp(v / 2) * np.cosh(mean),
    }[family]
    a, b = inverse_weight(-3.0, variance), inverse_weight(-2.5, sigma.sum())
    design = Design(Nested("g"), counts={"g": 40}, replicates=n, measure=Measure.grid(x=[0, 1]))
    ours = covariance(MixedModel("y ~ x + (1 + x | g)", family), NominalValues([-3.0, 0.5], {"g": sigma}), design)
    expected = (sigma + 2 * np.array([[a, -a], [-a, a + b]]) / n) / 40
    np.testing.assert_allclose(ours.matrix, expected, rtol=1e-7)


@pytest.mark.parametrize("n", [1, 100, 1e4, 1e6])
@pytest.mark.parametrize("intercept", [-8, -3, 0])
@pytest.mark.parametrize("variance", [0.5, 2.0, 10.0])
def test_averaged_information_keeps_its_digits_in_large_units(variance, intercept, n):
    """1/E{1/(σ² + 1/(n w))} for an intercept alone, whatever the number of observations in a unit."""
    weight = lambda u: 1 / (2 + 2 * np.cosh(intercept + u))  # noqa: E731
    design, guess = Design(Nested("g"), counts={"g": 1}, replicates=n), NominalValues([intercept], {"g": variance})
    ours = covariance(MixedModel("y ~ 1 + (1 | g)", "bernoulli"), guess, design, order="averaged").matrix[0, 0]
    assert ours == pytest.approx(1 / normal_mean(lambda u: 1 / (variance + 1 / (n * weight(u))), variance), rel=1e-8)


GAUSSIAN_SLOPE = MixedModel("y ~ x + (1 + x | g)"), NominalValues([0, 0], {"g": [[0.3, 0.1], [0.1, 0.3]]})


@pytest.mark.parametrize(("order", "reml"), [("leading", False), ("two-term", False), ("two-term", True)])
@pytest.mark.parametrize("values", [[-1, 1], [1]])
def test_components_of_a_slope_on_what_is_constant_in_a_unit_are_named(values, order, reml):
    design = Design(Nested("g"), counts={"g": 8}, replicates=4, measure=Measure.grid(x=values), levels={"x": "g"})
    found = covariance(*GAUSSIAN_SLOPE, design, order, parameters="all", reml=reml)
    exact = covariance(*GAUSSIAN_SLOPE, design, "exact", parameters="all", reml=reml)
    assert found.inestimable == exact.inestimable
    assert "var(x | g)" in found.inestimable


def test_single_observations_leave_no_residual_variance():
    design = Design(Nested("g"), counts={"g": 8}, replicates=1, measure=Measure.grid(x=[-1, 1]))
    found = covariance(*GAUSSIAN_SLOPE, design, "two-term", parameters="all", reml=True)
    assert "dispersion" in found.inestimable
