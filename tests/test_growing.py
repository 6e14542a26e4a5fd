"""Windows that lengthen, as stages of the data's own times."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from tests.support.equations import courses, measured, sir


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
