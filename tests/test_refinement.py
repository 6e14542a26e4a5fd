"""Levenberg–Marquardt from a fit, elimination, standard errors."""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import networks
from pycellbox.backends import get_backend
from pycellbox.errors import DivergenceError, ModelError, NumericsWarning, OptionError, SolverError
from pycellbox.ji.experiment import JI_MODEL, ji_experiment
from pycellbox.numerics.sensitivity import Sensitivity
from pycellbox.objective import SHIFT_GROUPS
from pycellbox.problem import Problem, structure_of
from pycellbox.refinement import refine, standard_errors
from pycellbox.refinement.elimination import eliminate, inverse
from pycellbox.refinement.trajectories import Trajectories
from pycellbox.simulation import truth

SOLVER = pcb.RK4(0.25)


def network(n: int, drugs: int = 0) -> networks.Network:
    return networks.random_network(n, 0.4, n_drugs=drugs, n_phenotypes=0, seed=2)


@pytest.fixture(scope="module")
def experiment() -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
    return ji_experiment("CY", seed=20, backend="numpy")


def near(
    train: xr.Dataset,
    model: pcb.CellBox = JI_MODEL,
    *,
    disturbance: float = 0.1,
    seed: int = 0,
    **options: object,
) -> pcb.Fit:
    """Return a fit near the truth, as gradient descent would leave one."""
    start = truth(train)
    allowed = start["W"].values != 0 if not model.self_interaction else np.True_
    noise = disturbance * np.random.default_rng(seed).standard_normal(start["W"].shape)
    return pcb.fit(
        train, model, initial=start.assign(W=start["W"] + np.where(allowed, noise, 0.0)),
        schedule=pcb.Stage(1, learning_rate=0.0), penalty=pcb.Penalty(), solver=SOLVER,
        backend="numpy", progress=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def rough(experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset]) -> pcb.Fit:
    return near(experiment[0], validation=experiment[1])


@pytest.fixture(scope="module")
def refined(rough: pcb.Fit) -> pcb.Fit:
    return refine(rough)


def test_what_a_refined_network_felt_is_its_ridge(refined):
    note, felt = refined.provenance["refinement"], refined._predictor.penalty
    assert felt.scale == "sum"
    assert set(felt.strengths("l2").values()) == {(note["ridge"] or 0.5 * note["noise"]) ** 2}


@pytest.mark.parametrize(
    "options",
    [*({"form": form} for form in pcb.models.FORMS), dict.fromkeys(SHIFT_GROUPS, True)],
    ids=repr,
)
@pytest.mark.parametrize("degree", [1, 2])
def test_jacobian_agrees_with_differences(options: dict[str, Any], degree: int) -> None:
    rng = np.random.default_rng(0)
    model = pcb.CellBox(degree=degree, drug_columns="free", self_interaction=True, **options)
    n = 4
    nodes = [f"n{i}" for i in range(n)]
    data = xr.Dataset(
        {
            "perturbation": (("condition", "node"), rng.normal(size=(3, n))),
            "response": (("condition", "time", "node"), np.zeros((3, 2, n))),
        },
        {
            "condition": list("abc"),
            "node": nodes,
            "time": ("time", [1.0, 3.0], {"units": "1"}),
            "node_kind": ("node", ["protein"] * 3 + ["drug"]),
        },
    )
    problem = Problem.from_dataset(data, structure_of(data, model), None)
    sensitivity = Trajectories(problem, get_backend("numpy"), pcb.RK4(0.05))
    support = problem.structure.mask
    theta = 0.4 * rng.normal(size=problem.structure.layout.free.size)
    J = sensitivity.jacobian(sensitivity.unpack(theta, support), support)
    differences = np.empty_like(J)
    for q in range(theta.size):
        step = np.eye(theta.size)[q] * 1e-5
        up, down = (
            sensitivity.states(sensitivity.unpack(theta + s, support)) for s in (step, -step)
        )
        differences[..., q] = (up - down) / 2e-5
    largest = np.abs(differences).max()
    np.testing.assert_allclose(J, differences, atol=0.03 * largest)
    parameters = sensitivity.unpack(theta, support)
    exact = sensitivity.sensitivity.jacobian(parameters, support, slopes=parameters, pace=0.05)
    np.testing.assert_allclose(exact, differences, atol=1e-5 * largest)


