"""Simulations against closed forms, and the theory against simulations."""

import math

import numpy as np
import pytest
from scipy import stats

import optdesign as od
from optdesign.draws import data_law

X = od.Measure.grid(x=[0, 1])


def within(rate, value):
    low, high = rate.interval
    return low <= value <= high


def test_least_squares_by_simulation():
    """y = β₀ + β₁x + e, 40 observations at 0 and 1 each: Var(β̂₁) = 2σ²/20, known without fitting anything."""
    design = od.Design(None, replicates=40, measure=X)
    guess = od.NominalValues([1.0, 0.5], dispersion=2.0)
    found = od.simulate(od.MixedModel("y ~ x"), guess, design, od.WaldTest("x"), replications=2000)
    low, high = found.empirical_interval
    assert low[1] < math.sqrt(0.2) < high[1]
    low, high = found.bias_interval
    assert (low < 0).all()
    assert (high > 0).all()
    # Maximum likelihood divides by 40, not 38, which the t interval knows nothing of.
    reach = stats.t.ppf(0.975, 38) * math.sqrt(38 / 40)
    assert within(found.coverage("x"), 1 - 2 * stats.t.sf(reach, 38))
    assert within(found.power, rejection(0.5 / math.sqrt(0.2), reach, 38))


def rejection(shift, critical, df):
    return stats.nct.sf(critical, df, shift) + stats.nct.cdf(-critical, df, shift)


def test_balanced_random_intercept_by_simulation():
    """The mean of m units of n: variance σ_u²/m + σ²/(mn)."""
    design = od.Design(od.Nested("unit"), counts={"unit": 30}, replicates=5)
    guess = od.NominalValues([1.0], {"unit": 0.5}, dispersion=2.0)
    found = od.simulate(od.MixedModel("y ~ 1 + (1 | unit)"), guess, design, replications=1000)
    low, high = found.empirical_interval
    assert low[0] < math.sqrt(0.5 / 30 + 2.0 / 150) < high[0]
    # In a balanced layout the estimated variance between units of maximum likelihood has this expectation.
    between = 29 / 30 * (0.5 + 2.0 / 5) - 2.0 / 5
    spread = found.component_estimates[:, 0].std() / math.sqrt(1000)
    assert found.component_estimates[:, 0].mean() == pytest.approx(between, abs=4 * spread)


@pytest.mark.slow
def test_poisson_slopes_have_the_exact_variance():
    """Random intercept and slope, 63 groups of 20: published power 90.1 % by 1,000 simulations."""
    design = od.Design(od.Nested("g"), counts={"g": 63}, replicates=20, measure=X)
    guess = od.NominalValues([-0.5, 0.3], {"g": [[0.5, 0.1], [0.1, 0.25]]})
    test = od.WaldTest("x", alternative="greater")
    found = od.simulate(od.MixedModel("y ~ x + (1 + x | g)", "poisson"), guess, design, test, replications=300)
    low, high = found.empirical_interval
    exact = found.theory.covariances["exact"].standard_errors
    assert ((low < exact) & (exact < high)).all()
    assert (found.theory.covariances["leading"].standard_errors < low).all()
    assert within(found.power, found.theory.power["exact"])
    assert within(found.coverage("x"), 0.95)


def test_crossed_logistic_by_simulation():
    """20 × 20 with a covariate of cells: in step with averaged information, and standard errors that say so."""
    design = od.Design(od.Crossed("s", "i"), counts={"s": 20, "i": 20}, replicates=1, measure=X)
    guess = od.NominalValues([0.0, 0.8], {"s": 0.5, "i": 0.3})
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "bernoulli")
    found = od.simulate(model, guess, design, replications=400)
    low, high = found.empirical_interval
    theory = found.theory.covariances["averaged"].standard_errors
    assert low[1] < theory[1] * 1.03
    assert high[1] > theory[1] * 0.97
    assert within(found.coverage("x"), 0.95)


def test_observed_covariates_are_drawn_anew_in_every_replicate():
    model = od.MixedModel("y ~ x + age + (1 | unit)", "poisson")
    guess = od.NominalValues([0.0, 0.2, 0.3], {"unit": 0.2})
    design = od.Design(
        od.Nested("unit"),
        counts={"unit": 30},
        replicates=4,
        measure=X,
        observed=od.Measure.grid(age=[-1, 0, 1]),
        levels={"age": "unit"},
    )
    law = data_law(model, guess, design)
    rows = [law.draw(np.random.default_rng(i))[0] for i in range(300)]
    ages = np.array([law.points["age"].to_numpy()[row][::4] for row in rows])
    assert ages.mean(axis=0) == pytest.approx(np.zeros(30), abs=0.2)
    found = od.simulate(model, guess, design, replications=300)
    low, high = found.empirical_interval
    two = found.theory.covariances["two-term"].standard_errors
    assert (low < 1.1 * two).all()
    assert (high > 0.9 * two).all()


def test_parts_of_units_are_fitted_again():
    """Group types of unlike size, and a random effect for the periods of a cluster."""
    groups = [od.Group(10, 6, od.Measure.grid(period=[0, 1, 2]), {"arm": a}) for a in (0, 1)]
    design = od.Design(od.Nested("cluster"), groups)
    model = od.MixedModel("y ~ arm + period + (1 | cluster) + (1 | cluster:period)")
    guess = od.NominalValues([0, 1, 0], {"cluster": 0.5, "cluster:period": 0.3}, dispersion=1.0)
    found = od.simulate(model, guess, design, replications=300)
    low, high = found.empirical_interval
    variance = 2 / 10 * (0.5 + 0.3 / 3 + 1 / 6)
    assert low[1] < math.sqrt(variance) < high[1]
