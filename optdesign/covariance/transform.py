"""Functions of the parameters: the delta method, and simulation to say how far it can be trusted."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from optdesign.errors import NotEstimableError, SpecificationError, UnknownParameterError, is_number, listed, nearest

Array = npt.NDArray[np.float64]
Function = Callable[[Mapping[str, Any]], Any]

#: Functions that a formula string may use.
FUNCTIONS = {name: getattr(np, name) for name in ("exp", "log", "sqrt", "abs", "sin", "cos", "tanh", "log1p", "expm1")}

#: Share of a step at which derivatives are found once more, by how much they may then differ, and the relative error of
#: a function's values that is put down to rounding.
SMALL, SETTLED, ROUNDING = 1e-3, 0.01, 1e-13


@dataclass(frozen=True, eq=False)
class Transformed:
    """A function of the parameters, with the covariance of its estimator.

    Attributes
    ----------
    value : array, shape (k,)
        At the nominal values.
    covariance : array, shape (k, k)
        First-order (delta method): ∇f Cov ∇fᵀ.
    gradient : array, shape (k, p)
    simulated_covariance : array, shape (k, k), or None
        Of f at normal draws of the estimator, where asked for.
    monte_carlo_error : array, shape (k,), or None
        Standard error of the simulated variances, relative to them.
    """

    value: Array
    covariance: Array
    gradient: Array
    simulated_covariance: Array | None = None
    monte_carlo_error: Array | None = None

    @property
    def standard_error(self) -> Array:
        """Square roots of the variances, shape (k,)."""
        return np.sqrt(np.diag(self.covariance))

    def interval(self, level: float = 0.95) -> Array:
        """Wald intervals, shape (k, 2)."""
        from scipy.special import ndtri

        if not (is_number(level) and 0.0 < level < 1.0):
            raise SpecificationError(f"level must lie between 0 and 1; got {level!r}.")
        half = float(ndtri(0.5 + level / 2)) * self.standard_error
        return np.stack([self.value - half, self.value + half], axis=1)

    def __repr__(self) -> str:
        rows = [f"{v:.6g} (standard error {s:.6g})" for v, s in zip(self.value, self.standard_error, strict=True)]
        if self.simulated_covariance is not None:
            spread = np.sqrt(np.diag(self.simulated_covariance))
            rows = [f"{row[:-1]}, simulated {s:.6g})" for row, s in zip(rows, spread, strict=True)]
        return "\n".join(rows)


class Named(Mapping[str, Any]):
    """Parameter values by name, or by the name of a one-column term."""

    def __init__(self, names: tuple[str, ...], aliases: Mapping[str, str], values: Array) -> None:
        self._values = dict(zip(names, values, strict=True))
        self._aliases = aliases

    def __getitem__(self, name: str) -> Any:
        full = self._aliases.get(name, name)
        if full not in self._values:
            raise UnknownParameterError(
                f"'{name}' is not a parameter: {listed(self._values)}.{nearest(name, self._values)}"
            )
        return self._values[full]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def transformed(
    function: Function | str,
    names: tuple[str, ...],
    aliases: Mapping[str, str],
    estimate: Array,
    covariance: Array,
    simulate: int = 0,
    seed: int = 0,
) -> Transformed:
    """The delta method for a function of named parameters; see `AsymptoticCovariance.of`."""
    at = _evaluator(function, names, aliases)
    if simulate and not (is_number(simulate) and simulate >= 2 and simulate % 1 == 0):
        raise SpecificationError(f"simulate= is a whole number of draws, at least 2, or 0 for none; got {simulate!r}.")
    value, steps = at(estimate), _steps(estimate, np.diag(covariance))
    used = np.array(
        [any((at(estimate + s) != value).any() for s in (step, -step)) for step in np.diag(steps)], dtype=bool
    )
    lost = tuple(n for n, u, v in zip(names, used, np.diag(covariance), strict=True) if u and not np.isfinite(v))
    if lost:
        raise NotEstimableError(f"the function uses {listed(lost)}, which the design cannot estimate.", lost)
    gradient = _smooth_gradient(function, at, names, estimate, steps)
    block = covariance[np.ix_(used, used)]
    first_order = gradient[:, used] @ block @ gradient[:, used].T
    drawn = _simulated(at, estimate, used, block, int(simulate), seed) if simulate else (None, None)
    return Transformed(value, first_order, gradient, *drawn)


def gradient_of(function: Function | str, names: tuple[str, ...], aliases: Mapping[str, str], estimate: Array) -> Array:
    """Derivatives of a function of named parameters at their values, shape (k, p)."""
    at = _evaluator(function, names, aliases)
    gradient = _smooth_gradient(function, at, names, estimate, _steps(estimate, np.zeros(len(estimate))))
    if not gradient.any():
        raise SpecificationError(
            f"{_called(function)} has derivatives {gradient.tolist()} at the nominal values: to the first order it is "
            "a constant, and nothing would be minimised."
        )
    return gradient


def _evaluator(function: Function | str, names: tuple[str, ...], aliases: Mapping[str, str]) -> Callable[[Any], Any]:
    """The function of an array of parameter values, real or complex, shape (p,) to (k,)."""
    if not (isinstance(function, str) or callable(function)):
        raise SpecificationError(f"a function of the parameters is a callable or an expression; got {function!r}.")
    rule = _formula(function) if isinstance(function, str) else function

    def at(values: Any) -> Any:
        with np.errstate(all="ignore"):  # a value that is not finite is reported with its derivatives
            found = rule(Named(names, aliases, values))
        try:
            array = np.atleast_1d(np.asarray(found, dtype=values.dtype))
        except (TypeError, ValueError):
            array = np.zeros((0, 0))
        if array.ndim != 1:
            raise SpecificationError(f"the function must return a number or several; it returns {found!r}.")
        return array

    return at


def _formula(text: str) -> Function:
    """A rule from an expression in the parameters; names that are not identifiers stand in backticks."""
    quoted: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        quoted[f"_q{len(quoted)}"] = match.group(1)
        return f"_q{len(quoted) - 1}"

    try:
        tree = ast.parse(re.sub(r"`([^`]+)`", renamed, text), mode="eval")
    except SyntaxError as error:
        raise SpecificationError(f"the expression '{text}' cannot be read ({error.msg}).") from None
    operations = (ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Call)
    leaves = (ast.Expression, ast.Name, ast.Constant, ast.Load)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    known = all(isinstance(call.func, ast.Name) and call.func.id in FUNCTIONS and len(call.args) == 1 for call in calls)
    if not known or not all(isinstance(node, operations + leaves) for node in ast.walk(tree)):
        raise SpecificationError(
            f"the expression '{text}' may use parameters, numbers, + - * / **, and {listed(FUNCTIONS)} only."
        )
    code = compile(tree, "<expression>", "eval")

    def rule(values: Mapping[str, Any]) -> Any:
        wanted = {name: values[quoted.get(name, name)] for name in code.co_names if name not in FUNCTIONS}
        return eval(code, {"__builtins__": {}, **FUNCTIONS}, wanted)  # only the nodes allowed above

    return rule


def _steps(at: Array, variances: Array) -> Array:
    """How far each parameter is moved, a thousandth of its size; of its standard error's size where it is near zero."""
    spread = np.sqrt(np.where(np.isfinite(variances), variances, 0.0))
    size = np.maximum(np.abs(at), 1e-3 * spread)
    return np.where(size > 0, 1e-3 * size, 1e-3)


