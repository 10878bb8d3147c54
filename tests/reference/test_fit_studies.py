"""The studies of coverage and of variational efficiency: replicates are what the package computes today."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

import optdesign as od

STUDIES = Path(__file__).parents[2] / "studies"
COVERAGE, EFFICIENCY = (runpy.run_path(str(STUDIES / name / "run.py")) for name in ("coverage", "gva_efficiency"))
INTERVALS, ESTIMATES = (pd.read_csv(STUDIES / name / "replicates.csv") for name in ("coverage", "gva_efficiency"))
COVERED = pd.read_csv(STUDIES / "coverage" / "coverage.csv")
COMPARED = pd.read_csv(STUDIES / "gva_efficiency" / "efficiency.csv")


@pytest.mark.parametrize(("groups", "number"), [(20, 0), (50, 3), (100, 1)])
def test_intervals_are_current(groups, number):
    stored = INTERVALS[(INTERVALS["m"] == groups) & (INTERVALS["replicate"] == number)].iloc[0, 2:]
    np.testing.assert_allclose(COVERAGE["replicate"](groups, number), stored, atol=2e-4)


def test_intervals_of_totals_are_those_of_the_counts():
    data = od.draw_data(COVERAGE["MODEL"], COVERAGE["TRUTH"], COVERAGE["design"](30), seed=1)
    single, total = od.fit(COVERAGE["MODEL"], data), od.fit(COVERAGE["OF_TOTALS"], COVERAGE["totals"](data))
    for order in ("leading", "two-term"):
        found, expected = total.intervals(order), single.intervals(order)
        np.testing.assert_allclose(found.lower, expected.lower, atol=1e-4)
        np.testing.assert_allclose(found.upper, expected.upper, atol=1e-4)


def test_intervals_of_the_counts_are_those_of_the_design():
    data = od.draw_data(COVERAGE["MODEL"], COVERAGE["TRUTH"], COVERAGE["design"](30), seed=1)
    fit = od.fit(COVERAGE["MODEL"], data)
    for order in ("leading", "two-term"):
        planned = od.covariance(fit.model, fit.nominal_values(), COVERAGE["design"](30), order)
        np.testing.assert_allclose(fit.intervals(order).standard_errors, planned.standard_errors, rtol=1e-8)


def test_coverage_is_that_of_the_replicates():
    pd.testing.assert_frame_equal(COVERAGE["coverage"](INTERVALS).round(4), COVERED, check_dtype=False, atol=1e-4)
    assert (COVERED["failed"] == 0).all()


def test_two_terms_cover_within_monte_carlo_error_from_a_hundred_groups_on():
    """Two-sided binomial tests of 95 %, at level 1 %, for variances of order 1/(mn) and 1/m."""
    large = COVERED[(COVERED["m"] >= 100) & (COVERED["order"] == "two-term")]
    hits = (large["coverage"] * large["replicates"]).round()
    tail = np.minimum(binom.cdf(hits, large["replicates"], 0.95), binom.sf(hits - 1, large["replicates"], 0.95))
    assert len(large) == 6
    assert (2 * tail > 0.01).all()


def test_the_leading_term_covers_what_its_share_of_the_variance_says():
    """An interval of √(Σ₁₁/m) about an estimate of variance V covers 2Φ(1.96 √(Σ₁₁/(mV))) − 1."""
    part = COVERED[(COVERED["m"] == 500) & (COVERED["coefficient"] == "x") & (COVERED["order"] == "leading")].iloc[0]
    exact = od.covariance(COVERAGE["MODEL"], COVERAGE["TRUTH"], COVERAGE["design"](500), "two-term").matrix[1, 1]
    expected = 2 * norm.cdf(1.96 * np.sqrt(0.25 / 500 / exact)) - 1
    assert part["low"] - 0.02 < expected < part["high"] + 0.02


@pytest.mark.parametrize("case", [("poisson", 40, 4, 0), ("bernoulli", 40, 20, 1), ("poisson", 40, 80, 2)])
def test_estimates_are_current(case):
    names = list(EFFICIENCY["CASE"])
    stored = ESTIMATES[(ESTIMATES[names] == list(case)).all(axis=1)].iloc[0, 4:].to_numpy(float)
    found = EFFICIENCY["estimates"](*case).ravel()
    np.testing.assert_allclose(found[:6], stored[:6], atol=5e-3)
    np.testing.assert_allclose(found[6:], stored[6:], atol=1e-4)


def test_comparison_is_that_of_the_replicates():
    part = ESTIMATES[(ESTIMATES["family"] == "poisson") & (ESTIMATES["n"] == 80)]
    stored = COMPARED[(COMPARED["family"] == "poisson") & (COMPARED["n"] == 80)].reset_index(drop=True)
    found = EFFICIENCY["compared"]("poisson", 40, 80, part).round(4)
    pd.testing.assert_frame_equal(found, stored, check_dtype=False, atol=1e-4)


def test_variational_estimates_are_as_variable_as_maximum_likelihood():
    fixed = COMPARED["parameter"].isin(["Intercept", "x", "w"])
    large = COMPARED["n"] >= 20
    assert COMPARED.loc[large & fixed, "variance ratio"].between(0.98, 1.02).all()
    assert COMPARED.loc[(COMPARED["n"] == 80), "variance ratio"].between(0.97, 1.03).all()
    assert (COMPARED[["ml failed", "gva failed"]] == 0).all(axis=None)
