"""Strengths of penalties, entry by entry."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pycellbox.models import Layout
from pycellbox.objective import Penalty
from pycellbox.problem import Array


def strengths_over(
    penalty: Penalty, layout: Layout, kind: Literal["l1", "l2"], measured: int
) -> Array:
    """Strength of every entry of a layout beside the mean loss, (size,), 0 where it is fixed.

    Parameters
    ----------
    penalty : Penalty
    layout : Layout
        Of raw parameters, or of effective ones, as ``penalty.sees_raw`` says.
    kind : {"l1", "l2"}
    measured : int
        Entries that were measured in training, for penalties on the sum's scale.
    """
    scale = 1.0 if penalty.scale == "mean" else 1.0 / measured
    asked = {name: scale * s for name, s in penalty.strengths(kind).items()}
    found = layout.spread(asked)
    for name in penalty.named:
        place = layout.places[name]
        found[place] = np.where(layout.fixed[place], 0, asked.get(name, 0))
    return found
