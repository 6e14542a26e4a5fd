"""A sample of `python -m tests.fuzz`, and kinds of what it has found."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.baselines import MeanResponse, Ridge
from tests.fuzz.running import trial, uncalled
from tests.support.problems import dataset


@pytest.mark.filterwarnings("ignore")
def test_hostile_calls_end_in_an_error_of_ours_or_well():
    outcomes = trial(range(120), seed=7)
    assert len(outcomes) == 120
    assert not [one for one in outcomes if one.end not in ("ok", "refused")]


@pytest.mark.filterwarnings("ignore")
def test_everything_public_has_a_valid_call():
    assert uncalled() == []


ENDLESS = [range(10**12), range(10**30)]


@pytest.mark.parametrize("value", ENDLESS, ids=["long", "longer than can be counted"])
@pytest.mark.parametrize(
    "call",
    [
        lambda data, value: pcb.fit(value),
        lambda data, value: pcb.fit(data, validation=value),
        lambda data, value: pcb.fit(data, initial=value),
        lambda data, value: pcb.validate(value),
        lambda data, value: MeanResponse().fit(value),
        lambda data, value: MeanResponse().fit(data).predict(value),
        lambda data, value: pcb.value_and_gradient(
            pcb.CellBox(), value, data, solver=pcb.Euler(0.5), horizon=1.0, backend="numpy"
        ),
        lambda data, value: pcb.solve(
            pcb.CellBox(), xr.Dataset(), data["perturbation"], solver=pcb.Euler(0.5), times=value
        ),
        lambda data, value: pcb.from_tables(
            data["perturbation"].values, data["response"].values, conditions=value, nodes=value
        ),
        *(
            lambda data, value, name=name: pcb.from_tables(
                data["perturbation"].to_pandas(), data["response"].to_pandas(), **{name: value}
            )
            for name in ("replicate_of", "subject", "group", "held", "initial_state")
        ),
        lambda data, value: pcb.from_tables(value, value, conditions=["a"], nodes=["b"]),
        lambda data, value: pcb.splits.Split("a", value, (), ("b",)),
        lambda data, value: pcb.splits.random(value, seed=0),
        lambda data, value: pcb.networks.erdos_renyi(3, 0.1, alpha=value),
        lambda data, value: pcb.CellBox(mask=value),
        lambda data, value: pcb.Stage(1, learning_rate=value),
    ],
)
def test_what_would_take_years_to_go_through_is_refused(call, value):
    with pytest.raises(pcb.PycellboxError):
        call(dataset(np.random.default_rng(0)), value)


def deep(kind):
    value = kind()
    for _ in range(5000):
        value = {"a": value} if kind is dict else [value]
    return value


@pytest.mark.parametrize("kind", [list, dict])
@pytest.mark.parametrize(
    "call",
    [
        lambda data, value: pcb.fit(value),
        lambda data, value: pcb.fit(data, value),
        lambda data, value: pcb.fit(data, validation=value),
        lambda data, value: pcb.fit(data, schedule=value),
        lambda data, value: pcb.fit(data, solver=value),
        lambda data, value: pcb.fit(data, penalty=value),
        lambda data, value: pcb.from_tables(value, value, conditions=["a"], nodes=["b"]),
        lambda data, value: pcb.from_tables(
            data["perturbation"], data["response"], node_kind=value
        ),
        lambda data, value: pcb.from_tables(
            data["perturbation"], data["response"], node_kind=dict.fromkeys("ABCDPxy", value)
        ),
        lambda data, value: pcb.CellBox(mask=value),
        lambda data, value: pcb.networks.cyclic(3, alpha=value),
        lambda data, value: pcb.load(value),
        lambda data, value: pcb.save_data(data, value),
    ],
)
def test_what_is_nested_without_end_is_refused(call, kind):
    with pytest.raises(pcb.PycellboxError):
        call(dataset(np.random.default_rng(0)), deep(kind))


@pytest.mark.parametrize("value", [np.array(1.0), xr.DataArray(1.0)], ids=["NumPy", "xarray"])
@pytest.mark.parametrize(
    "call",
    [
        lambda value: pcb.data.condition_labels(value, ["a"]),
        lambda value: pcb.from_tables(value, value, conditions=["a"], nodes=["b"]),
        lambda value: pcb.splits.Split("a", value, (), ("b",)),
        lambda value: pcb.CellBox(mask=value),
        lambda value: Ridge(alphas=value),
    ],
)
def test_an_array_without_dims_is_no_list(call, value):
    with pytest.raises(pcb.PycellboxError):
        call(value)


@pytest.mark.parametrize("labels", [["A"] * 7, [""] * 7, [np.nan] * 7, [b"A"] * 7], ids=str)
def test_labels_that_name_nothing_or_two_are_refused_everywhere(labels):
    data = dataset(np.random.default_rng(0))
    bad = data.drop_vars("node").assign_coords(node=np.array(labels, dtype=object))
    fit = pcb.fit(data, schedule=pcb.Stage(1), solver=pcb.Euler(0.5), progress=False)
    for call in (fit.predict, fit.evaluate, pcb.validate, MeanResponse().fit):
        with pytest.raises(pcb.DataError):
            call(bad)
    for draw in (lambda d: pcb.splits.random(d, seed=0), pcb.splits.single_to_combo):
        with pytest.raises(pcb.DataError):
            draw(bad)
