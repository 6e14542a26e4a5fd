"""L-BFGS (SciPy) on raw parameters, full batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.fitting.objective import Objective, norm
from pycellbox.problem import Array
from pycellbox.schedule import LBFGS


def minimize(
    objective: Objective,
    options: LBFGS,
    raw: Array,
    iterations: int,
    rows: Array | None,
    report: Callable[[Array, float, float, float], bool],
) -> None:
    """Minimize from ``raw``.

    ``report`` sees every accepted iterate (raw parameters, objective, loss, norm of the gradient)
    and returns True to stop.

    A trial point at which the trajectory blows up counts as infinitely bad, so that the line
    search comes back with a shorter step.

    Raises
    ------
    DivergenceError
        The start itself blows up.
    """
    from scipy.optimize import minimize

    # Only entries that may move: the rest would blur the curvature.
    layout = objective.parametrization.layout
    free = layout.free

    def pack(values: Array) -> Array:
        return values[free].astype(np.float64)

    def unpack(x: Array) -> Array:
        point = raw.copy()
        point[free] = x
        return point

    seen: dict[bytes, tuple[Array, float, float, float]] = {}
    worst = 0.0

    def evaluate(x: Array) -> tuple[float, Array]:
        nonlocal worst
        point = unpack(x)
        try:
            value, loss, gradient = objective.value_and_gradient(point, rows)
        except DivergenceError:
            # Finite, because the line search interpolates; steep enough to be left at once.
            return 1e3 * (1.0 + abs(worst)), np.zeros_like(x)
        worst = max(worst, value)
        seen[x.tobytes()] = (point, value, loss, norm(gradient, layout))
        return value, pack(gradient)

    def accepted(intermediate_result: object) -> None:
        update = seen.get(intermediate_result.x.tobytes())  # type: ignore[attr-defined]
        seen.clear()
        if update is not None and report(*update):
            raise StopIteration

    start = pack(raw)
    value, loss, gradient = objective.value_and_gradient(raw, rows)
    if report(raw, value, loss, norm(gradient, layout)):
        return
    minimize(
        evaluate,
        start,
        jac=True,
        method="L-BFGS-B",
        callback=accepted,
        options={
            "maxiter": iterations,
            "maxfun": 20 * iterations,
            "maxcor": options.memory,
            "gtol": options.tolerance,
            "ftol": 0.0,
        },
    )
