"""``pycellbox ensemble``: a fit made again on data drawn again, many times."""

from __future__ import annotations

import argparse

import numpy as np

from pycellbox import ensemble as ensemble_of
from pycellbox import fit as fit_network
from pycellbox import load, many
from pycellbox.cli import inputs, tables
from pycellbox.cli.commands import conditions_of
from pycellbox.common.labels import counted
from pycellbox.common.options import choice
from pycellbox.ensembles import Ensemble
from pycellbox.errors import DataError, OptionError
from pycellbox.result import Fit

_RESAMPLES = ("conditions", "residuals", "none")


def ensemble(args: argparse.Namespace) -> int:
    """Fit, or take a fit, and fit again on data drawn again; save all of it, and judge it."""
    sources = [*inputs.sources_of(args), args.fit, args.node_kind, args.test, args.equations]
    tables.prepare_file(args.out, (".nc",), sources)
    resample = choice(*_RESAMPLES)("--resample", args.resample)
    many.workers(None, many.WORKERS["n_jobs"]("--jobs", args.jobs))  # refused before any work
    if not 2 <= args.members <= 100_000:
        raise OptionError(f"--members {args.members}; it needs an integer from 2 to 100000.")
    test, name = np.zeros(0, dtype=bool), ""
    if args.fit is not None:
        fitted = load(args.fit)
        if not isinstance(fitted, Fit):
            raise DataError(
                f"--fit {args.fit} is no fit; give a file that pycellbox fit has written."
            )
        data = fitted.data
    else:
        data, split, test, validation = conditions_of(args)
        seen, name = data.isel(condition=~test), "" if split is None else split.name
        recipe = inputs.recipe_of(args, data, seen)
        with many.one_thread():  # as its members
            fitted = fit_network(seen, recipe, validation=validation, backend=args.backend)
    try:
        members = ensemble_of(
            fitted,
            members=args.members,
            resample=None if resample == "none" else resample,
            seed=args.seed,
            n_jobs=args.jobs,
            store=args.store,
            backend=args.backend,
        )
    except KeyboardInterrupt:
        if args.store is not None:
            tables.note(f"what was fitted is in {args.store}; the same command goes on from there.")
        raise
    members.save(args.out)
    print(tables.summary(fitted, data, int(test.sum()), name))
    print(f"{'members':<12}{_told(members, args.resample)}")
    if test.any():
        evaluation = members.evaluate(data.isel(condition=test), baselines=not args.no_baselines)
        print()
        tables.print_scores(evaluation, f"prediction of the {test.sum()} held-out conditions")
    print(f"\nsaved {args.out}")
    return 0


def _told(members: Ensemble, resample: str) -> str:
    drawn = "" if resample == "none" else f", {resample} drawn again"
    failed = members.failures["member"].tolist()
    lost = f"; {counted(len(failed), 'member')} failed: {failed}" if failed else ""
    return f"{len(members)} fitted{drawn}{lost}"
