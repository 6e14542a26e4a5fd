"""Implicit steps of any field, for stiff equations: all conditions together, by Newton's method.

An implicit stage X = known + hγf(X) is solved so closely that the derivative of the exact solution,
which `bulk` takes, is that of the computed one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.equations import Field
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array

# Newton's method goes on until a change is less than this part of the error that is allowed, or
# does not get smaller, as rounding has it, and is less than that part.
_SOLVED, _ROUNDED = 1e-7, 1e-2
# It takes the matrix of the step's start until an iteration gains less than this factor; then that
# of the last iterate.
_SLOW, _STILL, _ITERATIONS = 0.03, 0.5, 16


class ImplicitSteps:
    """Attempts steps; see `pycellbox.backends.numpy.control.Attempts`.

    Parameters
    ----------
    tableau : Tableau
        Its last stage is the step, and its first the last of the step before.
    field : Field
    tape : Tape
        With the first state in its first record.
    states : ndarray, (c, t, n)
        For those at the times asked for.
    solver : Adaptive
    """

    everywhere = False

    def __init__(
        self,
        tableau: Tableau,
        field: Field,
        tape: Tape,
        states: Array,
        solver: Any,
    ) -> None:
        self.tableau, self.tape = tableau, tape
        self._field, self._states, self._rtol, self._atol = (
            field, states, solver.rtol, solver.atol
        )  # fmt: skip
        self._eye = np.eye(field.initial.shape[1], dtype=field.initial.dtype)

    @property
    def faults(self) -> Mapping[int, str]:
        """See `Attempts.faults`; what has no derivative where it is cannot be stepped either."""
        return {
            **self._field.breaks(self.tape[len(self.tape.sizes)].state[0]),
            **self._field.faults,
        }

    def begin(self) -> None:
        """See `Attempts.begin`."""
        self._slope = self._last = self._field.value(self._field.initial)
        self._jacobian = self._field.jacobian(self._field.initial)
        self._worst = np.zeros(len(self._slope))

    def follow(self, before: object) -> None:
        """See `Attempts.follow`."""

    def bound(self) -> tuple[float, float]:
        """See `Attempts.bound`; every step is stable."""
        if not np.isfinite(self._jacobian).all():
            return math.inf, 1.0
        largest = np.linalg.norm(self._jacobian, 2, axis=(1, 2)).max(initial=0.0)
        return math.inf, max(float(largest), float(np.finfo(float).tiny))

    def attempt(self, h: float) -> float:
        """See `Attempts.attempt`."""
        i = len(self.tape.sizes)
        states, K = self.tape[i].state, [self._slope]
        x, scale = states[0], self._atol + self._rtol * np.abs(states[0])
        inverse: Array | None = None
        own = 0.0
        try:
            for s in range(1, self.tableau.stages):
                terms = zip(self.tableau.A[s], K, strict=False)
                known = x + h * sum((w * k for w, k in terms if w), np.zeros_like(x))
                if inverse is None or own != h * self.tableau.own(s):
                    own = h * self.tableau.own(s)
                    inverse = self._inverse(own, self._jacobian)
                if not self._solve(known, own, inverse, known + own * K[-1], scale, states[s]):
                    return math.inf
                K.append((states[s] - known) / own)
        except np.linalg.LinAlgError:
            return math.inf
        assert inverse is not None
        terms = zip(self.tableau.error, K, strict=True)
        weighted = sum((w * k for w, k in terms if w), np.zeros_like(x))
        # Along what is fast the estimate is far too large: it is what an implicit step would leave.
        error = (inverse @ (h * weighted)[..., None])[..., 0]
        error /= self._atol + self._rtol * np.maximum(np.abs(x), np.abs(states[-1]))
        self.tape[i + 1].state[0][...] = states[-1]
        self._last = K[-1]
        self._worst = (error**2).max(axis=1, initial=0.0)
        return math.sqrt(float(np.mean(error**2)))

    def accept(self, h: float) -> float:
        """See `Attempts.accept`."""
        self.tape.sizes.append(h)
        self._slope = self._last
        self._jacobian = self._field.jacobian(self.tape[len(self.tape.sizes)].state[0])
        return math.inf

    def worst(self) -> int:
        """See `Attempts.worst`."""
        return int(self._worst.argmax())

    def keep(self, k: int) -> None:
        """See `Attempts.keep`."""
        self._states[:, k] = self.tape[len(self.tape.sizes)].state[0]

    def _inverse(self, own: float, jacobian: Array) -> Array:
        return np.linalg.inv(self._eye - own * jacobian)

    def _solve(
        self, known: Array, own: float, inverse: Array, x: Array, scale: Array, out: Array
    ) -> bool:
        """Write the solution of X = known + own·f(X) near x to ``out``; whether it was found."""
        before = math.inf
        for _ in range(_ITERATIONS):
            rest = known + own * self._field.value(x) - x
            change = (inverse @ rest[..., None])[..., 0]
            x = x + change
            self._worst = (np.abs(change) / scale).max(axis=1, initial=0.0)
            size = float(self._worst.max(initial=0.0))
            if size <= _SOLVED or _STILL * before < size < _ROUNDED:
                out[...] = x
                return True
            if not size < math.inf:
                return False
            if size > _SLOW * before:
                inverse = self._inverse(own, self._field.jacobian(x))
            before = size
        return False
