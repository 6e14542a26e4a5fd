"""Options: any kind of integer or real number, plain values inside, clear refusals."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.common import options
from pycellbox.schedule import check_schedule
from pycellbox.solvers import solver_to_dict
from tests.support.problems import dataset

INTEGERS = (3, np.int64(3), np.int8(3), np.uint16(3), np.array(3))
NUMBERS = (0.5, np.float64(0.5), np.float32(0.5), np.array(0.5), Fraction(1, 2), Decimal("0.5"))


@pytest.mark.parametrize("value", INTEGERS, ids=lambda v: type(v).__name__)
def test_any_integer_is_one(value):
    assert type(options.integer("x", value)) is int
    assert options.integer("x", value, 3, 3) == 3 == options.as_number(value)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: type(v).__name__)
def test_any_real_number_is_one(value):
    assert type(options.number("x", value)) is float
    assert options.number("x", value) == 0.5
    assert options.as_integer(value) is None


NEITHER = (True, np.True_, np.array(True), "3", None, 1 + 0j, np.timedelta64(3), [3], np.array([3]))


@pytest.mark.parametrize("value", NEITHER, ids=repr)
def test_what_is_no_number_is_refused_with_its_name(value):
    for check in (options.integer, options.number):
        with pytest.raises(pcb.ModelError, match="x="):
            check("x", value)
    with pytest.raises(pcb.ModelError, match="x="):
        options.choice("x", value, ("a", 1, 2))


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, Decimal("NaN"), Decimal("sNaN"), 10**400, -1],
    ids=lambda v: str(v)[:9],
)
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(pcb.ModelError, match="finite number ≥ 0"):
        options.number("x", value)


def test_messages_stay_short():
    with pytest.raises(pcb.ModelError) as error:
        options.integer("x", "a" * 10_000)
    assert len(str(error.value)) < 200
    assert options.shown(10**5000)


def every_option(integer, number):
    """Options of every kind, all given as `integer(...)` and `number(...)` make them."""
    return {
        "model": pcb.CellBox(
            envelope=np.str_("hill"), order=integer(3), form=integer(2), degree=integer(2),
            dose_saturation=number(0.5), self_interaction=np.True_,
        ),
        "penalty": pcb.Penalty(l1=number(0.5), l2={"node_to_node": number(0.5)}),
        "loss": pcb.Loss("huber", delta=number(0.5)),
        "schedule": [
            pcb.Stage(
                integer(2), learning_rate={"rates": number(0.5)}, horizon=number(2.5),
                patience=integer(3), batch_size=integer(3), warmup=integer(1),
                penalty=pcb.Penalty(l2=number(0.5)),
                optimizer=pcb.AdamW(
                    number(0.5), number(0.5), number(0.5), number(0.5), number(0.5)
                ),
            ),
            pcb.Stage(integer(2), optimizer=pcb.LBFGS(integer(3), number(0.5))),
        ],
        "solver": pcb.Heun(number(0.5)),
        "horizon": number(2.5),
        "initial": pcb.Initialization(number(0.5), number(0.5), number(0.5)),
        "seed": integer(3),
        "validation": number(0.25),
    }  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    return pcb.fit(dataset(np.random.default_rng(0)), progress=False, **every_option(int, float))


@pytest.mark.parametrize("real", [np.float64, np.array, Decimal], ids=lambda f: f.__name__)
def test_a_fit_with_options_of_any_kind_is_that_with_pythons_own(plain, tmp_path, real):
    data = dataset(np.random.default_rng(0))
    fit = pcb.fit(data, progress=False, **every_option(np.int64, real))
    np.testing.assert_array_equal(fit.parameters["W"], plain.parameters["W"])
    loaded = pcb.load(fit.save(tmp_path / "fit.nc"))
    assert (loaded.model, loaded.solver, loaded.horizon) == (plain.model, plain.solver, 2.5)
    assert loaded.recipe == plain.recipe


@pytest.mark.parametrize(
    "solver",
    [
        pcb.Tsit5(np.float32(0.5), Decimal("0.25"), np.int32(7)),
        pcb.Adaptive("Tsit5", np.float32(0.5), np.float64(0.5), np.int8(7)),
        pcb.SteadyState(np.float64(0.5), np.array(2.0), pcb.RK4(Fraction(1, 2)), np.array(7)),
    ],
)
def test_solvers_keep_plain_values(solver):
    assert json.loads(json.dumps(solver_to_dict(solver))) == solver_to_dict(solver)
    kinds = {type(getattr(solver, f.name)) for f in dataclasses.fields(solver)}
    assert not any(kind.__module__ in ("numpy", "decimal", "fractions") for kind in kinds)


def test_everything_else_that_takes_numbers_takes_numpys():
    network = pcb.networks.oscillating(
        np.int64(5), np.float32(0.25), n_ring=np.int64(3), seed=np.int8(1)
    )
    data = pcb.simulate(
        network, np.int64(6), times=[1.0, 2.0], noise=np.float32(0.125), missing=np.float64(0.125),
        seed=np.int16(2),
    )  # fmt: skip
    assert data.attrs["noise"] == 0.125
    assert check_schedule(pcb.Stage(np.int64(2)))[0].iterations == 2
