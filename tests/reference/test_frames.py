"""The shape of real data sets: variances of the fixed effects against lme4's at its fitted values."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od

DATA = Path(__file__).parents[1] / "data"


def read(name):
    return pd.read_csv(DATA / f"{name}.csv")


def ratios(model, guess, frame, vcov, order):
    return np.diag(od.covariance_of_frame(model, guess, frame, order).matrix) / vcov


SLEEP = (
    od.MixedModel("Reaction ~ Days + (Days | Subject)"),
    od.NominalValues(
        [251.40510485, 10.46728596],
        {"Subject": [[565.47696613, 11.05512239], [11.05512239, 32.68178525]]},
        654.94570576,
    ),
    read("sleepstudy"),
    [43.985052067, 2.256695615],
)
PENICILLIN = (
    od.MixedModel("diameter ~ 1 + (1 | plate) + (1 | sample)"),
    od.NominalValues([22.97222222], {"plate": 0.71499287, "sample": 3.13519232}, 0.30242536),
    read("penicillin"),
    [0.55442360],
)
EPIL = (
    od.MixedModel("y ~ log(base/4) + trt + (1 | subject)", "poisson"),
    od.NominalValues([0.01670229, 1.01049577, -0.33451707], {"subject": 0.27505984}),
    read("epil"),
    [0.04476065, 0.01022288, 0.02298221],
)
CBPP = (
    od.MixedModel("incidence ~ C(period) + (1 | herd)", "binomial", size="size"),
    od.NominalValues([-1.39922373, -0.99140888, -1.12780959, -1.57948095], {"herd": 0.41928204}),
    read("cbpp"),
    [0.05452756, 0.09410673, 0.10677678, 0.18283809],
)
VERBAGG = (
    od.MixedModel("r2 ~ Anger + Gender + btype + oneself + do + (1 | id) + (1 | item)", "bernoulli"),
    od.NominalValues(
        [0.55350, 0.05739, 0.32061, -1.05950, -2.10323, -1.05392, -0.70682], {"id": 1.79264, "item": 0.11710}
    ),
    read("verbagg").assign(oneself=lambda d: (d["situ"] == "self") * 1, do=lambda d: (d["mode"] == "do") * 1),
    [0.148945, 0.000281816, 0.0366736, 0.0340342, 0.0350486, 0.0229557, 0.0228804],
)


@pytest.mark.parametrize("case", [SLEEP, PENICILLIN], ids=["sleepstudy", "penicillin"])
@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_gaussian_data_equal_lme4_to_six_digits(case, order):
    np.testing.assert_allclose(ratios(*case, order), 1.0, rtol=2e-6)


def test_epilepsy_counts():
    assert ratios(*EPIL, "leading") == pytest.approx([0.781, 0.825, 0.816], abs=6e-4)
    assert ratios(*EPIL, "two-term") == pytest.approx([1.054, 1.038, 1.011], abs=6e-4)
    assert ratios(*EPIL, "averaged") == pytest.approx([1.034, 1.022, 1.000], abs=6e-4)


def test_small_herds_are_the_hard_case():
    """lme4's variances come from observed information and a fitted variance: exact information is as far off."""
    averaged = ratios(*CBPP, "averaged")
    assert averaged == pytest.approx([0.971, 0.876, 0.872, 0.829], abs=1e-3)
    assert ratios(*CBPP, "exact") == pytest.approx([0.989, 0.877, 0.872, 0.836], abs=0.03)


def test_verbal_aggression():
    table = {
        "leading": [0.867, 0.859, 0.871, 0.860, 0.835, 0.850, 0.853],
        "two-term": [1.006, 1.005, 1.013, 1.007, 1.003, 1.003, 1.003],
    }
    for order, expected in table.items():
        assert ratios(*VERBAGG, order) == pytest.approx(expected, abs=6e-4)
    assert ratios(*VERBAGG, "averaged") == pytest.approx(np.ones(7), abs=0.015)


def test_uneven_nested_frame_is_exact_for_a_gaussian():
    rng = np.random.default_rng(3)
    school = np.repeat(np.arange(6), [5, 9, 4, 7, 3, 8])
    room = school * 2 + rng.integers(0, 2, len(school))
    frame = pd.DataFrame({"school": school, "room": room, "x": rng.normal(size=len(school))})
    V = np.eye(len(frame)) * 1.3 + 0.5 * (school[:, None] == school) + 0.7 * (room[:, None] == room)
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    expected = np.linalg.inv(X.T @ np.linalg.solve(V, X))
    model = od.MixedModel("y ~ x + (1 | school) + (1 | room)")
    guess = od.NominalValues([0, 0], {"school": 0.5, "room": 0.7}, 1.3)
    for order in ("averaged", "exact"):
        np.testing.assert_allclose(od.covariance_of_frame(model, guess, frame, order).matrix, expected, rtol=1e-11)


def test_unconnected_incidence_is_noted():
    frame = pd.DataFrame({"r": [0, 0, 1, 1, 2, 2], "c": [0, 1, 0, 1, 2, 3]})
    guess = od.NominalValues([0], {"r": 0.5, "c": 0.7}, 1.3)
    cov = od.covariance_of_frame(od.MixedModel("y ~ 1 + (1 | r) + (1 | c)"), guess, frame, "exact")
    assert cov.notes == ("The incidence of 'r', 'c' falls into 2 unconnected parts.",)
    V = np.eye(6) * 1.3
    V += 0.5 * (frame["r"].to_numpy()[:, None] == frame["r"].to_numpy())
    V += 0.7 * (frame["c"].to_numpy()[:, None] == frame["c"].to_numpy())
    np.testing.assert_allclose(cov.matrix, 1 / np.linalg.solve(V, np.ones(6)).sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.drop(columns="Subject"), "the data have no column 'Subject'"),
        (lambda d: d.assign(Days=d["Days"].where(d.index != 4)), "column 'Days' has no value in row 5"),
        (lambda d: d.iloc[:0], "the data have no rows"),
    ],
)
def test_frames_that_do_not_fit_the_model(change, words):
    model, guess, frame, _ = SLEEP
    with pytest.raises(od.SpecificationError, match=words):
        od.covariance_of_frame(model, guess, change(frame))


def test_sparse_crossing_of_students_and_lecturers():
    """73,421 ratings: two terms against exact generalised least squares, which takes a dense system of 1,128."""
    model = od.MixedModel("y ~ service + (1 | s) + (1 | d)")
    guess = od.NominalValues([3.28, -0.09], {"s": 0.1057, "d": 0.2652}, 1.3852)
    frame = read("insteval")
    exact = np.diag(od.covariance_of_frame(model, guess, frame, "exact").matrix)
    assert ratios(model, guess, frame, exact, "two-term") == pytest.approx([0.981, 0.975], abs=2e-3)
