"""Derivatives of computed trajectories with respect to all parameters at once, forward in time."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy import bulk
from pycellbox.backends.numpy.course import Passage
from pycellbox.backends.numpy.integrate import Trajectory
from pycellbox.problem import Array


def along(trajectory: Trajectory | Passage) -> Array | None:
    """Return the derivative of the states by the entries of all parameters, (c, t, n, θ).

    It is that of the steps that were taken, as the gradient of the way back is.

    Returns
    -------
    ndarray or None
        None where the field, or a pre-treatment that has not settled, does not know them, and
        where inputs set states anew between phases.
    """
    if isinstance(trajectory, Trajectory):
        start = trajectory.field.start_slopes()
        return None if start is None else _through(trajectory, start)[0]
    first = trajectory.trajectories[0].field.start_slopes()
    if first is None or trajectory.jumps is not None:
        return None
    X = np.where(trajectory.own[:, :, None], first, 0)
    if (before := trajectory.pretreatment) is not None:
        reached = before.slopes()
        if reached is None:
            return None
        X[before.rows] = reached
    found = np.empty((*trajectory.states.shape, X.shape[2]), X.dtype)
    for piece, part in zip(trajectory.cut, trajectory.trajectories, strict=True):
        states, X = _through(part, X)
        found[:, piece.asked] = states[:, : piece.count]
    return found


def _through(trajectory: Trajectory, X: Array) -> tuple[Array, Array]:
    """Carry dx/dθ, (c, n, θ), through the steps: at the times, and at the end."""
    field, asked = trajectory.field, dict[int, list[int]]()
    for k, step in enumerate(trajectory.steps_at):
        asked.setdefault(step, []).append(k)
    found = np.empty((*trajectory.states.shape, X.shape[2]), X.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        after = bulk.forward(field, trajectory.tableau, trajectory.tape, X)
        for step in range(len(trajectory.tape.sizes) + 1):
            X = next(after) if step else X
            for k in asked.get(step, ()):
                found[:, k] = field.observe_slopes(trajectory.states[:, k], X)
    return found, X
