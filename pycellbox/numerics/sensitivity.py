"""Trajectories and their derivative with respect to every parameter."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from pycellbox.errors import DivergenceError, SolverError
from pycellbox.numerics.checks import UNSTABLE
from pycellbox.numerics.coefficients import Coefficients
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.solution import Solution
from pycellbox.problem import Array, Parameters, Problem

Solve = Callable[[Parameters, Array | None], Solution]
"""Solves a problem's conditions at its own times, or integrates them through others."""

PACE, _FINE = 0.75, 0.125
"""Steps of the sensitivity equation in units of the fastest time of the network at rest. To find a
minimum the longer one will do: an error of a percent in the Jacobian shifts it by a percent of a
standard error."""

MOST_ENTRIES = 2e8  # of a Jacobian, or of all its steps' propagators: 1.6 GB


class Sensitivity:
    """The derivative of a network's trajectories with respect to its parameters.

    Parameters
    ----------
    problem : Problem
    solve : callable (parameters, times or None)
        Solves the problem's conditions, or integrates them through other times than its own.
    """

    def __init__(self, problem: Problem, solve: Solve) -> None:
        structure = problem.structure
        self.problem, self._solve = problem, solve
        self.lowering = Lowering(structure)
        self.n = structure.n_nodes
        self.rates = structure.model.rates
        self._kernel = envelope_kernel(structure.model)
        self._drive = self.lowering.drive(problem.perturbation.astype(np.float64))
        self._to_parameters = self._linear_map()

    def states(self, parameters: Parameters, times: Array | None = None) -> Array:
        """Solution at the measured times or at others, (c, t, n)."""
        found = self._solve(parameters, times)
        found.check(self.problem.conditions, float(self.problem.times[-1]))
        return found.states

    def jacobian(
        self,
        parameters: Parameters,
        support: Array,
        slopes: Parameters | None = None,
        pace: float = PACE,
    ) -> Array:
        """dx/dθ at the measured times, (c, t, n, θ); zero at time 0, where x is given.

        θ holds the entries of W in ``support``, bool (n, n), row by row, and the rates;
        ``slopes`` are the derivatives of the rates by what θ has in their place, ``pace`` is the
        step of the sensitivity equation, of order 4, in units of the network's fastest time.
        """
        p, n = self.problem, self.n
        k = self.lowering.coefficients(parameters)
        at_rest = (k.a * self._kernel.steepest)[:, None] * k.M - np.diag(k.c)
        step = pace / max(float(np.abs(np.linalg.eigvals(at_rest)).max()), 1e-3)
        late = p.times[p.times > 0]
        ends = np.concatenate([[0.0], late])
        # Two halves a step, and an even number of steps for Simpson's rule.
        counts = [max(2, 2 * math.ceil(width / step / 2)) for width in np.diff(ends)]
        if p.response.shape[0] * sum(counts) * n * n > MOST_ENTRIES:
            raise DivergenceError(
                f"the sensitivities need {sum(counts)} steps: the network's fastest time is "
                f"{step / pace:.2g}, that of the data {p.times[-1]:.2g}."
            )
        grid = [
            np.linspace(a, b, 2 * m + 1)[1:]
            for a, b, m in zip(ends[:-1], ends[1:], counts, strict=True)
        ]
        x = self.states(parameters, np.concatenate(grid))
        x = np.concatenate([np.broadcast_to(self._drive.initial[:, None], x[:, :1].shape), x], 1)
        chain = self._chain(support, slopes)
        size = int(support.sum()) + len(self.rates) * n
        out = np.zeros((*p.response.shape, size))
        S = np.zeros((x.shape[0], n, n * n + 3 * n))
        at, given = 0, p.times.size - late.size
        for t, m in enumerate(counts):
            width = float(late[t] - ends[t]) / m
            S = self._across(k, x[:, at : at + 2 * m + 1], width, S)
            out[:, given + t] = chain(S)
            at += 2 * m
        return out

    def _across(self, k: Coefficients, x: Array, width: float, S: Array) -> Array:
        """Carry dx/d(M, a, b, c), (c, n, n² + 3n), over the steps of one interval.

        ``x`` (c, 2m + 1, n) is the trajectory at the ends and in the middle of m steps. With the
        propagator P(s) from s to the end, S_end = P(0) S + ∫ P(s) F(s) ds, F = ∂f/∂(M, a, b, c),
        which in row i has only what row i of the kernel depends on.
        """
        c, n = x.shape[0], self.n
        z = x @ k.M.T
        if self._drive.inside is not None:
            z += self._drive.inside[:, None]
        phi, slope = np.empty_like(z), np.empty_like(z)
        self._kernel.value(z, phi)
        self._kernel.slope(z, phi, slope)
        slope *= k.a
        J = slope[..., None] * k.M - np.diag(k.c)
        J *= width
        one = np.eye(n)
        # Classical Runge–Kutta for the propagator of every step.
        first, middle, last = J[:, :-2:2], J[:, 1::2], J[:, 2::2]
        k2 = middle @ (one + first / 2)
        k3 = middle @ (one + k2 / 2)
        R = one + (first + 2 * (k2 + k3) + last @ (one + k3)) / 6
        steps = R.shape[1]
        P = np.empty((c, steps + 1, n, n))
        P[:, -1] = one
        for m in range(steps - 1, -1, -1):
            P[:, m] = P[:, m + 1] @ R[:, m]
        simpson = np.full(steps + 1, 2.0)
        simpson[1::2], simpson[[0, -1]] = 4.0, 1.0
        x, phi, slope = x[:, ::2], phi[:, ::2], slope[:, ::2]
        weighted = P * (simpson * width / 3)[:, None, None]
        to_M = np.moveaxis(weighted * slope[:, :, None], 1, 3).reshape(c, n * n, steps + 1) @ x
        v = np.zeros((c, n)) if self._drive.outside is None else self._drive.outside
        new = np.zeros((c, n, n * n + 3 * n))
        new[..., : n * n] = to_M.reshape(c, n, n * n)
        new[..., n * n : n * n + n] = np.einsum("cmoi,cmi->coi", weighted, phi)
        new[..., n * n + n : n * n + 2 * n] = weighted.sum(1) * v[:, None]
        new[..., n * n + 2 * n :] = -np.einsum("cmoi,cmi->coi", weighted, x)
        carried: Array = P[:, 0] @ S
        carried += new
        return carried

    def _linear_map(self) -> dict[str, Array]:
        """Differentiate a, b, c, one below the other, by each rate: (3n, n)."""
        n, M = self.n, np.zeros((self.n, self.n))
        units = [Coefficients(M, *unit.reshape(3, n)) for unit in np.eye(3 * n)]
        pulled = [self.lowering.pull_back(unit) for unit in units]
        return {name: np.stack([row[name] for row in pulled]) for name in self.rates}

    def _chain(self, support: Array, slopes: Parameters | None) -> Callable[[Array], Array]:
        """Take derivatives with respect to (M, a, b, c) to those with respect to θ."""
        nn = self.n * self.n
        by_rate = [self._to_parameters[r] * (slopes[r] if slopes else 1.0) for r in self.rates]
        rates = np.concatenate(by_rate, axis=1)
        entries = np.flatnonzero(support)
        # With degree 2 the rows' sums are added to the diagonal of M.
        diagonal = entries // self.n * (self.n + 1)
        plain = self.problem.structure.model.degree == 1

        def chain(S: Array) -> Array:
            W = S[..., entries] if plain else S[..., entries] + S[..., diagonal]
            return np.concatenate([W, S[..., nn:] @ rates], axis=-1)

        return chain

    def steady_jacobian(self, parameters: Parameters, states: Array) -> Array:
        """dx/dθ of steady states (c, n), by the implicit function theorem: (c, n, θ).

        With A = diag(c) − diag(a∘φ')M, A dx = F dθ; nodes that are held have no derivative.
        """
        k = self.lowering.coefficients(parameters)
        field = self.lowering.field(parameters, self._drive)
        phi, slope = field.phi_and_slope(states)
        held = k.c == 0
        systems = -field.jacobian(states)
        systems[:, held, :] = 0
        systems[:, held, held] = 1
        inverse = np.linalg.inv(systems)
        inverse[:, :, held] = 0
        v = np.zeros_like(states) if self._drive.outside is None else self._drive.outside
        chain, n = self._chain(self.problem.structure.mask, None), states.shape[1]

        def of_one(A: Array, x: Array, phi: Array, slope: Array, v: Array) -> Array:
            to_M = (A * (k.a * slope))[:, :, None] * x
            return chain(np.concatenate([to_M.reshape(n, -1), A * phi, A * v, -A * x], axis=1))

        # One after the other: all at once would take several times the memory of the result.
        each = zip(inverse, states, phi, slope, v, strict=True)
        return np.stack([of_one(*condition) for condition in each])


