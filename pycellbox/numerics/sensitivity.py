"""Trajectories and their derivative with respect to every parameter."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from pycellbox.backends import Backend
from pycellbox.errors import DivergenceError, ModelError, SolverError
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Coefficients, Lowering
from pycellbox.problem import Array, Parameters, Problem, Structure
from pycellbox.solvers import Solver, SteadyState

_STEP = 0.75
"""Step of the sensitivity equation in units of the fastest time of the network at rest. An error
of a percent in the Jacobian shifts the minimum by a percent of a standard error."""

_MOST_ENTRIES = 2e8  # of a Jacobian, or of all its steps' propagators: 1.6 GB


def obstacles(problem: Problem, solver: Solver, most: int | None = None) -> list[str]:
    """All that stands in the way of the derivatives of a problem, each with what to do.

    Parameters
    ----------
    problem : Problem
    solver : Solver
    most : int, optional
        How many parameters can be afforded.
    """
    found, structure = [], problem.structure
    model, size = structure.model, _size(structure, structure.mask)
    if model.drug_columns == "shared" and structure.is_drug.any():
        found.append(
            "the drugs share a column, whose entries cannot go one by one: fit with "
            'CellBox(drug_columns="free").'
        )
    if model.response_range == "held":
        found.append('the response range is held: fit with CellBox(response_range="free").')
    if isinstance(solver, SteadyState):
        found.append(
            "SteadyState has no trajectory: give another solver for the same horizon, "
            f"solver=pcb.Heun({float(problem.times[-1]) / 50:g})."
        )
    if problem.response.size * size > _MOST_ENTRIES:
        found.append(
            f"the Jacobian of {problem.response.size} responses with respect to {size} parameters "
            "is too large: fit with fewer nodes or conditions, or allow fewer interactions with "
            "CellBox(mask=...)."
        )
    elif most is not None and size > most:
        found.append(
            f"{size} parameters ({int(structure.mask.sum())} interactions and the rates) are too "
            f"many for second order, which can do with {most}: fit with fewer nodes, or allow "
            "fewer interactions with CellBox(mask=...)."
        )
    return found


def refuse(found: list[str]) -> None:
    """Raise a ModelError that names all obstacles at once, if there are any."""
    if len(found) == 1:
        raise ModelError(found[0])
    if found:
        listed = " ".join(f"({number}) {text}" for number, text in enumerate(found, 1))
        raise ModelError(f"{len(found)} things stand in the way: {listed}")


def _size(structure: Structure, support: Array) -> int:
    return int(support.sum()) + len(structure.model.rates) * structure.n_nodes


class Sensitivity:
    """The solution of a problem as a function of one vector θ, and dx/dθ.

    θ holds the allowed entries of W, row by row, and the logarithms of the rates of the model's
    form: the rates are positive.

    Parameters
    ----------
    problem : Problem
    backend : Backend
        Which integrates.
    solver : Solver

    Raises
    ------
    ModelError
        The model ties parameters together, or there are too many of them.
    """

    def __init__(self, problem: Problem, backend: Backend, solver: Solver) -> None:
        structure = problem.structure
        model = structure.model
        refuse(obstacles(problem, solver))
        self.problem, self.backend, self.solver = problem, backend, solver
        self.lowering = Lowering(structure)
        self.n = structure.n_nodes
        self.rates = model.rates
        self._kernel = envelope_kernel(model)
        self._drive = self.lowering.drive(problem.perturbation)
        self._to_parameters = self._linear_map()

    def size(self, support: Array) -> int:
        """Length of θ with the interactions of ``support``, bool (n, n)."""
        return _size(self.problem.structure, support)

    def pack(self, parameters: Parameters, support: Array) -> Array:
        """θ of effective parameters."""
        rates = [np.log(np.maximum(parameters[name], 1e-6)) for name in self.rates]
        packed: Array = np.concatenate([parameters["W"][support], *rates])
        return packed

    def unpack(self, theta: Array, support: Array) -> Parameters:
        """Effective parameters of θ."""
        W = np.zeros((self.n, self.n))
        count = int(support.sum())
        W[support] = theta[:count]
        rates = np.exp(theta[count:]).reshape(len(self.rates), self.n)
        return {"W": W, **dict(zip(self.rates, rates, strict=True))}

    def states(self, parameters: Parameters, times: Array | None = None) -> Array:
        """Solution at the measured times or at others, (c, t, n)."""
        p = self.problem
        grid = p.times if times is None else times
        return self.backend.solve(p.structure, self.solver, parameters, p.perturbation, grid)

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
        """dx/dθ at the measured times, (c, t, n, θ); zero at time 0, where x is given."""
        p, n = self.problem, self.n
        k = self.lowering.coefficients(parameters)
        at_rest = (k.a * self._kernel.steepest)[:, None] * k.M - np.diag(k.c)
        step = _STEP / max(float(np.abs(np.linalg.eigvals(at_rest)).max()), 1e-3)
        late = p.times[p.times > 0]
        ends = np.concatenate([[0.0], late])
        # Two halves a step, and an even number of steps for Simpson's rule.
        counts = [max(2, 2 * math.ceil(width / step / 2)) for width in np.diff(ends)]
        if p.response.shape[0] * sum(counts) * n * n > _MOST_ENTRIES:
            raise DivergenceError(
                f"the sensitivities need {sum(counts)} steps: the network's fastest time is "
                f"{step / _STEP:.2g}, that of the data {p.times[-1]:.2g}."
            )
        grid = [
            np.linspace(a, b, 2 * m + 1)[1:]
            for a, b, m in zip(ends[:-1], ends[1:], counts, strict=True)
        ]
        x = self.states(parameters, np.concatenate(grid))
        x = np.concatenate([np.broadcast_to(self._drive.initial[:, None], x[:, :1].shape), x], 1)
        chain = self._chain(parameters, support)
        out = np.zeros((*p.response.shape, self.size(support)))
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
        """Differentiate (M, a, b, c) by each parameter, (n² + 3n, its entries)."""
        n = self.n
        rows: dict[str, list[Array]] = {name: [] for name in ("W", *self.rates)}
        for unit in np.eye(n * n + 3 * n):
            M, (a, b, c) = unit[: n * n].reshape(n, n), unit[n * n :].reshape(3, n)
            for name, value in self.lowering.pull_back(Coefficients(M, a, b, c)).items():
                rows[name].append(value.ravel())
        return {name: np.stack(row) for name, row in rows.items()}

    def _chain(self, parameters: Parameters, support: Array) -> Callable[[Array], Array]:
        """Take derivatives with respect to (M, a, b, c) to those with respect to θ."""
        nn = self.n * self.n
        rates = np.concatenate([self._to_parameters[r] * parameters[r] for r in self.rates], axis=1)
        entries = np.flatnonzero(support)
        by_W = self._to_parameters["W"][:, entries]
        plain = self.problem.structure.model.degree == 1  # M is W itself

        def chain(S: Array) -> Array:
            W = S[..., entries] if plain else S @ by_W
            return np.concatenate([W, S[..., nn:] @ rates[nn:]], axis=-1)

        return chain
