"""JAX: the same numerics compiled by XLA, on a GPU or TPU where JAX has one."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata, util
from typing import Any

import jax
import numpy as np

from pycellbox.backends.jax import kernel, programs
from pycellbox.backends.lowering import Coefficients, Drive, Lowering
from pycellbox.backends.numpy import FiniteDifferenceSession
from pycellbox.backends.numpy.tableaux import TABLEAUX
from pycellbox.errors import BackendError, DivergenceError
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import RK4, Euler, Gradient, Heun, Midpoint, Solver, Tsit5

_SUPPORTED: tuple[Gradient, ...] = ("discrete", "finite-difference")
# Memory for the records of the steps; a longer trajectory is integrated twice, in segments.
_TAPE_BYTES = 2**30


class JaxBackend:
    """All conditions as one matrix ODE, compiled by XLA for JAX's default device.

    Fixed steps are a scan, whose exact reverse is a scan too; Tsit5 is diffrax's, differentiated
    by its recursive checkpointing. The first call for a shape compiles, for about a second
    (Tsit5: several); later ones, in this and in other sessions of the process, do not.

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
        plan = _Plan(structure, solver, perturbation, times, keep=False)
        coefficients = plan.lowering.coefficients(parameters)
        with programs.float64():
            states, finished = jax.device_get(
                programs.solution(
                    plan.method,
                    _network(coefficients),
                    kernel.Inputs(plan.drive.inside, plan.drive.outside, plan.drive.initial),
                    plan.steps(coefficients, times.size),
                    times.size,
                )
            )
        plan.check(bool(finished), np.isfinite(states).all(axis=(1, 2)), times.size)
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
        self._plan = _Plan(
            problem.structure, solver, problem.perturbation, problem.times, keep=True
        )
        drive = self._plan.drive
        with programs.float64():
            # Copies: JAX may otherwise use an array's memory, which is the caller's to change.
            self._data = programs.Data(
                *(
                    None if array is None else jax.numpy.array(array)
                    for array in (
                        drive.inside, drive.outside, drive.initial, problem.response, problem.weight
                    )
                )
            )  # fmt: skip

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
        coefficients = self._plan.lowering.coefficients(parameters)
        used = self._used(prefix)
        index = None if rows is None else np.asarray(rows, dtype=np.int32)
        with programs.float64():
            return jax.device_get(
                program(
                    self._plan.method,
                    self.loss,
                    _network(coefficients),
                    self._data,
                    index,
                    self._plan.steps(coefficients, used),
                    np.int32(used),
                )
            )

    def _used(self, prefix: int | None) -> int:
        """Return how many times count; a prefix is meant as the end of a slice."""
        return len(range(self.problem.times.size)[:prefix])

    def _checked(self, outcome: programs.Outcome, prefix: int | None) -> float:
        value = float(outcome.value)
        if not np.isfinite(value) or not outcome.finished:
            self._plan.check(bool(outcome.finished), outcome.finite, self._used(prefix))
            raise DivergenceError("the loss is not finite: the trajectory is finite but too large.")
        return value


class _Plan:
    """A structure, a solver and a perturbation, made ready for the programs."""

    def __init__(
        self, structure: Structure, solver: Solver, perturbation: Array, times: Array, keep: bool
    ) -> None:
        if type(solver) not in TABLEAUX:
            known = ", ".join(kind.__name__ for kind in TABLEAUX)
            raise BackendError(
                f"the jax backend has no solver {solver!r}; it has {known}. backend='julia' has "
                "every algorithm of OrdinaryDiffEq."
            )
        self.solver, self.times, self._model = solver, times, structure.model
        self.lowering = Lowering(structure)
        self.drive: Drive = self.lowering.drive(perturbation)
        self._dtype = perturbation.dtype
        self._grids: dict[int, Any] = {}
        model = structure.model
        if isinstance(solver, Tsit5):
            self.method: programs.Method = _diffrax().Tsit5Steps(
                model.envelope, model.order, int(solver.max_steps)
            )
            return
        fixed = kernel.FixedSteps(TABLEAUX[type(solver)], model.envelope, model.order)
        if keep:
            steps = self._grid(1, times.size).sizes.size
            needed = steps * kernel.bytes_per_step(fixed, self.drive.initial)
            fixed = fixed._replace(segments=max(1, min(steps, -(-needed // _TAPE_BYTES))))
        self.method = fixed

    def steps(self, coefficients: Coefficients, prefix: int) -> Any:
        """Grid or step control up to the first times."""
        if isinstance(self.solver, Tsit5):
            adaptive = _diffrax()
            longest = adaptive.longest_step(self._model, coefficients, self.drive)
            return adaptive.control(self.solver, self.times, prefix, longest, self._dtype)
        if prefix not in self._grids:
            assert isinstance(self.method, kernel.FixedSteps)
            made = self._grid(self.method.segments, prefix)
            self._grids[prefix] = kernel.Grid(*map(jax.numpy.asarray, made))
        return self._grids[prefix]

    def _grid(self, segments: int, prefix: int) -> kernel.Grid:
        assert isinstance(self.solver, Euler | Midpoint | Heun | RK4)
        return kernel.grid(self.times, self.solver.dt, self._dtype, prefix, segments)

    def check(self, finished: bool, finite: Array, prefix: int) -> None:
        """Raise if the solver gave up or a condition's states, (c,), are not finite."""
        end = self.times[prefix - 1]
        if not finished:
            assert isinstance(self.solver, Tsit5)
            raise DivergenceError(
                f"Tsit5 gave up before t = {end:g}: its step vanished or {self.solver.max_steps} "
                "steps did not suffice; the network is stiff or unstable: loosen rtol and atol, "
                "raise max_steps, or shrink W."
            )
        if not finite.all():
            raise DivergenceError(
                f"the trajectory of condition number {int(np.argmin(finite))} is not finite by "
                f"t = {end:g}: the network is unstable or the step too long; use a smaller dt, "
                "Tsit5, or smaller W."
            )


def _network(coefficients: Coefficients) -> kernel.Network:
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
