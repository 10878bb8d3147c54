"""Square roots, ranks and inverses that say when they are singular."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optdesign.linalg import inverse_information, psd_root, range_basis, symmetric, unit_diagonal


def random_psd(seed, size, rank):
    root = np.random.default_rng(seed).standard_normal((size, rank))
    return root @ root.T


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), data=st.data())
def test_root_gives_the_matrix_back_with_as_many_columns_as_its_rank(seed, size, data):
    rank = data.draw(st.integers(1, size))
    matrix = random_psd(seed, size, rank)
    root = psd_root(matrix)
    assert root.shape[1] <= rank
    np.testing.assert_allclose(root @ root.T, matrix, atol=1e-9 * np.abs(matrix).max())


def test_root_of_zero_has_no_columns():
    assert psd_root(np.zeros((2, 2))).shape == (2, 0)
    assert psd_root(np.zeros((0, 0))).shape == (0, 0)


@given(seed=st.integers(0, 10_000), size=st.integers(1, 5), data=st.data())
def test_range_basis_is_orthogonal_and_ordered_by_image(seed, size, data):
    rank = data.draw(st.integers(1, size))
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((7, rank)) @ draw.standard_normal((rank, size))
    basis = range_basis(rows)
    np.testing.assert_allclose(basis @ basis.T, np.eye(size), atol=1e-12)
    np.testing.assert_allclose((rows @ basis)[:, rank:], 0, atol=1e-10)


def test_range_basis_with_fewer_rows_than_columns():
    np.testing.assert_allclose(np.abs(range_basis(np.array([[0.0, 3.0]]))[:, 0]), [0, 1])
    assert range_basis(np.zeros((4, 0))).shape == (0, 0)


def test_unit_diagonal_leaves_zeros_alone():
    scaled, scale = unit_diagonal(np.array([[4.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_array_equal(scaled, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(scale, [0.5, 0])


def test_symmetric_part_of_a_stack():
    stack = np.arange(8.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(symmetric(stack)[0], [[0, 1.5], [1.5, 3]])


@given(seed=st.integers(0, 10_000), size=st.integers(1, 6), spread=st.integers(0, 8))
def test_regular_information_is_inverted_whatever_the_units_of_measurement(seed, size, spread):
    units = 10.0 ** np.random.default_rng(seed).uniform(-spread, spread, size)
    information = (random_psd(seed, size, size + 2) + np.eye(size)) * np.outer(units, units)
    covariance, estimable = inverse_information(information)
    assert estimable.all()
    np.testing.assert_allclose(
        (covariance * np.outer(units, units)) @ (information / np.outer(units, units)), np.eye(size), atol=1e-9
    )


def test_singular_information_names_what_is_lost_and_keeps_the_rest():
    rows = np.array([[1.0, 0, 0], [0, 1, 1]])
    covariance, estimable = inverse_information(rows.T @ rows)
    np.testing.assert_array_equal(estimable, [True, False, False])
    assert covariance[0, 0] == pytest.approx(1)
    assert np.isposinf(covariance[[1, 2], [1, 2]]).all()
    assert np.isnan(covariance[1, 2])
    assert np.isnan(covariance[0, 1])


def test_a_coefficient_without_any_information_is_not_estimable():
    covariance, estimable = inverse_information(np.diag([2.0, 0.0]))
    np.testing.assert_array_equal(estimable, [True, False])
    np.testing.assert_array_equal(np.diag(covariance), [0.5, np.inf])
