"""Nodes of expressions: what is computed, from what, in which shape; equal ones are one object."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.errors import ModelError

Array: TypeAlias = npt.NDArray[Any]
Shape: TypeAlias = tuple[int, ...]

MOST_ENTRIES = 1_000_000
"""Of one node: a matrix of a thousand rows and columns."""


class Node:
    """One operation on other nodes: a scalar (), a vector (n,) or a matrix (m, n).

    Nodes are made by `make`, which returns the same object for the same operation on the same
    nodes: what an expression says twice is computed once, and ``is`` compares whole expressions.

    Attributes
    ----------
    op : str
        A name in `OPERATIONS`.
    args : tuple of Node
    data : hashable
        What is fixed: the name of a symbol, the bytes of a constant, indices.
    shape : tuple of int
    """

    __slots__ = ("__weakref__", "args", "data", "op", "shape")

    def __init__(self, op: str, args: tuple[Node, ...], data: Any, shape: Shape) -> None:
        self.op, self.args, self.data, self.shape = op, args, data, shape

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)

    @property
    def value(self) -> Array:
        """Entries of a constant, read-only."""
        assert self.op == "constant"
        values: Array = np.frombuffer(self.data[0], np.float64).reshape(self.shape)
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        from pycellbox.graph.storing import from_lists, to_lists

        return from_lists, (to_lists((self,)), 0)


@dataclass(frozen=True)
class Operation:
    """What an operation takes.

    Attributes
    ----------
    arity : int or None
        Number of arguments; None for one or more.
    shape : callable (shapes, data)
        Shape of the result; raises ModelError where there is none.
    """

    arity: int | None
    shape: Callable[[list[Shape], Any], Shape]


def make(op: str, args: Iterable[Node] = (), data: Any = None) -> Node:
    """Return the node of an operation, an existing one where there is one.

    Raises
    ------
    ModelError
        The shapes do not go together.
    """
    args = tuple(args)
    key = (op, args, data)
    with _lock:
        if (found := _nodes.get(key)) is not None:
            return found
        shape = OPERATIONS[op].shape([a.shape for a in args], data)
        if math.prod(shape) > MOST_ENTRIES:
            raise ModelError(
                f"an expression has the shape {shape}; it may have up to {MOST_ENTRIES:,} entries."
            )
        found = _nodes[key] = Node(op, args, data, shape)
    return found


def symbol(name: str, shape: Shape = ()) -> Node:
    """Return what stands for a number, vector or matrix that is known later."""
    return make("symbol", data=(name, shape))


def constant(values: Any) -> Node:
    """Return finite numbers as a node.

    Raises
    ------
    ModelError
        They are no finite numbers, or have more than two axes.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" or array.ndim > 2 or not np.isfinite(array).all():
        raise ModelError(
            "constants of an expression are finite numbers, vectors or matrices, and one is "
            f"{np.array2string(array, threshold=4):.60}."
        )
    array = np.ascontiguousarray(array, np.float64).reshape(array.shape)
    return make("constant", data=(array.tobytes(), array.shape))


def in_order(outputs: Iterable[Node]) -> list[Node]:
    """Return all nodes that the outputs need, each after those that it needs itself."""
    order: dict[Node, None] = {}
    stack = [(node, False) for node in reversed(list(outputs))]
    while stack:
        node, ready = stack.pop()
        if ready:
            order[node] = None
        elif node not in order:
            stack.append((node, True))
            stack += [(arg, False) for arg in reversed(node.args) if arg not in order]
    return list(order)


def symbols(outputs: Iterable[Node]) -> set[tuple[str, Shape]]:
    """Return names and shapes of the symbols that outputs depend on."""
    return {node.data for node in in_order(outputs) if node.op == "symbol"}


def _same(shapes: list[Shape], data: Any) -> Shape:
    try:
        return tuple(np.broadcast_shapes(*shapes))
    except ValueError:
        words = " and ".join(map(str, shapes))
        raise ModelError(f"shapes {words} of an expression do not go together.") from None


