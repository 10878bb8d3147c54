"""The Gaussian variational approximation against maximum likelihood, finite differences and integrals in full."""

from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, gammaln
from scipy.stats import binom, poisson

import optdesign as od
from tests.oracles import trapezium_normal

bounds = import_module("optdesign.fit.bound")
gva = import_module("optdesign.fit.gva")
rows_module = import_module("optdesign.fit.rows")

SLOPES = od.NominalValues([-0.5, 0.3, 0.2], {"g": [[0.5, 0.1], [0.1, 0.25]]})
POINTS = od.Measure.grid(x=[0, 1], w=[0, 1])


def drawn(family, formula="y ~ x + w + (1 + x | g)", groups=30, size=20, guess=SLOPES, seed=1, **options):
    model = od.MixedModel(formula, family, **options)
    design = od.Design(od.Nested("g"), counts={"g": groups}, replicates=size, measure=POINTS)
    return model, od.draw_data(model, guess, design, seed)


def bound_of(model, data):
    frame, _ = rows_module.used_rows(model, data)
    rows = rows_module.rows_of(model, frame)
    X, _ = gva._scaled(rows.fixed, rows.names)
    Z, _ = gva._scaled(rows.random["g"], rows.random_names["g"])
    return gva._bound_of(model, rows, rows_module.response_of(model, frame), X, Z)


