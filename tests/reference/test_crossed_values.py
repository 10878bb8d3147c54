"""Published and independently computed values of crossed designs, to their printed digits."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import optdesign as od
from optdesign.covariance.crossed import crossed_covariance
from optdesign.covariance.gls import gls_covariance
from optdesign.covariance.labelled import LabelledRows, RandomTerm
from optdesign.families import LINKS

REFERENCE = json.loads((Path(__file__).parent / "values.json").read_text(encoding="utf-8"))
CROSSED, NESTED = REFERENCE["crossed"], REFERENCE["nested"]
SIGMA, SECOND = [[0.6, 0.15], [0.15, 0.4]], [[0.35, -0.08], [-0.08, 0.25]]
NORMAL = od.Measure.from_distributions(x=stats.norm(0, 1), nodes=40)


def intercepts(key):
    """The model and nominal values of an entry with random intercepts of both factors."""
    entry = CROSSED[key]
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", {"poisson": "poisson", "logit": "bernoulli"}[entry["family"]])
    return entry, model, od.NominalValues(entry["beta"], {"s": entry["sigma_u2"], "i": entry["sigma_v2"]})


def crossed(m, m2, n=1, measure=None, **more):
    counts = {"s": m, "i": m2}
    return od.Design(od.Crossed("s", "i"), counts=counts, replicates=n, measure=measure or od.Measure.grid(), **more)


@pytest.mark.parametrize("key", ["P1_poisson_xN01", "L1_logit_xN01"])
@pytest.mark.parametrize("where", ["measure", "observed"])
def test_two_term_covariance_of_random_intercepts(key, where):
    entry, model, guess = intercepts(key)
    cov = od.covariance(model, guess, crossed(40, 40, **{where: NORMAL}))
    np.testing.assert_allclose(cov.matrix, entry["cov_two_term_40_40_1"], rtol=1e-12)
    np.testing.assert_allclose(sum(cov.terms.values()), cov.matrix, rtol=1e-9)


@pytest.mark.parametrize("key", ["P1_poisson_xN01", "L1_logit_xN01"])
def test_parts_of_the_two_way_operator(key):
    """Q, L and C_B from the covariance: N Cov_BB = C_B, N Cov_0B = −L C_B, N(Cov_00 − leading) = Q + L C_B Lᵀ."""
    entry, model, guess = intercepts(key)
    cov = od.covariance(model, guess, crossed(40, 40, measure=NORMAL))
    total = 1600.0
    c_b = total * cov.matrix[1, 1]
    loading = -total * cov.matrix[0, 1] / c_b
    noise = total * cov.terms["observation"][0, 0]
    assert c_b == pytest.approx(entry["C_B"], rel=1e-11)
    assert loading == pytest.approx(entry["L"], rel=1e-11)
    assert noise - loading**2 * c_b == pytest.approx(entry["Q"], rel=1e-11)


@pytest.mark.parametrize("key", ["P1_poisson_xN01", "L1_logit_xN01"])
def test_variance_components_of_random_intercepts(key):
    entry, model, guess = intercepts(key)
    design = crossed(40, 40, measure=NORMAL)
    one = od.covariance(model, guess, design, "leading", parameters="all")
    two = od.covariance(model, guess, design, "two-term", parameters="all")
    at = two.position("var(Intercept | s)")
    assert one.matrix[at, at] == pytest.approx(entry["var_su2_1t_2t_40_40_1"][0], rel=1e-12)
    assert two.matrix[at, at] == pytest.approx(entry["var_su2_1t_2t_40_40_1"][1], rel=1e-12)
    np.testing.assert_allclose(two.matrix[:2, :2], entry["cov_two_term_40_40_1"], rtol=1e-11)
    for factor, q, load in (("s", "Q_su2", "L_su2"), ("i", "Q_sv2", "L_sv2")):
        at = two.position(f"var(Intercept | {factor})")
        expected = entry[q] + entry[load] ** 2 * entry["C_B"]
        lead = 2 * np.asarray(guess.covariance[factor])[0, 0] ** 2 / 40
        assert 1600 * (two.matrix[at, at] - lead) == pytest.approx(expected, rel=1e-10)


def test_random_slopes():
    points = pd.DataFrame([(a, 0.5 * a + b) for a in (-1, 0, 1) for b in (-1, 1)], columns=["x1", "x2"])
    model = od.MixedModel("y ~ x1 + x2 + (1 + x1 | s) + (1 + x1 | i)", "poisson")
    guess = od.NominalValues([-0.3, 0.4, 0.5], {"s": [[0.5, 0.1], [0.1, 0.2]], "i": [[0.3, -0.05], [-0.05, 0.15]]})
    cov = od.covariance(model, guess, crossed(40, 30, measure=od.Measure.from_frame(points)))
    np.testing.assert_allclose(cov.matrix, CROSSED["S_poisson_R01_C01"]["cov_two_term_40_30_1"], rtol=1e-11)


def test_slopes_of_one_factor_only():
    """The table's C_B, Q and L with R = {0, 1} and C = {0}."""
    points = pd.DataFrame([(a, 0.5 * a + b) for a in (-1, 0, 1) for b in (-1, 1)], columns=["x1", "x2"])
    model = od.MixedModel("y ~ x1 + x2 + (1 + x1 | s) + (1 | i)", "poisson")
    guess = od.NominalValues([-0.3, 0.4, 0.5], {"s": [[0.5, 0.1], [0.1, 0.2]], "i": 0.3})
    cov = od.covariance(model, guess, crossed(40, 30, measure=od.Measure.from_frame(points)))
    noise = 1200 * cov.terms["observation"]
    load = -noise[:2, 2] / noise[2, 2]
    assert noise[2, 2] == pytest.approx(0.792645814911, rel=1e-11)
    np.testing.assert_allclose(load, [0.462117157260, 0.5], rtol=1e-11)
    expected = [[1.742898313632, -0.723444215027], [-0.723444215027, 2.135837674775]]
    np.testing.assert_allclose(noise[:2, :2] - np.outer(load, load) * noise[2, 2], expected, rtol=1e-11)


