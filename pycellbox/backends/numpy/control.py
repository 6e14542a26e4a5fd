"""How long adaptive steps are: one control for all that can attempt a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.numerics.checks import ConditionError
from pycellbox.numerics.steps import IMPLICIT, check_adaptive, first_step
from pycellbox.numerics.tableaux import Tableau, method_of
from pycellbox.problem import Array
from pycellbox.solvers import Adaptive, Tsit5

# The elementary controller (Hairer, Nørsett, Wanner I, II.4): the bound on the step is what the
# smoother ones are for, and they take a third more steps to grow from those of the beginning.
_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 10.0
_VANISHED = 16 * float(np.finfo(float).eps)


class Attempts(Protocol):
    """What steps, from the state that it has reached."""

    @property
    def tableau(self) -> Tableau:
        """The method."""
        ...

    @property
    def everywhere(self) -> bool:
        """Whether the bound of the steps holds for every state."""
        ...

    @property
    def faults(self) -> Mapping[int, str]:
        """See `Field.faults`."""
        ...

    def begin(self) -> None:
        """Evaluate what the first step needs."""
        ...

    def follow(self, before: Attempts) -> None:
        """Take over what another one of the same equation has seen of its Jacobian."""
        ...

    def bound(self) -> tuple[float, float]:
        """Return the longest step from the state, and a bound of |λ| there."""
        ...

    def attempt(self, h: float) -> float:
        """Make a step, and return its error in units of what is allowed."""
        ...

    def accept(self, h: float) -> float:
        """Go on to where the last attempt led; return the longest step from there."""
        ...

    def worst(self) -> int:
        """Return which condition had the largest error in the last attempt."""
        ...

    def keep(self, k: int) -> None:
        """Keep the states that were reached, (c, n), as those at time k of those asked for."""
        ...


class Control:
    """Chooses the steps through the requested times.

    Parameters
    ----------
    attempts : Attempts
    solver : Tsit5 or Adaptive
    before : Control, optional
        Of the same equation under other inputs, with whose steps this one goes on where they have
        no bound for all states.
    began : float
        Time of the first step, for what is said.

    Attributes
    ----------
    bounded : int
        How many steps were as long as stability lets them be.
    """

    def __init__(
        self,
        attempts: Attempts,
        solver: Tsit5 | Adaptive,
        before: Control | None = None,
        began: float = 0.0,
    ) -> None:
        self.attempts, self.solver = attempts, solver
        self.name, self.bounded = method_of(solver), 0
        self._exponent = -1 / attempts.tableau.order
        self._tried, self._began = 0, began
        self._h = 0.0
        attempts.begin()
        if attempts.everywhere or before is None or not before._h:
            self.longest, self._largest = attempts.bound()
        else:
            attempts.follow(before.attempts)
            self._h, self.longest, self._largest = before._h, before.longest, before._largest

    def through(self, times: Array) -> list[int]:
        """Step to one time after the other; return after how many steps each was reached."""
        if self.attempts.everywhere:
            check_adaptive(self.solver, self.longest, float(times[-1]))
        now, steps, steps_at = 0.0, 0, []
        for k, end in enumerate(times.tolist()):
            steps += self._advance(now, end)
            self.attempts.keep(k)
            steps_at.append(steps)
            now = end
        return steps_at

    def _advance(self, start: float, end: float) -> int:
        """Step to the next time, and return in how many steps."""
        if end == start:
            return 0
        now, steps = start, 0
        if self._h == 0.0:
            self._h = min(end, first_step(self.solver, self._largest))
        while now < end:
            h = min(self._h, self.longest)
            last = h >= (end - now) * (1 - 1e-9)
            if last:
                h = end - now
            elif h > 0.5 * (end - now):
                h = 0.5 * (end - now)  # two even steps instead of a long one and a sliver
            self._guard(h, now, end)
            error = self.attempts.attempt(h)
            if error <= 1:
                self.bounded += h == self.longest
                self.longest = self.attempts.accept(h)
                steps += 1
                now = end if last else now + h
                grown = h * self._factor(error)
                # A step cut short to meet a requested time says nothing against a longer one.
                self._h = min(self.longest, max(grown, self._h) if h < self._h else grown)
            else:
                factor = self._factor(error) if math.isfinite(error) else _SHRINK
                self._h = h * min(factor, _SAFETY)
        return steps

    def _guard(self, h: float, now: float, end: float) -> None:
        self._tried += 1
        if self._tried > self.solver.max_steps:
            implicit = "" if self.attempts.tableau.implicit else f"use {IMPLICIT} for stiff ones, "
            raise DivergenceError(
                f"{self.name} gave up at t = {self._began + now:g} after {self.solver.max_steps} "
                f"steps; the equations are stiff or unstable: {implicit}loosen rtol and atol, "
                "raise max_steps, or shrink W."
            )
        if h <= _VANISHED * max(now, 1e-8 * end):
            when = f"has a step of {self.name} that vanishes at t = {self._began + now:g}: "
            for row, fault in self.attempts.faults.items():
                raise ConditionError(row, "the trajectory of", when + fault)
            raise ConditionError(
                self.attempts.worst(),
                "the trajectory of",
                f"{when}it leaves the finite numbers, or the tolerances are below rounding.",
            )

    def _factor(self, error: float) -> float:
        if error == 0:
            return _GROW
        factor: float = _SAFETY * error**self._exponent
        return min(_GROW, max(_SHRINK, factor))
