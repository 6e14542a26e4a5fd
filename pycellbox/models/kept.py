"""Equations of one's own as plain values, and back; nothing of them is evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pycellbox.common.options import NAMED
from pycellbox.errors import OptionError
from pycellbox.graph import from_lists, to_lists
from pycellbox.models import declared
from pycellbox.models.formulas import Formulas

if TYPE_CHECKING:
    from pycellbox.models.ode import ODE


def plain(model: ODE) -> dict[str, Any]:
    """Return what a model is, as plain values."""
    formulas = model.rates
    return {
        "states": list(model.states),
        "parameters": {name: one.to_dict() for name, one in model.parameters.items()},
        "inputs": dict(model.inputs),
        "observe": dict(model.observe),
        "initial": dict(model.initial),
        "at_rest": model.at_rest,
        "texts": list(formulas.texts),
        "graph": to_lists((formulas.rates, formulas.start, formulas.observed)),
    }


def unpacked(name: str, options: Mapping[str, Any], mask: Any) -> tuple[Formulas, dict[str, Any]]:
    """Return what `plain` made of a model of this name: its formulas, and its other options.

    Raises
    ------
    OptionError
        It is no stored model.
    """
    given = {"at_rest": False, **NAMED("model", options)}
    wanted = {
        "states", "parameters", "inputs", "observe", "initial", "at_rest", "texts", "graph",
    }  # fmt: skip
    if set(given) != wanted or mask is not None:
        raise OptionError(f"a stored {name} has {', '.join(sorted(wanted))}.")
    outputs, texts = from_lists(given.pop("graph")), given.pop("texts")
    if len(outputs) != 3 or not isinstance(texts, list):
        raise OptionError("a stored model has rates, start and observables, and its equations.")
    given["parameters"] = {
        one: declared.Parameter.from_dict(NAMED(f"parameters[{one!r}]", told))
        for one, told in NAMED("parameters", given["parameters"]).items()
    }
    return Formulas(outputs[0], outputs[1], outputs[2], tuple(map(str, texts))), given
