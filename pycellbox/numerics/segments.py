"""Treatments cut into pieces that an integrator takes one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pycellbox.data.units import SAME_TIME
from pycellbox.numerics.equations import Equations, Field, Scripts
from pycellbox.numerics.kernel import Kernel
from pycellbox.problem import Array
from pycellbox.treatment import Treatment


@dataclass(frozen=True)
class Piece:
    """What is asked of one segment.

    Attributes
    ----------
    segment : int
    times : ndarray, (k,)
        Since the segment began: those asked for, and its end where another one follows.
    asked : slice
        Which of all the times asked for are the first of ``times``.
    """

    segment: int
    times: Array
    asked: slice

    @property
    def count(self) -> int:
        """How many times are asked for."""
        return int(self.asked.stop - self.asked.start)


def pieces(starts: Array, times: Array) -> list[Piece]:
    """Cut times at the starts of segments; one at a start belongs to the segment that begins.

    Parameters
    ----------
    starts : ndarray, (s,)
    times : ndarray, (t,)
        Increasing, from ``starts[0]`` on.

    Returns
    -------
    list of Piece
        Up to the one that holds the last time.
    """
    slack = SAME_TIME * max(float(np.abs(starts).max()), float(times[-1]))
    bounds = [*np.searchsorted(times, starts[1:] - slack), len(times)]
    found, first = [], 0
    for s, last in enumerate(map(int, bounds)):
        # A time that rounding puts just before the start is at it.
        local = np.maximum(times[first:last] - starts[s], 0.0)
        local[local <= slack] = 0.0
        goes_on = last < len(times)
        if goes_on:
            local = np.append(local, starts[s + 1] - starts[s])
        found.append(Piece(s, local, slice(first, last)))
        first = last
        if not goes_on:
            break
    return found


def jumps(equations: Equations, treatment: Treatment) -> Array | None:
    """Which states take the value of the dose whenever that changes, bool (c, n); None for none."""
    by_dose = equations.set_by_dose
    if by_dose is None:
        return None
    where: Array = by_dose & np.isnan(treatment.initial)
    return where if where.any() else None


def begun(field: Field, initial: Array, moves: Array | None) -> Field:
    """Return a field that starts elsewhere, and where some nodes stay.

    Parameters
    ----------
    field : Field
    initial : ndarray, (c, n)
    moves : ndarray of bool, (c, n), optional
        Nodes that follow the equation; None for all.
    """
    if isinstance(field, Kernel):
        numbers = None if moves is None else moves.astype(initial.dtype)
        drive = replace(field.drive, initial=np.ascontiguousarray(initial), moves=numbers)
        return field.driven(drive)
    return Restrained(field, initial, moves)


class Restrained(Field):
    """A field of any equation that starts elsewhere, and where some nodes stay."""

    def __init__(self, field: Field, initial: Array, moves: Array | None) -> None:
        self._field, self._moves, self.initial = field, moves, initial
        self.faults = field.faults

    def _moving(self, array: Array) -> Array:
        return array if self._moves is None else np.where(self._moves, array, 0)

    def value(self, x: Array) -> Array:
        """See `Field.value`."""
        return self._moving(self._field.value(x))

    def pull_back(self, x: Array, adjoint: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.pull_back`."""
        return self._field.pull_back(x, self._moving(adjoint), gradient)

    def transposed(self, x: Array, vector: Array) -> Array:
        """See `Field.transposed`."""
        return self._field.transposed(x, self._moving(vector))

    def slopes(self, x: Array) -> tuple[Array, Array] | None:
        """See `Field.slopes`."""
        found = self._field.slopes(x)
        if found is None or self._moves is None:
            return found
        of_states, of_parameters = (np.where(self._moves[:, :, None], part, 0) for part in found)
        return of_states, of_parameters

    def rows(self, index: Array) -> Field:
        """See `Field.rows`."""
        moves = None if self._moves is None else self._moves[index]
        return Restrained(self._field.rows(index), self.initial[index], moves)

    def repeated(self, times: int) -> Field | None:
        """See `Field.repeated`."""
        many = self._field.repeated(times)
        if many is None:
            return None
        moves = None if self._moves is None else np.tile(self._moves, (times, 1))
        return Restrained(many, np.tile(self.initial, (times, 1)), moves)

    def scripts(self) -> Scripts | None:
        """See `Field.scripts`; there are none where nodes stay."""
        return self._field.scripts() if self._moves is None else None

    def start_slopes(self) -> Array | None:
        """See `Field.start_slopes`."""
        return self._field.start_slopes()

    def observe_slopes(self, x: Array, of_states: Array) -> Array:
        """See `Field.observe_slopes`."""
        return self._field.observe_slopes(x, of_states)

    def breaks(self, x: Array) -> dict[int, str]:
        """See `Field.breaks`."""
        return self._field.breaks(x)

    def start_breaks(self) -> dict[int, str]:
        """See `Field.start_breaks`."""
        return self._field.start_breaks()

    def observe(self, states: Array) -> None:
        """See `Field.observe`."""
        self._field.observe(states)

    def observe_back(self, states: Array, seeds: Array, gradient: dict[str, Array]) -> Array:
        """See `Field.observe_back`."""
        return self._field.observe_back(states, seeds, gradient)

    def start_gradient(self, adjoint: Array, gradient: dict[str, Array]) -> None:
        """See `Field.start_gradient`."""
        self._field.start_gradient(adjoint, gradient)

    def jacobian(self, x: Array) -> Array:
        """See `Field.jacobian`."""
        J = self._field.jacobian(x)
        return J if self._moves is None else np.where(self._moves[:, :, None], J, 0)

    def step_bound(self) -> tuple[float, float] | None:
        """See `Field.step_bound`; where nodes stay the Jacobian is smaller."""
        return self._field.step_bound()

    def slowest_rate(self) -> float | None:
        """See `Field.slowest_rate`."""
        return self._field.slowest_rate()
