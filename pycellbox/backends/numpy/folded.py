"""Fixed steps of a small network, where every call costs more than what it computes.

All of a step but φ is linear. With A and b one below the other as rows A_1 to A_{s+1}, the stage
states and the end of the step, X_{s+1}, are

    X_r = P_r∘x + Σ_q V_rq∘(a∘φ_q + b∘v) ,
    P_r = 1 − hc∘Σ_t A_rt P_t ,   V_rq = h A_rq − hc∘Σ_t A_rt V_tq ,

so that one matrix takes x and the φ so far to the input of the next stage, and another takes them
to x and the first input of the next step. The way back is the transpose: with λ the derivative of
the loss with respect to X_{s+1} and g_r = κ_r∘a∘φ'(z_r),

    κ_q = V_{s+1,q}∘λ + Σ_{r>q} V_rq∘(Mᵀg_r) ,   λ⁻ = P_{s+1}∘λ + Σ_r P_r∘(Mᵀg_r) ,

and the gradient is that of `kernel.Reverser`. Larger networks are better off there: these
matrices are full of zeros.

Arrays have nodes before conditions here, so that x and φ below each other are one array.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.envelopes import EnvelopeKernel
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array

# Measured: beyond these, zeros cost more than calls. Every new step length needs new matrices.
_NODES, _SIZE, _STEPS = 12, 500, 10
_BLOCK_BYTES = 2**18


def pays(envelope: EnvelopeKernel, conditions: int, nodes: int, counts: list[int]) -> bool:
    """Whether folding saves time; ``counts`` are the steps between requested times."""
    small = nodes <= _NODES and nodes * conditions <= _SIZE
    return small and not envelope.needs_z and sum(counts) >= _STEPS * len(counts)


class Matrices:
    """A step of one length.

    Attributes
    ----------
    P : ndarray, (s + 1, n, 1)
    V : ndarray, (s + 1, s, n, 1)
    constant : ndarray, (s + 1, n, c)
        What b∘v adds to X_r.
    forward : list of (matrix, constant)
        To z_2, ..., z_s, and to x and z_1 of the next step.
    backward : list of ndarray
        To κ_{s−1}, ..., κ_1, and to κ_s and λ of the step before.
    """

    def __init__(self, tableau: Tableau, k: Coefficients, drive: Drive, h: float) -> None:
        s, n = tableau.stages, len(k.a)
        dtype = drive.initial.dtype
        P, V = np.ones((s + 1, n), dtype), np.zeros((s + 1, s, n), dtype)
        hc = h * k.c
        for r, row in enumerate([*tableau.A, tableau.b]):
            if row:
                weights, q = np.array(row, dtype), len(row)
                V[r, :q] = h * weights[:, None]
                P[r] -= hc * (weights @ P[:q])
                V[r] -= hc * (weights @ V[:q].reshape(q, -1)).reshape(s, n)
        self.P, self.V = P[..., None], V[..., None]
        v = np.zeros_like(drive.initial) if drive.outside is None else drive.outside
        self.constant = (V.sum(axis=1) * k.b)[..., None] * v.T
        p = 0 if drive.inside is None else drive.inside.T
        # Factors of x and of φ_1, φ_2, ... in X_r, node by node.
        factors = np.concatenate([P[:, None], V * k.a], axis=1)
        self.forward = [
            (_side_by_side(k.M, factors[r, : r + 1]), k.M @ self.constant[r] + p)
            for r in range(1, s)
        ]
        end = _side_by_side(np.eye(n, dtype=dtype), factors[s])
        constant = self.constant[s]
        self.forward.append(
            (np.concatenate([end, k.M @ end]), np.concatenate([constant, k.M @ constant + p]))
        )
        self.backward = [
            _diagonal_and_transposes(V[s, q], V[s - 1 : q : -1, q], k.M)
            for q in range(s - 2, -1, -1)
        ]
        start = _diagonal_and_transposes(P[s], P[s - 1 :: -1], k.M)
        self.backward.append(np.concatenate([self.V[s, s - 1] * start, start]))


def _side_by_side(M: Array, factors: Array) -> Array:
    """M diag(f) for every row f of the factors, side by side."""
    return (M[:, None, :] * factors).reshape(len(M), -1)


def _diagonal_and_transposes(first: Array, factors: Array, M: Array) -> Array:
    """Return diag(first), and diag(f)Mᵀ for every row f of the factors, side by side."""
    out = np.zeros((len(M), 1 + len(factors), len(M)), M.dtype)
    np.einsum("iji->ij", out)[:, 0] = first
    np.multiply(factors.T[:, :, None], M.T[:, None, :], out=out[:, 1:])
    return out.reshape(len(M), -1)


class Sweep:
    """κ_1, ..., κ_s, λ, g_s, ..., g_1 below each other of the steps of a block.

    Step i has place i + 1; place 0 is for λ at the beginning of the block. ``calls`` has, for every
    step and from the last stage to the first, κ, a∘φ', g, and what the next matrix takes and gives.
    """

    def __init__(self, steps: int, s: int, n: int, c: int, dtype: np.dtype) -> None:
        rows = np.empty((steps + 1, 2 * s + 1, n, c), dtype)
        self.slopes = np.empty((steps, s, n, c), dtype)
        self.kappa, self.adjoint, self.g = rows[:, :s], rows[:, s], rows[:, :s:-1]
        flat = rows.reshape(steps + 1, -1, c)
        self.calls = [
            [
                (
                    self.kappa[i, q],
                    self.slopes[i - 1, q],
                    self.g[i, q],
                    flat[i, s * n : (2 * s + 1 - q) * n],
                    self.kappa[i, q - 1] if q else flat[i - 1, (s - 1) * n : (s + 1) * n],
                )
                for q in range(s - 1, -1, -1)
            ]
            for i in range(1, steps + 1)
        ]


class FoldedTape:
    """States and φ of the steps, reused from one integration to the next, and room to reverse them.

    Every step has x, φ_1, ..., φ_s below each other. A call is, for every step and each of
    its matrices, what the matrix takes, what it gives, and where in that z is to become φ.
    """

    def __init__(self, stages: int, n: int, c: int, dtype: np.dtype, keep: bool) -> None:
        self._shape, self._dtype, self._keep = (1 + stages, n, c), dtype, keep
        fitting = _BLOCK_BYTES // ((1 + stages) * n * c * np.dtype(dtype).itemsize)
        self.steps_per_block = max(fitting, 1) if keep else 2
        self._blocks: list[Array] = []
        self._rows: list[Array] = []
        self._calls: list[list[tuple[Array, Array, Array]]] = []

    def reserve(self, steps: int) -> None:
        """Make room for so many steps and the state after them."""
        _, n, c = self._shape
        while len(self._rows) <= (steps if self._keep else 1):
            self._blocks.append(np.empty((self.steps_per_block, *self._shape), self._dtype))
            self._rows += list(self._blocks[-1].reshape(self.steps_per_block, -1, c))
        following = self._rows[1:] if self._keep else self._rows[::-1]
        for rows, after in list(zip(self._rows, following, strict=False))[len(self._calls) :]:
            ends = range(2 * n, len(rows), n)
            within = [(rows[:end], rows[end : end + n], rows[end : end + n]) for end in ends]
            self._calls.append([*within, (rows, after[: 2 * n], after[n : 2 * n])])

    def state(self, step: int) -> tuple[Array, Array]:
        """Return x and φ_1 after so many steps, (n, c)."""
        _, n, _ = self._shape
        rows = self._rows[step if self._keep else step % 2]
        return rows[:n], rows[n : 2 * n]

    def between(self, start: int, end: int) -> list[list[tuple[Array, Array, Array]]]:
        """Return the calls of some steps."""
        if self._keep:
            return self._calls[start:end]
        return [self._calls[step % 2] for step in range(start, end)]

    def steps(self, start: int, end: int) -> Array:
        """States and φ of some steps of one block, (steps, 1 + stages, n, c)."""
        block, first = divmod(start, self.steps_per_block)
        return self._blocks[block][first : first + end - start]

    @cached_property
    def sweep(self) -> Sweep:
        """Room for reversing a block."""
        rows, n, c = self._shape
        return Sweep(self.steps_per_block, rows - 1, n, c, self._dtype)


class FoldedStepper:
    """Steps one method over one small network, and back."""

    def __init__(
        self,
        tableau: Tableau,
        envelope: EnvelopeKernel,
        coefficients: Coefficients,
        drive: Drive,
        tape: FoldedTape,
    ) -> None:
        self.tableau, self.envelope = tableau, envelope
        self.coefficients, self.drive, self.tape = coefficients, drive, tape
        self._known: dict[float, Matrices] = {}
        self._bounds = [(0, 0.0)]  # the steps so far and their length, wherever it may change
        tape.reserve(0)
        x, phi = tape.state(0)
        x[...] = drive.initial.T
        np.dot(coefficients.M, x, phi)
        if drive.inside is not None:
            np.add(phi, drive.inside.T, phi)
        envelope.value(phi, phi)

    def _matrices(self, h: float) -> Matrices:
        if h not in self._known:
            self._known[h] = Matrices(self.tableau, self.coefficients, self.drive, h)
        return self._known[h]

    def advance(self, steps: int, h: float) -> Array:
        """Take so many steps of length h and return the state, (n, c)."""
        matrices, (start, _) = self._matrices(h).forward, self._bounds[-1]
        end = start + steps
        self._bounds.append((end, h))
        self.tape.reserve(end)
        dot, add, value = np.dot, np.add, self.envelope.value
        for calls in self.tape.between(start, end):
            for (matrix, constant), (takes, gives, phi) in zip(matrices, calls, strict=True):
                dot(matrix, takes, gives)
                add(gives, constant, gives)
                value(phi, phi)
        return self.tape.state(end)[0]

    def reverse(
        self, seeds: dict[int, Array], drive: Drive | None = None
    ) -> tuple[Coefficients, Array]:
        """Exact gradient of a loss; ``seeds`` are its derivatives (c, n) by number of steps.

        Beside it the one with respect to x₀, (c, n). The one with respect to p and v is added to
        the arrays of ``drive``, if that is given.
        """
        M, zero = self.coefficients.M, np.zeros_like(self.coefficients.a)
        total = Coefficients(np.zeros_like(M), zero, zero.copy(), zero.copy())
        adjoint = np.zeros_like(self.drive.initial.T)
        size = self.tape.steps_per_block
        for (begin, _), (end, h) in zip(self._bounds[-2::-1], self._bounds[:0:-1], strict=True):
            if end in seeds:
                adjoint += seeds[end].T
            while end > begin:
                start = max(begin, (end - 1) // size * size)
                self._reverse(start, end, self._matrices(h), adjoint, total, drive)
                end = start
        return total, np.ascontiguousarray(adjoint.T)

    def _reverse(
        self,
        start: int,
        end: int,
        k: Matrices,
        adjoint: Array,
        total: Coefficients,
        drive: Drive | None,
    ) -> None:
        """Reverse steps of one length in one block: change ``adjoint``, add to ``total``."""
        steps, sweep = self.tape.steps(start, end), self.tape.sweep
        phi, slopes = steps[:, 1:], sweep.slopes[: end - start]
        self.envelope.slope(None, phi, slopes)
        np.multiply(slopes, self.coefficients.a[:, None], slopes)
        sweep.adjoint[end - start] = adjoint
        np.multiply(k.V[-1, -1], adjoint, out=sweep.kappa[end - start, -1])
        multiply, dot = np.multiply, np.dot
        for calls in sweep.calls[end - start - 1 :: -1]:
            for matrix, (kappa, slope, g, takes, gives) in zip(k.backward, calls, strict=True):
                multiply(kappa, slope, g)
                dot(matrix, takes, gives)
        adjoint[...] = sweep.adjoint[0]
        self._collect(
            steps, sweep.kappa[1 : end - start + 1], sweep.g[1 : end - start + 1], k, total
        )
        if drive is not None:
            assert drive.inside is not None
            drive.inside[...] += sweep.g[1 : end - start + 1].sum(axis=(0, 1)).T
            if drive.outside is not None:
                kappa = sweep.kappa[1 : end - start + 1].sum(axis=(0, 1)).T
                drive.outside[...] += kappa * self.coefficients.b

    def _collect(
        self, steps: Array, kappa: Array, g: Array, k: Matrices, total: Coefficients
    ) -> None:
        x, phi, a = steps[:, 0], steps[:, 1:], self.coefficients.a[:, None]
        state = np.empty_like(phi)
        for r in range(phi.shape[1]):
            state[:, r] = k.P[r] * x + k.constant[r]
            for q in range(r):
                state[:, r] += (k.V[r, q] * a) * phi[:, q]
        # Node by node in a row: sums over all else are then sums along rows.
        state, phi, kappa, g = (
            np.ascontiguousarray(array.transpose(2, 0, 1, 3)).reshape(len(a), -1)
            for array in (state, phi, kappa, g)
        )
        total.M[...] += g @ state.T
        total.a[...] += np.einsum("nk,nk->n", kappa, phi)
        total.c[...] -= np.einsum("nk,nk->n", kappa, state)
        if self.drive.outside is not None:
            v = self.drive.outside.T
            total.b[...] += np.einsum("nkc,nc->n", kappa.reshape(len(a), -1, v.shape[1]), v)
