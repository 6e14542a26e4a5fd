"""Nodes at the steady state of a network without edges between them, and their optimum.

    x_i = A_i [ φ(z_i/A_i + b_i) − φ(b_i) ],   z_i = V_i·d,   φ = tanh,

d the columns of a `Design`, A = ε/α held. Every node is a regression of its own with p + 1
parameters, θ_i = (V_i, b_i), which minimizes

    Σ_rows w_i H_i(y_i − x_i) + Σ_k Λ_ik θ_ik² ,

H_i(r) = r² up to a threshold τ_i and τ_i(2|r| − τ_i) beyond, w the weights, 1 in the mean. Far
from saturation, A → ∞, and with b held at 0 it is ridge regression.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pycellbox.problem import Array

_FARTHEST = 2.5  # of an operating point: φ' is 0.03 there
_HALVINGS, _ITERATIONS = 6, 10
_POLISHINGS, _POLISHED = 50, 1e-20
_LEAST = 1e-300
_LEAST_RANGE = 1e-6  # of a node, as a share of the largest of all


@dataclass(frozen=True)
class Normal:
    """Residuals and normal equations of all nodes at their parameters.

    Attributes
    ----------
    residual : ndarray, (m, c)
        0 where not measured.
    weighted : ndarray, (m, c, p + 1)
        The derivative of x, times how much each residual counts.
    matrix : ndarray, (m, p + 1, p + 1)
        Gauss and Newton's, with the penalties.
    weights : ndarray, (m, c)
        Those of the nodes.
    """

    residual: Array
    weighted: Array
    matrix: Array
    weights: Array

    def leverage(self) -> Array:
        """How much of itself each response predicts, (m, c)."""
        solved = np.linalg.solve(self.matrix, np.swapaxes(self.weighted, 1, 2))
        own: Array = np.einsum("inp,ipn->in", self.weighted, solved)
        return own / np.where(self.weights > 0, self.weights, 1)


class Nodes:
    """All nodes of a screen side by side.

    Parameters
    ----------
    columns : ndarray, (c, p)
    outputs : ndarray, (c, m)
        NaN where not measured; each node somewhere.
    weights : ndarray, (c, m), optional
        Of the responses, inverse variances; only their ratios within a node matter. By default
        they are all the same.

    Attributes
    ----------
    weights : ndarray, (m, c)
        With a mean of 1 in each node, 0 where not measured.
    size : float
        The largest response of all.
    theta : ndarray, (m, p + 1)
        Where the next optimum is looked for.
    """

    def __init__(self, columns: Array, outputs: Array, weights: Array | None = None) -> None:
        self.columns = columns
        self.measured = ~np.isnan(outputs.T)
        self.outputs = np.where(self.measured, outputs.T, 0.0)
        self.count = self.measured.sum(axis=1)
        given = np.where(self.measured, 1.0 if weights is None else weights.T, 0.0)
        self.weights = given * (self.count / given.sum(axis=1))[:, None]
        self.size = float(np.abs(self.outputs).max(initial=0)) or 1.0
        self.largest = np.maximum(np.abs(self.outputs).max(axis=1), _LEAST_RANGE * self.size)
        square = (self.weights * self.outputs**2).sum(axis=1) / self.count
        self.square = np.maximum(square, (_LEAST_RANGE * self.size) ** 2)
        m, p = len(self.outputs), columns.shape[1]
        self.theta = np.zeros((m, p + 1))
        self.ranges = self.largest
        self.penalties = np.ones((m, p + 1))
        self.thresholds = np.full((m, 1), np.inf)

    def states(self, theta: Array, columns: Array) -> Array:
        """Return x of conditions (c, p): (m, c)."""
        A, b = self.ranges[:, None], theta[:, -1:]
        x: Array = A * (np.tanh(theta[:, :-1] @ columns.T / A + b) - np.tanh(b))
        return x

    def slopes(self, theta: Array, columns: Array | None = None) -> tuple[Array, Array]:
        """Return x and its derivative by θ, (m, c, p + 1), of conditions (c, p), or its own."""
        columns = self.columns if columns is None else columns
        A, b = self.ranges[:, None], theta[:, -1:]
        at_rest, phi = np.tanh(b), np.tanh(theta[:, :-1] @ columns.T / A + b)
        slope = 1 - phi**2
        by_V = slope[:, :, None] * columns
        by_b = A * (slope - 1 + at_rest**2)
        return A * (phi - at_rest), np.concatenate([by_V, by_b[:, :, None]], axis=2)

    def error(self, residual: Array) -> Array:
        """Huber's H of residuals, (m, ...)."""
        size = np.abs(residual)
        within = size <= self.thresholds
        far = np.where(within, 0, self.thresholds)  # none of it infinite
        return np.where(within, size**2, far * (2 * size - far))

    def value(self, theta: Array) -> Array:
        """Objective of each node, (m,)."""
        residual = (self.outputs - self.states(theta, self.columns)) * self.measured
        error = (self.weights * self.error(residual)).sum(axis=1)
        value: Array = error + (self.penalties * theta**2).sum(axis=1)
        return value

    def normal(self, theta: Array) -> Normal:
        """Residuals and normal equations; beyond the threshold residuals count less."""
        x, slope = self.slopes(theta)
        residual = (self.outputs - x) * self.measured
        counts = np.minimum(1, self.thresholds / np.maximum(np.abs(residual), 1e-12))
        weighted = slope * (self.weights * counts)[:, :, None]
        matrix = np.swapaxes(weighted, 1, 2) @ slope
        k = np.arange(matrix.shape[1])
        matrix[:, k, k] += self.penalties
        return Normal(residual, weighted, matrix, self.weights)

    def settle(
        self, ranges: Array, penalties: Array, tolerance: float = 1e-5, most: int = _ITERATIONS
    ) -> Array:
        """Take ``theta`` to the optimum at ranges A (m,) and penalties Λ (m, p + 1).

        By Gauss and Newton's method with shorter steps where a node's objective would rise, until
        none falls by more than ``tolerance`` of itself. Returns the objectives, (m,).
        """
        self.ranges, self.penalties = ranges, penalties
        theta, value = self.theta, self.value(self.theta)
        for _ in range(most):
            at = self.normal(theta)
            downhill = (at.weighted * at.residual[:, :, None]).sum(axis=1) - penalties * theta
            step = np.linalg.solve(at.matrix, downhill[:, :, None])[:, :, 0]
            theta, new = shortened(self.value, theta, step, value)
            falls = float(np.max((value - new) / np.maximum(value, _LEAST)))
            value = new
            if falls < tolerance:
                break
        self.theta = theta
        return value

    def polish(self) -> Array:
        """Take ``theta`` from near the optimum to it by Newton's method; objectives, (m,).

        Where its matrix is not positive definite, by Gauss and Newton's.
        """
        theta, value = self.theta, self.value(self.theta)
        for _ in range(_POLISHINGS):
            at = self.normal(theta)
            downhill = (at.weighted * at.residual[:, :, None]).sum(axis=1) - self.penalties * theta
            matrix = self._hessian(theta, at)
            convex = np.linalg.eigvalsh(matrix)[:, 0] > 0
            matrix[~convex] = at.matrix[~convex]
            step = np.linalg.solve(matrix, downhill[:, :, None])[:, :, 0]
            theta, value = shortened(self.value, theta, step, value)
            if ((downhill * step).sum(axis=1) <= _POLISHED * value).all():
                break
        self.theta = theta
        return value

    def _hessian(self, theta: Array, at: Normal) -> Array:
        """Half the objectives' second derivative, (m, p + 1, p + 1)."""
        A, b = self.ranges[:, None], theta[:, -1:]
        _, by_theta = self.slopes(theta)
        at_rest, phi = np.tanh(b), np.tanh(theta[:, :-1] @ self.columns.T / A + b)
        size = np.maximum(np.abs(at.residual), _LEAST)
        within = self.weights * (size <= self.thresholds)
        pull = self.weights * at.residual * np.minimum(1, self.thresholds / size) * A
        # x'' is Aφ'' times the square of (d/A, 1), less that at rest, in b alone.
        row = np.empty_like(by_theta)
        row[:, :, :-1], row[:, :, -1] = self.columns / A[:, :, None], 1
        bent = row * (pull * 2 * phi * (1 - phi**2))[:, :, None]
        matrix: Array = np.swapaxes(by_theta, 1, 2) @ (by_theta * within[:, :, None])
        matrix += np.swapaxes(row, 1, 2) @ bent
        matrix[:, -1, -1] -= (pull * 2 * at_rest * (1 - at_rest**2)).sum(axis=1)
        k = np.arange(matrix.shape[1])
        matrix[:, k, k] += self.penalties
        return matrix


def shortened(
    objective: Callable[[Array], Array], theta: Array, step: Array, value: Array
) -> tuple[Array, Array]:
    """Take of each node's step what does not raise its objective, (m,), ``value`` at ``theta``."""
    length, todo = np.ones(len(theta)), np.ones(len(theta), dtype=bool)
    theta, value = theta.copy(), value.copy()
    for _ in range(_HALVINGS):
        there = theta + length[:, None] * step
        there[:, -1] = np.clip(there[:, -1], -_FARTHEST, _FARTHEST)
        new = objective(there)
        good = todo & (new <= value)
        theta[good], value[good] = there[good], new[good]
        todo &= ~good
        if not todo.any():
            break
        length[todo] /= 3
    return theta, value
