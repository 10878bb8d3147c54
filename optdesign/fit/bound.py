"""The lower bound on a log likelihood that normal laws of the random effects give, with its derivatives.

With Σ = TTᵀ and U_i = T V_i, every unit has V_i ~ N(μ_i, Λ_i), Λ_i = L_iL_iᵀ, in place of its conditional law, and

    ℓ(β, T) ≥ Σ_i max_{μ,L} { Σ_j [y_ij a_ij − k_ij B(a_ij, v_ij)] − ½(|μ|² + |L|²) + Σ_k log L_kk + r/2 } + constant
    a_ij = x_ijᵀβ + z_ijᵀTμ_i + offset,    v_ij = |LᵢᵀTᵀz_ij|²,    B(a, v) = E b(a + √v Z), Z ~ N(0, 1)

with b the cumulant function, y a total of responses that share their covariates and k its number of trials. Given
(β, T) the braces are concave in (μ, L), because b is convex: each unit has one maximum, which Newton's method finds
for all units at once. The maximum over (β, T) is that of the profile, whose gradient is the partial one (the envelope
theorem) and whose Hessian is a Schur complement. T may be singular, so that variances of zero and correlations of one
are not on the edge of anything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from optdesign.linalg import vech_pairs

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Cumulants = Callable[[Array, Array], Array]

#: Nodes for the normal law of a linear predictor reach so many standard deviations and lie so far apart, nearer where
#: the law is wide: 1e-10 of error, where Gauss–Hermite nodes do worse at large variances.
REACH, SPACING = 7.5, 0.6
#: Largest standard deviation that the nodes are made for.
WIDEST = 20.0
#: Newton steps, and halvings of one, before they are given up.
MOST_STEPS, MOST_HALVINGS = 100, 12
#: Longest step: in the parameters about the mean change of the linear predictors, in those of a unit its distance in
#: standard deviations of the random effects.
LONGEST = 1.0
#: Twice the distance of a unit's bound from its maximum before the last Newton step, which squares it.
SETTLED_UNIT = 1e-9
#: Relative error of a sum over the rows.
ROUNDING = 1e-12


def poisson(a: Array, v: Array) -> Array:
    """E b⁽ᵏ⁾(a + √v Z) for k = 0..4 and b = exp, shape (5, N)."""
    return np.broadcast_to(np.exp(a + 0.5 * v), (5, len(a)))


def logistic(a: Array, v: Array) -> Array:
    """E b⁽ᵏ⁾(a + √v Z) for k = 0..4 and b(η) = log(1 + e^η), shape (5, N)."""
    from scipy.special import expit

    spacing = SPACING / np.fmax(1.0, np.fmin(np.sqrt(v).max(), WIDEST))
    half = np.ceil(REACH / spacing)
    points = spacing * np.arange(-half, half + 1)
    weights = np.exp(-0.5 * points**2) / np.exp(-0.5 * points**2).sum()
    eta = a[:, None] + np.sqrt(v)[:, None] * points
    mean = expit(eta)
    slope = mean * (1.0 - mean)
    third, fourth = slope * (1.0 - 2.0 * mean), slope * (1.0 - 6.0 * slope)
    return np.stack([each @ weights for each in (np.logaddexp(0.0, eta), mean, slope, third, fourth)])


@dataclass(frozen=True, eq=False)
class Bound:
    """The lower bound on a log likelihood, and what it is made of; rows of a unit are together, N of them.

    Attributes
    ----------
    cumulants : callable
        E b⁽ᵏ⁾ for k = 0..4.
    y, trials, offset : arrays, shape (N,)
        Totals of the responses and numbers of trials (of observations, for counts) at a row's covariates.
    X : array, shape (N, p)
    Z : array, shape (N, r)
    unit : integer array, shape (N,)
        From 0 to m − 1, in order.
    """

    cumulants: Cumulants
    y: Array
    trials: Array
    offset: Array
    X: Array
    Z: Array
    unit: Index

    @cached_property
    def start(self) -> Index:
        """First row of each unit."""
        return np.asarray(np.unique(self.unit, return_index=True)[1], dtype=np.intp)

    @cached_property
    def pairs(self) -> tuple[Index, Index]:
        """Entries of T and of L, in the order of vech."""
        return vech_pairs(self.Z.shape[1])

    @cached_property
    def diagonal(self) -> Index:
        """Positions of the diagonal of L in ψ."""
        return np.asarray(self.Z.shape[1] + np.flatnonzero(self.pairs[0] == self.pairs[1]), dtype=np.intp)

    def totals(self, values: Array) -> Array:
        """Sums over the rows of each unit."""
        return np.asarray(np.add.reduceat(values, self.start, axis=0))

    def split(self, theta: Array) -> tuple[Array, Array]:
        """β, and T as a matrix."""
        p = self.X.shape[1]
        return theta[:p], self.triangle(theta[p:])

    def triangle(self, entries: Array) -> Array:
        """Lower triangular matrices, shape (…, r, r)."""
        r = self.Z.shape[1]
        matrix = np.zeros((*entries.shape[:-1], r, r))
        matrix[..., self.pairs[0], self.pairs[1]] = entries
        return matrix

    @cached_property
    def start_units(self) -> Array:
        """(μ, vech L) of units that know nothing: the prior law, shape (m, q)."""
        r = self.Z.shape[1]
        return np.tile(np.concatenate([np.zeros(r), np.eye(r)[self.pairs]]), (len(self.start), 1))

    def at(self, theta: Array, psi: Array) -> BoundAt:
        """The bound at parameters θ = (β, vech T) and ψ_i = (μ_i, vech L_i)."""
        (beta, T), r = self.split(theta), self.Z.shape[1]
        mu, L = psi[:, :r], self.triangle(psi[:, r:])
        loading = self.Z @ T
        s = np.einsum("nk,nkl->nl", loading, L[self.unit])
        a = self.offset + self.X @ beta + np.einsum("nk,nk->n", loading, mu[self.unit])
        with np.errstate(over="ignore"):
            B = self.trials * self.cumulants(a, (s**2).sum(axis=1))
        return BoundAt(self, psi, mu, L, loading, s, a, B)

    def maximised(self, theta: Array, psi: Array) -> BoundAt | None:
        """The bound at θ and at the best ψ, from Newton steps halved where they do not climb; None where they fail."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"), suppress(np.linalg.LinAlgError):
            here = self.at(theta, psi)
            for _ in range(MOST_STEPS):
                step, gain = here.newton()
                there = here.climbed(theta, step, gain)
                if there is None or gain.max() < SETTLED_UNIT:
                    return there
                here = there
        return None


