"""Distributions of numbers: of where fits start, or of what is known before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import checked, number, shown
from pycellbox.errors import OptionError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Draw:
    """A distribution: of starts, drawn anew for every seed of a fit, or of what is known before.

    Attributes
    ----------
    kind : {"uniform", "normal", "loguniform", "lognormal"}
    first, second : float
        Bounds, or mean and standard deviation; of a lognormal the median, and the standard
        deviation of the logarithm.
    """

    kind: str
    first: float
    second: float

    @property
    def middle(self) -> float:
        """Median."""
        if self.kind == "loguniform":
            return math.sqrt(self.first) * math.sqrt(self.second)
        return (self.first + self.second) / 2 if self.kind == "uniform" else self.first

    @property
    def by_factors(self) -> bool:
        """Whether it is one of logarithms, and so of positive numbers."""
        return self.kind.startswith("log")

    @property
    def ends(self) -> tuple[float, float]:
        """Between which its numbers lie."""
        if self.kind in ("uniform", "loguniform"):
            return self.first, self.second
        return 0.0 if self.by_factors else -math.inf, math.inf

    def sample(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        """Draw entries of a shape."""
        first, second = self.first, self.second
        if not self.by_factors:
            drawn: Array = getattr(rng, self.kind)(first, second, shape)
            return drawn
        if self.kind == "loguniform":
            return np.clip(
                np.exp(rng.uniform(math.log(first), math.log(second), shape)), *self.ends
            )
        with np.errstate(over="ignore"):
            return first * np.exp(rng.normal(0, second, shape))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"draw": self.kind, "numbers": [self.first, self.second]}

    def __repr__(self) -> str:
        return f"pcb.{self.kind}({self.first:g}, {self.second:g})"


@checked(low=number(), high=number())
def uniform(low: float, high: float) -> Draw:
    """Make the uniform distribution between two numbers, of a start or a prior.

    Parameters
    ----------
    low, high : float
        In the parameter's unit; ``low`` is the smaller.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=..., prior=...)``; as a prior it bounds the parameter.

    Raises
    ------
    OptionError
        ``high`` is not larger than ``low``.
    """
    return _between("uniform", low, high)


@checked(low=number(0, above=True), high=number(0, above=True))
def loguniform(low: float, high: float) -> Draw:
    """Make the distribution whose logarithm is uniform between those of two numbers.

    Parameters
    ----------
    low, high : float
        In the parameter's unit, positive; ``low`` is the smaller.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=..., prior=...)``; as a prior it bounds the parameter.

    Raises
    ------
    OptionError
        ``high`` is not larger than ``low``.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pcb.Parameter(pcb.loguniform(1e-3, 1e3), scale="log")
    Parameter(start=pcb.loguniform(0.001, 1000), scale='log')
    """
    return _between("loguniform", low, high)


def _between(kind: str, low: float, high: float) -> Draw:
    if not low < high:
        raise OptionError(f"{kind}({low:g}, {high:g}): the second number needs to be larger.")
    return Draw(kind, low, high)


@checked(mean=number(), sd=number(0, above=True))
def normal(mean: float, sd: float) -> Draw:
    """Make a normal distribution, of a start or a prior.

    Parameters
    ----------
    mean, sd : float
        Mean and standard deviation, in the parameter's unit.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=..., prior=...)``; as a start it needs a parameter without bounds.
    """
    return Draw("normal", mean, sd)


@checked(median=number(0, above=True), sd=number(0, above=True))
def lognormal(median: float, sd: float) -> Draw:
    """Make the distribution whose logarithm is normal, of a start or a prior.

    Parameters
    ----------
    median : float
        In the parameter's unit, positive.
    sd : float
        Standard deviation of the natural logarithm: two thirds of the numbers lie within a factor
        of e^sd around the median.

    Returns
    -------
    Draw
        For ``pcb.Parameter(start=..., prior=...)`` of a parameter that may be any positive number.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> pcb.Parameter(prior=pcb.lognormal(0.5, 1), scale="log")
    Parameter(scale='log', prior=pcb.lognormal(0.5, 1))
    """
    return Draw("lognormal", median, sd)


DRAWS = {one.__name__: one for one in (uniform, normal, loguniform, lognormal)}
"""What makes each kind."""


def draw_from(name: str, given: Any) -> Any:
    """Rebuild a distribution from its `to_dict`; whatever else is given stays as it is."""
    if not isinstance(given, Mapping):
        return given
    numbers, kind = given.get("numbers"), given.get("draw")
    if kind not in tuple(DRAWS) or not isinstance(numbers, list) or len(numbers) != 2:
        raise OptionError(f"Parameter: {name}={shown(given)} is none.")
    return DRAWS[kind](*numbers)
