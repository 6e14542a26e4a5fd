"""The experiments of Ji et al., as a function and as a program."""

from __future__ import annotations

import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.ji import JI_MODEL, recover_beeline, score

PROGRAMS = Path(__file__).resolve().parents[1] / "benchmarks"


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def recovery() -> pcb.experiments.Recovery:
    return recover_beeline("CY", seed=21, iterations=100, backend="numpy")


@pytest.mark.slow
def test_a_small_network_is_recovered(recovery: pcb.experiments.Recovery) -> None:
    table = recovery.table()
    refined = table.loc["refined"]
    assert refined["pearson_W"] > 0.999
    assert refined["test_mae"] < 1e-3
    assert refined["missed"] == 0
    assert refined["sign_accuracy"] == 1.0
    assert refined["test_mae"] < table.loc["AdamW", "test_mae"]
    assert refined["seconds"] == pytest.approx(sum(recovery.seconds))


@pytest.mark.slow
def test_recovery_prints_its_table(recovery: pcb.experiments.Recovery) -> None:
    assert repr(recovery).startswith("<Recovery of CY: 10 conditions>")
    assert "refined" in repr(recovery)


@pytest.mark.slow
def test_starts_side_by_side_are_those_one_after_the_other(
    recovery: pcb.experiments.Recovery, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"seed": 21, "iterations": 100, "starts": 2, "backend": "numpy"}
    with ThreadPoolExecutor(2) as pool:
        together = recover_beeline("CY", executor=pool, **options)
    assert together.starts == recovery.starts == 1  # the second does not count
    xr.testing.assert_identical(together.refined.parameters, recovery.refined.parameters)


@pytest.mark.slow
def test_of_several_starts_the_validation_set_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycellbox.ji.recovery._GOOD", 0.0)  # no start is good enough
    options = {"seed": 21, "iterations": 60, "backend": "numpy"}
    several = recover_beeline("CY", starts=2, **options)
    first = recover_beeline("CY", starts=1, **options)

    def error(result: pcb.experiments.Recovery) -> float:
        off = result.refined.predict(result.validation) - result.validation["response"]
        return float((off**2).mean())

    assert several.starts == 2
    assert error(several) <= error(first)


def test_score_of_the_truth_is_perfect(recovery: pcb.experiments.Recovery) -> None:
    true = pcb.simulation.truth(recovery.test)
    exact = pcb.fit(
        recovery.train, JI_MODEL, initial=true, solver=pcb.Tsit5(1e-9, 1e-11),
        schedule=pcb.Stage(1, learning_rate=0.0), backend="numpy", progress=False,
    )  # fmt: skip
    scores = score(exact, recovery.test)
    assert scores["test_mae"] < 1e-7
    assert scores["pearson_W"] == pytest.approx(1.0)
    assert scores["edges"] == 6
    assert scores["spurious"] == scores["missed"] == 0


@pytest.mark.parametrize("starts", [0, True, 1.5])
def test_starts_are_checked(starts: object) -> None:
    with pytest.raises(pcb.OptionError, match="starts="):
        recover_beeline("CY", starts=starts)  # type: ignore[arg-type]


@pytest.mark.slow
def test_program_prints_and_writes_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    options = ["--networks", "CY", "--seeds", "21", "--iterations", "100", "--backend", "numpy"]
    program("paper").main([*options, "--out", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert "median of seeds 21" in printed
    assert "backend numpy" in printed
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert list(scores["fit"]) == ["AdamW", "refined"]
    assert set(scores["network"]) == {"CY"}
    assert (tmp_path / "out" / "CY-W.png").stat().st_size > 0


@pytest.mark.slow
def test_program_names_a_network_that_it_does_not_know(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as left:
        program("paper").main(["--networks", "XY", "--backend", "numpy"])
    assert left.value.code == 1
    assert "XY" in capsys.readouterr().err


def test_floor_is_near_the_error_of_a_perfect_fit(recovery: pcb.experiments.Recovery) -> None:
    # The structure was found: what is left is the noise of 10 conditions.
    refined = recovery.table().loc["refined"]
    assert refined["spurious"] == 0
    assert 0.3 < refined["test_mae"] / recovery.floor() < 3


@pytest.mark.slow
def test_identifiability_program_compares_designs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    options = ["--networks", "CY", "--backend", "numpy", "--csv", str(path)]
    table = program("identifiability").main(options)
    assert "twice as many" in capsys.readouterr().out
    cy = table.loc["CY"]
    for column in ("largest error", "largest, edges known", "test MAE, edges known"):
        assert cy.loc["half as many", column] > cy.loc["paper", column]
        assert cy.loc["paper", column] > cy.loc["four times as many", column]
    assert (cy["largest, edges known"] <= cy["largest error"]).all()
    assert len(pd.read_csv(path)) == len(cy)
