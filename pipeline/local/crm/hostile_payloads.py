"""Hostile payloads: bytes that are not a change event, or an invalid change event.

Each is a pure function of a valid flat event, and differs from a readable payload in one respect.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson

from pipeline.local.crm.change_events import JsonObject
from pipeline.local.crm.event_shapes import as_avro_json_bitmaps, as_cometd_envelope, as_payload_alone

TEXT_BYTES: Final = 2 * 1024 * 1024
NESTING: Final = 10_000

PLANTED_SESSION_ID: Final = "00DHs0000000000!NOT-A-REAL-SESSION-BUT-NEVER-TO-BE-LOGGED"

_HEADER: Final = "ChangeEventHeader"
_MARK: Final = "@@ replaced by invalid bytes @@"


def empty(_event: JsonObject) -> bytes:
    """An empty payload."""
    return b""


def invalid_utf8(event: JsonObject) -> bytes:
    """JSON with a string that is Latin-1."""
    return _with_fields(event, {"Name": f"Gr{_MARK}n"}).replace(_MARK.encode(), b"\xfc\xff")


def outbound_message(event: JsonObject) -> bytes:
    """An Outbound Message with a session id, which must not appear in logs."""
    (record_id, *_) = event["payload"][_HEADER]["recordIds"]
    return (
        '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<SessionId>{PLANTED_SESSION_ID}</SessionId><Notification><sObject><sf:Id>{record_id}</sf:Id></sObject>"
        "</Notification></notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def java_map(event: JsonObject) -> bytes:
    """A Java `Map.toString()`, which a connector without a serialiser sends."""
    return _java_text(as_payload_alone(event)).encode()


def not_a_number(event: JsonObject) -> bytes:
    """NaN, which is not JSON, although many serialisers write it."""
    return _with_fields(event, {"AnnualRevenue": _MARK}).replace(f'"{_MARK}"'.encode(), b"NaN")


def truncated_json(event: JsonObject) -> bytes:
    """The first half of an event."""
    whole = orjson.dumps(event)
    return whole[: len(whole) // 2]


def deep_nesting(event: JsonObject) -> bytes:
    """A field nested too deeply for recursive parsers."""
    innermost = str(event["replayId"]).encode()
    return b'{"ChangeEventHeader":' + b'{"a":' * NESTING + innermost + b"}" * NESTING + b"}"


def missing_header(event: JsonObject) -> bytes:
    """An event without its header."""
    payload = {name: value for name, value in event["payload"].items() if name != _HEADER}
    return orjson.dumps({**event, "payload": payload})


def unknown_change_type(event: JsonObject) -> bytes:
    """A changeType that Salesforce reserves but does not send."""
    return _with_header(event, {"changeType": "SNAPSHOT"})


def bad_checksum(event: JsonObject) -> bytes:
    """Record ids with a wrong checksum."""
    ids = event["payload"][_HEADER]["recordIds"]
    damaged = [_damaged(record_id) for record_id in ids]
    return _with_header(event, {"entityName": "Account", "changeType": "UPDATE", "recordIds": damaged})


def bitmaps_without_schema(event: JsonObject) -> bytes:
    """Raw field bitmaps, which can only be decoded with the event's Avro schema."""
    header = {**event["payload"][_HEADER], "changeType": "UPDATE"}
    header["changedFields"] = header["changedFields"] or ["LastModifiedDate"]
    return orjson.dumps(as_avro_json_bitmaps({**event, "payload": {**event["payload"], _HEADER: header}}))


def two_megabytes(event: JsonObject) -> bytes:
    """A valid event with 2 MB of text in one field, twice what Salesforce sends."""
    return _with_fields(event, {"Description": "All work and no play. " * (TEXT_BYTES // 22 + 1)})


HOSTILE: Final[dict[str, Callable[[JsonObject], bytes]]] = {
    "empty": empty,
    "invalid_utf8": invalid_utf8,
    "outbound_message": outbound_message,
    "java_map": java_map,
    "not_a_number": not_a_number,
    "truncated_json": truncated_json,
    "deep_nesting": deep_nesting,
    "missing_header": missing_header,
    "unknown_change_type": unknown_change_type,
    "bad_checksum": bad_checksum,
    "bitmaps_without_schema": bitmaps_without_schema,
    "two_megabytes": two_megabytes,
}
"""The hostile payloads by name. All must be refused, except `two_megabytes`, which may be accepted."""


def _with_fields(event: JsonObject, values: JsonObject) -> bytes:
    envelope = as_cometd_envelope(event)
    data = envelope["data"]
    return orjson.dumps({**envelope, "data": {**data, "payload": {**data["payload"], **values}}})


def _with_header(event: JsonObject, values: JsonObject) -> bytes:
    payload = event["payload"]
    return orjson.dumps({**event, "payload": {**payload, _HEADER: {**payload[_HEADER], **values}}})


def _damaged(record_id: str) -> str:
    return record_id[:-1] + ("A" if record_id[-1] != "A" else "B")


def _java_text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_java_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_java_text(inner) for inner in value) + "]"
    return "null" if value is None else str(value)
