"""Every way of saying which node is of which kind, turned into one kind for each node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.labels import counted, label_text, listed
from pycellbox.common.options import as_text, shown
from pycellbox.common.plain import as_integer
from pycellbox.data.cells import Labels, as_labels, check_unique, is_missing
from pycellbox.data.variables import NODE_KINDS
from pycellbox.errors import DataError

NodeKind: TypeAlias = (
    Mapping[Any, Any]
    | pd.Series
    | pd.DataFrame
    | xr.DataArray
    | Sequence[str]
    | npt.NDArray[Any]
    | None
)
_KIND_HEADINGS = ("kind", "node_kind", "kinds", "type", "node_type")
_NODE_HEADINGS = ("node", "nodes", "name", "gene", "protein", "label")


def resolve_node_kinds(node_kind: NodeKind, nodes: Labels) -> list[str]:
    """Give every node its kind; whether the kind exists is for `validate` to say.

    Parameters
    ----------
    node_kind : mapping, pandas.Series, pandas.DataFrame, xarray.DataArray, sequence or None
        ``{node: kind}`` (or a Series, a DataFrame with the columns node and kind, or a DataArray
        over ``node``), where further nodes are ignored; ``{kind: count}`` in node order;
        ``{kind: nodes}``; one kind for each node in node order; None for proteins only. Nodes are
        given by label, or by position where no integer among them is a label.
    nodes : numpy.ndarray of str
        Node labels.

    Returns
    -------
    list of str
        One kind for each node.

    Raises
    ------
    DataError
        A node has no kind or two, the numbers do not add up, or integers are partly labels.
    """
    if node_kind is None:
        return ["protein"] * len(nodes)
    if isinstance(node_kind, str):
        raise DataError(
            f"node_kind is the text {shown(node_kind)}; give a kind for each node as a mapping "
            "{node: kind} or a sequence in node order."
        )
    by_node = _by_node(node_kind)
    if by_node is not None:
        return _from_nodes(by_node, nodes)
    if isinstance(node_kind, Mapping):
        if not all(_is_integer(count) for count in node_kind.values()):
            return _from_members(node_kind, nodes)
        single = [label_text(node) for node in node_kind.values()]
        # {"protein": 5604, "drug": 1}: a node each, or counts?
        if sorted(single) == sorted(nodes.tolist()):
            if sum(node_kind.values()) != len(nodes):
                return _from_members(node_kind, nodes)
            raise DataError(
                f"the numbers of node_kind, {listed(single)}, may be labels of nodes or counts; "
                "write labels as lists, {kind: [nodes]}."
            )
        return _from_counts(node_kind, nodes)
    kinds: list[str] = as_labels(node_kind, "node_kind", "node_kind").tolist()
    if len(kinds) != len(nodes):
        raise DataError(
            f"node_kind has {counted(len(kinds), 'entry').replace('entrys', 'entries')} for "
            f"{counted(len(nodes), 'node')}; give one for each node, in node order."
        )
    return kinds


def named_nodes(node_kind: NodeKind) -> frozenset[str]:
    """Return the labels that ``node_kind`` names as nodes; what may be a position is left out."""
    if node_kind is None or isinstance(node_kind, str):
        return frozenset()
    by_node = _by_node(node_kind)
    if by_node is not None:
        names = set(by_node)
    elif isinstance(node_kind, Mapping) and not all(map(_is_integer, node_kind.values())):
        names = {label_text(member) for group in node_kind.values() for member in _group(group)}
    else:
        names = set()
    positions = {str(i) for i in range(len(names))}
    return frozenset(names - positions)


def kinds_of_frame(frame: pd.DataFrame) -> pd.Series:
    """Read a table of nodes and their kinds into a Series over the nodes."""
    headings = [str(column).strip().lower() for column in frame.columns]
    kinds = [i for i, heading in enumerate(headings) if heading in _KIND_HEADINGS]
    nodes = [i for i, heading in enumerate(headings) if heading in _NODE_HEADINGS]
    if (
        len(kinds) != 1
        or len(nodes) > 1
        or not (nodes or set(headings) <= {*_KIND_HEADINGS, "group"})
    ):
        raise DataError(
            f"node_kind is a table with the columns {listed(frame.columns)}; it needs 'node' and "
            "'kind'."
        )
    labels = frame.iloc[:, nodes[0]] if nodes else frame.index
    values = frame.iloc[:, kinds[0]].to_numpy(dtype=object)
    return pd.Series(values, index=pd.Index(labels, dtype=object), dtype=object)


def groups_of(node_kind: NodeKind) -> dict[str, Any] | None:
    """Return the group of each node that a table of nodes has beside their kinds."""
    if not isinstance(node_kind, pd.DataFrame):
        return None
    headings = [str(column).strip().lower() for column in node_kind.columns]
    if "group" not in headings:
        return None
    nodes = [i for i, heading in enumerate(headings) if heading in _NODE_HEADINGS]
    labels = node_kind.iloc[:, nodes[0]] if nodes else node_kind.index
    return dict(zip(labels, node_kind.iloc[:, headings.index("group")], strict=True))


def _by_node(node_kind: Any) -> dict[str, Any] | None:
    """Return the kind of each node by label, if nodes are what ``node_kind`` goes by."""
    if isinstance(node_kind, pd.DataFrame):
        node_kind = kinds_of_frame(node_kind)
    if isinstance(node_kind, xr.DataArray):
        node_kind = _series_of(node_kind)
    if isinstance(node_kind, Mapping):
        values = [kind for kind in node_kind.values() if isinstance(kind, str)]
        # {kind: node} names kinds on the left, and no kind on the right.
        left = all(kind in NODE_KINDS for kind in node_kind)
        if not values or (left and not all(kind in NODE_KINDS for kind in values)):
            return None
        node_kind = pd.Series(
            list(node_kind.values()), index=pd.Index(list(node_kind), dtype=object), dtype=object
        )
    if not isinstance(node_kind, pd.Series):
        return None
    labels = as_labels(node_kind.index, "node", "node_kind")
    check_unique(labels, "node", "node_kind")
    return dict(zip(labels.tolist(), node_kind, strict=True))


def _series_of(node_kind: xr.DataArray) -> pd.Series:
    if node_kind.dims != ("node",) or "node" not in node_kind.coords:
        raise DataError(
            f"node_kind is a DataArray with the dims {node_kind.dims}; it needs the one dim "
            "'node', with labels."
        )
    return cast(pd.Series, pd.Series(node_kind.values, index=node_kind["node"].values))


def _from_nodes(kinds: Mapping[str, Any], nodes: Labels) -> list[str]:
    found = [node for node in nodes.tolist() if node in kinds]
    if not found and set(kinds) == {str(i) for i in range(len(nodes))}:
        return [as_text(kinds[str(i)]) for i in range(len(nodes))]
    missing = [node for node in nodes.tolist() if is_missing(kinds.get(node))]
    if missing:
        raise DataError(
            f"node_kind has no kind for {counted(len(missing), 'node')}: {listed(missing)}; add "
            f"them, each with one of {', '.join(NODE_KINDS)}."
        )
    return [as_text(kinds[node]) for node in nodes.tolist()]


def _from_counts(counts: Mapping[Any, Any], nodes: Labels) -> list[str]:
    total = sum(counts.values())
    if total != len(nodes) or min(counts.values(), default=0) < 0:
        written = ", ".join(f"{kind}: {count}" for kind, count in counts.items())
        raise DataError(
            f"the counts of node_kind ({written}) add up to {total} and there are "
            f"{counted(len(nodes), 'node')}; they must add up to the number of nodes, which are "
            "the columns of the tables."
        )
    return [as_text(kind) for kind, count in counts.items() for _ in range(count)]


def _from_members(members: Mapping[Any, Any], nodes: Labels) -> list[str]:
    known = set(nodes.tolist())
    given = [(as_text(kind), member) for kind, group in members.items() for member in _group(group)]
    integers = [member for _, member in given if _is_integer(member)]
    labels = [member for member in integers if label_text(member) in known]
    if labels and len(labels) < len(integers):
        other = next(member for member in integers if label_text(member) not in known)
        raise DataError(
            f"node_kind lists {shown(labels[0])}, which is the label of a node, and "
            f"{shown(other)}, which is none and could only be a position; name all "
            "nodes by their labels."
        )
    kinds: dict[str, str] = {}
    for kind, member in given:
        node = label_text(member)
        if _is_integer(member) and not labels and 0 <= member < len(nodes):
            node = str(nodes[member])
        elif node not in known:
            raise DataError(
                f"node_kind lists {shown(member)} as {kind!r}, and there is no such node; use the "
                f"labels of the tables, or positions from 0 to {len(nodes) - 1}."
            )
        if node in kinds:
            raise DataError(
                f"node_kind names node {node!r} twice, as {kinds[node]!r} and as {kind!r}; "
                "every node has one kind."
            )
        kinds[node] = kind
    return _from_nodes(kinds, nodes)


def _group(group: Any) -> list[Any]:
    return [group] if isinstance(group, str) or not np.iterable(group) else list(group)


def _is_integer(value: object) -> bool:
    return as_integer(value) is not None
