"""Parse one message: bytes → the change event, and what it says about each account."""

from schemas.change_event import AccountFields, ChangeEvent, SourceMessage
from transforms.errors import RefusedEvent
from transforms.parse.account_changes import ParsedRecord, account_changes, message_refusal
from transforms.parse.avro_bitmaps import name_fields
from transforms.parse.avro_schemas import NO_SCHEMAS, AvroSchemas
from transforms.parse.event_decoding import decode_event
from transforms.parse.event_validation import validate_event


def parse_message(
    source: SourceMessage, schemas: AvroSchemas = NO_SCHEMAS, *, account_fields: AccountFields
) -> list[ParsedRecord]:
    """Return what a message says, record by record; a message that can't be read is one refusal."""
    try:
        event = parse_change_event(source.payload, schemas=schemas)
    except RefusedEvent as error:
        return [message_refusal(source, error)]
    return account_changes(event, source, account_fields)


def parse_change_event(payload: bytes, *, schemas: AvroSchemas = NO_SCHEMAS) -> ChangeEvent:
    """Read a message's bytes as a change event; `schemas` decode field bitmaps if the event brings no schema.

    Raises:
        Undecodable: The bytes are not JSON.
        InvalidEvent: The JSON is not a change event, or its header is malformed.
        UnsupportedEvent: The changeType is unknown, or field bitmaps can't be decoded.
    """
    decoded = decode_event(payload)
    event = validate_event(decoded)
    return name_fields(event, decoded.schema, schemas)
