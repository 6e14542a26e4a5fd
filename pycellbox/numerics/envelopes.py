"""Envelopes φ and their derivatives: in place on NumPy's arrays, and as formulas for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pycellbox.models import CellBox
from pycellbox.problem import Array


@dataclass(frozen=True)
class EnvelopeKernel:
    """φ as two in-place functions.

    Attributes
    ----------
    value : callable (z, out)
        Write φ(z) to ``out``.
    slope : callable (z, phi, out)
        Write φ'(z) to ``out``; ``phi`` is φ(z). ``z`` is None unless ``needs_z``.
    needs_z : bool
        Whether the slope cannot be had from φ alone, so that z must be kept as well.
    steepest : float
        sup |φ'|, for the bound on the Jacobian.
    falls_from_zero : bool
        Whether φ' falls with |z|, so that in an interval it is largest where |z| is least.
    """

    value: Callable[[Array, Array], None]
    slope: Callable[[Array | None, Array, Array], None]
    needs_z: bool
    steepest: float
    falls_from_zero: bool = True

    def slopes_within(self, z: Array, radius: Array) -> tuple[Array, Array]:
        """Bounds of φ' over [z − radius, z + radius], entry by entry: the lower, the upper."""
        if not self.falls_from_zero:
            return np.zeros_like(z), np.full_like(z, self.steepest)
        far = np.abs(z) + radius
        near = np.maximum(far - 2 * radius, 0)
        return self._slope_at(far), self._slope_at(near)

    def _slope_at(self, z: Array) -> Array:
        phi, slope = np.empty_like(z), np.empty_like(z)
        self.value(z, phi)
        self.slope(z, phi, slope)
        return slope


# As arrays: a Python number is made one at every call, which takes as long as adding a hundred.
_ONE, _TWO = np.array(1.0), np.array(2.0)
# Entries below which one call beats the five of the exponential form.
_FEW = 200


def _tanh(z: Array, out: Array) -> None:
    if out.size < _FEW or out.dtype != np.float64:
        np.tanh(z, out)
        return
    # 1 − 2/(1+e²ᶻ) takes half the time of np.tanh where that has no vector code. Its absolute
    # error stays within 4e-16, the rounding of the saturated values; e²ᶻ may become infinite,
    # which gives exactly 1.
    np.multiply(z, _TWO, out)
    np.exp(out, out)
    np.add(out, _ONE, out)
    np.divide(_TWO, out, out)
    np.subtract(_ONE, out, out)


def _tanh_slope(z: Array | None, phi: Array, out: Array) -> None:
    np.multiply(phi, phi, out=out)
    np.subtract(1, out, out=out)


def _linear(z: Array, out: Array) -> None:
    np.copyto(out, z)


def _linear_slope(z: Array | None, phi: Array, out: Array) -> None:
    out.fill(1)


def _clip(z: Array, out: Array) -> None:
    np.clip(z, -1, 1, out=out)


def _clip_slope(z: Array | None, phi: Array, out: Array) -> None:
    # At the corners themselves the one-sided derivative of the flat side is taken.
    np.less(np.abs(phi), 1, out=out, casting="unsafe")


def _sigmoid(z: Array, out: Array) -> None:
    # Through tanh it neither overflows nor loses digits on either side.
    np.multiply(z, 0.5, out=out)
    _tanh(out, out)
    np.multiply(out, 0.5, out=out)
    np.add(out, 0.5, out=out)


def _sigmoid_slope(z: Array | None, phi: Array, out: Array) -> None:
    np.subtract(1, phi, out=out)
    np.multiply(out, phi, out=out)


def _power_envelope(order: int) -> tuple[Callable[[Array, Array], None], Callable[..., None]]:
    """Make s → sᵏ/(1+sᵏ) and its derivative for s ≥ 0, in place; s is overwritten by the slope."""
    # Beyond this sᵏ/(1+sᵏ) is 1 to rounding; without the cap large s would give inf/inf.
    cap = 1e18 ** (1 / order)

    def value(s: Array, out: Array) -> None:
        np.minimum(s, cap, out=out)
        np.power(out, order, out=out)
        np.divide(out, 1 + out, out=out)

    def slope(s: Array, out: Array) -> None:
        np.minimum(s, cap, out=s)
        np.power(s, order - 1, out=out)
        np.multiply(s, out, out=s)
        np.add(s, 1, out=s)
        np.divide(out, s, out=out)
        np.divide(out, s, out=out)
        np.multiply(out, order, out=out)

    return value, slope


