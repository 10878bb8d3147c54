"""Exact efficiency of the plan that each order picks: python studies/plan_efficiency/run.py

Writes plans.csv and plans.svg/png beside this file. Every plan in whole numbers that the budget buys is listed (all
units of an arm alike, 2 to 12 observations each), each order picks its best one, and exact Fisher information says how
much of the money that choice wastes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from pandas.core.groupby import SeriesGroupBy
from scipy.interpolate import CubicSpline

import optdesign as od
from optdesign.plotting import save

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Counts = tuple[int, ...]

HERE = Path(__file__).parent
FEWEST, MOST = 2, 12
VARIANCES, PRICES, EFFECT = (0.25, 1.0, 2.0), (0.5, 2.0, 10.0), -0.5
BASELINES = {"bernoulli": {"rare": -3.0, "medium": -0.5}, "poisson": {"rare": -3.0, "medium": -1.5}}
ORDERS = {"leading": ("#d55e00", "^"), "two-term": ("#0072b2", "o"), "averaged": ("#009e73", "s")}
CRITERIA = ("c", "D")
#: Expected totals of a unit between which the information from the total is interpolated.
TOTALS = np.geomspace(0.03, 2.75, 41)


@dataclass(frozen=True)
class Problem:
    """Covariate points of each type of unit, and the standard deviation of the slope relative to the intercept's."""

    points: tuple[tuple[float, ...], ...]
    slope: float = 0.0

    @property
    def schedules(self) -> tuple[tuple[Counts, ...], ...]:
        """Numbers of observations per point that a unit of each type may have: at two points at least, if it can."""
        return tuple(
            tuple(
                counts
                for counts in itertools.product(range(MOST + 1), repeat=len(points))
                if FEWEST <= sum(counts) <= MOST and np.count_nonzero(counts) >= min(2, len(points))
            )
            for points in self.points
        )


PROBLEMS = {
    "arms": Problem(((0.0,), (1.0,))),
    "within": Problem(((0.0, 1.0, 2.0),)),
    "slopes": Problem(((0.0, 1.0),), slope=np.sqrt(0.5)),
}
TITLES = {
    "arms": "two arms of clusters,\nrandom intercept",
    "within": "covariate within units,\nrandom intercept",
    "slopes": "covariate within units,\nrandom intercept and slope",
}


@dataclass(frozen=True, eq=False)
class Plans:
    """All plans of a problem: units and schedule of each type, both of shape (plans, types), and what they cost."""

    units: Index
    schedule: Index
    spend: Array


