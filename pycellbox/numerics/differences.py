"""Central differences of a loss: slow, and right by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pycellbox.problem import Array, Parameters, Problem


class Differentiable(Protocol):
    """What central differences need of a session."""

    problem: Problem

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """Loss, over the first ``prefix`` times if that is given."""
        ...


class FiniteDifferenceSession:
    """Central differences of a session's value: for checks, one solve pair per parameter."""

    def __init__(self, session: Differentiable) -> None:
        self._session = session

    @property
    def settled(self) -> Array:
        """As of the session."""
        settled: Array = self._session.settled  # type: ignore[attr-defined]
        return settled

    def value_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.value_and_gradient`."""
        mask = self._session.problem.structure.mask

        def value(parameters: Parameters) -> float:
            return self._session.value(parameters, rows, prefix)

        point = {name: array.copy() for name, array in parameters.items()}
        gradient = {name: np.zeros_like(array) for name, array in point.items()}
        for name, array in point.items():
            # Balances truncation (h²) against rounding (eps/h) of a central difference.
            relative = float(np.cbrt(np.finfo(array.dtype).eps))
            for index in np.argwhere(mask) if name == "W" else np.argwhere(array == array):
                at = tuple(index)
                center = array[at]
                h = relative * max(1.0, abs(float(center)))
                array[at] = center + h
                above, upper = array[at], value(point)
                array[at] = center - h
                gradient[name][at] = (upper - value(point)) / (above - array[at])
                array[at] = center
        return value(parameters), gradient

    def value(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.value`."""
        return self._session.value(parameters, rows, prefix)
