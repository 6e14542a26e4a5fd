"""Running a configuration of CellBox: data, partition, start, sub-stages, result files."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.data import condition_labels, from_tables, read_csv
from pycellbox.errors import DataError
from pycellbox.fitting import fit as fit_network
from pycellbox.interop import files, result_files
from pycellbox.interop.cellbox_json import CellBoxConfig, SubStage
from pycellbox.interop.joining import follow_seed, joined
from pycellbox.interop.outcome import Outcome
from pycellbox.interop.partition import FULL, RANDOM, REPLICATES, Partition, partition
from pycellbox.problem import Structure, parameter_dataset
from pycellbox.result import Fit

_RAW_RATE = 1.0
"""Where α, ε and ψ start, before softplus."""

_NO_WEIGHT = 1e-12
"""Weight of a response of exactly 0 under weight_loss "expr", which gives it none."""


@dataclass(frozen=True)
class Experiment:
    """What a configuration's seed and files make, before any training.

    Attributes
    ----------
    data : Dataset
        All conditions, noise added.
    parts : Partition
    start : Dataset
        Parameters that the first sub-stage starts from.
    """

    data: xr.Dataset
    parts: Partition
    start: xr.Dataset

    def rows(self, role: str) -> xr.Dataset:
        """Conditions of a role, in the order drawn."""
        return self.data.isel(condition=getattr(self.parts, role))


def prepare(config: CellBoxConfig) -> Experiment:
    """Read the data and draw noise, partition and start, as the original does with this seed.

    Noise is added to all responses, also those of the test, because the original does so.

    Raises
    ------
    DataError
        A file is missing or has another shape, or a part would be empty.
    """
    values = config.values
    data = _read_data(config)
    draw = np.random.RandomState(config.seed)
    noise = values["add_noise_level"]
    if noise > 0:
        response = data["response"]
        data["response"] = response + draw.normal(loc=0, scale=noise, size=response.shape)
    parts = partition(
        values["experiment_type"],
        data["perturbation"].values != 0,
        draw,
        config.fit_share,
        values["validset_ratio"],
        config.drug_column,
    )
    data = data.assign_coords(role=("condition", parts.roles(data.sizes["condition"])))
    if values["weight_loss"] == "expr":
        size = np.maximum(np.abs(data["response"]), _NO_WEIGHT)
        data["sigma"] = 1 / np.sqrt(size)
    structure = Structure.over(config.model, data["node"].values, data["node_kind"].values)
    n = structure.n_nodes
    start = {"W": np.where(structure.mask, draw.normal(0.01, size=(n, n)), 0)}
    start |= {name: np.full(n, np.logaddexp(0, _RAW_RATE)) for name in config.model.rates}
    return Experiment(data, parts, parameter_dataset(structure, start))


def run(
    config: CellBoxConfig,
    experiment: Experiment,
    folder: Path,
    *,
    backend: str = "auto",
    progress: bool = False,
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Train through all sub-stages and write the results.

    Parameters
    ----------
    config : CellBoxConfig
    experiment : Experiment
        As `prepare` makes it.
    folder : Path
        An existing folder.
    backend : str
        As for `pycellbox.fit`.
    progress : bool
        Show progress bars.
    tell : callable
        Is given a line about each finished sub-stage.

    Returns
    -------
    Outcome
    """
    _write_beginning(config, experiment, folder)
    record, fits = result_files.Record(), list[Fit]()
    start = experiment.start
    for number, sub_stage in enumerate(config.sub_stages, 1):
        began = time.perf_counter()
        fit = _train(config, experiment, sub_stage, number, start, backend, progress)
        fits.append(fit)
        start = fit.parameters
        scores = _Scores.of(experiment, sub_stage, fit, backend)
        per_epoch = math.ceil(experiment.parts.train.size / config.values["batchsize"])
        record.add_history(fit.history, per_epoch, fit.provenance["seconds"])
        record.add_evaluation(scores.valid_loss, scores.valid_mse, scores.test_mse)
        record.write(folder)
        verbose = config.values["export_verbose"]
        result_files.write_best(
            folder,
            number,
            scores.loss,
            fit.parameters if verbose > 0 else None,
            scores.predicted if verbose > 1 or verbose == -1 else None,
        )
        seconds = time.perf_counter() - began
        tell(_line(number, sub_stage, fit, scores, seconds))
        if fit.status != "completed":
            break
    settings = json.dumps(_settings(config))
    whole = joined(
        fits, seed=config.seed, status=_status(fits, len(config.sub_stages)), config=settings
    )
    whole.save(folder / files.FIT_FILE)
    name = config.values["experiment_type"]
    data = experiment.data.drop_vars("sigma", errors="ignore")
    order = np.concatenate([experiment.parts.fit, experiment.parts.test])
    return Outcome(folder, whole, data.isel(condition=order), name)


def _read_data(config: CellBoxConfig) -> xr.Dataset:
    values = config.values
    paths = {
        key: files.find(values[key], key, config.search)
        for key in ("pert_file", "expr_file", "node_index_file")
        if values[key] is not None
    }
    nodes: Any = paths.get("node_index_file")
    if nodes is None:
        nodes = [str(i) for i in range(values["n_x"])]
    if values["sparse_data"]:
        names = _sparse_names(nodes)
        pert, expr = (_read_sparse(paths[key], len(names)) for key in ("pert_file", "expr_file"))
        data = from_tables(
            pert, expr, conditions=condition_labels(pert, names), nodes=names,
            node_kind=_kinds(config, len(names)),
        )  # fmt: skip
    else:
        try:
            data = read_csv(paths["pert_file"], paths["expr_file"], nodes=nodes)
        except DataError as error:
            whence = "" if values["node_index_file"] else f", n_x {values['n_x']}"
            raise DataError(f"{config.path}{whence}: {error}") from error
        kinds = _kinds(config, data.sizes["node"])
        data = data.assign_coords(node_kind=("node", kinds))
    data["perturbation"] = data["perturbation"].astype(np.float64)
    return data


