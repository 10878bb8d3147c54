"""Hypothesis runs the same examples every time, and small matrices stay on one thread.

The tests are full of small decompositions, which several busy threads make a hundred times slower, not faster.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")
