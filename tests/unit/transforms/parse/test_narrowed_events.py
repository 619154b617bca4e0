"""An event narrowed to one record says the same of that record as the whole event."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.change_event import AccountChange, ChangeType, SourceMessage
from schemas.dead_letter import MAX_ATTRIBUTE_NAME_BYTES, MAX_ATTRIBUTE_VALUE_BYTES, MAX_ATTRIBUTES
from schemas.record import to_json
from tests.fixtures.changes import ACCOUNT_FIELDS, account_id, event
from tests.fixtures.examples import examples
from transforms.parse.account_changes import ParsedRecord, Refusal
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas, EventField
from transforms.parse.event_decoding import decode_event
from transforms.parse.limits import MAX_ATTRIBUTE_BYTES, MAX_COPIED_BYTES, MAX_NARROWED_BYTES
from transforms.parse.message_parsing import parse_message
from transforms.parse.message_parts import read_records
from transforms.parse.narrowed_events import Room

MOST_ATTRIBUTES = {
    f"{number:0{MAX_ATTRIBUTE_NAME_BYTES}}": "v" * MAX_ATTRIBUTE_VALUE_BYTES for number in range(MAX_ATTRIBUTES)
}
NEEDED = {
    "replay_count": "2",
    "first_failed_at": "2026-03-01T00:00:00+00:00",
    "replayed_after": "gemini_unavailable@1.0.0",
    "traceparent": f"00-{'a' * 32}-{'b' * 16}-01",
}
THREE = [account_id(1), account_id(2), account_id(3)]
_names = st.sampled_from(["Rating", "Industry", "Name", "BillingAddress", "BillingAddress.City", "Custom__c"])
_name_lists = st.none() | st.lists(_names, max_size=4)
_values = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.dictionaries(st.sampled_from(["City", "Street", "LastName"]), st.none() | st.text(max_size=5), max_size=2)
)
_bodies = st.dictionaries(_names | st.just("_ObjectType"), _values, max_size=5)
_headers = st.fixed_dictionaries(
    {
        "changeType": st.sampled_from([kind.value for kind in ChangeType]),
        "changedFields": _name_lists,
        "nulledFields": _name_lists,
        "diffFields": _name_lists,
        "commitNumber": st.none() | st.integers(0, 10**25),
    }
)


def _parsed(source: SourceMessage, schemas: AvroSchemas = NO_SCHEMAS) -> list[ParsedRecord]:
    return parse_message(source, schemas, account_fields=ACCOUNT_FIELDS)


def _changes(document: Any) -> list[AccountChange]:
    records = _parsed(SourceMessage(payload=json.dumps(document).encode(), attributes={"a": "b"}))
    return [record for record in records if isinstance(record, AccountChange)]


@examples(ordinary=200, slow=10_000)
@given(_bodies, _headers)
def test_a_narrowed_event_is_the_same_change(body: dict[str, Any], header: dict[str, Any]) -> None:
    """Whatever the event says: its identity, order, fields and values stay, and it is narrowed no further."""
    document = event(body, recordIds=THREE, **header)
    changes = _changes({"payload": document})
    for change in changes:
        (again,) = _parsed(change.source)
        assert again == change
        (alone,) = _changes(
            document | {"ChangeEventHeader": document["ChangeEventHeader"] | {"recordIds": [change.record_id]}}
        )
        assert replace(alone, source=change.source) == change


def test_an_event_of_one_record_keeps_its_message() -> None:
    """Most events have one record, and nothing is written anew."""
    source = SourceMessage(payload=json.dumps({"payload": event()}, indent=2).encode())
    (change,) = _parsed(source)
    assert isinstance(change, AccountChange)
    assert change.source is source


def test_bitmaps_become_names() -> None:
    """A narrowed event needs no schema."""
    schemas = {"S1": (EventField("ChangeEventHeader"), EventField("Phone"))}
    document = {"schemaId": "S1", "payload": event({"Phone": "1"}, changedFields=["0x2"], recordIds=THREE)}
    for change in _parsed(SourceMessage(payload=json.dumps(document).encode()), schemas):
        assert isinstance(change, AccountChange)
        assert _parsed(change.source) == [change]


@pytest.mark.parametrize("body", [{}, {"Rating": None}, {"_ObjectType": "AccountChangeEvent", "Rating": None}])
def test_nulls_mean_the_same(body: dict[str, Any]) -> None:
    """What a null means depends on the sender, which a narrowed event remembers."""
    document = event(body, recordIds=THREE, nulledFields=None, changedFields=None)
    for change in _changes(document):
        assert _parsed(change.source) == [change]


def _of_message(document: Any, attributes: dict[str, str]) -> list[ParsedRecord]:
    return _parsed(SourceMessage(payload=orjson.dumps(document), attributes=attributes))


def _records(count: int) -> dict[str, Any]:
    return event(recordIds=[account_id(number) for number in range(count)])


@examples(ordinary=200, slow=5_000)
@given(_bodies, _headers, st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3), st.text(max_size=30))
def test_what_changes_have_as_json_is_taken_off_the_room(
    body: dict[str, Any], header: dict[str, Any], attributes: dict[str, str], message_id: str
) -> None:
    """All of it: base64 of the payload, values beside it, and attributes."""
    payload = json.dumps(event(body, recordIds=THREE, **header)).encode()
    source = SourceMessage(payload=payload, attributes=attributes, message_id=message_id)
    room = Room()
    records = read_records(decode_event(payload), source, NO_SCHEMAS, ACCOUNT_FIELDS, room=room)
    left = room.bytes_left + room.attribute_bytes_left
    encoded = sum(len(to_json(record)) for record in records if isinstance(record, AccountChange))
    assert encoded <= MAX_NARROWED_BYTES + MAX_ATTRIBUTE_BYTES - left


@pytest.mark.parametrize(
    "document", [_records(20_000), _records(1_000), [event(sequenceNumber=number) for number in range(1_000)]]
)
def test_attributes_of_many_records_are_bounded(document: Any) -> None:
    """Beyond the limit the needed ones alone are carried, and no event loses its values for the others."""
    records = _of_message(document, dict([*MOST_ATTRIBUTES.items()][len(NEEDED) :]) | NEEDED)
    changes = [record for record in records if isinstance(record, AccountChange)]
    assert len(changes) == len(records) >= 1_000
    assert sum(len(to_json(change)) for change in changes) <= MAX_NARROWED_BYTES + MAX_ATTRIBUTE_BYTES
    assert changes[-1].source.attributes == NEEDED
    assert changes[-1].source.replay_count == 2
    assert changes[-1].trace_id == "a" * 32
    assert all(change.values for change in changes)
    assert _parsed(changes[-1].source) == [changes[-1]]


def test_needed_attributes_are_cut() -> None:
    """A sender can't make them large; the trace is the same."""
    long = NEEDED["traceparent"] + "-" + "x" * 900
    changes = _of_message(_records(20_000), {"traceparent": long, "first_failed_at": "y" * 1_000})
    assert sum(len(to_json(it)) for it in changes if isinstance(it, AccountChange)) <= MAX_NARROWED_BYTES
    for change in changes[:3]:
        assert isinstance(change, AccountChange)
        assert change.trace_id == "a" * 32
        assert _parsed(change.source) == [change]


