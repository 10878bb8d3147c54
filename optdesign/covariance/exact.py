"""Exact information (placeholder)."""

from __future__ import annotations

from optdesign.covariance.result import AsymptoticCovariance
from optdesign.designs import Design
from optdesign.models import MixedModel, NominalValues


def exact_covariance(
    model: MixedModel, nominal: NominalValues, design: Design, parameters: str, seed: int
) -> AsymptoticCovariance:
    raise NotImplementedError
