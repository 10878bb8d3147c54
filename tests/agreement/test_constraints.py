"""Several budgets, what has been run, and linear constraints, against grids, other solvers and hand calculation."""

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

import optdesign as od

MEAN = od.MixedModel("y ~ 1 + (1 | clinic)")
GUESS = od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
EFFECT = od.COptimality({"treat": 1.0})
ARMS = od.MixedModel("y ~ treat + (1 | clinic)")
ARM_GUESS = od.NominalValues([0.0, 0.3], {"clinic": 0.1}, 0.9)


def arms(**bounds):
    return od.DesignSpace(od.Nested("clinic"), od.Candidates.grid(treat=[0, 1]), levels={"treat": "clinic"}, **bounds)


# Several budgets ------------------------------------------------------------------------------------------------------


def test_two_budgets_that_both_bind():
    # 50 m + N ≤ 5,000 and m + N/10 ≤ 175 meet at N/m = 11.5; money alone would have 14.1, hours alone 6.3.
    space, mean = od.DesignSpace(od.Nested("clinic")), od.COptimality({"Intercept": 1.0})
    money, hours = od.Cost({"clinic": 50.0}, 1.0), od.Cost({"clinic": 1.0}, 0.1)
    free, slack, tight = (
        od.optimize(MEAN, GUESS, space, mean, money, 5_000, limits=limits)
        for limits in (None, {"hours": (hours, 200.0)}, {"hours": (hours, 175.0)})
    )
    assert slack.value == pytest.approx(free.value, rel=1e-6)
    assert tight.design.units == pytest.approx(81.25, rel=1e-4)
    m = np.linspace(1, 174, 200_001)
    n = np.minimum(5_000 - 50 * m, 10 * (175 - m)) / m
    grid = np.where(n >= 1, 0.2 / m + 0.8 / (m * np.maximum(n, 1)), np.inf)
    assert tight.value == pytest.approx(grid.min(), rel=3e-6)


def test_both_budgets_have_a_price_where_both_bind():
    money, hours = od.Cost({"clinic": "20 + 60*treat"}, 1.0), od.Cost({"clinic": 1.0}, "0.02 + 0.1*treat")
    best = od.optimize(ARMS, ARM_GUESS, arms(), EFFECT, money, 5_000, limits={"hours": (hours, 150.0)})
    assert best.design.spend(money) == pytest.approx(5_000, rel=1e-5)
    assert best.design.spend(hours) == pytest.approx(150, rel=1e-5)
    # Sensitivities on the support are λ × price + κ × hours, with both positive, and the shares of the two sum to one.
    frame = best.certificate.sensitivities
    unit, treat = (frame["kind"] == "unit").to_numpy(), frame["treat"].to_numpy()
    columns = np.column_stack([np.where(unit, 20 + 60 * treat, 1.0), np.where(unit, 1.0, 0.02 + 0.1 * treat)])
    multipliers, *_ = np.linalg.lstsq(columns / columns.max(0), frame["sensitivity"])
    np.testing.assert_allclose(columns / columns.max(0) @ multipliers, frame["sensitivity"], rtol=1e-3)
    assert (multipliers > 0).all()
    assert multipliers / columns.max(0) @ [5_000, 150] == pytest.approx(1, rel=1e-4)
    # Not even a grid of designs that are not whole has anything better.
    m, n = np.meshgrid(np.linspace(5, 90, 60), np.linspace(2, 60, 60), indexing="ij")
    each = (0.1 + 0.9 / n) / m
    spend = [m * (20 + 60 * a + n) for a in (0, 1)]
    taken = [m * (1 + (0.02 + 0.1 * a) * n) for a in (0, 1)]
    affordable = np.add.outer(spend[0], spend[1]) <= 5_000
    affordable &= np.add.outer(taken[0], taken[1]) <= 150
    least = np.add.outer(each, each)[affordable].min()
    assert best.value <= least <= 1.03 * best.value


def test_the_whole_number_plan_keeps_every_budget():
    money, hours = od.Cost({"clinic": "20 + 60*treat"}, 1.0), od.Cost({"clinic": 1.0}, "0.02 + 0.1*treat")
    best = od.optimize(ARMS, ARM_GUESS, arms(), EFFECT, money, 5_000, limits={"hours": (hours, 150.0)})
    assert best.rounded.design.spend(money) <= 5_000
    assert best.rounded.design.spend(hours) <= 150
    assert best.rounded.efficiency_bound > 0.98


# What has been run ----------------------------------------------------------------------------------------------------

