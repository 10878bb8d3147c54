"""Fits of real data against lme4 1.1-31, and plans at those fits against lme4's own standard errors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def sleepstudy():
    return od.fit(od.MixedModel("Reaction ~ Days + (Days | Subject)"), pd.read_csv(DATA / "sleepstudy.csv"))


@pytest.fixture(scope="module")
def epil():
    model = od.MixedModel("y ~ log(base/4) + trt + (1 | subject)", family="poisson")
    return od.fit(model, pd.read_csv(DATA / "epil.csv"))


def test_sleepstudy_agrees_with_lme4(sleepstudy):
    np.testing.assert_allclose(sleepstudy.beta, [251.40510485, 10.46728596], rtol=1e-8)
    # lme4's optimiser stops within 1e-4 of the maximum, which the next test has in closed form.
    expected = [[565.47696613, 11.05512239], [11.05512239, 32.68178525]]
    np.testing.assert_allclose(sleepstudy.random_covariance["Subject"], expected, rtol=1e-4)
    np.testing.assert_allclose(sleepstudy.dispersion, 654.94570576, rtol=1e-4)
    expected = [[43.985052067, -1.370510491], [-1.370510491, 2.256695615]]
    np.testing.assert_allclose(sleepstudy.covariance_matrix, expected, rtol=1e-4)
    assert sleepstudy.names == ("Intercept", "Days")
    assert (sleepstudy.observations, dict(sleepstudy.units)) == (180, {"Subject": 18})
    assert sleepstudy.notes == ()


def test_sleepstudy_agrees_with_the_closed_form_of_a_balanced_design(sleepstudy):
    data = pd.read_csv(DATA / "sleepstudy.csv").sort_values(["Subject", "Days"])
    days = np.column_stack([np.ones(10), np.arange(10)])
    reactions = data.Reaction.to_numpy().reshape(18, 10)
    lines = reactions @ np.linalg.pinv(days).T
    residual = ((reactions - lines @ days.T) ** 2).sum() / (18 * 8)
    spread = np.cov(lines.T, bias=True)
    np.testing.assert_allclose(sleepstudy.dispersion, residual, rtol=1e-5)
    np.testing.assert_allclose(sleepstudy.covariance_matrix, spread / 18, rtol=1e-5)
    between = spread - residual * np.linalg.inv(days.T @ days)
    np.testing.assert_allclose(sleepstudy.random_covariance["Subject"], between, rtol=1e-4)


def test_epil_agrees_with_lme4(epil):
    np.testing.assert_allclose(epil.beta, [0.01670229, 1.01049577, -0.33451707], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(epil.random_covariance["subject"], [[0.27505984]], rtol=1e-4)
    np.testing.assert_allclose(np.diag(epil.covariance_matrix), [0.04476065, 0.01022288, 0.02298221], rtol=1e-4)
    assert epil.names == ("Intercept", "log(base / 4)", "trt[T.progabide]")


def test_cbpp_agrees_with_lme4():
    model = od.MixedModel("incidence ~ C(period) + (1 | herd)", family="binomial", size="size")
    pilot = od.fit(model, pd.read_csv(DATA / "cbpp.csv"))
    np.testing.assert_allclose(pilot.beta, [-1.39922373, -0.99140888, -1.12780959, -1.57948095], rtol=1e-4)
    np.testing.assert_allclose(pilot.random_covariance["herd"], [[0.41928204]], rtol=1e-4)
    variances = [0.05452756, 0.09410673, 0.10677678, 0.18283809]
    np.testing.assert_allclose(np.diag(pilot.covariance_matrix), variances, rtol=1e-4)


@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_plan_at_the_sleepstudy_fit_has_the_standard_errors_of_the_fit(sleepstudy, order):
    design = od.Design(
        od.Nested("Subject"), counts={"Subject": 18}, replicates=10, measure=od.Measure.grid(Days=range(10))
    )
    plan = od.covariance(sleepstudy.model, sleepstudy.nominal_values(), design, order=order)
    np.testing.assert_allclose(plan.matrix, [[43.985052067, -1.370510491], [-1.370510491, 2.256695615]], rtol=1e-4)


@pytest.mark.parametrize(
    ("order", "ratios"),
    [
        ("leading", [0.781, 0.825, 0.816]),
        ("two-term", [1.054, 1.038, 1.011]),
        ("averaged", [1.034, 1.022, 1.000]),
    ],
)
def test_plan_at_the_epil_fit_is_as_close_to_lme4_as_published(epil, order, ratios):
    patients = pd.read_csv(DATA / "epil.csv").drop_duplicates("subject")[["base", "trt"]]
    groups = [od.Group(1, 4, at=row) for row in patients.to_dict("records")]
    plan = od.covariance(epil.model, epil.nominal_values(), od.Design(od.Nested("subject"), groups), order=order)
    np.testing.assert_allclose(np.diag(plan.matrix) / [0.04476065, 0.01022288, 0.02298221], ratios, atol=6e-4)
