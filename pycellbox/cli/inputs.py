"""From the words of the command line to datasets, splits, models and solvers."""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import splits
from pycellbox.common.labels import label_text, labels_along, listed
from pycellbox.common.options import did_you_mean, nearest
from pycellbox.data import open_data, read_courses, read_csv, textfiles, transformed
from pycellbox.data.delimited import read_rows
from pycellbox.data.units import NO_UNIT
from pycellbox.datasets.shipped import DATASETS
from pycellbox.errors import DataError, ModelError, SolverError
from pycellbox.fitting.defaults import default_schedule, named_solver
from pycellbox.models import ODE, CellBox
from pycellbox.objective import Penalty
from pycellbox.recipe import Recipe
from pycellbox.result import Fit
from pycellbox.schedule import Stage
from pycellbox.solvers import Solver

_TABLES = (
    "perturbation", "response", "sigma", "held", "held_fitted", "initial_state", "initial_fitted",
    "nodes", "node_kind",
)  # fmt: skip
TEST_SHARE = 0.3  # trainset_ratio 0.7 of the CellBox configurations


def read_dataset(
    args: argparse.Namespace, node_kind: Any = None, time_units: str | None = None
) -> xr.Dataset:
    """Read the dataset that ``--data``, ``--dataset``, or tables name.

    Times are in these units where neither ``--time-units`` nor, of ``--courses``, a heading says.
    """
    words = vars(args)
    alone = _TABLES if args.courses is not None else (*_TABLES, "time_units")
    tables = [
        f"--{name.replace('_', '-')}" for name in alone if words.get(name) not in (None, False)
    ]
    whole = [f"--{name}" for name in ("data", "dataset", "courses") if words[name] is not None]
    if len(whole + tables) > 1 and whole:
        raise DataError(
            f"{', '.join(whole + tables)} do not go together: give either --data or tables "
            "(--perturbation, --response, …), --courses or --dataset."
        )
    if args.transform is not None and not args.courses and args.dataset is None:
        raise DataError("--transform goes with --courses or --dataset; --data are what they are.")
    if args.data is not None:
        return open_data(args.data)
    if args.dataset is not None:
        if args.dataset not in DATASETS:
            raise DataError(
                f"--dataset {args.dataset} is unknown{did_you_mean(args.dataset, DATASETS)}; there "
                f"is {', '.join(DATASETS)}. Files of yours are given with --perturbation and "
                "--response, or --data."
            )
        data = DATASETS[args.dataset]()
        return data if args.transform is None else transformed(data, args.transform)
    if args.courses is not None:
        given = words.get("time_units")
        data = read_courses(args.courses, time_units=given, transform=args.transform)
        if time_units is not None and data["time"].attrs["units"] == NO_UNIT:
            data["time"].attrs["units"] = time_units
        return data
    return read_csv(
        args.perturbation,
        args.response,
        sigma=args.sigma,
        held=args.held,
        held_fitted=args.held_fitted,
        initial_state=args.initial_state,
        initial_fitted=args.initial_fitted,
        nodes=args.nodes,
        node_kind=node_kind,
        time_units=words.get("time_units") or time_units,
    )


def sources_of(args: argparse.Namespace) -> list[Path | None]:
    """Name the files that `read_dataset` reads."""
    tables = [args.perturbation, args.response, args.sigma, args.held, args.initial_state]
    return [args.data, args.courses, *tables, args.nodes]


def node_kind_of(text: str | None) -> Any:
    """Leave the name of a file as it is, and read protein=82,drug=12 as a mapping."""
    if text is None or os.path.exists(text) or "=" not in text:
        return text
    counts: dict[str, int] = {}
    for part in text.split(","):
        kind, _, count = (word.strip() for word in part.partition("="))
        if not count.isdecimal() or kind in counts:
            raise DataError(
                f"--node-kind has the part {part!r}; write each kind once, with its number of "
                "nodes, as in protein=82,phenotype=5,drug=12."
            )
        counts[kind] = int(count)
    return counts


def read_perturbation(path: Path, nodes: Path | None, fit: Fit) -> tuple[xr.DataArray, list[str]]:
    """Read perturbations for a fit, and the nodes that they lack; raise if they have others."""
    known = labels_along(fit.parameters, "node")
    perturbation = textfiles.read_perturbation(path, nodes, frozenset(known))
    given = set(labels_along(perturbation, "node"))
    unknown = sorted(given - set(known))
    if unknown:
        meant = nearest(unknown[0], known)
        near = known[:5] if meant is None else [meant]
        raise DataError(
            f"{path} has column(s) that are no node of the fit: {listed(unknown)}; its nodes are, "
            f"for example, {', '.join(near)}: check the spelling."
        )
    return perturbation, [node for node in known if node not in given]


