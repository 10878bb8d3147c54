"""What comes back of a crossed design: whole numbers with a table of who meets whom, and what the proof covers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.listing import listed_points
from optdesign.measures import beside, names_of
from optdesign.optimize.certificate import Certificate
from optdesign.optimize.result import ExactDesign

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CrossedCertificate(Certificate):
    """Bound on what other numbers of units could gain, and the words for what it covers.

    `sensitivities` has a row per number: minus the derivative of the loss in its logarithm, the price that budget and
    bounds put on that, their ratio, and the number. The efficiency bound is ``nan`` where no bound is known.

    Attributes
    ----------
    scope : str
        Among which designs nothing is better.
    """

    scope: str

    def __repr__(self) -> str:
        return f"{super().__repr__()}: {self.scope}"


@dataclass(frozen=True, eq=False, repr=False)
class CrossedExactDesign(ExactDesign):
    """A crossed design in whole numbers, ready to be run.

    Attributes
    ----------
    proven : bool
        Whether every other affordable design in whole numbers was shown to be no better.
    """

    proven: bool

    @cached_property
    def _observations(self) -> pd.DataFrame:
        """A row per observation, drawn covariates left out."""
        points = listed_points(self.design)
        drawn = names_of(self.design.observed.points) if self.design.observed else []
        factors = tuple(self.design.counts)
        frame = beside(points.frame.drop(columns=drawn), factors)
        for at, factor in enumerate(factors):
            frame.insert(at, factor, points.labels[factor].level + 1)
        return frame.sort_values(list(factors), kind="stable", ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """One row per observation: the labels of its row and column, and the covariate values to use.

        Values of rows and of columns are mixed evenly over their units; those of observations are set in turn, in
        proportion to their shares, along rows and columns alike.
        """
        return self._observations.copy()

    @property
    def incidence(self) -> pd.DataFrame:
        """Who meets whom: one row per observed cell, with the labels of its row and column."""
        return self._observations[list(self.design.counts)].drop_duplicates(ignore_index=True)


def whole_shares(shares: Array, total: float) -> Array:
    """Shares of a total in whole numbers, one at least of every kind that has a share: largest remainders.

    >>> whole_shares(np.array([0.62, 0.38]), 10)
    array([0.6, 0.4])
    """
    quota = np.asarray(shares) * total
    number = np.maximum(np.floor(quota + 1e-9), quota > 0)
    while number.sum() < total - 0.5:
        number[np.argmax(quota - number)] += 1
    while number.sum() > total + 0.5:
        number[np.argmax(np.where(number > 1, number - quota, -np.inf))] -= 1
    return np.asarray(number / total)
