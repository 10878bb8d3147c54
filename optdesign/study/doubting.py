"""What a plan is worth where the nominal values are wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from optdesign import formula as formulas
from optdesign.errors import OptDesignError
from optdesign.fit import Fit
from optdesign.inference import WaldTest, power
from optdesign.models import NominalValues
from optdesign.optimize.scoring import reported
from optdesign.study.words import number
from optdesign.tradeoffs import robustness

if TYPE_CHECKING:
    from optdesign.optimize import OptimalDesign

#: Multiples of the covariance of each factor's random effects, and of coefficients that no pilot says the error of.
MULTIPLES, SHARES = (0.25, 0.5, 2.0, 4.0), (0.5, 1.5)
#: Standard errors of the pilot by which its estimates may be wrong.
ERRORS = (-2.0, 2.0)


@dataclass(frozen=True, eq=False)
class Case:
    """Nominal values of which one is another than believed: which one, and what it is there."""

    parameter: str
    value: str
    nominal: NominalValues


def doubts(
    best: OptimalDesign, pilot: Fit | None, encoding: formulas.Encoding, coefficient: str | None, test: WaldTest | None
) -> pd.DataFrame:
    """A row per case: parameter, value, efficiency of the plan; standard error of a coefficient, and power.

    The efficiency is relative to the best design of the same money there. Cases without an answer are left out.
    """
    plan = best.rounded.design
    rows = []
    for case in cases(best, pilot, encoding, test):
        with suppress(OptDesignError):
            row: dict[str, object] = {"parameter": case.parameter, "value": case.value}
            row["efficiency"] = min(1.0, robustness(best, [case.nominal], plan).worst)
            if coefficient is not None:
                cov = reported(best.problem, case.nominal, plan)
                row["standard error"] = float(cov.standard_errors[cov.position(coefficient)])
            if test is not None:
                row["power"] = power(best.model, case.nominal, plan, test, best.order)
            rows.append(row)
    return pd.DataFrame(rows)


def cases(best: OptimalDesign, pilot: Fit | None, encoding: formulas.Encoding, test: WaldTest | None) -> Iterator[Case]:
    """Variances from a quarter to fourfold, then coefficients, where anything depends on them."""
    nominal = best.nominal
    for factor in best.model.factors:
        for k in MULTIPLES:
            matrices = {**nominal.covariance, factor: k * np.asarray(nominal.covariance[factor])}
            changed = replace(nominal, covariance=matrices)
            yield Case(f"covariance of {factor}", f"× {k:g}", changed)
    beta = dict(zip(encoding.fixed_names, nominal.beta_vector(encoding).tolist(), strict=True))
    tested = {encoding.aliases.get(name, name) for name in (test.combinations[0] if test else ())}
    for name, value in beta.items():
        if best.model.is_gaussian and name not in tested:
            continue  # neither information nor power depends on it
        for other, why in _others(value, None if pilot is None else pilot.to_frame(), name):
            yield Case(name, f"{number(other)} ({why})", replace(nominal, beta={**beta, name: other}))


def _others(value: float, pilot: pd.DataFrame | None, name: str) -> Iterator[tuple[float, str]]:
    """Other values of a coefficient, and what they are relative to the one believed."""
    if pilot is not None:
        for k in ERRORS:
            yield value + k * float(pilot["standard error"][name]), f"{k:+g} se"
    elif value:
        for k in SHARES:
            yield k * value, f"× {k:g}"
