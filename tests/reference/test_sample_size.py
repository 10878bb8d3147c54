"""Power and sample size against published numbers."""

import math

import numpy as np
import pandas as pd
import pytest

import optdesign as od


@pytest.mark.parametrize(("intercept", "two_term"), [(-1.5, 130), (-0.5, 63), (0.5, 39)])
def test_poisson_random_slope_table(intercept, two_term):
    model = od.MixedModel("y ~ x + (1 + x | unit)", family="poisson")
    guess = od.NominalValues([intercept, 0.3], {"unit": [[0.5, 0.1], [0.1, 0.25]]})
    design = od.Design(od.Nested("unit"), counts={"unit": 10}, replicates=20, measure=od.Measure.grid(x=[0, 1]))
    test = od.WaldTest("x", alternative="greater", alpha=0.05)
    assert od.sample_size(model, guess, design, test, 0.9, "unit", order="leading").count == 24
    assert od.sample_size(model, guess, design, test, 0.9, "unit").count == two_term


@pytest.mark.parametrize("rho", [0.2, 0.5])
@pytest.mark.parametrize("variance", [100, 200, 300])
def test_longitudinal_slope_difference(rho, variance):
    """Diggle et al.: t = 0, 2, 5, exchangeable errors, slope difference 0.5, one-sided 5 %, power 0.8."""
    table = {(0.2, 100): 313, (0.2, 200): 625, (0.2, 300): 938, (0.5, 100): 196, (0.5, 200): 391, (0.5, 300): 586}
    model = od.MixedModel("y ~ arm * t + (1 | patient)")
    guess = od.NominalValues([0, 0, 0, 0.5], {"patient": rho * variance}, dispersion=(1 - rho) * variance)
    design = od.Design(
        od.Nested("patient"),
        counts={"patient": 10},
        replicates=3,
        measure=od.Measure.grid(arm=[0, 1], t=[0, 2, 5]),
        levels={"arm": "patient"},
    )
    test = od.WaldTest("arm:t", alternative="greater", df=math.inf)
    total = od.sample_size(model, guess, design, test, 0.8, "patient").count
    assert math.ceil(total / 2) == table[rho, variance]


@pytest.mark.parametrize(("effect", "clusters", "budget"), [(0.3, 58.993, 1701.947), (0.2, 130.156, 3754.987)])
def test_two_level_cluster_trial(effect, clusters, budget):
    """Package odr: ICC .2, R² .5 at both levels, one cluster covariate, 9 persons, 33 % treated."""
    model = od.MixedModel("y ~ treat + w + (1 | cluster)")
    guess = od.NominalValues([0, effect, 0], {"cluster": 0.2 * 0.5}, dispersion=0.8 * 0.5)
    measure = od.Measure.grid(treat=[0, 1], w=[-1, 1], weights=[0.335, 0.335, 0.165, 0.165])
    shape = {"measure": measure, "levels": {"treat": "cluster", "w": "cluster"}, "replicates": 9}
    design = od.Design(od.Nested("cluster"), counts={"cluster": clusters}, **shape)
    test, cost = od.WaldTest("treat"), od.Cost({"cluster": "5 + 45*treat"}, observation=1.0)
    assert od.power(model, guess, design, test) == pytest.approx(0.8, abs=1e-5)
    assert od.sample_size(model, guess, design, test, 0.8, "cluster").count == math.ceil(clusters)
    found = od.sample_size(model, guess, design, test, 0.8, "budget", cost=cost)
    assert found.count == math.ceil(budget)
    assert found.design.spend(cost) == pytest.approx(found.count)


@pytest.mark.parametrize(
    ("effect", "test", "target", "total", "power"),
    [
        (0.5, od.WaldTest("treat"), 0.80, 128, 0.8014596),
        (0.8, od.WaldTest("treat"), 0.80, 52, 0.8074866),
        (0.5, od.WaldTest("treat", alternative="greater"), 0.95, 176, 0.9514254),
    ],
)
def test_two_sample_t_test_of_textbooks(effect, test, target, total, power):
    """Cohen's two-sample t test; powers by G*Power 3.1."""
    model, guess = od.MixedModel("y ~ treat"), od.NominalValues([0, effect])
    design = od.Design(None, replicates=10, measure=od.Measure.grid(treat=[0, 1]))
    found = od.sample_size(model, guess, design, test, target, "replicates")
    assert math.ceil(found.count / 2) * 2 == total
    whole = od.Design(None, replicates=total, measure=od.Measure.grid(treat=[0, 1]))
    assert od.power(model, guess, whole, test) == pytest.approx(power, abs=2e-6)


def test_stepped_wedge_sequences_keep_their_proportions():
    """Six sequences, five periods; integer plan (3,2,1,1,2,3) of one observation per cell: variance .1276651982."""
    periods = range(1, 6)
    groups = [
        od.Group(count, 5, od.Measure.from_frame(pd.DataFrame({"t": periods, "on": [int(t > k) for t in periods]})))
        for k, count in enumerate((3, 2, 1, 1, 2, 3))
    ]
    model = od.MixedModel("y ~ on + C(t) + (1 | cluster)")
    # One observation in each cell: the cluster-period variance .05 and the residual 1 are one variance.
    guess = od.NominalValues([0, 1, 0, 0, 0, 0], {"cluster": 0.25}, dispersion=1.05)
    design, test = od.Design(od.Nested("cluster"), groups), od.WaldTest("on", df=math.inf)
    z = (1.959963985 + 1.281551566) ** 2
    found = od.sample_size(model, guess, design, test, 0.9, "cluster")
    assert found.count == math.ceil(12 * z * 0.1276651982)
    np.testing.assert_allclose([g.count / found.count for g in found.design.groups], np.array([3, 2, 1, 1, 2, 3]) / 12)