def _product(shapes: list[Shape], data: Any) -> Shape:
    first, second = shapes
    if len(first) == 2 and second and first[1] == second[0]:
        return (first[0], *second[1:])
    raise ModelError(f"shapes {first} and {second} have no matrix product: a @ b.")


def _outer(shapes: list[Shape], data: Any) -> Shape:
    if [len(shape) for shape in shapes] != [1, 1]:
        raise ModelError(f"shapes {shapes[0]} and {shapes[1]} are no two vectors.")
    return (*shapes[0], *shapes[1])


def _transposed(shapes: list[Shape], data: Any) -> Shape:
    return shapes[0][::-1]


def _told(shapes: list[Shape], data: Any) -> Shape:
    shape: Shape = data[1]
    return shape


def _summed(shapes: list[Shape], data: Any) -> Shape:
    if not all(axis < len(shapes[0]) for axis in data):
        raise ModelError(f"an expression of shape {shapes[0]} has no axis {max(data)}.")
    return tuple(size for axis, size in enumerate(shapes[0]) if axis not in data)


def _taken(shapes: list[Shape], data: Any) -> Shape:
    index, shape = data
    if index and not 0 <= min(index) <= max(index) < math.prod(shapes[0]):
        raise ModelError(f"an index is outside of an expression of shape {shapes[0]}.")
    if len(index) != math.prod(shape):
        raise ModelError(f"{len(index)} indices do not have the shape {shape}.")
    checked: Shape = shape
    return checked


def _scattered(shapes: list[Shape], data: Any) -> Shape:
    index, shape = data
    if len(index) != math.prod(shapes[0]):
        raise ModelError(f"{len(index)} indices for an expression of shape {shapes[0]}.")
    if index and not 0 <= min(index) <= max(index) < math.prod(shape):
        raise ModelError(f"an index is outside of an expression of shape {shape}.")
    checked: Shape = shape
    return checked


def _reshaped(shapes: list[Shape], data: Any) -> Shape:
    if math.prod(shapes[0]) != math.prod(data):
        raise ModelError(f"an expression of shape {shapes[0]} cannot have the shape {data}.")
    shape: Shape = data
    return shape


def _spread(shapes: list[Shape], data: Any) -> Shape:
    if _same([shapes[0], data], None) != data:
        raise ModelError(f"an expression of shape {shapes[0]} does not fill the shape {data}.")
    shape: Shape = data
    return shape


def _joined(shapes: list[Shape], data: Any) -> Shape:
    return (sum(map(math.prod, shapes)),)


_UNARY = (
    "neg", "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "arctan", "abs", "sign",
    "expit", "softplus",
)  # fmt: skip
_BINARY = (
    "add",
    "sub",
    "mul",
    "guarded",
    "div",
    "pow",
    "power_log",
    "maximum",
    "minimum",
    "greater",
)

ELEMENTWISE = frozenset((*_UNARY, *_BINARY, "where"))
"""Operations that compute entry by entry, with the broadcasting of NumPy."""

OPERATIONS = {
    "symbol": Operation(0, _told),
    "constant": Operation(0, _told),
    **{op: Operation(1, _same) for op in _UNARY},
    **{op: Operation(2, _same) for op in _BINARY},
    "where": Operation(3, _same),
    "matmul": Operation(2, _product),
    "outer": Operation(2, _outer),
    "transpose": Operation(1, _transposed),
    "sum": Operation(1, _summed),
    "take": Operation(1, _taken),
    "scatter": Operation(1, _scattered),
    "reshape": Operation(1, _reshaped),
    "broadcast": Operation(1, _spread),
    "join": Operation(None, _joined),
}
"""Everything that an expression may consist of."""

_nodes: weakref.WeakValueDictionary[Any, Node] = weakref.WeakValueDictionary()
_lock = threading.RLock()
