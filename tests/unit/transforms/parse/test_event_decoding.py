"""Every shape in which an event can arrive, and every kind of bytes that is not an event."""

import base64
import json
from typing import Any

import orjson
import pytest

from tests.fixtures.changes import event, payload
from transforms.errors import InvalidEvent, Undecodable
from transforms.parse.event_decoding import MAX_EVENT_BYTES, decode_event

PLAIN = event()

SHAPES: dict[str, Any] = {
    "payload alone": PLAIN,
    "CometD envelope": {"data": {"schema": "s", "payload": PLAIN, "event": {"replayId": 1}}, "channel": "/data/x"},
    "Pub/Sub API, flat": {"id": "i", "schemaId": "s", "replayId": 1, "payload": PLAIN},
    "CloudEvent data": {"event": {"replayId": 1}, "schema": "s", "payload": PLAIN},
    "CloudEvent": {"specversion": "1.0", "data": {"event": {}, "schema": "s", "payload": PLAIN}},
    "Event Relay, detail.payload": {"detail-type": "AccountChangeEvent", "detail": {"payload": PLAIN}},
    "Event Relay, detail": {"detail-type": "AccountChangeEvent", "detail": PLAIN},
    "Kafka Connect": {"schema": None, "payload": PLAIN},
    "JSON within JSON": json.dumps(PLAIN),
    "JSON within an envelope": {"payload": json.dumps(PLAIN)},
    "base64 within an envelope": {"data": {"payload": base64.b64encode(payload()).decode()}},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_the_same_event(shape: str) -> None:
    """In any envelope, header and fields are those of the payload alone."""
    header, body, *_ = decode_event(orjson.dumps(SHAPES[shape]))
    assert header == PLAIN["ChangeEventHeader"]
    assert body == {"Rating": "Hot"}


@pytest.mark.parametrize(
    "encode", [base64.b64encode, base64.urlsafe_b64encode, lambda raw: base64.b64encode(raw).rstrip(b"=")]
)
def test_base64_is_the_same_event(encode: Any) -> None:
    """Standard and URL-safe base64 are decoded, with or without padding."""
    assert decode_event(encode(payload()))[1] == {"Rating": "Hot"}


def test_record_id_in_the_singular_is_a_list_of_one() -> None:
    """The `recordId` of an unbundled event becomes `recordIds`."""
    header = dict(PLAIN["ChangeEventHeader"])
    header["recordId"] = header.pop("recordIds")[0]
    assert decode_event(orjson.dumps({"ChangeEventHeader": header}))[0]["recordIds"] == [header["recordId"]]


def test_unions_are_unwrapped_by_known_type_names_only() -> None:
    """Avro JSON's union wrappers are removed; a compound field with one part is kept."""
    body = {
        "Rating": {"string": "Hot"},
        "AnnualRevenue": {"double": 1.5},
        "LastModifiedDate": {"long": 1},
        "BillingAddress": {"com.sforce.eventbus.Address": {"City": {"string": "Berlin"}, "Street": None}},
        "Name": {"LastName": "X"},
    }
    assert decode_event(orjson.dumps(event(body)))[1] == {
        "Rating": "Hot",
        "AnnualRevenue": 1.5,
        "LastModifiedDate": 1,
        "BillingAddress": {"City": "Berlin", "Street": None},
        "Name": {"LastName": "X"},
    }


def test_kafka_connectors_are_known_by_their_mark() -> None:
    """A Kafka connector's own fields are removed, and its nulls mean unset."""
    kafka = {
        "payload": event({"Rating": None, "_ObjectType": "AccountChangeEvent", "_EventType": "x", "ReplayId": "1"})
    }
    _, body, null_is_unset, _ = decode_event(orjson.dumps(kafka))
    assert body == {"Rating": None}
    assert null_is_unset


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"\xff\xfe\x00", "not JSON"),
        (b'{"Name": "\xff"}', "not JSON"),
        (b"plain text", "not JSON"),
        (b'<?xml version="1.0"?><soapenv:Envelope><sessionId>SECRET!sid</sessionId></soapenv:Envelope>', "XML"),
        (b"{Name=Acme, ChangeEventHeader={entityName=Account}}", "not JSON"),
        (b'{"ChangeEventHeader": {"sequenceNumber": NaN}}', "not JSON"),
        (payload()[:-10], "not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (b"x" * 1_000_001, "base64"),
    ],
)
def test_what_is_no_json_is_undecodable(bytes_: bytes, reason: str) -> None:
    """Bytes that are not JSON are refused with a reason that does not quote them."""
    with pytest.raises(Undecodable, match=reason) as refusal:
        decode_event(bytes_)
    assert "SECRET" not in str(refusal.value)
    assert "Acme" not in str(refusal.value)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "ChangeEventHeader is missing"),
        ({"payload": {"Name": "Acme"}}, "ChangeEventHeader is missing"),
        (
            {"payload": {"payload": {"payload": {"payload": {"payload": {"payload": {}}}}}}},
            "ChangeEventHeader is missing",
        ),
        ([event()], "a list"),
        (1.5, "a number"),
        (None, "found null"),
        ({"ChangeEventHeader": "x"}, "found text"),
        ({"ChangeEventHeader": None}, "found null"),
    ],
)
def test_json_that_is_no_event_is_invalid(document: object, reason: str) -> None:
    """JSON without a ChangeEventHeader is refused, and the reason says what is missing."""
    with pytest.raises(InvalidEvent, match=reason):
        decode_event(orjson.dumps(document))


def test_deep_nesting_within_a_field_is_invalid() -> None:
    """A field nested deeper than any change event's is refused without recursion."""
    value: Any = "x"
    for _ in range(500):
        value = {"a": value}
    with pytest.raises(InvalidEvent, match="nested"):
        decode_event(json.dumps(event({"Name": value})).encode())


def test_more_than_an_event_can_hold_is_invalid() -> None:
    """5 MB of text are refused because of their size."""
    with pytest.raises(InvalidEvent, match="1 MB"):
        decode_event(orjson.dumps(event({"Description": "x" * 5_000_000})))
    assert MAX_EVENT_BYTES < 5_000_000
