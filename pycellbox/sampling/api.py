"""`sample`: chains of pSGLD from the posterior of a fit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from pycellbox import many
from pycellbox.backends import BackendName
from pycellbox.common.labels import counted
from pycellbox.errors import DataWarning, NumericsWarning, PycellboxError, warn
from pycellbox.posterior import Noise, Setting, with_own_noise
from pycellbox.problem import Array
from pycellbox.result import Fit
from pycellbox.sampling.density import Density
from pycellbox.sampling.langevin import Langevin
from pycellbox.sampling.result import Samples

_SPREAD = 1.5  # of where chains begin, in standard deviations
_TRIES = 20


@dataclass(frozen=True)
class _Task:
    setting: Setting
    langevin: Langevin
    batch_size: int | None
    seed: int
    chains: int
    center: Array


@dataclass(frozen=True)
class _Chain:
    raws: Array
    logs: Array
    refused: int


def _chain(task: _Task, number: int) -> _Chain:
    density = Density(task.setting.posterior(), task.center)
    train = density.posterior.train
    rng = np.random.default_rng(np.random.SeedSequence(task.seed).spawn(task.chains)[number])
    start, size = np.zeros(density.size), task.batch_size
    for halving in range(_TRIES):
        trial = _SPREAD * 0.5**halving * rng.normal(size=density.size)
        if density.gradient(trial) is not None:
            start = trial
            break

    def gradient(x: Array) -> Array | None:
        if size is None or size >= train.size:
            return density.gradient(x)
        return density.gradient(x, np.sort(rng.choice(train, size, replace=False)))

    draws, _, refused = task.langevin.walk(gradient, start, rng)
    logs = np.array([density.log(x) for x in draws])
    return _Chain(np.array([density.raw(x) for x in draws]), logs, refused)


def sample(
    fit: Fit,
    langevin: Langevin,
    chains: int,
    batch_size: int | None,
    seed: int,
    engine: many.Engine | None,
    backend: BackendName,
) -> Samples:
    """Draw parameters from the posterior of a fit; see `pycellbox.Fit.sample`."""
    setting, noise = Setting.of(fit, backend, "sample"), Noise()
    if "sigma" not in fit._group("data"):
        setting, noise, _ = with_own_noise(setting)
    density = Density(setting.posterior())
    task = _Task(setting, langevin, batch_size, seed, chains, density.center)
    posterior = density.posterior
    if density.open:
        warn(
            f"the data and priors leave open: {', '.join(density.open)}; draws of these wander as "
            "far as chains are long. Say what is known of them, pcb.Parameter(prior=...), or fix "
            "some; fit.identifiability() has the directions.",
            DataWarning,
        )
    found: dict[int, _Chain] = {}
    lost = []
    for one in many.outcomes(_chain, task, chains, engine):
        if one.value is None:
            lost.append(one.failure)
        else:
            found[one.number] = one.value
    if not found:
        raise PycellboxError(f"no chain came to its end: {lost[0]}")
    if lost:
        warn(f"{counted(len(lost), 'chain')} of {chains} did not end: {lost[0]}", NumericsWarning)
    numbers = sorted(found)
    template = posterior.labelled(posterior.begin)
    each = [[posterior.effective(raw) for raw in found[k].raws] for k in numbers]
    own = [p.name for p in posterior.layout.parameters if p.fixed is None or not p.fixed.all()]
    joined = {
        name: (
            ("chain", "draw", *template[name].dims),
            np.array([[one[name] for one in chain] for chain in each]),
        )
        for name in own
    }
    dims = {dim for name in own for dim in template[name].dims}
    coords = {dim: template[dim].values for dim in dims}
    table = xr.Dataset(joined, {**coords, "chain": numbers, "draw": np.arange(langevin.draws)})
    table["log_density"] = (("chain", "draw"), np.array([found[k].logs for k in numbers]))
    table["refused"] = ("chain", np.array([found[k].refused for k in numbers]))
    return Samples(fit, table, _noise_of(fit, noise), noise.by)


def _noise_of(fit: Fit, noise: Noise) -> xr.DataArray:
    """Return the standard deviation of a measurement by node; 0 where none was measured."""
    response = fit.data["response"]
    others = [dim for dim in response.dims if dim != "node"]
    if noise.sd is not None:
        return noise.sd.where(response.notnull().any(others).drop_vars("node_kind"), 0.0)
    sigma = fit.data["sigma"].where(response.notnull())
    found: xr.DataArray = ((sigma**2).mean(others) ** 0.5).fillna(0.0)
    return found.drop_vars([name for name in found.coords if name != "node"])
