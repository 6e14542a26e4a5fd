"""Arrays as people hand them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pycellbox.common.options import shown
from pycellbox.common.plain import MOST_ENTRIES, length
from pycellbox.errors import DataError

_MOST_DIMS = 30


def unmasked(values: Any, depth: int = 0) -> npt.NDArray[Any]:
    """Return an array in which masked cells are missing: NaN among numbers, else None.

    ``np.asarray`` would drop the mask and take what lies under it for measured, also of masked
    arrays inside of lists.
    """
    if isinstance(values, np.ma.MaskedArray):
        missing: Any = np.nan if values.dtype.kind in "biuf" else None
        cells: Any = values.data if missing is not None else values.data.astype(object)
        return np.asarray(np.where(np.ma.getmaskarray(values), missing, cells))
    if depth > _MOST_DIMS:  # a list that holds itself has no end
        raise DataError(f"a table is a list nested more than {_MOST_DIMS} deep; give rows.")
    if length(values) > MOST_ENTRIES:
        raise DataError(f"{shown(values)} is no table: it has too many entries.")
    if isinstance(values, list | tuple):
        values = [
            unmasked(v, depth + 1)[()] if isinstance(v, list | tuple | np.ma.MaskedArray) else v
            for v in values
        ]
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise DataError(f"{shown(values)} is no table: {error}.") from None
