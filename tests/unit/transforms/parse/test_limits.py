"""No message stops the stream: what is beyond a limit is one dead letter, or the record's change without its values."""

import json
from typing import Any

import orjson
import pytest

from schemas.change_event import MAX_FIELD_NAMES, MAX_RECORD_IDS, AccountChange, ChangeType, SourceMessage
from schemas.failures import ErrorClass
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event
from transforms.parse.account_changes import ParsedRecord, Refusal
from transforms.parse.avro_schemas import AvroSchemaError, SchemaReference, parse_event_schema
from transforms.parse.limits import (
    MAX_FIELDS,
    MAX_NARROWED_BYTES,
    MAX_OBJECTS,
    MAX_REFUSED_RECORDS,
    MAX_SCHEMA_OBJECTS,
    count_objects,
)
from transforms.parse.message_parsing import parse_message

CONTACT = "003ak00000IiFInAAN"
TEXT = "x" * 100_000


def _parsed(document: Any) -> list[ParsedRecord]:
    bytes_ = document if isinstance(document, bytes) else orjson.dumps(document)
    return parse_message(SourceMessage(payload=bytes_), account_fields=ACCOUNT_FIELDS)


def _again(change: AccountChange) -> list[ParsedRecord]:
    return parse_message(change.source, account_fields=ACCOUNT_FIELDS)


def _changes(document: Any) -> list[AccountChange]:
    records = _parsed(document)
    changes = [record for record in records if isinstance(record, AccountChange)]
    assert len(changes) == len(records)
    return changes


def _ids(count: int) -> list[str]:
    return [account_id(number) for number in range(1, count + 1)]


