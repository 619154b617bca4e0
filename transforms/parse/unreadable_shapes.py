"""Why a message holds no change event: which shape it has, and what its publisher has to do.

The messages quote nothing of what they were given, because it may hold a secret.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from schemas.validation_errors import kind_of
from transforms.errors import InvalidEvent, Undecodable
from transforms.parse.json_sequences import has_more

_AS_JSON: Final = "publish change events, as JSON"
_DECODED: Final = "have the bridge decode events with their schema, and publish them as JSON"
_COMPRESSED: Final[Mapping[bytes, str]] = {
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"BZh": "bzip2",
    b"PK\x03\x04": "ZIP",
    b"\xfd7zXZ": "XZ",
    b"\x78\x01": "zlib (deflate)",
    b"\x78\x9c": "zlib (deflate)",
    b"\x78\xda": "zlib (deflate)",
}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"\x00{")
_JAVA_MAP: Final = re.compile(rb"(?:Struct)?\{\s*[A-Za-z_][A-Za-z0-9_]*=")
_PYTHON_DICT: Final = re.compile(rb"\{\s*'")
_NOT_A_NUMBER: Final = re.compile(rb"[:\[,]\s*-?(?:NaN|Infinity)\b")
_FORM: Final = re.compile(rb"[A-Za-z0-9_.-]+=%[57]B")
_BINARY: Final = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_WIRE_PREFIX: Final = 5
_PUSH_TOPIC: Final = frozenset({"sobject", "event"})
_PLATFORM_EVENT: Final = frozenset({"CreatedById", "CreatedDate"})
_REST_RECORD: Final = frozenset({"type", "url"})
_PUBSUB_API: Final = frozenset({"payload", "schemaId"})
_AWS_SOURCE: Final = re.compile(r"aws:([a-z0-9]{2,20})")
_AWS_CARRIERS: Final = frozenset({"sns", "sqs", "kinesis"})
_DEBEZIUM: Final = frozenset({"before", "after", "op"})
_SNS_CONTROL: Final = frozenset({"Type", "SubscribeURL"})
_ENCODINGS: Final = ("content-encoding", "contentencoding", "ce-contentencoding")
_TYPES: Final = ("content-type", "datacontenttype", "ce-datacontenttype")
_KNOWN_TYPES: Final[Mapping[str, str]] = {
    "avro": "Avro",
    "protobuf": "protobuf",
    "xml": "XML",
    "form-urlencoded": "an HTML form",
}
_NO_ENCODING: Final = frozenset({"", "identity", "gzip", "x-gzip", "base64", "utf-8"})


def undecodable(data: bytes, position: int) -> Undecodable:
    """Return the refusal of bytes that are not JSON; `position` is the character at which JSON ends."""
    shape = _binary_shape(data) or _text_shape(data)
    if shape:
        return Undecodable(f"not JSON, but {shape}")
    if _NOT_A_NUMBER.search(data):
        return Undecodable("not JSON: it has NaN or Infinity, which JSON has not; have the bridge write null")
    if not _is_utf_8(data):
        return Undecodable("not JSON, and not UTF-8 (ISO-8859-1?): publish JSON in UTF-8")
    if has_more(data):
        return Undecodable(
            "not JSON: other text follows the first document, or one of several documents can't be read; publish "
            "several events as a JSON list, or each on a line of its own"
        )
    if position >= len(data) - 1:
        return Undecodable(f"not JSON, from character {position} on: it ends too early; publish whole events")
    return Undecodable(f"not JSON, from character {position} on: expected a change event in JSON")


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _binary_shape(data: bytes) -> str | None:
    for magic, name in _COMPRESSED.items():
        if data.startswith(magic):
            return f"data compressed as {name}: publish it with gzip, or as it is"
    if data.startswith(_UTF_16):
        return "UTF-16: publish JSON in UTF-8"
    if data.startswith(b"Obj\x01"):
        return f"an Avro file: {_DECODED}"
    if data[:2] == b"\x00\x00" and len(data) > _WIRE_PREFIX:
        return f"Confluent's wire format, a schema's id before Avro or protobuf: {_DECODED}"
    if _BINARY.search(data) and not data.startswith((b"{", b"[")):
        return f"binary data, such as Avro or protobuf: {_DECODED}"
    return None


def _text_shape(data: bytes) -> str | None:
    if data.startswith(b"<"):
        is_html = data[:15].lower().startswith((b"<!doctype html", b"<html"))
        return f"HTML: {_AS_JSON}" if is_html else f"XML, such as an Outbound Message: {_AS_JSON}"
    if _JAVA_MAP.match(data):
        return "a Java Map.toString(), or a Struct's: have the bridge write JSON"
    if _PYTHON_DICT.match(data):
        return "the text of a Python dict: have the bridge write JSON"
    if data.startswith(b"[object "):
        return "the text of a JavaScript object: have the bridge write JSON (JSON.stringify)"
    if _FORM.match(data):
        return f"an HTML form: {_AS_JSON}"
    return None


def other_event(document: Mapping[str, Any]) -> InvalidEvent | None:
    """Return the refusal of an object that is known to be something else than a change event; None for any other."""
    shape = None
    if document.keys() >= _PUSH_TOPIC:
        shape = "a PushTopic event, which does not say what changed: turn on Change Data Capture"
    elif str(document.get("channel", "")).startswith("/meta/"):
        shape = "a message of the CometD protocol: publish the events of /data channels only"
    elif document.keys() >= _PLATFORM_EVENT:
        shape = "a platform event, not a change event: subscribe to a channel of change events only"
    elif isinstance(record := document.get("attributes"), dict) and record.keys() >= _REST_RECORD:
        shape = "a record as the REST API returns it: turn on Change Data Capture"
    elif document.keys() >= _DEBEZIUM:
        shape = (
            "Debezium's, a row of a database: publish Salesforce's change events, or such a row that holds one as JSON"
        )
    elif document.keys() >= _SNS_CONTROL:
        shape = "an AWS SNS confirmation: confirm the subscription, and publish the Message of its notifications only"
    elif (service := _aws_service(document)) is not None:
        shape = f"a record of {service}: publish the change events that it is about"
    elif isinstance(text := document.get("payload"), str) and text and not document.keys() >= _PUBSUB_API:
        shape = "an event whose payload is text, as a generic event's: publish change events only"
    return InvalidEvent(f"ChangeEventHeader is missing; this is {shape}") if shape else None


def _aws_service(document: Mapping[str, Any]) -> str | None:
    """Return the AWS service whose record an object is, as `aws:s3` says; None if it carries others' messages."""
    source = document.get("eventSource", document.get("EventSource"))
    match = _AWS_SOURCE.fullmatch(source) if isinstance(source, str) else None
    return f"AWS {match[1]}" if match and match[1] not in _AWS_CARRIERS else None


def missing_header() -> InvalidEvent:
    """Return the refusal of an object that has no ChangeEventHeader, and no envelope with one."""
    return InvalidEvent(
        "ChangeEventHeader is missing, also within payload, data, detail, message, event and other envelopes: publish "
        "change events only"
    )


def not_an_object(value: Any) -> InvalidEvent:
    """Return the refusal of a JSON value that is neither an object nor a list of them."""
    return InvalidEvent(f"expected a JSON object, found {kind_of(value)}: publish change events only")


def with_attributes(error: Undecodable, attributes: Mapping[str, str]) -> Undecodable:
    """Return the refusal, with what the message's attributes say of its encoding."""
    named = {name.lower(): value.lower() for name, value in attributes.items()}
    encoding = next((named[name].strip() for name in _ENCODINGS if name in named), "")
    if encoding not in _NO_ENCODING:
        return Undecodable(f"{error}; its content-encoding is not gzip: publish it with gzip, or as it is")
    content_type = next((named[name] for name in _TYPES if name in named), "")
    told = next((name for part, name in _KNOWN_TYPES.items() if part in content_type), None)
    return Undecodable(f"{error}; its content type says {told}") if told else error
