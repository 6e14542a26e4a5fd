"""Parameters as one flat vector: which entry is what, which group it is of, how far it may go."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Parameter:
    """One named parameter of an equation: an array with an entry for each label of its dims.

    Parameters
    ----------
    name : str
    dims : tuple of str
        Names of the dimensions in labelled data: ``node``, or ``target`` and ``source``; another
        one first (``subject``, ``member``) makes the parameter differ along it.
    shape : tuple of int
    group : str or ndarray of str, shape
        Under which learning rates and penalties know an entry; see `pycellbox.Stage`.
    lower, upper : float
        Bounds of the values, in the parameter's unit. A lower one of 0 makes it positive.
    fixed : ndarray of bool, shape, optional
        Entries that are not fitted and keep ``start``.
    start : float or ndarray, shape
        Value from which a fit starts, in the parameter's unit; that of rates is per time scale.
    per_time : bool
        Whether it is a rate, in 1/time. Training then sees it in 1 per ``time_scale`` of
        `pycellbox.Recipe`, and so the same in whatever unit of time the data are.
    labels : tuple of tuple of str
        Along each of its dims, where these are its own; by default the nodes.
    scale : {"linear", "log"}
        Whether an optimizer moves values with a lower bound by factors, whatever else it does.
    prior : Draw, optional
        What is known of each entry before, see `pycellbox.Parameter`.
    along : {"", "condition", "subject"}
        By what it differs: a `Structure` puts that dimension before its own.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    group: Any = "rates"
    lower: float = -math.inf
    upper: float = math.inf
    fixed: Array | None = field(default=None, repr=False)
    start: Any = 0.0
    per_time: bool = False
    labels: tuple[tuple[str, ...], ...] = ()
    scale: str = "linear"
    prior: Any = None
    along: str = ""

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Layout:
    """Parameters one after the other in a vector θ, each in C order.

    Parameters
    ----------
    parameters : tuple of Parameter
    """

    parameters: tuple[Parameter, ...]

    @cached_property
    def size(self) -> int:
        """Length of θ."""
        return sum(p.size for p in self.parameters)

    @cached_property
    def places(self) -> dict[str, slice]:
        """Where each parameter lies in θ."""
        places, at = {}, 0
        for p in self.parameters:
            places[p.name] = slice(at, at + p.size)
            at += p.size
        return places

    def split(self, vector: Array) -> dict[str, Array]:
        """Arrays of the parameters: views of θ, (..., size), with its leading axes."""
        return {
            p.name: vector[..., self.places[p.name]].reshape((*vector.shape[:-1], *p.shape))
            for p in self.parameters
        }

    def join(self, arrays: Mapping[str, Array]) -> Array:
        """θ, (..., size), of arrays that all have the same leading axes."""
        flat = []
        for p in self.parameters:
            array = np.asarray(arrays[p.name])
            flat.append(array.reshape((*array.shape[: array.ndim - len(p.shape)], p.size)))
        joined: Array = np.concatenate(flat, axis=-1) if flat else np.zeros(0)
        return joined

    def spread(self, by_group: Mapping[str, float], default: float = 0.0) -> Array:
        """One number for each entry, (size,), by its group; zero for entries that are fixed."""
        whole = [np.broadcast_to(np.asarray(p.group, dtype=object), p.shape).ravel()
                 for p in self.parameters]  # fmt: skip
        groups = np.concatenate(whole) if whole else np.empty(0, dtype=object)
        values = np.full(self.size, float(default))
        for group, value in by_group.items():
            values[groups == group] = value
        values[self.fixed] = 0.0
        return values

    def has(self, groups: Collection[str]) -> bool:
        """Whether an entry is of one of these groups."""
        return any(np.isin(np.asarray(p.group, dtype=str), list(groups)).any()
                   for p in self.parameters)  # fmt: skip

    @cached_property
    def fixed(self) -> Array:
        """Which entries are not fitted; bool, (size,)."""
        parts = [
            np.zeros(p.size, dtype=bool) if p.fixed is None else np.ravel(p.fixed)
            for p in self.parameters
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)

    @cached_property
    def free(self) -> Array:
        """Numbers of the entries that are fitted, in order."""
        return np.flatnonzero(~self.fixed)

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        """Lower and upper bound of every entry, (size,) each."""
        lower = [np.full(p.size, p.lower) for p in self.parameters]
        upper = [np.full(p.size, p.upper) for p in self.parameters]
        return np.concatenate(lower), np.concatenate(upper)

    def __getitem__(self, name: str) -> Parameter:
        for p in self.parameters:
            if p.name == name:
                return p
        raise KeyError(name)
