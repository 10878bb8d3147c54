"""Designs, design spaces, and the rows they become."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from optdesign import Candidates, Cost, Design, DesignSpace, Group, Measure, Nested, Share
from optdesign.errors import SpecificationError

LAYOUT = Nested("g")
X = Measure.grid(x=[0, 1], weights=[1, 3])


def shorthand(**changes):
    keywords = {
        "counts": {"g": 60},
        "replicates": 8,
        "measure": Measure.grid(t=[0, 1], x=[0, 1, 2]),
        "levels": {"t": "g"},
    }
    return Design(LAYOUT, **(keywords | changes))


def test_shorthand_splits_units_by_unit_level_covariates():
    groups = shorthand(measure=Measure.grid(t=[0, 1], x=[0, 1], weights=[1, 2, 4, 1])).groups
    assert [(g.count, dict(g.at)) for g in groups] == [(pytest.approx(22.5), {"t": 0}), (pytest.approx(37.5), {"t": 1})]
    np.testing.assert_allclose(groups[0].measure.weights, [1 / 3, 2 / 3])
    np.testing.assert_allclose(groups[1].measure.weights, [0.8, 0.2])


def test_shorthand_without_unit_level_covariates_is_one_group():
    (group,) = shorthand(levels=None).groups
    assert group.count == 60
    assert len(group.measure.points) == 6


def test_totals():
    design = Design(LAYOUT, [Group(3, 4, X), Group(2, 5.5, X)])
    assert (design.units, design.observations) == (5, 23)
    counts, totals = design.masses
    np.testing.assert_array_equal(counts, [3, 2])
    np.testing.assert_allclose(totals, [3, 9, 2.75, 8.25])


def test_scaling():
    design = shorthand().scaled(counts=2, replicates=0.5)
    assert (design.units, design.observations) == (120, 480)


def test_a_model_without_units_needs_replicates_only():
    design = Design(None, replicates=30, measure=X)
    assert design.observations == 30


def test_region_of_a_design_has_a_type_per_group_and_an_atom_per_point():
    region = shorthand().region
    assert (region.n_types, region.n_atoms) == (2, 6)
    np.testing.assert_array_equal(region.block, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(region.type_of_atom, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(region.share, 1)
    assert region.types["t"].tolist() == [0, 1]


def test_region_unites_the_levels_of_all_groups():
    groups = [Group(1, 2, at={"arm": arm}) for arm in ("placebo", "active")]
    assert list(Design(LAYOUT, groups).region.frame["arm"].cat.categories) == ["active", "placebo"]


def space(**changes):
    keywords = {"layout": LAYOUT, "candidates": Candidates.grid(t=[0, 1], x=[0, 1, 2]), "levels": {"t": "g"}}
    return DesignSpace(**(keywords | changes))


def test_region_of_a_space_has_a_type_per_unit_level_value():
    region = space().region
    assert (region.n_types, region.n_atoms, len(region.frame)) == (2, 6, 6)
    assert region.types["t"].tolist() == [0, 1]


def atoms_are_candidates(region, candidates):
    """Atom a is candidate a, whatever the order of the rows."""
    for name in candidates.points:
        np.testing.assert_array_equal(region.frame[name], candidates.points[name].to_numpy()[region.atom])


def test_region_with_a_covariate_observed_at_every_observation():
    """One block per type; every atom is spread over the observed law."""
    observed = Measure.grid(w=[0, 5], weights=[1, 3])
    chosen = space(observed=observed)
    region = chosen.region
    assert (region.n_types, region.n_atoms, len(region.prob)) == (2, 6, 2)
    np.testing.assert_array_equal(region.prob, 1)
    atoms_are_candidates(region, chosen.candidates)
    np.testing.assert_allclose(region.share, np.where(region.frame["w"] == 0, 0.25, 0.75))
    np.testing.assert_allclose(region.atom_mean(np.ones(12)), 1)
    np.testing.assert_allclose(region.atom_mean(region.frame["w"].to_numpy(float)), 3.75)


def test_region_with_a_covariate_observed_at_every_unit():
    """A block per type and observed value, holding its share of the type's units."""
    chosen = space(observed=Measure.grid(w=[0, 5], weights=[1, 3]), levels={"t": "g", "w": "g"})
    region = chosen.region
    assert (region.n_types, region.n_atoms, len(region.prob)) == (2, 6, 4)
    np.testing.assert_array_equal(region.unit, [0, 0, 1, 1])
    np.testing.assert_allclose(region.prob, [0.25, 0.75, 0.25, 0.75])
    atoms_are_candidates(region, chosen.candidates)
    np.testing.assert_allclose(region.share, 1)
    for block in range(4):
        rows = region.frame[region.block == block]
        assert rows["t"].nunique() == rows["w"].nunique() == 1
    np.testing.assert_allclose(region.atom_mean(region.frame["w"].to_numpy(float)), 3.75)
    np.testing.assert_allclose(region.type_mean(region.frame["w"].to_numpy(float), "w"), 3.75)


