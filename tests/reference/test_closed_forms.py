"""Covariances that have a closed form, or a published number."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.stats as st

from optdesign import Design, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from tests.oracles import normal_mean

NESTED = json.loads((Path(__file__).parent / "values.json").read_text())["nested"]
UNIFORM = st.uniform(-1, 2)


def vech(values):
    return [[values[0], values[1]], [values[1], values[2]]]


def one_group(measure, m=1.0, n=1.0):
    return Design(Nested("g"), counts={"g": m}, replicates=n, measure=measure)


def second_term(model, beta, sigma, measure, order="two-term"):
    """K, from Cov = [Σ 0; 0 0] + K at m = n = 1."""
    result = covariance(model, NominalValues(beta, {"g": sigma}), one_group(measure), order=order)
    return result.matrix - np.pad(np.atleast_2d(sigma), (0, len(beta) - len(np.atleast_2d(sigma))))


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged", "exact"])
def test_linear_model_variance_is_residual_variance_over_n_var_x(order):
    """Var(β̂₁) = σ²/(n Var X) = 4/(7n) for X ~ Gamma(7, 1), σ² = 4."""
    design = Design(None, replicates=50, measure=Measure.from_distributions(x=st.gamma(7)))
    result = covariance(MixedModel("y ~ x"), NominalValues([2.0, -1.0], dispersion=4.0), design, order=order)
    assert result.variance({"x": 1}) * 50 == pytest.approx(4 / 7, rel=1e-12)


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged", "exact"])
def test_poisson_regression_on_a_uniform_covariate(order):
    """β₁³ sinh β₁ / (e^β₀ {sinh²β₁ − β₁²}) = 2.17786…"""
    known = NESTED["poisson_uniform_glm"]
    design = Design(None, replicates=1, measure=Measure.from_distributions(x=UNIFORM))
    result = covariance(MixedModel("y ~ x", "poisson"), NominalValues(known["beta"]), design, order=order)
    assert result.variance({"x": 1}) == pytest.approx(known["var_beta1_times_N"], rel=1e-12)


@pytest.mark.parametrize("order", ["leading", "two-term"])
def test_poisson_random_intercept_on_a_uniform_covariate(order):
    known = NESTED["poisson_uniform_glmm"]
    result = covariance(
        MixedModel("y ~ x + (1 | g)", "poisson"),
        NominalValues(known["beta"], {"g": known["sigma2"]}),
        one_group(Measure.from_distributions(x=UNIFORM)),
        order=order,
    )
    assert result.variance({"x": 1}) == pytest.approx(known["C_B"], rel=1e-12)


@pytest.mark.parametrize("order", ["leading", "two-term"])
@pytest.mark.parametrize("beta", [(0.2, 0.5), (-2.0, 1.7), (1.0, -0.9)])
@pytest.mark.parametrize("variance", [0.1, 0.7, 2.0])
def test_poisson_random_intercept_uniform_formula(beta, variance, order):
    """Var(β̂₁)·mn = β₁³ sinh β₁ / [exp(β₀ + σ²/2){sinh²β₁ − β₁²}] for X ~ Uniform(−1, 1)."""
    result = covariance(
        MixedModel("y ~ x + (1 | g)", "poisson"),
        NominalValues(beta, {"g": variance}),
        one_group(Measure.from_distributions(x=UNIFORM), m=30, n=7),
        order=order,
    )
    b0, b1 = beta
    expected = b1**3 * np.sinh(b1) / (np.exp(b0 + variance / 2) * (np.sinh(b1) ** 2 - b1**2))
    assert result.variance({"x": 1}) * 30 * 7 == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("law", "moments"),
    [
        (st.norm(0.3, 0.8), lambda b: (1.0, 0.3 + 0.64 * b, 0.64 + (0.3 + 0.64 * b) ** 2)),
        (st.gamma(3, scale=0.2), lambda b: (1.0, 0.6 / (1 - 0.2 * b), 0.12 * 4 / (1 - 0.2 * b) ** 2)),
        (st.poisson(1.3), lambda b: (1.0, 1.3 * np.exp(b), 1.3 * np.exp(b) + 1.69 * np.exp(2 * b))),
    ],
    ids=["normal", "gamma", "poisson"],
)
@pytest.mark.parametrize("slope", [0.4, -0.7])
def test_poisson_random_intercept_for_any_covariate_law(law, moments, slope):
    """ϕC_B = exp(−β₀ − σ²/2) M/(M''M − M'²), M the law's moment generating function at β₁.

    `moments` are 1, M'/M and M''/M: the moments of the exponentially tilted law.
    """
    tilted = moments(slope)
    log_mgf = {
        "norm": 0.3 * slope + 0.32 * slope**2,
        "gamma": -3 * np.log(1 - 0.2 * slope),
        "poisson": 1.3 * np.expm1(slope),
    }[law.dist.name]
    result = covariance(
        MixedModel("y ~ x + (1 | g)", "poisson"),
        NominalValues([-0.4, slope], {"g": 0.6}),
        one_group(Measure.from_distributions(x=law)),
    )
    expected = np.exp(0.4 - 0.3 - log_mgf) / (tilted[2] - tilted[1] ** 2)
    assert result.variance({"x": 1}) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("known", NESTED["poisson_bernoulli_K22"], ids=lambda k: f"b0={k['beta'][0]}")
def test_poisson_random_slope_published_second_term(known):
    K = second_term(
        MixedModel("y ~ x + (1 + x | g)", "poisson"),
        known["beta"],
        vech(known["vech_Sigma"]),
        Measure.from_distributions(x=st.bernoulli(0.5)),
    )
    assert K[1, 1] == pytest.approx(known["K22"], rel=1e-10)


@pytest.mark.parametrize("beta", [(-1.5, 0.3), (0.7, -0.6)])
@pytest.mark.parametrize("sigma", [(0.5, 0.1, 0.25), (1.2, -0.4, 0.6)])
def test_poisson_random_slope_formula(beta, sigma):
    """K₂₂ = 2{exp(−β₀ + Σ₀₀/2) + exp(−β₀ − β₁ + (Σ₀₀ + 2Σ₀₁ + Σ₁₁)/2)} for x ~ Bernoulli(½)."""
    K = second_term(MixedModel("y ~ x + (1 + x | g)", "poisson"), beta, vech(sigma), Measure.grid(x=[0, 1]))
    s00, s01, s11 = sigma
    expected = 2 * (np.exp(-beta[0] + s00 / 2) + np.exp(-beta[0] - beta[1] + (s00 + 2 * s01 + s11) / 2))
    assert K[1, 1] == pytest.approx(expected, rel=1e-10)


def test_logistic_random_intercept_published_second_term():
    """Printed to six decimals; order of the stored values is (β₀, σ², β₁)."""
    known = NESTED["bernoulli_intercept_K_diag"]
    model = MixedModel("y ~ x + (1 | g)", "bernoulli")
    K = second_term(model, known["beta"], known["sigma2"], Measure.grid(x=[0, 1]))
    np.testing.assert_allclose(np.diag(K), [known["K_diag"][0], known["K_diag"][2]], atol=6e-7)
    assert K[0, 1] == pytest.approx(known["K_02"], abs=6e-7)


def test_logistic_random_slope_published_second_term():
    known = NESTED["bernoulli_slope_K_diag"]
    model = MixedModel("y ~ x + (1 + x | g)", "bernoulli")
    K = second_term(model, known["beta"], vech(known["vech_Sigma"]), Measure.grid(x=[0, 1]))
    np.testing.assert_allclose(np.diag(K), known["K_diag"][:2], atol=6e-7)


@pytest.mark.parametrize("variance", [0.5, 2.0, 6.0, 10.0])
@pytest.mark.parametrize("intercept", [-8.0, -1.5, 0.0, 3.0])
def test_logistic_intercept_only_formula(intercept, variance):
    """K = E 1/w = E(2 + 2 cosh η) = 2 + 2 exp(σ²/2) cosh β₀."""
    K = second_term(MixedModel("y ~ 1 + (1 | g)", "bernoulli"), [intercept], variance, Measure.grid())
    expected = 2 + 2 * np.exp(variance / 2) * np.cosh(intercept)
    assert K[0, 0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("order", ["leading", "two-term"])
@pytest.mark.parametrize(("beta", "variance"), [((-0.5, 0.3), 0.5), ((-2.0, 1.0), 2.0), ((0.0, -1.5), 1.0)])
def test_logistic_random_intercept_is_a_univariate_integral(beta, variance, order):
    """C_B = {E_U S(U)}⁻¹, with S = H_BB − H_BA²/H_AA, for x ∈ {0, 1}: S = ½ w₀w₁/(w₀ + w₁)."""

    def schur(u):
        w0, w1 = (1 / (2 + 2 * np.cosh(beta[0] + x * beta[1] + u)) for x in (0, 1))
        return 0.5 * w0 * w1 / (w0 + w1)

    design = one_group(Measure.grid(x=[0, 1]))
    model, guess = MixedModel("y ~ x + (1 | g)", "bernoulli"), NominalValues(beta, {"g": variance})
    result = covariance(model, guess, design, order=order)
    assert result.variance({"x": 1}) == pytest.approx(1 / normal_mean(schur, variance), rel=1e-8)


@pytest.mark.parametrize("order", ["leading", "two-term"])
def test_logistic_random_slope_with_a_fixed_slope_is_a_bivariate_integral(order):
    """Random intercept and slope on a, fixed slope on b: C_B = {E_U(H_BB − H_BA H_AA⁻¹ H_AB)}⁻¹."""
    beta, sigma = np.array([-0.4, 0.6, 1.1]), np.array([[0.8, 0.2], [0.2, 0.5]])
    z = np.linspace(-9, 9, 241)
    mass = np.exp(-0.5 * (z[:, None] ** 2 + z**2)).ravel()
    pair = np.stack(np.meshgrid(z, z, indexing="ij"), -1).reshape(-1, 2)
    points = np.array([(1.0, a, b) for a in (0, 1) for b in (-1, 0, 1)])
    eta = points @ beta + pair @ np.linalg.cholesky(sigma).T @ points[:, :2].T
    H = np.einsum("ux,xi,xj->uij", 1 / (2 + 2 * np.cosh(eta)) / len(points), points, points)
    pulled = np.linalg.solve(H[:, :2, :2], H[:, :2, 2:])
    schur = H[:, 2, 2] - (H[:, 2:, :2] @ pulled)[:, 0, 0]
    result = covariance(
        MixedModel("y ~ a + b + (1 + a | g)", "bernoulli"),
        NominalValues(beta, {"g": sigma}),
        one_group(Measure.grid(a=[0, 1], b=[-1, 0, 1])),
        order=order,
    )
    assert result.variance({"b": 1}) == pytest.approx(mass.sum() / (mass @ schur), rel=1e-8)


@pytest.mark.parametrize("order", ["two-term", "averaged"])
def test_poisson_intercept_only(order):
    """Two-term: σ² + exp(−β₀ + σ²/2)/n. Averaged: 1/E{1/(σ² + exp(−β₀ − U)/n)}."""
    design, model = one_group(Measure.grid(), n=6), MixedModel("y ~ 1 + (1 | g)", "poisson")
    result = covariance(model, NominalValues([-0.7], {"g": 0.9}), design, order=order)
    expected = {
        "two-term": 0.9 + np.exp(0.7 + 0.45) / 6,
        "averaged": 1 / normal_mean(lambda u: 1 / (0.9 + np.exp(0.7 - u) / 6), 0.9),
    }[order]
    assert result.matrix[0, 0] == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_gaussian_random_intercept_at_unit_level(order):
    """Arms of m/2 groups each: Var(effect) = 4(σ_u² + σ²/n)/m, the design effect of a cluster trial."""
    design = Design(Nested("g"), counts={"g": 24}, replicates=5, measure=Measure.grid(arm=[0, 1]), levels={"arm": "g"})
    model, guess = MixedModel("y ~ arm + (1 | g)"), NominalValues([0, 0], {"g": 0.3}, dispersion=2.0)
    result = covariance(model, guess, design, order=order)
    assert result.variance({"arm": 1}) == pytest.approx(4 * (0.3 + 2.0 / 5) / 24, rel=1e-12)


def test_published_joint_optimum_is_attained():
    """log det of the covariance at the best weight on the support {−1, 1} and the published (m, n), 9 nodes."""
    known = NESTED["joint_D"]
    model, guess = MixedModel("y ~ x + (1 | g)", "bernoulli"), NominalValues(known["beta"], {"g": known["sigma2"]})

    def value(share):
        measure = Measure.grid(x=[-1, 1], weights=[1 - share, share])
        result = covariance(model, guess, one_group(measure, known["m"], known["n"]))
        return np.linalg.slogdet(result.matrix)[1]

    best = min(value(share) for share in np.linspace(0.3, 0.7, 81))
    assert best == pytest.approx(known["logdet_cov"], abs=1e-4)
