"""Treatments as Julia takes them: shared, not copied."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from pycellbox.backends.julia.calls import address, call_locked
from pycellbox.backends.julia.objects import julia_solver
from pycellbox.numerics.equations import START
from pycellbox.numerics.rest import SETTLING
from pycellbox.problem import Array, Parameters
from pycellbox.solvers import Adaptive, Solver, SteadyState, Tsit5
from pycellbox.treatment import Treatment


class JuliaTreatment:
    """A treatment whose arrays Julia reads where they lie, as long as this lives.

    Parameters
    ----------
    core : Julia module
    laid : Julia object
        The structure.
    solver : Solver
        Of the problem: it integrates pre-treatments that have no proven steady state.
    treatment : Treatment

    Attributes
    ----------
    handed : Julia object
    """

    def __init__(self, core: Any, laid: Any, solver: Solver, treatment: Treatment) -> None:
        u = np.ascontiguousarray(treatment.perturbation)
        c, segments, _ = u.shape
        self._core, self._given = core, treatment.initial
        self._initial = np.array(treatment.initial, u.dtype, order="C")
        before, moves = treatment.pretreatment, treatment.moves
        starts = np.ascontiguousarray(treatment.starts, np.float64)
        arrays = (
            u,
            None if moves is None else np.ascontiguousarray(moves, np.uint8),
            self._initial,
            None if before is None else np.ascontiguousarray(before),
            np.ascontiguousarray(treatment.pretreated, np.uint8),
        )
        self._arrays = arrays
        settling = julia_solver(core, _settling(solver), "implicit")
        self.handed = call_locked(
            core.python_treatment,
            u.dtype.name,
            laid,
            (c, segments),
            address(starts),
            tuple(0 if array is None else address(array) for array in arrays),
            settling,
        )

    def start(self, parameters: Parameters) -> None:
        """Have integrations start where the parameters say, or else the treatment."""
        np.copyto(self._initial, parameters.get(START, self._given))

    def rested(self) -> Array | None:
        """Whether what came before had settled in the last integration of all, bool (c,).

        None where nothing came before.
        """
        if self._arrays[3] is None:
            return None
        found = np.empty(len(self._initial), np.uint8)
        call_locked(self._core.python_rested, self.handed, address(found))
        return found.astype(bool)


def _settling(solver: Solver) -> SteadyState:
    """Return what finds the steady states of pre-treatments."""
    integrator = solver.through_time
    if isinstance(integrator, Adaptive):  # one of SciML's
        integrator = Tsit5(integrator.rtol, integrator.atol, integrator.max_steps)
    return replace(SETTLING, integrator=integrator)
