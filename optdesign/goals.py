"""The functions that criteria are made of, on the scale of losses −log Φ, with first and second derivatives.

A goal is φ of a block C = LᵀCovL: its loss ℓ(C) satisfies ℓ(aC) = ℓ(C) + log a, so that W = ∂ℓ/∂C has tr(WC) = 1. A
mean makes one loss of several. The largest eigenvalue and the worst case have corners, which a parameter μ rounds off:

    largest    min_t  log t − μ log det(I − C/t),       W = μ(tI − C)⁻¹
    worst      min_t  t − μ Σ log(t − ℓ_j),             shares μ/(t − ℓ_j)

Both are at most μ log-terms above the corner. A search carries its own W and shares beside these, as multipliers: they
stand for one of the two factors in second derivatives, follow by `step`, and prove how far down the loss can go.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optdesign.linalg import symmetric

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Determinant:
    """log det C / k."""

    def loss(self, blocks: Array) -> Array:
        """ℓ, shape (…, k, k) to (…)."""
        return np.asarray(np.linalg.slogdet(blocks)[1] / blocks.shape[-1])

    def weight(self, block: Array, smoothing: float) -> Array:
        """W = C⁻¹/k."""
        return np.asarray(np.linalg.inv(block) / len(block))

    def smooth(self, block: Array, weight: Array, smoothing: float) -> float:
        """ℓ: it has no corners."""
        return float(self.loss(block))

    def bound(self, loss: float, weight: Array) -> float:
        """Loss that the gradient proves: ℓ itself."""
        return loss

    def second(self, moved: Array, block: Array, weight: Array, dual: Array, smoothing: float) -> Array:
        """∂²ℓ along dC = −`moved`, shape (n, k, k) to (n, n)."""
        whitened = (weight @ moved).reshape(len(moved), -1)
        return np.asarray(-len(block) * whitened @ np.swapaxes(weight @ moved, 1, 2).reshape(len(moved), -1).T)


@dataclass(frozen=True)
class Trace:
    """log tr C."""

    def loss(self, blocks: Array) -> Array:
        """ℓ, shape (…, k, k) to (…)."""
        return np.asarray(np.log(np.trace(blocks, axis1=-2, axis2=-1)))

    def weight(self, block: Array, smoothing: float) -> Array:
        """W = I/tr C."""
        return np.asarray(np.eye(len(block)) / np.trace(block))

    def smooth(self, block: Array, weight: Array, smoothing: float) -> float:
        """ℓ: it has no corners."""
        return float(self.loss(block))

    def bound(self, loss: float, weight: Array) -> float:
        """Loss that the gradient proves: ℓ itself."""
        return loss

    def second(self, moved: Array, block: Array, weight: Array, dual: Array, smoothing: float) -> Array:
        """∂²ℓ along dC = −`moved`, shape (n, k, k) to (n, n)."""
        gain = np.trace(moved, axis1=1, axis2=2) * weight[0, 0]
        return -np.outer(gain, gain)


@dataclass(frozen=True)
class Largest:
    """log λ_max(C)."""

    def loss(self, blocks: Array) -> Array:
        """ℓ, shape (…, k, k) to (…)."""
        return np.asarray(np.log(np.linalg.eigvalsh(blocks)[..., -1]))

    def weight(self, block: Array, smoothing: float) -> Array:
        """W = μ(tI − C)⁻¹, with tr(WC) = 1."""
        values, vectors = np.linalg.eigh(block)
        gaps = values[-1] - values
        excess = _root(
            lambda e: float((smoothing * values / (e + gaps)).sum()) - 1.0, smoothing * values[-1], len(gaps)
        )
        return np.asarray((vectors * (smoothing / (excess + gaps))) @ vectors.T)

    def smooth(self, block: Array, weight: Array, smoothing: float) -> float:
        """log t − μ log det(I − C/t), from W: det(tI − C) = μᵏ/det W."""
        top = self._top(block, weight, smoothing)
        size = len(block)
        distance = size * np.log(smoothing) - np.linalg.slogdet(weight)[1] - size * np.log(top)
        return float(np.log(top) - smoothing * distance)

    @staticmethod
    def _top(block: Array, weight: Array, smoothing: float) -> float:
        """t, from W(tI − C) = μI and tr(WC) = 1: t tr W = μk + 1."""
        return float((smoothing * len(block) + 1.0) / np.trace(weight))

    def bound(self, loss: float, weight: Array) -> float:
        """log of tr(WC)/tr W, below which the largest eigenvalue cannot be."""
        return float(-np.log(np.trace(weight)))

    def second(self, moved: Array, block: Array, weight: Array, dual: Array, smoothing: float) -> Array:
        """∂²ℓ along dC = −`moved`, shape (n, k, k) to (n, n)."""
        left, right = (m @ moved for m in (dual, weight))
        pairs = left.reshape(len(moved), -1) @ np.swapaxes(right, 1, 2).reshape(len(moved), -1).T
        square = symmetric(dual @ weight)
        pull = np.tensordot(moved, square, 2)
        top = self._top(block, weight, smoothing)
        return np.asarray((symmetric(pairs) - top * np.outer(pull, pull) / np.sum(square * block)) / smoothing)

    def step(self, moved: Array, block: Array, weight: Array, dual: Array, smoothing: float) -> Array:
        """Change of the multiplier with dC = −`moved`: W − dual − sym(dual dS S⁻¹), S = tI − C = μW⁻¹."""
        square = symmetric(dual @ weight)
        rise = -self._top(block, weight, smoothing) * np.sum(square * moved) / np.sum(square * block)
        return weight - dual - symmetric(dual @ (rise * np.eye(len(block)) + moved) @ weight) / smoothing


Goal = Determinant | Trace | Largest


def _root(rising: Callable[[float], float], scale: float, terms: int) -> float:
    """Root of a function that falls from +∞ at 0 to below zero at `terms` times a scale."""
    from scipy.optimize import brentq

    return float(brentq(rising, scale * (1.0 - 1e-9), scale * terms * (1.0 + 1e-9), xtol=1e-15 * scale, rtol=1e-14))


@dataclass(frozen=True)
class Geometric:
    """Σ w ℓ_j: a weighted geometric mean of the Φ_j."""

    weights: tuple[float, ...]

    def loss(self, losses: Array) -> Array:
        """One loss of several, shape (parts, …) to (…)."""
        return np.tensordot(self.weights, losses, 1)

    def smooth(self, losses: Array, smoothing: float) -> float:
        """The loss: it has no corners."""
        return float(self.loss(losses))

    def shares(self, losses: Array, smoothing: float) -> Array:
        """Derivatives with respect to the parts' losses, summing to one."""
        return np.array(self.weights)

    def bound(self, shares: Array, bounds: Array) -> float:
        """Loss that the gradient proves, from those that the parts' gradients prove."""
        return float(shares @ bounds)

    def second(self, shares: Array, dual: Array, smoothing: float) -> Array | None:
        """Second derivatives, shape (parts, parts); None for none."""
        return None


