"""Tables as labs may have them, drawn by hypothesis, and the dataset that each of them means."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from hypothesis import strategies as st

from pycellbox.common.labels import label_text
from pycellbox.data.cells import is_numeric
from pycellbox.data.headings import names_labels, time_heading
from pycellbox.data.numerals import is_missing_text

# Neither control characters nor halves of characters, which no text file keeps.
CHARACTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp", "Cn"))
EVERYDAY = st.sampled_from("abcEKMR0123456789_-+.=αβ%()/ ,;\t'\"#|")
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-3, 3).map(float)
DEVIATIONS = st.floats(min_value=1e-300, max_value=1e300)
TIMES = st.floats(min_value=0, max_value=1e6)
UNITS = st.sampled_from(["h", "min", "s", "d"])
KINDS = ("protein", "phenotype", "drug")


class Tables(NamedTuple):
    """A dataset before it is one: labels and arrays, (condition[, time], node)."""

    conditions: list[str]
    nodes: list[str]
    kinds: dict[str, str]
    perturbation: np.ndarray
    response: np.ndarray
    sigma: np.ndarray | None
    times: np.ndarray | None
    units: str | None

    def frame(self, name: str) -> pd.DataFrame | None:
        """One of the tables, a row per condition or per condition and time."""
        values = getattr(self, name)
        if values is None:
            return None
        index = pd.Index(self.conditions, name="condition")
        if values.ndim == 3:
            pairs = [(c, t) for c in self.conditions for t in self.times]
            index = pd.MultiIndex.from_tuples(pairs, names=["condition", f"time ({self.units})"])
        rows = values.reshape(-1, len(self.nodes))
        return pd.DataFrame(rows, index, pd.Index(self.nodes, dtype=object))

    def frames(self) -> dict[str, pd.DataFrame | None]:
        return {name: self.frame(name) for name in ("perturbation", "response", "sigma")}

    def check(self, data: xr.Dataset) -> None:
        """The dataset is these tables, bit for bit."""
        assert data["condition"].values.tolist() == self.conditions
        assert data["node"].values.tolist() == self.nodes
        assert data["node_kind"].values.tolist() == [self.kinds[node] for node in self.nodes]
        assert ("time" in data.dims) == (self.times is not None)
        if self.times is not None:
            np.testing.assert_array_equal(data["time"].values, self.times, strict=True)
            assert data["time"].attrs["units"] == self.units
        for name in ("perturbation", "response", "sigma"):
            wanted = getattr(self, name)
            assert (name in data) == (wanted is not None)
            if wanted is not None:
                np.testing.assert_array_equal(data[name].values, wanted, strict=True)


def labels(size: int, file: bool) -> st.SearchStrategy[list[str]]:
    """Different labels; in a file, which has no place for them, without blanks around."""
    text = st.text(EVERYDAY, min_size=1, max_size=5) | st.text(CHARACTERS, min_size=1, max_size=5)
    text = text.map(str.strip) if file else text
    return st.lists(text.filter(str.strip), min_size=size, max_size=size, unique_by=label_text).map(
        lambda drawn: [label_text(label) for label in drawn]
    )


def is_node(label: str) -> bool:
    """Whether a heading is a node without doubt; the others have tests of their own."""
    number = is_numeric(label) and not label.isdecimal()
    return not (names_labels(label) or time_heading(label) or is_missing_text(label) or number)


@st.composite
def tables(draw: st.DrawFn, file: bool = False, course: bool | None = None) -> Tables:
    """Any valid tables: up to five conditions, four nodes and three times."""
    n_conditions, n_nodes = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    # Labels that are on both axes may be refused as transposed, and rightly.
    both = draw(labels(n_conditions + n_nodes, file).filter(lambda x: all(map(is_node, x))))
    conditions, nodes = both[:n_conditions], both[n_conditions:]
    course = draw(st.booleans()) if course is None else course
    times = None
    if course:
        drawn = draw(st.lists(TIMES, min_size=1, max_size=3, unique=True))
        times = np.array(sorted(drawn))
    shape: tuple[int, ...] = (n_conditions, n_nodes)
    full = shape if times is None else (n_conditions, len(times), n_nodes)

    def array(numbers: st.SearchStrategy[float], of: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(of))
        return np.array(draw(st.lists(numbers, min_size=size, max_size=size))).reshape(of)

    response = array(NUMBERS, full)
    missing = array(st.booleans(), full)
    missing[np.arange(n_conditions) % n_conditions, ..., 0] = False  # each has something measured
    kinds = {node: draw(st.sampled_from(KINDS)) for node in nodes}
    unmeasured = missing.reshape(-1, n_nodes).all(axis=0)
    kinds = {n: "drug" if u else kinds[n] for n, u in zip(nodes, unmeasured, strict=True)}
    sigma: np.ndarray | None = None
    if draw(st.booleans()):
        sigma = array(DEVIATIONS, full)
    return Tables(
        conditions, nodes, kinds, array(NUMBERS, shape), np.where(missing, np.nan, response),
        sigma, times, draw(UNITS) if course else None,
    )  # fmt: skip


def shuffled(draw: Any, frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """The same table with its rows and columns in another order."""
    if frame is None:
        return None
    rows = draw(st.permutations(range(frame.shape[0])))
    columns = draw(st.permutations(range(frame.shape[1])))
    return frame.iloc[rows, columns]
