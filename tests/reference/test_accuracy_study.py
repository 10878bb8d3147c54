"""The accuracy study: its table is what the package computes today."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

STUDY = Path(__file__).parents[2] / "studies" / "accuracy"
MAP = runpy.run_path(str(STUDY / "map.py"))
TABLE = pd.read_csv(STUDY / "ratios.csv")


@pytest.mark.parametrize("row", [0, 13, 37, 58, 71])
def test_table_is_current(row):
    case = TABLE.iloc[row]
    found = MAP["ratios"](case["family"], case["baseline"], case["variance"], int(case["size"]))
    for order in MAP["ORDERS"]:
        assert found[order] == pytest.approx(case[order], abs=0.03 if case["family"] == "poisson" else 1e-4)


def test_words_of_the_study_hold_in_its_table():
    binary, counts = (TABLE[TABLE["family"] == family] for family in ("bernoulli", "poisson"))
    assert (binary["averaged"] - 1).abs().max() < 0.053
    assert (counts["averaged"] - 1).abs().max() < 0.065
    assert TABLE["two-term"].min() > 0.97
    assert TABLE["two-term"].max() < 2.7
    assert TABLE["leading"].max() < 1.01
