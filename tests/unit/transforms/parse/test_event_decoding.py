"""Every shape in which an event can arrive, in any nesting, and several events in one message."""

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fixtures.changes import event, payload
from tests.fixtures.examples import examples
from transforms.errors import InvalidEvent, MessageTooLarge, RefusedEvent, Undecodable
from transforms.parse.event_decoding import DecodedEvent, decode_event, decode_events
from transforms.parse.limits import MAX_ENVELOPES, MAX_EVENTS, MAX_MESSAGE_BYTES
from transforms.parse.message_text import UnreadablePart

PLAIN = event()


def _base64(value: Any) -> str:
    return base64.b64encode(orjson.dumps(value)).decode()


def _lines_of_76(value: Any) -> str:
    return base64.encodebytes(orjson.dumps(value)).decode()


def _gzip(raw: bytes) -> bytes:
    """Return the same bytes at any time, so that an example can be drawn again."""
    return gzip.compress(raw, mtime=0)


ENVELOPES: dict[str, Callable[[Any], Any]] = {
    "CometD": lambda it: {"data": {"schema": "s", "payload": it, "event": {"replayId": 1}}, "channel": "/data/x"},
    "Pub/Sub API, flat": lambda it: {"id": "i", "schemaId": "s", "replayId": 1, "payload": it},
    "CloudEvent data": lambda it: {"event": {"replayId": 1}, "schema": "s", "payload": it},
    "CloudEvent": lambda it: {"specversion": "1.0", "type": "x", "data": it},
    "CloudEvent, data_base64": lambda it: {"specversion": "1.0", "data_base64": _base64(it)},
    "Event Relay, detail.payload": lambda it: {"detail-type": "AccountChangeEvent", "detail": {"payload": it}},
    "Event Relay, detail": lambda it: {"detail-type": "AccountChangeEvent", "detail": it},
    "Kafka Connect": lambda it: {"schema": None, "payload": it},
    "Kafka REST": lambda it: [{"topic": "t", "key": None, "value": it, "offset": 1}],
    "Pub/Sub push": lambda it: {
        "message": {"data": _base64(it), "attributes": {"entity": "Account"}, "messageId": "1"},
        "subscription": "projects/p/subscriptions/s",
    },
    "Pub/Sub pull": lambda it: {
        "receivedMessages": [{"ackId": "a", "message": {"data": _base64(it), "messageId": "1"}, "deliveryAttempt": 1}]
    },
    "Pub/Sub messages": lambda it: {"messages": [{"data": _base64(it), "attributes": {"a": "b"}}]},
    "event": lambda it: {"eventId": "e", "replayId": 1, "event": it},
    "FetchResponse": lambda it: {"events": [{"event": {"payload": it}, "replayId": "AAA="}], "rpcId": "r"},
    "AWS SNS": lambda it: {"Type": "Notification", "TopicArn": "arn:aws:sns:x", "Message": json.dumps(it)},
    "AWS SQS": lambda it: {"Messages": [{"MessageId": "1", "Body": json.dumps(it)}]},
    "AWS SQS to Lambda": lambda it: {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(it)}]},
    "AWS SNS to Lambda": lambda it: {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": json.dumps(it)}}]},
    "AWS Kinesis": lambda it: {"Records": [{"eventSource": "aws:kinesis", "kinesis": {"data": _base64(it)}}]},
    "Debezium, of a table of events": lambda it: {
        "op": "c",
        "before": None,
        "after": {"id": 1, "payload": json.dumps(it)},
    },
    "JSON within JSON": json.dumps,
    "base64": _base64,
    "base64 in lines of 76": _lines_of_76,
    "base64 in payload, in lines of 76": lambda it: {"payload": _lines_of_76(it)},
    "gzip in payload": lambda it: {"payload": base64.b64encode(_gzip(orjson.dumps(it))).decode()},
    "list of one": lambda it: [it],
    "Avro union": lambda it: {"com.sforce.eventbus.AccountChangeEvent": it},
}
ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes,
    "gzip": _gzip,
    "gzip twice": lambda raw: _gzip(_gzip(raw)),
    "gzip in two members": lambda raw: _gzip(raw[:50]) + _gzip(raw[50:]),
    "base64": base64.b64encode,
    "base64, URL-safe": base64.urlsafe_b64encode,
    "base64, no padding": lambda raw: base64.b64encode(raw).rstrip(b"="),
    "base64, MIME": base64.encodebytes,
    "base64, MIME with CRLF": lambda raw: base64.encodebytes(raw).replace(b"\n", b"\r\n"),
    "gzip in base64": lambda raw: base64.b64encode(_gzip(raw)),
    "byte order mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "Confluent's JSON Schema format": lambda raw: b"\x00\x00\x00\x00\x07" + raw,
    "white space": lambda raw: b"\r\n " + raw + b"\n",
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_every_envelope_is_the_same_event(name: str) -> None:
    """In any envelope, header and fields are those of the payload alone."""
    header, body, *_ = decode_event(orjson.dumps(ENVELOPES[name](PLAIN)))
    assert header == PLAIN["ChangeEventHeader"]
    assert body == {"Rating": "Hot"}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_encoding_is_the_same_event(name: str) -> None:
    """Encoded as a whole, the event is the same."""
    document = json.dumps({"schemaId": "s", "payload": PLAIN}, indent=1).encode()
    assert decode_event(ENCODINGS[name](document))[1] == {"Rating": "Hot"}


