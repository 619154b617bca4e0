"""How the payload of a dead letter is shown."""

import base64
import gzip
from typing import Any

import pytest

from pipeline.dead_letters.show_dead_letter import decoded_payload

BOMB = gzip.compress(b" " * 10_000_000, mtime=0)
DAMAGED = gzip.compress(b"text", mtime=0)[:-9]


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b"text", "text"),
        (gzip.compress(b'{"a": 1}', mtime=0), {"a": 1}),
        (gzip.compress(b"text", mtime=0), "text"),
        (b"\xff", {"base64": "/w=="}),
        (DAMAGED, {"base64": base64.b64encode(DAMAGED).decode()}),
        (BOMB, {"base64": base64.b64encode(BOMB).decode()}),
    ],
)
def test_a_payload_is_shown_as_what_it_holds(payload: bytes, shown: Any) -> None:
    """As JSON, else as text, else as base64; gzip is decompressed as far as the pipeline would."""
    assert decoded_payload(payload) == shown
