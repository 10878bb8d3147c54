"""Finite, positive definite and silent at the ends of what a study could be."""

from itertools import product

import numpy as np
import pytest

from optdesign import Design, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance import covariance

POINTS = Measure.grid(x=[0, 1], a=[0, 1])


@pytest.mark.parametrize("order", ["leading", "two-term", "averaged"])
@pytest.mark.parametrize("family", ["bernoulli", "poisson", "gaussian"])
@pytest.mark.parametrize(("formula", "size"), [("y ~ x + (1 | g)", 1), ("y ~ a + (1 | g)", 1), ("y ~ x + (1 + x | g)", 2)])
def test_extreme_values_are_finite(formula, size, family, order):
    variances = (1e-6, 10.0)
    for variance, intercept, m, n in product(variances, (-8, 8), (2, 1e9), (1, 1e6)):
        guess = NominalValues([intercept, 0.5], {"g": variance * (0.7 * np.eye(size) + 0.3)})
        design = Design(Nested("g"), counts={"g": m}, replicates=n, measure=POINTS, levels={"a": "g"})
        cov = covariance(MixedModel(formula, family), guess, design, order=order)
        at = (variance, intercept, m, n)
        assert cov.inestimable == (), at
        assert np.isfinite(cov.matrix).all(), at
        correlation = cov.matrix / np.outer(cov.standard_errors, cov.standard_errors)
        assert np.linalg.eigvalsh(correlation).min() > 0, at
