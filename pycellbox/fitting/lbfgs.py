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

    A trial point at which the trajectory blows up has the line search try half of the step.

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

    start = pack(raw)
    value, loss, gradient = objective.value_and_gradient(raw, rows)
    at = start.copy(), value, pack(gradient)
    if report(raw, value, loss, norm(gradient, layout)):
        return
    # SciPy before 1.12 leaves a circle that holds the functions it was given, and what they hold.
    of, told = [objective], [report]
    seen: dict[bytes, tuple[Array, float, float, Array]] = {}

    def evaluate(x: Array) -> tuple[float, Array]:
        point = unpack(x)
        try:
            value, loss, gradient = of[0].value_and_gradient(point, rows)
        except DivergenceError:
            # As high as where the step began and as steep, upwards: a line search, which
            # interpolates, halves the step. A wall of any height it would but creep away from.
            origin, value, slope = at
            step = x - origin
            rise = abs(float(slope @ step)) / max(float(step @ step), np.finfo(float).tiny)
            return value, rise * step
        seen[x.tobytes()] = (point, value, loss, gradient)
        return value, pack(gradient)

    def accepted(intermediate_result: object) -> None:
        nonlocal at
        x: Array = intermediate_result.x  # type: ignore[attr-defined]
        update = seen.get(x.tobytes())
        seen.clear()
        if update is None:
            return
        point, value, loss, gradient = update
        at = x.copy(), value, pack(gradient)
        if told[0](point, value, loss, norm(gradient, layout)):
            raise StopIteration

    try:
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
    finally:
        of.clear()
        told.clear()
