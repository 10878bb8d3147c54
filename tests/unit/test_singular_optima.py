"""Optima that do not identify every coefficient, and scales far from one: values by hand."""

import numpy as np
import pytest

import optdesign as od

GRID = od.Candidates.grid(x=np.linspace(-1, 1, 9))
ARMS = od.Candidates.grid(arm=["a", "b", "c"])
LOGIT = "bernoulli"


def best(formula, beta, candidates, criterion, family="gaussian", **nominal):
    model, guess = od.MixedModel(formula, family=family), od.NominalValues(beta, **nominal)
    return od.optimize(model, guess, od.DesignSpace(None, candidates), criterion, od.Cost(observation=1), 100)


@pytest.mark.parametrize(
    ("formula", "beta", "candidates", "criterion", "family", "value"),
    [
        (
            "y ~ x + z",
            [0, 1, 1],
            od.Candidates.grid(x=[-1, 1], z=[-1, 1]),
            od.COptimality({"x": 1, "z": 1}),
            "gaussian",
            0.01,
        ),
        (
            "y ~ x + z",
            [0, 1, 1],
            od.Candidates.grid(x=[-1, 0, 1], z=[-1, 0, 1]),
            od.COptimality({"x": 1, "z": 1}),
            LOGIT,
            0.04 * np.cosh(1.0) ** 2,
        ),
        ("y ~ x + I(x**2)", [0, 1, 1], GRID, od.IOptimality(od.Measure.grid(x=[0.5])), "gaussian", 0.01),
        (
            "y ~ C(arm)",
            [0, 1, 1],
            ARMS,
            od.COptimality({"C(arm)[T.b]": 1, "C(arm)[T.c]": -1}),
            "gaussian",
            0.04,
        ),
    ],
)
def test_a_combination_may_be_estimable_where_its_coefficients_are_not(
    formula, beta, candidates, criterion, family, value
):
    """The best two points, or the one, that estimate the combination: variance 1/(100 w), or 4/100 for a difference."""
    found = best(formula, beta, candidates, criterion, family)
    assert found.value == pytest.approx(value, rel=1e-6)
    assert found.rounded.value == pytest.approx(value, rel=1e-6)
    assert found.certificate.efficiency_bound >= 1 - 1e-6


def test_a_difference_of_arms_in_clusters():
    model, guess = od.MixedModel("y ~ C(arm) + (1 | g)"), od.NominalValues([0, 0, 0], {"g": 0.1}, 0.9)
    space = od.DesignSpace(od.Nested("g"), ARMS, levels={"arm": "g"}, replicates=10)
    criterion = od.COptimality({"C(arm)[T.b]": 1, "C(arm)[T.c]": -1})
    found = od.optimize(model, guess, space, criterion, od.Cost({"g": 5}, 1), 150)
    assert found.value == pytest.approx(4 * (0.1 + 0.09) / 10, rel=1e-6)
    assert found.covariance.variance({"C(arm)[T.b]": 1, "C(arm)[T.c]": -1}) == pytest.approx(found.value, rel=1e-9)
    assert found.covariance.variance({"C(arm)[T.b]": 1}) == np.inf


def test_a_support_that_misses_a_coefficient_is_rounded():
    found = best(
        "y ~ x + z", [0, 1, 1], od.Candidates.grid(x=[-1, 0, 1], z=[-1, 0, 1]), od.COptimality({"x": 1}), LOGIT
    )
    assert found.rounded.value == pytest.approx(found.value, rel=1e-6)


@pytest.mark.parametrize(
    ("formula", "beta", "region", "criterion", "family", "value"),
    [
        ("y ~ x + I(x**2)", [0, 1, 1], {"x": (-1, 1)}, od.COptimality({"x": 1}), "gaussian", 0.01),
        ("y ~ x", [0, 1], {"x": (-6, 6)}, od.COptimality({"Intercept": 1}), LOGIT, 0.04),
        ("y ~ x + z", [0, 1, 1], {"x": (-1, 1), "z": (-1, 1)}, od.COptimality({"Intercept": 1}), "gaussian", 0.01),
        ("y ~ x + z", [0, 1, 1], {"x": (-1, 1), "z": (-1, 1)}, od.COptimality({"Intercept": 1}), LOGIT, 0.04),
        ("y ~ x + z", [0, 1, 1], {"x": (-1, 1), "z": (-1, 1)}, od.DOptimality(["x"]), "gaussian", np.log(0.01)),
    ],
)
def test_regions_whose_optimum_does_not_identify_every_coefficient(formula, beta, region, criterion, family, value):
    found = best(formula, beta, od.Candidates.region(**region), criterion, family)
    assert found.value == pytest.approx(value, abs=1e-6)
    assert found.certificate.efficiency_bound >= 1 - 1e-5


