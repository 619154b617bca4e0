"""Facts on a terminal: a name and a text each."""

from typing import Final

from rich.table import Table
from rich.text import Text

from pipeline.terminal.text import plain

PADDING: Final = (0, 2, 0, 0)


def fact_table(*facts: tuple[str, str]) -> Table:
    """Return a table of names and texts; what others wrote shows as it is, line by line, and does nothing."""
    table = Table(show_header=False, box=None, padding=PADDING)
    table.add_column(style="dim", min_width=16)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, lines_of(text))
    return table


def lines_of(text: str) -> Text:
    """Return a text of several lines, in which no other character moves the cursor."""
    return Text("\n").join(plain(line) for line in text.split("\n"))
