"""Expressions evaluated by NumPy: all conditions at once, in buffers that are made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from pycellbox.graph.nodes import ELEMENTWISE, Array, Node, Shape, in_order

Step: TypeAlias = tuple[Callable[..., Any], tuple[Array, ...], Array]


class Program:
    """Expressions that are evaluated together, many times.

    Parameters
    ----------
    outputs : sequence of Node
    by_condition : collection of str
        Symbols that have a value for each condition, (c, *shape). The others have one for all.
    summed : bool or sequence of bool
        Whether outputs are summed over the conditions.
    """

    def __init__(
        self,
        outputs: Sequence[Node],
        by_condition: Collection[str],
        summed: bool | Sequence[bool] = False,
    ) -> None:
        self.outputs, self.by_condition = tuple(outputs), frozenset(by_condition)
        if isinstance(summed, bool):
            summed = [summed] * len(self.outputs)
        self.terms = [
            terms_of(node) if s else None for node, s in zip(outputs, summed, strict=True)
        ]
        needed: list[Node] = []
        for node, terms in zip(outputs, self.terms, strict=True):
            for _, term in [(1, node)] if terms is None else terms:
                needed += term.args if terms is not None and term.op == "outer" else [term]
        self.order = in_order(needed)
        self.batched: set[Node] = set()
        for node in self.order:
            named = node.op == "symbol" and node.data[0] in self.by_condition
            if named or any(arg in self.batched for arg in node.args):
                self.batched.add(node)

    def plan(
        self,
        conditions: int,
        dtype: npt.DTypeLike,
        given: Mapping[str, Array],
        moving: Collection[str] = (),
    ) -> Plan:
        """Make the buffers and evaluate what does not move.

        Parameters
        ----------
        conditions : int
        dtype : dtype
        given : mapping of str to ndarray
            Values of the symbols that stay.
        moving : collection of str
            Symbols whose values `Plan.run` is given each time.
        """
        return Plan(self, conditions, np.dtype(dtype), given, frozenset(moving))


class Plan:
    """A program with its buffers: not for two threads at once."""

    def __init__(
        self,
        program: Program,
        conditions: int,
        dtype: np.dtype[Any],
        given: Mapping[str, Array],
        moving: frozenset[str],
    ) -> None:
        self.program, self._c, self._dtype = program, conditions, dtype
        self.values: dict[Node, Array] = {}
        self._places: dict[str, Array] = {}
        self._steps: list[Step] = []
        moves: set[Node] = set()
        for node in program.order:
            if node.op == "symbol":
                name = node.data[0]
                if name in moving:
                    self.values[node] = self._places[name] = self._buffer(node)
                    moves.add(node)
                else:
                    self.values[node] = np.asarray(given[name], dtype, order="C")
            elif node.op == "constant":
                self.values[node] = node.value.astype(dtype)
            else:
                steps = self._prepare(node)
                if any(arg in moves for arg in node.args):
                    moves.add(node)
                    self._steps += steps
                else:
                    with np.errstate(all="ignore"):
                        for function, args, out in steps:
                            function(*args, out=out)

    def run(self, **moving: Array) -> list[Array]:
        """Evaluate, and return the outputs.

        Returns
        -------
        list of ndarray
            (c, *shape) each, or its shape where the sum over conditions was asked for. Those may
            be buffers that the next run overwrites.
        """
        for name, place in self._places.items():
            np.copyto(place, moving[name])
        with np.errstate(all="ignore"):  # what comes of it is looked at
            for function, args, out in self._steps:
                function(*args, out=out)
            outputs = zip(self.program.outputs, self.program.terms, strict=True)
            return [
                self._each(node) if terms is None else self._summed(terms)
                for node, terms in outputs
            ]

    def _summed(self, terms: list[tuple[int, Node]]) -> Array:
        total: Any = 0.0
        for sign, term in terms:
            if term.op == "outer":
                a, b = (self._each(arg) for arg in term.args)
                part = a.T @ b
            elif term in self.program.batched:
                part = np.add.reduce(self.values[term])
            else:
                part = self.values[term] * self._c
            total = total + part if sign > 0 else total - part
        return np.asarray(total, self._dtype)

    def _each(self, node: Node) -> Array:
        """Values of a node for each condition."""
        value = self.values[node]
        batched = node in self.program.batched
        return value if batched else np.broadcast_to(value, (self._c, *node.shape))

    def _buffer(self, node: Node) -> Array:
        ahead = (self._c,) if node.op == "symbol" or node in self.program.batched else ()
        return np.empty((*ahead, *node.shape), self._dtype)

    def _prepare(self, node: Node) -> list[Step]:
        """Give a node its place, and return the steps that fill it: none where it is a view."""
        batched = node in self.program.batched
        view = self._view(node)
        if view is not None:
            self.values[node] = view
            return []
        out = self.values[node] = self._buffer(node)
        args = [self.values[arg] for arg in node.args]
        if node.op in ELEMENTWISE:
            lifted = tuple(self._lifted(arg, len(node.shape)) for arg in node.args)
            return [(_FUNCTIONS[node.op], lifted, out)]
        if node.op == "join":
            flat, steps, at = out.reshape(*out.shape[:-1], -1), list[Step](), 0
            for arg, value in zip(node.args, args, strict=True):
                place = flat[..., at : at + arg.size]
                if arg.shape != (arg.size,):
                    place = place.reshape((*place.shape[:-1], *arg.shape))
                    assert np.shares_memory(place, flat) or not arg.size
                steps.append((np.positive, (value,), place))
                at += arg.size
            return steps
        if node.op == "matmul":
            a, b = node.args
            if len(b.shape) == 1 and a not in self.program.batched and batched:
                return [(np.matmul, (args[1], args[0].T), out)]
            if len(b.shape) == 1 and batched:
                column = args[1][..., None]
                return [(np.matmul, (args[0], column), out[..., None])]
            return [(np.matmul, tuple(args), out)]
        if node.op == "outer":
            return [(np.multiply, (args[0][..., :, None], args[1][..., None, :]), out)]
        if node.op == "sum":
            axes = tuple(axis - len(node.args[0].shape) for axis in node.data)
            return [(lambda a, out: np.sum(a, axis=axes, out=out), (args[0],), out)]
        if node.op == "take":
            flat = self._flat(node.args[0])
            index = np.reshape(node.data[0], node.shape).astype(np.intp)
            return [(lambda a, out: np.take(a, index, axis=-1, out=out, mode="clip"), (flat,), out)]
        if node.op == "scatter":
            numbers = np.array(node.data[0], np.intp)
            place = out.reshape(*out.shape[: int(batched)], -1)
            return [(_scattering(numbers), (self._flat(node.args[0]),), place)]
        if node.op == "broadcast":
            return [(np.positive, (self._lifted(node.args[0], len(node.shape)),), out)]
        # Of a reshape whose argument is scattered in memory.
        return [(np.positive, (args[0],), out.reshape(args[0].shape))]

    def _view(self, node: Node) -> Array | None:
        """Return a node that is but another look at its argument."""
        if node.op == "transpose":
            return self.values[node.args[0]].swapaxes(-1, -2)
        ahead = (self._c,) if node in self.program.batched else ()
        if node.op == "reshape":
            return _reshaped(self.values[node.args[0]], (*ahead, *node.shape))
        if node.op == "take" and node.size:
            index = np.array(node.data[0])
            steps = np.unique(np.diff(index))
            flat = _reshaped(self.values[node.args[0]], (*ahead, node.args[0].size))
            if flat is None or steps.size > 1 or (steps.size and steps[0] <= 0):
                return None
            stride = int(steps[0]) if steps.size else 1
            return _reshaped(flat[..., index[0] : index[-1] + 1 : stride], (*ahead, *node.shape))
        return None

    def _flat(self, node: Node) -> Array:
        """Return the entries of a node along one axis; a view, since buffers are whole."""
        value = self.values[node]
        ahead = (self._c,) if node in self.program.batched else ()
        flat = _reshaped(value, (*ahead, node.size))
        assert flat is not None, "a view was flattened"
        return flat

    def _lifted(self, node: Node, axes: int) -> Array:
        """Return values by condition with axes of one entry where others have more."""
        value, missing = self.values[node], axes - len(node.shape)
        if node not in self.program.batched or not missing:
            return value
        return value.reshape(self._c, *(1,) * missing, *node.shape)


def terms_of(node: Node) -> list[tuple[int, Node]]:
    """Take a sum apart: signs and terms."""
    found, stack = [], [(1, node)]
    while stack:
        sign, node = stack.pop()
        whole = all(arg.shape == node.shape for arg in node.args)
        if node.op == "add" and whole:
            stack += [(sign, node.args[1]), (sign, node.args[0])]
        elif node.op == "sub" and whole:
            stack += [(-sign, node.args[1]), (sign, node.args[0])]
        elif node.op == "neg":
            stack.append((-sign, node.args[0]))
        else:
            found.append((sign, node))
    return found


def _reshaped(array: Array, shape: Shape) -> Array | None:
    """Return a view in another shape; None where there is none."""
    shaped = array.reshape(shape)
    return shaped if math.prod(shape) == 0 or np.may_share_memory(shaped, array) else None


def _expit(x: Array, out: Array) -> None:
    np.multiply(x, 0.5, out=out)
    np.tanh(out, out=out)
    np.multiply(out, 0.5, out=out)
    np.add(out, 0.5, out=out)


def _softplus(x: Array, out: Array) -> None:
    np.logaddexp(0, x, out=out)


def _guarded(a: Array, b: Array, out: Array) -> None:
    np.multiply(a, b, out=out)
    np.copyto(out, 0, where=(a == 0) | (b == 0))


def _power_log(x: Array, k: Array, out: Array) -> None:
    """x^k·log(x), which goes to 0 with x where k is positive."""
    np.log(x, out=out) if x.shape == out.shape else np.copyto(out, np.log(x))
    np.multiply(out, np.power(x, k), out=out)
    np.copyto(out, 0, where=(x == 0) & (k > 0))


def _where(condition: Array, a: Array, b: Array, out: Array) -> None:
    np.copyto(out, b)
    np.copyto(out, a, where=condition != 0)


def _scattering(index: Array) -> Callable[..., Any]:
    once = np.unique(index).size == index.size

    def scatter(values: Array, out: Array) -> None:
        out[...] = 0
        if once:
            out[..., index] = values
        else:
            np.add.at(out, (..., index), values)  # type: ignore[arg-type]

    return scatter


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "neg": np.negative, "exp": np.exp, "expm1": np.expm1, "log": np.log, "log1p": np.log1p,
    "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "arctan": np.arctan,
    "abs": np.abs, "sign": np.sign, "expit": _expit, "softplus": _softplus, "add": np.add,
    "sub": np.subtract, "mul": np.multiply, "guarded": _guarded, "div": np.divide, "pow": np.power,
    "power_log": _power_log, "maximum": np.maximum, "minimum": np.minimum, "greater": np.greater,
    "where": _where,
}  # fmt: skip
