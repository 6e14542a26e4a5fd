"""A recipe: all that a fit is told, but the data, in one value that is checked when it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal

import numpy as np
import xarray as xr

from pycellbox import views
from pycellbox.common.options import (
    DTYPE,
    HORIZON,
    NAMED,
    SEED,
    checked,
    choice,
    integer,
    number,
    optional,
)
from pycellbox.common.texts import read_json
from pycellbox.growing import SCHEDULE, Entry, entry_from_dict
from pycellbox.models import MODEL, CellBox, Model, model_from_dict, model_to_dict
from pycellbox.objective import LOSS, PENALTY, Loss, LossName, Penalty
from pycellbox.schedule import Stage
from pycellbox.solvers import SOLVER, Solver, solver_from_dict, solver_to_dict

Dtype = Literal["float64", "float32"]
Purpose = Literal["prediction"]


STARTS = integer(1, 1_000_000)
_OPEN = {
    "solver": optional(SOLVER),
    "penalty": optional(PENALTY),
    "schedule": optional(SCHEDULE),
    "horizon": optional(HORIZON),
    "time_scale": optional(number(0, above=True)),
    "loss": optional(LOSS),
}
_SAID = {"purpose": choice("prediction"), "seed": SEED, "dtype": DTYPE, "starts": STARTS}
OF_A_FIT = _OPEN | {name: optional(value) for name, value in _SAID.items()}
"""Options of a fit that become those of its recipe."""


@checked(model=MODEL, **_OPEN, **_SAID)
@dataclass(frozen=True, eq=False)
class Recipe:
    """What a fit is told: everything but the data and what it is computed by.

    `pycellbox.fit` makes one of its options, or takes one in place of them; ``Fit.recipe`` is the
    one that was followed, with which the same data give the same fit. It cannot be changed, only
    replaced, and can be pickled.

    Parameters
    ----------
    model : Model
        The equation and parametrization: a `CellBox`, or one of your own.
    solver : Euler, Midpoint, Heun, RK4, Tsit5, Adaptive or SteadyState, optional
        Of the equation. None: `SteadyState` for drug screens, else `Tsit5`.
    loss : str or Loss, optional
        "mse", "mae", "huber" or a `Loss`. None: where nodes are estimated, see ``purpose``,
        Huber's with a threshold of each node; else "mse".
    penalty : Penalty, optional
        On W, for every stage that has none of its own. None: as the data ask for.
    schedule : Stage, Grow, Shooting, or sequence of these, optional
        Learning rates, iterations, batches, patience; kept as a tuple. None: as the data ask for.
    horizon : float, optional
        End of the integration for steady-state data. None: ten time scales after the last change
        of inputs; time courses end with their last time.
    time_scale : float, optional
        Time over which nodes respond, in the unit of the data's times: a fit starts at rates of 1
        per time scale, and learning rates move rates in that unit. None: from the times of the
        data, so that a fit is the same whatever their unit is; 1 where they have none.
    purpose : {"prediction"}
        What the fit is for: to predict conditions that were not measured. Nodes of drug screens are
        therefore *estimated* where the model is a `CellBox` of form 0 with tanh, and neither a
        schedule, a penalty, a start, a loss other than "mse" nor a solver other than `SteadyState`
        asks for training: nodes get an operating point and a common effect of all treatments
        (unless the model says no), drugs act on proteins and proteins on phenotypes, proteins not
        on each other; the strengths of all penalties, κ of the doses and how far nodes can go are
        chosen inside the training conditions, and the parameters are the optimum for them, in
        closed steps. Of time courses with fewer conditions than nodes, under drugs that are not
        measured themselves and are then clamped, κ and the decay rate of each node are chosen
        likewise, its parameters are estimated as if there were no edges, and from there the network
        is trained for a short time. Everything else is trained by gradient descent.
    seed : int
        Of everything random: initial weights, validation share, batches.
    dtype : {"float64", "float32"}
        Precision of the integration and of the parameters.
    starts : int
        Train from so many starts, and take the best; see `pycellbox.fit`.

    Raises
    ------
    OptionError
        An option cannot be.

    Examples
    --------
    >>> recipe = pcb.Recipe(pcb.CellBox(envelope="hill"), loss="mae", seed=1)
    >>> fit = pcb.fit(data, recipe.replace(seed=2))  # doctest: +SKIP
    """

    model: Model = field(default_factory=CellBox)
    _: KW_ONLY
    solver: Solver | None = None
    loss: LossName | Loss | None = None
    penalty: Penalty | None = None
    schedule: Entry | Sequence[Entry] | None = None
    horizon: float | None = None
    time_scale: float | None = None
    purpose: Purpose = "prediction"
    seed: int = 0
    dtype: Dtype = "float64"
    starts: int = 1

    @property
    def measure(self) -> Loss:
        """The loss by which a fit is measured: "mse" where it is left open."""
        read: Loss = LOSS.read("mse" if self.loss is None else self.loss)
        return read

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The schedule; none where it is left open. Windows that grow are one until a fit."""
        return () if self.schedule is None else SCHEDULE.read(self.schedule)

    def replace(self, **changes: Any) -> Recipe:
        """Return a recipe with other values for some options, checked like any.

        Parameters
        ----------
        **changes
            Options of `Recipe`, by name.

        Returns
        -------
        Recipe
            A new one; this one stays as it is.

        Raises
        ------
        OptionError
            There is no such option, or it cannot have that value.
        """
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return every option but the model's mask as plain values, for files.

        Returns
        -------
        dict
            By name. Julia's solver objects are named.
        """
        return {
            "model": model_to_dict(self.model),
            "solver": None if self.solver is None else solver_to_dict(self.solver),
            "loss": None if self.loss is None else LOSS.read(self.loss).to_dict(),
            "penalty": None if self.penalty is None else self.penalty.to_dict(),
            "schedule": [stage.to_dict() for stage in self.stages] or None,
            "horizon": self.horizon,
            "time_scale": self.time_scale,
            "purpose": self.purpose,
            "seed": self.seed,
            "dtype": self.dtype,
            **({} if self.starts == 1 else {"starts": self.starts}),  # older readers lack it
        }

    @classmethod
    @checked()
    def from_dict(cls, options: Mapping[str, Any], mask: Any = None) -> Recipe:
        """Rebuild a recipe from what `to_dict` made.

        Parameters
        ----------
        options : mapping
            By name; what is left out has its default.
        mask : array-like of bool, optional
            Of the model: the one option that is not among them.

        Returns
        -------
        Recipe
            An equal one.

        Raises
        ------
        OptionError
            An option is unknown or cannot be.
        """
        given = NAMED("recipe", options)
        if given.get("purpose", "") is None:  # of older files, which were for prediction too
            del given["purpose"]
        given["model"] = model_from_dict(given.get("model", {}), mask=mask)
        if given.get("solver") is not None:
            given["solver"] = solver_from_dict(given["solver"])
        for name, kind in (("loss", Loss), ("penalty", Penalty)):
            if isinstance(given.get(name), Mapping):
                given[name] = kind(**NAMED(name, given[name]))
        if isinstance(given.get("schedule"), list | tuple):
            given["schedule"] = [
                stage if isinstance(stage, Entry) else entry_from_dict(stage)
                for stage in given["schedule"]
            ]
        return cls(**given)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recipe):
            return NotImplemented
        same = all(getattr(self, name) == getattr(other, name) for name in OPTIONS)
        return same and _same_mask(self.model.mask, other.model.mask)

    def __hash__(self) -> int:
        return hash((self.model, self.loss, self.seed, self.dtype))

    def __reduce__(self) -> tuple[Any, ...]:
        return Recipe.from_dict, (self.to_dict(), self.model.mask)

    def _repr_html_(self) -> str:
        options = {name: getattr(self, name) for name in OPTIONS}
        return views.options("Recipe", options, _UNSET)


OPTIONS = tuple(f.name for f in dataclasses.fields(Recipe))


def recipe_in_file(text: str, mask: Any) -> Recipe:
    """Read the resolved recipe of a file; older ones counted time in the unit of the data."""
    return Recipe.from_dict({"time_scale": 1.0, **NAMED("recipe", read_json(text))}, mask=mask)


_UNSET = {
    "solver": "as the data ask for",
    "penalty": "as the data ask for",
    "schedule": "as the data ask for",
    "horizon": "ten time scales for steady states, the last time of time courses",
    "time_scale": "from the times of the data",
    "loss": "as the data ask for",
}


def _same_mask(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    if isinstance(one, xr.DataArray) and isinstance(other, xr.DataArray):
        return bool(one.equals(other))
    return type(one) is type(other) and np.array_equal(one, other)
