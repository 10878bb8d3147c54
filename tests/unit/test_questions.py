"""Parts of an optimisation of the wrong kind: a message that names the part, never a traceback from within."""

import sys

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.optimize import region

MODEL = od.MixedModel("y ~ treat + (1 | clinic)")
GUESS = od.NominalValues([0.0, 0.3], {"clinic": 0.1}, 0.9)
CANDIDATES = od.Candidates.grid(treat=[0, 1])
EFFECT, COST = od.COptimality({"treat": 1}), od.Cost({"clinic": 5.0}, 1.0)
FRAME = pd.DataFrame({"treat": [0, 1]})


def space(**changes):
    asked = {"layout": od.Nested("clinic"), "candidates": CANDIDATES, "levels": {"treat": "clinic"}, **changes}
    return od.DesignSpace(**asked)


def ask(solve=od.optimize, **changes):
    parts = {"model": MODEL, "nominal": GUESS, "space": space(), "criterion": EFFECT, "cost": COST, **changes}
    return solve(**parts)


@pytest.fixture(scope="module")
def best():
    return ask(space=space(replicates=(2, 30)), budget=500)


PARTS = [
    ({"model": "y ~ treat"}, "model must be MixedModel; got 'y ~ treat'"),
    ({"nominal": None}, "nominal must be NominalValues; got None"),
    ({"space": None}, "space must be DesignSpace; got None"),
    ({"criterion": "D"}, r"criterion must be an optimality criterion, such as DOptimality\(\).*got 'D'"),
    ({"criterion": od.DOptimality}, r"criterion must be .* Write DOptimality\(…\)\."),
    ({"cost": 5}, r"cost must be a Cost, such as .*; got 5"),
    ({"limits": 5}, r"limits must be a table of name to \(Cost, amount\)"),
    ({"limits": {"hours": COST}}, r"limits\['hours'\] must be a pair of a Cost and an amount"),
    ({"limits": {"hours": (COST, "5")}}, r"limits\['hours'\] must be a pair of a Cost and an amount"),
]


@pytest.mark.parametrize(("changes", "words"), PARTS)
def test_parts_of_a_question(changes, words):
    with pytest.raises(od.SpecificationError, match=words):
        ask(**changes, budget=500)
    with pytest.raises(od.SpecificationError, match=words):
        ask(od.cheapest, **changes, value=0.02)


@pytest.mark.parametrize(
    ("changes", "words"), [part for part in PARTS if part[0].keys().isdisjoint({"space", "limits"})]
)
def test_parts_of_a_question_about_laws(changes, words):
    asked = {"space": lambda share: space(), "bounds": {"share": (0.1, 0.9)}, "budget": 500, **changes}
    with pytest.raises(od.SpecificationError, match=words):
        ask(od.optimize_law, **asked)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": lambda share: 5}, "space must be DesignSpace; got 5"),
        ({"bounds": (0.1, 0.9)}, r"bounds must be a table of parameter to \(lowest, highest\)"),
    ],
)
def test_families_of_laws_that_are_none(changes, words):
    asked = {"space": lambda share: space(), "bounds": {"share": (0.1, 0.9)}, "budget": 500, **changes}
    with pytest.raises(od.SpecificationError, match=words):
        ask(od.optimize_law, **asked)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: space(layout="clinic"), r"layout must be Nested\('factor'\)"),
        (lambda: space(candidates=FRAME), r"candidates must be Candidates, such as"),
        (lambda: space(observed=FRAME), "observed must be a Measure"),
        (lambda: space(levels="clinic"), "levels must be a table"),
        (lambda: space(counts=20), "counts must be a table"),
        (lambda: space(constraints=od.Share("treat == 0", at_least=0.5)), "constraints must be a list of Share, Total"),
        (lambda: space(replicates="5"), "replicates must be a number or a pair .*; got '5'"),
        (lambda: space(replicates=("2", 5)), "replicates must be a number or a pair"),
        (lambda: space(replicates=True), "replicates must be a number or a pair .*; got True"),
        (lambda: space(counts={"clinic": ("1", "5")}), r"counts\['clinic'\] must be a number or a pair"),
        (lambda: od.Nested(["a", "b"]), "Nested needs distinct factor names"),
        (lambda: od.Candidates.profiles([1, 2], by="n"), "frame must be DataFrame"),
        (lambda: od.Candidates.profiles(FRAME, by=["n"]), "by must be the name of a column"),
        (lambda: od.Candidates.from_frame([1, 2]), "frame must be DataFrame"),
    ],
)
def test_parts_of_a_design_space(make, words):
    with pytest.raises(od.SpecificationError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: od.DOptimality("treat"), r"DOptimality: of= needs a list of coefficients.*got 'treat'"),
        (lambda: od.EOptimality("treat"), r"EOptimality: of= needs a list of coefficients.*got 'treat'"),
        (lambda: od.DOptimality([1]), r"DOptimality: of= needs a list of coefficients.*got \[1\]"),
        (lambda: od.AOptimality("treat"), "AOptimality: weights are a table .*, or a matrix of numbers; got 'treat'"),
        (lambda: od.AOptimality([["a"]]), "AOptimality: weights are a table"),
    ],
)
def test_criteria_of_nothing(make, words):
    with pytest.raises(od.SpecificationError, match=words):
        make()


