"""A callable of the user's turned into expressions, by calling it once with symbols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import ModelError, PycellboxError
from pycellbox.graph.expressions import Expression, as_node
from pycellbox.graph.nodes import Node


class Named:
    """Parameters by name, as attributes and as items: ``p.S`` or ``p["S"]``."""

    def __init__(self, values: Mapping[str, Node]) -> None:
        self._values = {name: Expression(node) for name, node in values.items()}

    def __getitem__(self, name: str) -> Expression:
        if not isinstance(name, str) or name not in self._values:
            hint = did_you_mean(name, self._values)
            known = ", ".join(self._values) or "none"
            raise ModelError(f"there is no parameter {shown(name)}{hint}; declared: {known}.")
        return self._values[name]

    def __getattr__(self, name: str) -> Expression:
        if name.startswith("__"):  # asked for by copy, pickle and the like
            raise AttributeError(name)
        return self[name]


def trace(function: Callable[..., Any], *given: Any) -> Node:
    """Return what a callable computes.

    Parameters
    ----------
    function : callable
        Of the arguments, which it may use as often as it likes.
    *given : Node or Named
        In place of which it is called with expressions.

    Raises
    ------
    ModelError
        It needs values, calls what is not known, or fails in any other way.
    """
    arguments = [Expression(one) if isinstance(one, Node) else one for one in given]
    try:
        return as_node(function(*arguments))
    except PycellboxError as error:
        raise ModelError(f"the callable with the equations: {error}") from None
    except Exception as error:
        raise ModelError(
            f"the callable with the equations failed, called with symbols in place of numbers: "
            f"{type(error).__name__}: {shown(str(error))}."
        ) from error
