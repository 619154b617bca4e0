"""Several events in one message: each is parsed by itself, and each that can't be read is a dead letter of its own.

That dead letter has the whole message byte for byte, and the attribute `event_in_message` with the event's number: a
replay publishes both, and then only that event is read, so that none of the others is scored again; see docs/adr/056.
Where the copies of the message would become too many bytes, or Pub/Sub takes no further attribute, each has its own
event alone.
"""

import datetime as dt
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from schemas.change_event import AccountFields, ChangeEvent, SourceMessage
from schemas.dead_letter import fits_message
from transforms.errors import RefusedEvent
from transforms.parse.account_changes import ParsedRecord, account_changes, message_refusal
from transforms.parse.avro_bitmaps import name_fields
from transforms.parse.avro_schemas import AvroSchemas
from transforms.parse.event_decoding import DecodedEvent
from transforms.parse.event_validation import validate_event
from transforms.parse.limits import MAX_COPIED_BYTES
from transforms.parse.message_text import UnreadablePart
from transforms.parse.narrowed_events import EVENT_IN_MESSAGE, Room, without_encoding
from transforms.parse.unusable_values import write_json

_MAX_DIGITS: Final = 6

MessagePart = DecodedEvent | UnreadablePart


def read_event(decoded: DecodedEvent, schemas: AvroSchemas) -> ChangeEvent:
    """Validate an event and name its fields.

    Raises:
        InvalidEvent: A value in it is impossible.
        UnsupportedEvent: The changeType is unknown, or field bitmaps can't be decoded.
    """
    return name_fields(validate_event(decoded), decoded.schema, schemas)


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
        number: _records(part, schemas, lambda event: account_changes(event, source, account_fields, room, now))
        for number, part in enumerate(parts, 1)
        if chosen is None or number == chosen
    }
    refused = sum(isinstance(records, RefusedEvent) for records in found.values())
    is_copied = refused * len(source.payload) <= MAX_COPIED_BYTES
    return [
        [_refusal(source, number, parts[number - 1], records, is_copied=is_copied)]
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
    part: MessagePart, schemas: AvroSchemas, changes_of: Callable[[ChangeEvent], list[ParsedRecord]]
) -> list[ParsedRecord] | RefusedEvent:
    if isinstance(part, UnreadablePart):
        return part.error
    try:
        return changes_of(read_event(part, schemas))
    except RefusedEvent as error:
        return error


def _refusal(
    source: SourceMessage, number: int, part: MessagePart, error: RefusedEvent, *, is_copied: bool
) -> ParsedRecord:
    numbered = source.attributes | {EVENT_IN_MESSAGE: str(number)}
    if is_copied and fits_message(source.payload, numbered):
        return message_refusal(replace(source, attributes=numbered), error, number)
    return message_refusal(replace(without_encoding(source), payload=_text(part)), error)


def _text(part: MessagePart) -> bytes:
    """Return an event as a message of its own, with the schema that its envelopes name."""
    if isinstance(part, UnreadablePart):
        return part.text
    event = {"ChangeEventHeader": part.header, **part.body, **part.unusable} | (
        {"_ObjectType": ""} if part.null_is_unset else {}
    )
    schema = {"schema": part.schema.sent and part.schema.sent.document, "schemaId": part.schema.schema_id}
    return write_json({name: value for name, value in schema.items() if value is not None} | {"payload": event})
