"""One Runge-Kutta step of the kernel, and its exact reverse. In place, no allocation.

On small networks the time goes into calls, not into numbers: sums of many terms are one product
of a row of weights with a stack of the terms, and what does not depend on the step before is done
for a whole block of steps at once.
"""

from __future__ import annotations

import numpy as np

from pycellbox.backends.numpy.tape import Block, Record, Sweep
from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.envelopes import EnvelopeKernel
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array


class Stepper:
    """Steps one method over one network and one set of conditions.

    Increments are kept multiplied by the step size, kh = h·f, by scaling a, b∘v and c whenever
    it changes.

    Parameters
    ----------
    tableau : Tableau
    envelope : EnvelopeKernel
    coefficients : Coefficients
    drive : Drive
        Of the c conditions to integrate.

    Attributes
    ----------
    kh : ndarray, (stages, c, n)
        h·f at the stages of the last step; one more, at its end, where the method estimates its
        error.
    """

    def __init__(
        self, tableau: Tableau, envelope: EnvelopeKernel, coefficients: Coefficients, drive: Drive
    ) -> None:
        self._prepare(tableau, drive.initial)
        self.envelope = envelope
        self.coefficients, self.drive = coefficients, drive
        shape, dtype = drive.initial.shape, drive.initial.dtype
        self._z = np.empty(shape, dtype)
        self._scratch = np.empty(shape, dtype)
        self._outside = None if drive.outside is None else coefficients.b * drive.outside
        self._h_outside = None if drive.outside is None else np.empty(shape, dtype)
        # Spread over the conditions: a product of equal shapes takes half the time of one that
        # broadcasts a row of a hundred nodes.
        self.a = np.broadcast_to(coefficients.a, shape).astype(dtype)
        self.c = np.broadcast_to(coefficients.c, shape).astype(dtype)
        if drive.moves is not None:  # nothing of f is left where a node stays
            for part in (self.a, self.c, self._outside):
                if part is not None:
                    part *= drive.moves
        self._ah, self._ch = np.empty(shape, dtype), np.empty(shape, dtype)
        self._MT = coefficients.M.T

    def _prepare(self, tableau: Tableau, initial: Array) -> None:
        """Make room for the terms of a step."""
        self.tableau, self.initial = tableau, initial
        shape, dtype = initial.shape, initial.dtype
        # The terms of every sum of a step: the state it starts from, and then kh.
        terms = np.empty((1 + tableau.stages + bool(tableau.error), *shape), dtype)
        self._start, self.kh = terms[0], terms[1:]
        flat = terms.reshape(len(terms), -1)

        def weighted(row: tuple[float, ...]) -> tuple[Array, Array]:
            return np.array([1.0, *row], dtype), flat[: 1 + len(row)]

        # A stage of weight 1 after one other, as Heun's second, is a plain sum.
        self._stages = [
            (None if row == (1.0,) else weighted(row), self.kh[s])
            for s, row in enumerate(tableau.A)
        ]
        self._last = weighted(tableau.b)
        self._error = np.array(tableau.error, dtype), flat[1:]
        self.h = float("nan")

    def set_step(self, h: float) -> None:
        """Choose the step size of the steps to come."""
        if h == self.h:
            return
        self.h = h
        np.multiply(self.a, h, self._ah)
        np.multiply(self.c, h, self._ch)
        if self._outside is not None:
            np.multiply(self._outside, h, self._h_outside)

    def increment(self, x: Array, phi: Array, z: Array | None, out: Array) -> None:
        """Write φ(Mx + p) to ``phi`` and h·f(x) to ``out``."""
        if z is None:
            z = self._z
        np.dot(x, self._MT, z)
        if self.drive.inside is not None:
            np.add(z, self.drive.inside, z)
        self.envelope.value(z, phi)
        self.increment_from_phi(x, phi, out)

    def increment_from_phi(self, x: Array, phi: Array, out: Array) -> None:
        """Write h·f(x) to ``out`` for a φ that is known."""
        np.multiply(phi, self._ah, out)
        np.multiply(x, self._ch, self._scratch)
        np.subtract(out, self._scratch, out)
        if self._h_outside is not None:
            np.add(out, self._h_outside, out)

    def step(self, record: Record, x_next: Array, *, first_known: bool = False) -> None:
        """Advance ``record.state[0]`` by the step size into ``x_next``, filling the record.

        With ``first_known`` the first stage's φ is already in the record.
        """
        states, phis, zs = record.state, record.phi, record.z
        np.copyto(self._start, states[0])
        for s, (sum_, kh) in enumerate(self._stages):
            if s == 0:
                if first_known:
                    self.increment_from_phi(states[0], phis[0], kh)
                    continue
            elif sum_ is None:
                np.add(self._start, self.kh[0], states[s])
            else:
                np.dot(*sum_, record.flat[s])
            self.increment(states[s], phis[s], None if zs is None else zs[s], kh)
        np.dot(*self._last, x_next.reshape(-1))

    def error(self, out: Array) -> None:
        """Write the last step's error estimate, (c, n), to ``out``."""
        np.dot(*self._error, out.reshape(-1))


