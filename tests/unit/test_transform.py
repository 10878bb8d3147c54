"""Functions of parameters: the delta method."""

import numpy as np
import pytest

import optdesign as od

MODEL = od.MixedModel("y ~ treat + (1 | clinic)")
GUESS = od.NominalValues({"Intercept": 1.0, "treat": -0.3}, {"clinic": 0.2}, 0.8)
DESIGN = od.Design(
    od.Nested("clinic"),
    counts={"clinic": 40},
    replicates=5,
    measure=od.Measure.grid(treat=[0, 1]),
    levels={"treat": "clinic"},
)
COV = od.covariance(MODEL, GUESS, DESIGN)


@pytest.mark.parametrize("function", [lambda b: np.exp(b["treat"]), "exp(treat)"])
def test_ratio_of_means(function):
    found = COV.of(function)
    assert found.value == pytest.approx([np.exp(-0.3)])
    assert found.covariance[0, 0] == pytest.approx(np.exp(-0.6) * COV.matrix[1, 1], rel=1e-9)


def test_several_functions_and_their_covariance():
    found = COV.of(lambda b: [b["Intercept"] + b["treat"], b["treat"] / b["Intercept"]])
    jacobian = np.array([[1.0, 1.0], [0.3, 1.0]])
    np.testing.assert_allclose(found.covariance, jacobian @ COV.matrix @ jacobian.T, rtol=1e-8)


def test_intraclass_correlation_of_all_parameters():
    whole = od.covariance(MODEL, GUESS, DESIGN, parameters="all")
    found = whole.of("`var(Intercept | clinic)` / (`var(Intercept | clinic)` + dispersion)")
    gradient = np.array([0.8, -0.2])
    assert found.value == pytest.approx([0.2])
    assert found.covariance[0, 0] == pytest.approx(gradient @ whole.matrix[2:, 2:] @ gradient, rel=1e-8)


@pytest.mark.parametrize("n", [5, 50])
def test_simulation_gives_the_exact_variance_of_a_lognormal(n):
    """x̄ ~ N(log θ, 1/n), exp(x̄): θ²/n against θ²{exp(2/n) − exp(1/n)}."""
    design = od.Design(None, replicates=n)
    mean = od.covariance(od.MixedModel("y ~ 1"), od.NominalValues([np.log(2.0)]), design)
    found = mean.of("exp(Intercept)", simulate=200_000, seed=1)
    assert found.covariance[0, 0] == pytest.approx(4 / n, rel=1e-9)
    exact = 4 * (np.exp(2 / n) - np.exp(1 / n))
    assert abs(found.simulated_covariance[0, 0] / exact - 1) < 4 * found.monte_carlo_error[0]
    assert "simulated" in repr(found)


def test_interval():
    assert COV.of("treat").interval(0.9)[0] == pytest.approx(
        -0.3 + np.array([-1, 1]) * 1.644853627 * COV.standard_errors[1]
    )


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("exp(dose)", "'dose' is not a parameter: 'Intercept', 'treat'"),
        ("treat +", "cannot be read"),
        ("__import__('os')", "may use parameters, numbers"),
        ("treat.real", "may use parameters, numbers"),
        ("log(treat)", "must be finite and smooth"),
    ],
)
def test_functions_that_are_none(function, words):
    with pytest.raises(od.SpecificationError, match=words):
        COV.of(function)


def test_parameter_that_cannot_be_estimated():
    one_arm = od.Design(
        od.Nested("clinic"),
        counts={"clinic": 40},
        replicates=5,
        measure=od.Measure.grid(treat=[1]),
        levels={"treat": "clinic"},
    )
    cov = od.covariance(MODEL, GUESS, one_arm)
    with pytest.raises(od.NotEstimableError, match="'treat'"):
        cov.of("treat")
