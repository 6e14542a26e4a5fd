"""An entry of a parameter, as what is stepped along and held."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import OptionError
from pycellbox.problem import Array, Parameters

if TYPE_CHECKING:
    from pycellbox.posterior.density import Posterior

_FAR = math.log(1e6)


@dataclass(frozen=True)
class Entry:
    """An entry of a parameter, as what it is stepped along and held at.

    Attributes
    ----------
    posterior : Posterior
    name : str
        With its labels.
    parameter, at : str and int
        Its parameter, and its number in that.
    raw : int
        Its number in θ.
    tie : int or None
        That of what has to be added to it: the common column of drugs.
    bounds : tuple of float
    typical : tuple of float
        Its start, and the size of the parameter's entries.
    unit : float
        What makes of it a value in the unit of the data.
    """

    posterior: Posterior
    name: str
    parameter: str
    at: int
    raw: int
    tie: int | None
    bounds: tuple[float, float]
    typical: tuple[float, float]
    unit: float

    def value(self, raw: Array) -> float:
        """Its value in time scales."""
        return float(np.ravel(self.posterior.pair.constrain(raw)[self.parameter])[self.at])

    def placed(self, raw: Array, value: float) -> Array:
        """θ with this value, all other effective entries as they are."""
        pair = self.posterior.pair
        effective: Parameters = {k: np.array(v) for k, v in pair.constrain(raw).items()}
        effective[self.parameter].flat[self.at] = value
        found = raw.copy()
        if self.tie is not None:
            found[self.raw] = value - raw[self.tie]
        else:
            found[self.raw] = pair.unconstrain(effective)[self.raw]
        return found

    @cached_property
    def span(self) -> Array:
        """Directions of free entries of θ that leave it where it is."""
        free = self.posterior.pair.layout.free
        whole, own = np.eye(free.size), free == self.raw
        if self.tie is not None:
            whole[own, free == self.tie] = -1
        return whole[:, ~own]

    def along(self, value: float) -> float:
        """Where a value lies on the scale on which it is stepped: logarithms of what is bounded."""
        low, high = self.bounds
        with np.errstate(divide="ignore"):
            below = np.log(value - low) if low > -math.inf else 0.0
            above = np.log(high - value) if high < math.inf else 0.0
        return float(below - above) if math.isfinite(low) or math.isfinite(high) else value

    def back(self, z: float) -> float:
        """Return the value at a place of that scale."""
        low, high = self.bounds
        if math.isinf(low) and math.isinf(high):
            return z
        if math.isinf(high):
            return low + math.exp(z)
        if math.isinf(low):
            return high - math.exp(-z)
        return low + (high - low) * 0.5 * (1 + math.tanh(z / 2))

    def reach(self, value: float) -> tuple[float, float]:
        """How far it is stepped from a value, on that scale: a million times, or to a bound."""
        low, high = self.bounds
        if math.isinf(low) and math.isinf(high):
            size = max(abs(value), *map(abs, self.typical)) or 1.0
            return value - 1e3 * size, value + 1e3 * size
        if math.isfinite(low) and math.isfinite(high):
            return -_FAR, _FAR
        end = low if math.isfinite(low) else high
        size = math.log(max(abs(value - end), abs(self.typical[0] - end)) or 1.0)
        ends = size - _FAR, size + _FAR
        return ends if math.isfinite(low) else (-ends[1], -ends[0])


def named(posterior: Posterior, names: tuple[str, ...] | None, what: str) -> list[str]:
    """Return the entries that names stand for: those of a parameter, or a single one.

    Raises
    ------
    OptionError
        There is none of that name that is fitted.
    """
    known = {name.replace(" ", ""): name for name in posterior.names}
    if names is None:
        return list(posterior.names)
    found: dict[str, None] = {}
    for name in names:
        plain = name.replace(" ", "")
        of_it = [one for key, one in known.items() if key == plain or key.startswith(f"{plain}[")]
        if not of_it:
            parameter = plain.split("[")[0]
            inside = [p for p in posterior.layout.parameters if p.name == parameter]
            why = "is not fitted" if inside else f"is none{did_you_mean(name, posterior.names)}"
            some = list(posterior.names[:8])
            more = ", …" if len(posterior.names) > 8 else ""
            raise OptionError(
                f"{what}: {shown(name)} {why}; what is fitted: {', '.join(some)}{more}."
            )
        found |= dict.fromkeys(of_it)
    return list(found)
