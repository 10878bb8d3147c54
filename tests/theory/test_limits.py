"""Limits in which one covariance must become another."""

import numpy as np
import pytest

from optdesign import Design, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance
from tests.oracles import relative_difference

SIGMA = np.array([[0.8, 0.2], [0.2, 0.5]])
BETA = [-0.6, 0.5, 0.3]
MODELS = {
    "y ~ x + v + (1 | g)": SIGMA[:1, :1],
    "y ~ x + v + (1 + x | g)": SIGMA,
}
FAMILIES = ["poisson", "bernoulli"]
ORDERS = ("two-term", "averaged")
WITHIN = Measure.grid(x=[-1, 0, 1], v=[0, 1], weights=[1, 2, 1, 2, 1, 3])


def matrix(formula, family, sigma, order, m=10, n=12.0, measure=WITHIN, beta=BETA):
    guess = NominalValues(beta, {"g": sigma} if "|" in formula else {})
    if "|" in formula:
        design = Design(Nested("g"), counts={"g": m}, replicates=n, measure=measure)
    else:
        design = Design(None, replicates=m * n, measure=measure)
    return covariance(MixedModel(formula, family), guess, design, order=order).matrix


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("family", [*FAMILIES, "gaussian"])
@pytest.mark.parametrize("formula", MODELS)
def test_without_random_variation_the_design_is_a_classical_one(formula, family, order):
    """Σ = 0 gives the generalised linear model of m·n observations."""
    classical = matrix("y ~ x + v", family, None, order)
    assert relative_difference(matrix(formula, family, 0 * MODELS[formula], order), classical) < 1e-12


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("formula", MODELS)
def test_small_random_variation_changes_the_covariance_in_proportion(formula, family, order):
    """Σ → 0: the difference from the classical covariance is linear in Σ."""
    classical = matrix("y ~ x + v", family, None, order)
    difference = [matrix(formula, family, e * MODELS[formula], order) - classical for e in (1e-4, 1e-5)]
    assert np.linalg.norm(difference[0]) / np.linalg.norm(difference[1]) == pytest.approx(10, rel=0.02)


def rate(first, second, sizes):
    """Slope of the logarithm of the relative difference of variances against log n, per coefficient."""
    gaps = [np.abs(np.diag(first(n)) / np.diag(second(n)) - 1) for n in sizes]
    return np.polyfit(np.log(sizes), np.log(gaps), 1)[0]


@pytest.mark.parametrize(
    ("formula", "family"), [(f, d) for f in MODELS for d in FAMILIES if (f, d) != ("y ~ x + v + (1 | g)", "poisson")]
)
def test_two_term_and_averaged_differ_by_terms_beyond_both(formula, family):
    """Cov = Σ/m + ϕK/(mn) + O(1/(mn²)): relative to the variance, n⁻² where a coefficient has a random partner (its
    variance stays of order 1/m), n⁻¹ where it has none (its variance is of order 1/(mn)).
    """
    sizes = np.array([400.0, 800.0, 1600.0, 3200.0])
    slopes = rate(*(lambda n, o=o: matrix(formula, family, MODELS[formula], o, n=n) for o in ORDERS), sizes)
    paired = len(MODELS[formula])
    np.testing.assert_allclose(slopes[:paired], -2, atol=0.15)
    np.testing.assert_allclose(slopes[paired:], -1, atol=0.15)


def test_poisson_random_intercept_leaves_within_group_coefficients_the_same_in_every_order():
    """The random effect multiplies all weights alike, so the centred covariates stay orthogonal to the intercept."""
    leading, two_term, averaged = (
        matrix("y ~ x + v + (1 | g)", "poisson", SIGMA[:1, :1], order)[1:, 1:] for order in ("leading", *ORDERS)
    )
    assert relative_difference(two_term, leading) < 1e-9
    assert relative_difference(averaged, leading) < 1e-9


@pytest.mark.parametrize("family", [*FAMILIES, "gaussian"])
@pytest.mark.parametrize("formula", MODELS)
def test_leading_and_two_term_differ_by_the_second_term(formula, family):
    """Σ/m against Σ/m + ϕK/(mn): the ratio is 1 + O(1/n) with a random partner, exactly one without."""
    sizes, paired = np.array([100.0, 400.0, 1600.0]), len(MODELS[formula])
    leading, two_term = (
        np.array([np.diag(matrix(formula, family, MODELS[formula], order, n=n)) for n in sizes])
        for order in ("leading", "two-term")
    )
    gap = (two_term - leading)[:, :paired]
    np.testing.assert_allclose(gap * sizes[:, None], np.broadcast_to(gap[0] * sizes[0], gap.shape), rtol=1e-6)
    np.testing.assert_allclose(leading[:, paired:], two_term[:, paired:], rtol=1e-7)


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
@pytest.mark.parametrize("family", FAMILIES)
def test_covariance_falls_as_one_over_the_number_of_units(family, order):
    formula = "y ~ x + v + (1 + x | g)"
    one, many = (matrix(formula, family, SIGMA, order, m=m) for m in (1, 1000))
    assert relative_difference(many * 1000, one) < 1e-9


