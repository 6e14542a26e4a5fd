"""Every variant of the model reduced to one kernel that a backend has to know.

All forms, degrees and drug treatments are the same right-hand side with other coefficients,

    dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀ ,

M (n, n); a, b, c (n,); p, v, x₀ (conditions, n). `Lowering` makes these from a model's parameters
and perturbation and carries gradients back; a backend never asks which form it is solving.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.models import CellBox
from pycellbox.problem import Array, Parameters, Structure


@dataclass(frozen=True)
class Coefficients:
    """M (n, n) and a, b, c (n,) of the kernel, or their gradient."""

    M: Array
    a: Array
    b: Array
    c: Array


@dataclass(frozen=True)
class Drive:
    """p inside the envelope, v outside it (None: absent), and the initial state, each (c, n)."""

    inside: Array | None
    outside: Array | None
    initial: Array

    def rows(self, index: Array | slice) -> Drive:
        """Drive of some of the conditions."""

        def pick(array: Array | None) -> Array | None:
            return None if array is None else np.ascontiguousarray(array[index])

        initial = np.ascontiguousarray(self.initial[index])
        return Drive(pick(self.inside), pick(self.outside), initial)


class Lowering:
    """The linear map from a model's rates to a, b, c, its transpose, and the drive.

    With gain g = ε (α for the "ji" forms) and decay α (1 for "ji-code"):
    a = g∘A, b = g∘B + ψ∘P, c = decay∘C with 0/1 vectors A, B, P, C.
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure
        model, drug = structure.model, structure.is_drug
        n = structure.n_nodes
        outside_form = model.form in (1, 2)
        clamped = drug if model.drugs == "clamped" else np.zeros(n, dtype=bool)
        # A drug node whose dose is mapped leaves the envelope: it receives d(u) directly.
        mapped = drug if model.dose_saturation is not None else np.zeros(n, dtype=bool)
        receives_u_outside = np.full(n, outside_form) | mapped
        self._gain_to_a = ~clamped & ~(mapped & (not outside_form))
        self._gain_to_b = ~clamped & receives_u_outside & (model.form != 2)
        self._psi_to_b = ~clamped & receives_u_outside & (model.form == 2)
        self._decay_to_c = ~clamped
        self._clamped = clamped
        self._mapped = mapped

    @property
    def _gain(self) -> str:
        return "epsilon" if "epsilon" in self.structure.model.rates else "alpha"

    def coefficients(self, parameters: Parameters) -> Coefficients:
        """Kernel coefficients of effective parameters."""
        model = self.structure.model
        W = parameters["W"]
        M = W if model.degree == 1 else W + np.diag(W.sum(axis=1))
        alpha, gain = parameters["alpha"], parameters[self._gain]
        b = gain * self._gain_to_b
        if model.form == 2:
            b = b + parameters["psi"] * self._psi_to_b
        decay = np.ones_like(alpha) if model.form == "ji-code" else alpha
        return Coefficients(
            np.ascontiguousarray(M), gain * self._gain_to_a, b, decay * self._decay_to_c
        )

    def pull_back(self, gradient: Coefficients) -> Parameters:
        """Gradient with respect to the parameters from that to the coefficients."""
        model = self.structure.model
        dW = gradient.M
        if model.degree == 2:
            dW = dW + np.diag(dW)[:, None]
        dalpha = np.zeros_like(gradient.c)
        if model.form != "ji-code":
            dalpha += gradient.c * self._decay_to_c
        dgain = gradient.a * self._gain_to_a + gradient.b * self._gain_to_b
        if self._gain == "alpha":
            dalpha += dgain
        rates = {"alpha": dalpha, "epsilon": dgain, "psi": gradient.b * self._psi_to_b}
        return {
            "W": np.where(self.structure.mask, dW, 0),
            **{name: rates[name] for name in model.rates},
        }

    def drive(self, perturbation: Array) -> Drive:
        """Make inputs and initial state of a perturbation, (c, n), in its dtype."""
        model, drug = self.structure.model, self.structure.is_drug
        u = perturbation
        dose = np.where(drug, map_dose(model, u), u).astype(u.dtype) if self._mapped.any() else u
        sign = -1 if model.form in ("ji", "ji-code") else 1
        initial = np.where(self._clamped, dose, 0).astype(u.dtype)
        if model.form in (1, 2):
            return Drive(None, np.ascontiguousarray(dose), initial)
        inside = np.where(self._mapped, 0, sign * u).astype(u.dtype)
        outside = np.where(self._mapped, sign * dose, 0).astype(u.dtype)
        return Drive(inside, outside if self._mapped.any() else None, initial)


def map_dose(model: CellBox, u: Array) -> Array:
    """d(u) = tanh(κu)/κ, or u itself where the model maps no dose or maps it linearly."""
    kappa = model.dose_saturation
    return u if not kappa else np.tanh(kappa * u) / kappa