def test_refining_finds_the_edges_and_the_minimum(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset], rough: pcb.Fit, refined: pcb.Fit
) -> None:
    _, _, test = experiment
    true = truth(test)
    assert (refined.parameters["W"].values != 0).sum() < (true["W"].values != 0).sum() + 4
    np.testing.assert_allclose(refined.parameters["W"], true["W"], atol=0.02)
    errors = [
        np.abs(f.predict(test).values - test["true_response"].values).mean()
        for f in (rough, refined)
    ]
    assert errors[1] < 1e-3 < errors[0]


def test_mask_of_the_refined_model_has_the_edges_that_are_left(refined: pcb.Fit) -> None:
    mask, W = refined.model.mask, refined.parameters["W"]
    assert (W.values[~np.asarray(mask)] == 0).all()
    assert int(np.asarray(mask).sum()) == refined.provenance["refinement"]["edges"][-1]


def test_noise_is_estimated(refined: pcb.Fit) -> None:
    # 10 conditions × 5 times × 6 nodes: the estimate is good to some 4 %.
    assert refined.provenance["refinement"]["noise"] == pytest.approx(0.001, rel=0.15)
    assert refined.provenance["refinement"]["followed"] == 1.0


def test_history_goes_on(rough: pcb.Fit, refined: pcb.Fit) -> None:
    before, after = rough.history.sizes["iteration"], refined.history.sizes["iteration"]
    more = refined.history["loss"].values[before:]
    assert after > before
    assert set(refined.history["stage"].values[before:]) == {1}
    assert more[-1] < more[0]


def test_refined_fit_is_saved_and_loaded(refined: pcb.Fit, tmp_path: object) -> None:
    path = refined.save(f"{tmp_path}/fit.nc")
    again = pcb.load(path)
    xr.testing.assert_identical(again.parameters, refined.parameters)
    np.testing.assert_array_equal(np.asarray(again.model.mask), np.asarray(refined.model.mask))


def test_validation_conditions_play_no_part(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset], refined: pcb.Fit
) -> None:
    train = experiment[0]
    np.testing.assert_allclose(
        refine(near(train)).parameters["W"], refined.parameters["W"], rtol=1e-6, atol=1e-9
    )


def test_without_elimination_every_edge_stays(rough: pcb.Fit) -> None:
    full = refine(rough, eliminate=False)
    assert (full.parameters["W"].values != 0).all()
    assert full.model == rough.model


@pytest.mark.slow
def test_what_follows_an_unstable_state_waits_for_its_edges() -> None:
    # In BF some conditions perturb outputs only: the rest sits on an unstable state, and a weight
    # of 1e-3 that should be zero sends it elsewhere.
    train, validation, _ = ji_experiment("BF", seed=10, backend="numpy")
    fit = near(train, validation=validation, disturbance=0.002)
    straying = np.abs(fit.predictions - fit.data["response"]).max(["time", "node"])
    assert float(straying.max()) > 0.5
    refinement = refine(fit).provenance["refinement"]
    assert refinement["followed"] == 1.0
    assert refinement["edges"][-1] == 12


def test_steady_states_are_refined() -> None:
    model = pcb.CellBox(drug_columns="free")
    data = pcb.simulate(network(5), 30, model=model, noise=0.001, horizon=10.0, backend="numpy")
    fit = near(data, model, horizon=10.0)
    better = refine(fit)
    error = [np.abs(f.predict(data) - data["true_response"]).mean() for f in (fit, better)]
    assert error[1] < 2e-3
    assert error[1] < error[0]


