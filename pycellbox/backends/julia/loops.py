"""Expressions as Julia loops over arrays, for those of many entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pycellbox.backends.julia.scalars import TEXT, literal
from pycellbox.graph.building import is_all
from pycellbox.graph.nodes import ELEMENTWISE, Node, Shape, in_order
from pycellbox.numerics.programs import terms_of

if TYPE_CHECKING:
    from pycellbox.backends.julia.source import Output

# Never stored for themselves: an entry is read where the one it comes from lies.
_LOOKS = ("broadcast", "transpose", "outer")


class Loops:
    """Statements that compute scalars as variables, and arrays in a room w.

    Parameters
    ----------
    places : mapping of str to (str, int)
        As for `pycellbox.backends.julia.source.source`.
    dtype : str

    Attributes
    ----------
    constants : list of str
        Lines ahead of the function.
    room : int
        Entries of w.
    """

    def __init__(self, places: Mapping[str, tuple[str, int]], dtype: str) -> None:
        self._places, self._dtype = places, dtype
        self._lines: list[str] = []
        self._scalars: dict[Node, str] = {}
        # Array, and the text of what stands before the index of an entry, counted from 1.
        self._arrays: dict[Node, tuple[str, str]] = {}
        self._inlined: set[Node] = set()
        self.constants: list[str] = []
        self.room = 0

    def body(self, outputs: Sequence[Output]) -> list[str]:
        """Return the lines that compute the outputs and write them."""
        terms = []
        for one in outputs:
            found = terms_of(one.node) if one.added else [(1, one.node)]
            kept = [(sign, t) for sign, t in found if t.size and not (one.added and is_all(t, 0))]
            terms.append((one, kept))
        order = in_order([term for _, found in terms for _, term in found])
        users: dict[Node, list[Node | None]] = {}
        for node in order:
            for arg in node.args:
                users.setdefault(arg, []).append(node)
        for _, found in terms:
            for _, term in found:
                users.setdefault(term, []).append(None)
        for node in order:
            if node.op in ELEMENTWISE and node.shape and len(users[node]) == 1:
                (user,) = users[node]
                if user is None or (user.op in ELEMENTWISE and user.shape == node.shape):
                    self._inlined.add(node)
        for node in order:
            if node.shape == ():
                self._scalar(node)
            elif node.op not in _LOOKS and node not in self._inlined:
                self._array(node)
        for one, found in terms:
            for sign, term in found:
                self._write(one, sign, term)
        return self._lines

    def _write(self, one: Output, sign: int, term: Node) -> None:
        index = _index(term.shape)
        target = f"{one.array}[i{one.array} + {one.offset + 1} + {_flat(term.shape, index)}]"
        value = self._entry(term, index)
        if one.added:
            self._loop(term.shape, f"{target} {'+=' if sign > 0 else '-='} {value}")
        else:
            self._loop(term.shape, f"{target} = {value}")

    def _loop(self, shape: Shape, line: str, simd: str = "@simd ivdep ") -> None:
        """Write a statement for each entry of a shape."""
        if not shape:
            self._lines.append(line)
            return
        ahead = [f"for r in 0:{shape[0] - 1}"] if len(shape) == 2 else []
        inner = f"{simd}for e in 0:{shape[-1] - 1}"
        self._lines += [*ahead, inner, f"    {line}", "end", *(["end"] if ahead else [])]

    def _entry(self, node: Node, index: tuple[str, ...]) -> str:
        """Return an entry of a node as text."""
        if node in self._scalars:
            return self._scalars[node]
        if node.op == "constant" and (node.value == node.value.flat[0]).all():
            return literal(node.value.flat[0], self._dtype)
        if node.op in _LOOKS and node not in self._arrays:
            if node.op == "transpose":
                return self._entry(node.args[0], index[::-1])
            if node.op == "outer":
                a, b = (self._entry(arg, (i,)) for arg, i in zip(node.args, index, strict=True))
                return f"({a} * {b})"
            return self._entry(node.args[0], _within(index, node.args[0].shape))
        if node in self._inlined and node not in self._arrays:
            parts = [self._entry(arg, _within(index, arg.shape)) for arg in node.args]
            return f"({TEXT[node.op].format(*parts)})"
        array, before = self._array(node)
        return f"{array}[{before} + {_flat(node.shape, index)}]"

    def _scalar(self, node: Node) -> None:
        """Make a variable of a node of one entry."""
        name, op = f"v{len(self._scalars)}", node.op
        if op == "constant":
            self._scalars[node] = literal(float(node.value), self._dtype)
            return
        if op in ELEMENTWISE:
            text = TEXT[op].format(*(self._scalars[arg] for arg in node.args))
        elif op == "sum":
            shape = node.args[0].shape
            self._lines.append(f"{name} = {literal(0.0, self._dtype)}")
            self._loop(shape, f"{name} += {self._entry(node.args[0], _index(shape))}", "@simd ")
            self._scalars[node] = name
            return
        else:  # a symbol, an entry that is taken, one that is given another shape
            at = node.data[0][0] if op == "take" else 0
            source = node if op == "symbol" else node.args[0]
            text = self._scalars.get(source, "")
            if not text:
                array, before = self._array(source)
                text = f"{array}[{before} + {at}]"
        self._lines.append(f"{name} = {text}")
        self._scalars[node] = name

    def _array(self, node: Node) -> tuple[str, str]:
        """Return where the entries of a node lie, in C order; compute them where they do not."""
        if node not in self._arrays:
            self._arrays[node] = self._alias(node) or self._computed(node)
        return self._arrays[node]

    def _alias(self, node: Node) -> tuple[str, str] | None:
        """Where a node is but a look at another one, or given, its place."""
        op = node.op
        if op == "symbol":
            array, offset = self._places[node.data[0]]
            return array, f"i{array} + {offset + 1}"
        if op == "constant":
            values = ", ".join(literal(v, self._dtype) for v in node.value.flat)
            return self._constant(f"[{values}]"), "1"
        if op == "reshape" and node.args[0].shape:
            return self._array(node.args[0])
        if op == "take" and node.args[0].shape:
            index = node.data[0]
            if index == tuple(range(index[0], index[0] + len(index))):
                array, before = self._array(node.args[0])
                return array, f"{before} + {index[0]}"
        return None

    def _constant(self, text: str) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(f"const {name} = {text}")
        return name

    def _computed(self, node: Node) -> tuple[str, str]:
        """Write the loops that fill the place of a node in the room."""
        op, shape, args = node.op, node.shape, node.args
        before, self.room = f"{self.room + 1}", self.room + node.size
        index = _index(shape)
        target = f"w[{before} + {_flat(shape, index)}]"
        zero = literal(0.0, self._dtype)
        if op == "matmul":
            self._product(node, before)
        elif op == "sum":
            whole = args[0].shape  # a matrix, along one of its axes
            self._loop(shape, f"{target} = {zero}")
            at = _index(whole)[1 - node.data[0]]
            self._loop(whole, f"w[{before} + {at}] += {self._entry(args[0], _index(whole))}", "")
        elif op in ("take", "scatter"):
            numbers = self._constant(f"[{', '.join(map(str, node.data[0]))}]")
            array, start = self._scalar_as_array(args[0])
            size = len(node.data[0])
            if op == "take":
                line = f"w[{before} + e] = {array}[{start} + {numbers}[e + 1]]"
            else:
                self._loop((node.size,), f"w[{before} + e] = {zero}")
                line = f"w[{before} + {numbers}[e + 1]] += {array}[{start} + e]"
            self._loop((size,), line, "")
        elif op == "join":
            at = int(before)
            for arg in args:
                where = f"w[{at} + {_flat(arg.shape, _index(arg.shape))}]"
                self._loop(arg.shape, f"{where} = {self._entry(arg, _index(arg.shape))}")
                at += arg.size
        elif op == "reshape":  # of one entry
            self._lines.append(f"w[{before}] = {self._scalars[args[0]]}")
        else:
            if op in ELEMENTWISE:
                parts = [self._entry(arg, _within(index, arg.shape)) for arg in args]
                value = TEXT[op].format(*parts)
            else:
                value = self._entry(node, index)
            self._loop(shape, f"{target} = {value}")
        return "w", before

    def _scalar_as_array(self, node: Node) -> tuple[str, str]:
        if node.shape:
            return self._array(node)
        before, self.room = f"{self.room + 1}", self.room + 1
        self._lines.append(f"w[{before}] = {self._scalars[node]}")
        return "w", before

    def _product(self, node: Node, before: str) -> None:
        """Write the loops of a matrix product, the innermost along rows in memory."""
        a, b = node.args
        zero, (m, k) = literal(0.0, self._dtype), a.shape
        columns = b.shape[1] if len(b.shape) == 2 else 1
        lines = self._lines
        if columns == 1 and a.op == "transpose":
            self._loop((m,), f"w[{before} + e] = {zero}")
            lines += [f"for r in 0:{k - 1}", f"    t = {self._entry(b, _column(b, 'r'))}"]
            self._loop((m,), f"w[{before} + e] += {self._entry(a, ('e', 'r'))} * t")
            lines.append("end")
        elif columns == 1:
            lines += [f"for r in 0:{m - 1}", f"    t = {zero}"]
            value = f"{self._entry(a, ('r', 'e'))} * {self._entry(b, _column(b, 'e'))}"
            self._loop((k,), f"t += {value}", "@simd ")
            lines += [f"    w[{before} + r] = t", "end"]
        else:
            entry = _flat(node.shape, _index(node.shape))
            self._loop(node.shape, f"w[{before} + {entry}] = {zero}")
            lines += [f"for r in 0:{m - 1}, q in 0:{k - 1}"]
            lines.append(f"    t = {self._entry(a, ('r', 'q'))}")
            at = f"w[{before} + r * {columns} + e]"
            self._loop((columns,), f"{at} += t * {self._entry(b, ('q', 'e'))}")
            lines.append("end")


def _column(node: Node, index: str) -> tuple[str, ...]:
    return (index,) if len(node.shape) == 1 else (index, "0")


def _index(shape: Shape) -> tuple[str, ...]:
    return ("r", "e")[2 - len(shape) :]


def _flat(shape: Shape, index: tuple[str, ...]) -> str:
    """Return the number of an entry in C order."""
    if len(shape) == 2:
        return f"{index[0]} * {shape[1]} + {index[1]}"
    return index[0] if shape else "0"


def _within(index: tuple[str, ...], shape: Shape) -> tuple[str, ...]:
    """Return the index of an entry of an argument that is repeated to fill a shape."""
    own = index[len(index) - len(shape) :]
    return tuple("0" if size == 1 else i for i, size in zip(own, shape, strict=True))
