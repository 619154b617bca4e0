"""What holds no change event is refused with the name of its shape, and with what its publisher has to do."""

import base64
import bz2
import gzip
import zlib
from typing import Any

import orjson
import pytest

from tests.fixtures.changes import event, payload
from transforms.errors import InvalidEvent, Undecodable
from transforms.parse.event_decoding import DecodedEvent, decode_events

_AVRO = b"\x0eAccount\x02$0017Q00000EiRcfQAF\x00\x02\x9a\x05\x00"


@pytest.mark.parametrize(
    ("bytes_", "reason"),
    [
        (b"\xff\xff\x00", "binary data, such as Avro or protobuf"),
        (_AVRO, "binary data, such as Avro or protobuf"),
        (base64.b64encode(_AVRO), "binary data, such as Avro or protobuf"),
        (b"Obj\x01\x04\x14avro.codec", "an Avro file"),
        (b"\x00\x00\x00\x00\x07" + _AVRO, "Confluent's wire format"),
        ("{}".encode("utf-16"), "UTF-16"),
        ("{}".encode("utf-16-le"), "UTF-16"),
        (zlib.compress(payload()), "zlib"),
        (bz2.compress(payload()), "bzip2"),
        (b"\x28\xb5\x2f\xfd\x00", "Zstandard"),
        (gzip.compress(payload(), mtime=0)[:-20], "gzip that ends too early"),
        (b"\x1f\x8b\x08\x00" + b"\xff" * 40, "damaged gzip"),
        (b'{"Name": "\xff"', "not JSON, and not UTF-8 .ISO-8859-1"),
        (payload() + b" and more", "other text follows the first document"),
        (payload() + payload()[:-9], "or one of several documents can't be read"),
        (b"plain text", "not JSON, from character"),
        (b'<?xml version="1.0"?><soapenv:Envelope><sessionId>SECRET!sid</sessionId></soapenv:Envelope>', "Outbound"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"{Name=Acme, ChangeEventHeader={entityName=Account}}", "Map.toString"),
        (b"Struct{ChangeEventHeader=Struct{entityName=Acme}}", "Map.toString"),
        (b"{'ChangeEventHeader': {'entityName': 'Acme'}}", "Python dict"),
        (b"[object Object]", "JavaScript object"),
        (b"payload=%7B%22Name%22%3A%22Acme%22%7D", "HTML form"),
        (b'{"ChangeEventHeader": {"sequenceNumber": NaN}}', "NaN or Infinity"),
        (b'{"AnnualRevenue": -Infinity}', "NaN or Infinity"),
        (payload()[:-10], "ends too early"),
        (b"[" * 10_000 + b"]" * 10_000, "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (b"x" * 1_000_001, "base64"),
    ],
)
def test_what_is_no_json_is_undecodable(bytes_: bytes, reason: str) -> None:
    """Bytes that are not JSON are refused with a reason that names the shape and does not quote them."""
    with pytest.raises(Undecodable, match=reason) as refusal:
        decode_events(bytes_)
    assert str(refusal.value).startswith("not JSON")
    assert "SECRET" not in str(refusal.value)
    assert "Acme" not in str(refusal.value)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({}, "ChangeEventHeader is missing"),
        ({"payload": {"Name": "Acme"}}, "ChangeEventHeader is missing"),
        ({"payload": {"payload": {"payload": {"payload": {}}}}}, "ChangeEventHeader is missing"),
        ({"events": [], "latestReplayId": "AAA="}, "ChangeEventHeader is missing"),
        ({"event": {"type": "updated", "replayId": 3}, "sobject": {"Id": "x", "Name": "Acme"}}, "PushTopic"),
        ({"data": {"event": {"replayId": 3}, "sobject": {"Id": "x"}}, "channel": "/topic/x"}, "PushTopic"),
        ({"channel": "/meta/connect", "successful": True}, "CometD protocol"),
        ({"schema": "s", "payload": {"CreatedById": "x", "CreatedDate": 1, "A__c": "Acme"}}, "platform event"),
        ({"attributes": {"type": "Account", "url": "/x"}, "Name": "Acme"}, "REST API"),
        ({"payload": "Acme calls", "event": {"replayId": 1}}, "generic event"),
        ({"before": {"id": 1}, "after": {"id": 1, "Name": "Acme"}, "op": "u"}, "Debezium"),
        ({"payload": {"before": {"id": 1}, "after": None, "op": "d"}}, "Debezium"),
        ({"Type": "SubscriptionConfirmation", "Message": "Acme", "SubscribeURL": "x"}, "AWS SNS confirmation"),
        ({"Records": [{"eventSource": "aws:s3", "s3": {"bucket": "Acme"}}]}, "AWS s3"),
        ({"Records": [{"eventSource": "aws:sqs", "body": '{"ChangeEventHeader":'}]}, "ends too early"),
        (1.5, "a number"),
        ("text", "not JSON"),
        (None, "found null"),
        ([[1, 2], True], "a number"),
        ({"ChangeEventHeader": "x"}, "found text"),
        ({"ChangeEventHeader": None}, "found null"),
        ({"ChangeEventHeader": [event()]}, "found a list"),
    ],
)
def test_json_that_is_no_event_is_refused(document: Any, reason: str) -> None:
    """JSON without a ChangeEventHeader is refused, and the reason says what it is."""
    with pytest.raises((InvalidEvent, Undecodable), match=reason) as refusal:
        decode_events(orjson.dumps(document))
    assert "Acme" not in str(refusal.value)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"content-encoding": "br"}, "content-encoding is not gzip"),
        ({"Content-Encoding": "deflate"}, "content-encoding is not gzip"),
        ({"datacontenttype": "application/vnd.apache.avro+binary"}, "content type says Avro"),
        ({"ce-datacontenttype": "application/x-protobuf"}, "content type says protobuf"),
        ({"content-type": "text/xml"}, "content type says XML"),
    ],
)
def test_attributes_explain_what_can_t_be_read(attributes: dict[str, str], reason: str) -> None:
    """What the message's attributes say of its encoding is part of the reason."""
    with pytest.raises(Undecodable, match=reason):
        decode_events(b"\x01\x02\x03", attributes)


@pytest.mark.parametrize("bytes_", [payload(), gzip.compress(payload(), mtime=0)])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "identity", "br", ""])
def test_attributes_do_not_hide_what_can_be_read(bytes_: bytes, encoding: str) -> None:
    """Bytes say by themselves whether they are gzip; a wrong attribute refuses nothing."""
    (decoded,) = decode_events(bytes_, {"content-encoding": encoding})
    assert isinstance(decoded, DecodedEvent)
    assert decoded.body == {"Rating": "Hot"}
