"""Expressions as straight-line Julia code: one variable for each number that is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pycellbox.graph.nodes import ELEMENTWISE, Array, Node, in_order

if TYPE_CHECKING:
    from pycellbox.backends.julia.source import Output

TEXT = {
    "neg": "-{0}", "exp": "exp({0})", "expm1": "expm1({0})", "log": "log_({0})",
    "log1p": "log1p_({0})", "sqrt": "sqrt_({0})", "tanh": "tanh_({0})", "sin": "sin_({0})",
    "cos": "cos_({0})", "arctan": "atan({0})", "abs": "abs({0})", "sign": "sign({0})",
    "expit": "expit({0})", "softplus": "softplus({0})", "add": "{0} + {1}", "sub": "{0} - {1}",
    "mul": "{0} * {1}", "guarded": "guarded({0}, {1})", "div": "{0} / {1}", "pow": "pow({0}, {1})",
    "power_log": "power_log({0}, {1})", "maximum": "max({0}, {1})", "minimum": "min({0}, {1})",
    "greater": "greater({0}, {1})", "where": "where_({0}, {1}, {2})",
    # Of a power that is known: a lower one, and its product with the logarithm.
    "lower": "lower({0}, {1}, {2})", "logged": "logged({0}, {1}, {2})",
}  # fmt: skip
"""Every operation in Julia; see julia/src/equations/operations.jl."""

_FOLDED: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
}


class TooLongError(Exception):
    """The code has more statements than it may have."""


def literal(value: float, dtype: str) -> str:
    """Return a number as Julia reads it, to the last bit."""
    text = repr(float(value))
    text = f"Float32({text})" if dtype == "float32" else text
    return f"({text})" if text.startswith("-") else text


class Scalars:
    """The statements of expressions, equal ones once.

    Parameters
    ----------
    places : mapping of str to (str, int)
        As for `pycellbox.backends.julia.source.source`.
    dtype : str
    most : int
        Statements that there may be.
    """

    def __init__(self, places: Mapping[str, tuple[str, int]], dtype: str, most: int) -> None:
        self._places, self._dtype, self._most = places, dtype, most
        self._entries: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._values: dict[Node, Array] = {}

    def body(self, outputs: Sequence[Output]) -> list[str]:
        """Return the lines that compute the outputs and write them.

        Raises
        ------
        TooLongError
        """
        order = in_order([one.node for one in outputs])
        if sum(n.size for n in order if n.args) > 20 * self._most:
            raise TooLongError
        for node in order:
            self._values[node] = self._numbers(node)
        needed: set[int] = set()
        stack = [int(k) for one in outputs for k in self._values[one.node].flat]
        while stack:
            k = stack.pop()
            if k not in needed:
                needed.add(k)
                if self._entries[k][0] not in ("constant", "load"):
                    stack += self._entries[k][1:]
        computed = sorted(k for k in needed if self._entries[k][0] != "constant")
        if len(computed) > self._most:
            raise TooLongError
        lines = [f"v{k} = {self._text(k)}" for k in computed]
        for one in outputs:
            for i, k in enumerate(map(int, self._values[one.node].flat)):
                if one.added and self._is(k, 0.0):
                    continue
                equals = "+=" if one.added else "="
                place = f"{one.array}[i{one.array} + {one.offset + i + 1}]"
                lines.append(f"{place} {equals} {self._atom(k)}")
        return lines

    def _text(self, k: int) -> str:
        op, *args = self._entries[k]
        if op == "load":
            array, index = args
            return f"{array}[i{array} + {index + 1}]"
        return TEXT[op].format(*(self._atom(arg) for arg in args))

    def _atom(self, k: int) -> str:
        op, *args = self._entries[k]
        return literal(args[0], self._dtype) if op == "constant" else f"v{k}"

    def _entry(self, *entry: Any) -> int:
        if entry not in self._known:
            # More than will be written: what nothing needs is left out in the end.
            if len(self._entries) > 20 * self._most:
                raise TooLongError
            self._known[entry] = len(self._entries)
            self._entries.append(entry)
        return self._known[entry]

    def _is(self, k: int, number: float) -> bool:
        return self._entries[k] == ("constant", number)

    def _op(self, op: str, *args: int) -> int:
        """One operation, with what is plainly zero or one left out."""
        if op in _FOLDED and all(self._entries[a][0] == "constant" for a in args):
            value = _FOLDED[op](*(self._entries[a][1] for a in args))
            if math.isfinite(value):
                return self._entry("constant", value)
        if op in ("add", "sub", "mul", "div", "guarded"):
            a, b = args
            if op == "add" and self._is(a, 0.0):
                return b
            if op in ("add", "sub") and self._is(b, 0.0):
                return a
            if op == "sub" and self._is(a, 0.0):
                return self._op("neg", b)
            if op in ("mul", "guarded"):
                for one, other in ((a, b), (b, a)):
                    if self._is(one, 0.0):
                        return one
                    if self._is(one, 1.0):
                        return other
                    if self._is(one, -1.0):
                        return self._op("neg", other)
            if op == "div" and self._is(b, 1.0):
                return a
        if op == "neg" and self._entries[args[0]][0] == "neg":
            return int(self._entries[args[0]][1])
        if op == "pow":
            return self._power(*args)
        if op == "power_log":
            x, k = args
            return self._entry("logged", self._power(x, k), x, k)
        return self._entry(op, *args)

    def _power(self, x: int, k: int) -> int:
        """x^k: products where k is small and whole, a division where the next power is needed."""
        op, *args = self._entries[k]
        if op == "constant":
            if args[0] in (2.0, 3.0, 4.0):
                square = self._op("mul", x, x)
                last = {2.0: None, 3.0: x, 4.0: square}[args[0]]
                return square if last is None else self._op("mul", square, last)
            if args[0] == -1.0:
                return self._entry("div", self._entry("constant", 1.0), x)
            above = self._known.get(("pow", x, self._entry("constant", args[0] + 1)))
            if above is not None:
                return self._entry("lower", above, x, k)
        if op == "sub" and self._is(args[1], 1.0):
            return self._entry("lower", self._power(x, args[0]), x, k)
        return self._entry("pow", x, k)

    def _numbers(self, node: Node) -> Array:
        """Return the numbers of a node's entries, in its shape."""
        op, args = node.op, [self._values[arg] for arg in node.args]
        if op == "symbol":
            array, offset = self._places[node.data[0]]
            found = [self._entry("load", array, offset + i) for i in range(node.size)]
            return np.array(found, np.intp).reshape(node.shape)
        if op == "constant":
            found = [self._entry("constant", float(v)) for v in node.value.flat]
            return np.array(found, np.intp).reshape(node.shape)
        if op in ELEMENTWISE:
            spread = [np.broadcast_to(arg, node.shape).flat for arg in args]
            found = [self._op(op, *map(int, entry)) for entry in zip(*spread, strict=True)]
            return np.array(found, np.intp).reshape(node.shape)
        if op == "matmul":
            a, b = args[0], args[1].reshape(args[1].shape[0], -1)
            products = [[self._dot(row, column) for column in b.T] for row in a]
            return np.array(products, np.intp).reshape(node.shape)
        if op == "outer":
            rows = [[self._op("mul", int(a), int(b)) for b in args[1]] for a in args[0]]
            return np.array(rows, np.intp).reshape(node.shape)
        if op == "sum":
            kept = [axis for axis in range(args[0].ndim) if axis not in node.data]
            moved = args[0].transpose(*kept, *node.data).reshape(node.size, -1)
            sums = [self._sum([int(k) for k in row]) for row in moved]
            return np.array(sums, np.intp).reshape(node.shape)
        if op == "take":
            return args[0].ravel()[np.reshape(node.data[0], node.shape).astype(np.intp)]
        if op == "scatter":
            out = np.full(node.size, self._entry("constant", 0.0), np.intp)
            for place, k in zip(node.data[0], args[0].flat, strict=True):
                out[place] = self._op("add", int(out[place]), int(k))
            return out.reshape(node.shape)
        if op == "join":
            return np.concatenate([arg.ravel() for arg in args])
        if op == "transpose":
            return args[0].T
        if op == "broadcast":
            return np.broadcast_to(args[0], node.shape)
        assert op == "reshape"
        return args[0].reshape(node.shape)

    def _dot(self, a: Array, b: Array) -> int:
        return self._sum([self._op("mul", int(x), int(y)) for x, y in zip(a, b, strict=True)])

    def _sum(self, terms: list[int]) -> int:
        total = self._entry("constant", 0.0)
        for term in terms:
            total = self._op("add", total, term)
        return total
