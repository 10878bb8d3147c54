"""Exact Fisher information of one grouping factor against enumeration, brute force and limits."""

import sys

import numpy as np
import pytest

import optdesign as od
from tests.oracles import exact_two_arm_variance, trapezium_normal, within_group_information


def arms(n, count=2.0):
    measure = od.Measure.grid(arm=[0, 1])
    return od.Design(od.Nested("g"), counts={"g": count}, replicates=n, measure=measure, levels={"arm": "g"})


@pytest.mark.parametrize(
    ("variance", "intercept", "n", "two", "averaged"),
    [
        (0.5, -1.5, 5, 1.0875, 0.9989),
        (0.5, -1.5, 20, 1.0350, 1.0044),
        (1.0, -3.0, 10, 1.4431, 1.0332),
        (2.0, -1.5, 5, 1.2699, 1.0205),
        (2.0, 0.0, 2, 1.1834, 0.9926),
    ],
)
@pytest.mark.filterwarnings("ignore::optdesign.AsymptoticRegimeWarning")
def test_two_arms(variance, intercept, n, two, averaged):
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "bernoulli"), od.NominalValues([intercept, 0.6], {"g": variance})
    found = od.accuracy(model, guess, arms(n))
    expected = exact_two_arm_variance((intercept, 0.6), variance, n)
    assert 2 * found.covariances["exact"].matrix[1, 1] == pytest.approx(expected, rel=1e-9)
    assert found.ratios("two-term")[1] == pytest.approx(two, abs=6e-5)
    assert found.ratios("averaged")[1] == pytest.approx(averaged, abs=6e-5)


@pytest.mark.parametrize("n", [10, 20])
def test_random_slope(n):
    sigma = ((0.5, 0.1), (0.1, 0.25))
    design = od.Design(od.Nested("g"), counts={"g": 1}, replicates=n, measure=od.Measure.grid(x=[0, 1]))
    model, guess = od.MixedModel("y ~ x + (1 + x | g)", "bernoulli"), od.NominalValues([-0.5, 0.3], {"g": sigma})
    expected = np.linalg.inv(within_group_information((-0.5, 0.3), sigma, n))
    np.testing.assert_allclose(od.covariance(model, guess, design, "exact", "all").matrix, expected, rtol=1e-7)


def test_many_observations_need_adaptive_quadrature():
    """n = 640 binary observations, σ² = 2, against a trapezium rule of 1,601 nodes."""
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "bernoulli"), od.NominalValues([-0.5, 0.6], {"g": 2.0})
    ours = od.covariance(model, guess, arms(640), "exact").matrix[1, 1]
    assert 2 * ours == pytest.approx(exact_two_arm_variance((-0.5, 0.6), 2.0, 640), rel=1e-6)


def test_poisson_counts_by_enumeration():
    """One observation per unit: the marginal law of y by a trapezium rule, its score by differences."""
    z, weight = trapezium_normal()
    y = np.arange(400.0)
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, 400.0)))])

    def probability(beta, variance):
        eta = beta + np.sqrt(variance) * z
        return np.exp(y[:, None] * eta - np.exp(eta) - log_factorial[:, None]) @ weight

    h = 1e-5
    base = probability(0.3, 0.4)
    score = np.stack(
        [
            (probability(0.3 + h, 0.4) - probability(0.3 - h, 0.4)) / (2 * h * base),
            (probability(0.3, 0.4 + h) - probability(0.3, 0.4 - h)) / (2 * h * base),
        ]
    )
    kept = base > 1e-14
    expected = np.linalg.inv((score[:, kept] * base[kept]) @ score[:, kept].T)
    model, guess = od.MixedModel("y ~ 1 + (1 | g)", "poisson"), od.NominalValues([0.3], {"g": 0.4})
    design = od.Design(od.Nested("g"), counts={"g": 1}, replicates=1)
    np.testing.assert_allclose(od.covariance(model, guess, design, "exact", "all").matrix, expected, rtol=1e-5)


def test_sampling_agrees_with_enumeration(monkeypatch):
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "bernoulli"), od.NominalValues([-0.5, 0.6], {"g": 1.0})
    full = np.diag(od.covariance(model, guess, arms(8), "exact", "all").matrix)
    monkeypatch.setattr(sys.modules["optdesign.covariance.exact"], "MOST_OUTCOMES", 1)
    sampled = od.covariance(model, guess, arms(8), "exact", "all", seed=5)
    assert (np.abs(np.diag(sampled.matrix) / full - 1) < 4 * sampled.monte_carlo_error).all()
    assert sampled.monte_carlo_error.max() < 0.02


@pytest.mark.parametrize("family", ["gamma", "inverse-gaussian"])
def test_orders_agree_for_continuous_responses_in_large_units(family):
    model = od.MixedModel("y ~ x + (1 | g)", family, "log")
    guess = od.NominalValues([-0.5, 0.3], {"g": 0.5}, 0.4)
    design = od.Design(od.Nested("g"), counts={"g": 1}, replicates=60, measure=od.Measure.grid(x=[0, 1]))
    exact = od.covariance(model, guess, design, "exact")
    for order in ("two-term", "averaged"):
        ratio = np.diag(od.covariance(model, guess, design, order).matrix) / np.diag(exact.matrix)
        np.testing.assert_allclose(ratio, 1.0, atol=0.03)


def test_observations_that_are_not_whole():
    model, guess = od.MixedModel("y ~ x + (1 | g)", "bernoulli"), od.NominalValues([0, 0], {"g": 1.0})
    design = od.Design(od.Nested("g"), counts={"g": 5}, replicates=3, measure=od.Measure.grid(x=[0, 1]))
    with pytest.raises(od.SpecificationError, match=r"whole numbers of observations.*point 1 has 1\.5"):
        od.covariance(model, guess, design, "exact")


def test_variance_on_the_boundary():
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "bernoulli"), od.NominalValues([0, 0], {"g": 0.0})
    with pytest.raises(od.SpecificationError, match="covariance of 'g' is singular"):
        od.covariance(model, guess, arms(4), "two-term", "all")


def test_order_far_from_the_best_warns():
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "bernoulli"), od.NominalValues([-3.0, 0.6], {"g": 1.0})
    with pytest.warns(od.AsymptoticRegimeWarning, match=r"order 'two-term' is \+\d+% from .* \(exact\)"):
        od.accuracy(model, guess, arms(10))
