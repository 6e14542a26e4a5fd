"""Training through the sub-stages of a configuration, and the result files of each."""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.backends import BackendName
from pycellbox.common.files import write_whole
from pycellbox.ending import Ended, Ending, interrupted
from pycellbox.errors import DataWarning
from pycellbox.fitting import fit as fit_network
from pycellbox.interop import files, result_files
from pycellbox.interop.cellbox.config import CellBoxConfig, SubStage
from pycellbox.interop.cellbox.experiment import Experiment, data_files
from pycellbox.interop.cellbox.partition import FULL, RANDOM, REPLICATES
from pycellbox.interop.joining import check_begun, follow_seed, joined
from pycellbox.interop.outcome import Outcome
from pycellbox.result import Fit


def run(
    config: CellBoxConfig,
    experiment: Experiment,
    folder: Path,
    *,
    backend: BackendName = "auto",
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
    backend : {"auto", "julia", "numpy", "jax"}
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
    per_epoch = math.ceil(experiment.parts.train.size / config.values["batchsize"])
    verbose = config.values["export_verbose"]
    try:
        for number, sub_stage in enumerate(config.sub_stages, 1):
            began = time.perf_counter()
            fit = _train(config, experiment, sub_stage, number, start, backend, progress)
            fits.append(fit)
            start = fit.parameters
            scores = _Scores.of(experiment, sub_stage, fit, backend)
            record.add_history(fit.history, per_epoch, fit.provenance["seconds"])
            record.add_evaluation(scores.valid_loss, scores.valid_mse, scores.test_mse)
            record.write(folder)
            result_files.write_best(
                folder,
                number,
                scores.loss,
                fit.parameters if verbose > 0 else None,
                scores.predicted if verbose > 1 or verbose == -1 else None,
            )
            seconds = time.perf_counter() - began
            tell(_line(number, sub_stage, fit, scores, seconds))
            if fit.ending is not Ending.COMPLETED:
                break
        ended = _ended(fits, len(config.sub_stages))
    except KeyboardInterrupt:  # between two sub-stages; within one, its fit ends early
        ended = interrupted(f"after sub-stage {len(fits)} of {len(config.sub_stages)}")
    check_begun(fits)
    settings = json.dumps(_settings(config))
    whole = joined(fits, seed=config.seed, config=settings, **ended.to_dict())
    whole.save(folder / files.FIT_FILE)
    name = config.values["experiment_type"]
    data = experiment.data.drop_vars("sigma", errors="ignore")
    order = np.concatenate([experiment.parts.fit, experiment.parts.test])
    return Outcome(folder, whole, data.isel(condition=order), name)


def _train(
    config: CellBoxConfig,
    experiment: Experiment,
    sub_stage: SubStage,
    number: int,
    start: xr.Dataset,
    backend: BackendName,
    progress: bool,
) -> Fit:
    train = experiment.rows("train")
    horizon = sub_stage.steps * config.values["dT"]
    stage = sub_stage.stage(horizon, train.sizes["condition"], config.values["batchsize"])
    validation = experiment.rows("validation")
    with warnings.catch_warnings():
        # With weight_loss it is a weight, not what was measured.
        warnings.filterwarnings("ignore", "sigma", DataWarning)
        return fit_network(
            experiment.data.isel(condition=experiment.parts.fit).drop_vars("role"),
            config.recipe.replace(
                schedule=stage,
                penalty=stage.penalty,
                horizon=horizon,
                seed=follow_seed(config.seed, number),
            ),
            validation=[str(label) for label in validation["condition"].values] or None,
            initial=start,
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
    def of(
        cls, experiment: Experiment, sub_stage: SubStage, fit: Fit, backend: BackendName
    ) -> _Scores:
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
    if not (target.exists() and target.samefile(config.path)):
        write_whole(target, json.dumps(_settings(config), indent=4) + "\n")


def _settings(config: CellBoxConfig) -> dict[str, Any]:
    """Every setting, in the keys of a configuration that does the same again with ``-i 0``."""
    values = {name: value for name, value in config.values.items() if value is not None}
    values |= {key: str(path) for key, path in data_files(config).items()}
    return values | {"seed": config.seed}


def _line(number: int, sub: SubStage, fit: Fit, scores: _Scores, seconds: float) -> str:
    shown = {"validation": scores.valid_mse, "test": scores.test_mse}
    errors = ", ".join(f"{n} {v:.4g}" for n, v in shown.items() if not math.isnan(v))
    return (
        f"sub-stage {number}: nT {sub.steps}, learning rate {sub.learning_rate:g}, l1 {sub.l1:g}, "
        f"{fit.history.sizes['iteration']} iterations in {seconds:.1f} s"
        + (f"; mse: {errors}" if errors else "")
    )


def _ended(fits: list[Fit], wanted: int) -> Ended:
    where = f"sub-stage {len(fits)} of {wanted}"
    return Ended(fits[-1].ending, fits[-1].status.replace("stage 0", where))
