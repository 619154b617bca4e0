"""Listings, facts and paragraphs on a terminal; text from outside can neither move the cursor nor act as markup.

Lines are broken at spaces only, so what is to be copied stays whole: ids, and commands in `backticks`. A listing is a
table where every column is readable, and a block of lines for each row where the terminal is too narrow for that. No
line ends in blanks. A pipe has no width, so nothing is broken there, unless COLUMNS sets one.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

PADDING: Final = (0, 2, 0, 0)
GAP: Final = 2
"""Blanks between columns."""

READABLE: Final = 16
"""Room that a column of text needs, unless it says otherwise."""

LABEL_WIDTH: Final = 16
"""Of facts, where there is room for it: blocks of facts below each other then align."""

NARROW: Final = 24
"""Texts of facts get more room than this, if names can do with less than LABEL_WIDTH."""

# Characters two cells wide: East Asian texts have no spaces, and may be broken between any two of them.
_WIDE: Final = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003fffd"
)
_WORD: Final = re.compile(rf"(?:`[^`\n]*`|[^\s{_WIDE}])+|[{_WIDE}]")

_MARKER: Final = re.compile(r"\s*(?:[-+]|\d{1,2}\.) ")
"""Of an item of a list: its further lines are indented below its text."""

Cell = str | Text
"""Text from outside as a str; Text of ours, which is printed as it is."""


def plain(text: str, style: str = "") -> Text:
    """Return a text without markup, in which each unprintable character is replaced by one mark."""
    return Text("".join(char if char.isprintable() else "�" for char in text), style=style)


def counted(count: int, noun: str) -> str:
    """Return a number of things: `1 event`, `1,200 events`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def verbatim(line: str) -> Text:
    """Return a line that is to be copied: it stays whole, however narrow the terminal is."""
    return _as_it_is(Text(line))


def unbroken(text: str) -> Text:
    """Return a text from outside whose lines stay whole, such as a document that is to be copied."""
    return _as_it_is(lines_of(text))


def lines_of(text: str, style: str = "") -> Text:
    """Return a text of several lines as `plain` returns each of them."""
    return Text("\n").join(plain(line, style) for line in text.split("\n"))


def wrapped(text: Text, width: int) -> list[Text]:
    """Return a text's lines, broken at spaces; a word or a command that is wider than the width stays whole."""
    return [part for line in text.split("\n", allow_blank=True) for part in _broken(line, width)]


def _broken(line: Text, width: int) -> Iterator[Text]:
    marker = _MARKER.match(line.plain)
    indent, hanging = Text(), Text(" " * marker.end() if marker else "")
    start = end = 0
    for word in _WORD.finditer(line.plain):
        if end and len(indent) + cell_len(line.plain[start : word.end()]) > width:
            yield indent + line[start:end]
            indent, start = hanging, word.start()
        end = word.end()
    yield indent + line[start:end]


@dataclass(frozen=True)
class Column:
    """A column of a listing.

    Attributes:
        name: Its heading.
        is_whole: Its values are never broken: ids, names of classes, times.
        is_number: Its values stand on the right, and are never broken.
        readable: A text is never narrower, unless it needs less.
    """

    name: str
    is_whole: bool = False
    is_number: bool = False
    readable: int = READABLE


@dataclass(frozen=True)
class Listing:
    """Rows with a cell for each column: a table, or a block of lines for each row if that is too wide."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = [[_text(cell) for cell in row] for row in self.rows]
        room = _room(console, options)
        widths = column_widths(self.columns, rows, room)
        lines = _blocks(self.columns, rows, room) if widths is None else _table(self.columns, rows, widths)
        yield from map(_as_it_is, lines)


@dataclass(frozen=True)
class Facts:
    """Texts beside their names; a text stands below its name where its longest word has no room beside it."""

    facts: Sequence[tuple[str, Cell]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        facts = [(plain(name, "dim"), _text(cell)) for name, cell in self.facts]
        yield from map(_as_it_is, _facts(facts, _room(console, options), LABEL_WIDTH))


@dataclass(frozen=True)
class Paragraph:
    """A text of our own, whose commands in backticks stay whole."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from map(_as_it_is, wrapped(lines_of(self.text, self.style), _room(console, options)))


