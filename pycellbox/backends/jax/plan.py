"""Equations, a solver and a perturbation, made ready for the programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import generic, kernel, programs
from pycellbox.backends.jax.frames import frozen
from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.jax.scans import Method
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.models import Structure
from pycellbox.numerics.checks import not_finite
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, START, Equations
from pycellbox.numerics.lowering import Lowering, equations_of
from pycellbox.numerics.steps import check_adaptive, check_steps, first_step, fixed_steps
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import FixedStep, Solver, Tsit5

# Memory for the records of the steps; a longer trajectory is integrated twice, in segments.
_TAPE_BYTES = 2**30


class Plan(ABC):
    """Equations, a solver and a perturbation, made ready for the programs.

    Attributes
    ----------
    arrays : pytree of Array
        The drive as the programs take it.
    """

    arrays: Any
    _method: Any

    def __init__(
        self, equations: Equations, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        if isinstance(solver, Tsit5):
            _diffrax()
        self.equations, self.solver, self.times = equations, solver, times
        self.perturbation, self.drive = perturbation, equations.drive(perturbation)
        self._grids: dict[int, tuple[Method, Any]] = {}
        if isinstance(solver, FixedStep):
            self._longest = max(h for _, h in fixed_steps(solver, times))

    @abstractmethod
    def prepared(self, parameters: Parameters) -> Any:
        """Parameters as the programs take them, in the dtype of the states."""

    @abstractmethod
    def of_rows(self, drive: Any, rows: Array | None) -> Any:
        """Return what the programs need to know of the drive for some conditions."""

    @abstractmethod
    def pull_back(self, slope: Any, to_drive: Any, rows: Array | None) -> Parameters:
        """Gradient from what the program returns; with inputs where it has theirs."""

    @abstractmethod
    def check_inputs(self) -> None:
        """Raise if there is no derivative with respect to the inputs.

        Raises
        ------
        BackendError
        """

    def steps(
        self, parameters: Parameters, prepared: Any, drive: Any, rows: Array | None, prefix: int
    ) -> tuple[Any, Any]:
        """Return the steps through the first times, and the method with its segments."""
        if isinstance(self.solver, Tsit5):
            adaptive, end = _diffrax(), float(self.times[prefix - 1])
            bound = self.equations.field(parameters, self.drive).step_bound()
            # Without one the program looks for it, and the first step is that of a rate of 1.
            longest, largest = (None, 1.0) if bound is None else bound
            if longest is not None:
                check_adaptive(self.solver, longest, end)
            lengths = first_step(self.solver, largest), longest
            arguments = prepared, drive, rows, self.times, prefix, lengths
            ends = adaptive.step_ends(self.solver, self._method, *arguments)
            grid = Grid.between(ends, self.times, prefix)
            return self._fitted(grid, _round_up(grid.sizes.size))
        assert isinstance(self.solver, FixedStep)
        self._check_steps(self.solver, prepared)
        if prefix not in self._grids:
            grid = Grid.equal(self.solver, self.times, prefix)
            method, grid = self._fitted(grid, grid.sizes.size)
            self._grids[prefix] = method, Grid(*map(jax.numpy.asarray, grid))
        return self._grids[prefix]

    @abstractmethod
    def _check_steps(self, solver: FixedStep, prepared: Any) -> None:
        """Raise if fixed steps are too long for these parameters, where that can be known."""

    def _fitted(self, grid: Grid, count: int) -> tuple[Any, Grid]:
        """Fill up a grid to at least so many steps that the segments are equal."""
        method = self._method.within(count, self.drive.initial, _TAPE_BYTES)
        count += -count % method.segments
        return method, grid.filled(count, self.times.size, self.perturbation.dtype)

    def check(self, finite: Array, prefix: int) -> None:
        """Raise if a condition's states, (c,), are not finite."""
        if not finite.all():
            which = f"number {int(np.argmin(finite)) + 1}"
            raise DivergenceError(not_finite(which, float(self.times[prefix - 1])))