def test_few_records_keep_all_attributes() -> None:
    """A dead letter has those of its message, as long as they are few bytes."""
    changes = _of_message(_records(30), MOST_ATTRIBUTES)
    assert [it.source.attributes for it in changes if isinstance(it, AccountChange)] == [MOST_ATTRIBUTES] * 30


@pytest.mark.parametrize("documentation", [0, 900])
def test_copies_in_dead_letters_of_many_events_are_bounded(documentation: int) -> None:
    """Of the message, its attributes and its schema: each dead letter has its own event in any case."""
    fields = [{"name": f"F{number}", "type": "string", "doc": "x" * documentation} for number in range(1_500)]
    schema = {"type": "record", "name": "AccountChangeEvent", "fields": [{"name": "ChangeEventHeader"}, *fields]}
    events = [event({}, commitTimestamp=number) for number in range(999)]
    refusals = _of_message({"schema": schema, "data": events}, MOST_ATTRIBUTES)
    sources = [refusal.received.source for refusal in refusals if isinstance(refusal, Refusal)]
    assert len(sources) == 999
    assert sum(len(to_json(source)) for source in sources) < 2 * MAX_COPIED_BYTES
    for number in (0, 998):
        payload = json.loads(sources[number].payload)["payload"]
        assert payload["ChangeEventHeader"]["commitTimestamp"] == number
