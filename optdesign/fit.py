"""Maximum likelihood fits of pilot data, as a source of nominal values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import block_diag

from optdesign import formula as formulas
from optdesign.covariance import covariance
from optdesign.designs import Design
from optdesign.errors import ConvergenceError, NotEstimableError, SpecificationError, is_number, listed, nearest
from optdesign.layouts import Nested
from optdesign.linalg import vech_pairs
from optdesign.measures import checked_points
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Adaptive quadrature nodes per dimension, by the number of random effects of one factor; more use Laplace.
QUADRATURE_NODES = {1: 25, 2: 9, 3: 5}

#: Standard deviation of a random effect, in units of the residual's, that counts as zero, as in lme4.
NEGLIGIBLE = 1e-4


@dataclass(frozen=True, eq=False)
class Fit:
    """A maximum likelihood fit of a model to data.

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
    observations : int
        Rows used.
    units : mapping from factor to int
        Levels of each grouping factor among them.
    notes : tuple of str
        What a reader should know: rows left out, a variance estimated as zero, a step that was not the usual one.
    rows : DataFrame
        Covariate and grouping columns of the rows used.
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
        return "\n".join([f"Maximum likelihood fit of {self.model.formula}", table, *self._summary()])

    def _repr_html_(self) -> str:
        from html import escape

        lines = "".join(f"<p>{escape(line)}</p>" for line in self._summary())
        return f"{self.to_frame().to_html(float_format='{:.6g}'.format)}{lines}"


def _rounded(matrix: Array) -> list[list[float]]:
    return [[float(f"{value:.6g}") for value in row] for row in matrix]


def fit(model: MixedModel, data: pd.DataFrame) -> Fit:
    """Fit a model to pilot data by maximum likelihood.

    The likelihood of a Gaussian model is exact (and not restricted: the nominal values of an asymptotic covariance
    are maximum likelihood estimates). Otherwise the random effects are integrated out by adaptive Gauss–Hermite
    quadrature about their modes, 25, 9 or 5 nodes per dimension for one, two or three random effects of a single
    grouping factor, and by the Laplace approximation (relative error of order 1/n in n observations per unit) for
    more random effects or factors.

    Parameters
    ----------
    model : MixedModel
        A random term must have an intercept and covariances between all its effects, and each random slope a fixed
        effect on the same column. The response of a binomial model with a size is the number of successes.
    data : DataFrame
        One row per observation. Rows with a missing value in a column that is used are left out, with a note; text
        is categorical.

    Returns
    -------
    Fit

    Raises
    ------
    SpecificationError
        For unknown columns, no rows, a response that the family cannot have, a grouping factor with one level, or
        random terms that the fitter does not cover.
    NotEstimableError
        Where fixed-effect columns are collinear in the data.
    ConvergenceError
        Where the search did not settle, with the reason.

    Examples
    --------
    Two units with two observations each: the residual variance is the mean square within units, the variance
    between units what is left of that of their means (divisors are numbers of units, not degrees of freedom).

    >>> import pandas as pd
    >>> data = pd.DataFrame({"y": [1.0, 3.0, 5.0, 7.0], "unit": ["a", "a", "b", "b"]})
    >>> pilot = fit(MixedModel("y ~ 1 + (1 | unit)"), data)
    >>> round(float(pilot.beta[0]), 4), round(pilot.dispersion, 3), pilot.random_covariance["unit"].round(3)
    (4.0, 2.0, array([[3.]]))
    """
    check_family(model, "State the nominal values with NominalValues(beta, covariance, dispersion).")
    frame, notes = _used_rows(model, data)
    response, rows = _response(model, frame), _rows(model, frame)
    call = translated(model, rows)
    result = _fitted(call, response / rows.trials)
    if not result.converged:
        raise ConvergenceError(
            f"the fit of '{model.formula}' to {len(frame)} rows did not converge. {_severe(result, call)} Fit a "
            "simpler model, bring more data, or state the nominal values with NominalValues(beta, covariance)."
        )
    if result.aliased.any():
        lost = tuple(name for name, gone in zip(rows.names, result.aliased, strict=True) if gone)
        raise NotEstimableError(
            f"the data cannot estimate {listed(lost)}: in these rows, the column is a combination of the columns "
            "before it. Leave the term out, or state the nominal values.",
            lost,
        )
    return _collected(model, frame, notes, call, result)


