"""The doubts about a dataset, one after the other."""

from __future__ import annotations

import xarray as xr

from pycellbox.doubts import doses, responses
from pycellbox.models import ODE, CellBox, Structure


def doubt_data(data: xr.Dataset, structure: Structure) -> None:
    """Warn, before a fit, of what the model would take for something else than it probably is.

    Parameters
    ----------
    data : Dataset
        The conditions to be fitted, as `validate` returns them.
    structure : Structure
        The model over the nodes of ``data``; what saturates, and what rests, depends on it.

    Raises
    ------
    DataError
        Nothing is perturbed and the model never moves by itself: there is nothing to learn.

    Warns
    -----
    DataWarning
        At most one of each sort: it names rows or columns, and the remedy.
    """
    resting = structure.model.log_ratios and not doses.moves_by_itself(structure)
    doses.refuse_unperturbed(data, resting)
    if isinstance(structure.model, CellBox):  # others may saturate elsewhere, or nowhere
        doses.doubt_sizes(data, structure)
    if isinstance(structure.model, ODE):
        doses.doubt_unnamed(data, structure.model.inputs.values())
    readouts = responses.Readouts(data, resting)
    if structure.model.log_ratios:
        doses.doubt_standardized(data)
        # Of several sorts with one cause the first is given.
        if not (responses.doubt_copy(data) or doses.doubt_kinds(data)):
            responses.doubt_constants(readouts)
        if not responses.doubt_scale(readouts):
            responses.doubt_rest(readouts)
    responses.doubt_replicates(readouts)
    responses.doubt_sigma(readouts)
