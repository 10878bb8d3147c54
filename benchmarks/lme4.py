"""The same data fitted here and by lme4: ``python -m benchmarks.lme4``, where R and lme4 are installed.

Writes lme4.csv: how far the estimates are apart, and how long both take. Quadrature has the same number of nodes where
lme4 has any, which is for one random effect. With two of one factor lme4 takes Laplace's approximation: these data are
fitted here twice, by quadrature, which is the default, and by the same approximation. lme4 searches to tolerances below
its defaults, at which its own estimates are off by more than the two packages differ.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pandas as pd

import optdesign as od
from optdesign.draws import data_law
from optdesign.fit import QUADRATURE_NODES, Estimates, estimated
from optdesign.simulate.replicates import fit_rows

SETS = 20
HERE = Path(__file__).parent
X = od.Measure.grid(x=[0, 1])


@dataclass(frozen=True)
class Case:
    """Data and the fit that both packages are asked for; nodes are per random effect, and one is Laplace's."""

    name: str
    model: od.MixedModel
    nominal: od.NominalValues
    design: od.Design
    nodes: int
    nodes_lme4: int


SLOPES = (
    od.MixedModel("y ~ x + (1 + x | g)", "poisson"),
    od.NominalValues([-0.5, 0.3], {"g": [[0.5, 0.1], [0.1, 0.25]]}),
    od.Design(od.Nested("g"), counts={"g": 63}, replicates=20, measure=X),
)
CASES = (
    Case(
        "Poisson, random intercept, 63 x 20",
        od.MixedModel("y ~ x + (1 | g)", "poisson"),
        od.NominalValues([-0.5, 0.3], {"g": 0.5}),
        od.Design(od.Nested("g"), counts={"g": 63}, replicates=20, measure=X),
        25,
        25,
    ),
    Case("Poisson, random slopes, 63 x 20", *SLOPES, QUADRATURE_NODES[2], 1),
    Case("Poisson, random slopes, 63 x 20, Laplace", *SLOPES, 1, 1),
    Case(
        "logistic, crossed, 40 x 40",
        od.MixedModel("y ~ x + (1 | s) + (1 | i)", "bernoulli"),
        od.NominalValues([0.0, 0.8], {"s": 0.5, "i": 0.3}),
        od.Design(od.Crossed("s", "i"), counts={"s": 40, "i": 40}, replicates=1, measure=X),
        1,
        1,
    ),
)


def main() -> None:
    """Entry point."""
    if shutil.which("Rscript") is None:
        sys.stderr.write("Rscript is not installed: there is nothing to compare with.\n")
        return
    table = pd.DataFrame([compared(case) for case in CASES])
    table.to_csv(HERE / "lme4.csv", index=False, float_format="%.4g")
    sys.stdout.write(f"{table.to_string(index=False)}\n")


def compared(case: Case) -> dict[str, object]:
    """Differences and times of one case."""
    law = data_law(case.model, case.nominal, case.design)
    frames, ours, seconds = [], [], []
    for number in range(SETS):
        row, response = law.draw(np.random.default_rng(number))
        frames.append(law.frame(row, response).assign(set=number))
        start = time.perf_counter()
        with patch.dict(QUADRATURE_NODES, dict.fromkeys(QUADRATURE_NODES, case.nodes)):
            ours.append(estimated(case.model, fit_rows(law, row), response))
        seconds.append(time.perf_counter() - start)
    theirs = by_lme4(case, pd.concat(frames))
    p = len(law.names)
    fine = np.array([not each.trouble for each in ours])
    beta, errors = theirs.iloc[:, 1 : p + 1].to_numpy()[fine], theirs.iloc[:, p + 1 : 2 * p + 1].to_numpy()[fine]
    here, own = _stack(ours, "beta")[fine], _stack(ours, "standard_errors")[fine]
    mine, others = statistics.median(seconds), float(theirs["seconds"].median())
    return {
        "case": case.name,
        "sets": int(fine.sum()),
        "largest difference of estimates": np.abs(here - beta).max(),
        "the same in standard errors": (np.abs(here - beta) / own).max(),
        "largest difference of standard errors, relative": np.abs(errors / own - 1.0).max(),
        "median seconds here": mine,
        "median seconds lme4": others,
        "times as fast": others / mine,
    }


def _stack(fits: list[Estimates], what: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(each, what) for each in fits])


def by_lme4(case: Case, data: pd.DataFrame) -> pd.DataFrame:
    """Estimates, standard errors and seconds of every set."""
    family = "binomial" if case.model.family == "bernoulli" else case.model.family
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "data.csv", Path(folder) / "fits.csv"
        data.to_csv(given, index=False)
        script = [str(HERE / "lme4.R"), str(given), str(made), family, str(case.nodes_lme4), case.model.formula]
        subprocess.run(["Rscript", *script], check=True)
        return pd.read_csv(made).sort_values("set", ignore_index=True)


if __name__ == "__main__":
    main()
