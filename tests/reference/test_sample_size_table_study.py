"""The study of a published table of sample sizes: numbers of groups by the formula, powers in line with it."""

import math
import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

STUDY = Path(__file__).parents[2] / "studies" / "sample_size_table"
RUN = runpy.run_path(str(STUDY / "run.py"))
TABLE = pd.read_csv(STUDY / "table.csv")
PAIRS = list(zip(RUN["cells"](), TABLE.to_dict("records"), strict=True))


def variance(row, order):
    """Of one group: Σ₁₁, and Σ₁₁ + K₁₁/20 with K₁₁ = 2{e^(−β₀ + Σ₀₀/2) + e^(−β₀ − β₁ + (Σ₀₀ + 2Σ₀₁ + Σ₁₁)/2)}."""
    at_0, at_1 = row["beta0"], row["beta0"] + row["beta1"]
    spread = row["sigma00"] + 2 * row["sigma01"] + row["sigma11"]
    noise = 2 * (math.exp(-at_0 + row["sigma00"] / 2) + math.exp(-at_1 + spread / 2))
    return row["sigma11"] + (noise / 20 if order == "two-term" else 0)


@pytest.mark.parametrize(("cell", "row"), PAIRS)
def test_groups_and_power_of_the_formula(cell, row):
    """Groups that the cell asks for today, those of the table, and both powers that two terms give them, by hand."""
    needed = (norm.isf(0.05) + norm.isf(0.1)) ** 2 * variance(row, row["order"]) / row["beta1"] ** 2
    assert cell.groups == row["groups"] == math.ceil(needed)
    error = math.sqrt(variance(row, "two-term") / row["groups"])
    assert row["power by two-term"] == pytest.approx(norm.sf(norm.isf(0.05) - row["beta1"] / error), abs=6e-5)


def test_the_published_groups_are_found():
    known = TABLE[TABLE["published groups"].notna()]
    assert known["groups"].tolist() == known["published groups"].tolist() == [24, 130, 24, 63, 24, 39]


def test_words_of_the_study_hold_in_its_table():
    assert len(TABLE) == 18
    assert (TABLE["failed"] == 0).all()
    assert TABLE["apart"].abs().max() < 3
    assert TABLE["in interval"].dropna().all()
    complete = TABLE[TABLE["replicates"] == RUN["REPLICATIONS"]]
    assert np.abs(complete.loc[complete["order"] == "two-term", "power"] - 0.9).max() <= 0.03
    assert complete.loc[complete["order"] == "leading", "power"].max() < 0.75
    exact = complete["power by exact"]
    assert ((complete["low"] < exact) & (exact < complete["high"])).sum() >= len(complete) - 3


def test_a_cell_is_simulated_again(tmp_path):
    """The first 100 of the 1,000 replicates of one cell, against all of them."""
    cell, row = PAIRS[4]
    low, high = cell.simulation(100, 1, tmp_path).power.interval
    assert low < row["power"] < high
