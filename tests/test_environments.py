"""Environments that change by chance: their statistics, and equations that follow them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import r2_score

import pycellbox as pcb

N = 800
TIMES = [0.0, 1.0, 2.0, 5.0, 10.0, 30.0]
DAYS = np.arange(0, 73.0)


def drawn(kind, conditions=N, times=TIMES, **options):
    """The driving signal (condition, time) and what is to be followed, of the whole dataset."""
    data = pcb.environment(kind, conditions, times=times, target="x", **options)
    driven = data["drive"].values[:, :, 0] if "drive" in data else None
    return driven, data["response"].values[:, :, 0]


def assert_mean(values, expected, sd):
    """Hold means of independent rows to theory, within five standard errors."""
    np.testing.assert_allclose(values.mean(axis=0), expected, atol=5 * sd / np.sqrt(len(values)))


def assert_variance(values, expected):
    """Hold variances of normal rows to theory, within five standard errors."""
    ratio = values.var(axis=0) / expected
    np.testing.assert_allclose(ratio, 1, atol=5 * np.sqrt(2 / len(values)))


def test_a_random_walk_has_the_variance_of_its_time():
    signal, followed = drawn("walk", mean=3.0, sd=0.5)
    np.testing.assert_array_equal(signal, followed)
    assert (signal[:, 0] == 3).all()
    assert_mean(signal, 3.0, 0.5 * np.sqrt(30))
    steps = np.diff(signal, axis=1)
    assert_variance(steps, 0.25 * np.diff(TIMES))
    assert abs(np.corrcoef(steps[:, 0], steps[:, 1])[0, 1]) < 5 / np.sqrt(N)


def test_an_ornstein_uhlenbeck_process_is_stationary_and_forgets():
    signal, _ = drawn("ou", mean=-1.0, sd=2.0, correlation_time=4.0)
    assert_mean(signal, -1.0, 2.0)
    assert_variance(signal, 4.0)
    found = np.corrcoef(signal.T)
    lags = np.abs(np.subtract.outer(TIMES, TIMES))
    np.testing.assert_allclose(found, np.exp(-lags / 4), atol=5 / np.sqrt(N))


@pytest.mark.parametrize("kind", ["walk", "ou", "periodic", "light"])
def test_what_is_followed_may_come_later_and_be_changed(kind):
    own = {"correlation_time": 10.0} if kind == "ou" else {"period": 24.0}
    own = {} if kind == "walk" else own
    _, plain = drawn(kind, 3, DAYS, delay=7.0, seed=4, **own)
    signal, changed = drawn(
        kind, 3, DAYS, delay=7.0, seed=4, skip=20.0, transform=lambda y: y**2, **own
    )
    np.testing.assert_array_equal(changed, plain[:, 20:] ** 2)
    if kind != "light":  # whose signal is no sine
        np.testing.assert_allclose(changed, signal[:, 13:-7] ** 2, atol=1e-12)


def test_noise_is_of_what_drives_alone():
    options = {"correlation_time": 4.0, "seed": 9}
    clean, followed = drawn("ou", **options)
    noisy, same = drawn("ou", noise=0.3, **options)
    np.testing.assert_array_equal(followed, same)
    assert_variance(noisy - clean, 0.09)
    assert_mean(noisy - clean, 0.0, 0.3)


@pytest.mark.parametrize("jitter", [{}, {"period_jitter": 6.0}, {"phase_jitter": 3.0}])
def test_a_rhythm_at_a_random_phase_is_stationary(jitter):
    signal, _ = drawn("periodic", times=[0.0, 5.0, 20, 40], period=24.0, low=-1, high=3, **jitter)
    assert_mean(signal, 1.0, 2 / np.sqrt(2))
    # The fourth moment of a sine is 3/8 of that of its height: so far may its variance be off.
    np.testing.assert_allclose(signal.var(axis=0), 2, atol=5 * np.sqrt(2.0 / N))


def rises(signal, times):
    """Times at which a sine or light of one condition rises from below its middle."""
    k = np.flatnonzero((signal[:-1] <= 0.5) & (signal[1:] > 0.5))
    return times[k] + (0.5 - signal[k]) / (signal[k + 1] - signal[k]) * np.diff(times)[k]


def test_jitter_of_periods_adds_up_and_of_phases_does_not():
    times = np.arange(0, 24 * 300, 0.5)
    for name, sd, lag in (("period_jitter", 3.0, 0.0), ("phase_jitter", 3.0, -0.5)):
        signal, _ = drawn("periodic", 1, times, period=24.0, **{name: sd})
        lengths = np.diff(rises(signal[0], times))
        assert abs(lengths.mean() - 24) < 5 * sd / np.sqrt(290)
        expected = (
            sd if lag == 0 else sd * np.sqrt(2)
        )  # the difference of two that are early or late
        assert lengths.std() == pytest.approx(expected, rel=0.2)
        assert np.corrcoef(lengths[:-1], lengths[1:])[0, 1] == pytest.approx(lag, abs=0.25)


def test_light_is_on_by_day_to_the_minute():
    signal, followed = drawn("light", 2, DAYS, period=24.0, day=8.5, random_phase=False, high=2.0)
    hour = DAYS % 24
    expected = np.where(hour < 8, 2.0, np.where(hour == 8, 1.0, 0.0))
    np.testing.assert_array_equal(signal, [expected] * 2)
    np.testing.assert_allclose(
        followed[0], 1 + np.cos(2 * np.pi * (DAYS - 8.5 / 2) / 24), atol=1e-12
    )
    _, itself = drawn("light", 2, DAYS, period=24.0, day=8.5, random_phase=False, follow="light")
    np.testing.assert_array_equal(itself[0], hour < 8.5)


def test_lengths_of_days_vary_as_said():
    times = np.arange(0, 24 * 400, 0.25)
    signal, _ = drawn("light", 1, times, period=24.0, day=9.0, day_jitter=2.0, random_phase=False)
    days = signal[0].reshape(-1, 96).sum(axis=1) / 4
    assert days.mean() == pytest.approx(9, abs=5 * 2 / np.sqrt(400))
    assert days.std() == pytest.approx(2, rel=5 / np.sqrt(800))


def test_light_comes_and_goes_in_spells():
    times = np.arange(0, 5000.0)
    options = {"period": 10.0, "day": 9.999, "present": 60.0, "absent": 30.0, "seed": 3}
    signal, followed = drawn("light", 1, times, **options)
    on = signal[0] > 0.5
    changes = np.flatnonzero(np.diff(on.astype(int)))
    spells = np.diff(times[changes])
    lit, dark = spells[on[changes[:-1] + 1]], spells[~on[changes[:-1] + 1]]
    for found, mean in ((lit, 60), (dark, 30)):
        assert found.mean() == pytest.approx(mean, rel=5 / np.sqrt(len(found)))
    always = {name: options[name] for name in ("period", "day", "seed")}
    np.testing.assert_array_equal(drawn("light", 1, times, **always)[1], followed)


def test_seeds_conditions_and_names():
    data = pcb.environment("ou", 5, times=TIMES, target="x", correlation_time=3, seed=8, units="h")
    again = pcb.environment("ou", 3, times=TIMES, target="x", correlation_time=3, seed=8, units="h")
    np.testing.assert_array_equal(data["drive"][:3], again["drive"])
    assert list(data["condition"].values[:2]) == ["ou 8.1", "ou 8.2"]
    assert (np.corrcoef(data["drive"].values[:, :, 0]) < 0.999).sum() == 20
    other = pcb.environment("ou", 5, times=TIMES, target="x", correlation_time=3, seed=9)
    assert not (data["drive"].values == other["drive"].values).any()
    assert data["drive"].attrs["interpolation"] == "linear"
    assert data["time"].attrs["units"] == data["drive_time"].attrs["units"] == "h"
    told = json.loads(data.attrs["environment"])
    assert told == {
        "kind": "ou", "correlation_time": 3.0, "noise": 0.0, "delay": 0.0, "skip": 0.0, "seed": 8
    }  # fmt: skip
    light = pcb.environment("light", 1, times=range(25), target="x", period=12, input="sun")
    assert light["drive"].attrs["interpolation"] == "step"
    assert list(light["input"].values) == ["sun"]
    alone = pcb.environment("periodic", 1, times=range(25), target="x", period=12, input=None)
    assert not {"drive", "drive_time", "input"} & set(alone.variables)


def test_a_tolerance_is_the_sigma_of_what_is_followed():
    data = pcb.environment("walk", 2, times=TIMES, target="x", skip=2.0, tolerance=0.2)
    assert data["sigma"].dims == data["response"].dims
    assert (data["sigma"].values == 0.2).all()
    assert data["response"].sizes["time"] == 4


OU = {"kind": "ou", "correlation_time": 3.0}
LIGHT = {"kind": "light", "period": 24.0}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "noise"}, "'walk', 'ou', 'periodic', 'light'"),
        ({"kind": "ou"}, "'ou' needs correlation_time="),
        ({"kind": "light"}, "'light' needs period="),
        ({"kind": "walk", "period": 3.0}, "period=3.0 is no option of 'walk', which has mean, sd"),
        ({"kind": "periodic", "period": 24.0, "day": 3.0}, "day=3.0 is no option of 'periodic'"),
        (OU | {"sd": 0}, "sd=0"),
        (OU | {"times": [1, 2]}, "do not begin at 0"),
        (OU | {"times": [0, 2, 2]}, "do not increase"),
        (OU | {"times": [0]}, "too few"),
        (OU | {"conditions": 0}, "integer from 1"),
        (OU | {"skip": 31}, "after the last of the times, 30"),
        (OU | {"delay": 31}, "longer than all times, 30"),
        (OU | {"noise": -1}, "noise=-1"),
        (OU | {"tolerance": 0}, "tolerance=0"),
        (OU | {"input": "x"}, "both 'x'"),
        (OU | {"transform": 3}, "a function of an array"),
        (OU | {"transform": np.mean}, "a finite number for each entry"),
        (OU | {"transform": lambda y: y / 0 * 0}, "a finite number for each entry"),
        (LIGHT | {"low": 1.0}, "low=1 needs to be below high=1"),
        (LIGHT | {"period_jitter": 13}, "at most half the period, 12"),
        (LIGHT | {"phase_jitter": 13}, "at most half the period, 12"),
        (LIGHT | {"day": 24}, "day=24 needs to be below period=24"),
        (LIGHT | {"present": 30}, "present and absent go together"),
        (LIGHT | {"period": 19}, "period=19 is shorter than the longest step of the times, 20"),
        (LIGHT | {"present": 1, "absent": 99}, "present=1 is shorter than the longest step"),
        (LIGHT | {"follow": "sun"}, "'cycle', 'light'"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_cannot_be_is_refused(given, said):
    with pytest.raises(pcb.OptionError) as error:
        pcb.environment(**({"times": TIMES, "target": "x"} | given))
    assert said in str(error.value)


def tracker():
    """One gene that is to be what the signal is."""
    return pcb.ODE(
        {"x": "a*tanh(w*signal + s*x) - x"},
        parameters={"a": pcb.Parameter(1.0, positive=True), "w": 0.3, "s": 0.1},
        inputs=["signal"],
    )


def test_equations_learn_to_follow_environments_they_have_not_seen(tmp_path):
    options = {"times": np.arange(0, 21.0), "target": "x", "correlation_time": 10.0, "skip": 5.0}
    options["noise"] = 0.6
    fit = pcb.fit(
        pcb.environment("ou", 6, seed=1, **options),
        tracker(),
        schedule=pcb.Stage(6, optimizer=pcb.LM()),
        backend="numpy",
        progress=False,
    )
    unseen = pcb.environment("ou", 20, seed=2, **options)
    judged = fit.evaluate(unseen, baselines=False)
    assert set(judged.by_condition["role"].values) == {"unseen"}
    followed = fit.predict(unseen).sel(node=["x"])
    rest = pcb.metrics.unexplained(followed, unseen["response"])
    raw = unseen["drive"].values[:, 5:]  # what reads the noisy signal as it is
    assert rest < 0.8 * pcb.metrics.unexplained(followed.copy(data=raw), unseen["response"])
    assert judged.table["mse"].iloc[0] / unseen["response"].values.var() == pytest.approx(rest)
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    np.testing.assert_array_equal(again.predict(unseen).sel(node=["x"]), followed)
    pcb.save_data(unseen, tmp_path / "unseen.nc")
    assert pcb.open_data(tmp_path / "unseen.nc").identical(unseen)


def test_a_clock_is_set_by_light_whose_phase_it_has_not_seen():
    options = {"times": np.arange(0, 61, 3.0), "target": "level", "period": 24.0, "skip": 24.0}
    model = pcb.ODE(
        {"x": "a*y - d*x", "y": "w*(signal - 0.5) - d*y - c*x"},
        parameters={"a": 0.3, "c": 0.3, "d": 0.2, "w": 0.3},
        observe={"level": "x + 0.5"},
        inputs=["signal"],
    )
    light = pcb.environment("light", 4, seed=1, **options)
    fit = pcb.fit(
        light,
        model,
        schedule=pcb.Stage(8, optimizer=pcb.LM()),
        solver=pcb.RK4(1.0),
        backend="numpy",
        progress=False,
    )
    unseen = pcb.environment("light", 20, seed=2, **options)
    found = fit.predict(unseen).sel(node=["level"])
    assert pcb.metrics.unexplained(found, unseen["response"]) < 0.1


def test_unexplained_is_one_minus_r_squared():
    data = pcb.environment("ou", 6, times=TIMES, target="x", correlation_time=3.0)["response"]
    data[0, 1] = np.nan
    predicted = 0.7 * data.fillna(3.0) + 0.1
    seen = data.notnull().values
    expected = 1 - r2_score(data.values[seen], predicted.values[seen])
    assert pcb.metrics.unexplained(predicted, data) == pytest.approx(expected, rel=1e-12)
    each = pcb.metrics.unexplained(predicted, data, by="condition")
    assert each[2].item() == pytest.approx(1 - r2_score(data[2].values, predicted[2].values))
    flat = data.copy(data=np.full(data.shape, 0.1))
    assert np.isnan(pcb.metrics.unexplained(predicted, flat))