@examples(ordinary=100, slow=5_000)
@example(["CloudEvent, data_base64"] * 2 + ["FetchResponse"] * 3, "gzip twice")
@given(
    st.lists(st.sampled_from(sorted(ENVELOPES)), max_size=5),
    st.sampled_from(sorted(set(ENCODINGS) - {"Confluent's JSON Schema format"})),
)
def test_any_nesting_is_the_same_event(names: list[str], encoding: str) -> None:
    """Envelopes within envelopes within an encoding hold the event that is innermost."""
    document: Any = PLAIN
    for name in names:
        document = ENVELOPES[name](document)
    header, body, *_ = decode_event(ENCODINGS[encoding](orjson.dumps(document)))
    assert header == PLAIN["ChangeEventHeader"]
    assert body == {"Rating": "Hot"}


def test_record_id_in_the_singular_is_a_list_of_one() -> None:
    """The `recordId` of an unbundled event becomes `recordIds`."""
    header = dict(PLAIN["ChangeEventHeader"])
    header["recordId"] = header.pop("recordIds")[0]
    assert decode_event(orjson.dumps({"ChangeEventHeader": header}))[0]["recordIds"] == [header["recordId"]]


def test_a_header_may_be_text() -> None:
    """A header that is JSON text is read."""
    document = {"ChangeEventHeader": json.dumps(PLAIN["ChangeEventHeader"]), "Rating": "Hot"}
    assert decode_event(orjson.dumps(document))[0] == PLAIN["ChangeEventHeader"]


@pytest.mark.parametrize(
    ("named", "entity"),
    [
        ("AccountChangeEvent", "Account"),
        ("Project__ChangeEvent", "Project__c"),
        ("ns__Project__ChangeEvent", "ns__Project__c"),
        ("OpportunityContactRoleChangeEvent", "OpportunityContactRole"),
        ("Account", "Account"),
        ("Project__c", "Project__c"),
        ("ChangeEvent", "ChangeEvent"),
        ("account", "Account"),
        ("ACCOUNT", "Account"),
        ("accountchangeevent", "Account"),
        ("/data/AccountChangeEvent", "Account"),
        ("/data/Project__ChangeEvent", "Project__c"),
        ("opportunity", "Opportunity"),
        ("event", "Event"),
        ("EventChangeEvent", "Event"),
        ("/data/ChangeEvents", "/data/ChangeEvents"),
        ("account__c", "account__c"),
    ],
)
def test_the_name_of_the_event_is_read_as_its_entity(named: str, entity: str) -> None:
    """Some bridges write the event's name in `entityName`, the channel's, or the entity's in another case."""
    assert decode_event(payload(entityName=named))[0]["entityName"] == entity


