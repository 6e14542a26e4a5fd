"""`environment`: conditions that change by chance, for equations to follow."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.options import (
    SEED,
    Value,
    checked,
    choice,
    flag,
    integer,
    listed,
    number,
    optional,
    shown,
    text,
)
from pycellbox.data import validate
from pycellbox.data.units import NO_UNIT
from pycellbox.errors import OptionError
from pycellbox.simulation.processes import PROCESSES, Process

Array = npt.NDArray[np.float64]
Kind = Literal["walk", "ou", "periodic", "light"]

_MOST = 100_000  # conditions, and times


def _read_times(given: object) -> Array:
    times = np.array(listed(number(0), least=2, most=_MOST).read(given))
    if times[0] != 0 or (np.diff(times) <= 0).any():
        raise ValueError("they do not begin at 0" if times[0] else "they do not increase")
    return times


def _read_transform(given: object) -> Callable[[Array], Any] | None:
    if given is not None and not callable(given):
        raise ValueError
    return given  # type: ignore[return-value]


_ABOVE = number(0, above=True)


@checked(
    kind=choice(*PROCESSES),
    conditions=integer(1, _MOST),
    times=Value(_read_times, "a list of at least two times, from 0 on and increasing"),
    target=text("the name of a node"),
    units=text("a unit of time, such as 'h'"),
    input=optional(text("the name under which equations have it in inputs=, or None")),
    noise=number(0),
    delay=number(0),
    transform=Value(_read_transform, "a function of an array, such as numpy.tanh"),
    skip=number(0),
    tolerance=optional(_ABOVE),
    seed=SEED,
    mean=optional(number()),
    sd=optional(_ABOVE),
    correlation_time=optional(_ABOVE),
    low=optional(number()),
    high=optional(number()),
    period=optional(_ABOVE),
    period_jitter=optional(number(0)),
    phase_jitter=optional(number(0)),
    random_phase=optional(flag()),
    day=optional(_ABOVE),
    day_jitter=optional(number(0)),
    present=optional(_ABOVE),
    absent=optional(_ABOVE),
    follow=optional(choice("cycle", "light")),
)
def environment(
    kind: Kind,
    conditions: int = 16,
    *,
    times: Sequence[float],
    target: str,
    units: str = NO_UNIT,
    input: str | None = "signal",
    noise: float = 0.0,
    delay: float = 0.0,
    transform: Callable[[Array], Any] | None = None,
    skip: float = 0.0,
    tolerance: float | None = None,
    seed: int = 0,
    mean: float | None = None,
    sd: float | None = None,
    correlation_time: float | None = None,
    low: float | None = None,
    high: float | None = None,
    period: float | None = None,
    period_jitter: float | None = None,
    phase_jitter: float | None = None,
    random_phase: bool | None = None,
    day: float | None = None,
    day_jitter: float | None = None,
    present: float | None = None,
    absent: float | None = None,
    follow: Literal["cycle", "light"] | None = None,
) -> xr.Dataset:
    """Draw environments that change by chance, as data for equations that are to follow them.

    What changes is the driving signal of every condition, which equations have as an input, and a
    node is wanted to be what it is, or was some time before, or some function of that: this is the
    response of the dataset. `pycellbox.fit` then optimizes how well the node follows, and
    ``fit.evaluate`` of environments of another ``seed`` says how well it follows those.

    Parameters
    ----------
    kind : {"walk", "ou", "periodic", "light"}
        A random walk (Brownian motion); an Ornstein–Uhlenbeck process, which returns to its mean; a
        sine whose periods or phases vary; light that is on by day and off by night. Which of the
        options below it takes is said there.
    conditions : int
        How many are drawn, each independent of the others. The first ones of a seed are the same
        however many there are.
    times : sequence of float, (t,)
        From 0 on, increasing: times at which the signal is drawn and the node is measured.
    target : str
        The node, a state or an observable of the equations, that is to follow.
    units : str
        Unit of all times.
    input : str or None
        Name of the driving signal. None for no signal: a rhythm that is to come from within.
    noise : float
        Standard deviation of what is added to the driving signal at each of the times, and not to
        what is to be followed, in units of the signal: normal, independent from time to time.
    delay : float
        Time by which the node is to be behind the signal.
    transform : callable, optional
        What the node is to be, as a function of the signal: of an array, entry by entry.
    skip : float
        Time from which on the node is measured; before it, whatever it does is right.
    tolerance : float, optional
        Distance from what is to be followed that counts as one standard deviation, ``sigma`` of the
        dataset: against it the priors of parameters are weighed, where they have some.
    seed : int
        Of the generator.
    mean : float
        "walk": where it begins, at 0 or by the delay before; "ou": its mean. Default 0.
    sd : float
        "ou": standard deviation; "walk": that of the change in one unit of time. Default 1.
    correlation_time : float
        "ou", needed: time in which the autocorrelation falls to 1/e.
    low, high : float
        "periodic", "light": smallest and largest value of the signal. Default 0 and 1.
    period : float
        "periodic", "light", needed: mean length of a cycle.
    period_jitter : float
        "periodic", "light": standard deviation of the lengths of cycles, which are gamma
        distributed and independent, so that phases drift. At most half the period; default 0.
    phase_jitter : float
        "periodic", "light": standard deviation of the time by which each cycle begins early or
        late, without effect on later ones; normal. At most half the period; default 0.
    random_phase : bool
        "periodic", "light": whether time 0 is any time of a cycle. Default True; else a cycle
        begins there, the light goes on or the sine rises from its middle.
    day : float
        "light": time for which it is on in a cycle. Default half the period.
    day_jitter : float
        "light": standard deviation of the length of days; normal, but never below 0 or beyond the
        cycle. Default 0.
    present, absent : float
        "light": mean lengths of spells in which there is light by day, and none at all;
        exponentially distributed. Both or none; by default it is always there.
    follow : {"cycle", "light"}
        "light": whether the node is to follow the cycle, as a sine that is highest in the middle of
        the mean day, or the light itself. Neither is interrupted where the light is absent.

    Returns
    -------
    Dataset
        ``drive`` (condition, drive_time, input), linear between times, and of the light in steps:
        the part of the time until the next for which it is on; ``response`` (condition, time,
        node) of the one node, at the times from ``skip`` on; a ``perturbation`` that is 0. The
        attribute ``environment`` has the options.

    Raises
    ------
    OptionError
        An option cannot be, is lacking, or is none of this kind.

    Notes
    -----
    The random walk and the Ornstein–Uhlenbeck process have their exact distribution at the times,
    the latter is stationary from the first on, and so are cycles with random phases. Tracking an
    environment as a goal of optimization, and rhythms that an erratic light entrains, are those of
    Frank, arXiv:2207.04487 (2022) and Biology 11:1294 (2022), doi:10.3390/biology11091294.

    Examples
    --------
    >>> import pycellbox as pcb
    >>> options = dict(times=range(101), target="x", correlation_time=10, noise=0.5)
    >>> training = pcb.environment("ou", 32, seed=1, **options)
    >>> unseen = pcb.environment("ou", 100, seed=2, **options)
    >>> dict(training.sizes)
    {'condition': 32, 'drive_time': 101, 'input': 1, 'time': 101, 'node': 1}
    """
    own: dict[str, Any] = {
        "mean": mean, "sd": sd, "correlation_time": correlation_time, "low": low, "high": high,
        "period": period, "period_jitter": period_jitter, "phase_jitter": phase_jitter,
        "random_phase": random_phase, "day": day, "day_jitter": day_jitter, "present": present,
        "absent": absent, "follow": follow,
    }  # fmt: skip
    given = {name: value for name, value in own.items() if value is not None}
    signal = _signal(kind, given)
    grid = np.asarray(times)
    if skip > grid[-1]:
        raise OptionError(
            f"environment: skip={skip:g} is after the last of the times, {grid[-1]:g}: nothing "
            "would be measured."
        )
    if delay > grid[-1]:
        raise OptionError(f"environment: delay={delay:g} is longer than all times, {grid[-1]:g}.")
    longest = float(np.diff(grid).max())
    for name in ("period", "present", "absent"):
        if given.get(name, longest) < longest:
            raise OptionError(
                f"environment: {name}={given[name]:g} is shorter than the longest step of the "
                f"times, {longest:g}, which would not show it; give more times."
            )
    if input == target:
        raise OptionError(f"environment: input and target are both {input!r}; rename one.")
    driven, wanted = _drawn(signal, conditions, grid, grid - delay, noise, seed)
    told = {"kind": kind, **given, "noise": noise, "delay": delay, "skip": skip, "seed": seed}
    coords: dict[str, Any] = {
        "condition": [f"{kind} {seed}.{i + 1}" for i in range(conditions)],
        "node": [target],
        "node_kind": ("node", ["protein"]),
        "time": ("time", grid[grid >= skip], {"units": units}),
    }
    response = _transformed(transform, wanted[:, grid >= skip])
    variables: dict[str, Any] = {
        "perturbation": (("condition", "node"), np.zeros((conditions, 1))),
        "response": (("condition", "time", "node"), response[:, :, None]),
    }
    if tolerance is not None:
        dims, shape = variables["response"][0], (conditions, response.shape[1], 1)
        variables["sigma"] = (dims, np.full(shape, tolerance))
    if input is not None:
        attrs = {"interpolation": signal.interpolation}
        variables["drive"] = (("condition", "drive_time", "input"), driven[:, :, None], attrs)
        coords |= {"drive_time": ("drive_time", grid, {"units": units}), "input": [input]}
    about = {"source": "drawn by pycellbox", "transform": "what is to be followed"}
    return validate(xr.Dataset(variables, coords, {**about, "environment": json.dumps(told)}))


def _signal(kind: str, given: dict[str, Any]) -> Process:
    """Make the kind of signal, and refuse what it has no use for."""
    made = PROCESSES[kind]
    known = made.options()
    for name, value in given.items():
        if name not in known:
            raise OptionError(
                f"environment: {name}={shown(value)} is no option of {kind!r}, which has "
                f"{', '.join(known)}."
            )
    lacking = [name for name, needed in known.items() if needed and name not in given]
    if lacking:
        raise OptionError(f"environment: {kind!r} needs {lacking[0]}=, a time > 0.")
    return made(**given)


def _drawn(
    signal: Process, conditions: int, grid: Array, asked: Array, noise: float, seed: int
) -> tuple[Array, Array]:
    """Draw what drives each condition at the times of the grid, and what it follows when asked."""
    driven, wanted = np.empty((conditions, grid.size)), np.empty((conditions, asked.size))
    for i, sequence in enumerate(np.random.SeedSequence(seed).spawn(conditions)):
        of_signal, of_noise = map(np.random.default_rng, sequence.spawn(2))
        driven[i], wanted[i] = signal.draw(of_signal, grid, asked)
        driven[i] += noise * of_noise.standard_normal(grid.size)
    return driven, wanted


def _transformed(transform: Callable[[Array], Any] | None, wanted: Array) -> Array:
    if transform is None:
        return wanted
    found = np.asarray(transform(wanted.copy()))
    if found.dtype.kind not in "iuf" or found.shape != wanted.shape or not np.isfinite(found).all():
        raise OptionError(
            f"environment: transform gives {shown(found)} of an array of the shape {wanted.shape}; "
            "it needs to give a finite number for each entry."
        )
    return found.astype(np.float64)
