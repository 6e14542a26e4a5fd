"""What a backend must offer. Arrays in, arrays out; no labels here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Gradient, Solver


class Session(Protocol):
    """One problem held by a backend, so that its buffers are made once and used many times."""

    def value_and_gradient(
        self, parameters: Parameters, rows: Sequence[int] | Array | None = None
    ) -> tuple[float, Parameters]:
        """Loss and its derivative with respect to the effective parameters.

        Parameters
        ----------
        parameters : dict of ndarray
            ``W`` (n, n) and the model's rates (n,).
        rows : sequence of int, optional
            The conditions to use; all by default.

        Returns
        -------
        value : float
            The loss, a mean over the measured entries of these rows.
        gradient : dict of ndarray
            Like ``parameters``; zero where the mask forbids an edge. New arrays, the caller's own.

        Raises
        ------
        DivergenceError
            The trajectory or its derivative is not finite.
        """
        ...

    def value(self, parameters: Parameters, rows: Sequence[int] | Array | None = None) -> float:
        """Loss alone; arguments and errors as in `value_and_gradient`."""
        ...


class Backend(Protocol):
    """A provider of numerics."""

    @property
    def name(self) -> str:
        """What the user writes in ``backend=``."""
        ...

    def version(self) -> str:
        """Version of the library that does the work, for provenance."""
        ...

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
    ) -> Array:
        """Integrate all conditions together from t = 0.

        Parameters
        ----------
        perturbation : ndarray, (c, n)
        times : ndarray, (t,)
            Strictly increasing, ≥ 0.

        Returns
        -------
        ndarray, (c, t, n)

        Raises
        ------
        DivergenceError
            The trajectory is not finite.
        """
        ...

    def session(self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient) -> Session:
        """Hold ``problem`` for repeated evaluation.

        Raises
        ------
        BackendError
            This backend has no such solver or gradient.
        """
        ...
