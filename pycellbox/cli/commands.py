"""``pycellbox fit``, ``predict``, ``evaluate`` and ``support``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from pycellbox import fit as fit_network
from pycellbox import load, resume
from pycellbox.cli import inputs, outcome, tables
from pycellbox.common import interrupts
from pycellbox.data import open_data
from pycellbox.data.container import write_datasets
from pycellbox.data.hidden import with_nodes
from pycellbox.data.joining import treatments
from pycellbox.edges import is_network
from pycellbox.ensembles import Ensemble
from pycellbox.errors import DataError, OptionError
from pycellbox.evaluation import FORECAST, UNSEEN, roles_in_fit
from pycellbox.intervals import INTERVAL
from pycellbox.result import Fit
from pycellbox.splits import Split
from pycellbox.supported import support_in
from pycellbox.times import of_same_kind


def fit(args: argparse.Namespace) -> int:
    """Fit a network, save it, and judge it by held-out conditions if there are any."""
    if args.resume is not None:
        return _go_on(args)
    sources = [*inputs.sources_of(args), args.node_kind, args.test, args.equations]
    _prepare(args, args.checkpoint, sources)
    if args.checkpoint is not None:
        tables.prepare_file(args.checkpoint, (".nc",), sources)
    elif args.checkpoint_seconds is not None:
        raise OptionError("--checkpoint-seconds goes with --checkpoint FILE.nc, or with --resume.")
    data, split, test, validation = conditions_of(args)
    seen = data.isel(condition=~test)
    with interrupts.held():
        fitted = fit_network(
            seen,
            inputs.recipe_of(args, data, seen),
            validation=validation,
            backend=args.backend,
            n_jobs=args.jobs,
            store=args.store,
            checkpoint=args.checkpoint,
            **_seconds(args),
        )
        saved = outcome.save(fitted, args.out)
    print(tables.summary(fitted, data, int(test.sum()), "" if split is None else split.name))
    tabled = _tables(args, fitted, data)
    if test.any():
        evaluation = fitted.evaluate(data.isel(condition=test), baselines=not args.no_baselines)
        print()
        tables.print_scores(evaluation, f"prediction of the {test.sum()} held-out conditions")
    print(f"\nsaved {saved}{tabled}")
    return tables.exit_code(fitted, outcome.going_on(args.checkpoint, args.out))


def conditions_of(args: argparse.Namespace) -> tuple[xr.Dataset, Split | None, Any, Any]:
    """Read the data: all of them, what holds some out, which these are, and the validation."""
    data = inputs.read_dataset(args, inputs.node_kind_of(args.node_kind))
    if "role" in data.coords:  # of a demo or a run
        tables.note(f"the roles in {args.data} are left out: --test and --validation choose.")
        data = data.drop_vars("role")
    split = inputs.choose_split(data, args.test, args.seed)
    labels = np.array([str(label) for label in data["condition"].values])
    test = np.isin(labels, () if split is None else split.test)
    validation = args.validation
    if split is not None and split.validation:
        if validation is not None:
            raise DataError("--test lists validation conditions; leave --validation out.")
        validation = split.validation
    return data, split, test, validation


def _go_on(args: argparse.Namespace) -> int:
    """Go on with a fit from its checkpoint, and save it."""
    _prepare(args, args.resume, [args.resume])
    with interrupts.held():
        fitted = resume(args.resume, **_seconds(args))
        saved = outcome.save(fitted, args.out)
    print(tables.summary(fitted, fitted.data, 0, ""))
    print(f"\nsaved {saved}{_tables(args, fitted, fitted.data)}")
    tables.note(
        "what --test held out is not in a checkpoint; with the data of the fit, `pycellbox "
        f"evaluate {saved} --new-only` compares it."
    )
    return tables.exit_code(fitted, outcome.going_on(args.resume, args.out))


def _prepare(
    args: argparse.Namespace, checkpoint: Path | None, sources: list[Path | str | None]
) -> None:
    """Check what is to be written, before any work."""
    outcome.check_apart(args.out, checkpoint)
    tables.prepare_file(args.out, (".nc",), sources)
    if args.csv is not None:
        names = tables.FIT_TABLES if args.equations is None else tables.EQUATION_TABLES
        tables.prepare_tables(args.csv, names, sources)


def _seconds(args: argparse.Namespace) -> dict[str, Any]:
    seconds = args.checkpoint_seconds
    return {} if seconds is None else {"checkpoint_seconds": seconds}


def _tables(args: argparse.Namespace, fitted: Fit, data: xr.Dataset) -> str:
    """Write the tables of ``--csv``, unless better ones are there, and say where they are."""
    first = (tables.FIT_TABLES if is_network(fitted.parameters) else tables.EQUATION_TABLES)[0]
    if args.csv is None or not outcome.deserves(fitted, args.csv / first):
        return ""
    roles = dict.fromkeys(map(str, data["condition"].values), "test")
    used = fitted.data
    roles |= dict(zip(map(str, used["condition"].values), used["role"].values, strict=True))
    tables.write_fit_tables(args.csv, fitted, fitted.predict(data), roles)
    return f" and tables in {args.csv}"


def predict(args: argparse.Namespace) -> int:
    """Predict the response to perturbations, of a table or a dataset."""
    sources = [args.fit, args.perturbation, args.data, args.nodes]
    tables.prepare_file(args.out, (".csv", ".tsv", ".nc"), sources)
    times = inputs.times_of(args.times)
    interval = None if args.interval is None else INTERVAL("--interval", args.interval)
    if args.data is not None and args.nodes is not None:
        raise OptionError("--nodes goes with a table, --perturbation; a dataset names its nodes.")
    loaded = load(args.fit)
    fitted = loaded.fit if isinstance(loaded, Ensemble) else loaded
    if args.data is not None:
        data = open_data(args.data)
    else:
        data = _doses_of(args, fitted).to_dataset(name="perturbation")
    if isinstance(loaded, Ensemble):
        given = {} if interval is None else {"interval": interval}
        found = loaded.predict(data, times=times, quantiles=(), backend=args.backend, **given)
        predicted = found.rename(mean="response")
        table = tables.long(predicted)
    elif interval is None:
        response = fitted.predict(data, times=times, backend=args.backend)
        predicted, table = response.to_dataset(name="response"), tables.wide(response)
    else:
        predicted = fitted.predict(data, times=times, interval=interval, backend=args.backend)
        table = tables.long(predicted)
    if args.out.suffix.lower() == ".nc":
        stored = treatments(data).assign(predicted.data_vars).assign_attrs(predicted.attrs)
        write_datasets(args.out, {"": stored})
    else:
        tables.write_table(table, args.out)
    print(f"saved {args.out}: predicted response of {predicted.sizes['condition']} condition(s)")
    return 0


def _doses_of(args: argparse.Namespace, fitted: Fit) -> xr.DataArray:
    """Read the table of perturbations for all nodes of a fit."""
    perturbation, absent = inputs.read_perturbation(args.perturbation, args.nodes, fitted)
    if absent:
        tables.note(
            f"{len(absent)} of {fitted.parameters.sizes['node']} nodes are not in "
            f"{args.perturbation} and count as not perturbed (0)."
        )
    doses: xr.DataArray = perturbation.reindex(
        node=fitted.parameters["node"].values, fill_value=0.0
    )
    return doses


def support(args: argparse.Namespace) -> int:
    """Say which blocks the data of a fit support, and keep it in its file."""
    tables.prepare_file(args.fit, (".nc",))
    fitted = load(args.fit)
    if not isinstance(fitted, Fit):
        raise OptionError(f"{args.fit} is an ensemble: give the file of a fit.")
    found, options = support_in(fitted.provenance), (args.folds, args.by, args.seed)
    if found is None or any(given is not None for given in options):
        by = "replicate" if args.by is None else args.by
        found = fitted.support(
            folds=args.folds, by=by, seed=args.seed or 0, backend=args.backend
        )  # fmt: skip
        fitted.save(args.fit)
        tables.note(f"kept in {args.fit}")
    print(found)
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Judge a fit by measured responses, beside the baselines."""
    if args.csv is not None:
        sources = [*inputs.sources_of(args), args.fit]
        tables.prepare_tables(args.csv, tables.SCORE_TABLES, sources)
    loaded = load(args.fit)
    fitted, kinds = loaded.fit if isinstance(loaded, Ensemble) else loaded, None
    if args.data is None and args.perturbation is not None:
        inputs.read_perturbation(args.perturbation, args.nodes, fitted)
        parameters = fitted.parameters
        kinds = dict(zip(parameters["node"].values, parameters["node_kind"].values, strict=True))
    own = fitted.data
    units = own["time"].attrs["units"] if "time" in own["response"].dims else None
    data = with_nodes(inputs.read_dataset(args, kinds, units), fitted.model.own_nodes)
    roles = roles_in_fit(of_same_kind(data, own, "the data to evaluate"), own)
    used = ~np.isin(roles, (UNSEEN, FORECAST))
    if args.new_only:
        if used.all():
            raise DataError("every condition was used in the fit; nothing is left to judge by.")
        data = data.isel(condition=~used)
    elif used.any():
        tables.note(
            f"{used.sum()} of these {used.size} conditions were used in the fit or are replicates "
            "of such, which flatters every model; --new-only leaves them out."
        )
    evaluation = loaded.evaluate(data, baselines=not args.no_baselines)
    count = data.sizes["condition"]
    tables.print_scores(evaluation, f"prediction of {count} condition{'s' if count != 1 else ''}")
    if args.csv is not None:
        tables.write_scores(args.csv, evaluation)
        tables.note(f"tables are in {args.csv}")
    return 0
