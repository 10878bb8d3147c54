"""Every order side by side at a design, and how far the one used is from the best there is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance import ORDERS, covariance, existing_covariances
from optdesign.covariance.exact import affordable
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.result import AsymptoticCovariance
from optdesign.designs import Design
from optdesign.errors import AsymptoticRegimeWarning, SpecificationError, is_number
from optdesign.models import MixedModel, NominalValues

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

#: Relative difference of a variance from the best available at which an order is not to be trusted.
WARN_AT = 0.1


@dataclass(frozen=True, eq=False)
class Accuracy:
    """Variances of the fixed effects by every order that exists at a design.

    Attributes
    ----------
    covariances : mapping from order to AsymptoticCovariance
    best : str
        The order the others are compared with: ``"exact"``, or ``"largest"``, for each coefficient the larger variance
        of two terms and averaged information, where exact information is not affordable.
    reference : array, shape (p,)
        Variances by that order.
    monte_carlo_error : array, shape (p,), or None
        Relative standard error of the reference, where it was sampled.
    """

    covariances: Mapping[str, AsymptoticCovariance]
    best: str
    reference: Array
    monte_carlo_error: Array | None

    @property
    def names(self) -> tuple[str, ...]:
        """Coefficient names."""
        return next(iter(self.covariances.values())).names

    def ratios(self, order: str) -> Array:
        """Variances of an order relative to the reference, shape (p,)."""
        return np.asarray(np.diag(self.covariances[order].matrix) / self.reference)

    def to_frame(self) -> pd.DataFrame:
        """One row per coefficient: its variance by the best order, and every order relative to it."""
        import pandas as pd

        columns = {f"variance ({self.best})": self.reference, **{o: self.ratios(o) for o in self.covariances}}
        if self.monte_carlo_error is not None:
            columns["Monte-Carlo error"] = self.monte_carlo_error
        return pd.DataFrame(columns, index=pd.Index(self.names, name="coefficient"))

    def __repr__(self) -> str:
        return f"Variances by order, relative to {self.best}\n{self.to_frame().to_string(float_format='%.4g')}"

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(float_format="{:.4g}".format))


def accuracy(
    model: MixedModel, nominal: NominalValues, design: Design, order: str = "two-term", seed: int = 0
) -> Accuracy:
    """Compare every order of the covariance that exists for a model at a design.

    Parameters
    ----------
    model : MixedModel
    nominal : NominalValues
    design : Design
    order : str
        The order that is used; a warning says where it is not to be trusted.
    seed : int
        Of what is sampled.

    Returns
    -------
    Accuracy

    Warns
    -----
    AsymptoticRegimeWarning
        Where a variance of the order used is more than 10 % from the best available: exact information where it is
        affordable (Gaussian models; one grouping factor with whole numbers of observations), otherwise the larger of
        two terms and averaged information.

    Examples
    --------
    Two terms overstate the variance of an effect of clusters by 9 % where each has five binary observations:

    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> design = Design(Nested("clinic"), counts={"clinic": 40}, replicates=5,
    ...                 measure=Measure.grid(arm=[0, 1]), levels={"arm": "clinic"})
    >>> found = accuracy(MixedModel("y ~ arm + (1 | clinic)", "bernoulli"),
    ...                  NominalValues([-1.5, 0.6], {"clinic": 0.5}), design)
    >>> found.best, found.ratios("two-term").round(4).tolist()[1], found.ratios("averaged").round(4).tolist()[1]
    ('exact', 1.0875, 0.9989)
    """
    used = covariance(model, nominal, design, order, seed=seed)
    others = [o for o in ORDERS if o != order and (o != "exact" or _exact_is_affordable(model, nominal, design))]
    found = {order: used} | existing_covariances(model, nominal, design, others, seed)
    result = _compared({name: found[name] for name in ORDERS if name in found})
    _warn(result, order)
    return result


def _exact_is_affordable(model: MixedModel, nominal: NominalValues, design: Design) -> bool:
    if model.is_gaussian or not model.factors:
        return True
    return len(model.factors) == 1 and affordable(labelled_rows(model, nominal, design.points))


def _compared(found: dict[str, AsymptoticCovariance]) -> Accuracy:
    variances = {order: np.diag(cov.matrix) for order, cov in found.items()}
    if "exact" in found:
        best, reference, error = "exact", variances["exact"], found["exact"].monte_carlo_error
    else:
        reference = np.max([variances[order] for order in ("two-term", "averaged") if order in variances], axis=0)
        best, error = "largest", found["averaged"].monte_carlo_error if "averaged" in found else None
    return Accuracy(MappingProxyType(found), best, reference, error)


def _warn(result: Accuracy, order: str) -> None:
    off = result.ratios(order) - 1.0
    worst = int(np.nanargmax(np.abs(off)))
    if abs(off[worst]) > WARN_AT:
        warnings.warn(
            f"the variance of '{result.names[worst]}' by order '{order}' is {off[worst]:+.0%} from that by the best "
            f"order available at this design ({result.best}): use another order, or more observations per unit.",
            AsymptoticRegimeWarning,
            stacklevel=3,
        )


@dataclass(frozen=True, eq=False, repr=False)
class AccuracyMap:
    """How far an order's variance of a coefficient is from the best available, over sizes and variances.

    Attributes
    ----------
    order, coefficient : str
    replicates : array, shape (N,)
        Observations per unit.
    multiples : array, shape (V,)
        Of the nominal covariances of the random effects.
    ratios : array, shape (V, N)
        Variance by the order over that by the best order available.
    best : str
        The order compared with; see `Accuracy`.
    """

    order: str
    coefficient: str
    replicates: Array
    multiples: Array
    ratios: Array
    best: str

    def to_frame(self) -> pd.DataFrame:
        """A row per place."""
        import pandas as pd

        multiple, size = np.meshgrid(self.multiples, self.replicates, indexing="ij")
        return pd.DataFrame({"multiple": multiple.ravel(), "replicates": size.ravel(), "ratio": self.ratios.ravel()})

    def __repr__(self) -> str:
        fine = float(np.mean(np.abs(self.ratios - 1.0) <= WARN_AT))
        return (
            f"AccuracyMap of the variance of '{self.coefficient}' by order '{self.order}': within {WARN_AT:.0%} of "
            f"'{self.best}' at {fine:.0%} of {self.ratios.size} places"
        )

    def _repr_html_(self) -> str:
        return str(self.to_frame().to_html(index=False, float_format="{:.4g}".format))


def accuracy_map(
    model: MixedModel,
    nominal: NominalValues,
    design: Design,
    coefficient: str,
    replicates: Sequence[float],
    multiples: Sequence[float],
    order: str = "two-term",
) -> AccuracyMap:
    """`accuracy` of one coefficient's variance over numbers of observations per unit and variances between units.

    Parameters
    ----------
    model, nominal, order
        As for `accuracy`.
    design : Design
        Nested; the mean number of observations per unit is set to each of `replicates` in turn, in its proportions.
    coefficient : str
    replicates : sequence of float
        Whole numbers at every point have exact information as reference where that is affordable.
    multiples : sequence of float
        The nominal covariances of all random effects are multiplied by each in turn.

    Returns
    -------
    AccuracyMap

    Examples
    --------
    Two terms overstate most where clusters are small and differ much:

    >>> from optdesign.layouts import Nested
    >>> from optdesign.measures import Measure
    >>> design = Design(Nested("clinic"), counts={"clinic": 40}, replicates=5,
    ...                 measure=Measure.grid(arm=[0, 1]), levels={"arm": "clinic"})
    >>> found = accuracy_map(MixedModel("y ~ arm + (1 | clinic)", "bernoulli"),
    ...                      NominalValues([-1.5, 0.6], {"clinic": 0.5}), design, "arm", [5, 20], [1.0, 2.0])
    >>> found.ratios.round(3).tolist()
    [[1.087, 1.035], [1.147, 1.045]]
    """
    if not (len(replicates) and len(multiples) and all(is_number(v) and v > 0 for v in (*replicates, *multiples))):
        raise SpecificationError(
            f"replicates and multiples must be positive numbers; got {replicates!r:.60} and {multiples!r:.60}."
        )
    mean = design.observations / sum(group.count for group in design.groups)
    found: list[list[Accuracy]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AsymptoticRegimeWarning)  # the map says where, in full
        for k in multiples:
            scaled = replace(nominal, covariance={f: k * np.asarray(G) for f, G in nominal.covariance.items()})
            found.append([accuracy(model, scaled, design.scaled(1.0, n / mean), order) for n in replicates])
    at = found[0][0].covariances[order].position(coefficient)
    ratios = np.array([[each.ratios(order)[at] for each in row] for row in found])
    compared = " or ".join(sorted({each.best for row in found for each in row}))
    name = found[0][0].names[at]
    return AccuracyMap(order, name, np.asarray(replicates, float), np.asarray(multiples, float), ratios, compared)
