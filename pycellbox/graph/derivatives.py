"""Derivatives made on the graph: products with an adjoint, backward, and with tangents, forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from pycellbox.graph.building import (
    add,
    broadcast,
    build,
    div,
    is_all,
    join,
    matmul,
    mul,
    neg,
    outer,
    power,
    reshape,
    scatter,
    sub,
    take,
    total,
    transpose,
    where,
    zeros,
)
from pycellbox.graph.nodes import Node, Shape, constant, in_order, make

Product: TypeAlias = Callable[[Node, Node], Node]


def reverse(
    outputs: Sequence[Node], adjoints: Sequence[Node], wanted: Sequence[Node]
) -> list[Node]:
    """Return Σ adjoint·∂output/∂w for each w that is wanted, in its shape.

    Parameters
    ----------
    outputs, adjoints : sequence of Node
        Of the same shapes.
    wanted : sequence of Node
        Symbols, as a rule.
    """
    order = in_order(outputs)
    times = _product_for(order)
    needed = set(wanted)
    for node in order:
        if any(arg in needed for arg in node.args):
            needed.add(node)
    sums: dict[Node, Node] = {}
    taken: dict[Node, list[tuple[Node, Node]]] = {}

    def whole(node: Node) -> Node | None:
        """Sum of all that has come for a node; its entries that were taken are put together."""
        if node in taken:
            entries = _gathered(node, taken.pop(node))
            sums[node] = add(sums[node], entries) if node in sums else entries
        return sums.get(node)

    for output, adjoint in zip(outputs, adjoints, strict=True):
        sums[output] = add(sums[output], adjoint) if output in sums else adjoint
    for node in reversed(order):
        due = whole(node) if node in needed else None
        if due is None or not node.args or is_all(due, 0):
            continue
        if node.op == "take":
            taken.setdefault(node.args[0], []).append((node, due))
            continue
        for arg, part in zip(node.args, _shares(node, due, needed, times), strict=True):
            if arg in needed and part is not None:
                sums[arg] = add(sums[arg], part) if arg in sums else part
    return [sums.get(w) or zeros(w.shape) for w in wanted]


def _gathered(node: Node, taken: list[tuple[Node, Node]]) -> Node:
    """Return adjoints of entries of a node in its shape: in one go where each was taken once."""
    taken = sorted(taken, key=lambda pair: pair[0].data[0])
    index = [i for part, _ in taken for i in part.data[0]]
    if len(set(index)) == len(index):
        return scatter(join([adjoint for _, adjoint in taken]), index, node.shape)
    found = zeros(node.shape)
    for part, adjoint in taken:
        found = add(found, scatter(adjoint, part.data[0], node.shape))
    return found


def forward(outputs: Sequence[Node], tangents: Mapping[Node, Node]) -> list[Node]:
    """Return Σ ∂output/∂w·tangent for each output, in its shape."""
    known, order = dict(tangents), in_order(outputs)
    times = _product_for(order)
    for node in order:
        moving = [arg in known and not is_all(known[arg], 0) for arg in node.args]
        if node in known or not any(moving):
            continue
        if node.op in _ENTRIES:
            slopes = _ENTRIES[node.op](node)
            parts = [
                times(slope, known[arg])
                for arg, slope, moves in zip(node.args, slopes, moving, strict=True)
                if moves and slope is not None
            ]
            if not parts:
                continue
            tangent = parts[0]
            for part in parts[1:]:
                tangent = add(tangent, part)
            known[node] = broadcast(tangent, node.shape)
        elif node.op in ("matmul", "outer"):
            product = matmul if node.op == "matmul" else outer
            (a, b), tangent = node.args, zeros(node.shape)
            if moving[0]:
                tangent = add(tangent, product(known[a], b))
            if moving[1]:
                tangent = add(tangent, product(a, known[b]))
            known[node] = tangent
        elif node.op == "join":
            known[node] = join([known.get(arg) or zeros(arg.shape) for arg in node.args])
        else:  # the others are linear in their only argument
            known[node] = _LINEAR[node.op](node, known[node.args[0]])
    return [known.get(output) or zeros(output.shape) for output in outputs]


def jacobian(output: Node, wanted: Sequence[Node]) -> Node:
    """Return ∂output/∂w of a vector (n,): the entries of all w one after the other, (n, Σ size)."""
    n = output.size
    rows = []
    for i in range(n):
        unit = constant(np.eye(1, n, i)[0].reshape(output.shape))
        rows.append(join(reverse([output], [unit], wanted)))
    return reshape(join(rows), (n, rows[0].size))


def _product_for(order: Sequence[Node]) -> Product:
    """Return the product of the chain rule: one in which nothing times infinity is nothing.

    It is taken where an expression selects: what was not selected may have no finite derivative,
    as 1/x at 0 has none. Elsewhere a plain product is faster.
    """
    selects = any(node.op in ("where", "maximum", "minimum") for node in order)
    return _guarded if selects else mul


def _guarded(a: Node, b: Node) -> Node:
    plain = mul(a, b)
    return make("guarded", (a, b)) if plain.op == "mul" else plain


def _shares(node: Node, adjoint: Node, needed: set[Node], times: Product) -> list[Node | None]:
    """Return what an operation hands on of its adjoint to each of its arguments."""
    op, args = node.op, node.args
    if op in _ENTRIES:
        slopes = _ENTRIES[op](node)
        return [
            None
            if slope is None or arg not in needed
            else _fitted(times(adjoint, slope), arg.shape, node.shape)
            for arg, slope in zip(args, slopes, strict=True)
        ]
    if op == "matmul":
        a, b = args
        if len(b.shape) == 1:
            return [outer(adjoint, b), matmul(transpose(a), adjoint)]
        return [matmul(adjoint, transpose(b)), matmul(transpose(a), adjoint)]
    if op == "outer":
        a, b = args
        return [matmul(adjoint, b), matmul(transpose(adjoint), a)]
    if op == "join":
        ends = np.cumsum([arg.size for arg in args])
        return [
            reshape(take(adjoint, np.arange(end - arg.size, end)), arg.shape)
            for arg, end in zip(args, ends, strict=True)
        ]
    (arg,) = args
    if op == "sum":
        kept = tuple(1 if axis in node.data else size for axis, size in enumerate(arg.shape))
        return [broadcast(reshape(adjoint, kept), arg.shape)]
    if op == "scatter":
        return [take(adjoint, np.reshape(node.data[0], arg.shape))]
    if op == "broadcast":
        return [_fitted(adjoint, arg.shape, node.shape)]
    return [transpose(adjoint) if op == "transpose" else reshape(adjoint, arg.shape)]


def _fitted(adjoint: Node, shape: Shape, whole: Shape) -> Node:
    """Sum an adjoint of a result over the axes along which an argument was repeated."""
    adjoint = broadcast(adjoint, whole)
    ahead = len(whole) - len(shape)
    repeated = [a for a, size in enumerate(whole) if a < ahead or shape[a - ahead] != size]
    return reshape(total(adjoint, repeated), shape) if repeated else adjoint


def _powers(node: Node) -> list[Node | None]:
    x, k = node.args
    of_x = mul(k, power(x, sub(k, _ONE)))
    return [of_x, None if k.op == "constant" else make("power_log", (x, k))]


def _power_logs(node: Node) -> list[Node | None]:
    x, k = node.args
    lower = power(x, sub(k, _ONE))
    of_x = add(lower, mul(k, make("power_log", (x, sub(k, _ONE)))))
    return [of_x, mul(node, make("log", (x,)))]


def _larger(node: Node) -> list[Node | None]:
    a, b = node.args
    first = make("greater", (a, b) if node.op == "maximum" else (b, a))
    return [first, sub(_ONE, first)]


_ONE, _HALF, _NOTHING = constant(1.0), constant(0.5), constant(0.0)

_ENTRIES: dict[str, Callable[[Node], list[Node | None]]] = {
    "neg": lambda y: [constant(-1.0)],
    "exp": lambda y: [y],
    "expm1": lambda y: [build("exp", y.args[0])],
    "log": lambda y: [div(_ONE, y.args[0])],
    "log1p": lambda y: [div(_ONE, add(_ONE, y.args[0]))],
    "sqrt": lambda y: [div(_HALF, y)],
    "tanh": lambda y: [sub(_ONE, mul(y, y))],
    "sin": lambda y: [build("cos", y.args[0])],
    "cos": lambda y: [neg(build("sin", y.args[0]))],
    "arctan": lambda y: [div(_ONE, add(_ONE, mul(y.args[0], y.args[0])))],
    "abs": lambda y: [build("sign", y.args[0])],
    "sign": lambda y: [None],
    "expit": lambda y: [mul(y, sub(_ONE, y))],
    "softplus": lambda y: [build("expit", y.args[0])],
    "add": lambda y: [_ONE, _ONE],
    "sub": lambda y: [_ONE, constant(-1.0)],
    "mul": lambda y: [y.args[1], y.args[0]],
    "div": lambda y: [div(_ONE, y.args[1]), neg(div(y, y.args[1]))],
    "pow": _powers,
    "power_log": _power_logs,
    "maximum": _larger,
    "minimum": _larger,
    "greater": lambda y: [None, None],
    "guarded": lambda y: [y.args[1], y.args[0]],
    "where": lambda y: [None, where(y.args[0], _ONE, _NOTHING), where(y.args[0], _NOTHING, _ONE)],
}
"""Derivatives of entries of an operation by those of each argument; None where there is none."""

_LINEAR: dict[str, Callable[[Node, Node], Node]] = {
    "transpose": lambda y, tangent: transpose(tangent),
    "sum": lambda y, tangent: total(tangent, y.data),
    "take": lambda y, tangent: take(tangent, np.reshape(y.data[0], y.shape)),
    "scatter": lambda y, tangent: scatter(tangent, *y.data),
    "reshape": lambda y, tangent: reshape(tangent, y.shape),
    "broadcast": lambda y, tangent: broadcast(tangent, y.shape),
}
