"""What will be fitted and what is believed: good input, wrong input, immutability, print."""

import dataclasses
import pickle

import numpy as np
import pandas as pd
import pytest

from optdesign import Design, Measure, MixedModel, Nested, NominalValues, formula
from optdesign.covariance import covariance
from optdesign.errors import SpecificationError

DESIGN = Design(Nested("g"), counts={"g": 10}, replicates=4, measure=Measure.grid(x=[0, 1]))
MODEL = MixedModel("y ~ x + (1 | g)")


def solved(beta=(0.0, 0.0), covariances=None, model=MODEL, design=DESIGN, **more):
    return covariance(model, NominalValues(beta, {"g": 1.0} if covariances is None else covariances, **more), design)


def test_a_model_knows_its_parts():
    model = MixedModel("y ~ x + log(z) + (1 + x | g)", "binomial", size="trials", offset="exposure")
    assert model.factors == ("g",)
    assert model.fixed_names == ("Intercept", "x", "log(z)")
    assert model.covariates == {"x", "z", "trials", "exposure"}
    assert model.link_function.name == "logit"
    assert not model.is_gaussian


def test_a_model_without_random_terms_has_no_factor():
    assert MixedModel("y ~ x").factors == ()


@pytest.mark.parametrize("formula_", ["y ~ x y", "y ~ x +* z + (1 | g)", "y ~ (1 | g", "x + (1 | g)"])
def test_a_formula_that_cannot_be_read_is_refused_at_once(formula_):
    with pytest.raises(SpecificationError, match=r"formula"):
        MixedModel(formula_)


@pytest.mark.parametrize("name", ["poison", "normal", "tweedie"])
def test_unknown_family(name):
    with pytest.raises(SpecificationError, match=rf"family '{name}' is not known.*Known families: 'gaussian'"):
        MixedModel("y ~ x", name)


def test_link_of_another_family():
    with pytest.raises(SpecificationError, match=r"link 'log' is not available for the bernoulli family.*'logit'"):
        MixedModel("y ~ x", "bernoulli", link="log")


@pytest.mark.parametrize(
    ("family", "link"),
    [("gamma", "inverse"), ("inverse-gaussian", "inverse-squared"), ("negative-binomial", "log-ratio")],
)
def test_links_that_a_normal_random_effect_leaves(family, link):
    size = 2.0 if family == "negative-binomial" else None
    assert MixedModel("y ~ x", family, link, size).link_function.name == link
    with pytest.raises(SpecificationError, match=rf"link '{link}'.*leaves that range.*link='log'"):
        MixedModel("y ~ x + (1 | g)", family, link, size)


def test_negative_binomial_needs_its_size():
    with pytest.raises(SpecificationError, match=r"needs size=.*positive number; got None"):
        MixedModel("y ~ x", "negative-binomial")


def test_dispersion_of_a_family_without_one():
    with pytest.raises(SpecificationError, match="poisson response has no dispersion parameter"):
        MixedModel("y ~ x", "poisson").check_dispersion(NominalValues([0, 0], dispersion=1.5))


def test_predictor_out_of_the_links_domain_names_the_point():
    with pytest.raises(SpecificationError, match=r"link 'inverse' needs linear predictors between 0 and inf.*'x'.*-2"):
        MixedModel("y ~ x", "gamma").weight(np.array([1.0, -2.0]), pd.DataFrame({"x": [1, -2]}))


@pytest.mark.parametrize("family", ["gaussian", "poisson", "bernoulli"])
def test_size_belongs_to_the_binomial(family):
    with pytest.raises(SpecificationError, match=rf"size= belongs to the binomial and .* the family is '{family}'"):
        MixedModel("y ~ x", family, size=3)


@pytest.mark.parametrize("size", [0, -2, 2.5, 0.0])
def test_number_of_trials_is_a_positive_whole_number(size):
    with pytest.raises(SpecificationError, match=rf"size={size}"):
        MixedModel("y ~ x", "binomial", size=size)


@pytest.mark.parametrize("argument", ["size", "offset"])
def test_column_of_sizes_or_offsets_must_be_in_the_design(argument):
    model = MixedModel("y ~ x + (1 | g)", "binomial", **{argument: "w"})
    with pytest.raises(SpecificationError, match=rf"{argument}='w' is not a column of the design: 'x'"):
        solved(model=model)