def check_family(model: MixedModel, instead: str) -> None:
    """The fitter must cover the family and the link; the message ends with what to do `instead`."""
    fitted = ("bernoulli", "binomial", "poisson")
    if not model.is_gaussian and model.distribution.name not in fitted:
        raise SpecificationError(
            f"family '{model.distribution.name}' with link '{model.link_function.name}' is not fitted here; fits "
            f"are for Gaussian models with identity link and for {listed(fitted)}. {instead}"
        )


def _used_rows(model: MixedModel, data: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Complete rows of the columns that the model uses, text as categories, and a note on rows left out."""
    import pandas as pd

    if not isinstance(data, pd.DataFrame):
        raise SpecificationError(
            f"data must be a pandas DataFrame, one row per observation; got {type(data).__name__}."
        )
    used = sorted(_response_columns(model) | model.covariates | _grouping_columns(model))
    for name in used:
        if name not in data:
            raise SpecificationError(
                f"'{model.formula}' needs the column '{name}', which the data does not have: {listed(data.columns)}."
                f"{nearest(name, data.columns)}"
            )
    complete = data[used].dropna()
    if complete.empty:
        raise SpecificationError(
            f"the data has {len(data)} rows, none of them with a value in every one of {listed(used)}: a fit needs "
            "complete rows."
        )
    frame = checked_points(complete, "data")
    for name in set(used) & set(frame.select_dtypes("category")):
        frame[name] = frame[name].cat.remove_unused_categories()
    lost = len(data) - len(frame)
    return frame, (f"{lost} of {len(data)} rows of the pilot left out for missing values.",) if lost else ()


def _grouping_columns(model: MixedModel) -> frozenset[str]:
    """Columns that name units."""
    return frozenset(column for factor in model.factors for column in factor.split(":"))


def _response_columns(model: MixedModel) -> frozenset[str]:
    """Columns that the left-hand side reads."""
    return formulas.covariates(formulas.ParsedFormula("", f"0 + {model.parsed.response}", {}))


def _response(model: MixedModel, frame: pd.DataFrame) -> Array:
    """The response, checked against its family, shape (rows,)."""
    columns = _response_columns(model)
    _check_numeric(columns | {c for c in (model.size, model.offset) if isinstance(c, str)}, frame)
    response = formulas.response_column(model.parsed, frame.astype(dict.fromkeys(columns, float)))
    if not model.is_gaussian:
        _check_counts(model, response, model.trials(frame))
    return response


def _check_numeric(columns: Iterable[str], frame: pd.DataFrame) -> None:
    from pandas.api.types import is_numeric_dtype

    for name in columns:
        if not is_numeric_dtype(frame[name]):
            raise SpecificationError(
                f"column '{name}' is text ({frame[name].iloc[0]!r}); a response, size= and offset= must be numbers. "
                "Code a response of two categories as 0 and 1."
            )


def _check_counts(model: MixedModel, response: Array, trials: Array) -> None:
    """Whole numbers, at least zero; at most the number of trials, where there are trials."""
    bounded = model.distribution.name != "poisson"
    highest = trials if bounded else np.full(len(response), np.inf)
    bad = (response < 0) | (response > highest) | (response != np.round(response))
    if bounded:
        bad |= (trials < 1) | (trials != np.round(trials))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        needed = f"between 0 and its number of trials, here {trials[row]:g}" if bounded else "of at least 0"
        raise SpecificationError(
            f"response '{model.parsed.response}' is {response[row]:g}; a {model.family} response is a whole number "
            f"{needed} (wrong in {int(bad.sum())} of {len(bad)} rows). Check the family, size= and the column."
        )


@dataclass(frozen=True, eq=False)
class FitRows:
    """All that a fit needs of its rows but the response, in numbers.

    Attributes
    ----------
    names : tuple of str
        Coefficient names, p of them.
    fixed : array, shape (N, p)
    random_names : mapping from factor to tuple of str
    random : mapping from factor to array, shape (N, r)
        Random-effect columns.
    labels : mapping from factor to list of str
        Unit of each row.
    trials : array, shape (N,)
    offset : array, shape (N,), or None
    """

    names: tuple[str, ...]
    fixed: Array
    random_names: Mapping[str, tuple[str, ...]]
    random: Mapping[str, Array]
    labels: Mapping[str, Sequence[str]]
    trials: Array
    offset: Array | None


@dataclass(frozen=True, eq=False)
class _Call:
    """A model in the fitter's terms: expanded columns under plain names, and what the names stand for."""

    formula: str
    columns: dict[str, Any]
    plain: dict[str, str]
    options: dict[str, Any]
    rows: FitRows
    units: dict[str, int]


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a fit of one of many data sets came to; all nan where it failed.

    Attributes
    ----------
    beta, standard_errors : arrays, shape (p,)
    components : array
        vech of each estimated covariance of random effects, in the order of the model's factors.
    dispersion : float
    trouble : str
        Why the fit does not count, empty where it does.
    singular : bool
        Whether a variance is estimated as zero, or a correlation as one.
    """

    beta: Array
    standard_errors: Array
    components: Array
    dispersion: float
    trouble: str
    singular: bool


def estimated(model: MixedModel, rows: FitRows, response: Array) -> Estimates:
    """A maximum likelihood fit, without the words that `fit` has for it; one that fails says so in its result."""
    result = _fitted(translated(model, rows), response / rows.trials)
    trouble = _trouble(result)
    if trouble:
        return _nothing(rows, trouble)
    dispersion, covariance = _dispersion_and_covariance(model, result, len(response))
    components = np.concatenate([np.zeros(0), *(np.asarray(vech, dtype=float) for vech in result.varcorr)])
    errors = np.sqrt(np.diag(covariance))
    return Estimates(np.array(result.beta), errors, components, dispersion, "", bool(result.singular))


def _trouble(result: Any) -> str:
    """Why a fit does not count."""
    if result.aliased.any():
        return "collinear columns"
    if not result.converged:
        return "did not converge"
    return "" if (np.diag(result.vcov) >= 0.0).all() else "no standard errors"


def _nothing(rows: FitRows, trouble: str) -> Estimates:
    """The estimates of a fit that failed."""
    beta = np.full(len(rows.names), np.nan)
    components = np.full(sum(len(vech_pairs(len(names))[0]) for names in rows.random_names.values()), np.nan)
    return Estimates(beta, beta, components, np.nan, trouble, False)


def _rows(model: MixedModel, frame: pd.DataFrame) -> FitRows:
    encoding = formulas.learn(model.parsed, frame)
    return FitRows(
        encoding.fixed_names,
        encoding.fixed_columns(frame),
        {factor: encoding.random_names(factor) for factor in model.factors},
        {factor: encoding.random_columns(factor, frame) for factor in model.factors},
        {factor: _labels(frame, factor) for factor in model.factors},
        model.trials(frame),
        None if model.offset is None else np.asarray(frame[model.offset], dtype=float),
    )


def translated(model: MixedModel, rows: FitRows) -> _Call:
    """A model and its rows in the fitter's terms; `SpecificationError` where it does not cover them."""
    fixed = rows.fixed
    if fixed.shape[1] == 0:
        raise SpecificationError(f"'{model.formula}' has no fixed effect; a fit needs one, such as the intercept 1.")
    columns: dict[str, Any] = {f"x{i}": column for i, column in enumerate(fixed.T)}
    terms = [f"x{i}" for i in range(fixed.shape[1])]
    units = {}
    for i, factor in enumerate(model.factors):
        units[factor] = _check_units(model, factor, rows.labels[factor])
        columns[f"g{i}"] = rows.labels[factor]
        terms.append(f"({' + '.join(_random_terms(model, rows, factor))} | g{i})")
    plain = {f"x{i}": name for i, name in enumerate(rows.names)}
    plain |= {f"g{i}": factor for i, factor in enumerate(model.factors)}
    return _Call(f"y ~ 0 + {' + '.join(terms)}", columns, plain, _options(model, rows), rows, units)


def _labels(frame: pd.DataFrame, factor: str) -> list[str]:
    """Unit of each row; ``a:b`` has a unit for each pair of values seen."""
    return [" : ".join(key) for key in zip(*(frame[column].astype(str) for column in factor.split(":")), strict=True)]


def _check_units(model: MixedModel, factor: str, labels: Sequence[str]) -> int:
    units = len(set(labels))
    if units == 1:
        raise SpecificationError(
            f"grouping factor '{factor}' has one level in the data ('{labels[0]}'): the variance between levels needs "
            "two at the very least. Leave the random term out, or state the nominal values."
        )
    if model.is_gaussian and units == len(labels):
        raise SpecificationError(
            f"each of the {units} levels of '{factor}' has one observation, so its random effect cannot be told from "
            "the residual: leave the random term out, or bring repeated observations."
        )
    return units


def _random_terms(model: MixedModel, rows: FitRows, factor: str) -> list[str]:
    """The fitter's words for a random term: ``1`` and the fixed columns that have a random slope."""
    state = "State the nominal values with NominalValues(beta, covariance) instead."
    if len(model.parsed.random[factor]) > 1:
        raise SpecificationError(
            f"the fitter cannot fit uncorrelated random effects of '{factor}' in '{model.formula}': it estimates every "
            f"covariance, as in (1 + x | {factor}). {state}"
        )
    columns, names = rows.random[factor], rows.random_names[factor]
    if not (columns[:, :1] == 1.0).all():
        raise SpecificationError(
            f"the fitter cannot fit a random term without an intercept, which is that of '{factor}' ({listed(names)}) "
            f"in '{model.formula}'. {state}"
        )
    terms = ["1"]
    for column, name in zip(columns.T[1:], names[1:], strict=True):
        partners = np.flatnonzero((rows.fixed == column[:, None]).all(axis=0))
        if not partners.size:
            raise SpecificationError(
                f"the fitter cannot fit the random slope '{name}' of '{factor}' without a fixed effect of the same "
                f"name: add '{name}' to the fixed part. {state}"
            )
        terms.append(f"x{partners[0]}")
    return terms


def _options(model: MixedModel, rows: FitRows) -> dict[str, Any]:
    binomial = model.distribution.name in ("bernoulli", "binomial")
    options: dict[str, Any] = {
        "family": "binomial" if binomial else model.distribution.name,
        "link": model.link_function.name,
        "reml": False,
        # Tests of terms and their degrees of freedom are not used here, and cost refits.
        "satterthwaite": False,
        "anova_test": "Wald",
    }
    if not model.is_gaussian and len(model.factors) == 1:
        options["nagq"] = QUADRATURE_NODES.get(len(rows.random_names[model.factors[0]]), 1)
    if binomial:
        options["weights"] = rows.trials
    if rows.offset is not None:
        options["offset"] = rows.offset
    return options


def _fitted(call: _Call, response: Array) -> Any:
    """The fitter's result. Its warnings are kept in the result and become notes, so none is shown."""
    import glmm

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return glmm.fit({"y": response, **call.columns}, call.formula, **call.options)


def _renamed(message: str, call: _Call) -> str:
    """The fitter's words with the names of the model in place of the plain ones."""
    return re.sub(r"\b[xg]\d+\b", lambda found: f"'{call.plain.get(found[0], found[0])}'", message)


def _severe(result: Any, call: _Call) -> str:
    return " ".join(_renamed(w["message"], call) for w in result.warnings if w["tier"] == "severe")


def _collected(model: MixedModel, frame: pd.DataFrame, notes: tuple[str, ...], call: _Call, result: Any) -> Fit:
    matrices = {
        factor: _matrix(vech, len(call.rows.random_names[factor]))
        for factor, vech in zip(model.factors, result.varcorr, strict=True)
    }
    dispersion, covariance = _dispersion_and_covariance(model, result, len(frame))
    beta = np.array(result.beta, dtype=float)
    beta.flags.writeable = covariance.flags.writeable = False
    return Fit(
        model,
        call.rows.names,
        beta,
        covariance,
        MappingProxyType(matrices),
        dispersion,
        float(result.loglik),
        len(frame),
        MappingProxyType(call.units),
        notes + _fit_notes(model, call, result, matrices),
        frame[sorted(model.covariates | _grouping_columns(model))],
    )


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


def _dispersion_and_covariance(model: MixedModel, result: Any, rows: int) -> tuple[float, Array]:
    dispersion, covariance = float(result.dispersion), np.array(result.vcov, dtype=float)
    if not model.is_gaussian or model.factors or dispersion == 0.0:
        return dispersion, covariance
    # Least squares divides by the residual degrees of freedom; maximum likelihood by the observations.
    ratio = result.rss / (rows * dispersion)
    return dispersion * ratio, covariance * ratio


def _matrix(vech: Sequence[float], size: int) -> Array:
    """A symmetric matrix from its lower triangle, column by column."""
    matrix = np.zeros((size, size))
    row, column = np.triu_indices(size)
    matrix[row, column] = matrix[column, row] = vech
    matrix.flags.writeable = False
    return matrix


def _fit_notes(model: MixedModel, call: _Call, result: Any, matrices: Mapping[str, Array]) -> tuple[str, ...]:
    notes = [
        _renamed(w["message"], call) for w in result.warnings if w["tier"] == "caution" and w["kind"] != "singular"
    ]
    if model.factors and not model.is_gaussian and call.options.get("nagq", 1) == 1:
        notes.append("The likelihood is the Laplace approximation: variances tend to come out small in small units.")
    for factor, matrix in matrices.items() if result.singular else ():
        notes += _singular(factor, matrix / result.dispersion, call.rows.random_names[factor])
    return tuple(notes)


def _singular(factor: str, matrix: Array, names: tuple[str, ...]) -> list[str]:
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
