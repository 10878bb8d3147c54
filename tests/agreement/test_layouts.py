"""Two ways to the same covariance: kinds of unit and listed units, operator and partial minimum, dense algebra."""

import numpy as np
import pytest
from scipy import stats

import optdesign as od
from optdesign.covariance.crossed import crossed_covariance
from optdesign.covariance.gls import component_covariance, gls_covariance
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.sampled import sampled_covariance
from optdesign.incidence import biregular
from optdesign.listing import listed_points

ROWS = [[0.6, 0.15], [0.15, 0.4]]
ARMS = od.Measure.grid(x=[-0.7, 1.3], g=[0, 1])


def dense(rows, reml=False):
    """(XᵀV⁻¹X)⁻¹ and the inverse information of the variance components, from V in full."""
    at = np.repeat(np.arange(len(rows.X)), np.round(rows.observations).astype(int))
    X, variance = rows.X[at], 1 / rows.weight(rows.eta)[0]
    V, slopes = variance * np.eye(len(at)), []
    for term in rows.terms:
        Z, same = term.Z[at], term.level[at][:, None] == term.level[at]
        V = V + (Z @ term.sigma @ Z.T) * same
        for c in range(Z.shape[1]):
            for r in range(c, Z.shape[1]):
                unit = np.zeros(term.sigma.shape)
                unit[r, c] = unit[c, r] = 1.0
                slopes.append((Z @ unit @ Z.T) * same)
    slopes.append(np.eye(len(at)))
    inverse = np.linalg.inv(V)
    cov = np.linalg.inv(X.T @ inverse @ X)
    P = inverse - inverse @ X @ cov @ X.T @ inverse if reml else inverse
    traces = [[0.5 * np.trace(P @ a @ P @ b) for b in slopes] for a in slopes]
    return cov, np.linalg.inv(traces)


def crossed(n=2, **more):
    return od.Design(
        od.Crossed("s", "i"), counts={"s": 6, "i": 4}, replicates=n, measure=ARMS, levels={"g": "s"}, **more
    )


def deep():
    measure = od.Measure.grid(x=[-0.7, 1.3], g=[0, 1], t=[0, 1])
    return od.Design(
        od.Nested("s", "i"), counts={"s": 6, "i": 4}, replicates=4, measure=measure, levels={"g": "s", "t": "i"}
    )


