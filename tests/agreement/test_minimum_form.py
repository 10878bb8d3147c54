"""Information matrices against the partial minimum that defines them, and their derivatives against differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optdesign import Candidates, Design, DesignSpace, Group, Measure, MixedModel, Nested, NominalValues
from optdesign.covariance.encoded import encode
from optdesign.covariance.nested import information_of
from tests.oracles import quadratic_form_information, relative_difference

ORDERS = ["leading", "two-term", "averaged"]
INTERCEPT = ("y ~ x + (1 | g)", [-0.4, 0.7], [[0.8]])
SLOPE = ("y ~ x + (1 + x | g)", [-0.4, 0.7], [[0.8, 0.2], [0.2, 0.5]])
WITH_FIXED_SLOPE = ("y ~ x + v + (1 + x | g)", [-0.4, 0.7, 0.3], [[0.8, 0.2], [0.2, 0.5]])
NO_INTERCEPT = ("y ~ x + v + (0 + v | g)", [-0.4, 0.7, 0.3], [[0.6]])
CASES = [INTERCEPT, SLOPE, WITH_FIXED_SLOPE, NO_INTERCEPT]
FAMILIES = ["poisson", "bernoulli", "gaussian"]
NODES = 6


def space(observed=None, levels=None):
    """Unit-level arm a, within-unit x and v."""
    return DesignSpace(
        Nested("g"),
        Candidates.grid(a=[0, 1], x=[-1, 0, 1.5], v=[0, 1]),
        observed=observed,
        levels={"a": "g"} | (levels or {}),
    )


def encoded(case, family, region, nodes=NODES):
    formula, beta, sigma = case
    return encode(MixedModel(formula, family), NominalValues(beta, {"g": sigma}, dispersion=1.0), region, nodes)


def random_masses(region, seed):
    draw = np.random.default_rng(seed)
    return draw.uniform(0.5, 3.0, region.n_types), draw.uniform(0.5, 4.0, region.n_atoms)


def brute_force(rows, counts, totals, order):
    region, total = rows.region, 0.0
    for block, (unit, prob) in enumerate(zip(region.unit, region.prob, strict=True)):
        at = np.flatnonzero(region.block == block)
        mass = totals[region.atom[at]] * prob * region.share[at]
        total = total + quadratic_form_information(
            rows.X[at], rows.Z[at], rows.weight[:, at], rows.node_weight, mass, counts[unit] * prob, rows.sigma, order
        )
    return total


OBSERVED = Measure.grid(w=[0, 1, 3], s=[-1, 1], weights=[1, 2, 3, 1, 1, 2])


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_information_is_the_partial_minimum(case, family, order):
    region = space().region
    rows, masses = encoded(case, family, region), random_masses(region, 1)
    ours = information_of(rows, order).whole.at(*masses).information
    assert relative_difference(ours, brute_force(rows, *masses, order)) < 1e-10


@pytest.mark.parametrize("order", ["two-term", "averaged"])
@pytest.mark.parametrize("levels", [{}, {"w": "g"}], ids=["drawn per observation", "drawn per unit"])
def test_information_with_observed_covariates(order, levels):
    case = ("y ~ x + a + w + (1 + x | g)", [-0.4, 0.7, 0.2, 0.3], [[0.8, 0.2], [0.2, 0.5]])
    region = space(OBSERVED, levels).region
    rows, masses = encoded(case, "poisson", region), random_masses(region, 2)
    ours = information_of(rows, order).whole.at(*masses).information
    assert relative_difference(ours, brute_force(rows, *masses, order)) < 1e-10


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", [INTERCEPT, SLOPE, WITH_FIXED_SLOPE], ids=lambda c: c[0])
def test_leading_information_is_its_two_parts(case, family):
    """m Σ⁻¹ for the coefficients with a partner, E{H_BB − H_BA H_AA⁻¹ H_AB} for the others, nothing between."""
    region = space().region
    rows, (counts, totals) = encoded(case, family, region), random_masses(region, 3)
    r, p = rows.Z.shape[1], rows.X.shape[1]
    expected = np.zeros((p, p))
    expected[:r, :r] = counts.sum() * np.linalg.inv(rows.sigma)
    for block in range(len(region.unit)):
        at = np.flatnonzero(region.block == block)
        for q, share in enumerate(rows.node_weight):
            x, mass = rows.X[at], totals[region.atom[at]] * rows.weight[q, at]
            H = x.T @ (x * mass[:, None])
            expected[r:, r:] += share * (H[r:, r:] - H[r:, :r] @ np.linalg.solve(H[:r, :r], H[:r, r:]))
    ours = information_of(rows, "leading").whole.at(counts, totals).information
    assert relative_difference(ours, expected) < 1e-10


def located(function, region, z):
    return function.at(z[: region.n_types], z[region.n_types :])


def point_and_masses(case, family, order, observed=None, levels=None, seed=4):
    region = space(observed, levels).region
    function = information_of(encoded(case, family, region), order).whole
    return function, region, np.concatenate(random_masses(region, seed))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_gradients_against_central_differences(case, family, order):
    function, region, z = point_and_masses(case, family, order)
    point = located(function, region, z)
    ours = np.concatenate([point.unit_gradients(), point.atom_gradients()])
    step = 1e-5 * np.eye(len(z))
    theirs = [
        (located(function, region, z + h).information - located(function, region, z - h).information) / 2e-5
        for h in step
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-8 * np.abs(point.information).max())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("levels", [{}, {"w": "g", "s": "g"}], ids=["drawn per observation", "drawn per unit"])
def test_gradients_with_observed_covariates(levels, order):
    case = ("y ~ x + a + w + s + (1 + s | g)", [-0.4, 0.7, 0.2, 0.3, 0.1], [[0.8, 0.2], [0.2, 0.5]])
    function, region, z = point_and_masses(case, "poisson", order, OBSERVED, levels)
    point = located(function, region, z)
    ours = np.concatenate([point.unit_gradients(), point.atom_gradients()])
    theirs = [
        (located(function, region, z + h).information - located(function, region, z - h).information) / 2e-5
        for h in 1e-5 * np.eye(len(z))
    ]
    np.testing.assert_allclose(ours, theirs, atol=1e-8 * np.abs(point.information).max())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: c[0])
def test_curvature_is_minus_half_the_hessian(case, family, order):
    """Of tr(UᵀMU), by central differences of its gradient."""
    function, region, z = point_and_masses(case, family, order)
    U = np.random.default_rng(5).standard_normal((len(case[1]), 2))

    def gradient(at):
        point = located(function, region, at)
        each = np.concatenate([point.unit_gradients(), point.atom_gradients()])
        return np.einsum("ik,aij,jk->a", U, each, U)

    ours = located(function, region, z).curvature(U)
    theirs = np.array([gradient(z + h) - gradient(z - h) for h in 1e-5 * np.eye(len(z))]) / 2e-5
    np.testing.assert_allclose(ours, -0.5 * theirs, atol=1e-7 * max(np.abs(ours).max(), np.abs(gradient(z)).max()))
    assert np.linalg.eigvalsh(ours).min() > -1e-10 * max(np.abs(ours).max(), 1.0)


@given(
    order=st.sampled_from(ORDERS),
    family=st.sampled_from(FAMILIES),
    case=st.sampled_from(CASES),
    factor=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_information_is_homogeneous(order, family, case, factor, seed):
    """M(cz) = cM(z), and so Σ z_i ∂M/∂z_i = M (Euler)."""
    function, region, z = point_and_masses(case, family, order, seed=seed)
    point = located(function, region, z)
    assert relative_difference(located(function, region, factor * z).information / factor, point.information) < 1e-10
    gradients = np.concatenate([point.unit_gradients(), point.atom_gradients()])
    assert relative_difference(np.tensordot(z, gradients, 1), point.information) < 1e-10


@pytest.mark.parametrize("order", ORDERS)
def test_restriction_to_some_atoms_is_the_same_function(order):
    """Atoms left out are held at zero, or the chosen ones are a design of their own."""
    region = space().region
    rows = encoded(WITH_FIXED_SLOPE, "poisson", region)
    atoms = np.flatnonzero(np.arange(region.n_atoms) % 3 != 2)
    counts, totals = random_masses(region, 6)
    held = np.zeros(region.n_atoms)
    held[atoms] = totals[atoms]
    function = information_of(rows, order)
    small = function.restricted(atoms).at(counts, totals[atoms]).information
    assert relative_difference(small, function.whole.at(counts, held).information) < 1e-10


@pytest.mark.parametrize("order", ORDERS)
def test_sensitivities_are_the_traces_of_the_atom_gradients(order):
    """ψ(x) = tr(Uᵀ ∂M/∂μ(x) U)."""
    region = space(OBSERVED, {"w": "g"}).region
    rows = encoded(WITH_FIXED_SLOPE, "poisson", region)
    function = information_of(rows, order)
    point = function.whole.at(*random_masses(region, 7))
    U = np.random.default_rng(8).standard_normal((3, 2))
    expected = np.einsum("ik,aij,jk->a", U, point.atom_gradients(), U)
    np.testing.assert_allclose(function.sensitivities(point, U), expected, rtol=1e-10)


@pytest.mark.parametrize("order", ["two-term", "averaged"])
def test_covariance_of_a_design_is_the_inverse_of_the_sum_over_kinds(order):
    """Through the public function, at its own quadrature: 15 nodes differ from it by less than 1e-7."""
    from optdesign.covariance import covariance

    formula, beta, sigma = SLOPE
    measure = Measure.grid(x=[-1, 0, 1.5], weights=[1, 2, 1])
    design = Design(Nested("g"), [Group(3, 4, measure), Group(5, 6.5, Measure.grid(x=[-1, 0, 1.5]))])
    rows = encoded(SLOPE, "poisson", design.region, 15)
    truth = np.linalg.inv(brute_force(rows, *design.masses, order))
    model, guess = MixedModel(formula, "poisson"), NominalValues(beta, {"g": sigma})
    assert relative_difference(covariance(model, guess, design, order=order).matrix, truth) < 1e-7
