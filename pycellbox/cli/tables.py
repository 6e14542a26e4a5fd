"""What commands print and write: notes, summaries, CSV tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from pycellbox import metrics
from pycellbox.common.files import check_apart, check_ending, check_writable, write_whole
from pycellbox.common.labels import counted
from pycellbox.common.spreadsheet import csv_text
from pycellbox.data import NODE_KINDS
from pycellbox.edges import is_network
from pycellbox.ending import Ending
from pycellbox.errors import ResultFileError
from pycellbox.result import Fit
from pycellbox.summary import interactions, of_estimate, what_was_found
from pycellbox.supported import lines_of

if TYPE_CHECKING:
    from pycellbox.evaluation import Evaluation


FIT_TABLES = ("W.csv", "rates.csv", "history.csv", "predictions.csv", "conditions.csv")
EQUATION_TABLES = ("parameters.csv", *FIT_TABLES[2:])
"""Of equations of one's own."""
SCORE_TABLES = ("scores.csv", "by_node.csv", "by_condition.csv", "predictions.csv")


def note(text: str) -> None:
    """Say something in passing, on stderr: stdout is for results."""
    print(f"pycellbox: {text}", file=sys.stderr)


def exit_code(fit: Fit, going_on: str = "") -> int:
    """Tell whether a fit came to its end, and say so on stderr if it did not.

    ``going_on`` says how to go on with one that was interrupted.
    """
    if fit.ending is Ending.COMPLETED:
        return 0
    interrupted = fit.ending is Ending.INTERRUPTED
    note(f"the fit did not come to its end ({fit.status}){going_on if interrupted else ''}.")
    return 130 if interrupted else 1


def prepare_file(
    path: Path, endings: tuple[str, ...], sources: Sequence[Path | str | None] = ()
) -> None:
    """Check a file to write and make its folder, before the work that fills it.

    Raises
    ------
    ResultFileError
        The name has another ending, nothing can be written there, or it is one of ``sources``.
    """
    check_ending(path, endings)
    check_apart([path], sources)
    prepare_folder(path.parent)
    check_writable(path, endings)


def prepare_tables(
    folder: Path, names: Sequence[str], sources: Sequence[Path | str | None]
) -> None:
    """Check tables to write and make their folder, as `prepare_file` does for one."""
    for name in names:
        prepare_file(folder / name, (), sources)


def prepare_folder(folder: Path) -> None:
    """Make a folder and those above it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ResultFileError(f"cannot make the folder {str(folder)!r}: {reason}.") from error


def write_table(frame: pd.DataFrame, path: Path, *, index: bool = True) -> Path:
    """Write a CSV table (tab-separated as .tsv), whole or not at all."""
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    return write_whole(path, csv_text(frame, separator=separator, index=index))


def wide(responses: xr.DataArray) -> pd.DataFrame:
    """Lay responses out as the tables that `read_csv` reads: a column for each node."""
    if "time" not in responses.dims:
        return _matrix(responses.transpose("condition", "node"))
    rows = responses.transpose("condition", "time", "node")
    index = pd.MultiIndex.from_product(
        [rows["condition"].values, rows["time"].values], names=["condition", _time(rows)]
    )
    values = rows.values.reshape(len(index), -1)
    frame: pd.DataFrame = pd.DataFrame(values, index=index, columns=rows["node"].values)
    return frame


def long(predicted: xr.Dataset) -> pd.DataFrame:
    """Lay predictions with intervals out: a row for each response, a column for each figure."""
    response = predicted["response"]
    dims = [dim for dim in ("condition", "time", "node") if dim in response.dims]
    names = [_time(response) if dim == "time" else dim for dim in dims]
    index = pd.MultiIndex.from_product([response[dim].values for dim in dims], names=names)
    values = {name: each.transpose(*dims).values.ravel() for name, each in predicted.items()}
    return pd.DataFrame(values, index=index)


def _time(responses: xr.DataArray) -> str:
    """Heading of a column of times; hours are what is read by default."""
    unit = str(responses["time"].attrs.get("units", "h"))
    return "time" if unit == "h" else f"time ({unit})"


def _matrix(array: xr.DataArray) -> pd.DataFrame:
    rows, columns = (array[dim].values for dim in array.dims)
    index = pd.Index(rows, name=str(array.dims[0]))
    frame: pd.DataFrame = pd.DataFrame(array.values, index=index, columns=columns)
    return frame


def write_fit_tables(
    folder: Path, fit: Fit, predictions: xr.DataArray, roles: Mapping[str, str]
) -> None:
    """Write a fit as CSV tables.

    W.csv (a row for each target, a column for each source), rates.csv (and what else nodes have,
    operating points and common effects), history.csv,
    predictions.csv for all conditions, and conditions.csv with the role of each, which
    ``--test`` reads. Of equations of one's own parameters.csv, a row for each entry, in place of
    the first two.
    """
    prepare_folder(folder)
    parameters = fit.parameters
    part = pd.DataFrame({"condition": list(roles), "role": list(roles.values())})
    if is_network(parameters):
        W = _matrix(parameters["W"].transpose("target", "source"))
        W.index.name = "target"
        rates = parameters.drop_vars(["W", "target", "source"]).to_dataframe()
        kinds = ["node_kind"] if "node_kind" in rates else []
        write_table(W, folder / "W.csv")
        write_table(rates[[*kinds, *fit.model.rates, *fit.model.shifts]], folder / "rates.csv")
    else:
        entries = [
            (name, label, value)
            for name in fit.model.parameters
            for label, value in _entries(parameters[name])
        ]
        frame = pd.DataFrame(entries, columns=["parameter", "entry", "value"])
        write_table(frame, folder / "parameters.csv", index=False)
    write_table(fit.history.to_dataframe(), folder / "history.csv")
    write_table(wide(predictions), folder / "predictions.csv")
    write_table(part, folder / "conditions.csv", index=False)


def _entries(values: xr.DataArray) -> list[tuple[str, float]]:
    """Return labels and numbers of all entries of a parameter."""
    found = []
    for place in np.ndindex(values.shape):
        labels = [str(values[d].values[i]) for d, i in zip(values.dims, place, strict=True)]
        found.append((" ".join(labels), float(values.values[place])))
    return found


def write_scores(folder: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as CSV tables: scores, by_node, by_condition and predictions."""
    prepare_folder(folder)
    write_table(evaluation.table, folder / "scores.csv")
    for name in ("node", "condition"):
        scores: xr.Dataset = getattr(evaluation, f"by_{name}")
        frame = scores[["pearson", "mse"]].to_dataframe(dim_order=[name, "model"])
        said = ["role"] if name == "condition" else []
        write_table(frame[[*said, "pearson", "mse"]], folder / f"by_{name}.csv")
    model = next(iter(evaluation.predictions))
    write_table(wide(evaluation.predictions[model]), folder / "predictions.csv")


