"""Expressions built from nodes, with what is plainly zero, one or constant taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pycellbox.errors import ModelError
from pycellbox.graph.nodes import Array, Node, Shape, constant, make

_FOLDED = {
    "neg": np.negative, "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "add": np.add,
    "sub": np.subtract, "mul": np.multiply, "div": np.divide, "pow": np.power,
}  # fmt: skip


def build(op: str, *args: Node) -> Node:
    """Return an elementwise operation; of constants, where that is finite, a constant."""
    if op in _FOLDED and all(arg.op == "constant" for arg in args):
        with np.errstate(all="ignore"):
            value = _FOLDED[op](*(arg.value for arg in args))
        if np.isfinite(value).all():
            return constant(value)
    return make(op, args)


def is_all(node: Node, number: float) -> bool:
    """Whether a node is a constant with this number everywhere."""
    return node.op == "constant" and bool((node.value == number).all())


def zeros(shape: Shape) -> Node:
    """Return zeros of a shape."""
    return constant(np.zeros(shape))


def add(a: Node, b: Node) -> Node:
    """Return a + b."""
    if is_all(b, 0) and _fills(a, b):
        return a
    if is_all(a, 0) and _fills(b, a):
        return b
    return build("add", a, b)


def sub(a: Node, b: Node) -> Node:
    """Return a − b."""
    if is_all(b, 0) and _fills(a, b):
        return a
    if is_all(a, 0) and _fills(b, a):
        return neg(b)
    return build("sub", a, b)


def neg(a: Node) -> Node:
    """Return −a."""
    return a.args[0] if a.op == "neg" else build("neg", a)


def mul(a: Node, b: Node) -> Node:
    """Return a·b, entry by entry."""
    for one, other in ((a, b), (b, a)):
        if is_all(one, 0):
            return zeros(_shape(a, b))
        if is_all(one, 1) and _fills(other, one):
            return other
    return build("mul", a, b)


def div(a: Node, b: Node) -> Node:
    """Return a/b, entry by entry."""
    if is_all(b, 1) and _fills(a, b):
        return a
    if is_all(a, 0) and not (b.op == "constant" and not b.value.all()):
        return zeros(_shape(a, b))
    return build("div", a, b)


def power(a: Node, b: Node) -> Node:
    """Return a**b, entry by entry."""
    if is_all(b, 1) and _fills(a, b):
        return a
    if is_all(b, 2) and _fills(a, b):
        return mul(a, a)
    return build("pow", a, b)


def where(condition: Node, a: Node, b: Node) -> Node:
    """Return a where the condition is not 0, and b elsewhere."""
    return a if a is b and _fills(a, condition) else make("where", (condition, a, b))


def matmul(a: Node, b: Node) -> Node:
    """Return a @ b of vectors and matrices."""
    if not a.shape or not b.shape:
        raise ModelError(
            "a @ b takes vectors and matrices, and one of them is a scalar: use a * b."
        )
    if len(a.shape) == 1 and len(b.shape) == 1:
        if a.shape != b.shape:
            raise ModelError(f"shapes {a.shape} and {b.shape} have no product: a @ b.")
        return total(mul(a, b))
    if len(a.shape) == 1:
        return matmul(transpose(b), a)
    product = make("matmul", (a, b))  # the shapes are looked at first
    return zeros(product.shape) if is_all(a, 0) or is_all(b, 0) else product


def outer(a: Node, b: Node) -> Node:
    """Return the matrix a_i·b_j of two vectors."""
    product = make("outer", (a, b))
    return zeros(product.shape) if is_all(a, 0) or is_all(b, 0) else product


def transpose(a: Node) -> Node:
    """Return a matrix with its axes exchanged; a vector as it is."""
    if len(a.shape) < 2:
        return a
    if a.op == "constant":
        return constant(a.value.T)
    return a.args[0] if a.op == "transpose" else make("transpose", (a,))


def total(a: Node, axes: Sequence[int] | None = None) -> Node:
    """Return the sum over axes, all of them by default."""
    axes = tuple(range(len(a.shape))) if axes is None else tuple(sorted(axes))
    if not axes:
        return a
    if a.op == "constant":
        return constant(a.value.sum(axis=axes))
    return make("sum", (a,), axes)


def take(a: Node, index: Array) -> Node:
    """Return entries by their numbers in C order, in the shape of the index."""
    index = np.asarray(index, dtype=np.int64)
    if index.shape == a.shape and (index.ravel() == np.arange(a.size)).all():
        return a
    if a.op == "constant":
        return constant(a.value.ravel()[index])
    if a.op == "take":
        return take(a.args[0], np.asarray(a.data[0], dtype=np.int64)[index])
    if a.op == "join" and index.ndim == 0:  # an entry of a vector made of entries
        at = int(index)
        for piece in a.args:
            if at < piece.size:
                return take(piece, np.asarray(at))
            at -= piece.size
    return make("take", (a,), (tuple(index.ravel().tolist()), index.shape))


def scatter(a: Node, index: Sequence[int], shape: Shape) -> Node:
    """Return zeros with entries added at their numbers in C order; the reverse of `take`."""
    if is_all(a, 0):
        return zeros(shape)
    if list(index) == list(range(math.prod(shape))):
        return reshape(a, shape)
    if a.op == "constant":
        values = np.zeros(math.prod(shape))
        np.add.at(values, list(index), a.value.ravel())
        return constant(values.reshape(shape))
    return make("scatter", (a,), (tuple(index), shape))


def reshape(a: Node, shape: Shape) -> Node:
    """Return the same entries in another shape."""
    if a.shape == shape:
        return a
    if a.op == "constant" and math.prod(shape) == a.size:
        return constant(a.value.reshape(shape))
    return reshape(a.args[0], shape) if a.op == "reshape" else make("reshape", (a,), shape)


def broadcast(a: Node, shape: Shape) -> Node:
    """Return an expression repeated to fill a shape."""
    if a.shape == shape:
        return a
    filled = make("broadcast", (a,), shape)
    return constant(np.broadcast_to(a.value, shape)) if a.op == "constant" else filled


def join(parts: Sequence[Node]) -> Node:
    """Return a vector of all entries of all parts, one after the other."""
    if len(parts) == 1:
        return reshape(parts[0], (parts[0].size,))
    if all(part.op == "constant" for part in parts):
        return constant(np.concatenate([part.value.ravel() for part in parts]))
    return make("join", parts)


def _shape(a: Node, b: Node) -> Shape:
    return make("add", (a, b)).shape


def _fills(a: Node, b: Node) -> bool:
    """Whether an operation on both has the shape of the first."""
    return _shape(a, b) == a.shape
