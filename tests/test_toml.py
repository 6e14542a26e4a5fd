"""Equations in TOML files, and the commands that take them."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.cli import main
from tests.support.equations import courses, sir

SIR = """
[equations]
S = "-beta*S*I/N"
I = "beta*S*I/N - gamma*I"
R = "gamma*I"

[parameters]
N = { start = 763, fixed = true }
rho = { start = 0.9, lower = 0, upper = 1.5 }
I0 = { start = 2, positive = true }

[parameters.beta]
positive = true

[parameters.gamma]
start = 0.4
scale = "log"

[observe]
cases = "rho*I"

[initial]
S = "N - I0"
I = "I0"
R = 0
"""


def write(tmp_path, text, name="model.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_is_the_model_that_python_makes(tmp_path):
    assert pcb.ODE.from_toml(write(tmp_path, SIR)).to_dict() == sir(parameters={
        "N": pcb.Parameter(763, fixed=True), "rho": pcb.Parameter(0.9, lower=0, upper=1.5),
        "I0": pcb.Parameter(2, positive=True), "beta": pcb.Parameter(positive=True),
        "gamma": pcb.Parameter(0.4, scale="log"),
    }).to_dict()  # fmt: skip


def test_every_option_of_a_parameter_and_inputs(tmp_path):
    text = """
        inputs = ["light"]
        [equations]
        x = "k[0]*light*sum(M @ k) - a*x"
        y = 1
        [parameters]
        k = { start = { uniform = [0, 0.1] }, shape = 2, dims = "subject" }
        M = [[1.0, 2.0], [3.0, 4.0]]
        a = { prior = { lognormal = [1, 0.5] }, scale = "log" }
        f = { start = [1, 2], fixed = [true, false] }
        [initial]
        x = { start = 0.1, dims = "condition" }
    """
    found = pcb.ODE.from_toml(write(tmp_path, text))
    assert dict(found.parameters) == {
        "k": pcb.Parameter(pcb.uniform(0, 0.1), shape=2, dims="subject"),
        "M": pcb.Parameter([[1, 2], [3, 4]]),
        "a": pcb.Parameter(prior=pcb.lognormal(1, 0.5), scale="log"),
        "f": pcb.Parameter([1, 2], fixed=[True, False]),
        "x_0": pcb.Parameter(0.1, dims="condition"),
    }
    assert dict(found.inputs) == {"light": "light"}
    named = pcb.ODE.from_toml(write(tmp_path, '[equations]\nx = "-u"\n[inputs]\nu = "drug A"\n'))
    assert dict(named.inputs) == {"u": "drug A"}


WRONG = {
    "no equations": ("[parameters]\na = 1\n", r"has no \[equations\]"),
    "no TOML": ("[equations\n", "is no TOML"),
    "a table": ("[equation]\nx = '-x'\n", "'equation'.*did you mean 'equations'"),
    "an option": ("[equations]\nx = '-k*x'\n[parameters.k]\nlowr = 1\n",
                  r"\[parameters.k\].*'lowr'.*did you mean 'lower'"),
    "bounds": ("[equations]\nx = '-k*x'\n[parameters.k]\nlower = 2\nupper = 1\n",
               r"\[parameters.k\].*not below upper"),
    "a distribution": ("[equations]\nx = '-k*x'\n[parameters.k]\nstart = { unifrom = [0, 1] }\n",
                       r"\[parameters.k\]: start.*uniform"),
    "its numbers": ("[equations]\nx = '-k*x'\n[parameters.k]\nstart = { uniform = [1, 0] }\n",
                    r"\[parameters.k\]: start.*larger"),
    "a name": ("[equations]\nx = '-j*x'\n[parameters]\nk = 1\n", "the equation of x.*'j'"),
    "an expression": ("[equations]\nx = true\n", r"\[equations\]: x is True"),
    "initial of none": ("[equations]\nx = '-x'\n[initial]\ny = 1\n", "initial has 'y'"),
    "an initial option": ("[equations]\nx = '-x'\n[initial.x]\nstrt = 1\n", r"\[initial.x\]"),
    "code": ("[equations]\nx = '__import__(\"os\")'\n", "the equation of x"),
    "no table": ("equations = 1\n", "it needs to be a table"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_file_is_said_with_its_place(what, tmp_path):
    text, said = WRONG[what]
    with pytest.raises(pcb.ModelError, match=said) as error:
        pcb.ODE.from_toml(write(tmp_path, text))
    assert "model.toml" in str(error.value)


def test_no_file_and_a_neural_model(tmp_path):
    with pytest.raises(pcb.ModelError, match="cannot read"):
        pcb.ODE.from_toml(tmp_path / "none.toml")
    assert type(pcb.NeuralODE.from_toml(write(tmp_path, SIR))) is pcb.ODE


def test_the_command_line_fits_predicts_and_judges(tmp_path, capsys):
    p = {"N": 763.0, "beta": 1.7, "gamma": 0.45, "rho": 0.95, "I0": 1.0}
    data = pcb.simulation.courses(sir(), p, np.arange(1.0, 13), units="d")
    table = tmp_path / "cases.csv"
    rows = [
        f"{t},{x}"
        for t, x in zip(data["time"].values, data["response"][0, :, 0].values, strict=True)
    ]
    table.write_text("\n".join(["time (d),cases", *rows]))
    fit, out = tmp_path / "fit.nc", tmp_path / "out"
    given = ["--courses", str(table), "--equations", str(write(tmp_path, SIR))]
    quick = ["--solver", "rk4", "--dt", "0.5", "--iterations", "4", "--backend", "numpy"]
    run, result = tmp_path / "run.nc", str(tmp_path / "predicted.csv")
    code = main(["fit", *given, *quick, "--out", str(fit), "--csv", str(out),
                 "--checkpoint", str(run)])  # fmt: skip
    assert code == 0
    printed = capsys.readouterr().out
    assert "dS/dt = -beta*S*I/N" in printed
    assert "fitted" in printed
    lines = (out / "parameters.csv").read_text().splitlines()
    assert lines[0] == "parameter,entry,value"
    assert lines[1].startswith("N,,763")
    assert not (out / "W.csv").exists()
    assert main(["fit", "--resume", str(run), "--out", str(tmp_path / "again.nc")]) == 0
    assert pcb.load(tmp_path / "again.nc").parameters.equals(pcb.load(fit).parameters)
    assert main(["evaluate", str(fit), "--courses", str(table), "--no-baselines"]) == 0
    pcb.save_data(data, tmp_path / "data.nc")
    again = ["--data", str(tmp_path / "data.nc"), "--times", "2,4.5", "--backend", "numpy"]
    assert main(["predict", str(fit), *again, "--out", result]) == 0
    assert "4.5" in (tmp_path / "predicted.csv").read_text()
    assert main(["fit", *given, "--envelope", "hill", "--out", str(fit)]) != 0
    assert "--equations is the model; leave --envelope out" in capsys.readouterr().err
    logs = ["--dataset", "lynx_hare", "--transform", "log-center"]
    text = '[equations]\nHare = "-a*Lynx"\nLynx = "a*Hare"\n[parameters]\na = 0.5\n'
    lynx = ["--equations", str(write(tmp_path, text, "lynx.toml"))]
    assert main(["fit", *logs, *lynx, *quick[:2], "--dt", "1", *quick[4:], "--out", str(fit)]) == 0
    assert pcb.load(fit).data.attrs["transform"] == "log-center"


def table_of(tmp_path, name, times, unit="d"):
    p = {"N": 763.0, "beta": 1.7, "gamma": 0.45, "rho": 0.95, "I0": 1.0}
    cases = pcb.simulation.courses(sir(), p, np.asarray(times, float), units="d")["response"]
    factor = {"d": 1, "h": 24}[unit]
    rows = [f"{t * factor},{x}" for t, x in zip(times, cases.values.ravel(), strict=True)]
    (tmp_path / name).write_text("\n".join([f"time ({unit}),cases", *rows]))
    return str(tmp_path / name)


@pytest.mark.parametrize("unit", ["d", "h"])
def test_the_command_line_judges_a_forecast(tmp_path, capsys, unit):
    fit, out = tmp_path / "fit.nc", tmp_path / "out"
    first = pcb.read_courses(table_of(tmp_path, "cases.csv", np.arange(1, 9)))
    pcb.fit(first, sir(), schedule=pcb.Stage(2), progress=False, backend="numpy").save(fit)
    later = pcb.read_courses(table_of(tmp_path, "cases.csv", np.arange(9, 13), unit))
    pcb.save_data(later, tmp_path / "later.nc")
    words = ["evaluate", str(fit), "--data", str(tmp_path / "later.nc"), "--no-baselines"]
    for more in ([], ["--new-only"]):
        assert main([*words, *more, "--csv", str(out)]) == 0
        said = capsys.readouterr()
        assert "1 forecast rows" in said.out
        assert "used in the fit" not in said.err
    times = [line.split(",")[1] for line in (out / "predictions.csv").read_text().splitlines()]
    assert float(times[1]) == {"d": 9, "h": 216}[unit]
    # Hours of the time of the fit are not later, whatever their numbers.
    within = pcb.data.in_unit(first, "h")
    pcb.save_data(within, tmp_path / "within.nc")
    words[3] = str(tmp_path / "within.nc")
    assert main(words) == 0
    assert "1 of these 1 conditions were used in the fit" in capsys.readouterr().err


def test_the_command_line_does_not_judge_steady_states_by_courses(tmp_path, capsys):
    data = courses(["x"], [1.0, 2.0])
    model = pcb.ODE({"x": "1 - k*x"}, parameters={"k": 0.3})
    pcb.fit(data.isel(time=0, drop=True), model, schedule=pcb.Stage(1), progress=False,
            backend="numpy").save(tmp_path / "fit.nc")  # fmt: skip
    pcb.save_data(data, tmp_path / "data.nc")
    words = ["evaluate", str(tmp_path / "fit.nc"), "--data", str(tmp_path / "data.nc")]
    for more in ([], ["--new-only"]):
        assert main([*words, *more]) != 0
        assert "time courses, and the fit is of steady states" in capsys.readouterr().err


def test_units_of_courses_are_those_said_those_of_the_heading_or_those_of_the_fit(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    first = pcb.read_courses(table_of(tmp_path, "cases.csv", np.arange(1, 9)))
    options = {"schedule": pcb.Stage(1), "progress": False, "backend": "numpy"}
    pcb.fit(first, sir(), **options).save("fit.nc")
    table_of(tmp_path, "hours.csv", np.arange(1, 9), "h")
    plain = (tmp_path / "cases.csv").read_text().replace("time (d)", "time")
    (tmp_path / "plain.csv").write_text(plain)
    printed = []
    for name in ("cases.csv", "hours.csv", "plain.csv"):
        words = ["--courses", name, "--no-baselines", "--csv", name[:-4]]
        assert main(["evaluate", "fit.nc", *words]) == 0
        printed.append(capsys.readouterr().out.splitlines()[-1])
    assert len(set(printed)) == 1
    head = (tmp_path / "plain" / "predictions.csv").read_text()
    assert "time (d)" in head.splitlines()[0]
    write(tmp_path, SIR)
    words = ["--equations", "model.toml", "--solver", "rk4", "--dt", "1", "--iterations", "1"]
    units = ["--time-units", "h", "--backend", "numpy"]
    assert main(["fit", "--courses", "plain.csv", *units, *words, "--out", "hours.nc"]) == 0
    assert pcb.load("hours.nc").data["time"].attrs["units"] == "h"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--courses", "a.csv", "--nodes", "b.csv"], "--courses, --nodes do not go together"),
        (["--dataset", "lynx_hare", "--time-units", "h"], "--dataset, --time-units do not go"),
        (["--data", "a.nc", "--transform", "log"], "--transform goes with --courses or --dataset"),
        (["--dataset", "lynx_hare", "--degree", "0"], "leave --degree out"),
    ],
)
def test_words_that_do_not_go_together_are_refused(tmp_path, capsys, words, said):
    model = ["--equations", str(write(tmp_path, SIR))]
    assert main(["fit", *words, *model, "--out", str(tmp_path / "fit.nc")]) == 2
    assert said in capsys.readouterr().err
