"""The one kernel says what the papers' equations say, and its transpose is one, for every model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycellbox.numerics.coefficients import Coefficients, Drive
from pycellbox.numerics.equations import INPUT, START
from pycellbox.numerics.lowering import Lowering
from tests.support.models import effective_parameters, inner, structures

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=100)
@given(structures(), SEEDS)
def test_pull_back_is_the_transpose_of_lowering(structure, seed):
    rng = np.random.default_rng(seed)
    lowering, n, h = Lowering(structure), structure.n_nodes, 1e-5
    here, step = (effective_parameters(structure, rng) for _ in range(2))
    u = rng.normal(size=(3, n)) * np.array([[1], [0], [1]])  # one condition is not treated

    def made(s: float) -> dict[str, np.ndarray]:
        field = lowering.field({k: here[k] + s * h * step[k] for k in here}, lowering.drive(u))
        inside = np.zeros((3, n)) if field.drive.inside is None else field.drive.inside
        return {name: getattr(field.coefficients, name) for name in "Mabc"} | {"inside": inside}

    ahead, behind = made(1), made(-1)
    along = {name: (ahead[name] - behind[name]) / (2 * h) for name in ahead}
    given = {name: rng.normal(size=along[name].shape) for name in along}
    slopes = Coefficients(**{name: given[name] for name in "Mabc"})
    back = lowering.field(here, lowering.drive(u)).gradient(slopes, given["inside"])
    assert inner(along, given) == pytest.approx(inner(step, back), rel=1e-6, abs=1e-6)
    # What the model does not allow has no gradient.
    assert not back["W"][~structure.mask].any()


@settings(max_examples=100)
@given(structures(), SEEDS)
def test_the_drive_passes_its_derivative_back_to_perturbation_and_start(structure, seed):
    rng = np.random.default_rng(seed)
    lowering = Lowering(structure)
    u, du = rng.normal(size=(2, 3, structure.n_nodes))
    h = 1e-5
    ahead, behind = (lowering.drive(u + s * h * du) for s in (1, -1))
    given, along = {}, 0.0
    for name in ("inside", "outside", "initial"):
        one, other = getattr(ahead, name), getattr(behind, name)
        given[name] = None if one is None else rng.normal(size=u.shape)
        if one is not None:
            along += float((given[name] * (one - other)).sum()) / (2 * h)
    back = lowering.pull_back_drive(Drive(**given), u)
    assert float((back[INPUT] * du).sum()) == pytest.approx(along, rel=1e-6, abs=1e-8)
    np.testing.assert_array_equal(back[START], given["initial"])


@settings(max_examples=100)
@given(structures(), SEEDS)
def test_the_kernel_is_the_equation_of_the_papers(structure, seed):
    pytest.importorskip("autograd")
    from tests.support import reference

    rng = np.random.default_rng(seed)
    lowering, model = Lowering(structure), structure.model
    parameters = effective_parameters(structure, rng)
    x, u = rng.normal(size=(2, 3, structure.n_nodes))
    field = lowering.field(parameters, lowering.drive(u))
    k, drive = field.coefficients, field.drive
    p = 0.0 if drive.inside is None else drive.inside
    v = 0.0 if drive.outside is None else drive.outside
    ours = k.a * reference.envelope(model, x @ k.M.T + p) + k.b * v - k.c * x
    theirs = reference.right_hand_side(model, parameters, u, structure.is_drug)(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    start = reference.initial_state(model, u, structure.is_drug)
    np.testing.assert_allclose(drive.initial, start, rtol=1e-15)


@settings(max_examples=100)
@given(structures(), SEEDS)
def test_the_drive_of_some_conditions_is_that_of_their_perturbation(structure, seed):
    rng = np.random.default_rng(seed)
    lowering = Lowering(structure)
    u = rng.normal(size=(4, structure.n_nodes))
    rows = rng.permutation(4)[:2]
    some, alone = lowering.drive(u).rows(rows), lowering.drive(u[rows])
    for field in dataclasses.fields(some):
        one, other = getattr(some, field.name), getattr(alone, field.name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one, other)
            assert one.flags.c_contiguous
