"""Figures of designs, certificates, precision and power: each draws a result on the axes it is given, and returns them.

>>> from optdesign import Design, Group, Measure, Nested, plotting
>>> figure, ax = plotting.new_axes()
>>> design = Design(Nested("clinic"), [Group(20, 6, Measure.grid(dose=[0, 1]))])
>>> plotting.design_measure(ax, design, units="clinics").get_ylabel()
'observations per unit'
"""

from __future__ import annotations

from optdesign.plotting.certificates import sensitivity
from optdesign.plotting.house import FAINT, INK, MOST_ROWS, MUTED, PAPER, SERIES, new_axes, save
from optdesign.plotting.layouts import layout_map, standard_errors
from optdesign.plotting.measures import design_measure
from optdesign.plotting.patterns import covariance_pattern, layout_patterns, observation_covariance
from optdesign.plotting.powers import power_curves
from optdesign.plotting.precision import confidence_ellipses, frontier
from optdesign.plotting.surfaces import budget_line, criterion_surface
from optdesign.plotting.trust import accuracy_map, robustness_profile

__all__ = [
    "FAINT",
    "INK",
    "MOST_ROWS",
    "MUTED",
    "PAPER",
    "SERIES",
    "accuracy_map",
    "budget_line",
    "confidence_ellipses",
    "covariance_pattern",
    "criterion_surface",
    "design_measure",
    "frontier",
    "layout_map",
    "layout_patterns",
    "new_axes",
    "observation_covariance",
    "power_curves",
    "robustness_profile",
    "save",
    "sensitivity",
    "standard_errors",
]
