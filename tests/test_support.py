"""Which blocks of a fit its data support."""

from __future__ import annotations

import dataclasses
import json
import warnings

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.cli import main
from pycellbox.estimation import strengths
from pycellbox.estimation.parameters import obstacle
from pycellbox.fitting.beginning import problem_of
from pycellbox.fitting.defaults import resolve
from pycellbox.support import api, blocks
from pycellbox.support.blocks import blocks_of, named
from pycellbox.supported import Support, support_in
from tests.support.fits import fitted, known_network, quick
from tests.support.screens import dataset, screen

OPTIONS = {"progress": False, "backend": "numpy"}


@pytest.fixture(scope="module", autouse=True)
def strengths_are_chosen_quickly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strengths, "_SWEEPS", 1)
        yield


@pytest.fixture(scope="module")
def fit():
    doses, y = screen(np.random.default_rng(3), conditions=12, drugs=3, nodes=3)
    return pcb.fit(dataset(doses, y, ["protein", "protein", "phenotype"]), **OPTIONS)


@pytest.fixture(scope="module")
def supported(fit):
    with pytest.MonkeyPatch.context() as patch:  # networks are trained for a moment
        patch.setattr(blocks, "FROM_ESTIMATE", quick(2))
        return fit.support(folds=2, **OPTIONS)


