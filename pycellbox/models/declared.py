"""Parameters of equations of one's own, as users declare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import (
    NAMED,
    Value,
    checked,
    choice,
    flag,
    instance,
    integer,
    number,
    optional,
    settle,
    shown,
)
from pycellbox.errors import OptionError
from pycellbox.models.draws import Draw, draw_from

Array = npt.NDArray[Any]
MOST = 1_000_000
"""Entries of a parameter."""


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
    prior=optional(instance(Draw, "a distribution, such as pcb.normal(0, 1)")),
    dims=optional(choice("condition", "subject")),
)
@dataclass(frozen=True)
class Parameter:
    """A parameter of an equation of one's own.

    Parameters
    ----------
    start : float, array-like or Draw, optional
        Value from which a fit starts, in the parameter's own unit, or `pycellbox.uniform` or
        `pycellbox.normal` and the like, from which it is drawn. Default: the median of the prior;
        between its bounds where it has both
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
    prior : Draw, optional
        What is known of each of its entries before: `pycellbox.normal`, `lognormal`, or `uniform`
        and `loguniform`, which are bounds. A fit minimizes −log of the posterior density, as its
        objective counts: the sum over measurements of (predicted − observed)²/(2 sigma²), and of
        the squared distances to the priors' means in standard deviations, halved, both divided by
        half the number of measurements (Huber's loss and "mae": by their number). Of a lognormal
        these are distances of logarithms, so that its median is the most probable. Where the data
        have no ``sigma``, the noise counts as 1 in the unit of the response, with a warning.
    dims : {None, "condition", "subject"}
        By what it differs: each condition of the data, or each subject (the coordinate ``subject``:
        an animal, a patient, a cell line), has one of its own, with this start and these bounds.
        Equations name it as if there were one. Predictions are for conditions, or subjects, of the
        fit. By default all share one.

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
    prior: Draw | None = None
    dims: Literal["condition", "subject"] | None = None

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
        prior = self.prior
        if prior is not None and prior.by_factors and low < 0:
            raise OptionError(
                f"Parameter: prior={prior} of one that may be negative; positive=True."
            )
        if isinstance(self.start, Draw):
            start = self.start
            if math.isinf(start.ends[1]) and (high < math.inf or low > start.ends[0]):
                raise OptionError(
                    f"Parameter: a {start.kind} start goes beyond the bounds; use pcb.uniform or "
                    "pcb.loguniform."
                )
            if np.any(self.fixed):
                raise OptionError("Parameter: what is fixed has a number as its start.")
            ends = [end for end in start.ends if math.isfinite(end)]
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
        free, drawn = ~self.held, isinstance(self.start, Draw) and self.start.by_factors
        if self.scale == "log" and not drawn and (np.ravel(ends)[: free.size] <= 0).any():
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
        high = math.inf if self.upper is None else self.upper
        if self.prior is not None and math.isfinite(self.prior.ends[1]):
            return max(low, self.prior.ends[0]), min(high, self.prior.ends[1])
        return low, high

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
        if self.prior is not None:
            return self.prior.middle
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
        told = {name: getattr(self, name) for name in ("lower", "upper", "fixed", "dims")}
        told |= {"positive": self.positive, "scale": self.scale, "shape": list(self.shape or ())}
        for name in ("start", "prior"):
            one = getattr(self, name)
            told[name] = one.to_dict() if isinstance(one, Draw) else one
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
        for name in ("start", "prior"):
            if name in given:
                given[name] = draw_from(name, given[name])
        return cls(**given)

    def __repr__(self) -> str:
        plain = {option.name: option.default for option in fields(self)}
        plain["shape"] = np.shape(self.middle)
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


def starts_of(
    parameter: Parameter,
    rng: np.random.Generator | None = None,
    shape: tuple[int, ...] | None = None,
) -> Array:
    """Return starts of all entries; those that are drawn at their median without a generator.

    Where it differs by something, ``shape`` is with the axis of that.
    """
    start, shape = parameter.start, parameter.shape if shape is None else shape
    if isinstance(start, Draw) and rng is not None:
        return start.sample(rng, shape)
    return np.array(np.broadcast_to(np.asarray(parameter.middle), shape), dtype=np.float64)
