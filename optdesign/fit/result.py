"""`Fit`: estimates of a model from data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from optdesign.covariance import covariance, covariance_of_frame
from optdesign.designs import Design
from optdesign.errors import SpecificationError, is_number, listed
from optdesign.fit.intervals import Intervals
from optdesign.layouts import Nested
from optdesign.linalg import vech_pairs
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Methods of fitting, and what they are called.
METHODS = {"ml": "Maximum likelihood", "gva": "Gaussian variational"}

#: Standard deviation of a random effect, in units of the residual's, that counts as zero, as in lme4.
NEGLIGIBLE = 1e-4


@dataclass(frozen=True, eq=False)
class Solution:
    """What a method of fitting comes to; the attributes are those of `Fit`."""

    beta: Array
    covariance_matrix: Array
    random_covariance: Mapping[str, Array]
    dispersion: float
    log_likelihood: float
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit of a model to data.

    Attributes
    ----------
    model : MixedModel
    names : tuple of str
        Coefficient names.
    beta : array, shape (p,)
        Fixed effects, on the scale of the linear predictor.
    covariance_matrix : array, shape (p, p)
        Their estimated covariance: the inverse of the observed information, with the variance components unknown
        too where the response is not Gaussian. ``nan`` where the fitter could not compute it.
    random_covariance : mapping from factor to matrix
        Estimated covariance of the random effects of each grouping factor.
    dispersion : float
        Residual variance of a Gaussian, by maximum likelihood; 1 for the other families.
    log_likelihood : float
        The lower bound on it by method ``"gva"``, which is what that method maximises.
    observations : int
        Rows used.
    units : mapping from factor to int
        Levels of each grouping factor among them.
    notes : tuple of str
        What a reader should know: rows left out, a variance estimated as zero, a step that was not the usual one.
    rows : DataFrame
        Covariate and grouping columns of the rows used.
    method : str
        A key of `METHODS`.
    """

    model: MixedModel
    names: tuple[str, ...]
    beta: Array
    covariance_matrix: Array
    random_covariance: Mapping[str, Array]
    dispersion: float
    log_likelihood: float
    observations: int
    units: Mapping[str, int]
    notes: tuple[str, ...]
    rows: pd.DataFrame
    method: str = "ml"

    @property
    def data(self) -> pd.DataFrame:
        """Covariate columns of the rows used."""
        return self.rows[sorted(self.model.covariates)]

    @property
    def standard_errors(self) -> Array:
        """Square roots of the variances, shape (p,)."""
        return np.sqrt(np.diag(self.covariance_matrix))

    def nominal_values(self) -> NominalValues:
        """The estimates, as nominal values whose levels and bases are those of the data."""
        beta = dict(zip(self.names, self.beta.tolist(), strict=True))
        return NominalValues(beta, dict(self.random_covariance), self.dispersion, reference=self.data)

    def intervals(self, order: str = "two-term", level: float = 0.95) -> Intervals:
        """Wald intervals and tests of the fixed effects, by the asymptotic covariance at the estimates.

        β̂_k ± z se_k, and the test of β_k = 0 by β̂_k/se_k, where se_k² is the variance that an order of
        `covariance_of_frame` gives for the rows used, at the estimates. By the leading term it is Σ̂_kk/m for a
        coefficient with a random partner, by two terms Σ̂_kk/m + ϕ̂K̂_kk/N, and by both ϕ̂Ĉ_kk/N for one that no random
        effect touches. Quantiles are those of the normal law for every family: with few units intervals are too
        narrow.

        Parameters
        ----------
        order : str
            As for `covariance_of_frame`.
        level : float
            Of the intervals.

        Returns
        -------
        Intervals

        Raises
        ------
        SpecificationError
            For a level that is not between 0 and 1, or an order that has no theory for the model in these data.

        Examples
        --------
        Two units with means 2 and 6: the mean is 4, and its variance by the leading term is half of Σ̂ = 3.

        >>> import pandas as pd
        >>> data = pd.DataFrame({"y": [1.0, 3.0, 5.0, 7.0], "unit": ["a", "a", "b", "b"]})
        >>> from optdesign import fit
        >>> fit(MixedModel("y ~ 1 + (1 | unit)"), data).intervals("leading").to_frame().round(3)
                     estimate  standard error      z      p  lower  upper
        coefficient
        Intercept         4.0           1.225  3.266  0.001    1.6    6.4
        """
        if not (is_number(level) and 0.0 < level < 1.0):
            raise SpecificationError(f"level must be a number between 0 and 1; got {level!r}.")
        found = covariance_of_frame(self.model, self.nominal_values(), self.rows, order)
        notes = (*self.notes, *found.notes)
        return Intervals(found.names, found.estimate, found.standard_errors, order, level, notes)

    def scenarios(self, number: int, seed: int = 0) -> list[tuple[float, NominalValues]]:
        """Nominal values drawn from the sampling law of the estimates, equally weighted: for `Bayesian` and `Maximin`.

        Fixed effects are normal with `covariance_matrix`. Independently of them, the covariance of the random effects
        is normal on the log-Cholesky scale (log L_ii and L_ij, with Σ = LLᵀ), and the dispersion of a Gaussian on the
        log scale, with the asymptotic covariance of maximum likelihood for the pilot's own units: exact for a
        Gaussian, two-term otherwise. These laws are wide, and lean on asymptotics, where the pilot has few units.

        Parameters
        ----------
        number : int
            Of scenarios; at least 1.
        seed : int

        Returns
        -------
        list of (weight, NominalValues)

        Raises
        ------
        SpecificationError
            For several grouping factors, or a fit on the boundary, whose estimates have no normal law.

        Examples
        --------
        >>> import pandas as pd
        >>> data = pd.DataFrame({"y": [1.0, 3.0, 5.0, 7.0, 2.0, 0.0], "unit": ["a", "a", "b", "b", "c", "c"]})
        >>> from optdesign import fit
        >>> pilot = fit(MixedModel("y ~ 1 + (1 | unit)"), data)
        >>> [weight for weight, _ in pilot.scenarios(4, seed=1)]
        [0.25, 0.25, 0.25, 0.25]
        """
        if not (is_number(number) and number >= 1 and number % 1 == 0):
            raise SpecificationError(f"number of scenarios must be a whole number of at least 1; got {number!r}.")
        self._require_law()
        rng = np.random.default_rng(seed)
        beta = rng.multivariate_normal(self.beta, self.covariance_matrix, int(number), method="eigh")
        components = self._drawn_components(rng, int(number))
        return [
            (1.0 / number, NominalValues(dict(zip(self.names, b.tolist(), strict=True)), *each, reference=self.data))
            for b, each in zip(beta, components, strict=True)
        ]

    def _require_law(self) -> None:
        """Estimates must be in the interior of their range, with a covariance, and of one grouping factor."""
        if len(self.model.factors) > 1:
            raise SpecificationError(
                f"scenarios are drawn for one grouping factor or none; the model has {listed(self.model.factors)}. "
                "State scenarios of your own."
            )
        if not np.isfinite(self.covariance_matrix).all():
            raise SpecificationError("the fit has no covariance matrix to draw from. State scenarios of your own.")
        for factor, matrix in self.random_covariance.items():
            if np.linalg.eigvalsh(matrix).min() <= NEGLIGIBLE**2 * max(self.dispersion, np.trace(matrix)):
                raise SpecificationError(
                    f"the pilot estimates a singular covariance of '{factor}', {_rounded(matrix)}: at a variance of "
                    "zero, or a correlation of one, estimates have no normal law to draw from. State scenarios of "
                    "your own."
                )

    def _drawn_components(self, rng: np.random.Generator, number: int) -> list[tuple[dict[str, Array], float]]:
        """Covariance matrices and dispersions."""
        layout = Nested(*self.model.factors) if self.model.factors else None
        design = Design.from_frame(self.rows, layout, self.model.covariates)
        order = "exact" if self.model.is_gaussian else "two-term"
        matrix = covariance(self.model, self.nominal_values(), design, order, parameters="all").matrix
        matrix = matrix[len(self.names) :, len(self.names) :]
        roots = {factor: np.array(np.linalg.cholesky(S), float) for factor, S in self.random_covariance.items()}
        slopes = [_cholesky_slopes(root) for root in roots.values()]
        has_dispersion = self.model.distribution.has_dispersion
        inverse = np.linalg.inv(block_diag(*slopes, *([self.dispersion] if has_dispersion else [])))
        if not len(inverse):
            return [({}, self.dispersion)] * number
        steps = rng.multivariate_normal(np.zeros(len(inverse)), inverse @ matrix @ inverse.T, number, method="eigh")
        return [
            (
                {factor: _moved(root, step[: len(step) - has_dispersion]) for factor, root in roots.items()},
                self.dispersion * float(np.exp(step[-1])) if has_dispersion else self.dispersion,
            )
            for step in steps
        ]

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: estimate and standard error."""
        import pandas as pd

        columns = {"estimate": self.beta, "standard error": self.standard_errors}
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def _summary(self) -> list[str]:
        sizes = [f"{self.observations} observations", *(f"{n} levels of '{f}'" for f, n in self.units.items())]
        lines = [f"{', '.join(sizes)}; log-likelihood {self.log_likelihood:.6g}"]
        lines += [f"covariance of '{f}': {_rounded(matrix)}" for f, matrix in self.random_covariance.items()]
        lines += [f"residual variance: {self.dispersion:.6g}"] if self.model.distribution.has_dispersion else []
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def __repr__(self) -> str:
        table = self.to_frame().to_string(float_format="%.6g")
        return "\n".join([f"{METHODS[self.method]} fit of {self.model.formula}", table, *self._summary()])

    def _repr_html_(self) -> str:
        from html import escape

        lines = "".join(f"<p>{escape(line)}</p>" for line in self._summary())
        return f"{self.to_frame().to_html(float_format='{:.6g}'.format)}{lines}"


def _rounded(matrix: Array) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in matrix]


def _cholesky_slopes(root: Array) -> Array:
    """∂ vech LLᵀ/∂θ, with θ the log of the diagonal of L and its other entries, in the order of vech."""
    pairs = vech_pairs(len(root))
    columns = []
    for row, column in zip(*pairs, strict=True):
        change = np.zeros_like(root)
        change[row, column] = root[row, column] if row == column else 1.0
        columns.append((change @ root.T + root @ change.T)[pairs])
    return np.array(columns).T


def _moved(root: Array, step: Array) -> Array:
    """LLᵀ after a step in θ."""
    row, column = vech_pairs(len(root))
    moved = root.copy()
    moved[row, column] = np.where(row == column, root[row, column] * np.exp(step), root[row, column] + step)
    return moved @ moved.T


def singular_notes(factor: str, matrix: Array, names: tuple[str, ...]) -> list[str]:
    """What variances of zero, or perfectly correlated random effects, mean for planning."""
    deviation = np.sqrt(np.diag(matrix))
    zero = [name for name, value in zip(names, deviation, strict=True) if value < NEGLIGIBLE]
    if zero:
        return [
            f"The pilot estimates zero variance of {listed(zero)} between levels of '{factor}'. A plan at these values "
            f"takes them for alike, and so buys few levels of '{factor}' with many observations each: state a "
            "plausible variance instead, or plan for several."
        ]
    if np.linalg.eigvalsh(matrix / np.outer(deviation, deviation)).min() >= NEGLIGIBLE:
        return []
    return [
        f"The pilot estimates perfectly correlated random effects of '{factor}' ({listed(names)}): it is too small to "
        "tell them apart. A plan at these values takes one combination of them for the same everywhere: state a "
        "plausible covariance instead, or plan for several."
    ]