def residuals_and_jacobian(
    problem: Problem, parameters: Parameters, solve: Solve
) -> tuple[Array, Array]:
    """Residuals (x − y)/sigma of the measured entries, (m,), and their derivative, (m, θ).

    Parameters
    ----------
    problem : Problem
    parameters : dict of ndarray
        Effective ones; θ are those of their entries that are not fixed.
    solve : callable (parameters, times or None)
        As for `Sensitivity`. Where it settles conditions in steady states, their derivative is
        that of the fixed point, and the integrated ones have that of their trajectory.

    Raises
    ------
    DivergenceError
        A trajectory or its derivative is not finite.
    SolverError
        The Jacobian is too large for the memory.
    """
    size = problem.structure.layout.free.size
    if problem.response.size * max(size, problem.structure.n_nodes**2) > MOST_ENTRIES:
        raise SolverError(
            f"the Jacobian of {problem.response.size} responses with respect to {size} parameters "
            f"is too large: it has more than {MOST_ENTRIES:g} entries. Use fewer conditions."
        )
    exact = {name: array.astype(np.float64) for name, array in parameters.items()}
    found = solve(exact, None)
    found.check(problem.conditions, float(problem.times[-1]))
    J = np.zeros((*problem.response.shape, size))
    for rows in (np.flatnonzero(found.settled), np.flatnonzero(~found.settled)):
        if not rows.size:
            continue
        part = Sensitivity(problem.rows(rows), partial(_of_rows, solve, rows))
        if found.settled[rows[0]]:
            J[rows, -1] = part.steady_jacobian(exact, found.states[rows, -1])
        else:
            J[rows] = part.jacobian(exact, problem.structure.mask, pace=_FINE)
    measured = problem.weight > 0
    residual = ((found.states - problem.response) * problem.weight)[measured]
    rows = J[measured] * problem.weight[measured][:, None]
    if not (np.isfinite(rows).all() and np.isfinite(residual).all()):
        raise DivergenceError(f"the Jacobian is not finite: {UNSTABLE}")
    return residual, rows


def _of_rows(solve: Solve, rows: Array, parameters: Parameters, times: Array | None) -> Solution:
    return solve(parameters, times).rows(rows)
