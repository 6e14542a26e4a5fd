"""Options: any kind of integer or real number, plain values inside, clear refusals."""

from __future__ import annotations

import dataclasses
import inspect
import json
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.common import options
from pycellbox.common.options import choice, integer, number
from pycellbox.common.plain import as_integer, as_number
from pycellbox.interop.run import run_config
from pycellbox.solvers import solver_to_dict
from tests.fuzz.running import EXEMPT, public
from tests.support.problems import dataset

DATA = dataset(np.random.default_rng(0))
INTEGERS = (3, np.int64(3), np.int8(3), np.uint16(3), np.array(3))
NUMBERS = (0.5, np.float64(0.5), np.float32(0.5), np.array(0.5), Fraction(1, 2), Decimal("0.5"))


@pytest.mark.parametrize("value", INTEGERS, ids=lambda v: type(v).__name__)
def test_any_integer_is_one(value):
    assert type(integer()("x", value)) is int
    assert integer(3, 3)("x", value) == 3 == as_number(value)


@pytest.mark.parametrize("value", NUMBERS, ids=lambda v: type(v).__name__)
def test_any_real_number_is_one(value):
    assert type(number()("x", value)) is float
    assert number()("x", value) == 0.5
    assert as_integer(value) is None


NEITHER = (True, np.True_, np.array(True), "3", None, 1 + 0j, np.timedelta64(3), [3], np.array([3]))


@pytest.mark.parametrize("value", NEITHER, ids=repr)
@pytest.mark.parametrize("check", [integer(), number(), choice("a", 1, 2)])
def test_what_is_no_number_is_refused_with_its_name(check, value):
    with pytest.raises(pcb.OptionError, match="x="):
        check("x", value)


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, Decimal("NaN"), Decimal("sNaN"), 10**400, -1],
    ids=lambda v: str(v)[:9],
)
def test_numbers_out_of_range_are_refused(value):
    with pytest.raises(pcb.OptionError, match="finite number ≥ 0"):
        number(0)("x", value)


@pytest.mark.parametrize(
    ("low", "high", "how", "fit", "unfit"),
    [
        (0, np.inf, {}, [0, 1e300], [-1e-300]),
        (0, np.inf, {"above": True}, [1e-300], [0, -0.0]),
        (0, 1, {}, [0, 0.999], [1]),
        (0, 1, {"up_to": True}, [1], [1.001]),
        (0, np.inf, {"infinite": True}, [0, np.inf], [-np.inf, np.nan]),
    ],
)
def test_ranges_have_their_ends(low, high, how, fit, unfit):
    check = number(low, high, **how)
    assert [check("x", value) for value in fit] == fit
    for value in unfit:
        with pytest.raises(pcb.OptionError):
            check("x", value)


def test_messages_stay_short():
    with pytest.raises(pcb.OptionError) as error:
        integer()("x", "a" * 10_000)
    assert len(str(error.value)) < 200
    assert options.shown(10**5000)


SPELT = [
    (lambda: pcb.CellBox(envelope="tahn"), "'tanh'"),
    (lambda: pcb.CellBox(drugs="clamp"), "'clamped'"),
    (lambda: pcb.Loss("hubert"), "'huber'"),
    (lambda: pcb.Penalty(scale="means"), "'mean'"),
    (lambda: pcb.Penalty(l1={"node_to_nod": 1.0}), "'node_to_node'"),
    (lambda: pcb.Stage(1, learning_rate={"rate": 1.0}), "'rates'"),
    (lambda: pcb.Stage(1, decay="cosin"), "'cosine'"),
    (lambda: pcb.Stage(iteration=5), "'iterations'"),
    (lambda: pcb.Tsit5(rtoll=1e-3), "'rtol'"),
    (lambda: pcb.networks.beeline("mCADD"), "'mCAD'"),
    (lambda: pcb.networks.erdos_renyi(3, 0.1, weights="uniforms"), "'uniform'"),
    (lambda: pcb.networks.cyclic(3, densty=0.1), "'density'"),
    (lambda: pcb.fit(DATA, loss="mes"), "'mse'"),
    (lambda: pcb.fit(DATA, optimiser=None), "it has data, model"),
    (lambda: pcb.fit(DATA, sed=1), "'seed'"),
    (lambda: pcb.fit(DATA, backend="nunpy"), "'numpy'"),
    (lambda: pcb.fit(DATA, dtype="float46"), "'float64'"),
    (lambda: pcb.fit(DATA, validation=["c0", "c111"]), "'c11'"),
    (lambda: pcb.CellBox.from_dict({"envelop": "tanh"}), "'envelope'"),
    (lambda: pcb.Recipe().replace(scheduel=None), "'schedule'"),
    (lambda: pcb.resume("x.nc", progres=False), "'progress'"),
    (lambda: pcb.prune(None, chose="lowest"), "'choose'"),
    (lambda: pcb.metrics.mse(DATA["response"], DATA["response"], by="nodes"), "'node'"),
    (lambda: pcb.splits.leave_one_drug_out(DATA, keep_singles=False, drug="xx"), "'x'"),
    (
        lambda: pcb.simulate(pcb.networks.cyclic(3), 2, perturbed_nodes=["g11"]),
        "'g1'",
    ),
]


@pytest.mark.parametrize(("call", "near"), SPELT, ids=[near for _, near in SPELT])
def test_an_unknown_word_suggests_the_nearest(call, near):
    with pytest.raises(pcb.OptionError) as error:
        call()
    assert near in str(error.value)


def signed(call):
    """Whether a call takes arguments, of certain names."""
    parameters = list(inspect.signature(call).parameters.values())
    free = any(one.kind is one.VAR_KEYWORD for one in parameters)
    return not free and {one.name for one in parameters} - {"self"}


PUBLIC = {name: call for name, call in public() if name not in EXEMPT and signed(call)}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_call_says_which_argument_it_has_not(name):
    call = PUBLIC[name]
    with pytest.raises(pcb.OptionError, match="no option 'unheard_of'"):
        call(unheard_of=1)
    if any(one.kind is one.VAR_POSITIONAL for one in inspect.signature(call).parameters.values()):
        return  # which takes any number of them
    with pytest.raises(pcb.OptionError, match="its options are"):
        call(*range(50))


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


@pytest.mark.slow
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
    assert pcb.Stage(np.int64(2)).iterations == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda n: pcb.Recipe(seed=n),
        lambda n: pcb.Tsit5(max_steps=n),
        lambda n: pcb.splits.random(pcb.datasets.melanoma(), seed=n),
        lambda n: run_config("nowhere.json", index=n),
    ],
)
def test_integers_that_no_file_keeps_are_refused(call):
    with pytest.raises(pcb.OptionError, match="it needs an integer"):
        call(10**400)
