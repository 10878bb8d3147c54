import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import optdesign as od
from optdesign.inference import degrees_of_freedom, power_curve

TRIAL = od.MixedModel("y ~ treat + x + (1 | cluster)")


def trial(clusters=20, size=6, share=0.5):
    """A cluster trial with a covariate that varies within clusters."""
    measure = od.Measure.grid(treat=[0, 1], x=[0, 1], weights=np.outer([1 - share, share], [0.5, 0.5]).ravel())
    return od.Design(
        od.Nested("cluster"),
        counts={"cluster": clusters},
        replicates=size,
        measure=measure,
        levels={"treat": "cluster"},
    )


def beliefs(effect=0.5, between=0.1, within=1.0):
    return od.NominalValues([0.0, effect, 0.0], {"cluster": between}, dispersion=within)


def noncentral_tail(critical, df, shift):
    """P(T > critical) as the average over the chi variate of the normal tail."""
    nodes = (np.arange(200_000) + 0.5) / 200_000
    scale = np.sqrt(stats.chi2.ppf(nodes, df) / df)
    return stats.norm.sf(critical * scale - shift).mean()


# Degrees of freedom


def degrees(formula, coefficient, units=20, replicates=6, covariance=1.0, levels=(), **points):
    model, factors = od.MixedModel(formula), "(" in formula.replace("C(", "")
    design = od.Design(
        od.Nested("g") if factors else None,
        counts={"g": units} if factors else None,
        replicates=replicates,
        measure=od.Measure.grid(**points),
        levels=dict.fromkeys(levels, "g"),
    )
    names = od.covariance(
        model, od.NominalValues(dict.fromkeys(model.fixed_names, 0.0), {"g": covariance}), design
    ).names
    guess = od.NominalValues([0.0] * len(names), {"g": covariance})
    return degrees_of_freedom(model, guess, design, coefficient)


def test_random_slope_has_units_less_one():
    """Days in the sleep study: 18 subjects, 17 degrees of freedom."""
    found = degrees("y ~ t + (t | g)", "t", units=18, replicates=10, covariance=np.eye(2), t=range(10))
    assert found == pytest.approx(17)


@pytest.mark.parametrize(
    ("coefficient", "expected"), [("Intercept", 18), ("treat", 18), ("t", 120 - 20 - 2), ("treat:t", 120 - 20 - 2)]
)
def test_split_plot_has_a_stratum_for_each_level(coefficient, expected):
    found = degrees("y ~ treat * t + (1 | g)", coefficient, levels=["treat"], treat=[0, 1], t=[0, 1, 2])
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("coefficient", ["Intercept", "treat", "t", "treat:t"])
def test_random_slope_takes_its_interaction_with_treatment_between_units(coefficient):
    found = degrees(
        "y ~ treat * t + (t | g)", coefficient, covariance=np.eye(2), levels=["treat"], treat=[0, 1], t=[0, 1, 2]
    )
    assert found == pytest.approx(18)


def test_linear_model_has_the_residual_degrees_of_freedom():
    assert degrees("y ~ x", "x", replicates=30, x=[0, 1]) == pytest.approx(28)


def test_sum_of_between_and_within_effects_is_judged_between_units():
    """Age is base + time: 'time' is the within slope less the between slope, so both rest on the 20 people."""
    points = pd.DataFrame([(b, b + t, t) for b in (20, 30, 40) for t in (0, 1, 2)], columns=["base", "age", "time"])
    design = od.Design(
        od.Nested("g"), counts={"g": 20}, replicates=3, measure=od.Measure.from_frame(points), levels={"base": "g"}
    )
    model, guess = od.MixedModel("y ~ age + time + (1 | g)"), od.NominalValues([0, 0, 0], {"g": 1.0})
    assert [degrees_of_freedom(model, guess, design, c) for c in ("age", "time")] == pytest.approx([18, 18])


