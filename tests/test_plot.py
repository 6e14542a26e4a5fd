from __future__ import annotations

import inspect
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import plot
from pycellbox.networks import Network, demo_network
from pycellbox.plot.layout import circular_order, crossings

matplotlib = pytest.importorskip("matplotlib")

from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402
from matplotlib.patches import Polygon  # noqa: E402
from matplotlib.text import Text  # noqa: E402


def experiment(network: Network, times: list[float] | None = None) -> xr.Dataset:
    """Every drug alone and all pairs, with a little noise; the truth beside it."""
    nodes = list(network.nodes)
    sets = [c for k in (1, 2) for c in itertools.combinations(network.drugs, k)]
    u = xr.DataArray(
        [[-1.0 * (node in drugs) for node in nodes] for drugs in sets],
        dims=("condition", "node"),
        coords={
            "condition": ["+".join(drugs) for drugs in sets],
            "node": nodes,
            "node_kind": ("node", network.node_kind.values),
        },
    )
    clean = pcb.solve(
        pcb.CellBox(), network.parameters, u, solver=pcb.Heun(0.25), times=times,
        horizon=None if times else 10.0,
    )  # fmt: skip
    noise = np.random.default_rng(0).normal(0, 0.05, clean.shape)
    data = xr.Dataset({"perturbation": u, "response": clean + noise})
    if times:
        data["true_response"] = clean
        data["sigma"] = xr.full_like(clean, 0.05)
        data = data.assign_coords(time=("time", times, {"units": "h"}))
    return data


@pytest.fixture(scope="module")
def network() -> Network:
    return demo_network()


@pytest.fixture(scope="module")
def fit(network: Network) -> pcb.Fit:
    stages = [pcb.Stage(4, 0.02), pcb.Stage(3, 0.01)]
    data = experiment(network)
    return pcb.fit(data, schedule=stages, validation=0.3, solver=pcb.Heun(0.5), progress=False)


@pytest.fixture(scope="module")
def courses(network: Network) -> xr.Dataset:
    return experiment(network, times=[0.5, 1.0, 2.0, 4.0])


@pytest.fixture(scope="module")
def course_fit(courses: xr.Dataset) -> pcb.Fit:
    return pcb.fit(
        courses, schedule=pcb.Stage(2), solver=pcb.Heun(0.25), time_scale=1.0, progress=False
    )


def matrix(values: object, names: str | list[str] = "ABCDEFGH") -> xr.DataArray:
    array = np.asarray(values, dtype=float)
    labels = list(names)[: len(array)]
    return xr.DataArray(
        array, dims=("target", "source"), coords={"target": labels, "source": labels}
    )


def large_matrix(n: int = 60, prefix: str = "protein") -> xr.DataArray:
    W = np.random.default_rng(0).normal(size=(n, n))
    np.fill_diagonal(W, 0)
    return matrix(W, [f"{prefix}{i}" for i in range(n)])


def texts(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text))


def offsets(ax: matplotlib.axes.Axes, label: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xydata())


def by_gid(figure: Figure, gid: str) -> matplotlib.artist.Artist:
    (artist,) = figure.findobj(lambda a: a.get_gid() == gid)
    return artist


# ---- observed against predicted


def test_observed_against_predicted_shows_every_measured_entry_once(fit: pcb.Fit) -> None:
    observed = fit.data["response"].copy()
    observed[0, 0] = np.nan
    shuffled = fit.predictions.isel(node=slice(None, None, -1))
    figure = plot.observed_against_predicted(shuffled, observed, title="all of it")
    ax = figure.axes[0]
    kinds = {"proteins": 6, "phenotypes": 1, "drugs": 3}
    shown = {kind: offsets(ax, kind) for kind in kinds}
    conditions = observed.sizes["condition"]
    assert len(shown["proteins"]) == conditions * 6 - 1
    assert len(shown["phenotypes"]) == conditions
    assert len(shown["drugs"]) == conditions * 3
    viability = np.column_stack(
        [fit.predictions.sel(node="viability"), observed.sel(node="viability")]
    )
    np.testing.assert_array_equal(shown["phenotypes"], viability)
    written = texts(figure)
    assert f"Pearson {pcb.metrics.pearson(shuffled, observed):.3f}" in written
    assert "all of it" in written
    assert "log-ratio to the control" in ax.get_xlabel()
    assert "log-ratio to the control" in ax.get_ylabel()


def test_observed_against_predicted_takes_time_courses(courses: xr.Dataset) -> None:
    figure = plot.observed_against_predicted(
        courses["true_response"].transpose("node", "time", "condition"), courses["response"]
    )
    assert len(offsets(figure.axes[0], "drugs")) == 4 * 3 * courses.sizes["condition"]


def test_observed_against_predicted_names_what_does_not_fit(fit: pcb.Fit) -> None:
    observed = fit.data["response"]
    with pytest.raises(pcb.DataError, match="differ in 1 label"):
        plot.observed_against_predicted(fit.predictions.isel(node=slice(1, None)), observed)
    with pytest.raises(pcb.DataError, match="nothing was measured"):
        plot.observed_against_predicted(fit.predictions, observed * np.nan)


def test_a_fit_is_judged_on_its_own_conditions_or_on_others(
    fit: pcb.Fit, course_fit: pcb.Fit
) -> None:
    for one, data in ((fit, fit.data), (course_fit, course_fit.data)):
        others = data.isel(condition=[2, 0])
        expected = plot.observed_against_predicted(one.predictions, data).axes[0]
        for figure in (
            plot.observed_against_predicted(one),
            plot.observed_against_predicted(one, data.isel(condition=slice(None, None, -1))),
        ):
            ours = offsets(figure.axes[0], "proteins")
            np.testing.assert_allclose(
                np.sort(ours, axis=0), np.sort(offsets(expected, "proteins"), axis=0)
            )
        some = offsets(plot.observed_against_predicted(one, others).axes[0], "proteins")
        assert len(some) == len(ours) * 2 // data.sizes["condition"]


