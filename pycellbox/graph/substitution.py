"""Expressions with other expressions in place of some of their parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pycellbox.graph.building import take
from pycellbox.graph.nodes import Node, in_order, make


def substitute(outputs: Sequence[Node], places: Mapping[Node, Node]) -> list[Node]:
    """Return outputs in which others of the same shape are in place of nodes.

    Parameters
    ----------
    outputs : sequence of Node
    places : mapping of Node to Node

    Returns
    -------
    list of Node
    """
    known = dict(places)
    for node in in_order(outputs):
        if node not in known:
            args = [known[arg] for arg in node.args]
            if node.op == "take":  # of entries that were taken themselves
                known[node] = take(args[0], np.reshape(node.data[0], node.shape))
            else:
                known[node] = make(node.op, args, node.data)
    return [known[node] for node in outputs]