def test_other_families_have_the_normal_limit():
    model = od.MixedModel("y ~ treat + x + (1 | cluster)", family="poisson")
    assert degrees_of_freedom(model, od.NominalValues([0, 0.5, 0], {"cluster": 0.1}), trial(), "treat") == math.inf


def test_too_few_units_say_how_many_are_needed():
    with pytest.raises(od.SpecificationError, match=r"has 2 levels of 'cluster' for 2 coefficients\. Use more than 2"):
        degrees_of_freedom(TRIAL, beliefs(), trial(clusters=2), "treat")
    with pytest.raises(od.SpecificationError, match="no degrees of freedom are left for 'x'"):
        degrees_of_freedom(TRIAL, beliefs(), trial(size=1), "x")
    with pytest.raises(od.SpecificationError, match="no degrees of freedom are left for 'treat'"):
        od.power(TRIAL, beliefs(), trial(clusters=2), od.WaldTest("treat"))


def test_unknown_coefficients_suggest_the_nearest():
    with pytest.raises(od.SpecificationError, match="Did you mean 'treat'"):
        degrees_of_freedom(TRIAL, beliefs(), trial(), "treet")


# Power


@pytest.mark.parametrize("clusters", [4, 8, 30])
@pytest.mark.parametrize("effect", [0.1, 0.5, 1.5, -0.7])
def test_power_is_that_of_the_noncentral_t(clusters, effect):
    shift, df = effect / math.sqrt(4 * (0.1 + 1 / 6) / clusters), clusters - 2
    two = noncentral_tail(stats.t.isf(0.025, df), df, shift) + noncentral_tail(stats.t.isf(0.025, df), df, -shift)
    design, guess = trial(clusters), beliefs(effect)
    assert od.power(TRIAL, guess, design, od.WaldTest("treat")) == pytest.approx(two, abs=2e-6)
    greater = noncentral_tail(stats.t.isf(0.05, df), df, shift)
    assert od.power(TRIAL, guess, design, od.WaldTest("treat", alternative="greater")) == pytest.approx(
        greater, abs=2e-6
    )


def test_power_is_that_of_simulated_trials():
    """Two-sample t tests of cluster means, which are what the units' differences amount to."""
    rng, replications = np.random.default_rng(7), 40_000
    deviation = math.sqrt(0.1 + 1 / 6)
    control, treated = rng.normal(0, deviation, (replications, 8)), rng.normal(0.7, deviation, (replications, 8))
    share = (stats.ttest_ind(treated, control, axis=1).pvalue < 0.05).mean()
    error = math.sqrt(share * (1 - share) / replications)
    assert od.power(TRIAL, beliefs(0.7), trial(16), od.WaldTest("treat")) == pytest.approx(share, abs=3 * error)


@pytest.mark.parametrize("effect", [8.0, 20.0, 60.0])
def test_power_of_huge_effects_is_one(effect):
    for clusters in (4, 19, 10_002):
        assert od.power(TRIAL, beliefs(effect), trial(clusters), od.WaldTest("treat")) == pytest.approx(1.0, abs=1e-3)


def test_power_is_the_level_at_the_null_value():
    for alternative in ("two-sided", "greater", "less"):
        test = od.WaldTest("treat", null=0.5, alternative=alternative, alpha=0.07)
        assert od.power(TRIAL, beliefs(0.5), trial(), test) == pytest.approx(0.07)


@given(effect=st.floats(-2, 2), clusters=st.integers(4, 200), alpha=st.floats(0.001, 0.4))
@settings(max_examples=40, deadline=None)
def test_two_sided_power_is_the_sum_of_both_one_sided(effect, clusters, alpha):
    guess, design = beliefs(effect), trial(clusters)
    two, up, down = (
        od.power(TRIAL, guess, design, od.WaldTest("treat", alternative=side, alpha=level))
        for side, level in (("two-sided", alpha), ("greater", alpha / 2), ("less", alpha / 2))
    )
    assert two == pytest.approx(up + down, abs=1e-9)
    mirrored = od.power(TRIAL, beliefs(-effect), design, od.WaldTest("treat", alternative="less", alpha=alpha / 2))
    assert mirrored == pytest.approx(up, abs=1e-9)


