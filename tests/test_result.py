"""Saving, loading, predicting, evaluating."""

from __future__ import annotations

import contextlib
import html
import json

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import registry
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.baselines import MeanResponse, all_baselines
from pycellbox.data.container import write_datasets
from pycellbox.errors import DataError, OptionError, ResultFileError
from pycellbox.evaluation import EDGELESS, roles_in_fit
from pycellbox.networks.network import make_network
from pycellbox.simulation import truth
from pycellbox.summary import interactions
from tests.support.equations import measured, sir
from tests.support.problems import NODES, dataset


def fitted(times=None, **options) -> pcb.Fit:
    data = dataset(np.random.default_rng(0), times=times)
    model = options.pop("model", pcb.CellBox())
    return pcb.fit(data, model, schedule=pcb.Stage(8), progress=False, **options)


@pytest.fixture(scope="module")
def fit() -> pcb.Fit:
    return fitted(validation=0.25)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"times": (0.5, 1.0, 2.0)},
        {"dtype": "float32"},
        {"solver": pcb.Tsit5(1e-4, 1e-7)},
        {"model": pcb.CellBox(form=2, envelope="hill", order=3, degree=2)},
        {"model": pcb.CellBox(mask=np.triu(np.ones((7, 7), bool)))},
        {"model": pcb.CellBox(form="ji", drugs="clamped", dose_saturation=None)},
    ],
    ids=repr,
)
def test_a_loaded_fit_predicts_the_same_bits(options, tmp_path):
    fit = fitted(**options)
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    u = fit.data["perturbation"] * 0.7
    np.testing.assert_array_equal(again.predict(u).values, fit.predict(u).values)
    xr.testing.assert_identical(again.parameters, fit.parameters)
    xr.testing.assert_identical(again.history, fit.history)
    xr.testing.assert_identical(again.predictions, fit.predictions)
    assert again.model == fit.model
    assert again.solver == fit.solver
    assert again.provenance == fit.provenance
    if fit.model.mask is not None:
        np.testing.assert_array_equal(np.asarray(again.model.mask), np.asarray(fit.model.mask))
        again.save(tmp_path / "twice.nc")


def test_provenance_says_how_it_was_made(fit):
    p = fit.provenance
    assert p["backend"] == fit.backend == "numpy"
    assert p["versions"]["pycellbox"] == pcb.__version__
    assert fit.recipe.stages[0].iterations == 8
    assert fit.recipe.penalty.scale == "sum"
    assert fit.recipe.horizon == fit.horizon == 10.0
    assert not set(p) & set(fit.recipe.to_dict())
    assert fit.status == "completed"


def test_fixed_steps_are_held_to_the_equation(recwarn):
    fine = fitted(solver=pcb.Heun(0.1))
    assert fine.provenance["steps"]["distance_to_integration"] < 1e-2
    assert not recwarn
    with pytest.warns(pcb.NumericsWarning, match="leave the equation's solution") as caught:
        coarse = fitted(times=(1.0, 2.0), solver=pcb.Euler(1.0), time_scale=1.0)
    wanted = pcb.solve(
        coarse.model, coarse.parameters, coarse.data["perturbation"],
        solver=pcb.Tsit5(1e-10, 1e-12), times=(1.0, 2.0), backend="numpy",
    )  # fmt: skip
    distance = np.abs(coarse.predictions - wanted).max().item()
    said = coarse.provenance["steps"]["distance_to_integration"]
    assert said == pytest.approx(distance, rel=1e-3)
    assert f"by up to {distance:.2g}" in str(caught[0].message)


def test_an_adaptive_fit_needs_no_such_check():
    assert "steps" not in fitted(times=(1.0, 2.0)).provenance


def test_groups_and_dims(fit):
    assert set(fit.tree.children) == {"parameters", "history", "predictions", "data"}
    assert fit.parameters["W"].dims == ("target", "source")
    assert fit.parameters["alpha"].dims == ("node",)
    assert "mask" not in fit.parameters
    assert set(fit.data["role"].values) == {"train", "validation"}


def test_the_repr_tells_the_essentials(fit):
    text = repr(fit)
    assert "7 nodes, 9 conditions fitted, 3 for validation" in text
    assert "ε∘φ(Wx + u)" in text
    assert "completed; numpy backend" in text


