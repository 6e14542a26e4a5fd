"""Which conditions are trained on and which validate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from pycellbox.common.labels import labels_along, listed
from pycellbox.common.options import did_you_mean, number, shown
from pycellbox.common.plain import as_number
from pycellbox.data import validate
from pycellbox.data.cells import as_labels
from pycellbox.data.joining import joined
from pycellbox.data.replicates import take_whole, twins_of, warn_of_replicates
from pycellbox.errors import DataError, OptionError
from pycellbox.models import Structure
from pycellbox.problem import numbers_of
from pycellbox.times import of_same_kind


def split_roles(
    data: xr.Dataset, validation: float | Sequence[str] | xr.Dataset | None, seed: int
) -> tuple[xr.Dataset, np.ndarray]:
    """All conditions in one dataset, and "train" or "validation" for each."""
    labels = labels_along(data, "condition")
    if isinstance(validation, xr.Dataset) and not validation.sizes.get("condition", 1):
        validation = None  # a split without validation conditions
    if isinstance(validation, xr.Dataset):
        extra = as_validation(validation, data)
        sides = ["train"] * len(labels) + ["validation"] * extra.sizes["condition"]
        return joined(data, extra), np.array(sides)
    roles = np.full(len(labels), "train", dtype="<U10")
    if validation is None:
        return data, roles
    share = as_number(validation)
    if share is not None or isinstance(validation, bool):
        share = number(0, 1)("validation", validation)
        count = round(share * len(labels))
        if share > 0 and not 0 < count < len(labels):
            raise OptionError(
                f"validation={share:g} of {len(labels)} conditions leaves an empty set."
            )
        order = np.random.default_rng([seed, 1]).permutation(len(labels))
        picked = take_whole(order, twins_of(data), count)
        if picked.all():
            raise DataError(
                f"validation={share:g}: all {len(labels)} conditions are replicates of each other, "
                "one perturbation, so that a share of them judges nothing; leave it out."
            )
        roles[order[picked]] = "validation"
        return data, roles
    if isinstance(validation, str) or not np.iterable(validation):
        raise OptionError(
            f"validation={shown(validation)}; it needs a share, a list of condition labels, or a "
            "dataset."
        )
    wanted = as_labels(validation, "condition", "validation").tolist()
    absent = [v for v in wanted if v not in set(labels)]
    if absent:
        hint = did_you_mean(absent[0], labels)
        raise OptionError(f"validation names unknown condition(s) {listed(absent)}{hint}.")
    roles[np.isin(labels, wanted)] = "validation"
    if (roles == "validation").all():
        raise OptionError("validation names every condition; nothing is left to fit.")
    judging = roles == "validation"
    warn_of_replicates(data.isel(condition=judging), data.isel(condition=~judging))
    return data, roles


def check_members(structure: Structure, data: xr.Dataset, roles: np.ndarray) -> None:
    """Refuse validation conditions whose own parameters no condition of the training would fit.

    Raises
    ------
    OptionError
    """
    judging = roles == "validation"
    numbers = numbers_of(data, structure)
    for dim, own in zip(structure.members, numbers.T, strict=True):
        if lost := np.setdiff1d(own[judging], own[~judging]).tolist():
            names = ", ".join(p.name for p in structure.layout.parameters if p.along == dim)
            labels = structure.labels_of(dim)
            raise OptionError(
                f"validation: parameters ({names}) differ by {dim}, and those of "
                f"{listed(labels[int(i)] for i in lost)} would not be fitted: validate by "
                "conditions of subjects that are in the training, or let all share the parameters."
            )


def as_validation(validation: xr.Dataset, data: xr.Dataset) -> xr.Dataset:
    """Return other conditions that judge a fit of ``data``, in its order and unit of time.

    Raises
    ------
    DataError
        They cannot be judged by: other nodes, times or kind of data, or conditions of the data.

    Warns
    -----
    DataWarning
        Some are replicates of fitted ones.
    """
    extra = without_role(validate(validation, part=True))
    clash = sorted(set(labels_along(data, "condition")) & set(labels_along(extra, "condition")))
    if clash:
        raise DataError(
            f"condition(s) {listed(clash)} are in both the data and the validation set."
        )
    if set(extra["node"].values) != set(data["node"].values):
        raise DataError("the validation set has other nodes than the data.")
    extra = of_same_kind(extra, data, "the validation conditions")
    if "time" in data.dims and not np.array_equal(extra["time"], data["time"]):
        raise DataError("the validation set has other times than the data.")
    if ("sigma" in extra) != ("sigma" in data):
        raise DataError("only one of data and validation set has a sigma.")
    extra = extra.sel(node=data["node"].values)
    warn_of_replicates(extra, data)
    return extra


def without_role(data: xr.Dataset) -> xr.Dataset:
    """Refuse data with a ``role`` of its own, which would be overwritten."""
    if "role" in data.variables or "role" in data.dims:
        raise DataError(
            "the data have a coordinate 'role', the name under which a fit keeps which conditions "
            "were trained on; it does not choose what is fitted. Take the conditions to fit, such "
            "as data.isel(condition=(data['role'] == 'train').values), give others as "
            "validation=, and leave it out: .drop_vars('role')."
        )
    return data
