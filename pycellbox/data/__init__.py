"""The dataset: labelled perturbations and responses, their one schema, and their files.

A dataset is an `xarray.Dataset` with the variables ``perturbation(condition, node)``,
``response(condition[, time], node)``, optionally ``sigma`` (dims as the response), and the
coordinates ``condition``, ``node``, ``node_kind(node)`` and, for time courses, ``time``.
`validate` is the one place where this schema is checked.
"""

from __future__ import annotations

from pycellbox.data.conditions import condition_labels, drugs_of
from pycellbox.data.courses import read_courses
from pycellbox.data.netcdf import open_data, save_data
from pycellbox.data.noise import pooled_sigma
from pycellbox.data.schema import DEFAULT_TRANSFORM, SCHEMA_VERSION, validate
from pycellbox.data.tables import from_tables
from pycellbox.data.textfiles import read_csv
from pycellbox.data.transforms import as_measured, transformed
from pycellbox.data.units import in_unit
from pycellbox.data.variables import NODE_KINDS

__all__ = [
    "DEFAULT_TRANSFORM",
    "NODE_KINDS",
    "SCHEMA_VERSION",
    "as_measured",
    "condition_labels",
    "drugs_of",
    "from_tables",
    "in_unit",
    "open_data",
    "pooled_sigma",
    "read_courses",
    "read_csv",
    "save_data",
    "transformed",
    "validate",
]
