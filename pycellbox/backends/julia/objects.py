"""What Julia is handed: structures, solvers, parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from pycellbox.backends.julia.calls import address, call, call_locked
from pycellbox.errors import BackendError
from pycellbox.models import CellBox, Structure
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Adaptive, Gradient, Solver, SteadyState, Tsit5

_ADJOINTS = {
    "adjoint": "gauss",
    "gauss": "gauss",
    "interpolating": "interpolating",
    "quadrature": "quadrature",
    "forward": "forward",
}


# Julia's sessions of which Python's counterpart is gone.
_GONE: list[Any] = []


def released(session: Any = None) -> tuple[Any, ...]:
    """Note that a session is of no use any more, or return all that have not been freed."""
    gone = []
    if session is not None:
        _GONE.append(session)
    else:
        while _GONE:
            gone.append(_GONE.pop())
    return tuple(gone)


def default_gradient(solver: Solver) -> Gradient:
    """Exact where the steps are our own, the continuous adjoint for those of OrdinaryDiffEq."""
    if isinstance(solver, SteadyState):
        return "implicit"
    return "adjoint" if isinstance(solver, Adaptive) else "discrete"


def in_order(structure: Structure, parameters: Parameters, dtype: DTypeLike) -> list[Array]:
    """All parameters, as Julia takes them."""
    names = structure.layout.places
    return [np.ascontiguousarray(parameters[name], dtype=dtype) for name in names]


def julia_structure(core: Any, structure: Structure) -> Any:
    """Lay the model over the nodes in Julia; raises BackendError for another than `CellBox`."""
    if not isinstance(structure.model, CellBox):
        raise BackendError(
            "the julia backend has the equations of CellBox and pcb.ODE, not "
            f"{structure.model.equation}; use backend='numpy' for a class of your own."
        )
    is_drug = np.ascontiguousarray(structure.is_drug, dtype=np.uint8)
    mask = np.ascontiguousarray(structure.mask, dtype=np.uint8)
    model = structure.model
    options = (
        model.envelope, model.form, model.degree, model.order, model.drugs, model.kappa,
        bool(model.operating_point), bool(model.common_effect),
    )  # fmt: skip
    return call_locked(
        core.python_structure,
        options,
        structure.n_nodes,
        address(is_drug),
        address(mask),
    )


def why_not(solver: Solver, gradient: Gradient, inputs: bool = False, treated: bool = False) -> str:
    """Say why a gradient of a solver cannot be had from Julia; empty if it can."""
    known: tuple[str, ...]
    if isinstance(solver, SteadyState) and isinstance(solver.integrator, Adaptive):
        return (
            f"the julia backend has no SteadyState with {solver.integrator!r}: use Tsit5 in it, or "
            "backend='numpy'."
        )
    if isinstance(solver, SteadyState):
        known, what = ("implicit",), "SteadyState"
        note = " (the implicit function theorem)"
    elif isinstance(solver, Tsit5 | Adaptive):
        known, what, note = tuple(_ADJOINTS), type(solver).__name__, ""
        if isinstance(solver, Tsit5):
            known, note = (*known, "discrete"), ", which is exact"
    else:
        known, what, note = ("discrete",), "fixed steps", ", which is exact"
    if gradient not in known:
        return (
            f"the julia backend has no gradient {gradient!r} for {what}; it has "
            f"{', '.join(known)}{note}."
        )
    if inputs and gradient == "forward":
        return "the gradient 'forward' of the julia backend has none of the inputs; 'adjoint' has."
    if treated and gradient == "forward":
        return (
            "the gradient 'forward' of the julia backend has no phases, held nodes or initial "
            "states; 'adjoint' has."
        )
    return ""


def julia_solver(core: Any, solver: Solver, gradient: Gradient) -> Any:
    """Return Julia's counterpart of a solver and its gradient."""
    if isinstance(solver, SteadyState):
        integrator = julia_solver(core, solver.integrator, "discrete")
        return call_locked(
            core.SteadyState, solver.tol, solver.lead, integrator, solver.max_iterations
        )
    if isinstance(solver, Tsit5) and gradient == "discrete":
        return call_locked(core.Tsit5, solver.rtol, solver.atol, solver.max_steps)
    if isinstance(solver, Tsit5 | Adaptive):
        call(core.load_sciml)
        return call_locked(
            core.python_adaptive,
            solver.algorithm if isinstance(solver, Adaptive) else "Tsit5",
            solver.rtol,
            solver.atol,
            solver.max_steps,
            _ADJOINTS[gradient],
        )
    return call_locked(core.fixed_step, type(solver).__name__, solver.dt)


def julia_loss(core: Any, loss: Loss | None) -> Any:
    """Return Julia's counterpart of a loss; of none, what hands weights on as derivatives."""
    return (
        call_locked(core.HandOn)
        if loss is None
        else call_locked(core.python_loss, loss.name, loss.delta)
    )