@pytest.mark.parametrize(
    ("already", "words"),
    [
        (5, "already must be Design or DataFrame; got 5"),
        (
            od.Design(od.Nested("g"), [od.Group(3, 3, at={"treat": 0})]),
            r"already= has the layout Nested\('g'\), and the space Nested\('clinic'\)",
        ),
    ],
)
def test_what_has_been_run_is_a_design_of_the_same_layout(already, words):
    with pytest.raises(od.SpecificationError, match=words):
        ask(budget=500, already=already)


@pytest.mark.parametrize(
    ("follow", "words"),
    [
        (lambda best: od.frontier(best, 100), "budgets must be a list of amounts"),
        (lambda best: od.frontier("x", [100]), "best must be OptimalDesign; got 'x'"),
        (lambda best: od.robustness("x", {"treat": [1]}), "best must be OptimalDesign; got 'x'"),
        (lambda best: od.robustness(best, {"treat": 2}), r"scenarios\['treat'\] must be a list of nominal values"),
        (lambda best: od.robustness(best, [1, 2]), "scenario 1 must be NominalValues"),
        (lambda best: od.robustness(best, 3), "scenarios must be a list of NominalValues"),
        (lambda best: od.robustness(best, {"treat": [1]}, plan=3), "plan must be Design or ExactDesign; got 3"),
        (lambda best: od.efficiency(MODEL, GUESS, best.design, "D", best), "criterion must be an optimality criterion"),
        (lambda best: od.efficiency(MODEL, GUESS, best.design, EFFECT, 3), "best must be OptimalDesign; got 3"),
        (lambda best: od.efficiency(MODEL, None, best.design, EFFECT, best), "nominal must be NominalValues"),
    ],
)
def test_questions_that_follow(best, follow, words):
    with pytest.raises(od.SpecificationError, match=words):
        follow(best)


SCHEDULES = pd.DataFrame([(n, 0) for n in range(1, 6) for _ in range(n)], columns=["n", "z"])
UNITS = od.DesignSpace(od.Nested("c"), od.Candidates.profiles(SCHEDULES, by="n"))


def of_components(criterion, schedules=UNITS):
    mean, guess = od.MixedModel("y ~ 1 + (1 | c)"), od.NominalValues([0.5], {"c": 0.2}, 0.8)
    return od.optimize(mean, guess, schedules, criterion, od.Cost({"c": 3}, 1), 200, order="exact")


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        ("log(dispersion)", 1 / 0.8),
        (lambda p: p["dispersion"] ** 2, 1.6),
        ("3*dispersion", 3.0),
    ],
)
def test_functions_of_the_dispersion_are_its_variance_by_the_delta_method(function, slope):
    plain = of_components(od.COptimality({"dispersion": 1}))
    assert of_components(od.COptimality(function)).value == pytest.approx(slope**2 * plain.value, rel=1e-6)


def test_functions_of_the_dispersion_and_the_fixed_effects():
    """∇ of β/√ϕ at β = ½, ϕ = 0.8, with independent estimates."""
    best = of_components(od.COptimality("Intercept / sqrt(dispersion)"))
    n, m = np.array([[group.replicates, group.count] for group in best.design.groups]).T
    spread = 0.8 + 0.2 * n  # of a unit's total, per observation: ϕ + nτ²
    of_both = 0.5 * np.array([[n**2, n], [n, 1 + (n - 1) * (spread / 0.8) ** 2]]) * m / spread**2
    mean, dispersion = 1 / np.sum(m * n / spread), np.linalg.inv(of_both.sum(axis=-1))[1, 1]
    assert best.value == pytest.approx(mean / 0.8 + dispersion * (0.25 * 0.8**-1.5) ** 2, rel=1e-6)


def test_a_function_of_all_the_values_there_are_is_one_of_the_fixed_effects():
    best = od.optimize(MODEL, GUESS, space(), od.COptimality(lambda p: sum(p.values())), COST, 500)
    both = od.optimize(MODEL, GUESS, space(), od.COptimality({"Intercept": 1, "treat": 1}), COST, 500)
    assert best.value == pytest.approx(both.value, rel=1e-6)


