"""What `panel.py` compares: the default fit, fits that lack a part of it, and all baselines.

A method is fitted to rows and returns what predicts others: `METHODS[name](rows, backend)(test)`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias
from unittest import mock

import xarray as xr

import pycellbox as pcb
from pycellbox.baselines import all_baselines
from pycellbox.estimation import strengths
from pycellbox.estimation.priors import PRIORS
from pycellbox.evaluation import EDGELESS, known_baselines
from pycellbox.fitting.defaults import default_schedule

Predictor: TypeAlias = Callable[[xr.Dataset], xr.DataArray]
Method: TypeAlias = Callable[[xr.Dataset, str], Predictor]
Options: TypeAlias = dict[str, Any]

DEFAULT: Options = {}
"""The fit that the panel is about: what `pcb.fit` is told beside data and backend."""


def cellbox(
    rows: xr.Dataset,
    backend: str,
    *,
    options: Options | None = None,
    model: Callable[[xr.Dataset], pcb.CellBox] = lambda rows: pcb.CellBox(),
) -> Predictor:
    """Fit a network, without ``options`` one trained with the schedule of such data.

    The model may follow from the rows.
    """
    if options is None:
        stages, penalty = default_schedule(rows)
        options = {"schedule": stages, "penalty": penalty}
    fit = pcb.fit(rows, model(rows), backend=backend, progress=False, **options)

    def predict(test: xr.Dataset) -> xr.DataArray:
        return fit.evaluate(test, baselines=False).predictions["CellBox"]

    return predict


def baseline(rows: xr.Dataset, backend: str, *, name: str) -> Predictor:
    return known_baselines()[name].fit(rows).predict


def lacking(**options: Any) -> Method:
    """Make the default fit of a network with other options of its model."""
    return partial(cellbox, options=DEFAULT, model=lambda rows: pcb.CellBox(**options))


def only_drugs_act(rows: xr.Dataset) -> pcb.CellBox:
    """Let no node act on another but on phenotypes, on which drugs do not act themselves."""
    acts = (rows["node_kind"] == "drug").values[None, :]
    allowed = acts | (rows["node_kind"] == "phenotype").values[:, None]
    nodes = rows["node"].values
    coords = {"target": nodes, "source": nodes}
    return pcb.CellBox(mask=xr.DataArray(allowed, dims=("target", "source"), coords=coords))


def with_prior(name: str, factor: float) -> Method:
    """Make the default fit with a median of one of the strengths that is ``factor`` times as large.

    What was set by hand is thus put beside what could have been, family by family.
    """

    def fitted(rows: xr.Dataset, backend: str) -> Predictor:
        prior = PRIORS[name]
        other = dataclasses.replace(prior, median=factor * prior.median)
        with mock.patch.dict(PRIORS, {name: other}):
            return cellbox(rows, backend, options=DEFAULT)

    return fitted


def by_evidence(rows: xr.Dataset, backend: str) -> Predictor:
    """Make the default fit with strengths that are chosen by evidence, whatever the screen is."""
    with mock.patch.object(strengths, "FEW_COMBINATIONS", 2.0):
        return cellbox(rows, backend, options=DEFAULT)


CELLBOX = "CellBox"
MODELS: dict[str, Method] = {
    CELLBOX: partial(cellbox, options=DEFAULT),
    "CellBox, trained": cellbox,
    EDGELESS: partial(baseline, name=EDGELESS),
    "CellBox without edges, trained": partial(cellbox, model=only_drugs_act),
    "CellBox without operating point": lacking(operating_point=False),
    "CellBox without common effect": lacking(common_effect=False),
    "CellBox without shared column": lacking(drug_columns="free"),
    "CellBox without robust loss": partial(cellbox, options={**DEFAULT, "loss": "mse"}),
    "CellBox with κ = 0.25": lacking(dose_saturation=0.25),
    "CellBox with drugs on phenotypes": lacking(drugs_on_phenotypes=True),
}
MODELS |= {
    f"CellBox, prior of {name.replace('_', ' ')} × {factor:g}": with_prior(name, factor)
    for name in ("drugs", "operating_point", "range")
    for factor in ((0.7, 1.4) if name == "range" else (0.3, 3.0))
}
MODELS["CellBox, strengths by evidence"] = by_evidence
BASELINES: dict[str, Method] = {name: partial(baseline, name=name) for name in all_baselines()}
METHODS = MODELS | BASELINES

SATURATED = "ridge on saturated doses"
SIX = (
    "ridge", "ridge with intercept", "ridge per output", "ridge with intercept per output",
    "additive effects", "no change",
)  # fmt: skip
"""Of which the best on the test rows is the mark that goals are set by."""
