"""Fixed schedules: candidates, parts of units, prices, and the list of all schedules."""

import itertools

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.covariance.profiles import profile_information
from optdesign.masses import masses_of
from optdesign.schedules import count_schedules
from tests.oracles import relative_difference

FRAME = pd.DataFrame(
    {"sequence": ["a"] * 4 + ["b"] * 3, "period": [1, 1, 2, 3, 1, 2, 2], "treat": [0, 0, 1, 1, 0, 0, 0]}
)
FORMULA = "y ~ treat + (1 | cluster) + (1 | cluster:period)"


def space(**options):
    return od.DesignSpace(od.Nested("cluster"), od.Candidates.profiles(FRAME, by="sequence"), **options)


def design(counts=(3, 2), times=1, **options):
    groups = [
        od.Group(m, times * len(rows), od.Measure.from_frame(rows.drop(columns="sequence")), {"sequence": name})
        for m, (name, rows) in zip(counts, FRAME.groupby("sequence"), strict=True)
    ]
    return od.Design(od.Nested("cluster"), groups, **options)


def test_profiles_keep_rows_in_order_and_repeated():
    found = od.Candidates.profiles(FRAME, by="sequence")
    assert found.points["period"].tolist() == FRAME["period"].tolist()
    assert found.by == "sequence"
    assert repr(found) == "2 profiles by 'sequence', of 7 observations in all"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: od.Candidates.profiles(FRAME, by="sequense"), "by='sequense' is not a column.*'sequence'"),
        (lambda: od.Candidates.profiles(FRAME.iloc[:0], by="sequence"), "at least one row"),
        (lambda: od.Candidates.profiles(FRAME.assign(period=np.nan), by="sequence"), "'period' has the value nan"),
        (lambda: space(replicates=(1, 3)), "how often each row is observed"),
        (lambda: space(at_most=2), "leave out at_most"),
        (lambda: space(common_replicates=True), "leave out at_most"),
        (lambda: space(levels={"treat": "cluster"}), "'treat' must be constant within each profile"),
        (lambda: od.DesignSpace(None, od.Candidates.profiles(FRAME, by="sequence")), "schedules of the units of one"),
        (
            lambda: od.DesignSpace(od.Nested("a", "b"), od.Candidates.profiles(FRAME, by="sequence")),
            "schedules of the units of one",
        ),
    ],
)
def test_what_profiles_cannot_be(make, message):
    with pytest.raises(od.SpecificationError, match=message):
        make()


def dense_information(rows, times=1):
    """One cluster's XᵀV⁻¹X with V written out."""
    rows = rows.loc[rows.index.repeat(times)]
    X = np.column_stack([np.ones(len(rows)), rows["treat"]])
    same = np.equal.outer(rows["period"].to_numpy(), rows["period"].to_numpy())
    return X.T @ np.linalg.solve(0.4 + 0.3 * same + 0.8 * np.eye(len(rows)), X)


@pytest.mark.parametrize("times", [1, 3])
def test_unequal_periods_against_dense_algebra(times):
    model = od.MixedModel(FORMULA)
    guess = od.NominalValues([0.0, 0.0], {"cluster": 0.4, "cluster:period": 0.3}, 0.8)
    expected = [dense_information(rows, times) for _, rows in FRAME.groupby("sequence")]
    found = profile_information(model, guess, space(replicates=times), "exact")
    np.testing.assert_allclose(found.matrices, expected, rtol=1e-12)
    plan = od.covariance(model, guess, design(times=times), "exact")
    assert relative_difference(plan.matrix, np.linalg.inv(3 * expected[0] + 2 * expected[1])) < 1e-12


def test_components_of_a_gaussian_add_up_over_units():
    model = od.MixedModel(FORMULA)
    guess = od.NominalValues([0.0, 0.0], {"cluster": 0.4, "cluster:period": 0.3}, 0.8)
    found = profile_information(model, guess, space(), "exact", "all")
    plan = od.covariance(model, guess, design(), "exact", parameters="all")
    assert found.names == plan.names
    assert relative_difference(np.linalg.inv(3 * found.matrices[0] + 2 * found.matrices[1]), plan.matrix) < 1e-10


@pytest.mark.parametrize("order", ["averaged", "exact"])
@pytest.mark.parametrize("family", ["bernoulli", "poisson"])
def test_components_of_one_factor_add_up_over_units(order, family):
    model = od.MixedModel("y ~ treat + (1 | cluster)", family=family)
    guess = od.NominalValues([-0.5, 0.3], {"cluster": 0.4})
    found = profile_information(model, guess, space(), order, "all")
    plan = od.covariance(model, guess, design(), order, parameters="all")
    assert found.names == plan.names
    total = np.linalg.inv(3 * found.matrices[0] + 2 * found.matrices[1])
    sampled = order == "exact" and family == "poisson"
    assert relative_difference(total, plan.matrix) < (0.03 if sampled else 1e-7)


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
def test_orders_of_one_factor_add_up_over_units(order):
    model = od.MixedModel("y ~ treat + period + (1 + period | cluster)", family="gamma", link="log")
    guess = od.NominalValues([0.5, 0.3, 0.1], {"cluster": [[0.4, 0.05], [0.05, 0.1]]}, 0.5)
    found = profile_information(model, guess, space(), order)
    total = np.linalg.inv(3 * found.matrices[0] + 2 * found.matrices[1])
    assert relative_difference(total, od.covariance(model, guess, design(), order).matrix) < 1e-7


