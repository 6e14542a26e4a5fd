"""Tsit5 through diffrax, all conditions as one system with a shared step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from pycellbox.backends.jax.envelopes import envelope
from pycellbox.backends.jax.kernel import Inputs, Network
from pycellbox.backends.lowering import Coefficients, Drive
from pycellbox.backends.numpy.envelopes import envelope_kernel
from pycellbox.backends.numpy.integrate import _TSIT5_REACH, jacobian_bound
from pycellbox.backends.numpy.kernel import Stepper
from pycellbox.backends.numpy.tableaux import TABLEAUX
from pycellbox.models import CellBox
from pycellbox.problem import Array
from pycellbox.solvers import Tsit5


class Control(NamedTuple):
    """Requested times, (t,), tolerances, and the longest step that stays stable."""

    times: Any
    rtol: Any
    atol: Any
    longest: Any


def control(solver: Tsit5, times: Array, prefix: int, longest: float, dtype: Any) -> Control:
    """Numbers for the step control; times beyond the prefix are moved to its end.

    They are in the dtype of the states, which diffrax would otherwise promote to theirs.
    """
    used = np.minimum(times, times[prefix - 1])
    return Control(*(np.asarray(v, dtype) for v in (used, solver.rtol, solver.atol, longest)))


def longest_step(model: CellBox, coefficients: Coefficients, drive: Drive) -> float:
    """Longest step that damps every decaying mode, for every state of the network.

    Beyond it a loose error control lets steps grow without limit once all has settled, and the
    exact derivative of those steps explodes. The bound is the NumPy backend's.
    """
    one = drive.rows(slice(0, 1))
    stepper = Stepper(TABLEAUX[Tsit5], envelope_kernel(model), coefficients, one)
    return _TSIT5_REACH / max(jacobian_bound(stepper), float(np.finfo(float).tiny))


class Tsit5Steps(NamedTuple):
    """What a program with diffrax's Tsit5 is compiled for, besides shapes."""

    envelope: str
    order: int | None
    max_steps: int

    def trajectory(
        self, network: Network, inputs: Inputs, steps: Control, times: int
    ) -> tuple[jax.Array, jax.Array]:
        """States at the requested times, (t, n, c), and whether the solver got there."""
        return self._solve(network, inputs, steps, diffrax.ForwardMode())

    def _solve(
        self, network: Network, inputs: Inputs, steps: Control, adjoint: Any
    ) -> tuple[jax.Array, jax.Array]:
        phi = envelope(self.envelope, self.order).differentiable()

        def slope(t: jax.Array, x: jax.Array, args: tuple[Network, Inputs]) -> jax.Array:
            net, drive = args
            z = net.M @ x
            if drive.inside is not None:
                z = z + drive.inside
            out = net.a[:, None] * phi(z) - net.c[:, None] * x
            return out if drive.outside is None else out + net.b[:, None] * drive.outside

        end = steps.times[-1]
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Tsit5(),
            t0=jnp.zeros_like(end),
            t1=end,
            dt0=None,
            y0=inputs.initial,
            args=(network, inputs),
            saveat=diffrax.SaveAt(ts=steps.times),
            stepsize_controller=_controller(steps, end),
            adjoint=adjoint,
            max_steps=self.max_steps,
            throw=False,
        )
        assert solution.ys is not None
        return solution.ys, solution.result == diffrax.RESULTS.successful

    def trajectory_and_pull_back(
        self, network: Network, inputs: Inputs, steps: Control, times: int
    ) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], Network]]:
        """As `trajectory`, and what turns seeds of the states into a gradient."""

        def states(network: Network) -> tuple[jax.Array, jax.Array]:
            # The derivative of the steps themselves. diffrax's continuous adjoint integrates the
            # state backwards, which a decaying network does not survive.
            return self._solve(network, inputs, steps, diffrax.RecursiveCheckpointAdjoint())

        ys, pull_back, finished = jax.vjp(states, network, has_aux=True)
        return ys, finished, lambda seeds: pull_back(seeds)[0]


def _controller(steps: Control, end: jax.Array) -> Any:
    """PI control as in the NumPy backend; every requested time is the end of a step."""
    control = diffrax.PIDController(
        rtol=steps.rtol,
        atol=steps.atol,
        # Exponents 7/50 and 2/25 of Hairer, Nørsett, Wanner, times the order 5 of the error.
        pcoeff=0.4,
        icoeff=0.3,
        dtmax=steps.longest,
        # A state that is not finite is rejected until the step vanishes, and that is the end;
        # without these two the solver would go on to max_steps.
        norm=_finite_norm,
        dtmin=1e-20 * end,
        force_dtmin=False,
    )
    return diffrax.ClipStepSizeController(control, step_ts=steps.times)


def _finite_norm(error: jax.Array) -> jax.Array:
    norm = jnp.sqrt(jnp.mean(error * error))
    return jnp.where(jnp.isfinite(norm), norm, jnp.inf)
