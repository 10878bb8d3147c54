"""Designs in whole numbers: every number the expected one, rounded up or down."""

import numpy as np
import pandas as pd
import pytest

import optdesign as od
from optdesign.realised import dealt, realised

X = od.Measure.grid(x=[0, 1, 2])


def table(design, seed=0):
    found = realised(design, seed)
    frame = found.points.iloc[found.point].reset_index(drop=True)
    return frame.assign(**found.units)


def test_whole_designs_are_realised_exactly():
    groups = [od.Group(3, 6, X, {"arm": 0}), od.Group(2, 3, X, {"arm": 1})]
    frame = table(od.Design(od.Nested("unit"), groups))
    counts = pd.crosstab(frame.unit, frame.x).to_numpy().tolist()
    assert counts == [[2, 2, 2]] * 3 + [[1, 1, 1]] * 2
    assert frame.groupby("unit").arm.first().tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("replicates", [4, 4.3, 5, 0.6])
def test_fractions_are_rounded_in_every_unit_and_kept_in_total(replicates):
    design = od.Design(od.Nested("unit"), counts={"unit": 30}, replicates=replicates, measure=X)
    frame = table(design)
    counts = pd.crosstab(frame.unit, frame.x).reindex(range(30), fill_value=0)
    expected = replicates / 3
    assert counts.to_numpy().min() >= np.floor(expected)
    assert counts.to_numpy().max() <= np.ceil(expected)
    assert np.abs(counts.sum() - 30 * expected).max() <= 1
    assert abs(counts.to_numpy().sum() - 30 * replicates) <= 1


def test_numbers_of_units_that_are_not_whole_are_rounded_in_total():
    groups = [od.Group(10.4, 1, at={"arm": a}) for a in range(5)]
    units = table(od.Design(od.Nested("unit"), groups)).groupby("arm").unit.nunique()
    assert units.sum() == 52
    assert set(units) <= {10, 11}


def test_units_within_units():
    design = od.Design(od.Nested("school", "class"), counts={"school": 4, "class": 2.5}, replicates=3, measure=X)
    frame = table(design)
    assert sorted(frame.groupby("school")["class"].nunique()) == [2, 2, 3, 3]
    assert frame.groupby("class").school.nunique().max() == 1
    assert (frame.groupby(["class", "x"]).size() == 1).all()


def test_crossed_units_and_cells():
    design = od.Design(
        od.Crossed("row", "column"),
        counts={"row": 7, "column": 4},
        replicates=1.5,
        measure=od.Measure.grid(a=[0, 1], b=[0, 1]),
        levels={"a": "row"},
    )
    frame = table(design)
    assert (frame.row.nunique(), frame.column.nunique(), len(frame)) == (7, 4, 42)
    assert frame.groupby("row").a.nunique().max() == 1
    assert sorted(frame.groupby("a").row.nunique()) == [3, 4]
    assert np.ptp(frame.groupby("b").size()) <= 14


def test_given_cells_are_kept():
    pairs = pd.DataFrame({"row": [0, 0, 1, 2], "column": [0, 1, 1, 0]})
    design = od.Design(od.Crossed("row", "column"), counts={"row": 3, "column": 2}, replicates=2, crossing=pairs)
    cells = table(design).groupby(["row", "column"]).size()
    assert cells.to_dict() == dict.fromkeys(zip(pairs.row, pairs.column, strict=True), 2)


def test_no_layout_rounds_numbers_of_observations():
    counts = table(od.Design(None, replicates=10, measure=X)).groupby("x").size()
    assert sorted(counts) == [3, 3, 4]


def test_a_design_of_nothing_is_refused():
    with pytest.raises(od.SpecificationError, match=r"0\.4 observations .* rounds to none"):
        realised(od.Design(None, replicates=0.4, measure=od.Measure.grid(x=[0])))


def test_dealing_keeps_whole_numbers_whole():
    expected = np.array([[2.0, 0.0, 3.0], [0.1 + 0.2, 0.7, 0.0]])
    kind = np.array([0, 1, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1])
    times = dealt(expected, kind)
    assert (times[kind == 0] == [2, 0, 3]).all()
    assert times[kind == 1].sum(axis=0).tolist() == [3, 7, 0]
