"""Manners of the Julia bridge: threads, memory, signals, Python's lock, Ctrl-C.

Skipped where Julia is not ready: `pycellbox julia install`, or PYTHON_JULIACALL_EXE and
PYTHON_JULIACALL_PROJECT for a prepared environment. The whole of what is sampled here is
`python -m tests.programs.julia_fits`.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import pycellbox as pcb
from pycellbox.backends import get_backend
from pycellbox.backends.julia.project import readiness
from pycellbox.objective import Loss
from tests.programs.julia_fits import WAYS, fits_in, memory
from tests.support.problems import random_parameters, random_problem
from tests.support.processes import output, python

STATE = readiness()
pytestmark = pytest.mark.skipif(
    not STATE.ready, reason=f"Julia: {STATE.missing}; get it with `pycellbox julia install`"
)
ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.mark.parametrize("way", WAYS)
def test_fits_in_threads_neither_hang_nor_differ(way):
    out, _ = fits_in(way, 12, seconds=200)
    assert out.split()[:1] == ["done"]


def test_memory_is_given_back():
    out, _ = memory(200, seconds=280)
    sizes = [int(size) for size in re.findall(r"(\d+) MB", out)]
    assert len(sizes) == 2
    assert sizes[1] - sizes[0] < 60, out


LARGE = """
import time, numpy as np, pycellbox as pcb, sys
from pycellbox.backends import get_backend
network = pcb.networks.erdos_renyi(150, 0.1, scale=0.2)
data = pcb.simulate(network, 200, times=[1.0, 2.0], noise=0.1, backend="julia")
parameters, u = network.parameters, data["perturbation"]
steps = {"solver": pcb.Heun(STEP), "backend": "julia"}
model = pcb.CellBox()
CALLS = {
    "value_and_gradient": lambda: pcb.value_and_gradient(model, parameters, data, **steps),
    "solve": lambda: pcb.solve(model, parameters, u, times=[2.0], **steps),
    "fit": lambda: pcb.fit(data, schedule=pcb.Stage(1000), progress=False, **steps),
    "tsit5": lambda: [
        pcb.solve(model, parameters, u, times=[2.0], solver=pcb.Tsit5(1e-13), backend="julia")
        for _ in range(1000)
    ],
    "steady": lambda: [
        pcb.solve(model, parameters, u, horizon=10.0, solver=pcb.SteadyState(), backend="julia")
        for _ in range(1000)
    ],
}
"""


@posix
@pytest.mark.parametrize("call", ["value_and_gradient", "solve", "fit", "tsit5", "steady"])
def test_ctrl_c_ends_a_long_call_soon(call):
    code = (
        LARGE.replace("STEP", "1e-4" if call != "fit" else "1e-2")
        + f"""
pcb.value_and_gradient(pcb.CellBox(), parameters, data, solver=pcb.Heun(0.5), backend="julia")
print("ready", flush=True)
began = time.time()
try:
    result = CALLS[{call!r}]()
    print("returned", getattr(result, "status", ""), time.time(), flush=True)
except KeyboardInterrupt:
    print("interrupted", time.time(), flush=True)
x = pcb.solve(pcb.CellBox(), parameters, data["perturbation"], times=[2.0], solver=pcb.Heun(0.5),
              backend="julia")
print("works again", bool(np.isfinite(x).all()))
"""
    )
    with python(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready", process.communicate()[1]
        time.sleep(1.5)
        sent = time.time()
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=120)
    words = out.split()
    assert "interrupted" in words, (out, err[-2000:])
    assert "works again True" in out, err[-2000:]
    ended = float(next(word for word in words if re.fullmatch(r"\d+\.\d+", word)))
    # 0.2 s on an idle machine; here a test suite runs beside it.
    assert ended - sent < 1.0


@pytest.mark.parametrize("call", ["value_and_gradient", "solve"])
def test_other_threads_go_on_during_a_call(call):
    out, err = output(
        LARGE.replace("STEP", "5e-4")
        + f"""
import threading
CALLS[{call!r}]()
ticks, over = [], threading.Event()
def tick():
    while not over.is_set():
        ticks.append(time.time())
        time.sleep(0.005)