def test_predictions_need_the_measured_responses(fit: pcb.Fit, course_fit: pcb.Fit) -> None:
    for data in (None, fit.data["perturbation"].values, "x", fit.data[["perturbation"]]):
        with pytest.raises(pcb.OptionError, match="needs the measured responses"):
            plot.observed_against_predicted(fit.predictions, data)
    with pytest.raises(pcb.OptionError, match=r"fit=.*; it needs a Fit, predicted responses"):
        plot.observed_against_predicted("fit", fit.data)
    with pytest.raises(pcb.OptionError, match=r"data=.*; it needs an xarray.Dataset"):
        plot.observed_against_predicted(fit, fit.data["response"])
    with pytest.raises(pcb.DataError, match="time courses, and the fit is of steady states"):
        plot.observed_against_predicted(fit, course_fit.data)


def test_responses_without_labels_still_have_a_unit() -> None:
    coords = {"condition": ["a", "b"], "node": ["x", "y"]}
    values = xr.DataArray(np.eye(2), dims=("condition", "node"), coords=coords)
    figure = plot.observed_against_predicted(values, values)
    assert figure.axes[0].get_xlabel() == "predicted response, log-ratio to the control"


# ---- loss history


def history(stages: list[int], loss: list[float] | None = None) -> xr.Dataset:
    n = len(stages)
    loss = loss or list(np.geomspace(1, 0.1, n))
    return xr.Dataset(
        {
            "loss": ("iteration", loss),
            "validation_loss": ("iteration", np.full(n, np.nan)),
            "stage": ("iteration", stages),
        },
        coords={"iteration": range(n)},
    )


def test_loss_history_shows_both_losses_and_the_stages(fit: pcb.Fit) -> None:
    figure = plot.loss_history(fit)
    ax = figure.axes[0]
    np.testing.assert_allclose(offsets(ax, "training")[:, 1], fit.history["loss"])
    np.testing.assert_allclose(offsets(ax, "validation")[:, 1], fit.history["validation_loss"])
    assert ax.get_yscale() == "log"
    assert {"stage 0", "stage 1"} <= set(texts(figure).splitlines())
    assert "stage 2" not in texts(figure)
    assert len(plot.loss_history(fit.history).axes) == 1


def test_a_single_stage_is_not_named() -> None:
    assert "stage" not in texts(plot.loss_history(history([0] * 5)))


def test_stages_too_short_for_a_name_are_marked_without_one() -> None:
    figure = plot.loss_history(history([*range(60), *[60] * 40]))
    written = texts(figure).splitlines()
    assert "stage 60" in written
    assert not {f"stage {k}" for k in range(60)} & set(written)
    assert sum(line.get_linestyle() == ":" for line in figure.axes[0].lines) == 60


def test_a_loss_of_zero_has_a_linear_scale() -> None:
    assert plot.loss_history(history([0, 0], [1.0, 0.0])).axes[0].get_yscale() == "linear"


def test_loss_history_needs_an_iteration(fit: pcb.Fit) -> None:
    with pytest.raises(pcb.DataError, match="no iteration"):
        plot.loss_history(fit.history.isel(iteration=slice(0)))


# ---- interactions


def test_interactions_beside_the_truth_share_scale_and_order(
    fit: pcb.Fit, network: Network
) -> None:
    truth = network.W.isel(target=slice(None, None, -1)).transpose("source", "target")
    figure = plot.interactions(fit, truth, difference=True)
    true, fitted, difference = (ax.images[0] for ax in figure.axes[:3])
    W = fit.parameters["W"]
    np.testing.assert_array_equal(true.get_array(), network.W)
    np.testing.assert_array_equal(fitted.get_array(), W)
    np.testing.assert_array_equal(difference.get_array(), W.values - network.W.values)
    assert [ax.get_title() for ax in figure.axes[:3]] == ["true", "fitted", "fitted − true"]
    assert true.get_clim() == fitted.get_clim() == difference.get_clim()
    low, high = fitted.get_clim()
    assert low == -high  # zero is in the middle of the colors
    assert high >= np.abs(network.W).max()
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(network.nodes)
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == list(network.nodes)
    assert {"source node", "target node"} <= set(texts(figure).splitlines())
    # Two panels and the bar of colors.
    assert len(plot.interactions(fit, truth).axes) == 3


@pytest.mark.slow
@pytest.mark.parametrize("n", [40, 60, 100])
def test_names_in_heat_maps_never_overlap(n: int) -> None:
    W = large_matrix(n, prefix="phosphoprotein")
    figure = plot.interactions(W)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    for labels, side in ((ax.get_yticklabels(), "y"), (ax.get_xticklabels(), "x")):
        assert len(labels) == (n if n <= 40 else np.ceil(n / 2))
        assert labels[1].get_text().endswith("1" if n <= 40 else "2")
        boxes = [label.get_window_extent() for label in labels]
        ends = sorted((getattr(b, f"{side}0"), getattr(b, f"{side}1")) for b in boxes)
        assert all(low >= high for (_, high), (low, _) in itertools.pairwise(ends))


@pytest.mark.filterwarnings(
    "ignore:conditions with the same perturbation differ:pycellbox.DataWarning"
)
def test_blocks_of_kinds_are_named_in_large_fits() -> None:
    n = 45
    kinds = ["protein"] * 39 + ["phenotype"] * 2 + ["drug"] * 4
    rng = np.random.default_rng(0)
    u = np.zeros((6, n))
    u[np.arange(6), 39 + 2 + np.arange(6) % 4] = -1
    nodes = [f"n{i}" for i in range(n)]
    data = xr.Dataset(
        {
            "perturbation": (("condition", "node"), u),
            "response": (("condition", "node"), rng.normal(size=(6, n))),
        },
        coords={"condition": list("abcdef"), "node": nodes, "node_kind": ("node", kinds)},
    )
    fit = pcb.fit(data, schedule=pcb.Stage(1), solver=pcb.Euler(0.5), progress=False)
    figure = plot.interactions(fit)
    assert {"proteins", "phenotypes", "drugs"} <= set(texts(figure).splitlines())
    ax = figure.axes[0]
    assert {line.get_ydata()[0] for line in ax.lines} >= {38.5, 40.5}


def test_interactions_of_zero_can_be_drawn(network: Network) -> None:
    plot.interactions(network.W * 0).draw_without_rendering()


