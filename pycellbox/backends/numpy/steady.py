"""Steady states as fixed points, and their derivative by the implicit function theorem.

With c > 0 a steady state of dx/dt = a∘φ(Mx + p) + b∘v − c∘x is a fixed point of

    G(x) = (a∘φ(Mx + p) + b∘v) / c ,

found by Anderson-accelerated iteration (Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011) over
all conditions together, and by Newton's method where that is too slow. For a loss with derivative
g at the steady state, λ with (diag(c) − Mᵀdiag(a∘φ'))λ = g gives the gradient
M̄ = Σ (λ∘a∘φ')xᵀ, ā = Σ λ∘φ, b̄ = Σ λ∘v, c̄ = −Σ λ∘x.

A root is taken only if it is the one that the trajectory from x(0) goes to. Three proofs are
tried, the cheapest first:

1. The whole network is contracting: with B = S diag(a·sup|φ'|/c) M S⁻¹ and a positive diagonal S,
   ‖B‖₂ < 1. Then V = Σ s²e²/c of the difference e of any two trajectories falls for ever, and
   there is one steady state.
2. The same with the steepest slopes in the ball V ≤ V(x(t) − x*): the trajectory, in that ball at
   time t, cannot leave it and ends in x*.
3. The trajectory has come close to x* and the Jacobian there has no eigenvalue with Re ≥ 0.

Conditions without a proof are integrated instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pycellbox.backends.lowering import Coefficients, Drive
from pycellbox.backends.numpy.anderson import fixed_point
from pycellbox.backends.numpy.envelopes import EnvelopeKernel
from pycellbox.backends.numpy.integrate import Tape, Trajectory, integrate
from pycellbox.backends.numpy.tableaux import TABLEAUX
from pycellbox.backends.protocol import SteadyStates
from pycellbox.problem import Array
from pycellbox.solvers import SteadyState

_NEWTON_STEPS = 30
# Up to this many nodes elementwise work and calls cost more than products, and half as many
# iterations with two products each are the cheaper ones.
_CORRECTED_NODES = 256
# "Close" in proof 3, relative to 1 + |x*|, and the change of slope that still counts as linear.
_CLOSE, _SAME_SLOPE = 1e-2, 0.05


@dataclass
class Adjoint:
    """μ = c∘λ, λ, and φ and φ' at the steady states; all (c, n)."""

    mu: Array
    value: Array
    phi: Array
    slope: Array


