"""Driving signals: what equations make of them, where they come from, and what is refused."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

import pycellbox as pcb
from pycellbox.data.joining import joined
from pycellbox.data.replicates import replicates_across, twins_of
from tests.support.driven import GRID, LINEAR, TIMES, driven, model, parameters, values
from tests.support.equations import courses


def signal(linear, row):
    v = values()[row]
    return (
        (lambda t: np.interp(t, GRID, v))
        if linear
        else (lambda t: v[np.searchsorted(GRID, t, side="right") - 1])
    )


@pytest.mark.parametrize("linear", LINEAR)
def test_states_and_observables_are_those_of_an_independent_solver(linear):
    data, solver = driven(linear), pcb.Tsit5(rtol=1e-10, atol=1e-11)
    # One condition begins earlier than the other, and both have a dose that changes.
    u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    u[:, 1] *= 3
    starts = np.array([[0.0, 2.0], [0.2, 2.0]]) - 0.2
    data = data.assign_coords(drive_time=("drive_time", GRID - 0.2, {"units": "d"}))
    data["drive"].attrs["after"] = "hold"
    data = data.assign(perturbation=u).assign_coords(
        phase_start=(("condition", "phase"), starts, {"units": "d"})
    )
    found = pcb.solve(model(), parameters(), data, solver=solver, times=TIMES, backend="numpy")
    assert list(found["node"].values) == ["x", "y", "dose", "seen"]
    for row, begin in enumerate(starts[:, 0]):
        light = signal(linear, row)

        def rates(t, x, light, late):
            u = light(t + 0.2)
            return [1.3 * u * x[1] - 0.6 * x[0], 0.2 * (3 if late else 1) + 0.6 - x[1] * u]

        state = [0.3 * light(begin + 0.2), 0.5]
        breaks = np.unique([*TIMES, *(GRID - 0.2), 1.8, begin])
        breaks = breaks[breaks >= begin - 1e-12]
        for a, b in pairwise(breaks):
            now = light((a + b) / 2 + 0.2)
            within = light if linear else (lambda t, now=now: now)
            state = solve_ivp(
                rates, (a, b), state, args=(within, a >= 1.8), rtol=1e-11, atol=1e-12
            ).y[:, -1]
            if b in TIMES:
                there = found.sel(time=b)[row]
                np.testing.assert_allclose(there.sel(node=["x", "y"]), state, atol=1e-7)
                expected = state[0] + light(min(b + 0.2, GRID[-1]))
                assert there.sel(node="seen").item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("solver", [pcb.RK4(0.25), pcb.Tsit5(rtol=1e-5, atol=1e-7)])
@pytest.mark.parametrize("linear", LINEAR)
def test_gradients_are_those_of_finite_differences(linear, solver):
    given = {"solver": solver, "backend": "numpy"}
    p, data = parameters(), driven(linear)
    value, exact = pcb.value_and_gradient(model(), p, data, **given)
    plain, by_steps = pcb.value_and_gradient(
        model(), p, data, gradient="finite-difference", **given
    )
    assert value == plain
    for name in exact:
        np.testing.assert_allclose(exact[name], by_steps[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", [pcb.AdamW(), pcb.LM()])
@pytest.mark.parametrize("linear", LINEAR)
def test_a_fit_is_kept_and_predicts_other_signals(linear, optimizer, tmp_path):
    truth, options = parameters(), {"solver": pcb.RK4(0.25), "backend": "numpy"}
    data = driven(linear)
    data["response"][...] = pcb.solve(model(), truth, data, times=TIMES, **options).values
    data["response"].loc[{"node": "dose"}] = np.nan
    fit = pcb.fit(
        data, model(), schedule=pcb.Stage(20, optimizer=optimizer), progress=False, **options
    )
    if isinstance(optimizer, pcb.LM):
        for name in ("k", "a", "y_0"):
            assert fit.parameters[name].item() == pytest.approx(truth[name].item(), rel=1e-4)
    xr.testing.assert_equal(fit.data.drop_vars("role"), data)  # nothing of what solvers are given
    assert list(fit.predictions["node"].values) == list(data["node"].values)
    fit.save(tmp_path / "fit.nc")
    loaded = pcb.load(tmp_path / "fit.nc")
    assert loaded.data["drive"].attrs == data["drive"].attrs
    np.testing.assert_array_equal(loaded.predict(fit.data), fit.predictions)
    other = driven(not linear, times=TIMES, c=1)  # steps where the fit had lines
    found = loaded.predict(other, times=[1.0, 3.9])
    exact = pcb.solve(model(), fit.parameters, other, times=[1.0, 3.9], **options)
    np.testing.assert_allclose(found, exact, rtol=1e-12)
    hours = pcb.data.in_unit(fit.data, "h")
    assert hours["drive_time"].values[-1] == 96
    np.testing.assert_allclose(fit.predict(hours), fit.predictions, rtol=1e-9)
    assert "ODE" in str(fit.evaluate(data, baselines=False))


def test_a_fit_that_was_cut_short_is_gone_on_with_to_the_same_bits(tmp_path):
    options = {"solver": pcb.RK4(0.5), "schedule": pcb.Stage(4), "progress": False,
               "backend": "numpy"}  # fmt: skip

    def stop(state):
        if state.iteration == 2:
            raise RuntimeError

    path, data = tmp_path / "run.nc", driven(True)
    with pytest.raises(RuntimeError):
        pcb.fit(data, model(), checkpoint=path, checkpoint_seconds=0, callbacks=stop, **options)
    gone_on = pcb.resume(path, progress=False)
    xr.testing.assert_equal(gone_on.parameters, pcb.fit(data, model(), **options).parameters)


def _with(data, **changes):
    drive = data["drive"]
    for name, value in changes.items():
        if name in drive.attrs:
            drive = drive.assign_attrs({name: value})
            data = data.assign(drive=drive)
        else:
            units = data[name].attrs
            data = data.assign_coords({name: (name, value, units)})
    return data


def _nan(data):
    data = data.copy(deep=True)
    data["drive"][1, 2, 0] = np.nan
    return data


WRONG = {
    "NaN": (_nan, "drive at condition 'c1', .* is NaN or infinite"),
    "a node's name": (lambda d: _with(d, input=["x"]), "input of drive and a node"),
    "an interpolation": (lambda d: _with(d, interpolation="cubic"), "'step' or 'linear'"),
    "an end": (lambda d: _with(d, after=1), "'refuse' or 'hold'"),
    "times that go back": (lambda d: _with(d, drive_time=GRID[::-1]), "strictly increasing"),
    "no labels": (lambda d: d.drop_vars("input"), "dimension input of drive has no labels"),
    "no unit": (lambda d: d.assign_coords(drive_time=GRID), "has no attribute units"),
    "a late beginning": (lambda d: _with(d, drive_time=GRID + 0.1), "drive begins at 0.1"),
    "an early end": (lambda d: _with(d, drive_time=GRID * 0.9), "drive ends at 3.6.*go on to 4"),
    "other dims": (lambda d: d.assign(drive=d["drive"].isel(condition=0)), "drive has the dims"),
    "text": (lambda d: d.assign(drive=d["drive"].astype(str).str.replace(".", "x")), "drive at"),
    "a settled beginning": (
        lambda d: d.assign(perturbation=d["perturbation"].expand_dims(phase=2, axis=1))
        .assign_coords(phase_start=("phase", [-np.inf, 0.0], {"units": "d"})),
        "pre-treated since -inf",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_signals_that_cannot_be_are_refused(what):
    spoil, said = WRONG[what]
    with pytest.raises(pcb.DataError, match=said):
        pcb.validate(spoil(driven(False)))


def test_nothing_is_extrapolated_without_being_told():
    data = driven(True)
    options = {"solver": pcb.RK4(0.5), "backend": "numpy"}
    with pytest.raises(pcb.DataError, match="drive ends at 4, and the last time asked for is 5"):
        pcb.solve(model(), parameters(), data, times=[5.0], **options)
    with pytest.raises(pcb.DataError, match="ends at 4"):
        pcb.solve(model(), parameters(), data, horizon=5.0, **options)
    held = _with(data, after="hold")
    longer = np.append(GRID, 9.0)
    same = pcb.regimen(
        held.drop_vars(["drive", "drive_time", "input"]),
        pcb.drive("light", longer, np.c_[values(), values()[:, -1]], interpolation="linear"),
    )
    found, other = (
        pcb.solve(model(), parameters(), d, times=[1.0, 8.0], **options) for d in (held, same)
    )
    np.testing.assert_allclose(found, other, rtol=1e-10)


@pytest.mark.parametrize(
    ("given", "data", "said"),
    [
        (pcb.CellBox(), driven(False), "CellBox does not take any"),
        (pcb.ODE({"x": "-x"}, parameters={"k": 1.0}), driven(False).sel(node=["x"]),
         "driving signal 'light'"),
        (model(), driven(False).drop_dims("drive_time"), "see pcb.drive"),
        (model(), driven(False).isel(time=0, drop=True), "signals are for time courses"),
    ],
    ids=["a network", "no input", "no drive", "steady states"],
)  # fmt: skip
def test_models_and_data_that_do_not_go_together_are_refused(given, data, said):
    with pytest.raises(pcb.PycellboxError, match=said):
        pcb.fit(data, given, progress=False)


def test_conditions_with_other_signals_are_no_replicates():
    data = driven(False)
    assert np.unique(twins_of(data)).size == 2
    alike = data.copy(deep=True)
    alike["drive"][1] = alike["drive"][0]
    assert np.unique(twins_of(alike)).size == 1
    finer = pcb.regimen(
        data.drop_vars(["drive", "drive_time", "input"]),
        pcb.drive("light", np.arange(0, 4.05, 0.1), np.repeat(values(), [7, 8, 15, 10, 1], axis=1)),
    )
    one, other = replicates_across(data, finer)
    np.testing.assert_array_equal(one, other)
    one, other = replicates_across(data, driven(True))
    assert not set(one) & set(other)


@pytest.mark.parametrize("linear", LINEAR)
def test_datasets_are_joined_at_the_times_of_both(linear):
    one = driven(linear)
    other = pcb.regimen(
        driven(linear).drop_vars(["drive", "drive_time", "input"]),
        pcb.drive("light", [0, 2, 4], [1, 2, 3], interpolation="linear" if linear else "step"),
    ).assign_coords(condition=["d0", "d1"])
    both = pcb.validate(joined(one, other))
    assert both["drive_time"].values.tolist() == [0, 0.7, 1.5, 2, 3, 4]
    np.testing.assert_allclose(both["drive"][2, :, 0], [1, 1.35, 1.75, 2, 2.5, 3] if linear
                               else [1, 1, 1, 2, 2, 3])  # fmt: skip
    expected = np.interp(2, GRID, values()[0]) if linear else values()[0, 2]
    assert both["drive"][0, 3, 0].item() == pytest.approx(expected)
    with pytest.raises(pcb.DataError, match="other driving signals"):
        joined(one, driven(not linear))
    options = {"solver": pcb.RK4(0.5), "schedule": pcb.Stage(1), "progress": False}
    fit = pcb.fit(one, model(), validation=other, backend="numpy", **options)
    assert fit.data.sizes["condition"] == 4


@pytest.mark.parametrize("linear", LINEAR)
@pytest.mark.parametrize("last", [4.0, 6.0])
def test_signals_in_another_order_are_joined_by_their_names(linear, last):
    how = {"interpolation": "linear" if linear else "step", "after": "hold"}
    plain = courses(["x"], TIMES)
    one = pcb.regimen(plain, *(pcb.drive(name, [0, 4], [v, v], **how) for name, v in
                               (("A", 1.0), ("B", 2.0))))  # fmt: skip
    other = pcb.regimen(plain, *(pcb.drive(name, [0, last], [v, v], **how) for name, v in
                                 (("B", 20.0), ("A", 10.0))))  # fmt: skip
    both = pcb.validate(joined(one, other.assign_coords(condition=["d0"])))
    for condition, name, value in (
        ("c0", "A", 1),
        ("c0", "B", 2),
        ("d0", "A", 10),
        ("d0", "B", 20),
    ):
        assert (both["drive"].sel(condition=condition, input=name) == value).all()
    one, other = replicates_across(one, one.isel(input=[1, 0]))
    np.testing.assert_array_equal(one, other)


def begun_at_rest(linear, at_rest=True):
    data = courses(["x"], TIMES, c=2)
    how = {"interpolation": "linear" if linear else "step"}
    data = pcb.regimen(data, pcb.drive("light", GRID, values(), **how))
    options = {"parameters": {"a": 0.7}, "inputs": ["light"], "at_rest": at_rest}
    return pcb.ODE({"x": "a - x + light"}, initial={"x": 3.0}, **options), data


def test_signals_are_nothing_before_conditions_that_begin_at_rest():
    data = begun_at_rest(False)[1]
    coords = {"node": ["x"], "node_kind": ("node", ["protein"])}
    p, times = xr.Dataset({"a": 0.7}, coords), [0.0, *TIMES]
    asked = {"solver": pcb.Tsit5(rtol=1e-9, atol=1e-11), "backend": "numpy"}
    found = pcb.solve(begun_at_rest(False)[0], p, data, times=times, **asked)
    same = data.assign(initial_state=(("condition", "node"), [[0.7]] * 2))
    by_state = pcb.solve(begun_at_rest(False, at_rest=False)[0], p, same, times=times, **asked)
    np.testing.assert_allclose(found, by_state, rtol=1e-8)
    exact, by_steps = (
        pcb.value_and_gradient(begun_at_rest(False)[0], p, data, gradient=how, **asked)[1]
        for how in (None, "finite-difference")
    )
    np.testing.assert_allclose(exact["a"], by_steps["a"], rtol=1e-5)
    model, lines = begun_at_rest(True)
    with pytest.raises(pcb.DataError, match=r"signals that are steps.*interpolation='step'"):
        pcb.solve(model, p, lines, times=times, **asked)
    with pytest.raises(pcb.DataError, match="interpolation='step'"):
        pcb.fit(lines, model, progress=False, backend="numpy")


def test_signals_are_laid_over_data_one_after_the_other():
    data = driven(True)
    more = pcb.drive("food", ["0 h", "24 h", "4 d"], [0, 1, 2], interpolation="linear",
                     conditions=["c1"])  # fmt: skip
    laid = pcb.regimen(data, more)
    assert laid["input"].values.tolist() == ["light", "food"]
    assert laid["drive_time"].values.tolist() == [0, 0.7, 1, 1.5, 3, 4]
    food = laid["drive"].sel(input="food")
    np.testing.assert_allclose(food[1], [0, 0.7, 1, 1 + 0.5 / 3, 1 + 2 / 3, 2])
    assert not food[0].any()
    xr.testing.assert_equal(laid["drive"].sel(input="light", drive_time=GRID),
                            data["drive"].sel(input="light"))  # fmt: skip
    again = pcb.regimen(data, pcb.drive("light", [0, 5], [1, 2], after="hold"))
    assert again["drive"].shape == (2, 2, 1)
    assert again["drive"].attrs["after"] == "hold"


@pytest.mark.parametrize(
    ("instruction", "said"),
    [
        (lambda: pcb.drive("food", [0, 1], [1, 2, 3]), "2 times and values of the shape"),
        (lambda: pcb.drive("food", [1, 0], [1, 2]), "times increase"),
        (lambda: pcb.drive("food", [0, 4], [[1, 2]] * 3), "3 conditions, and there are 2"),
        (lambda: pcb.drive("food", [0, 4], [1, np.nan]), "NaN or infinite"),
        (lambda: pcb.drive("food", [0, 4], [1, 2]), "all signals of a dataset have the same"),
        (lambda: pcb.drive("food", [0, 5], [1, 2], interpolation="linear"), "for the same time"),
        (lambda: pcb.drive("food", [0, 4], [1, 2], conditions="c9"), "no condition 'c9'"),
        (lambda: pcb.drive("x", GRID, GRID, interpolation="linear"), "a node have the same name"),
    ],
)
def test_instructions_that_cannot_be_are_refused(instruction, said):
    with pytest.raises(pcb.PycellboxError, match=said):
        pcb.regimen(driven(True), instruction())


def test_courses_are_simulated_under_signals():
    design = driven(True).sel(node=["dose", "seen"])
    truth = {"k": 1.3, "a": 0.6, "y_0": 0.5}
    data = pcb.simulation.courses(model(), truth, TIMES, design=design, units="d")
    exact = pcb.solve(model(), parameters(), driven(True), times=TIMES, backend="numpy",
                      solver=pcb.Tsit5(rtol=1e-10, atol=1e-11))  # fmt: skip
    np.testing.assert_allclose(data["response"].sel(node="seen"), exact.sel(node="seen"), rtol=1e-7)
    assert "light" not in data["node"].values
