"""Monotonicity, concavity and invariance of information."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optdesign import Candidates, Design, DesignSpace, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from optdesign.covariance.encoded import encode
from optdesign.covariance.nested import information_of
from tests.oracles import loewner_gap, relative_difference

ORDERS = ["leading", "two-term", "averaged"]
MODELS = {
    "y ~ x + a + (1 | g)": [[0.9]],
    "y ~ x + a + (1 + x | g)": [[0.9, -0.3], [-0.3, 0.6]],
    "y ~ x * a + (1 + x | g)": [[0.9, -0.3], [-0.3, 0.6]],
}
REGION = DesignSpace(Nested("g"), Candidates.grid(a=[0, 1], x=[-1, -0.3, 0.4, 1]), levels={"a": "g"}).region

masses = st.lists(st.floats(0.01, 50.0), min_size=10, max_size=10).map(np.array)
formulas = st.sampled_from(list(MODELS))
families = st.sampled_from(["poisson", "bernoulli"])


def information(formula, family, order, z):
    beta = [-0.7, 0.8, 0.4, -0.2][: 4 if "*" in formula else 3]
    rows = encode(MixedModel(formula, family), NominalValues(beta, {"g": MODELS[formula]}), REGION, 7)
    return information_of(rows, order).whole.at(z[:2], z[2:]).information


@given(formula=formulas, family=families, order=st.sampled_from(ORDERS), z=masses, more=masses)
def test_more_data_never_enlarges_a_covariance(formula, family, order, z, more):
    assert loewner_gap(information(formula, family, order, z + more), information(formula, family, order, z)) > -1e-10


@given(
    formula=formulas, family=families, order=st.sampled_from(ORDERS[1:]), one=masses, other=masses, t=st.floats(0, 1)
)
@settings(max_examples=120)
def test_information_is_jointly_concave_in_units_and_observations(formula, family, order, one, other, t):
    """M(tz + (1−t)z') ⪰ tM(z) + (1−t)M(z') in the Loewner order."""
    middle = information(formula, family, order, t * one + (1 - t) * other)
    chord = t * information(formula, family, order, one) + (1 - t) * information(formula, family, order, other)
    assert loewner_gap(middle, chord) > -1e-10


@given(formula=formulas, family=families, z=masses)
def test_averaged_information_is_at_least_two_term(formula, family, z):
    """Jensen: the penalty on the mean of the random coefficients is below the mean of the penalties."""
    averaged, two_term = (information(formula, family, order, z) for order in ("averaged", "two-term"))
    assert loewner_gap(averaged, two_term) > -1e-10


def two_kinds(counts=(8, 5), replicates=(6.0, 9.0)):
    within = (Measure.grid(x=[-1, 0, 1]), Measure.grid(x=[-1, 1], weights=[1, 2]))
    groups = zip(counts, replicates, within, (0, 1), strict=True)
    return Design(Nested("g"), [Group(m, n, measure, at={"a": a}) for m, n, measure, a in groups])


def result(formula, family, order, design=None, beta=None, sigma=None):
    guess = NominalValues(beta or [-0.7, 0.8, 0.4], {"g": sigma or MODELS[formula]}, dispersion=1.0)
    return covariance(MixedModel(formula, family), guess, design or two_kinds(), order=order)


ADDITIVE = list(MODELS)[:2]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gaussian"])
@pytest.mark.parametrize("formula", ADDITIVE)
def test_terms_add_up(formula, family, order):
    """Each term is positive semi-definite, and their sum is the covariance."""
    cov = result(formula, family, order)
    assert relative_difference(sum(cov.terms.values()), cov.matrix) < 1e-9
    for part in cov.terms.values():
        assert loewner_gap(cov.matrix, cov.matrix - part) > -1e-9


@pytest.mark.parametrize("order", ORDERS)
def test_group_term_is_what_more_observations_cannot_remove(order):
    few, many = (result(ADDITIVE[1], "poisson", order, two_kinds(replicates=(n, n))) for n in (50.0, 5e6))
    left = np.diag(few.terms["g"])
    np.testing.assert_allclose(np.diag(many.matrix), left, rtol=0.2, atol=1e-6)


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gaussian"])
@pytest.mark.parametrize("formula", ["y ~ x + v + (1 | g)", "y ~ x + v + (1 + x | g)"])
def test_leading_order_separates_coefficients_with_and_without_a_partner(formula, family):
    """Asymptotically independent: the covariance of the two blocks is zero, and the first is Σ/m."""
    sigma = MODELS[formula.replace("v", "a")]
    measure = Measure.grid(x=[-1, 0, 1], v=[0, 1], weights=[1, 2, 1, 2, 1, 3])
    design = Design(Nested("g"), counts={"g": 12}, replicates=10, measure=measure)
    matrix = result(formula, family, "leading", design, sigma=sigma).matrix
    r = len(sigma)
    np.testing.assert_allclose(matrix[:r, :r], np.array(sigma) / 12, rtol=1e-12)
    np.testing.assert_allclose(matrix[:r, r:], 0, atol=1e-15)


CHANGES_OF_UNITS = [
    (formula, order, shift, scale)
    for formula in ADDITIVE
    for order in ORDERS
    for shift, scale in ((0.7, 1.0), (0.0, 25.0), (-3.0, 0.2))
    if order != "leading" or "x |" in formula or not shift
]


@pytest.mark.parametrize("family", ["poisson", "bernoulli", "gaussian"])
@pytest.mark.parametrize(("formula", "order", "shift", "scale"), CHANGES_OF_UNITS)
def test_units_of_a_covariate_do_not_matter(formula, family, order, shift, scale):
    """x' = (x − shift)/scale: β = Tβ' exactly, so Cov(β̂) = T Cov(β̂') Tᵀ.

    Left out: a shift of a covariate without a random slope under the leading order, which keeps the intercept's
    term of order 1/m alone and drops what the shift mixes into it.
    """
    beta, sigma = np.array([-0.7, 0.8, 0.4]), np.array(MODELS[formula])
    T = np.eye(3)
    T[0, 1], T[1, 1] = -shift / scale, 1 / scale
    R = T[: len(sigma), : len(sigma)]
    back = np.linalg.inv(R)
    moved = two_kinds()
    groups = [
        Group(
            g.count,
            g.replicates,
            Measure.grid(z=(g.measure.points["x"] - shift) / scale, weights=g.measure.weights),
            at=g.at,
        )
        for g in moved.groups
    ]
    plain = result(formula, family, order).matrix
    other = result(
        formula.replace("x", "z"),
        family,
        order,
        Design(Nested("g"), groups),
        beta=list(np.linalg.solve(T, beta)),
        sigma=(back @ sigma @ back.T).tolist(),
    ).matrix
    assert relative_difference(T @ other @ T.T, plain) < 1e-7


@pytest.mark.parametrize("order", ORDERS)
def test_merging_or_splitting_kinds_of_unit_does_not_matter(order):
    """Two groups of the same kind are one; a point given twice is one point of twice the weight."""
    measure = Measure.grid(x=[-1, 0, 1])
    model, guess = MixedModel("y ~ x + (1 + x | g)", "poisson"), NominalValues([-0.7, 0.8], {"g": [[0.9, 0], [0, 0.6]]})
    whole = covariance(model, guess, Design(Nested("g"), [Group(9, 6, measure)]), order=order).matrix
    doubled = Measure(measure.points.loc[[0, 0, 1, 2]].reset_index(drop=True), np.array([1, 1, 2, 2.0]))
    halves = Design(Nested("g"), [Group(4, 6, measure), Group(5, 6, doubled)])
    assert relative_difference(covariance(model, guess, halves, order=order).matrix, whole) < 1e-10


@pytest.mark.parametrize("order", ORDERS)
def test_order_of_groups_does_not_matter(order):
    design = two_kinds()
    turned = Design(Nested("g"), design.groups[::-1])
    first, second = (result(ADDITIVE[1], "bernoulli", order, d).matrix for d in (design, turned))
    assert relative_difference(first, second) < 1e-10


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (1 + x | g)"])
def test_a_coefficient_that_the_design_cannot_estimate_is_named(formula, order):
    """Every unit at the same x: no ridge makes it finite."""
    design = Design(Nested("g"), counts={"g": 12}, replicates=10, measure=Measure.grid(x=[1]))
    sigma = [[0.9]] if "1 |" in formula and "x |" not in formula else [[0.9, 0], [0, 0.6]]
    guess = NominalValues([-0.7, 0.8], {"g": sigma})
    cov = covariance(MixedModel(formula, "poisson"), guess, design, order=order)
    assert cov.inestimable == ("Intercept", "x")
    assert np.isposinf(np.diag(cov.matrix)).all()
    assert cov.terms is None


@pytest.mark.parametrize("order", ORDERS)
def test_an_inestimable_coefficient_leaves_the_others_alone(order):
    """Two columns that are equal at all points: only they are inestimable."""
    points = Measure.grid(x=[-1, 0, 1]).points.assign(twin=lambda f: f["x"])
    both = Design(Nested("g"), counts={"g": 12}, replicates=10, measure=Measure(points, np.ones(3)))
    model = MixedModel("y ~ x + twin + (1 | g)", "poisson")
    cov = covariance(model, NominalValues([-0.7, 0.4, 0.4], {"g": 0.5}), both, order=order)
    plain = covariance(
        MixedModel("y ~ x + (1 | g)", "poisson"), NominalValues([-0.7, 0.8], {"g": 0.5}), both, order=order
    )
    assert cov.inestimable == ("x", "twin")
    assert cov.variance({"Intercept": 1}) == pytest.approx(plain.variance({"Intercept": 1}), rel=1e-9)
