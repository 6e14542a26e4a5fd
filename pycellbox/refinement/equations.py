"""Equations of one's own brought to their minimum by Levenberg and Marquardt's steps."""

from __future__ import annotations

import time

from pycellbox.backends import BackendName
from pycellbox.fitting import fit as fit_again
from pycellbox.result import Fit
from pycellbox.schedule import LM, Stage
from pycellbox.solvers import Solver, solver_to_dict


def refined(fit: Fit, iterations: int, solver: Solver, backend: BackendName) -> Fit:
    """Go on from a fit's parameters to the minimum of its own objective.

    Penalties and priors are those of the fit; its training conditions are fitted again.
    """
    began = time.perf_counter()
    schedule = Stage(iterations, optimizer=LM())
    recipe = fit.recipe.replace(schedule=schedule, solver=solver, starts=1)
    data = fit.data
    rows = data.isel(condition=data["role"].values == "train").drop_vars("role")
    found = fit_again(rows, recipe, initial=fit.parameters, backend=backend, progress=False)
    objective = found.history["objective"].values
    return found.with_provenance(
        refinement={
            "solver": solver_to_dict(found.solver),
            "criterion": {"before": float(objective[0]), "after": float(objective.min())},
            "seconds": round(time.perf_counter() - began, 3),
        }
    )
