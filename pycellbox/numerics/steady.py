"""Steady states as fixed points, and their derivative by the implicit function theorem.

With c > 0 a steady state of dx/dt = a∘φ(Mx + p) + b∘v − c∘x is a fixed point of

    G(x) = (a∘φ(Mx + p) + b∘v) / c ,

found by Anderson-accelerated iteration (Walker and Ni, SIAM J. Numer. Anal. 49:1715, 2011) over
all conditions together, and by Newton's method where that is too slow. For a loss with derivative
g at the steady state, λ with (diag(c) − Mᵀdiag(a∘φ'))λ = g gives the gradient
M̄ = Σ (λ∘a∘φ')xᵀ, ā = Σ λ∘φ, b̄ = Σ λ∘v, c̄ = −Σ λ∘x.

A root is taken only if it is proven to be the one that the trajectory from x(0) goes to (`Proofs`).
Conditions without a proof are integrated instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.numerics.anderson import fixed_point
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.proofs import Proofs, parts
from pycellbox.problem import Array
from pycellbox.solvers import SteadyState

_NEWTON_STEPS = 30
# How far from 1 a system times its inverse may be that serves for another while longer.
_NEARLY = 0.1


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
        field: Kernel,
        proofs: Proofs | None = None,
    ) -> None:
        self.solver, self.field, self.envelope = solver, field, field.envelope
        self.coefficients, self.drive = coefficients, drive = field.coefficients, field.drive
        k, dtype = coefficients, drive.initial.dtype
        # Held nodes (clamped drugs) keep their initial state; a node that moves without decay
        # has no steady state.
        held = k.c == 0
        self.solvable = not bool((held & ((k.a != 0) | (k.b != 0))).any())
        # Held nodes take on the slowest decay there is, so that none of their own counts.
        slowest = 1.0 if held.all() else k.c[~held].min()
        decay = np.where(held, slowest, k.c).astype(k.c.dtype)
        gain = (k.a / decay).astype(dtype)
        self._offset = np.where(held, drive.initial, 0).astype(dtype)
        if drive.outside is not None:
            self._offset = self._offset + (k.b / decay) * drive.outside
        # Of all conditions, (n,), unless nodes are held in some of them, (c, n).
        self._gain, self._held = gain, held
        if drive.moves is not None:
            self._held = held | (drive.moves == 0)
            self._gain = gain * drive.moves
            self._offset = np.where(self._held, drive.initial, self._offset)
        self.decay = decay
        # They hold where more nodes are held: φ' of a held node is 0, a slope that all bounds have.
        self.proofs = proofs or Proofs(field.envelope, k.M, gain, decay, held)
        self._M, self._MT = k.M, np.ascontiguousarray(k.M.T)
        self._z = np.empty_like(drive.initial)
        # See `correct`; one that was made for another network may be given.
        self.correction: Array | None = None
        self.tol = max(solver.tol, 20 * float(np.finfo(dtype).eps))
        self.initial = drive.initial

    @property
    def unique(self) -> bool:
        """Whether there is but one steady state, by proof 1."""
        return self.solvable and self.proofs.contracting()

    def lead_times(self, horizon: float) -> list[float]:
        """Return the times from which steady states are looked for."""
        lead = self.solver.lead / float(self.decay.min())
        # Not longer: on the divide between two states the exact solution stays, and what leaves it
        # in the end is rounding.
        return [lead, 4 * lead]

    def residual(self, x: Array) -> Array:
        """Return the largest change that G makes to states, (c,)."""
        image = np.empty_like(x)
        self.map(x, image)
        change: Array = np.abs(image - x).max(axis=1)
        return change

    def proven(self, root: Array, state: Array, candidates: Array) -> Array:
        """Candidates that the trajectory through ``state`` goes to; bool, (c,)."""
        proven = np.zeros_like(candidates)
        index = np.flatnonzero(candidates)
        if index.size:
            part, x, distance = self.rows(index), root[index], state[index] - root[index]
            proven[index] = part.proofs.in_ball(part.input(x, np.empty_like(x)), distance)
        index = np.flatnonzero(candidates & ~proven)
        if index.size:
            part, x, y = self.rows(index), root[index], state[index]
            there, here = part.slope_of_moving(x), part.slope_of_moving(y)
            proven[index] = part.proofs.near_and_stable(x, y - x, there, here)
        return proven

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

    def slope_of_moving(self, x: Array) -> Array:
        """φ' at states (c, n), 0 of nodes that are held."""
        slope = self.phi_and_slope(x)[1]
        return np.where(self._held, 0, slope) if self._held.ndim == 2 else slope

    @np.errstate(over="ignore", invalid="ignore")
    def roots(self, start: Array) -> tuple[Array, Array]:
        """Roots near ``start`` and their residual, (c, n) and (c,)."""
        tolerance = self.tolerance(start)
        if self.correction is None:
            self.correct(self.phi_and_slope(start)[1])
        correction = None if self.correction is None else self.correction.T
        x, residual = fixed_point(
            self.map, start, tolerance, self.solver.max_iterations, correction
        )
        for late in parts(np.flatnonzero(~(residual <= tolerance)), x.shape[1]):
            x[late], residual[late] = self._newton(late, start[late])
        return x, residual

    def correct(self, slope: Array) -> None:
        """Make ``correction`` about (1 − diag(a∘φ'/c)M)⁻¹, φ' being the mean of slopes (c, n).

        With it the iterations are Newton's with one matrix for all conditions.
        """
        if len(slope) == 0:
            return
        system = -_mean_product(self._gain, slope)[:, None] * self._M
        system.flat[:: len(system) + 1] += 1
        if self.correction is not None:
            error = system @ self.correction
            error.flat[:: len(system) + 1] -= 1
            if np.vdot(error, error) < _NEARLY**2:
                return
        try:
            self.correction = np.linalg.inv(system)
        except np.linalg.LinAlgError:
            self.correction = None

    def tolerance(self, x: Array) -> Array:
        """Largest residual that counts as none at states like ``x``, (c,)."""
        tolerance: Array = self.tol * (1 + np.maximum(x.max(axis=1), -x.min(axis=1)))
        return tolerance

    def rows(self, index: Array) -> SteadyEquations:
        """Return the equations of some of the conditions."""
        return SteadyEquations(self.solver, self.field.rows(index), self.proofs)

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
            system = eye - (part._gain * slope)[:, :, None] * self._M
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
        self.correct(slope)
        weight = self._gain * slope

        def step(mu: Array, out: Array) -> None:
            # μ = c∘λ solves μ = g + Mᵀ(a∘φ'/c∘μ).
            np.matmul(np.multiply(weight, mu, out=self._z), self._M, out=out)
            np.add(out, seeds, out=out)

        # Relative to the largest: all conditions add up to one gradient.
        largest = float(np.abs(seeds).max(initial=0))
        scale = np.full(len(x), largest * self.tol + np.finfo(x.dtype).tiny, x.dtype)
        mu, residual = fixed_point(step, start, scale, self.solver.max_iterations, self.correction)
        for late in parts(np.flatnonzero(~(residual <= scale)), x.shape[1]):
            system = np.eye(x.shape[1], dtype=x.dtype) - weight[late][:, :, None] * self._M
            transposed = system.transpose(0, 2, 1)
            mu[late] = np.linalg.solve(transposed, seeds[late][:, :, None])[:, :, 0]
        return Adjoint(mu, np.where(self._held, 0, mu / self.decay), phi, slope)

    def gradient_to_start(
        self, x: Array, adjoint: Adjoint, inputs: bool = False
    ) -> tuple[dict[str, Array], Array]:
        """Gradient with respect to the parameters, the initial state of held nodes being given.

        Returns
        -------
        gradient : dict of ndarray
            With respect to the parameters, and with ``inputs`` the perturbation.
        start : ndarray, (c, n)
            With respect to the initial state: nodes that are held stay there.
        """
        k, lowering, outside = self.coefficients, self.field.lowering, self.drive.outside
        inside = adjoint.value * adjoint.slope * k.a
        b = np.zeros_like(k.b)
        if outside is not None:
            b = np.einsum("cn,cn->n", adjoint.value, outside)
        gradient = self.field.gradient(
            Coefficients(
                inside.T @ x,
                np.einsum("cn,cn->n", adjoint.value, adjoint.phi),
                b,
                -np.einsum("cn,cn->n", adjoint.value, x),
            ),
            inside,
        )
        start = np.where(self._held, adjoint.mu, 0)
        if inputs:
            through = None if outside is None else adjoint.value * k.b
            assert self.drive.perturbation is not None
            to_drive = Drive(inside, through, np.zeros_like(start))
            of_drive = lowering.pull_back_drive(to_drive, self.drive.perturbation)
            gradient[INPUT] = of_drive[INPUT]
        return gradient, start


def _mean_product(gain: Array, slope: Array) -> Array:
    """Mean over the conditions of gain (n,) or (c, n) times slope (c, n)."""
    mean: Array = gain * slope.mean(axis=0) if gain.ndim == 1 else (gain * slope).mean(axis=0)
    return mean