@lru_cache
def plans_of(name: str, price: float) -> Plans:
    """Plans on a budget for 40 units of six observations; the last type takes what the others leave."""
    budget = 40 * (price + 6)
    unit_price = [price + np.array([sum(counts) for counts in kind]) for kind in PROBLEMS[name].schedules]
    rows = []
    for picked in itertools.product(*(range(len(prices)) for prices in unit_price)):
        *first, last = (prices[i] for prices, i in zip(unit_price, picked, strict=True))
        for units in itertools.product(*(range(1, int(budget // p) + 1) for p in first)):
            left = int((budget - np.dot(units, first)) // last)
            if left >= 1:
                rows.append((*units, left, *picked, np.dot(units, first) + left * last))
    table, types = np.array(rows), len(unit_price)
    return Plans(table[:, :types].astype(int), table[:, types:-1].astype(int), table[:, -1])


@lru_cache
def informations(name: str, family: str, baseline: float, variance: float, order: str) -> tuple[Array, ...]:
    """Information of one unit on every schedule of each type, shape (schedules, q, q), in the study's parameters."""
    problem = PROBLEMS[name]
    return tuple(
        np.stack([_information(problem, family, baseline, variance, order, points, counts) for counts in kind])
        for points, kind in zip(problem.points, problem.schedules, strict=True)
    )


def _information(
    problem: Problem,
    family: str,
    baseline: float,
    variance: float,
    order: str,
    points: tuple[float, ...],
    counts: Counts,
) -> Array:
    """On (intercept, effect), and on the components of variance too where information is exact."""
    if order == "exact" and family == "poisson" and not problem.slope:
        return _from_total(baseline, variance, np.array(points), np.array(counts))
    sigma = np.diag([variance, variance * problem.slope**2]) if problem.slope else np.array([[variance]])
    if len(points) > 1:
        return _inverse(_covariance(family, (baseline, EFFECT), sigma, points, counts, order))
    mean = _inverse(_covariance(family, (baseline + EFFECT * points[0],), sigma, points, counts, order))
    jacobian = np.eye(len(mean) + 1)[[0, *range(2, len(mean) + 1)]]
    jacobian[0, 1] = points[0]
    return np.asarray(jacobian.T @ mean @ jacobian)


def _covariance(
    family: str, beta: tuple[float, ...], sigma: Array, points: tuple[float, ...], counts: Counts, order: str
) -> od.AsymptoticCovariance:
    """Covariance of one unit, whose mean alone is a parameter where it has one covariate point."""
    fixed, random = ("x" if len(beta) > 1 else "1"), ("1 + x" if len(sigma) > 1 else "1")
    used = [(x, k) for x, k in zip(points, counts, strict=True) if k]
    measure = od.Measure.grid(x=[x for x, _ in used], weights=[k / sum(counts) for _, k in used])
    design = od.Design(od.Nested("g"), counts={"g": 1}, replicates=sum(counts), measure=measure)
    model = od.MixedModel(f"y ~ {fixed} + ({random} | g)", family)
    parameters = "all" if order == "exact" else "fixed"
    return od.covariance(model, od.NominalValues(beta, {"g": sigma}), design, order, parameters=parameters)


def _inverse(cov: od.AsymptoticCovariance) -> Array:
    """Information; zero where some parameter cannot be estimated, so that no number of units helps."""
    return np.zeros_like(cov.matrix) if cov.inestimable else np.linalg.inv(cov.matrix)


def _from_total(baseline: float, variance: float, points: Array, counts: Array) -> Array:
    """Counts with a random intercept: the total depends on U, and how it splits over the points does not.

    The total informs on its logarithmic mean and on the variance; given the total, the split is multinomial with
    shares proportional to the means, whatever U is.
    """
    means = counts * np.exp(baseline + EFFECT * points)
    share, total = means / means.sum(), means.sum()
    centre = share @ points
    jacobian = np.array([[1.0, centre, 0.0], [0.0, 0.0, 1.0]])
    information = jacobian.T @ _of_total(variance)(np.log(total)) @ jacobian
    information[1, 1] += total * np.exp(variance / 2) * (share @ (points - centre) ** 2)
    return np.asarray(information)


@lru_cache
def _of_total(variance: float) -> CubicSpline:
    """Exact information of a count on its logarithmic mean and on the variance, by that mean."""
    means = np.log(TOTALS)
    each = [_inverse(_covariance("poisson", (m,), np.array([[variance]]), (0.0,), (1,), "exact")) for m in means]
    return CubicSpline(means, np.stack(each))


def losses(name: str, family: str, baseline: float, variance: float, price: float, order: str) -> dict[str, Array]:
    """Loss of every plan by each criterion: logarithm of a variance, lower by one where 1/e of the money is enough.

    Order "known" is exact information for somebody who knows the components of variance and need not estimate them.
    """
    plans, size = plans_of(name, price), 2 if order == "known" else None
    parts = informations(name, family, baseline, variance, "exact" if order == "known" else order)
    total = sum(
        units[:, None, None] * part[picked, :size, :size]
        for units, picked, part in zip(plans.units.T, plans.schedule.T, parts, strict=True)
    )
    usable = np.linalg.det(total) > 0
    covariance = np.linalg.inv(np.where(usable[:, None, None], total, np.eye(total.shape[-1])))[:, :2, :2]
    found = {"c": np.log(covariance[:, 1, 1]), "D": np.linalg.slogdet(covariance)[1] / 2}
    return {criterion: np.where(usable, loss, np.inf) for criterion, loss in found.items()}


def pick(loss: Array, spend: Array) -> int:
    """The best plan; of equally good ones the cheapest."""
    level = np.flatnonzero(loss <= loss.min() + 1e-9)
    return int(level[np.argmin(spend[level])])


def rows_of(name: str, family: str, rarity: str, variance: float, price: float) -> list[dict[str, object]]:
    """What each order picks by each criterion, and how good that is by exact information."""
    plans, case = plans_of(name, price), (name, family, BASELINES[family][rarity], variance, price)
    where = {"problem": name, "family": family, "events": rarity, "variance": variance, "price": price}
    exact, known = losses(*case, "exact"), losses(*case, "known")
    return [
        {**where, "criterion": c, "order": order, **_scored(name, plans, losses(*case, order)[c], exact[c], known[c])}
        for order, c in itertools.product(ORDERS, CRITERIA)
    ]


def _scored(name: str, plans: Plans, loss: Array, exact: Array, known: Array) -> dict[str, object]:
    """Efficiency of the best plan by `loss`, the same with known components, and the variance it states over exact."""
    chosen, best = pick(loss, plans.spend), pick(exact, plans.spend)
    return {
        "efficiency": np.exp(exact[best] - exact[chosen]),
        "known": np.exp(known.min() - known[chosen]) if np.isfinite(known[chosen]) else np.nan,
        "stated": np.exp(loss[chosen] - exact[chosen]),
        "plan": _words(name, plans, chosen),
        "best": _words(name, plans, best),
        "best_replicates": _replicates(name, plans, best),
    }


def _words(name: str, plans: Plans, plan: int) -> str:
    """Units times observations per point, type by type: ``18x7 + 20x6``, ``31x(3 0 4)``."""
    texts = []
    for units, picked, kind in zip(plans.units[plan], plans.schedule[plan], PROBLEMS[name].schedules, strict=True):
        counts = kind[picked]
        texts.append(f"{units}x{counts[0]}" if len(counts) == 1 else f"{units}x({' '.join(map(str, counts))})")
    return " + ".join(texts)


def _replicates(name: str, plans: Plans, plan: int) -> float:
    """Observations per unit, of all types together."""
    sizes = [sum(kind[picked]) for picked, kind in zip(plans.schedule[plan], PROBLEMS[name].schedules, strict=True)]
    return float(plans.units[plan] @ sizes / plans.units[plan].sum())


def cases() -> list[tuple[str, str, str, float, float]]:
    """All combinations but counts with a random slope of large variance, whose totals are too many to enumerate."""
    return [
        case
        for case in itertools.product(PROBLEMS, BASELINES, ("rare", "medium"), VARIANCES, PRICES)
        if not (case[0] == "slopes" and case[1] == "poisson" and case[3] > 0.25)
    ]


def draw(table: pd.DataFrame) -> Figure:
    """A panel per problem and family; money wasted by each order at each variance, one mark per case."""
    figure = Figure(figsize=(9.0, 6.0), layout="constrained")
    axes = figure.subplots(len(BASELINES), len(PROBLEMS), sharex=True, sharey=True)
    for (family, name), ax in zip(itertools.product(BASELINES, PROBLEMS), axes.flat, strict=True):
        part = table[(table["family"] == family) & (table["problem"] == name)]
        for shift, (order, (colour, marker)) in zip((-0.25, 0.0, 0.25), ORDERS.items(), strict=True):
            for events, face in (("rare", colour), ("medium", "none")):
                own = part[(part["order"] == order) & (part["events"] == events)]
                spread = np.linspace(-0.08, 0.08, len(PRICES))[[PRICES.index(p) for p in own["price"]]]
                at = np.array([VARIANCES.index(v) for v in own["variance"]]) + shift + spread
                wasted = np.clip(100 * (1 - own["efficiency"]), 0.01, 100.0)
                ax.scatter(at, wasted, s=17, marker=marker, facecolors=face, edgecolors=colour, linewidths=0.9)
        for limit in (1, 5):
            ax.axhline(limit, color="#8a93a0", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
        ax.set(yscale="log", ylim=(0.007, 150), title=f"{family.capitalize()}: {TITLES[name]}")
        ax.title.set_fontsize(9)
        ax.set_xticks(range(len(VARIANCES)), [f"{v:g}" for v in VARIANCES])
        ax.set_yticks([0.01, 0.1, 1, 5, 20, 100], ["≤ 0.01", "0.1", "1", "5", "20", "100"])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    axes[1, 2].text(1.5, 1.0, "too many totals\nto enumerate", ha="center", va="center", fontsize=9, color="#5a6270")
    prices = ", ".join(f"{price:g}" for price in PRICES)
    figure.supxlabel(
        f"variance of the random intercept (left to right within each: a unit costs {prices})", fontsize=10
    )
    figure.supylabel("money wasted by the plan picked, %", fontsize=10)
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    handles = [
        figure.axes[0].scatter([], [], marker=marker, color=colour, label=order)
        for order, (colour, marker) in ORDERS.items()
    ]
    handles += [
        figure.axes[0].scatter([], [], marker="D", facecolors=face, edgecolors="#5a6270", label=f"{events} events")
        for events, face in (("rare", "#5a6270"), ("medium", "none"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Share of cases within 1 % and 5 % of the exact best, the median and the worst."""
    efficiency = table.groupby(["problem", "criterion", "order"], sort=False)["efficiency"]
    found = {"cases": efficiency.size(), "within 1 %": _share(efficiency, 0.99), "within 5 %": _share(efficiency, 0.95)}
    return pd.DataFrame({**found, "median": efficiency.median(), "worst": efficiency.min()})


def _share(efficiency: SeriesGroupBy, least: float) -> pd.Series:
    return efficiency.apply(lambda values: float((values >= least).mean()))


def undecided(table: pd.DataFrame) -> pd.DataFrame:
    """Cases whose best number of observations is inside its bounds: elsewhere the bounds decide for every order."""
    return table[(table["best_replicates"] >= FEWEST + 0.5) & (table["best_replicates"] <= MOST - 0.5)]


def main() -> None:
    """Compute, write, draw."""
    table = pd.DataFrame([row for case in cases() for row in rows_of(*case)])
    table.round(4).to_csv(HERE / "plans.csv", index=False, lineterminator="\n")
    save(draw(table), HERE / "plans")
    print(summary(table).round(3).to_string(), summary(undecided(table)).round(3).to_string(), sep="\n\n")


if __name__ == "__main__":
    main()