def test_errors_are_those_of_fits_with_and_without(fit, supported):
    table = supported.table
    assert list(table.index) == ["drug → node", "node → node", "node → phenotype",
                                 "operating points", "common effects"]  # fmt: skip
    assert (table["folds"] == 2).all()
    assert (table["failure"] == "").all()
    data = fit.data.drop_vars("role")
    recipe = fit.recipe.replace(model=dataclasses.replace(fit.model, operating_point=False))
    nodes = data["node"].values[:3]
    squares = {"with": [], "without": []}
    for split in pcb.splits.k_fold(data, 2):
        train, _, test = split.apply(data)
        for name, own in (("with", fit.recipe), ("without", recipe)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", pcb.DataWarning)  # of doses left out
                p = pcb.fit(train, own, **OPTIONS).predict(test["perturbation"], backend="numpy")
            squares[name].append(((p - test["response"]) ** 2).sel(node=nodes).values)
    row = table.loc["operating points"]
    of_each = {name: np.concatenate(parts) for name, parts in squares.items()}
    assert row["with"] == pytest.approx(of_each["with"].mean())
    assert row["without"] == pytest.approx(of_each["without"].mean())
    differences = of_each["with"].mean(axis=1) - of_each["without"].mean(axis=1)
    assert row["difference"] == pytest.approx(differences.mean())
    assert row["standard_error"] == pytest.approx(differences.std(ddof=1) / np.sqrt(12))
    assert table.loc["drug → node", "difference"] < 0 > -table.loc["drug → node", "p"]


def test_it_is_kept_with_the_fit_and_printed(fit, supported, tmp_path):
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    kept = support_in(again.provenance)
    assert kept.words == supported.words
    assert kept.table.equals(supported.table)
    for printed in (repr(fit), repr(again), fit._repr_html_()):
        assert "drug → protein edges improve prediction on these data: 0." in printed
        assert "fit.support()" not in printed
    told = {name: text for name, text in fit.provenance.items() if name != "support"}
    tree = fit.tree
    tree.attrs["provenance"] = json.dumps(told)
    fresh = pcb.Fit(tree)
    assert "fit.support() says which blocks the data support" in repr(fresh)
    assert "support" not in fresh.provenance


def test_an_estimate_without_a_block_has_nothing_of_it(fit):
    for block in (one for one in blocks_of(fit) if one.there):
        without = pcb.fit(fit.data.drop_vars("role"), block.recipe, **OPTIONS)
        assert without.estimated
        W = without.parameters["W"].transpose("target", "source").values
        assert W.shape == (6, 6)
        assert (W[:2, 3:] == 0).all() == (block.name == "drug → node")
        assert (W[2, :2] == 0).all() == (block.name == "node → phenotype")
        assert ("b" in without.parameters) == (block.name != "operating points")
        assert ("common" in without.parameters) == (block.name != "common effects")
    with pytest.raises(pcb.ModelError, match="nothing to fit"):
        pcb.fit(fit.data.drop_vars("role"), pcb.CellBox(mask=np.zeros((6, 6))), **OPTIONS)


def test_masks_of_some_of_a_block_are_trained(fit):
    data = fit.data.drop_vars("role")
    for row, column in ((0, 3), (2, 1)):
        mask = np.ones((6, 6), dtype=bool)
        mask[row, column] = False
        recipe = resolve(pcb.Recipe(pcb.CellBox(mask=mask)), data)
        assert "mask" in obstacle(problem_of(recipe, data))


NETWORKS = {
    "drugs": lambda: fitted(known_network(conditions=6)[0], schedule=quick(3)),
    "no drugs": lambda: pcb.fit(
        pcb.simulate(pcb.networks.cyclic(3, 0.2), 6, seed=0, backend="numpy"), schedule=quick(3),
        **OPTIONS,
    ),
    "courses": lambda: fitted(known_network([1.0, 2.0], 6)[0], schedule=quick(3)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::pycellbox.NumericsWarning")  # few iterations
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_trained_without_each_block(name):
    fit = NETWORKS[name]()
    found = fit.support(folds=2, **OPTIONS).table
    assert (found["folds"] == 2).all()
    assert ("drug → node" in found.index) == (name != "no drugs")
    assert (found["without"] != found["with"]).all()


def test_courses_that_begin_at_an_estimate_go_on_without_a_block(monkeypatch):
    doses, y = screen(np.random.default_rng(3), conditions=5, drugs=3, nodes=3)
    doses[:3] = np.eye(3)
    plain = dataset(doses, y)
    times = xr.DataArray([1.0, 2.0], dims="time", attrs={"units": "h"})
    response = (plain["response"] * (1 - np.exp(-times))).transpose("condition", "time", "node")
    data = pcb.validate(plain.assign(response=response).assign_coords(time=times))
    stages = pcb.Stage(3)
    fit = pcb.fit(data, **OPTIONS)
    assert "unseen_signs" in fit.provenance["estimate"]
    assert not fit.estimated
    each = {block.name: block for block in blocks_of(fit)}
    assert all(block.begins for block in each.values())
    begun = each["operating points"].initial(fit.parameters, data)
    assert "b" not in begun
    begun = each["drug → node"].initial(fit.parameters, data)
    assert (begun["W"].sel(source=["D0", "D1", "D2"]) == 0).all()
    assert (begun["b"] == fit.parameters["b"]).all()
    monkeypatch.setattr(
        api, "blocks_of",
        lambda fit: [dataclasses.replace(each["drug → node"], recipe=each[
            "drug → node"].recipe.replace(schedule=stages))],
    )  # fmt: skip
    found = fit.support(folds=2, **OPTIONS)
    assert found.table["folds"].item() == 2


PREY = pcb.ODE(
    {"x": "-k*x - A*x"},
    parameters={"k": pcb.Parameter(positive=True), "A": pcb.Parameter(0.1)},
    initial={"x": 1},
)


def test_of_equations_named_parameters_are_left_out():
    rng = np.random.default_rng(0)
    t = np.arange(1.0, 5)
    x = np.exp(-0.7 * t) + rng.normal(0, 0.01, (6, 4))
    data = pcb.validate(
        xr.Dataset(
            {"perturbation": (("condition", "node"), np.zeros((6, 1))),
             "response": (("condition", "time", "node"), x[:, :, None])},
            {"condition": list("abcdef"), "node": ["x"], "node_kind": ("node", ["protein"]),
             "time": ("time", t, {"units": "h"})},
        )
    )  # fmt: skip
    fit = pcb.fit(data, PREY, schedule=pcb.Stage(8, optimizer=pcb.LM()), **OPTIONS)
    assert "support" not in repr(fit)
    with pytest.raises(pcb.OptionError, match=r"without=\{'no interaction': \{'A': 0\}\}"):
        fit.support(**OPTIONS)
    without = {"no A": {"A": 0}, "other": {"A": 0, "k": 1.5}}
    found = fit.support(folds=2, by="condition", without=without, **OPTIONS)
    assert found.words[0].startswith("A (no A) does not improve prediction on these data")
    assert found.table.loc["other", "folds"] == 0  # nothing is left to fit
    assert "A, k (other): no fold could be fitted" in repr(fit)
    for given, match in (
        ({"no a": {"a": 0}}, "no such parameter"),
        ({"no A": 0}, "needs parameters and the numbers"),
        ({"no A": {"A": "none"}}, "needs a number"),
    ):
        with pytest.raises(pcb.OptionError, match=match):
            named(fit, given)


def test_without_is_for_equations_alone(fit):
    with pytest.raises(pcb.OptionError, match="without= keeps parameters of equations"):
        fit.support(without={"x": {"W": 0}}, **OPTIONS)


ROW = {"what": "protein → protein edges", "with": 0.021, "without": 0.021, "difference": -1e-6,
       "standard_error": 1e-3, "p": 0.9, "folds": 5, "failure": ""}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "do not improve prediction on these data: 0.0210 with, 0.0210 without"),
        ({"without": 0.03}, "by more than chance: 0.0210 with, 0.0300 without"),
        ({"without": 0.03, "p": 0.01}, "edges improve prediction on these data: 0.0210 with"),
        ({"with": 0.03, "p": 0.01}, "edges make prediction worse on these data: 0.0300 with"),
        ({"without": 0.03, "p": np.nan}, "do not improve"),
        ({"folds": 4, "failure": "lost"}, "0.0210 without; not in all folds, lost"),
        ({"folds": 0, "failure": "lost"}, "no fold could be fitted with and without, lost"),
        ({"what": "A (none)"}, "A (none) does not improve"),
    ],
)
def test_words_say_what_the_figures_say(change, words):
    kept = {"by": "replicate", "blocks": [{"block": "node → node", **ROW, **change}]}
    found = support_in({"support": json.loads(json.dumps(kept))})
    assert words in found.words[0]
    assert isinstance(found, Support)
    assert words in repr(found)


