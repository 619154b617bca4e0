"""Listings, facts and paragraphs on terminals of several widths, and in a pipe."""

import io
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from pipeline.terminal.tables import Cell, Column, Listing, Paragraph, fact_table, plain, wrapped

EVENT_ID: Final = "4f9d2c81aa3344b10e5d6c7f8899aabb"
ACCOUNT_ID: Final = "001000000000001AAA"
COMMAND: Final = "`rescore dead-letters replay --class gemini_timeout`"
COLUMNS: Final = (
    Column("score", is_number=True),
    Column("account", is_whole=True),
    Column("name"),
    Column("why"),
)
ROWS: Final = (
    ("95", ACCOUNT_ID, "Prescott Systems SARL", "Favourable tone in the last e-mails of the buyer"),
    ("7", ACCOUNT_ID, "Zürich Öl AG", "No answer"),
)
WIDTHS: Final = (40, 60, 80, 132)


def shown(renderable: RenderableType, width: int | None) -> list[str]:
    """Return the lines on a terminal of this width; None: in a pipe."""
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=width is not None, color_system=None).print(renderable, crop=False)
    return file.getvalue().splitlines()


@given(st.text(st.characters()))
def test_only_printable_characters_reach_the_terminal(text: str) -> None:
    """These are kept, with the brackets of markup; others, such as escape, become one mark each."""
    shown = plain(text).plain
    assert len(shown) == len(text)
    assert all(
        char == before if before.isprintable() else char == "�" for char, before in zip(shown, text, strict=True)
    )


def test_a_listing_is_a_table_where_its_columns_are_readable() -> None:
    """Numbers stand on the right, texts are broken at spaces, and no line ends in blanks."""
    assert shown(Listing(COLUMNS, ROWS), 80) == [
        "score  account             name                   why",
        f"   95  {ACCOUNT_ID}  Prescott Systems SARL  Favourable tone in the last",
        "                                                  e-mails of the buyer",
        f"    7  {ACCOUNT_ID}  Zürich Öl AG           No answer",
    ]


def test_a_listing_is_a_block_of_lines_for_each_row_where_they_are_not() -> None:
    """Each value stands beside its column's name."""
    assert shown(Listing(COLUMNS, ROWS), 40) == [
        "score    95",
        f"account  {ACCOUNT_ID}",
        "name     Prescott Systems SARL",
        "why      Favourable tone in the last",
        "         e-mails of the buyer",
        "",
        "score    7",
        f"account  {ACCOUNT_ID}",
        "name     Zürich Öl AG",
        "why      No answer",
    ]


def test_a_block_has_no_line_for_an_empty_cell() -> None:
    """A name without a value says nothing."""
    of = Listing(COLUMNS, [("95", ACCOUNT_ID, "", "because " * 20)])
    names = [line.split()[0] for line in shown(of, 40) if not line.startswith(" ")]
    assert names == ["score", "account", "why"]


def test_in_a_pipe_each_row_is_one_line() -> None:
    """A pipe has no width: nothing is broken, and the last column is not padded."""
    assert shown(Listing(COLUMNS, ROWS), None) == [
        "score  account             name                   why",
        f"   95  {ACCOUNT_ID}  Prescott Systems SARL  Favourable tone in the last e-mails of the buyer",
        f"    7  {ACCOUNT_ID}  Zürich Öl AG           No answer",
    ]


def test_columns_sets_the_width_of_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who exports it wants lines of that width."""
    monkeypatch.setenv("COLUMNS", "40")
    file = io.StringIO()
    Console(file=file).print(Listing(COLUMNS, ROWS))
    assert max(map(len, file.getvalue().splitlines())) <= 40


@pytest.mark.parametrize("width", [*WIDTHS, None])
def test_what_is_to_be_copied_is_whole(width: int | None) -> None:
    """Ids and commands stand in one line, at any width; a command wider than the terminal is left to the terminal."""
    listing = Listing((Column("id", is_whole=True), Column("what to do")), ((EVENT_ID, f"Replay it: {COMMAND}"),))
    facts = fact_table(("event", f"{EVENT_ID}, {ACCOUNT_ID}"), ("remedy", f"Wait an hour, then {COMMAND}."))
    for renderable in (listing, facts):
        text = "\n".join(shown(renderable, width))
        assert EVENT_ID in text
        assert COMMAND in text
    assert ACCOUNT_ID in "\n".join(shown(facts, width))
    assert COMMAND in "\n".join(shown(Paragraph(f"It failed again, so wait an hour, then {COMMAND}."), width))


def test_facts_stand_beside_their_names_or_below() -> None:
    """Below, where the text's longest word has no room beside it; a text may have several lines."""
    facts = fact_table(("event", EVENT_ID), ("drivers", "+ tone\n- silence since the last e-mail of the buyer"))
    assert shown(facts, 60) == [
        f"event             {EVENT_ID}",
        "drivers           + tone",
        "                  - silence since the last e-mail of the",
        "                    buyer",
    ]
    assert shown(facts, 40) == [
        "event",
        f"  {EVENT_ID}",
        "drivers  + tone",
        "         - silence since the last e-mail",
        "           of the buyer",
    ]


def test_texts_without_spaces_are_broken_where_they_may_be() -> None:
    """East Asian characters are two cells wide, and lines may end after each of them."""
    lines = wrapped(Text("株式会社東京電力ホールディングス"), 10)
    assert [line.plain for line in lines] == ["株式会社東", "京電力ホー", "ルディング", "ス"]


_CELLS = st.text(st.sampled_from("ab1 \n[]`株é\x1b"), max_size=60)


@given(st.lists(st.tuples(_CELLS, _CELLS, _CELLS), min_size=1, max_size=4), st.sampled_from(WIDTHS))
@example([("1111111株株株株", "1111111111111株株", "")], 40)
def test_no_column_vanishes(rows: list[tuple[Cell, Cell, Cell]], width: int) -> None:
    """Every character of every cell is printed at any width, and no line ends in blanks."""
    columns = (Column("one"), Column("two", is_whole=True), Column("three", is_number=True))
    lines = shown(Listing(columns, rows), width)
    printed = sorted("".join(lines).replace(" ", ""))
    names = "onetwothree"
    # A block of lines leaves out the columns that are empty in its row.
    in_blocks = "".join(column.name for row in rows for column, cell in zip(columns, row, strict=True) if cell)
    cells = "".join(plain(str(cell).replace("\n", "")).plain.replace(" ", "") for row in rows for cell in row)
    assert printed in (sorted(names + cells), sorted(in_blocks + cells))
    assert not [line for line in lines if line != line.rstrip()]


@given(
    st.lists(st.tuples(st.text("abc", min_size=1, max_size=12), st.text("ab ", max_size=80)), min_size=1, max_size=4)
)
def test_lines_keep_within_the_terminal(rows: list[tuple[str, str]]) -> None:
    """If no word is wider than it."""
    short = [(name, " ".join(word[:16] for word in text.split(" "))) for name, text in rows]
    for width in WIDTHS:
        lines = [
            *shown(Listing((Column("name", is_whole=True), Column("text")), short), width),
            *shown(fact_table(*short), width),
        ]
        assert max(map(cell_len, lines)) <= width
