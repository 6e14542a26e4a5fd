"""Raw parameters, which an optimizer may move freely, and the effective ones they stand for."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import numpy as np

from pycellbox.models import Layout, Parameter, Structure
from pycellbox.problem import Array, Parameters

Positive = Literal["softplus", "log"]

# Of the largest: the logarithm of nothing would be −∞, from where no step leads back.
_LEAST = 1e-6


class Parametrization:
    """The pair of maps between a vector θ of raw values and effective parameters.

    An entry with a lower bound stands at that bound plus softplus of its raw value, or plus its
    exponential; one with an upper bound, as far below it; one with two between them, at the
    logistic function of it, of logarithms where it has that scale; any other is its own raw value.
    Fixed entries keep their start.

    Parameters
    ----------
    structure : Structure
    positive : {"softplus", "log"}
        What raw values of bounded entries are.

    Attributes
    ----------
    layout : Layout
        Of θ.
    """

    def __init__(self, structure: Structure, positive: Positive = "softplus") -> None:
        self.structure, self.positive = structure, positive
        self.layout = Layout(self._raw_parameters())

    def _raw_parameters(self) -> tuple[Parameter, ...]:
        return tuple(
            dataclasses.replace(p, lower=-math.inf, upper=math.inf)
            for p in self.structure.layout.parameters
        )

    def constrain(self, vector: Array) -> Parameters:
        """Effective parameters of θ, (size,), in its dtype."""
        return self._tie({n: self._value(n, raw) for n, raw in self.layout.split(vector).items()})

    def unconstrain(self, parameters: Mapping[str, Array]) -> Array:
        """θ of effective parameters."""
        return self.layout.join(
            {
                name: self._raw(name, value).astype(value.dtype, copy=False)
                for name, value in self._untie(parameters).items()
            }
        )

    def pull_back(self, vector: Array, gradient: Mapping[str, Array]) -> Array:
        """Return the derivative by θ, (..., size), from that by the effective parameters.

        The arrays of ``gradient`` may have leading axes, which stay.
        """
        untied, raw = self.pull_back_ties(gradient), self.layout.split(vector)
        return self.layout.join(
            {
                name: (untied[name] * self.slope(name, raw[name])).astype(vector.dtype, copy=False)
                if self._bounded(name)
                else untied[name]
                for name in raw
            }
        )

    def slope(self, name: str, raw: Array) -> Array:
        """Differentiate the effective values of a parameter by its raw ones, entry by entry."""
        if not self._bounded(name):
            return np.ones_like(raw)
        lower, upper = self._bounds(name)
        if -math.inf < lower and upper < math.inf:
            inner: Array = 0.25 * (1 - np.tanh(raw / 2) ** 2)
            if lower > 0 and self._scale(name) == "log":
                inner = self._value(name, raw) * np.log(upper / lower) * inner
                return inner
            return (upper - lower) * inner
        # softplus' is the logistic function, written so that it cannot overflow.
        slope = np.exp(raw) if self._by_factors(name) else 0.5 * (1 + np.tanh(raw / 2))
        return -slope if upper < math.inf else slope

    def bend(self, name: str, raw: Array) -> Array:
        """Differentiate the logarithm of `slope` by raw values, entry by entry."""
        if not self._bounded(name):
            return np.zeros_like(raw)
        lower, upper = self._bounds(name)
        if -math.inf < lower and upper < math.inf:
            found: Array = -np.tanh(raw / 2)
            if lower > 0 and self._scale(name) == "log":
                found = found + self.slope(name, raw) / self._value(name, raw)
            return found
        return np.ones_like(raw) if self._by_factors(name) else 0.5 * (1 - np.tanh(raw / 2))

    @cached_property
    def logarithms(self) -> Array:
        """Which entries of θ, (size,), are logarithms of how far values are from a bound."""
        parts = [
            np.full(p.size, self._bounded(p.name) and self._by_factors(p.name))
            for p in self.layout.parameters
        ]
        return np.concatenate(parts) if parts else np.zeros(0, bool)

    def _tie(self, values: dict[str, Array]) -> Parameters:
        """Make the effective parameters of values in the order of θ."""
        return values

    def _untie(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        return dict(parameters)

    def pull_back_ties(self, gradient: Mapping[str, Array]) -> dict[str, Array]:
        """Return the derivative by the values that θ stands for, before bounds and after ties."""
        out = {}
        for p in self.layout.parameters:
            if p.name in gradient:
                value = gradient[p.name]
                out[p.name] = value if p.fixed is None else np.where(p.fixed, 0, value)
        return out

    def _value(self, name: str, raw: Array) -> Array:
        p = self.layout[name]
        if self._bounded(name):
            lower, upper = self._bounds(name)
            if -math.inf < lower and upper < math.inf:
                share = 0.5 * (1 + np.tanh(raw / 2))
                if lower > 0 and self._scale(name) == "log":
                    raw = lower * (upper / lower) ** share
                else:
                    raw = lower + (upper - lower) * share
            else:
                raw = np.exp(raw) if self._by_factors(name) else np.logaddexp(0, raw)
                if upper < math.inf:
                    raw = upper - raw
                elif lower:
                    raw = raw + lower
        return raw if p.fixed is None else np.where(p.fixed, p.start, raw).astype(raw.dtype)

    def _raw(self, name: str, value: Array) -> Array:
        if not self._bounded(name):
            return value
        lower, upper = self._bounds(name)
        if -math.inf < lower and upper < math.inf:
            nearest = np.finfo(value.dtype).eps
            share = (value - lower) / (upper - lower)
            if lower > 0 and self._scale(name) == "log":
                share = np.log(value / lower) / np.log(upper / lower)
            share = np.clip(share, nearest, 1 - nearest)
            return np.log(share / (1 - share))
        above = upper - value if upper < math.inf else value - lower if lower else value
        least = float(np.finfo(value.dtype).tiny)
        if self._by_factors(name):
            least = _LEAST * float(above.max(initial=0.0)) or _LEAST
        above = np.maximum(above, least)
        # The inverse of softplus, or of the exponential.
        return np.log(above) if self._by_factors(name) else above + np.log(-np.expm1(-above))

    def _bounds(self, name: str) -> tuple[float, float]:
        p = self.structure.layout[name]
        return p.lower, p.upper

    def _by_factors(self, name: str) -> bool:
        return self.positive == "log" or self._scale(name) == "log"

    def _scale(self, name: str) -> str:
        return self.structure.layout[name].scale

    def _bounded(self, name: str) -> bool:
        return name in self.structure.layout.places and self._bounds(name) != (-math.inf, math.inf)


class NetworkParametrization(Parametrization):
    """That of a CellBox: ties of its drug columns and of its response range.

    Raw values: ``W`` (n, n), with shared drug columns the deviations B_j in those columns and
    ``b0`` (n,) the common one, W[:, j] = b₀ + B_j; ``alpha``, ``epsilon``, ``psi`` (n,) through
    softplus. With a held response range there is no raw epsilon: ε = range∘α.

    Parameters
    ----------
    structure : Structure
    ranges : ndarray, (n,)
        Response range of each node, where it is held.
    positive : {"softplus", "log"}
        As for `Parametrization`.
    """

    def __init__(
        self, structure: Structure, ranges: Array, positive: Positive = "softplus"
    ) -> None:
        model = structure.model
        self.drug_mask = structure.mask & structure.is_drug[None, :]
        self.shared = model.drug_columns == "shared" and bool(self.drug_mask.any())
        self.held = ranges if model.response_range == "held" else None
        super().__init__(structure, positive)

    def _raw_parameters(self) -> tuple[Parameter, ...]:
        W, *rates = super()._raw_parameters()
        if self.shared:
            reachable = np.asarray(self.drug_mask.any(axis=1))
            rates.insert(
                0, Parameter("b0", ("node",), reachable.shape, "drug_shared", fixed=~reachable)
            )
        return (W, *(p for p in rates if self.held is None or p.name != "epsilon"))

    def _value(self, name: str, raw: Array) -> Array:
        # The ties come first, and the mask then.
        return raw if name in ("W", "b0") else super()._value(name, raw)

    def _tie(self, values: dict[str, Array]) -> Parameters:
        W = values["W"]
        if self.shared:
            W = W + np.where(self.drug_mask, values["b0"][:, None], 0)
        tied = {**values, "W": np.where(self.structure.mask, W, 0)}
        if self.held is not None:
            tied["epsilon"] = (self.held * values["alpha"]).astype(W.dtype)
        return {name: tied[name] for name in self.structure.layout.places}

    def _untie(self, parameters: Mapping[str, Array]) -> dict[str, Array]:
        values = {name: array for name, array in parameters.items() if name in self.layout.places}
        W = parameters["W"].copy()
        if self.shared:  # from the mean of the drugs' columns
            count = np.maximum(self.drug_mask.sum(axis=1), 1)
            b0 = ((W * self.drug_mask).sum(axis=1) / count).astype(W.dtype)
            W -= np.where(self.drug_mask, b0[:, None], 0)
            values["b0"] = b0
        return {**values, "W": W}

    def pull_back_ties(self, gradient: Mapping[str, Array]) -> dict[str, Array]:
        """See `Parametrization.pull_back_ties`."""
        out = super().pull_back_ties(gradient)
        if self.shared:
            out["b0"] = (out["W"] * self.drug_mask).sum(axis=-1)
        if self.held is not None:
            out["alpha"] = gradient["alpha"] + self.held * gradient["epsilon"]
        return out
