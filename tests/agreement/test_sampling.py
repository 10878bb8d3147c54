"""What sampled informations say about their error."""

import numpy as np
import pytest

import optdesign as od
from optdesign.covariance import exact, sampled

CROSSED = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "poisson")
GUESS = od.NominalValues([0.2, 0.5], {"s": 0.5, "i": 0.3})


def crossed(points):
    measure = od.Measure.grid(x=points)
    return od.Design(od.Crossed("s", "i"), counts={"s": 6, "i": 6}, replicates=2, measure=measure)


def test_an_infinite_variance_has_no_monte_carlo_error():
    """x at one value only: neither coefficient is estimable, and no finite error stands beside an infinite variance."""
    found = od.covariance(CROSSED, GUESS, crossed([1]), "averaged")
    assert found.inestimable == ("Intercept", "x")
    assert np.isnan(found.monte_carlo_error).all()
    assert "no variance is finite" in found.notes[0]


def test_a_finite_variance_beside_infinite_ones_keeps_its_error():
    model = od.MixedModel("y ~ x + I(2*x) + (1 | s) + (1 | i)", "poisson")
    guess = od.NominalValues([0.2, 0.5, 0.0], {"s": 0.5, "i": 0.3})
    found = od.covariance(model, guess, crossed([-1, 1]), "averaged")
    assert found.inestimable == ("x", "I(2 * x)")
    assert np.isnan(found.monte_carlo_error).tolist() == [False, True, True]
    plain = od.covariance(CROSSED, GUESS, crossed([-1, 1]), "averaged")
    assert found.monte_carlo_error[0] < 0.002
    assert found.matrix[0, 0] == pytest.approx(plain.matrix[0, 0], rel=0.005)


def test_draws_that_end_before_their_aim_say_so(monkeypatch):
    binary = od.MixedModel(CROSSED.formula, "bernoulli")
    assert "aimed at" not in od.covariance(binary, GUESS, crossed([-1, 1]), "averaged").notes[0]
    monkeypatch.setattr(sampled, "MOST_PAIRS", 20)
    short = od.covariance(binary, GUESS, crossed([-1, 1]), "averaged")
    assert "where 0.20% was aimed at" in short.notes[0]
    assert short.monte_carlo_error.max() > 0.002


def test_exact_information_says_so_too(monkeypatch):
    monkeypatch.setattr(exact, "MOST_DRAWS", 10_000)
    model = od.MixedModel("y ~ x + (1 | g)", "gamma", link="log")
    design = od.Design(od.Nested("g"), counts={"g": 10}, replicates=4, measure=od.Measure.grid(x=[-1, 1]))
    found = od.covariance(model, od.NominalValues([0.2, 0.5], {"g": 0.5}, dispersion=0.8), design, "exact")
    assert "where 0.50% was aimed at" in found.notes[0]
