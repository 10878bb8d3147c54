"""Study files: what their keys mean, where things stand in them, and the words for them."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.study import building, telling, words
from optdesign.study.building import cost_of, criterion_of, space_of
from optdesign.study.explaining import explanation
from optdesign.study.reading import _names, place
from optdesign.study.running import ask

MEAN = """
[model]
formula = "y ~ 1 + (1 | clinic)"
[nominal]
beta = [0.0]
covariance = { clinic = 0.2 }
dispersion = 0.8
[cost]
units = { clinic = 50 }
observation = 1
[goal]
criterion = { kind = "c", combination = { Intercept = 1.0 } }
budget = 10_000
"""


@pytest.fixture
def study(tmp_path):
    def loaded(text=MEAN, **files):
        for name, frame in files.items():
            frame.to_csv(tmp_path / f"{name}.csv", index=False)
        (tmp_path / "study.toml").write_text(text, encoding="utf-8")
        return od.load_study(tmp_path / "study.toml")

    return loaded


def said_of(study):
    return [told.sentence for told in explanation(study, space_of(study))]


def test_classical_allocation(study):
    best = od.run_study(study()).best
    assert best.design.groups[0].replicates == pytest.approx(np.sqrt(50 * 4), rel=1e-3)


def test_a_study_is_what_it_would_be_in_python(study):
    result = od.run_study(study())
    best = od.optimize(
        od.MixedModel("y ~ 1 + (1 | clinic)"),
        od.NominalValues([0.0], {"clinic": 0.2}, 0.8),
        od.DesignSpace(od.Nested("clinic")),
        od.COptimality({"Intercept": 1.0}),
        od.Cost(units={"clinic": 50.0}, observation=1.0),
        10_000,
    )
    assert result.best.value == best.value
    assert result.best.rounded.spend == best.rounded.spend


def test_a_link_without_a_second_term_has_the_other_orders(study, tmp_path):
    text = MEAN.replace("dispersion = 0.8", "").replace("budget = 10_000", 'budget = 10_000\norder = "averaged"')
    text = text.replace("[nominal]", 'family = "bernoulli"\nlink = "cloglog"\n[nominal]')
    result = od.run_study(study(text))
    assert list(result.precision) == ["leading", "averaged"]
    assert "second term" in telling.regime(result)
    assert "cloglog" in (od.write_report(result, tmp_path / "report") / "index.html").read_text(encoding="utf-8")
    with pytest.raises(od.SpecificationError, match="second term is infinite"):
        od.run_study(study(text.replace('order = "averaged"', "")))


def test_without_test_there_is_no_power(study):
    result = od.run_study(study())
    assert (result.power, result.power_curves, result.needed) == ({}, None, None)
    assert result.fit is None


def test_grid_span_is_evenly_spaced(study):
    table = "[space]\ncandidates = { grid = { x = { start = 0, stop = 1, num = 5 }, z = [true, false] } }\n"
    points = space_of(study(MEAN + table)).candidates.points
    assert points["x"].unique().tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(points) == 10


def test_candidates_from_a_file(study):
    table = '[space]\ncandidates = { from_frame = "points.csv", columns = ["x"] }\n'
    points = space_of(study(MEAN + table, points=pd.DataFrame({"x": [0, 1], "note": ["a", "b"]}))).candidates.points
    assert points.to_dict("list") == {"x": [0, 1]}


PILOT = pd.DataFrame({"unit": [1, 1, 2, 3], "x": [5, 5, 7, 7], "w": [1.0, 1.0, 2.0, 1.0]})


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ('columns = ["x"]', [0.5, 0.5]),
        ('columns = ["x"], by = "unit"', [1 / 3, 2 / 3]),
        ('columns = ["x"], weights = "w"', [0.4, 0.6]),
        ('by = "unit", weights = "w"', [0.25, 0.75]),
    ],
)
def test_observed_law_from_a_file(study, options, weights):
    table = f'[space]\nobserved = {{ from_frame = "seen.csv", {options} }}\nlevels = {{ x = "clinic" }}\n'
    law = space_of(study(MEAN + table, seen=PILOT)).observed
    assert law.points["x"].tolist() == [5, 7]
    np.testing.assert_allclose(law.weights, weights)


def test_observed_law_stated(study):
    law = space_of(study(MEAN + "[space]\nobserved = { grid = { x = [0, 1] }, weights = [0.3, 0.7] }\n")).observed
    np.testing.assert_allclose(law.weights, [0.3, 0.7])


def test_space_has_the_same_keys_as_in_python(study):
    table = """
