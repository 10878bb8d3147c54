"""Laws over covariate points, and the points that may be chosen."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import scipy.stats as st

from optdesign import Candidates, Measure
from optdesign.errors import SpecificationError


def test_grid_is_every_combination_in_order():
    measure = Measure.grid(a=[0, 1], b=["u", "v"])
    assert measure.points.to_numpy().tolist() == [[0, "u"], [0, "v"], [1, "u"], [1, "v"]]
    np.testing.assert_array_equal(measure.weights, [0.25] * 4)


def test_weights_are_scaled_and_points_of_no_weight_dropped():
    measure = Measure.grid(x=[1, 2, 3], weights=[1, 0, 3])
    assert measure.points["x"].tolist() == [1, 3]
    np.testing.assert_array_equal(measure.weights, [0.25, 0.75])


@pytest.mark.parametrize("values", [range(3), (0, 1, 2), np.arange(3), pd.Series([0, 1, 2]), (i for i in range(3))])
def test_values_come_from_anything_that_can_be_listed(values):
    assert Measure.grid(x=values).points["x"].tolist() == [0, 1, 2]


def test_a_measure_without_covariates_is_one_point():
    assert Measure.grid().points.shape == (1, 0)
    assert Candidates.grid().points.shape == (1, 0)


def test_frame_with_equal_rows_is_merged_and_weights_added():
    frame = pd.DataFrame({"x": [1, 2, 1], "arm": ["a", "b", "a"], "share": [1.0, 2.0, 5.0]})
    measure = Measure.from_frame(frame, weights="share")
    assert measure.points["x"].tolist() == [1, 2]
    np.testing.assert_allclose(measure.weights, [0.75, 0.25])
    np.testing.assert_allclose(Measure.from_frame(frame[["x", "arm"]]).weights, [2 / 3, 1 / 3])
    np.testing.assert_allclose(Measure.from_frame(frame[["x"]], [1, 2, 5]).weights, [0.75, 0.25])


def test_index_of_the_frame_does_not_matter():
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 3])
    np.testing.assert_array_equal(Measure.from_frame(frame).points["x"], [1, 2])
    np.testing.assert_array_equal(Candidates.from_frame(frame).points["x"], [1, 2])


def test_product_of_independent_laws():
    product = Measure.grid(x=[0, 1], weights=[1, 3]) * Measure.grid(z=["u", "v"], weights=[1, 1])
    assert product.points.to_numpy().tolist() == [[0, "u"], [0, "v"], [1, "u"], [1, "v"]]
    np.testing.assert_allclose(product.weights, [0.125, 0.125, 0.375, 0.375])


def test_product_with_nothing_is_the_same_law():
    measure = Measure.grid(x=[0, 1], weights=[1, 3])
    for product in (measure * Measure.grid(), Measure.grid() * measure):
        np.testing.assert_array_equal(product.points["x"], [0, 1])
        np.testing.assert_allclose(product.weights, measure.weights)


def test_product_keeps_the_levels_of_text():
    product = Measure.grid(x=[0]) * Measure.grid(arm=["placebo", "active"])
    assert isinstance(product.points["arm"].dtype, pd.CategoricalDtype)


def test_product_of_laws_of_the_same_covariate():
    with pytest.raises(SpecificationError, match="a product needs different covariates; both measures have 'x'"):
        Measure.grid(x=[0]) * Measure.grid(x=[1])


def test_independent_distributions():
    measure = Measure.from_distributions(x=st.uniform(-1, 2), z=st.bernoulli(0.3), nodes=8)
    x, z, weight = measure.points["x"], measure.points["z"], measure.weights
    assert len(weight) == 16
    assert weight @ x**2 == pytest.approx(1 / 3, rel=1e-12)
    assert weight @ z == pytest.approx(0.3, rel=1e-12)
    assert weight @ (x**2 * z) == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize(
    ("law", "mean", "variance"),
    [
        (st.gamma(7, scale=0.5), 3.5, 1.75),
        (st.norm(-2, 3), -2, 9),
        (st.beta(2, 5), 2 / 7, 10 / 392),
        (st.uniform(3, 4), 5, 16 / 12),
        (st.lognorm(0.4), np.exp(0.08), np.expm1(0.16) * np.exp(0.16)),
        (st.bernoulli(0.2), 0.2, 0.16),
        (st.poisson(4.5), 4.5, 4.5),
    ],
    ids=lambda v: v.dist.name if hasattr(v, "dist") else "",
)
def test_mean_and_variance_of_distributions(law, mean, variance):
    measure = Measure.from_distributions(x=law)
    x, weight = measure.points["x"], measure.weights
    assert weight @ x == pytest.approx(mean, rel=1e-12)
    assert weight @ (x - mean) ** 2 == pytest.approx(variance, rel=1e-12)


@pytest.mark.parametrize("law", [st.cauchy(), st.t(2), st.pareto(2)])
def test_law_without_a_variance_is_refused(law):
    with pytest.raises(SpecificationError, match=r"has no finite variance, so no covariance exists.*truncate it"):
        Measure.from_distributions(x=law)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, None])
@pytest.mark.parametrize(("make", "what"), [(Measure.from_frame, "measure"), (Candidates.from_frame, "candidates")])
def test_points_are_finite(make, what, bad):
    with pytest.raises(
        SpecificationError, match=rf"{what}: column 'x' has the value \S+ in row 2; every value must be fin"
    ):
        make(pd.DataFrame({"x": [1.0, bad, 2.0]}))


@pytest.mark.parametrize("make", [Measure.from_frame, Candidates.from_frame])
def test_missing_text_is_refused(make):
    with pytest.raises(SpecificationError, match=r"column 'arm' has the value .* in row 2"):
        make(pd.DataFrame({"arm": ["a", None]}))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1], r"2 points need as many weights; got shape \(1,\)"),
        ([1, -1], "finite, not negative, and not all zero"),
        ([1, np.nan], "finite, not negative, and not all zero"),
        ([1, np.inf], "finite, not negative, and not all zero"),
        ([0, 0], "finite, not negative, and not all zero"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(SpecificationError, match=message):
        Measure.grid(x=[0, 1], weights=weights)
    with pytest.raises(SpecificationError, match="weights"):
        Measure.from_frame(pd.DataFrame({"x": [0, 1]}), weights)


def test_weights_column_that_is_not_there():
    with pytest.raises(
        SpecificationError, match=r"weights='shares' is not a column: 'x', 'share'\. Did you mean 'share'\?"
    ):
        Measure.from_frame(pd.DataFrame({"x": [0], "share": [1]}), weights="shares")


@pytest.mark.parametrize("make", [Measure.from_frame, Candidates.from_frame])
def test_empty_frame(make):
    with pytest.raises(SpecificationError, match="at least one point; the frame is empty"):
        make(pd.DataFrame({"x": []}))


@pytest.mark.parametrize(
    ("values", "message"), [("abc", "needs a list of values; got 'abc'"), (3, "got 3"), ([], "has no values")]
)
@pytest.mark.parametrize("kind", [Measure, Candidates])
def test_values_that_are_no_list(kind, values, message):
    with pytest.raises(SpecificationError, match=f"'x' .*{message}"):
        kind.grid(x=values)


@pytest.mark.parametrize(
    ("values", "note"), [([1, 1, 2], "1 duplicate candidate point merged."), ([1] * 4, "3 duplicate")]
)
def test_duplicate_candidates_are_merged_with_a_note(values, note):
    candidates = Candidates.grid(x=values)
    assert candidates.points["x"].is_unique
    assert candidates.notes[0].startswith(note)


def test_candidates_without_duplicates_have_no_note():
    assert Candidates.grid(x=[1, 2], arm=["a", "b"]).notes == ()


def test_candidates_keep_the_order_of_their_frame():
    assert Candidates.from_frame(pd.DataFrame({"x": [3, 1, 3, 2]})).points["x"].tolist() == [3, 1, 2]


def test_measures_cannot_be_changed():
    frame = pd.DataFrame({"x": [0.0, 1.0]})
    weights = np.array([1.0, 3.0])
    measure = Measure(frame, weights)
    frame.loc[0, "x"], weights[0] = 9.0, 9.0
    np.testing.assert_array_equal(measure.points["x"], [0, 1])
    np.testing.assert_array_equal(measure.weights, [0.25, 0.75])
    with pytest.raises(ValueError, match="read-only"):
        measure.weights[0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        measure.weights = weights


def test_prints():
    measure, candidates = Measure.grid(x=[0, 1]), Candidates.grid(x=range(40))
    assert repr(measure).splitlines()[0] == "Measure of 2 points"
    assert "weight" in repr(measure)
    assert "<table" in measure._repr_html_()
    assert repr(candidates).splitlines()[0] == "Candidates of 40 points"
    assert len(repr(candidates).splitlines()) < 20
    assert measure.to_frame().columns.tolist() == ["x", "weight"]


def test_a_region_has_intervals_and_lists():
    region = Candidates.region(x=(-1, 1), z=(0, 5), arm=["a", "b"])
    assert dict(region.intervals) == {"x": (-1.0, 1.0), "z": (0.0, 5.0)}
    assert len(region.points) == 45 * 45 * 2
    assert repr(region) == (
        "CandidateRegion(x from -1 to 1, z from 0 to 5, arm in ['a', 'b']; a grid of 4050 points to start from)"
    )


def test_a_coarser_region_keeps_its_ends_and_its_reference():
    region = Candidates.region(x=(-1, 1), z=(0, 5))
    coarser = region.coarser(["z"], 25)
    assert coarser.points["z"].nunique() == 23
    assert coarser.points["x"].nunique() == 45
    assert (coarser.points["z"].min(), coarser.points["z"].max()) == (0.0, 5.0)
    assert len(coarser.reference) == 45 * 45
    assert len(region.coarser([], 25).points) == 45 * 45


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": [0, 1]}, r"a region needs an interval for at least one covariate, such as x=\(-1, 1\)"),
        ({"x": (1, 1)}, r"'x' needs an interval \(lowest, highest\) with lowest < highest.*got \(1, 1\)"),
        ({"x": (0, 1, 2)}, r"'x' needs an interval .*or a list of values; got \(0, 1, 2\)"),
        ({"x": (0, np.inf)}, r"'x' needs an interval"),
        ({"x": (0, 1), "arm": []}, r"'arm' has no values"),
    ],
)
def test_bad_regions_are_refused(values, message):
    with pytest.raises(SpecificationError, match=message):
        Candidates.region(**values)
