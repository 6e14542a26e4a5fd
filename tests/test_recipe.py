"""A recipe: checked, kept as it is, and enough to make the same fit again."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import pickle
import sys

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data import validate
from pycellbox.fitting.defaults import resolve
from pycellbox.models import Structure
from tests.support.problems import NODES, dataset

MASK = np.triu(np.ones((7, 7), bool))
LABELLED = xr.DataArray(MASK, {"target": list(NODES), "source": list(NODES)}, ("target", "source"))
STEADY = {
    "defaults": {},
    "a mask": {"model": pcb.CellBox(mask=MASK)},
    "a labelled mask": {"model": pcb.CellBox(mask=LABELLED[::-1])},
    "stages": {
        "solver": pcb.Heun(0.2),
        "horizon": 4.0,
        "schedule": [
            pcb.Stage(2, learning_rate={"rates": 0.1, "node_to_node": 0.01}, batch_size=4),
            pcb.Stage(2, horizon=2.0, penalty=pcb.Penalty(l1={"drug_to_node": 0.1})),
        ],
    },
    "all": {
        "model": pcb.CellBox(envelope="hill", order=3, form=2, degree=2, drugs="clamped"),
        "solver": pcb.RK4(0.2),
        "loss": pcb.Loss("huber", 0.2),
        "penalty": pcb.Penalty(l1=0.01, l2={"node_to_node": 0.1}, scale="sum"),
        "schedule": pcb.Stage(2, patience=1, decay="cosine", optimizer=pcb.AdamW(clip_norm=1.0)),
        "horizon": 3.0,
        "seed": 5,
        "dtype": "float32",
    },
}
COURSE = {
    "defaults": {},
    "prefix": {"schedule": pcb.Stage(3, prefix=1, warmup=2), "loss": "mae"},
    "L-BFGS": {"schedule": pcb.Stage(3, optimizer=pcb.LBFGS(memory=3))},
    "a held range": {"model": pcb.CellBox(response_range="held", drug_columns="free")},
}
CASES = [(None, name) for name in STEADY] + [((0.5, 1.0), name) for name in COURSE]


def options_of(times, name):
    options = dict((STEADY if times is None else COURSE)[name])
    options.setdefault("schedule", pcb.Stage(3))
    return options


def same_bits(one: pcb.Fit, other: pcb.Fit) -> None:
    for part in ("parameters", "history", "predictions"):
        xr.testing.assert_identical(getattr(one, part), getattr(other, part))


@pytest.mark.slow
@pytest.mark.parametrize(("times", "name"), CASES, ids=str)
def test_the_recipe_of_a_fit_makes_it_again(times, name, tmp_path):
    """Also that of the file; and one that is made beforehand is what options make."""
    data = dataset(np.random.default_rng(1), times=times)
    options = options_of(times, name)
    how = {"validation": 0.25, "backend": "numpy", "progress": False}
    fit = pcb.fit(data, **options, **how)
    recipe = pcb.Recipe(**options)
    assert {k for k, v in fit.recipe.to_dict().items() if v is None} <= {"horizon", "purpose"}
    loaded = pcb.load(fit.save(tmp_path / "fit.nc")).recipe
    assert loaded == fit.recipe == resolve(fit.recipe, data)
    for told in (recipe, fit.recipe, pickle.loads(pickle.dumps(loaded))):
        again = pcb.fit(data, told, **how)
        same_bits(again, fit)
        assert again.recipe == fit.recipe
    for key, value in options.items():
        if key not in ("model", "loss", "schedule"):
            assert getattr(fit.recipe, key) == value
    assert fit.recipe.stages == recipe.stages


BAD = {
    "model": ["tanh", pcb.CellBox, 3],
    "solver": ["heun", pcb.Heun, 3],
    "loss": ["mean", 3, pcb.Loss],
    "penalty": [0.1, {"l1": 0.1}, pcb.Penalty],
    "schedule": [[], 3, [pcb.Stage(1), 3], pcb.Stage, "long"],
    "horizon": [0, -1.0, np.inf, "long", True],
    "seed": [-1, 0.5, "x", True],
    "dtype": ["float16", int, 3],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in BAD.items() for v in vs], ids=str)
def test_an_option_that_cannot_be_is_refused_when_it_is_made(name, value):
    with pytest.raises(pcb.PycellboxError, match=name) as made:
        pcb.Recipe(**{name: value})
    with pytest.raises(type(made.value), match=name):
        pcb.Recipe().replace(**{name: value})
    with pytest.raises(type(made.value), match=name):
        pcb.fit(dataset(np.random.default_rng(0)), **{name: value}, progress=False)


def test_an_unknown_option_suggests_the_nearest():
    with pytest.raises(pcb.PycellboxError, match=r"no option 'sover'.*did you mean 'solver'"):
        pcb.Recipe().replace(sover=pcb.Heun(0.1))


def test_options_beside_a_recipe_are_refused():
    data = dataset(np.random.default_rng(0))
    for name, value in {"loss": "mse", "seed": 0, "horizon": 2.0, "dtype": "float64"}.items():
        with pytest.raises(pcb.PycellboxError, match=rf"{name} beside .*recipe\.replace\({name}="):
            pcb.fit(data, pcb.Recipe(), **{name: value})


class TestItStaysAsItIs:
    def test_nothing_can_be_set(self):
        recipe = pcb.Recipe()
        for field in dataclasses.fields(recipe):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(recipe, field.name, None)

    def test_what_was_given_may_change_afterwards(self):
        rates, strengths, mask = {"rates": 0.1}, {"node_to_node": 0.1}, MASK.copy()
        stages = [pcb.Stage(2, learning_rate=rates)]
        options = {"penalty": pcb.Penalty(l1=strengths), "schedule": stages}
        recipe = pcb.Recipe(pcb.CellBox(mask=mask), **options)
        before, text = pickle.dumps(recipe), repr(recipe)
        rates["rates"], strengths["node_to_node"], mask[:] = 9.0, 9.0, False
        stages.append(pcb.Stage(1))
        assert pickle.dumps(recipe) == before
        assert repr(recipe) == text

    @pytest.mark.parametrize(
        "mapping",
        [
            lambda r: r.penalty.l1,
            lambda r: r.penalty.strengths("l1"),
            lambda r: r.stages[0].learning_rate,
            lambda r: r.stages[0].rates(),
            lambda r: r.to_dict()["penalty"]["l1"],
        ],
    )
    def test_what_it_hands_out_cannot_change_it(self, mapping):
        rates = {"node_to_node": 0.1}
        stage = pcb.Stage(2, learning_rate=rates)
        recipe = pcb.Recipe(penalty=pcb.Penalty(l1=rates), schedule=stage)
        before = recipe.to_dict()
        with contextlib.suppress(TypeError):
            mapping(recipe)["node_to_node"] = 9.0
        assert recipe.to_dict() == before


@pytest.mark.parametrize("times", [None, (0.5, 1.0)])
def test_it_goes_through_plain_values_and_pickle(times):
    for name in STEADY if times is None else COURSE:
        recipe = pcb.Recipe(**options_of(times, name))
        text = json.dumps(recipe.to_dict())
        mask = recipe.model.mask
        copies = (pickle.loads(pickle.dumps(recipe)), copy.deepcopy(recipe), recipe.replace())
        for other in (*copies, pcb.Recipe.from_dict(json.loads(text), mask=mask)):
            assert other == recipe
            assert hash(other) == hash(recipe)
            assert json.dumps(other.to_dict()) == text
            assert type(other.model.mask) is type(mask)


def test_equal_are_those_that_say_the_same():
    one = pcb.Recipe(penalty=pcb.Penalty(l2=0.1), schedule=pcb.Stage(2, learning_rate=0.1))
    rates = dict.fromkeys(one.stages[0].rates(), 0.1)
    for names in (one.penalty.strengths("l2"), ("drug_to_node", "node_to_node")):
        penalty = pcb.Penalty(l2=dict.fromkeys(names, 0.1))
        other = pcb.Recipe(penalty=penalty, schedule=[pcb.Stage(2, rates)])
        assert other == one
        assert hash(other) == hash(one)
    others = {
        "model": [pcb.CellBox(degree=2), pcb.CellBox(mask=MASK), pcb.CellBox(mask=MASK.T),
                  pcb.CellBox(mask=LABELLED)],
        "solver": [pcb.Heun(0.1), pcb.Heun(0.2)],
        "loss": ["mae", pcb.Loss("huber")],
        "penalty": [pcb.Penalty(), None],
        "schedule": [pcb.Stage(3), pcb.Stage(2, learning_rate=0.2), None],
        "horizon": [2.0], "seed": [1], "dtype": ["float32"],
    }  # fmt: skip
    made = [one, *(one.replace(**{k: v}) for k, values in others.items() for v in values)]
    for i, a in enumerate(made):
        assert [a == b for b in made] == [i == j for j in range(len(made))]
    assert one != "a recipe"


def test_a_solver_of_julia_is_kept_by_its_name():
    algorithm = type("Algorithm", (), {"__module__": "juliacall", "__repr__": lambda s: "Vern7()"})
    recipe = pcb.Recipe(solver=algorithm())
    assert isinstance(recipe.solver, pcb.Adaptive)
    named = recipe.replace(solver=pcb.Adaptive("Vern7"))
    assert pickle.loads(pickle.dumps(recipe)) == named == pcb.Recipe.from_dict(recipe.to_dict())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (3, "mapping"),
        ({"modell": {}}, "did you mean 'model'"),
        ({"model": 3}, "model"),
        ({"model": {"envelop": "tanh"}}, "envelop"),
        ({"solver": {"name": "Heun"}}, "'dt'"),
        ({"solver": {"dt": 0.1}}, "solver"),
        ({"solver": "Heun"}, "solver"),
        ({"solver": {"name": "SteadyState", "integrator": {"name": "Heun", "d": 1}}}, "option 'd'"),
        ({"loss": {"nme": "mse"}}, "did you mean 'name'"),
        ({"penalty": {"l3": 1}}, "no option 'l3'"),
        ({"penalty": 3}, "penalty"),
        ({"schedule": [3]}, "Stage"),
        ({"schedule": [{"learning_rate": 1.0}]}, "'iterations'"),
        ({"schedule": [{"iterations": 1, "optimizer": {"name": "SGD"}}]}, "SGD"),
        ({"schedule": [{"iterations": 1, "penalty": {"l3": 1}}]}, "no option 'l3'"),
        ({"schedule": 3}, "schedule"),
        ({"seed": None}, "seed"),
        ({3: 1}, "options by name"),
    ],
    ids=str,
)
def test_values_that_make_no_recipe_are_refused(options, match):
    with pytest.raises(pcb.PycellboxError, match=match):
        pcb.Recipe.from_dict(options)


def test_it_is_shown_in_a_notebook():
    html = pcb.Recipe(loss="mae", seed=7, schedule=[pcb.Stage(5), pcb.Stage(6)])._repr_html_()
    for text in ("Recipe", "mae", "as the data ask for", "iterations=5", "iterations=6"):
        assert text in html


@pytest.mark.parametrize(("times", "name"), CASES, ids=str)
@pytest.mark.parametrize("share", [None, 0.25])
def test_a_fit_validates_once_and_makes_one_structure(times, name, share, monkeypatch):
    calls = []

    def counting(what, original):
        return lambda *args, **options: calls.append(what) or original(*args, **options)

    data = dataset(np.random.default_rng(1), times=times)
    original = validate
    for module in [m for n, m in sys.modules.items() if n.split(".")[0] == "pycellbox"]:
        if getattr(module, "validate", None) is original:
            monkeypatch.setattr(module, "validate", counting("validate", original))
    monkeypatch.setattr(Structure, "over", counting("structure", Structure.over))
    options = options_of(times, name) | {"backend": "numpy", "progress": False}
    pcb.fit(data, validation=share, **options)
    assert sorted(calls) == ["structure", "validate"]
