import numpy as np
import pandas as pd
import pytest

import optdesign as od


@pytest.fixture
def data():
    """Twenty units of ten observations."""
    rng = np.random.default_rng(1)
    x, unit = rng.normal(size=200), np.repeat(np.arange(20), 10)
    eta = 0.3 * x + rng.normal(size=20)[unit]
    events, yes = rng.poisson(np.exp(eta)), rng.random(200) < 1 / (1 + np.exp(-eta))
    return pd.DataFrame({"x": x, "unit": unit, "item": np.tile(np.arange(10), 20), "events": events, "yes": yes})


def fitted(data, formula="events ~ x + (1 | unit)", family="poisson", **options):
    return od.fit(od.MixedModel(formula, family, **options), data, method="gva")


@pytest.mark.parametrize(
    ("formula", "family", "options", "words"),
    [
        ("x ~ 1 + (1 | unit)", "gaussian", {}, "the model is 'gaussian with identity link'"),
        ("yes ~ x + (1 | unit)", "bernoulli", {"link": "probit"}, "the model is 'bernoulli with probit link'"),
        ("events ~ x + (1 | unit)", "negative-binomial", {"size": 2.0}, "'negative-binomial with log link'"),
        ("events ~ x + (1 | unit) + (1 | item)", "poisson", {}, "one grouping factor; .* has 'unit', 'item'"),
        ("events ~ x", "poisson", {}, "one grouping factor; 'events ~ x' has \\(none\\)"),
        ("events ~ x + (1 | unit) + (0 + x | unit)", "poisson", {}, "every covariance of the random effects of 'unit'"),
    ],
)
def test_models_that_are_not_covered_are_named(data, formula, family, options, words):
    with pytest.raises(od.SpecificationError, match=words):
        fitted(data, formula, family, **options)


def test_method_must_be_known(data):
    with pytest.raises(od.SpecificationError, match=r"method 'gav' is not known\. Did you mean 'gva'"):
        od.fit(od.MixedModel("events ~ x + (1 | unit)", "poisson"), data, method="gav")


@pytest.mark.parametrize("formula", ["events ~ x + I(2*x) + (1 | unit)", "events ~ x + (1 + x + I(2*x) | unit)"])
def test_collinear_columns_are_named(data, formula):
    with pytest.raises(od.NotEstimableError, match=r"'I\(2 \* x\)'|'I\(2\*x\)'"):
        fitted(data, formula)


def test_one_level_cannot_vary(data):
    with pytest.raises(od.SpecificationError, match="'unit' has one level"):
        fitted(data.assign(unit=1))


def test_a_model_needs_a_fixed_effect(data):
    with pytest.raises(od.SpecificationError, match="no fixed effect"):
        fitted(data, "events ~ 0 + (1 | unit)")


def test_random_slopes_need_neither_intercept_nor_fixed_partner(data):
    found = fitted(data, "events ~ 1 + (0 + x | unit)")
    assert found.names == ("Intercept",)
    assert found.random_covariance["unit"].shape == (1, 1)


def test_fit_says_how_it_was_made(data):
    found = fitted(data)
    assert repr(found).startswith("Gaussian variational fit of events ~ x + (1 | unit)")
    assert (found.method, found.observations, dict(found.units), found.notes) == ("gva", 200, {"unit": 20}, ())


def test_rows_with_missing_values_are_left_out_with_a_note(data):
    gaps = data.copy()
    gaps.loc[[3, 50], "x"] = np.nan
    found = fitted(gaps)
    assert found.notes == ("2 of 200 rows of the pilot left out for missing values.",)
    np.testing.assert_allclose(found.beta, fitted(data.drop(index=[3, 50])).beta, rtol=1e-10)


def test_variance_of_zero_is_a_note():
    alike = pd.DataFrame({"g": np.repeat(np.arange(6), 4), "y": np.tile([1, 2, 3, 5], 6)})
    (note,) = fitted(alike, "y ~ 1 + (1 | g)").notes
    assert "zero variance of 'Intercept' between levels of 'g'" in note


def test_large_counts_and_large_variances_converge():
    rng = np.random.default_rng(2)
    unit = np.repeat(np.arange(40), 5)
    counts = pd.DataFrame({"g": unit, "x": rng.normal(size=200)})
    counts["y"] = rng.poisson(np.exp(5 + counts["x"] + 3 * rng.normal(size=40)[unit]))
    found = fitted(counts, "y ~ x + (1 | g)")
    ml = od.fit(found.model, counts)
    np.testing.assert_allclose(found.beta, ml.beta, rtol=1e-3)
    np.testing.assert_allclose(found.random_covariance["g"], ml.random_covariance["g"], rtol=1e-3)


def test_nominal_values_and_scenarios_come_from_it(data):
    found = fitted(data)
    assert tuple(found.nominal_values().beta) == ("Intercept", "x")
    assert len(found.scenarios(3)) == 3
