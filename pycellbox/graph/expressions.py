"""What a traced callable is given in place of arrays: it records what is done with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from pycellbox.errors import ModelError
from pycellbox.graph import building as b
from pycellbox.graph.nodes import Node, Shape, constant, make

_BRANCHES = (
    "equations are traced once, on symbols instead of numbers, and what they {do} has no value "
    "then: instead of a branch on values use pcb.where(condition, a, b), pcb.maximum, pcb.minimum."
)


class Expression(np.lib.mixins.NDArrayOperatorsMixin):
    """A number, vector or matrix whose value is not known yet.

    It takes part in ``+ - * / **``, ``@``, comparisons, indexing by numbers and slices, and
    NumPy's functions (``np.tanh``, ``np.sum``, ``np.dot``, ``np.stack`` and the like), each of
    which gives another one. What would need its value is a `ModelError`.

    Attributes
    ----------
    shape : tuple of int
    ndim : int
    size : int
    T : Expression
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def shape(self) -> Shape:
        """Sizes of its axes: none, one or two."""
        return self._node.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._node.shape)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._node.size

    @property
    def T(self) -> Expression:  # noqa: N802  # as NumPy has it
        """The matrix with its axes exchanged."""
        return Expression(b.transpose(self._node))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **given: Any) -> Any:
        function = UFUNCS.get(ufunc.__name__)
        if method == "reduce" and ufunc.__name__ == "add" and len(inputs) == 1:
            return _sum(inputs[0], given.get("axis", 0))
        if method != "__call__" or function is None or any(v is not None for v in given.values()):
            known = ", ".join(sorted(UFUNCS))
            raise ModelError(f"np.{ufunc.__name__} is not known in equations; known: {known}.")
        return Expression(function(*map(as_node, inputs)))

    def __array_function__(self, function: Any, types: Any, args: Any, given: Any) -> Any:
        name = function.__name__
        if name not in FUNCTIONS:
            known = ", ".join(sorted(FUNCTIONS))
            raise ModelError(f"np.{name} is not known in equations; known: {known}.")
        return FUNCTIONS[name](*args, **given)

    def __getitem__(self, index: Any) -> Expression:
        numbers = np.arange(self.size).reshape(self.shape)
        try:
            taken = numbers[index]
        except (IndexError, TypeError, ModelError) as error:
            raise ModelError(
                f"an expression of shape {self.shape} cannot be indexed so: {error}"
            ) from None
        if np.ndim(taken) > 2:
            raise ModelError("expressions have at most two axes.")
        return Expression(b.take(self._node, np.asarray(taken)))

    def __len__(self) -> int:
        if not self.shape:
            raise ModelError("a scalar expression has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Expression]:
        return (self[i] for i in range(len(self)))

    def sum(self, axis: Any = None) -> Expression:
        """Sum over an axis, or all of them."""
        return _sum(self, axis)

    def mean(self, axis: Any = None) -> Expression:
        """Mean over an axis, or all of them."""
        return _mean(self, axis)

    def dot(self, other: Any) -> Expression:
        """Return the product ``self @ other``."""
        return _dot(self, other)

    def reshape(self, *shape: Any) -> Expression:
        """Return the same entries in another shape of up to two axes."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return _reshape(self, wanted)

    def ravel(self) -> Expression:
        """Return all entries as a vector."""
        return Expression(b.reshape(self._node, (self.size,)))

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        raise ModelError("expressions cannot be written into; build a new one with np.stack.")

    def __bool__(self) -> NoReturn:
        raise ModelError(_BRANCHES.format(do="branch on"))

    def __float__(self) -> NoReturn:
        raise ModelError(_BRANCHES.format(do="turn into a number"))

    __int__ = __complex__ = __index__ = __float__

    def __array__(self, *given: Any, **more: Any) -> NoReturn:
        raise ModelError(
            "an expression is no array yet: use np.stack or np.concatenate to put expressions "
            "together, and the functions of NumPy on expressions as they are."
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<expression of shape {self.shape}>"


def as_node(value: Any) -> Node:
    """Return the node of an expression, of a number, or of a list of either.

    Raises
    ------
    ModelError
        It is none of these.
    """
    if isinstance(value, Expression):
        return value._node
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return stack([as_node(one) for one in value])
    try:
        return constant(value)
    except (TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(f"equations cannot compute with a {type(value).__name__}.") from None


def stack(parts: list[Node]) -> Node:
    """Return a vector of scalars, or a matrix with vectors as its rows."""
    if not parts or len(parts[0].shape) > 1 or any(p.shape != parts[0].shape for p in parts):
        shapes = ", ".join(str(p.shape) for p in parts[:8])
        raise ModelError(f"parts of shapes {shapes} do not make a vector or a matrix.")
    return b.reshape(b.join(parts), (len(parts), *parts[0].shape))


def _greater(x: Node, y: Node) -> Node:
    return make("greater", (x, y))


def _not(x: Node) -> Node:
    return b.sub(constant(1.0), x)


def _unary(op: str) -> Callable[[Node], Node]:
    return lambda x: b.build(op, x)


def _scaled(op: str, factor: float) -> Callable[[Node], Node]:
    return lambda x: b.mul(constant(factor), b.build(op, x))


def _hyperbolic(sign: float) -> Callable[[Node], Node]:
    def function(x: Node) -> Node:
        other = b.mul(constant(sign), b.build("exp", b.neg(x)))
        return b.mul(constant(0.5), b.add(b.build("exp", x), other))

    return function


UFUNCS: dict[str, Callable[..., Node]] = {
    **{name: _unary(name) for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin",
                                       "cos", "arctan", "sign", "expit")},
    "add": b.add, "subtract": b.sub, "multiply": b.mul, "divide": b.div, "true_divide": b.div,
    "power": b.power, "float_power": b.power, "negative": b.neg, "positive": lambda x: x,
    "absolute": _unary("abs"), "fabs": _unary("abs"), "square": lambda x: b.mul(x, x),
    "reciprocal": lambda x: b.div(constant(1.0), x),
    "exp2": lambda x: b.build("exp", b.mul(constant(float(np.log(2))), x)),
    "log2": _scaled("log", float(1 / np.log(2))), "log10": _scaled("log", float(1 / np.log(10))),
    "tan": lambda x: b.div(b.build("sin", x), b.build("cos", x)),
    "sinh": _hyperbolic(-1.0), "cosh": _hyperbolic(1.0),
    "maximum": lambda x, y: make("maximum", (x, y)),
    "minimum": lambda x, y: make("minimum", (x, y)),
    "logaddexp": lambda x, y: b.add(x, make("softplus", (b.sub(y, x),))),
    "greater": _greater, "less": lambda x, y: _greater(y, x),
    "less_equal": lambda x, y: _not(_greater(x, y)),
    "greater_equal": lambda x, y: _not(_greater(y, x)), "matmul": b.matmul,
}  # fmt: skip
"""What NumPy's functions of entries are on nodes, by their names."""


def _axes(expression: Any, axis: Any) -> list[int] | None:
    if axis is None:
        return None
    n = len(as_node(expression).shape)
    axes = [int(a) for a in (axis if isinstance(axis, tuple) else (axis,))]
    if any(not -n <= a < n for a in axes):
        raise ModelError(f"an expression with {n} axes has no axis {axis}.")
    return [a % n for a in axes]


def _sum(a: Any, axis: Any = None) -> Expression:
    return Expression(b.total(as_node(a), _axes(a, axis)))


def _mean(a: Any, axis: Any = None) -> Expression:
    node = as_node(a)
    found = b.total(node, _axes(a, axis))
    return Expression(b.div(found, constant(node.size / max(found.size, 1))))


def _dot(a: Any, c: Any) -> Expression:
    first, second = as_node(a), as_node(c)
    plain = not first.shape or not second.shape
    return Expression(b.mul(first, second) if plain else b.matmul(first, second))


def _reshape(a: Any, shape: Any) -> Expression:
    node = as_node(a)
    wanted = tuple(shape) if np.iterable(shape) else (shape,)
    try:
        sizes = np.empty(node.size, np.int8).reshape(wanted).shape
    except (TypeError, ValueError) as error:
        raise ModelError(f"an expression of shape {node.shape}: {error}.") from None
    return Expression(b.reshape(node, sizes))


def _stack(arrays: Any, axis: int = 0) -> Expression:
    stacked = stack([as_node(array) for array in arrays])
    return Expression(
        b.transpose(stacked) if axis in (1, -1) and len(stacked.shape) == 2 else stacked
    )


def _concatenate(arrays: Any, axis: int = 0) -> Expression:
    parts = [as_node(array) for array in arrays]
    if any(len(part.shape) != 1 for part in parts) or axis not in (0, -1):
        raise ModelError("np.concatenate puts vectors together; use np.stack for scalars.")
    return Expression(b.join(parts))


FUNCTIONS: dict[str, Callable[..., Expression]] = {
    "sum": _sum,
    "mean": _mean,
    "dot": _dot,
    "outer": lambda a, c: Expression(b.outer(as_node(a), as_node(c))),
    "where": lambda test, x, y: Expression(b.where(as_node(test), as_node(x), as_node(y))),
    "transpose": lambda a: Expression(b.transpose(as_node(a))),
    "reshape": _reshape,
    "ravel": lambda a: Expression(b.reshape(as_node(a), (as_node(a).size,))),
    "stack": _stack,
    "concatenate": _concatenate,
    "hstack": lambda arrays: Expression(b.join([as_node(array) for array in arrays])),
    "diag": lambda a: Expression(_diagonal(as_node(a))),
    "clip": lambda a, low, high: Expression(
        make("minimum", (make("maximum", (as_node(a), as_node(low))), as_node(high)))
    ),
}
"""Functions of NumPy that take whole arrays."""


def _diagonal(a: Node) -> Node:
    if len(a.shape) == 1:
        n = a.size
        return b.scatter(a, tuple(range(0, n * n, n + 1)), (n, n))
    return b.take(a, np.arange(a.size).reshape(a.shape).diagonal())
