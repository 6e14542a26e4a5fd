"""The unit in which a table counts time makes no difference, nor does a time that is not near 1."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.data.units import ratio_of
from pycellbox.errors import OptionError
from pycellbox.fitting.defaults import default_time_scale
from pycellbox.models import Parameter
from tests.support.compartments import Compartments
from tests.support.fits import quick
from tests.support.problems import dataset

needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason='needs JAX: "pycellbox[jax]"')
JAX = pytest.param("jax", marks=[needs_jax, pytest.mark.slow])
TIMES = (0.0, 1 / 3, 1.0, 2.5)  # hours, and whole minutes
UNITS = ("s", "min", "d")
RATES = ("alpha", "epsilon", "psi", "kappa", "delta")


def courses(conditions: int = 6) -> xr.Dataset:
    data = dataset(np.random.default_rng(1), conditions, TIMES)
    data["response"][:, 0] = 0
    return data


def treated() -> xr.Dataset:
    """Inputs that change, a level that is fitted, states that begin elsewhere."""
    drug, other = (str(n) for n in courses()["node"].values[[5, 6]])
    first, second = (str(n) for n in courses()["node"].values[:2])
    return pcb.regimen(
        courses(),
        pcb.pretreat(drug, conditions=["c0", "c2"]),
        pcb.pretreat(other, before="20 min", conditions=["c1"]),
        pcb.pulse(other, "20 min", "100 min", conditions=["c3", "c5"]),
        pcb.knockdown(first, level=-0.5, conditions=["c4"]),
        pcb.start_as_measured([second], fitted=True, conditions=["c3", "c4", "c5"]),
    )


def late() -> xr.Dataset:
    """Steady states after a dose that changes."""
    data = dataset(np.random.default_rng(2), 6)
    drug = str(data["node"].values[5])
    blank = data.assign_coords(phase_start=("phase", [0.0], {"units": "h"}))
    blank["perturbation"] = data["perturbation"].expand_dims(phase=1, axis=1)
    return pcb.regimen(blank, pcb.step(drug, "3 h", -0.5), pcb.step(drug, "8 h", -2.0))


DATA = {"plain": courses, "treated": treated, "late": late}


def per(unit: str) -> float:
    """How many of a unit are an hour."""
    return float(ratio_of("h", unit, ""))


def assert_same(one: pcb.Fit, other: pcb.Fit, tolerance: float = 1e-10) -> None:
    """Hold two fits to each other, of which the first one is in hours."""
    unit = other.data["time" if "time" in other.data.dims else "phase_start"].attrs["units"]
    np.testing.assert_allclose(other.predictions.values, one.predictions.values, atol=tolerance)
    for name in ("objective", "loss", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(other.history[name], one.history[name], rtol=tolerance)
    np.testing.assert_allclose(other.history["horizon"], one.history["horizon"] * per(unit))
    for name, values in one.parameters.items():
        wanted = values / per(unit) if name in RATES else values
        np.testing.assert_allclose(other.parameters[name], wanted, rtol=tolerance, atol=1e-14)


@pytest.mark.parametrize("backend", ["numpy", JAX])
@pytest.mark.parametrize("kind", DATA)
def test_a_fit_is_the_same_in_every_unit(kind, backend):
    data = DATA[kind]()
    options = {"schedule": quick(8), "backend": backend, "progress": False}
    if kind == "late":
        options["solver"] = pcb.Tsit5(1e-5, 1e-7)
    fit = pcb.fit(data, pcb.CellBox(), **options)
    for unit in UNITS if backend == "numpy" else UNITS[:1]:
        other = pcb.fit(pcb.data.in_unit(data, unit), pcb.CellBox(), **options)
        assert_same(fit, other)
        assert other.recipe.time_scale == pytest.approx(fit.recipe.time_scale * per(unit))
        # Data are converted.
        np.testing.assert_allclose(other.predict(data), fit.predict(data), atol=1e-10)


@pytest.mark.slow
def test_a_default_fit_of_a_thousand_iterations_is_too():
    """What rounding parts is not made much of."""
    data = courses(4)
    fits = [pcb.fit(pcb.data.in_unit(data, unit), progress=False) for unit in ("h", "d")]
    assert_same(*fits, tolerance=1e-9)


@pytest.mark.parametrize("form", [0, 1, 2, "ji"])
def test_every_form_with_fixed_steps_stages_and_starts(form):
    model = pcb.CellBox(form=form, dose_saturation=None)

    def fitted(unit: str) -> pcb.Fit:
        stages = [
            quick(3, horizon=1.2 * per(unit)),
            pcb.Stage(3, optimizer=pcb.LBFGS()),
            quick(3, batch_size=3, prefix=2),
        ]
        return pcb.fit(
            pcb.data.in_unit(courses(), unit), model, solver=pcb.RK4(per(unit) / 10),
            schedule=stages, initial=pcb.Initialization(alpha=2 / per(unit)), backend="numpy",
            validation=0.3, progress=False,
        )  # fmt: skip

    one = fitted("h")
    for unit in ("min", "d"):
        assert_same(one, fitted(unit))


def test_a_validation_set_in_another_unit():
    data = courses(8)
    rest, judges = data.isel(condition=slice(5)), data.isel(condition=slice(5, None))
    fits = [
        pcb.fit(
            pcb.data.in_unit(rest, own), validation=pcb.data.in_unit(judges, other),
            schedule=quick(6), backend="numpy", progress=False,
        )
        for own, other in (("h", "min"), ("min", "d"))
    ]  # fmt: skip
    assert_same(*fits)


def test_a_resumed_fit_and_its_callbacks_see_the_unit_of_the_data(tmp_path):
    class CrashError(Exception):
        pass

    def crash(state) -> None:
        seen.append(state.parameters)
        if state.iteration == 4:
            raise CrashError

    resumed, data, seen = [], treated(), []
    for unit in ("h", "s"):
        path = tmp_path / f"{unit}.nc"
        options = {"schedule": quick(8), "backend": "numpy", "progress": False}
        with pytest.raises(CrashError):
            pcb.fit(
                pcb.data.in_unit(data, unit), checkpoint=path, checkpoint_seconds=0,
                callbacks=crash, **options,
            )  # fmt: skip
        resumed.append(pcb.resume(path, progress=False))
        whole = pcb.fit(pcb.data.in_unit(data, unit), **options)
        xr.testing.assert_identical(resumed[-1].parameters, whole.parameters)
        xr.testing.assert_identical(resumed[-1].predictions, whole.predictions)
        start = default_time_scale(pcb.data.in_unit(data, unit))
        np.testing.assert_allclose(seen[0]["alpha"] * start, 1)
        seen.clear()
    assert_same(*resumed)


def test_refining_and_pruning_are_the_same_too():
    """Rates of 1e-7 per millisecond are none that would be nothing."""
    fits = []
    for unit in ("h", "ms"):
        data = pcb.data.in_unit(courses(), unit)
        model = pcb.CellBox(drug_columns="free")
        fits.append(pcb.fit(data, model, schedule=quick(8), backend="numpy", progress=False))
    refined = [pcb.refine(f, iterations=2, rounds=1, eliminate=False, ridge=0.1) for f in fits]
    for name in ("alpha", "epsilon"):
        one, other = (f.parameters[name].values for f in refined)
        np.testing.assert_allclose(other * per("ms"), one, rtol=1e-6)
    pruned = [pcb.prune(f, edges=[5], folds=2, schedule=quick(3)).path[-1] for f in fits]
    assert_same(*pruned, tolerance=1e-8)


class TimedCompartments(Compartments):
    """Compartments that say which of their parameters are rates."""

    def declare(self, nodes, node_kind):
        kappa, delta, gain = super().declare(nodes, node_kind)
        return (
            replace(kappa, per_time=True),
            replace(delta, per_time=True, lower=0.0, upper=np.inf),
            replace(gain, per_time=True),
        )


@pytest.mark.parametrize("pretreated", [False, True])
def test_a_model_of_ones_own_declares_its_rates(pretreated):
    data = courses()
    if pretreated:
        data = pcb.regimen(data, pcb.pretreat(str(data["node"].values[5])))
    fits = [
        pcb.fit(
            pcb.data.in_unit(data, unit), TimedCompartments(), schedule=quick(5), backend="numpy",
            progress=False,
        )
        for unit in ("h", "s")
    ]  # fmt: skip
    one, other = fits
    np.testing.assert_allclose(other.predictions.values, one.predictions.values, atol=1e-9)
    for name in ("kappa", "delta", "gain"):
        np.testing.assert_allclose(
            other.parameters[name] * per("s"), one.parameters[name], rtol=1e-9
        )


def test_bounds_and_fixed_entries_of_rates_are_in_the_unit_of_the_data():
    class Bounded(Compartments):
        def declare(self, nodes, node_kind):
            kappa, delta, gain = super().declare(nodes, node_kind)
            held = np.array([True] + [False] * (len(nodes) - 1))
            fixed = Parameter(
                "delta", ("node",), delta.shape, lower=0.02, upper=0.05, fixed=held, start=0.03,
                per_time=True,
            )  # fmt: skip
            return kappa, fixed, gain

    data = pcb.data.in_unit(courses(), "min")
    fit = pcb.fit(data, Bounded(), schedule=quick(4), backend="numpy", progress=False)
    delta = fit.parameters["delta"].values
    assert delta[0] == pytest.approx(0.03, rel=1e-12)
    assert ((delta >= 0.02) & (delta <= 0.05)).all()


def test_without_declared_rates_time_counts_in_the_unit_of_the_data():
    data = courses()
    options = {"schedule": quick(2), "backend": "numpy", "progress": False}
    for model in (Compartments(), pcb.CellBox(form="ji-code", dose_saturation=None)):
        assert pcb.fit(data, model, **options).recipe.time_scale == 1
        with pytest.raises(OptionError, match=r"time_scale=3.*rate"):
            pcb.fit(data, model, time_scale=3.0, **options)


def test_steady_states_without_times_have_none():
    data = dataset(np.random.default_rng(0))
    fit = pcb.fit(data, schedule=quick(2), backend="numpy", progress=False)
    assert (fit.recipe.time_scale, fit.horizon) == (1, 10)
    assert default_time_scale(data) == 1
    assert default_time_scale(courses().isel(time=[0])) == 1


def test_older_files_counted_time_in_the_unit_of_the_data(tmp_path):
    fit = pcb.fit(courses(), schedule=quick(2), backend="numpy", progress=False)
    tree = fit.tree
    told = json.loads(tree.attrs["recipe"])
    assert told.pop("time_scale") == fit.recipe.time_scale
    tree.attrs["recipe"] = json.dumps(told)
    older = pcb.Fit(tree)
    assert older.recipe.time_scale == 1
    xr.testing.assert_identical(older.predict(courses()), fit.predict(courses()))
    assert pcb.Recipe.from_dict(told).time_scale is None


@pytest.mark.parametrize("wrong", [0, -1.0, np.inf, "1 h"])
def test_a_time_scale_is_a_time(wrong):
    with pytest.raises(OptionError, match="time_scale"):
        pcb.fit(courses(), time_scale=wrong)


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_no_step_is_too_short_because_of_the_unit(scale):
    network = pcb.networks.demo_network()
    doses = pcb.simulation.perturbations(["aMEK"], network.node_kind, doses=[-1.0])
    one = network.parameters
    other = one.assign({name: one[name] / scale for name in ("alpha", "epsilon", "psi")})
    times = np.array([0.5, 2.0])
    found = [
        pcb.solve(pcb.CellBox(), p, doses, solver=pcb.Tsit5(1e-6, 1e-8), times=t, backend="numpy")
        for p, t in ((one, times), (other, times * scale))
    ]
    np.testing.assert_allclose(found[1].values, found[0].values, rtol=1e-9, atol=1e-12)


def test_errors_of_a_training_say_in_what_they_count():
    data = pcb.data.in_unit(courses(), "s")
    with pytest.raises(pcb.PycellboxError, match=r"cannot start.*units of"):
        pcb.fit(
            data, pcb.CellBox(envelope="linear"), initial=pcb.Initialization(weight_scale=1e60),
            schedule=quick(2), backend="numpy", progress=False,
        )  # fmt: skip
