"""`fit`: from a labelled dataset to a fitted network."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BACKEND, Backend, BackendName, get_backend
from pycellbox.common.files import PATH
from pycellbox.common.options import checked, flag, instance, number, optional, shown
from pycellbox.data import validate
from pycellbox.data.hidden import with_nodes
from pycellbox.doubts import doubt_data
from pycellbox.errors import BackendWarning, OptionError, warn
from pycellbox.fitting.beginning import problem_of, start_of
from pycellbox.fitting.callbacks import CALLBACKS, Callback
from pycellbox.fitting.checkpoint import Checkpoint
from pycellbox.fitting.clock import Clock
from pycellbox.fitting.defaults import adaptive_solver, estimates, resolve
from pycellbox.fitting.job import Job
from pycellbox.fitting.prediction import Estimated, estimated
from pycellbox.fitting.roles import check_members, split_roles, without_role
from pycellbox.fitting.run import carry_out
from pycellbox.fitting.starts import Setting, from_starts
from pycellbox.growing import Entry
from pycellbox.initialization import Initialization
from pycellbox.models import CellBox, Model
from pycellbox.numerics.priors import doubt_noise
from pycellbox.objective import Loss, LossName, Penalty
from pycellbox.recipe import OF_A_FIT, Dtype, Purpose, Recipe
from pycellbox.result import Fit
from pycellbox.solvers import Solver

log = logging.getLogger("pycellbox")


@checked(
    model=optional(
        instance(Model | Recipe, "a model, such as pcb.CellBox(), or a pcb.Recipe(...)")
    ),
    initial=optional(
        instance(Initialization | xr.Dataset, "pcb.Initialization(...) or a Dataset of parameters")
    ),
    backend=BACKEND,
    **many.WORKERS,
    store=optional(PATH),
    progress=flag(),
    checkpoint=optional(PATH),
    checkpoint_seconds=number(0),
    callbacks=optional(CALLBACKS),
    **OF_A_FIT,
)
def fit(
    data: xr.Dataset,
    model: Model | Recipe | None = None,
    *,
    validation: float | Sequence[str] | xr.Dataset | None = None,
    solver: Solver | None = None,
    schedule: Entry | Sequence[Entry] | None = None,
    loss: LossName | Loss | None = None,
    penalty: Penalty | None = None,
    horizon: float | None = None,
    time_scale: float | None = None,
    purpose: Purpose | None = None,
    initial: Initialization | xr.Dataset | None = None,
    seed: int | None = None,
    backend: BackendName = "auto",
    dtype: Dtype | None = None,
    starts: int | None = None,
    executor: many.GivenExecutor = None,
    n_jobs: int | None = None,
    store: str | os.PathLike[str] | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    callbacks: Callback | Sequence[Callback] | None = None,
) -> Fit:
    """Fit a network to a perturbation dataset.

    Nodes of drug screens are estimated in closed steps, see ``purpose``; all else is trained by
    gradient descent through the ODE solver.

    Parameters
    ----------
    data : Dataset
        As made by `from_tables`, `read_csv` or `open_data`: steady state or time courses.
    model : Model or Recipe, optional
        The equation and parametrization; `CellBox()` by default. Or all that a fit is told, with
        none of the options of `Recipe` beside it: ``solver``, ``schedule``, ``loss``, ``penalty``,
        ``horizon``, ``time_scale``, ``purpose``, ``seed``, ``dtype`` and ``starts``.
    validation : float, sequence of str, or Dataset, optional
        Conditions that are not fitted but choose the best parameters and stop the fit: a share of
        ``data`` drawn with ``seed``, their labels, or a dataset of their own. By default none:
        all of ``data`` is fitted. A share keeps replicates (equal perturbations, up to rounding)
        together; labels or a dataset that part them are used as given, with a `DataWarning`.
    solver : Euler, Midpoint, Heun, RK4, Tsit5, Adaptive or SteadyState, optional
        By default `SteadyState` for drug screens (steady states with nodes of kind drug); for other
        steady states ``Tsit5(rtol=1e-4, atol=1e-6)``, which is taken, with a warning, for drug
        screens too by the JAX backend, which has no `SteadyState`; for time courses
        ``Tsit5(rtol=1e-5, atol=1e-7)``.
    schedule : Stage, Grow, Shooting, or sequence of these, optional
        Learning rates, iterations, batches, patience of a training, for which it asks where nodes
        would be estimated. The default follows the data; it is kept in ``fit.recipe.schedule``.
    loss : str or Loss, optional
        "mse", "mae", "huber" or a `Loss`. By default "mse"; where nodes are estimated Huber's with
        a threshold of each node.
    penalty : Penalty, optional
        On W, for every stage that has none of its own. It asks for training, like a schedule. The
        default follows the data.
    horizon : float, optional
        End of the integration for steady-state data; default: ten decay times at the rate from
        which a fit starts, after the last change of the inputs. Time courses end with their last
        time.
    time_scale : float, optional
        Time over which nodes respond, in the unit of the data's times: rates start at 1 per time
        scale, and training sees them in that unit. By default it follows the times of the data, so
        that their unit makes no difference; 1 where there are none.
    purpose : {"prediction"}, optional
        What the fit is for, and so by default to predict conditions that were not measured, see
        `Recipe`: nodes of drug screens are estimated together with the strengths of their
        penalties, which ``fit.provenance["estimate"]`` keeps, and those of time courses under drugs
        before the network is trained, unless ``schedule``, ``penalty``, ``initial``, ``loss``, or,
        of screens, a ``solver`` other than `SteadyState` asks for plain training.
    initial : Initialization or Dataset, optional
        How to draw the start of a training, or the effective parameters to start from. With it
        alone a drug screen is trained by the schedule and penalties that suit screens.
    seed : int, optional
        Of everything random: initial weights, validation share, batches; default 0. The same seed
        gives the same fit to the bit on the same machine and backend, whatever else runs in the
        process. Another machine or BLAS, or another number of Julia's threads (or of BLAS's, for
        networks of hundreds of nodes), may change the last digits.
    backend : str
        "auto" or the name of a backend; the result says which was taken.
    dtype : {"float64", "float32"}, optional
        Precision of the integration and of the parameters; default "float64".
    starts : int, optional
        Train so many times, each from a start of its own, and take the best: by the validation
        conditions where there are any, else by the objective, which is the training loss with
        penalties and priors. The first has ``seed``, the others seeds that follow from it;
        ``fit.starts`` has a row for each, and a fit with one of those seeds is that start again.
        Starts that blow up are rows too. It asks for training, like a schedule; it goes neither
        with a checkpoint, nor with callbacks, nor with given parameters as ``initial``. Default 1.
    executor : Executor or distributed.Client, optional
        Of ``concurrent.futures``, or the client of a cluster of Dask's, which trains the starts, to
        the same bits as without one: ``ProcessPoolExecutor(4)``, say, inside
        ``if __name__ == "__main__":`` where processes are spawned. None: here, one after the other.
    n_jobs : int, optional
        Instead: so many processes of joblib's; -1, one on every core that this process may use.
    store : path, optional
        A folder to which each start is written once it is trained. A call with the same data and
        options goes on where another one was stopped, to the same bits.
    progress : bool
        Show a progress bar in terminals and notebooks, and a line every few seconds where errors go
        to a file or a pipe. The logger ``pycellbox`` has INFO lines at the beginning, after each
        stage and at the end, whatever this says.
    checkpoint : str or path-like, optional
        File, ending in ``.nc``, that keeps data, recipe and the state of the training, from which
        `resume` goes on to the same bits after a crash, a kill or an interrupt. It is written
        whole or not at all, and stays when the fit has ended.
        The first one is written before the training; where a later one fails, say because the disk
        is full, there is a warning, and the next is tried when it is due. An interrupt, and a
        callback that raises something, write one more.
    checkpoint_seconds : float
        At least this time, in seconds, lies between two checkpoints, and at least four times what
        writing one takes, so that 0 does not hold the fit up.
    callbacks : callable or sequence of callable, optional
        Each is called with a ``pycellbox.fitting.TrainingState`` at the beginning of every stage
        and after its iterations; where the backend trains by itself, after those of a tenth of a
        second. They are not kept in files; what they raise ends the fit.

    Returns
    -------
    Fit
        Parameters, history, predictions; see `Fit`. Its ``ending`` and ``status`` say how it
        ended: an interrupt or a blow-up that no smaller step could avert ends it early with the
        best parameters so far, which of several starts are those of the best that has ended. Once
        training has begun, the first Ctrl-C ends it after the gradient
        that is being computed, or waits for the final predictions; the second one ends all.

    Raises
    ------
    OptionError, DataError, ModelError, SolverError, BackendError
        Something given does not fit, or nothing is perturbed; nothing was computed.
    ResultFileError
        The checkpoint cannot be written, or would replace another file or a fit on its way.
    DivergenceError
        The trajectory is not finite at the initial parameters, or no start came to its end.

    Warns
    -----
    DataWarning
        The data are probably not what the model takes them for: doses that saturate, responses
        that are no log-ratios, drugs that are not declared, and the like.
    BackendWarning
        The backend lacks the default solver.
    FileWarning
        A checkpoint cannot be written.
    NumericsWarning
        In the end, steps leave the equation's solution, or conditions do not settle.

    Notes
    -----
    Nothing that is given is changed, and what is done to it afterwards does not change the fit.
    """
    began = time.perf_counter()
    engine = many.workers(executor, n_jobs)
    told = {
        "solver": solver, "schedule": schedule, "loss": loss, "penalty": penalty,
        "horizon": horizon, "time_scale": time_scale, "purpose": purpose, "seed": seed,
        "dtype": dtype, "starts": starts,
    }  # fmt: skip
    asked = _recipe(model, {name: value for name, value in told.items() if value is not None})
    if asked.starts > 1:
        _check_starts(asked.starts, checkpoint, callbacks, initial)
    elif store is not None:
        raise OptionError("store= keeps the starts of a fit, and this has one: give checkpoint=.")
    data = with_nodes(validate(data), asked.model.own_nodes)
    data, roles = split_roles(without_role(data), validation, asked.seed)
    estimating = initial is None and asked.starts == 1 and estimates(asked, data)
    recipe = resolve(asked, data, estimating)
    chosen = get_backend(backend, model=recipe.model)
    recipe = _feasible(recipe, asked, chosen, data)
    problem, clock = problem_of(recipe, data), Clock.of(recipe)
    check_members(problem.structure, data, roles)
    train, said = np.flatnonzero(roles == "train"), dict[str, Any]()
    doubt_data(data.isel(condition=train), problem.structure)
    doubt_noise(problem.structure.layout, data)
    data = data.assign_coords(role=("condition", roles))
    if recipe.starts > 1:
        setting = Setting(recipe, data, problem, initial, BACKEND.read(chosen.name))
        return from_starts(setting, engine, store, progress, began)
    rng, found = np.random.default_rng(recipe.seed), None
    if estimating:
        robust = asked.loss is None
        found = estimated(clock, problem, train, data, robust=robust, rng=rng)
    if isinstance(found, Estimated):
        problem, start, said = found.problem, found.start, found.said
        recipe = recipe.replace(model=problem.structure.model)
    else:
        if found is not None:
            log.info("nodes are trained, not estimated: %s", found)
            said = {"obstacle": found}
            recipe = _feasible(resolve(asked, data, False), asked, chosen, data)
            problem = problem_of(recipe, data)
        start = start_of(clock, problem.rows(train), initial, rng)
    job = Job(
        recipe=recipe,
        data=data,
        problem=problem,
        start=start,
        estimate=said,
        backend=chosen,
        rng=rng,
        progress=progress,
        callbacks=CALLBACKS.read(callbacks or ()),
    )
    keeper = None
    if checkpoint is not None:
        keeper = Checkpoint.of(checkpoint, checkpoint_seconds, job)
    return carry_out(job, job.training(), began, keeper)


def _check_starts(starts: int, checkpoint: Any, callbacks: Any, initial: Any) -> None:
    """Refuse what is of one training only."""
    given = {
        "checkpoint": checkpoint is not None,
        "callbacks": callbacks is not None,
        "parameters as initial": isinstance(initial, xr.Dataset),
    }
    for name, there in given.items():
        if there:
            raise OptionError(
                f"starts={starts} with {name}: these belong to one training. Leave one of the two "
                "out; a start of fit.starts can be fitted again alone, with its seed."
            )


def _recipe(model: Model | Recipe | None, options: dict[str, Any]) -> Recipe:
    """Make a recipe of a model and options, or take one that stands alone."""
    if not isinstance(model, Recipe):
        return Recipe(CellBox() if model is None else model, **options)
    if options:
        names = ", ".join(options)
        first = next(iter(options))
        raise OptionError(
            f"{names} beside a recipe, which has that already; change the recipe: "
            f"recipe.replace({first}={shown(options[first])}{', ...' * (len(options) > 1)})."
        )
    return model


def _feasible(recipe: Recipe, asked: Recipe, backend: Backend, data: xr.Dataset) -> Recipe:
    """Take the nearest solver where a backend lacks one that was not asked for, with a warning."""
    lacks = recipe.solver is not None and bool(backend.supports(recipe.solver))
    if asked.solver is not None or not lacks:
        return recipe
    nearest = adaptive_solver(data)
    warn(
        f"the {backend.name} backend has no SteadyState, the default solver of drug screens: "
        f"states at the horizon are fitted instead, by {nearest!r}. backend='numpy' or 'julia' "
        "has it; to integrate on purpose, give the solver.",
        BackendWarning,
    )
    return recipe.replace(solver=nearest)
