"""What doses mean to the model, and columns of doses that are probably something else."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, listed
from pycellbox.data.phases import phases_of
from pycellbox.errors import DataError, DataWarning, warn
from pycellbox.models import Structure
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Lowering, equations_of

# A dose is on the flat part of the saturation if half of it does this share of what it does.
_ALIKE = 0.97
# Interactions are of order 1: doses that count for less move nothing that can be measured; of one
# node among others a hundredth of that, since drawn doses may happen to be small.
_TINY, _TINIEST = 0.01, 1e-4


def effect(doses: npt.NDArray[np.floating], structure: Structure) -> npt.NDArray[np.float64]:
    """Return what a node at rest makes of its own dose, (doses, node), up to a factor of the node.

    |φ(u) − φ(0)| where the dose is inside the envelope, the mapped dose or u where it is not.
    """
    lowering, given = Lowering(structure), np.asarray(doses, dtype=np.float64)
    drive, nothing = lowering.drive(given), lowering.drive(np.zeros((1, structure.n_nodes)))
    total = drive.initial
    if drive.inside is not None:
        total = total + _envelope(drive.inside, structure) - _envelope(np.zeros(1), structure)
    if drive.outside is not None:
        assert nothing.outside is not None
        total = total + drive.outside - nothing.outside
    return np.abs(total)


def _envelope(z: npt.NDArray[np.float64], structure: Structure) -> npt.NDArray[np.float64]:
    phi = np.empty_like(z)
    envelope_kernel(structure.model).value(z, phi)
    return phi


def moves_by_itself(structure: Structure) -> bool:
    """Whether an unperturbed network leaves x = 0, at the parameters that the model declares."""
    equations, none = equations_of(structure), np.zeros((1, structure.n_nodes))
    declared = {p.name: np.full(p.shape, p.start) for p in structure.layout.parameters}
    field = equations.field(declared, equations.drive(none))
    return bool(field.value(none).any() or field.initial.any())


def refuse_unperturbed(data: xr.Dataset, resting: bool) -> None:
    """Raise a `DataError` if no condition says anything of the network."""
    if not resting or phases_of(data).doses.any():
        return
    # A node held off 0, or a state that is not 0, moves the others.
    moved = [data[name] for name in ("held", "initial_state", "drive") if name in data]
    if not any(np.nan_to_num(each.values).any() for each in moved):
        raise DataError(
            f"none of the {counted(data.sizes['condition'], 'condition')} to fit is perturbed: "
            "every perturbation is 0 and no node is held off 0, where the model stays at x = 0 "
            "whatever its parameters are, "
            "so that nothing can be learned; give the doses in the perturbation table."
        )


def doubt_unnamed(data: xr.Dataset, inputs: Collection[str]) -> None:
    """Warn of doses that no equation has a name for."""
    dosed = data["node"].values[phases_of(data).doses.any(axis=0)]
    if unnamed := [str(node) for node in dosed if node not in inputs]:
        warn(
            f"{listed(unnamed)} is perturbed, and the equations do not have that as an input, so "
            f"that nothing comes of it: name it in the equations, and give inputs={unnamed[:3]}.",
            DataWarning,
        )


def doubt_sizes(data: xr.Dataset, structure: Structure) -> None:
    """Warn of doses on the flat part of the saturation, and of doses that do next to nothing."""
    u, nodes = phases_of(data).doses, data["node"].values
    ends = np.stack([u.max(axis=0, initial=0), u.min(axis=0, initial=0)])
    full = effect(ends, structure)
    alike = (full > 0) & (effect(ends / 2, structure) > _ALIKE * full)
    flat = alike.any(axis=0)
    if flat.any():
        first = int(flat.argmax())
        end = int(alike[:, first].argmax())
        levels = np.unique(u[:, first])
        column = np.zeros((levels.size, nodes.size))
        column[:, first] = levels
        same = (effect(column, structure)[:, first] > _ALIKE * full[end, first]) & (
            np.sign(levels) == np.sign(ends[end, first])
        )
        warn(
            f"doses of {counted(int(flat.sum()), 'node')} are so large that the model cannot tell "
            f"them from half as much: {listed(nodes[flat])}; for {str(nodes[first])!r} "
            f"{_shown(levels[same])}, where it saturates, act alike. Divide the doses of each node "
            "by a reference such as the IC50, or give log(1 + dose/reference), so that they are "
            "near 1"
            + (
                ", or choose a smaller CellBox(dose_saturation=...)."
                if structure.model.kappa and structure.is_drug[first]
                else "."
            ),
            DataWarning,
        )
    largest = full.max(axis=0)
    tiny = (ends != 0).any(axis=0) & (largest < (_TINY if largest.max() < _TINY else _TINIEST))
    if tiny.any():
        first = int(tiny.argmax())
        dose = ends[np.abs(ends[:, first]).argmax(), first]
        warn(
            f"doses of {counted(int(tiny.sum()), 'node')} are so small that they move next to "
            f"nothing: {listed(nodes[tiny])}; the largest of {str(nodes[first])!r} is {dose:g}. "
            "Divide the doses of each node by a reference such as the IC50, so that they are "
            "near 1.",
            DataWarning,
        )


def _shown(levels: npt.NDArray[np.floating], limit: int = 5) -> str:
    texts = [f"{level:g}" for level in levels]
    return ", ".join(texts if len(texts) <= limit else [*texts[: limit - 1], "…", texts[-1]])


def doubt_standardized(data: xr.Dataset) -> None:
    """Warn of doses with the mean taken off: nothing is then 0 where no dose was given."""
    u, nodes = phases_of(data).doses, data["node"].values
    largest = np.abs(u).max(axis=0)
    # As far as a table's decimals tell.
    centerd = (u != 0).all(axis=0) & (np.abs(u.mean(axis=0)) <= 1e-3 * largest)
    if centerd.any():
        warn(
            f"doses of {counted(int(centerd.sum()), 'node')} have the mean 0 and are never 0, as "
            f"standardized values are: {listed(nodes[centerd])}; 0 has to mean that nothing was "
            "given: give the doses as they were, divided by a reference if need be.",
            DataWarning,
        )


def doubt_kinds(data: xr.Dataset) -> bool:
    """Warn of dosed columns that respond to nothing else: drugs that were not declared."""
    perturbed, nodes = phases_of(data).perturbed, data["node"].values
    other = data["node_kind"].values != "drug"
    dosed = other & perturbed.any(axis=0)
    response = data["response"].values.reshape(len(perturbed), -1, nodes.size)
    undosed = np.abs(response) * np.where(perturbed, np.nan, 1.0)[:, None, :]
    measured = (~np.isnan(undosed)).any(axis=(0, 1))
    silent = dosed & measured & (np.nan_to_num(undosed).max(axis=(0, 1)) == 0)
    found = bool(silent.any() and (silent == dosed).all() and (other & ~dosed).any())
    if found:
        warn(
            f"{counted(int(silent.sum()), 'node')} not declared as drug, whose response is exactly "
            f"0 wherever not dosed, as a drug's is: {listed(nodes[silent])}; if drugs, say so with "
            "node_kind: else every node may act on them, and the defaults are not those of a drug "
            "screen.",
            DataWarning,
        )
    return found
