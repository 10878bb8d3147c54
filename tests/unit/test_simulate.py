"""Simulations: reproducible, resumable, and honest about the fits that fail."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import optdesign as od
from optdesign.simulate.result import Rate

ROOT = Path(__file__).parents[2]
MODEL = od.MixedModel("y ~ x + (1 | unit)", family="poisson")
GUESS = od.NominalValues([0.0, 0.5], {"unit": 0.3})
DESIGN = od.Design(od.Nested("unit"), counts={"unit": 12}, replicates=4, measure=od.Measure.grid(x=[0, 1]))
TEST = od.WaldTest("x")


def run(replications=30, **more):
    return od.simulate(MODEL, GUESS, DESIGN, TEST, **{"replications": replications, **more})


@pytest.fixture(scope="module")
def whole():
    return run()


def same(one, other):
    return np.array_equal(one.estimates, other.estimates) and np.array_equal(one.standard_errors, other.standard_errors)


def test_results_depend_on_the_seed_alone(whole):
    assert same(whole, run())
    assert not same(whole, run(seed=2))
    assert np.array_equal(run(50).estimates[:30], whole.estimates)


def test_processes_and_executors_make_no_difference(whole):
    assert same(whole, run(workers=2))
    with ThreadPoolExecutor(2) as executor:
        assert same(whole, run(executor=executor))


def test_batches_may_come_back_in_any_order(whole):
    class LastFirst:
        waiting = ()

        def submit(self, task, *arguments):
            future = Future()
            self.waiting = (*self.waiting, (future, task, arguments))
            if len(self.waiting) == 3:
                for each, work, given in reversed(self.waiting):
                    each.set_result(work(*given))
            return future

    assert same(whole, run(executor=LastFirst()))


def test_replicates_are_those_of_the_public_functions():
    """Replicate 3, drawn and fitted by hand."""
    found = run(4)
    stream = np.random.SeedSequence(1, spawn_key=(3,))
    by_hand = od.fit(MODEL, od.draw_data(MODEL, GUESS, DESIGN, np.random.default_rng(stream)))
    assert found.estimates[3] == pytest.approx(by_hand.beta, rel=1e-9)
    assert found.standard_errors[3] == pytest.approx(by_hand.standard_errors, rel=1e-9)
    assert found.component_estimates[3] == pytest.approx(by_hand.random_covariance["unit"][0], rel=1e-9)


def test_progress_is_told(whole):
    told = []
    run(progress=told.append)
    assert [(now.done, now.of) for now in told] == [(10, 30), (20, 30), (30, 30)]
    assert told[0].seconds_left > 0 == told[-1].seconds_left


def test_a_store_is_gone_on_with(whole, tmp_path):
    path = tmp_path / "replicates.jsonl"
    run(10, store=path)
    told = []
    assert same(whole, run(store=path, progress=told.append))
    assert [now.done for now in told] == [20, 30]
    lines = path.read_text().splitlines()
    assert [json.loads(line)["replicate"] for line in lines[1:]] == list(range(30))
    assert run(20, store=path).replications == 20


@pytest.mark.parametrize("cut", [1, 30, 400])
def test_a_last_line_cut_short_is_made_again(whole, tmp_path, cut):
    path = tmp_path / "replicates.jsonl"
    run(store=path)
    path.write_bytes(path.read_bytes()[:-cut])
    assert same(whole, run(store=path))
    assert len(path.read_text().splitlines()) == 31


def test_a_header_cut_short_is_made_again(whole, tmp_path):
    path = tmp_path / "replicates.jsonl"
    run(store=path)
    path.write_bytes(path.read_bytes()[:60])
    assert same(whole, run(store=path))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 2}, r"differs in 'seed' \(seed: 1 in the file, 2 now\)"),
        ({"nominal": od.NominalValues([0.0, 0.4], {"unit": 0.3})}, "'beta'"),
        ({"nominal": od.NominalValues([0.0, 0.5], {"unit": 0.4})}, "'design and variances'"),
        ({"design": DESIGN.scaled(counts=2)}, "'observations'"),
        ({"model": od.MixedModel("y ~ x + (1 | unit)", "bernoulli")}, "'family'"),
    ],
)
def test_a_store_of_another_simulation_is_refused_and_kept(tmp_path, change, words):
    path = tmp_path / "replicates.jsonl"
    run(2, store=path)
    before = path.read_bytes()
    parts = {"model": MODEL, "nominal": GUESS, "design": DESIGN, "seed": 1, **change}
    with pytest.raises(od.SpecificationError, match=words):
        od.simulate(**parts, replications=2, store=path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["a,b\n1,2\n", "{}\n", "[1]\n", "notes", "\ufeff\n"])
def test_other_files_are_not_written_to(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(od.SpecificationError, match="something other than a simulation"):
        run(2, store=path)
    assert path.read_text(encoding="utf-8") == content


def test_a_store_needs_a_folder(tmp_path):
    with pytest.raises(od.SpecificationError, match="cannot be used"):
        run(2, store=tmp_path / "nowhere" / "replicates.jsonl")


def test_interruption_gives_what_there_is(whole, tmp_path):
    def interrupt(now):
        if now.done == 20:
            raise KeyboardInterrupt

    found = run(progress=interrupt, store=tmp_path / "kept.jsonl")
    assert (found.replications, found.asked) == (20, 30)
    assert "20 replicates of 30 asked for" in repr(found)
    assert np.array_equal(found.estimates, whole.estimates[:20])
    assert same(whole, run(store=tmp_path / "kept.jsonl"))


def test_interruption_in_processes_calls_the_rest_off():
    def interrupt(now):
        raise KeyboardInterrupt

    start = time.perf_counter()
    found = run(100_000, workers=2, progress=interrupt)
    assert 10 <= found.replications < 1000
    assert time.perf_counter() - start < 60


SCRIPT = """
import optdesign as od
from tests.unit.test_simulate import DESIGN, GUESS, MODEL
if __name__ == "__main__":
    od.simulate(MODEL, GUESS, DESIGN, replications=100_000, workers=2, store={store!r})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal here")
