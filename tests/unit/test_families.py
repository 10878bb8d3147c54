"""Families, links and conditional Fisher weights."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optdesign.errors import SpecificationError
from optdesign.families import FAMILIES, LINKS, family_named, fisher_weight, link_named

CANONICAL = sorted(FAMILIES)


@pytest.mark.parametrize("name", CANONICAL)
@given(eta=st.floats(-20, 20))
def test_canonical_weight_is_slope_squared_over_variance(name, eta):
    """b''(η) = (dμ/dη)²/V(μ) for the canonical link."""
    family, link = FAMILIES[name], LINKS[FAMILIES[name].canonical]
    at = np.array([eta])
    expected = link.slope(at) ** 2 / family.variance(link.mean(at))
    np.testing.assert_allclose(fisher_weight(family, link, at), expected, rtol=1e-6)


@pytest.mark.parametrize("name", sorted(LINKS))
@given(eta=st.floats(-10, 10))
def test_slope_is_the_derivative_of_the_mean(name, eta):
    link, h = LINKS[name], 1e-6
    difference = (link.mean(np.array([eta + h])) - link.mean(np.array([eta - h]))) / (2 * h)
    np.testing.assert_allclose(link.slope(np.array([eta])), difference, rtol=1e-5, atol=1e-9)


@given(eta=st.floats(-700, 700))
def test_logistic_weight_is_even_and_keeps_its_digits_in_the_tails(eta):
    family, link = FAMILIES["bernoulli"], LINKS["logit"]
    ours = fisher_weight(family, link, np.array([eta, -eta]))
    assert ours[0] == ours[1]
    np.testing.assert_allclose(np.log(ours[0]), -abs(eta) - 2 * np.log1p(np.exp(-abs(eta))), rtol=1e-12)


def test_logistic_weight_does_not_overflow():
    np.testing.assert_array_equal(
        fisher_weight(FAMILIES["bernoulli"], LINKS["logit"], np.array([-1e6, 0.0, 1e6])), [0.0, 0.25, 0.0]
    )


def test_weight_keeps_the_shape_of_the_predictor():
    assert fisher_weight(FAMILIES["poisson"], LINKS["log"], np.zeros((3, 4))).shape == (3, 4)


def test_dispersion_is_free_for_the_gaussian_only():
    assert [name for name in CANONICAL if FAMILIES[name].has_dispersion] == ["gaussian"]


def test_names_are_read_in_any_case():
    assert family_named("Poisson") is FAMILIES["poisson"]


def test_unknown_family_lists_the_known_ones():
    with pytest.raises(SpecificationError, match=r"family 'poison'.*Did you mean 'poisson'\?.*'gaussian'.*'bernoulli'"):
        family_named("poison")


def test_link_without_a_theory_names_the_one_to_use():
    with pytest.raises(SpecificationError, match=r"link 'identity'.*poisson family.*use its canonical link 'log'"):
        link_named("identity", FAMILIES["poisson"])


def test_families_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FAMILIES["poisson"].name = "other"
