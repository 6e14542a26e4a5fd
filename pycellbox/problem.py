"""Where labelled data becomes arrays (order, masks, dtype), and arrays become labelled again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import label_text, labels_along
from pycellbox.common.options import as_text, instance
from pycellbox.data import NODE_KINDS
from pycellbox.data.cells import as_labels, as_numbers, cell_namer, check_unique, first_of
from pycellbox.errors import DataError, ModelError
from pycellbox.models import Model, Parameter, Structure, prior_mask
from pycellbox.models.aligning import aligned, same_labels
from pycellbox.models.structure import LEVEL, LEVEL_OF, MEMBERS, declaration
from pycellbox.times import time_grid
from pycellbox.treatment import Treatment, check_horizon, check_settles, treatment_of

Array: TypeAlias = npt.NDArray[Any]
Parameters: TypeAlias = dict[str, Array]
PARAMETERS = instance(xr.Dataset, "a Dataset of parameters, such as fit.parameters")


@dataclass(frozen=True)
class Problem:
    """A dataset as plain arrays, ready for a backend.

    Attributes
    ----------
    structure : Structure
    conditions : tuple of str, length c
    perturbation : ndarray, (c, n)
        u; where it changes over time, that of the last segment.
    response : ndarray, (c, t, n)
        Zero where not measured. Steady-state data has t = 1.
    weight : ndarray, (c, t, n)
        1/sigma (1 without sigma), zero where not measured.
    times : ndarray, (t,)
        Strictly increasing; the horizon alone for steady-state data.
    steady : bool
        Whether the dataset has no time axis.
    treatment : Treatment or None
        Phases, held nodes and initial states; None where u is constant from 0 on, no node is held
        and the model's own initial state is that of the data.
    """

    structure: Structure
    conditions: tuple[str, ...]
    perturbation: Array
    response: Array
    weight: Array
    times: Array
    steady: bool
    treatment: Treatment | None = None

    @classmethod
    def from_dataset(
        cls,
        data: xr.Dataset,
        structure: Structure,
        horizon: float | None,
        dtype: npt.DTypeLike = np.float64,
    ) -> Problem:
        """Turn data that `validate` returned into arrays of one dtype, all C-ordered.

        The structure is that of a model over the nodes of the data, as `structure_of` lays it;
        where the data have levels to be fitted, the problem's has these too.
        """
        steady = "time" not in data["response"].dims
        times = time_grid(horizon, None if steady else data["time"].values)
        response = data["response"].values
        sigma = data["sigma"].values if "sigma" in data else np.ones_like(response)
        if steady:
            response, sigma = response[:, None, :], sigma[:, None, :]
        measured = ~np.isnan(response)
        with np.errstate(over="ignore", divide="ignore"):
            weight = np.where(measured, 1 / sigma, 0).astype(dtype, order="C")
            # Losses take its square.
            if not np.isfinite(weight * weight).all():
                raise DataError(
                    f"sigma goes down to {np.nanmin(sigma):g}, so that 1/sigma² is beyond the "
                    f"range of {np.dtype(dtype).name}; give the standard deviation in the unit of "
                    "the response."
                )
        inputs = _narrowed(data["perturbation"].values, dtype, "perturbation", data)
        numbers = numbers_of(data, structure)
        treatment = treatment_of(data, dtype, numbers, at_rest=structure.model.at_rest)
        if treatment is None and numbers.shape[1]:
            inputs = np.concatenate([inputs, numbers.astype(dtype)], axis=1)
        if treatment is not None and steady:
            check_settles(treatment)
            check_horizon(treatment, float(times[-1]))
        response = _narrowed(np.where(measured, response, 0), dtype, "response", data)
        if structure.internal:
            more = ((0, 0), (0, 0), (0, structure.internal))
            response, weight = np.pad(response, more), np.pad(weight, more)
        if treatment is not None and treatment.levels:
            structure = structure.with_levels(treatment.levels, treatment.level_starts)
        return cls(
            structure=structure,
            conditions=tuple(labels_along(data, "condition")),
            perturbation=inputs if treatment is None else treatment.perturbation[:, -1].copy(),
            response=response,
            weight=weight,
            times=times,
            steady=steady,
            treatment=treatment,
        )

    def at(self, levels: Array | None) -> Problem:
        """Return the problem with its levels, (m,), as given ones; None if it has none."""
        if levels is None:
            return self
        assert self.treatment is not None
        return replace(self, structure=self.structure.plain, treatment=self.treatment.at(levels))

    def rows(self, index: Array) -> Problem:
        """Return the problem of some of the conditions."""
        pick = {name: getattr(self, name)[index] for name in ("perturbation", "response", "weight")}
        treatment = None if self.treatment is None else self.treatment.rows(index)
        conditions = tuple(self.conditions[i] for i in index)
        return replace(self, conditions=conditions, treatment=treatment, **pick)


def structure_of(
    data: xr.Dataset, model: Model, given: xr.Dataset | xr.DataArray | None = None
) -> Structure:
    """Lay a model over the nodes of a dataset, and the driving signals of it, or of others.

    Raises
    ------
    ModelError
        It cannot be laid over them.
    """
    given = data if given is None else given
    return structure_over(model, data["node"].values, data["node_kind"].values, given, data)


def structure_over(
    model: Model,
    nodes: Iterable[Any],
    node_kind: Iterable[Any],
    given: xr.Dataset | xr.DataArray,
    members: xr.Dataset,
) -> Structure:
    """Lay a model over nodes, and the driving signals that what is given has, if it has any.

    Parameters
    ----------
    model : Model
    nodes, node_kind : iterable of str
    given : Dataset or DataArray
        What the conditions are given.
    members : Dataset
        Data, or parameters, that have the labels of conditions and subjects by which some differ.

    Raises
    ------
    ModelError
        It cannot be laid over them.
    """
    signals, linear = _signals(given)
    labels = {dim: labels_along(members, dim) for dim in MEMBERS if dim in members.indexes}
    if "subject" in members.variables and "subject" not in labels:
        labels["subject"] = list(dict.fromkeys(map(label_text, members["subject"].values)))
    return Structure.over(model, nodes, node_kind, signals, linear=linear, labels=labels)


def declared_over(data: xr.Dataset, model: Model) -> tuple[Parameter, ...]:
    """Return the parameters that a model declares over the nodes and signals of data.

    Raises
    ------
    ModelError
        It cannot be laid over them.
    """
    signals, linear = _signals(data)
    kinds = list(map(str, data["node_kind"].values))
    return declaration(model, labels_along(data, "node"), kinds, signals, linear=linear)[-1]


def _signals(given: xr.Dataset | xr.DataArray) -> tuple[list[str], bool]:
    """Labels of driving signals, and whether they are lines."""
    if not isinstance(given, xr.Dataset) or "drive" not in given.variables:
        return [], False
    if "input" not in given.indexes:
        raise DataError("drive has no labels along its dim input; give it some.")
    return labels_along(given, "input"), given["drive"].attrs.get("interpolation") == "linear"


def numbers_of(data: xr.Dataset, structure: Structure) -> Array:
    """Return the numbers of what the conditions of data are members of; see `Structure.numbers`."""
    subjects = None
    if "subject" in data.variables:
        subjects = [label_text(label) for label in data["subject"].values]
    return structure.numbers(labels_along(data, "condition"), subjects)


def levelled(structure: Structure, parameters: xr.Dataset) -> Structure:
    """Return a structure with the levels that parameters of a fit have beside the model's."""
    if LEVEL not in parameters:
        return structure
    labels = tuple(labels_along(parameters, LEVEL_OF))
    return structure.with_levels(labels, parameters[LEVEL].values)


