"""What a notebook shows of our objects."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr

import pycellbox as pcb
from pycellbox.networks.network import make_network

EVIL = ["<script>alert(1)</script>", 'a"b', "a&b", "<img src=http://x/y onerror=z>", "Ω'"]


class Page(HTMLParser):
    """Tags, attributes and text of a page; every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self._open.append(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


# Nodes that are both drug and protein, on purpose.
pytestmark = pytest.mark.filterwarnings("ignore::pycellbox.DataWarning")


@pytest.fixture(scope="module")
def evil() -> pcb.Fit:
    n = len(EVIL)
    u = xr.DataArray(-np.eye(n), {"condition": EVIL, "node": EVIL}, ("condition", "node"))
    data = xr.Dataset({"perturbation": u, "response": 0.5 * u})
    data = data.assign_coords(node_kind=("node", ["protein"] * n))
    return pcb.fit(data, schedule=pcb.Stage(2, 0.1), validation=0.2, progress=False)


@pytest.fixture(scope="module")
def views(evil: pcb.Fit) -> dict[str, object]:
    W = evil.parameters["W"].values
    kept = evil.data.isel(condition=slice(4)).drop_vars("role")
    labels = tuple(EVIL)
    pruned = pcb.prune(evil, edges=[6, 2], schedule=pcb.Stage(1), choose="lowest")
    return {
        "fit": evil,
        "split": pcb.splits.Split(EVIL[0], labels[:2], (), labels[2:]),
        "network": make_network(W, EVIL),
        "no edges": make_network(0 * W, EVIL),
        "stage": pcb.Stage(7),
        "other stage": pcb.Stage(
            7, {"rates": 0.125}, 2.5, pcb.Penalty(l1=0.5), 3, 4, 5, "cosine", 6
        ),
        "lbfgs": pcb.Stage(7, optimizer=pcb.LBFGS()),
        "evaluation": evil.evaluate(evil.data),
        "notes": pcb.fit(kept, schedule=pcb.Stage(1), progress=False).evaluate(
            kept, baselines=False
        ),
        "pruned": pruned,
    }


NAMES = (
    "fit", "split", "network", "no edges", "stage", "other stage", "lbfgs", "evaluation", "notes",
    "pruned",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_views_are_safe_and_stand_alone(views: dict[str, object], name: str) -> None:
    html = views[name]._repr_html_()  # type: ignore[attr-defined]
    page = Page(html)
    assert page.tags <= {"div", "span", "strong", "details", "summary", "table", "tr", "th", "td"}
    assert set(page.attributes) == {"style"}  # no handler, no link
    styles = ";".join(page.attributes["style"])
    assert "url(" not in styles
    # Legible on white and on black: no text color and no background of its own.
    colors = re.findall(r"(?:^|;)\s*(?:color|background(?:-color)?):([^;]*)", styles)
    assert set(colors) <= {"inherit", "none"}


def test_views_say_what_was_asked(views: dict[str, object]) -> None:
    def text(name: str) -> str:
        return Page(views[name]._repr_html_()).text  # type: ignore[attr-defined]

    fit = views["fit"]
    for line in repr(fit).splitlines()[1:]:
        assert line.split(maxsplit=1)[1] in text("fit")
    assert "5 nodes, 4 conditions fitted, 1 for validation" in text("fit")
    assert "<script>alert(1)</script> → " in text("fit")
    for label in EVIL:
        assert label in text("split")
    assert "2 train" in text("split")
    assert "0 validation" in text("split")
    assert "0 edges" in text("no edges")
    W = views["network"].W  # type: ignore[attr-defined]
    strongest = W.values.ravel()[np.abs(W.values).argmax()]
    assert re.search(r"\bw +(\S+ → |<).*?([+-][\d.e-]+)", text("network")).group(2) == (  # type: ignore[union-attr]
        f"{strongest:+.3g}"
    )
    for word in ("7", "never stops early", "all conditions", "constant", "AdamW"):
        assert word in text("stage")
    for word in ("rates: 0.125", "2.5", "l1=0.5", "3", "4", "5", "cosine", "6"):
        assert word in text("other stage")
    assert "Pearson" in text("evaluation")
    assert "ridge" in text("evaluation")
    assert "chosen" in text("pruned")


def test_views_of_large_networks_are_short() -> None:
    network = pcb.networks.erdos_renyi(99, 0.5, seed=0)
    html = network._repr_html_()
    assert len(html) < 10_000
    assert "20 strongest" in html
