"""A second model, with parameters of its own and no W: linear compartments.

    dx/dt = κ (S x) − δ∘x + g∘u ,   x(0) = s∘u

S x is what the neighbors in a ring give: x_{i−1} − x_i. κ is one number for all, δ and g one for
each node, s (fixed) how much of u is there from the beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pycellbox.models import Model, Parameter
from pycellbox.numerics.equations import INPUT, Equations, Field


@dataclass(frozen=True)
class Compartments(Model):
    """Linear compartments in a ring.

    Parameters
    ----------
    start : float
        Share of the perturbation that is there from the beginning.
    """

    start: float = 0.0

    @property
    def equation(self) -> str:
        return "dx/dt = κSx − δ∘x + g∘u"

    def declare(self, nodes, node_kind):
        n = len(nodes)
        return (
            Parameter("kappa", (), (), lower=0.0, start=0.3),
            Parameter("delta", ("node",), (n,), lower=0.1, upper=5.0, start=1.0),
            Parameter("gain", ("node",), (n,), start=0.5),
        )

    def equations(self, structure):
        return RingEquations(structure)


@dataclass(frozen=True)
class Dose:
    """u, and x(0)."""

    u: Any
    initial: Any

    def rows(self, index):
        return Dose(self.u[index], self.initial[index])


class RingEquations(Equations):
    def drive(self, perturbation):
        start = self.structure.model.start * perturbation
        return Dose(perturbation, start.astype(perturbation.dtype))

    def rate(self, space, x, drive, parameters: Mapping[str, Any]):
        ring = space.roll(x, 1, axis=-1) - x
        return parameters["kappa"] * ring - parameters["delta"] * x + parameters["gain"] * drive.u

    def field(self, parameters, drive):
        return Ring(self, parameters, drive)


class Ring(Field):
    def __init__(self, equations, parameters, drive):
        self.equations, self.parameters, self.drive = equations, parameters, drive
        self.initial = drive.initial

    def value(self, x):
        return self.equations.rate(np, x, self.drive, self.parameters)

    def pull_back(self, x, adjoint, gradient):
        p = self.parameters
        ring = np.roll(x, 1, axis=-1) - x
        gradient["kappa"] = gradient["kappa"] + (adjoint * ring).sum()
        gradient["delta"] = gradient["delta"] - (adjoint * x).sum(axis=0)
        gradient["gain"] = gradient["gain"] + (adjoint * self.drive.u).sum(axis=0)
        gradient[INPUT] = gradient[INPUT] + adjoint * p["gain"]
        return p["kappa"] * (np.roll(adjoint, -1, axis=-1) - adjoint) - p["delta"] * adjoint

    def start_gradient(self, adjoint, gradient):
        gradient[INPUT] = gradient[INPUT] + self.equations.structure.model.start * adjoint
