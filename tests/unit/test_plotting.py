import matplotlib
import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign import plotting
from optdesign.optimize.profile import Surface


@pytest.fixture
def ax():
    return plotting.new_axes()[1]


def certificate(points, units, ratio_of_units=1.0):
    """A certificate with rows as given, for figures that only read them."""
    unit_rows = units.assign(kind="unit", sensitivity=0.5, price=0.5, ratio=ratio_of_units, mass=10.0)
    point_rows = points.assign(kind="observation", sensitivity=points["ratio"], price=1.0)
    frame = pd.concat([unit_rows, point_rows], ignore_index=True)
    return od.Certificate(0.9999, frame, 0.0)


DOSES = np.linspace(0.0, 1.0, 41)


def two_arms():
    """A parabola that touches the bound at both ends, in each of two arms."""
    arm = [
        pd.DataFrame({"arm": name, "dose": DOSES, "ratio": 1.0 - height * DOSES * (1.0 - DOSES)})
        for name, height in (("old", 2.0), ("new", 3.0))
    ]
    points = pd.concat(arm, ignore_index=True).assign(base=7.0)
    points["mass"] = np.where(points["dose"].isin([0.0, 1.0]), 5.0, 0.0)
    return certificate(points, pd.DataFrame({"arm": ["old", "new"], "dose": np.nan, "base": np.nan}))


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def lines_of(ax, length):
    return [line for line in ax.get_lines() if len(line.get_xdata()) == length]


# Sensitivity


def test_sensitivity_draws_a_line_for_each_unit_type(ax):
    """Every candidate is on the line of its arm, in the order of the covariate."""
    given = two_arms()
    assert plotting.sensitivity(ax, given) is ax
    old, new = lines_of(ax, len(DOSES))
    np.testing.assert_allclose(old.get_xdata(), DOSES)
    np.testing.assert_allclose(old.get_ydata(), 1.0 - 2.0 * DOSES * (1.0 - DOSES))
    np.testing.assert_allclose(new.get_ydata(), 1.0 - 3.0 * DOSES * (1.0 - DOSES))
    assert labels(ax) == ["arm = old", "arm = new", "in the design", "bound"]
    assert ax.get_xlabel() == "dose"


def test_sensitivity_marks_support_bound_and_units(ax):
    plotting.sensitivity(ax, two_arms())
    support = [line for line in lines_of(ax, 2) if line.get_marker() == "o"]
    assert all(line.get_xdata().tolist() == [0.0, 1.0] for line in support)
    assert len(support) == 2
    bound = [line for line in lines_of(ax, 2) if line.get_label() == "bound"]
    assert list(bound[0].get_ydata()) == [1.0, 1.0]
    units = [line for line in lines_of(ax, 1) if line.get_marker() == "D"]
    assert [line.get_ydata()[0] for line in units] == [1.0, 1.0]
    assert ax.get_xticklabels()[-1].get_text() == "unit"


def test_sensitivity_without_units_has_no_strip(ax):
    points = pd.DataFrame({"dose": DOSES, "ratio": 0.5, "mass": 0.0})
    given = certificate(points, pd.DataFrame({"dose": [np.nan]}))
    given.sensitivities.loc[0, ["price", "sensitivity"]] = 0.0
    plotting.sensitivity(ax, given)
    assert not [line for line in ax.get_lines() if line.get_marker() == "D"]


def test_sensitivity_of_categories_is_a_dot_for_each(ax):
    points = pd.DataFrame({"trt": ["a", "b"], "base": 11.0, "ratio": [1.0, 0.6], "mass": [9.0, 0.0]})
    plotting.sensitivity(ax, certificate(points, pd.DataFrame({"trt": ["a", "b"], "base": np.nan})))
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert shown == ["unit, trt = a", "unit, trt = b", "observation, trt = a", "observation, trt = b"]
    unused, support = (line for line in ax.get_lines() if line.get_marker() == "o")
    assert unused.get_xdata().tolist() == [0.6]
    assert support.get_xdata().tolist() == [1.0, 1.0, 1.0]
    assert labels(ax) == ["in the design", "a candidate only", "bound"]