def test_interactions_are_counted_by_block(fit):
    W = np.zeros((7, 7))  # A, B, C, D, then P the phenotype, then x, y the drugs
    W[0, 5], W[1, 6], W[2, 5] = 1.0, -0.5, 0.0011
    W[3, 5] = -0.0009  # too weak
    W[0, 1], W[1, 1] = 0.2, 0.3
    W[4, 0] = -0.4
    parameters = fit.parameters.assign(W=(("target", "source"), W))
    said = "6 interactions with |w| > 0.001: 3 drug → node, 2 node → node, 1 node → phenotype"
    assert interactions(parameters) == said
    backwards = parameters.transpose("source", "target", "node")
    assert interactions(backwards.isel(node=slice(None))) == said
    assert interactions(fit.parameters) in repr(fit)


def test_blocks_that_cannot_be_are_not_counted(fit):
    part = fit.parameters.sel(node=list("ABCD"), target=list("ABCD"), source=list("ABCD"))
    number = int((np.abs(part["W"]) > 1e-3).sum())
    text = f"{number} interactions with |w| > 0.001: {number} node → node"
    assert interactions(part) == text


def test_predictions_are_those_of_predict(fit):
    np.testing.assert_array_equal(fit.predictions.values, fit.predict(fit.data).values)


def test_predict_at_times_of_a_steady_state_fit(fit):
    x = fit.predict(fit.data, times=[1.0, fit.horizon])
    assert x.dims == ("condition", "time", "node")
    np.testing.assert_allclose(x.isel(time=-1).values, fit.predictions.values, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda u: u.isel(node=slice(1, None)), r"lacks the node\(s\) 'A'"),
        (lambda u: u.assign_coords(node=["Q", *NODES[1:]]), r"lacks the node\(s\) 'A'"),
        (lambda u: u.where(u != 0), "a finite number"),
        (lambda u: u.rename(condition="row"), "'condition', 'node'"),
        (lambda u: u.to_dataset(name="dose"), "no variable 'perturbation'"),
    ],
)
def test_bad_perturbation(fit, change, match):
    with pytest.raises(DataError, match=match):
        fit.predict(change(fit.data["perturbation"]))
    with pytest.raises(OptionError, match=r"perturbation=array.*a DataArray"):
        fit.predict(fit.data["perturbation"].values)


def test_evaluate_stands_beside_the_baselines(fit):
    result = fit.evaluate(fit.data)
    assert list(result.table.index) == ["CellBox", *all_baselines()]
    assert result.by_node["pearson"].dims == ("model", "node")
    assert result.by_condition["mse"].dims == ("model", "condition")
    error = ((fit.predictions - fit.data["response"]) ** 2).mean()
    assert result.table.loc["CellBox", "mse"] == pytest.approx(float(error))
    assert list(fit.evaluate(fit.data, baselines=False).table.index) == ["CellBox"]


def test_baselines_are_chosen_by_name(fit):
    names = ["ridge", EDGELESS, "ridge"]
    assert list(fit.evaluate(fit.data, baselines=names).table.index) == ["CellBox", *names[:2]]
    assert list(fit.evaluate(fit.data, baselines=[]).table.index) == ["CellBox"]
    with pytest.raises(OptionError, match=r"did you mean 'ridge'\?.*robust ridge, CellBox without"):
        fit.evaluate(fit.data, baselines=["rigde"])
    for wrong in ("ridge", 1, None, [None]):
        with pytest.raises(OptionError, match=r"baselines=.* it needs True, False, or a list"):
            fit.evaluate(fit.data, baselines=wrong)


def test_scores_without_drug_nodes_stand_beside_those_of_all(fit):
    result = fit.evaluate(fit.data)
    assert list(result.table.columns) == [
        "pearson", "mse", "pearson_without_drugs", "mse_without_drugs",
        "pearson_by_node", "pearson_by_condition",
    ]  # fmt: skip
    nodes = list("ABCDP")
    off = (fit.predictions - fit.data["response"]).sel(node=nodes)
    assert result.table.loc["CellBox", "mse_without_drugs"] == pytest.approx(float((off**2).mean()))
    for name, predicted in result.predictions.items():
        seen = fit.data["response"].sel(node=nodes)
        wanted = pcb.metrics.pearson(predicted.sel(node=nodes), seen)
        np.testing.assert_equal(result.table.loc[name, "pearson_without_drugs"], wanted)
    assert "over all 7 nodes, then without the 2 drug nodes" in repr(result)
    assert "MSE w/o drugs" in repr(result)
    assert "without the 2 drug nodes" in result._repr_html_()


