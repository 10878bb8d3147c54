import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od

DATA = Path(__file__).parent.parent / "data"
SLEEP = pd.read_csv(DATA / "sleepstudy.csv")


@pytest.fixture
def counts():
    """Twenty units of ten observations, with responses of every kind."""
    rng = np.random.default_rng(1)
    x, unit = rng.normal(size=200), np.repeat(np.arange(20), 10)
    eta = 0.3 * x + rng.normal(size=20)[unit]
    return pd.DataFrame(
        {
            "x": x,
            "unit": unit,
            "events": rng.poisson(np.exp(eta)),
            "hours": rng.uniform(1, 3, 200),
            "yes": rng.random(200) < 1 / (1 + np.exp(-eta)),
            "passed": rng.binomial(4, 1 / (1 + np.exp(-eta))),
        }
    )


def least_squares(X, y):
    beta = np.linalg.lstsq(X, y)[0]
    return beta, ((y - X @ beta) ** 2).mean()


def test_linear_model_has_the_maximum_likelihood_dispersion():
    pilot = od.fit(od.MixedModel("Reaction ~ Days"), SLEEP)
    X = np.column_stack([np.ones(180), SLEEP.Days])
    beta, dispersion = least_squares(X, SLEEP.Reaction)
    np.testing.assert_allclose(pilot.beta, beta, rtol=1e-10)
    assert pilot.dispersion == pytest.approx(dispersion, rel=1e-10)
    np.testing.assert_allclose(pilot.covariance_matrix, dispersion * np.linalg.inv(X.T @ X), rtol=1e-9)
    assert pilot.log_likelihood == pytest.approx(-90 * (np.log(2 * np.pi * dispersion) + 1), rel=1e-10)
    assert dict(pilot.units) == {}
    assert dict(pilot.random_covariance) == {}


def test_poisson_model_with_offset_solves_the_score_equations(counts):
    counts["exposure"] = np.log(counts.hours)
    pilot = od.fit(od.MixedModel("events ~ x", family="poisson", offset="exposure"), counts)
    X = np.column_stack([np.ones(200), counts.x])
    mean = counts.hours * np.exp(X @ pilot.beta)
    np.testing.assert_allclose(X.T @ (counts.events - mean), 0, atol=1e-5)
    np.testing.assert_allclose(pilot.covariance_matrix, np.linalg.inv((X.T * mean.to_numpy()) @ X), rtol=1e-5)
    assert pilot.dispersion == 1.0


def test_binomial_size_is_the_same_as_that_many_bernoulli_rows(counts):
    counts["trials"] = 4
    by_number = od.fit(od.MixedModel("passed ~ x + (1 | unit)", family="binomial", size=4), counts)
    by_column = od.fit(od.MixedModel("passed ~ x + (1 | unit)", family="binomial", size="trials"), counts)
    long = counts.loc[counts.index.repeat(4)].assign(trial=np.tile(np.arange(4), 200))
    long["one"] = (long.trial < long.passed).astype(int)
    single = od.fit(od.MixedModel("one ~ x + (1 | unit)", family="bernoulli"), long)
    for pilot in (by_number, by_column):
        np.testing.assert_allclose(pilot.beta, single.beta, rtol=1e-4)
        np.testing.assert_allclose(pilot.covariance_matrix, single.covariance_matrix, rtol=1e-3)


def test_truth_values_are_zero_and_one(counts):
    model = od.MixedModel("yes ~ x + (1 | unit)", family="binomial")
    np.testing.assert_array_equal(od.fit(model, counts).beta, od.fit(model, counts.astype({"yes": int})).beta)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_quadrature_covers_up_to_three_random_effects(counts, dimension):
    counts["z"] = np.tile([-1.0, 0.0, 1.0, 0.5, 0.2], 40)
    slopes = " + ".join(["1", "x", "z"][:dimension])
    pilot = od.fit(od.MixedModel(f"events ~ x + z + ({slopes} | unit)", family="poisson"), counts)
    assert pilot.random_covariance["unit"].shape == (dimension, dimension)
    assert not any("Laplace" in note for note in pilot.notes)


def test_two_grouping_factors_are_fitted_by_laplace_with_a_note(counts):
    counts["item"] = np.tile(np.arange(10), 20)
    pilot = od.fit(od.MixedModel("events ~ x + (1 | unit) + (1 | item)", family="poisson"), counts)
    assert dict(pilot.units) == {"unit": 20, "item": 10}
    assert any("Laplace" in note for note in pilot.notes)


