"""Several events in one message: each has its own outcome, and a replay of one does not repeat the others."""

import gzip
import json
from typing import Any

import orjson

from schemas.change_event import AccountChange, SourceMessage
from schemas.failures import ErrorClass
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event, payload
from transforms.parse.account_changes import NoChange, ParsedRecord, Refusal
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas, EventField
from transforms.parse.limits import MAX_COPIED_BYTES
from transforms.parse.message_parsing import parse_events, parse_message
from transforms.parse.narrowed_events import EVENT_IN_MESSAGE

FIRST, SECOND = event(recordIds=[account_id(1)]), event(recordIds=[account_id(2)])
GARBAGE: dict[str, Any] = {"heartbeat": True}


def _parsed(source: SourceMessage, schemas: AvroSchemas = NO_SCHEMAS) -> list[ParsedRecord]:
    return parse_message(source, schemas, account_fields=ACCOUNT_FIELDS)


def _source(*events: Any, **attributes: str) -> SourceMessage:
    return SourceMessage(payload=orjson.dumps(list(events)), attributes=attributes, message_id="m")


def _replayed(source: SourceMessage) -> SourceMessage:
    """Return the message that a replay of a dead letter publishes."""
    return SourceMessage(payload=source.payload, attributes=source.attributes | {"replay_count": "1"}, message_id="r")


def _ids(records: list[ParsedRecord]) -> list[str]:
    return [it.received.event_id if isinstance(it, NoChange | Refusal) else it.event_id for it in records]


def test_each_event_has_its_records() -> None:
    """Each event of a message says what it would say alone."""
    both = event(recordIds=[account_id(2), account_id(3)])
    found = parse_events(_source(FIRST, both), account_fields=ACCOUNT_FIELDS)
    alone = [_parsed(SourceMessage(payload=orjson.dumps(it))) for it in (FIRST, both)]
    assert [_ids(records) for records in found] == [_ids(records) for records in alone]


def test_a_change_carries_its_own_event_alone() -> None:
    """The message of a change is its event, from which the same change follows."""
    for change in _parsed(_source(FIRST, SECOND, GARBAGE, key="value")):
        if isinstance(change, AccountChange):
            assert json.loads(change.source.payload)["ChangeEventHeader"]["recordIds"] == [change.record_id]
            assert change.source.attributes == {"key": "value"}
            assert _parsed(change.source) == [change]


def test_an_unreadable_event_is_a_dead_letter_with_the_whole_message() -> None:
    """Its bytes are the message's, it says which event it is, and each has an identity of its own."""
    source = _source(FIRST, GARBAGE, event(changeType="SNAPSHOT"), GARBAGE, key="value")
    refused = [it for it in _parsed(source) if isinstance(it, Refusal)]
    assert [it.received.source.payload for it in refused] == [source.payload] * 3
    assert [it.received.source.attributes for it in refused] == [
        {"key": "value", EVENT_IN_MESSAGE: number} for number in ("2", "3", "4")
    ]
    assert len({it.received.event_id for it in refused}) == 3
    assert [it.error.error_class for it in refused] == [
        ErrorClass.INVALID_EVENT,
        ErrorClass.UNSUPPORTED_EVENT,
        ErrorClass.INVALID_EVENT,
    ]


def test_a_replay_of_an_unreadable_event_reads_that_event_only() -> None:
    """It keeps its identity, and the events that could be read are not changes again."""
    source = _source(FIRST, GARBAGE, SECOND, GARBAGE)
    for refusal in (it for it in _parsed(source) if isinstance(it, Refusal)):
        (again,) = _parsed(_replayed(refusal.received.source))
        assert isinstance(again, Refusal)
        assert again.received.event_id == refusal.received.event_id
        assert again.received.source.payload == source.payload


