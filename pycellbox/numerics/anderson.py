"""Fixed points by Anderson's acceleration, all conditions together."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pycellbox.problem import Array

_MEMORY = 4


def fixed_point(
    step: Callable[[Array, Array], None],
    start: Array,
    tolerance: Array,
    limit: int,
    correction: Array | None = None,
) -> tuple[Array, Array]:
    """Iterate x ← x + (G(x) − x)K with acceleration until |G(x) − x| is small in every row.

    The combination of the last few iterates is chosen once for all rows, by least squares over
    their residuals.

    Parameters
    ----------
    step : callable (x, out)
        Writes G(x) to ``out``.
    start : ndarray, (c, n)
    tolerance : ndarray, (c,)
        Largest residual allowed in each row.
    limit : int
        Evaluations of G at most.
    correction : ndarray, (n, n), optional
        K, which makes this Newton's method with one matrix for all rows; given up where it leads
        astray. Without it K is the identity.

    Returns
    -------
    x : ndarray, (c, n)
        The last iterate.
    residual : ndarray, (c,)
        max |G(x) − x| over each row.
    """
    c, n = start.shape
    x, image = start.copy(), np.empty_like(start)
    f, f_last, image_last = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    df, dg = (np.empty((_MEMORY, c * n), x.dtype) for _ in range(2))
    gram = np.empty((_MEMORY, _MEMORY), x.dtype)
    kept, accelerating = 0, False
    lowest = before = np.inf
    loosest = float(tolerance.max(initial=0))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(limit):
            step(x, image)
            np.subtract(image, x, out=f)
            worst = max(float(f.max(initial=0)), -float(f.min(initial=0)))
            if not math.isfinite(worst):
                break
            # Row by row only when all of them may be done: that takes longer than one maximum.
            if worst <= loosest and (_largest(f) <= tolerance).all():
                break
            # Far above the best the combination has gone astray: begin anew from here.
            if worst > 10 * lowest:
                kept, correction = 0, None
                accelerating = False
            lowest = min(lowest, worst)
            if correction is not None:
                np.matmul(f, correction, out=image)
                f, image = image, f
                np.add(x, f, out=image)
            if accelerating:
                slot = kept % _MEMORY
                np.subtract(f.ravel(), f_last.ravel(), out=df[slot])
                np.subtract(image.ravel(), image_last.ravel(), out=dg[slot])
                kept += 1
                used = min(kept, _MEMORY)
                gram[slot, :used] = gram[:used, slot] = df[:used] @ df[slot]
            # While the residual halves by itself, the plain iteration costs less.
            accelerating |= k >= 1 and worst > before / 2
            before = worst
            f, f_last, image, image_last = f_last, f, image_last, image
            used = min(kept, _MEMORY)
            if used == 0:
                np.copyto(x, image_last)
                continue
            weights = _combination(gram[:used, :used], df[:used] @ f_last.ravel())
            np.subtract(image_last.ravel(), weights @ dg[:used], out=x.reshape(-1))
        else:
            step(x, image)
            np.subtract(image, x, out=f)
    return x, _largest(f)


def _largest(f: Array) -> Array:
    """Largest magnitude in each row."""
    largest: Array = np.maximum(f.max(axis=1), -f.min(axis=1))
    return largest


def _combination(gram: Array, right: Array) -> Array:
    """Least squares by the normal equations; nearly parallel differences count as one."""
    size = np.sqrt(gram.diagonal()) + np.finfo(gram.dtype).tiny
    scaled = gram / size / size[:, None]
    scaled.flat[:: len(size) + 1] += 100 * np.finfo(gram.dtype).eps
    solution: Array = np.linalg.solve(scaled, right / size) / size
    return solution
