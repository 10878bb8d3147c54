"""Every order side by side at a design, and how far the one used is from the best there is."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from optdesign.covariance import ORDERS, covariance, existing_covariances
from optdesign.covariance.exact import affordable
from optdesign.covariance.labelled import labelled_rows
from optdesign.covariance.result import AsymptoticCovariance
from optdesign.designs import Design
from optdesign.errors import AsymptoticRegimeWarning
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
