"""Random terms are split off; formulaic expands the rest."""

import numpy as np
import pandas as pd
import pytest

from optdesign import (
    AOptimality,
    COptimality,
    Design,
    DOptimality,
    Measure,
    MixedModel,
    Nested,
    NominalValues,
    WaldTest,
    formula,
    power,
)
from optdesign.covariance import covariance
from optdesign.criteria import Parameters
from optdesign.errors import SpecificationError

REFERENCE = pd.DataFrame({"t": np.arange(10.0), "z": np.arange(10.0)[::-1] ** 2, "arm": list("abcab" * 2)})


def learnt(text, frame=REFERENCE):
    return formula.learn(formula.parse(text), frame)


@pytest.mark.parametrize(
    ("text", "response", "fixed", "random"),
    [
        ("y ~ x + (1 + x | g)", "y", "x", {"g": ("1 + x",)}),
        ("y~x+(1|g)", "y", "x", {"g": ("1",)}),
        ("y ~ (1 | g)", "y", "1", {"g": ("1",)}),
        ("y ~ 1", "y", "1", {}),
        ("log(y) ~ (x + z)**2 + (0 + x | g)", "log(y)", "(x + z)**2", {"g": ("0 + x",)}),
        ("y ~ (1 | g) + x + (0 + x | g)", "y", "x", {"g": ("1", "0 + x")}),
        ("y ~ x + (1 | subject) + (1 | item)", "y", "x", {"subject": ("1",), "item": ("1",)}),
        ("y ~ x + (1 | a:b)", "y", "x", {"a:b": ("1",)}),
        ("y ~ x + (1 | school_id.2)", "y", "x", {"school_id.2": ("1",)}),
        ("y ~ x + (1 + poly(x, 2) | g)", "y", "x", {"g": ("1 + poly(x, 2)",)}),
    ],
)
def test_parts_of_a_formula(text, response, fixed, random):
    parsed = formula.parse(text)
    assert (parsed.response, parsed.fixed, dict(parsed.random)) == (response, fixed, random)


@pytest.mark.parametrize(
    ("columns", "terms"),
    [("1", ("1",)), ("x", ("1", "0 + x")), ("1 + x", ("1", "0 + x")), ("0 + x + z", ("0 + x", "0 + z"))],
)
def test_double_bar_separates_the_effects(columns, terms):
    assert formula.parse(f"y ~ x + ({columns} || g)").random["g"] == terms


@pytest.mark.parametrize("text", ["x + (1 | g)", "~ x", " ~ x + (1 | g)", ""])
def test_a_formula_needs_a_response(text):
    with pytest.raises(SpecificationError, match="has no response: write 'response ~ terms"):
        formula.parse(text)


@pytest.mark.parametrize("text", ["y ~ x + (1 + x | g", "y ~ log(x", "y ~ [x"])
def test_brackets_must_close(text):
    with pytest.raises(SpecificationError, match="a bracket is not closed"):
        formula.parse(text)


@pytest.mark.parametrize(
    ("text", "before"), [("y ~ x + (1 | g))", r"x \+ \(1 \| g\)"), ("y ~ x)", "x"), ("y ~ )x(", "")]
)
def test_brackets_must_open(text, before):
    with pytest.raises(
        SpecificationError, match=rf"a bracket is closed that was never opened, after '{before}'\. Remove"
    ):
        formula.parse(text)


def test_names_in_backquotes_are_taken_whole():
    parsed = formula.parse("y ~ `a + (b` + C(x, levels=['(', '+']) + (1 | `patient | no`)")
    assert parsed.fixed == "`a + (b` + C(x, levels=['(', '+'])"
    assert dict(parsed.random) == {"patient | no": ("1",)}


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("y ~ x + 1 | g", "1 | g"),
        ("y ~ x * (1 | g)", r"x \* \(1 \| g\)"),
        ("y ~ x - (1 | g)", r"x - \(1 \| g\)"),
        ("y ~ x + ( | g)", r"\( \| g\)"),
        ("y ~ x + (1 | )", r"\(1 \| \)"),
        ("y ~ x + (1 || )", r"\(1 \|\| \)"),
        ("y ~ (1 | g):x", r"\(1 \| g\):x"),
    ],
)
def test_random_term_that_is_not_understood(text, term):
    with pytest.raises(SpecificationError, match=rf"random term '{term}' is not understood.*as in 'y ~ x \+ \(1"):
        formula.parse(text)


@pytest.mark.parametrize("factor", ["a/b", "a | b", "a + b", "f(a)", "a*b"])
def test_grouping_factor_must_be_a_name(factor):
    with pytest.raises(SpecificationError, match=r"is not the name of a grouping factor\. Give one column"):
        formula.parse(f"y ~ x + (1 | {factor})")


