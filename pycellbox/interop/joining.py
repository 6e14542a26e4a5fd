"""Fits that follow one another, told as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import get_backend
from pycellbox.fitting.conclusion import conclusion
from pycellbox.problem import levelled, parameter_arrays, structure_of
from pycellbox.result import Fit


def joined(fits: Sequence[Fit], seed: int | None = None, **provenance: Any) -> Fit:
    """Return one fit with the parameters of the last and the history of all.

    Parameters
    ----------
    fits : sequence of Fit
        Each started from the parameters of the one before; same model, solver and data.
    seed : int, optional
        From which those of the fits follow; that of the last by default.
    **provenance
        What to add to the provenance.

    Returns
    -------
    Fit
        Its stages are those of all fits in turn.
    """
    last = fits[-1]
    histories, first_stage = [], 0
    for fit in fits:
        history = fit.history.drop_vars("iteration")
        history["stage"] = history["stage"].copy(data=history["stage"].values + first_stage)
        histories.append(history)
        first_stage += len(fit.recipe.stages)
    history = xr.concat(histories, "iteration")
    history = history.assign_coords(iteration=np.arange(history.sizes["iteration"]))
    stages = [stage for fit in fits for stage in fit.recipe.stages]
    structure = levelled(structure_of(last.data, last.model), last.parameters)
    return conclusion(
        last.recipe.replace(schedule=stages, seed=last.recipe.seed if seed is None else seed),
        structure=structure,
        parameters=parameter_arrays(structure, last.parameters, last.recipe.dtype),
        history=history,
        data=last.data,
        backend=get_backend(last.backend),  # type: ignore[arg-type]
        provenance={**last.provenance, **_summed(fits), **provenance},
    )


def check_begun(fits: Sequence[Fit]) -> None:
    """Raise KeyboardInterrupt if fits were interrupted before their first iteration."""
    if not sum(fit.history.sizes["iteration"] for fit in fits):
        raise KeyboardInterrupt("before the first iteration; nothing is saved")


def _summed(fits: Sequence[Fit]) -> Mapping[str, Any]:
    return {
        "steps_retried": sum(fit.provenance["steps_retried"] for fit in fits),
        "seconds": round(sum(fit.provenance["seconds"] for fit in fits), 3),
    }


def follow_seed(seed: int, *position: int) -> int:
    """Seed of a fit that follows others: its own, and the same in every run."""
    return int(np.random.SeedSequence([seed, *position]).generate_state(1)[0])