@given(clusters=st.integers(4, 100), size=st.integers(2, 40), effect=st.floats(0.05, 1.0))
@settings(max_examples=40, deadline=None)
def test_power_grows_with_units_observations_and_effect(clusters, size, effect):
    test = od.WaldTest("treat")
    here = od.power(TRIAL, beliefs(effect), trial(clusters, size), test)
    assert od.power(TRIAL, beliefs(effect), trial(clusters + 1, size), test) >= here - 1e-9
    assert od.power(TRIAL, beliefs(effect), trial(clusters, size + 1), test) >= here - 1e-9
    assert od.power(TRIAL, beliefs(effect * 1.1), trial(clusters, size), test) >= here - 1e-9


def test_inestimable_coefficients_are_named():
    design = od.Design(
        od.Nested("cluster"), counts={"cluster": 9}, replicates=4, measure=od.Measure.grid(treat=[1], x=[0, 1])
    )
    for action in (
        lambda: od.power(TRIAL, beliefs(), design, od.WaldTest("treat")),
        lambda: od.sample_size(TRIAL, beliefs(), design, od.WaldTest("treat"), 0.9, "cluster"),
        lambda: od.interval_width(TRIAL, beliefs(), design, "treat"),
    ):
        with pytest.raises(od.NotEstimableError, match="cannot estimate 'treat'") as caught:
            action()
        assert "treat" in caught.value.coefficients


# Sample size


def test_units_of_a_cluster_trial_by_hand():
    """Normal approximation: 4(σ_b² + σ²/n)(z + z)²/δ² clusters."""
    z = stats.norm.isf(0.025) + stats.norm.isf(0.1)
    for share in (0.5, 0.3):
        expected = (0.1 + 1 / 6) / (share * (1 - share)) * z**2 / 0.25
        found = od.sample_size(TRIAL, beliefs(), trial(share=share), od.WaldTest("treat", df=math.inf), 0.9, "cluster")
        # The other tail of a two-sided test is of order 1e-7 here.
        assert found.count == math.ceil(expected)
        assert found.design.units == pytest.approx(found.count)
        assert found.design.groups[1].count / found.count == pytest.approx(share)


def test_replicates_of_a_cluster_trial_by_hand():
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    per_cluster = 1.0 / (30 * 0.25 / (4 * z**2) - 0.1)
    found = od.sample_size(TRIAL, beliefs(), trial(30), od.WaldTest("treat", df=math.inf), 0.8, "replicates")
    assert found.count == math.ceil(per_cluster)
    assert found.design.observations == pytest.approx(30 * found.count)


def test_replicates_are_the_mean_where_groups_differ():
    groups = [od.Group(20, n, od.Measure.grid(x=[0, 1]), at={"treat": arm}) for arm, n in ((0, 2), (1, 6))]
    design, test = od.Design(od.Nested("cluster"), groups), od.WaldTest("treat", df=math.inf)
    found = od.sample_size(TRIAL, beliefs(), design, test, 0.8, "replicates")
    assert [g.replicates for g in found.design.groups] == pytest.approx([found.count / 2, 1.5 * found.count])
    z = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    means = [n for n in range(1, 200) if (0.2 + 2 / n + 1 / (1.5 * n)) / 20 * z**2 <= 0.25]
    assert found.count == means[0]


