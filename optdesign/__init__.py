"""Optimal design of studies for linear, generalised linear and mixed models, under a budget.

Public names load on first use, so that importing the package is light.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optdesign.cheapest import cheapest as cheapest
    from optdesign.compare import Comparison as Comparison
    from optdesign.compare import LayoutMap as LayoutMap
    from optdesign.compare import alternatives as alternatives
    from optdesign.compare import break_even as break_even
    from optdesign.compare import compare as compare
    from optdesign.compare import layout_map as layout_map
    from optdesign.compare import layout_spaces as layout_spaces
    from optdesign.costs import Cost as Cost
    from optdesign.covariance import AsymptoticCovariance as AsymptoticCovariance
    from optdesign.covariance import covariance as covariance
    from optdesign.covariance import covariance_of_frame as covariance_of_frame
    from optdesign.covariance.accuracy import Accuracy as Accuracy
    from optdesign.covariance.accuracy import AccuracyMap as AccuracyMap
    from optdesign.covariance.accuracy import accuracy as accuracy
    from optdesign.covariance.accuracy import accuracy_map as accuracy_map
    from optdesign.covariance.observations import ObservationCovariance as ObservationCovariance
    from optdesign.covariance.observations import observation_covariance as observation_covariance
    from optdesign.criteria import AOptimality as AOptimality
    from optdesign.criteria import Bayesian as Bayesian
    from optdesign.criteria import Compound as Compound
    from optdesign.criteria import COptimality as COptimality
    from optdesign.criteria import DOptimality as DOptimality
    from optdesign.criteria import EOptimality as EOptimality
    from optdesign.criteria import IOptimality as IOptimality
    from optdesign.criteria import Maximin as Maximin
    from optdesign.designs import Design as Design
    from optdesign.designs import DesignSpace as DesignSpace
    from optdesign.designs import Distinct as Distinct
    from optdesign.designs import Group as Group
    from optdesign.designs import Share as Share
    from optdesign.designs import Total as Total
    from optdesign.draws import draw_data as draw_data
    from optdesign.errors import AsymptoticRegimeWarning as AsymptoticRegimeWarning
    from optdesign.errors import ConvergenceError as ConvergenceError
    from optdesign.errors import InfeasibleBudgetError as InfeasibleBudgetError
    from optdesign.errors import NotEstimableError as NotEstimableError
    from optdesign.errors import OptDesignError as OptDesignError
    from optdesign.errors import SpecificationError as SpecificationError
    from optdesign.fit import Fit as Fit
    from optdesign.fit import Intervals as Intervals
    from optdesign.fit import fit as fit
    from optdesign.inference import AttainablePower as AttainablePower
    from optdesign.inference import JointTest as JointTest
    from optdesign.inference import SampleSize as SampleSize
    from optdesign.inference import WaldTest as WaldTest
    from optdesign.inference import WeibullDropout as WeibullDropout
    from optdesign.inference import assurance as assurance
    from optdesign.inference import attainable_power as attainable_power
    from optdesign.inference import degrees_of_freedom as degrees_of_freedom
    from optdesign.inference import inflation as inflation
    from optdesign.inference import interval_width as interval_width
    from optdesign.inference import minimum_detectable_effect as minimum_detectable_effect
    from optdesign.inference import power as power
    from optdesign.inference import power_curve as power_curve
    from optdesign.inference import power_surface as power_surface
    from optdesign.inference import sample_size as sample_size
    from optdesign.inference import with_dropout as with_dropout
    from optdesign.inference import with_unequal_sizes as with_unequal_sizes
    from optdesign.layouts import Crossed as Crossed
    from optdesign.layouts import Nested as Nested
    from optdesign.measures import Candidates as Candidates
    from optdesign.measures import Measure as Measure
    from optdesign.models import MixedModel as MixedModel
    from optdesign.models import NominalValues as NominalValues
    from optdesign.optimize import Certificate as Certificate
    from optdesign.optimize import ExactDesign as ExactDesign
    from optdesign.optimize import OptimalDesign as OptimalDesign
    from optdesign.optimize import efficiency as efficiency
    from optdesign.optimize import optimize as optimize
    from optdesign.optimize.laws import OptimalLaw as OptimalLaw
    from optdesign.optimize.laws import optimize_law as optimize_law
    from optdesign.optimize.profile import Surface as Surface
    from optdesign.optimize.profile import budget_line as budget_line
    from optdesign.optimize.profile import criterion_surface as criterion_surface
    from optdesign.report import write_report as write_report
    from optdesign.schedules import enumerated_profiles as enumerated_profiles
    from optdesign.simulate import Simulation as Simulation
    from optdesign.simulate import simulate as simulate
    from optdesign.study import Study as Study
    from optdesign.study import StudyResult as StudyResult
    from optdesign.study import load_study as load_study
    from optdesign.study import run_study as run_study
    from optdesign.study.comparing import StudyComparison as StudyComparison
    from optdesign.study.comparing import compare_study as compare_study
    from optdesign.tradeoffs import Frontier as Frontier
    from optdesign.tradeoffs import Pareto as Pareto
    from optdesign.tradeoffs import Robustness as Robustness
    from optdesign.tradeoffs import frontier as frontier
    from optdesign.tradeoffs import pareto as pareto
    from optdesign.tradeoffs import robustness as robustness

__version__ = "0.1.0"

_HOMES = {
    "cheapest": ("cheapest",),
    "compare": ("Comparison", "LayoutMap", "alternatives", "break_even", "compare", "layout_map", "layout_spaces"),
    "covariance": ("AsymptoticCovariance", "covariance", "covariance_of_frame"),
    "covariance.accuracy": ("Accuracy", "AccuracyMap", "accuracy", "accuracy_map"),
    "covariance.observations": ("ObservationCovariance", "observation_covariance"),
    "costs": ("Cost",),
    "criteria": (
        "AOptimality",
        "Bayesian",
        "COptimality",
        "Compound",
        "DOptimality",
        "EOptimality",
        "IOptimality",
        "Maximin",
    ),
    "designs": ("Design", "DesignSpace", "Distinct", "Group", "Share", "Total"),
    "draws": ("draw_data",),
    "errors": (
        "AsymptoticRegimeWarning",
        "ConvergenceError",
        "InfeasibleBudgetError",
        "NotEstimableError",
        "OptDesignError",
        "SpecificationError",
    ),
    "fit": ("Fit", "Intervals", "fit"),
    "inference": (
        "AttainablePower",
        "JointTest",
        "SampleSize",
        "WaldTest",
        "WeibullDropout",
        "assurance",
        "attainable_power",
        "degrees_of_freedom",
        "inflation",
        "interval_width",
        "minimum_detectable_effect",
        "power",
        "power_curve",
        "power_surface",
        "sample_size",
        "with_dropout",
        "with_unequal_sizes",
    ),
    "layouts": ("Crossed", "Nested"),
    "measures": ("Candidates", "Measure"),
    "models": ("MixedModel", "NominalValues"),
    "optimize": ("Certificate", "ExactDesign", "OptimalDesign", "efficiency", "optimize"),
    "optimize.profile": ("Surface", "budget_line", "criterion_surface"),
    "optimize.laws": ("OptimalLaw", "optimize_law"),
    "report": ("write_report",),
    "schedules": ("enumerated_profiles",),
    "simulate": ("Simulation", "simulate"),
    "study": ("Study", "StudyResult", "load_study", "run_study"),
    "study.comparing": ("StudyComparison", "compare_study"),
    "tradeoffs": ("Frontier", "Pareto", "Robustness", "frontier", "pareto", "robustness"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605


class _Package(ModuleType):
    """Loads public names on first use; a submodule never hides the public function of the same name."""

    def __getattr__(self, name: str) -> object:
        if name not in _HOME_OF:
            raise AttributeError(f"module 'optdesign' has no attribute '{name}'")
        value: object = getattr(importlib.import_module(f"optdesign.{_HOME_OF[name]}"), name)
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOME_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *__all__]


sys.modules[__name__].__class__ = _Package
