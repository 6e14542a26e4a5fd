"""Solutions: order of convergence, SciPy's DOP853, requested times, step control."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pycellbox.backends.numpy import NumpyBackend
from pycellbox.errors import BackendError, DivergenceError, ModelError, OptionError
from pycellbox.models import FORMS, CellBox
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.tableaux import TABLEAUX
from pycellbox.solvers import RK4, Adaptive, Euler, Heun, Midpoint, Tsit5
from pycellbox.solving import solve
from tests.support.problems import NODES, labelled, random_parameters, random_problem, structure

FIXED = (Euler, Midpoint, Heun, RK4)
VARIANTS = [
    CellBox(form=form, degree=degree, dose_saturation=kappa, drugs=drugs)
    for form in FORMS
    for degree, kappa, drugs in [(1, None, "input"), (2, 0.3, "input"), (1, 0.0, "clamped")]
]


def right_hand_side(model, p, u, is_drug):
    """The papers' equations again, with NumPy, for SciPy."""
    from tests.support import reference

    return reference.right_hand_side(model, p, u, is_drug), reference.initial_state(
        model, u, is_drug
    )


def by_dop853(model, p, u, times):
    pytest.importorskip("autograd", reason='needs autograd: pip install "pycellbox[test]"')
    f, x0 = right_hand_side(model, p, u, structure(model).is_drug)
    result = solve_ivp(
        lambda t, x: np.asarray(f(x.reshape(x0.shape))).ravel(),
        (0, times[-1]), x0.ravel(), "DOP853", times, rtol=1e-12, atol=1e-13,
    )  # fmt: skip
    return np.moveaxis(result.y.reshape(*x0.shape, -1), 2, 1)


def computed(model, p, u, times, solver):
    return NumpyBackend().solve(structure(model), solver, p, u, np.asarray(times, float)).states


@pytest.mark.parametrize("model", VARIANTS, ids=repr)
def test_every_form_agrees_with_scipy(model):
    rng = np.random.default_rng(0)
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    times = [0.3, 1.0, 4.0]
    ours = computed(model, p, u, times, Tsit5(1e-10, 1e-12))
    np.testing.assert_allclose(ours, by_dop853(model, p, u, times), atol=1e-9)


@pytest.mark.parametrize("method", FIXED)
def test_order_of_convergence(method):
    rng = np.random.default_rng(1)
    model = CellBox(dose_saturation=None)
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    exact = by_dop853(model, p, u, [2.0])
    steps = np.array([0.1, 0.05, 0.025])
    errors = [np.abs(computed(model, p, u, [2.0], method(dt)) - exact).max() for dt in steps]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, method.order, atol=0.2)


def test_tsit5_error_follows_the_tolerance():
    rng = np.random.default_rng(2)
    model = CellBox()
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    exact = by_dop853(model, p, u, [3.0])
    for rtol in (1e-3, 1e-6, 1e-9):
        error = np.abs(computed(model, p, u, [3.0], Tsit5(rtol, rtol / 100)) - exact).max()
        assert error < 10 * rtol


def test_tsit5_of_fixed_length_has_order_five():
    """The tableau itself, with step control out of play."""
    from pycellbox.backends.numpy.integrate import Tape
    from pycellbox.backends.numpy.kernel import Stepper
    from pycellbox.numerics.envelopes import envelope_kernel
    from pycellbox.numerics.tableaux import TABLEAUX

    rng = np.random.default_rng(3)
    model = CellBox(dose_saturation=None)
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    exact = by_dop853(model, p, u, [2.0])[:, 0]
    lowering = Lowering(structure(model))
    errors = []
    for count in (16, 32, 64):
        stepper = Stepper(
            TABLEAUX[Tsit5], envelope_kernel(model), lowering.coefficients(p), lowering.drive(u)
        )
        tape = Tape(6, 3, len(NODES), np.dtype(float), keep=False, with_z=False)
        tape[0].state[0][...] = 0
        stepper.set_step(2.0 / count)
        for i in range(count):
            stepper.step(tape[i], tape[i + 1].state[0])
        errors.append(np.abs(tape[count].state[0] - exact).max())
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 5, atol=0.6)


