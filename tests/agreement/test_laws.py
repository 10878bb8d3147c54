"""The best law of a family, against closed forms and against brute force over its parameters."""

import numpy as np
import pytest
import scipy.stats
from scipy.optimize import minimize

import optdesign as od

BETA, SIGMA = np.array([0.4, 0.7]), np.array([[0.3, 0.05], [0.05, 0.2]])


def shares(**space):
    def trial(share):
        law = od.Measure.grid(x=[0, 1], weights=[1 - share, share])
        return od.DesignSpace(od.Nested("g"), observed=law, **space)

    return trial


def test_share_of_a_bernoulli_covariate():
    """K₂₂ = A/(1 − p) + B/p, A and B the mean inverse weights at 0 and 1, is least at √B/(√A + √B)."""
    model = od.MixedModel("y ~ x + (1 + x | g)", "poisson")
    found = od.optimize_law(
        model,
        od.NominalValues(BETA, {"g": SIGMA}),
        shares(),
        {"share": (0.02, 0.98)},
        od.COptimality({"x": 1.0}),
        od.Cost({"g": 30.0}, 1.0),
        10_000,
    )
    zero = np.exp(-BETA[0] + SIGMA[0, 0] / 2)
    one = np.exp(-BETA.sum() + SIGMA.sum() / 2)
    p = np.sqrt(one) / (np.sqrt(zero) + np.sqrt(one))
    assert found.parameters["share"] == pytest.approx(p, abs=2e-4)
    k22 = (np.sqrt(zero) + np.sqrt(one)) ** 2
    # min over m, n of Σ₂₂/m + K₂₂/(mn) at a price of m(30 + n)
    assert found.best.value == pytest.approx((np.sqrt(30 * SIGMA[1, 1]) + np.sqrt(k22)) ** 2 / 10_000, rel=1e-6)
    assert found.searched["value"].min() == pytest.approx(found.best.value, rel=1e-6)
    assert found.best.certificate.efficiency_bound >= 1 - 1e-6
    assert "The certificate holds among designs with that law" in found.best.warnings[0]
    assert "share = 0.43" in repr(found)


def test_spread_of_a_linear_regressor_goes_to_its_bound():
    found = od.optimize_law(
        od.MixedModel("y ~ x"),
        od.NominalValues([0.0, 1.0]),
        lambda sd: od.DesignSpace(None, observed=od.Measure.from_distributions(x=scipy.stats.norm(0.3, sd))),
        {"sd": (0.1, 3.0)},
        od.COptimality({"x": 1.0}),
        od.Cost(observation=1.0),
        100,
    )
    assert found.parameters["sd"] == pytest.approx(3.0, rel=1e-4)
    assert found.best.value == pytest.approx(1 / (100 * 9.0), rel=1e-4)


def test_normal_law_of_a_dose_agrees_with_brute_force():
    a, b = -1.0, 1.2
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)

    def loss(place):
        x = place[0] + place[1] * nodes
        w = weights / weights.sum() / (2 + 2 * np.cosh(a + b * x))
        return -np.log(w.sum() * (w @ x**2) - (w @ x) ** 2) / 2

    brute = minimize(loss, [0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-13})
    found = od.optimize_law(
        od.MixedModel("y ~ x", "bernoulli"),
        od.NominalValues([a, b]),
        lambda mean, sd: od.DesignSpace(
            None, observed=od.Measure.from_distributions(x=scipy.stats.norm(mean, sd), nodes=60)
        ),
        {"mean": (-2.0, 3.0), "sd": (0.1, 4.0)},
        od.DOptimality(),
        od.Cost(observation=1.0),
        100.0,
    )
    assert list(found.parameters.values()) == pytest.approx(list(brute.x), abs=2e-3)
    assert found.best.value / 2 + np.log(100) == pytest.approx(brute.fun, abs=1e-6)


@pytest.mark.parametrize(
    ("bounds", "space", "message"),
    [
        ({"share": (0.9, 0.1)}, {}, r"bounds of 'share' must be a pair \(lowest, highest\).*\(0\.9, 0\.1\)"),
        ({"share": 0.5}, {}, r"bounds of 'share' must be a pair"),
        ({}, {}, r"needs bounds for one parameter at least"),
        ({"share": (0.1, 0.9)}, {"common_replicates": True}, r"common_replicates is not searched together with a law"),
    ],
)
def test_bad_families_are_refused(bounds, space, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.optimize_law(
            od.MixedModel("y ~ x + (1 | g)"),
            od.NominalValues([0.0, 0.0], {"g": 0.3}),
            shares(**space),
            bounds,
            od.DOptimality(),
            od.Cost({"g": 30.0}, 1.0),
            1000,
        )


def test_a_family_that_estimates_nothing_says_what():
    with pytest.raises(od.NotEstimableError, match="'x'"):
        od.optimize_law(
            od.MixedModel("y ~ x"),
            od.NominalValues([0.0, 0.0]),
            lambda at: od.DesignSpace(None, observed=od.Measure.grid(x=[at])),
            {"at": (0.0, 1.0)},
            od.DOptimality(),
            od.Cost(observation=1.0),
            10,
        )
