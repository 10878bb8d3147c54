"""Power and degrees of freedom against published numbers and other packages."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

import optdesign as od

# Participants responding to stimuli (Westfall, Kenny & Judd 2014): E = .3, P = S = .2, PS = PC = SC = .1, d = .5, so
# that the coefficient of a condition coded ±1 is .25. All with 20 participants and 20 stimuli, two-sided 5 %.

STIMULI = od.MixedModel("y ~ c + (1 + c | p) + (1 + c | s) + (1 | p:s)")
BELIEFS = od.NominalValues([0, 0.25], {"p": np.diag([0.2, 0.1]), "s": np.diag([0.2, 0.1]), "p:s": 0.1}, dispersion=0.3)


def crossed(p=20, q=20, replicates=1, levels=None, measure=None):
    return od.Design(
        od.Crossed("p", "s"),
        counts={"p": p, "s": q},
        replicates=replicates,
        measure=measure or od.Measure.grid(c=[-1, 1]),
        levels=levels or {},
    )


def designs():
    lists = pd.DataFrame([(a, b, a * b) for a in (-1, 1) for b in (-1, 1)], columns=["p_list", "s_list", "c"])
    halves = pd.DataFrame(
        [(i, j, 2 * (i < 10) - 1) for i in range(20) for j in range(20) if (i < 10) == (j < 10)],
        columns=["p", "s", "c"],
    )
    return {
        "crossed": crossed(replicates=2),
        "counterbalanced": crossed(
            levels={"p_list": "p", "s_list": "s", "c": "p:s"}, measure=od.Measure.from_frame(lists)
        ),
        "stimuli within": crossed(levels={"c": "s"}),
        "participants within": crossed(levels={"c": "p"}),
        "both within": halves,
    }


# Noncentrality, degrees of freedom and power as published.
PUBLISHED = {
    "crossed": (2.4544, 33.1902, 0.6638),
    "counterbalanced": (2.3837, 26.3891, 0.6317),
    "stimuli within": (1.7252, 23.0163, 0.3797),
    "participants within": (1.7252, 23.0163, 0.3797),
    "both within": (1.3975, 31.8770, 0.2733),
}
# Mean squares of participants, of stimuli and of error, and their degrees of freedom: those of the published formula,
# and the expected ones of a condition coded ±1, of which the published take half the slopes' part.
FORMULA = {
    "crossed": ((0.3 + 2, 19), (0.3 + 2, 19), (0.3, 361)),
    "counterbalanced": ((0.4 + 1, 18), (0.4 + 1, 18), (0.4, 324)),
    "stimuli within": ((0.4 + 1, 19), (0.4 + 6, 18), (0.4, 342)),
    "participants within": ((0.4 + 6, 18), (0.4 + 1, 19), (0.4, 342)),
    "both within": ((0.4 + 3, 18), (0.4 + 3, 18), (0.4, 324)),
}
EXPECTED = {
    "crossed": ((0.3 + 4, 19), (0.3 + 4, 19), (0.3, 361)),
    "stimuli within": ((0.4 + 2, 19), (0.4 + 6, 18), (0.4, 342)),
    "participants within": ((0.4 + 6, 18), (0.4 + 2, 19), (0.4, 342)),
    "both within": ((0.4 + 3, 18), (0.4 + 3, 18), (0.4, 162)),
}


def combined(squares):
    """Satterthwaite's ν of MS_P + MS_S − MS_E."""
    parts = np.array([sign * square for sign, (square, _) in zip((1, 1, -1), squares, strict=True)])
    return parts.sum() ** 2 / (parts**2 / np.array([df for _, df in squares])).sum()


@pytest.mark.parametrize("name", PUBLISHED)
def test_participants_and_stimuli_with_the_published_degrees_of_freedom(name):
    ncp, df, power = PUBLISHED[name]
    assert combined(FORMULA[name]) == pytest.approx(df, abs=5e-5)
    design = designs()[name]
    width = od.interval_width(STIMULI, BELIEFS, design, "c", df=math.inf)
    assert 0.25 / (width / (2 * 1.959963984540054)) == pytest.approx(ncp, abs=5.1e-5)
    test = od.WaldTest("c", df=combined(FORMULA[name]))
    assert od.power(STIMULI, BELIEFS, design, test) == pytest.approx(power, abs=5.1e-5)


@pytest.mark.parametrize("name", EXPECTED)
def test_participants_and_stimuli_with_expected_mean_squares(name):
    """Satterthwaite of the model; power is within half a point of what was published."""
    design = designs()[name]
    found = od.degrees_of_freedom(STIMULI, BELIEFS, design, "c")
    assert found == pytest.approx(combined(EXPECTED[name]), rel=1e-7)
    assert od.power(STIMULI, BELIEFS, design, od.WaldTest("c")) == pytest.approx(PUBLISHED[name][2], abs=0.005)


def test_counterbalanced_with_effects_of_the_lists():
    """Lists of participants and of stimuli as fixed effects take one degree of freedom each."""
    model = od.MixedModel("y ~ c + p_list + s_list + (1 + c | p) + (1 + c | s) + (1 | p:s)")
    guess = od.NominalValues([0, 0.25, 0, 0], BELIEFS.covariance, dispersion=0.3)
    found = od.degrees_of_freedom(model, guess, designs()["counterbalanced"], "c")
    assert found == pytest.approx(combined(((0.4 + 2, 18), (0.4 + 2, 18), (0.4, 324))), rel=1e-7)


