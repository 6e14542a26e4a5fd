"""Trajectories and their derivative with respect to every parameter."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from pycellbox.errors import DivergenceError
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.kernel import Kernel
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.segments import Piece, begun, jumps, pieces
from pycellbox.numerics.solution import Solution
from pycellbox.problem import Array, Parameters, Problem

Solve = Callable[[Parameters, Array | None], Solution]
"""Solves a problem's conditions at its own times, or integrates them through others."""

PACE = 0.75
"""Steps of the sensitivity equation in units of the fastest time of the network at rest. To find a
minimum the longer one will do: an error of a percent in the Jacobian shifts it by a percent of a
standard error."""

# A rate of change at rest, relative to 1 + |x| and the fastest decay.
_STILL = 1e-6
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
        self.rates, self.shifts = structure.model.rates, tuple(structure.model.shifts)
        self._columns = self.n * self.n + (3 + len(self.shifts)) * self.n
        self._kernel = envelope_kernel(structure.model)
        self._starts, inputs = np.zeros(1), problem.perturbation.astype(np.float64)[:, None]
        self._treatment = problem.treatment and problem.treatment.astype(np.float64)
        if self._treatment is not None:
            self._starts, inputs = self._treatment.starts, self._treatment.perturbation
        self._drives = [
            self.lowering.drive(np.ascontiguousarray(inputs[:, s])) for s in range(inputs.shape[1])
        ]

    def states(self, parameters: Parameters, times: Array | None = None) -> Array:
        """Solution at the measured times or at others, (c, t, n)."""
        found = self._solve(parameters, times)
        found.check(self.problem.conditions, self.problem.times if times is None else times)
        return found.states

    def jacobian(
        self,
        parameters: Parameters,
        support: Array,
        slopes: Parameters | None = None,
        pace: float = PACE,
    ) -> Array:
        """dx/dθ at the measured times, (c, t, n, θ).

        θ holds the entries of W in ``support``, bool (n, n), row by row, the rates and what is
        fitted of the shifts;
        ``slopes`` are the derivatives of the rates by what θ has in their place, ``pace`` is the
        step of the sensitivity equation, of order 4, in units of the network's fastest time.
        It is zero where x is given: at the beginning, but for pre-treated conditions.

        Raises
        ------
        DivergenceError
            The steps are too many, or a pre-treated condition does not begin at rest.
        """
        p, n = self.problem, self.n
        k = self.lowering.coefficients(parameters)
        at_rest = (k.a * self._kernel.steepest)[:, None] * k.M - np.diag(k.c)
        slowest = 1e-3 / float(p.times[-1] or 1.0)
        step = pace / max(float(np.abs(np.linalg.eigvals(at_rest)).max()), slowest)
        cut = pieces(self._starts, p.times)
        # Two halves a step, and an even number of steps for Simpson's rule.
        counts = [
            [2 * math.ceil(width / step / 2) for width in np.diff(piece.times, prepend=0.0)]
            for piece in cut
        ]
        steps = sum(map(sum, counts))
        if p.response.shape[0] * steps * n * n > MOST_ENTRIES:
            raise DivergenceError(
                f"the sensitivities need {steps} steps: the network's fastest time is "
                f"{step / pace:.2g}, that of the data {p.times[-1]:.2g}."
            )
        x = self._path(parameters, cut, counts)
        S = np.zeros((x.shape[0], n, self._columns))
        chain = self._chain(parameters, support, slopes)
        out = np.zeros((*p.response.shape, chain(S[:1, :1]).shape[-1]))
        treatment, jump, at = self._treatment, None, 0
        if treatment is not None:
            jump = jumps(self.lowering, treatment)
            self._rest(parameters, x[:, 0], jump, S)
        for piece, many in zip(cut, counts, strict=True):
            drive, moves = self._drives[piece.segment].laid(k), None
            if treatment is not None and treatment.moves is not None:
                moves = treatment.moves[:, piece.segment]
            there = x[:, at : at + 2 * sum(many) + 1]
            at += 2 * sum(many)
            if jump is not None:
                # At the end of a segment x is that of the next one's dose already.
                there = np.where(jump[:, None], drive.initial[:, None], there)
                S[jump] = 0
            now = 0
            for t, (width, m) in enumerate(
                zip(np.diff(piece.times, prepend=0.0), many, strict=True)
            ):
                if m:
                    part = there[:, now : now + 2 * m + 1]
                    S = self._across(k, drive, moves, part, float(width) / m, S)
                now += 2 * m
                if t < piece.count:
                    out[:, piece.asked.start + t] = chain(S)
        return out

    def _path(self, parameters: Parameters, cut: list[Piece], counts: list[list[int]]) -> Array:
        """States where the pieces begin and at both halves of all steps, (c, steps, n)."""
        grid = [self._starts[:1]]
        for piece, many in zip(cut, counts, strict=True):
            ends = np.concatenate([[0.0], piece.times])
            for a, b, m in zip(ends[:-1], ends[1:], many, strict=True):
                grid.append(self._starts[piece.segment] + np.linspace(a, b, 2 * m + 1)[1:])
        if self._treatment is not None:
            return self.states(parameters, np.concatenate(grid))
        initial = self._drives[0].initial[:, None]
        if len(grid) == 1 or not sum(map(len, grid[1:])):
            return initial
        return np.concatenate([initial, self.states(parameters, np.concatenate(grid[1:]))], 1)

    def _rest(self, parameters: Parameters, begin: Array, jump: Array | None, S: Array) -> None:
        """Write the derivative of where pre-treated conditions begin, (c, n), to ``S``."""
        treatment = self._treatment
        assert treatment is not None
        rows = np.flatnonzero(treatment.pretreated)
        if not rows.size:
            return
        assert treatment.pretreatment is not None
        drive, x = self.lowering.drive(treatment.pretreatment[rows]), begin[rows]
        if jump is not None:
            x = np.where(jump[rows], drive.initial, x)
        moves = ~treatment.held[rows]
        field = begun(self.lowering.field(parameters, drive), x, moves)
        assert isinstance(field, Kernel)
        slow = _STILL * float(field.coefficients.c.max())
        still = np.abs(field.value(x)).max(axis=1) <= slow * (1 + np.abs(x).max(axis=1))
        systems = self._systems(field, moves, x)
        still &= np.linalg.eigvals(systems).real.min(axis=1) > 0
        if not still.all():
            label = self.problem.conditions[rows[int(np.argmin(still))]]
            raise DivergenceError(
                f"condition {label!r} does not come to rest in its pre-treatment, so that where it "
                "begins has no derivative: give the pre-treatment a start, or shrink W."
            )
        for row, of_one in zip(rows, self._implicit(field, moves, x, systems), strict=True):
            S[row] = of_one

    def _across(
        self, k: Coefficients, drive: Drive, moves: Array | None, x: Array, width: float, S: Array
    ) -> Array:
        """Carry dx/d(M, a, b, c, shifts), (c, n, n² + 3n + ...), over the steps of one interval.

        ``x`` (c, 2m + 1, n) is the trajectory at the ends and in the middle of m steps. With the
        propagator P(s) from s to the end, S_end = P(0) S + ∫ P(s) F(s) ds, F = ∂f/∂(M, a, b, c, p),
        which in row i has only what row i of the kernel depends on, and nothing where it stays.
        """
        c, n = x.shape[0], self.n
        z = x @ k.M.T
        if drive.inside is not None:
            z += drive.inside[:, None]
        phi, slope = np.empty_like(z), np.empty_like(z)
        self._kernel.value(z, phi)
        self._kernel.slope(z, phi, slope)
        slope *= k.a
        J = slope[..., None] * k.M - np.diag(k.c)
        J *= width
        if moves is not None:
            J *= moves[:, None, :, None]
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
        if moves is not None:
            weighted *= moves[:, None, None, :]
        to_M = np.moveaxis(weighted * slope[:, :, None], 1, 3).reshape(c, n * n, steps + 1) @ x
        v = np.zeros((c, n)) if drive.outside is None else drive.outside
        new = np.zeros((c, n, self._columns))
        new[..., : n * n] = to_M.reshape(c, n, n * n)
        new[..., n * n : n * n + n] = np.einsum("cmoi,cmi->coi", weighted, phi)
        new[..., n * n + n : n * n + 2 * n] = weighted.sum(1) * v[:, None]
        new[..., n * n + 2 * n : n * n + 3 * n] = -np.einsum("cmoi,cmi->coi", weighted, x)
        if drive.reach is not None:
            inside = np.einsum("cmoi,cmi->coi", weighted, slope)
            shifts = inside[:, :, None] * drive.reach[:, None, :, None]
            new[..., n * n + 3 * n :] = shifts.reshape(c, n, -1)
        carried: Array = P[:, 0] @ S
        carried += new
        return carried

    def _linear_map(self, parameters: Parameters) -> dict[str, Array]:
        """Differentiate a, b, c, shifts, one below the other, by each rate and shift."""
        n, count, M = self.n, 3 + len(self.shifts), np.zeros((self.n, self.n))
        pulled = []
        for unit in np.eye(count * n).reshape(-1, count, n):
            a, b, c, *shifts = unit
            slopes = Coefficients(M, a, b, c, np.array(shifts))
            pulled.append(self.lowering.pull_back(slopes, parameters))
        return {r: np.stack([row[r] for row in pulled]) for r in (*self.rates, *self.shifts)}

    def _chain(
        self, parameters: Parameters, support: Array, slopes: Parameters | None
    ) -> Callable[[Array], Array]:
        """Take derivatives with respect to (M, a, b, c, shifts) to those with respect to θ."""
        nn, by = self.n * self.n, self._linear_map(parameters)
        fitted = ~self.problem.structure.is_drug
        columns = [by[r] * (slopes[r] if slopes else 1.0) for r in self.rates]
        columns += [by[s][:, fitted] for s in self.shifts]
        rates = np.concatenate(columns, axis=1)
        entries = np.flatnonzero(support)
        # With degree 2 the rows' sums are added to the diagonal of M.
        diagonal = entries // self.n * (self.n + 1)
        plain = self.problem.structure.model.degree == 1

        def chain(S: Array) -> Array:
            W = S[..., entries] if plain else S[..., entries] + S[..., diagonal]
            return np.concatenate([W, S[..., nn:] @ rates], axis=-1)

        return chain

    def steady_jacobian(self, parameters: Parameters, states: Array) -> Array:
        """dx/dθ of steady states (c, n) of the last segment: (c, n, θ)."""
        drive, moves = self._drives[-1], np.ones(states.shape, dtype=bool)
        if self._treatment is not None:
            moves = ~self._treatment.held
        field = begun(self.lowering.field(parameters, drive), states, moves)
        assert isinstance(field, Kernel)
        chain = self._chain(parameters, self.problem.structure.mask, None)
        systems = self._systems(field, moves, states)
        # One after the other: all at once would take several times the memory of the result.
        return np.stack([chain(x) for x in self._implicit(field, moves, states, systems)])

    def _systems(self, field: Kernel, moves: Array, states: Array) -> Array:
        """−J at states (c, n), with 1 on the diagonal of nodes that stay: (c, n, n)."""
        systems = -field.jacobian(states)
        stays = ~moves | (field.coefficients.c == 0)
        systems[stays] = 0
        conditions, nodes = np.nonzero(stays)
        systems[conditions, nodes, nodes] = 1
        return systems

    def _implicit(
        self, field: Kernel, moves: Array, states: Array, systems: Array
    ) -> Iterator[Array]:
        """dx/d(M, a, b, c, shifts) of steady states, one condition after the other: (n, n² + ...).

        By the implicit function theorem: with A = diag(c) − diag(a∘φ')M, A dx = F dθ; nodes that
        are held have no derivative.
        """
        k, drive, n = field.coefficients, field.drive, states.shape[1]
        phis, slopes = field.phi_and_slope(states)
        inverses = np.linalg.inv(systems)
        inverses.transpose(0, 2, 1)[~moves | (k.c == 0)] = 0
        vs = np.zeros_like(states) if drive.outside is None else drive.outside
        reaches = np.zeros((len(states), 0)) if drive.reach is None else drive.reach
        for i, (A, x) in enumerate(zip(inverses, states, strict=True)):
            inside = A * (k.a * slopes[i])
            to_M = (inside[:, :, None] * x).reshape(n, -1)
            shifts = [inside * reach for reach in reaches[i]]
            yield np.concatenate([to_M, A * phis[i], A * vs[i], -A * x, *shifts], axis=1)
