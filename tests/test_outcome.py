"""The command line loses nothing: neither a finished fit nor an input, nor a fit that it made."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.errors import DataError
from tests.support.problems import dataset


@pytest.fixture(scope="module")
def fitted():
    return pcb.fit(dataset(np.random.default_rng(0)), schedule=pcb.Stage(3), progress=False)


@pytest.fixture(scope="module")
def template(tmp_path_factory, fitted):
    """Two tables, their dataset, and a fit of them."""
    folder = tmp_path_factory.mktemp("template")
    data = dataset(np.random.default_rng(0))
    for name in ("perturbation", "response"):
        data[name].to_pandas().to_csv(folder / f"{name}.csv")
    pcb.save_data(data, folder / "data.nc")
    fitted.save(folder / "fit.nc")
    (folder / "kinds.csv").write_text("".join(f"{n},protein\n" for n in data["node"].values))
    return folder


@pytest.fixture
def folder(tmp_path, monkeypatch, template):
    """Copy the template; it is the working directory."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def ended(fit, status, iterations, ending=pcb.Ending.INTERRUPTED):
    """Make the fit that the loop returns when it is cut short."""
    tree = fit.tree.copy()
    tree["history"] = tree["history"].to_dataset().isel(iteration=slice(iterations))
    tree.attrs["provenance"] = json.dumps(
        fit.provenance | {"ending": ending.value, "status": status}
    )
    return pcb.Fit(tree)


def contents():
    return {str(p): p.read_bytes() for p in Path().rglob("*") if p.is_file()}


FIT = ["fit", "--data", "data.nc", "--iterations", "1", "--no-baselines", "--out"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "code"), [(pcb.Ending.INTERRUPTED, 130), (pcb.Ending.DIVERGED, 1)], ids=str
)
def test_a_fit_cut_short_takes_no_finished_fits_place(
    ending, code, folder, fitted, monkeypatch, capsys
):
    Path("tables").mkdir()
    Path("tables/W.csv").write_text("older")
    before = contents()
    cut = ended(fitted, status := "in words", 2, ending)
    monkeypatch.setattr("pycellbox.cli.commands.fit_network", lambda *a, **k: cut)
    assert main([*FIT, "fit.nc", "--csv", "tables"]) == code
    said = capsys.readouterr()
    assert "fit.nc holds a finished fit and stays" in said.err
    assert "saved fit.unfinished.nc" in said.out
    assert pcb.load("fit.unfinished.nc").status == status
    after = contents()
    del after["fit.unfinished.nc"]
    assert after == before


@pytest.mark.slow
def test_a_fit_cut_short_is_saved_where_no_finished_one_is(folder, fitted, monkeypatch):
    cut = ended(fitted, "interrupted in stage 0", 2)
    monkeypatch.setattr("pycellbox.cli.commands.fit_network", lambda *a, **k: cut)
    before = contents()
    assert main([*FIT, "new.nc", "--csv", "new"]) == 130
    assert pcb.load("new.nc").status == cut.status
    assert Path("new/W.csv").is_file()
    assert main([*FIT, "new.nc"]) == 130  # is no better
    monkeypatch.setattr("pycellbox.cli.commands.fit_network", lambda *a, **k: fitted)
    assert main([*FIT, "new.nc"]) == 0
    assert pcb.load("new.nc").status == "completed"
    assert len(contents()) == len(before) + 6


@pytest.mark.parametrize("out", ["fit.nc", "new.nc"])
def test_an_interrupt_before_the_first_iteration_saves_nothing(
    out, folder, fitted, monkeypatch, capsys
):
    before = contents()
    cut = ended(fitted, "interrupted in stage 0", 0)
    monkeypatch.setattr("pycellbox.cli.commands.fit_network", lambda *a, **k: cut)
    assert main([*FIT, out, "--csv", "."]) == 130
    assert "interrupted before the first iteration; nothing is saved" in capsys.readouterr().err
    assert contents() == before


def forbid(monkeypatch):
    def untouched(*args, **options):
        raise AssertionError("work began")

    monkeypatch.setattr("pycellbox.cli.commands.fit_network", untouched)
    monkeypatch.setattr(pcb.Fit, "predict", untouched)
    monkeypatch.setattr(pcb.Fit, "evaluate", untouched)


