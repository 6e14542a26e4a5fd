"""YAML configurations of CellBox.jl, from files of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.errors import PycellboxError, ResultFileError
from pycellbox.interop.cellbox_jl.material import material, read_network
from pycellbox.interop.cellbox_jl.reading import read_config
from pycellbox.interop.run import run_config

Write = Callable[..., Path]

NETWORK = """\
Genes,a,b,c,d
a,0,0,0,-1
b,1,0,0,0
c,0,1,0,0
d,0,0,1,1
"""
W = np.array([[0, 0, 0, -1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1.0]])

SETTINGS: dict[str, Any] = {
    "network": "networks/loop.csv",
    "ns": 4,
    "tfinal": 8.0,
    "ntotal": 4,
    "nplot": 100,
    "batch_size": 2,
    "epoch_size": -1,
    "lr": 0.02,
    "weight_decay": 0.0,
    "n_mu": 2,
    "n_exp_train": 5,
    "n_exp_val": 2,
    "n_exp_test": 3,
    "noise": 0.01,
    "n_iter_max": 3,
    "n_plot": 20,
    "n_iter_buffer": 10,
    "n_iter_burnin": 10,
    "n_iter_tol": 50,
    "convergence_tol": 1e-8,
}
DRAWN = {"network": None, "sparsity": 0.4, "drop_range": {"lb": -0.1, "ub": 0.1}}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a configuration with other or further settings; None takes one away."""
    monkeypatch.chdir(tmp_path)
    for folder in ("networks", "loop", "measured"):
        (tmp_path / folder).mkdir()
    Path("networks/loop.csv").write_text(NETWORK)

    def write(**changes: Any) -> Path:
        settings = {k: v for k, v in (SETTINGS | changes).items() if v is not None}
        Path("loop/config.yaml").write_text(yaml.safe_dump(settings))
        return Path("loop/config.yaml")

    return write


@pytest.fixture
def measured(config: Write) -> Callable[..., Path]:
    """Write a configuration whose data are twelve measured conditions."""
    rng = np.random.default_rng(3)
    pert = np.zeros((12, 4))
    for i, row in enumerate(pert):
        row[i % 4] = (i + 1) / 12
    np.savetxt("measured/pert.csv", pert, delimiter=",")
    np.savetxt("measured/expr.csv", -0.5 * pert + rng.normal(0, 0.01, pert.shape), delimiter=",")

    def write(**changes: Any) -> Path:
        usual = {"network": None, "data": "measured", "ntotal": 1, "batch_size": 1}
        return config(**(usual | changes))

    return write


# ---- a run


@pytest.mark.slow
def test_a_run_writes_params_and_our_own_result(config: Write) -> None:
    outcome = run_config(config())
    folder = outcome.folder
    assert folder.parts[0] == "results"
    assert folder.parent.name.startswith("loop_")
    assert folder.name == "seed_000"
    written = {path.name for path in folder.iterdir()}
    assert written == {"params.csv", "fit.nc", "data.nc", "conditions.csv"}
    fit = pcb.load(folder / "fit.nc")
    params = pd.read_csv(folder / "params.csv", index_col="Genes")
    np.testing.assert_allclose(params, fit.parameters["W"], rtol=1e-12)
    assert list(params.index) == list(params.columns) == list("abcd")

    # Three epochs of five conditions, one an update.
    assert fit.history.sizes["iteration"] == 15
    assert fit.data["role"].values.tolist() == ["train"] * 5 + ["validation"] * 2
    assert outcome.test is not None
    assert outcome.test.sizes["condition"] == 3
    stage = fit.recipe.stages[0]
    assert (stage.batch_size, stage.prefix) == (1, 2)
    assert fit.recipe.loss == pcb.Loss("mae")