def test_interactions_need_a_finite_matrix(fit: pcb.Fit, network: Network) -> None:
    with pytest.raises(pcb.DataError, match=r"target, source.*\('node',\) was given"):
        plot.interactions(fit.parameters["alpha"])
    with pytest.raises(pcb.DataError, match="differ in 1 label"):
        plot.interactions(network.W, network.W.isel(target=slice(1, None)))
    with pytest.raises(pcb.DataError, match="NaN or infinite, the first that of 'B' on 'A'"):
        plot.interactions(matrix([[0, np.nan], [np.inf, 0]]))


# ---- recovery


def test_fitted_against_true_shows_only_free_entries(fit: pcb.Fit, network: Network) -> None:
    figure = plot.fitted_against_true(fit, network.W, mask=network.mask)
    ax = figure.axes[0]
    edges = offsets(ax, "true interaction")
    others = offsets(ax, "no true interaction")
    assert len(edges) == 13
    assert len(edges) + len(others) == int(network.mask.sum())
    assert set(edges[:, 0]) == set(network.W.values[network.W.values != 0])
    score = pcb.metrics.recovery(fit.parameters["W"], network.W, mask=network.mask)
    assert f"Pearson {score['pearson']:.3f}" in texts(figure)
    # Without a mask the diagonal alone is left out.
    figure = plot.fitted_against_true(fit, network.W)
    assert sum(len(line.get_xdata()) for line in figure.axes[0].lines[2:]) == 90
    with pytest.raises(pcb.DataError, match="mask allows no interaction"):
        plot.fitted_against_true(fit, network.W, mask=network.mask & False)


