"""Proofs that a steady state is the one that a trajectory goes to.

With e the difference of two trajectories, y = Se for a positive diagonal S, and
B = S diag(a/c) M S⁻¹, V = Σ y²/c changes by dV/dt = 2yᵀ(−y + DBy), where D is diagonal and holds
slopes of φ. If each of them is in [m − r, m + r],

    dV/dt ≤ −yᵀ N y ,   N = 2 − DₘB − (DₘB)ᵀ − t Dᵣ − BᵀDᵣB/t   for every t > 0 ,

because 2|yᵀDᵣΔBy| ≤ t yᵀDᵣy + yᵀBᵀDᵣBy/t for |Δ| ≤ 1 (the circle criterion; Khalil, Nonlinear
Systems, 3rd ed., section 7.1, with V for its Lyapunov function). Where N is positive definite

1. for all slopes that φ has, the network is contracting: every trajectory goes to one state;
2. for the slopes in the ball V ≤ V(x(t) − x*) around a steady state x*, a trajectory that is in the
   ball at time t cannot leave it and ends in x*.

Where neither is shown, there is

3. the trajectory has come close to x*, and the Jacobian there has no eigenvalue with Re ≥ 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from pycellbox.numerics.envelopes import EnvelopeKernel
from pycellbox.problem import Array

# "Close" in proof 3, relative to 1 + |x*|, and the change of slope that still counts as linear.
_CLOSE, _SAME_SLOPE = 1e-2, 0.05
# Up to this many nodes a proof is tried for each condition by itself. It takes n³ and eigenvalues
# many times that: beyond, an integration costs less.
_NODES_FOR_EACH = 256
_POWER_STEPS = 5
# Numbers in the matrices, one for each condition, that are made at a time.
_MATRICES = 2**21


class Proofs:
    """What the proofs share for one network.

    Parameters
    ----------
    envelope : EnvelopeKernel
    M : ndarray, (n, n)
    gain, decay : ndarray, (n,)
        a/c and c; 0 and 1 of nodes that are held.
    held : ndarray of bool, (n,)
        Nodes that stay where they are, so that no two trajectories differ in them.
    """

    def __init__(
        self, envelope: EnvelopeKernel, M: Array, gain: Array, decay: Array, held: Array
    ) -> None:
        self.envelope, self._decay = envelope, decay
        # In float64 whatever the states are: the sign of N's smallest eigenvalue is at stake.
        self._M = np.where(held, 0, np.asarray(M, dtype=np.float64))
        self._gained = gain[:, None] * self._M
        self.for_each = len(decay) <= _NODES_FOR_EACH

    def contracting(self) -> bool:
        """Whether proof 1 holds, for every condition at once."""
        return self._contracting

    @cached_property
    def _contracting(self) -> bool:
        n, top = len(self._decay), self.envelope.steepest
        _, _, norm = self._perron
        return norm * top < 1 or self._dissipative(np.zeros(n), np.full(n, top))

    @np.errstate(over="ignore", invalid="ignore")
    def in_ball(self, z: Array, distance: Array) -> Array:
        """Rows for which proof 2 holds; bool, (c,).

        Parameters
        ----------
        z : ndarray, (c, n)
            Mx* + p.
        distance : ndarray, (c, n)
            x(t) − x*.
        """
        weight = self._perron[0] / np.sqrt(self._decay)
        radius = np.sqrt(np.sum((weight * distance) ** 2, axis=1))
        reach = np.sqrt(np.sum((self._M / weight) ** 2, axis=1))
        flattest, steepest = self.envelope.slopes_within(z, radius[:, None] * reach)
        # One matrix for all conditions, before one for each.
        if self._dissipative(flattest.min(axis=0), steepest.max(axis=0)):
            return np.ones(len(z), dtype=bool)
        if not self.for_each:
            return np.zeros(len(z), dtype=bool)
        each = zip(flattest, steepest, strict=True)
        return np.array([self._dissipative(low, high) for low, high in each], dtype=bool)

    def near_and_stable(
        self, root: Array, distance: Array, slope_there: Array, slope_here: Array
    ) -> Array:
        """Rows for which proof 3 holds; bool, (c,).

        Parameters
        ----------
        root, distance : ndarray, (c, n)
            x* and x(t) − x*.
        slope_there, slope_here : ndarray, (c, n)
            φ' at x* and at x(t).
        """
        near = np.abs(distance).max(axis=1) < _CLOSE * (1 + np.abs(root).max(axis=1))
        near &= np.abs(slope_there - slope_here).max(axis=1) < _SAME_SLOPE
        proven = np.zeros(len(root), dtype=bool)
        if not self.for_each:
            return proven
        n = len(self._decay)
        for rows in parts(np.flatnonzero(near), n):
            jacobian = slope_there[rows, :, None] * self._gained - np.eye(n)
            eigenvalues = np.linalg.eigvals(self._decay[:, None] * jacobian)
            proven[rows] = eigenvalues.real.max(axis=1) < -1e-9 * self._decay.max()
        return proven

    @cached_property
    def _perron(self) -> tuple[Array, Array, float]:
        """S as (n,), B, whose norm S makes small, and a bound of that norm.

        For any positive u and v and s = √(u/v), ‖B‖² is at most max (|G|v)ᵢ/vᵢ · max (u|G|)ⱼ/uⱼ
        with G = diag(a/c)M (Schur's test). Both are |G|'s spectral radius where u and v are its
        Perron vectors, which a few steps of the power method come near to.
        """
        # A little of everything keeps the vectors positive where rows or columns are zero.
        size = np.abs(self._gained)
        size += 1e-6 * float(size.max(initial=0)) + 1e-300
        u = v = np.ones(len(size))
        for _ in range(_POWER_STEPS):
            u, v = u @ size, size @ v
            u, v = u / u.max(), v / v.max()
        norm = math.sqrt(float((size @ v / v).max() * (u @ size / u).max()))
        s = np.sqrt(u / v)
        return s, s[:, None] * self._gained / s, norm

    @cached_property
    def _norm(self) -> float:
        """About ‖B‖: any t proves what it proves, and this is a good one."""
        B = self._perron[1]
        y = 1 + 0.1 * np.cos(np.arange(len(B)))
        for _ in range(_POWER_STEPS):
            y = B.T @ (B @ y)
            y /= np.linalg.norm(y)
        return float(np.linalg.norm(B @ y))

    def _dissipative(self, flattest: Array, steepest: Array) -> bool:
        """Whether N is positive definite for slopes between two bounds, (n,) each."""
        B, t = self._perron[1], self._norm
        middle, half = (steepest + flattest) / 2, (steepest - flattest) / 2
        N = middle[:, None] * B
        N = N + N.T
        rows = np.sqrt(half / t)[:, None] * B
        N += rows.T @ rows
        np.negative(N, out=N)
        N.flat[:: len(B) + 1] += 2 - t * half
        try:
            factor = np.linalg.cholesky(N)
        except np.linalg.LinAlgError:
            return False
        # NaN goes through without an error.
        return bool(np.isfinite(factor.diagonal()).all())


def parts(rows: Array, n: int) -> Iterator[Array]:
    """Yield some of the rows at a time, so that an n × n matrix for each of them has room."""
    size = max(_MATRICES // (n * n), 1)
    for first in range(0, rows.size, size):
        yield rows[first : first + size]