@dataclass(frozen=True)
class Arithmetic:
    """log Σ w e^{ℓ_j}: a weighted mean of the 1/Φ_j."""

    weights: tuple[float, ...]

    def loss(self, losses: Array) -> Array:
        """One loss of several, shape (parts, …) to (…)."""
        top = losses.max(axis=0)
        return np.asarray(top + np.log(np.tensordot(self.weights, np.exp(losses - top), 1)))

    def smooth(self, losses: Array, smoothing: float) -> float:
        """The loss: it has no corners."""
        return float(self.loss(losses))

    def shares(self, losses: Array, smoothing: float) -> Array:
        """Derivatives with respect to the parts' losses, summing to one."""
        return np.asarray(np.array(self.weights) * np.exp(losses - self.loss(losses)))

    def bound(self, shares: Array, bounds: Array) -> float:
        """Loss that the gradient proves: by Jensen, log Σ w e^b ≥ Σ a {log(w/a) + b} for any shares a."""
        return float(shares @ (np.log(self.weights) - np.log(shares) + bounds))

    def second(self, shares: Array, dual: Array, smoothing: float) -> Array:
        """Second derivatives, shape (parts, parts)."""
        return np.diag(shares) - np.outer(shares, shares)


@dataclass(frozen=True)
class Worst:
    """max (ℓ_j − reference_j): the smallest of the Φ_j, each relative to the best there is."""

    references: tuple[float, ...]

    def loss(self, losses: Array) -> Array:
        """One loss of several, shape (parts, …) to (…)."""
        references = np.array(self.references)
        return np.asarray((losses - references.reshape(-1, *[1] * (losses.ndim - 1))).max(axis=0))

    def smooth(self, losses: Array, smoothing: float) -> float:
        """min_t t − μ Σ log(t − ℓ_j), constants left out."""
        gaps = smoothing / self.shares(losses, smoothing)
        return float(np.max(losses - self.references) + gaps.min() - smoothing * np.log(gaps / smoothing).sum())

    def shares(self, losses: Array, smoothing: float) -> Array:
        """Derivatives with respect to the parts' losses, μ/(t − ℓ_j), summing to one."""
        relative = losses - self.references
        gaps = relative.max() - relative
        excess = _root(lambda e: float((smoothing / (e + gaps)).sum()) - 1.0, smoothing, len(gaps))
        shares = smoothing / (excess + gaps)
        return np.asarray(shares / shares.sum())

    def bound(self, shares: Array, bounds: Array) -> float:
        """Loss that the gradient proves: a maximum is at least any mean."""
        return float(shares @ (bounds - self.references))

    def second(self, shares: Array, dual: Array, smoothing: float) -> Array:
        """Second derivatives, shape (parts, parts)."""
        stiff = shares * dual / smoothing
        return np.asarray(np.diag(stiff) - np.outer(stiff, stiff) / stiff.sum())

    def step(self, moved: Array, shares: Array, dual: Array, smoothing: float) -> Array:
        """Change of the multipliers as the losses change by −`moved`."""
        stiff = shares * dual / smoothing
        return np.asarray(shares - dual + stiff * ((stiff @ moved) / stiff.sum() - moved))


Mean = Geometric | Arithmetic | Worst