@pytest.mark.parametrize("decimals", [1, 12])  # with and without ties
def test_precision_and_recall_agree_with_scikit_learn(decimals: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    truth = matrix(rng.normal(size=(8, 8)) * (rng.random((8, 8)) < 0.3))
    W = (0.3 * truth + rng.normal(0, 0.3, (8, 8))).round(decimals)
    free = ~np.eye(8, dtype=bool)
    edge, strength = truth.values[free] != 0, np.abs(W.values[free])

    # By label: the order of the matrices does not matter.
    figure = plot.precision_recall(W.isel(source=slice(None, None, -1)).T, truth)
    line, chance = figure.axes[0].lines
    area = sklearn.average_precision_score(edge, strength)
    assert line.get_label() == f"fitted: area {area:.3f}"
    assert chance.get_label() == f"chance: {edge.mean():.3f}"
    assert set(chance.get_ydata()) == {edge.mean()}
    recall, precision = np.asarray(line.get_xydata()).T
    assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(area, abs=1e-12)
    assert line.get_drawstyle() == "steps-pre"  # the area is that under the line drawn
    theirs = sklearn.precision_recall_curve(edge, strength)
    points = {(round(r, 9), round(p, 9)) for p, r in zip(*theirs[:2], strict=True)}
    ours = list(zip(recall.round(9), precision.round(9), strict=True))
    assert set(ours[1:]) <= points
    assert recall[-1] == 1


def test_several_fits_share_one_picture_of_precision_and_recall() -> None:
    truth = matrix([[0, 1, 0], [0, 0, -1], [0, 0, 0]])
    figure = plot.precision_recall({"perfect": truth, "constant": truth * 0 + 1}, truth)
    perfect, constant, _ = figure.axes[0].lines
    assert perfect.get_label() == "perfect: area 1.000"
    assert constant.get_label() == "constant: area 0.333"  # all are tied: no better than chance
    assert perfect.get_color() != constant.get_color()
    assert perfect.get_linestyle() != constant.get_linestyle()


def test_precision_and_recall_count_only_what_the_mask_allows() -> None:
    truth = matrix([[0, 1, 0], [0, 0, -1], [0, 0, 0]])
    W = matrix([[0, 1, 9], [0, 0, -1], [0, 0, 0]])
    mask = matrix([[0, 1, 0], [1, 0, 1], [1, 0, 0]]).astype(bool)
    figure = plot.precision_recall(W, truth, mask=mask)
    labels = [line.get_label() for line in figure.axes[0].lines]
    assert labels == ["fitted: area 1.000", "chance: 0.500"]


def test_precision_and_recall_need_something_to_find() -> None:
    truth = matrix([[0, 1], [0, 0]])
    with pytest.raises(pcb.DataError, match="no interaction where one may exist"):
        plot.precision_recall(truth, truth * 0)
    with pytest.raises(pcb.DataError, match="fit is empty"):
        plot.precision_recall({}, truth)
    with pytest.raises(pcb.DataError, match="differ in 2 label"):
        plot.precision_recall(truth, truth.assign_coords(target=["A", "Z"]))


# ---- trajectories


def errorbars(ax: matplotlib.axes.Axes) -> dict[str, tuple[np.ndarray, bool]]:
    return {c.get_label(): (np.asarray(c.lines[0].get_xydata()), c.has_yerr) for c in ax.containers}


def test_trajectories_show_measurements_truth_and_fit(
    courses: xr.Dataset, course_fit: pcb.Fit
) -> None:
    data = courses.copy(deep=True)
    data["response"].loc["aMEK", 1.0, "MEK"] = np.nan
    figure = plot.trajectories(course_fit, data, conditions=["aMEK", "aAKT"], nodes=["MEK", "RAF"])
    assert [ax.get_title() for ax in figure.axes] == ["aMEK", "aAKT"]
    ax = figure.axes[0]
    points, has_bars = errorbars(ax)["MEK"]
    seen = data["response"].sel(condition="aMEK", node="MEK").dropna("time")
    np.testing.assert_array_equal(points, np.column_stack([seen["time"], seen]))
    assert len(points) == 3
    assert has_bars
    bar = ax.containers[0].lines[2][0].get_segments()[0]
    np.testing.assert_allclose(np.ptp(bar[:, 1]), 0.1)  # from −σ to σ

    color = ax.containers[0].lines[0].get_color()
    dashed = [line for line in ax.lines if line.is_dashed() and line.get_color() == color]
    truth = courses["true_response"].sel(condition="aMEK", node="MEK")
    np.testing.assert_array_equal(dashed[0].get_xydata(), np.column_stack([truth["time"], truth]))
    own = [line for line in ax.lines if line.get_color() == color]
    solid = max(own, key=lambda line: len(line.get_xdata()))
    at = np.asarray(solid.get_xdata())
    assert len(at) >= 200
    assert (at[0], at[-1]) == (0, 4)
    predicted = course_fit.predict(data["perturbation"].sel(condition=["aMEK"]), times=at)
    np.testing.assert_allclose(solid.get_ydata(), predicted.sel(node="MEK").values[0])
    written = texts(figure)
    assert "time since the perturbation (h)" in written
    assert {"MEK", "RAF", "measured ± σ", "fit", "truth"} <= set(written.splitlines())


@pytest.mark.slow
def test_trajectories_take_predictions_in_place_of_a_fit(courses: xr.Dataset) -> None:
    data = courses.drop_vars(["true_response", "sigma"])
    line = courses["true_response"].transpose("node", "time", "condition")
    figure = plot.trajectories(line, data, truth=line.isel(time=[0, 3]), nodes="MEK")
    ax = figure.axes[0]
    lengths = sorted(len(one.get_xdata()) for one in ax.lines if len(one.get_xdata()) != 4)
    assert lengths == [2, 2]  # the line of zero, and the truth at two times
    assert not errorbars(ax)["MEK"][1]
    assert {"measured", "prediction", "truth"} <= set(texts(figure).splitlines())


def test_a_fit_alone_is_drawn_with_its_own_data(courses: xr.Dataset, course_fit: pcb.Fit) -> None:
    some = {"conditions": ["aMEK", "aAKT"], "nodes": ["MEK"]}
    alone, both = (
        plot.trajectories(*args, **some) for args in ((course_fit,), (course_fit, courses))
    )
    for one, other in zip(alone.axes, both.axes, strict=True):
        assert [line.get_xydata().tolist() for line in one.lines] == [
            line.get_xydata().tolist() for line in other.lines
        ]
    assert "fit" not in texts(plot.trajectories(courses, **some)).splitlines()


def with_ends(center: xr.DataArray, half: float, name: str = "response") -> xr.Dataset:
    ends = {name: center, "lower": center - half, "upper": center + half}
    return xr.Dataset(ends, attrs={"interval": 0.9})


@pytest.mark.parametrize("name", ["response", "mean"])
def test_trajectories_draw_bands_of_predictions(courses: xr.Dataset, name: str) -> None:
    line = courses["true_response"]
    given = with_ends(line, 0.25, name)
    given["upper"] = given["upper"].where(given["time"] < 4, np.inf)
    figure = plot.trajectories(given, courses, conditions=["aMEK"], nodes=["MEK"])
    ax = figure.axes[0]
    (band,) = ax.collections[:1]
    corners = band.get_paths()[0].vertices
    one = line.sel(condition="aMEK", node="MEK").values
    for at, low, high in zip(line["time"].values[:-1], one - 0.25, one + 0.25, strict=False):
        drawn = corners[corners[:, 0] == at, 1]
        np.testing.assert_allclose([drawn.min(), drawn.max()], [low, high])
    low, high = ax.get_ylim()
    shown = np.concatenate([one, courses["response"].sel(condition="aMEK", node="MEK")])
    assert np.ptp(shown) < high - low < 4 * np.ptp(shown) + 1  # what is infinite is cut off
    assert corners[:, 1].max() > high
    assert "90 % interval" in texts(figure).splitlines()


def test_observed_against_predicted_draws_bars(fit: pcb.Fit) -> None:
    given, observed = with_ends(fit.predictions, 0.25), fit.data["response"]
    ax = plot.observed_against_predicted(given, observed).axes[0]
    bars = np.concatenate([np.array(each.get_segments()) for each in ax.collections])
    seen = observed.values[np.isfinite(observed.values)]
    np.testing.assert_array_equal(np.sort(bars[:, 0, 1]), np.sort(seen))
    np.testing.assert_allclose(np.ptp(bars[:, :, 0], axis=1), 0.5)
    assert "90 % interval" in texts(ax.figure)


@pytest.mark.parametrize("draw", [plot.trajectories, plot.observed_against_predicted])
def test_intervals_are_asked_of_fits(courses: xr.Dataset, draw: Callable[..., Figure]) -> None:
    with pytest.raises(pcb.OptionError, match="goes with a fit"):
        draw(courses["true_response"], courses, interval=0.9)
    with pytest.raises(pcb.OptionError, match="interval=9"):
        draw(courses["true_response"], courses, interval=9)


def test_trajectories_choose_and_say_what_they_show(courses: xr.Dataset) -> None:
    many = xr.concat(
        [courses.assign_coords(condition=courses["condition"].str.cat(f" {i}")) for i in range(3)],
        dim="condition", data_vars="minimal", coords="minimal", compat="override",
    )  # fmt: skip
    figure = plot.trajectories(many)
    assert "12 of 18 conditions, the 7 of 10 nodes that respond most" in texts(figure)
    assert len(figure.axes) == 12
    # The drugs themselves come last.
    assert list(errorbars(figure.axes[0])) == list(courses["node"].values[:7])
    quiet = plot.trajectories(courses, conditions=["aMEK"], nodes=["RAF"])
    assert " of " not in texts(quiet)


def test_every_node_has_a_color_and_a_marker_of_its_own(courses: xr.Dataset) -> None:
    figure = plot.trajectories(courses, conditions=["aMEK"])
    dots = [c.lines[0] for c in figure.axes[0].containers]
    assert len({dot.get_color() for dot in dots}) == len(dots) == 7
    assert len({dot.get_marker() for dot in dots}) == 7


def test_trajectories_name_what_does_not_fit(
    courses: xr.Dataset, course_fit: pcb.Fit, fit: pcb.Fit
) -> None:
    clean = courses["true_response"]
    with pytest.raises(pcb.DataError, match="steady states"):
        plot.trajectories(fit.data)
    with pytest.raises(pcb.DataError, match="data is given twice"):
        plot.trajectories(courses, courses)
    with pytest.raises(pcb.DataError, match="steady states"):
        plot.trajectories(fit)
    with pytest.raises(pcb.OptionError, match=r"data=.*; it needs an xarray.Dataset"):
        plot.trajectories(clean)
    with pytest.raises(pcb.OptionError, match=r"fit=.*; it needs a Fit, a DataArray"):
        plot.trajectories("fit", courses)
    with pytest.raises(pcb.DataError, match="there is no node 'TP53'"):
        plot.trajectories(courses, nodes=["MEK", "TP53"])
    with pytest.raises(pcb.DataError, match="there is no condition 'none'"):
        plot.trajectories(courses, conditions=["none"])
    with pytest.raises(pcb.DataError, match="no node is left"):
        plot.trajectories(courses, nodes=[])
    with pytest.raises(pcb.DataError, match="8 nodes are asked for"):
        plot.trajectories(courses, nodes=list(courses["node"].values[:8]))
    with pytest.raises(pcb.DataError, match="truth lacks the condition 'aMEK'"):
        plot.trajectories(courses, truth=clean.isel(condition=slice(1, None)))
    with pytest.raises(pcb.DataError, match=r"fit has dims .* needs labelled dims"):
        plot.trajectories(clean.isel(time=0), courses)


# ---- network


def test_signs_are_told_by_head_line_and_color(network: Network) -> None:
    figure = plot.network(network.W)
    assert isinstance(by_gid(figure, "MEK activates ERK: arrow"), Polygon)
    assert isinstance(by_gid(figure, "ERK inhibits RAF: bar"), Line2D)
    activates, inhibits = by_gid(figure, "MEK activates ERK"), by_gid(figure, "ERK inhibits RAF")
    assert not activates.is_dashed()
    assert inhibits.is_dashed()
    assert activates.get_color() != inhibits.get_color()
    heads = figure.findobj(lambda a: str(a.get_gid()).endswith((": arrow", ": bar")))
    assert len([h for h in heads if "key" not in h.get_gid()]) == 13
    widths = {
        w: by_gid(figure, f"{source} activates {target}").get_linewidth()
        for source, target in (("MEK", "ERK"), ("RAF", "MEK"), ("ERK", "mTOR"))
        for w in [float(network.W.sel(source=source, target=target))]
    }
    assert sorted(widths.values()) == [widths[w] for w in sorted(widths)]
    assert figure.axes[0].get_title() == "13 interactions"
    assert {"activates (w > 0)", "inhibits (w < 0)"} <= set(texts(figure).splitlines())


def center(figure: Figure, node: str) -> np.ndarray:
    path = by_gid(figure, node)
    return path.get_patch_transform().transform(path.get_path().vertices)[:-1].mean(axis=0)


def paths(figure: Figure) -> dict[tuple[str, str], np.ndarray]:
    words = {line: str(line.get_gid()).split() for line in figure.axes[0].lines}
    return {
        (w[0], w[2]): np.asarray(line.get_xydata())
        for line, w in words.items()
        if len(w) == 3  # "MEK activates ERK"
    }


@pytest.mark.parametrize("n", [6, 12, 25, 40])
def test_edges_go_from_source_to_target_and_touch_no_other_node(n: int) -> None:
    W = large_matrix(n, prefix="n")
    figure = plot.network(W, top=2 * n)
    at = {node: center(figure, node) for node in W["target"].values}
    edges = paths(figure)
    assert len(edges) == 2 * n
    for (source, target), path in edges.items():
        assert np.hypot(*(path[0] - at[source]).T) < 0.12
        assert np.hypot(*(path[-1] - at[target]).T) < 0.2  # the head is longer than the gap
        for other in set(at) - {source, target}:
            clear = np.hypot(*(path - at[other]).T).min()
            assert clear > 0.9 * 0.2 * 2 * np.pi / n or clear > 0.085, (source, target, other)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "prefix"), [(10, "n"), (14, "receptor"), (35, "phosphoprotein")])