@pytest.mark.parametrize("unmeasured", [["x", "y"], list("ABCDP")])
def test_drug_nodes_are_left_out_only_where_that_makes_a_difference(fit, unmeasured):
    part = fit.data.copy(deep=True)
    part["response"].loc[{"node": unmeasured}] = np.nan
    result = fit.evaluate(part, baselines=False)
    assert not [name for name in result.table if "drugs" in name]
    assert "drug nodes" not in repr(result)


def test_rows_the_fit_has_seen_are_marked(fit):
    data = fit.data.drop_vars("role")
    named = lambda part, *labels: part.assign_coords(condition=list(labels))  # noqa: E731
    unseen = named(data.isel(condition=[0, 1]), "n0", "c1")
    unseen["perturbation"][:] *= 1.5
    twin = named(data.isel(condition=[2]), "again")
    twin["perturbation"][:] *= 1 + 1e-9
    role = fit.data["role"].values
    mixed = xr.concat([unseen, twin, data.isel(condition=slice(2, None))], "condition")
    result = fit.evaluate(mixed.isel(node=slice(None, None, -1)), baselines=False)
    wanted = ["unseen", "unseen", "replicate", *role[2:]]
    np.testing.assert_array_equal(result.by_condition["role"], wanted)
    fitted, judging = (role[2:] == "train").sum(), (role[2:] == "validation").sum()
    first = result.caption.splitlines()[0]
    assert first == (
        f"scores on 13 rows: {fitted} fitted, {judging} validation, 1 replicate, 2 unseen; "
        "rows that the fit has seen, and replicates of them, flatter every model"
    )
    assert repr(result).startswith(result.caption)
    only = fit.evaluate(unseen, baselines=False)
    assert only.caption.startswith("scores on 2 unseen rows\n")
    whole = fit.evaluate(data.isel(condition=role == "train"), baselines=False)
    assert whole.caption.startswith("scores on 9 fitted rows; rows that the fit has seen")


def test_evaluate_a_held_out_part_with_an_unmeasured_node(fit):
    part = fit.data.isel(condition=[0, 1]).copy(deep=True)
    part["response"].loc[{"node": "B"}] = np.nan
    assert np.isnan(fit.evaluate(part).by_node["mse"].sel(node="B")).all()


def test_the_best_three_baselines_are_printed_and_all_are_kept(fit):
    result = fit.evaluate(fit.data)
    errors = result.table["mse_without_drugs"]
    best = errors.drop("CellBox").nsmallest(3)
    assert list(result.shown.index) == ["CellBox", *best.index]
    for printed in (repr(result), result._repr_html_()):
        assert f"and {len(errors) - 4} baselines that are worse" in printed
        assert all(name in printed for name in best.index)
        assert result.verdict in html.unescape(printed)


@pytest.mark.parametrize("better", [True, False])
def test_the_verdict_says_whether_the_model_beats_the_best_baseline_by_more_than_chance(
    fit, better
):
    data = fit.data.drop_vars("role").copy(deep=True)
    rng = np.random.default_rng(0)
    nodes = list("ABCDP")  # no drug node decides
    size = 0.1 * fit.predictions.sel(node=nodes).std().item()
    noise = size * rng.normal(size=fit.predictions.shape)
    data["response"] = better * fit.predictions + noise  # what the fit predicts, or nothing
    result = fit.evaluate(data)
    best = result.shown.index[1]
    wanted = pcb.metrics.paired_by_condition(
        fit.predictions.sel(node=nodes),
        result.predictions[best].sel(node=nodes),
        data["response"].sel(node=nodes),
    )
    assert result.against_best == wanted
    ratio = result.table["mse_without_drugs"]
    change = abs(ratio["CellBox"] / ratio[best] - 1)
    side = "less" if better else "more"
    assert result.verdict.startswith(
        f"CellBox has {change:.1%} {side} squared error than the best of "
        f"{len(all_baselines())} baselines, {best}: more than chance gives (p "
    )
    assert f"less in {wanted.below} of {wanted.count})" in result.verdict


def test_one_condition_is_not_told_from_chance(fit):
    result = fit.evaluate(fit.data.isel(condition=[0]))
    assert result.verdict.endswith("one condition cannot tell that from chance.")
    assert fit.evaluate(fit.data, baselines=False).verdict == ""