def print_scores(evaluation: Evaluation, title: str) -> None:
    """Print model and baselines side by side; what was left out goes to stderr."""
    print(metrics.format_table(evaluation.shown, title=f"{title}\n{evaluation.caption}"))
    left = len(evaluation.table) - len(evaluation.shown)
    if left:
        print(f"\nand {left} baselines that are worse; pycellbox evaluate --csv writes all scores")
    if evaluation.verdict:
        print(f"\n{evaluation.verdict}")
    for text in evaluation.notes:
        note(text)


def summary(fit: Fit, data: xr.Dataset, held_out: int, split: str) -> str:
    """Describe in a few lines what was fitted to what."""
    kinds = [str(kind) for kind in data["node_kind"].values]
    nodes = ", ".join(
        counted(kinds.count(kind), "hidden node" if kind == "hidden" else kind)
        for kind in NODE_KINDS
        if kind in kinds
    )
    shape = f"{data.sizes['time']} times" if "time" in data.dims else "steady state"
    roles = list(fit.data["role"].values)
    used = f"{roles.count('train')} to fit"
    if "validation" in roles:
        used += f", {roles.count('validation')} for validation"
    if held_out:
        used += f", {held_out} held out ({split})"
    loss = fit.history["loss"].values
    fall = f", loss {loss[0]:.4g} → {np.nanmin(loss):.4g}" if loss.size else ""
    went = f"{loss.size} iterations{fall}"
    if fit.estimated:
        went = f"estimated, loss {loss[-1]:.4g}" if loss.size else "estimated"
    seconds = fit.provenance["seconds"]
    lines = {
        "data": f"{data.sizes['condition']} conditions × {len(kinds)} nodes ({nodes}), {shape}",
        "conditions": used,
        "model": fit.model.equation,
        "fit": f"{went}, {seconds:.1f} s on the {fit.backend} backend",
    }
    if is_network(fit.parameters):
        lines["model"] += f", φ = {fit.model.envelope}"
        lines["W"] = interactions(fit.parameters)
        lines["strongest"] = _strongest(fit.parameters["W"])
    else:
        lines |= [what_was_found(fit.model, fit.parameters)]
    lines |= dict(of_estimate(fit.provenance))
    how = "not looked at: pycellbox support FIT.nc says which blocks the data support"
    said = [*lines.items(), *lines_of(fit.provenance, is_network(fit.parameters), how)]
    return "\n".join(f"{name:<12}{text}" for name, text in said)


def _strongest(W: xr.DataArray, count: int = 3) -> str:
    """Write out the few strongest interactions."""
    W = W.transpose("target", "source")
    order = np.argsort(-np.abs(W.values), axis=None)[:count]
    edges = zip(*np.unravel_index(order, W.shape), strict=True)
    targets, sources = W["target"].values, W["source"].values
    return ", ".join(f"{sources[j]} → {targets[i]} ({float(W[i, j]):+.2f})" for i, j in edges)
