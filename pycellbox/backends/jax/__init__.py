"""JAX: the same numerics compiled by XLA, on a GPU where JAX has one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata, util
from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import kernel, programs
from pycellbox.backends.jax.grid import Grid
from pycellbox.backends.lowering import Coefficients, Drive, Lowering
from pycellbox.backends.numpy import FiniteDifferenceSession
from pycellbox.backends.numpy.tableaux import TABLEAUX
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Gradient, Solver, Tsit5

_SUPPORTED: tuple[Gradient, ...] = ("discrete", "finite-difference")
# Memory for the records of the steps; a longer trajectory is integrated twice, in segments.
_TAPE_BYTES = 2**30


class JaxBackend:
    """All conditions as one matrix ODE, compiled by XLA for JAX's default device.

    Fixed steps are a scan, whose exact reverse is a scan too. For Tsit5 diffrax chooses the steps
    and the same scans take and reverse them. The first call for a shape compiles, for about a
    second (Tsit5: several); later ones, in this and in other sessions of the process, do not.

    Notes
    -----
    Calls run with JAX's 64-bit types switched on for their own thread and duration; the
    configuration of the process, and with it other code that uses JAX, stays as it is. Problems
    of dtype float32 are computed in float32.
    """

    name = "jax"

    def version(self) -> str:
        """Return the versions of JAX and diffrax, and the device."""
        found = f"jax {jax.__version__}"
        if util.find_spec("diffrax") is not None:
            found += f", diffrax {metadata.version('diffrax')}"
        device = jax.devices()[0]
        kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
        return f"{found} on {device.platform}{kind}"

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Array:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        plan = _Plan(structure, solver, perturbation, times)
        coefficients = plan.lowering.coefficients(parameters)
        with programs.float64():
            network, drive = kernel.Network(*_arrays(coefficients)), kernel.Inputs(*plan.arrays)
            method, steps = plan.steps(coefficients, network, drive, None, times.size)
            method = method._replace(segments=1)
            states = jax.device_get(programs.solution(method, network, drive, steps, times.size))
        plan.check(np.isfinite(states).all(axis=(1, 2)), times.size)
        return np.array(states, order="C")

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> JaxSession | FiniteDifferenceSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        gradient = gradient or "discrete"
        if gradient not in _SUPPORTED:
            raise BackendError(
                f"the jax backend has no gradient {gradient!r}; it has "
                f"{', '.join(_SUPPORTED)} (discrete is exact)."
            )
        session = JaxSession(problem, solver, loss)
        if gradient == "discrete":
            return session
        return FiniteDifferenceSession(session)  # type: ignore[arg-type]  # it asks for value


class JaxSession:
    """A problem whose arrays lie on the device."""

    def __init__(self, problem: Problem, solver: Solver, loss: Loss) -> None:
        self.problem, self.loss = problem, loss
        self._plan = _Plan(problem.structure, solver, problem.perturbation, problem.times)
        with programs.float64():
            # Copies: JAX may otherwise use an array's memory, which is the caller's to change.
            on_device = [None if a is None else jax.numpy.array(a) for a in self._plan.arrays]
            self._data = programs.Data(
                kernel.Inputs(*on_device),
                jax.numpy.array(problem.response),
                jax.numpy.array(problem.weight),
            )

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        outcome, slope = self._run(programs.value_and_gradient, parameters, rows, prefix)
        value = self._checked(outcome, prefix)
        gradient = self._plan.lowering.pull_back(Coefficients(*slope))
        for name, array in gradient.items():
            if not np.isfinite(array).all():
                raise DivergenceError(
                    f"the gradient with respect to {name} is not finite: the network is unstable "
                    "over this horizon; shorten it, use a smaller step, or shrink W."
                )
        return value, gradient

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        return self._checked(self._run(programs.value, parameters, rows, prefix), prefix)

    def _run(
        self,
        program: Any,
        parameters: Parameters,
        rows: Sequence[int] | Array | None,
        prefix: int | None,
    ) -> Any:
        plan, data, used = self._plan, self._data, self._used(prefix)
        coefficients = plan.lowering.coefficients(parameters)
        network = kernel.Network(*_arrays(coefficients))
        index = None if rows is None else np.asarray(rows, dtype=np.int32)
        with programs.float64():
            method, steps = plan.steps(coefficients, network, data.drive, index, used)
            outcome = program(method, self.loss, network, data, index, steps, np.int32(used))
        return jax.tree.map(np.asarray, outcome)

    def _used(self, prefix: int | None) -> int:
        """Return how many times count; a prefix is meant as the end of a slice."""
        return len(range(self.problem.times.size)[:prefix])

    def _checked(self, outcome: programs.Outcome, prefix: int | None) -> float:
        value = float(outcome.value)
        if not np.isfinite(value):
            self._plan.check(np.asarray(outcome.finite), self._used(prefix))
            raise DivergenceError("the loss is not finite: the trajectory is finite but too large.")
        return value


class _Plan:
    """A structure, a solver and a perturbation, made ready for the programs."""

    def __init__(
        self, structure: Structure, solver: Solver, perturbation: Array, times: Array
    ) -> None:
        if type(solver) not in TABLEAUX:
            known = ", ".join(kind.__name__ for kind in TABLEAUX)
            raise BackendError(
                f"the jax backend has no solver {solver!r}; it has {known}. backend='julia' has "
                "every algorithm of OrdinaryDiffEq."
            )
        if isinstance(solver, Tsit5):
            _diffrax()
        self.solver, self.times, self._model = solver, times, structure.model
        self.lowering = Lowering(structure)
        self.drive: Drive = self.lowering.drive(perturbation)
        self._dtype = perturbation.dtype
        self._grids: dict[int, tuple[kernel.Method, Any]] = {}
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
            longest = adaptive.longest_step(self._model, coefficients, self.drive)
            ends = adaptive.step_ends(
                self.solver, self._model, network, drive, rows, self.times, prefix, longest
            )
            grid = Grid.between(ends, self.times, prefix)
            return self._fitted(grid, _round_up(grid.sizes.size))
        if prefix not in self._grids:
            grid = Grid.equal(self.times, self.solver.dt, prefix)  # type: ignore[union-attr]
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
            raise DivergenceError(
                f"the trajectory of condition number {int(np.argmin(finite))} is not finite by "
                f"t = {self.times[prefix - 1]:g}: the network is unstable or the step too long; "
                "use a smaller dt, Tsit5, or smaller W."
            )


def _round_up(steps: int) -> int:
    """Next of 8, 12, 16, 24, 32, …: few programs for many numbers of adaptive steps."""
    size = 8
    while 2 * size <= steps:
        size *= 2
    return next(s for s in (size, size * 3 // 2, 2 * size) if s >= steps)


def _arrays(coefficients: Coefficients) -> tuple[Array, Array, Array, Array]:
    return coefficients.M, coefficients.a, coefficients.b, coefficients.c


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