def test_evaluate_time_courses():
    fit = fitted(times=(0.5, 1.0, 2.0))
    result = fit.evaluate(fit.data)
    assert "mean response" in result.table.index


def test_other_nodes_cannot_be_told_seen_or_unseen(fit):
    with pytest.raises(DataError, match=r"differ in 1 node\(s\), the first is 'y'"):
        roles_in_fit(fit.data.isel(node=slice(6)), fit.data)


def test_provenance_may_hold_what_is_no_number(fit, tmp_path):
    entries = {"far": float("inf"), "unknown": float("nan")}
    kept = pcb.load(fit.with_provenance(**entries).save(tmp_path / "fit.nc")).provenance
    assert kept["far"] == float("inf")
    assert np.isnan(kept["unknown"])


def groups_of(fit):
    """What `read_datasets` makes of the saved fit, to be changed."""
    return {"": xr.Dataset(attrs=fit.tree.attrs)} | {
        name: group.to_dataset() for name, group in fit.tree.children.items()
    }


class TestFiles:
    """What can be wrong with a file."""

    def test_missing(self, tmp_path):
        with pytest.raises(ResultFileError, match="there is no file"):
            pcb.load(tmp_path / "nothing.nc")

    def test_not_netcdf(self, tmp_path):
        path = tmp_path / "notes.nc"
        path.write_text("hello")
        with pytest.raises(ResultFileError, match="damaged, incomplete or of another format"):
            pcb.load(path)

    def test_truncated(self, fit, tmp_path):
        path = fit.save(tmp_path / "fit.nc")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(ResultFileError, match="damaged"):
            pcb.load(path)

    def test_a_dataset_is_not_a_fit(self, fit, tmp_path):
        path = pcb.save_data(fit.data.drop_vars("role"), tmp_path / "data.nc")
        with pytest.raises(ResultFileError, match=r"not one that Fit\.save wrote.*open_data"):
            pcb.load(path)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "value", "match"),
        [
            ("format_version", 99, r"format version 99.*upgrade"),
            ("solver", {"name": "Warp9"}, "'Warp9'"),
            ("solver", None, "leaves something open"),
            ("sover", None, "did you mean 'solver'"),
            ("provenance", "{}", "damaged: KeyError"),
            ("recipe", "[" * 5000, "damaged: .*nested"),
            ("horizon", None, "the horizon does not go with the data"),
        ],
    )
    def test_an_attribute_that_cannot_be(self, fit, tmp_path, name, value, match):
        groups = groups_of(fit)
        if name in groups[""].attrs:
            groups[""].attrs[name] = value
        else:
            recipe = json.loads(groups[""].attrs["recipe"]) | {name: value}
            groups[""].attrs["recipe"] = json.dumps(recipe)
        with pytest.raises(ResultFileError, match=match):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))

    @pytest.mark.slow
    @pytest.mark.parametrize("group", ["parameters", "history", "predictions", "data"])
    def test_a_group_is_gone(self, fit, tmp_path, group):
        groups = groups_of(fit)
        del groups[group]
        with pytest.raises(ResultFileError, match=f"lacks the group.*{group}"):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("group", "change"),
        [
            ("parameters", lambda g: g.drop_vars("alpha")),
            ("parameters", lambda g: g.assign(alpha=g["alpha"].astype(str))),
            ("parameters", lambda g: g.assign(W=g["W"] * np.nan)),
            ("parameters", lambda g: g.isel(node=slice(1, None))),
            ("history", lambda g: g.drop_vars("loss")),
            ("history", lambda g: g.assign(loss=g["loss"].astype(str))),
            ("predictions", lambda g: g.isel(node=0)),
            ("data", lambda g: g.drop_vars("role")),
            ("data", lambda g: g.assign_coords(node_kind=("node", ["drug"] * 7))),
            ("data", lambda g: g.assign(response=g["response"].astype(str))),
        ],
    )
    def test_something_in_a_group_cannot_be(self, fit, tmp_path, group, change):
        groups = groups_of(fit)
        groups[group] = change(groups[group])
        with pytest.raises(ResultFileError, match="is damaged"):
            pcb.load(write_datasets(tmp_path / "fit.nc", groups))


