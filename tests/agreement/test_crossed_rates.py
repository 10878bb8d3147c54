"""Crossed formulas against dense algebra and against averaged information, at the rates they claim."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.covariance.crossed import crossed_covariance
from optdesign.covariance.gls import gls_covariance
from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.families import LINKS
from tests.oracles import relative_difference

SIGMA, SECOND = np.array([[0.6, 0.15], [0.15, 0.4]]), np.array([[0.35, -0.08], [-0.08, 0.25]])


def cells(m, m2, n):
    return (g.ravel() for g in np.meshgrid(np.arange(m), np.arange(m2), np.arange(n), indexing="ij"))


def slope(sizes, gaps):
    return np.polyfit(np.log(sizes), np.log(np.abs(gaps)), 1)[0]


@pytest.mark.parametrize("cell", [0.0, 0.7])
@pytest.mark.parametrize(("m", "m2", "n"), [(5, 4, 2), (7, 3, 3), (4, 6, 1)])
def test_strata_formula_with_any_covariates(m, m2, n, cell):
    """XᵀV⁻¹X = Σ_s XᵀP_sX/λ_s over the strata of a balanced complete crossing, P_s the projectors of its means."""
    row, column, _ = cells(m, m2, n)
    rng = np.random.default_rng(m)
    df = pd.DataFrame({"r": row, "c": column, "x": rng.normal(size=len(row)), "g": rng.normal(size=m)[row]})
    df["h"] = rng.normal(size=m2)[column] + 0.3 * df["x"]
    formula = "y ~ x + g + h + (1 | r) + (1 | c)" + " + (1 | r:c)" * (cell > 0)
    guess = od.NominalValues([0, 1, 1, 1], {"r": 0.6, "c": 0.35, "r:c": cell}, dispersion=1.1)
    found = od.covariance_of_frame(od.MixedModel(formula), guess, df, "exact").matrix

    def mean(label):
        same = label[:, None] == label
        return same / same.sum(axis=1)

    whole, rows, columns, both = mean(0 * row), mean(row), mean(column), mean(row * m2 + column)
    between = 1.1 + n * cell
    strata = [
        (whole, between + m2 * n * 0.6 + m * n * 0.35),
        (rows - whole, between + m2 * n * 0.6),
        (columns - whole, between + m * n * 0.35),
        (both - rows - columns + whole, between),
        (np.eye(len(row)) - both, 1.1),
    ]
    X = np.column_stack([np.ones(len(row)), df["x"], df["g"], df["h"]])
    information = sum(X.T @ projector @ X / eigenvalue for projector, eigenvalue in strata)
    assert relative_difference(found, np.linalg.inv(information)) < 1e-12


def gaussian_gap(m, m2, n, draws=24):
    """Two terms at M = XᵀX/N less exact variances of (1, x, z), slopes of both factors on x, over drawn covariates."""
    row, column, _ = cells(m, m2, n)
    gaps = []
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        x = rng.normal(0.5, 1.2, len(row))
        X = np.column_stack([np.ones(len(row)), x, 0.6 * x + 0.8 * rng.normal(size=len(row))])
        two_term = crossed_covariance(_rows(X, (0 * row, [m]), (0 * column, [m2])), "two-term", 1)
        exact = gls_covariance(_rows(X, (row, np.ones(m)), (column, np.ones(m2))), "exact")
        gaps.append(np.diag(two_term.matrix) - np.diag(exact.matrix))
    return np.mean(gaps, axis=0)


def _rows(X, first, second):
    pair = zip(("r", "c"), (first, second), (SIGMA, SECOND), strict=True)
    terms = tuple(RandomTerm(f, ("1", "x"), lv, np.array(count, float), X[:, :2], s) for f, (lv, count), s in pair)
    size, names = len(X), ("1", "x", "z")
    return LabelledRows(
        names,
        {},
        X,
        np.ones(size),
        np.zeros(3),
        np.zeros(size),
        terms,
        lambda eta: np.full(eta.shape, 1 / 1.1),
        np.arange(size),
        LINKS["identity"],
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(m, m, 1) for m in (16, 24, 36, 54)], -3),
        ([(8, 8, n) for n in (8, 16, 32, 64)], -2),
        ([(8, m, 6) for m in (32, 64, 128)], -1),
    ],
)
def test_gaussian_two_terms_converge_to_exact_in_units_and_replicates(sizes, expected):
    """The gap is σ²/N · O(1/(m'n) + 1/(mn)): m⁻³ along m = m', n⁻² in n and, with rows fixed, m'⁻¹ in columns."""
    gaps = np.array([gaussian_gap(*size) for size in sizes])
    np.testing.assert_allclose(slope([max(size) for size in sizes], gaps), expected, atol=0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "sizes", "expected"),
    [("poisson", [(m, m, 1) for m in (8, 16, 32)], -3), ("bernoulli", [(8, 8, n) for n in (16, 32, 64)], -2)],
)
def test_two_terms_and_averaged_information_converge(family, sizes, expected):
    """For the coefficient without a random partner; what they differ by is the units' degrees of freedom."""
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", family)
    guess = od.NominalValues([-0.5, 1.0], {"s": 0.5, "i": 0.3})
    gaps = []
    for m, m2, n in sizes:
        design = od.Design(
            od.Crossed("s", "i"), counts={"s": m, "i": m2}, replicates=n, measure=od.Measure.grid(x=[-1, 1])
        )
        both = [od.covariance(model, guess, design, order).matrix[1, 1] for order in ("averaged", "two-term")]
        gaps.append(both[0] - both[1])
    assert slope([max(size) for size in sizes], gaps) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("order", ["leading", "two-term"])
@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
@pytest.mark.parametrize("random", ["(1 | s)", "(1 + x | s)"])
def test_without_variation_of_columns_a_crossed_design_is_nested(family, order, random):
    """Σ' = 0: a row's m'n observations are replicates of one another."""
    sigma = SIGMA if "x" in random else SIGMA[0, 0]
    measure = od.Measure.grid(x=[-1, 0, 1], v=[0, 1], weights=[1, 2, 1, 2, 1, 3])
    guess = od.NominalValues([-0.4, 0.5, 0.3], {"s": sigma, "i": 0.0})
    layouts = (
        (f"y ~ x + v + {random} + (1 | i)", od.Crossed("s", "i"), {"s": 9, "i": 5}, 4),
        (f"y ~ x + v + {random}", od.Nested("s"), {"s": 9}, 20),
    )
    crossed, nested = (
        od.covariance(
            od.MixedModel(formula, family),
            guess,
            od.Design(layout, counts=counts, replicates=n, measure=measure),
            order,
        ).matrix
        for formula, layout, counts, n in layouts
    )
    assert relative_difference(crossed, nested) < 1e-8


@pytest.mark.parametrize("family", ["gaussian", "poisson", "bernoulli"])
def test_slope_on_a_treatment_that_is_constant_within_rows(family):
    """Its rows see U₀ + tU₁ alone. Gaussian: exact. Otherwise: the covariance of rows of two kinds of variance."""
    model = od.MixedModel("y ~ t + (1 + t | s) + (1 | i)", family)
    design = od.Design(
        od.Crossed("s", "i"),
        counts={"s": 12, "i": 8},
        replicates=2,
        measure=od.Measure.grid(t=[0, 1]),
        levels={"t": "s"},
    )
    guess = od.NominalValues([-0.4, 0.5], {"s": SIGMA, "i": 0.35}, dispersion=1.0)
    two_term = od.covariance(model, guess, design, "two-term")
    assert two_term.inestimable == ()
    if family == "gaussian":
        exact = od.covariance(model, guess, design, "exact").matrix
        assert relative_difference(two_term.matrix, exact) < 1e-12
    averaged = np.diag(od.covariance(model, guess, design, "averaged").matrix)
    np.testing.assert_allclose(np.diag(two_term.matrix), averaged, rtol=0.12)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_all_orders_agree_as_replicates_grow(family):
    """Leading, two terms and averaged, of the coefficients that units absorb; the gaps fall as 1/n."""
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", family)
    guess = od.NominalValues([-0.5, 1.0], {"s": 0.5, "i": 0.3})
    gaps = []
    for n in (20, 60, 180):
        design = od.Design(
            od.Crossed("s", "i"), counts={"s": 4, "i": 4}, replicates=n, measure=od.Measure.grid(x=[-1, 1])
        )
        leading, two, averaged = (
            od.covariance(model, guess, design, o).matrix[0, 0] for o in ("leading", "two-term", "averaged")
        )
        gaps.append([two / leading - 1, averaged / leading - 1])
    np.testing.assert_allclose(slope([20, 60, 180], np.array(gaps)), -1, atol=0.1)
