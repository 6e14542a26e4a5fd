"""Which steps are taken, and where the requested times lie among them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pycellbox.numerics.segments import Piece
from pycellbox.numerics.steps import fixed_steps
from pycellbox.problem import Array
from pycellbox.solvers import FixedStep


class Grid(NamedTuple):
    """Step sizes, (s,), and the index of the requested time that each step reaches, (s,).

    Steps that reach none have the number of requested times. Steps of size zero change nothing:
    a program is compiled for a number of steps, and they fill it up.

    With a treatment also the segment that each step is in, (s,); a step of size zero begins it.
    """

    sizes: Any
    slots: Any
    segments: Any = None

    @classmethod
    def equal(cls, solver: FixedStep, times: Array, prefix: int) -> Grid:
        """Equal steps between requested times, as the NumPy backend's; none beyond the prefix."""
        sizes: list[float] = []
        slots: list[int] = []
        for slot, (count, h) in enumerate(fixed_steps(solver, times)):
            if count == 0:  # a first requested time of 0
                continue
            used = slot < prefix
            sizes += [h if used else 0.0] * count
            slots += [times.size] * (count - 1) + [slot if used else times.size]
        return cls(np.array(sizes), np.array(slots, dtype=np.int32))

    @classmethod
    def between(cls, ends: Array, times: Array, prefix: int) -> Grid:
        """Take steps with these ends, among them the requested times of the prefix."""
        slots = np.full(ends.size, times.size, dtype=np.int32)
        for slot, time in enumerate(times[:prefix]):
            if time > 0:
                slots[np.argmin(np.abs(ends - time))] = slot
        return cls(np.diff(ends, prepend=0.0), slots)

    @classmethod
    def joined(cls, parts: list[tuple[Piece, Grid]], times: int) -> Grid:
        """Put the steps of each segment one after the other, each behind one that begins it."""
        sizes: list[Array] = []
        slots: list[Array] = []
        segments: list[Array] = []
        for piece, grid in parts:
            here = grid.slots < piece.count
            begins = piece.asked.start if piece.count and piece.times[0] == 0 else times
            sizes += [np.zeros(1), grid.sizes]
            slots += [np.array([begins]), np.where(here, piece.asked.start + grid.slots, times)]
            segments.append(np.full(1 + grid.sizes.size, piece.segment))
        whole = (np.concatenate(indices).astype(np.int32) for indices in (slots, segments))
        return cls(np.concatenate(sizes), *whole)

    def filled(self, count: int, times: int, dtype: Any) -> Grid:
        """Fill up to so many steps."""
        spare = count - self.sizes.size
        segments = self.segments
        if segments is not None:
            segments = np.concatenate([segments, np.repeat(segments[-1:], spare)])
        return Grid(
            np.concatenate([self.sizes, np.zeros(spare)]).astype(dtype),
            np.concatenate([self.slots, np.full(spare, times, dtype=np.int32)]),
            segments,
        )