def test_region_with_observed_covariates_of_both_kinds():
    """Dependent ones: the law of the observation-level covariate within a unit is conditional on the unit's value."""
    observed = Measure(pd.DataFrame({"w": [0, 0, 5], "s": [1, 2, 2]}), np.array([1.0, 1.0, 2.0]))
    region = space(observed=observed, levels={"t": "g", "w": "g"}).region
    assert (region.n_types, region.n_atoms, len(region.prob)) == (2, 6, 4)
    np.testing.assert_allclose(region.prob, 0.5)
    np.testing.assert_allclose(region.share, np.where(region.frame["w"] == 0, 0.5, 1.0))
    np.testing.assert_allclose(region.atom_mean(region.frame["s"].to_numpy(float)), 1.75)


def test_candidates_in_any_order_keep_their_atoms():
    frame = pd.DataFrame({"t": [1, 0, 1, 0], "x": [5, 6, 7, 8]})
    candidates = Candidates.from_frame(frame)
    region = space(candidates=candidates, observed=Measure.grid(w=[0, 1])).region
    atoms_are_candidates(region, candidates)
    np.testing.assert_array_equal(region.types["t"].to_numpy()[region.type_of_atom], frame["t"])


def test_quantity_that_varies_within_a_unit():
    region = shorthand().region
    with pytest.raises(SpecificationError, match=r"price varies within a unit\..*levels=\{'covariate': 'factor'\}"):
        region.type_mean(region.frame["x"].to_numpy(float), "price")


def test_spend_is_fixed_plus_units_plus_observations():
    cost = Cost(units={"g": "900 + 400*t"}, observation="40 + x", fixed=1000)
    design = Design(LAYOUT, [Group(10, 4, X, {"t": 0}), Group(5, 8, X, {"t": 1})])
    assert design.spend(cost) == pytest.approx(1000 + 10 * 900 + 5 * 1300 + 80 * 40.75)


def test_price_of_a_unit_may_not_vary_within_it():
    with pytest.raises(SpecificationError, match=r"cost: units\['g'\] varies within a unit"):
        shorthand().spend(Cost(units={"g": "x"}))


def test_design_with_observed_covariates_is_the_space_at_those_masses():
    observed = Measure.grid(w=[0, 5], weights=[1, 3])
    design = shorthand(observed=observed, levels={"t": "g", "w": "g"})
    region = design.region
    assert (region.n_types, region.n_atoms, len(region.prob)) == (2, 6, 4)
    assert design.spend(Cost(units={"g": "w"}, observation="w")) == pytest.approx(3.75 * (60 + 480))
    assert design.scaled(counts=2).region.n_atoms == 6


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, None, "a", [1]])
@pytest.mark.parametrize("place", ["count", "replicates"])
def test_a_group_has_positive_finite_numbers(place, bad):
    with pytest.raises(SpecificationError, match=rf"{place} of a group must be a positive finite number; got"):
        Group(**{"count": 1, "replicates": 1, place: bad})


