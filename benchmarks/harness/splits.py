"""The four prediction tasks, as splits of one table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import xarray as xr

import pycellbox as pcb
from pycellbox.splits import Split

RANDOM = "random"
COMBINATIONS = "singles → combinations"
WITH_SINGLES = "leave one drug out, with singles"
WITHOUT_SINGLES = "leave one drug out, without singles"
TASKS = (RANDOM, COMBINATIONS, WITH_SINGLES, WITHOUT_SINGLES)


def tasks(data: xr.Dataset, seeds: Iterable[int], *, together: bool) -> dict[str, list[Split]]:
    """Draw what the conditions of a table allow; a task without a split is left out.

    Parameters
    ----------
    data : Dataset
    seeds : iterable of int
        Of the random splits.
    together : bool
        Whether replicates stay in one part; the published draws of melanoma may part them.
    """
    found: dict[str, list[Split]] = {task: [] for task in TASKS}
    for seed in seeds:
        found[RANDOM].append(pcb.splits.random(data, seed=seed, together=together))
    with contextlib.suppress(pcb.DataError):  # no singles, or nothing else
        found[COMBINATIONS].append(pcb.splits.single_to_combo(data, together=together))
    perturbed = (data["perturbation"] != 0).any(set(data["perturbation"].dims) - {"node"})
    for drug in map(str, data["node"].values[perturbed.values]):
        for task in (WITH_SINGLES, WITHOUT_SINGLES):
            try:
                split = pcb.splits.leave_one_drug_out(
                    data, drug=drug, keep_singles=task == WITH_SINGLES, together=together
                )
            except pcb.DataError:
                continue  # in no combination, or in all conditions
            seen = data["perturbation"].sel(condition=list(split.fit), node=drug)
            if task == WITHOUT_SINGLES or (seen != 0).any():
                found[task].append(split)
    return {task: splits for task, splits in found.items() if splits}
