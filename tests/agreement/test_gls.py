"""Gaussian covariances against generalised least squares with the full covariance matrix of the responses."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optdesign as od
from optdesign import Design, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from tests.oracles import dense_gls, relative_difference

MODELS = {
    "y ~ x + (1 | g)": (("1", "x"), ("1",)),
    "y ~ x + (1 + x | g)": (("1", "x"), ("1", "x")),
    "y ~ x + t + (1 | g)": (("1", "x", "t"), ("1",)),
    "y ~ x * t + (1 | g)": (("1", "x", "t", "x:t"), ("1",)),
    "y ~ x * t + (1 + x | g)": (("1", "x", "t", "x:t"), ("1", "x")),
    "y ~ x * t + (0 + x | g)": (("1", "x", "t", "x:t"), ("x",)),
    "y ~ t + x + I(x**2) + x:t + (1 + x | g)": (("1", "t", "x", "xx", "x:t"), ("1", "x")),
}
COLUMNS = {
    "1": lambda f: np.ones(len(f)),
    "x": lambda f: f["x"],
    "t": lambda f: f["t"],
    "xx": lambda f: f["x"] ** 2,
    "x:t": lambda f: f["x"] * f["t"],
}


def design_and_rows(groups):
    """The design whose units realise `groups` (count, unit-level t, {x: times}), and its rows one by one."""
    kinds, rows, unit = [], [], 0
    for count, t, times in groups:
        n = sum(times.values())
        measure = Measure.grid(x=list(times), weights=list(times.values()))
        kinds.append(Group(count, n, measure, at={"t": t}))
        for _ in range(count):
            rows += [(unit, t, x) for x, k in times.items() for _ in range(k)]
            unit += 1
    return Design(Nested("g"), kinds), pd.DataFrame(rows, columns=["unit", "t", "x"])


def columns(names, frame):
    return np.column_stack([np.asarray(COLUMNS[name](frame), float) for name in names])


def covariance_matrix(dimension, scales, correlation):
    sigma = np.diag(np.square(scales[:dimension]))
    if dimension == 2:
        sigma[0, 1] = sigma[1, 0] = correlation * scales[0] * scales[1]
    return sigma


kind_of_group = st.tuples(
    st.integers(1, 6),
    st.fixed_dictionaries({-1.0: st.integers(1, 3), 0.0: st.integers(1, 3), 2.0: st.integers(1, 3)}),
)


@given(
    formula=st.sampled_from(list(MODELS)),
    kinds=st.lists(kind_of_group, min_size=3, max_size=5),
    scales=st.tuples(st.floats(0.1, 3.0), st.floats(0.1, 3.0)),
    correlation=st.floats(-0.9, 0.9),
    residual=st.floats(0.2, 5.0),
)
@settings(max_examples=60)
def test_exact_order_is_gls(formula, kinds, scales, correlation, residual):
    """Unequal sizes and measures, unit-level covariates and cross-level interactions."""
    fixed, random = MODELS[formula]
    groups = [(count, float(i % 2), times) for i, (count, times) in enumerate(kinds)]
    design, rows = design_and_rows(groups)
    sigma = covariance_matrix(len(random), scales, correlation)
    guess = NominalValues([0.0] * len(fixed), {"g": sigma}, dispersion=residual)
    ours = covariance(MixedModel(formula), guess, design, order="exact").matrix
    truth = dense_gls(columns(fixed, rows), columns(random, rows), rows["unit"], sigma, residual)
    assert relative_difference(ours, truth) < 1e-12


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("formula", MODELS)
def test_other_orders_are_gls_for_gaussian_models(formula, order):
    """Exact too when every unit realises its measure and the within-unit moment matrix is regular."""
    fixed, random = MODELS[formula]
    groups = [(4, 0.0, {-1.0: 2, 0.0: 1, 1.0: 1}), (3, 1.0, {-1.0: 1, 0.0: 1, 1.0: 2}), (2, 1.0, {0.0: 2, 1.0: 3})]
    design, rows = design_and_rows(groups)
    sigma = covariance_matrix(len(random), (0.9, 0.5), 0.3)
    guess = NominalValues([0.5] * len(fixed), {"g": sigma}, dispersion=1.7)
    ours = covariance(MixedModel(formula), guess, design, order=order).matrix
    truth = dense_gls(columns(fixed, rows), columns(random, rows), rows["unit"], sigma, 1.7)
    assert relative_difference(ours, truth) < 1e-11


@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 4), (7, 2)])
def test_units_that_cannot_identify_their_own_random_slope(order, sizes):
    """A treatment constant within a unit, with a random slope on it: the unit's moment matrix is singular."""
    groups = [(5, 0.0, {0.0: sizes[0]}), (6, 1.0, {0.0: sizes[1]})]
    design, rows = design_and_rows(groups)
    sigma = np.array([[0.8, 0.2], [0.2, 0.5]])
    guess = NominalValues([0.0, 0.0], {"g": sigma}, dispersion=1.3)
    ours = covariance(MixedModel("y ~ t + (1 + t | g)"), guess, design, order=order).matrix
    truth = dense_gls(columns("1t", rows), columns("1t", rows), rows["unit"], sigma, 1.3)
    assert relative_difference(ours, truth) < 1e-11


