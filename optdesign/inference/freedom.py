"""Degrees of freedom of the reference distribution of a Wald statistic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance import coefficient_index
from optdesign.covariance.encoded import check_layout, encode
from optdesign.covariance.frame import layout_of, listed_units, shape_of
from optdesign.covariance.gls import information
from optdesign.covariance.labelled import LabelledRows, labelled_rows
from optdesign.covariance.nested import Blocks, pack
from optdesign.covariance.satterthwaite import satterthwaite
from optdesign.designs import Design
from optdesign.errors import SpecificationError
from optdesign.inference.hypotheses import Combination, WaldTest, check_df, combination_text
from optdesign.layouts import Crossed
from optdesign.linalg import generalised_inverse
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Loadings on random-effect columns below this, relative to the columns' sizes, are rounding errors.
NEGLIGIBLE_LOADING = 1e-8
#: Random effects of a data frame for which the uncertainty of variance components is worked out.
MOST_EFFECTS = 3000


def degrees_of_freedom(
    model: MixedModel,
    nominal: NominalValues,
    design: Design | pd.DataFrame,
    coefficient: str | Combination,
    df: float | str = "auto",
) -> float:
    """Degrees of freedom of the t distribution of a Wald statistic.

    A response that is not Gaussian has the normal limit, ``inf``. Of a Gaussian model:

    ``"between-within"``, for one grouping factor or none. Let x be the coefficient's column and z the random-effect
    columns. Where x is inside every unit a combination of z (a random partner, or a covariate that is constant within
    units with a random intercept), the units absorb it, and it is judged by how the units differ: m − p_j, for m units
    and p_j absorbed coefficients that load on the random column j, the least over the j that x loads on. So is one that
    the data identify only together with such a coefficient. All others are judged by the residual:
    N − Σ_units rank(z) − p_B, for N observations and p_B coefficients that are not absorbed; without random effects
    this is N − p. A contrast has the least over its coefficients. Exact for balanced designs whose statistic has a t
    distribution and the usual approximation elsewhere.

    ``"satterthwaite"``, for any layout: ν = 2f²/(gᵀ Cov(θ̂) g), with f(θ) = c′(XᵀV⁻¹X)⁻¹c the exact variance, g its
    derivative in the variance components θ, and Cov(θ̂) the inverse of their information by restricted maximum
    likelihood. Where f is one mean square it is exact; an incomplete crossing is taken as spread evenly.

    ``"auto"``: the first where it applies, the second elsewhere.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design or DataFrame
        A data frame has a row per observation, as for `covariance_of_frame`; "auto" is then Satterthwaite's.
    coefficient : str or mapping from name to number
        A coefficient or a contrast.
    df : str or float
        The rule, or the number itself.

    Returns
    -------
    float

    Raises
    ------
    SpecificationError
        For an unknown coefficient, a rule that does not apply, or a design too small to leave any, with the size
        needed.

    Examples
    --------
    An arm effect between 20 clusters, and a slope within them:

    >>> from optdesign.layouts import Crossed, Nested
    >>> from optdesign.measures import Measure
    >>> model = MixedModel("y ~ treat + x + (1 | cluster)")
    >>> guess = NominalValues([0, 0, 0], {"cluster": 0.1})
    >>> design = Design(Nested("cluster"), counts={"cluster": 20}, replicates=5,
    ...                 measure=Measure.grid(treat=[0, 1], x=[0, 1]), levels={"treat": "cluster"})
    >>> degrees_of_freedom(model, guess, design, "treat"), degrees_of_freedom(model, guess, design, "x")
    (18.0, 79.0)

    A condition that varies between the items that all subjects see:

    >>> model = MixedModel("y ~ c + (1 | subject) + (1 | item)")
    >>> guess = NominalValues([0, 0.5], {"subject": 0.3, "item": 0.3}, dispersion=0.4)
    >>> design = Design(Crossed("subject", "item"), counts={"subject": 20, "item": 16}, replicates=1,
    ...                 measure=Measure.grid(c=[-1, 1]), levels={"c": "item"})
    >>> round(degrees_of_freedom(model, guess, design, "c"), 6)
    14.0
    """
    test = WaldTest(coefficient, df=df)
    found = Freedom(model, nominal, design).left(test.combinations, df)
    if found <= 0:
        raise SpecificationError(Freedom(model, nominal, design).shortage(test.combinations, df))
    return found


@dataclass(frozen=True, eq=False)
class Freedom:
    """The degrees of freedom that a design leaves to tests."""

    model: MixedModel
    nominal: NominalValues
    design: Design | pd.DataFrame

    def left(self, combinations: Sequence[Combination], df: float | str) -> float:
        """Degrees of freedom of a test; zero or less where there are none.

        Between-within: the least over the coefficients. Satterthwaite: of several combinations those of the F
        distribution whose mean is that of the sum of squares of independent t variables.
        """
        rule = self.rule(df)
        if not isinstance(rule, str):
            return rule
        if rule == "between-within":
            return min(budget.left for budget in self.budgets(combinations))
        return self._satterthwaite(combinations)

    def rule(self, df: float | str) -> float | str:
        """The number given, or what "auto" stands for."""
        check_df(df)
        if not isinstance(df, str):
            return float(df)
        if not self.model.is_gaussian:
            return math.inf
        simple = isinstance(self.design, Design) and not (
            len(self.model.factors) > 1 or isinstance(self.design.layout, Crossed) or len(self.design.counts) > 1
        )
        if df == "between-within" and not simple:
            raise SpecificationError(
                "df='between-within' is for designs of one grouping factor, or none: use df='satterthwaite'."
            )
        return ("between-within" if simple else "satterthwaite") if df == "auto" else df

    def shortage(self, combinations: Sequence[Combination], df: float | str) -> str:
        """What is short where no degrees of freedom are left."""
        text = ", ".join(map(combination_text, combinations))
        none = f"no degrees of freedom are left for '{text}'"
        if self.rule(df) != "between-within":
            return (
                f"{none}: the design does not tell the variance components apart that its variance is made of. "
                "Use more units, or more observations in each."
            )
        budget = min(self.budgets(combinations), key=lambda each: each.left)
        return (
            f"{none}: the design has {budget.per_design:g} {budget.what} for {budget.spent:g} coefficients. Use more "
            f"than {budget.spent:g} {budget.what}."
        )

    def budgets(self, combinations: Sequence[Combination]) -> list[DfBudget]:
        """Between-within degrees of freedom of every coefficient that has a weight."""
        assert isinstance(self.design, Design)  # the rule has no other
        names = dict.fromkeys(name for each in combinations for name, weight in each.items() if weight)
        return [_df_budget(self.model, self.nominal, self.design, name) for name in names]

    def _satterthwaite(self, combinations: Sequence[Combination]) -> float:
        rows, crossed = self._rows
        columns = np.zeros((len(combinations), len(rows.names)))
        for row, combination in zip(columns, combinations, strict=True):
            for name, weight in combination.items():
                row[coefficient_index(name, rows.names, rows.aliases)] += weight
        return _together(rows, columns, crossed)

    @cached_property
    def _rows(self) -> tuple[LabelledRows, bool]:
        """Kinds of unit of a design, all units of a data frame; and whether factors are crossed."""
        if isinstance(self.design, Design):
            return labelled_rows(self.model, self.nominal, self.design.points), isinstance(self.design.layout, Crossed)
        shape = shape_of(self.model, self.design)
        rows = labelled_rows(self.model, self.nominal, listed_units(shape))
        effects = sum(len(term.count) * term.Z.shape[1] for term in rows.terms)
        if effects > MOST_EFFECTS:
            raise SpecificationError(
                f"degrees of freedom of a data frame are worked out for at most {MOST_EFFECTS} random effects; there "
                f"are {effects}: with so many, df=math.inf is near."
            )
        return rows, isinstance(layout_of(shape), Crossed)


def _together(rows: LabelledRows, combinations: Array, crossed: bool) -> float:
    """Satterthwaite's ν of one combination; of several, with ν_i those of uncorrelated ones,

    ν = 2E/(E − q),  E = Σ_i ν_i/(ν_i − 2) over ν_i > 2 (Fai & Cornelius 1996).
    """
    if len(combinations) == 1:
        return float(satterthwaite(rows, combinations, crossed)[0])
    each = satterthwaite(rows, _uncorrelated(rows, combinations), crossed)
    mean = float((each[each > 2.0] / (each[each > 2.0] - 2.0)).sum())
    excess = mean - len(each)
    return 2.0 * mean / excess if excess > 0.0 and (each > 0.0).all() else 0.0


def _uncorrelated(rows: LabelledRows, combinations: Array) -> Array:
    """Combinations with the same span whose estimates are uncorrelated."""
    inverse = generalised_inverse(information(rows, rows.weight(rows.eta)).total)
    _, vectors = np.linalg.eigh(combinations @ inverse @ combinations.T)
    return np.asarray(vectors.T @ combinations)


@dataclass(frozen=True)
class DfBudget:
    """Degrees of freedom as what the design has, proportional to its counts, less what coefficients use up."""

    per_design: float
    spent: float
    what: str

    @property
    def left(self) -> float:
        """What is left."""
        return self.per_design - self.spent


def _df_budget(model: MixedModel, nominal: NominalValues, design: Design, coefficient: str) -> DfBudget:
    check_layout(model, design.layout)
    rows = encode(model, nominal, design.region, 1)
    at = coefficient_index(coefficient, rows.names, rows.aliases)
    if not model.is_gaussian:
        return DfBudget(math.inf, 0.0, "observations")
    blocks = pack(rows, np.arange(rows.region.n_atoms), separate=True)
    loads = _loadings(blocks, rows.X, rows.Z)
    absorbed, inherited = loads.any(axis=0), _inherited(blocks, loads, rows.X)
    if inherited[:, at].any():
        return DfBudget(design.units, float(loads.sum(axis=1)[inherited[:, at]].max()), f"levels of '{rows.factor}'")
    counts, _ = design.masses
    random = float(counts[blocks.unit] * blocks.prob @ (1.0 - blocks.idle).sum(axis=1))
    within = np.linalg.matrix_rank(blocks.X[:, :, ~absorbed].reshape(-1, int((~absorbed).sum())))
    return DfBudget(design.observations - random, float(within), "observations beyond those that units use up")


def _loadings(blocks: Blocks, X: Array, Z: Array) -> npt.NDArray[np.bool_]:
    """Which random-effect column each absorbed coefficient loads on, in some unit, shape (r, p)."""
    weights = np.abs(blocks.rotation @ blocks.absorbed)
    sizes = np.abs(X).max(axis=0) / np.abs(Z).max(axis=0, initial=np.finfo(float).tiny)[:, None]
    return np.asarray((weights > NEGLIGIBLE_LOADING * sizes).any(axis=0))


def _inherited(blocks: Blocks, loads: npt.NDArray[np.bool_], X: Array) -> npt.NDArray[np.bool_]:
    """Loadings, given on to coefficients whose within-unit information is shared with an absorbed one.

    An absorbed column that also varies within units as x_B c does lets the observations identify only sums
    β_B + cβ; β_B alone then rests on the same differences between units.
    """
    absorbed = loads.any(axis=0)
    within = blocks.X.reshape(-1, X.shape[1])
    shares = np.linalg.lstsq(within[:, ~absorbed], within[:, absorbed])[0]
    linked = np.abs(shares) > NEGLIGIBLE_LOADING * np.abs(shares).max(initial=1.0)
    result = loads.copy()
    result[:, ~absorbed] = (loads[:, absorbed].astype(int) @ linked.T.astype(int)) > 0
    return result