def test_operating_points_and_common_effects_are_refined() -> None:
    made = network(5, drugs=2)
    free = made.node_kind != "drug"
    made = dataclasses.replace(made, b=0.5 * free, common=-0.3 * free)
    nodes = list(made.nodes)
    train = pcb.simulate(made, 24, times=[1.0, 3.0], solver=SOLVER, perturbed_nodes=nodes)
    true = truth(train)
    model = dataclasses.replace(made.model, drug_columns="free")
    start = pcb.fit(
        train, model, initial=true.assign(b=0.7 * true["b"], common=0 * true["common"]),
        schedule=pcb.Stage(1, learning_rate=0.0), solver=SOLVER, progress=False,
    )  # fmt: skip
    refined = refine(start, eliminate=False, ridge=1e-6)
    for name in ("b", "common"):
        np.testing.assert_allclose(refined.parameters[name], true[name], atol=1e-3)
    errors = standard_errors(model, true, train, noise=0.01, solver=SOLVER)
    for name in ("b", "common"):
        assert (errors[name].values > 0)[free].all()
        assert not errors[name].values[~free].any()


def test_missing_responses_do_not_count(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset],
) -> None:
    train = experiment[0].copy(deep=True)
    train["response"][0, 2, 1] = np.nan
    refined = refine(near(train))
    np.testing.assert_allclose(refined.parameters["W"], truth(train)["W"], atol=0.03)


def test_elimination_prices_with_the_others_adjusting() -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 5))
    true = np.array([1.0, 0.0, -2.0, 0.0, 0.5])
    y = X @ true + 0.1 * rng.normal(size=200)
    theta = np.linalg.lstsq(X, y, rcond=None)[0]
    new, alive = eliminate(theta, X.T @ X, 5, 0.01, np.log(200))
    np.testing.assert_array_equal(alive, true != 0)
    # A linear problem is its own quadratic model: the rest are where refitting puts them.
    expected = np.linalg.lstsq(X[:, alive], y, rcond=None)[0]
    np.testing.assert_allclose(new[alive], expected, rtol=1e-9)
    assert (new[~alive] == 0).all()
    assert eliminate(theta, X.T @ X, 5, 0.01, np.log(200), most=1)[1].sum() == 4


@pytest.mark.slow
def test_standard_errors_are_those_of_repeated_fits(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset],
) -> None:
    train = experiment[0]
    true = truth(train)
    predicted = standard_errors(
        JI_MODEL, true, train, noise=0.001, solver=SOLVER, predict=train, backend="numpy"
    )
    rng = np.random.default_rng(5)
    estimates = []
    for _ in range(8):
        noisy = train["true_response"] + 0.001 * rng.standard_normal(train["response"].shape)
        start = near(train.assign(response=noisy), disturbance=0.0)
        estimates.append(refine(start, eliminate=False, ridge=1e-6))
    W = np.stack([e.parameters["W"].values for e in estimates])
    x = np.stack([e.predictions.values for e in estimates])
    pairs = [
        (W - true["W"].values, predicted["W"].values),
        (x - train["true_response"].values, predicted["response"].values),
    ]
    for found, bound in pairs:
        ratio = np.sqrt((found**2).mean(axis=0).sum() / (bound**2).sum())
        assert 0.6 < ratio < 1.5


def test_what_was_never_seen_has_an_infinite_error(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset],
) -> None:
    train = experiment[0]
    # Nothing moves without a perturbation: no weight can be told.
    still = train.isel(condition=[0]).copy(deep=True)
    still["perturbation"][:] = 0.0
    options = {"noise": 0.001, "solver": SOLVER, "backend": "numpy"}
    errors = standard_errors(JI_MODEL, truth(train), still, **options)
    assert np.isinf(errors["W"].values).all()
    bounded = standard_errors(JI_MODEL, truth(train), still, spread=1.0, **options)
    np.testing.assert_allclose(bounded["W"], 1.0)


def test_a_mask_leaves_less_to_tell(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset],
) -> None:
    train = experiment[0]
    true = truth(train)
    options = {"noise": 0.001, "solver": SOLVER, "backend": "numpy"}
    masked = pcb.CellBox(
        form="ji-code", self_interaction=True, drug_columns="free", dose_saturation=None,
        mask=true["W"] != 0,
    )  # fmt: skip
    all_of_it = standard_errors(JI_MODEL, true, train, **options)["W"].values
    edges = standard_errors(masked, true, train, **options)["W"].values
    on = true["W"].values != 0
    assert (edges[~on] == 0).all()
    assert (edges[on] <= all_of_it[on]).all()