threading.Thread(target=tick).start()
began = time.time()
CALLS[{call!r}]()
ended = time.time()
over.set()
inside = [t for t in ticks if began < t < ended]
gaps = np.diff([began, *inside, ended])
print(len(inside), ended - began, gaps.max())
"""
    )
    ticks, seconds, longest = map(float, out.split())
    assert ticks > 3, err
    assert longest < max(0.5 * seconds, 0.1)


@posix
def test_handlers_of_signals_stay_the_users():
    out, err = output(
        """
        import os, signal, time
        got = []
        numbers = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT]
        for number in numbers:
            signal.signal(number, lambda n, frame: got.append(n))
        from pycellbox.backends import get_backend
        get_backend("julia")
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.2)
        print(got == numbers, [signal.Signals(n).name for n in got])
        """
    )
    assert out.startswith("True"), (out, err[-2000:])


SESSION = """
import numpy as np, pycellbox as pcb
from pycellbox.backends import get_backend
from tests.support.problems import random_parameters, random_problem
from tests.support.processes import output, python
julia, model = get_backend("julia"), pcb.CellBox()
import juliacall
problem = random_problem(model, np.random.default_rng(0), conditions=3000)
parameters = random_parameters(model, np.random.default_rng(0))
session = julia.session(problem, pcb.Heun(0.1), pcb.Loss())
for k in range(150):
    session.loss_and_gradient(parameters)
    if k % 5 == 0:
        juliacall.Main.seval("GC.gc()")
print("done", juliacall.Main.seval("Threads.nthreads()"), julia._core.usable_threads())
"""


@pytest.mark.parametrize("started_by", ["us", "another package"])
def test_without_julias_signals_there_is_one_thread_and_a_warning(started_by):
    code, environment = SESSION, {"PYTHON_JULIACALL_HANDLE_SIGNALS": "no"}
    if started_by == "another package":
        code = "import juliacall\n" + code
        environment["PYTHON_JULIACALL_THREADS"] = "2"
    out, err = output(code, **environment)
    assert out.split()[:1] == ["done"], err[-2000:]
    assert out.split()[2] == "1"
    assert "BackendWarning" in err
    assert "on one thread" in err


def test_an_error_on_another_thread_is_the_one_it_was():
    """Two conditions on two threads; the trajectory of the second leaves the finite numbers."""
    problem = random_problem(
        pcb.CellBox(form=0, envelope="linear"), np.random.default_rng(0), (90.0,)
    )
    parameters = random_parameters(problem.structure.model, np.random.default_rng(1), scale=30.0)
    session = get_backend("julia").session(problem, pcb.Heun(0.01), Loss())
    with pytest.raises(pcb.DivergenceError, match="not finite"):
        session.loss_and_gradient(parameters)


def test_sessions_are_shared_by_threads():
    """One after the other, each with its own session; the same bits as alone."""
    julia, model = get_backend("julia"), pcb.CellBox()
    problem = random_problem(model, np.random.default_rng(0))
    parameters = [random_parameters(model, np.random.default_rng(k)) for k in range(4)]

    def value(k: int) -> float:
        session = julia.session(problem, pcb.Heun(0.1), Loss())
        return session.loss_and_gradient(parameters[k])[0]

    alone, found = [value(k) for k in range(4)], {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: value(k)})) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [found[k] for k in range(4)] == alone


def test_a_first_fit_without_drugs_compiles_as_little_as_one_with(tmp_path):
    """Both are compiled when the package is installed."""
    seconds = {}
    for drugs in (True, False):
        out, err = output(
            f"""
            import time, numpy as np, pycellbox as pcb
            from pycellbox.backends import get_backend
            from tests.support.problems import dataset
            data = dataset(np.random.default_rng(0))
            if not {drugs}:
                data = data.assign_coords(node_kind=("node", ["protein"] * data.sizes["node"]))
            julia = get_backend("julia")
            began = time.perf_counter()
            for solver in (pcb.Heun(0.2), pcb.Tsit5()):
                pcb.fit(data, schedule=pcb.Stage(3), solver=solver, backend="julia", progress=False)
            print(time.perf_counter() - began)
            """
        )
        assert out, err[-2000:]
        seconds[drugs] = float(out)
    assert seconds[False] < 3 * seconds[True] + 1.0


@pytest.mark.parametrize("where", ["the main thread", "another thread"])
def test_a_call_may_wait_for_events(where):
    """Loading a package that is not compiled waits for the process that compiles it."""
    out, err = output(
        f"""
        import threading
        from pycellbox.backends import get_backend
        from pycellbox.backends.julia.calls import call
        get_backend("julia")
        import juliacall
        wait = juliacall.Main.seval(
            "() -> (run(`$(first(Base.julia_cmd())) --version`); sleep(0.05); 3)"
        )
        def work():
            print("got", call(wait))
        if {where!r} == "the main thread":
            work()
        else:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join(60)
        """,
        seconds=100,
    )
    assert "got 3" in out, err[-2000:]


def test_a_julia_that_another_thread_has_started_is_warned_of():
    out, err = output(
        """
        import os, threading, time, juliacall
        from pycellbox.backends import get_backend
        thread = threading.Thread(target=lambda: get_backend("julia"), daemon=True)
        thread.start()
        time.sleep(2)  # whether or not it hangs
        print("over", flush=True)
        os._exit(0)
        """,
        seconds=100,
    )
    assert "over" in out
    assert "another package has started Julia, in another thread" in err