def test_names_stand_outside_the_circle_and_inside_the_picture(n: int, prefix: str) -> None:
    figure = plot.network(large_matrix(n, prefix), top=2 * n)
    figure.draw_without_rendering()
    ax = figure.axes[0]
    names = {t.get_text(): t.get_window_extent().padded(-2) for t in ax.texts}
    assert len(names) == n
    nodes = [by_gid(figure, name).get_window_extent() for name in names]
    frame = ax.get_window_extent().padded(2)
    for name, box in names.items():
        assert not any(box.overlaps(node) for node in nodes), name
        assert frame.contains(box.x0, box.y0), name
        assert frame.contains(box.x1, box.y1), name


def test_a_node_that_acts_on_itself_has_a_loop() -> None:
    figure = plot.network(matrix([[-1, 0.5], [0, 0]]))
    loop = paths(figure)["A", "A"]
    radius = np.hypot(*loop.T)
    assert radius.max() > 1.1  # outside the circle of the nodes
    assert np.hypot(*(loop[0] - loop[-1])) < 0.15
    assert isinstance(by_gid(figure, "A inhibits A: bar"), Line2D)


def test_the_strongest_edges_are_chosen_and_the_title_says_so(network: Network) -> None:
    top = plot.network(network.W, top=4)
    strongest = np.sort(np.abs(network.W.values[network.W.values != 0]))[-4:]
    drawn = [abs(float(network.W.sel(source=s, target=t))) for s, t in paths(top)]
    np.testing.assert_allclose(sorted(drawn), strongest)
    expected = f"the 4 strongest of 13 interactions: |w|\u00a0≥\u00a0{strongest[0]:.2g}"
    assert top.axes[0].get_title() == expected
    some = plot.network(network.W, threshold=1.0)
    number = int((np.abs(network.W) >= 1).sum())
    assert len(paths(some)) == number
    assert some.axes[0].get_title() == f"{number} of 13 interactions: |w|\u00a0≥\u00a01"
    assert len(paths(plot.network(network.W, threshold=1.0, top=2))) == 2


@pytest.mark.slow
def test_in_large_networks_unlinked_nodes_are_left_out() -> None:
    W = large_matrix(60)
    figure = plot.network(W)
    assert len(paths(figure)) == 60
    linked = {node for edge in paths(figure) for node in edge}
    assert f"{len(linked)} of 60 nodes" in figure.axes[0].get_title()
    names = set(texts(figure).splitlines()) & set(W["target"].values)
    assert names == linked


def test_nodes_have_the_shape_of_their_kind(fit: pcb.Fit, network: Network) -> None:
    kinds = dict(zip(network.nodes, network.node_kind.values, strict=True))
    with_coordinate = network.W.assign_coords(node_kind=("target", list(kinds.values())))
    for figure in (
        plot.network(fit),
        plot.network(network.W, node_kind=kinds),
        plot.network(network.W, node_kind=network.node_kind),
        plot.network(with_coordinate.isel(source=slice(None, None, -1))),
    ):
        corners = {node: len(by_gid(figure, node).get_path().vertices) for node in kinds}
        assert corners["aMEK"] == 5  # a square, closed
        assert corners["viability"] == 4
        assert corners["MEK"] > 5
        assert {"proteins", "phenotypes", "drugs"} <= set(texts(figure).splitlines())
    assert "proteins" not in texts(plot.network(network.W))


