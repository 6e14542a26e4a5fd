"""Windows that lengthen, as stages of the data's own times."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.growing import entry_from_dict
from pycellbox.schedule import stage_from_dict
from tests.support.equations import courses, measured, sir
from tests.support.problems import dataset


def ends(fit):
    return [stage.horizon for stage in fit.recipe.schedule]


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        (1, [None]),
        (3, [4.0, 8.0, None]),
        (5, [3.0, 5.0, 8.0, 10.0, None]),
        (100, [*np.arange(1.0, 12), None]),
        ([2.5, 7], [2.5, 7.0, None]),
        ([5, 12], [5.0, None]),
        ([5, 20], [5.0, None]),
    ],
)
def test_windows_are_stages_of_the_measured_times(windows, expected):
    grow = pcb.Grow(pcb.LBFGS(memory=5), windows=windows, iterations=7)
    stages = grow.over(measured())
    assert [stage.horizon for stage in stages] == expected
    assert {(stage.iterations, stage.optimizer) for stage in stages} == {(7, pcb.LBFGS(memory=5))}


def test_a_fit_is_that_of_the_stages():
    data = measured().isel(condition=[0])
    options = {"solver": pcb.RK4(0.5), "progress": False}
    last = pcb.Stage(3, learning_rate=0.02)
    grown = pcb.fit(data, sir(), schedule=[pcb.Grow(windows=3, iterations=2), last], **options)
    rough = pcb.LM(tolerance=1e-3)
    stages = [pcb.Stage(2, horizon=end, optimizer=rough) for end in (4.0, 8.0, None)]
    plain = pcb.fit(data, sir(), schedule=[*stages, last], **options)
    assert ends(grown) == [4.0, 8.0, None, None]
    assert grown.recipe == plain.recipe
    xr.testing.assert_equal(grown.parameters, plain.parameters)


def test_cycles_are_found_from_afar():
    """Where a fit of the whole course stays in a minimum without cycles."""
    times, truth = np.arange(0.0, 12.1, 0.5), {"w": 2.0}
    data = courses(["x", "y"], times)
    data["response"][0] = np.stack([np.cos(2 * times), -np.sin(2 * times)], axis=1)
    model = pcb.ODE({"x": "w*y", "y": "-w*x"}, parameters={"w": 0.7}, initial={"x": 1})
    options = {"solver": pcb.RK4(0.1), "progress": False}
    whole = pcb.fit(data, model, schedule=pcb.Stage(40, optimizer=pcb.LM()), **options)
    grown = pcb.fit(data, model, schedule=pcb.Grow(pcb.LM(), windows=6), **options)
    assert float(grown.parameters["w"]) == pytest.approx(truth["w"], rel=1e-3)
    assert abs(float(whole.parameters["w"]) - truth["w"]) > 0.2


def test_a_recipe_keeps_it():
    for windows in (4, [1.0, 2.0]):
        recipe = pcb.Recipe(schedule=[pcb.Grow(pcb.LM(), windows=windows), pcb.Stage(2)])
        assert pcb.Recipe.from_dict(recipe.to_dict()).to_dict() == recipe.to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": 0}, "windows="),
        ({"windows": [2, 1]}, "increase"),
        ({"windows": []}, "windows="),
        ({"windows": [-1.0, 2]}, "windows="),
        ({"windows": "a"}, "windows="),
        ({"optimizer": "LM"}, "optimizer="),
        ({"iterations": 0}, "iterations="),
        ({"learning_rate": -1}, "learning_rate="),
        ({"learning_rate": {"edges": 1}}, "learning_rate="),
    ],
)
def test_what_makes_no_windows_is_refused(options, message):
    with pytest.raises(pcb.OptionError, match=message):
        pcb.Grow(**options)


def test_windows_are_of_courses_and_hold_a_measured_time():
    with pytest.raises(pcb.OptionError, match="steady states"):
        pcb.fit(measured().isel(time=-1, drop=True), sir(), schedule=pcb.Grow(), progress=False)
    with pytest.raises(pcb.OptionError, match="before the first measured time"):
        pcb.fit(measured(), sir(), schedule=pcb.Grow(windows=[0.5, 2]), progress=False)


def test_smooth_windows_fade_up_to_the_next():
    grow = pcb.Grow(windows=[2.5, 7.0, 20.0], weighting="smooth")
    found = [(stage.horizon, stage.fade) for stage in grow.over(measured())]
    assert found == [(2.5, 4.5), (7.0, 5.0), (None, None)]
    assert entry_from_dict(grow.to_dict()).to_dict() == grow.to_dict()
    assert "weighting" not in pcb.Grow().to_dict()
    stage = pcb.Stage(3, horizon=2.0, fade=1.5)
    assert stage_from_dict(stage.to_dict()) == stage
    assert "fade" not in pcb.Stage(3).to_dict()


@pytest.mark.parametrize("optimizer", [pcb.LM(), pcb.LBFGS(), pcb.AdamW()])
def test_what_fades_counts_less(optimizer):
    """The loss is that of residuals weighted by hand."""
    data = measured().isel(condition=[0])
    options = {"solver": pcb.RK4(0.5), "penalty": pcb.Penalty(), "progress": False}
    faded = pcb.Stage(1, horizon=5.0, fade=2.0, optimizer=optimizer)
    times = data["time"].values
    kept = data.isel(time=times <= 15)
    weights = np.exp(-np.maximum(kept["time"] - 5.0, 0) / 2.0)
    sigma = (1 / np.sqrt(weights)) * xr.ones_like(kept["response"])
    by_hand = kept.assign(sigma=sigma.transpose(*kept["response"].dims))
    plain = pcb.Stage(1, optimizer=optimizer)
    one = pcb.fit(data, sir(), schedule=faded, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pcb.DataWarning)
        other = pcb.fit(by_hand, sir(), schedule=plain, **options)
    loss = [fit.history["loss"].values[0] for fit in (one, other)]
    assert loss[0] == pytest.approx(loss[1], rel=1e-9)
    assert one.history["horizon"].values[0] == 5.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pcb.Stage(1, fade=1.0), "give that too"),
        (lambda: pcb.Stage(1, horizon=1.0, fade=0), "fade"),
        (lambda: pcb.Grow(weighting="soft"), "weighting"),
    ],
)
def test_fading_that_cannot_be_is_refused(make, words):
    with pytest.raises(pcb.OptionError, match=words):
        make()


def test_steady_states_do_not_fade():
    data = dataset(np.random.default_rng(0))
    with pytest.raises(pcb.OptionError, match="time courses"):
        pcb.fit(data, schedule=pcb.Stage(1, horizon=2.0, fade=1.0), progress=False)
