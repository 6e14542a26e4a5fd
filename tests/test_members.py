"""Parameters that differ by condition or subject: solved, differentiated, fitted, kept, refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.models.model import model_from_dict, model_to_dict
from pycellbox.numerics.shares import Shares
from tests.support.equations import MODELS, SUBJECTS, courses, differing
from tests.support.growth import grown, growth


def of_condition(parameters, condition, subject):
    """Parameters as a model has them in which nothing differs."""
    for dim, label in (("condition", condition), ("subject", subject)):
        if dim in parameters.indexes:
            parameters = parameters.sel({dim: label}, drop=True)
    return parameters


@pytest.mark.parametrize("dims", ["condition", "subject"])
@pytest.mark.parametrize("name", MODELS)
def test_each_condition_is_solved_with_its_own(name, dims):
    made, plain, data, p, _ = differing(name, dims)
    options = {"solver": pcb.RK4(0.25), "times": [0.5, 2.0], "backend": "numpy"}
    found = pcb.solve(made, p, data, **options)
    u = data["perturbation"]
    for i, subject in enumerate(SUBJECTS):
        own = of_condition(p, f"c{i}", subject)
        alone = pcb.solve(plain, own, u[[i]], **options)
        np.testing.assert_allclose(found[i], alone[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("treated", [False, True])
@pytest.mark.parametrize(
    ("name", "backend"),
    [*((name, "numpy") for name in MODELS), pytest.param("powers", "jax", marks=pytest.mark.slow)],
)
def test_gradients_are_those_of_finite_differences(name, treated, backend):
    if backend == "jax":
        pytest.importorskip("jax")
    made, _, data, p, _ = differing(name, "subject")
    if treated:
        begin = np.full(data["perturbation"].shape, np.nan)
        begin[1, data["node"].values.tolist().index(made.states[0])] = 0.6
        data["initial_state"] = (("condition", "node"), begin)
    given = {"solver": pcb.RK4(0.5), "backend": backend}
    value, exact = pcb.value_and_gradient(made, p, data, **given)
    given["backend"] = "numpy"
    plain, by_steps = pcb.value_and_gradient(made, p, data, gradient="finite-difference", **given)
    assert value == pytest.approx(plain, rel=1e-12)
    for name in made.parameters:
        scale = max(1.0, float(np.abs(by_steps[name]).max()))
        np.testing.assert_allclose(exact[name], by_steps[name], atol=1e-6 * scale)


@pytest.mark.parametrize("name", MODELS)
def test_what_conditions_have_is_gathered_and_scattered(name):
    _, _, data, p, structure = differing(name, "subject")
    shares, u = Shares(structure), structure.numbers(["c0", "c1", "c2"], SUBJECTS)
    u = np.concatenate([data["perturbation"].values, u], axis=1)
    arrays = {n: p[n].values for n in structure.layout.places}
    index = shares.index(shares.members(u))
    each = shares.gather(arrays, index)
    for i, subject in enumerate(SUBJECTS):
        own = of_condition(p, None, subject)
        alone = [np.ravel(own[n]) for n in structure.layout.places]
        np.testing.assert_array_equal(each[i], np.concatenate(alone))
    v = np.random.default_rng(0).normal(size=each.shape)
    back = shares.scatter(v, index)
    free = {n: np.where(structure.layout[n].fixed, 0, a) if structure.layout[n].fixed is not None
            else a for n, a in arrays.items()}  # fmt: skip
    assert sum((back[n] * free[n]).sum() for n in back) == pytest.approx(
        (v * shares.gather(free, index)).sum()
    )


LM = {"schedule": pcb.Stage(30, optimizer=pcb.LM()), "backend": "numpy", "progress": False}


def test_a_fit_finds_what_differs_and_what_is_shared(tmp_path):
    data, truth = grown()
    fit = pcb.fit(data, growth(), **LM)
    assert fit.parameters["r"].dims == ("subject",)
    assert fit.parameters["r"]["subject"].values.tolist() == ["m1", "m2"]
    assert fit.parameters["x_0"]["condition"].values.tolist() == data["condition"].values.tolist()
    for name, value in truth.items():
        np.testing.assert_allclose(fit.parameters[name], value, rtol=1e-4)
    assert "r (2), K 4, x_0 (4)" in repr(fit)
    fit.save(tmp_path / "fit.nc")
    loaded = pcb.load(tmp_path / "fit.nc")
    assert loaded.model == growth()
    np.testing.assert_array_equal(loaded.predict(fit.data), fit.predictions)
    some = fit.data.isel(condition=[3, 1])  # in another order, and not all
    np.testing.assert_allclose(loaded.predict(some), fit.predictions[[3, 1]], rtol=1e-6)
    bare = fit.data["perturbation"][[2]]
    np.testing.assert_allclose(loaded.predict(bare), fit.predictions[[2]], rtol=1e-6)
    again = pcb.fit(data, growth(), initial=fit.parameters, **LM)
    np.testing.assert_allclose(again.parameters["r"], truth["r"], rtol=1e-4)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda d: d.assign_coords(subject=("condition", ["m1", "m1", "m2", "m9"])),
         r"no.* for the subject 'm9' of condition 'c3'.*'m1', 'm2'"),
        (lambda d: d.drop_vars("subject"), r"parameters \(r\) differ by subject, and nothing says"),
        (lambda d: d.assign_coords(condition=["c0", "c1", "c2", "new"]),
         r"\(x_0\) differ by condition, and there are none for the condition 'new'"),
    ],
    ids=["a subject", "no subject", "a condition"],
)  # fmt: skip
def test_nothing_is_predicted_for_whom_the_fit_does_not_know(given, said):
    data, _ = grown()
    fit = pcb.fit(data, growth(), schedule=pcb.Stage(1), backend="numpy", progress=False)
    for asked in (given(data), given(data["perturbation"])):
        with pytest.raises(pcb.DataError, match=said):
            fit.predict(asked)


@pytest.mark.parametrize(
    ("spoil", "model", "said"),
    [
        (lambda d: d.drop_vars("subject"), growth(), r"r differs by subject.*no such labels"),
        (lambda d: d.assign_coords(subject=("condition", ["m1", "", "m2", "m2"])), growth(),
         "conditions without one"),
    ],
    ids=["no subjects", "one without"],
)  # fmt: skip
def test_data_that_do_not_say_what_parameters_differ_by_are_refused(spoil, model, said):
    with pytest.raises(pcb.ModelError, match=said):
        pcb.fit(spoil(grown()[0]), model, **LM)


@pytest.mark.filterwarnings("ignore:.*are replicates of fitted ones")
def test_whom_nothing_would_fit_cannot_judge():
    data, _ = grown()
    model = growth(initial={"x": 0.3})
    with pytest.raises(pcb.OptionError, match=r"'m2'.*would not be fitted"):
        pcb.fit(data, model, validation=["c2", "c3"], **LM)
    with pytest.raises(pcb.OptionError, match=r"'c1'.*would not be fitted"):
        pcb.fit(data, growth(), validation=["c1"], **LM)
    fit = pcb.fit(data, model, validation=["c1"], **LM)  # another one of its subject is fitted
    assert float(fit.history["validation_loss"][-1]) < float(fit.history["validation_loss"][0])


def test_draws_and_resumed_fits(tmp_path):
    model = pcb.ODE(
        {"x": "r[0]*x*(1 - x/K)"},
        parameters={
            "r": pcb.Parameter(pcb.uniform(0.5, 1.5), shape=(1,), positive=True, dims="subject"),
            "K": pcb.Parameter(3.0, positive=True),
        },
        initial={"x": 0.3},
        observe={"seen": "2*x"},
    )
    data, _ = grown()
    options = {"schedule": pcb.Stage(4), "solver": pcb.RK4(0.5), "backend": "numpy",
               "progress": False}  # fmt: skip
    free = pcb.fit(data, model, **options)
    start = pcb.fit(data, model, **options | {"schedule": pcb.Stage(1, learning_rate=0.0)})
    drawn = start.parameters["r"].values
    assert drawn.shape == (2, 1)
    assert drawn[0] != drawn[1]

    def stop(state):
        if state.iteration == 2:
            raise RuntimeError

    path = tmp_path / "run.nc"
    with pytest.raises(RuntimeError):
        pcb.fit(data, model, checkpoint=path, checkpoint_seconds=0, callbacks=stop, **options)
    xr.testing.assert_equal(pcb.resume(path, progress=False).parameters, free.parameters)


def test_files_keep_what_parameters_differ_by():
    model = growth("condition")
    assert model_from_dict(model_to_dict(model)) == model
    assert model != growth("subject")
    assert "dims='condition'" in repr(model.parameters["r"])
    with pytest.raises(pcb.OptionError, match="dims"):
        pcb.Parameter(1.0, dims="patient")


def test_hidden_states_signals_held_nodes_and_starts_with_several_subjects():
    """All at once, against each condition on its own."""
    model = pcb.ODE(
        {"x": "r*light - h*x", "h": "k*(x - h)"},
        parameters={"r": pcb.Parameter(1.0, dims="subject"), "k": 0.7},
        initial={"x": pcb.Parameter(0.4, dims="subject")},
        inputs=["light"],
    )
    data = courses(["x"], np.linspace(0.5, 3, 4), c=4)
    data = data.assign_coords(subject=("condition", ["a", "b", "b", "a"]))
    rng = np.random.default_rng(1)
    data["response"][...] = rng.normal(1, 0.2, data["response"].shape)
    light = rng.uniform(size=(4, 3))
    data = pcb.regimen(data, pcb.drive("light", [0, 1, 3], light, interpolation="linear"))
    whole = data.reindex(node=["x", "h"], fill_value={"perturbation": 0.0, "node_kind": "hidden"})
    held = np.full((4, 2), np.nan)
    held[1, 1] = 0.8  # the hidden state of a condition stays
    begin = np.full((4, 2), np.nan)
    begin[2, 0], begin[3, 1] = 0.9, 0.2
    fitted = np.zeros((4, 2), bool)
    fitted[3, 1] = True
    whole["held"], whole["initial_state"], whole["initial_fitted"] = (
        (("condition", "node"), each) for each in (held, begin, fitted)
    )
    options = {"solver": pcb.RK4(0.25), "backend": "numpy", "progress": False}
    stage = pcb.Stage(4)
    fit = pcb.fit(whole, model, schedule=stage, **options)
    assert set(fit.parameters.dims) == {"subject", "node", "level_of"}
    plain = pcb.ODE(
        {"x": "r*light - h*x", "h": "k*(x - h)"}, parameters={"r": 1.0, "k": 0.7},
        initial={"x": pcb.Parameter(0.4)}, inputs=["light"],
    )  # fmt: skip
    level = fit.parameters["level"].item()
    assert level != 0.2
    for i, subject in enumerate(whole["subject"].values):
        one = whole.isel(condition=[i]).drop_vars("initial_fitted")
        if i == 3:
            one["initial_state"][0, 1] = level
        own = fit.parameters.drop_vars(["level", "level_of"]).sel(subject=subject, drop=True)
        alone = pcb.solve(plain, own, one, solver=options["solver"], times=whole["time"].values,
                          backend="numpy")  # fmt: skip
        np.testing.assert_allclose(fit.predictions[i], alone[0], rtol=1e-10)


@pytest.mark.parametrize("where", ["fit", "stage"])
def test_a_penalty_that_would_do_nothing_is_refused(where):
    data, _ = grown()
    stage = pcb.Stage(1, penalty=pcb.Penalty(l2=0.1) if where == "stage" else None)
    given = {"penalty": pcb.Penalty(l1=0.1)} if where == "fit" else {}
    with pytest.raises(pcb.OptionError, match=r"interactions of a network.*prior="):
        pcb.fit(data, growth(), schedule=stage, **given)


def test_each_subject_has_the_prior():
    data, truth = grown()
    prior = pcb.lognormal(0.3, 0.001)
    parameters = {
        "r": pcb.Parameter(0.5, positive=True, dims="subject", prior=prior),
        "K": pcb.Parameter(4.0),
    }
    with pytest.warns(pcb.DataWarning, match="sigma"):
        fit = pcb.fit(data, growth(parameters=parameters), **LM)
    np.testing.assert_allclose(fit.parameters["r"], 0.3, rtol=0.01)
    assert (fit.parameters["r"] < truth["r"]).all()
