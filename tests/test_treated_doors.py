"""All that is done with plain data, done with data whose conditions are treated."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import networks, simulation
from pycellbox.backends.numpy import NumpyBackend
from pycellbox.cli import main
from pycellbox.errors import DivergenceError
from pycellbox.inputs import levels_given
from pycellbox.interop.joining import joined
from pycellbox.models import CellBox
from pycellbox.models.structure import LEVEL, LEVEL_OF
from pycellbox.numerics.sensitivity import Sensitivity
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from pycellbox.refinement import standard_errors
from pycellbox.solvers import RK4, SteadyState, Tsit5
from tests.support.levels import experiment, truth
from tests.support.problems import random_parameters
from tests.support.treatments import KINDS, MODELS, STEADY, treated_problem

BACKEND = NumpyBackend()
EXACT = Tsit5(1e-11, 1e-12)


# ---- derivatives of every residual
def along_a_direction(session, problem, p, rng):
    """A direction in θ, and the residuals' derivative along it by differences of order 4."""
    layout, w = problem.structure.layout, problem.weight
    direction = np.zeros(layout.size)
    direction[layout.free] = rng.normal(0, 1, layout.free.size)

    def residuals(step):
        states = session.solution(layout.split(layout.join(p) + step * direction)).states
        return ((states - problem.response) * w)[w > 0]

    h = 1e-4
    one, two = (residuals(s) - residuals(-s) for s in (h, 2 * h))
    return direction[layout.free], (8 * one - two) / (12 * h)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", [MODELS[0], MODELS[6]], ids=["input", "clamped"])
def test_jacobians_through_segments_agree_with_differences(model, kind):
    rng = np.random.default_rng(0)
    problem = treated_problem(model, rng, (0.0, 0.4, 2.2), **KINDS[kind])
    p = random_parameters(model, rng, scale=0.2)
    session, w = BACKEND.session(problem, EXACT, Loss()), problem.weight
    direction, wanted = along_a_direction(session, problem, p, rng)
    size = np.abs(wanted).max()
    residuals, J = session.residuals_and_jacobian(p)
    np.testing.assert_allclose(J @ direction, wanted, rtol=0, atol=1e-6 * size)
    states = session.solution(p).states
    np.testing.assert_array_equal(residuals, ((states - problem.response) * w)[w > 0])
    # As near as one likes with shorter steps of the sensitivity equation.
    finer = Sensitivity(problem, session._solve).jacobian(p, problem.structure.mask, pace=0.02)
    found = (finer @ direction * w)[w > 0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8 * size)


