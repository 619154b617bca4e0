"""Decode a message's bytes into the change events that it holds, in whichever shape they were published.

docs/event-shapes.md lists the shapes: the payload alone, or within the envelopes of CometD, the Pub/Sub API,
CloudEvents, Pub/Sub push, Event Relay, Kafka connectors and the like, in any nesting; Avro JSON with wrapped unions;
any of them as base64, with gzip, or as JSON within JSON; several events as a list or as JSON lines.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import orjson

from schemas.validation_errors import kind_of
from transforms.errors import InvalidEvent, MessageTooLarge, RefusedEvent, Undecodable
from transforms.parse.avro_schemas import NO_REFERENCE, SchemaReference
from transforms.parse.avro_unions import CONTAINERS, is_union, unwrap_unions
from transforms.parse.limits import (
    MAX_BRACKETS,
    MAX_ENVELOPES,
    MAX_FIELDS,
    MAX_MESSAGE_BYTES,
    MAX_OBJECTS,
)
from transforms.parse.message_text import Allowance, UnreadablePart, may_hold_json, read_documents
from transforms.parse.unreadable_shapes import missing_header, not_an_object, other_event, with_attributes
from transforms.parse.unusable_values import NO_FIELDS, JsonObject, read_unusable, readable_text, taken_out, write_json

_HEADER: Final = "ChangeEventHeader"
_ENVELOPE_KEYS: Final = (
    "payload",
    "data",
    "data_base64",
    "detail",
    "message",
    "event",
    "events",
    "records",
    "value",
    "body",
    # AWS: SNS; SQS and Lambda, whose records may be of SNS or Kinesis.
    "Message",
    "Messages",
    "Records",
    "Body",
    "Sns",
    "kinesis",
    "after",
    # What a pull from Pub/Sub returns, over REST or by gcloud.
    "receivedMessages",
    "messages",
)
_NOT_FIELDS: Final = frozenset({_HEADER, "Id", "ReplayId", "_ObjectType", "_EventType"})
_MARK: Final = _HEADER.encode()
_KAFKA_MARK: Final = "_ObjectType"
_EVENT_NAME: Final = re.compile(r"(?:/data/)?(?P<entity>\w*?[A-Za-z0-9])(?P<custom>__)?ChangeEvent\Z", re.IGNORECASE)
_ENTITIES: Final = frozenset({"Account", "Contact", "Opportunity", "Task", "Event", "Case"})
"""The well-known entities; a name in another case is written as here, since names are compared from here on."""

_IN_ANY_CASE: Final = {name.lower(): name for name in _ENTITIES}
_FLAT_OBJECTS: Final = 2
_HEADER_ARRAYS: Final = 4
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_NO_ATTRIBUTES: Final[Mapping[str, str]] = {}


class DecodedEvent(NamedTuple):
    """An event without its envelopes, the Avro unions of its values unwrapped."""

    header: JsonObject
    body: JsonObject
    null_is_unset: bool
    """Whether the sender writes null for every field that it has no value for."""

    schema: SchemaReference
    """What the envelopes say about the event's Avro schema."""

    unusable: Mapping[str, Any] = NO_FIELDS
    """The values that can't be held, by (dotted) field name; the body is without them."""


def decode_event(payload: bytes) -> DecodedEvent:
    """Return the one event of a message.

    Raises:
        Undecodable: The bytes are not JSON.
        InvalidEvent: The JSON is not one change event, or is larger or deeper than one.
    """
    events = decode_events(payload)
    if len(events) > 1 or isinstance(events[0], UnreadablePart):
        raise InvalidEvent(f"expected one change event, found {len(events)}")
    return events[0]


