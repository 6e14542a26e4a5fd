"""JSON configurations of CellBox, from files of our own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.errors import DataError, PycellboxError, ResultFileError
from pycellbox.interop.cellbox import partition as parts
from pycellbox.interop.cellbox.experiment import prepare
from pycellbox.interop.cellbox.reading import read_config
from pycellbox.interop.run import run_config
from tests.support.configs import (
    N_ACTIVITY,
    N_PROTEINS,
    N_X,
    NODES,
    SETTINGS,
    Write,
    configs_in,
    tables,
)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)
    return configs_in(tmp_path)


def of(folder: Path, what: str, number: int = 1) -> pd.DataFrame:
    """The one table of a sub-stage's best."""
    (path,) = folder.glob(f"{number}_best.{what}.loss.*.csv")
    return pd.read_csv(path, index_col=0)


def error_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["run", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


# ---- a run


@pytest.mark.slow
def test_a_run_writes_the_originals_files_beside_our_own(config: Write) -> None:
    outcome = run_config(config(), index=3)
    folder = outcome.folder
    assert folder.parts[0] == "results"
    assert folder.name == "seed_003"
    assert folder.parent.name.startswith("tiny_")
    kinds = ("W", "alpha", "eps", "y_hat")
    best = {f"{n}_best.{kind}" for n in (1, 2, 3) for kind in kinds}
    assert {path.name.split(".loss.")[0] for path in folder.glob("*_best*")} == best
    others = {path.name for path in folder.iterdir() if "_best" not in path.name}
    assert others == {
        "random_pos.csv",
        "record_eval.csv",
        "conditions.csv",
        "config.json",
        "fit.nc",
    }

    fit = pcb.load(folder / "fit.nc")
    np.testing.assert_allclose(of(folder, "W", 3), fit.parameters["W"], rtol=1e-12)
    assert list(of(folder, "W", 3).index) == NODES
    for theirs, ours in (("alpha", "alpha"), ("eps", "epsilon")):
        rates = of(folder, theirs, 3).iloc[:, 0]
        np.testing.assert_allclose(rates, fit.parameters[ours], rtol=1e-12)
    test = outcome.test
    assert test is not None
    assert list(of(folder, "y_hat", 3).columns) == NODES
    np.testing.assert_allclose(of(folder, "y_hat", 3), fit.predict(test), rtol=1e-12)
    assert not np.allclose(of(folder, "W", 1), of(folder, "W", 2))


@pytest.mark.slow
def test_the_record_has_a_line_for_each_iteration_and_two_for_each_sub_stage(
    config: Write,
) -> None:
    outcome = run_config(config())
    record = pd.read_csv(outcome.folder / "record_eval.csv", na_values="None")
    history, test = outcome.fit.history, outcome.test
    assert test is not None
    # 18 conditions: 12 to fit, 9 of them to train, in batches of 4; three epochs, then two.
    assert history["stage"].values.tolist() == [0] * 9 + [1] * 9 + [2] * 6
    assert record["iter"].dropna().tolist() == [*range(9), *range(9), *range(6)]
    assert record["epoch"].tolist()[:11] == [0, 0, 0, 1, 1, 1, 2, 2, 2, -1, -1]
    steps = record[record["epoch"] >= 0]
    np.testing.assert_allclose(steps["train_mse"], history["loss"])
    np.testing.assert_allclose(steps["train_loss"], history["objective"])
    np.testing.assert_allclose(steps["valid_mse"], history["validation_loss"])
    assert (steps["valid_loss"] > steps["valid_mse"])[:9][[2, 5, 8]].all()  # the first has an L1
    last = record[record["epoch"] == -1].iloc[-2:]
    predicted = outcome.fit.predict(test)
    assert last["test_mse"].iloc[1] == pytest.approx(
        float(((predicted - test["response"]) ** 2).mean())
    )
    valid = outcome.fit.data["role"].values == "validation"
    squares = (outcome.fit.predictions - outcome.fit.data["response"]).values[valid] ** 2
    assert last["valid_mse"].iloc[0] == pytest.approx(squares.mean())
    assert squares.mean() <= np.nanmin(history["validation_loss"][-6:]) * (1 + 1e-12)
    (best,) = outcome.folder.glob("3_best.W.loss.*")
    assert float(best.stem.split("loss.")[1]) == pytest.approx(last["valid_loss"].iloc[0])


def test_iterations_end_where_n_iter_says(config: Write) -> None:
    assert run_config(config(n_iter=2)).fit.history.sizes["iteration"] == 6


@pytest.mark.slow
def test_the_same_index_gives_the_same_run_and_another_another(config: Write) -> None:
    first, again, other = (
        run_config(config(), index=i, out=f"run{k}").fit.parameters["W"].values
        for k, i in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.slow
def test_the_settings_written_run_again_alike_from_anywhere(
    config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_config(config(add_noise_level=0.1), index=4, out="first")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = run_config(tmp_path / "first" / "config.json", out="again")
    np.testing.assert_array_equal(first.fit.parameters["W"], again.fit.parameters["W"])


@pytest.mark.slow
def test_export_verbose_says_which_tables_are_written(config: Write) -> None:
    for verbose, kinds in ((0, set()), (1, {"W", "alpha", "eps"}), (-1, {"y_hat"})):
        folder = run_config(config(export_verbose=verbose), out=f"verbose{verbose}").folder
        assert {path.name.split(".")[1] for path in folder.glob("*_best*")} == kinds


@pytest.mark.slow
def test_an_interrupt_keeps_what_was_reached(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycellbox.interop.cellbox import training

    calls = []

    def train(*args: Any, **options: Any) -> pcb.Fit:
        calls.append(options)
        fit = pcb.fit(*args, **options)
        if len(calls) == 2:
            fit._provenance |= {"ending": "interrupted", "status": "interrupted in stage 0"}
        return fit

    monkeypatch.setattr(training, "fit_network", train)
    outcome = run_config(config())
    assert len(calls) == 2
    whole = pcb.load(outcome.folder / "fit.nc")
    assert whole.ending is pcb.Ending.INTERRUPTED
    assert whole.status == "interrupted in sub-stage 2 of 3"
    assert not list(outcome.folder.glob("3_best*"))


# ---- the draws of the original


def test_partition_noise_and_start_are_those_the_original_draws(config: Write) -> None:
    # Its generator gives noise, the order of the conditions and the weights, in this order.
    pert, expr = tables()
    draw = np.random.RandomState(1007)
    noise = draw.normal(loc=0, scale=0.3, size=expr.shape)
    order = draw.choice(range(len(pert)), len(pert), replace=False)
    W = draw.normal(0.01, size=(N_X, N_X))

    made = prepare(read_config(config(add_noise_level=0.3), index=7))
    np.testing.assert_allclose(made.data["response"], expr + noise)
    np.testing.assert_array_equal(made.parts.fit, order[:12])
    np.testing.assert_array_equal(made.parts.train, order[:9])
    np.testing.assert_array_equal(made.parts.test, order[12:])
    free = made.start["W"].values != 0
    np.testing.assert_array_equal(made.start["W"].values[free], W[free])
    assert not free[N_ACTIVITY:].any()  # nothing acts on drugs
    assert not free[:, N_PROTEINS:N_ACTIVITY].any()  # phenotypes act on nothing
    assert not free[N_PROTEINS:N_ACTIVITY, N_ACTIVITY:].any()
    assert free.sum() == 3 * 2 + 3 * 3 + 3
    np.testing.assert_allclose(made.start["alpha"], np.log1p(np.e))


@pytest.mark.slow
def test_random_pos_lists_training_validation_and_test_in_turn(config: Write) -> None:
    outcome = run_config(config(), index=7)
    rows = np.loadtxt(outcome.folder / "random_pos.csv", dtype=int)
    np.testing.assert_array_equal(rows, np.random.RandomState(1007).permutation(18))
    conditions = pd.read_csv(outcome.folder / "conditions.csv")
    assert (
        conditions["role"].iloc[rows].tolist() == ["train"] * 9 + ["validation"] * 3 + ["test"] * 6
    )


def test_the_published_partition_of_the_melanoma_data_comes_out() -> None:
    # First rows of manuscript/Figure2/seed_871/random_pos.csv in sanderlab/CellBox.
    perturbed = np.ones((89, 1), dtype=bool)
    drawn = parts.partition(parts.RANDOM, perturbed, np.random.RandomState(1871), 0.7, 0.8)
    assert drawn.fit[:10].tolist() == [49, 86, 79, 17, 59, 87, 9, 14, 16, 3]
    assert [len(p) for p in (drawn.train, drawn.validation, drawn.test)] == [49, 13, 27]


def test_a_seed_of_its_own_replaces_the_thousand(config: Write) -> None:
    assert read_config(config(), index=2).seed == 1002
    assert read_config(config(seed=40), index=2).seed == 42


def test_the_folder_is_named_by_all_settings(config: Write) -> None:
    plain = read_config(config()).folder
    assert read_config(config("other_name.json")).folder == plain
    assert read_config(config(dT=0.2)).folder != plain
    assert read_config(config(), index=12).folder.name == "seed_012"
    leave = config(experiment_type="leave one out (w/ single)", model_prefix="drug")
    assert read_config(leave, drug=2).folder.name == "drug_2_000"


# ---- experiment types


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:predicted far outside:pycellbox.DataWarning")
def test_leave_one_out_takes_every_condition_of_the_drug_or_its_combinations(
    config: Write,
) -> None:
    for kind, tested in (("leave one out (w/o single)", 10), ("leave one out (w/ single)", 8)):
        outcome = run_config(config(experiment_type=kind, n_epoch=1), drug=2)
        test = outcome.test
        assert test is not None
        assert test.sizes["condition"] == tested
        assert (test["perturbation"].sel(node="aAKT") != 0).all()
        seen = outcome.fit.data["perturbation"]
        alone = (seen != 0).sum("node") == 1
        assert bool((seen.sel(node="aAKT") != 0)[alone.values].any()) == ("w/ " in kind)
        assert not (outcome.folder / "random_pos.csv").exists()


def test_single_to_combo_tests_the_pairs(config: Write) -> None:
    outcome = run_config(config(experiment_type="single to combo"))
    assert outcome.test is not None
    assert ((outcome.test["perturbation"] != 0).sum("node") == 2).all()
    assert ((outcome.fit.data["perturbation"] != 0).sum("node") == 1).all()
    assert outcome.fit.data["role"].values.tolist() == ["train"] * 4 + ["validation"] * 2


def test_full_data_has_no_test(config: Write) -> None:
    outcome = run_config(config(experiment_type="full data"))
    assert outcome.test is None
    assert outcome.fit.data["role"].values.tolist() == ["train"] * 14 + ["validation"] * 4
    assert not list(outcome.folder.glob("*y_hat*"))
    assert read_config(config(experiment_type="full data", trainset_ratio=0.5)).fit_share == 0.5


def test_replicates_stay_in_one_part(config: Write) -> None:
    made = prepare(read_config(config(experiment_type="random partition with replicates")))
    perturbed = made.data["perturbation"].values != 0
    role = made.data["role"].values
    for group in np.unique(perturbed, axis=0):
        assert len(set(role[(perturbed == group).all(axis=1)])) == 1
    assert set(role) == {"train", "validation", "test"}


def test_without_validation_the_last_batchwise_parameters_are_kept(config: Write) -> None:
    outcome = run_config(config(validset_ratio=1))
    record = pd.read_csv(outcome.folder / "record_eval.csv", na_values="None")
    assert record["valid_mse"].isna().all()
    assert set(outcome.fit.data["role"].values) == {"train"}


# ---- what keys mean


@pytest.mark.parametrize(
    ("settings", "model"),
    [
        ({}, {}),
        ({"envelop_form": "polynomial", "polynomial_k": 3}, {"envelope": "polynomial", "order": 3}),
        ({"envelope_form": "hill", "polynomial_k": 2.0}, {"envelope": "hill", "order": 2}),
        ({"envelope_form": "clip linear"}, {"envelope": "clip"}),
        ({"envelop": 1}, {"form": 1}),
        ({"envelope": 2, "envelop": 2}, {"form": 2}),
        ({"ode_degree": 2}, {"degree": 2}),
        ({"pert_form": "fix x"}, {"drugs": "clamped"}),
    ],
)
def test_the_model_is_what_the_keys_say(
    config: Write, settings: dict[str, Any], model: dict[str, Any]
) -> None:
    published = {"dose_saturation": None, "drug_columns": "free"}
    assert read_config(config(**settings)).model == pcb.CellBox(**published, **model)


@pytest.mark.slow
@pytest.mark.parametrize("envelope", [0, 1, 2])
def test_every_form_runs_with_its_rates(config: Write, envelope: int) -> None:
    stages = [{"nT": 5, "sub_stages": [{"lr_val": 0.01}]}]
    folder = run_config(config(envelope=envelope, ode_degree=2, stages=stages)).folder
    assert bool(list(folder.glob("1_best.psi.*"))) == (envelope == 2)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["heun", "euler", "rk4", "midpoint"])
@pytest.mark.filterwarnings("ignore:the steps of Euler:pycellbox.NumericsWarning")
def test_solver_and_horizon_are_those_of_the_steps(config: Write, name: str) -> None:
    stages = [{"nT": 30, "sub_stages": [{"lr_val": 0.01}]}]
    outcome = run_config(config(ode_solver=name, dT=0.2, stages=stages))
    assert outcome.fit.solver == {
        "heun": pcb.Heun, "euler": pcb.Euler, "rk4": pcb.RK4, "midpoint": pcb.Midpoint
    }[name](0.2)  # fmt: skip
    assert outcome.fit.horizon == pytest.approx(6.0)


def test_a_sub_stage_goes_before_the_top_level(config: Write) -> None:
    sub_stages = [
        {"lr_val": 0.5, "l2lambda": 0.3, "n_iter": 5, "n_iter_patience": 7, "n_epoch": 9},
        {},
    ]
    read = read_config(
        config(stages=[{"nT": 4, "sub_stages": sub_stages}], lr_val=0.25, l1lambda=0.125)
    )
    first, second = read.sub_stages
    assert (first.learning_rate, first.l1, first.l2) == (0.5, 0.125, 0.3)
    assert (first.iterations, first.patience, first.epochs) == (5, 7, 9)
    assert (second.learning_rate, second.l1, second.l2, second.epochs) == (0.25, 0.125, 0, 3)
    assert (second.steps, second.patience) == (4, 100)


def test_patience_in_iterations_becomes_patience_in_epochs(config: Write) -> None:
    (sub_stage, *_) = read_config(config(n_iter_patience=100)).sub_stages
    stage = sub_stage.stage(1.0, n_train=49, batch_size=4)  # 13 batches
    assert (stage.patience, stage.batch_size, stage.iterations) == (8, 4, 39)
    assert sub_stage.stage(1.0, n_train=4, batch_size=4).batch_size is None


@pytest.mark.filterwarnings("ignore:1 node with one and the same:pycellbox.DataWarning")
def test_weight_loss_expr_weighs_errors_by_the_response(config: Write) -> None:
    stages = [{"nT": 10, "sub_stages": [{"lr_val": 0.01}]}]
    expr = tables()[1]
    expr[:, 2] = 0.0  # a response of zero has no weight
    np.savetxt("data/expr.csv", expr, delimiter=",")
    outcome = run_config(config(weight_loss="expr", stages=stages))
    record = pd.read_csv(outcome.folder / "record_eval.csv", na_values="None")
    assert outcome.test is not None
    observed = outcome.test["response"]
    error = (outcome.fit.predict(outcome.test) - observed) ** 2 * np.abs(observed)
    assert record["test_mse"].iloc[-1] == pytest.approx(float(error.mean()), rel=1e-9)


def test_without_names_nodes_are_numbered(config: Write) -> None:
    folder = run_config(config(node_index_file=None)).folder
    assert list(of(folder, "W").index) == list(range(N_X))


def test_sparse_data_is_the_same_data(config: Write) -> None:
    for name, table in zip(("pert", "expr"), tables(), strict=True):
        sparse.save_npz(f"data/{name}.npz", sparse.csr_matrix(table))
    thin = config(sparse_data=True, pert_file="data/pert.npz", expr_file="data/expr.npz")
    made, dense = prepare(read_config(thin)), prepare(read_config(config()))
    np.testing.assert_array_equal(made.data["response"], dense.data["response"])
    assert made.data["node_kind"].values.tolist() == dense.data["node_kind"].values.tolist()
    assert list(made.data["condition"].values) == list(dense.data["condition"].values)


def test_files_are_found_from_the_configuration_the_working_directory_and_root_dir(
    config: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = config("tiny.json")
    for folder in ("configs", "elsewhere"):
        (tmp_path / folder).mkdir()
    inside = config("configs/tiny.json")
    assert prepare(read_config(inside))  # from the working directory
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert prepare(read_config(tmp_path / made))  # from the configuration's folder
    rooted = tmp_path / "configs" / "rooted.json"
    rooted.write_text(json.dumps(SETTINGS | {"root_dir": str(tmp_path)}))
    assert prepare(read_config(rooted))


# ---- what is said


@pytest.mark.filterwarnings("default::pycellbox.PycellboxWarning")
def test_keys_without_effect_are_listed_once(
    config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    sub_stages = [{"lr_val": 0.1, "n_iter_buffer": 3}, {"lr_val": 0.1, "n_iter_buffer": 4}]
    path = config(
        ckpt_name="m.ckpt", ode_last_steps=2, stages=[{"nT": 5, "sub_stages": sub_stages}]
    )
    assert main(["run", str(path), "--no-baselines"]) == 0
    captured = capsys.readouterr()
    (line,) = [text for text in captured.err.splitlines() if "without effect" in text]
    for key in ("ckpt_name", "ode_last_steps", "n_iter_buffer"):
        assert line.count(key) == 1
    assert "polynomial_k" not in line
    assert captured.err.count("not the same as in the original") == 2
    assert captured.err.count("sub-stage 2: nT 5, learning rate 0.1") == 1
    assert "prediction of the 6 test conditions" in captured.out
    assert "results are in results" in captured.out


@pytest.mark.filterwarnings("default::pycellbox.PycellboxWarning")
def test_the_words_of_the_original_are_understood(config: Write) -> None:
    path = config(experiment_type="leave one out (w/o single)", n_epoch=1)
    assert main(["run", str(path), "-i=2", "-drug=3", "--out", "done", "--no-baselines"]) == 0
    settings = json.loads(Path("done/config.json").read_text())
    assert (settings["seed"], settings["drug_index"]) == (1002, 3)


@pytest.mark.slow
def test_a_finished_run_is_only_replaced_when_told(
    config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config(n_epoch=1)
    words = [str(path), "--out", "done", "--no-baselines"]
    assert main(["run", *words]) == 0
    before = {p.name: p.read_bytes() for p in Path("done").iterdir()}
    assert "done holds the result of a run" in error_of(words, capsys)
    assert {p.name: p.read_bytes() for p in Path("done").iterdir()} == before
    Path("done/note.txt").write_text("mine")
    assert main(["run", *words, "-i", "5", "--overwrite"]) == 0
    assert len(list(Path("done").glob("1_best.W.*"))) == 1
    assert Path("done/note.txt").read_text() == "mine"


def test_a_run_beside_its_configuration_leaves_that_alone(config: Write) -> None:
    path = config("config.json", n_epoch=1)
    before = path.read_bytes()
    run_config(path, out=".")
    assert path.read_bytes() == before
    assert Path("fit.nc").exists()


def test_help_says_what_is_written_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--help"]) == 0
    out = capsys.readouterr().out
    for word in ("random_pos.csv", "record_eval.csv", "params.csv", "fit.nc", "examples", "-drug"):
        assert word in out


# ---- errors, before anything is written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainset_ration": 0.7}, "unknown key 'trainset_ration' .did you mean 'trainset_ratio'"),
        ({"hedgehog": 1}, "unknown key 'hedgehog'; known: experiment_id"),
        ({"experiment_type": "random partitions"}, "did you mean 'random partition'"),
        ({"ode_solver": "huen"}, "ode_solver='huen' .did you mean 'heun'.*one of 'heun'"),
        ({"envelop_form": "tan"}, "envelop_form='tan' .did you mean 'tanh'"),
        ({"envelop": 1, "envelope": 2}, "envelope is given in two spellings that disagree"),
        ({"envelope": True}, "envelope=True; it needs one of 0, 1, 2"),
        ({"envelope_form": "hill"}, "needs the key 'polynomial_k'"),
        ({"dT": 0}, "dT=0; it needs a finite number > 0"),
        ({"dT": "0.1"}, "dT='0.1'"),
        ({"trainset_ratio": 1.5}, "trainset_ratio=1.5; .*≤ 1"),
        ({"batchsize": 2.5}, "batchsize=2.5; it needs an integer from 1"),
        ({"sparse_data": "yes"}, "sparse_data='yes'; it needs True or False"),
        ({"model": "NN"}, "model is 'NN'; pycellbox runs 'CellBox' only"),
        ({"pert_file": None}, "lacks the key 'pert_file'"),
        ({"n_epoch": None}, r"stages\[0\].sub_stages\[0\] lacks 'n_epoch'"),
        ({"n_activity_nodes": 2}, "n_protein_nodes 3, n_activity_nodes 2 and n_x 7"),
        ({"stages": []}, "stages is \\[\\]; it needs a list"),
        ({"stages": [{"sub_stages": [{}]}]}, r"stages\[0\] lacks the key 'nT'"),
        (
            {"stages": [{"nT": 1, "sub_stages": [{"lr_val": 0.1, "l1lamda": 0.1}]}]},
            r"stages\[0\].sub_stages\[0\]: unknown key 'l1lamda' .did you mean 'l1lambda'",
        ),
        (
            {"stages": [{"nT": 1, "sub_stages": [{"batchsize": 2}]}]},
            "'batchsize' belongs to the top level",
        ),
        ({"stages": [{"nT": 1, "lr_val": 1, "sub_stages": []}]}, "'lr_val' belongs to a sub-stage"),
        ({"experiment_type": "leave one out (w/ single)"}, "needs the drug to leave out: -drug 1"),
        (
            {"experiment_type": "leave one out (w/ single)", "drug_index": 4},
            "drug 4 is to be left out, and the configuration has drugs 1 to 3",
        ),
        ({"n_activity_nodes": 7, "pert_form": "fix x"}, "says that there are none"),
        ({"seed": 2**32}, "the seed is 4294967296"),
    ],
)
def test_wrong_keys_and_values_are_named(
    config: Write, changes: dict[str, Any], message: str
) -> None:
    path = config(**changes)
    with pytest.raises(pcb.OptionError, match=message):
        run_config(path)
    assert not Path("results").exists()


def test_missing_files_are_named_with_what_was_tried(config: Write, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    path = config("configs/tiny.json", expr_file="data/expresion.csv")
    with pytest.raises(pcb.DataError, match=r"expr_file is 'data/expresion.csv'") as caught:
        run_config(path)
    assert str(tmp_path / "configs" / "data" / "expresion.csv") in str(caught.value)
    assert str(tmp_path / "data" / "expresion.csv") in str(caught.value)
    with pytest.raises(pcb.DataError, match=r"there is no configuration 'nowhere.json'"):
        run_config("nowhere.json")


def test_tables_of_another_shape_are_refused(config: Write) -> None:
    with pytest.raises(pcb.DataError, match="n_x is 9, and the data has 7 nodes"):
        run_config(config(n_x=9))
    np.savetxt("data/expr.csv", tables()[1][:5], delimiter=",")
    with pytest.raises(pcb.DataError, match=r"18|13"):
        run_config(config())
    np.savetxt("data/expr.csv", tables()[1][:, :5], delimiter=",")
    with pytest.raises(pcb.DataError, match=r"expr.csv has 5 columns and nodes has 7 names"):
        run_config(config())
    with pytest.raises(pcb.DataError, match=r"tiny.json, n_x 8: .* has 7 columns"):
        run_config(config(n_x=8, node_index_file=None))
    with pytest.raises(pcb.DataError, match="is no sparse matrix"):
        run_config(config(sparse_data=True))
    assert not Path("results").exists()


def test_what_is_no_json_is_told_with_its_line(config: Write) -> None:
    Path("broken.json").write_text('{\n"n_x": 3,\n}')
    with pytest.raises(pcb.OptionError, match=r"broken.json, line [23], .*this is no JSON"):
        run_config("broken.json")
    Path("list.json").write_text("[1]")
    with pytest.raises(pcb.OptionError, match=r"list.json is .*it needs keys with values"):
        run_config("list.json")
    Path("config.toml").write_text("")
    with pytest.raises(pcb.DataError, match=r"needs to end in .json"):
        run_config("config.toml")


def test_options_that_have_no_meaning_are_refused(
    config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "a restart is for the configurations of CellBox.jl" in error_of(
        [str(config()), "--is-restart"], capsys
    )
    assert "index=-1" in error_of([str(config()), "-i", "-1"], capsys)


def test_partitions_that_leave_nothing_are_refused(config: Write) -> None:
    with pytest.raises(pcb.DataError, match="leaves none of the 18 conditions for training"):
        run_config(config(trainset_ratio=0.05))
    pert, expr = tables()
    np.savetxt("data/pert.csv", pert[:6], delimiter=",")
    np.savetxt("data/expr.csv", expr[:6], delimiter=",")
    with pytest.raises(pcb.DataError, match="no combination of perturbed nodes to test with"):
        run_config(config(experiment_type="single to combo"))
    with pytest.raises(pcb.DataError, match="no condition of that drug to test with"):
        run_config(config(experiment_type="leave one out (w/ single)"), drug=1)


# ---- configurations from strangers


@pytest.mark.parametrize("key", ["model_prefix", "experiment_id"])
@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "a/b", "..\\out", "C:out", "a\0b", "a\nb", "x" * 300, "\ud800"]
)
def test_a_name_that_leaves_the_folder_is_refused(config: Write, key: str, name: str) -> None:
    with pytest.raises(pcb.OptionError, match=key):
        run_config(config(**{key: name}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_x", 2**31), ("n_x", 10**99), ("n_iter", 10**50), ("n_epoch", 1e300), ("seed", 10**99),
        ("pert_file", "a\0b"), ("pert_file", "/dev/zero"), ("node_index_file", "/dev/zero"),
        ("pert_file", "x" * 5000), ("pert_file", "data"),
    ],
)  # fmt: skip
def test_values_that_cannot_be(config: Write, key: str, value: object) -> None:
    with pytest.raises(PycellboxError):
        run_config(config(**{key: value}))


@pytest.mark.parametrize("rows", [10**7, 2**31])
def test_a_matrix_that_unpacks_to_too_much_is_refused(config: Write, rows: int) -> None:
    empty = sparse.coo_matrix((rows, N_X))  # nothing in the file but its shape
    sparse.save_npz("empty.npz", empty)
    with pytest.raises(DataError, match=f"{rows} rows"):
        run_config(config(sparse_data=True, pert_file="empty.npz", expr_file="empty.npz"))


# ---- finished results stay


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def interrupting(after: int) -> Callable[..., Any]:
    """Interrupt where the given sub-stage, counted from 0, would begin."""
    count = iter(range(100))

    def fit(*args: Any, **options: Any) -> pcb.Fit:
        if next(count) == after:
            raise KeyboardInterrupt
        return pcb.fit(*args, **options)

    return fit


def test_an_interrupt_between_sub_stages_saves_those_that_are_done(
    config: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config()
    monkeypatch.setattr("pycellbox.interop.cellbox.training.fit_network", interrupting(after=2))
    assert main(["run", str(path), "--out", "out", "--no-baselines"]) == 130
    fit = pcb.load("out/fit.nc")
    assert fit.ending is pcb.Ending.INTERRUPTED
    assert fit.status == "interrupted after sub-stage 2 of 3"
    assert len(fit.recipe.stages) == 2
    assert len(list(Path("out").glob("2_best.*"))) == 4
    assert not list(Path("out").glob("3_best.*"))


@pytest.mark.parametrize("before", [True, False])
def test_a_run_that_reaches_nothing_leaves_nothing(
    config: Write, monkeypatch: pytest.MonkeyPatch, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config()
    if before:
        run_config(path, out="out")
    was = snapshot(Path())
    monkeypatch.setattr("pycellbox.interop.cellbox.training.fit_network", interrupting(after=0))
    assert main(["run", str(path), "--out", "out", "--overwrite", "--no-baselines"]) == 130
    assert "nothing is saved" in capsys.readouterr().err
    assert snapshot(Path()) == was


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the steps of Heun:pycellbox.NumericsWarning")
def test_overwriting_keeps_the_finished_run_until_the_new_one_is_finished(
    config: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = config()
    run_config(path, out="out")
    Path("out/notes.txt").write_text("mine")
    was = snapshot(Path("out"))
    with monkeypatch.context() as patch:
        patch.setattr("pycellbox.interop.cellbox.training.fit_network", interrupting(after=1))
        assert main(["run", str(path), "--out", "out", "--overwrite", "--no-baselines"]) == 130
    assert snapshot(Path("out")) == was
    assert "out.unfinished" in capsys.readouterr().err
    assert pcb.load("out.unfinished/fit.nc").status.startswith("interrupted")

    def failing(*args: Any, **options: Any) -> None:
        raise DataError("broken")

    with monkeypatch.context() as patch:
        patch.setattr("pycellbox.interop.cellbox.training.joined", failing)
        assert main(["run", str(path), "--out", "out", "--overwrite", "--no-baselines"]) == 2
    assert snapshot(Path("out")) == was

    short = config(stages=[{"nT": 5, "sub_stages": [{"lr_val": 0.1}]}])
    assert run_config(short, out="out", overwrite=True).folder == Path("out")
    assert not Path("out.unfinished").exists()
    assert Path("out/notes.txt").read_text() == "mine"
    assert not list(Path("out").glob("[23]_best.*"))
    assert len(pcb.load("out/fit.nc").recipe.stages) == 1
    assert len(list(Path("out").glob("1_best.*"))) == 4


@pytest.mark.parametrize("link", [os.symlink, os.link, shutil.copy])
def test_no_result_replaces_an_input(config: Write, link: Callable[..., Any]) -> None:
    Path("out").mkdir()
    link(Path("data/nodes.csv").resolve(), "out/conditions.csv")
    names = "out/conditions.csv" if link is shutil.copy else "data/nodes.csv"
    was = snapshot(Path())
    path = config(node_index_file=names)
    with pytest.raises(ResultFileError, match="it is the input"):
        run_config(path, out="out")
    assert snapshot(Path()) == was | {path.name: path.read_bytes()}