OLD = od.Design(od.Nested("clinic"), [od.Group(6, 5, at={"treat": 0}), od.Group(2, 10, at={"treat": 1})])
COST = od.Cost({"clinic": 50.0}, 2.0)


def as_frame(design):
    """A row for each observation of a design with whole counts."""
    rows, unit = [], 0
    for group in design.groups:
        for _ in range(int(group.count)):
            unit += 1
            rows += [{"clinic": f"c{unit}", **group.at}] * int(group.replicates)
    return pd.DataFrame(rows)


@pytest.mark.parametrize("order", ["leading", "two-term", "exact"])
@pytest.mark.filterwarnings("ignore::optdesign.errors.AsymptoticRegimeWarning")
def test_information_adds_up(order):
    best = od.optimize(ARMS, ARM_GUESS, arms(replicates=(2, 40)), od.DOptimality(), COST, 3_000, order, already=OLD)
    new, old = (od.covariance(ARMS, ARM_GUESS, design, order).matrix for design in (best.design, OLD))
    total = np.linalg.inv(np.linalg.inv(new) + np.linalg.inv(old))
    np.testing.assert_allclose(best.covariance.matrix, total, rtol=1e-7)
    assert best.value == pytest.approx(np.linalg.slogdet(total)[1], rel=1e-7)


def test_a_data_frame_says_the_same_as_its_design():
    asked = (ARMS, ARM_GUESS, arms(), EFFECT, COST, 3_000)
    by_design, by_frame = (od.optimize(*asked, already=run) for run in (OLD, as_frame(OLD)))
    assert by_frame.value == pytest.approx(by_design.value, rel=1e-8)
    assert by_frame.certificate.efficiency_bound >= 1 - 1e-6


def test_what_has_been_run_and_what_is_added_both_help():
    asked = (ARMS, ARM_GUESS, arms(), EFFECT, COST)
    added, fresh = od.optimize(*asked, 3_000, already=OLD), od.optimize(*asked, 3_000)
    alone = od.covariance(ARMS, ARM_GUESS, OLD).variance({"treat": 1.0})
    assert added.value < min(alone, fresh.value)
    # And nothing beats starting afresh with all the money, the old design's included.
    assert added.value >= od.optimize(*asked, 3_000 + OLD.spend(COST)).value


def test_augmentation_balances_what_is_there():
    # Variances of the arms add up: v0/(1 + …) with prices alike, the same number of further observations goes where
    # the marginal gain is, found on a grid.
    best = od.optimize(ARMS, ARM_GUESS, arms(replicates=10), EFFECT, COST, 7_000, "exact", already=OLD)
    per_unit = 1 / (0.1 + 0.9 / 10)
    old = [6 / (0.1 + 0.9 / 5), 2 / (0.1 + 0.9 / 10)]
    m = np.linspace(0, 100, 1_000_001)
    grid = 1 / (old[0] + m * per_unit) + 1 / (old[1] + (100 - m) * per_unit)
    assert best.value == pytest.approx(grid.min(), rel=1e-6)
    counts = best.design.to_frame().set_index("treat")["count"]
    assert counts[0] == pytest.approx(m[grid.argmin()], rel=1e-3)


def test_an_augmented_logistic_design_agrees_with_a_semidefinite_program():
    model, guess = od.MixedModel("y ~ x", family="bernoulli"), od.NominalValues([-0.5, 1.5])
    x = np.linspace(-2, 2, 21)
    run = pd.DataFrame({"x": np.repeat([-2.0, -1.0, 0.0], [10, 20, 5])})
    best = od.optimize(
        model, guess, od.DesignSpace(None, od.Candidates.grid(x=x)), od.DOptimality(), od.Cost(observation=1.0), 40,
        already=run,
    )  # fmt: skip

    def information(at):
        eta = -0.5 + 1.5 * at
        columns = np.column_stack([np.ones(len(at)), at]) / (2 * np.cosh(eta / 2))[:, None]
        return columns[:, :, None] * columns[:, None, :]

    masses = cp.Variable(len(x), nonneg=True)
    old = information(run["x"].to_numpy()).sum(axis=0)
    total = old + cp.sum([mass * each for mass, each in zip(masses, information(x), strict=True)])
    program = cp.Problem(cp.Maximize(cp.log_det(total)), [cp.sum(masses) <= 40])
    program.solve(solver=cp.SCS, eps=1e-9)
    assert best.value == pytest.approx(-program.value, abs=1e-5)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_one_arm_run_and_the_other_to_come():
    controls = od.Design(od.Nested("clinic"), [od.Group(20, 10, at={"treat": 0})])
    only = od.DesignSpace(od.Nested("clinic"), od.Candidates.grid(treat=[1]), levels={"treat": "clinic"}, replicates=10)
    best = od.optimize(ARMS, ARM_GUESS, only, EFFECT, COST, 1_400, already=controls)
    assert best.value == pytest.approx((0.1 + 0.9 / 10) * (1 / 20 + 1 / 20), rel=1e-6)


