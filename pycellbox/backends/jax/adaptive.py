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
import jax
import jax.numpy as jnp
import numpy as np

from pycellbox.backends.jax.envelopes import envelope
from pycellbox.backends.jax.kernel import Inputs, Network, oriented, product
from pycellbox.errors import DivergenceError
from pycellbox.models import CellBox
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
    model: CellBox,
    network: Network,
    drive: Inputs,
    rows: Any,
    times: Array,
    prefix: int,
    steps: tuple[float, float],
) -> Array:
    """Return the ends of the accepted steps, (s,), among them the requested times up to the prefix.

    ``steps`` are the first step and the longest, as the NumPy backend has them: a loose error
    control lets steps grow without limit once all has settled, and the exact derivative of those
    steps explodes.

    Raises
    ------
    DivergenceError
        The step vanishes or takes too many attempts.
    """
    end = times[prefix - 1]
    if end == 0:
        return np.zeros(0)
    # In the dtype of the states, which diffrax would otherwise promote to that of the times; and
    # as many for every prefix, so that one program serves them all.
    first, longest = steps
    numbers = (np.minimum(times, end), solver.rtol, solver.atol, min(first, end), longest)
    control = Control(*(np.asarray(v, network.M.dtype) for v in numbers))
    kind = (model.envelope, model.order, int(solver.max_steps))
    ends, count, finished = jax.device_get(_step_ends(*kind, network, drive, rows, control))
    if not finished:
        raise DivergenceError(
            f"Tsit5 gave up before t = {end:g}: its step vanished or {solver.max_steps} steps did "
            "not suffice; the network is stiff or unstable: loosen rtol and atol, raise "
            "max_steps, or shrink W."
        )
    return np.asarray(ends[: int(count)])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _step_ends(
    name: str,
    order: int | None,
    max_steps: int,
    network: Network,
    drive: Inputs,
    rows: Any,
    control: Control,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    inputs, phi = oriented(drive, rows), envelope(name, order)

    def slope(t: jax.Array, x: jax.Array, args: tuple[Network, Inputs]) -> Any:
        net, drive = args
        z = product(net.M, x)
        if drive.inside is not None:
            z = z + drive.inside
        out = net.a[:, None] * phi.value(z) - net.c[:, None] * x
        return out if drive.outside is None else out + net.b[:, None] * drive.outside

    end = control.times[-1]
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(slope),
        diffrax.Tsit5(),
        t0=jnp.zeros_like(end),
        t1=end,
        dt0=control.first,
        y0=inputs.initial,
        args=(network, inputs),
        saveat=diffrax.SaveAt(steps=True, fn=lambda t, x, args: None),
        stepsize_controller=_controller(control, end),
        adjoint=diffrax.ForwardMode(),
        max_steps=max_steps,
        throw=False,
    )
    finished = solution.result == diffrax.RESULTS.successful
    return solution.ts, solution.stats["num_accepted_steps"], finished


def _controller(control: Control, end: jax.Array) -> Any:
    """Elementary control, as in the NumPy backend; every requested time is the end of a step."""
    inner = diffrax.PIDController(
        rtol=control.rtol,
        atol=control.atol,
        dtmax=control.longest,
        # A state that is not finite is rejected until the step vanishes, and that is the end;
        # without these the solver would go on to max_steps.
        norm=_finite_norm,
        dtmin=1e-20 * end,
        force_dtmin=False,
    )
    return diffrax.ClipStepSizeController(inner, step_ts=control.times)


def _finite_norm(error: jax.Array) -> jax.Array:
    norm = jnp.sqrt(jnp.mean(error * error))
    return jnp.where(jnp.isfinite(norm), norm, jnp.inf)
