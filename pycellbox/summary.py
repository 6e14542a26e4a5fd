"""A fit in a few lines: what it was of, how it went, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.edges import EDGE_KINDS, edge_kinds, is_network
from pycellbox.models import ODE, Model
from pycellbox.supported import lines_of

LOSSES = ("loss", "objective", "validation_loss")
"""Of a start."""


def score_of(row: Any) -> Any:
    """By what starts are compared: validation conditions where there are any, or the objective."""
    validation = np.asarray(row["validation_loss"])
    return np.where(np.isnan(validation), row["objective"], validation)[()]


def summary(
    model: Model, tree: xr.DataTree, provenance: Mapping[str, Any]
) -> tuple[str, list[tuple[str, str]]]:
    """Return a title, and what is to be said of a fit with these groups, by name."""
    data = tree["data"].to_dataset()
    roles = data["role"].values
    loss = tree["history"].to_dataset()["loss"].values
    how = f"{provenance['backend']} backend, {provenance['seconds']:g} s"
    title = f"Fit: {data.sizes['node']} nodes, {(roles == 'train').sum()} conditions fitted"
    if n := int((roles == "validation").sum()):
        title += f", {n} for validation"
    went = f"{loss[0]:.4g} → {loss[-1]:.4g} in {loss.size} iterations" if loss.size else ""
    if "strengths" in provenance.get("estimate", {}):
        went = f"{loss[-1]:.4g}, estimated" if loss.size else "estimated"
    return title, [
        ("equation", model.summary),
        ("loss", went or "not fitted"),
        what_was_found(model, tree["parameters"].to_dataset()),
        *of_estimate(provenance),
        *lines_of(provenance, is_network(tree["parameters"].to_dataset())),
        *_of_starts(tree),
        ("status", f"{provenance['status']}; {how}"),
    ]


def _of_starts(tree: xr.DataTree) -> list[tuple[str, str]]:
    """Return a line, with its name, of how far starts agree, where there were several."""
    if "starts" not in tree.children:
        return []
    scores = np.asarray(score_of(tree["starts"].to_dataset()))
    ended = scores[np.isfinite(scores)]
    best = ended.min()
    near = int((ended <= best + 0.01 * abs(best)).sum())
    text = f"{near} of {scores.size} within 1 % of the best"
    if near < ended.size:
        text += f", {best:.4g}; the worst {ended.max():.4g}"
    if ended.size < scores.size:
        text += f"; {scores.size - ended.size} failed"
    return [("starts", text)]


def of_estimate(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a line, with its name, of what an estimate chose, or why there was none; or none."""
    chosen = provenance.get("estimate", {})
    if "obstacle" in chosen:
        return [("estimate", f"none, so it was trained: {chosen['obstacle']}")]
    if not chosen:
        return []
    unseen = chosen["unseen_drug"]
    if isinstance(unseen, Mapping):
        of_class = ", ".join(f"{share:.2g} ({name})" for name, share in unseen.items())
        shares = f"{of_class} of a typical one of its class"
    else:
        shares = f"{unseen:.2g} of a typical one"
    of_drugs = f"κ = {chosen['dose_saturation']:.3g}; a drug not seen is {shares}"
    if "strengths" not in chosen:
        return [("estimate", f"of each node, from which it was trained: {of_drugs}")]
    each = ", ".join(
        f"{name.replace('_', ' ')} {value:.2g}" for name, value in chosen["strengths"].items()
    )
    return [("strengths", f"by {chosen['chosen_by']}: {each}; {of_drugs}")]


def what_was_found(model: Model, parameters: xr.Dataset) -> tuple[str, str]:
    """Count a network's interactions, or give the parameters of another equation."""
    if is_network(parameters):
        return "W", interactions(parameters)
    declared = model.parameters if isinstance(model, ODE) else {}
    kept = [name for name, one in declared.items() if one.held.all()]
    found = parameters.drop_vars(["node_kind", *kept], errors="ignore").data_vars
    return "fitted", ", ".join(f"{name} {_size(values)}" for name, values in found.items())


def _size(values: xr.DataArray) -> str:
    """Write a number, or how many there are."""
    return f"({' × '.join(map(str, values.shape))})" if values.ndim else f"{float(values):.4g}"


def interactions(parameters: xr.Dataset) -> str:
    """Count the interactions with |w| > 0.001, all of them and those between each kind of node."""
    there = np.abs(parameters["W"].transpose("target", "source").values) > 1e-3
    kinds = edge_kinds(parameters["node_kind"].values)
    counts = [f"{(there & (kinds == k)).sum()} {k}" for k in EDGE_KINDS if (kinds == k).any()]
    return f"{there.sum()} interactions with |w| > 0.001: {', '.join(counts)}"