def test_treatment_of_rows():
    entry = CROSSED["T_poisson_row_g01_obs_xpm1_40_40"]
    model = od.MixedModel("y ~ g + x + (1 | s) + (1 | i)", "poisson")
    guess = od.NominalValues([-0.2, 0.5, 0.4], {"s": 0.6, "i": 0.4})
    design = crossed(40, 40, measure=od.Measure.grid(g=[0, 1], x=[-1, 1]), levels={"g": "s"})
    np.testing.assert_allclose(od.covariance(model, guess, design).matrix, entry["two_term"], rtol=1e-11, atol=1e-15)
    lead = od.covariance(model, guess, design, "leading").matrix
    np.testing.assert_allclose(lead[:2, :2], np.array(entry["part_of_order_1_over_m"])[:2, :2], rtol=1e-11)


@pytest.mark.parametrize(
    ("key", "rows", "columns", "ratio"),
    [
        ("P1_poisson_xN01", 20, 20, 1.292),
        ("P1_poisson_xN01", 40, 40, 1.132),
        ("P1_poisson_xN01", 80, 80, 1.063),
        ("P1_poisson_xN01", 160, 160, 1.031),
        ("P1_poisson_xN01", 20, 60, 1.188),
        ("L1_logit_xN01", 20, 20, 1.145),
        ("L1_logit_xN01", 40, 40, 1.074),
        ("L1_logit_xN01", 80, 80, 1.038),
        ("L1_logit_xN01", 160, 160, 1.019),
        ("L1_logit_xN01", 20, 60, 1.094),
    ],
)
def test_refined_order(key, rows, columns, ratio):
    _, model, guess = intercepts(key)
    design = crossed(rows, columns, measure=NORMAL)
    two, refined = (od.covariance(model, guess, design, order).matrix[1, 1] for order in ("two-term", "refined"))
    assert refined / two == pytest.approx(ratio, abs=6e-4)


