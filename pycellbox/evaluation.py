"""A fitted model beside the baselines, on data that judges them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import xarray as xr

from pycellbox import metrics, views
from pycellbox.baselines import all_baselines
from pycellbox.errors import BackendError, DataError


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Scores of a model and of baselines on the same conditions.

    Attributes
    ----------
    table : DataFrame
        A row per model: Pearson correlation and mean squared error over all measured entries,
        and the mean over nodes and over conditions of their own correlation.
    by_node, by_condition : Dataset
        ``pearson`` and ``mse`` of every model, dims (model, node) and (model, condition).
    predictions : dict of str to DataArray
    notes : tuple of str
        What was left out, and why.
    """

    table: pd.DataFrame
    by_node: xr.Dataset
    by_condition: xr.Dataset
    predictions: dict[str, xr.DataArray]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return "\n".join([metrics.format_table(self.table), *self.notes])

    def _repr_html_(self) -> str:
        conditions = self.by_condition.sizes["condition"]
        notes = [("note", note) for note in self.notes]
        return views.card(
            f"Evaluation on {conditions} conditions", notes, metrics.html_table(self.table)
        )


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
                predictions[name] = baseline.fit(training).predict(data["perturbation"])
                if times is not None:
                    predictions[name] = predictions[name].sel(time=times)
            except (BackendError, DataError) as error:
                notes.append(f"without {name}: {error}")
            except KeyError:
                notes.append(f"without {name}: it knows only the times it was fitted to")
                del predictions[name]
    return Evaluation(
        table=metrics.compare(predictions, observed),
        by_node=_grouped(predictions, observed, "node"),
        by_condition=_grouped(predictions, observed, "condition"),
        predictions=predictions,
        notes=tuple(notes),
    )


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