def test_sensitivity_of_many_categories_shows_the_largest_and_says_so(ax):
    points = pd.DataFrame({"kind_of": [f"k{i}" for i in range(50)], "ratio": np.linspace(0.0, 1.0, 50), "mass": 0.0})
    points.loc[49, "mass"] = 3.0
    plotting.sensitivity(ax, certificate(points, pd.DataFrame({"kind_of": [np.nan]})))
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert len(shown) == plotting.MOST_ROWS
    assert "observation, kind_of = k49" in shown[:2]
    assert "observation, kind_of = k0" not in shown
    assert ax.texts[0].get_text() == "… and 37 more, none of them higher"


def test_sensitivity_of_a_certified_optimum_touches_one_on_the_support(ax):
    space = od.DesignSpace(od.Nested("g"), od.Candidates.grid(x=np.linspace(-1, 1, 21)), replicates=(2, 20))
    model, guess = od.MixedModel("y ~ x + (1 | g)"), od.NominalValues([0.0, 0.0], {"g": 0.5}, 1.0)
    best = od.optimize(model, guess, space, od.DOptimality(), od.Cost({"g": 10}, 1), 1000)
    plotting.sensitivity(ax, best.certificate)
    (curve,) = lines_of(ax, 21)
    assert max(curve.get_ydata()) <= 1.0 + 1e-6
    (support,) = [line for line in ax.get_lines() if line.get_markersize() == 7 and line.get_marker() == "o"]
    np.testing.assert_allclose(support.get_ydata(), 1.0, atol=1e-6)
    np.testing.assert_allclose(support.get_xdata(), [-1.0, 1.0])


# Along the budget


def plan():
    """Ten units with two observations and thirty with six: five on average."""
    return od.Design(od.Nested("g"), [od.Group(10, 2, od.Measure.grid(x=[0])), od.Group(30, 6, od.Measure.grid(x=[0]))])


def marker(ax):
    (star,) = [line for line in ax.get_lines() if line.get_marker() == "*"]
    return float(star.get_xdata()[0]), float(star.get_ydata()[0])


def test_budget_line_marks_the_optimum_at_its_mean_replicates(ax):
    n = np.arange(2.0, 9.0)
    frame = pd.DataFrame({"replicates": n, "units": 60 - 4 * n, "value": 1.0, "efficiency": 1 - 0.01 * (n - 5) ** 2})
    plotting.budget_line(ax, frame.iloc[::-1], plan(), units="patients", replicates="visits per patient")
    (curve,) = lines_of(ax, len(n))
    np.testing.assert_allclose(curve.get_xdata(), n)
    np.testing.assert_allclose(curve.get_ydata(), 1 - 0.01 * (n - 5) ** 2)
    assert marker(ax) == (5.0, 1.0)
    assert ax.get_xlabel() == "visits per patient"
    (top,) = ax.child_axes
    assert top.get_xlabel() == "patients"
    at = dict(zip(ax.get_xticks(), [t.get_text() for t in top.get_xticklabels()], strict=True))
    assert at[5.0] == "40"


def test_budget_line_leaves_out_what_is_not_estimable(ax):
    frame = pd.DataFrame(
        {"replicates": [1.0, 2.0, 3.0], "units": [9.0, 8.0, 7.0], "value": 1.0, "efficiency": [np.nan, 0.9, 0.95]}
    )
    plotting.budget_line(ax, frame, plan())
    assert lines_of(ax, 2)[0].get_xdata().tolist() == [2.0, 3.0]


def test_criterion_surface_marks_the_optimum_and_labels_the_axes(ax):
    m, n = (grid.ravel() for grid in np.meshgrid(np.linspace(20, 60, 9), np.linspace(2, 10, 9)))
    efficiency = m / 40 * (6 / 5) / (1 + 1 / n)
    frame = pd.DataFrame({"units": m, "replicates": n, "value": 1.0, "efficiency": efficiency, "spend": m * (3 + n)})
    plotting.criterion_surface(ax, Surface("units", "replicates", frame, (40.0, 5.0), 320.0), first="clinics")
    assert marker(ax) == (5.0, 40.0)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("observations per unit", "clinics")
    assert labels(ax) == ["efficiency", "the budget", "optimum"]
    limit = np.vstack(ax.collections[-1].get_paths()[0].vertices)
    np.testing.assert_allclose(limit[:, 1] * (3 + limit[:, 0]), 320.0, rtol=0.02)