@pytest.mark.parametrize("text", ["y ~ x +* z", "y ~ x y", "y ~ x + (a b | g)"])
def test_fixed_part_that_cannot_be_read(text):
    with pytest.raises(SpecificationError, match="is not a formula that can be read: "):
        formula.covariates(formula.parse(text))


def test_messages_are_plain_text():
    """No terminal colours from the library underneath."""
    with pytest.raises(SpecificationError) as error:
        formula.covariates(formula.parse("y ~ x +* z"))
    assert "\x1b" not in str(error.value)
    assert "[0m" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("y ~ t * z", ("Intercept", "t", "z", "t:z")),
        ("y ~ (t + z)**2", ("Intercept", "t", "z", "t:z")),
        ("y ~ 0 + t", ("t",)),
        ("y ~ t - 1", ("t",)),
        ("y ~ arm", ("Intercept", "arm[T.b]", "arm[T.c]")),
        ("y ~ 0 + arm", ("arm[a]", "arm[b]", "arm[c]")),
        ("y ~ arm:t", ("Intercept", "arm[a]:t", "arm[b]:t", "arm[c]:t")),
        ("y ~ t + I(t**2)", ("Intercept", "t", "I(t ** 2)")),
        ("y ~ log(z + 1)", ("Intercept", "log(z + 1)")),
        ("y ~ poly(t, 2)", ("Intercept", "poly(t, 2)[1]", "poly(t, 2)[2]")),
        ("y ~ C(arm, contr.sum)", ("Intercept", "C(arm, contr.sum)[S.a]", "C(arm, contr.sum)[S.b]")),
    ],
)
def test_coefficient_names_are_formulaics(text, names):
    assert learnt(text).fixed_names == names


def test_random_columns_are_named_by_factor():
    encoding = learnt("y ~ t + (1 + t || g) + (0 + arm | h)")
    assert encoding.random_names("g") == ("Intercept", "t")
    assert encoding.random_names("h") == ("arm[a]", "arm[b]", "arm[c]")
    assert encoding.random_columns("h", REFERENCE).shape == (10, 3)


def test_one_column_terms_have_aliases():
    two_arms = REFERENCE.assign(arm=["placebo", "progabide"] * 5)
    aliases = learnt("y ~ arm + t + arm:t", two_arms).aliases
    assert aliases["arm"] == "arm[T.progabide]"
    assert aliases["arm:t"] == "arm[T.progabide]:t"
    assert "arm" not in learnt("y ~ arm").aliases


@pytest.mark.parametrize("written", ["log(z/4 + 1)", "log(z / 4 + 1)", "log( z/4+1 )"])
def test_names_may_be_spaced_as_the_user_likes(written):
    encoding = learnt("y ~ log(z/4 + 1) + (1 | g)")
    assert encoding.aliases[written] == "log(z / 4 + 1)"
    assert NominalValues({"Intercept": 1.0, written: 2.0}).beta_vector(encoding).tolist() == [1.0, 2.0]
    model = MixedModel("y ~ log(z/4 + 1) + (1 | g)")
    guess = NominalValues({"Intercept": 1.0, written: 0.2}, {"g": 0.5})
    design = Design(Nested("g"), counts={"g": 20}, replicates=6, measure=Measure.grid(z=[0, 4, 9]))
    assert 0.0 < power(model, guess, design, WaldTest(written)) < 1.0
    parameters = Parameters(encoding.fixed_names, encoding.aliases, np.array([1.0, 0.2]), encoding.fixed_columns)
    for criterion in (COptimality({written: 1.0}), DOptimality([written]), AOptimality({written: 2.0})):
        assert np.isfinite(criterion.bind([parameters]).loss(np.diag([1.0, 4.0])[None]))


def test_spaces_that_tell_levels_apart_are_kept():
    frame = pd.DataFrame({"arm": ["a", "drug A", "drugA", "drug B"]})
    aliases = learnt("y ~ arm", frame).aliases
    assert aliases["arm[T.drug A]"] == "arm[T.drug A]"
    assert aliases["arm[T.drugA]"] == "arm[T.drugA]"
    assert "arm[T. drugA]" not in aliases
    assert aliases["arm[T.drugB]"] == "arm[T.drug B]"


@pytest.mark.parametrize("term", ["poly(t, 3)", "bs(t, df=5)", "cr(t, df=4)", "center(t)", "scale(t)", "C(arm)"])
def test_levels_and_bases_are_those_of_the_reference(term):
    """A few rows of the reference get the columns that they have in the whole of it."""
    encoding = learnt(f"y ~ {term} + ({term} | g)")
    some = REFERENCE.iloc[[1, 2, 7]].reset_index(drop=True)
    np.testing.assert_allclose(encoding.fixed_columns(some), encoding.fixed_columns(REFERENCE)[[1, 2, 7]], atol=1e-12)
    np.testing.assert_allclose(
        encoding.random_columns("g", some), encoding.random_columns("g", REFERENCE)[[1, 2, 7]], atol=1e-12
    )


