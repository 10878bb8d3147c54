"""The study of picked plans: its table is what the package computes today, and whole plans agree with it."""

import re
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od

STUDY = Path(__file__).parents[2] / "studies" / "plan_efficiency"
RUN = runpy.run_path(str(STUDY / "run.py"))
TABLE = pd.read_csv(STUDY / "plans.csv")
POINTS = {"within": (0, 1, 2), "slopes": (0, 1)}


def covariance(row, plan, order):
    """Covariance of (intercept, effect) of a plan as the table writes it, from one design of all its units."""
    random, slope = ("1 + x", 0.5) if row["problem"] == "slopes" else ("1", None)
    sigma = np.diag([row["variance"], row["variance"] * slope]) if slope else row["variance"]
    groups = []
    for arm, (units, counts) in enumerate(re.findall(r"(\d+)x(\d+|\([\d ]+\))", plan)):
        uses = [int(k) for k in counts.strip("()").split()]
        points = (arm,) if row["problem"] == "arms" else POINTS[row["problem"]]
        used = [(x, k) for x, k in zip(points, uses, strict=True) if k]
        measure = od.Measure.grid(x=[x for x, _ in used], weights=[k / sum(uses) for _, k in used])
        groups.append(od.Group(int(units), sum(uses), measure))
    model = od.MixedModel(f"y ~ x + ({random} | g)", row["family"])
    guess = od.NominalValues([RUN["BASELINES"][row["family"]][row["events"]], -0.5], {"g": sigma})
    return od.covariance(model, guess, od.Design(od.Nested("g"), groups), order).matrix


def variance(row, matrix):
    return matrix[1, 1] if row["criterion"] == "c" else np.sqrt(np.linalg.det(matrix))


@pytest.mark.parametrize("row", [23, 38, 219, 257, 435, 459, 525])
def test_efficiency_from_whole_designs(row):
    """Binary rows: no summing of units, no shared information, and the variance the order states."""
    case = TABLE.iloc[row]
    if case["efficiency"] == 0:
        assert np.isinf(np.diag(covariance(case, case["plan"], "exact"))).all()
        return
    best, picked = (variance(case, covariance(case, case[plan], "exact")) for plan in ("best", "plan"))
    assert best / picked == pytest.approx(case["efficiency"], abs=6e-5)
    stated = variance(case, covariance(case, case["plan"], case["order"]))
    assert stated / picked == pytest.approx(case["stated"], abs=6e-5)


@pytest.mark.parametrize(
    ("counts", "variance"), [((2, 1, 3), 0.25), ((5, 0, 7), 0.25), ((1, 0, 1), 1.0), ((5, 0, 7), 1.0)]
)
def test_counts_with_a_random_intercept_by_their_total(counts, variance):
    """Information by the total and its split, against the enumeration of all vectors of totals."""
    used = [(x, k) for x, k in enumerate(counts) if k]
    measure = od.Measure.grid(x=[x for x, _ in used], weights=[k / sum(counts) for _, k in used])
    design = od.Design(od.Nested("g"), counts={"g": 1}, replicates=sum(counts), measure=measure)
    model, guess = od.MixedModel("y ~ x + (1 | g)", "poisson"), od.NominalValues([-3.0, -0.5], {"g": variance})
    whole = od.covariance(model, guess, design, "exact", parameters="all")
    assert whole.monte_carlo_error is None
    found = RUN["_from_total"](-3.0, variance, np.arange(3.0), np.array(counts))
    np.testing.assert_allclose(np.linalg.inv(found), whole.matrix, rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("case", [("arms", "bernoulli", "rare", 2.0, 2.0), ("arms", "poisson", "medium", 1.0, 0.5)])
def test_table_is_current(case):
    names = ["problem", "family", "events", "variance", "price"]
    stored = TABLE[(TABLE[names] == list(case)).all(axis=1)].reset_index(drop=True)
    found = pd.DataFrame(RUN["rows_of"](*case)).round(4)
    pd.testing.assert_frame_equal(found, stored, check_dtype=False, atol=2e-4)


def test_words_of_the_study_hold_in_its_table():
    averaged, two_term = (TABLE[TABLE["order"] == order] for order in ("averaged", "two-term"))
    effect = averaged[(averaged["criterion"] == "c") & (averaged["problem"] != "slopes")]
    assert len(effect) == 72
    assert effect["efficiency"].min() > 0.993
    assert averaged["known"].min() > 0.997
    assert averaged.loc[averaged["price"] == 10, "efficiency"].min() > 0.963
    assert two_term.loc[two_term["price"] == 10, "efficiency"].min() > 0.876
    assert [(rows["efficiency"] == 0).sum() for rows in (two_term, averaged)] == [2, 3]
    leading = TABLE[(TABLE["order"] == "leading") & (TABLE["problem"] == "slopes")]
    assert (leading["efficiency"] < 0.95).all()
