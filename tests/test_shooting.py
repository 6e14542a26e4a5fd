"""Multiple shooting: courses in segments that are joined, and what that is good for."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.data.hidden import with_nodes
from pycellbox.fitting.segments import cut
from pycellbox.growing import entry_from_dict
from pycellbox.problem import Problem, structure_of
from pycellbox.schedule import stage_from_dict
from tests.support.driven import GRID, driven
from tests.support.driven import model as lit
from tests.support.driven import parameters as of_lit
from tests.support.equations import TRUTH, courses, measured, parameters_of, sir
from tests.support.growth import grown, growth
from tests.support.problems import dataset

EXACT = pcb.Tsit5(rtol=1e-10, atol=1e-11)
PLAIN = {"progress": False, "backend": "numpy"}
NODES = ["cases", "S", "I", "R"]


def late(linear):
    """Conditions that begin at different times, with a dose that changes."""
    data = driven(linear)
    u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    u[:, 1] *= 3
    starts = np.array([[0.0, 2.0], [0.2, 2.0]]) - 0.2
    data = data.assign_coords(drive_time=("drive_time", GRID - 0.2, {"units": "d"}))
    data["drive"].attrs["after"] = "hold"
    return data.assign(perturbation=u).assign_coords(
        phase_start=(("condition", "phase"), starts, {"units": "d"})
    )


def held():
    """One node is held in one condition, and one begins elsewhere in the other."""
    clamped, begin = np.full((2, 3), np.nan), np.full((2, 3), np.nan)
    clamped[0, 2], begin[1, 1] = 20.0, 500.0
    where = ("condition", "node")
    given = {"held": (where, clamped), "initial_state": (where, begin)}
    return courses(["cases", "S", "I"], [1.0, 2.5, 4.0, 5.5], c=2, **given)


def differing():
    data, truth = grown()
    p = {"K": truth["K"], "r": ("subject", truth["r"]), "x_0": ("condition", truth["x_0"])}
    labels = {"condition": data["condition"].values, "subject": ["m1", "m2"]}
    return data, growth(), xr.Dataset(p, labels)


REST = pcb.ODE(
    {"x": "k*light + 1 - x"}, parameters={"k": 0.8}, initial={"x": 3}, inputs=["light"],
    at_rest=True,
)  # fmt: skip


def resting():
    signal = pcb.drive("light", [0.0, 1.7, 4.0], [1.0, -0.5, 0.3])
    return pcb.regimen(courses(["x"], [0.5, 1.0, 3.0, 4.0]), signal)


KINDS = {
    "plain": lambda: (measured(), sir(), parameters_of(sir(), NODES, TRUTH)),
    "steps": lambda: (late(False), lit(), of_lit()),
    "lines": lambda: (late(True), lit(), of_lit()),
    "held": lambda: (held(), sir(), parameters_of(sir(), NODES, TRUTH)),
    "at rest": lambda: (resting(), REST, xr.Dataset({"k": 0.8})),
    "by subject and condition": differing,
}


@pytest.mark.parametrize("begins", [[2.0], [0.9, 1.0, 2.5, 3.3]])
@pytest.mark.parametrize("kind", KINDS)
def test_segments_that_begin_on_a_trajectory_are_that_trajectory(kind, begins):
    """With every gap 0, whatever is done to conditions on the way."""
    data, model, truth = KINDS[kind]()
    data = with_nodes(pcb.validate(data), model.own_nodes)
    structure = structure_of(data, model)
    problem, backend = Problem.from_dataset(data, structure, None), get_backend("numpy")
    parameters = {name: truth[name].values for name in structure.layout.places}
    times = np.unique([*begins, *problem.times])
    whole = backend.solve(
        structure, EXACT, parameters, problem.perturbation, times, problem.treatment
    ).states
    segments = cut(problem, np.array(begins))
    there = whole[:, np.searchsorted(times, begins)]
    for state, name in segments.names.items():
        begin = there[:, :, structure.nodes.index(state)]
        parameters[name] = np.pad(begin, ((0, 0), (1, 0))).ravel()
    session = backend.session(segments.problem, EXACT, pcb.Loss("mse"))
    states = session.solution(parameters).states
    found = segments.together(states)[..., structure.known]
    expected = whole[:, np.searchsorted(times, problem.times), structure.known]
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7)
    ends = states[segments.problem.weight > 0][segments.ends]
    names = list(segments.names.values())
    after = [parameters[names[s]][r + 1]
             for s, r in zip(segments.state, segments.row, strict=True)]  # fmt: skip
    np.testing.assert_allclose(ends, after, rtol=1e-7, atol=1e-7)


LORENZ = {"s": 10.0, "r": 28.0, "b": 8 / 3}


def lorenz(start=None):
    rates = {"x": "s*(y - x)", "y": "x*(r - z) - y", "z": "x*y - b*z"}
    declared = {
        name: pcb.Parameter(pcb.lognormal(value, 0.4) if start else value, positive=True)
        for name, value in LORENZ.items()
    }
    begin = {name: pcb.Parameter(value) for name, value in zip("xyz", (1, 1, 20), strict=True)}
    return pcb.ODE(rates, parameters=declared, initial=begin)


def chaos(end):
    times = np.arange(0.1, end + 0.01, 0.1)
    return pcb.simulation.courses(
        lorenz(), {**LORENZ, "x_0": 1.0, "y_0": 1.0, "z_0": 20.0}, times, noise=0.5,
        noise_kind="absolute", solver=pcb.Tsit5(rtol=1e-9, atol=1e-9), backend="numpy", seed=1,
    )  # fmt: skip


def off(fit):
    return max(abs(float(fit.parameters[name]) / value - 1) for name, value in LORENZ.items())


def test_chaos_is_fitted_in_segments_and_not_at_once():
    data = chaos(6)
    for seed in range(2):
        options = {"seed": seed, **PLAIN}
        shot = pcb.fit(data, lorenz(True), schedule=pcb.Shooting(segments=12), **options)
        alone = pcb.Stage(12, optimizer=pcb.LM())
        assert off(shot) < 0.05
        assert off(pcb.fit(data, lorenz(True), schedule=alone, **options)) > 0.1
        assert shot.provenance["shooting"]["joined"]
        assert shot.provenance["shooting"]["largest_gap"] < 1e-6


TIGHT = pcb.LM(1e-13)


def missing():
    data = measured()
    data["response"][1, 2:5] = np.nan
    data["response"][0, 7] += 3
    return data


@pytest.mark.parametrize(
    ("data", "model", "options", "segments"),
    [
        (missing, sir, {}, 3),
        (missing, sir, {"loss": pcb.Loss("huber", delta=2.0)}, [1.5, 7.5]),
        (missing, sir, {"penalty": pcb.Penalty(l2={"beta": 0.1, "gamma": 1})}, 4),
        (missing, lambda: sir(parameters={
            "N": pcb.Parameter(763, fixed=True),
            "beta": pcb.Parameter(prior=pcb.lognormal(1.2, 0.1), positive=True),
            "gamma": pcb.Parameter(0.4, lower=0.3, upper=0.6),
            "rho": pcb.Parameter(0.9, prior=pcb.uniform(0.5, 1)),
            "I0": 2.0,
        }), {}, [3.5, 6.0]),
        (lambda: grown()[0], growth, {}, 3),
        (lambda: late(True).drop_sel(node="seen").assign(
            response=late(True)["response"].drop_sel(node="seen") * 0.1),
         lambda: pcb.ODE({"x": "k*light*y - a*x", "y": "dose + a - y*light"},
                         parameters={"k": 1.0, "a": 0.7}, inputs=["dose", "light"],
                         initial={"x": "0.3*light", "y": pcb.Parameter(0.4)}), {}, [1.5, 3.1]),
    ],
    ids=["missing", "huber", "penalty", "priors and bounds", "members", "lines"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the prior:pycellbox.errors.DataWarning")
def test_where_nothing_is_chaotic_the_optimum_is_that_of_one_trajectory(
    data, model, options, segments
):
    data, given = data(), {"penalty": pcb.Penalty(), "solver": pcb.RK4(0.25), **PLAIN} | options
    shooting = pcb.Shooting(TIGHT, segments=segments, iterations=40)
    shot = pcb.fit(data, model(), schedule=shooting, **given)
    alone = pcb.fit(data, model(), schedule=pcb.Stage(60, optimizer=TIGHT), **given)
    assert shot.provenance["shooting"]["joined"]
    for name in alone.parameters:
        np.testing.assert_allclose(shot.parameters[name], alone.parameters[name], rtol=1e-6)


LONG = {"schedule": pcb.Shooting(segments=16, iterations=8), "seed": 4,
        "solver": pcb.Tsit5(rtol=1e-3, atol=1e-5), **PLAIN}  # fmt: skip


def test_where_no_one_trajectory_follows_it_is_said_and_the_segments_are_kept(tmp_path):
    """To t = 8, over which errors of the solver become a thousand times as large."""
    data, path = chaos(8), tmp_path / "run.nc"
    with pytest.warns(pcb.NumericsWarning, match="of 8 .*chaotic or unstable"):
        fit = pcb.fit(data, lorenz(True), checkpoint=path, **LONG)
    said = fit.provenance["shooting"]
    assert not said["joined"]
    assert 2 < said["follows_until"] < 8
    assert said["largest_gap"] < 1e-5
    assert off(fit) < 0.05
    assert said["loss"] == fit.history["loss"].values[-1] < 0.3
    with pytest.warns(pcb.NumericsWarning, match="chaotic"):
        again = pcb.resume(path, progress=False)
    assert again.provenance["shooting"] == said
    assert pcb.load(fit.save(tmp_path / "fit.nc")).provenance["shooting"] == said
    # Among starts it counts by its segments.
    with pytest.warns(pcb.NumericsWarning, match="chaotic"):
        best = pcb.fit(data, lorenz(True), starts=2, **LONG)
    assert best.starts["objective"].min() == best.provenance["shooting"]["objective"] < 0.3


def test_an_interrupted_fit_is_gone_on_with_to_the_same_bits(tmp_path):
    data, path, seen = measured(), tmp_path / "run.nc", []
    schedule = [pcb.Shooting(segments=3, iterations=3), pcb.Stage(3, optimizer=pcb.LM())]

    def stop(state):
        seen.append(state)
        if len(seen) == 3:
            raise RuntimeError

    options = {"solver": pcb.RK4(0.5), "schedule": schedule, "progress": False}
    with pytest.raises(RuntimeError):
        pcb.fit(data, sir(), checkpoint=path, checkpoint_seconds=0, callbacks=stop, **options)
    whole = pcb.fit(data, sir(), **options)
    xr.testing.assert_equal(pcb.resume(path, progress=False).parameters, whole.parameters)
    assert pcb.Recipe.from_dict(whole.recipe.to_dict()) == whole.recipe


@pytest.mark.filterwarnings("ignore:.*replicates:pycellbox.errors.DataWarning")
def test_validation_conditions_are_not_fitted():
    data = measured()
    spoiled = data.copy(deep=True)
    spoiled["response"][1] += 50
    options = {"schedule": pcb.Shooting(segments=3, iterations=3), "validation": ["c1"], **PLAIN}
    one, other = (pcb.fit(each, sir(), **options) for each in (data, spoiled))
    np.testing.assert_array_equal(one.history["loss"], other.history["loss"])


def test_it_is_kept_as_it_was_given():
    for segments in (4, [1.5, 2.0]):
        shooting = pcb.Shooting(pcb.LM(1e-6), segments=segments, iterations=7)
        recipe = pcb.Recipe(schedule=[shooting, pcb.Grow(), pcb.Stage(2)])
        assert pcb.Recipe.from_dict(recipe.to_dict()).to_dict() == recipe.to_dict()
        assert entry_from_dict(shooting.to_dict()) == shooting
    (stage,) = pcb.Shooting(segments=4).over(measured())
    assert stage.segments == (4.0, 7.0, 10.0)
    assert stage_from_dict(stage.to_dict()) == stage
    assert "segments" not in pcb.Stage(3).to_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pcb.Shooting(segments=1), "at least 2"),
        (lambda: pcb.Shooting(segments=[2.0, 1.0]), "increase"),
        (lambda: pcb.Shooting(segments=[]), "segments="),
        (lambda: pcb.Shooting(segments=[-1.0]), "segments="),
        (lambda: pcb.Shooting(pcb.LBFGS()), "optimizer="),
        (lambda: pcb.Shooting(iterations=0), "iterations="),
        (lambda: pcb.Stage(3, segments=[1.0]), "use LM"),
        (lambda: pcb.Stage(3, segments=[2.0, 1.0], optimizer=pcb.LM()), "do not increase"),
    ],
)
def test_what_makes_no_segments_is_refused(make, message):
    with pytest.raises(pcb.OptionError, match=message):
        make()


@pytest.mark.parametrize("windows", [pcb.Shooting(segments=[2.0]), pcb.Grow()])
def test_what_is_no_data_has_no_windows(windows):
    data = measured()
    for bad in (data.drop_vars("response"), data.assign_coords(time=data["time"] * 1j), data[[]]):
        with pytest.raises(pcb.DataError):
            windows.over(bad)


def test_segments_are_of_courses_of_equations():
    shooting = {"schedule": pcb.Shooting(segments=[2.0]), "progress": False}
    with pytest.raises(pcb.OptionError, match="steady states"):
        pcb.fit(measured().isel(time=-1, drop=True), sir(), **shooting)
    with pytest.raises(pcb.OptionError, match="the last 1"):
        pcb.fit(measured().isel(time=[0]), sir(), **shooting)
    course = dataset(np.random.default_rng(0), 4, (1.0, 2.0, 3.0))
    with pytest.raises(pcb.OptionError, match="this is a CellBox: fit windows that grow"):
        pcb.fit(course, penalty=pcb.Penalty(), **shooting)
    stage = pcb.Stage(3, segments=[1.0], optimizer=pcb.LM())
    with pytest.raises(pcb.OptionError, match="for time courses"):
        pcb.fit(measured().isel(time=-1, drop=True), sir(), schedule=stage, progress=False)