def sign(exponent):
    return np.where(exponent % 2 == 0, 1.0, -1.0)


def given_columns(X, row, column, first, second, sigma, other, variance=1.1):
    """Labelled rows from explicit columns, every unit and observation on its own."""
    X = np.asarray(X, float)
    terms = tuple(
        RandomTerm(name, tuple(map(str, at)), codes, np.ones(codes.max() + 1), X[:, at], np.atleast_2d(matrix))
        for name, codes, at, matrix in (("s", row, first, sigma), ("i", column, second, other))
        if len(at)
    )
    names, ones = tuple(f"b{k}" for k in range(X.shape[1])), np.ones(len(X))
    beta, eta = np.zeros(X.shape[1]), np.zeros(len(X))
    return LabelledRows(
        names,
        {},
        X,
        ones,
        beta,
        eta,
        terms,
        lambda e: np.full(e.shape, 1 / variance),
        np.arange(len(X)),
        LINKS["identity"],
    )


def cells(m, m2, n):
    return (g.ravel() for g in np.meshgrid(np.arange(m), np.arange(m2), np.arange(n), indexing="ij"))


def exact_and_two_term(rows):
    return gls_covariance(rows, "exact").matrix, crossed_covariance(rows, "two-term", 1).matrix


@pytest.mark.parametrize(
    ("key", "second"), [("G1_constant_moments_R01_C02", [0, 2]), ("G1b_constant_moments_R01_C01", [0, 1])]
)
def test_exactness_under_constant_moments(key, second):
    i, k, j = cells(4, 6, 2)
    X = np.stack(
        [sign(0 * i), 0.3 + sign(i + k) + 0.5 * sign(i + k + j), -0.2 + sign(j), sign(i + k + j) + 0.4 * sign(j)], 1
    )
    rows = given_columns(X, i, k, [0, 1], second, SIGMA, SECOND)
    exact, two = exact_and_two_term(rows)
    np.testing.assert_allclose(exact, CROSSED[key]["exact"], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(two, exact, rtol=1e-12, atol=1e-15)


def test_leading_part_under_constant_moments():
    entry = CROSSED["G1_constant_moments_R01_C02"]
    points = pd.DataFrame(
        [(0.3 + a + 0.5 * a * b, -0.2 + b, a * b + 0.4 * b) for a in (1, -1) for b in (1, -1)], columns=["p", "q", "r"]
    )
    model = od.MixedModel("y ~ p + q + r + (1 + p | s) + (1 + q | i)")
    guess = od.NominalValues([0] * 4, {"s": SIGMA, "i": SECOND}, 1.1)
    design = crossed(4, 6, 2, od.Measure.from_frame(points))
    for order in ("two-term", "averaged", "exact"):
        np.testing.assert_allclose(
            od.covariance(model, guess, design, order).matrix, entry["exact"], rtol=1e-12, atol=1e-15
        )
    lead = od.covariance(model, guess, design, "leading").matrix
    np.testing.assert_allclose(lead[:3, :3], np.array(entry["part_of_order_1_over_m"])[:3, :3], rtol=1e-12, atol=1e-15)


def cross_level():
    measure = od.Measure.grid(x=[-0.7, 1.3], g=[-2, -1, 0, 1, 3, 0.5])
    return crossed(6, 4, 2, measure, levels={"g": "s"})


def test_cross_level_interaction():
    model = od.MixedModel("y ~ x * g + (1 + x | s) + (1 + x | i)")
    guess = od.NominalValues([0] * 4, {"s": SIGMA, "i": SECOND}, 1.1)
    for order in ("two-term", "averaged", "exact"):
        matrix = od.covariance(model, guess, cross_level(), order).matrix
        np.testing.assert_allclose(matrix, CROSSED["G3_cross_level_1_x_g_gx"]["exact"], rtol=1e-12, atol=1e-15)
    lead = np.diag(od.covariance(model, guess, cross_level(), "leading").matrix)
    np.testing.assert_allclose(lead, [0.190021008403, 0.130847338936, 0.040336134454, 0.026890756303], rtol=1e-10)


def test_row_covariate_without_its_random_effect():
    measure = od.Measure.grid(g=[-2, -1, 0, 1, 3, 0.5])
    cov = od.covariance(
        od.MixedModel("y ~ g + (1 | i)"),
        od.NominalValues([0, 0], {"i": 0.35}, 1.1),
        crossed(6, 4, 2, measure, levels={"g": "s"}),
        "exact",
    )
    np.testing.assert_allclose(np.diag(cov.matrix), [0.110994397759, 0.009243697479], rtol=1e-10)


def test_nested_cluster_level_covariate():
    design = od.Design(
        od.Nested("s"),
        counts={"s": 7},
        replicates=5,
        measure=od.Measure.grid(g=[-2, -1, 0, 1, 3, 0.5, 2.2]),
        levels={"g": "s"},
    )
    model, guess = od.MixedModel("y ~ g + (1 | s)"), od.NominalValues([0, 0], {"s": 0.6}, 1.1)
    for order in ("two-term", "averaged", "exact"):
        matrix = od.covariance(model, guess, design, order).matrix
        np.testing.assert_allclose(matrix, CROSSED["G5_nested_cluster_level"]["exact"], rtol=1e-12)


def test_general_covariates():
    i, k, j = (a + 0.0 for a in cells(3, 3, 1))
    X = np.stack(
        [np.ones(9), np.sin(1 + 3 * i + 5 * k + 7 * j + 0.1 * i * k), np.cos(2 + 2 * i - 3 * k + 4 * j - 0.2 * i * k)],
        1,
    )
    rows = given_columns(X, i.astype(int), k.astype(int), [0, 1], [0, 1], SIGMA, SECOND)
    entry = CROSSED["G6_general_x_3_3_1_R01_C01"]
    np.testing.assert_allclose(gls_covariance(rows, "exact").matrix, entry["exact"], rtol=1e-11)
    # With the law of x taken as the same in every row and column, the two-term formula uses M = XᵀX/N.
    pooled = od.Measure.from_frame(pd.DataFrame(X[:, 1:], columns=["p", "q"]))
    cov = od.covariance(
        od.MixedModel("y ~ p + q + (1 + p | s) + (1 + p | i)"),
        od.NominalValues([0] * 3, {"s": SIGMA, "i": SECOND}, 1.1),
        crossed(3, 3, 1, pooled),
    )
    np.testing.assert_allclose(cov.matrix, entry["two_term_empirical_M"], rtol=1e-11)


def test_variance_components_of_gaussian_intercepts():
    model, guess = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)"), od.NominalValues([0], {"s": 0.6, "i": 0.35}, 1.1)

    def components(order, reml=False):
        return od.covariance(model, guess, crossed(8, 6, 2), order, "all", reml).matrix[1:, 1:]

    np.testing.assert_allclose(components("exact"), CROSSED["G7_vc_intercepts_8_6_2_ML"]["exact"], rtol=1e-12)
    reml = np.diag(components("exact", reml=True))
    np.testing.assert_allclose(reml, [0.136888984509, 0.070254518072, 0.029156626506], rtol=1e-10)
    one, two = np.diag(components("leading")), np.diag(components("two-term"))
    np.testing.assert_allclose(one, [0.09, 0.040833333333, 0.025208333333], rtol=1e-10)
    np.testing.assert_allclose(two, [0.119600694, 0.058450521, 0.029156627], atol=6e-10)