def test_pairs_of_columns_are_a_grouping_factor(counts):
    counts["half"] = np.tile(["a", "b"], 100)
    pilot = od.fit(od.MixedModel("hours ~ x + (1 | unit) + (1 | unit:half)"), counts)
    assert dict(pilot.units) == {"unit": 20, "unit:half": 40}


def test_columns_may_be_called_anything(counts):
    plain = od.fit(od.MixedModel("hours ~ x + (1 | unit)"), counts)
    renamed = counts.rename(columns={"hours": "time taken", "x": "x1", "unit": "x0"})
    odd = od.fit(od.MixedModel("`time taken` ~ x1 + (1 | x0)"), renamed)
    np.testing.assert_array_equal(plain.beta, odd.beta)


def test_data_dependent_terms_are_tied_to_the_pilot():
    pilot = od.fit(od.MixedModel("Reaction ~ poly(Days, 2) + (1 | Subject)"), SLEEP)
    design = od.Design(od.Nested("Subject"), counts={"Subject": 18}, replicates=2, measure=od.Measure.grid(Days=[0, 9]))
    with pytest.raises(od.NotEstimableError, match="poly"):
        od.power(pilot.model, pilot.nominal_values(), design, od.WaldTest("poly(Days, 2)[2]"))


def test_rows_with_missing_values_are_left_out_with_a_note(counts):
    gaps = counts.copy()
    gaps.loc[[3, 50], "x"], gaps.loc[7, "events"] = np.nan, np.nan
    gaps["unused"] = np.nan
    model = od.MixedModel("events ~ x + (1 | unit)", family="poisson")
    pilot = od.fit(model, gaps)
    assert pilot.notes == ("3 of 200 rows of the pilot left out for missing values.",)
    np.testing.assert_array_equal(pilot.beta, od.fit(model, counts.drop(index=[3, 7, 50])).beta)


def test_levels_that_do_not_occur_are_forgotten(counts):
    counts["arm"] = pd.Categorical(np.tile(["b", "a"], 100), categories=["b", "a", "dropped"])
    assert od.fit(od.MixedModel("hours ~ arm + (1 | unit)"), counts).names == ("Intercept", "arm[T.a]")


def test_nominal_values_give_back_the_estimates_and_the_levels():
    epil = pd.read_csv(DATA / "epil.csv")
    pilot = od.fit(od.MixedModel("y ~ log(base/4) + trt + (1 | subject)", family="poisson"), epil)
    guess = pilot.nominal_values()
    assert tuple(guess.beta) == pilot.names
    assert list(guess.reference) == ["base", "trt"]
    # Levels are those of the pilot even where a design has one of them only.
    design = od.Design(od.Nested("subject"), [od.Group(30, 4, at={"base": 20, "trt": "progabide"})])
    assert od.covariance(pilot.model, guess, design).names == pilot.names


def test_zero_variance_is_a_note_on_planning():
    rng = np.random.default_rng(3)
    flat = pd.DataFrame({"y": rng.normal(size=60), "unit": np.tile(np.arange(10), 6)})
    flat["y"] -= flat.groupby("unit").y.transform("mean")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pilot = od.fit(od.MixedModel("y ~ 1 + (1 | unit)"), flat)
    assert caught == []
    (note,) = pilot.notes
    assert "zero variance of 'Intercept' between levels of 'unit'" in note
    assert "few levels of 'unit' with many observations" in note


def test_perfect_correlation_is_a_note_on_planning():
    """Eight lines that differ along (1, ½) only, with residuals orthogonal to lines."""
    rng, X = np.random.default_rng(0), np.column_stack([np.ones(5), np.arange(5)])
    residual = np.eye(5) - X @ np.linalg.pinv(X)
    y = [X @ [size, size / 2] + residual @ rng.normal(size=5) for size in np.linspace(-3, 3, 8)]
    lines = pd.DataFrame({"y": np.concatenate(y), "t": np.tile(np.arange(5), 8), "unit": np.repeat(np.arange(8), 5)})
    pilot = od.fit(od.MixedModel("y ~ t + (t | unit)"), lines)
    assert any("perfectly correlated random effects of 'unit' ('Intercept', 't')" in note for note in pilot.notes)


def test_fitter_notes_speak_of_the_model_columns(counts):
    counts["near"] = counts.x + 3e-7 * np.random.default_rng(0).normal(size=200)
    (note,) = od.fit(od.MixedModel("hours ~ x + near"), counts).notes
    assert note.startswith("'near' is almost a combination of other columns")


