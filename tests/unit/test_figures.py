"""Figures of surfaces, frontiers, accuracy, robustness, V and joint regions, against numbers worked out by hand."""

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import optdesign as od
from optdesign import plotting
from optdesign.optimize.profile import Surface
from optdesign.plotting.house import SERIES

MEAN = od.MixedModel("y ~ 1 + (1 | clinic)")
GUESS = od.NominalValues([0.0], {"clinic": 0.2}, 0.8)
COST = od.Cost(units={"clinic": 50.0}, observation=1.0)


@pytest.fixture
def ax():
    return plotting.new_axes()[1]


@pytest.fixture(scope="module")
def best():
    return od.optimize(MEAN, GUESS, od.DesignSpace(od.Nested("clinic")), od.COptimality({"Intercept": 1}), COST, 10_000)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


# Surfaces


def test_surface_of_a_mean_is_its_formula(best):
    """Var = (σ_c² + σ²/n)/m, and the optimum of Cochran: n = √(c_u σ²/(c_o σ_c²)) = √(50·0.8/0.2)."""
    surface = od.criterion_surface(best, [20.0, 80.0], [5.0, 25.0])
    np.testing.assert_allclose(
        surface.frame["value"], (0.2 + 0.8 / surface.frame["replicates"]) / surface.frame["units"]
    )
    np.testing.assert_allclose(surface.frame["spend"], surface.frame["units"] * (50 + surface.frame["replicates"]))
    n = np.sqrt(50 * 0.8 / 0.2)
    np.testing.assert_allclose(surface.optimum, (10_000 / (50 + n), n), rtol=1e-5)


def test_surface_of_a_crossed_mean_is_its_formula():
    """Var = σ_r²/m + σ_c²/m' + σ²/(m m')."""
    space = od.DesignSpace(od.Crossed("reader", "image"), replicates=1)
    model, guess = (
        od.MixedModel("y ~ 1 + (1 | reader) + (1 | image)"),
        od.NominalValues([0], {"reader": 0.1, "image": 0.4}, 0.5),
    )
    cost = od.Cost({"reader": 120, "image": 15}, observation=2)
    found = od.optimize(model, guess, space, od.COptimality({"Intercept": 1}), cost, 5_000, order="exact")
    frame = od.criterion_surface(found, [4.0, 10.0], [30.0, 60.0]).to_frame()
    m, k = frame["reader"], frame["image"]
    np.testing.assert_allclose(frame["value"], 0.1 / m + 0.4 / k + 0.5 / (m * k), rtol=1e-9)
    np.testing.assert_allclose(frame["spend"], 120 * m + 15 * k + 2 * m * k)


@pytest.mark.parametrize("space", [od.DesignSpace(None), od.DesignSpace(od.Nested("school", "class"))])
def test_no_surface_where_there_is_no_pair_of_numbers(space):
    factors = space.layout.factors if space.layout else ()
    model = od.MixedModel(" + ".join(["y ~ 1", *(f"(1 | {f})" for f in factors)]))
    guess = od.NominalValues([0.0], dict.fromkeys(factors, 0.3), 1.0)
    cost = od.Cost(dict.fromkeys(factors, 5.0), observation=1.0)
    found = od.optimize(model, guess, space, od.COptimality({"Intercept": 1}), cost, 100, order="exact")
    with pytest.raises(od.SpecificationError, match="one grouping factor, or two that are completely crossed"):
        od.criterion_surface(found, [1.0], [1.0])


def test_surface_draws_a_line_for_each_budget(ax):
    m, n = (grid.ravel() for grid in np.meshgrid(np.linspace(20, 60, 9), np.linspace(2, 10, 9)))
    frame = pd.DataFrame({"units": m, "replicates": n, "value": 1.0, "efficiency": m / 40, "spend": m * (3 + n)})
    plotting.criterion_surface(ax, Surface("units", "replicates", frame, (40.0, 5.0), 320.0), [200.0, 320.0])
    assert labels(ax) == ["efficiency", "200", "the budget", "optimum"]
    for drawn, budget in zip(ax.collections[-2:], (200.0, 320.0), strict=True):
        at = np.vstack([path.vertices for path in drawn.get_paths()])
        np.testing.assert_allclose(at[:, 1] * (3 + at[:, 0]), budget, rtol=0.02)


# Precision


