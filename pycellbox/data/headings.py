"""What the heading of a column says: labels, time with its unit, or a node."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pycellbox.data.units import UNIT_OF, unit_of

_TIME = frozenset(["time", "times", "timepoint", "timepoints", "t"])
_SINCE = frozenset(["after", "post", "since"])
_FILLERS = _SINCE | frozenset(
    ["in", "of", "point", "points", "elapsed", "treatment", "stimulation", "perturbation"]
)
_ONLY_TIME = frozenset(["hours", "minutes", "seconds", "days", "weeks"]) | _TIME - {"t"}

_IN_BRACKETS = re.compile(
    r"(?:time|times|timepoints?|t)\s*[(\[]\s*(?:in\s+)?([^()\[\]]+?)\s*[)\]]", re.I
)

# What pandas, R and xarray call the column of an index that was written without a name.
_WRITTEN_INDEX = re.compile(r"|unnamed: ?\d+.*|index|level_\d+|dim_\d+")
_LABELS = re.compile(
    r"(condition|cond|id|sample|row|name|label|treatment|experiment|exp|well|plate|batch|"
    r"replicate|perturbation|cell|cell[ _.-]?line|dose|conc|concentration|drug|target)s?"
    r"([ _.-]?(id|name|label|no|nr|number)s?)?"
)


@dataclass(frozen=True)
class TimeHeading:
    """A heading that reads as time: its unit, if it says one, and whether it may be a node."""

    unit: str | None
    may_be_node: bool


def time_heading(heading: object) -> TimeHeading | None:
    """Read a heading such as ``Time (h)``, ``time_min``, ``timepoint``, ``hours`` or ``t``."""
    in_brackets = _IN_BRACKETS.fullmatch(str(heading).strip())
    if in_brackets:  # any unit, also one that is not known here
        return TimeHeading(unit_of(in_brackets[1]), may_be_node=False)
    words = [word for word in re.split(r"[\W_]+", str(heading).strip().lower()) if word]
    times = [word for word in words if word in _TIME]
    units = [word for word in words if word in UNIT_OF]
    rest = set(words) - set(times) - set(units)
    if len(times) > 1 or len(units) > 1 or not rest <= _FILLERS:
        return None
    if not times and not (units and (len(words) == 1 or rest & _SINCE)):
        return None
    # T is a gene, and so may be H, S or D.
    certain = bool(_ONLY_TIME & set(words)) or len(words) > 1
    return TimeHeading(UNIT_OF[units[0]] if units else None, not certain)


def is_blank(heading: object) -> bool:
    """Whether a column has no heading of its own; pandas numbers such columns."""
    return str(heading).strip().lower().startswith("unnamed: ") or not str(heading).strip()


def is_written_index(heading: object) -> bool:
    """Whether a heading is what an unnamed index is called once it was written or reset."""
    return _WRITTEN_INDEX.fullmatch(str(heading).strip().lower()) is not None


def names_labels(heading: object) -> bool:
    """Whether a heading announces labels of conditions or an index, and hardly a node."""
    text = str(heading).strip().lower()
    return is_written_index(text) or _LABELS.fullmatch(text) is not None