@pytest.mark.parametrize("solver", [*(m(0.07) for m in FIXED), Tsit5(1e-9, 1e-11)], ids=repr)
def test_requested_times_do_not_change_the_solution(solver):
    rng = np.random.default_rng(4)
    model = CellBox()
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    many = computed(model, p, u, [0.0, 0.7, 1.4, 2.1], solver)
    one = computed(model, p, u, [2.1], solver)
    assert (many[:, 0] == 0).all()
    np.testing.assert_allclose(many[:, -1], one[:, 0], atol=1e-8)


def test_a_horizon_that_divides_takes_exactly_that_many_steps():
    rng = np.random.default_rng(5)
    model = CellBox(dose_saturation=None)
    p, u = random_parameters(model, rng), rng.normal(size=(2, len(NODES)))
    x = np.zeros_like(u)
    for _ in range(30):  # 3.0/0.1 is 30.000000000000004 in floating point
        x = x + 0.1 * (p["epsilon"] * np.tanh(x @ p["W"].T + u) - p["alpha"] * x)
    np.testing.assert_allclose(computed(model, p, u, [3.0], Euler(0.1))[:, 0], x, atol=1e-13)


def test_clamped_drugs_stay_at_their_dose():
    rng = np.random.default_rng(6)
    model = CellBox(drugs="clamped", dose_saturation=0.5)
    p, u = random_parameters(model, rng), rng.normal(size=(3, len(NODES)))
    x = computed(model, p, u, [0.0, 1.0, 5.0], Heun(0.1))
    dose = np.tanh(0.5 * u[:, 5:]) / 0.5
    np.testing.assert_array_equal(x[:, :, 5:], np.repeat(dose[:, None], 3, axis=1))


def test_an_unperturbed_condition_stays_at_rest():
    rng = np.random.default_rng(7)
    model = CellBox()
    u = np.zeros((1, len(NODES)))
    assert (computed(model, random_parameters(model, rng), u, [5.0], Tsit5()) == 0).all()


@pytest.mark.parametrize("method", FIXED)
def test_reach_is_where_a_step_no_longer_damps(method):
    tableau = TABLEAUX[method]

    def growth(z):
        stages = []
        for weights in tableau.A:
            stages.append(z * (1 + sum(a * k for a, k in zip(weights, stages, strict=True))))
        return abs(1 + sum(b * k for b, k in zip(tableau.b, stages, strict=True)))

    assert growth(-0.999 * method.reach) < 1 < growth(-1.001 * method.reach)


@pytest.mark.parametrize("method", FIXED)
def test_steps_too_long_for_a_decay_are_said(method):
    """Eleven of them would give finite states, and all wrong."""
    rng = np.random.default_rng(8)
    model = CellBox(dose_saturation=None)
    p, u = random_parameters(model, rng), rng.normal(size=(2, len(NODES)))
    p["alpha"][1] = 20.0
    step = method.reach / 20.0
    settled = computed(model, p, u, [11 * 0.99 * step], method(0.99 * step))
    assert np.abs(settled).max() < 10
    with pytest.raises(DivergenceError, match=r"node number 2 decays at the rate 20.*dt ≤ 0\.1"):
        computed(model, p, u, [11 * 1.01 * step], method(1.01 * step))


def test_max_steps_is_kept():
    rng = np.random.default_rng(9)
    model = CellBox()
    p, u = random_parameters(model, rng), rng.normal(size=(2, len(NODES)))
    with pytest.raises(DivergenceError, match=r"gave up.*3 steps"):
        computed(model, p, u, [3.0], Tsit5(max_steps=3))


@pytest.mark.parametrize("method", FIXED)
@pytest.mark.parametrize("dt", [0, -1, np.inf, np.nan, "0.1", True, None])
def test_bad_step(method, dt):
    with pytest.raises(OptionError, match=rf"{method.__name__}: dt="):
        method(dt)


@pytest.mark.parametrize(
    "options", [{"rtol": 0}, {"atol": -1}, {"max_steps": 0}, {"max_steps": 1.5}]
)
def test_bad_tsit5(options):
    with pytest.raises(OptionError, match=f"Tsit5: {next(iter(options))}"):
        Tsit5(**options)


