"""Expressions as straight-line Python on floats, for systems so small that calls cost more.

A call of NumPy takes about as long as twenty operations on floats. What is compiled here is
written by this module from its own list of operations: symbols have numbers for names, constants
are written as floats, and nothing of a user's text enters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from pycellbox.graph.nodes import ELEMENTWISE, Array, Node, in_order

Scalars: TypeAlias = Callable[..., tuple[float, ...]]

FAULTS = (OverflowError, ZeroDivisionError, ValueError)
"""What floats raise where NumPy has infinities and NaN: it is to be asked then."""

_TEXTS = {
    "neg": "-{0}", "exp": "exp({0})", "expm1": "expm1({0})", "log": "log({0})",
    "log1p": "log1p({0})", "sqrt": "sqrt({0})", "tanh": "tanh({0})", "sin": "sin({0})",
    "cos": "cos({0})", "arctan": "atan({0})", "abs": "fabs({0})",
    "sign": "1.0 if {0} > 0 else -1.0 if {0} < 0 else {0}",
    "expit": "0.5*tanh(0.5*{0}) + 0.5",
    "softplus": "({0} if {0} > 0 else 0.0) + log1p(exp(-fabs({0})))",
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0}*{1}",
    "guarded": "0.0 if {0} == 0 or {1} == 0 else {0}*{1}", "div": "{0}/{1}",
    "pow": "pow({0}, {1})", "power_log": "0.0 if {0} == 0 and {1} > 0 else pow({0}, {1})*log({0})",
    "maximum": "{0} if {0} >= {1} or {0} != {0} else {1}",
    "minimum": "{0} if {0} <= {1} or {0} != {0} else {1}",
    "greater": "1.0 if {0} > {1} else 0.0", "where": "{1} if {0} != 0 else {2}",
}  # fmt: skip
_NAMES = (
    "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "atan", "fabs", "pow",
)  # fmt: skip
_FUNCTIONS = {name: getattr(math, name) for name in _NAMES}


class Script:
    """One expression, compiled once for many values.

    Parameters
    ----------
    output : Node
    moving : Node
        The symbol whose entries are the arguments of the functions that `bind` returns.
    """

    def __init__(self, output: Node, moving: Node) -> None:
        order, moves = _moving(output, moving)
        self._staying = [node for node in order if node.op == "symbol" and node is not moving]
        writer = _Writer()
        arguments = [writer.named(node) for node in self._staying]
        before, within = list[str](), list[str]()
        for node in order:
            (within if node in moves else before).extend(writer.lines(node))
        given = ", ".join(name for names in arguments for name in names)
        entries = ", ".join(writer.names[moving].ravel())
        result = "".join(f"{name}, " for name in writer.names[output].ravel())
        text = "\n".join(
            [
                f"def bind({given}):",
                *(f"    {line}" for line in before),
                f"    def value({entries}):",
                *(f"        {line}" for line in within),
                f"        return ({result})",
                "    return value",
            ]
        )
        self._bind = define(text, "bind")

    def bind(self, given: Mapping[str, Array]) -> Scalars:
        """Return the function of the moving entries, for values of all other symbols.

        Where floats raise one of `FAULTS`, NumPy has the value.
        """
        values = [given[node.data[0]] for node in self._staying]
        found: Scalars = self._bind(*(v for array in values for v in np.ravel(array).tolist()))
        return found


def operations(output: Node, moving: Node) -> int:
    """Return about how many operations on floats an evaluation takes."""
    _, moves = _moving(output, moving)
    return sum(
        node.args[0].size
        if node.op == "sum"
        else node.size * node.args[0].shape[-1]
        if node.op == "matmul"
        else node.size
        for node in moves
        if node.args and node.op not in _MOVED
    )


def _moving(output: Node, moving: Node) -> tuple[list[Node], set[Node]]:
    """Return all nodes in order, and which of them depend on a symbol."""
    order, moves = in_order([moving, output]), {moving}
    for node in order:
        if any(arg in moves for arg in node.args):
            moves.add(node)
    return order, moves


def define(text: str, name: str) -> Callable[..., Any]:
    """Return a function of a text that was written here or by a backend, from no user's words."""
    space: dict[str, Any] = {"__builtins__": {}, **_FUNCTIONS}
    exec(compile(text, f"<pycellbox {name}>", "exec"), space)
    found: Callable[..., Any] = space[name]
    return found


class _Writer:
    """Gives every entry of every node a name, or the text of its number."""

    def __init__(self) -> None:
        self.names: dict[Node, Array] = {}
        self._count = 0

    def named(self, node: Node) -> list[str]:
        """Name the entries of a node anew."""
        names = [f"v{self._count + i}" for i in range(node.size)]
        self._count += node.size
        self.names[node] = np.array(names, dtype=object).reshape(node.shape)
        return names

    def lines(self, node: Node) -> list[str]:
        """Return the assignments that a node takes; none where entries are but moved about."""
        if node in self.names:
            return []
        args = [self.names[arg] for arg in node.args] if node.op != "symbol" else []
        if node.op == "symbol":
            self.named(node)
            return []
        if node.op == "constant":
            texts = [f"({value!r})" for value in node.value.ravel().tolist()]
            self.names[node] = np.array(texts, dtype=object).reshape(node.shape)
            return []
        moved = _MOVED.get(node.op)
        if moved is not None:
            self.names[node] = moved(node, args)
            return []
        if node.op in ELEMENTWISE:
            spread = [arg.ravel() for arg in np.broadcast_arrays(*args)]
            texts = [_TEXTS[node.op].format(*entries) for entries in zip(*spread, strict=True)]
        else:
            texts = _TERMS[node.op](node, args)
        return [f"{name} = {text}" for name, text in zip(self.named(node), texts, strict=True)]


def _scattered(node: Node, args: Sequence[Array]) -> list[str]:
    terms = [list[str]() for _ in range(node.size)]
    for place, name in zip(node.data[0], args[0].ravel(), strict=True):
        terms[place].append(name)
    return [" + ".join(names) or "0.0" for names in terms]


def _summed(node: Node, args: Sequence[Array]) -> list[str]:
    kept = tuple(axis for axis in range(args[0].ndim) if axis not in node.data)
    rows = args[0].transpose(kept + node.data).reshape(node.size, -1)
    return [" + ".join(row) or "0.0" for row in rows]


def _products(node: Node, args: Sequence[Array]) -> list[str]:
    a, b = args
    columns = b.reshape(len(b), -1).T
    pairs = ((row, column) for row in a for column in columns)
    return [" + ".join(f"{x}*{y}" for x, y in zip(*pair, strict=True)) or "0.0" for pair in pairs]


_TERMS: dict[str, Callable[[Node, Sequence[Array]], list[str]]] = {
    "scatter": _scattered,
    "sum": _summed,
    "matmul": _products,
    "outer": lambda node, args: [f"{a}*{b}" for a in args[0] for b in args[1]],
}
_MOVED: dict[str, Callable[[Node, Sequence[Array]], Array]] = {
    "transpose": lambda node, args: args[0].T,
    "take": lambda node, args: args[0].ravel()[list(node.data[0])].reshape(node.shape),
    "reshape": lambda node, args: args[0].reshape(node.shape),
    "broadcast": lambda node, args: np.broadcast_to(args[0], node.shape),
    "join": lambda node, args: np.concatenate([arg.ravel() for arg in args]),
}
