"""Names of nodes that a spreadsheet made into dates or numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pycellbox.errors import DataError

_ENGLISH = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTHS = {
    **{name: number for number, name in enumerate(_ENGLISH, start=1)},
    **{"january": 1, "february": 2, "march": 3, "april": 4, "june": 6, "july": 7, "august": 8},
    **{"sept": 9, "september": 9, "october": 10, "november": 11, "december": 12},
    **{"mär": 3, "mrz": 3, "märz": 3, "mars": 3, "mai": 5, "okt": 10, "dez": 12, "déc": 12},
}
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_CLOCK = r"([ T]\d\d:\d\d.*)?"
_DAY_MONTH = re.compile(
    rf"(?P<day>\d{{1,2}})\.?[-/ ]?(?P<month>{_MONTH})\.?([-/. ]+\d{{2,4}})?", re.I
)
# Title case alone: sep-1 and SEP-1 are names of genes, Sep-1 is what a spreadsheet writes.
_TITLE = "|".join(name.capitalize() for name in sorted(_MONTHS, key=len, reverse=True))
_MONTH_DAY = re.compile(rf"(?P<month>{_TITLE})\.?[-/. ]+(?P<day>\d{{1,2}})(,?[-/. ]+\d{{4}})?")
_YEAR_FIRST = re.compile(rf"\d{{4}}([-/.])(?P<month>\d{{1,2}})\1(?P<day>\d{{1,2}}){_CLOCK}")
_YEAR_LAST = re.compile(
    rf"(?P<day>\d{{1,2}})([-/.])(?P<month>\d{{1,2}})\2\d{{4}}{_CLOCK}"
    r"|(?P<day2>\d{1,2})/(?P<month2>\d{1,2})/\d\d"
)
_GENES = {
    3: ("MARCH{0} (now MARCHF{0})", "MARC{0} (now MTARC{0})"),
    9: ("SEPT{0} (now SEPTIN{0})",),
    12: ("DEC{0} (now DELEC{0})",),
}
_TIMES_TEN = re.compile(r"\d[.,]\d+E\+\d{2}")


def check_gene_names(nodes: Iterable[str], owner: str) -> None:
    """Raise a `DataError` if a spreadsheet made the name of a node into a date or a number.

    Source: Ziemann et al., Genome Biology 17:177 (2016).
    """
    for node in nodes:
        genes = _genes_of_date(node)
        if not genes and not _TIMES_TEN.fullmatch(node):
            continue
        what = f"a date: it probably was {' or '.join(genes)}" if genes else "a number"
        raise DataError(
            f"{owner}: the node {node!r} is {what}. Spreadsheets make "
            f"{'dates' if genes else 'numbers'} of names; restore the name, and format the column "
            "as text before the table is opened."
        )


def _genes_of_date(name: str) -> list[str]:
    """Return what a gene may have been called before it became this date; nothing if it is none."""
    text = name.strip()
    for pattern in (_DAY_MONTH, _MONTH_DAY, _YEAR_FIRST, _YEAR_LAST):
        match = pattern.fullmatch(text)
        if match is None:
            continue
        parts = match.groupdict()
        day = int(parts["day"] or parts["day2"])
        word = (parts["month"] or parts["month2"]).lower()
        month = int(word) if word.isdigit() else _MONTHS[word]
        # By the country's habit 3/1/2001 is the third of January or the first of March.
        if pattern is _YEAR_LAST and (month > 12 or (day in _GENES and month not in _GENES)):
            day, month = month, day
        if 1 <= month <= 12 and 1 <= day <= 31:
            forms = _GENES.get(month, (f"{_ENGLISH[month - 1].upper()}{{0}}",))
            return [form.format(day) for form in forms]
    return []
