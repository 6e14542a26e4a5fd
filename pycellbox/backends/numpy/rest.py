"""Conditions on the way to their steady state, integrated in NumPy."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.integrate import Trajectory, integrate, reverse_to_start
from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.checks import renumbered
from pycellbox.numerics.equations import Field
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.tableaux import stages_of
from pycellbox.problem import Array
from pycellbox.solvers import Solver


class FieldIntegration:
    """See `pycellbox.numerics.rest.Integration`."""

    def __init__(self, field: Field, solver: Solver) -> None:
        self._field, self._solver = field, solver

    def _run(self, rows: Array, time: float, keep: bool) -> Trajectory:
        field, with_z = self._field.rows(rows), False
        if isinstance(field, Kernel):
            with_z = field.envelope.needs_z
        (c, n), dtype = field.initial.shape, field.initial.dtype
        tape = Tape(stages_of(self._solver), c, n, dtype, keep, with_z)
        with renumbered(rows):
            return integrate(self._solver, field, np.array([time]), tape)

    def reached(self, rows: Array, time: float) -> tuple[Array, int]:
        """See `Integration.reached`."""
        found = self._run(rows, time, keep=False)
        return found.states[:, -1], len(found.tape.sizes)

    def reverse(
        self, rows: Array, time: float, adjoint: Array, inputs: bool
    ) -> tuple[dict[str, Array], Array]:
        """See `Integration.reverse`."""
        trajectory = self._run(rows, time, keep=True)
        with renumbered(rows):
            return reverse_to_start(trajectory, adjoint[:, None], inputs)
