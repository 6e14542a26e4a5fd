"""Nodes of a network without edges between them, along time courses.

While inputs stay as they are, a node goes at its own rate from where it is to where they send it:

    x_i(t) = Σ_s w_s(t; α_i)·A_i [ φ(z_is/A_i + b_i) − φ(b_i) ],   z_is = V_i·d_s,   φ = tanh,

the phases s each with the share w_s that is left of it at t. For a given rate a node is a
regression with p + 1 parameters, θ_i = (V_i, b_i), as in `nodes`; of some rates the one is taken
that predicts conditions from the others best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.estimation.nodes import shortened
from pycellbox.problem import Array

RATES = np.array([0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
"""Of decay, to choose from, per time scale."""
RANGE, EFFECTS, POINT = 1.5, 0.3, 0.5
"""A/max|y|, and penalties of V and of b, the latter relative to a node's mean square: those that
screens have beforehand, of all inputs alike."""
_STEPS, _FALLS = 40, 1e-10
_ENTRIES = 4e6  # of the derivatives of the nodes that are looked at together
_LEAST_SHARE = 1e-3


@dataclass(frozen=True)
class CourseEstimate:
    """What time courses say of nodes one by one.

    Attributes
    ----------
    effects : ndarray, (m, p)
        z per column.
    point, ranges, rates : ndarray, (m,)
        Operating points b, A = ε/α, and α.
    """

    effects: Array
    point: Array
    ranges: Array
    rates: Array

    def predict(self, columns: Array, starts: Array, pretreated: Array, times: Array) -> Array:
        """States (c, t, m); arguments as for `estimate_courses`."""
        z = np.einsum("csp,mp->csm", columns, self.effects) / self.ranges + self.point
        ends = self.ranges * (np.tanh(z) - np.tanh(self.point))
        shares = np.stack([shares_of(starts, pretreated, times, rate) for rate in self.rates], -1)
        states: Array = np.einsum("csm,ctsm->ctm", ends, shares)
        return states


def shares_of(starts: Array, pretreated: Array, times: Array, rate: float) -> Array:
    """How much each phase has in the states at times (t,): (c, t, 1 + s).

    Parameters
    ----------
    starts : ndarray, (s,)
        Of the phases.
    pretreated : ndarray of bool, (c,)
        Who was in a pre-treatment before the first one; the others were at rest.
    times : ndarray, (t,)
    rate : float
    """
    ends = np.append(starts[1:], np.inf)
    after = np.exp(-rate * np.clip(times[:, None] - np.append(starts[:1], starts), 0, None))
    left = np.exp(-rate * np.clip(times[:, None] - np.append(starts[:1], ends), 0, None))
    shares = np.repeat((left - after)[None], len(pretreated), axis=0)
    shares[:, :, 0] = np.where(pretreated[:, None], after[:, 0], 0)
    return shares


def estimate_courses(
    columns: Array, starts: Array, pretreated: Array, times: Array, outputs: Array
) -> CourseEstimate:
    """Estimate nodes along time courses, rates included.

    Parameters
    ----------
    columns : ndarray, (c, 1 + s, p)
        What is given in the pre-treatment and in each phase.
    starts : ndarray, (s,)
    pretreated : ndarray of bool, (c,)
    times : ndarray, (t,)
    outputs : ndarray, (c, t, m)
        Responses, NaN where not measured; each node somewhere.
    """
    shares = [shares_of(starts, pretreated, times, rate) for rate in RATES]
    c, t, m = outputs.shape
    each = max(1, int(_ENTRIES / (c * t * (columns.shape[2] + 1))))
    theta, chosen = [], []
    for first in range(0, m, each):
        part = outputs[:, :, first : first + each]
        found = [_Nodes(columns, share, part) for share in shares]
        best = np.argmin([nodes.settle() for nodes in found], axis=0)
        theta.append(np.stack([found[k].theta[i] for i, k in enumerate(best)]))
        chosen.append(RATES[best])
    effects = np.concatenate(theta)
    return CourseEstimate(effects[:, :-1], effects[:, -1], _ranges(outputs), np.concatenate(chosen))


def _ranges(outputs: Array) -> Array:
    ranges: Array = RANGE * np.maximum(np.nanmax(np.abs(outputs), axis=(0, 1)), 1e-6)
    return ranges


class _Nodes:
    """Some nodes at one rate."""

    def __init__(self, columns: Array, shares: Array, outputs: Array) -> None:
        self.columns, self.shares = columns, shares
        self.measured = ~np.isnan(outputs.transpose(2, 0, 1))
        self.outputs = np.where(self.measured, outputs.transpose(2, 0, 1), 0.0)
        self.ranges = _ranges(outputs)[:, None, None]
        m, p = len(self.outputs), columns.shape[2]
        square = (self.outputs**2).sum(axis=(1, 2)) / self.measured.sum(axis=(1, 2))
        self.penalties = np.full((m, p + 1), EFFECTS)
        self.penalties[:, -1] = POINT * np.maximum(square, 1e-8)
        self.theta = np.zeros((m, p + 1))

    def states(self, theta: Array) -> tuple[Array, Array]:
        """φ of each phase, (m, c, s), and x, (m, c, t)."""
        b = theta[:, -1, None, None]
        phi = np.tanh(np.einsum("mp,csp->mcs", theta[:, :-1], self.columns) / self.ranges + b)
        x = np.einsum("mcs,cts->mct", self.ranges * (phi - np.tanh(b)), self.shares)
        return phi, x

    def value(self, theta: Array) -> Array:
        """Objective of each node, (m,)."""
        residual = (self.outputs - self.states(theta)[1]) * self.measured
        value: Array = (residual**2).sum(axis=(1, 2)) + (self.penalties * theta**2).sum(axis=1)
        return value

    def normal(self, theta: Array) -> tuple[Array, Array, Array]:
        """Residuals (m, c, t), their derivative (m, c, t, p + 1), Gauss and Newton's matrix."""
        phi, x = self.states(theta)
        slope = 1 - phi**2
        by_b = slope - 1 + np.tanh(theta[:, -1, None, None]) ** 2
        bent = self.shares[None] * slope[:, :, None]
        J = np.concatenate(
            [
                np.einsum("mcts,csp->mctp", bent, self.columns, optimize=True),
                np.einsum("mcs,cts->mct", self.ranges * by_b, self.shares)[..., None],
            ],
            axis=3,
        )
        J *= self.measured[..., None]
        flat = J.reshape(len(J), -1, J.shape[3])
        matrix = np.swapaxes(flat, 1, 2) @ flat
        k = np.arange(matrix.shape[1])
        matrix[:, k, k] += self.penalties
        return (self.outputs - x) * self.measured, J, matrix

    def settle(self) -> Array:
        """Take θ to the optimum; squared errors of leaving conditions out, linearized, (m,)."""
        value = self.value(self.theta)
        for _ in range(_STEPS):
            residual, J, matrix = self.normal(self.theta)
            downhill = np.einsum("mctp,mct->mp", J, residual) - self.penalties * self.theta
            step = np.linalg.solve(matrix, downhill[:, :, None])[:, :, 0]
            before = value
            self.theta, value = shortened(self.value, self.theta, step, value)
            if ((before - value) <= _FALLS * before).all():
                break
        residual, J, matrix = self.normal(self.theta)
        m, c, t, p = J.shape
        solved = np.linalg.solve(matrix, J.reshape(m, c * t, p).swapaxes(1, 2))
        own = np.einsum("mctp,mpcu->mctu", J, solved.reshape(m, p, c, t), optimize=True)
        system = (1 + _LEAST_SHARE) * np.eye(t) - own
        errors = np.linalg.solve(system, residual[..., None])[..., 0]
        left_out: Array = (errors**2).sum(axis=(1, 2))
        return left_out
