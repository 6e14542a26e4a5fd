"""Training: it finds known networks, stops as asked, survives blow-ups, repeats to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends.numpy.session import NumpySession
from pycellbox.errors import DataError, DivergenceError, ModelError, OptionError
from pycellbox.fitting import loop, stage
from pycellbox.fitting.roles import split_roles
from tests.support.fits import PLAIN, fitted, known_network, quick
from tests.support.problems import NODES, dataset, structure


@pytest.mark.parametrize("times", [None, (0.5, 1.0, 2.0, 4.0)], ids=["steady", "time course"])
def test_a_known_network_is_found(times):
    data, truth = known_network(times)
    fit = fitted(
        data, schedule=quick(400, decay="cosine"), solver=pcb.Heun(0.2) if times is None else None
    )
    assert (fit.ending, fit.status) == (pcb.Ending.COMPLETED, "completed")
    assert fit.history["loss"][-1] < 1e-4 * fit.history["loss"][0]
    mask = structure(PLAIN).mask
    found, true = fit.parameters["W"].values[mask], truth["W"].values[mask]
    assert np.corrcoef(found, true)[0, 1] > 0.98


@pytest.mark.slow
def test_lbfgs_finds_it_too():
    data, truth = known_network()
    stage = pcb.Stage(150, optimizer=pcb.LBFGS())
    fit = fitted(data, schedule=stage)
    assert fit.history["loss"][-1] < 1e-6
    assert (np.diff(fit.history["objective"]) <= 0).all()
    mask = structure(PLAIN).mask
    assert np.corrcoef(fit.parameters["W"].values[mask], truth["W"].values[mask])[0, 1] > 0.98


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 5}, {"optimizer": pcb.LBFGS()}, {"optimizer": pcb.AdamW(clip_norm=0.1)}],
    ids=["full batch", "minibatch", "L-BFGS", "clipped"],
)
def test_same_seed_same_bits(options):
    data = dataset(np.random.default_rng(1))
    runs = [fitted(data, schedule=quick(12, **options), seed=3, validation=0.25) for _ in range(2)]
    xr.testing.assert_identical(runs[0].parameters, runs[1].parameters)
    xr.testing.assert_identical(runs[0].history, runs[1].history)
    other = fitted(data, schedule=quick(12, **options), seed=4, validation=0.25)
    assert not np.array_equal(other.parameters["W"], runs[0].parameters["W"])


def test_masked_edges_stay_zero_and_rates_positive():
    fit = fitted(dataset(np.random.default_rng(2)), schedule=quick(30, learning_rate=0.3))
    assert (fit.parameters["W"].values[~structure(PLAIN).mask] == 0).all()
    assert (fit.parameters["alpha"] > 0).all()
    assert (fit.parameters["epsilon"] > 0).all()


def test_history_has_every_iteration():
    fit = fitted(dataset(np.random.default_rng(3)), schedule=[quick(5), quick(4, horizon=2.0)])
    h = fit.history
    assert h.sizes["iteration"] == 9
    np.testing.assert_array_equal(h["stage"], [0] * 5 + [1] * 4)
    np.testing.assert_array_equal(h["horizon"], [4.0] * 5 + [2.0] * 4)
    assert np.isnan(h["validation_loss"]).all()
    assert np.isfinite(h["gradient_norm"]).all()
    assert fit.horizon == 2.0


def test_validation_chooses_the_best_parameters():
    data = dataset(np.random.default_rng(4), conditions=16)
    fit = fitted(data, schedule=quick(80, learning_rate=0.2), validation=0.4)
    roles = fit.data["role"].values
    assert (roles == "validation").sum() == 6
    held_out = fit.data.isel(condition=np.flatnonzero(roles == "validation"))
    loss = float(((fit.predict(held_out) - held_out["response"]) ** 2).mean())
    best = float(fit.history["validation_loss"].min())
    assert loss == pytest.approx(best, rel=1e-9)
    assert best < fit.history["validation_loss"][-1]  # noise is overfitted by the end


def test_patience_stops_early():
    data = dataset(np.random.default_rng(4), conditions=16)
    fit = fitted(data, schedule=quick(500, learning_rate=0.2, patience=5), validation=0.4)
    validation = fit.history["validation_loss"].values
    assert fit.history.sizes["iteration"] == int(validation.argmin()) + 6 < 500


def test_validation_by_label_and_by_dataset_agree():
    data = dataset(np.random.default_rng(5))
    names = ["c3", "c7"]
    by_label = fitted(data, validation=names)
    rest = data.drop_sel(condition=names)
    by_dataset = fitted(rest, validation=data.sel(condition=names))
    np.testing.assert_allclose(
        by_label.history["validation_loss"], by_dataset.history["validation_loss"], rtol=1e-12
    )


def test_a_validation_dataset_may_carry_another_truth():
    network = pcb.networks.demo_network()
    train, other = (
        pcb.simulate(network, 8, horizon=10.0, alpha=(0.5, 1.5), seed=s, backend="numpy")
        for s in (0, 1)
    )
    other = other.assign_coords(condition=[f"v{c}" for c in other["condition"].values])
    fit = fitted(train, validation=other, schedule=quick(2), model=None)
    assert list(fit.data["role"].values) == ["train"] * 8 + ["validation"] * 8


def with_replicates(times=None, conditions=12) -> xr.Dataset:
    """Condition i + half is a replicate of condition i, but for the last bits."""
    data = dataset(np.random.default_rng(5), conditions, times)
    u = data["perturbation"].values
    u[conditions // 2 :] = u[: conditions // 2] * (1 + 1e-9)
    x = data["response"].values
    x[conditions // 2 :] = x[: conditions // 2] + 0.01
    return data


@pytest.mark.parametrize("times", [None, (1.0, 2.0)])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.34, 0.5])
def test_a_validation_share_keeps_replicates_together(times, share):
    data = with_replicates(times)
    for seed in range(8):
        _, roles = split_roles(data, share, seed)
        np.testing.assert_array_equal(roles[:6], roles[6:])
        assert (roles == "validation").sum() == max(2, 2 * int(share * 6))


def test_a_validation_share_without_replicates_is_drawn_as_ever():
    data = dataset(np.random.default_rng(5), conditions=20)
    _, roles = split_roles(data, 0.25, seed=3)
    drawn = np.random.default_rng([3, 1]).permutation(20)[:5]
    np.testing.assert_array_equal(np.flatnonzero(roles == "validation"), np.sort(drawn))


def test_replicates_alone_have_no_validation_share():
    data = with_replicates(conditions=2)
    with pytest.raises(DataError, match=r"all 2 conditions are replicates.*leave it out"):
        fitted(data, validation=0.5)


@pytest.mark.parametrize("as_dataset", [False, True])
def test_validation_that_parts_replicates_is_warned_of_once(as_dataset):
    data, names = with_replicates(), ["c7", "c11", "c3", "c9"]
    given = {"data": data, "validation": names}
    if as_dataset:
        given = {"data": data.drop_sel(condition=names)}
        given["validation"] = data.sel(condition=names, node=data["node"].values[::-1])
    with pytest.warns(pcb.DataWarning) as caught:
        fit = fitted(**given, schedule=quick(2))
    (warning,) = caught
    text = str(warning.message)
    assert "2 of 4 validation conditions are replicates of fitted ones" in text
    assert "c7 (perturbed as c1)" in text
    assert "c11 (perturbed as c5)" in text
    assert "c9" not in text
    judging = fit.data["condition"].values[fit.data["role"].values == "validation"]
    assert set(judging) == set(names)


def test_validation_without_parted_replicates_is_not_warned_of(recwarn):
    fitted(with_replicates(), validation=["c1", "c7"], schedule=quick(2))
    fitted(with_replicates(), validation=0.34, schedule=quick(2))
    assert not [w for w in recwarn if issubclass(w.category, pcb.DataWarning)]


def test_minibatches_see_every_condition_once_an_epoch():
    data = dataset(np.random.default_rng(6), conditions=11)
    fit = fitted(data, schedule=quick(9, batch_size=4), validation=["c0"])
    evaluated = ~np.isnan(fit.history["validation_loss"].values)
    np.testing.assert_array_equal(evaluated, [False, False, True] * 3)


@pytest.mark.filterwarnings("ignore:the steps of Heun:pycellbox.NumericsWarning")
def test_an_update_may_see_the_first_times_alone(monkeypatch):
    seen = []
    evaluate = NumpySession.loss_and_gradient

    def listen(self, parameters, rows=None, prefix=None):
        seen.append(prefix)
        return evaluate(self, parameters, rows, prefix)

    monkeypatch.setattr(NumpySession, "loss_and_gradient", listen)
    data = dataset(np.random.default_rng(6), times=(0.5, 1.0, 1.5, 2.0))
    first, again = (fitted(data, schedule=quick(40, prefix=2)) for _ in range(2))
    assert set(seen) == {2, 3, 4}
    xr.testing.assert_identical(first.parameters, again.parameters)
    seen.clear()
    fitted(data, schedule=quick(5))
    assert set(seen) == {None}


def test_a_prefix_needs_times():
    courses = dataset(np.random.default_rng(6), times=(0.5, 1.0))
    with pytest.raises(OptionError, match="prefix=3, but the data has 2 times"):
        fitted(courses, schedule=quick(5, prefix=3))
    with pytest.raises(OptionError, match="prefix=1, but the data has steady states"):
        fitted(dataset(np.random.default_rng(6)), schedule=quick(5, prefix=1))
    with pytest.raises(OptionError, match="L-BFGS needs all times"):
        pcb.Stage(5, prefix=2, optimizer=pcb.LBFGS())


def test_missing_entries_and_sigma_count_as_they_should():
    rng = np.random.default_rng(7)
    data = dataset(rng)
    data["sigma"] = data["response"] * 0 + 0.5
    weighted = fitted(data)
    plain = fitted(data.drop_vars("sigma"))
    np.testing.assert_allclose(weighted.history["loss"][0], 4 * plain.history["loss"][0])
    holed = data.drop_vars("sigma").copy(deep=True)
    holed["response"][0, 1] = np.nan
    fit = fitted(holed)
    assert np.isfinite(fit.history["loss"]).all()
    assert fit.history["loss"][0] != plain.history["loss"][0]


def test_sum_scale_is_mean_scale_over_the_number_of_entries():
    data = dataset(np.random.default_rng(8))
    n = data["response"].size
    by_sum = fitted(data, penalty=pcb.Penalty(l1=0.5, l2=2.0, scale="sum"))
    by_mean = fitted(data, penalty=pcb.Penalty(l1=0.5 / n, l2=2.0 / n))
    np.testing.assert_allclose(by_sum.history["objective"], by_mean.history["objective"])


@pytest.mark.parametrize(
    "model",
    [
        pcb.CellBox(),
        pcb.CellBox(drug_columns="free"),
        pcb.CellBox(response_range="held"),
        pcb.CellBox(form=2, degree=2, drugs="clamped"),
        pcb.CellBox(form="ji"),
    ],
    ids=repr,
)
def test_objective_gradient_agrees_with_finite_differences(model):
    """Through softplus, mask, shared columns, held range and penalties."""
    from pycellbox.backends import get_backend
    from pycellbox.fitting.objective import Objective
    from pycellbox.numerics.parametrization import NetworkParametrization
    from pycellbox.numerics.priors import Priors
    from tests.support.problems import random_parameters, random_problem

    rng = np.random.default_rng(9)
    problem = random_problem(model, rng)
    session = get_backend("numpy").session(problem, pcb.Heun(0.2), pcb.Loss(), "discrete")
    par = NetworkParametrization(problem.structure, rng.uniform(1, 2, len(NODES)))
    groups = {"drug_to_node": 0.1, "drug_shared": 0.3, "node_to_node": 0.2}
    penalty, priors = pcb.Penalty(l1=groups, l2=groups), Priors(par.structure.layout)
    objective = Objective(session, par, penalty, 50, priors, 1.0)
    raw = par.unconstrain(random_parameters(model, rng, scale=0.5))
    _, _, gradient = objective.value_and_gradient(raw)
    for place in par.layout.places.values():
        for index in rng.integers(place.start, place.stop, 12):
            h, center = 1e-6, raw[index]
            ends = []
            for sign in (1, -1):
                raw[index] = center + sign * h
                ends.append(objective.value_and_gradient(raw)[0])
            raw[index] = center
            wanted = (ends[0] - ends[1]) / (2 * h)
            assert gradient[index] == pytest.approx(wanted, abs=1e-7), index


def test_raw_and_effective_parameters_go_back_and_forth():
    from pycellbox.numerics.parametrization import NetworkParametrization
    from tests.support.problems import random_parameters

    for model in (pcb.CellBox(), pcb.CellBox(form=2), pcb.CellBox(form="ji-code")):
        p = random_parameters(model, np.random.default_rng(10))
        par = NetworkParametrization(structure(model), np.ones(len(NODES)))
        back = par.constrain(par.unconstrain(p))
        assert set(back) == set(p)
        for name in p:
            np.testing.assert_allclose(back[name], p[name], rtol=1e-12, atol=1e-15)


def test_held_range_ties_epsilon_to_alpha():
    data = dataset(np.random.default_rng(11))
    fit = fitted(data, model=pcb.CellBox(response_range="held", dose_saturation=None))
    reach = np.maximum(1.0, 1.5 * np.abs(data["response"]).max("condition"))
    np.testing.assert_allclose(fit.parameters["epsilon"] / fit.parameters["alpha"], reach)


def test_an_unseen_drug_acts_like_the_average_one():
    data = dataset(np.random.default_rng(12))  # drugs x and y in turn
    only_x = data.isel(condition=slice(0, None, 2))
    stage = quick(60)
    shared = fitted(only_x, model=pcb.CellBox(), schedule=stage,
                    penalty=pcb.Penalty(l2=0.1))  # fmt: skip
    free = fitted(only_x, model=pcb.CellBox(drug_columns="free"), schedule=stage,
                  penalty=pcb.Penalty(l2=0.1))  # fmt: skip
    column = {"source": "y", "target": list("ABCD")}
    assert np.abs(shared.parameters["W"].sel(column)).max() > 0.05
    assert np.abs(free.parameters["W"].sel(column)).max() < 0.05


class TestBlowUp:
    """A trajectory that leaves the finite numbers."""

    linear = pcb.CellBox(envelope="linear", dose_saturation=None, drug_columns="free")

    def test_a_too_long_step_is_retried_smaller(self):
        fit = fitted(
            dataset(np.random.default_rng(13)), model=self.linear, solver=pcb.Heun(0.5),
            horizon=400.0, schedule=quick(40, learning_rate=1.0),
            initial=pcb.Initialization(weight_scale=0.01),
        )  # fmt: skip
        assert fit.provenance["steps_retried"] > 0
        assert np.isfinite(fit.parameters["W"]).all()
        assert np.isfinite(fit.predictions).all()

    def test_a_fit_that_cannot_go_on_ends_with_the_best_so_far(self, monkeypatch):
        calls = {"n": 0}
        original = stage.Objective.value_and_gradient

        def failing(self, raw, rows=None, prefix=None):
            calls["n"] += 1
            if calls["n"] > 5:
                raise DivergenceError("it blew up.")
            return original(self, raw, rows, prefix)

        monkeypatch.setattr(stage.Objective, "value_and_gradient", failing)
        fit = fitted(dataset(np.random.default_rng(14)))
        assert fit.status == "stopped in stage 0: it blew up."
        assert fit.ending is pcb.Ending.DIVERGED
        assert fit.history.sizes["iteration"] == 5
        assert np.isfinite(fit.parameters["W"]).all()

    def test_a_start_that_blows_up_is_an_error(self):
        with pytest.raises(DivergenceError, match=r"cannot start.*Initialization"):
            fitted(
                dataset(np.random.default_rng(15)), model=self.linear, horizon=400.0,
                initial=pcb.Initialization(weight_scale=5.0),
            )  # fmt: skip

    def test_lbfgs_comes_back_from_a_blow_up(self):
        fit = fitted(
            dataset(np.random.default_rng(16)), model=self.linear, solver=pcb.Heun(0.5),
            horizon=300.0, schedule=pcb.Stage(30, optimizer=pcb.LBFGS()),
        )  # fmt: skip
        assert np.isfinite(fit.parameters["W"]).all()
        assert fit.history["loss"][-1] < fit.history["loss"][0]


def test_an_interrupt_keeps_the_partial_result(monkeypatch):
    original = stage.StageRun._record

    def interrupting(self, *args):
        if len(self.t.history) == 7:
            raise KeyboardInterrupt
        original(self, *args)

    monkeypatch.setattr(stage.StageRun, "_record", interrupting)
    fit = fitted(dataset(np.random.default_rng(17)))
    assert fit.status == "interrupted in stage 0"
    assert fit.ending is pcb.Ending.INTERRUPTED
    assert fit.history.sizes["iteration"] == 7
    assert fit.history["loss"][-1] < fit.history["loss"][0]


def test_warm_start_from_parameters():
    data, truth = known_network()
    fit = fitted(data, initial=truth, schedule=quick(1, learning_rate=0.0), solver=pcb.RK4(0.05))
    assert fit.history["loss"][0] < 1e-20


def test_float32():
    fit = fitted(dataset(np.random.default_rng(19)), dtype="float32")
    assert fit.parameters["W"].dtype == np.float32
    assert fit.predictions.dtype == np.float32
    assert fit.history["loss"][-1] < fit.history["loss"][0]


@pytest.mark.filterwarnings("ignore:responses at time 0 differ:pycellbox.DataWarning")
def test_time_courses_may_be_fitted_up_to_a_horizon():
    data = dataset(np.random.default_rng(20), times=(0.0, 0.5, 1.0, 2.0))
    fit = fitted(data, schedule=[quick(3, horizon=0.7), quick(3)])
    np.testing.assert_array_equal(fit.history["horizon"], [0.5] * 3 + [2.0] * 3)
    assert fit.predictions.dims == ("condition", "time", "node")
    with pytest.raises(OptionError, match=r"stage 0 ends at 0.2, before the first measured time"):
        fitted(data.isel(time=slice(1, None)), schedule=quick(3, horizon=0.2))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"schedule": []}, "non-empty list"),
        ({"schedule": "fast"}, "pcb.Stage"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 1.5}, "seed=1.5"),
        ({"penalty": 0.1}, "pcb.Penalty"),
        ({"loss": "rmse"}, "loss='rmse'"),
        ({"initial": 3}, "Initialization"),
        ({"solver": "Heun"}, "one of Euler"),
        ({"backend": "torch"}, "backend='torch'.*numpy"),
        ({"validation": 1.5}, "≥ 0 and < 1"),
        ({"validation": 0.01}, "leaves an empty set"),
        ({"validation": ["nobody"]}, "unknown condition.*nobody"),
        ({"validation": [f"c{i}" for i in range(12)]}, "nothing is left"),
        ({"horizon": -1.0}, "horizon=-1"),
    ],
)
def test_bad_arguments_stop_before_any_work(options, match, monkeypatch):
    monkeypatch.setattr(loop.Training, "run", lambda *a: pytest.fail("work was started"))
    with pytest.raises(OptionError, match=match):
        pcb.fit(dataset(np.random.default_rng(21)), **({"progress": False} | options))


def test_a_horizon_for_time_courses_is_refused():
    data = dataset(np.random.default_rng(22), times=(1.0, 2.0))
    with pytest.raises(OptionError, match=r"steady-state data.*Stage"):
        pcb.fit(data, horizon=3.0, progress=False)


def test_validation_dataset_must_match():
    data = dataset(np.random.default_rng(23))
    with pytest.raises(DataError, match="in both"):
        fitted(data, validation=data.isel(condition=[0]))
    other = data.isel(condition=[0]).assign_coords(condition=["new"])
    with pytest.raises(DataError, match="other nodes"):
        fitted(data, validation=other.isel(node=slice(0, 6)))


class TestHorizon:
    """That of the last stage that ran; a stage without one has the fit's."""

    @pytest.mark.parametrize(
        ("horizons", "wanted"),
        [
            ([None], 4.0),
            ([1.0], 1.0),
            ([1.0, None], 4.0),
            ([None, 1.0], 1.0),
            ([1.0, 2.0, None], 4.0),
            ([3.0, None, 2.0], 2.0),
        ],
        ids=repr,
    )
    def test_is_the_last_stages(self, horizons, wanted):
        data = dataset(np.random.default_rng(30))
        fit = fitted(data, schedule=[quick(2, horizon=h) for h in horizons])
        assert fit.horizon == wanted == fit.history["horizon"][-1]
        network = (fit.model, fit.parameters, data["perturbation"])
        states = pcb.solve(*network, solver=fit.solver, horizon=wanted, backend="numpy")
        np.testing.assert_array_equal(fit.predictions.values, states.values)
        assert fit.recipe.horizon == 4.0

    @pytest.mark.parametrize("error", [DivergenceError("too far."), KeyboardInterrupt()], ids=repr)
    @pytest.mark.parametrize(("last", "wanted"), [(3, 1.0), (4, 2.0)])
    def test_is_not_that_of_a_stage_that_was_not_reached(self, error, last, wanted, monkeypatch):
        """Two iterations at 1, two at 2, two at 3; the fit ends before iteration ``last``."""
        original, calls = stage.Objective.value_and_gradient, []

        def failing(self, raw, rows=None, prefix=None):
            if len(calls) >= last - 1:  # and every retry of it
                raise error
            calls.append(1)
            return original(self, raw, rows, prefix)

        monkeypatch.setattr(stage.Objective, "value_and_gradient", failing)
        # With validation, nothing looks at the objective after the last update of a stage.
        fit = fitted(
            dataset(np.random.default_rng(31)), validation=0.25,
            schedule=[quick(2, horizon=h) for h in (1.0, 2.0, 3.0)],
        )  # fmt: skip
        assert fit.status != "completed"
        assert fit.history.sizes["iteration"] == last - 1
        assert fit.horizon == wanted

    def test_a_fit_that_never_began_has_its_own(self, monkeypatch):
        def interrupt(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(stage.Objective, "value_and_gradient", interrupt)
        fit = fitted(dataset(np.random.default_rng(32)), schedule=quick(2, horizon=1.0))
        assert fit.horizon == 4.0

    def test_time_courses_have_none(self):
        data = dataset(np.random.default_rng(33), times=(0.5, 1.0, 2.0))
        assert fitted(data, schedule=[quick(1, horizon=1.0)]).horizon is None

    def test_of_fits_joined(self):
        from pycellbox.interop.joining import joined

        data = dataset(np.random.default_rng(34))
        fits = [fitted(data, schedule=quick(2, horizon=h)) for h in (1.0, 2.0)]
        assert joined(fits).horizon == 2.0
        idle = pcb.Fit(fits[1].tree)
        idle._tree["history"] = xr.DataTree(fits[1].history.isel(iteration=slice(0, 0)))
        assert joined([fits[0], idle]).horizon == 1.0


@pytest.mark.filterwarnings(
    "ignore:2 of 2 validation conditions are replicates:pycellbox.DataWarning"
)
class TestWhatIsGiven:
    """It is not changed, and what is done to it afterwards does not change the fit."""

    def given(self, times=None):
        data = dataset(np.random.default_rng(40), conditions=14, times=times)
        mask = structure(PLAIN).mask
        rates = {"drug_to_node": 0.02, "node_to_node": 0.02}
        return data, {
            "model": pcb.CellBox(mask=mask, dose_saturation=None, drug_columns="free"),
            "schedule": [quick(2, learning_rate=rates)],
            "penalty": pcb.Penalty(l2={"node_to_node": 0.1}),
            "validation": data.isel(condition=[0, 1]).assign_coords(condition=["v0", "v1"]),
            "initial": fitted(data, schedule=quick(1)).parameters,
        }

    @pytest.mark.parametrize("times", [None, (0.5, 1.0)], ids=["steady", "courses"])
    def test_is_left_alone(self, times):
        data, options = self.given(times)
        before = [
            data.copy(deep=True),
            *(options[k].copy(deep=True) for k in ("validation", "initial")),
        ]
        fitted(data, **options)
        for was, now in zip(before, [data, options["validation"], options["initial"]], strict=True):
            xr.testing.assert_identical(was, now)

    @pytest.mark.parametrize("times", [None, (0.5, 1.0)], ids=["steady", "courses"])
    def test_may_be_changed_afterwards(self, times):
        data, options = self.given(times)
        mask = np.array(structure(PLAIN).mask)
        rates, l2 = {"drug_to_node": 0.02}, {"node_to_node": 0.1}
        options["model"] = pcb.CellBox(mask=mask, dose_saturation=None, drug_columns="free")
        options["schedule"] = [quick(2, learning_rate=rates)]
        options["penalty"] = pcb.Penalty(l2=l2)
        mask[:] = False
        rates["drug_to_node"], l2["node_to_node"] = -1.0, -1.0
        fit = fitted(data, **options)
        predicted, kept = fit.predict(data).copy(deep=True), fit.data
        options["schedule"].clear()
        for given in (data, options["validation"], options["initial"]):
            for array in given.variables.values():
                if array.dtype.kind == "f" and array.dims != ("time",):
                    array.values[...] = 7.0
        u = kept["perturbation"].isel(condition=slice(2, None))
        np.testing.assert_array_equal(fit.predict(kept), fit.predictions)
        xr.testing.assert_identical(fit.data, kept)
        assert u.size
        np.testing.assert_array_equal(predicted, fit.predict(kept)[: predicted.sizes["condition"]])
        assert fit.recipe.stages[0].rates()["drug_to_node"] == 0.02


@pytest.mark.parametrize("name", ["coordinate", "variable", "dimension", "validation"])
def test_a_role_of_the_users_own_is_refused(name, monkeypatch):
    monkeypatch.setattr(loop.Training, "run", lambda *a: pytest.fail("work was started"))
    data = dataset(np.random.default_rng(41))
    roles = ["train"] * 8 + ["test"] * 4
    options = {}
    if name == "coordinate":
        data = data.assign_coords(role=("condition", roles))
    elif name == "variable":
        data["role"] = ("condition", roles)
    elif name == "dimension":
        data["other"] = ("role", [1.0, 2.0])
    else:
        other = data.isel(condition=[0]).assign_coords(condition=["v"], role=("condition", ["?"]))
        options["validation"] = other
    with pytest.raises(DataError, match=r"'role'.*drop_vars"):
        fitted(data, **options)


OWN = ("settled", "residual", "mask", "target", "source", "stage", "iteration", "time", "horizon")


@pytest.mark.slow
@pytest.mark.parametrize("solver", [pcb.SteadyState(), pcb.Heun(0.2)], ids=["steady", "heun"])
def test_other_names_of_the_users_own_are_kept_and_change_nothing(solver, tmp_path):
    data = dataset(np.random.default_rng(42), conditions=14)
    named = data.assign_coords({name: ("condition", np.arange(14.0)) for name in OWN})
    options = {"solver": solver, "validation": 0.3, "schedule": quick(3)}
    plain, fit = fitted(data, **options), fitted(named, **options)
    xr.testing.assert_identical(plain.parameters, fit.parameters)
    xr.testing.assert_identical(plain.predictions, fit.predictions)
    for name in OWN:
        np.testing.assert_array_equal(fit.data[name], np.arange(14.0))
    again = pcb.load(fit.save(tmp_path / "fit.nc"))
    xr.testing.assert_identical(again.data, fit.data)
    for result in (fit, again):
        np.testing.assert_array_equal(result.predict(named), plain.predictions)
        score = result.evaluate(named, baselines=False).table
        assert score.equals(plain.evaluate(data, baselines=False).table)
    pruned = pcb.prune(fit, edges=[8], schedule=quick(1))
    np.testing.assert_array_equal(pruned.fit.data["settled"].sortby("condition").size, 14)


@pytest.mark.filterwarnings(
    "ignore:2 of 2 validation conditions are replicates:pycellbox.DataWarning"
)
def test_coordinates_that_one_set_has_alone_do_not_hinder():
    data = dataset(np.random.default_rng(43))
    other = data.isel(condition=[0, 1]).assign_coords(condition=["v0", "v1"])
    for one, two in ((data.assign_coords(batch=("condition", [1] * 12)), other),
                     (data, other.assign_coords(batch=("condition", [2] * 2)))):  # fmt: skip
        fit = fitted(one, validation=two, schedule=quick(1))
        assert (fit.data["role"].values == "validation").sum() == 2


def test_a_split_without_validation_conditions_has_none():
    data = dataset(np.random.default_rng(44))
    train, validation, _ = pcb.splits.random(data, seed=0, train_fraction=1).apply(data)
    assert validation.sizes["condition"] == 0
    fit = fitted(train, validation=validation, schedule=quick(1))
    assert (fit.data["role"] == "train").all()


@pytest.mark.parametrize(
    ("kinds", "model", "match"),
    [
        (["drug", "drug", "phenotype"], {}, "1 phenotype, 2 drug.*Measure proteins"),
        (["drug", "phenotype", "phenotype"], {"drugs": "clamped"}, "allow no interaction"),
        (["protein"], {}, "self_interaction=True"),
        (["phenotype", "phenotype"], {"self_interaction": True}, "a phenotype acts on nothing"),
        (["protein", "protein", "drug"], {"mask": np.zeros((3, 3))}, "mask allows no interaction"),
        (["protein", "protein", "drug"], {"mask": np.eye(3)}, "leave the mask out"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("times", [None, (1.0, 2.0)], ids=["steady", "courses"])
def test_nothing_to_fit_is_said_before_any_work(kinds, model, match, times, monkeypatch):
    monkeypatch.setattr(loop.Training, "run", lambda *a: pytest.fail("work was started"))
    data = dataset(np.random.default_rng(45), times=times).isel(node=slice(0, len(kinds)))
    data = data.assign_coords(node_kind=("node", kinds))
    match = match.replace("1 phenotype, 2 drug", "2 drug, 1 phenotype")
    with pytest.raises(ModelError, match=match):
        pcb.fit(data, pcb.CellBox(**model), progress=False)
