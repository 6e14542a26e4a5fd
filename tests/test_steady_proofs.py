"""What is called proven about steady states is so."""

from __future__ import annotations

import numpy as np
import pytest

from pycellbox.backends.numpy import NumpyBackend
from pycellbox.backends.numpy.steady import find
from pycellbox.models import CellBox, Structure
from pycellbox.numerics.envelopes import envelope_kernel
from pycellbox.numerics.lowering import Lowering
from pycellbox.numerics.proofs import Proofs, parts
from pycellbox.numerics.steady import SteadyEquations
from pycellbox.solvers import SteadyState, Tsit5

TANH = envelope_kernel(CellBox())


def proofs(B, envelope=TANH):
    """Proofs of dx/dt = φ(Bx + p) − x."""
    n = len(B)
    return Proofs(envelope, np.asarray(B, float), np.ones(n), np.ones(n), np.zeros(n, dtype=bool))


def equations(B, u, solver=None):
    n = len(B)
    model = CellBox(self_interaction=True, dose_saturation=None, drug_columns="free")
    lowering = Lowering(Structure.over(model, [f"n{i}" for i in range(n)], ["protein"] * n))
    parameters = {"W": np.asarray(B, float), "alpha": np.ones(n), "epsilon": np.ones(n)}
    field = lowering.field(parameters, lowering.drive(np.asarray(u, float)))
    return SteadyEquations(solver or SteadyState(), field)


def trajectory(B, u, start, times):
    """Integrate from states other than 0, (c, n), with a plain RK4."""
    x, out, t = start.copy(), [], 0.0
    for end in times:
        count = max(int(np.ceil((end - t) / 0.05)), 1)
        h = (end - t) / count
        for _ in range(count):
            k1 = np.tanh(x @ B.T + u) - x
            k2 = np.tanh((x + h / 2 * k1) @ B.T + u) - (x + h / 2 * k1)
            k3 = np.tanh((x + h / 2 * k2) @ B.T + u) - (x + h / 2 * k2)
            k4 = np.tanh((x + h * k3) @ B.T + u) - (x + h * k3)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        t = end
        out.append(x)
    return np.stack(out)


