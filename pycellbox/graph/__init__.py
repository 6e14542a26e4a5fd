"""Expressions that equations are made of: typed, shared, derived on the graph, kept as JSON."""

from __future__ import annotations

from pycellbox.graph.expressions import Expression
from pycellbox.graph.nodes import Node, constant, symbol
from pycellbox.graph.parsing import parse
from pycellbox.graph.storing import from_lists, to_lists
from pycellbox.graph.tracing import Named, trace

__all__ = [
    "Expression",
    "Named",
    "Node",
    "constant",
    "from_lists",
    "parse",
    "symbol",
    "to_lists",
    "trace",
]
