"""Running a configuration of CellBox.jl: data, training, going on from a result, files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from pycellbox.backends import BackendName
from pycellbox.data import open_data, save_data
from pycellbox.ending import Ending
from pycellbox.errors import ResultFileError
from pycellbox.fitting import fit as fit_network
from pycellbox.interop import files, result_files
from pycellbox.interop.cellbox_jl.config import JuliaConfig
from pycellbox.interop.cellbox_jl.material import DEFAULT_CORNER, Material, material
from pycellbox.interop.joining import check_begun, follow_seed, joined
from pycellbox.interop.outcome import Outcome
from pycellbox.loading import load
from pycellbox.result import Fit
from pycellbox.simulation import truth

DATA_FILE = "data.nc"


@dataclass(frozen=True)
class Start:
    """Where training begins.

    Attributes
    ----------
    material : Material
    earlier : tuple of Fit
        The result to go on from; empty at the beginning.
    """

    material: Material
    earlier: tuple[Fit, ...] = ()


def prepare(config: JuliaConfig, folder: Path, backend: BackendName = "auto") -> Start:
    """Make the data, or read it with the result to go on from.

    Raises
    ------
    DataError
        A file of the configuration is missing or has another shape.
    ResultFileError
        There is no result to go on from, or it has run its course.
    """
    return _earlier(config, folder) if config.restart else Start(material(config, backend))


def run(
    config: JuliaConfig,
    start: Start,
    folder: Path,
    *,
    backend: BackendName = "auto",
    progress: bool = False,
) -> Outcome:
    """Train and write the results.

    Parameters
    ----------
    config : JuliaConfig
    start : Start
        As `prepare` makes it.
    folder : Path
        An existing folder.
    backend : {"auto", "julia", "numpy", "jax"}
        As for `pycellbox.fit`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Outcome
    """
    given, fits = start.material, start.earlier
    if not fits:
        save_data(given.data, folder / DATA_FILE)
    done = sum(fit.history.sizes["iteration"] for fit in fits)
    data = given.data
    roles = data["role"].values
    labels = [str(label) for label in data["condition"].values]
    fit = fit_network(
        _seen(data.isel(condition=roles != "test")).drop_vars("role"),
        config.recipe.replace(
            schedule=config.stage(config.updates - done), seed=follow_seed(config.seed, done)
        ),
        validation=[
            label for label, role in zip(labels, roles, strict=True) if role == "validation"
        ]
        or None,
        initial=given.start,
        backend=backend,
        progress=progress,
    )
    if fit.ending is Ending.INTERRUPTED:
        check_begun([fit])
    whole = joined(
        [*fits, fit], seed=config.seed, config=json.dumps(config.values), corner=given.corner
    )
    whole.save(folder / files.FIT_FILE)
    result_files.write_params(folder, whole.parameters["W"], given.corner)
    result_files.write_conditions(folder, labels, [str(role) for role in roles])
    known = truth(data) if "true_W" in data else None
    return Outcome(folder, whole, _seen(data), config.name, known)


def _earlier(config: JuliaConfig, folder: Path) -> Start:
    """Read the result to go on from, and its data."""
    for name in (files.FIT_FILE, DATA_FILE):
        if not (folder / name).is_file():
            raise ResultFileError(
                f"{folder} has no {name} to go on from; run the configuration without restart "
                "first, or name the folder of its result (--out)."
            )
    fit, data = load(folder / files.FIT_FILE), open_data(folder / DATA_FILE)
    roles = [str(role) for role in data["role"].values] if "role" in data.coords else []
    counts = {role: roles.count(role) for role in config.counts}
    if counts != config.counts or data.sizes["node"] != config.values["ns"]:
        raise ResultFileError(
            f"{folder} holds the run of another configuration: {data.sizes['node']} nodes and "
            f"{counts} conditions, where {config.path} has {config.values['ns']} and "
            f"{config.counts}."
        )
    done = fit.history.sizes["iteration"]
    if done >= config.updates:
        raise ResultFileError(
            f"{folder} has run its course, {done} updates; to go on, raise n_iter_max in "
            f"{config.path}."
        )
    corner = str(fit.provenance.get("corner", DEFAULT_CORNER))
    return Start(Material(data, fit.parameters, corner), (fit,))


def _seen(data: xr.Dataset) -> xr.Dataset:
    """Leave out the truth, which no experimenter sees."""
    true = [name for name in data.data_vars if str(name).startswith("true_")]
    return data.drop_vars(true).drop_vars(("target", "source"), errors="ignore")
