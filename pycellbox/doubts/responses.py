"""Responses that are probably no log-ratios to the unperturbed control, and what else is odd."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from pycellbox.common.labels import counted, listed
from pycellbox.data.phases import phases_of
from pycellbox.data.replicates import twins_of
from pycellbox.errors import DataWarning, warn

Floats = npt.NDArray[np.float64]

# Log-ratios of measurements stay below 10 (log2 of a thousandfold change); 20 is a millionfold.
_LARGE, _IMPOSSIBLE = 10.0, 20.0
# What is at rest is not measured at 0: off by this much, and by half of what responses are.
_OFF = 0.3


class Readouts:
    """Measured responses of all nodes but drugs.

    Attributes
    ----------
    conditions, nodes : ndarray of str, (c,) and (n,)
    times : ndarray, (t,) or None
    resting : ndarray of bool, (c,)
        Whether the model stays at 0 in a condition: where nothing is perturbed and nothing held.
    twins : ndarray of int, (c,)
        A number for each condition, one for replicates.
    at_zero : ndarray of bool, (c, n)
        Whether the model is at 0 at time 0: not what is pre-treated, held or has its own start.
    y : ndarray, (c, t, n)
        NaN where not measured; steady states have t = 1.
    sigma : ndarray, (c, t, n), or None
    """

    def __init__(self, data: xr.Dataset, resting: bool) -> None:
        readout = data["node_kind"].values != "drug"
        self.conditions = data["condition"].values
        self.nodes = data["node"].values[readout]
        self.times = data["time"].values if "time" in data["response"].dims else None
        self.twins = twins_of(data)
        phases = phases_of(data)
        moved = _moved(data)
        self.resting = resting & ~phases.perturbed.any(axis=1) & ~moved.any(axis=1)
        earlier = np.where(phases.pretreated, phases.inputs[:, 0].any(axis=1), phases.begin < 0)
        begun = earlier | (moved.any(axis=1) & (phases.pretreated | (phases.begin < 0)))
        self.at_zero = ~(begun[:, None] | moved)[:, readout]
        y = data["response"].values
        shape = (len(y), -1, self.nodes.size)
        self.y: Floats = y[..., readout].reshape(shape)
        self.sigma = data["sigma"].values[..., readout].reshape(shape) if "sigma" in data else None
        if self.sigma is not None:
            self.sigma = np.where(np.isnan(self.y), np.nan, self.sigma)

    def cell(self, where: npt.NDArray[np.bool_]) -> str:
        """Name the largest response among some."""
        size = np.where(where, np.abs(self.y), 0)
        c, t, n = np.unravel_index(int(size.argmax()), size.shape)
        at = "" if self.times is None else f" at time {self.times[t]:g}"
        return (
            f"{self.y[c, t, n]:g} for node {str(self.nodes[n])!r} in condition "
            f"{str(self.conditions[c])!r}{at}"
        )


def _moved(data: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Which nodes a condition does not leave at 0 where it starts, (c, all nodes)."""
    moved = np.zeros(data["response"].isel(time=0, missing_dims="ignore").shape, dtype=bool)
    for name in ("held", "initial_state"):
        if name in data:
            moved |= np.nan_to_num(data[name].values) != 0
    for name in ("held_fitted", "initial_fitted"):
        if name in data:
            moved |= data[name].values
    return moved


def doubt_copy(data: xr.Dataset) -> bool:
    """Warn if the response table is the perturbation table."""
    u, y = phases_of(data).inputs, data["response"].values
    y = y.reshape(len(u), -1, u.shape[-1])
    of_phases = np.moveaxis(u, 1, 0)[:, :, None]  # (phase, condition, time, node)
    same = any(bool(one.any() and ((y == one) | np.isnan(y)).all()) for one in of_phases)
    if same:
        warn(
            "the responses are the perturbations, cell for cell; was one table given twice? The "
            "response table holds what was measured.",
            DataWarning,
        )
    return same


