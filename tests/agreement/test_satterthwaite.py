"""Satterthwaite degrees of freedom against dense algebra, mean squares of an analysis of variance, and listed units."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import optdesign as od
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.satterthwaite import satterthwaite
from optdesign.covariance.strata import strata_information
from optdesign.inference.freedom import Freedom
from optdesign.layouts import Crossed
from optdesign.listing import listed_points


def dense_df(X, terms, variance, combination):
    """ν from V in full, with ½ tr(PV̇_iPV̇_j); `terms` are (unit of each row, Z, Σ)."""
    directions = [np.eye(len(X))]
    V = variance * np.eye(len(X))
    for unit, Z, sigma in terms:
        same = unit[:, None] == unit
        V += same * (Z @ sigma @ Z.T)
        for a in range(len(sigma)):
            for b in range(a + 1):
                pair = np.outer(Z[:, a], Z[:, b])
                directions.append(same * (pair if a == b else pair + pair.T))
    inverse = np.linalg.inv(V)
    covariance = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ covariance @ X.T @ inverse
    weights = inverse @ X @ covariance @ combination
    gradient = np.array([weights @ D @ weights for D in directions])
    products = [P @ D for D in directions]
    information = 0.5 * np.array([[np.sum(a * b.T) for a in products] for b in products])
    spread = gradient @ np.linalg.pinv(information, rcond=1e-10, hermitian=True) @ gradient
    return 2.0 * (combination @ covariance @ combination) ** 2 / spread


def test_frame_of_any_incidence():
    rng = np.random.default_rng(3)
    cells = [(i, j) for i in range(7) for j in range(6) if rng.random() < 0.6]
    df = pd.DataFrame(
        [(i, j, x) for i, j in cells for x in rng.normal(size=rng.integers(1, 4))], columns=["s", "i", "x"]
    )
    model = od.MixedModel("y ~ x + (1 + x | s) + (1 | i) + (1 | s:i)")
    slopes = np.array([[0.5, 0.1], [0.1, 0.3]])
    guess = od.NominalValues([0, 1], {"s": slopes, "i": 0.4, "s:i": 0.2}, dispersion=0.7)
    x = df["x"].to_numpy()
    X = np.stack([np.ones(len(df)), x], axis=1)
    one, cell = np.ones((len(df), 1)), (10 * df["s"] + df["i"]).to_numpy()
    s, i = df["s"].to_numpy(), df["i"].to_numpy()
    terms = [(s, X, slopes), (i, one, np.array([[0.4]])), (cell, one, np.array([[0.2]]))]
    for name, c in {"Intercept": [1, 0], "x": [0, 1]}.items():
        expected = dense_df(X, terms, 0.7, np.array(c, float))
        assert od.degrees_of_freedom(model, guess, df, name) == pytest.approx(expected, rel=1e-8)
    expected = dense_df(X, terms, 0.7, np.array([1.0, 2.0]))
    assert od.degrees_of_freedom(model, guess, df, {"Intercept": 1, "x": 2}) == pytest.approx(expected, rel=1e-8)


def test_unbalanced_three_levels():
    rng = np.random.default_rng(5)
    rows = [
        (k, f"{k}.{j}", k % 2, t)
        for k in range(8)
        for j in range(rng.integers(1, 4))
        for t in range(rng.integers(2, 6))
    ]
    df = pd.DataFrame(rows, columns=["school", "pupil", "arm", "t"])
    model = od.MixedModel("y ~ arm * t + (1 | school) + (1 + t | pupil)")
    slopes = np.array([[0.5, -0.1], [-0.1, 0.2]])
    guess = od.NominalValues([0, 0, 0, 1], {"school": 0.3, "pupil": slopes}, dispersion=1.3)
    arm, t = df["arm"].to_numpy(float), df["t"].to_numpy(float)
    X = np.stack([np.ones(len(df)), arm, t, arm * t], axis=1)
    school, pupil = df["school"].to_numpy(), pd.factorize(df["pupil"])[0]
    terms = [(school, X[:, :1], np.array([[0.3]])), (pupil, X[:, [0, 2]], slopes)]
    for at, name in enumerate(["Intercept", "arm", "t", "arm:t"]):
        expected = dense_df(X, terms, 1.3, np.eye(4)[at])
        assert od.degrees_of_freedom(model, guess, df, name) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("sizes", [(6, 6), (2, 12)])
def test_units_of_two_sizes(sizes):
    """Equal sizes leave m − 2 between and N − m − 1 within; unequal ones what dense algebra says."""
    model = od.MixedModel("y ~ treat + x + (1 | cluster)")
    guess = od.NominalValues([0, 0.5, 0], {"cluster": 0.3})
    groups = [od.Group(7, n, od.Measure.grid(x=[0, 1]), at={"treat": arm}) for arm, n in enumerate(sizes)]
    design = od.Design(od.Nested("cluster"), groups)
    found = [od.degrees_of_freedom(model, guess, design, name, "satterthwaite") for name in ("treat", "x")]
    rows = np.array([(7 * arm + k, arm, x % 2) for arm, n in enumerate(sizes) for k in range(7) for x in range(n)])
    X = np.column_stack([np.ones(len(rows)), rows[:, 1:]]).astype(float)
    terms = [(rows[:, 0], X[:, :1], np.array([[0.3]]))]
    assert found == pytest.approx([dense_df(X, terms, 1.0, np.eye(3)[at]) for at in (1, 2)], rel=1e-8)
    if sizes == (6, 6):
        assert found == pytest.approx([12, 69], rel=1e-9)
        assert od.degrees_of_freedom(model, guess, design, "treat", "between-within") == 12


def test_linear_model_has_the_residual_degrees_of_freedom():
    model, guess = od.MixedModel("y ~ x"), od.NominalValues([0, 1])
    design = od.Design(None, replicates=30, measure=od.Measure.grid(x=[0, 1]))
    assert od.degrees_of_freedom(model, guess, design, "x", "satterthwaite") == pytest.approx(28, rel=1e-12)
    frame = pd.DataFrame({"x": [0, 1] * 15})
    assert od.degrees_of_freedom(model, guess, frame, "x") == pytest.approx(28, rel=1e-12)


def mean_squares(sizes, squares, freedom):
    """(Σ a λ)²/Σ (a λ)²/ν."""
    parts = np.array(sizes) * np.array(squares)
    return parts.sum() ** 2 / (parts**2 / np.array(freedom)).sum()


@pytest.mark.parametrize(("p", "q"), [(20, 20), (7, 12)])
def test_crossed_mean_squares(p, q):
    """Both conditions in each cell: MS of subjects × condition 2qΣ_s + σ², of items × condition, and the residual."""
    model = od.MixedModel("y ~ c + (1 + c | s) + (1 + c | i) + (1 | s:i)")
    guess = od.NominalValues([0, 1], {"s": np.diag([0.3, 0.2]), "i": np.diag([0.1, 0.15]), "s:i": 0.1}, dispersion=0.6)
    design = od.Design(Crossed("s", "i"), counts={"s": p, "i": q}, replicates=2, measure=od.Measure.grid(c=[-1, 1]))
    squares, freedom = [0.6 + 2 * q * 0.2, 0.6 + 2 * p * 0.15, 0.6], [p - 1, q - 1, (p - 1) * (q - 1)]
    expected = mean_squares([1, 1, -1], squares, freedom)
    assert od.degrees_of_freedom(model, guess, design, "c") == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize(
    ("formula", "levels", "replicates"),
    [
        ("y ~ g + x + (1 + x | s) + (1 | i)", {"g": "s"}, 2),
        ("y ~ g + x + (1 | s) + (1 + x | i) + (1 | s:i)", {"g": "i"}, 4),
        ("y ~ g + x + (1 + x | s) + (1 + x | i) + (1 | s:i)", {"g": "s", "x": "i"}, 1),
    ],
)
def test_kinds_of_unit_give_what_listed_units_give(formula, levels, replicates):
    model = od.MixedModel(formula)
    sizes = {"s": 1 + ("x | s)" in formula), "i": 1 + ("x | i)" in formula), "s:i": 1}
    covariance = {factor: np.diag([0.3, 0.2])[: sizes[factor], : sizes[factor]] for factor in model.factors}
    guess = od.NominalValues([0, 1, 1], covariance, dispersion=0.8)
    design = od.Design(
        Crossed("s", "i"),
        counts={"s": 8, "i": 6},
        replicates=replicates,
        levels=levels,
        measure=od.Measure.grid(g=[0, 1], x=[-1, 1]),
    )
    kinds = labelled_rows(model, guess, design.points)
    listed = labelled_rows(model, guess, listed_points(design))
    each = [strata_information(rows, crossed=True) for rows in (kinds, listed)]
    np.testing.assert_allclose(each[0], each[1], rtol=1e-9, atol=1e-9 * np.abs(each[1]).max())
    found = [satterthwaite(rows, np.eye(3), crossed=True) for rows in (kinds, listed)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-8)


@pytest.mark.parametrize(("k", "tolerance"), [(6, 0.05), (12, 0.005)])
def test_incomplete_crossing_is_near_what_its_incidence_gives(k, tolerance):
    model = od.MixedModel("y ~ g + (1 | s) + (1 | i)")
    guess = od.NominalValues([0, 1], {"s": 0.3, "i": 0.4}, dispersion=0.8)
    design = od.Design(
        Crossed("s", "i"),
        counts={"s": 24, "i": 24},
        replicates=1,
        crossing="biregular",
        cells=24 * k,
        measure=od.Measure.grid(g=[0, 1]),
        levels={"g": "s"},
    )
    listed = labelled_rows(model, guess, listed_points(design))
    exact = satterthwaite(listed, np.array([[0.0, 1.0]]), crossed=True)[0]
    assert od.degrees_of_freedom(model, guess, design, "g") == pytest.approx(exact, rel=tolerance)


def test_several_combinations_of_one_mean_square_keep_its_degrees_of_freedom():
    """A factor of three levels between units: F on 2 and m − 3 degrees of freedom."""
    model = od.MixedModel("y ~ C(a) + (1 | s) + (1 | i)")
    guess = od.NominalValues([0, 0.5, 0.2], {"s": 0.3, "i": 0.4}, dispersion=0.8)
    design = od.Design(
        Crossed("s", "i"),
        counts={"s": 21, "i": 9},
        replicates=1,
        levels={"a": "s"},
        measure=od.Measure.grid(a=["x", "y", "z"]),
    )
    names = ["C(a)[T.y]", "C(a)[T.z]"]
    left = Freedom(model, guess, design).left(od.JointTest(names).combinations, "satterthwaite")
    assert left == pytest.approx(18, rel=1e-8)


def test_power_is_that_of_tests_with_estimated_degrees_of_freedom():
    """Mean squares of a crossed design drawn, their degrees of freedom estimated anew from each draw."""
    p, q, rng, replications = 12, 16, np.random.default_rng(11), 100_000
    squares = np.array([0.6 + 2 * q * 0.2, 0.6 + 2 * p * 0.15, 0.6])
    freedom, signs = np.array([p - 1, q - 1, (p - 1) * (q - 1)]), np.array([1, 1, -1])
    drawn = squares * rng.chisquare(freedom, (replications, 3)) / freedom
    df = (drawn @ signs) ** 2 / (drawn**2 / freedom).sum(axis=1)
    critical = np.sqrt(drawn @ signs / (2 * p * q)) * stats.t.isf(0.025, df)
    estimate = rng.normal(0.5, math.sqrt(squares @ signs / (2 * p * q)), replications)
    share = np.mean(np.abs(estimate) > critical)
    model = od.MixedModel("y ~ c + (1 + c | s) + (1 + c | i)")
    guess = od.NominalValues([0, 0.5], {"s": np.diag([0.3, 0.2]), "i": np.diag([0.1, 0.15])}, dispersion=0.6)
    design = od.Design(Crossed("s", "i"), counts={"s": p, "i": q}, replicates=2, measure=od.Measure.grid(c=[-1, 1]))
    assert od.power(model, guess, design, od.WaldTest("c")) == pytest.approx(share, abs=0.006)
