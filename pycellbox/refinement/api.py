"""`refine`: a fit brought to its minimum, without the interactions that the data do not ask for."""

from __future__ import annotations

import dataclasses
import math
import time
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.common.options import checked, flag, integer, number, optional
from pycellbox.errors import ModelError, NumericsWarning, warn
from pycellbox.fitting.conclusion import conclusion
from pycellbox.fitting.history import History
from pycellbox.models import ODE
from pycellbox.models.structure import LEVEL
from pycellbox.problem import Problem, levelled, parameter_arrays, structure_of
from pycellbox.refinement.criterion import (
    criterion,
    price_of_an_edge,
    squares_of,
    variance_of,
)
from pycellbox.refinement.equations import refined
from pycellbox.refinement.obstacles import obstacles, refuse
from pycellbox.refinement.rounds import Rounds
from pycellbox.refinement.trajectories import Trajectories
from pycellbox.result import FIT, Fit
from pycellbox.solvers import SOLVER, Solver, solver_to_dict

# A result that follows less than this share of the responses says too little of the network.
_LITTLE = 0.5

# A fit whose criterion would rise by less than this share of it is where refinement would lead.
_AT_MINIMUM = 1e-3
_DONE = "the fit is at its minimum already."

# Beyond, every step takes seconds and every round minutes.
_MOST_PARAMETERS = 4000


@checked(
    fit=FIT,
    eliminate=flag(),
    tolerance=number(0, above=True),
    ridge=optional(number(0, above=True)),
    rounds=integer(),
    iterations=integer(),
    solver=optional(SOLVER),
    backend=optional(BACKEND),
)
def refine(
    fit: Fit,
    *,
    eliminate: bool = True,
    tolerance: float = 0.05,
    ridge: float | None = None,
    rounds: int = 10,
    iterations: int = 200,
    solver: Solver | None = None,
    backend: BackendName | None = None,
) -> Fit:
    """Bring a fit to the minimum of the mean square error, and leave out what is not needed.

    Gradient descent comes near the minimum; from there Gauss and Newton's steps, damped as
    Levenberg and Marquardt do, get to it in some ten. Then interactions are set to zero, the least
    needed first, and what is left is fitted again, as long as that lowers

        Σ (residual/sigma)² / v + (log N + log P) · interactions ,

    with the variance v of the noise, N measured responses and P interactions to choose from: the
    extended information criterion of Chen and Chen (Biometrika 95:759, 2008; γ = 1/2). Over all
    training responses, with v the mean square of the given fit's residuals, it is never higher for
    what is returned than for what was given; without elimination that is the sum of squares. A
    step that leads to a blow-up is refused like one that leads uphill.

    Where a network leaves an unstable state, a tiny error in W decides where it goes, and a
    trajectory that went elsewhere says nothing about W. A condition therefore counts up to the
    first time at which a response is off by more than ``tolerance`` and by more than ten standard
    deviations of the noise. The noise is at first the robust scale of the given fit's residuals,
    then that of the responses that are followed; with each round more are.

    Equations of one's own go on to the minimum of their own objective, penalties and priors
    included, by `LM`; there is nothing to leave out, and nothing but ``iterations``, ``solver`` and
    ``backend`` is asked for.

    Parameters
    ----------
    fit : Fit
        Of time courses or steady states, with ``drug_columns="free"`` where there are drugs. Its
        training conditions are fitted again; validation conditions are not looked at.
    eliminate : bool
        Whether to leave out interactions.
    tolerance : float
        In units of the response, with or without sigma; four times as much in the first round.
    ridge : float, optional
        Strength that holds what the data do not tell near zero (all but W: near those of the given
        fit), in units of the residual, or of sigma where the data has one, per unit of W: the
        noise over the size that weights may have. Default half of the noise as
        estimated: weights of about 2.
    rounds : int
        At most this many times of minimizing and leaving out.
    iterations : int
        At most this many steps in all, refused ones included; some twenty to sixty are usual.
    solver : solver, optional
        Default the fit's. A fit by `SteadyState` needs another.
    backend : {"auto", "julia", "numpy", "jax"}, optional
        Default, and what "auto" means, the fit's where it is ready, else, with a warning, the best
        that is.

    Returns
    -------
    Fit
        Its model's mask allows the interactions that are left; fitted levels of held nodes and
        initial states stay those of the fit. ``provenance["refinement"]`` has
        the estimated ``noise`` (in units of sigma where the data has one), the share of training
        responses ``followed``, the interactions left and the noise after each round, and the
        ``criterion`` ``before`` and ``after`` with its ``variance``. Where less than half of the
        responses are followed or the criterion would rise, the given fit, with the ``reason``.

    Raises
    ------
    ModelError
        An option is out of range, the fit is an estimate for prediction, the model ties parameters
        together, the solver has no trajectory, the network is too large: all that stands in the
        way at once.
    DivergenceError
        The trajectory is not finite at the start.

    Warns
    -----
    BackendWarning
        The backend of the fit is not ready.
    NumericsWarning
        The fit is returned as it was given, and was not at its minimum.

    Examples
    --------
    >>> rough = pcb.fit(train, JI_MODEL, loss="mae")  # doctest: +SKIP
    >>> pcb.refine(rough)  # doctest: +SKIP
    """
    began = time.perf_counter()
    if fit.estimated:
        raise ModelError(
            "the nodes were estimated for prediction, together with the strengths of their "
            "penalties; a refinement has none and would undo that: train a network, with schedule= "
            'and CellBox(drug_columns="free"), to refine it.'
        )
    chosen = get_backend("auto" if backend is None else backend, fit.backend, fit.model)
    solver = fit.solver if solver is None else solver
    if isinstance(fit.model, ODE):
        return refined(fit, iterations, solver, BACKEND.read(chosen.name))
    data = fit.data
    rows = np.flatnonzero(data["role"].values == "train")
    problem = Problem.from_dataset(data, structure_of(data, fit.model), fit.horizon).rows(rows)
    start = parameter_arrays(problem.structure, fit.parameters, np.float64)
    levels = {name: start.pop(name) for name in [LEVEL] if name in start}
    problem = problem.at(levels.get(LEVEL))
    refuse(obstacles(problem, solver, _MOST_PARAMETERS))
    trajectories = Trajectories(problem, chosen, solver)
    support = problem.structure.mask
    state = Rounds(
        trajectories, trajectories.pack(start, support), support, tolerance, ridge, iterations
    )
    given = fit.predictions.values[rows].reshape(problem.response.shape)
    squares = squares_of(problem, given)
    price = price_of_an_edge(problem) if eliminate else 0.0
    variance = variance_of(problem, squares)
    before = criterion(squares, variance, int(np.count_nonzero(start["W"])), price)
    went = state.go(eliminate, rounds)
    parameters = trajectories.unpack(state.theta, state.support) | levels
    reached = trajectories.trial(state.theta, state.support)
    after = math.inf
    if reached is not None:
        edges = int(np.count_nonzero(parameters["W"]))
        after = criterion(squares_of(problem, reached), variance, edges, price)
    note = {
        "eliminate": eliminate,
        "tolerance": tolerance,
        "ridge": ridge,
        "solver": solver_to_dict(solver),
        "noise": state.noise,
        "followed": state.followed,
        "edges": state.edges,
        "noises": state.noises,
        "criterion": {"variance": variance, "before": before, "after": after},
        "seconds": round(time.perf_counter() - began, 3),
    }
    reason = _why_not(state, went, before, after)
    if reason:
        if reason != _DONE:
            warn(f"not refined: {reason} The fit is returned as it was given.", NumericsWarning)
        return fit.with_provenance(refinement={**note, "reason": reason})

    model = fit.model
    if eliminate:
        nodes = list(problem.structure.nodes)
        mask = xr.DataArray(
            state.support, {"target": nodes, "source": nodes}, ("target", "source"), name="mask"
        )
        model = dataclasses.replace(model, mask=mask)
    return conclusion(
        fit.recipe.replace(model=model, solver=solver, dtype="float64"),
        structure=levelled(structure_of(data, model), fit.parameters),
        parameters=parameters,
        history=_history(fit, state.losses, float(problem.times[-1])),
        data=data,
        backend=chosen,
        provenance={
            **fit.provenance,
            "seconds": round(fit.provenance["seconds"] + time.perf_counter() - began, 3),
            "refinement": note,
        },
    )


