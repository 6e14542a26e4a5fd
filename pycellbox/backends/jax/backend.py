"""JAX: the same numerics compiled by XLA, on a GPU where JAX has one."""

from __future__ import annotations

from importlib import metadata, util

import jax

from pycellbox.backends.forks import started
from pycellbox.backends.jax.course import CoursePlan
from pycellbox.backends.jax.plan import Plan
from pycellbox.backends.jax.plans import plan_of
from pycellbox.backends.jax.session import JaxSession, solved
from pycellbox.errors import BackendError
from pycellbox.models import Structure
from pycellbox.numerics.differences import NOT_OF_INPUTS, FiniteDifferenceSession
from pycellbox.numerics.solution import Solution
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.objective import Loss
from pycellbox.problem import Array, Parameters, Problem
from pycellbox.solvers import Gradient, Solver
from pycellbox.treatment import Treatment

_SUPPORTED: tuple[Gradient, ...] = ("discrete", "finite-difference")


class JaxBackend:
    """All conditions as one matrix ODE, compiled by XLA for JAX's default device.

    Fixed steps are a scan, whose exact reverse is a scan too. For Tsit5 diffrax chooses the steps
    and the same scans take and reverse them. The first call for a shape compiles, for about a
    second (Tsit5: several); later ones, in this and in other sessions of the process, do not.

    Notes
    -----
    Calls run with JAX's 64-bit types switched on for their own thread and duration; the
    configuration of the process, and with it other code that uses JAX, stays as it is. Problems
    of dtype float32 are computed in float32.
    """

    name = "jax"

    def __init__(self) -> None:
        started("JAX")

    def version(self) -> str:
        """Return the versions of JAX and diffrax, and the device."""
        found = f"jax {jax.__version__}"
        if util.find_spec("diffrax") is not None:
            found += f", diffrax {metadata.version('diffrax')}"
        device = jax.devices()[0]
        kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
        return f"{found} on {device.platform}{kind}"

    def supports(
        self,
        solver: Solver,
        gradient: Gradient | None = None,
        inputs: bool = False,
        treated: bool = False,
    ) -> str:
        """See `pycellbox.backends.protocol.Backend.supports`."""
        if type(solver) not in TABLEAUX:
            if solver.steady:
                others = "backend='numpy' and 'julia' have it"
            else:
                others = "backend='julia' has every algorithm of OrdinaryDiffEq"
            known = ", ".join(kind.__name__ for kind in TABLEAUX)
            return f"the jax backend has no solver {solver!r}; it has {known}. {others}."
        if gradient not in (None, *_SUPPORTED):
            return (
                f"the jax backend has no gradient {gradient!r}; it has {', '.join(_SUPPORTED)} "
                "(discrete is exact)."
            )
        if inputs and gradient == "finite-difference":
            return NOT_OF_INPUTS
        return ""

    def solve(
        self,
        structure: Structure,
        solver: Solver,
        parameters: Parameters,
        perturbation: Array,
        times: Array,
        treatment: Treatment | None = None,
    ) -> Solution:
        """See `pycellbox.backends.protocol.Backend.solve`."""
        if why := self.supports(solver):
            raise BackendError(why)
        plan: Plan | CoursePlan
        if treatment is None:
            plan = plan_of(structure, solver, perturbation, times)
        else:
            plan = CoursePlan(structure, solver, treatment, times)
        return solved(plan, plan.arrays, parameters)

    def session(
        self, problem: Problem, solver: Solver, loss: Loss, gradient: Gradient | None = None
    ) -> JaxSession | FiniteDifferenceSession:
        """See `pycellbox.backends.protocol.Backend.session`."""
        if why := self.supports(solver, gradient):
            raise BackendError(why)
        session = JaxSession(problem, solver, loss, self.solve)
        return FiniteDifferenceSession(session) if gradient == "finite-difference" else session