# Constraints ----------------------------------------------------------------------------------------------------------


def test_at_least_a_share_of_controls():
    # A treated clinic is as dear as a control; only variance counts, and treated outcomes are free of the share.
    cost = od.Cost({"clinic": "90 - 60*treat"}, 1.0)
    free = od.optimize(ARMS, ARM_GUESS, arms(replicates=10), EFFECT, cost, 5_000)
    bound = arms(replicates=10, constraints=[od.Share("treat == 0", at_least=0.45)])
    best = od.optimize(ARMS, ARM_GUESS, bound, EFFECT, cost, 5_000)
    share = [b.design.groups[0].count / b.design.units for b in (free, best)]
    # √(price) allocation: m₀/m₁ = √(40/100).
    assert share[0] == pytest.approx(np.sqrt(40) / (np.sqrt(40) + 10), rel=1e-5)
    assert share[1] == pytest.approx(0.45, rel=1e-5)
    units = 5_000 / (0.45 * 100 + 0.55 * 40)
    assert best.value == pytest.approx(0.19 / units * (1 / 0.45 + 1 / 0.55), rel=1e-6)


QUADRATIC = od.MixedModel("y ~ dose + I(dose**2)")
FLAT = od.NominalValues([0.0, 0.0, 0.0])


def doses(**bounds):
    return od.DesignSpace(None, od.Candidates.grid(dose=np.linspace(-1, 1, 21)), **bounds)


def test_a_total_of_observations():
    # D-optimal thirds of 90, but no more than 20 at the highest dose: then the best on the others, by a scan.
    asked = (od.DOptimality(), od.Cost(observation=1.0), 90)
    best = od.optimize(QUADRATIC, FLAT, doses(constraints=[od.Total("dose > 0.95", at_most=20)]), *asked)
    (group,) = best.design.groups
    mass = pd.Series(group.replicates * group.measure.weights, index=group.measure.points["dose"].round(6))
    assert mass[1.0] == pytest.approx(20, rel=1e-5)
    assert best.certificate.efficiency_bound >= 1 - 1e-6
    x = np.linspace(-1, 1, 21)
    columns = np.column_stack([np.ones(21), x, x**2])
    masses = cp.Variable(21, nonneg=True)
    program = cp.Problem(
        cp.Maximize(cp.log_det(columns.T @ cp.diag(masses) @ columns)), [cp.sum(masses) <= 90, masses[20] <= 20]
    )
    program.solve(solver=cp.SCS, eps=1e-9)
    assert best.value == pytest.approx(-program.value, abs=1e-5)
    counts = best.rounded.to_frame()["dose"].value_counts()
    assert counts[1.0] <= 20


def test_a_total_over_units_and_a_total_of_an_amount():
    cost = od.Cost({"clinic": 50.0}, 1.0)
    at_most = arms(replicates=(2, 40), constraints=[od.Total("treat == 1", at_most=12, of="units")])
    best = od.optimize(ARMS, ARM_GUESS, at_most, EFFECT, cost, 5_000)
    assert best.design.to_frame().set_index("treat")["count"][1] == pytest.approx(12, rel=1e-5)
    drug = doses(constraints=[od.Total("dose + 1", at_most=60)])
    spared = od.optimize(QUADRATIC, FLAT, drug, od.DOptimality(), od.Cost(observation=1.0), 90)
    (group,) = spared.design.groups
    used = group.replicates * group.measure.weights @ (group.measure.points["dose"] + 1)
    assert used == pytest.approx(60, rel=1e-5)


def test_a_least_number_of_units_is_kept():
    # The best has 77.95 units of 14.14; with 90 of them the money leaves n = 500/90.
    space = od.DesignSpace(od.Nested("clinic"), counts={"clinic": (90, 400)})
    best = od.optimize(MEAN, GUESS, space, od.COptimality({"Intercept": 1.0}), od.Cost({"clinic": 50.0}, 1.0), 5_000)
    assert best.value == pytest.approx(0.2 / 90 + 0.8 / 500, rel=1e-6)


def test_a_total_that_nothing_adds_to_is_a_contradiction():
    with pytest.raises(od.SpecificationError, match="at least 15 in the total of dose > 7"):
        od.optimize(
            QUADRATIC, FLAT, doses(constraints=[od.Total("dose > 7", at_least=15)]), od.DOptimality(),
            od.Cost(observation=1.0), 90,
        )  # fmt: skip