@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("scale", [0.2, 1.2])
def test_jacobians_of_steady_states_agree_with_differences(scale, kind):
    rng = np.random.default_rng(5)
    problem = treated_problem(MODELS[6], rng, (150.0,), **STEADY[kind])
    p = random_parameters(MODELS[6], rng, scale=scale)
    session = BACKEND.session(problem, SteadyState(tol=1e-13, integrator=Tsit5()), Loss())
    _, J = session.residuals_and_jacobian(p)
    direction, wanted = along_a_direction(session, problem, p, rng)
    np.testing.assert_allclose(J @ direction, wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


def test_a_pretreatment_that_does_not_settle_has_no_jacobian():
    # A ring with an odd number of inhibitions oscillates.
    data = pcb.regimen(experiment(), pcb.pretreat("A", dose=0.5, conditions=["c0"]))
    model = CellBox()
    problem = Problem.from_dataset(data, structure_of(data, model), None)
    W = np.zeros((4, 4))
    W[[1, 2, 0], [0, 1, 2]] = 4, 4, -4
    p = {"W": W, "alpha": np.ones(4), "epsilon": np.full(4, 2.0)}
    session = BACKEND.session(problem, Tsit5(), Loss())
    with pytest.raises(DivergenceError, match=r"condition 'c0' does not come to rest in its pre"):
        session.residuals_and_jacobian(p)


# ---- refinement
def test_a_refined_fit_has_the_network_and_keeps_the_levels(tmp_path):
    rough = pcb.fit(
        experiment(told=-0.3), backend="numpy", progress=False, solver=RK4(0.1),
        schedule=pcb.Stage(iterations=150, learning_rate=0.05),
    )  # fmt: skip
    fine = pcb.refine(rough)
    note = fine.provenance["refinement"]
    assert note["followed"] == 1
    assert note["criterion"]["after"] < note["criterion"]["before"]
    xr.testing.assert_identical(fine.parameters[LEVEL], rough.parameters[LEVEL])
    errors = [np.abs(fit.parameters["W"] - truth()["W"]).values.max() for fit in (rough, fine)]
    assert errors[1] < errors[0] / 2
    loaded = pcb.load(fine.save(tmp_path / "fine.nc"))
    np.testing.assert_array_equal(loaded.predict(fine.data), fine.predictions)
    errors = standard_errors(
        rough.model, fine.parameters, fine.data, noise=0.01, solver=RK4(0.1), predict=fine.data
    )
    assert 0 < errors["alpha"].values.max() < 0.1
    assert (errors["response"].sel(condition="c2", node="B") == 0).all()  # is held


# ---- simulation
RING = networks.cyclic(5, seed=0)
REGIMENS = {
    "pulse": [pcb.pulse("g1", 0, 2)],
    "pre-treatment": [pcb.pretreat("g1"), pcb.washout("g1", 1)],
    "knock-out": [pcb.knockout("g2")],
    "all": [pcb.pretreat("g1", 2), pcb.step("g2", 1, 0.3), pcb.overexpression("g3", fitted=True)],
}


@pytest.mark.parametrize("times", [None, (0, 1, 2, 4)])
@pytest.mark.parametrize("name", REGIMENS)
def test_regimens_are_simulated(name, times):
    options = {"times": times, "backend": "numpy", "solver": Tsit5(), "noise": 0.1}
    data = pcb.simulate(RING, 12, regimen=REGIMENS[name], **options)
    plain = pcb.simulate(RING, 12, **options)
    assert data["condition"].equals(plain["condition"])
    assert not np.allclose(data["true_response"], plain["true_response"], atol=1e-3)
    exact = pcb.solve(
        simulation.true_model(data), simulation.truth(data), data, solver=Tsit5(1e-9, 1e-9),
        times=times, horizon=22.0 if times is None else None, backend="numpy",
    )  # fmt: skip
    np.testing.assert_allclose(data["true_response"], exact, atol=1e-3)
    # The data are a design again, in any order of its nodes; and so is what was laid out.
    again = pcb.simulate(RING, data.isel(node=slice(None, None, -1)), **options)
    xr.testing.assert_identical(again.drop_attrs(), data.drop_attrs())
    laid = pcb.regimen(plain["perturbation"], *REGIMENS[name])
    same = pcb.simulate(RING, laid, **options)
    np.testing.assert_array_equal(same["response"], data["response"])


def test_a_design_says_its_unit_of_time_and_which_nodes_are_hidden():
    design = pcb.simulate(RING, 6, horizon=1.0, backend="numpy")["perturbation"]
    design = design.where(design["node"] != "g1", 1.0)
    kinds = np.where(design["node"] == "g3", "hidden", "protein")
    laid = pcb.regimen(
        design.assign_coords(node_kind=("node", kinds)), pcb.pulse("g1", "0 h", "2 h")
    )
    data = pcb.simulate(RING, laid, times=[1, 2], missing=0.1, backend="numpy")
    assert data["time"].attrs["units"] == data["phase_start"].attrs["units"] == "h"
    assert data["node_kind"].sel(node="g3") == "hidden"
    assert data["response"].sel(node="g3").isnull().all()
    assert data["true_response"].notnull().all()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"regimen": "pulse"}, "needs a list in which each is an instruction: pcb.pretreat"),
        ({"regimen": [pcb.pulse("X", 0, 1)]}, "there is no node 'X'"),
    ],
)
def test_regimens_of_simulations_are_checked(options, match):
    with pytest.raises(pcb.PycellboxError, match=match):
        pcb.simulate(RING, 6, backend="numpy", **options)


# ---- pictures
def test_courses_show_what_is_given_when_and_what_is_held():
    pytest.importorskip("matplotlib")
    from matplotlib.patches import Rectangle

    laid = pcb.regimen(
        experiment(),
        pcb.pretreat("A", "30 min", dose=1.0, conditions=["c0"]),
        pcb.pulse("D", "6 min", "1 h", dose=2.0, conditions=["c2"]),
    )
    figure = pcb.plot.trajectories(laid, conditions=["c0", "c2"], nodes=["A", "B"])
    shown = {}
    for ax in figure.axes:
        boxes = [p for p in ax.patches if isinstance(p, Rectangle)]
        shown[ax.get_title()] = (
            [text.get_text() for text in ax.texts],
            [(round(p.get_x(), 6), round(p.get_x() + p.get_width(), 6)) for p in boxes],
        )
        left, right = ax.get_xlim()
    assert left < -0.5
    names, spans = shown["c0"]
    assert names == ["A", "B"]
    assert spans[0][0] == -0.5
    assert spans[-1] == (0.5, round(right, 6))  # B from the second phase of the data on
    names, spans = shown["c2"]
    assert names == ["C", "D", "B held at −1"]
    end = round(right, 6)
    assert spans == [(0.0, end), (0.1, 1.0), (1.0, end), (round(left, 6), end)]
    keys = [text.get_text() for text in figure.legends[0].get_texts()]
    assert keys[-2:] == ["given", "held"]
    plain = pcb.plot.trajectories(laid.isel(phase=0, drop=True).drop_vars(["held", "phase_start"]))
    assert not any(ax.texts or ax.patches for ax in plain.axes)


# ---- fits that follow one another, splits, configurations, commands
QUICK = {"backend": "numpy", "progress": False, "solver": pcb.Heun(0.05)}


