"""Many tasks on any engine: the same bits, nothing lost, data sent once, one BLAS thread."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import xarray as xr

import pycellbox as pcb
from pycellbox import many
from pycellbox.ensembles.members import Setting, member
from pycellbox.errors import warn
from tests.support.disks import full_disk
from tests.support.screens import dataset, screen

OPTIONS = {"progress": False, "backend": "numpy"}
ENGINES = ["threads", "processes", "joblib", "dask"]


@pytest.fixture(scope="module")
def fit():
    doses, y = screen(np.random.default_rng(3))
    return pcb.fit(dataset(doses, y, ["protein"] * 4 + ["phenotype"] * 2), **OPTIONS)


@pytest.fixture(scope="module")
def client():
    """Two worker processes of Dask's, on this machine."""
    distributed = pytest.importorskip("distributed", reason="Dask: pip install '.[dask]'")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


@pytest.fixture
def given(request):
    """What is given to a function that makes many fits: executor or n_jobs."""
    if request.param == "joblib":
        pytest.importorskip("joblib", reason="pip install '.[parallel]'")
        yield {"n_jobs": 2}
    elif request.param == "dask":
        yield {"executor": request.getfixturevalue("client")}
    elif request.param == "dask's executor":
        yield {"executor": request.getfixturevalue("client").get_executor()}
    else:
        pools = {
            "threads": lambda: ThreadPoolExecutor(2),
            "processes": lambda: ProcessPoolExecutor(2, get_context("spawn")),
            "forked": lambda: ProcessPoolExecutor(2, get_context("fork")),
        }
        with pools[request.param]() as pool:
            yield {"executor": pool}