@dataclass(frozen=True, eq=False)
class BoundAt:
    """A `Bound` at a point, with derivatives.

    Attributes
    ----------
    psi : array, shape (m, q)
        (μ, vech L) of each unit.
    mu, L : arrays, shapes (m, r) and (m, r, r)
    loading : array, shape (N, r)
        Tᵀz.
    s : array, shape (N, r)
        LᵀTᵀz.
    a : array, shape (N,)
        Mean of the linear predictor.
    B : array, shape (5, N)
        k E b⁽ᵏ⁾ at it.
    """

    bound: Bound
    psi: Array
    mu: Array
    L: Array
    loading: Array
    s: Array
    a: Array
    B: Array

    @property
    def diagonal(self) -> Array:
        """Diagonals of L, shape (m, r)."""
        return np.asarray(self.psi[:, self.bound.diagonal], dtype=float)

    @cached_property
    def by_unit(self) -> Array:
        """The bound of each unit, without its constant, shape (m,)."""
        logs = np.log(np.where(self.diagonal > 0, self.diagonal, np.nan)).sum(axis=1)
        rows = self.bound.totals(self.bound.y * self.a - self.B[0])
        return np.asarray(rows + logs + 0.5 * (self.mu.shape[1] - (self.psi**2).sum(axis=1)))

    @property
    def residual(self) -> Array:
        """∂/∂a of each row."""
        return np.asarray(self.bound.y - self.B[1])

    @cached_property
    def inner_slopes(self) -> tuple[Array, Array]:
        """∂a/∂ψ and ½∂v/∂ψ of each row, shape (N, q)."""
        row, column = self.bound.pairs
        zero = np.zeros((len(self.a), len(row)))
        return np.hstack([self.loading, zero]), np.hstack([0 * self.loading, self.loading[:, row] * self.s[:, column]])

    @cached_property
    def outer_slopes(self) -> tuple[Array, Array]:
        """∂a/∂θ and ½∂v/∂θ of each row, shape (N, p + r(r + 1)/2)."""
        (row, column), unit = self.bound.pairs, self.bound.unit
        shifted = np.einsum("nkl,nl->nk", self.L[unit], self.s)
        mean = np.hstack([self.bound.X, self.bound.Z[:, row] * self.mu[unit][:, column]])
        return mean, np.hstack([0 * self.bound.X, self.bound.Z[:, row] * shifted[:, column]])

    def _gradient(self, slopes: tuple[Array, Array]) -> Array:
        """Σ_j of ∂a (y − B₁) − ½∂v B₂, by unit."""
        mean, spread = slopes
        return self.bound.totals(mean * self.residual[:, None] - spread * self.B[2][:, None])

    def _products(self, weight: Array, left: Array, right: Array) -> Array:
        """Σ_j of weighted products of two columns, by unit."""
        return self.bound.totals((weight[:, None] * left)[:, :, None] * right[:, None, :])

    def _curvature(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> Array:
        """Σ_j of −(B₂ ∂a∂aᵀ + B₃(∂a ½∂vᵀ + ½∂v ∂aᵀ) + B₄ ½∂v ½∂vᵀ), by unit."""
        _, _, second, third, fourth = self.B[:, :, None]
        mean, spread = second * right[0] + third * right[1], third * right[0] + fourth * right[1]
        return -self.bound.totals(left[0][:, :, None] * mean[:, None] + left[1][:, :, None] * spread[:, None])

    @cached_property
    def inner_gradient(self) -> Array:
        """With respect to ψ, shape (m, q)."""
        slope = self._gradient(self.inner_slopes) - self.psi
        slope[:, self.bound.diagonal] += 1.0 / self.diagonal
        return slope

    @cached_property
    def inner_hessian(self) -> Array:
        """With respect to ψ, shape (m, q, q): negative definite."""
        (row, column), r = self.bound.pairs, self.mu.shape[1]
        hessian = self._curvature(self.inner_slopes, self.inner_slopes) - np.eye(self.psi.shape[1])
        second = self._products(self.B[2], self.loading, self.loading)
        hessian[:, r:, r:] -= second[:, row[:, None], row] * (column[:, None] == column)
        hessian[:, self.bound.diagonal, self.bound.diagonal] -= self.diagonal**-2.0
        return hessian

    def newton(self) -> tuple[Array, Array]:
        """Newton's step in ψ, shortened to `LONGEST`, and the slope along it, shapes (m, q) and (m,)."""
        step = np.linalg.solve(-self.inner_hessian, self.inner_gradient[:, :, None])[:, :, 0].astype(float)
        step = step / np.maximum(np.linalg.norm(step, axis=1) / LONGEST, 1.0)[:, None]
        return step, np.einsum("iq,iq->i", step, self.inner_gradient)

    def climbed(self, theta: Array, step: Array, gain: Array) -> BoundAt | None:
        """The bound after a step in ψ, halved in each unit until it climbs by a tenth of the slope, up to rounding."""
        size, slack = np.ones(len(step)), ROUNDING * (1.0 + np.abs(self.by_unit))
        for _ in range(MOST_HALVINGS):
            there = self.bound.at(theta, self.psi + size[:, None] * step)
            short = ~(there.by_unit >= self.by_unit + 0.1 * size * gain - slack)
            if not short.any():
                return there
            size = np.where(short, 0.5 * size, size)
        return None

    @cached_property
    def gradient(self) -> Array:
        """Of the bound with respect to θ, and of the profile where ψ is at its maximum, shape (p + r(r + 1)/2,)."""
        return np.asarray(self._gradient(self.outer_slopes).sum(axis=0))

    @cached_property
    def profile_hessian(self) -> Array:
        """Of the profile with respect to θ, where ψ is at its maximum."""
        mixed = self._mixed_hessian()
        explained = mixed @ np.linalg.solve(self.inner_hessian, np.swapaxes(mixed, 1, 2))
        return np.asarray((self._outer_hessian() - explained).sum(axis=0))

    def _outer_hessian(self) -> Array:
        """With respect to θ, shape (m, P, P)."""
        (row, column), p = self.bound.pairs, self.bound.X.shape[1]
        hessian = self._curvature(self.outer_slopes, self.outer_slopes)
        second = self._products(self.B[2], self.bound.Z, self.bound.Z)
        variance = self.L @ np.swapaxes(self.L, 1, 2)
        hessian[:, p:, p:] -= second[:, row[:, None], row] * variance[:, column[:, None], column]
        return hessian

    def _mixed_hessian(self) -> Array:
        """With respect to θ and ψ, shape (m, P, q)."""
        (row, column), p, r = self.bound.pairs, self.bound.X.shape[1], self.mu.shape[1]
        k, c = row[:, None], column[:, None]
        hessian, Z = self._curvature(self.outer_slopes, self.inner_slopes), self.bound.Z
        hessian[:, p:, :r] += self.bound.totals(Z * self.residual[:, None])[:, k] * (c == np.arange(r))
        by_s, by_loading = self._products(self.B[2], Z, self.s), self._products(self.B[2], Z, self.loading)
        hessian[:, p:, r:] -= by_s[:, k, column] * (c == row) + self.L[:, c, column] * by_loading[:, k, row]
        return hessian