class SteadyEquations:
    """G, its derivative, and the roots, for one network and some conditions."""

    def __init__(
        self,
        solver: SteadyState,
        envelope: EnvelopeKernel,
        coefficients: Coefficients,
        drive: Drive,
    ) -> None:
        self.solver, self.envelope = solver, envelope
        self.coefficients, self.drive = coefficients, drive
        k, dtype = coefficients, drive.initial.dtype
        # Held nodes (clamped drugs) keep their initial state; a node that moves without decay
        # has no steady state.
        held = k.c == 0
        self.solvable = not bool((held & ((k.a != 0) | (k.b != 0))).any())
        decay = np.where(held, 1, k.c)
        self._gain = (k.a / decay).astype(dtype)
        self._offset = np.where(held, drive.initial, 0).astype(dtype)
        if drive.outside is not None:
            self._offset = self._offset + (k.b / decay) * drive.outside
        self._decay, self._held = decay, held
        self._M, self._MT = k.M, np.ascontiguousarray(k.M.T)
        self._z = np.empty_like(drive.initial)
        self._correction: Array | None = None
        self.tol = max(solver.tol, 20 * float(np.finfo(dtype).eps))

    def input(self, x: Array, out: Array) -> Array:
        """Write z = Mx + p to ``out``."""
        np.matmul(x, self._MT, out=out)
        if self.drive.inside is not None:
            np.add(out, self.drive.inside, out=out)
        return out

    def map(self, x: Array, out: Array) -> None:
        """Write G(x) to ``out``."""
        self.envelope.value(self.input(x, self._z), out)
        np.multiply(out, self._gain, out=out)
        np.add(out, self._offset, out=out)

    def phi_and_slope(self, x: Array) -> tuple[Array, Array]:
        """φ and φ' at states (c, n)."""
        z = self.input(x, np.empty_like(x))
        phi, slope = np.empty_like(z), np.empty_like(z)
        self.envelope.value(z, phi)
        self.envelope.slope(z, phi, slope)
        return phi, slope

    @cached_property
    def _balanced(self) -> tuple[Array, Array]:
        """Positive s (n,) and diag(s) diag(a/c) M diag(1/s), whose norm s makes small.

        With the Perron vectors of |B|, Bv = ρv and uB = ρu, s = √(u/v) brings it down to ρ at
        most.
        """
        B = self._gain[:, None] * self._M
        # A little of everything keeps the vectors positive where rows or columns are zero.
        size = np.abs(B) + 1e-6 * float(np.abs(B).max()) + 1e-300
        u = v = np.ones(B.shape[0], dtype=B.dtype)
        for _ in range(10):
            u, v = u @ size, size @ v
            u, v = u / u.max(), v / v.max()
        s = np.sqrt(u / v)
        return s, s[:, None] * B / s

    def contracting(self) -> bool:
        """Whether proof 1 holds, for every condition at once."""
        size = np.abs(self._gain[:, None] * self._M) * self.envelope.steepest
        # ‖B‖₂² ≤ ‖B‖₁‖B‖_∞ settles the easy cases.
        if size.sum(axis=0).max() * size.sum(axis=1).max() < 1:
            return True
        _, B = self._balanced
        return _positive_definite(np.eye(B.shape[0]) - self.envelope.steepest**2 * (B @ B.T))

    def contracting_ball(self, root: Array, state: Array) -> Array:
        """Rows for which proof 2 holds, with ``state`` on the trajectory; bool, (c,)."""
        s, B = self._balanced
        square = B @ B.T
        weight = s / np.sqrt(self._decay)
        radius = np.sqrt(np.sum((weight * (state - root)) ** 2, axis=1))
        reach = np.sqrt(np.sum((self._M / weight) ** 2, axis=1))
        z = self.input(root, np.empty_like(root))
        steepest = self.envelope.steepest_within(z, radius[:, None] * reach)
        # ‖diag(σ)B‖ < 1 is I − diag(σ)BBᵀdiag(σ) being positive definite.
        return np.array(
            [_positive_definite(np.eye(s.size) - row[:, None] * square * row) for row in steepest],
            dtype=bool,
        )

    def stable(self, root: Array) -> Array:
        """Rows whose Jacobian has eigenvalues with Re < 0 only; bool, (c,)."""
        _, slope = self.phi_and_slope(root)
        free = ~self._held
        slope = slope[:, free, None] * self.coefficients.a[free, None]
        jacobian = slope * self._M[np.ix_(free, free)] - np.diag(self.coefficients.c[free])
        largest = np.linalg.eigvals(jacobian).real.max(axis=1)
        result: Array = largest < -1e-9 * float(self.coefficients.c.max())
        return result

    def roots(self, start: Array) -> tuple[Array, Array]:
        """Roots near ``start`` and their residual, (c, n) and (c,)."""
        tolerance = self.tolerance(start)
        self._correction = self._inverse(start)
        correction = None if self._correction is None else self._correction.T
        x, residual = fixed_point(
            self.map, start, tolerance, self.solver.max_iterations, correction
        )
        late = np.flatnonzero(~(residual <= tolerance))
        if late.size:
            x[late], residual[late] = self._newton(late, start[late])
        return x, residual

    def _inverse(self, x: Array) -> Array | None:
        """(1 − diag(a∘φ'/c)M)⁻¹ with φ' as it is on average over the conditions at ``x``."""
        n = x.shape[1]
        if n > _CORRECTED_NODES:
            return None
        _, slope = self.phi_and_slope(x)
        system = np.eye(n, dtype=x.dtype) - (self._gain * slope.mean(axis=0))[:, None] * self._M
        try:
            inverse: Array = np.linalg.inv(system)
        except np.linalg.LinAlgError:
            return None
        return inverse

    def tolerance(self, x: Array) -> Array:
        """Largest residual that counts as none at states like ``x``, (c,)."""
        tolerance: Array = self.tol * (1 + np.maximum(x.max(axis=1), -x.min(axis=1)))
        return tolerance

    def rows(self, index: Array) -> SteadyEquations:
        """Return the equations of some of the conditions."""
        return SteadyEquations(
            self.solver, self.envelope, self.coefficients, self.drive.rows(index)
        )

    def _newton(self, rows: Array, x: Array) -> tuple[Array, Array]:
        part = self.rows(rows)
        image = np.empty_like(x)
        part.map(x, image)
        residual = np.abs(image - x).max(axis=1)
        best, best_residual = x.copy(), residual
        eye = np.eye(x.shape[1], dtype=x.dtype)
        for _ in range(_NEWTON_STEPS):
            if (best_residual <= part.tolerance(best)).all():
                break
            _, slope = part.phi_and_slope(x)
            system = eye - (self._gain * slope)[:, :, None] * self._M
            try:
                step = np.linalg.solve(system, (image - x)[:, :, None])[:, :, 0]
            except np.linalg.LinAlgError:
                break
            x = x + step
            part.map(x, image)
            residual = np.abs(image - x).max(axis=1)
            better = residual < best_residual
            best[better], best_residual = x[better], np.fmin(residual, best_residual)
        return best, best_residual

    def adjoint(self, x: Array, seeds: Array, start: Array) -> Adjoint:
        """Solve for λ at steady states ``x`` and derivatives ``seeds`` of the loss, (c, n)."""
        phi, slope = self.phi_and_slope(x)
        weight = self._gain * slope

        def step(mu: Array, out: Array) -> None:
            # μ = c∘λ solves μ = g + Mᵀ(a∘φ'/c∘μ).
            np.matmul(np.multiply(weight, mu, out=self._z), self._M, out=out)
            np.add(out, seeds, out=out)

        scale = np.abs(seeds).max(axis=1) * self.tol + np.finfo(x.dtype).tiny
        mu, residual = fixed_point(step, start, scale, self.solver.max_iterations, self._correction)
        late = np.flatnonzero(~(residual <= scale))
        if late.size:
            system = np.eye(x.shape[1], dtype=x.dtype) - weight[late][:, :, None] * self._M
            transposed = system.transpose(0, 2, 1)
            mu[late] = np.linalg.solve(transposed, seeds[late][:, :, None])[:, :, 0]
        return Adjoint(mu, np.where(self._held, 0, mu / self._decay), phi, slope)

    def gradient(self, x: Array, adjoint: Adjoint) -> Coefficients:
        """Gradient with respect to M, a, b and c."""
        b = np.zeros_like(self.coefficients.b)
        if self.drive.outside is not None:
            b = np.einsum("cn,cn->n", adjoint.value, self.drive.outside)
        return Coefficients(
            (adjoint.value * adjoint.slope * self.coefficients.a).T @ x,
            np.einsum("cn,cn->n", adjoint.value, adjoint.phi),
            b,
            -np.einsum("cn,cn->n", adjoint.value, x),
        )


