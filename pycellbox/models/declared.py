"""Parameters of equations of one's own, as users declare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import (
    NAMED,
    Value,
    checked,
    choice,
    flag,
    integer,
    number,
    optional,
    settle,
    shown,
)
from pycellbox.errors import OptionError

Array = npt.NDArray[Any]
MOST = 1_000_000
"""Entries of a parameter."""


@dataclass(frozen=True)
class Draw:
    """Starts that are drawn, anew for every seed of a fit.

    Attributes
    ----------
    kind : {"uniform", "normal"}
    first, second : float
        Bounds, or mean and standard deviation.
    """

    kind: str
    first: float
    second: float

    @property
    def middle(self) -> float:
        """Mean."""
        return (self.first + self.second) / 2 if self.kind == "uniform" else self.first

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draw entries of a shape."""
        drawn: Array = getattr(rng, self.kind)(self.first, self.second, shape)
        return drawn

    def __repr__(self) -> str:
        return f"pcb.{self.kind}({self.first:g}, {self.second:g})"


@checked(low=number(), high=number())
def uniform(low: float, high: float) -> Draw:
    """Draw the start of a parameter between two numbers, for each seed of a fit anew.

    Parameters
    ----------
    low, high : float
        In the parameter's unit; ``low`` is the smaller.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=...)``.

    Raises
    ------
    OptionError
        ``high`` is not larger than ``low``.
    """
    if not low < high:
        raise OptionError(f"uniform({low:g}, {high:g}): the second number needs to be larger.")
    return Draw("uniform", low, high)


@checked(mean=number(), sd=number(0, above=True))
def normal(mean: float, sd: float) -> Draw:
    """Draw the start of a parameter from a normal distribution, for each seed of a fit anew.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation, in the parameter's unit.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=...)``; it needs a parameter without bounds.
    """
    return Draw("normal", mean, sd)


def _read_entries(given: object) -> Any:
    """Read a number, or nested lists of numbers, as tuples."""
    if isinstance(given, Draw):
        return given
    array = np.asarray(given)
    if array.dtype.kind not in "iuf" or array.ndim > 2 or not 0 < array.size <= MOST:
        raise ValueError
    if not np.isfinite(array).all():
        raise ValueError("NaN or infinite")
    return _tuples(array.astype(np.float64))


def _read_fixed(given: object) -> Any:
    array = np.asarray(given)
    if array.dtype.kind != "b" or array.ndim > 2:
        raise ValueError
    return _tuples(array)


def _tuples(array: Array) -> Any:
    entries = array.tolist()
    if array.ndim == 2:
        return tuple(map(tuple, entries))
    return tuple(entries) if array.ndim else entries


def _read_shape(given: object) -> tuple[int, ...]:
    sizes = given if isinstance(given, list | tuple) else (given,)
    found: tuple[int, ...] = tuple(integer(1, MOST).read(size) for size in sizes)
    if len(found) > 2 or math.prod(found) > MOST:
        raise ValueError
    return found