class Counted:
    """Data that say in a file which process has unpacked them."""

    def __init__(self, folder, content):
        self.folder, self.content = str(folder), content

    def __setstate__(self, state):
        self.__dict__.update(state)
        with open(os.path.join(self.folder, "unpacked"), "a") as file:
            file.write(f"{os.getpid()}\n")

    def unpacked(self):
        path = Path(self.folder) / "unpacked"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def first_time(self, name):
        """Whether no process has asked this yet."""
        try:
            (Path(self.folder) / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def a_member_on_workers_that_die(shared: Counted, number: int) -> xr.Dataset:
    """Fit a member; in the middle of all, a worker is killed, once."""
    if number == 2 and shared.first_time("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    return member(shared.content, number)


def a_killer(shared: Counted, number: int) -> int:
    """Kill the worker, whenever it is number 1."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def threads_of_blas(shared: None, number: int) -> list[int]:
    import scipy.linalg

    scipy.linalg.inv(np.eye(2))
    return [i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"]


def a_doubt(shared: None, number: int) -> int:
    warn(f"number {number} is doubtful", pcb.NumericsWarning)
    return number


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("given", ["forked", "joblib", "dask", "dask's executor"], indirect=True)
def test_fits_of_a_killed_worker_are_run_again_to_the_same_bits(fit, given, tmp_path):
    setting = Setting(fit, "conditions", 6, 1, "numpy", fit._predictor.screen.known)
    shared = Counted(tmp_path, setting)
    engine = many.workers(given.get("executor"), given.get("n_jobs"))
    found = {
        one.number: one for one in many.outcomes(a_member_on_workers_that_die, shared, 6, engine)
    }
    assert sorted(found) == [*range(6)]
    assert (tmp_path / "killed").exists()
    for number, one in found.items():
        assert not one.failure
        xr.testing.assert_identical(one.value, member(setting, number))
    opened = shared.unpacked()
    assert all(count == 1 for count in opened.values())  # by each worker once


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("given", ["forked"], indirect=True)
def test_what_kills_every_worker_fails_alone(given, tmp_path):
    engine = many.workers(given["executor"])
    found = {o.number: o for o in many.outcomes(a_killer, Counted(tmp_path, None), 5, engine)}
    assert "worker was lost" in found.pop(1).failure
    assert {number: one.value for number, one in found.items()} == {0: 0, 2: 2, 3: 3, 4: 4}


@pytest.mark.slow
@pytest.mark.parametrize("given", ENGINES, indirect=True)
def test_each_worker_has_one_blas_thread_and_is_sent_the_data_once(given, tmp_path):
    before = threads_of_blas(None, 0)
    engine = many.workers(given.get("executor"), given.get("n_jobs"))
    for one in many.outcomes(threads_of_blas, None, 4, engine):
        assert set(one.value) == {1}
    assert threads_of_blas(None, 0) == before
    shared = Counted(tmp_path, b"x" * 1000)
    engine = many.workers(given.get("executor"), given.get("n_jobs"))
    assert len([*many.outcomes(_length, shared, 12, engine)]) == 12
    assert set(shared.unpacked().values()) <= {1}


def _length(shared: Counted, number: int) -> int:
    return len(shared.content)


def test_tasks_here_have_one_blas_thread():
    before = threads_of_blas(None, 0)
    for one in many.outcomes(threads_of_blas, None, 2):
        assert set(one.value) == {1}
        assert set(threads_of_blas(None, 0)) == {1}  # here too
    assert threads_of_blas(None, 0) == before
    iterator = many.outcomes(threads_of_blas, None, 2)
    next(iterator)
    iterator.close()
    assert threads_of_blas(None, 0) == before


@pytest.mark.slow
@pytest.mark.parametrize("given", ENGINES, indirect=True)
def test_members_and_starts_are_the_same_bits_on_every_engine(fit, given):
    here = pcb.ensemble(fit, members=3, seed=1, **OPTIONS).members
    xr.testing.assert_identical(
        here, pcb.ensemble(fit, members=3, seed=1, **given, **OPTIONS).members
    )
    data, asked = fit.data.drop_vars("role"), {"schedule": pcb.Stage(2), "starts": 3, **OPTIONS}
    alone, there = pcb.fit(data, **asked), pcb.fit(data, **asked, **given)
    xr.testing.assert_identical(alone.parameters, there.parameters)
    xr.testing.assert_identical(
        alone.starts.drop_vars("seconds"), there.starts.drop_vars("seconds")
    )


@pytest.mark.parametrize("given", ["threads"], indirect=True)
def test_what_tasks_warn_of_is_said_once_here(given):
    for engine in (None, many.workers(given["executor"])):
        with pytest.warns(pcb.NumericsWarning, match="is doubtful") as caught:
            found = list(many.outcomes(a_doubt, None, 3, engine))
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert all(len(one.warnings) == 1 for one in found)


def raising(shared: type[Exception], number: int) -> None:
    raise shared("as it happens")


@pytest.mark.parametrize(
    ("error", "counts"),
    [
        (pcb.DivergenceError, True), (FloatingPointError, True), (MemoryError, True),
        (np.linalg.LinAlgError, True), (TypeError, False),
    ],
)  # fmt: skip
def test_fits_that_fail_are_counted_and_faults_are_raised(error, counts):
    if counts:
        (one,) = many.outcomes(raising, error, 1)
        assert "as it happens" in one.failure
    else:
        with pytest.raises(error):
            list(many.outcomes(raising, error, 1))


class Client:
    """A client of a cluster that is no longer connected."""

    def get_executor(self, **options):
        raise RuntimeError("closed")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"executor": ThreadPoolExecutor(1), "n_jobs": 2}, "one of the two"),
        ({"n_jobs": 0}, "n_jobs=0; it needs a number of processes, or -1"),
        ({"n_jobs": 2.5}, "n_jobs=2.5"),
        ({"executor": "dask"}, "distributed.Client"),
        ({"executor": ThreadPoolExecutor}, "make one: ThreadPoolExecutor"),
    ],
)
def test_what_cannot_carry_out_tasks_is_refused(fit, asked, said):
    calls = (
        lambda: pcb.ensemble(fit, members=2, **asked, **OPTIONS),
        lambda: pcb.fit(fit.data, starts=2, **asked, **OPTIONS),
    )
    for call in calls:
        with pytest.raises(pcb.OptionError, match=re.escape(said)):
            call()


def test_without_joblib_the_error_names_the_extra(fit, monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(pcb.OptionError, match=re.escape("pip install 'pycellbox[parallel]'")):
        pcb.ensemble(fit, members=2, n_jobs=2, **OPTIONS)
    assert many.workers(None, 1) is None  # here, which needs nothing


@pytest.mark.slow
def test_a_client_that_is_closed_is_refused(client):
    import distributed

    other = distributed.Client(client.scheduler.address)
    executor = other.get_executor()
    other.close()
    with pytest.raises(pcb.OptionError, match="the client is closed"):
        many.workers(executor)


def test_an_executor_that_is_like_one_is_taken():
    class Plain(Executor):
        def submit(self, function, /, *arguments):
            with ThreadPoolExecutor(1) as pool:
                future = pool.submit(function, *arguments)
            return future

    assert [one.value for one in many.outcomes(_length, Counted("", b"abc"), 2, Plain())] == [3, 3]


KINDS = ["members", "starts"]


def made(fit, kind, **more):
    if kind == "members":
        return pcb.ensemble(fit, members=3, **OPTIONS, **more).members
    data = fit.data.drop_vars("role")
    return pcb.fit(data, schedule=pcb.Stage(1), starts=3, **OPTIONS, **more).parameters


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_stored_is_not_made_again(fit, kind, tmp_path, monkeypatch):
    whole = made(fit, kind, store=tmp_path / "store")
    files = sorted((tmp_path / "store").glob("*.nc"))
    assert len(files) == 3
    files[1].unlink()
    before = {path: path.stat().st_mtime_ns for path in files if path.exists()}
    again = made(fit, kind, store=tmp_path / "store")
    xr.testing.assert_identical(whole, again)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert files[1].exists()


@pytest.mark.parametrize("kind", KINDS)
def test_stores_of_others_and_damaged_ones_are_refused_by_name(fit, kind, tmp_path):
    store = tmp_path / "store"
    made(fit, kind, store=store)
    first, second = sorted(store.glob("*.nc"))[:2]
    content = first.read_bytes()
    for damaged in (
        content[: len(content) // 2],
        b"",
        b"words",
        content.replace(b"seconds", b"secondz"),
    ):
        first.write_bytes(damaged)
        with pytest.raises(pcb.ResultFileError, match=first.name):
            made(fit, kind, store=store)
    first.write_bytes(second.read_bytes())  # under another number
    with pytest.raises(pcb.ResultFileError, match=f"{first.name}.*does not belong"):
        made(fit, kind, store=store)
    other = tmp_path / "other"
    made(fit, KINDS[kind == "members"], store=other)
    with pytest.raises(pcb.ResultFileError, match="other data or options"):
        made(fit, kind, store=other)
    first.write_bytes((other / first.name).read_bytes())
    with pytest.raises(pcb.ResultFileError, match=f"{first.name}.*does not belong"):
        made(fit, kind, store=store)
    (tmp_path / "file").write_text("words")
    with pytest.raises(pcb.ResultFileError, match="file"):
        made(fit, kind, store=tmp_path / "file")


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_full_disk_all_goes_on(fit, kind, tmp_path):
    store = tmp_path / "store"
    whole = made(fit, kind)
    with full_disk(), pytest.warns(pcb.FileWarning, match="store is not written") as caught:
        found = made(fit, kind, store=store)
    assert len(caught) == 1
    xr.testing.assert_identical(found, whole)
    assert [path.name for path in store.iterdir()] == ["store.json"]  # nothing half written
    xr.testing.assert_identical(made(fit, kind, store=store), whole)
    assert len(list(store.glob("*.nc"))) == 3


def test_one_training_has_no_store(fit, tmp_path):
    with pytest.raises(pcb.OptionError, match="checkpoint="):
        pcb.fit(fit.data, store=tmp_path, **OPTIONS)


def made_and_killed(fit, kind, store):
    write = many.Store.write

    def writing(self, one):
        write(self, one)
        if one.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    many.Store.write = writing
    made(fit, kind, store=store)


@pytest.mark.filterwarnings("ignore:.*fork")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_parent_goes_on_where_it_was(fit, kind, tmp_path):
    store = tmp_path / "store"
    process = get_context("fork").Process(target=made_and_killed, args=(fit, kind, store))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    there = {path: path.stat().st_mtime_ns for path in store.glob("*.nc")}
    assert len(there) == 2
    found = made(fit, kind, store=store)
    assert {path: path.stat().st_mtime_ns for path in there} == there
    xr.testing.assert_identical(found, made(fit, kind))