[space]
layout = { nested = ["clinic"] }
candidates = { grid = { x = [0, 1] } }
levels = { x = "clinic" }
counts = { clinic = [5, 50] }
replicates = 8
at_most = 9
constraints = [ { condition = "x == 0", at_least = 0.3 } ]
"""
    space = space_of(study(MEAN + table))
    assert space.layout == od.Nested("clinic")
    assert space.count_bounds("clinic") == (5, 50)
    assert space.replicate_bounds == (8, 8)
    assert (space.at_most, space.common_replicates) == (9, False)
    assert space.constraints == (od.Share("x == 0", at_least=0.3),)


def test_a_model_without_random_terms_has_no_layout(study):
    text = """
[model]
formula = "y ~ x"
[nominal]
beta = { Intercept = 0.0, x = 1.0 }
[space]
candidates = { grid = { x = [-1, 0, 1] } }
[cost]
observation = 2
[goal]
criterion = "D"
budget = 100
[test]
coefficient = "x"
power = 0.9
"""
    result = od.run_study(study(text))
    assert result.best.rounded.design.observations == 50
    assert result.budget_line is None
    assert result.surface is None
    assert result.needed.solve_for == "replicates"
    assert result.plan_json()["units"] is None


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ('"D"', od.DOptimality()),
        ('"A"', od.AOptimality()),
        ('{ kind = "D", of = ["Intercept"] }', od.DOptimality(("Intercept",))),
        ('{ kind = "A", weights = { Intercept = 2.0 } }', od.AOptimality({"Intercept": 2.0})),
        ('"E"', od.EOptimality()),
        ('{ kind = "E", of = ["Intercept"] }', od.EOptimality(("Intercept",))),
        (
            '{ kind = "compound", criteria = [ { kind = "D", weight = 3 }, { kind = "E" } ] }',
            od.Compound([(0.75, od.DOptimality()), (0.25, od.EOptimality())]),
        ),
    ],
)
def test_criteria(study, criterion, expected):
    text = MEAN.replace('{ kind = "c", combination = { Intercept = 1.0 } }', criterion)
    made = study(text)
    assert criterion_of(made, space_of(made)) == expected


def test_c_alone_is_about_the_tested_coefficient(study):
    text = MEAN.replace('{ kind = "c", combination = { Intercept = 1.0 } }', '"c"')
    made = study(f'{text}[test]\ncoefficient = "Intercept"\n')
    assert dict(criterion_of(made, space_of(made)).combination) == {"Intercept": 1.0}
    compound = text.replace('"c"', '{ kind = "compound", criteria = [ { kind = "c" }, { kind = "D" } ] }')
    made = study(f'{compound}[test]\ncoefficient = "Intercept"\n')
    assert dict(criterion_of(made, space_of(made)).criteria[0][1].combination) == {"Intercept": 1.0}


SLOPE = (
    (
        MEAN.replace("y ~ 1", "y ~ x + z")
        .replace("[0.0]", "[0.0, 0.0, 0.0]")
        .replace('{ kind = "c", combination = { Intercept = 1.0 } }', '"I"')
    )
    + """
