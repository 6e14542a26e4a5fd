"""Drugs that a fit has not seen act by the size of their doses, whichever sign a table gives them.

An estimate lets such a drug act like a typical one, which has a sign as the doses in the table of
the fit have them: inhibitors by negative doses, say. W·x knows no size without a sign, so doses of
the other sign are turned before the equation is solved, and the drug's own state is turned back:
it follows from the dose alone, and an odd function of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from pycellbox.inputs import Inputs
from pycellbox.models import Structure
from pycellbox.problem import Array


def unseen_signs(provenance: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the signs of the doses of drugs that a fit has not seen, by drug."""
    signs: Mapping[str, float] = provenance.get("estimate", {}).get("unseen_signs", {})
    return signs


def turned(
    inputs: Inputs, structure: Structure, signs: Mapping[str, float]
) -> tuple[Inputs, Array]:
    """Turn doses of drugs that a fit has not seen to the sign that it takes them for.

    Doses of both signs, in phases of one condition, stay as they are.

    Parameters
    ----------
    inputs : Inputs
    structure : Structure
    signs : mapping of str to float
        By drug, of those that the fit has not seen.

    Returns
    -------
    inputs : Inputs
    sign : ndarray, (c, n)
        By which states are to be multiplied.
    """
    sign = np.ones_like(inputs.perturbation)
    if not signs:
        return inputs, sign[:, structure.known]
    wanted = np.array([signs.get(node, 0.0) for node in structure.nodes])
    treatment = inputs.treatment
    given = inputs.perturbation[:, None]
    if treatment is not None:
        given = treatment.perturbation
        if treatment.pretreatment is not None:
            given = np.concatenate([given, treatment.pretreatment[:, None]], axis=1)
    sign[(given * wanted < 0).any(axis=1) & ~(given * wanted > 0).any(axis=1)] = -1
    if treatment is not None:
        before = treatment.pretreatment
        treatment = replace(
            treatment,
            perturbation=treatment.perturbation * sign[:, None],
            pretreatment=None if before is None else before * sign,
        )
    turned_inputs = replace(inputs, perturbation=inputs.perturbation * sign, treatment=treatment)
    return turned_inputs, sign[:, structure.known]


def with_signs(states: xr.DataArray, sign: Array) -> xr.DataArray:
    """Multiply states, (condition, node) or (condition, time, node), by signs (c, n)."""
    each = xr.DataArray(sign, dims=("condition", "node"))
    turned_back: xr.DataArray = (states * each).transpose(*states.dims)
    return turned_back.assign_attrs(states.attrs) if (sign < 0).any() else states