def test_what_lies_beyond_first_order_does_not_count() -> None:
    # In BF some conditions rest on an unstable state: a weight of 1e-3 would take them elsewhere.
    train, _, _ = ji_experiment("BF", seed=10, backend="numpy")
    options = {"noise": 0.001, "solver": SOLVER, "backend": "numpy"}
    errors = standard_errors(JI_MODEL, truth(train), train, **options)["W"].values
    steep = standard_errors(JI_MODEL, truth(train), train, steepest=1e5, **options)["W"].values
    assert 1e-4 < errors.max() < 0.1
    assert steep.sum() < errors.sum()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance=0.0"),
        ({"ridge": -1.0}, "ridge=-1.0"),
        ({"rounds": 0}, "rounds=0"),
        ({"iterations": 2.5}, "iterations=2.5"),
        ({"solver": pcb.SteadyState()}, "SteadyState"),
    ],
)
def test_options_are_checked(rough: pcb.Fit, options: dict[str, object], message: str) -> None:
    with pytest.raises(pcb.PycellboxError, match=message):
        refine(rough, **options)


def test_only_a_fit_can_be_refined() -> None:
    with pytest.raises(OptionError, match=r"it needs a fit"):
        refine("fit")  # type: ignore[arg-type]


def test_tied_parameters_are_refused() -> None:
    data = pcb.simulate(network(5, drugs=2), 12, noise=0.01, horizon=10.0, backend="numpy")
    with pytest.raises(ModelError, match="share a column"):
        refine(near(data, pcb.CellBox(), horizon=10.0))
    held = pcb.CellBox(drug_columns="free", response_range="held")
    with pytest.raises(ModelError, match="response range is held"):
        refine(near(data, held, horizon=10.0))


@pytest.mark.parametrize(
    "bad", [{"noise": 0.0}, {"noise": "x"}, {"spread": 0.0}, {"steepest": -1.0}]
)
def test_standard_errors_check_their_options(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset], bad: dict[str, object]
) -> None:
    options = {"noise": 0.001, "solver": SOLVER, **bad}
    with pytest.raises(OptionError, match=next(iter(bad))):
        standard_errors(JI_MODEL, truth(experiment[0]), experiment[0], **options)


def rough_fit(
    network: networks.Network,
    *,
    noise: float,
    sigma: float | None = None,
    seed: int = 0,
    iterations: int = 30,
    steady: bool = False,
    conditions: int = 20,
    missing: float = 0.0,
    loss: str = "mae",
) -> pcb.Fit:
    """Return a fit that gradient descent has left far from its minimum."""
    data = pcb.simulate(
        network, conditions, times=None if steady else [1, 2, 4, 8], noise=noise, missing=missing,
        seed=seed, backend="numpy",
    )  # fmt: skip
    if sigma is not None:
        data["sigma"] = (data["response"].dims, np.full(data["response"].shape, sigma))
    return pcb.fit(
        data, loss=loss, solver=pcb.Heun(0.25), time_scale=1.0, backend="numpy", seed=seed,
        progress=False, schedule=pcb.Stage(iterations, learning_rate=0.05),
    )  # fmt: skip


def squares(fit: pcb.Fit) -> tuple[float, int]:
    """Sum of squared training residuals, in units of sigma where there is one, and their number."""
    data = fit.data
    off = (fit.predictions - data["response"]) / data.get("sigma", 1.0)
    off = off.isel(condition=data["role"].values == "train").values
    return float(np.nansum(off**2)), int(np.isfinite(off).sum())


def edges(fit: pcb.Fit) -> int:
    return int(np.count_nonzero(fit.parameters["W"]))