def overwrite(values) -> None:
    """Write to an array, which may refuse."""
    with contextlib.suppress(ValueError, TypeError):
        values[...] = np.zeros((), values.dtype)


class TestCopies:
    """What is handed out may be changed, and the fit stays as it was."""

    @pytest.mark.parametrize("part", ["parameters", "history", "predictions", "data"])
    @pytest.mark.parametrize("times", [None, (0.5, 1.0, 2.0)], ids=["steady", "courses"])
    def test_of_every_array(self, part, times):
        fit = fitted(times)
        u = fit.data["perturbation"]
        before, predicted, text = getattr(fit, part), fit.predict(u).values, repr(fit)
        given = getattr(fit, part)
        variables = dict(given.coords) | (
            {"": given} if isinstance(given, xr.DataArray) else dict(given.data_vars)
        )
        for array in variables.values():
            overwrite(array.values)
        given.attrs["note"] = "mine"
        given["more"] = 1.0
        xr.testing.assert_identical(getattr(fit, part), before)
        np.testing.assert_array_equal(fit.predict(u).values, predicted)
        assert repr(fit) == text

    def test_of_tree_provenance_and_mask(self, tmp_path):
        fit = fitted(model=pcb.CellBox(mask=np.triu(np.ones((7, 7), bool))))
        u, how = fit.data["perturbation"], fit.provenance
        predicted = fit.predict(u).values
        tree = fit.tree
        overwrite(tree["parameters"]["W"].values)
        tree["data"] = xr.DataTree()
        tree.attrs["provenance"] = "{}"
        fit.provenance["versions"]["numpy"] = "0"
        fit.provenance.clear()
        overwrite(np.asarray(fit.model.mask))
        np.testing.assert_array_equal(fit.predict(u).values, predicted)
        assert fit.provenance == how
        assert pcb.load(fit.save(tmp_path / "fit.nc")).provenance == how

    def test_of_the_tree_it_was_made_of(self, fit):
        tree = fit.tree
        other = pcb.Fit(tree)
        overwrite(tree["parameters"]["W"].values)
        xr.testing.assert_identical(other.parameters, fit.parameters)

    def test_of_times_given_and_returned(self):
        fit = fitted((0.5, 1.0, 2.0))
        wanted = fit.predictions
        overwrite(fit.predict(fit.data)["time"].values)
        xr.testing.assert_identical(fit.predict(fit.data).drop_vars("time"),
                                    wanted.drop_vars(["role", "time"]))  # fmt: skip
        times = np.array([0.5, 1.0])
        x = fit.predict(fit.data, times=times)
        times[:] = 7.0
        np.testing.assert_array_equal(x["time"], [0.5, 1.0])

    def test_of_networks_and_truths(self):
        W = np.array([[0.0, 0.5], [-0.5, 0.0]])
        network = make_network(W, ["a", "b"])
        W[:] = 9.0
        for name in ("W", "alpha", "epsilon", "psi", "node_kind"):
            overwrite(getattr(network, name).values)
        for array in network.parameters.values():
            overwrite(array.values)
        np.testing.assert_array_equal(network.W, [[0.0, 0.5], [-0.5, 0.0]])
        assert float(network.alpha.min()) == 1.0
        assert set(network.node_kind.values) == {"protein"}
        data = pcb.simulate(network, 3, backend="numpy")
        for array in truth(data).values():
            overwrite(array.values)
        np.testing.assert_array_equal(data["true_W"], network.W)

    def test_of_splits(self):
        network = pcb.networks.demo_network()
        data = pcb.simulate(network, 10, times=[1.0, 2.0], backend="numpy")
        before = data.copy(deep=True)
        for part in pcb.splits.random(data, seed=0).apply(data):
            for array in part.variables.values():
                overwrite(array.values)
        xr.testing.assert_identical(data, before)

    def test_of_baselines(self):
        data = dataset(np.random.default_rng(3), times=(0.5, 1.0))
        baseline = MeanResponse().fit(data)
        for name in ("node_kind", "time"):
            overwrite(baseline.predict(data["perturbation"])[name].values)
            overwrite(data[name].values)
        again = baseline.predict(dataset(np.random.default_rng(3))["perturbation"])
        assert list(again["time"].values) == [0.5, 1.0]
        assert "drug" in again["node_kind"].values