@checked(
    start=optional(Value(_read_entries, "a number, an array of numbers, or pcb.uniform(0, 1)")),
    lower=optional(number()),
    upper=optional(number()),
    positive=flag(),
    scale=choice("linear", "log"),
    fixed=Value(_read_fixed, "True, False, or an array of these"),
    shape=optional(Value(_read_shape, "a size, or one or two of them")),
)
@dataclass(frozen=True)
class Parameter:
    """A parameter of an equation of one's own.

    Parameters
    ----------
    start : float, array-like or Draw, optional
        Value from which a fit starts, in the parameter's own unit, or `pycellbox.uniform` or
        `pycellbox.normal`, from which it is drawn. Default: between its bounds where it has both
        (in the middle, of the logarithms with ``scale="log"``), else 1 above or below its bound, or
        1 where it has none.
    lower, upper : float, optional
        Bounds, which a fit keeps inside of.
    positive : bool
        The same as ``lower=0``.
    scale : {"linear", "log"}
        With "log" it is moved by factors rather than by differences, which suits rates and
        constants whose order of magnitude is not known; it is positive then.
    fixed : bool or array of bool
        Whether it is kept at its start; an array for some of the entries.
    shape : int or tuple of int, optional
        Of a vector or a matrix; by default that of the start.

    Raises
    ------
    OptionError
        An option cannot be, or they contradict each other.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pcb.Parameter(763, fixed=True)
    Parameter(start=763.0, fixed=True)
    >>> pcb.Parameter(shape=(2, 2), start=pcb.uniform(0, 0.1))
    Parameter(start=pcb.uniform(0, 0.1), shape=(2, 2))
    """

    start: Any = None
    lower: float | None = None
    upper: float | None = None
    positive: bool = False
    scale: Literal["linear", "log"] = "linear"
    fixed: Any = False
    shape: Any = None

    def __post_init__(self) -> None:
        if self.shape is None:
            drawn = self.start is None or isinstance(self.start, Draw)
            shape = np.shape(self.fixed if drawn else self.start)
            settle(self, "shape", shape)
        low, high = self.bounds
        if (self.positive or self.scale == "log") and low < 0:
            raise OptionError(f"Parameter: lower={low:g} of a parameter that is positive.")
        if not low < high:
            raise OptionError(f"Parameter: lower={low:g} is not below upper={high:g}.")
        if isinstance(self.start, Draw):
            if self.start.kind == "normal" and (low, high) != (-math.inf, math.inf):
                raise OptionError("Parameter: a normal start has no bounds; use pcb.uniform.")
            if np.any(self.fixed):
                raise OptionError("Parameter: what is fixed has a number as its start.")
            ends = [self.start.first, self.start.second] if self.start.kind == "uniform" else []
        else:
            if self.start is None and np.any(self.fixed):
                raise OptionError(
                    "Parameter: what is fixed needs a start: Parameter(3, fixed=True)."
                )
            ends = list(np.ravel(self._filled("start", self.middle)))
        for end in ends:
            if not low <= end <= high:
                bounds = f"{low:g} to {high:g}"
                raise OptionError(f"Parameter: start={end:g} is not within its bounds, {bounds}.")
        free = ~self.held
        if self.scale == "log" and (np.ravel(ends)[: free.size] <= 0).any():
            raise OptionError("Parameter: a start of scale='log' is above 0.")

    def _filled(self, name: str, values: Any) -> Array:
        try:
            return np.broadcast_to(np.asarray(values), self.shape)
        except ValueError:
            raise OptionError(
                f"Parameter: {name} has the shape {np.shape(values)}, and shape={self.shape}."
            ) from None

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound, infinite where there is none."""
        positive = self.positive or self.scale == "log"
        low = (0.0 if positive else -math.inf) if self.lower is None else self.lower
        return low, math.inf if self.upper is None else self.upper

    @property
    def held(self) -> Array:
        """Which entries are fixed, of its shape."""
        return self._filled("fixed", self.fixed)

    @property
    def middle(self) -> Any:
        """The start, or what stands for it where it is drawn or left open."""
        if isinstance(self.start, Draw):
            return self.start.middle
        if self.start is not None:
            return self.start
        low, high = self.bounds
        if math.isfinite(low) and math.isfinite(high):
            return math.sqrt(low * high) if self.scale == "log" and low else (low + high) / 2
        if math.isfinite(high):
            return high - 1.0
        return low + 1.0 if math.isfinite(low) else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults as plain values.

        Returns
        -------
        dict
            By name.
        """
        told = {name: getattr(self, name) for name in ("lower", "upper", "fixed")}
        told |= {"positive": self.positive, "scale": self.scale, "shape": list(self.shape or ())}
        start = self.start
        told["start"] = start
        if isinstance(start, Draw):
            told["start"] = {"draw": start.kind, "numbers": [start.first, start.second]}
        return {n: v for n, v in told.items() if v is not None and v is not False}

    @classmethod
    @checked(options=NAMED)
    def from_dict(cls, options: Mapping[str, Any]) -> Parameter:
        """Rebuild a parameter from `to_dict`.

        Parameters
        ----------
        options : mapping
            As `to_dict` made them.

        Returns
        -------
        Parameter
            An equal one.

        Raises
        ------
        OptionError
            An option is unknown or cannot be.
        """
        given = dict(options)
        start = given.get("start")
        if isinstance(start, Mapping):
            makers = {"uniform": uniform, "normal": normal}
            numbers, kind = start.get("numbers"), start.get("draw")
            if kind not in tuple(makers) or not isinstance(numbers, list) or len(numbers) != 2:
                raise OptionError(f"Parameter: start={shown(start)} is none.")
            given["start"] = makers[kind](*numbers)
        return cls(**given)

    def __repr__(self) -> str:
        plain = {"start": None, "lower": None, "upper": None, "positive": False,
                 "scale": "linear", "fixed": False, "shape": np.shape(self.middle)}  # fmt: skip
        given = {name: getattr(self, name) for name in plain}
        words = [f"{n}={shown(v)}" for n, v in given.items() if v != plain[n]]
        return f"Parameter({', '.join(words)})"


def _read_parameter(given: object) -> Parameter:
    if isinstance(given, Parameter):
        return given
    try:
        return Parameter(given)
    except OptionError:
        raise ValueError from None


PARAMETER = Value(_read_parameter, "a pcb.Parameter(...), or a number from which it starts")


def starts_of(parameter: Parameter, rng: np.random.Generator | None = None) -> Array:
    """Return starts of all entries; those that are drawn at their mean without a generator."""
    start, shape = parameter.start, parameter.shape
    if isinstance(start, Draw) and rng is not None:
        return start.sample(rng, shape)
    return np.array(np.broadcast_to(np.asarray(parameter.middle), shape), dtype=np.float64)