DRAWN = {
    "random": lambda seed: networks.erdos_renyi(5, 0.3, seed=seed),
    "cyclic": lambda seed: networks.cyclic(5, seed=seed),
    "bifurcating": lambda seed: networks.bifurcating(5, seed=seed),
    "oscillating": lambda seed: networks.oscillating(5, seed=seed),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drawn", "noise", "sigma", "missing", "steady", "eliminated"),
    [
        ("random", 0.0, None, 0.0, False, True),
        ("random", 0.1, 0.1, 0.2, False, True),
        ("random", 0.3, None, 0.0, True, True),
        ("cyclic", 1e-3, 0.01, 0.0, False, True),
        ("bifurcating", 1e-2, None, 0.2, False, True),
        ("oscillating", 0.3, 0.1, 0.2, True, True),
        ("bifurcating", 1e-2, None, 0.2, False, False),
        ("oscillating", 0.1, None, 0.0, False, False),
        ("oscillating", 0.3, 0.1, 0.2, True, False),
    ],
)
@pytest.mark.filterwarnings("ignore::pycellbox.errors.NumericsWarning")
def test_the_criterion_never_rises(
    drawn: str, noise: float, sigma: float | None, missing: float, steady: bool, eliminated: bool
) -> None:
    fit = rough_fit(
        DRAWN[drawn](3), noise=noise, sigma=sigma, missing=missing, steady=steady, seed=3
    )
    refined = refine(fit, eliminate=eliminated)
    before, count = squares(fit)
    price = np.log(count) + np.log(5 * 4) if eliminated else 0.0
    values = [squares(f)[0] / (before / count) + price * edges(f) for f in (fit, refined)]
    assert values[1] <= values[0] * (1 + 1e-9)
    noted = refined.provenance["refinement"]["criterion"]
    assert noted["variance"] == pytest.approx(before / count)
    assert noted["before"] == pytest.approx(values[0])
    if "reason" not in refined.provenance["refinement"]:
        assert noted["after"] == pytest.approx(values[1])


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [0.1, None])
def test_noisy_networks_are_found(sigma: float | None) -> None:
    kept, true_edges, spurious, errors = 0, 0, 0, []
    for seed in range(2):
        fit = rough_fit(
            networks.erdos_renyi(6, 0.3, seed=seed), noise=0.1, sigma=sigma, seed=seed,
            conditions=40,
        )  # fmt: skip
        refined = refine(fit)
        true = truth(fit.data)["W"].values
        found = refined.parameters["W"].values != 0
        kept, true_edges = kept + (found & (true != 0)).sum(), true_edges + (true != 0).sum()
        spurious += (found & (true == 0)).sum()
        errors.append([np.abs(f.parameters["W"].values - true).mean() for f in (fit, refined)])
        # In units of the response, or of sigma.
        noise = refined.provenance["refinement"]["noise"]
        assert noise == pytest.approx(0.1 / (sigma or 1.0), rel=0.15)
    assert kept >= 0.85 * true_edges
    assert spurious <= 2
    before, after = np.mean(errors, axis=0)
    assert after < before / 2


def test_a_fit_that_is_not_followed_comes_back_as_it_was() -> None:
    fit = rough_fit(networks.erdos_renyi(5, 0.3, seed=1), noise=1e-3)
    # Most conditions have one node that no network can follow.
    data = fit.data.copy(deep=True)
    data["response"][:16, :, 0] += 5.0
    far = pcb.fit(
        data.drop_vars("role"), initial=fit.parameters, solver=fit.solver, backend="numpy",
        schedule=pcb.Stage(1, learning_rate=0.0), progress=False,
    )  # fmt: skip
    with pytest.warns(NumericsWarning, match="are followed") as caught:
        same = refine(far)
    assert len(caught) == 1
    xr.testing.assert_identical(same.parameters, far.parameters)
    xr.testing.assert_identical(same.predictions, far.predictions)
    assert "are followed" in same.provenance["refinement"]["reason"]
    assert same.model == far.model


