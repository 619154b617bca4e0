"""Tables and text on a terminal; text from outside can neither move the cursor nor act as markup."""

from typing import Final

from rich.table import Table
from rich.text import Text

PADDING: Final = (0, 2, 0, 0)


def plain(text: str, style: str = "") -> Text:
    """Return a text without markup, in which each unprintable character is replaced by one mark."""
    return Text("".join(char if char.isprintable() else "�" for char in text), style=style)


def lines_of(text: str) -> Text:
    """Return a text of several lines as `plain` returns each of them."""
    return Text("\n").join(plain(line) for line in text.split("\n"))


def fact_table(*facts: tuple[str, str]) -> Table:
    """Return a table with a row for each (name, text); the texts may have several lines."""
    table = Table(show_header=False, box=None, padding=PADDING)
    table.add_column(style="dim", min_width=16)
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, lines_of(text))
    return table
