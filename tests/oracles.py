"""Independent computations that tests compare the package with: dense algebra, enumeration and trapezium rules."""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from scipy.special import expit, gammaln, log_expit


def dense_gls(X, Z, unit, sigma, variance):
    """(XᵀV⁻¹X)⁻¹ with V = ZGZᵀ + σ²I built in full, from one row per observation."""
    X, Z, unit = np.asarray(X, float), np.asarray(Z, float), np.asarray(unit)
    V = (Z @ np.asarray(sigma, float) @ Z.T) * (unit[:, None] == unit) + variance * np.eye(len(X))
    root = np.linalg.cholesky(V)
    whitened = np.linalg.solve(root, X)
    r = np.linalg.qr(whitened, mode="r")
    inverse = np.linalg.inv(r)
    return inverse @ inverse.T


def trapezium_normal(limit=10.0, points=1601):
    """Nodes and weights for expectations over N(0, 1); spectrally accurate for analytic integrands."""
    z = np.linspace(-limit, limit, points)
    weight = np.exp(-0.5 * z**2)
    return z, weight / weight.sum()


def normal_mean(function, variance):
    """E f(U) for U ~ N(0, variance)."""
    z, weight = trapezium_normal()
    return float(weight @ function(np.sqrt(variance) * z))


def log_binomial(counts, trials, eta):
    """Log probability of each count at each linear predictor, shape (counts, nodes)."""
    counts = np.asarray(counts, float)[:, None]
    choose = gammaln(trials + 1) - gammaln(counts + 1) - gammaln(trials - counts + 1)
    return choose + counts * log_expit(eta) + (trials - counts) * log_expit(-eta)


def cluster_information(eta, variance, n):
    """Fisher information of (linear predictor, σ²) from n Bernoulli responses that share a random intercept.

    The count is sufficient; its n + 1 values are enumerated and the random effect integrated by the trapezium rule.
    """
    z, weight = trapezium_normal()
    scale = np.sqrt(variance)
    at = eta + scale * z
    counts = np.arange(n + 1)
    joint = np.exp(log_binomial(counts, n, at)) * weight
    probability = joint.sum(axis=1)
    residual = counts[:, None] - n * expit(at)
    shift = (joint * residual).sum(axis=1) / probability
    spread = (joint * residual * z).sum(axis=1) / probability / (2.0 * scale)
    score = np.stack([shift, spread])
    return (score * probability) @ score.T


def exact_two_arm_variance(beta, variance, n):
    """Variance × clusters of the effect of an arm coded 0/1, half the clusters each, σ² estimated with it."""
    information = np.zeros((3, 3))
    for arm in (0.0, 1.0):
        load = np.array([[1.0, arm, 0.0], [0.0, 0.0, 1.0]])
        information += 0.5 * load.T @ cluster_information(beta[0] + arm * beta[1], variance, n) @ load
    return float(np.linalg.inv(information)[1, 1])


@lru_cache
def within_group_information(beta, sigma, n):
    """Fisher information of (β₀, β₁, Σ₀₀, Σ₁₀, Σ₁₁) from a group with n/2 Bernoulli responses at x = 0 and at 1.

    Random intercept and slope; the two counts are sufficient and enumerated, the random effects integrated on a grid.
    """
    z, weight = trapezium_normal(8.0, 97)
    half, sigma = n // 2, np.asarray(sigma, float)
    pair = np.array(list(product(z, z)))
    mass = np.outer(weight, weight).ravel()
    u = pair @ np.linalg.cholesky(sigma).T
    eta = np.stack([beta[0] + u[:, 0], beta[0] + u[:, 0] + beta[1] + u[:, 1]])
    counts = np.arange(half + 1)
    first, second = (np.exp(log_binomial(counts, half, e)) for e in eta)
    fitted = half * expit(eta)

    def expectation(values):
        return (first * (mass * values)) @ second.T

    probability = expectation(np.ones_like(mass))
    low, high = (counts[:, None], None), (None, counts[None, :])
    residual = [low[0] - expectation(fitted[0]) / probability, high[1] - expectation(fitted[1]) / probability]
    inverse = np.linalg.inv(sigma)
    moment = {(i, j): expectation(u[:, i] * u[:, j]) / probability for i in (0, 1) for j in (0, 1)}
    second_moment = np.array([[moment[0, 0], moment[0, 1]], [moment[1, 0], moment[1, 1]]])
    inner = np.einsum("ab,bcyz,cd->adyz", inverse, second_moment - sigma[:, :, None, None], inverse)
    score = np.stack([residual[0] + residual[1], residual[1], 0.5 * inner[0, 0], inner[1, 0], 0.5 * inner[1, 1]])
    flat = score.reshape(5, -1)
    return (flat * probability.ravel()) @ flat.T


def quadratic_form_information(X, Z, weight, node_weight, observations, units, sigma, rule):
    """Information of β for one kind of unit, as the Schur complement of the full quadratic form in (β, θ_1..θ_Q).

    Σ_q w_q Σ_x μ(x) w(x,u_q) (xᵀβ − zᵀθ_q)²  +  the penalty:  m θ̄ᵀΣ⁻¹θ̄ with θ̄ = Σ_q w_q θ_q for two terms,
    m Σ_q w_q θ_qᵀΣ⁻¹θ_q for averaged information.
    """
    p, r, nodes = X.shape[1], Z.shape[1], len(node_weight)
    precision = units * np.linalg.inv(sigma)
    form = np.zeros((p + nodes * r,) * 2)
    for q in range(nodes):
        rows = np.zeros((len(X), len(form)))
        rows[:, :p] = X
        rows[:, p + q * r : p + (q + 1) * r] = -Z
        form += node_weight[q] * rows.T @ (rows * (observations * weight[q])[:, None])
    if rule == "two-term":
        form[p:, p:] += np.kron(np.outer(node_weight, node_weight), precision)
    else:
        form[p:, p:] += np.kron(np.diag(node_weight), precision)
    return form[:p, :p] - form[:p, p:] @ np.linalg.solve(form[p:, p:], form[p:, :p])


def loewner_gap(larger, smaller):
    """Smallest eigenvalue of larger − smaller, on the scale where `larger` has a unit diagonal."""
    scale = 1.0 / np.sqrt(np.diag(larger))
    return float(np.linalg.eigvalsh((larger - smaller) * np.outer(scale, scale)).min())


def clean(matrix):
    """The matrix scaled by its own standard deviations, for comparisons that units of measurement do not decide."""
    scale = 1.0 / np.sqrt(np.diag(matrix))
    return matrix * np.outer(scale, scale)


def relative_difference(matrix, truth):
    """Largest difference, in units of the product of the standard deviations of `truth`."""
    scale = 1.0 / np.sqrt(np.diag(truth))
    return float(np.abs((np.asarray(matrix) - truth) * np.outer(scale, scale)).max())