@pytest.mark.parametrize("intercept", [0.0, 1.0])
def test_a_steep_curve_in_groups(intercept):
    """Symmetric optima of two points, of which the spanning atoms have none."""
    model, guess = od.MixedModel("y ~ x + (1 | g)", family=LOGIT), od.NominalValues([intercept, 2], {"g": 0.5})
    space = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-2, 2, 41)), replicates=(2, 20))
    found = od.optimize(model, guess, space, od.DOptimality(), od.Cost({"g": 5}, 1), 100)
    assert found.certificate.efficiency_bound >= 1 - 1e-6


@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_the_size_of_a_covariate_does_not_matter_to_whole_numbers(size):
    model, guess = od.MixedModel("y ~ treat + (1 | c)"), od.NominalValues([0, 0], {"c": 0.1})

    def rounded(top):
        space = od.DesignSpace(
            od.Nested("c"), od.Candidates.grid(treat=[0, top]), levels={"treat": "c"}, replicates=(1, 50)
        )
        return od.optimize(model, guess, space, od.COptimality({"treat": 1}), od.Cost({"c": 5}, 1), 1000).rounded

    assert rounded(size).value * size**2 == pytest.approx(rounded(1.0).value, rel=1e-6)


CLUSTERS = od.MixedModel("y ~ treat + (1 | c)")
BELIEVED = od.NominalValues([0, 0], {"c": 0.1}, 0.9)
DIFFERENCE = od.COptimality({"treat": 1})
PRICES = od.Cost({"c": 5}, 1)


def in_arms(arms=(0, 1), budget=1000, **space):
    space = od.DesignSpace(od.Nested("c"), od.Candidates.grid(treat=list(arms)), levels={"treat": "c"}, **space)
    return od.optimize(CLUSTERS, BELIEVED, space, DIFFERENCE, PRICES, budget)


@pytest.mark.parametrize(
    "constraint", [od.Share("treat == 2", at_most=0), od.Total("treat == 2", at_most=0, of="units")]
)
def test_an_arm_that_is_forbidden_is_left_out(constraint):
    assert in_arms((0, 1, 2), constraints=[constraint]).value == pytest.approx(in_arms().value, rel=1e-6)


def test_shares_that_leave_one_choice():
    halves = in_arms(constraints=[od.Share("treat == 0", at_least=0.5), od.Share("treat == 1", at_least=0.5)])
    assert halves.value == pytest.approx(in_arms().value, rel=1e-6)
    assert in_arms((0, 1, 2), constraints=[od.Share("treat != 1", at_least=1.0)]).value == pytest.approx(
        in_arms().value / 4, rel=1e-6
    )


@pytest.mark.parametrize("replicates", [5, (5, 9)])
def test_money_for_the_smallest_design_and_no_more(replicates):
    """Twenty clusters of five, ten in each arm: 4/20 (.1 + .9/5)."""
    found = in_arms(budget=200, counts={"c": 20}, replicates=replicates)
    assert found.value == pytest.approx(0.2 * (0.1 + 0.9 / 5), rel=1e-6)
    assert found.certificate.efficiency_bound >= 1 - 1e-6
    assert found.rounded.spend == pytest.approx(200)


def test_very_much_money_contradicts_nothing():
    plain = od.optimize(
        od.MixedModel("y ~ x"),
        od.NominalValues([0, 1]),
        od.DesignSpace(None, od.Candidates.grid(x=[0, 1])),
        od.COptimality({"x": 1}),
        od.Cost(observation=0.001),
        1e6,
    )
    assert plain.value == pytest.approx(4e-9, rel=1e-6)
    space = od.DesignSpace(
        od.Nested("c"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "c"}, counts={"c": (2, 10)}
    )
    with pytest.raises(od.SpecificationError, match="cannot be reached within the bounds"):
        od.cheapest(CLUSTERS, BELIEVED, space, DIFFERENCE, PRICES, value=0.02)
