"""Steps of small systems on floats: a step is one call of a function written for its method.

The numbers are those of `FieldStepper` up to rounding. Where floats raise an error NumPy has
infinities and NaN, and the integration is left to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from pycellbox.backends.numpy.tape import Tape
from pycellbox.numerics.equations import Field, Scripts
from pycellbox.numerics.scripts import define
from pycellbox.numerics.steps import POWER_STEPS, REACH_87
from pycellbox.numerics.tableaux import Tableau
from pycellbox.problem import Array

Floats = tuple[float, ...]
_TINY = float(np.finfo(float).tiny)


class StraightSteps:
    """Attempts steps of all conditions; see `pycellbox.backends.numpy.control.Attempts`.

    Parameters
    ----------
    tableau : Tableau
    field : Field
    scripts : Scripts
        Of the field.
    tape : Tape
        For the way back; `finish` writes it.
    solver : FixedStep or Tsit5
    """

    everywhere = False

    def __init__(
        self,
        tableau: Tableau,
        field: Field,
        scripts: Scripts,
        tape: Tape,
        solver: Any,
    ) -> None:
        self.tableau, self.faults = tableau, field.faults
        self._field, self._scripts, self.tape = field, scripts, tape
        self._tolerances = (solver.rtol, solver.atol) if solver.holds_error else (0.0, 1.0)
        self._step = stepping(tableau, scripts.places.size)
        self._growth = bounding(scripts.places.size)
        self._states: Sequence[Floats] = list(map(tuple, field.initial[:, scripts.places].tolist()))
        self._slopes: Sequence[Floats] = ()
        self._seen: list[Floats] = [(1.0,) * scripts.places.size] * len(self._states)
        self._tried: list[tuple[Floats, Floats, Floats, float]] = []
        self._stages: list[Sequence[Floats]] = []
        self._asked: list[Sequence[Floats]] = []

    def begin(self) -> None:
        """See `Attempts.begin`."""
        began = zip(self._scripts.rates, self._states, strict=True)
        self._slopes = [rate(*x) for rate, x in began]

    def follow(self, before: object) -> None:
        """See `Attempts.follow`."""
        if isinstance(before, StraightSteps):
            self._seen = before._seen

    def bound(self) -> tuple[float, float]:
        """See `Attempts.bound`."""
        largest = self._largest()
        return REACH_87 / largest, largest

    def attempt(self, h: float) -> float:
        """See `Attempts.attempt`."""
        step, (rtol, atol) = self._step, self._tolerances
        self._tried = [
            step(rate, h, rtol, atol, x, k)
            for rate, x, k in zip(self._scripts.rates, self._states, self._slopes, strict=True)
        ]
        error = math.sqrt(sum(one[3] for one in self._tried) / self._field.initial.size)
        if not error < math.inf:
            self._look()
        return error

    def _look(self) -> None:
        """Have the field say which equation had no value in the last attempt, if one had not."""
        x = self._field.initial.copy()
        tried = [np.reshape(one[0], (self.tableau.stages, -1)) for one in self._tried]
        for states in np.stack(tried, axis=1):
            x[:, self._scripts.places] = states
            self._field.value(x)

    def run(self, plan: list[tuple[int, float]]) -> list[int]:
        """Make so many steps of one length after the other, and keep the states after each."""
        self.begin()
        for k, (count, h) in enumerate(plan):
            for _ in range(count):
                self.attempt(h)
                self.go_on(h)
            self.keep(k)
        ends: list[int] = np.cumsum([count for count, _ in plan]).tolist()
        return ends

    def accept(self, h: float) -> float:
        """See `Attempts.accept`."""
        self.go_on(h)
        return REACH_87 / self._largest()

    def go_on(self, h: float) -> None:
        """Keep the last attempt, whose step was h."""
        self.tape.sizes.append(h)
        stages, states, slopes, _ = zip(*self._tried, strict=True)
        if self.tape.keep:
            self._stages.append(stages)
        self._states, self._slopes = states, slopes

    def _largest(self) -> float:
        """See `FieldStepper.bound`."""
        largest = _TINY
        for i, (jacobian, x) in enumerate(zip(self._scripts.jacobians, self._states, strict=True)):
            size, self._seen[i] = self._growth(jacobian(*x), self._seen[i])
            if not size < math.inf:
                raise ValueError
            largest = max(size, largest)
        return largest

    def worst(self) -> int:
        """See `Attempts.worst`."""
        return int(np.argmax([one[3] for one in self._tried]))

    def keep(self, k: int) -> None:
        """See `Attempts.keep`; `finish` writes them."""
        self._asked.append(self._states)

    def finish(self, states: Array) -> None:
        """Write the states at the times to (c, t, n), and the stages of all steps to the tape."""
        states[...] = self._field.initial[:, None]
        states[..., self._scripts.places] = np.swapaxes(self._asked, 0, 1)
        places, per_block = self._scripts.places, self.tape.steps_per_block
        for first in range(0, len(self._stages), per_block):
            some = self._stages[first : first + per_block]
            block = self.tape.block(first // per_block).state[: len(some)]
            block[...] = self._field.initial
            shape = (len(some), len(self._states), self.tableau.stages, places.size)
            block[..., places] = np.reshape(some, shape).swapaxes(1, 2)


@cache
def stepping(tableau: Tableau, n: int) -> Callable[..., tuple[Floats, Floats, Floats, float]]:
    """Return the step of one condition as a function of floats.

    It takes dx/dt as a function, h, rtol, atol, the state and dx/dt there, and returns the states
    of all stages, the state after the step, dx/dt there, and the sum of the squared errors.
    """
    lines = [f"{_row('x', n)}= x", f"{_row('k0_', n)}= k0"]
    stages = [_row("x", n)]
    for s in range(1, tableau.stages):
        lines += _sums(f"x{s}_", tableau.A[s], n)
        lines.append(f"{_row(f'k{s}_', n)}= rates({_row(f'x{s}_', n)})")
        stages.append(_row(f"x{s}_", n))
    lines += [*_sums("y", tableau.b, n), f"k = {_row('z', n)}= rates({_row('y', n)})"]
    errors = []
    for i, weights in product(range(n), [tableau.error] if tableau.error else []):
        names = [*(f"k{s}_{i}" for s in range(tableau.stages)), f"z{i}"]
        total = " + ".join(f"{w!r}*{name}" for w, name in zip(weights, names, strict=True) if w)
        lines += [
            f"a = x{i} if x{i} >= 0 else -x{i}",
            f"b = y{i} if y{i} >= 0 else -y{i}",
            f"e{i} = h*({total})/(atol + rtol*(a if a > b else b))",
        ]
        errors.append(f"e{i}*e{i}")
    result = f"({''.join(stages)}), ({_row('y', n)}), k, {' + '.join(errors) or '0.0'}"
    lines.append(f"return {result}")
    found: Callable[..., tuple[Floats, Floats, Floats, float]] = _defined(
        "step(rates, h, rtol, atol, x, k0)", lines
    )
    return found


@cache
def bounding(n: int) -> Callable[[Floats, Floats], tuple[float, Floats]]:
    """Return steps of the power method on Jᵀ as a function of J row by row and a vector.

    It returns the last growth, and the vector to go on with.
    """
    J = [[f"J{i}_{j}" for j in range(n)] for i in range(n)]
    lines = [f"{''.join(f'{name}, ' for row in J for name in row)}= J", f"{_row('v', n)}= v"]
    norm = f"sqrt({' + '.join(f'w{j}*w{j}' for j in range(n))})"
    for number in range(POWER_STEPS):
        lines += [f"w{j} = {' + '.join(f'{J[i][j]}*v{i}' for i in range(n))}" for j in range(n)]
        lines.append(f"size = {norm}")
        if number < POWER_STEPS - 1:
            lines += ["size = size if size > 1e-300 else 1e-300"]
            lines += [f"v{j} = w{j}/size" for j in range(n)]
    then = "".join(f"w{j}/more + 1e-3, " for j in range(n))
    lines += ["more = size if size > 1e-300 else 1e-300", f"return size, ({then})"]
    function: Callable[[Floats, Floats], tuple[float, Floats]] = _defined("bound(J, v)", lines)
    return function


def _sums(name: str, weights: Floats, n: int) -> Iterator[str]:
    """Yield the assignments of x + h Σ weight·k."""
    for i in range(n):
        terms = [f"{w!r}*k{s}_{i}" for s, w in enumerate(weights) if w]
        yield f"{name}{i} = x{i} + h*({' + '.join(terms)})"


def _row(name: str, n: int) -> str:
    return "".join(f"{name}{i}, " for i in range(n))


def _defined(head: str, lines: Iterable[str]) -> Any:
    body = "\n".join(f"    {line}" for line in lines)
    return define(f"def {head}:\n{body}", head.split("(")[0])
