"""What solvers ask of an equation are derivatives of its value, for every model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycellbox.numerics.equations import INPUT, Gradients
from pycellbox.numerics.lowering import equations_of
from tests.support.models import effective_parameters, inner, structures

SEEDS = st.integers(0, 2**32 - 1)
# clip has no derivative at its corners.
SMOOTH = structures().filter(lambda structure: structure.model.envelope != "clip")


@settings(max_examples=100)
@given(SMOOTH, SEEDS)
def test_a_fields_products_are_those_with_its_derivatives(structure, seed):
    rng = np.random.default_rng(seed)
    equations = equations_of(structure)
    x, u, dx, du, adjoint = rng.normal(size=(5, 3, structure.n_nodes))
    parameters, other = (effective_parameters(structure, rng) for _ in range(2))
    step = {name: other[name] - parameters[name] for name in parameters}

    def value(h: float) -> np.ndarray:
        moved = {name: parameters[name] + h * step[name] for name in parameters}
        field = equations.field(moved, equations.drive(u + h * du))
        return field.value(x + h * dx).copy()

    h = 1e-5
    along = float((adjoint * (value(h) - value(-h))).sum()) / (2 * h)
    gradient = Gradients()
    field = equations.field(parameters, equations.drive(u))
    back = field.pull_back(x, adjoint, gradient)
    products = {name: gradient[name] for name in parameters}
    found = (back * dx).sum() + (gradient[INPUT] * du).sum() + inner(products, step)
    assert found == pytest.approx(along, rel=1e-6, abs=1e-6)
    np.testing.assert_allclose(
        np.einsum("ci,cij->cj", adjoint, field.jacobian(x)), back, rtol=1e-9, atol=1e-12
    )


@settings(max_examples=100)
@given(structures(), SEEDS)
def test_what_the_start_passes_on_is_its_derivative(structure, seed):
    rng = np.random.default_rng(seed)
    equations = equations_of(structure)
    u, du, adjoint = rng.normal(size=(3, 3, structure.n_nodes))
    h = 1e-5
    ahead, behind = (equations.drive(u + s * h * du).initial for s in (1, -1))
    along = float((adjoint * (ahead - behind)).sum()) / (2 * h)
    gradient = Gradients()
    field = equations.field(effective_parameters(structure, rng), equations.drive(u))
    field.start_gradient(adjoint, gradient)
    assert (gradient[INPUT] * du).sum() == pytest.approx(along, rel=1e-6, abs=1e-8)
