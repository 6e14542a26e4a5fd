"""A fitted model beside the baselines, on data that judges them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox import metrics, views
from pycellbox.baselines import all_baselines
from pycellbox.data.replicates import replicates_across
from pycellbox.errors import BackendError, DataError

UNSEEN = "unseen"
# Under the names of the fit's own roles, as they are counted in the caption.
_ROLES = {"train": "fitted", "validation": "validation", "replicate": "replicate", UNSEEN: UNSEEN}
_FLATTERED = "; rows that the fit has seen, and replicates of them, flatter every model"


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of a model and of baselines on the same conditions.

    Parameters
    ----------
    table : DataFrame
        A row per model. ``pearson`` and ``mse``: correlation and mean squared error over all
        measured entries. ``pearson_without_drugs`` and ``mse_without_drugs``: over those of no
        drug node, whose activity follows from the dose; absent where that makes no difference,
        because no drug node is measured or nothing else is. ``pearson_by_node`` and
        ``pearson_by_condition``: mean over all nodes and conditions of their own correlation.
    by_node, by_condition : Dataset
        ``pearson`` and ``mse`` of every model, dims (model, node) and (model, condition). The
        coordinate ``role`` (condition) says what each condition was to the fit: "train" or
        "validation" (same label and perturbation), "replicate" (the perturbation of one of
        those, under another label), or "unseen". Scores on all but the unseen flatter.
    predictions : dict of str to DataArray
        Of every model, for these conditions.
    notes : tuple of str
        What was left out, and why.
    """

    table: pd.DataFrame
    by_node: xr.Dataset
    by_condition: xr.Dataset
    predictions: dict[str, xr.DataArray]
    notes: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """What the scores are over: fitted or unseen rows, with and without drug nodes."""
        roles = list(self.by_condition["role"].values)
        counts = {name: roles.count(role) for role, name in _ROLES.items() if role in roles}
        parts = [f"{count} {name}" for name, count in counts.items()]
        rows = f"{parts[0]} rows" if len(parts) == 1 else f"{len(roles)} rows: {', '.join(parts)}"
        lines = [f"scores on {rows}" + ("" if set(roles) == {UNSEEN} else _FLATTERED)]
        if "mse_without_drugs" in self.table:
            kinds = self.by_node["node_kind"].values
            lines.append(
                f"Pearson and MSE over all {kinds.size} nodes, then without the "
                f"{(kinds == 'drug').sum()} drug nodes"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "\n".join([metrics.format_table(self.table, title=self.caption), *self.notes])

    def _repr_html_(self) -> str:
        conditions = self.by_condition.sizes["condition"]
        rows = [("", line) for line in self.caption.splitlines()]
        rows += [("note", note) for note in self.notes]
        return views.card(
            f"Evaluation on {conditions} conditions", rows, metrics.html_table(self.table)
        )


def roles_in_fit(data: xr.Dataset, fitted: xr.Dataset) -> npt.NDArray[np.str_]:
    """Say for each condition of ``data`` what it was to the fit: see `Evaluation.by_condition`.

    Raises
    ------
    DataError
        The nodes differ.
    """
    odd = sorted({*data["node"].values} ^ {*fitted["node"].values})
    if odd:
        raise DataError(
            f"the data and the fit differ in {len(odd)} node(s), the first is {str(odd[0])!r}; a "
            "fit is judged on its own nodes."
        )
    asked, seen = replicates_across(data, fitted)
    labels, used = fitted["condition"].values, fitted["role"].values
    same = dict(zip(zip(labels, seen, strict=True), used, strict=True))
    other = np.where(np.isin(asked, seen), "replicate", UNSEEN)
    conditions = zip(data["condition"].values, asked, strict=True)
    return np.array([same.get(c, o) for c, o in zip(conditions, other, strict=True)], dtype=str)


def evaluate(
    predicted: xr.DataArray, data: xr.Dataset, *, training: xr.Dataset, baselines: bool = True
) -> Evaluation:
    """Score a model's predictions for ``data``, beside baselines fitted to ``training``.

    A baseline that cannot be made (scikit-learn is missing, too few conditions) is left out with
    a note.
    """
    observed = data["response"]
    times = observed["time"].values if "time" in observed.dims else None
    predictions = {"CellBox": predicted}
    notes: list[str] = []
    if baselines:
        for name, baseline in all_baselines().items():
            try:
                predictions[name] = baseline.fit(training).predict(data)
                if times is not None:
                    predictions[name] = predictions[name].sel(time=times)
            except (BackendError, DataError) as error:
                notes.append(f"without {name}: {error}")
            except KeyError:
                notes.append(f"without {name}: it knows only the times it was fitted to")
                del predictions[name]
    by_condition = _grouped(predictions, observed, "condition")
    return Evaluation(
        table=_table(predictions, observed),
        by_node=_grouped(predictions, observed, "node"),
        by_condition=by_condition.assign_coords(role=("condition", roles_in_fit(data, training))),
        predictions=predictions,
        notes=tuple(notes),
    )


def _table(predictions: dict[str, xr.DataArray], observed: xr.DataArray) -> pd.DataFrame:
    """Scores over all nodes and, if both are measured, over those that are no drugs."""
    table = metrics.compare(predictions, observed)
    drug = (observed["node_kind"] == "drug").values
    measured = observed.notnull().any([d for d in observed.dims if d != "node"]).values
    if not (measured & drug).any() or not (measured & ~drug).any():
        return table
    others = observed.isel(node=~drug)
    nodes = others["node"].values
    scores = metrics.compare({n: p.sel(node=nodes) for n, p in predictions.items()}, others)
    for place, name in enumerate(("pearson", "mse"), start=2):
        table.insert(place, f"{name}_without_drugs", scores[name])
    return table


def _grouped(
    predictions: dict[str, xr.DataArray], observed: xr.DataArray, by: metrics.By
) -> xr.Dataset:
    scores = {"pearson": metrics.pearson, "mse": metrics.mse}
    index = pd.Index(list(predictions), name="model")
    return xr.Dataset(
        {
            name: xr.concat([score(p, observed, by) for p in predictions.values()], index)
            for name, score in scores.items()
        }
    )
