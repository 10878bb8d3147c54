"""Fixed schedules: published weights and variances of stepped-wedge, parallel and longitudinal trials."""

import itertools

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import optdesign as od
from optdesign.covariance.profiles import profile_information

NESTED_EXCHANGEABLE = "y ~ treat + C(period) + (1 | cluster) + (1 | cluster:period)"


def wedge(sequences, periods, first):
    """Sequence k is treated after period k, k counted from `first`."""
    rows = [(k, t, int(t > k)) for k in range(first, first + sequences) for t in range(1, periods + 1)]
    return pd.DataFrame(rows, columns=["sequence", "period", "treat"])


def information(formula, covariance, dispersion, frame, replicates=1, order="exact", family="gaussian", beta=None):
    model = od.MixedModel(formula, family=family)
    size = 1 + frame["period"].nunique()
    guess = od.NominalValues(beta or [0.0] * size, covariance, dispersion)
    space = od.DesignSpace(od.Nested("cluster"), od.Candidates.profiles(frame, by="sequence"), replicates=replicates)
    return profile_information(model, guess, space, order).matrices


def optimal_weights(matrices, coefficient):
    """Shares of units that minimise the variance of a coefficient of one unit in all, and that variance."""
    size = matrices.shape[1]
    weight, c = cp.Variable(len(matrices), nonneg=True), np.eye(size)[coefficient]
    total = sum(w * m for w, m in zip(weight, matrices, strict=True))
    problem = cp.Problem(cp.Minimize(cp.matrix_frac(c, total)), [cp.sum(weight) == 1])
    value = problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return weight.value, float(value)


@pytest.mark.parametrize(
    ("replicates", "ends", "inner", "value"),
    [(1, 0.28261, 0.10870, 0.1270325901), (10, 0.14286, 0.17857, 0.0276056338)],
)
def test_stepped_wedge_six_sequences(replicates, ends, inner, value):
    covariance = {"cluster": 0.25, "cluster:period": 0.05}
    matrices = information(NESTED_EXCHANGEABLE, covariance, 1.0, wedge(6, 5, 0), replicates)
    weights, variance = optimal_weights(matrices, 1)
    np.testing.assert_allclose(weights, [ends, *[inner] * 4, ends], atol=6e-6)
    assert variance / 12 == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize(
    ("replicates", "best", "value"), [(1, (3, 2, 1, 1, 2, 3), 0.1276651982), (10, (2,) * 6, 0.0276923077)]
)
def test_best_twelve_clusters(replicates, best, value):
    covariance = {"cluster": 0.25, "cluster:period": 0.05}
    matrices = information(NESTED_EXCHANGEABLE, covariance, 1.0, wedge(6, 5, 0), replicates)
    plans = np.array([p for p in itertools.product(range(5), repeat=6) if sum(p) == 12])
    totals = np.tensordot(plans, matrices, 1)
    fine = np.linalg.cond(totals) < 1e8
    variances = np.linalg.inv(totals[fine])[:, 1, 1]
    assert variances.min() == pytest.approx(value, abs=1e-9)
    assert best in {tuple(p) for p in plans[fine][variances < variances.min() * (1 + 1e-9)].tolist()}


def test_stepped_wedge_seven_sequences():
    covariance = {"cluster": 0.05 * 0.8 / 0.95, "cluster:period": 0.05 * 0.2 / 0.95}
    weights, _ = optimal_weights(information(NESTED_EXCHANGEABLE, covariance, 1.0, wedge(7, 6, 0), 10), 1)
    np.testing.assert_allclose(weights, [0.21014, *[0.11594] * 5, 0.21014], atol=2e-5)


def test_parallel_cluster_trial():
    rows = [(arm, t, arm) for arm in (0, 1) for t in range(1, 6)]
    frame = pd.DataFrame(rows, columns=["sequence", "period", "treat"])
    matrices = information(NESTED_EXCHANGEABLE, {"cluster": 0.05, "cluster:period": 0.1}, 1.0, frame, 10)
    error = np.sqrt(np.linalg.inv(5 * matrices.sum(axis=0))[1, 1])
    assert error == pytest.approx(0.1897367, abs=1e-7)
    assert norm.cdf(0.6 / error - norm.ppf(0.975)) == pytest.approx(0.885379, abs=1e-6)


@pytest.mark.parametrize(
    ("correlation", "variance", "number"),
    [(0.2, 100, 313), (0.2, 200, 625), (0.2, 300, 938), (0.5, 100, 196), (0.5, 200, 391), (0.5, 300, 586)],
)
def test_longitudinal_sample_size(correlation, variance, number):
    """Units per arm for a difference of slopes of 0.5 over times 0, 2 and 5, one-sided 5 %, power 80 %."""
    frame = pd.DataFrame([(a, t, a) for a in (0, 1) for t in (0, 2, 5)], columns=["arm", "time", "group"])
    model = od.MixedModel("y ~ group * time + (1 | patient)")
    guess = od.NominalValues([0.0] * 4, {"patient": correlation * variance}, (1 - correlation) * variance)
    space = od.DesignSpace(od.Nested("patient"), od.Candidates.profiles(frame, by="arm"))
    found = profile_information(model, guess, space, "exact")
    spread = np.linalg.inv(found.matrices.sum(axis=0))[3, 3]
    needed = (norm.ppf(0.95) + norm.ppf(0.8)) ** 2 * spread / 0.25
    assert np.ceil(needed) == number


def test_decay_by_a_matrix_over_periods():
    """(0 + C(period) | cluster) with σ²ρ^|s−t|, against V written out."""
    power = np.abs(np.subtract.outer(range(6), range(6)))
    decay, replicates = 0.05 * 0.7**power, 10
    frame = wedge(7, 6, 0)
    found = information("y ~ treat + C(period) + (0 + C(period) | cluster)", {"cluster": decay}, 1.0, frame, replicates)
    inverse = np.linalg.inv(decay + np.eye(6) / replicates)
    for matrix, (_, rows) in zip(found, frame.groupby("sequence"), strict=True):
        X = np.column_stack([np.ones(6), rows["treat"], np.eye(6)[:, 1:]])
        np.testing.assert_allclose(matrix, X.T @ inverse @ X, rtol=1e-10, atol=1e-10)
