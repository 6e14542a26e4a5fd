"""``pycellbox run``: a configuration of CellBox or CellBox.jl on our engine."""

from __future__ import annotations

import argparse

import xarray as xr

from pycellbox import Fit, metrics
from pycellbox.cli import tables
from pycellbox.interop.run import run_config


def run(args: argparse.Namespace) -> int:
    """Run the configuration, say what came out, and judge it by its test conditions."""
    outcome = run_config(
        args.config,
        index=args.working_index,
        drug=args.drug_index,
        out=args.out,
        overwrite=args.overwrite,
        restart=args.is_restart,
        backend=args.backend,
        progress=tables.show_progress(),
        tell=tables.note,
    )
    fitted, test = outcome.fit, outcome.test
    held_out = 0 if test is None else test.sizes["condition"]
    print(tables.summary(fitted, outcome.data, held_out, outcome.name))
    if test is not None:
        evaluation = fitted.evaluate(test, baselines=not args.no_baselines)
        print()
        tables.print_scores(evaluation, f"prediction of the {held_out} test conditions")
    if outcome.truth is not None:
        print(f"\n{_recovery(fitted, outcome.truth)}")
    print(f"\nresults are in {outcome.folder}")
    return tables.exit_code(fitted)


def _recovery(fitted: Fit, truth: xr.Dataset) -> str:
    score = metrics.recovery(fitted.parameters["W"], truth["W"])
    return (
        f"true network: Pearson {score['pearson']:.3f} of fitted and true W between different nodes, "
        f"{score['sign_accuracy']:.0%} of the true interactions have the right sign"
    )
