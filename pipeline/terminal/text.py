"""Text of others on a terminal: what an event says must neither move the cursor nor count as markup."""

from rich.text import Text


def plain(text: str, style: str = "") -> Text:
    """Return a text for rich with each character that is no print replaced, so that it shows and does nothing."""
    return Text("".join(char if char.isprintable() else "�" for char in text), style=style)
