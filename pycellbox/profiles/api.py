"""`profile`: profile likelihoods of chosen parameters of a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pycellbox import many
from pycellbox.backends import BackendName
from pycellbox.errors import NumericsWarning, PycellboxError, warn
from pycellbox.posterior import Lowest, Noise, Setting, named, with_own_noise
from pycellbox.profiles.path import BETTER, Curve, curve
from pycellbox.profiles.result import Profile, labelled
from pycellbox.result import Fit


@dataclass(frozen=True)
class _Task:
    setting: Setting
    names: tuple[str, ...]
    center: Lowest
    threshold: float


def _one(task: _Task, number: int) -> Curve:
    return curve(task.setting, task.names[number], task.center, task.threshold)


def profile(
    fit: Fit,
    names: Sequence[str] | None,
    level: float,
    engine: many.Engine | None,
    backend: BackendName,
) -> Profile:
    """Profile parameters of a fit; see `pycellbox.Fit.profile`."""
    setting = Setting.of(fit, backend, "profile")
    posterior = setting.posterior()
    chosen = tuple(named(posterior, None if names is None else tuple(names), "profile"))
    for name in chosen:
        posterior.entry(name)  # which refuses those that follow from others
    noise, gain = Noise(), None
    if "sigma" not in fit._group("data"):
        setting, noise, gain = with_own_noise(setting)
        posterior = setting.posterior()
    center = posterior.lowest(posterior.begin)
    if gain is None:
        gain = posterior.value(posterior.begin) - center.value
    from scipy.stats import chi2, f

    threshold = float(chi2.ppf(level, 1))
    if math.isfinite(noise.freedom):
        threshold = float(f.ppf(level, 1, noise.freedom))
    task = _Task(setting, chosen, center, threshold)
    found: dict[str, Curve] = {}
    lost: dict[str, str] = {}
    for one in many.outcomes(_one, task, len(chosen), engine):
        if one.value is None:
            lost[chosen[one.number]] = one.failure
        else:
            found[chosen[one.number]] = one.value
    if not found:
        raise PycellboxError(f"no profile could be made: {next(iter(lost.values()))}")
    if lost:
        each = "; ".join(f"{name}: {why}" for name, why in lost.items())
        warn(f"profiles that could not be made: {each}", NumericsWarning)
    curves = {name: found[name] for name in chosen if name in found}
    _doubt(curves, gain)
    return labelled(posterior, curves, level, threshold, noise, gain)


def _doubt(curves: dict[str, Curve], gain: float) -> None:
    """Say where the fit was no optimum.

    Warns
    -----
    NumericsWarning
    """
    again = "fit again from it, initial=profile.best, with pcb.Stage(50, optimizer=pcb.LM())"
    better = {name: one.gain for name, one in curves.items() if one.gain > BETTER}
    if better:
        name = max(better, key=lambda name: better[name])
        warn(
            f"on the way along {', '.join(better)} optima were found that are better than the "
            f"fit, by {better[name]:.3g} of twice the log likelihood ({name}); these curves are "
            f"around them: {again}, or from several starts.",
            NumericsWarning,
        )
    elif gain > BETTER:
        warn(
            f"the fit was not at its optimum, which is better by {gain:.3g} of twice the log "
            f"likelihood; the curves are around that: {again}.",
            NumericsWarning,
        )
