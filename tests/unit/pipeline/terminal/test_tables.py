"""Text from outside on a terminal."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.terminal.tables import plain


@given(st.text(st.characters()))
def test_only_printable_characters_reach_the_terminal(text: str) -> None:
    """These are kept, with the brackets of markup; others, such as escape, become one mark each."""
    shown = plain(text).plain
    assert len(shown) == len(text)
    assert all(
        char == before if before.isprintable() else char == "�" for char, before in zip(shown, text, strict=True)
    )
