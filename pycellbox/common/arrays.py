"""Arrays as people hand them in."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def unmasked(values: Any) -> npt.NDArray[Any]:
    """Return an array in which masked cells are missing: NaN among numbers, else None.

    ``np.asarray`` would drop the mask and take what lies under it for measured, also of masked
    arrays inside of lists.
    """
    if isinstance(values, np.ma.MaskedArray):
        missing: Any = np.nan if values.dtype.kind in "biuf" else None
        cells: Any = values.data if missing is not None else values.data.astype(object)
        return np.asarray(np.where(np.ma.getmaskarray(values), missing, cells))
    if isinstance(values, list | tuple):
        values = [
            unmasked(v)[()] if isinstance(v, list | tuple | np.ma.MaskedArray) else v
            for v in values
        ]
    return np.asarray(values)
