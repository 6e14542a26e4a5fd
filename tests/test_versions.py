"""Files of fits that earlier versions wrote: see "How file versions go on" in CONTRIBUTING.md."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.container import read_datasets, write_datasets
from pycellbox.result import FORMAT_VERSION

# Of data that are noise.
pytestmark = pytest.mark.filterwarnings("ignore::pycellbox.DataWarning")
GOLDEN = sorted((Path(__file__).parent / "golden").glob("v*/*.nc"))
STAGE = pcb.Stage(3, learning_rate=0.01)
# What the fits were told, as far as it is not a default of this kind of data.
TOLD = {
    "clamped-two-stages": {
        "solver": pcb.Heun(0.1), "loss": pcb.Loss("huber", 0.3), "horizon": 6.0,
        "schedule": (
            pcb.Stage(3, {"node_to_node": 0.02, "rates": 0.01}, batch_size=4),
            pcb.Stage(3, horizon=4.0, penalty=pcb.Penalty(l1=1e-4)),
        ),
    },
    "course-held-range": {"solver": pcb.RK4(0.1), "schedule": (pcb.Stage(4, prefix=2),)},
    "course-lbfgs-float32": {
        "dtype": "float32", "schedule": (pcb.Stage(4, optimizer=pcb.LBFGS()),),
    },
    "pruned": {"solver": pcb.RK4(0.1), "schedule": (pcb.Stage(4, prefix=2),)},
    "refined": {"solver": pcb.Tsit5(1e-5, 1e-7), "schedule": (pcb.Stage(30),)},
    "screen-steady-state": {
        "solver": pcb.SteadyState(), "horizon": 10.0, "schedule": (pcb.Stage(5),),
    },
}  # fmt: skip


def test_there_are_some_of_every_earlier_version():
    assert {path.parent.name for path in GOLDEN} == {f"v{k}" for k in range(1, FORMAT_VERSION)}
    assert {path.stem for path in GOLDEN} == set(TOLD)


@pytest.fixture(params=GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def path(request):
    return request.param


def test_they_predict_what_they_hold(path):
    fit = pcb.load(path)
    predicted = fit.predict(fit.data, backend="numpy")
    # The same bits where they were written; elsewhere another BLAS may round in another way.
    few = 100 * np.finfo(predicted.dtype).eps
    np.testing.assert_allclose(predicted, fit.predictions, rtol=0, atol=few)
    assert predicted.dtype == fit.predictions.dtype


@pytest.mark.slow
def test_they_are_whole_and_go_on_in_this_version(path, tmp_path):
    fit, groups = pcb.load(path), read_datasets(path)
    for name, value in ({"seed": 3} | TOLD[path.stem]).items():
        assert getattr(fit.recipe, name) == value, name
    for name in ("parameters", "history", "data"):
        own = groups[name].drop_vars("mask", errors="ignore")
        xr.testing.assert_identical(getattr(fit, name), own)
    assert (fit.ending, fit.status) == (pcb.Ending.COMPLETED, "completed")
    assert "completed; numpy backend" in repr(fit)
    assert "settings" in fit._repr_html_()
    assert fit.evaluate(fit.data, baselines=False).table.notna().any(axis=None)
    written = fit.save(tmp_path / "fit.nc")
    assert read_datasets(written)[""].attrs["format_version"] == FORMAT_VERSION
    again = pcb.load(written)
    assert again.recipe == fit.recipe
    assert again.provenance == fit.provenance
    assert again.horizon == fit.horizon
    xr.testing.assert_identical(again.predictions, fit.predictions)


@pytest.mark.slow
def test_they_are_fitted_and_pruned_further(path):
    fit = pcb.load(path)
    data, roles = fit.data.drop_vars("role"), fit.data["role"]
    judges = list(data["condition"].values[roles == "validation"]) or None
    told = fit.recipe.replace(schedule=STAGE)
    if not (fit.parameters["W"] != 0).any():
        with pytest.raises(pcb.PycellboxError, match="nothing to fit"):
            pcb.fit(data, told)
        return
    again = pcb.fit(data, told, validation=judges, backend="numpy", progress=False)
    assert again.recipe == told
    if judges:
        pruned = pcb.prune(fit, edges=[1], choose="lowest", schedule=STAGE)
        assert pruned.path[1].recipe == told.replace(
            model=pruned.path[1].model, horizon=fit.horizon
        )


@pytest.mark.parametrize("name", ["course-lbfgs-float32", "pruned"])
def test_they_are_refined_further(name):
    fit = pcb.load(Path(__file__).parent / "golden" / "v1" / f"{name}.nc")
    if name == "pruned":  # ε tied to α has no minimum of its own
        with pytest.raises(pcb.PycellboxError, match="response_range"):
            pcb.refine(fit)
        return
    refined = pcb.refine(fit, rounds=2, iterations=30)
    assert refined.recipe == fit.recipe.replace(dtype="float64", model=refined.model)
    assert not (refined.parameters["W"] != 0).any()  # the data are noise alone


@pytest.mark.slow
@pytest.mark.parametrize("version", [FORMAT_VERSION + 1, 99])
def test_a_newer_one_says_what_to_do(version, path, tmp_path):
    groups = read_datasets(path)
    groups[""].attrs["format_version"] = version
    later = write_datasets(tmp_path / "later.nc", groups)
    with pytest.raises(pcb.ResultFileError, match=rf"format version {version}.*upgrade"):
        pcb.load(later)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["model", "solver", "horizon", "provenance"])
def test_a_part_of_an_earlier_one_is_missed(lost, path, tmp_path):
    groups = read_datasets(path)
    del groups[""].attrs[lost]
    with pytest.raises(pcb.ResultFileError, match=rf"is damaged.*{lost}"):
        pcb.load(write_datasets(tmp_path / "less.nc", groups))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("completed", pcb.Ending.COMPLETED),
        ("interrupted in stage 1", pcb.Ending.INTERRUPTED),
        ("interrupted after sub-stage 2 of 3", pcb.Ending.INTERRUPTED),
        ("stopped in stage 0: the trajectory is not finite.", pcb.Ending.DIVERGED),
    ],
)
def test_how_an_earlier_one_ended_is_read_from_its_words(status, ending, path, tmp_path):
    groups = read_datasets(path)
    told = json.loads(groups[""].attrs["provenance"]) | {"status": status}
    groups[""].attrs["provenance"] = json.dumps(told)
    fit = pcb.load(write_datasets(tmp_path / "fit.nc", groups))
    assert (fit.ending, fit.status) == (ending, status)


def test_one_from_before_the_history_had_horizons_keeps_its_own(tmp_path):
    groups = read_datasets(Path(__file__).parent / "golden" / "v1" / "clamped-two-stages.nc")
    groups["history"] = groups["history"].drop_vars("horizon")
    fit = pcb.load(write_datasets(tmp_path / "fit.nc", groups))
    assert (fit.horizon, fit.recipe.horizon) == (4.0, 6.0)
