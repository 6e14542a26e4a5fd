from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import plot
from pycellbox.networks import Network, demo_network, random_network
from pycellbox.simulation import perturbations, simulate

matplotlib = pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def network() -> Network:
    return demo_network()


@pytest.fixture(scope="module")
def fit(network: Network) -> pcb.Fit:
    design = perturbations(network.drugs, network.node_kind, doses=[-1.0])
    data = simulate(network, design, noise=0.05)
    stages = [pcb.Stage(4, 0.02), pcb.Stage(3, 0.01)]
    return pcb.fit(data, schedule=stages, validation=0.3, solver=pcb.Heun(0.5), progress=False)


def texts(figure: matplotlib.figure.Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def offsets(ax: matplotlib.axes.Axes, label: str) -> np.ndarray:
    (line,) = [line for line in ax.lines if line.get_label() == label]
    return np.asarray(line.get_xydata())


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


def test_observed_against_predicted_takes_time_courses(network: Network) -> None:
    design = perturbations(network.drugs, network.node_kind, doses=[-1.0])
    run = simulate(network, design, times=[0.5, 2.0], solver=pcb.Heun(0.1), noise=0.01)
    figure = plot.observed_against_predicted(
        run["true_response"].transpose("node", "time", "condition"), run["response"]
    )
    assert len(offsets(figure.axes[0], "drugs")) == 2 * 3 * design.sizes["condition"]


def test_observed_against_predicted_names_what_does_not_fit(fit: pcb.Fit) -> None:
    observed = fit.data["response"]
    with pytest.raises(pcb.DataError, match="differ in 1 label"):
        plot.observed_against_predicted(fit.predictions.isel(node=slice(1, None)), observed)
    with pytest.raises(pcb.DataError, match="nothing was measured"):
        plot.observed_against_predicted(fit.predictions, observed * np.nan)


def test_loss_history_shows_both_losses_and_the_stages(fit: pcb.Fit) -> None:
    figure = plot.loss_history(fit)
    ax = figure.axes[0]
    np.testing.assert_allclose(offsets(ax, "training")[:, 1], fit.history["loss"])
    np.testing.assert_allclose(offsets(ax, "validation")[:, 1], fit.history["validation_loss"])
    assert ax.get_yscale() == "log"
    assert "stage 1" in texts(figure)
    assert "stage 2" not in texts(figure)
    assert len(plot.loss_history(fit.history).axes) == 1


def test_loss_history_needs_an_iteration(fit: pcb.Fit) -> None:
    with pytest.raises(pcb.DataError, match="no iteration"):
        plot.loss_history(fit.history.isel(iteration=slice(0)))


def test_interactions_beside_the_truth_share_scale_and_order(
    fit: pcb.Fit, network: Network
) -> None:
    truth = network.W.isel(target=slice(None, None, -1)).transpose("source", "target")
    figure = plot.interactions(fit, truth)
    fitted, true = (ax.images[0] for ax in figure.axes[:2])
    np.testing.assert_array_equal(fitted.get_array(), fit.parameters["W"])
    np.testing.assert_array_equal(true.get_array(), network.W)
    assert fitted.get_clim() == true.get_clim()
    low, high = fitted.get_clim()
    assert low == -high  # zero is in the middle of the colours
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == list(network.nodes)
    assert {"fitted", "true", "source node", "target node"} <= set(texts(figure).splitlines())


def test_large_networks_are_not_named_node_by_node() -> None:
    network = random_network(45, 0.1, n_drugs=4, n_phenotypes=2, seed=0)
    figure = plot.interactions(network.W)
    assert "P1" not in texts(figure)


def test_blocks_of_kinds_are_named_in_large_fits() -> None:
    network = random_network(45, 0.1, n_drugs=4, n_phenotypes=2, seed=0)
    design = perturbations(network.drugs, network.node_kind, doses=[-1.0])
    data = simulate(network, design, solver=pcb.Heun(0.2), horizon=5.0)
    fit = pcb.fit(data, schedule=pcb.Stage(1), solver=pcb.Euler(0.5), progress=False)
    assert {"proteins", "phenotypes", "drugs"} <= set(texts(plot.interactions(fit)).splitlines())


def test_interactions_of_zero_can_be_drawn(network: Network) -> None:
    plot.interactions(network.W * 0).draw_without_rendering()


def test_interactions_need_a_matrix(fit: pcb.Fit, network: Network) -> None:
    with pytest.raises(pcb.DataError, match="target, source"):
        plot.interactions(fit.parameters["alpha"])
    with pytest.raises(pcb.DataError, match="differ in 1 label"):
        plot.interactions(network.W, network.W.isel(target=slice(1, None)))


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


def test_figures_leave_matplotlib_as_it_was(fit: pcb.Fit) -> None:
    before = dict(matplotlib.rcParams)
    plot.loss_history(fit)
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert not sys.modules["matplotlib.pyplot"].get_fignums()


def test_saved_figures_have_300_dots_per_inch(fit: pcb.Fit, tmp_path: Path) -> None:
    figure = plot.loss_history(fit)
    path = plot.save_figure(figure, tmp_path / "loss.png")
    height, width = matplotlib.image.imread(path).shape[:2]
    assert (width, height) == tuple(round(300 * inches) for inches in figure.get_size_inches())
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


def test_a_figure_that_cannot_be_saved_leaves_the_old_file(
    fit: pcb.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = plot.loss_history(fit)
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")

    def fail(target: Path, **options: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(pcb.ResultFileError, match="disk full"):
        plot.save_figure(figure, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(pcb.PycellboxError, match=r"one of the endings .*\.png"):
        plot.save_figure(figure, tmp_path / "loss.docx")
    with pytest.raises(pcb.ResultFileError, match="there is no folder"):
        plot.save_figure(figure, tmp_path / "missing" / "loss.png")


def test_without_matplotlib_the_error_says_what_to_install(
    fit: pcb.Fit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(pcb.PycellboxError, match=r'pip install "pycellbox\[plot\]"'):
        plot.loss_history(fit)


def test_responses_without_labels_still_have_a_unit() -> None:
    coords = {"condition": ["a", "b"], "node": ["x", "y"]}
    values = xr.DataArray(np.eye(2), dims=("condition", "node"), coords=coords)
    figure = plot.observed_against_predicted(values, values)
    assert figure.axes[0].get_xlabel() == "predicted response, log-ratio to the control"