# Power


def curves():
    units = np.arange(10.0, 101.0, 10.0)
    orders = {"leading": units / 100, "two-term": units / 120}
    return pd.concat([pd.DataFrame({"units": units, "order": k, "power": p}) for k, p in orders.items()])


def test_power_curves_mark_plan_and_wanted(ax):
    plotting.power_curves(ax, curves(), 60, 0.8, units="patients")
    leading, two_term = lines_of(ax, 10)
    np.testing.assert_allclose(leading.get_ydata(), np.arange(0.1, 1.01, 0.1))
    assert leading.get_linestyle() != two_term.get_linestyle()
    assert labels(ax) == ["leading", "two-term", "the plan (60)", "wanted (80 %)"]
    np.testing.assert_allclose([line.get_ydata()[0] for line in lines_of(ax, 1)], [0.6, 0.5])
    assert ax.get_xlabel() == "patients"


def test_power_curves_leave_out_what_has_no_degrees_of_freedom(ax):
    frame = curves().astype({"power": float}).reset_index(drop=True)
    frame.loc[0, "power"] = np.nan
    plotting.power_curves(ax, frame)
    assert len(lines_of(ax, 9)) == 1
    assert labels(ax) == ["leading", "two-term"]


def test_power_curves_over_a_wide_range_have_a_logarithmic_axis(ax):
    units = np.geomspace(3, 3000, 10)
    plotting.power_curves(ax, pd.DataFrame({"units": units, "order": "leading", "power": units / 3000}), 2000)
    assert ax.get_xscale() == "log"
    assert not len(ax.xaxis.get_minorticklocs())


# Designs


def test_design_measure_of_one_number_is_stems(ax):
    design = od.Design(od.Nested("g"), [od.Group(8, 4, od.Measure.grid(x=[0.0, 1.0], weights=[0.25, 0.75]))])
    plotting.design_measure(ax, design, units="clinics")
    (heads,) = ax.get_lines()
    assert heads.get_xdata().tolist() == [0.0, 1.0]
    assert heads.get_ydata().tolist() == [1.0, 3.0]
    assert labels(ax) == ["8 clinics"]


