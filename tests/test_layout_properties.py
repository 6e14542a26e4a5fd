"""Parameters as one vector: nothing is lost on the way, and derivatives go back the same way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pycellbox.models import Layout, Parameter, Structure
from pycellbox.numerics.parametrization import NetworkParametrization, Parametrization
from tests.support.models import inner, structures

SEEDS = st.integers(0, 2**32 - 1)
POSITIVE = st.sampled_from(("softplus", "log"))
GROUPS = ("rates", "other")
BOUNDS = ((-np.inf, np.inf), (0.0, np.inf), (-1.0, 2.0), (0.5, np.inf), (-np.inf, 0.5))


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
        start=0.5 if high < 1 else 1.0,
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
def networks(draw: st.DrawFn) -> tuple[Parametrization, np.random.Generator]:
    """Of a network with any options."""
    structure, rng = draw(structures()), np.random.default_rng(draw(SEEDS))
    ranges = rng.uniform(0.5, 3.0, structure.n_nodes)
    return NetworkParametrization(structure, ranges, draw(POSITIVE)), rng


@st.composite
def others(draw: st.DrawFn) -> tuple[Parametrization, np.random.Generator]:
    """Of parameters with any bounds, some of whose entries are fixed."""
    structure = Structure(None, (), (), draw(LAYOUTS))
    return Parametrization(structure, draw(POSITIVE)), np.random.default_rng(draw(SEEDS))


ANY = networks() | others()


def allowed(parametrization: Parametrization, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Effective parameters within their bounds, in the range that is held, if one is."""
    structure, values = parametrization.structure, {}
    for p in structure.layout.parameters:
        low = p.lower if p.lower > -np.inf else min(-3.0, p.upper - 3.0)
        high = p.upper if p.upper < np.inf else max(3.0, p.lower + 3.0)
        drawn = low + (high - low) * rng.uniform(0.05, 0.95, p.shape)
        values[p.name] = drawn if p.fixed is None else np.where(p.fixed, p.start, drawn)
    ranges = getattr(parametrization, "held", None)
    if ranges is not None:
        values["epsilon"] = ranges * values["alpha"]
    return values


@settings(max_examples=100)
@given(ANY)
def test_constrain_undoes_unconstrain(drawn):
    parametrization, rng = drawn
    wanted = allowed(parametrization, rng)
    found = parametrization.constrain(parametrization.unconstrain(wanted))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-9, atol=1e-9)


@settings(max_examples=100)
@given(ANY)
def test_any_vector_stands_for_parameters_that_the_model_allows(drawn):
    parametrization, rng = drawn
    found = parametrization.constrain(5 * rng.normal(size=parametrization.layout.size))
    for p in parametrization.structure.layout.parameters:
        array = found[p.name]
        assert array.shape == p.shape
        assert ((array >= p.lower) & (array <= p.upper)).all()
        if p.fixed is not None:
            assert (array[p.fixed] == p.start).all()


@settings(max_examples=100)
@given(ANY)
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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@given(others())
def test_what_lies_at_a_bound_is_not_beyond_reach(dtype, drawn):
    parametrization, _ = drawn
    for bound in ("lower", "upper"):
        values = {
            p.name: np.full(p.shape, at if np.isfinite(at := getattr(p, bound)) else 0.75, dtype)
            for p in parametrization.structure.layout.parameters
        }
        theta = parametrization.unconstrain(values)
        assert theta.dtype == dtype
        assert np.isfinite(theta).all()
