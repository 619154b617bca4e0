"""Decode a message's bytes into the header and body of a change event, in whichever shape it was published.

The shapes: the payload alone; the CometD envelope `{data: {schema, payload, event}}`; the Pub/Sub API's event,
decoded and flat `{id, schemaId, replayId, payload}`; Avro JSON with wrapped unions; CloudEvent data `{event, schema,
payload}`, with or without the CloudEvent around it; Event Relay, with the event in `detail.payload` or `detail`; Kafka
Connect's `{payload, schema}`; an unbundled event with `recordId` in the singular; any of them as base64 or as JSON
within JSON.
"""

import base64
import binascii
import re
from typing import Any, Final, NamedTuple

import orjson

from schemas.validation_errors import kind_of
from transforms.errors import InvalidEvent, Undecodable
from transforms.parse.avro_schemas import NO_REFERENCE, SchemaReference

MAX_EVENT_BYTES: Final = 3 * 1024 * 1024
"""Salesforce sends at most 1 MB; base64 and JSON within JSON make that longer, but less than three times as long."""

MAX_DEPTH: Final = 32
_HEADER: Final = "ChangeEventHeader"
_ENVELOPE_KEYS: Final = ("payload", "data", "detail")
_MAX_ENVELOPES: Final = 6
_NOT_FIELDS: Final = frozenset({_HEADER, "Id", "ReplayId", "_ObjectType", "_EventType"})
_KAFKA_MARK: Final = "_ObjectType"
_BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}\Z")
_FLAT_OBJECTS: Final = 2
_HEADER_ARRAYS: Final = 4
_UNION_TYPES: Final = frozenset({"string", "int", "long", "float", "double", "boolean", "bytes", "array", "map"})
_UNION_RECORD_PREFIX: Final = "com.sforce.eventbus."

JsonObject = dict[str, Any]


class DecodedEvent(NamedTuple):
    """An event without its envelopes, the Avro unions of its values unwrapped."""

    header: JsonObject
    body: JsonObject
    null_is_unset: bool
    """Whether the sender writes null for every field that it has no value for."""

    schema: SchemaReference
    """What the envelopes say about the event's Avro schema."""


def decode_event(payload: bytes) -> DecodedEvent:
    """Return the event that a message's bytes hold, without its envelopes.

    Raises:
        Undecodable: The bytes are not JSON.
        InvalidEvent: The JSON has no ChangeEventHeader, or is larger or deeper than a change event.
    """
    if len(payload) > MAX_EVENT_BYTES:
        raise InvalidEvent(
            f"{len(payload):,} bytes are too many: a change event has at most 1 MB, {MAX_EVENT_BYTES:,} bytes encoded"
        )
    document, is_flat = _load(payload)
    schema = NO_REFERENCE
    if type(document) is not dict or _HEADER not in document:
        document, schema = _find_event(document)
        is_flat = False
    event: JsonObject = document
    header = event[_HEADER] if is_flat else _unwrap_unions(event[_HEADER])
    if not isinstance(header, dict):
        raise InvalidEvent(f"{_HEADER}: expected an object, found {kind_of(header)}")
    if "recordIds" not in header and "recordId" in header:
        header["recordIds"] = [header.pop("recordId")]
    null_is_unset = _KAFKA_MARK in event
    for name in _NOT_FIELDS:
        event.pop(name, None)
    if not is_flat:
        event = {name: _unwrap_unions(it) if isinstance(it, dict | list) else it for name, it in event.items()}
    return DecodedEvent(header, event, null_is_unset, schema)


def _load(text: bytes) -> tuple[object, bool]:
    """Parse JSON, or base64 of JSON.

    The second value tells whether the text has at most as many objects as an event and its header, and as many arrays
    as a header: then there are no unions to unwrap. Counting brackets is far cheaper than looking at each value.
    """
    if not text.startswith(b"{"):
        text = _json_in(text)
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        # The error's own text may quote the message, so only its position is told.
        raise Undecodable(f"not JSON, from character {error.pos} on: expected a change event in JSON") from None
    return document, text.count(b"{") <= _FLAT_OBJECTS and text.count(b"[") <= _HEADER_ARRAYS


def _json_in(text: bytes) -> bytes:
    """Return the text without white space and base64, for a text that does not start as an object."""
    stripped = text.strip()
    if not stripped:
        raise Undecodable("the message is empty: expected a change event in JSON")
    if _BASE64.match(stripped):
        stripped = _from_base64(stripped)
    if stripped.startswith(b"<"):
        raise Undecodable("XML, such as an Outbound Message: publish change events, as JSON")
    return stripped


def _from_base64(text: bytes) -> bytes:
    standard = text.replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
    try:
        return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True).strip()
    except binascii.Error:
        raise Undecodable("not JSON, and not complete base64: expected a change event in JSON") from None


def _find_event(document: object) -> tuple[JsonObject, SchemaReference]:
    """Return the object that has the ChangeEventHeader, and the schema that the envelope nearest to it names."""
    schema = NO_REFERENCE
    for _ in range(_MAX_ENVELOPES):
        if isinstance(document, str):
            document, _ = _load(document.encode())
        elif not isinstance(document, dict):
            raise InvalidEvent(
                f"expected a JSON object, found {kind_of(document)}: publish one change event per message"
            )
        elif _HEADER in document:
            return document, schema
        else:
            inner = next((key for key in _ENVELOPE_KEYS if document.get(key)), None)
            if inner is None:
                break
            schema = SchemaReference.of(document).or_else(schema)
            document = document[inner]
    raise InvalidEvent(f"{_HEADER} is missing, also within payload, data and detail: publish change events only")


def _unwrap_unions(value: Any, depth: int = 0) -> Any:
    """Remove Avro JSON's union wrappers, by known type names only: `{"LastName": "X"}` is a value, not a wrapper."""
    if depth > MAX_DEPTH:
        raise InvalidEvent(f"a field is nested deeper than {MAX_DEPTH} levels, which is more than any change event has")
    if isinstance(value, dict):
        if len(value) == 1:
            ((name, inner),) = value.items()
            if name in _UNION_TYPES or name.startswith(_UNION_RECORD_PREFIX):
                return _unwrap_unions(inner, depth + 1)
        return {
            name: _unwrap_unions(inner, depth + 1) if isinstance(inner, dict | list) else inner
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [_unwrap_unions(inner, depth + 1) if isinstance(inner, dict | list) else inner for inner in value]
    return value
