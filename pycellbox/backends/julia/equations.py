"""Equations of the user's own as Julia has them: programs by name, parameters in one vector."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np

from pycellbox.backends.julia.calls import address, call, call_locked
from pycellbox.backends.julia.source import Output, source, straight
from pycellbox.graph import derivatives, symbol
from pycellbox.models.formulas import INPUTS, STATE, Formulas
from pycellbox.numerics.expressed import Expressed

_ADJOINT = "adjoint"
Shapes = tuple[tuple[str, tuple[int, ...]], ...]
PROGRAMS = (
    "value", "transposed", "pull_back", "slopes", "start", "start_back", "observing",
    "observing_back",
)  # fmt: skip
"""Of an equation; see `PycellboxCore.Equation`."""


@lru_cache(maxsize=256)
def program(
    formulas: Formulas, shapes: Shapes, name: str, dtype: str, loops: bool = False
) -> str | None:
    """Return the source of one of the programs of `PycellboxCore.Equation`.

    Parameters
    ----------
    formulas : Formulas
    shapes : tuple of (str, tuple of int)
        Symbols of the inputs and of all parameters, in order.
    name : str
    dtype : {"float64", "float32"}
    loops : bool
        As for `source`.

    Returns
    -------
    str or None
        None where it is better not made, because it would be long.
    """
    n, o = formulas.rates.size, formulas.observed.size
    x = symbol(STATE, (n,))
    inputs = dict(shapes)[INPUTS]
    u = symbol(INPUTS, inputs)
    parameters = [symbol(name, shape) for name, shape in shapes if name != INPUTS]
    places, at = {STATE: ("x", 0), INPUTS: ("u", 0), _ADJOINT: ("a", 0)}, 0
    for one in parameters:
        places[one.data[0]] = ("p", at)
        at += one.size
    sizes = {"x": n, "u": u.size, "p": at, "o2": u.size, "o3": at}
    kind = name.partition("_")[0]
    node = {"start": formulas.start, "observing": formulas.observed}.get(kind, formulas.rates)
    a = symbol(_ADJOINT, node.shape)
    if name in ("value", "start", "observing"):
        outputs, sizes["o1"] = [Output(node, "o1")], node.size
    elif name == "slopes":
        outputs = [Output(derivatives.jacobian(node, [x, *parameters]), "o1")]
        sizes["o1"] = n * (n + at)
        if not loops:
            return straight(outputs, places, sizes, dtype)
    else:
        wanted = [x] if name == "transposed" else [x, u, *parameters]
        of_x, *others = derivatives.reverse([node], [a], wanted)
        outputs = [] if kind == "start" else [Output(of_x, "o1")]
        sizes |= {"a": o if kind == "observing" else n, "o1": n}
        for array, found in zip(("o2", "o3"), (others[:1], others[1:]), strict=True):
            offset = 0
            for one in found:
                outputs.append(Output(one, array, offset, added=True))
                offset += one.size
    return source(outputs, places, sizes, dtype, loops)


class JuliaEquation:
    """An equation in Julia, with the programs that have been asked for.

    Parameters
    ----------
    core : Julia module
    equations : Expressed
    dtype : dtype
        Of the computation.

    Attributes
    ----------
    handed : Julia object
    states, inputs : ndarray of int
        Numbers of their nodes.
    size : int
        Of all parameters of a condition together.
    """

    def __init__(self, core: Any, equations: Expressed, dtype: np.dtype[Any]) -> None:
        self._core, self._equations, self.dtype = core, equations, dtype
        structure = equations.structure
        model = structure.model
        self.states, self.inputs = equations.states, equations.inputs
        self._given = set[str]()
        self.size = sum(math.prod(one.shape) for one in model.parameters.values())
        places = [
            np.ascontiguousarray(numbers, np.int64)
            for numbers in (equations.states, equations.observed, equations.inputs)
        ]
        self.handed = call_locked(
            core.python_equation,
            dtype.name,
            structure.n_nodes,
            self.size,
            *((address(numbers), numbers.size) for numbers in places),
        )
        self.need("value", "start", "transposed")
        if model.observe:
            self.need("observing")

    def need(self, *names: str) -> None:
        """See that Julia has programs, compiled."""
        formulas, shapes = self._equations.formulas, self._equations.shapes
        for name in names:
            if name not in self._given:
                text = program(formulas, shapes, name, self.dtype.name)
                if text is not None:
                    call(self._core.python_program, self.handed, name, text)
                self._given.add(name)

    def need_gradient(self) -> None:
        """See that Julia has what gradients take."""
        self.need("pull_back", "start_back")
        if self._equations.observed.size:
            self.need("observing_back")
