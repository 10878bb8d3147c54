"""At most so many distinct values of a covariate: against every subset of values, and what is refused."""

import sys
from itertools import combinations

import numpy as np
import pytest

import optdesign as od

DOSES = np.round(np.linspace(0, 3, 7), 3)
MODEL = od.MixedModel("y ~ dose + I(dose**2) + I(dose**3)", family="bernoulli")
GUESS = od.NominalValues([-1.5, 2.0, -0.5, 0.1])
COUNTS = od.MixedModel("y ~ dose + x + (1 | clinic)", family="poisson")
BELIEVED = od.NominalValues([0.2, -0.6, 0.3], {"clinic": 0.3})


def by_dose(doses, constraints=()):
    return od.DesignSpace(None, od.Candidates.grid(dose=doses), constraints=constraints)


def in_clinics(doses, constraints=()):
    return od.DesignSpace(
        od.Nested("clinic"),
        od.Candidates.grid(dose=doses, x=[0, 1]),
        levels={"dose": "clinic"},
        replicates=(2, 30),
        constraints=[od.Share("dose == 0", at_least=0.4), *constraints],
    )


def best(model, guess, space, criterion):
    cost = od.Cost({"clinic": 10.0} if space.layout else {}, observation="1 + dose")
    return od.optimize(model, guess, space, criterion, cost, 500.0, order="two-term")


def exhaustive(model, guess, space, criterion, number):
    """The least value over all subsets of the doses that can be solved."""
    found = []
    for doses in combinations(DOSES, number):
        try:
            found.append(best(model, guess, space(doses), criterion).value)
        except od.OptDesignError:
            continue
    return min(found)


@pytest.mark.parametrize(
    ("case", "criterion", "number"),
    [
        ((MODEL, GUESS, by_dose), od.DOptimality(), 4),
        ((MODEL, GUESS, by_dose), od.AOptimality(), 4),
        ((MODEL, GUESS, by_dose), od.COptimality({"dose": 1.0}), 4),
        ((COUNTS, BELIEVED, in_clinics), od.DOptimality(), 2),
        ((COUNTS, BELIEVED, in_clinics), od.COptimality({"dose": 1.0}), 2),
    ],
)
def test_no_other_choice_of_values_is_better(case, criterion, number):
    model, guess, space = case
    plan = best(model, guess, space(DOSES, [od.Distinct("dose", at_most=number)]), criterion)
    used = set(plan.rounded.to_frame()["dose"])
    assert len(used) <= number
    least = exhaustive(model, guess, space, criterion, number)
    assert plan.value == pytest.approx(least, rel=1e-6, abs=1e-6)
    assert plan.certificate.efficiency_bound >= 1 - 1e-6
    assert plan.status.name == "OPTIMAL"


def test_a_search_cut_short_says_how_much_it_may_have_missed(monkeypatch):
    free = best(MODEL, GUESS, by_dose(DOSES), od.DOptimality())
    monkeypatch.setattr(sys.modules["optdesign.optimize.distinct"], "NODES", 1)
    plan = best(MODEL, GUESS, by_dose(DOSES, [od.Distinct("dose", at_most=4)]), od.DOptimality())
    lost = np.exp((free.value - plan.value) / 4)
    assert plan.certificate.efficiency_bound == pytest.approx(lost, abs=1e-6)
    assert lost < 1 - 1e-4
    assert plan.status.name == "STOPPED"


def test_what_rounding_keeps_from_being_solved_stays_in_the_bound(monkeypatch):
    """Where every relaxation but the first fails, what that one promises is all that is known."""
    free = best(MODEL, GUESS, by_dose(DOSES), od.DOptimality())
    interior = sys.modules["optdesign.optimize.distinct"].interior
    solve, calls = interior.solve, []

    def failing(problem, *args):
        calls.append(problem)
        if len(calls) > 2:
            raise np.linalg.LinAlgError
        return solve(problem, *args)

    monkeypatch.setattr(interior, "solve", failing)
    plan = best(MODEL, GUESS, by_dose(DOSES, [od.Distinct("dose", at_most=4)]), od.DOptimality())
    lost = np.exp((free.value - plan.value) / 4)
    assert plan.certificate.efficiency_bound == pytest.approx(lost, abs=1e-6)
    assert lost < 1 - 1e-4
    assert plan.status.name == "STOPPED"


