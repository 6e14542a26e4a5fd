"""Values and slopes of the envelopes."""

from __future__ import annotations

import numpy as np
import pytest

from pycellbox.models import ENVELOPES, CellBox
from pycellbox.numerics.envelopes import envelope_kernel

ALL = [
    CellBox(envelope=e, order=k)
    for e in ENVELOPES
    for k in ((2, 3, 4, 5) if e in ("polynomial", "hill") else (None,))
]


def value(model: CellBox, z: np.ndarray) -> np.ndarray:
    out = np.empty_like(z)
    envelope_kernel(model).value(z, out)
    return out


def slope(model: CellBox, z: np.ndarray) -> np.ndarray:
    kernel, out = envelope_kernel(model), np.empty_like(z)
    kernel.slope(z.copy(), value(model, z), out)
    return out


@pytest.mark.parametrize(
    ("model", "z", "wanted"),
    [
        (CellBox(envelope="polynomial", order=3), [-2, 0.5], [-8 / 9, 0.125 / 1.125]),
        (CellBox(envelope="polynomial", order=2), [-2, 0.5], [-4 / 5, 0.25 / 1.25]),
        (CellBox(envelope="hill", order=2), [-3, 0, 1], [-1, 0, 2 * (1 - 1 / 5) - 1]),
        (CellBox(envelope="clip"), [-3, 0.25, 7], [-1, 0.25, 1]),
        (CellBox(envelope="linear"), [-3, 0.25], [-3, 0.25]),
        (CellBox(envelope="sigmoid"), [0, 2], [0.5, 1 / (1 + np.exp(-2.0))]),
        (CellBox(envelope="tanh"), [0, 0.7], [0, np.tanh(0.7)]),
    ],
    ids=repr,
)
def test_known_values(model, z, wanted):
    np.testing.assert_allclose(value(model, np.array(z, float)), wanted, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_slope_is_the_derivative(model):
    # Off the corners of clip (±1) and hill (−1).
    z = np.concatenate([np.linspace(-4.03, 4.07, 200), [-1e-3, 1e-3]])
    h = 1e-6
    central = (value(model, z + h) - value(model, z - h)) / (2 * h)
    np.testing.assert_allclose(slope(model, z), central, atol=2e-9)


@pytest.mark.parametrize("model", ALL, ids=repr)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_far_arguments_stay_finite(model, dtype):
    z = np.array([-1e6, -800, -50, 0, 50, 800, 1e6], dtype=dtype)
    with np.errstate(over="ignore"):
        assert np.isfinite(value(model, z)).all()
        assert np.isfinite(slope(model, z)).all()
        assert value(model, z).dtype == dtype


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_steepest_bounds_the_slope_and_is_reached(model):
    z = np.linspace(-5, 5, 20_001)
    steepest = envelope_kernel(model).steepest
    assert slope(model, z).max() == pytest.approx(steepest, rel=1e-6)


@pytest.mark.parametrize("model", ALL, ids=repr)
def test_slopes_within_an_interval_are_within_their_bounds(model):
    rng = np.random.default_rng(0)
    z, radius = rng.normal(0, 2, (30, 4)), rng.exponential(1, (30, 4))
    low, high = envelope_kernel(model).slopes_within(z, radius)
    for share in np.linspace(-1, 1, 101):
        inside = slope(model, z + share * radius)
        assert (inside >= low - 1e-12).all()
        assert (inside <= high + 1e-12).all()


def test_tanh_is_within_4e16_of_numpy():
    z = np.concatenate([np.linspace(-30, 30, 200_001), np.logspace(-12, 0, 1000)])
    assert np.abs(value(CellBox(), z) - np.tanh(z)).max() <= 4e-16
