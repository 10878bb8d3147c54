"""Information of nested factors as a function of the masses: other theories, differences, concavity."""

import numpy as np
import pytest

import optdesign as od
from optdesign.covariance.deeper_information import deeper_information
from optdesign.covariance.encoded import encode
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.nested import information_of
from optdesign.masses import design_of, masses_of
from tests.oracles import clean, loewner_gap, relative_difference

CANDIDATES = od.Candidates.grid(arm=[0, 1], method=[0, 1], x=[-1.0, 0.5, 2.0])
LEVELS = {"arm": "school", "method": "class"}
BETA = [-0.5, 0.6, 0.4, 0.3]
INTERCEPTS = ("y ~ arm + method + x + (1 | school) + (1 | class)", {"school": 0.5, "class": 0.3})
SLOPES = (
    "y ~ arm + method + x + (1 + x | school) + (1 + x | class)",
    {"school": [[0.5, 0.1], [0.1, 0.2]], "class": [[0.3, -0.1], [-0.1, 0.25]]},
)
INNER_ONLY = ("y ~ arm + method + x + (1 | class)", {"class": 0.3})


def space(observed=None, levels=None):
    return od.DesignSpace(
        od.Nested("school", "class"), CANDIDATES, observed=observed, levels={**LEVELS, **(levels or {})}
    )


def form_of(case, family="gaussian", nodes=1, chosen=None):
    formula, covariance = case
    model = od.MixedModel(formula, family=family)
    guess = od.NominalValues(BETA, covariance)
    masses = masses_of(chosen or space(), model.factors)
    return deeper_information(labelled_rows(model, guess, masses.points), masses, nodes)


def random_masses(form, seed):
    draw = np.random.default_rng(seed)
    return draw.uniform(0.5, 3.0, form.n_units), draw.uniform(0.5, 4.0, form.n_atoms)


def as_design(classes, per_class, schools=(7.0, 5.0)):
    """Schools of two arms, each with classes of both methods in equal numbers, and the masses of the same design."""
    within = od.Measure.grid(method=[0, 1], x=[-1.0, 0.5, 2.0], weights=[1, 2, 3, 3, 2, 1])
    groups = [od.Group(m, per_class, within, {"arm": a}, {"class": classes}) for a, m in enumerate(schools)]
    design = od.Design(od.Nested("school", "class"), groups, levels={"method": "class"})
    counts = [*schools, *(m * classes / 2 for m in schools for _ in range(2))]
    totals = np.concatenate([m * classes * per_class * within.weights for m in schools])
    return design, np.array(counts), totals


@pytest.mark.parametrize("case", [INTERCEPTS, SLOPES], ids=["intercepts", "slopes"])
def test_gaussian_is_generalised_least_squares(case):
    design, counts, totals = as_design(3.0, 6.0)
    exact = od.covariance(od.MixedModel(case[0]), od.NominalValues(BETA, case[1]), design, "exact")
    found = np.linalg.inv(form_of(case).at(counts, totals).information)
    assert relative_difference(found, exact.matrix) < 1e-10


def test_masses_make_a_design_with_classes_of_unequal_size():
    form, masses = form_of(SLOPES), masses_of(space())
    counts, totals = random_masses(form, 9)
    design = design_of(space(), masses, counts, totals)
    exact = od.covariance(od.MixedModel(SLOPES[0]), od.NominalValues(BETA, SLOPES[1]), design, "exact")
    assert relative_difference(np.linalg.inv(form.at(counts, totals).information), exact.matrix) < 1e-10
    cost = od.Cost(units={"school": "10 + arm", "class": "2 + method"}, observation="1 + x**2")
    prices = (
        masses.unit_prices(cost) @ counts + space().region.atom_mean(cost.of_observations(CANDIDATES.points)) @ totals
    )
    assert design.spend(cost) == pytest.approx(prices, abs=1e-5)


