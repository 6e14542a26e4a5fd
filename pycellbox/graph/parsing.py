"""Equations written as text: parsed as an expression of Python, and never evaluated."""

from __future__ import annotations

import ast
import math
import unicodedata
import warnings
from collections.abc import Mapping

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import ModelError
from pycellbox.graph import building as b
from pycellbox.graph.expressions import UFUNCS, Expression
from pycellbox.graph.nodes import Node, constant

MOST_CHARACTERS = 100_000

_OPERATORS = {
    ast.Add: b.add, ast.Sub: b.sub, ast.Mult: b.mul, ast.Div: b.div, ast.Pow: b.power,
    ast.MatMult: b.matmul,
}  # fmt: skip
_COMPARED = {
    ast.Gt: UFUNCS["greater"], ast.Lt: UFUNCS["less"], ast.GtE: UFUNCS["greater_equal"],
    ast.LtE: UFUNCS["less_equal"],
}  # fmt: skip
_OF_ONE = ("exp", "exp2", "expm1", "log", "log1p", "log2", "log10", "sqrt", "square", "tanh",
           "sinh", "cosh", "sin", "cos", "tan", "arctan", "sign", "expit")  # fmt: skip
FUNCTIONS = {
    **{name: (1, UFUNCS[name]) for name in _OF_ONE},
    "abs": (1, UFUNCS["absolute"]), "softplus": (1, lambda x: b.build("softplus", x)),
    "max": (2, UFUNCS["maximum"]), "maximum": (2, UFUNCS["maximum"]),
    "min": (2, UFUNCS["minimum"]), "minimum": (2, UFUNCS["minimum"]),
    "pow": (2, b.power), "where": (3, b.where), "sum": (1, b.total),
}  # fmt: skip
"""What may be called in an equation, by its name: the number of arguments, and the function."""


def parse(text: str, names: Mapping[str, Node], where: str) -> Node:
    """Return the expression that a text is.

    Parameters
    ----------
    text : str
        An expression of Python, in numbers, names, ``+ - * / ** @``, comparisons, indices, and
        calls of `FUNCTIONS`.
    names : mapping of str to Node
        What there is to be named.
    where : str
        What the text is, for messages: "the equation of S".

    Raises
    ------
    ModelError
        It is something else; the message says what, and what is near.
    """
    if not isinstance(text, str):
        raise ModelError(f"{where} is {shown(text)}; it needs a text such as 'k*S - d*I'.")
    if len(text) > MOST_CHARACTERS:
        raise ModelError(f"{where} has {len(text):,} characters; it may have {MOST_CHARACTERS:,}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts such as "1if x"
            tree = ast.parse(text.strip(), mode="eval")
        known = {unicodedata.normalize("NFKC", name): node for name, node in names.items()}
        return Reader(known, f"{where}, {shown(text)},").read(tree.body)
    except SyntaxError as error:
        raise ModelError(
            f"{where}, {shown(text)}, is no expression ({error.msg}): it needs one such as "
            "'k*S - d*I', in names that are not words of Python, such as lambda."
        ) from None
    except (RecursionError, MemoryError):
        raise ModelError(f"{where} is nested too deep.") from None
    except ValueError as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"{where}, {shown(text)}, cannot be read: {error}.") from None


class Reader:
    """Turns the tree of an expression into nodes."""

    def __init__(self, names: Mapping[str, Node], where: str) -> None:
        self._names, self._where = names, where

    def read(self, tree: ast.expr) -> Node:
        """Return the node of a tree."""
        if isinstance(tree, ast.Constant):
            return self._number(tree.value)
        if isinstance(tree, ast.Name):
            return self.named(tree.id)
        if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
            return self._made(_OPERATORS[type(tree.op)], tree.left, tree.right)
        if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitXor):
            raise self.wrong("has ^, which is written ** here")
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub):
            return self._made(b.neg, tree.operand)
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.UAdd):
            return self.read(tree.operand)
        if isinstance(tree, ast.Compare) and len(tree.ops) == 1:
            compared = _COMPARED.get(type(tree.ops[0]))
            if compared is not None:
                return self._made(compared, tree.left, tree.comparators[0])
        if isinstance(tree, ast.Call):
            return self._called(tree)
        if isinstance(tree, ast.Subscript):
            return self._indexed(tree)
        raise self.wrong(
            f"has {shown(ast.unparse(tree))}, which is no part of an equation: it may have "
            "numbers, names, + - * / ** @, comparisons, indices and functions"
        )

    def _made(self, function: object, *args: ast.expr) -> Node:
        nodes = [self.read(arg) for arg in args]
        try:
            made: Node = function(*nodes)  # type: ignore[operator]
        except ModelError as error:
            raise self.wrong(f"does not work out: {str(error).rstrip('.')}") from None
        return made

    def _number(self, value: object) -> Node:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(f"has {shown(value)}, which is no number")
        if (isinstance(value, int) and abs(value) > 10**300) or not math.isfinite(value):
            raise self.wrong("has a number that is too large")
        return constant(float(value))

    def named(self, name: str) -> Node:
        """Return what has a name."""
        if name in self._names:
            return self._names[name]
        if name == "pi":
            return constant(math.pi)
        if name == "t" or name == "time":
            raise self.wrong(
                f"names {name}, and time does not enter equations: write it as a state with the "
                "equation '1' that starts at 0"
            )
        hint = did_you_mean(name, self._names)
        listed = ", ".join(list(self._names)[:20])
        raise self.wrong(f"names {name!r}, which is unknown{hint}; known: {listed}")

    def _called(self, tree: ast.Call) -> Node:
        name = tree.func.id if isinstance(tree.func, ast.Name) else ast.unparse(tree.func)
        if name not in FUNCTIONS:
            hint = did_you_mean(name, FUNCTIONS)
            if name in self._names:
                hint = " (a product is written with *)"
            listed = ", ".join(sorted(FUNCTIONS))
            raise self.wrong(f"calls {shown(name)}, which is unknown{hint}; known: {listed}")
        count, function = FUNCTIONS[name]
        if len(tree.args) != count or tree.keywords:
            raise self.wrong(f"calls {name}, which takes {count} argument(s) and nothing else")
        return self._made(function, *tree.args)

    def _indexed(self, tree: ast.Subscript) -> Node:
        index = tree.slice.elts if isinstance(tree.slice, ast.Tuple) else [tree.slice]
        numbers = []
        for one in index:
            try:
                number = ast.literal_eval(one)
            except (ValueError, TypeError):
                number = None
            if isinstance(number, bool) or not isinstance(number, int):
                raise self.wrong(f"has the index {shown(ast.unparse(one))}; indices are numbers")
            numbers.append(number)
        try:
            return Expression(self.read(tree.value))[tuple(numbers)]._node
        except ModelError as error:
            if str(error).startswith(self._where):
                raise
            raise self.wrong(f"does not work out: {str(error).rstrip('.')}") from None

    def wrong(self, what: str) -> ModelError:
        """Make an error that says where it is."""
        return ModelError(f"{self._where} {what}.")