def test_unions_are_unwrapped_by_known_type_names_only() -> None:
    """Avro JSON's union wrappers are removed, in the header too; a compound field with one part is kept."""
    header = {name: {"array": it} if isinstance(it, list) else it for name, it in PLAIN["ChangeEventHeader"].items()}
    body = {
        "Rating": {"string": "Hot"},
        "LastModifiedDate": {"long.timestamp-millis": 1},
        "BillingAddress": {"io.confluent.salesforce.Address": {"City": {"string": "Berlin"}, "Street": None}},
        "Name": {"LastName": "X"},
    }
    decoded = decode_event(
        orjson.dumps({"ChangeEventHeader": {"com.sforce.eventbus.ChangeEventHeader": header}, **body})
    )
    assert decoded.header == PLAIN["ChangeEventHeader"]
    assert decoded.body == {
        "Rating": "Hot",
        "LastModifiedDate": 1,
        "BillingAddress": {"City": "Berlin", "Street": None},
        "Name": {"LastName": "X"},
    }


def test_kafka_connectors_are_known_by_their_mark() -> None:
    """A Kafka connector's own fields are removed, and its nulls mean unset."""
    kafka = {
        "payload": event({"Rating": None, "_ObjectType": "AccountChangeEvent", "_EventType": "x", "ReplayId": "1"})
    }
    _, body, null_is_unset, *_ = decode_event(orjson.dumps(kafka))
    assert body == {"Rating": None}
    assert null_is_unset


TWO = [event({"Rating": "Hot"}), event({"Rating": "Cold"}, sequenceNumber=2)]
SEVERAL: dict[str, bytes] = {
    "list": orjson.dumps(TWO),
    "lines": b"\n".join(map(orjson.dumps, TWO)),
    "lines with CRLF and empty ones": b"\r\n\r\n".join(map(orjson.dumps, TWO)) + b"\r\n",
    "lines that end in commas": b",\n".join(map(orjson.dumps, TWO)) + b",\n",
    "one after the other": b"".join(map(orjson.dumps, TWO)),
    "one after the other, on several lines each": "\n".join(json.dumps(it, indent=1) for it in TWO).encode(),
    "after commas": b", ".join(map(orjson.dumps, TWO)),
    "after record separators": b"".join(b"\x1e%b\n" % orjson.dumps(it) for it in TWO),
    "two lists in an envelope": orjson.dumps({"events": TWO[1:], "data": TWO[:1]}),
    "a pull of two": orjson.dumps({"receivedMessages": [{"message": {"data": _base64(it)}} for it in TWO]}),
    "two envelopes in one": orjson.dumps({"payload": TWO[0], "message": {"data": _base64(TWO[1])}}),
    "AWS SQS": orjson.dumps({"Records": [{"body": json.dumps(it)} for it in TWO]}),
    "gzip of lines": gzip.compress(b"\n".join(map(orjson.dumps, TWO))),
    "list within an envelope": orjson.dumps({"data": TWO}),
    "CloudEvents batch": orjson.dumps([{"specversion": "1.0", "data": it} for it in TWO]),
    "FetchResponse": orjson.dumps({"events": [{"event": {"payload": it}} for it in TWO]}),
    "text of lines within an envelope": orjson.dumps({"payload": "\n".join(map(json.dumps, TWO))}),
    "lists in a list": orjson.dumps([[it] for it in TWO]),
}


