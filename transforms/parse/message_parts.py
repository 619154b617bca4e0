"""Several events in one message: each is parsed by itself, and each that can't be read is a dead letter of its own.

That dead letter has the whole message byte for byte, and the attribute `event_in_message` with the event's number: a
replay publishes both, and then only that event is read, so that none of the others is scored again; see docs/adr/056.
Where the copies of the message would become too many bytes, or Pub/Sub takes no further attribute, each has its own
event alone, with the schema and the attributes of the message as long as their copies are few bytes.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as replace_field
from typing import Any, Final

from msgspec.structs import replace

from schemas.change_event import AccountFields, ChangeEvent, ChangeType, SourceMessage
from schemas.dead_letter import fits_message
from transforms.errors import InvalidEvent, RefusedEvent, UnsupportedEvent
from transforms.parse.account_changes import NoChange, ParsedRecord, account_changes, message_refusal
from transforms.parse.avro_bitmaps import name_fields
from transforms.parse.avro_schemas import AvroSchemas
from transforms.parse.event_decoding import DecodedEvent
from transforms.parse.event_validation import CONSTANT, validate_event, with_ids_of_text
from transforms.parse.limits import MAX_COPIED_BYTES
from transforms.parse.message_text import UnreadablePart
from transforms.parse.narrowed_events import (
    EVENT_IN_MESSAGE,
    Room,
    attribute_bytes,
    with_needed_attributes,
    without_encoding,
)
from transforms.parse.unusable_values import write_json

_MAX_DIGITS: Final = 6

MessagePart = DecodedEvent | UnreadablePart


def read_event(decoded: DecodedEvent, schemas: AvroSchemas) -> ChangeEvent:
    """Validate an event and name its fields.

    Raises:
        InvalidEvent: A value in it is impossible.
        UnsupportedEvent: The changeType is unknown, or field bitmaps can't be decoded.
    """
    try:
        event = validate_event(decoded)
    except InvalidEvent:
        readable = with_ids_of_text(decoded)
        if readable is decoded:
            raise
        event = validate_event(readable)
    return name_fields(event, decoded.schema, schemas)


def read_records(
    decoded: DecodedEvent,
    source: SourceMessage,
    schemas: AvroSchemas,
    account_fields: AccountFields,
    *,
    room: Room | None = None,
    now: dt.datetime | None = None,
) -> list[ParsedRecord]:
    """Return what an event says about each of its records; what nobody reads of an event does not refuse it.

    Of an entity that does not count, that is the changeType, and the lists of fields.

    Raises:
        InvalidEvent: A value in it is impossible.
        UnsupportedEvent: The changeType is unknown, or field bitmaps can't be decoded.
    """
    try:
        event = read_event(decoded, schemas)
    except UnsupportedEvent:
        entity, change_type = decoded.header.get("entityName"), decoded.header.get("changeType")
        if not isinstance(entity, str) or entity in account_fields:
            raise
        empty = {"changeType": ChangeType.UPDATE, "changedFields": None, "nulledFields": None, "diffFields": None}
        event = read_event(decoded._replace(header=decoded.header | empty), schemas)
        records = account_changes(event, source, account_fields, room, now)
        return [_of_type(record, change_type) for record in records]
    return account_changes(event, source, account_fields, room, now)


def _of_type(record: ParsedRecord, change_type: Any) -> ParsedRecord:
    """Return a record of an entity that does not count with the event's changeType, if that looks like one."""
    if not isinstance(record, NoChange):
        return record
    shown = change_type if isinstance(change_type, str) and CONSTANT.fullmatch(change_type) else None
    return replace_field(record, received=record.received._replace(change_type=shown))


def parse_parts(
    parts: list[MessagePart],
    source: SourceMessage,
    schemas: AvroSchemas,
    account_fields: AccountFields,
    now: dt.datetime | None = None,
) -> list[list[ParsedRecord]]:
    """Return what each event of a message says, record by record; or the one event that a dead letter is about."""
    chosen = _chosen_part(source, len(parts))
    room = Room()
    found = {
        number: _records(part, lambda it: read_records(it, source, schemas, account_fields, room=room, now=now))
        for number, part in enumerate(parts, 1)
        if chosen is None or number == chosen
    }
    refused = sum(isinstance(records, RefusedEvent) for records in found.values())
    is_copied = refused * (len(source.payload) + attribute_bytes(source.attributes)) <= MAX_COPIED_BYTES
    copies = _Copies(source, room)
    return [
        [_refusal(copies, number, parts[number - 1], records, is_copied=is_copied)]
        if isinstance(records, RefusedEvent)
        else records
        for number, records in found.items()
    ]


def _chosen_part(source: SourceMessage, count: int) -> int | None:
    """Return the number of the event that a replayed message is about; None if it is about all of them.

    The attribute of a message that is no replay is its sender's.
    """
    if not source.replay_count:
        return None
    text = source.attributes.get(EVENT_IN_MESSAGE, "")
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    return int(text) if 1 <= int(text) <= count else None


def _records(
    part: MessagePart, records_of: Callable[[DecodedEvent], list[ParsedRecord]]
) -> list[ParsedRecord] | RefusedEvent:
    if isinstance(part, UnreadablePart):
        return part.error
    try:
        return records_of(part)
    except RefusedEvent as error:
        return error


@dataclass
class _Copies:
    """The message whose parts are refused, and what those that have their own event may still copy of it."""

    source: SourceMessage
    room: Room
    schema_bytes_left: int = MAX_COPIED_BYTES

    def without_bytes(self) -> SourceMessage:
        """Return the message's attributes, the needed ones alone if there is no room for all."""
        size = attribute_bytes(self.source.attributes)
        if size > self.room.attribute_bytes_left:
            return without_encoding(with_needed_attributes(self.source))
        self.room.attribute_bytes_left -= size
        return without_encoding(self.source)

    def takes_schema(self, document: Any) -> bool:
        """Take a schema off, if there is room for it; after one that does not fit, there is none for others."""
        if self.schema_bytes_left:
            self.schema_bytes_left = max(self.schema_bytes_left - len(write_json({"schema": document})), 0)
        return self.schema_bytes_left > 0


def _refusal(copies: _Copies, number: int, part: MessagePart, error: RefusedEvent, *, is_copied: bool) -> ParsedRecord:
    source = copies.source
    numbered = source.attributes | {EVENT_IN_MESSAGE: str(number)}
    if is_copied and fits_message(source.payload, numbered):
        return message_refusal(replace(source, attributes=numbered), error, number)
    return message_refusal(replace(copies.without_bytes(), payload=_text(part, copies)), error)


def _text(part: MessagePart, copies: _Copies) -> bytes:
    """Return an event as a message of its own, with the schema that its envelopes name, if there is room for it."""
    if isinstance(part, UnreadablePart):
        return part.text
    event = {"ChangeEventHeader": part.header, **part.body, **part.unusable} | (
        {"_ObjectType": ""} if part.null_is_unset else {}
    )
    sent = part.schema.sent and part.schema.sent.document
    if sent is not None and not copies.takes_schema(sent):
        sent = None
    schema = {"schema": sent, "schemaId": part.schema.schema_id}
    return write_json({name: value for name, value in schema.items() if value is not None} | {"payload": event})
