"""Steady states in which pre-treated conditions begin, and their derivative."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pycellbox.numerics.equations import INPUT, Equations, Field, Gradients
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.segments import begun
from pycellbox.numerics.steady import SteadyEquations, find
from pycellbox.numerics.steps import SETTLING_TIMES
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import SteadyState
from pycellbox.treatment import Treatment

# Their derivatives are to be exact; what swings slowly has come near at the end of the time given.
SETTLING = SteadyState(tol=1e-13, lead=SETTLING_TIMES / 4)
"""How the steady states are found from which trajectories begin."""
# How often the time of an equation whose rates are not known is doubled, from that on which its
# fastest change at the beginning takes.
_DOUBLINGS = 12
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


class Integration(Protocol):
    """Integrates conditions of a field from its initial state: a backend's own."""

    def reached(self, rows: Array, time: float) -> tuple[Array, int]:
        """States of some of the conditions at a time, and the number of steps."""
        ...

    def reverse(
        self, rows: Array, time: float, adjoint: Array, inputs: bool
    ) -> tuple[dict[str, Array], Array]:
        """Gradient of Σ adjoint·states at a time, (rows, n), and to where they began, (rows, n).

        With ``inputs`` that of the input too, (rows, n).
        """
        ...


def at_rest(field: Field, integration: Integration) -> Rest:
    """Let conditions settle from the initial state of a field.

    Parameters
    ----------
    field : Field
    integration : Integration
        Of the same field, for conditions whose steady state is not proven.
    """
    kind = NetworkRest if isinstance(field, Kernel) else EquationRest
    return kind(field, integration)  # type: ignore[arg-type]


class NetworkRest(Rest):
    """Of a network, by the proofs of `SteadyState`."""

    def __init__(self, field: Kernel, integration: Integration) -> None:
        self.field, slowest = field, field.slowest_rate()
        self._horizon = SETTLING_TIMES / slowest if slowest < math.inf else 1.0
        self._integration = integration
        self._equations = SteadyEquations(SETTLING, field)
        # Hundreds of conditions share a few pre-treatments: each is looked for once.
        first, alike = _alike(field)
        found = find(
            self._equations.rows(first),
            self._horizon,
            lambda rows, time: integration.reached(first[rows], time),
        )
        self.states, self.settled = found.final[alike], found.settled[alike]
        rest = np.flatnonzero(~self.settled)
        if rest.size:  # through the very steps that the way back takes
            self.states[rest], _ = integration.reached(rest, self._horizon)

    def reverse(self, adjoint: Array, inputs: bool) -> tuple[dict[str, Array], Array]:
        """See `Rest.reverse`."""
        total: dict[str, Array] = Gradients()
        start = np.zeros_like(adjoint)
        for rows in (np.flatnonzero(self.settled), np.flatnonzero(~self.settled)):
            if not rows.size:
                continue
            if self.settled[rows[0]]:
                part = self._equations.rows(rows)
                solved = part.adjoint(
                    self.states[rows], adjoint[rows], np.zeros_like(adjoint[rows])
                )
                gradient, start[rows] = part.gradient_to_start(self.states[rows], solved, inputs)
            else:
                gradient, start[rows] = self._integration.reverse(
                    rows, self._horizon, adjoint[rows], inputs
                )
            _collect(total, gradient, rows, len(adjoint))
        return total, start


def _alike(field: Kernel) -> tuple[Array, Array]:
    """Which conditions are the first of their kind, and for each of which kind it is."""
    drive = field.drive
    parts = (drive.inside, drive.outside, drive.initial, drive.moves)
    told = np.concatenate([part for part in parts if part is not None], axis=1)
    _, first, alike = np.unique(told, axis=0, return_index=True, return_inverse=True)
    return first, alike.reshape(-1)  # NumPy 2.0.0 gave it a second axis