def _polynomial(order: int) -> EnvelopeKernel:
    power, power_slope = _power_envelope(order)

    def value(z: Array, out: Array) -> None:
        power(np.abs(z), out)
        np.copysign(out, z, out=out)

    def slope(z: Array | None, phi: Array, out: Array) -> None:
        assert z is not None
        power_slope(np.abs(z), out)

    return EnvelopeKernel(value, slope, True, _steepest_power(order), False)


def _hill(order: int) -> EnvelopeKernel:
    power, power_slope = _power_envelope(order)

    def value(z: Array, out: Array) -> None:
        power(np.maximum(z + 1, 0), out)
        np.multiply(out, 2, out=out)
        np.subtract(out, 1, out=out)

    def slope(z: Array | None, phi: Array, out: Array) -> None:
        assert z is not None
        power_slope(np.maximum(z + 1, 0), out)
        np.multiply(out, 2, out=out)

    return EnvelopeKernel(value, slope, True, 2 * _steepest_power(order), False)


def _steepest_power(order: int) -> float:
    """Maximum of k sᵏ⁻¹/(1+sᵏ)², reached where sᵏ = (k−1)/(k+1)."""
    s = ((order - 1) / (order + 1)) ** (1 / order)
    return float(order * s ** (order - 1) / (1 + s**order) ** 2)


def envelope_kernel(model: CellBox) -> EnvelopeKernel:
    """Return the kernel of a model's envelope."""
    if model.order is not None:
        return {"polynomial": _polynomial, "hill": _hill}[model.envelope](model.order)
    return {
        "tanh": EnvelopeKernel(_tanh, _tanh_slope, False, 1.0),
        "linear": EnvelopeKernel(_linear, _linear_slope, False, 1.0),
        "clip": EnvelopeKernel(_clip, _clip_slope, False, 1.0),
        "sigmoid": EnvelopeKernel(_sigmoid, _sigmoid_slope, False, 0.25),
    }[model.envelope]


class Formula(NamedTuple):
    """φ and its slope in the functions of an array library, ``space``, which compiles them.

    Attributes
    ----------
    value : callable (space, z)
    slope : callable (space, z, phi)
        φ'(z); ``phi`` is φ(z). ``z`` is None unless ``needs_z``.
    needs_z : bool
        As `EnvelopeKernel.needs_z`.
    """

    value: Callable[..., Any]
    slope: Callable[..., Any]
    needs_z: bool = False


def _tanh_of(space: Any, z: Any) -> Any:
    # Takes less time than space.tanh in float64 and has its absolute error; infinite e²ᶻ gives 1.
    # In float32 the difference would lose digits near zero.
    return 1 - 2 / (1 + space.exp(2 * z)) if z.dtype == space.float64 else space.tanh(z)


def _sigmoid_of(space: Any, z: Any) -> Any:
    return 0.5 * _tanh_of(space, 0.5 * z) + 0.5


def _power_of(order: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Make s → sᵏ/(1+sᵏ) and its derivative for s ≥ 0."""
    # Beyond this sᵏ/(1+sᵏ) is 1 to rounding; without the cap large s would give inf/inf.
    cap = 1e18 ** (1 / order)

    def value(space: Any, s: Any) -> Any:
        powered = space.minimum(s, cap) ** order
        return powered / (1 + powered)

    def slope(space: Any, s: Any) -> Any:
        s = space.minimum(s, cap)
        lower = s ** (order - 1)
        below = 1 + s * lower
        return order * (lower / below / below)

    return value, slope


def _polynomial_of(order: int) -> Formula:
    power, power_slope = _power_of(order)
    return Formula(
        lambda space, z: space.copysign(power(space, space.abs(z)), z),
        lambda space, z, phi: power_slope(space, space.abs(z)),
        True,
    )


def _hill_of(order: int) -> Formula:
    power, power_slope = _power_of(order)
    return Formula(
        lambda space, z: 2 * power(space, space.maximum(z + 1, 0)) - 1,
        lambda space, z, phi: 2 * power_slope(space, space.maximum(z + 1, 0)),
        True,
    )


def formula(name: str, order: int | None) -> Formula:
    """Return the formula of an envelope; the same as `envelope_kernel`'s."""
    if order is not None:
        return {"polynomial": _polynomial_of, "hill": _hill_of}[name](order)
    return {
        "tanh": Formula(_tanh_of, lambda space, z, phi: 1 - phi * phi),
        "linear": Formula(lambda space, z: z, lambda space, z, phi: space.ones_like(phi)),
        # At the corners themselves the one-sided derivative of the flat side is taken.
        "clip": Formula(
            lambda space, z: space.clip(z, -1, 1),
            lambda space, z, phi: (space.abs(phi) < 1).astype(phi.dtype),
        ),
        "sigmoid": Formula(_sigmoid_of, lambda space, z, phi: (1 - phi) * phi),
    }[name]
