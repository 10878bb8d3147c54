"""Designs as they will be, not as they were meant: patients who drop out, and units of unequal sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from optdesign.costs import holds
from optdesign.designs import Design, Group
from optdesign.errors import SpecificationError, check_kind, is_number, listed, nearest
from optdesign.layouts import Crossed
from optdesign.measures import Measure

Array = npt.NDArray[np.float64]

#: Nodes of the rule over the law of sizes: moments up to order 2 · 8 − 1 are exact.
NODES = 8


@dataclass(frozen=True)
class WeibullDropout:
    """A law of dropout: (1 − lost)^{s^shape} of the units are still observed at s, time scaled to run from 0 to 1.

    Parameters
    ----------
    lost : float
        Share of units lost by the last time.
    shape : float
        1 for a constant risk, above 1 for one that grows, below 1 for one that falls.

    Raises
    ------
    SpecificationError
        For a share outside [0, 1), or a shape that is not positive.

    Examples
    --------
    >>> WeibullDropout(0.3, 2.0)(np.array([0.0, 0.5, 1.0])).round(4).tolist()
    [1.0, 0.9147, 0.7]
    """

    lost: float
    shape: float = 1.0

    def __post_init__(self) -> None:
        if not (is_number(self.lost) and 0.0 <= self.lost < 1.0):
            raise SpecificationError(f"lost must be a number of at least 0, below 1; got {self.lost!r}.")
        if not (is_number(self.shape) and self.shape > 0.0):
            raise SpecificationError(f"shape must be a positive number; got {self.shape!r}.")

    def __call__(self, time: Array) -> Array:
        """Share still observed at times from 0, the first, to 1, the last."""
        return np.asarray((1.0 - self.lost) ** np.asarray(time) ** self.shape)


Retention = Callable[[Array], Array]
#: Units of one kind: their share, their within-unit measure and their number of observations.
Kind = tuple[float, Measure, float]


def with_dropout(design: Design, time: str, retention: Retention | Mapping[str, Retention]) -> Design:
    """The design with units that are lost, once and for all, at some time.

    A unit seen up to the k-th time is a kind of its own; the kinds have the shares R(t_k) − R(t_{k+1}), R the share
    still observed. Covariances of every order, degrees of freedom and power are then those of the law of dropout:
    the information expected, where dropout does not depend on the response given what was seen before.

    Parameters
    ----------
    design : Design
        Nested; the innermost units are lost.
    time : str
        The covariate that is time, which varies within units.
    retention : callable, or mapping from condition to callable
        Share still observed, as a function of time scaled to run from 0 to 1, such as `WeibullDropout`; or one for each
        of some conditions on the groups' unit-level covariates, such as ``{"arm == 1": …, "arm == 0": …}``.

    Returns
    -------
    Design

    Raises
    ------
    SpecificationError
        For a crossed design, an unknown or unit-level time, groups that no condition or several describe, or shares
        that do not fall from one.

    Examples
    --------
    A fifth of the patients are gone after the first of two visits:

    >>> from optdesign.layouts import Nested
    >>> design = Design(Nested("patient"), counts={"patient": 50}, replicates=2, measure=Measure.grid(visit=[0, 1]))
    >>> with_dropout(design, "visit", WeibullDropout(0.2)).to_frame()[["count", "replicates", "visit"]]
       count  replicates  visit
    0   10.0         1.0      0
    1   40.0         2.0      0
    2   40.0         2.0      1
    """
    _require_units(design, "with_dropout")
    columns = [str(c) for c in design.groups[0].measure.points]
    if time not in columns:
        raise SpecificationError(
            f"time '{time}' is not a covariate that varies within units: {listed(columns)}.{nearest(time, columns)}"
        )
    times = np.unique(np.concatenate([g.measure.points[time].to_numpy(dtype=float) for g in design.groups]))
    scaled = (times - times[0]) / max(float(np.ptp(times)), np.finfo(float).tiny)
    return _mixed(design, "seen", lambda group: _by_last_time(group, time, times, _staying(group, retention, scaled)))


def _staying(group: Group, retention: Retention | Mapping[str, Retention], time: Array) -> Array:
    """Share of a group's units still observed at each time."""
    laws = retention if isinstance(retention, Mapping) else {"": retention}
    points = group.law.points
    fit = [law for condition, law in laws.items() if not condition or holds(condition, points, "dropout").all()]
    if len(fit) != 1:
        raise SpecificationError(
            f"{len(fit)} of the conditions {listed(laws)} hold for the group at {dict(group.at)}; exactly one must."
        )
    share = np.asarray(fit[0](time), dtype=float)
    if share.shape != time.shape or not (share[0] == 1.0 and (np.diff(share) <= 0).all() and share[-1] >= 0.0):
        raise SpecificationError(
            f"the share still observed must begin at 1 and fall to no less than 0; at {time.tolist()} it is "
            f"{share.tolist()}."
        )
    return share


