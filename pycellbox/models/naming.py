"""Names in equations of one's own: of states, parameters and inputs."""

from __future__ import annotations

import keyword
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pycellbox.common.frozen import Frozen
from pycellbox.common.options import NAMED, Value, did_you_mean, instance, shown
from pycellbox.common.plain import several
from pycellbox.errors import ModelError
from pycellbox.graph.symbolic import name_of
from pycellbox.models.declared import PARAMETER, Parameter
from pycellbox.models.formulas import Formulas
from pycellbox.models.structure import LEVEL, LEVEL_OF

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE

_TAKEN = (
    "condition",
    "subject",
    "node",
    "node_kind",
    "time",
    "target",
    "source",
    "mask",
    LEVEL,
    LEVEL_OF,
)


EQUATIONS = instance(
    Mapping | Callable | Formulas,  # type: ignore[arg-type]
    "equations by the names of states, {'S': '-beta*S*I'}, or a callable of x and p",
)


def _read_names(given: object) -> tuple[str, ...]:
    names = tuple(name_of(one) for one in several(given))
    if not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError
    if len(set(names)) < len(names):
        raise ValueError("a name is there twice")
    return tuple(map(str, names))


def _read_inputs(given: object) -> Frozen[str]:
    if isinstance(given, Mapping):
        given = {name_of(one): name_of(other) for one, other in given.items()}
    else:
        given = {name: name for name in (_read_names(given) if several(given) else ())}
    if not all(isinstance(one, str) and one for pair in given.items() for one in pair):
        raise ValueError
    return Frozen(given)


def _read_written(given: object) -> dict[str, Any]:
    if isinstance(given, Mapping):
        given = {name_of(key): one for key, one in given.items()}
    return dict(NAMED.read(given))


NAMES = Value(_read_names, "a list of different names")
INPUT_NAMES = Value(
    _read_inputs, "names of nodes, or a mapping to them from the names that equations use"
)
WRITTEN = Value(_read_written, NAMED.needs)
"""A mapping whose keys are names, or symbols of SymPy."""


def all_parameters(
    parameters: Mapping[str, Any], starts: Mapping[str, Any], states: Sequence[str]
) -> dict[str, Parameter]:
    """Return the parameters of equations, with those that are fitted starts of states.

    Raises
    ------
    ModelError, OptionError
        One cannot be.
    """
    entries = {
        name: PARAMETER(f"ODE: parameters[{name!r}]", one) for name, one in parameters.items()
    }
    for state in starts:
        if state not in states:
            hint = did_you_mean(state, states)
            raise ModelError(f"initial has {shown(state)}, which is no state{hint}.")
    for state, given in starts.items():
        if isinstance(given, Parameter):
            if given.shape:
                raise ModelError(
                    f"initial[{state!r}] has the shape {given.shape}; it is one number."
                )
            if f"{state}_0" in entries:
                raise ModelError(
                    f"initial[{state!r}] is fitted as {state}_0, and parameters has that too: "
                    f"leave it out there, or write initial={{{state!r}: '{state}_0'}}."
                )
            entries[f"{state}_0"] = given
    return entries


def check_names(model: ODE) -> None:
    """Refuse names that cannot be, or are there twice.

    Raises
    ------
    ModelError
    """
    for name in model.parameters:
        if not name.isidentifier() or keyword.iskeyword(name) or name in _TAKEN:
            raise ModelError(
                f"a parameter cannot have the name {shown(name)}: it needs letters, digits "
                f"and _, and to be no word of Python and none of {', '.join(_TAKEN)}."
            )
        for dim in dims_of(name, model.parameters[name].shape):
            if dim in model.parameters:
                raise ModelError(f"the parameter {dim!r} has the name of a dimension of {name!r}.")
    lists = {"states": model.states, "observe": model.observe}
    written = [*model.observe.values(), *model.initial.values()]
    if isinstance(model.rates, Mapping) or (
        callable(model.rates) and any(isinstance(one, str) for one in written)
    ):  # a text names them all alike
        lists |= {"parameters": model.parameters, "inputs": model.inputs}
    places: dict[str, str] = {}
    for place, names in lists.items():
        for name in names:
            if name in places:
                hint = ""
                if place == "inputs":
                    hint = f"; name it otherwise: inputs={{'u_{name}': {name!r}}}"
                raise ModelError(f"{name!r} is in {places[name]} and in {place}{hint}.")
            places[name] = place


def dims_of(name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the dimensions of a parameter in labelled data."""
    ends = ("entry",) if len(shape) == 1 else ("row", "column")
    return tuple(f"{name}_{end}" for end in ends[: len(shape)])