def test_adaptive_needs_an_algorithm():
    with pytest.raises(OptionError, match="algorithm=3; it needs a name"):
        Adaptive(3)
    with pytest.raises(OptionError, match="Adaptive: rtol=0"):
        Adaptive("Vern7", rtol=0)


def test_numpy_says_which_solvers_it_has():
    rng = np.random.default_rng(11)
    model = CellBox()
    p, u = random_parameters(model, rng), rng.normal(size=(2, len(NODES)))
    with pytest.raises(BackendError, match=r"no solver Adaptive.*it has Euler.*backend='julia'"):
        computed(model, p, u, [1.0], Adaptive("Rodas5P"))


class TestSolve:
    """The labelled door."""

    model = CellBox()

    def case(self):
        rng = np.random.default_rng(10)
        s = structure(self.model)
        problem = random_problem(self.model, rng)
        import xarray as xr

        u = xr.DataArray(
            problem.perturbation,
            {"condition": list(problem.conditions), "node": list(s.nodes),
             "node_kind": ("node", list(s.node_kind))},
            ("condition", "node"),
        )  # fmt: skip
        return labelled(s, random_parameters(self.model, rng)), u

    def test_dims_and_labels(self):
        p, u = self.case()
        x = solve(self.model, p, u, solver=Heun(0.1), horizon=1.0)
        assert x.dims == ("condition", "node")
        assert list(x["node"].values) == list(NODES)
        x = solve(self.model, p, u, solver=Heun(0.1), times=[0.5, 1.0])
        assert x.dims == ("condition", "time", "node")
        np.testing.assert_array_equal(x["time"], [0.5, 1.0])

    def test_labels_are_aligned(self):
        p, u = self.case()
        x = solve(self.model, p, u, solver=Heun(0.1), horizon=1.0)
        order = list(reversed(NODES))
        shuffled = solve(
            self.model, p, u.sel(node=order).transpose("node", "condition"),
            solver=Heun(0.1), horizon=1.0,
        )  # fmt: skip
        np.testing.assert_array_equal(x, shuffled)

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            ({"solver": "heun"}, "needs one of Euler"),
            ({"solver": Heun}, "the class; make one"),
            ({"horizon": None}, "neither was given"),
            ({"times": [1.0]}, "both were given"),
            ({"horizon": -1}, "horizon=-1; it needs a finite number > 0"),
            ({"horizon": None, "times": [2, 1]}, "increase strictly"),
            ({"horizon": None, "times": [-1, 1]}, "from 0 or later"),
            ({"horizon": None, "times": []}, "list of finite numbers"),
            ({"dtype": "int32"}, "float64"),
            ({"model": "CellBox"}, "pcb.CellBox"),
        ],
    )
    def test_bad_arguments(self, change, match):
        p, u = self.case()
        arguments = {"model": self.model, "solver": Heun(0.1), "horizon": 1.0} | change
        with pytest.raises(OptionError, match=match):
            solve(arguments.pop("model"), p, u, **arguments)

    def test_bad_parameters(self):
        p, u = self.case()
        with pytest.raises(ModelError, match="lack epsilon"):
            solve(self.model, p.drop_vars("epsilon"), u, solver=Heun(0.1), horizon=1.0)
        bad = p.copy(deep=True)
        bad["alpha"][2] = -1
        with pytest.raises(ModelError, match="alpha of node 'C' is -1"):
            solve(self.model, bad, u, solver=Heun(0.1), horizon=1.0)
        bad = p.copy(deep=True)
        bad["W"].loc[{"target": "x", "source": "A"}] = 0.5
        with pytest.raises(ModelError, match=r"W\['x', 'A'\] = 0.5.*allows no interaction"):
            solve(self.model, bad, u, solver=Heun(0.1), horizon=1.0)
        bad = p.copy(deep=True)
        bad["W"].loc[{"target": "A", "source": "A"}] = 0.5
        with pytest.raises(ModelError, match="self_interaction=True"):
            solve(self.model, bad, u, solver=Heun(0.1), horizon=1.0)
        looped = CellBox(self_interaction=True)
        assert np.isfinite(solve(looped, bad, u, solver=Heun(0.1), horizon=1.0)).all()