def test_the_data_is_that_of_the_true_network(config: Write) -> None:
    outcome = run_config(config(noise=0.0, alpha=1.5))
    truth = outcome.truth
    assert truth is not None
    np.testing.assert_array_equal(truth["W"], W)
    assert set(truth["alpha"].values) == {1.5}
    data = pcb.open_data(outcome.folder / "data.nc")
    assert data["time"].values.tolist() == [2.0, 4.0, 6.0, 8.0]
    model = pcb.CellBox(form="ji-code", self_interaction=True, dose_saturation=None)
    solved = pcb.solve(
        model, truth, data["perturbation"], solver=pcb.RK4(0.01), times=data["time"].values
    )
    np.testing.assert_allclose(data["response"], solved, atol=1e-7)
    doses = data["perturbation"].values
    assert ((doses != 0).sum(axis=1) == 2).all()
    for column in doses.T:  # of a Latin hypercube: each level at most once
        levels = np.round(column[column != 0] * 10)
        assert len(set(levels)) == len(levels)
        assert set(levels) <= set(range(1, 11))


def test_noise_is_what_the_configuration_says(config: Write) -> None:
    data = material(read_config(config(noise=0.2, n_exp_train=200))).data
    error = data["response"] - data["true_response"]
    assert float(error.std()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.slow
def test_fitting_longer_finds_the_network(config: Write) -> None:
    path = config(noise=0.0, alpha=1.0, n_exp_train=12, n_iter_max=25, n_iter_tol=0, lr=0.05)
    outcome = run_config(path)
    fitted = outcome.fit.parameters["W"].values
    assert np.corrcoef(fitted.ravel(), W.ravel())[0, 1] > 0.9


def test_a_single_time_is_a_steady_state(config: Write) -> None:
    outcome = run_config(config(ntotal=1, batch_size=1))
    assert "time" not in outcome.fit.data.dims
    assert outcome.fit.horizon == 8.0
    assert outcome.fit.recipe.stages[0].prefix is None


@pytest.mark.slow
def test_the_same_index_gives_the_same_run_and_another_another(config: Write) -> None:
    first, again, other = (
        run_config(config(), index=i, out=f"run{k}").fit.parameters["W"].values
        for k, i in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_measured_data_is_dealt_to_the_parts(measured: Write) -> None:
    outcome = run_config(measured(n_exp_train=6))
    pert = np.loadtxt("measured/pert.csv", delimiter=",")
    expr = np.loadtxt("measured/expr.csv", delimiter=",")
    roles = pd.read_csv(outcome.folder / "conditions.csv")["role"]
    assert roles.tolist() == ["train"] * 6 + ["validation"] * 2 + ["test"] * 3
    used = outcome.data
    rows = [int(np.flatnonzero((pert == u).all(axis=1))[0]) for u in used["perturbation"].values]
    assert sorted(rows) == list(range(11))  # the twelfth is beyond what was asked for
    assert rows != sorted(rows)
    np.testing.assert_array_equal(used["response"], expr[rows])
    assert outcome.truth is None
    header = (outcome.folder / "params.csv").read_text().splitlines()[0]
    assert header == "Genes,x1,x2,x3,x4"


# ---- going on


@pytest.mark.slow
def test_a_restart_goes_on_from_the_result(config: Write) -> None:
    first = run_config(config(n_iter_max=3))
    more = run_config(config(n_iter_max=5), restart=True)
    assert more.folder == first.folder
    assert more.fit.history.sizes["iteration"] == 25
    assert more.fit.history["stage"].values.tolist() == [0] * 15 + [1] * 10
    np.testing.assert_array_equal(more.fit.history["loss"][:15], first.fit.history["loss"])
    same = more.fit.data["response"].values == first.fit.data["response"].values
    assert same.all()
    assert len(more.fit.recipe.stages) == 2
    # It began where the first ended: on the validation set no worse than that.
    before = np.nanmin(first.fit.history["validation_loss"])
    assert more.fit.history["validation_loss"].values[15:][4] < 2 * before
    assert pcb.load(more.folder / "fit.nc").history.sizes["iteration"] == 25


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:predicted far outside:pycellbox.DataWarning")
def test_a_restart_begins_at_the_parameters_reached(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycellbox.interop.cellbox_jl import training

    first = run_config(config())
    given = []

    def fit(*args: Any, **options: Any) -> pcb.Fit:
        given.append((args[1], options["initial"]))
        return pcb.fit(*args, **options)

    monkeypatch.setattr(training, "fit_network", fit)
    assert main(["run", str(config(n_iter_max=4)), "--is-restart", "--no-baselines"]) == 0
    ((recipe, start),) = given
    np.testing.assert_array_equal(start["W"], first.fit.parameters["W"])
    np.testing.assert_array_equal(start["alpha"], first.fit.parameters["alpha"])
    assert recipe.stages[0].iterations == 5


@pytest.mark.slow
def test_is_restart_in_the_configuration_or_in_runtime_yaml_counts(config: Write) -> None:
    run_config(config())
    assert run_config(config(n_iter_max=4, is_restart=True)).fit.history.sizes["iteration"] == 20
    config(n_iter_max=5)
    Path("runtime.yaml").write_text("is_restart: true\nexpr_name: loop\n")
    assert run_config("runtime.yaml").fit.history.sizes["iteration"] == 25


@pytest.mark.slow
def test_a_restart_needs_a_result_of_this_configuration_that_is_not_done(config: Write) -> None:
    with pytest.raises(pcb.ResultFileError, match=r"has no fit.nc to go on from"):
        run_config(config(), restart=True)
    run_config(config(), out="done")
    with pytest.raises(pcb.ResultFileError, match=r"has run its course, 15 updates"):
        run_config(config(), out="done", restart=True)
    with pytest.raises(pcb.ResultFileError, match=r"holds the run of another configuration"):
        run_config(config(n_exp_test=1, n_iter_max=9), out="done", restart=True)


@pytest.mark.slow
def test_a_finished_run_is_only_replaced_when_told(config: Write) -> None:
    run_config(config())
    with pytest.raises(pcb.ResultFileError, match="holds the result of a run"):
        run_config(config())
    run_config(config(), overwrite=True)
    assert run_config(config(noise=0.02)).folder != run_config(config(), overwrite=True).folder


# ---- what keys mean


def test_a_folder_and_runtime_yaml_name_the_configuration(config: Write) -> None:
    assert run_config(config().parent, out="a").name == "loop"
    Path("runtime.yaml").write_text("is_restart: false\nexpr_name: loop\n")
    assert run_config("runtime.yaml", out="b").name == "loop"
    Path("runtime.yaml").write_text("is_restart: false\nexpr_name: lop\n")
    with pytest.raises(pcb.DataError, match=r"expr_name is 'lop/config.yaml'"):
        run_config("runtime.yaml")


def test_numbers_are_read_as_julia_reads_them(config: Write) -> None:
    path = config()
    text = path.read_text()
    for old, new in (("lr: 0.02", "lr: 1.e-2"), ("weight_decay: 0.0", "weight_decay: 1e-4")):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    values = read_config(path).values
    assert (values["lr"], values["weight_decay"]) == (0.01, 1e-4)


def test_the_stage_is_what_the_keys_say(config: Write) -> None:
    read = read_config(
        config(
            n_exp_train=20, epoch_size=4, n_iter_max=30, lr=0.01, weight_decay=1e-4, grad_max=0.5,
            n_iter_tol=100, n_iter_burnin=10, batch_size=4,
        )
    )  # fmt: skip
    assert read.updates == 120
    stage = read.stage(read.updates)
    assert (stage.iterations, stage.learning_rate, stage.batch_size) == (120, 0.01, 1)
    assert stage.prefix is None  # every update sees all four times
    assert stage.patience == 20  # 100 epochs of 4 updates are 20 passes over 20 conditions
    assert stage.optimizer == pcb.AdamW(beta2=0.999, weight_decay=0.01, clip_norm=0.5)
    assert read_config(config(n_iter_tol=0)).stage(1).patience is None
    assert read_config(config(n_iter_tol=5, n_iter_burnin=30)).stage(1).patience == 30
    assert read_config(config(n_exp_val=0)).stage(1).patience is None


def test_a_network_can_be_drawn(config: Write) -> None:
    truth = material(read_config(config(**DRAWN, ns=20))).data
    drawn = truth["true_W"].values
    kept = drawn[drawn != 0]
    assert np.abs(kept).min() > 0.1
    assert np.abs(kept).max() <= 1
    # A tenth falls into the range, four tenths of the others are dropped.
    assert len(kept) / drawn.size == pytest.approx(0.9 * 0.6, abs=0.1)
    assert ((truth["true_alpha"] >= 0.5) & (truth["true_alpha"] <= 1.5)).all()
    assert len(set(truth["true_alpha"].values)) == 20


def test_a_network_can_be_randomized(config: Write) -> None:
    drawn = material(read_config(config(randomize_network=0.1))).data["true_W"].values
    assert ((drawn != 0) == (W != 0)).all()
    assert not np.allclose(drawn, W)
    np.testing.assert_allclose(drawn[W != 0], W[W != 0], atol=0.5)


def test_the_default_decay_is_the_ports(config: Write) -> None:
    assert set(material(read_config(config())).data["true_alpha"].values) == {0.2}


def test_networks_are_aligned_by_name(tmp_path: Path) -> None:
    path = tmp_path / "net.csv"
    path.write_text("Genes,a,b\nb,1,2\na,3,4\n")
    corner, read = read_network(path)
    assert corner == "Genes"
    assert read.sel(target="a").values.tolist() == [3, 4]
    assert list(read["target"].values) == ["a", "b"]


@pytest.mark.filterwarnings("default::pycellbox.PycellboxWarning")
def test_keys_without_effect_are_listed_once(
    measured: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = measured(alpha=1.0, lr_new=-1)
    assert main(["run", str(path), "--no-baselines"]) == 0
    captured = capsys.readouterr()
    (line,) = [text for text in captured.err.splitlines() if "without effect" in text]
    for key in ("nplot", "n_plot", "convergence_tol", "lr_new", "alpha", "noise", "n_mu"):
        assert f" {key}" in line
    assert "tfinal" not in line
    assert captured.err.count("not the same as in the original") == 2
    assert "true network" not in captured.out


def test_the_command_says_how_well_the_true_network_is_found(
    config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(config()), "-i", "2"]) == 0
    out = capsys.readouterr().out
    assert "prediction of the 3 test conditions" in out
    assert "true network: Pearson" in out
    assert "seed_002" in out


# ---- errors, before anything is written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_mue": 2}, r"unknown key 'n_mue' .did you mean 'n_mu'"),
        ({"expr_name": "x"}, r"'expr_name' belongs to runtime.yaml"),
        ({"lr": -1}, r"lr=-1; it needs a finite number > 0"),
        ({"lr": "fast"}, r"lr='fast'; it needs a finite number"),
        ({"epoch_size": 0}, r"epoch_size=0; it needs an integer ≥ 1, or -1"),
        ({"epoch_size": 6}, r"epoch_size 6 is more than the 5 training conditions"),
        ({"batch_size": 5}, r"batch_size 5 is the least number of times .* only 4"),
        ({"is_nn": True}, r"is_nn is true, .*set is_nn to false"),
        ({"n_mu": None}, r"lacks the key 'n_mu'"),
        ({"ns": None}, r"lacks the key 'ns'"),
        (DRAWN | {"sparsity": None}, r"lacks the key 'sparsity'"),
        (DRAWN | {"drop_range": {"lb": 0}}, r"drop_range lacks the key 'ub'"),
        (
            DRAWN | {"drop_range": {"low": 0, "ub": 1}},
            r"unknown key .low.*known: lb, ub",
        ),
    ],
)
def test_wrong_keys_and_values_are_named(
    config: Write, changes: dict[str, Any], message: str
) -> None:
    path = config(**changes)
    with pytest.raises(pcb.PycellboxError, match=message):
        run_config(path)
    assert not Path("results").exists()


def test_wrong_networks_are_refused(config: Write) -> None:
    with pytest.raises(pcb.DataError, match=r"network is 'networks/lop.csv', .*tried .* and "):
        run_config(config(network="networks/lop.csv"))
    with pytest.raises(pcb.DataError, match=r"ns is 5, and the network .* has 4 nodes"):
        run_config(config(ns=5))
    for text, message in (
        ("Genes,a,b\na,0,1\n", r"need to name the same nodes, each once; 'b'"),
        ("Genes,a,b\na,0,1\nb,0\n", r"line 3 has 2 cells; it needs 3"),
        ("Genes,a,b\na,0,+\nb,0,1\n", r"a weight is no number"),
        ("Genes,a\na,inf\n", r"a weight is NaN or infinite"),
        ("Genes,a\n", r"is no network"),
    ):
        Path("networks/loop.csv").write_text(text)
        with pytest.raises(pcb.DataError, match=message):
            run_config(config())
    assert not Path("results").exists()


def test_wrong_data_is_refused(measured: Write) -> None:
    with pytest.raises(pcb.DataError, match=r"add up to 13, and .* has 12 conditions"):
        run_config(measured(n_exp_train=8))
    with pytest.raises(pcb.DataError, match=r"pert.csv has 4 columns and nodes has 5 names"):
        run_config(measured(ns=5))
    with pytest.raises(pcb.OptionError, match=r"ntotal is 4, and a data folder holds one time"):
        run_config(measured(ntotal=4))
    Path("measured/expr.csv").unlink()
    with pytest.raises(pcb.DataError, match=r"there is no expr.csv in it"):
        run_config(measured())
    with pytest.raises(pcb.DataError, match=r"data is 'nowhere', and there is no such file"):
        run_config(measured(data="nowhere"))
    assert not Path("results").exists()


def test_what_is_no_yaml_is_told_with_its_line(config: Write) -> None:
    path = config()
    path.write_text("ns: 4\ntfinal: [1\n")
    with pytest.raises(pcb.OptionError, match=r"config.yaml, line \d: this is no YAML"):
        run_config(path)
    path.write_text("")
    with pytest.raises(pcb.OptionError, match=r"config.yaml is None; it needs keys with values"):
        run_config(path)
    with pytest.raises(pcb.OptionError, match=r"-drug is for the configurations of CellBox"):
        run_config(path, drug=1)


# ---- configurations from strangers; finished results stay


@pytest.mark.parametrize(
    "change",
    [
        {"ns": 10**6}, {"ns": 10**4}, {"ntotal": 10**9}, {"n_exp_train": 10**9}, {"n_mu": 10**30},
        {"n_iter_max": 10**40}, {"network": "/dev/zero"}, {"network": "a\0b"},
    ],
    ids=repr,
)  # fmt: skip
def test_values_that_cannot_be(config: Write, change: dict[str, Any]) -> None:
    with pytest.raises(PycellboxError):
        run_config(config(**change))


def test_a_finished_run_stays_until_the_new_one_is_finished(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config()
    folder = run_config(path).folder
    was = {file: file.read_bytes() for file in folder.iterdir()}

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pycellbox.interop.cellbox_jl.training.fit_network", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_config(path, overwrite=True)
    assert {file: file.read_bytes() for file in folder.iterdir()} == was
    assert [other.name for other in folder.parent.iterdir()] == [folder.name]


def test_no_result_replaces_the_network(config: Write) -> None:
    path = config(network="out/params.csv")
    Path("out").mkdir()
    Path("out/params.csv").write_text(NETWORK)
    with pytest.raises(ResultFileError, match="it is the input"):
        run_config(path, out="out")
    assert Path("out/params.csv").read_text() == NETWORK
