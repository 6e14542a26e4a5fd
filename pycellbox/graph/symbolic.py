"""Equations written with SymPy, which need not be installed: their trees are walked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import ModelError
from pycellbox.graph import building as b
from pycellbox.graph.expressions import UFUNCS
from pycellbox.graph.nodes import Node, constant
from pycellbox.graph.parsing import Reader


def is_symbolic(given: object) -> bool:
    """Whether something is an expression of SymPy."""
    return any(str(kind.__module__).partition(".")[0] == "sympy" for kind in type(given).__mro__)


def name_of(given: Any) -> Any:
    """Return the name of a symbol, or of a function of t; whatever else is given as it is."""
    if not is_symbolic(given):
        return given
    if getattr(given, "is_Symbol", False):
        return str(given.name)
    return str(given.func) if _is_state(given) else given


def text_of(given: Any) -> str | None:
    """Return an expression as it was written; None where it was not written."""
    return str(given) if isinstance(given, str) or is_symbolic(given) else None


def from_symbols(given: Any, names: Mapping[str, Node], where: str) -> Node:
    """Return the expression that a tree of SymPy's is.

    Parameters
    ----------
    given : sympy expression
        In symbols, and functions of t, that have these names.
    names : mapping of str to Node
    where : str
        What it is, for messages: "the equation of S".

    Raises
    ------
    ModelError
        It has something else; the message says what, and what is near.
    """
    reader = _Walker(names, f"{where}, {shown(str(given))},")
    try:
        return reader.read(given)
    except RecursionError:
        raise ModelError(f"{where} is nested too deep.") from None


def _is_state(given: Any) -> bool:
    """Whether it is a function of t alone, x(t), that is none of SymPy's own."""
    args = getattr(given, "args", ())
    return any(kind.__name__ == "AppliedUndef" for kind in type(given).__mro__) and [
        str(arg) for arg in args
    ] in (["t"], ["time"])


class _Walker(Reader):
    def __init__(self, names: Mapping[str, Node], where: str) -> None:
        super().__init__(names, where)
        self._known: dict[Any, Node] = {}

    def read(self, tree: Any) -> Node:
        if tree not in self._known:
            try:
                self._known[tree] = self._read(tree)
            except ModelError as error:
                if str(error).startswith(self._where):
                    raise
                raise self.wrong(f"does not work out: {str(error).rstrip('.')}") from None
        return self._known[tree]

    def _read(self, tree: Any) -> Node:
        name = type(tree).__name__
        if tree.is_Symbol or _is_state(tree):
            return self.named(str(name_of(tree)))
        if not tree.args:
            return self._value(tree)
        if name == "Mul":
            return self._product(tree)
        if name == "Piecewise":
            return self._pieces(tree)
        if _divides(tree):
            return b.div(constant(1.0), self.read(1 / tree))
        if name == "Pow" and 2 * tree.exp == 1:
            return UFUNCS["sqrt"](self.read(tree.base))
        if name == "Pow":
            return b.power(self.read(tree.base), self.read(tree.exp))
        function = _FUNCTIONS.get(name)
        most = len(tree.args) if name in _OF_SEVERAL else 2 if name in _COMPARED else 1
        if function is None or len(tree.args) > most:
            hint = did_you_mean(name, _FUNCTIONS)
            raise self.wrong(
                f"has {name}, as in {shown(str(tree))}, which is unknown{hint}; known: "
                f"{', '.join(sorted((*_FUNCTIONS, 'Piecewise')))}"
            )
        args = [self.read(arg) for arg in tree.args]
        return reduce(function, args) if name in _OF_SEVERAL else function(*args)

    def _value(self, tree: Any) -> Node:
        try:
            value = float(tree)
        except (TypeError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            raise self.wrong(f"has {shown(str(tree))}, which is no finite number")
        return constant(value)

    def _product(self, tree: Any) -> Node:
        factors = [self.read(arg) for arg in tree.args if arg != -1 and not _divides(arg)]
        product = reduce(b.mul, factors) if factors else constant(1.0)
        for arg in tree.args:
            if _divides(arg):
                product = b.div(product, self.read(1 / arg))
        return b.neg(product) if any(arg == -1 for arg in tree.args) else product

    def _pieces(self, tree: Any) -> Node:
        *others, (last, sure) = tree.args
        if sure != True:  # noqa: E712  # which is SymPy's own
            raise self.wrong("has a Piecewise whose last piece is not for all else: (value, True)")
        found = self.read(last)
        for value, condition in reversed(others):
            found = b.where(self.read(condition), self.read(value), found)
        return found


def _divides(tree: Any) -> bool:
    """Whether it is a power that divides, such as 1/x."""
    return bool(tree.is_Pow and tree.exp.is_Rational and tree.exp < 0)


_OF_SEVERAL = frozenset(["Add", "Max", "Min"])
_COMPARED: dict[str, Callable[..., Node]] = {
    "StrictGreaterThan": UFUNCS["greater"], "StrictLessThan": UFUNCS["less"],
    "GreaterThan": UFUNCS["greater_equal"], "LessThan": UFUNCS["less_equal"],
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Node]] = {
    "Add": b.add, "Max": UFUNCS["maximum"], "Min": UFUNCS["minimum"],
    "exp": UFUNCS["exp"], "log": UFUNCS["log"], "tanh": UFUNCS["tanh"], "sinh": UFUNCS["sinh"],
    "cosh": UFUNCS["cosh"], "sin": UFUNCS["sin"], "cos": UFUNCS["cos"], "tan": UFUNCS["tan"],
    "atan": UFUNCS["arctan"], "Abs": UFUNCS["absolute"], "sign": UFUNCS["sign"],
    **_COMPARED,
}  # fmt: skip
"""By the names of SymPy's classes."""