def test_circulant_incidence():
    pairs = pd.DataFrame([(i, (i + t) % 12) for i in range(12) for t in range(5)], columns=["s", "i"])
    model, guess = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)"), od.NominalValues([0], {"s": 0.6, "i": 0.35}, 1.1)
    for crossing in (pairs, "biregular"):
        design = crossed(12, 12, crossing=crossing, cells=60 if isinstance(crossing, str) else None)
        for order in ("two-term", "exact"):
            assert od.covariance(model, guess, design, order).matrix[0, 0] == pytest.approx(0.0975, rel=1e-12)


def test_heterogeneous_crossing_inflates_the_second_term():
    """ρ̄E(1/ρ) + κ̄E(1/κ) − 1 with ρ alternating .9, .2 and κ = .3 at one column in four, else .9."""
    model, guess = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)"), od.NominalValues([0], {"s": 0.6, "i": 0.35}, 1.1)
    cov = od.covariance(model, guess, crossed(10**6, 10**6, crossing={"s": [0.9, 0.2], "i": [0.3, 0.9, 0.9, 0.9]}))
    factor = cov.terms["observation"][0, 0] * (10**12 * 0.55 * 0.75) / 1.1
    assert factor == pytest.approx(CROSSED["I5_heterogeneity_factor"]["value"], rel=1e-4)


