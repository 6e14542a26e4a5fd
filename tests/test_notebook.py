"""What a user of Jupyter sees, in a kernel of IPython's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import pycellbox as pcb

pytest.importorskip("matplotlib")
manager = pytest.importorskip("jupyter_client.manager", reason="needs ipykernel")
pytest.importorskip("ipykernel")

SETUP = """
import numpy as np, xarray as xr, pycellbox as pcb
from pycellbox.plot import *
from matplotlib.figure import Figure
network_ = pcb.networks.beeline("LI")
W = network_.W
u = xr.DataArray(-np.eye(7)[:2], {"condition": ["c0", "c1"], "node": list(network_.nodes)},
                 ("condition", "node"))
courses = pcb.simulate(network_, u, times=[1.0, 2.0], seed=0)
x = courses["response"]
stage = np.zeros(3, int)
history = xr.Dataset({k: ("iteration", np.ones(3)) for k in ("loss", "validation_loss")}
                     | {"stage": ("iteration", stage)}, {"iteration": np.arange(3)})
"""
CALLS = {
    "fitted_against_true": "fitted_against_true(W, W{ax})",
    "interactions": "interactions(W{ax})",
    "loss_history": "loss_history(history{ax})",
    "network": "network(W{ax})",
    "observed_against_predicted": "observed_against_predicted(x, x{ax})",
    "precision_recall": "precision_recall(W, W{ax})",
}
#: An unmanaged figure of the user's, as well as pyplot's.
AXES = ("plt.subplots()[1]", "Figure().subplots()")


class Notebook:
    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell; what it shows, by MIME type."""
        shown: list[dict[str, Any]] = []

        def hear(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] in ("display_data", "execute_result"):
                shown.append(content["data"])
            elif message["msg_type"] == "stream":
                shown.append({"stream": content["text"]})
            assert message["msg_type"] != "error", "\n".join(content["traceback"])

        self._client.execute_interactive(code, output_hook=hear, timeout=120)
        return shown

    def pictures(self, code: str) -> int:
        return sum(any(kind.startswith("image/") for kind in data) for data in self.run(code))


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    environment = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    kernel, client = manager.start_new_kernel(env=environment, stderr=subprocess.DEVNULL)
    try:
        made = Notebook(client)
        made.run(SETUP)
        yield made
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


# In this order: what pyplot and the magic do to a kernel stays.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "cell"),
    [("", "{}"), ("", "f = {}"), ("", "f = {}; f"), ("", "f = {}\ndisplay(f)"),
     ("%matplotlib inline", "{}"), ("%matplotlib inline", "f = {}\ndisplay(f)")],
)  # fmt: skip
def test_a_call_shows_its_picture_once(notebook: Notebook, before: str, cell: str) -> None:
    call = CALLS["loss_history"].format(ax="")
    assert notebook.pictures(f"{before}\n" + cell.format(call)) == 1
    assert notebook.pictures("") == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_every_picture_is_shown_once(notebook: Notebook, name: str) -> None:
    assert notebook.pictures(CALLS[name].format(ax="")) == 1


def test_no_picture_is_forgotten() -> None:
    others = {"profile", "trajectories", "require_matplotlib", "save_figure"}
    assert set(pcb.plot.__all__) == set(CALLS) | others


@pytest.mark.slow
def test_pictures_of_several_panels_are_shown_once(notebook: Notebook) -> None:
    assert notebook.pictures("f = trajectories(courses, truth=x)\ninteractions(W, W)") == 2


@pytest.mark.slow
@pytest.mark.parametrize(("axes", "cell"), list(zip(AXES, ("{}", "f = {}"), strict=True)))
def test_given_axes_are_shown_once(notebook: Notebook, axes: str, cell: str) -> None:
    call = CALLS["loss_history"].format(ax=f", ax={axes}")
    assert notebook.pictures("import matplotlib.pyplot as plt\n" + cell.format(call)) == 1
    assert notebook.run("plt.get_fignums()")[0]["text/plain"] == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("whole", ["plt.figure()", "Figure()"])
@pytest.mark.parametrize("part", ["", ".subfigures(1, 2)[0]"])
def test_given_figures_are_shown_once(notebook: Notebook, whole: str, part: str) -> None:
    code = f"import matplotlib.pyplot as plt\nf = {whole}\ninteractions(W, figure=f{part})"
    assert notebook.pictures(code) == 1
    assert notebook.run("plt.get_fignums()")[0]["text/plain"] == "[]"


def test_axes_of_an_earlier_cell_are_drawn_into(notebook: Notebook) -> None:
    notebook.run("import matplotlib.pyplot as plt\n_, ax = plt.subplots()")  # closed at its end
    assert notebook.pictures(CALLS["loss_history"].format(ax=", ax=ax")) == 1


def test_two_axes_of_one_figure_are_shown_once(notebook: Notebook) -> None:
    calls = "; ".join(CALLS["loss_history"].format(ax=f", ax=ax[{i}]") for i in (0, 1))
    code = f"import matplotlib.pyplot as plt\n_, ax = plt.subplots(2)\n{calls}"
    assert notebook.pictures(code) == 1


@pytest.mark.slow
def test_a_loop_shows_all_and_keeps_none(notebook: Notebook) -> None:
    code = "import gc; gc.collect(); print(sum(isinstance(o, Figure) for o in gc.get_objects()))"
    before = int(notebook.run(code)[0]["stream"])
    notebook.run("pcb.plot.notebook.MOST = 2")  # or the test would take long
    loop = f"for _ in range(4): {CALLS['loss_history'].format(ax='')}"
    shown = notebook.run(f"{loop}\nprint('end of loop')")
    kinds = [sorted(data) for data in shown]
    assert kinds == [["image/png", "text/plain"]] * 2 + [["stream"]] + [kinds[0]] * 2  # no warning
    assert int(notebook.run(code)[0]["stream"]) <= before


def test_a_failed_call_shows_nothing(notebook: Notebook) -> None:
    code = "try:\n    network(W, top=-1)\nexcept pcb.PycellboxError:\n    print('refused')"
    assert [list(data) for data in notebook.run(code)] == [["stream"]]


def test_the_format_that_the_user_chose_is_kept(notebook: Notebook) -> None:
    notebook.run("%matplotlib inline\n%config InlineBackend.figure_formats = ['svg']")
    shown = notebook.run(f"f = {CALLS['loss_history'].format(ax='')}")
    assert [sorted(data) for data in shown] == [["image/svg+xml", "text/plain"]]
