"""The trajectories of a problem as a function of one vector θ."""

from __future__ import annotations

import dataclasses

import numpy as np

from pycellbox.backends import Backend
from pycellbox.errors import DivergenceError, SolverError
from pycellbox.models import Layout
from pycellbox.numerics.parametrization import Parametrization
from pycellbox.numerics.sensitivity import Sensitivity
from pycellbox.numerics.solution import Solution
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Solver


class Trajectories:
    """The solution of a problem as a function of θ, and its derivative.

    θ holds the entries of W in a support, row by row, the logarithms of the rates of the model's
    form, and its shifts: the free entries of a `Parametrization` by logarithms.

    Parameters
    ----------
    problem : Problem
    backend : Backend
        Which integrates.
    solver : Solver
    """

    def __init__(self, problem: Problem, backend: Backend, solver: Solver) -> None:
        self.problem, self._backend, self._solver = problem, backend, solver
        self.sensitivity = Sensitivity(problem, self._solve)

    def states(self, parameters: Parameters, times: Array | None = None) -> Array:
        """Solution at the measured times or at others, (c, t, n)."""
        return self.sensitivity.states(parameters, times)

    def pack(self, parameters: Parameters, support: Array) -> Array:
        """θ of effective parameters; ``support`` is bool (n, n)."""
        pair = self._pair(support)
        packed: Array = pair.unconstrain(parameters)[pair.layout.free]
        return packed

    def unpack(self, theta: Array, support: Array) -> Parameters:
        """Effective parameters of θ."""
        pair = self._pair(support)
        vector = np.zeros(pair.layout.size)
        vector[pair.layout.free] = theta
        return pair.constrain(vector)

    def trial(self, theta: Array, support: Array) -> Array | None:
        """States at the measured times, (c, t, n); None where there are none that are finite.

        A trial step may lead anywhere: to rates that no step can follow, to a blow-up. That says
        that the step is bad, not that the data or the solver are.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            parameters = self.unpack(theta, support)
            if not all(np.isfinite(array).all() for array in parameters.values()):
                return None
            try:
                states = self.states(parameters)
            except (DivergenceError, SolverError):
                return None
        return states if np.isfinite(states).all() else None

    def trial_jacobian(self, theta: Array, support: Array) -> Array | None:
        """`jacobian` at θ; None where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            try:
                J = self.jacobian(self.unpack(theta, support), support)
            except (DivergenceError, SolverError, np.linalg.LinAlgError):
                return None
        return J if np.isfinite(J).all() else None

    def jacobian(self, parameters: Parameters, support: Array) -> Array:
        """dx/dθ at the measured times, (c, t, n, θ)."""
        # The derivative of exp is exp.
        return self.sensitivity.jacobian(parameters, support, slopes=parameters)

    def _pair(self, support: Array) -> Parametrization:
        structure = self.problem.structure
        W, *others = structure.layout.parameters
        kept = Layout((dataclasses.replace(W, fixed=~support), *others))
        return Parametrization(dataclasses.replace(structure, layout=kept), "log")

    def _solve(self, parameters: Parameters, times: Array | None) -> Solution:
        p = self.problem
        grid = p.times if times is None else times
        return self._backend.solve(
            p.structure, self._solver, parameters, p.perturbation, grid, p.treatment
        )