@pytest.fixture(scope="module")
def rough():
    return pcb.fit(experiment(told=-0.3), schedule=pcb.Stage(3, 0.05), **QUICK)


def test_networks_are_pruned_at_the_levels_of_the_fit(rough):
    # In some folds no condition is left that tells the level of another.
    pruned = pcb.prune(rough, edges=[6], folds=4, progress=False, backend="numpy")
    assert [int((fit.parameters["W"] != 0).sum()) for fit in pruned.path] == [12, 6]
    assert set(pruned.fit.parameters[LEVEL_OF].values) == set(rough.parameters[LEVEL_OF].values)
    given = levels_given(experiment(told=-0.3), rough.parameters)
    found = dict(
        zip(rough.parameters[LEVEL_OF].values, rough.parameters[LEVEL].values, strict=True)
    )
    assert given["held"].sel(condition="c5", node="B") == found["B held from -0.3"]
    assert given["initial_state"].sel(condition="c6", node="A") == found["A in c6"]
    assert "held_fitted" not in given
    np.testing.assert_array_equal(rough.predict(given), rough.predictions)


def test_joined_fits_keep_their_levels(rough):
    data = rough.data.drop_vars("role")
    more = pcb.fit(data, initial=rough.parameters, schedule=pcb.Stage(2, 0.05), **QUICK)
    whole = joined([rough, more])
    xr.testing.assert_identical(whole.parameters[LEVEL], more.parameters[LEVEL])
    np.testing.assert_array_equal(whole.predictions, more.predictions)


@pytest.mark.parametrize(
    "door",
    [
        pcb.splits.random,
        pcb.splits.single_to_combo,
        partial(pcb.splits.leave_one_drug_out, drug="A", keep_singles=False),
    ],
    ids=["random", "single_to_combo", "leave_one_drug_out"],
)
@pytest.mark.parametrize(
    ("spoilt", "match"),
    [
        (lambda d: d.assign_coords(replicate_of="r"), "replicate_of"),
        (lambda d: d.assign(held=("node", np.ones(4))), "held"),
        (lambda d: d.assign(held=d["held"].astype(str)), "held"),
        (lambda d: d.assign(initial_state=d["initial_state"] + np.inf), "initial_state"),
        (lambda d: d.assign_coords(phase_start=("phase", [0.0, np.nan])), "phase_start"),
        (lambda d: d.assign_coords(phase_start=("phase", [1.0, 0.0])), "phase_start"),
        (lambda d: d.isel(node=[]), "node"),
    ],
)
def test_splits_refuse_treatments_that_are_none(door, spoilt, match):
    with pytest.raises(pcb.PycellboxError, match=match):
        door(spoilt(experiment()), seed=0)


def test_replicates_of_treated_conditions_stay_on_one_side_of_a_split():
    data = experiment()
    again = data.assign_coords(condition=[f"{c}, again" for c in data["condition"].values])
    twice = pcb.validate(xr.concat([data, again], "condition", data_vars="minimal"))
    split = pcb.splits.random(twice, seed=1)
    for part in (split.train, split.validation, split.test):
        assert {c.removesuffix(", again") for c in part} <= set(part)
        assert len(part) == 2 * len({c.removesuffix(", again") for c in part})


@pytest.mark.parametrize("cut", [("held",), ("phase_start", "phase"), ("initial_state",)])
def test_an_ode_problem_has_constant_inputs(cut):
    data = experiment()
    given = data if "phase" not in cut else data["perturbation"]
    with pytest.raises(pcb.DataError, match=rf"the data have .*{cut[0]}.* one constant input"):
        pcb.to_ode_problem(CellBox(), truth(), given, horizon=1.0)


@pytest.mark.slow
def test_commands_take_treated_data(rough, tmp_path, capsys):
    data = pcb.save_data(rough.data.drop_vars("role"), tmp_path / "data.nc")
    fit = str(rough.save(tmp_path / "fit.nc"))
    words = ["fit", "--data", str(data), "--iterations", "2", "--out", str(tmp_path / "again.nc")]
    words += ["--solver", "heun", "--dt", "0.05", "--no-baselines"]
    assert main([*words, "--backend", "numpy"]) == 0
    assert LEVEL in pcb.load(tmp_path / "again.nc").parameters
    assert main(["evaluate", fit, "--data", str(data), "--no-baselines"]) == 0
    for name in ("out.nc", "out.csv"):
        assert main(["predict", fit, "--data", str(data), "--out", str(tmp_path / name)]) == 0
    predicted = xr.open_dataset(tmp_path / "out.nc").load()
    np.testing.assert_array_equal(predicted["response"], rough.predictions)
    assert {"phase_start", "held", "initial_state"} <= set(predicted.variables)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert len(lines) == 1 + rough.predictions.sizes["condition"] * 4
    capsys.readouterr()
    words = ["predict", fit, "--data", str(data), "--nodes", "x.csv", "--out", "o.csv"]
    assert main(words) == 2
    assert "--nodes goes with a table" in capsys.readouterr().err