def test_networks_without_edges_or_with_one_node_can_be_drawn() -> None:
    none = plot.network(matrix(np.zeros((3, 3))))
    none.draw_without_rendering()
    assert none.axes[0].get_title() == "0 interactions"
    assert len(paths(plot.network(matrix([[1.0]])))) == 1
    assert len(paths(plot.network(matrix([[0, 1.0], [-1, 0]])))) == 2


def test_networks_name_what_does_not_fit(network: Network) -> None:
    with pytest.raises(pcb.DataError, match="same nodes as targets and as sources"):
        plot.network(network.W.isel(source=slice(1, None)))
    with pytest.raises(pcb.OptionError, match=r"top=0; it needs an integer ≥ 1"):
        plot.network(network.W, top=0)
    with pytest.raises(pcb.OptionError, match=r"threshold=-1; it needs a finite number ≥ 0"):
        plot.network(network.W, threshold=-1)
    with pytest.raises(pcb.DataError, match="unknown node_kind 'gene'"):
        plot.network(network.W, node_kind=["gene"] * 10)
    with pytest.raises(pcb.DataError, match="no kind for"):
        plot.network(network.W, node_kind={"MEK": "protein"})


def test_a_ring_is_laid_out_without_crossings() -> None:
    shuffled = np.random.default_rng(0).permutation(12)
    ring = np.column_stack([shuffled, np.roll(shuffled, 1)])
    assert crossings(list(range(12)), ring) > 0
    order = circular_order(12, ring)
    assert sorted(order) == list(range(12))
    assert crossings(order, ring) == 0


def test_layout_crosses_less_than_the_given_order_and_is_the_same_each_time() -> None:
    edges = np.random.default_rng(0).integers(20, size=(30, 2))
    order = circular_order(20, edges)
    assert crossings(order, edges) < 0.4 * crossings(list(range(20)), edges)
    assert circular_order(20, edges[::-1]) == order


def test_crossings_are_counted_by_hand() -> None:
    square = [(0, 2), (1, 3)]
    assert crossings([0, 1, 2, 3], square) == 1
    assert crossings([0, 2, 1, 3], square) == 0
    assert crossings([0, 1, 2, 3], [(0, 1), (0, 2), (0, 3)]) == 0  # one end in common


# ---- what holds for all


@pytest.fixture(scope="module")
def pictures(
    fit: pcb.Fit, network: Network, courses: xr.Dataset, course_fit: pcb.Fit
) -> dict[str, Callable[..., Figure]]:
    observed = fit.data["response"]
    return {
        "agreement": lambda **k: plot.observed_against_predicted(fit.predictions, observed, **k),
        "loss": lambda **k: plot.loss_history(fit, **k),
        "recovery": lambda **k: plot.fitted_against_true(fit, network.W, **k),
        "precision": lambda **k: plot.precision_recall({"a": fit, "b": network.W}, network.W, **k),
        "network": lambda **k: plot.network(fit, top=15, **k),
        "interactions": lambda **k: plot.interactions(fit, network.W, **k),
        "trajectories": lambda **k: plot.trajectories(
            course_fit, courses, conditions=["aMEK", "aMEK+aAKT"], **k
        ),
        "treated": lambda **k: plot.trajectories(
            pcb.regimen(
                courses,
                pcb.pretreat("aMEK"),
                pcb.pulse("aAKT", "1 h", "2 h"),
                pcb.knockout("ERK", conditions="aMEK"),
            ),
            conditions=["aMEK", "aMEK+aAKT"],
            **k,
        ),
    }


AXES_ONLY = ("agreement", "loss", "recovery", "precision", "network")
NAMES = (
    "agreement", "loss", "recovery", "precision", "network", "interactions", "trajectories",
    "treated",
)  # fmt: skip


OF_ANOTHER = {"profile"}  # which is drawn from a result that names its fit
PICTURES = sorted(set(plot.__all__) - {"require_matplotlib", "save_figure"} - OF_ANOTHER)


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_takes_a_fit_first_and_last_where_to_draw(name: str) -> None:
    signature = inspect.signature(getattr(plot, name))
    first, *others, last = signature.parameters.values()
    assert first.name == "fit"
    assert "Fit" in first.annotation or "Interactions" in first.annotation
    assert (last.name, last.default, last.kind) in (
        ("ax", None, inspect.Parameter.KEYWORD_ONLY),
        ("figure", None, inspect.Parameter.KEYWORD_ONLY),
    )
    # At most one more is given by place: what the fit is compared with.
    assert {p.name for p in others if p.kind is not p.KEYWORD_ONLY} <= {"data", "truth"}
    assert signature.return_annotation == "Figure"


