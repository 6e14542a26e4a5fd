"""``pycellbox run``: a configuration of CellBox or CellBox.jl on our engine."""

from __future__ import annotations

import argparse

import numpy as np
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
        progress=True,
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
    W = metrics.recovery(fitted.parameters["W"], truth["W"], self_loops=True)
    alpha = metrics.rate_recovery(fitted.parameters, truth)["alpha"]
    rates = "" if np.isnan(alpha) else f", {alpha:.3f} of fitted and true α"
    return (
        f"true network: Pearson {W['pearson']:.3f} of fitted and true W{rates}; {W['auroc']:.3f} "
        f"area under the ROC curve; {W['sign_accuracy']:.0%} of the true interactions have the "
        "right sign"
    )
