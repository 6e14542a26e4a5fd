"""What `tests.fuzz` hands over instead of the right arguments."""

from __future__ import annotations

import datetime
import decimal
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

import pycellbox as pcb


def _nested(depth: int, kind: type = list) -> Any:
    value: Any = kind()
    for _ in range(depth):
        value = {"a": value} if kind is dict else [value]
    return value


def _own_tail() -> list[Any]:
    value: list[Any] = [1.0]
    value.append(value)
    return value


class _Nameless:
    """An object whose text cannot be had."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


POOL: dict[str, Callable[[], Any]] = {
    repr(value): lambda value=value: value  # type: ignore[misc]
    for value in (
        None,
        True,
        False,
        np.nan,
        np.inf,
        -np.inf,
        0,
        -1,
        1,
        7,
        0.0,
        -0.0,
        0.5,
        2.5,
        1e-300,
        5e-324,
        1e300,
        -1e300,
        10**9,
        10**30,
        -(10**30),
        10**400,
        2**63,
        "",
        "a",
        "x",
        "numpy",
        "nan",
        "1.0",
        "\0",
        "é\ud800",
        "a" * 10_000,
        "../x",
        "/",
        b"bytes",
        1 + 2j,
        (),
        {},
        set(),
        object,
        [0],
        [1, 2],
        [1.0, 1.0],
        [2.0, 1.0],
        [-1.0],
        [np.nan],
        [np.inf, 1e300],
        ["a", "a"],
        ["a", None],
        [None],
        [1 + 2j],
        [[1.0], [1.0, 2.0]],
        {"a": 1},
        {"a": None},
        {1: 2},
        {"node_to_node": 1 + 2j},
        {None: None},
        datetime.date(2020, 1, 1),
        datetime.datetime(2020, 1, 1),
        datetime.timedelta(1),
        np.datetime64("2020-01-01"),
        np.timedelta64(3, "h"),
        np.datetime64("NaT"),
        np.float32(0.1),
        np.int64(3),
        np.bool_(True),
        np.str_("a"),
        decimal.Decimal("sNaN"),
        pd.NA,
        pd.NaT,
        Ellipsis,
        NotImplemented,
        slice(None),
        range(3),
        range(10**12),
        range(10**30),
        sys,
        pcb.CellBox,
        pcb.Euler,
        Path("/dev/null"),
        Path("/"),
        Path("no such file.nc"),
    )
} | {
    "a lambda": lambda: lambda *_: 1,
    "a generator": lambda: (float(i) for i in range(3)),
    "an iterator without end": lambda: iter(int, 1),
    "a list that holds itself": _own_tail,
    "a list 100,000 deep": lambda: _nested(100_000),
    "a list 50 deep": lambda: _nested(50),
    "a mapping 5,000 deep": lambda: _nested(5_000, dict),
    "an object without repr": _Nameless,
    "a list of objects": lambda: [object(), _Nameless()],
    "no number": lambda: np.array([]),
    "no row": lambda: np.empty((0, 7)),
    "no column": lambda: np.empty((12, 0)),
    "a vector": lambda: np.ones(7),
    "a square": lambda: np.ones((7, 7)),
    "a cube": lambda: np.ones((12, 2, 7)),
    "dates": lambda: np.full((12, 7), np.datetime64("2020-01-01")),
    "durations": lambda: np.full((12, 7), np.timedelta64(3, "h")),
    "complex numbers": lambda: np.ones((12, 7), complex),
    "texts": lambda: np.full((12, 7), "much"),
    "bytes": lambda: np.full((12, 7), b"much"),
    "objects": lambda: np.full((12, 7), object()),
    "records": lambda: np.zeros(7, [("a", float), ("b", "U3")]),
    "masked": lambda: np.ma.masked_all((12, 7)),
    "a masked vector": lambda: np.ma.array([1.0, 2.0], mask=[False, True]),
    "a big broadcast": lambda: np.broadcast_to(np.float64(1), (10**7, 10**7)),
    "a hundred dims": lambda: np.ones((1,) * 30),
    "a frame": lambda: pd.DataFrame(np.ones((12, 7))),
    "a frame with repeated names": lambda: pd.DataFrame(np.ones((12, 2)), columns=["a", "a"]),
    "an empty frame": pd.DataFrame,
    "a frame of two levels": lambda: pd.DataFrame(
        np.ones((2, 2)), columns=pd.MultiIndex.from_product([["a"], ["b", "c"]])
    ),
    "a series": lambda: pd.Series([1.0, 2.0]),
    "a categorical": lambda: pd.Categorical(["a", None]),
    "a scalar array": lambda: xr.DataArray(1.0),
    "an unlabelled array": lambda: xr.DataArray(np.ones((12, 7)), dims=("condition", "node")),
    "a foreign array": lambda: xr.DataArray(np.ones(3), {"p": [1, 2, 3]}, ("p",)),
    "an empty dataset": xr.Dataset,
    "an empty tree": xr.DataTree,
    "a model": pcb.CellBox,
    "a stage": lambda: pcb.Stage(1),
    "a loss": pcb.Loss,
    "a penalty": pcb.Penalty,
    "a network": lambda: pcb.networks.cyclic(3),
    "a solver with small steps": lambda: pcb.Euler(1e-12),
    "a Tsit5 of 1e-15": lambda: pcb.Tsit5(1e-15, 1e-15, 10**15),
    "an exact SteadyState": lambda: pcb.SteadyState(tol=1e-300, max_iterations=10**12),
    "an Adaptive": pcb.Adaptive,
    "a long stage": lambda: pcb.Stage(10**9, patience=1),
}

Labelled: TypeAlias = Any


def _cells(value: Any) -> Callable[[Labelled], Labelled]:
    return lambda a: a.copy(data=np.broadcast_to(np.asarray(value), a.shape).copy())


def _one_cell(value: float) -> Callable[[Labelled], Labelled]:
    def change(a: Labelled) -> Labelled:
        cells = a.values.astype(type(value) if isinstance(value, complex | str) else float)
        cells[(0,) * cells.ndim] = value
        return a.copy(data=cells)

    return change


def _labels(make: Callable[[int], Any]) -> Callable[[Labelled], Labelled]:
    def change(a: Labelled) -> Labelled:
        dim = a.dims[-1]
        return a.drop_vars(dim).assign_coords({dim: make(a.sizes[dim])})

    return change


#: Ways to spoil a labelled array.
SPOILT: dict[str, Callable[[Labelled], Labelled]] = {
    "dates": _cells(np.datetime64("2020-01-01")),
    "durations": _cells(np.timedelta64(3, "h")),
    "complex": _cells(1 + 2j),
    "texts": _cells("much"),
    "objects": _cells(object()),
    "nothing": _cells(None),
    "records": lambda a: a.copy(data=np.zeros(a.shape, [("a", float)])),
    "true": _cells(True),
    "NaN": _cells(np.nan),
    "huge": _cells(1e300),
    "tiny": _cells(5e-324),
    "half": lambda a: a.astype(np.float16),
    "one NaN": _one_cell(np.nan),
    "one infinity": _one_cell(np.inf),
    "one huge": _one_cell(1e308),
    "one complex": _one_cell(1 + 2j),
    "negative": lambda a: -abs(a) - 1,
    "no row": lambda a: a.isel({a.dims[0]: []}),
    "no column": lambda a: a.isel({a.dims[-1]: []}),
    "a part": lambda a: a.isel({a.dims[-1]: slice(2)}),
    "turned": lambda a: a.isel({a.dims[-1]: slice(None, None, -1)}).T,
    "repeated rows": lambda a: a.isel({a.dims[0]: [0, 0, 1]}),
    "repeated columns": lambda a: a.isel({a.dims[-1]: [0, *range(a.sizes[a.dims[-1]])]}),
    "one row": lambda a: a.isel({a.dims[0]: 0}),
    "one cell": lambda a: a.isel(dict.fromkeys(a.dims, 0)),
    "another dim": lambda a: a.expand_dims(extra=2),
    "renamed": lambda a: a.rename({a.dims[0]: "other"}),
    "no labels": lambda a: a.drop_vars(list(a.coords)),
    "NaN labels": _labels(lambda n: [np.nan] * n),
    "numbers as labels": _labels(lambda n: np.arange(n) + 0.5),
    "dates as labels": _labels(lambda n: pd.date_range("2020", periods=n)),
    "bytes as labels": _labels(lambda n: [b"%d" % i for i in range(n)]),
    "objects as labels": _labels(lambda n: np.array([object() for _ in range(n)])),
    "tuples as labels": _labels(lambda n: pd.MultiIndex.from_product([["a"], range(n)])),
    "mixed labels": _labels(lambda n: np.array(["a", 1, None, 2.5, *range(n)][:n], dtype=object)),
    "empty labels": _labels(lambda n: [""] * n),
    "kinds as numbers": lambda a: a.assign_coords(node_kind=("node", np.arange(a.sizes["node"]))),
    "kinds of one": lambda a: a.assign_coords(node_kind="protein"),
    "values": lambda a: a.values,
    "a frame": lambda a: a.to_pandas(),
    "a dataset": lambda a: a.to_dataset(name="a"),
}


def spoil(value: Labelled, draw: random.Random) -> tuple[str, Labelled]:
    """Spoil an array, or a variable of a dataset, where it can be done in the way drawn."""
    for way in draw.sample(list(SPOILT), len(SPOILT)):
        try:
            if isinstance(value, xr.DataArray):
                return way, SPOILT[way](value)
            name = draw.choice([*map(str, value.variables)])
            if draw.random() < 0.15:
                return f"no {name}", value.drop_vars(name)
            if draw.random() < 0.4:  # all variables at once: labels, sizes
                return f"all: {way}", value.map(SPOILT[way], keep_attrs=True)
            return f"{name}: {way}", value.assign({name: SPOILT[way](value[name]).variable})
        except Exception:
            continue
    return "as it is", value
