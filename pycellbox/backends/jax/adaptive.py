"""The steps that diffrax's Tsit5 takes, all conditions as one system.

diffrax chooses the steps, `kernel` takes them once more and reverses them. That is the derivative
which diffrax's recursive checkpointing gives, where the step sizes do not count either, in about
half of its time to run and to compile. diffrax's continuous adjoint would integrate the
state backwards, which a decaying network does not survive.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import diffrax
import equinox
import jax
import jax.numpy as jnp
import numpy as np

from pycellbox.backends.jax.scans import Method
from pycellbox.errors import DivergenceError
from pycellbox.numerics.steps import POWER_STEPS, REACH_87
from pycellbox.problem import Array
from pycellbox.solvers import Tsit5


class Control(NamedTuple):
    """Requested times, (t,), tolerances, the first step, and the longest that stays stable."""

    times: Any
    rtol: Any
    atol: Any
    first: Any
    longest: Any


def step_ends(
    solver: Tsit5,
    method: Method,
    parameters: Any,
    drive: Any,
    rows: Any,
    times: Array,
    prefix: int,
    steps: tuple[float, float | None],
    start: Any = None,
) -> tuple[Array, Any]:
    """Return the ends of the accepted steps, (s,), among them the requested times up to the prefix.

    With another initial state, ``start``, (n, c), also the state at the end, and None otherwise.

    ``steps`` are the first step and the longest, as the NumPy backend has them: a loose error
    control lets steps grow without limit once all has settled, and the exact derivative of those
    steps explodes. Without a longest step, it is estimated anew along the trajectory, and the first
    step is that of a rate of 1.

    Raises
    ------
    DivergenceError
        The step vanishes or takes too many attempts.
    """
    end = times[prefix - 1]
    if end == 0:
        return np.zeros(0), start
    # In the dtype of the states, which diffrax would otherwise promote to that of the times; and
    # as many for every prefix, so that one program serves them all.
    first, longest = steps
    first = first if longest is None else min(first, end)
    numbers = (np.minimum(times, end), solver.rtol, solver.atol, first, longest)
    dtype = drive.initial.dtype
    control = Control(*(None if v is None else np.asarray(v, dtype) for v in numbers))
    kind = (method, int(solver.max_steps))
    *found, last = _step_ends(*kind, parameters, drive, rows, control, start)
    ends, count, finished = jax.device_get(found)
    if not finished:
        raise DivergenceError(
            f"Tsit5 gave up before t = {end:g}: its step vanished or {solver.max_steps} steps did "
            "not suffice; the network is stiff or unstable: loosen rtol and atol, raise "
            "max_steps, or shrink W."
        )
    return np.asarray(ends[: int(count)]), last


@functools.partial(jax.jit, static_argnums=(0, 1))
def _step_ends(
    method: Method,
    max_steps: int,
    parameters: Any,
    drive: Any,
    rows: Any,
    control: Control,
    start: Any,
) -> tuple[jax.Array, jax.Array, jax.Array, Any]:
    args = parameters, method.oriented(drive, rows)
    x, end, first = args[1].initial, control.times[-1], control.first
    steps: Any = {"steps": True, "fn": lambda t, x, args: None}
    saved = diffrax.SaveAt(**steps)
    if start is not None:
        x, subs = start, [diffrax.SubSaveAt(**steps), diffrax.SubSaveAt(t1=True)]
        saved = diffrax.SaveAt(subs=subs)
    if control.longest is None:
        first = jnp.minimum(first / _bound(method, args, x, jnp.ones_like(x))[0], end)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, x, args: _slope(method, args, x)),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(end),
        t1=end,
        dt0=first,
        y0=x,
        args=args,
        saveat=saved,
        stepsize_controller=_controller(control, end, method),
        adjoint=diffrax.ForwardMode(),
        max_steps=max_steps,
        throw=False,
    )
    finished = solution.result == diffrax.RESULTS.successful
    count, ends, last = solution.stats["num_accepted_steps"], solution.ts, None
    if start is not None:
        ends, last = ends[0], solution.ys[1][-1]
    return ends, count, finished, last


def _controller(control: Control, end: jax.Array, method: Method) -> Any:
    """Elementary control, as in the NumPy backend; every requested time is the end of a step."""
    inner: Any = diffrax.PIDController(
        rtol=control.rtol,
        atol=control.atol,
        dtmax=control.longest,
        # A state that is not finite is rejected until the step vanishes, and that is the end;
        # without these the solver would go on to max_steps.
        norm=_finite_norm,
        dtmin=1e-20 * end,
        force_dtmin=False,
    )
    if control.longest is None:
        inner = _LocallyStable(inner, method)
    return diffrax.ClipStepSizeController(inner, step_ts=control.times)


def _finite_norm(error: jax.Array) -> jax.Array:
    norm = jnp.sqrt(jnp.mean(error * error))
    return jnp.where(jnp.isfinite(norm), norm, jnp.inf)


def _slope(method: Method, args: tuple[Any, Any], x: jax.Array) -> jax.Array:
    parameters, inputs = args
    return method.slope(parameters, inputs, x)


def _bound(method: Method, args: Any, x: jax.Array, seen: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Bound |λ| at states by the power method on Jᵀ; return also where that has got to."""
    _, pull_back = jax.vjp(lambda x: _slope(method, args, x), x)
    tiny = jnp.finfo(x.dtype).tiny
    largest, v = jnp.asarray(tiny), seen
    for _ in range(POWER_STEPS):
        (w,) = pull_back(v)
        size, before = (jnp.maximum(jnp.linalg.norm(a, axis=0), tiny) for a in (w, v))
        largest, v = jnp.maximum((size / before).max(), tiny), w / size
    # A little of everything, so that no mode is lost for ever.
    return largest, v + 1e-3


class _LocallyStable(diffrax.AbstractAdaptiveStepSizeController):  # type: ignore[misc]
    """Another controller, with steps that are stable at the states that have been reached."""

    inner: Any
    method: Any = equinox.field(static=True)

    rtol = property(lambda self: self.inner.rtol)
    atol = property(lambda self: self.inner.atol)
    norm = property(lambda self: self.inner.norm)

    def wrap(self, direction: Any) -> _LocallyStable:
        return _LocallyStable(self.inner.wrap(direction), self.method)

    def init(
        self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, func: Any, order: Any
    ) -> Any:
        t1, state = self.inner.init(terms, t0, t1, y0, dt0, args, func, order)
        return t1, (state, *_bound(self.method, args, y0, jnp.ones_like(y0)))

    def adapt_step_size(
        self, t0: Any, t1: Any, y0: Any, y1: Any, args: Any, error: Any, order: Any, state: Any
    ) -> Any:
        inner_state, *before = state
        now = _bound(self.method, args, y1, before[1])
        # A step that left the finite numbers is not accepted, and says nothing.
        finite = jnp.isfinite(now[0]) & jnp.isfinite(now[1]).all()
        largest, seen = (jnp.where(finite, a, b) for a, b in zip(now, before, strict=True))
        inner = equinox.tree_at(
            lambda c: c.dtmax, self.inner, REACH_87 / largest, is_leaf=lambda leaf: leaf is None
        )
        *found, inner_state, result = inner.adapt_step_size(
            t0, t1, y0, y1, args, error, order, inner_state
        )
        return *found, (inner_state, largest, seen), result
