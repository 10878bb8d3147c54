"""`simulate`: data from a model and a design, fitted again many times, beside what the theory says of them."""

from __future__ import annotations

import math
import numbers
import os
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optdesign.covariance.accuracy import accuracy
from optdesign.covariance.result import component_names
from optdesign.designs import Design
from optdesign.draws import DataLaw, data_law
from optdesign.errors import (
    AsymptoticRegimeWarning,
    ConvergenceError,
    SpecificationError,
    check_kind,
    is_number,
    listed,
)
from optdesign.fit import check_family, translated
from optdesign.inference import Freedom, WaldTest, degrees_of_freedom, power_at
from optdesign.linalg import vech_pairs
from optdesign.models import MixedModel, NominalValues
from optdesign.simulate.replicates import Experiment, Record, fit_rows
from optdesign.simulate.result import Rate, Simulation, Theory
from optdesign.simulate.running import Executor, completed
from optdesign.simulate.store import append, opened

__all__ = ["Progress", "Rate", "Simulation", "simulate"]


@dataclass(frozen=True)
class Progress:
    """How far a simulation has come.

    Attributes
    ----------
    done, of : int
        Replicates; those that a store held already are done.
    seconds_left : float
        At the speed so far; nan before the first replicate.
    """

    done: int
    of: int
    seconds_left: float


def simulate(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    test: WaldTest | None = None,
    replications: int = 1000,
    seed: int = 1,
    workers: int = 1,
    executor: Executor | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    level: float = 0.95,
) -> Simulation:
    """Draw data from a model at its nominal values, fit them by maximum likelihood, and compare with the theory.

    Replicate i draws from its own stream of random numbers, ``SeedSequence(seed, spawn_key=(i,))``: results depend on
    the seed alone, not on workers, batches or interruptions. Numbers of units and observations are the design's,
    rounded where they are not whole; covariates that are set are realised as exactly as whole numbers allow, in every
    replicate alike; those observed are drawn anew.

    Parameters
    ----------
    model : MixedModel
        Of a family and link that `fit` covers.
    nominal : NominalValues
    design : Design
    test : WaldTest, optional
        Of one coefficient; its power is simulated.
    replications : int
    seed : int
    workers : int
        Processes on this machine. With more than one, a script must guard its start with
        ``if __name__ == "__main__":``.
    executor : object with ``submit``, optional
        Takes the work instead: an executor of `concurrent.futures`, or a ``distributed.Client``.
    store : path, optional
        File of the replicates, written as they come. Where it holds some of the same simulation, only the others are
        made; more replications may be asked for than before.
    progress : callable, optional
        Called with a `Progress` after every batch.
    level : float
        Of the Wald intervals whose coverage is counted.

    Returns
    -------
    Simulation
        After Ctrl-C, of the replicates that there are.

    Raises
    ------
    SpecificationError
        For a family or random terms that are not fitted here, or a store of another simulation.
    ConvergenceError
        Where all fits fail, or all but one.
    OptDesignError
        Where a worker process ends before its work is done.

    Examples
    --------
    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ x + (1 | unit)", family="poisson")
    >>> guess = NominalValues([0.0, 0.5], {"unit": 0.3})
    >>> design = Design(Nested("unit"), counts={"unit": 30}, replicates=4, measure=Measure.grid(x=[0, 1]))
    >>> found = simulate(model, guess, design, WaldTest("x"), replications=100, seed=1)
    >>> found.failed.count, abs(found.power.value - found.theory.power["two-term"]) < 0.1
    (0, True)
    """
    check_kind("model", model, MixedModel)
    _check(test, replications, seed, workers, level)
    check_family(model, "Draw data with draw_data and fit them elsewhere, or compare orders with accuracy.")
    law = data_law(model, nominal, design, seed)
    translated(model, fit_rows(law, law.draw(np.random.default_rng(seed))[0]))  # refuses what cannot be fitted
    theory = _theory(model, nominal, design, law.names, test)
    records = _records(Experiment(law, seed), replications, workers, executor, store, progress or (lambda _: None))
    return _collected(law, records, replications, seed, theory, test, level)


