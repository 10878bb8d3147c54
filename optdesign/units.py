"""Covariate points of a layout with any number of factors, and the kinds of unit that each point belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Labels:
    """Kinds of unit of one factor: units of a kind share every covariate of their level.

    Attributes
    ----------
    level : integer array, shape (rows,)
        The kind of unit that each point is observed in.
    count : array, shape (kinds,)
        How many units are of each kind; all ones where every unit is listed on its own.
    """

    level: Index
    count: Array


@dataclass(frozen=True, eq=False)
class LabelledPoints:
    """Distinct covariate points, the observations made at each, and the kind of unit of every factor there.

    Every unit of a kind sees the same law of points, in numbers ``observations / count`` of its kind.

    Attributes
    ----------
    frame : DataFrame
        All covariates, one row per point.
    observations : array, shape (rows,)
        Observations made at each point, over all units.
    labels : mapping from factor to Labels
        In layout order; a cell of two crossed factors is called ``"row:column"``.
    chosen : integer array, shape (rows,)
        Points with equal numbers differ only in covariates that are drawn for each observation, not set.
    """

    frame: pd.DataFrame
    observations: Array
    labels: Mapping[str, Labels]
    chosen: Index