TABLES = ["--perturbation", "perturbation.csv", "--response", "response.csv"]


def linked(make, path):
    make(path, "alias" + Path(path).suffix)
    return "alias" + Path(path).suffix


ALIASES = {
    "itself": lambda path: path,
    "another way there": lambda path: str(Path("..") / Path.cwd().name / path),
    "its whole path": lambda path: str(Path(path).resolve()),
    "a link": lambda path: linked(os.symlink, path),
    "a hard link": lambda path: linked(os.link, path),
}


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize(
    ("words", "source"),
    [
        (["fit", "--data", "data.nc", "--out", "{}"], "data.nc"),
        (["predict", "fit.nc", "--perturbation", "perturbation.csv", "--out", "{}"], "fit.nc"),
        (["predict", "fit.nc", "--perturbation", "perturbation.csv", "--out", "{}"],
         "perturbation.csv"),
    ],
)  # fmt: skip
def test_an_output_that_is_an_input_is_refused(alias, words, source, folder, monkeypatch, capsys):
    name = ALIASES[alias](source)
    before = contents()
    forbid(monkeypatch)
    assert main([word.format(name) for word in words]) == 2
    assert f"it is the input '{source}'" in capsys.readouterr().err
    assert contents() == before


@pytest.mark.parametrize(
    ("words", "table", "source"),
    [
        (["fit", *TABLES, "--out", "new.nc"], "predictions.csv", "perturbation.csv"),
        (["fit", *TABLES, "--out", "new.nc"], "W.csv", "response.csv"),
        (["fit", *TABLES, "--out", "new.nc", "--node-kind", "kinds.csv"], "rates.csv", "kinds.csv"),
        (["fit", "--data", "data.nc", "--out", "new.nc", "--test", "kinds.csv"], "conditions.csv",
         "kinds.csv"),
        (["evaluate", "fit.nc", *TABLES], "scores.csv", "response.csv"),
        (["evaluate", "fit.nc", "--data", "data.nc"], "by_node.csv", "data.nc"),
    ],
)  # fmt: skip
def test_a_table_that_would_replace_an_input_is_refused(
    words, table, source, folder, monkeypatch, capsys
):
    Path("tables").mkdir()
    os.symlink(Path(source).resolve(), Path("tables") / table)
    before = contents()
    forbid(monkeypatch)
    assert main([*words, "--csv", "tables"]) == 2
    assert f"it is the input '{source}'" in capsys.readouterr().err
    assert contents() == before


@pytest.mark.parametrize(
    "out",
    ["x" * 252 + "y.nc", "file/x.nc", "protected.nc", "folder.nc", "a\0.nc", "/proc/x.nc"],
)
@pytest.mark.parametrize("option", ["--out", "--csv"])
def test_an_output_that_cannot_be_written_is_refused_before_a_fit(
    out, option, folder, monkeypatch, capsys
):
    Path("file").write_text("")
    Path("folder.nc").mkdir()
    Path("protected.nc").write_text("old")
    Path("protected.nc").chmod(0o444)
    if option == "--csv" and out == "folder.nc":
        Path("folder.nc/W.csv").mkdir()
    forbid(monkeypatch)
    rest = [*FIT, out] if option == "--out" else [*FIT, "new.nc", "--csv", out]
    assert main(rest) == 2
    assert "cannot" in capsys.readouterr().err


def test_a_folder_is_made_for_a_result(folder, fitted, monkeypatch):
    monkeypatch.setattr("pycellbox.cli.commands.fit_network", lambda *a, **k: fitted)
    assert main([*FIT, "a/b/new.nc"]) == 0
    shutil.rmtree("a")


@pytest.mark.parametrize("name", ["response", "perturbation"])
@pytest.mark.parametrize("value", [1e39, -1e300])
def test_numbers_beyond_float32_are_refused_before_a_fit(name, value):
    data = dataset(np.random.default_rng(0))
    data[name][3, 2] = value
    with pytest.raises(DataError, match=r"node 'C' in condition 'c3'.*float64"):
        pcb.fit(data, dtype="float32", progress=False)
