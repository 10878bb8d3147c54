"""The proof that comes with a design: the equivalence theorem, as a linear program.

Φ is concave and homogeneous of degree one, so Φ(z*) ≤ Σ z*∂Φ(z)/∂z for every admissible z*. With ψ = ∂log Φ/∂z and
Σ zψ = 1, no admissible design is better than ``max Σ z*ψ`` times this one. Under a budget alone the maximum is
attained on a single mass and this is the classical bound τ / max{Bψ_m/c_g, max_x Bψ(x)/c(x)}; further linear
constraints enter through their multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.measures import beside
from optdesign.optimize.interior import Iterate
from optdesign.optimize.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Certificate:
    """Bound on what any admissible design could gain, with the sensitivities that prove it.

    Over a continuous region (`Candidates.region`) the largest sensitivity is found numerically, not by interval
    arithmetic: on an even grid (101 values of one covariate, 45 of each of two, 13 of each of three, 7 of four, 5 of
    more, and of unit-level ones as many as make at most 25 unit types), and from there by following every local
    maximum, the hundred highest at most, to 1e-7 of each interval. The bound allows for what the highest of these
    still exceeds.

    Attributes
    ----------
    efficiency_bound : float
        No admissible design has a smaller criterion, on the variance scale, than this times the design's.
    sensitivities : DataFrame
        A row per candidate point (covariates, ``kind`` "observation") and per unit type (``kind`` "unit"): the
        `sensitivity` ψ, the `price` that budget and bounds put on it, their `ratio`, and the `mass` it has in the
        design. The ratio is nowhere above one, and one on the support: the equivalence theorem.
    upper_bound_loss : float
        −log Φ below which no admissible design can come.
    """

    efficiency_bound: float
    sensitivities: pd.DataFrame
    upper_bound_loss: float

    @property
    def worst_ratio(self) -> float:
        """Largest ratio of sensitivity to price, one at an optimum."""
        return float(self.sensitivities["ratio"].max())

    def __repr__(self) -> str:
        return f"Certificate(efficiency ≥ {floored(self.efficiency_bound, 8)}, {len(self.sensitivities)} sensitivities)"


def floored(value: float, digits: int) -> str:
    """A bound on an efficiency with so many decimals, rounded down and below one: rounding up would claim too much.

    >>> floored(0.99999999996, 8)
    '0.99999999'
    """
    return f"{np.floor(min(value, 1 - 1e-12) * 10**digits) / 10**digits:.{digits}f}"


def certify(problem: Problem, iterate: Iterate, achieved: float) -> Certificate:
    """Certificate for a design of loss `achieved`.

    The iterate's sensitivities belong to a point near its masses; they bound every admissible design, this one
    included.
    """
    most, prices = most_of(problem, iterate)
    bound = iterate.bound - float(np.log(most))
    frame = _frame(problem, iterate.gain, prices, iterate.z)
    return Certificate(float(min(1.0, np.exp(bound - achieved))), frame, bound)


def most_of(problem: Problem, iterate: Iterate) -> tuple[float, Array]:
    """The most of Σ z*ψ that admissible masses reach, and the price of every mass: by the multipliers, if they do."""
    found = None
    if iterate.multipliers is not None and iterate.levels is not None:
        found = problem.priced(iterate.gain, iterate.multipliers, iterate.levels)
    return found or problem.most(iterate.gain)


def _frame(problem: Problem, gain: Array, prices: Array, z: Array) -> pd.DataFrame:
    own = ("sensitivity", "price", "ratio", "mass")
    shown = np.concatenate([np.arange(problem.choice.n_units), np.arange(problem.n_units, len(z))])
    gain, prices, z, scale = gain[shown], prices[shown], z[shown], problem.scale[shown]
    frame = beside(problem.choice.frame(), own)
    # Multipliers are known to about the barrier's gap: what is worth less than a millionth of the budget is nothing.
    tiny = 1e-6 / scale
    ratio = np.where((gain <= tiny) & (prices <= tiny), 1.0, gain / np.maximum(prices, tiny))
    return frame.assign(sensitivity=gain, price=prices, ratio=ratio, mass=z)