@pytest.mark.parametrize("formula", MODELS)
def test_all_orders_but_the_leading_one_are_the_same_for_a_gaussian(formula):
    """The weight does not depend on the random effect, so nothing is averaged."""
    exact = matrix(formula, "gaussian", MODELS[formula], "exact")
    for order in ORDERS:
        assert relative_difference(matrix(formula, "gaussian", MODELS[formula], order), exact) < 1e-12


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
def test_orders_agree_without_random_effects(order):
    exact = matrix("y ~ x + v", "poisson", None, "exact")
    assert relative_difference(matrix("y ~ x + v", "poisson", None, order), exact) < 1e-13


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("family", FAMILIES)
def test_treatment_constant_within_a_unit_with_a_random_slope_on_it(family, order):
    """Its units see the random intercept U₀ + tU₁ alone: two arms with variances Σ₀₀ and Σ₀₀ + 2Σ₀₁ + Σ₁₁."""
    model = MixedModel("y ~ t + (1 + t | g)", family)
    design = Design(Nested("g"), [Group(5, 4, at={"t": 0}), Group(7, 3, at={"t": 1})])
    both = covariance(model, NominalValues([-0.6, 0.5], {"g": SIGMA}), design, order=order).matrix
    alone = [
        covariance(
            MixedModel("y ~ 1 + (1 | g)", family),
            NominalValues([mean], {"g": variance}),
            Design(Nested("g"), counts={"g": m}, replicates=n),
            order=order,
        ).matrix[0, 0]
        for mean, variance, m, n in ((-0.6, 0.8, 5, 4), (-0.1, 1.7, 7, 3))
    ]
    expected = [[alone[0], -alone[0]], [-alone[0], alone[0] + alone[1]]]
    assert relative_difference(both, np.array(expected)) < 1e-7


def test_bernoulli_is_binomial_of_size_one_and_sizes_are_replicates():
    """n observations of size k carry the information of n·k Bernoulli ones, in every order."""
    guess, layout = NominalValues([-0.5, 0.4], {"g": 0.7}), Nested("g")
    measure = Measure.grid(x=[-1, 1])
    for order in ("leading", "two-term", "averaged"):
        binomial = covariance(
            MixedModel("y ~ x + (1 | g)", "binomial", size=5),
            guess,
            Design(layout, counts={"g": 9}, replicates=4, measure=measure),
            order=order,
        ).matrix
        bernoulli = covariance(
            MixedModel("y ~ x + (1 | g)", "bernoulli"),
            guess,
            Design(layout, counts={"g": 9}, replicates=20, measure=measure),
            order=order,
        ).matrix
        assert relative_difference(binomial, bernoulli) < 1e-12


def test_offset_moves_the_intercept():
    guess = NominalValues([-0.5, 0.4], {"g": 0.7})
    shifted = NominalValues([-0.5 + np.log(3), 0.4], {"g": 0.7})
    measure = Measure.grid(x=[-1, 1], e=[np.log(3)])
    design = Design(Nested("g"), counts={"g": 9}, replicates=4, measure=measure)
    with_offset = covariance(MixedModel("y ~ x + (1 | g)", "poisson", offset="e"), guess, design).matrix
    without = covariance(MixedModel("y ~ x + (1 | g)", "poisson"), shifted, design).matrix
    assert relative_difference(with_offset, without) < 1e-12


def test_two_terms_with_and_without_variance_components():
    """One kind of unit: the same β block. Several: the joint estimate of a shared Σ is nearer to exact."""
    model = MixedModel("y ~ a + (1 | g)", "bernoulli")
    guess = NominalValues([-3.0, 0.6], {"g": 1.0})
    arms = Design(Nested("g"), counts={"g": 40}, replicates=10, measure=Measure.grid(a=[0, 1]), levels={"a": "g"})
    exact = covariance(model, guess, arms, order="exact").matrix[1, 1]
    apart, jointly = (covariance(model, guess, arms, parameters=p).matrix[1, 1] / exact for p in ("fixed", "all"))
    assert apart == pytest.approx(1.4431, abs=1e-4)
    assert jointly == pytest.approx(1.02, abs=0.01)
    one = Design(Nested("g"), counts={"g": 40}, replicates=10, measure=Measure.grid(a=[0, 1]))
    fixed, both = (covariance(model, guess, one, parameters=p).matrix[:2, :2] for p in ("fixed", "all"))
    assert relative_difference(both, fixed) < 1e-7


# Formula, and the covariance of the effects of schools and of classes.
SHARED = [
    ("y ~ x + w + x:w + (1 + x | school) + (1 | class)", [[0.3, 0.0], [0.0, 0.1]], 0.2),
    ("y ~ x + w + (1 | school) + (1 | class)", 0.3, 0.0),
    ("y ~ x + w + (1 + x | school) + (1 | class)", [[0.3, 0.3], [0.3, 0.3]], 0.2),
]


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
@pytest.mark.parametrize(("formula", "outer", "inner"), SHARED)
def test_leading_term_where_kinds_of_class_share_an_effect_of_their_school(formula, outer, inner, family):
    """Two terms at vanishing noise, in whatever rates: contrasts of kinds that share all effects are known up to it."""
    measure = Measure.grid(x=[-1, 1], w=[0, 1])
    model = MixedModel(formula, family)
    guess = NominalValues([0.0] * len(model.fixed_names), {"school": outer, "class": inner})

    def found(order, replicates):
        counts = {"school": 20, "class": 2}
        design = Design(Nested("school", "class"), counts=counts, replicates=replicates, measure=measure,
                        levels={"w": "class"})  # fmt: skip
        return np.diag(covariance(model, guess, design, order).matrix)

    assert found("leading", 1e8) == pytest.approx(found("two-term", 1e8), rel=1e-5)
