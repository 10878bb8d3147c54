"""From continuous optima to plans in whole numbers."""

import itertools

import numpy as np
import pytest

import optdesign as od

MODEL = od.MixedModel("y ~ arm + (1 | cl)")
GUESS = od.NominalValues([0.0, 0.0], {"cl": 0.2}, 0.8)
COST = od.Cost({"cl": 1000.0}, 25.0)


def arms(budget, **changes):
    space = od.DesignSpace(
        od.Nested("cl"), od.Candidates.grid(arm=[0, 1]), levels={"arm": "cl"}, **{"replicates": (2, 40), **changes}
    )
    return od.optimize(MODEL, GUESS, space, od.DOptimality(), COST, budget)


def determinant(sizes):
    """det of the information of clusters of these sizes, an array per arm: n/(n σ² + 1) at σ² = .2, 1 = .8."""
    control, treated = (sum(n / (0.2 * n + 0.8) for n in arm) for arm in sizes)
    return control * treated


def best_of_few(budget):
    """Largest determinant over all plans of two or three clusters within a budget, by looking at every one."""
    plans = [sizes for clusters in (2, 3) for sizes in itertools.product(range(2, 41), repeat=clusters)]
    return max(determinant([s[:1], s[1:]]) for s in plans if 1000 * len(s) + 25 * sum(s) <= budget)


@pytest.mark.parametrize("budget", [2_600, 4_500])
def test_budgets_of_two_or_three_units(budget):
    exact = arms(budget).rounded
    sizes = [
        [g.replicates for g in exact.design.groups for _ in range(int(g.count)) if g.at["arm"] == a] for a in (0, 1)
    ]
    assert exact.status == "optimal among whole numbers"
    assert determinant(sizes) == pytest.approx(best_of_few(budget), rel=1e-6)
    assert exact.spend <= budget


@pytest.mark.parametrize(("share", "budget", "least"), [(0.5, 50_000, 0.998), (0.3, 50_000, 0.985), (0.5, 6_600, 0.9)])
def test_shares_that_must_be_met_exactly(share, budget, least):
    best = arms(budget, constraints=[od.Share("arm == 0", at_least=share, at_most=share)])
    exact = best.rounded
    held = sum(g.count for g in exact.design.groups if g.at["arm"] == 0)
    assert held == pytest.approx(share * exact.design.units)
    assert exact.efficiency_bound > least
    assert exact.efficiency_bound <= exact.whole_bound


def test_a_share_that_the_budget_cannot_meet_in_whole_numbers_is_priced():
    """Three in ten needs ten clusters, of two observations each."""
    best = arms(4_500, constraints=[od.Share("arm == 0", at_least=0.3, at_most=0.3)])
    with pytest.raises(od.InfeasibleBudgetError, match=r"cheapest one found costs 10,500\.00") as caught:
        _ = best.rounded
    assert caught.value.price == pytest.approx(10 * 1050)


def test_a_share_that_no_whole_number_of_units_has_is_not_blamed_on_the_budget():
    best = arms(50_000, counts={"cl": 25}, constraints=[od.Share("arm == 0", at_least=0.5, at_most=0.5)])
    with pytest.raises(od.InfeasibleBudgetError, match="In its way: exactly 25 levels"):
        _ = best.rounded


def sleepstudy(criterion):
    model = od.MixedModel("y ~ day + (1 + day | subject)")
    guess = od.NominalValues([251.4, 10.47], {"subject": [[565.5, 11.06], [11.06, 32.68]]}, 654.9)
    space = od.DesignSpace(od.Nested("subject"), od.Candidates.grid(day=range(10)), replicates=(2, 10), at_most=1)
    return od.optimize(model, guess, space, criterion, od.Cost({"subject": 100.0}, 20.0), 5_000)


