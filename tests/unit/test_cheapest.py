"""The least money that reaches a precision or a power."""

import numpy as np
import pytest

import optdesign as od

ARM = od.MixedModel("y ~ treat + (1 | cluster)")
GUESS = od.NominalValues([0.0, 0.2], {"cluster": 0.1}, 0.4)
COST = od.Cost({"cluster": "5 + 45*treat"}, observation=1.0)
EFFECT = od.COptimality({"treat": 1.0})


def space(**bounds):
    return od.DesignSpace(od.Nested("cluster"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "cluster"}, **bounds)


@pytest.mark.parametrize(("effect", "budget", "clusters"), [(0.3, 1701.947, 58.993), (0.2, 3754.987, 130.156)])
def test_cluster_trial_with_a_covariate(effect, budget, clusters):
    # R package odr 1.4: ICC 0.2, R² 0.5 at both levels, J − q − 2 df with q = 1; n and the share rounded as it does.
    model = od.MixedModel("y ~ treat + w + (1 | cluster)")
    guess = od.NominalValues([0.0, effect, 0.0], {"cluster": 0.1}, 0.4)
    allocation = od.DesignSpace(
        od.Nested("cluster"),
        od.Candidates.grid(treat=[0, 1]),
        observed=od.Measure.grid(w=[-1, 1]),
        levels={"treat": "cluster", "w": "cluster"},
        replicates=9,
        constraints=[od.Share("treat == 1", 0.33, 0.33)],
    )
    best = od.cheapest(model, guess, allocation, EFFECT, COST, test=od.WaldTest("treat"), power=0.8)
    assert best.budget == pytest.approx(budget, abs=1e-3)
    assert best.design.units == pytest.approx(clusters, abs=1e-3)


@pytest.mark.slow
def test_common_replicates_are_found_with_the_budget():
    # odr's optimum for the same trial: n = 8.87857, share .32682800.
    best = od.cheapest(ARM, GUESS, space(common_replicates=True), EFFECT, COST, test=od.WaldTest("treat"), power=0.8)
    control, treated = best.design.groups
    assert treated.replicates == pytest.approx(8.87857199, rel=1e-4)
    assert treated.count / (control.count + treated.count) == pytest.approx(0.32682800, rel=1e-4)
    assert od.power(ARM, GUESS, best.design, od.WaldTest("treat")) == pytest.approx(0.8, abs=1e-5)


def test_a_standard_error_has_its_textbook_price():
    # Var = (τ² + σ²/n)(c_g + n c)/B at n* = √(c_g σ²/(c τ²)), and the fixed cost on top.
    mean, guess = od.MixedModel("y ~ 1 + (1 | clinic)"), od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
    best = od.cheapest(
        mean,
        guess,
        od.DesignSpace(od.Nested("clinic")),
        od.COptimality({"Intercept": 1.0}),
        od.Cost({"clinic": 50.0}, observation=1.0, fixed=300.0),
        value=0.05**2,
    )
    n = np.sqrt(50 * 0.8 / 0.2)
    assert best.budget == pytest.approx(300 + (0.2 + 0.8 / n) * (50 + n) / 0.05**2, rel=1e-6)
    assert best.covariance.standard_errors[0] <= 0.05


@pytest.mark.parametrize("value", [0.03, 0.0115])
def test_bounds_on_counts_are_kept_and_the_price_is_proved(value):
    bounded = space(counts={"cluster": (10, 40)}, replicates=(2, 30))
    best = od.cheapest(ARM, GUESS, bounded, EFFECT, COST, value=value)
    assert best.value == pytest.approx(value, rel=1e-6)
    proved = float(best.warnings[-1].split("less than ")[1].split(" ")[0].replace(",", ""))
    assert 0.9999 * best.budget <= proved <= best.budget
    # A grid of whole designs has nothing cheaper.
    arms = [(m, n) for m in range(1, 40) for n in range(2, 31)]
    price = [np.array([m * (5 + 45 * arm + n) for m, n in arms]) for arm in (0, 1)]
    variance = np.array([(0.1 + 0.4 / n) / m for m, n in arms])
    count = np.array([m for m, _ in arms])
    total = count[:, None] + count
    fine = (variance[:, None] + variance <= value) & (total >= 10) & (total <= 40)
    cheapest = (price[0][:, None] + price[1])[fine].min()
    assert best.budget <= cheapest <= 1.05 * best.budget