@pytest.mark.parametrize("shape", SEVERAL)
def test_several_events_keep_their_order(shape: str) -> None:
    """A list of events, or lines, within any envelope, are several events."""
    found = decode_events(SEVERAL[shape])
    assert [it.body["Rating"] for it in found if isinstance(it, DecodedEvent)] == ["Hot", "Cold"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("bytes_", "text", "reason"),
    [
        (orjson.dumps([*TWO, {"a": 1}]), b'{"a":1}', "ChangeEventHeader is missing"),
        (orjson.dumps([*TWO, 7]), b"7", "a number"),
        (orjson.dumps([*TWO, {"payload": []}]), b'{"payload":[]}', "ChangeEventHeader is missing"),
        (orjson.dumps([*TWO, {"ChangeEventHeader": 1}]), b'{"ChangeEventHeader":1}', "expected an object"),
        (SEVERAL["lines"] + b"\n garbage\xff ", b" garbage\xff", "not JSON"),
        (SEVERAL["lines that end in commas"] + b'{"a": ,},\n', b'{"a": ,},', "not JSON"),
        (SEVERAL["after record separators"] + b'\x1e{"a": ', b'{"a":', "ends too early"),
        (SEVERAL["one after the other"] + b'{"a": NaN}', b'{"a": NaN}', "NaN"),
        (
            orjson.dumps({"data": TWO, "events": '{"ChangeEventHeader": '}),
            b'{"ChangeEventHeader": ',
            "ends too early",
        ),
        (
            orjson.dumps({"data": TWO, "payload": {"x": {"ChangeEventHeader": {}}}}),
            b'{"x":{"ChangeEventHeader":{}}}',
            "ChangeEventHeader is missing",
        ),
    ],
)
def test_one_unreadable_event_among_several_leaves_the_others(bytes_: bytes, text: bytes, reason: str) -> None:
    """It keeps its bytes and has a reason of its own."""
    *read, unread = decode_events(bytes_)
    assert [type(it) for it in read] == [DecodedEvent, DecodedEvent]
    assert isinstance(unread, UnreadablePart)
    assert unread.text == text
    assert reason in str(unread.error)


def test_a_message_without_a_readable_event_is_refused_as_a_whole() -> None:
    """A list of other things is one refusal, which says what the first of them is."""
    with pytest.raises(InvalidEvent, match=r"none of 3 events can be read; the first: .*a number"):
        decode_events(b"[1, {}, []]")
    with pytest.raises(InvalidEvent, match="empty list"):
        decode_events(b"[]")


@pytest.mark.parametrize(
    "bytes_",
    [
        orjson.dumps([event()] * (MAX_EVENTS + 1)),
        b"\n".join([payload()] * (MAX_EVENTS + 1)),
        b"[" + b"[]," * 1_000_000 + b"[]]",
        b"[" + b'"e30gICAgICAgICAgICAg",' * 100_000 + b"1]",
    ],
)
def test_more_events_than_a_message_may_have_are_one_refusal(bytes_: bytes) -> None:
    """However many they are, and whatever they are."""
    with pytest.raises(MessageTooLarge, match="publish fewer"):
        decode_events(bytes_)


