"""Equations, a solver and a perturbation, made ready for the programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.scans import Method
from pycellbox.errors import BackendError
from pycellbox.numerics.checks import lost
from pycellbox.numerics.equations import INPUT, Equations, Field, Gradients
from pycellbox.numerics.steps import check_adaptive, first_step, fixed_steps
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver, Tsit5

# Memory for the records of the steps; a longer trajectory is integrated twice, in parts.
_TAPE_BYTES = 2**30


class Evaluation(NamedTuple):
    """What the programs take for some conditions and times, and what becomes of their gradient.

    Attributes
    ----------
    method : Method
    parameters, drive : pytree
    steps : Grid
    pull_back : callable (slope, to_drive)
        Makes the gradient by name of what a program returns.
    rested : ndarray of bool, (c,), or None
        As of a `Solution`.
    start_slopes : callable () or None
        Makes ∂x(0)/∂θ, (c, n, θ), by the entries of all parameters; None where derivatives forward
        in time are not to be had.
    start : Field or None
        What has x(0), where that depends on the parameters and nothing is done to the conditions.
    """

    method: Any
    parameters: Any
    drive: Any
    steps: Grid
    pull_back: Callable[[Any, Any], Parameters]
    rested: Array | None = None
    start_slopes: Callable[[], Array] | None = None
    start: Field | None = None


class Plan(ABC):
    """Equations, a solver and a perturbation, made ready for the programs.

    Attributes
    ----------
    arrays : pytree of Array
        The drive as the programs take it.
    """

    arrays: Any
    method: Any

    def __init__(
        self, equations: Equations, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        if isinstance(solver, Tsit5):
            diffrax_steps()
        self.equations, self.solver, self.times = equations, solver, times
        self.perturbation, self.drive = perturbation, equations.drive(perturbation)
        self.arrays = self.inputs(self.drive, perturbation, None)
        self._grids: dict[int, tuple[Method, Any]] = {}
        if isinstance(solver, FixedStep):
            self._longest = max(h for _, h in fixed_steps(solver, times))

    @abstractmethod
    def inputs(self, drive: Any, perturbation: Array, moves: Array | None) -> Any:
        """Return a drive as the programs take it, with the nodes that move, (c, n); None: all."""

    @abstractmethod
    def prepared(self, parameters: Parameters) -> Any:
        """Parameters as the programs take them, in the dtype of the states."""

    @abstractmethod
    def of_rows(self, drive: Any, rows: Array | None) -> Any:
        """Return what the programs need to know of the drive for some conditions."""

    @abstractmethod
    def gradient(self, slope: Any, parameters: Parameters) -> Parameters:
        """Gradient with respect to the parameters from what the program returns."""

    @abstractmethod
    def input_gradient(self, to_drive: Any, perturbation: Array) -> Parameters:
        """Gradient with respect to a perturbation and x₀; both may have leading axes."""

    @abstractmethod
    def check_inputs(self) -> None:
        """Raise if there is no derivative with respect to the inputs.

        Raises
        ------
        BackendError
        """

    def evaluation(
        self, parameters: Parameters, drive: Any, rows: Array | None, prefix: int, driven: bool
    ) -> Evaluation:
        """Get some conditions ready, and the first times.

        Parameters
        ----------
        parameters : dict of ndarray
        drive : pytree
            `arrays`, maybe on the device.
        rows : ndarray of int, optional
        prefix : int
        driven : bool
            Whether the gradient is to have the inputs too.
        """
        prepared, drive = self.prepared(parameters), self.of_rows(drive, rows)
        start = self.begun(parameters, self.drive if rows is None else self.drive.rows(rows))
        if start is not None:
            drive = replace(drive, initial=start.initial)
        method, steps = self.steps(parameters, prepared, drive, rows, prefix)
        u = self.perturbation if rows is None else self.perturbation[rows]

        def pull_back(slope: Any, to_drive: Any) -> Parameters:
            gradient = Gradients(self.gradient(slope, parameters))
            if driven:
                gradient |= self.input_gradient(to_drive, u)
            if start is not None:
                start.start_gradient(to_drive[1], gradient)
            return {n: g for n, g in gradient.items() if driven or n != INPUT}

        slopes = self.start_slopes(start, u.shape, None)
        return Evaluation(method, prepared, drive, steps, pull_back, None, slopes, start)

    def start_slopes(
        self, start: Field | None, shape: tuple[int, ...], own: Array | None
    ) -> Callable[[], Array] | None:
        """See `Evaluation`; None by default.

        ``own`` says which states begin as the model has them, (c, n); None for all.
        """
        return None

    def begun(self, parameters: Parameters, drive: Any) -> Field | None:
        """Return the field that has x(0); None where the drive has it."""
        return self.equations.field(parameters, drive) if self.equations.own_start else None

    def steps(
        self, parameters: Parameters, prepared: Any, drive: Any, rows: Array | None, prefix: int
    ) -> tuple[Any, Any]:
        """Return the steps through the first times, and the method with its parts."""
        if isinstance(self.solver, Tsit5):
            end = float(self.times[prefix - 1])
            lengths = self.lengths(self.solver, parameters, self.drive, end)
            arguments = prepared, drive, rows, self.times, prefix, lengths
            ends, _ = diffrax_steps().step_ends(self.solver, self.method, *arguments)
            grid = Grid.between(ends, self.times, prefix)
            return self._fitted(grid, round_up(grid.sizes.size))
        assert isinstance(self.solver, FixedStep)
        self.check_steps(self.solver, self._longest, prepared)
        if prefix not in self._grids:
            grid = Grid.equal(self.solver, self.times, prefix)
            method, grid = self._fitted(grid, grid.sizes.size)
            self._grids[prefix] = method, jax.tree.map(jax.numpy.asarray, grid)
        return self._grids[prefix]

    def lengths(
        self, solver: Tsit5, parameters: Parameters, drive: Any, end: float
    ) -> tuple[float, float | None]:
        """First and longest step of Tsit5.

        Without a longest one the program looks for it, and the first is that of a rate of 1.
        """
        bound = self.equations.field(parameters, drive).step_bound()
        longest, largest = (None, 1.0) if bound is None else bound
        if longest is not None:
            check_adaptive(solver, longest, end)
        return first_step(solver, largest), longest

    @abstractmethod
    def check_steps(self, solver: FixedStep, longest: float, prepared: Any) -> None:
        """Raise if fixed steps are too long for these parameters, where that can be known."""

    def _fitted(self, grid: Grid, count: int) -> tuple[Any, Grid]:
        return fitted(self.method, grid, count, self.drive.initial, self.times.size)

    def check(self, finite: Array, prefix: int) -> None:
        """Raise if a condition's states, (c,), are not finite."""
        if not finite.all():
            raise lost(int(np.argmin(finite)), float(self.times[prefix - 1]))


def fitted(method: Any, grid: Grid, count: int, state: Array, times: int) -> tuple[Any, Grid]:
    """Fill up a grid to at least so many steps that the method's parts are equal."""
    method = method.within(count, state, _TAPE_BYTES)
    return method, grid.filled(count + -count % method.parts, times, state.dtype)


def round_up(steps: int) -> int:
    """Next of 8, 12, 16, 24, 32, …: few programs for many numbers of adaptive steps."""
    size = 8
    while 2 * size <= steps:
        size *= 2
    return next(s for s in (size, size * 3 // 2, 2 * size) if s >= steps)


def diffrax_steps() -> Any:
    """Return the module that needs diffrax."""
    try:
        from pycellbox.backends.jax import adaptive
    except ImportError as error:
        raise BackendError(
            f"the jax backend needs diffrax for Tsit5 and it does not load ({error}); get it with "
            'pip install "pycellbox[jax]", or take fixed steps, e.g. pcb.Heun(dt=0.1).'
        ) from error
    return adaptive
