"""The training objective on raw parameters: loss through a backend, plus penalties and priors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pycellbox.backends import Session
from pycellbox.common import interrupts
from pycellbox.errors import DivergenceError
from pycellbox.fitting.steepness import Steepness
from pycellbox.models import Layout
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.numerics.penalties import strengths_over
from pycellbox.numerics.priors import Priors
from pycellbox.objective import PENALIZED, Penalty
from pycellbox.problem import Array

_ROWS = 64  # of a Jacobian at a time


@dataclass
class Objective:
    """Loss plus penalty and priors as a function of raw parameters, θ.

    Attributes
    ----------
    session : Session
        Of the training conditions, or of all; ``rows`` picks the training ones.
    parametrization : Parametrization
    penalty : Penalty
    n_entries : int
        Measured training entries, for penalties on the sum's scale, and priors.
    priors : Priors
    of_priors : float
        Weight of their squares.
    steepness : Steepness, optional
        What looks at gradients that have grown beyond use.
    """

    session: Session
    parametrization: Parametrization
    penalty: Penalty
    n_entries: int
    priors: Priors
    of_priors: float
    steepness: Steepness | None = None

    @cached_property
    def strengths(self) -> tuple[Array, Array]:
        """L1 and L2 strength of every entry on the penalty's side, scaled."""
        l1, l2 = (
            strengths_over(self.penalty, self._layout, kind, self.n_entries)
            for kind in ("l1", "l2")
        )
        return l1, l2

    @property
    def raw(self) -> bool:
        """Whether penalties are of raw parameters."""
        return self.penalty.sees_raw

    def value_and_gradient(
        self, raw: Array, rows: Array | None = None, prefix: int | None = None
    ) -> tuple[float, float, Array]:
        """Objective, its loss part, and the gradient with respect to θ.

        Raises
        ------
        DivergenceError
            Anything is not finite.
        KeyboardInterrupt
            There was a Ctrl-C that was held back: nothing is half done here.
        """
        interrupts.check()
        pair = self.parametrization
        effective = pair.constrain(raw)
        loss, slope = self.session.loss_and_gradient(effective, rows, prefix)
        layout, total = self._layout, loss
        if self.priors.size:
            squares, of_priors = self.priors.squares(effective)
            total += self.of_priors * squares
            slope = slope | {n: slope[n] + self.of_priors * g for n, g in of_priors.items()}
        if self.raw:
            values, gradient = raw, pair.pull_back(raw, slope)
        else:
            values, gradient = layout.join(effective), layout.join(slope)
        l1, l2 = self.strengths
        each = layout.split(l1 * np.abs(values) + l2 * values**2)
        for name in self._penalized:  # one sum for each, as in the groups' definition
            total += float(np.sum(each[name]))
        gradient = (gradient + l1 * np.sign(values) + 2 * l2 * values).astype(raw.dtype)
        if not self.raw:
            gradient = pair.pull_back(raw, layout.split(gradient))
        if not np.isfinite(total):
            raise DivergenceError("the penalty is not finite: parameters have grown too large.")
        if self.steepness is not None:
            self.steepness.look(raw, total, gradient)
        return total, loss, gradient

    def residuals_and_jacobian(self, raw: Array) -> tuple[Array, Array]:
        """Residuals (x − y)/sigma of the session's measured entries, and dr/dθ of free entries.

        Returns
        -------
        residuals : ndarray, (m,)
        jacobian : ndarray, (m, free entries of θ)

        Raises
        ------
        DivergenceError
            A trajectory or its derivative is not finite.
        """
        pair, effective = self.parametrization, self.parametrization.structure.layout
        residuals, jacobian = self.session.residuals_and_jacobian(pair.constrain(raw))
        out = np.empty((len(jacobian), pair.layout.free.size))
        exact = raw.astype(np.float64)
        for start in range(0, len(out), _ROWS):  # whole gradients have many zeros
            part = np.zeros((len(jacobian[start : start + _ROWS]), effective.size))
            part[:, effective.free] = jacobian[start : start + _ROWS]
            pulled = pair.pull_back(exact, effective.split(part))
            out[start : start + _ROWS] = pulled[:, pair.layout.free]
        return residuals, out

    @cached_property
    def _layout(self) -> Layout:
        """Of what the penalty sees."""
        pair = self.parametrization
        return pair.layout if self.raw else pair.structure.layout

    @cached_property
    def _penalized(self) -> list[str]:
        known = {p.name: np.isin(p.group, PENALIZED).any() for p in self._layout.parameters}
        return [n for n, penalized in known.items() if penalized or n in self.penalty.named]


def norm(vector: Array, layout: Layout) -> float:
    """Euclidean norm of θ, one sum of squares for each parameter."""
    with np.errstate(over="ignore"):  # beyond 1e154 the norm is infinite, which is said
        squares = layout.split(vector.astype(np.float64) ** 2).values()
        return float(np.sqrt(sum(float(np.sum(part)) for part in squares)))