def _kinds(config: CellBoxConfig, n_nodes: int) -> list[str]:
    if n_nodes != config.values["n_x"]:
        raise DataError(
            f"{config.path}: n_x is {config.values['n_x']}, and the data has {n_nodes} nodes; they "
            "need to be the same number."
        )
    return [kind for kind, count in config.node_kind.items() for _ in range(count)]


def _sparse_names(nodes: Any) -> list[str]:
    if isinstance(nodes, Path):
        return [line.strip() for line in files.read_text(nodes).splitlines() if line.strip()]
    return list(nodes)


def _read_sparse(path: Path, n_nodes: int) -> np.ndarray:
    """Read a matrix that SciPy saved; what it does not hold is 0, also in responses."""
    from scipy import sparse

    try:
        matrix = sparse.load_npz(path)
    except Exception as error:  # zipfile, NumPy and SciPy each have their own
        raise DataError(
            f"{path} is no sparse matrix as scipy.sparse.save_npz writes it ({error}); for tables "
            "of text leave sparse_data out."
        ) from error
    dense = np.asarray(matrix.toarray(), dtype=np.float64)
    if dense.shape[1] != n_nodes:
        raise DataError(
            f"{path} has {dense.shape[1]} columns; it needs one for each of the {n_nodes} nodes."
        )
    return dense


def _train(
    config: CellBoxConfig,
    experiment: Experiment,
    sub_stage: SubStage,
    number: int,
    start: xr.Dataset,
    backend: str,
    progress: bool,
) -> Fit:
    train = experiment.rows("train")
    horizon = sub_stage.steps * config.values["dT"]
    stage = sub_stage.stage(horizon, train.sizes["condition"], config.values["batchsize"])
    validation = experiment.rows("validation")
    return fit_network(
        experiment.data.isel(condition=experiment.parts.fit).drop_vars("role"),
        config.model,
        validation=[str(label) for label in validation["condition"].values] or None,
        solver=config.solver,
        schedule=stage,
        loss="mse",
        penalty=stage.penalty,
        horizon=horizon,
        initial=start,
        seed=follow_seed(config.seed, number),
        backend=backend,
        progress=progress,
    )


@dataclass(frozen=True)
class _Scores:
    """A sub-stage's best parameters on validation and test."""

    loss: float
    valid_loss: float
    valid_mse: float
    test_mse: float
    predicted: xr.DataArray | None

    @classmethod
    def of(cls, experiment: Experiment, sub_stage: SubStage, fit: Fit, backend: str) -> _Scores:
        test = experiment.rows("test")
        strengths = {"l1": sub_stage.l1, "l2": sub_stage.l2}
        penalty = result_files.penalty_of(fit.parameters["W"], strengths)
        valid = result_files.mse(fit.predictions, experiment.rows("validation"))
        judged = valid
        if math.isnan(valid):  # no validation set
            judged = result_files.mse(fit.predictions, experiment.rows("train"))
        predicted, test_mse = None, math.nan
        if test.sizes["condition"]:
            predicted = fit.predict(test, backend=backend)
            test_mse = result_files.mse(predicted, test)
        return cls(judged + penalty, valid + penalty, valid, test_mse, predicted)


def _write_beginning(config: CellBoxConfig, experiment: Experiment, folder: Path) -> None:
    parts, labels = experiment.parts, experiment.data["condition"].values
    if config.values["experiment_type"] in (RANDOM, REPLICATES, FULL):
        result_files.write_random_pos(folder, np.concatenate([parts.fit, parts.test]))
    roles = parts.roles(labels.size)
    result_files.write_conditions(folder, [str(label) for label in labels], roles)
    target = folder / "config.json"
    if target.resolve() != config.path.resolve():
        files.write_text(target, json.dumps(_settings(config), indent=4) + "\n")


def _settings(config: CellBoxConfig) -> dict[str, Any]:
    """Every setting, in the keys of a configuration that does the same again with ``-i 0``."""
    values = {name: value for name, value in config.values.items() if value is not None}
    for key in ("pert_file", "expr_file", "node_index_file"):
        if key in values:
            values[key] = str(files.find(values[key], key, config.search))
    return values | {"seed": config.seed}


def _line(number: int, sub: SubStage, fit: Fit, scores: _Scores, seconds: float) -> str:
    shown = {"validation": scores.valid_mse, "test": scores.test_mse}
    errors = ", ".join(f"{n} {v:.4g}" for n, v in shown.items() if not math.isnan(v))
    return (
        f"sub-stage {number}: nT {sub.steps}, learning rate {sub.learning_rate:g}, l1 {sub.l1:g}, "
        f"{fit.history.sizes['iteration']} iterations in {seconds:.1f} s"
        + (f"; mse: {errors}" if errors else "")
    )


def _status(fits: list[Fit], wanted: int) -> str:
    last = fits[-1].status
    if last == "completed":
        return last
    return last.replace("stage 0", f"sub-stage {len(fits)} of {wanted}")
