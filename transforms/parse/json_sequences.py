"""Several JSON documents in one text: one after the other, on lines, after commas, or each after a record separator."""

import json
import re
from typing import Final

_SEPARATOR: Final = b"\x1e"
"""Before each document of a JSON text sequence (RFC 7464); no JSON has it."""

_BETWEEN: Final = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*)?")
_BOUNDS: Final = json.JSONDecoder(parse_int=len, parse_float=len)
"""Finds where a document ends; numbers are not converted."""


def records_in(data: bytes) -> list[bytes] | None:
    """Return the documents of a JSON text sequence, readable or not; None if the text is none."""
    if not data.startswith(_SEPARATOR):
        return None
    return [record for it in data.split(_SEPARATOR) if (record := it.strip())]


def objects_in(data: bytes, most: int) -> list[bytes] | None:
    """Return the JSON objects of a text that has nothing else but white space and a comma after each.

    None if it has anything else. Of more than `most`, only the first ones are returned, and one more.
    """
    text = data.decode(errors="surrogateescape")
    found: list[bytes] = []
    at = 0
    while at < len(text) and len(found) <= most:
        end = _end(text, at)
        if end is None:
            return None
        found.append(text[at:end].encode(errors="surrogateescape"))
        at = _after(text, end)
    return found


def has_more(data: bytes) -> bool:
    """Whether something follows the JSON object that a text begins with."""
    text = data.decode(errors="surrogateescape")
    end = _end(text, 0)
    return end is not None and _after(text, end) < len(text)


def _end(text: str, at: int) -> int | None:
    """Return where the object ends that begins at a place; None if there is no whole one."""
    if not text.startswith("{", at):
        return None
    try:
        return _BOUNDS.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


def _after(text: str, end: int) -> int:
    match = _BETWEEN.match(text, end)
    return match.end() if match else end
