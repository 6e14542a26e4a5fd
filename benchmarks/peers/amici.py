"""AMICI: forward sensitivities by CVODES of the repressilator, compiled as C++.

Written for AMICI 1.1 from its documentation and tests (pip install amici antimony). Its wheel is
built from source: on two busy cores that had not ended after ten minutes, and this has not run.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from peers import AbsentError, Gradient

if TYPE_CHECKING:
    from peers.repressilator import Trial


def prepare(trial: Trial, data: xr.Dataset) -> Callable[[], Gradient]:
    """Compile, and simulate one condition after the other with the sensitivities of all states."""
    try:
        from amici.importers.antimony import antimony2amici
        from amici.sim.sundials import SensitivityMethod, SensitivityOrder, run_simulation
    except ImportError as error:
        raise AbsentError("AMICI is not installed (pip install amici antimony)") from error
    from peers.repressilator import GENES, PARAMETERS, START, STATES

    text = [f"{state} = {start}" for state, start in zip(STATES, START, strict=True)]
    entries = {
        f"{name}_{i}" if np.ndim(value) else name: float(one)
        for name, value in PARAMETERS.items()
        for i, one in enumerate(np.atleast_1d(value))
    }
    text += [f"{name} = {value}" for name, value in {**entries, "u": 1.0}.items()]
    for i in range(GENES):
        shut = f"({trial.variant!r} + p{(i - 1) % GENES}^n)"
        text += [f"m{i}' = u*a/{shut} + a0 - m{i}", f"p{i}' = b_{i}*(m{i} - p{i})"]
    source = "model repressilator\n" + ";\n".join(text) + ";\nend\n"
    model = antimony2amici(
        source,
        model_name=f"repressilator_{hashlib.sha1(source.encode()).hexdigest()[:12]}",
        output_dir=tempfile.mkdtemp(prefix="amici"),
        fixed_parameters=["u"],
        observation_model=None,
        compute_conservation_laws=False,
    )
    model.set_timepoints(trial.grid)
    solver = model.create_solver()
    solver.set_relative_tolerance(trial.rtol)
    solver.set_absolute_tolerance(trial.atol)
    solver.set_sensitivity_order(SensitivityOrder.first)
    solver.set_sensitivity_method(SensitivityMethod.forward)
    states = [list(model.get_state_ids()).index(state) for state in STATES]
    order = [list(model.get_free_parameter_ids()).index(name) for name in entries]
    y = data["response"].sel(node=STATES).values

    def call() -> Gradient:
        total, slopes = 0.0, np.zeros(len(order))
        for u, wanted in zip(trial.doses, y, strict=True):
            model.set_fixed_parameters([u])
            found = run_simulation(model, solver)
            residual = np.asarray(found["x"])[:, states] - wanted
            total += float((residual**2).sum())
            along = np.asarray(found["sx"])[:, order][:, :, states]
            slopes += 2 * np.einsum("tn,tpn->p", residual, along)
        each = dict(zip(entries, slopes / y.size, strict=True))
        return total / y.size, {
            name: np.array([each[f"{name}_{i}"] for i in range(np.size(value))])
            if np.ndim(value)
            else np.array(each[name])
            for name, value in PARAMETERS.items()
        }

    return call
