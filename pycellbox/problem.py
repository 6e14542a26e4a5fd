"""Where labelled data becomes arrays (order, masks, dtype), and arrays become labelled again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import label_text, labels_along, listed
from pycellbox.common.options import instance
from pycellbox.data import NODE_KINDS, validate
from pycellbox.data.cells import as_labels, as_numbers, cell_namer, check_unique, first_of
from pycellbox.errors import DataError, ModelError
from pycellbox.models import CellBox
from pycellbox.times import time_grid

Array: TypeAlias = npt.NDArray[Any]
Parameters: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class Structure:
    """A model laid over named nodes: everything a backend must know besides numbers.

    Attributes
    ----------
    model : CellBox
    nodes, node_kind : tuple of str, length n
    is_drug, is_phenotype : ndarray of bool, (n,)
    mask : ndarray of bool, (n, n)
        [target, source], True where W may differ from zero.
    """

    model: CellBox
    nodes: tuple[str, ...]
    node_kind: tuple[str, ...]
    is_drug: Array
    is_phenotype: Array
    mask: Array

    @property
    def n_nodes(self) -> int:
        """Number of nodes, drugs and phenotypes included."""
        return len(self.nodes)

    @classmethod
    def over(cls, model: CellBox, nodes: Iterable[Any], node_kind: Iterable[Any]) -> Structure:
        """Lay ``model`` over nodes of the given kinds.

        Raises
        ------
        ModelError
            Drugs are to be clamped and there are none, or the prior mask does not fit the nodes.
        """
        names = tuple(label_text(n) for n in nodes)
        kinds = tuple(str(k) for k in node_kind)
        is_drug = np.array([k == "drug" for k in kinds], dtype=bool)
        is_phenotype = np.array([k == "phenotype" for k in kinds], dtype=bool)
        if model.drugs == "clamped" and not is_drug.any():
            raise ModelError(
                'drugs="clamped" holds drug nodes at their perturbation, but no node is of kind '
                '"drug"; give node_kind, or use drugs="input".'
            )
        mask = _structural_mask(is_drug, is_phenotype, model.self_interaction)
        if model.mask is not None:
            mask &= prior_mask(model.mask, names)
        return cls(model, names, kinds, is_drug, is_phenotype, mask)

    def check_edges(self) -> None:
        """Refuse a structure without a single edge: there is nothing to fit.

        Raises
        ------
        ModelError
        """
        if self.mask.any():
            return
        if _structural_mask(self.is_drug, self.is_phenotype, self.model.self_interaction).any():
            raise ModelError(
                "the model's mask allows no interaction that the node kinds allow, so that there "
                "is nothing to fit: allow some in CellBox(mask=...), or leave the mask out."
            )
        kinds = ", ".join(f"{self.node_kind.count(k)} {k}" for k in sorted(set(self.node_kind)))
        raise ModelError(
            f"nodes of these kinds ({kinds}) allow no interaction, so that there is nothing to "
            "fit: nothing acts on a drug, a phenotype acts on nothing, a drug acts on a phenotype "
            "only through proteins, and a node on itself only with self_interaction=True. Measure "
            "proteins too, or give the measured nodes the node_kind 'protein'."
        )


@dataclass(frozen=True)
class Problem:
    """A dataset as plain arrays, ready for a backend.

    Attributes
    ----------
    structure : Structure
    conditions : tuple of str, length c
    perturbation : ndarray, (c, n)
    response : ndarray, (c, t, n)
        Zero where not measured. Steady-state data has t = 1.
    weight : ndarray, (c, t, n)
        1/sigma (1 without sigma), zero where not measured.
    times : ndarray, (t,)
        Strictly increasing; the horizon alone for steady-state data.
    steady : bool
        Whether the dataset has no time axis.
    """

    structure: Structure
    conditions: tuple[str, ...]
    perturbation: Array
    response: Array
    weight: Array
    times: Array
    steady: bool

    @classmethod
    def from_dataset(
        cls,
        data: xr.Dataset,
        model: CellBox,
        horizon: float | None,
        dtype: npt.DTypeLike = np.float64,
    ) -> Problem:
        """Check ``data`` and turn it into arrays of one dtype, all C-ordered."""
        data = validate(data, part=True)
        structure = Structure.over(model, data["node"].values, data["node_kind"].values)
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
        return cls(
            structure=structure,
            conditions=tuple(labels_along(data, "condition")),
            perturbation=_narrowed(data["perturbation"].values, dtype, "perturbation", data),
            response=_narrowed(np.where(measured, response, 0), dtype, "response", data),
            weight=weight,
            times=times,
            steady=steady,
        )


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
    if not isinstance(perturbation, xr.DataArray) or set(perturbation.dims) != {
        "condition",
        "node",
    }:
        got = getattr(perturbation, "dims", type(perturbation).__name__)
        raise DataError(
            f"perturbation is {got}; it needs a DataArray with dims ('condition', 'node')."
        )
    if "node" not in perturbation.coords:
        raise DataError("perturbation has no node labels; give it a 'node' coordinate.")
    given = labels_along(perturbation, "node")
    _same_labels("perturbation", given, nodes)
    if "condition" in perturbation.coords:
        labels = as_labels(perturbation["condition"].values, "condition", "perturbation")
        check_unique(labels, "condition", "perturbation")
    else:
        labels = np.arange(perturbation.sizes["condition"]).astype(np.str_)
    position = {n: i for i, n in enumerate(given)}
    ordered = perturbation.transpose("condition", "node").values
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
    nodes = structure.nodes
    needs = "a Dataset with W(target, source) and the rates (node), such as fit.parameters"
    instance("parameters", parameters, xr.Dataset, needs)
    missing = [p for p in ("W", *structure.model.rates) if p not in parameters]
    if missing:
        raise ModelError(
            f"parameters lack {', '.join(missing)}; form {structure.model.form!r} needs "
            f"W, {', '.join(structure.model.rates)}."
        )
    arrays: Parameters = {}
    for name in ("W", *structure.model.rates):
        dims = ("target", "source") if name == "W" else ("node",)
        arrays[name] = _in_precision(_aligned(name, parameters[name], dims, nodes), dtype)
        if not np.isfinite(arrays[name]).all():
            raise ModelError(f"parameter {name} holds NaN or infinity.")
        if name != "W" and (arrays[name] < 0).any():
            bad = int(np.argmax(arrays[name] < 0))
            raise ModelError(
                f"parameter {name} of node {nodes[bad]!r} is {arrays[name][bad]:g}; it must be ≥ 0."
            )
    stray = (arrays["W"] != 0) & ~structure.mask
    if stray.any():
        target, source = np.argwhere(stray)[0]
        hint = " (self_interaction=True allows it)" if target == source else ""
        raise ModelError(
            f"W[{nodes[target]!r}, {nodes[source]!r}] = {arrays['W'][target, source]:g}, but the "
            f"model allows no interaction there{hint}: set it to 0 or change the model's mask."
        )
    return arrays


def parameter_dataset(structure: Structure, arrays: Parameters) -> xr.Dataset:
    """Label parameters (or their gradient): W(target, source), the rates (node)."""
    nodes = list(structure.nodes)
    variables = {
        name: (("target", "source") if name == "W" else ("node",), value)
        for name, value in arrays.items()
    }
    return xr.Dataset(
        variables,
        coords={
            "target": nodes,
            "source": nodes,
            "node": nodes,
            "node_kind": ("node", list(structure.node_kind)),
        },
    )


def kinds_of(nodes: Sequence[str], *sources: object) -> tuple[str, ...]:
    """Node kinds from the first source that carries a ``node_kind`` coordinate, in node order."""
    for source in sources:
        if isinstance(source, xr.DataArray | xr.Dataset) and "node_kind" in source.coords:
            if source["node_kind"].dims != ("node",) or "node" not in source.coords:
                raise DataError("node_kind needs the dim 'node', with labels: one kind for each.")
            given = dict(
                zip(
                    labels_along(source, "node"),
                    map(str, source["node_kind"].values),
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


def _structural_mask(is_drug: Array, is_phenotype: Array, self_interaction: bool) -> Array:
    n = is_drug.size
    mask = np.ones((n, n), dtype=bool) if self_interaction else ~np.eye(n, dtype=bool)
    mask[is_drug, :] = False
    mask[:, is_phenotype] = False
    mask[np.ix_(is_phenotype, is_drug)] = False
    return mask


def prior_mask(mask: xr.DataArray | Array, nodes: Sequence[str]) -> Array:
    """Return a model's own mask in node order, bool (n, n)."""
    if isinstance(mask, xr.DataArray):
        return _aligned("mask", mask, ("target", "source"), nodes).astype(bool)
    if mask.shape[0] != len(nodes):
        raise ModelError(f"mask has shape {mask.shape}; the data has {len(nodes)} nodes.")
    return mask


