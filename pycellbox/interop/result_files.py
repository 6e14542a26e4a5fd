"""The result files of CellBox and CellBox.jl, in their layout.

Layouts read from ``cellbox/train.py`` and ``scripts/main.py`` of sanderlab/CellBox and from
``cellbox/export.jl`` of jiweiqi/CellBox.jl; the lines of ``record_eval.csv`` have no comma at
their end here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from pycellbox.common.files import write_whole
from pycellbox.common.spreadsheet import csv_text

RECORD_COLUMNS = (
    "epoch", "iter", "train_loss", "valid_loss", "train_mse", "valid_mse", "test_mse",
    "time_elapsed",
)  # fmt: skip

#: Names of our parameters in the original's files.
PARAMETERS = {"W": "W", "alpha": "alpha", "epsilon": "eps", "psi": "psi"}


def write_random_pos(folder: Path, rows: npt.NDArray[np.intp]) -> None:
    """Write ``random_pos.csv``: row numbers, those of training, validation and test in turn."""
    write_whole(folder / "random_pos.csv", "".join(f"{row}\n" for row in rows))


def write_conditions(folder: Path, conditions: Sequence[str], roles: Sequence[str]) -> None:
    """Write ``conditions.csv``, ours: the role of each, as ``pycellbox fit --test`` reads it."""
    frame = pd.DataFrame({"condition": list(conditions), "role": list(roles)})
    _write(frame, folder / "conditions.csv", index=False)


@dataclass
class Record:
    """``record_eval.csv``: a line for every iteration, and two at the end of a sub-stage.

    ``train_loss`` and ``valid_loss`` are with penalties, ``*_mse`` without. Validation is
    evaluated once per epoch; the penalty beside it is that before the iteration's update.
    ``time_elapsed``, in seconds, is the mean over the sub-stage's iterations.
    """

    rows: list[tuple[object, ...]] = field(default_factory=list)

    def add_history(self, history: xr.Dataset, per_epoch: int, seconds: float) -> None:
        """Add the iterations of a sub-stage."""
        objective, loss = history["objective"].values, history["loss"].values
        validation = history["validation_loss"].values
        each = seconds / max(loss.size, 1)
        for i in range(loss.size):
            penalty = objective[i] - loss[i]
            self.rows.append(
                (i // per_epoch, i, objective[i], validation[i] + penalty, loss[i], validation[i],
                 np.nan, each)
            )  # fmt: skip

    def add_evaluation(self, valid_loss: float, valid_mse: float, test_mse: float) -> None:
        """Add the evaluations of a sub-stage's best parameters."""
        nan = np.nan
        self.rows.append((-1, nan, nan, valid_loss, nan, valid_mse, nan, 0.0))
        self.rows.append((-1, nan, nan, nan, nan, nan, test_mse, 0.0))

    def write(self, folder: Path) -> None:
        """Write the file; numbers that are not there are ``None``, as in the original."""
        frame = pd.DataFrame(self.rows, columns=list(RECORD_COLUMNS))
        frame["iter"] = frame["iter"].astype("Int64")
        _write(frame, folder / "record_eval.csv", index=False, na_rep="None")


def write_best(
    folder: Path,
    number: int,
    loss: float,
    parameters: xr.Dataset | None,
    predicted: xr.DataArray | None,
) -> None:
    """Write ``<number>_best.<what>.loss.<loss>.csv`` of a sub-stage.

    Parameters
    ----------
    folder : Path
    number : int
        Of the sub-stage, counted from 1 over all stages.
    loss : float
        Lowest validation loss, penalties included.
    parameters : Dataset, optional
        Written as W (target × source), alpha, eps and psi, the rows named by node.
    predicted : DataArray (condition, node), optional
        For the test conditions; written as y_hat, the columns named by node.
    """
    tables: dict[str, pd.DataFrame] = {}
    if parameters is not None:
        index = pd.Index(parameters["target"].values, name=0)
        for ours, theirs in PARAMETERS.items():
            if ours in parameters:
                dims = ("target", "source") if ours == "W" else ("node",)
                values = parameters[ours].transpose(*dims).values
                tables[theirs] = pd.DataFrame(values, index=index)
    if predicted is not None:
        ordered = predicted.transpose("condition", "node")
        tables["y_hat"] = pd.DataFrame(ordered.values, columns=ordered["node"].values)
    for what, frame in tables.items():
        _write(frame, folder / f"{number}_best.{what}.loss.{loss!r}.csv")


def write_params(folder: Path, W: xr.DataArray, corner: str) -> None:
    """Write ``params.csv`` of CellBox.jl: W, a row for each target, a column for each source.

    ``corner`` is the first cell, which the port takes from the network's own table.
    """
    ordered = W.transpose("target", "source")
    index = pd.Index(ordered["target"].values, name=corner)
    frame = pd.DataFrame(ordered.values, index=index, columns=ordered["source"].values)
    _write(frame, folder / "params.csv")


def mse(predicted: xr.DataArray, data: xr.Dataset) -> float:
    """Mean over the measured entries of the squared error, in units of sigma if there is one.

    NaN if nothing is measured.
    """
    observed = data["response"]
    error = predicted.sel(condition=observed["condition"].values).values - observed.values
    if "sigma" in data:
        error = error / data["sigma"].values
    squares = error[np.isfinite(observed.values)] ** 2
    return float(squares.mean()) if squares.size else float("nan")


def penalty_of(W: xr.DataArray, strengths: Mapping[str, float]) -> float:
    """l1·Σ|W| + l2·ΣW²."""
    values = W.values
    return float(strengths["l1"] * np.abs(values).sum() + strengths["l2"] * (values**2).sum())


def _write(frame: pd.DataFrame, path: Path, *, index: bool = True, na_rep: str = "") -> None:
    write_whole(path, csv_text(frame, index=index, missing=na_rep))