def test_contracting_beyond_a_norm_of_one():
    """Nodes that work against each other are contracting up to a norm of two."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(8, 8))
    skew = (A - A.T) / np.linalg.norm(A - A.T, 2)
    assert proofs(1.9 * skew).contracting()
    assert not proofs(2.1 * skew).contracting()
    symmetric = (A + A.T) / np.linalg.eigvalsh(A + A.T).max()
    # Of symmetric ones what counts is the largest eigenvalue: there rest becomes unstable at 1.
    assert not proofs(1.01 * symmetric).contracting()


@pytest.mark.parametrize("seed", range(5))
def test_in_a_contracting_network_trajectories_come_together(seed):
    """In the norm of the proof the distance of two trajectories falls at every time."""
    rng = np.random.default_rng(seed)
    n = 6
    B = rng.normal(size=(n, n))
    largest = max(s for s in np.linspace(0.01, 3, 300) if proofs(s * B).contracting())
    B *= largest
    u, starts = rng.normal(size=(20, n)), rng.normal(0, 3, size=(2, 20, n))
    times = np.linspace(0.1, 6, 60)
    one, other = (trajectory(B, u, x, times) for x in starts)
    s = proofs(B)._perron[0]
    distance = np.linalg.norm(s * (one - other), axis=2)
    assert (np.diff(distance, axis=0) < 0).all()
    ends = equations(B, u).roots(starts[0])[0], equations(B, u).roots(starts[1])[0]
    np.testing.assert_allclose(*ends, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.5, 2.0, 4.0])
def test_a_trajectory_in_the_ball_of_a_root_ends_there(scale):
    """Of strongly coupled networks with several roots, each from many states around."""
    proven = elsewhere = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(2, 6))
        B = rng.normal(0, scale, (n, n))
        u = np.repeat(rng.normal(size=(1, n)), 40, axis=0)
        k = equations(B, u)
        roots, residual = k.roots(rng.normal(0, 2, (40, n)))
        states = roots + rng.normal(0, 1, (40, 1)) * rng.normal(0, 0.5, (40, n))
        z = k.input(roots, np.empty_like(roots))
        good = k.proofs.in_ball(z, states - roots) & (residual < 1e-8)
        ends = trajectory(B, u, states, [150.0])[0]
        wrong = np.abs(ends - roots).max(axis=1) > 1e-6
        assert not (good & wrong).any()
        proven, elsewhere = proven + good.sum(), elsewhere + wrong.sum()
    assert proven > 50
    assert elsewhere > 50


def test_held_nodes_do_not_count():
    rng = np.random.default_rng(1)
    B = rng.normal(0, 0.3, (4, 4)) / 2
    B[:, 3] = 50.0
    gain, held = np.array([1.0, 1, 1, 0]), np.array([False, False, False, True])
    assert Proofs(TANH, B, gain, np.ones(4), held).contracting()
    assert not Proofs(TANH, B, np.ones(4), np.ones(4), np.zeros(4, dtype=bool)).contracting()


def test_nothing_is_proven_of_what_is_not_a_number():
    B = np.full((3, 3), np.nan)
    with np.errstate(invalid="ignore"):
        assert not proofs(B).contracting()
        assert not proofs(B).in_ball(np.zeros((2, 3)), np.ones((2, 3))).any()


@pytest.mark.slow
def test_large_networks_are_spared_what_takes_longer_than_integrating(monkeypatch):
    """No eigenvalues, and no factorization for each condition, where there are many nodes."""
    rng = np.random.default_rng(2)
    B = rng.normal(0, 2 / np.sqrt(300), (300, 300))
    monkeypatch.setattr(np.linalg, "eigvals", None)
    factorized, cholesky = [], np.linalg.cholesky
    monkeypatch.setattr(np.linalg, "cholesky", lambda N: factorized.append(0) or cholesky(N))
    found = find(equations(B, rng.normal(size=(12, 300))), 3.0)
    assert not found.settled.any()
    assert len(factorized) <= 3
    # One proof for all of them together is tried, and here it is enough.
    B *= 0.62 / 2
    assert not proofs(B)._perron[2] < 1
    assert find(equations(B, rng.normal(size=(12, 300))), 3.0).settled.all()


def test_a_contracting_network_settles_even_if_the_iteration_does_not(monkeypatch):
    """Then the root is looked for from a state of the trajectory."""
    from pycellbox.numerics import steady

    rng = np.random.default_rng(3)
    A = rng.normal(size=(6, 6))
    B = 1.9 * (A - A.T) / np.linalg.norm(A - A.T, 2)
    u = rng.normal(size=(5, 6))
    monkeypatch.setattr(steady, "_NEWTON_STEPS", 0)
    k = equations(B, u, SteadyState(max_iterations=3, lead=30.0))
    assert k.proofs.contracting()
    assert not (k.roots(np.zeros((5, 6)))[1] < 1e-9).any()
    found = find(k, 10.0)
    assert found.settled.all()
    np.testing.assert_allclose(found.final, trajectory(B, u, 0 * u, [80.0])[0], atol=1e-8)


def test_parts_are_all_rows_in_order():
    rows = np.arange(10) * 3
    assert [list(part) for part in parts(rows, 10_000)] == [[row] for row in rows]
    assert np.concatenate(list(parts(rows, 900))).tolist() == rows.tolist()
    assert all(len(p) <= 2 for p in parts(rows, 900))
    assert list(parts(rows[:0], 900)) == []


def test_states_of_the_backend_and_of_the_integration_agree_where_proven_by_slopes():
    """Norm 1.15: no proof by the norm, but by the sector of the slopes."""
    rng = np.random.default_rng(4)
    B = rng.normal(size=(30, 30))
    B *= 1.15 / np.linalg.norm(B, 2)
    assert proofs(B).contracting()
    backend = NumpyBackend()
    model = CellBox(self_interaction=True, dose_saturation=None, drug_columns="free")
    structure = Structure.over(model, [f"n{i}" for i in range(30)], ["protein"] * 30)
    parameters = {"W": B, "alpha": np.ones(30), "epsilon": np.ones(30)}
    u = rng.normal(size=(9, 30))
    states = backend.solve(structure, Tsit5(1e-11, 1e-13), parameters, u, np.array([300.0])).states[
        :, 0
    ]
    found = backend.solve(structure, SteadyState(), parameters, u, np.array([10.0]))
    assert found.settled.all()
    np.testing.assert_allclose(found.final, states, atol=1e-8)