def test_prints_estimates_variances_and_notes():
    text = repr(od.fit(od.MixedModel("Reaction ~ Days + (Days | Subject)"), SLEEP))
    for piece in ("Days", "18 levels of 'Subject'", "residual variance: 654.9", "covariance of 'Subject'"):
        assert piece in text
    html = od.fit(od.MixedModel("Reaction ~ Days + (Days | Subject)"), SLEEP)._repr_html_()
    assert "<table" in html
    assert "residual variance" in html


def test_results_cannot_be_changed():
    pilot = od.fit(od.MixedModel("Reaction ~ Days + (1 | Subject)"), SLEEP)
    with pytest.raises(AttributeError):
        pilot.dispersion = 1.0
    for array in (pilot.beta, pilot.covariance_matrix, pilot.random_covariance["Subject"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("Reaction ~ Dayz + (1 | Subject)", "'Dayz'.* does not have.*Did you mean 'Days'"),
        ("Reaction ~ Days + (1 | Subjet)", "'Subjet'.*Did you mean 'Subject'"),
        ("Reaction ~ Days + (0 + Days | Subject)", r"without an intercept.*'Days'.*NominalValues\("),
        ("Reaction ~ Days + (Days || Subject)", r"uncorrelated random effects of 'Subject'.*NominalValues\("),
        ("Reaction ~ 1 + (Days | Subject)", "random slope 'Days'.*add 'Days' to the fixed part"),
        ("Reaction ~ 0 + (1 | Subject)", "has no fixed effect"),
        ("who ~ Days + (1 | Subject)", "'who' is text.*must be numbers"),
    ],
)
def test_wrong_formulas(formula, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.fit(od.MixedModel(formula), SLEEP.assign(who="x" + SLEEP.Subject.astype(str)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.iloc[:0], "has 0 rows"),
        (lambda d: d.assign(Days=np.nan), "180 rows, none of them"),
        (lambda d: d.assign(Days=np.inf), "'Days' has the value inf"),
        (lambda d: d[d.Subject == 308], r"'Subject' has one level in the data \('308'\)"),
        (lambda d: d[d.Days == 3], "each of the 18 levels of 'Subject' has one observation"),
        (lambda d: d.to_dict("list"), "must be a pandas DataFrame.*got dict"),
    ],
)
def test_wrong_data(change, message):
    with pytest.raises(od.SpecificationError, match=message):
        od.fit(od.MixedModel("Reaction ~ Days + (1 | Subject)"), change(SLEEP))


@pytest.mark.parametrize(
    ("family", "options", "response", "message"),
    [
        ("poisson", {}, -1, "is -1; a poisson response is a whole number of at least 0"),
        ("poisson", {}, 0.5, r"is 0.5; a poisson .*wrong in 200 of 200 rows"),
        ("bernoulli", {}, 2, "is 2; a bernoulli response .*number of trials, here 1"),
        ("binomial", {"size": 4}, 5, "is 5; a binomial response .*number of trials, here 4"),
        ("binomial", {"size": "none"}, 0, "positive numbers of trials; got 0"),
        ("binomial", {"size": "text"}, 0, "'text' is text.*size="),
        ("poisson", {"offset": "text"}, 0, "'text' is text.*offset="),
    ],
)
def test_wrong_responses(counts, family, options, response, message):
    data = counts.assign(y=response, none=0, text="four")
    with pytest.raises(od.SpecificationError, match=message):
        od.fit(od.MixedModel("y ~ x + (1 | unit)", family=family, **options), data)


def test_collinear_columns_are_named(counts):
    with pytest.raises(od.NotEstimableError, match=r"cannot estimate 'I\(2 \* x\)'") as caught:
        od.fit(od.MixedModel("hours ~ x + I(2*x) + (1 | unit)"), counts)
    assert caught.value.coefficients == ("I(2 * x)",)


@pytest.mark.parametrize("random", ["", " + (1 | unit)"])
def test_separation_does_not_converge_and_says_why(counts, random):
    model = od.MixedModel(f"y ~ x{random}", family="bernoulli")
    with pytest.raises(od.ConvergenceError, match=r"did not converge.*separation.*NominalValues\("):
        od.fit(model, counts.assign(y=counts.x > 0))


def test_constant_response_does_not_converge_and_says_why(counts):
    with pytest.raises(od.ConvergenceError, match="Every value of the response is 0"):
        od.fit(od.MixedModel("y ~ 1 + (1 | unit)", family="poisson"), counts.assign(y=0))
