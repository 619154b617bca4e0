"""Dead letters: the original bytes and attributes, and the envelope around them."""

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


def _dead_letter(source: SourceMessage, error_class: ErrorClass = ErrorClass.UNDECODABLE) -> DeadLetter:
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
def test_the_payload_survives_json_and_row(payload: bytes) -> None:
    """Any payload is unchanged after the dead letter's JSON and after the row."""
    dead_letter = _dead_letter(SourceMessage(payload=payload))
    assert msgspec.json.decode(to_json(dead_letter), type=DeadLetter).source.payload == payload
    row = dead_letter_row(dead_letter)
    assert base64.b64decode(row.payload_base64 or "") == payload
    assert row.payload_sha256 == hashlib.sha256(payload).hexdigest()


def test_a_payload_too_large_for_a_row_stays_on_the_topic() -> None:
    """The row has the payload's hash; the message has the bytes."""
    payload = b"x" * (MAX_ROW_PAYLOAD_BYTES + 1)
    row = dead_letter_row(_dead_letter(SourceMessage(payload=payload)))
    assert row.payload_base64 is None
    assert row.payload_sha256 == hashlib.sha256(payload).hexdigest()


def test_original_attributes_keep_their_names() -> None:
    """The envelope is added to the original attributes, with the model if there was a prompt."""
    attributes = message_attributes(
        _dead_letter(SourceMessage(payload=b"x", attributes={"source": "bridge", "a": "b"}))
    )
    assert attributes["source"] == "bridge"
    assert attributes["a"] == "b"
    assert set(attributes) == {"source", "a"} | ENVELOPE_ATTRIBUTES - {"model"}
    assert attributes["error_class"] == "undecodable"
    assert attributes["retryable"] == "false"


def test_an_original_attribute_with_the_envelopes_name_is_kept() -> None:
    """A publisher may set its own event_id; a replay restores it."""
    attributes = message_attributes(_dead_letter(SourceMessage(payload=b"x", attributes={"event_id": "theirs"})))
    assert attributes["event_id"] == "e1"
    assert attributes["original.event_id"] == "theirs"
    assert original_attributes(attributes) == {"event_id": "theirs"}
