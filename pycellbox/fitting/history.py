"""What a fit remembers of every iteration."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

_COLUMNS = {
    "objective": "loss plus penalties on the batch, before the update",
    "loss": "loss on the batch, before the update",
    "validation_loss": "loss on the whole validation set; NaN where not evaluated",
    "gradient_norm": "Euclidean norm of the gradient before clipping",
    "learning_rate": "largest learning rate of any parameter; NaN for L-BFGS",
    "horizon": "end of the integration",
}


class History:
    """Rows appended in iteration order, turned into a Dataset at the end."""

    def __init__(self) -> None:
        self._rows: list[tuple[float, ...]] = []  # the columns, then the stage

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, stage: int, **values: float) -> None:
        """Append one iteration; every column must be given."""
        self._rows.append((*(float(values[name]) for name in _COLUMNS), stage))

    def first(self, count: int) -> History:
        """Return the first iterations alone."""
        part = History()
        part._rows = self._rows[:count]
        return part

    @classmethod
    def of(cls, table: np.ndarray) -> History:
        """Return the rows of a `table`."""
        if table.shape[1:] != (len(_COLUMNS) + 1,) or table.dtype.kind != "f":
            raise ValueError("a history has other columns")
        whole = cls()
        whole._rows = [tuple(row) for row in table.tolist()]
        return whole

    @property
    def table(self) -> np.ndarray:
        """All of it, float64 (iteration, column); the last column is the stage."""
        width = len(_COLUMNS) + 1
        return np.array(self._rows, dtype=np.float64).reshape(len(self._rows), width)

    def last(self) -> str:
        """Write out the losses of the last iteration."""
        if not self._rows:
            return "no loss yet"
        row = dict(zip(_COLUMNS, self._rows[-1], strict=False))
        text = f"loss {row['loss']:.4g}"
        judged = math.isfinite(row["validation_loss"])
        return f"{text}, validation {row['validation_loss']:.4g}" if judged else text

    def to_dataset(self) -> xr.Dataset:
        """Dims: iteration, counted over all stages from 0."""
        table = self.table
        data: dict[str, tuple[str, np.ndarray, dict[str, str]]] = {
            name: ("iteration", table[:, k].copy(), {"long_name": text})
            for k, (name, text) in enumerate(_COLUMNS.items())
        }
        stage = table[:, -1].astype(np.int64)
        data["stage"] = ("iteration", stage, {"long_name": "stage, counted from 0"})
        return xr.Dataset(data, coords={"iteration": np.arange(len(self._rows))})