class EquationRest(Rest):
    """Of any equation: integrated until it is still, then Newton's method.

    A root is taken if Newton's method stays near and its Jacobian has no eigenvalue with Re ≥ 0.
    """

    def __init__(self, field: Field, integration: Integration) -> None:
        self.field, self._integration = field, integration
        self._all = np.arange(len(field.initial))
        rate = field.slowest_rate()
        known = rate is not None and 0 < rate < math.inf
        if known:
            self._span = SETTLING_TIMES / rate  # type: ignore[operator]
        else:
            slopes = np.linalg.norm(field.jacobian(field.initial), 2, axis=(1, 2))
            self._span = 1 / float(slopes.max(initial=0.0) or 1.0)
        for doubling in range(1 if known else _DOUBLINGS):
            self._span *= 2 if doubling else 1
            reached, _ = integration.reached(self._all, self._span)
            self.states, self.settled = self._roots(reached)
            if self.settled.all() or not np.isfinite(reached).all():
                break

    def _systems(self, x: Array) -> Array:
        """−J, with 1 on the diagonal of nodes that do not move: (c, n, n)."""
        systems = -self.field.jacobian(x)
        stays = (systems == 0).all(axis=2)
        i = np.arange(x.shape[1])
        systems[:, i, i] = np.where(stays, 1, systems[:, i, i])
        return systems

    def _roots(self, reached: Array) -> tuple[Array, Array]:
        """Steady states near those reached, and which of them are stable."""
        if not np.isfinite(reached).all():
            return reached, np.zeros(len(reached), dtype=bool)
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
            gradient, more = self._integration.reverse(self._all, self._span, rest, inputs)
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


@dataclass(frozen=True)
class Pretreatment:
    """The conditions of a treatment that begin in a steady state.

    Attributes
    ----------
    rows : ndarray of int
        Which conditions.
    rest : Rest
        Theirs.
    own : ndarray of bool, (rows, n)
        Where they went to rest from the model's own state.
    """

    rows: Array
    rest: Rest
    own: Array

    @classmethod
    def of(
        cls,
        equations: Equations,
        parameters: Parameters,
        treatment: Treatment,
        drive: Any,
        given: Array,
        integration: Callable[[Array, Field], Integration],
    ) -> Pretreatment | None:
        """Let the pre-treated conditions settle; None if there are none.

        Parameters
        ----------
        equations : Equations
        parameters : dict of ndarray
        treatment : Treatment
        drive : Drive
            Of the input before the first segment, for all conditions of the treatment.
        given : ndarray, (c, n)
            Where they begin that; NaN for the model's own state.
        integration : callable (rows, field)
            Makes the `Integration` of these conditions.
        """
        rows = np.flatnonzero(treatment.pretreated)
        if not rows.size:
            return None
        own, stays = np.isnan(given[rows]), treatment.held[rows]
        before = drive.rows(rows)
        field = equations.field(parameters, before)
        start = np.where(own, field.initial, given[rows])
        moves = ~stays if treatment.held.any() else None
        field = begun(field, start, moves)
        return cls(rows, at_rest(field, integration(rows, field)), own)

    def rested(self, conditions: int) -> Array:
        """Which of so many conditions had settled, those that did not have to among them."""
        rested = np.ones(conditions, dtype=bool)
        rested[self.rows] = self.rest.settled
        return rested

    def reverse(
        self, adjoint: Array, jump: Array | None, inputs: bool
    ) -> tuple[dict[str, Array], Array, Array]:
        """Carry the derivative with respect to the state at the beginning, (c, n), back from there.

        Parameters
        ----------
        adjoint : ndarray, (c, n)
        jump : ndarray of bool, (c, n), or None
            States that the first segment has set anew.
        inputs : bool

        Returns
        -------
        gradient : dict of ndarray
            With respect to the parameters.
        start : ndarray, (c, n)
            With respect to where the conditions began.
        before : ndarray, (c, n)
            With respect to the input of the pre-treatment; zero without ``inputs``.
        """
        rows, start, before = self.rows, adjoint.copy(), np.zeros_like(adjoint)
        due = adjoint[rows] if jump is None else np.where(jump[rows], 0, adjoint[rows])
        found, start[rows] = self.rest.reverse(due, inputs)
        gradient = Gradients(found)
        self.rest.field.start_gradient(np.where(self.own, start[rows], 0), gradient)
        before[rows] = gradient.pop(INPUT, 0.0)
        return dict(gradient), start, before
