"""What the steps leave for the way back, and the room that the way back needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pycellbox.backends.numpy.folded import FoldedTape
from pycellbox.problem import Array

# Steps are kept, and reversed, in blocks: what can be done for many steps at once then is. A
# block's states take no more than this, so that one reversed step after another stays in the cache.
_BLOCK_BYTES = 2**17


@dataclass(frozen=True)
class Record:
    """One step: per stage the state, φ and, if the slope needs it, z; each (c, n)."""

    state: tuple[Array, ...]
    phi: tuple[Array, ...]
    z: tuple[Array, ...] | None
    flat: tuple[Array, ...]
    """The states once more, as (c·n,)."""


class Block:
    """Some steps in a row, as whole arrays (steps, stages, c, n) and step by step."""

    def __init__(self, room: Array, shape: tuple[int, int, int, int]) -> None:
        arrays = [row[: math.prod(shape)].reshape(shape) for row in room]
        self.state, self.phi = arrays[0], arrays[1]
        self.z = arrays[2] if len(arrays) == 3 else None

    @cached_property
    def records(self) -> list[Record]:
        """Step by step."""
        flat = self.state.reshape(*self.state.shape[:2], -1)
        return [
            Record(
                tuple(self.state[i]),
                tuple(self.phi[i]),
                None if self.z is None else tuple(self.z[i]),
                tuple(flat[i]),
            )
            for i in range(len(self.state))
        ]


class Sweep:
    """Room for the reversal of one block: κ and g as whole arrays and step by step.

    ``stages[i]`` has of step i, from its last stage to its first, κ as (c·n,), κ and g.
    """

    def __init__(self, shape: tuple[int, int, int, int], dtype: np.dtype) -> None:
        self.kappa, self.g = np.empty(shape, dtype), np.empty(shape, dtype)
        flat = self.kappa.reshape(*shape[:2], -1)
        self.stages = [
            tuple(zip(flat[i, ::-1], self.kappa[i, ::-1], self.g[i, ::-1], strict=True))
            for i in range(shape[0])
        ]


class Tape:
    """Records of the steps, reused from one integration to the next.

    Parameters
    ----------
    stages, conditions, nodes : int
        ``conditions`` is the largest number to be integrated at once.
    dtype : dtype
        Of the states.
    keep : bool
        Keep every step for the reverse sweep, or only the two that a running solve needs.
    with_z : bool
        Keep what goes into the envelope too.
    """

    def __init__(
        self, stages: int, conditions: int, nodes: int, dtype: np.dtype, keep: bool, with_z: bool
    ) -> None:
        self._stages, self._nodes, self.keep, self._dtype = stages, nodes, keep, dtype
        size = stages * conditions * nodes
        fitting = _BLOCK_BYTES // max(size * np.dtype(dtype).itemsize, 1)
        self.steps_per_block = max(fitting, 1) if keep else 2
        self._room = (3 if with_z else 2, self.steps_per_block * size)
        self._rooms: list[Array] = []
        self._blocks: list[Block] = []
        self._c = conditions
        self.sizes: list[float] = []

    def bytes(self, steps: int) -> float:
        """Return what keeping so many steps takes."""
        arrays, entries = self._room
        return arrays * entries / self.steps_per_block * steps * np.dtype(self._dtype).itemsize

    @property
    def _shape(self) -> tuple[int, int, int, int]:
        return (self.steps_per_block, self._stages, self._c, self._nodes)

    def begin(self, conditions: int) -> None:
        """Forget the steps and get ready for so many conditions."""
        if conditions != self._c:
            self._c = conditions
            self._blocks = []
            for room in ("sweep", "folded"):
                self.__dict__.pop(room, None)
        self.sizes.clear()

    def __getitem__(self, step: int) -> Record:
        block, index = divmod(step, self.steps_per_block)
        return self.block(block if self.keep else 0).records[index]

    def block(self, index: int) -> Block:
        """Return the steps from ``index * steps_per_block`` on."""
        while len(self._blocks) <= index:
            if len(self._rooms) == len(self._blocks):
                self._rooms.append(np.empty(self._room, self._dtype))
            self._blocks.append(Block(self._rooms[len(self._blocks)], self._shape))
        return self._blocks[index]

    @cached_property
    def sweep(self) -> Sweep:
        """Room for reversing a block."""
        return Sweep(self._shape, self._dtype)

    @cached_property
    def folded(self) -> FoldedTape:
        """The tape of small networks."""
        return FoldedTape(self._stages, self._nodes, self._c, self._dtype, self.keep)
