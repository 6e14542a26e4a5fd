"""What a posterior is made of."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import xarray as xr

from pycellbox.backends import BACKEND, BackendName, get_backend
from pycellbox.errors import ModelError, OptionError
from pycellbox.fitting.beginning import problem_of
from pycellbox.posterior.density import ITERATIONS, Posterior
from pycellbox.posterior.noise import Noise
from pycellbox.problem import Array
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.schedule import LM, Stage

MOST = 500
"""Parameters: with more, each step of Levenberg and Marquardt's method takes seconds."""
_TURNS, _SAME_NOISE = 20, 0.01  # of estimating the noise, until its logarithm stays


@dataclass(frozen=True)
class Setting:
    """What a posterior is made of; it can be pickled.

    Attributes
    ----------
    recipe : Recipe
        Resolved, in float64, with one stage of LM.
    data : Dataset
        With the coordinate ``role`` and a sigma.
    parameters : Dataset
        Effective ones: where to begin.
    backend : str
    """

    recipe: Recipe
    data: xr.Dataset
    parameters: xr.Dataset
    backend: BackendName

    def posterior(self) -> Posterior:
        """Make one; each task has its own, for threads must not share what solves."""
        return Posterior(self)

    @classmethod
    def of(cls, fit: Fit, backend: BackendName, what: str) -> Setting:
        """Return that of a fit, its residuals in units of the sigma of its data, or in their own.

        Raises
        ------
        ModelError, OptionError
            What the fit has minimized is no such likelihood, or it has too many parameters.
        """
        if fit.estimated:
            raise ModelError(
                f"{what}: the nodes of this fit were estimated, each with strengths of its own; "
                "predict(..., interval=0.9) says how sure it is. Train a network, with "
                "schedule=pcb.Stage(50, optimizer=pcb.LM()), for this."
            )
        data, recipe = fit._group("data"), fit.recipe
        given = "sigma" in data
        penalty = fit._predictor.penalty
        if recipe.measure.name == "mae" or (recipe.measure.name == "huber" and not given):
            raise OptionError(
                f"{what}: loss={recipe.measure.name!r} has no likelihood here; fit with "
                "loss='mse', or with 'huber' and a sigma in the data."
            )
        stage = Stage(ITERATIONS, optimizer=LM(), horizon=fit.horizon)
        recipe = recipe.replace(schedule=stage, penalty=penalty, dtype="float64", starts=1)
        if not given:
            data = data.assign(sigma=xr.ones_like(data["response"]))
        chosen = BACKEND.read(get_backend(backend, fit.backend, fit.model).name)
        setting = cls(recipe, data, fit._group("parameters"), chosen)
        if "level" in setting.parameters:
            raise ModelError(
                f"{what}: levels that were fitted have no Jacobian; give them, as held or "
                "initial_state without held_fitted and initial_fitted, and fit again."
            )
        problem = problem_of(recipe, data)  # which refuses penalties that are no squares
        if (count := problem.structure.layout.free.size) > MOST:
            raise OptionError(
                f"{what}: the fit has {count} parameters, and this is for {MOST} at most: fix "
                "some, or leave edges out with a mask, pcb.prune or pcb.refine."
            )
        return setting

    def with_noise(self, noise: Noise) -> Setting:
        """Return the same with an estimated noise as the sigma of the data."""
        if noise.sd is None:
            return self
        sigma = noise.sd * xr.ones_like(self.data["response"])
        sigma = sigma.transpose(*self.data["response"].dims)
        penalty = self.recipe.penalty
        assert penalty is not None
        l2 = {name: size / noise.variance for name, size in penalty.strengths("l2").items()}
        recipe = self.recipe.replace(penalty=dataclasses.replace(penalty, l1=0.0, l2=l2))
        return dataclasses.replace(self, recipe=recipe, data=self.data.assign(sigma=sigma))


def with_own_noise(setting: Setting) -> tuple[Setting, Noise, float]:
    """Bring a setting whose sigma is none to its optimum, with a noise that is estimated there.

    Noise and optimum in turn, until they belong together.

    Returns
    -------
    setting : Setting
        At the optimum, with the noise as its sigma.
    noise : Noise
    gain : float
        By how much the fit's own optimum is better than the fit, of −2 log density.

    Raises
    ------
    DataError
        There are too few measurements, or residuals are nothing.
    """
    posterior, found, gain = setting.posterior(), setting, 0.0
    before: Array | None = None
    for turn in range(_TURNS):
        center = posterior.lowest(posterior.begin)
        noise = posterior.noise(center.raw)
        assert noise.sd is not None
        if not turn:
            gain = (posterior.value(posterior.begin) - center.value) / noise.variance
        found = dataclasses.replace(
            setting.with_noise(noise), parameters=posterior.labelled(center.raw)
        )
        posterior, now = found.posterior(), np.log(noise.sd.values)
        if before is not None and np.abs(now - before).max() < _SAME_NOISE:
            break
        before = now
    return found, noise, gain
