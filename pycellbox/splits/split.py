"""`Split`: which conditions train, validate and test.

It holds condition labels, not rows, so that it can be printed, stored and applied to any dataset
with those conditions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import xarray as xr

from pycellbox import views
from pycellbox.common.labels import labels_along
from pycellbox.common.options import checked, settle, text
from pycellbox.data.cells import as_labels
from pycellbox.data.given import as_dataset
from pycellbox.errors import DataError


@checked(name=text())
@dataclass(frozen=True, repr=False)
class Split:
    """Condition labels for training, validation and test; disjoint, each in the order drawn.

    Parameters
    ----------
    name : str
        What was split and how, for tables.
    train : tuple of str
        Condition labels for training; not empty.
    validation : tuple of str
        Condition labels for early stopping; may be empty.
    test : tuple of str
        Condition labels for the test; not empty.

    Raises
    ------
    DataError
        No training or test condition, or a condition used twice.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in ("train", "validation", "test"):
            labels = as_labels(getattr(self, part), "condition", part)
            settle(self, part, tuple(labels.tolist()))
            if not getattr(self, part) and part != "validation":
                raise DataError(f"split {self.name!r} has no {part} condition.")
        used = (*self.train, *self.validation, *self.test)
        if len(set(used)) < len(used):
            twice = sorted({label for label in used if used.count(label) > 1})
            raise DataError(f"split {self.name!r} uses condition {twice[0]!r} more than once.")

    @property
    def fit(self) -> tuple[str, ...]:
        """All conditions a fit may see: train, then validation."""
        return self.train + self.validation

    @checked()
    def apply(self, data: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset, xr.Dataset]:
        """Cut a dataset into (train, validation, test).

        Parameters
        ----------
        data : Dataset
            Any dataset with a labelled ``condition`` dimension.

        Returns
        -------
        tuple of Dataset
            Train, validation (with no condition if the split has none) and test.

        Raises
        ------
        DataError
            The dataset lacks a condition of the split.
        """
        where = {label: i for i, label in enumerate(labels_of(data, "condition"))}
        missing = [label for label in self.fit + self.test if label not in where]
        if missing:
            raise DataError(
                f"the dataset lacks {len(missing)} condition(s) of split {self.name!r}, the "
                f"first is {missing[0]!r}; apply a split to the data it was made from."
            )
        train, validation, test = (
            data.isel(condition=[where[label] for label in part]).copy(deep=True)
            for part in (self.train, self.validation, self.test)
        )
        return train, validation, test

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(labels)} {part}" for part, labels in self._parts().items())
        return f"Split({self.name!r}: {sizes})"

    def _repr_html_(self) -> str:
        lists = [
            views.folded(
                f"{len(labels)} {part}", views.table(["condition"], [(c,) for c in labels])
            )
            for part, labels in self._parts().items()
        ]
        return views.card(f"Split: {self.name}", (), *lists)

    def _parts(self) -> dict[str, tuple[str, ...]]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def labels_of(data: xr.Dataset, dim: Literal["condition", "node"]) -> list[str]:
    """Return the labels along a dim as text, or say that there are none."""
    if dim not in as_dataset(data).indexes:
        raise DataError(f"the dataset has no {dim} labels.")
    return labels_along(data, dim)
