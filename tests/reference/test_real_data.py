"""Covariances at lme4's fitted values on real data, against lme4's own ``vcov`` (lme4 1.1-31, maximum likelihood)."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from optdesign import Design, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance

DATA = Path(__file__).parent.parent / "data"


@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_sleep_deprivation(order):
    """Belenky et al. 2003: Reaction ~ Days + (Days | Subject), 18 subjects on days 0 to 9."""
    frame = pd.read_csv(DATA / "sleepstudy.csv")
    design = Design(
        Nested("Subject"),
        counts={"Subject": frame["Subject"].nunique()},
        replicates=10,
        measure=Measure.from_frame(frame[["Days"]]),
    )
    guess = NominalValues(
        [251.40510485, 10.46728596],
        {"Subject": [[565.47696613, 11.05512239], [11.05512239, 32.68178525]]},
        dispersion=654.94570576,
    )
    result = covariance(MixedModel("Reaction ~ Days + (Days | Subject)"), guess, design, order=order)
    expected = [[43.985052067, -1.370510491], [-1.370510491, 2.256695615]]
    np.testing.assert_allclose(result.matrix, expected, rtol=5e-7)


def epilepsy(order):
    frame = pd.read_csv(DATA / "epil.csv")
    patients = frame.drop_duplicates("subject")
    groups = [Group(1, 4, at={"trt": p.trt, "base": p.base}) for p in patients.itertuples()]
    model = MixedModel("y ~ log(base/4) + trt + (1 | subject)", family="poisson")
    guess = NominalValues(
        {"Intercept": 0.01670229, "log(base / 4)": 1.01049577, "trt": -0.33451707},
        {"subject": 0.27505984},
        reference=pd.DataFrame({"base": frame["base"], "trt": pd.Categorical(frame["trt"], ["placebo", "progabide"])}),
    )
    return covariance(model, guess, Design(Nested("subject"), groups), order=order)


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("leading", (0.781, 0.825, 0.816)),
        ("two-term", (1.054, 1.038, 1.011)),
        ("averaged", (1.034, 1.022, 1.000)),
    ],
)
def test_epilepsy_counts(order, expected):
    """Thall & Vail 1990: variances over lme4's for (intercept, log baseline, treatment), 59 patients × 4 visits."""
    result = epilepsy(order)
    assert result.names == ("Intercept", "log(base / 4)", "trt[T.progabide]")
    ratio = np.diag(result.matrix) / [0.04476065, 0.01022288, 0.02298221]
    np.testing.assert_allclose(ratio, expected, atol=6e-4)


@pytest.mark.parametrize(("order", "within"), [("two-term", 0.03), ("averaged", 0.01)])
def test_epilepsy_treatment_variance_is_close_to_the_fitted_one(order, within):
    assert epilepsy(order).variance({"trt": 1}) / 0.02298221 == pytest.approx(1.0, abs=within)


def bovine(order):
    frame = pd.read_csv(DATA / "cbpp.csv").astype({"period": str})
    herds = [
        Group(1, len(rows), Measure.from_frame(rows[["period", "size"]]))
        for _, rows in frame.groupby("herd", sort=True)
    ]
    model = MixedModel("y ~ period + (1 | herd)", family="binomial", size="size")
    guess = NominalValues([-1.39922373, -0.99140888, -1.12780959, -1.57948095], {"herd": 0.41928204})
    return covariance(model, guess, Design(Nested("herd"), herds), order=order)


def test_bovine_pleuropneumonia_incidence():
    """Lesnoff et al. 2004: binomial incidence by period within 15 herds of 1 to 4 periods each.

    lme4's variances allow for the estimated herd variance; averaged information is 3 to 17 per cent below them
    (0.971, 0.876, 0.872, 0.829), and two terms lie between the two.
    """
    fitted = [0.05452756, 0.09410673, 0.10677678, 0.18283809]
    averaged, two_term = (np.diag(bovine(order).matrix) / fitted for order in ("averaged", "two-term"))
    np.testing.assert_allclose(averaged, [0.97, 0.88, 0.87, 0.83], atol=5.1e-3)
    assert (averaged < two_term).all()
    assert (two_term < 1.0).all()
