"""Tables whose rows are the nodes and whose columns are the conditions, told by their labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, listed
from pycellbox.errors import DataError

# Not "wt1", which is a gene.
_CONTROL = re.compile(
    r"(un(treated|perturbed|stimulated)|control|ctrl|vehicle|mock|dmso|wild[ _-]?type|"
    r"basal|baseline|no[ _-]?(drug|treatment))([ _.#-]?\d+)?|wt|ctl",
    re.IGNORECASE,
)
_NEEDED = "rows are conditions and columns are nodes"


def check_orientation(tables: Mapping[str, xr.DataArray], named: Set[str]) -> None:
    """Raise a `DataError` if labels show that a table is transposed.

    Parameters
    ----------
    tables : mapping of str to DataArray
        Tables by name, the perturbation first.
    named : set of str
        Nodes that ``node_kind`` names.
    """
    turned = {name: reason for name, t in tables.items() if (reason := _by_names(t, named))}
    if not turned:
        perturbation = tables["perturbation"]
        known = set(perturbation["node"].values.tolist()) <= named
        reason = "" if known else _by_conditions(perturbation)
        if reason:
            turned["perturbation"] = reason
        for name, table in tables.items():
            if _crossed(perturbation, table) != bool(reason):
                turned[name] = reason or _shared(perturbation, table)
    if turned:
        fix = " and ".join(f"{name}.T" for name in turned)
        if "perturbation" not in turned and not named:
            fix += ", or perturbation.T if that is the transposed one"
        raise DataError(
            f"{' and '.join(turned)} {'is' if len(turned) == 1 else 'are'} transposed: "
            f"{next(iter(turned.values()))}; {_NEEDED}. Give {fix}; in files swap rows and columns."
        )


def check_doses(perturbation: xr.DataArray, kinds: Sequence[str]) -> None:
    """Raise a `DataError` if kinds given by position fit the rows of the doses, not the columns.

    In a square table nothing else tells when labels say nothing: as it stands nodes that are no
    drugs are perturbed, turned round only drugs are.
    """
    doses = perturbation.transpose("condition", "node").values
    other = np.array([kind != "drug" for kind in kinds])
    if doses.shape[0] != doses.shape[1] or other.all():
        return
    if (doses[:, other] != 0).any() and (doses != 0).any() and not (doses[other] != 0).any():
        node = perturbation["node"].values[other][(doses[:, other] != 0).any(axis=0)][0]
        raise DataError(
            f"perturbation looks transposed: as it stands {str(node)!r}, which is no drug, is "
            f"perturbed, and with rows and columns swapped only drugs are; {_NEEDED}: give the "
            "transpose (.T) of every table. If it is right as it stands, give DataFrames, and "
            "node_kind as {node: kind}."
        )


def _by_names(table: xr.DataArray, named: Set[str]) -> str:
    rows, columns = _axes(table)
    in_rows, in_columns = rows & named, columns & named
    if len(in_rows) > len(in_columns) and columns - named:
        return f"node_kind names {counted(len(in_rows), 'row')} of it as nodes: {_some(in_rows)}"
    return ""


def _crossed(perturbation: xr.DataArray, table: xr.DataArray) -> bool:
    """Whether the labels of a table are those of the perturbation with the axes swapped."""
    rows, columns = _axes(perturbation)
    other_rows, other_columns = _axes(table)
    straight = len(rows & other_rows) + len(columns & other_columns)
    across = len(rows & other_columns), len(columns & other_rows)
    return min(across) > 0 and sum(across) > straight


def _shared(perturbation: xr.DataArray, table: xr.DataArray) -> str:
    both = _axes(table)[0] & _axes(perturbation)[1]
    return f"its rows are columns of perturbation: {_some(both)}"


def _by_conditions(perturbation: xr.DataArray) -> str:
    """Tell by columns that are named as only conditions are."""
    rows, columns = _axes(perturbation)
    doses = perturbation.transpose("condition", "node").values
    idle = perturbation["node"].values[(doses == 0).all(axis=0)].tolist()
    controls = {column for column in idle if _CONTROL.fullmatch(column)}
    if controls and not any(_CONTROL.fullmatch(row) for row in rows):
        return f"a control is among its columns, {_some(controls)}"
    combined = {column for column in columns if (parts := _parts(column)) and parts <= rows}
    if combined and not any((parts := _parts(row)) and parts <= columns for row in rows):
        return f"its columns are named after its rows, {_some(combined)}"
    return ""


def _parts(label: str) -> set[str]:
    """Return the nodes that a condition such as aMEK=-1+aAKT names; none for a single name."""
    parts = [part.partition("=")[0].strip() for part in re.split(r"[+&]", label)]
    return set(parts) if parts != [label.strip()] else set()


def _axes(table: xr.DataArray) -> tuple[set[str], set[str]]:
    rows: npt.NDArray[Any] = table["condition"].values
    return set(rows.tolist()), set(table["node"].values.tolist())


def _some(labels: Set[str]) -> str:
    return listed(sorted(labels), 3)
