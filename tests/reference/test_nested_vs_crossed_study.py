"""The study of layouts from two pilots: its tables against closed forms, enumeration and the package of today."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.study.running import ask

STUDY = Path(__file__).parents[2] / "studies" / "nested_vs_crossed"

#: Variances of plates, of samples and of the residual, as lme4 fits them; prices of the study.
PLATE, SAMPLE, RESIDUAL = 0.71499287, 3.13519232, 0.30242536
PRICES = {"plate": 6.0, "sample": 30.0, "observation": 0.5}


def table(pilot, name):
    return pd.read_csv(STUDY / pilot / f"{name}.csv")


@pytest.mark.parametrize("budget", [2000.0, 1000.0])
def test_nested_layouts_of_a_mean_by_the_square_root_rule(budget):
    """Var = a/m + b/m' + s/N at prices c: (√(ac) + √(bd) + √(se))²/B where the numbers rise along the chain."""
    rows = table("penicillin", "comparison").set_index(["budget", "layout"])["value"][budget]
    spread = np.sqrt(np.array([PLATE, SAMPLE, RESIDUAL]) * list(PRICES.values())).sum()
    assert rows["plate in sample"] == pytest.approx(spread**2 / budget, rel=1e-4)
    assert rows["incomplete crossing"] == pytest.approx(spread**2 / budget, rel=1e-4)
    # Samples want to be fewer than plates, so that within plates there is one in each: their variances and prices add.
    pooled = np.sqrt((PLATE + SAMPLE) * (PRICES["plate"] + PRICES["sample"])) + np.sqrt(
        RESIDUAL * PRICES["observation"]
    )
    assert rows["sample in plate"] == pytest.approx(pooled**2 / budget, rel=1e-4)
    assert rows["repeated measures"] == pytest.approx(pooled**2 / budget, rel=1e-4)


@pytest.mark.parametrize("budget", [2000.0, 1000.0])
def test_complete_crossing_of_a_mean_by_enumeration(budget):
    """The best whole numbers of plates and samples, all met once or more often."""
    plans = [
        (PLATE / m + SAMPLE / k + RESIDUAL / (m * k * n), m, k)
        for m, k, n in product(range(4, 300), range(4, 70), (1, 2, 3))
        if 6 * m + 30 * k + 0.5 * m * k * n <= budget
    ]
    variance, plates, samples = min(plans)
    row = table("penicillin", "plans").set_index(["budget", "layout"]).loc[(budget, "complete crossing")]
    assert (row["plate"], row["sample"]) == (plates, samples)
    assert row["value"] == pytest.approx(variance, rel=1e-4)


def test_break_even_of_a_mean_is_where_variance_per_price_is_equal():
    found = table("penicillin", "break-even")
    np.testing.assert_allclose(found["cost ratio"], found["variance ratio"], rtol=1e-4)
    assert (found["higher"] == "plate in sample").all()


def test_map_of_a_mean():
    found = table("penicillin", "map")
    off = found[~np.isclose(found["cost ratio"], found["variance ratio"])]
    nested = np.where(off["cost ratio"] > off["variance ratio"], "plate in sample", "sample in plate")
    better = np.where(nested == "plate in sample", off["plate in sample"], off["sample in plate"])
    np.testing.assert_allclose(better, 1.0, atol=2e-4)
    assert (off["complete crossing"] < 1.0).all()


@pytest.mark.parametrize("layout", ["item in id", "id in item"])
def test_binary_pilot_is_current(layout):
    question = ask(od.load_study(STUDY / "verbagg.toml"), lambda _: None)
    stored = table("verbagg", "comparison").set_index(["budget", "layout"]).loc[(5000.0, layout)]
    found = od.compare(od.alternatives(**question.parts, layouts=[layout]), question.test, order="two-term")
    row = found.to_frame().loc[layout]
    assert row["value"] == pytest.approx(stored["value"], rel=1e-4)
    assert row["power"] == pytest.approx(stored["power"], abs=1e-4)


def test_variance_that_items_give_in_a_binary_complete_crossing():
    """Half of the items are of either mode: the difference of two means of m'/2 effects."""
    pilot = pd.read_csv(STUDY / "verbagg.csv")
    model = od.MixedModel("r2 ~ Gender + mode + (1 | id) + (1 | item)", family="bernoulli")
    effects = od.fit(model, pilot).nominal_values().covariance["item"]
    sources = table("verbagg", "sources").set_index(["budget", "layout", "coefficient"])
    items = table("verbagg", "comparison").set_index(["budget", "layout"])["item"]
    at = (5000.0, "complete crossing")
    found = sources.loc[(*at, "mode[T.want]"), "from item"]
    assert found == pytest.approx(4 * float(np.ravel(effects)[0]) / items[at], rel=1e-3)
    assert sources.loc[(*at, "Gender[T.M]"), "from item"] == pytest.approx(0.0, abs=1e-9)