@pytest.mark.parametrize("family", ["gaussian", "poisson", "bernoulli"])
def test_one_factor_is_the_averaged_information(family):
    observed = od.Measure.grid(w=[0, 1, 3], s=[-1, 1], weights=[1, 2, 3, 1, 1, 2])
    chosen = od.DesignSpace(
        od.Nested("g"), od.Candidates.grid(a=[0, 1], x=[-1, 0, 1.5]), observed, levels={"a": "g", "w": "g"}
    )
    model = od.MixedModel("y ~ a + x + w + s + (1 + x | g)", family=family)
    guess = od.NominalValues([-0.5, 0.4, 0.3, 0.1, 0.2], {"g": [[0.6, 0.2], [0.2, 0.3]]})
    masses = masses_of(chosen)
    form = deeper_information(labelled_rows(model, guess, masses.points), masses, 1 if family == "gaussian" else 6)
    counts, totals = random_masses(form, 1)
    rows = encode(model, guess, chosen.region, 6)
    other, mine = information_of(rows, "averaged").whole.at(counts, totals), form.at(counts, totals)
    U = np.random.default_rng(2).standard_normal((5, 2))
    assert relative_difference(mine.information, other.information) < 1e-11
    np.testing.assert_allclose(mine.by_type, other.by_type, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(mine.unit_gradients(), other.unit_gradients(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(mine.atom_gradients(), other.atom_gradients(), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(mine.curvature(U), other.curvature(U), rtol=1e-8, atol=1e-10)


CASES = [
    (INTERCEPTS, "gaussian", 1),
    (SLOPES, "gaussian", 1),
    (INTERCEPTS, "bernoulli", 7),
    (INNER_ONLY, "bernoulli", 7),
    (SLOPES, "poisson", 3),
]


@pytest.mark.parametrize(("case", "family", "nodes"), CASES)
def test_gradients_and_curvature_are_derivatives(case, family, nodes):
    form = form_of(case, family, nodes)
    z = np.concatenate(random_masses(form, 3))
    U = np.random.default_rng(4).standard_normal((len(BETA), 2))
    types = form.n_units

    def at(masses):
        return form.at(masses[:types], masses[types:])

    point = at(z)
    gradients = np.concatenate([point.unit_gradients(), point.atom_gradients()])
    assert relative_difference(np.tensordot(z, gradients, 1), point.information) < 1e-10  # Euler, degree one
    curvature = point.curvature(U)
    for i in np.random.default_rng(5).choice(len(z), 6, replace=False):
        step = np.eye(len(z))[i] * 1e-5 * z[i]
        up, down = at(z + step), at(z - step)
        change = (up.information - down.information) / (2 * step[i])
        np.testing.assert_allclose(change, gradients[i], rtol=1e-6, atol=1e-8)
        slopes = [
            np.einsum("ik,nij,jk->n", U, np.concatenate([p.unit_gradients(), p.atom_gradients()]), U)
            for p in (up, down)
        ]
        second = (slopes[0] - slopes[1]) / (2 * step[i])
        np.testing.assert_allclose(-0.5 * second, curvature[i], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("case", "family", "nodes"), CASES)
def test_information_is_jointly_concave(case, family, nodes):
    form = form_of(case, family, nodes)
    draw = np.random.default_rng(6)
    for _ in range(20):
        first, second = ((draw.lognormal(0, 2, form.n_units), draw.lognormal(0, 2, form.n_atoms)) for _ in range(2))
        middle = form.at(*((a + b) / 2 for a, b in zip(first, second, strict=True))).information
        ends = 0.5 * (form.at(*first).information + form.at(*second).information)
        assert loewner_gap(middle, ends) > -1e-9


def test_a_subset_of_the_atoms_is_the_same_function():
    form = form_of(INTERCEPTS, "bernoulli", 7)
    counts, totals = random_masses(form, 7)
    kept = np.array([0, 2, 4, 5, 7, 8, 10])
    held = np.where(np.isin(np.arange(form.n_atoms), kept), totals, 0.0)
    part, whole = form.restricted(kept).at(counts, totals[kept]), form.at(counts, held)
    assert relative_difference(part.information, whole.information) < 1e-12
    U = np.random.default_rng(8).standard_normal((len(BETA), 3))
    expected = np.einsum("ik,nij,jk->n", U, whole.atom_gradients(), U)
    np.testing.assert_allclose(form.sensitivities(part, U), expected, rtol=1e-9)
    np.testing.assert_allclose(part.atom_gradients(), whole.atom_gradients()[kept], rtol=1e-9, atol=1e-12)


def test_close_to_the_sampled_average_where_schools_hold_many_classes():
    model, guess = od.MixedModel(INTERCEPTS[0], family="bernoulli"), od.NominalValues(BETA, INTERCEPTS[1])
    form = form_of(INTERCEPTS, "bernoulli", 11)
    for classes, allowed in ((2.0, 0.05), (10.0, 0.012)):
        design, counts, totals = as_design(classes, 6.0)
        sampled = od.covariance(model, guess, design, "averaged")
        found = np.linalg.inv(form.at(counts, totals).information)
        ratio = np.diag(found) / np.diag(sampled.matrix)
        assert (ratio < 1.006).all()
        assert np.abs(ratio - 1).max() < allowed


def test_covariates_that_are_observed_split_every_mass():
    """An observed covariate of schools, one of classes and one of pupils: as a design that draws them."""
    observed = od.Measure.grid(s=[0.0, 1.0], c=[0.0, 2.0], v=[-1.0, 1.0], weights=[1, 2, 3, 4, 4, 3, 2, 1])
    levels = {"s": "school", "c": "class"}
    formula = "y ~ arm + s + c + v + (1 + v | school) + (1 | class)"
    model = od.MixedModel(formula)
    guess = od.NominalValues([0.0] * 5, {"school": [[0.5, 0.1], [0.1, 0.2]], "class": 0.3})
    chosen = od.DesignSpace(
        od.Nested("school", "class"), od.Candidates.grid(arm=[0, 1]), observed, levels={"arm": "school", **levels}
    )
    masses = masses_of(chosen)
    form = deeper_information(labelled_rows(model, guess, masses.points), masses, 1)
    groups = [od.Group(m, 8, at={"arm": a}, counts={"class": 3}) for a, m in ((0, 6), (1, 4))]
    design = od.Design(od.Nested("school", "class"), groups, observed=observed, levels=levels)
    found = form.at(np.array([6.0, 4.0, 18.0, 12.0]), np.array([144.0, 96.0]))
    exact = od.covariance(model, guess, design, "exact")
    assert relative_difference(clean(np.linalg.inv(found.information)), clean(exact.matrix)) < 1e-10
    assert relative_difference(np.linalg.inv(found.information), exact.matrix) < 1e-10
