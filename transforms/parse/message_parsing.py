"""Parse one message: bytes → the change events, and what they say about each account."""

import datetime as dt
from itertools import chain

from schemas.change_event import AccountFields, ChangeEvent, SourceMessage
from transforms.errors import RefusedEvent
from transforms.parse.account_changes import ParsedRecord, message_refusal
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas
from transforms.parse.event_decoding import DecodedEvent, decode_event, decode_events
from transforms.parse.message_parts import parse_parts, read_event, read_records


def parse_message(
    source: SourceMessage,
    schemas: AvroSchemas = NO_SCHEMAS,
    *,
    account_fields: AccountFields,
    now: dt.datetime | None = None,
) -> list[ParsedRecord]:
    """Return what a message says, record by record; a message that can't be read is one refusal.

    Args:
        source: The message.
        schemas: Registered Avro schemas, which decode field bitmaps.
        account_fields: The entities that count, and which of their fields name the account.
        now: Counts where the message has no time of publication: an event of the future is refused.
    """
    events = parse_events(source, schemas, account_fields=account_fields, now=now)
    return events[0] if len(events) == 1 else list(chain.from_iterable(events))


def parse_events(
    source: SourceMessage,
    schemas: AvroSchemas = NO_SCHEMAS,
    *,
    account_fields: AccountFields,
    now: dt.datetime | None = None,
) -> list[list[ParsedRecord]]:
    """Return what each event of a message says, record by record."""
    try:
        parts = decode_events(source.payload, source.attributes)
        if len(parts) == 1 and isinstance(parts[0], DecodedEvent):
            return [read_records(parts[0], source, schemas, account_fields, now=now)]
    except RefusedEvent as error:
        return [[message_refusal(source, error)]]
    return parse_parts(parts, source, schemas, account_fields, now)


def parse_change_event(payload: bytes, *, schemas: AvroSchemas = NO_SCHEMAS) -> ChangeEvent:
    """Read a message's bytes as one change event; `schemas` decode field bitmaps if the event brings no schema.

    Raises:
        Undecodable: The bytes are not JSON.
        InvalidEvent: The JSON is not a change event, or its header is malformed.
        UnsupportedEvent: The changeType is unknown, or field bitmaps can't be decoded.
    """
    return read_event(decode_event(payload), schemas)
