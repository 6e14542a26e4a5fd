"""Steady states of any equation: Newton's method with its Jacobian, and the implicit derivative.

Quantities that the equation conserves keep the values that they have where a trajectory starts:
with P the projection on the vectors w for which wᵀf is zero everywhere, a steady state x* from x₀
has f(x*) = 0 and P(x* − x₀) = 0, and with S = ρP − J, ρ a rate of the size of J's,

    S dx* = ∂f/∂θ dθ + ρP dx₀ .

A node that stays where it is, is the simplest such quantity. A root is where a trajectory goes if
Newton's method leads there from a state of the trajectory, −S has no eigenvalue with Re ≥ 0, and
the rows of the Jacobian at that state are those of the root but for a twentieth: the equation is as
good as linear between them. A line of steady states, as an epidemic has that burns out, has no
eigenvalue below 0 along itself; which of them is reached the integration alone can say.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pycellbox.numerics.equations import INPUT, Field, Gradients
from pycellbox.problem import Array
from pycellbox.solvers import SteadyState

_NEWTON_STEPS, _SAME_SLOPE = 25, 0.05
# Of the spectral norm: what Re λ of a decaying mode is beyond rounding.
_DECAYS = 1e-12
# Singular values of rows of length 1 that are none but for rounding.
_CONSERVED = 1e-12
# How much longer each integration is than the one before, in search of where it comes to rest.
_LONGER = 4.0


@dataclass
class FieldAdjoint:
    """Sᵀ⁻¹ times the derivative of a loss, (c, n), and what observables add to its gradient."""

    mu: Array
    observed: dict[str, Array]


class SteadyField:
    """Steady states of some conditions; see `pycellbox.numerics.steady.SteadyEquations`.

    Parameters
    ----------
    solver : SteadyState
    field : Field
    """

    unique = False
    solvable = True
    correction: Array | None = None

    def __init__(self, solver: SteadyState, field: Field) -> None:
        self.solver, self.field, self.initial = solver, field, field.initial
        self.tol = max(solver.tol, 1e3 * float(np.finfo(self.initial.dtype).eps))

    def rows(self, index: Array) -> SteadyField:
        """Return the equations of some of the conditions, with what is known of them."""
        part = SteadyField(self.solver, self.field.rows(index))
        for name in vars(self).keys() & {"projections", "_known"}:
            setattr(part, name, vars(self)[name][index])
        return part

    def lead_times(self, horizon: float) -> list[float]:
        """Return the times from which steady states are looked for, up to the horizon."""
        rate, lead = self.field.slowest_rate(), self.solver.lead
        if rate is not None and 0 < rate < math.inf:
            return [time for time in (lead / rate, 4 * lead / rate) if time < horizon] + [horizon]
        times = [min(horizon, lead * self.fastest())]
        while times[-1] < horizon:
            times.append(min(horizon, _LONGER * times[-1]))
        return times

    def fastest(self) -> float:
        """Return the time in which the equation changes most at the start."""
        slopes = self.field.jacobian(self.initial)
        sizes = [np.linalg.norm(J, 2) for J in slopes if np.isfinite(J).all()]
        return 1 / float(max(sizes, default=0.0) or 1.0)

    def tolerance(self, x: Array) -> Array:
        """Largest residual that counts as none at states like ``x``, (c,)."""
        size = np.maximum(np.abs(x).max(axis=1), np.abs(self.initial).max(axis=1))
        tolerance: Array = self.tol * size + float(np.finfo(x.dtype).tiny)
        return tolerance

    def residual(self, x: Array) -> Array:
        """Return the change that a step of Newton's method makes to states, (c,)."""
        change: Array = np.abs(self._change(x)).max(axis=1)
        return change

    @np.errstate(all="ignore")
    def roots(self, start: Array) -> tuple[Array, Array]:
        """Roots near ``start`` and their residual, (c, n) and (c,)."""
        x, residual = start.copy(), np.full(len(start), np.inf)
        for _ in range(_NEWTON_STEPS):
            change = self._change(x)
            x, residual = x + change, np.abs(change).max(axis=1)
            if (residual <= self.tolerance(x)).all():
                break
        self.field.observe(x[:, None])
        return x, residual

    @np.errstate(all="ignore")
    def proven(self, root: Array, state: Array, candidates: Array) -> Array:
        """Candidates that the trajectory through ``state`` goes to; bool, (c,)."""
        there, here = self.field.jacobian(root), self.field.jacobian(state)
        apart = np.abs(here - there).max(axis=2)
        good = candidates & (apart <= _SAME_SLOPE * np.abs(there).max(axis=2)).all(axis=1)
        systems = np.where(good[:, None, None], self.projections - there, np.eye(root.shape[1]))
        rates = np.linalg.eigvals(-systems).real.max(axis=1)
        good = good & (rates < -_DECAYS * np.abs(systems).max(axis=(1, 2)))
        return np.asarray(good & self._known)

    def adjoint(self, x: Array, seeds: Array, start: Array) -> FieldAdjoint:
        """Solve for Sᵀ⁻¹ times derivatives ``seeds`` of a loss at steady states, (c, n)."""
        observed = Gradients()
        due = self.field.observe_back(x[:, None], seeds[:, None], observed)[:, 0]
        systems = (self.projections - self.field.jacobian(x)).swapaxes(1, 2)
        return FieldAdjoint(np.linalg.solve(systems, due[..., None])[..., 0], observed)

    def gradient_to_start(
        self, x: Array, adjoint: FieldAdjoint, inputs: bool = False
    ) -> tuple[dict[str, Array], Array]:
        """Gradient with respect to the parameters and inputs, and to the initial state, (c, n)."""
        gradient = Gradients(adjoint.observed)
        self.field.pull_back(x, adjoint.mu, gradient)
        gradient[INPUT] = gradient[INPUT] + np.zeros_like(x)
        return dict(gradient), (adjoint.mu[:, None] @ self.projections)[:, 0]

    def slopes(self, x: Array, start: Array) -> Array | None:
        """Return dx*/dθ, (c, n, θ), from that of the initial state; None where not known."""
        found = self.field.slopes(x)
        if found is None:
            return None
        due = found[1] + self.projections @ start
        return np.linalg.solve(self.projections - found[0], due)

    @cached_property
    def _other(self) -> Array:
        """A state that is like no other."""
        x = self.initial
        size = np.abs(x).max(axis=1, keepdims=True)
        wave = np.cos(np.arange(x.shape[1], dtype=x.dtype))
        other: Array = x * (1 + 0.1 * wave) + 0.01 * np.where(size > 0, size, 1) * (1.5 + wave)
        return other

    @cached_property
    def _known(self) -> Array:
        """Whether what is conserved depends on no parameter, so that its value is known; (c,)."""
        with np.errstate(all="ignore"):
            found = self.field.slopes(self._other)
        if found is None:
            return np.ones(len(self.initial), dtype=bool)
        lost = np.abs(self.projections @ found[1]).max(axis=(1, 2), initial=0.0)
        size = np.abs(self.projections).max(axis=(1, 2)) * np.abs(found[1]).max(
            axis=(1, 2), initial=0.0
        )
        return np.asarray(lost <= 1e-9 * size)

    @cached_property
    def projections(self) -> Array:
        """ρP, (c, n, n), from the Jacobian at the start and at another state."""
        n = self.initial.shape[1]
        with np.errstate(all="ignore"):
            slopes = np.concatenate(
                [self.field.jacobian(y) for y in (self.initial, self._other)], axis=2
            )
        slopes = np.where(np.isfinite(slopes).all(axis=1, keepdims=True), slopes, 0)
        rates = np.abs(slopes).max(axis=2, keepdims=True)
        scale = np.where(rates > 0, rates, 1)
        left, sizes, _ = np.linalg.svd(slopes / scale)
        w = np.where(sizes[:, None] <= _CONSERVED * n, left, 0) / scale
        largest = rates.max(axis=1, keepdims=True)
        found: Array = np.where(largest > 0, largest, 1) * (w @ np.linalg.pinv(w))
        return found

    def _change(self, x: Array) -> Array:
        """Return the step of Newton's method; NaN where there is none."""
        systems, rates = self.projections - self.field.jacobian(x), self.field.value(x)
        fine = np.isfinite(systems).all(axis=(1, 2))
        systems = np.where(fine[:, None, None], systems, np.eye(x.shape[1]))
        change = np.full_like(x, np.nan)
        try:
            change[fine] = np.linalg.solve(systems, rates[..., None])[fine, :, 0]
        except np.linalg.LinAlgError:  # two steady states meet, or there is a line of them
            for row in np.flatnonzero(fine):
                with contextlib.suppress(np.linalg.LinAlgError):
                    change[row] = np.linalg.solve(systems[row], rates[row])
        return change
