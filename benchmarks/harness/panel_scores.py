"""Methods beside the best baseline, from the rows that `panel.py` keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from methods import BASELINES, SATURATED, SIX

from harness.report import Row
from pycellbox import metrics

BySplit: TypeAlias = dict[str, Row]

GROUPS: dict[str, tuple[str, ...]] = {
    "melanoma": ("melanoma",),
    "crc": ("crc",),
    "hpn": ("hpn",),
    "liver": ("liver",),
    "crc, hpn, liver": ("crc", "hpn", "liver"),
    "signalling": ("signalling",),
    "hpn courses": ("hpn courses",),
}
"""Families that are summed up together."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "melanoma": ("melanoma",),
    "crc": ("crc",),
    "hpn": ("hpn", "hpn courses"),
    "liver": ("liver",),
    "signalling": ("signalling",),
}
"""Families that are left out together: what shares cells or a simulator."""


def judged(rows: Iterable[Row], methods: Sequence[str]) -> list[Row]:
    """Sum up each method on each task of each table, by family; see `_judged`."""
    found: dict[tuple[str, str], dict[str, BySplit]] = {}
    for row in rows:
        if "mse" in row:
            of_case = found.setdefault((row["table"], row["task"]), {})
            of_case.setdefault(row["method"], {})[row["split"]] = row
    every = (
        _judged(case, method) for case in found.values() for method in methods if method in case
    )
    order = [*GROUPS]
    return sorted((row for row in every if row), key=lambda row: order.index(row["family"]))


def _judged(case: Mapping[str, BySplit], method: str) -> Row:
    """Scores of a method, means over its splits, beside the best baselines on the same splits.

    The best of six, of all, and that of saturated doses are those with the least mean error, so
    they were chosen by the test; baselines that lack a split take no part. The difference from the
    best of six, over its error, has the corrected error over splits, and a test by condition, of
    the errors of each averaged over the splits that test it. Nothing if no baseline has the splits.
    """
    own = case[method]
    splits = list(own)
    rivals = {
        name: case[name] for name in BASELINES if name in case and case[name].keys() >= own.keys()
    }
    if not rivals.keys() & set(SIX):
        return {}
    errors = {name: _mean(rows, splits, "mse") for name, rows in rivals.items()}
    six = min((name for name in SIX if name in rivals), key=errors.__getitem__)
    every = min(rivals, key=errors.__getitem__)
    ours, first = _mean(own, splits, "mse"), own[splits[0]]
    differences = [own[split]["mse"] - rivals[six][split]["mse"] for split in splits]
    change = metrics.over_splits(
        differences,
        fitted=_mean(own, splits, "fitted"),
        tested=_mean(own, splits, "tested"),
    )
    row: Row = {
        "family": first["family"],
        "label": first["table"],
        "task": first["task"],
        "method": method,
        "splits": len(splits),
        "mse": ours,
        "pearson": _mean(own, splits, "pearson"),
        "best": six,
        "best mse": errors[six],
        "ratio": ours / errors[six],
        "best of all": every,
        "ratio of all": ours / errors[every],
        "better in": f"{change.below} of {change.count}",
        "difference": change.mean / errors[six],
        "error": change.error / errors[six],
        "p": change.p,
        "p by condition": _by_condition(own, rivals[six], splits),
        "seconds": float(np.median([own[split]["seconds"] for split in splits])),
        "longest": max(own[split]["seconds"] for split in splits),
    }
    if SATURATED in rivals:
        row["ratio of saturated"] = ours / errors[SATURATED]
    if "mse with drugs" in first:
        row |= {
            f"{name} with drugs": _mean(own, splits, f"{name} with drugs")
            for name in ("mse", "pearson")
        }
    return {k: None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}


def _mean(rows: BySplit, splits: Sequence[str], name: str) -> float:
    values = [rows[split][name] for split in splits]
    return float(np.mean([np.nan if value is None else value for value in values]))


def _by_condition(own: BySplit, other: BySplit, splits: Sequence[str]) -> float:
    """Test the squared errors of two methods, each condition once."""

    def errors(rows: BySplit) -> xr.DataArray:
        of_each: dict[str, list[float]] = {}
        for split in splits:
            for condition, error in rows[split]["errors"].items():
                of_each.setdefault(condition, []).append(error)
        # Predictions of 0 that are as far off.
        size = np.sqrt([[np.mean(values)] for values in of_each.values()])
        return xr.DataArray(
            size, dims=("condition", "node"), coords={"condition": [*of_each], "node": ["all"]}
        )

    one, two = errors(own), errors(other)
    return metrics.paired_by_condition(one, two, xr.zeros_like(one)).p


def geometric(ratios: Sequence[float]) -> float:
    return float(np.exp(np.mean(np.log(ratios))))


@dataclass(frozen=True)
class LeftOut:
    """A family, and what was chosen for it on all others.

    Attributes
    ----------
    family, chosen, afterwards : str
        The latter: the variant that is best on the family itself.
    ratios : dict of str to dict of str to float
        By variant and task, on this family: geometric means of ratios to the best of six.
    """

    family: str
    chosen: str
    afterwards: str
    ratios: dict[str, dict[str, float]]


def left_out(found: Iterable[Row], variants: Sequence[str]) -> list[LeftOut]:
    """Choose a variant on all families but one, and judge it on that one.

    Chosen is the least mean logarithm of the ratio to the best of six: over the tables of a task,
    then over tasks, then over families. Only tables and tasks count that all variants have.
    """
    cases: dict[tuple[str, str], dict[str, Row]] = {}
    for row in found:
        if row["method"] in variants:
            cases.setdefault((row["label"], row["task"]), {})[row["method"]] = row
    common = [case for case in cases.values() if len(case) == len(variants)]
    of_family: dict[str, dict[str, dict[str, float]]] = {}
    for family, parts in LEFT_OUT.items():
        ratios: dict[str, dict[str, list[float]]] = {variant: {} for variant in variants}
        for case in common:
            for variant, row in case.items():
                if row["family"] in parts:
                    ratios[variant].setdefault(row["task"], []).append(row["ratio"])
        if ratios[variants[0]]:
            of_family[family] = {
                variant: {task: geometric(values) for task, values in by_task.items()}
                for variant, by_task in ratios.items()
            }

    def best(families: Sequence[str]) -> str:
        def cost(variant: str) -> float:
            each = [np.log([*of_family[f][variant].values()]).mean() for f in families]
            return float(np.mean(each))

        return min(variants, key=cost)

    return [
        LeftOut(family, best([f for f in of_family if f != family]), best([family]), ratios)
        for family, ratios in of_family.items()
        if len(of_family) > 1
    ]
