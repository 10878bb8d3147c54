"""All schedules that a unit may follow, where they are few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from optdesign.designs import DesignSpace
from optdesign.errors import SpecificationError
from optdesign.measures import Candidates

#: Schedules listed at most.
MOST_PROFILES = 20_000


def enumerated_profiles(space: DesignSpace, most: int = MOST_PROFILES) -> Candidates:
    """Every schedule that a unit of the space may follow, as `Candidates.profiles` by ``"schedule"``.

    A unit uses each of its type's candidates a whole number of times, within the space's `replicates` and `at_most`.
    As information adds up over units, criteria that need each unit's own law of observations, such as those of
    variance components, are solved on the schedules.

    Parameters
    ----------
    space : DesignSpace
        Of one grouping factor, with a highest number of replicates.
    most : int
        Schedules at most.

    Raises
    ------
    SpecificationError
        For a space without a largest schedule, or too many schedules: says how many.

    Examples
    --------
    >>> from optdesign import Nested
    >>> enumerated_profiles(DesignSpace(Nested("patient"), Candidates.grid(visit=[0, 1, 2]), replicates=(2, 3)))
    16 profiles by 'schedule', of 42 observations in all
    """
    low, high = _sizes(space)
    number = sum(count_schedules(size, low, high, space.at_most) for size in np.bincount(space.region.type_of_atom))
    if number > most:
        raise SpecificationError(
            f"the candidates make {number:,} schedules; at most {most:,} are listed. Use fewer candidates, a narrower "
            "range of replicates, or a smaller at_most."
        )
    points, rows, schedule = space.candidates.points, [], []
    for unit_type in range(space.region.n_types):
        atoms = np.flatnonzero(space.region.type_of_atom == unit_type)
        for times in _multisets(len(atoms), low, high, space.at_most):
            rows.append(np.repeat(atoms, times))
            schedule.append(np.full(len(rows[-1]), len(rows)))
    frame = points.iloc[np.concatenate(rows)].reset_index(drop=True)
    frame.insert(0, "schedule", np.concatenate(schedule))
    return Candidates.profiles(frame, by="schedule")


def _sizes(space: DesignSpace) -> tuple[int, int]:
    """Fewest and most observations of a unit."""
    low, high = space.replicate_bounds
    if space.layout is None or len(space.layout.factors) > 1 or space.candidates.by is not None:
        raise SpecificationError(
            "schedules are listed for free candidates in a layout of one factor, Nested('factor')."
        )
    if space.at_most is not None:
        high = min(high, space.at_most * float(np.bincount(space.region.type_of_atom).max()))
    if np.isinf(high) or "schedule" in space.candidates.points:
        raise SpecificationError(
            "listing schedules needs a highest number of replicates, as in replicates=(2, 6), and no covariate called "
            f"'schedule'; got replicates={space.replicates!r}."
        )
    return int(np.ceil(max(low, 1.0))), int(np.floor(high))


def count_schedules(points: int, low: int, high: int, at_most: int | None) -> int:
    """Number of multisets of `low` to `high` of some points, each used `at_most` times at most.

    >>> count_schedules(3, 2, 3, None)
    16
    """
    ways = [1] + [0] * high
    for _ in range(points):
        ways = [sum(ways[n - k] for k in range(min(n, at_most or n) + 1)) for n in range(high + 1)]
    return sum(ways[low:])


def _multisets(points: int, low: int, high: int, at_most: int | None) -> Iterator[tuple[int, ...]]:
    """Numbers of uses of each point."""
    if points == 1:
        yield from ((k,) for k in range(max(low, 0), min(high, at_most or high) + 1))
        return
    for k in range(min(high, at_most or high) + 1):
        yield from ((k, *rest) for rest in _multisets(points - 1, max(low - k, 0), high - k, at_most))
