"""`Ensemble`: parameters of all members, and what they predict together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox.backends import BACKEND, BackendName
from pycellbox.common.files import PATH
from pycellbox.common.options import checked, instance, listed, number
from pycellbox.common.texts import read_json
from pycellbox.data.container import write_datasets
from pycellbox.data.hidden import with_nodes
from pycellbox.data.units import meeting
from pycellbox.doubts import doubt_extrapolation
from pycellbox.edges import check_edges, edge_table
from pycellbox.errors import ModelError
from pycellbox.evaluation import BASELINES, Evaluation
from pycellbox.inputs import INPUTS
from pycellbox.intervals import INTERVAL, Calibration, Spreads
from pycellbox.problem import Array
from pycellbox.result import Fit, judged

FORMAT = "pycellbox.Ensemble"
_LEAST_ERRORS = 30  # of conditions left out, from which on they calibrate
_LEAST_NOISE = 0.25  # of the mean square of the errors of a node
_OUTSIDE = 2  # members, at least, that have not seen a condition, for its error to count


class Ensemble:
    """A fit, and fits made again on data drawn again.

    Parameters
    ----------
    fit : Fit
        Of all data.
    members : Dataset
        What `ensemble` makes: parameters with the dim ``member``, and ``count``.

    Attributes
    ----------
    fit : Fit
    """

    @checked(fit=instance(Fit, "a pcb.Fit"), members=instance(xr.Dataset, "members of an ensemble"))
    def __init__(self, fit: Fit, members: xr.Dataset) -> None:
        for name in ("count", "unseen_sign"):
            if name not in members or "member" not in members[name].dims:
                raise ModelError(f"the members lack {name}; pcb.ensemble makes them.")
        self.fit = fit
        self._members = members.copy(deep=True)

    def __len__(self) -> int:
        return self._members.sizes["member"]

    @property
    def members(self) -> xr.Dataset:
        """Parameters of all members, as those of the fit with a dim ``member`` first.

        Beside them ``count`` (member, of): how often each of the fit's conditions was drawn.
        """
        return self._members.drop_vars("unseen_sign").copy(deep=True)

    @property
    def failures(self) -> pd.DataFrame:
        """Members that could not be fitted: ``member`` and ``why``."""
        rows = read_json(self._members.attrs.get("failures", "[]"))
        return pd.DataFrame(rows, columns=["member", "why"])

    @checked(
        perturbation=INPUTS,
        interval=INTERVAL,
        quantiles=listed(number(0, 1, above=True), least=0),
        backend=BACKEND,
    )
    def predict(
        self,
        perturbation: xr.DataArray | xr.Dataset,
        *,
        times: Any = None,
        interval: float = 0.9,
        quantiles: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95),
        backend: BackendName = "auto",
    ) -> xr.Dataset:
        """Predict responses, and how far new measurements may be off.

        Parameters
        ----------
        perturbation : DataArray or Dataset
            As of `Fit.predict`.
        times : sequence of float, (t,), optional
            Likewise.
        interval : float
            Share of new measurements that intervals are to hold.
        quantiles : sequence of float
            Of new measurements, each between 0 and 1.
        backend : str
            As of `Fit.predict`.

        Returns
        -------
        Dataset
            ``mean`` of the members; ``sd``, the standard deviation of a new measurement, which is
            that of the members, ``sd_members``, and the noise of each node; ``lower`` and ``upper``
            of the interval, and ``quantiles`` (quantile, …), of new measurements too. The spread of
            the members alone is no interval: of the measurements far fewer lie within.

        Notes
        -----
        Members leave conditions out: what they are off there, in units of ``sd``, says how far
        intervals reach. Where no condition is left out (residuals drawn again, or nothing), the
        noise is that of the residuals of the fit, which is too little, and intervals are those of
        a normal distribution.
        """
        each = self._each(perturbation, times, backend)
        spread = each.std("member", ddof=1)
        spreads = Spreads(
            spread.values,
            np.sqrt(np.broadcast_to(self._errors[0], spread.shape)),
            (self._errors[1],),
            np.zeros(spread.sizes["condition"], dtype=np.intp),
        )
        found = spreads.about(each.mean("member", keep_attrs=True), interval)
        found = found.rename(response="mean", sd_state="sd_members")
        if quantiles:
            levels = xr.DataArray(list(quantiles), dims="quantile", name="quantile")
            away = [spread.copy(data=_above_the_mean(spreads, q)) for q in quantiles]
            found["quantiles"] = found["mean"].drop_attrs() + xr.concat(away, levels)
            found["quantiles"] = found["quantiles"].transpose("quantile", *spread.dims)
        return found

    def _each(self, perturbation: Any, times: Any, backend: BackendName) -> xr.DataArray:
        """Predictions of all members, (member, condition[, time], node)."""
        data = self.fit.data
        given = meeting(with_nodes(perturbation, self.fit.model.own_nodes), data)
        laid = self.fit._predictor.laid(given)
        doubt_extrapolation(given["perturbation"] if isinstance(given, xr.Dataset) else given, data)
        return self._solved(laid, times, backend)

    def _solved(self, laid: Any, times: Any, backend: BackendName) -> xr.DataArray:
        (structure, inputs), found = laid, []
        predictor, nodes = self.fit._predictor, self._members["node"].values
        for k in range(len(self)):
            one = self._members.isel(member=k, drop=True)
            signs = {n: s for n, s in zip(nodes, one["unseen_sign"].values, strict=True) if s}
            parameters = one.drop_vars(["unseen_sign", "count", "of"])
            found.append(predictor.solved(structure, inputs, times, backend, parameters, signs))
        joined = xr.concat(found, "member", coords="minimal", compat="override")
        return joined.drop_vars(["residual", "settled"], errors="ignore")

    @cached_property
    def _errors(self) -> tuple[Array, Calibration]:
        """Variance of the noise of each node, (n,), and how large errors are beside all of it."""
        data = self.fit.data
        data = data.isel(condition=data["role"].values == "train")
        each = self._solved(self.fit._predictor.laid(data), None, "auto")
        unseen = (self._members["count"] == 0).rename(of="condition")
        enough = (unseen.sum("member") >= _OUTSIDE).values
        observed = data["response"].transpose(*each.isel(member=0).dims)
        if not enough.any():
            residual = (self.fit.predictions.sel(condition=data["condition"]) - observed).values
            said = "residuals of the fit"
            return _mean(residual**2), Calibration(np.zeros(0), said, freedom=np.inf)
        outside = each.where(unseen).isel(condition=enough)
        error = (outside.mean("member") - observed.isel(condition=enough)).values
        spread = np.where(np.isnan(error), np.nan, outside.var("member", ddof=1).values)
        squares = _mean(error**2)
        noise = np.maximum(squares - _mean(spread), _LEAST_NOISE * squares)
        with np.errstate(divide="ignore", invalid="ignore"):  # of what is known without error
            sizes = np.abs(error / np.sqrt(noise + spread)).ravel()
        sizes = sizes[np.isfinite(sizes)]
        said = "conditions of the fit, by members that have not seen them"
        return noise, Calibration(sizes, said, np.inf if sizes.size < _LEAST_ERRORS else None)

    @checked(share=INTERVAL)
    def edges(self, share: float = 0.9) -> pd.DataFrame:
        """Return interactions with the spread of their estimates.

        Parameters
        ----------
        share : float
            Of the members that ``lower`` and ``upper`` hold.

        Returns
        -------
        DataFrame
            A row for each interaction that is not 0 in all members, as of `Fit.edges`; ``sd`` is
            that of the members. Beside it ``agree``, the share of members with the fit's sign,
            which says nothing of whether the interaction exists: members agree on what is not there
            as well.

        Raises
        ------
        ModelError
            The model is no network.
        """
        own = self.fit.parameters
        check_edges(own)
        W = self._members["W"].transpose("member", "target", "source").values
        tails = (1 - share) / 2
        low, high = np.quantile(W, [tails, 1 - tails], axis=0)
        signs = np.sign(own["W"].transpose("target", "source").values)
        agree = (np.sign(W) == signs).mean(axis=0)
        return edge_table(own, low, high, W.std(axis=0, ddof=1), agree=agree)

    @checked(baselines=BASELINES)
    def evaluate(self, data: xr.Dataset, *, baselines: bool | Sequence[str] = True) -> Evaluation:
        """Compare the mean of the members with measured responses; see `Fit.evaluate`.

        Parameters
        ----------
        data : Dataset
            Conditions to judge by.
        baselines : bool or sequence of str
            As of `Fit.evaluate`.

        Returns
        -------
        Evaluation
            As of `Fit.evaluate`.
        """

        def predict(given: xr.Dataset, times: Any) -> xr.DataArray:
            return self._each(given, times, "auto").mean("member")

        name = f"{len(self)} × {type(self.fit.model).__name__}"
        return judged(self.fit, data, predict, name, baselines)

    @checked(path=PATH)
    def save(self, path: str | Path) -> Path:
        """Write all of it to one NetCDF file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            Where to; the name needs to end in ``.nc``.

        Returns
        -------
        Path
            That of the file.
        """
        tree = self.fit.tree
        groups = {name: tree[name].to_dataset() for name in tree.children}
        attrs = {**tree.attrs, "format": FORMAT}
        return write_datasets(
            path, {"": xr.Dataset(attrs=attrs), **groups, "members": self._members}
        )

    def __repr__(self) -> str:
        lost = len(self.failures)
        failed = f", {lost} failed" if lost else ""
        return (
            f"<pycellbox.Ensemble: {len(self)} members{failed}, of "
            f"{self._members.sizes['of']} conditions>"
        )


def _above_the_mean(spreads: Spreads, quantile: float) -> Array:
    """How far the quantile of new measurements is above the mean: an end of an interval."""
    if quantile == 0.5:
        return np.zeros_like(spreads.total)
    end: Array = np.sign(quantile - 0.5) * spreads.half(abs(2 * quantile - 1))
    return end


def _mean(values: Array) -> Array:
    """Mean over all but the last axis, NaN where there is nothing."""
    flat = values.reshape(-1, values.shape[-1])
    count = (~np.isnan(flat)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: Array = np.nansum(flat, axis=0) / count
    return mean