def test_the_cheapest_admissible_design_may_be_enough():
    mean, guess = od.MixedModel("y ~ 1 + (1 | clinic)"), od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
    bounded = od.DesignSpace(od.Nested("clinic"), counts={"clinic": (10, 40)}, replicates=(2, 30))
    best = od.cheapest(
        mean, guess, bounded, od.COptimality({"Intercept": 1.0}), od.Cost({"clinic": 50.0}, 1.0), value=0.2
    )
    # Ten clinics of two.
    assert best.budget == pytest.approx(520, rel=1e-6)
    assert best.value == pytest.approx((0.2 + 0.4) / 10, rel=1e-5)


def test_the_cheapest_admissible_design_may_not_estimate_what_is_wanted():
    # Ten controls of two cost 70, and say nothing about the treatment.
    best = od.cheapest(ARM, GUESS, space(counts={"cluster": (10, 40)}, replicates=(2, 30)), EFFECT, COST, value=0.5)
    assert 70 < best.budget < 120
    assert best.value == pytest.approx(0.5, rel=1e-6)
    assert best.design.units == pytest.approx(10, rel=1e-5)


def test_power_without_degrees_of_freedom_is_that_of_the_normal_test():
    model, guess = od.MixedModel("y ~ x", family="poisson"), od.NominalValues([0.0, 0.3])
    points = od.DesignSpace(None, od.Candidates.grid(x=[0, 1]))
    test = od.WaldTest("x", alternative="greater")
    best = od.cheapest(model, guess, points, od.COptimality({"x": 1.0}), od.Cost(observation=2.0), test=test, power=0.9)
    # (1/√N)²: variance (e^0/2 + e^-0.15/2)² · 4/N' by Neyman allocation: (1 + e^−0.15)²/N.
    observations = (1 + np.exp(-0.15)) ** 2 * ((1.6448536 + 1.2815516) / 0.3) ** 2
    assert best.budget == pytest.approx(2 * observations, rel=1e-6)


