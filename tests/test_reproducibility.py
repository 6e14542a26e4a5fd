"""The same seed gives the same bits, whatever runs beside it and however fast the machine is."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

import pycellbox as pcb
from pycellbox.backends.numpy import setting
from pycellbox.fitting.adamw import AdamWRun
from tests.support.problems import dataset

SCHEDULES = {
    "patience ends a stage of minibatches": [
        pcb.Stage(40, learning_rate=0.3, batch_size=4, patience=2),
        pcb.Stage(5, learning_rate=0.02, batch_size=5),
    ],
    "patience ends a stage of prefixes": [
        pcb.Stage(40, learning_rate=0.3, prefix=1, patience=2),
        pcb.Stage(5, learning_rate=0.02, prefix=2),
    ],
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.filterwarnings("ignore:the steps of Heun:pycellbox.NumericsWarning")
def test_how_many_iterations_are_made_at_once_changes_nothing(schedule, monkeypatch):
    data = dataset(np.random.default_rng(0), times=(0.5, 1.0, 2.0))

    def fit(chunk):
        monkeypatch.setattr(AdamWRun, "chunk", chunk)
        options = {"schedule": schedule, "solver": pcb.Heun(0.25), "validation": 0.25}
        return pcb.fit(data, **options, progress=False, backend="numpy")

    one, *others = (fit(chunk) for chunk in (1, 7, 40))
    ended = int((one.history["stage"] == 0).sum())
    assert ended < 40, "patience must end the first stage for this test to tell anything"
    for other in others:
        assert one.history.identical(other.history)
        assert one.parameters.identical(other.parameters)


def blas_counts():
    return [i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]


def test_a_fit_has_the_same_bits_beside_others_and_leaves_blas_as_it_was():
    data = dataset(np.random.default_rng(0))
    before = blas_counts()

    def fit(seed):
        schedule = pcb.Stage(12, learning_rate=0.1, batch_size=5)
        return pcb.fit(data, schedule=schedule, seed=seed, progress=False, backend="numpy")

    alone = [fit(seed) for seed in range(4)]
    over, matrix = threading.Event(), np.random.default_rng(1).normal(size=(300, 300))

    def multiply():
        while not over.is_set():
            matrix @ matrix

    other = threading.Thread(target=multiply)
    other.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(fit, range(4)))
    finally:
        over.set()
        other.join()
    for a, b in zip(alone, together, strict=True):
        assert a.parameters.identical(b.parameters)
        assert a.history.identical(b.history)
    assert blas_counts() == before


@pytest.mark.slow
def test_a_fresh_process_makes_the_same_bits_with_another_number_of_threads(tmp_path):
    """Small products have one BLAS thread, however many there are."""
    count = "1" if max(blas_counts(), default=1) > 1 else "2"
    script = f"""
import numpy as np, pycellbox as pcb
from tests.support.problems import dataset
data = dataset(np.random.default_rng(0))
fit = pcb.fit(data, schedule=pcb.Stage(12, batch_size=5), progress=False, backend="numpy")
np.save({str(tmp_path / "W.npy")!r}, fit.parameters["W"].values)
"""
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, count)
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, cwd=root)
    data = dataset(np.random.default_rng(0))
    schedule = pcb.Stage(12, batch_size=5)
    here = pcb.fit(data, schedule=schedule, progress=False, backend="numpy")
    np.testing.assert_array_equal(np.load(tmp_path / "W.npy"), here.parameters["W"])


def numpys_count():
    return setting._libraries()[0].num_threads


def test_evaluations_with_one_and_with_all_threads_take_turns():
    if numpys_count() < 2:
        pytest.skip("BLAS has one thread here; with two (OPENBLAS_NUM_THREADS=2) this can be seen")
    before, most, wrong = blas_counts(), numpys_count(), []

    def evaluate(single):
        for _ in range(30):
            with setting.evaluation(1 if single else 10**6, 100):
                wrong.extend({1 if single else most} ^ {numpys_count()})

    workers = [threading.Thread(target=evaluate, args=(k % 2 == 0,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    assert not wrong
    assert blas_counts() == before
