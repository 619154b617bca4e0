"""JSON values that a message may have, but that neither UTF-8 nor a double can hold."""

from typing import Final, NamedTuple

NOT_UTF_8: Final = "text that is not UTF-8 (ISO-8859-1?): publish JSON in UTF-8"
LONE_SURROGATE: Final = "text with a lone surrogate, half of a character: have the bridge replace it"
NO_DOUBLE: Final = "a number beyond the range of a double: have the bridge correct it"


class UnusableJson(NamedTuple):
    """Such a value. Coders, BigQuery and Pub/Sub refuse it, so it is left out before a value goes on."""

    kind: str
    """What it is, and the remedy."""

    source: str
    """The value as JSON, in ASCII."""

    text: str | None = None
    """The text, if it is one; it can't be encoded."""
