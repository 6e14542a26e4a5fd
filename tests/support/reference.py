"""The published equations written out once more, for automatic differentiation.

Nothing here is shared with the package: no lowering to one kernel, no in-place arithmetic, no
hand-written derivative. `autograd` differentiates it.
"""

from __future__ import annotations

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad

from pycellbox.models import CellBox

RK = {
    "Euler": ([[]], [1.0]),
    "Midpoint": ([[], [0.5]], [0.0, 1.0]),
    "Heun": ([[], [1.0]], [0.5, 0.5]),
    "RK4": ([[], [0.5], [0, 0.5], [0, 0, 1.0]], [1 / 6, 1 / 3, 1 / 3, 1 / 6]),
}


def envelope(model: CellBox, z):
    k = model.order
    if model.envelope == "tanh":
        return anp.tanh(z)
    if model.envelope == "linear":
        return z
    if model.envelope == "clip":
        return anp.where(z > 1, 1.0, anp.where(z < -1, -1.0, z))
    if model.envelope == "sigmoid":
        return 1 / (1 + anp.exp(-z))
    if model.envelope == "polynomial":
        if k % 2:
            return z**k / (1 + anp.abs(z) ** k)
        return anp.sign(z) * z**k / (1 + z**k)
    shifted = anp.where(z > -1, z + 1, 0.0)
    return 2 * (1 - 1 / (1 + shifted**k)) - 1


def right_hand_side(model: CellBox, p, u, is_drug):
    """f(x) for x (c, n), straight from the equations of the papers."""
    kappa = model.kappa

    def f(x):
        Wx = x @ p["W"].T
        if model.degree == 2:
            Wx = Wx + anp.sum(p["W"], axis=1) * x
        phi = lambda z: envelope(model, z)  # noqa: E731
        a = p["alpha"]
        if model.form == 0:
            inside = Wx + u
            if model.operating_point:
                inside = inside + p["b"]
            if model.common_effect:
                inside = inside + (u != 0).any(axis=1)[:, None] * p["common"]
            dx = p["epsilon"] * phi(inside) - a * x
            if model.operating_point:
                dx = dx - p["epsilon"] * phi(p["b"])
        elif model.form == 1:
            dx = p["epsilon"] * (phi(Wx) + u) - a * x
        elif model.form == 2:
            dx = p["epsilon"] * phi(Wx) + p["psi"] * u - a * x
        elif model.form == "ji":
            dx = a * (phi(Wx - u) - x)
        else:
            dx = a * phi(Wx - u) - x
        if kappa is not None:
            d = u if kappa == 0 else np.tanh(kappa * u) / kappa
            if model.form == 0:
                mapped = p["epsilon"] * d - a * x
            elif model.form == 1:
                mapped = p["epsilon"] * (phi(Wx) + d) - a * x
            elif model.form == 2:
                mapped = p["epsilon"] * phi(Wx) + p["psi"] * d - a * x
            elif model.form == "ji":
                mapped = a * (-d - x)
            else:
                mapped = -a * d - x
            dx = anp.where(is_drug, mapped, dx)
        if model.drugs == "clamped":
            dx = anp.where(is_drug, 0.0, dx)
        return dx

    return f


def initial_state(model: CellBox, u, is_drug):
    if model.drugs != "clamped":
        return np.zeros_like(u)
    kappa = model.kappa
    d = np.tanh(kappa * u) / kappa if kappa else u
    return np.where(is_drug, d, 0.0)


def trajectory(model, p, u, is_drug, A, b, sizes, outputs):
    """States after the steps numbered in ``outputs`` (0: the start)."""
    f = right_hand_side(model, p, u, is_drug)
    x = initial_state(model, u, is_drug)
    out = {0: x}
    for n, h in enumerate(sizes, start=1):
        k = []
        for row in A:
            k.append(f(x + h * sum((w * kj for w, kj in zip(row, k, strict=True)), 0.0)))
        x = x + h * sum(w * kj for w, kj in zip(b, k, strict=True))
        out[n] = x
    return anp.stack([out[n] for n in outputs], axis=1)


def loss(name, x, y, weight, delta=1.0):
    r = (x - y) * weight
    n = np.count_nonzero(weight)
    if name == "mse":
        return anp.sum(r**2) / n
    if name == "mae":
        return anp.sum(anp.abs(r)) / n
    inside = np.abs(getattr(r, "_value", r)) <= delta
    return anp.sum(anp.where(inside, r**2 / 2, delta * (anp.abs(r) - delta / 2))) / n


def loss_and_gradient(model, p, u, is_drug, mask, method, sizes, outputs, y, weight, name="mse"):
    def objective(q):
        return loss(name, trajectory(model, q, u, is_drug, *method, sizes, outputs), y, weight)

    value, gradient = value_and_grad(objective)(p)
    gradient["W"] = np.where(mask, gradient["W"], 0)
    for name in model.shifts:
        gradient[name] = np.where(is_drug, 0, gradient[name])
    return value, gradient
