"""Intervals and tests from a fit, against closed forms and dense algebra."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import optdesign as od
from tests.oracles import dense_gls

SLEEP = pd.read_csv(Path(__file__).parent.parent / "data" / "sleepstudy.csv")


@pytest.fixture(scope="module")
def counts():
    """Forty groups with ten counts at x = 0 and ten at x = 1."""
    model = od.MixedModel("y ~ x + (1 + x | g)", "poisson")
    guess = od.NominalValues([0.2, 0.3], {"g": [[0.5, 0.1], [0.1, 0.25]]})
    design = od.Design(od.Nested("g"), counts={"g": 40}, replicates=20, measure=od.Measure.grid(x=[0, 1]))
    return od.fit(model, od.draw_data(model, guess, design, seed=2))


def two_term_slope(fit):
    """Σ₁₁/m + K₂₂/(mn), K₂₂ = 2{exp(−β₀ + Σ₀₀/2) + exp(−β₀ − β₁ + (Σ₀₀ + 2Σ₀₁ + Σ₁₁)/2)}."""
    (b0, b1), S = fit.beta, fit.random_covariance["g"]
    K = 2 * (np.exp(-b0 + S[0, 0] / 2) + np.exp(-b0 - b1 + S.sum() / 2))
    return S[1, 1] / 40 + K / 800


def test_counts_have_the_closed_form_at_the_estimates(counts):
    leading, two = (counts.intervals(order).standard_errors for order in ("leading", "two-term"))
    np.testing.assert_allclose(leading**2, np.diag(counts.random_covariance["g"]) / 40, rtol=1e-9)
    assert two[1] ** 2 == pytest.approx(two_term_slope(counts), rel=1e-7)


def test_gaussian_exact_order_is_generalised_least_squares():
    pilot = od.fit(od.MixedModel("Reaction ~ Days + (Days | Subject)"), SLEEP.iloc[:-7])
    days = SLEEP.iloc[:-7]["Days"].to_numpy()
    X = np.column_stack([np.ones(len(days)), days])
    S = pilot.random_covariance["Subject"]
    expected = dense_gls(X, X, SLEEP.iloc[:-7]["Subject"], S, pilot.dispersion)
    np.testing.assert_allclose(pilot.intervals("exact").standard_errors, np.sqrt(np.diag(expected)), rtol=1e-8)


def test_ends_and_tests_are_those_of_the_normal_law(counts):
    found = counts.intervals(level=0.9)
    for k in range(2):
        low, high = norm.interval(0.9, counts.beta[k], found.standard_errors[k])
        assert found.lower[k] == pytest.approx(low, rel=1e-12)
        assert found.upper[k] == pytest.approx(high, rel=1e-12)
        z = counts.beta[k] / found.standard_errors[k]
        assert found.z[k] == pytest.approx(z, rel=1e-12)
        assert found.p_values[k] == pytest.approx(2 * norm.sf(abs(z)), rel=1e-10)


def test_units_of_different_sizes_and_without_random_effects():
    plain = od.fit(od.MixedModel("Reaction ~ Days"), SLEEP)
    np.testing.assert_allclose(plain.intervals().standard_errors, plain.standard_errors, rtol=1e-9)


def test_intervals_print_as_a_table(counts):
    found = counts.intervals("leading")
    assert list(found.to_frame().columns) == ["estimate", "standard error", "z", "p", "lower", "upper"]
    assert list(found.to_frame().index) == ["Intercept", "x"]
    assert repr(found).startswith("Wald intervals at level 0.95, order 'leading'\n")
    assert "<table" in found._repr_html_()
    assert "order &#x27;leading&#x27;" in found._repr_html_()


def test_notes_of_the_fit_are_kept():
    flat = pd.DataFrame({"g": np.repeat(np.arange(6), 4), "y": np.tile([1, 2, 3, 5], 6)})
    found = od.fit(od.MixedModel("y ~ 1 + (1 | g)", "poisson"), flat).intervals()
    assert "note: The pilot estimates zero variance" in repr(found)


@pytest.mark.parametrize("level", [0.0, 1.0, 95, "high", None])
def test_level_is_a_probability(counts, level):
    with pytest.raises(od.SpecificationError, match="level must be a number between 0 and 1"):
        counts.intervals(level=level)


def test_order_must_be_known(counts):
    with pytest.raises(od.SpecificationError, match="order 'two' is not known"):
        counts.intervals("two")