def doubt_scale(r: Readouts) -> bool:
    """Warn of responses of a size or sign that log-ratios do not have."""
    size = np.abs(r.y)
    if (size > _LARGE).any():
        limit = min(_IMPOSSIBLE, max(_LARGE, 10 * float(np.nanquantile(size, 0.9))))
        far = size > limit
        if not far.any():
            return False
        columns = np.count_nonzero(far, axis=(0, 1)) > np.count_nonzero(~np.isnan(size), (0, 1)) / 2
        if columns.any():
            warn(
                f"responses of {counted(int(columns.sum()), 'node')} are too large for log-ratios: "
                f"{listed(r.nodes[columns])} (up to {r.cell(far)}); intensities, percentages and "
                "counts need np.log(value / control), with the unperturbed control's value.",
                DataWarning,
            )
        else:
            count = int(np.count_nonzero(far))
            warn(
                f"{counted(count, 'response')} far beyond all others: {r.cell(far)}; leave the "
                "cell empty if it stands for a missing value or is an outlier, and check its "
                "decimal point: squared, it outweighs everything else.",
                DataWarning,
            )
        return True
    measured = r.y[~np.isnan(r.y)]
    # Of what nothing changes a log-ratio is as often below 0 as above.
    if measured.size < 20 or (measured < 0).any() or np.mean(measured < 0.2) > 0.25:
        return False
    ratios = np.count_nonzero((measured > 0.8) & (measured < 1.25)) > measured.size / 3
    if ratios or np.median(measured) > _LARGE / 2:
        guess = "ratios to the control" if ratios else "logarithms of intensities"
        remedy = "np.log(response)" if ratios else "response - response of the control"
        warn(
            f"none of {measured.size} responses is negative, and their median is "
            f"{np.median(measured):.3g}, as of {guess}; a log-ratio to the unperturbed control is "
            f"0 where nothing changes: give {remedy}.",
            DataWarning,
        )
        return True
    return False


def doubt_rest(r: Readouts) -> None:
    """Warn of responses that are not 0 where the model is at rest."""
    off = r.resting & _off_zero(r.y, r.sigma, r.y[~r.resting])
    if off.any():
        warn(
            f"{counted(int(off.sum()), 'unperturbed condition')} with responses that are not near "
            f"0: {listed(r.conditions[off])} ({_size(r.y[off])}), where the model stays at 0. "
            "Responses are log-ratios to the unperturbed control: np.log(value / control), not "
            "the ratio; what drifts without a perturbation is subtracted first.",
            DataWarning,
        )
        return
    if r.times is None or r.times[0] != 0:
        return
    start = np.where(r.at_zero, r.y[:, 0], np.nan)
    off = _off_zero(start, None if r.sigma is None else r.sigma[:, 0], r.y[:, 1:])
    if not off.any():
        return
    count = np.maximum((~np.isnan(start)).sum(axis=0), 1)
    spread = _rms(start - np.nansum(start, axis=0) / count)
    where = f"{listed(r.conditions[off])} ({_size(start[off])})"
    if off.all() and spread < _rms(start) / 2:
        warn(
            f"responses at time 0 are not near 0: conditions {where}, where the model starts from "
            "0. Give the change since time 0 as a log-ratio: np.log(value / value at time 0), or "
            "subtract the response at time 0 from every course.",
            DataWarning,
        )
    else:
        warn(
            f"responses at time 0 differ between conditions: {where} are not near 0, where the "
            "model starts every condition. If something was given before time 0, say so, "
            "with a phase that starts earlier (pcb.pretreat); else give the states as they were "
            "measured as initial_state, or each condition's change since time 0.",
            DataWarning,
        )


def _off_zero(y: Floats, sigma: Floats | None, elsewhere: Floats) -> npt.NDArray[np.bool_]:
    """Which conditions are not near 0 in responses, beside what is measured elsewhere."""
    y = y.reshape(len(y), -1)
    count = (~np.isnan(y)).sum(axis=1)
    some = np.maximum(count, 1)
    mean = np.nansum(y, axis=1) / some
    square = np.nansum(y**2, axis=1) / some
    error = np.sqrt(np.maximum(square - mean**2, 0) / some)
    large = np.sqrt(square) > max(_OFF, _rms(elsewhere) / 2)
    shifted = (np.abs(mean) > _OFF) & (np.abs(mean) > 5 * error)
    off: npt.NDArray[np.bool_] = (count > 0) & (large | shifted)
    if sigma is not None:
        variance = np.where(np.isnan(y), 0, sigma.reshape(y.shape) ** 2)
        off &= square > 9 * np.nansum(variance, axis=1) / some
    return off


