"""`refine`: a fit brought to its minimum, without the interactions that the data do not ask for."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import get_backend
from pycellbox.common.options import integer, number
from pycellbox.errors import ModelError
from pycellbox.fitting.history import History
from pycellbox.problem import Array, Problem, parameter_arrays, parameter_dataset
from pycellbox.refinement.elimination import eliminate as eliminate_weights
from pycellbox.refinement.levenberg import minimise
from pycellbox.refinement.sensitivity import Sensitivity
from pycellbox.result import Fit, versions
from pycellbox.solvers import Solver, check_solver, solver_to_dict

# A response further off than this many standard deviations of the noise is not followed.
_FAR = 10.0

# How many times dearer than others an interaction may be that leads a condition astray.
_DEAR = 5.0


def refine(
    fit: Fit,
    *,
    eliminate: bool = True,
    tolerance: float = 0.05,
    ridge: float = 1e-3,
    rounds: int = 10,
    iterations: int = 100,
    solver: Solver | None = None,
    backend: str | None = None,
) -> Fit:
    """Bring a fit to the minimum of the mean square error, and leave out what is not needed.

    Gradient descent comes near the minimum; from there Gauss and Newton's steps, damped as
    Levenberg and Marquardt do, get to it in some ten. Then interactions are set to zero, the least
    needed first, as long as each raises the sum of squares by less than log(N) + log(P) variances
    of the noise, with N measured responses and P interactions to choose from: the extended
    information criterion of Chen and Chen (Biometrika 95:759, 2008; γ = 1/2). What is left is
    fitted again.

    Where a network leaves an unstable state, a tiny error in W decides where it goes, and a
    trajectory that went elsewhere says nothing about W. A condition therefore counts up to the
    first time at which a response is off by more than ``tolerance``; with each round more is
    followed.

    Parameters
    ----------
    fit : Fit
        Of time courses or steady states, with ``drug_columns="free"`` where there are drugs. Its
        training conditions are fitted again; validation conditions are not looked at.
    eliminate : bool
        Whether to leave out interactions.
    tolerance : float
        In units of the response (of sigma, where the data has one); four times as much in the
        first round, and never less than ten standard deviations of the noise as estimated.
    ridge : float
        Strength that holds what the data do not tell near zero, in units of the residual per unit
        of W: the noise over the size that weights may have.
    rounds : int
        At most this many times of minimising and leaving out.
    iterations : int
        At most this many steps in all; some twenty to sixty are usual.
    solver : solver, optional
        Default the fit's.
    backend : str, optional
        Default the fit's.

    Returns
    -------
    Fit
        Its model's mask allows the interactions that are left. ``provenance["refinement"]`` has
        the estimated ``noise``, the share of responses ``followed``, and the interactions left and
        the noise after each round.

    Raises
    ------
    ModelError
        An option is out of range, the model ties parameters together, or the network is too large.
    DivergenceError
        The trajectory is not finite at the start.

    Examples
    --------
    >>> rough = pcb.fit(train, JI_MODEL, loss="mae")  # doctest: +SKIP
    >>> pcb.refine(rough)  # doctest: +SKIP
    """
    began = time.perf_counter()
    _check(fit, tolerance, ridge, rounds, iterations)
    chosen = get_backend(backend or fit.backend)
    solver = fit.solver if solver is None else check_solver(solver)
    data = fit.data
    train = data.isel(condition=np.flatnonzero(data["role"].values == "train"))
    problem = Problem.from_dataset(train, fit.model, fit.horizon)
    sensitivity = Sensitivity(problem, chosen, solver)
    start = parameter_arrays(problem.structure, fit.parameters, np.float64)
    state = _State(sensitivity, problem.structure.mask, ridge, iterations)
    state.theta = sensitivity.pack(start, state.support)
    state.go(eliminate, tolerance, rounds)

    model = fit.model
    if eliminate:
        nodes = list(problem.structure.nodes)
        mask = xr.DataArray(
            state.support, {"target": nodes, "source": nodes}, ("target", "source"), name="mask"
        )
        model = dataclasses.replace(model, mask=mask)
    parameters = sensitivity.unpack(state.theta, state.support)
    return Fit.assemble(
        model=model,
        solver=solver,
        parameters=parameter_dataset(problem.structure, parameters),
        history=_history(fit, state.losses, float(problem.times[-1])),
        data=data,
        horizon=fit.horizon,
        provenance={
            **fit.provenance,
            "backend": chosen.name,
            "dtype": "float64",
            "seconds": round(fit.provenance["seconds"] + time.perf_counter() - began, 3),
            "versions": versions(chosen),
            "refinement": {
                "eliminate": eliminate,
                "tolerance": tolerance,
                "ridge": ridge,
                "solver": solver_to_dict(solver),
                "noise": state.noise,
                "followed": state.followed,
                "edges": state.edges,
                "noises": state.noises,
                "seconds": round(time.perf_counter() - began, 3),
            },
        },
    )


@dataclass
class _State:
    """Where the rounds stand."""

    sensitivity: Sensitivity
    support: Array
    ridge: float
    iterations: int

    def __post_init__(self) -> None:
        self.theta = np.zeros(0)
        self.noise = math.inf
        self.followed = 0.0
        self.losses: list[float] = []
        self.edges: list[int] = []
        self.noises: list[float] = []

    def go(self, eliminate: bool, tolerance: float, rounds: int) -> None:
        """Minimise and leave out until nothing changes."""
        problem = self.sensitivity.problem
        counted = self._keep(4 * tolerance)
        for _ in range(rounds):
            before = self.support
            normal = self._minimise(np.where(counted, problem.weight, 0.0))
            if eliminate:
                self._leave_out(normal, counted, max(tolerance, _FAR * self.noise))
            self.edges.append(int(self.support.sum()))
            limit = max(tolerance, _FAR * self.noise)
            follow = self._keep(limit)
            if eliminate and not follow.all() and self.support.sum() == before.sum():
                follow = self._leave_out_one_more(normal, follow, limit)
            unchanged = self.support.sum() == before.sum() and (follow == counted).all()
            counted = follow
            if unchanged or self.iterations <= 0:
                break
        self.followed = float(counted[problem.weight > 0].mean())

    def _keep(self, limit: float) -> Array:
        """Responses that count, bool (c, t, n): each condition until it goes astray."""
        return self._kept(self.theta, self.support, limit)

    def _kept(self, theta: Array, support: Array, limit: float) -> Array:
        s = self.sensitivity
        x = s.states(s.unpack(theta, support))
        off = (np.abs(x - s.problem.response) * s.problem.weight).max(axis=2)
        near = np.logical_and.accumulate(off <= limit, axis=1)
        return np.broadcast_to(near[:, :, None], x.shape)

    def _minimise(self, weight: Array) -> Array:
        found = minimise(
            self.sensitivity, self.theta, self.support, weight, self.ridge, self.iterations
        )
        self.iterations -= len(found.losses) - 1
        self.theta = found.theta
        self.losses += found.losses
        freedom = int(np.count_nonzero(weight)) - self.theta.size
        self.noise = math.sqrt(found.squares / max(freedom, 1))
        self.noises.append(self.noise)
        return found.normal

    def _leave_out(self, normal: Array, counted: Array, limit: float) -> None:
        """Leave out what is not needed, fewer at a time where the quadratic model is too bold."""
        threshold = self._threshold(counted)
        n_weights = int(self.support.sum())
        followed = self._keep(limit).sum()
        most = n_weights
        while most:
            variance = max(self.noise, 1e-12) ** 2
            theta, alive = eliminate_weights(
                self.theta, normal, n_weights, variance, threshold, most
            )
            support = self._without(alive)
            if self._kept(theta[alive], support, limit).sum() >= followed:
                self.theta, self.support = theta[alive], support
                return
            most = min(most, int(np.count_nonzero(~alive))) // 2

    def _threshold(self, counted: Array) -> float:
        """Price in variances of the noise below which an interaction is left out."""
        problem = self.sensitivity.problem
        count = int(np.count_nonzero(problem.weight * counted))
        candidates = int(np.count_nonzero(problem.structure.mask))
        return math.log(max(count, 2)) + math.log(max(candidates, 1))

    def _without(self, alive: Array) -> Array:
        support: Array = self.support.copy()
        support[support] = alive[: int(self.support.sum())]
        return support

    def _leave_out_one_more(self, normal: Array, follow: Array, limit: float) -> Array:
        """Leave out the one interaction without which most more is followed, if there is one.

        What remains astray may do so by a single weight that is not quite zero, and by chance a
        little dearer than the threshold.
        """
        n_weights = int(self.support.sum())
        best, chosen = int(follow.sum()), None
        C = np.linalg.inv(normal)
        price = self.theta[:n_weights] ** 2 / np.diag(C)[:n_weights] / max(self.noise, 1e-12) ** 2
        for q in np.flatnonzero(price < _DEAR * self._threshold(follow)):
            theta = self.theta - C[:, q] * (self.theta[q] / C[q, q])
            alive = np.arange(theta.size) != q
            support = self._without(alive)
            kept = self._kept(theta[alive], support, limit)
            if kept.sum() > best:
                best, chosen, follow = int(kept.sum()), (theta[alive], support), kept
        if chosen is not None:
            self.theta, self.support = chosen
        return follow


def _check(fit: object, tolerance: float, ridge: float, rounds: int, iterations: int) -> None:
    if not isinstance(fit, Fit):
        raise ModelError(f"fit is a {type(fit).__name__}; it needs what pcb.fit returns.")
    for name, value in (("tolerance", tolerance), ("ridge", ridge)):
        number(name, value, above=True)
    for name, count in (("rounds", rounds), ("iterations", iterations)):
        integer(name, count)


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
