"""What a solve comes to: states, and for each condition how it ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import numpy as np

from pycellbox.numerics.checks import labelled, lost
from pycellbox.problem import Array


class Outcome(IntEnum):
    """How a condition ended."""

    SETTLED = 0
    """In a steady state that is proven to be where its trajectory goes."""
    INTEGRATED = 1
    """At the last time asked for."""
    DIVERGED = 2
    """Outside the finite numbers."""


@dataclass(frozen=True)
class Solution:
    """States of all conditions.

    Attributes
    ----------
    states : ndarray, (c, t, n)
    outcome : ndarray of int, (c,)
        An `Outcome` for each condition.
    residual : ndarray, (c,)
        Of steady states: the largest change over the nodes that the fixed-point map makes to the
        state. NaN where there is no such map.
    steps : ndarray of int, (c,)
        Steps of the integration; 0 where none was needed, −1 where the backend does not count.
    rested : ndarray of bool, (c,), or None
        Whether what came before the first segment had settled; None where nothing did.
    faults : mapping of int to str
        By the number of a condition, which equation had no value.
    """

    states: Array
    outcome: Array
    residual: Array
    steps: Array
    rested: Array | None = None
    faults: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def integrated(cls, states: Array, steps: int = -1, rested: Array | None = None) -> Solution:
        """Of trajectories, which diverged where they are not finite."""
        finite = np.isfinite(states).all(axis=(1, 2))
        outcome = np.where(finite, Outcome.INTEGRATED, Outcome.DIVERGED)
        nothing = np.full(len(states), np.nan, states.dtype)
        return cls(states, outcome, nothing, np.full(len(states), steps), rested)

    @classmethod
    def steady(
        cls, states: Array, settled: Array, residual: Array, steps: Array | None = None
    ) -> Solution:
        """Of steady states (c, n); those that did not settle are integrated."""
        outcome = np.where(settled, Outcome.SETTLED, Outcome.INTEGRATED)
        counts = np.full(len(states), -1) if steps is None else steps
        return cls(states[:, None, :], outcome, residual, counts)

    @property
    def final(self) -> Array:
        """States at the last time, (c, n)."""
        final: Array = self.states[:, -1, :]
        return final

    def rows(self, index: Array) -> Solution:
        """Return the solution of some of the conditions."""
        rested = None if self.rested is None else self.rested[index]
        return Solution(
            self.states[index], self.outcome[index], self.residual[index], self.steps[index], rested
        )

    def check(self, conditions: Sequence[str], times: Array) -> None:
        """Raise if a trajectory has left the finite numbers, with the label of its condition.

        Parameters
        ----------
        conditions : sequence of str
        times : ndarray, (t,)
            Those of the states.

        Raises
        ------
        DivergenceError
        """
        if self.diverged.any():
            row = int(self.diverged.argmax())
            late = int(np.argmax(~np.isfinite(self.states[row]).all(axis=-1)))
            end = float(times[-1] if len(times) != len(self.states[row]) else times[late])
            with labelled(conditions):
                raise lost(row, end, self.faults.get(row, ""))

    @cached_property
    def settled(self) -> Array:
        """Which conditions have settled; bool, (c,)."""
        settled: Array = self.outcome == Outcome.SETTLED
        return settled

    @cached_property
    def diverged(self) -> Array:
        """Which conditions have left the finite numbers; bool, (c,)."""
        diverged: Array = self.outcome == Outcome.DIVERGED
        return diverged
