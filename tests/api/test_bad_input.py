"""Every kind of bad input: a message with its place and a remedy, the right exit code, and nothing written."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from optdesign.cli.commands import app

STUDIES = Path(__file__).parents[2] / "studies"
PILOT = (STUDIES / "epilepsy" / "epil.csv").read_text(encoding="utf-8")
STATED = 'beta = { Intercept = 0.0, "log(base / 4)" = 1.0, "trt[T.progabide]" = -0.3 }\ncovariance = { subject = 0.3 }'


@pytest.fixture
def study(tmp_path):
    """The epilepsy study in a folder of its own, and how to change it."""
    text = (STUDIES / "epilepsy" / "study.toml").read_text(encoding="utf-8")
    (tmp_path / "epil.csv").write_text(PILOT, encoding="utf-8")

    def changed(*replacements, pilot=None):
        new = text
        for old, put in replacements:
            assert old in new, f"{old} is not in the study file"
            new = new.replace(old, put)
        (tmp_path / "study.toml").write_text(new, encoding="utf-8")
        if pilot is not None:
            (tmp_path / "epil.csv").write_text(pilot, encoding="utf-8")
        return tmp_path / "study.toml"

    return changed


def refused(path, code, *words):
    """Run and check: the exit code, the words on stderr, no traceback, nothing printed, nothing written."""
    before = sorted(path.parent.rglob("*"))
    outcome = CliRunner().invoke(app, ["run", str(path), "--out", str(path.parent / "report")])
    assert outcome.exit_code == code, outcome.stderr
    assert isinstance(outcome.exception, SystemExit)
    for word in words:
        assert word in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stdout == ""
    assert sorted(path.parent.rglob("*")) == before
    return outcome.stderr


def stated(*replacements):
    return (('from_pilot = "epil.csv"', STATED), *replacements)


def test_unknown_column_in_a_formula(study):
    refused(study(("log(base/4)", "log(bas/4)")), 2, "line 6, [model] formula", "'bas'", "Did you mean 'base'?")


def test_unknown_column_without_pilot(study):
    path = study(*stated(("log(base/4)", "log(bas/4)")))
    refused(path, 2, "line 6, [model] formula", "uses the column 'bas'", "Did you mean 'base'?")


def test_column_that_is_neither_chosen_nor_observed(study):
    refused(study(("log(base/4)", "lage")), 2, "line 6, [model] formula", "uses the column 'lage'", "'trt', 'base'")


def test_response_that_the_pilot_lacks(study):
    refused(study(("y ~", "y2 ~")), 2, "[model] formula: 'y2' is not a column of 'epil.csv'", "Did you mean 'y'?")


def test_formula_that_cannot_be_read(study):
    refused(study(("log(base/4)", "log(base/4")), 2, "line 6, [model] formula", "a bracket is not closed")


def test_family_that_does_not_exist(study):
    refused(study(('"poisson"', '"poison"')), 2, "line 7, [model] family", "Did you mean 'poisson'?")


def test_grouping_factor_without_covariance(study):
    path = study(*stated(("\ncovariance = { subject = 0.3 }", "")))
    refused(path, 2, "[nominal] covariance: grouping factor 'subject'", "add covariance = { subject = … }")


def test_covariance_of_another_factor(study):
    path = study(*stated(("{ subject = 0.3 }", "{ subjekt = 0.3 }")))
    refused(path, 2, "line 11, [nominal] covariance.subjekt: 'subjekt'", "Did you mean 'subject'?")


def test_covariance_that_is_not_positive_semi_definite(study):
    matrix = "{ subject = [[1.0, 2.0], [2.0, 1.0]] }"
    path = study(*stated(("{ subject = 0.3 }", matrix)))
    refused(path, 2, "line 11, [nominal] covariance", "eigenvalue -1", "Variances go on the diagonal")


def test_covariance_that_is_not_symmetric(study):
    path = study(*stated(("{ subject = 0.3 }", "{ subject = [[1.0, 0.2], [0.1, 1.0]] }")))
    refused(path, 2, "line 11, [nominal] covariance", "not symmetric")


def test_covariance_of_the_wrong_size(study):
    path = study(*stated(("{ subject = 0.3 }", "{ subject = [[1.0, 0.2], [0.2, 1.0]] }")))
    refused(path, 2, "line 11, [nominal] covariance.subject", "it must be 1 × 1")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_nominal_value_that_is_not_finite(study, value):
    path = study(*stated(("Intercept = 0.0", f"Intercept = {value}")))
    refused(path, 2, "line 10, [nominal] beta.Intercept", f"got {float(value)!r}", "finite numbers")


@pytest.mark.parametrize("value", ["nan", "inf", "-1.0", '"much"'])
def test_dispersion_that_is_not_a_positive_number(study, value):
    path = study(*stated(("covariance =", f"dispersion = {value}\ncovariance =")))
    refused(path, 2, "line 11, [nominal] dispersion", "a positive number")


def test_nominal_value_of_an_unknown_coefficient(study):
    path = study(*stated(("trt[T.progabide]", "trt[T.progabid]")))
    refused(path, 2, "line 10, [nominal] beta", "'trt[T.progabid]'", "Did you mean 'trt[T.progabide]'?")


def test_budget_that_buys_nothing_says_the_price(study):
    words = "line 32, [goal] budget", "the cheapest design within the bounds costs 20,400.00", "Raise the budget"
    refused(study(("budget = 150_000", "budget = 10_000")), 1, *words)


def test_fixed_cost_above_the_budget(study):
    refused(study(("observation = 60", "observation = 60\nfixed = 200_000")), 1, "[goal] budget", "200,000.00")


def test_nothing_with_a_price(study):
    path = study(("observation = 60", ""), ("\"900 + 400*(trt == 'progabide')\"", "0"))
    refused(path, 2, "line 26, [cost]: nothing has a price", "give units or observation one")


def test_inestimable_coefficient_names_the_missing_candidates(study):
    path = study(('["placebo", "progabide"]', '["placebo"]'))
    message = refused(path, 1, "line 17, [space] candidates", "'trt[T.progabide]' cannot be estimated")
    assert "The candidates have 'trt' at 'placebo' only. Missing, and seen in the pilot: 'progabide'." in message


def test_inestimable_coefficient_without_pilot(study):
    path = study(
        *stated(
            ('["placebo", "progabide"]', "[1.0]"),
            ('"trt[T.progabide]"', "trt"),
            ("\"900 + 400*(trt == 'progabide')\"", "900"),
        )
    )
    refused(path, 1, "'trt' cannot be estimated", "'trt' at 1.0 only. Add points with another value of 'trt'.")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_candidate_that_is_not_finite(study, value):
    path = study(('["placebo", "progabide"]', f"[0.0, {value}]"))
    refused(path, 2, "line 18, [space] candidates.grid.trt[2]", f"got {value}", "finite values")


def test_candidate_file_with_a_gap(study, tmp_path):
    (tmp_path / "points.csv").write_text("trt\nplacebo\n\nprogabide\nNA\n", encoding="utf-8")
    path = study(('grid = { trt = ["placebo", "progabide"] }', 'from_frame = "points.csv"'))
    refused(path, 2, "line 17, [space] candidates", "column 'trt' has the value nan in row 3")


def test_duplicate_candidates_are_merged_with_a_note(study):
    path = study(('["placebo", "progabide"]', '["placebo", "progabide", "placebo"]'))
    outcome = CliRunner().invoke(app, ["run", str(path)])
    assert outcome.exit_code == 0
    assert "warning: 1 duplicate candidate point merged." in outcome.stdout


def test_pilot_that_is_missing(study, tmp_path):
    path = study(('from_pilot = "epil.csv"', 'from_pilot = "pilot.csv"'))
    refused(path, 2, "line 10, [nominal] from_pilot", "there is no file", "pilot.csv", "relative to the study file")


@pytest.mark.parametrize("content", ["", "\n\n", "y,trt,base,subject\n"])
def test_pilot_that_is_empty(study, content):
    refused(study(pilot=content), 2, "line 10, [nominal] from_pilot", "is empty", "at least one row")


def test_pilot_with_lines_of_different_length(study):
    content = "y,trt,base,subject\n1,placebo,5,1\n2,placebo,5,1,7,8,9\n"
    refused(study(pilot=content), 2, "line 10, [nominal] from_pilot", "'epil.csv' cannot be read as a CSV file")


def test_pilot_that_is_not_text(study, tmp_path):
    path = study()
    (tmp_path / "epil.csv").write_bytes(b"\xff\xfe\x00\x01")
    refused(path, 2, "line 10, [nominal] from_pilot", "cannot be read as CSV text in UTF-8")


def test_pilot_whose_fit_does_not_converge(study):
    rows = "".join(f"0,{arm},{4 + unit},{arm}{unit}\n" for arm in ("placebo", "progabide") for unit in range(8)) * 2
    path = study(pilot=f"y,trt,base,subject\n{rows}")
    refused(path, 1, "line 10, [nominal] from_pilot", "did not converge", "state the nominal values")


def test_unknown_key_suggests_the_nearest(study):
    message = refused(study(("budget =", "bugdet =")), 2, "line 32, [goal] bugdet: unknown key 'bugdet'.")
    assert "Did you mean 'budget'?" in message
    assert "[goal] budget: is missing: add a positive finite number" in message


def test_unknown_table_suggests_the_nearest(study):
    refused(study(("[report]", "[reports]")), 2, "[reports]: unknown table 'reports'. Did you mean 'report'?")


def test_unknown_key_inside_a_list_of_tables(study):
    constraint = "[[space.constraints]]\ncondition = \"trt == 'placebo'\"\nat_leest = 0.3\n\n[cost]"
    path = study(("[cost]", constraint))
    refused(path, 2, "line 28, [space] constraints[1].at_leest: unknown key", "Did you mean 'at_least'?")


def test_one_fault_is_said_once(study):
    assert len(refused(study(("log(base/4)", "log(bas/4)")), 2).strip().splitlines()) == 1


def test_function_that_is_misspelt(study):
    refused(study(("log(base/4)", "lgo(base/4)")), 2, "line 6, [model] formula", "function 'lgo'", "mean 'log'?")


def test_level_that_the_pilot_lacks(study):
    path = study(('["placebo", "progabide"]', '["placebo", "progabide", "extra"]'))
    refused(path, 2, "line 17, [space] candidates", "a level that it does not know: 'extra'")


def test_nominal_values_named_as_in_the_formula(study):
    path = study(*stated(('"log(base / 4)"', '"log(base/4)"')))
    assert CliRunner().invoke(app, ["check", str(path)]).exit_code == 0


def test_all_problems_are_listed_one_per_line(study):
    path = study(("[2, 8]", '"many"'), ("power = 0.8", "power = 1.2"), ("observation = 60", "observation = -1"))
    lines = refused(path, 2).strip().splitlines()
    assert [line.split(": got ")[0] for line in lines] == [
        "error: study.toml, line 15, [space] replicates",
        "study.toml, line 28, [cost] observation",
        "study.toml, line 36, [test] power",
    ]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[2, 8]", '"many"', ("line 15, [space] replicates: got 'many'", "a number or a pair [lowest, highest]")),
        ("[2, 8]", "[8, 2]", ("line 15, [space] replicates: got [8, 2]", "the lowest first")),
        ("[20, 400]", "[400, 20]", ("line 14, [space] counts.subject: got [400, 20]", "the lowest first")),
        ("[20, 400]", "[20, nan]", ("line 14, [space] counts.subject[2]: got nan",)),
        ('base = "subject"', 'base = "sbject"', ("line 13, [space] levels.base", "Did you mean 'subject'?")),
        ("(trt ==", "(trtt ==", ("line 27, [cost] units.subject: uses the column 'trtt'", "Did you mean 'trt'?")),
        ("900 + 400*(", "900 + 400**(((", ("cannot be evaluated", "'900 + 400*treat'")),
        ("900 +", "-2000 +", ("a price is finite and not negative",)),
        ("{ trt = 1.0 }", "{ trtt = 1.0 }", ("line 31, [goal] criterion", "Did you mean 'trt'?")),
        ("{ trt = 1.0 }", "{ trt = 0.0 }", ("line 31, [goal] criterion", "not all zero")),
        ('{ kind = "c"', '{ kind = "D"', ("line 31, [goal] criterion: kind = 'D' takes the option 'of'",)),
        ('{ kind = "c", combination = { trt = 1.0 } }', '"Q"', ("line 31, [goal] criterion: got 'Q'", "'D', 'A'")),
        (
            '{ kind = "c", combination = { trt = 1.0 } }',
            '{ kind = "compound" }',
            ("line 31, [goal] criterion: kind = 'compound' needs criteria",),
        ),
        (
            '{ kind = "c", combination = { trt = 1.0 } }',
            '{ kind = "compound", criteria = [{ kind = "D", wieght = 2 }] }',
            ("line 31, [goal] criterion.criteria[1].wieght: unknown key", "Did you mean 'weight'?"),
        ),
        ("budget = 150_000", 'budget = 1\nlimits = { hours = { amount = 3, observation = "agee" } }',
         ("line 33, [goal] limits.hours.observation: uses the column 'agee'",)),
        ("budget = 150_000", "budget = 1\nlimits = { hours = { amount = 3, units = { clinic = 1 } } }",
         ("line 33, [goal] limits.hours.units.clinic: 'clinic' is not a grouping factor",)),
        ("budget = 150_000", "budget = 1\nlimits = { hours = { observation = 1 } }",
         ("line 33, [goal] limits.hours.amount: is missing: add a positive finite number",)),
        ("budget = 150_000", 'budget = 1\nalready = "epil.csv"', ("[test] and [goal] already do not go together",)),
        ("[cost]", '[[space.constraints]]\ntotal = "bsae"\nat_most = 3\n[cost]', ("uses the column 'bsae'",)),
        ("[cost]", '[[space.constraints]]\ntotal = "base"\n[cost]', ("constraints[1]: bounds nothing",)),
        ("[cost]", '[[space.constraints]]\ncondition = "base > 9"\nat_least = 3\n[cost]', ("3 is not a share",)),
        ("[cost]", '[[space.constraints]]\nat_least = 3\n[cost]', ("constraints[1]: give one of condition",)),
        ('coefficient = "trt"', 'coefficient = "age"', ("line 35, [test] coefficient: 'age' is not a coefficient",)),
        ("budget = 150_000", "budget = inf", ("line 32, [goal] budget: got inf", "a positive finite number")),
        ("budget = 150_000", 'budget = "150000"', ("line 32, [goal] budget: got '150000'",)),
        ('by = "subject"', 'by = "patient"', ("line 24, [space] observed.by: 'patient' is not a column",)),
        ('columns = ["base"]', 'columns = ["base", "V4"]', ("line 21, [space] observed: 'V4' varies within",)),
        ('columns = ["base"]', 'columns = ["base", "trt"]', ("'trt' cannot be both chosen and observed",)),
        ('[goal]', '[goal]\norder = "exact"', ("by order 'exact' for Gaussian models only",)),
        ('from_pilot = "epil.csv"', "", ("line 9, [nominal]: give either from_pilot", "or beta")),
        ('from_pilot = "epil.csv"', f'from_pilot = "epil.csv"\n{STATED}', ("nothing else may be stated",)),
        ('family = "poisson"', 'family = "poisson"\nsize = 3', ("line 8, [model] size", "'binomial'")),
    ],
)  # fmt: skip
def test_value_out_of_place(study, old, new, words):
    refused(study((old, new)), 2, *words)


def test_c_without_anything_to_be_about(study):
    path = study(
        ('{ kind = "c", combination = { trt = 1.0 } }', '"c"'), ('[test]\ncoefficient = "trt"\npower = 0.8\n', "")
    )
    refused(path, 2, "[goal] criterion = 'c' is about the coefficient of [test]")


@pytest.mark.parametrize("text", ["budget = = 3", "a = 1\na = 2", "[model\n"])
def test_toml_that_cannot_be_read_says_line_and_column(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(f"# a study\n{text}", encoding="utf-8")
    message = refused(path, 2, "The file must be TOML")
    assert "study.toml, line 2, column " in message or "study.toml, end of document" in message


def test_study_file_that_is_not_there(tmp_path):
    refused(tmp_path / "nowhere.toml", 2, "nowhere.toml: there is no such file")


def test_study_file_that_is_a_folder_or_no_text(tmp_path):
    refused(tmp_path, 2, "cannot be read")
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xff\xfe")
    refused(path, 2, "is not a text file in UTF-8")


def test_empty_study_file_names_the_tables_it_needs(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text("", encoding="utf-8")
    refused(path, 2, *(f"[{table}]: is missing: add the table" for table in ("model", "nominal", "cost", "goal")))


def test_report_folder_that_holds_something_else_is_left_alone(study, tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "thesis.txt").write_text("all of it", encoding="utf-8")
    refused(study(), 2, "report", "not empty")
    assert (tmp_path / "report" / "thesis.txt").read_text(encoding="utf-8") == "all of it"


def test_one_equals_sign_for_two_in_a_price(study):
    path = study(*stated(("900 + 400*(trt == 'progabide')", "trt = 1")))
    refused(path, 2, "'trt = 1' cannot be evaluated", "'==' asks whether two are equal")
