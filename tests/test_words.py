"""Words of the command line that are wrong: the error names all of it and the way out."""

from __future__ import annotations

import pytest

from pycellbox.cli import main

COMMANDS = ("demo", "fit", "predict", "evaluate", "support", "run", "julia install")


def error_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("pycellbox: error: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("fit --out f.nc --data d.nc --iteratons 5", "--iterations"),
        ("fit --out f.nc --data d.nc --iteratons=5", "--iterations"),
        ("fit --learning_rate 0.1 --out f.nc --data d.nc", "--learning-rate"),
        ("fit -iterations 5 --out f.nc --data d.nc", "--iterations"),
        ("demo --sed 3", "--seed"),
        ("predict f.nc --perturbations p.csv --out o.csv", "--perturbation"),
        ("evaluate f.nc --data d.nc --newonly", "--new-only"),
        ("support f.nc --flods 3", "--folds"),
        ("run c.json --working-index 3", "--working_index"),
        ("run c.json -drg 3", "-drug"),
        ("run c.json --overwrit3", "--overwrite"),
        ("julia remove --yess", "--yes"),
    ],
)
def test_unknown_options_suggest_the_nearest(
    words: str, nearest: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = error_of(words, capsys)
    assert f"did you mean '{nearest}'?" in message
    command = " ".join(words.split()[: 2 if words.startswith("julia") else 1])
    assert f"(see pycellbox {command} --help)" in message
    assert "missing" not in message


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("fit", "--out, --perturbation and --response (or --data, --courses, or --dataset)"),
        ("fit --out f.nc", "--perturbation and --response (or --data, --courses, or --dataset)"),
        ("fit --perturbation p.csv", "--out, --response"),
        ("fit --pert=p.csv --out f.nc", "--response"),
        ("fit --dataset melanoma", "--out"),
        ("predict", "FIT.nc, --perturbation (or --data), --out"),
        ("predict f.nc --times 1,2", "--perturbation (or --data), --out"),
        ("evaluate", "FIT.nc, --perturbation and --response (or --data, --courses, or --dataset)"),
        ("support", "FIT.nc"),
        ("run", "CONFIG"),
        ("run -i 3", "CONFIG"),
        ("julia", "action (install, status, remove)"),
    ],
)
def test_everything_that_is_missing_is_named_at_once(
    words: str, missing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"missing: {missing} (see pycellbox {words.split()[0]} --help)" in error_of(
        words, capsys
    )


def test_unknown_and_missing_are_named_together(capsys: pytest.CaptureFixture[str]) -> None:
    message = error_of("fit --itertions 3 --sovler heun --data d.nc", capsys)
    for part in ("'--iterations'", "'--solver'", "missing: --out"):
        assert part in message


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("fitt --out f.nc", "invalid choice: 'fitt' (did you mean 'fit'?)"),
        ("prediction", "(did you mean 'predict'?)"),
        (
            "xyz",
            "choose one of demo, fit, ensemble, predict, evaluate, support, run, julia "
            "(see pycellbox --help)",
        ),
        ("julia instal", "(did you mean 'install'?)"),
        ("--seed 3 demo", "there is no option --seed before the command"),
    ],
)
def test_unknown_commands_suggest_the_nearest(
    words: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert part in error_of(words, capsys)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("demo --seed x", "(see pycellbox demo --help)"),
        ("fit --out f.nc --data d.nc more", "unexpected words: more (see pycellbox fit --help)"),
        ("fit --out f.nc --data d.nc --dt", "expected one argument (see pycellbox fit --help)"),
        ("julia status now", "unexpected words: now (see pycellbox julia status --help)"),
    ],
)
def test_other_errors_point_to_the_commands_help(
    words: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert part in error_of(words, capsys)


@pytest.mark.parametrize(
    ("option", "value", "nearest"),
    [
        ("--solver", "tsti5", "tsit5"),
        ("--envelope", "tahn", "tanh"),
        ("--form", "jicode", "ji-code"),
        ("--drugs", "clampd", "clamped"),
        ("--loss", "hubert", "huber"),
        ("--backend", "nunpy", "numpy"),
        ("--dataset", "melanomas", "melanoma"),
    ],
)
def test_unknown_values_suggest_the_nearest(
    option: str, value: str, nearest: str, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    words = f"fit --out {tmp_path}/f.nc {option} {value}"
    words += "" if option == "--dataset" else " --dataset melanoma"
    assert f"{value}" in (message := error_of(words, capsys))
    assert f"did you mean '{nearest}'?" in message


@pytest.mark.parametrize("command", COMMANDS)
def test_help_stands_above_what_is_wrong(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--nonsense", "--help"]) == 0
    assert f"usage: pycellbox {command}" in capsys.readouterr().out
