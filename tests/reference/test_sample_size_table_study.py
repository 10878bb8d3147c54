"""The study of a published table of sample sizes: its numbers of groups are those of the formula, its powers in line."""

import math
import runpy
from pathlib import Path

import pandas as pd
import pytest
from scipy.stats import norm

import optdesign as od

STUDY = Path(__file__).parents[2] / "studies" / "sample_size_table"
RUN = runpy.run_path(str(STUDY / "run.py"))
TABLE = pd.read_csv(STUDY / "table.csv")


def second_term(beta, sigma):
    """K₂₂ = 2{exp(−β₀ + Σ₀₀/2) + exp(−β₀ − β₁ + (Σ₀₀ + 2Σ₀₁ + Σ₁₁)/2)}, x at 0 and 1 in equal shares."""
    first = math.exp(-beta[0] + sigma[0] / 2)
    return 2 * (first + math.exp(-sum(beta) + (sigma[0] + 2 * sigma[1] + sigma[2]) / 2))


@pytest.mark.parametrize("column", RUN["COLUMNS"], ids=lambda column: column.label)
def test_numbers_of_groups_are_those_of_the_formula(column):
    squared = (norm.isf(0.05) + norm.isf(0.1)) ** 2 / column.beta[1] ** 2
    rows = TABLE[TABLE["values"] == column.label].groupby("order").groups.agg(set)
    assert rows["leading"] == {math.ceil(squared * column.sigma[2])}
    assert rows["two-term"] == {math.ceil(squared * (column.sigma[2] + second_term(column.beta, column.sigma) / 20))}


def test_what_is_published_is_reproduced():
    published = TABLE[TABLE["published groups"].notna() & (TABLE["x"] == "drawn")]
    assert len(published) == 6
    assert (published["groups"] == published["published groups"]).all()
    assert published["power"].between(published["published low"], published["published high"]).all()


def test_two_terms_reach_the_power_and_one_does_not():
    drawn = TABLE[TABLE["x"] == "drawn"]
    assert len(drawn) == 18
    assert (drawn[drawn["order"] == "two-term"]["power"] - 90).abs().max() <= 3
    assert drawn[drawn["order"] == "leading"]["power"].max() < 80
    assert (TABLE["failed"] == 0).all()


def test_a_cell_is_simulated_again():
    """The first 200 of the 1,000 replicates of the smallest cell, in line with all of them."""
    row = TABLE.loc[TABLE["groups"].idxmin()]
    column = next(c for c in RUN["COLUMNS"] if c.label == row["values"])
    design = RUN["design_of"](int(row["groups"]), drawn=True)
    found = od.simulate(RUN["MODEL"], column.nominal, design, RUN["TEST"], replications=200)
    low, high = found.power.interval
    assert low < row["power"] / 100 < high
