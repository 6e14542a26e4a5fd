"""What spoils fits of equations of one's own, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

import pycellbox as pcb
from tests.support.equations import courses, parameters_of

CLOCK = {"t": "1"}


def test_windows_ask_for_nothing_beyond_them():
    """dx/dt = k x² is infinite at 1/k: from k = 0.9 within the course, but not within a window."""
    times = np.array([0.25, 0.5, 0.75, 1.0, 1.5, 2.0])
    data = courses(["a"], times)
    data["response"][0, :, 0] = 1 / (1 - 0.3 * times)
    model = pcb.ODE({"a": "k*a*a"}, parameters={"k": 0.9}, initial={"a": 1})
    options = {"solver": pcb.Tsit5(), "progress": False, "backend": "numpy"}
    for optimizer in (pcb.LM(), pcb.LBFGS(), pcb.AdamW()):
        with pytest.raises(pcb.DivergenceError, match="cannot start"):
            pcb.fit(data, model, schedule=pcb.Stage(5, optimizer=optimizer), **options)
        # The first window holds two times; beyond it the start is none.
        grow = pcb.Grow(optimizer, windows=[0.5, 0.75, 1], iterations=30, learning_rate=0.05)
        last = pcb.Stage(30, optimizer=pcb.LM())
        fit = pcb.fit(data, model, schedule=[grow, last], **options)
        assert float(fit.parameters["k"]) == pytest.approx(0.3, abs=1e-3)


@pytest.mark.parametrize("optimizer", [pcb.LM(), pcb.LBFGS(), pcb.AdamW()])
def test_a_step_that_blows_up_inside_the_window_is_taken_back(optimizer):
    """LM and LBFGS try half of it, or less; AdamW, with a rate that is too high, goes on."""
    times = np.array([0.5, 1.0, 1.5])
    data = courses(["a"], times)
    data["response"][0, :, 0] = 1 / (1 - 0.6 * times)
    model = pcb.ODE({"a": "k*a*a"}, parameters={"k": pcb.Parameter(-3.0)}, initial={"a": 1})
    stage = pcb.Stage(60, optimizer=optimizer, learning_rate=0.9)
    fit = pcb.fit(data, model, schedule=stage, progress=False, backend="numpy")
    if isinstance(optimizer, pcb.AdamW):
        assert fit.provenance["steps_retried"]
        assert fit.history["loss"].min() < fit.history["loss"][0]
    else:
        assert float(fit.parameters["k"]) == pytest.approx(0.6, rel=1e-3)


def lorenz():
    rates = {"x": "s*(y - x)", "y": "x*(r - z) - y", "z": "x*y - b*z"}
    parameters = {"s": 10.1, "r": 28.2, "b": 2.6}
    return pcb.ODE(rates, parameters=parameters, initial={"x": 1, "y": 1, "z": 20})


@pytest.mark.filterwarnings("ignore:the steps of RK4.*leave")
@pytest.mark.parametrize("optimizer", [pcb.LM(), pcb.AdamW()])
def test_gradients_of_chaos_are_said_to_be_of_no_use(optimizer):
    """To t = 30, where they are 1e9 and more; to 3 there is nothing to say."""
    data = courses(["x", "y", "z"], [0.5, 1.0, 3.0, 29.5, 30.0])
    data["response"][...] = 8 * data["response"] + np.array([0.0, 0.0, 24.0])
    stage = pcb.Stage(1, optimizer=optimizer, learning_rate=1e-9)
    options = {"solver": pcb.RK4(0.04), "progress": False, "backend": "numpy", "schedule": stage}
    pcb.fit(data.isel(time=[0, 1, 2]), lorenz(), **options)
    with pytest.warns(pcb.NumericsWarning, match=r"up to t = 30 .*Grow") as said:
        pcb.fit(data, lorenz(), **options)
    assert sum("of no use" in str(warning.message) for warning in said) == 1


TAU, VECTOR = pcb.Parameter(3.0), pcb.Parameter([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("rates", "options", "named"),
    [
        ({"a": "where(t > tau, 1, 0) - a"}, {}, "tau"),
        ({"a": "where(tau < t, k, -k) - a"}, {}, "tau"),
        ({"a": "k*(t >= tau) - a"}, {}, "tau"),
        ({"a": "k*sign(t - tau) - a"}, {}, "tau"),
        ({"a": "where(a + k > tau, -a, k)"}, {}, "tau"),
        ({"a": "where(k*t > exp(tau)/2, 1, 0) - k*a"}, {}, "tau"),
        ({"a": "where(late > 0, 1, 0) - k*a", "late": "1"}, {"initial": {"late": "-tau"}}, "tau"),
        ({"a": "where(b > 1, 1, 0) - k*a", "b": "tau*t - k*b"}, {}, "tau"),
        ({"a": "k - a"}, {"observe": {"seen": "where(a > tau, 1, 0)"}}, "tau"),
        ({"a": "where(t > v[1], v[0], v[2]) - k*a"}, {}, r"v\[1\]"),
    ],
)
def test_what_only_decides_when_is_not_fitted(rates, options, named):
    parameters = {"k": 1.0, "tau": TAU, "v": VECTOR}
    used = str(rates) + str(options)
    parameters = {n: one for n, one in parameters.items() if n == "k" or n in used}
    model = pcb.ODE(rates | CLOCK, parameters=parameters, **options)
    data = courses(["a", *options.get("observe", {})], [1.0, 2.0])
    with pytest.raises(pcb.ModelError, match=rf"^{named} is in comparisons alone.*expit"):
        pcb.fit(data, model, progress=False)


@pytest.mark.parametrize(
    ("rates", "parameters"),
    [
        ({"a": "expit((t - tau)/0.1) - k*a"}, {"tau": TAU}),
        ({"a": "where(t > tau, t - tau, 0) - k*a"}, {"tau": TAU}),
        ({"a": "maximum(t - tau, 0) - k*a"}, {"tau": TAU}),
        ({"a": "where(t > tau, 1, 0) - k*a"}, {"tau": pcb.Parameter(3.0, fixed=True)}),
        ({"a": "where(t > tau, 1, 0) - k*a + b", "b": "tau - b"}, {"tau": TAU}),
        (
            {"a": "where(t > v[1], v[0], v[2]) - k*a"},
            {"v": pcb.Parameter([1.0, 2.0, 3.0], fixed=[False, True, False])},
        ),
        ({"a": "-k*a", "b": "where(t > tau, 1, 0)"}, {"tau": TAU}),  # of no use, but no switch
    ],
)
def test_what_has_a_derivative_is_fitted(rates, parameters):
    model = pcb.ODE(rates | CLOCK, parameters={"k": 1.0, **parameters})
    options = {"schedule": pcb.Stage(1), "solver": pcb.RK4(0.5), "progress": False}
    pcb.fit(courses(["a"], [1.0, 2.0]), model, backend="numpy", **options)


def test_vectors_are_looked_into_as_far_as_they_are_taken_apart():
    model = pcb.ODE(
        lambda x, p: np.where(x > p.tau, p.k, 0) - x,
        states=["a", "b"],
        parameters={"k": pcb.Parameter([1.0, 2.0]), "tau": pcb.Parameter([0.5, 0.7])},
    )
    with pytest.raises(pcb.ModelError, match=r"^tau\[0\] is in comparisons alone"):
        pcb.fit(courses(["a", "b"], [1.0, 2.0]), model, progress=False)


@pytest.mark.parametrize("rtol", [1e-2, 1e-3])
def test_gradients_of_what_has_settled_stay_right_with_loose_tolerances(rtol):
    """At rest the error is nil at any step, and steps that are unstable have wild derivatives."""
    rates = {"a": "k - 5*a*a/(0.1 + a)", "b": "r*tanh(a) - b", "c": "b*k - 3*c**1.5"}
    model = pcb.ODE(rates, parameters={"k": 1.0, "r": 0.7}, initial={"c": 0.2})
    data = courses(["a", "b", "c"], [0.1, 10.0, 60.0])
    p = parameters_of(model, ["a", "b", "c"], {"k": 1.3, "r": 0.9})
    solver = pcb.Tsit5(rtol=rtol, atol=rtol / 100)
    _, found = pcb.value_and_gradient(model, p, data, solver=solver, backend="numpy")
    exact = pcb.Tsit5(rtol=1e-7, atol=1e-9)
    _, wanted = pcb.value_and_gradient(
        model, p, data, solver=exact, backend="numpy", gradient="finite-difference"
    )
    for name in ("k", "r"):
        assert float(found[name]) == pytest.approx(float(wanted[name]), rel=rtol)
