"""Dead letters: bytes and attributes as they came, and the envelope around them."""

import base64
import hashlib

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.change_event import SourceMessage
from schemas.dead_letter import (
    ENVELOPE_ATTRIBUTES,
    MAX_ROW_PAYLOAD_BYTES,
    DeadLetter,
    dead_letter_row,
    message_attributes,
    original_attributes,
)
from schemas.failures import ErrorClass
from schemas.record import to_json
from tests.fixtures.changes import NOW


def _letter(source: SourceMessage, error_class: ErrorClass = ErrorClass.UNDECODABLE) -> DeadLetter:
    return DeadLetter(
        error_class=error_class,
        stage="Parse change events",
        error_message="no JSON",
        event_id="e1",
        source=source,
        first_failed_at=NOW,
        failed_at=NOW,
        pipeline_version="1",
        trace_id="t1",
    )


@given(st.binary(max_size=2_000))
def test_payload_survives_letter_and_row(payload: bytes) -> None:
    """Any bytes come back from the letter's JSON, and from the row, equal to what was published."""
    letter = _letter(SourceMessage(payload=payload))
    assert msgspec.json.decode(to_json(letter), type=DeadLetter).source.payload == payload
    row = dead_letter_row(letter)
    assert base64.b64decode(row.payload_base64 or "") == payload
    assert row.payload_sha256 == hashlib.sha256(payload).hexdigest()


def test_a_payload_too_large_for_a_row_stays_on_the_topic() -> None:
    """The row has its hash, and the message has the bytes."""
    payload = b"x" * (MAX_ROW_PAYLOAD_BYTES + 1)
    row = dead_letter_row(_letter(SourceMessage(payload=payload)))
    assert row.payload_base64 is None
    assert row.payload_sha256 == hashlib.sha256(payload).hexdigest()


def test_original_attributes_keep_their_names() -> None:
    """The envelope is added to the original attributes; the model is told where there was a prompt."""
    attributes = message_attributes(_letter(SourceMessage(payload=b"x", attributes={"source": "bridge", "a": "b"})))
    assert attributes["source"] == "bridge"
    assert attributes["a"] == "b"
    assert set(attributes) == {"source", "a"} | ENVELOPE_ATTRIBUTES - {"model"}
    assert attributes["error_class"] == "undecodable"
    assert attributes["retryable"] == "false"


def test_an_original_attribute_with_the_envelopes_name_is_kept() -> None:
    """A sender may have an event_id of its own; a replay gives it back."""
    attributes = message_attributes(_letter(SourceMessage(payload=b"x", attributes={"event_id": "theirs"})))
    assert attributes["event_id"] == "e1"
    assert attributes["original.event_id"] == "theirs"
    assert original_attributes(attributes) == {"event_id": "theirs"}
