"""Attempts of steps in place, of networks and of any field."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pycellbox.backends.numpy.control import Attempts
from pycellbox.backends.numpy.generic import FieldStepper
from pycellbox.backends.numpy.kernel import Stepper
from pycellbox.backends.numpy.tape import Record, Tape
from pycellbox.numerics.equations import Field
from pycellbox.problem import Array


class TapeSteps:
    """See `pycellbox.backends.numpy.control.Attempts`; the steps are written to a tape."""

    def __init__(
        self, stepper: Stepper, field: Field, tape: Tape, states: Array, solver: Any
    ) -> None:
        self.stepper, self.field, self.tape, self.solver = stepper, field, tape, solver
        self._states = states
        self.tableau, self.faults = stepper.tableau, field.faults
        self._scale = np.empty_like(field.initial)
        self._error = np.empty_like(field.initial)
        self._bound = field.step_bound()
        self.everywhere = self._bound is not None

    def bound(self) -> tuple[float, float]:
        """See `Attempts.bound`."""
        if self._bound is not None:
            return self._bound
        assert isinstance(self.stepper, FieldStepper)
        return self.stepper.bound(self.tape[len(self.tape.sizes)].state[0])

    def follow(self, before: Attempts) -> None:
        """See `Attempts.follow`."""
        if isinstance(before, TapeSteps):
            assert isinstance(self.stepper, FieldStepper)
            self.stepper.go_on(before.stepper)

    def begin(self) -> None:
        """See `Attempts.begin`; the first stage goes into the record."""
        st, record = self.stepper, self.tape[0]
        st.set_step(1.0)
        z = None if record.z is None else record.z[0]
        st.increment(record.state[0], record.phi[0], z, st.kh[0])

    def attempt(self, h: float) -> float:
        """See `Attempts.attempt`."""
        i = len(self.tape.sizes)
        record, following = self.tape[i], self.tape[i + 1]
        self.stepper.set_step(h)
        # The first stage stands in the record: the last evaluation of the step before.
        self.stepper.step(record, following.state[0], first_known=True)
        return self._error_norm(record, following)

    def accept(self, h: float) -> float:
        """See `Attempts.accept`."""
        self.tape.sizes.append(h)
        return self.bound()[0]

    def worst(self) -> int:
        """See `Attempts.worst`."""
        return int(np.abs(self._error).max(axis=1, initial=0.0).argmax())

    def keep(self, k: int) -> None:
        """See `Attempts.keep`."""
        self._states[:, k] = self.tape[len(self.tape.sizes)].state[0]

    def _error_norm(self, record: Record, following: Record) -> float:
        st, error, scale = self.stepper, self._error, self._scale
        z = None if following.z is None else following.z[0]
        st.increment(following.state[0], following.phi[0], z, st.kh[-1])
        st.error(error)
        np.maximum(np.abs(record.state[0]), np.abs(following.state[0]), out=scale)
        np.multiply(scale, self.solver.rtol, out=scale)
        np.add(scale, self.solver.atol, out=scale)
        np.divide(error, scale, out=error)
        return _rms(error)


def _rms(values: Array) -> float:
    flat = values.ravel()
    return math.sqrt(float(np.dot(flat, flat)) / flat.size)
