"""What a fit does when it is not told otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.common.options import did_you_mean, shown
from pycellbox.errors import OptionError
from pycellbox.fitting.prediction import AS_ESTIMATED, COURSES, FROM_ESTIMATE, predicting
from pycellbox.models import Layout, Parameter
from pycellbox.numerics.tableaux import IMPLICIT
from pycellbox.objective import PENALIZED, Penalty
from pycellbox.problem import declared_over
from pycellbox.recipe import Recipe
from pycellbox.schedule import LM, AdamW, Stage
from pycellbox.solvers import SOLVERS, Adaptive, Solver, SteadyState, Tsit5
from pycellbox.solving import check_steady
from pycellbox.times import time_grid

DEFAULT_HORIZON = 10.0
"""End of the integration for steady states: ten decay times at the rate at which a default fit
starts, the hundred steps of 0.1 of the first stage of Yuan et al. (2021)."""

# Of the geometric mean of all times: of 1/8 to 2, what errors on conditions left out ask for in all
# but one family of published courses, whichever is left out (1/8 or 1/4).
_SHARE_OF_TIMES = 0.25
_FIXED_STEPS = 100  # as in the first stage of Yuan et al.
# Near a steady state stability bounds the steps: they are more accurate than asked for.
_COURSES, _STEADY = Tsit5(rtol=1e-5, atol=1e-7), Tsit5(rtol=1e-4, atol=1e-6)


def resolve(recipe: Recipe, data: xr.Dataset, estimating: bool | None = None) -> Recipe:
    """Return the recipe with what it leaves open, as this kind of data asks for it.

    Parameters
    ----------
    recipe : Recipe
    data : Dataset
    estimating : bool, optional
        Whether nodes are estimated; by default what `estimates` says.

    Raises
    ------
    OptionError, SolverError
        A horizon or `SteadyState` is given for time courses, or a time scale for a model without
        rates.
    """
    steady = "time" not in data["response"].dims
    declared = declared_over(data, recipe.model)
    time_scale = _time_scale(recipe, data, declared)
    horizon = time_span(data, recipe.horizon, time_scale)
    solver = default_solver(data) if recipe.solver is None else recipe.solver
    check_steady(solver, steady)
    stages, penalty = default_schedule(data)
    if estimates(recipe, data) if estimating is None else estimating:
        recipe = recipe.replace(model=predicting(recipe.model, data))
        stages, penalty = ((AS_ESTIMATED,), Penalty()) if steady else ((FROM_ESTIMATE,), COURSES)
    if not steady or stages != (AS_ESTIMATED,):
        recipe = recipe.replace(loss=recipe.measure)
    if any(isinstance(stage.optimizer, LM) for stage in recipe.stages):
        penalty = dataclasses.replace(penalty, l1=0.0)  # which is no square
    if not Layout(tuple(declared)).has(PENALIZED):
        penalty = Penalty()
    return recipe.replace(
        solver=solver,
        schedule=stages if recipe.schedule is None else _grown(recipe, data),
        penalty=penalty if recipe.penalty is None else recipe.penalty,
        horizon=horizon if steady else None,
        time_scale=time_scale,
    )


def _grown(recipe: Recipe, data: xr.Dataset) -> list[Stage]:
    """Return the schedule with the windows that these data give."""
    each = [(one,) if isinstance(one, Stage) else one.over(data) for one in recipe.stages]
    return [stage for stages in each for stage in stages]


def estimates(recipe: Recipe, data: xr.Dataset) -> bool:
    """Whether the nodes of these data are estimated for this recipe, where they can be.

    They are where nothing asks for plain training: no schedule or penalty, no loss that is not
    squares, no hidden node, and for steady states no solver that integrates up to a horizon, at
    which they may not have settled. Of time courses there have to be fewer conditions than nodes:
    more can tell which node acts on which.
    """
    courses = "time" in data["response"].dims
    usual = ((FROM_ESTIMATE,), COURSES) if courses else ((AS_ESTIMATED,), Penalty())
    resolved = (recipe.stages, recipe.penalty) == usual
    settled = courses or recipe.solver is None or recipe.solver.steady
    left_open = recipe.schedule is None and recipe.penalty is None and settled
    squares = recipe.loss is None or recipe.measure.name == "mse"
    drugs = bool((data["node_kind"] == "drug").any())
    hidden = bool((data["node_kind"] == "hidden").any())
    few = not courses or data.sizes["condition"] < data.sizes["node"]
    return drugs and few and not hidden and squares and (left_open or resolved)


def time_span(data: xr.Dataset, horizon: float | None, time_scale: float) -> float:
    """Return the end of the integration.

    Raises
    ------
    OptionError
        The horizon is not a time, or is given for time courses, which have one of their own.
    """
    if "time" not in data["response"].dims:
        if horizon is None:
            horizon = DEFAULT_HORIZON * time_scale + _last_start(data)
        return float(time_grid(horizon)[0])
    if horizon is not None:
        raise OptionError(
            f"horizon={shown(horizon)} is for steady-state data; these are time courses, which end "
            f"at {float(data['time'].values[-1]):g}. Stage(horizon=...) fits only their beginning."
        )
    return float(data["time"].values[-1])


def _time_scale(recipe: Recipe, data: xr.Dataset, declared: Sequence[Parameter]) -> float:
    """Return the time scale that was asked for, or that of the data; 1 for a model without rates.

    Raises
    ------
    OptionError
        One was asked for, and the model has no rates.
    """
    if any(p.per_time for p in declared):
        return recipe.time_scale or default_time_scale(data)
    if recipe.time_scale not in (None, 1):
        raise OptionError(
            f"time_scale={shown(recipe.time_scale)}, and {type(recipe.model).__name__} declares no "
            f"parameter that is a rate ({recipe.model.equation}): it counts time in the unit of "
            "the data. Leave it out, or declare rates with pcb.models.Parameter(per_time=True)."
        )
    return 1.0


def default_time_scale(data: xr.Dataset) -> float:
    """Return the time over which nodes are taken to respond, in the unit of the data.

    A quarter of the geometric mean of the times that were measured, which an experimenter chooses
    by how fast cells respond; for steady states, of the times at which inputs change; 1 where there
    are none.
    """
    name = "time" if "time" in data["response"].dims else "phase_start"
    times = np.abs(data[name].values) if name in data.variables else np.zeros(0)
    times = np.unique(times[np.isfinite(times) & (times > 0)])
    return _SHARE_OF_TIMES * float(np.exp(np.log(times).mean())) if times.size else 1.0


def _last_start(data: xr.Dataset) -> float:
    """When the last phase starts, from where on there is time to settle."""
    if "phase_start" not in data.variables:
        return 0.0
    return max(float(np.nanmax(data["phase_start"].values)), 0.0)


def is_screen(data: xr.Dataset) -> bool:
    """Whether the data are a drug screen: steady states with nodes of kind drug."""
    drugs = bool((data["node_kind"] == "drug").any())
    return drugs and "time" not in data["response"].dims


def adaptive_solver(data: xr.Dataset) -> Tsit5:
    """Return Tsit5 at the tolerances of this kind of data."""
    return _COURSES if "time" in data["response"].dims else _STEADY


def default_solver(data: xr.Dataset) -> Solver:
    """Return the steady state itself for drug screens, else Tsit5.

    The network of a drug screen is contracting, with the penalties of `default_schedule` as where
    nodes are estimated: it has one steady state, which is found at a fraction of what an
    integration takes. In networks whose nodes
    act strongly on each other every steady state has to be proven, which takes longer than
    integrating (`benchmarks/steady.py`).
    """
    return SteadyState() if is_screen(data) else adaptive_solver(data)


def named_solver(name: str, data: xr.Dataset, horizon: float | None, **options: float) -> Solver:
    """Make a solver by its name, in any case, with the options that a fit would give it.

    Parameters
    ----------
    name : str
        One of `SOLVERS` but Adaptive, or one of `IMPLICIT`.
    data : Dataset
    horizon : float, optional
        As for `pycellbox.fit`; fixed steps are the hundredth part of the time to be integrated.
    **options
        By name.

    Raises
    ------
    OptionError
        There is no such solver, or it has no such option.
    """
    kinds = {key.lower(): kind for key, kind in SOLVERS.items() if kind is not Adaptive}
    implicit = {key.lower(): key for key in IMPLICIT}
    kinds |= dict.fromkeys(implicit, Adaptive)
    kind = kinds.get(name.lower())
    if kind is None:
        raise OptionError(
            f"solver {name!r} is unknown{did_you_mean(name, kinds)}; choose one of "
            f"{', '.join(sorted(kinds))}."
        )
    known = [field.name for field in dataclasses.fields(kind) if field.name != "algorithm"]
    for option in options:
        if option not in known:
            raise OptionError(
                f"{name} has no option {option}; it has {', '.join(known)}"
                + ("." if "dt" in known else ", and chooses its own steps.")
            )
    own: dict[str, Any] = {}
    if kind in (Tsit5, Adaptive):
        own = dataclasses.asdict(adaptive_solver(data))
    if kind is Adaptive:
        own["algorithm"] = implicit[name.lower()]
    elif "dt" in known:
        own = {"dt": time_span(data, horizon, default_time_scale(data)) / _FIXED_STEPS}
    return kind(**own | options)


def default_schedule(data: xr.Dataset) -> tuple[tuple[Stage, ...], Penalty]:
    """Stages and penalty of a training, for this kind of data.

    Drug screens (see `is_screen`): the edges are more than the data can tell, and the drugs'
    direct effects carry most of the signal. Small node → node weights, learning rates and
    penalties by group, 150 iterations. Everything else (time courses, networks whose nodes are
    perturbed directly): one learning rate, a light penalty, more iterations.
    """
    if is_screen(data):
        rates = {
            "drug_to_node": 0.02,
            "node_to_node": 0.001,
            "node_to_phenotype": 0.004,
            "rates": 0.002,
        }
        stage = Stage(
            iterations=150,
            learning_rate=rates,
            decay="cosine",
            warmup=10,
            optimizer=AdamW(beta2=0.99),
        )
        strengths = {
            "node_to_node": 1.0,
            "drug_to_node": 1.0,
            "drug_shared": 0.1,
            "node_to_phenotype": 0.1,
        }
        return (stage,), Penalty(l2=strengths, scale="sum")
    stage = Stage(
        iterations=1000,
        learning_rate=0.02,
        decay="cosine",
        warmup=20,
        optimizer=AdamW(beta2=0.999, clip_norm=float(np.sqrt(data.sizes["node"]))),
    )
    return (stage,), Penalty(l1=1e-5, l2=1e-6)
