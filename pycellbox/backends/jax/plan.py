"""A structure, a solver and a perturbation, made ready for the programs."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import kernel
from pycellbox.backends.jax.grid import Grid
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import Structure
from pycellbox.numerics.checks import not_finite
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.steps import (
    check_adaptive,
    check_steps,
    first_step,
    fixed_steps,
    longest_step,
)
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array
from pycellbox.solvers import FixedStep, Solver, Tsit5

# Memory for the records of the steps; a longer trajectory is integrated twice, in segments.
_TAPE_BYTES = 2**30


class Plan:
    """A structure, a solver and a perturbation, made ready for the programs."""

    def __init__(
        self, structure: Structure, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        if isinstance(solver, Tsit5):
            _diffrax()
        self.solver, self.times, self._model = solver, times, structure.model
        self.lowering = Lowering(structure)
        self.drive: Drive = self.lowering.drive(perturbation)
        self._dtype = perturbation.dtype
        self._grids: dict[int, tuple[kernel.Method, Any]] = {}
        if isinstance(solver, FixedStep):
            self._longest = max(h for _, h in fixed_steps(solver, times))
        model = structure.model
        self._method = kernel.Method(TABLEAUX[type(solver)], model.envelope, model.order)

    @property
    def arrays(self) -> tuple[Array | None, Array | None, Array]:
        """The drive's arrays, (c, n)."""
        return self.drive.inside, self.drive.outside, self.drive.initial

    def steps(
        self,
        coefficients: Coefficients,
        network: kernel.Network,
        drive: kernel.Inputs,
        rows: Array | None,
        prefix: int,
    ) -> tuple[kernel.Method, Any]:
        """Return the steps through the first times, and the method with its segments."""
        if isinstance(self.solver, Tsit5):
            adaptive = _diffrax()
            longest, largest = longest_step(coefficients, envelope_kernel(self._model))
            check_adaptive(self.solver, longest, float(self.times[prefix - 1]))
            steps = first_step(self.solver, largest), longest
            ends = adaptive.step_ends(
                self.solver, self._model, network, drive, rows, self.times, prefix, steps
            )
            grid = Grid.between(ends, self.times, prefix)
            return self._fitted(grid, _round_up(grid.sizes.size))
        assert isinstance(self.solver, FixedStep)
        check_steps(self.solver, self._longest, coefficients.c)
        if prefix not in self._grids:
            grid = Grid.equal(self.solver, self.times, prefix)
            method, grid = self._fitted(grid, grid.sizes.size)
            self._grids[prefix] = method, Grid(*map(jax.numpy.asarray, grid))
        return self._grids[prefix]

    def _fitted(self, grid: Grid, count: int) -> tuple[kernel.Method, Grid]:
        """Fill up a grid to at least so many steps that the segments are equal."""
        method = self._method.within(count, self.drive.initial, _TAPE_BYTES)
        count += -count % method.segments
        return method, grid.filled(count, self.times.size, self._dtype)

    def check(self, finite: Array, prefix: int) -> None:
        """Raise if a condition's states, (c,), are not finite."""
        if not finite.all():
            which = f"number {int(np.argmin(finite)) + 1}"
            raise DivergenceError(not_finite(which, float(self.times[prefix - 1])))


def _round_up(steps: int) -> int:
    """Next of 8, 12, 16, 24, 32, …: few programs for many numbers of adaptive steps."""
    size = 8
    while 2 * size <= steps:
        size *= 2
    return next(s for s in (size, size * 3 // 2, 2 * size) if s >= steps)


def network_of(coefficients: Coefficients) -> kernel.Network:
    """Coefficients as the programs take them."""
    return kernel.Network(coefficients.M, coefficients.a, coefficients.b, coefficients.c)


def _diffrax() -> Any:
    """Return the module that needs diffrax."""
    try:
        from pycellbox.backends.jax import adaptive
    except ImportError as error:
        raise BackendError(
            f"the jax backend needs diffrax for Tsit5 and it does not load ({error}); get it with "
            'pip install "pycellbox[jax]", or take fixed steps, e.g. pcb.Heun(dt=0.1).'
        ) from error
    return adaptive
