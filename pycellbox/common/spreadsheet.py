"""CSV tables that a spreadsheet opens without running anything."""

from __future__ import annotations

import csv
import io
import re

import pandas as pd

# What makes spreadsheets take a text for a formula, also in its wide form; see "CSV injection" of
# OWASP. Apostrophes before it are doubled, so that any text comes back.
_RUN = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def csv_text(
    frame: pd.DataFrame, *, separator: str = ",", index: bool = True, missing: str = ""
) -> str:
    """Write a table as CSV, with an apostrophe before texts that a spreadsheet would run.

    Parameters
    ----------
    frame : DataFrame
    separator : str
    index : bool
        Whether to write the index too.
    missing : str
        What stands for NaN.

    Returns
    -------
    str
        Numbers are as pandas writes them; `unescaped` takes the apostrophes back.
    """
    plain = frame.to_csv(index=index, na_rep=missing, quoting=csv.QUOTE_ALL)
    rows = csv.reader(io.StringIO(plain, newline=""))
    return "".join(separator.join(_cell(text, separator) for text in row) + "\n" for row in rows)


def unescaped(text: str) -> str:
    """Take back the apostrophe that `csv_text` puts before a text."""
    return text[1:] if text.startswith("'") and _RUN.match(text) else text


def _cell(text: str, separator: str) -> str:
    if _RUN.match(text) and not _is_number(text):
        text = f"'{text}"
    # A text that begins with # would be taken for a comment.
    if text.startswith("#") or any(sign in text for sign in (separator, '"', "\r", "\n")):
        return '"' + text.replace('"', '""') + '"'
    return text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