def test_a_least_total_is_bought():
    early = doses(constraints=[od.Total("abs(dose - 0.5) < 0.01", at_least=15)])
    best = od.optimize(QUADRATIC, FLAT, early, od.DOptimality(), od.Cost(observation=1.0), 90)
    (group,) = best.design.groups
    at = np.isclose(group.measure.points["dose"], 0.5)
    assert group.replicates * group.measure.weights[at].sum() == pytest.approx(15, rel=1e-5)


def test_forbidden_combinations_are_not_used():
    points = od.Candidates.grid(dose=[0, 1, 2], age=[40, 60, 80]).where("not (dose == 2 and age > 50)")
    assert len(points.points) == 7
    model, zero = od.MixedModel("y ~ dose + age"), od.NominalValues([0.0, 0.0, 0.0])
    best = od.optimize(model, zero, od.DesignSpace(None, points), od.DOptimality(), od.Cost(observation=1.0), 60)
    used = best.design.groups[0].measure.points
    assert not ((used["dose"] == 2) & (used["age"] > 50)).any()
    columns = np.column_stack([np.ones(7), points.points["dose"], points.points["age"] / 80])
    masses = cp.Variable(7, nonneg=True)
    program = cp.Problem(cp.Maximize(cp.log_det(columns.T @ cp.diag(masses) @ columns)), [cp.sum(masses) <= 60])
    program.solve(solver=cp.SCS, eps=1e-9)
    assert best.value == pytest.approx(-program.value - 2 * np.log(80), abs=1e-5)


def test_blocks_of_fixed_size():
    # Two blocks, of 20 and 40 runs: within each, the ends of the interval in halves; Var(slope) = 1/60.
    model = od.MixedModel("y ~ block + x")
    space = od.DesignSpace(
        None,
        od.Candidates.grid(block=["a", "b"], x=[-1.0, 0.0, 1.0]),
        constraints=[od.Total("block == 'a'", 20, 20), od.Total("block == 'b'", 40, 40)],
    )
    best = od.optimize(model, od.NominalValues([0.0, 0.0, 0.0]), space, od.DOptimality(), od.Cost(observation=1.0), 100)
    table = best.rounded.to_frame().value_counts(["block", "x"])
    assert table.to_dict() == {("a", -1.0): 10, ("a", 1.0): 10, ("b", -1.0): 20, ("b", 1.0): 20}
    assert best.covariance.variance({"x": 1.0}) == pytest.approx(1 / 60, rel=1e-6)


# What contradicts what ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "limits", "named", "left_out"),
    [
        (
            {"constraints": [od.Share("treat == 0", at_least=0.6), od.Share("treat == 1", at_least=0.6)],
             "counts": {"clinic": (4, 90)}, "replicates": (2, 9)},
            None,
            ["a share of at least 0.6 with treat == 0 (constraints)",
             "a share of at least 0.6 with treat == 1 (constraints)"],
            ["levels", "observations per unit"],
        ),
        (
            {"constraints": [od.Total("1", at_most=30)], "counts": {"clinic": (20, 90)}, "replicates": (2, 9)},
            None,
            ["at least 20 levels of 'clinic' (counts)", "at least 2 observations per unit (replicates)",
             "at most 30 in the total of 1 over observations (constraints)"],
            ["at most 9", "at most 90", "budget"],
        ),
        (
            {"counts": {"clinic": (20, 90)}},
            {"nurse hours": (od.Cost({"clinic": 3.0}, 0.5), 50)},
            ["at least 20 levels of 'clinic' (counts)", "at most 50 of nurse hours (limits)"],
            ["budget", "at most 90"],
        ),
        (
            {"at_most": 3, "replicates": 4},
            None,
            ["exactly 4 observations per unit (replicates)", "no point more than 3 times within a unit (at_most)"],
            ["budget"],
        ),
    ],
)  # fmt: skip
def test_a_smallest_set_of_contradicting_bounds_is_named(bounds, limits, named, left_out):
    with pytest.raises(od.SpecificationError, match="contradict each other") as caught:
        od.optimize(ARMS, ARM_GUESS, arms(**bounds), EFFECT, COST, 5_000, limits=limits)
    words = str(caught.value).split("contradict each other: ")[1].removesuffix(". Widen one of them.").split("; ")
    assert sorted(words) == sorted(named)
    assert not any(word in each for each in words for word in left_out)


