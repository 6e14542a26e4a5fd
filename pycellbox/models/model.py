"""What every equation has: options, parameters, a name under which files know it."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from pycellbox.common.options import NAMED, checked, did_you_mean, instance, shown
from pycellbox.errors import ModelError, OptionError
from pycellbox.models.layout import Parameter

MODELS: dict[str, type[Model]] = {}
"""Every model that has been defined in this process, by the name of its class."""


class Model(ABC):
    """An equation dx/dt = f(x, u; θ) as a declaration: it holds no data and computes nothing.

    A model of one's own is a frozen dataclass that derives from this. Its numbers come from an
    `pycellbox.numerics.equations.Equations`, which `equations` returns. Files keep the class's name
    and `to_dict`; to load them, the module that defines it has to be imported first.
    """

    mask: Any = None
    """Prior knowledge of where W may differ from zero, for models that have one."""

    own_nodes: tuple[str, ...] = ()
    """Nodes of its own: those that data do not have are hidden ones."""

    log_ratios = True
    """Whether states are log-ratios to a control in which nothing moves, and x = 0."""

    at_rest = False
    """Whether conditions begin in the steady state that they reach without a perturbation."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        MODELS[cls.__name__] = cls

    @property
    @abstractmethod
    def equation(self) -> str:
        """The equation in one line, for reports."""

    @property
    def summary(self) -> str:
        """The equation with what it leaves open, in one line."""
        return self.equation

    @abstractmethod
    def declare(self, nodes: Sequence[str], node_kind: Sequence[str]) -> tuple[Parameter, ...]:
        """Return the effective parameters over nodes of given kinds.

        Raises
        ------
        ModelError
            The model cannot be laid over these nodes.
        """

    def driven(self, signals: Sequence[str], *, linear: bool) -> tuple[Model, tuple[str, ...]]:
        """Return the model under driving signals, and nodes that it has for them; by default none.

        Parameters
        ----------
        signals : sequence of str
            Their labels.
        linear : bool
            Whether they go straight from value to value, so that each is its value where a
            condition begins, and its slope times the time since then; else they are constant.

        Returns
        -------
        model : Model
        nodes : tuple of str
            First those whose perturbation is the values, and then the slopes.

        Raises
        ------
        ModelError
            The model does not have such inputs.
        """
        raise ModelError(
            f"the data have driving signals ({', '.join(signals)}), and {type(self).__name__} does "
            "not take any: equations of one's own do, pcb.ODE(..., inputs=[...]); leave them out "
            "with .drop_vars('drive'), or give a dose that changes in phases."
        )

    def equations(self, structure: Any) -> Any:
        """Return the `pycellbox.numerics.equations.Equations` of a structure of this model.

        Parameters
        ----------
        structure : pycellbox.models.structure.Structure

        Raises
        ------
        ModelError
            The model has none.
        """
        raise ModelError(f"{type(self).__name__} has no equations, which solvers need.")

    def check(self, structure: Any) -> None:
        """Refuse a structure in which there is nothing to fit.

        Raises
        ------
        ModelError
        """
        if structure.layout.free.size == 0:
            raise ModelError("every parameter of the model is fixed: there is nothing to fit.")

    def to_dict(self) -> dict[str, Any]:
        """Return every option as a plain value, for provenance."""
        return {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
            if f.name != "mask"
        }

    @classmethod
    @checked()
    def from_dict(cls, options: Mapping[str, Any], mask: Any = None) -> Any:
        """Rebuild a model from `to_dict`; unknown options are an error."""
        given = NAMED("model", options)
        known = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for name in given:
            if name not in known:
                hint = did_you_mean(name, known)
                raise OptionError(f"{cls.__name__} has no option {shown(name)}{hint}.")
        return cls(**given, **({} if mask is None else {"mask": mask}))


def model_to_dict(model: Model) -> dict[str, Any]:
    """Name and options of a model as plain values, for files."""
    return {"name": type(model).__name__, **model.to_dict()}


def model_from_dict(options: Mapping[str, Any], mask: Any = None) -> Any:
    """Rebuild a model from `model_to_dict`; without a name it is a CellBox."""
    fields = NAMED("model", options)
    name = fields.pop("name", "CellBox")
    if not isinstance(name, str) or name not in MODELS:
        raise OptionError(
            f"the model {shown(name)} is unknown{did_you_mean(name, MODELS)}; known: "
            f"{', '.join(sorted(MODELS))}. Import the module that defines it first."
        )
    return MODELS[name].from_dict(fields, mask)


MODEL = instance(Model, "a model, such as pcb.CellBox()")