def test_a_name_that_no_parameter_has():
    with pytest.raises(od.SpecificationError, match=r"'tau' is not a parameter: 'Intercept', 'var\(Intercept \| c\)'"):
        of_components(od.COptimality("tau / dispersion"))


@pytest.mark.parametrize("criterion", [od.COptimality({"dispersion": 1}), od.COptimality("log(dispersion)")])
def test_crossed_designs_are_for_fixed_effects(criterion):
    model = od.MixedModel("y ~ treat + (1 | reader) + (1 | image)")
    guess = od.NominalValues([0, 0.5], {"reader": 0.6, "image": 0.35}, 1.1)
    crossed = od.DesignSpace(od.Crossed("reader", "image"), CANDIDATES, levels={"treat": "reader"})
    with pytest.raises(od.SpecificationError, match=r"variance of .*dispersion.* is about variance components"):
        od.optimize(model, guess, crossed, criterion, od.Cost({"reader": 12, "image": 7}, 0.25), 900)


def test_a_maximin_value_is_called_what_it_is():
    """The largest of the ratios of a scenario's criterion to its least: one over the smallest efficiency."""
    model, cost = od.MixedModel("y ~ x", family="bernoulli"), od.Cost(observation=1)
    scenarios = [od.NominalValues([0, 1]), od.NominalValues([-1, 2])]
    line = od.DesignSpace(None, od.Candidates.grid(x=np.linspace(-4, 4, 17)))
    slope = od.COptimality({"x": 1})
    best = od.optimize(model, scenarios[0], line, od.Maximin(slope, scenarios), cost, 100)
    worst = od.robustness(best, scenarios).worst
    assert best.value == pytest.approx(1 / worst, rel=1e-4)
    assert "for the inverse of the smallest efficiency of 2 scenarios, by the variance of x" in repr(best)


def test_units_of_one_observation_tell_no_components_apart():
    single = od.DesignSpace(od.Nested("c"), od.Candidates.profiles(SCHEDULES.query("n == 1"), by="n"))
    words = r"'var\(Intercept \| c\)' cannot be .* units of at most 1 observation, .* variance components apart"
    with pytest.raises(od.NotEstimableError, match=words):
        of_components(od.COptimality({"var(Intercept | c)": 1}), single)


@pytest.mark.parametrize("start", [1e4, 1e5])
def test_columns_that_floating_point_cannot_tell_apart(start):
    points = od.Candidates.grid(x=np.linspace(start, start + 1, 11))
    words = rf"columns of the model vary, .* Centre and rescale 'x' \(from {start:g} to {start + 1:g}\)"
    with pytest.raises(od.NotEstimableError, match=words.replace("+", r"\+")):
        curve(points)


def curve(points):
    guess = od.NominalValues([0, 1, 1])
    return od.optimize(
        od.MixedModel("y ~ x + I(x**2)"), guess, od.DesignSpace(None, points), od.DOptimality(), od.Cost({}, 1), 99
    )


def test_a_search_that_floating_point_ends_names_the_covariate(monkeypatch):
    def singular(*_):
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(region, "optimum", singular)
    with pytest.raises(od.ConvergenceError, match=r"Centre and rescale 'x' \(from 100 to 101\), or leave out terms"):
        curve(od.Candidates.grid(x=np.linspace(100, 101, 21)))


def test_columns_that_repeat_each_other_do_not_vary():
    with pytest.raises(od.NotEstimableError, match="the candidate points do not vary"):
        curve(od.Candidates.grid(x=[1000, 1001]))


def test_an_observation_that_tells_nothing(monkeypatch):
    monkeypatch.setattr(sys.modules["optdesign.optimize"], "ACCEPTABLE", 2.0)  # however far the search gets
    with pytest.raises(od.ConvergenceError, match=r"tells next to nothing: its Fisher weight is 8\.8e-27 at most"):
        od.optimize(
            od.MixedModel("y ~ treat + (1 | clinic)", "bernoulli"),
            od.NominalValues([-60, 0.0], {"clinic": 0.1}),
            space(replicates=(2, 30)),
            EFFECT,
            COST,
            500,
        )


def test_random_effects_whose_means_overflow():
    counts, guess = od.MixedModel("y ~ treat + (1 | clinic)", "poisson"), od.NominalValues([0, 0.3], {"clinic": 400})
    with pytest.raises(od.SpecificationError, match=r"mean overflows at .*variances of random effects among them"):
        ask(model=counts, nominal=guess, budget=500)
