"""Covariate points: laws over them (`Measure`) and the points that may be chosen (`Candidates`)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from optdesign.costs import holds
from optdesign.errors import SpecificationError, check_kind, is_number, listed, nearest
from optdesign.linalg import summed
from optdesign.quadrature import law_rule

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Points of the grid over a continuous region, about, and the most in any one direction.
GRID, FINEST = 2000, 101
#: Share of an interval within which two places are the same.
SAME_PLACE = 1e-6


@dataclass(frozen=True, eq=False)
class Measure:
    """A probability law over covariate points: an approximate design, or the law of an observed covariate.

    Parameters
    ----------
    points : DataFrame
        One row per point, one column per covariate.
    weights : array, shape (rows,)
        Positive; scaled to sum to one.

    Examples
    --------
    >>> Measure.grid(visit=[0, 1], treat=[0, 1]).weights
    array([0.25, 0.25, 0.25, 0.25])
    """

    points: pd.DataFrame
    weights: Array

    def __post_init__(self) -> None:
        weights = _as_weights(self.weights)
        if weights.shape != (len(self.points),):
            raise SpecificationError(f"{len(self.points)} points need as many weights; got shape {weights.shape}.")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise SpecificationError("weights must be finite, not negative, and not all zero.")
        points = checked_points(self.points, "measure")[weights > 0].reset_index(drop=True)
        weights = weights[weights > 0] / weights.sum()
        weights.flags.writeable = False
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "weights", weights)

    @classmethod
    def grid(cls, *, weights: npt.ArrayLike | None = None, **values: Iterable[Any]) -> Measure:
        """Every combination of the values given, in the order of `itertools.product`; equal weights by default."""
        points = grid_frame(values)
        return cls(points, np.ones(len(points)) if weights is None else _as_weights(weights))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, weights: str | npt.ArrayLike | None = None) -> Measure:
        """The empirical law of a data frame; `weights` is a column of it, an array, or None for equal weights.

        Equal rows are merged and their weights added.
        """
        import pandas as pd

        check_kind("frame", frame, pd.DataFrame)
        if isinstance(weights, str):
            if weights not in frame:
                raise SpecificationError(
                    f"weights='{weights}' is not a column: {listed(frame.columns)}.{nearest(weights, frame.columns)}"
                )
            weights, frame = _as_weights(frame[weights]), frame.drop(columns=weights)
        elif weights is None:
            weights = np.ones(len(frame))
        if np.shape(weights) != (len(frame),):
            raise SpecificationError(f"{len(frame)} points need as many weights; got shape {np.shape(weights)}.")
        if len(frame) == 0:
            raise SpecificationError("a measure needs at least one point; the frame is empty.")
        points = checked_points(frame, "measure")
        first, inverse = _first_of_equal(points)
        merged = summed(inverse, _as_weights(weights), len(first))
        return cls(points.iloc[first].reset_index(drop=True), merged)

    @classmethod
    def from_distributions(cls, *, nodes: int = 20, **laws: Any) -> Measure:
        """Independent frozen scipy.stats laws, by quadrature.

        Parameters
        ----------
        nodes : int
            Points per continuous law: the Gauss rule of the law, exact for polynomials of degree ``2*nodes - 1``
            (moments of the usual laws to 1e-12 relative up to the sixth); expectations of analytic functions converge
            geometrically in `nodes`. Laws with heavier tails than the exponential lose digits in high moments.
            Discrete laws are enumerated.
        **laws : frozen scipy.stats distributions
        """
        rules = {name: law_rule(law, nodes) for name, law in laws.items()}
        product = np.ones(1)
        for _, weights in rules.values():
            product = np.outer(product, weights).ravel()
        return cls(grid_frame({name: points for name, (points, _) in rules.items()}), product)

    def __mul__(self, other: Measure) -> Measure:
        """Product law of two independent sets of covariates."""
        shared = set(self.points) & set(other.points)
        if shared:
            raise SpecificationError(f"a product needs different covariates; both measures have {listed(shared)}.")
        return Measure(self.points.merge(other.points, how="cross"), np.outer(self.weights, other.weights).ravel())

    def to_frame(self) -> pd.DataFrame:
        """Points with a column ``weight``."""
        return beside(self.points, ["weight"]).assign(weight=self.weights)

    def __repr__(self) -> str:
        return f"Measure of {len(self.points)} points\n{self.to_frame().to_string(max_rows=12)}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(max_rows=12))


@dataclass(frozen=True, eq=False)
class Candidates:
    """The covariate points that may be chosen: the design region.

    Attributes
    ----------
    points : DataFrame
        One row per candidate point, no two equal; for schedules a row per observation.
    notes : tuple of str
        What was tidied on the way in (equal points merged).
    by : str, optional
        For fixed within-unit schedules, see `profiles`: the column that says which schedule a row belongs to.

    Examples
    --------
    >>> Candidates.grid(treat=[0, 1], visit=range(3)).points.shape
    (6, 2)
    """

    points: pd.DataFrame
    notes: tuple[str, ...] = ()
    by: str | None = None

    @classmethod
    def grid(cls, **values: Iterable[Any]) -> Candidates:
        """Every combination of the values given; without any, the single point of a study without covariates."""
        return cls.from_frame(grid_frame(values))

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Candidates:
        """The rows of a data frame; equal rows are merged, with a note.

        Raises
        ------
        SpecificationError
            For an empty frame, or values that are missing or not finite.
        """
        import pandas as pd

        check_kind("frame", frame, pd.DataFrame)
        if len(frame) == 0:
            raise SpecificationError("candidates need at least one point; the frame is empty.")
        points = checked_points(frame, "candidates")
        first, _ = _first_of_equal(points)
        merged = len(points) - len(first)
        notes = (f"{merged} duplicate candidate point{'s' * (merged > 1)} merged.",) if merged else ()
        return cls(points.iloc[np.sort(first)].reset_index(drop=True), notes)

    @classmethod
    def profiles(cls, frame: pd.DataFrame, by: str) -> Candidates:
        """Fixed within-unit schedules, of which only the numbers of units are chosen.

        Parameters
        ----------
        frame : DataFrame
            One row per observation of a unit, in order; equal rows are so many observations at one point.
        by : str
            Column whose values tell the schedules apart, such as the sequence of a stepped-wedge trial.

        Raises
        ------
        SpecificationError
            For a column that is not there, an empty frame, or values that are missing or not finite.

        Examples
        --------
        >>> import pandas as pd
        >>> early_and_late = pd.DataFrame({"sequence": [1, 1, 2, 2], "period": [1, 2, 1, 2], "treat": [0, 1, 0, 0]})
        >>> Candidates.profiles(early_and_late, by="sequence")
        2 profiles by 'sequence', of 4 observations in all
        """
        import pandas as pd

        check_kind("frame", frame, pd.DataFrame)
        check_kind("by", by, str, instead="the name of a column")
        if by not in frame:
            raise SpecificationError(
                f"by='{by}' is not a column of the profiles: {listed(frame.columns)}.{nearest(by, frame.columns)}"
            )
        if len(frame) == 0:
            raise SpecificationError("profiles need at least one row; the frame is empty.")
        return cls(checked_points(frame, "profiles"), by=by)

    @staticmethod
    def region(**values: tuple[float, float] | Iterable[Any]) -> CandidateRegion:
        """A continuous region: a pair ``(lowest, highest)`` is an interval, a list has the values that may be used.

        Raises
        ------
        SpecificationError
            Where no covariate has an interval, or one is empty.

        Examples
        --------
        >>> Candidates.region(x=(-1, 1), arm=["a", "b"])
        CandidateRegion(x from -1 to 1, arm in ['a', 'b']; a grid of 202 points to start from)
        """
        pairs = {name: _interval(name, given) for name, given in values.items() if isinstance(given, tuple)}
        if not pairs:
            raise SpecificationError(
                "a region needs an interval for at least one covariate, such as x=(-1, 1); use Candidates.grid for "
                "lists of values."
            )
        size = max(5, min(FINEST, 2 * int(GRID ** (1 / len(pairs)) / 2) + 1))
        lines = {name: np.linspace(*pair, size) for name, pair in pairs.items()}
        points = Candidates.grid(**{**values, **lines}).points
        return CandidateRegion(points, intervals=MappingProxyType(pairs), reference=points, lattice=points)

    def where(self, condition: str) -> Candidates:
        """The points at which a condition holds: forbidden combinations are left out.

        Parameters
        ----------
        condition : str
            Expression in the columns, such as ``"not (dose > 5 and age > 70)"``.

        Raises
        ------
        SpecificationError
            Where the condition cannot be read, is no statement, or holds nowhere; for schedules and regions.

        Examples
        --------
        >>> len(Candidates.grid(dose=[0, 5, 10], age=[60, 80]).where("dose < 10 or age < 70").points)
        5
        """
        if type(self) is not Candidates or self.by is not None:
            raise SpecificationError(
                "candidates: where picks single points, of a grid or a frame; leave rows of schedules out of their "
                "frame, and bound a region by its intervals."
            )
        kept = holds(condition, self.points, "candidates").astype(bool)
        if not kept.any():
            raise SpecificationError(f"candidates: '{condition}' holds at none of the {len(kept)} points.")
        return replace(self, points=self.points[kept].reset_index(drop=True))

    def __repr__(self) -> str:
        if self.by is not None:
            number = self.points[self.by].nunique()
            return f"{number} profiles by '{self.by}', of {len(self.points)} observations in all"
        return f"Candidates of {len(self.points)} points\n{self.points.to_string(max_rows=12)}"


@dataclass(frozen=True, eq=False)
class CandidateRegion(Candidates):
    """A continuous region, with the points of it that are looked at.

    Attributes
    ----------
    intervals : mapping from covariate to (lowest, highest)
        Numeric covariates that may take any value between; all others take the values of the grid.
    reference : DataFrame
        An even grid over the region, its ends included: 101 values of one covariate, 45 of each of two, 13 of each of
        three, 7 of four, and 5 of each of more. Levels and data-dependent terms of a formula refer to it.
    lattice : DataFrame
        The part of it that is always looked at: all, or fewer values of unit-level covariates.
    """

    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    reference: pd.DataFrame = field(kw_only=True)
    lattice: pd.DataFrame = field(kw_only=True)

    def with_points(self, points: pd.DataFrame) -> CandidateRegion:
        """The same region, other points of it looked at."""
        return replace(self, points=points)

    def spacing(self, columns: Sequence[str]) -> Array:
        """Distance of neighbours in the grid, as a share of each interval, shape (columns,)."""
        return np.array([1.0 / (self.lattice[c].nunique() - 1) for c in columns])

    def coarser(self, columns: Sequence[str], most: int) -> CandidateRegion:
        """The same region, the grid with every k-th value of some intervals: at most `most` combinations of them."""
        steps = round(1.0 / self.spacing(list(self.intervals))[0])
        divisors = [k for k in range(1, steps + 1) if steps % k == 0]
        fit = (k for k in divisors if (steps // k + 1) ** len(columns) <= most)
        number = np.rint(self.places(self.reference, columns) * steps)
        lattice = self.reference[(number % next(fit, steps) == 0).all(axis=1)].reset_index(drop=True)
        return replace(self, points=lattice, lattice=lattice)

    def places(self, points: pd.DataFrame, columns: Sequence[str]) -> Array:
        """Where points lie in some of the intervals, from 0 to 1, shape (rows, columns)."""
        low, high = np.array([self.intervals[c] for c in columns]).reshape(-1, 2).T
        return np.asarray((points[list(columns)].to_numpy(dtype=float) - low) / (high - low))

    def moved(self, points: pd.DataFrame, columns: Sequence[str], places: Array) -> pd.DataFrame:
        """Points at other places in some of the intervals; places of the grid, and its ends, are met exactly."""
        steps = 1.0 / self.spacing(columns)
        on_grid = np.rint(places * steps) / steps
        places = np.where(np.abs(places - on_grid) < SAME_PLACE, on_grid, places)
        low, high = np.array([self.intervals[c] for c in columns]).reshape(-1, 2).T
        values = (1.0 - places) * low + places * high
        return points.assign(**dict(zip(columns, values.T, strict=True)))

    def __repr__(self) -> str:
        lists = {c: sorted(set(self.lattice[c]), key=str) for c in self.lattice if c not in self.intervals}
        parts = [f"{name} from {low:g} to {high:g}" for name, (low, high) in self.intervals.items()]
        parts += [f"{name} in {values}" for name, values in lists.items()]
        return f"CandidateRegion({', '.join(parts)}; a grid of {len(self.lattice)} points to start from)"


def _as_weights(weights: npt.ArrayLike) -> Array:
    try:
        return np.asarray(weights, dtype=float)
    except (TypeError, ValueError):
        raise SpecificationError(f"weights must be numbers, one for each point; got {weights!r:.80}.") from None


def _interval(name: str, given: tuple[Any, ...]) -> tuple[float, float]:
    if len(given) != 2 or not all(map(is_number, given)) or not given[0] < given[1]:
        raise SpecificationError(
            f"'{name}' needs an interval (lowest, highest) with lowest < highest, or a list of values; got {given!r}."
        )
    return float(given[0]), float(given[1])


def names_of(frame: pd.DataFrame) -> list[str]:
    """Column names, as text."""
    return [str(name) for name in frame]


def beside(points: pd.DataFrame, own: Iterable[str]) -> pd.DataFrame:
    """Covariates to stand beside a table's own columns: one of the same name is called ``name (covariate)``."""
    clash = {name: f"{name} (covariate)" for name in own if name in points}
    return points.rename(columns=clash)


