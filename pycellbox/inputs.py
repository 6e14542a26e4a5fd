"""What is done to conditions, measured or not, as arrays: for solving and predicting."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import labels_along
from pycellbox.common.options import instance
from pycellbox.data.designs import as_design
from pycellbox.data.treatments import DIMS
from pycellbox.errors import DataError
from pycellbox.models import Structure
from pycellbox.models.aligning import same_labels
from pycellbox.models.structure import LEVEL, LEVEL_OF
from pycellbox.problem import Array, numbers_of, perturbation_array
from pycellbox.treatment import TREATED, Treatment, treatment_of

INPUTS = instance(
    xr.DataArray | xr.Dataset,
    "a DataArray with dims (condition, node) or (condition, phase, node), or a dataset that has "
    "one as perturbation",
)


@dataclass(frozen=True)
class Inputs:
    """Inputs of conditions.

    Attributes
    ----------
    conditions : tuple of str
    perturbation : ndarray, (c, n)
        In the last segment where they are treated. Driving signals are behind the nodes.
    treatment : Treatment or None
    """

    conditions: tuple[str, ...]
    perturbation: Array
    treatment: Treatment | None = None

    def astype(self, dtype: npt.DTypeLike) -> Inputs:
        """Return them in another precision."""
        treatment = None if self.treatment is None else self.treatment.astype(dtype)
        doses = np.ascontiguousarray(self.perturbation, dtype)
        return replace(self, perturbation=doses, treatment=treatment)

    def rows(self, index: Array) -> Inputs:
        """Return those of some of the conditions, by their numbers."""
        treatment = None if self.treatment is None else self.treatment.rows(index)
        labels = tuple(self.conditions[i] for i in index)
        return Inputs(labels, self.perturbation[index], treatment)

    @property
    def levels(self) -> tuple[str, ...]:
        """Labels of the levels that are to be fitted."""
        return () if self.treatment is None else self.treatment.levels

    def at(self, levels: Array) -> Inputs:
        """Return them with levels that were fitted, (m,), as given ones."""
        assert self.treatment is not None
        return replace(self, treatment=self.treatment.at(levels))


def inputs_of_data(data: xr.Dataset, structure: Structure, dtype: npt.DTypeLike) -> Inputs:
    """Return the inputs of a valid dataset, over whose nodes the structure is."""
    numbers = numbers_of(data, structure)
    conditions, treatment = (
        tuple(labels_along(data, "condition")),
        treatment_of(data, dtype, numbers, at_rest=structure.model.at_rest),
    )
    if treatment is None:
        doses = np.concatenate([data["perturbation"].values, numbers], axis=1)
        return Inputs(conditions, np.ascontiguousarray(doses, dtype))
    return Inputs(conditions, treatment.perturbation[:, -1].copy(), treatment)


def fitted_levels(parameters: xr.Dataset) -> dict[str, float]:
    """Return the levels that a fit has found, by label."""
    if LEVEL not in parameters:
        return {}
    labels = labels_along(parameters, LEVEL_OF)
    return dict(zip(labels, parameters[LEVEL].values.tolist(), strict=True))


def levels_given(data: xr.Dataset, parameters: xr.Dataset) -> xr.Dataset:
    """Return valid data in which the levels that a fit has found are given, and none is fitted."""
    treatment = treatment_of(data, np.float64)
    if treatment is None or not treatment.levels:
        return data
    starts = dict(zip(treatment.levels, treatment.level_starts.tolist(), strict=True))
    found = starts | fitted_levels(parameters)
    state = treatment.begin(np.array([found[label] for label in treatment.levels]))
    own = slice(0, data.sizes["node"])
    held, state = treatment.held[:, own], state[:, own]
    changed = {"initial_state": np.where(held, np.nan, state)}
    if held.any():
        changed["held"] = np.where(held, state, np.nan)
    told = {name: (("condition", "node"), values) for name, values in changed.items()}
    return data.drop_vars(["held_fitted", "initial_fitted"], errors="ignore").assign(told)


def inputs_of(
    given: xr.DataArray | xr.Dataset, structure: Structure, dtype: npt.DTypeLike
) -> Inputs:
    """Read the inputs that a user gives, in the order of the nodes of a structure.

    Raises
    ------
    DataError
        Nodes are missing or unknown, or something is not as the schema has it.
    """
    INPUTS("perturbation", given)
    if isinstance(given, xr.Dataset):
        if "perturbation" not in given:
            raise DataError("the dataset has no variable 'perturbation'.")
        data = given[[k for k in ("perturbation", *DIMS) if k in given.variables and k != "group"]]
    else:
        data = given.rename("perturbation").to_dataset()
    u, nodes = data["perturbation"], structure.nodes[structure.known]
    plain = "phase" not in u.dims and not TREATED & set(data.variables)
    if plain and not structure.model.at_rest:
        labels, doses = perturbation_array(u, nodes, dtype)
        if structure.members:
            numbers = numbers_of(data.assign_coords(condition=list(labels)), structure)
            doses = np.concatenate([doses, numbers.astype(dtype)], axis=1)
        return Inputs(labels, doses)
    for dim in ("condition", "node"):
        if dim not in u.dims:
            raise DataError(
                f"perturbation has dims {u.dims}; it needs ('condition', 'node'), with phases "
                "('condition', 'phase', 'node')."
            )
    if "node" not in data.indexes:
        raise DataError("perturbation has no node labels; give it a 'node' coordinate.")
    if "condition" not in data.indexes:
        data = data.assign_coords(condition=np.arange(data.sizes["condition"]).astype(np.str_))
    same_labels("perturbation", labels_along(data, "node"), nodes)
    if not data.sizes["condition"]:
        return Inputs((), np.empty((0, structure.n_nodes), dtype))
    kept = data.drop_vars(["node_kind", "time"], errors="ignore").sel(node=list(nodes))
    return inputs_of_data(as_design(kept), structure, dtype)