def shown_texts(figure: Figure) -> list[Text]:
    figure.draw_without_rendering()
    beyond = [  # ticks outside the limits keep their text and are not drawn
        label
        for ax in figure.axes
        for axis in (ax.xaxis, ax.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    shown = [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in beyond
    ]
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in shown]
    for (first, a), (second, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), (first, second)
    assert min(t.get_fontsize() for t in shown) >= 6.5
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_texts_overlap_nowhere_and_are_large_enough(
    pictures: dict[str, Callable[..., Figure]], name: str
) -> None:
    assert len(shown_texts(pictures[name]())) > 8


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_texts_have_room_in_a_small_place_too(
    pictures: dict[str, Callable[..., Figure]], name: str
) -> None:
    whole = Figure(figsize=(6.4, 2.6), layout="constrained")
    if name in AXES_ONLY:
        pictures[name](ax=whole.subplots(1, 3)[1])
    else:
        pictures[name](figure=whole.subfigures(1, 2)[1])
    boxes = [text.get_window_extent() for text in shown_texts(whole)]
    assert len(boxes) > 8
    inside = whole.bbox.padded(1)
    assert all(inside.contains(*corner) for box in boxes for corner in (box.min, box.max))


@pytest.mark.parametrize("size", [1.6, 2.5, 4.0, 7.0])
def test_a_network_stays_inside_the_axes_given(size: float) -> None:
    figure = Figure(figsize=(3 * size, 3 * size))
    ax = figure.add_axes((1 / 3, 1 / 3, 1 / 3, 1 / 3))
    plot.network(large_matrix(60, "phosphoprotein"), ax=ax)
    figure.draw_without_rendering()
    drawn = [text.get_window_extent() for text in (*ax.texts, ax.title)]
    assert len(drawn) > 8
    frame = ax.get_window_extent().padded(2)
    assert all(frame.contains(*corner) for box in drawn for corner in (box.min, box.max))
    assert "strongest of" in ax.get_title()
    *names, title = drawn
    assert not any(title.overlaps(name.padded(-2)) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_pictures_have_one_style_and_leave_matplotlib_as_it_was(
    pictures: dict[str, Callable[..., Figure]], name: str
) -> None:
    expected = pictures[name]()
    with matplotlib.rc_context({"font.size": 20, "xtick.labelsize": 20, "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        figure = pictures[name]()
        figure.draw_without_rendering()
        assert dict(matplotlib.rcParams) == before
    expected.draw_without_rendering()
    sizes = [[t.get_fontsize() for t in f.findobj(Text)] for f in (figure, expected)]
    assert sizes[0] == sizes[1]
    assert {ax.get_facecolor() for ax in figure.axes} == {(1.0, 1.0, 1.0, 1.0)}
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


@pytest.fixture
def plt() -> Iterator[ModuleType]:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    yield pyplot
    pyplot.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("name", AXES_ONLY)
def test_pictures_of_one_axes_can_be_part_of_another_figure(
    pictures: dict[str, Callable[..., Figure]], name: str, plt: ModuleType
) -> None:
    whole = plt.figure()
    left, right = whole.subfigures(1, 2)
    ax = left.add_subplot()
    current = right.add_subplot()
    state = plt.get_fignums(), dict(matplotlib.rcParams)
    assert pictures[name](ax=ax) is whole
    assert (plt.get_fignums(), dict(matplotlib.rcParams)) == state
    assert plt.gca() is current
    assert len(whole.axes) == 2
    assert ax.lines
    whole.draw_without_rendering()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "layout"), [(False, None), (False, "tight"), (True, None), (True, "constrained")]
)
@pytest.mark.parametrize("name", ["interactions", "trajectories"])
def test_pictures_of_several_panels_can_be_part_of_another_figure(
    pictures: dict[str, Callable[..., Figure]],
    name: str,
    part: bool,
    layout: str | None,
    plt: ModuleType,
) -> None:
    with matplotlib.rc_context({"axes.facecolor": "lavender"}):
        whole = plt.figure(figsize=(9, 3), layout=layout)
        left, place = whole.subfigures(1, 2) if part else (None, whole)
        own = left.add_subplot() if part else None
        numbers = plt.get_fignums()
        before = dict(matplotlib.rcParams)
        assert pictures[name](figure=place) is whole
        assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == numbers
    if part:
        assert plt.gca() is own  # what pyplot draws into is still the caller's
        assert left.axes == [own]
    whole.draw_without_rendering()
    assert [ax for ax in whole.axes if ax is not own] == place.axes
    panels = [ax for ax in place.axes if ax.get_label() != "<colorbar>"]
    assert len(panels) == 2
    assert {ax.get_facecolor() for ax in panels} == {matplotlib.colors.to_rgba("lavender")}
    for ax in place.axes:
        box = ax.get_tightbbox()
        assert place.bbox.padded(1).contains(*box.min)
        assert place.bbox.padded(1).contains(*box.max)


def removed(plt: ModuleType) -> object:
    ax = plt.figure().add_subplot()
    ax.remove()
    return ax


def cleared(plt: ModuleType) -> object:
    figure, ax = plt.subplots()
    figure.clear()
    return ax


def closed(plt: ModuleType) -> matplotlib.axes.Axes:
    figure, ax = plt.subplots()
    plt.close(figure)
    plt.figure(figure.number) if hasattr(figure, "number") else None  # another of that number
    return ax


def cleared_part(plt: ModuleType) -> object:
    figure = plt.figure()
    part = figure.subfigures(1, 2)[0]
    figure.clear()
    return part


def beside_a_bar_of_tight_layout(plt: ModuleType) -> matplotlib.figure.SubFigure:
    left, right = plt.figure(figsize=(12, 4), layout="tight").subfigures(1, 2)
    left.colorbar(left.add_subplot().imshow([[0, 1]]))
    return right  # type: ignore[no-any-return]


def closed_and_empty(plt: ModuleType) -> object:
    figure = plt.figure()
    plt.close(figure)
    return figure


BAD_AXES: list[tuple[Callable[[ModuleType], object], str]] = [
    (lambda plt: plt.figure(), r"ax=.*; it needs a single matplotlib Axes"),
    (lambda plt: plt, r"ax=.*; it needs a single matplotlib Axes"),
    (lambda plt: "left", r"ax=.*; it needs a single matplotlib Axes"),
    (lambda plt: plt.subplots(2, 2)[1], r"ax holds 4 entries; it needs one .* as ax\[0\]"),
    (lambda plt: list(plt.subplots(1, 2)[1]), "ax holds 2 entries; it needs one"),
    (lambda plt: range(10**30), "ax holds .* entries; it needs one"),
    (lambda plt: plt.figure().subplot_mosaic("a"), r"ax=.*; it needs a single"),
    (lambda plt: plt.figure().add_subplot(projection="polar"), "ax is polar; it needs plain axes"),
    (removed, "ax was removed from its figure"),
    (cleared, "ax was removed from its figure"),
    (closed, "ax is of a figure that was closed"),
]
BAD_FIGURES: list[tuple[Callable[[ModuleType], object], str]] = [
    (lambda plt: plt.figure().add_subplot(), r"figure=.*; it needs a matplotlib Figure"),
    (lambda plt: plt.figure().subfigures(1, 2), r"figure=.*; it needs a matplotlib Fig"),
    (lambda plt: plt.subplots()[0], "figure has axes or parts already"),
    (lambda plt: plt.figure().subfigures(1, 2)[0].figure, "figure has axes or parts already"),
    (cleared_part, "figure was removed from its figure"),
    (lambda plt: plt.figure(figsize=(2, 2)), r"figure is 2.0 × 2.0 inches; .* needs at least"),
    (lambda plt: plt.figure(figsize=(6, 0.9)), r"figure is 6.0 × 0.9 inches; .* needs at least"),
    (closed_and_empty, "figure is of a figure that was closed"),
]


@pytest.mark.parametrize(("make", "words"), BAD_AXES)
@pytest.mark.parametrize("name", AXES_ONLY)
def test_what_is_no_axes_is_refused_before_anything_is_drawn(
    pictures: dict[str, Callable[..., Figure]],
    name: str, make: Callable[[ModuleType], object], words: str, plt: ModuleType,
) -> None:  # fmt: skip
    bad = make(plt)
    with pytest.raises(pcb.PycellboxError, match=words):
        pictures[name](ax=bad)
    assert not any(ax.has_data() for number in plt.get_fignums() for ax in plt.figure(number).axes)


@pytest.mark.parametrize(("make", "words"), BAD_FIGURES)
@pytest.mark.parametrize("name", ["interactions", "trajectories"])
def test_what_is_no_empty_figure_is_refused_before_anything_is_done(
    pictures: dict[str, Callable[..., Figure]],
    name: str, make: Callable[[ModuleType], object], words: str, plt: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bad = make(plt)
    monkeypatch.setattr(pcb.Fit, "predict", lambda *args, **options: pytest.fail("was computed"))
    with pytest.raises(pcb.PycellboxError, match=words):
        pictures[name](figure=bad)


@pytest.mark.parametrize("name", ["interactions", "trajectories"])
def test_a_layout_that_cannot_be_changed_is_refused(
    pictures: dict[str, Callable[..., Figure]], name: str, plt: ModuleType
) -> None:
    part = beside_a_bar_of_tight_layout(plt)
    with pytest.raises(pcb.PycellboxError, match='make it with layout="constrained"'):
        pictures[name](figure=part)
    assert not part.axes


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [(3.2, 2), (8, 2)])
@pytest.mark.parametrize("name", ["interactions", "trajectories"])
def test_a_figure_of_any_size_that_is_taken_has_room(
    pictures: dict[str, Callable[..., Figure]], name: str, size: tuple[float, float]
) -> None:
    whole = Figure(figsize=size)
    assert pictures[name](figure=whole) is whole
    boxes = [text.get_window_extent() for text in shown_texts(whole)]
    inside = whole.bbox.padded(2)
    assert all(inside.contains(*corner) for box in boxes for corner in (box.min, box.max))


def test_where_the_data_cannot_be_drawn_the_axes_stay_as_they_were(
    fit: pcb.Fit, network: Network
) -> None:
    ax = Figure().add_subplot()
    before = len(ax.get_children())
    other = network.W.isel(target=slice(1, None))
    for draw in (
        lambda: plot.network(fit, top=0, ax=ax),
        lambda: plot.loss_history(fit.history.isel(iteration=slice(0)), ax=ax),
        lambda: plot.fitted_against_true(fit, other, ax=ax),
        lambda: plot.precision_recall({"a": fit, "b": other}, network.W, ax=ax),
        lambda: plot.observed_against_predicted(fit, fit.data * np.nan, ax=ax),
    ):
        with pytest.raises((pcb.DataError, pcb.OptionError)):
            draw()
    assert len(ax.get_children()) == before
    assert ax.get_xlim() == (0, 1)


def test_an_inset_can_be_drawn_into(pictures: dict[str, Callable[..., Figure]]) -> None:
    whole = Figure()
    ax = whole.add_subplot().inset_axes((0.5, 0.5, 0.5, 0.5))
    assert pictures["loss"](ax=ax) is whole
    assert ax.lines


def test_saved_figures_have_300_dots_per_inch_and_nothing_is_cut_off(
    fit: pcb.Fit, tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image")
    figure = plot.loss_history(fit)
    figure.text(1.5, 0.5, "outside")
    path = plot.save_figure(figure, tmp_path / "loss.png")
    with image.open(path) as saved:
        assert saved.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert saved.size[0] > 1.5 * 300 * figure.get_figwidth()
        pixels = np.asarray(saved.convert("L"))
    edges = (pixels[:5], pixels[-5:], pixels[:, :5], pixels[:, -5:])
    assert all((edge == 255).all() for edge in edges)  # a white margin all around
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")]
)
def test_the_suffix_says_the_format(
    network: Network, tmp_path: Path, suffix: str, start: bytes
) -> None:
    path = plot.save_figure(plot.network(network.W), tmp_path / f"picture.{suffix}")
    assert path.read_bytes().startswith(start)
    if suffix == "svg":
        assert 'id="MEK activates ERK"' in path.read_text(encoding="utf-8")


def test_a_figure_that_cannot_be_saved_leaves_the_old_file(
    fit: pcb.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = plot.loss_history(fit)
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def fail(source: object, target: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(pcb.ResultFileError, match="disk full"):
        plot.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(pcb.PycellboxError, match=r"one of the endings .*\.png"):
        plot.save_figure(figure, tmp_path / "loss.docx")
    with pytest.raises(pcb.ResultFileError, match="there is no folder"):
        plot.save_figure(figure, tmp_path / "missing" / "loss.png")


@pytest.mark.parametrize("name", NAMES)
def test_without_matplotlib_the_error_says_what_to_install(
    pictures: dict[str, Callable[..., Figure]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(pcb.PycellboxError, match=r'pip install "pycellbox\[plot\]"'):
        pictures[name]()


def test_the_melanoma_network_can_be_drawn(melanoma_dir: Path) -> None:
    kinds = {"protein": 82, "phenotype": 5, "drug": 12}
    data = pcb.read_csv(
        melanoma_dir / "pert.csv", melanoma_dir / "expr.csv",
        nodes=melanoma_dir / "node_Index.csv", node_kind=kinds,
    )  # fmt: skip
    fit = pcb.fit(data, schedule=pcb.Stage(2, 0.01), solver=pcb.Heun(0.5), progress=False)
    figure = plot.network(fit, top=40)
    assert "the 40 strongest of" in figure.axes[0].get_title()
    assert len(paths(figure)) == 40
