"""Equivalence, non-inferiority, contrasts and joint tests: power against simulated statistics and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

import optdesign as od
from optdesign.inference.rejection import equivalence_rejection, joint_rejection, one_sided_rejection

DOSES = od.MixedModel("y ~ C(dose) + (1 | clinic)")
NAMES = ["C(dose)[T.b]", "C(dose)[T.c]"]


def trial(clinics=24, size=5):
    """Three doses, a third of the clinics each."""
    return od.Design(
        od.Nested("clinic"),
        counts={"clinic": clinics},
        replicates=size,
        measure=od.Measure.grid(dose=["a", "b", "c"]),
        levels={"dose": "clinic"},
    )


def beliefs(b=0.5, c=0.8):
    return od.NominalValues({"Intercept": 0, NAMES[0]: b, NAMES[1]: c}, {"clinic": 0.2})


#: Variance of a dose's mean of 8 clinics of 5.
MEAN = (0.2 + 1 / 5) / 8


@pytest.mark.parametrize("df", [3.0, 12.0, math.inf])
@pytest.mark.parametrize(("shift", "margin"), [(0.0, 3.0), (1.2, 4.0), (-0.8, 2.0), (3.0, 2.5)])
def test_equivalence_is_the_share_of_pairs_of_tests_that_reject(shift, margin, df):
    rng, draws = np.random.default_rng(1), 400_000
    scale = np.ones(draws) if math.isinf(df) else np.sqrt(rng.chisquare(df, draws) / df)
    estimate = shift + rng.normal(size=draws)
    critical = stats.t.isf(0.05, df) * scale
    share = np.mean((estimate + margin > critical) & (estimate - margin < -critical))
    assert equivalence_rejection(shift, margin, 0.05, df) == pytest.approx(share, abs=0.003)


def test_wide_margins_make_equivalence_one_sided():
    """Far from one of the two margins, that test always rejects."""
    near = equivalence_rejection(48.0, 50.0, 0.05, 15.0)
    assert near == pytest.approx(one_sided_rejection(2.0, 0.05, 15.0), abs=1e-9)


def test_equivalence_at_the_margin_has_the_level_at_most():
    assert equivalence_rejection(30.0, 30.0, 0.05, 9.0) == pytest.approx(0.05, abs=1e-9)
    assert equivalence_rejection(1.0, 1.0, 0.05, 9.0) < 0.05


@pytest.mark.parametrize("df", [5.0, math.inf])
@pytest.mark.parametrize(
    ("alternative", "margin"),
    [("two-sided", 0.0), ("greater", 0.0), ("less", 0.0), ("greater", 0.3), ("less", 0.3), ("equivalence", 1.5)],
)
def test_power_is_the_share_of_estimates_that_a_test_rejects_at(alternative, margin, df):
    rng, draws, shift, error = np.random.default_rng(3), 200_000, 0.2, 0.4
    test = od.WaldTest("x", alternative=alternative, margin=margin)
    scale = np.ones(draws) if math.isinf(df) else np.sqrt(rng.chisquare(df, draws) / df)
    rejected = test.rejects(shift + error * rng.normal(size=draws), error * scale, df)
    power = test.rejection(np.array([shift]), np.array([[error**2]]), df)
    assert power == pytest.approx(rejected.mean(), abs=0.005)


@pytest.mark.parametrize(
    ("test", "limits"),
    [
        (od.WaldTest("x"), [(-math.inf, -1.96), (1.96, math.inf)]),
        (od.WaldTest("x", alternative="greater"), [(1.645, math.inf)]),
        (od.WaldTest("x", alternative="less", margin=1.0), [(-math.inf, -0.645)]),
        (od.WaldTest("x", alternative="equivalence", margin=2.0), [(-0.355, 0.355)]),
    ],
)
def test_which_estimates_are_rejected_at(test, limits):
    """Differences with standard error 1 against the normal quantiles of the tables."""
    difference = np.linspace(-3, 3, 601) + 1e-3
    inside = np.any([(low < difference) & (difference < high) for low, high in limits], axis=0)
    assert np.array_equal(test.rejects(difference, np.ones(601), math.inf), inside)


@pytest.mark.parametrize("df", [6.0, math.inf])
def test_joint_power_is_the_share_of_simulated_statistics(df):
    rng, draws, shift = np.random.default_rng(2), 400_000, np.array([1.5, -1.0, 2.0])
    top = ((shift + rng.normal(size=(draws, 3))) ** 2).sum(axis=1) / 3
    bottom = 1.0 if math.isinf(df) else rng.chisquare(df, draws) / df
    critical = stats.chi2.isf(0.05, 3) / 3 if math.isinf(df) else stats.f.isf(0.05, 3, df)
    assert joint_rejection(float(shift @ shift), 3, 0.05, df) == pytest.approx(
        np.mean(top / bottom > critical), abs=0.003
    )


def test_contrast_of_two_doses():
    """Two means of eight clinics: variance 2 · MEAN, 24 − 3 degrees of freedom."""
    test = od.WaldTest({NAMES[1]: 1, NAMES[0]: -1})
    shift, critical = 0.3 / math.sqrt(2 * MEAN), stats.t.isf(0.025, 21)
    expected = stats.nct.sf(critical, 21, shift) + stats.nct.sf(critical, 21, -shift)
    assert od.power(DOSES, beliefs(), trial(), test) == pytest.approx(expected, rel=1e-9)
    assert test.label == "1 * C(dose)[T.c] - 1 * C(dose)[T.b]"
    width = od.interval_width(DOSES, beliefs(), trial(), {NAMES[1]: 1, NAMES[0]: -1})
    assert width == pytest.approx(2 * critical * math.sqrt(2 * MEAN), rel=1e-9)


def test_joint_test_of_doses_is_the_analysis_of_variance():
    """Noncentrality Σ_k m_k (μ_k − μ̄)²/(m_k MEAN) on 2 and 21 degrees of freedom."""
    means = np.array([0, 0.5, 0.8])
    noncentrality = ((means - means.mean()) ** 2).sum() / MEAN
    expected = stats.ncf.sf(stats.f.isf(0.05, 2, 21), 2, 21, noncentrality)
    assert od.power(DOSES, beliefs(), trial(), od.JointTest(NAMES)) == pytest.approx(expected, rel=1e-9)
    others = od.JointTest([{NAMES[0]: 2}, {NAMES[1]: 1, NAMES[0]: -1}])
    assert od.power(DOSES, beliefs(), trial(), others) == pytest.approx(expected, rel=1e-9)


def test_joint_test_of_one_coefficient_is_two_sided():
    one, two = od.JointTest([NAMES[0]], null=[0.2]), od.WaldTest(NAMES[0], null=0.2)
    assert od.power(DOSES, beliefs(), trial(), one) == pytest.approx(od.power(DOSES, beliefs(), trial(), two), rel=1e-9)


def test_sample_size_of_a_joint_test():
    found = od.sample_size(DOSES, beliefs(), trial(), od.JointTest(NAMES), 0.9, "clinic")
    means = np.array([0, 0.5, 0.8])

    def power(clinics):
        noncentrality = clinics / 3 * ((means - means.mean()) ** 2).sum() / 0.4
        return stats.ncf.sf(stats.f.isf(0.05, 2, clinics - 3), 2, clinics - 3, noncentrality)

    assert found.count == next(n for n in range(4, 500) if power(n) >= 0.9)


def test_non_inferiority_moves_the_null_value():
    guess = beliefs(b=-0.1)
    inferior = od.WaldTest(NAMES[0], alternative="greater", margin=0.4, alpha=0.025)
    moved = od.WaldTest(NAMES[0], null=-0.4, alternative="greater", alpha=0.025)
    expected = od.power(DOSES, guess, trial(), moved)
    assert od.power(DOSES, guess, trial(), inferior) == pytest.approx(expected, rel=1e-12)
    mirrored = od.WaldTest(NAMES[0], alternative="less", margin=0.4, alpha=0.025)
    assert od.power(DOSES, beliefs(b=0.1), trial(), mirrored) == pytest.approx(expected, rel=1e-9)
    shift = 0.3 / math.sqrt(2 * MEAN)
    assert expected == pytest.approx(stats.nct.sf(stats.t.isf(0.025, 21), 21, shift), rel=1e-9)


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (od.WaldTest(NAMES[0], alternative="equivalence", margin=0.5), "lies outside the margin of 0.5"),
        (od.WaldTest(NAMES[0], alternative="less", margin=0.2), "lies outside the margin of 0.2.*'less'"),
        (od.JointTest(NAMES, null=[0.5, 0.8]), "are the null values themselves.*attainable power is 0.05"),
    ],
)
def test_what_no_number_of_units_shows(test, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.sample_size(DOSES, beliefs(), trial(), test, 0.8, "clinic")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: od.WaldTest("x", margin=0.1), "no meaning in a two-sided test: use alternative='equivalence'"),
        (lambda: od.WaldTest("x", alternative="equivalence"), "needs margin="),
        (lambda: od.WaldTest("x", alternative="less", margin=-1), "margin must be a finite number of at least 0"),
        (lambda: od.WaldTest({"x": 0.0}), "not all zero"),
        (lambda: od.WaldTest({"x": "1"}), "a table of names to numbers"),
        (lambda: od.WaldTest("x", df="kenward-roger"), "one of 'between-within', 'satterthwaite'"),
        (lambda: od.JointTest("x"), "must be a list of names or contrasts"),
        (lambda: od.JointTest([]), "at least one"),
        (lambda: od.JointTest(["x", "z"], null=[1]), "a finite number for each of the 2 coefficients"),
    ],
)
def test_wrong_tests(make, message):
    with pytest.raises(od.SpecificationError, match=message):
        make()


def test_combinations_of_each_other_cannot_be_tested_jointly():
    test = od.JointTest([*NAMES, {NAMES[0]: 1, NAMES[1]: 1}])
    with pytest.raises(od.SpecificationError, match="combinations of the others"):
        od.power(DOSES, beliefs(), trial(), test)


def test_between_within_is_for_one_factor():
    model = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)")
    guess = od.NominalValues([1.0], {"s": 0.2, "i": 0.3})
    design = od.Design(od.Crossed("s", "i"), counts={"s": 9, "i": 8}, replicates=1)
    with pytest.raises(od.SpecificationError, match="one grouping factor, or none: use df='satterthwaite'"):
        od.degrees_of_freedom(model, guess, design, "Intercept", "between-within")


def test_other_families_are_tested_by_z():
    model = od.MixedModel("y ~ 1 + (1 | s) + (1 | i)", family="poisson")
    guess = od.NominalValues([1.0], {"s": 0.2, "i": 0.3})
    design = od.Design(od.Crossed("s", "i"), counts={"s": 9, "i": 8}, replicates=1)
    assert od.degrees_of_freedom(model, guess, design, "Intercept") == math.inf


def test_too_few_units_for_variance_components():
    model = od.MixedModel("y ~ c + (1 | s) + (1 | i)")
    guess = od.NominalValues([0, 1.0], {"s": 0.2, "i": 0.3})
    design = od.Design(
        od.Crossed("s", "i"),
        counts={"s": 9, "i": 2},
        replicates=1,
        measure=od.Measure.grid(c=[0, 1]),
        levels={"c": "i"},
    )
    with pytest.raises(od.SpecificationError, match=r"no degrees of freedom are left for 'c'.*Use more units"):
        od.power(model, guess, design, od.WaldTest("c"))
