"""Every way of saying which node is of which kind, turned into one kind for each node."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.data.cells import Labels, as_labels, check_unique, counted, listed
from pycellbox.data.schema import NODE_KINDS
from pycellbox.errors import DataError

NodeKind: TypeAlias = (
    Mapping[str, Any] | pd.Series | xr.DataArray | Sequence[str] | npt.NDArray[Any] | None
)


def resolve_node_kinds(node_kind: NodeKind, nodes: Labels) -> list[str]:
    """Give every node its kind; whether the kind exists is for `validate` to say.

    Parameters
    ----------
    node_kind : mapping, pandas.Series, xarray.DataArray, sequence or None
        ``{node: kind}`` (or a Series, or a DataArray over ``node``), where further nodes are
        ignored; ``{kind: count}`` in node order; ``{kind: nodes}`` with labels or positions;
        one kind for each node in node order; None for proteins only.
    nodes : numpy.ndarray of str
        Node labels.

    Returns
    -------
    list of str
        One kind for each node.

    Raises
    ------
    DataError
        A node has no kind or two, or the numbers do not add up.
    """
    if node_kind is None:
        return ["protein"] * len(nodes)
    if isinstance(node_kind, str):
        raise DataError(
            f"node_kind is the text {node_kind!r}; give a kind for each node as a mapping "
            "{node: kind} or a sequence in node order."
        )
    if isinstance(node_kind, xr.DataArray):
        node_kind = _series_of(node_kind)
    if isinstance(node_kind, pd.Series):
        labels = as_labels(node_kind.index, "node", "node_kind")
        check_unique(labels, "node", "node_kind")
        return _from_nodes(dict(zip(labels.tolist(), node_kind, strict=True)), nodes)
    if isinstance(node_kind, Mapping):
        # In {kind: ...} no value is text: a count, a range, or a list of nodes.
        if any(isinstance(kind, str) for kind in node_kind.values()):
            return _from_nodes({str(node): kind for node, kind in node_kind.items()}, nodes)
        if all(_is_integer(count) for count in node_kind.values()):
            return _from_counts(node_kind, nodes)
        return _from_members(node_kind, nodes)
    kinds = [str(kind) for kind in node_kind]
    if len(kinds) != len(nodes):
        raise DataError(
            f"node_kind has {counted(len(kinds), 'entry').replace('entrys', 'entries')} for "
            f"{counted(len(nodes), 'node')}; give one for each node, in node order."
        )
    return kinds


def _series_of(node_kind: xr.DataArray) -> pd.Series:
    if node_kind.dims != ("node",) or "node" not in node_kind.coords:
        raise DataError(
            f"node_kind is a DataArray with the dims {node_kind.dims}; it needs the one dim "
            "'node', with labels."
        )
    return cast(pd.Series, pd.Series(node_kind.values, index=node_kind["node"].values))


def _from_nodes(kinds: Mapping[str, Any], nodes: Labels) -> list[str]:
    missing = [node for node in nodes.tolist() if node not in kinds]
    if missing:
        raise DataError(
            f"node_kind has no kind for {counted(len(missing), 'node')}: {listed(missing)}; add "
            f"them, each with one of {', '.join(NODE_KINDS)}."
        )
    return [str(kinds[node]) for node in nodes.tolist()]


def _from_counts(counts: Mapping[str, Any], nodes: Labels) -> list[str]:
    total = sum(counts.values())
    if total != len(nodes) or min(counts.values(), default=0) < 0:
        written = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        raise DataError(
            f"the counts of node_kind ({written}) add up to {total} and there are "
            f"{counted(len(nodes), 'node')}; they must add up to the number of nodes."
        )
    return [str(kind) for kind, count in counts.items() for _ in range(count)]


def _from_members(members: Mapping[str, Any], nodes: Labels) -> list[str]:
    kinds: dict[str, str] = {}
    for kind, group in members.items():
        for member in group if isinstance(group, (Sequence, np.ndarray)) else [group]:
            node = _node_label(member, kind, nodes)
            if node in kinds:
                raise DataError(
                    f"node_kind names node {node!r} twice, as {kinds[node]!r} and as {kind!r}; "
                    "every node has one kind."
                )
            kinds[node] = str(kind)
    return _from_nodes(kinds, nodes)


def _node_label(member: object, kind: str, nodes: Labels) -> str:
    """Read a node given by its label or by its position."""
    if _is_integer(member) and 0 <= cast(int, member) < len(nodes):
        return str(nodes[cast(int, member)])
    if isinstance(member, str) and member in nodes:
        return str(member)
    raise DataError(
        f"node_kind lists {member!r} as {kind!r}, and there is no such node; use the labels of "
        f"the tables, or positions from 0 to {len(nodes) - 1}."
    )


def _is_integer(value: object) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