def _by_last_time(group: Group, time: str, times: Array, staying: Array) -> list[Kind]:
    """Kinds of unit by the last time at which they are seen."""
    lost = -np.diff(np.append(staying, 0.0))
    at = group.measure.points[time].to_numpy(dtype=float)
    found = []
    for last, share in zip(times, lost, strict=True):
        weight = np.where(at <= last, group.measure.weights, 0.0)
        if share > 0.0 and weight.any():
            found.append((float(share), Measure(group.measure.points, weight), float(group.replicates * weight.sum())))
    return found


def with_unequal_sizes(design: Design, cv: float) -> Design:
    """The design with innermost units of unequal sizes, of the same mean.

    Sizes have a gamma law with the coefficient of variation given, of which an eight-point Gauss rule is taken: kinds
    of unit of sizes n_k in shares w_k that have its first 15 moments. Covariances of every order are then those of the
    information expected over that law, Σ_k w_k I(n_k); to second order in cv a variance λ/m of a coefficient between
    units is divided by 1 − cv² ρ(1 − ρ), ρ = nσ_u²/(nσ_u² + σ²) (van Breukelen, Candel & Berger 2007).

    Parameters
    ----------
    design : Design
        Nested. Each unit is taken to see the same law of covariates, whatever its size.
    cv : float
        Standard deviation of sizes relative to their mean, positive.

    Returns
    -------
    Design

    Raises
    ------
    SpecificationError
        For a crossed design, or a coefficient of variation that is not positive.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> design = Design(Nested("clinic"), counts={"clinic": 40}, replicates=10)
    >>> unequal = with_unequal_sizes(design, 0.5)
    >>> sizes, counts = np.array([[g.replicates, g.count] for g in unequal.groups]).T
    >>> round(float(counts @ sizes) / 40, 6), round(float(counts @ (sizes - 10) ** 2) / 40, 6)
    (10.0, 25.0)
    """
    from scipy.special import roots_genlaguerre

    _require_units(design, "with_unequal_sizes")
    if not (is_number(cv) and cv > 0.0):
        raise SpecificationError(f"cv must be a positive number, such as 0.4; got {cv!r}.")
    nodes, weights = roots_genlaguerre(NODES, 1.0 / cv**2 - 1.0)
    sizes, shares = nodes * cv**2, weights / weights.sum()
    return _mixed(
        design,
        "size",
        lambda group: [
            (float(w), group.measure, float(group.replicates * s)) for s, w in zip(sizes, shares, strict=True)
        ],
    )


def _require_units(design: Design, what: str) -> None:
    check_kind("design", design, Design)
    if design.layout is None or isinstance(design.layout, Crossed):
        raise SpecificationError(f"{what} is for units of a nested layout; the layout is {design.layout!r}.")


def _mixed(design: Design, name: str, kinds_of: Callable[[Group], list[Kind]]) -> Design:
    """The design with a mixture of kinds of innermost unit: groups where there is one factor, laws of an inner one."""
    assert design.layout is not None  # checked before
    if len(design.layout.factors) == 1:
        groups = [
            replace(group, count=group.count * share, measure=measure, replicates=size)
            for group in design.groups
            for share, measure, size in kinds_of(group)
        ]
        return Design(design.layout, groups, observed=design.observed, levels=design.levels)
    factor = design.layout.factors[-1]
    column = f"{name} of {factor}"
    groups = [_inner_mixture(group, factor, column, kinds_of(group)) for group in design.groups]
    return Design(design.layout, groups, observed=design.observed, levels={**design.levels, column: factor})


def _inner_mixture(group: Group, factor: str, column: str, kinds: list[Kind]) -> Group:
    """A group whose innermost units are of several kinds, told apart by a column of their own."""
    import pandas as pd

    if factor in group.laws:
        raise SpecificationError(
            f"the units of '{factor}' have a law of their own already: dropout and unequal sizes are for units "
            "that are alike."
        )
    total = math.fsum(share * size for share, _, size in kinds)
    points = pd.concat([m.points.assign(**{column: k}) for k, (_, m, _) in enumerate(kinds)], ignore_index=True)
    weights = np.concatenate([share * size / total * m.weights for share, m, size in kinds])
    law = Measure(pd.DataFrame({column: range(len(kinds))}), np.array([share for share, _, _ in kinds]))
    return replace(group, measure=Measure(points, weights), replicates=total, laws={**group.laws, factor: law})