def _positive_definite(matrix: Array) -> bool:
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True


def find(equations: SteadyEquations, horizon: float, start: Array | None = None) -> SteadyStates:
    """Steady states that the trajectories from x(0) reach.

    Parameters
    ----------
    horizon : float
        Time to which conditions are integrated that have no steady state, or no proven one.
    start : ndarray, (c, n), optional
        Where to look first, if there is but one steady state.

    Raises
    ------
    DivergenceError
        A trajectory that has to be integrated is not finite.
    """
    c, n = equations.drive.initial.shape
    if equations.solvable and equations.contracting():
        x, residual = equations.roots(equations.drive.initial if start is None else start)
        return SteadyStates(x, residual, residual <= 2 * equations.tolerance(x))
    states = np.empty_like(equations.drive.initial)
    settled = np.zeros(c, dtype=bool)
    residual = np.full(c, np.nan, dtype=states.dtype)
    left = np.arange(c)
    for time in _lead_times(equations):
        part = equations.rows(left)
        state = integrated(part, np.array([time]), keep=False).states[:, -1, :]
        root, found = (
            part.roots(state) if equations.solvable else (state, np.full(left.size, np.inf))
        )
        good = np.isfinite(root).all(axis=1) & (found <= 2 * part.tolerance(root))
        good = _proven(part, root, state, good)
        states[left[good]] = root[good]
        residual[left[good]] = found[good]
        settled[left[good]] = True
        left = left[~good]
        if left.size == 0:
            break
    if left.size:
        part = equations.rows(left)
        states[left] = integrated(part, np.array([horizon]), keep=False).states[:, -1, :]
        image = np.empty((left.size, n), states.dtype)
        part.map(states[left], image)
        residual[left] = np.abs(image - states[left]).max(axis=1)
    return SteadyStates(states, residual, settled)


def _lead_times(equations: SteadyEquations) -> tuple[float, ...]:
    lead = equations.solver.lead / float(equations._decay.min())
    # Not longer: on the divide between two states the exact solution stays, and what leaves it
    # in the end is rounding.
    return (lead, 4 * lead)


def integrated(equations: SteadyEquations, times: Array, *, keep: bool) -> Trajectory:
    """Integrate all conditions, with what a reverse sweep needs if ``keep``."""
    drive, solver, envelope = equations.drive, equations.solver.integrator, equations.envelope
    (c, n), dtype = drive.initial.shape, drive.initial.dtype
    tape = Tape(TABLEAUX[type(solver)].stages, c, n, dtype, keep, envelope.needs_z)
    return integrate(solver, envelope, equations.coefficients, drive, times, tape)


def _proven(equations: SteadyEquations, root: Array, state: Array, candidates: Array) -> Array:
    """Candidates that the trajectory through ``state`` goes to, by proof 2 or 3; bool, (c,)."""
    proven = np.zeros_like(candidates)
    index = np.flatnonzero(candidates)
    if index.size == 0:
        return proven
    proven[index] = equations.rows(index).contracting_ball(root[index], state[index])
    distance = np.abs(state - root).max(axis=1) / (1 + np.abs(root).max(axis=1))
    index = np.flatnonzero(candidates & ~proven & (distance < _CLOSE))
    if index.size:
        part = equations.rows(index)
        there, here = part.phi_and_slope(root[index])[1], part.phi_and_slope(state[index])[1]
        same = np.abs(there - here).max(axis=1) < _SAME_SLOPE
        proven[index] = same & part.stable(root[index])
    return proven