@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_single_observations_per_unit_with_a_random_slope(order):
    """One observation per unit at each of three points: no unit identifies either random effect."""
    groups = [(4, 0.0, {x: 1}) for x in (-1.0, 0.0, 2.0)]
    design, rows = design_and_rows(groups)
    sigma = np.array([[0.8, 0.2], [0.2, 0.5]])
    guess = NominalValues([0.0, 0.0], {"g": sigma}, dispersion=1.3)
    ours = covariance(MixedModel("y ~ x + (1 + x | g)"), guess, design, order=order).matrix
    truth = dense_gls(columns("1x", rows), columns("1x", rows), rows["unit"], sigma, 1.3)
    assert relative_difference(ours, truth) < 1e-11


@pytest.mark.parametrize("sigma", [[[0.0, 0.0], [0.0, 0.5]], [[1.0, 1.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
@pytest.mark.parametrize("order", ["two-term", "averaged", "exact"])
def test_singular_covariance_of_random_effects(order, sigma):
    design, rows = design_and_rows([(4, 0.0, {-1.0: 2, 1.0: 1}), (3, 1.0, {-1.0: 1, 1.0: 3})])
    guess = NominalValues([0.0, 0.0], {"g": sigma}, dispersion=0.7)
    ours = covariance(MixedModel("y ~ x + (1 + x | g)"), guess, design, order=order).matrix
    truth = dense_gls(columns("1x", rows), columns("1x", rows), rows["unit"], sigma, 0.7)
    assert relative_difference(ours, truth) < 1e-11


def test_uncorrelated_random_effects():
    """`||` is a block-diagonal covariance of the same columns."""
    design, rows = design_and_rows([(4, 0.0, {-1.0: 2, 1.0: 1}), (3, 0.0, {-1.0: 1, 2.0: 3})])
    guess = NominalValues([0.0, 0.0], {"g": np.diag([0.4, 0.3])}, dispersion=0.7)
    ours = covariance(MixedModel("y ~ x + (1 + x || g)"), guess, design, order="exact").matrix
    truth = dense_gls(columns("1x", rows), columns("1x", rows), rows["unit"], np.diag([0.4, 0.3]), 0.7)
    assert relative_difference(ours, truth) < 1e-12


@pytest.mark.parametrize("order", ["two-term", "exact"])
def test_restricted_maximum_likelihood_without_random_terms(order):
    """Var(σ̂²) = 2σ⁴/(N − p), of a mean square; maximum likelihood has 2σ⁴/N."""
    design = od.Design(None, replicates=10, measure=od.Measure.grid(x=[-1, 0, 1], v=[0, 1]))
    guess = od.NominalValues([0, 1, 1], dispersion=1.5)
    plain, restricted = (
        od.covariance(od.MixedModel("y ~ x + v"), guess, design, order, "all", reml) for reml in (False, True)
    )
    assert plain.matrix[-1, -1] == pytest.approx(2 * 1.5**2 / 10)
    assert restricted.matrix[-1, -1] == pytest.approx(2 * 1.5**2 / 7)
    np.testing.assert_allclose(restricted.matrix[:-1, :-1], plain.matrix[:-1, :-1])


def test_restricted_maximum_likelihood_needs_a_degree_of_freedom():
    design = od.Design(None, replicates=2, measure=od.Measure.grid(x=[-1, 1]))
    guess = od.NominalValues([0, 1], dispersion=1.5)
    with pytest.raises(od.SpecificationError, match="no degree of freedom"):
        od.covariance(od.MixedModel("y ~ x"), guess, design, "exact", "all", True)


def test_two_terms_of_one_factor_by_restricted_maximum_likelihood():
    """2T²/(m − 1) and 2σ⁴/(N − m), near the exact 2(T²/(m − 1)) and 2σ⁴/(N − m) of a mean in equal groups."""
    design = od.Design(od.Nested("g"), counts={"g": 8}, replicates=4)
    guess = od.NominalValues([0.0], {"g": 0.6}, dispersion=1.1)
    two, exact = (
        od.covariance(od.MixedModel("y ~ 1 + (1 | g)"), guess, design, order, "all", True).matrix
        for order in ("two-term", "exact")
    )
    assert two[1, 1] == pytest.approx(2 * (0.6 + 1.1 / 4) ** 2 / 7)
    assert exact[1, 1] == pytest.approx(2 * ((0.6 + 1.1 / 4) ** 2 / 7 + (1.1 / 4) ** 2 / 24))
    assert two[2, 2] == pytest.approx(2 * 1.1**2 / 24)
    assert exact[2, 2] == pytest.approx(2 * 1.1**2 / 24)