NESTED_INTERCEPT = ("y ~ x + (1 | g)", 0.5, "bernoulli_intercept_K_diag", ["Intercept", "var(Intercept | g)", "x"])
NESTED_SLOPE = (
    "y ~ x + (1 + x | g)",
    [[0.5, 0.1], [0.1, 0.25]],
    "bernoulli_slope_K_diag",
    ["Intercept", "x", "var(Intercept | g)", "cov(Intercept, x | g)", "var(x | g)"],
)


@pytest.mark.parametrize(("formula", "sigma", "key", "order"), [NESTED_INTERCEPT, NESTED_SLOPE])
def test_second_terms_of_all_parameters_of_a_nested_model(formula, sigma, key, order):
    """mn(Cov − leading) of every parameter, which is K."""
    entry = NESTED[key]
    design = od.Design(od.Nested("g"), counts={"g": 1e6}, replicates=1e3, measure=od.Measure.grid(x=[0, 1]))
    cov = od.covariance(
        od.MixedModel(formula, "bernoulli"), od.NominalValues([-0.5, 0.3], {"g": sigma}), design, parameters="all"
    )
    second = 1e9 * cov.terms["observation"]
    at = [cov.position(name) for name in order]
    np.testing.assert_allclose(np.diag(second)[at], entry["K_diag"], atol=6e-6)
    for name, (a, b) in {"K_01": (0, 1), "K_02": (0, 2), "K_12": (1, 2)}.items():
        if name in entry:
            assert second[at[a], at[b]] == pytest.approx(entry[name], abs=6e-6)


FANO = [(0, 1, 2), (0, 3, 4), (0, 5, 6), (1, 3, 5), (1, 4, 6), (2, 3, 6), (2, 4, 5)]
INCIDENCES = {
    "I1_circulant_12_12_k5": np.array([(i, (i + t) % 12) for i in range(12) for t in range(5)]),
    "I4_Fano": np.array([(line, point) for line, points in enumerate(FANO) for point in points]),
}


@pytest.mark.parametrize("key", INCIDENCES)
def test_information_left_by_the_random_effects_of_an_incidence(key):
    """σ² tr P and tr(Z_rᵀPZ_r): each diagonal entry of P is the information on the indicator beside an intercept."""
    entry, (row, column) = CROSSED[key], INCIDENCES[key].T

    def left(indicator):
        X = np.stack([np.ones(len(row)), indicator], axis=1)
        rows = given_columns(np.column_stack([X, np.ones(len(row))]), row, column, [2], [2], 0.6, 0.35)
        slim = LabelledRows(
            ("b0", "b1"),
            {},
            X,
            rows.observations,
            np.zeros(2),
            rows.eta,
            rows.terms,
            rows.weight,
            rows.chosen,
            rows.link,
        )
        return 1.0 / gls_covariance(slim, "exact").matrix[1, 1]

    trace = sum(left(np.arange(len(row)) == k) for k in range(len(row)))
    rows = sum(left(row == k) for k in range(row.max() + 1))
    assert 1.1 * trace == pytest.approx(entry["s2_trP"], rel=1e-11)
    assert rows == pytest.approx(entry["row_info"], rel=1e-11)