def test_a_killed_run_loses_nothing(whole, tmp_path):
    store, script = tmp_path / "replicates.jsonl", tmp_path / "script.py"
    script.write_text(SCRIPT.format(store=str(store)))
    process = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end and (not store.exists() or len(store.read_bytes()) < 3000):
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    kept = store.read_bytes().splitlines()
    assert len(kept) > 10
    assert same(whole, run(store=store))
    assert store.read_bytes().splitlines()[: len(kept) - 1] == kept[:-1]
    numbers = [json.loads(line)["replicate"] for line in store.read_bytes().splitlines()[1:]]
    assert len(numbers) == len(set(numbers))


def test_a_worker_that_ends_is_said(tmp_path):
    """What is stored by then stays."""

    def kill(_):
        for child in multiprocessing_children():
            os.kill(child.pid, signal.SIGTERM)

    with pytest.raises(od.OptDesignError, match="a worker process ended before its work was done"):
        run(5000, workers=2, progress=kill, store=tmp_path / "kept.jsonl")
    assert len((tmp_path / "kept.jsonl").read_text().splitlines()) > 10


def multiprocessing_children():
    import multiprocessing

    return multiprocessing.active_children()


def test_fits_that_fail_are_counted_in_every_rate():
    """Four rare events among 20: often none in an arm, which separates the arms."""
    design = od.Design(None, replicates=20, measure=od.Measure.grid(x=[0, 1]))
    model, guess = od.MixedModel("y ~ x", "bernoulli"), od.NominalValues([-2.0, 1.0])
    found = od.simulate(model, guess, design, od.WaldTest("x"), replications=200)
    separated = separated_share(0.1192, 0.2689, 10)
    low, high = found.failed.interval
    assert low < separated < high
    assert found.failed.count == sum(bool(why) for why in found.trouble) > 0
    assert found.power.of == found.coverage("x").of == 200
    assert found.coverage("x").count <= 200 - found.failed.count
    assert "did not converge" in repr(found)
    assert np.isfinite(found.bias).all()


def separated_share(first, second, n):
    """Probability that an arm has no event, or nothing but events."""

    def mixed(p):
        return 1 - (1 - p) ** n - p**n

    return 1 - mixed(first) * mixed(second)


def test_nothing_is_said_where_every_fit_fails():
    design = od.Design(None, replicates=4, measure=od.Measure.grid(x=[0, 1]))
    model, guess = od.MixedModel("y ~ x", "bernoulli"), od.NominalValues([-20.0, 0.0])
    with pytest.raises(od.ConvergenceError, match="20 of 20 fits failed: 'did not converge'"):
        od.simulate(model, guess, design, replications=20)