def _why_not(rounds: Rounds, went: bool, before: float, after: float) -> str:
    """Why the result is no better than the fit it came from; empty if it is."""
    if not went:
        return (
            "no step could be made: no trajectory is followed, or its derivative is not finite. "
            "Fit for longer, or with a shorter horizon."
        )
    if rounds.followed < _LITTLE:
        return (
            f"only {rounds.followed:.0%} of the training responses are followed to within "
            f"{rounds.tolerance:g} or ten standard deviations of the noise, too few to tell the "
            "network. Fit for longer or with another seed, or give a larger tolerance."
        )
    if not after <= before * (1 + _AT_MINIMUM):
        return (
            f"the criterion would rise from {before:.6g} to {after:.6g}: some trajectories are not "
            "followed, or the ridge or the solver cost more than the minimum gains. Fit for "
            "longer, or give another tolerance, ridge or solver."
        )
    return "" if after <= before else _DONE


def _history(fit: Fit, losses: list[float], horizon: float) -> xr.Dataset:
    """History of the fit, and a stage of mean square residuals."""
    before = fit.history
    more = History()
    stage = int(before["stage"].max()) + 1 if before.sizes["iteration"] else 0
    for loss in losses:
        values: dict[str, Any] = dict.fromkeys(
            ("validation_loss", "gradient_norm", "learning_rate"), math.nan
        )
        more.add(stage, objective=loss, loss=loss, horizon=horizon, **values)
    joined = xr.concat([before, more.to_dataset()], "iteration")
    return joined.assign_coords(iteration=np.arange(joined.sizes["iteration"]))
