"""Steady states in which pre-treated conditions begin, and their derivative."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pycellbox.numerics.checks import renumbered
from pycellbox.numerics.equations import INPUT, Equations, Field, Gradients
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.search import find
from pycellbox.numerics.segments import begun
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.numerics.steady_field import SteadyField
from pycellbox.numerics.steps import SETTLING_TIMES
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import SteadyState
from pycellbox.treatment import Treatment

# Their derivatives are to be exact; what swings slowly has come near at the end of the time given.
SETTLING = SteadyState(tol=1e-13, lead=SETTLING_TIMES / 4)
"""How the steady states are found from which trajectories begin."""
# How often the time of an equation whose rates are not known is made four times as long, beginning
# with that in which it changes most; and after how many steps no more.
_LONGEST, _ENOUGH = 30, 3_000


class Rest:
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
    _steady: Any  # SteadyEquations or SteadyField
    _span: float  # how long those are integrated that do not settle
    _integration: Integration

    def slopes(self, start: Array) -> Array | None:
        """Return the derivative of the states by θ, (c, n, θ), from that of x₀; None if unknown."""
        return None

    def reverse(self, adjoint: Array, inputs: bool) -> tuple[dict[str, Array], Array]:
        """Gradient of Σ adjoint·states, with that of the input too if wanted, and to x₀, (c, n)."""
        total: dict[str, Array] = Gradients()
        start = np.zeros_like(adjoint)
        for rows in (np.flatnonzero(self.settled), np.flatnonzero(~self.settled)):
            if not rows.size:
                continue
            if self.settled[rows[0]]:
                part = self._steady.rows(rows)
                nothing = np.zeros_like(adjoint[rows])
                solved = part.adjoint(self.states[rows], adjoint[rows], nothing)
                gradient, start[rows] = part.gradient_to_start(self.states[rows], solved, inputs)
            else:
                gradient, start[rows] = self._integration.reverse(
                    rows, self._span, adjoint[rows], inputs
                )
            _collect(total, gradient, rows, len(adjoint))
        return total, start


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
        self._span = SETTLING_TIMES / slowest if slowest < math.inf else 1.0
        self._integration = integration
        self._steady = SteadyEquations(SETTLING, field)
        # Hundreds of conditions share a few pre-treatments: each is looked for once.
        first, alike = _alike(field)
        found = find(
            self._steady.rows(first),
            self._span,
            lambda rows, time: integration.reached(first[rows], time),
        )
        self.states, self.settled = found.final[alike], found.settled[alike]
        rest = np.flatnonzero(~self.settled)
        if rest.size:  # through the very steps that the way back takes
            self.states[rest], _ = integration.reached(rest, self._span)


def _alike(field: Kernel) -> tuple[Array, Array]:
    """Which conditions are the first of their kind, and for each of which kind it is."""
    drive = field.drive
    parts = (drive.inside, drive.outside, drive.initial, drive.moves)
    told = np.concatenate([part for part in parts if part is not None], axis=1)
    _, first, alike = np.unique(told, axis=0, return_index=True, return_inverse=True)
    return first, alike.reshape(-1)  # NumPy 2.0.0 gave it a second axis


class EquationRest(Rest):
    """Of any equation: integrated longer and longer, until it is near a steady state."""

    def __init__(self, field: Field, integration: Integration) -> None:
        self.field, self._integration = field, integration
        self._steady = SteadyField(SETTLING, field)
        count = len(field.initial)
        every, rate = np.arange(count), field.slowest_rate()
        known = rate is not None and 0 < rate < math.inf
        self._span = SETTLING_TIMES / rate if known else self._steady.fastest()  # type: ignore[operator]
        for _ in range(1 if known else _LONGEST):
            reached, steps = integration.reached(every, self._span)
            root, residual = self._steady.roots(reached)
            good = residual <= 2 * self._steady.tolerance(root)
            self.settled = self._steady.proven(root, reached, good)
            self.states = np.where(self.settled[:, None], root, reached)
            if known or self.settled.all() or steps > _ENOUGH:
                break
            self._span *= 4

    def slopes(self, start: Array) -> Array | None:
        """See `Rest.slopes`; those that did not settle have none."""
        return self._steady.slopes(self.states, start) if self.settled.all() else None


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
        with renumbered(rows):
            return cls(rows, at_rest(field, integration(rows, field)), own)

    def rested(self, conditions: int) -> Array:
        """Which of so many conditions had settled, those that did not have to among them."""
        rested = np.ones(conditions, dtype=bool)
        rested[self.rows] = self.rest.settled
        return rested

    def slopes(self) -> Array | None:
        """Return the derivative of the states by θ, (rows, n, θ); None where not known."""
        start = self.rest.field.start_slopes()
        return None if start is None else self.rest.slopes(np.where(self.own[..., None], start, 0))

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
        with renumbered(rows):
            found, start[rows] = self.rest.reverse(due, inputs)
        gradient = Gradients(found)
        self.rest.field.start_gradient(np.where(self.own, start[rows], 0), gradient)
        before[rows] = gradient.pop(INPUT, 0.0)
        return dict(gradient), start, before