def test_singular_fits_are_counted():
    guess = od.NominalValues([0.0, 0.5], {"unit": 1e-6})
    found = od.simulate(MODEL, guess, DESIGN, replications=50)
    assert found.boundary.count == found.singular.sum() > 10
    assert found.failed.count == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"replications": 1}, "replications must be a whole number of at least 2"),
        ({"workers": 0}, "workers must be a whole number of at least 1"),
        ({"seed": -1}, "seed must be a whole number"),
        ({"level": 1.0}, "level must be a number between 0 and 1"),
        ({"test": "x"}, "test must be a WaldTest"),
        ({"test": od.WaldTest("z")}, "'z' is not a coefficient"),
        ({"test": od.WaldTest({"x": 1, "Intercept": 1})}, "test of one coefficient is simulated"),
        ({"model": od.MixedModel("y ~ x + (1 | unit)", "gamma", "log")}, "family 'gamma' .* draw_data"),
        ({"model": od.MixedModel("y ~ x + (0 + x | unit)", "poisson")}, "without an intercept"),
    ],
)
def test_what_is_refused(change, words):
    parts = {"model": MODEL, "nominal": GUESS, "design": DESIGN, "replications": 2, **change}
    with pytest.raises(od.SpecificationError, match=words):
        od.simulate(**parts)


def test_prints_and_tables(whole):
    text = repr(whole)
    for words in ("30 replicates, seed 1", "Power of the test of 'x'", "two-term", "exact", "var(Intercept | unit)"):
        assert words in text
    frame = whole.to_frame()
    assert list(frame.index) == ["Intercept", "x"]
    assert {"true", "bias", "bias low", "se", "mean estimated se", "se, exact", "coverage", "coverage high"} <= set(
        frame
    )
    assert (frame["se low"] < frame["se"]).all()
    assert "<table" in whole._repr_html_()
    plain = json.loads(json.dumps(whole.to_json()))
    assert plain["power"]["by order"].keys() == whole.theory.power.keys()
    assert plain["coefficients"]["x"]["true"] == 0.5


def test_rates_have_wilson_intervals():
    """Newcombe (1998), Table I: 81 of 263, and 0 of 20."""
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert Rate(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert math.isnan(Rate(0, 0).value)


@pytest.mark.parametrize("formula", ["y ~ x", "y ~ x + (1 | unit)", "y ~ x + (1 + x | unit)"])
@pytest.mark.parametrize("link", ["logit", "probit", "cloglog"])
def test_data_of_which_nothing_can_be_said_are_counted_not_dropped(formula, link):
    sigma = {"y ~ x": {}, "y ~ x + (1 | unit)": {"unit": 1.0}}.get(formula, {"unit": [[1.0, 0.3], [0.3, 0.5]]})
    layout = od.Nested("unit") if sigma else None
    design = od.Design(layout, [od.Group(4 if sigma else 1, 4 if sigma else 8, od.Measure.grid(x=[0, 1]))])
    guess = od.NominalValues([-1.5, 0.5], sigma)
    found = od.simulate(od.MixedModel(formula, "bernoulli", link), guess, design, replications=40)
    failed = np.isnan(found.estimates).any(axis=1)
    assert 0 < failed.sum() == found.failed.count < 40
    assert np.isnan(found.component_estimates[failed]).all()
    assert repr(found)


@pytest.mark.parametrize("alternative", ["greater", "equivalence"])
def test_margins_are_those_of_the_test(alternative):
    test = od.WaldTest("x", null=0.5, alternative=alternative, margin=0.9)
    found = od.simulate(MODEL, GUESS, DESIGN, test, replications=60)
    difference, error = (each[:, 1] for each in (found.estimates - 0.5, found.standard_errors))
    above, below = difference + 0.9 > 1.644853627 * error, difference - 0.9 < -1.644853627 * error
    assert found.power.count == (above & (below | (alternative == "greater"))).sum() > 0
    low, high = found.power.interval
    assert low < found.theory.power["exact"] < high


CLINICS = od.MixedModel("y ~ arm + x + (1 | clinic)")
BELIEFS = od.NominalValues([0.0, 1.0, 0.5], {"clinic": 0.2})
TWO = od.Design(
    od.Nested("clinic"),
    counts={"clinic": 2},
    replicates=6,
    measure=od.Measure.grid(arm=[0, 1], x=[0, 1]),
    levels={"arm": "clinic"},
)


def test_where_no_degrees_of_freedom_are_left_there_is_no_interval():
    """Two clinics, an arm each: what differs between clinics has no interval, what differs within them has."""
    found = od.simulate(CLINICS, BELIEFS, TWO, od.WaldTest("x"), replications=20)
    assert found.theory.df.tolist() == [0.0, 0.0, 12 - 2 - 1]
    assert [found.coverage(name).of for name in found.names] == [0, 0, 20]
    assert "none" in repr(found)


def test_where_no_degrees_of_freedom_are_left_there_is_no_test():
    with pytest.raises(od.SpecificationError, match="no degrees of freedom are left for 'arm'"):
        od.simulate(CLINICS, BELIEFS, TWO, od.WaldTest("arm"), replications=20)
    stated = od.simulate(CLINICS, BELIEFS, TWO, od.WaldTest("arm", df=math.inf), replications=20)
    assert stated.power.of == 20