[space]
candidates = { grid = { x = [0, 1] } }
observed = { grid = { z = [2, 4] }, weights = [0.25, 0.75] }
"""
)


def test_an_i_criterion_averages_over_the_candidates_at_the_observed_law(study):
    made = study(SLOPE)
    law = criterion_of(made, space_of(made)).over
    pairs = law.points.assign(weight=law.weights).set_index(["x", "z"])["weight"]
    assert pairs.to_dict() == pytest.approx({(0, 2): 0.125, (0, 4): 0.375, (1, 2): 0.125, (1, 4): 0.375})


def test_an_i_criterion_averages_over_a_stated_law(study):
    made = study(SLOPE.replace('"I"', '{ kind = "I", over = { grid = { x = [0.5], z = [3] } } }'))
    assert criterion_of(made, space_of(made)).over.points.to_dict("list") == {"x": [0.5], "z": [3]}


def test_limits_are_further_budgets(study):
    limit = '[goal.limits]\n"nurse hours" = { amount = 300, units = { clinic = 2 }, observation = 0.5 }\n'
    made = study(MEAN + limit)
    assert building.limits_of(made) == {"nurse hours": (od.Cost({"clinic": 2}, 0.5), 300)}
    best = od.run_study(made).best
    assert best.design.spend(od.Cost({"clinic": 2}, 0.5)) == pytest.approx(300, rel=1e-5)
    assert "There are 300 of nurse hours." in said_of(made)


def test_what_has_been_run_is_read_from_a_file(study):
    run = pd.DataFrame({"clinic": np.repeat(np.arange(10), 6)})
    result = od.run_study(study(MEAN + 'already = "run.csv"\n', run=run))
    model, guess, space = result.best.model, result.best.nominal, result.best.space
    best = od.optimize(model, guess, space, result.best.criterion, result.best.cost, 10_000, already=run)
    assert result.best.value == pytest.approx(best.value, rel=1e-9)
    # The standard errors of the plan count what has been run.
    alone = od.covariance(model, guess, result.best.rounded.design).matrix[0, 0]
    old = (0.2 + 0.8 / 6) / 10
    assert result.precision["two-term"].iloc[0] ** 2 == pytest.approx(1 / (1 / alone + 1 / old), rel=1e-9)


def test_what_has_been_run_must_be_there_with_its_columns(study):
    with pytest.raises(od.SpecificationError, match=r"\[goal\] already: there is no file"):
        study(MEAN + 'already = "nowhere.csv"\n')
    made = study(MEAN + 'already = "run.csv"\n', run=pd.DataFrame({"site": [1, 2]}))
    with pytest.raises(od.SpecificationError, match=r"\[goal\] already: the data have no column 'clinic'"):
        od.run_study(made)


def test_a_total_is_a_constraint(study):
    space = space_of(study(MEAN + '[space]\nconstraints = [ { total = "1", at_most = 30, of = "units" } ]\n'))
    assert space.constraints == (od.Total("1", at_most=30, of="units"),)
    made = study(MEAN + '[space]\nconstraints = [ { total = "1", at_most = 30, of = "units" } ]\n')
    assert "The total of 1 over units is between -inf and 30." in said_of(made)
    assert od.run_study(made).best.rounded.design.units == 30


def test_an_interrupted_search_is_an_interrupted_study(study, monkeypatch):
    def stopped(**question):
        return dataclasses.replace(od.optimize(**question), interrupted=True)

    made = study()
    monkeypatch.setattr("optdesign.study.running.optimize", stopped)
    with pytest.raises(KeyboardInterrupt):
        od.run_study(made)


def test_test_and_cost(study):
    made = study(MEAN + '[test]\ncoefficient = "Intercept"\nalternative = "less"\ndf = 12\npower = 0.8\n')
    assert building.test_of(made) == od.WaldTest("Intercept", alternative="less", df=12.0)
    assert cost_of(made) == od.Cost(units={"clinic": 50.0}, observation=1.0)


def test_power_below_the_wanted_one_says_what_would_reach_it(study):
    text = MEAN.replace("beta = [0.0]", "beta = [0.05]") + '[test]\ncoefficient = "Intercept"\npower = 0.9\n'
    result = od.run_study(study(text))
    (note,) = result.warnings
    assert "below the 0.9 wanted" in note
    assert f"{result.needed.count:,} clinics in the plan's proportions reach it" in note


@pytest.mark.parametrize(("effect", "sd"), [(0.5, "0.2"), (0.02, "0.2"), (3.0, "2.0")])
def test_power_curves_show_where_power_rises(study, effect, sd):
    """From well below what is needed to beyond both plan and need, wherever the need is."""
    text = MEAN.replace("beta = [0.0]", f"beta = [{effect}]").replace("clinic = 0.2", f"clinic = {sd}")
    result = od.run_study(study(text + '[test]\ncoefficient = "Intercept"\npower = 0.9\n'))
    units, planned, needed = result.power_curves["units"], result.best.rounded.design.units, result.needed.count
    assert units.min() <= max(2, round(min(0.2 * planned, needed / 2)))
    assert units.max() >= 1.4 * max(planned, needed)
    assert {planned, needed} <= set(units)
    assert result.power_curves["power"].notna().all()
    curve = result.power_curves.set_index(["order", "units"])["power"]["two-term"]
    assert curve.min() < 0.8 < 0.9 <= curve[needed]


def test_bounds_that_leave_money_are_a_warning(study):
    (note,) = od.run_study(study(MEAN + "[space]\ncounts = { clinic = 10 }\nreplicates = [2, 4]\n")).warnings
    assert note.startswith("The bounds leave 9,460 of 10,000 unspent: raise the highest counts or replicates")


def test_plan_json_says_what_the_terminal_says(study):
    result = od.run_study(study())
    assert result.plan_json()["summary"] == f"{telling.summary(result)} {telling.proof_of(result)}"


def test_the_text_of_a_plan_needs_no_pictures(tmp_path):
    code = "import sys, optdesign.study.telling, optdesign.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_effect_of_zero_is_a_warning_with_its_reason(study):
    (note,) = od.run_study(study(MEAN + '[test]\ncoefficient = "Intercept"\npower = 0.9\n')).warnings
    assert "no number of units reaches it" in note


def test_regime_warnings_are_collected_once(study):
    text = MEAN.replace("budget = 10_000", 'budget = 10_000\norder = "leading"')
    warnings = od.run_study(study(text + "[space]\nreplicates = [2, 4]\n")).warnings
    assert sum("available" in w for w in warnings) == 1


def test_fit_notes_are_warnings(study):
    rng = np.random.default_rng(3)
    pilot = pd.DataFrame({"clinic": np.repeat(range(10), 4), "y": rng.normal(size=40)})
    pilot.loc[0, "y"] = np.nan
    text = MEAN.replace("beta = [0.0]\ncovariance = { clinic = 0.2 }\ndispersion = 0.8", 'from_pilot = "pilot.csv"')
    assert any("1 of 40 rows of the pilot left out" in note for note in ask(study(text, pilot=pilot), print).fit.notes)


def test_title_and_words_have_defaults(study, tmp_path):
    made = study()
    assert (made.title, made.unit, made.observation) == (tmp_path.name, "clinic", "observation")


# Places


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("model", "formula"), "s.toml, line 2, [model] formula"),
        (("model", "family"), "s.toml, line 1, [model] family"),
        (("space", "candidates", "grid", "x", 0), "s.toml, line 5, [space] candidates.grid.x[1]"),
        (("space", "constraints", 1, "at_least"), "s.toml, line 9, [space] constraints[2].at_least"),
        (("cost",), "s.toml, [cost]"),
        ((), "s.toml"),
    ],
)
def test_place(keys, expected):
    text = (
        '[model]\nformula = "y ~ x"\n[space]\n[space.candidates.grid]\nx = [1]\n[[space.constraints]]\n'
        'condition = "x"\n[[space.constraints]]\nat_least = 2\n'
    )
    assert place(Path("s.toml"), text, keys) == expected


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("log(base/4) + trt", ["base", "trt"]),
        ("C(arm, contr.treatment('a')) : x", ["arm", "x"]),
        ("poly(t, degree=2) + np.exp(z)", ["t", "z"]),
        ("900 + 400*(arm == 'active' and not old)", ["arm", "old"]),
        ("`body mass` + 1e3*x", ["body mass", "x"]),
    ],
)
def test_names_in_an_expression(expression, names):
    assert _names(expression) == names


# Words


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (150_000, "150,000 EUR"),
        (0.5, "0.50 EUR"),
        (99_999.999, "100,000 EUR"),
        (-1e-9, "0 EUR"),
        (-0.004, "0 EUR"),
        (-2, "-2 EUR"),
    ],
)
def test_money(amount, text):
    assert words.money(amount, "EUR") == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(1, "1 visit"), (0.9999999999, "1 visit"), (1_234_567, "1,234,567 visits"), (2.5, "2.5 visits"), (0, "0 visits")],
)
def test_counted(amount, text):
    assert words.counted(amount, "visit") == text


def test_schedule_of_several_covariates():
    points = [{"at": {"a": 1, "b": "x"}, "times": 2.0}, {"at": {"a": 2, "b": "y"}, "times": 1}]
    assert words.schedule(points) == "(a = 1, b = x) ×2, (a = 2, b = y)"
    assert words.schedule([{"at": {}, "times": 4}]) == ""


def test_proof_never_rounds_up():
    assert "at least 99.9999 % efficient" in words.proof(0.99999999, 0.99999)
    assert "at least 99.99 %." in words.proof(0.99999999, 0.99999)
    assert "at least 98.00 %." in words.proof(1.0, 0.98)


def test_description_covers_constraints_and_fixed_bounds(study):
    table = """
