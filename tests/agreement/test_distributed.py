"""Simulations on a Dask cluster: the same numbers, and none lost or counted twice when a worker is."""

import json
import os
import signal

import numpy as np
import pytest

import optdesign as od

distributed = pytest.importorskip("distributed")

pytestmark = [
    # What the cluster itself leaves open or says while it shuts down.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:dask"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:tornado"),
]

MODEL = od.MixedModel("y ~ x + (1 | unit)", family="poisson")
GUESS = od.NominalValues([0.0, 0.5], {"unit": 0.3})
DESIGN = od.Design(od.Nested("unit"), counts={"unit": 12}, replicates=4, measure=od.Measure.grid(x=[0, 1]))


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield cluster


def run(replications, **more):
    return od.simulate(MODEL, GUESS, DESIGN, replications=replications, **more)


def test_a_cluster_gives_the_same_numbers(cluster):
    with distributed.Client(cluster) as client:
        found = run(60, executor=client)
    assert np.array_equal(found.estimates, run(60).estimates)


def test_losing_a_worker_loses_no_replicate_and_counts_none_twice(cluster, tmp_path):
    killed = []

    def kill(now):
        if not killed and now.done >= 100:
            (pid, *_) = client.run(os.getpid).values()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    store = tmp_path / "replicates.jsonl"
    with distributed.Client(cluster) as client:
        found = run(1500, executor=client, progress=kill, store=store)
    assert killed
    numbers = [json.loads(line)["replicate"] for line in store.read_text().splitlines()[1:]]
    assert sorted(numbers) == list(range(1500))
    assert np.array_equal(found.estimates, run(1500).estimates)