class TestNoConditions:
    """An empty table of perturbations has an empty prediction."""

    @pytest.mark.parametrize(
        "solver",
        [pcb.Euler(0.1), pcb.Midpoint(0.1), pcb.Heun(0.1), pcb.RK4(0.1), pcb.Tsit5(),
         pcb.SteadyState()],
        ids=lambda s: type(s).__name__,
    )  # fmt: skip
    def test_is_predicted(self, fit, solver):
        empty = fit.data.isel(condition=[])
        asked = {"solver": solver, "backend": "numpy"}
        network = (fit.model, fit.parameters, empty["perturbation"])
        x = pcb.solve(*network, horizon=3.0, **asked)
        assert x.shape == (0, 7)
        assert list(x["node"].values) == list(NODES)
        if isinstance(solver, pcb.SteadyState):
            assert x["settled"].shape == x["residual"].shape == (0,)
            return
        assert pcb.solve(*network, times=[1.0, 2.0], **asked).shape == (0, 2, 7)

    @pytest.mark.parametrize("times", [None, (0.5, 1.0, 2.0)], ids=["steady", "courses"])
    def test_of_a_fit(self, times):
        fit = fitted(times)
        u = fit.data["perturbation"]
        for empty in (fit.data.isel(condition=[]), u[:0], u[:0].drop_vars("condition"),
                      u.transpose("node", "condition")[:, :0]):  # fmt: skip
            assert fit.predict(empty).shape == (0, *fit.predictions.shape[1:])
        assert fit.predict(u[:0], times=[1.0]).shape == (0, 1, 7)
        with pytest.raises(DataError, match="0 conditions"):
            fit.evaluate(fit.data.isel(condition=[]))

    def test_is_still_checked(self, fit):
        empty = fit.data["perturbation"][:0]
        with pytest.raises(DataError, match="lacks the node"):
            fit.predict(empty.isel(node=slice(1, None)))
        with pytest.raises(pcb.OptionError, match="backend='torch'"):
            fit.predict(empty, backend="torch")

    @pytest.mark.parametrize(
        "call",
        [
            lambda fit, empty: pcb.fit(empty, progress=False),
            lambda fit, empty: pcb.value_and_gradient(
                fit.model, fit.parameters, empty, solver=pcb.Heun(0.1), horizon=1.0
            ),
            lambda fit, empty: pcb.prune(fit, validation=empty),
            lambda fit, empty: MeanResponse().fit(empty),
            lambda fit, empty: pcb.splits.random(empty, seed=0),
            lambda fit, empty: pcb.plot.trajectories(empty),
            lambda fit, empty: pcb.plot.observed_against_predicted(
                fit.predict(empty), empty["response"]
            ),
            lambda fit, empty: pcb.simulate(
                make_network(np.zeros((7, 7)), NODES), empty["perturbation"], backend="numpy"
            ),
        ],
    )
    def test_is_refused_where_something_is_made_of_it(self, fit, call):
        pytest.importorskip("matplotlib", reason='pictures: pip install "pycellbox[plot]"')
        empty = fit.data.drop_vars("role").isel(condition=[])
        with pytest.raises(DataError):
            call(fit, empty)

    def test_has_no_score(self, fit):
        x, empty = fit.predict(fit.data.isel(condition=[])), fit.data["response"][:0]
        for score in (pcb.metrics.mse, pcb.metrics.mae, pcb.metrics.pearson):
            assert np.isnan(score(x, empty))
            assert np.isnan(score(x, empty, "node")).all()
            assert score(x, empty, "condition").shape == (0,)
        assert np.isnan(pcb.metrics.compare({"model": x}, empty).to_numpy()).all()