@pytest.mark.parametrize(
    ("goal", "bounds", "message"),
    [
        ({"value": 0.002}, {"replicates": (2, 30)}, r"best attainable is the value 0\.0113333, for 2,300\."),
        (
            {"test": od.WaldTest("treat"), "power": 0.9},
            {"replicates": (2, 30)},
            r"power 0\.9 for 'treat' cannot be reached.*best attainable is power 0\.44",
        ),
        ({"value": 0.002}, {}, r"best attainable is the value 0\.01, .*more money hardly helps"),
    ],
)
def test_what_cannot_be_reached_says_the_best_attainable(goal, bounds, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.cheapest(ARM, GUESS, space(counts={"cluster": (10, 40)}, **bounds), EFFECT, COST, **goal)


@pytest.mark.parametrize(
    ("criterion", "goal", "message"),
    [
        (EFFECT, {}, r"needs one goal: value="),
        (EFFECT, {"value": 0.1, "power": 0.8}, r"needs one goal"),
        (EFFECT, {"power": 0.8}, r"needs one goal"),
        (EFFECT, {"value": float("nan")}, r"needs one goal.*value=nan"),
        (EFFECT, {"value": -0.1}, r"value=-0\.1 is out of reach: the variance of treat is positive"),
        (EFFECT, {"test": od.WaldTest("treat"), "power": 1.2}, r"power must be a number between 0\.05 and 1"),
        (EFFECT, {"test": od.WaldTest("treat", alternative="less"), "power": 0.8}, r"lies opposite to the alternative"),
        (od.DOptimality(), {"test": od.WaldTest("treat"), "power": 0.8}, r"use criterion=COptimality\(\{'treat': 1"),
        (od.Maximin(EFFECT, [GUESS]), {"value": 1.0}, r"Maximin compares each scenario"),
        (
            EFFECT,
            {
                "test": od.WaldTest("treat"),
                "power": 0.8,
                "already": od.Design(od.Nested("cluster"), [od.Group(2, 5, at={"treat": a}) for a in (0, 1)]),
            },
            r"degrees of freedom that new and old.*WaldTest\(df=",
        ),
    ],
)
def test_wrong_goals(criterion, goal, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.cheapest(ARM, GUESS, space(), criterion, COST, **goal)


def test_what_has_been_run_saves_its_price():
    old = od.Design(od.Nested("cluster"), [od.Group(4, 5, at={"treat": arm}) for arm in (0, 1)])
    fresh, added = (od.cheapest(ARM, GUESS, space(), EFFECT, COST, value=0.02, already=run) for run in (None, old))
    assert added.value == pytest.approx(0.02, rel=1e-6)
    assert fresh.budget - old.spend(COST) <= added.budget < fresh.budget


def test_no_warning_but_that_of_the_design_found():
    # Under the leading order a plan of few observations is far from its asymptotics: one warning, not one per step.
    with pytest.warns(od.AsymptoticRegimeWarning) as caught:
        od.cheapest(ARM, GUESS, space(replicates=(2, 3)), EFFECT, COST, value=0.02, order="leading")
    assert len(caught) == 1


@pytest.mark.parametrize("crossing", ["complete", "biregular"])
def test_crossed_layouts_against_closed_forms(crossing):
    # The least variance for B, one observation per cell at C: {αc + α'c' + 2√(αα'(BC + cc')) + sC}/B with
    # α = σ_u² + sc'/B and α' = σ_v² + sc/B where all cells are observed, {√(σ_u²c) + √(σ_v²c') + √(sC)}²/B where not.
    (su, sv, s), (c, d, C) = (0.6, 0.35, 1.1), (12.0, 7.0, 0.85)
    B = 2_000.0
    a, b = su + s * d / B, sv + s * c / B
    value = {
        "complete": (a * c + b * d + 2 * np.sqrt(a * b * (B * C + c * d)) + s * C) / B,
        "biregular": (np.sqrt(su * c) + np.sqrt(sv * d) + np.sqrt(s * C)) ** 2 / B,
    }[crossing]
    best = od.cheapest(
        od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)"),
        od.NominalValues([0.0], {"reader": su, "image": sv}, s),
        od.DesignSpace(od.Crossed("reader", "image"), crossing=crossing),
        od.COptimality({"Intercept": 1.0}),
        od.Cost({"reader": c, "image": d}, observation=C),
        value=value,
    )
    assert best.budget == pytest.approx(B, rel=1e-5)
    assert best.certificate.efficiency_bound > 0.999999


@pytest.mark.parametrize("goal", [{"value": 0.02}, {"test": od.WaldTest("treat"), "power": 0.8}])
def test_the_plan_in_whole_numbers_reaches_the_goal(goal):
    """By hand: arms of clusters with n observations each, variance Σ_arms 1/Σ_units 1/(τ + σ²/n)."""
    cost = od.Cost({"cluster": 5.0}, observation=1.0)
    guess = od.NominalValues([0.0, 0.5], {"cluster": 0.1}, 0.9)
    best = od.cheapest(ARM, guess, space(replicates=(2, 30)), EFFECT, cost, **goal)
    plan = best.rounded.design
    arms = [[g for g in plan.groups if g.at["treat"] == arm] for arm in (0, 1)]
    variance = sum(1 / sum(g.count / (0.1 + 0.9 / g.replicates) for g in arm) for arm in arms)
    if "value" in goal:
        assert variance <= 0.02
    else:
        assert od.power(ARM, guess, plan, goal["test"]) >= 0.8
        assert variance < 0.5**2 / (1.959964 + 0.841621) ** 2  # less than the normal limit asks for
    assert best.budget - 1 <= best.rounded.spend <= 1.01 * best.budget + 2
