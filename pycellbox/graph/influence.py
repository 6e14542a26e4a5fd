"""Which entries of symbols expressions depend on, and which of these have a derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pycellbox.graph.nodes import Node

Entry: TypeAlias = tuple[str, int]
"""Name of a symbol, and the number of an entry in C order."""

_STEPS = ("greater", "sign")
"""Operations that are constant wherever they have a derivative."""


def entries(outputs: Sequence[Node], *, derived: bool) -> set[Entry]:
    """Return the entries that outputs depend on.

    Parameters
    ----------
    outputs : sequence of Node
    derived : bool
        Without those that do nothing but decide: what is compared, or selects in ``where``.
    """
    found, seen, stack = set[Entry](), set[Node](), list(outputs)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op == "symbol":
            found |= {(node.data[0], i) for i in range(node.size)}
        elif node.op == "take" and node.args[0].op == "symbol":
            found |= {(node.args[0].data[0], i) for i in node.data[0]}
        elif not (derived and node.op in _STEPS):
            stack += node.args[1:] if derived and node.op == "where" else node.args
    return found


def parts(vector: Node) -> list[Node]:
    """Return for each entry of a vector the smallest expression that it is an entry of."""
    while vector.op == "reshape":
        vector = vector.args[0]
    if vector.op != "join":
        return [vector] * vector.size
    return [arg for arg in vector.args for _ in range(arg.size)]
