"""Fits from many starts: seeds, executors, the best of them, failures that are counted."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from concurrent.futures import (
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from multiprocessing import get_context

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import many
from pycellbox.many import tasks
from tests.support.equations import courses, measured, sir
from tests.support.problems import dataset


def turning(start):
    """A rotation whose speed is fitted, from a start that is drawn."""
    times = np.arange(0.0, 3.1, 0.5)
    data = courses(["x", "y"], times)
    data["response"][0] = np.stack([np.cos(2 * times), -np.sin(2 * times)], axis=1)
    w = pcb.Parameter(start=start)
    model = pcb.ODE({"x": "w*y", "y": "-w*x"}, parameters={"w": w}, initial={"x": 1})
    return data, model


LM = pcb.Stage(8, optimizer=pcb.LM())
OPTIONS = {"solver": pcb.RK4(0.125), "schedule": LM, "progress": False, "backend": "numpy"}


@pytest.fixture(scope="module")
def serial():
    data, model = turning(pcb.uniform(0, 6))
    return pcb.fit(data, model, starts=4, seed=3, **OPTIONS)


def untimed(table):
    return table.drop_vars("seconds")


def test_the_best_start_is_the_fit(serial):
    table = serial.starts
    assert table.sizes == {"start": 4}
    assert len(set(table["seed"].values)) == 4
    assert table["seed"][0] == 3
    assert float(serial.parameters["w"]) == pytest.approx(2, rel=1e-3)
    far = table["objective"].values > table["objective"].min().item() + 0.01
    assert far.any()  # some end in other minima, and the fit is not one of them
    assert serial.history["loss"].values[-1] == pytest.approx(table["loss"].min().item())
    assert f"{4 - far.sum()} of 4 within 1 % of the best" in repr(serial)


def test_a_start_can_be_fitted_again_alone(serial):
    data, _ = turning(pcb.uniform(0, 6))
    for number in (0, 3):
        row = serial.starts.isel(start=number)
        alone = pcb.fit(data, serial.recipe.replace(seed=row["seed"].item(), starts=1),
                        progress=False, backend="numpy")  # fmt: skip
        assert alone.history.sizes["iteration"] == row["iterations"]
        assert alone.history["loss"].values.min() == pytest.approx(row["loss"].item(), rel=1e-12)
        assert not alone.starts.sizes["start"]
    best = serial.starts["objective"].values.argmin()
    recipe = serial.recipe.replace(seed=serial.starts["seed"][best].item(), starts=1)
    again = pcb.fit(data, recipe, progress=False, backend="numpy")
    xr.testing.assert_equal(again.parameters, serial.parameters)
    xr.testing.assert_equal(again.history, serial.history)


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_starts_are_the_same_bits_wherever_they_run(serial, kind):
    data, model = turning(pcb.uniform(0, 6))
    pool = ThreadPoolExecutor(2)
    if kind == "processes":
        pool = ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    with pool:
        fit = pcb.fit(data, model, starts=4, seed=3, executor=pool, **OPTIONS)
    xr.testing.assert_identical(untimed(fit.starts), untimed(serial.starts))
    xr.testing.assert_identical(fit.parameters, serial.parameters)
    xr.testing.assert_identical(fit.predictions, serial.predictions)
    assert fit.recipe == serial.recipe


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor], ids=["here", "threads"])
def test_what_is_doubtful_is_said_once(pool):
    data, model = turning(pcb.normal(1.5, 1))
    w = pcb.Parameter(prior=pcb.normal(2, 1))
    begun = pcb.Parameter(pcb.uniform(0.9, 1.1))
    model = dataclasses.replace(model, parameters={"w": w, "begun": begun}, initial={"x": "begun"})
    with contextlib.ExitStack() as stack:
        executor = pool and stack.enter_context(pool(2))
        with pytest.warns(pcb.DataWarning, match="prior.*'w'.*no sigma") as warned:
            pcb.fit(data, model, starts=3, executor=executor, **OPTIONS)
    assert len(warned) == 1


def test_files_keep_the_table(serial, tmp_path):
    loaded = pcb.load(serial.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(loaded.starts, serial.starts)
    assert loaded.recipe.starts == 4
    assert repr(loaded) == repr(serial)


def test_a_network_has_starts_too():
    data = dataset(np.random.default_rng(0))
    validation = data["condition"].values[:1].tolist()
    schedule = pcb.Stage(3, learning_rate=0.02)
    fit = pcb.fit(data, schedule=schedule, starts=3, validation=validation, progress=False)
    judged = fit.starts["validation_loss"].values
    assert len(set(judged)) == 3
    assert fit.history["validation_loss"].values[-1] >= judged.min()
    best = pcb.fit(
        data,
        fit.recipe.replace(seed=fit.starts["seed"][judged.argmin()].item(), starts=1),
        validation=validation,
        progress=False,
    )
    xr.testing.assert_equal(best.parameters, fit.parameters)


def exploding(low, high):
    """Growth that leaves all numbers within the course where its rate is large."""
    times = np.arange(0.0, 2.1, 0.5)
    data = courses(["x"], times)
    data["response"][0, :, 0] = 1 / (1 - 0.3 * times)
    model = pcb.ODE(
        {"x": "a*x**2"}, parameters={"a": pcb.Parameter(pcb.uniform(low, high))}, initial={"x": 1}
    )
    return data, model


def test_starts_that_blow_up_are_numbers_in_the_table():
    data, model = exploding(0.1, 0.9)
    fit = pcb.fit(data, model, starts=5, **OPTIONS | {"solver": pcb.Tsit5()})
    table = fit.starts
    failed = table["ended"].values == "failed"
    assert 0 < failed.sum() < 5
    np.testing.assert_array_equal(failed, np.isnan(table["objective"].values))
    assert all("Error: " in text for text in table["status"].values[failed])
    assert float(fit.parameters["a"]) == pytest.approx(0.3, rel=1e-3)
    assert f"{failed.sum()} failed" in repr(fit)


def test_where_all_fail_the_error_says_why():
    data, model = exploding(2, 3)
    with pytest.raises(pcb.DivergenceError, match=r"none of 2 .*\(2 × Div.*the first: .*finite"):
        pcb.fit(data, model, starts=2, **OPTIONS | {"solver": pcb.Tsit5()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"checkpoint": "run.nc"}, "checkpoint"),
        ({"callbacks": print}, "callbacks"),
        ({"starts": 0}, "starts"),
        ({"starts": 2.5}, "starts"),
        ({"executor": 4}, "executor"),
        ({"seed": 2**63}, "seed"),
        ({"model": turning(1.0)[1]}, "all of them would be the same"),
    ],
)
def test_what_cannot_be_is_refused(change, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, model = turning(pcb.uniform(1, 3))
    with pytest.raises(pcb.OptionError, match=re.escape(words)):
        pcb.fit(**{"data": data, "model": model, "starts": 2, **OPTIONS, **change})
    assert not list(tmp_path.iterdir())


def test_given_parameters_have_one_start(serial):
    data, model = turning(pcb.uniform(1, 3))
    with pytest.raises(pcb.OptionError, match="parameters as initial"):
        pcb.fit(data, model, starts=2, initial=serial.parameters, **OPTIONS)


def test_an_interrupt_ends_with_the_best_so_far(monkeypatch):
    data, model = turning(pcb.uniform(0, 6))
    whole = many.outcomes

    def cut(*arguments):
        for one in whole(*arguments):
            yield one
            if one.number == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(many, "outcomes", cut)
    fit = pcb.fit(data, model, starts=4, seed=3, **OPTIONS)
    assert fit.ending is pcb.Ending.INTERRUPTED
    assert "after 3 of 4 starts" in fit.status
    assert fit.starts.sizes["start"] == 3


def test_a_lost_worker_is_a_failure_of_its_tasks():
    pool = ProcessPoolExecutor(1, mp_context=get_context("fork"))
    with pool:
        found = list(many.outcomes(_die_at_one, 1, 3, pool))
    by_number = {one.number: one for one in found}
    assert len(by_number) == 3
    assert "worker was lost" in by_number[1].failure


class Breaking(Executor):
    """Takes some tasks, which it carries out at once, and has lost its workers then."""

    def __init__(self, taken, error):
        self.left, self.error = taken, error

    def submit(self, function, *arguments):
        if not self.left:
            raise self.error
        self.left -= 1
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.mark.parametrize("taken", [0, 2])
def test_workers_that_are_lost_before_all_tasks_are_submitted(taken):
    found = list(many.outcomes(_die_at_one, -1, 4, Breaking(taken, BrokenExecutor("gone"))))
    assert sorted(one.number for one in found) == [0, 1, 2, 3]
    for one in found:
        assert one.value == (one.number if one.number < taken else None)
        assert ("worker was lost" in one.failure) == (one.number >= taken)
    assert not tasks._held


def test_an_executor_that_is_shut_down_leaves_nothing_behind():
    with pytest.raises(RuntimeError, match="shut down"):
        list(many.outcomes(_die_at_one, -1, 4, Breaking(2, RuntimeError("shut down"))))
    assert not tasks._held


def test_what_cannot_be_sent_is_refused():
    with ThreadPoolExecutor(1) as pool, pytest.raises(pcb.OptionError, match="cannot be sent"):
        list(many.outcomes(_die_at_one, lambda: None, 1, pool))


def _die_at_one(shared, number):
    if number == shared:
        import os

        os._exit(1)
    return number


def test_a_worker_elsewhere_is_sent_what_it_lacks(tmp_path):
    parcel = tasks._Parcel("nobody's", tmp_path / "not here")
    assert tasks._opened(parcel, 0) is None


def test_recipes_keep_starts():
    recipe = pcb.Recipe(sir(), starts=4)
    assert pcb.Recipe.from_dict(recipe.to_dict()) == recipe
    assert "starts" not in pcb.Recipe().to_dict()
    assert pcb.Recipe.from_dict({}).starts == 1
    with pytest.raises(pcb.OptionError, match="beside a recipe"):
        pcb.fit(measured(), recipe, starts=3)