class TestOtherKindsOfData:
    """Steady states are not judged by time courses, nor the reverse."""

    @pytest.mark.parametrize("solver", [None, pcb.Heun(0.2), pcb.SteadyState()], ids=repr)
    def test_courses_for_a_fit_of_steady_states(self, solver):
        fit = fitted(solver=solver)
        courses = dataset(np.random.default_rng(1), times=(1.0, 2.0))
        with pytest.raises(DataError, match=r"time courses, and the fit is of steady states"):
            fit.evaluate(courses)
        last = courses.isel(time=-1, drop=True)
        assert fit.evaluate(last, baselines=False).table.shape[0] == 1
        x = fit.predict(courses, times=[1.0, 40.0])
        assert x.dims == ("condition", "time", "node")
        np.testing.assert_allclose(x[:, -1], fit.predict(courses), atol=1e-2)

    def test_a_role_in_the_data_to_evaluate_changes_nothing(self, fit):
        data = dataset(np.random.default_rng(1))
        named = data.assign_coords(role=("condition", ["mine"] * 12))
        plain, found = (fit.evaluate(d, baselines=False) for d in (data, named))
        assert found.table.equals(plain.table)
        xr.testing.assert_identical(found.by_condition, plain.by_condition)
        np.testing.assert_array_equal(fit.predict(named), fit.predict(data))

    def test_steady_states_for_a_fit_of_courses(self):
        fit = fitted(times=(0.5, 1.0))
        with pytest.raises(DataError, match=r"steady states, and the fit is of time courses"):
            fit.evaluate(dataset(np.random.default_rng(1)))

    def test_times_in_another_unit(self):
        fit = fitted(times=(0.5, 1.0))
        other = dataset(np.random.default_rng(1), times=(0.5, 1.0))
        other["time"].attrs["units"] = "fortnight"
        with pytest.raises(DataError, match=r"to evaluate have times .*'fortnight' is no unit"):
            fit.evaluate(other)
        later = other.assign_coords(condition=[f"v{i}" for i in range(12)])
        with pytest.raises(DataError, match=r"validation conditions have times .*'fortnight'"):
            pcb.fit(fit.data.drop_vars("role"), validation=later, progress=False)


class TestBackendOfAFit:
    """ "auto" means the fit's own wherever that is ready."""

    class Other(NumpyBackend):
        name = "other"

    @pytest.fixture
    def made(self, monkeypatch):
        monkeypatch.setitem(registry._BACKENDS, "other", registry._Entry(self.Other, str))
        model = pcb.CellBox(drug_columns="free")
        return fitted(validation=0.25, backend="other", model=model, solver=pcb.Heun(0.2))

    def test_is_taken(self, made, monkeypatch, recwarn):
        solved = []
        original = self.Other.solve
        monkeypatch.setattr(
            self.Other, "solve", lambda self, *a: solved.append(1) or original(self, *a)
        )
        made.predict(made.data, times=[1.0])
        assert len(solved) == 1
        assert pcb.prune(made, edges=[8], schedule=pcb.Stage(1)).path[1].backend == "other"
        made.predict(made.data, times=[1.0], backend="numpy")
        assert not [w for w in recwarn if issubclass(w.category, pcb.BackendWarning)]

    def test_is_replaced_with_a_word_where_it_is_missing(self, made, monkeypatch):
        def missing():
            raise pcb.BackendError("not installed.")

        data = made.data
        gone = registry._Entry(missing, str)
        for lost in (lambda: monkeypatch.setitem(registry._BACKENDS, "other", gone),
                     lambda: monkeypatch.delitem(registry._BACKENDS, "other")):  # fmt: skip
            lost()
            for call in (
                lambda: made.predict(data),
                lambda: made.evaluate(data, baselines=False),
                lambda: pcb.prune(made, edges=[8], schedule=pcb.Stage(1)),
                lambda: pcb.refine(made, iterations=1, rounds=1),
            ):
                with pytest.warns(pcb.BackendWarning, match=r"by the other backend.*by numpy") as w:
                    call()
                assert sum(issubclass(x.category, pcb.BackendWarning) for x in w) == 1
            with pytest.raises((pcb.BackendError, pcb.OptionError)):
                made.predict(data, backend="other")

    @pytest.mark.parametrize("asked", [{}, {"backend": "auto"}])
    def test_equations_are_refined_by_it_too(self, made, monkeypatch, recwarn, asked):
        steps = pcb.Stage(2, optimizer=pcb.LM())
        rough = pcb.fit(
            measured(), sir(), solver=pcb.RK4(1), schedule=steps, backend="other", progress=False
        )
        told = {"iterations": 2, **asked}
        assert pcb.refine(rough, **told).backend == "other"
        assert pcb.refine(rough, iterations=2, backend="numpy").backend == "numpy"
        assert not [w for w in recwarn if issubclass(w.category, pcb.BackendWarning)]
        monkeypatch.delitem(registry._BACKENDS, "other")
        with pytest.warns(pcb.BackendWarning, match=r"by the other backend.*by numpy") as warned:
            assert pcb.refine(rough, **told).backend == "numpy"
        assert sum(issubclass(w.category, pcb.BackendWarning) for w in warned) == 1
