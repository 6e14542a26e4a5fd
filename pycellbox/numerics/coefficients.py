"""The arrays of the kernel to which every network is reduced.

dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pycellbox.problem import Array


@dataclass(frozen=True)
class Coefficients:
    """M (n, n) and a, b, c (n,) of the kernel, or their gradient.

    Beside them shifts, (k, n), of which a drive's ``reach`` says how much is a part of p (None:
    none).
    """

    M: Array
    a: Array
    b: Array
    c: Array
    shifts: Array | None = None


@dataclass(frozen=True)
class Drive:
    """p inside the envelope, v outside it (None: absent), and the initial state, each (c, n).

    Beside them the perturbation u that they were made of, where gradients go back to it, which
    nodes move, as numbers 0 and 1 (None: all), and how much of each shift is a part of p, (c, k)
    (None: there are none).
    """

    inside: Array | None
    outside: Array | None
    initial: Array
    perturbation: Array | None = None
    moves: Array | None = None
    reach: Array | None = None

    def laid(self, coefficients: Coefficients) -> Drive:
        """Return it with the shifts in p."""
        if self.reach is None:
            return self
        assert self.inside is not None
        inside = self.inside + self.reach @ coefficients.shifts
        return replace(self, inside=inside.astype(self.initial.dtype))

    def rows(self, index: Array | slice) -> Drive:
        """Drive of some of the conditions."""

        def pick(array: Array | None) -> Array | None:
            return None if array is None else np.ascontiguousarray(array[index])

        initial = np.ascontiguousarray(self.initial[index])
        return Drive(
            pick(self.inside),
            pick(self.outside),
            initial,
            pick(self.perturbation),
            pick(self.moves),
            pick(self.reach),
        )
