"""Derivatives of computed trajectories with respect to all parameters at once, forward in time."""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.course import Passage
from pycellbox.backends.numpy.integrate import Trajectory
from pycellbox.problem import Array


def along(trajectory: Trajectory | Passage) -> Array | None:
    """Return the derivative of the states by the entries of all parameters, (c, t, n, θ).

    It is that of the steps that were taken, as the gradient of the way back is.

    Returns
    -------
    ndarray or None
        None where the field does not know the derivatives, or a pre-treatment has settled.
    """
    if isinstance(trajectory, Trajectory):
        start = trajectory.field.start_slopes()
        return None if start is None else _through(trajectory, start)[0]
    first = trajectory.trajectories[0].field.start_slopes()
    if first is None or trajectory.pretreatment is not None or trajectory.jumps is not None:
        return None
    X = np.where(trajectory.own[:, :, None], first, 0)
    found = np.empty((*trajectory.states.shape, X.shape[2]), X.dtype)
    for piece, part in zip(trajectory.cut, trajectory.trajectories, strict=True):
        states, X = _through(part, X)
        found[:, piece.asked] = states[:, : piece.count]
    return found


def _through(trajectory: Trajectory, X: Array) -> tuple[Array, Array]:
    """Carry dx/dθ, (c, n, θ), through the steps: at the times, and at the end."""
    tape, field, tableau = trajectory.tape, trajectory.field, trajectory.stepper.tableau
    A, b = tableau.A, tableau.b
    found = np.empty((*trajectory.states.shape, X.shape[2]), X.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(len(tape.sizes) + 1):
            for k in np.flatnonzero(np.array(trajectory.steps_at) == step):
                found[:, k] = field.observe_slopes(trajectory.states[:, k], X)
            if step == len(tape.sizes):
                break
            h, states, K = tape.sizes[step], tape[step].state, list[Array]()
            for s in range(len(b)):
                at = X
                for weight, slope in zip(A[s], K, strict=False):
                    at = at + (h * weight) * slope
                found_there = field.slopes(states[s])
                assert found_there is not None  # where the start has one
                of_states, of_parameters = found_there
                K.append(of_states @ at + of_parameters)
            for weight, slope in zip(b, K, strict=True):
                X = X + (h * weight) * slope
    return found, X
