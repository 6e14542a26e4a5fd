"""The experiments of benchmarks/regimens.py: as labs do them, entered in a few lines."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb
from tests.support.data import SHARED_DATA

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import experiments  # noqa: E402
import regimens  # noqa: E402

FILES = {
    "hpn": ("hpn/midas/MD-MCF7.csv", "hpn/midas/MD-BT20.csv"),
    "gut": ("gut/raw_data.csv",),
    "dream4": tuple(f"dream4/insilico_size10_{i}" for i in (1, 2, 3)),
    "irma": ("irma",),
}


@pytest.mark.parametrize(("name", "file"), [(k, f) for k, files in FILES.items() for f in files])
def test_published_experiments_enter_without_a_doubt(name, file):
    if not (SHARED_DATA / file).exists():
        pytest.skip("the published data lie beside the checkout of the developers")
    data = getattr(experiments, name)(SHARED_DATA / file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = pcb.fit(data, backend="numpy", progress=False, schedule=pcb.Stage(iterations=2))
    assert np.isfinite(fit.predictions.values).all()
    assert {"phase_start", "held", "initial_state"} & set(fit.data.variables)


@pytest.mark.parametrize("name", FILES)
def test_each_is_entered_in_six_lines(name):
    source = textwrap.dedent(inspect.getsource(getattr(experiments, name)))
    (function,) = ast.parse(source).body
    lines = source.splitlines()[function.body[1].lineno - 1 :]  # below the docstring
    assert len(lines) <= 6
    assert max(map(len, lines)) < 100


def test_what_a_condition_was_given_is_not_its_test():
    network = pcb.networks.erdos_renyi(3, 0.5, seed=1)
    data = pcb.simulate(network, 4, times=[0, 1, 2], backend="numpy")
    levels = np.array([[np.nan, 0.5, 0.5]] * 4)
    begun = data.assign(initial_state=(("condition", "node"), levels), held=data["perturbation"])
    begun["held"] = begun["held"].where(data["node"] == "g3")
    missing = regimens.unseen(begun)["response"].isnull().all("condition").values
    np.testing.assert_array_equal(missing, [[0, 1, 1], [0, 0, 1], [0, 0, 1]])
    np.testing.assert_array_equal(regimens.start(begun)[:, 2], np.nan_to_num(levels))