@pytest.mark.parametrize(
    ("replicates", "levels", "highest", "stimuli"), [(2, {}, 0.8400, 15), (1, {"c": "s"}, 0.3978, 14)]
)
def test_highest_power_of_sixteen_stimuli(replicates, levels, highest, stimuli):
    table = (
        od.attainable_power(STIMULI, BELIEFS, crossed(20, 16, replicates, levels), od.WaldTest("c"))
        .to_frame()
        .set_index("grows")
    )
    assert table.loc["p", "power"] == pytest.approx(highest, abs=5e-5)
    assert table.loc["p", "limited by"] == "s"
    assert table.loc["p", "df"] == pytest.approx(stimuli, rel=1e-5)
    assert table.loc["p and replicates", "power"] == pytest.approx(highest, abs=1e-4)
    assert table.loc["p and s", "power"] == pytest.approx(1.0)
    assert table.loc["p and s", "limited by"] == ""


def test_parallel_cluster_trial():
    """Package glmmrBase: 10 clusters × 5 periods × 10; standard error, power by z, 8 degrees of freedom."""
    model = od.MixedModel("y ~ x + C(t) + (1 | cluster) + (1 | cluster:t)")
    guess = od.NominalValues([0, 0.6, 0, 0, 0, 0], {"cluster": 0.05, "cluster:t": 0.1})
    measure = od.Measure.grid(x=[0, 1], t=range(5))
    design = od.Design(
        od.Nested("cluster"), counts={"cluster": 10}, replicates=50, measure=measure, levels={"x": "cluster"}
    )
    assert od.covariance(model, guess, design, "exact").standard_errors[1] == pytest.approx(0.1897367, abs=5e-8)
    assert od.power(model, guess, design, od.WaldTest("x", df=math.inf)) == pytest.approx(0.885379, abs=5e-7)
    assert od.degrees_of_freedom(model, guess, design, "x") == pytest.approx(8, rel=1e-8)


def test_three_level_trial():
    """Package odr: 97.284 schools of 3 classes of 8 at 16032.34 give d = .2 a power of .8 on K − 3 df."""
    model = od.MixedModel("y ~ treat + w + (1 | school) + (1 | class)")
    guess = od.NominalValues([0, 0.2, 0], {"school": 0.1 * 0.5, "class": 0.2 * 0.5}, dispersion=0.7 * 0.5)
    design = od.Design(
        od.Nested("school", "class"),
        counts={"school": 97.284, "class": 3},
        replicates=8,
        measure=od.Measure.grid(treat=[0, 1], w=[-1, 1], weights=[0.36, 0.36, 0.14, 0.14]),
        levels={"treat": "school", "w": "school"},
    )
    cost = od.Cost({"school": "25 + 225*treat", "class": "5 + 45*treat"}, observation=1.0)
    test = od.WaldTest("treat")
    assert design.spend(cost) == pytest.approx(16032.34, abs=0.1)
    assert od.power(model, guess, design, test) == pytest.approx(0.8, abs=1e-5)
    assert od.degrees_of_freedom(model, guess, design, "treat") == pytest.approx(97.284 - 3, rel=1e-8)
    assert od.sample_size(model, guess, design, test, 0.8, "budget", cost=cost).count == pytest.approx(16032.34, abs=1)
    assert od.sample_size(model, guess, design, test, 0.8, "school").count == 98


def test_longitudinal_trial_with_clusters_and_dropout():
    """Package powerlmm: .409863, 7.975 and .67725 for one random order in which patients drop out.

    Dropouts are drawn there; this draw comes within 4e-7 of its standard error.
    """
    rng, times = np.random.default_rng(299), np.arange(11)
    rows = []
    for arm, lost in ((1, 0.3), (0, 0.2)):
        staying = np.round(50 * (1 - lost) ** ((times / 10) ** 2)).astype(int)
        seen, left = np.full(50, 11), np.arange(50)
        for time, (before, after) in enumerate(pairwise(staying), start=1):
            out = rng.choice(left, before - after, replace=False) if before > after else []
            seen[out] = time
            left = np.setdiff1d(left, out)
        rows += [(5 * arm + i // 10, 50 * arm + i, arm, t) for i in range(50) for t in times[: seen[i]]]
    df = pd.DataFrame(rows, columns=["cluster", "patient", "arm", "t"])
    model = od.MixedModel("y ~ t * arm + (1 + t | patient) + (1 + t | cluster)")
    slope = -0.8 * math.sqrt(2) / 10
    guess = od.NominalValues(
        {"Intercept": 0, "t": 0, "arm": 0, "t:arm": slope},
        {"patient": np.diag([1, 0.02 * 0.95]), "cluster": np.diag([0, 0.02 * 0.05])},
    )
    cov = od.covariance_of_frame(model, guess, df, "exact")
    assert 10 * cov.standard_errors[cov.position("t:arm")] == pytest.approx(0.409863, abs=1e-6)
    assert od.degrees_of_freedom(model, guess, df, "t:arm") == pytest.approx(7.975, abs=2e-3)
    assert od.power(model, guess, df, od.WaldTest("t:arm"), "exact") == pytest.approx(0.67725, abs=3e-5)


@pytest.mark.parametrize(("cv", "n", "power"), [(0.25, 28, 0.807439), (0.30, 40, 0.815845), (0.35, 52, 0.807470)])
def test_bioequivalence(cv, n, power):
    """Package PowerTOST: ratio .95 between .8 and 1.25, two-period crossover, so that se = √(2σ²/n), df = n − 2."""
    variance = math.log(1 + cv**2)
    model, guess = od.MixedModel("y ~ x"), od.NominalValues([0, math.log(0.95)], dispersion=variance / 2)
    design = od.Design(None, replicates=n, measure=od.Measure.grid(x=[0, 1]))
    test = od.WaldTest("x", alternative="equivalence", margin=math.log(1.25))
    assert od.power(model, guess, design, test) == pytest.approx(power, abs=1e-6)
    assert od.sample_size(model, guess, design, test, 0.8, "replicates").count in (n - 1, n)