def test_design_measure_of_factors_is_bars(ax):
    groups = [od.Group(42, 4, at={"trt": "placebo"}), od.Group(36, 6, at={"trt": "drug"})]
    plotting.design_measure(ax, od.Design(od.Nested("g"), groups))
    assert [bar.get_width() for bar in ax.patches] == [4.0, 6.0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["42 units, trt = placebo", "36 units, trt = drug"]


# Files


def test_files_are_the_same_every_time_and_settings_are_restored(tmp_path):
    before = dict(matplotlib.rcParams)
    written = []
    for name in ("first", "second"):
        figure, ax = plotting.new_axes()
        plotting.power_curves(ax, curves(), 60, 0.8)
        written.append([path.read_bytes() for path in plotting.save(figure, tmp_path / name)])
    assert written[0] == written[1]
    assert dict(matplotlib.rcParams) == before
    svg = written[0][0].decode()
    assert "two-term" in svg
    assert "<dc:date>" not in svg


@pytest.mark.parametrize("name", ["$x^2$", "a $ b $ c", "_hidden", "<script>", "剂量"])
def test_any_name_is_shown_as_it_is(tmp_path, name):
    """No formula, no legend entry that vanishes, no markup, and no complaint about a missing glyph."""
    figure, ax = plotting.new_axes()
    measure = od.Measure.from_frame(pd.DataFrame({name: [0.0, 1.0]}))
    plotting.design_measure(ax, od.Design(od.Nested("g"), [od.Group(8, 4, measure, {f"{name}2": name})]))
    svg, _ = plotting.save(figure, tmp_path / "figure")
    text = svg.read_text(encoding="utf-8")
    escaped = name.replace("<", "&lt;").replace(">", "&gt;")
    assert f">{escaped}</text>" in text or f"> {escaped}</text>" in text
    assert f"{escaped}2 = {escaped}" in text


def test_pattern_of_the_covariance_matrix_counts_its_entries():
    """Four rows by three columns, once each: V is zero where neither is shared."""
    row, column = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    _, ax = plotting.new_axes()
    assert plotting.covariance_pattern(ax, {"row": row, "column": column}) is ax
    expected = sum((row == row[k]).sum() + (column == column[k]).sum() - 1 for k in range(12))
    assert ax.get_title(loc="left") == f"{expected} of 144 entries not zero"
    image = ax.get_images()[0].get_array()
    assert (image >= 0).sum() == expected
    assert set(image[np.diag_indices(12)]) == {2}
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["same row", "same column", "itself"]


@pytest.mark.parametrize("units", [{}, {"s": []}, {"s": [1, 2], "i": [1]}, {"s": "ab"}, {"s": 3}, [1, 2]])
def test_pattern_needs_one_unit_per_observation(ax, units):
    with pytest.raises(od.SpecificationError, match=r"one unit per observation|unit of each observation"):
        plotting.covariance_pattern(ax, units)


# Layouts of two factors


def layouts():
    """Three layouts over two prices and three variances: the first wins left of the diagonal."""
    losses = np.array([[[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 1.0], [1.0, 1.0]], np.ones((3, 2))])
    names = ("complete crossing", "item in subject", "repeated measures")
    return od.LayoutMap(names, ("subject", "item"), np.array([0.1, 10.0]), np.array([0.5, 1.0, 2.0]), losses)


def test_layout_map_colours_each_place_by_its_best_layout(ax):
    curve = pd.DataFrame({"variance ratio": [1.0, 0.5], "cost ratio": [4.0, 2.0], "higher": "item in subject"})
    assert plotting.layout_map(ax, layouts(), curve) is ax
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array().ravel(), [0, 1, 0, 0, 0, 0])
    assert labels(ax) == ["complete crossing", "item in subject", "break-even"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    (line,) = ax.get_lines()
    assert line.get_ydata().tolist() == [0.5, 1.0]
    assert ax.get_xlabel() == "price of item / price of subject"


def test_layout_map_places_lie_inside_their_cells(ax):
    plotting.layout_map(ax, layouts())
    (mesh,) = ax.collections
    corners = mesh.get_coordinates()
    np.testing.assert_allclose(corners[0, :, 0], [0.01, 1.0, 100.0])
    np.testing.assert_allclose(corners[:, 0, 1], np.sqrt([0.125, 0.5, 2.0, 8.0]))


def test_standard_errors_are_split_by_shares_of_the_variance(ax):
    designs = od.alternatives(
        od.MixedModel("y ~ 1 + (1 | subject) + (1 | item)"),
        od.NominalValues([0.0], {"subject": 0.6, "item": 0.35}, 1.1),
        od.DesignSpace(od.Crossed("subject", "item")),
        od.COptimality({"Intercept": 1.0}),
        od.Cost({"subject": 12.0, "item": 2.0}, observation=0.85),
        500.0,
        layouts=["item in subject", "subject in item"],
    )
    comparison = od.compare(designs)
    plotting.standard_errors(ax, comparison, "Intercept")
    sources = comparison.by_source().xs("Intercept", level="coefficient")
    subject, item, residual = ax.containers
    errors = [bar.get_x() + bar.get_width() for bar in residual]
    np.testing.assert_allclose(errors, sources["standard error"])
    shares = np.array([bar.get_width() for bar in item]) / errors
    np.testing.assert_allclose(shares, sources["from item"] / sources["variance"])
    assert [bar.get_x() for bar in subject] == pytest.approx([0.0, 0.0])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["item in subject", "subject in item"]
    assert labels(ax) == ["from subject", "from item", "from observation"]


def test_sensitivity_of_numbers_is_a_dot_for_each(ax):
    """A crossed certificate has no candidates, but numbers of units, cells and replicates."""
    frame = pd.DataFrame(
        {"kind": ["subject", "item", "replicates"], "sensitivity": [0.6, 0.3, 0.1], "price": [0.6, 0.3, 0.2]}
    )
    frame = frame.assign(ratio=frame["sensitivity"] / frame["price"], mass=[40.0, 20.0, 1.0])
    plotting.sensitivity(ax, od.Certificate(0.9999, frame, 0.0))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["subject", "item", "replicates"]
