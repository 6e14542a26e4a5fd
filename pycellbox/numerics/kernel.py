"""The one kernel to which every network is reduced, as arrays and as a field.

    dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀ ,

M (n, n); a, b, c (n,); p, v, x₀ (conditions, n).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, Field
from pycellbox.numerics.steps import longest_step
from pycellbox.problem import Array, Parameters

if TYPE_CHECKING:
    from pycellbox.numerics.lowering import Lowering


class Kernel(Field):
    """The fused right-hand side of a network for some conditions.

    Backends step it in place by its coefficients and drive; what is here asks for one value at a
    time.
    """

    def __init__(
        self,
        lowering: Lowering,
        coefficients: Coefficients,
        drive: Drive,
        parameters: Parameters,
    ) -> None:
        self.lowering, self.coefficients, self.drive = lowering, coefficients, drive
        self.parameters = parameters
        self.envelope, self.initial = lowering.envelope, drive.initial
        self._bounds: list[tuple[float, float]] = []

    def driven(self, drive: Drive) -> Kernel:
        """Return it with another drive; what depends on the coefficients alone is found once."""
        other = Kernel(self.lowering, self.coefficients, drive, self.parameters)
        other._bounds = self._bounds
        return other

    def rows(self, index: Array) -> Kernel:
        """Return it for some of the conditions."""
        return self.driven(self.drive.rows(index))

    def repeated(self, times: int) -> Kernel:
        """See `Field.repeated`."""
        return self.rows(np.tile(np.arange(len(self.initial)), times))

    def gradient(self, slopes: Coefficients, inside: Array | None) -> Parameters:
        """Gradient with respect to the parameters from that to the coefficients and to p.

        That to p, (c, n), is needed where shifts are a part of it, and not among the slopes.
        """
        if self.drive.reach is not None:
            assert inside is not None
            slopes = replace(slopes, shifts=self.drive.reach.T @ inside)
        return self.lowering.pull_back(slopes, self.parameters)

    def phi_and_slope(self, x: Array) -> tuple[Array, Array]:
        """φ and φ' at states (c, n)."""
        z = x @ self.coefficients.M.T
        if self.drive.inside is not None:
            z = z + self.drive.inside
        phi, slope = np.empty_like(z), np.empty_like(z)
        self.envelope.value(z, phi)
        self.envelope.slope(z, phi, slope)
        return phi, slope

    def value(self, x: Array) -> Array:
        """See `Field.value`."""
        k, (phi, _) = self.coefficients, self.phi_and_slope(x)
        rate: Array = k.a * phi - k.c * x
        if self.drive.outside is not None:
            rate = rate + k.b * self.drive.outside
        return self._moving(rate)

    def pull_back(self, x: Array, adjoint: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.pull_back`."""
        k, v, (phi, slope) = self.coefficients, self.drive.outside, self.phi_and_slope(x)
        adjoint = self._moving(adjoint)
        inside = adjoint * k.a * slope
        b = np.zeros_like(k.b) if v is None else (adjoint * v).sum(axis=0)
        slopes = Coefficients(
            inside.T @ x, (adjoint * phi).sum(axis=0), b, -(adjoint * x).sum(axis=0)
        )
        outside = None if v is None else adjoint * k.b
        for name, value in self.gradient(slopes, inside).items():
            gradient[name] = gradient[name] + value
        self._to_input(Drive(inside, outside, np.zeros_like(x)), gradient)
        out: Array = inside @ k.M - k.c * adjoint
        return out

    def start_gradient(self, adjoint: Array, gradient: dict[str, Array]) -> None:
        """See `Field.start_gradient`; a clamped drug starts at its dose."""
        self._to_input(Drive(np.zeros_like(adjoint), None, adjoint), gradient)

    def _to_input(self, to_drive: Drive, gradient: dict[str, Array]) -> None:
        assert self.drive.perturbation is not None
        inputs = self.lowering.pull_back_drive(to_drive, self.drive.perturbation)
        gradient[INPUT] = gradient[INPUT] + inputs[INPUT]

    def jacobian(self, x: Array) -> Array:
        """See `Field.jacobian`."""
        k, (_, slope) = self.coefficients, self.phi_and_slope(x)
        J: Array = (k.a * slope)[:, :, None] * k.M - np.diag(k.c)
        return J if self.drive.moves is None else J * self.drive.moves[:, :, None]

    def _moving(self, array: Array) -> Array:
        return array if self.drive.moves is None else array * self.drive.moves

    def step_bound(self) -> tuple[float, float]:
        """See `Field.step_bound`."""
        if not self._bounds:
            self._bounds.append(longest_step(self.coefficients, self.envelope))
        return self._bounds[0]

    def slowest_rate(self) -> float:
        """Smallest c of the nodes that move, as the equation has it; infinite if none moves."""
        decay = self.coefficients.c
        fastest = float(decay.max(initial=0.0))
        if fastest == 0:  # all nodes are held where they are
            return math.inf
        return max(float(decay[decay > 0].min()), 1e-3 * fastest)