@pytest.mark.parametrize(
    ("total", "message"),
    [
        ({"expression": "dose"}, "one of them finite"),
        ({"expression": "dose", "at_least": 3, "at_most": 2}, "at_least ≤ at_most"),
        ({"expression": "dose", "at_most": float("nan")}, "at_least ≤ at_most"),
        (
            {"expression": "dose", "at_most": 2, "of": 3},
            "of must be 'observations', 'units' or the name of a factor; got 3",
        ),
    ],
)
def test_wrong_totals(total, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.Total(**total)


def test_totals_that_do_not_fit_the_space():
    asked = (QUADRATIC, FLAT)
    more = (od.DOptimality(), od.Cost(observation=1.0), 90)
    with pytest.raises(od.SpecificationError, match="a space without a layout has none"):
        od.optimize(*asked, doses(constraints=[od.Total("1", at_most=2, of="units")]), *more)
    with pytest.raises(od.SpecificationError, match="needs finite numbers"):
        od.optimize(*asked, doses(constraints=[od.Total("1/(dose + 1)", at_most=2)]), *more)
    within = od.DesignSpace(
        od.Nested("clinic"), od.Candidates.grid(treat=[0, 1]), constraints=[od.Total("treat", at_most=2, of="units")]
    )
    with pytest.raises(od.SpecificationError, match="varies within a unit"):
        od.optimize(ARMS, ARM_GUESS, within, EFFECT, COST, 5_000)
    with pytest.raises(od.SpecificationError, match="list of Share, Total and Distinct"):
        doses(constraints=["dose > 3"])


def test_candidates_where_nothing_holds():
    points = od.Candidates.grid(dose=[0, 1])
    with pytest.raises(od.SpecificationError, match="holds at none of the 2 points"):
        points.where("dose > 3")
    with pytest.raises(od.SpecificationError, match="not a statement"):
        points.where("dose + 3")


@pytest.mark.parametrize(
    ("total", "amount"),
    [(od.Total("treat", at_most=40), [0, 1, 2, 3, 4]), (od.Total("sequence == 4", at_most=2, of="units"), None)],
)
def test_totals_on_fixed_schedules_agree_with_a_conic_program(total, amount):
    # A stepped wedge of five sequences; treatment starts after period 4 − k, so that k periods are treated.
    rows = [{"sequence": k, "period": p, "treat": int(p > 5 - k)} for k in range(5) for p in range(1, 6)]
    profiles = od.Candidates.profiles(pd.DataFrame(rows), by="sequence")
    model = od.MixedModel("y ~ C(period) + treat + (1 | cluster)")
    best = od.optimize(
        model,
        od.NominalValues([0.0] * 6, {"cluster": 0.25}, 1.0),
        od.DesignSpace(od.Nested("cluster"), profiles, constraints=[total]),
        EFFECT,
        od.Cost({"cluster": 1.0}),
        20,
        "exact",
    )
    inverse = np.linalg.inv(np.eye(5) + 0.25)
    units = []
    for k in range(5):
        X = np.column_stack([np.eye(5), np.arange(1, 6) > 5 - k])
        units.append(X.T @ inverse @ X)
    masses = cp.Variable(5, nonneg=True)
    information = cp.sum([mass * unit for mass, unit in zip(masses, units, strict=True)])
    bound = masses[4] <= 2 if amount is None else np.array(amount) @ masses <= 40
    program = cp.Problem(cp.Minimize(cp.matrix_frac(np.eye(6)[5], information)), [cp.sum(masses) <= 20, bound])
    program.solve(solver=cp.CLARABEL)
    assert best.value == pytest.approx(program.value, rel=1e-5)
    assert best.certificate.efficiency_bound >= 1 - 1e-6


def test_a_total_on_a_continuous_region_agrees_with_a_fine_grid():
    region, grid = od.Candidates.region(dose=(-1, 1)), od.Candidates.grid(dose=np.linspace(-1, 1, 2001))
    values = [
        od.optimize(
            QUADRATIC,
            FLAT,
            od.DesignSpace(None, candidates, constraints=[od.Total("dose + 1", at_most=60)]),
            od.DOptimality(),
            od.Cost(observation=1.0),
            90,
        ).value
        for candidates in (region, grid)
    ]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_points_of_schedules_and_regions_are_not_picked_singly():
    profiles = od.Candidates.profiles(pd.DataFrame({"sequence": [1, 1], "period": [1, 2]}), by="sequence")
    for candidates in (profiles, od.Candidates.region(x=(0, 1))):
        with pytest.raises(od.SpecificationError, match="where picks single points"):
            candidates.where("period == 1")