@pytest.mark.parametrize("spoilt", [{"blocks": [{"block": 3}]}, {"blocks": 3}, {"by": "x"}, [1]])
def test_files_with_something_else_are_damaged(fit, spoilt, tmp_path):
    path = fit.with_provenance(support=spoilt).save(tmp_path / "fit.nc")
    with pytest.raises(pcb.ResultFileError, match="damaged"):
        pcb.load(path)


def test_a_fold_that_fails_is_named(fit, monkeypatch):
    block = next(b for b in blocks_of(fit) if b.name == "operating points")
    broken = block.recipe.replace(model=pcb.CellBox(mask=np.zeros((6, 6))))
    monkeypatch.setattr(api, "blocks_of", lambda fit: [dataclasses.replace(block, recipe=broken)])
    found = pcb.Fit(fit.tree).support(folds=2, **OPTIONS)
    assert found.table["folds"].item() == 0
    assert "no fold could be fitted with and without, ModelError" in found.words[0]


@pytest.mark.filterwarnings("ignore::pycellbox.NumericsWarning")  # few iterations
def test_the_command_line_keeps_and_shows_it(tmp_path, capsys, monkeypatch):
    path = tmp_path / "fit.nc"
    NETWORKS["no drugs"]().save(path)
    assert main(["support", str(path), "--folds", "2", "--backend", "numpy"]) == 0
    said = capsys.readouterr().out
    assert "protein → protein edges" in said
    assert "standard_error" in said
    monkeypatch.setattr(api, "blocks_of", lambda fit: pytest.fail("it was run again"))
    assert main(["support", str(path)]) == 0
    assert capsys.readouterr().out == said
