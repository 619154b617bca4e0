"""CSV on standard output that a spreadsheet reads as values, never as formulas."""

import csv
import datetime as dt
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

from pipeline.terminal.times import rfc3339

FORMULA_STARTS: Final = "=+-@\t\r\n＝＋－＠"  # noqa: RUF001 - full-width forms, which spreadsheets take for the others
"""A text that starts so is a formula in Excel, LibreOffice or Google Sheets.

Source: https://owasp.org/www-community/attacks/CSV_Injection.
"""


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], to: TextIO | None = None) -> None:
    """Print a line of the columns' names and a line for each row; `to` is standard output by default."""
    writer = csv.writer(to or sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([safe_cell(value) for value in row] for row in rows)


def safe_cell(value: Any) -> Any:
    """Return a value for CSV: a time in RFC 3339, a number as it is, a text in one line that is no formula."""
    if isinstance(value, dt.datetime):
        return rfc3339(value)
    if not isinstance(value, str):
        return value
    text = "".join(char if char.isprintable() else " " for char in value)
    # Blanks before the sign are cut by some programs when they import the text.
    return f"'{text}" if text.lstrip()[:1] in {*FORMULA_STARTS} or value[:1] in {*FORMULA_STARTS} else text