def test_frontier_falls_by_the_square_root(ax, best):
    budgets = [5_000, 20_000, 80_000]
    plotting.frontier(ax, od.frontier(best, budgets), currency="EUR")
    (line,) = ax.get_lines()
    assert list(line.get_xdata()) == budgets
    errors = np.array(line.get_ydata())
    np.testing.assert_allclose(errors / errors[0], [1.0, 0.5, 0.25], rtol=1e-6)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "budget, in EUR")
    ticks = [tick for tick in ax.get_yticks() if ax.get_ylim()[0] <= tick <= ax.get_ylim()[1]]
    assert len(ticks) >= 2


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_ellipse_holds_its_share_of_the_normal_law(ax, level):
    """Every point of the outline is at the χ² quantile; so that draws are inside as often as the level says."""
    matrix = np.array([[0.5, -0.3], [-0.3, 0.9]])
    cov = od.AsymptoticCovariance(matrix, ("a", "b"), "exact", None, (), {}, np.array([1.0, 2.0]))
    plotting.confidence_ellipses(ax, {"plan": cov}, "a", "b", level)
    outline, centre = ax.get_lines()[:2]
    off = np.array(outline.get_data()).T - [1.0, 2.0]
    squared = np.einsum("ki,ij,kj->k", off, np.linalg.inv(matrix), off)
    np.testing.assert_allclose(squared, stats.chi2.ppf(level, 2))
    assert (centre.get_xdata()[0], centre.get_ydata()[0]) == (1.0, 2.0)


def test_ellipses_say_what_has_none(ax):
    cov = od.AsymptoticCovariance(np.diag([1.0, np.inf]), ("a", "b"), "exact", None, ("b",), {}, np.zeros(2))
    with pytest.raises(od.NotEstimableError, match="does not estimate both"):
        plotting.confidence_ellipses(ax, {"plan": cov}, "a", "b")
    with pytest.raises(od.SpecificationError, match="a level between 0 and 1"):
        plotting.confidence_ellipses(ax, {"plan": cov}, "a", "b", level=95)


# Trust


def arms():
    measure = od.Measure.grid(arm=[0, 1])
    return od.Design(od.Nested("g"), counts={"g": 40}, replicates=5, measure=measure, levels={"arm": "g"})


def test_accuracy_map_is_accuracy_at_every_place():
    model, guess = od.MixedModel("y ~ arm + (1 | g)", "poisson"), od.NominalValues([0.5, 0.3], {"g": 0.5})
    found = od.accuracy_map(model, guess, arms(), "arm", [4, 8], [1.0, 2.0], "leading")
    for row, multiple in enumerate([1.0, 2.0]):
        for column, n in enumerate([4, 8]):
            measure = od.Measure.grid(arm=[0, 1])
            design = od.Design(od.Nested("g"), counts={"g": 40}, replicates=n, measure=measure, levels={"arm": "g"})
            there = od.NominalValues([0.5, 0.3], {"g": 0.5 * multiple})
            leading, exact = (od.covariance(model, there, design, o).matrix[1, 1] for o in ("leading", "exact"))
            assert found.ratios[row, column] == pytest.approx(leading / exact, rel=1e-9)
    assert found.best == "exact"
    assert len(found.to_frame()) == 4
    assert "order 'leading'" in repr(found)


def test_accuracy_map_of_a_gaussian_mean_is_its_formula(ax):
    """Leading over exact: σ_g²/(σ_g² + σ²/n), at every multiple of σ_g²."""
    model, guess = od.MixedModel("y ~ arm + (1 | g)"), od.NominalValues([0.0, 0.3], {"g": 0.5}, 2.0)
    n, k = np.array([2.0, 10.0]), np.array([0.5, 1.0, 4.0])
    found = od.accuracy_map(model, guess, arms(), "arm", n, k, "leading")
    expected = 0.5 * k[:, None] / (0.5 * k[:, None] + 2.0 / n)
    np.testing.assert_allclose(found.ratios, expected, rtol=1e-9)
    plotting.accuracy_map(ax, found)
    shown = {text.get_text(): text.get_weight() for text in ax.texts}
    assert shown == {f"{100 * v:+.0f}": "bold" if abs(v) > 0.1 else "normal" for v in (expected - 1).ravel()}


@pytest.mark.parametrize(("replicates", "multiples"), [([], [1]), ([0], [1]), ([2], [-1]), (["a"], [1])])
def test_accuracy_map_needs_positive_numbers(replicates, multiples):
    with pytest.raises(od.SpecificationError, match="must be positive numbers"):
        od.accuracy_map(MEAN, GUESS, arms(), "Intercept", replicates, multiples)


def test_robustness_of_one_parameter_is_a_line(ax, best):
    found = od.robustness(best, {"clinic": [4.0, 0.25, 1.0]})
    plotting.robustness_profile(ax, found, label="multiple")
    (line,) = ax.get_lines()
    assert list(line.get_xdata()) == [0.25, 1.0, 4.0]
    np.testing.assert_allclose(line.get_ydata(), [0.897, 1.0, 0.949], atol=5e-4)
    assert (ax.get_xscale(), ax.get_xlabel()) == ("log", "multiple")


def test_robustness_of_cases_shows_the_worst(ax):
    rows = [{"scenario": k, "efficiency": 1.0 - k / 100, "efficiency bound": 1.0} for k in range(1, 31)]
    plotting.robustness_profile(ax, od.Robustness(tuple(rows)))
    shown = [text.get_text() for text in ax.get_yticklabels()]
    assert shown == [f"scenario {k}" for k in range(30, 16, -1)]
    assert ax.texts[0].get_text() == "… and 16 more"
    assert labels(ax) == ["the plan", "the best design there"]


# V


