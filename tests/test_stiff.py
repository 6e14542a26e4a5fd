"""Implicit methods: their order, stiff systems, exact derivatives, and who is pointed to them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import pycellbox as pcb
from pycellbox.backends.numpy import bulk
from pycellbox.backends.numpy.implicit import ImplicitSteps
from pycellbox.backends.numpy.integrate import integrate
from pycellbox.backends.numpy.tape import Tape
from pycellbox.errors import NumericsWarning
from pycellbox.models import Structure
from pycellbox.numerics.equations import Gradients
from pycellbox.numerics.lowering import equations_of
from pycellbox.numerics.tableaux import IMPLICIT
from tests.support.compartments import Compartments
from tests.support.equations import courses, laid, parameters_of, sir
from tests.support.problems import dataset, random_parameters, structure

RATES = {"k1": 0.04, "k2": 3e7, "k3": 1e4}


def robertson(**options):
    rates = {
        "a": "-k1*a + k3*b*c",
        "b": "k1*a - k3*b*c - k2*b**2",
        "c": "k2*b**2",
    }
    given = {name: pcb.Parameter(2 * value, scale="log") for name, value in RATES.items()}
    return pcb.ODE(rates, parameters=given, initial={"a": 1.0}, **options)


def van_der_pol():
    rates = {"x": "y", "y": "mu*(1 - x**2)*y - x"}
    return pcb.ODE(rates, parameters={"mu": 1000.0}, initial={"x": 2.0})


def robertson_rate(t, x):
    first, second, third = 0.04 * x[0], 3e7 * x[1] ** 2, 1e4 * x[1] * x[2]
    return [third - first, first - third - second, second]


def van_der_pol_rate(t, x):
    return [x[1], 1000 * (1 - x[0] ** 2) * x[1] - x[0]]


SYSTEMS = {
    "robertson": (robertson(), RATES, robertson_rate, [0.4, 40.0, 4e3, 4e6]),
    "van der Pol": (van_der_pol(), {"mu": 1000.0}, van_der_pol_rate, [1.0, 500.0, 900.0]),
}


def field_of(model, values):
    nodes = list(model.own_nodes)
    equations = equations_of(Structure.over(model, nodes, ["protein"] * len(nodes)))
    arrays = {name: np.asarray(value, float) for name, value in values.items()}
    return equations.field(arrays, equations.drive(np.zeros((1, len(nodes)))))


def tape_for(field, method):
    return Tape(IMPLICIT[method].stages, *field.initial.shape, np.dtype(float), True, False)


def stepped(field, method, sizes):
    """Steps of given sizes: the tape, and the estimate of the last error."""
    tape = tape_for(field, method)
    tape[0].state[0][...] = field.initial
    solver = pcb.Adaptive(method, rtol=1e-7, atol=1e-12)
    steps = ImplicitSteps(IMPLICIT[method], field, tape, field.initial[:, None].copy(), solver)
    steps.begin()
    for h in sizes:
        error = steps.attempt(h)
        assert error < np.inf
        steps.accept(h)
    return tape, error


@pytest.mark.parametrize("method", IMPLICIT)
def test_order_of_convergence_of_the_step_and_of_its_error(method):
    values = {"N": 10.0, "beta": 1.7, "gamma": 0.45, "rho": 1.0, "I0": 1.0}
    model = sir(initial={"S": 8, "I": 1, "R": 1})
    field, order = field_of(model, values), IMPLICIT[method].order
    ends = {k: stepped(field, method, [2 / k] * k)[0][k].state[0] for k in (8, 16, 256)}
    errors = [np.abs(ends[k] - ends[256]).max() for k in (8, 16)]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.3)
    one, half = (stepped(field, method, [h])[1] for h in (0.1, 0.05))
    assert np.log2(one / half) == pytest.approx(order, abs=0.3)


@cache
def by_radau(name):
    model, values, rate, times = SYSTEMS[name]
    start = field_of(model, values).initial[0]
    return solve_ivp(rate, (0, times[-1]), start, "Radau", times, rtol=1e-8, atol=1e-13).y.T


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("name", SYSTEMS)
def test_stiff_systems_are_solved_as_by_radau(name, method):
    model, values, _, times = SYSTEMS[name]
    nodes = list(model.own_nodes)
    p, data = parameters_of(model, nodes, values), courses(nodes, times)
    solver = pcb.Adaptive(method, rtol=1e-7, atol=1e-12)
    found = pcb.solve(model, p, data["perturbation"], solver=solver, times=times, backend="numpy")
    np.testing.assert_allclose(found[0], by_radau(name), rtol=2e-4, atol=1e-11)


@pytest.mark.parametrize("method", IMPLICIT)
@pytest.mark.parametrize("name", SYSTEMS)
def test_derivatives_are_those_of_the_steps_taken(name, method):
    model, values, _, times = SYSTEMS[name]
    field, tableau = field_of(model, values), IMPLICIT[method]
    tape = tape_for(field, method)
    solver = pcb.Adaptive(method, rtol=1e-4, atol=1e-9)
    integrate(solver, field, np.array(times[:2]), tape)
    sizes = list(tape.sizes)
    tape, _ = stepped(field, method, sizes)
    seeds = np.array([[1.0, 1e4, -1.0]])[:, : field.initial.shape[1]]
    gradient = Gradients()
    bulk.backward(field, tableau, tape, {len(sizes): seeds, 3: 2 * seeds}, gradient)
    start = field.start_slopes()
    slopes = list(bulk.forward(field, tableau, tape, start))
    forward = np.einsum("cn,cnp->p", seeds, slopes[-1] + 2 * slopes[2])

    def loss(changed):
        tape, _ = stepped(field_of(model, changed), method, sizes)
        return float((seeds * (tape[len(sizes)].state[0] + 2 * tape[3].state[0])).sum())

    for i, (name, value) in enumerate(values.items()):
        up, down = (loss(values | {name: value * (1 + s * 1e-4)}) for s in (1, -1))
        by_steps = (up - down) / (2e-4 * value)
        assert float(gradient[name]) == pytest.approx(by_steps, rel=1e-6)
        assert forward[i] == pytest.approx(float(gradient[name]), rel=1e-9)


SOLVER = pcb.Adaptive("Kvaerno5", rtol=1e-7, atol=1e-9)


def screen(model):
    data = dataset(np.random.default_rng(0), 4, (0.5, 1.0, 3.0))
    arrays = random_parameters(model, np.random.default_rng(1))
    return model, data, pcb.problem.parameter_dataset(structure(model), arrays)


def rings():
    data = courses(["a", "b", "c"], [0.5, 1.0], c=2)
    data["perturbation"][...] = [[1.0, 0, 0], [0, 2.0, 0]]
    values = {"kappa": 0.3, "delta": [1.0, 2.0, 3.0], "gain": [0.5, 1.0, 0.2]}
    return Compartments(0.5), data, parameters_of(Compartments(0.5), list("abc"), values)


def phased():
    model, data, p = laid("traced")
    u = data["perturbation"].expand_dims(phase=2, axis=1).copy()
    u[:, 1] = 2 * u[:, 1] + 0.3
    data = data.drop_vars("perturbation").assign(perturbation=u)
    starts = ("phase", [0.0, 0.75], {"units": "d"})
    return model, data.assign_coords(phase_start=starts), p


@pytest.mark.parametrize(
    "case",
    [
        lambda: laid("texts"),
        lambda: laid("neural"),
        lambda: screen(pcb.CellBox()),
        lambda: screen(pcb.CellBox(form=2, drugs="clamped", operating_point=False)),
        lambda: screen(pcb.CellBox(operating_point=True, common_effect=True)),
        rings,
        phased,
    ],
    ids=["texts", "neural", "network", "clamped", "operating point", "own field", "phases"],
)
def test_every_equation_has_its_gradient(case):
    model, data, p = case()
    close = pcb.Tsit5(rtol=1e-8, atol=1e-10)
    value, gradient = pcb.value_and_gradient(model, p, data, solver=SOLVER, backend="numpy")
    same, exact = pcb.value_and_gradient(model, p, data, solver=close, backend="numpy")
    assert value == pytest.approx(same, rel=1e-5)
    for name in exact.data_vars:
        scale = max(1.0, float(np.abs(exact[name]).max()))
        np.testing.assert_allclose(gradient[name], exact[name], atol=1e-5 * scale)


def test_rates_of_a_stiff_system_are_found_from_noisy_courses():
    model = robertson(observe={f"log {x}": f"log({x})" for x in "abc"})
    nodes, times = [f"log {x}" for x in "abc"], np.geomspace(0.1, 1e4, 12)
    data, p = courses(nodes, times), parameters_of(model, [*nodes, *"abc"], RATES)
    solver = pcb.Adaptive("KenCarp4", rtol=1e-5, atol=1e-10)
    x = pcb.solve(model, p, data["perturbation"], solver=solver, times=times, backend="numpy")
    noise = 0.02 * np.random.default_rng(0).normal(size=(1, 12, 3))
    data["response"][...] = x.sel(node=nodes).values + noise
    stage = pcb.Stage(30, optimizer=pcb.LM())
    fit = pcb.fit(data, model, solver=solver, schedule=stage, backend="numpy", progress=False)
    for name, value in RATES.items():
        assert float(fit.parameters[name]) == pytest.approx(value, rel=0.05)
    assert fit.solver == solver
    np.testing.assert_array_equal(fit.predict(fit.data), fit.predictions)


def test_explicit_methods_point_to_implicit_ones():
    model, values, *_ = SYSTEMS["robertson"]
    p, u = parameters_of(model, list("abc"), values), courses("abc", [1.0])["perturbation"]
    with pytest.warns(NumericsWarning, match=r"stiff, and pcb.Adaptive\('KenCarp4'\)"):
        pcb.solve(model, p, u, solver=pcb.Tsit5(), times=[8.0])
    with pytest.raises(pcb.DivergenceError, match=r"pcb.Adaptive\('KenCarp4'\) for stiff"):
        pcb.solve(model, p, u, solver=pcb.Tsit5(max_steps=1000), times=[8.0])
    with pytest.raises(pcb.DivergenceError, match=r"pcb.Adaptive\('KenCarp4'\)"):
        pcb.solve(model, p, u, solver=pcb.RK4(0.01), times=[8.0])


def test_other_algorithms_are_those_of_julia():
    model, values, *_ = SYSTEMS["robertson"]
    p, u = parameters_of(model, list("abc"), values), courses("abc", [1.0])["perturbation"]
    with pytest.raises(
        pcb.BackendError, match="Adaptive\\('KenCarp4'\\), Adaptive\\('Kvaerno5'\\)"
    ):
        pcb.solve(model, p, u, solver=pcb.Adaptive("Rodas5P"), times=[1.0], backend="numpy")
