"""What comes with the package is what was published, and opens like the user's own."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.datasets.shipped import DATASETS, FILES
from tests.support.data import SHARED_DATA
from tests.support.problems import dataset

KINDS = {"protein": 82, "phenotype": 5, "drug": 12}


def test_melanoma_is_the_published_tables_to_the_bit():
    source = SHARED_DATA / "melanoma"
    if not source.is_dir():
        pytest.skip(f"no melanoma data in {source}")
    for name in ("pert.csv", "expr.csv", "node_Index.csv"):
        assert (FILES / "melanoma" / name).read_bytes() == (source / name).read_bytes()
    read = pcb.read_csv(
        source / "pert.csv", source / "expr.csv", nodes=source / "node_Index.csv", node_kind=KINDS
    )
    xr.testing.assert_identical(pcb.datasets.melanoma(), read)


def test_melanoma_is_labelled_and_each_call_gives_its_own(recwarn):
    data = pcb.datasets.melanoma()
    xr.testing.assert_identical(pcb.validate(data), data)
    assert data["condition"].values[1] == "aMEK=-0.863+aHDAC=-0.551"
    data["response"][:] = 0.0
    assert np.abs(pcb.datasets.melanoma()["response"]).max() > 0
    assert not recwarn


def test_lynx_hare_is_the_published_table_to_the_bit():
    source = SHARED_DATA / "lynx_hare" / "lynx_hare_data.csv"
    if not source.exists():
        pytest.skip(f"no {source}")
    assert (FILES / "lynx_hare" / source.name).read_bytes() == source.read_bytes()


def test_lynx_hare_is_labelled_and_each_call_gives_its_own():
    data = pcb.datasets.lynx_hare()
    xr.testing.assert_identical(pcb.validate(data), data)
    pelts = data["response"].sel(condition="Canada", time=1935 - 1845)
    assert pelts.sel(node=["Hare", "Lynx"]).values.tolist() == [15.76, 35.4]
    assert data["time"].attrs["units"] == "y"
    data["response"][:] = 0.0
    assert (pcb.datasets.lynx_hare()["response"] > 0).all()


def test_every_public_dataset_is_known_to_the_command_line_and_documented():
    assert set(pcb.datasets.__all__) == set(DATASETS) == {p.name for p in FILES.iterdir()}
    for name, read in DATASETS.items():
        assert getattr(pcb.datasets, name) is read
        assert "doi:" in read.__doc__
        assert "licence" in read.__doc__


@pytest.mark.slow
def test_the_command_line_fits_and_evaluates_it(tmp_path, capsys):
    out = tmp_path / "fit.nc"
    words = ["fit", "--dataset", "melanoma", "--iterations", "1", "--test", "drug:aMEK"]
    assert main([*words, "--no-baselines", "--out", str(out)]) == 0
    assert "89 conditions × 99 nodes (82 proteins, 5 phenotypes, 12 drugs)" in (
        capsys.readouterr().out
    )
    fit = pcb.load(out)
    split = pcb.splits.leave_one_drug_out(
        pcb.datasets.melanoma(), keep_singles=True, drug="aMEK", train_fraction=1
    )
    assert set(fit.data["condition"].values) == set(split.fit)
    assert main(["evaluate", str(out), "--dataset", "melanoma", "--no-baselines"]) == 0
    assert "89 conditions" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("source", [["--dataset", "melanoma"], ["--data", "data.nc"]])
@pytest.mark.parametrize(
    "other",
    [
        ["--perturbation", "pert.csv"],
        ["--response", "expr.csv"],
        ["--sigma", "sigma.csv"],
        ["--nodes", "nodes.csv"],
        ["--node-kind", "protein=3"],
        ["--time-units", "min"],
        ["--data", "other.nc", "--dataset", "melanoma"],
    ],
    ids=lambda words: words[0],
)
def test_one_source_of_data_at_a_time(source, other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pcb.save_data(dataset(np.random.default_rng(0)), "data.nc")
    assert main(["fit", *source, *other, "--out", "fit.nc"]) == 2
    error = capsys.readouterr().err
    assert f"{source[0]}, {other[0]}" in error or "--data, --dataset" in error
    assert "do not go together" in error
    assert not (tmp_path / "fit.nc").exists()


def test_an_unknown_dataset_is_named(tmp_path, capsys):
    assert main(["fit", "--dataset", "melanomas", "--out", str(tmp_path / "fit.nc")]) == 2
    error = capsys.readouterr().err
    assert "--dataset melanomas is unknown" in error
    assert "there is lynx_hare, melanoma" in error
