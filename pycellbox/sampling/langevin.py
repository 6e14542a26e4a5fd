"""Preconditioned stochastic gradient Langevin dynamics: one chain.

Li, Chen, Carlson and Carin (AAAI 2016, arXiv 1512.07666), algorithm 1:

    V ← decay V + (1 − decay) g∘g ,   G = 1/(floor + √V) ,
    x ← x + step/2 (G∘g + Γ) + noise of variance step·G ,

g being the gradient of the log density. Γ, the derivative of G, is left out in the paper, and by
whoever follows it; where G follows the gradient, draws are then not of the density: G is largest at
the mode, from where they are driven away. Here V is learned while the chain burns in, and stays
what it was on average over the second half of that: Γ is zero, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.problem import Array

Gradient = Callable[[Array], Array | None]
"""Of the log density at a point, or of an estimate of it; None where there is no density."""

_IN_A_ROW = 1000


@dataclass(frozen=True)
class Langevin:
    """How a chain goes.

    Attributes
    ----------
    draws, thin, burn_in : int
        How many points are kept, every how manyth, after how many.
    step : float
    decay, floor : float
        Of the preconditioner.
    """

    draws: int
    thin: int
    burn_in: int
    step: float
    decay: float = 0.99
    floor: float = 1e-5

    def walk(
        self, gradient: Gradient, start: Array, rng: np.random.Generator
    ) -> tuple[Array, Array, int]:
        """Make one chain.

        Parameters
        ----------
        gradient : callable
        start : ndarray, (p,)
            Where there is a density.
        rng : numpy.random.Generator

        Returns
        -------
        draws : ndarray, (draws, p)
        preconditioner : ndarray, (p,)
            G, as it was held.
        refused : int
            Steps that led where there is no density, and were drawn again.

        Raises
        ------
        DivergenceError
            A thousand steps in a row did.
        """
        x, g = start.copy(), gradient(start)
        if g is None:
            raise DivergenceError("a chain begins where the posterior has no density.")
        V, total = g**2, np.zeros(x.size)
        kept, refused, in_a_row = np.empty((self.draws, x.size)), 0, 0
        G, half = np.ones(x.size), self.burn_in // 2
        for k in range(self.burn_in + self.draws * self.thin):
            if k < self.burn_in:
                V = self.decay * V + (1 - self.decay) * g**2
                total += V if k >= half else 0
                G = 1 / (self.floor + np.sqrt(V))
            elif k == self.burn_in:
                G = 1 / (self.floor + np.sqrt(total / (self.burn_in - half)))
            drift = 0.5 * self.step * G * g
            found = None
            while found is None:
                trial = x + drift + np.sqrt(self.step * G) * rng.normal(size=x.size)
                found = gradient(trial)
                if found is None:
                    refused, in_a_row = refused + 1, in_a_row + 1
                    drift = drift / 2  # which is what may be too long
                    if in_a_row == _IN_A_ROW:
                        raise DivergenceError(
                            f"{in_a_row} steps in a row led where the posterior has no density: "
                            "take a smaller step."
                        )
            x, g, in_a_row = trial, found, 0
            done = k - self.burn_in + 1
            if done > 0 and done % self.thin == 0:
                kept[done // self.thin - 1] = x
        return kept, G, refused
