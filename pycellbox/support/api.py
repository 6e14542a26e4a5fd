"""`supported`: fit without each block on folds inside the fit's rows, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import many, metrics
from pycellbox.backends import BackendName, get_backend
from pycellbox.crossvalidation.api import rows_of
from pycellbox.crossvalidation.folds import Fold, Setting, outcomes
from pycellbox.errors import PycellboxError, once
from pycellbox.fitting.progress import Progress
from pycellbox.metrics.differences import difference_of
from pycellbox.result import Fit
from pycellbox.splits import k_fold
from pycellbox.support.blocks import Block, blocks_of, named
from pycellbox.supported import Support

Found = Sequence[many.Outcome[Fold]]


def supported(
    fit: Fit,
    *,
    folds: int | None,
    by: str,
    without: Mapping[str, Mapping[str, Any]] | None,
    seed: int,
    engine: many.Engine | None,
    backend: BackendName,
    progress: bool,
) -> Support:
    """Say which blocks the data support; see `pycellbox.Fit.support`."""
    blocks = blocks_of(fit) if without is None else named(fit, without)
    if not blocks:
        raise PycellboxError("the fit has no block that could be left out.")
    data, validation = rows_of(fit)
    splits = tuple(k_fold(data, folds, by=by, seed=seed))
    chosen = get_backend(backend, fit.backend, fit.model).name
    base = Setting(data, splits, fit.recipe, validation, chosen)  # type: ignore[arg-type]
    rows = []
    with once(), Progress(len(splits) * (1 + len(blocks)), progress, "folds") as shown:
        whole = outcomes(base, engine, shown)

        def refitted(block: Block) -> Found:
            some = replace(base, recipe=block.recipe)
            if not block.begins:
                return outcomes(some, engine, shown)
            ended = {k: one.value.parameters for k, one in enumerate(whole) if one.value}
            starts = tuple(block.initial(parameters, data) for parameters in ended.values())
            some = replace(some, initials=starts, splits=tuple(splits[k] for k in ended))
            found = dict(zip(ended, outcomes(some, engine, shown), strict=True))
            return [found.get(k, one) for k, one in enumerate(whole)]

        for block in blocks:
            other = refitted(block)
            pair = (whole, other) if block.there else (other, whole)
            rows.append(_compared(data, block, *pair))
    return Support(pd.DataFrame(rows).set_index("block"), by)


def _compared(data: xr.Dataset, block: Block, one: Found, other: Found) -> dict[str, Any]:
    """Compare errors with and without a block, on the folds that have both."""
    row: dict[str, Any] = {"block": block.name, "what": block.what}
    nothing = dict.fromkeys(["with", "without", "difference", "standard_error", "p"], np.nan)
    lost = [each.failure for pair in zip(one, other, strict=True) for each in pair
            if each.value is None]  # fmt: skip
    pairs = [(a.value.predictions, b.value.predictions) for a, b in zip(one, other, strict=True)
             if a.value is not None and b.value is not None]  # fmt: skip
    last = {"folds": len(pairs), "failure": lost[0] if lost else ""}
    if not pairs:
        return row | nothing | last
    observed = data["response"].isel(node=_judged(data))
    errors = [_by_condition(observed, [pair[k] for pair in pairs]) for k in range(2)]
    means = [float(np.average(each["error"], weights=each["count"])) for each in errors]
    difference = difference_of(
        (errors[0]["error"] - errors[1]["error"]).to_numpy(), 1 / len(errors[0])
    )
    return row | {
        "with": means[0], "without": means[1], "difference": difference.mean,
        "standard_error": difference.error, "p": difference.p,
    } | last  # fmt: skip


def _judged(data: xr.Dataset) -> Any:
    """Which nodes: those that are no drugs, where one of these is measured."""
    measured = data["response"].notnull().any([d for d in data["response"].dims if d != "node"])
    others = measured.values & (data["node_kind"].values != "drug")
    return np.flatnonzero(others if others.any() else measured.values)


def _by_condition(observed: xr.DataArray, predictions: Sequence[xr.DataArray]) -> pd.DataFrame:
    """Mean squared error of each condition with a measurement, over folds, and its entries."""
    nodes, parts = observed["node"].values, []
    for predicted in predictions:
        own = observed.sel(condition=predicted["condition"].values)
        error = metrics.mse(predicted.sel(node=nodes), own, by="condition")
        count = own.notnull().sum([d for d in own.dims if d != "condition"])
        parts.append(pd.DataFrame({"error": error.values, "count": count.values},
                                  index=error["condition"].values))  # fmt: skip
    every = pd.concat(parts)
    each = every[every["count"] > 0].groupby(level=0, sort=True)
    return pd.DataFrame({"error": each["error"].mean(), "count": each["count"].sum()})
