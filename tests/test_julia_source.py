"""Expressions printed as Julia source: its words, and what it computes, executed by Python."""

from __future__ import annotations

import re

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends.julia.equations import PROGRAMS, program
from pycellbox.backends.julia.scalars import TEXT
from pycellbox.graph.nodes import ELEMENTWISE
from pycellbox.models import Structure
from pycellbox.models.formulas import INPUTS
from pycellbox.numerics.expressed import Expressed
from pycellbox.numerics.programs import Program
from tests.support.equations import MODELS, laid
from tests.support.julia_text import FIXTURE, WORDS, executed, fixture

OPERATIONS_FILE = FIXTURE.parents[2] / "src" / "equations" / "operations.jl"
WIDE = 25


def wide(states):
    """More states than straight-line code is for."""
    n = len(states)
    A = pcb.Parameter(np.random.default_rng(0).normal(0, 0.2, (n, n)))
    return pcb.ODE(
        lambda x, p: pcb.tanh(p.A @ x + p.b) * p.k - p.d * x * (p.A.T @ x).sum() / n + p.A.sum(1),
        states=states,
        parameters={"A": A, "b": pcb.Parameter(shape=n), "k": 0.7, "d": 0.3},
        observe={"all": lambda x, p: (x * x).sum()},
    )


ALL = {**MODELS, "wide": wide([f"s{i}" for i in range(WIDE)])}


def texts(model, dtype="float64", loops=False):
    shapes = [(f".{name}", one.shape) for name, one in model.parameters.items()]
    key = ((INPUTS, (len(model.inputs),)), *shapes)
    return {name: program(model.rates, key, name, dtype, loops) for name in PROGRAMS}


def words(text):
    return {word for word in re.findall(r"[^\W\d]\w*", text) if not re.fullmatch(r"[vc]\d+", word)}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_programs_consist_of_the_fixed_list_of_words(name, dtype):
    for text in texts(ALL[name], dtype).values():
        assert text is None or words(text) <= WORDS


def test_every_operation_has_a_text():
    assert set(TEXT) >= ELEMENTWISE
    defined = OPERATIONS_FILE.read_text()
    for name in words(" ".join(TEXT.values())) - {"exp", "expm1", "atan", "abs", "sign"}:
        assert name in ("max", "min") or f"@inline {name}(" in defined


NASTY = ["αβγ", "a b", 'x"); run(`rm`) #', "$(run(`ls`))", "end", "\n@eval 1", "o1[1]"]


@pytest.mark.parametrize("count", [3, 7])
def test_names_of_users_never_enter(count):
    states = NASTY[:count]
    n = len(states)
    plain = [f"s{i}" for i in range(n)]

    def made(states, of_input, of_parameter):
        return pcb.ODE(
            lambda x, p, u: pcb.tanh(p[of_parameter] @ x) * u[0] - x,
            states=states,
            parameters={of_parameter: pcb.Parameter(shape=(n, n))},
            inputs={"u": of_input},
            observe={f"{of_input} seen": lambda x, p, u: x[0]},
        )

    # The very same text, whatever the names.
    found = texts(made(states, "$(exit())", "program"))
    assert found == texts(made(plain, "dose", "A"))
    assert all(words(text) <= WORDS for text in found.values() if text)


def computed(model, p, name, loops):
    """What a program writes for random states and adjoints, and NumPy's programs say."""
    nodes = [*model.own_nodes, *model.inputs.values()]
    structure = Structure.over(model, nodes, ["protein"] * len(nodes))
    equations = Expressed(structure)
    rng, c = np.random.default_rng(5), 3
    n, o = len(model.states), len(model.observe)
    x = rng.uniform(0.2, 1.5, (c, n))
    u = rng.uniform(0.2, 1.5, (c, len(model.inputs)))
    values = {f".{k}": np.asarray(p[k]) for k in model.parameters}
    flat = np.tile(np.concatenate([v.ravel() for v in values.values()]), (c, 1))
    kind = name.partition("_")[0]
    a = rng.normal(size=(c, o if kind == "observing" else n))
    P = flat.shape[1]
    sizes = {"o1": n * (n + P), "o2": len(model.inputs), "o3": P}
    out = {k: np.zeros(c * size) for k, size in sizes.items()}
    text = texts(model, loops=loops)[name]
    executed(text, c, x=x.ravel(), u=u.ravel(), p=flat.ravel(), a=a.ravel(), **out)
    other = {"observing": "observed", "observing_back": "observed_back"}.get(name, name)
    made = getattr(equations.programs, other)
    adjoint = {"adjoint": a}
    given = {"x": x, "u": u, **values, **adjoint}
    by_condition = Program(made.outputs, made.by_condition).plan(c, float, given)
    return out, by_condition.run(), sizes


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("which", PROGRAMS)
@pytest.mark.parametrize("loops", [False, True])
def test_programs_compute_what_numpy_does(name, which, loops):
    if name == "wide":
        model = ALL[name]
        p = {k: one.middle * np.ones(one.shape) for k, one in model.parameters.items()}
    else:
        model, _, p = laid(name)
    if name == "wide" and which == "slopes":
        assert texts(model)[which] is None
        return
    out, wanted, _ = computed(model, p, which, loops)
    c = 3
    if which.endswith("back"):
        if which != "start_back":
            n = len(model.states)
            np.testing.assert_allclose(out["o1"][: c * n], wanted[0].ravel(), rtol=1e-12)
            wanted = wanted[1:]
        np.testing.assert_allclose(out["o2"], wanted[0].ravel(), rtol=1e-12)
        of_p = np.concatenate([w.reshape(c, -1) for w in wanted[1:]], axis=1)
        np.testing.assert_allclose(out["o3"].reshape(c, -1), of_p, rtol=1e-11, atol=1e-13)
    else:
        first = wanted[0].ravel()
        np.testing.assert_allclose(out["o1"][: first.size], first, rtol=1e-12, atol=1e-14)


def test_what_julias_tests_compile_is_what_is_generated():
    assert FIXTURE.read_text() == fixture(), "write it: python -m tests.support.julia_text"