def _schema(names: list[str]) -> dict[str, Any]:
    fields = [{"name": name, "type": "string"} for name in ["ChangeEventHeader", *names]]
    return {"type": "record", "name": "AccountChangeEvent", "fields": fields}


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (event(recordIds=["x"] * (MAX_RECORD_IDS + 1)), "recordIds: expected 50,000 entries or fewer"),
        (event(recordIds=[[]] * 3_000), "recordIds[0]: expected text"),
        (event(changedFields=["x"] * (MAX_FIELD_NAMES + 1)), "changedFields: expected 2,500 entries or fewer"),
        (event(nulledFields=["x"] * (MAX_FIELD_NAMES + 1)), "nulledFields: expected 2,500 entries or fewer"),
        (event(diffFields=["x"] * (MAX_FIELD_NAMES + 1)), "diffFields: expected 2,500 entries or fewer"),
        (event(changeOrigin="x" * 1_001), "changeOrigin: expected text of at most 1000 characters"),
        (event(dict.fromkeys(map(str, range(MAX_FIELDS + 1)), 1)), "more than 2,500 fields"),
        (event({"Address": dict.fromkeys(map(str, range(MAX_FIELDS + 1)), 1)}), "more than 2,500 fields"),
        (event({"Name": [[]] * (MAX_OBJECTS + 1)}), "more objects and lists"),
        ({"payload": event({"Name": [[]] * (MAX_OBJECTS + 1)})}, "more objects and lists"),
        ([event({"Name": [[]] * (MAX_OBJECTS // 2)})] * 3, "more objects and lists"),
        (b"[" + b"[]," * 900_000 + b"[]]", "more objects and lists"),
    ],
)
def test_what_is_beyond_a_limit_is_one_dead_letter(document: Any, reason: str) -> None:
    """It has the message's bytes, and the reason names the limit."""
    (refusal,) = _parsed(document)
    assert isinstance(refusal, Refusal)
    assert refusal.error.error_class is ErrorClass.INVALID_EVENT
    assert reason in str(refusal.error)
    assert refusal.received.source.payload == (document if isinstance(document, bytes) else orjson.dumps(document))


def test_many_records_carry_their_own_part_each() -> None:
    """What 20,000 changes carry together is bounded, and each is the same change when it is parsed again."""
    document = event(recordIds=_ids(20_000))
    changes = _changes(document)
    assert len(changes) == 20_000
    carried = sum(len(change.source.payload) for change in changes)
    assert carried < 20_000 * (len(orjson.dumps(event())) + 100) < MAX_NARROWED_BYTES
    assert _again(changes[-1]) == [changes[-1]]


def test_values_that_are_too_large_for_many_records_are_unknown() -> None:
    """An UPDATE keeps the names of its changed fields, so that rules apply; nothing is taken as cleared."""
    body = {"Description": TEXT, "Rating": None}
    names = ["Description", "Rating"]
    document = event(body, recordIds=_ids(1_000), changedFields=names, nulledFields=None)
    changes = _changes(document)
    assert len(changes) == 1_000
    assert sum(len(change.source.payload) for change in changes) < MAX_NARROWED_BYTES
    for change in changes[:3]:
        assert (change.change_type, change.changed_fields) == (ChangeType.UPDATE, ("Description", "Rating"))
        assert (change.values, change.nulled_fields) == ({}, ())
        assert _again(change) == [change]


@pytest.mark.parametrize(
    ("change_type", "kept", "changed"),
    [
        ("CREATE", "GAP_CREATE", []),
        ("UNDELETE", "GAP_UNDELETE", []),
        ("DELETE", "GAP_DELETE", []),
        ("GAP_UPDATE", "GAP_UPDATE", []),
        ("UPDATE", "GAP_UPDATE", None),
        ("UPDATE", "GAP_UPDATE", ["x" * 100_000]),
    ],
)
def test_other_events_too_large_for_many_are_gaps(change_type: str, kept: str, changed: list[str] | None) -> None:
    """As Salesforce makes of an event above 1 MB: with the same event ids and accounts, and nothing else."""
    body = {"Description": TEXT, "AccountId": account_id(7)}
    ids = [CONTACT, *_ids(999)]
    document = event(body, entityName="Contact", changeType=change_type, recordIds=ids, changedFields=changed)
    changes = _changes(document)
    assert {change.change_type for change in changes} == {ChangeType(kept)}
    assert {change.account_id for change in changes} == {account_id(7)}
    assert sum(len(change.source.payload) for change in changes) < MAX_NARROWED_BYTES
    assert _again(changes[0]) == [changes[0]]
    (alone,) = _changes(event(body, entityName="Contact", changeType=change_type, recordIds=[CONTACT]))
    assert alone.event_id == changes[0].event_id


def test_many_malformed_ids_are_one_dead_letter() -> None:
    """It names all of them and none of the others; its replay is the same dead letter."""
    bad = [f"bad-{number}" for number in range(MAX_REFUSED_RECORDS + 1)]
    change, refusal = _parsed(event(recordIds=[bad[0], account_id(), *bad[1:]]))
    assert isinstance(change, AccountChange)
    assert isinstance(refusal, Refusal)
    assert json.loads(refusal.received.source.payload)["ChangeEventHeader"]["recordIds"] == bad
    assert str(refusal.error).startswith("21 records; the first: ChangeEventHeader.recordIds: not a record id")
    (again,) = parse_message(refusal.received.source, account_fields=ACCOUNT_FIELDS)
    assert isinstance(again, Refusal)
    assert again.received.event_id == refusal.received.event_id
    assert again.received.source.payload == refusal.received.source.payload


def test_few_malformed_ids_are_a_dead_letter_each() -> None:
    """Up to twenty, each with its own id."""
    refused = _parsed(event(recordIds=[f"bad-{number}" for number in range(MAX_REFUSED_RECORDS)]))
    assert len({it.received.event_id for it in refused if isinstance(it, Refusal)}) == MAX_REFUSED_RECORDS


def test_records_of_all_events_of_a_message_are_bounded() -> None:
    """Events for which no room is left are dead letters of their own; the others are changes."""
    events = [event({}, recordIds=_ids(20_000), sequenceNumber=number) for number in (1, 2, 3)]
    records = _parsed(events)
    assert sum(isinstance(it, AccountChange) for it in records) == 40_000
    (refusal,) = (it for it in records if isinstance(it, Refusal))
    assert "more than 50,000 record ids" in str(refusal.error)
    assert refusal.received.source.attributes == {"event_in_message": "3"}
    replayed = SourceMessage(
        payload=refusal.received.source.payload, attributes={"event_in_message": "3", "replay_count": "1"}
    )
    assert len(parse_message(replayed, account_fields=ACCOUNT_FIELDS)) == 20_000


def test_bitmaps_are_joined_before_they_are_named() -> None:
    """2,500 bitmaps of 2,499 fields name each field once."""
    names = [f"F{number}" for number in range(MAX_FIELDS - 1)]
    bitmaps = [f"0x{1 << 1 + number:x}" for number in range(MAX_FIELDS - 1)]
    (change,) = _changes({"schema": _schema(names), "payload": event({}, changedFields=bitmaps)})
    assert change.changed_fields == tuple(names)


def test_an_envelope_s_schema_is_parsed_once() -> None:
    """However many events are within it."""
    reference = SchemaReference.of({"schema": _schema(["Phone"])})
    assert reference.sent
    assert reference.sent.fields is reference.sent.fields
    assert SchemaReference.of({}).or_else(reference).sent is reference.sent


@pytest.mark.parametrize(
    "schema",
    [
        _schema([f"F{number}" for number in range(MAX_FIELDS)]),
        _schema([]) | {"doc": [[]] * (MAX_SCHEMA_OBJECTS + 1)},
    ],
)
def test_a_schema_that_is_too_large_is_refused(schema: dict[str, Any]) -> None:
    """An event brings it, so it is bounded as the event is."""
    with pytest.raises(AvroSchemaError, match="more than 2,500 fields"):
        parse_event_schema(schema)


@pytest.mark.parametrize(
    ("value", "count"), [({}, 1), ([], 1), ([1, "x", None], 1), ({"a": [{}, {"b": []}]}, 5), ([[]] * 9, 10)]
)
def test_objects_and_lists_are_counted(value: Any, count: int) -> None:
    """All of them, at any depth; beyond the limit, counting ends."""
    assert count_objects(value, 100) == count
    assert count_objects([value] * 200, 100) > 100
