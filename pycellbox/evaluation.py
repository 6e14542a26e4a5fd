"""A fitted model beside the baselines, on data that judges them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox import metrics, views
from pycellbox.baselines import Baseline, all_baselines
from pycellbox.common.options import Value, choice, listed
from pycellbox.data.replicates import replicates_across
from pycellbox.errors import DataError
from pycellbox.estimation.edgeless import WithoutEdges
from pycellbox.metrics.differences import Difference

UNSEEN, FORECAST = "unseen", "forecast"
# Under the names of the fit's own roles, as they are counted in the caption.
_ROLES = {"train": "fitted", "validation": "validation", "replicate": "replicate",
          FORECAST: FORECAST, UNSEEN: UNSEEN}  # fmt: skip
_SHOWN = 3  # baselines in print
_LEVEL = 0.05  # of what is more than chance, by convention
_LEAST_P = 1e-4
_FLATTERED = "; rows that the fit has seen, and replicates of them, flatter every model"


EDGELESS = "CellBox without edges"


def known_baselines() -> dict[str, Baseline]:
    """Make every baseline that can be asked for: `all_baselines`, and those that take longer."""
    return {**all_baselines(), EDGELESS: WithoutEdges()}


def _read_baselines(given: Any) -> tuple[str, ...]:
    if isinstance(given, bool | np.bool_):
        return tuple(all_baselines()) if given else ()
    names: tuple[str, ...] = listed(choice(*known_baselines()), least=0).read(given)
    return tuple(dict.fromkeys(names))


BASELINES = Value(
    _read_baselines, f"True, False, or a list of names among {', '.join(known_baselines())}"
)
"""What `evaluate` takes, as names."""


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
        those, under another label), "forecast" (one of the fit's, measured here at later times
        alone), or "unseen". Scores on training, validation and replicates flatter.
    predictions : dict of str to DataArray
        Of every model, for these conditions.
    notes : tuple of str
        What was left out, and why.
    against_best : Difference or None
        Of the model to the baseline with the least error, tested by condition, in squared units of
        the response and without drug nodes where those make a difference; None without baselines.

    Notes
    -----
    Prints the model and the three best baselines; ``table`` has all of them.
    """

    table: pd.DataFrame
    by_node: xr.Dataset
    by_condition: xr.Dataset
    predictions: dict[str, xr.DataArray]
    notes: tuple[str, ...] = ()
    against_best: Difference | None = None

    @property
    def shown(self) -> pd.DataFrame:
        """The rows of ``table`` that are printed: the model, and the three best baselines."""
        baselines = self.table.iloc[1:].sort_values(_error_of(self.table), kind="stable")
        return pd.concat([self.table.iloc[:1], baselines.iloc[:_SHOWN]])

    @property
    def verdict(self) -> str:
        """Whether the model is better than the best baseline, and by more than chance, in words."""
        difference = self.against_best
        if difference is None:
            return ""
        model, best = self.shown.index[:2]
        ours, theirs = self.shown[_error_of(self.table)].iloc[:2]
        of = f"the best of {len(self.table) - 1} baselines, {best}"
        change = f"{abs(ours / theirs - 1):.1%}" if theirs > 0 else f"{ours - theirs:.3g}"
        side = "less" if ours < theirs else "more"
        text = f"{model} has {change} {side} squared error than {of}"
        if ours == theirs:
            text = f"{model} has the squared error of {of}"
        if np.isnan(difference.p):
            return f"{text}; one condition cannot tell that from chance."
        chance = "more than chance gives" if difference.p < _LEVEL else "no more than chance gives"
        p = f"p = {difference.p:.2g}" if difference.p >= _LEAST_P else f"p < {_LEAST_P:g}"
        return (
            f"{text}: {chance} ({p}, paired by condition; less in {difference.below} of "
            f"{difference.count})."
        )

    @property
    def _below(self) -> tuple[str, ...]:
        """What stands below the table."""
        left = len(self.table) - len(self.shown)
        more = (f"and {left} baselines that are worse: all are in the table of the evaluation",)
        return (*(more if left else ()), *((self.verdict,) if self.verdict else ()), *self.notes)

    @property
    def caption(self) -> str:
        """What the scores are over: fitted or unseen rows, with and without drug nodes."""
        roles = list(self.by_condition["role"].values)
        counts = {name: roles.count(role) for role, name in _ROLES.items() if role in roles}
        parts = [f"{count} {name}" for name, count in counts.items()]
        rows = f"{parts[0]} rows" if len(parts) == 1 else f"{len(roles)} rows: {', '.join(parts)}"
        lines = [f"scores on {rows}" + ("" if set(roles) <= {UNSEEN, FORECAST} else _FLATTERED)]
        if "mse_without_drugs" in self.table:
            kinds = self.by_node["node_kind"].values
            lines.append(
                f"Pearson and MSE over all {kinds.size} nodes, then without the "
                f"{(kinds == 'drug').sum()} drug nodes"
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "\n".join([metrics.format_table(self.shown, title=self.caption), *self._below])

    def _repr_html_(self) -> str:
        conditions = self.by_condition.sizes["condition"]
        rows = [("", line) for line in self.caption.splitlines()]
        rows += [("note", note) for note in self._below]
        return views.card(
            f"Evaluation on {conditions} conditions", rows, metrics.html_table(self.shown)
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
    known = [same.get(c, o) for c, o in zip(conditions, other, strict=True)]
    if "time" in data["response"].dims and data["time"].values[0] > fitted["time"].values[-1]:
        known = [role if role == UNSEEN else FORECAST for role in known]
    return np.array(known, dtype=str)


def evaluate(
    predicted: xr.DataArray,
    data: xr.Dataset,
    *,
    training: xr.Dataset,
    baselines: bool | Sequence[str] = True,
    model: str = "CellBox",
) -> Evaluation:
    """Score predictions of a model of this name, beside baselines fitted to ``training``.

    A baseline that cannot be made (too few conditions) is left out with a note.
    """
    observed = data["response"]
    times = observed["time"].values if "time" in observed.dims else None
    predictions = {model: predicted}
    left_out: dict[str, list[str]] = {}  # by the reason
    known = known_baselines()
    for name in BASELINES.read(baselines):
        try:
            predictions[name] = known[name].fit(training).predict(data)
            if times is not None:
                predictions[name] = predictions[name].sel(time=times)
        except DataError as error:
            left_out.setdefault(str(error), []).append(name)
        except KeyError:
            reason = "known only at the times of the fit"
            left_out.setdefault(reason, []).append(name)
            del predictions[name]
    by_condition = _grouped(predictions, observed, "condition")
    table = score_table(predictions, observed)
    return Evaluation(
        table=table,
        by_node=_grouped(predictions, observed, "node"),
        by_condition=by_condition.assign_coords(role=("condition", roles_in_fit(data, training))),
        predictions=predictions,
        notes=tuple(f"without {', '.join(names)}: {why}" for why, names in left_out.items()),
        against_best=_against_best(table, predictions, observed),
    )


def _error_of(table: pd.DataFrame) -> str:
    """Name the column that ranks models."""
    return "mse_without_drugs" if "mse_without_drugs" in table else "mse"


def _against_best(
    table: pd.DataFrame, predictions: dict[str, xr.DataArray], observed: xr.DataArray
) -> Difference | None:
    errors = table[_error_of(table)].iloc[1:]
    if errors.isna().all():
        return None
    if "mse_without_drugs" in table:
        observed = observed.isel(node=(observed["node_kind"] != "drug").values)
    nodes = observed["node"].values
    model, best = (predictions[str(n)].sel(node=nodes) for n in (table.index[0], errors.idxmin()))
    return metrics.paired_by_condition(model, best, observed)


def score_table(predictions: dict[str, xr.DataArray], observed: xr.DataArray) -> pd.DataFrame:
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