def test_dispersion_of_a_gamma():
    model = od.MixedModel("y ~ treat + (1 | cluster)", family="gamma", link="log")
    guess = od.NominalValues([0.5, 0.3], {"cluster": 0.4}, 0.5)
    found = profile_information(model, guess, space(), "averaged", "all")
    plan = od.covariance(model, guess, design(), "averaged", parameters="all")
    assert found.names == plan.names
    assert relative_difference(np.linalg.inv(3 * found.matrices[0] + 2 * found.matrices[1]), plan.matrix) < 1e-7


@pytest.mark.parametrize(
    ("formula", "family", "order", "parameters", "message"),
    [
        (FORMULA, "bernoulli", "two-term", "fixed", "use order='averaged'"),
        (FORMULA, "gaussian", "leading", "fixed", "use order='exact'"),
        (FORMULA, "bernoulli", "averaged", "all", "with one grouping factor"),
        ("y ~ treat + (1 | cluster)", "bernoulli", "exact", "fixed", "parameters='all'"),
        ("y ~ treat + (1 | cluster)", "bernoulli", "two-term", "all", "order 'averaged' or 'exact'"),
        ("y ~ treat + (1 | cluster:perriod)", "gaussian", "exact", "fixed", "'cluster:perriod', which the design"),
    ],
)
def test_what_has_no_information_per_unit(formula, family, order, parameters, message):
    model = od.MixedModel(formula, family=family)
    guess = od.NominalValues([0.0, 0.0], dict.fromkeys(model.factors, 0.5))
    with pytest.raises(od.SpecificationError, match=message):
        profile_information(model, guess, space(), order, parameters)


def test_prices_of_units_and_of_their_parts():
    cost = od.Cost(units={"cluster": "100 + 50*(sequence == 'a')", "cluster:period": 10.0}, observation="1 + treat")
    np.testing.assert_allclose(masses_of(space(), cost.units).unit_prices(cost), [150 + 30, 100 + 20])
    assert design().spend(cost) == 3 * (180 + 6) + 2 * (120 + 3)


def test_parts_must_lie_within_the_parts_before():
    model = od.MixedModel("y ~ 1 + (1 | cluster) + (1 | cluster:period) + (1 | cluster:treat)")
    guess = od.NominalValues([0.0], dict.fromkeys(model.factors, 0.5))
    with pytest.raises(od.SpecificationError, match="'cluster:treat' must be parts of those of 'cluster:period'"):
        od.covariance(model, guess, design(), "exact")


def test_parts_are_made_of_what_is_set():
    model = od.MixedModel("y ~ 1 + (1 | cluster) + (1 | cluster:sex)")
    guess = od.NominalValues([0.0], dict.fromkeys(model.factors, 0.5))
    drawn = design(observed=od.Measure.grid(sex=[0, 1]))
    with pytest.raises(od.SpecificationError, match="set, not drawn"):
        od.covariance(model, guess, drawn, "exact")


@pytest.mark.parametrize(
    ("points", "low", "high", "at_most"), [(3, 2, 4, None), (4, 1, 3, 1), (2, 0, 5, 3), (1, 2, 4, 3)]
)
def test_number_of_schedules(points, low, high, at_most):
    every = itertools.product(range(high + 1), repeat=points)
    expected = sum(low <= sum(t) <= high and max(t) <= (at_most or high) for t in every)
    assert count_schedules(points, low, high, at_most) == expected


def test_every_schedule_is_listed_once():
    chosen = od.DesignSpace(
        od.Nested("g"),
        od.Candidates.grid(arm=[0, 1], x=[1, 2, 3]),
        levels={"arm": "g"},
        replicates=(2, 4),
        at_most=2,
    )
    found = od.enumerated_profiles(chosen)
    schedules = {(*rows["arm"].unique(), *sorted(rows["x"])) for _, rows in found.points.groupby("schedule")}
    assert len(schedules) == found.points["schedule"].nunique() == 2 * count_schedules(3, 2, 4, 2)
    assert all(2 <= len(s) - 1 <= 4 for s in schedules)


def test_too_many_schedules_are_counted():
    chosen = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=range(20)), replicates=(1, 10))
    with pytest.raises(od.SpecificationError, match="make 30,045,014 schedules; at most 20,000"):
        od.enumerated_profiles(chosen)
    with pytest.raises(od.SpecificationError, match="highest number of replicates"):
        od.enumerated_profiles(od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=range(3))))
