"""`Intervals`: Wald intervals and tests of fitted coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Intervals:
    """Wald intervals and two-sided tests against zero, coefficient by coefficient.

    Attributes
    ----------
    names : tuple of str
        Coefficient names, p of them.
    estimate, standard_errors : arrays, shape (p,)
        On the scale of the linear predictor.
    order : str
        The approximation of the covariance that the standard errors are from.
    level : float
        Of the intervals.
    notes : tuple of str
        Of the fit and of the covariance.

    Examples
    --------
    >>> found = Intervals(("dose",), np.array([0.6]), np.array([0.2]), "two-term", 0.95, ())
    >>> found
    Wald intervals at level 0.95, order 'two-term'
                 estimate  standard error  z          p    lower    upper
    coefficient
    dose              0.6             0.2  3  0.0026998 0.208007 0.991993
    """

    names: tuple[str, ...]
    estimate: Array
    standard_errors: Array
    order: str
    level: float
    notes: tuple[str, ...]

    @property
    def z(self) -> Array:
        """Estimates in units of their standard errors, shape (p,)."""
        return self.estimate / self.standard_errors

    @property
    def p_values(self) -> Array:
        """2Φ(−|z|), shape (p,)."""
        from scipy.special import ndtr

        return np.asarray(2.0 * ndtr(-np.abs(self.z)))

    @property
    def lower(self) -> Array:
        """Lower ends, shape (p,)."""
        return self.estimate - self._half_width

    @property
    def upper(self) -> Array:
        """Upper ends, shape (p,)."""
        return self.estimate + self._half_width

    @property
    def _half_width(self) -> Array:
        from scipy.special import ndtri

        return np.asarray(ndtri(0.5 + 0.5 * self.level) * self.standard_errors)

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: estimate, standard error, z, p value and the ends of the interval."""
        import pandas as pd

        columns = {
            "estimate": self.estimate,
            "standard error": self.standard_errors,
            "z": self.z,
            "p": self.p_values,
            "lower": self.lower,
            "upper": self.upper,
        }
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    @property
    def _heading(self) -> str:
        return f"Wald intervals at level {self.level:g}, order '{self.order}'"

    def __repr__(self) -> str:
        table = self.to_frame().to_string(float_format="%.6g")
        return "\n".join([self._heading, table, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        from html import escape

        lines = "".join(f"<p>{escape(line)}</p>" for line in self.notes)
        return f"<p>{escape(self._heading)}</p>{self.to_frame().to_html(float_format='{:.6g}'.format)}{lines}"