def test_polynomials_of_the_reference_are_orthonormal():
    columns = learnt("y ~ poly(t, 2)").fixed_columns(REFERENCE)[:, 1:]
    np.testing.assert_allclose(columns.T @ columns, np.eye(2), atol=1e-12)


def test_interactions_are_products_of_columns():
    columns = learnt("y ~ t * z").fixed_columns(REFERENCE)
    np.testing.assert_array_equal(columns[:, 3], columns[:, 1] * columns[:, 2])


@pytest.mark.parametrize(
    "text",
    [
        "y ~ t + z + (1 | g)",
        "y ~ poly(t, 2) + log(z + 1) + (1 | g)",
        "y ~ t + (1 + bs(z, df=4) | g)",
        "y ~ center(t):scale(z) + (1 | g)",
        "y ~ t + np.log(z + 1)",
    ],
)
def test_covariates_are_the_columns_of_the_right_hand_side(text):
    assert formula.covariates(formula.parse(text)) == {"t", "z"}


@pytest.mark.parametrize("text", ["y ~ t + w", "y ~ log(w)", "y ~ poly(w, 2)", "y ~ t + (1 + w | g)", "y ~ t:w"])
def test_unknown_column(text):
    with pytest.raises(SpecificationError, match=r"uses the column 'w'.*not among the columns given: 't', 'z', 'arm'"):
        learnt(text)


def test_unknown_column_suggests_the_nearest():
    with pytest.raises(SpecificationError, match=r"column 'arms'.*Did you mean 'arm'\?"):
        learnt("y ~ arms")


def test_missing_values_are_refused():
    with pytest.raises(SpecificationError, match=r"column 't' has missing values.*remove them"):
        learnt("y ~ t", REFERENCE.assign(t=np.nan))


def test_unknown_level():
    with pytest.raises(SpecificationError, match=r"'d'.*Known levels are those of the data"):
        learnt("y ~ arm").fixed_columns(pd.DataFrame({"arm": ["a", "d"]}))


def test_point_at_which_a_term_is_not_finite():
    with pytest.raises(SpecificationError, match=r"term 'log\(t\)' is not finite at .*0.0.*leave that point out"):
        learnt("y ~ log(t)").fixed_columns(REFERENCE)


@pytest.mark.parametrize(
    ("term", "function", "remedy"),
    [
        ("lgo(t/4)", "lgo", r"Did you mean 'log'\? They have log, exp"),
        ("Log(t)", "Log", r"Did you mean 'log'\?"),
        ("sqrt(t)", "sqrt", r"Write 'np\.sqrt', which is numpy's\."),
        ("np.sqr(t)", r"np\.sqr", r"Did you mean 'np\.sqrt'\?"),
        ("foo(t)", "foo", "They have log, exp"),
        ("t + (1 + lgo(t) | g)", "lgo", r"Did you mean 'log'\?"),
    ],
)
def test_unknown_function_is_not_called_a_column(term, function, remedy):
    with pytest.raises(SpecificationError, match=rf"calls the function '{function}', which formulas do not.*{remedy}"):
        MixedModel(f"y ~ {term}")


@pytest.mark.parametrize("term", ["np.sqrt(t)", "Q('t')", "t.abs()", "C(arm, contr.treatment('b'))", "log(`t`)"])
def test_known_functions_pass(term):
    assert formula.covariates(formula.parse(f"y ~ {term}")) <= {"t", "arm"}


def test_spline_beyond_its_knots():
    with pytest.raises(SpecificationError, match=r"bs\(t, df=5\).*cannot be evaluated.*beyond"):
        learnt("y ~ bs(t, df=5)").fixed_columns(pd.DataFrame({"t": [12.0]}))


def test_response_with_its_transform():
    frame = pd.DataFrame({"y": [1.0, np.e]})
    np.testing.assert_allclose(formula.response_column(formula.parse("log(y) ~ t"), frame), [0, 1])


def test_basis_of_a_polynomial_does_not_change_what_is_predicted():
    """poly(t, 2) and t + I(t**2) span the same curves: the variance of a predicted mean is the same."""
    design = Design(Nested("g"), counts={"g": 9}, replicates=6, measure=Measure.grid(t=[0, 3, 9]))
    guess = {"covariance": {"g": 0.4}, "reference": REFERENCE}
    variances = []
    for term, beta in (("poly(t, 2)", [1.0, 0.0, 0.0]), ("t + I(t**2)", [1.0, 0.0, 0.0])):
        text = f"y ~ {term} + (1 | g)"
        cov = covariance(MixedModel(text), NominalValues(beta, **guess), design, order="exact").matrix
        row = learnt(text).fixed_columns(REFERENCE.iloc[[5]])[0]
        variances.append(row @ cov @ row)
    assert variances[0] == pytest.approx(variances[1], rel=1e-10)
