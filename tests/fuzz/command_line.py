"""A valid use of every command, on files of its own, for `tests.fuzz` to spoil."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.cli.tables import write_table
from pycellbox.interop.run import run_config
from tests.fuzz.calls import Call
from tests.support import configs
from tests.support.problems import dataset

_NETWORK = "Genes,a,b,c\na,0,0,-1\nb,1,0,0\nc,0,1,0\n"
_OF_JULIA: dict[str, Any] = {
    "network": "loop.csv",
    "ns": 3,
    "tfinal": 4.0,
    "ntotal": 3,
    "batch_size": 2,
    "lr": 0.02,
    "n_mu": 2,
    "n_exp_train": 3,
    "n_exp_val": 1,
    "n_exp_test": 1,
    "noise": 0.01,
    "n_iter_max": 2,
}
_DRAWN = {"network": None, "sparsity": 0.4, "drop_range": {"lb": -0.1, "ub": 0.1}}


def command_line(**options: Any) -> int:
    """Run words in this process; options become words, whatever they are.

    One that begins with an underscore has no name on the command line.
    """
    words = [_text(word) for word in options.pop("command").split()]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words += [] if name.startswith("_") else [f"--{name.replace('_', '-')}"]
        words += [] if value is True else [_text(value)]
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        return main(words)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return "?"


def command_lines(folder: Path) -> dict[str, Call]:
    """A valid use of every command but those that install or delete Julia."""
    place = folder / "files"
    place.mkdir()
    data = dataset(np.random.default_rng(1))
    course = dataset(np.random.default_rng(1), 6, (1.0, 2.0))
    tables = {name: place / f"{name}.csv" for name in ("perturbation", "response")}
    for name, path in tables.items():
        write_table(data[name].to_pandas(), path)
    kinds = place / "kinds.csv"
    pairs = zip(data["node"].values, data["node_kind"].values, strict=True)
    kinds.write_text("node,kind\n" + "".join(f"{node},{kind}\n" for node, kind in pairs))
    options: dict[str, Any] = {"solver": pcb.Euler(0.5), "progress": False, "backend": "numpy"}
    fit = pcb.fit(data, schedule=pcb.Stage(2), horizon=2.0, **options).save(place / "fit.nc")
    of_course = pcb.fit(course, schedule=pcb.Stage(2), **options).save(place / "course.nc")
    saved = pcb.save_data(data, place / "data.nc")
    json_config, yaml_configs = _configurations(place)
    plain, equations = place / "courses.csv", place / "model.toml"
    plain.write_text("time,x\n0,1.5\n1,1.2\n2,0.9\n")
    equations.write_text('[equations]\nx = "-k*x"\n[parameters]\nk = 1.0\n')
    numpy = {"backend": "numpy"}
    short: dict[str, Any] = {"iterations": 2, "out": folder / "cli.nc", "no_baselines": True}
    calls: dict[str, dict[str, Any]] = {
        "fit": {
            "data": saved,
            **short,
            "csv": folder / "tables",
            "test": 0.3,
            "validation": 0.2,
            "seed": 0,
            "starts": 2,
            "jobs": None,
            "store": None,
            "horizon": 2.0,
            "solver": "euler",
            "dt": 0.5,
            "envelope": "tanh",
            "form": 0,
            "degree": 1,
            "order": None,
            "drugs": "input",
            "operating_point": True,
            "common_effect": True,
            "drugs_on_phenotypes": True,
            "purpose": None,
            "loss": "mse",
            "learning_rate": 0.1,
            "l1": 0.1,
            "l2": 0.1,
            **numpy,
        },
        "ensemble": {
            "data": saved,
            "members": 2,
            "resample": "residuals",
            "jobs": None,
            "store": folder / "store",
            "iterations": 1,
            "test": 0.3,
            "seed": 0,
            "no_baselines": True,
            "out": folder / "members.nc",
            **numpy,
        },
        "ensemble of a fit": {"fit": fit, "members": 2, "out": folder / "members.nc", **numpy},
        "fit tables": {**tables, "node_kind": kinds, "solver": "heun", **short, **numpy},
        "fit courses": {
            "courses": plain,
            "equations": equations,
            "transform": "log",
            "solver": "heun",
            "dt": 0.5,
            **short,
            **numpy,
        },
        "predict": {
            "_fit": fit,
            "perturbation": tables["perturbation"],
            "out": folder / "predicted.csv",
            "times": None,
            "interval": 0.9,
            "nodes": None,
            **numpy,
        },
        "support": {"_fit": fit, "folds": 2, "by": "replicate", "seed": 0, **numpy},
        "predict a dataset": {
            "_fit": fit,
            "data": saved,
            "out": folder / "predicted_again.csv",
            **numpy,
        },
        "predict a course": {
            "_fit": of_course,
            "perturbation": tables["perturbation"],
            "out": folder / "predicted.nc",
            "times": "0.5,1",
            **numpy,
        },
        "evaluate": {
            "_fit": fit,
            "data": saved,
            "new_only": False,
            "no_baselines": True,
            "csv": folder / "scores",
        },
        "evaluate tables": {"_fit": fit, **tables, "no_baselines": True},
        "run": {
            "_config": json_config,
            "working_index": 1,
            "drug_index": None,
            "out": folder / "run",
            "overwrite": True,
            "no_baselines": True,
            **numpy,
        },
        "julia status": {},
        "julia": {"_action": "status"},
        "": {"_command": "fit", "version": False, "help": True},
    }
    for name, config in yaml_configs.items():
        calls[f"run {name}"] = {
            "_config": config,
            "working_index": 0,
            "is_restart": False,
            "out": folder / f"run {name}",
            "overwrite": True,
            "no_baselines": True,
            **numpy,
        }
    found: dict[str, Call] = {}
    for name, words in calls.items():
        command = name if name.startswith("julia") else name.split(" ")[0]
        found[f"pycellbox {name}"] = (command_line, {"command": command, **words})
    # A demo that goes well takes seconds: its folder is never one.
    demo = {"command": "demo", "out": saved, "seed": 0, "quiet": True, **numpy}
    found["pycellbox demo"] = (command_line, demo)
    for name, path in {"json": json_config, **yaml_configs}.items():
        found[f"run_config {name}"] = (
            run_config,
            {
                "path": path,
                "index": 0,
                "drug": None,
                "out": folder / f"run_config {name}",
                "overwrite": True,
                "restart": False,
                "progress": False,
                **numpy,
            },
        )
    return found


def _configurations(place: Path) -> tuple[Path, dict[str, Path]]:
    data = place / "data"
    data.mkdir()
    pert, expr = configs.tables()
    np.savetxt(data / "pert.csv", pert, delimiter=",")
    np.savetxt(data / "expr.csv", expr, delimiter=",")
    (data / "nodes.csv").write_text("\n".join(configs.NODES) + "\n")
    of_json = place / "tiny.json"
    of_json.write_text(json.dumps({**configs.SETTINGS, "n_epoch": 1, "n_iter": 2}))
    (place / "loop.csv").write_text(_NETWORK)
    of_yaml = {}
    for name, changes in {"network": {}, "drawn": _DRAWN}.items():
        settings = {k: v for k, v in (_OF_JULIA | changes).items() if v is not None}
        of_yaml[name] = place / f"{name}.yaml"
        of_yaml[name].write_text(yaml.safe_dump(settings))
    return of_json, of_yaml
