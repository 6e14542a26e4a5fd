"""The blocks of a fit, each as a recipe without it, or with what the fit has not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.labels import listed
from pycellbox.common.options import did_you_mean, shown
from pycellbox.edges import EDGE_KINDS, edge_kinds
from pycellbox.errors import OptionError
from pycellbox.fitting.prediction import COURSES, FROM_ESTIMATE
from pycellbox.models import ODE, CellBox, Structure
from pycellbox.models.declared import Parameter
from pycellbox.problem import structure_of
from pycellbox.recipe import Recipe
from pycellbox.result import Fit

_SHIFTS = {"operating points": "operating_point", "common effects": "common_effect"}


@dataclass(frozen=True)
class WithoutEdges(CellBox):
    """A network in which no node acts on another, which users are refused."""

    def check(self, structure: Structure) -> None:
        """Rates are left to fit."""


@dataclass(frozen=True)
class Block:
    """What may be left out of a fit.

    Attributes
    ----------
    name, what : str
        Of the block, and what it is in words.
    recipe : Recipe
        Without it, or with it where the fit has it not.
    there : bool
        Whether the fit has it.
    begins : bool
        Whether a fold is trained from where the fit of the fold has ended.
    """

    name: str
    what: str
    recipe: Recipe
    there: bool = True
    begins: bool = False

    def initial(self, parameters: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
        """Return parameters of a fold, as far as the recipe has them, to begin from."""
        structure = structure_of(data, self.recipe.model)
        allowed = parameters["W"].copy(data=_mask(structure))
        lacks = [name for name in ("b", "common") if name not in structure.layout.places]
        kept = parameters.drop_vars(lacks, errors="ignore")
        return kept.assign(W=kept["W"].where(allowed, 0.0))


def blocks_of(fit: Fit) -> list[Block]:
    """Return what a network has: kinds of interactions, operating points, common effects.

    Raises
    ------
    OptionError
        The model is no network.
    """
    model = fit.model
    if not isinstance(model, CellBox):
        raise OptionError(
            "support: equations of one's own have no blocks that are known by name: say what to "
            "leave out, as fit.support(without={'no interaction': {'A': 0}}), which keeps the "
            "parameter A at 0."
        )
    data, recipe = fit.data, fit.recipe
    mask = _mask(structure_of(data, model))
    kinds, names = edge_kinds(data["node_kind"].values), _words(data)
    told = fit.provenance.get("estimate", {})
    begins = bool(told) and "obstacle" not in told and not fit.estimated
    found = []
    for kind in EDGE_KINDS:
        there = mask & (kinds == kind)
        if not there.any():
            continue
        if fit.estimated and kind == "node → node":  # which an estimate has not
            trained = recipe.replace(
                schedule=FROM_ESTIMATE, penalty=COURSES, loss=recipe.measure
            )  # fmt: skip
            found.append(Block(kind, names[kind], trained, there=False, begins=True))
            continue
        left = mask & ~there
        if fit.estimated:  # without drugs, nodes would have each other to be trained with
            left &= kinds != "node → node"
        without = _with_mask(model, left, data["node"].values)
        found.append(Block(kind, names[kind], recipe.replace(model=without), begins=begins))
    for name, option in _SHIFTS.items():
        if getattr(model, option):
            without = dataclasses.replace(model, **{option: False})  # type: ignore[arg-type]
            found.append(Block(name, name, recipe.replace(model=without), begins=begins))
    return found


def named(fit: Fit, without: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    """Return what a user names: parameters of equations, kept at numbers.

    Raises
    ------
    OptionError
        There is no such parameter, or it cannot be kept there.
    """
    model = fit.model
    if not isinstance(model, ODE):
        raise OptionError(
            "support: without= keeps parameters of equations of one's own; leave it out for a "
            f"{type(model).__name__}, whose blocks are known."
        )
    found = []
    for name, values in without.items():
        if not isinstance(values, Mapping) or not values:
            raise OptionError(
                f"support: without has {name!r}: {shown(values)}; it needs parameters and the "
                "numbers at which they are kept, as {'A': 0}."
            )
        kept = dict(model.parameters)
        for parameter, value in values.items():
            if parameter not in kept:
                hint = did_you_mean(parameter, kept)
                raise OptionError(
                    f"support: without {name!r} keeps {shown(parameter)}, and the model has no "
                    f"such parameter{hint}; it has {listed(kept)}."
                )
            kept[parameter] = _kept_at(name, kept[parameter], parameter, value)
        recipe = fit.recipe.replace(model=dataclasses.replace(model, parameters=kept))
        found.append(Block(name, f"{', '.join(values)} ({name})", recipe))
    return found


def _kept_at(name: str, declared: Parameter, parameter: str, value: Any) -> Parameter:
    try:
        start = np.broadcast_to(np.asarray(value, np.float64), np.shape(declared.held)).copy()
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"support: without {name!r} keeps {parameter} at {shown(value)}; it needs a number."
        ) from error
    shape = None if start.ndim == 0 else start.shape
    return Parameter(start if shape else float(start), fixed=True, dims=declared.dims)


def _with_mask(model: CellBox, mask: Any, nodes: Any) -> CellBox:
    """Return a network with these interactions alone."""
    coords = {"target": nodes, "source": nodes}
    kept = xr.DataArray(mask, coords, ("target", "source"))
    if mask.any():
        return dataclasses.replace(model, mask=kept)
    options = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
    return WithoutEdges(**options | {"mask": kept})


def _mask(structure: Structure) -> Any:
    """Interactions among the nodes of the data, (target, source)."""
    known = structure.known
    return structure.mask[known, known]


def _words(data: xr.Dataset) -> dict[str, str]:
    """Kinds of interactions as they are in these data: all other nodes may be proteins."""
    kinds = set(data["node_kind"].values) - {"drug", "phenotype"}
    node = "protein" if kinds == {"protein"} else "node"
    return {kind: f"{kind.replace('node', node)} edges" for kind in EDGE_KINDS}