def _gradient(function: Callable[[Any], Any], at: Array, steps: Array) -> Array:
    """Derivatives by complex step, exact to rounding, where central differences bear them out; else the differences."""
    value, differences = function(at), np.stack([_difference(function, at, step) for step in np.diag(steps)], axis=1)
    exact = _by_complex_step(function, at)
    if exact is None or exact.shape != differences.shape:
        return differences
    noise = 1e-9 * np.abs(value)[:, None] / steps
    # Absolute values, conjugates and real parts are no functions of a complex variable: there the two part.
    agree = np.abs(exact - differences) <= 1e-4 * np.abs(exact) + noise
    return exact if (agree | ~np.isfinite(differences)).all() else differences


def _smooth_gradient(
    function: Function | str, at: Callable[[Any], Any], names: tuple[str, ...], estimate: Array, steps: Array
) -> Array:
    """The derivatives, shape (k, p), where much smaller steps find them too.

    At a pole, or at an end of the domain, differences grow as steps shrink, whatever is computed there.
    """
    value, gradient, small = at(estimate), _gradient(at, estimate, steps), SMALL * steps
    nearby = np.stack([_difference(at, estimate, step) for step in np.diag(small)], axis=1)
    noise = ROUNDING * np.abs(value)[:, None] / small
    settled = np.abs(gradient - nearby) <= SETTLED * np.abs(gradient) + noise
    smooth = (np.isfinite(value)[:, None] & np.isfinite(gradient) & settled).all(axis=0)
    if smooth.all():
        return gradient
    where = ", ".join(f"{name} = {v:.6g}" for name, v, fine in zip(names, estimate, smooth, strict=True) if not fine)
    raise SpecificationError(
        f"{_called(function)} is {', '.join(f'{v:.6g}' for v in value)} at the nominal values ({where}): it must be "
        "finite and smooth there. State other nominal values, or another function."
    )


def _called(function: Function | str) -> str:
    """A function as a message names it."""
    return f"the function '{function if isinstance(function, str) else getattr(function, '__name__', repr(function))}'"


def _difference(function: Callable[[Any], Any], at: Array, step: Array) -> Array:
    """Central differences extrapolated once: of the fourth order in the step, about 1e-10 relative."""
    near, far = ((function(at + s * step) - function(at - s * step)) / (2 * s * step.sum()) for s in (0.5, 1.0))
    return np.asarray((4.0 * near - far) / 3.0, dtype=float)


def _by_complex_step(function: Callable[[Any], Any], at: Array) -> Array | None:
    """Im f(x + ih)/h with h far below rounding; None where the function takes no complex numbers."""
    h = 1e-30
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy only warns where an imaginary part is dropped
        try:
            return np.stack([function(at + 1j * step).imag / h for step in h * np.eye(len(at))], axis=1)
        except Exception:  # whatever a function does with a kind of number it was not written for
            return None


def _simulated(
    function: Callable[[Array], Array],
    estimate: Array,
    used: npt.NDArray[np.bool_],
    block: Array,
    draws: int,
    seed: int,
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    values = np.tile(estimate, (draws, 1))
    if used.any():
        values[:, used] = rng.multivariate_normal(estimate[used], block, size=draws, method="eigh")
    results = np.array([function(row) for row in values])
    outside = int((~np.isfinite(results)).any(axis=1).sum())
    if outside:
        raise SpecificationError(
            f"the function is not finite at {outside:,} of {draws:,} normal draws of the estimator, so it has no "
            "variance under that law: leave simulate= out, or take a function that is finite everywhere."
        )
    centred = results - results.mean(axis=0)
    covariance = centred.T @ centred / (draws - 1)
    error = (centred**2).std(axis=0) / np.sqrt(draws)
    return covariance, np.divide(error, np.diag(covariance), out=error, where=np.diag(covariance) > 0)