def test_a_replay_that_can_be_read_by_then_is_that_change() -> None:
    """Once its schema is registered, only the event that lacked it becomes a change."""
    bitmaps = {"schemaId": "S1", "payload": event({"Phone": "1"}, changedFields=["0x2"], recordIds=[account_id(9)])}
    schemas = {"S1": (EventField("ChangeEventHeader"), EventField("Phone"))}
    refusal = _parsed(_source(FIRST, bitmaps, SECOND))[1]
    assert isinstance(refusal, Refusal)
    (change,) = _parsed(_replayed(refusal.received.source), schemas)
    assert isinstance(change, AccountChange)
    assert (change.account_id, change.changed_fields) == (account_id(9), ("Phone",))
    assert change.source.attributes == {"replay_count": "1"}
    assert _parsed(change.source) == [change]


def test_a_sender_can_t_hide_events() -> None:
    """The attribute counts in replays only, and only if it is the number of an event."""
    for attributes in (
        {EVENT_IN_MESSAGE: "2"},
        {EVENT_IN_MESSAGE: "3", "replay_count": "1"},
        {EVENT_IN_MESSAGE: "0", "replay_count": "1"},
        {EVENT_IN_MESSAGE: "²", "replay_count": "1"},
        {EVENT_IN_MESSAGE: "9" * 5_000, "replay_count": "1"},
    ):
        assert len(_parsed(_source(FIRST, SECOND, **attributes))) == 2


def test_large_messages_are_not_copied_for_each_unreadable_event() -> None:
    """Where the copies would be too long, each unreadable event has its own text, and its schema."""
    bitmaps = {"schemaId": "S1", "payload": event({"Phone": "1"}, changedFields=["0x2"])}
    long = event({"Description": "x" * 2_000_000})
    records = _parsed(_source(long, *([GARBAGE] * 5), bitmaps))
    refused = [it for it in records if isinstance(it, Refusal)]
    assert [json.loads(it.received.source.payload) for it in refused] == [*([GARBAGE] * 5), bitmaps]
    assert sum(len(it.received.source.payload) for it in refused) < MAX_COPIED_BYTES
    for refusal in refused:
        (again,) = _parsed(_replayed(refusal.received.source))
        assert isinstance(again, Refusal)
        assert again.received.event_id == refusal.received.event_id


def test_a_message_without_room_for_an_attribute_is_not_copied() -> None:
    """Pub/Sub takes a hundred attributes, and a dead letter that it refuses would block all others."""
    attributes = {f"a{number}": "x" for number in range(100)}
    refusal = _parsed(_source(FIRST, GARBAGE, **attributes))[1]
    assert isinstance(refusal, Refusal)
    assert json.loads(refusal.received.source.payload) == GARBAGE
    assert refusal.received.source.attributes == attributes


def test_an_event_as_a_message_of_its_own_keeps_what_nothing_can_hold() -> None:
    """Its unusable values are written as they came, in UTF-8."""
    refused = event({"Name": 7}, changeType="MERGE", sequenceNumber=2)
    text = orjson.dumps([event(), refused]).replace(b'"Name":7', rb'"Name":"\ud800"')
    attributes = {f"a{number}": "x" for number in range(100)}
    _, dead = _parsed(SourceMessage(payload=text, attributes=attributes))
    assert isinstance(dead, Refusal)
    assert dead.received.source.payload.decode().endswith(r'"Name":"\ud800"}}')


def test_lines_keep_their_bytes() -> None:
    """A line that is not JSON is, where copies would be too long, that line."""
    line = b' \xff{"half":'
    text = payload({"Description": "x" * 2_500_000}) + (b"\n" + payload()) * 6 + (b"\r\n" + line) * 5 + b"\n"
    records = _parsed(SourceMessage(payload=text))
    assert [it.received.source.payload for it in records if isinstance(it, Refusal)] == [line] * 5


def test_a_narrowed_event_is_not_said_to_be_compressed() -> None:
    """Attributes that describe the whole message's bytes are not those of one of its events."""
    source = SourceMessage(
        payload=gzip.compress(orjson.dumps([FIRST, SECOND])),
        attributes={"content-encoding": "gzip", "ce-datacontenttype": "application/json", "key": "value"},
    )
    assert [it.source.attributes for it in _parsed(source) if isinstance(it, AccountChange)] == [
        {"key": "value"},
        {"key": "value"},
    ]
