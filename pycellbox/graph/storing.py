"""Expressions as plain lists, which JSON keeps, and back again: nothing in them is executed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pycellbox.common.options import shown
from pycellbox.errors import ModelError
from pycellbox.graph.nodes import MOST_ENTRIES, OPERATIONS, Node, Shape, constant, in_order, make

MOST_NODES = 100_000
_RESHAPING = ("reshape", "broadcast")


def to_lists(outputs: Sequence[Node]) -> dict[str, Any]:
    """Return expressions as plain values.

    Returns
    -------
    dict
        ``nodes``, a list with ``[operation, numbers of its arguments, what is fixed]`` for each,
        after those that it needs; ``outputs``, the numbers of the expressions themselves.
    """
    order = in_order(outputs)
    number = {node: i for i, node in enumerate(order)}
    return {
        "nodes": [[n.op, [number[a] for a in n.args], _told(n)] for n in order],
        "outputs": [number[output] for output in outputs],
    }


def from_lists(kept: Any, output: int | None = None) -> Any:
    """Return the expressions that `to_lists` has written: the very same nodes.

    Parameters
    ----------
    kept : object
        From a file, say: it is looked at entry by entry.
    output : int, optional
        The one that is wanted; by default a tuple of all.

    Raises
    ------
    ModelError
        These are no expressions; the message says which node is wrong.
    """
    if not isinstance(kept, dict) or set(kept) != {"nodes", "outputs"}:
        raise ModelError(f"a stored expression has nodes and outputs, and is {shown(kept)}.")
    listed, outputs = kept["nodes"], kept["outputs"]
    if not isinstance(listed, list) or not isinstance(outputs, list):
        raise ModelError("the nodes and outputs of a stored expression are lists.")
    if len(listed) > MOST_NODES:
        raise ModelError(
            f"a stored expression has {len(listed):,} nodes; it may have {MOST_NODES:,}."
        )
    nodes: list[Node] = []
    entries = 0
    for place, entry in enumerate(listed):
        try:
            nodes.append(_node(entry, nodes))
        except ModelError as error:
            raise ModelError(f"node {place} of a stored expression: {error}") from None
        entries += nodes[-1].size
        if entries > 10 * MOST_ENTRIES:
            raise ModelError(f"the first {place + 1} nodes of a stored expression are too large.")
    found = tuple(nodes[_integer(i, len(nodes))] for i in outputs)
    return found if output is None else found[output]


def _told(node: Node) -> Any:
    """Return what is fixed of a node, as JSON has it."""
    if node.op == "symbol":
        return [node.data[0], list(node.shape)]
    if node.op == "constant":
        return [node.value.ravel().tolist(), list(node.shape)]
    if node.op in ("take", "scatter"):
        return [list(node.data[0]), list(node.data[1])]
    return list(node.data) if node.data is not None else None


def _node(entry: Any, before: list[Node]) -> Node:
    if not isinstance(entry, list) or len(entry) != 3:
        raise ModelError(
            f"it is no list of operation, arguments and what is fixed: {shown(entry)}."
        )
    op, args, told = entry
    if not isinstance(op, str) or op not in OPERATIONS:
        raise ModelError(f"there is no operation {shown(op)}.")
    arity = OPERATIONS[op].arity
    if not isinstance(args, list) or (len(args) != arity if arity is not None else not args):
        raise ModelError(f"{op} takes {'several' if arity is None else arity} arguments.")
    taken = [before[_integer(i, len(before))] for i in args]
    if op in ("symbol", "constant", "take", "scatter"):
        if not isinstance(told, list) or len(told) != 2:
            raise ModelError(f"{op} has no two things that are fixed.")
        first, shape = told[0], _shape(told[1])
        if op == "symbol":
            if not isinstance(first, str) or len(first) > 1000:
                raise ModelError("the name of a symbol is a short text.")
            return make(op, data=(first, shape))
        if not isinstance(first, list) or len(first) != math.prod(
            shape if op != "scatter" else taken[0].shape
        ):
            raise ModelError(f"{op} has another number of entries than its shape.")
        if op == "constant":
            return constant(np.array(_numbers(first)).reshape(shape))
        size = taken[0].size if op == "take" else math.prod(shape)
        return make(op, taken, (tuple(_integer(i, size) for i in first), shape))
    if op in _RESHAPING:
        return make(op, taken, _shape(told))
    if op == "sum":
        if not isinstance(told, list) or not told or len(set(map(str, told))) != len(told):
            raise ModelError("sum has no list of different axes.")
        return make(op, taken, tuple(_integer(axis, len(taken[0].shape)) for axis in told))
    if told is not None:
        raise ModelError(f"{op} has nothing that is fixed.")
    return make(op, taken)


def _integer(given: Any, end: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < end:
        raise ModelError(f"{shown(given)} is no whole number from 0 up to, not with, {end}.")
    return given


def _shape(given: Any) -> Shape:
    if not isinstance(given, list) or len(given) > 2:
        raise ModelError(f"{shown(given)} is no shape: a list of up to two sizes.")
    return tuple(_integer(size, MOST_ENTRIES + 1) for size in given)


def _numbers(given: list[Any]) -> list[float]:
    for one in given:
        if isinstance(one, bool) or not isinstance(one, int | float) or abs(one) > 1e308:
            raise ModelError(f"{shown(one)} is no finite number.")
    return [float(one) for one in given]