[space]
candidates = { grid = { x = { start = 0, stop = 1, num = 21 } } }
replicates = 4
constraints = [ { condition = "x > 0.5", at_most = 0.4 } ]
"""
    made = study(MEAN + table)
    said = said_of(made)
    assert "Chosen per observation is x: 21 values from 0 to 1." in said
    assert "Chosen is the number of observations per clinic, fixed at 4." in said
    assert "Chosen is the number of clinics, at least 0." in said
    assert "The share with x > 0.5 is between 0 and 0.4." in said
    assert "Nominal values are stated: 0, in the order of the model." in said
    assert "The random effects of clinics have variance 0.2." in said


EVERYTHING = """
[space]
candidates = { grid = { x = [0, 1] } }
common_replicates = true
at_most = 2
[test]
coefficient = "Intercept"
null = 0.5
alternative = "greater"
[report]
unit = "site"
"""


def test_description_covers_every_table(study):
    text = MEAN.replace("observation = 1", "observation = 1\ncell = 2\nfixed = 100").replace(
        "[0.0]", "{ Intercept = 1.5 }"
    )
    text = text.replace("[cost]", 'source = "Hox (2010)"\n[cost]')
    said = said_of(study(text + EVERYTHING))
    for sentence in (
        "Nominal values are stated: Intercept = 1.5.",
        "The source of the values is Hox (2010).",
        "All sites have the same number of observations.",
        "No point is used more than 2 times in a site.",
        "One cell costs 2.",
        "To have the study at all costs 100.",
        "It is planned for the one-sided test of Intercept = 0.5 (against Intercept > 0.5) at level 5 %.",
        "A unit is called site, an observation observation; everything random has the seed 0.",
    ):
        assert sentence in said


def test_description_of_a_comparison():
    said = said_of(od.load_study(Path(__file__).parents[2] / "studies" / "nested_vs_crossed" / "penicillin.toml"))
    shown = "complete crossing, sample in plate, plate in sample, repeated measures and incomplete crossing"
    assert f"'optdesign compare' shows {shown} for 2,000 EUR and 1,000 EUR." in said
    assert "It maps which is best over ratios of prices and of variances." in said
    assert "Every plate meets every sample." in said


def test_description_follows_the_lines_with_defaults_last_in_a_table(study):
    made = study("[goal]\nbudget = 10_000\ncriterion = 'D'\n" + MEAN[: MEAN.index("[goal]")])
    told = explanation(made, space_of(made))
    assert [each.keys[0] for each in told][:4] == ["goal", "goal", "goal", "model"]
    assert [each.line for each in told][:3] == [2, 3, None]
    assert told[-1].keys[0] == "space"


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ('family = "binomial"\nsize = 8', "The number of trials of an observation is 8."),
        ('family = "negative-binomial"\nsize = 2.5', "The k of the negative binomial of an observation is 2.5."),
        ('family = "poisson"\noffset = "t"', "t is added to the linear predictor."),
    ],
)
def test_description_says_how_a_response_is_counted(study, model, sentence):
    text = MEAN.replace("dispersion = 0.8", "[space]\ncandidates = { grid = { t = [1, 2] } }")
    assert sentence in said_of(study(text.replace("[nominal]", f"{model}\n[nominal]")))