@pytest.mark.parametrize("solve_for", ["cluster", "replicates", "budget"])
@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
def test_one_less_is_not_enough(solve_for, order):
    model = od.MixedModel("y ~ treat + x + (1 | cluster)", family="poisson")
    guess = od.NominalValues([0.2, 0.5, 0.0], {"cluster": 0.2})
    cost, test = od.Cost({"cluster": 100}, observation=3, fixed=5000), od.WaldTest("treat")
    # The leading term does not know the number of observations, so these clusters must do for it.
    found = od.sample_size(model, guess, trial(60), test, 0.85, solve_for, order=order, cost=cost)
    size = {
        "cluster": found.design.units,
        "replicates": found.design.observations / found.design.units,
        "budget": found.design.spend(cost),
    }
    assert size[solve_for] == pytest.approx(found.count)
    assert od.power(model, guess, found.design, test, order) == pytest.approx(found.power)
    assert found.power >= 0.85
    factor = (found.count - 1 - 5000) / (found.count - 5000) if solve_for == "budget" else 1 - 1 / found.count
    if factor > 0:
        part = "replicates" if solve_for == "replicates" else "counts"
        assert od.power(model, guess, found.design.scaled(**{part: factor}), test, order) < 0.85


def test_more_power_never_needs_less():
    counts = [
        od.sample_size(TRIAL, beliefs(), trial(), od.WaldTest("treat"), goal, "cluster").count
        for goal in (0.2, 0.5, 0.8, 0.9, 0.99)
    ]
    assert counts == sorted(set(counts))


def test_replicates_cannot_undo_the_variance_between_units():
    """Eight clusters: 4 σ_b²/8 remains whatever the size, and with it a power of z-shift 0.5/√0.05."""
    highest = stats.norm.sf(stats.norm.isf(0.025) - 0.5 / math.sqrt(0.05))
    message = rf"highest attainable power.*{highest:.4f}.*between levels of 'cluster'.*solve_for='cluster'"
    with pytest.raises(od.SpecificationError, match=message):
        od.sample_size(TRIAL, beliefs(), trial(8), od.WaldTest("treat", df=math.inf), 0.9, "replicates")


def test_replicates_reach_any_power_for_effects_within_units():
    guess = od.NominalValues([0.0, 0.0, 0.2], {"cluster": 5.0})
    found = od.sample_size(TRIAL, guess, trial(8), od.WaldTest("x", df=math.inf), 0.999, "replicates")
    z = stats.norm.isf(0.025) + stats.norm.isf(0.001)
    assert found.count == math.ceil(4 * z**2 / 0.04 / 8)


