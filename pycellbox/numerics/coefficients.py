"""The arrays of the kernel to which every network is reduced.

dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.problem import Array


@dataclass(frozen=True)
class Coefficients:
    """M (n, n) and a, b, c (n,) of the kernel, or their gradient."""

    M: Array
    a: Array
    b: Array
    c: Array


@dataclass(frozen=True)
class Drive:
    """p inside the envelope, v outside it (None: absent), and the initial state, each (c, n).

    Beside them the perturbation u that they were made of, where gradients go back to it, and which
    nodes move, as numbers 0 and 1 (None: all).
    """

    inside: Array | None
    outside: Array | None
    initial: Array
    perturbation: Array | None = None
    moves: Array | None = None

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
        )