def _aligned(name: str, array: xr.DataArray, dims: tuple[str, ...], nodes: Sequence[str]) -> Array:
    if set(array.dims) != set(dims):
        raise ModelError(f"{name} has dims {array.dims}; it needs {dims}.")
    array = array.transpose(*dims)
    for dim in dims:
        if dim not in array.coords:
            raise ModelError(f"{name} has no labels along {dim!r}.")
        given = labels_along(array, dim)
        try:
            _same_labels(f"{name} ({dim})", given, nodes)
        except DataError as error:
            raise ModelError(str(error)) from None
        array = array.isel({dim: [given.index(n) for n in nodes]})
    try:
        return as_numbers(array.values, cell_namer(name, dict.fromkeys(dims, np.asarray(nodes))))
    except DataError as error:
        raise ModelError(str(error)) from None


def _in_precision(values: Array, dtype: npt.DTypeLike) -> Array:
    """Return values as C-ordered floats; those beyond the range of float32 become infinite."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, dtype=dtype)


def _same_labels(what: str, given: Sequence[str], wanted: Sequence[str]) -> None:
    doubled = (
        sorted({g for g in given if given.count(g) > 1}) if len(set(given)) < len(given) else []
    )
    absent = [n for n in wanted if n not in set(given)]
    extra = [g for g in given if g not in set(wanted)]
    for problem, labels in (("repeats", doubled), ("lacks", absent), ("does not know", extra)):
        if labels:
            subject = "the model" if problem == "does not know" else what
            place = f" of {what}" if problem == "does not know" else ""
            raise DataError(f"{subject} {problem} the node(s) {listed(labels)}{place}.")
