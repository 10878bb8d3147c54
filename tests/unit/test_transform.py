"""Functions of parameters: the delta method."""

import math

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
        ("log(treat)", r"'log\(treat\)' is nan at the nominal values .*treat = -0\.3.* must be finite and smooth"),
        ("exp(treat, treat)", "may use parameters, numbers"),
        ("exp", "must return a number or several; it returns <ufunc 'exp'>"),
        ("trat", "Did you mean 'treat'"),
        (lambda b: "large", "must return a number or several; it returns 'large'"),
        (0.5, "a callable or an expression; got 0.5"),
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


def of_one(function, at, variance=1e-4, **options):
    """A function of one parameter, θ, in a model of its mean only."""
    mean = od.covariance(
        od.MixedModel("y ~ 1"), od.NominalValues([at], dispersion=variance), od.Design(None, replicates=1)
    )
    return mean.of(function, **options)


@pytest.mark.parametrize(
    ("function", "at", "slope", "accuracy"),
    [
        ("1 / Intercept", 2e-4, -2.5e7, 1e-14),
        ("log(Intercept)", 1e-5, 1e5, 1e-14),
        ("exp(1000 * Intercept)", 0.01, 1000 * math.exp(10), 1e-14),
        ("Intercept ** 3 * tanh(Intercept)", 0.7, 1.47 * math.tanh(0.7) + 0.343 / math.cosh(0.7) ** 2, 1e-13),
        (lambda b: math.exp(20 * b["Intercept"]), 1.0, 20 * math.exp(20), 1e-8),
        (lambda b: math.lgamma(b["Intercept"]), 3.0, 1.5 - 0.5772156649015329, 1e-8),
        (lambda b: np.where(b["Intercept"] > 1, b["Intercept"] ** 2, 0.0), 3.0, 6.0, 1e-13),
        (lambda b: np.real(b["Intercept"]) ** 2, 3.0, 6.0, 1e-8),
        ("abs(Intercept)", -2.0, -1.0, 1e-8),
        (lambda b: max(b["Intercept"], 0.0) + b["Intercept"], -2.0, 1.0, 1e-8),
        ("expm1(Intercept)", 0.0, 1.0, 1e-14),
    ],
)
def test_derivatives(function, at, slope, accuracy):
    assert of_one(function, at).gradient == pytest.approx(slope, rel=accuracy)


@pytest.mark.parametrize(
    ("function", "at"),
    [
        ("1 / (Intercept - 0.5)", 0.5),
        ("1 / (Intercept - 0.3)", 0.1 + 0.2),
        ("sqrt(Intercept - 0.3)", 0.1 + 0.2),
        ("sqrt(Intercept)", 0.0),
        ("log(Intercept)", 0.0),
        (lambda b: np.cbrt(b["Intercept"]), 0.0),
    ],
)
def test_a_pole_or_an_end_of_the_domain_is_refused(function, at):
    words = rf"the function '.*' is .* at the nominal values \(Intercept = {at:.6g}\): it must be finite and smooth"
    with pytest.raises(od.SpecificationError, match=words):
        of_one(function, at)


def test_derivative_does_not_depend_on_the_precision_of_the_estimate():
    slopes = [of_one(lambda b: math.sin(b["Intercept"]), 0.0, variance).gradient[0, 0] for variance in (1e-8, 1.0)]
    np.testing.assert_allclose(slopes, 1.0, rtol=1e-8)


def test_simulation_outside_the_domain_is_an_error_that_counts():
    with pytest.raises(od.SpecificationError, match=r"not finite at \d+ of 1,000 normal draws"):
        of_one("sqrt(Intercept)", 0.01, simulate=1000)


@pytest.mark.parametrize("draws", [-5, 1, 2.5])
def test_numbers_of_draws_that_are_none(draws):
    with pytest.raises(od.SpecificationError, match="whole number of draws"):
        COV.of("treat", simulate=draws)


def test_simulated_variance_of_a_constant_is_zero():
    found = COV.of("3", simulate=10)
    assert found.covariance[0, 0] == found.simulated_covariance[0, 0] == found.monte_carlo_error[0] == 0.0


def test_parameter_is_used_even_where_its_derivative_is_zero():
    """At treat = 0 the square has no slope, but it is not known there either."""
    guess = od.NominalValues({"Intercept": 1.0, "treat": 0.0}, {"clinic": 0.2}, 0.8)
    one_arm = od.Design(
        od.Nested("clinic"),
        counts={"clinic": 40},
        replicates=5,
        measure=od.Measure.grid(treat=[1]),
        levels={"treat": "clinic"},
    )
    with pytest.raises(od.NotEstimableError, match="'treat'"):
        od.covariance(MODEL, guess, one_arm).of(lambda b: b["treat"] ** 2)