def _rms(values: Floats) -> float:
    count = np.count_nonzero(~np.isnan(values))
    return float(np.sqrt(np.nansum(values**2) / count)) if count else 0.0


def _size(values: Floats) -> str:
    return f"{_rms(values):.2g} as root mean square"


def doubt_constants(r: Readouts) -> None:
    """Warn of nodes that never change."""
    missing = np.isnan(r.y)
    high = np.where(missing, -np.inf, r.y).max(axis=(0, 1))
    low = np.where(missing, np.inf, r.y).min(axis=(0, 1))
    enough = (~missing).any(axis=1).sum(axis=0) >= 3
    constant = enough & (high == low)
    if constant.any():
        warn(
            f"{counted(int(constant.sum()), 'node')} with one and the same response in every "
            f"condition: {listed(r.nodes[constant])} ({high[constant][0]:g}); nothing can be "
            "learned of them: leave them out, and leave cells empty where nothing was measured.",
            DataWarning,
        )


def doubt_replicates(r: Readouts) -> None:
    """Warn if the same perturbation has responses as different as those of different ones."""
    group = r.twins
    squares = freedom = noise = 0.0
    worst, named = 0.0, ""
    for number in np.flatnonzero(np.bincount(group) > 1):
        mine = (group == number) & ~r.resting
        y = r.y[mine]
        count = (~np.isnan(y)).sum(axis=0)
        apart = float(np.nansum((y - np.nansum(y, axis=0) / np.maximum(count, 1)) ** 2))
        squares += apart
        freedom += float(np.maximum(count - 1, 0).sum())
        if apart > worst:
            worst, named = apart, listed(r.conditions[mine])
    if not freedom:
        return
    if r.sigma is not None:
        noise = _rms(r.sigma) ** 2
    within, all_ = squares / freedom, _rms(r.y) ** 2
    if within > max(all_ / 2, 9 * noise) > 0:
        warn(
            f"conditions with the same perturbation differ as much as conditions with different "
            f"ones: their spread is {np.sqrt(within):.2g}, all responses are {np.sqrt(all_):.2g} "
            f"as root mean square, and the model predicts the same for {named}. What made them "
            "differ (a drug, a dose, a cell line, a time) needs a column of its own, or a dataset "
            "of its own; if they are repeats, it is noise.",
            DataWarning,
        )


def doubt_sigma(r: Readouts) -> None:
    """Warn of standard deviations of another scale, or that leave all weight to a few cells."""
    if r.sigma is None:
        return
    sigma = r.sigma[~np.isnan(r.sigma)]
    if not sigma.size:
        return
    middle, size = float(np.median(sigma)), _rms(r.y)
    largest = float(np.nanmax(np.abs(r.y)))
    if middle > largest or middle < 1e-4 * size:
        warn(
            f"sigma, with the median {middle:.3g}, is of another scale than the responses, which "
            f"are {size:.3g} as root mean square and {largest:.3g} at most: give the standard "
            "deviation of the log-ratio, not a percentage, a variance or that of the raw value.",
            DataWarning,
        )
        return
    weight = np.where(np.isnan(r.sigma), 0, 1 / r.sigma**2)
    few = max(1, sigma.size // 100)
    heaviest = np.partition(weight.ravel(), -few)[-few:]
    if sigma.size >= 20 and heaviest.sum() > 0.9 * weight.sum():
        c, t, n = np.unravel_index(int(weight.argmax()), weight.shape)
        warn(
            f"{few} of {sigma.size} responses have more than 90 % of the weight, because their "
            f"sigma is so small: that of node {str(r.nodes[n])!r} in condition "
            f"{str(r.conditions[c])!r} is {r.sigma[c, t, n]:.3g}, the median {middle:.3g}. A "
            "standard deviation of few replicates needs a floor, such as the median.",
            DataWarning,
        )