def _check(test: WaldTest | None, replications: int, seed: int, workers: int, level: float) -> None:
    for name, value, least in (("replications", replications, 2), ("seed", seed, 0), ("workers", workers, 1)):
        if not (isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least):
            raise SpecificationError(f"{name} must be a whole number of at least {least}; got {value!r}.")
    if not (is_number(level) and 0.0 < level < 1.0):
        raise SpecificationError(f"level must be a number between 0 and 1; got {level!r}.")
    check_kind("test", test, WaldTest, type(None), instead="a WaldTest, such as WaldTest('treat')")
    if test is not None and not isinstance(test.coefficient, str):
        raise SpecificationError(
            f"the power of a test of one coefficient is simulated; got {test!r}. For a contrast change the model's "
            "coding, so that it is a coefficient."
        )


def _theory(
    model: MixedModel, nominal: NominalValues, design: Design, names: Sequence[str], test: WaldTest | None
) -> Theory:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsymptoticRegimeWarning)  # the orders are there to be compared
        covariances = accuracy(model, nominal, design, "leading").covariances
    freedom = Freedom(model, nominal, design)
    df = np.array([freedom.left([{name: 1.0}], "auto") for name in names])
    if test is None:
        return Theory(covariances, df, math.inf, {})
    test_df = degrees_of_freedom(model, nominal, design, test.coefficient, test.df)
    powers = {order: power_at(found, model, nominal, design, test) for order, found in covariances.items()}
    return Theory(covariances, df, test_df, powers)


def _records(
    experiment: Experiment,
    replications: int,
    workers: int,
    executor: Executor | None,
    store: str | os.PathLike[str] | None,
    progress: Callable[[Progress], None],
) -> list[Record]:
    """Records of all replicates by their numbers: those stored, and those made; fewer after Ctrl-C."""
    path = None if store is None else Path(store)
    found = {} if path is None else {r["replicate"]: r for r in opened(path, experiment.header)}
    missing = [number for number in range(replications) if number not in found]
    batches = completed(experiment, missing, workers, executor)
    made, start = 0, time.perf_counter()
    try:
        for records in batches:
            if path is not None:
                append(path, records)
            found |= {record["replicate"]: record for record in records}
            made += len(records)
            left = len(missing) - made
            progress(Progress(replications - left, replications, (time.perf_counter() - start) / made * left))
    except KeyboardInterrupt:
        batches.close()
        if len(found) < 2:
            raise
    return [found[number] for number in sorted(found) if number < replications]


def _collected(
    law: DataLaw,
    records: Sequence[Record],
    asked: int,
    seed: int,
    theory: Theory,
    test: WaldTest | None,
    level: float,
) -> Simulation:
    trouble = tuple(record["trouble"] for record in records)
    if trouble.count("") < 2:
        raise ConvergenceError(
            f"{len(trouble) - trouble.count('')} of {len(trouble)} fits failed: "
            f"{listed(sorted(set(trouble) - {''}))}. That is too many to say anything: bring more units or "
            "observations, or plan at other nominal values."
        )
    pairs = {e.factor: vech_pairs(len(e.names)) for e in law.effects}
    return Simulation(
        law.names,
        law.beta,
        np.array([record["beta"] for record in records]),
        np.array([record["se"] for record in records]),
        tuple(name for e in law.effects for name in component_names(e.factor, e.names)),
        np.concatenate([np.zeros(0), *((e.root @ e.root.T)[pairs[e.factor]] for e in law.effects)]),
        np.array([record["components"] for record in records]),
        trouble,
        np.array([record["singular"] for record in records]),
        asked,
        seed,
        theory,
        test,
        level,
    )
