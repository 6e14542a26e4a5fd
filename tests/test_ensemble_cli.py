"""``pycellbox ensemble``: of data, of a fit, gone on with, predicted from, refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli import main
from tests.support.commands import error_of
from tests.support.screens import dataset, screen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensemble")
    doses, y = screen(np.random.default_rng(3))
    pcb.save_data(dataset(doses, y, ["protein"] * 4 + ["phenotype"] * 2), folder / "data.nc")
    words = ["--data", f"{folder}/data.nc", "--test", "0.3", "--members", "3", "--seed", "1"]
    words += ["--store", f"{folder}/store", "--backend", "numpy"]
    assert main(["ensemble", *words, "--out", f"{folder}/members.nc"]) == 0
    return folder


def test_it_is_that_of_python(folder, capsys):
    found, data = pcb.load(folder / "members.nc"), pcb.open_data(folder / "data.nc")
    split = pcb.splits.random(data, seed=1, fit_fraction=0.7, train_fraction=1)
    rows = data.drop_sel(condition=list(split.test))
    python = pcb.ensemble(rows, pcb.Recipe(seed=1), members=3, seed=1, backend="numpy")
    xr.testing.assert_identical(found.members, python.members)
    words = ["--data", f"{folder}/data.nc", "--test", "0.3", "--members", "4", "--seed", "1"]
    words += ["--store", f"{folder}/store", "--backend", "numpy", "--out", f"{folder}/more.nc"]
    before = {path: path.stat().st_mtime_ns for path in (folder / "store").glob("*.nc")}
    assert main(["ensemble", *words]) == 0  # goes on
    assert len(before) == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    printed = capsys.readouterr().out
    assert "members     4 fitted, conditions drawn again" in printed
    assert "4 × CellBox" in printed
    assert "ridge" in printed


def test_a_fit_is_taken_and_files_are_predicted_from(folder, capsys):
    fit = pcb.load(folder / "members.nc").fit
    fit.save(folder / "fit.nc")
    words = ["--fit", f"{folder}/fit.nc", "--members", "2", "--resample", "none"]
    assert main(["ensemble", *words, "--out", f"{folder}/two.nc"]) == 0
    assert "2 fitted\n" in capsys.readouterr().out
    nodes = fit.parameters["node"].values
    drug = nodes[fit.parameters["node_kind"].values == "drug"][0]
    (folder / "new.csv").write_text(f"condition,{drug}\nsome,1.5\n")
    table = folder / "intervals.csv"
    given = ["--perturbation", f"{folder}/new.csv", "--interval", "0.5", "--out", str(table)]
    assert main(["predict", f"{folder}/members.nc", *given]) == 0
    rows = pd.read_csv(table)
    measured = rows.dropna()
    assert (measured["lower"] <= measured["response"]).all()
    assert (measured["response"] <= measured["upper"]).all()
    doses = xr.zeros_like(fit.data["perturbation"][[0]]).assign_coords(condition=["some"])
    doses.loc["some", drug] = 1.5
    python = pcb.load(folder / "members.nc").predict(doses, interval=0.5)
    np.testing.assert_allclose(rows["response"], python["mean"].values.ravel(), rtol=1e-9)
    assert main(["evaluate", f"{folder}/members.nc", "--data", f"{folder}/data.nc"]) == 0
    assert "3 × CellBox" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--members", "1"], "--members 1"),
        (["--resample", "rows"], "'conditions', 'residuals', 'none'"),
        (["--jobs", "0"], "--jobs=0"),
        (["--fit", "{}/fit.nc", "--data", "{}/data.nc"], "leave --data out"),
        (["--out", "members.csv"], ".nc"),
        (["--store", "{}/data.nc"], "cannot be used"),
    ],
)
def test_what_does_not_fit_is_refused(folder, words, said, capsys):
    given = [word.format(folder) for word in words]
    data = [] if "--fit" in words else ["--data", f"{folder}/data.nc"]
    out = [] if "--out" in words else ["--out", f"{folder}/x.nc"]
    assert said in error_of(["ensemble", *data, *out, *given], capsys)
    assert not (folder / "x.nc").exists()
