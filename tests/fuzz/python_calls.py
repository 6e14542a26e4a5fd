"""A valid call of every public function, for `tests.fuzz` to spoil."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

import pycellbox as pcb
from pycellbox import baselines, ji, simulation
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.cli.tables import write_table
from pycellbox.data import (
    as_measured,
    condition_labels,
    drugs_of,
    in_unit,
    pooled_sigma,
    transformed,
)
from pycellbox.refinement import standard_errors
from tests.fuzz.calls import Call
from tests.support.problems import dataset

_EULER = pcb.Euler(0.5)
_STAGE = pcb.Stage(2)


def _plain_courses(folder: Path) -> Path:
    """Write a plain table of courses."""
    path = folder / "courses.csv"
    rows = [f"x,{m},{r},{t},1,2,0.1,0.2" for m in "ab" for r in (1, 2) for t in range(3)]
    path.write_text("\n".join(["dish,mouse,rep,hours,A,B,A_sd,B_sd", *rows]))
    return path


def _equations(folder: Path) -> Path:
    """Write equations in TOML."""
    path = folder / "model.toml"
    path.write_text('[equations]\nx = "-k*x"\n[parameters]\nk = 1.0\n')
    return path


def _positive(data: xr.Dataset) -> xr.Dataset:
    return data.assign(response=np.abs(data["response"]) + 1)


def _regimen(instruction=None, **given):
    return pcb.regimen(given.pop("data", None), instruction, **given)


def _treated(course):
    """Courses with a pre-treatment, phases of their own, held nodes and initial states."""
    c, _, n = course["response"].shape
    first = np.where(np.arange(c) < 2, -np.inf, np.where(np.arange(c) < 4, -0.5, 0.0))
    starts = np.stack([first, np.where(np.arange(c) < 6, 0.5, np.nan)], axis=1)
    u = course["perturbation"].expand_dims(phase=2, axis=1) * [[[1.0], [0.3]]]
    held, begin = np.full((c, n), np.nan), np.zeros((c, n))
    held[0, 0] = held[5, 1] = -1.0
    begin[3, 1] = 0.2
    where = ("condition", "node")
    return course.assign(
        perturbation=u.where(~np.isnan(xr.DataArray(starts, dims=("condition", "phase"))), 0.0),
        held=(where, held),
        held_fitted=(where, held == -1),
        initial_state=(where, begin),
        initial_fitted=(where, begin != 0),
    ).assign_coords(
        phase_start=(("condition", "phase"), starts, {"units": "h"}),
        replicate_of=("condition", ["r", "r", *[""] * (c - 2)]),
        subject=("condition", ["a"] * c),
        group=("node", ["g"] * n),
    )


def python_calls(folder: Path) -> dict[str, Call]:
    """One valid call of everything that is public, all quick."""
    rng = np.random.default_rng(0)
    data, course = dataset(rng), dataset(rng, 8, (1.0, 2.0))
    data["perturbation"][:4, 5:] = -1.0  # combinations
    options = {"solver": _EULER, "progress": False, "backend": "numpy"}
    fit = pcb.fit(data, pcb.CellBox(drug_columns="free"), schedule=_STAGE, horizon=2.0, **options)
    course_fit = pcb.fit(course, schedule=_STAGE, **options)
    network = pcb.networks.cyclic(5, 0.2)
    simulated = pcb.simulate(network, 6, times=[1.0], seed=0, backend="numpy")
    other = pcb.simulate(network, 3, times=[1.0], seed=1, backend="numpy")
    other = other.assign_coords(condition=["a", "b", "c"])
    together = pcb.ensemble(fit, members=2, resample=None, progress=False, backend="numpy")
    simulated_fit = pcb.fit(simulated, schedule=_STAGE, **options)
    decay = pcb.ODE({"x": "-k*x"}, parameters={"k": 0.5}, initial={"x": 1.0})
    decays = pcb.simulation.courses(decay, {"k": 0.6}, [1.0, 2.0, 3.0], noise=0.1)
    lm_fit = pcb.fit(decays, decay, schedule=pcb.Stage(9, optimizer=pcb.LM()), **options)
    profiled = lm_fit.profile(level=0.5)
    brief = {"draws": 2, "chains": 1, "thin": 1, "burn_in": 10, "seed": 0, "backend": "numpy"}
    drawn = lm_fit.sample(**brief)
    u, y = data["perturbation"], data["response"]
    labels = {"conditions": list(data["condition"].values), "nodes": list(data["node"].values)}
    kinds = dict(zip(labels["nodes"], data["node_kind"].values, strict=True))
    node = {"nodes": labels["nodes"][0]}
    twice = data.assign_coords(replicate_of=("condition", ["r"] * data.sizes["condition"]))
    treated = _treated(course)
    treated_fit = pcb.fit(treated, fit.model, schedule=_STAGE, **options)
    resting = treated.isel(time=-1, drop=True)
    split = pcb.splits.random(data, seed=0)
    solved = {"model": fit.model, "parameters": fit.parameters, "solver": _EULER, "horizon": 2.0}
    ridge = baselines.AdditiveEffects().fit(data)
    held = np.where(np.arange(y.sizes["node"]) == 0, -4.0, np.full(y.shape, np.nan))
    tables = {"perturbation": u, "response": y, "held": y.copy(data=held)}
    files = {name: folder / f"{name}.csv" for name in tables}
    for name, path in files.items():
        write_table(tables[name].to_pandas(), path)
    written, open_fit = pcb.save_data(data, folder / "data.nc"), fit.save(folder / "fit.nc")
    numpy = {"backend": "numpy"}
    pcb.fit(data, schedule=_STAGE, checkpoint=folder / "run.nc", progress=False, **numpy)
    weights = {"weights": "uniform", "scale": 1.0, "gap": 0.1, "alpha": 1.0, "seed": 0}
    W, truth = fit.parameters["W"], course_fit.parameters["W"]
    table = pcb.metrics.compare({"a": y}, y)
    simulate = {
        "network": network,
        "design": 4,
        "model": None,
        "alpha": None,
        "horizon": None,
        "times": [1.0, 2.0],
        "perturb": "normal",
        "max_perturbed": 2,
        "scale": 1.0,
        "sign": "both",
        "perturbed_nodes": None,
        "noise": 0.1,
        "noise_kind": "absolute",
        "outliers": 0.1,
        "outlier_size": 1.0,
        "missing": 0.1,
        "solver": pcb.RK4(0.5),
        "seed": 0,
        **numpy,
    }
    equations = pcb.ODE({"a": "-k*a"}, parameters={"k": 1.0})
    small = pcb.NeuralODE(["a"], hidden=2).to_dict()
    two = {"x": [0.5, 2.0], "y": 1.0}
    calls: dict[str, Call] = {
        **{
            f.__name__: (f, {"x": [0.5, 2.0]})
            for f in (pcb.exp, pcb.expit, pcb.log, pcb.softplus, pcb.sqrt, pcb.tanh)
        },
        "ODE": (
            pcb.ODE,
            {
                "rates": {"a": "-k*a + dose"},
                "states": ["a"],
                "parameters": {"k": pcb.Parameter(positive=True)},
                "observe": {"y": "2*a"},
                "initial": {"a": 1.0},
                "inputs": ["dose"],
                "at_rest": True,
            },
        ),
        "NeuralODE": (
            pcb.NeuralODE,
            {"states": ["a", "b"], "hidden": 3, "initial": {"a": "0.5"}, "inputs": {"u": "dose"}},
        ),
        "Parameter": (
            pcb.Parameter,
            {
                "start": [0.5, 0.6],
                "lower": 0.1,
                "upper": 2.0,
                "positive": True,
                "scale": "log",
                "fixed": [True, False],
                "shape": (2,),
                "prior": pcb.lognormal(1.0, 1.0),
                "dims": "subject",
            },
        ),
        "Parameter.from_dict": (pcb.Parameter.from_dict, {"options": {"start": 1.0}}),
        "ODE.from_toml": (pcb.ODE.from_toml, {"path": _equations(folder)}),
        "NeuralODE.from_toml": (pcb.NeuralODE.from_toml, {"path": _equations(folder)}),
        "ODE.from_dict": (pcb.ODE.from_dict, {"options": equations.to_dict(), "mask": None}),
        "NeuralODE.from_dict": (pcb.NeuralODE.from_dict, {"options": small, "mask": None}),
        "uniform": (pcb.uniform, {"low": 0.0, "high": 1.0}),
        "normal": (pcb.normal, {"mean": 0.0, "sd": 1.0}),
        "loguniform": (pcb.loguniform, {"low": 0.5, "high": 1.0}),
        "lognormal": (pcb.lognormal, {"median": 0.5, "sd": 1.0}),
        "maximum": (pcb.maximum, two),
        "minimum": (pcb.minimum, two),
        "where": (pcb.where, {"condition": [True, False], **two}),
        "predict": (
            fit.predict,
            {"perturbation": u, "times": None, "interval": None, "scale": "measured", **numpy},
        ),
        "predict a course": (course_fit.predict, {"perturbation": u, "times": [1.0, 3.0], **numpy}),
        "fit a treated course": (pcb.fit, {"data": treated, "schedule": _STAGE, **options}),
        "fit treated steady states": (
            pcb.fit,
            {"data": resting, "horizon": 3.0, "schedule": _STAGE, **options},
        ),
        "predict a treated course": (
            treated_fit.predict,
            {"perturbation": treated, "times": [0.0, 3.0], **numpy},
        ),
        "predict phases": (
            course_fit.predict,
            {"perturbation": treated["perturbation"], "times": None, **numpy},
        ),
        "evaluate a treated course": (treated_fit.evaluate, {"data": treated, "baselines": False}),
        "solve a treated course": (
            pcb.solve,
            {**solved, "perturbation": treated, "horizon": None, "times": [1.0], **numpy},
        ),
        "steady states after treatments": (
            pcb.solve,
            {**solved, "perturbation": resting, "solver": pcb.SteadyState(), **numpy},
        ),
        "differentiate a treated course": (
            pcb.value_and_gradient,
            {
                **solved,
                "parameters": treated_fit.parameters,
                "data": treated,
                "horizon": None,
                **numpy,
            },
        ),
        "refine a treated course": (
            pcb.refine,
            {"fit": treated_fit, "rounds": 1, "iterations": 2, **numpy},
        ),
        "validate a treated course": (pcb.validate, {"dataset": treated}),
        "split treated": (pcb.splits.random, {"data": treated, "seed": 0}),
        "plot a treated course": (
            pcb.plot.trajectories,
            {"fit": treated_fit, "data": treated, "conditions": ["c0"]},
        ),
        "save treated": (pcb.save_data, {"dataset": treated, "path": folder / "treated.nc"}),
        "regimen of phases": (_regimen, {"data": treated, "instruction": pcb.knockout(**node)}),
        "evaluate": (fit.evaluate, {"data": data, "baselines": False}),
        "evaluate beside one": (fit.evaluate, {"data": data, "baselines": ["ridge"]}),
        "evaluate a course": (course_fit.evaluate, {"data": course, "baselines": True}),
        "identifiability": (fit.identifiability, {"backend": "numpy"}),
        "with_provenance": (fit.with_provenance, {"note": "x"}),
        "save": (fit.save, {"path": folder / "saved.nc"}),
        "Fit": (pcb.Fit, {"tree": fit.tree}),
        "solve": (
            pcb.solve,
            {**solved, "perturbation": u, "times": None, "dtype": "float64", **numpy},
        ),
        "solve at times": (
            pcb.solve,
            {**solved, "perturbation": u, "horizon": None, "times": [1.0], **numpy},
        ),
        "solve adaptively": (
            pcb.solve,
            {**solved, "perturbation": u, "solver": pcb.Tsit5(), **numpy},
        ),
        "steady states": (
            pcb.solve,
            {**solved, "perturbation": u, "solver": pcb.SteadyState(), **numpy},
        ),
        "value_and_gradient": (
            pcb.value_and_gradient,
            {**solved, "data": data, "loss": "mse", "gradient": None, "dtype": "float64", **numpy},
        ),
        "fit": (
            pcb.fit,
            {
                "data": data,
                "model": fit.model,
                "validation": 0.2,
                "schedule": _STAGE,
                "loss": "mse",
                "penalty": pcb.Penalty(0.1),
                "horizon": 2.0,
                "time_scale": 1.0,
                "purpose": None,
                "initial": None,
                "seed": 0,
                "dtype": "float64",
                **options,
            },
        ),
        "fit from starts": (
            pcb.fit,
            {
                "data": data,
                "schedule": _STAGE,
                "starts": 2,
                "executor": None,
                "n_jobs": None,
                "store": None,
                **options,
            },
        ),
        "fit a course": (
            pcb.fit,
            {"data": course, "initial": fit.parameters, "schedule": [_STAGE], **options},
        ),
        "fit with a checkpoint": (
            pcb.fit,
            {
                "data": data,
                "schedule": _STAGE,
                "checkpoint": folder / "new_run.nc",
                "checkpoint_seconds": 1.0,
                "callbacks": [callable],
                **options,
            },
        ),
        "resume": (
            pcb.resume,
            {
                "checkpoint": folder / "run.nc",
                "progress": False,
                "checkpoint_seconds": 1.0,
                "callbacks": None,
            },
        ),
        "prune": (
            pcb.prune,
            {
                "fit": fit,
                "edges": [3],
                "thresholds": None,
                "validation": None,
                "folds": 2,
                "choose": "sparsest",
                "schedule": _STAGE,
                "penalty": None,
                "executor": None,
                "n_jobs": None,
                "progress": False,
                **numpy,
            },
        ),
        "refine": (
            pcb.refine,
            {
                "fit": fit,
                "eliminate": True,
                "tolerance": 0.05,
                "ridge": None,
                "rounds": 1,
                "iterations": 2,
                "solver": _EULER,
                **numpy,
            },
        ),
        "standard_errors": (
            standard_errors,
            {**solved, "data": data, "noise": 0.1, "spread": 1.0, "steepest": 1000.0, **numpy},
        ),
        "validate": (pcb.validate, {"dataset": data, "part": False}),
        "validate a course": (pcb.validate, {"dataset": course}),
        "from_tables": (
            pcb.from_tables,
            {
                "perturbation": u.values,
                "response": y.values,
                "sigma": np.ones(y.shape),
                "node_kind": kinds,
                "time": None,
                "attrs": {"a": 1},
                "held": held,
                "held_fitted": False,
                "initial_state": np.zeros(y.shape),
                "initial_fitted": True,
                "replicate_of": None,
                "subject": dict.fromkeys(labels["conditions"], "a"),
                "group": None,
                **labels,
            },
        ),
        "from frames": (
            pcb.from_tables,
            {"perturbation": u.to_pandas(), "response": y.to_pandas(), "node_kind": kinds},
        ),
        "from course": (
            pcb.from_tables,
            {
                "perturbation": u.values[:8],
                "response": course["response"].values,
                "time": [1.0, 2.0],
                "time_units": "h",
                "nodes": labels["nodes"],
                "conditions": range(8),
            },
        ),
        "read_csv": (
            pcb.read_csv,
            {
                **files,
                "sigma": None,
                "nodes": None,
                "node_kind": kinds,
                "conditions": None,
                "time": None,
                "time_units": None,
                "attrs": None,
                "held": files["held"],
                "held_fitted": False,
                "initial_state": None,
                "initial_fitted": False,
            },
        ),
        "regimen": (pcb.regimen, {"data": course}),
        "regimen of doses": (_regimen, {"data": u, "instruction": pcb.knockout(**node)}),
        "pretreat": (pcb.pretreat, {**node, "before": "1 h", "dose": 1.0, "conditions": None}),
        "pulse": (pcb.pulse, {**node, "start": 0, "end": 1, "dose": 1.0, "conditions": None}),
        "step": (pcb.step, {**node, "at": "1 h", "dose": 1.0, "conditions": None}),
        "washout": (pcb.washout, {**node, "at": "1 h", "conditions": None}),
        "knockout": (pcb.knockout, {**node, "level": -4.0, "conditions": None}),
        "knockdown": (pcb.knockdown, {**node, "fitted": True, "level": -1.0, "conditions": None}),
        "overexpression": (
            pcb.overexpression,
            {**node, "level": 2.0, "fitted": False, "conditions": None},
        ),
        "drive": (
            pcb.drive,
            {
                "signal": "light",
                "times": [0, "6 h", "12 h"],
                "values": [1.0, 0.0, 1.0],
                "interpolation": "linear",
                "after": "hold",
                "conditions": None,
            },
        ),
        "start_as_measured": (
            pcb.start_as_measured,
            {"nodes": None, "fitted": True, "conditions": None},
        ),
        "read_courses": (
            pcb.read_courses,
            {
                "path": _plain_courses(folder),
                "time": "hours",
                "condition": "dish",
                "subject": "mouse",
                "replicate": "rep",
                "species": ["A", "B"],
                "sigma": {"A": "A_sd", "B": "B_sd"},
                "time_units": "min",
                "origin": 0.0,
                "transform": "log",
                "attrs": {"source": "nowhere"},
            },
        ),
        "lynx_hare": (pcb.datasets.lynx_hare, {"transform": "log"}),
        "transformed": (transformed, {"data": _positive(course), "transform": "log-center"}),
        "as_measured": (
            as_measured,
            {"given": course["response"], "data": transformed(_positive(course), "log")},
        ),
        "in_unit": (in_unit, {"data": course, "unit": "min"}),
        "pooled_sigma": (pooled_sigma, {"data": twice, "by_time": False, "floor": 0.1}),
        "open_data": (pcb.open_data, {"path": written}),
        "save_data": (pcb.save_data, {"dataset": data, "path": folder / "copy.nc"}),
        "load": (pcb.load, {"path": open_fit}),
        "k_fold": (pcb.splits.k_fold, {"data": data, "folds": 2, "by": "replicate", "seed": 0}),
        "cross_validate": (
            pcb.cross_validate,
            {
                "data": data,
                "model": pcb.Recipe(schedule=_STAGE),
                "folds": 2,
                "by": "replicate",
                "seed": 0,
                "validation": None,
                "executor": None,
                "n_jobs": None,
                "progress": False,
                **numpy,
            },
        ),
        "ensemble": (
            pcb.ensemble,
            {
                "data": data,
                "model": pcb.Recipe(schedule=_STAGE),
                "members": 2,
                "resample": None,
                "seed": 0,
                "executor": None,
                "n_jobs": None,
                "store": None,
                "progress": False,
                **numpy,
            },
        ),
        "Ensemble": (pcb.Ensemble, {"fit": fit, "members": together._members}),
        "Ensemble.predict": (
            together.predict,
            {"perturbation": u, "times": None, "interval": 0.9, "quantiles": [0.5], **numpy},
        ),
        "Fit.support": (
            course_fit.support,
            {
                "folds": 2,
                "by": "replicate",
                "without": None,
                "seed": 0,
                "executor": None,
                "n_jobs": None,
                "progress": False,
                **numpy,
            },
        ),
        "Fit.edges": (fit.edges, {"share": 0.5, **numpy}),
        "Ensemble.edges": (together.edges, {"share": 0.5}),
        "Ensemble.evaluate": (together.evaluate, {"data": data, "baselines": False}),
        "Ensemble.save": (together.save, {"path": folder / "together.nc"}),
        "profile": (
            lm_fit.profile,
            {"names": ["k"], "level": 0.5, "executor": None, "n_jobs": None, **numpy},
        ),
        "sample": (
            lm_fit.sample,
            {**brief, "step": 0.1, "batch_size": 1, "executor": None, "n_jobs": None},
        ),
        "Samples": (
            pcb.Samples,
            {"fit": lm_fit, "draws": drawn._draws, "noise": drawn.noise, "noise_by": "residuals"},
        ),
        "Samples.predict": (
            drawn.predict,
            {
                "perturbation": decays,
                "times": None,
                "interval": 0.9,
                "draws": 2,
                "seed": 0,
                **numpy,
            },
        ),
        "Profile": (pcb.Profile, {"curves": profiled.curves, "best": profiled.best}),
        "Profile.curve": (profiled.curve, {"name": "k"}),
        "plot.profile": (
            pcb.plot.profile,
            {"profile": profiled, "parameters": ["k"], "figure": None},
        ),
        "LM": (pcb.LM, {"tolerance": 1e-6}),
        "Grow": (
            pcb.Grow,
            {
                "optimizer": pcb.AdamW(),
                "windows": [1.0, 2.0],
                "iterations": 3,
                "learning_rate": 0.1,
                "weighting": "smooth",
            },
        ),
        "Shooting": (
            pcb.Shooting,
            {"optimizer": pcb.LM(), "segments": [1.0, 2.0], "iterations": 3},
        ),
        "Shooting.over": (pcb.Shooting(segments=[1.5]).over, {"data": course}),
        "Grow.over": (pcb.Grow(windows=2).over, {"data": course}),
        "condition_labels": (
            condition_labels,
            {"perturbation": u.values, "nodes": labels["nodes"]},
        ),
        "drugs_of": (drugs_of, {"dataset": data}),
        "get_backend": (get_backend, {"name": "numpy", "own": None}),
        "to_ode_problem": (
            pcb.to_ode_problem,
            {k: v for k, v in solved.items() if k != "solver"} | {"perturbation": u},
        ),
        "baseline.fit": (ridge.fit, {"data": data}),
        "baseline.predict": (ridge.predict, {"perturbation": u}),
        "splits.random": (
            pcb.splits.random,
            {"data": data, "seed": 0, "fit_fraction": 0.7, "train_fraction": 0.8, "together": True},
        ),
        "splits.leave_one_drug_out": (
            pcb.splits.leave_one_drug_out,
            {
                "data": data,
                "keep_singles": False,
                "drug": "x",
                "seed": 0,
                "train_fraction": 0.8,
                "together": True,
            },
        ),
        "splits.single_to_combo": (
            pcb.splits.single_to_combo,
            {"data": data, "seed": 0, "train_fraction": 0.8, "together": True},
        ),
        "Split": (
            pcb.splits.Split,
            {"name": "a", "train": ("a",), "validation": (), "test": ("b",)},
        ),
        "Split.apply": (split.apply, {"data": data}),
        "simulate": (pcb.simulate, simulate),
        "simulate a regimen": (
            pcb.simulate,
            {
                "network": network,
                "design": pcb.regimen(simulated, pcb.pretreat("g1", dose=1.0)),
                "regimen": [pcb.knockout("g1")],
                "times": [1.0],
                **numpy,
            },
        ),
        "simulate a design": (
            pcb.simulate,
            {
                "network": network,
                "design": simulated["perturbation"],
                "horizon": 2.0,
                "noise": 0.0,
                **numpy,
            },
        ),
        "perturbations": (
            simulation.perturbations,
            {"drugs": ["x"], "nodes": labels["nodes"], "doses": [1.0], "combinations": True},
        ),
        "courses": (
            simulation.courses,
            {
                "model": pcb.ODE({"x": "-k*x"}, parameters={"k": 1.0}),
                "parameters": {"k": 0.5},
                "times": [0.0, 1.0],
                "initial": {"x": [1.0, 2.0]},
                "design": 2,
                "measured": ["x"],
                "noise": 0.1,
                "noise_kind": "absolute",
                "missing": 0.1,
                "units": "h",
                "solver": _EULER,
                "seed": 1,
                **numpy,
            },
        ),
        "environment": (
            pcb.environment,
            {
                "kind": "light",
                "conditions": 2,
                "times": [0.0, 1.0, 2.0],
                "target": "x",
                "units": "h",
                "input": "sun",
                "noise": 0.1,
                "delay": 0.5,
                "transform": np.tanh,
                "skip": 1.0,
                "tolerance": 0.1,
                "seed": 0,
                "low": -1.0,
                "high": 1.0,
                "period": 4.0,
                "period_jitter": 0.5,
                "phase_jitter": 0.5,
                "random_phase": False,
                "day": 1.0,
                "day_jitter": 0.1,
                "present": 2.0,
                "absent": 2.0,
                "follow": "light",
            },
        ),
        "environment of noise": (
            pcb.environment,
            {
                "kind": "ou",
                "times": [0.0, 1.0],
                "target": "x",
                "mean": 0.0,
                "sd": 1.0,
                "correlation_time": 2.0,
            },
        ),
        "truth": (simulation.truth, {"data": simulated}),
        "true_model": (simulation.true_model, {"data": simulated}),
        "ji_experiment": (
            ji.ji_experiment,
            {
                "name": "GSD",
                "n_conditions": (2, 1, 1),
                "noise": 0.1,
                "alpha": 1.0,
                "seed": 0,
                **numpy,
            },
        ),
        "ji_fit": (
            ji.ji_fit,
            {"train": simulated, "validation": other, "iterations": 2, "seed": 0, **numpy},
        ),
        "score": (ji.score, {"fitted": simulated_fit, "test": simulated}),
        "Network": (
            pcb.networks.Network,
            {
                "W": network.W,
                "node_kind": network.node_kind,
                "alpha": network.alpha,
                "epsilon": network.epsilon,
                "psi": None,
                "b": None,
                "common": 0 * network.alpha,
                "self_interaction": True,
                "drugs_on_phenotypes": True,
            },
        ),
        "networks.erdos_renyi": (
            pcb.networks.erdos_renyi,
            {"n_nodes": 5, "density": 0.2, "self_loops": False, **weights},
        ),
        "networks.acyclic": (pcb.networks.acyclic, {"n_nodes": 5, "density": 0.2, **weights}),
        "networks.cyclic": (pcb.networks.cyclic, {"n_nodes": 5, "density": 0.2, **weights}),
        "networks.symmetric": (pcb.networks.symmetric, {"n_nodes": 5, "density": 0.2, **weights}),
        "networks.bifurcating": (
            pcb.networks.bifurcating,
            {"n_nodes": 7, "n_upstream": 2, **weights},
        ),
        "networks.oscillating": (
            pcb.networks.oscillating,
            {"n_nodes": 5, "density": 0.1, "n_ring": 3, **weights},
        ),
        "networks.beeline": (pcb.networks.beeline, {"name": "GSD", **weights}),
        "networks.demo_network": (pcb.networks.demo_network, {"seed": 0}),
        "networks.random_network": (
            pcb.networks.random_network,
            {"n_nodes": 9, "density": 0.2, "n_drugs": 2, "n_phenotypes": 1, "seed": 0},
        ),
        "metrics.compare": (pcb.metrics.compare, {"predictions": {"a": y}, "observed": y}),
        "metrics.format_table": (pcb.metrics.format_table, {"table": table, "title": "t"}),
        "metrics.html_table": (pcb.metrics.html_table, {"table": table}),
        "metrics.over_splits": (
            pcb.metrics.over_splits,
            {"differences": (0.1, 0.2), "fitted": 7.0, "tested": 3.0},
        ),
        "metrics.paired_by_condition": (
            pcb.metrics.paired_by_condition,
            {"predicted": fit.predictions, "other": y, "observed": y},
        ),
        "metrics.rate_recovery": (
            pcb.metrics.rate_recovery,
            {"parameters": fit.parameters, "truth": fit.parameters},
        ),
        "metrics.recovery": (
            pcb.metrics.recovery,
            {"W": W, "truth": truth, "self_loops": False, "mask": None},
        ),
        "plot.fitted_against_true": (
            pcb.plot.fitted_against_true,
            {"fit": fit, "truth": truth, "mask": None, "ax": None},
        ),
        "plot.interactions": (
            pcb.plot.interactions,
            {"fit": fit, "truth": truth, "difference": True, "figure": None},
        ),
        "plot.loss_history": (pcb.plot.loss_history, {"fit": fit, "ax": None}),
        "plot.network": (
            pcb.plot.network,
            {"fit": fit, "node_kind": kinds, "threshold": None, "top": 3, "ax": None},
        ),
        "plot.observed_against_predicted": (
            pcb.plot.observed_against_predicted,
            {"fit": fit, "data": data, "interval": None, "title": "t", "ax": None},
        ),
        "plot.precision_recall": (
            pcb.plot.precision_recall,
            {"fit": {"a": fit}, "truth": truth, "mask": None, "ax": None},
        ),
        "plot.trajectories": (
            pcb.plot.trajectories,
            {
                "fit": course_fit,
                "data": course,
                "interval": None,
                "truth": None,
                "conditions": ["c0"],
                "nodes": ["A"],
                "figure": None,
            },
        ),
        "plot.save_figure": (
            pcb.plot.save_figure,
            {"figure": pcb.plot.loss_history(fit), "path": folder / "a.svg"},
        ),
        "CellBox.from_dict": (
            pcb.CellBox.from_dict,
            {"options": pcb.CellBox().to_dict(), "mask": None},
        ),
        "Stage.factor": (_STAGE.factor, {"iteration": 1}),
        "Penalty.strengths": (pcb.Penalty().strengths, {"kind": "l1"}),
        "CellBox": (
            pcb.CellBox,
            {
                "envelope": "hill",
                "form": 0,
                "degree": 1,
                "order": 2,
                "drugs": "input",
                "dose_saturation": 0.25,
                "response_range": "free",
                "drug_columns": "shared",
                "operating_point": True,
                "common_effect": True,
                "drugs_on_phenotypes": True,
                "self_interaction": False,
                "mask": np.ones((7, 7), bool),
            },
        ),
        "Recipe": (
            pcb.Recipe,
            {
                "model": fit.model,
                "solver": _EULER,
                "loss": "mae",
                "penalty": pcb.Penalty(0.1),
                "schedule": [_STAGE],
                "horizon": 2.0,
                "time_scale": 1.0,
                "purpose": "prediction",
                "seed": 0,
                "dtype": "float64",
                "starts": 2,
            },
        ),
        "Recipe.replace": (fit.recipe.replace, {"solver": _EULER, "schedule": _STAGE, "seed": 1}),
        "Recipe.from_dict": (
            pcb.Recipe.from_dict,
            {"options": fit.recipe.to_dict(), "mask": np.ones((7, 7))},
        ),
        "fit a recipe": (
            pcb.fit,
            {"data": data, "model": fit.recipe, "backend": "numpy", "progress": False},
        ),
        "Loss": (pcb.Loss, {"name": "huber", "delta": 1.0}),
        "Penalty": (
            pcb.Penalty,
            {"l1": {"node_to_node": 0.1}, "l2": 0.1, "scale": "mean", "of": "raw"},
        ),
        "Stage with segments": (
            pcb.Stage,
            {"iterations": 2, "segments": [1.0, 2.0], "optimizer": pcb.LM()},
        ),
        "Stage": (
            pcb.Stage,
            {
                "iterations": 2,
                "learning_rate": {"rates": 0.1},
                "horizon": 2.0,
                "fade": 1.0,
                "penalty": None,
                "patience": 2,
                "batch_size": 2,
                "prefix": 1,
                "decay": "cosine",
                "warmup": 1,
                "optimizer": pcb.AdamW(),
            },
        ),
        "AdamW": (
            pcb.AdamW,
            {"beta1": 0.9, "beta2": 0.9, "epsilon": 0.1, "weight_decay": 0.1, "clip_norm": 1.0},
        ),
        "LBFGS": (pcb.LBFGS, {"memory": 3, "tolerance": 0.1}),
        "Initialization": (
            pcb.Initialization,
            {"weight_scale": 0.1, "alpha": 1.0, "range_factor": 1.5},
        ),
        "Ridge": (
            baselines.Ridge,
            {
                "fit_intercept": True,
                "alphas": (1.0, 2.0),
                "per_output": True,
                "common_effect": True,
                "shared_column": True,
                "saturations": (0.0, 1.0),
                "huber": 2.0,
            },
        ),
        "Tsit5": (pcb.Tsit5, {"rtol": 0.1, "atol": 0.1, "max_steps": 9}),
        "Adaptive": (
            pcb.Adaptive,
            {"algorithm": "Tsit5", "rtol": 0.1, "atol": 0.1, "max_steps": 9},
        ),
        "SteadyState": (
            pcb.SteadyState,
            {"tol": 0.1, "lead": 1.0, "integrator": _EULER, "max_iterations": 3},
        ),
    }
    if readiness().ready:  # a call that is right would start Julia, in each worker
        del calls["to_ode_problem"]
    for one in (pcb.Euler, pcb.Midpoint, pcb.Heun, pcb.RK4):
        calls[one.__name__] = (one, {"dt": 0.1})
    for name in ("mae", "mse", "pearson", "unexplained"):
        scored = {"predicted": fit.predictions, "observed": y, "by": "node"}
        calls[f"metrics.{name}"] = (getattr(pcb.metrics, name), scored)
    return calls