def test_too_few_values_are_refused_in_words():
    with pytest.raises(od.SpecificationError, match=r"at most 2 distinct values of 'dose'.*Allow more"):
        best(MODEL, GUESS, by_dose(DOSES, [od.Distinct("dose", at_most=2)]), od.DOptimality())


def test_several_limits_hold_at_once():
    model, guess = od.MixedModel("y ~ a + b"), od.NominalValues([0.0, 0.0, 0.0])
    limits = [od.Distinct("a", at_most=2), od.Distinct("b", at_most=2)]
    space = od.DesignSpace(None, od.Candidates.grid(a=[-1, 0, 1], b=[-1, 0, 1]), constraints=limits)
    plan = best_linear(model, guess, space)
    free = best_linear(model, guess, od.DesignSpace(None, od.Candidates.grid(a=[-1, 0, 1], b=[-1, 0, 1])))
    assert plan.value == pytest.approx(free.value, abs=1e-6)  # corners alone are optimal


def best_linear(model, guess, space):
    return od.optimize(model, guess, space, od.DOptimality(), od.Cost(observation=1.0), 40.0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: od.Distinct("dose", at_most=0), "whole number of at least 1; got 0"),
        (lambda: by_dose(DOSES, [od.Distinct("doze", at_most=2)]), "names no candidate column.*did you mean"),
        (
            lambda: od.DesignSpace(
                None, od.Candidates.region(dose=(0, 3)), constraints=[od.Distinct("dose", at_most=2)]
            ),
            "neither a continuous region nor fixed schedules",
        ),
    ],
)
def test_wrong_limits_are_refused(build, message):
    with pytest.raises(od.SpecificationError, match=f"(?i){message}"):
        build()


def test_the_semidefinite_method_takes_linear_constraints_only():
    space = by_dose(DOSES, [od.Distinct("dose", at_most=4)])
    with pytest.raises(od.SpecificationError, match="leave Distinct out"):
        od.optimize(MODEL, GUESS, space, od.DOptimality(), od.Cost(observation=1.0), 40.0, method="semidefinite")


def test_a_criterion_that_few_points_can_estimate_needs_no_others():
    """Two points estimate the slope at zero curvature: the other coefficients, which they confound, do not matter."""
    model, guess = od.MixedModel("y ~ x + I(x**2)"), od.NominalValues([0.0, 0.0, 0.0])
    ends = od.DesignSpace(None, od.Candidates.grid(x=[-1.0, 1.0]))
    plan = od.optimize(model, guess, ends, od.COptimality({"x": 1.0}), od.Cost(observation=1.0), 40.0)
    assert plan.value == pytest.approx(1 / 40)
    with pytest.raises(od.NotEstimableError, match="'Intercept'"):
        od.optimize(model, guess, ends, od.AOptimality(), od.Cost(observation=1.0), 40.0)


def test_masses_too_small_to_matter_are_dropped_even_where_the_proof_falls_short(monkeypatch):
    proven = best(MODEL, GUESS, by_dose(DOSES), od.DOptimality())
    monkeypatch.setattr(sys.modules["optdesign.optimize"], "OPTIMAL", 2.0)
    short = best(MODEL, GUESS, by_dose(DOSES), od.DOptimality())
    assert short.status.name == "TO_TOLERANCE"
    assert len(short.design.region.frame) == len(proven.design.region.frame)


STUDY = """
[model]
formula = "y ~ dose + I(dose**2) + I(dose**3)"
family = "bernoulli"
[nominal]
beta = [-1.5, 2.0, -0.5, 0.1]
[space]
constraints = [ { distinct = "dose", at_most = 4 } ]
[space.candidates]
grid = { dose = { start = 0.0, stop = 3.0, num = 7 } }
[cost]
observation = "1 + dose"
[goal]
criterion = "D"
budget = 500
"""


def test_a_study_whose_search_is_cut_short_is_not_taken_for_interrupted(monkeypatch, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    monkeypatch.setattr(sys.modules["optdesign.optimize.distinct"], "NODES", 1)
    found = od.run_study(od.load_study(study))
    assert found.best.status.name == "STOPPED"
    assert 0.9 < found.best.certificate.efficiency_bound < 1 - 1e-4
