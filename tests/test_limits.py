"""Numbers beyond what can be computed with: refused at once, in words, or an honest result."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.numpy import setting
from pycellbox.objective import Loss
from pycellbox.problem import Problem, structure_of
from tests.support.problems import dataset, labelled, random_parameters, random_problem, structure


@pytest.fixture(scope="module")
def data():
    return dataset(np.random.default_rng(0))


@pytest.fixture(scope="module")
def parameters():
    model = pcb.CellBox()
    return labelled(structure(model), random_parameters(model, np.random.default_rng(1)))


@pytest.mark.parametrize("solver", [pcb.Euler(1e-9), pcb.Heun(1e-7), pcb.RK4(5e-324)], ids=repr)
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_steps_without_end_are_refused_with_their_number(data, parameters, solver, backend):
    if backend == "jax":
        pytest.importorskip("jax", reason='needs JAX: pip install "pycellbox[jax]"')
    options = {"solver": solver, "horizon": 10.0, "backend": backend}
    with pytest.raises(pcb.SolverError, match=r"steps to t = 10, and at most .* use dt ≥ 1e-05"):
        pcb.fit(data, progress=False, **options)
    with pytest.raises(pcb.SolverError, match="use dt ≥"):
        pcb.solve(pcb.CellBox(), parameters, data["perturbation"], **options)


def test_a_record_of_steps_beyond_the_memory_is_refused_with_its_size(monkeypatch):
    problem = random_problem(pcb.CellBox(), np.random.default_rng(0))
    monkeypatch.setattr("pycellbox.numerics.checks._memory", lambda: 2e6)
    steps = r"Heun\(dt=0.001\) takes 2,000 steps, whose records take .* GB"
    with pytest.raises(pcb.SolverError, match=steps):
        get_backend("numpy").session(problem, pcb.Heun(0.001), Loss())
    get_backend("numpy").session(problem, pcb.Heun(0.1), Loss())


@pytest.mark.parametrize("horizon", [1e7, 1e300])
@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_adaptive_steps_without_end_are_refused_at_once(parameters, data, horizon, backend):
    if backend == "jax":
        pytest.importorskip("diffrax", reason='needs diffrax: pip install "pycellbox[jax]"')
    with pytest.raises(pcb.DivergenceError, match="steps or more, and max_steps is 100,000"):
        pcb.solve(
            pcb.CellBox(), parameters, data["perturbation"], solver=pcb.Tsit5(), horizon=horizon,
            backend=backend,
        )  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", [pcb.Tsit5(), pcb.SteadyState(), pcb.Heun(0.1)], ids=repr)
@pytest.mark.parametrize("size", [1e20, 1e160, 1e200, 1e308])
def test_huge_weights_and_doses_end_in_a_result_or_our_own_error(data, parameters, solver, size):
    W = parameters["W"]
    huge = parameters.assign(W=W.where(W == 0, np.sign(W) * size))
    for weights, dose in ((huge, 1.0), (parameters, size / 10)):
        doses = data.assign(perturbation=data["perturbation"] * dose)
        try:
            states = pcb.solve(
                pcb.CellBox(), weights, doses["perturbation"], solver=solver, horizon=5.0,
                backend="numpy",
            )  # fmt: skip
            assert np.isfinite(states).all()
            pcb.value_and_gradient(
                pcb.CellBox(), weights, doses, solver=solver, horizon=5.0, backend="numpy"
            )
        except pcb.DivergenceError:
            continue


@pytest.mark.parametrize("solver", [pcb.Tsit5(), pcb.SteadyState(), pcb.Heun(0.1)], ids=repr)
def test_huge_learning_rates_end_in_a_fit_that_says_so(data, solver):
    schedule = pcb.Stage(4, learning_rate=1e150)
    fit = pcb.fit(data, schedule=schedule, solver=solver, progress=False, backend="numpy")
    assert np.isfinite(fit.history["loss"]).all()
    assert np.isfinite(fit.predictions).all()


def test_what_linear_algebra_raises_is_a_divergence():
    with pytest.raises(pcb.DivergenceError, match="linear algebra of an evaluation failed"):  # noqa: SIM117
        with setting.evaluation(3, 3):
            np.linalg.eigvals(np.full((3, 3), np.nan))


@pytest.mark.parametrize(("dtype", "sigma"), [("float64", 5e-324), ("float32", 1e-25)])
def test_a_sigma_too_small_to_divide_by_is_named(data, dtype, sigma):
    tiny = data.assign(sigma=xr.full_like(data["response"], sigma))
    with pytest.raises(pcb.DataError, match=r"sigma goes down to .* unit of the response"):
        Problem.from_dataset(tiny, structure_of(tiny, pcb.CellBox()), 10.0, dtype)


NO_NUMBERS = {
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
    "durations": np.array([3], "timedelta64[h]"),
    "complex numbers": np.array([1 + 2j]),
    "text": np.array(["much"]),
    "objects": np.array([object()]),
}


@pytest.mark.parametrize("cells", NO_NUMBERS.values(), ids=NO_NUMBERS)
def test_what_is_no_number_is_refused_wherever_numbers_are_taken(data, parameters, cells):
    u = data["perturbation"]
    bad = xr.DataArray(np.broadcast_to(cells, u.shape), u.coords, u.dims)
    options = {"solver": pcb.Heun(0.1), "horizon": 1.0, "backend": "numpy"}
    with pytest.raises(pcb.DataError, match=r"perturbation at condition 'c0', node 'A'"):
        pcb.solve(pcb.CellBox(), parameters, bad, **options)
    fit = pcb.fit(data, schedule=pcb.Stage(1), progress=False, **options)
    with pytest.raises(pcb.DataError, match="perturbation at condition"):
        fit.predict(bad)
    with pytest.raises(pcb.OptionError, match="times"):
        fit.predict(u, times=cells)
    alpha = xr.DataArray(np.broadcast_to(cells, 7), {"node": data["node"].values}, ("node",))
    with pytest.raises(pcb.ModelError, match="alpha at node 'A'"):
        pcb.solve(pcb.CellBox(), parameters.assign(alpha=alpha), u, **options)


def test_repeated_conditions_are_refused(data, parameters):
    u = data["perturbation"].isel(condition=[0, 1, 0])
    with pytest.raises(pcb.DataError, match="condition label duplicated: 'c0'"):
        pcb.solve(pcb.CellBox(), parameters, u, solver=pcb.Heun(0.1), horizon=1.0, backend="numpy")


@pytest.mark.parametrize(
    "call",
    [
        lambda: pcb.networks.erdos_renyi(10**9, 0.1),
        lambda: pcb.networks.acyclic(10**6, 0.1),
        lambda: pcb.simulate(pcb.networks.cyclic(3), 10**12, times=[1.0]),
        lambda: pcb.LBFGS(memory=10**9),
        lambda: pcb.Stage(10**30),
    ],
)
def test_sizes_beyond_any_memory_are_refused_at_once(call):
    with pytest.raises(pcb.PycellboxError, match=r" to \d"):
        call()


def masked(values, at, **options):
    cells = np.ma.array(values, **options)
    cells[at] = np.ma.masked
    return cells


MASKED = {
    "numbers": lambda y: masked(y, (1, 2)),
    "single precision": lambda y: masked(y.astype(np.float32), (1, 2)),
    "integers": lambda y: masked(np.arange(y.size).reshape(y.shape), (1, 2)),
    "objects": lambda y: masked(y.astype(object), (1, 2)),
    "rows in a list": lambda y: [masked(row, 2) if i == 1 else row for i, row in enumerate(y)],
    "one cell in a list": lambda y: [
        [np.ma.masked if (i, j) == (1, 2) else y[i, j] for j in range(y.shape[1])]
        for i in range(y.shape[0])
    ],
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", MASKED.values(), ids=MASKED)
def test_masked_cells_are_not_measured(data, make):
    y, u = data["response"].values, data["perturbation"].values
    labels = {"conditions": data["condition"].values, "nodes": data["node"].values}
    made = pcb.from_tables(u, make(y), **labels)
    assert np.argwhere(np.isnan(made["response"].values)).tolist() == [[1, 2]]
    with pytest.raises(pcb.DataError, match="perturbation at condition 'c1', node 'C'"):
        pcb.from_tables(make(u), y, **labels)


def test_masked_times_and_edges_are_refused(data, parameters):
    u = data["perturbation"]
    with pytest.raises(pcb.OptionError, match="times"):
        pcb.solve(
            pcb.CellBox(), parameters, u, solver=pcb.Heun(0.1),
            times=np.ma.array([1.0, 2.0], mask=[False, True]),
        )  # fmt: skip
    with pytest.raises(pcb.OptionError, match="mask"):
        pcb.CellBox(mask=np.ma.array(np.ones((7, 7), bool), mask=np.eye(7, dtype=bool)))
