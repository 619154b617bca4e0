"""Cursors: where the next page begins, as an opaque text that belongs to one request."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from typing import Any, Final

import orjson

MAX_CURSOR: Final = 2_048
"""Characters; a name, by which a list can be sorted, has 255."""

_KINDS: Final = (str, int, float)


class BadCursor(ValueError):
    """A text is no cursor of this request."""


def cursor_of(request: Sequence[Any], keys: Sequence[str | int | float]) -> str:
    """Return the cursor behind a row.

    Args:
        request: What the list is of: filters and order.
        keys: The row's values of the columns that the list is sorted by.
    """
    return base64.urlsafe_b64encode(orjson.dumps([_digest(request), *keys])).decode().rstrip("=")


def keys_of(cursor: str, request: Sequence[Any], kinds: Sequence[type]) -> list[str | int | float]:
    """Return the values at which a page begins.

    Args:
        cursor: As a client sends it.
        request: What the list is of.
        kinds: The type of each value.

    Raises:
        BadCursor: It is none, or one of another request.
    """
    try:
        keys: list[str | int | float]
        digest, *keys = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, TypeError):
        raise BadCursor("this is no cursor: take next_cursor of the answer before") from None
    is_of_kinds = len(keys) == len(kinds) and all(type(it) is kind for it, kind in zip(keys, kinds, strict=True))
    if digest != _digest(request) or not is_of_kinds:
        raise BadCursor("the cursor belongs to another request: send the filters and the order that it came with")
    return keys


def _digest(request: Sequence[Any]) -> str:
    return hashlib.sha256(orjson.dumps(list(request), default=str)).hexdigest()[:16]
