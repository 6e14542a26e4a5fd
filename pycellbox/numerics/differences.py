"""Central differences of a loss: slow, and right by construction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.problem import Array, Parameters, Problem

NOT_OF_INPUTS = "finite differences are taken of parameters alone, not of inputs."


class Differentiable(Protocol):
    """What central differences need of a session."""

    problem: Problem

    @property
    def settled(self) -> Array | None:
        """Which conditions settled in the last evaluation; None for trajectories."""
        ...

    def solution(self, parameters: Parameters) -> Solution:
        """States of the problem's conditions."""
        ...

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """Loss, over the first ``prefix`` times if that is given."""
        ...

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """Residuals and their derivative."""
        ...


class FiniteDifferenceSession(PlainSession):
    """Central differences of a session's loss: for checks, one solve pair per parameter."""

    def __init__(self, session: Differentiable) -> None:
        self._session = session
        self.solution, self.loss = session.solution, session.loss
        self.residuals_and_jacobian = session.residuals_and_jacobian

    @property
    def settled(self) -> Array | None:
        """As of the session."""
        return self._session.settled

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`; never of the inputs."""
        layout = self._session.problem.structure.layout
        point = {name: array.copy() for name, array in parameters.items()}
        gradient = {name: np.zeros_like(array) for name, array in point.items()}
        for name, array in point.items():
            # Balances truncation (h²) against rounding (eps/h) of a central difference.
            relative = float(np.cbrt(np.finfo(array.dtype).eps))
            fixed = layout[name].fixed
            for index in np.argwhere(np.ones_like(array) if fixed is None else ~fixed):
                at = tuple(index)
                center = array[at]
                h = relative * max(1.0, abs(float(center)))
                array[at] = center + h
                above, upper = array[at], self.loss(point, rows, prefix)
                array[at] = center - h
                gradient[name][at] = (upper - self.loss(point, rows, prefix)) / (above - array[at])
                array[at] = center
        return self.loss(parameters, rows, prefix), gradient
