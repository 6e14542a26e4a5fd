"""Levenberg–Marquardt from a fit, elimination, standard errors."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox import networks
from pycellbox.backends import get_backend
from pycellbox.errors import ModelError
from pycellbox.problem import Problem
from pycellbox.refinement import refine, standard_errors
from pycellbox.refinement.elimination import eliminate
from pycellbox.refinement.sensitivity import Sensitivity
from pycellbox.simulation import JI_MODEL, ji_experiment, truth

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


@pytest.mark.parametrize("form", [0, 1, 2, "ji", "ji-code"])
@pytest.mark.parametrize("degree", [1, 2])
def test_jacobian_agrees_with_differences(
    form: pcb.models.Form, degree: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    model = pcb.CellBox(form=form, degree=degree, drug_columns="free", self_interaction=True)
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
    problem = Problem.from_dataset(data, model, None)
    sensitivity = Sensitivity(problem, get_backend("numpy"), pcb.RK4(0.05))
    support = problem.structure.mask
    theta = 0.4 * rng.normal(size=sensitivity.size(support))
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
    monkeypatch.setattr("pycellbox.refinement.sensitivity._STEP", 0.05)
    exact = sensitivity.jacobian(sensitivity.unpack(theta, support), support)
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
    with pytest.raises(ModelError, match=r"it needs what pcb\.fit returns"):
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
    with pytest.raises(ModelError, match=next(iter(bad))):
        standard_errors(JI_MODEL, truth(experiment[0]), experiment[0], **options)
