"""One replicate of a simulation: data drawn from their law, and fitted again."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from optdesign.draws import DataLaw
from optdesign.fit import FitRows, estimated

Index = npt.NDArray[np.intp]

#: What a replicate came to, as plain numbers and text.
Record = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Experiment:
    """What is repeated: data from one law, each replicate from a stream of random numbers of its own.

    Attributes
    ----------
    law : DataLaw
    seed : int
    """

    law: DataLaw
    seed: int

    def replicate(self, number: int) -> Record:
        """Replicate of a number: the same whoever works it out, and whatever else is."""
        stream = np.random.SeedSequence(self.seed, spawn_key=(number,))
        row, response = self.law.draw(np.random.default_rng(stream))
        found = estimated(self.law.model, fit_rows(self.law, row), response)
        return {
            "replicate": number,
            "beta": found.beta.tolist(),
            "se": found.standard_errors.tolist(),
            "components": found.components.tolist(),
            "dispersion": found.dispersion,
            "trouble": found.trouble,
            "singular": found.singular,
        }

    @property
    def header(self) -> Record:
        """What tells one experiment from another, in words and as a digest of all its numbers."""
        law = self.law
        digest = hashlib.sha256()
        stages = [part for stage in law.stages for part in vars(stage).values()]
        effects = [part for e in law.effects for part in (e.Z, e.root, e.unit)]
        for array in (law.X, law.offset, law.trials, law.base, *stages, *effects):
            digest.update(np.ascontiguousarray(array).tobytes())
        return {
            "formula": law.model.formula,
            "family": law.model.family,
            "link": law.model.link_function.name,
            "beta": law.beta.tolist(),
            "dispersion": law.dispersion,
            "observations": len(law.base),
            "seed": self.seed,
            "design and variances": digest.hexdigest(),
        }


def fit_rows(law: DataLaw, row: Index) -> FitRows:
    """What the fitter needs of a data set, the response left out."""
    return FitRows(
        law.names,
        law.X[row],
        {e.factor: e.names for e in law.effects},
        {e.factor: e.Z[row] for e in law.effects},
        {e.factor: list(map(str, e.unit.tolist())) for e in law.effects},
        law.trials[row],
        None if law.model.offset is None else law.offset[row],
    )


def run_batch(payload: bytes, numbers: Sequence[int]) -> list[Record]:
    """Some replicates of a pickled experiment, on one thread: what a worker does."""
    from threadpoolctl import threadpool_limits

    experiment = _unpacked(payload)
    with threadpool_limits(1):
        return [experiment.replicate(number) for number in numbers]


@lru_cache(maxsize=4)
def _unpacked(payload: bytes) -> Experiment:
    experiment: Experiment = pickle.loads(payload)
    return experiment