def _narrowed(values: Array, dtype: npt.DTypeLike, name: str, data: xr.Dataset) -> Array:
    """Return an array in another precision; DataError if a number is beyond its range."""
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype, order="C")
    beyond = np.argwhere(~np.isfinite(narrow))
    if beyond.size:
        place = tuple(beyond[0])
        condition, node = data["condition"].values[place[0]], data["node"].values[place[-1]]
        raise DataError(
            f"{name} of node {str(node)!r} in condition {str(condition)!r} is "
            f"{values[place]:.3g}, beyond the largest {np.dtype(dtype).name}, "
            f"{np.finfo(narrow.dtype).max:.2g}: rescale the data, or fit in float64."
        )
    return narrow


def perturbation_array(
    perturbation: xr.DataArray, nodes: Sequence[str], dtype: npt.DTypeLike
) -> tuple[tuple[str, ...], Array]:
    """Condition labels and the perturbation in the order of ``nodes``, (condition, node)."""
    instance(xr.DataArray, "a DataArray (condition, node)")("perturbation", perturbation)
    if set(perturbation.dims) != {"condition", "node"}:
        raise DataError(
            f"perturbation has dims {perturbation.dims}; it needs ('condition', 'node')."
        )
    if "node" not in perturbation.coords:
        raise DataError("perturbation has no node labels; give it a 'node' coordinate.")
    given = labels_along(perturbation, "node")
    same_labels("perturbation", given, nodes)
    if "condition" in perturbation.coords:
        labels = as_labels(perturbation["condition"].values, "condition", "perturbation")
        check_unique(labels, "condition", "perturbation")
    else:
        labels = np.arange(perturbation.sizes["condition"]).astype(np.str_)
    ordered = perturbation.values
    if perturbation.dims[0] == "node":
        ordered = ordered.T
    if given != list(nodes):
        position = {n: i for i, n in enumerate(given)}
        ordered = ordered[:, [position[n] for n in nodes]]
    describe = cell_namer("perturbation", {"condition": labels, "node": np.array(nodes)})
    values = _in_precision(as_numbers(ordered, describe), dtype)
    if not np.isfinite(values).all():
        cell = first_of(~np.isfinite(values), describe)
        raise DataError(
            f"{cell} is not a finite number in {np.dtype(dtype).name}; give one (0 = not "
            "perturbed)."
        )
    return tuple(labels.tolist()), values