def differences(function, at, step=1e-5):
    """Central differences, one row per coordinate."""
    return np.array([(function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(len(at))])


def mixed_data(family):
    """Unequal groups, an offset, a covariate that never repeats, and numbers of trials."""
    rng = np.random.default_rng(5)
    unit = np.repeat(np.arange(12), rng.integers(3, 12, 12))
    data = pd.DataFrame({"g": unit, "x": rng.normal(size=len(unit)), "t": rng.integers(1, 5, len(unit))})
    data["o"] = rng.normal(scale=0.3, size=len(unit))
    eta = 0.2 + data["o"] + rng.normal(size=12)[unit] + (0.4 + rng.normal(size=12)[unit]) * data["x"]
    data["y"] = rng.binomial(data["t"], expit(eta)) if family == "binomial" else rng.poisson(np.exp(eta))
    size = {"size": "t"} if family == "binomial" else {}
    return od.MixedModel("y ~ x + (1 + x | g)", family, offset="o", **size), data


@pytest.mark.parametrize("baseline", [-0.5, 1.0])
def test_counts_agree_with_maximum_likelihood_at_twenty_observations(baseline):
    guess = od.NominalValues([baseline, 0.3, 0.2], dict(SLOPES.covariance))
    model, data = drawn("poisson", guess=guess, groups=60)
    ml, found = od.fit(model, data), od.fit(model, data, method="gva")
    np.testing.assert_allclose(found.beta, ml.beta, atol=1e-3)
    np.testing.assert_allclose(found.standard_errors, ml.standard_errors, rtol=5e-3)
    np.testing.assert_allclose(found.random_covariance["g"], ml.random_covariance["g"], atol=1e-2)


def test_one_random_intercept_of_counts_agrees_to_three_digits():
    guess = od.NominalValues([0.5, 0.3, 0.2], {"g": 0.4})
    model, data = drawn("poisson", "y ~ x + w + (1 | g)", guess=guess, groups=60)
    ml, found = od.fit(model, data), od.fit(model, data, method="gva")
    np.testing.assert_allclose(found.beta, ml.beta, rtol=1e-3)
    np.testing.assert_allclose(found.standard_errors, ml.standard_errors, rtol=1e-3)
    np.testing.assert_allclose(found.random_covariance["g"], ml.random_covariance["g"], atol=5e-4)


def test_binary_responses_come_nearer_as_groups_grow():
    worst = []
    for size in (8, 32, 128):
        model, data = drawn("bernoulli", size=size)
        ml, found = od.fit(model, data), od.fit(model, data, method="gva")
        worst.append(np.abs(found.random_covariance["g"] - ml.random_covariance["g"]).max())
    assert worst[0] > 3 * worst[1] > 9 * worst[2]


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_derivatives_are_those_of_finite_differences(family):
    model, data = mixed_data(family)
    bound = bound_of(model, data)
    theta = np.array([0.1, -0.3, 0.8, 0.3, -0.4])
    psi = bound.start_units + 0.1 * np.random.default_rng(2).normal(size=bound.start_units.shape)
    here = bound.at(theta, psi)

    def first_unit(values):
        return bound.at(theta, np.vstack([values, psi[1:]]))

    inner = differences(lambda values: first_unit(values).by_unit.sum(), psi[0])
    np.testing.assert_allclose(here.inner_gradient[0], inner, atol=1e-7)
    inner = differences(lambda values: first_unit(values).inner_gradient[0], psi[0])
    np.testing.assert_allclose(here.inner_hessian[0], inner, atol=1e-6)
    outer = differences(lambda values: bound.at(values, psi).by_unit.sum(), theta)
    np.testing.assert_allclose(here.gradient, outer, atol=1e-6)

    def profile(values):
        return bound.maximised(values, psi)

    best = profile(theta)
    np.testing.assert_allclose(best.inner_gradient, 0.0, atol=1e-7)
    np.testing.assert_allclose(best.gradient, differences(lambda v: profile(v).by_unit.sum(), theta), atol=1e-6)
    np.testing.assert_allclose(best.profile_hessian, differences(lambda v: profile(v).gradient, theta), atol=1e-5)


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_derivatives_vanish_at_the_fit(family):
    model, data = mixed_data(family)
    bound = bound_of(model, data)
    _, found = gva.highest(bound, gva._start(bound))
    np.testing.assert_allclose(found.gradient, 0.0, atol=1e-6)
    assert np.linalg.eigvalsh(found.profile_hessian).max() < 0


def log_likelihood(model, data, beta, sigma):
    """The exact log likelihood of groups with a random intercept and slope, on a fine grid of both."""
    z, weight = trapezium_normal(8.0, 161)
    pair = np.stack([g.ravel() for g in np.meshgrid(z, z, indexing="ij")])
    mass, (u0, u1) = np.outer(weight, weight).ravel(), np.linalg.cholesky(sigma) @ pair
    total = 0.0
    for _, group in data.groupby("g"):
        x = group["x"].to_numpy()[:, None]
        eta = beta[0] + beta[1] * x + group["o"].to_numpy()[:, None] + u0 + x * u1
        y = group["y"].to_numpy()[:, None]
        if model.family == "poisson":
            each = poisson.logpmf(y, np.exp(eta))
        else:
            each = binom.logpmf(y, group["t"].to_numpy()[:, None], expit(eta))
        total += np.log(mass @ np.exp(each.sum(axis=0)))
    return total


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_bound_lies_below_the_log_likelihood_and_close(family):
    model, data = mixed_data(family)
    found, ml = od.fit(model, data, method="gva"), od.fit(model, data)
    exact = log_likelihood(model, data, found.beta, found.random_covariance["g"])
    assert found.log_likelihood < exact < found.log_likelihood + 0.05 * len(data["g"].unique())
    assert exact <= log_likelihood(model, data, ml.beta, ml.random_covariance["g"])


def test_bound_of_a_count_is_its_closed_form():
    """One count y with η ~ N(β, σ²): yμ − e^{μ+λ/2} − log y! − ½{(μ² + λ)/σ² − 1 − log(λ/σ²)} at every μ and λ."""
    mean, variance, y = np.array([0.4, -0.2]), np.array([0.3, 0.5]), np.array([2.0, 0.0])
    beta, sigma = 0.1, 0.8
    one = np.ones((2, 1))
    bound = bounds.Bound(bounds.poisson, y, np.ones(2), np.zeros(2), one, one, np.arange(2))
    psi = np.column_stack([mean / sigma, np.sqrt(variance) / sigma])
    log_ratio = np.log(variance / sigma**2)
    expected = y * (beta + mean) - np.exp(beta + mean + variance / 2)
    expected -= 0.5 * ((mean**2 + variance) / sigma**2 - 1 - log_ratio)
    np.testing.assert_allclose(bound.at(np.array([beta, sigma]), psi).by_unit, expected, rtol=1e-13)


@pytest.mark.parametrize("variance", [0.0, 0.3, 2.0, 12.0])
def test_means_of_the_logistic_function_against_a_fine_grid(variance):
    a = np.array([-4.0, -1.0, 0.0, 2.5])
    z, weight = trapezium_normal()
    mean = expit(a[:, None] + np.sqrt(variance) * z)
    slope = mean * (1 - mean)
    parts = [np.logaddexp(0, a[:, None] + np.sqrt(variance) * z), mean, slope]
    parts += [slope * (1 - 2 * mean), slope * (1 - 6 * slope)]
    expected = [part @ weight for part in parts]
    np.testing.assert_allclose(bounds.logistic(a, np.full(4, variance)), expected, atol=1e-8)


def test_without_variance_the_fit_is_that_of_the_model_without_random_effects():
    """Responses exactly alike in all groups: variance zero, and the generalised linear model's estimates."""
    data = pd.DataFrame({"g": np.repeat(np.arange(6), 4), "x": np.tile([0, 0, 1, 1], 6), "y": np.tile([1, 2, 3, 5], 6)})
    model = od.MixedModel("y ~ x + (1 | g)", "poisson")
    found = od.fit(model, data, method="gva")
    plain = od.fit(od.MixedModel("y ~ x", "poisson"), data)
    np.testing.assert_allclose(found.beta, plain.beta, atol=1e-6)
    np.testing.assert_allclose(found.standard_errors, plain.standard_errors, rtol=1e-5)
    np.testing.assert_allclose(found.random_covariance["g"], 0.0, atol=1e-8)
    assert found.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-6)
    likelihood = poisson.logpmf(data["y"], np.exp(plain.beta[0] + plain.beta[1] * data["x"])).sum()
    assert found.log_likelihood == pytest.approx(likelihood, abs=1e-6)


