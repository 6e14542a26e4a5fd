"""Parameters as one vector: nothing is lost on the way, and derivatives go back the same way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycellbox.models import Layout, Parameter
from pycellbox.numerics.parametrization import NetworkParametrization
from tests.support.models import effective_parameters, inner, structures

SEEDS = st.integers(0, 2**32 - 1)
POSITIVE = st.sampled_from(("softplus", "log"))
GROUPS = ("rates", "other")
BOUNDS = ((-np.inf, np.inf), (0.0, np.inf), (-1.0, 2.0), (0.5, np.inf))


@st.composite
def parameters(draw: st.DrawFn, name: str) -> Parameter:
    """Of any shape, with groups, bounds and fixed entries."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3).map(tuple))
    rng = np.random.default_rng(draw(SEEDS))
    low, high = draw(st.sampled_from(BOUNDS))
    return Parameter(
        name,
        tuple(f"d{i}" for i in range(len(shape))),
        shape,
        draw(st.sampled_from(GROUPS)) if draw(st.booleans()) else rng.choice(GROUPS, shape),
        low,
        high,
        draw(st.none() | st.just(rng.random(shape) < 0.3)),
        start=1.0,
    )


LAYOUTS = st.integers(1, 4).flatmap(
    lambda n: st.tuples(*(parameters(f"p{i}") for i in range(n))).map(Layout)
)


@settings(max_examples=100)
@given(LAYOUTS, SEEDS, st.lists(st.integers(0, 3), max_size=2).map(tuple))
def test_split_and_join_are_inverse(layout, seed, leading):
    vector = np.random.default_rng(seed).normal(size=(*leading, layout.size))
    arrays = layout.split(vector)
    for p in layout.parameters:
        assert arrays[p.name].shape == (*leading, *p.shape)
    joined = layout.join(arrays)
    np.testing.assert_array_equal(joined, vector, strict=True)
    again = layout.split(joined)
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array, strict=True)


@settings(max_examples=100)
@given(LAYOUTS)
def test_every_entry_has_one_place_group_and_bound(layout):
    places = [layout.places[p.name] for p in layout.parameters]
    covered = [i for place in places for i in range(place.start, place.stop)]
    assert covered == list(range(layout.size))
    assert sorted([*layout.free, *np.flatnonzero(layout.fixed)]) == covered
    values = {"rates": 2.0, "other": 3.0}
    spread, (lower, upper) = layout.split(layout.spread(values)), layout.bounds
    for p in layout.parameters:
        groups = np.broadcast_to(np.asarray(p.group, dtype=object), p.shape)
        wanted = np.vectorize(values.get, otypes=[float])(groups) if p.size else np.zeros(p.shape)
        fixed = np.zeros(p.shape, dtype=bool) if p.fixed is None else p.fixed
        np.testing.assert_array_equal(spread[p.name], np.where(fixed, 0.0, wanted))
        assert (lower[layout.places[p.name]] == p.lower).all()
        assert (upper[layout.places[p.name]] == p.upper).all()


@st.composite
def parametrizations(draw: st.DrawFn) -> tuple[NetworkParametrization, np.random.Generator]:
    structure, rng = draw(structures()), np.random.default_rng(draw(SEEDS))
    ranges = rng.uniform(0.5, 3.0, structure.n_nodes)
    return NetworkParametrization(structure, ranges, draw(POSITIVE)), rng


def held(parametrization: NetworkParametrization, values):
    """Effective parameters of which ε is in the range that is held, if one is."""
    if parametrization.held is not None:
        values["epsilon"] = parametrization.held * values["alpha"]
    return values


@settings(max_examples=100)
@given(parametrizations())
def test_constrain_undoes_unconstrain(drawn):
    parametrization, rng = drawn
    wanted = held(parametrization, effective_parameters(parametrization.structure, rng))
    found = parametrization.constrain(parametrization.unconstrain(wanted))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-12)


@settings(max_examples=100)
@given(parametrizations())
def test_any_vector_stands_for_parameters_that_the_model_allows(drawn):
    parametrization, rng = drawn
    theta = 5 * rng.normal(size=parametrization.layout.size)
    found = parametrization.constrain(theta)
    structure = parametrization.structure
    assert not found["W"][~structure.mask].any()
    assert all((found[name] > 0).all() for name in structure.model.rates)


@settings(max_examples=100)
@given(parametrizations())
def test_pull_back_is_the_derivative_of_constrain(drawn):
    """⟨J v, w⟩ by central differences is ⟨v, Jᵀ w⟩; fixed entries of θ have no derivative."""
    parametrization, rng = drawn
    theta, v = rng.normal(size=(2, parametrization.layout.size))
    w = {n: rng.normal(size=a.shape) for n, a in parametrization.constrain(theta).items()}
    h = 1e-6
    ahead, behind = (parametrization.constrain(theta + s * h * v) for s in (1, -1))
    along = {n: (ahead[n] - behind[n]) / (2 * h) for n in w}
    back = parametrization.pull_back(theta, w)
    assert back.shape == theta.shape
    assert inner(along, w) == pytest.approx(float(back @ v), rel=1e-6, abs=1e-7)
    assert not back[parametrization.layout.fixed].any()
    # Of many at once, as of each.
    many = parametrization.pull_back(theta, {n: np.stack([a, -2 * a]) for n, a in w.items()})
    np.testing.assert_allclose(many, [back, -2 * back], rtol=1e-12)
