"""How long the package takes: ``python -m benchmarks`` from the root of a checkout, with the test extras installed.

``python -m benchmarks growth`` times growing problems instead, and draws them.

Nothing here is a test, and no test asserts a time: the table is for comparing one machine with itself.
"""

import os

# Small matrices: several threads make them slower. Set before numpy loads; a value given from outside is kept.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
