"""Derivatives of steps that have been taken, for many of them at once.

What a step makes of a small change before it is one matrix, and those of many steps are found
together: with T_s = ∂X_s/∂(x, θ) at its stages and J, P the derivatives of f there,

    T_s = [1 0] + h Σ_r A_sr K_r ,   K_s = J_s T_s + [0 P_s] ,

and ∂x⁺/∂(x, θ) = [1 0] + h Σ_s b_s K_s ; a linear equation for T_s where the stage is implicit.
Only the product of the matrices goes from one step to the next.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.equations import INPUT, Field, Gradients
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array

# Numbers in the derivatives that are made at a time.
_ENTRIES = 2**20
# Up to so many nodes the matrices of steps cost less than one sweep through the stages.
MOST_NODES = 20


def forward(field: Field, tableau: Tableau, tape: Tape, X: Array) -> Iterator[Array]:
    """Yield dx/dθ, (c, n, θ), after every step, from that at the beginning."""
    (_, n, size), many = X.shape, _Repeated(field)
    for first, states in _spans(tape, n * (n + size), forwards=True):
        J, P = many.slopes(states)
        of_states, of_parameters = _through(tableau, _sizes(tape, first, len(states)), J, P)
        for there, more in zip(of_states, of_parameters, strict=True):
            X = there @ X + more
            yield X


def backward(
    field: Field, tableau: Tableau, tape: Tape, due: dict[int, Array], gradient: dict[str, Array]
) -> Array:
    """Add the gradient of a loss with seeds (c, n) after numbers of steps; return that of x(0).

    With κ_s = h (b_s λ + Σ_r A_rs X̄_r), r ≥ s, and X̄_s = J_sᵀκ_s, λ being what comes from after
    the step, Σ κ_s·∂f/∂θ is the gradient.
    """
    (c, n), many = field.initial.shape, _Repeated(field)
    adjoint = np.zeros_like(field.initial)
    for first, states in _spans(tape, n * n, forwards=False):
        h, J = _sizes(tape, first, len(states)), many.jacobians(states)
        of_states, _ = _through(tableau, h, J, None)
        after = np.empty((len(states), c, n), adjoint.dtype)
        for k in range(len(states) - 1, -1, -1):
            if first + k + 1 in due:
                adjoint = adjoint + due[first + k + 1]
            after[k] = adjoint
            adjoint = (adjoint[:, None, :] @ of_states[k])[:, 0]
        many.pull_back(states, _adjoints(tableau, h[..., 0], J, after), gradient)
    return adjoint + due[0] if 0 in due else adjoint


def _through(tableau: Tableau, h: Array, J: Array, P: Array | None) -> tuple[Array, Array]:
    """Return ∂x⁺/∂x, (m, c, n, n), and ∂x⁺/∂θ of steps, from the slopes (m, stages, c, n, ·)."""
    m, stages, c, n, _ = J.shape
    start = np.zeros((m, c, n, n + (0 if P is None else P.shape[-1])), J.dtype)
    start[..., :n] = eye = np.eye(n, dtype=J.dtype)
    K: list[Array] = []
    for s in range(stages):
        at = start
        for weight, slope in zip(tableau.A[s][:s], K, strict=False):
            if weight:
                at = at + (h * weight) * slope
        if weight := tableau.own(s):
            own, due = h * weight, at
            if P is not None:
                due = at.copy()
                due[..., n:] += own * P[:, s]
            solved = np.linalg.solve(eye - own * J[:, s], due)
            K.append((solved - at) / own)  # J times it would lose the digits of what is fast
            continue
        slope = J[:, s] @ at
        if P is not None:
            slope[..., n:] += P[:, s]
        K.append(slope)
    for weight, slope in zip(tableau.b, K, strict=True):
        if weight:
            start = start + (h * weight) * slope
    return start[..., :n], start[..., n:]


def _adjoints(tableau: Tableau, h: Array, J: Array, after: Array) -> Array:
    """Return κ, (m, stages, c, n), from the adjoints after the steps, (m, c, n)."""
    A, b, (m, stages, c, n, _) = tableau.A, tableau.b, J.shape
    kappa, bars = np.empty((m, stages, c, n), after.dtype), dict[int, Array]()
    for s in reversed(range(stages)):
        due = (h * b[s]) * after
        for r, bar in bars.items():
            if s < len(A[r]) and A[r][s]:
                due = due + (h * A[r][s]) * bar
        if weight := tableau.own(s):
            own = h * weight
            system = np.eye(n, dtype=J.dtype) - own[..., None] * J[:, s]
            kappa[:, s] = np.linalg.solve(system.swapaxes(-1, -2), due[..., None])[..., 0]
            bars[s] = (kappa[:, s] - due) / own
        else:
            kappa[:, s] = due
            bars[s] = (due[..., None, :] @ J[:, s])[..., 0, :]
    return kappa


def _sizes(tape: Tape, first: int, count: int) -> Array:
    return np.array(tape.sizes[first : first + count])[:, None, None, None]


def _spans(tape: Tape, each: int, *, forwards: bool) -> Iterator[tuple[int, Array]]:
    """Yield steps in a row: the number of the first, and all their stages (m, stages, c, n)."""
    steps, per_block = len(tape.sizes), tape.steps_per_block
    spans = []
    for start in range(0, steps, per_block):
        _, stages, c, _ = tape.block(start // per_block).state.shape
        most = max(_ENTRIES // (stages * c * each), 1)
        stop = min(start + per_block, steps)
        spans += [(first, min(first + most, stop)) for first in range(start, stop, most)]
    for first, last in spans if forwards else reversed(spans):
        index, start = divmod(first, per_block)
        yield first, tape.block(index).state[start : start + last - first]


class _Repeated:
    """A field for the states of many steps and stages, (m, stages, c, n)."""

    def __init__(self, field: Field) -> None:
        self._field, self._times = field, 0
        self._many: Field | None = field

    def _at(self, states: Array) -> tuple[list[tuple[Field, Array]], tuple[int, ...]]:
        """Return what can be asked at once: all, or each stage by itself."""
        flat, ahead = states.reshape(-1, *states.shape[2:]), states.shape[:3]
        if self._times != len(flat):
            self._times, self._many = len(flat), self._field.repeated(len(flat))
        if self._many is None:
            return [(self._field, x) for x in flat], ahead
        return [(self._many, flat.reshape(-1, flat.shape[-1]))], ahead

    def jacobians(self, states: Array) -> Array:
        """∂f/∂x, (m, stages, c, n, n)."""
        asked, ahead = self._at(states)
        J = np.concatenate([field.jacobian(x) for field, x in asked])
        return J.reshape(*ahead, *J.shape[1:])

    def slopes(self, states: Array) -> tuple[Array, Array]:
        """∂f/∂x, and ∂f/∂θ, (m, stages, c, n, θ)."""
        asked, ahead = self._at(states)
        found = [field.slopes(x) for field, x in asked]
        J, P = (np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[arg-type]
        return J.reshape(*ahead, *J.shape[1:]), P.reshape(*ahead, *P.shape[1:])

    def pull_back(self, states: Array, adjoints: Array, gradient: dict[str, Array]) -> None:
        """Add Σ adjoint·∂f to a gradient; see `Field.pull_back`."""
        asked, (_, _, c) = self._at(states)
        flat = adjoints.reshape(len(asked), -1, adjoints.shape[-1])
        for (field, x), adjoint in zip(asked, flat, strict=True):
            part = Gradients()
            field.pull_back(x, adjoint, part)
            if INPUT in part:
                part[INPUT] = part[INPUT].reshape(-1, c, x.shape[1]).sum(axis=0)
            for name, array in part.items():
                gradient[name] = gradient[name] + array
