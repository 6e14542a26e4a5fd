"""`Profile`: curves, intervals, and in words what the data do not determine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.common.options import checked, instance, text
from pycellbox.common.plain import as_number
from pycellbox.errors import ModelError, OptionError
from pycellbox.posterior import Entry, Noise, Posterior
from pycellbox.profiles.path import OUT, Curve, Side


@checked(
    curves=instance(xr.Dataset, "curves, as fit.profile makes them"),
    best=instance(xr.Dataset, "parameters"),
)
@dataclass(frozen=True, repr=False)
class Profile:
    """Profile likelihoods of parameters, as `Fit.profile` makes them.

    Parameters
    ----------
    curves : Dataset
        Dims: profile, point, parameter; NaN behind the last point of a curve. ``value`` (profile,
        point) at which the parameter is held; ``rise`` (profile, point), twice the log likelihood
        ratio to the optimum; ``converged`` (profile, point); ``others`` (profile, point,
        parameter), all parameters that are fitted; ``estimate``, ``lower`` and ``upper`` (profile),
        the optimum and the interval; ``said`` (profile), in words, where it has no end; ``gain``
        (profile), by how much that optimum is better than the fit, in the unit of the rise.
        Attributes: ``level``, ``threshold`` of the rise, ``noise``, where it is from, and
        ``degrees_of_freedom`` from which it is estimated.
    best : Dataset
        The best parameters that were found, for ``initial`` of `pycellbox.fit`.
    """

    curves: xr.Dataset
    best: xr.Dataset

    def __post_init__(self) -> None:
        of_each = dict.fromkeys(("estimate", "lower", "upper", "said", "gain"), ("profile",))
        of_points = dict.fromkeys(("value", "rise", "converged"), ("profile", "point"))
        for name, dims in (of_each | of_points).items():
            if name not in self.curves or self.curves[name].dims != dims:
                raise ModelError(f"curves lack {name} ({', '.join(dims)}); fit.profile makes them.")
        for name in ("level", "threshold"):
            if as_number(self.curves.attrs.get(name)) is None:
                raise ModelError(f"curves lack the attribute {name}; fit.profile makes them.")

    @property
    def intervals(self) -> pd.DataFrame:
        """A row for each parameter: ``estimate``, ``lower``, ``upper``, and ``said``, in words."""
        names = ["estimate", "lower", "upper", "said"]
        return pd.DataFrame(
            {name: self.curves[name].values for name in names},
            index=pd.Index(self.curves["profile"].values, name="parameter"),
        )

    @checked(name=text("the name of a parameter that was profiled"))
    def curve(self, name: str) -> xr.Dataset:
        """Return one curve.

        Parameters
        ----------
        name : str
            Of the parameter, with its labels.

        Returns
        -------
        Dataset
            As ``curves``, of its own points alone.

        Raises
        ------
        OptionError
            It was not profiled.
        """
        known = list(self.curves["profile"].values)
        plain = [str(one).replace(" ", "") for one in known]
        if name.replace(" ", "") not in plain:
            raise OptionError(f"{name!r} was not profiled; there are {', '.join(known)}.")
        one = self.curves.isel(profile=plain.index(name.replace(" ", "")))
        return one.isel(point=np.isfinite(one["value"].values))

    def __repr__(self) -> str:
        table, level = self.intervals, self.curves.attrs["level"]
        width = max(map(len, table.index))
        lines = [f"<pycellbox.Profile: likelihood-ratio intervals at {level:.4g}"]
        for name, row in table.iterrows():
            ends = f"{_end(row['lower'])} to {_end(row['upper'])}"
            more = f"; {row['said']}" if row["said"] else ""
            lines.append(f"  {name!s:<{width}}  {row['estimate']:.4g}, {ends}{more}")
        return "\n".join(lines) + ">"


def _end(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.4g}"


def labelled(
    posterior: Posterior,
    curves: Mapping[str, Curve],
    level: float,
    threshold: float,
    noise: Noise,
    gain: float,
) -> Profile:
    """Put curves together."""
    count = max(len(one.points) for one in curves.values())
    shape = len(curves), count
    value, rise = np.full(shape, np.nan), np.full(shape, np.nan)
    converged, others = np.zeros(shape, bool), np.full((*shape, len(posterior.names)), np.nan)
    ends: dict[str, list[Any]] = {n: [] for n in ("estimate", "lower", "upper", "said")}
    gains = []
    for k, (name, one) in enumerate(curves.items()):
        entry = posterior.entry(name)
        for i, point in enumerate(one.points):
            value[k, i] = entry.value(point.lowest.raw) * entry.unit
            rise[k, i] = point.rise
            converged[k, i] = point.lowest.converged
            others[k, i] = posterior.values(point.lowest.raw)
        lower, below = _bound(one.lower, entry, 0)
        upper, above = _bound(one.upper, entry, 1)
        said = "; ".join(filter(None, [below, above]))
        if below and above and one.lower.why == one.upper.why == OUT:
            said = "not bounded below or above: the data do not determine it"
        estimate = entry.value(one.center.raw) * entry.unit
        for key, each in zip(ends, (estimate, lower, upper, said), strict=True):
            ends[key].append(each)
        gains.append(gain + one.gain)
    best = min(curves.values(), key=lambda one: one.center.value)
    table = xr.Dataset(
        {
            "value": (("profile", "point"), value),
            "rise": (("profile", "point"), rise),
            "converged": (("profile", "point"), converged),
            "others": (("profile", "point", "parameter"), others),
            **{name: ("profile", np.array(each)) for name, each in ends.items()},
            "gain": ("profile", np.array(gains)),
        },
        {"profile": list(curves), "parameter": list(posterior.names)},
        {
            "level": level,
            "threshold": threshold,
            "noise": noise.by,
            "degrees_of_freedom": noise.freedom,
        },
    )
    return Profile(table, posterior.labelled(best.center.raw))


def _bound(side: Side, entry: Entry, which: int) -> tuple[float, str]:
    """Return an end of an interval, and in words why there is none."""
    if side.end is not None:
        return side.end * entry.unit, ""
    word, bound = ("below", "above")[which], entry.bounds[which] * entry.unit
    last = entry.back(side.points[-1].z) * entry.unit
    if side.why != OUT:
        return math.nan, f"its end {word} is not known: {side.why} {last:.3g}"
    if math.isfinite(bound):
        return bound, f"not bounded {word} by the data, only by its bound {bound:g}"
    return (
        bound,
        f"not bounded {word}: the data do not determine it (it was followed to {last:.2g})",
    )
