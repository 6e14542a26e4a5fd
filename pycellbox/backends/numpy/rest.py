"""Steady states in which pre-treated conditions begin, and their derivative."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np

from pycellbox.backends.numpy.integrate import Trajectory, integrate, reverse_to_start
from pycellbox.backends.numpy.steady import SteadyEquations, find, integrated
from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.equations import INPUT, Field, Gradients
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.steps import SETTLING_TIMES
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.problem import Array
from pycellbox.solvers import Solver, SteadyState

# A rate of change per unit of time that counts as none, relative to 1 + |x|; and how often the time
# of an equation whose rates are not known is doubled.
_STILL, _DOUBLINGS = 1e-8, 20
# How near to the trajectory's end Newton's method has to stay, relative to 1 + |x|.
_NEWTON_STEPS, _NEAR = 20, 1e-2


class Rest(ABC):
    """The state that each condition has come to.

    Attributes
    ----------
    field : Field
    states : ndarray, (c, n)
    settled : ndarray of bool, (c,)
        Where that is a steady state.
    """

    field: Field
    states: Array
    settled: Array

    @abstractmethod
    def reverse(self, adjoint: Array, inputs: bool) -> tuple[dict[str, Array], Array]:
        """Gradient of Σ adjoint·states, with that of the input too if wanted, and to x₀, (c, n)."""


def at_rest(field: Field, solver: Solver) -> Rest:
    """Let conditions settle from the initial state of a field.

    Parameters
    ----------
    field : Field
    solver : Solver
        Through time, for conditions whose steady state is not proven.
    """
    return NetworkRest(field, solver) if isinstance(field, Kernel) else EquationRest(field, solver)


class NetworkRest(Rest):
    """Of a network, by the proofs of `SteadyState`."""

    def __init__(self, field: Kernel, solver: Solver) -> None:
        self.field, slowest = field, field.slowest_rate()
        self._horizon = SETTLING_TIMES / slowest if slowest < math.inf else 1.0
        self._equations = SteadyEquations(SteadyState(integrator=solver), field)  # type: ignore[arg-type]
        found = find(self._equations, self._horizon)
        self.states, self.settled = found.final, found.settled

    def reverse(self, adjoint: Array, inputs: bool) -> tuple[dict[str, Array], Array]:
        """See `Rest.reverse`."""
        total: dict[str, Array] = Gradients()
        start = np.zeros_like(adjoint)
        for rows in (np.flatnonzero(self.settled), np.flatnonzero(~self.settled)):
            if not rows.size:
                continue
            part = self._equations.rows(rows)
            if self.settled[rows[0]]:
                solved = part.adjoint(
                    self.states[rows], adjoint[rows], np.zeros_like(adjoint[rows])
                )
                gradient, start[rows] = part.gradient_to_start(self.states[rows], solved, inputs)
            else:
                trajectory = integrated(part, np.array([self._horizon]), keep=True)
                gradient, start[rows] = reverse_to_start(trajectory, adjoint[rows, None], inputs)
            _collect(total, gradient, rows, len(adjoint))
        return total, start


class EquationRest(Rest):
    """Of any equation: integrated until it is still, then Newton's method.

    A root is taken if Newton's method stays near and its Jacobian has no eigenvalue with Re ≥ 0.
    """

    def __init__(self, field: Field, solver: Solver) -> None:
        self.field, self._solver = field, solver
        rate = field.slowest_rate()
        known = rate is not None and 0 < rate < math.inf
        span = SETTLING_TIMES / rate if known else 1.0  # type: ignore[operator]
        for _ in range(1 if known else _DOUBLINGS):
            self._span = np.array([span])
            reached = self._integrate(keep=False).states[:, -1]
            rate_left = np.abs(field.value(reached)).max(axis=1)
            if not (rate_left > _STILL * (1 + np.abs(reached).max(axis=1))).any():
                break
            span *= 2
        self.states, self.settled = self._roots(reached)

    def _integrate(self, keep: bool) -> Trajectory:
        c, n = self.field.initial.shape
        stages, dtype = TABLEAUX[type(self._solver)].stages, self.field.initial.dtype
        tape = Tape(stages, c, n, dtype, keep, False)
        return integrate(self._solver, self.field, self._span, tape)

    def _systems(self, x: Array) -> Array:
        """−J, with 1 on the diagonal of nodes that do not move: (c, n, n)."""
        systems = -self.field.jacobian(x)
        stays = (systems == 0).all(axis=2)
        i = np.arange(x.shape[1])
        systems[:, i, i] = np.where(stays, 1, systems[:, i, i])
        return systems

    def _roots(self, reached: Array) -> tuple[Array, Array]:
        """Steady states near those reached, and which of them are stable."""
        x, tol = reached.copy(), 1e3 * float(np.finfo(reached.dtype).eps)
        for _ in range(_NEWTON_STEPS):
            step = np.linalg.solve(self._systems(x), self.field.value(x)[:, :, None])[:, :, 0]
            x, change = x + step, np.abs(step).max(axis=1) / (1 + np.abs(x).max(axis=1))
            if (change < tol).all():
                break
        near = np.abs(x - reached).max(axis=1) < _NEAR * (1 + np.abs(x).max(axis=1))
        stable = np.linalg.eigvals(-self._systems(x)).real.max(axis=1) < 0
        settled = near & stable & (change < tol)
        return np.where(settled[:, None], x, reached), settled

    def reverse(self, adjoint: Array, inputs: bool) -> tuple[dict[str, Array], Array]:
        """See `Rest.reverse`."""
        total: dict[str, Array] = Gradients()
        transposed = self._systems(self.states).transpose(0, 2, 1)
        solved = np.linalg.solve(transposed, adjoint[:, :, None])[:, :, 0]
        solved = np.where(self.settled[:, None], solved, 0)
        self.field.pull_back(self.states, solved, total)
        start = np.where((self.field.jacobian(self.states) == 0).all(axis=2), solved, 0)
        if not self.settled.all():
            rest = np.where(self.settled[:, None], 0, adjoint)
            gradient, more = reverse_to_start(self._integrate(keep=True), rest[:, None], inputs)
            start = np.where(self.settled[:, None], start, more)
            for name, array in gradient.items():
                total[name] = total[name] + array
        return total, start


def _collect(total: dict[str, Array], part: dict[str, Array], rows: Array, count: int) -> None:
    """Add the gradient of some of the conditions."""
    for name, array in part.items():
        if name == INPUT:
            whole = np.zeros((count, array.shape[1]), array.dtype)
            whole[rows] = array
            array = whole
        total[name] = total[name] + array
