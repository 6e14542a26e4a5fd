"""Every variant of the model reduced to one kernel that a backend has to know.

All forms, degrees and drug treatments are the same right-hand side with other coefficients,

    dx/dt = a∘φ(Mx + p) + b∘v − c∘x ,   x(0) = x₀ ,

M (n, n); a, b, c (n,); p, v, x₀ (conditions, n). An operating point, ε∘(φ(Wx + u + b) − φ(b)), is
a part of p, and −ε∘φ(b) the coefficient of v = 1; a common effect is a part of p where something is
given. So p may depend on parameters; the rest of the drive does not. `Lowering` makes these from a
model's parameters and perturbation and carries gradients back; a backend never asks which form it
is solving.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from pycellbox.models import ODE, CellBox, Structure
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.dose import dose_slope, map_dose
from pycellbox.numerics.envelopes import EnvelopeKernel, envelope_kernel
from pycellbox.numerics.equations import INPUT, START, Equations, Field
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.parametrization import NetworkParametrization
from pycellbox.numerics.start import initial_parameters
from pycellbox.problem import Array, Parameters, Problem


class Lowering(Equations):
    """The linear map from a model's rates to a, b, c, its transpose, and the drive.

    With gain g = ε (α for the "ji" forms) and decay α (1 for "ji-code"):
    a = g∘A, b = g∘B + ψ∘P, c = decay∘C with 0/1 vectors A, B, P, C; with an operating point o,
    b = g∘(B − φ(o)∘O).
    """

    def __init__(self, structure: Structure) -> None:
        super().__init__(structure)
        model, drug = structure.model, structure.is_drug
        n = structure.n_nodes
        outside_form = model.form in (1, 2)
        clamped = drug if model.drugs == "clamped" else np.zeros(n, dtype=bool)
        # A drug node whose dose is mapped leaves the envelope: it receives d(u) directly.
        mapped = drug if model.kappa is not None else np.zeros(n, dtype=bool)
        receives_u_outside = np.full(n, outside_form) | mapped
        self._gain_to_a = ~clamped & ~(mapped & (not outside_form))
        self._gain_to_b = ~clamped & receives_u_outside & (model.form != 2)
        self._psi_to_b = ~clamped & receives_u_outside & (model.form == 2)
        self._offset_to_b = ~clamped & ~mapped if model.operating_point else None
        self._decay_to_c = ~clamped
        self._clamped = clamped
        self._mapped = mapped

    @property
    def set_by_dose(self) -> Array | None:
        """See `Equations.set_by_dose`: clamped drugs."""
        return self._clamped if self._clamped.any() else None

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
        if self._offset_to_b is not None:
            b = b - gain * self._offset_to_b * self._at_point(parameters)[0]
        decay = np.ones_like(alpha) if model.form == "ji-code" else alpha
        shifts = None
        if model.shifts:
            drug = self.structure.is_drug
            shifts = np.stack([np.where(drug, 0, parameters[name]) for name in model.shifts])
        return Coefficients(
            np.ascontiguousarray(M), gain * self._gain_to_a, b, decay * self._decay_to_c, shifts
        )

    def _at_point(self, parameters: Parameters) -> tuple[Array, Array]:
        """φ and φ' at the operating point, (n,) each."""
        point = parameters["b"]
        phi, slope = np.empty_like(point), np.empty_like(point)
        self.envelope.value(point, phi)
        self.envelope.slope(point, phi, slope)
        return phi, slope

    def _reach(self, u: Array) -> Array | None:
        """How much of each shift is a part of p, (c, k), 0 or 1."""
        where = {"b": np.ones(len(u), dtype=bool), "common": (u != 0).any(axis=1)}
        names = self.structure.model.shifts
        return np.stack([where[name] for name in names], axis=1).astype(u.dtype) if names else None

    def pull_back(self, gradient: Coefficients, parameters: Parameters) -> Parameters:
        """Gradient with respect to the parameters from that to their coefficients."""
        model = self.structure.model
        dW = gradient.M
        if model.degree == 2:
            dW = dW + np.diag(dW)[:, None]
        dalpha = np.zeros_like(gradient.c)
        if model.form != "ji-code":
            dalpha += gradient.c * self._decay_to_c
        dgain = gradient.a * self._gain_to_a + gradient.b * self._gain_to_b
        shifts = {}
        if model.shifts:
            assert gradient.shifts is not None
            shifts = dict(zip(model.shifts, gradient.shifts, strict=True))
        if self._offset_to_b is not None:
            phi, slope = self._at_point(parameters)
            offset = gradient.b * self._offset_to_b
            dgain = dgain - offset * phi
            shifts["b"] = shifts["b"] - offset * slope * parameters[self._gain]
        if self._gain == "alpha":
            dalpha += dgain
        rates = {"alpha": dalpha, "epsilon": dgain, "psi": gradient.b * self._psi_to_b}
        return {
            "W": np.where(self.structure.mask, dW, 0),
            **{name: rates[name] for name in model.rates},
            **{name: np.where(self.structure.is_drug, 0, each) for name, each in shifts.items()},
        }

    def drive(self, perturbation: Array) -> Drive:
        """Make inputs and initial state of a perturbation, (c, n), in its dtype."""
        model, drug = self.structure.model, self.structure.is_drug
        u = perturbation
        dose = np.where(drug, map_dose(model, u), u).astype(u.dtype) if self._mapped.any() else u
        sign = -1 if model.form in ("ji", "ji-code") else 1
        initial = np.where(self._clamped, dose, 0).astype(u.dtype)
        if model.form in (1, 2):
            return Drive(None, np.ascontiguousarray(dose), initial, u)
        inside = np.where(self._mapped, 0, sign * u).astype(u.dtype)
        pointed = self._offset_to_b is not None
        outside = np.where(self._mapped, sign * dose, int(pointed)).astype(u.dtype)
        there = pointed or self._mapped.any()
        return Drive(inside, outside if there else None, initial, u, reach=self._reach(u))

    def pull_back_drive(self, gradient: Drive, perturbation: Array) -> dict[str, Array]:
        """Gradient with respect to the perturbation and the initial state, (c, n) each.

        ``gradient`` holds the derivatives with respect to the drive's arrays. Where the initial
        state is a dose, the perturbation has its share of that too.
        """
        model, drug = self.structure.model, self.structure.is_drug
        dosed = drug & self._mapped.any()
        slope = np.where(dosed, dose_slope(model, perturbation), 1)
        outside = np.zeros_like(perturbation) if gradient.outside is None else gradient.outside
        if model.form in (1, 2):
            total = outside * slope
        else:
            sign = -1 if model.form in ("ji", "ji-code") else 1
            assert gradient.inside is not None
            total = sign * np.where(self._mapped, outside * slope, gradient.inside)
        total = total + np.where(self._clamped, gradient.initial * slope, 0)
        return {INPUT: total.astype(perturbation.dtype), START: gradient.initial}

    @cached_property
    def envelope(self) -> EnvelopeKernel:
        """φ and its slope."""
        return envelope_kernel(self.structure.model)

    def field(self, parameters: Parameters, drive: Any) -> Kernel:
        """See `Equations.field`."""
        k = self.coefficients(parameters)
        return Kernel(self, k, drive.laid(k), parameters)

    def fields(self, parameters: Parameters, drives: Sequence[Any]) -> list[Field]:
        """See `Equations.fields`: they share the coefficients."""
        first = self.field(parameters, drives[0])
        k = first.coefficients
        return [first, *(first.driven(drive.laid(k)) for drive in drives[1:])]

    def start(self, problem: Problem, settings: Any, rng: np.random.Generator) -> Parameters:
        """See `Equations.start`."""
        return initial_parameters(problem, settings, rng)

    def parametrization(self, start: Parameters, problem: Problem) -> NetworkParametrization:
        """See `Equations.parametrization`; where the range is held, it is that of the start."""
        ratio = start["epsilon"] / start["alpha"] if "epsilon" in start else start["alpha"]
        return NetworkParametrization(self.structure, ratio.astype(problem.perturbation.dtype))


def equations_of(structure: Structure) -> Equations:
    """Return the equations of a structure: a network's, or those that its model brings."""
    if isinstance(structure.model, CellBox):
        return Lowering(structure)
    if isinstance(structure.model, ODE):
        return Expressed(structure)
    own: Equations = structure.model.equations(structure)
    return own
