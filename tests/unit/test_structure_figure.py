"""Patterns of V, Z and the Cholesky factor of nested and crossed layouts: the numbers printed are dense algebra's."""

import numpy as np
import pytest

import optdesign as od
from optdesign import plotting

OBSERVATION = np.arange(36)
LAYOUTS = {
    "classes in schools": {"school": OBSERVATION // 9, "class": OBSERVATION // 3},
    "subjects by items": {"subject": OBSERVATION // 4, "item": OBSERVATION % 4},
    "some items": {"subject": np.repeat(np.arange(6), 2), "item": [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 0]},
    "rows fewer than columns": {"row": np.repeat(list("ab"), 5), "column": np.tile(list("vwxyz"), 2)},
    "one factor": {"patient": np.repeat([7, 3, 5], [4, 1, 2])},
}


def indicators(labels):
    return np.asarray(labels)[:, None] == np.unique(labels)


def titles(units):
    figure = plotting.layout_patterns({"here": units})
    return [ax.get_title(loc="left") for ax in figure.axes]


@pytest.mark.parametrize("units", LAYOUTS.values(), ids=LAYOUTS)
def test_numbers_are_those_of_dense_matrices(units):
    blocks = sorted((indicators(labels) for labels in units.values()), key=lambda Z: -Z.shape[1])
    Z = np.hstack(blocks).astype(float)
    # Weights without common divisors: no entry of the factor is zero by accident.
    weight = np.sqrt(2.0 + np.modf(np.sqrt(np.arange(1.0, len(Z) + 1.0)))[0])
    gram = (Z * weight[:, None]).T @ Z + np.eye(Z.shape[1])
    lower = np.abs(np.linalg.cholesky(0.5 * (gram + gram.T))) > 1e-9
    V = Z @ Z.T + np.eye(len(Z))
    fill = lower.sum() - (np.tril(gram) != 0).sum()
    of_v, of_z, of_factor = titles(units)
    assert of_v == f"V = ZGZᵀ + R: {(V > 0).sum():,} of {V.size:,} not zero"
    assert of_z == f"Z: {(Z > 0).sum()} of {Z.size} not zero"
    assert of_factor == f"LLᵀ = ZᵀZ + I: {lower.sum()} of {np.tri(len(gram)).sum():.0f}, {fill} filled in"


@pytest.mark.parametrize(("rows", "columns"), [(9, 4), (3, 8)])
def test_complete_crossing_fills_the_triangle_of_the_smaller_factor(rows, columns):
    """V links mn(m + n − 1) pairs; the factor has the larger side, all cells, and the whole triangle of the smaller."""
    row, column = np.repeat(np.arange(rows), columns), np.tile(np.arange(columns), rows)
    of_v, _, of_factor = titles({"row": row, "column": column})
    small, large = sorted((rows, columns))
    entries = large + rows * columns + small * (small + 1) // 2
    assert f" {rows * columns * (rows + columns - 1):,} of {(rows * columns) ** 2:,} " in of_v
    assert f": {entries} of " in of_factor
    assert of_factor.endswith(f", {small * (small - 1) // 2} filled in")


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_nesting_of_any_depth_fills_nothing(depth):
    units = {f"level {k}": np.arange(81) // 3 ** (4 - k) for k in range(1, depth + 1)}
    assert titles(units)[2].endswith(", 0 filled in")


def test_a_line_of_panels_per_layout():
    figure = plotting.layout_patterns({name: LAYOUTS[name] for name in ("classes in schools", "subjects by items")})
    assert [part.get_suptitle() for part in figure.subfigs] == ["classes in schools", "subjects by items"]
    assert len(figure.axes) == 6
    nested, crossed = ([text.get_text() for text in part.legends[0].get_texts()] for part in figure.subfigs)
    assert nested == ["same school", "same class", "itself", "not zero in ZᵀZ", "filled in"]
    assert crossed == ["same subject", "same item", "itself", "not zero in ZᵀZ", "filled in"]


def test_images_hold_the_entries_that_are_counted():
    figure = plotting.layout_patterns({"here": LAYOUTS["subjects by items"]})
    of_v, of_z, of_factor = (np.asarray(ax.get_images()[0].get_array()) for ax in figure.axes)
    subject, item = LAYOUTS["subjects by items"].values()
    linked = (subject[:, None] == subject) | (item[:, None] == item)
    np.testing.assert_array_equal(of_v >= 0, linked)
    np.testing.assert_array_equal(of_z[:, :9] == 0, indicators(subject))
    np.testing.assert_array_equal(of_z[:, 9:] == 1, indicators(item))
    assert (of_factor == 1).sum() == 6


def test_files_are_the_same_each_time(tmp_path):
    first, second = (plotting.save(plotting.layout_patterns(LAYOUTS), tmp_path / name) for name in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


@pytest.mark.parametrize(
    ("units", "words"),
    [({"row": [0, 1], "column": [0]}, "got 2 for 'row', 1 for 'column'"), ({}, "got no factor")],
)
def test_units_that_do_not_match(units, words):
    with pytest.raises(od.SpecificationError, match=words):
        plotting.layout_patterns({"here": units})
