"""One loss and gradient of a small system of equations: pycellbox's backends, diffrax, AMICI.

The repressilator: three genes, each of which represses the next; mRNA m, protein p,

    dm_i/dt = u a / (1 + p_{i−1}^n) + a₀ − m_i ,   dp_i/dt = b_i (m_i − p_i) ,

u of each condition, the mean squared error over all states, times and conditions, and its gradient
with respect to a, a₀, n and b (3). Everybody has the tolerances of the case, is compiled and warm,
and gives back NumPy arrays in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

import pycellbox as pcb
from peers import AbsentError, Array, Gradient, amici
from pycellbox.backends import get_backend
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of

GENES = 3
STATES = [*(f"m{i}" for i in range(GENES)), *(f"p{i}" for i in range(GENES))]
START = np.array([1.0, 0.0, 0.0, 2.0, 0.0, 1.0])
PARAMETERS = {"a": 216.0, "a0": 0.2, "n": 2.0, "b": np.array([5.0, 4.0, 6.0])}
"""At which the gradient is wanted."""
TRUTH = {"a": 200.0, "a0": 0.25, "n": 2.1, "b": np.array([5.0, 5.0, 5.0])}


@dataclass(frozen=True)
class Trial:
    """What is to be computed.

    Attributes
    ----------
    conditions, times : int
    rtol, atol : float
        Of everybody's steps.
    variant : float
        A number in the equations, so that there is an equation nobody has seen.
    """

    conditions: int
    times: int = 100
    rtol: float = 1e-6
    atol: float = 1e-6
    variant: float = 1.0

    @property
    def grid(self) -> Array:
        """Times asked for."""
        return np.linspace(0.3, 30.0, self.times)

    @property
    def doses(self) -> Array:
        """Return u of each condition."""
        return np.linspace(0.8, 1.2, self.conditions) if self.conditions > 1 else np.ones(1)

    def model(self, parameters: Any = PARAMETERS) -> pcb.ODE:
        """Equations for pycellbox."""
        one = f"{self.variant!r}"
        rates = {f"m{i}": f"u*a/({one} + p{(i - 1) % GENES}**n) + a0 - m{i}" for i in range(GENES)}
        rates |= {f"p{i}": f"b[{i}]*(m{i} - p{i})" for i in range(GENES)}
        return pcb.ODE(
            rates,
            parameters={name: pcb.Parameter(value) for name, value in parameters.items()},
            inputs={"u": "dose"},
            initial=dict(zip(STATES, map(float, START), strict=True)),
        )

    def data(self) -> xr.Dataset:
        """Responses at the true parameters, near enough."""
        nodes = [*STATES, "dose"]
        u = np.zeros((self.conditions, len(nodes)))
        u[:, -1] = self.doses
        shape = (self.conditions, self.times, len(nodes))
        data = xr.Dataset(
            {
                "perturbation": (("condition", "node"), u),
                "response": (("condition", "time", "node"), np.full(shape, np.nan)),
            },
            {
                "condition": [f"c{i}" for i in range(self.conditions)],
                "node": nodes,
                "node_kind": ("node", ["protein"] * len(STATES) + ["drug"]),
                "time": ("time", self.grid, {"units": "h"}),
            },
        )
        given = xr.Dataset(
            {name: (("b_entry",) if np.ndim(v) else (), v) for name, v in TRUTH.items()},
            {"node": nodes, "node_kind": data["node_kind"], "b_entry": list("012")},
        )
        states = pcb.solve(
            self.model(TRUTH),
            given,
            data["perturbation"],
            solver=pcb.Tsit5(),
            times=self.grid,
            backend="numpy",
        )
        data["response"].loc[{"node": STATES}] = states.sel(node=STATES).transpose(
            "condition", "time", "node"
        )
        return data


Prepare = Callable[[Trial, xr.Dataset], Callable[[], Gradient]]


def ours(backend: str) -> Prepare:
    """Return a session of a backend."""

    def prepare(trial: Trial, data: xr.Dataset) -> Callable[[], Gradient]:
        if why := pcb.available_backends()[backend]:
            raise AbsentError(why)
        solver = pcb.Tsit5(rtol=trial.rtol, atol=trial.atol)
        checked = pcb.validate(data)
        problem = Problem.from_dataset(checked, structure_of(checked, trial.model()), None)
        session = get_backend(backend).session(problem, solver, Loss())
        parameters = {name: np.asarray(value, np.float64) for name, value in PARAMETERS.items()}
        return lambda: session.loss_and_gradient(parameters)

    return prepare


def diffrax(trial: Trial, data: xr.Dataset) -> Callable[[], Gradient]:
    """Tsit5 with diffrax's default adjoint, one condition beside the other by vmap."""
    from peers.jaxes import import_jax

    jax = import_jax()
    try:
        import diffrax
    except ImportError as error:
        raise AbsentError("diffrax is not installed (pip install diffrax)") from error
    jnp = jax.numpy
    y = jnp.asarray(data["response"].sel(node=STATES).values)
    u, times, start = (jnp.asarray(v) for v in (trial.doses, trial.grid, START))
    before = np.roll(np.arange(GENES), 1)

    def rates(t: Any, x: Any, args: Any) -> Any:
        p, u = args
        m, protein = x[:GENES], x[GENES:]
        made = u * p["a"] / (trial.variant + protein[before] ** p["n"]) + p["a0"]
        return jnp.concatenate([made - m, p["b"] * (m - protein)])

    def states(parameters: Any, u: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(rates),
            diffrax.Tsit5(),
            0.0,
            times[-1],
            None,
            start,
            args=(parameters, u),
            saveat=diffrax.SaveAt(ts=times),
            stepsize_controller=diffrax.PIDController(rtol=trial.rtol, atol=trial.atol),
        ).ys

    def loss(parameters: Any, u: Any, y: Any) -> Any:
        return ((jax.vmap(states, (None, 0))(parameters, u) - y) ** 2).mean()

    compiled = jax.jit(jax.value_and_grad(loss))
    parameters = {name: jnp.asarray(value) for name, value in PARAMETERS.items()}

    def call() -> Gradient:
        value, gradient = compiled(parameters, u, y)
        return float(value), {name: np.asarray(array) for name, array in gradient.items()}

    return call


CONTENDERS: dict[str, Prepare] = {
    "Julia": ours("julia"),
    "NumPy": ours("numpy"),
    "JAX": ours("jax"),
    "diffrax": diffrax,
    "AMICI": amici.prepare,
}


def exact(trial: Trial, data: xr.Dataset) -> dict[str, Array]:
    """Gradient with tolerances of a hundredth: errors below 1e-8 are not told apart."""
    fine = Trial(trial.conditions, trial.times, trial.rtol / 100, trial.atol / 100, trial.variant)
    return ours("numpy")(fine, data)()[1]


def error(gradient: dict[str, Array], reference: dict[str, Array]) -> float:
    """Largest difference of an entry, relative to the largest of its parameter."""
    pairs = ((gradient[name], wanted) for name, wanted in reference.items())
    return max(float(np.abs(g - w).max() / np.abs(w).max()) for g, w in pairs)
