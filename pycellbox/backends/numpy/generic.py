"""Steps of any field, and their exact reverse: slower than the kernel's, and for every equation."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy import bulk
from pycellbox.backends.numpy.kernel import Stepper
from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.equations import INPUT, Field
from pycellbox.numerics.steps import POWER_STEPS, REACH_87
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array


class FieldStepper(Stepper):
    """Steps one method over any field; where the kernel keeps φ, here is dx/dt itself."""

    def __init__(self, tableau: Tableau, field: Field) -> None:
        self.field = field
        self._prepare(tableau, field.initial)
        self._seen = np.ones_like(field.initial)

    def go_on(self, before: Stepper) -> None:
        """Take over what another one of the same equation has seen of its Jacobian."""
        assert isinstance(before, FieldStepper)
        self._seen = before._seen

    def set_step(self, h: float) -> None:
        """See `Stepper.set_step`."""
        self.h = h

    def increment(self, x: Array, phi: Array, z: Array | None, out: Array) -> None:
        """Write dx/dt to ``phi`` and h·dx/dt to ``out``."""
        phi[...] = self.field.value(x)
        self.increment_from_phi(x, phi, out)

    def increment_from_phi(self, x: Array, phi: Array, out: Array) -> None:
        """Write h·dx/dt to ``out``."""
        np.multiply(phi, self.h, out)

    def bound(self, x: Array) -> tuple[float, float]:
        """Longest stable step at states, and a bound of |λ| there: by the power method on Jᵀ.

        Conditions without a finite Jacobian there, as that of a root has none at 0, do not count.
        """
        v = self._seen
        largest = 0.0
        for _ in range(POWER_STEPS):
            w = self.field.transposed(x, v)
            size, before = np.linalg.norm(w, axis=1), np.linalg.norm(v, axis=1)
            growth = size / np.maximum(before, 1e-300)
            largest = float(np.where(np.isfinite(growth), growth, 0).max(initial=0.0))
            v = w / np.maximum(size, 1e-300)[:, None]
        # A little of everything, so that no mode is lost for ever.
        self._seen = np.where(np.isfinite(v).all(axis=1, keepdims=True), v, 1) + 1e-3
        largest = max(largest, float(np.finfo(float).tiny))
        return REACH_87 / largest, largest


def reverse_field(
    field: Field, tableau: Tableau, tape: Tape, due: dict[int, Array], gradient: dict[str, Array]
) -> tuple[dict[str, Array], Array]:
    """Exact gradient of a loss with seeds (c, n) after numbers of steps, and that of x(0).

    It is added to what ``gradient`` has.
    """
    gradient[INPUT] = gradient[INPUT] + np.zeros_like(field.initial)
    small = field.initial.shape[1] <= bulk.MOST_NODES and field.repeated(1) is not None
    way_back = bulk.backward if tableau.implicit or small else _backward
    return gradient, way_back(field, tableau, tape, due, gradient)


def _backward(
    field: Field, tableau: Tableau, tape: Tape, due: dict[int, Array], gradient: dict[str, Array]
) -> Array:
    """As `bulk.backward`, of explicit methods stage by stage."""
    A, b = tableau.A, tableau.b
    adjoint = np.zeros_like(field.initial)
    for step in range(len(tape.sizes) - 1, -1, -1):
        if step + 1 in due:
            adjoint = adjoint + due[step + 1]
        states, h = tape[step].state, tape.sizes[step]
        bars: dict[int, Array] = {}
        for s in reversed(range(len(b))):
            kappa = h * b[s] * adjoint
            for r, bar in bars.items():
                if s < len(A[r]) and A[r][s]:
                    kappa = kappa + h * A[r][s] * bar
            bars[s] = field.pull_back(states[s], kappa, gradient)
        adjoint = adjoint + sum(bars.values())
    return adjoint + due[0] if 0 in due else adjoint
