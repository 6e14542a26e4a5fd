"""Expressions evaluated in the functions of any array library, for those that compile them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pycellbox.graph.nodes import ELEMENTWISE, Node
from pycellbox.numerics.programs import Program


def replay(program: Program, space: Any, values: Mapping[str, Any], like: Any) -> list[Any]:
    """Return the outputs of a program, without buffers.

    Parameters
    ----------
    program : Program
    space : module
        ``numpy``, or another library with its functions, such as ``jax.numpy``.
    values : mapping of str to array
        Of all symbols: (c, *shape) of those by condition, (*shape) of the others.
    like : array, (c, ...)
        An array of the conditions, whose dtype all others have.

    Returns
    -------
    list of array
        (c, *shape) each, or its shape where the sum over conditions was asked for.
    """
    c, dtype = like.shape[0], like.dtype
    known: dict[Node, Any] = {}
    with np.errstate(all="ignore"):  # what comes of it is looked at
        for node in program.order:
            if node.op == "symbol":
                known[node] = space.asarray(values[node.data[0]], dtype)
            elif node.op == "constant":
                known[node] = node.value.astype(dtype)
            else:
                known[node] = _Operation(program, space, node, c, dtype).on(known)

        def each(node: Node) -> Any:
            value = known[node]
            if node in program.batched:
                return value
            return space.broadcast_to(value, (c, *node.shape))

        outputs = []
        for node, terms in zip(program.outputs, program.terms, strict=True):
            if terms is None:
                outputs.append(each(node))
                continue
            total = space.zeros(node.shape, dtype)
            for sign, term in terms:
                if term.op == "outer":
                    a, b = (each(arg) for arg in term.args)
                    part = a.T @ b
                elif term in program.batched:
                    part = known[term].sum(axis=0)
                else:
                    part = known[term] * c
                total = total + part if sign > 0 else total - part
            outputs.append(total)
    return outputs


class _Operation:
    """One operation on the values of its arguments, those by condition with that axis first."""

    def __init__(self, program: Program, space: Any, node: Node, c: int, dtype: Any) -> None:
        self._batched, self._space, self._node = program.batched, space, node
        self._c, self._dtype = c, dtype

    def on(self, known: Mapping[Node, Any]) -> Any:
        """Return its value."""
        node, space = self._node, self._space
        values = [known[arg] for arg in node.args]
        if node.op in ELEMENTWISE:
            lifted = [self._lifted(arg, v) for arg, v in zip(node.args, values, strict=True)]
            found = _FUNCTIONS[node.op](space, *lifted)
            return found.astype(self._dtype) if node.op == "greater" else found
        if node.op == "matmul":
            a, b = values
            return (a @ b[..., None])[..., 0] if len(node.args[1].shape) == 1 else a @ b
        if node.op == "outer":
            return values[0][..., :, None] * values[1][..., None, :]
        if node.op == "transpose":
            return space.swapaxes(values[0], -1, -2)
        if node.op == "join":
            return space.concatenate(
                [
                    self._whole(arg, value, (arg.size,))
                    for arg, value in zip(node.args, values, strict=True)
                ],
                axis=-1,
            )
        (arg,), (value,) = node.args, values
        if node.op == "sum":
            return value.sum(axis=tuple(axis - len(arg.shape) for axis in node.data))
        if node.op == "broadcast":
            return space.broadcast_to(self._lifted(arg, value), self._shaped(node, node.shape))
        flat = value.reshape(self._shaped(arg, (arg.size,)))
        if node.op == "take":
            return _taken(space, flat, node.data[0]).reshape(self._shaped(arg, node.shape))
        if node.op == "scatter":
            found = _scattered(space, flat, node.data[0], node.size)
            return found.reshape(self._shaped(arg, node.shape))
        return value.reshape(self._shaped(arg, node.shape))  # of a reshape

    def _shaped(self, of: Node, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self._c, *shape) if of in self._batched else shape

    def _lifted(self, arg: Node, value: Any) -> Any:
        """Return values by condition with axes of one entry where the result has more."""
        missing = len(self._node.shape) - len(arg.shape)
        if arg not in self._batched or not missing:
            return value
        return value.reshape((self._c, *(1,) * missing, *arg.shape))

    def _whole(self, arg: Node, value: Any, shape: tuple[int, ...]) -> Any:
        """Return values in a shape, for every condition if any part of the result has those."""
        value = value.reshape(self._shaped(arg, shape))
        return self._space.broadcast_to(value, self._shaped(self._node, shape))


def _taken(space: Any, flat: Any, index: tuple[int, ...]) -> Any:
    first, count = (index[0] if index else 0), len(index)
    if index == tuple(range(first, first + count)):  # a slice is cheaper
        return flat[..., first : first + count]
    return space.take(flat, np.array(index, np.int32), axis=-1)


def _scattered(space: Any, flat: Any, index: tuple[int, ...], size: int) -> Any:
    """Return zeros with entries added at their places: each takes its first, then its second."""
    padded = space.concatenate([flat, space.zeros((*flat.shape[:-1], 1), flat.dtype)], axis=-1)
    rounds: list[Any] = []
    used = dict[int, int]()
    for entry, place in enumerate(index):
        turn = used[place] = used.get(place, -1) + 1
        if turn == len(rounds):
            rounds.append(np.full(size, len(index), np.int32))
        rounds[turn][place] = entry
    total = space.zeros((*flat.shape[:-1], size), flat.dtype)
    for entries in rounds:
        total = total + space.take(padded, entries, axis=-1)
    return total


def _power_log(space: Any, x: Any, k: Any) -> Any:
    """x^k·log(x), which goes to 0 with x where k is positive."""
    return space.where((x == 0) & (k > 0), 0, space.log(x) * space.power(x, k))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: (lambda space, x, name=name: getattr(space, name)(x)) for name in
       ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "arctan", "abs", "sign")},
    **{name: (lambda space, x, y, name=name: getattr(space, name)(x, y)) for name in
       ("maximum", "minimum", "greater")},
    "neg": lambda space, x: -x,
    "expit": lambda space, x: 0.5 + 0.5 * space.tanh(0.5 * x),
    "softplus": lambda space, x: space.logaddexp(space.zeros_like(x), x),
    "add": lambda space, x, y: x + y, "sub": lambda space, x, y: x - y,
    "mul": lambda space, x, y: x * y, "div": lambda space, x, y: space.divide(x, y),
    "guarded": lambda space, x, y: space.where((x == 0) | (y == 0), 0, x * y),
    "pow": lambda space, x, k: space.power(x, k), "power_log": _power_log,
    "where": lambda space, condition, x, y: space.where(condition != 0, x, y),
}  # fmt: skip