def test_a_plan_far_below_the_continuous_bound_can_be_the_best_in_whole_numbers():
    """No two of the 1,013 schedules do better, by generalised least squares of every pair, nor does the proof."""
    exact = sleepstudy(od.AOptimality()).rounded
    assert exact.efficiency_bound < 0.96
    assert exact.status == "optimal among whole numbers"
    days = [np.array(d) for n in range(2, 11) for d in itertools.combinations(range(10), n)]
    assert len(days) == 1013
    information, price = [], []
    for d in days:
        X = np.column_stack([np.ones(len(d)), d])
        V = X @ np.array([[565.5, 11.06], [11.06, 32.68]]) @ X.T + 654.9 * np.eye(len(d))
        information.append(X.T @ np.linalg.solve(V, X))
        price.append(100.0 + 20.0 * len(d))
    information, price = np.array(information), np.array(price)
    for m in range(int(5000 // price.max()), int(5000 // price.min()) + 1):
        rest = np.maximum((5000 - m * price[:, None]) // price, 0) * (m * price[:, None] <= 5000)
        first, second = np.nonzero(rest >= 1)
        total = m * information[first] + rest[first, second][:, None, None] * information[second]
        trace = total[:, [0, 1], [0, 1]].sum(axis=1) / (total[:, 0, 0] * total[:, 1, 1] - total[:, 0, 1] ** 2)
        assert trace.min(initial=np.inf) >= exact.value * (1 - 1e-5)


def test_alternatives_trade_money_for_precision():
    table = sleepstudy(od.DOptimality()).rounded.alternatives
    assert table["kind"].iloc[0] == "the plan"
    assert (np.diff(table["spend"]) < 0).all()
    assert (np.diff(table["value"]) > 0).all()
    assert table["spend"].iloc[-1] <= 4_500
    row = table.iloc[-1]
    assert row["design"].spend(od.Cost({"subject": 100.0}, 20.0)) == pytest.approx(row["spend"])


def test_exact_runs_of_a_plain_model_are_proven():
    """det F'F = 5184 for nine runs of the quadratic in two factors."""
    region = od.DesignSpace(None, od.Candidates.grid(a=[-1, 0, 1], b=[-1, 0, 1]))
    model = od.MixedModel("y ~ a*b + I(a**2) + I(b**2)")
    exact = od.optimize(model, od.NominalValues([0.0] * 6), region, od.DOptimality(), od.Cost({}, 1.0), 9.0).rounded
    assert exact.status == "optimal among whole numbers"
    assert np.exp(-exact.value) == pytest.approx(5184)
    assert exact.design.observations == 9


@pytest.mark.parametrize(
    ("changes", "limits", "words"),
    [
        ({}, {"hours": (od.Cost({"cl": 2.0}), 1.0)}, r"In its way: at most 1 of hours \(limits\)\. Widen"),
        (
            {
                "counts": {"cl": 21},
                "replicates": 5,
                "constraints": [od.Share("arm == 0", at_least=0.5, at_most=0.5)],
            },
            {},
            r"In its way: (?=.*exactly 21 levels of 'cl' \(counts\))(?=.*a share of exactly 0\.5 with arm == 0)",
        ),
        ({"counts": {"cl": 20.5}}, {}, r"In its way: exactly 20\.5 levels of 'cl' \(counts\)\. Widen"),
    ],
)
def test_bounds_that_no_whole_numbers_keep_are_named(changes, limits, words):
    space = od.DesignSpace(
        od.Nested("cl"), od.Candidates.grid(arm=[0, 1]), levels={"arm": "cl"}, **{"replicates": (2, 40), **changes}
    )
    best = od.optimize(MODEL, GUESS, space, od.DOptimality(), COST, 50_000, limits=limits)
    with pytest.raises(od.InfeasibleBudgetError, match=words):
        _ = best.rounded


def test_a_budget_far_too_small_for_whole_units_is_named():
    with pytest.raises(od.InfeasibleBudgetError, match=r"In its way: the 150\.00 that the budget leaves"):
        _ = arms(150, replicates=(1, np.inf)).rounded
