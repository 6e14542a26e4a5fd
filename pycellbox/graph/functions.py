"""Functions for equations: of expressions in a traced callable, of numbers and arrays elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from pycellbox.common.options import Value, checked
from pycellbox.errors import OptionError
from pycellbox.graph.expressions import Expression, as_node


def _read(given: object) -> Any:
    if isinstance(given, Expression):
        return given
    if isinstance(given, list | tuple) and any(isinstance(one, Expression) for one in given):
        return Expression(as_node(given))
    try:
        array = np.asarray(given)
    except TypeError:  # of a Dataset
        raise ValueError from None
    if array.dtype.kind not in "biuf":
        raise ValueError
    return array[()]


def _check_shapes(*values: Any) -> None:
    shapes = [value.shape if isinstance(value, Expression) else np.shape(value) for value in values]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        words = " and ".join(map(str, shapes))
        raise OptionError(
            f"the shapes {words} do not go together; each axis has the same size, or 1."
        ) from None


_OPERAND = Value(_read, "an expression, a number or an array of numbers")


@checked(x=_OPERAND)
def exp(x: Any) -> Any:
    """Exponential of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        As a traced callable has it, or numbers.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return np.exp(x)


@checked(x=_OPERAND)
def log(x: Any) -> Any:
    """Natural logarithm of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        Positive where it is evaluated.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return np.log(x)


@checked(x=_OPERAND)
def sqrt(x: Any) -> Any:
    """Square root of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        Positive where it is evaluated: at 0 it has no finite derivative.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return np.sqrt(x)


@checked(x=_OPERAND)
def tanh(x: Any) -> Any:
    """Hyperbolic tangent of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        Dimensionless.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return np.tanh(x)


@checked(x=_OPERAND)
def expit(x: Any) -> Any:
    """Logistic function 1/(1 + exp(−x)) of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        Dimensionless.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return 0.5 + 0.5 * np.tanh(0.5 * x)


@checked(x=_OPERAND)
def softplus(x: Any) -> Any:
    """Return log(1 + exp(x)) of an expression or array, entry by entry.

    Parameters
    ----------
    x : expression or array-like
        Dimensionless.

    Returns
    -------
    expression or ndarray
        Of the shape of ``x``.
    """
    with np.errstate(all="ignore"):
        return np.logaddexp(0.0, x)


@checked(x=_OPERAND, y=_OPERAND)
def maximum(x: Any, y: Any) -> Any:
    """Return the larger of two expressions or arrays, entry by entry.

    Parameters
    ----------
    x, y : expression or array-like
        Of shapes that go together.

    Returns
    -------
    expression or ndarray
        Of their common shape.

    Raises
    ------
    OptionError
        The shapes do not go together.
    """
    _check_shapes(x, y)
    with np.errstate(all="ignore"):
        return np.maximum(x, y)


@checked(x=_OPERAND, y=_OPERAND)
def minimum(x: Any, y: Any) -> Any:
    """Return the smaller of two expressions or arrays, entry by entry.

    Parameters
    ----------
    x, y : expression or array-like
        Of shapes that go together.

    Returns
    -------
    expression or ndarray
        Of their common shape.

    Raises
    ------
    OptionError
        The shapes do not go together.
    """
    _check_shapes(x, y)
    with np.errstate(all="ignore"):
        return np.minimum(x, y)


@checked(condition=_OPERAND, x=_OPERAND, y=_OPERAND)
def where(condition: Any, x: Any, y: Any) -> Any:
    """Choose between two expressions or arrays, entry by entry.

    Parameters
    ----------
    condition : expression or array-like
        A comparison such as ``x > 0``.
    x, y : expression or array-like
        Values where the condition holds, and where it does not.

    Returns
    -------
    expression or ndarray
        Of their common shape. It has no derivative with respect to when the condition changes.
    """
    _check_shapes(condition, x, y)
    with np.errstate(all="ignore"):
        return np.where(condition, x, y)