def parameter_arrays(
    structure: Structure, parameters: xr.Dataset, dtype: npt.DTypeLike
) -> Parameters:
    """Effective parameters as arrays in node order, checked against the model.

    Raises
    ------
    ModelError
        One is missing, has wrong dims or labels, is not finite, negative where it must be
        positive, or W has an entry where the model allows none.
    """
    PARAMETERS("parameters", parameters)
    layout = structure.layout
    if missing := [p for p in layout.places if p not in parameters]:
        names = ", ".join(layout.places)
        raise ModelError(f"parameters lack {', '.join(missing)}; the model needs {names}.")
    arrays: Parameters = {}
    for p in layout.parameters:
        labels = {dim: structure.labels_of(dim) for dim in p.dims}
        values = _in_precision(aligned(p.name, parameters[p.name], labels), dtype)
        if not np.isfinite(values).all():
            raise ModelError(f"parameter {p.name} holds NaN or infinity.")
        beyond = (values < p.lower) | (values > p.upper)
        stray = np.zeros_like(beyond)
        if p.fixed is not None:
            stray = p.fixed & (values != np.asarray(p.start, values.dtype))
        for wrong in (beyond, stray):
            if wrong.any():
                raise ModelError(_out_of_place(p, values, wrong, structure))
        arrays[p.name] = values
    return arrays


def _out_of_place(p: Parameter, values: Array, wrong: Array, structure: Structure) -> str:
    """Say what is wrong with the first of the entries that are."""
    place = tuple(np.argwhere(wrong)[0])
    labels = [structure.labels_of(dim)[i] for dim, i in zip(p.dims, place, strict=True)]
    if p.lower <= values[place] <= p.upper:
        needs = f"the model holds it at {np.broadcast_to(p.start, p.shape)[place]:g}"
    else:
        bound = f"≥ {p.lower:g}" if values[place] < p.lower else f"≤ {p.upper:g}"
        needs = f"it must be {bound}"
    if p.dims == ("target", "source"):
        hint = " (self_interaction=True allows it)" if labels[0] == labels[1] else ""
        return (
            f"{p.name}[{', '.join(map(repr, labels))}] = {values[place]:g}, but the model allows "
            f"no interaction there{hint}: set it to 0 or change the model's mask."
        )
    own = "entry" if p.labels else "node"
    where = f" of {own} {' and '.join(map(repr, labels))}" if labels else ""
    return f"parameter {p.name}{where} is {values[place]:g}; {needs}."


def parameter_dataset(structure: Structure, arrays: Parameters) -> xr.Dataset:
    """Label parameters (or their gradient) along the dims that the model gives them."""
    nodes = list(structure.nodes[structure.known])
    variables = {name: (structure.layout[name].dims, value) for name, value in arrays.items()}
    return xr.Dataset(
        variables,
        coords={
            **{
                dim: list(structure.labels_of(dim))
                for _, value in variables.items()
                for dim in value[0]
            },
            "node": nodes,
            "node_kind": ("node", list(structure.node_kind[structure.known])),
        },
    )


def stored_parameters(structure: Structure, arrays: Parameters) -> xr.Dataset:
    """Label parameters as files keep them: with the model's mask, if it has one."""
    labelled = parameter_dataset(structure, arrays)
    if structure.model.mask is None:
        return labelled
    mask = prior_mask(structure.model.mask, structure.nodes)
    return labelled.assign(mask=(("target", "source"), mask))


def kinds_of(nodes: Sequence[str], *sources: object) -> tuple[str, ...]:
    """Node kinds from the first source that carries a ``node_kind`` coordinate, in node order."""
    for source in sources:
        if isinstance(source, xr.DataArray | xr.Dataset) and "node_kind" in source.coords:
            if source["node_kind"].dims != ("node",) or "node" not in source.coords:
                raise DataError("node_kind needs the dim 'node', with labels: one kind for each.")
            given = dict(
                zip(
                    labels_along(source, "node"),
                    map(as_text, source["node_kind"].values),
                    strict=True,
                )
            )
            unknown = sorted(set(given.values()) - set(NODE_KINDS))
            if unknown:
                raise DataError(
                    f"unknown node_kind {', '.join(unknown)}; allowed: {', '.join(NODE_KINDS)}."
                )
            return tuple(given.get(n, "protein") for n in nodes)
    return ("protein",) * len(nodes)


def _in_precision(values: Array, dtype: npt.DTypeLike) -> Array:
    """Return values as C-ordered floats; those beyond the range of float32 become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=dtype, order="C")  # which leaves a number without dims