CASES = {
    "crossed": ("y ~ x * g + (1 + x | s) + (1 | i)", {"s": ROWS, "i": 0.35}, crossed()),
    "cells": ("y ~ x * g + (1 + x | s) + (1 | i) + (1 | s:i)", {"s": ROWS, "i": 0.35, "s:i": 0.2}, crossed()),
    "incomplete": ("y ~ x * g + (1 | s) + (1 | i)", {"s": 0.6, "i": 0.35}, crossed(crossing="biregular", cells=12)),
    "nested": ("y ~ x * g + t + (1 + x | s) + (1 + x | i)", {"s": ROWS, "i": [[0.35, 0.1], [0.1, 0.1]]}, deep()),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("reml", [False, True])
def test_exact_information_is_dense_algebra(case, reml):
    formula, sigma, design = CASES[case]
    model = od.MixedModel(formula)
    guess = od.NominalValues([0.0] * (5 if case == "nested" else 4), sigma, 1.1)
    rows = labelled_rows(model, guess, listed_points(design))
    fixed, components = dense(rows, reml)
    ours = od.covariance(model, guess, design, "exact", "all", reml)
    p = len(rows.names)
    np.testing.assert_allclose(gls_covariance(rows, "exact").matrix, fixed, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(component_covariance(rows, "exact", reml).matrix, components, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ours.matrix[:p, :p], fixed, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(ours.matrix[p:, p:], components, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", ["crossed", "cells", "nested"])
def test_kinds_of_unit_stand_for_all_units(case):
    """Two-term, averaged and exact covariance of a Gaussian with the same law of x in every unit."""
    formula, sigma, design = CASES[case]
    model, p = od.MixedModel(formula), 5 if case == "nested" else 4
    guess = od.NominalValues([0.0] * p, sigma, 1.1)
    expected, _ = dense(labelled_rows(model, guess, listed_points(design)))
    for order in ("two-term", "averaged", "exact"):
        cov = od.covariance(model, guess, design, order)
        np.testing.assert_allclose(cov.matrix, expected, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(sum(cov.terms.values()), expected, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
@pytest.mark.parametrize("random", ["1", "1 + x"])
@pytest.mark.parametrize("order", ["leading", "two-term"])
def test_operator_of_one_factor_is_the_nested_formula(family, random, order):
    """Independent algebra: y and its noise against a minimum over random coefficients, several kinds of unit."""
    model = od.MixedModel(f"y ~ x * g + ({random} | s)", family)
    guess = od.NominalValues([-0.5, 0.3, 0.2, -0.1], {"s": 0.5 if random == "1" else [[0.5, 0.1], [0.1, 0.25]]})
    design = od.Design(od.Nested("s"), counts={"s": 30}, replicates=6, measure=ARMS, levels={"g": "s"})
    nested = od.covariance(model, guess, design, order)
    ours = crossed_covariance(labelled_rows(model, guess, design.points), order, 41 if random == "1" else 17)
    np.testing.assert_allclose(ours.matrix, nested.matrix, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_second_factor_without_variance_leaves_the_nested_covariance(family):
    model, one = od.MixedModel("y ~ x + (1 | s) + (1 | i)", family), od.MixedModel("y ~ x + (1 | s)", family)
    guess = od.NominalValues([-0.5, 0.3], {"s": 0.5, "i": 0.0})
    measure = od.Measure.grid(x=[0, 1])
    both = od.Design(od.Crossed("s", "i"), counts={"s": 30, "i": 20}, replicates=2, measure=measure)
    single = od.Design(od.Nested("s"), counts={"s": 30}, replicates=40, measure=measure)
    for order in ("leading", "two-term"):
        expected = od.covariance(one, guess, single, order).matrix
        np.testing.assert_allclose(od.covariance(model, guess, both, order).matrix, expected, rtol=1e-7, atol=1e-12)


def test_without_random_effects_every_layout_is_the_glm():
    measure = od.Measure.grid(x=[0, 1])
    glm = od.covariance(
        od.MixedModel("y ~ x", "poisson"),
        od.NominalValues([-0.5, 0.3]),
        od.Design(None, replicates=600, measure=measure),
    )
    guess = od.NominalValues([-0.5, 0.3], {"s": 0.0, "i": 0.0})
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "poisson")
    for layout, counts in ((od.Crossed("s", "i"), {"s": 30, "i": 20}), (od.Nested("s", "i"), {"s": 30, "i": 20})):
        design = od.Design(layout, counts=counts, replicates=1, measure=measure)
        for order in ("leading", "two-term"):
            np.testing.assert_allclose(od.covariance(model, guess, design, order).matrix, glm.matrix, rtol=1e-9)


@pytest.mark.parametrize("family", ["poisson", "bernoulli"])
def test_sampled_information_of_one_factor_agrees_with_quadrature(family):
    model, guess = od.MixedModel("y ~ x + (1 | s)", family), od.NominalValues([-0.5, 0.3], {"s": 0.5})
    design = od.Design(od.Nested("s"), counts={"s": 200}, replicates=6, measure=od.Measure.grid(x=[0, 1]))
    expected = np.diag(od.covariance(model, guess, design, "averaged").matrix)
    ours = sampled_covariance(labelled_rows(model, guess, listed_points(design)), seed=4)
    ratio = np.diag(ours.matrix) / expected
    assert np.abs(ratio - 1).max() < 4 * ours.monte_carlo_error.max()


def test_sampled_information_sees_what_the_refined_order_corrects():
    """Poisson, 40 × 40: the coefficient without a random partner is 13 % above two terms, all of it leverage."""
    model = od.MixedModel("y ~ x + (1 | s) + (1 | i)", "poisson")
    guess = od.NominalValues([0.2, 0.5], {"s": 0.5, "i": 0.3})
    normal = od.Measure.from_distributions(x=stats.norm(0, 1))
    design = od.Design(od.Crossed("s", "i"), counts={"s": 40, "i": 40}, replicates=1, observed=normal)
    two, refined, averaged = (
        od.covariance(model, guess, design, order).matrix[1, 1] for order in ("two-term", "refined", "averaged")
    )
    assert refined / two == pytest.approx(1.132, abs=1e-3)
    assert averaged / refined == pytest.approx(1.0, abs=0.06)  # one incidence of drawn covariates


def test_second_term_is_of_its_order():
    """The second term of a crossed intercept is of order 1/(mm'), one order below the leading one."""
    model = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)", "poisson")
    guess, gaps = od.NominalValues([0.2], {"s": 0.5, "i": 0.3}), []
    for size in (6, 12, 24):
        design = od.Design(od.Crossed("s", "i"), counts={"s": size, "i": size}, replicates=1)
        lead, two = (od.covariance(model, guess, design, order).matrix[0, 0] for order in ("leading", "two-term"))
        gaps.append(two - lead)
    slopes = np.diff(np.log(gaps)) / np.log(2)
    np.testing.assert_allclose(slopes, -2.0, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "columns", "cells"), [(12, 12, 60), (60, 20, 120), (20, 30, 60), (7, 7, 21), (5, 4, 20)]
)
def test_biregular_incidence_is_even_connected_and_without_repeats(rows, columns, cells):
    pairs = biregular(rows, columns, cells)
    assert len(np.unique(pairs, axis=0)) == cells
    assert set(np.bincount(pairs[:, 0], minlength=rows)) == {cells // rows}
    assert set(np.bincount(pairs[:, 1], minlength=columns)) == {cells // columns}
    matrix = np.zeros((rows, columns))
    matrix[tuple(pairs.T)] = 1
    top = np.linalg.svd(matrix, compute_uv=False)[:2]
    assert top[1] < top[0] - 1e-9  # a second equal singular value would mean unconnected parts


def test_numbers_that_cannot_be_spread_evenly():
    with pytest.raises(od.SpecificationError, match="a multiple of both, at most 600, such as 60 or 120"):
        biregular(20, 30, 70)


def test_two_terms_approach_exact_information_at_their_rate():
    """Bernoulli clusters: the relative error of two terms falls as 1/n², that of the leading one as 1/n."""
    model, guess = od.MixedModel("y ~ g + (1 | s)", "bernoulli"), od.NominalValues([-0.5, 0.6], {"s": 0.5})
    errors = {"leading": [], "two-term": []}
    sizes = (80, 160, 320)
    for n in sizes:
        arms = od.Measure.grid(g=[0, 1])
        design = od.Design(od.Nested("s"), counts={"s": 1e6}, replicates=n, measure=arms, levels={"g": "s"})
        exact = od.covariance(model, guess, design, "exact").matrix[1, 1]
        for order, gaps in errors.items():
            gaps.append(abs(od.covariance(model, guess, design, order).matrix[1, 1] / exact - 1))
    slope = {order: np.polyfit(np.log(sizes), np.log(gaps), 1)[0] for order, gaps in errors.items()}
    assert slope["leading"] == pytest.approx(-1, abs=0.1)
    assert slope["two-term"] < -1.7


@pytest.mark.parametrize("n", [1, 3])
def test_two_terms_of_a_crossed_gaussian_with_drawn_covariates(n):
    """Mean exact covariance over drawn designs; two terms are within the 0.5 % and 15 % of their published table."""
    law = od.Measure.from_distributions(x=stats.norm(0.5, 1.2))
    design = od.Design(od.Crossed("s", "i"), counts={"s": 10, "i": 10}, replicates=n, observed=law)
    model, guess = od.MixedModel("y ~ x + (1 | s) + (1 | i)"), od.NominalValues([0, 0], {"s": 0.6, "i": 0.35}, 1.1)
    drawn = [np.diag(od.covariance(model, guess, design, "exact", seed=seed).matrix) for seed in range(200)]
    ratio = np.diag(od.covariance(model, guess, design).matrix) / np.mean(drawn, axis=0)
    assert ratio == pytest.approx([1.0, 1.0], abs=0.04)