def test_a_refined_fit_is_left_where_it_is(refined: pcb.Fit) -> None:
    again = refine(refined)
    np.testing.assert_allclose(again.parameters["W"], refined.parameters["W"], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("states", DivergenceError),
        ("states", SolverError),
        ("jacobian", DivergenceError),
        ("jacobian", np.linalg.LinAlgError),
    ],
)
def test_unlucky_trial_steps_are_refused(
    rough: pcb.Fit, what: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = getattr(Sensitivity, what)
    start = rough.parameters["W"].values
    refused = 0

    def unlucky(
        self: Sensitivity, parameters: dict[str, np.ndarray], *args: object, **more: object
    ) -> np.ndarray:
        nonlocal refused
        # A third of all networks, but not the one at which it starts.
        W = parameters["W"]
        if zlib.crc32(W.tobytes()) % 3 == 0 and not np.array_equal(W, start):
            refused += 1
            raise error("an unlucky step")
        result: np.ndarray = original(self, parameters, *args, **more)
        return result

    monkeypatch.setattr(Sensitivity, what, unlucky)
    refined = refine(rough)
    assert refused > 0
    np.testing.assert_allclose(refined.parameters["W"], truth(rough.data)["W"], atol=0.02)


def test_rates_without_bounds_are_refused(rough: pcb.Fit) -> None:
    train = rough.data.isel(condition=rough.data["role"].values == "train")
    problem = Problem.from_dataset(train, structure_of(train, pcb.CellBox()), None)
    for solver in (SOLVER, pcb.Tsit5(), pcb.Heun(0.5)):
        sensitivity = Trajectories(problem, get_backend("numpy"), solver)
        support = problem.structure.mask
        theta = np.zeros(problem.structure.layout.free.size)
        assert sensitivity.trial(theta, support) is not None
        alpha = int(support.sum())
        for value in (126.0, 1e3, np.nan):
            theta[alpha] = value
            assert sensitivity.trial(theta, support) is None
        theta[alpha], theta[0] = 0.0, np.inf
        assert sensitivity.trial(theta, support) is None


def test_inverse_of_a_singular_matrix_is_finite() -> None:
    rng = np.random.default_rng(0)
    J = rng.normal(size=(9, 4))
    np.testing.assert_allclose(inverse(J.T @ J), np.linalg.inv(J.T @ J), rtol=1e-8)
    J[:, 3] = J[:, 2]
    for normal in (J.T @ J, np.zeros((4, 4))):
        C = inverse(normal)
        assert np.isfinite(C).all()
        assert (np.diag(C) > 0).all()
    # Of two columns that are the same, one can go for nothing.
    assert not eliminate(np.ones(4), J.T @ J, 4, 1e-6, 10.0, most=1)[1][2:].all()


def test_responses_at_time_zero_do_no_harm(
    experiment: tuple[xr.Dataset, xr.Dataset, xr.Dataset], rough: pcb.Fit
) -> None:
    train = experiment[0]
    zero = xr.zeros_like(train.isel(time=[0])[["response", "true_response"]])
    longer = xr.concat([zero.assign_coords(time=[0.0]), train], "time", data_vars="minimal")
    longer["time"].attrs = train["time"].attrs
    refined = refine(near(longer))
    np.testing.assert_allclose(refined.parameters["W"], truth(train)["W"], atol=0.02)


def test_all_that_a_screen_lacks_is_said_at_once() -> None:
    data = pcb.simulate(network(5, drugs=2), 12, noise=0.01, horizon=10.0, backend="numpy")
    screen = near(data, pcb.CellBox(response_range="held"), horizon=10.0)
    with pytest.raises(ModelError) as refusal:
        refine(screen, solver=pcb.SteadyState())
    for part in ("3 things", 'drug_columns="free"', 'response_range="free"', "pcb.Heun(0.2)"):
        assert part in str(refusal.value)
    # Doing as it says is enough.
    model = pcb.CellBox(drug_columns="free")
    fit = pcb.fit(
        data, model, solver=pcb.SteadyState(), schedule=pcb.Stage(20), backend="numpy",
        progress=False,
    )  # fmt: skip
    assert refine(fit, solver=pcb.Heun(0.2)).solver == pcb.Heun(0.2)


def test_a_default_fit_of_the_melanoma_screen_is_told_all_that_it_lacks() -> None:
    fit = pcb.fit(
        pcb.datasets.melanoma(), schedule=pcb.Stage(1), backend="numpy", progress=False
    )  # fmt: skip
    with pytest.raises(ModelError, match="3 things") as refusal:
        refine(fit)
    for part in ('drug_columns="free"', "pcb.Heun(0.2)", "parameters", "CellBox(mask=...)"):
        assert part in str(refusal.value)


def test_too_many_parameters_are_refused(rough: pcb.Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pycellbox.refinement.api._MOST_PARAMETERS", 10)
    with pytest.raises(ModelError, match=r"42 parameters.*CellBox\(mask="):
        refine(rough)