class Reverser:
    """Reverses the steps of a `Stepper` and collects the gradient.

    For a step with stage states X_s, k_s = f(X_s), x⁺ = x + h Σ b_s k_s, and λ the derivative
    of the loss with respect to x⁺, the stages in reverse order give

        κ_s = h (b_s λ + Σ_{r>s} A_rs X̄_r),   g_s = κ_s∘φ'(z_s),   X̄_s = g_s diag(a)M − c∘κ_s,

    and λ + Σ X̄_s is the derivative with respect to x. The gradient adds up as M̄ = diag(a)Σ g_sᵀX_s,
    ā = Σ κ_s∘φ_s, c̄ = −Σ κ_s∘X_s, b̄ = Σ κ_s∘v. The slopes φ' of a block are found before its
    steps are reversed, and its sums are taken afterwards. Where a node stays, κ_s is 0.
    """

    def __init__(self, stepper: Stepper, inputs: bool = False) -> None:
        self.stepper = stepper
        shape, dtype = stepper.drive.initial.shape, stepper.drive.initial.dtype
        A, b = stepper.tableau.A, stepper.tableau.b
        s, n = stepper.tableau.stages, shape[1]
        # The terms of every sum: X̄ of the stages, and λ at the end.
        # Two stacks take turns, so that the sum of one can be written to the other.
        terms = np.empty((2, s + 1, *shape), dtype)
        flat = terms.reshape(2, s + 1, -1)
        columns = [[A[r][i] if r > i else 0.0 for r in range(s)] + [b[i]] for i in range(s)]
        self._tableau = np.array(columns, dtype)
        self._weights = np.empty_like(self._tableau)
        self._turns = [
            (
                [
                    (self._weights[i, i + 1 :], flat[here, i + 1 :], terms[here, i])
                    for i in reversed(range(s))
                ],
                flat[here],
                flat[1 - here, -1],
                terms[1 - here, -1],
            )
            for here in (0, 1)
        ]
        self.adjoint = terms[0, -1]
        self.adjoint.fill(0)
        self._ones = np.ones(s + 1, dtype)
        self._aM = stepper.coefficients.a[:, None] * stepper.coefficients.M
        self._scratch = np.empty(shape, dtype)
        self._product = np.empty((n, n), dtype)
        self._M = np.zeros((n, n), dtype)
        self._a = np.zeros(n, dtype)
        self._c = np.zeros(n, dtype)
        self._outside = None if stepper.drive.outside is None else np.zeros(shape, dtype)
        self._inside = np.zeros(shape, dtype) if inputs else None
        self.h = float("nan")

    def prepare(self, block: Block, sweep: Sweep, steps: int) -> None:
        """Write φ' of a block's first steps to where g will be."""
        z = None if block.z is None else block.z[:steps]
        self.stepper.envelope.slope(z, block.phi[:steps], sweep.g[:steps])

    def step(self, stages: tuple[tuple[Array, Array, Array], ...], h: float) -> None:
        """Carry the adjoint from the end of a step to its start; one row of ``Sweep.stages``."""
        if h != self.h:
            self.h = h
            np.multiply(self._tableau, h, out=self._weights)
        dot, multiply, subtract = np.dot, np.multiply, np.subtract
        aM, c, scratch = self._aM, self.stepper.c, self._scratch
        moves = self.stepper.drive.moves
        here, total, after, self.adjoint = self._turns[0]
        self._turns.reverse()
        for (weights, terms, bar), (flat, kappa, g) in zip(here, stages, strict=True):
            dot(weights, terms, flat)
            if moves is not None:
                multiply(kappa, moves, kappa)
            multiply(g, kappa, g)
            dot(g, aM, bar)
            multiply(kappa, c, scratch)
            subtract(bar, scratch, bar)
        dot(self._ones, total, after)

    def collect(self, block: Block, sweep: Sweep, steps: int) -> None:
        """Add the gradient of a block whose first steps have been reversed."""
        n = self._M.shape[0]
        state, phi, kappa, g = (
            array[:steps].reshape(-1, n) for array in (block.state, block.phi, sweep.kappa, sweep.g)
        )
        np.dot(g.T, state, self._product)
        np.add(self._M, self._product, self._M)
        self._a += np.einsum("kn,kn->n", kappa, phi)
        self._c -= np.einsum("kn,kn->n", kappa, state)
        if self._outside is not None:
            self._outside += np.add.reduce(sweep.kappa[:steps], axis=(0, 1))
        if self._inside is not None:
            self._inside += np.add.reduce(sweep.g[:steps], axis=(0, 1))

    def gradient(self) -> Coefficients:
        """Gradient with respect to M, a, b and c of all steps reversed so far."""
        b = np.zeros_like(self._a)
        if self._outside is not None:
            assert self.stepper.drive.outside is not None
            b = np.einsum("cn,cn->n", self._outside, self.stepper.drive.outside)
        M = self.stepper.coefficients.a[:, None] * self._M
        return Coefficients(M, self._a, b, self._c)

    def drive_gradient(self) -> Drive:
        """Gradient with respect to p and v, once all steps are reversed; 0 for x₀."""
        assert self._inside is not None
        k, outside = self.stepper.coefficients, self._outside
        through = None if outside is None else outside * k.b
        return Drive(self._inside * k.a, through, np.zeros_like(self.adjoint))