def fact_table(*facts: tuple[str, Cell]) -> Facts:
    """Return a line for each (name, text); the texts may have several lines."""
    return Facts(facts)


def column_widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int) -> list[int] | None:
    """Return the columns' widths: what each needs, or less for the widest texts; None if one were unreadable."""
    cells = [[Text(column.name), *(row[number] for row in rows)] for number, column in enumerate(columns)]
    widths = [max(_width(cell) for cell in of_column) for of_column in cells]
    least = [
        width
        if column.is_whole or column.is_number
        else min(width, max(column.readable, *map(_longest_word, of_column)))
        for column, width, of_column in zip(columns, widths, cells, strict=True)
    ]
    available = room - GAP * (len(columns) - 1)
    if sum(least) > available:
        return None
    while sum(widths) > available:
        widest = max(
            (number for number in range(len(widths)) if widths[number] > least[number]), key=widths.__getitem__
        )
        widths[widest] -= 1
    return widths


def _room(console: Console, options: ConsoleOptions) -> int:
    return options.max_width if console.is_terminal or "COLUMNS" in os.environ else sys.maxsize


def _text(cell: Cell) -> Text:
    return lines_of(cell) if isinstance(cell, str) else cell


def _width(text: Text) -> int:
    return max(cell_len(line) for line in text.plain.split("\n"))


def _longest_word(text: Text) -> int:
    return max((cell_len(word) for word in _WORD.findall(text.plain)), default=0)


def _table(columns: Sequence[Column], rows: Sequence[Sequence[Text]], widths: Sequence[int]) -> Iterator[Text]:
    for row in ([Text(column.name, "dim") for column in columns], *rows):
        cells = [wrapped(cell, width) for cell, width in zip(row, widths, strict=True)]
        for line in zip_longest(*cells, fillvalue=Text()):
            yield _beside(line, widths, [column.is_number for column in columns])


def _beside(cells: Sequence[Text], widths: Sequence[int], on_the_right: Sequence[bool]) -> Text:
    line, at, begins = Text(), 0, 0
    for cell, width, is_right in zip(cells, widths, on_the_right, strict=True):
        free = max(0, width - cell_len(cell.plain)) if is_right else 0
        if cell.plain:
            line.append(" " * (begins + free - at)).append_text(cell)
            at = begins + free + cell_len(cell.plain)
        begins += width + GAP
    return line


def _blocks(columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int) -> Iterator[Text]:
    names = [Text(column.name, "dim") for column in columns]
    for number, row in enumerate(rows):
        if number:
            yield Text()
        yield from _facts([(name, cell) for name, cell in zip(names, row, strict=True) if cell.plain], room, 0)


def _facts(facts: Sequence[tuple[Text, Text]], room: int, label_width: int) -> Iterator[Text]:
    longest = max((_width(name) for name, _ in facts), default=0)
    width = max(label_width, longest)
    if room - width - GAP < NARROW:
        width = longest
    for name, text in facts:
        needed = _longest_word(text)
        # A word that is wider than the terminal has no room below its name either.
        if room - width - GAP >= max(READABLE, needed if needed <= room - GAP else 0):
            for number, line in enumerate(wrapped(text, room - width - GAP)):
                yield _beside([name if number == 0 else Text(), line], [width, 0], [False, False])
        else:
            yield name
            yield from (_beside([Text(), line], [0, 0], [False, False]) for line in wrapped(text, room - GAP))


def _as_it_is(line: Text) -> Text:
    line.no_wrap, line.overflow, line.end = True, "ignore", "\n"
    return line
