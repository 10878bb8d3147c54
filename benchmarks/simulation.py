"""A thousand replicates with one worker and with two: ``python -m benchmarks.simulation``.

Writes simulation.csv: seconds of the whole call, theory and start of the workers included, the parallel efficiency
t₁/2t₂, and the load of the machine before each run, which should be near zero.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pandas as pd

import optdesign as od

REPLICATIONS = 1000
HERE = Path(__file__).parent
X = od.Measure.grid(x=[0, 1])
CASES = {
    "Poisson, random slopes, 63 x 20": (
        od.MixedModel("y ~ x + (1 + x | g)", "poisson"),
        od.NominalValues([-0.5, 0.3], {"g": [[0.5, 0.1], [0.1, 0.25]]}),
        od.Design(od.Nested("g"), counts={"g": 63}, replicates=20, measure=X),
    ),
    "logistic, crossed, 40 x 40": (
        od.MixedModel("y ~ x + (1 | s) + (1 | i)", "bernoulli"),
        od.NominalValues([0.0, 0.8], {"s": 0.5, "i": 0.3}),
        od.Design(od.Crossed("s", "i"), counts={"s": 40, "i": 40}, replicates=1, measure=X),
    ),
}


def main() -> None:
    """Entry point."""
    table = pd.DataFrame([measured(case) for case in CASES])
    table.to_csv(HERE / "simulation.csv", index=False, float_format="%.3g")
    sys.stdout.write(f"{table.to_string(index=False, float_format='%.3g')}\n")


def measured(case: str) -> dict[str, object]:
    """Seconds of a case, load, and efficiency."""
    row: dict[str, object] = {"case": case, "replicates": REPLICATIONS}
    seconds = {}
    for workers in (1, 2):
        load, start = os.getloadavg()[0], time.perf_counter()
        od.simulate(*CASES[case], od.WaldTest("x"), REPLICATIONS, workers=workers)
        seconds[workers] = time.perf_counter() - start
        row |= {f"load before {workers}": load, f"seconds with {workers}": seconds[workers]}
    return {**row, "parallel efficiency": seconds[1] / (2.0 * seconds[2])}


if __name__ == "__main__":
    main()
