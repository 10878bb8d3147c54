"""Arguments of the wrong kind: a message that names the argument, never a traceback from within."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od

MODEL = od.MixedModel("y ~ x + (1 | g)", "poisson")
GUESS = od.NominalValues([0.0, 0.3], {"g": 0.3})
LAYOUT, X = od.Nested("g"), od.Measure.grid(x=[0, 1])
FRAME = pd.DataFrame({"g": [1, 1, 2, 2], "x": [0, 1, 0, 1]})


def design(layout=LAYOUT, **changes):
    return od.Design(layout, **{"counts": {"g": 10}, "replicates": 4, "measure": X, **changes})


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda: od.covariance("y ~ x", GUESS, design()), "model must be MixedModel"),
        (lambda: od.covariance(MODEL, {"x": 1}, design()), "nominal must be NominalValues"),
        (lambda: od.covariance(MODEL, GUESS, FRAME), "design must be Design"),
        (lambda: od.covariance(MODEL, GUESS, design(), None), "order 'None' is not known"),
        (lambda: od.covariance(MODEL, GUESS, design(), "exact", seed=-1), "seed must be a whole number"),
        (lambda: od.covariance_of_frame(MODEL, GUESS, [1, 2]), "df must be DataFrame"),
        (lambda: od.covariance_of_frame(MODEL, GUESS, FRAME[["g", "x", "x"]]), "columns of the same name: 'x'"),
        (lambda: design(layout="g"), r"layout must be Nested\('factor'\)"),
        (lambda: design(counts=10), "counts must be a table"),
        (lambda: design(counts={"g": "10"}), r"counts\['g'\] must be a positive finite number; got '10'"),
        (lambda: design(measure=FRAME), "measure must be a Measure"),
        (lambda: design(levels="g"), "levels must be a table"),
        (lambda: od.Design(LAYOUT, od.Group(1, 1, X)), "groups must be a list"),
        (lambda: od.Design(LAYOUT, [3]), "each of the groups must be Group"),
        (lambda: od.Group(1, 1, FRAME), "measure of a group must be a Measure"),
        (lambda: od.Group(1, 1, at=[1]), "at must be a table"),
        (lambda: od.Measure.grid(x=[0, 1], weights="ab"), "weights must be numbers"),
        (lambda: od.Measure.from_frame([1, 2]), "frame must be DataFrame"),
        (lambda: od.MixedModel("y ~ x", link=3), "link must be the name of a link"),
        (lambda: od.MixedModel("y ~ x", offset=3), "offset must be the name of a column"),
        (lambda: od.covariance(MODEL, GUESS, design()).of(lambda b: b["x"] * np.eye(2)), "a number or several"),
    ],
)
def test_wrong_kind_of_argument(ask, words):
    with pytest.raises(od.SpecificationError, match=words):
        ask()


def test_a_series_of_nominal_values_goes_by_its_names():
    named = od.NominalValues(pd.Series({"x": 0.3, "Intercept": -1.0}), {"g": 0.3})
    listed = od.NominalValues([-1.0, 0.3], {"g": 0.3})
    found = [od.covariance(MODEL, guess, design()).matrix for guess in (named, listed)]
    assert (found[0] == found[1]).all()
    assert od.NominalValues(pd.Series([-1.0, 0.3])).beta == (-1.0, 0.3)