class NetworkPlan(Plan):
    """Of a network: by its kernel."""

    equations: Lowering

    def __init__(
        self, equations: Lowering, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        super().__init__(equations, solver, perturbation, times)
        model = equations.structure.model
        self._method = kernel.Method(TABLEAUX[type(solver)], model.envelope, model.order)
        self.arrays = kernel.Inputs(self.drive.inside, self.drive.outside, self.drive.initial)

    def prepared(self, parameters: Parameters) -> kernel.Network:
        """See `Plan.prepared`."""
        k, dtype = self.equations.coefficients(parameters), self.perturbation.dtype
        return kernel.Network(*(v.astype(dtype, copy=False) for v in (k.M, k.a, k.b, k.c)))

    def of_rows(self, drive: kernel.Inputs, rows: Array | None) -> kernel.Inputs:
        """All: the program takes the rows."""
        return drive

    def pull_back(
        self, slope: kernel.Network, to_drive: kernel.Inputs | None, rows: Array | None
    ) -> Parameters:
        """See `Plan.pull_back`."""
        gradient = self.equations.pull_back(Coefficients(*slope))
        if to_drive is None:
            return gradient
        u = self.perturbation if rows is None else self.perturbation[rows]
        return gradient | self.equations.pull_back_drive(Drive(*to_drive), u)

    def check_inputs(self) -> None:
        """There always is."""

    def _check_steps(self, solver: FixedStep, prepared: kernel.Network) -> None:
        check_steps(solver, self._longest, prepared.c)


class EquationPlan(Plan):
    """Of any other equation: by its `rate`."""

    def __init__(
        self, equations: Equations, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        super().__init__(equations, solver, perturbation, times)
        self._method = generic.Method(TABLEAUX[type(solver)])
        s = equations.structure
        self._key = frozen((s.model, s.nodes, s.node_kind, s.layout.parameters))
        self.arrays = self._given(self.drive, perturbation)
        self._check_rate()

    def _given(self, drive: Any, perturbation: Array) -> generic.Given:
        return generic.Given.of(self._key, self.equations, drive, perturbation)

    def prepared(self, parameters: Parameters) -> Parameters:
        """See `Plan.prepared`."""
        return {n: np.asarray(v, self.perturbation.dtype) for n, v in parameters.items()}

    def of_rows(self, drive: generic.Given, rows: Array | None) -> generic.Given:
        """Return the drive of those: how it is taken apart is the equation's own."""
        if rows is None:
            return drive
        return self._given(self.drive.rows(rows), self.perturbation[rows])

    def pull_back(self, slope: Parameters, to_drive: Any, rows: Array | None) -> Parameters:
        """See `Plan.pull_back`."""
        return (
            slope if to_drive is None else slope | dict(zip((INPUT, START), to_drive, strict=True))
        )

    def _check_steps(self, solver: FixedStep, prepared: Parameters) -> None:
        """How fast the equation decays is not known."""

    def check_inputs(self) -> None:
        """See `Plan.check_inputs`."""
        with programs.float64():
            start = lambda u: self.equations.drive(u).initial  # noqa: E731
            self._traced("drive", lambda: jax.eval_shape(start, self.perturbation))

    def _check_rate(self) -> None:
        """Raise before any work if JAX cannot take the rate."""
        dtype, structure = self.perturbation.dtype, self.equations.structure
        parameters = {
            p.name: jax.ShapeDtypeStruct(p.shape, dtype) for p in structure.layout.parameters
        }
        with programs.float64():
            rate = self._traced(
                "rate",
                lambda: jax.eval_shape(
                    lambda p, given: given.rate(p, given.drive(), given.initial),
                    parameters,
                    self.arrays,
                ),
            )
        if rate.shape != self.perturbation.shape:
            raise BackendError(
                f"`rate` of {self._name} gives {rate.shape} for states {self.perturbation.shape}: "
                "it needs dx/dt of every condition and node."
            )

    @property
    def _name(self) -> str:
        return f"the equations of {type(self.equations.structure.model).__name__}"

    def _traced(self, what: str, trace: Any) -> Any:
        try:
            return trace()
        except NotImplementedError as error:
            raise BackendError(
                f"{self._name} are for backend='numpy' alone: the jax backend needs their `rate`, "
                "in the functions of an array library, and it is not written."
            ) from error
        except (TypeError, jax.errors.JAXIndexError) as error:
            raise BackendError(
                f"`{what}` of {self._name} does not work on arrays of JAX "
                f"({str(error).splitlines()[0]}): write it in functions that both libraries have, "
                "without branches that depend on values; backend='numpy' takes it as it is."
            ) from error


def plan_of(structure: Structure, solver: Solver, perturbation: Array, times: Array) -> Plan:
    """Make the plan of a structure.

    Raises
    ------
    BackendError
        Its equations cannot be computed with JAX.
    """
    equations = equations_of(structure)
    if isinstance(equations, Lowering):
        return NetworkPlan(equations, solver, perturbation, times)
    return EquationPlan(equations, solver, perturbation, times)


def _round_up(steps: int) -> int:
    """Next of 8, 12, 16, 24, 32, …: few programs for many numbers of adaptive steps."""
    size = 8
    while 2 * size <= steps:
        size *= 2
    return next(s for s in (size, size * 3 // 2, 2 * size) if s >= steps)


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