def grid_frame(values: dict[str, Iterable[Any]]) -> pd.DataFrame:
    """All combinations of the values of each column; one row without columns for none."""
    import pandas as pd

    lists = {name: _as_list(name, given) for name, given in values.items()}
    rows = list(itertools.product(*lists.values()))
    return pd.DataFrame(rows, columns=list(lists), index=range(len(rows)))


def _as_list(name: str, given: Iterable[Any]) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise SpecificationError(f"'{name}' needs a list of values; got {given!r}.")
    values = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if not values:
        raise SpecificationError(f"'{name}' has no values: give at least one.")
    return values


def checked_points(frame: pd.DataFrame, what: str) -> pd.DataFrame:
    """A copy with text as categories, so that levels survive subsetting; missing or infinite values are errors."""
    import pandas as pd

    points = frame.reset_index(drop=True).copy()
    points.columns = [str(c) for c in points.columns]
    for name in points:
        column = points[name]
        bad = column.isna()
        if pd.api.types.is_numeric_dtype(column):
            bad |= ~np.isfinite(column.astype(float))
        elif not isinstance(column.dtype, pd.CategoricalDtype):
            points[name] = pd.Categorical(column)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise SpecificationError(
                f"{what}: column '{name}' has the value {column.iloc[row]} in row {row + 1}; "
                "every value must be finite."
            )
    return points


def _first_of_equal(points: pd.DataFrame) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Index of the first of each set of equal rows, in order of appearance, and which set each row is in."""
    if points.shape[1] == 0:
        return np.zeros(1, dtype=np.intp), np.zeros(len(points), dtype=np.intp)
    group = points.groupby(list(points.columns), sort=False, observed=True).ngroup().to_numpy().astype(np.intp)
    _, first = np.unique(group, return_index=True)
    return first, group