@pytest.mark.parametrize(
    ("effect", "test", "message"),
    [
        (0.0, od.WaldTest("treat"), "is the null value itself.*attainable power is 0.05"),
        (0.5, od.WaldTest("treat", null=0.5), "is the null value itself"),
        (0.5, od.WaldTest("treat", alternative="less", alpha=0.1), "opposite to the alternative 'less'.*power is 0.1"),
        (-0.5, od.WaldTest("treat", alternative="greater"), "opposite to the alternative 'greater'"),
        (1e-9, od.WaldTest("treat"), "needs more than 1e.15 of 'cluster': check the effect"),
    ],
)
def test_targets_that_no_number_reaches(effect, test, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.sample_size(TRIAL, beliefs(effect), trial(), test, 0.8, "cluster")


def test_replicates_cannot_make_up_for_units_without_degrees_of_freedom():
    with pytest.raises(od.SpecificationError, match="Use more than 2 levels of 'cluster'"):
        od.sample_size(TRIAL, beliefs(), trial(2), od.WaldTest("treat"), 0.8, "replicates")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": 0.9, "solve_for": "clusters"}, "solve_for='clusters'.*Did you mean 'cluster'"),
        ({"power": 90, "solve_for": "cluster"}, "power must be a number between 0.05 and 1; got 90"),
        ({"power": 0.04, "solve_for": "cluster"}, "power must be a number between 0.05 and 1"),
        ({"power": 0.9, "solve_for": "budget"}, "needs cost="),
        ({"power": 0.9, "solve_for": "budget", "cost": od.Cost(fixed=9)}, "prices no unit and no observation"),
        ({"power": 0.9, "solve_for": "cluster", "order": "second"}, "order 'second' is not known"),
    ],
)
def test_wrong_questions(arguments, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.sample_size(TRIAL, beliefs(), trial(), od.WaldTest("treat"), **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alternative": "grater"}, "'grater' is not known. Did you mean 'greater'"),
        ({"alpha": 5}, "alpha must be a number between 0 and 1; got 5"),
        ({"alpha": "0.05"}, "alpha must be a number"),
        ({"null": math.nan}, "null must be a finite number"),
        ({"df": 0}, "df must be 'auto', a positive number, or math.inf"),
        ({"df": "residual"}, "df must be 'auto'"),
    ],
)
def test_wrong_tests(arguments, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.WaldTest("treat", **arguments)


def test_prints_what_was_found():
    found = od.sample_size(TRIAL, beliefs(), trial(), od.WaldTest("treat"), 0.8, "cluster")
    assert repr(found).startswith(f"SampleSize(levels of 'cluster': {found.count}, power 0.8")


# Interval width and power curves


def test_interval_width_of_the_sleep_study():
    """lme4's standard error of Days, 1.50223, on 17 degrees of freedom."""
    model = od.MixedModel("y ~ Days + (Days | Subject)")
    between = [[565.47696613, 11.05512239], [11.05512239, 32.68178525]]
    guess = od.NominalValues([251.4, 10.5], {"Subject": between}, dispersion=654.94570576)
    design = od.Design(
        od.Nested("Subject"), counts={"Subject": 18}, replicates=10, measure=od.Measure.grid(Days=range(10))
    )
    assert od.interval_width(model, guess, design, "Days") == pytest.approx(2 * 2.1098156 * 1.50223, rel=1e-4)
    assert od.interval_width(model, guess, design, "Days", level=0.9, df=math.inf) == pytest.approx(
        2 * 1.6448536 * 1.50223, rel=1e-4
    )


@pytest.mark.parametrize("n", [3, 12])
def test_expected_width_is_the_mean_width_of_the_intervals_of_samples(n):
    """Means of normal samples, analysed one by one."""
    samples = np.random.default_rng(4).normal(scale=2.0, size=(100_000, n))
    widths = 2 * stats.t.isf(0.025, n - 1) * samples.std(axis=1, ddof=1) / math.sqrt(n)
    model, guess = od.MixedModel("y ~ 1"), od.NominalValues([0.0], dispersion=4.0)
    design = od.Design(None, replicates=n)
    expected = od.interval_width(model, guess, design, "Intercept", expected=True)
    assert expected == pytest.approx(widths.mean(), rel=0.005)
    squared = od.interval_width(model, guess, design, "Intercept") ** 2
    assert squared == pytest.approx((widths**2).mean(), rel=0.01)


@pytest.mark.parametrize(("arguments", "message"), [({"level": 95}, "level must be"), ({"df": -1}, "df must be")])
def test_wrong_intervals(arguments, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.interval_width(TRIAL, beliefs(), trial(), "treat", **arguments)


def test_power_curve_is_the_power_of_each_design():
    model = od.MixedModel("y ~ treat + x + (1 | cluster)", family="poisson")
    guess, test = od.NominalValues([0.2, 0.5, 0.0], {"cluster": 0.2}), od.WaldTest("treat")
    curve = power_curve(model, guess, trial(), test, [10, 25, 60], ["leading", "averaged"])
    assert list(curve) == ["units", "order", "power"]
    for row in curve.itertuples():
        assert row.power == pytest.approx(od.power(model, guess, trial(row.units), test, row.order), rel=1e-8)


def test_power_curve_has_gaps_where_no_test_exists():
    curve = power_curve(TRIAL, beliefs(), trial(), od.WaldTest("treat"), [2, 3], ["two-term"])
    assert curve.power.isna().tolist() == [True, False]
    with pytest.raises(od.SpecificationError, match="counts must be positive"):
        power_curve(TRIAL, beliefs(), trial(), od.WaldTest("treat"), [0], ["two-term"])