def test_a_covariate_is_within_or_between_units():
    with pytest.raises(SpecificationError, match="'x' are given both within and between units"):
        Group(1, 1, X, {"x": 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Design(LAYOUT, []), "at least one group"),
        (lambda: Design(LAYOUT), "needs replicates="),
        (lambda: Design(LAYOUT, counts={"h": 1}, replicates=2), r"number of units of 'g'; got \{'h': 1\}"),
        (lambda: Design(LAYOUT, replicates=2), "number of units of 'g'"),
        (lambda: Design(None, counts={"g": 1}, replicates=2), "counts need a layout"),
        (lambda: shorthand(levels={"tt": "g"}), r"levels names 'tt'.*Did you mean 't'\?"),
        (lambda: shorthand(levels={"t": "h"}), "levels puts 't' at 'h', which is not a factor of the layout: 'g'"),
        (lambda: Design(LAYOUT, [Group(1, 1)], counts={"g": 1}), "not both"),
        (lambda: Design(LAYOUT, [Group(1, 1, X), Group(1, 1)]), "every group must give every covariate; 'x'"),
        (
            lambda: Design(LAYOUT, [Group(1, 1, X)], observed=Measure.grid(x=[1])),
            "'x' cannot be both chosen and observed",
        ),
    ],
)
def test_designs_that_are_not_well_formed(make, message):
    with pytest.raises(SpecificationError, match=message):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observed": Measure.grid(x=[1])}, "'x' cannot be both chosen and observed"),
        ({"levels": {"z": "g"}}, "levels names 'z', which is not a covariate"),
        ({"levels": {"t": "clinic"}}, "not a factor of the layout"),
        ({"counts": {"h": 3}}, "counts names 'h'; the factors are 'g'"),
        ({"counts": {"g": (3, 1)}}, r"counts\['g'\] must satisfy 0 ≤ lowest ≤ highest; got \(3, 1\)"),
        ({"counts": {"g": (1, 2, 3)}}, r"counts\['g'\] must be a number or a pair"),
        ({"counts": {"g": "many"}}, r"counts\['g'\] must be a number or a pair"),
        ({"replicates": (-1, 3)}, "replicates must satisfy"),
        ({"replicates": (np.nan, 3)}, "replicates must satisfy"),
        ({"replicates": None}, "replicates must be a number or a pair"),
        ({"at_most": 0}, "at_most must be a whole number of at least 1, or None; got 0"),
        ({"at_most": 1.5}, "at_most must be a whole number"),
        ({"constraints": [3]}, "constraints.*Share"),
    ],
)
def test_spaces_that_are_not_well_formed(changes, message):
    with pytest.raises(SpecificationError, match=message):
        space(**changes)


def test_bounds_of_a_space():
    chosen = space(counts={"g": 12}, replicates=(2, 9))
    assert chosen.count_bounds("g") == (12, 12)
    assert chosen.replicate_bounds == (2, 9)
    assert space().count_bounds("g") == (0, np.inf)


def test_share_holds_where_its_condition_does():
    frame = pd.DataFrame({"t": [0, 1], "arm": pd.Categorical(["a", "b"])})
    np.testing.assert_array_equal(Share("t == 0", at_least=0.3).holds(frame), [1, 0])
    np.testing.assert_array_equal(Share("arm == 'b'", at_most=0.3).holds(frame), [0, 1])


@pytest.mark.parametrize("bounds", [(0.6, 0.4), (-0.1, 1), (0, 1.1), (np.nan, 1), ("low", 1)])
def test_bounds_of_a_share(bounds):
    with pytest.raises(SpecificationError, match=r"Share\('t == 0'\): bounds must satisfy 0 ≤ at_least ≤ at_most ≤ 1"):
        Share("t == 0", *bounds)


def test_condition_that_cannot_be_evaluated():
    with pytest.raises(SpecificationError, match=r"constraint: the expression 'q == 1' cannot be evaluated.*'t'"):
        Share("q == 1").holds(pd.DataFrame({"t": [0]}))


def test_condition_that_is_a_number_and_not_a_statement():
    with pytest.raises(SpecificationError, match=r"'t \+ 5'"):
        Share("t + 5").holds(pd.DataFrame({"t": [0]}))


@pytest.mark.parametrize("factors", [(), ("g", "g"), (1,), ("",), (None,)])
def test_layout_needs_names(factors):
    with pytest.raises(SpecificationError, match="Nested needs distinct factor names, outermost first; got"):
        Nested(*factors)


def test_layouts_are_values():
    assert Nested("school", "class") == Nested("school", "class")
    assert repr(Nested("school", "class")) == "Nested('school', 'class')"


def test_designs_cannot_be_changed():
    at = {"t": 0}
    group = Group(1, 2, X, at)
    at["t"] = 5
    unit_level = group.at
    assert unit_level["t"] == 0
    with pytest.raises(TypeError):
        unit_level["t"] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        group.count = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        shorthand().groups = ()
    with pytest.raises(TypeError):
        space().levels["x"] = "g"


def test_prints():
    text = repr(shorthand())
    assert text.splitlines()[0] == "Design(Nested('g'), 60 units, 480 observations)"
    assert "<table" in shorthand()._repr_html_()
    frame = shorthand().to_frame()
    assert frame.columns.tolist() == ["group", "t", "count", "replicates", "x", "share", "observations"]
    assert frame["observations"].sum() == pytest.approx(480)
