"""Ratios of approximate to exact variances, as printed in the theory's table of accuracy (§6)."""

import numpy as np
import pytest

from optdesign import Design, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from tests.oracles import exact_two_arm_variance, within_group_information

CLUSTER = MixedModel("y ~ arm + (1 | g)", "bernoulli")
WITHIN = MixedModel("y ~ x + (1 + x | g)", "bernoulli")
SIGMA = ((0.5, 0.1), (0.1, 0.25))


ORDERS = ("two-term", "averaged")


def two_arms(n):
    return Design(Nested("g"), [Group(0.5, n, at={"arm": arm}) for arm in (0, 1)])


@pytest.mark.parametrize(
    ("variance", "intercept", "n", "two_term", "averaged"),
    [
        (0.5, -1.5, 5, 1.0875, 0.9989),
        (0.5, -1.5, 20, 1.0350, 1.0044),
        (1.0, -3.0, 10, 1.4431, 1.0332),
        (2.0, -1.5, 5, 1.2699, 1.0205),
        (2.0, 0.0, 2, 1.1834, 0.9926),
    ],
)
def test_cluster_level_treatment(variance, intercept, n, two_term, averaged):
    """Half of the clusters per arm, effect .6, Bernoulli, random intercept."""
    beta = (intercept, 0.6)
    exact = exact_two_arm_variance(beta, variance, n)
    guess = NominalValues(beta, {"g": variance})
    ratio = {o: covariance(CLUSTER, guess, two_arms(n), order=o).variance({"arm": 1}) / exact for o in ORDERS}
    assert ratio["two-term"] == pytest.approx(two_term, abs=5.1e-5)
    assert ratio["averaged"] == pytest.approx(averaged, abs=5.1e-5)


@pytest.mark.parametrize(("intercept", "n", "variance", "expected"), [(-1.5, 20, 1.0, 1.045), (0.0, 20, 1.0, 1.012)])
def test_two_term_for_a_two_arm_cluster_trial(intercept, n, variance, expected):
    beta = (intercept, 0.6)
    approximate = covariance(CLUSTER, NominalValues(beta, {"g": variance}), two_arms(n)).variance({"arm": 1})
    assert approximate / exact_two_arm_variance(beta, variance, n) == pytest.approx(expected, abs=5.1e-4)


def within(intercept, n, order):
    design = Design(Nested("g"), counts={"g": 1}, replicates=n, measure=Measure.grid(x=[0, 1]))
    guess = NominalValues([intercept, 0.3], {"g": SIGMA})
    return np.diag(covariance(WITHIN, guess, design, order=order).matrix)


@pytest.mark.parametrize(
    ("intercept", "n", "order", "expected"),
    [
        (-0.5, 10, "two-term", (0.998, 1.033)),
        (-0.5, 10, "averaged", (0.973, 0.979)),
        (-0.5, 40, "two-term", (1.004, 1.027)),
        (-0.5, 40, "averaged", (0.995, 0.994)),
        (-1.5, 4, "two-term", (0.568, 0.625)),
        (-1.5, 4, "averaged", (0.487, 0.505)),
    ],
)
def test_within_group_covariate_with_a_random_slope(intercept, n, order, expected):
    """x ∈ {0, 1}, n/2 observations at each; Σ is unknown and estimated too."""
    information = within_group_information((intercept, 0.3), SIGMA, n)
    exact = np.diag(np.linalg.inv(information))[:2]
    np.testing.assert_allclose(within(intercept, n, order) / exact, expected, atol=5.1e-4)


def test_averaged_information_is_close_to_exact_once_the_covariance_is_known():
    """At β₀ = −1.5, n = 4 only the coupling with Σ̂ is missing: with Σ known the ratio is 1.005 at most."""
    information = within_group_information((-1.5, 0.3), SIGMA, 4)[:2, :2]
    exact = np.diag(np.linalg.inv(information))
    np.testing.assert_allclose(within(-1.5, 4, "averaged") / exact, 1.0, atol=5.5e-3)
