"""Conditions of an equation integrated by Julia, and the way back: arrays in, arrays out."""

from __future__ import annotations

import weakref
from functools import cached_property
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
from pycellbox.backends.julia.equations import JuliaEquation
from pycellbox.backends.julia.objects import julia_loss, released
from pycellbox.objective import Loss
from pycellbox.problem import Array


class JuliaCourse:
    """An equation with its conditions, held by Julia, which reads and writes arrays in place.

    Parameters
    ----------
    core : Julia module
    equation : JuliaEquation
    solver : Julia object
    times : ndarray, (t,)
    starts : ndarray, (s,), or None
        When segments begin; None where the one begins at 0.
    u : ndarray, (c, s, n)
    moves : ndarray of bool, (c, s, n), or None
    response, weight : ndarray, (c, t, n)
    loss : Loss or None
        None hands weights on as derivatives.

    Attributes
    ----------
    weight : ndarray, (c, t, n)
        May be written to; how many of its entries are not 0 counts as it was.
    segments : int
    session : Julia object
    parameters, initial : ndarray, (c, p) and (c, n)
        What `set` gave.
    """

    def __init__(
        self,
        core: Any,
        equation: JuliaEquation,
        solver: Any,
        times: Array,
        starts: Array | None,
        u: Array,
        moves: Array | None,
        response: Array,
        weight: Array,
        loss: Loss | None,
    ) -> None:
        self._core, self.equation, dtype = core, equation, equation.dtype
        (c, s, n), self._shape = u.shape, response.shape
        self.segments = s
        self._times = np.ascontiguousarray(times, np.float64)
        # Julia reads these as long as this lives.
        self.initial: Array = np.empty((c, n), dtype)
        self.parameters: Array = np.empty((c, equation.size), dtype)
        self.weight: Array = np.ascontiguousarray(weight, dtype)
        self._given = (
            np.ascontiguousarray(u, dtype),
            None if moves is None else np.ascontiguousarray(moves, np.uint8),
            self.initial,
            self.parameters,
            np.ascontiguousarray(response, dtype),
            self.weight,
        )
        begins = None if starts is None else np.ascontiguousarray(starts, np.float64)
        call_locked(core.python_release, released())
        self.session = call(
            core.python_equation_session,
            equation.handed,
            (c, s),
            0 if begins is None else address(begins),
            tuple(0 if array is None else address(array) for array in self._given),
            (address(self._times), self._times.size),
            solver,
            julia_loss(core, loss),
        )
        weakref.finalize(self, released, self.session)
        self._wish, self._value = np.zeros(6, np.int64), np.zeros(1)
        places = (self.session, address(self._wish), address(self._value))
        self._evaluate = Errand(core.python_evaluate, *places)
        self._to_jacobian: Any = None

    def set(self, parameters: Array, initial: Array | None) -> None:
        """Give the conditions that are asked for next their parameters, (rows, p), and starts.

        ``initial`` is (rows, n), NaN for what the equation says; None for that everywhere.
        """
        self.parameters[: len(parameters)] = parameters
        self.initial[: len(parameters)] = np.nan if initial is None else initial

    def value(self, rows: Array | None, prefix: int | None) -> float:
        """Loss of some of the conditions, or all."""
        index = row_numbers(rows)
        self._wish[:] = (*located(index), prefix or 0, 0, 0, 0)
        self._evaluate.run()
        return float(self._value[0])

    def value_and_gradient(
        self, rows: Array | None, prefix: int | None
    ) -> tuple[float, Array, Array, Array]:
        """Loss, and its derivatives.

        Returns
        -------
        value : float
        of_parameters : ndarray, (rows, p)
        of_inputs : ndarray, (rows, s, n)
            With respect to u.
        of_initial : ndarray, (rows, n)
            With respect to the state where the integration starts.
        """
        self.equation.need_gradient()
        index = row_numbers(rows)
        found = self._room_for_gradient(self._shape[0] if index is None else index.size)
        self._wish[:] = (*located(index), prefix or 0, *map(address, found))
        self._evaluate.run()
        of_parameters, of_u, of_initial = found
        return float(self._value[0]), of_parameters, self._of_inputs(of_u), of_initial

    def _room_for_gradient(self, rows: int) -> tuple[Array, Array, Array]:
        dtype, n = self.equation.dtype, self._shape[2]
        return (
            np.empty((rows, self.equation.size), dtype),
            np.empty((self.segments, rows, self.equation.inputs.size), dtype),
            np.empty((rows, n), dtype),
        )

    def _of_inputs(self, of_u: Array) -> Array:
        """Return derivatives by all nodes, (rows, s, n), of those by the inputs, (s, rows, k)."""
        inputs = self.equation.inputs
        spread: Array = np.zeros((of_u.shape[1], self.segments, self._shape[2]), of_u.dtype)
        if inputs.size:
            index = (slice(None), slice(None), inputs)
            np.add.at(spread, index, of_u.transpose(1, 0, 2))  # type: ignore[arg-type]
        return spread

    def states(self, rows: Array | None = None) -> tuple[Array, int]:
        """States of all nodes of some of the conditions, (rows, t, n), and the number of steps."""
        out, errand = self._to_states
        index = row_numbers(rows)
        self._wish[:2] = located(index)
        errand.run()
        return out[: None if index is None else index.size].copy(), int(self._value[0])

    @cached_property
    def _to_states(self) -> tuple[Array, Errand]:
        out: Array = np.empty(self._shape, self.equation.dtype)
        places = address(self._wish), address(out), address(self._value)
        return out, Errand(self._core.python_equation_states, self.session, *places)

    def jacobian(self, wanted: Array) -> tuple[Array, Array]:
        """Residuals of the measured entries, (m,), and derivatives by parameters of each condition.

        Parameters
        ----------
        wanted : ndarray of int
            Numbers of parameters, the same in every call.

        Returns
        -------
        residuals : ndarray, (m,)
        jacobian : ndarray, (m, wanted)
        """
        if self._to_jacobian is None:
            self.equation.need_gradient()
            self.equation.need("slopes")
            measured: Array = np.asarray(self.weight > 0)
            rows = np.where(measured.ravel(), np.cumsum(measured), 0).astype(np.int64)
            m, dtype = int(measured.sum()), self.equation.dtype
            arrays = np.zeros(m, dtype), np.zeros((m, wanted.size), dtype), rows
            numbers = np.ascontiguousarray(wanted, np.int64)
            errand = Errand(
                self._core.python_equation_jacobian,
                self.session,
                *map(address, arrays),
                (address(numbers), numbers.size),
            )
            self._to_jacobian = *arrays, numbers, errand
        residuals, jacobian, _, _, errand = self._to_jacobian
        errand.run()
        return residuals.copy(), jacobian.copy()

    def fault(self) -> tuple[int, Array] | None:
        """Which of the rows had an equation without a value, and in which states."""
        state = np.empty(self.equation.states.size, self.equation.dtype)
        row = int(call_locked(self._core.python_fault, self.session, address(state)))
        return (row - 1, state) if row else None
