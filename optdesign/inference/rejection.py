"""The law of a Wald statistic, and where it is beyond its critical values: numbers only, nothing of models or designs.

A statistic with ν degrees of freedom is (δ + Z)/S, with Z standard normal and νS² an independent χ²_ν.
"""

from __future__ import annotations

import math

import numpy as np


def one_sided_rejection(shift: float, level: float, df: float) -> float:
    """P(T > t_{1−level}) for a noncentral t variable T with noncentrality `shift`; a normal one for infinite `df`.

    >>> round(one_sided_rejection(0.0, 0.05, 7.0), 6), round(one_sided_rejection(2.8015852, 0.025, math.inf), 6)
    (0.05, 0.8)
    """
    if math.isinf(df):
        from scipy.special import ndtr, ndtri  # loads much faster than scipy.stats

        return float(ndtr(shift + ndtri(level)))
    from scipy import stats

    return float(stats.nct.sf(stats.t.isf(level, df), df, shift))


def equivalence_rejection(shift: float, margin: float, level: float, df: float) -> float:
    """Probability that both one-sided tests, against −margin and against margin, reject.

    All is in units of the standard error. Given S, the estimate Z must lie between −margin − shift + tS and
    margin − shift − tS; the mean over S is the difference of two of Owen's Q functions.

    >>> round(equivalence_rejection(0.0, 2.0, 0.05, math.inf), 6)
    0.27752
    """
    from scipy import integrate, stats

    near, far = margin - abs(shift), margin + abs(shift)
    if math.isinf(df):
        return _between(near, far, float(stats.norm.isf(level)), 1.0)
    critical, law = float(stats.t.isf(level, df)), stats.chi(df, scale=1.0 / math.sqrt(df))
    low, high = (float(law.ppf(p)) for p in (1e-14, 1.0 - 1e-14))
    widest = min(high, margin / critical)
    if widest <= low:
        return 0.0

    def given(scale: float) -> float:
        return float(law.pdf(scale)) * _between(near, far, critical, scale)

    return float(integrate.quad(given, low, widest, epsabs=1e-12, epsrel=1e-10, limit=200)[0])


def _between(near: float, far: float, critical: float, scale: float) -> float:
    """Probability that a standard normal variable lies between −far + critical·scale and near − critical·scale."""
    from scipy.special import ndtr

    return max(0.0, float(ndtr(near - critical * scale) - ndtr(critical * scale - far)))


def joint_rejection(noncentrality: float, number: int, level: float, df: float) -> float:
    """P(F > F_{1−level}) for a noncentral F variable on (number, df) degrees of freedom; χ²/number for infinite `df`.

    >>> round(joint_rejection(0.0, 3, 0.05, 20.0), 6), round(joint_rejection(10.9029, 3, 0.05, math.inf), 3)
    (0.05, 0.8)
    """
    from scipy import stats

    if noncentrality == 0.0:
        return level
    if math.isinf(df):
        return float(stats.ncx2.sf(stats.chi2.isf(level, number), number, noncentrality))
    return float(np.clip(stats.ncf.sf(stats.f.isf(level, number, df), number, df, noncentrality), 0.0, 1.0))


def mean_scale(df: float) -> float:
    """E(S), the expected ratio of an estimated to the true standard error: 1 for infinite `df`.

    >>> round(mean_scale(1.0), 6), mean_scale(math.inf)
    (0.797885, 1.0)
    """
    if math.isinf(df):
        return 1.0
    from scipy import stats

    return float(stats.chi.mean(df)) / math.sqrt(df)