def test_totals_of_binary_responses_are_as_good_as_the_responses():
    model, data = drawn("bernoulli")
    totals = data.groupby(["g", "x", "w"], as_index=False)["y"].agg(y="sum", size="count")
    single = od.fit(model, data, method="gva")
    grouped = od.fit(od.MixedModel(model.formula, "binomial", size="size"), totals, method="gva")
    np.testing.assert_allclose(grouped.beta, single.beta, atol=1e-7)
    np.testing.assert_allclose(grouped.random_covariance["g"], single.random_covariance["g"], atol=1e-7)
    ways = gammaln(totals["size"] + 1) - gammaln(totals["y"] + 1) - gammaln(totals["size"] - totals["y"] + 1)
    assert grouped.log_likelihood == pytest.approx(single.log_likelihood + ways.sum(), abs=1e-6)


@pytest.mark.parametrize("family", ["poisson", "binomial"])
def test_units_of_measurement_and_order_of_rows_do_not_matter(family):
    model, data = mixed_data(family)
    found = od.fit(model, data, method="gva")
    other = od.fit(model, data.sample(frac=1, random_state=1).assign(x=lambda d: 1000 * d["x"] + 0), method="gva")
    scale = np.diag([1.0, 1000.0])
    np.testing.assert_allclose(scale @ other.beta, found.beta, rtol=1e-6)
    np.testing.assert_allclose(scale @ other.random_covariance["g"] @ scale, found.random_covariance["g"], rtol=1e-5)
    np.testing.assert_allclose(scale @ other.covariance_matrix @ scale, found.covariance_matrix, rtol=1e-5)


def test_three_random_effects_of_real_counts():
    epil = pd.read_csv("tests/data/epil.csv")
    model = od.MixedModel("y ~ log(base/4) + trt + V4 + (1 + V4 | subject)", "poisson")
    ml, found = od.fit(model, epil), od.fit(model, epil, method="gva")
    np.testing.assert_allclose(found.beta, ml.beta, atol=0.02)
    np.testing.assert_allclose(found.standard_errors, ml.standard_errors, rtol=0.03)