def choose_split(data: xr.Dataset, test: str | None, seed: int) -> splits.Split | None:
    """Read ``--test``."""
    if test is None:
        return None
    if test == "combinations":
        return splits.single_to_combo(data, seed=seed, train_fraction=1)
    if test.startswith("drug:"):
        drug = test.removeprefix("drug:")
        return splits.leave_one_drug_out(
            data, keep_singles=True, drug=drug, seed=seed, train_fraction=1
        )
    try:
        share = TEST_SHARE if test == "random" else float(test)
    except ValueError:
        return _listed_split(data, test)
    if not 0 < share < 1:
        raise DataError(f"--test is {test}; a share needs to be between 0 and 1, such as 0.3.")
    if not 0 <= seed < 2**32:
        raise DataError(f"--seed is {seed}; to draw test conditions it needs 0 ≤ seed < 2³².")
    # Rounded, so that 1 − 0.3 is 0.7 and not the number just below.
    return splits.random(data, seed=seed, fit_fraction=round(1 - share, 12), train_fraction=1)


def _listed_split(data: xr.Dataset, test: str) -> splits.Split:
    """Read a file of test conditions, or of conditions and roles; the rest is for training."""
    path = Path(test)
    if not os.path.isfile(path):  # False also for names that no file can have
        raise DataError(
            f"--test is {test!r}: neither a share, nor random, combinations or drug:NAME, nor a "
            "file."
        )
    rows = read_rows(path, header=False).rows
    if rows[0][0].lower() == "condition":
        rows = rows[1:]
    roles: dict[str, str] = {}
    known = labels_along(data, "condition")
    for row in rows:
        role = row[1] if len(row) > 1 else "test"
        if len(row) > 2 or role not in ("train", "validation", "test"):
            raise DataError(
                f"{path} has the line {','.join(row)!r}; it needs a condition, or a condition and "
                "its role: train, validation or test."
            )
        label = label_text(row[0])
        if label not in known:
            raise DataError(f"{path} names the condition {label!r}, which is not in the data.")
        if roles.setdefault(label, role) != role:
            raise DataError(f"{path} gives the condition {label!r} two roles; keep one.")
    parts = {
        part: tuple(label for label in known if roles.get(label, "train") == part)
        for part in ("train", "validation", "test")
    }
    return splits.Split(f"as listed in {path.name}", **parts)


def model_of(args: argparse.Namespace) -> CellBox | ODE:
    """Make the model of the options given; the others keep their defaults."""
    names = ("envelope", "form", "degree", "order", "drugs")
    flags = ("operating_point", "common_effect", "drugs_on_phenotypes")
    options = {name: getattr(args, name) for name in (*names, *flags)}
    if args.equations is not None:
        if given := [
            f"--{name.replace('_', '-')}"
            for name, one in options.items()
            if one is not None and one is not False
        ]:
            raise ModelError(f"--equations is the model; leave {', '.join(given)} out.")
        return ODE.from_toml(args.equations)
    if args.form in ("0", "1", "2"):
        options["form"] = int(args.form)
    return CellBox(**{name: value for name, value in options.items() if value is not None})


def recipe_of(args: argparse.Namespace, data: xr.Dataset, seen: xr.Dataset) -> Recipe:
    """Make the recipe of the options given; what is left out is left to the fit."""
    return Recipe(
        model_of(args),
        solver=_solver_of(args, data),
        schedule=_schedule_of(args, seen),
        loss=args.loss,
        **({} if args.purpose is None else {"purpose": args.purpose}),
        penalty=_penalty_of(args),
        horizon=args.horizon,
        seed=args.seed,
        **({} if args.starts is None else {"starts": args.starts}),
    )


def _solver_of(args: argparse.Namespace, data: xr.Dataset) -> Solver | None:
    """Make the solver of ``--solver`` and ``--dt``; None leaves the choice to the fit."""
    options = {} if args.dt is None else {"dt": args.dt}
    if args.solver is None and not options:
        return None
    name = "heun" if args.solver is None else args.solver
    return named_solver(name, data, args.horizon, **options)


def _schedule_of(args: argparse.Namespace, data: xr.Dataset) -> tuple[Stage, ...] | None:
    """Change the default schedule as asked; None leaves it to the fit."""
    changes: dict[str, Any] = {}
    if args.iterations is not None:
        changes["iterations"] = args.iterations
    if args.learning_rate is not None:
        changes["learning_rate"] = args.learning_rate
    if not changes:
        return None
    stages, _ = default_schedule(data)
    if len(stages) > 1 and "iterations" in changes:
        raise ModelError("--iterations is for schedules of one stage; use pycellbox.fit in Python.")
    return tuple(dataclasses.replace(stage, **changes) for stage in stages)


def _penalty_of(args: argparse.Namespace) -> Penalty | None:
    """Make the penalty of ``--l1`` and ``--l2``; None leaves it to the fit."""
    if args.l1 is None and args.l2 is None:
        return None
    return Penalty(l1=args.l1 or 0.0, l2=args.l2 or 0.0)


def times_of(text: str | None) -> list[float] | None:
    """Read times given as 0.5,1,2."""
    if text is None:
        return None
    try:
        times = [float(part) for part in text.split(",")]
    except ValueError:
        raise SolverError(f"--times is {text!r}; write numbers with commas, as 0.5,1,2.") from None
    if not np.isfinite(times).all():
        raise SolverError(f"--times is {text!r}; every time needs a finite number.")
    return times