def test_a_decompression_bomb_is_refused_with_its_reason() -> None:
    """No more is decompressed than a message may have, in all of its parts together."""
    bomb = gzip.compress(b" " * 100_000_000)
    with pytest.raises(MessageTooLarge, match="gzip"):
        decode_events(bomb)
    half = base64.b64encode(gzip.compress(payload() + b" " * (MAX_MESSAGE_BYTES // 2))).decode()
    assert decode_events(orjson.dumps([{"payload": half}]))
    with pytest.raises(MessageTooLarge, match="gzip"):
        decode_events(orjson.dumps([{"payload": half}] * 3))


def test_deep_nesting_within_a_field_is_invalid() -> None:
    """A field nested deeper than any change event's is refused without recursion."""
    value: Any = "x"
    for _ in range(500):
        value = {"a": value}
    with pytest.raises(InvalidEvent, match="nested"):
        decode_event(json.dumps(event({"Name": value})).encode())


def test_more_envelopes_than_any_sender_has_are_refused() -> None:
    """The search for the event ends."""
    document: Any = PLAIN
    for _ in range(40):
        document = {"payload": document}
    with pytest.raises(InvalidEvent, match="not within"):
        decode_event(orjson.dumps(document))


@pytest.mark.parametrize("envelope", [lambda it: {"payload": it}, lambda it: [it], lambda it: {"x.Y": it}])
@pytest.mark.parametrize("encoding", ["as it is", "gzip", "base64"])
def test_the_limit_of_envelopes_is_the_documented_one(envelope: Callable[[Any], Any], encoding: str) -> None:
    """As many as it says are read, and one more is refused; the message's own text is none."""
    document: Any = PLAIN
    for _ in range(MAX_ENVELOPES):
        document = envelope(document)
    assert decode_event(ENCODINGS[encoding](orjson.dumps(document)))[1] == {"Rating": "Hot"}
    with pytest.raises(InvalidEvent, match=f"not within {MAX_ENVELOPES} envelopes"):
        decode_event(ENCODINGS[encoding](orjson.dumps(envelope(document))))


def test_one_event_with_a_comma_is_one() -> None:
    """As the last line of a file of such lines."""
    assert decode_event(payload() + b",\n")[1] == {"Rating": "Hot"}
    assert decode_event(b"\x1e" + payload() + b"\n")[1] == {"Rating": "Hot"}


def test_more_than_a_message_can_hold_is_invalid() -> None:
    """5 MB of text are refused because of their size."""
    with pytest.raises(InvalidEvent, match="1 MB"):
        decode_event(orjson.dumps(event({"Description": "x" * 5_000_000})))


def test_an_envelope_with_other_texts_is_searched_on() -> None:
    """A key that envelopes have too, but here has something else, does not hide the event."""
    document = {"message": "a change", "data": {"x": 1}, "body": "not this", "event": PLAIN}
    assert decode_event(orjson.dumps(document))[1] == {"Rating": "Hot"}


def test_one_event_is_asked_for_where_several_are() -> None:
    """`decode_event` refuses a message of several."""
    with pytest.raises(InvalidEvent, match="found 2"):
        decode_event(SEVERAL["list"])


@pytest.mark.parametrize("bytes_", [b"", b" \n", gzip.compress(b"", mtime=0), base64.b64encode(b" " * 20)])
def test_nothing_is_refused_as_empty(bytes_: bytes) -> None:
    """Also where the encoding hides that there is nothing."""
    with pytest.raises(Undecodable, match="empty"):
        decode_events(bytes_)


_texts = st.sampled_from([payload(), b"{}", b"[]", b"1", b"", b"\xff", payload()[:-9], b'"', b"\x1f\x8b", b"AAAA" * 9])


@examples(ordinary=200, slow=20_000)
@given(
    st.lists(_texts, min_size=1, max_size=5),
    st.sampled_from([b"\n", b",", b"\r\n", b" ", b"", b"\x1e", b",\n"]),
    st.sampled_from(sorted(ENCODINGS)),
    st.integers(0, 400),
    st.integers(0, 255),
)
def test_any_bytes_are_events_or_a_refusal(
    texts: list[bytes], between: bytes, encoding: str, position: int, byte: int
) -> None:
    """Pieces of events, joined, encoded and damaged: nothing is raised but the classes of refusals."""
    joined = between.join(texts)
    encoded = bytearray(ENCODINGS[encoding](b"[" + joined + b"]" if between == b"," else joined))
    if encoded:
        encoded[position % len(encoded)] = byte
    try:
        found = decode_events(bytes(encoded))
    except RefusedEvent:
        return
    assert any(isinstance(it, DecodedEvent) for it in found)
