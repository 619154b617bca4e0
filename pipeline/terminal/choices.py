"""Values of options that are one of several: an unknown one is refused, with the known ones and the likely one."""

import difflib
from collections.abc import Collection


def one_of(flag: str, value: str, known: Collection[str]) -> str:
    """Return the known value that a text names; capital letters, and - for _, don't matter.

    Raises:
        ValueError: There is none; the message names the flag, the likely value and the known ones.
    """
    if value in known:
        return value
    by_spelling = {_spelling(name): name for name in known}
    if (name := by_spelling.get(_spelling(value))) is not None:
        return name
    raise ValueError(f"{flag} is {value[:60]!r}: expected one of {', '.join(known)}{did_you_mean(value, known)}")


def did_you_mean(value: str, known: Collection[str]) -> str:
    """Return `; did you mean …?` with the known value that is most like a text; nothing if none is."""
    by_spelling = {_spelling(name): name for name in known}
    close = difflib.get_close_matches(_spelling(value), by_spelling, n=1)
    return f"; did you mean {str(by_spelling[close[0]])!r}?" if close else ""


def _spelling(text: str) -> str:
    return text.strip().lower().replace("-", "_")
