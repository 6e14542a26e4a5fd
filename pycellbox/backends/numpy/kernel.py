"""One Runge-Kutta step of the kernel, and its exact reverse. In place, no allocation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pycellbox.backends.lowering import Coefficients, Drive
from pycellbox.backends.numpy.envelopes import EnvelopeKernel
from pycellbox.backends.numpy.tableaux import Tableau
from pycellbox.problem import Array


@dataclass(frozen=True)
class Record:
    """What a step leaves for its reverse: per stage the state, φ and, if needed, z, (s, c, n)."""

    state: Array
    phi: Array
    z: Array | None


class Stepper:
    """Steps one method over one network and one set of conditions.

    Increments are kept multiplied by the step size, kh = h·f, by scaling a, b∘v and c once a
    step instead of every increment.

    Parameters
    ----------
    tableau : Tableau
    envelope : EnvelopeKernel
    coefficients : Coefficients
    drive : Drive
        Of the c conditions to integrate.
    """

    def __init__(
        self, tableau: Tableau, envelope: EnvelopeKernel, coefficients: Coefficients, drive: Drive
    ) -> None:
        self.tableau, self.envelope = tableau, envelope
        self.coefficients, self.drive = coefficients, drive
        shape, dtype = drive.initial.shape, drive.initial.dtype
        s = tableau.stages
        self.kh = np.empty((s + bool(tableau.error), *shape), dtype)
        self._z = np.empty(shape, dtype)
        self._scratch = np.empty(shape, dtype)
        self._outside = None if drive.outside is None else coefficients.b * drive.outside
        self._h_outside = None if drive.outside is None else np.empty(shape, dtype)
        self.h = float("nan")
        # Spread over the conditions: a product of equal shapes takes half the time of one that
        # broadcasts a row of a hundred nodes.
        self.ah = np.empty(shape, dtype)
        self.ch = np.empty(shape, dtype)

    def set_step(self, h: float) -> None:
        """Choose the step size of the steps to come (and of those to be reversed)."""
        if h == self.h:
            return
        self.h = h
        self.ah[...] = self.coefficients.a * h
        self.ch[...] = self.coefficients.c * h
        if self._outside is not None:
            np.multiply(self._outside, h, out=self._h_outside)

    def increment(self, x: Array, phi: Array, z: Array | None, out: Array) -> None:
        """Write φ(Mx + p) to ``phi`` and h·f(x) to ``out``."""
        z = self._z if z is None else z
        np.matmul(x, self.coefficients.M.T, out=z)
        if self.drive.inside is not None:
            np.add(z, self.drive.inside, out=z)
        self.envelope.value(z, phi)
        self.increment_from_phi(x, phi, out)

    def increment_from_phi(self, x: Array, phi: Array, out: Array) -> None:
        """Write h·f(x) to ``out`` for a φ that is known."""
        np.multiply(phi, self.ah, out=out)
        np.multiply(x, self.ch, out=self._scratch)
        np.subtract(out, self._scratch, out=out)
        if self._h_outside is not None:
            np.add(out, self._h_outside, out=out)

    def step(self, record: Record, x_next: Array, *, first_known: bool = False) -> None:
        """Advance ``record.state[0]`` by the step size into ``x_next``, filling the record.

        With ``first_known`` the first stage's φ is already in the record.
        """
        kh, x = self.kh, record.state[0]
        for s, weights in enumerate(self.tableau.A):
            state = record.state[s]
            if s > 0:
                self._combine(x, weights, kh, state)
            if s == 0 and first_known:
                self.increment_from_phi(state, record.phi[0], kh[0])
            else:
                z = None if record.z is None else record.z[s]
                self.increment(state, record.phi[s], z, kh[s])
        self._combine(x, self.tableau.b, kh, x_next)

    def _combine(self, x: Array, weights: tuple[float, ...], terms: Array, out: Array) -> None:
        """Write x + Σ weights·terms to ``out``."""
        start = x
        for weight, term in zip(weights, terms, strict=False):
            if weight == 0:
                continue
            if weight == 1:
                np.add(start, term, out=out)
            else:
                np.multiply(term, weight, out=self._scratch)
                np.add(start, self._scratch, out=out)
            start = out
        if start is x:
            np.copyto(out, x)


class Reverser:
    """Reverses the steps of a `Stepper` one by one and collects the gradient.

    For a step with stage states X_s, kh_s = h f(X_s), x⁺ = x + Σ b_s kh_s, and λ the derivative
    of the loss with respect to x⁺, the stages in reverse order give

        κ_s = b_s λ + Σ_{r>s} A_rs X̄_r,   g_s = κ_s∘ha∘φ'(z_s),   X̄_s = g_s M − hc∘κ_s,

    and λ + Σ X̄_s is the derivative with respect to x. The gradient adds up as M̄ = Σ g_sᵀX_s,
    ā = h Σ κ_s∘φ_s, c̄ = −h Σ κ_s∘X_s, b̄ = h Σ κ_s∘v.
    """

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        shape, dtype = stepper.drive.initial.shape, stepper.drive.initial.dtype
        s, n = stepper.tableau.stages, shape[1]
        self._kappa = np.empty((s, *shape), dtype)
        self._g = np.empty((s, *shape), dtype)
        self._state_bar = np.empty((s, *shape), dtype)
        self._scratch = np.empty(shape, dtype)
        self._product = np.empty((n, n), dtype)
        self._M = np.zeros((n, n), dtype)
        self._a = np.zeros(n, dtype)
        self._c = np.zeros(n, dtype)
        self._outside = None if stepper.drive.outside is None else np.zeros(shape, dtype)

    def step(self, record: Record, adjoint: Array) -> None:
        """Carry ``adjoint`` from the end of a step to its start, in place."""
        st = self.stepper
        A, b = st.tableau.A, st.tableau.b
        for s in range(st.tableau.stages - 1, -1, -1):
            kappa, g, bar = self._kappa[s], self._g[s], self._state_bar[s]
            np.multiply(adjoint, b[s], out=kappa)
            for r in range(s + 1, st.tableau.stages):
                self._add_scaled(A[r][s], self._state_bar[r], kappa)
            z = None if record.z is None else record.z[s]
            st.envelope.slope(z, record.phi[s], g)
            np.multiply(g, kappa, out=g)
            np.multiply(g, st.ah, out=g)
            np.matmul(g, st.coefficients.M, out=bar)
            np.multiply(kappa, st.ch, out=self._scratch)
            np.subtract(bar, self._scratch, out=bar)
        for bar in self._state_bar:
            np.add(adjoint, bar, out=adjoint)
        self._collect(record)

    def _collect(self, record: Record) -> None:
        st, n = self.stepper, self._M.shape[0]
        np.matmul(self._g.reshape(-1, n).T, record.state.reshape(-1, n), out=self._product)
        np.add(self._M, self._product, out=self._M)
        kappa = self._kappa.reshape(-1, n)
        h = st.h
        self._a += h * np.einsum("kn,kn->n", kappa, record.phi.reshape(-1, n))
        self._c -= h * np.einsum("kn,kn->n", kappa, record.state.reshape(-1, n))
        if self._outside is not None:
            for stage in self._kappa:
                self._add_scaled(h, stage, self._outside)

    def _add_scaled(self, weight: float, term: Array, out: Array) -> None:
        if weight == 0:
            return
        if weight == 1:
            np.add(out, term, out=out)
            return
        np.multiply(term, weight, out=self._scratch)
        np.add(out, self._scratch, out=out)

    def gradient(self) -> Coefficients:
        """Gradient with respect to M, a, b and c of all steps reversed so far."""
        b = np.zeros_like(self._a)
        if self._outside is not None:
            assert self.stepper.drive.outside is not None
            b = np.einsum("cn,cn->n", self._outside, self.stepper.drive.outside)
        return Coefficients(self._M, self._a, b, self._c)