def test_observation_covariance_is_zgz_plus_r(ax):
    """A random slope, and cells of crossed factors, against products of dense matrices."""
    df = pd.DataFrame({"s": [1, 1, 2, 2, 2], "day": [0.0, 3.0, -2.0, 2.0, 3.0]})
    G, Z = np.array([[2.0, 0.5], [0.5, 1.0]]), np.column_stack([np.ones(5), df["day"]])
    model, guess = od.MixedModel("y ~ day + (1 + day | s)"), od.NominalValues([0, 0], {"s": G}, 0.7)
    found = od.observation_covariance(model, guess, df)
    same = df["s"].to_numpy()[:, None] == df["s"].to_numpy()
    expected = np.where(same, Z @ G @ Z.T, 0.0) + 0.7 * np.eye(5)
    np.testing.assert_allclose(found.matrix, expected)
    plotting.observation_covariance(ax, found, "ms²")
    image = ax.get_images()[0]
    np.testing.assert_allclose(image.get_array(), expected)
    assert image.get_clim() == (-expected.max(), expected.max())
    assert ax.figure.axes[1].get_ylabel() == "covariance, in ms²"
    assert matplotlib.colors.to_hex(image.cmap(image.norm(0.0))) == "#ffffff"


def test_observation_covariance_of_counts_has_the_inverse_weight():
    """Poisson with log link: the Fisher weight is the mean, e^η."""
    df = pd.DataFrame({"row": [1, 1, 2], "column": [1, 2, 2]})
    model = od.MixedModel("y ~ 1 + (1 | row) + (1 | row:column)", "poisson")
    found = od.observation_covariance(model, od.NominalValues([0.4], {"row": 0.3, "row:column": 0.2}), df)
    expected = np.diag(np.full(3, np.exp(-0.4) + 0.5))
    expected[0, 1] = expected[1, 0] = 0.3
    np.testing.assert_allclose(found.matrix, expected)
    assert "3 observations, correlated by 'row', 'row:column': 5 entries not zero" in repr(found)


def test_observation_covariance_names_what_is_missing():
    with pytest.raises(od.SpecificationError, match="no column 'clinic'"):
        od.observation_covariance(MEAN, GUESS, pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(od.SpecificationError, match="too many entries"):
        od.observation_covariance(MEAN, GUESS, pd.DataFrame({"clinic": range(3001)}))


# Designs and power


def test_design_over_two_numbers_is_bubbles(ax):
    measure = od.Measure.grid(x=[0.0, 1.0], z=[0.0, 2.0], weights=[0.1, 0.2, 0.3, 0.4])
    plotting.design_measure(ax, od.Design(od.Nested("g"), [od.Group(8, 10, measure)]), units="clinics")
    assert [text.get_text() for text in ax.texts] == ["1", "2", "3", "4"]
    area = ax.collections[0].get_sizes()
    np.testing.assert_allclose(area / area.max(), [0.25, 0.5, 0.75, 1.0])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x", "z")
    assert labels(ax) == ["8 clinics: observations per unit"]


def test_design_of_factors_is_parallel_sets(ax):
    """Blocks of a factor are as high as its observations, and ribbons lose none."""
    meals = od.Measure.grid(meal=["fasted", "fed"], weights=[0.25, 0.75])
    groups = [od.Group(10, 4, meals, {"arm": "new"}), od.Group(20, 8, meals, {"arm": "old"})]
    plotting.design_measure(ax, od.Design(od.Nested("patient"), groups))
    assert [text.get_text() for text in ax.texts] == ["new: 40", "old: 160", "fasted: 50", "fed: 150"]
    blocks, ribbons = (
        [p for p in ax.patches if hasattr(p, "get_height")],
        [p for p in ax.patches if not hasattr(p, "get_height")],
    )
    assert [bar.get_height() for bar in blocks] == [40, 160, 50, 150]
    assert sorted(r.get_path().vertices[7, 1] - r.get_path().vertices[0, 1] for r in ribbons) == [10, 30, 40, 120]
    colours = [matplotlib.colors.to_hex(r.get_facecolor()) for r in ribbons]
    assert colours == [SERIES[0]] * 2 + [SERIES[1]] * 2
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["arm", "meal"]


def test_power_curves_show_simulated_points_with_their_intervals(ax):
    design = od.Design(od.Nested("clinic"), counts={"clinic": 12}, replicates=4)
    test = od.WaldTest("Intercept", null=0.5)
    found = od.simulate(MEAN, GUESS, design, test=test, replications=20, seed=1)
    curve = pd.DataFrame({"units": [6.0, 24.0], "order": "exact", "power": [0.2, 0.8]})
    plotting.power_curves(ax, curve, simulated={12: found})
    (points,) = [line for line in ax.get_lines() if line.get_marker() == "s"]
    assert (points.get_xdata()[0], points.get_ydata()[0]) == (12, found.power.value)
    (interval,) = ax.collections[0].get_segments()
    np.testing.assert_allclose(interval[:, 1], found.power.interval)
    assert labels(ax) == ["exact", "simulated, 95 % interval"]
