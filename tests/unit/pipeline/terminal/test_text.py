"""Text of others on a terminal does nothing there."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.terminal.text import plain


@given(st.text(st.characters()))
def test_only_print_reaches_the_terminal(text: str) -> None:
    """What prints is kept, brackets of markup too; what does not, such as the start of an escape, shows as one mark."""
    shown = plain(text).plain
    assert len(shown) == len(text)
    assert all(
        char == before if before.isprintable() else char == "�" for char, before in zip(shown, text, strict=True)
    )
