"""Levels that are fitted beside a model's parameters: where nodes are held, or states begin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pycellbox.backends.protocol import Backend, Session
from pycellbox.errors import BackendError
from pycellbox.models.structure import LEVEL
from pycellbox.numerics.equations import START
from pycellbox.numerics.sessions import PlainSession
from pycellbox.numerics.solution import Solution
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver

_STEP = 3e-3
"""Of a level, relative to its size: of trajectories to five digits it has a derivative to two."""
_LEAST = 1e-3


def session_of(
    backend: Backend, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
) -> Session:
    """Hold a problem, with the levels that its data ask for; see `Backend.session`."""
    if not problem.structure.levels:
        return backend.session(problem, solver, loss, gradient)
    if why := backend.supports(solver, gradient, inputs=True, treated=True):
        raise BackendError(why)
    plain = replace(problem, structure=problem.structure.plain)
    return LevelSession(backend.session(plain, solver, loss, gradient), problem)


class LevelSession(PlainSession):
    """A session to which levels are parameters, by the derivative of the initial state."""

    def __init__(self, session: Session, problem: Problem) -> None:
        assert problem.treatment is not None
        self._session, self._problem, self._treatment = session, problem, problem.treatment

    @property
    def settled(self) -> Array | None:
        """See `pycellbox.backends.protocol.Session.settled`."""
        return self._session.settled

    def warm(self) -> Parameters:
        """See `pycellbox.backends.protocol.Session.warm`."""
        return self._session.warm()

    def warm_up(self, state: Parameters) -> None:  # type: ignore[override]
        """See `pycellbox.backends.protocol.Session.warm_up`."""
        self._session.warm_up(state)

    def solution(self, parameters: Parameters) -> Solution:
        """See `pycellbox.backends.protocol.Session.solution`."""
        return self._session.solution(self._told(parameters))

    def loss(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
    ) -> float:
        """See `pycellbox.backends.protocol.Session.loss`."""
        return self._session.loss(self._told(parameters), rows, prefix)

    def loss_and_gradient(
        self,
        parameters: Parameters,
        rows: Sequence[int] | Array | None = None,
        prefix: int | None = None,
        *,
        inputs: bool = False,
    ) -> tuple[float, Parameters]:
        """See `pycellbox.backends.protocol.Session.loss_and_gradient`."""
        value, gradient = self._session.loss_and_gradient(
            self._told(parameters), rows, prefix, inputs=True
        )
        fitted = self._treatment.fitted
        fitted = fitted if rows is None else fitted[np.asarray(rows)]
        of_levels = np.zeros_like(parameters[LEVEL])
        wanted = fitted >= 0
        np.add.at(of_levels, fitted[wanted], gradient[START][wanted])
        if not inputs:
            gradient = {name: gradient[name] for name in parameters if name != LEVEL}
        return value, gradient | {LEVEL: of_levels}

    def residuals_and_jacobian(self, parameters: Parameters) -> tuple[Array, Array]:
        """See `pycellbox.backends.protocol.Session.residuals_and_jacobian`.

        By levels, which come last, central differences: no backend carries an initial state along.
        """
        told, treatment = self._told(parameters), self._treatment
        residuals, jacobian = self._session.residuals_and_jacobian(told)
        weight = self._problem.weight.astype(np.float64)
        by_level = np.zeros((*weight.shape, parameters[LEVEL].size))
        begin = told[START].astype(np.float64)
        scale = np.sqrt(np.mean(self._problem.response**2, axis=(0, 1), dtype=np.float64))
        for node in np.flatnonzero((treatment.fitted >= 0).any(axis=0)):
            rows = np.flatnonzero(treatment.fitted[:, node] >= 0)
            step = _STEP * max(np.abs(begin[rows, node]).max(), scale[node], _LEAST)
            ends = []
            for end in (step, -step):
                there = begin.copy()
                there[rows, node] += end
                ends.append(self._session.solution(told | {START: there}).states)
            change = (ends[0] - ends[1]) / (2 * step)
            by_level[rows, :, :, treatment.fitted[rows, node]] += change[rows]
        by_level *= weight[..., None]
        return residuals, np.concatenate([jacobian, by_level[weight > 0]], axis=1)

    def _told(self, parameters: Parameters) -> Parameters:
        others = {name: array for name, array in parameters.items() if name != LEVEL}
        return others | {START: self._treatment.begin(parameters[LEVEL])}
