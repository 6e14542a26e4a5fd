"""A problem held by Julia. Its arrays are shared, not copied."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pycellbox.backends.julia.calls import (
    Errand,
    address,
    call,
    call_locked,
    located,
    row_numbers,
)
from pycellbox.backends.julia.objects import julia_loss, julia_solver, julia_structure, released
from pycellbox.backends.julia.training import JuliaTrainingRun
from pycellbox.backends.julia.treatments import JuliaTreatment
from pycellbox.backends.protocol import TrainingPlan
from pycellbox.numerics.checks import check_arrays
from pycellbox.numerics.equations import INPUT, PRETREATMENT, START
from pycellbox.numerics.residuals import residuals_and_jacobian
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver


class JuliaSession:
    """A problem whose arrays a Julia session reads and writes where they lie."""

    def __init__(
        self,
        core: Any,
        problem: Problem,
        solver: Solver,
        loss: Loss,
        gradient: Gradient,
        solve: Callable[..., Solution],
    ) -> None:
        self.problem, self._core, self._solver, self._solve = problem, core, solver, solve
        structure = problem.structure
        self._dtype = problem.perturbation.dtype
        layout = structure.layout.parameters
        self._parameters = {p.name: np.zeros(p.shape, self._dtype) for p in layout}
        self._gradient = {k: np.zeros_like(v) for k, v in self._parameters.items()}
        # Julia reads these as long as the session lives.
        self._shared = (
            np.ascontiguousarray(problem.perturbation),
            np.ascontiguousarray(problem.response),
            np.ascontiguousarray(problem.weight),
        )
        u, y, w = self._shared
        times = np.ascontiguousarray(problem.times, dtype=np.float64)
        self._structure = julia_structure(core, structure)
        call_locked(core.python_release, released())
        self._treatment: JuliaTreatment | None = None
        if problem.treatment is not None:
            self._treatment = JuliaTreatment(core, self._structure, solver, problem.treatment)
        given = address(u) if self._treatment is None else self._treatment.handed
        self._session = call(
            core.python_session,
            self._dtype.name,
            self._structure,
            (u.shape[0], y.shape[1]),
            (given, address(y), address(w)),
            (address(times), times.size),
            julia_solver(core, solver, gradient),
            julia_loss(core, loss),
            tuple(address(v) for v in self._parameters.values()),
            tuple(address(v) for v in self._gradient.values()),
        )
        # Address and number of rows, the prefix, three addresses; what comes of them.
        self._wish, self._value = np.zeros(6, np.int64), np.zeros(1)
        # Not there and then: an object may go in any thread, and while Julia is at work.
        weakref.finalize(self, released, self._session)
        places = (self._session, address(self._wish), address(self._value))
        self._to_value = Errand(core.python_write_value, *places)
        self._to_gradient = Errand(core.python_write_value_and_gradient, *places)

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`."""
        self._set(parameters)
        of_inputs = {}
        if inputs:
            c, n = self.problem.perturbation.shape
            rows = np.arange(c) if rows is None else np.asarray(rows)
            of_inputs = {k: np.zeros((rows.size, n), self._dtype) for k in self._inputs}
            if (treatment := self.problem.treatment) is not None:
                of_inputs[INPUT] = np.zeros((rows.size, treatment.segments, n), self._dtype)
        index = row_numbers(rows)
        places = [address(array) for array in of_inputs.values()]
        places += [0] * (3 - len(places))
        self._wish[:] = (*located(index), prefix or 0, *places)
        self._to_gradient.run()
        gradient = {name: array.copy() for name, array in self._gradient.items()}
        if self.problem.treatment is not None and self.problem.treatment.pretreatment is None:
            of_inputs.pop(PRETREATMENT, None)
        return float(self._value[0]), gradient | of_inputs

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        self._set(parameters)
        index = row_numbers(rows)
        self._wish[:] = (*located(index), prefix or 0, 0, 0, 0)
        self._to_value.run()
        return float(self._value[0])

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        return self._at(parameters)

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`."""
        return residuals_and_jacobian(self.problem, parameters, self._at)

    @property
    def _inputs(self) -> tuple[str, ...]:
        """Names of what a gradient of the inputs has."""
        return (INPUT, START) if self._treatment is None else (INPUT, START, PRETREATMENT)

    @property
    def settled(self) -> Array | None:
        """See `pycellbox.backends.protocol.Session.settled`."""
        if not self._solver.steady:
            return None
        settled = np.empty(len(self.problem.conditions), np.uint8)
        call_locked(self._core.python_settled, self._session, address(settled))
        return settled.astype(bool)

    def warm(self) -> Parameters:
        """See `pycellbox.backends.protocol.Session.warm`."""
        if not self._solver.steady:
            return {}
        (c, n), dtype = self.problem.perturbation.shape, self._dtype
        arrays = {k: np.empty((c, n), dtype) for k in ("states", "adjoint")}
        inverse = np.empty((n, n), dtype)
        places = tuple(address(array) for array in (*arrays.values(), inverse))
        made = call_locked(self._core.python_warm, self._session, places, False, False)
        return arrays | ({"correction": inverse} if made else {})

    def warm_up(self, state: Mapping[str, Array]) -> None:
        """See `pycellbox.backends.protocol.Session.warm_up`."""
        if not self._solver.steady:
            return
        c, n = self.problem.perturbation.shape
        shapes = {"states": (c, n), "adjoint": (c, n), "correction": (n, n)}
        check_arrays(state, shapes, optional=("correction",))
        given = {"correction": np.zeros((n, n)), **state}
        arrays = [
            np.ascontiguousarray(given[k], self._dtype) for k in ("states", "adjoint", "correction")
        ]
        places, made = tuple(address(array) for array in arrays), "correction" in state
        call_locked(self._core.python_warm, self._session, places, made, True)

    def training_run(self, plan: TrainingPlan) -> JuliaTrainingRun | None:
        """See `pycellbox.backends.protocol.Session.training_run`."""
        if plan.parametrization.positive != "softplus":
            return None
        if self._treatment is not None:
            self._treatment.start({})
        return JuliaTrainingRun(self, plan)

    def _set(self, parameters: Parameters) -> None:
        for name, array in self._parameters.items():
            np.copyto(array, parameters[name])
        if self._treatment is not None:
            self._treatment.start(parameters)

    def _at(self, parameters: Parameters, times: Array | None = None) -> Solution:
        p, solver = self.problem, self._solver
        if times is None:
            times = p.times
        else:
            solver = solver.through_time
        return self._solve(p.structure, solver, parameters, p.perturbation, times, p.treatment)
