"""`CrossValidation`: what fits predict of conditions that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import metrics, views
from pycellbox.common.labels import counted
from pycellbox.crossvalidation.folds import Fold
from pycellbox.evaluation import score_table
from pycellbox.many import Outcome
from pycellbox.splits import Split

SCORES = ("mse", "pearson", "mse_without_drugs", "pearson_without_drugs")


@dataclass(frozen=True, repr=False)
class CrossValidation:
    """What fits predict of conditions that they have not seen.

    Parameters
    ----------
    by : str
        What was left out together.
    predictions : DataArray, (condition[, time], node)
        Of each condition by the fit of a fold without it, NaN where that failed; with a dim
        ``fold`` in front where conditions are left out several times, as combinations are by drug.
    folds : DataFrame
        A row for each fold, by name: ``fitted`` and ``tested``, how many conditions; ``mse`` and
        ``pearson`` over the measured entries of those left out, without the nodes of drugs too
        where these are measured; ``seconds``; ``failure``, why it failed, empty where it did not.
    overall : DataFrame
        ``value`` of each of these scores over all entries that were left out, and
        ``standard_error`` of their mean over folds.
    by_node, by_condition : Dataset
        ``mse`` and ``pearson`` of each; of conditions the mean over the folds that leave them out.

    Notes
    -----
    The scores of folds are not independent, since these share conditions to fit, and the standard
    error is somewhat too small (Bengio and Grandvalet, J. Mach. Learn. Res. 5:1089, 2004).
    """

    by: str
    predictions: xr.DataArray
    folds: pd.DataFrame
    overall: pd.DataFrame
    by_node: xr.Dataset
    by_condition: xr.Dataset

    @property
    def failures(self) -> pd.DataFrame:
        """Folds that could not be fitted: ``fold`` and ``why``."""
        lost = self.folds[self.folds["failure"] != ""]
        return pd.DataFrame({"fold": lost.index, "why": lost["failure"].to_numpy()})

    def __repr__(self) -> str:
        title, rows = self._said
        return "\n".join([f"<pycellbox.{title}>", *(f"  {name:<9} {text}" for name, text in rows)])

    def _repr_html_(self) -> str:
        title, rows = self._said
        return views.card(title, rows, metrics.html_table(self.folds[self._scores]))

    @property
    def _scores(self) -> list[str]:
        return [name for name in SCORES if name in self.folds]

    @property
    def _said(self) -> tuple[str, list[tuple[str, str]]]:
        count = counted(len(self.folds), "fold")
        title = f"CrossValidation: {count} by {self.by}, {self.by_condition.sizes['condition']} "
        title += "conditions left out"
        rows = []
        for label, end in (("scores", ""), ("no drugs", "_without_drugs")):
            some = {name: self.overall.loc[name + end] for name in ("mse", "pearson")
                    if name + end in self.overall.index}  # fmt: skip
            if some:
                each = [
                    f"{n} {s['value']:.3g} ± {s['standard_error']:.2g}" for n, s in some.items()
                ]
                rows.append((label, ", ".join(each)))
        for fold, why in self.failures.itertuples(index=False):
            rows.append(("failed", f"{fold}: {why}"))
        return title, rows


def put_together(
    by: str, data: xr.Dataset, splits: Sequence[Split], found: Sequence[Outcome[Fold]]
) -> CrossValidation:
    """Score what came of folds, of which one at least has not failed."""
    observed = data["response"]
    there = {k: one.value.predictions for k, one in enumerate(found) if one.value is not None}
    measured = {k: observed.sel(condition=p["condition"].values) for k, p in there.items()}
    scores = {k: score_table({"": p}, measured[k]).iloc[0] for k, p in there.items()}
    names = [name for name in SCORES if any(name in row for row in scores.values())]
    table = pd.DataFrame(
        {
            "fitted": [len(split.fit) for split in splits],
            "tested": [len(split.test) for split in splits],
            **{name: [float(scores[k].get(name, np.nan)) if k in scores else np.nan
                      for k in range(len(splits))] for name in names},
            "seconds": [one.seconds for one in found],
            "failure": [one.failure for one in found],
        },
        index=pd.Index([split.name for split in splits], name="fold"),
    )  # fmt: skip
    # All rows under labels of their own: by drug a condition is left out several times.
    every, all_measured = (
        xr.concat([_numbered(part[k], k) for k in there], "condition") for part in (there, measured)
    )
    whole = score_table({"": every}, all_measured).iloc[0]
    of_folds = table.loc[table["failure"] == "", names]
    overall = pd.DataFrame(
        {
            "value": [float(whole.get(name, np.nan)) for name in names],
            "standard_error": (of_folds.std(ddof=1) / np.sqrt(of_folds.count())).to_numpy(),
        },
        index=pd.Index(names, name="score"),
    )
    score = {"mse": metrics.mse, "pearson": metrics.pearson}
    by_node = xr.Dataset({n: s(every, all_measured, "node") for n, s in score.items()})
    by_condition = xr.Dataset(
        {
            n: xr.concat([s(p, measured[k], "condition") for k, p in there.items()], "fold",
                         join="outer", coords="minimal", compat="override").mean("fold")
            for n, s in score.items()
        }
    )  # fmt: skip
    order = [c for c in data["condition"].values if c in set(by_condition["condition"].values)]
    predictions = _predictions(data, splits, there)
    return CrossValidation(
        by, predictions, table, overall, by_node, by_condition.sel(condition=order)
    )


def _numbered(array: xr.DataArray, k: int) -> xr.DataArray:
    labels = [f"{k} {label}" for label in array["condition"].values]
    return array.drop_vars([n for n, c in array.coords.items() if c.dims == ("condition",)]
                           ).assign_coords(condition=labels)  # fmt: skip


def _predictions(
    data: xr.Dataset, splits: Sequence[Split], there: dict[int, xr.DataArray]
) -> xr.DataArray:
    """Lay predictions over all conditions that are left out somewhere, in the order of the data."""
    places = {label: i for i, label in enumerate(data["condition"].values)}
    left_out = [label for split in splits for label in split.test]
    order = sorted(set(left_out), key=places.__getitem__)
    response = data["response"].sel(condition=order)
    several = len(order) < len(left_out)
    values = np.full((len(splits) if several else 1, *response.shape), np.nan)
    rows = {label: i for i, label in enumerate(order)}
    for k, predicted in there.items():
        at = [rows[label] for label in predicted["condition"].values]
        values[k if several else 0, at] = predicted.values
    if not several:
        return response.copy(data=values[0]).drop_attrs()
    names = [split.name for split in splits]
    return xr.DataArray(
        values, {"fold": names, **response.coords}, ("fold", *response.dims), name="response"
    )