@pytest.mark.parametrize("sizes", [[0.0, 2.0], [-1.0, 2.0], ["few", "many"]])
def test_column_of_sizes_must_hold_positive_numbers(sizes):
    design = Design(Nested("g"), counts={"g": 10}, replicates=4, measure=Measure.grid(x=[0, 1], w=sizes))
    with pytest.raises(SpecificationError, match=r"size.*'w'|'w'.*size"):
        solved(model=MixedModel("y ~ x + (1 | g)", "binomial", size="w"), design=design)


def test_trials_and_offset_enter_the_weight():
    frame = pd.DataFrame({"x": [0, 1], "w": [3, 5], "e": [0.0, 1.0]})
    eta = np.zeros((2, 2))
    sized = MixedModel("y ~ x", "binomial", size="w").weight(eta, frame)
    np.testing.assert_allclose(sized, [[0.75, 1.25]] * 2)
    np.testing.assert_allclose(MixedModel("y ~ x", "poisson", offset="e").weight(eta, frame), [[1, np.e]] * 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nominal_values_are_finite(bad):
    with pytest.raises(SpecificationError, match="beta must be finite; got"):
        NominalValues([0.0, bad])
    with pytest.raises(SpecificationError, match="beta must be finite; got"):
        NominalValues({"x": bad})
    with pytest.raises(SpecificationError, match="covariance of 'g' must be finite; got"):
        NominalValues([0.0], {"g": [[1.0, 0.0], [0.0, bad]]})
    with pytest.raises(SpecificationError, match="dispersion must be a positive finite number; got"):
        NominalValues([0.0], dispersion=bad)


@pytest.mark.parametrize("bad", [0, -1.0, None, "2", [1.0]])
def test_dispersion_is_a_positive_number(bad):
    with pytest.raises(SpecificationError, match="dispersion must be a positive finite number; got"):
        NominalValues([0.0], dispersion=bad)


@pytest.mark.parametrize("beta", ["abc", {"x": "large"}, [[1.0, 2.0]], 1.0, [None]])
def test_beta_is_a_list_or_table_of_numbers(beta):
    with pytest.raises(SpecificationError, match="beta must be"):
        NominalValues(beta)


@pytest.mark.parametrize("given", [[[1.0]], None, 0.5])
def test_covariance_is_a_table_by_factor(given):
    with pytest.raises(SpecificationError, match="covariance"):
        NominalValues([0.0], given)


@pytest.mark.parametrize("shape", [(2, 3), (1, 0), (1, 1, 1)])
def test_covariance_is_square(shape):
    with pytest.raises(SpecificationError, match="covariance of 'g' must be a square matrix; got shape"):
        NominalValues([0.0], {"g": np.ones(shape)})


def test_covariance_is_symmetric():
    with pytest.raises(SpecificationError, match=r"covariance of 'g' is not symmetric: \[\[1.0, 0.2\], \[0.3, 1.0\]\]"):
        NominalValues([0.0], {"g": [[1, 0.2], [0.3, 1]]})


@pytest.mark.parametrize(
    ("matrix", "eigenvalue"), [([[1, 2], [2, 1]], "-1"), (-0.25, r"-0\.25"), ([[1, 0], [0, -3.5]], r"-3\.5")]
)
def test_covariance_is_positive_semi_definite(matrix, eigenvalue):
    with pytest.raises(SpecificationError, match=rf"not positive semi-definite: .* eigenvalue {eigenvalue}\."):
        NominalValues([0.0], {"g": matrix})


@pytest.mark.parametrize("matrix", [0.0, [[1.0, 1.0], [1.0, 1.0]], np.zeros((2, 2))])
def test_singular_covariance_is_allowed(matrix):
    assert NominalValues([0.0], {"g": matrix}).covariance["g"].ndim == 2


def test_a_number_stands_for_a_random_intercept():
    np.testing.assert_array_equal(NominalValues([0.0], {"g": 0.3}).covariance["g"], [[0.3]])


def test_factor_without_a_nominal_covariance():
    with pytest.raises(
        SpecificationError,
        match=r"grouping factor 'g' has no nominal covariance: add covariance=\{'g': …\}, a 1 × 1 matrix",
    ):
        solved(covariances={"h": 1.0})


def test_covariance_of_the_wrong_size():
    with pytest.raises(
        SpecificationError, match=r"'g' is 2 × 2; its random effects are 'Intercept', so it must be 1 × 1"
    ):
        solved(covariances={"g": np.eye(2)})


@pytest.mark.parametrize(
    ("beta", "message"),
    [
        ([0.0, 0.0, 0.0], "beta has 3 values; the model needs 2: 'Intercept', 'x'"),
        ({"Intercept": 0.0, "xx": 1.0}, r"beta names 'xx', which is not a coefficient.*Did you mean 'x'\?"),
        ({"Intercept": 0.0}, "beta gives no nominal value for 'x': add it"),
    ],
)
def test_beta_must_fit_the_model(beta, message):
    with pytest.raises(SpecificationError, match=message):
        solved(beta=beta)


def test_level_that_the_reference_does_not_have():
    design = Design(Nested("g"), counts={"g": 10}, replicates=4, measure=Measure.grid(x=["a", "b"]))
    reference = pd.DataFrame({"x": ["a", "c"]})
    with pytest.raises(SpecificationError, match=r"'b'.*Known levels are those of the data"):
        solved(design=design, reference=reference)
    with pytest.raises(SpecificationError, match=r"beta names 'x\[T\.c\]'.*'x\[T\.b\]'"):
        solved(beta={"Intercept": 0.0, "x[T.c]": 1.0}, design=design)


def test_levels_of_the_reference_set_the_baseline():
    """The design has no placebo, and still the coefficient is progabide against placebo."""
    reference = pd.DataFrame({"x": ["placebo", "progabide", "third"]})
    design = Design(Nested("g"), counts={"g": 10}, replicates=4, measure=Measure.grid(x=["progabide", "third"]))
    cov = solved(beta=[0.0, 0.0, 0.0], design=design, reference=reference)
    assert cov.names == ("Intercept", "x[T.progabide]", "x[T.third]")
    assert cov.inestimable == cov.names


def test_values_by_name_may_come_in_any_order_and_by_term_name():
    frame = pd.DataFrame({"x": [0.0, 1.0], "trt": ["placebo", "progabide"]})
    encoding = formula.learn(formula.parse("y ~ trt + x"), frame)
    by_name = NominalValues({"x": 2.0, "trt[T.progabide]": 1.0, "Intercept": 0.5})
    by_term = NominalValues({"trt": 1.0, "x": 2.0, "Intercept": 0.5})
    np.testing.assert_array_equal(by_name.beta_vector(encoding), [0.5, 1.0, 2.0])
    np.testing.assert_array_equal(by_term.beta_vector(encoding), [0.5, 1.0, 2.0])


def test_mean_that_overflows():
    with pytest.raises(SpecificationError, match=r"the response's mean overflows at .*check the nominal values"):
        solved(beta=[800.0, 0.0], model=MixedModel("y ~ x + (1 | g)", "poisson"))


def test_nominal_values_cannot_be_changed():
    guess = NominalValues({"x": 1.0}, {"g": 0.3})
    with pytest.raises(ValueError, match="read-only"):
        guess.covariance["g"][0, 0] = 1.0
    with pytest.raises(TypeError):
        guess.beta["x"] = 2.0
    with pytest.raises(TypeError):
        guess.covariance["h"] = 2.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        guess.dispersion = 2.0


def test_the_callers_matrix_stays_the_callers():
    """It can be changed afterwards, and the nominal values do not follow."""
    start = np.array([[0.3]])
    guess = NominalValues([0.0], {"g": start})
    start[0, 0] = 9.0
    assert guess.covariance["g"][0, 0] == 0.3


def test_a_model_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        MODEL.family = "poisson"


def test_repr():
    assert repr(NominalValues([1, 2], {"g": 0.3}, 2)) == (
        "NominalValues(beta=[1.0, 2.0], covariance={'g': [[0.3]]}, dispersion=2.0)"
    )
    assert repr(MixedModel("y ~ x", "poisson")).startswith("MixedModel(formula='y ~ x', family='poisson'")


def test_reference_is_kept_once_given():
    frame = pd.DataFrame({"x": [0, 1]})
    guess = NominalValues([0.0]).referring_to(frame)
    assert guess.reference is frame
    assert guess.referring_to(pd.DataFrame({"x": [5]})) is guess


@pytest.mark.parametrize("family", ["gaussian", "gamma", "negative-binomial"])
def test_models_can_be_sent_to_other_processes(family):
    model = MixedModel("y ~ x", family, size=2.5 if family == "negative-binomial" else None)
    assert pickle.loads(pickle.dumps(model)) == model
    assert pickle.loads(pickle.dumps(model)).link_function.name == model.link_function.name