def decode_events(
    payload: bytes, attributes: Mapping[str, str] = _NO_ATTRIBUTES
) -> list[DecodedEvent | UnreadablePart]:
    """Return the events that a message's bytes hold, without their envelopes, and in their order.

    Only a message of several events has unreadable ones in the list, and at least one that is readable.

    Args:
        payload: The message's bytes.
        attributes: The message's; they explain why bytes can't be read.

    Raises:
        Undecodable: The bytes are not JSON.
        InvalidEvent: The JSON has no ChangeEventHeader, or is larger or deeper than change events.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"{len(payload):,} bytes are too many: a change event has at most 1 MB, and a message may have "
            f"{MAX_MESSAGE_BYTES:,}"
        )
    plain = _plain_event(payload)
    if plain:
        return [plain]
    allowance = Allowance()
    try:
        found = list(_events_in(payload, NO_REFERENCE, allowance, MAX_ENVELOPES + 1))
    except Undecodable as error:
        raise with_attributes(error, attributes) from None
    events = _all_events(found)
    return [_without_unusable(it) for it in events] if allowance.has_unusable else events


def _without_unusable(event: DecodedEvent | UnreadablePart) -> DecodedEvent | UnreadablePart:
    if isinstance(event, UnreadablePart):
        return event
    body, unusable = taken_out(event.body)
    return event._replace(body=body, unusable=unusable)


def _plain_event(payload: bytes) -> DecodedEvent | None:
    """Return the event of a message that is its payload alone, as most are; None for any other message.

    An event that has at most as many objects as itself and its header, and as many arrays as a header, has no unions to
    unwrap. Counting brackets is far cheaper than looking at each value.
    """
    objects, lists = payload.count(b"{"), payload.count(b"[")
    if not payload.startswith(b"{") or objects + lists > MAX_BRACKETS:
        return None
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return None
    if type(document) is not dict or _HEADER not in document:
        return None
    is_flat = objects <= _FLAT_OBJECTS and lists <= _HEADER_ARRAYS
    header = document[_HEADER]
    if not is_flat or type(header) is not dict:
        if objects + lists > MAX_OBJECTS:
            Allowance().read_objects(document)
        return _without_unions(document, NO_REFERENCE)
    _normalize_header(header)
    return _decoded(header, document, NO_REFERENCE)


class _Found(NamedTuple):
    """An object that has a ChangeEventHeader, with what its envelopes say about its schema."""

    event: JsonObject
    schema: SchemaReference


def _events_in(
    value: Any, schema: SchemaReference, allowance: Allowance, depth: int
) -> Iterator[_Found | UnreadablePart]:
    """Yield the events within a JSON value or a text; what is no event among several is an unreadable part."""
    if depth < 0:
        raise InvalidEvent(f"{_HEADER} is not within {MAX_ENVELOPES} envelopes: publish change events only")
    text = value if isinstance(value, bytes) else readable_text(value)
    if text is not None:
        yield from _each(read_documents(text, allowance), schema, allowance, depth)
    elif isinstance(value, list):
        yield from _each(value, schema, allowance, depth)
    elif not isinstance(value, dict):
        raise not_an_object(value)
    elif _HEADER in value:
        allowance.read_event()
        allowance.read_objects(value)
        yield _Found(value, schema)
    else:
        yield from _within(value, SchemaReference.of(value).or_else(schema), allowance, depth)


def _each(
    values: list[Any], schema: SchemaReference, allowance: Allowance, depth: int
) -> Iterator[_Found | UnreadablePart]:
    if not values:
        raise InvalidEvent("an empty list: publish change events only")
    if len(values) == 1:
        yield from _events_in(values[0], schema, allowance, depth - 1)
        return
    for value in values:
        if isinstance(value, UnreadablePart):
            allowance.read_event()
            yield value
            continue
        try:
            yield from list(_events_in(value, schema, allowance, depth - 1))
        except MessageTooLarge:
            raise
        except RefusedEvent as error:
            allowance.read_event()
            yield UnreadablePart(write_json(value), error)


def _within(
    envelope: JsonObject, schema: SchemaReference, allowance: Allowance, depth: int
) -> Iterator[_Found | UnreadablePart]:
    found: list[_Found | UnreadablePart] = []
    refused: list[UnreadablePart] = []
    for inner in _enveloped(envelope):
        try:
            found += list(_events_in(inner, schema, allowance, depth - 1))
        except MessageTooLarge:
            raise
        except RefusedEvent as error:
            refused.append(UnreadablePart(_text_of(inner), error))
    if not found:
        raise other_event(envelope) or (refused[0].error if refused else missing_header())
    yield from found
    for part in refused:
        # Other values of an envelope may be anything, but an event is not dropped because another one is readable.
        if _MARK in part.text:
            allowance.read_event()
            yield part


def _text_of(value: Any) -> bytes:
    """Return a value as the text of a message of its own."""
    text = readable_text(value)
    return write_json(value) if text is None else text


def _enveloped(envelope: JsonObject) -> Iterator[Any]:
    """Yield the values of an envelope that may be an event or hold one, the likeliest first."""
    if len(envelope) == 1:
        ((name, inner),) = envelope.items()
        if is_union(name, inner):
            yield inner
    for key in _ENVELOPE_KEYS:
        inner = envelope.get(key)
        if inner and (isinstance(inner, dict | list) or may_hold_json(readable_text(inner) or b"")):
            yield inner


def _all_events(found: list[_Found | UnreadablePart]) -> list[DecodedEvent | UnreadablePart]:
    if len(found) == 1:
        return [_of(found[0])]
    events: list[DecodedEvent | UnreadablePart] = []
    first: RefusedEvent | None = None
    for part in found:
        try:
            events.append(_of(part))
        except RefusedEvent as error:
            first = first or error
            text = part.text if isinstance(part, UnreadablePart) else write_json(part.event)
            events.append(UnreadablePart(text, error))
    if first and all(isinstance(event, UnreadablePart) for event in events):
        message = f"none of {len(events)} events can be read; the first: {first}"
        raise type(first)(message, first.error_class)
    return events


def _of(part: _Found | UnreadablePart) -> DecodedEvent:
    if isinstance(part, UnreadablePart):
        raise part.error
    return _without_unions(part.event, part.schema)


def _without_unions(event: JsonObject, schema: SchemaReference) -> DecodedEvent:
    header = event[_HEADER]
    header = header.copy() if _has_no_unions(header) else unwrap_unions(json_of(header))
    if isinstance(header, dict):
        _normalize_header(header)
    parts = 0
    body = event.copy()
    for name, value in event.items():
        if type(value) in CONTAINERS and name != _HEADER:
            body[name] = field = unwrap_unions(value)
            parts += len(field) if isinstance(field, dict) else 0
    if parts > MAX_FIELDS:
        raise _too_many_fields()
    return _decoded(header, body, schema)


def _has_no_unions(header: Any) -> bool:
    """Whether a header is an object of plain values and lists of them, as nearly every one is."""
    if type(header) is not dict or len(header) == 1:
        return False
    for value in header.values():
        kind = type(value)
        if kind is dict or (kind is list and not _PLAIN.issuperset(map(type, value))):
            return False
    return True


def _decoded(header: Any, event: JsonObject, schema: SchemaReference) -> DecodedEvent:
    """Return the event; what is no field is taken out of it."""
    if not isinstance(header, dict):
        raise InvalidEvent(f"{_HEADER}: expected an object, found {kind_of(header)}")
    null_is_unset = _KAFKA_MARK in event
    for name in _NOT_FIELDS:
        event.pop(name, None)
    if len(event) > MAX_FIELDS:
        raise _too_many_fields()
    return DecodedEvent(header, event, null_is_unset, schema)


def _too_many_fields() -> InvalidEvent:
    return InvalidEvent(f"more than {MAX_FIELDS:,} fields, which is more than any Salesforce object has")


def _normalize_header(header: JsonObject) -> None:
    """Write a header as Salesforce does: its record ids as a list, and the entity's name, not the event's."""
    if "recordIds" not in header and "recordId" in header:
        header["recordIds"] = [header.pop("recordId")]
    entity = header.get("entityName")
    if isinstance(entity, str) and entity not in _ENTITIES:
        header["entityName"] = _entity_of(entity)


def json_of(value: Any) -> Any:
    """Return the value of JSON text; any other value, and other text, stays as it is and is refused where it stands."""
    text = readable_text(value)
    if text is None:
        return value
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            return read_unusable(text)
        except ValueError:
            return value


def _entity_of(event_name: str) -> str:
    """Return the entity of a name that is an event's, a channel's, or in another case than Salesforce's.

    Account of AccountChangeEvent, /data/AccountChangeEvent and account; Project__c of Project__ChangeEvent.
    """
    match = _EVENT_NAME.match(event_name) if event_name[-5:].lower() == "event" else None
    name = f"{match['entity']}{'__c' if match['custom'] else ''}" if match else event_name
    return _IN_ANY_CASE.get(name.lower(), name)
