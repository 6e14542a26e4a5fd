from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.baselines import all_baselines
from pycellbox.cli import main
from pycellbox.cli.tables import wide, write_table
from pycellbox.networks import demo_network
from pycellbox.simulation import perturbations, simulate
from pycellbox.solvers import SOLVERS
from tests.support.commands import error_of

DRUGS = ("aMEK", "aAKT", "amTOR")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a steady-state experiment as labelled and as bare tables."""
    folder = tmp_path_factory.mktemp("tables")
    network = demo_network()
    design = perturbations(network.drugs, network.node_kind, doses=[-0.5, -1.0])
    data = simulate(network, design, noise=0.05, solver=pcb.Heun(0.1), horizon=10.0)
    write_table(wide(data["perturbation"]), folder / "pert.csv")
    write_table(wide(data["response"]), folder / "expr.csv")
    kinds = pd.DataFrame({"node": network.nodes, "kind": network.node_kind.values})
    kinds.to_csv(folder / "kinds.csv", index=False)
    np.savetxt(folder / "bare_pert.csv", data["perturbation"], delimiter=",")
    np.savetxt(folder / "bare_expr.csv", data["response"], delimiter=",")
    (folder / "nodes.csv").write_text("\n".join(network.nodes) + "\n")
    pcb.save_data(data, folder / "data.nc")
    return folder


@pytest.fixture
def words(tables: Path) -> list[str]:
    return [
        *("--perturbation", f"{tables}/pert.csv", "--response", f"{tables}/expr.csv"),
        *("--node-kind", f"{tables}/kinds.csv", "--iterations", "3"),
    ]


@pytest.fixture(scope="module")
def fitted(tables: Path) -> Path:
    """A network fitted to all but the combinations with aMEK."""
    path = tables / "fit.nc"
    words = ["--data", f"{tables}/data.nc", "--iterations", "5", "--test", "drug:aMEK"]
    assert main(["fit", *words, "--out", str(path)]) == 0
    return path


def scores(printed: str) -> pd.DataFrame:
    """Read the printed table back: Pearson and MSE of every model."""
    lines = printed.splitlines()
    start = next(i for i, line in enumerate(lines) if set(line) == {"-"})
    rows = {}
    for line in lines[start + 1 :]:
        if not line.strip():
            break
        name, *numbers = (cell for cell in line.split("  ") if cell.strip())
        rows[name.strip()] = [float(number) for number in numbers[:2]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["pearson", "mse"])


# ---- the program itself


def test_help_of_every_command_has_plain_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    overview = capsys.readouterr().out
    for command in ("demo", "fit", "predict", "evaluate", "support"):
        assert command in overview
        assert main([command, "--help"]) == 0
        text = capsys.readouterr().out
        assert command == "demo" or "example" in text
        assert command in ("demo", "support") or "log-ratio" in text


def test_consoles_without_greek_letters_get_help(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["--help"]) == 0
    sys.stdout.flush()
    assert b"dx/dt = ???(Wx + u)" in written.getvalue()


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"pycellbox {pcb.__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fry"], "invalid choice: 'fry'"),
        (["fit"], "--out"),
        (["fit", "--out", "x.nc", "--seed", "one"], "--seed"),
        (["predict", "fit.nc"], "--perturbation"),
    ],
)
def test_wrong_words_end_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(words, capsys)


def test_interrupt_ends_with_130(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pycellbox.cli.commands.fit_network", interrupted)
    assert main(["fit", *words, "--out", str(tmp_path / "fit.nc")]) == 130
    assert capsys.readouterr().err == "pycellbox: interrupted\n"
    assert not (tmp_path / "fit.nc").exists()


@pytest.mark.parametrize(
    ("ending", "code"), [(pcb.Ending.INTERRUPTED, 130), (pcb.Ending.DIVERGED, 1)]
)
def test_a_fit_that_ends_early_is_saved_and_said(
    ending: pcb.Ending,
    code: int,
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pcb.Fit, "ending", ending)
    monkeypatch.setattr(pcb.Fit, "status", status := "in words")
    assert main(["fit", *words, "--out", str(tmp_path / "fit.nc")]) == code
    assert status in capsys.readouterr().err
    pcb.load(tmp_path / "fit.nc")


# ---- fit


def test_fit_prints_a_summary_and_saves_what_python_would_fit(
    words: list[str], tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "folder" / "fit.nc"
    assert main(["fit", *words, "--seed", "3", "--l1", "1e-3", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # no progress where nobody looks
    assert "18 conditions × 10 nodes (6 proteins, 1 phenotype, 3 drugs)" in captured.out
    assert "18 to fit" in captured.out
    assert "3 iterations" in captured.out
    assert str(out) in captured.out
    saved = pcb.load(out)
    data = pcb.read_csv(tables / "pert.csv", tables / "expr.csv", node_kind=tables / "kinds.csv")
    xr.testing.assert_identical(saved.data["response"].drop_vars("role"), data["response"])
    assert [stage.iterations for stage in saved.recipe.stages] == [3]
    assert saved.recipe.seed == 3
    assert saved.recipe.penalty == pcb.Penalty(l1=1e-3)
    assert [path.name for path in out.parent.iterdir()] == ["fit.nc"]


def test_fit_takes_the_best_of_several_starts(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "fit.nc"
    assert main(["fit", *words, "--starts", "2", "--out", str(out)]) == 0
    saved = pcb.load(out)
    assert saved.starts.sizes["start"] == saved.recipe.starts == 2


def test_fit_with_held_out_conditions_prints_the_baselines(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit.nc"
    assert main(["fit", *words, "--test", "0.3", "--seed", "7", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "12 to fit, 6 held out (random, seed 7)" in printed
    table = scores(printed)
    assert len(table) == 4
    assert "baselines that are worse" in printed
    assert "squared error than the best of" in printed
    saved = pcb.load(out)
    everything = np.random.RandomState(7).permutation(18)
    assert saved.data.sizes["condition"] == 12
    data = pcb.open_data(Path(words[1]).with_name("data.nc"))
    assert set(saved.data["condition"].values) == set(data["condition"].values[everything[:12]])
    test = data.isel(condition=everything[12:])
    assert table.loc["CellBox", "mse"] == pytest.approx(
        pcb.metrics.mse(saved.predict(test), test["response"]), abs=1e-4
    )
    assert main(["fit", *words, "--test", "0.3", "--no-baselines", "--out", str(out)]) == 0
    assert list(scores(capsys.readouterr().out).index) == ["CellBox"]


@pytest.mark.slow
def test_fit_writes_tables_that_can_be_read_back(
    words: list[str], tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, csv = tmp_path / "fit.nc", tmp_path / "a" / "csv"
    more = ["--test", "combinations", "--validation", "0.2", "--csv", str(csv)]
    assert main(["fit", *words, *more, "--out", str(out)]) == 0
    fit = pcb.load(out)
    assert {path.name for path in csv.iterdir()} == {
        *("W.csv", "rates.csv", "history.csv", "predictions.csv", "conditions.csv")
    }
    W = pd.read_csv(csv / "W.csv", index_col="target")
    np.testing.assert_array_equal(W.to_numpy(), fit.parameters["W"])
    assert list(W.columns) == list(fit.parameters["source"].values)
    rates = pd.read_csv(csv / "rates.csv", index_col="node")
    np.testing.assert_array_equal(rates["epsilon"], fit.parameters["epsilon"])
    assert rates.loc["viability", "node_kind"] == "phenotype"
    assert len(pd.read_csv(csv / "history.csv")) == 3
    roles = pd.read_csv(csv / "conditions.csv")["role"]
    assert roles.value_counts().to_dict() == {"test": 12, "train": 5, "validation": 1}
    predicted = pcb.read_csv(tables / "pert.csv", csv / "predictions.csv")["response"]
    data = pcb.open_data(tables / "data.nc")
    np.testing.assert_array_equal(predicted, fit.predict(data))
    # The roles are a split of their own.
    first = fit.parameters
    again = ["--test", str(csv / "conditions.csv"), "--out", str(out)]
    assert main(["fit", *words, *again]) == 0
    assert "5 to fit, 1 for validation, 12 held out (as listed in conditions.csv)" in (
        capsys.readouterr().out
    )
    xr.testing.assert_identical(first, pcb.load(out).parameters)


def test_test_conditions_can_be_listed(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "held.txt"
    held.write_text("aMEK=-0.5\naMEK=-1+aAKT=-0.5\n")
    out = ["--out", str(tmp_path / "fit.nc")]
    assert main(["fit", *words, "--test", str(held), *out]) == 0
    assert "16 to fit, 2 held out (as listed in held.txt)" in capsys.readouterr().out
    held.write_text("aMEK=-0.4\n")
    assert "'aMEK=-0.4', which is not in the data" in error_of(
        ["fit", *words, "--test", str(held), *out], capsys
    )
    held.write_text("aMEK=-0.5,exam\n")
    assert "train, validation or test" in error_of(
        ["fit", *words, "--test", str(held), *out], capsys
    )


def test_fit_takes_bare_tables_with_counts_of_kinds(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *("--perturbation", f"{tables}/bare_pert.csv", "--response", f"{tables}/bare_expr.csv"),
        *("--nodes", f"{tables}/nodes.csv", "--iterations", "2", "--out", f"{tmp_path}/fit.nc"),
    ]
    assert main(["fit", *words, "--node-kind", "protein=6,phenotype=1,drug=3"]) == 0
    kinds = pcb.load(tmp_path / "fit.nc").parameters["node_kind"].values
    assert list(kinds) == ["protein"] * 6 + ["phenotype"] + ["drug"] * 3
    capsys.readouterr()
    for wrong, message in {
        "protein=6,drug=x": "protein=82,phenotype=5,drug=12",
        "protein=6,protein=4": "each kind once",
        "protein=6": "add up to 6",
        "no-such-file.csv": "no-such-file.csv",
    }.items():
        assert message in error_of(["fit", *words, "--node-kind", wrong], capsys)


@pytest.mark.slow
def test_fit_takes_every_choice_of_model_and_solver(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit.nc"
    words = ["fit", "--data", f"{tables}/data.nc", "--iterations", "1", "--out", str(out)]
    model = ["--envelope", "hill", "--order", "3", "--form", "2", "--degree", "2"]
    model += ["--drugs", "clamped", "--loss", "huber"]
    assert main([*words, *model, "--solver", "rk4", "--dt", "0.5", "--horizon", "4"]) == 0
    fit = pcb.load(out)
    assert (fit.model.envelope, fit.model.order, fit.model.form) == ("hill", 3, 2)
    assert (fit.model.degree, fit.model.drugs) == (2, "clamped")
    assert (fit.solver, fit.horizon) == (pcb.RK4(0.5), 4.0)
    assert fit.recipe.loss == pcb.Loss("huber")
    assert main([*words, "--dt", "0.25", "--learning-rate", "0.5"]) == 0
    options = ["--operating-point", "--common-effect", "--drugs-on-phenotypes"]
    tables_in = tmp_path / "csv"
    assert main([*words, *options, "--csv", str(tables_in)]) == 0
    fit = pcb.load(out)
    assert fit.model == pcb.CellBox(
        operating_point=True, common_effect=True, drugs_on_phenotypes=True
    )
    written = pd.read_csv(tables_in / "rates.csv", index_col="node")
    for name in ("alpha", "epsilon", "b", "common"):
        np.testing.assert_array_equal(written[name], fit.parameters[name])
    assert main([*words, "--dt", "0.25", "--learning-rate", "0.5"]) == 0
    fit = pcb.load(out)
    assert fit.solver == pcb.Heun(0.25)
    assert set(fit.recipe.stages[0].rates().values()) == {0.5}
    assert main([*words, "--solver", "Midpoint"]) == 0
    assert pcb.load(out).solver == pcb.Midpoint(0.1)


@pytest.mark.slow
def test_fit_takes_a_purpose(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, checkpoint = tmp_path / "fit.nc", tmp_path / "run.nc"
    words = ["fit", "--data", f"{tables}/data.nc", "--purpose", "prediction", "--out", str(out)]
    assert main([*words, "--checkpoint", str(checkpoint)]) == 0
    fit = pcb.load(out)
    assert fit.recipe.purpose == "prediction"
    said = capsys.readouterr().out
    assert "strengths   by leave-one-out" in said
    again = tmp_path / "again.nc"
    assert main(["fit", "--resume", str(checkpoint), "--out", str(again)]) == 0
    assert "strengths   by leave-one-out" in capsys.readouterr().out
    xr.testing.assert_identical(pcb.load(again).parameters, fit.parameters)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HEUN", "tsit5", "steadystate", "kencarp4"])
def test_a_solver_by_name_is_that_of_the_fit(name: str, tables: Path, tmp_path: Path) -> None:
    """With its own options where none are given, and as long steps as one hundredth."""
    kind = {key.lower(): kind for key, kind in SOLVERS.items()}.get(name.lower(), pcb.Adaptive)
    words = ["fit", "--data", f"{tables}/data.nc", "--iterations", "1", "--solver", name]
    assert main([*words, "--horizon", "4", "--out", str(tmp_path / "fit.nc")]) == 0
    solver = pcb.load(tmp_path / "fit.nc").solver
    if kind is pcb.SteadyState:
        assert solver == pcb.SteadyState()
    elif kind is pcb.Adaptive:
        assert solver == pcb.Adaptive("KenCarp4", rtol=1e-4, atol=1e-6)
    elif kind is pcb.Tsit5:
        proteins = pcb.open_data(tables / "data.nc")
        proteins["node_kind"] = ("node", ["protein"] * 10)
        fit = pcb.fit(proteins, schedule=pcb.Stage(1), progress=False)
        assert solver == fit.solver
    else:
        assert solver == kind(0.04)
        assert main([*words, "--dt", "0.3", "--out", str(tmp_path / "fit.nc")]) == 0
        assert pcb.load(tmp_path / "fit.nc").solver == kind(0.3)


def test_the_roles_of_a_file_are_left_out_with_a_word(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = pcb.open_data(tables / "data.nc")
    roles = ["test"] * 9 + ["train"] * 9
    pcb.save_data(data.assign_coords(role=("condition", roles)), tmp_path / "roles.nc")
    words = ["--data", f"{tmp_path}/roles.nc", "--iterations", "1"]
    capsys.readouterr()
    assert main(["fit", *words, "--out", f"{tmp_path}/fit.nc"]) == 0
    assert "the roles in" in capsys.readouterr().err
    assert (pcb.load(tmp_path / "fit.nc").data["role"] == "train").all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--test", "1.5"], "between 0 and 1"),
        (["--test", "nowhere"], "'nowhere': neither a share"),
        (["--test", "drug:MEK"], "'MEK' is perturbed in no condition"),
        (["--test", "0.3", "--seed", "-1"], "--seed is -1"),
        (["--iterations", "0"], "iterations=0"),
        (["--solver", "ode45"], "choose one of euler, heun"),
        (["--solver", "tsit5", "--dt", "0.1"], "no option dt; it has rtol, atol, max_steps"),
        (["--solver", "steadystate", "--dt", "0.1"], "no option dt; it has tol, lead"),
        (["--dt", "-0.1"], "dt=-0.1"),
        (["--solver", "heun", "--horizon", "0"], "horizon=0"),
        (["--form", "7"], "form='7'; it needs one of"),
        (["--form", "1", "--operating-point"], "operating_point=True"),
        (["--purpose", "oracle"], "purpose='oracle'; it needs one of 'prediction'"),
        (["--envelope", "tan"], "'tanh'"),
        (["--backend", "abacus"], "backend='abacus'; it needs one of"),
        (["--validation", "2"], "validation=2"),
        (["--l1", "-1"], "l1"),
        (["--data", "data.nc"], "either --data or tables"),
        (["--out", "fit.txt"], "needs to end in .nc"),
        (["--response", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_what_fit_cannot_do_is_said_before_it_writes(
    more: list[str],
    message: str,
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "fit.nc"
    assert message in error_of(["fit", *words, "--out", str(out), *more], capsys)
    assert list(tmp_path.iterdir()) == []


def test_fit_needs_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--perturbation and --response" in error_of(
        ["fit", "--out", str(tmp_path / "fit.nc")], capsys
    )


def test_fit_names_an_output_that_cannot_be(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.nc").mkdir()
    message = error_of(["fit", *words, "--out", str(tmp_path / "file" / "fit.nc")], capsys)
    assert "cannot make the folder" in message
    message = error_of(["fit", *words, "--out", str(tmp_path / "folder.nc")], capsys)
    assert "it is a folder" in message


@pytest.mark.slow
def test_fit_of_a_time_course(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = demo_network()
    design = perturbations(network.drugs, network.node_kind, doses=[-1.0])
    data = simulate(network, design, times=[0.5, 1.0, 2.0], solver=pcb.Heun(0.1), noise=0.02)
    write_table(wide(data["perturbation"]), tmp_path / "pert.tsv")
    write_table(wide(data["response"]), tmp_path / "expr.tsv")
    tables = ["--perturbation", f"{tmp_path}/pert.tsv", "--response", f"{tmp_path}/expr.tsv"]
    fit, out = f"{tmp_path}/fit.nc", f"{tmp_path}/predicted.csv"
    words = [
        "--iterations",
        "2",
        "--time-units",
        "min",
        "--node-kind",
        "protein=6,phenotype=1,drug=3",
    ]
    assert main(["fit", *tables, *words, "--test", "combinations", "--out", fit]) == 0
    assert "3 times" in capsys.readouterr().out
    saved = pcb.load(fit)
    assert saved.data["time"].attrs["units"] == "min"
    xr.testing.assert_allclose(saved.data["response"].drop_vars("role"), data["response"][:3])
    single = tmp_path / "new.csv"
    single.write_text("condition,aMEK\nnew,-0.7\n")
    words = ["predict", fit, "--perturbation", str(single), "--out", out]
    assert main(words) == 0
    assert list(pd.read_csv(out)["time (min)"]) == [0.5, 1.0, 2.0]  # the unit is read back
    assert main([*words, "--times", "0.25,0.75"]) == 0
    assert list(pd.read_csv(out)["time (min)"]) == [0.25, 0.75]
    assert main(["evaluate", fit, *tables, "--new-only", "--csv", f"{tmp_path}/csv"]) == 0
    assert len(scores(capsys.readouterr().out)) >= 3
    assert len(pd.read_csv(tmp_path / "csv" / "predictions.csv")) == 9


# ---- predict


@pytest.mark.slow
def test_predict_fills_in_nodes_that_are_not_perturbed(
    fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "new.csv", tmp_path / "deep" / "predicted.csv"
    table.write_text("condition,aAKT,aMEK\nlow,-0.2,-0.3\nhigh,-2,-3\n")
    capsys.readouterr()
    words = ["predict", str(fitted), "--perturbation", str(table)]
    assert main([*words, "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "8 of 10 nodes are not in" in captured.err
    assert captured.err.count("\n") == 1
    assert str(out) in captured.out
    fit = pcb.load(fitted)
    nodes = fit.parameters["node"].values
    u = xr.DataArray(
        np.zeros((2, 10)), {"condition": ["low", "high"], "node": nodes}, ("condition", "node")
    )
    u.loc[{"node": "aAKT"}] = [-0.2, -2]
    u.loc[{"node": "aMEK"}] = [-0.3, -3]
    predicted = pd.read_csv(out, index_col="condition")
    assert list(predicted.index) == ["low", "high"]
    assert list(predicted.columns) == list(nodes)
    np.testing.assert_array_equal(predicted.to_numpy(), fit.predict(u))

    assert main([*words, "--out", str(tmp_path / "p.nc"), "--times", "1,2"]) == 0
    with xr.open_dataset(tmp_path / "p.nc", engine="h5netcdf") as stored:
        assert stored["response"].dims == ("condition", "time", "node")
        np.testing.assert_array_equal(stored["perturbation"], u)


def test_a_list_of_conditions_is_read_as_tables_are(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held = tmp_path / "held.txt"
    out = ["--test", str(held), "--out", str(tmp_path / "fit.nc")]
    held.write_bytes("Condition;Role\r\naMEK=-0.5;test\r\n".encode("utf-16"))
    assert main(["fit", *words, *out]) == 0
    assert "1 held out (as listed in held.txt)" in capsys.readouterr().out
    held.write_text("aMEK=-0.5,test\naMEK=-0.5,train\n")
    assert "two roles" in error_of(["fit", *words, *out], capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("aMEK,aAKT\n0,0\n1,0\n2,0\n", "has numbers ('0', '1', '2') in the column 'aMEK'"),
        ("node,ctrl,high\naMEK,0,-1\naAKT,0,-1\n", "perturbation is transposed"),
    ],
)
def test_predict_tells_tables_without_labels_and_transposed_ones(
    text: str, message: str, fitted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "new.csv"
    table.write_text(text)
    words = ["predict", str(fitted), "--perturbation", str(table), "--out", f"{tmp_path}/p.csv"]
    assert message in error_of(words, capsys)


def test_predict_takes_bare_tables(fitted: Path, tables: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.tsv"
    words = ["--perturbation", f"{tables}/bare_pert.csv", "--nodes", f"{tables}/nodes.csv"]
    assert main(["predict", str(fitted), *words, "--out", str(out)]) == 0
    data = pcb.open_data(tables / "data.nc")
    predicted = pd.read_csv(out, sep="\t", index_col="condition", dtype=str).astype(float)
    assert list(predicted.index) == list(data["condition"].values)
    np.testing.assert_array_equal(predicted.to_numpy(), pcb.load(fitted).predict(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        (
            "condition,aMEC\nnew,-1\n",
            [],
            "no node of the fit: 'aMEC'; its nodes are, for example, aMEK",
        ),
        ("condition,aMEK\nnew,much\n", [], r"new.csv, line 2, column 2"),
        ("condition,aMEK\nnew,\n", [], "every perturbation needs a finite number"),
        ("condition,aMEK\n", [], "is empty"),
        ("condition,aMEK\nnew,-1\n", ["--times", "1,x"], "as 0.5,1,2"),
        ("condition,aMEK\nnew,-1\n", ["--out", "p.xlsx"], ".csv, .tsv, .nc"),
    ],
)
def test_what_cannot_be_predicted_is_named(
    text: str,
    more: list[str],
    message: str,
    fitted: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "new.csv"
    table.write_text(text)
    words = ["predict", str(fitted), "--perturbation", str(table), "--out", f"{tmp_path}/p.csv"]
    assert message in error_of([*words, *more], capsys)
    assert list(tmp_path.iterdir()) == [table]


def test_a_file_that_is_no_fit_is_named(
    tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--perturbation", f"{tables}/pert.csv", "--out", f"{tmp_path}/p.csv"]
    assert "there is no file" in error_of(["predict", "nowhere.nc", *words], capsys)
    assert "kinds.csv" in error_of(["predict", f"{tables}/kinds.csv", *words], capsys)
    assert "not one that Fit.save wrote" in error_of(
        ["predict", f"{tables}/data.nc", *words], capsys
    )


# ---- evaluate


@pytest.mark.slow
def test_evaluate_prints_and_writes_all_models(
    fitted: Path, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--perturbation", f"{tables}/pert.csv", "--response", f"{tables}/expr.csv"]
    capsys.readouterr()
    csv = tmp_path / "scores"
    assert main(["evaluate", str(fitted), *words, "--new-only", "--csv", str(csv)]) == 0
    from_tables = capsys.readouterr()
    assert "used in the fit" not in from_tables.err
    table = scores(from_tables.out)
    assert len(table) == 4
    written = pd.read_csv(csv / "scores.csv", index_col="model")
    assert list(written.index) == ["CellBox", *all_baselines()]
    np.testing.assert_allclose(written["mse"][table.index], table["mse"], atol=1e-4)
    by_node = pd.read_csv(csv / "by_node.csv")
    assert list(by_node.columns) == ["node", "model", "pearson", "mse"]
    assert len(by_node) == 10 * len(written)
    by_condition = pd.read_csv(csv / "by_condition.csv")
    assert len(by_condition) == 8 * len(written)
    assert set(by_condition["role"]) == {"unseen"}
    assert "scores on 8 unseen rows" in from_tables.out
    assert len(pd.read_csv(csv / "predictions.csv")) == 8
    # The dataset of the same experiment says the same.
    assert main(["evaluate", str(fitted), "--data", f"{tables}/data.nc", "--new-only"]) == 0
    assert capsys.readouterr().out == from_tables.out


@pytest.mark.slow
def test_evaluate_says_when_it_judges_by_fitted_conditions(
    fitted: Path, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(fitted), "--data"]
    capsys.readouterr()
    assert main([*words, f"{tables}/data.nc", "--no-baselines"]) == 0
    captured = capsys.readouterr()
    assert "10 of these 18 conditions were used in the fit" in captured.err
    assert "scores on 18 rows: 10 fitted, 8 unseen; rows that the fit has seen" in captured.out
    assert list(scores(captured.out).index) == ["CellBox"]
    other = pcb.open_data(tables / "data.nc")
    other["perturbation"][:] *= 1.5  # the same names for other experiments
    pcb.save_data(other, tmp_path / "other.nc")
    assert main([*words, f"{tmp_path}/other.nc", "--no-baselines"]) == 0
    captured = capsys.readouterr()
    assert "scores on 18 unseen rows" in captured.out
    assert "used in the fit" not in captured.err
    seen = tmp_path / "seen.nc"
    pcb.save_data(pcb.load(fitted).data.drop_vars("role"), seen)
    assert "nothing is left to judge by" in error_of([*words, str(seen), "--new-only"], capsys)


def test_evaluate_names_what_is_missing(
    fitted: Path, tables: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--perturbation and --response" in error_of(["evaluate", str(fitted)], capsys)
    other = tmp_path / "pert.csv"
    other.write_text("condition,stranger\na,1\n")
    words = ["--perturbation", str(other), "--response", f"{tables}/expr.csv"]
    assert "no node of the fit: 'stranger'" in error_of(["evaluate", str(fitted), *words], capsys)


# ---- demo


@pytest.mark.slow
def test_demo_finds_the_network_and_beats_the_baselines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    out = tmp_path / "results" / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    names = {path.name for path in out.iterdir()}
    pictures = (
        *("observed_against_predicted", "loss_history", "interactions", "fitted_against_true"),
        *("precision_recall", "network"),
    )
    assert names == {
        *("fit.nc", "data.nc", "interactions.csv"),
        *(f"{name}.png" for name in pictures),
    }
    for name in (str(out), *names):
        assert name in captured.out
    for name in pictures:
        assert (out / f"{name}.png").read_bytes()[1:4] == b"PNG"

    table = scores(captured.out)
    baselines = table.drop(index="CellBox")
    assert len(baselines) == 3
    assert "less squared error than the best of" in captured.out
    assert table.loc["CellBox", "mse"] < 0.5 * baselines["mse"].min()
    assert table.loc["CellBox", "pearson"] > baselines["pearson"].max()

    edges = pd.read_csv(out / "interactions.csv")
    assert len(edges) == 54
    assert np.corrcoef(edges["fitted"], edges["true"])[0, 1] > 0.95
    fit, data = pcb.load(out / "fit.nc"), pcb.open_data(out / "data.nc")
    test = data["condition"].values[data["role"].values == "test"]
    assert not set(test) & set(fit.data["condition"].values)
    assert len(test) == 18
    # Its own files are good for the other commands.
    words = ["--data", f"{out}/data.nc", "--new-only"]
    assert main(["evaluate", str(out / "fit.nc"), *words]) == 0
    np.testing.assert_allclose(scores(capsys.readouterr().out), table)


@pytest.mark.slow
def test_demo_does_without_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pycellbox.cli import demo

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(demo, "SCHEDULE", pcb.Stage(3))
    assert main(["demo", "--out", str(tmp_path), "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "No pictures: pictures need matplotlib" in captured.out
    assert 'pip install "pycellbox[plot]"' in captured.out
    assert "The truth is" not in captured.out
    assert {path.name for path in tmp_path.iterdir()} == {"fit.nc", "data.nc", "interactions.csv"}


def test_demo_names_a_wrong_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--seed is -1" in error_of(["demo", "--out", str(tmp_path), "--seed", "-1"], capsys)


# ---- the worked example of the README


@pytest.mark.slow
def test_melanoma_from_its_tables(
    melanoma_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tables = [
        *("--perturbation", f"{melanoma_dir}/pert.csv", "--response", f"{melanoma_dir}/expr.csv"),
        *("--nodes", f"{melanoma_dir}/node_Index.csv"),
    ]
    kinds = ["--node-kind", "protein=82,phenotype=5,drug=12"]
    out = tmp_path / "melanoma.nc"
    more = ["--test", "0.3", "--seed", "1000", "--iterations", "15"]
    assert main(["fit", *tables, *kinds, *more, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "89 conditions × 99 nodes (82 proteins, 5 phenotypes, 12 drugs)" in printed
    assert "62 to fit, 27 held out" in printed
    first = scores(printed)
    new = tmp_path / "new.csv"
    new.write_text("condition,aMEK,aAKT\nboth low,-0.5,-0.5\n")
    predicted = tmp_path / "predictions.csv"
    assert main(["predict", str(out), "--perturbation", str(new), "--out", str(predicted)]) == 0
    assert pd.read_csv(predicted, index_col="condition").shape == (1, 99)
    capsys.readouterr()
    assert main(["evaluate", str(out), *tables, "--new-only"]) == 0
    pd.testing.assert_frame_equal(scores(capsys.readouterr().out), first)
